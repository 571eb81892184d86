"""The manner of a picture: from lightly graded photograph to oil, pencil, comic and pixels.

Brush strokes come from smearing a picture along its own contours (line integral convolution over the
structure tensor's direction); contours from differences of Gaussians.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import cv2
import numpy as np

from visiona.sandbox.replicate.painter.compose import Scene
from visiona.sandbox.replicate.painter.raster import (
    Colour,
    Field,
    Picture,
    Pixels,
    blur,
    clip,
    contrast,
    distance,
    f32,
    flat,
    fractal,
    from_pixels,
    grid,
    luma,
    mix,
    resize,
    sample,
    saturate,
    screen,
    smoothstep,
    to_pixels,
)


@dataclass(frozen=True, slots=True)
class Manner:
    """How strongly to style: `guidance` about 1 is usual, `unit` the shorter side in pixels."""

    rng: np.random.Generator
    guidance: float
    unit: float
    colours: tuple[Colour, ...]


def photo(scene: Scene, manner: Manner) -> Picture:
    pixels = saturate(contrast(scene.pixels, 0.97 + 0.05 * manner.guidance), 0.92 + 0.10 * manner.guidance)
    pixels = _sharpen(pixels, manner.unit * 0.0015, 0.3)
    return _grain(_vignette(pixels, 0.22), manner, 0.012)


def oil(scene: Scene, manner: Manner) -> Picture:
    pixels = _vivid(scene.pixels, manner)
    strokes = _strokes(pixels, manner, length=15, jitter=0.16)
    # Strokes stay finer on the face, as a painter's do.
    fine = _strokes(pixels, manner, length=6, jitter=0.05)
    pixels = mix(strokes, fine, _face_weight(scene, 0.85))
    relief = _relief(luma(pixels) + 0.20 * _bristles(pixels, manner), manner.unit * 0.0012)
    return _vignette(f32(pixels * (1.0 + 0.55 * relief[..., None])), 0.18)


def master(scene: Scene, manner: Manner) -> Picture:
    """An old master: earth colours, light out of darkness, fine cracks."""
    pixels = oil(scene, manner)
    pixels = mix(saturate(pixels, 0.72), f32(pixels * f32((1.06, 0.92, 0.70))), 0.75)
    pixels = contrast(pixels, 1.14, 0.40)
    far = distance(*pixels.shape[:2], scene.face[0] / pixels.shape[1], scene.face[1] / pixels.shape[0])
    pixels = f32(pixels * (1.08 - 0.72 * smoothstep(0.12, 0.62, far))[..., None])
    cracks = fractal(manner.rng, *pixels.shape[:2], cells=60, octaves=2)
    web = smoothstep(0.05, 0.0, f32(np.abs(cracks - 0.5))) * 0.10
    return mix(pixels, (0.08, 0.05, 0.03), f32(web))


def watercolor(scene: Scene, manner: Manner) -> Picture:
    height, width = scene.pixels.shape[:2]
    pixels = _vivid(scene.pixels, manner)
    wobble = (fractal(manner.rng, height, width, cells=40, octaves=3) - 0.5) * manner.unit * 0.012
    rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    pixels = sample(pixels, f32(columns + wobble), f32(rows + np.roll(wobble, 17, axis=1)))
    flowed = _strokes(pixels, manner, length=5, jitter=0.0)
    washes = from_pixels(
        cast("Pixels", cv2.edgePreservingFilter(to_pixels(flowed), flags=1, sigma_s=38, sigma_r=0.42))
    )
    washes = mix(_posterise(washes, 7), washes, 0.45)
    pixels = mix(washes, flowed, _face_weight(scene, 0.6))
    pixels = clip(f32(0.20 + 0.86 * saturate(pixels, 1.22)))
    granules = fractal(manner.rng, height, width, cells=130, octaves=3, gain=0.7)
    pools = fractal(manner.rng, height, width, cells=7, octaves=5)
    pixels = f32(pixels ** (0.80 + 0.45 * pools[..., None])) * (0.93 + 0.14 * granules[..., None])
    edges = _contours(luma(washes), manner.unit * 0.0016, 14.0)
    pixels = f32(pixels * (1.0 - 0.40 * edges[..., None]))
    return mix(
        (flat(height, width, (0.985, 0.975, 0.95))), clip(f32(pixels)), _torn_edge(manner, height, width)
    )


def pencil(scene: Scene, manner: Manner) -> Picture:
    height, width = scene.pixels.shape[:2]
    grey = luma(contrast(scene.pixels, 1.15))
    dodge = f32(np.clip(grey / np.maximum(blur(grey, manner.unit * 0.011), 0.05), 0, 1))
    hatch = _hatching(manner, height, width)
    # Tone builds up in three passes of hatching, darkest places get all of them.
    tone = np.ones_like(grey)
    for level, field in zip((0.72, 0.48, 0.26), hatch, strict=True):
        tone *= 1.0 - smoothstep(level, level - 0.34, grey) * smoothstep(0.35, 0.75, field) * 0.52
    lines = _contours(grey, manner.unit * 0.0012, 20.0)
    drawn = np.clip(dodge**1.5 * (0.35 + 0.65 * tone) * (1.0 - 0.72 * lines) + 0.02, 0, 1)
    paper = 0.94 + 0.05 * fractal(manner.rng, height, width, cells=180, octaves=2)
    page = 1.0 - (1.0 - drawn) * _torn_edge(manner, height, width)
    sheet = f32((page * paper)[..., None] * f32((1.0, 0.985, 0.955)))
    if manner.colours:
        sheet = mix(sheet, f32(sheet * (0.45 + 0.55 * saturate(scene.pixels, 1.5))), 0.8)
    return f32(sheet + f32((0.10, 0.10, 0.12)) * (1 - drawn)[..., None])


def comic(scene: Scene, manner: Manner) -> Picture:
    pixels = _vivid(_smooth(_lift(scene.pixels, 0.46)), manner)
    flat_tones = mix(_posterise(pixels, 5), pixels, 0.25)
    flat_tones = saturate(contrast(flat_tones, 1.12), 1.3)
    shadow = smoothstep(0.46, 0.18, luma(pixels))
    dots = _halftone(shadow * 0.8, manner.unit * 0.0088, 0.5)
    flat_tones = mix(flat_tones, f32(flat_tones * 0.42), f32(dots * (1.0 - 0.65 * _face_weight(scene, 1.0))))
    ink = _contours(luma(pixels), manner.unit * 0.0020, 26.0)
    return mix(flat_tones, (0.04, 0.04, 0.06), ink)


def pop(scene: Scene, manner: Manner) -> Picture:
    """Four flat inks and rays, as if pulled through a silk screen."""
    height, width = scene.pixels.shape[:2]
    grey = luma(contrast(_smooth(scene.pixels), 1.35))
    inks = _pop_inks(manner)
    angle = np.arctan2(*_offsets(height, width, scene.face[0], scene.face[1]))
    rays = smoothstep(-0.06, 0.06, f32(np.sin(angle * 12 + manner.rng.uniform(0, 6))))
    ground = mix(flat(height, width, inks[3]), inks[4], rays)
    ground = mix(
        ground,
        inks[2],
        _halftone(f32(smoothstep(0.9, 0.2, grid(height, width)[0]) * 0.5), manner.unit * 0.02, 0.3),
    )
    figure = flat(height, width, inks[0])
    for level, ink in ((0.27, inks[1]), (0.47, inks[2]), (0.64, inks[5])):
        figure = mix(figure, ink, smoothstep(level - 0.012, level + 0.012, grey))
    dots = _halftone(
        f32(smoothstep(0.64, 0.42, grey) * smoothstep(0.22, 0.40, grey)), manner.unit * 0.011, 0.4
    )
    figure = mix(figure, inks[0], f32(dots * 0.35))
    figure = mix(figure, inks[0], _contours(grey, manner.unit * 0.0022, 22.0))
    return mix(ground, figure, smoothstep(0.35, 0.65, scene.person))


def anime(scene: Scene, manner: Manner) -> Picture:
    pixels = _vivid(_smooth(_smooth(f32(scene.pixels * 0.92))), manner)
    shading = luma(pixels)
    cel = mix(_posterise(pixels, 8), pixels, 0.5)
    cel = saturate(f32(cel + (smoothstep(0.25, 0.55, shading)[..., None] - 0.5) * 0.06), 1.3)
    bloom = blur(clip(f32((cel - 0.75) * 1.8)), manner.unit * 0.02)
    lines = _contours(shading, manner.unit * 0.0014, 18.0)
    return mix(screen(clip(cel), f32(bloom * 0.3)), (0.13, 0.08, 0.16), f32(lines * 0.8))


def noir(scene: Scene, manner: Manner) -> Picture:
    height, width = scene.pixels.shape[:2]
    grey = luma(_lift(scene.pixels, 0.42))
    grey = f32(
        np.clip(contrast(_sharpen(grey, manner.unit * 0.004, 0.6), 1.35 + 0.10 * manner.guidance, 0.46), 0, 1)
    )
    rows, columns = grid(height, width)
    slant = float(manner.rng.uniform(0.10, 0.28)) * (1 if manner.rng.random() < 0.5 else -1)
    blinds = smoothstep(-0.2, 0.35, f32(np.sin((rows + slant * columns) * 2 * np.pi * 9)))
    shade = 1.0 - 0.38 * (1.0 - blur(blinds, manner.unit * 0.004)) * (1.0 - 0.6 * _face_weight(scene, 1.0))
    pixels = f32((grey * shade)[..., None] * f32((1.0, 0.99, 0.97)))
    return _grain(_vignette(pixels, 0.55), manner, 0.045)


def vintage(scene: Scene, manner: Manner) -> Picture:
    height, width = scene.pixels.shape[:2]
    pixels = contrast(saturate(blur(scene.pixels, manner.unit * 0.0012), 0.45), 0.9)
    sepia = f32(luma(pixels)[..., None] * f32((1.08, 0.90, 0.66)) + f32((0.09, 0.06, 0.04)))
    pixels = mix(pixels, sepia, 0.82)
    leak = np.exp(
        -distance(height, width, float(manner.rng.choice([-0.05, 1.05])), float(manner.rng.uniform(0, 1)))
        / 0.16
    )
    pixels = screen(pixels, f32(f32(leak)[..., None] * f32((0.62, 0.26, 0.07))))
    stains = fractal(manner.rng, height, width, cells=3, octaves=5)
    pixels = f32(pixels * (0.90 + 0.16 * stains[..., None]))
    return _scratches(_grain(_vignette(pixels, 0.5), manner, 0.04), manner)


def pixel(scene: Scene, manner: Manner) -> Picture:
    height, width = scene.pixels.shape[:2]
    block = max(4, round(manner.unit / 104))
    rows, columns = height // block, width // block
    small = resize(_vivid(contrast(scene.pixels, 1.15), manner), rows, columns)
    bayer = f32(np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]])) / 16 - 0.5
    dither = np.tile(bayer, (rows // 4 + 1, columns // 4 + 1))[:rows, :columns]
    inks = _palette(small, 22)
    noisy = f32(small + dither[..., None] * 0.055)
    nearest = ((noisy[:, :, None, :] - inks) ** 2).sum(-1).argmin(-1)
    big = cv2.resize(inks[nearest], (width, height), interpolation=cv2.INTER_NEAREST)
    return f32(big)


def lowpoly(scene: Scene, manner: Manner) -> Picture:
    """Facets between points that gather along contours and on the face."""
    height, width = scene.pixels.shape[:2]
    smooth = blur(saturate(scene.pixels, 1.1), manner.unit * 0.002)
    interest = _contours(luma(smooth), manner.unit * 0.003, 12.0) + 0.045 + 0.10 * scene.person
    interest += 0.75 * _face_weight(scene, 1.0)
    chance = (interest / interest.sum()).ravel()
    spots = manner.rng.choice(
        height * width, size=3400, replace=False, p=chance.astype(np.float64) / chance.sum(dtype=np.float64)
    )
    plane = cv2.Subdiv2D((0, 0, width, height))
    for spot in spots:
        plane.insert((float(spot % width), float(spot // width)))
    for x in np.linspace(0, width - 1, 9):
        for y in (0.0, height - 1.0):
            plane.insert((float(x), y))
    for y in np.linspace(0, height - 1, 9):
        for x in (0.0, width - 1.0):
            plane.insert((x, float(y)))
    pixels = smooth.copy()
    for corners in plane.getTriangleList().reshape(-1, 3, 2):
        if (corners < -1).any() or (corners[:, 0] > width).any() or (corners[:, 1] > height).any():
            continue
        middle = corners.mean(axis=0)
        colour = smooth[min(height - 1, int(middle[1])), min(width - 1, int(middle[0]))]
        shade = [float(c) for c in colour * (1.0 + 0.06 * np.sin(corners[0, 0] * 0.7 + corners[1, 1]))]
        cv2.fillConvexPoly(pixels, cast("Any", np.int32(np.round(corners))), shade)
    return saturate(contrast(pixels, 1.06), 1.15)


def neon(scene: Scene, manner: Manner) -> Picture:
    """Pink and cyan light, bloom, and a screen's fine lines."""
    pink, cyan = (
        (*manner.colours, (1.0, 0.22, 0.72), (0.12, 0.86, 1.0))[:2]
        if len(manner.colours) > 1
        else ((1.0, 0.22, 0.72), (0.12, 0.86, 1.0))
    )
    grey = luma(contrast(_lift(scene.pixels, 0.36), 1.15))
    _, columns = grid(*grey.shape)
    split = smoothstep(0.25, 0.75, f32(columns + (grey - 0.5) * 0.25))
    duo = f32(grey[..., None] * mix(flat(*grey.shape, pink), cyan, split) * 1.55)
    duo = mix(duo, f32(duo + f32((0.06, 0.01, 0.14))), 1.0)
    pixels = mix(contrast(_lift(scene.pixels, 0.30), 1.15), duo, f32(0.62 - 0.22 * scene.person))
    glow = _contours(luma(_smooth(_smooth(scene.pixels))), manner.unit * 0.0022, 5.0) * scene.person
    edge = f32(blur(f32(glow), manner.unit * 0.003)[..., None] * mix(flat(*grey.shape, pink), cyan, split))
    pixels = screen(
        screen(clip(pixels), f32(edge * 0.9)),
        f32(blur(clip(f32((pixels - 0.55) * 2)), manner.unit * 0.03) * 0.7),
    )
    shift = max(1, int(manner.unit * 0.0025))
    pixels = np.stack(
        [np.roll(pixels[..., 0], shift, 1), pixels[..., 1], np.roll(pixels[..., 2], -shift, 1)], axis=-1
    )
    scan = 0.94 + 0.06 * np.sin(
        np.arange(grey.shape[0], dtype=np.float32) * np.pi / max(2.0, manner.unit / 340)
    )
    return _vignette(f32(pixels * scan[:, None, None]), 0.35)


STYLES: Mapping[str, Callable[[Scene, Manner], Picture]] = {
    "anime": anime,
    "comic": comic,
    "lowpoly": lowpoly,
    "master": master,
    "neon": neon,
    "noir": noir,
    "oil": oil,
    "pencil": pencil,
    "photo": photo,
    "pixel": pixel,
    "pop": pop,
    "vintage": vintage,
    "watercolor": watercolor,
}


def _lift(pixels: Picture, level: float) -> Picture:
    """Brighten a dark picture until its mean reaches `level`, by a curve that keeps black black."""
    mean = max(0.02, float(luma(pixels).mean()))
    return f32(clip(pixels) ** min(1.0, max(0.45, np.log(level) / np.log(mean))))


def _vivid(pixels: Picture, manner: Manner) -> Picture:
    return clip(saturate(contrast(pixels, 1.0 + 0.10 * manner.guidance), 1.0 + 0.28 * manner.guidance))


def _sharpen(pixels: Picture, sigma: float, amount: float) -> Picture:
    return f32(pixels + (pixels - blur(pixels, sigma)) * amount)


def _smooth(pixels: Picture) -> Picture:
    return from_pixels(cast("Pixels", cv2.bilateralFilter(to_pixels(pixels), 9, 48, 9)))


def _vignette(pixels: Picture, amount: float) -> Picture:
    corner = smoothstep(0.35, 0.78, distance(*pixels.shape[:2], 0.5, 0.47))
    return f32(pixels * (1.0 - amount * corner[..., None]))


def _grain(pixels: Picture, manner: Manner, amount: float) -> Picture:
    noise = blur(manner.rng.standard_normal(pixels.shape[:2], dtype=np.float32), 0.7)
    return f32(pixels + noise[..., None] * amount)


def _posterise(pixels: Picture, levels: int) -> Picture:
    """Quantise brightness and keep hue, so that skin stays skin."""
    level = luma(pixels)
    steps = f32((np.floor(level * levels) + 0.5) / levels)
    return clip(f32(pixels * (steps / np.maximum(level, 0.04))[..., None]))


def _face_weight(scene: Scene, amount: float) -> Field:
    rows, columns = _offsets(*scene.pixels.shape[:2], scene.face[0], scene.face[1])
    far = np.hypot(columns, rows * 0.85) / max(scene.face[2], 1.0)
    return f32(np.exp(-((far / 0.55) ** 2)) * amount)


def _offsets(height: int, width: int, x: float, y: float) -> tuple[Field, Field]:
    rows = np.arange(height, dtype=np.float32)[:, None] - np.float32(y)
    columns = np.arange(width, dtype=np.float32)[None, :] - np.float32(x)
    return np.broadcast_to(rows, (height, width)), np.broadcast_to(columns, (height, width))


def _flow(pixels: Picture, sigma: float) -> tuple[Field, Field]:
    """Unit vectors along contours, from the smoothed structure tensor."""
    grey = luma(pixels)
    along = f32(cv2.Sobel(grey, cv2.CV_32F, 1, 0))
    down = f32(cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    xx, yy, xy = (blur(f32(field), sigma) for field in (along * along, down * down, along * down))
    angle = 0.5 * np.arctan2(2 * xy, xx - yy) + np.pi / 2
    return f32(np.cos(angle)), f32(np.sin(angle))


def _strokes(pixels: Picture, manner: Manner, *, length: int, jitter: float) -> Picture:
    """Smear along contours by `length` steps each way; `jitter` breaks the colour up between strokes."""
    height, width = pixels.shape[:2]
    unit = manner.unit / 1024
    vx, vy = _flow(pixels, 5 * unit + 1)
    source = pixels
    if jitter:
        noise = manner.rng.standard_normal((height // 3 + 1, width // 3 + 1), dtype=np.float32)
        source = f32(pixels + resize(noise, height, width)[..., None] * jitter)
    rows, columns = np.meshgrid(
        np.arange(height, dtype=np.float32), np.arange(width, dtype=np.float32), indexing="ij"
    )
    total, weight = source.copy(), 1.0
    for direction in (1.0, -1.0):
        x, y = columns.copy(), rows.copy()
        for step in range(length):
            here_x, here_y = sample(vx, x, y), sample(vy, x, y)
            x, y = f32(x + here_x * direction * 1.6 * unit), f32(y + here_y * direction * 1.6 * unit)
            share = 1.0 - step / (length + 1)
            total += sample(source, x, y) * np.float32(share)
            weight += share
    return clip(f32(total / weight))


def _bristles(pixels: Picture, manner: Manner) -> Field:
    """Noise drawn out along the strokes: the marks of a brush's hairs."""
    height, width = pixels.shape[:2]
    noise = manner.rng.random((height, width), dtype=np.float32)
    vx, vy = _flow(pixels, 6 * manner.unit / 1024 + 1)
    rows, columns = np.meshgrid(
        np.arange(height, dtype=np.float32), np.arange(width, dtype=np.float32), indexing="ij"
    )
    total = noise.copy()
    for direction in (1.0, -1.0):
        x, y = columns.copy(), rows.copy()
        for _ in range(9):
            x, y = f32(x + sample(vx, x, y) * direction), f32(y + sample(vy, x, y) * direction)
            total += sample(noise, x, y)
    return contrast(f32(total / 19), 4.0, 0.5)


def _relief(surface: Field, sigma: float) -> Field:
    """Shading of a surface lit from the upper left, around 0."""
    soft = blur(surface, sigma)
    slope = f32(cv2.Sobel(soft, cv2.CV_32F, 1, 0)) + f32(cv2.Sobel(soft, cv2.CV_32F, 0, 1))
    return f32(np.clip(slope * 0.9, -0.22, 0.22))


def _contours(grey: Field, sigma: float, sharpness: float) -> Field:
    """Dark lines in 0..1 by a difference of Gaussians."""
    sigma = max(0.8, sigma)
    difference = blur(grey, sigma) - 0.985 * blur(grey, sigma * 1.6)
    return f32(np.clip(-np.tanh(np.minimum(0.0, (difference - 0.002) * sharpness * 6)), 0, 1))


def _halftone(darkness: Field, pitch: float, angle: float) -> Field:
    """Dots whose size follows `darkness`; 1 inside a dot."""
    height, width = darkness.shape
    rows, columns = _offsets(height, width, 0, 0)
    u = (columns * np.cos(angle) + rows * np.sin(angle)) * np.pi / pitch
    v = (-columns * np.sin(angle) + rows * np.cos(angle)) * np.pi / pitch
    cells = f32((np.cos(u) * np.cos(v) + 1.0) / 2.0)
    return f32(smoothstep(-0.05, 0.05, f32(cells - (1.0 - darkness))) * (darkness > 0.04))


def _hatching(manner: Manner, height: int, width: int) -> list[Field]:
    """Three fields of pencil strokes in different directions."""
    fields: list[Field] = []
    for angle in (0.75, 2.2, 0.15):
        noise = manner.rng.random((height, width), dtype=np.float32)
        reach = max(5, int(manner.unit * 0.016)) | 1
        kernel = np.zeros((reach, reach), np.float32)
        middle = reach // 2
        tip = (round(middle + np.cos(angle) * middle), round(middle + np.sin(angle) * middle))
        tail = (round(middle - np.cos(angle) * middle), round(middle - np.sin(angle) * middle))
        cv2.line(kernel, tail, tip, (1.0,), 1, cv2.LINE_AA)
        drawn = f32(cv2.filter2D(noise, -1, kernel / kernel.sum()))
        spread = float(drawn.std()) or 1.0
        fields.append(f32(np.clip((drawn - drawn.mean()) / (spread * 4) + 0.5, 0, 1)))
    return fields


def _torn_edge(manner: Manner, height: int, width: int) -> Field:
    """1 in the middle of a sheet, 0 in an uneven margin."""
    rows, columns = grid(height, width)
    border = np.minimum(
        np.minimum(rows * height, (1 - rows) * height), np.minimum(columns * width, (1 - columns) * width)
    )
    rough = fractal(manner.rng, height, width, cells=14, octaves=5)
    return smoothstep(0.010, 0.030, f32(border / manner.unit - rough * 0.055 + 0.012))


def _scratches(pixels: Picture, manner: Manner) -> Picture:
    height, width = pixels.shape[:2]
    marks = np.zeros((height, width), np.float32)
    for _ in range(14):
        x, y = float(manner.rng.uniform(0, width)), float(manner.rng.uniform(0, height))
        long = float(manner.rng.uniform(0.02, 0.2)) * height
        cv2.line(
            marks,
            (int(x), int(y)),
            (int(x + manner.rng.uniform(-6, 6)), int(y + long)),
            (0.35,),
            1,
            cv2.LINE_AA,
        )
    return screen(pixels, f32(marks[..., None] * np.ones(3, np.float32) * 0.6))


def _palette(pixels: Picture, count: int) -> Picture:
    """`count` inks that suit the picture."""
    points = np.ascontiguousarray(pixels.reshape(-1, 3))
    cv2.setRNGSeed(3)  # k-means starts at random; pictures must repeat
    stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 12, 0.002)
    _, _, centres = cv2.kmeans(points, count, cast("Any", None), stop, 1, cv2.KMEANS_PP_CENTERS)
    return f32(saturate(f32(centres)[None], 1.15)[0])


def _pop_inks(manner: Manner) -> list[Colour]:
    """Dark, deep, middle, two for the ground, and light."""
    sets: list[list[Colour]] = [
        [
            (0.09, 0.06, 0.20),
            (0.85, 0.12, 0.36),
            (1.0, 0.55, 0.22),
            (0.10, 0.68, 0.72),
            (0.18, 0.78, 0.80),
            (1.0, 0.93, 0.68),
        ],
        [
            (0.06, 0.08, 0.24),
            (0.20, 0.28, 0.72),
            (0.96, 0.42, 0.60),
            (0.99, 0.82, 0.18),
            (1.0, 0.88, 0.36),
            (1.0, 0.90, 0.84),
        ],
        [
            (0.12, 0.05, 0.10),
            (0.55, 0.12, 0.52),
            (0.98, 0.58, 0.30),
            (0.35, 0.78, 0.42),
            (0.46, 0.86, 0.52),
            (0.99, 0.95, 0.74),
        ],
        [
            (0.05, 0.14, 0.26),
            (0.82, 0.16, 0.14),
            (0.45, 0.66, 0.74),
            (0.90, 0.20, 0.16),
            (0.95, 0.86, 0.68),
            (0.98, 0.92, 0.76),
        ],
    ]
    inks = sets[int(manner.rng.integers(len(sets)))]
    if manner.colours:
        inks[3] = manner.colours[0]
    return inks
