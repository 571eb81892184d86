"""From photos and the inputs of a prediction to one encoded picture."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from visiona.sandbox.replicate.painter import prompt
from visiona.sandbox.replicate.painter.canvas import Backdrop, Canvas
from visiona.sandbox.replicate.painter.compose import compose
from visiona.sandbox.replicate.painter.mark import stamp
from visiona.sandbox.replicate.painter.portrait import TRUSTED, Portrait
from visiona.sandbox.replicate.painter.raster import (
    Picture,
    Pixels,
    blur,
    clip,
    contrast,
    encode,
    f32,
    from_pixels,
    luma,
    mix,
    resize,
    saturate,
    size,
    to_pixels,
    toward,
)
from visiona.sandbox.replicate.painter.scenes import SCENES
from visiona.sandbox.replicate.painter.scenes.parts import gloom, rain
from visiona.sandbox.replicate.painter.styles import STYLES
from visiona.sandbox.replicate.painter.styles.brush import Manner, face_weight

ASPECTS: Mapping[str, tuple[int, int]] = {
    "1:1": (1024, 1024),
    "16:9": (1344, 768),
    "21:9": (1536, 640),
    "3:2": (1216, 832),
    "2:3": (832, 1216),
    "4:5": (896, 1088),
    "5:4": (1088, 896),
    "3:4": (896, 1152),
    "4:3": (1152, 896),
    "9:16": (768, 1344),
    "9:21": (640, 1536),
}
"""Width and height of each named aspect ratio at one megapixel."""


# Where it rains behind the person too: not through roofs, not in space; neon streets have rain of their own.
_UNDER_THE_SKY = frozenset(
    {"autumn", "beach", "city_night", "desert", "forest", "garden", "mountains", "sky", "snow", "abstract"}
)


_NEAR_THE_BEST = 0.2


class SizeMissing(ValueError):
    """A custom aspect ratio was asked for without width and height."""


@dataclass(frozen=True, slots=True)
class Order:
    """One picture to be painted. `inputs` are a prediction's, defaults filled in."""

    inputs: Mapping[str, Any]
    seed: int
    image: Pixels | None = None
    mask: Pixels | None = None


def size_of(inputs: Mapping[str, Any], image: Pixels | None = None) -> tuple[int, int]:
    """Width and height of the picture in pixels, multiples of 16."""
    if image is not None:
        height, width = image.shape[:2]
        scale = min(1.0, 1440 / max(height, width))
        return _sixteens(width * scale), _sixteens(height * scale)
    if inputs["aspect_ratio"] == "custom":
        if inputs.get("width") is None or inputs.get("height") is None:
            raise SizeMissing("width and height must be defined if aspect ratio is 'custom'")
        return _sixteens(inputs["width"]), _sixteens(inputs["height"])
    width, height = ASPECTS[inputs["aspect_ratio"]]
    return (width // 2, height // 2) if inputs["megapixels"] == "0.25" else (width, height)


def paint(portraits: Sequence[Portrait], order: Order) -> bytes:
    """The encoded picture: the same portraits and order always give the same bytes."""
    inputs = order.inputs
    width, height = size_of(inputs, order.image)
    brief = prompt.read(inputs["prompt"])
    # Chance depends on seed and prompt alone: other inputs change how a picture looks, not what it shows.
    rng = np.random.default_rng([order.seed & 0xFFFFFFFFFFFFFFFF, brief.key])
    canvas = Canvas(height, width, rng, brief.colours, brief.light)
    backdrop = _backdrop(canvas, brief, order)
    guidance = float(inputs["guidance_scale"]) / 3.0
    scene = compose(canvas, backdrop, _choose(portraits, rng), float(inputs["lora_scale"]))
    if brief.rain:
        wet = rain(canvas, scene.pixels, near=1.0)
        scene = replace(scene, pixels=mix(wet, scene.pixels, face_weight(scene, 0.75)))
    manner = Manner(rng, guidance, canvas.unit, brief.colours)
    pixels = _light(clip(STYLES[brief.style](scene, manner)), brief.light, guidance)
    pixels = _undercook(pixels, rng, inputs)
    if order.image is not None and order.mask is not None:
        pixels = mix(_fit(order.image, height, width), pixels, luma(_fit(order.mask, height, width)))
    return encode(stamp(to_pixels(pixels)), inputs["output_format"], inputs["output_quality"])


def _sixteens(length: float) -> int:
    return max(16, int(length + 15) // 16 * 16)


def _choose(portraits: Sequence[Portrait], rng: np.random.Generator) -> Portrait:
    """One of the best cut portraits; any where none is well cut."""
    best = max((portrait.quality for portrait in portraits), default=0.0)
    good = [portrait for portrait in portraits if portrait.quality >= max(TRUSTED, best - _NEAR_THE_BEST)]
    pool = good or list(portraits)
    return pool[int(rng.integers(len(pool)))]


def _backdrop(canvas: Canvas, brief: prompt.Brief, order: Order) -> Backdrop:
    """The prompt's scene, or for image to image the given picture drawn towards it."""
    scene = SCENES[brief.scene](canvas)
    if brief.rain and brief.scene in _UNDER_THE_SKY:
        scene = _in_rain(canvas, scene)
    if order.image is None or order.mask is not None:
        return scene
    given = _fit(order.image, canvas.height, canvas.width)
    strength = float(order.inputs["prompt_strength"])
    pixels = mix(given, scene.pixels, strength * 0.75)
    return Backdrop(pixels, scene.key, scene.ambient, scene.ground, scene.side, scene.depth, scene.exposure)


def _in_rain(canvas: Canvas, scene: Backdrop) -> Backdrop:
    """The scene in bad weather, its light on the person with it."""
    return replace(
        scene,
        pixels=rain(canvas, gloom(canvas, scene.pixels)),
        key=toward(scene.key, (0.86, 0.93, 1.0), 0.6),
        ambient=toward(scene.ambient, (0.84, 0.90, 0.97), 0.6),
        exposure=scene.exposure * 0.95,
    )


def _fit(image: Pixels, height: int, width: int) -> Picture:
    return clip(resize(from_pixels(image), height, width))


def _light(pixels: Picture, light: str, guidance: float) -> Picture:
    """The last pass of a colourist, as far as the prompt asks for one."""
    amount = min(1.0, 0.55 + 0.25 * guidance)
    if light == "golden":
        return mix(pixels, clip(f32(pixels * f32((1.10, 0.98, 0.80)) + f32((0.02, 0.01, 0.0)))), amount)
    if light == "dramatic":
        return mix(pixels, clip(contrast(saturate(pixels, 0.9), 1.28, 0.52)), amount)
    if light == "cold":
        return mix(pixels, clip(f32(pixels * f32((0.86, 0.97, 1.12)))), amount)
    if light == "bright":
        return mix(pixels, clip(f32(pixels**0.86 * 1.02)), amount)
    return pixels


def _undercook(pixels: Picture, rng: np.random.Generator, inputs: Mapping[str, Any]) -> Picture:
    """Too few steps leave a picture soft and noisy."""
    enough = 4 if inputs["model"] == "schnell" else 20
    lack = max(0.0, 1.0 - float(inputs["num_inference_steps"]) / enough)
    if lack == 0.0:
        return pixels
    noise = rng.standard_normal(pixels.shape[:2], dtype=np.float32)
    soft = blur(pixels, lack * min(size(pixels)) * 0.006)
    return clip(f32(soft + noise[..., None] * 0.06 * lack))
