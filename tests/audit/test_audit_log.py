"""The audit log grows by what people did, in the transaction in which they did it."""

from collections.abc import Awaitable, Callable

import psycopg
import pytest

from visiona.audit import service as audit
from visiona.audit.model import Action, Where
from visiona.core.client import ClientInfo
from visiona.core.origin import Origin, coming_from
from visiona.db.actor import SystemActor, UserActor
from visiona.db.pool import Database, fetch_value
from visiona.vault.service import Vault

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


async def test_who_and_from_where_is_taken_from_the_proved_identity(
    database: Database, worker_database: Database, make_user: MakeUser, vault: Vault
) -> None:
    actor = await make_user()
    cipher = await vault.cipher(actor.user_id)
    client = ClientInfo("203.0.113.7", "Firefox/140")

    async def write(of: Database, as_whom: UserActor | SystemActor) -> None:
        async with of.transaction(as_whom) as connection:
            await audit.record(connection, actor.user_id, Action.PHOTO_ADDED, {"photo_id": 7})

    await write(database, actor)
    with coming_from(Origin(request_id="r1", via="visitor", client=client)):
        await write(database, actor)
        audit.visited(cipher)
        await write(database, actor)
        audit.identified(cipher, "key", "5")
        audit.visited(cipher)  # which is known already
        await write(database, actor)
    with coming_from(Origin(request_id="job-1", via="system", via_id="clones.apply")):
        await write(worker_database, SystemActor("sweep"))
        await write(worker_database, actor)
    await write(worker_database, SystemActor("sweep"))

    async with database.transaction(actor) as connection:
        found = await audit.entries(connection, actor.user_id, 7)
    entries = audit.opened(found, {actor.user_id: cipher})[::-1]
    assert [(one.actor_kind, one.actor_id, one.request_id) for one in entries] == [
        ("person", None, None),
        ("visitor", None, "r1"),
        ("visitor", None, "r1"),
        ("key", "5", "r1"),
        ("system", "clones.apply", "job-1"),
        ("system", "clones.apply", "job-1"),
        ("system", "sweep", None),
    ]
    assert [one.where for one in entries[:2]] == [None, None]
    assert [one.where for one in entries[2:4]] == [Where("203.0.113.7", "Firefox/140")] * 2
    assert {(one.object_kind, one.object_id) for one in entries} == {("photo", "7")}
    stranger = await make_user()
    sealed = audit.opened(found, {actor.user_id: await vault.cipher(stranger.user_id)})
    assert {one.where for one in sealed} == {None}


async def test_nobody_says_themself_where_they_are(database: Database, make_user: MakeUser) -> None:
    actor = await make_user()
    for column, value in (
        ("actor_kind", "'admin'"),
        ("request_id", "'x'"),
        ("client", "'\\xf8'"),
        ("seq", "1"),
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            async with database.transaction(actor) as connection:
                statement = f"insert into audit_logs (user_id, action, {column}) values (%s, 'x', {value})"
                await connection.execute(statement.encode(), [actor.user_id])
