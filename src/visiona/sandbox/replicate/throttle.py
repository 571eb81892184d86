"""Rate limits: so many requests in any stretch of a minute, counted by token buckets."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(slots=True)
class _Bucket:
    per_minute: int
    level: float
    filled_at: datetime

    def refill(self, now: datetime) -> None:
        gained = (now - self.filled_at).total_seconds() * self.per_minute / 60
        self.level = min(float(self.per_minute), self.level + max(0.0, gained))
        self.filled_at = now


class Throttle:
    """One bucket for creating predictions, one for everything else."""

    def __init__(self, predictions: int, others: int, now: datetime) -> None:
        self._predictions = _Bucket(predictions, predictions, now)
        self._others = _Bucket(others, others, now)

    def admit(self, now: datetime, *, prediction: bool) -> tuple[bool, int]:
        """Whether one more request is within the limit, and how many would still be."""
        bucket = self._predictions if prediction else self._others
        bucket.refill(now)
        if bucket.level < 1.0:
            return False, 0
        bucket.level -= 1.0
        return True, int(bucket.level)
