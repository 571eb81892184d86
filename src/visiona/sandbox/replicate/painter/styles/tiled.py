"""Pictures of squares and of facets."""

from typing import Any, cast

import cv2
import numpy as np

from visiona.sandbox.replicate.painter.compose import Scene
from visiona.sandbox.replicate.painter.raster import (
    Picture,
    blur,
    contrast,
    f32,
    luma,
    resize,
    saturate,
    size,
)
from visiona.sandbox.replicate.painter.styles.brush import Manner, contours, face_weight, vivid


def pixel(scene: Scene, manner: Manner) -> Picture:
    height, width = size(scene.pixels)
    block = max(4, round(manner.unit / 104))
    rows, columns = height // block, width // block
    small = resize(vivid(contrast(scene.pixels, 1.15), manner), rows, columns)
    bayer = f32(np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]])) / 16 - 0.5
    dither = np.tile(bayer, (rows // 4 + 1, columns // 4 + 1))[:rows, :columns]
    inks = _palette(small, 22)
    noisy = f32(small + dither[..., None] * 0.055)
    nearest = ((noisy[:, :, None, :] - inks) ** 2).sum(-1).argmin(-1)
    big = cv2.resize(inks[nearest], (width, height), interpolation=cv2.INTER_NEAREST)
    return f32(big)


def lowpoly(scene: Scene, manner: Manner) -> Picture:
    """Facets between points that gather along contours and on the face."""
    height, width = size(scene.pixels)
    smooth = blur(saturate(scene.pixels, 1.1), manner.unit * 0.002)
    interest = contours(luma(smooth), manner.unit * 0.003, 12.0) + 0.045 + 0.10 * scene.person
    interest += 0.75 * face_weight(scene, 1.0)
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
    for corners in np.asarray(plane.getTriangleList(), np.float32).reshape(-1, 3, 2):
        if (corners < -1).any() or (corners[:, 0] > width).any() or (corners[:, 1] > height).any():
            continue
        middle = corners.mean(axis=0)
        colour = smooth[min(height - 1, int(middle[1])), min(width - 1, int(middle[0]))]
        shade = [float(c) for c in colour * (1.0 + 0.06 * np.sin(corners[0, 0] * 0.7 + corners[1, 1]))]
        cv2.fillConvexPoly(pixels, cast("Any", np.int32(np.round(corners))), shade)
    return saturate(contrast(pixels, 1.06), 1.15)


def _palette(pixels: Picture, count: int) -> Picture:
    """`count` inks that suit the picture."""
    points = np.ascontiguousarray(pixels.reshape(-1, 3))
    cv2.setRNGSeed(3)  # k-means starts at random; pictures must repeat
    stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 12, 0.002)
    _, _, centres = cv2.kmeans(points, count, cast("Any", None), stop, 1, cv2.KMEANS_PP_CENTERS)
    return f32(saturate(f32(centres)[None], 1.15)[0])
