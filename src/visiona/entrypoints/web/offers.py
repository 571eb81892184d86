"""Plans as the pricing page puts them: prices in words, and what each reader can do with each. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from visiona.billing.model import Catalogue
from visiona.core.money import format_money
from visiona.entrypoints.api.payment import PlansView, PlanView, PriceView
from visiona.payments.model import Subscription
from visiona.ports.payments import Interval

INTERVALS: Final[tuple[Interval, ...]] = ("month", "year")


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads: on which plan they are, and their subscription where it still binds."""

    plan: str
    subscription: Subscription | None
    subscribed_before: bool
    """Whoever had a subscription has had their trial."""


@dataclass(frozen=True, slots=True)
class PriceTag:
    """`per_month` and `saving` compare a year with twelve months."""

    interval: Interval
    amount: str
    per_month: str | None = None
    saving: str | None = None
    saving_percent: int = 0


@dataclass(frozen=True, slots=True)
class PlanCard:
    """One plan for one reader. Of a plan that is for sale, `tags` and `labels` have an entry for each
    choice of the switch; a label of None means that there is nothing to do.
    """

    name: str
    title: str
    summary: str
    images: int
    clones: int
    features: tuple[str, ...]
    trial_days: int
    nothing: str
    """What a plan without a price costs."""
    only: Interval | None
    """The one interval that it is sold by, where that is not the reader's choice."""
    tags: Mapping[Interval, PriceTag]
    labels: Mapping[Interval, str | None]
    current: bool
    larger: bool
    """Than what the reader has."""
    note: str | None

    @property
    def actionable(self) -> bool:
        return any(self.labels.values())


def cards(view: PlansView, reader: Reader | None, catalogue: Catalogue) -> list[PlanCard]:
    """All plans on offer, for this reader; None is a visitor."""
    return [_card(plan, view, reader, catalogue) for plan in view.plans]


def has_choice(shown: Sequence[PlanCard]) -> bool:
    """Whether anything is sold by the month and by the year."""
    return any(card.tags and card.only is None for card in shown)


def most_saved(shown: Sequence[PlanCard]) -> int:
    """The largest saving of a year over twelve months, in percent."""
    return max((tag.saving_percent for card in shown for tag in card.tags.values()), default=0)


def chosen_interval(catalogue: Catalogue, plan: str, asked: str) -> Interval:
    """The interval asked for, or else the one that the plan is sold by."""
    wanted: Interval = "year" if asked == "year" else "month"
    prices = catalogue.find(plan).prices
    return wanted if not prices or any(price.interval == wanted for price in prices) else prices[0].interval


def with_a_way_up(catalogue: Catalogue) -> list[str]:
    """The plans above which there is another one to buy."""
    largest = max((catalogue.rank(plan.name) for plan in catalogue.on_sale()), default=-1)
    return [plan.name for plan in catalogue if catalogue.rank(plan.name) < largest]


def _card(plan: PlanView, view: PlansView, reader: Reader | None, catalogue: Catalogue) -> PlanCard:
    for_sale = bool(plan.prices) and plan.name != view.base
    tags = _tags(plan.prices) if for_sale else {}
    bought = None if reader is None else reader.subscription
    had_trial = reader is not None and reader.subscribed_before
    theirs = None if reader is None else reader.plan if bought is None else bought.plan
    return PlanCard(
        name=plan.name,
        title=plan.title,
        summary=plan.summary,
        images=plan.images,
        clones=plan.clones,
        features=tuple(plan.features),
        trial_days=0 if had_trial or not for_sale else plan.trial_days,
        nothing=format_money(Decimal(0), catalogue.currency),
        only=plan.prices[0].interval if for_sale and len(plan.prices) == 1 else None,
        tags=tags,
        labels={asked: _label(plan, tag.interval, reader, catalogue) for asked, tag in tags.items()},
        current=plan.name == theirs,
        larger=catalogue.rank(plan.name) > catalogue.rank(theirs),
        note=_note(plan, for_sale=for_sale, reader=reader, catalogue=catalogue),
    )


def _tags(prices: Sequence[PriceView]) -> dict[Interval, PriceTag]:
    """For each choice of the switch its price, or the only one that there is."""
    by_interval = {price.interval: price for price in prices}
    monthly = by_interval.get("month")
    made = {price.interval: _tag(price, monthly) for price in prices}
    return {interval: made.get(interval) or next(iter(made.values())) for interval in INTERVALS}


def _tag(price: PriceView, monthly: PriceView | None) -> PriceTag:
    amount = Decimal(price.amount)
    shown = format_money(amount, price.currency)
    if price.interval == "month":
        return PriceTag("month", shown)
    per_month = format_money(amount / 12, price.currency)
    twelve = Decimal(monthly.amount) * 12 if monthly is not None else amount
    if twelve <= amount:
        return PriceTag("year", shown, per_month)
    saving = twelve - amount
    return PriceTag(
        "year", shown, per_month, format_money(saving, price.currency), int(saving * 100 / twelve)
    )


def _label(plan: PlanView, interval: Interval, reader: Reader | None, catalogue: Catalogue) -> str | None:
    """What the button says; None where there is nothing to do."""
    if reader is None:
        return None
    if reader.subscription is not None:
        return _change_label(plan, interval, reader.subscription, catalogue)
    if catalogue.rank(plan.name) <= catalogue.rank(reader.plan):
        return None
    if plan.trial_days and not reader.subscribed_before:
        return f"Try {plan.title} for {plan.trial_days} days"
    return f"Upgrade to {plan.title}"


def _change_label(
    plan: PlanView, interval: Interval, subscription: Subscription, catalogue: Catalogue
) -> str | None:
    if plan.name != subscription.plan:
        if plan.name == subscription.next_plan:
            return None
        larger = catalogue.rank(plan.name) > catalogue.rank(subscription.plan)
        return f"{'Upgrade' if larger else 'Switch'} to {plan.title}"
    if interval != subscription.interval:
        return "Pay by the year" if interval == "year" else "Pay by the month"
    leaving = subscription.cancel_at is not None or subscription.next_plan is not None
    return f"Keep {plan.title}" if leaving else None


def _note(plan: PlanView, *, for_sale: bool, reader: Reader | None, catalogue: Catalogue) -> str | None:
    """What stands in a button's place, or beside it."""
    if reader is None:
        return None
    subscription = reader.subscription
    if subscription is None:
        more = catalogue.rank(plan.name) < catalogue.rank(reader.plan)
        return "You have more than this now." if more else None
    if not for_sale:
        ends = subscription.cancel_at is not None
        return "Your plan when your subscription ends." if ends else "Yours again if you cancel."
    if plan.name == subscription.next_plan and plan.name != subscription.plan:
        return "You change to this plan at your next renewal."
    return None
