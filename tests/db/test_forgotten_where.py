"""One connection, used by everybody in turn and after every kind of mishap: nobody sees another's rows.

What each table shows to whom is in `test_row_level_security`; here it is the connection that is on trial.
Statements have no WHERE, as if it had been forgotten.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator, Sequence

import psycopg
import pytest
from psycopg import sql
from tests.conftest import IDENTITY
from tests.factories.people import Person

from visiona.core.errors import Unavailable
from visiona.db.actor import Actor, Anonymous
from visiona.db.pool import Connection, Database, SwallowedErrorError

SEED = 20_261_123
TIMES = 10_000


@pytest.fixture(params=[False, True], ids=["session", "pooler"])
async def single(request: pytest.FixtureRequest, app_url: str) -> AsyncGenerator[Database]:
    """A pool of one connection. Behind a pooler no statement stays prepared."""
    database = Database(app_url, IDENTITY, max_size=1, pooler=request.param)
    await database.open()
    yield database
    await database.close()


@pytest.fixture
async def everything(owner: Connection) -> list[tuple[str, str]]:
    """Each table with its owner's column that the application may read."""
    cursor = await owner.execute(
        """select c.relname, a.attname from pg_class c
           join pg_attribute a on a.attrelid = c.oid
             and a.attname = case c.relname when 'users' then 'id' else 'user_id' end
           where c.relnamespace = 'public'::regnamespace and c.relkind = 'r'
             and has_column_privilege('visiona_app', c.oid, a.attnum, 'select')"""
    )
    return await cursor.fetchall()


def _one_of_each(everything: Sequence[tuple[str, str]]) -> sql.Composed:
    """Whose rows all tables show together, in one statement."""
    return sql.SQL(" union all ").join(
        sql.SQL("select distinct {} from {}").format(sql.Identifier(column), sql.Identifier(table))
        for table, column in everything
    )


async def _seen(connection: Connection, query: sql.Composed) -> set[int]:
    return {row[0] for row in await (await connection.execute(query)).fetchall()}


async def test_ten_thousand_transactions_on_one_connection(
    single: Database, everything: list[tuple[str, str]], alice: Person, bob: Person
) -> None:
    """Actors at random, a table each time, and a mishap in one of ten."""
    dice = random.Random(SEED)
    actors: list[tuple[Actor, int | None]] = [
        (alice.actor, alice.id), (bob.actor, bob.id), (Anonymous(), None), (Anonymous("a key"), None),
    ]  # fmt: skip
    queries = [
        sql.SQL("select distinct {} from {}").format(sql.Identifier(column), sql.Identifier(table))
        for table, column in everything
    ]
    mishaps = 0
    for _ in range(TIMES):
        actor, user_id = dice.choice(actors)
        if dice.random() < 0.1:
            mishaps += 1
            await _fail(single, actor, dice)
        async with single.transaction(actor) as connection:
            assert await _seen(connection, dice.choice(queries)) <= {user_id}, f"seed {SEED}"
    assert mishaps > TIMES / 25


class _MishapError(Exception):
    pass


async def _fail(database: Database, actor: Actor, dice: random.Random) -> None:
    """An error of the database, one of ours, one that was swallowed, or a savepoint undone."""
    kind = dice.randrange(4)
    with contextlib.suppress(psycopg.Error, SwallowedErrorError, _MishapError):
        async with database.transaction(actor) as connection:
            if kind == 0:
                await connection.execute("select 1 / 0")
            if kind == 1:
                raise _MishapError
            if kind == 2:
                with contextlib.suppress(psycopg.Error):
                    await connection.execute("select from nowhere")
            if kind == 3:
                async with connection.transaction(force_rollback=True):
                    await connection.execute("select count(*) from photos")


async def test_all_tables_after_each_mishap(
    single: Database,
    owner: Connection,
    everything: list[tuple[str, str]],
    alice: Person,
    bob: Person,
) -> None:
    """Whoever comes after a task that was cancelled, or a connection that was lost, sees what is theirs."""
    query = _one_of_each(everything)
    assert len(everything) >= 20

    async def sleep(actor: Actor) -> None:
        async with single.transaction(actor) as connection:
            await connection.execute("select count(*) from photos")
            await connection.execute("select pg_sleep(30)")

    async def lose(actor: Actor) -> None:
        async with single.transaction(actor) as connection:
            await owner.execute("select pg_terminate_backend(%s)", [connection.info.backend_pid])
            await connection.execute("select 1")

    async def leave_open(actor: Actor) -> None:
        async with single.transaction(actor) as connection:
            await connection.execute("commit; begin")

    async def check() -> None:
        for person in (alice, bob):
            async with single.transaction(person.actor) as connection:
                assert await _seen(connection, query) == {person.id}
            async with single.transaction(Anonymous()) as connection:
                assert await _seen(connection, query) == set()
            async with single.anonymous() as connection:
                assert await _seen(connection, query) == set()

    await check()
    for person in (alice, bob):
        task = asyncio.create_task(sleep(person.actor))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await check()
        with pytest.raises(Unavailable):
            await lose(person.actor)
        await check()
        await leave_open(person.actor)
        await check()


async def test_identities_do_not_meet_on_connections_that_are_shared_out(
    app_url: str, everything: list[tuple[str, str]], alice: Person, bob: Person
) -> None:
    """Many tasks at once on few connections, some of them cancelled midway."""
    query = _one_of_each(everything)
    dice = random.Random(SEED)
    database = Database(app_url, IDENTITY, max_size=3)
    await database.open()

    async def look(person: Person | None) -> None:
        async with database.transaction(Anonymous() if person is None else person.actor) as connection:
            expected = set() if person is None else {person.id}
            assert await _seen(connection, query) == expected
            await asyncio.sleep(0)
            assert await _seen(connection, query) == expected

    try:
        for _ in range(10):
            tasks = [asyncio.create_task(look(dice.choice([alice, bob, None]))) for _ in range(30)]
            await asyncio.sleep(0.02)
            for task in dice.sample(tasks, 5):
                task.cancel()
            done = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(item is None or isinstance(item, asyncio.CancelledError) for item in done), done
    finally:
        await database.close()
