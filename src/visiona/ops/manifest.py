"""What a backup says of itself. Pure."""

from datetime import datetime
from typing import Literal

import msgspec

SEGMENTS_PER_LOG = 256
"""Files of 16 MiB, PostgreSQL's own size."""

Mode = Literal["physical", "logical"]


class Piece(msgspec.Struct, frozen=True):
    """One stored file of a stream: its size and the SHA-256 of its bytes as they are stored."""

    size: int
    sha256: str


class Stream(msgspec.Struct, frozen=True):
    """Bytes cut into pieces, in order; `size` and `sha256` are of the bytes themselves."""

    name: str
    size: int
    sha256: str
    pieces: list[Piece]

    @property
    def stored(self) -> int:
        return sum(piece.size for piece in self.pieces)


class ObjectCopy(msgspec.Struct, frozen=True):
    """An object of the store; its bytes, sealed as they are there, lie under their SHA-256."""

    key: str
    size: int
    sha256: str


class AuditHead(msgspec.Struct, frozen=True):
    """How long the chain of the audit log was, and the hash it ended with."""

    seq: int
    hash: str


class LogRange(msgspec.Struct, frozen=True, kw_only=True):
    """The files of the write-ahead log that a physical set needs, and the place of its moment in it."""

    system: str
    first: str
    last: str
    lsn: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """A set: the database at `moment`, and every object that its rows name.

    `database` is a tar of the server's files, or a dump; `objects` lists copies, a line of JSON each.
    `missing` are objects that rows name and the store did not have. `files` are small files of the data
    folder that the rows are of no use without.
    """

    version: int = 1
    id: str
    mode: Mode
    release: str
    server: int
    started_at: datetime
    moment: datetime
    finished_at: datetime
    migrations: list[str]
    counts: dict[str, int]
    audit: AuditHead | None
    database: Stream
    objects: Stream
    object_count: int
    object_bytes: int
    missing: list[str]
    files: dict[str, bytes]
    log: LogRange | None

    @property
    def size(self) -> int:
        """Bytes to read for a restore, but for the log."""
        return self.database.stored + self.objects.stored + self.object_bytes


class LogHead(msgspec.Struct, frozen=True, kw_only=True):
    """The last file of the log that was shipped under one key; it holds all that was committed by `until`."""

    last: str
    until: datetime


def is_segment(name: str) -> bool:
    """Whether this is a file of the log, and none of the notes beside them."""
    return len(name) == 24 and not set(name) - set("0123456789ABCDEF")


def timeline_of(name: str) -> int:
    return int(name[:8], 16)


def number_of(segment: str) -> int:
    """Its place in the log, whatever its timeline."""
    return int(segment[8:16], 16) * SEGMENTS_PER_LOG + int(segment[16:24], 16)


def segment_name(timeline: int, number: int) -> str:
    high, low = divmod(number, SEGMENTS_PER_LOG)
    return f"{timeline:08X}{high:08X}{low:08X}"


def segment_of(timeline: int, lsn: str) -> str:
    """The file of the log that holds this position (`0/3000148`)."""
    return segment_name(timeline, position_of(lsn) >> 24)


def position_of(lsn: str) -> int:
    """In bytes from the log's beginning."""
    high, _, low = lsn.partition("/")
    return (int(high, 16) << 32) + int(low, 16)
