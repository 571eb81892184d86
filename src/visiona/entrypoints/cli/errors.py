"""How a command can end other than well, and the exit status that says so."""

from collections.abc import Generator
from contextlib import contextmanager
from enum import IntEnum

from visiona.entrypoints.cli.answers import Problem


class ExitStatus(IntEnum):
    """What scripts can rely on; 2 (wrong usage) is Typer's own."""

    REFUSED = 1
    NOT_SIGNED_IN = 3
    UNREACHABLE = 4
    WORK_FAILED = 5
    INTERRUPTED = 130


class CommandFailed(Exception):
    """Ends the command: `message` is what happened, `notes` the lines beneath it."""

    exit_status = ExitStatus.REFUSED

    def __init__(self, message: str, *notes: str) -> None:
        super().__init__(message)
        self.message = message
        self.notes = notes


class Refused(CommandFailed):
    """The server understood and said no; `problem` is its own account."""

    def __init__(self, http_status: int, problem: Problem, *notes: str) -> None:
        super().__init__(problem.summary(http_status), *problem.field_lines(), *notes)
        self.http_status = http_status
        self.problem = problem


class NotSignedIn(CommandFailed):
    exit_status = ExitStatus.NOT_SIGNED_IN


class Unreachable(CommandFailed):
    """No answer, or one that no Visiona server gives."""

    exit_status = ExitStatus.UNREACHABLE


class WorkFailed(CommandFailed):
    """The training or generation was accepted, and came to nothing."""

    exit_status = ExitStatus.WORK_FAILED


class StillRunning(CommandFailed):
    """The person stopped waiting; the work goes on at the server."""

    exit_status = ExitStatus.INTERRUPTED


@contextmanager
def local_files() -> Generator[None]:
    """Report trouble with this machine's files (full disk, no permission) in a sentence."""
    try:
        yield
    except OSError as trouble:
        where = f"{trouble.filename}: " if trouble.filename else ""
        raise CommandFailed(f"{where}{trouble.strerror or trouble}") from trouble
