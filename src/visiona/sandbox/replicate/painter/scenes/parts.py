"""What several backdrops are made of: sun, clouds, lights out of focus, skylines of towers."""

import numpy as np

from visiona.sandbox.replicate.painter.canvas import Canvas
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
    grid,
    line,
    luma,
    mix,
    polygon,
    screen,
    smoothstep,
)


def clouds(canvas: Canvas, pixels: Picture, colour: Colour, *, amount: float, stretch: float) -> Picture:
    cover = fractal(canvas.rng, canvas.height, canvas.width, cells=3.5, octaves=6, gain=0.55, stretch=stretch)
    veil = smoothstep(0.48, 0.85, cover) * amount
    return mix(pixels, colour, veil)


def sun(
    canvas: Canvas, pixels: Picture, where: tuple[float, float], radius: float, colour: Colour
) -> Picture:
    far = distance(canvas.height, canvas.width, *where)
    halo = np.exp(-far / (radius * 5)) * 0.75 + np.exp(-((far / (radius * 2.2)) ** 2)) * 0.5
    ball = 1.0 - smoothstep(radius * 0.92, radius * 1.06, far)
    pixels = screen(pixels, f32(f32(halo)[..., None] * f32(colour)))
    return mix(pixels, (1.0, 0.98, 0.92), ball)


def billows(canvas: Canvas, pixels: Picture, floor: float, sun_x: float) -> Picture:
    height, width = canvas.height, canvas.width
    puffs = fractal(canvas.rng, height, width, cells=4.5, octaves=7, gain=0.55)
    rows, columns = grid(height, width)
    body = smoothstep(0.46, 0.62, f32(puffs + (rows - floor) * 0.7))
    lit = smoothstep(
        -0.25, 0.6, f32((puffs - 0.5) * 1.6 - (rows - floor) * 0.5 + (0.5 - np.abs(columns - sun_x)) * 0.3)
    )
    shade = mix(flat(height, width, (0.66, 0.72, 0.84)), (1.0, 0.99, 0.97), lit)
    return mix(pixels, shade, body * 0.93)


def bokeh(canvas: Canvas, pixels: Picture, colours: list[Colour], count: int, low: float = 0.0) -> Picture:
    """Points of light out of focus; `low` keeps them below that part of the height."""
    lights = np.zeros_like(pixels)
    for index in range(count):
        strength = canvas.pick(0.08, 0.40)
        where = (canvas.pick(0, canvas.width), canvas.pick(low, 1) * canvas.height)
        one = tuple(c * strength for c in colours[index % len(colours)])
        disc(lights, where, canvas.unit * canvas.pick(0.010, 0.050), one)
    return screen(pixels, blur(lights, canvas.unit * 0.0035))


def glow(pixels: Picture, canvas: Canvas, amount: float) -> Picture:
    """Light spilling over from what is bright."""
    bright = clip(f32((pixels - 0.6) * 2.0))
    return screen(pixels, f32(blur(bright, canvas.unit * 0.03) * amount))


def shafts(canvas: Canvas, pixels: Picture, from_x: float, colour: Colour) -> Picture:
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


def terrain(
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
    mask = below(canvas, line, profile)
    relief = fractal(canvas.rng, height, width, cells=11, octaves=5, gain=0.6)
    body = f32(f32(shade) * (0.82 + 0.36 * relief[..., None]))
    rows, _ = grid(height, width)
    under = f32(rows - (line - profile)[None, :])
    if snow > 0:
        caps = smoothstep(0.10, 0.0, f32(under + (relief - 0.5) * 0.22)) * snow
        body = mix(body, (0.97, 0.98, 1.0), f32(caps * (0.55 + 0.45 * (relief > 0.5))))
    if haze is not None:
        body = mix(body, haze, f32(np.clip(under * 1.6, 0, 0.35)))
    return mix(pixels, body, mask)


def ridge(canvas: Canvas, rough: float, detail: float, octaves: int = 6) -> Field:
    """A skyline across the width: offsets around 0, in parts of the height."""
    knots = fractal(canvas.rng, 8, canvas.width, cells=detail, octaves=octaves, gain=0.5)[4]
    return f32((knots - 0.5) * rough)


def below(canvas: Canvas, line: float, profile: Field) -> Field:
    """Soft-edged field: 1 below a skyline."""
    rows, _ = grid(canvas.height, canvas.width)
    edge = (line - profile)[None, :]
    soft = 1.2 / canvas.height
    return smoothstep(-soft, soft, f32(rows - edge))


def flakes(canvas: Canvas, pixels: Picture, count: int) -> Picture:
    layer = np.zeros(pixels.shape[:2], np.float32)
    for _ in range(count):
        near = canvas.pick(0, 1) ** 3
        where = (canvas.pick(0, canvas.width), canvas.pick(0, canvas.height))
        disc(layer, where, canvas.unit * (0.0014 + 0.012 * near), 0.9 - 0.55 * near)
    return mix(pixels, (1.0, 1.0, 1.0), blur(layer, canvas.unit * 0.0016))


def rain(canvas: Canvas, pixels: Picture, *, near: float = 0.0) -> Picture:
    """Falling drops; `near` 1 is rain between the person and the camera: fewer, longer, out of focus."""
    drops = np.zeros(pixels.shape[:2], np.float32)
    slant = 0.10 + 0.10 * near
    for _ in range(int((330 - 210 * near) * canvas.height * canvas.width / canvas.unit**2)):
        x, y = canvas.pick(-0.1, 1.1) * canvas.width, canvas.pick(-0.1, 1.0) * canvas.height
        long = canvas.unit * canvas.pick(0.03, 0.07) * (1.0 + 1.6 * near)
        thick = max(1, round(canvas.unit * (0.0016 + 0.0022 * near)))
        line(drops, (x, y), (x - long * slant, y + long), canvas.pick(0.14, 0.42), thick)
    soft = max(0.6, canvas.unit * (0.0006 + 0.0010 * near))
    return screen(pixels, f32(blur(drops, soft)[..., None] * np.array([0.78, 0.87, 1.0], np.float32)))


def gloom(canvas: Canvas, pixels: Picture) -> Picture:
    """Daylight under rain clouds: greyer, darker, the distance in mist. Lights of the night stay."""
    level = float(luma(pixels).mean())
    day = min(1.0, level * 2)
    grey = mix(pixels, f32(luma(pixels)[..., None] * f32((0.90, 0.97, 1.06))), 0.65 * day**2)
    dark = f32(grey * min(1.0, 0.38 / max(level, 0.05)))
    mist = fractal(canvas.rng, canvas.height, canvas.width, cells=3, octaves=4, stretch=3.0)
    return mix(dark, (0.50, 0.55, 0.60), f32((0.04 + 0.22 * mist) * day))


def stars(canvas: Canvas, pixels: Picture) -> Picture:
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
