"""Finding a person in a photo and cutting them out: what the sandbox learns when it trains.

The face comes from OpenCV's Haar cascades. Where the person ends is found by GrabCut in three
horizontal zones (hat and hair, face, clothes), each with its own colour model, because the white of
a collar says nothing about the white of a flag beside the cheek. A guided filter then draws the
edge along the photo's own.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from visiona.sandbox.replicate.painter.raster import (
    Field,
    Pixels,
    blur,
    f32,
    from_pixels,
    guided_filter,
    luma,
    mix,
    smoothstep,
    to_pixels,
)

PORTRAIT_SIDE = 896
"""Longest side of a stored portrait in pixels: enough for the largest picture that is made."""

TRUSTED = 0.5
"""Least quality of an outline that is used to cut a person out."""

_DETECTION_SIDE = 640
_SEGMENT_SIDE = 360
_CASCADES = ("haarcascade_frontalface_alt2.xml", "haarcascade_frontalface_default.xml")

# Zones as (top, bottom) in face heights from the middle of the face; they overlap and are blended.
_ZONES = ((-9.0, -0.15), (-0.45, 0.75), (0.35, 9.0))
# Where the person can be, is likely to be and surely is, as outlines in face sizes.
_POSSIBLE = [(0.8, -0.2), (0.72, 0.1), (0.70, 0.45), (1.25, 0.75), (1.75, 1.05), (1.95, 1.7), (2.0, 3.5)]
_LIKELY = [(0.42, 0.5), (0.6, 0.85), (1.35, 1.2), (1.6, 1.75), (1.7, 3.5)]
_CERTAIN = [(0.22, 0.4), (0.3, 0.9), (0.75, 1.45), (0.85, 3.5)]


class Face(NamedTuple):
    """Middle and side of a face's square, in pixels."""

    x: float
    y: float
    size: float


@dataclass(frozen=True, slots=True)
class Portrait:
    """A person cut out of one photo: RGB pixels, alpha, and where the face is.

    `quality` in 0..1 says how far to trust the outline; below `TRUSTED`, or without a face, the
    picture is better used whole than cut out.
    """

    pixels: Pixels
    alpha: Pixels
    face: Face | None
    quality: float


def cut_out(photo: Pixels) -> Portrait:
    """The person in `photo`, or the photo's middle with a soft edge where no face is found."""
    face = find_face(photo)
    if face is None:
        return _whole(photo)
    crop, face = _crop_around(photo, face)
    alpha, quality = _outline(crop, face)
    pixels = _own_colours(crop, alpha, face) if quality >= TRUSTED else crop
    return Portrait(pixels, alpha, face, quality)


def find_face(photo: Pixels) -> Face | None:
    """The largest upright frontal face."""
    scale = min(1.0, _DETECTION_SIDE / max(photo.shape[:2]))
    small = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    grey = cv2.equalizeHist(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY))
    least = max(24, min(grey.shape[:2]) // 12)
    for name in _CASCADES:
        cascade = cv2.CascadeClassifier(str(Path(cv2.__file__).parent / "data" / name))
        found = cascade.detectMultiScale(grey, 1.1, 5, minSize=(least, least))
        if len(found):
            x, y, width, _ = (float(value) for value in max(found, key=lambda box: box[2]))
            return Face((x + width / 2) / scale, (y + width / 2) / scale, width / scale)
    return None


def _whole(photo: Pixels) -> Portrait:
    height, width = photo.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 3, (width - side) // 2
    square = photo[top : top + side, left : left + side]
    target = min(side, PORTRAIT_SIDE)
    pixels = cast("Pixels", cv2.resize(square, (target, target), interpolation=cv2.INTER_AREA))
    return Portrait(pixels, np.full((target, target), 255, np.uint8), None, 0.0)


def _crop_around(photo: Pixels, face: Face) -> tuple[Pixels, Face]:
    """Head and shoulders, at most `PORTRAIT_SIDE` long."""
    height, width = photo.shape[:2]
    left, right = max(0, int(face.x - 2.3 * face.size)), min(width, int(face.x + 2.3 * face.size))
    top, bottom = max(0, int(face.y - 1.75 * face.size)), min(height, int(face.y + 2.6 * face.size))
    crop = photo[top:bottom, left:right]
    scale = min(1.0, PORTRAIT_SIDE / max(crop.shape[:2]))
    crop = cast("Pixels", cv2.resize(crop, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
    return crop, Face((face.x - left) * scale, (face.y - top) * scale, face.size * scale)


def _outline(crop: Pixels, face: Face) -> tuple[Pixels, float]:
    """Alpha of the person and how far it can be trusted."""
    scale = min(1.0, _SEGMENT_SIDE / max(crop.shape[:2]))
    small = cast("Pixels", cv2.resize(crop, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
    small = cast("Pixels", cv2.bilateralFilter(small, 7, 30, 7))
    small_face = Face(face.x * scale, face.y * scale, face.size * scale)
    hints = _hints(small, small_face)
    found = _tidy(_segment(small, hints, small_face), small_face)
    solid = _draped(found, small_face)
    lost = float((solid != found).sum()) / small_face.size**2
    quality = _quality(solid, hints, small_face) * float(np.clip(1.05 - 1.5 * lost, 0.0, 1.0))
    return _refine(solid, crop, face, small_face), quality


def _hints(small: Pixels, face: Face) -> Pixels:
    """What GrabCut is told before it looks at colours."""
    hints = np.full(small.shape[:2], cv2.GC_BGD, np.uint8)
    _ellipse(hints, face, -0.22, (0.95, 1.2), cv2.GC_PR_BGD)
    _silhouette(hints, face, _POSSIBLE, cv2.GC_PR_BGD)
    _ellipse(hints, face, -0.12, (0.6, 0.9), cv2.GC_PR_FGD)
    _silhouette(hints, face, _LIKELY, cv2.GC_PR_FGD)
    _ellipse(hints, face, 0.0, (0.4, 0.52), cv2.GC_FGD)
    _silhouette(hints, face, _CERTAIN, cv2.GC_FGD)
    return hints


def _ellipse(mask: Pixels, face: Face, down: float, radii: tuple[float, float], value: int) -> None:
    centre = (int(face.x), int(face.y + down * face.size))
    axes = (int(radii[0] * face.size), int(radii[1] * face.size))
    cv2.ellipse(mask, centre, axes, 0, 0, 360, value, -1)


def _silhouette(mask: Pixels, face: Face, right_side: list[tuple[float, float]], value: int) -> None:
    outline = [*right_side, *((-x, y) for x, y in reversed(right_side))]
    points = [[face.x + x * face.size, face.y + y * face.size] for x, y in outline]
    cv2.fillPoly(mask, [np.array(points, np.int32)], value)


def _segment(small: Pixels, hints: Pixels, face: Face) -> Pixels:
    """GrabCut zone by zone; 1 where the zones together say person."""
    height = small.shape[0]
    votes = np.zeros(small.shape[:2], np.float32)
    weights = np.full(small.shape[:2], 1e-6, np.float32)
    for low, high in _ZONES:
        top = int(np.clip(face.y + low * face.size, 0, height))
        bottom = int(np.clip(face.y + high * face.size, 0, height))
        zone = hints[top:bottom].copy()
        if bottom - top < 12 or not (zone == cv2.GC_FGD).any() or not (zone == cv2.GC_BGD).any():
            continue
        cv2.setRNGSeed(1)  # GrabCut clusters colours from random starts; pictures must repeat
        models = np.zeros((1, 65), np.float64), np.zeros((1, 65), np.float64)
        strip = np.ascontiguousarray(small[top:bottom])
        cv2.grabCut(strip, zone, (0, 0, 1, 1), *models, 4, cv2.GC_INIT_WITH_MASK)
        fade = _zone_weight(bottom - top, opens=top > 0, closes=bottom < height, over=face.size * 0.3)
        votes[top:bottom] += fade * ((zone == cv2.GC_FGD) | (zone == cv2.GC_PR_FGD))
        weights[top:bottom] += fade
    certain = hints == cv2.GC_FGD
    return ((votes / weights > 0.5) | certain).astype(np.uint8)


def _zone_weight(rows: int, *, opens: bool, closes: bool, over: float) -> Field:
    """1 inside the zone, falling towards an edge that another zone overlaps."""
    steps = np.arange(1, rows + 1, dtype=np.float32) / over
    weight = np.ones(rows, np.float32)
    if opens:
        weight = np.minimum(weight, steps)
    if closes:
        weight = np.minimum(weight, steps[::-1])
    return f32(weight)[:, None]


def _tidy(solid: Pixels, face: Face) -> Pixels:
    """One piece that holds the face, without specks or holes."""
    kernel_side = max(3, int(face.size * 0.09) | 1)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (kernel_side, kernel_side))
    opened = cv2.morphologyEx(solid, cv2.MORPH_OPEN, kernel)
    _, labels = cv2.connectedComponents(opened)
    height, width = solid.shape
    label = labels[min(height - 1, int(face.y)), min(width - 1, int(face.x))]
    piece = (labels == label).astype(np.uint8) if label else opened.astype(np.uint8)
    # A frame of background on three sides: what it cannot reach is a hole in the person.
    outside = cv2.copyMakeBorder(1 - piece, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=(1,))
    outside[-1, :] = 0
    _, reached = cv2.connectedComponents(outside)
    filled = (reached != reached[0, 0])[1:-1, 1:-1].astype(np.uint8)
    return cast("Pixels", cv2.morphologyEx(filled, cv2.MORPH_CLOSE, kernel))


def _draped(solid: Pixels, face: Face) -> Pixels:
    """`solid` without notches between neck and shoulder: from the neck down, people only grow broader."""
    rows, columns = solid.shape
    first, last = (min(rows - 1, int(face.y + reach * face.size)) for reach in (0.45, 1.0))
    if last - first < 3:
        return solid
    neck = first + int(np.argmin(solid[first:last].sum(axis=1)))
    body = solid[neck:] > 0
    empty = ~body.any(axis=1)
    middle = int(np.clip(face.x, 0, columns - 1))
    left = np.where(empty, middle, body.argmax(axis=1))
    right = np.where(empty, middle, columns - 1 - body[:, ::-1].argmax(axis=1))
    outer_left = np.minimum.accumulate(left)[:, None]
    outer_right = np.maximum.accumulate(right)[:, None]
    place = np.arange(columns, dtype=np.int64)[None, :]
    within = (place >= outer_left) & (place <= outer_right) & (np.abs(place - face.x) < 1.6 * face.size)
    draped = solid.copy()
    draped[neck:][within] = 1
    return draped


def _own_colours(crop: Pixels, alpha: Pixels, face: Face) -> Pixels:
    """Replace colours along the outline by those just inside, so that no old background shows."""
    pixels, cover = from_pixels(crop), from_pixels(alpha)
    core = f32(cv2.erode((cover > 0.92).astype(np.float32), np.ones((3, 3), np.uint8)))
    reach = max(2.0, face.size * 0.035)
    weight = blur(core, reach) + 1e-4
    inner = f32(blur(f32(pixels * core[..., None]), reach) / weight[..., None])
    return to_pixels(mix(inner, pixels, f32(np.maximum(core, smoothstep(0.02, 0.0, weight)))))


def _quality(solid: Pixels, hints: Pixels, face: Face) -> float:
    """High where the outline lies where people's outlines lie, and head and shoulders are whole."""
    likely = (hints == cv2.GC_PR_FGD) | (hints == cv2.GC_FGD)
    person = solid > 0
    overlap = float((likely & person).sum()) / max(1.0, float((likely | person).sum()))
    shell = person & (cv2.erode(solid, np.ones((3, 3), np.uint8)) == 0)
    leak = float((shell & (hints == cv2.GC_BGD)).sum()) / max(1.0, float(shell.sum()))
    head = slice(max(0, int(face.x - face.size * 0.5)), int(face.x + face.size * 0.5))
    cropped_head = float(person[0, head].mean())
    whole = min(_crown(person, face), _shoulders(person, face))
    return float(np.clip((overlap * 1.25 - leak - 0.7 * cropped_head) * whole, 0.0, 1.0))


def _crown(person: NDArray[np.bool_], face: Face) -> float:
    """1 where there is as much head above the face as heads have, or the photo ends."""
    column = person[: int(face.y), int(face.x)]
    above = len(column) - int(np.flatnonzero(column)[0]) if column.any() else 0
    return float(np.clip((above / face.size - 0.55) / 0.2, 0.0, 1.0))


def _shoulders(person: NDArray[np.bool_], face: Face) -> float:
    """1 where what lies under the chin is as broad as shoulders, or as the photo; less without any."""
    height, width = person.shape
    top, bottom = int(face.y + 1.1 * face.size), int(face.y + 1.5 * face.size)
    if top + 2 >= height:
        return 0.6
    broad = float(person[top : min(bottom, height)].sum(axis=1).max())
    left, right = face.x - 1.2 * face.size, face.x + 1.2 * face.size
    possible = min(float(width), right) - max(0.0, left)
    return float(np.clip((broad / max(1.0, possible) - 0.35) / 0.35, 0.0, 1.0))


def _refine(solid: Pixels, crop: Pixels, face: Face, small_face: Face) -> Pixels:
    """The outline at full size, drawn along the photo's own edges."""
    height, width = crop.shape[:2]
    soft = cv2.GaussianBlur(solid.astype(np.float32), (0, 0), max(1.2, small_face.size * 0.03))
    soft = np.clip((soft - 0.5) * 2.2 + 0.45, 0.0, 1.0)
    alpha = np.clip(f32(cv2.resize(soft, (width, height), interpolation=cv2.INTER_CUBIC)), 0.0, 1.0)
    guide = luma(from_pixels(crop))
    alpha = guided_filter(guide, alpha, max(3, int(face.size * 0.035)), 2e-4)
    return to_pixels(np.clip((alpha - 0.12) / 0.76, 0.0, 1.0))
