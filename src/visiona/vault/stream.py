"""Sealing what is too large for memory: authenticated encryption in segments.

After Visiona's own header (a version and whose key it is) follows the wire format of Tink's
streaming AEAD of type AES256_GCM_HKDF: a salt and a nonce prefix, then segments of 64 KiB, each with
a tag of its own. A segment's nonce holds its number and whether it is the last, so that none can be
left out, moved, repeated, or cut off at the end. Any range is read by its segments alone.
"""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

SEGMENT_BYTES = 64 * 1024
HEADER_BYTES = 12

_MAGIC = b"\xf8VO\x01"  # no image, archive or text begins so
MAGIC_BYTES = len(_MAGIC)
_OWNER_BYTES = 8
_KEY_BYTES = 32
_PREFIX_BYTES = 7
_TAG_BYTES = 16
_STREAM_HEADER_BYTES = 1 + _KEY_BYTES + _PREFIX_BYTES

START_BYTES = HEADER_BYTES + _STREAM_HEADER_BYTES
"""How many bytes come before the first segment."""

ReadRange = Callable[[int, int], Awaitable[AsyncIterator[bytes]]]
"""Answers the bytes of the half-open range of what is stored, in pieces of any size."""


class Unreadable(Exception):
    """Not sealed by this key for this place, or not as it was sealed. Says nothing about the contents."""

    def __init__(self, place: str) -> None:
        super().__init__(f"what is kept for {place} cannot be opened")


def is_sealed(start: bytes) -> bool:
    """Whether an object that starts with these bytes (`MAGIC_BYTES` at least) is sealed."""
    return start.startswith(_MAGIC)


def owner_of(start: bytes) -> int:
    """The id of the person whose key opens it, as its header of 12 bytes says. Raises `ValueError`."""
    if len(start) < HEADER_BYTES or not is_sealed(start):
        raise ValueError("this is not sealed")
    return int.from_bytes(start[len(_MAGIC) : HEADER_BYTES], "big")


def plain_size(sealed_size: int) -> int:
    """How many bytes are in a sealed object of this size. Raises `ValueError` where there is none such."""
    stream = sealed_size - HEADER_BYTES
    segments = -(-stream // SEGMENT_BYTES)
    size = stream - _STREAM_HEADER_BYTES - segments * _TAG_BYTES
    if size < 0 or sealed_size != _sealed_size(size):
        raise ValueError("a sealed object cannot have this size")
    return size


def _sealed_size(size: int) -> int:
    first = SEGMENT_BYTES - _STREAM_HEADER_BYTES - _TAG_BYTES
    segments = 1 + max(0, -(-(size - first) // (SEGMENT_BYTES - _TAG_BYTES)))
    return START_BYTES + size + segments * _TAG_BYTES


@dataclass(frozen=True, slots=True)
class _Segment:
    """Where a segment is among the sealed bytes (`start`, `end`) and among the plain (`plain_start`)."""

    number: int
    start: int
    end: int
    plain_start: int
    last: bool


def _segment(number: int, sealed_size: int) -> _Segment:
    end = min(HEADER_BYTES + (number + 1) * SEGMENT_BYTES, sealed_size)
    start = START_BYTES if number == 0 else HEADER_BYTES + number * SEGMENT_BYTES
    plain_start = 0 if number == 0 else start - START_BYTES - number * _TAG_BYTES
    return _Segment(number, start, end, plain_start, end == sealed_size)


def _segment_at(position: int) -> int:
    """The number of the segment that holds the plain byte at `position`."""
    return (position + _STREAM_HEADER_BYTES) // (SEGMENT_BYTES - _TAG_BYTES) if position >= 0 else 0


class _Stream:
    """The key of one sealed object, and its segments' nonces."""

    def __init__(self, key: bytes, place: str, header: bytes, stream_header: bytes) -> None:
        salt = stream_header[1 : 1 + _KEY_BYTES]
        self._prefix = stream_header[1 + _KEY_BYTES :]
        self._place = place
        about = header + place.encode()
        self._cipher = AESGCM(HKDF(SHA256(), _KEY_BYTES, salt, about).derive(key))

    def seal(self, number: int, plain: bytes, *, last: bool) -> bytes:
        return self._cipher.encrypt(self._nonce(number, last), plain, None)

    def open(self, number: int, sealed: bytes, *, last: bool) -> bytes:
        try:
            return self._cipher.decrypt(self._nonce(number, last), sealed, None)
        except InvalidTag:
            raise Unreadable(self._place) from None

    def _nonce(self, number: int, last: bool) -> bytes:
        return self._prefix + number.to_bytes(4, "big") + bytes([last])


def seal_pieces(key: bytes, owner: int, place: str, source: BinaryIO) -> Iterator[bytes]:
    """The sealed bytes of what can be read from `source`, a segment at a time."""
    header = _MAGIC + owner.to_bytes(_OWNER_BYTES, "big")
    stream_header = bytes([_STREAM_HEADER_BYTES]) + os.urandom(_KEY_BYTES + _PREFIX_BYTES)
    stream = _Stream(key, place, header, stream_header)
    yield header + stream_header
    number = 0
    plain = source.read(SEGMENT_BYTES - _STREAM_HEADER_BYTES - _TAG_BYTES)
    while following := source.read(SEGMENT_BYTES - _TAG_BYTES):
        yield stream.seal(number, plain, last=False)
        number, plain = number + 1, following
    yield stream.seal(number, plain, last=True)


def _opened(key: bytes, owner: int, place: str, start: bytes) -> _Stream:
    """Reads what comes before the segments."""
    try:
        fits = owner_of(start) == owner
    except ValueError:
        fits = False
    if not fits or len(start) != START_BYTES or start[HEADER_BYTES] != _STREAM_HEADER_BYTES:
        raise Unreadable(place)
    return _Stream(key, place, start[:HEADER_BYTES], start[HEADER_BYTES:])


def open_pieces(key: bytes, owner: int, place: str, source: BinaryIO) -> Iterator[bytes]:
    """The plain bytes, a segment at a time; each was authenticated, but the whole is only at the end.

    Raises `Unreadable`.
    """
    stream = _opened(key, owner, place, source.read(START_BYTES))
    number = 0
    sealed = source.read(SEGMENT_BYTES - _STREAM_HEADER_BYTES)
    while following := source.read(SEGMENT_BYTES):
        yield stream.open(number, sealed, last=False)
        number, sealed = number + 1, following
    yield stream.open(number, sealed, last=True)


async def open_range(
    key: bytes, owner: int, place: str, read: ReadRange, sealed_size: int, byte_range: tuple[int, int]
) -> AsyncIterator[bytes]:
    """The half-open `byte_range` of the plain bytes, clipped to their end, by the segments that hold it.

    Raises `Unreadable`. What is cut off behind the range goes unnoticed unless the range reaches the
    end: `sealed_size` has to come from who stores it.
    """
    try:
        size = plain_size(sealed_size)
    except ValueError:
        raise Unreadable(place) from None
    begin, end = byte_range[0], min(byte_range[1], size)
    if begin >= end and not begin == end == size == 0:
        return
    first = _segment(_segment_at(begin), sealed_size)
    last = _segment(_segment_at(max(begin, end - 1)), sealed_size)
    if first.number == 0:
        pieces = _Pieces(await read(0, last.end))
        stream = _opened(key, owner, place, await pieces.take(START_BYTES))
    else:
        stream = _opened(key, owner, place, await _Pieces(await read(0, START_BYTES)).take(START_BYTES))
        pieces = _Pieces(await read(first.start, last.end))
    for number in range(first.number, last.number + 1):
        segment = _segment(number, sealed_size)
        sealed = await pieces.take(segment.end - segment.start)
        plain = stream.open(number, sealed, last=segment.last)
        wanted = plain[max(0, begin - segment.plain_start) : max(0, end - segment.plain_start)]
        if wanted:
            yield wanted


class _Pieces:
    """Pieces of any size, taken in the sizes that are needed."""

    def __init__(self, source: AsyncIterator[bytes]) -> None:
        self._source = source
        self._left = bytearray()

    async def take(self, size: int) -> bytes:
        """`size` bytes, or fewer where the source ends."""
        while len(self._left) < size:
            piece = await anext(self._source, None)
            if piece is None:
                break
            self._left += piece
        taken = bytes(self._left[:size])
        del self._left[:size]
        return taken
