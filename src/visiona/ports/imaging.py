"""Decoding pictures of strangers, out of harm's way."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class ImageRefused(Exception):
    """The file was not accepted; `code` is stable, `message` tells the person what to do."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class ProcessedImage:
    """Files made from one picture; sizes in pixels and bytes.

    `master` is JPEG for photos and the format as delivered for generated images; `thumbnail` is
    WebP. `faces` counts detected faces (photos only). `warnings` are stable codes.
    """

    master: Path
    thumbnail: Path
    content_type: str
    width: int
    height: int
    size: int
    sha256: str
    faces: int | None = None
    warnings: tuple[str, ...] = ()


class ImageProcessor(Protocol):
    """Both methods decode in a child process with memory, time and pixel limits, apply the EXIF
    orientation, re-encode without any of the input's metadata, and write into `folder`.
    """

    async def process_photo(self, source: Path, folder: Path) -> ProcessedImage:
        """A person's photo in JPEG, PNG, WebP or HEIC, to a master of at most 2048 px and a
        thumbnail of at most 480 px. Raises `ImageRefused`.
        """
        ...

    async def process_generated(self, source: Path, folder: Path) -> ProcessedImage:
        """A provider's output in WebP, JPEG or PNG: checked, kept in its format and size, with a
        thumbnail. Raises `ImageRefused`.
        """
        ...
