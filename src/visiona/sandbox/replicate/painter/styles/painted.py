"""Oil, old masters and watercolour."""

from typing import cast

import cv2
import numpy as np

from visiona.sandbox.replicate.painter.compose import Scene
from visiona.sandbox.replicate.painter.raster import (
    Picture,
    Pixels,
    clip,
    contrast,
    distance,
    f32,
    flat,
    fractal,
    from_pixels,
    luma,
    mix,
    sample,
    saturate,
    size,
    smoothstep,
    to_pixels,
)
from visiona.sandbox.replicate.painter.styles.brush import (
    Manner,
    bristles,
    contours,
    face_weight,
    posterise,
    relief,
    strokes,
    torn_edge,
    vignette,
    vivid,
)


def oil(scene: Scene, manner: Manner) -> Picture:
    pixels = vivid(scene.pixels, manner)
    broad = strokes(pixels, manner, length=15, jitter=0.16)
    # Strokes stay finer on the face, as a painter's do.
    fine = strokes(pixels, manner, length=5, jitter=0.02)
    pixels = mix(broad, fine, face_weight(scene, 0.85))
    paint = relief(f32(luma(pixels) + 0.20 * bristles(pixels, manner)), manner.unit * 0.0012)
    thickness = 0.55 * (1.0 - face_weight(scene, 0.8))
    return vignette(f32(pixels * (1.0 + (thickness * paint)[..., None])), 0.18)


def master(scene: Scene, manner: Manner) -> Picture:
    """An old master: earth colours, light out of darkness, fine cracks."""
    pixels = oil(scene, manner)
    pixels = mix(saturate(pixels, 0.72), f32(pixels * f32((1.06, 0.92, 0.70))), 0.75)
    pixels = contrast(pixels, 1.14, 0.40)
    far = distance(*size(pixels), scene.face[0] / pixels.shape[1], scene.face[1] / pixels.shape[0])
    pixels = f32(pixels * (1.08 - 0.72 * smoothstep(0.12, 0.62, far))[..., None])
    cracks = fractal(manner.rng, *size(pixels), cells=60, octaves=2)
    web = smoothstep(0.05, 0.0, f32(np.abs(cracks - 0.5))) * 0.10
    return mix(pixels, (0.08, 0.05, 0.03), f32(web))


def watercolor(scene: Scene, manner: Manner) -> Picture:
    height, width = size(scene.pixels)
    pixels = vivid(scene.pixels, manner)
    wobble = (fractal(manner.rng, height, width, cells=40, octaves=3) - 0.5) * manner.unit * 0.012
    rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    pixels = sample(pixels, f32(columns + wobble), f32(rows + np.roll(wobble, 17, axis=1)))
    flowed = strokes(pixels, manner, length=5, jitter=0.0)
    washes = from_pixels(
        cast("Pixels", cv2.edgePreservingFilter(to_pixels(flowed), flags=1, sigma_s=38, sigma_r=0.42))
    )
    washes = mix(posterise(washes, 7), washes, 0.45)
    pixels = mix(washes, flowed, face_weight(scene, 0.6))
    pixels = clip(f32(0.20 + 0.86 * saturate(pixels, 1.22)))
    granules = fractal(manner.rng, height, width, cells=130, octaves=3, gain=0.7)
    pools = fractal(manner.rng, height, width, cells=7, octaves=5)
    pixels = f32(pixels ** (0.80 + 0.45 * pools[..., None])) * (0.93 + 0.14 * granules[..., None])
    edges = contours(luma(washes), manner.unit * 0.0016, 14.0)
    pixels = f32(pixels * (1.0 - 0.40 * edges[..., None]))
    return mix(
        (flat(height, width, (0.985, 0.975, 0.95))), clip(f32(pixels)), torn_edge(manner, height, width)
    )
