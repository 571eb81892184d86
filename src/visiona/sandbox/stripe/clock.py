"""The sandbox's time: real time moved forward by an offset, or a test clock's frozen time."""

import time
from typing import Final

from visiona.sandbox.stripe.store import Store

_KIND: Final = "_sandbox.clock"
_ID: Final = "clock"


class Clock:
    """The offset is kept in the store, so that a restart does not turn time back."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def now(self, test_clock: str | None = None) -> int:
        """Unix seconds; with the id of a test clock, the time at which it stands."""
        if test_clock is not None:
            return int(self._store.get("test_helpers.test_clock", test_clock)["frozen_time"])
        return int(time.time()) + self.offset

    @property
    def offset(self) -> int:
        """Seconds by which the sandbox is ahead of real time."""
        kept = self._store.find(_KIND, _ID)
        return 0 if kept is None else int(kept["offset"])

    def advance(self, seconds: int) -> None:
        """Move time forward for everything without a test clock. What is due is not run here."""
        if seconds < 0:
            raise ValueError("time does not run backwards")
        self._store.put({"object": _KIND, "id": _ID, "offset": self.offset + seconds})
