"""Ways of doing the same work, measured in turns: requests per second, latency, CPU, memory."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import psutil

from benchmarks.load import Result
from benchmarks.processes import Memory, cpu_seconds
from benchmarks.report import Table, median, megabytes, number, ratio, span


@dataclass(slots=True)
class Side:
    """One way, and what was measured of it, round by round. `drive` puts load on it for so many seconds.
    `process` serves; it is None where the loading process does the work itself.
    """

    name: str
    drive: Callable[[float], Result]
    seconds: float
    process: psutil.Process | None
    rates: list[float] = field(default_factory=list)
    p50_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)
    postgres_cpu_us: list[float] = field(default_factory=list)
    body_bytes: int = 0

    def run(self, postgres: psutil.Process, seconds: float) -> Result:
        """Once; CPU is counted per request, the warm-up's included."""
        own_before, postgres_before = self._cpu_seconds(), cpu_seconds(postgres)
        result = self.drive(seconds)
        own = self._cpu_seconds() - own_before if self.process else result.cpu_s
        self.rates.append(result.per_second)
        self.p50_ms.append(result.p50_ms)
        self.p99_ms.append(result.p99_ms)
        self.cpu_us.append(own / result.done * 1e6)
        self.postgres_cpu_us.append((cpu_seconds(postgres) - postgres_before) / result.done * 1e6)
        self.body_bytes = result.body_bytes
        return result

    def forget(self) -> None:
        for samples in (self.rates, self.p50_ms, self.p99_ms, self.cpu_us, self.postgres_cpu_us):
            samples.clear()

    def all_cpu_us(self) -> list[float]:
        return [own + postgres for own, postgres in zip(self.cpu_us, self.postgres_cpu_us, strict=True)]

    def _cpu_seconds(self) -> float:
        return cpu_seconds(self.process) if self.process else 0.0


def speed_table(title: str, sides: Sequence[Side], bare: Side, bare_name: str = "bare") -> Table:
    table = Table(
        title,
        (
            "",
            "requests/s",
            "min - max",
            f"of {bare_name}",
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
            median(side.cpu_us),
            median(side.postgres_cpu_us),
        )
    return table


def memory_table(title: str, memories: Sequence[Memory], requests: float) -> Table:
    """Before and after so many `requests`."""
    first, last = memories[0], memories[-1]
    table = Table(title, ("", "first", "last", "growth"))
    for name, before, after in (("RSS", first.rss, last.rss), ("PSS", first.fair, last.fair)):
        table.add(name, megabytes(before), megabytes(after), f"{number(after / before)}x")
    table.notes.append(f"About {requests:,.0f} requests lie between them.")
    return table
