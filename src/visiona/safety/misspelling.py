"""Words with a slip in them, made by accident or so that a filter does not know them.

A word counts as another that it differs from by one letter: wrong, missing, too many, or two in each other's
place. The first letter is kept by whoever wants to be understood, so it has to be the same.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import Final

from visiona.safety.lexicon import entries

_WORD: Final = re.compile(r"[^\W\d_]+")
_PRESSED: Final = re.compile(r"(.)\1+")
_SHORTEST: Final = 5
_SHORTEST_NAME: Final = 8
_PLAIN_NAME: Final = re.compile(r"[a-z]+(?: [a-z]+){1,2}")
_MOST_PIECES: Final = 3


def names_one(text: str, known: str) -> bool:
    """Whether a word of `text`, in one piece or several, stands for one of the list `known`."""
    words = [word for word in _WORD.findall(text) if word not in _honest()]
    return (
        any(_is_near(word, _shapes(known)) for word in words if len(word) >= _SHORTEST)
        or any(_squeezed(word) in _squeezed_ones(known) for word in words)
        or any(joined in _whole(known) for joined in _joined(words))
    )


def names_famous(text: str) -> bool:
    """Whether a full name in `text` is one of the famous, but for a letter."""
    words = _WORD.findall(text)
    return any(
        len(joined) >= _SHORTEST_NAME and _is_near(joined, _famous_shapes()) for joined in _joined(words)
    )


def _joined(words: list[str]) -> Iterator[str]:
    for pieces in range(2, _MOST_PIECES + 1):
        for begin in range(len(words) - pieces + 1):
            yield "".join(words[begin : begin + pieces])


def _is_near(word: str, shapes: frozenset[str]) -> bool:
    return not shapes.isdisjoint(_forms(word))


def _forms(word: str) -> Iterator[str]:
    """The word; and with one letter unread, without one letter, and with an unread letter between two."""
    yield word
    for i in range(1, len(word)):
        yield f"{word[:i]}*{word[i + 1 :]}"
        yield f"{word[:i]}{word[i + 1 :]}"
        yield f"{word[:i]}*{word[i:]}"
    yield f"{word}*"


@cache
def _shapes(known: str) -> frozenset[str]:
    return frozenset(form for word in _whole(known) for form in _near_forms(word))


@cache
def _famous_shapes() -> frozenset[str]:
    names = (name.replace(" ", "") for name in entries("famous") if _PLAIN_NAME.fullmatch(name))
    return frozenset(form for name in names if len(name) >= _SHORTEST_NAME for form in _near_forms(name))


def _near_forms(word: str) -> Iterator[str]:
    """What forms are compared with: the word, with one letter unread, and with two neighbours swapped."""
    yield word
    for i in range(1, len(word)):
        yield f"{word[:i]}*{word[i + 1 :]}"
        if i + 1 < len(word):
            yield f"{word[:i]}{word[i + 1]}{word[i]}{word[i + 2 :]}"


def _squeezed(word: str) -> str:
    """With each letter once, however often it was pressed."""
    return _PRESSED.sub(r"\1", word)


@cache
def _squeezed_ones(known: str) -> frozenset[str]:
    return frozenset(map(_squeezed, _whole(known)))


@cache
def _whole(known: str) -> frozenset[str]:
    return frozenset(entries(known))


@cache
def _honest() -> frozenset[str]:
    return frozenset(entries("spelt_right"))
