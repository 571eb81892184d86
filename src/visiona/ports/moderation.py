"""A service that says what is wrong with a text."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Moderation:
    """`categories` are those that apply, as the service names them: `sexual/minors`, `hate`."""

    categories: frozenset[str]


class ModerationUnavailable(Exception):
    """The service did not judge; `reason` is a safe word such as `timeout`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Moderator(Protocol):
    async def moderate(self, text: str) -> Moderation:
        """Raises `ModerationUnavailable`."""
        ...
