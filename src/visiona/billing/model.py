"""Plans, periods and quotas. Pure."""

import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from importlib import resources

from visiona.core.errors import PaymentRequired


class Resource(StrEnum):
    """What is counted; one clone is one finished training, one image one delivered picture."""

    IMAGES = "images"
    CLONES = "clones"


@dataclass(frozen=True, slots=True)
class Plan:
    """Limits are per period."""

    name: str
    title: str
    images: int
    clones: int


FREE = "free"


@cache
def plans() -> dict[str, Plan]:
    """The plans of plans.toml by name."""
    text = (resources.files("visiona.billing") / "plans.toml").read_text(encoding="utf-8")
    return {name: Plan(name=name, **values) for name, values in tomllib.loads(text).items()}


@dataclass(frozen=True, slots=True)
class Period:
    """From `start` up to, not including, `end`."""

    start: datetime
    end: datetime


def calendar_period(now: datetime) -> Period:
    """The calendar month, in UTC, that holds `now`."""
    start = now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    year, month = (start.year + 1, 1) if start.month == 12 else (start.year, start.month + 1)
    return Period(start, start.replace(year=year, month=month))


@dataclass(frozen=True, slots=True)
class Use:
    """`used` counts what was delivered and what is set aside for work in progress."""

    used: int
    limit: int


@dataclass(frozen=True, slots=True)
class Quota:
    plan: Plan
    images: Use
    clones: Use
    period: Period


class QuotaInvariantError(RuntimeError):
    """A settlement did not meet its reservation: a programming error, never silently repaired."""


def quota_exhausted(resource: Resource, period: Period) -> PaymentRequired:
    """The refusal when a plan's limit is reached."""
    renewal = f"{period.end:%d %B}"
    return PaymentRequired(
        "quota_exhausted",
        f"Your plan's {resource.value} for this month are used up. They renew on {renewal}; "
        "a larger plan gives you more now.",
    )
