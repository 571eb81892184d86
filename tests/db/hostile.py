"""What the tests of hostile SQL share: a database as production has it, a victim, and a watch on both."""

import json
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

# What tells whose a row is.
OWNERS = "coalesce(to_jsonb(t) ->> 'user_id', case when {users} then to_jsonb(t) ->> 'id' end)"


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
                outcome.told += [str(row) for row in outcome.rows]
            if not cursor.nextset():
                return


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
        """select u.email, u.clerk_id, s.id::text, l.id::text, encode(p.credential_id, 'hex')
           from users u join sessions s on s.user_id = u.id join email_links l on l.user_id = u.id
             join passkeys p on p.user_id = u.id where u.id = %s""",
        [person.id],
    )
    found = await cursor.fetchone()
    assert found is not None
    names = ("email", "subject", "session", "link", "credential")
    named = dict(zip(names, map(str, found), strict=True))
    return Victim(person, frozenset(values | set(named.values())), named)


async def rows_of(owner: Connection, user_id: int) -> dict[str, list[str]]:
    """Every row of theirs as text, by table; and what belongs to nobody."""
    found: dict[str, list[str]] = {}
    for table in await _tables(owner):
        users = sql.SQL("true" if table == ("public", "users") else "false")
        query = sql.SQL("select t::text from {} t where " + OWNERS + " = %s order by 1").format(
            sql.Identifier(*table), users=users
        )
        cursor = await owner.execute(query, [str(user_id)])
        found[".".join(table)] = [text for (text,) in await cursor.fetchall()]
    for table in ("visiona.identity_keys", "visiona.schema_migrations", "public.plans"):
        cursor = await owner.execute(f"select t::text from {table} t order by 1".encode())
        found[table] = [text for (text,) in await cursor.fetchall()]
    return found


async def _tables(owner: Connection) -> list[tuple[str, str]]:
    cursor = await owner.execute(
        "select schemaname, tablename from pg_tables where schemaname in ('public', 'visiona')"
    )
    return [(schema, table) for schema, table in await cursor.fetchall()]


async def _strings(owner: Connection, user_id: int) -> set[str]:
    found: set[str] = set()
    for table in await _tables(owner):
        users = sql.SQL("true" if table == ("public", "users") else "false")
        query = sql.SQL("select to_jsonb(t) from {} t where " + OWNERS + " = %s").format(
            sql.Identifier(*table), users=users
        )
        cursor = await owner.execute(query, [str(user_id)])
        for (row,) in await cursor.fetchall():
            values = row if isinstance(row, dict) else json.loads(row)
            found |= {value for value in values.values() if isinstance(value, str)}
    return found


def _is_time(value: str) -> bool:
    return re.fullmatch(r"\d{4}-\d\d-\d\dT.*", value) is not None
