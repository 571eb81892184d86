"""Recording what happened, in the transaction in which it happened; reading it; keeping and verifying the
chain in which all of it hangs.

Who acts, from where and in which request is not said here: the database takes it from the identity that the
transaction proved (`core.origin`).
"""

import asyncio
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

import msgspec

from visiona.audit import model, store
from visiona.audit.model import (
    Action,
    AnchorFile,
    AnchorKey,
    Anchors,
    ChainCheck,
    Entry,
    Filter,
    Report,
    StoredEntry,
    TrustedKey,
    Where,
)
from visiona.core.origin import Via, coming_from, current_origin
from visiona.core.origin import identified as set_identified
from visiona.db.actor import SystemActor
from visiona.db.pool import Connection, Database, database_time
from visiona.ports.storage import ObjectStore
from visiona.vault.model import Cipher, Unreadable

CLIENT_PLACE: Final = "audit_logs.client"
PRIVATE_PLACE: Final = "audit_logs.private"
_BATCH: Final = 10_000
_AT_ONCE: Final = 16
_ANCHOR_TYPE: Final = "text/plain"


async def record(
    connection: Connection, user_id: int | None, action: Action, details: Mapping[str, Any] | None = None
) -> None:
    """Append an entry on the caller's transaction, whose actor is that user or the worker's system.

    `details` holds ids and counts. Never an e-mail address, a prompt or a link: the log outlives
    the account. What it was done to is the thing whose id is among them (`model.thing_of`).
    """
    await store.append(connection, user_id, action, details)


def identified(cipher: Cipher, via: Via = "person", via_id: str | None = None) -> None:
    """From here on whatever this request does is done by this person or by a program of theirs, and where
    they are goes with it, sealed with their key.
    """
    origin = current_origin()
    where = None if origin is None else origin.client
    if where is None:
        set_identified(cipher.user_id, via, via_id)
        return
    text = msgspec.json.encode(Where(where.address, where.label)).decode()
    set_identified(cipher.user_id, via, via_id, cipher.seal(CLIENT_PLACE, text))


def visited(cipher: Cipher) -> None:
    """From here on this request is about the account of a person whom it has not shown to be at its other
    end, unless it has: where it comes from is theirs to read.
    """
    origin = current_origin()
    if origin is not None and origin.user_id != cipher.user_id:
        identified(cipher, "visitor")


@contextmanager
def by_a_stranger(user_id: int) -> Generator[None]:
    """What this block does to the account of this person is done by somebody else: the log says so, and keeps
    nothing of where they are, which the person would read.
    """
    origin = current_origin()
    if origin is None:
        yield
        return
    stranger = replace(origin, via="visitor", via_id=None, user_id=user_id, client=None, sealed_client=None)
    with coming_from(stranger):
        yield


def seal_reason(cipher: Cipher, reason: str) -> bytes:
    """An administrator's reason, as entries of the person keep it whose cipher this is."""
    return cipher.seal(PRIVATE_PLACE, msgspec.json.encode({"reason": reason}).decode())


async def entries(
    connection: Connection, user_id: int, limit: int, before: int | None = None
) -> list[StoredEntry]:
    """On the transaction of that user: their log, newest first, older than the entry `before`."""
    return await store.entries(connection, user_id, limit, before)


async def look_at_log(connection: Connection) -> bool:
    """On the transaction of an administrator: put on record that they look at everybody's log."""
    return await store.look_at_log(connection)


async def find(connection: Connection, wanted: Filter) -> list[StoredEntry]:
    """On a later transaction of theirs: entries, newest first; none unless the look is on record."""
    return await store.find(connection, wanted)


def opened(
    stored: Sequence[StoredEntry], ciphers: Mapping[int, Cipher], *, where: bool = True
) -> list[Entry]:
    """With what the `ciphers` of these people open; the rest is left out, and `where` unless it is wanted."""
    return [_opened(one, ciphers, where=where) for one in stored]


def _opened(stored: StoredEntry, ciphers: Mapping[int, Cipher], *, where: bool) -> Entry:
    details = dict(stored.details or {})
    private = _open(PRIVATE_PLACE, stored.private, ciphers.get(stored.user_id or 0))
    if private is not None:
        details |= msgspec.json.decode(private, type=dict[str, str])
    client = _open(CLIENT_PLACE, stored.client, ciphers.get(stored.seen_by or 0)) if where else None
    return Entry(
        id=stored.id,
        action=stored.action,
        details=details or stored.details,
        created_at=stored.created_at,
        user_id=stored.user_id,
        actor_kind=stored.actor_kind,
        actor_id=stored.actor_id,
        object_kind=stored.object_kind,
        object_id=stored.object_id,
        request_id=stored.request_id,
        where=None if client is None else msgspec.json.decode(client, type=Where),
    )


def _open(place: str, sealed: bytes | None, cipher: Cipher | None) -> str | None:
    if sealed is None or cipher is None:
        return None
    try:
        return cipher.open(place, sealed)
    except Unreadable:
        return None


async def forget(connection: Connection, user_id: int) -> int:
    """On a transaction of the worker's system: take a person out of their entries, which stay.

    Answers how many there were. Say it before their row in `users` goes, and again if it is repeated.
    """
    return await store.forget(connection, user_id)


async def read_anchors(anchors: ObjectStore, keys: Sequence[TrustedKey]) -> Anchors:
    """All there are. `keys` are those whose signatures count."""
    turns = asyncio.Semaphore(_AT_ONCE)

    async def read(name: str) -> AnchorFile:
        async with turns:
            found = await anchors.open(name)
            return AnchorFile(name, b"".join([piece async for piece in found.body]))

    names = [name for name in await anchors.list_keys("") if name.endswith(".anchor")]
    return Anchors(await asyncio.gather(*(read(name) for name in names)), keys)


async def verify(connection: Connection, anchors: Anchors, *, as_of: datetime | None = None) -> Report:
    """On a transaction that sees every entry: verify all of them, at flat memory.

    `as_of` is the moment that the database is of, if it was restored: nothing younger is missed.
    """
    stored = [model.anchor_name(seq, digest.hex()) for seq, digest in await store.stored_anchors(connection)]
    check = ChainCheck(anchors, stored, await database_time(connection), as_of=as_of)
    async for link in store.links(connection):
        check.add(link)
    return check.finish()


class AuditService:
    """The chain and its anchors. The database must be the worker's."""

    def __init__(self, database: Database, anchors: ObjectStore, key: AnchorKey, *older: AnchorKey) -> None:
        """`key` signs; what the older ones signed is believed as well."""
        self._database = database
        self._anchors = anchors
        self._key = key
        self._trusted = tuple(known.public for known in (key, *older))

    @property
    def public_key(self) -> TrustedKey:
        return self._key.public

    async def chain(self) -> None:
        """Give every entry that has none its place. Any number of processes may do so at once."""
        while True:
            async with self._database.transaction(SystemActor("audit")) as connection:
                chained = await store.chain(connection, _BATCH)
            if chained < _BATCH:
                return

    async def anchor(self) -> None:
        """Write down outside the database how the chain ends, if it has grown. Safe to repeat."""
        await self.chain()
        async with self._database.transaction(SystemActor("audit")) as connection:
            await self._sign(connection, restored=False)
        await self._store_anchors()

    async def note_restore(self) -> None:
        """The database was brought back from a backup: anchors of entries that were lost by it are no sign
        of a cut.
        """
        await self.chain()
        async with self._database.transaction(SystemActor("audit")) as connection:
            await self._sign(connection, restored=True)
        await self._store_anchors()

    async def verify(self, keys: Sequence[TrustedKey] = ()) -> Report:
        """Of the chain as it is now. Only signatures of `keys` count, if any are given: copies that nobody on
        this machine can change.
        """
        found = await read_anchors(self._anchors, keys or self._trusted)
        async with self._database.transaction(SystemActor("audit")) as connection:
            return await verify(connection, found)

    async def _sign(self, connection: Connection, *, restored: bool) -> None:
        """On the transaction: the next anchor, unless there is one of this entry."""
        await store.lock(connection)
        head = await store.head(connection)
        last = await store.last_anchor(connection)
        if head is None or (last is not None and last[0] >= head[0] and not restored):
            return
        seq, last_hash, at = head
        previous = None if last is None else model.digest_of(last[1])
        await store.add_anchor(
            connection, seq, self._key.sign(seq, last_hash, at, previous, restored=restored)
        )

    async def _store_anchors(self) -> None:
        async with self._database.transaction(SystemActor("audit")) as connection:
            waiting = await store.unstored_anchors(connection)
        for anchor_id, seq, body in waiting:
            name = model.anchor_name(seq, model.digest_of(body))
            await self._anchors.put_bytes(name, body, _ANCHOR_TYPE, create=True)
            async with self._database.transaction(SystemActor("audit")) as connection:
                await store.mark_stored(connection, anchor_id)
