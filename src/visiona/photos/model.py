"""A photo and the reasons for which one is turned away. Pure."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

MAX_PHOTOS = 200
MAX_FILES_PER_REQUEST = 100
MAX_FILE_BYTES = 25 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Photo:
    """`file_key` and `thumbnail_key` name private objects; sizes in pixels and bytes. `consent_id` is of
    whose face it shows; None for one from before consents were asked for.
    """

    id: int
    user_id: int
    file_key: str
    thumbnail_key: str
    width: int
    height: int
    size: int
    sha256: str
    warnings: tuple[str, ...]
    uploaded_at: datetime
    consent_id: UUID | None


class PhotoRefused(Exception):
    """This file was not taken; `code` is stable, `message` tells the person what to do."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def duplicate() -> PhotoRefused:
    return PhotoRefused("duplicate_photo", "You have uploaded this photo before. Choose a different one.")


def too_many() -> PhotoRefused:
    return PhotoRefused(
        "too_many_photos", f"You can keep up to {MAX_PHOTOS} photos. Delete some to add new ones."
    )


def too_large() -> PhotoRefused:
    limit = MAX_FILE_BYTES // (1024 * 1024)
    return PhotoRefused("file_too_large", f"This file is larger than {limit} MB. Export a smaller copy.")
