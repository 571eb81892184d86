"""The sandbox's time: real time moved forward by an offset.

Sessions, tickets and records live by it. Tokens and webhooks are dated by real time (`real_seconds`),
because whoever receives them compares them with a clock of their own.
"""

import time
from typing import Final

from visiona.sandbox.clerk.store import Store

_KIND: Final = "_clock"


class Clock:
    """The offset is kept in the store, so that a restart does not turn time back."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def now(self) -> int:
        """Unix milliseconds."""
        return int(time.time() * 1000) + self.offset * 1000

    @property
    def offset(self) -> int:
        """Seconds by which the sandbox is ahead of real time."""
        kept = self._store.find(_KIND, "clock")
        return 0 if kept is None else int(kept["offset"])

    def advance(self, seconds: int) -> None:
        self._store.put(_KIND, {"id": "clock", "offset": self.offset + seconds})


def real_seconds() -> int:
    """Unix seconds, never moved."""
    return int(time.time())
