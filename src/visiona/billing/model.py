"""Plans, periods and quotas. Pure."""

import math
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from importlib import resources
from typing import Annotated

import msgspec

from visiona.core.errors import PaymentRequired
from visiona.core.money import decimals, smallest_units
from visiona.ports.payments import Interval

DAYS_OF_A_MONTH = 30
"""The yardstick for parts of a month's limits; months themselves are the calendar's."""
MAX_AMOUNT = 99_999_999
"""The largest price that Stripe takes, in the currency's smallest unit."""


class Resource(StrEnum):
    """What is counted; one clone is one finished training, one image one delivered picture."""

    IMAGES = "images"
    CLONES = "clones"


# Plans


class PlanFileError(ValueError):
    """The plan file cannot be used; the message says what is wrong with it."""


class Price(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`amount` is in the currency's own units ("39.00")."""

    interval: Interval
    amount: Decimal
    lookup_key: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.-]{1,200}$")]


class _PlanEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    title: Annotated[str, msgspec.Meta(min_length=1, max_length=60)]
    images: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
    clones: Annotated[int, msgspec.Meta(ge=0, le=100_000)]
    summary: str = ""
    features: tuple[str, ...] = ()
    prices: tuple[Price, ...] = ()
    trial_days: Annotated[int, msgspec.Meta(ge=0, le=365)] = 0
    offered: bool = True


class _PlanFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    currency: Annotated[str, msgspec.Meta(pattern="^[a-z]{3}$")]
    plans: dict[Annotated[str, msgspec.Meta(pattern="^[a-z][a-z0-9_-]{0,39}$")], _PlanEntry]
    grace_days: Annotated[int, msgspec.Meta(ge=0, le=60)] = 7


@dataclass(frozen=True, slots=True)
class Plan:
    """Limits are per month. Without prices it is not for sale."""

    name: str
    title: str
    images: int
    clones: int
    summary: str = ""
    features: tuple[str, ...] = ()
    prices: tuple[Price, ...] = ()
    trial_days: int = 0
    offered: bool = True

    def limit(self, resource: Resource) -> int:
        return self.images if resource is Resource.IMAGES else self.clones

    def price(self, interval: Interval) -> Price | None:
        return next((price for price in self.prices if price.interval == interval), None)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All plans, from the smallest to the largest; `base` names the one of everybody who pays nothing."""

    plans: Mapping[str, Plan]
    base: str
    currency: str
    grace_days: int

    def __iter__(self) -> Iterator[Plan]:
        return iter(self.plans.values())

    def find(self, name: str) -> Plan:
        """The plan of this name. One that has left the file is shown by its name and allows nothing
        new: what was granted under it is on record.
        """
        return self.plans.get(name) or Plan(name, name.capitalize(), 0, 0, offered=False)

    def rank(self, name: str | None) -> int:
        """Greater for larger plans; -1 for what is none."""
        return -1 if name is None or name not in self.plans else list(self.plans).index(name)

    def by_lookup_key(self, lookup_key: str | None) -> Plan | None:
        return next((p for p in self if any(price.lookup_key == lookup_key for price in p.prices)), None)

    def not_for_sale(self, base: str) -> "Catalogue":
        """The same plans without prices; everybody has the plan `base`, the largest unless named."""
        plans = {plan.name: replace(plan, prices=()) for plan in self}
        return replace(self, plans=plans, base=base or list(plans)[-1])

    def on_sale(self) -> list[Plan]:
        return [plan for plan in self if plan.offered and plan.prices]


def read_catalogue(text: str | None = None, base: str = "") -> Catalogue:
    """The plans in a file's text, Visiona's own unless given. `base` is the file's first plan unless
    named. Raises `PlanFileError`.
    """
    if text is None:
        text = (resources.files("visiona.billing") / "plans.toml").read_text(encoding="utf-8")
    try:
        file = msgspec.convert(tomllib.loads(text), _PlanFile, strict=True)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, InvalidOperation) as error:
        raise PlanFileError(f"The plan file cannot be read: {error}.") from error
    plans = {
        name: Plan(name, **{field: getattr(entry, field) for field in entry.__struct_fields__})
        for name, entry in file.plans.items()
    }
    if not plans:
        raise PlanFileError("The plan file has no plans.")
    catalogue = Catalogue(plans, base or next(iter(plans)), file.currency, file.grace_days)
    _check(catalogue)
    return catalogue


def _check(catalogue: Catalogue) -> None:
    if catalogue.base not in catalogue.plans:
        known = ", ".join(catalogue.plans)
        raise PlanFileError(f"There is no plan {catalogue.base!r} in the plan file, only {known}.")
    if next(iter(catalogue)).prices:
        raise PlanFileError("The first plan in the plan file is everybody's: it cannot have prices.")
    keys = [price.lookup_key for plan in catalogue for price in plan.prices]
    if len(keys) != len(set(keys)):
        raise PlanFileError("Two prices in the plan file have the same lookup_key.")
    for plan in catalogue:
        intervals = [price.interval for price in plan.prices]
        if len(intervals) != len(set(intervals)):
            raise PlanFileError(f"The plan {plan.name} has two prices for one interval.")
        for price in plan.prices:
            if not _can_be_asked(price.amount, catalogue.currency):
                raise PlanFileError(
                    f"{price.amount} is not an amount of {catalogue.currency.upper()} to ask for {plan.name}."
                )


def _can_be_asked(amount: Decimal, currency: str) -> bool:
    if not amount.is_finite() or not 0 < amount <= MAX_AMOUNT:
        return False
    units = smallest_units(amount, currency)
    if units is None or units > MAX_AMOUNT:
        return False
    return decimals(currency) < 3 or units % 10 == 0  # Stripe wants a 0 as the third digit


# Periods


@dataclass(frozen=True, slots=True)
class Period:
    """From `start` up to, not including, `end`."""

    start: datetime
    end: datetime

    def __contains__(self, instant: datetime) -> bool:
        return self.start <= instant < self.end


def calendar_period(now: datetime) -> Period:
    """The calendar month, in UTC, that holds `now`."""
    start = now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return Period(start, plus_months(start, 1))


def plus_months(anchor: datetime, months: int) -> datetime:
    """The same day some months later in UTC, or the last day of a month that is too short for it."""
    anchor = anchor.astimezone(UTC)
    year, month = divmod(anchor.year * 12 + anchor.month - 1 + months, 12)
    first = anchor.replace(year=year, month=month + 1, day=1)
    following = (first + timedelta(days=32)).replace(day=1)
    return first.replace(day=min(anchor.day, (following - timedelta(days=1)).day))


def months_of(period: Period) -> list[Period]:
    """A billing period cut into months from its first day; the last is cut off where the period ends."""
    months: list[Period] = []
    start = period.start
    while start < period.end:
        end = min(plus_months(period.start, len(months) + 1), period.end)
        # From 28 February to 31 March is one month of whoever subscribed on a 31st.
        if period.end - end < timedelta(days=4):
            end = period.end
        months.append(Period(start, end))
        start = end
    return months


def part_of_month(limit: int, length: timedelta) -> int:
    """What a part of a month allows, rounded up; never more than the month."""
    days = max(length / timedelta(days=1), 0.0)
    return min(limit, math.ceil(limit * days / DAYS_OF_A_MONTH))


# Quotas


@dataclass(frozen=True, slots=True)
class Window:
    """A period in which a subscription entitles to something, as it should stand on record."""

    period: Period
    plan: str
    subscription_id: str
    entitled: Mapping[Resource, int]


@dataclass(frozen=True, slots=True)
class Account:
    """One resource in one period on record, or about to be: a calendar month has no row before its
    first use.
    """

    period: Period
    plan: str
    subscription_id: str | None
    entitled: int
    used: int
    """What was delivered and what is set aside for work in progress."""
    on_record: bool = True

    @property
    def granted(self) -> int:
        return max(self.entitled, self.used)


@dataclass(frozen=True, slots=True)
class Use:
    """`used` counts what was delivered and what is set aside for work in progress."""

    used: int
    limit: int

    @property
    def left(self) -> int:
        return max(self.limit - self.used, 0)


@dataclass(frozen=True, slots=True)
class Quota:
    plan: Plan
    images: Use
    clones: Use
    period: Period


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One change of one quota; `amount` is what it did to the balance of its period."""

    id: int
    resource: Resource
    period_start: datetime
    entry: str
    reference: str
    plan: str | None
    amount: int
    created_at: datetime


class QuotaInvariantError(RuntimeError):
    """A settlement did not meet its reservation: a programming error, never silently repaired."""


def most_generous(accounts: Sequence[Account]) -> Account:
    """The one that counts, of those that cover this moment: what entitles to most, then the newest."""
    return max(accounts, key=lambda account: (account.entitled, account.period.start))


def quota_exhausted(resource: Resource, account: Account, *, larger_plan: bool) -> PaymentRequired:
    """The refusal when nothing is left, or less than was asked for."""
    left = max(account.entitled - account.used, 0)
    things = resource.value if left != 1 else resource.value.removesuffix("s")
    what = f"Only {left:,} {things} left on your plan" if left else f"Your {resource.value} are used up"
    renewal = f"New ones come on {account.period.end.day} {account.period.end:%B}"
    way_up = "; a larger plan gives you more now" if larger_plan else ""
    return PaymentRequired("quota_exhausted", f"{what}. {renewal}{way_up}.")
