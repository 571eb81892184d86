"""What went wrong, in the ports' words.

Clerk has no idempotency keys: a POST whose answer was lost may have had its effect, and is
`OutcomeUnknown`. A refusal is Clerk's only where the body says so in Clerk's own form: a 404 of a proxy
must not look as if somebody had been deleted.

Reasons name codes and parameters of Clerk's, never its sentences: those quote addresses.
"""

import functools
import re

import httpx
import msgspec

from visiona.adapters import http
from visiona.adapters.http import RATE_LIMITED, SERVER_ERROR, UNUSABLE_ANSWER, told_pause
from visiona.ports.errors import ProviderError, ProviderRejected, ProviderUnavailable

PROVIDER = "clerk"
MESSAGE = "The sign-in service refused this request."

_TOKEN = re.compile(r"[A-Za-z0-9_\[\].]{1,100}")
_TRACE_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
_MAX_SENTENCE = 300

lost = functools.partial(http.lost, PROVIDER)
from_transport = functools.partial(http.from_transport, PROVIDER)


class Meta(msgspec.Struct):
    param_name: str | None = None


class Problem(msgspec.Struct):
    code: str
    message: str = ""
    long_message: str = ""
    meta: Meta | None = None

    @property
    def parameter(self) -> str:
        return (self.meta.param_name if self.meta else None) or ""

    @property
    def sentence(self) -> str:
        """Fit to show to the person whose request it was: one line, not too long."""
        words = " ".join((self.long_message or self.message).split())
        return "".join(character for character in words if character.isprintable())[:_MAX_SENTENCE] or MESSAGE


class _Problems(msgspec.Struct):
    errors: list[Problem]
    clerk_trace_id: str = ""


class Refused(ProviderRejected):
    """An answer of 4xx in Clerk's own form; `problems` are never empty."""

    def __init__(self, status: int, problems: list[Problem]) -> None:
        super().__init__(PROVIDER, _reason(status, problems[0]), status=status, message=MESSAGE)
        self.problems = problems

    def has(self, *codes: str) -> bool:
        return any(problem.code in codes for problem in self.problems)

    @property
    def names_nothing(self) -> bool:
        """Whether what the request named is not there."""
        return self.status == 404 and self.has("resource_not_found")


def from_status(status: int, headers: httpx.Headers, body: bytes, *, repeatable: bool) -> ProviderError:
    """An answer other than 2xx. `body` may be empty or anything at all."""
    if status == 429:  # before anything else was done; also where a proxy says it
        return ProviderUnavailable(PROVIDER, RATE_LIMITED, retry_after=told_pause(headers.get("retry-after")))
    if status >= 500 or status == 408:
        failure = lost(SERVER_ERROR, repeatable=repeatable)
        if isinstance(failure, ProviderUnavailable):
            failure.retry_after = told_pause(headers.get("retry-after"))
        return failure
    problems = _problems(body)
    if status < 400 or problems is None:
        return lost(UNUSABLE_ANSWER, repeatable=repeatable)
    return Refused(status, problems.errors)


def trace_id_in(body: bytes) -> str:
    """The number by which Clerk finds the request in its log; empty where there is none."""
    problems = _problems(body)
    found = problems.clerk_trace_id if problems else ""
    return found if _TRACE_ID.fullmatch(found) else ""


def _problems(body: bytes) -> _Problems | None:
    try:
        problems = msgspec.json.decode(body, type=_Problems)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    return problems if problems.errors else None


def _reason(status: int, problem: Problem) -> str:
    """Such as `form_param_unknown (nickname)`."""
    if status == 401:
        return "the secret key is not accepted"
    words = [word for word in (problem.code, problem.parameter) if _TOKEN.fullmatch(word)]
    match words:
        case [code, parameter]:
            return f"{code} ({parameter})"
        case [code]:
            return code
        case _:
            return f"refused_{status}"
