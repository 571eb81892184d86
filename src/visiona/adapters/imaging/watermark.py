"""An imperceptible mark in the pixels that says one thing: this image was made by Visiona.

Spread-spectrum: some 17,000 middle frequencies of a 512 x 512 copy each carry one sign of a fixed
pseudo-random sequence, as loud as their surroundings hide. All of them say the same one thing, which is
the strongest error correction there is. Because the copy always has the same size, the mark does not
mind in what size the image arrives. It is the same in every image, and so says nothing about anybody.

Runs in the child only. Figures: docs/adr/0034.
"""

import hashlib
from collections.abc import Sequence
from itertools import product

import cv2
import numpy as np
from cv2.typing import MatLike

_SIDE = 512
# Half cycles per side: coarser ones show, finer ones do not survive a quarter of the size.
_LOWEST, _HIGHEST = 20, 150
_SEQUENCE = b"visiona watermark 1"

# Loudness in levels of brightness: a floor, a share of the local contrast, and a ceiling.
_FLOOR, _SHARE, _CEILING = 0.9, 0.16, 5.0
_LOUDEST_RMS = 255 / 10 ** (40.5 / 20)  # never below 40.5 dB in the copy
_LOUD_ENOUGH = 20.0
_STEPS, _LOUDER = 4, 1.25

THRESHOLD = 6.0
"""In standard deviations. Whatever the picture, a random sequence scores above t with a probability of at
most exp(-t²/2) (Hoeffding), in each of eight orientations: here about 1 in 8 million.
"""


class Watermark:
    """Made once, before forking."""

    def __init__(self) -> None:
        rows, columns = np.mgrid[:_SIDE, :_SIDE]
        distance = np.hypot(rows, columns)
        self._band = (distance >= _LOWEST) & (distance < _HIGHEST) & (rows > 0) & (columns > 0)
        count = int(self._band.sum())
        stream = np.frombuffer(hashlib.shake_256(_SEQUENCE).digest(count // 8 + 1), np.uint8)
        signs = np.zeros((_SIDE, _SIDE), np.float32)
        signs[self._band] = np.unpackbits(stream)[:count].astype(np.float32) * 2 - 1
        self._signs = signs[self._band]
        pattern = cv2.idct(signs)
        self._pattern: MatLike = pattern / pattern.std()
        odd_rows, odd_columns = (1 - 2 * (axis % 2)[self._band] for axis in (rows, columns))
        # Mirroring an axis turns the sign of its odd frequencies.
        self._mirrors: list[MatLike] = [
            self._signs * (odd_rows if down else 1) * (odd_columns if across else 1)
            for down, across in product((False, True), repeat=2)
        ]

    def stamp(self, rgb: MatLike) -> MatLike:
        """The picture with the mark, as 8-bit RGB."""
        height, width = rgb.shape[:2]
        copy = _canonical(rgb)
        change: MatLike = self._pattern * _loudness(copy, 9)
        loudest = _LOUDEST_RMS / float(np.sqrt((change * change).mean()))
        gain = 1.0
        for _ in range(_STEPS):
            if self._score(copy + change * gain, self._mirrors[:1]) >= _LOUD_ENOUGH:
                break
            gain *= _LOUDER
        scaled: MatLike = cv2.resize(
            change * min(gain, loudest), (width, height), interpolation=cv2.INTER_CUBIC
        )
        return cv2.add(rgb, cv2.merge([scaled, scaled, scaled]), dtype=cv2.CV_8U)

    def score(self, rgb: MatLike) -> float:
        """How far the picture leans towards the mark, upright, turned or mirrored; see `THRESHOLD`."""
        copy = _canonical(rgb)
        return max(self._score(turned, self._mirrors) for turned in (copy, np.ascontiguousarray(copy.T)))

    def _score(self, copy: MatLike, sequences: Sequence[MatLike]) -> float:
        """The correlation with the best of `sequences`. What the picture has much of counts less, both in
        places and in frequencies: there it drowns the mark.
        """
        flat = (copy - cv2.blur(copy, (31, 31))) / (_loudness(copy, 15) + 2)
        spectrum = cv2.dct(flat.astype(np.float32))
        usual = cv2.blur(np.abs(spectrum), (15, 15)) + 1e-3
        values = np.clip(spectrum / usual, -3, 3)[self._band]
        size = float(np.sqrt((values * values).sum())) or 1.0
        return max(float((values * signs).sum()) for signs in sequences) / size


def _canonical(rgb: MatLike) -> MatLike:
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    shrinks = min(grey.shape) >= _SIDE
    scaled = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    return scaled.astype(np.float32)


def _loudness(copy: MatLike, window: int) -> MatLike:
    mean = cv2.blur(copy, (window, window))
    variance = cv2.blur(copy * copy, (window, window)) - mean * mean
    return np.clip(_FLOOR + _SHARE * np.sqrt(np.maximum(variance, 0)), _FLOOR, _CEILING)
