"""What happened, as webhooks tell it."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from visiona.sandbox.clerk.clock import Clock
from visiona.sandbox.clerk.ids import new_id
from visiona.sandbox.clerk.keys import Keys
from visiona.sandbox.clerk.store import Obj, Store
from visiona.sandbox.clerk.webhooks import WebhookSender

KEPT_MS: Final = 30 * 24 * 3600 * 1000


class EventLog:
    """An event's id is its `svix-id`; `body` is what is delivered."""

    def __init__(self, store: Store, clock: Clock, keys: Keys, sender: WebhookSender) -> None:
        self._store = store
        self._clock = clock
        self._keys = keys
        self._sender = sender
        self._request = {"client_ip": "", "user_agent": ""}

    def emit(self, type: str, data: Obj) -> None:  # noqa: A002 - the name on the wire
        """Keep an event and deliver it, once the action that made it is over."""
        now = self._clock.now()
        body: Obj = {
            "data": data,
            "event_attributes": {"http_request": dict(self._request)},
            "instance_id": self._keys.instance_id,
            "object": "event",
            "timestamp": now,
            "type": type,
        }
        event: Obj = {"id": new_id("msg"), "type": type, "created_at": now, "body": body, "attempts": []}
        self._sender.queue(event)

    @contextmanager
    def caused_by(self, client_ip: str, user_agent: str) -> Generator[None]:
        """Events within the block tell of this request."""
        before, self._request = self._request, {"client_ip": client_ip, "user_agent": user_agent}
        try:
            yield
        finally:
            self._request = before

    def forget_old(self) -> None:
        """What is still on its way stays."""
        oldest = self._clock.now() - KEPT_MS
        for event in self._store.all("event"):
            if event["created_at"] < oldest and event["status"] != "pending":
                self._store.delete("event", event["id"])
