"""Backdrops of towns by night."""

import itertools

import numpy as np

from visiona.sandbox.replicate.painter.canvas import Backdrop, Canvas
from visiona.sandbox.replicate.painter.raster import (
    Colour,
    Picture,
    blur,
    f32,
    gradient,
    grid,
    line,
    mix,
    resize,
    screen,
    smoothstep,
    toward,
)
from visiona.sandbox.replicate.painter.scenes.parts import bokeh, glow, rain


def city_night(canvas: Canvas) -> Backdrop:
    """A skyline with lit windows, street lights melting into circles."""
    height, width = canvas.height, canvas.width
    top = canvas.accent(0, canvas.hue(canvas.pick(0.6, 0.72), 0.65, 0.30))
    low = canvas.accent(1, canvas.hue(canvas.pick(-0.08, 0.10), 0.6, 0.78))
    pixels = gradient(height, width, [(0, top), (0.75, toward(top, low, 0.7)), (1, low)])
    pixels = _skyline(
        canvas, pixels, [(1.0, 0.80, 0.48), (1.0, 0.92, 0.74), (0.72, 0.86, 1.0)], toward(top, low, 0.4)
    )
    pixels = blur(pixels, canvas.unit * 0.0035)
    pixels = bokeh(
        canvas,
        pixels,
        [(1.0, 0.68, 0.3), (1.0, 0.86, 0.6), (0.95, 0.3, 0.24), (0.5, 0.75, 1.0)],
        44,
        low=0.55,
    )
    return Backdrop(
        glow(pixels, canvas, 0.35),
        key=(1.0, 0.76, 0.46),
        ambient=(0.84, 0.86, 1.0),
        ground=(0.06, 0.06, 0.10),
        side=canvas.pick(-1, 1),
        depth=0.22,
        exposure=0.92,
    )


def neon_city(canvas: Canvas) -> Backdrop:
    """Wet streets between signs of pink and cyan."""
    height, width = canvas.height, canvas.width
    pink = canvas.accent(0, canvas.hue(canvas.pick(0.84, 0.93), 0.85, 1.0))
    cyan = canvas.accent(1, canvas.hue(canvas.pick(0.48, 0.58), 0.85, 1.0))
    pixels = gradient(
        height, width, [(0, (0.05, 0.02, 0.14)), (0.7, (0.26, 0.05, 0.32)), (1, (0.05, 0.03, 0.12))]
    )
    pixels = _skyline(canvas, pixels, [pink, cyan, (1.0, 0.85, 0.45)], (0.20, 0.06, 0.30))
    signs = np.zeros_like(pixels)
    for index in range(int(11 * max(1.0, width / height))):
        _sign(canvas, signs, pink if index % 2 else cyan)
    pixels = screen(screen(pixels, signs), blur(signs, canvas.unit * 0.03) * np.float32(1.5))
    street = int(height * 0.8)
    mirror = pixels[street - (height - street) : street][::-1]
    mirror = resize(resize(f32(mirror), max(2, mirror.shape[0] // 18), width), height - street, width)
    pixels[street:] = screen(f32(pixels[street:] * 0.35), f32(mirror * 0.75))
    pixels = rain(canvas, blur(pixels, canvas.unit * 0.003))
    side = canvas.pick(-1, 1)
    return Backdrop(
        pixels,
        key=pink if side > 0 else cyan,
        ambient=(0.80, 0.70, 1.0),
        ground=(0.06, 0.02, 0.12),
        side=side,
        depth=0.15,
        exposure=0.95,
    )


def _skyline(canvas: Canvas, pixels: Picture, lights: list[Colour], haze: Colour) -> Picture:
    """Three rows of towers, the near ones dark and sharp."""
    for layer in range(3):
        share = layer / 2
        wall = toward(haze, (0.03, 0.03, 0.06), 0.25 + 0.7 * share)
        x = -canvas.pick(0, 0.1) * canvas.width
        while x < canvas.width:
            wide = canvas.unit * canvas.pick(0.06, 0.14) * (0.8 + 0.6 * share)
            top = canvas.height * (canvas.pick(0.16, 0.55) + 0.10 * share)
            _tower(canvas, pixels, (x, top, wide), wall, lights, 0.5 + 0.5 * share)
            x += wide * canvas.pick(0.96, 1.3)
        if layer < 2:
            rows, _ = grid(canvas.height, canvas.width)
            pixels = mix(pixels, haze, f32(smoothstep(0.35, 1.0, rows) * 0.45))
    return pixels


def _tower(
    canvas: Canvas,
    pixels: Picture,
    shape: tuple[float, float, float],
    wall: Colour,
    lights: list[Colour],
    glow: float,
) -> None:
    x, top, wide = shape
    left, right = max(0, int(x)), min(canvas.width, int(x + wide))
    if right - left < 4:
        return
    upper = max(0, int(top))
    pixels[upper:, left:right] = wall
    cell = max(3, int(canvas.unit * 0.013))
    rows, columns = (canvas.height - upper) // cell, (right - left) // cell
    if rows < 2 or columns < 2:
        return
    lit = f32(canvas.rng.random((rows, columns)) < canvas.pick(0.12, 0.42))
    lit *= f32(canvas.rng.uniform(0.35, 1.0, (rows, columns)))
    pane = np.zeros((cell, cell), np.float32)
    pane[
        cell // 4 : max(cell // 4 + 1, cell - cell // 4), cell // 5 : max(cell // 5 + 1, cell - cell // 4)
    ] = 1.0
    windows = f32(np.kron(lit, pane) * glow)
    colour = f32(lights[int(canvas.rng.integers(len(lights)))])
    area = pixels[upper : upper + windows.shape[0], left : left + windows.shape[1]]
    area[...] = screen(area, f32(windows[..., None] * colour * 1.35))


def _sign(canvas: Canvas, signs: Picture, colour: Colour) -> None:
    """An upright sign of strokes that read as letters from afar."""
    x, y = canvas.pick(0, canvas.width), canvas.pick(0.05, 0.66) * canvas.height
    wide, count = canvas.unit * canvas.pick(0.025, 0.06), int(canvas.pick(2, 6))
    thick = max(1, int(canvas.unit * 0.0045))
    bright = toward(colour, (1, 1, 1), 0.35)
    for glyph in range(count):
        top = y + glyph * wide * 1.25
        spots = [(x + canvas.pick(0, 1) * wide, top + canvas.pick(0, 1) * wide) for _ in range(4)]
        for first, second in itertools.pairwise(spots):
            line(signs, first, (second[0], first[1]), bright, thick)
            line(signs, (second[0], first[1]), second, bright, thick)
    edge = wide * 0.3
    corners = [
        (x - edge, y - edge),
        (x + wide + edge, y - edge),
        (x + wide + edge, y + count * wide * 1.25),
        (x - edge, y + count * wide * 1.25),
    ]
    for first, second in zip(corners, [*corners[1:], corners[0]], strict=True):
        line(signs, first, second, tuple(c * 0.8 for c in colour), thick)
