"""Phone-like photos of two people, and files that pretend to be photos.

The people are two public-domain portraits that ship with installed packages: Grace Hopper with
matplotlib, Eileen Collins with scikit-image. Everything is derived from them by seed: the same call
writes the same picture.
"""

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Literal

import matplotlib as mpl
import numpy as np
import pillow_heif
import skimage
from PIL import ExifTags, Image, ImageOps
from PIL.PngImagePlugin import PngInfo

Person = Literal["grace", "eileen"]
Format = Literal["JPEG", "PNG", "WEBP", "HEIF"]

SUFFIXES: dict[Format, str] = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "HEIF": ".heic"}

# What tests look for in outputs: none of it may survive.
CAMERA_MAKE = "Visiona Test Phones"
SECRET_COMMENT = "taken at the secret hideout"
GPS_LATITUDE = (59.0, 20.0, 4.56)

# The centre of the face and the width of a close crop around it, in pixels of the source.
_FACES: dict[Person, tuple[float, float, float]] = {
    "grace": (263.0, 215.0, 300.0),
    "eileen": (224.0, 158.0, 220.0),
}
_MARGIN = 200
# A camera roll: mostly what phones write by default, some of everything.
_ROLL: tuple[Format, ...] = ("JPEG", "HEIF", "JPEG", "JPEG", "PNG", "JPEG", "HEIF", "WEBP", "JPEG", "HEIF")
_SIZES = ((1200, 1600), (1600, 1200), (1080, 1440), (1440, 1440))

# What stores upright pixels so that a viewer obeying this EXIF orientation shows them upright.
_STORED_AS: dict[int, tuple[Image.Transpose, ...]] = {
    1: (),
    2: (Image.Transpose.FLIP_LEFT_RIGHT,),
    3: (Image.Transpose.ROTATE_180,),
    4: (Image.Transpose.FLIP_TOP_BOTTOM,),
    5: (Image.Transpose.TRANSPOSE,),
    6: (Image.Transpose.ROTATE_90,),
    7: (Image.Transpose.TRANSVERSE,),
    8: (Image.Transpose.ROTATE_270,),
}


def phone_photos(person: Person, count: int = 12, *, folder: Path) -> list[Path]:
    """`count` photos of one person as phones write them: crops, light, casts, tilt, mirror images,
    orientations 1 to 8, GPS, camera tags; JPEG, HEIC, PNG and WebP. Each shows one face.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    for index in range(count):
        form = _ROLL[index % len(_ROLL)]
        path = folder / f"IMG_{index + 1:04}{SUFFIXES[form]}"
        save_photo(snapshot(person, index), path, form, orientation=index % 8 + 1)
        paths.append(path)
    return paths


@lru_cache(maxsize=8)
def snapshot(person: Person, index: int) -> Image.Image:
    """The upright pixels of one photo; `index` is the seed. Shared: copy it before changing it."""
    rng = np.random.default_rng([index, len(person)])
    width, height = _SIZES[index % len(_SIZES)]
    image = _crop(person, rng, (width, height))
    if index % 4 == 3:
        image = ImageOps.mirror(image)
    return _developed(image, rng)


def save_photo(upright: Image.Image, path: Path, form: Format = "JPEG", *, orientation: int = 1) -> None:
    """Write it as a phone would: turned as EXIF says, with camera tags and a position."""
    stored = upright
    for step in _STORED_AS[orientation]:
        stored = stored.transpose(step)
    exif = _phone_exif(orientation)
    if form == "HEIF":
        # The orientation becomes the container's own `irot` and `imir`, as phones do it.
        fast = {"preset": "ultrafast"}
        pillow_heif.from_pillow(stored).save(path, quality=80, exif=exif.tobytes(), enc_params=fast)
    elif form == "PNG":
        comment = PngInfo()
        comment.add_text("Comment", SECRET_COMMENT)
        stored.save(path, "PNG", exif=exif, pnginfo=comment, compress_level=1)
    elif form == "WEBP":
        stored.save(path, "WEBP", exif=exif, quality=88, method=0)
    else:
        stored.save(path, "JPEG", exif=exif, quality=88, comment=SECRET_COMMENT.encode())


def twelve_megapixel_jpeg(folder: Path, *, orientation: int = 6) -> Path:
    """4032 x 3024 sensor pixels with fine texture, some 4 MB, as a phone held upright writes it."""
    rng = np.random.default_rng(12)
    upright = _crop("grace", rng, (3024, 4032))
    grain = rng.normal(0, 8, (2016, 1512, 1)).repeat(2, 0).repeat(2, 1)
    path = folder / "IMG_12MP.jpg"
    save_photo(_pixels(np.asarray(upright, np.float32) + grain), path, orientation=orientation)
    return path


def group_photo(folder: Path) -> Path:
    """Both people side by side."""
    image = Image.new("RGB", (1600, 1000))
    for column, person in enumerate(_FACES):
        image.paste(_crop(person, np.random.default_rng(1), (800, 1000)), (800 * column, 0))
    path = folder / "together.jpg"
    save_photo(image, path)
    return path


def landscape_photo(folder: Path) -> Path:
    """Soft hills under a sky: sharp, bright, nobody there."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[0:900, 0:1200].astype(np.float32)
    ridge = 450 + 80 * np.sin(x / 170) + 40 * np.sin(x / 61)
    sky = np.dstack([120 + y / 8, 160 + y / 9, np.full_like(y, 230)])
    hills = np.dstack([60 + y / 30, 120 + y / 20, np.full_like(y, 50)])
    image = np.where((y > ridge)[..., None], hills, sky) + rng.normal(0, 9, (900, 1200, 1))
    path = folder / "hills.jpg"
    save_photo(_pixels(image), path)
    return path


def blurred_photo(folder: Path) -> Path:
    """A shaken close-up."""
    small = snapshot("grace", 0).resize((40, 53), Image.Resampling.BOX)
    path = folder / "shaken.jpg"
    save_photo(small.resize((1200, 1600), Image.Resampling.BICUBIC), path)
    return path


def dark_photo(folder: Path) -> Path:
    """A face in a room without light."""
    path = folder / "night.jpg"
    save_photo(snapshot("grace", 0).point(lambda value: value // 7), path)
    return path


def small_photo(folder: Path, short_side: int) -> Path:
    """A portrait whose short side is so many pixels."""
    image = snapshot("grace", 0).resize((short_side, short_side * 4 // 3), Image.Resampling.LANCZOS)
    path = folder / f"small_{short_side}.jpg"
    save_photo(image, path)
    return path


@dataclass(frozen=True, slots=True)
class Hostile:
    """A file that must be refused with `code`."""

    make: Callable[[Path], Path]
    code: str


def png_bomb(folder: Path, side: int = 20_000) -> Path:
    """A valid grey PNG of `side` x `side` pixels in a few kB, compressed row by row."""
    row = bytes(1 + (side + 7) // 8)
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    path = folder / "bomb.png"
    path.write_bytes(_PNG_MAGIC + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b""))
    return path


def webp_bomb(folder: Path) -> Path:
    """A WebP whose header claims 16383 x 16383 pixels."""
    data = bytearray(_encoded("WEBP", Image.new("RGB", (600, 600)), lossless=True))
    bits = struct.unpack("<I", data[21:25])[0]
    data[21:25] = struct.pack("<I", bits & ~0xFFFFFFF | 16382 << 14 | 16382)
    return _written(folder, "bomb.webp", bytes(data))


def scan_bomb(folder: Path) -> Path:
    """A valid progressive JPEG that refines every coefficient of an empty picture, bit by bit: 882
    scans in 200 kB, each over all blocks, half a minute of work.
    """
    side = 9_000
    blocks = (side // 8) ** 2
    runs, rest = divmod(blocks, _LONGEST_RUN)
    bits = "".join(f"0{length - 16_384:014b}" for length in [_LONGEST_RUN] * runs + [rest])
    empty = _entropy(bits)
    scans = [_segment(0xDA, bytes([1, 1, 0, 0, 0, 0])) + _entropy("0" * blocks)]
    for coefficient in range(1, 64):
        for low in range(13, -1, -1):
            high = 0 if low == 13 else low + 1
            scans.append(_segment(0xDA, bytes([1, 1, 0, coefficient, coefficient, high << 4 | low])) + empty)
    frame = struct.pack(">BHHBBBB", 8, side, side, 1, 1, 0x11, 0)
    one_code = bytes([1, *[0] * 15])
    tables = [
        _segment(0xDB, bytes([0, *[1] * 64])),
        _segment(0xC2, frame),
        _segment(0xC4, b"\x00" + one_code + b"\x00"),
        _segment(0xC4, b"\x10" + one_code + b"\xe0"),
    ]
    return _written(folder, "scans.jpg", b"\xff\xd8" + b"".join(tables + scans) + b"\xff\xd9")


def truncated(folder: Path, form: Format = "JPEG", kept: float = 0.6) -> Path:
    """A photo of which only the first part arrived."""
    whole = folder / f"whole{SUFFIXES[form]}"
    save_photo(snapshot("grace", 0), whole, form)
    data = whole.read_bytes()
    whole.unlink()
    return _written(folder, f"partial{SUFFIXES[form]}", data[: int(len(data) * kept)])


def truncated_jpeg(folder: Path) -> Path:
    return truncated(folder, "JPEG")


def empty_file(folder: Path) -> Path:
    return _written(folder, "empty.jpg", b"")


def not_an_image(folder: Path) -> Path:
    return _written(folder, "notes.jpg", b"Dear diary, this is text in a file called .jpg\n" * 40)


def polyglot_jpeg_html(folder: Path) -> Path:
    """A valid photo that a careless browser may read as a page, with a ZIP at its end."""
    script = b"<html><script>alert(document.domain)</script></html>"
    photo = _encoded("JPEG", snapshot("grace", 0), comment=script)
    return _written(folder, "polyglot.jpg", photo + script + b"PK\x05\x06" + bytes(18))


def lying_header(folder: Path) -> Path:
    """A JPEG that claims four times the rows that it holds."""
    data = bytearray(_encoded("JPEG", snapshot("grace", 0)))
    frame = data.index(b"\xff\xc0")
    height = struct.unpack(">H", data[frame + 5 : frame + 7])[0]
    data[frame + 5 : frame + 7] = struct.pack(">H", height * 4)
    return _written(folder, "liar.jpg", bytes(data))


def huge_claim(folder: Path) -> Path:
    """A JPEG whose header claims 65,000 x 65,000 pixels."""
    data = bytearray(_encoded("JPEG", snapshot("grace", 0)))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", 65_000, 65_000)
    return _written(folder, "claim.jpg", bytes(data))


def svg_script(folder: Path) -> Path:
    text = '<svg xmlns="http://www.w3.org/2000/svg" width="900" height="900"><script>alert(1)</script></svg>'
    return _written(folder, "drawing.svg", f'<?xml version="1.0"?>\n{text}'.encode())


def svg_external_entity(folder: Path) -> Path:
    entity = '<!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
    return _written(
        folder, "entity.png", f'{entity}<svg width="900" height="900"><text>&x;</text></svg>'.encode()
    )


def image_magick_script(folder: Path) -> Path:
    lines = ("push graphic-context", "viewbox 0 0 640 480", "fill 'url(https://localhost/\"|id\")'")
    return _written(folder, "exploit.jpg", "\n".join(lines).encode())


def postscript(folder: Path) -> Path:
    return _written(folder, "picture.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n")


def photoshop_document(folder: Path) -> Path:
    return _written(
        folder, "layers.png", b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, 900, 900, 8, 3) + bytes(64)
    )


def jpeg_2000(folder: Path) -> Path:
    return _written(folder, "scan.jp2", b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(64))


def movie(folder: Path) -> Path:
    return _written(folder, "IMG_0001.heic", b"\0\0\0\x18ftypqt  \0\0\0\0qt  mp42" + bytes(512))


def pdf(folder: Path) -> Path:
    return _written(folder, "passport.jpg", b"%PDF-1.7\n1 0 obj << >> endobj\n%%EOF\n")


def web_page(folder: Path) -> Path:
    return _written(folder, "page.jpg", b"<!doctype html><title>404</title><p>Not here" * 9)


def archive(folder: Path) -> Path:
    return _written(folder, "photos.jpg", b"PK\x03\x04" + bytes(200))


def magic_alone(folder: Path) -> Path:
    """The first bytes of a JPEG and nothing that follows."""
    return _written(folder, "stub.jpg", b"\xff\xd8\xff\xe0\x00\x10JFIF\x00")


def magic_then_noise(folder: Path) -> Path:
    noise = np.random.default_rng(5).bytes(40_000)
    return _written(
        folder, "noise.jpg", b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00" + noise
    )


def _saved_as(form: str, name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        return _written(folder, name, _encoded(form, snapshot("grace", 0).resize((600, 800))))

    return make


HOSTILE: dict[str, Hostile] = {
    "png bomb": Hostile(png_bomb, "image_too_many_pixels"),
    "webp bomb": Hostile(webp_bomb, "image_too_many_pixels"),
    "huge claim": Hostile(huge_claim, "image_too_many_pixels"),
    "scan bomb": Hostile(scan_bomb, "image_unprocessable"),
    "truncated jpeg": Hostile(truncated_jpeg, "image_truncated"),
    "truncated png": Hostile(lambda folder: truncated(folder, "PNG"), "image_truncated"),
    "truncated webp": Hostile(lambda folder: truncated(folder, "WEBP"), "image_truncated"),
    "truncated heic": Hostile(lambda folder: truncated(folder, "HEIF"), "image_truncated"),
    "almost whole jpeg": Hostile(lambda folder: truncated(folder, "JPEG", 0.98), "image_truncated"),
    "magic alone": Hostile(magic_alone, "image_truncated"),
    "magic then noise": Hostile(magic_then_noise, "image_unprocessable"),
    "lying header": Hostile(lying_header, "image_truncated"),
    "empty": Hostile(empty_file, "file_empty"),
    "text": Hostile(not_an_image, "not_an_image"),
    "web page": Hostile(web_page, "not_an_image"),
    "archive": Hostile(archive, "not_an_image"),
    "imagemagick script": Hostile(image_magick_script, "not_an_image"),
    "svg script": Hostile(svg_script, "unsupported_format"),
    "svg entity": Hostile(svg_external_entity, "unsupported_format"),
    "postscript": Hostile(postscript, "unsupported_format"),
    "pdf": Hostile(pdf, "unsupported_format"),
    "photoshop": Hostile(photoshop_document, "unsupported_format"),
    "jpeg 2000": Hostile(jpeg_2000, "unsupported_format"),
    "movie": Hostile(movie, "unsupported_format"),
    "gif": Hostile(_saved_as("GIF", "anim.gif"), "unsupported_format"),
    "bmp": Hostile(_saved_as("BMP", "paint.bmp"), "unsupported_format"),
    "tiff": Hostile(_saved_as("TIFF", "scan.jpg"), "unsupported_format"),
    "avif": Hostile(_saved_as("AVIF", "photo.heic"), "unsupported_format"),
    "too small": Hostile(lambda folder: small_photo(folder, 200), "image_too_small"),
}


def huge_icc(folder: Path) -> Path:
    """A valid photo that carries 3 MB of noise as its colour profile."""
    profile = np.random.default_rng(7).bytes(3_000_000)
    return _written(folder, "profile.jpg", _encoded("JPEG", snapshot("grace", 0), icc_profile=profile))


def exif_bomb(folder: Path) -> Path:
    """A valid photo whose EXIF directory points at itself and claims billions of values."""
    entry = struct.pack("<HHII", 0x8769, 4, 0xFFFFFFFF, 8)
    directory = struct.pack("<H", 4) + entry * 4 + struct.pack("<I", 8)
    exif = b"Exif\0\0II*\0" + struct.pack("<I", 8) + directory + bytes(60_000)
    return _written(folder, "exif.jpg", _encoded("JPEG", snapshot("grace", 0), exif=exif))


def xmp_script(folder: Path) -> Path:
    """A valid photo whose XMP carries a script."""
    packet = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><script>alert(1)</script></x:xmpmeta>"
    return _written(folder, "xmp.jpg", _encoded("JPEG", snapshot("grace", 0), xmp=packet))


def wrong_extension(folder: Path) -> Path:
    """A PNG that calls itself HEIC: taken, because content decides."""
    return _written(folder, "IMG_0002.heic", _encoded("PNG", snapshot("grace", 0), compress_level=1))


# Strange, but whole photos all the same: they are taken, and nothing but their pixels is kept.
STRANGE: dict[str, Callable[[Path], Path]] = {
    "polyglot": polyglot_jpeg_html,
    "huge profile": huge_icc,
    "exif bomb": exif_bomb,
    "xmp script": xmp_script,
    "wrong extension": wrong_extension,
}

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_LONGEST_RUN = 32_767  # of blocks that one code of a progressive JPEG can leave empty


@cache
def _portrait(person: Person) -> np.ndarray:
    """The source with its edges mirrored outwards, so that crops near them have no black corners."""
    name = {
        "grace": Path(mpl.get_data_path()) / "sample_data" / "grace_hopper.jpg",
        "eileen": Path(skimage.__file__).parent / "data" / "astronaut.png",
    }[person]
    with Image.open(name) as image:
        pixels = np.asarray(image.convert("RGB"))
    return np.pad(pixels, ((_MARGIN, _MARGIN), (_MARGIN, _MARGIN), (0, 0)), mode="reflect")


def _crop(person: Person, rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    """A tilted window around the face, enlarged to `size`."""
    x, y, width = _FACES[person]
    window = width * rng.uniform(1.0, 1.35) / min(1.0, size[0] / size[1])
    scale = window / max(size)
    angle = np.deg2rad(rng.uniform(-6, 6))
    x, y = x + rng.uniform(-0.08, 0.08) * width, y + rng.uniform(0.0, 0.12) * width
    cos, sin = np.cos(angle) * scale, np.sin(angle) * scale
    left = x + _MARGIN - cos * size[0] / 2 + sin * size[1] / 2
    top = y + _MARGIN - sin * size[0] / 2 - cos * size[1] / 2
    matrix = (cos, -sin, left, sin, cos, top)
    source = Image.fromarray(_portrait(person))
    return source.transform(size, Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)


def _developed(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Exposure, contrast, colour of the light, and the grain of a small sensor."""
    light = np.linspace(0, 1, 256) ** rng.uniform(0.8, 1.25) * rng.uniform(0.85, 1.12)
    curves = np.clip(np.outer(1 + rng.uniform(-0.08, 0.08, 3), light) * 255, 0, 255)
    exposed = np.asarray(image.point(curves.ravel().astype(int).tolist()), np.int16)
    height, width = exposed.shape[:2]
    tile = np.roll(_grain(), rng.integers(0, 512, 2), axis=(0, 1))
    grain = np.tile(tile, (height // 512 + 1, width // 512 + 1))[:height, :width, None]
    return _pixels(exposed + grain)


@cache
def _grain() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 3, (512, 512)).round().astype(np.int16)


def _pixels(values: np.ndarray) -> Image.Image:
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def _phone_exif(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = CAMERA_MAKE
    exif[ExifTags.Base.Model] = "Pocket 12"
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.Base.DateTime] = "2026:05:17 12:34:56"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = b"ASCII\0\0\0" + SECRET_COMMENT.encode()
    position = exif.get_ifd(ExifTags.IFD.GPSInfo)
    position[ExifTags.GPS.GPSLatitudeRef], position[ExifTags.GPS.GPSLatitude] = "N", GPS_LATITUDE
    position[ExifTags.GPS.GPSLongitudeRef], position[ExifTags.GPS.GPSLongitude] = "E", (18.0, 3.0, 41.0)
    return exif


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _segment(marker: int, data: bytes) -> bytes:
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(data) + 2) + data


def _entropy(bits: str) -> bytes:
    """Bits of a scan, filled up with ones, with zero bytes stuffed behind 0xff."""
    filled = bits + "1" * (-len(bits) % 8)
    return int(filled, 2).to_bytes(len(filled) // 8, "big").replace(b"\xff", b"\xff\0")


def _encoded(form: str, image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def _written(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path
