"""What a person should know about a photo before training on it: faces, sharpness, light.

Runs in the child only. Thresholds were set on some hundred crops of two portraits under changing
light, tilt and blur, and on pictures without people.
"""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from cv2.typing import MatLike

Box = tuple[int, int, int, int]

# Faces are looked for in a copy of this size: of larger copies, more time was all that came.
_SIDE = 320
_MARGIN = 48
_MIN_FACE = 1 / 8  # of the short side; smaller ones have too few pixels to learn from
_BYSTANDER = 0.4  # of the largest face's width; smaller ones are people in the background
_SHARPNESS_SIDE = 160
_BLURRY = 0.6
_DARK = 40
_DIM = 60


class FaceFinder:
    """OpenCV's Haar cascades, parsed once."""

    def __init__(self) -> None:
        cv2.setNumThreads(1)  # a process that has threads cannot fork children that work
        self._frontal = _cascade("haarcascade_frontalface_alt2.xml")
        self._profile = _cascade("haarcascade_profileface.xml")

    def assess(self, rgb: MatLike) -> tuple[int, list[str]]:
        """How many faces the picture shows, and warnings about it."""
        grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
        faces = self._find(grey)
        warnings = [] if len(faces) == 1 else ["several_faces" if faces else "no_face"]
        subject = _crop(grey, max(faces, key=lambda face: face[2])) if faces else grey
        if subject.mean() < _DARK:
            warnings.append("too_dark")
        if _sharpness(subject) < _BLURRY:
            warnings.append("blurry")
        return len(faces), warnings

    def _find(self, grey: MatLike) -> list[Box]:
        """Boxes of the faces that matter, in pixels of `grey`."""
        scale = min(1.0, _SIDE / max(grey.shape))
        small = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        if small.mean() < _DIM:
            small = cv2.equalizeHist(small)
        least = max(24, int(min(small.shape) * _MIN_FACE))
        boxes = _detect(self._frontal, small, least)
        if not boxes:
            boxes = self._find_at_edges(small, least)
        largest = max((box[2] for box in boxes), default=0)
        return [
            (int(x / scale), int(y / scale), int(width / scale), int(height / scale))
            for x, y, width, height in boxes
            if width >= largest * _BYSTANDER
        ]

    def _find_at_edges(self, small: MatLike, least: int) -> list[Box]:
        """Close-ups that touch the frame, then faces in profile, to either side."""
        wide = cv2.copyMakeBorder(small, _MARGIN, _MARGIN, _MARGIN, _MARGIN, cv2.BORDER_REPLICATE)
        boxes = _detect(self._frontal, wide, least) or _detect(self._profile, wide, least)
        if not boxes:
            mirrored = _detect(self._profile, cv2.flip(wide, 1), least)
            boxes = [(wide.shape[1] - x - width, y, width, height) for x, y, width, height in mirrored]
        return [(x - _MARGIN, y - _MARGIN, width, height) for x, y, width, height in boxes]


def _cascade(name: str) -> Any:
    cascade = cv2.CascadeClassifier(str(Path(cv2.__file__).parent / "data" / name))
    if cascade.empty():
        raise RuntimeError(f"OpenCV has no {name}: is opencv-python-headless older than 5 installed?")
    return cascade


def _detect(cascade: Any, grey: MatLike, least: int) -> list[Box]:
    found = cascade.detectMultiScale(grey, scaleFactor=1.15, minNeighbors=4, minSize=(least, least))
    return [(int(x), int(y), int(width), int(height)) for x, y, width, height in found]


def _crop(grey: MatLike, box: Box) -> MatLike:
    x, y, width, height = box
    return grey[max(y, 0) : y + height, max(x, 0) : x + width]


def _sharpness(grey: MatLike) -> float:
    """Variance of the Laplacian in percent of the variance of light: contrast does not count, nor
    does size. Crisp faces have 1.7 and more; blurred by 2 % of their width, 0.2.
    """
    side = _SHARPNESS_SIDE
    shrinks = min(grey.shape) > side
    square = cv2.resize(grey, (side, side), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    smooth = cv2.GaussianBlur(square, (3, 3), 0)  # the sensor's grain is not detail
    edges = cv2.Laplacian(smooth, cv2.CV_32F)
    return float(edges.var() / (smooth.astype(np.float32).var() + 1) * 100)
