"""From a reading to a finished prompt: what is missing is chosen, checked and joined."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Final

from visiona.sandbox.llm.rewriter.glossary import in_english
from visiona.sandbox.llm.rewriter.light import CLASHES, LIGHTS, lights_for, outfits_for, weather_details
from visiona.sandbox.llm.rewriter.media import EXPRESSIONS, FINISHES, LENSES, MEDIA
from visiona.sandbox.llm.rewriter.reading import Reading, content_words, only, read
from visiona.sandbox.llm.rewriter.scenes import PARTS, PLACES, Hour, Scene

MAX_WORDS: Final = 90

_PORTRAIT: Final = Scene(
    words="",
    kind="indoor",
    tone="calm",
    lens="portrait",
    poses=(
        "shoulders turned slightly away, face toward the camera",
        "seated sideways, one arm over the chair back",
    ),
    wears=("in a plain dark crew-neck knit", "in a soft collarless shirt"),
    details=("a softly textured plaster wall behind", "a plain backdrop fading from pale to dark"),
)
_SITTER: Final = replace(_PORTRAIT, kind="atelier")
_ANYWHERE: Final = Scene(
    words="",
    tone="easy",
    details=("clear layers of foreground, figure and distance", "surroundings kept simple around the figure"),
)

_COLD_WEAR: Final = ("in a heavy wool coat and a thick scarf", "in a down jacket with the hood back")
_FEMININE: Final = frozenset({"bead", "feather", "headband", "neckerchief", "sequin", "sheer", "ivor"})


def rewrite(prompt: str, trigger_word: str) -> str:
    """`prompt`, with every word kept, completed to at most `MAX_WORDS` where it leaves room."""
    said = in_english(" ".join(prompt.split()), trigger_word).rstrip(" .,;:!")
    core = with_subject(said, trigger_word)
    if len(core.split()) >= MAX_WORDS:
        return core
    reading = read(_without_trigger(core, trigger_word))
    draft = _Draft(core, seed=f"{trigger_word}\0{said}")
    _complete(draft, reading)
    return draft.text()


def with_subject(said: str, trigger_word: str) -> str:
    """`said` as a phrase about the trigger word; a bare keyword becomes a phrase of its own."""
    rest = _without_trigger(said, trigger_word).strip(" ,;:-")
    if not rest:
        return f"Portrait of {trigger_word}"
    if phrase := _completed_keyword(rest, trigger_word):
        return phrase
    if _has_word(said, trigger_word):
        return said
    replaced, changes = re.subn(r"(?<![\w-])(?:me|myself)(?![\w-])", lambda _: trigger_word, said, count=1)
    if changes:
        return replaced
    first_person = re.match(r"(?:I am|I'm|I\u2019m|I)\s+(?=\w+ing\b)", said)
    if first_person:
        return f"{trigger_word} {said[first_person.end() :]}"
    joins = re.match(
        r"(?:in|on|at|as|with|by|under|inside|near|wearing|dressed|\w+ing)\b", said, re.IGNORECASE
    )
    return f"{trigger_word}{'' if joins else ','} {said}"


def _completed_keyword(rest: str, trigger_word: str) -> str | None:
    for scene in (*PARTS, *PLACES):
        if scene.bare and only(rest, scene.words):
            article = "an" if rest[0].casefold() in "aeiou" else "a"
            return f"{trigger_word} {scene.bare.format(f'{article} {rest}')}"
    for medium in MEDIA:
        if only(rest, medium.words):
            return medium.bare.replace("TRIGGER", trigger_word)
    return None


def _has_word(text: str, word: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text) is not None


def _without_trigger(text: str, trigger_word: str) -> str:
    return re.sub(rf"(?<!\w){re.escape(trigger_word)}(?:['\u2019]s)?(?!\w)", " ", text)


@dataclass(slots=True)
class _Draft:
    """A prompt being completed. Nothing is added twice, and nothing beyond the word limit."""

    core: str
    seed: str
    subject: list[str] = field(default_factory=list[str])
    scene: list[str] = field(default_factory=list[str])
    craft: list[str] = field(default_factory=list[str])

    def add(self, section: list[str], phrases: Iterable[str], banned: frozenset[str] = frozenset()) -> None:
        """Add the first phrase that brings no word already there and none that is banned."""
        used = content_words(self.text()) | content_words(" ".join(banned))
        for phrase in phrases:
            if used.isdisjoint(content_words(phrase)) and self._fits(phrase):
                section.append(phrase)
                return

    def shuffled(self, *pools: tuple[str, ...]) -> Iterator[str]:
        """Each pool in turn, its phrases in an order that depends on the prompt alone."""
        for pool in pools:
            yield from sorted(pool, key=self.number)

    def number(self, purpose: str) -> int:
        return int.from_bytes(blake2b(f"{self.seed}\0{purpose}".encode(), digest_size=8).digest())

    def text(self) -> str:
        first = ", ".join([self.core, *self.subject])
        sentences = (first, ", ".join(self.scene), ", ".join(self.craft))
        return " ".join(f"{_capitalised(sentence)}." for sentence in sentences if sentence)

    def _fits(self, phrase: str) -> bool:
        return len(self.text().split()) + len(phrase.split()) <= MAX_WORDS


def _complete(draft: _Draft, reading: Reading) -> None:
    """Light first: it does most for a picture, so no other addition may take its words."""
    scenes = _scenes(reading)
    place, hour = scenes[-1], reading.hour or scenes[-1].hour
    banned = _clashes(reading, hour)
    if reading.medium is None or reading.medium.surroundings:
        if not reading.said_light:
            lights = lights_for(place.kind, hour, reading.weather)
            plain = LIGHTS["atelier" if reading.medium else "any"]
            unsuited = banned & CLASHES["medium"]
            draft.add(draft.scene, draft.shuffled(lights, plain.get(hour) or plain["noon"]), unsuited)
        _add_subject(draft, reading, scenes, banned)
        details = (weather_details(place.kind, reading.weather), reading.season)
        draft.add(
            draft.scene, draft.shuffled(*details, *(scene.details for scene in reversed(scenes))), banned
        )
    if reading.medium is not None:
        draft.add(draft.craft, draft.shuffled(reading.medium.craft))
        draft.add(draft.craft, draft.shuffled(reading.medium.palette))
    else:
        _add_photography(draft, reading, scenes)


def _scenes(reading: Reading) -> tuple[Scene, ...]:
    """The part first, for what the person does and wears; the place last, for light and air."""
    part = () if reading.part is None else (reading.part,)
    places = tuple(reversed(reading.places[:2]))
    if part or places:
        return (*part, *places)
    if reading.said_pose or reading.weather or reading.group or reading.foreign:
        return (_ANYWHERE,)
    return (_PORTRAIT,) if reading.medium is None else (_SITTER,)


def _clashes(reading: Reading, hour: Hour) -> frozenset[str]:
    conditions = {
        hour: True,
        reading.weather or "": True,
        "cold": reading.cold,
        "autumn": reading.autumn,
        "medium": reading.medium is not None,
    }
    clashes: set[str] = set()
    for condition, holds in conditions.items():
        clashes |= CLASHES.get(condition, frozenset()) if holds else frozenset()
    return frozenset(clashes)


def _add_subject(draft: _Draft, reading: Reading, scenes: tuple[Scene, ...], banned: frozenset[str]) -> None:
    """Pose, clothes and expression, unless the prompt is a story in sentences or cannot be read."""
    if re.search(r"[.!?;]\s", draft.core) or len(draft.core.split()) > 30 or reading.foreign:
        return
    leading = scenes[0]
    if not (reading.said_pose or reading.group or reading.company):
        draft.add(draft.subject, draft.shuffled(leading.poses), banned)
    if not (reading.said_wear or reading.group or reading.child):
        _add_clothes(draft, reading, scenes, banned)
    if not (reading.said_face or reading.child):
        draft.add(draft.subject, draft.shuffled(EXPRESSIONS[leading.tone]), banned)


def _add_clothes(draft: _Draft, reading: Reading, scenes: tuple[Scene, ...], banned: frozenset[str]) -> None:
    """A part dresses itself; elsewhere the weather comes before the place."""
    outfits = outfits_for(scenes[-1].kind, reading.weather) or (_COLD_WEAR if reading.cold else ())
    wears = scenes[0].wears
    phrases = draft.shuffled(wears, outfits) if reading.part is not None else draft.shuffled(outfits, wears)
    if re.search(r"\bin\b", draft.core):
        phrases = (re.sub(r"^in ", "wearing ", phrase) for phrase in phrases)
    draft.add(draft.subject, phrases, banned if reading.feminine else banned | _FEMININE)


def _add_photography(draft: _Draft, reading: Reading, scenes: tuple[Scene, ...]) -> None:
    if not reading.said_camera:
        lenses = draft.shuffled(reading.framing or LENSES[scenes[0].lens])
        draft.add(draft.craft, (_shot_on(lens) for lens in lenses))
    if not reading.said_finish:
        place = scenes[-1]
        finish = scenes[0].finish if place.finish == "natural" else place.finish
        draft.add(
            draft.craft, draft.shuffled(FINISHES["mono" if reading.mono else finish], FINISHES["natural"])
        )


def _shot_on(lens: str) -> str:
    if not lens[0].isdigit():
        return lens
    return f"shot on {'an' if lens[0] == '8' else 'a'} {lens}"


def _capitalised(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]
