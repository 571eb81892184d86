"""Taking in Stripe's webhooks against the least that could: requests per second, latency, CPU, memory.

No worker runs, so jobs only pile up; the tables are emptied before every load.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import psutil
import psycopg

from benchmarks import bare_webhooks, load
from benchmarks.bench import Bench
from benchmarks.processes import answers, free_port, memory, python, running, wait_until
from benchmarks.report import Table, ratio
from benchmarks.sides import Side, memory_table, speed_table
from benchmarks.stack import Stack, visiona
from benchmarks.stripe_events import BODY_BYTES, SECRET, WRONG_SECRET
from visiona.settings import STRIPE_WEBHOOK_PATH

CONNECTIONS = 16
REPEATED = 100
CONSTANT = "/constant"
BARE = "/insert"
WHOLE = f"Visiona: POST {STRIPE_WEBHOOK_PATH}"

_ROWS = """select (select count(*) from webhook_receipts where processed_at is null),
                  (select count(*) from procrastinate.procrastinate_jobs
                   where task_name = 'inbox.process' and status = 'todo')"""


class RowsDiffer(Exception):
    """What is on record is not what was sent: the rates count something else."""


@dataclass(frozen=True, slots=True)
class _Way:
    """A side, and how many receipts, each with its job, lie there after so many requests."""

    side: Side
    receipts: Callable[[int], int]


def measure(bench: Bench) -> Iterator[Table]:
    payments = {
        "VISIONA_BILLING": "on",
        "VISIONA_STRIPE_API_KEY": "sk_test_benchmarks",
        "VISIONA_STRIPE_WEBHOOK_SECRET": SECRET,
    }
    with (
        visiona(bench.postgres, bench.folder, "serve", **payments) as stack,
        _bare_server(stack) as (port, bare),
        psycopg.connect(stack.owner_url, autocommit=True) as owner,
    ):
        serve = stack.processes["serve"]
        ways = _ways(bench, stack, port, bare)
        for way in ways:
            _run(bench, owner, way, 0.3)  # pools grow, statements get prepared
            way.side.forget()
        memories = [memory(serve)]
        for _ in range(bench.choose(5, 1)):
            # One after another, so that what changes on the machine changes for all.
            for way in ways:
                _run(bench, owner, way, way.side.seconds)
            memories.append(memory(serve))
    sides = [way.side for way in ways]
    yield _speed_table(sides)
    requests = sum(rate * side.seconds for side in sides if side.process is serve for rate in side.rates)
    yield memory_table("webhooks: memory of visiona serve over the rounds", memories, requests)


@contextmanager
def _bare_server(stack: Stack) -> Generator[tuple[int, psutil.Process]]:
    port = free_port()
    command = python("-m", "benchmarks.bare_webhooks", "serve", str(port))
    with running(command, stack.environment, stack.folder / "bare.log") as process:
        wait_until(lambda: answers(port, "/"))
        yield port, process


def _ways(bench: Bench, stack: Stack, port: int, bare: psutil.Process) -> list[_Way]:
    long, short = bench.choose((2.0, 1.0), (0.6, 0.3))
    inserts = Side("bare inserts, no HTTP", partial(_insert, stack), long, None)
    ways = [_Way(inserts, _all)]
    for path, name in bare_webhooks.STEPS.items():
        plain = path == CONSTANT
        drive = _deliver(port, load.Deliver(path, SECRET))
        ways.append(_Way(Side(name, drive, short if plain else long, bare), _none if plain else _all))
    serve = stack.processes["serve"]
    new, same, forged = (
        _deliver(stack.port, load.Deliver(STRIPE_WEBHOOK_PATH, SECRET)),
        _deliver(stack.port, load.Deliver(STRIPE_WEBHOOK_PATH, SECRET, REPEATED)),
        _deliver(stack.port, load.Deliver(STRIPE_WEBHOOK_PATH, WRONG_SECRET), 401),
    )
    return [
        *ways,
        _Way(Side(WHOLE, new, long, serve), _all),
        _Way(Side(f"  the same {REPEATED} again and again", same, short, serve), _few),
        _Way(Side("  wrong signatures, refused", forged, short, serve), _none),
    ]


def _insert(stack: Stack, seconds: float) -> load.Result:
    return bare_webhooks.run_inserts(bare_webhooks.Inserts(CONNECTIONS, seconds), stack.environment)


def _deliver(port: int, deliver: load.Deliver, status: int = 204) -> Callable[[float], load.Result]:
    return lambda seconds: load.run(load.Plan(port, deliver, CONNECTIONS, seconds, status))


def _all(requests: int) -> int:
    return requests


def _few(requests: int) -> int:
    return min(requests, REPEATED)


def _none(_: int) -> int:
    return 0


def _run(bench: Bench, owner: psycopg.Connection, way: _Way, seconds: float) -> None:
    owner.execute("truncate webhook_receipts, procrastinate.procrastinate_jobs restart identity cascade")
    owner.execute("checkpoint")  # else one that is due strikes somebody
    result = way.side.run(bench.postgres.process, seconds)
    expected = way.receipts(result.done)
    rows = owner.execute(_ROWS).fetchone()
    if rows != (expected, expected):
        raise RowsDiffer(f"{way.side.name}: (receipts, jobs) are {rows} after {result.done} requests")


def _speed_table(sides: Sequence[Side]) -> Table:
    bare = next(side for side in sides if side.name == bare_webhooks.STEPS[BARE])
    whole = next(side for side in sides if side.name == WHOLE)
    table = speed_table(
        f"webhooks: new invoice.paid events ({BODY_BYTES:,} bytes), each put on record with its job, "
        f"{CONNECTIONS} connections",
        sides,
        bare,
    )
    factor, spread = ratio(whole.all_cpu_us(), bare.all_cpu_us())
    table.notes += [
        "From bare on, each step does what the one above it does, and one thing more. CPU is per request:",
        "the process's own, and that of all PostgreSQL processes. p50, p99 and CPU are medians over the",
        f"rounds. Both kinds of CPU together, Visiona takes {factor} what bare takes ({spread}).",
        "After every load the receipts and jobs were counted: one of each for every new event, none else.",
    ]
    return table
