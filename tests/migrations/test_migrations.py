"""From an empty database to this release: once, whole, one at a time, and without a superuser."""

import re
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest
from psycopg.errors import DivisionByZero
from tests.factories.ledger import STRAY, UNEVEN
from tests.factories.people import add_user, insert_common_rows, insert_rows

from visiona.billing import service as billing_service
from visiona.billing.model import Resource, Use, calendar_period, read_catalogue
from visiona.billing.service import BillingService, publish_plans
from visiona.core.clock import SystemClock
from visiona.db.actor import SystemActor, UserActor
from visiona.db.identity import IdentityKey
from visiona.db.jobs import enqueue
from visiona.db.migrate import Migration, MigrationError, migrate, own_migrations, pending
from visiona.db.pool import Database, fetch_value
from visiona.db.roles import APP_ROLE, OWNER_ROLE, WORKER_ROLE, RoleSecrets, url_for_role
from visiona.vault.model import Cipher, new_key

IDENTITY = IdentityKey(b"i" * 32)
SECRETS = RoleSecrets(app="app", worker="worker", identity=IDENTITY)
NAMES = ["procrastinate/schema", *(migration.name for migration in own_migrations())]

NewDatabase = Callable[[], str]
SuperuserUrl = Callable[[str], str]


def _later(statements: str) -> list[Migration]:
    """This release's migrations and one of the next."""
    return [*own_migrations(), Migration("9999_later.sql", statements)]


def _value(url: str, query: str) -> object:
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(query).fetchone()
        return row and row[0]


def test_files_are_numbered_in_order() -> None:
    numbers = [int(re.fullmatch(r"(\d{4})_[a-z_]+\.sql", m.name)[1]) for m in own_migrations()]
    assert numbers == list(range(1, len(numbers) + 1))


def test_a_second_run_does_nothing(new_database: NewDatabase) -> None:
    url = new_database()
    assert migrate(url, SECRETS) == NAMES
    assert migrate(url, SECRETS) == []
    assert set(NAMES) <= set(_value(url, "select array_agg(name) from visiona.schema_migrations"))


def test_a_second_database_of_the_server_shares_the_roles(new_database: NewDatabase) -> None:
    assert migrate(new_database(), SECRETS) == migrate(new_database(), SECRETS) == NAMES


async def test_a_migrated_database_works_without_a_superuser(
    new_database: NewDatabase, superuser_url: SuperuserUrl
) -> None:
    """The main statements of both roles, on this server's version, made by `dba` alone."""
    url = new_database()
    assert _value(url, "select rolsuper or rolbypassrls from pg_roles where rolname = current_user") is False
    migrate(url, SECRETS)
    async with await psycopg.AsyncConnection.connect(url) as connection:
        await connection.execute(f"set local role {OWNER_ROLE}")
        await publish_plans(connection, read_catalogue())
    app = Database(url_for_role(url, APP_ROLE, SECRETS.app), IDENTITY)
    worker = Database(url_for_role(url, WORKER_ROLE, SECRETS.worker), IDENTITY)
    await app.open()
    await worker.open()
    try:
        await _use(app, worker, superuser_url(url))
    finally:
        await app.close()
        await worker.close()


async def _use(app: Database, worker: Database, superuser_url: str) -> None:
    alice, bob = [await add_user(app, subject=name) for name in ("alice", "bob")]
    async with await psycopg.AsyncConnection.connect(superuser_url, autocommit=True) as superuser:
        await insert_common_rows(superuser)
        theirs = await insert_rows(superuser, bob)
        assert theirs.rows["generation"]

    async with app.transaction(alice) as connection:
        billing = BillingService(app, SystemClock(), read_catalogue())
        await billing.reserve(connection, alice.user_id, Resource.CLONES, 1)
        cipher = Cipher(alice.user_id, new_key())
        await connection.execute(
            """with model as (
                 insert into models (user_id, consent_id, trigger_word, parameters, photo_count)
                 values (%(user)s, (select id from consents), %(sealed)s, %(sealed)s, 1) returning id)
               insert into trainings (user_id, model_id, quota_period)
               select %(user)s, model.id, q.period_start from model, quota_usage q""",
            {"user": alice.user_id, "sealed": cipher.seal("models.trigger_word", "TOK")},
        )
        await enqueue(connection, "payments.sync", once=True, user_id=alice.user_id)
        assert await pending(connection) == []
    for table in ("users", "models", "trainings", "quota_usage"):
        async with app.transaction(alice) as connection:
            assert await fetch_value(connection, f"select count(*) from {table}", []) == 1
    async with worker.transaction(SystemActor("sweep")) as connection:
        assert await fetch_value(connection, "select count(*) from trainings", []) == 2
        assert await fetch_value(connection, "select count(*) from procrastinate_jobs", []) == 2


def test_everything_belongs_to_the_owner_role(new_database: NewDatabase, superuser_url: SuperuserUrl) -> None:
    url = new_database()
    migrate(url, SECRETS)
    owners = _value(
        superuser_url(url),
        """select array_agg(distinct relowner::regrole::text) from pg_class
           where relnamespace::regnamespace::text in ('public', 'visiona', 'procrastinate')""",
    )
    assert owners == [OWNER_ROLE]


def test_a_hardened_schema_public_is_no_obstacle(new_database: NewDatabase) -> None:
    url = new_database()
    with psycopg.connect(url) as connection:
        connection.execute("revoke all on schema public from public")
    migrate(url, SECRETS)
    assert _value(url_for_role(url, APP_ROLE, "app"), "select count(*) from plans") == 0


@contextmanager
def _execute(url: str, statement: str) -> Generator[None]:
    """A session that has executed the statement and whose transaction is open."""
    with psycopg.connect(url) as session:
        session.execute(statement)
        yield


def test_a_changed_migration_is_refused(new_database: NewDatabase) -> None:
    url = new_database()
    first, *others = own_migrations()
    migrate(url, SECRETS)
    fresh = Migration("0000_fresh.sql", "create table fresh ()")
    changed = Migration(first.name, first.statements + "\n-- a thought")
    with pytest.raises(MigrationError, match=first.name):
        migrate(url, SECRETS, [fresh, changed, *others])
    assert _value(url, "select to_regclass('fresh')") is None


def test_concurrent_runs_apply_everything_once(new_database: NewDatabase) -> None:
    url, start = new_database(), threading.Barrier(4)

    def run() -> list[str]:
        start.wait()
        return migrate(url, SECRETS)

    with ThreadPoolExecutor(4) as pool:
        answers = [future.result() for future in [pool.submit(run) for _ in range(4)]]
    assert sorted(answers) == [[], [], [], NAMES]


def test_a_lock_is_not_waited_for(new_database: NewDatabase, superuser_url: SuperuserUrl) -> None:
    """Whoever uses the table meanwhile would wait behind the migration."""
    url = new_database()
    migrate(url, SECRETS)
    later = _later("create table before (); alter table users add column later text; create table after ()")
    with _execute(superuser_url(url), "lock users in access exclusive mode"):
        started = time.monotonic()
        with pytest.raises(MigrationError, match=r"9999_later\.sql waited"):
            migrate(url, SECRETS, later)
        assert 0.5 < time.monotonic() - started < 4
        assert _value(url, "select to_regclass('before')") is None
    assert migrate(url, SECRETS, later) == ["9999_later.sql"]


def test_a_migration_that_fails_leaves_nothing_behind(new_database: NewDatabase) -> None:
    url = new_database()
    with pytest.raises(DivisionByZero):
        migrate(url, SECRETS, _later("create table later (); select 1 / 0"))
    assert _value(url, "select to_regclass('later')") is None
    assert migrate(url, SECRETS, _later("create table later ()")) == ["9999_later.sql"]


@pytest.mark.parametrize(
    ("statement", "warning"),
    [
        ("grant usage on schema pg_catalog to visiona_app", "no privileges were granted"),
        ("revoke usage on schema pg_catalog from public", "no privileges could be revoked"),
    ],
)
def test_a_grant_that_changes_nothing_is_an_error(
    new_database: NewDatabase, statement: str, warning: str
) -> None:
    """PostgreSQL itself only warns when the right to grant is missing."""
    url = new_database()
    with pytest.raises(MigrationError, match=rf"9999_later\.sql: {warning}"):
        migrate(url, SECRETS, _later(f"create table later (); {statement}"))
    assert _value(url, "select to_regclass('later')") is None


def test_migrations_do_not_run_as_the_connecting_role(new_database: NewDatabase) -> None:
    url = new_database()
    later = _later(
        "create table later as select current_user::text as name, current_setting('lock_timeout') as wait"
    )
    migrate(url, SECRETS, later)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"set role {OWNER_ROLE}")
        assert connection.execute("select * from later").fetchone() == (OWNER_ROLE, "900ms")


def test_new_passwords_take_the_place_of_old_ones(
    new_database: NewDatabase, superuser_url: SuperuserUrl
) -> None:
    url = new_database()
    query = "select rolpassword from pg_authid where rolname = 'visiona_app'"
    migrate(url, SECRETS)
    before = _value(superuser_url(url), query)
    migrate(url, RoleSecrets(app="rotated", worker="worker", identity=IDENTITY))
    after = _value(superuser_url(url), query)
    assert str(before).startswith("SCRAM-SHA-256$")
    assert before != after


# From the release before payments, with people in it

_BEFORE_PAYMENTS = """
insert into plans values ('free', 30, 2), ('premium', 1000, 10);
insert into users (clerk_id, email) values
  ('gone', 'gone@example.com'), ('free', 'free@example.com'), ('premium', 'premium@example.com'),
  ('fallen', 'fallen@example.com'), ('fresh', 'fresh@example.com');
delete from users where clerk_id = 'gone';
insert into entitlements (user_id, plan)
  select id, case clerk_id when 'premium' then 'premium' else 'free' end from users
  where clerk_id in ('premium', 'fallen');
insert into quota_usage (user_id, resource, period_start, period_end, used, reserved)
  select u.id, q.resource, date_trunc('month', now(), 'UTC') - q.months * interval '1 month',
    date_trunc('month', now(), 'UTC') - (q.months - 1) * interval '1 month', q.used, q.reserved
  from users u join (values
    ('free', 'images', 0, 7, 4), ('free', 'clones', 0, 1, 0), ('free', 'images', 2, 30, 0),
    ('premium', 'images', 0, 900, 100), ('premium', 'clones', 0, 0, 0),
    ('fallen', 'images', 0, 200, 4)
  ) as q (person, resource, months, used, reserved) on q.person = u.clerk_id;
"""

_OPENED = """
select u.clerk_id, q.resource, q.plan, q.entitled, q.granted, q.balance,
  l.entry, l.entitled, l.reserved, l.used, l.amount
from quota_usage q join users u on u.id = q.user_id
left join quota_ledger l using (user_id, resource, period_start)
order by q.period_start desc, u.clerk_id, q.resource desc
"""


async def test_periods_from_before_the_ledger_open_theirs(
    new_database: NewDatabase, superuser_url: SuperuserUrl
) -> None:
    url = new_database()
    own = own_migrations()
    before = [migration for migration in own if migration.name < "0006"]
    migrate(url, SECRETS, before)
    with psycopg.connect(superuser_url(url)) as superuser:
        superuser.execute(_BEFORE_PAYMENTS)
    assert migrate(url, SECRETS) == [migration.name for migration in own[len(before) :]]

    with psycopg.connect(superuser_url(url)) as superuser:
        opened = superuser.execute(_OPENED).fetchall()
        forced = superuser.execute(
            """select bool_and(relrowsecurity and relforcerowsecurity) from pg_class
               where relname in ('plans', 'entitlements', 'quota_usage', 'quota_ledger')"""
        ).fetchone()
    assert opened == [
        # person, resource, plan, entitled, granted, balance; the entry and what it says was there
        ("fallen", "images", "free", 30, 204, 0, "opening", 30, 4, 200, 0),
        ("free", "images", "free", 30, 30, 19, "opening", 30, 4, 7, 19),
        ("free", "clones", "free", 2, 2, 1, "opening", 2, 0, 1, 1),
        ("premium", "images", "premium", 1000, 1000, 0, "opening", 1000, 100, 900, 0),
        ("premium", "clones", "premium", 10, 10, 10, "opening", 10, 0, 0, 10),
        ("free", "images", "free", 30, 30, 0, "opening", 30, 0, 30, 0),
    ]
    assert forced == (True,)
    async with await psycopg.AsyncConnection.connect(url) as connection:
        await connection.execute(f"set local role {OWNER_ROLE}")
        await publish_plans(connection, read_catalogue())
    await _go_on(url, superuser_url(url))


async def _go_on(url: str, superuser_url: str) -> None:
    """Work that was running over the update ends, new work begins, and the ledger holds."""
    with psycopg.connect(superuser_url) as superuser:
        ids = dict(superuser.execute("select clerk_id, id from users").fetchall())
    app = Database(url_for_role(url, APP_ROLE, SECRETS.app), IDENTITY)
    worker = Database(url_for_role(url, WORKER_ROLE, SECRETS.worker), IDENTITY)
    await app.open()
    await worker.open()
    try:
        billing = BillingService(app, SystemClock(), read_catalogue())
        for name, used in (("free", 3), ("fallen", 0)):
            async with worker.transaction(UserActor(ids[name])) as connection:
                await billing_service.settle(
                    connection,
                    ids[name],
                    Resource.IMAGES,
                    calendar_period(SystemClock().now()).start,
                    reserved=4,
                    used=used,
                    reference="run:1",
                )
        for name, amount in (("free", 20), ("fresh", 30)):
            async with app.transaction(UserActor(ids[name])) as connection:
                await billing.reserve(connection, ids[name], Resource.IMAGES, amount)
        found = {name: (await billing.quota(UserActor(user_id))).images for name, user_id in ids.items()}
    finally:
        await app.close()
        await worker.close()
    assert found == {
        "free": Use(30, 30),
        "premium": Use(1000, 1000),
        "fallen": Use(200, 200),
        "fresh": Use(30, 30),
    }
    with psycopg.connect(superuser_url) as superuser:
        for query in (UNEVEN, STRAY):
            assert superuser.execute(query, {"user": None}).fetchall() == []
