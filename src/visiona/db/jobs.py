"""Inserting jobs in the caller's transaction, and describing them to the worker."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from psycopg.types.json import Jsonb

from visiona.db.pool import Connection


class RetryLater(Exception):
    """The job could not be done now and should be tried again, at the latest by the sweep."""


@dataclass(frozen=True, slots=True)
class Job:
    """One task of the worker. `run` takes the job's arguments by name; it must be safe to repeat.

    `cron` (six fields, seconds last) makes it periodic, run without arguments.
    """

    name: str
    run: Callable[..., Awaitable[None]]
    cron: str | None = None


async def enqueue(connection: Connection, task: str, *, once: bool = False, **arguments: Any) -> None:
    """Insert a job that becomes visible when this transaction commits.

    With `once`, nothing is inserted while a job with these arguments is still waiting to start.
    """
    await connection.execute("select visiona.enqueue(%s, %s, %s)", [task, Jsonb(arguments), once])
