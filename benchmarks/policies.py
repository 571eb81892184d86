"""What row-level security and a verified identity cost: a page of a million images, and a transaction."""

import asyncio
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence

import psycopg
from psycopg.rows import TupleRow

from benchmarks.bench import Bench
from benchmarks.proof import Prover
from benchmarks.report import Table, median, number, percentile, ratio
from benchmarks.sealed_words import lay_out, strangers
from benchmarks.stack import MASTER_KEY, SECRET_KEY, database
from visiona.bootstrap import app_database_url, identity_key, prepare_database
from visiona.db.actor import UserActor
from visiona.db.pool import Database
from visiona.db.sealed import (
    IMAGE_PARAMETERS,
    IMAGE_PROMPT,
    MODEL_PARAMETERS,
    MODEL_TRIGGER_WORD,
    RUN_INPUTS,
    RUN_PROMPT,
    RUN_TRIGGER_WORD,
)
from visiona.settings import Settings

PEOPLE = 1_000
PER_RUN = 4
SEED = 1
LIMIT_MS = 10

_WORDS = {
    MODEL_TRIGGER_WORD: "TOK",
    MODEL_PARAMETERS: "{}",
    RUN_TRIGGER_WORD: "TOK",
    RUN_PROMPT: "TOK",
    RUN_INPUTS: "{}",
    IMAGE_PROMPT: "TOK on a beach at sunset, number 12345",
    IMAGE_PARAMETERS: '{"seed": 1, "model": "dev", "aspect_ratio": "1:1"}',
}
_FILL = (
    """insert into models (user_id, trigger_word, status, parameters, photo_count, version, input_schema)
       select user_id, models_trigger_word, 'Ready', models_parameters, 12, 'owner/name:' || user_id, '{}'
       from words""",
    """insert into runs (user_id, model_id, version, trigger_word, prompt, enhance, inputs, num_outputs,
                         state, quota_period, finished_at)
       select m.user_id, m.id, m.version, w.runs_trigger_word, w.runs_prompt, false, w.runs_inputs,
              %(per_run)s, 'succeeded', now(), now()
       from generate_series(1, %(runs)s) n cross join models m join words w using (user_id)
       order by n, m.id""",
    """insert into generations (user_id, model_id, run_id, position, prompt, image_url, thumbnail_url,
                                content_type, width, height, size, sha256, seed, parameters)
       select r.user_id, r.model_id, r.id, p, w.generations_prompt,
              'u' || r.user_id || '/images/' || md5('i' || r.id || '-' || p) || '.webp',
              'u' || r.user_id || '/images/' || md5('t' || r.id || '-' || p) || '.webp',
              'image/webp', 1024, 1024, 200000, md5(r.id || '-' || p) || md5(p || '-' || r.id), r.id,
              w.generations_parameters
       from runs r join words w using (user_id) cross join generate_series(0, %(per_run)s - 1) p
       order by r.id, p""",
)
_COLUMNS = """id, user_id, model_id, run_id, prompt, enhanced_prompt, image_url, thumbnail_url, width, height,
              seed, parameters, created_at"""
PAGES = {
    "the newest 20": f"select {_COLUMNS} from generations where user_id = %(user)s order by id desc limit 20",
    "20 of one clone": f"""select {_COLUMNS} from generations
        where user_id = %(user)s and model_id = %(user)s order by id desc limit 20""",
    "20 deep in the past": f"""select {_COLUMNS} from generations
        where user_id = %(user)s and id < %(middle)s order by id desc limit 20""",
    "how many there are": "select count(*) from generations where user_id = %(user)s",
}

Connection = psycopg.Connection[TupleRow]


def measure(bench: Bench) -> Iterator[Table]:
    with database(bench.postgres) as owner_url:
        settings = Settings(
            secret_key=SECRET_KEY,
            database_url=owner_url,
            master_keys=(MASTER_KEY,),
            keys_url=(bench.folder / "keys-of-policies").as_uri(),
        )
        asyncio.run(prepare_database(settings))
        rows = bench.choose(1_000_000, 100_000)
        with psycopg.connect(owner_url, autocommit=True) as owner:
            _fill(owner, rows)
            with psycopg.connect(app_database_url(settings), autocommit=True) as person:
                yield _pages(bench, owner, person, settings, rows)
        yield _transactions(bench, settings)


def _fill(owner: Connection, rows: int) -> None:
    values = {"per_run": PER_RUN, "runs": rows // PEOPLE // PER_RUN}
    with owner.transaction():
        owner.execute(
            "insert into users (clerk_id) select 'user_' || n from generate_series(1, %s) n", [PEOPLE]
        )
        everybody = [row[0] for row in owner.execute("select id from users order by id").fetchall()]
        lay_out(owner, strangers(everybody), _WORDS)
        for statement in _FILL:
            owner.execute(statement, values)
    owner.execute("vacuum analyze")


def _pages(bench: Bench, owner: Connection, person: Connection, settings: Settings, rows: int) -> Table:
    """The same statement for the same people, by whom no policy holds and by whom they do."""
    key, dice = identity_key(settings), random.Random(SEED)
    table = Table(
        f"policies: {rows:,} images of {PEOPLE:,} people, milliseconds for the statement",
        ("", "by owner", "p99", "under policies", "p99", "of owner", "min - max"),
    )
    for name, query in PAGES.items():
        rounds: list[tuple[list[float], list[float]]] = []
        for _ in range(bench.choose(5, 2)):
            plain, under_policies = [], []
            for user_id in dice.sample(range(1, PEOPLE + 1), bench.choose(200, 50)):
                values = {"user": user_id, "middle": rows // 2}
                owner.execute("begin")
                plain.append(_timed(owner, query, values))
                owner.commit()
                Prover(UserActor(user_id), key).begin_sync(person)
                under_policies.append(_timed(person, query, values))
                person.commit()
            rounds.append((plain, under_policies))
        each = [[statistics.median(part[side]) for part in rounds] for side in (0, 1)]
        worst = [percentile(sorted(ms for part in rounds for ms in part[side]), 0.99) for side in (0, 1)]
        table.add(
            name,
            median(each[0]),
            number(worst[0]),
            median(each[1]),
            number(worst[1]),
            *ratio(each[1], each[0]),
        )
    table.notes.append(f"None of them may take more than {LIMIT_MS} ms. Who is asking is found out within.")
    return table


def _timed(connection: Connection, query: str, values: dict[str, int]) -> float:
    started = time.perf_counter()
    connection.execute(query, values).fetchall()
    return (time.perf_counter() - started) * 1000


def _transactions(bench: Bench, settings: Settings) -> Table:
    """`select 1` and all that goes before and after it, over one connection."""
    times = bench.choose(1_000, 200)
    with psycopg.connect(app_database_url(settings), autocommit=True) as connection:
        prover = Prover(UserActor(1), identity_key(settings))
        ways: dict[str, Callable[[], float]] = {
            "begin, select 1, commit": lambda: _bare(connection, times),
            "  + identity proved": lambda: _proved(connection, prover, times),
            "  Visiona's transaction": lambda: asyncio.run(_by_visiona(settings, times)),
        }
        samples: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(bench.choose(7, 2)):
            for name, way in ways.items():
                samples[name].append(way())
    return _transaction_table(samples)


def _transaction_table(samples: dict[str, list[float]]) -> Table:
    table = Table("policies: a transaction, microseconds", ("", "µs", "of bare", "min - max"))
    bare: Sequence[float] = next(iter(samples.values()))
    for name, taken in samples.items():
        table.add(name, median(taken), *ratio(taken, bare))
    table.notes += [
        "The proof brings one more message and one HMAC on each side. Visiona's own transaction is that over",
        "asyncio and a pool, and leaves nothing on the connection: settings, cursors, locks, statements.",
    ]
    return table


def _bare(connection: Connection, times: int) -> float:
    started = time.perf_counter()
    for _ in range(times):
        connection.execute("begin")
        connection.execute("select 1").fetchall()
        connection.commit()
    return (time.perf_counter() - started) / times * 1e6


def _proved(connection: Connection, prover: Prover, times: int) -> float:
    started = time.perf_counter()
    for _ in range(times):
        prover.begin_sync(connection)
        connection.execute("select 1").fetchall()
        connection.commit()
    return (time.perf_counter() - started) / times * 1e6


async def _by_visiona(settings: Settings, times: int) -> float:
    database = Database(app_database_url(settings), identity_key(settings), max_size=1)
    await database.open()
    try:
        for warm_up in (20, times):
            started = time.perf_counter()
            for _ in range(warm_up):
                async with database.transaction(UserActor(1)) as connection:
                    await (await connection.execute("select 1")).fetchall()
        return (time.perf_counter() - started) / times * 1e6
    finally:
        await database.close()
