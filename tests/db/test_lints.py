"""Rules for a schema that Supabase would serve, each in a file of `lints/`.

They cover what Supabase's own advisor (splinter) warns of, and what Visiona adds to it. Each is shown to
find the fault that it is there for; what it finds in the schema as it is has its reason here.
"""

import re
from collections.abc import AsyncGenerator
from pathlib import Path

import psycopg
import pytest

from visiona.db.pool import Connection

RULES = {
    path.stem: path.read_text(encoding="utf-8") for path in (Path(__file__).parent / "lints").glob("*.sql")
}

# What may stay, by rule: the finding as a pattern, and why.
EXCEPTIONS = {
    "unindexed_foreign_keys": {
        r"\w+\.\w+_(next_)?plan_fkey": "plans are a handful of rows that nobody deletes",
    },
    "no_policies": {
        r"backup_runs": "written and read by the database's owner alone",
    },
    "policies_of_everybody": {
        r"plans\.everyone_reads for (visiona_app|visiona_worker|authenticated)": "a price list",
        r"plans\.owner_writes for visiona_owner": "nobody logs in as the owner of the schema",
        r"quota_ledger\.trigger_appends for visiona_owner": "the trigger writes for whoever changes a quota",
        r"visiona\.identity_keys\.owner_writes for visiona_owner": "nobody logs in as the owner",
        r"visiona\.schema_migrations\.owner_writes for visiona_owner": "nobody logs in as the owner",
        r"visiona\.schema_migrations\.everyone_reads for visiona_(app|worker)": "names of migrations",
        r"[\w.]+\.auth_\w+ for visiona_auth": "only functions run as this role, each for one proved key",
        r"procrastinate\.procrastinate_events\.owner_events for visiona_owner": "foreign keys act as it",
        r"procrastinate\.\w+\.worker for visiona_worker": "the queue is the worker's, and holds ids only",
    },
    "several_permissive_policies": {
        r"[\w.]+: visiona_worker may \w+": "the worker acts for one person, or as a part of Visiona",
    },
    "functions_without_a_search_path": {
        r"procrastinate\..*": "the library's own; only the worker may call them",
    },
    "definer_functions_for_tokens": {
        r"visiona\.claims for authenticated": "what the policies ask; it answers about the caller only",
    },
}

# For each rule a fault that it has to find, and what the finding says.
FAULTS = {
    "unindexed_foreign_keys": (
        "create table public.planted (id int primary key, parent bigint references public.users)", "planted"),
    "duplicate_indexes": (
        "create index planted_1 on photos (width); create index planted_2 on photos (width)", "planted_1"),
    "invalid_indexes": (
        """create index planted on photos (width);
        update pg_index set indisvalid = false where indexrelid = 'planted'::regclass""", "planted"),
    "no_primary_key": ("create table public.planted (id int)", "planted"),
    "row_security_disabled": ("create table public.planted (id int)", "planted"),
    "policies_without_effect": (
        "create table public.planted (id int); create policy p on planted using (true)", "planted"),
    "no_policies": (
        "create table public.planted (id int); alter table planted enable row level security", "planted"),
    "policies_of_everybody": (
        "create policy planted on photos for select to authenticated using (true)", "planted for authen"),
    "functions_called_for_every_row": (
        "create policy planted on photos for select to anon using (user_id = visiona.uid())", "planted"),
    "several_permissive_policies": (
        "create policy planted on photos for select to authenticated using (width > 0)",
        "photos: authenticated may select"),
    "policies_that_trust_the_token": (
        """create policy planted on photos for select to anon using (user_id =
        (current_setting('request.jwt.claims')::jsonb ->> 'user_id')::bigint)""", "planted"),
    "views_that_run_as_their_owner": ("create view public.planted as select * from photos", "planted"),
    "what_has_no_row_security": (
        """create materialized view public.planted as select * from photos;
        grant select on planted to anon""", "planted for anon"),
    "views_of_sign_in_tables": (
        """create schema auth;
        create table auth.users (id int);
        create view public.planted with (security_invoker) as select * from auth.users;
        grant select on planted to authenticated""", "planted"),
    "functions_without_a_search_path": (
        "create function public.planted() returns int language plpgsql as 'begin return 1; end'", "planted"),
    "definer_functions_for_tokens": (
        """create function public.planted() returns int language sql security definer return 1;
        grant execute on function public.planted() to anon""", "planted for anon"),
    "what_anybody_may_read": ("grant select (width) on photos to anon", "photos"),
    "what_a_token_may_write": ("grant update (width) on photos to authenticated", "photos"),
    "secrets_for_tokens": ("grant select (secret_hash) on sessions to authenticated", "sessions.secret_hash"),
    "extensions_in_public": (
        """insert into pg_extension
        select 99999, 'planted', 10, 'public'::regnamespace, false, '1', null, null""",
        "planted"),
    "columns_by_catalog_number": (
        "create table public.planted (id int primary key, f regproc)", "planted.f"),
}  # fmt: skip


@pytest.fixture
async def supabase(supabase_url: str) -> AsyncGenerator[Connection]:
    async with await psycopg.AsyncConnection.connect(supabase_url, autocommit=True) as connection:
        yield connection


async def _findings(connection: Connection, rule: str) -> list[str]:
    cursor = await connection.execute(RULES[rule].encode())
    return sorted(text for (text,) in await cursor.fetchall())


def test_every_rule_has_a_fault_to_find() -> None:
    assert set(RULES) == set(FAULTS)
    assert len(RULES) > 20


@pytest.mark.parametrize("rule", sorted(RULES))
async def test_the_schema_keeps_the_rule(supabase: Connection, rule: str) -> None:
    found = await _findings(supabase, rule)
    known = EXCEPTIONS.get(rule, {})
    assert [text for text in found if not any(re.fullmatch(pattern, text) for pattern in known)] == []
    unused = [pattern for pattern in known if not any(re.fullmatch(pattern, text) for text in found)]
    assert unused == []


@pytest.mark.parametrize("rule", sorted(FAULTS))
async def test_the_rule_finds_its_fault(supabase: Connection, rule: str) -> None:
    fault, finding = FAULTS[rule]
    async with supabase.transaction(force_rollback=True):
        before = await _findings(supabase, rule)
        await supabase.execute("set local search_path = public; set local allow_system_table_mods = on")
        await supabase.execute(fault.encode())
        added = set(await _findings(supabase, rule)) - set(before)
    assert [text for text in added if finding in text], added
    known = EXCEPTIONS.get(rule, {})
    assert not all(any(re.fullmatch(pattern, text) for pattern in known) for text in added)
