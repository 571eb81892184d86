"""Objects: any size, any range, and nothing passes that is not as it was sealed."""

import io
import tracemalloc
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import tink
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tink import secret_key_access, streaming_aead
from tink.proto import aes_gcm_hkdf_streaming_pb2, common_pb2, tink_pb2

from visiona.vault.model import Cipher, Unreadable
from visiona.vault.stream import HEADER_BYTES, SEGMENT_BYTES, START_BYTES, is_sealed, owner_of

PLACE = "u7/photos/1.jpg"
CIPHER = Cipher(7, bytes(range(32)))
FIRST = SEGMENT_BYTES - 40 - 16
OTHER = SEGMENT_BYTES - 16
# Around each border of a segment.
SIZES = [
    0,
    1,
    FIRST - 1,
    FIRST,
    FIRST + 1,
    FIRST + OTHER - 1,
    FIRST + OTHER,
    FIRST + OTHER + 1,
    3 * 2**20 + 5,
]


class Stored:
    """A sealed object, and how much of it was read."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.read_bytes = 0

    async def read(self, start: int, end: int) -> AsyncIterator[bytes]:
        async def pieces() -> AsyncIterator[bytes]:
            for position in range(start, min(end, len(self.data)), 10_007):
                piece = self.data[position : min(position + 10_007, end)]
                self.read_bytes += len(piece)
                yield piece

        return pieces()

    async def open(
        self, cipher: Cipher = CIPHER, place: str = PLACE, wanted: tuple[int, int] | None = None
    ) -> bytes:
        pieces = cipher.open_object(place, self.read, len(self.data), wanted)
        return b"".join([piece async for piece in pieces])


def content(size: int) -> bytes:
    return bytes((position * 131 + position // 251) % 256 for position in range(size))


LONG = content(3 * 2**20 + 5)


def sealed(tmp_path: Path, data: bytes, cipher: Cipher = CIPHER, place: str = PLACE) -> Stored:
    (tmp_path / "plain").write_bytes(data)
    cipher.seal_file(place, tmp_path / "plain", tmp_path / "sealed")
    return Stored((tmp_path / "sealed").read_bytes())


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    return sealed(tmp_path_factory.mktemp("long"), LONG)


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    return sealed(tmp_path_factory.mktemp("short"), LONG[: FIRST + OTHER + 99])


@pytest.mark.parametrize("size", SIZES)
async def test_what_is_sealed_opens_again_whole_and_says_whose_it_is(tmp_path: Path, size: int) -> None:
    data = LONG[:size]
    stored = sealed(tmp_path, data)
    assert await stored.open() == data
    CIPHER.open_file(PLACE, tmp_path / "sealed", tmp_path / "opened")
    assert (tmp_path / "opened").read_bytes() == data
    assert Cipher.plain_size(len(stored.data)) == size
    assert is_sealed(stored.data[:4])
    assert owner_of(stored.data[:HEADER_BYTES]) == 7
    assert data[:100] not in stored.data or size < 100


@given(start=st.integers(0, len(LONG) + 10), length=st.integers(1, 200_000))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
async def test_any_range_is_read_by_its_segments_alone(long: Stored, start: int, length: int) -> None:
    before = long.read_bytes
    assert await long.open(wanted=(start, start + length)) == LONG[start : start + length]
    spared = long.read_bytes - before - length
    assert spared <= START_BYTES + 2 * SEGMENT_BYTES + 40  # the beginning, and what its ends lie in


@given(position=st.integers(0, FIRST + OTHER + 99), bit=st.integers(0, 7))
@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
async def test_no_bit_can_be_changed(short: Stored, position: int, bit: int) -> None:
    changed = bytearray(short.data)
    changed[position] ^= 1 << bit
    with pytest.raises(Unreadable):
        await Stored(bytes(changed)).open()


def _segments(data: bytes) -> tuple[bytes, list[bytes]]:
    """What comes before the segments, and they."""
    ends = range(HEADER_BYTES + SEGMENT_BYTES, len(data) + SEGMENT_BYTES, SEGMENT_BYTES)
    return data[:START_BYTES], [data[max(START_BYTES, end - SEGMENT_BYTES) : end] for end in ends]


@pytest.mark.parametrize(
    "mangle",
    [
        lambda parts: parts[:-1],
        lambda parts: [*parts, parts[-1]],
        lambda parts: [*parts[:-1], parts[-1] + b"\0"],
        lambda parts: [*parts[:-1], parts[-1][:-1]],
        lambda parts: [parts[0], parts[2], parts[1], *parts[3:]],
        lambda parts: [parts[0], parts[1], parts[1], *parts[3:]],
        lambda parts: [parts[0], *parts[2:]],
        lambda _: [],
    ],
    ids=["cut", "repeated end", "longer", "shorter", "moved", "copied", "left out", "nothing"],
)
async def test_no_segment_can_be_moved_or_left_out(
    long: Stored, tmp_path: Path, mangle: Callable[[list[bytes]], list[bytes]]
) -> None:
    start, parts = _segments(long.data)
    assert start + b"".join(parts) == long.data
    stored = Stored(start + b"".join(mangle(parts)))
    with pytest.raises(Unreadable):
        await stored.open()
    (tmp_path / "sealed").write_bytes(stored.data)
    with pytest.raises(Unreadable):
        CIPHER.open_file(PLACE, tmp_path / "sealed", tmp_path / "opened")
    assert not (tmp_path / "opened").exists()


async def test_segments_of_two_objects_do_not_mix(tmp_path: Path) -> None:
    one, other = sealed(tmp_path, LONG), sealed(tmp_path, LONG)
    start, parts = _segments(one.data)
    with pytest.raises(Unreadable):
        await Stored(start + b"".join([*parts[:2], _segments(other.data)[1][2], *parts[3:]])).open()


async def test_it_opens_at_its_own_place_for_its_own_person_only(short: Stored) -> None:
    same_key = bytes(range(32))
    for cipher, place in (
        (CIPHER, "u7/photos/2.jpg"),
        (Cipher(8, same_key), PLACE),
        (Cipher(7, bytes(32)), PLACE),
    ):
        with pytest.raises(Unreadable):
            await short.open(cipher, place)
    relabelled = bytearray(short.data)
    relabelled[HEADER_BYTES - 1] = 8
    with pytest.raises(Unreadable):
        await Stored(bytes(relabelled)).open(Cipher(8, same_key))


def test_sealing_and_opening_need_no_more_memory_for_more(tmp_path: Path) -> None:
    size = 64 * 2**20
    with (tmp_path / "plain").open("wb") as file:
        file.truncate(size)
    tracemalloc.start()
    try:
        CIPHER.seal_file(PLACE, tmp_path / "plain", tmp_path / "sealed")
        CIPHER.open_file(PLACE, tmp_path / "sealed", tmp_path / "opened")
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
    assert (tmp_path / "opened").stat().st_size == size


def _tink() -> streaming_aead.StreamingAead:
    """Google's implementation with the key, segment size and parameters of `CIPHER`."""
    key = aes_gcm_hkdf_streaming_pb2.AesGcmHkdfStreamingKey(
        key_value=CIPHER._objects,
        params=aes_gcm_hkdf_streaming_pb2.AesGcmHkdfStreamingParams(
            ciphertext_segment_size=SEGMENT_BYTES,
            derived_key_size=32,
            hkdf_hash_type=common_pb2.SHA256,
        ),
    )
    keyset = tink_pb2.Keyset(
        primary_key_id=1,
        key=[
            tink_pb2.Keyset.Key(
                key_data=tink_pb2.KeyData(
                    type_url="type.googleapis.com/google.crypto.tink.AesGcmHkdfStreamingKey",
                    value=key.SerializeToString(),
                    key_material_type=tink_pb2.KeyData.SYMMETRIC,
                ),
                status=tink_pb2.ENABLED,
                key_id=1,
                output_prefix_type=tink_pb2.RAW,
            )
        ],
    )
    streaming_aead.register()
    handle = tink.proto_keyset_format.parse(keyset.SerializeToString(), secret_key_access.TOKEN)
    return handle.primitive(streaming_aead.StreamingAead)


@pytest.mark.parametrize("size", SIZES)
async def test_it_is_what_tink_writes_and_reads(tmp_path: Path, size: int) -> None:
    data, primitive = LONG[:size], _tink()
    stored = sealed(tmp_path, data)
    header, about = stored.data[:HEADER_BYTES], stored.data[:HEADER_BYTES] + PLACE.encode()
    with primitive.new_decrypting_stream(io.BytesIO(stored.data[HEADER_BYTES:]), about) as opened:
        assert opened.read() == data
    target = Kept()
    with primitive.new_encrypting_stream(target, about) as writer:
        writer.write(data)
    assert await Stored(header + target.kept).open() == data


class Kept(io.BytesIO):
    """What was in it when it was closed."""

    kept = b""

    def close(self) -> None:
        if not self.closed:
            self.kept = self.getvalue()
        super().close()
