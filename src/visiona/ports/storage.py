"""Private objects: photos, images, thumbnails, training archives."""

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Protocol


class ObjectMissing(Exception):
    """No object under this key."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object being read: `size` is the whole object's, `body` yields the bytes asked for."""

    size: int
    etag: str
    body: AsyncIterator[bytes]


class ObjectStore(Protocol):
    """Keys are made by Visiona from opaque ids, never from what a person typed."""

    async def put_file(self, key: str, path: Path, content_type: str) -> None:
        """Store the file at `path`, replacing what was there.

        Atomic for readers, and on stable storage when it returns.
        """
        ...

    async def put_bytes(self, key: str, data: bytes, content_type: str, *, create: bool = False) -> bool:
        """Store a small object, replacing what was there; with `create`, answer False if anything was.

        Atomic, and on stable storage when it returns.
        """
        ...

    async def open(self, key: str, byte_range: tuple[int, int] | None = None) -> StoredObject:
        """Read it, or the half-open `byte_range` of it. Raises `ObjectMissing`."""
        ...

    async def fetch_file(self, key: str, path: Path) -> None:
        """Stream the object into the file at `path`. Raises `ObjectMissing`."""
        ...

    async def delete(self, keys: Iterable[str]) -> None:
        """Remove objects; those already gone are fine."""
        ...

    async def list_keys(self, prefix: str) -> list[str]: ...

    async def clear_unfinished(self, older_than: timedelta) -> int:
        """Delete what writes that were interrupted so long ago left in a folder; answers how many files that
        were. Clouds do so by rules of their own.
        """
        ...

    async def check(self) -> None:
        """Raise if objects cannot be written and read now."""
        ...
