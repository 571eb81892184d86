"""Refusals, in the provider's words and shape (RFC 7807 with its own extensions)."""

from collections.abc import Sequence
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException

PROBLEM_JSON = "application/problem+json"


class InvalidField(msgspec.Struct, frozen=True):
    """One refused field; `type` is the validator's name for the rule (`enum`, `required`, ...)."""

    type: str
    field: str
    description: str


class Problem(Exception):
    """An answer that is not a success."""

    def __init__(self, status: int, detail: str, *, title: str | None = None, **extra: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.body: dict[str, Any] = ({"title": title} if title else {}) | {
            "detail": detail,
            "status": status,
            **extra,
        }


def unauthenticated(*, passed: bool) -> Problem:
    kind = "a valid authentication" if passed else "an authentication"
    return Problem(401, f"You did not pass {kind} token", title="Unauthenticated")


def not_found(detail: str = "The requested resource could not be found.") -> Problem:
    return Problem(404, detail, title="Not Found")


def invalid(fields: Sequence[InvalidField]) -> Problem:
    """422 for input that breaks a schema; the detail lists one line for each field."""
    detail = "".join(f"- {field.field}: {field.description}\n" for field in fields)
    return Problem(422, detail, title="Input validation failed", invalid_fields=list(fields))


def invalid_version() -> Problem:
    return Problem(
        422,
        "The specified version does not exist (or perhaps you don't have permission to use it?)",
        title="Invalid version or not permitted",
    )


def throttled(retry_after: int | None, resets_in: int) -> Problem:
    extra: dict[str, Any] = {} if retry_after is None else {"retry_after": retry_after}
    return Problem(429, f"Request was throttled. Your rate limit resets in ~{resets_in}s.", **extra)


def answer_problem(_: Request[Any, Any, Any], problem: Problem) -> Response[bytes]:
    return Response(msgspec.json.encode(problem.body), status_code=problem.status, media_type=PROBLEM_JSON)


def answer_framework(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """Litestar's own refusals (no such route, wrong method, body too large) in the same shape."""
    if error.status_code == 404:
        return answer_problem(request, not_found())
    return answer_problem(request, Problem(error.status_code, error.detail))
