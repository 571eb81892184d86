"""What is packed inside of something else, wherever it begins, unpacked as it comes by."""

import base64
import binascii
import bz2
import lzma
import re
import struct
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np

_PIECE: Final = 1 << 20


class Unpacker(ABC):
    """Takes what follows where something packed begins."""

    @abstractmethod
    def feed(self, data: bytes) -> Iterator[bytes]:
        """What is in it, piece by piece. Raises `Ended` when the rest is something else."""


class Ended(Exception):
    """It is over, or was never that; nothing is wrong with what came out of it before."""


class Inflate(Unpacker):
    """`bits` says which of the wrappings of deflate it is, as zlib does."""

    def __init__(self, bits: int) -> None:
        self._inflater = zlib.decompressobj(bits)

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data:
            try:
                piece = self._inflater.decompress(data, _PIECE)
            except zlib.error as error:
                raise Ended from error
            if piece:
                yield piece
            if self._inflater.eof:
                raise Ended
            data = self._inflater.unconsumed_tail


class Decompress(Unpacker):
    """By a decompressor of the standard library that takes pieces."""

    def __init__(self, decompressor: Any) -> None:
        self._decompressor = decompressor

    def feed(self, data: bytes) -> Iterator[bytes]:
        while True:
            try:
                piece = self._decompressor.decompress(data, _PIECE)
            except (OSError, EOFError, lzma.LZMAError) as error:
                raise Ended from error
            if piece:
                yield piece
            if self._decompressor.eof:
                raise Ended
            if self._decompressor.needs_input:
                return
            data = b""


class ZipLzma(Unpacker):
    """LZMA as in a ZIP, whose decompressor gives back all at once."""

    def __init__(self) -> None:
        self._decompressor: Any = zipfile.LZMADecompressor()  # type: ignore[attr-defined] # not in the stubs

    def feed(self, data: bytes) -> Iterator[bytes]:
        try:
            piece = self._decompressor.decompress(data)
        except (EOFError, lzma.LZMAError, struct.error) as error:
            raise Ended from error
        if piece:
            yield piece
        if self._decompressor.eof:
            raise Ended


_MEMBERS: Final[dict[int, Callable[[], Unpacker]]] = {
    8: lambda: Inflate(-zlib.MAX_WBITS),
    14: ZipLzma,
}


class ZipMember(Unpacker):
    """From a local header on: the directory at the archive's end may be missing. What is only stored is
    seen without unpacking, and so is what shows by itself how it is packed, as bzip2 does.
    """

    def __init__(self) -> None:
        self._header = b""
        self._inner: Unpacker | None = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        if self._inner is None:
            self._header += data
            if len(self._header) < 30:
                return
            method, name, extra = (struct.unpack_from("<H", self._header, at)[0] for at in (8, 26, 28))
            if method not in _MEMBERS:
                raise Ended
            start = 30 + name + extra
            if len(self._header) < start:
                return
            self._inner = _MEMBERS[method]()
            data, self._header = self._header[start:], b""
        yield from self._inner.feed(data)


class Png(Unpacker):
    """The pixels, whose stream is cut into chunks. Other chunks have streams of their own."""

    def __init__(self) -> None:
        self._buffer = b""
        self._pixels = Inflate(zlib.MAX_WBITS)
        self._left = 0
        self._is_pixels = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        self._buffer += data
        if self._left == 0 and self._buffer.startswith(b"\x89PNG"):
            if len(self._buffer) < 8:
                return
            self._buffer = self._buffer[8:]
        while True:
            if self._left == 0:
                if len(self._buffer) < 8:
                    return
                length, kind = struct.unpack_from(">I4s", self._buffer)
                if not kind.isalpha() or kind == b"IEND":
                    raise Ended
                self._left, self._is_pixels = length + 4, kind == b"IDAT"  # a checksum ends each
                self._buffer = self._buffer[8:]
            taken = self._buffer[: self._left]
            self._buffer = self._buffer[len(taken) :]
            self._left -= len(taken)
            if self._is_pixels:
                yield from self._pixels.feed(taken[: len(taken) - max(0, 4 - self._left)])
            if self._left:
                return


class Base64(Unpacker):
    """Of something packed: that it is shows in its first letters."""

    def __init__(self) -> None:
        self._letters = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        run = _NO_LETTERS.split(data, maxsplit=1)
        self._letters += _LINE_ENDS.sub(b"", run[0])
        whole = len(self._letters) if len(run) > 1 else len(self._letters) - len(self._letters) % 4
        letters, self._letters = self._letters[:whole], self._letters[whole:]
        try:
            piece = base64.b64decode(letters + b"=" * (-len(letters) % 4), b"+/")
        except binascii.Error as error:
            raise Ended from error
        if piece:
            yield piece
        if len(run) > 1:
            raise Ended


_NO_LETTERS: Final = re.compile(rb"[^A-Za-z0-9+/\r\n]")
_LINE_ENDS: Final = re.compile(rb"[\r\n]+")

KINDS: Final[dict[str, tuple[tuple[bytes, ...], bytes, Callable[[], Unpacker]]]] = {
    "gzip": ((b"\x1f\x8b",), rb"\x1f\x8b\x08", lambda: Inflate(zlib.MAX_WBITS | 16)),
    "zlib": (
        (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda"),
        rb"\x78[\x01\x5e\x9c\xda]",
        lambda: Inflate(zlib.MAX_WBITS),
    ),
    "bz2": (
        (b"BZ",),
        rb"BZh[1-9](?:1AY&SY|\x17\x72\x45)",
        lambda: Decompress(bz2.BZ2Decompressor()),
    ),
    "xz": ((b"\xfd7",), rb"\xfd7zXZ\x00", lambda: Decompress(lzma.LZMADecompressor(lzma.FORMAT_XZ))),
    "lzma": (
        (b"\x5d\x00",),
        rb"\x5d\x00\x00..\xff{8}",
        lambda: Decompress(lzma.LZMADecompressor(lzma.FORMAT_ALONE)),
    ),
    "zip": ((b"PK",), rb"PK\x03\x04", ZipMember),
    "png": ((b"\x89P",), rb"\x89PNG\r\n\x1a\n", Png),
    "base64": (
        (b"H4", b"eJ", b"eN", b"UE", b"iV", b"/T", b"Ql"),
        rb"(?:H4sI|eJ[wyxz]|eN[op]|UEsDB|iVBORw0KGgo|/Td6WFo|QlpoO)[A-Za-z0-9+/]{5}",
        Base64,
    ),
}
"""The two bytes with which each begins, how it goes on, and what unpacks it."""

LONGEST_BEGINNING: Final = 32


class Beginnings:
    """Finds where something packed begins, of any kind but those `without`."""

    def __init__(self, without: frozenset[str]) -> None:
        self._kinds = {kind: re.compile(how, re.DOTALL) for kind, (_, how, _) in KINDS.items()}
        self._may = np.zeros(1 << 16, bool)
        self._by_two: dict[bytes, str] = {}
        for kind, (starts, _, _) in KINDS.items():
            if kind not in without:
                for two in starts:
                    self._may[int.from_bytes(two, "little")] = True
                    self._by_two[two] = kind

    def find(self, data: bytes) -> list[tuple[int, str]]:
        """Places and kinds, in their order."""
        found: list[tuple[int, str]] = []
        for shift in range(min(2, len(data))):
            words = np.frombuffer(data, "<u2", (len(data) - shift) // 2, shift)
            for hit in np.nonzero(self._may[words])[0].tolist():
                start = hit * 2 + shift
                kind = self._by_two[data[start : start + 2]]
                if self._kinds[kind].match(data, start):
                    found.append((start, kind))
        return sorted(found)
