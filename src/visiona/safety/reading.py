"""How a prompt is read before rules look at it: the ways in which people hide a word, undone.

One text has several readings, since what undoes one trick makes nonsense of an honest word: each rule looks
at all of them, and one that matches is enough.
"""

import re
import unicodedata
from functools import cache
from typing import Final

from visiona.safety.lexicon import entries

_LEET: Final = str.maketrans("013456789@$€!+£", "oieasgtbgaseitl")
_LEET_L: Final = str.maketrans("1!|", "lll")
_MARKS: Final = re.compile("[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]")
_LEET_WORD: Final = re.compile(
    r"(?<![\w@$!€+£|])(?=[\w@$!€+£|]*[^\W\d_])(?=[\w@$!€+£|]*[\d@$!€+£|])[\w@$!€+£|]{3,40}"
)
_APART: Final = re.compile(r"(?<!\w)(?:\w[\s.\-_*|/,·•~+]{1,3}){3,40}\w(?!\w)")
_INSIDE: Final = re.compile(r"(?<=[^\W\d_])[.\-_*|/·•~^`\u00b4+=#\"]{1,3}(?=[^\W\d_])")
_RUNS: Final = re.compile(r"([^\W\d_])\1{2,}")
_SPACES: Final = re.compile(r"\s+")
_TALL: Final = re.compile("(?<=[a-z])I(?![A-Z])")
"""A capital that looks like a small l, inside of a word."""
_LAST_Z: Final = re.compile(r"(?<=[a-z])z\b")
_VOWEL_V: Final = re.compile("(?<=[b-df-hj-np-tw-z])v(?=[b-df-hj-np-tw-z])")
_WORD: Final = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
_MIXED: Final = re.compile("\\w*[\u0400-\u04ff]\\w*")
_DASHES: Final = re.compile("[-_\u2010-\u2015]+")


@cache
def _respelt() -> dict[str, str]:
    return dict(entry.split(" ", 1) for entry in entries("respelt"))


@cache
def _lookalikes() -> dict[int, int]:
    return {ord(pair[0]): ord(pair[1]) for pair in entries("lookalikes")}


@cache
def _cyrillic() -> dict[int, int]:
    """A Latin letter, and the Cyrillic one that looks like it."""
    pairs = [pair for pair in reversed(entries("lookalikes")) if "\u0400" <= pair[0] <= "\u04ff"]
    return {ord(latin): ord(cyrillic) for cyrillic, latin in pairs}


def readings(text: str) -> tuple[str, ...]:
    """The text in lower case as it is, without accents, and with each trick undone; without repetitions."""
    plain = _plain(text)
    bare = _MARKS.sub("", unicodedata.normalize("NFD", plain))
    bare = unicodedata.normalize("NFC", bare)
    # Whole words of other scripts are read as they are, too.
    latin = bare.translate(_lookalikes())
    found = [plain, bare, latin, _MARKS.sub("", unicodedata.normalize("NFD", _plain(_TALL.sub("l", text))))]
    if latin != bare:
        found.append(_MIXED.sub(lambda word: word[0].translate(_cyrillic()), bare))
    for letters in (bare, latin):
        close = _APART.sub(_joined, letters)
        calm = _RUNS.sub(r"\1", close)
        found += [close, calm, _INSIDE.sub("", calm)]
        found += [_unleet(calm, _LEET), _unleet(_unleet(calm, _LEET_L), _LEET)]
        found += [_meant(letters), _VOWEL_V.sub("u", _LAST_Z.sub("s", letters))]
    return tuple(dict.fromkeys(_SPACES.sub(" ", _DASHES.sub(" ", reading)).strip() for reading in found))


def stars(text: str) -> list[str]:
    """Words with letters starred out (`n*de`), in lower case."""
    return re.findall(r"(?<![\w*])(?=[\w*]*\w)[^\W\d_][\w*]{0,18}\*[\w*]{1,18}(?![\w*])", _plain(text))


def _plain(text: str) -> str:
    """One form of each letter (of fullwidth, bold or circled ones), nothing invisible, small letters."""
    shown = (
        c
        for c in unicodedata.normalize("NFKC", text)
        if unicodedata.category(c) not in {"Cf", "Cc", "Co", "Cn"} or c.isspace()
    )
    return (
        unicodedata.normalize("NFKC", "".join(shown).casefold()).replace("\u2019", "'").replace("\u2018", "'")
    )


def _joined(found: "re.Match[str]") -> str:
    """One word, and once more without its first letter: `a k i d` begins with a word of its own."""
    word = re.sub(r"[^\w]|_", "", found[0])
    return f"{word} {word[1:]}"


def _meant(text: str) -> str:
    """With words as they are spelt elsewhere."""
    return _WORD.sub(lambda found: _respelt().get(found[0], found[0]), text)


def _unleet(text: str, table: dict[int, int]) -> str:
    return _LEET_WORD.sub(lambda found: found[0].translate(table), text)
