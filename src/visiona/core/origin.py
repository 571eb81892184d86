"""Where what is being done comes from: which request or job, by what kind of caller, from which client.

The web server sets it for each request and the worker for each job. `db` proves it to the database with every
transaction, which writes it into the audit log: no service hands it on, and none can forget to.
"""

import base64
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from visiona.core.client import ClientInfo

Via = Literal["person", "key", "system", "visitor"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """`via` says what acts in a person's name, `via_id` which API key or job it is, `user_id` who the person
    is, where that is known. `client` is where a request comes from; `sealed_client` is that as the audit log
    may keep it.
    """

    request_id: str
    via: Via
    via_id: str | None = None
    user_id: int | None = None
    client: ClientInfo | None = field(default=None, repr=False)
    sealed_client: bytes | None = field(default=None, repr=False)

    def claims(self) -> dict[str, Any]:
        claims = {"request": self.request_id, "via": self.via, "via_id": self.via_id}
        if self.sealed_client is not None:
            claims["client"] = base64.b64encode(self.sealed_client).decode()
        return {name: value for name, value in claims.items() if value is not None}


_current: ContextVar[Origin | None] = ContextVar("visiona_origin", default=None)


@contextmanager
def coming_from(origin: Origin) -> Generator[None]:
    """What this task does for the length of the block comes from there."""
    token = _current.set(origin)
    try:
        yield
    finally:
        _current.reset(token)


def current_origin() -> Origin | None:
    return _current.get()


def identified(user_id: int, via: Via, via_id: str | None = None, sealed_client: bytes | None = None) -> None:
    """From here on, as long as the block of `coming_from` lasts, it is known who this is about."""
    origin = _current.get()
    if origin is not None:
        _current.set(replace(origin, user_id=user_id, via=via, via_id=via_id, sealed_client=sealed_client))


def origin_claims() -> dict[str, Any]:
    origin = _current.get()
    return {} if origin is None else origin.claims()
