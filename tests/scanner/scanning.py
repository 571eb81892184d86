"""Reading everything that there is, of any size, and into whatever it is packed in."""

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.scanner import postgres, unpacking
from tests.scanner.needles import Needles
from tests.scanner.unpacking import Ended, Inflate, Unpacker

_READ: Final = 4 << 20
_OVERLAP: Final = 16 << 10
_FIRST: Final = 512
_DEEPEST: Final = 8


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """`place` is the file or column, with what it is packed in behind it; `form` is the disguise."""

    place: str
    name: str
    form: str


class Scan:
    """What is found gathers in `findings`; `size` is how many bytes were read. Memory does not grow with it.

    Nothing is looked into that is named in `without`: a kind of `unpacking.KINDS`, `deflate`, `pglz`, `lz4`,
    `pieces` (of long values) or `log` (of PostgreSQL).
    """

    def __init__(self, needles: Needles, without: Iterable[str] = ()) -> None:
        self.needles = needles
        self.without = frozenset(without)
        self.beginnings = unpacking.Beginnings(self.without)
        self.findings: set[Finding] = set()
        self.size = 0

    def data(self, place: str, data: bytes, *, server: bool = False) -> None:
        """`server` says that it is a file of PostgreSQL's."""
        self.pieces(place, [data], server=server)

    def pieces(self, place: str, pieces: Iterable[bytes], *, server: bool = False) -> None:
        """Pieces that follow each other."""
        stream = Stream(self, place, 0, server=server)
        for piece in pieces:
            self.size += len(piece)
            stream.feed(piece)
        stream.close()

    def file(self, path: Path, place: str, *, server: bool = False) -> None:
        self.pieces(place, _read(path), server=server)

    def folder(
        self, root: Path, place: str, *, server: bool = False, skip: Iterable[str] = (), since: float = 0
    ) -> None:
        """Every file below it that was written `since`, but in what is named in `skip`; names are looked at,
        too.
        """
        left_out = [root / name for name in skip]
        for path in sorted(root.rglob("*")):
            if any(path.is_relative_to(other) for other in left_out):
                continue
            name = f"{place}/{path.relative_to(root)}"
            self.findings |= {Finding(name, *found) for found in self.needles.found(name.encode())}
            if path.is_file() and not path.is_symlink() and path.stat().st_mtime >= since:
                self.file(path, name, server=server)

    def log(self, paths: Iterable[Path], place: str) -> None:
        """Files of PostgreSQL's log, in their order, as the values in it are written: over their borders."""
        if "log" in self.without:
            return
        log = postgres.Log(self.without)
        stream, images = (Stream(self, f"{place} > {what}", 1, server=True) for what in ("log", "images"))
        for path in paths:
            for data in _read(path):
                pages = [data[at : at + postgres.PAGE] for at in range(0, len(data), postgres.PAGE)]
                pages = [page for page in pages if postgres.is_log(page)]
                stream.feed(b"".join(map(log.body, pages)))
                for page in pages:
                    for image in log.images(page):
                        images.feed(image)
        stream.close()
        images.close()


class Stream:
    """One thing that is read, or comes out of another."""

    def __init__(self, scan: Scan, place: str, depth: int, *, server: bool) -> None:
        self._scan = scan
        self._place = place
        self._depth = depth
        self._server = server
        self._tail = b""
        self._open: list[tuple[Unpacker, Stream]] = []
        self._long_values = postgres.Pieces()
        self._begun = False

    def feed(self, data: bytes) -> None:
        if not data:
            return
        self._open = [one for one in self._open if _goes_on(*one, data)]
        if not self._begun and "deflate" not in self._scan.without and self._depth < _DEEPEST:
            self._unpack("deflate", Inflate(-zlib.MAX_WBITS), data, 0)  # what shows its beginning is below
        self._begun = True
        self._look(self._tail + data, len(self._tail), last=False)

    def close(self) -> None:
        self._look(self._tail, len(self._tail), last=True)
        for _, inner in self._open:
            inner.close()
        for value in self._long_values.rest():
            self._long_value(value)

    def _look(self, window: bytes, new_from: int, *, last: bool) -> None:
        """What begins in the overlap is looked at once its end must be there."""
        keep = 0 if last else min(len(window), _OVERLAP)
        if new_from < len(window):
            start = max(0, new_from - self._scan.needles.longest)
            self._scan.findings |= {
                Finding(self._place, *found) for found in self._scan.needles.found(window[start:])
            }
        until = len(window) - keep
        if self._depth < _DEEPEST:
            self._find_packed(window, until)
        if self._server:
            self._find_values(window, until)
        self._tail = window[until:]

    def _find_packed(self, window: bytes, until: int) -> None:
        for start, kind in self._scan.beginnings.find(window[: until + unpacking.LONGEST_BEGINNING]):
            if start < until:
                self._unpack(kind, unpacking.KINDS[kind][2](), window, start)

    def _unpack(self, kind: str, unpacker: Unpacker, window: bytes, start: int) -> None:
        """Most of what looks like a beginning is none, which shows at once."""
        inner = Stream(self._scan, f"{self._place} > {kind}", self._depth + 1, server=self._server)
        first = start + _FIRST
        if _goes_on(unpacker, inner, window[start:first]) and (
            first >= len(window) or _goes_on(unpacker, inner, window[first:])
        ):
            self._open.append((unpacker, inner))

    def _find_values(self, window: bytes, until: int) -> None:
        for at, length in postgres.compressed_values(window):
            if at < until and at + length <= len(window):
                self._compressed(window[at + 4 : at + length])
        if "pieces" not in self._scan.without:
            for at, value, number, piece in postgres.value_pieces(window):
                if at < until:
                    for whole in self._long_values.add(value, number, piece):
                        self._long_value(whole)

    def _long_value(self, value: bytes) -> None:
        self._inner("pieces", value)
        if len(value) > 8:
            self._compressed(value)

    def _compressed(self, data: bytes) -> None:
        try:
            method, value = postgres.decompressed(data, self._scan.without)
        except postgres.NotThat:
            return
        self._inner(method, value)

    def _inner(self, kind: str, data: bytes) -> None:
        inner = Stream(self._scan, f"{self._place} > {kind}", self._depth + 1, server=False)
        inner.feed(data)
        inner.close()


def _goes_on(unpacker: Unpacker, inner: Stream, data: bytes) -> bool:
    try:
        for piece in unpacker.feed(data):
            inner.feed(piece)
    except Ended:
        inner.close()
        return False
    return True


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while data := file.read(_READ):
            yield data
