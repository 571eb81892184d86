"""What policies make of plans: who is asking is found out once, and rows are found by an index.

How long it takes is measured by `python -m benchmarks policies`.
"""

from collections.abc import AsyncGenerator, Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql
from tests.db.hostile import begin
from tests.factories.people import Person

from visiona.db.pool import Connection, fetch_value
from visiona.db.roles import APP_ROLE

# Tables that the application sees own rows of, and the owner's column.
_TABLES = """select c.relname, a.attname from pg_class c
    join pg_attribute a on a.attrelid = c.oid
      and a.attname = case c.relname when 'users' then 'id' else 'user_id' end
    where c.relnamespace = 'public'::regnamespace and c.relkind = 'r'
      and has_column_privilege('visiona_app', c.oid, a.attnum, 'select')
      and exists (select from pg_policies p where p.tablename = c.relname and 'visiona_app' = any (p.roles)
        and p.cmd in ('ALL', 'SELECT') and p.qual like '%uid()%')"""


@pytest.fixture
async def asking(app_url: str, alice: Person) -> AsyncGenerator[Connection]:
    """Alice, with a planner that has no reason to think a table is small."""
    async with await psycopg.AsyncConnection.connect(app_url, autocommit=True) as connection:
        await begin(connection, alice.actor)
        await connection.execute("set local enable_seqscan = off")
        yield connection
        await connection.rollback()


async def test_each_tables_policy_runs_once_and_finds_rows_by_an_index(
    owner: Connection, asking: Connection
) -> None:
    tables = await (await owner.execute(_TABLES)).fetchall()
    assert len(tables) >= 20
    for table, column in tables:
        plan = await _plan(
            asking, sql.SQL("select {} from {}").format(sql.Identifier(column), sql.Identifier(table))
        )
        nodes = list(_nodes(plan))
        asked = [node for node in nodes if node.get("Parent Relationship") == "InitPlan"]
        assert [node["Actual Loops"] for node in asked] == [1], table
        scans = [node for node in nodes if "Index Cond" in node]
        assert len(scans) == 1, (table, plan)
        assert f"{column} = ANY (ARRAY[(InitPlan 1)" in scans[0]["Index Cond"], (table, plan)
        assert not [node for node in nodes if node.get("Rows Removed by Filter")], table


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ("select id from generations where user_id = {} order by id desc limit 20",
         "generations_user_id_id_key"),
        ("select id from generations where user_id = {} and model_id = {} order by id limit 20",
         "generations_model"),
        ("select id from generations where user_id = {} and id < 99 order by id desc limit 20",
         "generations_user_id_id_key"),
        ("select id from photos where user_id = {} order by id desc limit 20", "photos_user_id_id_key"),
        ("select id from runs where user_id = {} order by id desc limit 20", "runs_user_id_id_key"),
        ("select id from audit_logs where user_id = {} order by id desc limit 20", "audit_logs_user"),
        ("select id from invoices where user_id = {} order by created_at desc limit 20", "invoices_user"),
    ],
)  # fmt: skip
async def test_a_page_is_one_range_of_an_index(
    asking: Connection, alice: Person, query: str, index: str
) -> None:
    """In its order: nothing is sorted, however many rows there are."""
    plan = await _plan(asking, sql.SQL(query.replace("{}", str(alice.id))))
    nodes = list(_nodes(plan))
    assert [node["Index Name"] for node in nodes if "Index Name" in node] == [index]
    assert "Sort" not in [node["Node Type"] for node in nodes]


async def test_functions_that_answer_for_one_key_find_it_by_an_index(owner: Connection) -> None:
    """They run as a role that sees all rows."""
    async with owner.transaction(force_rollback=True):
        await owner.execute("set local role visiona_auth; set local enable_seqscan = off")
        for query, index in (
            ("select from sessions where uuid_send(id) = 'x'", "sessions_id"),
            ("select from sessions where secret_hash = sha256('x')", "sessions_secret_hash_key"),
            ("select from users where encode(email_index, 'hex') = 'x'", "users_address"),
            ("select from users where clerk_id = 'x'", "users_clerk_id_key"),
            ("select from email_links where uuid_send(id) = 'x'", "email_links_id"),
            ("select credential_id from passkeys where encode(credential_id, 'hex') = 'x'",
             "passkeys_credential"),
            ("select from sessions where provider_session_id = 'x'", "sessions_provider"),
        ):  # fmt: skip
            plan = await _plan(owner, sql.SQL(query))
            assert index in [node.get("Index Name") for node in _nodes(plan)], query


async def test_a_function_called_for_every_row_would_be_seen(owner: Connection) -> None:
    """Without its brackets the policy of a table asks again for each of its rows."""
    async with owner.transaction(force_rollback=True):
        await owner.execute("alter policy own_all on photos using (user_id = visiona.uid())")
        await owner.execute(f"set local role {APP_ROLE}")
        plan = await _plan(owner, sql.SQL("select user_id from photos"))
    assert not [node for node in _nodes(plan) if node.get("Parent Relationship") == "InitPlan"]


async def _plan(connection: Connection, query: sql.SQL | sql.Composed) -> dict[str, Any]:
    plan = await fetch_value(
        connection, sql.SQL("explain (analyze, timing off, summary off, format json) {}").format(query), []
    )
    return plan[0]["Plan"]


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", []):
        yield from _nodes(part)
