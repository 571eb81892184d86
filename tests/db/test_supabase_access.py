"""People who come past Visiona, through Supabase's PostgREST, with a token of the identity service.

It logs in as `authenticator`, verifies the token, and says who is asking by a role and the token's claims.
What they read is theirs; nothing can be changed this way.
"""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.errors import InsufficientPrivilege, ReadOnlySqlTransaction
from tests.db.hostile import Victim, make_victim
from tests.factories.people import Person, add_row, insert_common_rows, insert_rows

from visiona.db.actor import UserActor
from visiona.db.pool import Connection, fetch_value
from visiona.db.roles import url_for_role


@dataclass(frozen=True, slots=True)
class Members:
    url: str
    alice: Person
    bob: Victim


@pytest.fixture(scope="session")
async def members(supabase_url: str) -> Members:
    async with await psycopg.AsyncConnection.connect(supabase_url, autocommit=True) as owner:
        await owner.execute("insert into plans values ('premium', 1000, 10)")
        await insert_common_rows(owner)
        people = []
        for name in ("alice", "bob"):
            user_id = await add_row(owner, f"user_{name}_at_clerk", f"{name}@supabase.example.com")
            people.append(await insert_rows(owner, UserActor(user_id, f"user_{name}_at_clerk")))
            await owner.execute("insert into audit_logs (user_id, action) values (%s, 'test')", [user_id])
        alice, bob = people
        return Members(
            url_for_role(supabase_url, "authenticator", "authenticator-password"),
            alice,
            await make_victim(owner, bob, alice),
        )


@pytest.fixture
async def owner(supabase_url: str) -> AsyncGenerator[Connection]:
    async with await psycopg.AsyncConnection.connect(supabase_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
async def connection(members: Members) -> AsyncGenerator[Connection]:
    async with await psycopg.AsyncConnection.connect(members.url, autocommit=True) as connection:
        yield connection


@asynccontextmanager
async def request(
    connection: Connection, claims: Any, *, role: str = "authenticated", method: str = "GET"
) -> AsyncGenerator[None]:
    """As PostgREST begins its transactions; nothing is kept."""
    await connection.execute("begin read only" if method == "GET" else "begin")
    try:
        await connection.execute(
            """select set_config('role', %s, true), set_config('request.jwt.claims', %s, true),
                 set_config('request.method', %s, true), set_config('request.headers', '{}', true)""",
            [role, claims if isinstance(claims, str) else json.dumps(claims), method],
        )
        yield
    finally:
        await connection.rollback()


def token(person: Person, **more: object) -> dict[str, object]:
    """The claims of a session token as Clerk issues it for Supabase."""
    return {
        "sub": person.actor.subject,
        "role": "authenticated",
        "iss": "https://clerk.example.com",
        "aud": "authenticated",
        **more,
    }


async def _readable(owner: Connection) -> dict[str, list[str]]:
    """The columns that `authenticated` may read, by table."""
    cursor = await owner.execute(
        """select c.relname, array_agg(a.attname::text order by a.attnum)
           from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
           where c.relnamespace = 'public'::regnamespace and not a.attisdropped
             and has_column_privilege('authenticated', c.oid, a.attnum, 'select')
           group by c.relname"""
    )
    return dict(await cursor.fetchall())


async def _read(connection: Connection, table: str, columns: list[str]) -> list[tuple]:
    query = sql.SQL("select {} from {}").format(
        sql.SQL(", ").join(map(sql.Identifier, columns)), sql.Identifier(table)
    )
    return await (await connection.execute(query)).fetchall()


async def _all_that_is_seen(owner: Connection, connection: Connection) -> str:
    seen = []
    for table, columns in (await _readable(owner)).items():
        if table != "plans":
            seen += [str(row) for row in await _read(connection, table, columns)]
    return "\n".join(seen)


async def test_a_member_reads_their_own_rows_of_every_table(
    members: Members, owner: Connection, connection: Connection
) -> None:
    tables = await _readable(owner)
    assert len(tables) >= 13
    async with request(connection, token(members.alice)):
        for table, columns in tables.items():
            owns = "id" if table == "users" else "user_id"
            rows = await _read(connection, table, columns)
            assert rows, table
            if table != "plans":
                assert {row[columns.index(owns)] for row in rows} == {members.alice.id}, table
        assert members.bob.betrayed_by(await _all_that_is_seen(owner, connection)) == set()
    async with request(connection, token(members.bob.person)):
        assert members.bob.betrayed_by(await _all_that_is_seen(owner, connection))


@pytest.mark.parametrize(
    "more",
    [
        {"user_id": "bob"},
        {"role": "admin"},
        {"role": "system"},
        {"role": "service_role"},
        {"lookup": "x"},
        {"user_id": "bob", "role": "system", "user_metadata": {"role": "admin"}},
        {"app_metadata": {"role": "admin"}, "is_admin": True},
    ],
)
async def test_what_a_token_says_beside_its_subject_gives_nothing(
    members: Members, owner: Connection, connection: Connection, more: dict[str, object]
) -> None:
    bob = members.bob.person.id
    claims = token(members.alice, **more) | ({"user_id": bob} if "user_id" in more else {})
    async with request(connection, claims):
        assert members.bob.betrayed_by(await _all_that_is_seen(owner, connection)) == set()
        assert await fetch_value(connection, "select visiona.uid()", []) in {None, members.alice.id}
        verified = await fetch_value(connection, "select visiona.claims()", [])
        assert verified is None or verified["role"] == "authenticated"


@pytest.mark.parametrize(
    "claims",
    [
        "",
        "{}",
        "null",
        '{"role": "anon"}',
        '{"role": "authenticated"}',
        '{"role": "authenticated", "sub": null}',
        '{"role": "authenticated", "sub": ""}',
        '{"role": "authenticated", "sub": "user_nobody"}',
        '{"role": "authenticated", "sub": "%"}',
        '{"role": "authenticated", "sub": ["user_bob_at_clerk"]}',
        '{"role": "authenticated", "user_id": 1}',
        '{"sub": "user_bob_at_clerk"}',
        '{"role": "anon", "sub": "user_bob_at_clerk"}',
    ],
)
async def test_whoever_names_nobody_sees_nothing(
    owner: Connection, connection: Connection, claims: str
) -> None:
    """`''` is what a connection that is used again reads where nothing was set."""
    async with request(connection, claims):
        assert await _all_that_is_seen(owner, connection) == ""


@pytest.mark.parametrize(
    "change",
    [
        "update users set status = 'suspended' where id = %s",
        "update users set status = 'deleted' where id = %s",
        "update users set barred = true where id = %s",
    ],
)
async def test_whoever_may_not_come_in_sees_nothing(
    members: Members, owner: Connection, connection: Connection, change: str
) -> None:
    bob = members.bob.person
    await owner.execute(change.encode(), [bob.id])
    try:
        async with request(connection, token(bob)):
            assert await _all_that_is_seen(owner, connection) == ""
    finally:
        await owner.execute("update users set status = 'active', barred = false where id = %s", [bob.id])


async def test_anonymous_requests_are_refused_every_table(members: Members, connection: Connection) -> None:
    for claims in ('{"role": "anon"}', json.dumps(token(members.alice))):
        for table in ("users", "plans", "photos", "generations", "invoices"):
            with pytest.raises(InsufficientPrivilege):
                async with request(connection, claims, role="anon"):
                    await connection.execute(f"select 1 from {table}".encode())


async def test_before_a_role_is_taken_nothing_is_seen(connection: Connection) -> None:
    """`authenticator` itself has no rights and inherits none."""
    with pytest.raises(InsufficientPrivilege):
        await connection.execute("select 1 from users")


@pytest.mark.parametrize("verb", ["insert", "update", "delete", "truncate"])
async def test_nothing_is_changed_this_way(
    members: Members, owner: Connection, connection: Connection, verb: str
) -> None:
    cursor = await owner.execute(
        """select distinct on (c.oid) c.relname, a.attname from pg_class c
           join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
             and a.attidentity = '' and a.attgenerated = ''
           where c.relnamespace = 'public'::regnamespace and c.relkind = 'r'"""
    )
    tables = await cursor.fetchall()
    assert len(tables) > 25
    for table, column in tables:
        statement = {
            "insert": f"insert into {table} default values",
            "update": f"update {table} set {column} = {column}",
            "delete": f"delete from {table}",
            "truncate": f"truncate {table}",
        }[verb]
        with pytest.raises(InsufficientPrivilege):
            async with request(connection, token(members.alice), method="POST"):
                await connection.execute(statement.encode())


async def test_a_get_cannot_write(members: Members, connection: Connection) -> None:
    with pytest.raises((ReadOnlySqlTransaction, InsufficientPrivilege)):
        async with request(connection, token(members.alice)):
            await connection.execute("update users set status = status")


@pytest.mark.parametrize(
    "table", ["credentials", "sessions", "mails", "api_keys", "passkeys", "totp_secrets"]
)
async def test_what_signing_in_rests_on_is_out_of_reach(
    members: Members, connection: Connection, table: str
) -> None:
    with pytest.raises(InsufficientPrivilege):
        async with request(connection, token(members.alice)):
            await connection.execute(f"select 1 from {table}".encode())


async def test_only_two_functions_of_ours_can_be_called(owner: Connection) -> None:
    cursor = await owner.execute(
        """select f.proname, r.role from pg_proc f cross join unnest(array['anon', 'authenticated']) r (role)
           where f.pronamespace::regnamespace::text in ('public', 'visiona', 'procrastinate')
             and has_function_privilege(r.role, f.oid, 'execute')
             and has_schema_privilege(r.role, f.pronamespace, 'usage')"""
    )
    assert sorted(await cursor.fetchall()) == [("claims", "authenticated"), ("uid", "authenticated")]


async def test_a_connection_that_is_used_again_remembers_nobody(
    members: Members, owner: Connection, connection: Connection
) -> None:
    people = [token(members.alice), token(members.bob.person), {"role": "authenticated", "sub": "user_x"}]
    ids = [members.alice.id, members.bob.person.id, None]
    for round_ in range(300):
        async with request(connection, people[round_ % 3]):
            assert await fetch_value(connection, "select visiona.uid()", []) == ids[round_ % 3]
    await connection.execute("begin; set local role authenticated")
    assert await fetch_value(connection, "select current_setting('request.jwt.claims')", []) == ""
    assert await _all_that_is_seen(owner, connection) == ""
    await connection.rollback()


async def test_nobody_else_is_believed_without_a_proof(members: Members, supabase_url: str) -> None:
    """The same claims in another login's session, even after taking the role, are worth nothing."""
    async with await psycopg.AsyncConnection.connect(
        url_for_role(supabase_url, "visiona_app", "app-password"), autocommit=True
    ) as connection:
        with pytest.raises(InsufficientPrivilege):
            async with request(connection, token(members.alice)):
                pass
        async with request(connection, token(members.alice), role="none"):
            assert await fetch_value(connection, "select visiona.uid()", []) is None
