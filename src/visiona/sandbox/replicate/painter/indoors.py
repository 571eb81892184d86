"""Backdrops of towns, rooms, stages, outer space, and of nothing in particular."""

import numpy as np

from visiona.sandbox.replicate.painter.canvas import Backdrop, Canvas
from visiona.sandbox.replicate.painter.raster import (
    Colour,
    Field,
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
    line,
    mix,
    polygon,
    resize,
    screen,
    smoothstep,
    toward,
)


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
    pixels = _glow(pixels, canvas, 0.05)
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
        _glow(pixels, canvas, 0.35),
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
    pixels = _rain(canvas, blur(pixels, canvas.unit * 0.003))
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
    pixels = _stars(canvas, pixels)
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
    cloth = canvas.accent(0, canvas.hue(canvas.pick(0, 1), 0.75, 0.5))
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


def abstract(canvas: Canvas) -> Backdrop:
    """Folded veils of colour chosen by the words of the prompt."""
    height, width = canvas.height, canvas.width
    base = canvas.pick(0, 1)
    spread = canvas.pick(0.08, 0.34)
    colours = [
        canvas.accent(i, canvas.hue(base + spread * i, canvas.pick(0.45, 0.8), canvas.pick(0.55, 0.98)))
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


def bokeh(canvas: Canvas, pixels: Picture, colours: list[Colour], count: int, low: float = 0.0) -> Picture:
    """Points of light out of focus; `low` keeps them below that part of the height."""
    lights = np.zeros_like(pixels)
    for index in range(count):
        strength = canvas.pick(0.08, 0.40)
        where = (canvas.pick(0, canvas.width), canvas.pick(low, 1) * canvas.height)
        one = tuple(c * strength for c in colours[index % len(colours)])
        disc(lights, where, canvas.unit * canvas.pick(0.010, 0.050), one)
    return screen(pixels, blur(lights, canvas.unit * 0.0035))


def _glow(pixels: Picture, canvas: Canvas, amount: float) -> Picture:
    """Light spilling over from what is bright."""
    bright = clip(f32((pixels - 0.6) * 2.0))
    return screen(pixels, f32(blur(bright, canvas.unit * 0.03) * amount))


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
        for first, second in zip(spots, spots[1:], strict=False):
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


def _rain(canvas: Canvas, pixels: Picture) -> Picture:
    drops = np.zeros(pixels.shape[:2], np.float32)
    for _ in range(170):
        x, y, long = (
            canvas.pick(0, canvas.width),
            canvas.pick(0, canvas.height),
            canvas.unit * canvas.pick(0.02, 0.06),
        )
        line(drops, (x, y), (x - long * 0.12, y + long), canvas.pick(0.08, 0.28))
    return screen(pixels, f32(blur(drops, 0.7)[..., None] * np.array([0.75, 0.85, 1.0], np.float32)))


def _stars(canvas: Canvas, pixels: Picture) -> Picture:
    height, width = canvas.height, canvas.width
    sky = np.zeros((height, width), np.float32)
    count = int(height * width * 0.0011)
    rows, columns = canvas.rng.integers(0, height, count), canvas.rng.integers(0, width, count)
    sky[rows, columns] = f32(canvas.rng.uniform(0.15, 1.0, count) ** 2)
    large: Field = np.zeros((height, width), np.float32)
    for _ in range(26):
        disc(
            large,
            (canvas.pick(0, width), canvas.pick(0, height)),
            canvas.unit * canvas.pick(0.0012, 0.0032),
            1.0,
        )
    light = f32(blur(sky, 0.6) * 1.6 + large + blur(large, canvas.unit * 0.006) * 2.0)
    return screen(pixels, f32(light[..., None] * np.array([0.92, 0.95, 1.0], np.float32)))


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
