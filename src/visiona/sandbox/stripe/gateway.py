"""Every request under `/v1`: who asks, in which version, whether it was asked before, and what may go
wrong on the way. Handlers know nothing of all this.
"""

import asyncio
import base64
import binascii
import logging
import secrets
from collections.abc import Mapping
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any, Final, cast
from urllib.parse import unquote

from litestar.types import HTTPScope, Receive, Scope, Send

from visiona.sandbox.stripe.config import API_VERSION
from visiona.sandbox.stripe.errors import StripeError, invalid
from visiona.sandbox.stripe.expand import expand
from visiona.sandbox.stripe.faults import Fault
from visiona.sandbox.stripe.form import Node, parse_form
from visiona.sandbox.stripe.idempotency import Replay
from visiona.sandbox.stripe.ids import random_text
from visiona.sandbox.stripe.paging import Listing, page
from visiona.sandbox.stripe.params import Array, Fields, Params, Text, read_params
from visiona.sandbox.stripe.routes import Answer, Route, RouteTable
from visiona.sandbox.stripe.service import Sandbox
from visiona.sandbox.stripe.store import Obj
from visiona.sandbox.stripe.wire import encode, shown

MAX_BODY: Final = 1024 * 1024
_EXPAND: Final[Fields] = {"expand": Array(Text())}
_BAD_GATEWAY: Final = (
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>Bad Gateway</body>\r\n</html>\r\n"
)
_OTHER_SHAPE: Final = {"id": 7, "object": ["unexpected"], "status": {"value": None}, "data": "none"}

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Call:
    """One request as it came in; `query` and `body` are form-encoded."""

    id: str
    method: str
    path: str
    query: str
    body: str
    headers: Mapping[str, str]

    @property
    def idempotency_key(self) -> str | None:
        """Heeded for POST only: the other methods may be repeated anyway."""
        return self.headers.get("idempotency-key") if self.method == "POST" else None


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    media_type: str = "application/json"


class Gateway:
    """An ASGI application, mounted at `/v1`."""

    def __init__(self, sandbox: Sandbox, routes: list[Route]) -> None:
        self._sandbox = sandbox
        self._routes = RouteTable(routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call, complete = await _read(cast("HTTPScope", scope), receive)
        fault = self._sandbox.faults.for_request(call.method, call.path)
        try:
            reply = await self._answer(call, fault) if complete else _too_large()
        except StripeError as error:
            reply = _error_reply(error)
        if reply is None:
            await _drop(send)
            return
        headers = {"request-id": call.id, "stripe-version": API_VERSION, **reply.headers}
        if call.idempotency_key:
            headers.setdefault("idempotency-key", call.idempotency_key)
            headers.setdefault("original-request", call.id)
        await _send(send, reply, headers)

    async def _answer(self, call: Call, fault: Fault | None) -> Reply | None:
        """What the client gets to see; None is a connection that ends without a byte."""
        kind = None if fault is None else fault.fault
        match kind:
            case "rate_limit":
                raise _rate_limited()
            case "server_error" if fault and not fault.stored:
                raise StripeError(fault.status or 500, "api_error", "The sandbox was told to fail.")
            case "html_502":
                return _html(fault)
            case "connection_drop":
                return None
            case "hang" if fault and fault.when == "before":
                await asyncio.sleep(_seconds(fault, 600))
                return None
            case _:
                reply = await self._perform(call, fault)
                return reply if fault is None else await _spoiled(reply, fault)

    async def _perform(self, call: Call, fault: Fault | None) -> Reply:
        self._authenticate(call.headers)
        _check_version(call.headers)
        found = self._routes.match(call.method, call.path)
        if found is None:
            raise _unknown_url(call)
        tree = _tree(call)
        with ExitStack() as stack:
            key = call.idempotency_key
            keys = self._sandbox.keys
            earlier = stack.enter_context(keys.use(key, call.method, call.path, tree)) if key else None
            if earlier is not None:
                headers = {"idempotent-replayed": "true", "original-request": earlier.request_id}
                return Reply(earlier.status, earlier.body, headers)
            params = read_params({**found[0].fields, **_EXPAND}, tree)
            if fault is not None and fault.fault == "slow" and fault.when == "before":
                await asyncio.sleep(_seconds(fault, 5))
            if fault is not None and fault.fault == "server_error":
                return self._broken(call, tree, fault.status or 500)
            return self._execute(call, *found, tree, params)

    def _execute(
        self, call: Call, route: Route, ids: dict[str, str], tree: Mapping[str, Node], params: Params
    ) -> Reply:
        """Run the handler, whole or not at all, and keep the answer under its idempotency key.

        Refusals are not kept: they had no effect. A declined charge and a crash are.
        """
        sandbox = self._sandbox
        sandbox.events.caused_by(call.id, call.idempotency_key)
        try:
            with nullcontext() if call.method == "GET" else sandbox.store.atomic():
                answer = route.handler(sandbox.context(ids), params)
                body = encode(self._rendered(answer, params, call.path))
                self._keep(call, tree, 200, body)
            return Reply(200, body)
        except StripeError as error:
            reply = _error_reply(error)
            if error.status == 402:
                self._keep(call, tree, reply.status, reply.body)
            return reply
        except Exception:
            logger.exception("%s %s could not be answered.", call.method, call.path)
            return self._broken(call, tree, 500)
        finally:
            sandbox.events.caused_by(None, None)

    def _rendered(self, answer: Answer, params: Params, path: str) -> Obj:
        if isinstance(answer, list):
            obj = page(answer[::-1], params, path, self._sandbox.store)
        elif isinstance(answer, Listing):
            obj = page(answer.items, params, path)
        else:
            obj = answer
        return shown(expand(self._sandbox.engine.books, obj, params.get("expand") or []))

    def _broken(self, call: Call, tree: Mapping[str, Node], status: int) -> Reply:
        """An error after the work had begun: a key remembers it, so trying again is of no use."""
        reply = _error_reply(StripeError(status, "api_error", "An unknown error occurred"))
        self._keep(call, tree, reply.status, reply.body)
        return Reply(reply.status, reply.body, {**reply.headers, "stripe-should-retry": "false"})

    def _keep(self, call: Call, tree: Mapping[str, Node], status: int, body: bytes) -> None:
        if call.idempotency_key:
            answer = Replay(status, body, call.id)
            self._sandbox.keys.keep(call.idempotency_key, call.method, call.path, tree, answer)

    def _authenticate(self, headers: Mapping[str, str]) -> None:
        key = given_key(headers)
        if not key:
            raise StripeError(
                401,
                "invalid_request_error",
                "You did not provide an API key. You need to provide your API key in the Authorization "
                "header, using Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY'). See "
                "https://stripe.com/docs/api#authentication for details, or we can help at "
                "https://support.stripe.com/.",
            )
        check_key(key, self._sandbox.config.secret_key)


def given_key(headers: Mapping[str, str]) -> str:
    """The API key of a request: a bearer token, or the user name of basic authentication."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() == "basic":
        with suppress(binascii.Error, UnicodeDecodeError):
            return base64.b64decode(value, validate=True).decode().partition(":")[0]
    return ""


def check_key(key: str, expected: str) -> None:
    """Raise `StripeError` 401 for a key that is not the sandbox's own."""
    if not secrets.compare_digest(key.encode(), expected.encode()):
        hidden = f"{key[:8]}{'*' * max(len(key) - 12, 0)}{key[-4:]}" if len(key) > 12 else "****"
        raise StripeError(401, "invalid_request_error", f"Invalid API Key provided: {hidden}")


def _check_version(headers: Mapping[str, str]) -> None:
    version = headers.get("stripe-version", API_VERSION)
    if version != API_VERSION:
        raise invalid(f"Invalid Stripe API version: {version}. The sandbox speaks {API_VERSION} only.")


def _unknown_url(call: Call) -> StripeError:
    return StripeError(
        404,
        "invalid_request_error",
        f"Unrecognized request URL ({call.method}: {call.path}). If you are trying to list objects, remove "
        "the trailing slash. If you are trying to retrieve an object, make sure you passed a valid "
        "(non-empty) identifier in your code. Please see https://stripe.com/docs or we can help at "
        "https://support.stripe.com/.",
    )


def _rate_limited() -> StripeError:
    return StripeError(
        429,
        "invalid_request_error",
        "Request rate limit exceeded. Learn more about rate limits here https://stripe.com/docs/rate-limits.",
        code="rate_limit",
    )


def _too_large() -> Reply:
    error = StripeError(413, "invalid_request_error", "The request's body is too large.")
    return _error_reply(error)


def _tree(call: Call) -> dict[str, Node]:
    media_type = call.headers.get("content-type", "").partition(";")[0].strip().lower()
    if call.body and media_type != "application/x-www-form-urlencoded":
        raise invalid(
            "Invalid request (check that your POST content type is application/x-www-form-urlencoded). If "
            "you have any questions, we can help at https://support.stripe.com/."
        )
    return parse_form("&".join(part for part in (call.query, call.body) if part))


def _error_reply(error: StripeError) -> Reply:
    headers: dict[str, str] = {}
    if error.status == 401:
        headers["www-authenticate"] = 'Bearer realm="Stripe"'
    if error.status == 429:
        headers["stripe-rate-limited-reason"] = "global-rate"
    return Reply(error.status, encode(error.body()), headers)


def _html(fault: Fault | None) -> Reply:
    status = fault.status if fault and fault.status else 502
    return Reply(status, _BAD_GATEWAY, media_type="text/html")


async def _spoiled(reply: Reply, fault: Fault) -> Reply | None:
    """What becomes of an answer on its way, after the request took effect."""
    match fault.fault:
        case "lost_answer":
            return None if fault.drop else _html(fault)
        case "truncated_json":
            return Reply(reply.status, reply.body[: len(reply.body) // 2], reply.headers)
        case "wrong_shape":
            return Reply(reply.status, encode(_OTHER_SHAPE), reply.headers)
        case "slow" if fault.when == "after":
            await asyncio.sleep(_seconds(fault, 5))
            return reply
        case "hang":
            await asyncio.sleep(_seconds(fault, 600))
            return None
        case _:
            return reply


def _seconds(fault: Fault, default: float) -> float:
    return default if fault.seconds is None else fault.seconds


async def _read(scope: HTTPScope, receive: Receive) -> tuple[Call, bool]:
    """The request, and whether all of its body was taken in."""
    body, more = b"", True
    while more and len(body) <= MAX_BODY:
        message: Any = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    call = Call(
        id=f"req_{random_text(14)}",
        method=str(scope["method"]),
        path=unquote(scope["raw_path"].partition(b"?")[0].decode("latin-1")),
        query=scope["query_string"].decode("latin-1"),
        body=body.decode("latin-1"),
        headers={name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]},
    )
    return call, len(body) <= MAX_BODY


async def _send(send: Send, reply: Reply, headers: Mapping[str, str]) -> None:
    given = {
        "content-type": reply.media_type,
        "content-length": str(len(reply.body)),
        "cache-control": "no-cache, no-store",
        "x-visiona-sandbox": "stripe",
        **headers,
    }
    pairs = [(name.encode(), value.encode("latin-1")) for name, value in given.items()]
    await send({"type": "http.response.start", "status": reply.status, "headers": pairs})
    await send({"type": "http.response.body", "body": reply.body, "more_body": False})


async def _drop(send: Send) -> None:
    """End the connection without a byte.

    ASGI has no word for it: a header that no server lets through makes it give the answer up.
    """
    with suppress(Exception):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"\r\n", b"")]})
