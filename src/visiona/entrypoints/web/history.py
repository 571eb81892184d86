"""The ledger of a person's quotas, in words. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from visiona.billing.model import Catalogue, LedgerEntry, Resource
from visiona.entrypoints.web.wording import counted

_SHRINKING: Final = frozenset({"plan", "take_back", "end"})


@dataclass(frozen=True, slots=True)
class HistoryLine:
    at: datetime
    text: str


def history(
    entries: Sequence[LedgerEntry], catalogue: Catalogue, now: datetime, limit: int
) -> list[HistoryLine]:
    """The newest `limit` lines of a ledger, newest first. Give some entries more than that: what came of
    a reservation is told by two of them together.

    What was put on record for a period to come happens when that begins.
    """
    begun = [(_happened(entry), entry.id, entry) for entry in entries if _happened(entry) <= now]
    lines: list[HistoryLine] = []
    reserved: dict[tuple[Resource, datetime, str], int] = {}
    for at, _, entry in sorted(begun, key=lambda one: one[:2]):
        key = (entry.resource, entry.period_start, entry.reference)
        if entry.entry == "reserve":
            reserved[key] = -entry.amount
        elif entry.entry in _SHRINKING and entry.amount < 0:
            # What is given back counts no more where the limit has fallen below it.
            reserved = {one: n for one, n in reserved.items() if one[:2] != key[:2]}
        if entry.entry == "settle":
            lines.append(HistoryLine(at, _outcome(entry, reserved.pop(key, None))))
        elif entry.amount:
            lines.append(HistoryLine(at, _WORDS[entry.entry](entry, _plan(entry, catalogue))))
    return lines[::-1][:limit]


def _happened(entry: LedgerEntry) -> datetime:
    return max(entry.created_at, entry.period_start)


def _plan(entry: LedgerEntry, catalogue: Catalogue) -> str:
    return catalogue.find(entry.plan).title if entry.plan else "your plan"


def _change(entry: LedgerEntry) -> str:
    """`+1,000 images`."""
    return f"{'+' if entry.amount > 0 else '-'}{counted(abs(entry.amount), entry.resource)}"


def _outcome(entry: LedgerEntry, reserved: int | None) -> str:
    """What came of a reservation; `reserved` is how much it was, where that is known."""
    back = entry.amount
    if reserved is None:
        return (
            f"{counted(back, entry.resource)} given back"
            if back
            else f"{entry.resource.capitalize()} delivered"
        )
    done = "trained" if entry.resource is Resource.CLONES else "delivered"
    if not back:
        return f"{counted(reserved, entry.resource)} {done}"
    if back >= reserved:
        return f"{counted(back, entry.resource)} not {done} and given back"
    return f"{reserved - back:,} of {counted(reserved, entry.resource)} {done}, {back:,} given back"


_WORDS: Final[dict[str, Callable[[LedgerEntry, str], str]]] = {
    "opening": lambda entry, _: f"{_change(entry)} left when counting began",
    "calendar": lambda entry, plan: f"{_change(entry)} for the month with {plan}",
    "plan": lambda entry, plan: f"{_change(entry)}, as {plan} allows",
    "grant": lambda entry, plan: f"{_change(entry)} granted by {plan}",
    "take_back": lambda entry, plan: f"{_change(entry)} taken back from {plan}",
    "end": lambda entry, plan: f"{_change(entry)}, because {plan} ended",
    "reserve": lambda entry, _: f"{_change(entry)} set aside",
}
