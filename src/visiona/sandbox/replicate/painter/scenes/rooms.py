"""Backdrops of rooms, stages and halls."""

import numpy as np

from visiona.sandbox.replicate.painter.canvas import Backdrop, Canvas
from visiona.sandbox.replicate.painter.raster import (
    Picture,
    blur,
    disc,
    distance,
    f32,
    flat,
    fractal,
    gradient,
    line,
    mix,
    polygon,
    screen,
    toward,
)
from visiona.sandbox.replicate.painter.scenes.parts import bokeh, glow


def studio(canvas: Canvas) -> Backdrop:
    """A mottled backdrop with a pool of light behind the sitter."""
    height, width = canvas.height, canvas.width
    cloth = canvas.accent(0, canvas.hue(canvas.pick(0, 1), canvas.pick(0.12, 0.45), canvas.pick(0.35, 0.6)))
    pool = np.exp(-((distance(height, width, canvas.pick(0.35, 0.65), 0.42) / 0.46) ** 2))
    pixels = mix(
        flat(height, width, toward(cloth, (0.04, 0.04, 0.05), 0.72)),
        toward(cloth, (1, 1, 1), 0.22),
        f32(pool),
    )
    mottle = fractal(canvas.rng, height, width, cells=5, octaves=5)
    pixels = f32(pixels * (0.84 + 0.32 * mottle[..., None]))
    return Backdrop(
        pixels,
        key=(1.0, 0.96, 0.9),
        ambient=toward(cloth, (1, 1, 1), 0.85),
        ground=toward(cloth, (0, 0, 0), 0.8),
        side=canvas.pick(-1, 1),
        depth=0.2,
    )


def office(canvas: Canvas) -> Backdrop:
    """A bright room out of focus: tall windows, a plant, a lamp."""
    height, width = canvas.height, canvas.width
    wall = canvas.accent(0, canvas.hue(canvas.pick(0.05, 0.62), 0.10, 0.80))
    pixels = gradient(
        height, width, [(0, toward(wall, (1, 1, 1), 0.25)), (1, toward(wall, (0.3, 0.28, 0.26), 0.55))]
    )
    panes = int(3 + 2 * width / height)
    start = canvas.pick(-0.08, 0.04) * width
    for index in range(panes):
        left = start + index * width * 1.05 / panes
        right = left + width * 0.86 / panes
        polygon(
            pixels,
            [(left, -5), (right, -5), (right, height * 0.62), (left, height * 0.62)],
            (0.93, 0.97, 1.0),
        )
        for floor in range(7):
            top = height * (0.20 + canvas.pick(0, 0.25))
            x = left + (right - left) * floor / 7
            far = toward((0.70, 0.78, 0.86), wall, canvas.pick(0, 0.5))
            polygon(
                pixels,
                [
                    (x, top),
                    (x + (right - left) / 8, top),
                    (x + (right - left) / 8, height * 0.62),
                    (x, height * 0.62),
                ],
                far,
            )
    polygon(
        pixels,
        [(0, height * 0.66), (width, height * 0.66), (width, height * 0.70), (0, height * 0.70)],
        (0.40, 0.30, 0.24),
    )
    for _ in range(2):
        _plant(canvas, pixels)
    pixels = glow(pixels, canvas, 0.05)
    return Backdrop(
        blur(pixels, canvas.unit * 0.012),
        key=(0.95, 0.98, 1.0),
        ambient=(0.98, 0.98, 0.98),
        ground=toward(wall, (0.12, 0.12, 0.13), 0.75),
        side=canvas.pick(-1, 1),
        depth=0.3,
        exposure=1.04,
    )


def library(canvas: Canvas) -> Backdrop:
    """Shelves of books and warm lamps."""
    height, width = canvas.height, canvas.width
    wood = canvas.accent(0, (0.30, 0.18, 0.11))
    pixels = gradient(height, width, [(0, toward(wood, (0, 0, 0), 0.45)), (1, toward(wood, (0, 0, 0), 0.7))])
    shelf = canvas.unit * canvas.pick(0.15, 0.2)
    y = -canvas.pick(0, 0.5) * shelf
    while y < height:
        x = 0.0
        while x < width:
            thick, tall = shelf * canvas.pick(0.08, 0.24), shelf * canvas.pick(0.62, 0.88)
            shade = canvas.hue(
                canvas.pick(-0.06, 0.16) if canvas.pick(0, 1) < 0.75 else canvas.pick(0.3, 0.7),
                canvas.pick(0.3, 0.7),
                canvas.pick(0.22, 0.62),
            )
            foot = y + shelf
            polygon(pixels, [(x, foot - tall), (x + thick, foot - tall), (x + thick, foot), (x, foot)], shade)
            line(
                pixels,
                (x + thick * 0.2, foot - tall * 0.85),
                (x + thick * 0.8, foot - tall * 0.85),
                (0.8, 0.66, 0.35),
                2,
            )
            x += thick * 1.06
        polygon(
            pixels,
            [(0, y + shelf), (width, y + shelf), (width, y + shelf * 1.09), (0, y + shelf * 1.09)],
            toward(wood, (0.5, 0.33, 0.2), 0.5),
        )
        y += shelf * 1.12
    pixels = blur(pixels, canvas.unit * 0.007)
    lamp_x = canvas.pick(0.08, 0.92)
    lamp = np.exp(-distance(height, width, lamp_x, canvas.pick(0.15, 0.4)) / 0.2)
    pixels = screen(f32(pixels * 0.85), f32(f32(lamp)[..., None] * np.array([1.0, 0.70, 0.36], np.float32)))
    pixels = bokeh(canvas, pixels, [(1.0, 0.72, 0.38), (1.0, 0.85, 0.6)], 16)
    return Backdrop(
        pixels,
        key=(1.0, 0.78, 0.48),
        ambient=(1.0, 0.90, 0.76),
        ground=toward(wood, (0, 0, 0), 0.75),
        side=1.0 if lamp_x > 0.5 else -1.0,
        depth=0.3,
        exposure=0.97,
    )


def stage(canvas: Canvas) -> Backdrop:
    """Coloured beams through haze."""
    height, width = canvas.height, canvas.width
    first = canvas.accent(0, canvas.hue(canvas.pick(0, 1), 0.85, 1.0))
    second = canvas.accent(1, canvas.hue(canvas.pick(0, 1), 0.75, 1.0))
    pixels = gradient(height, width, [(0, (0.03, 0.02, 0.07)), (1, (0.09, 0.05, 0.14))])
    for index in range(9):
        beam = np.zeros((height, width), np.float32)
        x, foot = canvas.pick(0, width), canvas.pick(-0.3, 1.3) * width
        spread = canvas.unit * canvas.pick(0.06, 0.2)
        polygon(
            beam,
            [(x - 4, -8), (x + 4, -8), (foot + spread, height), (foot - spread, height)],
            canvas.pick(0.25, 0.6),
        )
        beam = blur(beam, canvas.unit * 0.012) * np.linspace(1.0, 0.25, height, dtype=np.float32)[:, None]
        pixels = screen(pixels, f32(beam[..., None] * f32(first if index % 2 else second)))
        lamp = f32(np.exp(-((distance(height, width, x / width, 0.0) / 0.03) ** 2)))
        pixels = screen(pixels, f32(lamp[..., None] * np.ones(3, np.float32)))
    haze = fractal(canvas.rng, height, width, cells=4, octaves=5)
    pixels = f32(pixels * (0.72 + 0.5 * haze[..., None]))
    pixels = bokeh(canvas, pixels, [first, second, (1, 1, 1)], 26)
    return Backdrop(
        pixels,
        key=first,
        ambient=toward(second, (1, 1, 1), 0.55),
        ground=(0.04, 0.02, 0.08),
        side=canvas.pick(-1, 1),
        depth=0.2,
        exposure=0.9,
    )


def castle(canvas: Canvas) -> Backdrop:
    """A stone hall: pillars, banners, torches."""
    height, width = canvas.height, canvas.width
    stone = (0.34, 0.32, 0.31)
    blocks = fractal(canvas.rng, height, width, cells=22, octaves=4)
    pixels = f32(f32(toward(stone, (0.05, 0.05, 0.07), 0.45)) * (0.7 + 0.6 * blocks[..., None]))
    course = canvas.unit * 0.075
    for row in range(int(height / course) + 1):
        line(pixels, (0, row * course), (width, row * course), (0.07, 0.07, 0.08), 2)
        for brick in range(int(width / course / 2) + 2):
            x = (brick * 2 + row % 2) * course
            line(pixels, (x, row * course), (x, (row + 1) * course), (0.07, 0.07, 0.08), 2)
    heraldic = ((0.48, 0.08, 0.10), (0.10, 0.16, 0.42), (0.10, 0.28, 0.17), (0.30, 0.10, 0.34))
    cloth = canvas.accent(0, heraldic[int(canvas.rng.integers(len(heraldic)))])
    trim = canvas.accent(1, (0.80, 0.62, 0.25))
    count = max(2, round(width / height * 2.4))
    for index in range(count):
        middle = width * (index + 0.5) / count
        half, foot = canvas.unit * 0.11, height * canvas.pick(0.52, 0.66)
        polygon(
            pixels,
            [
                (middle - half, -4),
                (middle + half, -4),
                (middle + half, foot),
                (middle, foot + half),
                (middle - half, foot),
            ],
            trim,
        )
        inner = half * 0.9
        polygon(
            pixels,
            [
                (middle - inner, -4),
                (middle + inner, -4),
                (middle + inner, foot - 4),
                (middle, foot + inner),
                (middle - inner, foot - 4),
            ],
            cloth,
        )
        disc(pixels, (middle, foot * 0.55), half * 0.42, trim)
        disc(pixels, (middle, foot * 0.55), half * 0.30, cloth)
    pixels = blur(pixels, canvas.unit * 0.006)
    for index in range(count + 1):
        fire = f32(np.exp(-distance(height, width, index / count, 0.42) / 0.085))
        pixels = screen(pixels, f32(fire[..., None] * np.array([1.0, 0.56, 0.20], np.float32)))
    return Backdrop(
        pixels,
        key=(1.0, 0.68, 0.36),
        ambient=(1.0, 0.88, 0.76),
        ground=(0.06, 0.05, 0.05),
        side=canvas.pick(-1, 1),
        depth=0.15,
        exposure=0.95,
    )


def _plant(canvas: Canvas, pixels: Picture) -> None:
    foot = (canvas.pick(0.02, 0.98) * canvas.width, canvas.height * canvas.pick(0.68, 0.8))
    for _ in range(16):
        angle, reach = canvas.pick(-2.7, -0.45), canvas.unit * canvas.pick(0.12, 0.28)
        tip = (foot[0] + float(np.cos(angle)) * reach, foot[1] + float(np.sin(angle)) * reach)
        across = (float(-np.sin(angle)) * reach * 0.13, float(np.cos(angle)) * reach * 0.13)
        middle = ((foot[0] + tip[0]) / 2, (foot[1] + tip[1]) / 2)
        shade = canvas.hue(canvas.pick(0.28, 0.38), 0.5, canvas.pick(0.25, 0.5))
        polygon(
            pixels,
            [
                foot,
                (middle[0] + across[0], middle[1] + across[1]),
                tip,
                (middle[0] - across[0], middle[1] - across[1]),
            ],
            shade,
        )
