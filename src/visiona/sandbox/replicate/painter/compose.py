"""Putting a person into a backdrop so that light, colour and edges agree."""

from dataclasses import dataclass

import cv2
import numpy as np

from visiona.sandbox.replicate.painter.canvas import Backdrop, Canvas
from visiona.sandbox.replicate.painter.portrait import TRUSTED, Face, Portrait
from visiona.sandbox.replicate.painter.raster import (
    Field,
    Picture,
    blur,
    clip,
    contrast,
    distance,
    f32,
    flat,
    from_edges,
    from_pixels,
    grid,
    luma,
    mix,
    resize,
    saturate,
    screen,
    smoothstep,
    warp,
)

_NATURAL_SKIN = 0.46
"""How colourful skin is on a well balanced photo: the span of its channels, of the highest."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A composed picture and where in it the person is, for styles that treat the two differently."""

    pixels: Picture
    person: Field
    face: tuple[float, float, float]
    """Middle and size of the face in pixels."""


def compose(canvas: Canvas, backdrop: Backdrop, portrait: Portrait, likeness: float) -> Scene:
    """The person of `portrait` in front of `backdrop`.

    `likeness` follows the LoRA's scale: 0 leaves a faceless figure, 1 is the photo, more exaggerates.
    """
    if portrait.face is None or portrait.quality < TRUSTED:
        return _double_exposure(canvas, backdrop, portrait, likeness)
    placed, alpha, face = _place(canvas, portrait)
    placed = _identity(placed, likeness, face[2])
    background = _focus(canvas, backdrop)
    person = _relight(canvas, backdrop, placed, alpha, face)
    shadowed = _contact_shadow(canvas, background, alpha)
    wrapped = _light_wrap(canvas, person, background, alpha)
    pixels = mix(shadowed, wrapped, alpha)
    return Scene(_ground(canvas, backdrop, pixels, alpha, face), alpha, face)


def _place(canvas: Canvas, portrait: Portrait) -> tuple[Picture, Field, tuple[float, float, float]]:
    """Scale, mirror and move the person onto the canvas, cut-off edges outside the frame."""
    face = portrait.face
    assert face is not None  # noqa: S101 - the caller has looked
    height, width = canvas.height, canvas.width
    mask = from_pixels(portrait.alpha)
    top = _head_top(mask)
    # Head and shoulders fill most of the height, but a face never more than two fifths of the width.
    scale = canvas.pick(0.76, 0.96) * height / (mask.shape[0] - top)
    size = min(scale * face.size, canvas.unit * canvas.pick(0.33, 0.40))
    scale = size / face.size
    x = width * (0.5 + canvas.pick(-1, 1) * (0.22 if width > height * 1.2 else 0.07))
    y = _eye_line(canvas, face.y, (top, mask.shape[0]), scale)
    flip = -1.0 if canvas.pick(0, 1) < 0.5 else 1.0
    tilt = canvas.pick(-0.05, 0.05)
    cos, sin = scale * float(np.cos(tilt)), scale * float(np.sin(tilt))
    matrix = f32(
        [
            [flip * cos, sin, x - (flip * cos * face.x + sin * face.y)],
            [-flip * sin, cos, y - (-flip * sin * face.x + cos * face.y)],
        ]
    )
    placed = warp(from_pixels(portrait.pixels), matrix, height, width)
    alpha = warp(_round_shoulders(mask, face), matrix, height, width)
    return clip(placed), clip(alpha), (x, y, size)


def _head_top(mask: Field) -> int:
    """The first row of a portrait that shows the person."""
    filled = np.flatnonzero(mask.max(axis=1) > 0.5)
    return int(filled[0]) if len(filled) else 0


def _eye_line(canvas: Canvas, face_y: float, extent: tuple[int, int], scale: float) -> float:
    """Where the middle of the face goes: hair inside the frame, the photo's lower edge outside it."""
    top, rows = extent
    wanted = canvas.pick(0.37, 0.44) * canvas.height
    below = canvas.height - (rows - face_y) * scale * 0.97
    if top < 2:  # the photo itself cuts the head off: so must the frame
        return max(below, min(wanted, face_y * scale * 0.97))
    return max(wanted, below, 0.05 * canvas.height + (face_y - top) * scale)


def _round_shoulders(alpha: Field, face: Face) -> Field:
    """Give arms that the photo's own sides cut a shoulder's curve and an upright outer edge."""
    rows, columns = alpha.shape
    left, right = _cut_row(alpha[:, :3]), _cut_row(alpha[:, -3:])
    if left is None and right is None:
        return alpha
    reach = f32(from_edges(columns) / np.float32(face.size))
    rounded = f32(np.minimum(alpha, _opened(alpha, face.size)) * smoothstep(0.03, 0.13, reach)[None, :])
    # Only where the side is cut, from there down, and not as far in as the neck.
    place = np.arange(rows, dtype=np.float32)
    sides = [
        np.zeros_like(place) if cut is None else smoothstep(cut - 0.15 * face.size, float(cut), place)
        for cut in (left, right)
    ]
    left_half = f32(np.arange(columns) < face.x)[None, :]
    below = sides[0][:, None] * left_half + sides[1][:, None] * (1.0 - left_half)
    shaped = mix(alpha, rounded, f32(below * (1.0 - smoothstep(0.75, 1.15, reach))[None, :]))
    return _one_piece(shaped, face)


def _one_piece(alpha: Field, face: Face) -> Field:
    """`alpha` without islands: only what hangs together with the face."""
    solid = (alpha > 0.25).astype(np.uint8)
    _, labels = cv2.connectedComponents(solid)
    label = labels[min(alpha.shape[0] - 1, int(face.y)), min(alpha.shape[1] - 1, int(face.x))]
    island = ((labels != label) & (labels != 0)).astype(np.uint8)
    around = cv2.dilate(island, np.ones((7, 7), np.uint8))
    return f32(alpha * (1.0 - f32(around)))


def _cut_row(edge: Field) -> int | None:
    """The first row in which the person touches this edge of the photo, if they do for long."""
    touching = np.flatnonzero(edge.max(axis=1) > 0.4)
    return int(touching[0]) if len(touching) > edge.shape[0] * 0.04 else None


def _opened(alpha: Field, size: float) -> Field:
    """`alpha` without what a disc of about the size of a face cannot reach from inside.

    There are empty margins left and right and an endless body below, so that only the corners between
    shoulder and margin are rounded.
    """
    shrink = max(1.0, size / 48)
    rows, columns = (max(8, int(length / shrink)) for length in alpha.shape)
    radius = int(size / shrink * 0.62)
    small = resize(alpha, rows, columns)
    body = cv2.copyMakeBorder(small, 0, 2 * radius, 0, 0, cv2.BORDER_REPLICATE)
    body = cv2.copyMakeBorder(body, radius, 0, radius, radius, cv2.BORDER_CONSTANT, value=(0.0,))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    opened = blur(f32(cv2.morphologyEx(body, cv2.MORPH_OPEN, disc)), size / shrink * 0.035)
    inside = f32(opened[radius : radius + rows, radius : radius + columns])
    return smoothstep(0.35, 0.75, resize(inside, alpha.shape[0], alpha.shape[1]))


def _identity(placed: Picture, likeness: float, face_size: float) -> Picture:
    if likeness < 1.0:
        faceless = blur(placed, face_size * 0.16)
        return mix(faceless, placed, max(0.0, likeness) ** 0.7)
    excess = min(likeness - 1.0, 2.0)
    detail = placed - blur(placed, face_size * 0.03)
    return clip(saturate(f32(placed + detail * excess * 1.4), 1.0 + 0.35 * excess))


def _focus(canvas: Canvas, backdrop: Backdrop) -> Picture:
    return blur(backdrop.pixels, canvas.unit * 0.012 * backdrop.depth)


def _relight(
    canvas: Canvas, backdrop: Backdrop, placed: Picture, alpha: Field, face: tuple[float, float, float]
) -> Picture:
    """Give the person the scene's light: tint, side light, and an edge lit from behind."""
    skin = _face_patch(placed, face)
    level = float(np.median(luma(skin))) if skin.size else 0.5
    wanted = 0.35 * level + 0.65 * (0.44 + 0.20 * float(luma(backdrop.pixels).mean()))
    person = f32(placed * np.clip(wanted / max(level, 0.05), 0.6, 1.6) * backdrop.exposure)
    person = saturate(_shoulder_off(person), _tempered(skin))
    person = mix(person, f32(person * f32(backdrop.ambient) * 1.08), 0.6)
    across = grid(canvas.height, canvas.width)[1]
    side = f32(0.5 + (across - 0.5) * backdrop.side)
    warm = f32(person * f32(backdrop.key) * 1.28)
    person = mix(mix(person, f32(person * 0.82), f32((1 - side) * 0.5)), warm, f32(side * 0.38))
    person = contrast(saturate(person, 1.12), 1.06, 0.42)
    return screen(person, _rim(canvas, backdrop, alpha))


def _face_patch(placed: Picture, face: tuple[float, float, float]) -> Picture:
    """The middle of the face: what exposure and colour are set by."""
    x, y, reach = face[0], face[1], face[2] * 0.32
    top, left = max(0, int(y - reach)), max(0, int(x - reach))
    return placed[top : max(top + 1, int(y + reach)), left : max(left + 1, int(x + reach))]


def _tempered(skin: Picture) -> float:
    """How much colour to leave a person whose photo has too much of it: orange skin."""
    if not skin.size:
        return 1.0
    high = skin.max(axis=-1)
    colourful = float(np.median((high - skin.min(axis=-1)) / np.maximum(high, 0.05)))
    return min(1.0, _NATURAL_SKIN / max(colourful, 0.01))


def _shoulder_off(person: Picture) -> Picture:
    """Bend highlights over as film does instead of clipping them."""
    knee = np.float32(0.68)
    over = np.maximum(person - knee, 0.0)
    return f32(np.minimum(person, knee) + over / (1.0 + 1.5 * over))


def _rim(canvas: Canvas, backdrop: Backdrop, alpha: Field) -> Picture:
    """Light on the edge that faces the key light."""
    width = canvas.unit * 0.010
    soft = blur(alpha, width)
    slope = f32(np.gradient(soft, axis=1)) * np.float32(-np.sign(backdrop.side) * width * 2.2)
    down = f32(np.gradient(soft, axis=0)) * np.float32(width * 1.2)
    edge = np.clip(slope + np.clip(down, 0, None) * 0.5, 0, 1) * alpha * (0.35 + 0.45 * abs(backdrop.side))
    return f32(f32(edge)[..., None] * f32(backdrop.key))


def _light_wrap(canvas: Canvas, person: Picture, background: Picture, alpha: Field) -> Picture:
    """Let the background's light spill over the outline, which also hides its small errors."""
    spread = blur(f32(1.0 - alpha), canvas.unit * 0.012)
    spill = f32(np.clip(spread, 0, 1) * alpha * 0.75)
    return mix(person, screen(person, f32(blur(background, canvas.unit * 0.02) * 0.6)), spill)


def _contact_shadow(canvas: Canvas, background: Picture, alpha: Field) -> Picture:
    shadow = blur(alpha, canvas.unit * 0.03)
    return f32(background * (1.0 - 0.28 * shadow[..., None]))


def _ground(
    canvas: Canvas, backdrop: Backdrop, pixels: Picture, alpha: Field, face: tuple[float, float, float]
) -> Picture:
    """Sink the bust's lower edge into the scene's ground colour."""
    rows, _ = grid(canvas.height, canvas.width)
    start = min(0.93, (face[1] + face[2] * 1.15) / canvas.height)
    fade = smoothstep(start, 1.12, rows) * (0.30 + 0.45 * blur(alpha, canvas.unit * 0.02))
    return mix(pixels, backdrop.ground, f32(fade))


def _double_exposure(canvas: Canvas, backdrop: Backdrop, portrait: Portrait, likeness: float) -> Scene:
    """Where no outline can be trusted: the whole photo and the scene exposed on one frame."""
    height, width = canvas.height, canvas.width
    pixels = from_pixels(portrait.pixels)
    rows, columns = pixels.shape[:2]
    face_x, face_y = (portrait.face.x, portrait.face.y) if portrait.face else (columns / 2, rows * 0.45)
    size = portrait.face.size if portrait.face else min(rows, columns) * 0.42
    scale = max(canvas.unit * 0.98 / min(rows, columns), canvas.unit * 0.34 / size)
    x = width * (0.5 + canvas.pick(-0.12, 0.12) * (1.5 if width > height else 0.4))
    y = height * canvas.pick(0.42, 0.5)
    flip = -1.0 if canvas.pick(0, 1) < 0.5 else 1.0
    matrix = f32([[flip * scale, 0, x - flip * scale * face_x], [0, scale, y - scale * face_y]])
    placed = clip(warp(pixels, matrix, height, width))
    inside = clip(warp(_frame_fade(rows, columns), matrix, height, width))
    reach = (
        distance(height, width, x / width, (y + canvas.unit * 0.06) / height)
        * max(height, width)
        / canvas.unit
    )
    texture = blur(luma(backdrop.pixels), canvas.unit * 0.01)
    mask = f32(inside * (1.0 - smoothstep(0.30, 0.58, f32(reach + (texture - 0.5) * 0.18))))
    placed = _identity(placed, likeness, size * scale)
    graded = contrast(
        mix(saturate(placed, 0.55), f32(luma(placed)[..., None] * f32(backdrop.ambient)), 0.35), 1.12
    )
    background = _focus(canvas, backdrop)
    veil = screen(graded, f32(background * (0.30 * (1.0 - luma(graded))[..., None])))
    pixels = mix(background, veil, mask)
    edge = flat(height, width, backdrop.ground)
    corner = smoothstep(0.55, 0.95, distance(height, width, 0.5, 0.5))
    return Scene(mix(pixels, edge, f32(corner * 0.5)), mask, (x, y, size * scale))


def _frame_fade(rows: int, columns: int) -> Field:
    """1 inside a photo, 0 at its edges."""
    down = smoothstep(0, rows * 0.14, from_edges(rows))
    along = smoothstep(0, columns * 0.14, from_edges(columns))
    return f32(down[:, None] * along[None, :])
