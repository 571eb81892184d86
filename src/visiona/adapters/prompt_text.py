"""From whatever a model wrote to a prompt that is safe to keep and to send: pure functions.

A model may add labels, markdown or advice, forget the trigger word, run on for pages, or have been
talked into repeating its instructions. None of that is an error of the person who asked, so it is
repaired where it can be, and refused as unusable where it cannot.
"""

import base64
import codecs
import html
import re
import unicodedata
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote

from visiona.adapters.prompt_brief import CANARY, INSTRUCTIONS, UnusableAnswerError

MAX_LENGTH: Final = 1_200
_READ_LIMIT: Final = 8_000
"""An answer of megabytes is not worth reading to its end."""
_LEAK_WORDS: Final = 8
_CODED = re.compile(r"[A-Za-z0-9+/_-]{16,}")
"""What may be base64, base32 or hexadecimal digits."""

# These read lines whose runs of spaces are collapsed, and never more than two line ends in a row:
# none of them takes more than linear time, whatever a model was talked into writing.
_FENCED = re.compile(r"``` ?\w* ?\n(?P<inside>.*?)(?:\n ?```|\Z)", re.DOTALL)
_NOUN = r"(?:prompt|version|description|rewrite|text)"
_LABEL = re.compile(
    r"\A\W*(?:(?:sure|certainly|of course|absolutely|okay|ok|great)(?: thing)?\W+)?"
    rf"(?:(?:here|below|this)(?:['\u2019]s| is| are)\b[^:\n]{{0,80}}\b{_NOUN}\b[^:\n]{{0,40}}:"
    r"|(?:(?:your|the|my)\s+)?(?:(?:enhanced|improved|rewritten|revised|optimi[sz]ed|final|new|image|flux)\s+)*"
    rf"{_NOUN}\s*:)[\s*]*",
    re.IGNORECASE,
)
_CHATTER = re.compile(
    r"\n\n(?:let me know|feel free|i hope|hope (?:this|that)|would you like|note:).*\Z",
    re.IGNORECASE | re.DOTALL,
)
_TERMINAL_CODE = re.compile(r"\x1b\[[\d;?]{0,20}[A-Za-z]")
_BLANK_LINES = re.compile(r"\n{3,}")
_LINE_MARK = re.compile(r"^(?:#{1,6}|>|[-+*•]|\d{1,2}[.)]) ", re.MULTILINE)
_LINK = re.compile(r"!?\[([^\[\]\n]{0,200})\]\([^()\n]{0,500}\)")
_TAG = re.compile(r"<[/|!]{0,2}[A-Za-z][^<>\n]{0,200}>")
_ADDRESS = re.compile(r"\b[a-z]{2,10}://\S{1,500}", re.IGNORECASE)
_HEXADECIMAL = re.compile(r"[0-9A-Fa-f]{12,}")
_URL_SAFE: Final = str.maketrans("-_", "+/")
_NO_BASE32: Final = str.maketrans("0189+/-_", "OLBGAAAA")
_EMPHASIS: Final = str.maketrans("", "", "*`")
_QUOTES: Final = {
    '"': '"',
    "'": "'",
    "\u2018": "\u2019",
    "\u201c": "\u201d",
    "\u201e": "\u201c",
    "«": "»",
}
_WORD = re.compile(r"\w+")


def usable_prompt(answer: str, trigger_word: str) -> str:
    """The answer as one clean paragraph of at most `MAX_LENGTH` that has the trigger word in it.

    Raises `UnusableAnswerError` for an answer that says nothing, or one that repeats the instructions.
    """
    text = clean(answer)
    if leaks_instructions(text):
        raise UnusableAnswerError("the answer repeats the instructions")
    prompt = with_trigger_word(text, trigger_word)
    if not any(character.isalpha() for character in prompt.replace(trigger_word, "")):
        raise UnusableAnswerError("the answer has no words beside the trigger word")
    return prompt


def clean(answer: str) -> str:
    """One line of visible characters in NFC, without the wrapping that models like to add."""
    lines = visible(_TERMINAL_CODE.sub("", answer[:_READ_LIMIT])).split("\n")
    text = _BLANK_LINES.sub("\n\n", "\n".join(" ".join(line.split()) for line in lines)).strip()
    fenced = _FENCED.search(text)
    if fenced and fenced["inside"].strip():
        text = fenced["inside"]
    while (label := _LABEL.match(text)) is not None:
        text = text[label.end() :]
    text = _LINE_MARK.sub("", _CHATTER.sub("", text))
    text = _ADDRESS.sub("", _TAG.sub("", _LINK.sub(r"\1", text))).translate(_EMPHASIS)
    return unicodedata.normalize("NFC", unquoted(" ".join(text.split())))


def visible(text: str) -> str:
    """`text` without control, format (bidi, zero-width), surrogate, private and unassigned characters.

    Line ends stay line ends, and every other kind of space becomes a plain one.
    """
    return unicodedata.normalize("NFC", "".join(map(_visible_character, text)))


def _visible_character(character: str) -> str:
    if character in "\n\u2028\u2029":
        return "\n"
    if character.isspace():
        return " "
    return "" if unicodedata.category(character).startswith("C") else character


def unquoted(text: str) -> str:
    """`text` without quotation marks that enclose all of it."""
    while len(text) > 1 and _QUOTES.get(text[0]) == text[-1] and text[0] not in text[1:-1]:
        text = text[1:-1].strip()
    return text


def leaks_instructions(text: str) -> bool:
    """Whether `text` has the canary, or eight words in a row, from the instructions: as they are, spaced,
    turned round, or in a code that programs or children write in.
    """
    return any(_leaks(reading) for reading in _decoded(text))


def _leaks(text: str) -> bool:
    return _CANARY_END in _letters(text) or not _INSTRUCTION_RUNS.isdisjoint(_runs(text))


def _decoded(text: str) -> Iterator[str]:
    yield text
    yield text[::-1]
    yield codecs.encode(text, "rot13")
    yield html.unescape(unquote(text))
    for coded in _CODED.findall("".join(text.split())):
        yield from _read_as(coded)


def _read_as(coded: str) -> Iterator[str]:
    """What such letters stand for, wherever among them it begins."""
    for start in range(4):
        whole = coded[start:].translate(_URL_SAFE)
        yield _latin(base64.b64decode(whole + "A" * (-len(whole) % 4)))
    for start in range(8):
        whole = coded[start:].upper().translate(_NO_BASE32)
        yield _latin(base64.b32decode(whole + "A" * (-len(whole) % 8)))
    for digits in _HEXADECIMAL.findall(coded):
        for start in range(2):
            whole = digits[start:]
            yield _latin(bytes.fromhex(whole[: len(whole) // 2 * 2]))


def _latin(decoded: bytes) -> str:
    return decoded.decode("latin-1")


def _letters(text: str) -> str:
    plain = unicodedata.normalize("NFKC", text).casefold()
    return "".join(character for character in plain if character.isalnum())


def _runs(text: str) -> frozenset[tuple[str, ...]]:
    words = _WORD.findall(text.casefold())
    return frozenset(tuple(words[i : i + _LEAK_WORDS]) for i in range(len(words) - _LEAK_WORDS + 1))


_CANARY_END: Final = CANARY.rpartition("-")[2]
"""It is drawn by chance: no honest text has it, whatever stands before it."""
_INSTRUCTION_RUNS: Final = _runs(INSTRUCTIONS)


def with_trigger_word(text: str, trigger_word: str) -> str:
    """`text`, at most `MAX_LENGTH` long, with the trigger word in it as a word, exactly as spelled.

    Without that word the image model does not draw the person at all. A model that only changed its
    case is corrected in place; one that left it out gets it back in front.
    """
    word = rf"(?<!\w){re.escape(trigger_word)}(?!\w)"
    kept = shortened(text, MAX_LENGTH)
    if re.search(word, kept):
        return kept
    recased, changes = re.subn(word, lambda _: trigger_word, kept, count=1, flags=re.IGNORECASE)
    if changes and len(recased) <= MAX_LENGTH:
        return recased
    return shortened(f"{trigger_word}, {text}", MAX_LENGTH)


def shortened(text: str, limit: int) -> str:
    """`text`, cut after a whole word, or inside one that is longer than the limit by itself."""
    if len(text) <= limit:
        return text
    head, _, _ = text[: limit + 1].rpartition(" ")
    return (head or text[:limit]).rstrip(" ,;:-\u2013\u2014")
