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
    draft = _Draft(core, trigger_word)
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
            phrase = scene.bare.format(f"{article} {rest}")
            if rest.casefold() in phrase.casefold():
                return f"{trigger_word} {phrase}"
    for medium in MEDIA:
        if only(rest, medium.words) and rest.casefold() in medium.bare.casefold():
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
    trigger_word: str
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
        return int.from_bytes(
            blake2b(f"{self.core}\0{purpose}".encode(errors="replace"), digest_size=8).digest()
        )

    def text(self) -> str:
        first = ", ".join([self.core, *self.subject])
        sentences = (first, ", ".join(self.scene), ", ".join(self.craft))
        return " ".join(f"{self._capitalised(sentence)}." for sentence in sentences if sentence)

    def _capitalised(self, sentence: str) -> str:
        if sentence.startswith(self.trigger_word):
            return sentence
        return sentence[0].upper() + sentence[1:]

    def _fits(self, phrase: str) -> bool:
        return len(self.text().split()) + len(phrase.split()) <= MAX_WORDS


@dataclass(frozen=True, slots=True)
class _Setting:
    """Which scene says what the person does and wears, and which one the light and surroundings."""

    leading: Scene
    place: Scene
    details: tuple[tuple[str, ...], ...]
    hour: Hour
    banned: frozenset[str]


def _complete(draft: _Draft, reading: Reading) -> None:
    """Light first: it does most for a picture, so no other addition may take its words."""
    setting = _setting(reading)
    if reading.medium is None or reading.medium.surroundings:
        if not reading.said_light:
            _add_light(draft, reading, setting)
        _add_subject(draft, reading, setting)
        for pool in setting.details:
            draft.add(draft.scene, draft.shuffled(pool), setting.banned)
    if reading.medium is not None:
        draft.add(draft.craft, draft.shuffled(reading.medium.craft))
        draft.add(draft.craft, draft.shuffled(reading.medium.palette))
    else:
        _add_photography(draft, reading, setting)


def _setting(reading: Reading) -> _Setting:
    default = _ANYWHERE
    if reading.portrait:
        default = _PORTRAIT if reading.medium is None else _SITTER
    leading = reading.part or next(iter(reading.places), default)
    place = next(iter(reading.places), leading)
    hour = reading.hour or place.hour
    conditions = {
        hour: True,
        reading.weather or "": True,
        "cold": reading.cold,
        "autumn": reading.autumn,
        "medium": reading.medium is not None,
        "mono": reading.mono,
    }
    clashes = (CLASHES.get(condition, frozenset()) for condition, holds in conditions.items() if holds)
    outside = weather_details(place.kind, reading.weather) or reading.season
    own = tuple(scene.details for scene in reading.places[:2]) or (leading.details,)
    return _Setting(
        leading, place, (outside, *own) if outside else own, hour, frozenset[str]().union(*clashes)
    )


def _add_light(draft: _Draft, reading: Reading, setting: _Setting) -> None:
    plain = LIGHTS["atelier" if reading.medium else "any"]
    lights = lights_for(setting.place.kind, setting.hour, reading.weather)
    against = CLASHES.get(reading.weather or "", frozenset())
    unsuited = setting.banned & (CLASHES["medium"] | CLASHES["mono"] | against)
    draft.add(draft.scene, draft.shuffled(lights, plain.get(setting.hour) or plain["noon"]), unsuited)


def _add_subject(draft: _Draft, reading: Reading, setting: _Setting) -> None:
    """Pose, clothes and expression, unless the prompt is a story in sentences or cannot be read."""
    if re.search(r"[.!?;]\s", draft.core) or len(draft.core.split()) > 30 or reading.foreign:
        return
    if not (reading.said_pose or reading.group or reading.company):
        draft.add(draft.subject, draft.shuffled(setting.leading.poses), setting.banned)
    if not (reading.said_wear or reading.group or reading.child):
        _add_clothes(draft, reading, setting)
    mood_is_known = setting.leading is not _ANYWHERE
    if mood_is_known and not (reading.said_face or reading.child):
        draft.add(draft.subject, draft.shuffled(EXPRESSIONS[setting.leading.tone]), setting.banned)


def _add_clothes(draft: _Draft, reading: Reading, setting: _Setting) -> None:
    """A part dresses itself; elsewhere the weather comes before the place."""
    outfits = outfits_for(setting.place.kind, reading.weather) or (_COLD_WEAR if reading.cold else ())
    pools = (setting.leading.wears, outfits) if reading.part else (outfits, setting.leading.wears)
    phrases = draft.shuffled(*pools)
    if re.search(r"\bin\b", draft.core):
        phrases = (re.sub(r"^in ", "wearing ", phrase) for phrase in phrases)
    draft.add(draft.subject, phrases, setting.banned if reading.feminine else setting.banned | _FEMININE)


def _add_photography(draft: _Draft, reading: Reading, setting: _Setting) -> None:
    if not reading.said_camera:
        lenses = draft.shuffled(reading.framing or LENSES[setting.leading.lens])
        draft.add(draft.craft, (_shot_on(lens) for lens in lenses))
    if reading.mono:
        draft.add(draft.craft, draft.shuffled(FINISHES["mono"]))
    elif not reading.said_finish:
        place = setting.place
        finish = setting.leading.finish if place.finish == "natural" else place.finish
        draft.add(draft.craft, draft.shuffled(FINISHES[finish], FINISHES["natural"]), setting.banned)


def _shot_on(lens: str) -> str:
    if not lens[0].isdigit():
        return lens
    return f"shot on {'an' if lens[0] == '8' else 'a'} {lens}"
