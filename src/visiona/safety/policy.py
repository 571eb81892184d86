"""What may not be asked for: local rules, which hold with and without a moderation service.

Visiona draws one real person who has agreed to it. The rules therefore refuse what would make somebody look
under age, undress somebody, or draw somebody else; and cruelty, hatred and self-harm as far as words tell.
They err on the side of refusing where a child could come of it, and leave the rest to harmless uses, which
are taken out before the rules look.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import cache
from typing import Final

from visiona.safety.lexicon import entries
from visiona.safety.misspelling import names_famous, names_one
from visiona.safety.model import Rule
from visiona.safety.reading import readings, stars

TENS: Final = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety", "hundred")
UNDER_AGE: Final = (
    *("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen"),
)
UNDER_AGE_ORDINALS: Final = (
    *("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"),
    *("eleventh", "twelfth", "thirteenth", "fourteenth", "fifteenth", "sixteenth", "seventeenth"),
)
FULL_AGE: Final = 18
_BORN: Final = re.compile(r"\bborn (?:in |on )?(?:[a-z0-9., ]{0,20}? )?((?:19|20)\d\d)\b")


def broken_rule(*texts: str) -> Rule | None:
    """The gravest rule that one of the texts breaks, None where they may all be drawn."""
    whole = "\n".join(texts)
    shapes = readings(whole)
    for rule, breaks in _RULES:
        if breaks(whole, shapes):
            return rule
    return None


# How the lists become patterns, when a prompt first needs them: a cold start does not pay.


@cache
def _words(*names: str) -> re.Pattern[str]:
    """Whole words; a space in an entry may be missing in the text."""
    joined = "|".join(_loose(_worn(entry)) for name in names for entry in entries(name))
    return re.compile(rf"(?<!\w)(?:{joined})(?!\w)")


@cache
def _anywhere(name: str) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, entries(name))))


def _worn(entry: str) -> str:
    """With what covers somebody, and whose it is, put in."""
    if "GARMENT" not in entry:
        return entry
    garment, whose = "|".join(entries("garments")), "|".join(entries("whose"))
    return entry.replace("GARMENT", f"(?:{garment})").replace("WHOSE", f"(?:{whose})")


def _loose(entry: str) -> str:
    return entry.replace(" ?", " ").replace(" ", " ?")


@cache
def _ages() -> re.Pattern[str]:
    tens = "".join(f"(?<!{number} )" for number in TENS)
    number = (
        r"(?:(?<![\d.,/:$€£#])(?:1[0-7]|0?[1-9])(?!\d|[.,:]\d)"
        rf"|{tens}(?<![a-z])(?:{'|'.join(UNDER_AGE)})(?![a-z]))"
    )
    ordinal = (
        r"(?:(?<!\d)(?:1st|2nd|3rd|[4-9]th|1[0-7]th)(?!\w)"
        rf"|{tens}(?<![a-z])(?:{'|'.join(UNDER_AGE_ORDINALS)})(?![a-z]))"
    )
    abroad = rf"(?<![^\W\d_])(?:{'|'.join(entries('numbers_abroad'))})"
    shorthands = {"{n}": number, "{nth}": ordinal, "{w}": "|".join(UNDER_AGE), "{abroad}": abroad}
    joined = "|".join(_filled(entry, shorthands) for entry in entries("ages"))
    return re.compile(rf"(?<![^\W\d_])(?:{joined})")


def _filled(entry: str, shorthands: dict[str, str]) -> str:
    for shorthand, pattern in shorthands.items():
        entry = entry.replace(shorthand, pattern)
    return entry


@cache
def _ages_of_things() -> re.Pattern[str]:
    return re.compile("|".join(entries("ages_of_things")).replace("{n}", r"\b(?:\d{1,3}|[a-z]+)"))


@cache
def _famous() -> re.Pattern[str]:
    names = "|".join(_loose(entry) for entry in entries("famous"))
    return re.compile(rf"(?<!\w)(?:{names})(?:'?s)?(?!\w)(?!{'|'.join(entries('namesakes'))}\b)")


@cache
def _likeness() -> re.Pattern[str]:
    joined = "|".join(_loose(entry) for entry in entries("likeness"))
    return re.compile(rf"(?<!\w)(?:{joined.replace('RELATION', _relation())})(?!\w)")


@cache
def _relation() -> str:
    return "|".join(entries("relations"))


# The rules. Each gets the text as it was typed, and its readings.


def _minors(text: str, shapes: Iterable[str]) -> bool:
    for shape in shapes:
        rest = _words("harmless_young").sub(" ", shape)
        if _words("minors", "minors_abroad").search(rest) or _anywhere("minors_anywhere").search(shape):
            return True
        if _ages().search(_ages_of_things().sub(" ", shape)):
            return True
        if _words("young").search(rest) and _words("suggestive").search(rest):
            return True
        if names_one(rest, "often_misspelt_minors") or _born_lately(shape):
            return True
    return _starred(text, "starred_minors")


def _born_lately(shape: str) -> bool:
    youngest = datetime.now(UTC).year - FULL_AGE
    return any(int(found[1]) > youngest for found in _BORN.finditer(shape))


def _nudity(text: str, shapes: Iterable[str]) -> bool:
    for shape in shapes:
        rest = _words("harmless_sexual").sub(" ", shape)
        if _words("sexual", "sexual_abroad").search(rest) or _anywhere("sexual_anywhere").search(shape):
            return True
        if _words("hinting").search(rest) and _words("hinted").search(rest):
            return True
        if names_one(rest, "often_misspelt_sexual"):
            return True
    return _starred(text, "starred_sexual")


def _starred(text: str, name: str) -> bool:
    """A star stands for one letter."""
    patterns = [re.compile(re.escape(word).replace(r"\*", r"\w")) for word in stars(text)]
    return any(pattern.fullmatch(known) for pattern in patterns for known in entries(name))


def _of(name: str) -> Callable[[str, Iterable[str]], bool]:
    def breaks(_: str, shapes: Iterable[str]) -> bool:
        return any(_words(name).search(shape) for shape in shapes)

    return breaks


def _other_person(text: str, shapes: Iterable[str]) -> bool:
    known = (_famous(), _likeness(), _anywhere("famous_anywhere"))
    if any(pattern.search(shape) for shape in shapes for pattern in known):
        return True
    return any(names_famous(_without_namesakes(shape)) for shape in shapes) or _names_somebody(text)


def _without_namesakes(shape: str) -> str:
    """Streets, prizes and songs that bear somebody's name are nobody."""
    return _borne_by_things().sub(" ", shape)


@cache
def _borne_by_things() -> re.Pattern[str]:
    return re.compile(rf"(?:\w+ ){{1,3}}\w+(?:{'|'.join(entries('namesakes'))})\b")


# Private people, as far as names tell.

_NAME: Final = r"[^\W\d_a-z][^\W\d_]+"
_PARTICLES: Final = r"[A-Z]\.|[A-Z]|de|da|del|van|von|der|di|el|al|bin|Mc"
_PAIR: Final = re.compile(rf"(?<!\w)({_NAME})\s+(?:(?:{_PARTICLES})['\u2019\s]\s*){{0,2}}({_NAME})(?!\w)")
_SPOKEN: Final = re.compile(
    r"\b(?:photo|picture|image|portrait|face|likeness|body|head|selfie|pic|nude|version|clone|shot|figure)s?"
    r"\s+of\s+([^\W\d_]+)\s+([^\W\d_]+)",
    re.IGNORECASE,
)
_SINGLE: Final = re.compile(
    r"\b(?:look(?:s|ing)?\s+(?:exactly\s+|just\s+)?like|resembl(?:es|ing|e)|named|called|(?:the\s+)?face\s+of|"
    r"likeness\s+of|(?:together|dancing|dinner|posing|standing|sitting|walking)\s+(?:\w+\s+)?with|kissing|"
    r"hugging|married\s+to|instead\s+of)\s+([^\W\d_]+)",
    re.IGNORECASE,
)
_STYLE: Final = re.compile(
    r"(?:style|spirit|manner|tradition|aesthetics?|mood|colou?rs|paintings?|works?|films?|movies?|music|songs|"
    r"books?|novels?|poems|art|statue|bust|concert|church|temple|school|museum|city|town|town hall|day|feast|"
    r"university|reading|listening to|plays?|playing|studying|quoting|by|inspired|homage|wearing|designed|"
    r"directed|photographed|shot|wears?)"
    r"(?: of| by| to)?(?: a| an| the)?(?: painting| film| movie| portrait)?(?: by| of)?\s*$",
    re.IGNORECASE,
)
"""Before a name: it says whose work something is like, and draws nobody."""


_FACE: Final = re.compile(
    r"\b(?:(?:[Ff]ace|[Ll]ikeness|[Hh]ead)\s+of|(?:cara|rostro|rosto|faccia|viso)\s+d[eio]|(?:visage|t[eê]te)\s+d(?:e|u)|"
    rf"Gesicht\s+von|Kopf\s+von)\s+({_NAME})"
)
"""Whose face it is to be: any name will do, where it is written as one."""


_SHORT_TITLE: Final = 5


@cache
def _titled() -> re.Pattern[str]:
    """A title and a name behind it, both as they are written."""
    return re.compile(rf"\b(?P<title>(?i:{'|'.join(entries('titles'))}))\s+(?P<name>{_NAME})")


def _is_addressed(found: "re.Match[str]") -> bool:
    """A short title in small letters is something else: `at 200 ms. Then`."""
    title = found["title"]
    return (title[0].isupper() or len(title) > _SHORT_TITLE) and _bare(found["name"]) not in entries(
        "not_named"
    )


@cache
def _related() -> re.Pattern[str]:
    return re.compile(
        rf"\b(?:my|our|his|her|their|the)\s+(?:\w+\s+)?(?:{_relation()}),?\s+(?:(?:named|called)\s+)?([^\W\d_]+)",
        re.IGNORECASE,
    )


def _names_somebody(text: str) -> bool:
    """A given name with a surname, or after whose it is."""
    shown = unicodedata.normalize("NFKC", "".join(c for c in text if unicodedata.category(c) != "Cf"))
    pairs = [*_PAIR.finditer(shown), *_SPOKEN.finditer(shown)]
    if any(_is_full_name(found) and not _is_borne(shown, found) for found in pairs):
        return True
    if any(_is_addressed(found) for found in _titled().finditer(shown)):
        return True
    if any(_bare(found[1]) not in entries("not_surnames") for found in _FACE.finditer(shown)):
        return True
    alone = [*_related().finditer(shown), *_SINGLE.finditer(shown)]
    return any(_bare(found[1]) in entries("given_names") for found in alone)


def _is_borne(shown: str, found: "re.Match[str]") -> bool:
    """Whether the name is of a style, a book or a street rather than of somebody in the picture."""
    behind = shown[found.end() :].casefold()
    return _STYLE.search(shown[: found.start()]) is not None or _namesake().search(behind) is not None


@cache
def _namesake() -> re.Pattern[str]:
    return re.compile(rf"^(?: \w+)?(?:{'|'.join(entries('namesakes'))})\b")


def _is_full_name(found: "re.Match[str]") -> bool:
    given, surname = _bare(found[1]), _bare(found[2])
    if given not in entries("given_names") or surname in entries("not_surnames"):
        return False
    return f"{given} {surname}" not in entries("storied")


def _bare(word: str) -> str:
    decomposed = unicodedata.normalize("NFD", word.casefold())
    return "".join(c for c in decomposed if not unicodedata.combining(c))


# The gravest first.
_RULES: Final[tuple[tuple[Rule, Callable[[str, Iterable[str]], bool]], ...]] = (
    (Rule.MINORS, _minors),
    (Rule.NUDITY, _nudity),
    (Rule.SELF_HARM, _of("self_harm")),
    (Rule.HATE, _of("hate")),
    (Rule.VIOLENCE, _of("violence")),
    (Rule.OTHER_PERSON, _other_person),
)
