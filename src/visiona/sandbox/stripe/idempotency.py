"""Idempotency keys: the same request gets the same answer for 24 hours, and happens once."""

import hashlib
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import msgspec

from visiona.sandbox.stripe.clock import Clock
from visiona.sandbox.stripe.errors import StripeError, invalid
from visiona.sandbox.stripe.form import Node
from visiona.sandbox.stripe.store import Obj, Store

_KIND: Final = "_sandbox.idempotency"
_KEPT_SECONDS: Final = 24 * 3600
_MAX_KEY: Final = 255


@dataclass(frozen=True, slots=True)
class Replay:
    """An answer that was given before, under another request id."""

    status: int
    body: bytes
    request_id: str


class IdempotencyKeys:
    """Answers lie in the store: a key outlives a restart."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._in_use: set[str] = set()

    @contextmanager
    def use(self, key: str, method: str, path: str, tree: Mapping[str, Node]) -> Generator[Replay | None]:
        """Hold `key` for one request; gives the earlier answer where there is one.

        Raises `StripeError` 400 for other parameters than the first time, 409 while another request
        holds the key.
        """
        if len(key) > _MAX_KEY:
            raise invalid(f"Idempotency keys must be at most {_MAX_KEY} characters.")
        if key in self._in_use:
            raise StripeError(
                409,
                "idempotency_error",
                "There is currently another in-progress request using this Idempotent Key (that probably "
                "means you submitted twice, and the other request is still going through): "
                f"{key}. Please try again later.",
                code="idempotency_key_in_use",
            )
        self._in_use.add(key)
        try:
            yield self._earlier(key, f"{method} {path}", _digest(tree))
        finally:
            self._in_use.discard(key)

    def keep(self, key: str, method: str, path: str, tree: Mapping[str, Node], answer: Replay) -> None:
        """From now on `key` gives `answer`."""
        self._store.put(
            {
                "object": _KIND,
                "id": _record_id(key),
                "endpoint": f"{method} {path}",
                "digest": _digest(tree),
                "at": self._clock.now(),
                "status": answer.status,
                "body": answer.body.decode(),
                "request_id": answer.request_id,
            }
        )

    def forget_old(self) -> None:
        for record in list(self._store.each(_KIND)):
            if self._is_old(record):
                self._store.delete(_KIND, record["id"])

    def _earlier(self, key: str, endpoint: str, digest: str) -> Replay | None:
        record = self._store.find(_KIND, _record_id(key))
        if record is None or self._is_old(record):
            return None
        if record["endpoint"] != endpoint:
            raise _misused(
                "Keys for idempotent requests can only be used for the same endpoint they were first used "
                f"for ('{endpoint}' vs '{record['endpoint']}'). Try using a key other than '{key}' if you "
                "meant to execute a different request."
            )
        if record["digest"] != digest:
            raise _misused(
                "Keys for idempotent requests can only be used with the same parameters they were first "
                f"used with. Try using a key other than '{key}' if you meant to execute a different request."
            )
        return Replay(record["status"], record["body"].encode(), record["request_id"])

    def _is_old(self, record: Obj) -> bool:
        return record["at"] + _KEPT_SECONDS <= self._clock.now()


def _misused(message: str) -> StripeError:
    return StripeError(400, "idempotency_error", message)


def _record_id(key: str) -> str:
    """Keys are the client's own text; a record's id is a file name."""
    return hashlib.sha256(key.encode()).hexdigest()


def _digest(tree: Mapping[str, Node]) -> str:
    return hashlib.sha256(msgspec.json.encode(tree, order="deterministic")).hexdigest()
