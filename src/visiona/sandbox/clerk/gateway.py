"""Every request to the APIs: who asks, in which version, and what may go wrong on the way. Handlers know
nothing of all this.
"""

import asyncio
import logging
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final, cast
from urllib.parse import parse_qsl, unquote

import msgspec
from litestar.types import HTTPScope, Receive, Scope, Send

from visiona.sandbox.clerk.config import API_VERSIONS
from visiona.sandbox.clerk.errors import ClerkError, bad_request
from visiona.sandbox.clerk.minting import KEY_SETS
from visiona.sandbox.clerk.params import Fields, Params, read_document, read_pairs
from visiona.sandbox.clerk.routes import Call, Context, Reply, Route, RouteTable
from visiona.sandbox.clerk.service import Sandbox
from visiona.sandbox.clerk.wire import encode
from visiona.sandbox.faults import Fault

MAX_BODY: Final = 1024 * 1024
_VERSION: Final = "__clerk_api_version"
_FORM: Final = "application/x-www-form-urlencoded"
_ALWAYS_KNOWN: Final = frozenset({
    _VERSION, "_is_native", "_method", "_clerk_js_version", "_clerk_session_id", "__clerk_db_jwt",
    "__clerk_testing_token",
})  # fmt: skip
_BAD_GATEWAY: Final = (
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>Bad Gateway</body>\r\n</html>\r\n"
)
_OTHER_SHAPE: Final = {"id": 7, "object": ["unexpected"], "status": {"value": None}, "keys": "none"}

logger = logging.getLogger(__name__)


class Gateway:
    """An ASGI application for the paths of both APIs."""

    def __init__(self, sandbox: Sandbox, routes: list[Route]) -> None:
        self._sandbox = sandbox
        self._routes = RouteTable(routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call, complete = await _read(cast("HTTPScope", scope), receive)
        if call.path in KEY_SETS:
            self._sandbox.count_fetch(call.path)
        fault = self._sandbox.faults.for_request(call.method, call.path)
        try:
            reply = await self._answer(call, fault) if complete else _error_reply(_too_large())
        except ClerkError as error:
            reply = _error_reply(error)
        if reply is None:
            await _drop(send)
        else:
            await _send(send, reply)

    async def _answer(self, call: Call, fault: Fault | None) -> Reply | None:
        """What the client gets to see; None is a connection that ends without a byte."""
        if fault is None:
            return self._perform(call)
        match fault.fault:
            case "rate_limit":
                raise _rate_limited(int(_seconds(fault, 1)))
            case "server_error":
                raise _internal(fault.status or 500)
            case "html_502":
                return _html(fault)
            case "connection_drop":
                return None
            case "hang" if fault.when == "before":
                await asyncio.sleep(_seconds(fault, 600))
                return None
            case "slow" if fault.when == "before":
                await asyncio.sleep(_seconds(fault, 5))
                return self._perform(call)
            case _:
                return await _spoiled(self._perform(call), fault)

    def _perform(self, call: Call) -> Reply:
        found = self._routes.match(_method(call), call.path)
        if found is None:
            raise ClerkError(404, "resource_not_found", "Not Found", f"No such address: {call.path}")
        route, ids = found
        if route.side == "backend":
            check_key(call.headers, self._sandbox.config.secret_key)
        try:
            version = _version(call)
            params = _params(call, route)
            context = Context(self._sandbox, call, version, ids)
            with self._sandbox.acting(call.client_ip, call.user_agent):
                answer = route.handler(context, params)
        except ClerkError as error:
            return _error_reply(error)
        except Exception:
            logger.exception("%s %s could not be answered.", call.method, call.path)
            return _error_reply(_internal(500))
        reply = answer if isinstance(answer, Reply) else Reply(200, encode(answer))
        return replace(reply, headers=(*reply.headers, ("clerk-api-version", version)))


def check_key(headers: Mapping[str, str], expected: str) -> None:
    """Raise `ClerkError` 401 where the secret key is missing or not the sandbox's own."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        text = "Invalid Authorization header format. Must be 'Bearer <SECRET_KEY>'."
        raise ClerkError(401, "authorization_header_format_invalid", "Invalid Authorization header", text)
    if not secrets.compare_digest(key.strip().encode(), expected.encode()):
        text = "The provided Clerk Secret Key is invalid. Make sure that your Clerk Secret Key is correct."
        raise ClerkError(401, "clerk_key_invalid", text)


def _method(call: Call) -> str:
    """Browsers send forms by POST only, and name the method that they mean."""
    return (call.parameter("_method") or call.method).upper() if call.method == "POST" else call.method


def _version(call: Call) -> str:
    header, query = call.headers.get("clerk-api-version"), call.parameter(_VERSION)
    if header is not None and query is not None:
        text = "The API version is given twice: by a header and by a query parameter."
        raise bad_request("api_version_invalid", "Invalid API version", text)
    version = header or query or API_VERSIONS[-1]
    if version not in API_VERSIONS:
        text = f"{version} is not a version of the API."
        raise bad_request("api_version_invalid", "Invalid API version", text)
    return version


def _params(call: Call, route: Route) -> Params:
    query = [pair for pair in call.query if pair[0] not in _ALWAYS_KNOWN]
    if route.loose:
        query = [pair for pair in query if pair[0] in route.fields]
    if call.method == "GET":
        return read_pairs(route.fields, query)
    if route.side == "frontend":
        return read_pairs(route.fields, [*query, *_form(call)])
    return _document(call, route.fields)


def _document(call: Call, fields: Fields) -> Params:
    if not call.body:
        return read_document(fields, {})
    try:
        document: Any = msgspec.json.decode(call.body)
    except msgspec.DecodeError as error:
        raise _bad_body() from error
    if not isinstance(document, dict):
        raise _bad_body()
    return read_document(fields, cast("Params", document))


def _form(call: Call) -> list[tuple[str, str]]:
    if not call.body:
        return []
    media_type = call.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != _FORM:
        text = f"Content-Type {media_type} is not supported for this endpoint. It should be {_FORM}."
        raise ClerkError(415, "unsupported_content_type", "Content-Type is not supported", text)
    return parse_qsl(call.body.decode("latin-1"), keep_blank_values=True)


def _bad_body() -> ClerkError:
    text = "The request body is invalid. Please consult the API documentation for more information."
    return bad_request("request_body_invalid", "Request body invalid", text)


def _too_large() -> ClerkError:
    return ClerkError(413, "request_body_too_large", "The request's body is too large")


def _rate_limited(seconds: int) -> ClerkError:
    text = "Too many requests, retry later"
    return ClerkError(429, "too_many_requests", "Too many requests", text, retry_after=seconds)


def _internal(status: int) -> ClerkError:
    text = "There was an internal error on our servers. We've been notified and are working on fixing it."
    return ClerkError(status, "internal_clerk_error", "Oops, an unexpected error occurred", text)


def _error_reply(error: ClerkError) -> Reply:
    limited = error.retry_after is not None
    headers = (("retry-after", str(error.retry_after)),) if limited else ()
    return Reply(error.status, encode(error.body()), headers)


def _html(fault: Fault) -> Reply:
    return Reply(fault.status or 502, _BAD_GATEWAY, media_type="text/html")


async def _spoiled(reply: Reply, fault: Fault) -> Reply | None:
    """What becomes of an answer on its way, after the request took effect."""
    match fault.fault:
        case "lost_answer":
            return None if fault.drop else _html(fault)
        case "truncated_json":
            return replace(reply, body=reply.body[: len(reply.body) // 2])
        case "wrong_shape":
            return replace(reply, body=encode(_OTHER_SHAPE))
        case "hang":
            await asyncio.sleep(_seconds(fault, 600))
            return None
        case _:  # slow
            await asyncio.sleep(_seconds(fault, 5))
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
    client = scope["client"]
    call = Call(
        method=str(scope["method"]),
        path=unquote(scope["raw_path"].partition(b"?")[0].decode("latin-1")),
        query=parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True),
        body=body,
        headers={name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]},
        client_ip="" if client is None else str(client[0]),
    )
    return call, len(body) <= MAX_BODY


async def _send(send: Send, reply: Reply) -> None:
    given = (
        ("content-type", reply.media_type),
        ("content-length", str(len(reply.body))),
        ("cache-control", "no-store"),
        ("x-visiona-sandbox", "clerk"),
        *reply.headers,
    )
    pairs = [(name.encode(), value.encode("latin-1")) for name, value in given]
    await send({"type": "http.response.start", "status": reply.status, "headers": pairs})
    await send({"type": "http.response.body", "body": reply.body, "more_body": False})


async def _drop(send: Send) -> None:
    """End the connection without a byte.

    ASGI has no word for it: a header that no server lets through makes it give the answer up.
    """
    with suppress(Exception):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"\r\n", b"")]})
