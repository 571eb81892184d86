"""Backdrops of outer space, and of nothing in particular."""

import numpy as np

from visiona.sandbox.replicate.painter.canvas import Backdrop, Canvas
from visiona.sandbox.replicate.painter.raster import (
    Colour,
    Picture,
    blur,
    distance,
    f32,
    flat,
    fractal,
    grid,
    mix,
    polygon,
    screen,
    smoothstep,
    toward,
)
from visiona.sandbox.replicate.painter.scenes.parts import bokeh, ridge, stars, terrain


def space(canvas: Canvas) -> Backdrop:
    """Nebulae, stars, and a planet in half light."""
    height, width = canvas.height, canvas.width
    first = canvas.accent(0, canvas.hue(canvas.pick(0.5, 1.0), 0.75, 0.85))
    second = canvas.accent(1, canvas.hue(canvas.pick(0.0, 0.7), 0.7, 0.8))
    pixels = flat(height, width, (0.012, 0.014, 0.04))
    for colour, cells in ((first, 2.2), (second, 2.8), (toward(first, (1, 1, 1), 0.4), 4.0)):
        cloud = fractal(canvas.rng, height, width, cells=cells, octaves=7, gain=0.58)
        pixels = screen(pixels, f32((smoothstep(0.42, 0.95, cloud) ** 1.4 * 0.95)[..., None] * f32(colour)))
    dust = fractal(canvas.rng, height, width, cells=3.5, octaves=6)
    pixels = f32(pixels * (1.0 - 0.55 * smoothstep(0.52, 0.8, dust))[..., None])
    pixels = stars(canvas, pixels)
    _planet(canvas, pixels, second)
    return Backdrop(
        pixels,
        key=toward(first, (1, 1, 1), 0.35),
        ambient=toward(second, (1, 1, 1), 0.72),
        ground=(0.015, 0.015, 0.05),
        side=canvas.pick(-1, 1),
        depth=0.0,
        exposure=0.95,
    )


def moon(canvas: Canvas) -> Backdrop:
    """Grey ground with craters under a black sky, the earth above it."""
    height, width = canvas.height, canvas.width
    pixels = stars(canvas, flat(height, width, (0.008, 0.009, 0.016)))
    side = 1.0 if canvas.pick(0, 1) > 0.5 else -1.0
    _earth(canvas, pixels, (0.5 - side * canvas.pick(0.24, 0.38), canvas.pick(0.14, 0.26)))
    dust = canvas.accent(0, (0.43, 0.425, 0.42))
    for layer, horizon in enumerate((0.56, 0.66)):
        hills = ridge(canvas, 0.16 - 0.10 * layer, 3 + layer, octaves=5)
        pixels = terrain(canvas, pixels, horizon, hills, toward(dust, (0.16, 0.16, 0.17), 0.5 - 0.4 * layer))
    pixels = _craters(canvas, pixels, 0.66, side)
    return Backdrop(
        pixels,
        key=(1.0, 0.98, 0.94),
        ambient=(0.92, 0.93, 0.97),
        ground=toward(dust, (0.05, 0.05, 0.06), 0.7),
        side=side,
        depth=0.08,
        exposure=1.04,
    )


def abstract(canvas: Canvas) -> Backdrop:
    """Folded veils of colour chosen by the words of the prompt."""
    height, width = canvas.height, canvas.width
    base = canvas.pick(0, 1)
    spread = canvas.pick(0.08, 0.34)
    colours = [
        canvas.accent(i, canvas.hue(base + spread * i, canvas.pick(0.28, 0.58), canvas.pick(0.42, 0.84)))
        for i in range(4)
    ]
    angle = canvas.pick(0, 2 * np.pi)
    rows, columns = grid(height, width)
    sweep = f32(columns * np.cos(angle) + rows * np.sin(angle))
    bend = fractal(canvas.rng, height, width, cells=1.6, octaves=3, gain=0.4)
    pixels = mix(flat(height, width, colours[0]), colours[1], smoothstep(-0.4, 1.2, f32(sweep + bend * 0.8)))
    folds = f32(sweep * canvas.pick(1.2, 2.2) + bend * canvas.pick(1.0, 2.2))
    for index, colour in enumerate(colours[1:]):
        wave = f32((folds + index * 0.37) % 1.0)
        veil = smoothstep(0.0, 0.75, wave) * (1.0 - smoothstep(0.90, 1.0, wave))
        pixels = mix(pixels, colour, f32(veil * (0.55 - 0.1 * index)))
    pixels = f32(pixels * (0.88 + 0.24 * fractal(canvas.rng, height, width, cells=3, octaves=2)[..., None]))
    pixels = bokeh(canvas, blur(pixels, canvas.unit * 0.003), [toward(c, (1, 1, 1), 0.5) for c in colours], 7)
    return Backdrop(
        pixels,
        key=toward(colours[2], (1, 1, 1), 0.4),
        ambient=toward(colours[1], (1, 1, 1), 0.78),
        ground=toward(colours[0], (0, 0, 0), 0.55),
        side=canvas.pick(-1, 1),
        depth=0.1,
    )


def _earth(canvas: Canvas, pixels: Picture, where: tuple[float, float]) -> None:
    """The blue marble in half light: sea, land, and cloud over both."""
    height, width = canvas.height, canvas.width
    longest = max(height, width)
    radius = canvas.pick(0.10, 0.14) * canvas.unit / longest
    far = distance(height, width, *where)
    rows, columns = grid(height, width)
    across = (columns - where[0]) * width / longest / radius
    down = (rows - where[1]) * height / longest / radius
    bulge = np.sqrt(np.clip(1.0 - across**2 - down**2, 0, 1))
    cells = 3.2 / (2 * radius)
    land = fractal(canvas.rng, height, width, cells=cells, octaves=5)
    cover = fractal(canvas.rng, height, width, cells=cells * 1.3, octaves=6, gain=0.6, stretch=1.8)
    globe = mix(flat(height, width, (0.07, 0.24, 0.56)), (0.24, 0.40, 0.20), smoothstep(0.56, 0.60, land))
    globe = mix(globe, (0.96, 0.97, 1.0), f32(smoothstep(0.50, 0.70, cover) * 0.9))
    lit = np.clip(0.75 * across - 0.35 * down + 0.62 * bulge, 0.015, 1.0)
    ball = 1.0 - smoothstep(radius * 0.985, radius * 1.01, far)
    air = f32(np.exp(-np.abs(far - radius) / (radius * 0.05)) * np.clip(across + 0.6, 0, 1) * 0.7)
    pixels[...] = screen(
        mix(pixels, f32(globe * lit[..., None] * 1.25), ball),
        f32(air[..., None] * f32((0.35, 0.60, 1.0))),
    )


def _craters(canvas: Canvas, pixels: Picture, horizon: float, side: float) -> Picture:
    """Bowls with one rim lit and one in shadow, larger and rounder towards the viewer."""
    height, width = canvas.height, canvas.width
    shade = np.zeros((height, width), np.float32)
    for index in range(46):
        near = (index / 46) ** 1.5
        x, y = canvas.pick(0, 1) * width, (horizon + 0.03 + 0.36 * near) * height
        wide = canvas.unit * (0.008 + 0.085 * near) * canvas.pick(0.5, 1.0)
        for grow, lean, value in ((1.0, 0.0, 0.30), (0.86, side * 0.16, -0.62), (0.70, -side * 0.16, -0.20)):
            spots = np.linspace(0, 2 * np.pi, 28)
            rim = [
                (x + lean * wide + float(np.cos(t)) * wide * grow, y + float(np.sin(t)) * wide * grow * 0.34)
                for t in spots
            ]
            polygon(shade, rim, value)
    return f32(pixels * (1.0 + blur(shade, canvas.unit * 0.0018))[..., None])


def _planet(canvas: Canvas, pixels: Picture, colour: Colour) -> None:
    height, width = canvas.height, canvas.width
    radius = canvas.pick(0.10, 0.24) * canvas.unit / max(height, width)
    where = (
        canvas.pick(0.05, 0.28) if canvas.pick(0, 1) < 0.5 else canvas.pick(0.72, 0.95),
        canvas.pick(0.1, 0.42),
    )
    far = distance(height, width, *where)
    ball = 1.0 - smoothstep(radius * 0.985, radius * 1.01, far)
    rows, columns = grid(height, width)
    longest = max(height, width)
    across = (columns - where[0]) * width / longest / radius
    down = (rows - where[1]) * height / longest / radius
    bands = fractal(canvas.rng, height, width, cells=8, octaves=5, stretch=5)
    bulge = np.sqrt(np.clip(1.0 - across**2 - down**2, 0, 1))
    lit = np.clip(-0.55 * across - 0.45 * down + 0.72 * bulge, 0.03, 1.0)
    body = f32(f32(toward(colour, (1, 1, 1), 0.25)) * (0.55 + 0.6 * bands[..., None]) * lit[..., None])
    air = np.exp(-np.abs(far - radius) / (radius * 0.05)) * 0.5
    pixels[...] = screen(
        mix(pixels, body, ball), f32(f32(air)[..., None] * f32(toward(colour, (0.7, 0.85, 1.0), 0.5)) * 0.6)
    )
