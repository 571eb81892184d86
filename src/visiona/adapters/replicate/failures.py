"""What went wrong, in the ports' words.

The distinction that matters is whether a request may have taken effect. Replicate has no
idempotency keys, so a POST whose answer was lost may have started, and billed, a job: that is
`OutcomeUnknown`. A call that can simply be repeated (GET, DELETE) is `ProviderUnavailable` then.
"""

import math
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import msgspec

from visiona.ports.errors import (
    OutcomeUnknown,
    ProviderError,
    ProviderNotFound,
    ProviderRejected,
    ProviderUnavailable,
)

PROVIDER = "replicate"

UNREACHABLE = "unreachable"
NO_CONNECTION = "no_free_connection"
CONNECTION_LOST = "connection_lost"
TIMEOUT = "timeout"
RATE_LIMITED = "rate_limited"
SERVER_ERROR = "server_error"
UNUSABLE_ANSWER = "unusable_answer"

MAX_MESSAGE = 300
_MAX_RETRY_AFTER_S = 3600.0
_SPEND_LIMIT = re.compile(r"monthly\s+spend\s+limit", re.IGNORECASE)
_REASONS = {
    400: "invalid_request",
    401: "unauthenticated",
    402: "insufficient_credit",
    403: "forbidden",
    409: "conflict",
    413: "too_large",
    422: "invalid_input",
}
_OWN_MESSAGE = "The request was refused."


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


def from_status(status: int, headers: httpx.Headers, body: bytes, *, repeatable: bool) -> ProviderError:
    """An answer other than 2xx. `body` may be empty or anything at all."""
    if status < 400:
        return lost("unexpected_redirect", repeatable=repeatable)
    if status >= 500 or status == 408:
        failure = lost(SERVER_ERROR, repeatable=repeatable)
        if isinstance(failure, ProviderUnavailable):
            failure.retry_after = _seconds(headers.get("retry-after"))
        return failure
    return _from_client_error(status, headers, _problem(body))


def _from_client_error(status: int, headers: httpx.Headers, problem: dict[str, Any]) -> ProviderError:
    text = f"{problem.get('title')} {problem.get('detail')}"
    if _SPEND_LIMIT.search(text):
        return _rejected("insufficient_credit", status, problem)
    if status in {404, 410}:
        return ProviderNotFound(PROVIDER, "not_found")
    if status == 429:
        return ProviderUnavailable(PROVIDER, RATE_LIMITED, retry_after=_retry_after(headers, problem))
    if status == 422 and "Invalid version" in text:
        return _rejected("invalid_version", status, problem)
    return _rejected(_REASONS.get(status, f"refused_{status}"), status, problem)


def refused_here(reason: str, message: str, *, status: int = 0) -> ProviderRejected:
    """We refused, not Replicate: status 0 where nothing was asked."""
    return ProviderRejected(PROVIDER, reason, status=status, message=message)


def _rejected(reason: str, status: int, problem: dict[str, Any]) -> ProviderRejected:
    """Only a 422 is about what the person asked for; the rest is the operator's business."""
    detail = problem.get("detail")
    sentence = " ".join(detail.split())[:MAX_MESSAGE] if status == 422 and isinstance(detail, str) else ""
    return ProviderRejected(PROVIDER, reason, status=status, message=sentence or _OWN_MESSAGE)


def _problem(body: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return {}


def _retry_after(headers: httpx.Headers, problem: dict[str, Any]) -> float | None:
    """The header is not documented, the body's field is new: the first that is there counts."""
    for told in (headers.get("retry-after"), problem.get("retry_after"), headers.get("ratelimit-reset")):
        seconds = _seconds(told)
        if seconds is not None:
            return seconds
    return None


def _seconds(told: Any) -> float | None:
    """Seconds from a number, its text, or a date as RFC 9110 and ISO 8601 write it; at most an hour,
    so that a slip of the provider's does not park a job for a year.
    """
    if isinstance(told, bool) or not isinstance(told, int | float | str):
        return None
    try:
        seconds = float(told)
    except (ValueError, OverflowError):
        seconds = _until(str(told))
    if seconds is None or not math.isfinite(seconds):
        return None
    return min(max(seconds, 0.0), _MAX_RETRY_AFTER_S)


def _until(date: str) -> float | None:
    for parse in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            moment = parse(date)
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return (aware - datetime.now(UTC)).total_seconds()
    return None
