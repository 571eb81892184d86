"""What a backdrop is made from and what it says about its light."""

import colorsys
from dataclasses import dataclass

import numpy as np

from visiona.sandbox.replicate.painter.raster import Colour, Picture


@dataclass(frozen=True, slots=True)
class Canvas:
    """Size in pixels, source of chance, and the colours that the prompt asked for or suggests."""

    height: int
    width: int
    rng: np.random.Generator
    colours: tuple[Colour, ...]
    light: str

    @property
    def unit(self) -> float:
        """Sizes are given as parts of the shorter side, so that a picture looks alike at any size."""
        return float(min(self.height, self.width))

    def pick(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def accent(self, index: int, fallback: Colour) -> Colour:
        """The prompt's colour number `index`, or the scene's own."""
        return self.colours[index] if index < len(self.colours) else fallback

    def hue(self, hue: float, saturation: float, value: float) -> Colour:
        return colorsys.hsv_to_rgb(hue % 1.0, min(1.0, saturation), min(1.0, value))


@dataclass(frozen=True, slots=True)
class Backdrop:
    """A finished background and the light that falls from it on a person in front.

    `ambient` tints the whole person, `key` the edge that faces `side` (-1 left, 1 right). `ground`
    is what their lower edge fades into; `depth` in 0..1 how far out of focus the background is.
    `exposure` scales the person's brightness.
    """

    pixels: Picture
    key: Colour
    ambient: Colour
    ground: Colour
    side: float
    depth: float = 0.35
    exposure: float = 1.0
