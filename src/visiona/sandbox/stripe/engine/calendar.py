"""Billing periods: boundaries counted from an anchor, clipped at the end of short months, in UTC."""

import calendar
from datetime import UTC, datetime
from typing import Any, Final

DAY_S: Final = 24 * 3600
_SECONDS: Final = {"day": DAY_S, "week": 7 * DAY_S}
_MONTHS: Final = {"month": 1, "year": 12}
_TYPICAL_DAYS: Final = {"day": 1, "week": 7, "month": 30, "year": 365}


def boundary(anchor: int, interval: str, steps: int) -> int:
    """The moment `steps` intervals after `anchor` (before it, if negative).

    Always counted from the anchor, so that the 31st is found again after a February.
    """
    if interval in _SECONDS:
        return anchor + steps * _SECONDS[interval]
    start = datetime.fromtimestamp(anchor, UTC)
    months = start.year * 12 + start.month - 1 + steps * _MONTHS[interval]
    year, month = divmod(months, 12)
    day = min(start.day, calendar.monthrange(year, month + 1)[1])
    return int(start.replace(year=year, month=month + 1, day=day).timestamp())


def next_boundary(anchor: int, interval: str, interval_count: int, after: int) -> int:
    """The first boundary later than `after`; the anchor itself counts as one."""
    step = _steps_until(anchor, interval, after) // interval_count - 1
    while (found := boundary(anchor, interval, step * interval_count)) <= after:
        step += 1
    return found


def previous_boundary(anchor: int, interval: str, interval_count: int, before: int) -> int:
    """The last boundary earlier than `before`."""
    step = _steps_until(anchor, interval, before) // interval_count + 1
    while (found := boundary(anchor, interval, step * interval_count)) >= before:
        step -= 1
    return found


def typical_days(recurring: dict[str, Any]) -> int:
    """How long an interval is, for comparing two."""
    return _TYPICAL_DAYS[recurring["interval"]] * int(recurring["interval_count"])


def _steps_until(anchor: int, interval: str, moment: int) -> int:
    if interval in _SECONDS:
        return (moment - anchor) // _SECONDS[interval]
    start, end = datetime.fromtimestamp(anchor, UTC), datetime.fromtimestamp(moment, UTC)
    return ((end.year - start.year) * 12 + end.month - start.month) // _MONTHS[interval]


def spoken_date(moment: int) -> str:
    """`05 Jan 2026`, as invoice lines say it."""
    return datetime.fromtimestamp(moment, UTC).strftime("%d %b %Y")
