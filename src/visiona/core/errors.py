"""Errors that a caller can act on.

A room raises one of these kinds with a stable `code`; entrypoints turn the kind into an HTTP
status or an exit status. `detail` is shown to people: it says what happened and what to do next,
and never carries a secret, a prompt or an address.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one input; `field` is its path in the request (`photo_ids[2]`)."""

    field: str
    code: str
    message: str


class VisionaError(Exception):
    """Base of all expected failures."""

    def __init__(self, code: str, detail: str, *, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.errors = tuple(errors)


class Invalid(VisionaError):
    """The input cannot be accepted as it is."""


class NotFound(VisionaError):
    """No such thing for this caller; another owner's thing is not distinguishable."""


class Conflict(VisionaError):
    """The thing is in a state that does not allow this."""


class Unauthenticated(VisionaError):
    """Nobody is signed in, or the proof is wrong, expired or revoked."""


class Forbidden(VisionaError):
    """Signed in, but this is not allowed."""


class PaymentRequired(VisionaError):
    """The plan does not cover this."""


class TooLarge(VisionaError):
    """More bytes than are accepted."""


class TooMany(VisionaError):
    """A limit in time was reached; `retry_after` is in whole seconds."""

    def __init__(self, code: str, detail: str, *, retry_after: int) -> None:
        super().__init__(code, detail)
        self.retry_after = retry_after


class Unavailable(VisionaError):
    """Something that Visiona depends on does not answer; `retry_after` is in whole seconds."""

    def __init__(self, code: str, detail: str, *, retry_after: int = 5) -> None:
        super().__init__(code, detail)
        self.retry_after = retry_after
