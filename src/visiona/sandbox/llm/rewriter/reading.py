"""What a prompt already says: which scene it is, and which of its questions are answered."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Final, TypeVar

from visiona.sandbox.llm.rewriter.glossary import looks_foreign
from visiona.sandbox.llm.rewriter.light import HOURS, SEASONS, WEATHERS, Weather
from visiona.sandbox.llm.rewriter.media import FRAMINGS, MEDIA, Medium
from visiona.sandbox.llm.rewriter.scenes import PARTS, PLACES, Hour, Scene

_LIGHT = (
    r"\w*light(?:s|ing|ed)?|lit|backlit|shadows?|glow(?:ing)?|softbox|chiaroscuro|candles?|lamps?|lanterns?|"
    r"torch(?:es|light)?|sun ?rays|god rays|flash|silhouette|high[- ]key|low[- ]key|neon"
)
_NOT_LIGHT = r"northern lights|light (?:blue|green|brown|gr[ae]y|pink|rain|snow|jacket|coat)|christmas lights"
_CAMERA = (
    r"\d+ ?mm|lens|bokeh|depth of field|f/?\d(?:\.\d)?|shot on|camera|dslr|leica|hasselblad|nikon|canon|sony|"
    r"gopro|iphone|kodak|portra|fuji\w*|polaroid|film(?! noir)|telephoto|tilt[- ]shift|fish-?eye"
)
_WEAR = (
    r"wear(?:ing|s)?|dressed|clothes|outfit|costume|uniform|arm(?:or|our)|suit|tuxedo|dress|gown|shirt|t-?shirt|"
    r"tee|jacket|blazer|coat|hoodie|sweater|jumper|jeans|skirt|shorts|bikini|swimsuit|kimono|robes?|cloak|cape|"
    r"hat|scarf|tie|apron|jersey|toga|sari|kilt|leather|denim|linen|silk|spacesuit|wetsuit|naked|nude|shirtless"
)
_POSE = (
    r"sits?|stands?|lies|leans?|holds?|walks?|runs?|jumps?|rides?|looks?|plays?|drinks?|eats?|dances?|kneels?|"
    r"crouch\w*|pos(?:e|es|ed)|mid-?air|arms (?:crossed|folded|raised)|hands? (?:in|on)|hugs?|"
    r"fights?|kicks?|throws?"
)
_NOT_A_POSE = (
    r"(?:morning|evening|building|painting|drawing|wedding|king|ring|lighting|clothing|wearing|spring|string|"
    r"wing|thing|something|anything|nothing|everything|during|amazing|stunning|charming|interesting|breathtaking|"
    r"smiling|laughing|grinning|frowning|crying|ceiling|viking|beijing|feeling|being|evening|sterling|raining|"
    r"snowing|glowing|shading|engraving|etching|bling|darling|duckling|sibling|pudding|co-?working)"
)
_FACE = (
    r"smil\w+|laugh\w*|grin\w*|frown\w*|serious|sad|happy|angry|calm|confident|crying|tears|expression|"
    r"gaz(?:e|es|ing)|"
    r"stare|staring|scream\w*|shout\w*|wink\w*|surprised|joyful|pensive|thoughtful|eyes closed|asleep|"
    r"sleep\w*|meditat\w+|from behind|back to (?:the )?camera|silhouette|mask(?:ed)?|helmet|faceless|"
    r"looking|looks|underwater|determined|fierce|proud|relaxed|melanchol\w+"
)
_FINISH = (
    r"cinematic|moody|dreamy|dramatic|vintage|retro|grain\w*|pastel|monochrom\w+|vibrant|muted|(?:de)?saturated|"
    r"color grad\w+|colou?rful|palette|tones?|hdr|sepia|faded|(?:warm|cool) colou?rs|"
    r"(?:photo)?realis\w+"
)
_GROUP = (
    r"(?:with|and|beside|next to|hugging|holding) (?:(?:my|his|her|their|a|an|the|two|three|some|\w+ing) )*"
    r"(?:\w+ )?(?:wife|husband|friends?|family|kids?|child(?:ren)?|son|daughter|mother|father|mom|mum|dad|"
    r"girlfriend|boyfriend|partner|people|team|crowd|grand\w+|brother|sister|baby|couple|colleagues?)"
)
_PREPOSITION = r"(?:in|on|at|inside|by|beside|near|under|through|along|across|against|around|behind)"


@dataclass(frozen=True, slots=True)
class Reading:
    """One prompt, understood as far as keywords go. `said_*` means: the person decided that."""

    places: tuple[Scene, ...]
    part: Scene | None
    medium: Medium | None
    hour: Hour | None
    weather: Weather | None
    framing: tuple[str, ...]
    cold: bool
    mono: bool
    feminine: bool
    portrait: bool
    season: tuple[str, ...]
    autumn: bool
    company: bool
    group: bool
    foreign: bool
    child: bool
    said_light: bool
    said_camera: bool
    said_wear: bool
    said_pose: bool
    said_face: bool
    said_finish: bool


def read(text: str) -> Reading:
    """Understand `text`, a prompt from which the trigger word was taken out."""
    medium = _first(MEDIA, text)
    part = None if says(text, "watching") else _first(PARTS, text)
    mono = says(text, r"black[- ]and[- ]white|b&w|bw|monochrome|film noir")
    return Reading(
        places=_places(text),
        part=part,
        medium=medium,
        hour=next((hour for hour, words in HOURS if says(text, words)), None),
        weather=next((weather for weather, words in WEATHERS if says(text, words)), None),
        framing=next((phrases for words, phrases in FRAMINGS if says(text, words)), ()),
        cold=says(text, r"snow\w*|winter|cold|freezing|frozen|ice|icy|arctic|blizzard|antarctica"),
        mono=mono,
        feminine=says(
            text, r"woman|girl|she|her|lady|female|bride|queen|princess|flapper|actress|goddess|dress|gown"
        ),
        portrait=_is_portrait(text),
        season=next((details for words, details in SEASONS if says(text, words)), ()),
        autumn=says(text, "autumn|fall leaves"),
        company=says(text, r"with (?:an?|my|his|her|their|the|two|some) \w+") or _meets(text, part),
        group=says(text, _GROUP) or _meets(text, part),
        foreign=looks_foreign(text),
        child=says(text, r"child|kid|baby|toddler|infant|as a (?:little |young )?(?:boy|girl)"),
        said_light=says(_without(text, _NOT_LIGHT), _LIGHT),
        said_camera=says(text, _CAMERA),
        said_wear=says(text, _WEAR),
        said_pose=_says_pose(text, part),
        said_face=says(text, _FACE),
        said_finish=says(text, _FINISH) and not mono,
    )


def _is_portrait(text: str) -> bool:
    """Whether nothing beyond the person, a medium and a mood is asked for."""
    if says(text, rf"{_POSE}|as (?:an?|the|my) \w+|{_GROUP}") or looks_foreign(text):
        return False
    if says(text, r"portrait|photo(?:graph)?|headshot|close-?up"):
        return True
    known = (
        _FACE,
        _FINISH,
        _LIGHT,
        _CAMERA,
        *(words for _, words in HOURS),
        *(medium.words for medium in MEDIA),
    )
    rest = _without(text, rf"{'|'.join(known)}|masterpiece|best|quality|style|\d\w|detailed|ultra|highly|hd")
    return not content_words(rest)


def _meets(text: str, part: Scene | None) -> bool:
    """Whether the part is somebody else's: "fighting a robot"."""
    meeting = (
        r"(?:with|and|fighting|hugging|beside|next to|against|meeting) (?:(?:an?|the|my|two) )?(?:\w+ )?"
    )
    return part is not None and says(text, rf"{meeting}(?:{part.words})")


def _says_pose(text: str, part: Scene | None) -> bool:
    """An activity that only names the part ("playing tennis") leaves the pose open."""
    rest = _without(text, _NOT_A_POSE)
    if part is not None:
        rest = _without(
            rest, rf"(?:(?:playing|plays|doing|practi[cs]ing|riding|rides) (?:an? )?)?(?:{part.words})"
        )
    return says(rest, _POSE) or says(rest, r"\w{2,}ing")


def _without(text: str, words: str) -> str:
    return _pattern(words).sub(" ", text)


def says(text: str, words: str) -> bool:
    """Whether one of the alternatives in `words` occurs as a whole word."""
    return _pattern(words).search(text) is not None


def only(text: str, words: str) -> bool:
    """Whether `text` is one of the alternatives in `words`, and nothing more."""
    return _pattern(words).fullmatch(text) is not None


@cache
def _pattern(words: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w)(?:{words})(?!\w)", re.IGNORECASE)


_Named = TypeVar("_Named", Scene, Medium)


def _first(candidates: Iterable[_Named], text: str) -> _Named | None:
    return next((candidate for candidate in candidates if says(text, candidate.words)), None)


def _places(text: str) -> tuple[Scene, ...]:
    """The places named, one that follows a preposition ("on the beach") before a mere mention."""
    named = [place for place in PLACES if says(text, place.words)]
    located = rf"{_PREPOSITION} (?:(?:a|an|the|my|his|her|our) )?(?:\w+ )?"
    return tuple(sorted(named, key=lambda place: not says(text, rf"{located}(?:{place.words})")))


_STOP: Final = frozenset(
    re.findall(
        r"\w+",
        """
        a above across after against all along an and are around as at be before behind below beside between
        both by down each every few for from her his in into is it its me my near no not of off on one onto or
        our out over some than that the their them these this those through to two under up very was while
        with without
        """,
    )
)


def content_words(text: str) -> frozenset[str]:
    """The words that carry meaning, reduced so that "reflected" and "reflections" are one."""
    words = re.findall(r"[^\W\d_]+", text.casefold())
    return frozenset(_stem(word) for word in words if len(word) > 2 and word not in _STOP)


def _stem(word: str) -> str:
    for ending in ("ions", "ings", "ing", "ion", "ies", "ed", "es", "s", "y"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word
