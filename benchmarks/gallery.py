"""The gallery route against the least that could answer it: requests per second, latency, CPU, memory."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import jwt
import psutil

from benchmarks import bare_gallery, gallery_rows, load
from benchmarks.bench import Bench
from benchmarks.processes import Memory, answers, cpu_seconds, free_port, memory, python, running, wait_until
from benchmarks.report import Table, median, megabytes, number, ratio, span
from benchmarks.stack import Person, Stack, visiona

CONNECTIONS = 16
VISIONA = f"/api/gallery?limit={bare_gallery.LIMIT}"
BARE = "/bare"


class SizesDiffer(Exception):
    """The two sides do not answer with the same amount of JSON: their rates cannot be compared."""


@dataclass(slots=True)
class _Side:
    """One way of answering, and what was measured of it, round by round."""

    name: str
    target: str
    port: int
    process: psutil.Process
    seconds: float
    rates: list[float] = field(default_factory=list)
    p50_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)
    server_cpu_us: list[float] = field(default_factory=list)
    postgres_cpu_us: list[float] = field(default_factory=list)
    body_bytes: int = 0


def measure(bench: Bench) -> Iterator[Table]:
    with (
        visiona(bench.postgres, bench.folder, "serve") as stack,
        Person(stack, "asker@example.com") as person,
    ):
        gallery_rows.fill(stack.owner_url)
        with _bare_server(stack, person) as (port, bare):
            serve = stack.processes["serve"]
            long, short = bench.choose((3.0, 1.0), (0.6, 0.3))
            sides = [
                _Side(name, path, port, bare, long if path == BARE else short)
                for path, name in bare_gallery.STEPS.items()
            ]
            sides.append(_Side("Visiona: GET /api/gallery", VISIONA, stack.port, serve, long))
            _round(bench, sides, person.token, 0.3)  # pools grow, statements get prepared
            for side in sides:
                _forget(side)
            memories = [memory(serve)]
            for _ in range(bench.choose(5, 1)):
                _round(bench, sides, person.token)
                memories.append(memory(serve))
    yield _speed_table(sides)
    yield _memory_table(sides[-1], memories)


@contextmanager
def _bare_server(stack: Stack, person: Person) -> Generator[tuple[int, psutil.Process]]:
    port = free_port()
    claims = jwt.decode(person.token, options={"verify_signature": False})
    who = (str(person.id), claims["sub"], claims["sid"])
    command = python("-m", "benchmarks.bare_gallery", str(port), *who)
    with running(command, stack.environment, stack.folder / "bare.log") as process:
        wait_until(lambda: answers(port, BARE))
        yield port, process


def _round(bench: Bench, sides: list[_Side], token: str, seconds: float | None = None) -> None:
    """Every side once, one after another, so that what changes on the machine changes for all."""
    for side in sides:
        server_before, postgres_before = cpu_seconds(side.process), cpu_seconds(bench.postgres.process)
        plan = load.Plan(side.port, side.target, token, CONNECTIONS, seconds or side.seconds)
        result = load.run(plan)
        requests = result.requests * (1 + load.WARM_UP_S / result.seconds)
        side.rates.append(result.per_second)
        side.p50_ms.append(result.p50_ms)
        side.p99_ms.append(result.p99_ms)
        side.server_cpu_us.append((cpu_seconds(side.process) - server_before) / requests * 1e6)
        side.postgres_cpu_us.append((cpu_seconds(bench.postgres.process) - postgres_before) / requests * 1e6)
        side.body_bytes = result.body_bytes


def _forget(side: _Side) -> None:
    for samples in (side.rates, side.p50_ms, side.p99_ms, side.server_cpu_us, side.postgres_cpu_us):
        samples.clear()


def _speed_table(sides: list[_Side]) -> Table:
    bare = next(side for side in sides if side.target == BARE)
    if abs(sides[-1].body_bytes - bare.body_bytes) > 0.02 * bare.body_bytes:
        raise SizesDiffer(f"Visiona answers {sides[-1].body_bytes} bytes, bare {bare.body_bytes}")
    table = Table(
        f"gallery: {gallery_rows.IMAGES_EACH:,} of {gallery_rows.IMAGES_EACH * gallery_rows.PEOPLE:,} rows, "
        f"{bare_gallery.LIMIT} per page ({bare.body_bytes:,} bytes), row-level security, "
        f"{CONNECTIONS} connections",
        (
            "",
            "requests/s",
            "min - max",
            "of bare",
            "min - max",
            "p50 ms",
            "p99 ms",
            "CPU µs",
            "of PostgreSQL",
        ),
    )
    for side in sides:
        table.add(
            side.name,
            median(side.rates),
            span(side.rates),
            *ratio(side.rates, bare.rates),
            median(side.p50_ms),
            median(side.p99_ms),
            median(side.server_cpu_us),
            median(side.postgres_cpu_us),
        )
    factor, spread = ratio(_all_cpu_us(sides[-1]), _all_cpu_us(bare))
    table.notes += [
        "Each step does what the one above it does, and one thing more. CPU is per request: the web",
        "process's own, and that of all PostgreSQL processes. p50, p99 and CPU are medians over the rounds.",
        f"Both kinds of CPU together, Visiona takes {factor} what bare takes ({spread}).",
    ]
    return table


def _all_cpu_us(side: _Side) -> list[float]:
    return [
        server + postgres for server, postgres in zip(side.server_cpu_us, side.postgres_cpu_us, strict=True)
    ]


def _memory_table(side: _Side, memories: list[Memory]) -> Table:
    first, last = memories[0], memories[-1]
    table = Table("gallery: memory of visiona serve over the rounds", ("", "first", "last", "growth"))
    for name, before, after in (("RSS", first.rss, last.rss), ("PSS", first.fair, last.fair)):
        table.add(name, megabytes(before), megabytes(after), f"{number(after / before)}x")
    table.notes.append(
        f"About {sum(rate * side.seconds for rate in side.rates):,.0f} requests lie between them."
    )
    return table
