"""The worker: runs the rooms' jobs with Procrastinate. Any number of them may run, on any machine."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from typing import Any

import procrastinate
from procrastinate import JobContext
from procrastinate.jobs import Job as QueuedJob
from procrastinate.jobs import Status
from procrastinate.retry import BaseRetryStrategy, RetryDecision

from visiona.bootstrap import App
from visiona.core.origin import Origin, coming_from
from visiona.db.jobs import Job, RetryLater

# A worker that was killed is noticed this long after its last sign of life.
HEARTBEAT_S = 4.0
STALLED_AFTER_S = 15.0
MAX_ATTEMPTS = 20
# A job that took its worker down this often is parked, so that it cannot take down every worker.
MAX_CRASHES = 5
SHUTDOWN_S = 20.0
# More than any call to a provider with its retries, an archive's upload included.
SWEPT_JOB_LIMIT_S = 1200.0
FAILED_JOBS_KEPT_H = 24 * 7

logger = logging.getLogger(__name__)


class Backoff(BaseRetryStrategy):
    """Exponential, from 2 s to 10 minutes, with jitter; after `MAX_ATTEMPTS` it gives up, or where the
    job is `lasting` tries every hour.
    """

    def __init__(self, *, lasting: bool) -> None:
        self._lasting = lasting

    def get_retry_decision(self, *, exception: BaseException, job: QueuedJob) -> RetryDecision | None:
        late = job.attempts >= MAX_ATTEMPTS
        if late and not self._lasting:
            logger.error("job %s (%s) failed for good", job.id, job.task_name)
            return None
        if not isinstance(exception, RetryLater):
            logger.error("job %s (%s) failed", job.id, job.task_name, exc_info=exception)
        delay_s = 3600.0 if late else min(600.0, 2.0 ** (job.attempts + 1))
        delay_s *= random.uniform(0.8, 1.2)  # noqa: S311 - jitter
        return RetryDecision(retry_in={"seconds": max(1, round(delay_s))})


def build_queue(app: App) -> procrastinate.App:
    """A Procrastinate app that knows every job of `app`, connected as the worker's role."""
    connector = procrastinate.PsycopgConnector(
        conninfo=app.database.url,
        connection_class=app.database.connection_class,
        min_size=1,
        max_size=4,
    )
    queue = procrastinate.App(connector=connector)
    for job in app.jobs():
        _register(queue, job)
    lasting = frozenset(job.name for job in app.jobs() if job.lasting)
    _register(queue, Job("jobs.rescue", partial(rescue_stalled, queue, lasting), cron="* * * * * */5"))
    _register(queue, Job("jobs.purge", partial(_purge, queue), cron="41 4 * * * 0"))
    return queue


def _register(queue: procrastinate.App, job: Job) -> None:
    if job.swept:
        queue.task(name=job.name, pass_context=True)(_as_itself(job.name, _left_to_the_sweep(job)))
        return
    if job.cron is None:
        retry = Backoff(lasting=job.lasting)
        queue.task(name=job.name, pass_context=True, retry=retry)(_as_itself(job.name, job.run))
        return
    # What is periodic comes again by itself, and needs no retry.
    periodic = _as_itself(job.name, _without_timestamp(job.run))
    queue.periodic(cron=job.cron)(queue.task(name=job.name, pass_context=True)(periodic))


def _as_itself(name: str, run: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """What a job does is on record as its doing, not as that of whoever's rows it is about."""

    async def named(context: JobContext, **arguments: Any) -> None:
        with coming_from(Origin(request_id=f"job-{context.job.id}", via="system", via_id=name)):
            await run(**arguments)

    return named


def _left_to_the_sweep(job: Job) -> Callable[..., Awaitable[None]]:
    """Tried once, and not for ever: while it is being done, the sweep asks for no other."""

    async def once(**arguments: Any) -> None:
        try:
            async with asyncio.timeout(SWEPT_JOB_LIMIT_S):
                await job.run(**arguments)
        except RetryLater as error:
            logger.info("%s is left to the sweep: %s", job.name, error)
        except Exception:
            logger.exception("%s failed and is left to the sweep", job.name)

    return once


def _without_timestamp(run: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    async def periodic(timestamp: int) -> None:
        del timestamp
        await run()

    return periodic


async def rescue_stalled(queue: procrastinate.App, lasting: Collection[str] = ()) -> None:
    """Give the jobs of dead workers back to the living; park those that keep killing them."""
    manager = queue.job_manager
    for job in await manager.get_stalled_jobs(seconds_since_heartbeat=STALLED_AFTER_S):
        if job.attempts >= MAX_CRASHES and job.task_name not in lasting:
            logger.error("job %s (%s) is parked after %s crashes", job.id, job.task_name, job.attempts)
            await manager.finish_job(job, Status.FAILED, delete_job=False)
        else:
            logger.warning("job %s (%s) is taken over from a dead worker", job.id, job.task_name)
            await manager.retry_job(job)


async def _purge(queue: procrastinate.App) -> None:
    await queue.job_manager.delete_old_jobs(nb_hours=FAILED_JOBS_KEPT_H, include_failed=True)


async def run(app: App, **options: Any) -> None:
    """Work until SIGINT or SIGTERM; running jobs get `SHUTDOWN_S` to end, the rest is handed back."""
    queue = build_queue(app)
    await app.open()
    warming = asyncio.create_task(app.warm_up(), name="warm-up")
    try:
        async with queue.open_async():
            await queue.run_worker_async(
                concurrency=app.settings.worker_concurrency,
                delete_jobs="successful",
                listen_notify=not app.settings.database_pooler,
                fetch_job_polling_interval=2.0,
                update_heartbeat_interval=HEARTBEAT_S,
                stalled_worker_timeout=STALLED_AFTER_S,
                shutdown_graceful_timeout=SHUTDOWN_S,
                **options,
            )
    finally:
        warming.cancel()
        await app.close()
