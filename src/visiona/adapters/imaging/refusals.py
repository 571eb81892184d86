"""Why a picture is not taken: stable codes, and what the person can do."""

from enum import StrEnum

from visiona.ports.imaging import ImageRefused

# Anything smaller than this teaches a model nothing; below the second, it teaches little.
MIN_SHORT_SIDE = 256
GOOD_SHORT_SIDE = 512


class Code(StrEnum):
    EMPTY = "file_empty"
    NOT_AN_IMAGE = "not_an_image"
    UNSUPPORTED = "unsupported_format"
    TOO_MANY_PIXELS = "image_too_many_pixels"
    TOO_SMALL = "image_too_small"
    TRUNCATED = "image_truncated"
    UNPROCESSABLE = "image_unprocessable"


_MESSAGES = {
    Code.EMPTY: "This file is empty; it may not have finished copying. Export the picture again.",
    Code.NOT_AN_IMAGE: "This is not a picture. Choose a JPEG, PNG, WebP or HEIC file.",
    Code.UNSUPPORTED: "This format is not supported. Save the picture as JPEG, PNG, WebP or HEIC.",
    Code.TOO_MANY_PIXELS: "This picture has more than {megapixels} megapixels. Save a smaller copy of it.",
    Code.TOO_SMALL: (
        "This picture is too small or too narrow. Choose one whose short side has at least"
        f" {MIN_SHORT_SIDE} pixels, better {GOOD_SHORT_SIDE} or more."
    ),
    Code.TRUNCATED: "The end of this picture is missing. Copy or export it again from where it was taken.",
    Code.UNPROCESSABLE: "This picture is damaged or too complex. Open it in a photo app and save it as JPEG.",
}


class Refused(Exception):
    """Raised in the child; `cause` is for the log."""

    def __init__(self, code: Code, cause: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.cause = cause


def refusal(code: Code, max_pixels: int) -> ImageRefused:
    """What the caller of the port sees."""
    return ImageRefused(code, _MESSAGES[code].format(megapixels=max_pixels // 1_000_000))
