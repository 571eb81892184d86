"""Delivery of webhooks: signed, filtered, throttled, the last one retried.

Without a filter a receiver gets `output` and `completed`. `output` and `logs` come at most once in
500 ms for a job. Only `completed` is tried again, with growing pauses that end about a minute after
the job did. Any 2xx is success; redirects are not followed.
"""

import asyncio
import base64
import logging
import secrets
import time
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

import httpx
import msgspec

from visiona.sandbox.replicate.clock import SandboxClock
from visiona.sandbox.replicate.faults import Fault, FaultBook
from visiona.sandbox.replicate.records import Job
from visiona.sandbox.replicate.signing import sign_webhook

Event = Literal["start", "output", "logs", "completed"]
EVENTS: tuple[Event, ...] = ("start", "output", "logs", "completed")

RETRY_PAUSES = (2.0, 4.0, 8.0, 16.0, 30.0)
"""Seconds before each further attempt of a terminal webhook: the last is 60 s after the first."""

_DEFAULT_EVENTS = ("output", "completed")
_THROTTLE = timedelta(milliseconds=500)
_ANSWER_SECONDS = 5.0
_REMEMBERED = 1000

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Delivery:
    """One webhook: what it said, what was done to it, and how each attempt went."""

    id: str
    job: str
    event: Event
    status: str
    url: str
    body: bytes = field(repr=False)
    faults: dict[str, Fault] = field(default_factory=dict[str, Fault])
    attempts: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    def summary(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "job": self.job,
            "event": self.event,
            "status": self.status,
            "faults": sorted(self.faults),
            "attempts": self.attempts,
        }


class WebhookSender:
    """Sends each job's webhooks in their order, so that a slow receiver delays nobody else."""

    def __init__(
        self, clock: SandboxClock, faults: FaultBook, secret: str, done: Callable[[Job], None]
    ) -> None:
        """`done` is told of each job whose terminal webhook was delivered or given up."""
        self._clock = clock
        self._faults = faults
        self._done = done
        self.secret = secret
        self.sent: deque[Delivery] = deque(maxlen=_REMEMBERED)
        self._queues: dict[str, asyncio.Queue[Delivery | None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._last: dict[str, datetime] = {}
        self._client = httpx.AsyncClient(timeout=_ANSWER_SECONDS, trust_env=False, follow_redirects=False)

    def emit(self, job: Job, event: Event, body: Mapping[str, Any]) -> None:
        """Queue a webhook about `job` if its receiver asked for this event and it is not too soon."""
        wanted = job.webhook is not None and event in (job.webhook_events or _DEFAULT_EVENTS)
        if wanted and not (event in {"output", "logs"} and self._too_soon(job)):
            self._queue(job).put_nowait(self._delivery(job, event, body))
        if event == "completed" and job.id in self._queues:
            self._queues[job.id].put_nowait(None)

    async def close(self) -> None:
        """Stop; what was not delivered is delivered after the next start."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.aclose()

    def forget(self) -> None:
        """Drop everything that waits."""
        for task in list(self._tasks):
            task.cancel()
        self._queues.clear()
        self._last.clear()
        self.sent.clear()

    def _delivery(self, job: Job, event: Event, body: Mapping[str, Any]) -> Delivery:
        delivery = Delivery(
            id="msg_" + secrets.token_urlsafe(20),
            job=job.id,
            event=event,
            status=str(body["status"]),
            url=job.webhook or "",
            body=msgspec.json.encode(body),
            faults={fault.kind: fault for fault in self._faults.for_webhook(event)},
        )
        self.sent.append(delivery)
        return delivery

    def _queue(self, job: Job) -> asyncio.Queue[Delivery | None]:
        if job.id not in self._queues:
            self._queues[job.id] = asyncio.Queue()
            self._spawn(self._drain(job))
        return self._queues[job.id]

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _too_soon(self, job: Job) -> bool:
        now = self._clock.now()
        if now - self._last.get(job.id, datetime.min.replace(tzinfo=now.tzinfo)) < _THROTTLE:
            return True
        self._last[job.id] = now
        return False

    async def _drain(self, job: Job) -> None:
        """Send one job's webhooks in order; None in the queue is its end."""
        queue, held = self._queues[job.id], list[Delivery]()
        while (delivery := await queue.get()) is not None:
            if "reorder_webhooks" in delivery.faults:
                held.append(delivery)
            else:
                await self._deliver(delivery)
        for late in reversed(held):
            await self._deliver(late)
        self._queues.pop(job.id, None)
        self._last.pop(job.id, None)
        self._done(job)

    async def _deliver(self, delivery: Delivery) -> None:
        if "drop_webhooks" in delivery.faults:
            return
        if delay := delivery.faults.get("delay_webhooks"):
            await self._clock.sleep(delay.seconds or 10.0)
        repeats = delivery.faults.get("duplicate_webhooks")
        for _ in range(repeats.copies if repeats else 0):
            await self._attempt(delivery)
        pauses = RETRY_PAUSES if delivery.event == "completed" else ()
        for pause in (0.0, *pauses):
            await self._clock.sleep(pause)
            if await self._attempt(delivery):
                return

    async def _attempt(self, delivery: Delivery) -> bool:
        """Send once; true where the receiver answered 2xx."""
        attempt: dict[str, Any] = {"at": self._clock.now().isoformat()}
        delivery.attempts.append(attempt)
        try:
            answer = await self._client.post(
                delivery.url, content=delivery.body, headers=self._headers(delivery)
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            attempt["error"] = type(error).__name__
            return False
        attempt["answer"] = answer.status_code
        return answer.is_success

    def _headers(self, delivery: Delivery) -> dict[str, str]:
        stale = delivery.faults.get("stale_webhooks")
        timestamp = int(time.time() - ((stale.seconds or 600.0) if stale else 0))
        secret = self.secret
        if "forge_webhooks" in delivery.faults:
            secret = "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()
        return {
            "content-type": "application/json",
            "user-agent": "visiona-replicate-sandbox",
            "webhook-id": delivery.id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": sign_webhook(secret, delivery.id, timestamp, delivery.body),
        }
