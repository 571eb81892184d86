"""Objects that belong to rows: staged before they are written, settled with their row, deleted after it.

Nothing is orphaned by a crash: a key is on record before its bytes exist, and the deletion of bytes
is a job that commits together with the deletion of their row.
"""

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from visiona.core.clock import Clock
from visiona.db.actor import SystemActor, UserActor
from visiona.db.jobs import enqueue
from visiona.db.pool import Connection, Database
from visiona.objects import store
from visiona.objects.model import LINK_TTL_S, Kind, LinkSigner, new_key
from visiona.ports.storage import ObjectStore, StoredObject

DELETE_TASK = "objects.delete"
SWEEP_BATCH = 500


class ObjectService:
    def __init__(self, database: Database, objects: ObjectStore, signer: LinkSigner, clock: Clock) -> None:
        self._database = database
        self._objects = objects
        self._signer = signer
        self._clock = clock

    async def put(self, actor: UserActor, files: dict[str, tuple[Path, str]]) -> None:
        """Write files (key → path and content type) that `settle` will tie to a row."""
        async with self._database.transaction(actor) as connection:
            await store.stage(connection, actor.user_id, list(files))
        for key, (path, content_type) in files.items():
            await self._objects.put_file(key, path, content_type)

    async def settle(self, connection: Connection, keys: Sequence[str]) -> None:
        """On the transaction that makes the row: these objects now belong to it."""
        await store.settle(connection, keys)

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
        await self._objects.delete(keys)

    async def sweep(self) -> None:
        """Delete what was put an hour ago and never became part of anything."""
        actor = SystemActor("sweep")
        async with self._database.transaction(actor) as connection:
            keys = await store.abandoned(connection, SWEEP_BATCH)
        if keys:
            await self._objects.delete(keys)
            async with self._database.transaction(actor) as connection:
                await store.settle(connection, keys)

    async def link(self, key: str) -> str:
        """A short-lived link that opens this object without a header."""
        own = await self._objects.signed_url(key, LINK_TTL_S)
        return own or self._signer.sign(key, self._clock.now())

    async def link_origin(self) -> str | None:
        """Where links lead that are not ours: the store's own origin, for the pages' security policy."""
        own = await self._objects.signed_url(new_key(0, Kind.IMAGE, "image/webp"), LINK_TTL_S)
        if own is None:
            return None
        parts = urlsplit(own)
        return f"{parts.scheme}://{parts.netloc}"

    async def open_link(
        self, key: str, expires: int, signature: str, byte_range: tuple[int, int] | None
    ) -> StoredObject:
        """The object behind one of our own links. Raises `NotFound` or `ObjectMissing`."""
        self._signer.verify(key, expires, signature, self._clock.now())
        return await self._objects.open(key, byte_range)

    async def fetch(self, key: str, target: Path) -> None:
        """Copy an object into a local file. Raises `ObjectMissing`."""
        await self._objects.fetch_file(key, target)

    async def check(self) -> None:
        """Raise if the store does not work now."""
        await self._objects.check()
