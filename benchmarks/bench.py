"""What every measurement is given: a database server, a folder, and how much time it may take."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from benchmarks.report import Table
from benchmarks.stack import Postgres

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Bench:
    """`folder` is empty, the measurement's own, and removed afterwards."""

    postgres: Postgres
    folder: Path
    quick: bool

    def choose(self, thorough: T, quick: T) -> T:
        return quick if self.quick else thorough


Measurement = Callable[[Bench], Iterator[Table]]
