"""Backdrops under an open sky."""

import numpy as np

from visiona.sandbox.replicate.painter.canvas import Backdrop, Canvas
from visiona.sandbox.replicate.painter.indoors import bokeh
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
    mix,
    polygon,
    screen,
    smoothstep,
    toward,
)


def beach(canvas: Canvas) -> Backdrop:
    """A low sun over water, its path glittering towards the viewer."""
    height, width = canvas.height, canvas.width
    warm = canvas.accent(0, canvas.hue(canvas.pick(0.02, 0.09), 0.82, 1.0))
    high = canvas.accent(1, canvas.hue(canvas.pick(0.58, 0.78), 0.5, 0.42))
    horizon = canvas.pick(0.56, 0.66)
    sun_x, sun_y = canvas.pick(0.12, 0.88), horizon - canvas.pick(0.03, 0.16)
    glow = toward(warm, (1.0, 0.86, 0.6), 0.55)
    sky = gradient(height, width, [(0, high), (horizon * 0.55, toward(high, warm, 0.55)), (horizon, glow)])
    sky = _clouds(canvas, sky, toward(glow, (1, 1, 1), 0.3), amount=0.55, stretch=4.5)
    sky = _sun(canvas, sky, (sun_x, sun_y), canvas.pick(0.035, 0.06), (1.0, 0.93, 0.76))
    pixels = _water(canvas, sky, horizon, sun_x, warm)
    side = 1.0 if sun_x > 0.5 else -1.0
    return Backdrop(
        pixels,
        key=(1.0, 0.72, 0.42),
        ambient=toward(warm, (1, 1, 1), 0.55),
        ground=toward(warm, (0.1, 0.06, 0.1), 0.75),
        side=side,
        depth=0.3,
        exposure=0.96,
    )


def mountains(canvas: Canvas) -> Backdrop:
    """Ridges that fade into the air with distance, snow on the far ones."""
    height, width = canvas.height, canvas.width
    hour = canvas.pick(0, 1)
    top = canvas.accent(0, (0.22, 0.42, 0.72) if hour < 0.6 else (0.30, 0.26, 0.52))
    haze = canvas.accent(1, (0.80, 0.86, 0.92) if hour < 0.6 else (0.98, 0.74, 0.62))
    pixels = gradient(height, width, [(0, top), (0.62, haze), (1, haze)])
    pixels = _clouds(canvas, pixels, (1.0, 0.97, 0.95), amount=0.7, stretch=3.0)
    sun_x = canvas.pick(0.1, 0.9)
    pixels = _sun(canvas, pixels, (sun_x, canvas.pick(0.12, 0.3)), 0.03, (1.0, 0.95, 0.85))
    near = canvas.accent(2, (0.10, 0.17, 0.16))
    layers = 5
    for layer in range(layers):
        share = layer / (layers - 1)
        line = 0.34 + 0.4 * share + canvas.pick(-0.03, 0.03)
        profile = _ridge(canvas, rough=0.30 - 0.2 * share, detail=4 + 3 * share)
        shade = toward(toward(haze, top, 0.35), near, 0.18 + 0.78 * share)
        pixels = _layer(canvas, pixels, line, profile, shade, snow=max(0.0, 0.75 - 1.5 * share), haze=haze)
    side = 1.0 if sun_x > 0.5 else -1.0
    return Backdrop(
        pixels,
        key=toward(haze, (1, 0.95, 0.85), 0.5),
        ambient=toward(haze, (1, 1, 1), 0.6),
        ground=toward(near, (0, 0, 0), 0.3),
        side=side,
        depth=0.25,
    )


def snow(canvas: Canvas) -> Backdrop:
    """Firs in falling snow."""
    height, width = canvas.height, canvas.width
    top = canvas.accent(0, (0.56, 0.68, 0.82))
    low = (0.93, 0.95, 0.98)
    pixels = gradient(height, width, [(0, top), (0.55, toward(top, low, 0.75)), (1, low)])
    for layer, share in enumerate((0.25, 0.5, 0.8)):
        base = 0.5 + 0.14 * layer
        shade = toward(toward(top, low, 0.6), (0.14, 0.24, 0.28), share)
        pixels = _firs(canvas, pixels, base, 0.16 + 0.13 * layer, shade)
        pixels = _layer(
            canvas, pixels, base - 0.01, _ridge(canvas, 0.05, 3), toward(low, top, 0.3 - 0.1 * layer)
        )
    pixels = _flakes(canvas, pixels, count=260)
    return Backdrop(
        pixels,
        key=(0.96, 0.98, 1.0),
        ambient=(0.86, 0.92, 1.0),
        ground=(0.90, 0.93, 0.97),
        side=canvas.pick(-1, 1),
        depth=0.45,
        exposure=1.05,
    )


def desert(canvas: Canvas) -> Backdrop:
    """Dunes with one lit and one shaded flank."""
    height, width = canvas.height, canvas.width
    sand = canvas.accent(0, (0.87, 0.60, 0.34))
    sky_top = canvas.accent(1, canvas.hue(canvas.pick(0.54, 0.6), 0.55, 0.72))
    pixels = gradient(height, width, [(0, sky_top), (0.6, toward(sand, (1, 0.95, 0.86), 0.7)), (1, sand)])
    sun_x = canvas.pick(0.1, 0.9)
    pixels = _sun(canvas, pixels, (sun_x, canvas.pick(0.15, 0.34)), 0.045, (1.0, 0.95, 0.8))
    for layer in range(4):
        line = 0.5 + 0.13 * layer
        profile = _ridge(canvas, 0.13, 1.6 + 0.4 * layer, octaves=2)
        pixels = _dune(canvas, pixels, line, profile, sand, sun_x)
    side = 1.0 if sun_x > 0.5 else -1.0
    return Backdrop(
        pixels,
        key=(1.0, 0.86, 0.62),
        ambient=toward(sand, (1, 1, 1), 0.55),
        ground=toward(sand, (0.25, 0.12, 0.05), 0.5),
        side=side,
        depth=0.3,
        exposure=1.03,
    )


def forest(canvas: Canvas) -> Backdrop:
    """Trunks in mist with shafts of light from above."""
    height, width = canvas.height, canvas.width
    green = canvas.accent(0, canvas.hue(canvas.pick(0.24, 0.38), 0.55, 0.5))
    light = toward(green, (0.98, 0.96, 0.72), 0.7)
    sun_x = canvas.pick(0.15, 0.85)
    pixels = flat(height, width, toward(green, (0.1, 0.16, 0.1), 0.45))
    glow = np.exp(-f32((distance(height, width, sun_x, 0.22) / 0.42) ** 2))
    pixels = mix(pixels, light, glow * 0.9)
    for layer, share in enumerate((0.2, 0.45, 0.75, 1.0)):
        shade = toward(toward(green, light, 0.45), (0.05, 0.09, 0.06), share)
        pixels = _trunks(canvas, pixels, 9 - 2 * layer, 0.012 + 0.016 * layer, shade)
        pixels = _foliage(canvas, pixels, toward(shade, green, 0.35), 0.62 - 0.05 * layer, 7 + 3 * layer)
        pixels = mix(pixels, light, glow * (0.30 - 0.07 * layer))
    pixels = _shafts(canvas, pixels, sun_x, light)
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


def sky(canvas: Canvas) -> Backdrop:
    """High among towering clouds."""
    height, width = canvas.height, canvas.width
    top = canvas.accent(0, canvas.hue(canvas.pick(0.55, 0.62), 0.72, 0.80))
    pixels = gradient(height, width, [(0, top), (0.7, toward(top, (1, 1, 1), 0.62)), (1, (0.98, 0.94, 0.90))])
    sun_x = canvas.pick(0.1, 0.9)
    pixels = _sun(canvas, pixels, (sun_x, canvas.pick(0.08, 0.25)), 0.04, (1, 0.98, 0.9))
    for layer in range(3):
        pixels = _billows(canvas, pixels, floor=0.42 + 0.2 * layer, sun_x=sun_x)
    side = 1.0 if sun_x > 0.5 else -1.0
    return Backdrop(
        pixels,
        key=(1, 0.97, 0.9),
        ambient=(0.94, 0.97, 1.0),
        ground=(0.95, 0.96, 0.99),
        side=side,
        depth=0.3,
        exposure=1.05,
    )


def underwater(canvas: Canvas) -> Backdrop:
    """Light falling through water, bubbles rising."""
    height, width = canvas.height, canvas.width
    water = canvas.accent(0, canvas.hue(canvas.pick(0.50, 0.58), 0.85, 0.66))
    pixels = gradient(
        height,
        width,
        [(0, toward(water, (0.85, 1, 1), 0.65)), (0.4, water), (1, toward(water, (0, 0.03, 0.1), 0.85))],
    )
    pixels = _shafts(canvas, pixels, canvas.pick(0.3, 0.7), (0.75, 1.0, 1.0))
    ripples = fractal(canvas.rng, height, width, cells=9, octaves=3, stretch=1.6)
    caustic = (
        np.clip(1.0 - np.abs(ripples - 0.5) * 14, 0, 1)
        * np.linspace(0.7, 0.0, height, dtype=np.float32)[:, None]
    )
    pixels = screen(pixels, f32(blur(f32(caustic), 1.5)[..., None] * np.array([0.6, 0.9, 0.9], np.float32)))
    for _ in range(70):
        radius = canvas.unit * canvas.pick(0.002, 0.016)
        _bubble(pixels, (canvas.pick(0, width), canvas.pick(0, height)), radius)
    return Backdrop(
        pixels,
        key=(0.75, 1.0, 1.0),
        ambient=toward(water, (1, 1, 1), 0.45),
        ground=toward(water, (0, 0.03, 0.1), 0.85),
        side=canvas.pick(-1, 1),
        depth=0.25,
        exposure=0.92,
    )


def _clouds(canvas: Canvas, pixels: Picture, colour: Colour, *, amount: float, stretch: float) -> Picture:
    cover = fractal(canvas.rng, canvas.height, canvas.width, cells=3.5, octaves=6, gain=0.55, stretch=stretch)
    veil = smoothstep(0.48, 0.85, cover) * amount
    return mix(pixels, colour, veil)


def _sun(
    canvas: Canvas, pixels: Picture, where: tuple[float, float], radius: float, colour: Colour
) -> Picture:
    far = distance(canvas.height, canvas.width, *where)
    halo = np.exp(-far / (radius * 5)) * 0.75 + np.exp(-((far / (radius * 2.2)) ** 2)) * 0.5
    ball = 1.0 - smoothstep(radius * 0.92, radius * 1.06, far)
    pixels = screen(pixels, f32(f32(halo)[..., None] * f32(colour)))
    return mix(pixels, (1.0, 0.98, 0.92), ball)


def _water(canvas: Canvas, sky_pixels: Picture, horizon: float, sun_x: float, warm: Colour) -> Picture:
    """Mirror the sky below the horizon, broken by waves that grow towards the viewer."""
    height, width = canvas.height, canvas.width
    line = int(height * horizon)
    pixels = sky_pixels.copy()
    depth = height - line
    waves = fractal(canvas.rng, depth, width, cells=26, octaves=3, stretch=7.0)
    near = np.linspace(0, 1, depth, dtype=np.float32)[:, None]
    shift = ((waves - 0.5) * (0.05 + 0.16 * near) * height).astype(np.int32)
    rows = np.clip(line - 1 - np.arange(depth)[:, None] * line // max(depth, 1) + shift, 0, line - 1)
    mirrored = sky_pixels[rows, np.arange(width)[None, :]]
    deep = toward(warm, (0.05, 0.10, 0.20), 0.8)
    sea = mix(f32(mirrored), deep, f32(0.25 + 0.45 * near + 0.18 * (waves < 0.42)))
    columns = np.linspace(0, 1, width, dtype=np.float32)[None, :]
    path = np.exp(-(((columns - sun_x) / (0.03 + 0.16 * near)) ** 2)) * smoothstep(0.52, 0.7, waves)
    pixels[line:] = screen(sea, f32(path[..., None] * np.array([1.0, 0.8, 0.52], np.float32)))
    seam = np.exp(-(((np.arange(height, dtype=np.float32)[:, None] - line) / (height * 0.012)) ** 2))
    return mix(pixels, (1.0, 0.86, 0.66), f32(np.broadcast_to(seam, (height, width)) * 0.35))


def _ridge(canvas: Canvas, rough: float, detail: float, octaves: int = 6) -> Field:
    """A skyline across the width: offsets around 0, in parts of the height."""
    knots = fractal(canvas.rng, 8, canvas.width, cells=detail, octaves=octaves, gain=0.5)[4]
    return f32((knots - 0.5) * rough)


def _below(canvas: Canvas, line: float, profile: Field) -> Field:
    """Soft-edged field: 1 below a skyline."""
    rows, _ = grid(canvas.height, canvas.width)
    edge = (line - profile)[None, :]
    soft = 1.2 / canvas.height
    return smoothstep(-soft, soft, f32(rows - edge))


def _layer(
    canvas: Canvas,
    pixels: Picture,
    line: float,
    profile: Field,
    shade: Colour,
    *,
    snow: float = 0.0,
    haze: Colour | None = None,
) -> Picture:
    height, width = canvas.height, canvas.width
    mask = _below(canvas, line, profile)
    relief = fractal(canvas.rng, height, width, cells=11, octaves=5, gain=0.6)
    body = f32(f32(shade) * (0.82 + 0.36 * relief[..., None]))
    rows, _ = grid(height, width)
    under = f32(rows - (line - profile)[None, :])
    if snow > 0:
        caps = smoothstep(0.10, 0.0, under + (relief - 0.5) * 0.22) * snow
        body = mix(body, (0.97, 0.98, 1.0), f32(caps * (0.55 + 0.45 * (relief > 0.5))))
    if haze is not None:
        body = mix(body, haze, f32(np.clip(under * 1.6, 0, 0.35)))
    return mix(pixels, body, mask)


def _dune(
    canvas: Canvas, pixels: Picture, line: float, profile: Field, sand: Colour, sun_x: float
) -> Picture:
    mask = _below(canvas, line, profile)
    slope = np.gradient(profile)
    towards = np.tanh((np.linspace(0, 1, canvas.width) - sun_x) * 6)
    lit = f32(np.clip(0.5 + slope * towards * canvas.width * 1.3, 0, 1))
    lit = f32(np.broadcast_to(lit[None, :], mask.shape))
    ripple = fractal(canvas.rng, canvas.height, canvas.width, cells=60, octaves=2, stretch=9)
    body = mix(flat(canvas.height, canvas.width, toward(sand, (0.30, 0.14, 0.10), 0.62)), sand, lit)
    body = f32(body * (0.92 + 0.16 * ripple[..., None]))
    return mix(pixels, body, mask)


def _firs(canvas: Canvas, pixels: Picture, base: float, tall: float, shade: Colour) -> Picture:
    height, width = canvas.height, canvas.width
    mask = np.zeros((height, width), np.float32)
    for _ in range(int(16 * width / height) + 4):
        x, foot = canvas.pick(0, width), height * (base + canvas.pick(-0.02, 0.06))
        size = height * tall * canvas.pick(0.6, 1.2)
        for tier in range(7):
            top = foot - size * (1 - tier / 8)
            half = size * 0.055 * (tier + 1) * canvas.pick(0.8, 1.1)
            polygon(mask, [(x, top), (x + half, top + size * 0.24), (x - half, top + size * 0.24)], 1.0)
    dust = fractal(canvas.rng, height, width, cells=50, octaves=3)
    body = mix(flat(height, width, shade), (0.93, 0.96, 1.0), smoothstep(0.52, 0.72, dust) * 0.6)
    return mix(pixels, body, mask)


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


def _shafts(canvas: Canvas, pixels: Picture, from_x: float, colour: Colour) -> Picture:
    height, width = canvas.height, canvas.width
    beams = np.zeros((height, width), np.float32)
    for _ in range(8):
        start = (from_x + canvas.pick(-0.08, 0.08)) * width
        end, spread = start + canvas.pick(-0.7, 0.7) * height, canvas.unit * canvas.pick(0.03, 0.12)
        polygon(
            beams,
            [(start - 6, -20), (start + 6, -20), (end + spread, height), (end - spread, height)],
            canvas.pick(0.08, 0.26),
        )
    fade = np.linspace(1.0, 0.15, height, dtype=np.float32)[:, None]
    return screen(pixels, f32((blur(beams, canvas.unit * 0.02) * fade)[..., None] * f32(colour)))


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


def _flakes(canvas: Canvas, pixels: Picture, count: int) -> Picture:
    layer = np.zeros(pixels.shape[:2], np.float32)
    for _ in range(count):
        near = canvas.pick(0, 1) ** 3
        where = (canvas.pick(0, canvas.width), canvas.pick(0, canvas.height))
        disc(layer, where, canvas.unit * (0.0014 + 0.012 * near), 0.9 - 0.55 * near)
    return mix(pixels, (1.0, 1.0, 1.0), blur(layer, canvas.unit * 0.0016))


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


def _billows(canvas: Canvas, pixels: Picture, floor: float, sun_x: float) -> Picture:
    height, width = canvas.height, canvas.width
    puffs = fractal(canvas.rng, height, width, cells=4.5, octaves=7, gain=0.55)
    rows, columns = grid(height, width)
    body = smoothstep(0.46, 0.62, f32(puffs + (rows - floor) * 0.7))
    lit = smoothstep(
        -0.25, 0.6, f32((puffs - 0.5) * 1.6 - (rows - floor) * 0.5 + (0.5 - np.abs(columns - sun_x)) * 0.3)
    )
    shade = mix(flat(height, width, (0.66, 0.72, 0.84)), (1.0, 0.99, 0.97), lit)
    return mix(pixels, shade, body * 0.93)


def _bubble(pixels: Picture, where: tuple[float, float], radius: float) -> None:
    disc(pixels, where, radius, (0.55, 0.82, 0.9))
    disc(pixels, where, radius * 0.82, (0.30, 0.62, 0.74))
    disc(pixels, (where[0] - radius * 0.35, where[1] - radius * 0.35), radius * 0.25, (0.95, 1.0, 1.0))
