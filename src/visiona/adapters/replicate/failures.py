"""What went wrong, in the ports' words.

The distinction that matters is whether a request may have taken effect. Replicate has no
idempotency keys, so a POST whose answer was lost may have started, and billed, a job: that is
`OutcomeUnknown`. A call that can simply be repeated (GET, DELETE) is `ProviderUnavailable` then.
"""

import functools
import re
from typing import Any

import httpx
import msgspec

from visiona.adapters import http
from visiona.adapters.http import RATE_LIMITED, SERVER_ERROR, told_pause
from visiona.ports.errors import (
    ProviderError,
    ProviderNotFound,
    ProviderRejected,
    ProviderUnavailable,
)

PROVIDER = "replicate"

MAX_MESSAGE = 300
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


lost = functools.partial(http.lost, PROVIDER)
from_transport = functools.partial(http.from_transport, PROVIDER)


def from_status(status: int, headers: httpx.Headers, body: bytes, *, repeatable: bool) -> ProviderError:
    """An answer other than 2xx. `body` may be empty or anything at all."""
    if status < 400:
        return lost("unexpected_redirect", repeatable=repeatable)
    if status >= 500 or status == 408:
        failure = lost(SERVER_ERROR, repeatable=repeatable)
        if isinstance(failure, ProviderUnavailable):
            failure.retry_after = told_pause(headers.get("retry-after"))
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
        seconds = told_pause(told)
        if seconds is not None:
            return seconds
    return None
