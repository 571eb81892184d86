"""Backdrops among trees and flowers."""

import numpy as np

from visiona.sandbox.replicate.painter.canvas import Backdrop, Canvas
from visiona.sandbox.replicate.painter.raster import (
    Colour,
    Picture,
    blur,
    clip,
    disc,
    distance,
    f32,
    flat,
    fractal,
    gradient,
    grid,
    mix,
    polygon,
    smoothstep,
    toward,
)
from visiona.sandbox.replicate.painter.scenes.parts import bokeh, shafts


def forest(canvas: Canvas) -> Backdrop:
    """Trunks in mist with shafts of light from above."""
    height, width = canvas.height, canvas.width
    green = canvas.accent(0, canvas.hue(canvas.pick(0.24, 0.38), 0.55, 0.5))
    light = toward(green, (0.98, 0.96, 0.72), 0.7)
    sun_x = canvas.pick(0.15, 0.85)
    pixels = flat(height, width, toward(green, (0.1, 0.16, 0.1), 0.45))
    glow = f32(np.exp(-((distance(height, width, sun_x, 0.22) / 0.42) ** 2)))
    pixels = mix(pixels, light, f32(glow * 0.9))
    for layer, share in enumerate((0.2, 0.45, 0.75, 1.0)):
        shade = toward(toward(green, light, 0.45), (0.05, 0.09, 0.06), share)
        pixels = _trunks(canvas, pixels, 9 - 2 * layer, 0.012 + 0.016 * layer, shade)
        pixels = _foliage(canvas, pixels, toward(shade, green, 0.35), 0.62 - 0.05 * layer, 7 + 3 * layer)
        pixels = mix(pixels, light, f32(glow * (0.30 - 0.07 * layer)))
    pixels = shafts(canvas, pixels, sun_x, light)
    side = 1.0 if sun_x > 0.5 else -1.0
    return Backdrop(
        pixels,
        key=light,
        ambient=toward(green, (1, 1, 0.95), 0.66),
        ground=(0.05, 0.09, 0.05),
        side=side,
        depth=0.5,
        exposure=0.95,
    )


def autumn(canvas: Canvas) -> Backdrop:
    """Gold and rust out of focus, leaves in the air."""
    height, width = canvas.height, canvas.width
    pixels = gradient(
        height, width, [(0, (0.95, 0.76, 0.42)), (0.5, (0.78, 0.44, 0.18)), (1, (0.30, 0.14, 0.07))]
    )
    for layer in range(3):
        shade = canvas.accent(layer, canvas.hue(canvas.pick(0.01, 0.12), 0.85, canvas.pick(0.6, 1.0)))
        pixels = _foliage(canvas, pixels, shade, 0.52 + 0.05 * layer, 5 + 3 * layer)
        pixels = _trunks(canvas, pixels, 3, 0.016 + 0.01 * layer, (0.20, 0.11, 0.07))
    pixels = bokeh(
        canvas, blur(pixels, canvas.unit * 0.016), [(1.0, 0.78, 0.35), (1.0, 0.55, 0.2), (1, 0.9, 0.6)], 46
    )
    pixels = _leaves(canvas, pixels)
    return Backdrop(
        pixels,
        key=(1.0, 0.78, 0.45),
        ambient=(1.0, 0.88, 0.70),
        ground=(0.24, 0.11, 0.05),
        side=canvas.pick(-1, 1),
        depth=0.15,
    )


def garden(canvas: Canvas) -> Backdrop:
    """A meadow in bloom, the flowers large and soft near the viewer."""
    height, width = canvas.height, canvas.width
    sky = canvas.accent(1, (0.68, 0.84, 0.96))
    pixels = gradient(
        height,
        width,
        [(0, sky), (0.42, (0.86, 0.93, 0.82)), (0.5, (0.52, 0.70, 0.34)), (1, (0.16, 0.36, 0.14))],
    )
    pixels = _foliage(canvas, pixels, (0.32, 0.54, 0.24), 0.60, 6)
    bloom = canvas.accent(0, canvas.hue(canvas.pick(0.82, 1.05), 0.6, 0.98))
    second = canvas.hue(canvas.pick(0, 1), 0.55, 0.98)
    for index in range(150):
        depth = index / 150
        where = (
            canvas.pick(0, width),
            height * (0.48 + 0.5 * depth**1.3) + canvas.pick(-0.03, 0.03) * height,
        )
        _flower(
            canvas, pixels, where, canvas.unit * (0.006 + 0.034 * depth**2), bloom if index % 3 else second
        )
    pixels = bokeh(canvas, blur(pixels, canvas.unit * 0.007), [(1, 1, 0.9), bloom], 24)
    return Backdrop(
        pixels,
        key=(1.0, 0.98, 0.9),
        ambient=(0.96, 1.0, 0.93),
        ground=(0.12, 0.28, 0.10),
        side=canvas.pick(-1, 1),
        depth=0.35,
        exposure=1.04,
    )


def _trunks(canvas: Canvas, pixels: Picture, count: int, thick: float, shade: Colour) -> Picture:
    height, width = canvas.height, canvas.width
    mask = np.zeros((height, width), np.float32)
    for _ in range(int(count * max(1.0, width / height))):
        x, half = canvas.pick(-0.05, 1.05) * width, canvas.unit * thick * canvas.pick(0.5, 1.3)
        lean = canvas.pick(-0.04, 0.04) * height
        polygon(
            mask,
            [(x - half * 0.6 + lean, 0), (x + half * 0.6 + lean, 0), (x + half, height), (x - half, height)],
            1.0,
        )
    bark = fractal(canvas.rng, height, width, cells=40, octaves=3)
    body = f32(f32(shade) * (0.8 + 0.4 * bark[..., None]))
    return mix(pixels, body, mask)


def _foliage(canvas: Canvas, pixels: Picture, shade: Colour, threshold: float, cells: float) -> Picture:
    height, width = canvas.height, canvas.width
    leaves = fractal(canvas.rng, height, width, cells=cells, octaves=6, gain=0.68)
    rows, _ = grid(height, width)
    crowns = smoothstep(threshold, threshold + 0.06, f32(leaves + (0.38 - rows) * 0.35))
    grain = fractal(canvas.rng, height, width, cells=cells * 7, octaves=3)
    body = f32(f32(shade) * (0.55 + 0.9 * grain[..., None]))
    return mix(pixels, clip(body), crowns * 0.9)


def _leaves(canvas: Canvas, pixels: Picture) -> Picture:
    for _ in range(34):
        x, y = canvas.pick(0, canvas.width), canvas.pick(0, canvas.height)
        size, turn = canvas.unit * canvas.pick(0.008, 0.026), canvas.pick(0, np.pi)
        shade = canvas.hue(canvas.pick(0.0, 0.13), 0.9, canvas.pick(0.55, 0.95))
        cos, sin = float(np.cos(turn)), float(np.sin(turn))
        shape = [(-1.0, 0.0), (-0.3, 0.45), (0.5, 0.35), (1.1, 0.0), (0.5, -0.35), (-0.3, -0.45)]
        polygon(
            pixels,
            [(x + (a * cos - b * sin) * size, y + (a * sin + b * cos) * size) for a, b in shape],
            shade,
        )
    return pixels


def _flower(canvas: Canvas, pixels: Picture, where: tuple[float, float], size: float, colour: Colour) -> None:
    turn = canvas.pick(0, 1)
    shade = toward(colour, (1, 1, 1), canvas.pick(0, 0.35))
    for petal in range(5):
        angle = (petal + turn) * 2 * np.pi / 5
        disc(
            pixels,
            (where[0] + float(np.cos(angle)) * size, where[1] + float(np.sin(angle)) * size * 0.7),
            size * 0.75,
            shade,
        )
    disc(pixels, where, size * 0.45, (0.98, 0.84, 0.35))
