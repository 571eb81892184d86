"""`Database.transaction`: the identity, the nesting, the database that is away, and law 3."""

import asyncio
import contextlib
import tempfile

import httpx
import psycopg
import pytest
from tests.conftest import IDENTITY
from tests.factories.people import MakeUser, OpenDatabase

from visiona.adapters.egress import Destinations
from visiona.adapters.http import make_http_client
from visiona.core.errors import Unavailable
from visiona.core.guard import TransactionOpenError, in_transaction
from visiona.db.actor import Actor, Anonymous, SystemActor, UserActor
from visiona.db.pool import (
    CHECK_AFTER_IDLE_S,
    Database,
    NestedTransactionError,
    SwallowedErrorError,
    fetch_value,
)

WHO = "select visiona.uid(), visiona.is_system(), visiona.claims() ->> 'sub'"


@pytest.fixture
async def person(make_user: MakeUser) -> UserActor:
    return await make_user()


@pytest.mark.parametrize(
    ("actor", "seen"),
    [
        (UserActor(7, "user_x"), (7, False, "user_x")),
        (UserActor(7, "o'x\\'; commit; --$$%s"), (7, False, "o'x\\'; commit; --$$%s")),
        (SystemActor("sweep"), (None, True, "system:sweep")),
        (Anonymous(), (None, False, None)),
    ],
)
async def test_sql_sees_the_actor(database: Database, actor: Actor, seen: tuple[object, ...]) -> None:
    async with database.transaction(actor) as connection:
        cursor = await connection.execute(WHO)
        assert await cursor.fetchone() == seen


@pytest.mark.parametrize("fails", [False, True])
async def test_the_identity_ends_with_the_transaction(open_database: OpenDatabase, fails: bool) -> None:
    async def work(database: Database) -> None:
        async with database.transaction(UserActor(7)):
            if fails:
                raise LookupError

    async with open_database(max_size=1) as database:
        try:
            await work(database)
        except LookupError:
            assert fails
        async with database._pool.connection() as connection:
            cursor = await connection.execute(WHO)
            assert await cursor.fetchone() == (None, False, None)


async def test_an_error_undoes_everything(database: Database, person: UserActor) -> None:
    query = "insert into pending_objects (key, user_id) values (%s, %s)"

    async def fail() -> None:
        async with database.transaction(person) as connection:
            await connection.execute(query, [f"u{person.user_id}/x", person.user_id])
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    async with database.transaction(person) as connection:
        assert await fetch_value(connection, "select count(*) from pending_objects", []) == 0


async def test_a_transaction_inside_another_is_refused(database: Database, person: UserActor) -> None:
    async def nest() -> None:
        async with database.transaction(person):
            raise AssertionError("two connections for one task can deadlock the pool")

    async with database.transaction(person):
        with pytest.raises(NestedTransactionError):
            await nest()
        with pytest.raises(NestedTransactionError):
            await asyncio.create_task(nest())
    async with database.transaction(person) as connection:
        assert await fetch_value(connection, "select 1", []) == 1


async def test_transactions_of_different_tasks_do_not_nest(database: Database, person: UserActor) -> None:
    async def one() -> int:
        async with database.transaction(person) as connection:
            await asyncio.sleep(0.01)
            return await fetch_value(connection, "select 1", [])

    assert await asyncio.gather(*(one() for _ in range(5))) == [1] * 5


# Away


@pytest.fixture
def nowhere() -> str:
    """A URL without a server behind it."""
    with tempfile.TemporaryDirectory(prefix="visiona-nowhere-") as folder:
        return f"postgresql://visiona_app@/visiona?host={folder}"


async def test_a_database_that_is_away_is_unavailable(open_database: OpenDatabase, nowhere: str) -> None:
    async with open_database(url=nowhere) as database:
        database._pool.timeout = 0.2
        with pytest.raises(Unavailable) as raised:
            async with database.transaction(Anonymous()):
                pass
    assert (raised.value.code, raised.value.retry_after) == ("database_unavailable", 5)
    assert not in_transaction()


async def test_a_pool_that_stays_empty_is_unavailable(open_database: OpenDatabase) -> None:
    async with open_database(max_size=1) as database:
        database._pool.timeout = 0.2
        async with database._pool.connection():
            with pytest.raises(Unavailable):
                async with database.transaction(Anonymous()):
                    pass
        async with database.transaction(Anonymous()) as connection:
            assert await fetch_value(connection, "select 1", []) == 1


async def test_a_connection_lost_in_a_transaction_is_unavailable(
    open_database: OpenDatabase, owner: psycopg.AsyncConnection
) -> None:
    """And the next transaction gets a fresh one."""

    async def lose(database: Database) -> None:
        async with database.transaction(Anonymous()) as connection:
            await _end(owner, connection)
            await connection.execute("select 1")

    async with open_database(max_size=1) as database:
        with pytest.raises(Unavailable):
            await lose(database)
        async with database.transaction(Anonymous()) as connection:
            assert await fetch_value(connection, "select 1", []) == 1


async def test_a_connection_lost_while_idle_is_not_noticed(
    open_database: OpenDatabase, owner: psycopg.AsyncConnection
) -> None:
    async with open_database(max_size=1) as database:
        async with database._pool.connection() as connection:
            pass
        await _end(owner, connection)
        await asyncio.sleep(CHECK_AFTER_IDLE_S + 0.1)
        async with database.transaction(Anonymous()) as fresh:
            assert await fetch_value(fresh, "select 1", []) == 1


async def test_a_connection_lost_between_two_requests_costs_one_of_them(
    open_database: OpenDatabase, owner: psycopg.AsyncConnection
) -> None:
    async with open_database(max_size=1) as database:
        async with database.transaction(Anonymous()) as connection:
            pass
        await _end(owner, connection)
        with pytest.raises(Unavailable):
            async with database.transaction(Anonymous()):
                pass
        async with database.transaction(Anonymous()) as fresh:
            assert await fetch_value(fresh, "select 1", []) == 1


async def test_a_task_that_is_canceled_in_a_query_again_and_again_is_canceled(
    database: Database, person: UserActor, caplog: pytest.LogCaptureFixture
) -> None:
    asleep = asyncio.Event()

    async def sleep() -> None:
        async with database.transaction(person) as connection:
            asleep.set()
            await connection.execute("select pg_sleep(30)")

    task = asyncio.create_task(sleep())
    await asleep.wait()
    await asyncio.sleep(0.1)
    for _ in range(1000):
        if task.done():
            break
        task.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert "for want of the database" not in caplog.text
    async with database.transaction(person) as connection:
        assert await fetch_value(connection, "select 1", []) == 1


async def test_an_error_that_was_caught_inside_a_transaction_is_no_success(database: Database) -> None:
    with pytest.raises(SwallowedErrorError):
        async with database.transaction(Anonymous()) as connection:
            with contextlib.suppress(psycopg.errors.DivisionByZero):
                await connection.execute("select 1 / 0")


async def _end(owner: psycopg.AsyncConnection, connection: psycopg.AsyncConnection) -> None:
    assert await fetch_value(owner, "select pg_terminate_backend(%s, 5000)", [connection.info.backend_pid])


@pytest.mark.parametrize(("pooler", "prepared"), [(True, False), (False, True)])
async def test_nothing_is_prepared_behind_a_transaction_pooler(
    app_url: str, pooler: bool, prepared: bool
) -> None:
    database = Database(app_url, IDENTITY, max_size=1, pooler=pooler)
    await database.open()
    async with database.transaction(Anonymous()) as connection:
        for number in range(8):
            await fetch_value(connection, "select %s::int", [number])
        count = await fetch_value(connection, "select count(*) from pg_prepared_statements", [])
    await database.close()
    assert (count > 0) == prepared


# Law 3


async def test_no_provider_is_called_inside_a_transaction(database: Database) -> None:
    async with make_http_client(Destinations.of(["http://127.0.0.1:1"])) as client:
        async with database.transaction(Anonymous()):
            with pytest.raises(TransactionOpenError):
                await client.get("http://127.0.0.1:1/")
            with pytest.raises(TransactionOpenError):
                await asyncio.create_task(client.get("http://127.0.0.1:1/"))
        with pytest.raises(httpx.ConnectError):
            await client.get("http://127.0.0.1:1/")
