"""The life of a job: starting, processing, one terminal state, then the removal of its data.

Everything happens on one event loop, so a state is checked and changed without a lock. A job that was
not finished when the sandbox stopped runs again from its beginning after the next start; seeds and
version ids are fixed when a job is created, so that running twice makes the same thing.
"""

import asyncio
import base64
import logging
import mimetypes
from collections.abc import Awaitable, Callable, Coroutine
from datetime import timedelta
from typing import Any

from visiona.sandbox.replicate import wire
from visiona.sandbox.replicate.clock import SandboxClock
from visiona.sandbox.replicate.config import ReplicateSandboxConfig
from visiona.sandbox.replicate.records import Job, JobKind, Version
from visiona.sandbox.replicate.store import Store
from visiona.sandbox.replicate.tqdm import line
from visiona.sandbox.replicate.webhooks import Event, WebhookSender

_SWEEP_SECONDS = 5.0
_TICK_SECONDS = 0.25
_TIME_LIMIT = timedelta(minutes=30)

logger = logging.getLogger(__name__)


class JobFailed(Exception):
    """The model raised; the message becomes the job's `error`."""


class JobRunner:
    """Runs jobs, tells webhooks and waiting requests about them, and forgets their data in time."""

    def __init__(
        self, config: ReplicateSandboxConfig, store: Store, clock: SandboxClock, sender: WebhookSender
    ) -> None:
        self._config = config
        self._store = store
        self._clock = clock
        self._sender = sender
        self._work: dict[JobKind, Callable[[Job], Awaitable[None]]] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._chores: set[asyncio.Task[None]] = set()
        self._ends: dict[str, asyncio.Event] = {}

    def register(self, kind: JobKind, work: Callable[[Job], Awaitable[None]]) -> None:
        """`work` does one job: it reports through `log` and `progress`, and raises `JobFailed`."""
        self._work[kind] = work

    def start(self) -> None:
        """Take up what the last run left behind."""
        self._chore(self._sweep_for_ever())
        for job in list(self._store.jobs.values()):
            if not job.finished:
                self._launch(job)
            elif self._owes_webhook(job):
                self._emit(job, "completed")
        for version in list(self._store.versions.values()):
            if version.deleting:
                self._chore(self._delete_later(version))

    async def stop(self) -> None:
        """Stop without ending any job."""
        tasks = [*self._running.values(), *self._chores]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._running.clear()

    def submit(self, job: Job) -> None:
        self._store.save_job(job)
        self._launch(job)

    def cancel(self, job: Job) -> None:
        """End as `canceled`; a finished job stays as it is."""
        self._end(job, "canceled")

    async def wait(self, job: Job, seconds: float) -> bool:
        """True once the job is finished; false if that takes longer than `seconds`."""
        if job.finished:
            return True
        end = asyncio.create_task(self._ends.setdefault(job.id, asyncio.Event()).wait())
        limit = asyncio.create_task(self._clock.sleep(seconds))
        try:
            await asyncio.wait({end, limit}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            end.cancel()
            limit.cancel()
        return job.finished

    def log(self, job: Job, text: str) -> None:
        job.logs += text
        self._store.save_job(job)
        self._emit(job, "logs")

    async def progress(self, job: Job, total: int, seconds: float, label: str = "") -> None:
        """Let `seconds` pass while progress lines up to `total` appear in the log."""
        begin = self._clock.now()
        ticks = min(total, max(4, int(seconds / _TICK_SECONDS)))
        for tick in range(ticks + 1):
            elapsed = (self._clock.now() - begin).total_seconds()
            self.log(job, line(total * tick // ticks, total, elapsed, label))
            if job.script.fail is not None and tick * 2 >= ticks:
                raise JobFailed(job.script.fail)
            if tick < ticks:
                await self._clock.sleep(seconds / ticks)

    def deliver(self, job: Job, outputs: list[str]) -> None:
        """The model has returned these files."""
        job.outputs = outputs
        self._store.save_job(job)
        self._emit(job, "output")

    def body(self, job: Job) -> dict[str, Any]:
        return wire.job(self._config, job, inline=self._inline(job))

    def delete_version(self, version: Version) -> None:
        """Accepted now, done later, with all predictions that it made."""
        if not version.deleting:
            version.deleting = True
            self._store.save_version(version)
            self._chore(self._delete_later(version))

    def sweep(self) -> None:
        """Remove what is past its time: data of predictions, and uploaded files."""
        now = self._clock.now()
        for job in list(self._store.jobs.values()):
            if job.completed_at and now >= job.completed_at + timedelta(seconds=self._config.output_ttl_s):
                self.remove_data(job)
        for file in list(self._store.files.values()):
            if file.expires_at <= now:
                self._store.delete_file(file)

    def remove_data(self, job: Job) -> None:
        """Inputs, outputs and logs of a prediction; trainings keep theirs."""
        if job.kind == "training" or job.data_removed or not job.finished:
            return
        self._store.delete_outputs(job)
        job.input, job.outputs, job.logs, job.data_removed = {}, [], "", True
        self._store.save_job(job)

    def forget(self) -> None:
        """Stop all jobs and forget them."""
        for task in self._running.values():
            task.cancel()
        self._running.clear()
        for event in self._ends.values():
            event.set()
        self._ends.clear()

    def _launch(self, job: Job) -> None:
        task = asyncio.create_task(self._run(job))
        self._running[job.id] = task
        task.add_done_callback(lambda _: self._running.pop(job.id, None))

    async def _run(self, job: Job) -> None:
        watch = asyncio.create_task(self._enforce_deadline(job))
        try:
            await self._boot(job)
            if job.script.final_status == "aborted":
                self._end(job, "aborted")
                return
            self._begin(job)
            await self._work[job.kind](job)
            self._end(job, job.script.final_status or "succeeded")
        except JobFailed as failure:
            self._end(job, "failed", error=str(failure))
        except Exception:
            logger.exception("sandbox job failed")
            self._end(job, "failed", error="The sandbox could not finish this job (E1000)")
        finally:
            watch.cancel()

    async def _boot(self, job: Job) -> None:
        usual = self._config.training_seconds if job.kind == "training" else self._config.generation_seconds
        await self._clock.sleep(min(1.0, usual * 0.1) + job.script.cold_start)

    def _begin(self, job: Job) -> None:
        job.status, job.logs = "processing", ""
        job.started_at = job.started_at or self._clock.now()
        self._store.save_job(job)
        self._emit(job, "start")

    async def _enforce_deadline(self, job: Job) -> None:
        """A deadline before the start aborts, one during the run cancels, as does the time limit."""
        limit = job.created_at + _TIME_LIMIT if job.kind == "prediction" else None
        deadline = min((instant for instant in (job.deadline, limit) if instant), default=None)
        if deadline is not None:
            await self._clock.sleep_until(deadline)
            self._end(job, "canceled" if job.started_at else "aborted")

    def _end(self, job: Job, status: str, *, error: str | None = None) -> None:
        """Into a terminal state, unless it is in one."""
        if job.finished or job.id not in self._store.jobs:
            return
        job.status, job.error, job.completed_at = status, error, self._clock.now()
        self._store.save_job(job)
        self._emit(job, "completed")
        if event := self._ends.pop(job.id, None):
            event.set()
        task = self._running.get(job.id)
        if task is not None and task is not asyncio.current_task():
            task.cancel()

    def _emit(self, job: Job, event: Event) -> None:
        self._sender.emit(job, event, wire.webhook(self._config, job, inline=self._inline(job)))

    def _inline(self, job: Job) -> list[str] | None:
        """Outputs as data URLs, where a fault asks for them."""
        if not job.script.inline_outputs:
            return None
        return [self._data_url(job, name) for name in job.outputs]

    def _data_url(self, job: Job, name: str) -> str:
        content = base64.b64encode(self._store.output_path(job.id, name).read_bytes()).decode()
        return f"data:{mimetypes.guess_type(name)[0]};base64,{content}"

    def _owes_webhook(self, job: Job) -> bool:
        recent = job.completed_at and self._clock.now() - job.completed_at < timedelta(minutes=1)
        return bool(recent and job.webhook and not job.webhook_completed)

    async def _delete_later(self, version: Version) -> None:
        await self._clock.sleep(self._config.version_delete_seconds)
        for job in [job for job in self._store.jobs.values() if job.version == version.id]:
            self._end(job, "canceled")
        if version.id in self._store.versions:
            self._store.delete_version(version)

    async def _sweep_for_ever(self) -> None:
        while True:
            self.sweep()
            await asyncio.sleep(_SWEEP_SECONDS)

    def _chore(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)
