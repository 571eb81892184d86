"""Pictures of every kind and of every ill will, through real children under real limits."""

# ruff: noqa: ASYNC240 - small files, and nothing else waits for the loop

import asyncio
import contextlib
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Callable
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
from PIL import Image
from tests.factories import photos
from tests.factories.photos import HOSTILE, STRANGE, SUFFIXES, Format

from visiona.adapters.imaging import ChildImageProcessor
from visiona.adapters.imaging.nursery import _understood
from visiona.adapters.provenance import make_certificate, signing_kit
from visiona.core.errors import Unavailable
from visiona.ports.imaging import ImageRefused, ProcessedImage

CODES = {
    "file_empty",
    "not_an_image",
    "unsupported_format",
    "image_too_many_pixels",
    "image_too_small",
    "image_truncated",
    "image_unprocessable",
}
kit = cache(lambda: signing_kit(*make_certificate("Visiona tests")))
IMAGE_LIBRARIES = {"pyvips", "cv2", "pillow_heif", "PIL", "numpy"}


@pytest.fixture(scope="module")
async def processor() -> AsyncGenerator[ChildImageProcessor]:
    processor = ChildImageProcessor(kit, cpu_seconds=2)
    yield processor
    assert not children(nursery_of(processor))
    await processor.aclose()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "outputs"
    path.mkdir()
    return path


def nursery_of(processor: ChildImageProcessor) -> int:
    assert processor._pictures._nursery
    return processor._pictures._nursery._process.pid


def children(pid: int) -> set[int]:
    found: set[int] = set()
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(ValueError, OSError):
            # After the name in parentheses, which may contain anything: state, then parent.
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            if int(parent) == pid and state != "Z":
                found.add(int(entry.name))
    return found


async def until(condition: Callable[[], Any], within_s: float = 5) -> Any:
    deadline = time.monotonic() + within_s
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not come to pass"
        await asyncio.sleep(0.01)
    return value


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"), np.int16)


def difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).mean()) if one.shape == other.shape else 255.0


@cache
def portrait(side: int = 600) -> Image.Image:
    return photos.snapshot("grace", 0).resize((side, side * 4 // 3), Image.Resampling.LANCZOS)


def jpeg_segments(data: bytes) -> list[int]:
    """Markers in order; the data of a scan is skipped."""
    markers, position = [], 2
    while position < len(data):
        marker = data[position + 1]
        markers.append(marker)
        if marker == 0xD9:
            assert position + 2 == len(data), "something follows the end of the picture"
            break
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        if marker == 0xDA:
            position = data.index(b"\xff\xd9", position)
    return markers


def webp_chunks(data: bytes) -> list[bytes]:
    assert int.from_bytes(data[4:8], "little") + 8 == len(data)
    chunks, position = [], 12
    while position < len(data):
        chunks.append(data[position : position + 4])
        size = int.from_bytes(data[position + 4 : position + 8], "little")
        position += 8 + size + size % 2
    return chunks


def assert_clean(image: ProcessedImage) -> None:
    """Bare pixels: not one segment that could carry anything else."""
    master, thumbnail = image.master.read_bytes(), image.thumbnail.read_bytes()
    # JFIF, tables, frame, scan, end.
    assert set(jpeg_segments(master)) <= {0xE0, 0xDB, 0xC0, 0xC4, 0xDD, 0xDA, 0xD9}
    assert webp_chunks(thumbnail) == [b"VP8 "]
    for data in (master, thumbnail):
        for trace in (photos.CAMERA_MAKE.encode(), photos.SECRET_COMMENT.encode(), b"Exif", b"xmp", b"ICC_"):
            assert trace not in data


def assert_consistent(image: ProcessedImage) -> None:
    with Image.open(image.master) as master, Image.open(image.thumbnail) as thumbnail:
        assert master.size == (image.width, image.height)
        assert Image.MIME[master.format or ""] == image.content_type
        assert thumbnail.format == "WEBP"
        scale = min(1, 480 / max(master.size))
        assert thumbnail.size == tuple(max(1, round(side * scale)) for side in master.size)
    data = image.master.read_bytes()
    assert (image.size, image.sha256) == (len(data), sha256(data).hexdigest())


# --- every format and orientation ---


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", SUFFIXES)
async def test_comes_out_upright_and_bare(
    processor: ChildImageProcessor, tmp_path: Path, folder: Path, form: Format, orientation: int
) -> None:
    upright = portrait()
    source = tmp_path / f"photo{SUFFIXES[form]}"
    photos.save_photo(upright, source, form, orientation=orientation)
    carried = source.read_bytes()
    assert photos.CAMERA_MAKE.encode() in carried  # or its absence in the output would mean nothing

    image = await processor.process_photo(source, folder)

    assert image.content_type == "image/jpeg"
    assert image.faces == 1
    assert image.warnings == ()
    assert_consistent(image)
    assert_clean(image)
    wanted = np.asarray(upright, np.int16)
    assert difference(pixels(image.master), wanted) < 4
    assert difference(pixels(image.master), wanted[:, ::-1]) > 20
    assert source.read_bytes() == carried


async def test_a_phones_twelve_megapixels(
    processor: ChildImageProcessor, tmp_path: Path, folder: Path
) -> None:
    source = photos.twelve_megapixel_jpeg(tmp_path)
    with Image.open(source) as sensor:
        assert sensor.size == (4032, 3024)
    image = await processor.process_photo(source, folder)
    assert (image.width, image.height) == (1536, 2048)
    assert image.faces == 1
    assert image.warnings == ()
    assert_consistent(image)
    assert_clean(image)


@pytest.mark.parametrize("person", ["grace", "eileen"])
async def test_ordinary_photos_are_taken_without_a_word(
    processor: ChildImageProcessor, tmp_path: Path, folder: Path, person: photos.Person
) -> None:
    sources = photos.phone_photos(person, 12, folder=tmp_path / "roll")
    assert {source.suffix for source in sources} == set(SUFFIXES.values())
    images = await asyncio.gather(*(processor.process_photo(source, folder) for source in sources))
    assert [image.faces for image in images] == [1] * 12
    assert [image.warnings for image in images] == [()] * 12
    assert len({image.sha256 for image in images}) == 12
    assert len(list(folder.iterdir())) == 24


async def test_the_same_photo_gives_the_same_master(
    processor: ChildImageProcessor, tmp_path: Path, folder: Path
) -> None:
    source = tmp_path / "photo.heic"
    photos.save_photo(portrait(), source, "HEIF")
    one, other = [await processor.process_photo(source, folder) for _ in range(2)]
    assert one.sha256 == other.sha256
    assert one.master != other.master


# --- colours ---


def _p3(path: Path, image: Image.Image) -> None:
    """As iPhones write: the same colours, in numbers that mean Display P3."""
    rgb = pyvips.Image.new_from_array(np.asarray(image)).copy(interpretation="srgb")
    rgb.icc_transform("p3", input_profile="srgb").jpegsave(str(path), Q=95)


def _sixteen_bits(path: Path, image: Image.Image) -> None:
    values = np.asarray(image).astype(np.uint16) * 257
    pyvips.Image.new_from_array(values).copy(interpretation="rgb16").pngsave(str(path))


def _transparent(path: Path, image: Image.Image) -> None:
    image = image.copy()
    alpha = Image.new("L", image.size, 255)
    alpha.paste(0, (0, 0, 200, 200))
    image.putalpha(alpha)
    image.save(path, "PNG", compress_level=1)


COLOURS: dict[str, tuple[Callable[[Path, Image.Image], None], float]] = {
    "sixteen bits": (_sixteen_bits, 4),
    "palette": (lambda path, image: image.quantize(256).save(path, "PNG"), 6),
    "cmyk": (lambda path, image: image.convert("CMYK").save(path, "JPEG", quality=95), 40),
}


@pytest.mark.parametrize("case", COLOURS)
async def test_colours_become_srgb(
    processor: ChildImageProcessor, tmp_path: Path, folder: Path, case: str
) -> None:
    write, tolerance = COLOURS[case]
    write(tmp_path / "photo", portrait())
    image = await processor.process_photo(tmp_path / "photo", folder)
    assert difference(pixels(image.master), np.asarray(portrait(), np.int16)) < tolerance
    assert_clean(image)


async def test_wide_gamut_becomes_srgb(processor: ChildImageProcessor, tmp_path: Path, folder: Path) -> None:
    vivid = Image.new("RGB", (600, 800), (225, 45, 40))
    _p3(tmp_path / "photo", vivid)
    assert difference(pixels(tmp_path / "photo"), np.asarray(vivid, np.int16)) > 10
    image = await processor.process_photo(tmp_path / "photo", folder)
    assert difference(pixels(image.master), np.asarray(vivid, np.int16)) < 2
    assert_clean(image)


@pytest.mark.parametrize("mode", ["L", "LA", "1"])
async def test_grey_becomes_grey(
    processor: ChildImageProcessor, tmp_path: Path, folder: Path, mode: str
) -> None:
    grey = portrait().convert(mode)
    grey.save(tmp_path / "photo", "PNG")
    image = await processor.process_photo(tmp_path / "photo", folder)
    assert difference(pixels(image.master), np.asarray(grey.convert("RGB"), np.int16)) < 4


async def test_transparency_becomes_white(
    processor: ChildImageProcessor, tmp_path: Path, folder: Path
) -> None:
    _transparent(tmp_path / "photo", portrait())
    image = await processor.process_photo(tmp_path / "photo", folder)
    result = pixels(image.master)
    assert result[20:180, 20:180].min() > 250
    assert difference(result[220:], np.asarray(portrait(), np.int16)[220:]) < 4


async def test_of_an_animation_the_first_frame_is_taken(
    processor: ChildImageProcessor, tmp_path: Path, folder: Path
) -> None:
    frames = [Image.new("RGB", portrait().size, colour) for colour in ("red", "blue")]
    portrait().save(tmp_path / "photo", "WEBP", save_all=True, append_images=frames, quality=90)
    image = await processor.process_photo(tmp_path / "photo", folder)
    assert difference(pixels(image.master), np.asarray(portrait(), np.int16)) < 5


# --- what a person is told ---


@pytest.mark.parametrize(
    ("make", "faces", "warnings"),
    [
        (photos.landscape_photo, 0, ("no_face",)),
        (photos.group_photo, 2, ("several_faces",)),
        (photos.blurred_photo, 1, ("blurry",)),
        (photos.dark_photo, 1, ("too_dark",)),
        (lambda folder: photos.small_photo(folder, 400), 1, ("low_resolution",)),
        (lambda folder: photos.small_photo(folder, 256), 1, ("low_resolution",)),
        (lambda folder: photos.small_photo(folder, 512), 1, ()),
    ],
)
async def test_warnings(
    processor: ChildImageProcessor,
    tmp_path: Path,
    folder: Path,
    make: Callable[[Path], Path],
    faces: int,
    warnings: tuple[str, ...],
) -> None:
    image = await processor.process_photo(make(tmp_path), folder)
    assert (image.faces, image.warnings) == (faces, warnings)


async def test_a_strip_is_too_narrow(processor: ChildImageProcessor, tmp_path: Path, folder: Path) -> None:
    Image.new("RGB", (4000, 400)).save(tmp_path / "strip", "PNG")  # 205 px high when 2048 wide
    with pytest.raises(ImageRefused) as refused:
        await processor.process_photo(tmp_path / "strip", folder)
    assert refused.value.code == "image_too_small"


# --- ill will ---


@pytest.mark.parametrize("case", HOSTILE)
async def test_hostile_files_are_refused(
    processor: ChildImageProcessor, tmp_path: Path, folder: Path, case: str
) -> None:
    source = HOSTILE[case].make(tmp_path)
    nursery = processor._pictures._nursery and nursery_of(processor)
    with pytest.raises(ImageRefused) as refused:
        await processor.process_photo(source, folder)
    assert refused.value.code == HOSTILE[case].code
    # It says what to do, and gives nothing away.
    assert refused.value.message.endswith(".")
    assert str(tmp_path) not in refused.value.message
    assert list(folder.iterdir()) == []
    assert nursery in {None, nursery_of(processor)}
    assert not children(nursery_of(processor))


@pytest.mark.parametrize("orientation", range(1, 9))
async def test_gaps_are_seen_whatever_the_orientation(
    processor: ChildImageProcessor, tmp_path: Path, folder: Path, orientation: int
) -> None:
    source = tmp_path / "photo.jpg"
    photos.save_photo(portrait(), source, orientation=orientation)
    data = source.read_bytes()
    source.write_bytes(data[: len(data) // 2] + b"\xff\xd9")  # cut, and closed again
    for process in (processor.process_photo, processor.process_generated):
        with pytest.raises(ImageRefused) as refused:
            await process(source, folder)
        assert refused.value.code == "image_truncated"


@pytest.mark.parametrize("case", STRANGE)
async def test_strange_files_are_taken_and_lose_their_load(
    processor: ChildImageProcessor, tmp_path: Path, folder: Path, case: str
) -> None:
    image = await processor.process_photo(STRANGE[case](tmp_path), folder)
    assert image.faces == 1
    assert_consistent(image)
    assert_clean(image)
    for path in folder.iterdir():
        assert b"script" not in path.read_bytes()


async def test_seeded_damage_harms_nobody(
    processor: ChildImageProcessor, tmp_path: Path, folder: Path
) -> None:
    whole = tmp_path / "whole.jpg"
    photos.save_photo(portrait(), whole)
    await processor.process_photo(whole, tmp_path)
    nursery = nursery_of(processor)
    originals: dict[Format, bytes] = {}
    for form in SUFFIXES:
        photos.save_photo(portrait(300), tmp_path / "original", form)
        originals[form] = (tmp_path / "original").read_bytes()

    outcomes = await asyncio.gather(
        *(_damaged(processor, originals, seed, tmp_path, folder) for seed in range(140))
    )

    wrong = [
        (seed, outcome)
        for seed, outcome in enumerate(outcomes)
        # A flipped bit may pass; a missing end must not.
        if outcome not in CODES and (outcome != "taken" or seed % 2 == 0)
    ]
    assert not wrong
    assert len(set(outcomes)) >= 4  # it was not one check that refused them all
    assert nursery_of(processor) == nursery
    assert not children(nursery)
    assert len(list(folder.iterdir())) == 2 * outcomes.count("taken")


async def _damaged(
    processor: ChildImageProcessor, originals: dict[Format, bytes], seed: int, inputs: Path, outputs: Path
) -> str:
    """Even seeds cut, odd seeds flip bits."""
    rng = np.random.default_rng(seed)
    form = list(originals)[seed // 2 % len(originals)]
    data = bytearray(originals[form])
    if seed % 2:
        # Half of them where structure is, at the start.
        reach = len(data) if seed % 4 == 1 else 600
        for position in rng.integers(0, reach, rng.integers(1, 24)):
            data[position] ^= 1 << int(rng.integers(8))
    else:
        del data[int(len(data) * rng.uniform(0, 0.97)) :]
    source = inputs / f"damaged-{seed}"
    source.write_bytes(data)
    try:
        image = await processor.process_photo(source, outputs)
    except ImageRefused as refused:
        return refused.code
    assert_clean(image)
    return "taken"


async def test_missing_files_are_not_the_photos_fault(processor: ChildImageProcessor, tmp_path: Path) -> None:
    photos.save_photo(portrait(), tmp_path / "photo")
    for source, target in ((tmp_path / "none", tmp_path), (tmp_path / "photo", tmp_path / "none")):
        with pytest.raises(RuntimeError, match="image child failed"):
            await processor.process_photo(source, target)


# --- limits ---


async def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    photos.png_bomb(tmp_path)
    code = f"""
import asyncio, resource, time
from pathlib import Path
from visiona.adapters.imaging import ChildImageProcessor
from visiona.adapters.provenance import development_kit
from visiona.ports.imaging import ImageRefused

async def main():
    processor = ChildImageProcessor(lambda: development_kit(Path({str(tmp_path)!r})))
    try:
        await processor.process_photo(Path({str(tmp_path / "bomb.png")!r}), Path({str(tmp_path)!r}))
    except ImageRefused as refused:
        print(refused.code)
    await processor.aclose()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(used.ru_maxrss // 1024, used.ru_utime + used.ru_stime)

asyncio.run(main())
"""
    answer, used = (await _run(code)).splitlines()
    assert answer == "image_too_many_pixels"
    megabytes, seconds = used.split()
    assert int(megabytes) < 120  # decoded, it would be 400 MB in grey
    assert float(seconds) < 2


async def test_memory_is_limited(processor: ChildImageProcessor, tmp_path: Path, folder: Path) -> None:
    source = tmp_path / "progressive.jpg"  # needs all its coefficients at once
    portrait().resize((3600, 4800)).save(source, progressive=True, subsampling=0)
    assert (await processor.process_photo(source, folder)).faces == 1

    poor = ChildImageProcessor(kit, memory_mb=160)
    with pytest.raises(ImageRefused) as refused:
        await poor.process_photo(source, folder)
    assert refused.value.code == "image_unprocessable"
    photos.save_photo(portrait(), tmp_path / "small.jpg")
    await poor.process_photo(tmp_path / "small.jpg", folder)
    await poor.aclose()


async def test_time_is_limited(tmp_path: Path, folder: Path) -> None:
    hasty = ChildImageProcessor(kit, wall_seconds=0.4)
    photos.save_photo(portrait(300), tmp_path / "photo.jpg")
    await hasty.process_photo(tmp_path / "photo.jpg", folder)
    nursery, kept = nursery_of(hasty), set(folder.iterdir())
    started = time.monotonic()
    with pytest.raises(ImageRefused) as refused:
        await hasty.process_photo(photos.scan_bomb(tmp_path), folder)
    assert refused.value.code == "image_unprocessable"
    assert time.monotonic() - started < 2
    assert not children(nursery)
    assert nursery_of(hasty) == nursery
    assert set(folder.iterdir()) == kept
    await hasty.aclose()


async def test_a_child_has_nothing_to_steal_and_nowhere_to_go(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISIONA_SECRET", "correct horse battery staple")
    processor = ChildImageProcessor(kit, memory_mb=300, cpu_seconds=3)
    task = asyncio.create_task(processor.process_photo(photos.scan_bomb(tmp_path), folder))
    await until(lambda: processor._pictures._nursery)
    nursery = nursery_of(processor)
    (child,) = await until(lambda: children(nursery))
    await until(lambda: os.getsid(child) == child)
    await asyncio.sleep(0.1)
    for pid in (nursery, child):
        assert os.getsid(pid) == pid
        assert b"horse" not in Path(f"/proc/{pid}/environ").read_bytes()
        assert "NoNewPrivs:\t1" in Path(f"/proc/{pid}/status").read_text()
    # Forking a process that runs threads is a game of chance.
    assert "Threads:\t1\n" in Path(f"/proc/{nursery}/status").read_text()
    rows = Path(f"/proc/{child}/limits").read_text().splitlines()
    limits = {row[:26].strip(): row[26:].split()[0] for row in rows}
    assert limits["Max cpu time"] == "3"
    assert limits["Max core file size"] == "0"
    assert int(limits["Max open files"]) <= 64
    assert int(limits["Max file size"]) <= 128 * 2**20
    assert int(limits["Max address space"]) < 800 * 2**20  # 300 MB, and code that is mapped
    held = {str(entry.readlink()) for entry in Path(f"/proc/{child}/fd").iterdir()}
    assert str(Path(f"/proc/{nursery}/fd/0").readlink()) not in held
    assert not any(name.startswith("socket:") for name in held)
    await _cancelled(task)
    await processor.aclose()
    assert gone(nursery)
    assert gone(child)


# --- concurrency, cancellation, sudden death ---


async def _cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_no_more_children_than_allowed(tmp_path: Path, folder: Path) -> None:
    processor = ChildImageProcessor(kit, concurrency=2)
    source = tmp_path / "photo.jpg"
    photos.save_photo(photos.snapshot("eileen", 0), source)
    await processor.process_photo(source, folder)
    work = asyncio.gather(*(processor.process_photo(source, folder) for _ in range(8)))
    most = 0
    while not work.done():
        most = max(most, len(children(nursery_of(processor))))
        await asyncio.sleep(0.002)
    assert most == 2
    assert len({image.master for image in await work}) == 8
    assert len(list(folder.iterdir())) == 18
    assert not children(nursery_of(processor))
    await processor.aclose()


async def test_cancelling_leaves_nothing(
    processor: ChildImageProcessor, tmp_path: Path, folder: Path
) -> None:
    photos.save_photo(portrait(300), tmp_path / "photo.jpg")
    await processor.process_photo(tmp_path / "photo.jpg", tmp_path)
    nursery = nursery_of(processor)
    bomb = photos.scan_bomb(tmp_path)
    tasks = [asyncio.create_task(processor.process_photo(bomb, folder)) for _ in range(4)]
    await until(lambda: len(children(nursery)) == 2)
    for task in tasks:  # two at work, two in the queue
        await _cancelled(task)
    assert not children(nursery)
    assert list(folder.iterdir()) == []
    assert (await processor.process_photo(tmp_path / "photo.jpg", folder)).faces == 1
    assert nursery_of(processor) == nursery


async def test_cancelling_at_any_moment_leaves_nothing(
    processor: ChildImageProcessor, tmp_path: Path, folder: Path
) -> None:
    photos.save_photo(portrait(), tmp_path / "photo.jpg")
    await processor.process_photo(tmp_path / "photo.jpg", tmp_path)
    for step in range(15):
        task = asyncio.create_task(processor.process_photo(tmp_path / "photo.jpg", folder))
        await asyncio.sleep(0.006 * step)
        if not task.done():
            await _cancelled(task)
            assert list(folder.iterdir()) == []
        for path in folder.iterdir():
            path.unlink()
    assert not children(nursery_of(processor))


async def test_a_killed_nursery_is_replaced_and_the_photo_taken(tmp_path: Path, folder: Path) -> None:
    processor = ChildImageProcessor(kit, cpu_seconds=1)
    photos.save_photo(portrait(), tmp_path / "photo.jpg")
    await processor.process_photo(tmp_path / "photo.jpg", tmp_path)
    bomb = asyncio.create_task(processor.process_photo(photos.scan_bomb(tmp_path), folder))
    nursery = nursery_of(processor)
    (child,) = await until(lambda: children(nursery))
    await until(lambda: os.getsid(child) == child)
    await asyncio.sleep(0.05)
    os.kill(nursery, signal.SIGKILL)
    await until(lambda: gone(child))  # children do not outlive it
    assert (await processor.process_photo(tmp_path / "photo.jpg", folder)).faces == 1
    assert nursery_of(processor) != nursery
    with pytest.raises(ImageRefused):
        await bomb
    await processor.aclose()


async def test_nothing_outlives_the_process_that_started_it(tmp_path: Path) -> None:
    bomb = photos.scan_bomb(tmp_path)
    code = f"""
import asyncio, time
from pathlib import Path
from visiona.adapters.imaging import ChildImageProcessor
from visiona.adapters.provenance import development_kit

async def main():
    processor = ChildImageProcessor(lambda: development_kit(Path({str(tmp_path)!r})))
    task = asyncio.create_task(processor.process_photo(Path({str(bomb)!r}), Path({str(tmp_path)!r})))
    while not processor._pictures._nursery:
        await asyncio.sleep(0.01)
    print(processor._pictures._nursery._process.pid, flush=True)
    await task

asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=subprocess.PIPE)
    assert process.stdout
    nursery = int(await process.stdout.readline())
    (child,) = await until(lambda: children(nursery))
    process.kill()
    await process.wait()
    await until(lambda: gone(nursery) and gone(child))


async def test_closing_ends_work_and_is_final(tmp_path: Path, folder: Path) -> None:
    processor = ChildImageProcessor(kit)
    bomb = photos.scan_bomb(tmp_path)
    task = asyncio.create_task(processor.process_photo(bomb, folder))
    await until(lambda: processor._pictures._nursery)
    nursery = nursery_of(processor)
    (child,) = await until(lambda: children(nursery))
    await processor.aclose()
    with pytest.raises(Unavailable):
        await task
    assert gone(nursery)
    assert gone(child)
    assert list(folder.iterdir()) == []
    await processor.aclose()
    with pytest.raises(Unavailable):
        await processor.process_photo(bomb, folder)


@pytest.mark.parametrize("said", [b"", b"{", b"\xff", b"[]", b'"ok"', b"null", b"[" * 16_000])
def test_a_childs_last_words_may_be_nonsense(said: bytes) -> None:
    assert _understood(bytearray(said)) is None


def test_a_child_needs_room() -> None:
    with pytest.raises(ValueError, match="160 MB"):
        ChildImageProcessor(kit, memory_mb=159)


async def test_closing_what_never_started() -> None:
    await ChildImageProcessor(kit).aclose()


async def test_the_parent_never_loads_an_image_library(tmp_path: Path) -> None:
    photos.save_photo(portrait(), tmp_path / "photo.jpg")
    code = f"""
import asyncio, sys
from pathlib import Path
from visiona.adapters.imaging import ChildImageProcessor
from visiona.adapters.provenance import development_kit

async def main():
    processor = ChildImageProcessor(lambda: development_kit(Path({str(tmp_path)!r})))
    folder = Path({str(tmp_path)!r})
    print((await processor.process_photo(folder / "photo.jpg", folder)).faces)
    await processor.aclose()

asyncio.run(main())
print({IMAGE_LIBRARIES!r} & set(sys.modules))
"""
    assert await _run(code) == "1\nset()\n"


async def _run(code: str) -> str:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=subprocess.PIPE)
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode()


# --- a provider's pictures ---


@pytest.mark.parametrize(
    ("form", "content_type", "tolerance"),
    [("JPEG", "image/jpeg", 3.5), ("WEBP", "image/webp", 4), ("PNG", "image/png", 2.5)],  # the watermark,
)
async def test_generated_images_keep_format_and_size(
    processor: ChildImageProcessor,
    tmp_path: Path,
    folder: Path,
    form: Format,
    content_type: str,
    tolerance: float,
) -> None:
    source = tmp_path / "out-0"
    photos.save_photo(portrait(), source, form)
    shown = pixels(source)
    source.write_bytes(source.read_bytes() + b"<script>alert(1)</script>")
    image = await processor.process_generated(source, folder)
    assert image.content_type == content_type
    assert image.faces is None
    assert image.warnings == ()
    assert_consistent(image)
    assert difference(pixels(image.master), shown) <= tolerance
    for path in folder.iterdir():
        for trace in (b"<script", photos.CAMERA_MAKE.encode(), photos.SECRET_COMMENT.encode()):
            assert trace not in path.read_bytes()


async def test_generated_images_may_be_small_or_large(
    processor: ChildImageProcessor, tmp_path: Path, folder: Path
) -> None:
    for size in ((64, 48), (2400, 3200)):
        buffer = io.BytesIO()
        portrait().resize(size).save(buffer, "WEBP", method=0)
        (tmp_path / "out").write_bytes(buffer.getvalue())
        image = await processor.process_generated(tmp_path / "out", folder)
        assert (image.width, image.height) == size
        assert_consistent(image)


@pytest.mark.parametrize("orientation", [3, 6])
async def test_generated_images_come_out_upright(
    processor: ChildImageProcessor, tmp_path: Path, folder: Path, orientation: int
) -> None:
    photos.save_photo(portrait(), tmp_path / "out", "JPEG", orientation=orientation)
    image = await processor.process_generated(tmp_path / "out", folder)
    assert difference(pixels(image.master), np.asarray(portrait(), np.int16)) < 4


@pytest.mark.parametrize(
    ("case", "code"),
    [
        ("truncated jpeg", "image_truncated"),
        ("truncated png", "image_truncated"),
        ("truncated webp", "image_truncated"),
        ("truncated heic", "unsupported_format"),
        ("lying header", "image_truncated"),
        ("png bomb", "image_too_many_pixels"),
        ("web page", "not_an_image"),
        ("empty", "file_empty"),
        ("avif", "unsupported_format"),
    ],
)
async def test_generated_images_are_not_trusted(
    processor: ChildImageProcessor, tmp_path: Path, folder: Path, case: str, code: str
) -> None:
    with pytest.raises(ImageRefused) as refused:
        await processor.process_generated(HOSTILE[case].make(tmp_path), folder)
    assert refused.value.code == code
    assert list(folder.iterdir()) == []
