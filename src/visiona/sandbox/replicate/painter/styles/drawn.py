"""Pencil, comic, silk screen and animation."""

import cv2
import numpy as np

from visiona.sandbox.replicate.painter.compose import Scene
from visiona.sandbox.replicate.painter.raster import (
    Colour,
    Field,
    Picture,
    blur,
    clip,
    contrast,
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
    halftone,
    lift,
    offsets,
    posterise,
    smooth,
    torn_edge,
    vivid,
)


def pencil(scene: Scene, manner: Manner) -> Picture:
    height, width = size(scene.pixels)
    grey = luma(contrast(scene.pixels, 1.15))
    dodge = f32(np.clip(grey / np.maximum(blur(grey, manner.unit * 0.011), 0.05), 0, 1))
    hatch = _hatching(manner, height, width)
    # Tone builds up in three passes of hatching, darkest places get all of them.
    tone = np.ones_like(grey)
    for level, field in zip((0.72, 0.48, 0.26), hatch, strict=True):
        tone *= 1.0 - smoothstep(level, level - 0.34, grey) * smoothstep(0.35, 0.75, field) * 0.52
    lines = contours(grey, manner.unit * 0.0012, 20.0)
    drawn = np.clip(dodge**1.5 * (0.35 + 0.65 * tone) * (1.0 - 0.72 * lines) + 0.02, 0, 1)
    paper = 0.94 + 0.05 * fractal(manner.rng, height, width, cells=180, octaves=2)
    page = 1.0 - (1.0 - drawn) * torn_edge(manner, height, width)
    sheet = f32((page * paper)[..., None] * f32((1.0, 0.985, 0.955)))
    if manner.colours:
        sheet = mix(sheet, f32(sheet * (0.45 + 0.55 * saturate(scene.pixels, 1.5))), 0.8)
    return f32(sheet + f32((0.10, 0.10, 0.12)) * (1 - drawn)[..., None])


def comic(scene: Scene, manner: Manner) -> Picture:
    pixels = vivid(smooth(lift(scene.pixels, 0.46)), manner)
    flat_tones = mix(posterise(pixels, 5), pixels, 0.25)
    flat_tones = saturate(contrast(flat_tones, 1.12), 1.3)
    shadow = smoothstep(0.46, 0.18, luma(pixels))
    dots = halftone(shadow * 0.8, manner.unit * 0.0088, 0.5)
    flat_tones = mix(flat_tones, f32(flat_tones * 0.42), f32(dots * (1.0 - 0.65 * face_weight(scene, 1.0))))
    ink = contours(luma(pixels), manner.unit * 0.0020, 26.0)
    return mix(flat_tones, (0.04, 0.04, 0.06), ink)


def pop(scene: Scene, manner: Manner) -> Picture:
    """Four flat inks and rays, as if pulled through a silk screen."""
    height, width = size(scene.pixels)
    grey = luma(contrast(smooth(scene.pixels), 1.35))
    inks = _pop_inks(manner)
    angle = np.arctan2(*offsets(height, width, scene.face[0], scene.face[1]))
    rays = smoothstep(-0.06, 0.06, f32(np.sin(angle * 12 + manner.rng.uniform(0, 6))))
    ground = mix(flat(height, width, inks[3]), inks[4], rays)
    ground = mix(
        ground,
        inks[2],
        halftone(f32(smoothstep(0.9, 0.2, grid(height, width)[0]) * 0.5), manner.unit * 0.02, 0.3),
    )
    figure = flat(height, width, inks[0])
    for level, ink in ((0.27, inks[1]), (0.47, inks[2]), (0.64, inks[5])):
        figure = mix(figure, ink, smoothstep(level - 0.012, level + 0.012, grey))
    dots = halftone(
        f32(smoothstep(0.64, 0.42, grey) * smoothstep(0.22, 0.40, grey)), manner.unit * 0.011, 0.4
    )
    figure = mix(figure, inks[0], f32(dots * 0.35))
    figure = mix(figure, inks[0], contours(grey, manner.unit * 0.0022, 22.0))
    return mix(ground, figure, smoothstep(0.35, 0.65, scene.person))


def anime(scene: Scene, manner: Manner) -> Picture:
    pixels = vivid(smooth(smooth(f32(scene.pixels * 0.92))), manner)
    shading = luma(pixels)
    cel = mix(posterise(pixels, 8), pixels, 0.5)
    cel = saturate(f32(cel + (smoothstep(0.25, 0.55, shading)[..., None] - 0.5) * 0.06), 1.3)
    bloom = blur(clip(f32((cel - 0.75) * 1.8)), manner.unit * 0.02)
    lines = contours(shading, manner.unit * 0.0014, 18.0)
    return mix(screen(clip(cel), f32(bloom * 0.3)), (0.13, 0.08, 0.16), f32(lines * 0.8))


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
