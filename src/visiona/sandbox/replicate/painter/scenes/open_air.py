"""Backdrops of wide country under an open sky."""

import numpy as np

from visiona.sandbox.replicate.painter.canvas import Backdrop, Canvas
from visiona.sandbox.replicate.painter.raster import (
    Colour,
    Field,
    Picture,
    blur,
    disc,
    f32,
    flat,
    fractal,
    gradient,
    line,
    mix,
    polygon,
    screen,
    smoothstep,
    toward,
)
from visiona.sandbox.replicate.painter.scenes.parts import (
    below,
    billows,
    clouds,
    flakes,
    ridge,
    shafts,
    sun,
    terrain,
)


def beach(canvas: Canvas) -> Backdrop:
    """The sea: by day from the sand, or where the light says so under a low sun."""
    return _shore(canvas) if canvas.light in ("natural", "bright") else _sunset(canvas)


def _shore(canvas: Canvas) -> Backdrop:
    """Turquoise water rolling onto bright sand, palms leaning in."""
    height, width = canvas.height, canvas.width
    top = canvas.accent(0, canvas.hue(canvas.pick(0.55, 0.59), 0.68, 0.86))
    pixels = gradient(height, width, [(0, top), (0.5, toward(top, (1, 1, 1), 0.72)), (1, (1, 1, 1))])
    pixels = clouds(canvas, pixels, (1.0, 1.0, 1.0), amount=0.85, stretch=3.2)
    horizon, shore = canvas.pick(0.50, 0.56), canvas.pick(0.70, 0.76)
    sea = canvas.accent(1, (0.10, 0.62, 0.68))
    waves = fractal(canvas.rng, height, width, cells=30, octaves=4, stretch=9.0)
    deep = gradient(
        height,
        width,
        [
            (horizon, toward(sea, (0.03, 0.20, 0.44), 0.75)),
            (shore, toward(sea, (0.80, 1.0, 0.95), 0.45)),
            (1, sea),
        ],
    )
    flat_sea = np.zeros(width, np.float32)
    water = f32(deep * (0.90 + 0.22 * waves[..., None]))
    pixels = mix(pixels, water, below(canvas, horizon, flat_sea))
    tide = ridge(canvas, 0.045, 3.0, octaves=3)
    sand = canvas.accent(2, (0.93, 0.83, 0.65))
    for back, strength in ((0.11, 0.45), (0.055, 0.7), (0.012, 0.95)):
        pixels = _surf(canvas, pixels, shore - back, f32(tide * (0.4 + strength * 0.6)), strength)
    grains = fractal(canvas.rng, height, width, cells=90, octaves=3)
    dunes = fractal(canvas.rng, height, width, cells=6, octaves=3, stretch=4.0)
    ground = f32(f32(sand) * (0.86 + 0.10 * grains + 0.16 * dunes)[..., None])
    pixels = mix(pixels, toward(sand, (0.42, 0.34, 0.27), 0.55), below(canvas, shore, tide))
    pixels = mix(pixels, ground, below(canvas, shore + 0.035, tide))
    side = 1.0 if canvas.pick(0, 1) > 0.5 else -1.0
    pixels = _palm(canvas, pixels, -side)
    return Backdrop(
        pixels,
        key=(1.0, 0.96, 0.84),
        ambient=(0.99, 0.98, 0.95),
        ground=toward(sand, (0.5, 0.38, 0.26), 0.45),
        side=side,
        depth=0.25,
        exposure=1.06,
    )


def _sunset(canvas: Canvas) -> Backdrop:
    """A low sun over water, its path glittering towards the viewer."""
    height, width = canvas.height, canvas.width
    warm = canvas.accent(0, canvas.hue(canvas.pick(0.02, 0.09), 0.82, 1.0))
    high = canvas.accent(1, canvas.hue(canvas.pick(0.58, 0.78), 0.5, 0.42))
    horizon = canvas.pick(0.56, 0.66)
    sun_x, sun_y = canvas.pick(0.12, 0.88), horizon - canvas.pick(0.03, 0.16)
    glow = toward(warm, (1.0, 0.86, 0.6), 0.55)
    sky = gradient(height, width, [(0, high), (horizon * 0.55, toward(high, warm, 0.55)), (horizon, glow)])
    sky = clouds(canvas, sky, toward(glow, (1, 1, 1), 0.3), amount=0.55, stretch=4.5)
    sky = sun(canvas, sky, (sun_x, sun_y), canvas.pick(0.035, 0.06), (1.0, 0.93, 0.76))
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
    pixels = clouds(canvas, pixels, (1.0, 0.97, 0.95), amount=0.7, stretch=3.0)
    sun_x = canvas.pick(0.1, 0.9)
    pixels = sun(canvas, pixels, (sun_x, canvas.pick(0.12, 0.3)), 0.03, (1.0, 0.95, 0.85))
    near = canvas.accent(2, (0.10, 0.17, 0.16))
    layers = 5
    for layer in range(layers):
        share = layer / (layers - 1)
        line = 0.34 + 0.4 * share + canvas.pick(-0.03, 0.03)
        profile = ridge(canvas, rough=0.30 - 0.2 * share, detail=4 + 3 * share)
        shade = toward(toward(haze, top, 0.35), near, 0.18 + 0.78 * share)
        pixels = terrain(canvas, pixels, line, profile, shade, snow=max(0.0, 0.75 - 1.5 * share), haze=haze)
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
        pixels = terrain(
            canvas, pixels, base - 0.01, ridge(canvas, 0.05, 3), toward(low, top, 0.3 - 0.1 * layer)
        )
    pixels = flakes(canvas, pixels, count=260)
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
    pixels = sun(canvas, pixels, (sun_x, canvas.pick(0.15, 0.34)), 0.045, (1.0, 0.95, 0.8))
    for layer in range(4):
        line = 0.5 + 0.13 * layer
        profile = ridge(canvas, 0.13, 1.6 + 0.4 * layer, octaves=2)
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


def sky(canvas: Canvas) -> Backdrop:
    """High among towering clouds."""
    height, width = canvas.height, canvas.width
    top = canvas.accent(0, canvas.hue(canvas.pick(0.55, 0.62), 0.72, 0.80))
    pixels = gradient(height, width, [(0, top), (0.7, toward(top, (1, 1, 1), 0.62)), (1, (0.98, 0.94, 0.90))])
    sun_x = canvas.pick(0.1, 0.9)
    pixels = sun(canvas, pixels, (sun_x, canvas.pick(0.08, 0.25)), 0.04, (1, 0.98, 0.9))
    for layer in range(3):
        pixels = billows(canvas, pixels, floor=0.42 + 0.2 * layer, sun_x=sun_x)
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
    pixels = shafts(canvas, pixels, canvas.pick(0.3, 0.7), (0.75, 1.0, 1.0))
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


def _surf(canvas: Canvas, pixels: Picture, line: float, profile: Field, strength: float) -> Picture:
    """One line of foam, torn along its back."""
    height, width = canvas.height, canvas.width
    torn = fractal(canvas.rng, height, width, cells=28, octaves=4, stretch=3.0)
    behind = f32(np.linspace(0, 1, height, dtype=np.float32)[:, None] - (line - profile)[None, :])
    body = smoothstep(-0.004, 0.002, behind) * smoothstep(0.030, 0.004, f32(behind + (torn - 0.5) * 0.03))
    return mix(pixels, (0.98, 1.0, 1.0), f32(body * strength * (0.55 + 0.45 * torn)))


def _palm(canvas: Canvas, pixels: Picture, side: float) -> Picture:
    """Fronds that hang into the picture from a crown just outside of it."""
    height, width = canvas.height, canvas.width
    crown = (width * (0.5 + side * canvas.pick(0.46, 0.54)), height * canvas.pick(0.02, 0.10))
    leaves = pixels.copy()
    for _ in range(11):
        start = np.pi / 2 + side * canvas.pick(-0.3, 2.1)
        reach, droop = canvas.unit * canvas.pick(0.26, 0.42), canvas.pick(0.5, 1.1)
        shade = canvas.hue(canvas.pick(0.26, 0.36), 0.58, canvas.pick(0.16, 0.36))
        x, y, angle = *crown, start
        for step in range(30):
            angle += (np.pi / 2 - angle) * droop * 0.045
            x, y = x + float(np.cos(angle)) * reach / 30, y + float(np.sin(angle)) * reach / 30
            blade = reach * 0.30 * float(np.sin(np.pi * (0.12 + 0.86 * step / 30)))
            for turn in (0.75, -0.75):
                tip = (x + float(np.cos(angle + turn)) * blade, y + float(np.sin(angle + turn)) * blade)
                line(leaves, (x, y), tip, shade, max(1, round(canvas.unit * 0.0045)))
    return blur(leaves, canvas.unit * 0.002)


def _dune(
    canvas: Canvas, pixels: Picture, line: float, profile: Field, sand: Colour, sun_x: float
) -> Picture:
    mask = below(canvas, line, profile)
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


def _bubble(pixels: Picture, where: tuple[float, float], radius: float) -> None:
    disc(pixels, where, radius, (0.55, 0.82, 0.9))
    disc(pixels, where, radius * 0.82, (0.30, 0.62, 0.74))
    disc(pixels, (where[0] - radius * 0.35, where[1] - radius * 0.35), radius * 0.25, (0.95, 1.0, 1.0))
