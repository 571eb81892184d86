"""What happened, as Stripe tells it: events are kept for 30 days and delivered to endpoints."""

from collections.abc import Callable
from typing import Final

from visiona.sandbox.stripe.clock import Clock
from visiona.sandbox.stripe.config import API_VERSION
from visiona.sandbox.stripe.ids import new_id
from visiona.sandbox.stripe.store import Obj, Store
from visiona.sandbox.stripe.webhooks import WebhookSender, is_pending
from visiona.sandbox.stripe.wire import shown

Emit = Callable[[str, Obj, Obj | None], None]
"""`emit(type, obj, previous_attributes)`: keep an event that shows `obj` as it is now, and deliver it."""

KEPT_SECONDS: Final = 30 * 24 * 3600


class EventLog:
    """Events lie in the store; `_at` is when one came about on the sandbox's own clock."""

    def __init__(self, store: Store, clock: Clock, sender: WebhookSender) -> None:
        self._store = store
        self._clock = clock
        self._sender = sender
        self.time_of = clock.now
        """The time on a test clock, or on the sandbox's own. Whoever does late what was due earlier, as
        if it were then, puts its own time here."""
        self._request: Obj = {"id": None, "idempotency_key": None}

    def emit(self, type: str, obj: Obj, previous_attributes: Obj | None) -> None:  # noqa: A002 - as in `Emit`
        data: Obj = {"object": shown(obj)}
        if previous_attributes is not None:
            data["previous_attributes"] = shown(previous_attributes)
        event: Obj = {
            "id": new_id("evt"),
            "object": "event",
            "api_version": API_VERSION,
            "created": self.time_of(self._test_clock_of(obj)),
            "data": data,
            "livemode": False,
            "pending_webhooks": 0,
            "request": dict(self._request),
            "type": type,
            "_at": self._clock.now(),
        }
        self._sender.queue(event)
        self._store.put(event)

    def caused_by(self, request_id: str | None, idempotency_key: str | None) -> None:
        """Name the API request that the events from now on come from; None for nobody's."""
        self._request = {"id": request_id, "idempotency_key": idempotency_key}

    def forget_old(self) -> None:
        """What is still on its way to an endpoint stays until it is there or given up."""
        oldest = self._clock.now() - KEPT_SECONDS
        for event in list(self._store.each("event")):
            if event["_at"] < oldest and not is_pending(event):
                self._store.delete("event", event["id"])

    def _test_clock_of(self, obj: Obj) -> str | None:
        """The clock by which `obj` lives: its own, or its customer's."""
        named = obj.get("test_clock") or obj.get("_clock")
        if named is None and isinstance(obj.get("customer"), str):
            named = (self._store.find("customer", obj["customer"]) or {}).get("test_clock")
        return named if named and self._store.find("test_helpers.test_clock", named) else None
