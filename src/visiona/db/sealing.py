"""Sealing what was written before its column was sealed: a step of `visiona migrate`, after its SQL.

A migration makes a column bytea and leaves the text in it. This seals it with each person's own key, in
batches that may be interrupted at any time, and then validates the constraint that says so: a column whose
constraint is valid was finished, and is not looked at again.
"""

import logging
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import psycopg
from psycopg import AsyncConnection, sql
from psycopg.rows import TupleRow, dict_row

from visiona.db.migrate import LOCK_ID, MigrationError
from visiona.db.roles import OWNER_ROLE
from visiona.db.sealed import SEALED, SealedColumn
from visiona.vault.model import VERSION, Cipher

BATCH = 500
# Whoever comes after a statement that waits for a lock waits behind it.
_LOCK_TIMEOUT = "10s"

_Connection = AsyncConnection[TupleRow]
Open = Callable[[int, bytes], bytes]
"""What a value of this person is without what it was encrypted with before."""

logger = logging.getLogger(__name__)


class Keys(Protocol):
    """What the vault is asked for here."""

    async def ciphers(self, user_ids: Iterable[int]) -> dict[int, Cipher]: ...

    def blind_index(self, purpose: str, value: str) -> bytes: ...


@asynccontextmanager
async def sealing(url: str) -> AsyncGenerator["Sealing"]:
    """As the database's owner, one at a time. Raises `MigrationError` where a lock cannot be had."""
    async with await AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("select pg_advisory_lock(%s)", [LOCK_ID])
        await connection.execute(sql.SQL("set lock_timeout = {}").format(sql.Literal(_LOCK_TIMEOUT)))
        await connection.execute(sql.SQL("set role {}").format(sql.Identifier(OWNER_ROLE)))
        try:
            yield Sealing(connection, await _unfinished(connection))
        except psycopg.errors.LockNotAvailable as error:
            raise MigrationError(
                f"Sealing waited {_LOCK_TIMEOUT} for a lock that somebody holds. Stop what uses the database "
                "and run it again: it goes on where it was."
            ) from error


@dataclass(frozen=True, slots=True)
class Sealing:
    """What is left to be sealed in the tables of a database."""

    connection: _Connection
    unfinished: Collection[SealedColumn]

    async def people(self) -> dict[int, bool]:
        """Everybody by id, and whether anything of theirs in `users` is sealed already."""
        async with _seen(self.connection, "users"):
            cursor = await self.connection.execute(
                r"select id, coalesce(substring(email from 1 for 1) = '\xf8', false) from users"
            )
            return dict(await cursor.fetchall())

    async def seal_rows(self, vault: Keys, opened: Mapping[SealedColumn, Open]) -> int:
        """Seal them all, and answer how many rows that were. What was encrypted otherwise before is `opened`.

        Raises `MigrationError` for a missing key.
        """
        tables: dict[str, list[SealedColumn]] = defaultdict(list)
        for column in SEALED:
            if column.table in {unfinished.table for unfinished in self.unfinished}:
                tables[column.table].append(column)
        changed = 0
        for columns in tables.values():
            table = _Table(self.connection, columns, opened)
            rows = await table.seal(vault)
            if rows:
                logger.info("sealed %d rows of %s", rows, table.name)
            changed += rows
        return changed

    async def finish(self) -> None:
        """Forget the plain text, and have the database hold that all of it is sealed.

        What an UPDATE leaves behind lies in the files of the table, and of its indexes, until that place
        is used again. VACUUM FULL writes them anew with what is visible only, and gives the old files back.
        It comes before the constraints are valid, so that it is done again where it was interrupted.
        """
        for table in dict.fromkeys(column.table for column in self.unfinished):
            await self.connection.execute(sql.SQL("vacuum (full, analyze) {}").format(sql.Identifier(table)))
        for table, constraint in await _unvalidated(self.connection):
            await self.connection.execute(
                sql.SQL("alter table {} validate constraint {}").format(
                    sql.Identifier(table), sql.Identifier(constraint)
                )
            )


class _Table:
    """The sealed columns of one table; a row's are sealed together, since its constraints are checked so."""

    def __init__(
        self, connection: _Connection, columns: Sequence[SealedColumn], opened: Mapping[SealedColumn, Open]
    ) -> None:
        self._connection = connection
        self._opened = opened
        self._columns = columns
        self._owner = columns[0].owner
        self.name = columns[0].table

    async def seal(self, vault: Keys) -> int:
        """Until a whole pass finds nothing that is not sealed."""
        key = await self._key()
        changed = 0
        while rows := await self._pass(key, vault):
            changed += rows
        return changed

    async def _pass(self, key: Sequence[str], vault: Keys) -> int:
        found, after = 0, None
        while rows := await self._plain_rows(key, after):
            ciphers = await vault.ciphers({row[self._owner] for row in rows})
            if missing := sorted({row[self._owner] for row in rows} - ciphers.keys()):
                raise MigrationError(
                    f"{self.name} has plain text of people who have no key: {', '.join(map(str, missing))}."
                )
            await self._update(key, [self._sealed(row, ciphers[row[self._owner]], vault) for row in rows])
            found += len(rows)
            after = [rows[-1][name] for name in key]
        return found

    async def _key(self) -> list[str]:
        cursor = await self._connection.execute(
            """select a.attname from pg_index i, unnest(i.indkey) with ordinality k (number, position)
               join pg_attribute a on a.attrelid = %(table)s::regclass and a.attnum = k.number
               where i.indrelid = %(table)s::regclass and i.indisprimary order by k.position""",
            {"table": self.name},
        )
        return [row[0] for row in await cursor.fetchall()]

    async def _plain_rows(self, key: Sequence[str], after: Sequence[Any] | None) -> list[dict[str, Any]]:
        wanted = dict.fromkeys([*key, self._owner, *(column.column for column in self._columns)])
        query = sql.SQL("select {wanted} from {table} where ({plain}) {after} order by {key} limit {limit}")
        statement = query.format(
            wanted=_names(wanted),
            table=sql.Identifier(self.name),
            plain=sql.SQL(" or ").join(self._is_plain(column) for column in self._columns),
            after=sql.SQL("")
            if after is None
            else sql.SQL("and ({}) > ({})").format(
                _names(key), sql.SQL(", ").join(sql.Literal(value) for value in after)
            ),
            key=_names(key),
            limit=sql.Literal(BATCH),
        )
        async with (
            _seen(self._connection, self.name),
            self._connection.cursor(row_factory=dict_row) as cursor,
        ):
            await cursor.execute(statement)
            return await cursor.fetchall()

    def _sealed(self, row: Mapping[str, Any], cipher: Cipher, vault: Keys) -> dict[str, Any]:
        """The row's key, its new values under `new_…`, and what goes with them."""
        values = dict(row)
        for column in self._columns:
            plain = row[column.column]
            if plain is None or plain[:1] == VERSION:
                values[f"new_{column.column}"] = plain
                continue
            if column in self._opened:
                plain = self._opened[column](row[self._owner], plain)
            values[f"new_{column.column}"] = cipher.seal_bytes(column.place, plain)
            if column.index is not None:
                values[f"new_{column.index.column}"] = vault.blind_index(column.index.purpose, plain.decode())
        return values

    async def _update(self, key: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
        """Each row, unless it was changed since it was read: then the next pass finds it."""
        read = [*key, *(column.column for column in self._columns)]
        same = [
            sql.SQL("{} is not distinct from {}").format(sql.Identifier(name), sql.Placeholder(name))
            for name in read
        ]
        async with _seen(self._connection, self.name):
            for row in rows:
                new = [
                    sql.SQL("{} = {}").format(
                        sql.Identifier(name.removeprefix("new_")), sql.Placeholder(name)
                    )
                    for name in row
                    if name.startswith("new_")
                ]
                statement = sql.SQL("update {} set {} where {}").format(
                    sql.Identifier(self.name), sql.SQL(", ").join(new), sql.SQL(" and ").join(same)
                )
                await self._connection.execute(statement, row)

    @staticmethod
    def _is_plain(column: SealedColumn) -> sql.Composed:
        return sql.SQL(r"substring({} from 1 for 1) <> '\xf8'").format(sql.Identifier(column.column))


def _names(names: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, names))


@asynccontextmanager
async def _seen(connection: _Connection, table: str) -> AsyncGenerator[None]:
    """A transaction in which the owner sees everybody's rows of this table, and nobody else comes between."""
    name = sql.Identifier(table)
    async with connection.transaction():
        await connection.execute(sql.SQL("alter table {} no force row level security").format(name))
        yield
        await connection.execute(sql.SQL("alter table {} force row level security").format(name))


async def _unfinished(connection: _Connection) -> list[SealedColumn]:
    waiting = {constraint for _, constraint in await _unvalidated(connection)}
    return [column for column in SEALED if column.constraint in waiting]


async def _unvalidated(connection: _Connection) -> list[tuple[str, str]]:
    """(table, constraint)"""
    cursor = await connection.execute(
        """select relname, conname from pg_constraint join pg_class c on c.oid = conrelid
           where not convalidated and contype = 'c' and c.relnamespace = 'public'::regnamespace
           order by relname, conname"""
    )
    return [(table, constraint) for table, constraint in await cursor.fetchall()]
