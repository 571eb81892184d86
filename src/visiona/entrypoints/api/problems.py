"""Every failure as an RFC 9457 problem document with a stable code."""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, cast

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException

from visiona.core import errors
from visiona.ports.errors import ProviderError
from visiona.ports.storage import ObjectMissing
from visiona.vault.model import Unreadable

MEDIA_TYPE = "application/problem+json"

logger = logging.getLogger(__name__)

_STATUS: dict[type[errors.VisionaError], int] = {
    errors.Invalid: 422,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.PaymentRequired: 402,
    errors.TooLarge: 413,
    errors.TooMany: 429,
    errors.Unavailable: 503,
}

# What Litestar itself refuses, before any of our code runs.
_FRAMEWORK_CODES = {
    400: ("malformed_request", "The request body is not valid JSON."),
    401: ("not_authenticated", "Log in first."),
    404: ("not_found", "There is nothing at this address."),
    405: ("method_not_allowed", "This address does not take this method."),
    413: ("body_too_large", "The request body is larger than this address takes."),
    415: ("unsupported_media_type", "Send the body as application/json."),
}


class FieldProblem(msgspec.Struct):
    field: str
    code: str
    message: str


class Problem(msgspec.Struct, omit_defaults=True):
    """RFC 9457, with a stable `code`, and for input errors what is wrong with each field."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[FieldProblem] = []


def respond(
    status: int,
    code: str,
    detail: str,
    *,
    fields: list[FieldProblem] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response[bytes]:
    problem = Problem(
        type=f"urn:visiona:problem:{code}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        code=code,
        errors=fields or [],
    )
    return Response(
        msgspec.json.encode(problem),
        status_code=status,
        media_type=MEDIA_TYPE,
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


def on_visiona_error(_: Request[Any, Any, Any], error: errors.VisionaError) -> Response[bytes]:
    headers: dict[str, str] = {}
    if isinstance(error, errors.TooMany | errors.Unavailable):
        headers["Retry-After"] = str(max(1, error.retry_after))
    if isinstance(error, errors.Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    fields = [FieldProblem(e.field, e.code, e.message) for e in error.errors]
    return respond(_STATUS[type(error)], error.code, error.detail, fields=fields, headers=headers)


def on_validation_error(_: Request[Any, Any, Any], error: ValidationException) -> Response[bytes]:
    details = cast("list[dict[str, Any]]", error.extra if isinstance(error.extra, list) else [])
    fields = [_field_problem(entry) for entry in details]
    if fields and all(entry.get("source") == "path" for entry in details):
        return respond(404, *_FRAMEWORK_CODES[404])
    return respond(422, "invalid_input", "Some of the input cannot be used.", fields=fields)


def _field_problem(entry: dict[str, Any]) -> FieldProblem:
    message = str(entry.get("message", ""))
    field = str(entry.get("key", "")).removeprefix("data.")
    if message.startswith("Object contains unknown field"):
        name = message.split("`")[1]
        return FieldProblem(name, "unknown_field", "There is no such field.")
    if message.startswith("Object missing required field"):
        name = message.split("`")[1]
        return FieldProblem(name, "required", "This field is required.")
    if message == "'data'":
        return FieldProblem("", "required", "Send a JSON body.")
    return FieldProblem("" if field == "data" else field, "invalid_value", f"{message}.")


def on_http_exception(_: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    status = error.status_code
    code, detail = _FRAMEWORK_CODES.get(status, ("refused", HTTPStatus(status).phrase))
    headers = {name: value for name, value in (error.headers or {}).items() if name.lower() == "allow"}
    return respond(status, code, detail, headers=headers)


def on_unreadable(_: Request[Any, Any, Any], __: RecursionError | UnicodeDecodeError) -> Response[bytes]:
    return respond(400, *_FRAMEWORK_CODES[400])


def on_object_missing(_: Request[Any, Any, Any], __: ObjectMissing) -> Response[bytes]:
    return respond(404, *_FRAMEWORK_CODES[404])


def on_unreadable_object(_: Request[Any, Any, Any], error: Unreadable) -> Response[bytes]:
    logger.error("an object is damaged: %s", error)
    return respond(500, "object_damaged", "This file was damaged where it is kept, and is not shown.")


def on_provider_error(_: Request[Any, Any, Any], error: ProviderError) -> Response[bytes]:
    logger.warning("a provider failed during a request: %s", error.reason)
    return respond(
        503,
        "provider_unavailable",
        "A service that Visiona depends on does not answer. Try again shortly.",
        headers={"Retry-After": "5"},
    )


def on_unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    # The route and not the address: some have a secret in their path.
    route = request.scope.get("path_template", "no route")
    logger.error("unexpected error in %s %s", request.method, route, exc_info=error)
    return respond(500, "internal_error", "Something went wrong on our side. Try again; nothing was charged.")


HANDLERS: dict[int | type[Exception], Any] = {
    errors.VisionaError: on_visiona_error,
    ValidationException: on_validation_error,
    HTTPException: on_http_exception,
    ObjectMissing: on_object_missing,
    Unreadable: on_unreadable_object,
    RecursionError: on_unreadable,  # nested deeper than any reader goes
    UnicodeDecodeError: on_unreadable,
    ProviderError: on_provider_error,
    Exception: on_unexpected,
}
