"""From a stranger's file to clean ones: decode, turn upright, convert to sRGB, re-encode.

Runs in the child only, with libvips confined to three loaders and HEIC left to pillow-heif (the
libvips wheel cannot decode HEVC). Of an animation the first frame is taken. Nothing but pixels
survives: no profile, no EXIF, no comment, nothing after the end of the picture. Generated images get
metadata and a watermark of ours, which say that they are generated.
"""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pyvips
from pillow_heif import options as heif_options

from visiona.adapters.imaging.faces import FaceFinder
from visiona.adapters.imaging.formats import HEAD_SIZE, Format, is_cut_short, sniff, webp_size
from visiona.adapters.imaging.labels import PACKET, says_ai
from visiona.adapters.imaging.refusals import GOOD_SHORT_SIDE, MIN_SHORT_SIDE, Code, Refused
from visiona.adapters.imaging.watermark import THRESHOLD, Watermark
from visiona.adapters.imaging.wire import THUMBNAIL_ENDING

MASTER_SIDE = 2048
THUMBNAIL_SIDE = 480

# Everything that pyvips returns is untyped.
Image = Any
# With the colour profile that the file itself carries.
Decoded = tuple[Image, bytes | None]

_LOADERS = {Format.JPEG: "jpegload", Format.PNG: "pngload", Format.WEBP: "webpload"}
_SUFFIXES = {Format.JPEG: ".jpg", Format.PNG: ".png", Format.WEBP: ".webp"}
_PROFILE = "icc-profile-data"
_ORIENTATION = "orientation"
_XMP = "xmp-data"
# How the decoders of JPEG and HEIC say that the file ended before the picture did.
_SIGNS_OF_A_CUT = ("premature end", "end of file")


class Pipeline:
    """Both ways in. Make it before forking: it starts no thread and reads no stranger's bytes."""

    def __init__(self, max_pixels: int) -> None:
        _confine()
        self._max_pixels = max_pixels
        self._faces = FaceFinder()
        self._mark = Watermark()
        steps = np.linspace(0, 255, 6).astype(np.uint8)
        self._palette = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, -1, 3)

    def photo(self, source: Path, stem: Path) -> dict[str, Any]:
        """Write a master (JPEG) and a thumbnail; `stem` is their path less the endings."""
        image = self._decoded(source, self._reduced)
        short_side = min(image.width, image.height)
        if short_side < MIN_SHORT_SIDE:
            raise Refused(Code.TOO_SMALL)
        faces, warnings = self._faces.assess(image.numpy())
        if short_side < GOOD_SHORT_SIDE:
            warnings.append("low_resolution")
        master = stem.with_suffix(".jpg")
        image.jpegsave(str(master), Q=90, keep="none")
        return _described(image, master, stem, keep="none") | {"faces": faces, "warnings": warnings}

    def generated(self, source: Path, stem: Path) -> dict[str, Any]:
        """Write the image again in its own format and size, and a thumbnail, both marked and labelled."""
        kind = _kind_of(source)
        if kind is Format.HEIC:
            raise Refused(Code.UNSUPPORTED)
        image = self._labelled(self._decoded(source, self._opened))
        master = stem.with_suffix(_SUFFIXES[kind])
        if kind is Format.PNG:
            image.pngsave(str(master), keep="xmp")
        elif kind is Format.WEBP:
            image.webpsave(str(master), Q=92, effort=2, keep="xmp")  # half the time, 2 % larger
        else:
            image.jpegsave(str(master), Q=92, keep="xmp")
        return _described(image, master, stem, keep="xmp")

    def check(self, source: Path, trust: Mapping[str, Any]) -> dict[str, Any]:
        """What a picture says about where it comes from; nothing is written."""
        # Every other picture would pay for it.
        from visiona.adapters.provenance import credentials  # noqa: PLC0415 - starts threads: in a child only

        kind = _kind_of(source)
        image = self._decoded(source, self._reduced)
        packet = image.get(_XMP) if image.get_typeof(_XMP) else b""
        return {
            **credentials.read(source, f"image/{kind}", trust),
            "labelled_as_ai": says_ai(packet),
            "watermarked": self._mark.score(image.numpy()) >= THRESHOLD,
        }

    def _labelled(self, image: Image) -> Image:
        """The same picture with the watermark in it, and metadata that say what made it."""
        stamped: Any = self._mark.stamp(image.numpy())
        marked: Image = pyvips.Image.new_from_memory(stamped, image.width, image.height, 3, "uchar")
        marked = marked.copy(interpretation="srgb")
        marked.set_type(pyvips.GValue.blob_type, _XMP, PACKET)
        return marked

    def _decoded(self, source: Path, decode: Callable[[Path, Format], Decoded]) -> Image:
        """In memory, upright, sRGB, opaque. Whatever goes wrong here is the file's fault."""
        kind = _kind_of(source)
        try:
            image, profile = decode(source, kind)
            image = _opaque_rgb(image)
            # At once: any call may clear what libvips has on its mind.
            _check_complaints()
            return self._to_srgb(_upright(image), profile)
        except Refused:
            raise
        except Exception as error:
            cause = f"{type(error).__name__}: {error}"
            cut = any(sign in cause.lower() for sign in _SIGNS_OF_A_CUT) or is_cut_short(kind, source)
            raise Refused(Code.TRUNCATED if cut else Code.UNPROCESSABLE, cause) from error

    def _reduced(self, source: Path, kind: Format) -> Decoded:
        """At most as large as a master."""
        if kind is Format.HEIC:
            image, profile = self._heic(source)
            return image.thumbnail_image(MASTER_SIDE, height=MASTER_SIDE, size="down"), profile
        _, profile = self._opened(source, kind)
        # From the file, not from the open image: only so can JPEG and WebP decode at a smaller scale.
        image = pyvips.Image.thumbnail(
            str(source),
            MASTER_SIDE,
            height=MASTER_SIDE,
            size="down",
            no_rotate=True,
            fail_on="truncated",
        )
        return image, profile

    def _opened(self, source: Path, kind: Format) -> Decoded:
        """The header, checked; pixels are decoded when they are asked for."""
        if kind is Format.WEBP:
            self._check_size(*webp_size(_head_of(source)))
        load = getattr(pyvips.Image, _LOADERS[kind])
        image = load(str(source), access="sequential", fail_on="truncated")
        self._check_size(image.width, image.height)
        return image, image.get(_PROFILE) if image.get_typeof(_PROFILE) else None

    def _heic(self, source: Path) -> Decoded:
        """Upright already: the container's own rotation is the only one that counts."""
        picture: Any = pillow_heif.open_heif(source, convert_hdr_to_8bit=True)
        width, height = picture.size
        self._check_size(width, height)
        bands = len(picture.mode)
        image: Image = pyvips.Image.new_from_memory(picture.data, width, height, bands, "uchar")
        return image.copy(interpretation="b-w" if bands < 3 else "srgb"), picture.info.get("icc_profile")

    def _check_size(self, width: int, height: int) -> None:
        if width * height > self._max_pixels:
            raise Refused(Code.TOO_MANY_PIXELS, f"{width} x {height}")

    def _to_srgb(self, image: Image, profile: bytes | None) -> Image:
        """Converted if its profile is for RGB, usable, and differs from sRGB to the eye.

        Most differ not at all, and a palette tells that sooner than converting the picture does.
        CMYK has been converted by now, and for grey a profile hardly matters.
        """
        if not profile or profile[16:20] != b"RGB ":
            return image
        palette = pyvips.Image.new_from_array(self._palette, interpretation="srgb")
        try:
            converted = _converted(palette, profile).numpy()
        except pyvips.Error:
            return image
        differs = np.abs(converted.astype(int) - self._palette).max() > 2
        return _converted(image, profile) if differs else image


def _confine() -> None:
    """Leave libvips three loaders and no cache, and nobody any thread that can be spared."""
    pyvips.operation_block_set("VipsForeignLoad", True)
    for name in ("VipsForeignLoadJpegFile", "VipsForeignLoadPngFile", "VipsForeignLoadWebpFile"):
        pyvips.operation_block_set(name, False)
    pyvips.cache_set_max(0)
    heif_options.DECODE_THREADS = 1
    heif_options.THUMBNAILS = heif_options.DEPTH_IMAGES = heif_options.AUX_IMAGES = False


def _kind_of(source: Path) -> Format:
    return sniff(_head_of(source))


def _head_of(source: Path) -> bytes:
    with source.open("rb") as file:
        return file.read(HEAD_SIZE)


def _opaque_rgb(image: Image) -> Image:
    image = image.colourspace("srgb")
    if image.hasalpha():
        image = image.flatten(background=255)
    return image.copy_memory()


def _upright(image: Image) -> Image:
    turned = image.get_typeof(_ORIENTATION) and image.get(_ORIENTATION) != 1
    return image.autorot().copy_memory() if turned else image


def _check_complaints() -> None:
    """Gaps are filled with grey by libjpeg. Stray bytes are no damage."""
    said = pyvips.Error("decoded, but").detail
    if "Corrupt JPEG data" in said and "extraneous bytes" not in said:
        raise ValueError(said)


def _converted(image: Image, profile: bytes) -> Image:
    image = image.copy()
    image.set_type(pyvips.GValue.blob_type, _PROFILE, profile)
    return image.icc_transform("srgb", embedded=True).copy_memory()


def _described(image: Image, master: Path, stem: Path, *, keep: str) -> dict[str, Any]:
    """Write the thumbnail, and measure the master."""
    small = image.thumbnail_image(THUMBNAIL_SIDE, height=THUMBNAIL_SIDE, size="down")
    small.webpsave(f"{stem}{THUMBNAIL_ENDING}", Q=80, effort=2, keep=keep)  # twice as fast, 2 % larger
    with master.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "suffix": master.suffix,
        "width": image.width,
        "height": image.height,
        "size": master.stat().st_size,
        "sha256": digest,
    }
