"""Every table, every verb: what each role reaches for nobody, for another person and for oneself.

Statements have no WHERE, as if one had been forgotten. A table without a line in `TABLES` fails.
"""

from collections import Counter
from dataclasses import dataclass

import pytest
from psycopg import sql
from psycopg.errors import InsufficientPrivilege
from tests.factories.people import OpenDatabase, Person

from visiona.db.actor import Actor, Anonymous, SystemActor
from visiona.db.pool import Connection, Database

VERBS = ("select", "insert", "update", "delete")
DENIED = "no such privilege"
REFUSED = "refused by a policy"

Reach = Counter[int | None] | str


@dataclass(frozen=True, slots=True)
class Table:
    """What each role reaches by VERBS: `own` rows, `all`, those of the `system`, or no privilege (`-`).

    `owner` is the column that says whose a row is, `update` one to be changed, `insert` the columns
    and values of a fresh row.
    """

    app: str
    worker: str
    owner: str | None
    update: str
    insert: str


_QUEUE = "-   -   -   -"
_EVERYTHING = "all all all all"

# fmt: off
TABLES = {
    "public.users": Table(
        app="own - - -", worker="own - system -", owner="id", update="status",
        insert="(clerk_id) values ('user_new')"),
    "public.credentials": Table(
        app="- - - -", worker="own - - -", owner="user_id", update="password_hash",
        insert="(user_id, password_hash) values (%(user)s, 'x')"),
    "public.sessions": Table(
        app="own - own -", worker="own - system system", owner="user_id", update="revoked_at",
        insert="(id, user_id, secret_hash, expires_at) "
               "values (gen_random_uuid(), %(user)s, decode(repeat('00', 32), 'hex'), now())"),
    "public.sign_in_attempts": Table(
        app="- - - -", worker="- - - -", owner=None, update="failures",
        insert="values (decode(repeat('00', 32), 'hex'), 0, now())"),
    "public.totp_secrets": Table(
        app="own own own own", worker="own - - -", owner="user_id", update="last_step",
        insert="(user_id, secret) values (%(user)s, %(totp_secrets_secret)s) "
               "on conflict (user_id) do update set last_step = 1"),
    "public.recovery_codes": Table(
        app="own own own own", worker="own - - -", owner="user_id", update="used_at",
        insert="(user_id, code_hash) values (%(user)s, decode(repeat('00', 32), 'hex'))"),
    "public.passkeys": Table(
        app="own own own own", worker="own - - -", owner="user_id", update="name",
        insert="(user_id, credential_id, public_key, name, aaguid) values "
               "(%(user)s, decode(repeat('00', 32), 'hex'), 'key', %(passkeys_name)s, gen_random_uuid())"),
    "public.passkey_challenges": Table(
        app="- own - -", worker="own - - system", owner="user_id", update="expires_at",
        insert="(user_id, challenge_hash, expires_at) "
               "values (%(user)s, decode(repeat('00', 32), 'hex'), now())"),
    "public.audit_logs": Table(
        app="own own - -", worker="own own - -", owner="user_id", update="action",
        insert="(user_id, action) values (%(user)s, 'test')"),
    "public.audit_anchors": Table(
        app="- - - -", worker="system system system -", owner=None, update="stored_at",
        insert="(seq, body) values (1, 'x')"),
    "public.rate_limits": Table(
        app="- - - -", worker="- - - -", owner=None, update="used",
        insert="values (decode(repeat('00', 32), 'hex'), now(), 60, 0)"),
    "public.cost_days": Table(
        app="- - - -", worker="system - system system", owner=None, update="told_at",
        insert="(day, committed) values ('2000-01-02', 0)"),
    "public.cost_people": Table(
        app="- - - -", worker="own - - system", owner="user_id", update="committed",
        insert="(user_id, day, committed) values (%(user)s, '2000-01-02', 0)"),
    "public.provider_costs": Table(
        app="- - - -", worker="own - - system", owner="user_id", update="spent",
        insert="(user_id, work, day, reserved) values (%(user)s, 'run:2', '2000-01-01', 0)"),
    "public.prompt_refusals": Table(
        app="- - - -", worker="own - - system", owner="user_id", update="times",
        insert="(user_id, day, rule, times) values (%(user)s, '2000-01-02', 'minors', 1)"),
    "public.reports": Table(
        app="- - - -", worker="own - system -", owner="user_id", update="object_keys",
        insert="(case_hash, user_id, reason) values (decode(repeat('00', 32), 'hex'), %(user)s, 'other')"),
    "public.plans": Table(
        app="all - - -", worker="all - - -", owner=None, update="images",
        insert="values ('gift', 1000, 1000)"),
    "public.entitlements": Table(
        app="own - - -", worker="own system system system", owner="user_id", update="plan",
        insert="(user_id, plan) values (%(user)s, 'premium')"),
    "public.quota_usage": Table(
        app="own own own -", worker="own own own -", owner="user_id", update="reserved",
        insert="(user_id, resource, period_start, period_end, plan, entitled) "
               "values (%(user)s, 'images', %(period)s, %(period_end)s, 'premium', 1000) "
               "on conflict (user_id, resource, period_start) do update set reserved = 5"),
    "public.quota_ledger": Table(
        app="own - own -", worker="own - - -", owner="user_id", update="reference",
        insert="(user_id, resource, period_start, entry, reference, entitled, reserved, used, amount) "
               "values (%(user)s, 'images', %(period)s, 'grant', '', 100, 0, 0, 100)"),
    "public.payment_customers": Table(
        app="own own own -", worker="own system system -", owner="user_id", update="attempt",
        insert="(user_id, mode) values (%(user)s, 'test') on conflict (user_id) do update set attempt = 2"),
    "public.checkouts": Table(
        app="own own own -", worker="own - system system", owner="user_id", update="state",
        insert="(id, user_id, lookup_key, plan, trial_days, created_at, expires_at) values "
               "(gen_random_uuid(), %(user)s, 'visiona_premium_month', 'premium', 0, now(), now())"),
    "public.subscriptions": Table(
        app="own - - -", worker="own system system -", owner="user_id", update="status",
        insert="(id, user_id, status, item_id, price_id, amount, currency, period_start, period_end, "
               "created_at) values ('sub_new', %(user)s, 'active', 'si_new', 'price_1', 39, 'usd', now(), "
               "now(), now())"),
    "public.invoices": Table(
        app="own - - -", worker="own system system -", owner="user_id", update="status",
        insert="(id, user_id, status, reason, total, amount_paid, amount_remaining, currency, created_at) "
               "values ('in_new', %(user)s, 'paid', 'manual', 39, 39, 0, 'usd', now())"),
    "public.payments": Table(
        app="own - - -", worker="own system system -", owner="user_id", update="status",
        insert="(user_id, stripe_charge_id, amount, currency, status) "
               "values (%(user)s, 'ch_new', 9, 'eur', 'succeeded')"),
    "public.idempotency_keys": Table(
        app="own own own -", worker="own - - system", owner="user_id", update="result_id",
        insert="(user_id, key, operation, request_hash) values (%(user)s, 'fresh', 'test', '')"),
    "public.pending_objects": Table(
        app="own own - own", worker="own own - own", owner="user_id", update="key",
        insert="(key, user_id) values (%(folder)s || 'fresh.jpg', %(user)s)"),
    "public.photos": Table(
        app="own own - own", worker="own - - own", owner="user_id", update="width",
        insert="(user_id, consent_id, file_url, thumbnail_url, width, height, size, sha256) values "
               "(%(user)s, (select id from consents where user_id = %(user)s limit 1), "
               "%(folder)s || 'fresh.jpg', %(folder)s || 'fresh.webp', 1, 1, 1, repeat('f', 64))"),
    "public.models": Table(
        app="own own - own", worker="own - own own", owner="user_id", update="status",
        insert="(user_id, consent_id, trigger_word, parameters, photo_count) values (%(user)s, "
               "(select id from consents where user_id = %(user)s limit 1), "
               "%(models_trigger_word)s, %(models_parameters)s, 1)"),
    "public.model_photos": Table(
        app="own own - -", worker="own - - -", owner="user_id", update="photo_id",
        insert="(user_id, model_id, photo_id) values (%(user)s, %(model)s, %(spare_photo)s)"),
    "public.trainings": Table(
        app="own own own -", worker="own - own -", owner="user_id", update="cancel_requested_at",
        insert="(user_id, model_id, quota_period) values (%(user)s, %(spare_model)s, %(period)s)"),
    "public.runs": Table(
        app="own own own -", worker="own - own -", owner="user_id", update="cancel_requested_at",
        insert="(user_id, model_id, version, trigger_word, prompt, enhance, inputs, num_outputs, "
               "quota_period) values (%(user)s, %(model)s, 'version-of-' || %(user)s, "
               "%(runs_trigger_word)s, %(runs_prompt)s, false, %(runs_inputs)s, 1, %(period)s)"),
    "public.generations": Table(
        app="own - - own", worker="own own - own", owner="user_id", update="prompt",
        insert="(user_id, model_id, run_id, position, prompt, image_url, thumbnail_url, content_type, "
               "width, height, size, sha256, parameters) values (%(user)s, %(model)s, %(run)s, 1, "
               "%(generations_prompt)s, %(folder)s || 'a', %(folder)s || 'b', 'image/webp', 1, 1, 1, "
               "repeat('f', 64), %(generations_parameters)s)"),
    "public.api_keys": Table(
        app="own - own -", worker="own - - system", owner="user_id", update="revoked_at",
        insert="(user_id, name, prefix, secret_hash, scopes, expires_at) values "
               "(%(user)s, %(api_keys_name)s, 'vsk_' || repeat('N', 22), decode(repeat('01', 32), 'hex'), "
               "'{photos:read}', now())"),
    "public.webhook_receipts": Table(
        app="system system - -", worker="system - system system", owner=None, update="processed_at",
        insert="(provider, external_id, topic, reference) values ('test', 'fresh', 'test', '{}')"),
    "public.backup_runs": Table(
        app="- - - -", worker="- - - -", owner=None, update="ok",
        insert="(kind, set_id, started_at, ok, report) values ('create', 'fresh', now(), true, '{}')"),
    "public.email_links": Table(
        app="own own own -", worker="own - - system", owner="user_id", update="used_at",
        insert="(id, user_id, purpose, address, expires_at) "
               "values (gen_random_uuid(), %(user)s, 'reset', %(email_links_address)s, now())"),
    "public.consents": Table(
        app="own own - -", worker="own - - -", owner="user_id", update="asked_at",
        insert="(id, user_id, subject, state, label, expires_at) "
               "values (gen_random_uuid(), %(user)s, 'other', 'asked', '\\xf8', now() + interval '1 day')"),
    "public.erasures": Table(
        app="own own own -", worker="own system system -", owner="user_id", update="state",
        insert="(id, user_id, cause, due_at) values (gen_random_uuid(), %(user)s, 'person', now())"),
    "public.exports": Table(
        app="own own - own", worker="own system system system", owner="user_id", update="progress",
        insert="(user_id) values (%(user)s)"),
    "public.departed_subjects": Table(
        app="- - - -", worker="system system - -", owner=None, update="departed_at",
        insert="(subject_hash) values (decode(repeat('00', 32), 'hex'))"),
    "public.support_grants": Table(
        app="own own own own", worker="own - - system", owner="user_id", update="expires_at",
        insert="(user_id, expires_at) values (%(user)s, now() + interval '1 hour') "
               "on conflict (user_id) do update set expires_at = excluded.expires_at"),
    "visiona.identity_keys": Table(
        app="- - - -", worker="- - - -", owner=None, update="replaced_at",
        insert="values ('x', decode(repeat('00', 64), 'hex'), decode(repeat('00', 64), 'hex'))"),
    "public.mails": Table(
        app="- own - -", worker="own system system system", owner="user_id", update="attempts",
        insert="(id, user_id, kind) values (gen_random_uuid(), %(user)s, 'password_changed')"),
    "visiona.schema_migrations": Table(
        app="all - - -", worker="all - - -", owner=None, update="checksum",
        insert="(name, checksum) values ('x', 'x')"),
    "procrastinate.procrastinate_workers": Table(
        app=_QUEUE, worker=_EVERYTHING, owner=None, update="last_heartbeat", insert="default values"),
    "procrastinate.procrastinate_jobs": Table(
        app=_QUEUE, worker=_EVERYTHING, owner=None, update="priority",
        insert="(queue_name, task_name) values ('parked', 'test')"),
    "procrastinate.procrastinate_events": Table(
        app=_QUEUE, worker=_EVERYTHING, owner=None, update="type",
        insert="(job_id, type) select min(id), 'cancelled' from procrastinate.procrastinate_jobs"),
    "procrastinate.procrastinate_periodic_defers": Table(
        app=_QUEUE, worker=_EVERYTHING, owner=None, update="periodic_id",
        insert="(task_name, periodic_id) values ('test', 'fresh')"),
}
# fmt: on


async def test_every_table_has_its_line(owner: Connection) -> None:
    cursor = await owner.execute(
        """select relnamespace::regnamespace || '.' || relname from pg_class
           where relkind in ('r', 'p', 'f') and relnamespace::regnamespace::text
             not in ('pg_catalog', 'information_schema', 'pg_toast')"""
    )
    assert {name for (name,) in await cursor.fetchall()} == set(TABLES)


@pytest.mark.parametrize("table", TABLES)
async def test_the_application_reaches_own_rows_only(
    open_database: OpenDatabase, owner: Connection, alice: Person, bob: Person, table: str
) -> None:
    async with open_database(max_size=1) as database:
        await _check(database, owner, table, TABLES[table].app, alice, bob)


@pytest.mark.parametrize("table", TABLES)
async def test_the_worker_reaches_the_rows_of_its_actor_only(
    open_database: OpenDatabase, worker_url: str, owner: Connection, alice: Person, bob: Person, table: str
) -> None:
    async with open_database(max_size=1, url=worker_url) as database:
        await _check(database, owner, table, TABLES[table].worker, alice, bob)


async def test_the_application_as_the_system_sees_nobody(open_database: OpenDatabase, alice: Person) -> None:
    """Webhook receivers act as the system; what they may not do is look at people."""
    async with open_database() as database:
        for table, spec in TABLES.items():
            for verb, right in zip(VERBS, spec.app.split(), strict=True):
                if right == "own":
                    found = await _try(database, SystemActor("hook:test"), table, verb, alice)
                    assert found == (REFUSED if verb == "insert" else Counter()), f"{verb} {table}"


async def _check(
    database: Database, owner: Connection, table: str, rights: str, alice: Person, bob: Person
) -> None:
    """Compare what is reached with what is right; `database` has one connection, used again and again."""
    for verb, right in zip(VERBS, rights.split(), strict=True):
        rows = await _rows(owner, table)
        found = {
            "nobody": await _try(database, Anonymous(), table, verb, alice),
            "another": await _try(database, bob.actor, table, verb, alice),
            "oneself": await _try(database, alice.actor, table, verb, alice),
            "nobody after somebody": await _try(database, None, table, verb, alice),
            "another after somebody": await _try(database, bob.actor, table, verb, alice),
        }
        expected = {
            "nobody": _expected(verb, right, rows, None),
            "another": _expected(verb, right, rows, bob.id),
            "oneself": _expected(verb, right, rows, alice.id, inserts=True),
            "nobody after somebody": _expected(verb, right, rows, None),
            "another after somebody": _expected(verb, right, rows, bob.id),
        }
        assert found == expected, verb


def _expected(
    verb: str, right: str, rows: Counter[int | None], user_id: int | None, *, inserts: bool = False
) -> Reach:
    """`rows` counts all there are by owner; a fresh row is always that of the one who `inserts`."""
    if right == "-":
        return DENIED
    if verb == "insert":
        return Counter({None: 1}) if right == "all" or (right == "own" and inserts) else REFUSED
    if right == "all":
        return rows
    return Counter({user_id: rows[user_id]}) if right == "own" and user_id is not None else Counter()


async def _try(database: Database, actor: Actor | None, table: str, verb: str, alice: Person) -> Reach:
    """The rows that a statement reaches, counted by owner, and everything undone.

    Without an actor it runs on the pooled connection as it is, outside of `Database.transaction`.
    """
    statement = _statement(table, verb)
    try:
        if actor is None:
            async with (
                database._pool.connection() as connection,
                connection.transaction(force_rollback=True),
            ):
                return await _reached(connection, statement, verb, alice)
        async with database.transaction(actor) as connection, connection.transaction(force_rollback=True):
            return await _reached(connection, statement, verb, alice)
    except InsufficientPrivilege as error:
        return REFUSED if "row-level security" in str(error) else DENIED


async def _reached(connection: Connection, statement: sql.Composed, verb: str, alice: Person) -> Reach:
    cursor = await connection.execute(statement, alice.rows)
    if verb == "insert":
        return Counter({None: cursor.rowcount})
    return Counter(value for (value,) in await cursor.fetchall())


def _statement(table: str, verb: str) -> sql.Composed:
    spec = TABLES[table]
    name, column = sql.Identifier(*table.split(".")), sql.Identifier(spec.update)
    owner = sql.SQL("null::bigint") if spec.owner is None else sql.Identifier(spec.owner)
    if verb == "select":
        return sql.SQL("select {} from {}").format(owner, name)
    if verb == "insert":
        return sql.SQL("insert into {} ").format(name) + sql.SQL(spec.insert)
    if verb == "update":
        return sql.SQL("update {} set {} = {} returning {}").format(name, column, column, owner)
    return sql.SQL("delete from {} returning {}").format(name, owner)


async def _rows(owner: Connection, table: str) -> Counter[int | None]:
    cursor = await owner.execute(_statement(table, "select"))
    return Counter(value for (value,) in await cursor.fetchall())
