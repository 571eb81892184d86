"""What the application's role can do to the tables of factors by SQL of its own."""

from collections.abc import Awaitable, Callable

import psycopg
import pytest
from tests.factories.people import MakePerson, Person, insert_rows

from visiona.db.actor import Actor, Anonymous, SystemActor, UserActor
from visiona.db.pool import Connection, Database, fetch_value

MakeUser = Callable[..., Awaitable[UserActor]]


@pytest.fixture
def make_person(make_user: MakeUser, owner: Connection) -> MakePerson:
    async def make() -> Person:
        return await insert_rows(owner, await make_user())

    return make


@pytest.mark.parametrize(
    "statement",
    [
        "update totp_secrets set user_id = %(other)s",
        "update recovery_codes set user_id = %(other)s",
        "update recovery_codes set code_hash = code_hash",
        "update passkeys set user_id = %(other)s",
        "update passkeys set public_key = public_key",
        "update passkeys set credential_id = credential_id",
        "update passkeys set synced = true",
        "insert into totp_secrets (user_id, secret) values (%(other)s, decode(repeat('00', 60), 'hex'))",
        "insert into totp_secrets (user_id, secret, confirmed_at) values (%(user)s, 'x', now())",
        "insert into recovery_codes (user_id, code_hash) values (%(other)s, decode(repeat('00', 32), 'hex'))",
        """insert into passkeys (user_id, credential_id, public_key, name, aaguid)
           values (%(other)s, decode(repeat('00', 32), 'hex'), 'key', 'mine', gen_random_uuid())""",
        """insert into passkey_challenges (user_id, challenge_hash, expires_at)
           values (%(other)s, decode(repeat('00', 32), 'hex'), now())""",
        "select from passkey_challenges",
        "delete from passkey_challenges",
    ],
)
async def test_sql_of_ones_own_may_not(database: Database, make_person: MakePerson, statement: str) -> None:
    ana, ben = await make_person(), await make_person()
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with database.transaction(ana.actor) as connection:
            await connection.execute(statement, {"user": ana.id, "other": ben.id})


async def test_a_used_recovery_code_stays_used(database: Database, make_person: MakePerson) -> None:
    ana = await make_person()
    for expected in (1, 0):
        async with database.transaction(ana.actor) as connection:
            cursor = await connection.execute("update recovery_codes set used_at = now()")
            assert cursor.rowcount == expected
    async with database.transaction(ana.actor) as connection:
        cursor = await connection.execute("update recovery_codes set used_at = null")
        assert cursor.rowcount == 0


@pytest.mark.parametrize("table", ["totp_secrets", "recovery_codes", "passkeys"])
async def test_others_rows_are_not_there(database: Database, make_person: MakePerson, table: str) -> None:
    ana, ben = await make_person(), await make_person()
    seen: dict[Actor, set[int]] = {}
    for actor in (Anonymous(), SystemActor("hook:test"), ana.actor, ben.actor):
        async with database.transaction(actor) as connection:
            cursor = await connection.execute(f"select user_id from {table}")  # type: ignore[arg-type] # ours
            seen[actor] = {user_id for (user_id,) in await cursor.fetchall()}
    assert list(seen.values()) == [set(), set(), {ana.id}, {ben.id}]


async def test_a_passkey_is_found_by_its_id_and_by_nothing_less(
    database: Database, make_person: MakePerson, owner: Connection
) -> None:
    ana = await make_person()
    known = await fetch_value(owner, "select credential_id from passkeys where user_id = %s", [ana.id])
    async with database.anonymous() as connection:
        cursor = await connection.execute("select * from visiona.find_passkey(%s)", [known])
        assert await cursor.fetchall() == [(ana.id, ana.actor.subject, b"key", "active")]
        for other in (known[:-1], known + b"\0", b"", None):
            cursor = await connection.execute("select * from visiona.find_passkey(%s)", [other])
            assert await cursor.fetchall() == []


async def test_the_role_that_finds_passkeys_reads_no_more_of_them(owner: Connection) -> None:
    cursor = await owner.execute(
        """select attname from pg_attribute
           where attrelid = 'passkeys'::regclass and attnum > 0 and not attisdropped
             and has_column_privilege('visiona_auth', attrelid, attnum, 'select')"""
    )
    assert {name for (name,) in await cursor.fetchall()} == {"credential_id", "user_id", "public_key"}
    for table in ("totp_secrets", "recovery_codes", "passkey_challenges"):
        readable = await fetch_value(
            owner,
            """select array_agg(attname::text) from pg_attribute
               where attrelid = %s::regclass and attnum > 0 and not attisdropped
                 and has_column_privilege('visiona_auth', attrelid, attnum, 'select, insert, update')""",
            [table],
        )
        assert readable == ["user_id"], "whose it is, for erasing it"


async def test_factors_go_with_their_owner(make_person: MakePerson, owner: Connection) -> None:
    ana = await make_person()
    await owner.execute("delete from totp_secrets where user_id = %s", [ana.id])
    left = await fetch_value(owner, "select count(*) from recovery_codes where user_id = %s", [ana.id])
    assert left == 0
