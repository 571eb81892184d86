"""SQL of the audit log. No role may change or remove an entry; the database gives each its place."""

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any, LiteralString

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from visiona.audit.model import Action, Filter, Link, StoredEntry, thing_of
from visiona.db.pool import Connection, fetch_value

_ENTRY: LiteralString = """id, user_id, action, details, created_at, actor_kind, actor_id, object_kind,
    object_id, request_id, client, private"""
_AT_ONCE = 2000


async def append(
    connection: Connection, user_id: int | None, action: Action, details: Mapping[str, Any] | None
) -> None:
    kind, thing = thing_of(details)
    await connection.execute(
        """insert into audit_logs (user_id, action, details, object_kind, object_id)
           values (%s, %s, %s, %s, %s)""",
        [user_id, action.value, None if details is None else Jsonb(dict(details)), kind, thing],
    )


async def entries(connection: Connection, user_id: int, limit: int, before: int | None) -> list[StoredEntry]:
    async with connection.cursor(row_factory=class_row(StoredEntry)) as cursor:
        await cursor.execute(
            f"""select {_ENTRY} from audit_logs
                where user_id = %(user)s and (%(before)s::bigint is null or id < %(before)s)
                order by id desc limit %(limit)s""",
            {"user": user_id, "before": before, "limit": limit},
        )
        return await cursor.fetchall()


# By administrators


async def look_at_log(connection: Connection) -> bool:
    """Put the look on record; what it is for is answered in a later transaction only."""
    return await fetch_value(connection, "select visiona.look_at_log()", [])


async def find(connection: Connection, wanted: Filter) -> list[StoredEntry]:
    async with connection.cursor(row_factory=class_row(StoredEntry)) as cursor:
        await cursor.execute(
            f"select {_ENTRY} from visiona.audit_entries(%s, %s, %s, %s, %s, %s)",
            [wanted.user_id, wanted.action, wanted.since, wanted.until, wanted.before, wanted.limit],
        )
        return await cursor.fetchall()


# By the worker's system


async def forget(connection: Connection, user_id: int) -> int:
    return await fetch_value(connection, "select visiona.forget_in_audit(%s)", [user_id])


async def chain(connection: Connection, amount: int) -> int:
    """Give the oldest new entries their places; answers how many."""
    return await fetch_value(connection, "select visiona.chain_audit(%s)", [amount])


async def lock(connection: Connection) -> None:
    """Until the transaction ends the chain grows by nobody else."""
    await connection.execute("select pg_advisory_xact_lock(visiona.audit_lock())")


async def head(connection: Connection) -> tuple[int, bytes, datetime] | None:
    """Number and hash of the chain's last entry, and the time now."""
    cursor = await connection.execute(
        """select seq, entry_hash, clock_timestamp() from audit_logs
           where seq is not null order by seq desc limit 1"""
    )
    return await cursor.fetchone()


async def last_anchor(connection: Connection) -> tuple[int, bytes] | None:
    """Of which entry it is, and its file."""
    cursor = await connection.execute("select seq, body from audit_anchors order by id desc limit 1")
    return await cursor.fetchone()


async def add_anchor(connection: Connection, seq: int, body: bytes) -> None:
    await connection.execute("insert into audit_anchors (seq, body) values (%s, %s)", [seq, body])


async def unstored_anchors(connection: Connection) -> list[tuple[int, int, bytes]]:
    """Id, number of the entry and file of those that may not be where they belong yet, the oldest first."""
    cursor = await connection.execute(
        "select id, seq, body from audit_anchors where stored_at is null order by id limit 100"
    )
    return await cursor.fetchall()


async def mark_stored(connection: Connection, anchor_id: int) -> None:
    await connection.execute(
        "update audit_anchors set stored_at = now() where id = %s and stored_at is null", [anchor_id]
    )


# Verifying


async def stored_anchors(connection: Connection) -> list[tuple[int, bytes]]:
    cursor = await connection.execute(
        "select seq, sha256(body) from audit_anchors where stored_at is not null order by id"
    )
    return await cursor.fetchall()


async def links(connection: Connection) -> AsyncIterator[Link]:
    """Every entry as of one moment, in the order of the chain, those without a place last.

    Times that Python has no room for, as infinity, stand as the nearest that it has, and hash otherwise.
    """
    async with connection.cursor(name="audit_chain", row_factory=class_row(Link)) as cursor:
        cursor.itersize = _AT_ONCE
        await cursor.execute(
            """select id, user_id, action, details::text as facts,
                 greatest('0001-01-02', least('9999-12-30', created_at)) as created_at, actor_kind, actor_id,
                 object_kind, object_id, request_id, client, private, salt, person_hash, client_hash,
                 private_hash, seq, previous_hash, entry_hash
               from audit_logs order by seq, id"""
        )
        async for link in cursor:
            yield link
