"""Objects in a folder or in anybody's object store, through obstore.

Only obstore's asynchronous calls are used: they work outside of the event loop's thread. Bodies
pass in pieces, so memory stays flat whatever their size.
"""

import asyncio
import contextlib
import os
import re
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from visiona.core.guard import forbid_open_transaction
from visiona.core.ids import opaque_id
from visiona.ports.storage import ObjectMissing, StoredObject

MAX_KEY = 512

_KEY = re.compile(r"[a-z0-9][a-z0-9/_.-]*")
_UNFINISHED = re.compile(r".+#[0-9]+")
_CLOUDS = {"s3", "gs", "az"}
_PIECE = 256 * 1024
_PART = 5 * 2**20  # the smallest that S3 takes
_PARTS_AT_ONCE = 4
_CONTENT_TYPE = "Content-Type"

# Options of the connection; all others are the store's own (`region`, `endpoint`, keys).
_CLIENT_OPTIONS = {
    "allow_http",
    "proxy_url",
    "root_certificate",
    "timeout",
    "connect_timeout",
    "read_timeout",
}
# obstore's defaults would end a download after 30 s, and try a dead store for three minutes.
_CLIENT_DEFAULTS = {"connect_timeout": "5 seconds", "read_timeout": "30 seconds", "timeout": "10 minutes"}
_RETRIES = {"max_retries": 4, "retry_timeout": timedelta(seconds=20)}


def open_store(url: str, *, options: Mapping[str, str] | None = None) -> "ObstoreObjectStore":
    """The store at `file:///folder`, `s3://bucket/prefix`, `gs://bucket/prefix` or
    `az://account/container/prefix`.

    Clouds find their keys in `options` or, as is usual, in the environment (`AWS_…`, `GOOGLE_…`,
    `AZURE_…`). The store is not connected to, nor the folder made, before its first use.
    """
    parts = urlsplit(url)
    if parts.scheme == "file":
        folder = Path(unquote(parts.path))
        if parts.netloc or not parts.path.startswith("/") or folder == Path("/"):
            raise ValueError(
                "name the folder for objects with its full path: file:///var/lib/visiona/objects"
            )
        return ObstoreObjectStore(url, folder=folder)
    if parts.scheme not in _CLOUDS or not parts.netloc:
        raise ValueError("objects can be kept at file:///…, s3://…, gs://… or az://…")
    return ObstoreObjectStore(url, options=options)


class ObstoreObjectStore:
    """An `ObjectStore`; made by `open_store`."""

    def __init__(
        self, url: str, *, folder: Path | None = None, options: Mapping[str, str] | None = None
    ) -> None:
        self._url = url
        self._folder = folder
        self._options = dict(options or {})

    async def put_file(self, key: str, path: Path, content_type: str) -> None:
        await self._put(_checked(key), path, content_type)
        if self._folder:
            await asyncio.to_thread(_sync, self._folder, key)

    async def put_bytes(self, key: str, data: bytes, content_type: str, *, create: bool = False) -> bool:
        from obstore.exceptions import AlreadyExistsError  # noqa: PLC0415 - loaded when first used

        try:
            await self._put(_checked(key), data, content_type, mode="create" if create else "overwrite")
        except AlreadyExistsError:
            return False
        if self._folder:
            await asyncio.to_thread(_sync, self._folder, key)
        return True

    async def open(self, key: str, byte_range: tuple[int, int] | None = None) -> StoredObject:
        """A range that begins behind the end is empty."""
        key = _checked(key)
        if byte_range and not 0 <= byte_range[0] < byte_range[1]:
            raise ValueError("a range is half-open, and not empty")
        return await self._get(key, byte_range)

    async def fetch_file(self, key: str, path: Path) -> None:
        """Should it break off, nothing is left at `path`."""
        found = await self.open(key)
        try:
            with await asyncio.to_thread(path.open, "wb") as file:
                async for piece in found.body:
                    await asyncio.to_thread(file.write, piece)
        except BaseException:
            await asyncio.to_thread(path.unlink, missing_ok=True)
            raise

    async def delete(self, keys: Iterable[str]) -> None:
        import obstore  # noqa: PLC0415 - loaded when first used

        wanted = [_checked(key) for key in keys]
        if not wanted:
            return
        forbid_open_transaction("the object store")
        try:
            await obstore.delete_async(self._store, wanted)
        except FileNotFoundError:
            # Some stores mind what is already gone, and stop there: go on one by one.
            for key in wanted:
                await self._delete(key)

    async def list_keys(self, prefix: str) -> list[str]:
        """Whole path segments count: `u1` is no prefix of `u10/…`. The empty prefix lists all."""
        import obstore  # noqa: PLC0415 - loaded when first used

        folder = _checked(prefix.removesuffix("/")) if prefix else None
        forbid_open_transaction("the object store")
        listed = obstore.list(self._store, folder, chunk_size=1000)
        keys = [str(entry["path"]) async for entries in listed for entry in entries]
        return sorted(key for key in keys if _is_key(key))

    async def clear_unfinished(self, older_than: timedelta) -> int:
        if self._folder is None:
            return 0
        return await asyncio.to_thread(
            _clear_unfinished, self._folder, time.time() - older_than.total_seconds()
        )

    async def check(self) -> None:
        """Writes, reads and deletes a probe, where no object's key can be."""
        key, sent = f".probe/{opaque_id()}", opaque_id().encode()
        await self._put(key, sent, "text/plain")
        try:
            found = await self._get(key)
            received = b"".join([piece async for piece in found.body])
        finally:
            await self._delete(key)
        if received != sent:
            raise RuntimeError("the object store returns something else than was written")

    @cached_property
    def _store(self) -> Any:
        from obstore.store import LocalStore, from_url  # noqa: PLC0415 - loaded when first used

        if self._folder:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            return LocalStore(self._folder)
        client = _CLIENT_DEFAULTS | {k: v for k, v in self._options.items() if k in _CLIENT_OPTIONS}
        config: Any = {k: v for k, v in self._options.items() if k not in _CLIENT_OPTIONS}
        make: Any = from_url  # its overloads want to know which cloud it is
        return make(self._url, config=config, client_options=client, retry_config=_RETRIES)

    async def _put(
        self,
        key: str,
        source: Path | bytes,
        content_type: str,
        *,
        mode: Literal["create", "overwrite"] = "overwrite",
    ) -> None:
        import obstore  # noqa: PLC0415 - loaded when first used

        forbid_open_transaction("the object store")
        await obstore.put_async(
            self._store,
            key,
            source,
            mode=mode,
            attributes=None if self._folder else {_CONTENT_TYPE: content_type},
            chunk_size=_PART,
            max_concurrency=_PARTS_AT_ONCE,
        )
        if self._folder:
            await asyncio.to_thread(_make_private, self._folder, key)

    async def _get(self, key: str, byte_range: tuple[int, int] | None = None) -> StoredObject:
        import obstore  # noqa: PLC0415 - loaded when first used
        from obstore.exceptions import BaseError  # noqa: PLC0415 - loaded when first used

        forbid_open_transaction("the object store")
        try:
            found = await obstore.get_async(
                self._store, key, options={"range": byte_range} if byte_range else None
            )
        except FileNotFoundError as error:
            raise ObjectMissing(key) from error
        except BaseError:
            if byte_range is None:
                raise
            meta = await obstore.head_async(self._store, key)
            if byte_range[0] < meta["size"]:
                raise
            return StoredObject(meta["size"], meta["e_tag"] or "", _nothing())
        return StoredObject(found.meta["size"], found.meta["e_tag"] or "", _pieces(found))

    async def _delete(self, key: str) -> None:
        import obstore  # noqa: PLC0415 - loaded when first used

        forbid_open_transaction("the object store")
        try:
            await obstore.delete_async(self._store, key)
        except FileNotFoundError:
            return


def _is_key(text: str) -> bool:
    segments = text.split("/")
    return (
        len(text) <= MAX_KEY
        and _KEY.fullmatch(text) is not None
        and not any(segment in {"", "."} or ".." in segment for segment in segments)
    )


def _checked(key: str) -> str:
    if not _is_key(key):
        raise ValueError("not an object key")
    return key


def _clear_unfinished(folder: Path, before: float) -> int:
    """What is written to `name#1` is renamed when all is there."""
    cleared = 0
    for parent, _, names in os.walk(folder):
        for path in [Path(parent, name) for name in names if _UNFINISHED.fullmatch(name)]:
            with contextlib.suppress(FileNotFoundError):  # it may be finished by now
                if path.lstat().st_mtime < before:
                    path.unlink()
                    cleared += 1
    return cleared


def _make_private(folder: Path, key: str) -> None:
    """Files for their owner alone, and so the folders on the way."""
    path = folder / key
    with contextlib.suppress(FileNotFoundError):  # it may be deleted already
        path.chmod(0o600)
    while path != folder:
        path = path.parent
        path.chmod(0o700)


def _sync(folder: Path, key: str) -> None:
    """Make the file, its name and those of the folders on the way outlive a loss of power."""
    path = folder / key
    with contextlib.suppress(FileNotFoundError):  # it may be deleted already
        _flush(path)
    while path != folder:
        path = path.parent
        _flush(path)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


async def _pieces(found: Any) -> AsyncIterator[bytes]:
    async for piece in found.stream(min_chunk_size=_PIECE):
        yield bytes(piece)


async def _nothing() -> AsyncIterator[bytes]:
    for piece in ():
        yield piece
