"""Photographs: graded, black and white, old, and by neon light."""

import cv2
import numpy as np

from visiona.sandbox.replicate.painter.compose import Scene
from visiona.sandbox.replicate.painter.raster import (
    Picture,
    blur,
    clip,
    contrast,
    distance,
    f32,
    flat,
    fractal,
    grid,
    luma,
    mix,
    saturate,
    screen,
    size,
    smoothstep,
)
from visiona.sandbox.replicate.painter.styles.brush import (
    Manner,
    contours,
    face_weight,
    grain,
    lift,
    sharpen,
    smooth,
    vignette,
)


def photo(scene: Scene, manner: Manner) -> Picture:
    pixels = saturate(contrast(scene.pixels, 0.97 + 0.05 * manner.guidance), 0.92 + 0.10 * manner.guidance)
    pixels = sharpen(pixels, manner.unit * 0.0015, 0.3)
    return grain(vignette(pixels, 0.22), manner, 0.012)


def noir(scene: Scene, manner: Manner) -> Picture:
    height, width = size(scene.pixels)
    grey = luma(lift(scene.pixels, 0.42))
    grey = f32(
        np.clip(contrast(sharpen(grey, manner.unit * 0.004, 0.6), 1.35 + 0.10 * manner.guidance, 0.46), 0, 1)
    )
    rows, columns = grid(height, width)
    slant = float(manner.rng.uniform(0.10, 0.28)) * (1 if manner.rng.random() < 0.5 else -1)
    blinds = smoothstep(-0.2, 0.35, f32(np.sin((rows + slant * columns) * 2 * np.pi * 9)))
    shade = 1.0 - 0.38 * (1.0 - blur(blinds, manner.unit * 0.004)) * (1.0 - 0.6 * face_weight(scene, 1.0))
    pixels = f32((grey * shade)[..., None] * f32((1.0, 0.99, 0.97)))
    return grain(vignette(pixels, 0.55), manner, 0.045)


def vintage(scene: Scene, manner: Manner) -> Picture:
    height, width = size(scene.pixels)
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
    return _scratches(grain(vignette(pixels, 0.5), manner, 0.04), manner)


def neon(scene: Scene, manner: Manner) -> Picture:
    """Pink and cyan light, bloom, and a screen's fine lines."""
    pink, cyan = (
        (*manner.colours, (1.0, 0.22, 0.72), (0.12, 0.86, 1.0))[:2]
        if len(manner.colours) > 1
        else ((1.0, 0.22, 0.72), (0.12, 0.86, 1.0))
    )
    grey = luma(contrast(lift(scene.pixels, 0.36), 1.15))
    _, columns = grid(*size(grey))
    split = smoothstep(0.25, 0.75, f32(columns + (grey - 0.5) * 0.25))
    duo = f32(grey[..., None] * mix(flat(*size(grey), pink), cyan, split) * 1.55)
    duo = mix(duo, f32(duo + f32((0.06, 0.01, 0.14))), 1.0)
    pixels = mix(contrast(lift(scene.pixels, 0.30), 1.15), duo, f32(0.62 - 0.22 * scene.person))
    glow = contours(luma(smooth(smooth(scene.pixels))), manner.unit * 0.0022, 5.0) * scene.person
    edge = f32(blur(f32(glow), manner.unit * 0.003)[..., None] * mix(flat(*size(grey), pink), cyan, split))
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
    return vignette(f32(pixels * scan[:, None, None]), 0.35)


def _scratches(pixels: Picture, manner: Manner) -> Picture:
    height, width = size(pixels)
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
