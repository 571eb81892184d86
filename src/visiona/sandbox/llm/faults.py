"""Faults on request: what the next calls to a provider will run into."""

import asyncio
import math
from collections import deque
from dataclasses import dataclass
from typing import Any, Final, Literal, cast, get_args

from visiona.sandbox.llm.checks import Field, FieldProblem, JsonObject, check_object

Provider = Literal["openai", "anthropic"]

BeforeAnswer = Literal[
    "latency",
    "rate_limit",
    "insufficient_quota",
    "server_error",
    "overloaded",
    "html_502",
    "wrong_content_type",
    "connection_drop",
]
InAnswer = Literal[
    "refusal",
    "content_filter",
    "incomplete",
    "invalid_json",
    "reasoning_first",
    "empty",
    "wrong_shape",
    "drop_trigger",
    "markdown",
    "long_text",
    "control_characters",
    "leak_instructions",
    "says",
]
FaultKind = BeforeAnswer | InAnswer
FAULTS: Final = cast("tuple[FaultKind, ...]", get_args(BeforeAnswer) + get_args(InAnswer))
PROVIDERS: Final[tuple[Provider, ...]] = get_args(Provider)

MODERATION: Final = "moderations"
"""Its faults are asked for by name, so that those of the models do not strike there."""

_FIELDS: Final = {
    "provider": Field(("string",), required=True, choices=PROVIDERS),
    "fault": Field(("string",), required=True, choices=FAULTS),
    "times": Field(("integer",), minimum=1),
    "until_reset": Field(("boolean",)),
    "latency_s": Field(("number",), minimum=0, maximum=600),
    "retry_after": Field(("number",), minimum=0),
    "text": Field(("string",)),
    "endpoint": Field(("string",), choices=(MODERATION,)),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault; any of them may also be slow."""

    kind: FaultKind
    latency_s: float = 0.0
    retry_after: float | None = None
    text: str = ""
    """What the model says, word for word, whatever it was asked: for `says`."""
    moderation: bool = False

    async def delay(self) -> None:
        if self.latency_s:
            await asyncio.sleep(self.latency_s)

    def retry_headers(self) -> dict[str, str]:
        """Whole seconds as providers send them; a fraction as well in the SDKs' own header."""
        if self.retry_after is None:
            return {}
        headers = {"retry-after": str(math.ceil(self.retry_after))}
        if self.retry_after % 1:
            headers["retry-after-ms"] = str(int(self.retry_after * 1000))
        return headers


class FaultPlan:
    """Faults waiting per provider, in the order in which they were asked for."""

    def __init__(self) -> None:
        self._waiting: dict[Provider, deque[tuple[Fault, float]]] = {name: deque() for name in PROVIDERS}

    def add(self, wish: JsonObject) -> None:
        """Queue what `POST /_sandbox/faults` asked for. Raises `FieldProblem`."""
        check_object(wish, _FIELDS)
        until_reset: bool = wish.get("until_reset") or False
        if until_reset and wish.get("times") is not None:
            raise FieldProblem("times", "value", "give either times or until_reset")
        if (wish["fault"] == "says") != (wish.get("text") is not None):
            raise FieldProblem("text", "value", "what the model says goes with `says`, and with nothing else")
        fault = Fault(
            wish["fault"],
            float(wish.get("latency_s") or 0.0),
            wish.get("retry_after"),
            wish.get("text") or "",
            moderation=wish.get("endpoint") == MODERATION,
        )
        times = math.inf if until_reset else wish.get("times") or 1
        self._waiting[wish["provider"]].append((fault, times))

    def take(self, provider: Provider, endpoint: str) -> Fault | None:
        """The fault of this call, if one is waiting; one use of it is spent."""
        waiting = self._waiting[provider]
        for index, (fault, times) in enumerate(waiting):
            if fault.moderation == (endpoint == MODERATION):
                if times > 1:
                    waiting[index] = (fault, times - 1)
                else:
                    del waiting[index]
                return fault
        return None

    def clear(self) -> None:
        for waiting in self._waiting.values():
            waiting.clear()

    def pending(self) -> dict[str, list[dict[str, Any]]]:
        """For `GET /_sandbox/state`; `times` is null for a fault that stays until the reset."""
        return {
            provider: [
                {"fault": fault.kind, "times": None if times == math.inf else times}
                for fault, times in waiting
            ]
            for provider, waiting in self._waiting.items()
        }
