"""The audit log grows by what people did, in the transaction in which they did it."""

from collections.abc import Awaitable, Callable

import psycopg
import pytest

from visiona.audit import service as audit
from visiona.audit.model import Action
from visiona.db.actor import SystemActor, UserActor
from visiona.db.pool import Database, fetch_value

MakeUser = Callable[..., Awaitable[UserActor]]


async def rows(database: Database, actor: UserActor) -> list[tuple]:
    async with database.transaction(actor) as connection:
        cursor = await connection.execute("select user_id, action, details from audit_logs order by id")
        return await cursor.fetchall()


async def test_a_record_is_the_users_own(database: Database, make_user: MakeUser) -> None:
    actor, stranger = await make_user(), await make_user()
    async with database.transaction(actor) as connection:
        await audit.record(connection, actor.user_id, Action.PHOTO_ADDED, {"photo_id": 7})
        await audit.record(connection, actor.user_id, Action.PHOTO_DELETED)
    assert await rows(database, actor) == [
        (actor.user_id, "account.created", None),
        (actor.user_id, "photo.added", {"photo_id": 7}),
        (actor.user_id, "photo.deleted", None),
    ]
    assert await rows(database, stranger) == [(stranger.user_id, "account.created", None)]


async def test_a_record_goes_with_its_transaction(database: Database, make_user: MakeUser) -> None:
    actor = await make_user()

    async def fail() -> None:
        async with database.transaction(actor) as connection:
            await audit.record(connection, actor.user_id, Action.PHOTO_ADDED)
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    assert [row[1] for row in await rows(database, actor)] == ["account.created"]


async def test_nobody_writes_in_anothers_name(database: Database, make_user: MakeUser) -> None:
    actor, stranger = await make_user(), await make_user()
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with database.transaction(stranger) as connection:
            await audit.record(connection, actor.user_id, Action.PHOTO_ADDED)


async def test_the_worker_records_for_people(
    worker_database: Database, database: Database, make_user: MakeUser
) -> None:
    actor = await make_user()
    async with worker_database.transaction(SystemActor("sweep")) as connection:
        await audit.record(connection, actor.user_id, Action.CLONE_READY, {"model_id": 1})
    assert (actor.user_id, "clone.ready", {"model_id": 1}) in await rows(database, actor)


async def test_the_log_outlives_the_account(make_user: MakeUser, owner_url: str) -> None:
    actor = await make_user()
    async with await psycopg.AsyncConnection.connect(owner_url, autocommit=True) as connection:
        query = "select id from audit_logs where user_id = %s"
        row_id = await fetch_value(connection, query, [actor.user_id])
        await connection.execute("delete from users where id = %s", [actor.user_id])
        cursor = await connection.execute("select user_id, action from audit_logs where id = %s", [row_id])
        assert await cursor.fetchall() == [(None, "account.created")]
