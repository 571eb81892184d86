"""Errors as Clerk words them."""

import secrets
from typing import Any


class ClerkError(Exception):
    """An answer that is not a success.

    What a request changed before it raised one is taken back, unless `keeps`: a wrong password counts.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        long_message: str | None = None,
        *,
        param: str | None = None,
        keeps: bool = False,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.long_message = long_message or message
        self.param = param
        self.keeps = keeps
        self.retry_after = retry_after

    def body(self) -> dict[str, Any]:
        """The JSON document."""
        meta = {"meta": {"param_name": self.param}} if self.param else {}
        error = {"message": self.message, "long_message": self.long_message, "code": self.code, **meta}
        return {"errors": [error], "clerk_trace_id": secrets.token_hex(16)}


def refused(code: str, message: str, long_message: str, *, param: str | None = None) -> ClerkError:
    """422: a parameter cannot be taken as it is."""
    return ClerkError(422, code, message, long_message, param=param)


def bad_request(code: str, message: str, long_message: str | None = None) -> ClerkError:
    return ClerkError(400, code, message, long_message)


def not_found(what: str, id: str | None = None) -> ClerkError:  # noqa: A002 - as on the wire
    """404; `what` is a word like `User`."""
    if what == "User":
        return ClerkError(404, "resource_not_found", "not found", f"No user was found with id {id}")
    known = f"No {what.lower()} was found with id {id}" if id else f"{what} not found"
    return ClerkError(404, "resource_not_found", f"{what} not found", known)


def unknown_param(name: str) -> ClerkError:
    long_message = f"{name} is not a valid parameter for this request."
    return refused("form_param_unknown", "is unknown", long_message, param=name)


def missing_param(name: str) -> ClerkError:
    return refused("form_param_missing", "is missing", f"{name} must be included.", param=name)


def invalid_format(name: str, must: str) -> ClerkError:
    """`must` ends the sentence that begins with the parameter's name: `must be an email address`."""
    return refused("form_param_format_invalid", "is invalid", f"{name} {must}.", param=name)


def invalid_value(name: str, value: object) -> ClerkError:
    long_message = f"{value} does not match one of the allowed values for parameter {name}"
    return refused("form_param_value_invalid", "is invalid", long_message, param=name)


def unauthenticated() -> ClerkError:
    return ClerkError(
        401,
        "authentication_invalid",
        "Invalid authentication",
        "Unable to authenticate the request, you need to supply an active session",
    )
