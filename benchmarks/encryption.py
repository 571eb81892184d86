"""What sealing costs: the same server with and without it, in turns, and the bare cipher as the limit."""

import asyncio
import http.client
import os
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import psycopg
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from benchmarks import load, upload
from benchmarks.bench import Bench
from benchmarks.processes import PeakMemory, answers, cpu_seconds, memory, python, running, wait_until
from benchmarks.report import Table, median, megabytes, number, ratio, span
from benchmarks.sides import Side, speed_table
from benchmarks.stack import Person, Stack, visiona
from visiona.bootstrap import open_vault
from visiona.core.clock import SystemClock
from visiona.objects.model import Kind, new_key
from visiona.settings import read_settings
from visiona.vault.model import Cipher
from visiona.vault.stream import SEGMENT_BYTES

CONNECTIONS = 8
PHOTOS = 6
_PIECE = 2**20


@dataclass(slots=True)
class _Way:
    """A server, and somebody with photos on it. `large` is the id of a photo whose object is large."""

    name: str
    stack: Stack
    process: psutil.Process
    person: Person
    large: int = 0
    upload_ms: list[float] = field(default_factory=list)
    upload_cpu_ms: list[float] = field(default_factory=list)
    large_mb_s: list[float] = field(default_factory=list)
    large_cpu_ms: list[float] = field(default_factory=list)
    peak: list[float] = field(default_factory=list)
    idle: float = 0.0

    def link(self, kind: str, photo_id: int | None = None) -> str:
        """Of this photo, or of the newest."""
        path = f"/api/photos/{photo_id}" if photo_id else "/api/photos?limit=1"
        answer = self.person.http.get(path).raise_for_status().json()
        return str((answer if photo_id else answer["items"][0])[kind])


def measure(bench: Bench) -> Iterator[Table]:
    photos = upload.different_photos(bench.folder, PHOTOS)
    with ExitStack() as running_ways:
        ways = [running_ways.enter_context(way(bench, photos)) for way in (_unsealed, _sealed)]
        yield _uploads(bench, ways, photos)
        for kind, what in (("thumbnail_url", "thumbnail"), ("file_url", "master of a 12-megapixel photo")):
            yield _downloads(bench, ways, kind, what)
        yield _large(bench, ways)
    yield _limits(bench)


@contextmanager
def _sealed(bench: Bench, photos: list[Path]) -> Generator[_Way]:
    with visiona(bench.postgres, _folder(bench, "sealed"), "serve") as stack, _somebody(stack, photos) as who:
        yield _Way("sealed", stack, stack.processes["serve"], who)


@contextmanager
def _unsealed(bench: Bench, photos: list[Path]) -> Generator[_Way]:
    with visiona(bench.postgres, _folder(bench, "unsealed")) as stack:
        command = python("-m", "benchmarks.unsealed", "serve", "--supervised")
        with running(command, stack.environment, stack.folder / "serve.log") as process:
            wait_until(lambda: answers(stack.port, "/readyz"))
            with _somebody(stack, photos) as who:
                yield _Way("as they are", stack, process, who)


def _folder(bench: Bench, name: str) -> Path:
    folder = bench.folder / name
    folder.mkdir()
    return folder


@contextmanager
def _somebody(stack: Stack, photos: list[Path]) -> Generator[Person]:
    with Person(stack, "owner@example.com") as person:
        upload.send(person, photos[:1])  # libraries load, the nursery starts
        yield person


def _uploads(bench: Bench, ways: list[_Way], photos: list[Path]) -> Table:
    for _ in range(bench.choose(7, 1)):
        for way in ways:
            with Person(way.stack, f"{time.time_ns()}@example.com") as somebody:
                before = cpu_seconds(way.process)
                taken = upload.send(somebody, photos)
            way.upload_ms.append(taken / len(photos) * 1000)
            way.upload_cpu_ms.append((cpu_seconds(way.process) - before) / len(photos) * 1000)
    table = Table(
        f"encryption: uploading 12-megapixel photos, {len(photos)} at a time, per photo",
        (
            "objects are kept",
            "ms",
            "min - max",
            "of unsealed",
            "min - max",
            "CPU ms",
            "of unsealed",
            "min - max",
        ),
    )
    bare = ways[0]
    for way in ways:
        cpu = (median(way.upload_cpu_ms), *ratio(way.upload_cpu_ms, bare.upload_cpu_ms))
        wall = (median(way.upload_ms), span(way.upload_ms), *ratio(way.upload_ms, bare.upload_ms))
        table.add(way.name, *wall, *cpu)
    return table


def _downloads(bench: Bench, ways: list[_Way], kind: str, what: str) -> Table:
    sides = [Side(way.name, _load(way, kind), bench.choose(3.0, 0.5), way.process) for way in ways]
    for side in sides:
        side.run(bench.postgres.process, 0.3)
        side.forget()
    for _ in range(bench.choose(5, 1)):
        for side in sides:
            side.run(bench.postgres.process, side.seconds)
    title = f"encryption: {what} ({sides[0].body_bytes:,} bytes) by its link, {CONNECTIONS} connections"
    return speed_table(title, sides, sides[0], "unsealed")


def _load(way: _Way, kind: str) -> Callable[[float], load.Result]:
    def drive(seconds: float) -> load.Result:
        get = load.Get(way.link(kind), way.person.token)  # links end within minutes
        return load.run(load.Plan(way.stack.port, get, CONNECTIONS, seconds))

    return drive


def _large(bench: Bench, ways: list[_Way]) -> Table:
    size = bench.choose(256, 32) * 10**6
    for way in ways:
        way.large = asyncio.run(_make_large(way, size))
        way.idle = memory(way.process).fair
    for _ in range(bench.choose(5, 1)):
        for way in ways:
            before = cpu_seconds(way.process)
            with PeakMemory(way.process) as peak:
                seconds = _download(way.stack.port, way.link("file_url", way.large), size)
            way.large_mb_s.append(size / 1e6 / seconds)
            way.large_cpu_ms.append((cpu_seconds(way.process) - before) * 1000)
            way.peak.append(peak.own)
    table = Table(
        f"encryption: one object of {megabytes(size)}, one connection",
        ("objects are kept", "MB/s", "min - max", "of unsealed", "min - max", "CPU ms", "memory", "at most"),
    )
    for way in ways:
        table.add(
            way.name,
            *(median(way.large_mb_s), span(way.large_mb_s), *ratio(way.large_mb_s, ways[0].large_mb_s)),
            *(median(way.large_cpu_ms), megabytes(way.idle), megabytes(max(way.peak))),
        )
    table.notes.append("Memory is that of the web process, before and while it sends.")
    return table


async def _make_large(way: _Way, size: int) -> int:
    """Put an object of noise in the place of one of the person's photos; answers the photo's id."""
    source = way.stack.folder / "noise"
    await asyncio.to_thread(_write_noise, source, size)
    key = new_key(way.person.id, Kind.PHOTO, "image/jpeg")
    target = way.stack.folder / "objects" / key
    if way.name == "sealed":
        vault = open_vault(read_settings(way.stack.environment), SystemClock())
        cipher = await vault.cipher(way.person.id)
        await asyncio.to_thread(cipher.seal_file, key, source, target)
        await vault.aclose()
    else:
        source.rename(target)
    with psycopg.connect(way.stack.owner_url) as connection:
        row = connection.execute(
            "update photos set file_url = %s where id = (select max(id) from photos where user_id = %s)"
            " returning id",
            [key, way.person.id],
        ).fetchone()
    if row is None:
        raise RuntimeError("nobody has a photo")
    return int(row[0])


def _write_noise(path: Path, size: int) -> None:
    with path.open("wb") as file:
        for _ in range(size // 10**6):
            file.write(os.urandom(10**6))


def _download(port: int, target: str, size: int) -> float:
    """Seconds until the last byte."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    started = time.perf_counter()
    connection.request("GET", target)
    answer = connection.getresponse()
    received = 0
    while piece := answer.read(_PIECE):
        received += len(piece)
    taken = time.perf_counter() - started
    connection.close()
    if (answer.status, received) != (200, size):
        raise RuntimeError(f"{received} bytes came with status {answer.status}")
    return taken


def _limits(bench: Bench) -> Table:
    """What the cipher alone does, and what is left of it where files are sealed and opened."""
    size = bench.choose(256, 32) * 10**6
    plain, sealed, opened = (bench.folder / name for name in ("plain", "as-sealed", "as-opened"))
    _write_noise(plain, size)
    cipher, bare, segment = Cipher(1, os.urandom(32)), AESGCM(os.urandom(32)), os.urandom(SEGMENT_BYTES - 16)
    closed = bare.encrypt(bytes(12), segment, None)
    count = size // len(segment)
    table = Table(
        f"encryption: {megabytes(size)} in one thread",
        ("", "MB/s", "min - max", "of AES-GCM", "min - max"),
    )
    ways: list[tuple[str, Callable[[], object]]] = [
        ("AES-256-GCM of cryptography: seal 64 KiB", lambda: _repeat(count, bare.encrypt, segment)),
        ("  open 64 KiB", lambda: _repeat(count, bare.decrypt, closed)),
        ("copy a file", lambda: opened.write_bytes(plain.read_bytes())),
        ("seal a file", lambda: cipher.seal_file("u1/a", plain, sealed)),
        ("open a file", lambda: cipher.open_file("u1/a", sealed, opened)),
    ]
    rates: dict[str, list[float]] = {name: [] for name, _ in ways}
    for _ in range(bench.choose(5, 1)):
        for name, work in ways:
            started = time.perf_counter()
            work()
            rates[name].append(size / 1e6 / (time.perf_counter() - started))
    limit = rates[ways[0][0]]
    for name, measured in rates.items():
        table.add(name, median(measured), span(measured), *ratio(measured, limit))
    share = number(size / 1e6 / (sum(limit) / len(limit)) * 1000)
    table.notes.append(f"The cipher itself takes {share} ms of what any of these take for a file.")
    return table


def _repeat(count: int, work: Callable[..., bytes], data: bytes) -> None:
    nonce = bytes(12)  # nothing of this is kept
    for _ in range(count):
        work(nonce, data, None)
