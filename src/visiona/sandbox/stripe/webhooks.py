"""Delivery of events: signed, in no promised order, tried again with growing pauses.

Any 2xx is success; redirects are not followed and count as failure. What is still to be delivered lies
with its event in the store, so that a restart goes on with it.
"""

import asyncio
import hashlib
import hmac
import logging
import random
import secrets
import time
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

import httpx

from visiona.sandbox.stripe.clock import Clock
from visiona.sandbox.stripe.config import StripeSandboxConfig
from visiona.sandbox.stripe.faults import Fault, FaultBook
from visiona.sandbox.stripe.store import Obj, Store
from visiona.sandbox.stripe.wire import encode, shown

RETRY_PAUSES: Final = (1.0, 4.0, 10.0)
"""Seconds before each further attempt. Stripe's own sandbox tries three times over a few hours."""

CONFIGURED: Final = "we_configured"
"""The endpoint that the configuration names; the API neither shows nor changes it."""

_ANSWER_SECONDS: Final = 10.0
_AT_ONCE: Final = 8
_ROLLED: Final = "_sandbox.rolled"
"""The kind of the record that holds the configured endpoint's later secrets."""

logger = logging.getLogger(__name__)

Delivery = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Reference:
    """One delivery: an event to an endpoint."""

    event: str
    endpoint: str


def sign(secrets_: Iterable[str], timestamp: int, body: bytes) -> str:
    """The `Stripe-Signature` header: one `v1` for each secret, keyed with its full text."""
    signed = str(timestamp).encode() + b"." + body
    digests = [hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest() for secret in secrets_]
    return ",".join([f"t={timestamp}", *(f"v1={digest}" for digest in digests)])


class WebhookSender:
    def __init__(self, config: StripeSandboxConfig, store: Store, clock: Clock, faults: FaultBook) -> None:
        self._config = config
        self._store = store
        self._clock = clock
        self._faults = faults
        self._fresh: asyncio.Queue[str] = asyncio.Queue()
        self._held: list[Reference] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._limit = asyncio.Semaphore(_AT_ONCE)
        self._client: httpx.AsyncClient | None = None

    def queue(self, event: Obj) -> None:
        """Note in a new event where it goes; it goes there once the action that made it is over."""
        deliveries: list[Delivery] = [
            {"endpoint": endpoint["id"], "url": endpoint["url"], "status": "pending", "attempts": []}
            for endpoint in self._endpoints()
            if any(fnmatchcase(event["type"], wanted) for wanted in endpoint["enabled_events"])
        ]
        event["_deliveries"] = deliveries
        event["pending_webhooks"] = len(deliveries)
        self._fresh.put_nowait(event["id"])

    def start(self) -> None:
        """Begin, with what was left over from before a restart. Needs a running event loop."""
        self._client = httpx.AsyncClient(timeout=_ANSWER_SECONDS, trust_env=False, follow_redirects=False)
        self._fresh = asyncio.Queue()
        for event in self._store.each("event"):
            if is_pending(event):
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
    def held(self) -> list[str] | None:
        """The events that are held back, oldest first; None while nothing is held."""
        return None if self._held is None else [reference.event for reference in self._held]

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
            held.sort(key=lambda reference: _position(order, reference.event))
        await self._send_in_order(held)
        return [reference.event for reference in held]

    async def resend(self, event_id: str) -> Obj:
        """Send an event once more to every endpoint that wants it, delivered or not; gives the event."""
        event = self._store.get("event", event_id)
        for delivery in list(event["_deliveries"]):
            await self._attempt(Reference(event_id, delivery["endpoint"]), {})
        return event

    def roll_secret(self, secret: str, *, keep_old_s: int) -> None:
        """Sign for the configured endpoint with `secret`, and with the one before for so long as well."""
        old = (
            []
            if not keep_old_s
            else [{"secret": self._secrets(CONFIGURED)[0], "until": self._clock.now() + keep_old_s}]
        )
        self._store.put({"object": _ROLLED, "id": CONFIGURED, "secret": secret, "old": old})

    def _endpoints(self) -> list[Obj]:
        found = [
            endpoint for endpoint in self._store.each("webhook_endpoint") if endpoint["status"] == "enabled"
        ]
        if self._config.webhook_url is not None:
            found.insert(0, {"id": CONFIGURED, "url": self._config.webhook_url, "enabled_events": ["*"]})
        return found

    def _secrets(self, endpoint: str) -> list[str]:
        """What to sign with, the newest first."""
        if endpoint != CONFIGURED:
            return [self._store.get("webhook_endpoint", endpoint)["_secret"]]
        rolled = self._store.find(_ROLLED, CONFIGURED)
        if rolled is None:
            return [self._config.webhook_secret]
        now = self._clock.now()
        return [rolled["secret"], *(old["secret"] for old in rolled["old"] if old["until"] > now)]

    async def _watch(self) -> None:
        """Notice new events. Actions are synchronous, so one round sees whole actions only."""
        while True:
            fresh = [await self._fresh.get()]
            while not self._fresh.empty():
                fresh.append(self._fresh.get_nowait())
            batch = [reference for event_id in fresh for reference in self._pending(event_id)]
            if self._held is not None:
                self._held.extend(batch)
            else:
                self._dispatch(batch)

    def _pending(self, event_id: str) -> list[Reference]:
        """Nothing for an event that was taken back with the action that made it."""
        event = self._store.find("event", event_id)
        deliveries: list[Delivery] = [] if event is None else event["_deliveries"]
        return [Reference(event_id, one["endpoint"]) for one in deliveries if one["status"] == "pending"]

    def _dispatch(self, batch: list[Reference]) -> None:
        struck = {reference: self._faults_for(reference) for reference in batch}
        if any("reorder_webhooks" in faults for faults in struck.values()):
            self._spawn(self._send_in_order(batch[::-1], struck))
            return
        longest = self._config.webhook_delay_ms / 1000
        for reference, faults in struck.items():
            delay = random.uniform(0, longest)  # noqa: S311 - disorder, not a secret
            self._spawn(self._deliver(reference, faults, delay))

    def _faults_for(self, reference: Reference) -> dict[str, Fault]:
        event = self._store.find("event", reference.event)
        return {} if event is None else self._faults.for_webhook(event["type"])

    async def _send_in_order(
        self, batch: list[Reference], struck: dict[Reference, dict[str, Fault]] | None = None
    ) -> None:
        """One after the other; one that fails is tried again on its own."""
        for reference in batch:
            faults = (struck or {}).get(reference, {})
            if not await self._first_attempt(reference, faults):
                self._spawn(self._try_again(reference, faults))

    async def _deliver(self, reference: Reference, faults: dict[str, Fault], delay: float) -> None:
        await asyncio.sleep(delay)
        if not await self._first_attempt(reference, faults):
            await self._try_again(reference, faults)

    async def _first_attempt(self, reference: Reference, faults: dict[str, Fault]) -> bool:
        if "drop_webhooks" in faults:
            self._record(reference, status="dropped")
            return True
        if late := faults.get("delay_webhooks"):
            await asyncio.sleep(2.0 if late.seconds is None else late.seconds)
        copies = faults["duplicate_webhooks"].copies if "duplicate_webhooks" in faults else 0
        for _ in range(copies):
            await self._attempt(reference, faults)
        return await self._attempt(reference, faults)

    async def _try_again(self, reference: Reference, faults: dict[str, Fault]) -> None:
        for pause in RETRY_PAUSES:
            await asyncio.sleep(pause)
            delivery = self._delivery(reference)
            if (
                delivery is None
                or delivery["status"] == "delivered"
                or await self._attempt(reference, faults)
            ):
                return
        self._record(reference, status="failed")

    async def _attempt(self, reference: Reference, faults: dict[str, Fault]) -> bool:
        """Send once; true where the receiver answered 2xx or there is nothing to send any more."""
        event = self._store.find("event", reference.event)
        delivery = self._delivery(reference)
        if event is None or delivery is None:
            return True
        endpoint = next((one for one in self._endpoints() if one["id"] == reference.endpoint), None)
        if endpoint is None:
            self._record(reference, status="failed")
            return True
        body = encode(shown(event))
        attempt: dict[str, Any] = {"at": self._clock.now()}
        async with self._limit:
            attempt |= await self._post(endpoint["url"], body, self._signature(reference, body, faults))
        delivered = 200 <= attempt.get("answer", 0) < 300
        self._record(reference, status="delivered" if delivered else None, attempt=attempt)
        return delivered

    async def _post(self, url: str, body: bytes, signature: str) -> dict[str, Any]:
        """How it went: `answer` (a status) or `error`."""
        if self._client is None:
            raise RuntimeError("the sender was not started")
        headers = {
            "content-type": "application/json; charset=utf-8",
            "stripe-signature": signature,
            "user-agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks) visiona-sandbox",
            "x-visiona-sandbox": "stripe",
        }
        try:
            answer = await self._client.post(url, content=body, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return {"error": type(error).__name__}
        return {"answer": answer.status_code}

    def _signature(self, reference: Reference, body: bytes, faults: dict[str, Fault]) -> str:
        timestamp = int(time.time())  # receivers compare it with their own clock, which is never moved
        if stale := faults.get("stale_webhooks"):
            timestamp -= int(600 if stale.seconds is None else stale.seconds)
        if "forge_webhooks" in faults:
            return sign([f"whsec_{secrets.token_hex(16)}"], timestamp, body)
        return sign(self._secrets(reference.endpoint), timestamp, body)

    def _delivery(self, reference: Reference) -> Delivery | None:
        event = self._store.find("event", reference.event)
        found = () if event is None else event["_deliveries"]
        return next((delivery for delivery in found if delivery["endpoint"] == reference.endpoint), None)

    def _record(
        self, reference: Reference, *, status: str | None, attempt: dict[str, Any] | None = None
    ) -> None:
        """Note with the event how a delivery stands; one that has once arrived stays so."""
        event = self._store.find("event", reference.event)
        delivery = self._delivery(reference)
        if event is None or delivery is None:
            return
        if attempt is not None:
            delivery["attempts"].append(attempt)
        if status is not None and delivery["status"] != "delivered":
            delivery["status"] = status
        event["pending_webhooks"] = sum(one["status"] != "delivered" for one in event["_deliveries"])
        self._store.put(event)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("A webhook's delivery broke off.", exc_info=error)


def is_pending(event: Obj) -> bool:
    """Whether some endpoint will still be tried."""
    return any(delivery["status"] == "pending" for delivery in event["_deliveries"])


def is_delivered(event: Obj) -> bool:
    """Whether every endpoint that wanted it has acknowledged it."""
    return all(delivery["status"] == "delivered" for delivery in event["_deliveries"])


def _position(order: list[str], event: str) -> int:
    return order.index(event) if event in order else len(order)
