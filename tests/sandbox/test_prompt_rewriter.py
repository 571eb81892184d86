"""The sandbox's rewriter: keeps what was said, adds what is missing, and nothing that does not fit."""

import re
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from visiona.sandbox.llm.rewriter import light as lights
from visiona.sandbox.llm.rewriter import media, rewrite
from visiona.sandbox.llm.rewriter.reading import content_words
from visiona.sandbox.llm.rewriter.scenes import PARTS, PLACES, Scene

SUBJECTS = [
    "TOK",
    "portrait of TOK",
    "TOK as a knight",
    "TOK as an astronaut",
    "TOK ceo",
    "TOK playing tennis",
    "TOK smiling",
]
PLACE_PHRASES = [
    "",
    "on a beach",
    "in a forest",
    "in Paris",
    "in a café",
    "in the mountains",
    "in the snow",
    "at the office",
]
HOURS = ["", "at night", "at sunset", "in the morning"]
WEATHERS = ["", "in the rain", "in the fog"]
MEDIA = ["", ", oil painting", ", watercolor", ", black and white", ", anime"]

prompts = st.builds(
    lambda *parts: " ".join(part for part in parts if part).replace(" ,", ","),
    st.sampled_from(SUBJECTS),
    st.sampled_from(PLACE_PHRASES),
    st.sampled_from(HOURS),
    st.sampled_from(WEATHERS),
    st.sampled_from(MEDIA),
)


def words_of(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def is_in_order(needle: list[str], haystack: list[str]) -> bool:
    rest = iter(haystack)
    return all(word in rest for word in needle)


@given(prompt=prompts)
def test_every_word_stays_and_the_limit_holds(prompt: str) -> None:
    text = rewrite(prompt, "TOK")
    assert is_in_order(words_of(prompt), words_of(text))
    assert len(re.findall(r"(?<!\w)TOK(?!\w)", text)) == 1
    assert len(text.split()) <= 90
    assert len(text.split()) >= len(prompt.split()) + 12
    assert rewrite(prompt, "TOK") == text


@given(prompt=prompts)
def test_no_word_that_carries_meaning_is_said_twice(prompt: str) -> None:
    text = rewrite(prompt, "TOK")
    counts = Counter(stem for word in words_of(text) for stem in content_words(word))
    assert {stem for stem, count in counts.items() if count > 1} <= content_words(prompt)


@given(prompt=prompts)
@example("TOK playing tennis at sunset in the rain")
def test_additions_fit_hour_weather_and_medium(prompt: str) -> None:
    added = " ".join(words_of(rewrite(prompt, "TOK"))).replace(" ".join(words_of(prompt)), "")
    has = set(added.split()).__contains__
    space = "astronaut" in prompt
    if "at night" in prompt and not space:
        assert not has("sun")
        assert not has("daylight")
        assert "golden hour" not in added
    if "in the rain" in prompt and not space:
        assert not has("sun")
        assert not has("dust")
        assert not has("linen")
    if "painting" in prompt or "watercolor" in prompt or "anime" in prompt:
        assert not re.search(r"lens|\d+mm|shot on|focus|blurred|kodachrome|skin", added)
    if "black and white" in prompt:
        assert not has("kodachrome")
        assert "color" not in added.replace("multicolor", "")


def phrases() -> Iterator[str]:
    for scene in (*PLACES, *PARTS):
        yield from (*scene.poses, *scene.wears, *scene.details)
    for medium in media.MEDIA:
        yield from (*medium.craft, *medium.palette)
    for table in (
        media.LENSES,
        media.FINISHES,
        media.EXPRESSIONS,
        lights.WEATHER_DETAILS,
        lights.WINDOW_DETAILS,
    ):
        for pool in table.values():
            yield from pool
    for hours in lights.LIGHTS.values():
        for pool in hours.values():
            yield from pool


def test_every_phrase_can_follow_any_prompt() -> None:
    for phrase in phrases():
        assert 1 <= len(phrase.split()) <= 14, phrase
        assert not re.search(
            r"\b(?:he|she|his|her|they|him)\b|[.;!?\"]", phrase.replace("f/1.8", "").replace("f/2.8", "")
        ), phrase
        counts = Counter(stem for word in words_of(phrase) for stem in content_words(word))
        assert max(counts.values(), default=0) <= 1, phrase


NAMED = {"as {}": ["a superhero", "a queen", "a wizard", "a pirate", "a biker", "a ceo"]}


@pytest.mark.parametrize("scene", [*PLACES, *PARTS], ids=lambda scene: f"{scene.bare}-{scene.words[:8]}")
def test_every_scene_is_recognised_and_brings_something_of_its_own(scene: Scene) -> None:
    prompts_for = [f"TOK {scene.bare.format(name)}" for name in NAMED.get(scene.bare, [""])]
    [prompt] = [
        prompt for prompt in prompts_for if re.search(rf"\b(?:{scene.words})\b", prompt, re.IGNORECASE)
    ]
    text = rewrite(prompt, "TOK").casefold().replace("wearing", "in")
    own = (*scene.poses, *scene.wears, *scene.details)
    assert sum(phrase.casefold() in text for phrase in own) >= 2, text


@pytest.mark.parametrize(
    ("prompt", "start"),
    [
        ("TOK beach", "TOK on a beach, "),
        ("beach", "TOK on a beach, "),
        ("TOK viking", "TOK as a viking, "),
        ("TOK king", "TOK as a king, "),
        ("TOK", "Portrait of TOK, "),
        ("", "Portrait of TOK, "),
        ("watercolor TOK", "A watercolor of TOK, "),
        ("TOK hiking", "TOK hiking, "),
        ("TOK lavender", "TOK lavender, "),
        ("TOK as a Greek god", "TOK as a Greek god. "),
        ("TOK with wings", "TOK with wings. "),
        ("me on a beach", "TOK on a beach, "),
        ("selfie of me with friends", "Selfie of TOK with friends. "),
        ("I'm hiking in the alps", "TOK hiking in the alps, "),
        ("as a knight on a horse", "TOK as a knight on a horse, "),
        ("a man in a red coat", "TOK, a man in a red coat. "),
        ("TOK am Strand bei Sonnenuntergang", "TOK on the beach at sunset, "),
        ("TOK sur une plage, la nuit", "TOK on a beach, at night, "),
        ("TOK como un caballero", "TOK as a knight, "),
        ("ritratto di TOK in bianco e nero", "Portrait of TOK in black and white, "),
    ],
)
def test_the_subject_is_said_in_plain_english(prompt: str, start: str) -> None:
    assert rewrite(prompt, "TOK").startswith(start)


@pytest.mark.parametrize(
    ("prompt", "absent"),
    [
        ("TOK wearing a red dress on a beach", r"wearing a (?!red)|, in a"),
        ("TOK with no smile, business portrait", r"smile(?! *, business)|expression|gaze"),
        ("TOK, shot on a 50mm lens, in Paris", r"35mm|85mm|28mm|40mm"),
        ("TOK in Paris, soft candlelight", r"sun|evening light|dusk"),
        ("TOK seen from behind, looking at the sea", r"half-smile|gaze|expression"),
        ("TOK as a child with a balloon", r"wearing|, in a"),
        ("TOK and my wife at our wedding", r"wearing|, in "),
        ("TOK fighting a robot", r"ceramic|flexing"),
        ("a logo of TOK", r"lens|light|wearing|smile"),
        ("TOK trinkt Kaffee am Strand", r"wearing|seated|walking"),
    ],
)
def test_what_was_decided_is_not_decided_again(prompt: str, absent: str) -> None:
    assert not re.search(absent, rewrite(prompt, "TOK"))


def test_a_story_is_left_alone_but_for_light_and_lens() -> None:
    story = "TOK is late. The last tram has gone, and he runs along the empty canal with a broken umbrella"
    text = rewrite(story, "TOK")
    assert text.startswith(f"{story}. ")
    assert "lens" in text


def test_a_prompt_beyond_the_limit_is_returned_as_it_is() -> None:
    long = "TOK " + " ".join(f"word{number}" for number in range(120))
    assert rewrite(long, "TOK") == long


@given(prompt=st.text(max_size=300), trigger_word=st.from_regex(r"[A-Za-z0-9_]{1,20}", fullmatch=True))
def test_any_text_is_taken(prompt: str, trigger_word: str) -> None:
    assert trigger_word in rewrite(prompt, trigger_word)
