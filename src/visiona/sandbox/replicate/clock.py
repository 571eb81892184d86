"""A clock that tests can push forward, speed up or stop."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta


class SandboxClock:
    """Runs `scale` times as fast as the real one from an instant that `advance` moves.

    All of the sandbox's durations (jobs, retries, expiry) pass on this clock. Only webhook timestamps
    are real time, because receivers compare them with their own clocks.
    """

    def __init__(self) -> None:
        self._scale = 1.0
        self._base = self._real = datetime.now(UTC)
        self._changed = asyncio.Event()

    @property
    def scale(self) -> float:
        return self._scale

    def now(self) -> datetime:
        return self._base + (datetime.now(UTC) - self._real) * self._scale

    def advance(self, seconds: float) -> None:
        self._restart(self.now() + timedelta(seconds=seconds), self._scale)

    def set_scale(self, scale: float) -> None:
        """0 stops time."""
        self._restart(self.now(), scale)

    async def sleep(self, seconds: float) -> None:
        await self.sleep_until(self.now() + timedelta(seconds=seconds))

    async def sleep_until(self, instant: datetime) -> None:
        while (left := (instant - self.now()).total_seconds()) > 0:
            changed = self._changed
            with suppress(TimeoutError):
                async with asyncio.timeout(left / self._scale if self._scale else None):
                    await changed.wait()

    def _restart(self, base: datetime, scale: float) -> None:
        self._base, self._real, self._scale = base, datetime.now(UTC), scale
        self._changed.set()
        self._changed = asyncio.Event()
