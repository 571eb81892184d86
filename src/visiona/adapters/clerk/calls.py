"""Clerk over HTTP: one request at a time, bounded, with every failure translated."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal, TypeVar
from urllib.parse import urlencode

import httpx
import msgspec

from visiona.adapters.clerk.answers import UnusableAnswerError, read
from visiona.adapters.clerk.config import API_VERSION, ClerkConfig
from visiona.adapters.clerk.failures import Refused, from_status, from_transport, lost, trace_id_in
from visiona.adapters.egress import Destinations
from visiona.adapters.http import (
    CONNECTION_LOST,
    RATE_LIMITED,
    SERVER_ERROR,
    TIMEOUT,
    UNREACHABLE,
    UNUSABLE_ANSWER,
    BodyTooLargeError,
    make_http_client,
    read_capped,
    retrying,
)
from visiona.ports.errors import ProviderError, ProviderRejected

T = TypeVar("T")

_log = logging.getLogger(__name__)

_MAX_CONNECTIONS = 40
_MAX_KEYS_BYTES = 262_144
_MAX_PROBLEM_BYTES = 65_536


class Repeat(Enum):
    """What it means for a request that its answer is lost."""

    FREELY = "freely"
    """It is sent again: nothing was changed, or the same once more changes nothing."""
    HARMLESSLY = "harmlessly"
    """It changed nothing that matters, but counts against a limit or a nonce: not sent again."""
    NEVER = "never"
    """Something may have been made."""


_RETRIED = {
    Repeat.FREELY: frozenset({UNREACHABLE, CONNECTION_LOST, RATE_LIMITED, SERVER_ERROR}),
    Repeat.HARMLESSLY: frozenset({UNREACHABLE}),
    Repeat.NEVER: frozenset({UNREACHABLE}),
}


@dataclass(frozen=True, slots=True)
class _Request:
    what: str
    method: Literal["GET", "POST", "DELETE"]
    url: str = field(repr=False)
    repeat: Repeat
    headers: Mapping[str, str] = field(repr=False)
    content: bytes | None = field(default=None, repr=False)

    @property
    def repeatable(self) -> bool:
        return self.repeat is not Repeat.NEVER


class ClerkCalls:
    """The instance, as `ClerkIdentity` asks it; close it with `aclose`.

    `what` names a call in the log, where neither ids nor addresses stand. Every method raises the errors
    of `visiona.ports.errors` (`Refused` for Clerk's own refusals) within the configured deadline.
    """

    def __init__(self, config: ClerkConfig) -> None:
        self._config = config
        self._http = make_http_client(
            Destinations.of([config.base_url, config.frontend]),
            config.timeouts,
            max_connections=_MAX_CONNECTIONS,
        )
        self._backend = config.base_url.rstrip("/")
        self._authorized = {
            "Authorization": f"Bearer {config.secret_key}",
            "Clerk-API-Version": API_VERSION,
        }
        self._complaints: set[str] = set()

    async def aclose(self) -> None:
        await self._http.aclose()

    async def get(
        self,
        what: str,
        path: str,
        shape: type[T],
        query: Mapping[str, str] | None = None,
        *,
        repeat: Repeat = Repeat.FREELY,
    ) -> T:
        url = self._backend + path + (f"?{urlencode(query)}" if query else "")
        return await self._asked(_Request(what, "GET", url, repeat, self._authorized), shape)

    async def post(
        self, what: str, path: str, body: Mapping[str, Any] | None, shape: type[T], *, repeat: Repeat
    ) -> T:
        content = None if body is None else msgspec.json.encode(body)
        headers = (
            self._authorized if body is None else self._authorized | {"Content-Type": "application/json"}
        )
        return await self._asked(
            _Request(what, "POST", self._backend + path, repeat, headers, content), shape
        )

    async def delete(self, what: str, path: str, shape: type[T]) -> T:
        return await self._asked(
            _Request(what, "DELETE", self._backend + path, Repeat.FREELY, self._authorized), shape
        )

    async def post_frontend(self, what: str, path: str, form: Mapping[str, str], shape: type[T]) -> T:
        """As a native client without cookies does it. Our secret key does not travel there."""
        query = urlencode({"__clerk_api_version": API_VERSION, "_is_native": "1"})
        url = f"{self._config.frontend}{path}?{query}"
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        request = _Request(what, "POST", url, Repeat.NEVER, headers, urlencode(form).encode())
        return await self._asked(request, shape)

    async def fetch_keys(self) -> bytes:
        """The public keys, tried once: whoever needs them decides when to ask again."""
        url = f"{self._config.frontend}/.well-known/jwks.json"
        request = _Request("keys", "GET", url, Repeat.HARMLESSLY, {})
        return await self._bounded(
            lambda: self._send(request, _MAX_KEYS_BYTES),
            self._config.keys_deadline_s,
            frozenset(),
            repeatable=True,
        )

    async def _asked(self, request: _Request, shape: type[T]) -> T:
        body = await self._bounded(
            lambda: self._send(request, self._config.max_answer_bytes),
            self._config.call_deadline_s,
            _RETRIED[request.repeat],
            repeatable=request.repeatable,
        )
        try:
            return read(body, shape)
        except UnusableAnswerError as error:
            _log.warning("clerk: %s was answered with %s", request.what, error)
            raise lost(UNUSABLE_ANSWER, repeatable=request.repeatable) from error

    async def _bounded(
        self,
        attempt: Callable[[], Awaitable[bytes]],
        deadline_s: float,
        retried: frozenset[str],
        *,
        repeatable: bool,
    ) -> bytes:
        """Attempts and the pauses between them, within one deadline."""
        try:
            async with asyncio.timeout(deadline_s):
                return await retrying(attempt, retried, self._config.retry_budget_s)
        except TimeoutError as error:
            raise lost(TIMEOUT, repeatable=repeatable) from error

    async def _send(self, request: _Request, limit: int) -> bytes:
        try:
            async with self._http.stream(
                request.method, request.url, headers=dict(request.headers), content=request.content
            ) as response:
                body = await read_capped(response, limit if response.is_success else _MAX_PROBLEM_BYTES)
        except BodyTooLargeError as error:
            _log.warning("clerk: %s was answered with a body that is too large", request.what)
            raise lost(UNUSABLE_ANSWER, repeatable=request.repeatable) from error
        except httpx.RequestError as error:
            # Without the cause: it carries the request, and that a password.
            raise from_transport(error, repeatable=request.repeatable) from None
        if response.is_success:
            return body
        failure = from_status(response.status_code, response.headers, body, repeatable=request.repeatable)
        self._tell(request.what, failure, trace_id_in(body))
        raise failure

    def _tell(self, what: str, failure: ProviderError, trace_id: str) -> None:
        if not isinstance(failure, ProviderRejected):
            _log.warning("%s, asked for %s, trace %s", failure, what, trace_id)
        elif failure.status != 401:
            _log.info("%s, asked for %s, trace %s", failure, what, trace_id)
        elif failure.reason not in self._complaints:
            # Every call would say so: once is enough for the operator.
            self._complaints.add(failure.reason)
            _log.error(
                "%s, asked for %s; put the key right and start again, trace %s", failure, what, trace_id
            )


async def or_none(call: Awaitable[T]) -> T | None:
    """None where what the call names is not there."""
    try:
        return await call
    except Refused as refusal:
        if refusal.names_nothing:
            return None
        raise
