"""Uploading 12-megapixel photos against the bare libvips call: time, CPU time, and memory."""

import inspect
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyvips
from tests.factories.photos import twelve_megapixel_jpeg

from benchmarks import bare_imaging
from benchmarks.bench import Bench
from benchmarks.processes import PeakMemory, cpu_seconds, memory
from benchmarks.report import Table, median, megabytes, number, ratio, span
from benchmarks.stack import Person, Stack, visiona
from visiona.adapters.imaging import ChildImageProcessor

FEW, MANY = 5, 50


@dataclass(slots=True)
class _Way:
    """Milliseconds per photo, one sample for each batch."""

    name: str
    wall_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)

    def add(self, photos: Sequence[Path], wall_s: float, cpu_s: float) -> None:
        self.wall_ms.append(wall_s / len(photos) * 1000)
        self.cpu_ms.append(cpu_s / len(photos) * 1000)


def measure(bench: Bench) -> Iterator[Table]:
    photos = different_photos(bench.folder, bench.choose(MANY, 8))
    batch = photos[: bench.choose(10, 4)]
    with visiona(bench.postgres, bench.folder, "serve") as stack:
        _upload(stack, photos[:1])  # libraries load, the nursery starts
        yield _speed_table(bench, stack, batch)
        yield _memory_table(stack, photos)


def different_photos(folder: Path, count: int) -> list[Path]:
    """As many different ones: a photo that a person has already would be turned away."""
    folder = folder / "photos"
    folder.mkdir()
    original = pyvips.Image.new_from_file(str(twelve_megapixel_jpeg(folder))).copy_memory()
    paths = [folder / f"IMG_{index:04}.jpg" for index in range(count)]
    for index, path in enumerate(paths):
        marked = original.draw_rect([255.0, 255.0, 255.0], 60 * index, 0, 60, 60, fill=True)
        marked.jpegsave(str(path), Q=88)
    return paths


def _upload(stack: Stack, photos: Sequence[Path]) -> float:
    """Seconds that the request took; by somebody new, who has none of these yet."""
    with Person(stack, f"{time.time_ns()}@example.com") as person:
        return send(person, photos)


def send(person: Person, photos: Sequence[Path]) -> float:
    """Seconds that the request took."""
    with ExitStack() as opened:
        files: list[tuple[str, Any]] = [
            ("photos", (path.name, opened.enter_context(path.open("rb")))) for path in photos
        ]
        started = time.perf_counter()
        answer = person.http.post("/api/photos/upload", files=files).raise_for_status().json()
        taken = time.perf_counter() - started
    if answer["rejected"]:
        raise RuntimeError(f"rejected: {answer['rejected']}")
    return taken


def _speed_table(bench: Bench, stack: Stack, photos: Sequence[Path]) -> Table:
    threads = inspect.signature(ChildImageProcessor).parameters["concurrency"].default
    folder = bench.folder / "bare"
    folder.mkdir()
    bare = _Way(f"bare libvips: master and thumbnail, {threads} threads")
    pipeline = _Way("  + checks, colour, faces, sharpness")
    uploaded = _Way(f"Visiona: POST /api/photos/upload, {len(photos)} at a time")
    names = [str(photo) for photo in photos]
    for _ in range(bench.choose(5, 1)):
        for way in (bare, pipeline):
            result = bare_imaging.run(bare_imaging.Plan(names, str(folder), threads, way is pipeline))
            way.add(photos, result.wall_s, result.cpu_s)
        before = cpu_seconds(stack.processes["serve"])
        wall_s = _upload(stack, photos)
        uploaded.add(photos, wall_s, cpu_seconds(stack.processes["serve"]) - before)
    size = sum(photo.stat().st_size for photo in photos) / len(photos)
    table = Table(
        f"upload: 12-megapixel JPEGs of {megabytes(size)}, per photo",
        ("", "ms", "min - max", "of bare", "min - max", "CPU ms", "min - max", "of bare", "min - max"),
    )
    for way in (bare, pipeline, uploaded):
        wall = (median(way.wall_ms), span(way.wall_ms), *ratio(way.wall_ms, bare.wall_ms))
        cpu = (median(way.cpu_ms), span(way.cpu_ms), *ratio(way.cpu_ms, bare.cpu_ms))
        table.add(way.name, *wall, *cpu)
    table.notes.append("Visiona's CPU is that of the web process and of the children that decode.")
    return table


def _memory_table(stack: Stack, photos: Sequence[Path]) -> Table:
    serve = stack.processes["serve"]
    table = Table(
        f"upload: peak memory; visiona serve alone has {megabytes(memory(serve).fair)} before",
        ("photos in one request", "visiona serve", "its children together", "of them at a time"),
    )
    peaks: list[PeakMemory] = []
    for count in (FEW, len(photos)):
        with PeakMemory(serve) as peak:
            _upload(stack, photos[:count])
        table.add(str(count), megabytes(peak.own), megabytes(peak.descendants), str(peak.processes))
        peaks.append(peak)
    few, many = peaks
    growth = (number(many.own / few.own), number(many.descendants / few.descendants))
    table.add("growth", *(f"{factor}x" for factor in growth), "")
    table.notes.append("Where the system tells, memory that processes share is counted once (PSS).")
    return table
