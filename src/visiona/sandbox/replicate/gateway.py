"""What happens to every API request before and after its handler: limits, and faults of answers."""

from collections.abc import Mapping
from typing import Any, cast

import msgspec
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from visiona.sandbox.replicate.faults import Fault
from visiona.sandbox.replicate.problems import PROBLEM_JSON, Problem, throttled
from visiona.sandbox.replicate.service import Sandbox

_BAD_GATEWAY = (
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>Bad Gateway</body>\r\n</html>\r\n"
)
_NO_CREDIT = {
    "title": "Insufficient credit",
    "detail": "You have insufficient credit to run this model. Go to "
    "https://replicate.com/account/billing#billing to purchase credit. Once you purchase credit, "
    "please wait a few minutes before trying again.",
    "status": 402,
}


class Gateway(ASGIMiddleware):
    """Counts, limits and, when told to, spoils the requests under `/v1`."""

    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        sandbox: Sandbox = scope["litestar_app"].state.sandbox
        method, path = str(cast("HTTPScope", scope)["method"]), scope["path"]
        if not path.startswith("/v1/"):
            await next_app(scope, receive, send)
            return
        creates = _creates(method, path)
        if creates:
            sandbox.posts[f"{creates} received"] += 1
        now = sandbox.clock.now()
        admitted, remaining = sandbox.throttle.admit(now, prediction=creates == "predictions")
        limits = {"ratelimit-remaining": str(remaining), "ratelimit-reset": "1"}
        if not admitted:
            await _answer_problem(send, throttled(1, 1), limits)
            return
        fault = sandbox.faults.for_request(method, path)
        if fault is None:
            await next_app(scope, receive, _with_headers(send, limits))
        else:
            await _spoil(sandbox, fault, scope, receive, _with_headers(send, limits), next_app)


class _Recorder:
    """Takes an answer instead of the client."""

    def __init__(self) -> None:
        self.start: Any = None
        self.body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.start = message
        elif message["type"] == "http.response.body":
            self.body += message["body"]


def _creates(method: str, path: str) -> str | None:
    if method != "POST":
        return None
    if path.rstrip("/") == "/v1/predictions":
        return "predictions"
    return "trainings" if path.rstrip("/").endswith("/trainings") else None


async def _spoil(
    sandbox: Sandbox, fault: Fault, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp
) -> None:
    after = fault.when == "after" or (fault.when is None and fault.kind in {"html", "truncated_json"})
    if fault.kind == "slow" and not after:
        await sandbox.clock.sleep(fault.seconds or 10.0)
        await next_app(scope, receive, send)
        return
    recorder = _Recorder()
    if after:
        await next_app(scope, receive, recorder)
    match fault.kind:
        case "slow":
            await sandbox.clock.sleep(fault.seconds or 10.0)
            await send(recorder.start)
            await _send_body(send, recorder.body)
        case "truncated_json":
            await _answer(
                send, recorder.start["status"], recorder.body[: len(recorder.body) // 2], "application/json"
            )
        case "html":
            await _answer(send, fault.status or 502, _BAD_GATEWAY, "text/html")
        case "rate_limit":
            await _rate_limit(send, fault)
        case "refuse":
            await _answer(
                send, fault.status or 402, msgspec.json.encode(fault.body or _NO_CREDIT), PROBLEM_JSON
            )
        case _:
            status = fault.status or 500
            await _answer_problem(send, Problem(status, fault.text, title="Internal Server Error"), {})


async def _rate_limit(send: Send, fault: Fault) -> None:
    problem = throttled(fault.retry_after, fault.retry_after or 30)
    header = {"retry-after": str(fault.retry_after or 1)} if fault.header else {}
    await _answer_problem(send, problem, header)


async def _answer_problem(send: Send, problem: Problem, headers: Mapping[str, str]) -> None:
    await _answer(send, problem.status, msgspec.json.encode(problem.body), PROBLEM_JSON, headers)


async def _answer(
    send: Send, status: int, body: bytes, media_type: str, headers: Mapping[str, str] | None = None
) -> None:
    given = {"content-type": media_type, "content-length": str(len(body)), **(headers or {})}
    await send({"type": "http.response.start", "status": status, "headers": _encode(given)})
    await _send_body(send, body)


async def _send_body(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _with_headers(send: Send, headers: Mapping[str, str]) -> Send:
    async def sender(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], *_encode(headers)]
        await send(message)

    return sender


def _encode(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers.items()]
