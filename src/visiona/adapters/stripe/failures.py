"""What went wrong, in the ports' words.

A GET whose answer is lost had no effect: `ProviderUnavailable`. A POST whose answer is lost may have
had one: `OutcomeUnknown`. So is a 5xx, which Stripe stores under the idempotency key and gives again
to every repeat: whoever repeats with the same key learns nothing new, and decides on another.

Reasons name codes and parameters of Stripe's, never its sentences: those quote e-mails and keys.
"""

import functools
import re
from typing import TYPE_CHECKING, Any

import msgspec

from visiona.adapters import http
from visiona.adapters.http import RATE_LIMITED, SERVER_ERROR, UNUSABLE_ANSWER, told_pause
from visiona.ports.errors import (
    ProviderError,
    ProviderNotFound,
    ProviderRejected,
    ProviderUnavailable,
)

if TYPE_CHECKING:
    from stripe import StripeError

PROVIDER = "stripe"

CONFLICT = "conflict"

MESSAGE = "The payment service refused this request."

_TOKEN = re.compile(r"[A-Za-z0-9_\[\].]{1,100}")
_REQUEST_ID = re.compile(r"req_[A-Za-z0-9_]{1,100}")
_PERMISSION = re.compile(r"\brak_[a-z0-9_]{1,100}\b")

lost = functools.partial(http.lost, PROVIDER)
from_transport = functools.partial(http.from_transport, PROVIDER)


class _Details(msgspec.Struct):
    type: str = ""
    code: str | None = None
    param: str | None = None
    message: str | None = None


class _Problem(msgspec.Struct):
    error: _Details


def from_sdk(error: "StripeError", *, repeatable: bool) -> ProviderError:
    """An answer other than 2xx, or one that is not JSON."""
    status = error.http_status or 0
    details = _details(error.json_body)
    if status == 429 or (details and details.code == "rate_limit"):
        return ProviderUnavailable(
            PROVIDER, RATE_LIMITED, retry_after=told_pause((error.headers or {}).get("retry-after"))
        )
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
