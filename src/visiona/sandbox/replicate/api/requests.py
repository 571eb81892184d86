"""Reading requests strictly: what the documentation does not name is refused."""

import re
import secrets
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, cast

import msgspec
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from visiona.sandbox.network import is_loopback_url
from visiona.sandbox.replicate.problems import InvalidField, Problem, invalid, unauthenticated
from visiona.sandbox.replicate.webhooks import EVENTS

Body = dict[str, Any]
AnyRequest = Request[Any, Any, Any]

_JSON_NAMES: Mapping[type, str] = {str: "string", dict: "object", list: "array", bool: "boolean"}
_WAIT = re.compile(r"wait(?:=([1-9]|[1-5][0-9]|60))?")
_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?")
_LEAST_DEADLINE = timedelta(seconds=5)
_LONGEST_WAIT = 60.0


def guard_token(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Let nobody in without the account's token."""
    header: str = connection.headers.get("authorization", "")
    scheme, _space, token = header.partition(" ")
    if not token or scheme.lower() not in {"bearer", "token"}:
        raise unauthenticated(passed=False)
    known: str = connection.app.state.sandbox.config.token
    if not secrets.compare_digest(token.encode(), known.encode()):
        raise unauthenticated(passed=True)


async def read_body(request: AnyRequest) -> Body:
    """The request's JSON object."""
    try:
        body = msgspec.json.decode(await request.body())
    except msgspec.DecodeError as error:
        raise Problem(400, "The request body is not valid JSON", title="Bad Request") from error
    if not isinstance(body, dict):
        raise Problem(400, "The request body must be a JSON object", title="Bad Request")
    return cast("Body", body)


def check_body(body: Body, known: Mapping[str, type], required: frozenset[str]) -> None:
    """Refuse unknown, missing and mistyped keys at the top level."""
    wrong = [
        InvalidField("required", name, f"{name} is required") for name in sorted(required) if name not in body
    ]
    for name, value in body.items():
        if name not in known:
            about = f"Additional property {name} is not allowed"
            wrong.append(InvalidField("additional_property_not_allowed", name, about))
        elif not isinstance(value, known[name]) and not (value is None and name not in required):
            about = f"Invalid type. Expected: {_JSON_NAMES[known[name]]}"
            wrong.append(InvalidField("invalid_type", name, about))
    if wrong:
        raise invalid(wrong)


def check_webhook(body: Body) -> None:
    """The real API demands HTTPS; the sandbox demands this machine."""
    webhook: str | None = body.get("webhook")
    events: list[Any] = body.get("webhook_events_filter") or []
    if webhook is not None and not is_loopback_url(webhook):
        about = "the sandbox calls webhooks on this machine only (a loopback address)"
        raise invalid([InvalidField("format", "webhook", about)])
    for event in events:
        if event not in EVENTS:
            allowed = ", ".join(f'"{name}"' for name in EVENTS)
            about = f"webhook_events_filter must be one of the following: {allowed}"
            raise invalid([InvalidField("enum", "webhook_events_filter", about)])


def wait_seconds(request: AnyRequest) -> tuple[float, str] | None:
    """How long `Prefer` asks to hold the answer, and what to say of it in `preference-applied`."""
    prefer = request.headers.get("prefer", "").strip()
    if not prefer.startswith("wait"):
        return None
    match = _WAIT.fullmatch(prefer)
    if match is None:
        about = "must be wait or wait=n with n from 1 to 60"
        raise invalid([InvalidField("format", "Prefer", about)])
    return float(match[1] or _LONGEST_WAIT), prefer


def cancel_after(request: AnyRequest) -> timedelta | None:
    """The `Cancel-After` header: `30`, `30s`, `5m`, `1h30m45s`; at least five seconds."""
    text = request.headers.get("cancel-after", "").strip()
    if not text:
        return None
    match = _DURATION.fullmatch(text)
    hours, minutes, seconds = (int(part or 0) for part in match.groups()) if match else (0, 0, 0)
    duration = timedelta(hours=hours, minutes=minutes, seconds=seconds)
    if duration < _LEAST_DEADLINE:
        about = "must be a duration of at least 5 seconds, like 30s, 5m or 1h30m45s"
        raise invalid([InvalidField("format", "Cancel-After", about)])
    return duration
