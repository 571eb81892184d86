"""The gallery route against the least that could answer it: requests per second, latency, CPU, memory."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager

import jwt
import psutil

from benchmarks import bare_gallery, gallery_rows, load
from benchmarks.bench import Bench
from benchmarks.processes import answers, free_port, memory, python, running, wait_until
from benchmarks.report import Table, ratio
from benchmarks.sides import Side, memory_table, speed_table
from benchmarks.stack import Person, Stack, visiona
from visiona.settings import read_settings

CONNECTIONS = 16
VISIONA = f"/api/gallery?limit={bare_gallery.LIMIT}"
BARE = "/bare"


class SizesDiffer(Exception):
    """The two sides do not answer with the same amount of JSON: their rates cannot be compared."""


def measure(bench: Bench) -> Iterator[Table]:
    with (
        visiona(bench.postgres, bench.folder, "serve") as stack,
        Person(stack, "asker@example.com") as person,
    ):
        gallery_rows.fill(stack.owner_url, read_settings(stack.environment))
        with _bare_server(stack, person) as (port, bare):
            serve = stack.processes["serve"]
            long, short = bench.choose((3.0, 1.0), (0.6, 0.3))
            sides = [
                Side(name, _load(port, path, person), long if path == BARE else short, bare)
                for path, name in bare_gallery.STEPS.items()
            ]
            whole = Side("Visiona: GET /api/gallery", _load(stack.port, VISIONA, person), long, serve)
            sides.append(whole)
            for side in sides:
                side.run(bench.postgres.process, 0.3)  # pools grow, statements get prepared
                side.forget()
            memories = [memory(serve)]
            for _ in range(bench.choose(5, 1)):
                # One after another, so that what changes on the machine changes for all.
                for side in sides:
                    side.run(bench.postgres.process, side.seconds)
                memories.append(memory(serve))
    yield _speed_table(sides)
    requests = sum(rate * whole.seconds for rate in whole.rates)
    yield memory_table("gallery: memory of visiona serve over the rounds", memories, requests)


@contextmanager
def _bare_server(stack: Stack, person: Person) -> Generator[tuple[int, psutil.Process]]:
    port = free_port()
    claims = jwt.decode(person.token, options={"verify_signature": False})
    who = (str(person.id), claims["sub"], claims["sid"])
    command = python("-m", "benchmarks.bare_gallery", str(port), *who)
    with running(command, stack.environment, stack.folder / "bare.log") as process:
        wait_until(lambda: answers(port, BARE))
        yield port, process


def _load(port: int, target: str, person: Person) -> Callable[[float], load.Result]:
    get = load.Get(target, person.token)
    return lambda seconds: load.run(load.Plan(port, get, CONNECTIONS, seconds))


def _speed_table(sides: Sequence[Side]) -> Table:
    bare = next(side for side in sides if side.name == bare_gallery.STEPS[BARE])
    whole = sides[-1]
    if abs(whole.body_bytes - bare.body_bytes) > 0.02 * bare.body_bytes:
        raise SizesDiffer(f"Visiona answers {whole.body_bytes} bytes, bare {bare.body_bytes}")
    table = speed_table(
        f"gallery: {gallery_rows.IMAGES_EACH:,} of {gallery_rows.IMAGES_EACH * gallery_rows.PEOPLE:,} rows, "
        f"{bare_gallery.LIMIT} per page ({bare.body_bytes:,} bytes), row-level security, "
        f"{CONNECTIONS} connections",
        sides,
        bare,
    )
    factor, spread = ratio(whole.all_cpu_us(), bare.all_cpu_us())
    table.notes += [
        "Each step does what the one above it does, and one thing more. CPU is per request: the web",
        "process's own, and that of all PostgreSQL processes. p50, p99 and CPU are medians over the rounds.",
        f"Both kinds of CPU together, Visiona takes {factor} what bare takes ({spread}).",
    ]
    return table
