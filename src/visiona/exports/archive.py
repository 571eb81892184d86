"""The file that a person gets: a ZIP that any program opens, with the hash of everything in it."""

import hashlib
import json
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from visiona.core.clock import rfc3339

FORMAT: Final = "visiona-export/1"
MANIFEST: Final = "manifest.json"
_READABLE: Final = 0o644 << 16
_PIECE: Final = 1024 * 1024


class Entry:
    """A file that is being written."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.hash = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self.hash.update(data)
        self.size += len(data)

    def write_file(self, path: Path) -> None:
        with path.open("rb") as source:
            while piece := source.read(_PIECE):
                self.write(piece)


class Archive:
    """Written from front to back, at flat memory. Blocking."""

    def __init__(self, path: Path, now: datetime) -> None:
        self._zip = ZipFile(path, "w")
        self._now = now
        self._files: list[dict[str, Any]] = []
        self._missing: list[dict[str, str]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._zip.close()

    @contextmanager
    def entry(self, path: str, *, compressed: bool = True) -> Generator[Entry]:
        """One file; pictures are compressed by themselves."""
        with self._zip.open(self._info(path, compressed=compressed), "w") as file:
            entry = Entry(file)
            yield entry
        self._files.append({"path": path, "size": entry.size, "sha256": entry.hash.hexdigest()})

    def add(self, path: str, data: bytes, *, compressed: bool = True) -> None:
        with self.entry(path, compressed=compressed) as entry:
            entry.write(data)

    def miss(self, path: str, why: str) -> None:
        """Something that should be in here and cannot be had."""
        self._missing.append({"path": path, "why": why})

    def finish(self) -> None:
        """Write the manifest, which lists all other files."""
        facts = {
            "format": FORMAT,
            "made_at": rfc3339(self._now),
            "files": self._files,
            "missing": self._missing,
        }
        with self._zip.open(self._info(MANIFEST, compressed=True), "w") as file:
            for piece in json.JSONEncoder(indent=1, ensure_ascii=False).iterencode(facts):
                file.write(piece.encode())

    def _info(self, path: str, *, compressed: bool) -> ZipInfo:
        moment = self._now.astimezone(UTC)
        info = ZipInfo(path, moment.timetuple()[:6])
        info.compress_type = ZIP_DEFLATED if compressed else ZIP_STORED
        info.external_attr = _READABLE
        return info
