"""The HTTP client of the adapters: bounded in time and size, and unable to break law 3.

Every request asks first whether a transaction is open. Redirects are never followed and cookies
never kept: an API has neither, and a delivery host must not steer us. Bodies are asked for
uncompressed and read as they arrive, so a limit counts what really enters memory.

Proxies from the environment (`HTTPS_PROXY`, `NO_PROXY`) are obeyed, since many networks have no
other way out; servers on this machine, such as the sandbox, are always reached directly.
"""

import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx

from visiona.core.guard import forbid_open_transaction

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
    timeouts: Timeouts = DEFAULT_TIMEOUTS, *, max_connections: int = 100
) -> httpx.AsyncClient:
    """A client without credentials: callers add them request by request, so that none travels to a
    host it was not meant for.
    """
    # httpx logs every URL in full, and ours carry signatures and unguessable names.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    return httpx.AsyncClient(
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
