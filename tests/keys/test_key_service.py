"""Keys are made, recognized, revoked and forgotten; the database holds the rest of the program to it."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from tests.factories.people import MakeUser

from visiona.core.errors import Conflict, NotFound, Unauthenticated
from visiona.db.actor import Anonymous, SystemActor, UserActor
from visiona.db.pool import Connection, Database, fetch_value
from visiona.keys.jobs import jobs
from visiona.keys.model import KEYS_MAX, CreatedKey, Scope, new_token, requested_key, token_hash
from visiona.keys.service import KeyService

SetKey = Callable[[int, str], Awaitable[None]]


async def make(keys: KeyService, actor: UserActor, *scopes: Scope, days: int = 90) -> CreatedKey:
    return await keys.create(actor, requested_key("a program", scopes or [Scope.PHOTOS_READ], days))


async def refused(keys: KeyService, token: str) -> Unauthenticated:
    with pytest.raises(Unauthenticated) as caught:
        await keys.authenticate(token)
    return caught.value


async def column(owner: Connection, key_id: int, name: str) -> object:
    return await fetch_value(owner, f"select {name} from api_keys where id = %s", [key_id])  # type: ignore[arg-type] # a name of this file


# Making and recognizing


async def test_a_key_is_its_owners_with_its_scopes(keys: KeyService, make_user: MakeUser) -> None:
    actor = await make_user()
    created = await make(keys, actor, Scope.IMAGES_WRITE, Scope.IMAGES_READ)
    holder = await keys.authenticate(created.token)
    assert (holder.user_id, holder.subject, holder.key_id) == (actor.user_id, actor.subject, created.key.id)
    assert holder.scopes == {Scope.IMAGES_READ, Scope.IMAGES_WRITE}
    assert not holder.suspended
    assert created.key.scopes == (Scope.IMAGES_READ, Scope.IMAGES_WRITE)
    assert created.token not in repr(created)


async def test_it_lives_as_long_as_was_asked(keys: KeyService, make_user: MakeUser) -> None:
    actor = await make_user()
    for days in (1, 90, 365):
        created = await make(keys, actor, days=days)
        lifetime = created.key.expires_at - datetime.now(UTC)
        assert abs(lifetime - timedelta(days=days)) < timedelta(minutes=1)


async def test_the_database_does_not_know_the_key(
    keys: KeyService, make_user: MakeUser, owner: Connection
) -> None:
    created = await make(keys, await make_user())
    row = str(await column(owner, created.key.id, "to_jsonb(api_keys)"))
    prefix, secret, checksum = created.token.rsplit("_", 2)
    assert prefix in row
    assert secret not in row
    assert checksum not in row
    assert await column(owner, created.key.id, "secret_hash") == token_hash(created.token)


async def test_a_list_shows_ones_own_keys_and_no_secret(keys: KeyService, make_user: MakeUser) -> None:
    actor, stranger = await make_user(), await make_user()
    made = [(await make(keys, actor)).key for _ in range(3)]
    await make(keys, stranger)
    assert await keys.page(actor, 50) == made[::-1]
    assert await keys.page(actor, 2) == [made[2], made[1]]
    assert await keys.page(actor, 2, made[1].id) == [made[0]]


async def test_twenty_live_keys_and_no_more(keys: KeyService, make_user: MakeUser, set_key: SetKey) -> None:
    """Asked for at the same time, too."""
    actor = await make_user()
    results = await asyncio.gather(*(make(keys, actor) for _ in range(KEYS_MAX + 5)), return_exceptions=True)
    made = [result for result in results if isinstance(result, CreatedKey)]
    others = [result for result in results if not isinstance(result, CreatedKey)]
    assert len(made) == KEYS_MAX
    assert [error.code for error in others if isinstance(error, Conflict)] == ["too_many_keys"] * 5
    await make(keys, await make_user())  # another's are counted for themself
    await keys.revoke(actor, made[0].key.id)
    await set_key(made[1].key.id, "expires_at = now()")
    await make(keys, actor)
    await make(keys, actor)
    with pytest.raises(Conflict):
        await make(keys, actor)


# Ending


async def test_a_revoked_key_is_refused_at_once(keys: KeyService, make_user: MakeUser) -> None:
    actor = await make_user()
    created, other = await make(keys, actor), await make(keys, actor)
    await keys.authenticate(created.token)
    await keys.revoke(actor, created.key.id)
    await keys.revoke(actor, created.key.id)
    assert (await refused(keys, created.token)).code == "invalid_token"
    await keys.authenticate(other.token)
    (_, revoked) = await keys.page(actor, 50)
    assert revoked.revoked_at is not None


async def test_whatever_ends_a_key_is_answered_alike(
    keys: KeyService, make_user: MakeUser, set_key: SetKey, owner: Connection
) -> None:
    actor, deleted = await make_user(), await make_user()
    expired, revoked, gone = await make(keys, actor), await make(keys, actor), await make(keys, deleted)
    await set_key(expired.key.id, "expires_at = now()")
    await keys.revoke(actor, revoked.key.id)
    await owner.execute("update users set status = 'deleted' where id = %s", [deleted.user_id])
    tokens = [expired.token, revoked.token, gone.token, new_token(), "vsk_nonsense", expired.token[:-1]]
    errors = [await refused(keys, token) for token in tokens]
    assert len({(error.code, error.detail) for error in errors}) == 1


@pytest.mark.parametrize("assignment", ["status = 'suspended'", "barred = true"])
async def test_the_suspended_are_known_as_such(
    keys: KeyService, make_user: MakeUser, owner: Connection, assignment: str
) -> None:
    actor = await make_user()
    created = await make(keys, actor)
    await owner.execute(f"update users set {assignment} where id = %s", [actor.user_id])
    assert (await keys.authenticate(created.token)).suspended


async def test_nobody_revokes_anothers_key(keys: KeyService, make_user: MakeUser) -> None:
    actor, stranger = await make_user(), await make_user()
    created = await make(keys, actor)
    answers = []
    for key_id in (created.key.id, 2**62):
        with pytest.raises(NotFound) as caught:
            await keys.revoke(stranger, key_id)
        answers.append((caught.value.code, caught.value.detail))
    assert answers[0] == answers[1]
    await keys.authenticate(created.token)


async def test_an_account_takes_its_keys_along(
    keys: KeyService, make_user: MakeUser, owner: Connection
) -> None:
    actor = await make_user()
    created = await make(keys, actor)
    await owner.execute("delete from users where id = %s", [actor.user_id])
    assert (await refused(keys, created.token)).code == "invalid_token"


async def test_ended_keys_are_forgotten_after_a_month(
    keys: KeyService, worker_keys: KeyService, make_user: MakeUser, set_key: SetKey, owner: Connection
) -> None:
    actor = await make_user()
    old, young, live = [(await make(keys, actor)).key.id for _ in range(3)]
    long_revoked, expired = [(await make(keys, actor)).key.id for _ in range(2)]
    month = "now() - interval '30 days 1 minute'"
    await set_key(old, f"created_at = {month} - interval '9 days', expires_at = {month}")
    await set_key(young, "created_at = now() - interval '60 days', expires_at = now() - interval '29 days'")
    await set_key(long_revoked, f"revoked_at = {month}")
    await set_key(expired, "expires_at = now()")
    (job,) = jobs(worker_keys)
    assert job.cron is not None
    await job.run()
    cursor = await owner.execute("select id from api_keys where user_id = %s", [actor.user_id])
    assert {row[0] for row in await cursor.fetchall()} == {young, live, expired}


# Noting use


async def test_use_is_noted_once_a_minute(
    keys: KeyService, make_user: MakeUser, set_key: SetKey, owner: Connection
) -> None:
    created = await make(keys, await make_user())
    assert created.key.last_used_at is None
    await keys.authenticate(created.token)
    first = await column(owner, created.key.id, "last_used_at")
    assert isinstance(first, datetime)
    await keys.authenticate(created.token)
    assert await column(owner, created.key.id, "last_used_at") == first
    await set_key(created.key.id, "last_used_at = now() - interval '61 seconds'")
    await keys.authenticate(created.token)
    assert await column(owner, created.key.id, "last_used_at") > first  # type: ignore[operator] # a time


async def test_noting_use_waits_for_nobody(keys: KeyService, make_user: MakeUser, owner: Connection) -> None:
    """While another request holds the key's row, this one goes on without a note."""
    created = await make(keys, await make_user())
    async with owner.transaction(force_rollback=True):
        await owner.execute("select from api_keys where id = %s for update", [created.key.id])
        async with asyncio.timeout(5):
            await keys.authenticate(created.token)
    assert await column(owner, created.key.id, "last_used_at") is None
    await asyncio.gather(*(keys.authenticate(created.token) for _ in range(20)))
    assert await column(owner, created.key.id, "last_used_at") is not None


async def test_recognizing_is_one_statement_by_an_index(
    keys: KeyService, make_user: MakeUser, owner: Connection
) -> None:
    created = await make(keys, await make_user())
    await owner.execute("set enable_seqscan = off")
    cursor = await owner.execute(
        "explain select from api_keys where secret_hash = %s", [token_hash(created.token)]
    )
    assert any("Index" in line for (line,) in await cursor.fetchall())
    for text in ("vsk_nonsense", "vsk_" + "x" * 5000, created.token + "x"):  # not even asked
        await refused(KeyService(None, None, None), text)  # type: ignore[arg-type] # none is needed


# What is on record


async def test_making_and_revoking_are_on_record(
    keys: KeyService, make_user: MakeUser, database: Database
) -> None:
    actor = await make_user()
    created = await make(keys, actor, Scope.PHOTOS_READ, Scope.ACCOUNT_READ)
    await keys.revoke(actor, created.key.id)
    await keys.revoke(actor, created.key.id)
    async with database.transaction(actor) as connection:
        cursor = await connection.execute("select action, details from audit_logs order by id")
        found = await cursor.fetchall()
    assert found == [
        ("account.created", None),
        ("key.created", {"key_id": created.key.id, "scopes": ["photos:read", "account:read"]}),
        ("key.revoked", {"key_id": created.key.id}),
    ]


# What the application's role may do with the table itself


@pytest.mark.parametrize(
    "statement",
    [
        "update api_keys set scopes = '{images:write}'",
        "update api_keys set expires_at = 'infinity'",
        "update api_keys set secret_hash = sha256('known')",
        "update api_keys set user_id = %(stranger)s",
        "select secret_hash from api_keys",
        "delete from api_keys",
        """insert into api_keys (user_id, name, prefix, secret_hash, scopes, expires_at) values
           (%(user)s, 'x', 'vsk_' || repeat('x', 22), sha256('known'), '{photos:read}', now())""",
    ],
)
async def test_the_application_may_not(
    database: Database, keys: KeyService, make_user: MakeUser, statement: str
) -> None:
    actor, stranger = await make_user(), await make_user()
    await make(keys, actor)
    values = {"user": actor.user_id, "stranger": stranger.user_id} if "%(" in statement else None
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with database.transaction(actor) as connection:
            await connection.execute(statement, values)


async def test_a_revoked_key_stays_revoked(database: Database, keys: KeyService, make_user: MakeUser) -> None:
    actor = await make_user()
    created = await make(keys, actor)
    await keys.revoke(actor, created.key.id)
    async with database.transaction(actor) as connection:
        cursor = await connection.execute("update api_keys set revoked_at = null")
        assert cursor.rowcount == 0
    await refused(keys, created.token)


ADD = """select visiona.add_api_key('x', 'vsk_' || repeat('y', 22), sha256(%s::bytea), %s::text[],
  now() + %s::interval)"""


async def test_nobody_makes_a_key(database: Database) -> None:
    for actor in (Anonymous(), SystemActor("hook:test")):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            async with database.transaction(actor) as connection:
                await connection.execute(ADD, ["known", ["photos:read"], "1 day"])
    async with database.anonymous() as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await connection.execute(ADD, ["known", ["photos:read"], "1 day"])


@pytest.mark.parametrize(
    ("scopes", "lifetime"),
    [
        ([], "1 day"),
        (["everything"], "1 day"),
        (["photos:read", "admin"], "1 day"),
        (["photos:read"], "400 days"),
        (["photos:read"], "infinity"),
    ],
)
async def test_the_database_takes_no_key_that_is_none(
    database: Database, make_user: MakeUser, scopes: list[str], lifetime: str
) -> None:
    with pytest.raises((psycopg.errors.CheckViolation, psycopg.errors.DataError)):
        async with database.transaction(await make_user()) as connection:
            await connection.execute(ADD, [f"{scopes}{lifetime}", scopes, lifetime])
