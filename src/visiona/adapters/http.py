"""The HTTP client of the adapters: bounded in time and size, and unable to break law 3.

Every request asks first whether a transaction is open. Redirects are never followed and cookies
never kept: an API has neither, and a delivery host must not steer us. Bodies are asked for
uncompressed and read as they arrive, so a limit counts what really enters memory.

Proxies from the environment (`HTTPS_PROXY`, `NO_PROXY`) are obeyed, since many networks have no
other way out; servers on this machine, such as the sandbox, are always reached directly.

What can go wrong on the way is the same for every provider, and translated here. What matters to the
callers is whether a request may have taken effect: one that can simply be repeated is
`ProviderUnavailable` when its answer is lost, any other `OutcomeUnknown`.
"""

import asyncio
import logging
import math
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, TypeVar

import httpx

from visiona.adapters.egress import Destinations, confine
from visiona.core.guard import forbid_open_transaction
from visiona.ports.errors import OutcomeUnknown, ProviderError, ProviderUnavailable

T = TypeVar("T")

_log = logging.getLogger(__name__)

UNREACHABLE = "unreachable"
NO_CONNECTION = "no_free_connection"
CONNECTION_LOST = "connection_lost"
TIMEOUT = "timeout"
RATE_LIMITED = "rate_limited"
SERVER_ERROR = "server_error"
UNUSABLE_ANSWER = "unusable_answer"

_RETRIES = 3
_MAX_RETRY_AFTER_S = 3600.0
_DIRECT = ("all://localhost", "all://127.0.0.1", "all://[::1]")


class BodyTooLargeError(Exception):
    """A body grew past the limit and was not read on."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds without progress in each phase; a call's whole length is bounded by its caller."""

    connect_s: float = 5.0
    read_s: float = 30.0
    write_s: float = 30.0
    pool_s: float = 10.0


DEFAULT_TIMEOUTS = Timeouts()


def make_http_client(
    destinations: Destinations, timeouts: Timeouts = DEFAULT_TIMEOUTS, *, max_connections: int = 100
) -> httpx.AsyncClient:
    """A client for these destinations, without credentials: callers add them request by request, so that
    none travels to a host it was not meant for.
    """
    # httpx logs every URL in full, and ours carry signatures and unguessable names.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    client = httpx.AsyncClient(
        headers={"User-Agent": "visiona", "Accept-Encoding": "identity"},
        cookies=CookieJar(policy=DefaultCookiePolicy(allowed_domains=())),
        follow_redirects=False,
        timeout=httpx.Timeout(
            connect=timeouts.connect_s, read=timeouts.read_s, write=timeouts.write_s, pool=timeouts.pool_s
        ),
        limits=httpx.Limits(max_connections=max_connections, max_keepalive_connections=20),
        event_hooks={"request": [_refuse_inside_transaction]},
        mounts=dict.fromkeys(_DIRECT),
    )
    confine(client, destinations)
    return client


async def _refuse_inside_transaction(request: httpx.Request) -> None:
    forbid_open_transaction(f"{request.method} {request.url.host}")


async def capped_chunks(response: httpx.Response, limit: int) -> AsyncIterator[bytes]:
    """The body of a streamed response as it arrives. Raises `BodyTooLargeError` past `limit` bytes."""
    received = 0
    async for chunk in response.aiter_raw():
        received += len(chunk)
        if received > limit:
            raise BodyTooLargeError
        yield chunk


async def read_capped(response: httpx.Response, limit: int) -> bytes:
    """The whole body of a streamed response. Raises `BodyTooLargeError` past `limit` bytes."""
    body = bytearray()
    async for chunk in capped_chunks(response, limit):
        body += chunk
    return bytes(body)


def lost(provider: str, reason: str, *, repeatable: bool) -> ProviderError:
    """The request went out, and no answer that can be used came back."""
    return ProviderUnavailable(provider, reason) if repeatable else OutcomeUnknown(provider, reason)


def from_transport(provider: str, error: httpx.RequestError, *, repeatable: bool) -> ProviderError:
    """A connection that failed: before anything was sent, or at some point after."""
    match error:
        case httpx.ConnectError() | httpx.ConnectTimeout() | httpx.ProxyError():
            return ProviderUnavailable(provider, UNREACHABLE)
        case httpx.PoolTimeout():
            return ProviderUnavailable(provider, NO_CONNECTION)
        case httpx.TimeoutException():
            return lost(provider, TIMEOUT, repeatable=repeatable)
        case _:
            return lost(provider, CONNECTION_LOST, repeatable=repeatable)


def told_pause(told: Any) -> float | None:
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


async def retrying(attempt: Callable[[], Awaitable[T]], retried: frozenset[str], budget_s: float) -> T:
    """Up to three more attempts, as long as the pauses fit into `budget_s`. A provider that asks for
    a longer pause gets it from the caller, to whom the failure goes with its `retry_after`.
    """
    left = budget_s
    for step in range(_RETRIES):
        try:
            return await attempt()
        except ProviderUnavailable as failure:
            if failure.reason not in retried:
                raise
            backoff = budget_s / 20 * 2**step * random.uniform(0.5, 1)  # noqa: S311 - jitter, not a secret
            pause = max(backoff, failure.retry_after or 0.0)
            left -= pause
            if left < 0:
                raise
            _log.info("%s, trying again in %.2f s", failure, pause)
        await asyncio.sleep(pause)
    return await attempt()
