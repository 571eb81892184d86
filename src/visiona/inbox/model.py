"""A provider's message, reduced to what is needed to ask the provider itself. Pure."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Receipt:
    """`topic` selects the handler; `reference` holds ids only, never prompts, links or addresses."""

    provider: str
    external_id: str
    topic: str
    reference: Mapping[str, Any]


Handler = Callable[[Mapping[str, Any]], Awaitable[None]]
