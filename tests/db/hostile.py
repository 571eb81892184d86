"""What the tests of hostile SQL share: a database as production has it, a victim, and a watch on both."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql
from tests.conftest import IDENTITY
from tests.factories.people import Person

from visiona.db.actor import Actor
from visiona.db.pool import Connection, identify


@dataclass(frozen=True, slots=True)
class Victim:
    """Somebody whose rows are nobody else's business. `values` are what only they have."""

    person: Person
    values: frozenset[str]
    named: dict[str, str] = field(repr=False)

    def betrayed_by(self, text: str) -> set[str]:
        return {value for value in self.values if value in text}


@dataclass(slots=True)
class Outcome:
    """All that a sequence of statements told whoever sent it, and the error that ended it."""

    told: list[str] = field(default_factory=list)
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    error: psycopg.Error | None = None

    @property
    def text(self) -> str:
        return "\n".join(self.told)


async def run(connection: Connection, statements: Sequence[str]) -> Outcome:
    """One after the other until one fails, with every row, notice and error that comes back."""
    outcome = Outcome()

    def hear(notice: psycopg.errors.Diagnostic) -> None:
        outcome.told.append(f"{notice.message_primary} {notice.message_detail} {notice.context}")

    connection.add_notice_handler(hear)
    try:
        for statement in statements:
            outcome.rows = []
            await _run_one(connection, statement, outcome)
    except psycopg.Error as error:
        outcome.error = error
        details = error.diag
        outcome.told.append(f"{error} {details.message_detail} {details.message_hint} {details.context}")
    finally:
        connection.remove_notice_handler(hear)
    return outcome


async def _run_one(connection: Connection, statement: str, outcome: Outcome) -> None:
    async with connection.cursor() as cursor:
        if re.match(r"copy .* to stdout", statement, re.IGNORECASE | re.DOTALL):
            async with cursor.copy(statement) as copy:
                outcome.told += [bytes(block).decode() async for block in copy]
            return
        if re.match(r"copy .* from stdin", statement, re.IGNORECASE | re.DOTALL):
            async with cursor.copy(statement) as copy:
                await copy.write("1\t1\n")
            return
        await cursor.execute(statement.encode())
        while True:
            if cursor.description is not None:
                outcome.rows = await cursor.fetchall()
                outcome.told += [str(tuple(map(_legible, row))) for row in outcome.rows]
            if not cursor.nextset():
                return


def _legible(value: Any) -> Any:
    """Bytes as PostgreSQL writes them, which is how a victim's are known."""
    return f"\\x{value.hex()}" if isinstance(value, bytes) else value


async def begin(connection: Connection, actor: Actor) -> str:
    """A transaction as the pool begins it; answers the proof that was set."""
    await connection.execute("begin")
    await identify(connection, actor, IDENTITY)
    cursor = await connection.execute("select current_setting('visiona.proof')")
    (proof,) = await cursor.fetchone() or ("",)
    return proof


async def make_victim(owner: Connection, person: Person, other: Person) -> Victim:
    """`values` are all strings in their rows that are not in the rows of `other`."""
    theirs = await _strings(owner, person.id)
    common = await _strings(owner, other.id)
    values = {value for value in theirs - common if len(value) >= 8 and not _is_time(value)}
    cursor = await owner.execute(
        """select u.email::text, encode(u.email_index, 'hex'), u.clerk_id, s.id::text, l.id::text,
             encode(p.credential_id, 'hex')
           from users u join sessions s on s.user_id = u.id join email_links l on l.user_id = u.id
             join passkeys p on p.user_id = u.id where u.id = %s""",
        [person.id],
    )
    found = await cursor.fetchone()
    assert found is not None
    names = ("email", "index", "subject", "session", "link", "credential")
    named = dict(zip(names, map(str, found), strict=True))
    return Victim(person, frozenset(values | set(named.values())), named)


async def rows_of(owner: Connection, user_id: int) -> list[tuple[str, str]]:
    """Every row of theirs as text, with its table; and what belongs to nobody."""
    theirs = await _rows(owner, user_id, sql.SQL("t::text"))
    common = " union all ".join(
        f"select '{table}', t::text from {table} t"
        for table in ("visiona.identity_keys", "visiona.schema_migrations", "public.plans")
    )
    cursor = await owner.execute(common.encode())
    return sorted([*theirs, *await cursor.fetchall()])


async def _rows(owner: Connection, user_id: int, form: sql.SQL) -> list[tuple[str, Any]]:
    cursor = await owner.execute(
        """select c.relname, a.attname from pg_class c
           join pg_attribute a on a.attrelid = c.oid
             and a.attname = case c.relname when 'users' then 'id' else 'user_id' end
           where c.relnamespace = 'public'::regnamespace and c.relkind = 'r'"""
    )
    query = sql.SQL(" union all ").join(
        sql.SQL("select {}, {} from {} t where {} = {}").format(
            sql.Literal(table), form, sql.Identifier(table), sql.Identifier(column), sql.Literal(user_id)
        )
        for table, column in await cursor.fetchall()
    )
    return await (await owner.execute(query)).fetchall()


async def _strings(owner: Connection, user_id: int) -> set[str]:
    found: set[str] = set()
    for _, row in await _rows(owner, user_id, sql.SQL("to_jsonb(t)")):
        found |= {value for value in row.values() if isinstance(value, str)}
    return found


def _is_time(value: str) -> bool:
    return re.fullmatch(r"\d{4}-\d\d-\d\dT.*", value) is not None
