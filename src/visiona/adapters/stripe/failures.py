"""What went wrong, in the ports' words.

A GET whose answer is lost had no effect: `ProviderUnavailable`. A POST whose answer is lost may have
had one: `OutcomeUnknown`. So is a 5xx, which Stripe stores under the idempotency key and gives again
to every repeat: whoever repeats with the same key learns nothing new, and decides on another.

Reasons name codes and parameters of Stripe's, never its sentences: those quote e-mails and keys.
"""

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import httpx
import msgspec

from visiona.ports.errors import (
    OutcomeUnknown,
    ProviderError,
    ProviderNotFound,
    ProviderRejected,
    ProviderUnavailable,
)

if TYPE_CHECKING:
    from stripe import StripeError

PROVIDER = "stripe"

UNREACHABLE = "unreachable"
NO_CONNECTION = "no_free_connection"
CONNECTION_LOST = "connection_lost"
TIMEOUT = "timeout"
RATE_LIMITED = "rate_limited"
CONFLICT = "conflict"
SERVER_ERROR = "server_error"
UNUSABLE_ANSWER = "unusable_answer"

MESSAGE = "The payment service refused this request."

_MAX_RETRY_AFTER_S = 3600.0
_TOKEN = re.compile(r"[A-Za-z0-9_\[\].]{1,100}")
_REQUEST_ID = re.compile(r"req_[A-Za-z0-9_]{1,100}")
_PERMISSION = re.compile(r"\brak_[a-z0-9_]{1,100}\b")


class _Details(msgspec.Struct):
    type: str = ""
    code: str | None = None
    param: str | None = None
    message: str | None = None


class _Problem(msgspec.Struct):
    error: _Details


def lost(reason: str, *, repeatable: bool) -> ProviderError:
    """The request went out, and no answer that can be used came back."""
    return ProviderUnavailable(PROVIDER, reason) if repeatable else OutcomeUnknown(PROVIDER, reason)


def from_transport(error: httpx.RequestError, *, repeatable: bool) -> ProviderError:
    """A connection that failed: before anything was sent, or at some point after."""
    match error:
        case httpx.ConnectError() | httpx.ConnectTimeout() | httpx.ProxyError():
            return ProviderUnavailable(PROVIDER, UNREACHABLE)
        case httpx.PoolTimeout():
            return ProviderUnavailable(PROVIDER, NO_CONNECTION)
        case httpx.TimeoutException():
            return lost(TIMEOUT, repeatable=repeatable)
        case _:
            return lost(CONNECTION_LOST, repeatable=repeatable)


def from_sdk(error: "StripeError", *, repeatable: bool) -> ProviderError:
    """An answer other than 2xx, or one that is not JSON."""
    status = error.http_status or 0
    details = _details(error.json_body)
    if status == 429 or (details and details.code == "rate_limit"):
        return ProviderUnavailable(PROVIDER, RATE_LIMITED, retry_after=_seconds(error.headers))
    if status >= 500 or status in {408, 424}:
        return lost(SERVER_ERROR, repeatable=repeatable)
    if details is None:  # not Stripe's own words, whatever the status: a proxy's page, or garbage
        return lost(UNUSABLE_ANSWER, repeatable=repeatable)
    if status == 409:  # the same key is in use, or the object is locked: nothing was done
        return ProviderUnavailable(PROVIDER, CONFLICT)
    if details.code == "resource_missing":
        return ProviderNotFound(PROVIDER, _reason(details))
    return ProviderRejected(PROVIDER, _refusal(status, details), status=status, message=MESSAGE)


def no_key() -> ProviderRejected:
    return ProviderRejected(PROVIDER, "no API key is configured", status=0, message=MESSAGE)


def request_id_of(error: "StripeError") -> str:
    """The number by which Stripe finds the request in its log; empty where there is none."""
    found = str((error.headers or {}).get("request-id", ""))
    return found if _REQUEST_ID.fullmatch(found) else ""


def _refusal(status: int, details: _Details) -> str:
    if status == 401:
        return "the API key is not accepted"
    if status == 403:
        missing = _PERMISSION.search(details.message or "")
        return f"the API key lacks the permission {missing[0] if missing else 'for this'}"
    return _reason(details)


def _reason(details: _Details) -> str:
    """Such as `parameter_missing (line_items[0][price])`."""
    words = [word for word in (details.code or details.type, details.param) if _TOKEN.fullmatch(word or "")]
    match words:
        case [code, param]:
            return f"{code} ({param})"
        case [code]:
            return str(code)
        case _:
            return "refused"


def _details(body: Any) -> _Details | None:
    try:
        return msgspec.convert(body, _Problem).error
    except msgspec.ValidationError:
        return None


def _seconds(headers: Mapping[str, str] | None) -> float | None:
    """At most an hour, so that a slip of Stripe's does not park a job for a year."""
    told = (headers or {}).get("retry-after", "")
    try:
        seconds = float(told)
    except ValueError:
        return None
    return min(max(seconds, 0.0), _MAX_RETRY_AFTER_S) if math.isfinite(seconds) else None
