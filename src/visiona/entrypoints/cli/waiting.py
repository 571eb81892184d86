"""Waiting for work at the server, with a progress bar; the work never depends on being watched."""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)

from visiona.entrypoints.cli.errors import CommandFailed, Refused, StillRunning, Unreachable
from visiona.entrypoints.cli.output import clean, note, notes, percent

Work = TypeVar("Work")

# Seconds between looks: often while it may be over in a moment, seldom once it takes minutes.
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 3.0
PAUSE_GROWTH = 1.1
# How long the server may be away, for a restart say, before waiting is given up.
PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Sighting:
    """How far the work is: `progress` from 0 to 1, or None before there is any."""

    done: bool
    progress: float | None
    label: str


class Meter(Protocol):
    def __call__(self, progress: float | None, label: str) -> None: ...


def wait(look: Callable[[], Work], read: Callable[[Work], Sighting], *, again: str) -> Work:
    """Look until the work is done. `again` is the command that watches it once more."""
    pause, lost_since = FIRST_PAUSE, None
    try:
        with progress_meter() as show:
            while True:
                try:
                    work = look()
                except CommandFailed as trouble:
                    lost_since = _still_patient(trouble, lost_since, again)
                    show(None, "Waiting for the server to answer")
                else:
                    lost_since = None
                    sighting = read(work)
                    show(sighting.progress, sighting.label)
                    if sighting.done:
                        return work
                time.sleep(pause)
                pause = min(pause * PAUSE_GROWTH, LONGEST_PAUSE)
    except KeyboardInterrupt:
        raise StillRunning("You stopped watching; the work goes on.", f"Watch it again: {again}") from None


def _still_patient(trouble: CommandFailed, lost_since: float | None, again: str) -> float:
    """Since when the server has been away; raises what passes not by waiting, or has not passed."""
    if not _passes(trouble):
        raise trouble
    now = time.monotonic()
    since = now if lost_since is None else lost_since
    if now - since > PATIENCE:
        trouble.notes = (*trouble.notes, f"The work may go on. Watch it again: {again}")
        raise trouble
    return since


def _passes(trouble: CommandFailed) -> bool:
    if isinstance(trouble, Refused):
        return trouble.http_status == 429 or trouble.http_status >= 500
    return isinstance(trouble, Unreachable)


@contextmanager
def progress_meter() -> Generator[Meter]:
    """A bar in a terminal; elsewhere a line for each tenth, so that logs stay short."""
    if not notes.is_terminal:
        yield _line_meter()
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=notes) as bars:
        task = bars.add_task("", total=None)

        def show(progress: float | None, label: str) -> None:
            total = None if progress is None else 1.0
            bars.update(task, description=clean(label), completed=progress or 0.0, total=total)

        yield show


def _line_meter() -> Meter:
    last = ""

    def show(progress: float | None, label: str) -> None:
        nonlocal last
        tenth = int((progress or 0) * 10) / 10
        line = label if progress is None else f"{label}: {percent(tenth)}"
        if line != last:
            note(line)
            last = line

    return show
