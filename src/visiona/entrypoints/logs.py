"""How lines of the log are written: what failed and where, and nothing that a failure quotes.

Messages of exceptions repeat what they failed at: the text that was no number, the address that was no URL.
Those of our own do not, and are written; so is what the database says, but for rows and values. Of all others
the type is written, and where it was raised.
"""

import logging
import re
import traceback
from types import TracebackType
from typing import Final, cast

from visiona.db import failures

LOG_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s %(message)s"
_CONTROL: Final = re.compile("[\\x00-\\x08\\x0a-\\x1f\\x7f-\\x9f\u2028\u2029]")
_Raised = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class QuietFormatter(logging.Formatter):
    def __init__(self) -> None:
        super().__init__(LOG_FORMAT)

    def format(self, record: logging.LogRecord) -> str:
        record = logging.makeLogRecord(record.__dict__ | {"exc_text": None})  # as another handler wrote it
        said = record.getMessage().rstrip("\n")
        if record.name == "asyncio":  # below its first line it writes the task, its result and its exception
            said = said.partition("\n")[0]
        # What comes in an address or a header begins no line of its own.
        record.msg = _CONTROL.sub(lambda found: repr(found[0])[1:-1], said)
        record.args = None
        return super().format(record)

    def formatException(self, ei: _Raised) -> str:  # noqa: N802 - logging's name
        return "" if ei[1] is None else "".join(_told(ei[1], set())).rstrip("\n")


def _told(error: BaseException, seen: set[int]) -> list[str]:
    """As Python tells it, what led to it first."""
    seen.add(id(error))
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    lines: list[str] = []
    if before is not None and id(before) not in seen:
        lines += [*_told(before, seen), "\nwhich led to:\n\n"]
    lines += ["Traceback (most recent call last):\n", *traceback.format_tb(error.__traceback__)]
    lines.append(f"{_named(error)}\n")
    if isinstance(error, BaseExceptionGroup):
        for each in cast("tuple[BaseException, ...]", error.exceptions):
            if id(each) not in seen:
                lines += ["\none of them:\n\n", *_told(each, seen)]
    return lines


def _named(error: BaseException) -> str:
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    if kind.__module__.partition(".")[0] == "visiona":
        return f"{name}: {error}"
    by_database = failures.told(error)
    if by_database is not None:
        return f"{name}: {by_database}"
    if isinstance(error, OSError) and error.strerror:
        return f"{name}: {error.strerror}"
    return name
