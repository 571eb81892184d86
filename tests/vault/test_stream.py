"""Objects: any size, any range, and nothing passes that is not as it was sealed."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from visiona.vault.model import Cipher
from visiona.vault.stream import HEADER_BYTES, SEGMENT_BYTES, is_sealed, owner_of

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
