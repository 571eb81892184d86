"""What the sandbox can be told to do wrong.

`POST /_sandbox/faults` takes one fault or a list of them as JSON; they are used up in order. `GET` shows
those that are left, `DELETE` removes all. Every fault has a `fault` (its kind) and may have `times`: how
often it strikes (1 unless given, `null` for ever), `skip`: how many chances it lets pass first, and `to`:
a glob of the recipients it is for (default `*`).

| fault | what happens | parameters |
|---|---|---|
| `refuse_recipient` | 550 to the recipient: there is no such address | |
| `temporary_failure` | 451, no effect | `at` (`recipient`, or `data`: after the mail) |
| `drop_after_data` | the connection ends without an answer to the mail | `kept` (true: it arrived) |
| `hang` | no answer to the mail for `seconds` (600), then the connection ends | `kept` (true) |
| `slow` | the real answer to the mail, late | `seconds` (5) |
"""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Annotated, Literal

import msgspec

Stage = Literal["recipient", "data"]


class Fault(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One thing to go wrong; the module's docstring says which parameters mean what."""

    fault: Literal["refuse_recipient", "temporary_failure", "drop_after_data", "hang", "slow"]
    times: Annotated[int, msgspec.Meta(ge=1)] | None = 1
    skip: Annotated[int, msgspec.Meta(ge=0)] = 0
    to: str = "*"
    at: Stage = "recipient"
    kept: bool = True
    seconds: Annotated[float, msgspec.Meta(ge=0, le=3600)] | None = None

    def stage(self) -> Stage:
        if self.fault == "temporary_failure":
            return self.at
        return "recipient" if self.fault == "refuse_recipient" else "data"

    def wait_s(self, default: float) -> float:
        return default if self.seconds is None else self.seconds


class FaultBook:
    """Faults that wait to strike, in the order in which they were given."""

    def __init__(self) -> None:
        self.waiting: list[Fault] = []

    def add(self, faults: Iterable[Fault]) -> None:
        self.waiting.extend(faults)

    def clear(self) -> None:
        self.waiting.clear()

    def strike(self, stage: Stage, recipients: Sequence[str]) -> Fault | None:
        """The fault that a mail to these runs into at this stage, if any."""
        for fault in self.waiting:
            fits = any(fnmatchcase(one.casefold(), fault.to.casefold()) for one in recipients)
            if fault.stage() == stage and fits and self._strikes(fault):
                return fault
        return None

    def _strikes(self, fault: Fault) -> bool:
        if fault.skip > 0:
            fault.skip -= 1
            return False
        if fault.times is not None:
            fault.times -= 1
            if fault.times <= 0:
                self.waiting.remove(fault)
        return True
