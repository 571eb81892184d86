"""How long Visiona takes from the start of a process to its first answer, and what its processes weigh."""

import subprocess
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
from tests.factories.photos import twelve_megapixel_jpeg

from benchmarks.bench import Bench
from benchmarks.processes import (
    answers,
    descendants,
    free_port,
    plain_environment,
    python,
    running,
    total_memory,
    wait_until,
)
from benchmarks.report import Table, median, megabytes, ratio, span
from benchmarks.stack import PASSWORD, Stack, postmaster, visiona

POLLING_INTERVAL_S = 0.002


def measure(bench: Bench) -> Iterator[Table]:
    with visiona(bench.postgres, bench.folder) as stack:
        yield _starting(bench, stack)
    yield from _whole(bench)


def _starting(bench: Bench, stack: Stack) -> Table:
    hello_port = free_port()
    serve = python("-m", "visiona", "serve", "--supervised")
    hello = python("-m", "benchmarks.bare_hello", str(hello_port))
    ways: dict[str, Callable[[], float]] = {
        "visiona serve, to its first 200": lambda: _first_answer(serve, stack.port, stack.environment),
        "bare Litestar and uvicorn, likewise": lambda: _first_answer(hello, hello_port, stack.environment),
        "visiona --help": lambda: _whole_run(python("-m", "visiona", "--help"), stack.environment),
        "python -c pass": lambda: _whole_run(python("-c", "pass"), stack.environment),
    }
    samples: dict[str, list[float]] = {name: [] for name in ways}
    for number_of_round in range(bench.choose(8, 2)):
        for name, way in ways.items():
            taken = way()
            if number_of_round > 0:  # the first one fills the disk's cache
                samples[name].append(taken * 1000)
    _, bare, _, nothing = samples.values()
    table = Table(
        "start: from the start of a process",
        ("", "ms", "min - max", "of bare", "min - max", "of python", "min - max"),
    )
    for name, taken in samples.items():
        table.add(name, median(taken), span(taken), *ratio(taken, bare), *ratio(taken, nothing))
    return table


def _first_answer(command: Sequence[str], port: int, environment: Mapping[str, str]) -> float:
    started = time.perf_counter()
    with running(command, environment):
        wait_until(lambda: answers(port, "/healthz"), interval_s=POLLING_INTERVAL_S)
        return time.perf_counter() - started


def _whole_run(command: Sequence[str], environment: Mapping[str, str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True, timeout=60)
    return time.perf_counter() - started


def _whole(bench: Bench) -> Iterator[Table]:
    """`visiona up` on an empty folder, and again on what that left behind."""
    data_dir = bench.folder / "up"
    with _up(data_dir) as (_, first_s, _):
        pass
    again_s: list[float] = []
    for _ in range(bench.choose(2, 0)):
        with _up(data_dir) as (_, seconds, _):
            again_s.append(seconds)
    with _up(data_dir) as (process, seconds, port):
        again_s.append(seconds)
        _use(port, bench.folder)
        memory = _memory(process, data_dir)
    table = Table(
        "start: visiona up, until /readyz answers 200", ("", "s", "min - max", "of the first", "min - max")
    )
    table.add("first, on an empty folder", median([first_s]), span([first_s]), "1.00x", "1.00 - 1.00")
    table.add("again", median(again_s), span(again_s), *ratio(again_s, [first_s] * len(again_s)))
    yield table
    yield memory


@contextmanager
def _up(data_dir: Path) -> Generator[tuple[psutil.Popen, float, int]]:
    """The supervisor's process, the seconds until everything was ready, and the port."""
    port = free_port()
    own = {"VISIONA_PORT": str(port), "VISIONA_DATA_DIR": str(data_dir)}
    started = time.perf_counter()
    with running(
        python("-m", "visiona", "up"), plain_environment() | own, data_dir.with_name("up.log")
    ) as process:
        wait_until(lambda: answers(port, "/readyz"))
        yield process, time.perf_counter() - started, port


def _use(port: int, folder: Path) -> None:
    """Have every part do something once, so that what loads when first used is loaded."""
    photo = twelve_megapixel_jpeg(folder)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as http:
        account = {"email": "someone@example.com", "password": PASSWORD}
        token = http.post("/api/auth/signup", json=account).raise_for_status().json()["access_token"]
        http.headers["Authorization"] = f"Bearer {token}"
        files = {"photos": (photo.name, photo.read_bytes())}
        http.post("/api/photos/upload", files=files).raise_for_status()
        http.get("/api/gallery").raise_for_status()
        http.get("/").raise_for_status()


def _memory(up: psutil.Process, data_dir: Path) -> Table:
    table = Table(
        "start: memory per process after one upload, one gallery and one page",
        ("", "processes", "PSS", "RSS"),
    )
    groups = {"up (the supervisor)": [up]}
    for child in up.children():
        command = next((part for part in child.cmdline() if part in {"serve", "worker", "sandbox"}), None)
        if command is not None:
            groups[command] = [child]
            groups[f"{command}: imaging and other children"] = descendants(child)
    server = postmaster(data_dir / "postgres")
    groups["postgres"] = [server, *descendants(server)]
    groups["all"] = [process for processes in groups.values() for process in processes]
    for name, processes in groups.items():
        if processes:
            total = total_memory(processes)
            pss = "-" if total.pss is None else megabytes(total.pss)
            table.add(name, str(len(processes)), pss, megabytes(total.rss))
    table.notes.append("PSS counts shared pages once over all processes; RSS once for each that maps them.")
    return table
