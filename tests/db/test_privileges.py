"""What the catalogs say: roles, policies and their indexes, foreign keys, and who executes what."""

import re

import psycopg
import pytest
from tests.factories.people import Person

from visiona.db.actor import SystemActor
from visiona.db.pool import Connection, Database
from visiona.db.roles import APP_ROLE, AUTH_ROLE, MEMBER_ROLE, OWNER_ROLE, WORKER_ROLE

ROLES = {OWNER_ROLE, APP_ROLE, WORKER_ROLE, AUTH_ROLE}
OUR_TABLES = """pg_class c where c.relkind in ('r', 'p', 'v', 'm', 'f')
  and c.relnamespace::regnamespace::text in ('public', 'visiona', 'procrastinate')"""

# Who may execute each function of schema visiona, besides the role that it runs as.
EXECUTORS = {
    "challenge": ROLES,
    "claims": {APP_ROLE, WORKER_ROLE, AUTH_ROLE, MEMBER_ROLE},
    "uid": {*ROLES, MEMBER_ROLE},
    "is_system": ROLES,
    "is_admin": {APP_ROLE, WORKER_ROLE, AUTH_ROLE},
    "looks_up": ROLES,
    "may_enqueue": {OWNER_ROLE, WORKER_ROLE},
    "base_limit": {OWNER_ROLE, APP_ROLE, WORKER_ROLE},
    "write_ledger": {OWNER_ROLE},
    "keep_face": {OWNER_ROLE},
    "is_covered": {OWNER_ROLE, APP_ROLE},
    "enqueue": {APP_ROLE, WORKER_ROLE, AUTH_ROLE},
    "next_user_id": {APP_ROLE, WORKER_ROLE, AUTH_ROLE},
    "is_given": {AUTH_ROLE},
    "sign_up": {APP_ROLE, AUTH_ROLE},
    "find_credentials": {APP_ROLE, AUTH_ROLE},
    "rehash": {APP_ROLE, AUTH_ROLE},
    "open_session": {APP_ROLE, AUTH_ROLE},
    "find_session": {APP_ROLE, AUTH_ROLE},
    "find_subject": {APP_ROLE, WORKER_ROLE, AUTH_ROLE},
    "adopt": {APP_ROLE, WORKER_ROLE, AUTH_ROLE},
    "identity_lock": {WORKER_ROLE, AUTH_ROLE},
    "own_password": {APP_ROLE, AUTH_ROLE},
    "set_password": {APP_ROLE, AUTH_ROLE},
    "set_address": {APP_ROLE, AUTH_ROLE},
    "find_email_link": {APP_ROLE, AUTH_ROLE},
    "consent_version": {OWNER_ROLE, *ROLES},
    "is_released": {OWNER_ROLE, APP_ROLE, WORKER_ROLE},
    "find_consent": {APP_ROLE, AUTH_ROLE},
    "give_consent": {APP_ROLE, AUTH_ROLE},
    "end_consent": {APP_ROLE, AUTH_ROLE},
    "is_reporting": {AUTH_ROLE},
    "use_allowance": {APP_ROLE, AUTH_ROLE},
    "purge_allowances": {WORKER_ROLE, AUTH_ROLE},
    "reserve_cost": {APP_ROLE, WORKER_ROLE, AUTH_ROLE},
    "settle_cost": {APP_ROLE, WORKER_ROLE, AUTH_ROLE},
    "count_refusal": {APP_ROLE, WORKER_ROLE, AUTH_ROLE},
    "refusals": {APP_ROLE, AUTH_ROLE},
    "report_image": {APP_ROLE, AUTH_ROLE},
    "report_state": {APP_ROLE, AUTH_ROLE},
    "reports_waiting": {APP_ROLE, AUTH_ROLE},
    "reports_decided": {APP_ROLE, AUTH_ROLE},
    "look_at_report": {APP_ROLE, AUTH_ROLE},
    "reported_image": {APP_ROLE, AUTH_ROLE},
    "dismiss_report": {APP_ROLE, AUTH_ROLE},
    "take_down": {APP_ROLE, AUTH_ROLE},
    "find_passkey": {APP_ROLE, AUTH_ROLE},
    "add_api_key": {APP_ROLE, AUTH_ROLE},
    "use_api_key": {APP_ROLE, AUTH_ROLE},
    "find_people": {APP_ROLE, AUTH_ROLE},
    "audit_entries": {APP_ROLE, AUTH_ROLE},
    "look_at_log": {APP_ROLE, AUTH_ROLE},
    "audit_origin": {OWNER_ROLE},
    "audit_guard": {OWNER_ROLE},
    "audit_part": {OWNER_ROLE, WORKER_ROLE, AUTH_ROLE},
    "audit_person": {OWNER_ROLE, WORKER_ROLE, AUTH_ROLE},
    "audit_lock": {OWNER_ROLE, WORKER_ROLE, AUTH_ROLE},
    "chain_audit": {WORKER_ROLE, AUTH_ROLE},
    "forget_in_audit": {WORKER_ROLE, AUTH_ROLE},
    "look_at": {APP_ROLE, AUTH_ROLE},
    "person_record": {APP_ROLE, AUTH_ROLE},
    "person_content": {APP_ROLE, AUTH_ROLE},
    "suspend": {APP_ROLE, AUTH_ROLE},
    "unsuspend": {APP_ROLE, AUTH_ROLE},
    "end_sessions": {APP_ROLE, AUTH_ROLE},
    "order_plan": {APP_ROLE, AUTH_ROLE},
    "supported": {AUTH_ROLE},
    "failed_jobs": {WORKER_ROLE, AUTH_ROLE},
    "write_admin_act": {AUTH_ROLE},
    "has_looked": {AUTH_ROLE},
    "admin_obstacle": {AUTH_ROLE},
    "end_all_sessions": {AUTH_ROLE},
    "erase_rows": {WORKER_ROLE, AUTH_ROLE},
    "find_receipt": {APP_ROLE, WORKER_ROLE, AUTH_ROLE},
    "erasures_open": {APP_ROLE, AUTH_ROLE},
    "erasures_over": {APP_ROLE, AUTH_ROLE},
    "outdate_exports": {OWNER_ROLE, AUTH_ROLE},
    "order_erasure": {APP_ROLE, AUTH_ROLE},
    "count_visit": {APP_ROLE, AUTH_ROLE},
    "count_attempt": {APP_ROLE, AUTH_ROLE},
    "forget_attempts": {APP_ROLE, AUTH_ROLE},
    "take_back_attempt": {APP_ROLE, AUTH_ROLE},
    "purge_attempts": {WORKER_ROLE, AUTH_ROLE},
}

# Answers one number, and needs nobody's rights for it.
NUMBER = "identity_lock"


async def _rows(connection: Connection, query: str, *params: object) -> list[tuple]:
    return await (await connection.execute(query, params)).fetchall()


async def test_every_table_enables_and_forces_row_level_security(owner: Connection) -> None:
    tables = await _rows(owner, f"select relname, relrowsecurity, relforcerowsecurity from {OUR_TABLES}")
    assert len(tables) > 20
    assert [name for name, enabled, forced in tables if not (enabled and forced)] == []


async def test_only_the_owner_role_owns_tables(owner: Connection) -> None:
    tables = await _rows(owner, f"select relname, relowner::regrole::text from {OUR_TABLES}")
    assert [name for name, role in tables if role != OWNER_ROLE] == []


async def test_no_role_stands_above_the_rules(owner: Connection) -> None:
    roles = await _rows(
        owner,
        """select rolname, rolcanlogin, rolinherit or rolsuper or rolbypassrls or rolcreaterole
             or rolcreatedb or rolreplication
           from pg_roles where rolname like 'visiona%%'""",
    )
    assert sorted(roles) == [
        (APP_ROLE, True, False),
        (AUTH_ROLE, False, False),
        (OWNER_ROLE, False, False),
        (WORKER_ROLE, True, False),
    ]


async def test_roles_that_log_in_are_members_of_nothing(owner: Connection) -> None:
    memberships = await _rows(
        owner,
        "select member::regrole::text, roleid::regrole::text from pg_auth_members "
        "where member::regrole::text like 'visiona%%'",
    )
    assert sorted(set(memberships)) == [(OWNER_ROLE, AUTH_ROLE), (OWNER_ROLE, WORKER_ROLE)]


async def test_the_owner_itself_sees_no_person(owner: Connection, alice: Person) -> None:
    """FORCE binds the owner too, and it does not inherit from the roles it hands functions to."""
    async with owner.transaction(force_rollback=True):
        await owner.execute(f"set local role {OWNER_ROLE}")
        for table in ("users", "photos", "models", "generations", "audit_logs"):
            assert await _rows(owner, f"select 1 from {table}") == []
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await owner.execute("insert into payments values (default, %s, 'ch', 1, 'eur', 'x')", [alice.id])


async def test_policies_call_functions_once_per_statement(owner: Connection) -> None:
    """`(select visiona.uid())` is evaluated once; without the brackets, for every row."""
    policies = await _rows(
        owner,
        """select tablename, policyname, coalesce(qual, '') || ' ' || coalesce(with_check, '')
           from pg_policies where schemaname in ('public', 'visiona', 'procrastinate')""",
    )
    wrapped = re.compile(r"\( SELECT visiona\.\w+\([^()]*(?:\([^()]*\))?[^()]*\) AS \w+\)")
    bare = [(table, name) for table, name, text in policies if "visiona." in wrapped.sub("", text)]
    assert len(policies) > 40
    assert bare == []


async def test_policies_name_their_roles(owner: Connection) -> None:
    """A policy for PUBLIC would open the table to whatever role is granted it later."""
    assert (
        await _rows(owner, "select tablename, policyname from pg_policies where 'public' = any(roles)") == []
    )


async def test_every_policy_column_leads_an_index(owner: Connection) -> None:
    policies = await _rows(
        owner,
        "select tablename, coalesce(qual, with_check) from pg_policies where schemaname = 'public'",
    )
    compared = {
        (table, column)
        for table, text in policies
        for column in re.findall(r"(\w+) = (?:ANY \(ARRAY\[)?\( SELECT visiona\.uid\(\)", text)
    }
    leading = await _rows(
        owner,
        """select indrelid::regclass::text, attname from pg_index i
           join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
           where indisvalid and indpred is null""",
    )
    assert len(compared) > 12
    assert compared - set(leading) == set()


async def test_every_foreign_key_between_peoples_rows_carries_the_owner(owner: Connection) -> None:
    """A row that names another's parent is refused by the key itself, which no policy sees."""
    keys = await _rows(
        owner,
        """select conrelid::regclass::text, conname,
             (select array_agg(attname::text) from pg_attribute
              where attrelid = conrelid and attnum = any(conkey))
           from pg_constraint
           where contype = 'f' and connamespace = 'public'::regnamespace
             and confrelid not in ('users'::regclass, 'plans'::regclass)""",
    )
    assert len(keys) >= 6
    assert [(table, name) for table, name, columns in keys if "user_id" not in columns] == []


async def test_nobody_executes_what_is_not_theirs(owner: Connection) -> None:
    functions = await _rows(
        owner,
        """select proname, array_agg(case grantee when 0 then 'PUBLIC' else grantee::regrole::text end)
           from pg_proc, aclexplode(coalesce(proacl, acldefault('f', proowner)))
           where pronamespace = 'visiona'::regnamespace group by oid, proname""",
    )
    assert {name: set(grantees) for name, grantees in functions} == EXECUTORS


async def test_functions_that_run_as_another_role_fix_their_search_path(owner: Connection) -> None:
    functions = await _rows(
        owner,
        """select proname, coalesce(proconfig::text, '') from pg_proc
           where prosecdef and pronamespace::regnamespace::text in ('public', 'visiona', 'procrastinate')""",
    )
    assert {name for name, _ in functions} == {
        "write_ledger",  # runs as the owner, for whoever changes a quota
        "outdate_exports",  # a trigger, which is made by the owner of the tables
        *(name for name, roles in EXECUTORS.items() if OWNER_ROLE not in roles and name != NUMBER),
    }
    assert [
        name for name, settings in functions if not re.search(r'search_path=(.*, pg_temp|\\"\\")', settings)
    ] == []


async def test_the_queue_is_the_workers_alone(owner: Connection) -> None:
    functions = await _rows(
        owner,
        """select proname from pg_proc where pronamespace = 'procrastinate'::regnamespace
             and (has_function_privilege('visiona_app', oid, 'execute')
               or has_function_privilege('visiona_auth', oid, 'execute')
               or not has_function_privilege('visiona_worker', oid, 'execute'))""",
    )
    assert functions == []
    (usage,) = await _rows(
        owner,
        """select has_schema_privilege('visiona_app', 'procrastinate', 'usage'),
             has_schema_privilege('visiona_auth', 'procrastinate', 'usage'),
             has_schema_privilege('visiona_worker', 'procrastinate', 'usage')""",
    )
    assert usage == (False, False, True)


async def test_what_the_queue_library_adds_later_is_the_workers(owner: Connection) -> None:
    async with owner.transaction(force_rollback=True):
        await owner.execute(f"set local role {OWNER_ROLE}")
        await owner.execute("create table procrastinate.later (id bigserial)")
        await owner.execute("create function procrastinate.later() returns int language sql return 1")
        (rights,) = await _rows(
            owner,
            """select has_table_privilege('visiona_worker', 'procrastinate.later', 'insert'),
                 has_sequence_privilege('visiona_worker', 'procrastinate.later_id_seq', 'usage'),
                 has_function_privilege('visiona_worker', 'procrastinate.later()', 'execute'),
                 has_table_privilege('visiona_app', 'procrastinate.later', 'select'),
                 has_function_privilege('visiona_app', 'procrastinate.later()', 'execute')""",
        )
    assert rights == (True, True, True, False, False)


async def test_roles_that_run_requests_and_jobs_build_nothing(owner: Connection) -> None:
    """No CREATE in a schema, and on tables nothing beyond the four verbs."""
    for role in (APP_ROLE, WORKER_ROLE, AUTH_ROLE):
        schemas = await _rows(
            owner,
            """select nspname from pg_namespace
               where nspname in ('public', 'visiona', 'procrastinate')
                 and has_schema_privilege(%s, oid, 'create')""",
            role,
        )
        tables = await _rows(
            owner,
            f"""select relname from {OUR_TABLES}
                and has_table_privilege(%s, c.oid, 'truncate, references, trigger')""",
            role,
        )
        assert (schemas, tables) == ([], []), role


@pytest.mark.parametrize(
    "statement",
    [
        "select * from procrastinate.procrastinate_jobs",
        "select procrastinate.procrastinate_fetch_job_v2(null, 1)",
        "select visiona.purge_attempts()",
        "update audit_logs set action = 'nothing.happened'",
        "delete from audit_logs",
        "truncate audit_logs",
        "set role visiona_worker",
        "set role visiona_owner",
        "set session authorization postgres",
        "alter table photos no force row level security",
        "drop policy own_all on photos",
        "create policy mine on photos using (true)",
        "grant select on credentials to visiona_app",
        "create function public.f() returns int language sql return 1",
        "create view public.v as select * from users",
        "alter role visiona_app bypassrls",
        "copy users to program 'cat'",
        "insert into audit_logs (id, user_id, action) overriding system value values (1, %(user)s, 'x')",
        "insert into audit_logs (user_id, action, created_at) values (%(user)s, 'x', '2000-01-01')",
    ],
)
async def test_the_application_may_not(database: Database, alice: Person, statement: str) -> None:
    params = alice.rows if "%(" in statement else None
    for actor in (alice.actor, SystemActor("hook:test")):
        async with database.transaction(actor) as connection, connection.transaction(force_rollback=True):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await connection.execute(statement, params)
