"""How the worker treats jobs that fail."""

import asyncio
import types

import pytest
from procrastinate.testing import InMemoryConnector

from visiona.db.jobs import Job, RetryLater
from visiona.entrypoints import worker


async def work(*jobs: Job) -> InMemoryConnector:
    """Have a worker do one of each of these jobs."""
    app = types.SimpleNamespace(
        jobs=lambda: list(jobs), database=types.SimpleNamespace(url="postgresql://nowhere")
    )
    queue = worker.build_queue(app)  # type: ignore[arg-type] # as much of an App as this takes
    connector = InMemoryConnector()
    with queue.replace_connector(connector) as replaced:
        for job in jobs:
            await replaced.configure_task(job.name).defer_async()
        await replaced.run_worker_async(wait=False, install_signal_handlers=False, listen_notify=False)
    return connector


def states(connector: InMemoryConnector, name: str) -> list[str]:
    return [job["status"] for job in connector.jobs.values() if job["task_name"] == name]


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


async def test_a_job_that_hangs_does_not_keep_the_sweep_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "SWEPT_JOB_LIMIT_S", 0.05)

    async def hang() -> None:
        await asyncio.Event().wait()

    assert states(await work(Job("work", hang, swept=True)), "work") == ["succeeded"]
