"""Replicate over HTTP: one request at a time, bounded, with every failure translated."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeVar

import httpx
import msgspec

from visiona.adapters.egress import Destinations
from visiona.adapters.http import (
    CONNECTION_LOST,
    RATE_LIMITED,
    SERVER_ERROR,
    TIMEOUT,
    UNREACHABLE,
    UNUSABLE_ANSWER,
    BodyTooLargeError,
    capped_chunks,
    make_http_client,
    read_capped,
    retrying,
)
from visiona.adapters.replicate.answers import UnusableAnswerError, read_signing_secret, read_username
from visiona.adapters.replicate.config import ReplicateConfig
from visiona.adapters.replicate.delivery import atomic_file
from visiona.adapters.replicate.failures import (
    from_status,
    from_transport,
    lost,
    refused_here,
)
from visiona.adapters.standard_webhooks import signing_key

T = TypeVar("T")

_log = logging.getLogger(__name__)

_RETRIED_IF_REPEATABLE = frozenset({UNREACHABLE, CONNECTION_LOST, RATE_LIMITED, SERVER_ERROR})
_RETRIED_IF_NOT = frozenset({UNREACHABLE})
_MAX_PROBLEM_BYTES = 65_536
_PROBLEM_SHARE = 1 / 15  # of a call's deadline: 2 s of 30
_SECRET_REFRESH_S = 60.0
_SECRET_OVERLAP_S = 300.0  # older signatures are refused anyway


@dataclass(frozen=True, slots=True)
class _Request:
    method: Literal["GET", "POST", "DELETE"]
    path: str
    query: Mapping[str, str] | None = None
    content: bytes | None = None
    file: BinaryIO | None = None

    @property
    def repeatable(self) -> bool:
        return self.method != "POST"


class ReplicateClient:
    """The account, shared by `ReplicateTrainer` and `ReplicateGenerator`; close it with `aclose`.

    Every method raises the errors of `visiona.ports.errors` and returns within the configured
    deadlines. GET and DELETE are tried up to four times; POST again only where nothing was sent.
    """

    def __init__(self, config: ReplicateConfig) -> None:
        self.config = config
        self._http = make_http_client(
            Destinations.of([config.base_url], delivery=config.delivery_hosts), config.timeouts
        )
        self._api = config.base_url.rstrip("/")
        self._authorization = {"Authorization": f"Bearer {config.token}"}
        self._asking = asyncio.Lock()
        self._owner = config.owner
        self._secrets: tuple[str, ...] = ()
        self._secret_asked_at = self._rotated_at = float("-inf")

    async def aclose(self) -> None:
        await self._http.aclose()

    async def owner(self) -> str:
        """The account that owns the trained models."""
        async with self._asking:
            if not self._owner:
                self._owner = await self.get("/account", read_username)
            return self._owner

    async def webhook_secrets(self, *, refresh: bool = False) -> tuple[str, ...]:
        """The secrets that webhooks may be signed with. `refresh` asks again, as after a signature that
        does not match (the secret may have been rotated), but at most once a minute, so that forged
        webhooks do not turn into requests. The one before stays good for webhooks that were on their way
        when it was rotated. Configured ones are never replaced.
        """
        if self.config.webhook_secrets:
            return self.config.webhook_secrets
        async with self._asking:
            now = asyncio.get_running_loop().time()
            stale = refresh and now - self._secret_asked_at >= _SECRET_REFRESH_S
            if not self._secrets or stale:
                self._secret_asked_at = now
                fresh = await self.get("/webhooks/default/secret", _read_usable_secret)
                if fresh not in self._secrets[:1]:
                    self._secrets = (fresh, *self._secrets[:1])
                    self._rotated_at = now
            if now - self._rotated_at > _SECRET_OVERLAP_S:
                self._secrets = self._secrets[:1]
            return self._secrets

    async def get(self, path: str, read: Callable[[bytes], T], query: Mapping[str, str] | None = None) -> T:
        limit = self.config.max_page_bytes if query is not None else self.config.max_answer_bytes
        return await self._call(_Request("GET", path, query), read, limit)

    async def post(self, path: str, body: Mapping[str, Any] | None, read: Callable[[bytes], T]) -> T:
        content = None if body is None else msgspec.json.encode(body)
        return await self._call(_Request("POST", path, content=content), read, self.config.max_answer_bytes)

    async def delete(self, path: str) -> None:
        await self._call(_Request("DELETE", path), _ignore, self.config.max_answer_bytes)

    async def upload(self, path: str, file: BinaryIO, read: Callable[[bytes], T]) -> T:
        """POST `file` as multipart, read from disk piece by piece."""
        request = _Request("POST", path, file=file)
        limit, deadline_s = self.config.max_answer_bytes, self.config.upload_deadline_s
        return await self._call(request, read, limit, deadline_s)

    async def fetch(self, url: httpx.URL, target: Path) -> None:
        """Stream an output to `target`, without our credentials. `url` was accepted before."""
        deadline_s = self.config.download_deadline_s
        await self._bounded(lambda: self._fetch_once(url, target), deadline_s, repeatable=True)

    async def _call(
        self, request: _Request, read: Callable[[bytes], T], limit: int, deadline_s: float | None = None
    ) -> T:
        body = await self._bounded(
            lambda: self._send_once(request, limit),
            deadline_s or self.config.call_deadline_s,
            repeatable=request.repeatable,
        )
        try:
            return read(body)
        except UnusableAnswerError as error:
            _log.warning("replicate: %s %s was answered with %s", request.method, request.path, error)
            raise lost(UNUSABLE_ANSWER, repeatable=request.repeatable) from error

    async def _bounded(
        self, attempt: Callable[[], Awaitable[T]], deadline_s: float, *, repeatable: bool
    ) -> T:
        """Attempts and the pauses between them, within one deadline."""
        retried = _RETRIED_IF_REPEATABLE if repeatable else _RETRIED_IF_NOT
        try:
            async with asyncio.timeout(deadline_s):
                return await retrying(attempt, retried, self.config.retry_budget_s)
        except TimeoutError as error:
            raise lost(TIMEOUT, repeatable=repeatable) from error

    async def _send_once(self, request: _Request, limit: int) -> bytes:
        headers = dict(self._authorization)
        if request.content is not None:
            headers["Content-Type"] = "application/json"
        try:
            async with self._http.stream(
                request.method,
                self._api + request.path,
                params=request.query or None,
                headers=headers,
                content=request.content,
                # The name says nothing about whose photos these are.
                files={"content": ("training.zip", request.file, "application/zip")}
                if request.file
                else None,
            ) as response:
                if response.is_success:
                    return await read_capped(response, limit)
                problem = await self._problem_body(response)
                raise from_status(
                    response.status_code, response.headers, problem, repeatable=request.repeatable
                )
        except BodyTooLargeError as error:
            raise lost(UNUSABLE_ANSWER, repeatable=request.repeatable) from error
        except httpx.RequestError as error:
            raise from_transport(error, repeatable=request.repeatable) from error

    async def _fetch_once(self, url: httpx.URL, target: Path) -> None:
        try:
            async with self._http.stream("GET", url) as response:
                if response.is_redirect:
                    raise refused_here(
                        "redirect_refused", "The image could not be fetched.", status=response.status_code
                    )
                if not response.is_success:
                    problem = await self._problem_body(response)
                    raise from_status(response.status_code, response.headers, problem, repeatable=True)
                async with atomic_file(target) as file:
                    async for chunk in capped_chunks(response, self.config.max_output_bytes):
                        await asyncio.to_thread(file.write, chunk)
        except BodyTooLargeError as error:
            raise refused_here("output_too_large", "The image is too large.", status=200) from error
        except httpx.RequestError as error:
            raise from_transport(error, repeatable=True) from error

    async def _problem_body(self, response: httpx.Response) -> bytes:
        """The body of a refusal. The status alone decides, so one that does not come is done without."""
        try:
            async with asyncio.timeout(self.config.call_deadline_s * _PROBLEM_SHARE):
                return await read_capped(response, _MAX_PROBLEM_BYTES)
        except (TimeoutError, httpx.RequestError, BodyTooLargeError):
            return b""


def _read_usable_secret(body: bytes) -> str:
    secret = read_signing_secret(body)
    try:
        signing_key(secret)
    except ValueError:
        raise UnusableAnswerError("a webhook secret in an unknown form") from None
    return secret


def _ignore(_body: bytes) -> None:
    """Deletions answer with nothing worth reading."""
