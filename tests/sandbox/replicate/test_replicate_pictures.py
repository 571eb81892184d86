"""Pictures: their sizes and formats, what they depend on, and the mark that each carries."""

import base64
import io
import re
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tests.factories.photos import snapshot

from visiona.sandbox.replicate.painter.mark import badge
from visiona.sandbox.replicate.painter.paint import ASPECTS, Order, paint
from visiona.sandbox.replicate.painter.portrait import (
    Face,
    Portrait,
    _draped,
    cut_out,
    find_face,
)
from visiona.sandbox.replicate.painter.prompt import read
from visiona.sandbox.replicate.painter.scenes import SCENES
from visiona.sandbox.replicate.painter.styles import STYLES
from visiona.sandbox.replicate.schemas import PREDICTION_FIELDS, complete

Pixels = NDArray[np.float32]


def decode(picture: bytes) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"), np.float32)


def difference(first: bytes, second: bytes) -> float:
    """Mean difference of two pictures of one size, of 255."""
    return float(np.abs(decode(first) - decode(second)).mean())


@pytest.fixture(scope="module")
def portraits() -> list[Portrait]:
    return [cut_out(np.asarray(snapshot("eileen", index))) for index in (0, 2)]


def painted(portraits: list[Portrait], prompt: str, seed: int = 1, **inputs: Any) -> bytes:
    given = complete(
        PREDICTION_FIELDS, {"prompt": prompt, "output_format": "png", "megapixels": "0.25", **inputs}
    )
    return paint(portraits, Order(given, seed))


def test_same_request_gives_the_same_bytes(sandbox: Any, trained: str) -> None:
    first = sandbox.pictures(trained, seed=7, num_outputs=2)
    assert sandbox.pictures(trained, seed=7, num_outputs=2) == first
    assert difference(*first) > 8


def test_absent_seed_is_random_and_in_the_log(sandbox: Any, trained: str) -> None:
    seeds = set()
    for _ in range(2):
        made = sandbox.finished(f"/predictions/{sandbox.predict(trained)['id']}")
        seeds.add(made["logs"].partition("Using seed: ")[2].split("\n")[0])
    assert len(seeds) == 2


def test_other_seeds_prompts_and_people_give_other_pictures(portraits: list[Portrait]) -> None:
    grace = [cut_out(np.asarray(snapshot("grace", 2)))]
    base = painted(portraits, "TOK in the mountains")
    assert difference(base, painted(portraits, "TOK in the mountains", seed=2)) > 8
    assert difference(base, painted(portraits, "TOK at the sea")) > 15
    assert difference(base, painted(grace, "TOK in the mountains")) > 8
    # Words that the painter does not know still decide the picture.
    assert difference(painted(portraits, "TOK qwertz"), painted(portraits, "TOK asdfgh")) > 10


@pytest.mark.parametrize(
    "change",
    [
        {"guidance_scale": 9},
        {"lora_scale": 0},
        {"lora_scale": 2.5},
        {"num_inference_steps": 2},
    ],
)
def test_strength_inputs_change_the_look_and_not_the_scene(
    portraits: list[Portrait], change: dict[str, Any]
) -> None:
    base, changed = painted(portraits, "TOK in a forest"), painted(portraits, "TOK in a forest", **change)
    assert 0.5 < difference(base, changed) < 40


def test_the_person_is_in_the_picture(portraits: list[Portrait]) -> None:
    """The face is found again, which it is not in the same scene without likeness."""
    with_face = [
        find_face(decode(painted(portraits, prompt)).astype(np.uint8))
        for prompt in ("TOK on the beach", "TOK in an office", "TOK in the snow")
    ]
    assert all(with_face)
    assert find_face(decode(painted(portraits, "TOK on the beach", lora_scale=0)).astype(np.uint8)) is None


@pytest.mark.parametrize(("ratio", "size"), ASPECTS.items())
def test_every_aspect_ratio_has_its_documented_size(
    portraits: list[Portrait], ratio: str, size: tuple[int, int]
) -> None:
    documented = {"1:1": (1024, 1024), "16:9": (1344, 768), "21:9": (1536, 640), "9:21": (640, 1536)}
    assert documented.get(ratio, size) == size
    picture = painted(portraits, "TOK in the snow", aspect_ratio=ratio)
    assert Image.open(io.BytesIO(picture)).size == (size[0] // 2, size[1] // 2)


def test_full_and_custom_sizes(portraits: list[Portrait]) -> None:
    full = painted(portraits, "TOK", megapixels="1", aspect_ratio="3:2")
    assert Image.open(io.BytesIO(full)).size == (1216, 832)
    custom = painted(portraits, "TOK", aspect_ratio="custom", width=300, height=521)
    assert Image.open(io.BytesIO(custom)).size == (304, 528)


def test_formats_and_quality(sandbox: Any, trained: str) -> None:
    (png,) = sandbox.pictures(trained, seed=1, output_format="png")
    (poor,) = sandbox.pictures(trained, seed=1, output_format="jpg", output_quality=10)
    (fine,) = sandbox.pictures(trained, seed=1, output_format="jpg", output_quality=95)
    assert [Image.open(io.BytesIO(data)).format for data in (png, poor, fine)] == ["PNG", "JPEG", "JPEG"]
    assert len(poor) * 3 < len(fine)
    assert difference(png, fine) < difference(png, poor)


@pytest.mark.parametrize("scene", sorted(SCENES))
def test_mark_is_there_and_legible_in_every_scene(portraits: list[Portrait], scene: str) -> None:
    word = {
        "abstract": "qwertz",
        "city_night": "skyline",
        "moon": "on the moon",
        "neon_city": "hologram",
        "sky": "clouds",
    }
    prompt = f"TOK {word.get(scene, scene)}"
    assert read(prompt).scene == scene
    assert_marked(decode(painted(portraits, prompt)))


@pytest.mark.parametrize("style", sorted(STYLES))
def test_mark_is_there_and_legible_in_every_manner(portraits: list[Portrait], style: str) -> None:
    words = {
        "master": "renaissance",
        "lowpoly": "low poly",
        "pop": "pop art",
        "photo": "TOK",
        "neon": "glitch",
    }
    prompt = f"{words.get(style, style)} in a garden"
    assert read(prompt).style == style
    assert_marked(decode(painted(portraits, prompt)))


def assert_marked(pixels: Pixels) -> None:
    """The letters of the badge stand out from its ground in the lower right corner."""
    height, width = pixels.shape[:2]
    pill = badge(round((height * width) ** 0.5))
    rows, columns = pill.shape[:2]
    margin = round(min(height, width) * 0.022)
    corner = pixels[height - margin - rows : height - margin, width - margin - columns : width - margin]
    grey = corner.mean(axis=2)
    letters, ground = pill[..., 0] > 200, (pill[..., 0] < 40) & (pill[..., 3] > 150)
    assert grey[letters].mean() - grey[ground].mean() > 90
    inside = pill[..., 3] > 150
    assert np.corrcoef(grey[inside], pill[..., 0][inside])[0, 1] > 0.7


@pytest.mark.parametrize(
    ("prompt", "scene", "style"),
    [
        ("TOK on the beach, portrait, with soft light from an office window", "beach", "photo"),
        ("portrait of TOK", "studio", "photo"),
        ("TOK at sunset", "beach", "photo"),
        ("golden hour in the mountains", "mountains", "photo"),
        ("oil painting of TOK in the streets of Paris, sketched", "city_night", "oil"),
        ("TOK, qwertz", "abstract", "photo"),
        ("film noir", "city_night", "noir"),
    ],
)
def test_prompts_are_read(prompt: str, scene: str, style: str) -> None:
    brief = read(prompt)
    assert (brief.scene, brief.style) == (scene, style)


def test_a_manner_alone_gets_a_place_that_suits_it() -> None:
    scenes = {read(f"TOK {word}, watercolour").scene for word in ("laughing", "thinking", "calm", "proud")}
    assert len(scenes) > 1
    assert scenes <= {"garden", "mountains", "sky"}


@pytest.mark.parametrize(
    ("prompt", "scene"),
    [
        ("TOK as an astronaut on the moon, earth rising behind", "moon"),
        ("TOK among the stars", "space"),
        ("TOK in the rain", "city_night"),
        ("TOK in a rainforest", "forest"),
    ],
)
def test_the_narrower_place_wins(prompt: str, scene: str) -> None:
    assert read(prompt).scene == scene


@pytest.mark.parametrize("prompt", ["TOK in the rain", "TOK with an umbrella in a garden", "TOK, stormy sea"])
def test_rain_is_heard_of(prompt: str) -> None:
    assert read(prompt).rain


@pytest.mark.parametrize("prompt", ["TOK under a rainbow", "TOK in a rainforest", "TOK on a train"])
def test_what_only_sounds_like_rain_is_not(prompt: str) -> None:
    assert not read(prompt).rain


def test_rain_is_seen(portraits: list[Portrait], monkeypatch: pytest.MonkeyPatch) -> None:
    """Streaks: for its brightness, more change across the falling drops than in the same picture dry."""
    wet = decode(painted(portraits, "TOK in a garden, rain"))
    monkeypatch.setattr("visiona.sandbox.replicate.painter.prompt._RAIN", re.compile("(?!)"))
    dry = decode(painted(portraits, "TOK in a garden, rain"))
    sky = slice(0, len(wet) // 3)
    wet_change, dry_change = (np.abs(np.diff(p[sky], axis=1)).mean() / p[sky].mean() for p in (wet, dry))
    assert wet_change > 1.3 * dry_change
    assert wet[sky].mean() < dry[sky].mean() - 20


def test_a_notch_between_neck_and_shoulder_is_filled() -> None:
    solid = np.zeros((120, 120), np.uint8)
    solid[20:60, 40:80] = 1  # head
    solid[60:70, 52:68] = 1  # neck
    solid[70:80, 30:90] = 1  # collar
    solid[80:90, 52:90] = 1  # what the outline lost on the left
    solid[90:, 20:100] = 1  # shoulders
    draped = _draped(solid, Face(60, 40, 36))
    assert (draped[80:90, 30:90] == 1).all()
    assert (draped[:80] == solid[:80]).all()
    assert (draped[90:] == solid[90:]).all()


def test_image_to_image_keeps_the_picture_that_is_given(sandbox: Any, trained: str) -> None:
    given = np.zeros((400, 600, 3), np.uint8)
    given[:, 300:] = (250, 10, 10)
    url = data_url(given)
    (near,) = sandbox.pictures(trained, image=url, prompt_strength=0.1, seed=2, output_format="png")
    (far,) = sandbox.pictures(trained, image=url, prompt_strength=1.0, seed=2, output_format="png")
    assert decode(near).shape == (400, 608, 3)
    top = (slice(0, 40), slice(560, 600))
    red = np.array((250, 10, 10))
    assert np.abs(decode(near)[top] - red).mean() + 20 < np.abs(decode(far)[top] - red).mean()


def test_mask_repaints_only_what_is_white(sandbox: Any, trained: str) -> None:
    given = np.full((512, 512, 3), 77, np.uint8)
    mask = np.zeros((512, 512, 3), np.uint8)
    mask[:, 256:] = 255
    (made,) = sandbox.pictures(trained, image=data_url(given), mask=data_url(mask), output_format="png")
    pixels = decode(made)
    assert np.abs(pixels[:, :200] - 77).max() <= 1
    assert pixels[:400, 300:].std() > 8


def data_url(pixels: NDArray[np.uint8]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def test_photos_without_a_face_still_make_pictures() -> None:
    rng = np.random.default_rng(1)
    blobs = rng.integers(0, 255, (9, 7, 3), dtype=np.uint8)
    photo = np.asarray(Image.fromarray(blobs).resize((500, 700), Image.Resampling.BICUBIC))
    nobody = cut_out(photo)
    assert nobody.face is None
    assert decode(painted([nobody], "TOK at the sea")).std() > 15


def test_unsafe_prompts_are_refused_as_documented(sandbox: Any, trained: str) -> None:
    made = sandbox.predict(trained, prompt="TOK nude", num_outputs=3)
    refused = sandbox.finished(f"/predictions/{made['id']}")
    assert (refused["status"], refused["output"]) == ("failed", None)
    assert refused["error"] == (
        "All generated images contained NSFW content. Try running it again with a different prompt."
    )
