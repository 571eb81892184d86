"""What PostgreSQL packs inside of its files: long values, compressed and cut into pieces, and its log.

Pages are not taken apart by their line pointers: what these point to no more is still there to be read.
Values are known by their headers instead, wherever they are: in tables, indexes, free space and the log.
"""

import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

import numpy as np

PAGE: Final = 8192
_LONGEST_IN_PAGE: Final = 8160
_LARGEST: Final = 1 << 30
_CHUNK: Final = 2000


class NotThat(ValueError):
    """It is not compressed in this way, though it looked like it."""


def pglz(data: bytes, size: int) -> bytes:
    """PostgreSQL's own compression: eight tokens after each byte that says which of them are copies."""
    out, at = bytearray(), 0
    try:
        while len(out) < size:
            control = data[at]
            at += 1
            for bit in range(8):
                if len(out) >= size:
                    break
                if not control >> bit & 1:
                    out.append(data[at])
                    at += 1
                    continue
                length, back = (data[at] & 15) + 3, (data[at] & 240) << 4 | data[at + 1]
                at += 2
                if length == 18:
                    length += data[at]
                    at += 1
                _copy(out, back, min(length, size - len(out)))
    except IndexError as error:
        raise NotThat from error
    if at != len(data):
        raise NotThat
    return bytes(out)


def lz4(data: bytes, size: int) -> bytes:
    """One block of LZ4."""
    out, at = bytearray(), 0
    try:
        while at < len(data):
            token = data[at]
            count, at = _length(data, at + 1, token >> 4)
            out += data[at : at + count]
            at += count
            if at >= len(data):
                break
            back = data[at] | data[at + 1] << 8
            length, at = _length(data, at + 2, token & 15)
            _copy(out, back, length + 4)
            if len(out) > size:
                raise NotThat
    except IndexError as error:
        raise NotThat from error
    if len(out) != size:
        raise NotThat
    return bytes(out)


def _length(data: bytes, at: int, length: int) -> tuple[int, int]:
    if length == 15:
        while (more := data[at]) == 255:
            length, at = length + 255, at + 1
        length, at = length + more, at + 1
    return length, at


def _copy(out: bytearray, back: int, length: int) -> None:
    if not 0 < back <= len(out):
        raise NotThat
    for _ in range(length):
        out.append(out[-back])


_METHODS: Final = {0: ("pglz", pglz), 1: ("lz4", lz4)}


def compressed_values(data: bytes) -> Iterator[tuple[int, int]]:
    """Where there may be one: (its place, its length with the header of eight bytes)."""
    for shift in range(4):
        count = (len(data) - shift) // 4
        if count < 3:
            continue
        words = np.frombuffer(data, "<u4", count, shift)
        header, info = words[:-1], words[1:]
        length = header >> np.uint32(2)
        raw = info & np.uint32(_LARGEST - 1)
        fits = (header & 3 == 2) & (length > 16) & (length <= _LONGEST_IN_PAGE) & (info >> np.uint32(30) <= 1)
        fits &= (raw > length - 8) & (raw < length * 256)
        for hit in np.nonzero(fits)[0].tolist():
            yield hit * 4 + shift, int(length[hit])


def decompressed(data: bytes, without: frozenset[str]) -> tuple[str, bytes]:
    """The method and the value, from what follows the length: the size and the method, and then it.

    Raises `NotThat`.
    """
    (info,) = struct.unpack_from("<I", data)
    name, method = _METHODS.get(info >> 30, ("", None))
    if method is None or name in without:
        raise NotThat
    return name, method(data[4:], info & (_LARGEST - 1))


def value_pieces(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Rows of tables in which long values lie in pieces: (place, value, number of the piece, piece).

    In a page and in the log alike there is before it: how many columns (2 bytes), bits (2), and that the data
    begins at 24 (1), which is where the next but one byte is.
    """
    if len(data) < 20:
        return
    octets = np.frombuffer(data, np.uint8)
    last = len(octets) - 19
    columns, more, begins = octets[:last], octets[1 : last + 1], octets[4 : last + 4]
    high, highest = octets[12 : last + 12], octets[13 : last + 13]
    (hits,) = np.nonzero((begins == 24) & (columns == 3) & (more & 7 == 0) & (high == 0) & (highest == 0))
    for hit in hits.tolist():
        value, number, header = struct.unpack_from("<III", data, hit + 6)
        start, length = hit + 18, 0
        if header & 3 == 0 and 4 < header >> 2 <= _CHUNK:
            length = (header >> 2) - 4
        elif header & 1 and header & 255 != 1:
            start, length = hit + 15, (header >> 1 & 127) - 1
        if length and value and start + length <= len(data):
            yield hit, value, number, data[start : start + length]


class Pieces:
    """Long values, of the pieces that have come by; forgotten when there are many, after a last look."""

    _MOST = 64 << 20

    def __init__(self) -> None:
        self._known: dict[int, dict[int, bytes]] = {}
        self._size = 0

    def add(self, value: int, number: int, piece: bytes) -> Iterator[bytes]:
        known = self._known.setdefault(value, {})
        if number in known and known[number] != piece:  # another value of the same number
            yield from self._whole(self._known.pop(value))
            known = self._known.setdefault(value, {})
        known[number] = piece
        self._size += len(piece)
        if self._size > self._MOST:
            yield from self.rest()

    def rest(self) -> Iterator[bytes]:
        for pieces in self._known.values():
            yield from self._whole(pieces)
        self._known, self._size = {}, 0

    @staticmethod
    def _whole(pieces: dict[int, bytes]) -> Iterator[bytes]:
        yield b"".join(pieces[number] for number in sorted(pieces))


# The log

_LAST_BLOCK, _DATA, _LONG_DATA = 32, 255, 254
_OTHERS: Final = {253: 3, 252: 5}  # where a record comes from, and of which transaction
_HAS_IMAGE, _SAME_TABLE = 0x10, 0x80
_IMAGE_HAS_HOLE, _IMAGE_PGLZ, _IMAGE_LZ4 = 0x01, 0x04, 0x08
_MOST_OF_RECORD: Final = 1 << 26


def is_log(page: bytes) -> bool:
    """Whether a page of the log begins here."""
    return len(page) >= 24 and 0xD100 <= struct.unpack_from("<H", page)[0] < 0xD200


class Log:
    """Pages of the log, in their order: without the headers between which a value may be cut."""

    def __init__(self, without: frozenset[str]) -> None:
        self._without = without
        self._expected = -1
        self._buffer = b""

    def body(self, page: bytes) -> bytes:
        (bits,) = struct.unpack_from("<H", page, 2)
        return page[40 if bits & 2 else 24 :]

    def images(self, page: bytes) -> Iterator[bytes]:
        """Pages of tables that lie compressed in records that end with this page."""
        address, rest = struct.unpack_from("<QI", page, 8)
        if address != self._expected or rest == 0:
            self._buffer = b""
        self._expected = address + PAGE
        body = self.body(page)
        buffer = self._buffer + body if self._buffer else body[_aligned(rest) :]
        at = 0
        while len(buffer) - at >= 24:
            (total,) = struct.unpack_from("<I", buffer, at)
            if not 24 <= total <= _MOST_OF_RECORD:
                at = len(buffer)
                break
            if len(buffer) - at < total:
                break
            yield from _images(buffer[at : at + total], self._without)
            at += _aligned(total)
        self._buffer = buffer[at:]


def _aligned(size: int) -> int:
    return size + -size % 8


def _images(record: bytes, without: frozenset[str]) -> Iterator[bytes]:
    try:
        yield from _unpacked_images(record, without)
    except (
        struct.error,
        IndexError,
        KeyError,
    ):  # what is left of an older log, of which the beginning was written over
        return


def _unpacked_images(record: bytes, without: frozenset[str]) -> Iterator[bytes]:
    at, payload = 24, 0
    blocks: list[tuple[int, int, int]] = []  # bytes in the record, bytes of the page where it is packed, how
    while at < len(record) - payload:
        kind = record[at]
        if kind <= _LAST_BLOCK:
            bits, length = struct.unpack_from("<BH", record, at + 1)
            size, raw, how, at = _image_header(record, at + 4) if bits & _HAS_IMAGE else (0, 0, 0, at + 4)
            at += 4 if bits & _SAME_TABLE else 16
            blocks += [(size, raw, how), (length, 0, 0)]
            payload += size + length
        elif kind == _DATA:
            payload, at = payload + record[at + 1], at + 2
        elif kind == _LONG_DATA:
            payload, at = payload + struct.unpack_from("<I", record, at + 1)[0], at + 5
        else:
            at += _OTHERS[kind]
    for size, raw, how in blocks:
        name, method = _METHODS[1 if how & _IMAGE_LZ4 else 0]
        if raw and name not in without:
            with suppress(NotThat):
                yield method(record[at : at + size], raw)
        at += size


def _image_header(record: bytes, at: int) -> tuple[int, int, int, int]:
    """(bytes in the record, bytes of the page if it is packed else 0, how, where the header ends)"""
    size, _, how = struct.unpack_from("<HHB", record, at)
    at += 5
    if not how & (_IMAGE_PGLZ | _IMAGE_LZ4):
        return size, 0, how, at
    gap = 0
    if how & _IMAGE_HAS_HOLE:
        (gap,) = struct.unpack_from("<H", record, at)
        at += 2
    return size, PAGE - gap, how, at
