"""Typed picture primitives over NumPy and OpenCV.

A picture is float32 RGB in 0..1, a field is one such plane. OpenCV's own types are loose, so every
call to it that several modules need is wrapped here once.
"""

from collections.abc import Sequence
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.float32]
Field = NDArray[np.float32]
Pixels = NDArray[np.uint8]
Colour = tuple[float, float, float]

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def f32(array: Any) -> NDArray[np.float32]:
    """`array` as float32, without a copy where it already is."""
    return np.asarray(array, np.float32)


def size(picture: Picture) -> tuple[int, int]:
    """Height and width."""
    height, width = picture.shape[:2]
    return int(height), int(width)


def clip(picture: Picture) -> Picture:
    return np.clip(picture, 0.0, 1.0)


def to_pixels(picture: Picture) -> Pixels:
    return (clip(picture) * 255.0 + 0.5).astype(np.uint8)


def from_pixels(pixels: Pixels) -> Picture:
    return pixels.astype(np.float32) * np.float32(1 / 255)


def flat(height: int, width: int, colour: Colour) -> Picture:
    return np.full((height, width, 3), colour, np.float32)


def luma(picture: Picture) -> Field:
    return picture @ _LUMA


def blur(picture: Picture, sigma: float) -> Picture:
    """Gaussian blur; wide ones run on a smaller copy, which looks the same and costs far less."""
    if sigma < 0.3:
        return picture
    factor = int(min(8, max(1, sigma // 6)))
    if factor == 1:
        return f32(cv2.GaussianBlur(picture, (0, 0), sigma))
    height, width = picture.shape[:2]
    small = resize(picture, max(1, height // factor), max(1, width // factor))
    return resize(f32(cv2.GaussianBlur(small, (0, 0), sigma / factor)), height, width)


def resize(picture: Picture, height: int, width: int) -> Picture:
    shrinks = height < picture.shape[0]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return f32(cv2.resize(picture, (width, height), interpolation=how))


def mix(first: Picture, second: Picture | Colour, amount: Field | float) -> Picture:
    """`first` where `amount` is 0, `second` where it is 1."""
    weight = amount[..., None] if isinstance(amount, np.ndarray) and first.ndim == 3 else amount
    return f32(first + (f32(second) - first) * weight)


def toward(first: Colour, second: Colour, share: float) -> Colour:
    """The colour that lies `share` of the way from `first` to `second`."""
    red, green, blue = (a + (b - a) * share for a, b in zip(first, second, strict=True))
    return (red, green, blue)


def screen(base: Picture, light: Picture) -> Picture:
    """Add light the way two projectors add on one wall."""
    return f32(1.0 - (1.0 - clip(base)) * (1.0 - clip(light)))


def smoothstep(low: float, high: float, value: Field) -> Field:
    t = np.clip((value - low) / (high - low), 0.0, 1.0)
    return f32(t * t * (3.0 - 2.0 * t))


def saturate(picture: Picture, amount: float) -> Picture:
    """1 leaves colours alone, 0 removes them, more than 1 makes them stronger."""
    grey = luma(picture)[..., None]
    return f32(grey + (picture - grey) * amount)


def contrast(picture: Picture, amount: float, pivot: float = 0.46) -> Picture:
    return f32((picture - pivot) * amount + pivot)


def grid(height: int, width: int) -> tuple[Field, Field]:
    """Row and column of each pixel, both in 0..1."""
    rows = np.linspace(0.0, 1.0, height, dtype=np.float32)[:, None]
    columns = np.linspace(0.0, 1.0, width, dtype=np.float32)[None, :]
    return np.broadcast_to(rows, (height, width)), np.broadcast_to(columns, (height, width))


def from_edges(length: int) -> Field:
    """For each of `length` places in a row, how many lie between it and the nearer end."""
    places = np.arange(length, dtype=np.float32)
    return np.minimum(places, np.float32(length - 1) - places)


def distance(height: int, width: int, centre_x: float, centre_y: float) -> Field:
    """Distance of each pixel from a centre given in 0..1, in units of the longer side."""
    rows, columns = grid(height, width)
    longest = max(height, width)
    return f32(np.hypot((columns - centre_x) * width / longest, (rows - centre_y) * height / longest))


def gradient(height: int, width: int, stops: Sequence[tuple[float, Colour]]) -> Picture:
    """A vertical gradient through `(position, colour)` stops, position 0 at the top."""
    places = [place for place, _ in stops]
    rows = np.linspace(0.0, 1.0, height)
    column = np.stack([np.interp(rows, places, [c[i] for _, c in stops]) for i in range(3)], axis=-1)
    return np.repeat(f32(column)[:, None, :], width, axis=1)


def fractal(
    rng: np.random.Generator,
    height: int,
    width: int,
    *,
    cells: float = 4.0,
    octaves: int = 5,
    gain: float = 0.5,
    stretch: float = 1.0,
) -> Field:
    """Fractal noise in 0..1; `cells` across the longer side, `stretch` > 1 makes wide wisps."""
    total = np.zeros((height, width), np.float32)
    weight = 1.0
    longest = max(height, width)
    for octave in range(octaves):
        per_pixel = cells * 2**octave / longest
        rows = max(2, int(height * per_pixel) + 2)
        columns = max(2, int(width * per_pixel / stretch) + 2)
        knots = rng.random((rows, columns), dtype=np.float32)
        total += weight * f32(cv2.resize(knots, (width, height), interpolation=cv2.INTER_CUBIC))
        weight *= gain
    low, high = float(total.min()), float(total.max())
    return f32((total - low) / max(high - low, 1e-6))


def guided_filter(guide: Field, source: Field, radius: int, epsilon: float) -> Field:
    """Smooth `source` while keeping to the edges of `guide`."""

    def box(field: NDArray[np.floating[Any]]) -> Field:
        return f32(cv2.blur(f32(field), (2 * radius + 1, 2 * radius + 1)))

    mean_guide, mean_source = box(guide), box(source)
    covariance = box(guide * source) - mean_guide * mean_source
    variance = box(guide * guide) - mean_guide * mean_guide
    slope = covariance / (variance + epsilon)
    return f32(box(slope) * guide + box(mean_source - slope * mean_guide))


def warp(picture: Picture, matrix: NDArray[np.float32], height: int, width: int) -> Picture:
    """Affine placement of `picture` on an empty canvas; outside is zero."""
    return f32(cv2.warpAffine(picture, matrix, (width, height), flags=cv2.INTER_CUBIC))


def sample(picture: Picture, columns: Field, rows: Field) -> Picture:
    return f32(cv2.remap(picture, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT))


def polygon(target: Picture, points: Sequence[tuple[float, float]], colour: Sequence[float] | float) -> None:
    """Fill a polygon whose corners are `(x, y)` in pixels, with smooth edges."""
    corners = np.array([[(round(x * 8), round(y * 8)) for x, y in points]], np.int32)
    shade = tuple(colour) if isinstance(colour, Sequence) else (colour,)
    cv2.fillPoly(target, cast("Any", corners), shade, lineType=cv2.LINE_AA, shift=3)


def disc(
    target: Picture, centre: tuple[float, float], radius: float, colour: Sequence[float] | float
) -> None:
    shade = tuple(colour) if isinstance(colour, Sequence) else (colour,)
    where = (round(centre[0] * 8), round(centre[1] * 8))
    cv2.circle(target, where, max(1, round(radius * 8)), shade, -1, cv2.LINE_AA, 3)


def line(
    target: Picture,
    start: tuple[float, float],
    end: tuple[float, float],
    colour: Sequence[float] | float,
    thickness: int = 1,
) -> None:
    shade = tuple(colour) if isinstance(colour, Sequence) else (colour,)
    first = (round(start[0] * 8), round(start[1] * 8))
    last = (round(end[0] * 8), round(end[1] * 8))
    cv2.line(target, first, last, shade, max(1, thickness), cv2.LINE_AA, 3)


def shrink(pixels: Pixels, side: int) -> Pixels:
    """`pixels`, or a smaller copy whose longer side is `side`."""
    scale = side / max(pixels.shape[:2])
    if scale >= 1.0:
        return pixels
    return cast("Pixels", cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))


def load(data: bytes) -> Pixels | None:
    """Decode a JPEG, PNG, WebP or BMP upright; None where it is not a picture."""
    buffer = np.frombuffer(data, np.uint8)
    decoded = cv2.imdecode(buffer, cv2.IMREAD_COLOR)
    if decoded is None:
        return None
    return cast("Pixels", cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB))


def encode(pixels: Pixels, form: str, quality: int) -> bytes:
    """Encode RGB pixels as `webp`, `jpg` or `png`; `quality` 0..100 means nothing to png."""
    parameters = {
        "webp": [cv2.IMWRITE_WEBP_QUALITY, max(1, quality)],
        "jpg": [cv2.IMWRITE_JPEG_QUALITY, quality],
        "png": [cv2.IMWRITE_PNG_COMPRESSION, 4],
    }[form]
    done, data = cv2.imencode(f".{form}", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), parameters)
    if not done:
        raise ValueError(f"cannot encode a picture as {form}")
    return data.tobytes()
