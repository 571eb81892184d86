"""The connection pool and the one way to open a transaction."""

import json
import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, LiteralString

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from visiona.core.errors import Unavailable
from visiona.core.guard import in_transaction, transaction_marker
from visiona.db.actor import Actor

Connection = AsyncConnection[TupleRow]

logger = logging.getLogger(__name__)


class NestedTransactionError(RuntimeError):
    """A second transaction was opened inside one: a programming error that can deadlock the pool."""


class Database:
    """A pool of connections as one PostgreSQL role.

    `pooler` is true behind a transaction pooler (PgBouncer, Supavisor), where prepared statements
    do not survive.
    """

    def __init__(self, url: str, *, max_size: int = 10, pooler: bool = False) -> None:
        self.url = url
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            url,
            min_size=1,
            max_size=max_size,
            timeout=5.0,
            open=False,
            kwargs={"autocommit": True, "prepare_threshold": None if pooler else 5},
            check=AsyncConnectionPool.check_connection,
        )

    async def open(self) -> None:
        await self._pool.open(wait=False)

    async def close(self) -> None:
        await self._pool.close()

    @asynccontextmanager
    async def transaction(self, actor: Actor) -> AsyncGenerator[Connection]:
        """Commit on leaving, roll back on an error. The identity lives exactly as long.

        Raises `Unavailable` (`database_unavailable`) when no connection can be had within 5 s.
        """
        if in_transaction():
            raise NestedTransactionError("a transaction is already open in this task")
        try:
            async with self._pool.connection() as connection:
                with transaction_marker():
                    async with connection.transaction():
                        await connection.execute(
                            "select set_config('request.jwt.claims', %s, true)",
                            [json.dumps(actor.claims())],
                        )
                        yield connection
        except psycopg.errors.ProgramLimitExceeded:  # ours to mend, though the driver calls it operational
            raise
        except (PoolTimeout, psycopg.OperationalError) as error:
            logger.warning("a transaction failed for want of the database: %s", error)
            raise Unavailable(
                "database_unavailable", "Visiona cannot reach its database. Try again shortly."
            ) from error


async def fetch_value(
    connection: Connection, query: LiteralString, params: Sequence[Any] | Mapping[str, Any]
) -> Any:
    """The first column of the first row, or None."""
    row = await (await connection.execute(query, params)).fetchone()
    return None if row is None else row[0]
