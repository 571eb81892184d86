"""SQL that no service sends: administrators' functions answer administrators, and leave a trace."""

import json
from collections.abc import Awaitable, Callable
from typing import LiteralString

import pytest
from psycopg.errors import CheckViolation, InsufficientPrivilege
from tests.administration.conftest import MakeAdmin, MakePerson
from tests.factories.audit import tamper
from tests.factories.people import Person

from visiona.administration.model import Reason
from visiona.administration.service import AdministrationService
from visiona.db.actor import Actor, AdminActor, SystemActor, UserActor
from visiona.db.pool import Connection, Database, fetch_value
from visiona.vault.service import Vault

Log = Callable[[int], Awaitable[list[tuple[str, dict]]]]

# Each function, asked for as much as it gives about %(user)s.
READS: dict[str, LiteralString] = {
    "find_people": "select * from visiona.find_people('newest', '', %(user)s, null, null, 100)",
    "find_people by address": """select * from visiona.find_people(
      null, sha256('x'), %(user)s, null, null, 100)""",
    "audit_entries": "select * from visiona.audit_entries(null, null, null, null, null, 100)",
    "audit_entries of admins": "select * from visiona.audit_entries(null, 'admin.', null, null, null, 100)",
    "look_at_log": "select 1 where visiona.look_at_log()",
    "look_at": "select 1 where visiona.look_at(%(user)s, false)",
    "look_at content": "select 1 where visiona.look_at(%(user)s, true)",
    "person_record": "select r from visiona.person_record(%(user)s) r where r is not null",
    "person_history": "select * from visiona.audit_entries(%(user)s, null, null, null, null, 100)",
    "person_content": "select * from visiona.person_content(%(user)s, null, 100)",
}
ACTS: dict[str, LiteralString] = {
    "suspend": "select visiona.suspend(%(user)s, '\\xf8')",
    "unsuspend": "select visiona.unsuspend(%(user)s, '\\xf8')",
    "end_sessions": "select visiona.end_sessions(%(user)s, '\\xf8')",
    "order_plan": "select visiona.order_plan(%(user)s, 'premium', '\\xf8')",
    "enqueue": "select visiona.enqueue('administration.set_plan', '{\"plan\": \"premium\"}', false)",
}
PARTS: dict[str, LiteralString] = {
    "supported": "select visiona.supported()",
    "failed_jobs": "select * from visiona.failed_jobs(%(user)s)",
    "write_admin_act": "select visiona.write_admin_act(%(user)s, 'admin.viewed', '{}')",
    "has_looked": "select visiona.has_looked(%(user)s, 'admin.viewed', '1 hour')",
    "admin_obstacle": "select visiona.admin_obstacle(%(user)s, '\\xf8')",
}


@pytest.fixture
async def watched(alice: Person, admin: AdminActor, service: AdministrationService) -> Person:
    """Somebody of whom everything could be seen: looked at, and letting their content be seen."""
    await service.allow_support(alice.actor, 24)
    await service.look(admin, alice.id)
    await service.content(admin, alice.id, 1)
    return alice


async def rows(database: Database, actor: Actor, query: LiteralString, person: Person) -> list[tuple]:
    async with database.transaction(actor) as connection:
        cursor = await connection.execute(query, person.rows)
        return [row for row in await cursor.fetchall() if any(value is not None for value in row)]


async def _assert_closed(database: Database, actor: Actor, watched: Person, owner: Connection) -> None:
    """Nothing is read, nothing is done and nothing is written by this actor."""
    state: LiteralString = """select (select count(*) from audit_logs), (select count(*) from sessions
      where revoked_at is not null), (select count(*) from procrastinate.procrastinate_jobs),
      (select count(*) from users where status = 'suspended')"""
    before = await (await owner.execute(state)).fetchall()
    for name, query in READS.items():
        assert await rows(database, actor, query, watched) == [], name
    for name, query in ACTS.items():
        if name == "enqueue" and isinstance(actor, SystemActor):
            continue  # webhook receivers ask for jobs of everybody's
        with pytest.raises(InsufficientPrivilege):
            await rows(database, actor, query, watched)
            pytest.fail(name)
    assert await (await owner.execute(state)).fetchall() == before


async def test_who_is_not_an_administrator_finds_nothing(
    database: Database, watched: Person, make_person: MakePerson, owner: Connection
) -> None:
    stranger = await make_person()
    for actor in (
        stranger.actor,
        watched.actor,
        AdminActor(stranger.id, stranger.actor.subject),
        AdminActor(watched.id, watched.actor.subject),
        AdminActor(2**62),
        SystemActor("hook:test"),
    ):
        await _assert_closed(database, actor, watched, owner)


async def test_claims_made_by_hand_are_none(
    database: Database, admin: AdminActor, watched: Person, make_person: MakePerson
) -> None:
    stranger = await make_person()
    claims = json.dumps(admin.claims())
    for name, query in READS.items():
        async with database.transaction(stranger.actor) as connection:
            await connection.execute("select set_config('request.jwt.claims', %s, true)", [claims])
            assert await fetch_value(connection, "select visiona.is_admin()", []) is False
            assert await (await connection.execute(query, watched.rows)).fetchall() == [], name


async def test_an_administrator_as_a_person_is_a_person(
    database: Database, admin: AdminActor, watched: Person, owner: Connection
) -> None:
    await _assert_closed(database, UserActor(admin.user_id, admin.subject), watched, owner)


async def test_a_demoted_or_suspended_administrator_finds_nothing(
    database: Database,
    operator: AdministrationService,
    service: AdministrationService,
    make_admin: MakeAdmin,
    alice: Person,
    owner: Connection,
) -> None:
    await service.allow_support(alice.actor, 24)
    demoted, suspended = await make_admin(), await make_admin()
    for admin in (demoted, suspended):
        await service.look(admin, alice.id)
        await service.content(admin, alice.id, 1)
    await operator.demote(demoted.user_id)
    await owner.execute("update users set status = 'suspended' where id = %s", [suspended.user_id])
    for admin in (demoted, suspended):
        await _assert_closed(database, admin, alice, owner)


async def test_parts_are_nobodys_to_call(database: Database, admin: AdminActor, watched: Person) -> None:
    for name, query in PARTS.items():
        with pytest.raises(InsufficientPrivilege, match="permission denied"):
            await rows(database, admin, query, watched)
            pytest.fail(name)


@pytest.mark.usefixtures("watched")
async def test_an_administrator_sees_no_more_of_any_table_than_anybody(
    database: Database, admin: AdminActor, owner: Connection
) -> None:
    cursor = await owner.execute(
        """select relname from pg_class c join pg_attribute a on a.attrelid = c.oid
           where relnamespace = 'public'::regnamespace and relkind = 'r' and attname = 'user_id'
             and has_column_privilege('visiona_app', c.oid, a.attnum, 'select')"""
    )
    tables = [name for (name,) in await cursor.fetchall()]
    assert {"runs", "generations", "photos", "models", "audit_logs", "support_grants"} <= set(tables)
    for table in tables:
        async with database.transaction(admin) as connection:
            found = await connection.execute(f"select user_id from {table}")  # type: ignore[arg-type] # from the catalog
            assert {user_id for (user_id,) in await found.fetchall()} <= {admin.user_id}, table
    async with database.transaction(admin) as connection:
        found = await connection.execute("select id from users")
        assert await found.fetchall() == [(admin.user_id,)]


# A look leaves a trace


async def test_nothing_is_answered_before_the_look_is_committed(
    database: Database, admin: AdminActor, service: AdministrationService, alice: Person, log_of: Log
) -> None:
    """Whoever rolls back has seen nothing; savepoints and a second statement do not help."""
    await service.allow_support(alice.actor, 24)
    reads = [READS[name] for name in ("person_record", "person_history", "person_content")]
    with pytest.raises(LookupError):
        async with database.transaction(admin) as connection:
            for content in (False, True):
                assert await fetch_value(connection, "select visiona.look_at(%s, %s)", [alice.id, content])
            async with connection.transaction():
                for query in reads:
                    found = await (await connection.execute(query, alice.rows)).fetchall()
                    assert found == []
            raise LookupError
    assert await log_of(alice.id) == []
    for query in reads:
        assert await rows(database, admin, query, alice) == []


async def test_a_look_is_its_administrators_and_its_persons(
    database: Database,
    make_admin: MakeAdmin,
    make_person: MakePerson,
    service: AdministrationService,
    watched: Person,
) -> None:
    """Neither one who has not looked sees by another's look, nor does a look at one show another."""
    colleague, other = await make_admin(), await make_person()
    await service.allow_support(other.actor, 24)
    for name in ("person_record", "person_history", "person_content"):
        assert await rows(database, colleague, READS[name], watched) == [], name
    await service.look(colleague, other.id)
    await service.content(colleague, other.id, 1)
    for name in ("person_record", "person_history", "person_content"):
        assert await rows(database, colleague, READS[name], watched) == [], name
        assert await rows(database, colleague, READS[name], other) != [], name


async def test_a_look_at_content_counts_for_a_minute(
    database: Database, admin: AdminActor, watched: Person, owner: Connection
) -> None:
    assert len(await rows(database, admin, READS["person_content"], watched)) == 1
    await tamper(
        owner,
        "update audit_logs set created_at = created_at - interval '61 seconds' where user_id = %s",
        params=[watched.id],
    )
    assert await rows(database, admin, READS["person_content"], watched) == []


async def test_content_ends_with_the_permission(
    database: Database, admin: AdminActor, watched: Person, service: AdministrationService
) -> None:
    assert len(await rows(database, admin, READS["person_content"], watched)) == 1
    await service.end_support(watched.actor)
    assert await rows(database, admin, READS["person_content"], watched) == []
    assert await rows(database, admin, READS["look_at content"], watched) == []


async def test_no_answer_without_permission_holds_words_or_pictures(
    database: Database,
    admin: AdminActor,
    service: AdministrationService,
    alice: Person,
    owner: Connection,
    vault: Vault,
) -> None:
    """Not even sealed."""
    mark, cipher = "CANARY", await vault.cipher(alice.id)
    columns = {
        "runs": ("prompt", "enhanced_prompt", "trigger_word", "inputs"),
        "generations": ("prompt", "enhanced_prompt", "parameters"),
        "models": ("trigger_word", "parameters"),
        "trainings": ("archive_url",),
        "sessions": ("client",),
    }
    sealed = {
        f"{table}_{name}": cipher.seal(f"{table}.{name}", f'{{"p": "{mark}"}}')
        for table, names in columns.items()
        for name in names
    }
    for table, names in columns.items():
        change = ", ".join(f"{name} = %({table}_{name})s" for name in names)
        cursor = await owner.execute(
            f"update {table} set {change} where user_id = %(user)s".encode(), alice.rows | sealed
        )
        assert cursor.rowcount > 0
    for statement in (
        "update runs set version = 'CANARY', provider_id = 'CANARY' || id where user_id = %(user)s",
        """update generations set thumbnail_url = %(folder)s || 'CANARY',
             image_url = %(folder)s || 'CANARY' || id
           where user_id = %(user)s""",
        """update photos set file_url = %(folder)s || 'CANARY' || id, thumbnail_url = %(folder)s || 'CANARY'
           where user_id = %(user)s""",
        """update models set version = 'CANARY', input_schema = '{"p": "CANARY"}' where id = %(model)s""",
        "update trainings set archive_id = 'CANARY' where user_id = %(user)s",
    ):
        assert (await owner.execute(statement, alice.rows)).rowcount > 0  # type: ignore[arg-type] # a literal
    await service.look(admin, alice.id)
    seen = repr([await rows(database, admin, query, alice) for query in READS.values()])
    assert mark not in seen
    assert [name for name, value in sealed.items() if value.hex() in seen or repr(value) in seen] == []
    assert "vsk_" not in seen
    assert alice.rows["folder"] not in seen
    await service.allow_support(alice.actor, 1)
    (content,) = await service.content(admin, alice.id, 10)
    assert mark in content.prompt
    assert mark in content.images[0].image_key


async def test_what_the_functions_run_as_cannot_reach_more(owner: Connection) -> None:
    """Were one of them to name another column, it would be refused."""
    cursor = await owner.execute(
        """select relname || '.' || attname from pg_class c join pg_attribute a on a.attrelid = c.oid
           where relnamespace = 'public'::regnamespace and relkind = 'r'
             and relname <> 'consents'  -- whose version is that of a text of ours
             and has_column_privilege('visiona_auth', c.oid, a.attnum, 'select')
             and attname in ('prompt', 'enhanced_prompt', 'trigger_word', 'inputs', 'parameters',
               'file_url', 'thumbnail_url', 'image_url', 'archive_url', 'version', 'input_schema', 'key')"""
    )
    assert {name for (name,) in await cursor.fetchall()} == {
        "runs.prompt",
        "runs.enhanced_prompt",
        "generations.image_url",
        "generations.thumbnail_url",
    }


# Logs, permissions and jobs


async def test_nobody_forges_an_administrators_act(
    database: Database, admin: AdminActor, alice: Person
) -> None:
    for actor in (alice.actor, admin):
        for target in (alice.id, admin.user_id):
            with pytest.raises(InsufficientPrivilege, match="row-level security"):
                async with database.transaction(actor) as connection:
                    await connection.execute(
                        """insert into audit_logs (user_id, action, details)
                           values (%s, 'admin.plan_set', '{"by": 1}')""",
                        [target],
                    )


async def test_only_the_person_gives_permission(
    database: Database, admin: AdminActor, alice: Person, watched: Person
) -> None:
    for actor in (admin, AdminActor(admin.user_id), UserActor(admin.user_id, admin.subject)):
        async with database.transaction(actor) as connection:
            changed = await connection.execute("update support_grants set expires_at = expires_at")
            assert changed.rowcount == 0
        with pytest.raises(InsufficientPrivilege, match="row-level security"):
            async with database.transaction(actor) as connection:
                await connection.execute(
                    "insert into support_grants (user_id, expires_at) values (%s, now())", [alice.id]
                )
    assert watched.id == alice.id


@pytest.mark.parametrize("interval", ["72 hours 1 second", "1 year", "infinity"])
async def test_a_permission_lasts_three_days_at_the_most(
    database: Database, watched: Person, interval: str
) -> None:
    until = "'infinity'" if interval == "infinity" else f"now() + interval '{interval}'"
    for statement in (
        f"update support_grants set expires_at = {until}",
        f"""insert into support_grants (user_id, expires_at) values (%(user)s, {until})
            on conflict (user_id) do update set expires_at = excluded.expires_at""",
    ):
        with pytest.raises(InsufficientPrivilege, match="row-level security"):
            await rows(database, watched.actor, statement, watched)  # type: ignore[arg-type] # literals above


async def test_a_suspended_person_starts_nothing_more(
    database: Database, admin: AdminActor, service: AdministrationService, alice: Person, owner: Connection
) -> None:
    """Not even by a request that was let in before."""
    run: LiteralString = """insert into runs (user_id, model_id, version, trigger_word, prompt, enhance,
        inputs, num_outputs, quota_period)
      values (%(user)s, %(model)s, 'version-of-' || %(user)s, %(runs_trigger_word)s, %(runs_prompt)s, false,
        %(runs_inputs)s, 1, %(period)s)"""
    training: LiteralString = """insert into trainings (user_id, model_id, quota_period)
      values (%(user)s, %(spare_model)s, %(period)s)"""
    for query in (run, training):
        async with (
            database.transaction(alice.actor) as connection,
            connection.transaction(force_rollback=True),
        ):
            await connection.execute(query, alice.rows)
    await service.suspend(admin, alice.id, Reason.TERMS)
    for query in (run, training):
        with pytest.raises(InsufficientPrivilege, match='"not_suspended"'):
            async with database.transaction(alice.actor) as connection:
                await connection.execute(query, alice.rows)
    await service.unsuspend(admin, alice.id, Reason.MISTAKE)
    await owner.execute("update users set barred = true where id = %s", [alice.id])
    with pytest.raises(InsufficientPrivilege, match='"not_suspended"'):
        async with database.transaction(alice.actor) as connection:
            await connection.execute(run, alice.rows)


async def test_no_reason_is_kept_in_the_clear(
    database: Database, admin: AdminActor, alice: Person, log_of: Log
) -> None:
    for reason in (b"because ana@example.com said so", b"", None):
        with pytest.raises(CheckViolation, match=r"an act has a reason|audit_logs_private_sealed"):
            async with database.transaction(admin) as connection:
                await connection.execute("select visiona.suspend(%s, %s)", [alice.id, reason])
    assert await log_of(alice.id) == []
