"""How the worker treats jobs that fail."""

import asyncio
from types import SimpleNamespace
from typing import Any, LiteralString

import psycopg
import pytest
from procrastinate.testing import InMemoryConnector

from visiona.clones import jobs as clone_jobs
from visiona.db.actor import SystemActor
from visiona.db.jobs import Job, RetryLater
from visiona.db.pool import Connection, Database
from visiona.entrypoints import worker
from visiona.objects import jobs as object_jobs


async def work(*jobs: Job, attempts: int = 0) -> InMemoryConnector:
    """Have a worker do one of each of these jobs, which were tried so often before."""
    database = SimpleNamespace(url="postgresql://nowhere", connection_class=psycopg.AsyncConnection)
    app = SimpleNamespace(jobs=lambda: list(jobs), database=database)
    queue = worker.build_queue(app)  # type: ignore[arg-type] # as much of an App as this takes
    connector = InMemoryConnector()
    with queue.replace_connector(connector) as replaced:
        for job in jobs:
            await replaced.configure_task(job.name).defer_async()
        for row in connector.jobs.values():
            row["attempts"] = attempts
        await replaced.run_worker_async(wait=False, install_signal_handlers=False, listen_notify=False)
    return connector


def states(connector: InMemoryConnector, name: str) -> list[str]:
    return [job["status"] for job in connector.jobs.values() if job["task_name"] == name]


@pytest.fixture
def jobs() -> list[Job]:
    """What the worker runs for the rooms that delete things."""
    unused: Any = SimpleNamespace(sweep=None)
    return [*clone_jobs.jobs(unused), *object_jobs.jobs(unused)]


async def unavailable() -> None:
    raise RetryLater("the provider is away")


async def broken() -> None:
    raise OSError("No space left on device")


@pytest.mark.parametrize("run", [unavailable, broken])
async def test_what_the_sweep_repeats_is_not_tried_again_by_itself(run: object) -> None:
    job = Job("work", run, swept=True)  # type: ignore[arg-type] # one of two functions
    assert states(await work(job), "work") == ["succeeded"]


async def test_what_nobody_else_repeats_is_tried_again() -> None:
    assert states(await work(Job("work", unavailable)), "work") == ["todo"]


@pytest.mark.parametrize(("lasting", "state"), [(False, "failed"), (True, "todo")])
async def test_only_what_somebody_was_promised_is_tried_for_ever(lasting: bool, state: str) -> None:
    """A deletion outlasts any outage: what it is about is a person's likeness."""
    job = Job("work", broken, lasting=lasting)
    assert states(await work(job, attempts=worker.MAX_ATTEMPTS), "work") == [state]


def test_deletions_are_lasting(jobs: list[Job]) -> None:
    lasting = {job.name for job in jobs if job.lasting}
    assert lasting == {"objects.delete", "clones.delete_version", "clones.delete_archive"}


async def test_a_job_that_hangs_does_not_keep_the_sweep_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "SWEPT_JOB_LIMIT_S", 0.05)

    async def hang() -> None:
        await asyncio.Event().wait()

    assert states(await work(Job("work", hang, swept=True)), "work") == ["succeeded"]


async def test_a_dead_worker_is_removed_whatever_it_held(
    worker_database: Database, owner: Connection
) -> None:
    """A job of it that was given back and waits for its time still names it."""
    await owner.execute("set search_path = procrastinate, public")  # as the queue's triggers want it
    (worker_id,) = await _one(
        owner,
        """insert into procrastinate.procrastinate_workers (last_heartbeat)
           values (now() - interval '1 hour') returning id""",
    )
    (job_id,) = await _one(
        owner,
        """insert into procrastinate_jobs (queue_name, task_name, status, scheduled_at, worker_id)
           values ('parked', 'test', 'todo', now() + interval '1 hour', %s) returning id""",
        worker_id,
    )
    async with worker_database.transaction(SystemActor("test")) as connection:
        cursor = await connection.execute("select procrastinate.procrastinate_prune_stalled_workers_v1(60)")
        assert (worker_id,) in await cursor.fetchall()
    found = await _one(owner, "select worker_id from procrastinate.procrastinate_jobs where id = %s", job_id)
    assert found == (None,)
    await owner.execute("delete from procrastinate.procrastinate_jobs where id = %s", [job_id])


async def _one(owner: Connection, query: LiteralString, *parameters: int) -> tuple[Any, ...]:
    row = await (await owner.execute(query, parameters)).fetchone()
    assert row is not None
    return row
