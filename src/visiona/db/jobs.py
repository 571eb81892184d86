"""Inserting jobs in the caller's transaction, and describing them to the worker."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, LiteralString

from psycopg.types.json import Jsonb

from visiona.db.pool import Connection, fetch_value


class RetryLater(Exception):
    """The job could not be done now and should be tried again, at the latest by the sweep."""


@dataclass(frozen=True, slots=True)
class Job:
    """One task of the worker. `run` takes the job's arguments by name; it must be safe to repeat.

    `cron` (six fields, seconds last) makes it periodic, run without arguments. A `swept` job is not
    tried again by itself: a sweep asks for it for as long as there is something to do, and retries
    beside it would only add up. A `lasting` one is never given up: somebody was promised it.
    """

    name: str
    run: Callable[..., Awaitable[None]]
    cron: str | None = None
    swept: bool = False
    lasting: bool = False


async def enqueue(
    connection: Connection, task: str, *, once: bool = False, idle: bool = False, **arguments: Any
) -> None:
    """Insert a job that becomes visible when this transaction commits.

    With `once`, nothing is inserted while a job with these arguments is still waiting to start; with
    `idle`, neither while one is being done, which only the worker's role can see.
    """
    query: LiteralString = "select visiona.enqueue(%(task)s, %(arguments)s, %(once)s)"
    if idle:
        query += """ where not exists (select from procrastinate.procrastinate_jobs
            where status = 'doing' and task_name = %(task)s and args = %(arguments)s)"""
    await connection.execute(query, {"task": task, "arguments": Jsonb(arguments), "once": once or idle})


async def waiting(connection: Connection, task: str) -> int:
    """How many jobs of this task nobody has begun yet; only the worker's role can see them."""
    return await fetch_value(
        connection,
        "select count(*) from procrastinate.procrastinate_jobs where status = 'todo' and task_name = %s",
        [task],
    )
