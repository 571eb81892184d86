"""Delivery of events: signed as Svix does, in no promised order, tried again with growing pauses.

Any 2xx is success; redirects are not followed and count as failure. What is still to be delivered lies
in the store, so that a restart goes on with it.
"""

import asyncio
import base64
import hashlib
import hmac
import logging
import random
import secrets
from collections.abc import Coroutine, Iterable
from typing import Any, Final

import httpx

from visiona.sandbox.clerk.clock import Clock, real_seconds
from visiona.sandbox.clerk.config import ClerkSandboxConfig, webhook_key
from visiona.sandbox.clerk.store import Obj, Store
from visiona.sandbox.clerk.wire import encode
from visiona.sandbox.faults import Fault, FaultBook

RETRY_PAUSES: Final = (5, 300, 1800, 7200, 18000, 36000, 36000)
"""Seconds before each further attempt, in real life."""

_ANSWER_SECONDS: Final = 15.0
_AT_ONCE: Final = 8
_ENDPOINT: Final = "_endpoint"
"""The kind of the record that holds what a control changed of the endpoint."""

logger = logging.getLogger(__name__)

Faults = dict[str, Fault]


def sign(secrets_: Iterable[str], message_id: str, timestamp: int, body: bytes) -> str:
    """The `svix-signature` header: one `v1` for each secret."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    digests = (hmac.new(webhook_key(secret), signed, hashlib.sha256).digest() for secret in secrets_)
    return " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)


class WebhookSender:
    def __init__(
        self, config: ClerkSandboxConfig, store: Store, clock: Clock, faults: FaultBook[Fault]
    ) -> None:
        self._config = config
        self._store = store
        self._clock = clock
        self._faults = faults
        self._fresh: asyncio.Queue[str] = asyncio.Queue()
        self._held: list[str] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._limit = asyncio.Semaphore(_AT_ONCE)
        self._client: httpx.AsyncClient | None = None

    def queue(self, event: Obj) -> None:
        """Keep a new event; it is sent once the action that made it is over."""
        event["status"] = "pending" if self.url else "no_endpoint"
        self._store.put("event", event)
        self._fresh.put_nowait(event["id"])

    def start(self) -> None:
        """Begin, with what was left over from before a restart. Needs a running event loop."""
        self._client = httpx.AsyncClient(timeout=_ANSWER_SECONDS, trust_env=False, follow_redirects=False)
        self._fresh = asyncio.Queue()
        for event in self._store.all("event"):
            self._fresh.put_nowait(event["id"])
        self._spawn(self._watch())

    async def stop(self) -> None:
        """Stop; what was not delivered is delivered after the next start."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._client is not None:
            await self._client.aclose()

    def forget(self) -> None:
        """Hold nothing any more. Whatever else waits finds, after the store was cleared, no event."""
        self._held = None

    @property
    def url(self) -> str | None:
        """Where webhooks go."""
        changed = self._store.find(_ENDPOINT, "endpoint") or {}
        return changed.get("url") or self._config.webhook_url

    @property
    def held(self) -> list[str] | None:
        """The events that are held back, oldest first; None while nothing is held."""
        return None if self._held is None else list(self._held)

    def hold(self) -> None:
        """From now on collect deliveries instead of sending."""
        if self._held is None:
            self._held = []

    async def release(self, order: str | list[str]) -> list[str]:
        """Send what was held, one after the other, and hold no longer; gives the order that was used.

        `order` is `created`, `reversed`, `random`, or event ids; events that it leaves out come last.
        """
        held, self._held = self._held or [], None
        if order == "reversed":
            held.reverse()
        elif order == "random":
            random.shuffle(held)
        elif isinstance(order, list):
            held.sort(key=lambda event: order.index(event) if event in order else len(order))
        await self._send_in_order(held, {})
        return held

    async def resend(self, event_id: str) -> None:
        """Send an event once more, delivered or not. Raises `LookupError` for one that is not there."""
        self._store.get("event", event_id)
        await self._attempt(event_id, {})

    def set_url(self, url: str) -> None:
        changed = self._store.find(_ENDPOINT, "endpoint") or {"id": "endpoint"}
        self._store.put(_ENDPOINT, {**changed, "url": url})

    def roll_secret(self, secret: str, *, keep_old_s: int) -> None:
        """Sign with `secret`, and with the one before for so long as well."""
        changed = self._store.find(_ENDPOINT, "endpoint") or {"id": "endpoint"}
        old = [{"secret": self._secrets()[0], "until": self._clock.now() + keep_old_s * 1000}]
        self._store.put(_ENDPOINT, {**changed, "secret": secret, "old": old if keep_old_s else []})

    def _secrets(self) -> list[str]:
        """What to sign with, the newest first."""
        changed = self._store.find(_ENDPOINT, "endpoint") or {}
        if "secret" not in changed:
            return [self._config.webhook_secret]
        now = self._clock.now()
        return [changed["secret"], *(old["secret"] for old in changed["old"] if old["until"] > now)]

    async def _watch(self) -> None:
        """Notice new events. Actions are synchronous, so one round sees whole actions only."""
        while True:
            fresh = [await self._fresh.get()]
            while not self._fresh.empty():
                fresh.append(self._fresh.get_nowait())
            batch = [event_id for event_id in fresh if self._is_pending(event_id)]
            if self._held is not None:
                self._held.extend(batch)
            else:
                self._dispatch(batch)

    def _is_pending(self, event_id: str) -> bool:
        """Not where the event was taken back with the action that made it."""
        event = self._store.find("event", event_id)
        return event is not None and event["status"] == "pending"

    def _dispatch(self, batch: list[str]) -> None:
        struck = {
            event_id: self._faults.for_webhook(self._store.get("event", event_id)["type"])
            for event_id in batch
        }
        if any("reorder_webhooks" in faults for faults in struck.values()):
            self._spawn(self._send_in_order(batch[::-1], struck))
            return
        longest = self._config.webhook_delay_ms / 1000
        for event_id, faults in struck.items():
            delay = random.uniform(0, longest)  # noqa: S311 - disorder, not a secret
            self._spawn(self._deliver(event_id, faults, delay))

    async def _send_in_order(self, batch: list[str], struck: dict[str, Faults]) -> None:
        """One after the other; one that fails is tried again on its own."""
        for event_id in batch:
            faults = struck.get(event_id, {})
            if not await self._first_attempt(event_id, faults):
                self._spawn(self._try_again(event_id, faults))

    async def _deliver(self, event_id: str, faults: Faults, delay: float) -> None:
        await asyncio.sleep(delay)
        if not await self._first_attempt(event_id, faults):
            await self._try_again(event_id, faults)

    async def _first_attempt(self, event_id: str, faults: Faults) -> bool:
        if "drop_webhooks" in faults:
            self._record(event_id, "dropped")
            return True
        if late := faults.get("delay_webhooks"):
            await asyncio.sleep(2.0 if late.seconds is None else late.seconds)
        copies = faults["duplicate_webhooks"].copies if "duplicate_webhooks" in faults else 0
        for _ in range(copies):
            await self._attempt(event_id, faults, more=True)
        return await self._attempt(event_id, faults)

    async def _try_again(self, event_id: str, faults: Faults) -> None:
        for pause in RETRY_PAUSES:
            await asyncio.sleep(pause * self._config.webhook_retry_scale)
            if not self._is_pending(event_id) or await self._attempt(event_id, faults):
                return
        self._record(event_id, "failed")

    async def _attempt(self, event_id: str, faults: Faults, *, more: bool = False) -> bool:
        """Send once; true where the receiver answered 2xx or there is nothing to send any more.

        With `more` to follow the event stays pending: it is delivered only when nothing is on its way.
        """
        event, url = self._store.find("event", event_id), self.url
        if event is None or url is None:
            return True
        body = encode(event["body"])
        attempt: Obj = {"at": self._clock.now()}
        async with self._limit:
            attempt |= await self._post(url, body, self._headers(event_id, body, faults))
        delivered = 200 <= attempt.get("answer", 0) < 300
        self._record(event_id, "delivered" if delivered and not more else None, attempt)
        return delivered

    async def _post(self, url: str, body: bytes, headers: dict[str, str]) -> Obj:
        """How it went: `answer` (a status) or `error`."""
        if self._client is None:
            raise RuntimeError("the sender was not started")
        try:
            answer = await self._client.post(url, content=body, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return {"error": type(error).__name__}
        return {"answer": answer.status_code}

    def _headers(self, event_id: str, body: bytes, faults: Faults) -> dict[str, str]:
        timestamp = real_seconds()
        if stale := faults.get("stale_webhooks"):
            timestamp -= int(600 if stale.seconds is None else stale.seconds)
        keys = self._secrets()
        if "forge_webhooks" in faults:
            keys = [f"whsec_{base64.b64encode(secrets.token_bytes(24)).decode()}"]
        return {
            "content-type": "application/json",
            "svix-id": event_id,
            "svix-timestamp": str(timestamp),
            "svix-signature": sign(keys, event_id, timestamp, body),
            "user-agent": "Svix-Webhooks/1.0 visiona-sandbox",
            "x-visiona-sandbox": "clerk",
        }

    def _record(self, event_id: str, status: str | None, attempt: dict[str, Any] | None = None) -> None:
        """Note with the event how it stands; one that has once arrived stays so."""
        event = self._store.find("event", event_id)
        if event is None:
            return
        if attempt is not None:
            event["attempts"].append(attempt)
        if status is not None and event["status"] != "delivered":
            event["status"] = status
        self._store.put("event", event)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("A webhook's delivery broke off.", exc_info=error)
