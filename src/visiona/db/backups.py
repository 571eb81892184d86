"""What backups ask of the database, as its owner: a moment that rows, log and objects agree on.

Row-level security hides nothing from these connections: they are made as a role that it does not apply to.
"""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

import psycopg
from psycopg import AsyncConnection, sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Conninfo
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb

from visiona.db.pool import fetch_value
from visiona.db.roles import APP_ROLE, AUTH_ROLE, WORKER_ROLE

Connection = AsyncConnection[TupleRow]

BACKUP_LOCK = 0x5649_5301
SHIPPING_LOCK = 0x5649_5302
DELETIONS_LOCK = 0x5649_5303
"""Held while deletions of objects are to wait; `objects` asks for it before it deletes."""

OBJECT_COLUMNS: tuple[tuple[LiteralString, LiteralString], ...] = (
    ("photos", "file_url"),
    ("photos", "thumbnail_url"),
    ("generations", "image_url"),
    ("generations", "thumbnail_url"),
)
"""Every column that names an object, but for exports, which are made anew. A row's objects are written before
it and never changed.
"""

_SCHEMAS = ["public", "visiona", "procrastinate"]
# Shorter than PostgreSQL waits before it looks for a deadlock: should our locks be part of one, we give way.
_LOCK_TIMEOUT_MS = 300
_LOCK_TRIES = 200


class DatabaseBusyError(RuntimeError):
    """No moment was found in which nobody writes."""


class AlreadyRunningError(RuntimeError):
    """Another process does the same at this moment."""


class NotEmptyError(RuntimeError):
    """There is something where a backup was to be restored to."""


class UnfitRoleError(RuntimeError):
    """The role of the URL cannot read everything; the message says what it lacks."""


@dataclass(frozen=True, slots=True)
class Server:
    """`data_directory` is None where the role may not know it."""

    major: int
    system_identifier: str
    data_directory: str | None
    sees_everything: bool


async def connect(url: str) -> Connection:
    """A connection as the URL's own role, each statement for itself."""
    return await AsyncConnection.connect(url, autocommit=True, application_name="visiona backup")


def libpq_environment(url: str) -> dict[str, str]:
    """The URL as variables for PostgreSQL's programs: arguments can be read by everybody on the machine."""
    variables = {
        option.keyword.decode(): option.envvar.decode()
        for option in Conninfo.get_defaults()
        if option.envvar is not None
    }
    given = conninfo_to_dict(url)
    return {variables[name]: str(value) for name, value in given.items() if name in variables}


async def look_at(connection: Connection) -> Server:
    row = await (
        await connection.execute(
            """select current_setting('server_version_num')::int / 10000,
                 (select system_identifier::text from pg_control_system()),
                 case when pg_has_role('pg_read_all_settings', 'member')
                   then current_setting('data_directory') end,
                 (select rolsuper or rolbypassrls from pg_roles where rolname = current_user)"""
        )
    ).fetchone()
    assert row is not None  # noqa: S101 - a select without a table answers one row
    return Server(*row)


@asynccontextmanager
async def held(url: str, lock: int, *, wait: bool = False) -> AsyncGenerator[Connection]:
    """A connection that holds this lock against all other processes, until the end of the block.

    Raises `AlreadyRunningError` unless it is to `wait`.
    """
    async with await connect(url) as connection:
        if wait:
            await connection.execute("select pg_advisory_lock(%s)", [lock])
        elif not await fetch_value(connection, "select pg_try_advisory_lock(%s)", [lock]):
            raise AlreadyRunningError("another process is doing this now")
        yield connection


async def deletions_wait(connection: Connection) -> bool:
    """On a transaction: whether a backup asks that no object be deleted for a moment."""
    free = await fetch_value(connection, "select pg_try_advisory_xact_lock_shared(%s)", [DELETIONS_LOCK])
    return not free


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was committed at one moment, readable for as long as the block lasts that it came from.

    `lsn` is where the log stood, and `segment` the file of it, if it was asked for.
    """

    name: str
    taken_at: datetime
    lsn: str | None
    segment: str | None
    _connection: Connection

    async def counts(self) -> dict[str, int]:
        """How many rows each table has."""
        return await count_rows(self._connection)

    def object_keys(self) -> AsyncGenerator[str]:
        return named_objects(self._connection)

    async def migrations(self) -> list[str]:
        return await applied_migrations(self._connection)

    async def audit_head(self) -> tuple[int, str] | None:
        return await audit_head(self._connection)


@asynccontextmanager
async def snapshot(url: str, restore_point: str | None = None) -> AsyncGenerator[Snapshot]:
    """One moment. With `restore_point`, the log has a mark of that name at exactly this moment: nobody was
    writing, for as long as it took to set it, and what is restored up to there is what the snapshot shows.

    Raises `DatabaseBusyError` when writers never pause for long enough.
    """
    async with await connect(url) as reader:
        await reader.execute("begin isolation level repeatable read read only")
        mark: tuple[str, str] | None = None
        if restore_point is None:
            taken_at, name = await _now(reader)
        else:
            async with await connect(url) as writer, _nobody_writing(writer):
                row = await (
                    await writer.execute(
                        "select lsn::text, pg_walfile_name(lsn) from pg_create_restore_point(%s) lsn",
                        [restore_point],
                    )
                ).fetchone()
                assert row is not None  # noqa: S101 - a function's result is one row
                mark = (row[0], row[1])
                taken_at, name = await _now(reader)
        yield Snapshot(name, taken_at, *(mark or (None, None)), reader)


async def _now(connection: Connection) -> tuple[datetime, str]:
    row = await (await connection.execute("select clock_timestamp(), pg_export_snapshot()")).fetchone()
    assert row is not None  # noqa: S101 - a select without a table answers one row
    return row[0], row[1]


@asynccontextmanager
async def _nobody_writing(connection: Connection) -> AsyncGenerator[None]:
    tables = sql.SQL(", ").join(sql.Identifier(*table) for table in await _tables(connection))
    limit = sql.SQL("set local lock_timeout = {}").format(sql.Literal(_LOCK_TIMEOUT_MS))
    for _ in range(_LOCK_TRIES):
        await connection.execute("begin")
        try:
            await connection.execute(limit)
            await connection.execute(sql.SQL("lock table {} in share mode").format(tables))
            break
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            await connection.execute("rollback")
            await asyncio.sleep(random.uniform(0.02, 0.3))  # noqa: S311 - so that the next try meets others
    else:
        raise DatabaseBusyError("writers did not pause for the backup; it is tried again later")
    try:
        yield
    finally:
        await connection.execute("rollback")


async def _tables(connection: Connection) -> list[tuple[str, str]]:
    rows = await (
        await connection.execute(
            """select n.nspname, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
               where c.relkind in ('r', 'p') and n.nspname = any(%s) order by 1, 2""",
            [_SCHEMAS],
        )
    ).fetchall()
    return [(row[0], row[1]) for row in rows]


async def count_rows(connection: Connection) -> dict[str, int]:
    """By `schema.table`."""
    counts: dict[str, int] = {}
    for schema, table in await _tables(connection):
        query = sql.SQL("select count(*) from {}").format(sql.Identifier(schema, table))
        row = await (await connection.execute(query)).fetchone()
        counts[f"{schema}.{table}"] = 0 if row is None else row[0]
    return counts


async def named_objects(connection: Connection) -> AsyncGenerator[str]:
    """The keys of all objects that rows name, however many; needs a transaction."""
    parts = [
        sql.SQL("select {} from {} where {} is not null").format(
            sql.Identifier(column), sql.Identifier("public", table), sql.Identifier(column)
        )
        for table, column in OBJECT_COLUMNS
    ]
    async with connection.cursor(name="named_objects") as cursor:
        await cursor.execute(sql.SQL(" union all ").join(parts))
        async for row in cursor:
            yield row[0]


async def newest_objects(
    connection: Connection, after: Mapping[str, int], overlap: int
) -> tuple[list[str], dict[str, int]]:
    """Keys that rows name whose ids come after those of `after`, less `overlap`, by table; and the highest
    ids there are. A transaction may commit after another that has higher ids: hence the overlap.
    """
    keys: list[str] = []
    highest: dict[str, int] = {}
    for table, column in OBJECT_COLUMNS:
        query = sql.SQL("select {}, id from {} where id > %s").format(
            sql.Identifier(column), sql.Identifier("public", table)
        )
        rows = await (await connection.execute(query, [after.get(table, 0) - overlap])).fetchall()
        keys += [row[0] for row in rows if row[0] is not None]
        highest[table] = max([after.get(table, 0), *(row[1] for row in rows)])
    return keys, highest


async def applied_migrations(connection: Connection) -> list[str]:
    rows = await (
        await connection.execute("select name from visiona.schema_migrations order by name")
    ).fetchall()
    return [row[0] for row in rows]


async def audit_head(connection: Connection) -> tuple[int, str] | None:
    """Number and hash of the last entry in the chain of the audit log."""
    row = await (
        await connection.execute(
            """select seq, encode(entry_hash, 'hex') from audit_logs
               where seq is not null order by seq desc limit 1"""
        )
    ).fetchone()
    return None if row is None else (row[0], row[1])


async def log_position(connection: Connection) -> str:
    """The file of the log that is being written."""
    return await fetch_value(connection, "select pg_walfile_name(pg_current_wal_insert_lsn())", [])


async def changes(connection: Connection) -> int:
    """How many rows were ever written, but for the worker's signs of life; grows with each change."""
    return await fetch_value(
        connection,
        """select coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::bigint from pg_stat_user_tables
           where relname not in ('procrastinate_workers', 'procrastinate_periodic_defers')
             and schemaname <> 'procrastinate'""",
        [],
    )


async def finish_segment(connection: Connection, limit_s: float = 20.0) -> str:
    """Begin a new file of the log, and wait until the one before is laid down; answers its name.

    Raises `TimeoutError` when the server does not come to it.
    """
    row = await (
        await connection.execute(
            """with before as (select pg_current_wal_insert_lsn() - 1 as lsn)
               select pg_walfile_name(lsn), pg_switch_wal() from before"""
        )
    ).fetchone()
    assert row is not None  # noqa: S101 - a select without a table answers one row
    deadline = time.monotonic() + limit_s
    while True:
        last = await fetch_value(connection, "select last_archived_wal from pg_stat_archiver", [])
        if last is not None and last[8:24] >= row[0][8:24]:
            return row[0]
        if time.monotonic() > deadline:
            raise TimeoutError("the server does not lay down its log; its own log says why")
        await asyncio.sleep(0.1)


# A restore, and what comes after


async def check_empty(connection: Connection) -> None:
    """Raises `NotEmptyError` where a database has tables of Visiona's already."""
    tables = await _tables(connection)
    if tables:
        raise NotEmptyError(
            f"the database has tables already ({tables[0][0]}.{tables[0][1]}); a dump is loaded into an "
            "empty one. Make one, and name it in VISIONA_DATABASE_URL"
        )


@asynccontextmanager
async def owners_may_create(url: str) -> AsyncGenerator[None]:
    """While a dump is loaded by a role that is no superuser, functions are handed to the roles they run as,
    which has to be theirs to own there.
    """
    roles = sql.SQL(", ").join([sql.Identifier(AUTH_ROLE), sql.Identifier(WORKER_ROLE)])
    async with await connect(url) as connection:
        await connection.execute(sql.SQL("grant create on schema public, visiona to {}").format(roles))
        try:
            yield
        finally:
            await connection.execute(sql.SQL("revoke create on schema public, visiona from {}").format(roles))


async def move_ids_past(connection: Connection, highest: int) -> None:
    """No person of the future gets an id up to `highest`: their keys were others'."""
    await connection.execute(
        """select setval(s, greatest(%s, nextval(s))) from pg_get_serial_sequence('users', 'id') s""",
        [highest],
    )


async def known_people(connection: Connection, ids: Collection[int]) -> list[int]:
    """Which of these people have rows."""
    rows = await (
        await connection.execute("select id from users where id = any(%s) order by id", [list(ids)])
    ).fetchall()
    return [row[0] for row in rows]


async def policy_faults(connection: Connection) -> list[str]:
    """Tables that row-level security does not guard, or that show rows to somebody who is nobody."""
    rows = await (
        await connection.execute(
            """select n.nspname || '.' || c.relname, c.relrowsecurity and c.relforcerowsecurity
               from pg_class c join pg_namespace n on n.oid = c.relnamespace
               where c.relkind in ('r', 'p') and n.nspname in ('public', 'visiona') order by 1"""
        )
    ).fetchall()
    faults = [f"{name} is not guarded by row-level security" for name, guarded in rows if not guarded]
    return faults + await _shown_to_a_stranger(connection)


async def _shown_to_a_stranger(connection: Connection) -> list[str]:
    """As the application, with claims to be somebody and no proof of it."""
    owned = await (
        await connection.execute(
            """select c.relname from pg_attribute a join pg_class c on c.oid = a.attrelid
               where a.attname = 'user_id' and c.relkind = 'r' and c.relnamespace = 'public'::regnamespace
               order by 1"""
        )
    ).fetchall()
    shown: list[str] = []
    async with connection.transaction(force_rollback=True):
        claims = '{"role": "authenticated", "sub": "stranger", "user_id": 1}'
        await connection.execute("select set_config('request.jwt.claims', %s, true)", [claims])
        await connection.execute(sql.SQL("set local role {}").format(sql.Identifier(APP_ROLE)))
        for (table,) in owned:
            count = sql.SQL("select count(user_id) from {}").format(sql.Identifier("public", table))
            try:
                async with connection.transaction():
                    row = await (await connection.execute(count)).fetchone()
            except psycopg.errors.InsufficientPrivilege:
                continue
            if row is not None and row[0]:
                shown.append(f"public.{table} shows {row[0]} rows to somebody who proved nothing")
    return shown


async def index_faults(connection: Connection) -> list[str]:
    """What PostgreSQL's own checker finds wrong in tables and indexes, where the server brings it; elsewhere
    every index is built anew from its table, which reads all of it and finds what is there twice.
    """
    available = await fetch_value(
        connection, "select count(*) from pg_available_extensions where name = 'amcheck'", []
    )
    faults: list[str] = []
    if available:
        await connection.execute("create extension if not exists amcheck")
    indexes = await (
        await connection.execute(
            """select n.nspname, c.relname from pg_index i join pg_class c on c.oid = i.indexrelid
               join pg_namespace n on n.oid = c.relnamespace join pg_am m on m.oid = c.relam
               where n.nspname = any(%s) and m.amname = 'btree' order by 1, 2""",
            [_SCHEMAS],
        )
    ).fetchall()
    for schema, index in indexes:
        name = sql.Identifier(schema, index)
        try:
            if available:
                query = sql.SQL("select bt_index_check({}::regclass, true)")
                await connection.execute(query.format(sql.Literal(name.as_string())))
            else:
                await connection.execute(sql.SQL("reindex index {}").format(name))
        except psycopg.Error as error:
            faults.append(f"{schema}.{index}: {error.diag.message_primary or type(error).__name__}")
    return faults


# What became of backups


async def record_run(
    connection: Connection,
    kind: str,
    set_id: str,
    started_at: datetime,
    *,
    ok: bool,
    report: Mapping[str, Any],
) -> None:
    await connection.execute(
        """insert into backup_runs (kind, set_id, started_at, ok, report) values (%s, %s, %s, %s, %s)""",
        [kind, set_id, started_at, ok, Jsonb(dict(report))],
    )
    await connection.execute("delete from backup_runs where finished_at < now() - interval '30 days'")


@dataclass(frozen=True, slots=True)
class Run:
    kind: str
    set_id: str
    finished_at: datetime
    ok: bool
    report: Mapping[str, Any]


async def last_runs(connection: Connection) -> Sequence[Run]:
    """The newest of each kind."""
    rows = await (
        await connection.execute(
            """select distinct on (kind) kind, set_id, finished_at, ok, report from backup_runs
               order by kind, finished_at desc"""
        )
    ).fetchall()
    return [Run(*row) for row in rows]
