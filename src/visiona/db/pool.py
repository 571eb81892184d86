"""The connection pool and the one way to open a transaction."""

import contextlib
import json
import logging
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, LiteralString

import msgspec
import psycopg
from psycopg import AsyncConnection
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow
from psycopg.types.json import set_json_loads
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from visiona.core.errors import Unavailable
from visiona.core.guard import in_transaction, transaction_marker
from visiona.core.origin import origin_claims
from visiona.db.actor import Actor
from visiona.db.connecting import trying
from visiona.db.identity import IdentityKey

Connection = AsyncConnection[TupleRow]

CHECK_AFTER_IDLE_S = 1.0

# What SQL can leave on a connection for whoever has it next. A statement that SQL prepared may stand
# where the driver believes its own to be, and would be given the next one's values.
_LEAVE_NOTHING = """; reset all; unlisten *; close all;
    select pg_advisory_unlock_all(), exists (select from pg_prepared_statements where from_sql)"""
_IDENTIFY = "select set_config('request.jwt.claims', %s, true), set_config('visiona.proof', %s, true)"

logger = logging.getLogger(__name__)


class NestedTransactionError(RuntimeError):
    """A second transaction was opened inside one: a programming error that can deadlock the pool."""


class SwallowedErrorError(RuntimeError):
    """A database error was caught inside a transaction, which cannot be committed any more."""


class Database:
    """A pool of connections as one PostgreSQL role. `identity` proves to it who each transaction is for.

    `pooler` is true behind a transaction pooler (PgBouncer, Supavisor), where prepared statements
    do not survive. `passwords` are tried where the one in `url` is refused.
    """

    def __init__(
        self,
        url: str,
        identity: IdentityKey,
        *,
        max_size: int = 10,
        pooler: bool = False,
        passwords: Sequence[str] = (),
    ) -> None:
        self.url = url
        self.connection_class = trying(AsyncConnection[TupleRow], passwords)
        self._identity = identity
        self._pool: AsyncConnectionPool[_PooledConnection] = AsyncConnectionPool(
            url,
            min_size=1,
            max_size=max_size,
            timeout=5.0,
            open=False,
            connection_class=trying(_PooledConnection, passwords),
            kwargs={"autocommit": True, "prepare_threshold": None if pooler else 5},
            configure=_configure,
            check=_check,
        )

    async def open(self) -> None:
        await self._pool.open(wait=False)

    async def close(self) -> None:
        await self._pool.close()

    @asynccontextmanager
    async def anonymous(self) -> AsyncGenerator[Connection]:
        """A connection without transaction or identity, for single statements that need neither: calls
        of the functions that answer for one key. It sees no rows.

        Raises `Unavailable` (`database_unavailable`) as `transaction` does.
        """
        async with _reachable(), self._pool.connection() as connection:
            yield connection

    @asynccontextmanager
    async def transaction(self, actor: Actor) -> AsyncGenerator[Connection]:
        """Commit on leaving, roll back on an error. The identity lives exactly as long, and no setting,
        cursor, lock or prepared statement lives longer.

        Raises `Unavailable` (`database_unavailable`) when no connection can be had within 5 s.
        """
        if in_transaction():
            raise NestedTransactionError("a transaction is already open in this task")
        async with _reachable(), self._pool.connection() as connection:
            with transaction_marker():
                async with _begun(connection, actor, self._identity):
                    yield connection


class _PooledConnection(AsyncConnection[TupleRow]):
    """Remembers when it was last known to work."""

    used_at = 0.0


async def _configure(connection: _PooledConnection) -> None:
    set_json_loads(msgspec.json.decode, connection)


async def _check(connection: _PooledConnection) -> None:
    """Before a connection is lent: one that has idled may be dead, since servers restart."""
    now = time.monotonic()
    if now - connection.used_at > CHECK_AFTER_IDLE_S:
        await AsyncConnectionPool.check_connection(connection)
    connection.used_at = now


@asynccontextmanager
async def _begun(connection: Connection, actor: Actor, identity: IdentityKey) -> AsyncGenerator[None]:
    """BEGIN, the identity with its proof, then COMMIT, or ROLLBACK after an error."""
    cursor = await connection.execute("begin; select visiona.challenge()", prepare=False)
    cursor.nextset()
    try:
        (challenge,) = await cursor.fetchone() or ("",)
        await _answer(connection, challenge, actor, identity)
        yield
    except BaseException:
        # Nothing is committed however this ends, and what went wrong first is what is told: a task that was
        # canceled in the middle of a query has lost its connection, and is canceled all the same.
        with contextlib.suppress(psycopg.Error):
            await _end(connection, "rollback")
        raise
    if connection.info.transaction_status is TransactionStatus.INERROR:
        await _end(connection, "rollback")
        raise SwallowedErrorError("a statement failed, and the transaction went on")
    await _end(connection, "commit")


async def _end(connection: Connection, how: LiteralString) -> None:
    """End the transaction, and hand on a connection that nothing was left on, or none."""
    try:
        cursor = await connection.execute(how + _LEAVE_NOTHING, prepare=False)
        while cursor.nextset():
            pass
        _, prepared = await cursor.fetchone() or (None, True)
    except BaseException:
        await connection.close()
        raise
    if prepared:
        logger.error("a statement was prepared by SQL; the connection is given up")
        await connection.close()


async def identify(connection: Connection, actor: Actor, identity: IdentityKey) -> None:
    """On a transaction that was begun otherwise: say and prove who it is for from here on."""
    challenge = await fetch_value(connection, "select visiona.challenge()", [])
    await _answer(connection, challenge, actor, identity)


async def _answer(connection: Connection, challenge: str, actor: Actor, identity: IdentityKey) -> None:
    """Claims are sent as parameters: others of the same role can read the text of what is running."""
    claims = json.dumps(actor.claims() | origin_claims())
    await connection.execute(_IDENTIFY, [claims, identity.prove(challenge, claims)])


@asynccontextmanager
async def _reachable() -> AsyncGenerator[None]:
    try:
        yield
    except psycopg.errors.ProgramLimitExceeded:  # ours to mend, though the driver calls it operational
        raise
    except (PoolTimeout, psycopg.OperationalError) as error:
        logger.warning("a transaction failed for want of the database: %s", error)
        raise Unavailable(
            "database_unavailable", "Visiona cannot reach its database. Try again shortly."
        ) from error


async def database_time(connection: Connection) -> datetime:
    """The one clock that all processes share."""
    return await fetch_value(connection, "select clock_timestamp()", [])


async def fetch_value(
    connection: Connection, query: LiteralString, params: Sequence[Any] | Mapping[str, Any]
) -> Any:
    """The first column of the first row, or None."""
    row = await (await connection.execute(query, params)).fetchone()
    return None if row is None else row[0]
