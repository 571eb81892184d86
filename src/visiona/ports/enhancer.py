"""Rewriting a prompt by a language model."""

from dataclasses import dataclass, field
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True)
class EnhancementRequest:
    """`user_ref` is an opaque, stable reference for the provider's abuse tracking, never an address."""

    prompt: str = field(repr=False)
    trigger_word: str = field(repr=False)
    user_ref: str


class EnhancementFailed(Exception):
    """One provider did not give a usable text; `reason` is a safe word such as `timeout`."""

    def __init__(
        self, provider: str, reason: Literal["timeout", "unavailable", "rejected", "refused", "unusable"]
    ) -> None:
        super().__init__(f"{provider}: {reason}")
        self.provider = provider
        self.reason = reason


class PromptWriter(Protocol):
    """One provider's model."""

    name: str

    async def write(self, request: EnhancementRequest) -> str:
        """The rewritten prompt, plain text. Raises `EnhancementFailed`."""
        ...


@dataclass(frozen=True, slots=True)
class Enhancement:
    """What came of asking: `text` is None unless the outcome is `enhanced`.

    `refused` means that a model declined, `unavailable` that none gave a usable text in time,
    `off` that none is configured.
    """

    outcome: Literal["enhanced", "refused", "unavailable", "off"]
    provider: str | None = None
    text: str | None = field(default=None, repr=False)


class Enhancer(Protocol):
    async def enhance(self, request: EnhancementRequest) -> Enhancement:
        """Ask the configured writers in turn, in bounded time. Never raises for a provider's fault."""
        ...
