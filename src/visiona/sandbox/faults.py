"""What the sandboxes of Clerk and Stripe can be told to do wrong.

`POST /_sandbox/faults` takes one fault or a list of them as JSON; they are used up in order. `GET` shows
those that are left, `DELETE` removes all. Every fault has a `fault` (its kind) and may have `times`: how
often it strikes (1 unless given, `null` for ever), and `skip`: how many chances it lets pass first.

Faults of answers strike API requests whose method and path match `method` (default any) and `path` (a
glob, default `/v1/*`; `*` is every path of the API), one fault for each request.

| fault | what happens | parameters |
|---|---|---|
| `rate_limit` | 429, no effect | `seconds` (1; of `Retry-After`, where the service sends one) |
| `server_error` | an error document, no effect | `status` (500) |
| `html_502` | a proxy's page, no effect | `status` (502) |
| `connection_drop` | the connection ends without a byte, no effect | |
| `lost_answer` | the request takes effect, then as `html_502`, or with `drop` as `connection_drop` | |
| `truncated_json` | the request takes effect; the answer is cut in half | |
| `wrong_shape` | the request takes effect; the answer is JSON of another shape | |
| `slow` | the real answer, late | `seconds` (5), `when` (`before` or `after` the effect; `before`) |
| `hang` | no answer for `seconds` (600), then `connection_drop` | `when` (`before`) |

Faults of webhooks strike the next deliveries, or with `events` (globs) only those of these types.

| fault | what happens | parameters |
|---|---|---|
| `drop_webhooks` | never sent, not even tried again | |
| `duplicate_webhooks` | sent `copies` more times | `copies` (1) |
| `delay_webhooks` | sent `seconds` late | `seconds` (2) |
| `reorder_webhooks` | all webhooks that wait come newest first, one after the other | |
| `forge_webhooks` | signed with another key | |
| `stale_webhooks` | signed with a time `seconds` in the past | `seconds` (600) |
"""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Annotated, Final, Generic, Literal, TypeVar, cast, get_args

import msgspec

AnswerFault = Literal[
    "rate_limit",
    "server_error",
    "html_502",
    "connection_drop",
    "lost_answer",
    "truncated_json",
    "wrong_shape",
    "slow",
    "hang",
]
WebhookFault = Literal[
    "drop_webhooks",
    "duplicate_webhooks",
    "delay_webhooks",
    "reorder_webhooks",
    "forge_webhooks",
    "stale_webhooks",
]

_Count = Annotated[int, msgspec.Meta(ge=1)]
_Seconds = Annotated[float, msgspec.Meta(ge=0)]
_Status = Annotated[int, msgspec.Meta(ge=400, le=599)]

_ANSWERS: Final = cast("tuple[str, ...]", get_args(AnswerFault))


class Fault(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One thing to go wrong; the module's docstring says which parameters mean what."""

    fault: AnswerFault | WebhookFault
    times: _Count | None = 1
    skip: Annotated[int, msgspec.Meta(ge=0)] = 0
    method: str | None = None
    path: str = "/v1/*"
    seconds: _Seconds | None = None
    when: Literal["before", "after"] = "before"
    status: _Status | None = None
    drop: bool = False
    events: list[str] | None = None
    copies: _Count = 1

    def fits_request(self, method: str, path: str) -> bool:
        return self.fault in _ANSWERS and self.method in {None, "*", method} and fnmatchcase(path, self.path)

    def fits_webhook(self, event_type: str) -> bool:
        if self.fault in _ANSWERS:
            return False
        return self.events is None or any(fnmatchcase(event_type, glob) for glob in self.events)


AnyFault = TypeVar("AnyFault", bound=Fault)


class FaultBook(Generic[AnyFault]):
    """Faults that wait to strike, in the order in which they were given."""

    def __init__(self) -> None:
        self.waiting: list[AnyFault] = []

    def add(self, faults: Iterable[AnyFault]) -> None:
        self.waiting.extend(faults)

    def clear(self) -> None:
        self.waiting.clear()

    def for_request(self, method: str, path: str) -> AnyFault | None:
        """The fault that this request runs into, if any."""
        for fault in self.waiting:
            if fault.fits_request(method, path) and self._strikes(fault):
                return fault
        return None

    def for_webhook(self, event_type: str) -> dict[str, AnyFault]:
        """Every fault that strikes this delivery, by its kind."""
        struck: dict[str, AnyFault] = {}
        for fault in list(self.waiting):
            if fault.fault not in struck and fault.fits_webhook(event_type) and self._strikes(fault):
                struck[fault.fault] = fault
        return struck

    def _strikes(self, fault: AnyFault) -> bool:
        if fault.skip > 0:
            fault.skip -= 1
            return False
        if fault.times is not None:
            fault.times -= 1
            if fault.times <= 0:
                self.waiting.remove(fault)
        return True
