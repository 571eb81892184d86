"""Objects that belong to rows: staged before they are written, settled with their row, deleted after it.

Each is sealed with its owner's key and bound to its own before it reaches the store, which never holds
a byte of a picture.

Nothing is orphaned by a crash: a key is on record before its bytes exist, and the deletion of bytes
is a job that commits together with the deletion of their row.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

from visiona.core.clock import Clock
from visiona.core.scratch import clear_abandoned, scratch_folder
from visiona.db.actor import SystemActor, UserActor
from visiona.db.backups import deletions_wait
from visiona.db.jobs import RetryLater, enqueue
from visiona.db.pool import Connection, Database
from visiona.objects import store
from visiona.objects.model import LINK_TTL_S, ByteRange, LinkSigner, PlainObject, owner_of
from visiona.ports.storage import ObjectMissing, ObjectStore
from visiona.vault.model import KeyDestroyed, Unreadable
from visiona.vault.service import Vault
from visiona.vault.stream import START_BYTES

DELETE_TASK = "objects.delete"
SWEEP_BATCH = 500
UNFINISHED_AFTER = timedelta(hours=1)
_SEGMENTS_AT_ONCE = 4
_SEALED_TYPE = "application/octet-stream"


class ObjectService:
    def __init__(
        self, database: Database, vault: Vault, objects: ObjectStore, signer: LinkSigner, clock: Clock
    ) -> None:
        self._database = database
        self._vault = vault
        self._objects = objects
        self._signer = signer
        self._clock = clock

    async def put(self, actor: UserActor, files: Mapping[str, Path]) -> None:
        """Seal files (key → path) with their owner's key and write them; `settle` will tie them to a row."""
        if any(owner_of(key) != actor.user_id for key in files):
            raise ValueError("an object is sealed with the key of the person whom its name says")
        cipher = await self._vault.cipher(actor.user_id)
        async with self._database.transaction(actor) as connection:
            await store.stage(connection, actor.user_id, list(files))
        with scratch_folder() as folder:
            for key, path in files.items():
                sealed = folder / "sealed"
                await asyncio.to_thread(cipher.seal_file, key, path, sealed)
                await self._objects.put_file(key, sealed, _SEALED_TYPE)

    async def settle(self, connection: Connection, keys: Sequence[str]) -> int:
        """On the transaction that makes the row: these objects now belong to it. Answers how many of them
        were still waiting; what waits for an hour is swept away.
        """
        return await store.settle(connection, keys)

    async def remove(self, connection: Connection, keys: Sequence[str]) -> None:
        """On the transaction that deletes the row: have the objects deleted once it commits."""
        if keys:
            await enqueue(connection, DELETE_TASK, keys=list(keys))

    async def discard(self, actor: UserActor, keys: Sequence[str]) -> None:
        """Delete objects that were put but found no row."""
        await self._objects.delete(keys)
        async with self._database.transaction(actor) as connection:
            await store.settle(connection, keys)

    async def delete(self, keys: Sequence[str]) -> None:
        """Raises `RetryLater` while a backup reads which objects there are, which takes moments."""
        async with self._database.transaction(SystemActor("objects")) as connection:
            if await deletions_wait(connection):
                raise RetryLater("a backup is being made")
        await self._objects.delete(keys)

    async def delete_all(self, user_id: int) -> int:
        """Whatever is sealed with this person's key, known to a row or not. Answers how much that was."""
        keys = await self._objects.list_keys(f"u{user_id}/")
        await self._objects.delete(keys)
        return len(keys)

    async def sweep(self) -> None:
        """Delete what was put an hour ago and never became part of anything, and what a process that was
        killed has left unsealed on this machine.
        """
        await asyncio.to_thread(clear_abandoned)
        await self._objects.clear_unfinished(UNFINISHED_AFTER)
        actor = SystemActor("sweep")
        async with self._database.transaction(actor) as connection:
            keys = await store.abandoned(connection, SWEEP_BATCH)
        if keys:
            await self._objects.delete(keys)
            async with self._database.transaction(actor) as connection:
                await store.settle(connection, keys)

    async def link(self, key: str, ttl_s: int = LINK_TTL_S) -> str:
        """A link that opens this object without a header, for half to all of `ttl_s`."""
        return self._signer.sign(key, self._clock.now(), ttl_s)

    def believe(self, key: str, expires: int, signature: str) -> None:
        """Raises `NotFound` for a link that was not made here or has expired."""
        self._signer.verify(key, expires, signature, self._clock.now())

    async def open_link(
        self, key: str, expires: int, signature: str, wanted: ByteRange | None = None
    ) -> PlainObject:
        """The object behind one of our own links. Raises `NotFound`, and what `open` raises."""
        self.believe(key, expires, signature)
        return await self.open(key, wanted)

    async def open(self, key: str, wanted: ByteRange | None = None) -> PlainObject:
        """Opened as it is read, at flat memory; of a range, only the segments that hold it are fetched.

        Raises `ObjectMissing`, also for what was sealed by a key that was destroyed, `RangeNotSatisfiable`,
        and `Unreadable` where its beginning is not as it was written. Later pieces can raise that, too.
        """
        # What begins with the first segment is one call; the size is needed to find any other.
        known = None if wanted is None or wanted.first == 0 else (0, START_BYTES)
        stored = await self._objects.open(key, known)
        try:
            cipher = await self._vault.cipher(owner_of(key))
        except KeyDestroyed:
            raise ObjectMissing(key) from None
        try:
            size = cipher.plain_size(stored.size)
        except ValueError:
            raise Unreadable(key) from None
        start, end = (0, size) if wanted is None else wanted.within(size)

        async def read(begin: int, stop: int) -> AsyncIterator[bytes]:
            if begin == 0 and (known is None or known == (begin, stop)):
                return stored.body
            return (await self._objects.open(key, (begin, stop))).body

        body = _gathered(cipher.open_object(key, read, stored.size, (start, end)))
        return PlainObject(size, start, end, _continued(await anext(body, b""), body))

    async def read(self, key: str, sha256: str) -> bytes:
        """All of an object that is small, as a photo is, and hashes as its row says.

        Raises `ObjectMissing` and `Unreadable`.
        """
        found = await self.open(key)
        data = b"".join([piece async for piece in found.body])
        if hashlib.sha256(data).hexdigest() != sha256:
            raise Unreadable(key)
        return data

    async def check(self) -> None:
        """Raise if the store does not work now."""
        await self._objects.check()


async def _gathered(segments: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Several at a time: each piece that is sent costs more than opening it."""
    gathered: list[bytes] = []
    async for segment in segments:
        gathered.append(segment)
        if len(gathered) == _SEGMENTS_AT_ONCE:
            yield b"".join(gathered)
            gathered.clear()
    if gathered:
        yield b"".join(gathered)


async def _continued(first: bytes, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in body:
        yield piece
