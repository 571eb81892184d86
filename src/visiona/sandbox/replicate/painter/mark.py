"""The mark that says what these pictures are."""

import functools
import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from visiona.sandbox.replicate.painter.raster import Pixels

LABEL = "SANDBOX"


@functools.lru_cache(maxsize=16)
def badge(unit: int) -> Pixels:
    """RGBA pill with the label, sized for a picture whose area is that of a square `unit` pixels wide."""
    size = max(13, round(unit * 0.024))
    font = ImageFont.load_default(size)
    spacing = round(size * 0.16)
    widths = [font.getlength(letter) for letter in LABEL]
    length = sum(widths) + spacing * (len(LABEL) - 1)
    pad = round(size * 0.72)
    box = (round(length) + 2 * pad, round(size * 1.9))
    pill = Image.new("RGBA", box, (0, 0, 0, 0))
    draw = ImageDraw.Draw(pill)
    draw.rounded_rectangle((0, 0, box[0] - 1, box[1] - 1), box[1] / 2, fill=(12, 14, 20, 178))
    x = float(pad)
    for letter, width in zip(LABEL, widths, strict=True):
        draw.text((x, box[1] / 2), letter, font=font, fill=(255, 255, 255, 245), anchor="lm")
        x += width + spacing
    return np.asarray(pill)


def stamp(pixels: Pixels) -> Pixels:
    """A copy of `pixels` with the badge in the lower right corner."""
    height, width = pixels.shape[:2]
    pill = badge(round(math.sqrt(height * width)))
    margin = round(min(height, width) * 0.022)
    rows, columns = pill.shape[:2]
    stamped = pixels.copy()
    corner = stamped[height - margin - rows : height - margin, width - margin - columns : width - margin]
    opacity = pill[..., 3:].astype(np.float32) / 255
    corner[...] = (corner * (1 - opacity) + pill[..., :3] * opacity + 0.5).astype(np.uint8)
    return stamped
