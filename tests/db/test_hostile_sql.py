"""SQL that means harm, as the roles that log in: none of it reads, links, changes or finds another's rows.

The database is as production has it, temporary tables revoked and all. Each sequence below runs as a
signed-in person, as nobody, and as the worker under a person's identity.
"""

import asyncio
import json
import re
import uuid
from collections.abc import AsyncGenerator, Generator
from dataclasses import dataclass

import psycopg
import pytest
from tests.conftest import IDENTITY, ROLE_SECRETS, copied_database
from tests.db.attacks import ATTACKS, CALLS, READINGS, WRITINGS
from tests.db.hostile import Outcome, Victim, begin, make_victim, rows_of, run
from tests.factories.people import OpenDatabase, Person, add_row, insert_common_rows, insert_rows

from visiona.db.actor import Actor, Anonymous, UserActor
from visiona.db.events import CHANNEL, notify
from visiona.db.identity import IdentityKey
from visiona.db.migrate import migrate
from visiona.db.pool import Connection, Database, fetch_value, identify
from visiona.db.roles import APP_ROLE, WORKER_ROLE, url_for_role

# Columns of words that are the same for everybody.
WORDS = [
    "status",
    "state",
    "resource",
    "plan",
    "mode",
    "entry",
    "topic",
    "provider",
    "role",
    "purpose",
    "kind",
]
CROWD = 2000  # other people, so that the planner has reason to search indexes


@dataclass(frozen=True, slots=True)
class Scene:
    """Alice attacks, Bob is attacked."""

    url: str
    app_url: str
    worker_url: str
    alice: Person
    bob: Victim

    def filled(self, statement: str) -> str:
        """`<bob>`, `<bob_email>` and so on, and `<alice>`, put in."""
        values = {
            "alice": self.alice.id,
            "bob": self.bob.person.id,
            **{f"bob_{name}": value for name, value in self.bob.named.items()},
            **{f"bob_{name}": value for name, value in self.bob.person.rows.items() if name != "user"},
            **{f"alice_{name}": value for name, value in self.alice.rows.items() if name != "user"},
            "bob_claims": json.dumps(self.bob.person.actor.claims()),
            "forged": IdentityKey(b"x" * 32).prove("", json.dumps(self.bob.person.actor.claims())),
            "random": uuid.uuid4(),
            "sealed": "decode(repeat('f8', 40), 'hex')",  # it looks so
        }
        return re.sub(r"<(\w+)>", lambda match: str(values[match[1]]), statement)


@pytest.fixture(scope="session")
def hostile_url(postgres: str, migrated_template: str) -> Generator[str]:
    with copied_database(postgres, migrated_template) as url:
        migrate(url, ROLE_SECRETS)  # a copy does not carry the privileges of its database
        yield url


@pytest.fixture(scope="session")
async def scene(hostile_url: str) -> Scene:
    async with await psycopg.AsyncConnection.connect(hostile_url, autocommit=True) as owner:
        await insert_common_rows(owner)
        people = []
        for name in ("alice", "bob"):
            subject = f"user_{name}{uuid.uuid4().hex}"
            user_id = await add_row(owner, subject, f"{name}.{uuid.uuid4().hex}@example.com")
            people.append(await insert_rows(owner, UserActor(user_id, name)))
        alice, bob = people
        await owner.execute(
            "insert into credentials (user_id, password_hash) select id, 'argon2 of ' || id from users"
        )
        await _fill(owner)
        victim = await make_victim(owner, bob, alice)
    return Scene(
        hostile_url,
        url_for_role(hostile_url, APP_ROLE, ROLE_SECRETS.app),
        url_for_role(hostile_url, WORKER_ROLE, ROLE_SECRETS.worker),
        alice,
        victim,
    )


async def _fill(owner: Connection) -> None:
    """A crowd, with rows wherever an index might tell of somebody."""
    await owner.execute(
        """insert into users (clerk_id, email, email_index)
           select 'user_' || md5(i::text), '\\xf8'::bytea || sha256(('address ' || i)::bytea),
             sha256(('index ' || i)::bytea)
           from generate_series(1, %s) i""",
        [CROWD],
    )
    for statement in (
        """insert into sessions (id, user_id, secret_hash, expires_at)
           select gen_random_uuid(), u.id, sha256((u.id || ' ' || g)::bytea), now() + interval '1 day'
           from users u, generate_series(1, 2) g""",
        """insert into email_links (id, user_id, purpose, address, expires_at)
           select gen_random_uuid(), id, 'verify', email, now() + interval '1 day' from users""",
        """insert into passkeys (user_id, credential_id, public_key, name, aaguid)
           select id, sha256(('passkey' || id)::bytea), 'key', '\\xf8'::bytea || sha256(id::text::bytea),
             gen_random_uuid()
           from users""",
        """insert into photos (user_id, file_url, thumbnail_url, width, height, size, sha256)
           select u.id, 'u' || u.id || '/photos/' || md5(u.id || ' ' || g), 'u' || u.id || '/', 1, 1, 1,
             md5(u.id || ' ' || g) || md5(g::text)
           from users u, generate_series(1, 4) g""",
        """insert into payment_customers (user_id, mode, customer_id)
           select id, 'test', 'cus_' || md5(id::text) from users
           on conflict (user_id) do update set customer_id = excluded.customer_id""",
        """insert into models (user_id, trigger_word, parameters, photo_count, status, version, input_schema)
           select id, decode(repeat('f8', 40), 'hex'), decode(repeat('f8', 40), 'hex'), 1, 'Ready',
             md5('version ' || id), '{}' from users""",
        """insert into runs (user_id, version, trigger_word, prompt, enhance, inputs, num_outputs, state,
             quota_period, provider_id, finished_at)
           select u.id, 'v', decode(repeat('f8', 40), 'hex'),
             '\\xf8'::bytea || sha256(('prompt ' || u.id || g)::bytea), false,
             decode(repeat('f8', 40), 'hex'), 1, 'succeeded', now(), md5('prediction ' || u.id || g), now()
           from users u, generate_series(1, 3) g""",
        "analyze",
    ):
        await owner.execute(statement.encode())


@pytest.fixture
async def owner(scene: Scene) -> AsyncGenerator[Connection]:
    async with await psycopg.AsyncConnection.connect(scene.url, autocommit=True) as connection:
        yield connection


WHO = "select visiona.uid(), visiona.is_system(), (select count(*) from photos where user_id = {})"


@pytest.fixture(scope="session")
async def attackers(scene: Scene) -> AsyncGenerator[dict[str, tuple[Connection, Actor]]]:
    """A connection for each kind of attacker, kept from one attack to the next."""
    async with (
        await psycopg.AsyncConnection.connect(scene.app_url, autocommit=True) as person,
        await psycopg.AsyncConnection.connect(scene.app_url, autocommit=True) as nobody,
        await psycopg.AsyncConnection.connect(scene.worker_url, autocommit=True) as worker,
    ):
        yield {
            "a person": (person, scene.alice.actor),
            "nobody": (nobody, Anonymous()),
            "the worker for a person": (worker, scene.alice.actor),
        }


@pytest.fixture
async def bobs_rows(scene: Scene, owner: Connection) -> AsyncGenerator[None]:
    """Are the same afterwards."""
    before = await rows_of(owner, scene.bob.person.id)
    yield
    assert await rows_of(owner, scene.bob.person.id) == before


@pytest.mark.usefixtures("bobs_rows")
@pytest.mark.parametrize("name", ATTACKS)
async def test_an_attack_gets_nowhere(
    scene: Scene, attackers: dict[str, tuple[Connection, Actor]], name: str
) -> None:
    statement = scene.filled(ATTACKS[name])
    for kind, (connection, actor) in attackers.items():
        function = name.removeprefix("call: ")
        assert function not in CALLS or function in await _functions(connection)
        async with asyncio.timeout(10):
            try:
                await begin(connection, actor)
                outcome = await run(connection, [statement])
                told = outcome.text.replace(statement, "")
                given = {value for value in scene.bob.values if value in statement}
                assert scene.bob.betrayed_by(told) - given == set(), kind
                if outcome.error is None:
                    await _is_nobody_else(connection, actor, scene)
            finally:
                await connection.rollback()
                await connection.execute("reset all; close all")


async def _functions(connection: Connection) -> set[str]:
    cursor = await connection.execute(
        "select proname from pg_proc where pronamespace = 'visiona'::regnamespace"
    )
    return {name for (name,) in await cursor.fetchall()}


async def _is_nobody_else(connection: Connection, actor: Actor, scene: Scene) -> None:
    try:
        cursor = await connection.execute(WHO.format(scene.bob.person.id).encode())
        user_id, is_system, foreign = await cursor.fetchone() or (0, True, 1)
    except psycopg.Error:  # claims that cannot be read are nobody's
        return
    assert user_id in {None, getattr(actor, "user_id", None)}
    assert (is_system, foreign) == (False, 0)


async def test_there_are_enough_attacks() -> None:
    assert len(ATTACKS) >= 200


async def test_the_watch_sees_what_it_should(scene: Scene, owner: Connection) -> None:
    """The same statements betray Bob to whoever row-level security does not hold."""
    for name in ("to json", "a cursor", "copy out", "union", "a recursive query", "a loop that raises"):
        async with owner.transaction(force_rollback=True):
            outcome = await run(owner, [scene.filled(READINGS[name])])
        assert scene.bob.betrayed_by(outcome.text), name
    async with owner.transaction(force_rollback=True):
        before = await rows_of(owner, scene.bob.person.id)
        await run(owner, [scene.filled(WRITINGS["another's address"])])
        assert await rows_of(owner, scene.bob.person.id) != before


async def test_bob_himself_can(scene: Scene) -> None:
    """What is refused above is not refused because it is wrong."""
    async with await psycopg.AsyncConnection.connect(scene.app_url, autocommit=True) as connection:
        await begin(connection, scene.bob.person.actor)
        outcome = await run(
            connection,
            [
                "select email from users",
                scene.filled(WRITINGS["a row of another's"]),
                scene.filled(WRITINGS["a link for another"]),
                scene.filled(WRITINGS["an audit entry for another"]),
                scene.filled(CALLS["enqueue"]),
            ],
        )
        assert outcome.error is None
        assert scene.bob.betrayed_by(outcome.text)


async def test_every_function_that_a_person_reaches_is_attacked(owner: Connection) -> None:
    cursor = await owner.execute(
        """select proname from pg_proc where pronamespace = 'visiona'::regnamespace
           and has_function_privilege('visiona_app', oid, 'execute')"""
    )
    assert {name for (name,) in await cursor.fetchall()} - set(CALLS) == set()


@pytest.mark.parametrize(
    ("task", "arguments"),
    [
        ("generations.submit", {"user_id": "<bob>", "run_id": "<bob_run>"}),
        ("generations.apply", {"user_id": "<bob>", "run_id": "<bob_run>"}),
        ("generations.submit", {"user_id": None, "run_id": "<bob_run>"}),
        ("generations.submit", {"run_id": "<bob_run>"}),
        ("clones.submit", {"user_id": "<bob>", "model_id": "<bob_model>"}),
        ("clones.apply", {"user_id": "<bob>", "model_id": "<bob_model>"}),
        ("clones.delete_version", {"version": "version-of-<bob>"}),
        ("clones.delete_archive", {"archive_id": "x"}),
        ("payments.sync", {"user_id": "<bob>"}),
        ("objects.delete", {"keys": ["u<bob>/photos/1.jpg"]}),
        ("objects.delete", {"keys": ["u<alice>/photos/1.jpg", "u<bob>/photos/1.jpg"]}),
        ("inbox.process", {"receipt_id": 1}),
        ("generations.sweep", {}),
        ("accounts.purge", {}),
        ("administration.set_plan", {"user_id": "<bob>", "plan": "premium", "order": 1}),
        ("builtin:procrastinate.builtin_tasks.remove_old_jobs", {"max_hours": 0}),
    ],
)
async def test_nobody_asks_for_anothers_job(
    scene: Scene, attackers: dict[str, tuple[Connection, Actor]], task: str, arguments: dict[str, object]
) -> None:
    filled = scene.filled(json.dumps(arguments))
    filled = re.sub(r'("(?:user|run|model)_id": )"(\d+)"', r"\1\2", filled)
    for kind in ("a person", "nobody"):
        connection, actor = attackers[kind]
        await begin(connection, actor)
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="not yours"):
            await connection.execute("select visiona.enqueue(%s, %s::jsonb, false)", [task, filled])
        await connection.rollback()


# Proofs that were overheard


async def test_a_proof_is_for_its_transaction_only(scene: Scene) -> None:
    """Replayed later on the same connection, and at the same time on another, it is worth nothing."""
    bob = scene.bob.person.actor
    async with (
        await psycopg.AsyncConnection.connect(scene.app_url, autocommit=True) as his,
        await psycopg.AsyncConnection.connect(scene.app_url, autocommit=True) as hers,
    ):
        proof = await begin(his, bob)
        assert await fetch_value(his, "select visiona.uid()", []) == bob.user_id
        await hers.execute("begin")
        assert await _replayed(hers, bob, proof) is None
        await his.commit()
        await his.execute("begin")
        assert await _replayed(his, bob, proof) is None
        await his.execute("commit and chain")
        assert await _replayed(his, bob, proof) is None


async def test_a_proof_is_for_its_claims_only(scene: Scene) -> None:
    async with await psycopg.AsyncConnection.connect(scene.app_url, autocommit=True) as connection:
        proof = await begin(connection, scene.alice.actor)
        assert await _replayed(connection, scene.bob.person.actor, proof) is None


async def test_a_proof_of_the_worker_is_none_of_the_applications(scene: Scene) -> None:
    async with (
        await psycopg.AsyncConnection.connect(scene.app_url, autocommit=True) as app,
        await psycopg.AsyncConnection.connect(scene.worker_url, autocommit=True) as worker,
    ):
        await app.execute("begin")
        proof = await begin(worker, scene.bob.person.actor)
        assert await _replayed(app, scene.bob.person.actor, proof) is None


async def _replayed(connection: Connection, actor: Actor, proof: str) -> int | None:
    await connection.execute(
        "select set_config('request.jwt.claims', %s, true), set_config('visiona.proof', %s, true)",
        [json.dumps(actor.claims()), proof],
    )
    return await fetch_value(connection, "select visiona.uid()", [])


async def test_two_transactions_in_one_message_have_one_challenge_and_no_more(scene: Scene) -> None:
    """They begin at the same instant, by PostgreSQL's clock; nobody can prove anything in between."""
    async with await psycopg.AsyncConnection.connect(scene.app_url, autocommit=True) as connection:
        cursor = await connection.execute(
            "begin; select visiona.challenge(); commit; begin; select visiona.challenge()"
        )
        seen = [await cursor.fetchone() for _ in range(5) if cursor.nextset() and cursor.description]
        await connection.execute("commit; begin")
        assert len(seen) == 2
        assert (await fetch_value(connection, "select visiona.challenge()", []),) not in seen


async def test_what_runs_does_not_show_whom_it_is_for(scene: Scene) -> None:
    """Statements of the same role can be read by each other: they carry neither claims nor proofs."""
    bob = scene.bob.person.actor
    async with (
        await psycopg.AsyncConnection.connect(scene.app_url, autocommit=True) as his,
        await psycopg.AsyncConnection.connect(scene.app_url, autocommit=True) as hers,
    ):
        await his.execute("begin")
        challenge = await fetch_value(his, "select visiona.challenge()", [])
        claims = json.dumps(bob.claims())
        proof = IDENTITY.prove(challenge, claims)
        for _ in range(2):
            await his.execute(
                "select set_config('request.jwt.claims', %s, true), set_config('visiona.proof', %s, true)",
                [claims, proof],
            )
            await begin(hers, scene.alice.actor)
            shown = await run(hers, ["select query from pg_stat_activity", "select * from pg_locks"])
            await hers.rollback()
            assert "set_config('visiona.proof'" in shown.text
            assert not [
                secret for secret in (proof, claims, bob.subject * 2) if secret and secret in shown.text
            ]


# What is left on a pooled connection


@pytest.mark.parametrize("pooler", [False, True])
async def test_nobody_plants_a_statement_for_the_next(scene: Scene, pooler: bool) -> None:
    """The driver asks for its prepared statements by name: SQL could put its own in their place, which
    would then run with the next one's identity and be given their values.
    """
    plant = """prepare "{}" (text, text) as select set_config('planted.claims', $1, false),
        set_config('planted.photos', (select string_agg(file_url, ' ') from photos), false)"""
    database = Database(scene.app_url, IDENTITY, max_size=1, pooler=pooler)
    await database.open()
    try:
        for _ in range(10):
            async with database.transaction(scene.alice.actor) as connection:
                await connection.execute("select file_url from photos where user_id = %s", [scene.alice.id])
        async with database.transaction(scene.alice.actor) as connection:
            cursor = await connection.execute("select name from pg_prepared_statements")
            names = [name for (name,) in await cursor.fetchall()]
            assert bool(names) is not pooler
            for name in [*names, "_pg3_99"]:
                if name != "_pg3_99":
                    await connection.execute(f'deallocate "{name}"'.encode())
                await connection.execute(plant.format(name).encode())
            planted_on = connection.info.backend_pid
        for _ in range(10):
            async with database.transaction(scene.bob.person.actor) as connection:
                assert connection.info.backend_pid != planted_on
                await connection.execute(
                    "select file_url from photos where user_id = %s", [scene.bob.person.id]
                )
        async with database.transaction(scene.alice.actor) as connection:
            outcome = await run(
                connection,
                ["select current_setting('planted.claims', true), current_setting('planted.photos', true)"],
            )
        assert outcome.rows == [(None, None)]
    finally:
        await database.close()


@pytest.mark.parametrize("fails", [False, True])
async def test_nothing_is_left_for_the_next(scene: Scene, open_database: OpenDatabase, fails: bool) -> None:
    """Settings, cursors, locks and channels of a session end with the transaction that made them."""
    async with open_database(max_size=1, url=scene.app_url) as database:
        await _leave(database, scene, fails=fails)
        async with database.transaction(scene.bob.person.actor) as connection:
            assert connection.info.backend_pid == await fetch_value(connection, "select pg_backend_pid()", [])
            outcome = await run(
                connection,
                [
                    """select current_setting('search_path'), current_setting('statement_timeout'),
                      current_setting('default_transaction_read_only'), current_setting('my.note', true),
                      current_setting('row_security'), (select count(*) from pg_cursors),
                      (select count(*) from pg_locks where locktype = 'advisory'),
                      (select count(*) from pg_listening_channels())""",
                ],
            )
    assert outcome.rows == [('"$user", public', "30s", "off", "", "on", 0, 0, 0)]


async def _leave(database: Database, scene: Scene, *, fails: bool) -> None:
    try:
        async with database.transaction(scene.alice.actor) as connection:
            await connection.execute("declare mine cursor with hold for select 1")
            await connection.execute(
                """set search_path = 'nowhere'; set statement_timeout = 0; set my.note = 'x';
                   set default_transaction_read_only = on; set row_security = off;
                   select pg_advisory_lock(7); listen visiona_events"""
            )
            if fails:
                raise LookupError  # noqa: TRY301 - it is the transaction that has to see it
            await connection.execute("commit; begin")  # settings that a rollback would not take back
    except LookupError:
        assert fails


# Finding out whether something is there


async def test_no_index_is_searched_past_its_policy(owner: Connection) -> None:
    """An index is searched before the filter of a policy runs, with comparisons that are leakproof; what
    was found then shows in plans and counters. So what a role can search that sees only own rows leads
    with the owner, or finds by its hash what is known already. Numbers that count up, and times, tell nothing
    of anybody.
    """
    assert await _searchable(owner) == set()


async def test_an_index_that_tells_is_found(owner: Connection) -> None:
    async with owner.transaction(force_rollback=True):
        await owner.execute("create index tells on runs (prompt)")
        await owner.execute("create index tells_of_clones on models (version, user_id)")
        await owner.execute("create index keeps_still on runs (reverse(prompt))")
        assert await _searchable(owner) == {"tells", "tells_of_clones"}


async def _searchable(owner: Connection) -> set[str]:
    cursor = await owner.execute(
        """select i.indexrelid::regclass::text
           from pg_index i
           join pg_class c on c.oid = i.indrelid and c.relnamespace = 'public'::regnamespace
           join pg_class x on x.oid = i.indexrelid
           join pg_am m on m.oid = x.relam and m.amname <> 'hash'
           join pg_attribute a on a.attrelid = c.oid and a.attnum = any (i.indkey[0:i.indnkeyatts - 1])
           join pg_type t on t.oid = a.atttypid
           cross join unnest(array['visiona_app', 'authenticated']) as r (role)
           where has_column_privilege(r.role, c.oid, a.attnum, 'select')
             and t.typcategory not in ('N', 'D', 'B') and a.attname <> all (%s)
             and (select l.attname from pg_attribute l where l.attrelid = c.oid and l.attnum = i.indkey[0])
               is distinct from case c.relname when 'users' then 'id' else 'user_id' end
             and exists (select from pg_policies p
               where p.tablename = c.relname and r.role = any (p.roles) and p.qual like '%%uid()%%')""",
        [WORDS],
    )
    return {name for (name,) in await cursor.fetchall()}


@pytest.mark.parametrize(
    "turned_off", ["", "seqscan", "indexscan", "seqscan indexscan", "indexscan bitmapscan"]
)
@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("users", "email"), ("sessions", "id"), ("email_links", "id"), ("email_links", "address"),
        ("passkeys", "name"), ("passkeys", "credential_id"), ("photos", "file_url"),
        ("generations", "image_url"), ("payment_customers", "customer_id"), ("checkouts", "session_id"),
        ("runs", "provider_id"), ("runs", "prompt"), ("trainings", "provider_id"),
        ("subscriptions", "id"), ("invoices", "id"), ("pending_objects", "key"), ("models", "version"),
    ],
)  # fmt: skip
async def test_a_plan_does_not_tell_what_others_have(
    scene: Scene,
    owner: Connection,
    attackers: dict[str, tuple[Connection, Actor]],
    table: str,
    column: str,
    turned_off: str,
) -> None:
    """Whether a value is there, or how many lie around it, shows neither in EXPLAIN nor in counters."""
    owns = "id" if table == "users" else "user_id"
    theirs = await fetch_value(
        owner,
        f"""select t.{column}::text from {table} t where t.{owns} = %s
              and t.{column} is not null
              and not exists (select from {table} o where o.{owns} <> %s and o.{column} = t.{column})""",
        [scene.bob.person.id] * 2,
    )
    assert theirs is not None
    absent = await fetch_value(
        owner,
        "select case when %s ~ '^.?.?x?[0-9a-f-]+$' then translate(%s, '0123456789', '9876543210') "
        "else reverse(%s) end",
        [theirs] * 3,
    )
    for kind in ("a person", "nobody"):
        connection, actor = attackers[kind]
        shown = [
            await _shown(connection, actor, turned_off, _searches(table, column, value), value)
            for value in (theirs, absent)
        ]
        assert shown[0].splitlines() == shown[1].splitlines()


async def _shown(
    connection: Connection, actor: Actor, turned_off: str, statements: list[str], value: str
) -> str:
    try:
        await begin(connection, actor)
        for method in turned_off.split():
            await connection.execute(f"set local enable_{method} = off".encode())
            if method == "indexscan":
                await connection.execute("set local enable_indexonlyscan = off")
        cursor = await connection.execute(_COUNTERS)
        before = await cursor.fetchall()
        outcome = await run(connection, statements)
        assert outcome.error is None
        cursor = await connection.execute(_COUNTERS)
        counted = [
            tuple(b - a for a, b in zip(*rows, strict=True))
            for rows in zip(before, await cursor.fetchall(), strict=True)
        ]
        return f"{outcome.text.replace(value, 'value')}\n{counted}"
    finally:
        await connection.rollback()


# What the transaction has read so far, by table.
_COUNTERS = """select sum(seq_tup_read), sum(idx_tup_fetch) from pg_stat_xact_user_tables
    group by relid order by relid"""


def _searches(table: str, column: str, value: str) -> list[str]:
    cast = f"'{value}'::uuid" if column == "id" and "-" in value else f"'{value}'"
    if value.startswith("\\x"):
        cast += "::bytea"
    explain = "explain (analyze, timing off, summary off, buffers off)"
    return [
        f"{explain} select from {table} where {column} = '{value}'",
        f"{explain} select from {table} where {column} >= '{value}' and {column} <= '{value}'",
        f"{explain} select from {table} where {column} >= any (array[{cast}]) and {column} <= '{value}'",
        f"""{explain} select t.{column} from (values ('{value}')) v(x)
            left join {table} t on t.{column}::text = v.x""",
        f"select {column} from {table} where {column} = '{value}'",
        f"select {column} from {table} where {column} >= '{value}' and {column} <= '{value}'",
    ]


async def test_a_search_past_the_policy_would_be_seen(
    scene: Scene, owner: Connection, attackers: dict[str, tuple[Connection, Actor]]
) -> None:
    """With the index that there was, the same searches tell."""
    connection, actor = attackers["a person"]
    theirs = await fetch_value(
        owner, "select provider_id from runs where user_id = %s order by id desc", [scene.bob.person.id]
    )
    await owner.execute("create unique index tells on runs (provider_id)")
    try:
        shown = [
            await _shown(connection, actor, "seqscan", _searches("runs", "provider_id", value), value)
            for value in (theirs, "nothing")
        ]
    finally:
        await owner.execute("drop index tells")
    assert shown[0] != shown[1]
    assert "Rows Removed by Filter: 1" in shown[0]


async def test_a_policy_that_is_asked_late_would_be_seen(
    scene: Scene, owner: Connection, attackers: dict[str, tuple[Connection, Actor]]
) -> None:
    """As an equality it stands behind the comparisons of the query, and who is asking is found out late."""
    connection, actor = attackers["a person"]
    theirs = await fetch_value(
        owner, "select prompt::text from runs where user_id = %s order by id desc", [scene.bob.person.id]
    )
    change = "alter policy own_all on runs using (user_id = {}(select visiona.uid()){})"
    await owner.execute(change.format("", "").encode())
    try:
        shown = [
            await _shown(connection, actor, "indexscan bitmapscan", _searches("runs", "prompt", value), value)
            for value in (theirs, "\\x00")
        ]
    finally:
        await owner.execute(change.format("any (array[", "])").encode())
    assert "never executed" not in shown[0]
    assert "never executed" in shown[1]


async def test_every_policy_is_asked_first(owner: Connection) -> None:
    cursor = await owner.execute(
        """select tablename, policyname, qual from pg_policies
           where schemaname = 'public' and qual ~ 'uid\\(\\)'
             and qual !~ '^\\(*(user_id|id) = ANY \\(ARRAY\\[\\( SELECT visiona\\.uid\\(\\) AS'"""
    )
    assert await cursor.fetchall() == []


@pytest.mark.parametrize(
    ("statement", "row"),
    [
        ("insert into model_photos values (<alice>, <alice_model>, <row>)", "photo"),
        ("insert into model_photos values (<alice>, <row>, <alice_spare_photo>)", "model"),
        ("insert into trainings (user_id, model_id, quota_period) values (<alice>, <row>, now())", "model"),
        ("delete from photos where id = <row>", "photo"),
        ("update checkouts set state = 'failed' where user_id = <bob>", "run"),
        ("insert into pending_objects (key, user_id) values ('u<bob>/photos/pending.jpg', <alice>)", "run"),
        ("insert into audit_logs (user_id, action) values (<bob>, 'x')", "run"),
        ("insert into entitlements (user_id, plan) values (<bob>, 'free')", "run"),
        ("update idempotency_keys set user_id = <bob>", "run"),
        ("select visiona.enqueue('payments.sync', jsonb_build_object('user_id', <bob>), true)", "run"),
        ("select visiona.rehash(<bob>, 'argon2 of <bob>', 'y')", "run"),
        ("select visiona.look_at(<bob>, false)", "run"),
        ("update users set email = <sealed> where id = <bob>", "run"),
    ],
)  # fmt: skip
async def test_what_is_refused_is_refused_alike(
    scene: Scene, attackers: dict[str, tuple[Connection, Actor]], statement: str, row: str
) -> None:
    """Whether there is such a row or person does not show in the refusal."""
    connection, actor = attackers["a person"]
    outcomes: list[Outcome] = []
    for user_id, row_id in ((scene.bob.person.id, scene.bob.person.rows[row]), (987654321, 987654321)):
        filled = statement.replace("<bob>", str(user_id)).replace("<row>", str(row_id))
        await begin(connection, actor)
        outcome = await run(connection, [scene.filled(filled)])
        await connection.rollback()
        outcome.told = [re.sub(rf"\b({user_id}|{row_id})\b", "#", text) for text in outcome.told]
        outcomes.append(outcome)
    there, absent = outcomes
    assert type(there.error) is type(absent.error)
    assert there.text == absent.text


async def test_samples_hold_nothing_that_somebody_wrote(owner: Connection) -> None:
    """The planner tells what it guesses, and it guesses from samples of everybody's values."""
    cursor = await owner.execute(
        """select s.tablename, s.attname from pg_stats s
           where s.schemaname = 'public'
             and (s.most_common_vals is not null or s.histogram_bounds is not null)
             and s.attname <> all (%s)
             and s.tablename <> 'plans'
             and (s.most_common_vals::text || coalesce(s.histogram_bounds::text, '')) ~ '[a-z]{3}'""",
        [WORDS],
    )
    assert await cursor.fetchall() == []
    assert await fetch_value(owner, "select count(*) from pg_stats where tablename = 'runs'", []) > 5


# The channel of events


async def test_a_notification_says_which_row_and_nothing_of_it(scene: Scene) -> None:
    """PostgreSQL cannot forbid a role to listen: so what is told there is numbers."""
    async with (
        await psycopg.AsyncConnection.connect(scene.app_url, autocommit=True) as hers,
        await psycopg.AsyncConnection.connect(scene.app_url, autocommit=True) as his,
    ):
        await hers.execute(f"listen {CHANNEL}".encode())
        await _announce(his, scene.bob.person.actor)
        heard = [n.payload async for n in hers.notifies(timeout=5, stop_after=1)]
    assert [sorted(json.loads(text)) for text in heard] == [["id", "topic", "user"]]
    assert scene.bob.betrayed_by(heard[0]) == set()


async def _announce(connection: Connection, actor: UserActor) -> None:
    async with connection.transaction():
        await identify(connection, actor, IDENTITY)
        await notify(connection, actor.user_id, "run", 7)
