"""Tools that several manners share: contours, strokes, dots, paper and grain.

Brush strokes come from smearing a picture along its own contours (line integral convolution over the
structure tensor's direction); contours from differences of Gaussians.
"""

from dataclasses import dataclass
from typing import cast

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
    fractal,
    from_pixels,
    grid,
    luma,
    resize,
    sample,
    saturate,
    size,
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


def lift(pixels: Picture, level: float) -> Picture:
    """Brighten a dark picture until its mean reaches `level`, by a curve that keeps black black."""
    mean = max(0.02, float(luma(pixels).mean()))
    return f32(clip(pixels) ** min(1.0, max(0.45, np.log(level) / np.log(mean))))


def vivid(pixels: Picture, manner: Manner) -> Picture:
    return clip(saturate(contrast(pixels, 1.0 + 0.07 * manner.guidance), 1.0 + 0.18 * manner.guidance))


def sharpen(pixels: Picture, sigma: float, amount: float) -> Picture:
    return f32(pixels + (pixels - blur(pixels, sigma)) * amount)


def smooth(pixels: Picture) -> Picture:
    return from_pixels(cast("Pixels", cv2.bilateralFilter(to_pixels(pixels), 9, 48, 9)))


def vignette(pixels: Picture, amount: float) -> Picture:
    corner = smoothstep(0.35, 0.78, distance(*size(pixels), 0.5, 0.47))
    return f32(pixels * (1.0 - amount * corner[..., None]))


def grain(pixels: Picture, manner: Manner, amount: float) -> Picture:
    noise = blur(manner.rng.standard_normal(pixels.shape[:2], dtype=np.float32), 0.7)
    return f32(pixels + noise[..., None] * amount)


def posterise(pixels: Picture, levels: int) -> Picture:
    """Quantise brightness and keep hue, so that skin stays skin."""
    level = luma(pixels)
    steps = f32((np.floor(level * levels) + 0.5) / levels)
    return clip(f32(pixels * (steps / np.maximum(level, 0.04))[..., None]))


def face_weight(scene: Scene, amount: float) -> Field:
    rows, columns = offsets(*size(scene.pixels), scene.face[0], scene.face[1])
    far = np.hypot(columns, rows * 0.85) / max(scene.face[2], 1.0)
    return f32(np.exp(-((far / 0.55) ** 2)) * amount)


def offsets(height: int, width: int, x: float, y: float) -> tuple[Field, Field]:
    rows = np.arange(height, dtype=np.float32)[:, None] - np.float32(y)
    columns = np.arange(width, dtype=np.float32)[None, :] - np.float32(x)
    return np.broadcast_to(rows, (height, width)), np.broadcast_to(columns, (height, width))


def strokes(pixels: Picture, manner: Manner, *, length: int, jitter: float) -> Picture:
    """Smear along contours by `length` steps each way; `jitter` breaks the colour up between strokes."""
    height, width = size(pixels)
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


def bristles(pixels: Picture, manner: Manner) -> Field:
    """Noise drawn out along the strokes: the marks of a brush's hairs."""
    height, width = size(pixels)
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


def relief(surface: Field, sigma: float) -> Field:
    """Shading of a surface lit from the upper left, around 0."""
    soft = blur(surface, sigma)
    slope = f32(cv2.Sobel(soft, cv2.CV_32F, 1, 0)) + f32(cv2.Sobel(soft, cv2.CV_32F, 0, 1))
    return f32(np.clip(slope * 0.9, -0.22, 0.22))


def contours(grey: Field, sigma: float, sharpness: float) -> Field:
    """Dark lines in 0..1 by a difference of Gaussians."""
    sigma = max(0.8, sigma)
    difference = blur(grey, sigma) - 0.985 * blur(grey, sigma * 1.6)
    return f32(np.clip(-np.tanh(np.minimum(0.0, (difference - 0.002) * sharpness * 6)), 0, 1))


def halftone(darkness: Field, pitch: float, angle: float) -> Field:
    """Dots whose size follows `darkness`; 1 inside a dot."""
    height, width = darkness.shape
    rows, columns = offsets(height, width, 0, 0)
    u = (columns * np.cos(angle) + rows * np.sin(angle)) * np.pi / pitch
    v = (-columns * np.sin(angle) + rows * np.cos(angle)) * np.pi / pitch
    cells = f32((np.cos(u) * np.cos(v) + 1.0) / 2.0)
    return f32(smoothstep(-0.05, 0.05, f32(cells - (1.0 - darkness))) * (darkness > 0.04))


def torn_edge(manner: Manner, height: int, width: int) -> Field:
    """1 in the middle of a sheet, 0 in an uneven margin."""
    rows, columns = grid(height, width)
    border = np.minimum(
        np.minimum(rows * height, (1 - rows) * height), np.minimum(columns * width, (1 - columns) * width)
    )
    rough = fractal(manner.rng, height, width, cells=14, octaves=5)
    return smoothstep(0.010, 0.030, f32(border / manner.unit - rough * 0.055 + 0.012))


def _flow(pixels: Picture, sigma: float) -> tuple[Field, Field]:
    """Unit vectors along contours, from the smoothed structure tensor."""
    grey = luma(pixels)
    along = f32(cv2.Sobel(grey, cv2.CV_32F, 1, 0))
    down = f32(cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    xx, yy, xy = (blur(f32(field), sigma) for field in (along * along, down * down, along * down))
    angle = 0.5 * np.arctan2(2 * xy, xx - yy) + np.pi / 2
    return f32(np.cos(angle)), f32(np.sin(angle))
