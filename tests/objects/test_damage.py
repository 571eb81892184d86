"""What an object store may do to objects, and what is served of it: nothing."""

import asyncio
import hashlib
import logging
import random
import shutil
from pathlib import Path

import httpx
import pytest
from tests.factories.people import MakeUser
from tests.objects.conftest import PutBytes

from visiona.objects.service import ObjectService
from visiona.vault.model import Unreadable
from visiona.vault.stream import SEGMENT_BYTES, START_BYTES

SMALL, LARGE = 20_000, 700_000


async def fetched(web: httpx.AsyncClient, link: str, **headers: str) -> tuple[int, bytes, bool]:
    """Status, what came of a body, and whether all that was promised came."""
    received = b""
    async with web.stream("GET", link, headers=headers) as answer:
        try:
            async for piece in answer.aiter_raw():
                received += piece
        except httpx.RemoteProtocolError:
            return answer.status_code, received, False
    return answer.status_code, received, True


def no_more_than_what_was_before(plain: bytes, outcome: tuple[int, bytes, bool]) -> bool:
    """A refusal, or a true beginning of which the client knows that it broke off."""
    status, received, complete = outcome
    if status == 500:
        return plain[:50] not in received
    return not complete and plain.startswith(received) and len(received) < len(plain)


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_a_flipped_bit_is_never_served(
    web: httpx.AsyncClient, sealed: ObjectService, put_bytes: PutBytes, folder: Path, size: int
) -> None:
    plain = random.Random(size).randbytes(size)
    key = await put_bytes(plain)
    link, path = await sealed.link(key), folder / key
    stored = path.read_bytes()
    dice = random.Random(3)
    edges = [0, 4, 11, 12, 13, START_BYTES - 1, START_BYTES, len(stored) - 16, len(stored) - 1]
    edges += [place for place in (12 + SEGMENT_BYTES - 1, 12 + SEGMENT_BYTES) if place < len(stored)]
    assert await fetched(web, link) == (200, plain, True)
    for place in edges + [dice.randrange(len(stored)) for _ in range(25)]:
        damaged = bytearray(stored)
        damaged[place] ^= 1 << dice.randrange(8)
        path.write_bytes(damaged)
        assert no_more_than_what_was_before(plain, await fetched(web, link)), place
    path.write_bytes(stored)
    assert await fetched(web, link) == (200, plain, True)


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_what_was_cut_off_or_lengthened_is_never_served(
    web: httpx.AsyncClient, sealed: ObjectService, put_bytes: PutBytes, folder: Path, size: int
) -> None:
    plain = random.Random(size).randbytes(size)
    key = await put_bytes(plain)
    link, path = await sealed.link(key), folder / key
    stored = path.read_bytes()
    whole_segments = [12 + n * SEGMENT_BYTES for n in range(1, len(stored) // SEGMENT_BYTES + 1)]
    cuts = [0, 1, 12, START_BYTES, START_BYTES + 16, len(stored) // 2, len(stored) - 1, *whole_segments]
    for kept in cuts:
        path.write_bytes(stored[:kept])
        assert no_more_than_what_was_before(plain, await fetched(web, link)), kept
        part = await fetched(web, link, Range=f"bytes={size - 100}-")
        assert part[0] in {416, 500}
    for added in (b"\0", b"\0" * 16, b"\0" * SEGMENT_BYTES, stored[-16:], stored):
        path.write_bytes(stored + added)
        assert no_more_than_what_was_before(plain, await fetched(web, link))


async def test_segments_that_changed_places_are_never_served(
    web: httpx.AsyncClient, sealed: ObjectService, put_bytes: PutBytes, folder: Path
) -> None:
    plain = random.Random(5).randbytes(LARGE)
    key = await put_bytes(plain)
    path = folder / key
    stored = path.read_bytes()
    parts = [stored[12 + n * SEGMENT_BYTES : 12 + (n + 1) * SEGMENT_BYTES] for n in range(11)]
    for order in ([0, 2, 1, *range(3, 11)], [0, 1, 1, *range(3, 11)], [0, *range(2, 11)]):
        path.write_bytes(stored[:12] + b"".join(parts[n] for n in order))
        assert no_more_than_what_was_before(plain, await fetched(web, await sealed.link(key)))


async def test_files_that_changed_places_are_never_served(
    web: httpx.AsyncClient,
    sealed: ObjectService,
    put_bytes: PutBytes,
    make_user: MakeUser,
    folder: Path,
    tmp_path: Path,
) -> None:
    """Another person's under this key, and another of the same person's."""
    face = random.Random(6).randbytes(SMALL)
    own, other = await put_bytes(face), await put_bytes(face)
    foreign = await put_bytes(face, actor=await make_user())
    for source, target in ((own, foreign), (foreign, own), (other, own)):
        shutil.copy(folder / target, tmp_path / "kept")
        shutil.copy(folder / source, folder / target)
        status, received, _ = await fetched(web, await sealed.link(target))
        assert (status, face[:50] in received) == (500, False)
        shutil.copy(tmp_path / "kept", folder / target)
        assert await fetched(web, await sealed.link(target)) == (200, face, True)


async def test_plain_bytes_in_the_store_are_never_served(
    web: httpx.AsyncClient, sealed: ObjectService, put_bytes: PutBytes, folder: Path
) -> None:
    """Whoever can write to the store cannot show people pictures of their own."""
    key = await put_bytes(b"a face")
    (folder / key).write_bytes(b"RIFF\0\0\0\0WEBP" + bytes(5_000))
    assert (await fetched(web, await sealed.link(key)))[0] == 500


async def test_damage_is_logged_with_the_name_of_the_object_and_nothing_else(
    web: httpx.AsyncClient,
    sealed: ObjectService,
    put_bytes: PutBytes,
    folder: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    small, large = await put_bytes(bytes(SMALL)), await put_bytes(bytes(LARGE))
    for key in (small, large):
        with (folder / key).open("r+b") as file:
            file.seek(-1, 2)
            file.write(bytes([file.read(1)[0] ^ 1]))
    for key, expected in ((small, 500), (large, 200)):
        caplog.clear()
        # Servers of other tests may have silenced theirs, which are all of one name.
        with caplog.at_level(logging.INFO), caplog.at_level(logging.INFO, logger="uvicorn.error"):
            status, _, _ = await fetched(web, await sealed.link(key))
            errors = await _errors(caplog)
        assert status == expected
        assert len(errors) == 1
        told = logging.Formatter().format(errors[0])
        assert key in told
        assert "signature" not in told


async def _errors(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """The client may see that the answer broke off before the server has written why."""
    for _ in range(500):
        if errors := [record for record in caplog.records if record.levelno >= logging.ERROR]:
            return errors
        await asyncio.sleep(0.02)
    return []


async def test_a_photo_is_trained_with_only_as_its_row_knows_it(
    sealed: ObjectService, put_bytes: PutBytes
) -> None:
    key = await put_bytes(b"a face")
    another = hashlib.sha256(b"another face").hexdigest()
    with pytest.raises(Unreadable):
        await sealed.read(key, another)
    assert await sealed.read(key, hashlib.sha256(b"a face").hexdigest()) == b"a face"
