"""What a file is, by its first bytes alone: names and declared types are not believed."""

from enum import StrEnum
from pathlib import Path

from visiona.adapters.imaging.refusals import Code, Refused

# Enough for every signature below, and to find the root element of an SVG behind its prologue.
HEAD_SIZE = 1024


class Format(StrEnum):
    JPEG = "jpeg"
    PNG = "png"
    WEBP = "webp"
    HEIC = "heic"


_HEVC_BRANDS = {b"heic", b"heix", b"heim", b"heis"}
_AV1_BRANDS = {b"avif", b"avis"}

# Pictures and documents that people do upload: they deserve a better answer than "not a picture".
_OTHERS = (
    b"GIF87a",
    b"GIF89a",
    b"BM",
    b"II*\0",  # TIFF, and most cameras' raw formats
    b"MM\0*",
    b"II+\0",
    b"MM\0+",
    b"8BPS",
    b"\0\0\1\0",  # ICO
    b"\0\0\0\x0cjP  ",  # JPEG 2000
    b"\xff\x4f\xff\x51",
    b"\xff\x0a",  # JPEG XL
    b"\0\0\0\x0cJXL ",
    b"%PDF-",
    b"%!PS",
    b"\xc5\xd0\xd3\xc6",  # EPS with a preview
    b"SIMPLE  =",  # FITS
    b"v/1\x01",  # OpenEXR
    b"gimp xcf",
)


def sniff(head: bytes) -> Format:
    """The format of a file that starts with `head`. Raises `Refused`."""
    if not head:
        raise Refused(Code.EMPTY)
    if head.startswith(b"\xff\xd8\xff"):
        return Format.JPEG
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return Format.PNG
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return Format.WEBP
    if head[4:8] == b"ftyp":
        return _iso_media(head)
    if head.startswith(_OTHERS) or b"<svg" in head:
        raise Refused(Code.UNSUPPORTED)
    raise Refused(Code.NOT_AN_IMAGE)


def _iso_media(head: bytes) -> Format:
    """HEIC among the formats that share its container: AVIF, films, sound."""
    size = int.from_bytes(head[:4], "big")
    brands = {head[start : start + 4] for start in (8, *range(16, min(size, len(head)), 4))}
    if brands & _HEVC_BRANDS and not brands & _AV1_BRANDS:
        return Format.HEIC
    raise Refused(Code.UNSUPPORTED)


def webp_size(head: bytes) -> tuple[int, int]:
    """Width and height as the first chunk tells them; libvips would make room for them unasked."""
    chunk = head[12:16]
    if chunk == b"VP8X":
        return _little(head[24:27]) + 1, _little(head[27:30]) + 1
    if chunk == b"VP8L":
        bits = _little(head[21:25])
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return _little(head[26:28]) & 0x3FFF, _little(head[28:30]) & 0x3FFF


def is_cut_short(kind: Format, source: Path) -> bool:
    """Whether a PNG or WebP that could not be decoded announces more bytes than there are.

    (The decoders of JPEG and HEIC say so themselves.)
    """
    size = source.stat().st_size
    with source.open("rb") as file:
        if kind is Format.WEBP:
            return _little(file.read(8)[4:]) + 8 > size
        position = 8
        while kind is Format.PNG and position < size:
            file.seek(position)
            header = file.read(8)
            if header[4:] == b"IEND":
                return False
            position += int.from_bytes(header[:4], "big") + 12
    return kind is Format.PNG


def _little(data: bytes) -> int:
    return int.from_bytes(data, "little")
