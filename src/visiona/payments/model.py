"""What a customer's account at the payment service entitles to. Pure.

Everything follows from the account as it stands: no event is added up, so neither their order nor
their number matters. The rules, for a subscription that is `trialing`, `active` or `past_due`:

- A period whose invoice is paid entitles to the plan that was paid for, cut into months. Of several
  plans paid for within it, the largest counts: an upgrade at once, a downgrade from the next period.
- A period that is not paid for (a trial; a renewal that is late, fails, or was not heard of yet) is
  measured by days: a trial by its length, a renewal by the days of grace, after which it lapses.
- What was refunded, is disputed or was lost in a dispute is taken back in proportion to what was
  paid in the period. `quota_usage` holds that nothing falls below what was used.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Literal
from uuid import UUID

from visiona.billing.model import (
    Catalogue,
    Interval,
    Period,
    Plan,
    Resource,
    Window,
    calendar_period,
    months_of,
    part_of_month,
)
from visiona.core.clock import rfc3339
from visiona.core.errors import Conflict, Invalid, NotFound, TooMany, Unavailable
from visiona.core.money import format_money, own_units
from visiona.mail.model import Kind
from visiona.ports.payments import (
    ChargeReport,
    CustomerReport,
    InvoiceLine,
    InvoiceReport,
    InvoiceStatus,
    PriceReport,
    SubscriptionReport,
    SubscriptionStatus,
)

ENTITLING = frozenset({SubscriptionStatus.TRIALING, SubscriptionStatus.ACTIVE, SubscriptionStatus.PAST_DUE})
ENDED = frozenset({SubscriptionStatus.CANCELED, SubscriptionStatus.INCOMPLETE_EXPIRED})

CHECKOUT_LIFETIME = timedelta(hours=1)
"""How long a checkout can be paid; a click after that starts another."""
STALE_AFTER = timedelta(minutes=20)
"""A checkout whose making was never answered is given up: the service takes no `expires_at` that is
less than half an hour away."""

# Entitlement


@dataclass(frozen=True, slots=True)
class Paid:
    """What happened to the money of one period, in the currency's smallest unit.

    `settled`: its own invoice is paid. `plans`: what was bought in it, and from when it counts. `paid`:
    what its invoices came to, from whatever it was paid. `taken`: what was refunded or is in dispute.
    `credited`: what was turned into credit by a change to a smaller plan.
    """

    settled: bool
    plans: Mapping[str, datetime]
    paid: int
    taken: int
    credited: int


def windows(report: CustomerReport, catalogue: Catalogue) -> list[Window]:
    """The periods that the customer may use, as far as they can be told now."""
    found: dict[datetime, Window] = {}
    for subscription in report.subscriptions:
        for window in _subscription_windows(subscription, report, catalogue):
            rival = found.get(window.period.start)
            if rival is None or catalogue.rank(rival.plan) < catalogue.rank(window.plan):
                found[window.period.start] = window
    return [found[start] for start in sorted(found)]


def _subscription_windows(
    subscription: SubscriptionReport, report: CustomerReport, catalogue: Catalogue
) -> list[Window]:
    plan = plan_of(subscription.price, catalogue)
    if subscription.status not in ENTITLING or plan is None:
        return []
    period = Period(subscription.period_start, subscription.period_end)
    grace = timedelta(days=catalogue.grace_days)
    paid = paid_in(period, subscription, report, catalogue)
    following = _plan_after(subscription, plan, catalogue)
    if subscription.status is SubscriptionStatus.TRIALING:
        shares = {
            resource: part_of_month(plan.limit(resource), period.end - period.start) for resource in Resource
        }
        found = [Window(period, plan.name, subscription.id, shares)]
    elif not paid.settled:
        return [_provisional(period.start, plan, subscription, grace)] if grace else []
    else:
        found = [_paid_window(month, plan, subscription, paid, catalogue) for month in months_of(period)]
    if following is not None and grace:
        found.append(_provisional(period.end, following, subscription, grace))
    return [_apart_from_calendar(window) for window in found]


def _plan_after(subscription: SubscriptionReport, plan: Plan, catalogue: Catalogue) -> Plan | None:
    """What the next period would be for; None where the subscription ends before it."""
    if subscription.cancel_at is not None and subscription.cancel_at <= subscription.period_end:
        return None
    if subscription.status is SubscriptionStatus.PAST_DUE:
        return None
    if subscription.next_price is not None:
        return plan_of(subscription.next_price, catalogue)
    return plan


def _provisional(start: datetime, plan: Plan, subscription: SubscriptionReport, grace: timedelta) -> Window:
    shares = {resource: part_of_month(plan.limit(resource), grace) for resource in Resource}
    window = Window(Period(start, start + grace), plan.name, subscription.id, shares)
    return _apart_from_calendar(window)


def _paid_window(
    month: Period, plan: Plan, subscription: SubscriptionReport, paid: Paid, catalogue: Catalogue
) -> Window:
    """What was paid for, each plan from when it was bought, less what of it was credited when it was given
    up for a smaller one, which is the least; less what was taken back.
    """
    best = catalogue.find(max(paid.plans, key=catalogue.rank, default=plan.name))
    entitled: dict[Resource, int] = {}
    for resource in Resource:
        bought = [(start, catalogue.find(name).limit(resource)) for name, start in paid.plans.items()]
        allowed = _share(_over_time(bought, month), paid.paid - paid.credited, paid.paid)
        if plan.name in paid.plans:
            kept = [(start, min(limit, plan.limit(resource))) for start, limit in bought]
            allowed = max(allowed, _over_time(kept, month))
        entitled[resource] = _share(allowed, paid.paid - paid.taken, paid.paid)
    return Window(month, best.name, subscription.id, entitled)


def _over_time(bought: Iterable[tuple[datetime, int]], month: Period) -> int:
    """The largest limit so far counts from when it was bought: who has the larger plan for the last hour of
    a month has an hour's part of what it allows. Rounded in favour of who paid.
    """
    limit, since, total = 0, month.start, timedelta(0)
    for start, larger in sorted(bought):
        if larger > limit and start < month.end:
            moment = max(start, month.start)
            total += limit * (moment - since)
            limit, since = larger, moment
    total += limit * (month.end - since)
    return -(-total // (month.end - month.start))


def _share(limit: int, kept: int, of: int) -> int:
    """In proportion, rounded in favour of who paid."""
    if of <= 0 or kept >= of:
        return limit
    return -(-limit * max(kept, 0) // of)


def _apart_from_calendar(window: Window) -> Window:
    """A period that begins with a calendar month must not be taken for that month's own record."""
    start = window.period.start
    if start != calendar_period(start).start:
        return window
    moved = Period(start + timedelta(microseconds=1), window.period.end)
    return Window(moved, window.plan, window.subscription_id, window.entitled)


def paid_in(
    period: Period, subscription: SubscriptionReport, report: CustomerReport, catalogue: Catalogue
) -> Paid:
    """What was paid for this period of the subscription, and what of it came back."""
    invoices = [
        invoice
        for invoice in report.invoices
        if invoice.subscription_id == subscription.id and _covers(invoice, period)
    ]
    settled = [invoice for invoice in invoices if invoice.status is InvoiceStatus.PAID]
    base_paid = any(_is_base(invoice, period) for invoice in settled)
    bought: dict[str, datetime] = {}
    for invoice in settled:
        for line in invoice.lines:
            plan = _plan_of_line(line, catalogue)
            if plan is not None and line.amount >= 0 and line.period_end > period.start:
                start = max(line.period_start, period.start)
                bought[plan.name] = min(start, bought.get(plan.name, start))
    current = plan_of(subscription.price, catalogue)
    if current is not None and not any(
        _asks_for(invoice, current, catalogue)
        for invoice in invoices
        if invoice.status is not InvoiceStatus.PAID and not _is_base(invoice, period)
    ):
        bought.setdefault(current.name, period.start)
    # What was sold beside the plan is nothing of it, whether it was kept or given back.
    settled = [one for one in settled if any(_plan_of_line(line, catalogue) for line in one.lines)]
    payment_ids = {payment_id for invoice in settled for payment_id in invoice.payment_ids}
    charges = [charge for charge in report.charges if charge.payment_id in payment_ids]
    pending = sum(item.amount for item in report.pending if item.subscription_id == subscription.id)
    return Paid(
        settled=base_paid,
        plans=bought,
        paid=sum(max(invoice.total, 0) for invoice in settled),
        taken=sum(taken_from(charge) for charge in charges),
        credited=_credited(settled) + max(-pending, 0),
    )


def _credited(settled: Sequence[InvoiceReport]) -> int:
    """What came back as credit and was not spent on a larger plan again within the period."""
    credit = 0
    for invoice in sorted(settled, key=lambda invoice: invoice.created_at):
        credit = max(credit - invoice.total, 0) if credit or invoice.total < 0 else 0
    return credit


def _covers(invoice: InvoiceReport, period: Period) -> bool:
    return any(line.period_start in period and line.period_end > period.start for line in invoice.lines)


def _is_base(invoice: InvoiceReport, period: Period) -> bool:
    """Whether this is the invoice for the period itself, and not for a change within it."""
    return any(not line.proration and line.period_start == period.start for line in invoice.lines)


def _asks_for(invoice: InvoiceReport, plan: Plan, catalogue: Catalogue) -> bool:
    return any(line.amount >= 0 and _plan_of_line(line, catalogue) == plan for line in invoice.lines)


def _plan_of_line(line: InvoiceLine, catalogue: Catalogue) -> Plan | None:
    return None if line.price is None else plan_of(line.price, catalogue)


def taken_from(charge: ChargeReport) -> int:
    return min(charge.refunded + charge.disputed, charge.amount)


def plan_of(price: PriceReport, catalogue: Catalogue) -> Plan | None:
    """By the name written on the price, or else by its lookup key."""
    if price.plan is not None and price.plan in catalogue.plans:
        return catalogue.plans[price.plan]
    return catalogue.by_lookup_key(price.lookup_key)


# On record


def is_live(status: SubscriptionStatus) -> bool:
    return status not in ENDED and status is not SubscriptionStatus.INCOMPLETE


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """The mirror of one subscription. `plan` is None where its price belongs to no plan of ours."""

    id: str
    status: SubscriptionStatus
    plan: str | None
    item_id: str
    price_id: str
    interval: Interval | None
    amount: Decimal
    currency: str
    period_start: datetime
    period_end: datetime
    trial_end: datetime | None
    cancel_at: datetime | None
    ended_at: datetime | None
    next_plan: str | None
    next_amount: Decimal | None
    created_at: datetime

    @property
    def live(self) -> bool:
        """Whether it still binds: a person with one cannot buy another."""
        return is_live(self.status)

    @property
    def changeable(self) -> bool:
        return self.status in {SubscriptionStatus.TRIALING, SubscriptionStatus.ACTIVE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoice:
    """The mirror of one invoice; `refunded` and `disputed` are of what was paid for it."""

    id: str
    number: str | None
    status: InvoiceStatus
    reason: str
    total: Decimal
    amount_paid: Decimal
    amount_remaining: Decimal
    currency: str
    refunded: Decimal
    disputed: Decimal
    next_attempt_at: datetime | None
    created_at: datetime


Mode = Literal["sandbox", "test", "live"]
"""Which payment service is meant: the local stand-in, or the real one in one of its two modes."""


class CheckoutState(StrEnum):
    CREATING = "creating"
    OPEN = "open"
    COMPLETE = "complete"
    EXPIRED = "expired"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """A person's wish to subscribe, on its way through a checkout."""

    id: UUID
    lookup_key: str
    plan: str
    trial_days: int
    state: CheckoutState
    session_id: str | None
    created_at: datetime
    expires_at: datetime

    def serves(self, lookup_key: str, now: datetime) -> bool:
        """Whether a click on the same price can go on with this one."""
        fresh = self.session_id is not None or now < self.created_at + STALE_AFTER
        return self.lookup_key == lookup_key and fresh and now < self.expires_at


@dataclass(frozen=True, slots=True)
class Customer:
    """A person at the payment service of `mode`; `customer_id` is None before they are one."""

    user_id: int
    customer_id: str | None
    mode: Mode
    attempt: int
    version: int


@dataclass(frozen=True, slots=True)
class Overview:
    """Where a person stands. `problem` is an invoice that waits for them to act."""

    subscription: Subscription | None
    problem: Invoice | None
    is_customer: bool


class PaymentState(StrEnum):
    """The `status` of a row of `payments`."""

    PENDING = "pending"
    FAILED = "failed"
    SUCCEEDED = "succeeded"
    PARTIALLY_REFUNDED = "partially_refunded"
    REFUNDED = "refunded"
    DISPUTED = "disputed"


def payment_state(charge: ChargeReport) -> PaymentState:
    if charge.status != "succeeded":
        return PaymentState(charge.status)
    if charge.disputed:
        return PaymentState.DISPUTED
    if charge.refunded >= charge.amount > 0:
        return PaymentState.REFUNDED
    return PaymentState.PARTIALLY_REFUNDED if charge.refunded else PaymentState.SUCCEEDED


def subscription_of(report: SubscriptionReport, catalogue: Catalogue) -> Subscription:
    plan = plan_of(report.price, catalogue)
    following = None if report.next_price is None else plan_of(report.next_price, catalogue)
    currency = report.price.currency
    return Subscription(
        id=report.id,
        status=report.status,
        plan=None if plan is None else plan.name,
        item_id=report.item_id,
        price_id=report.price.id,
        interval=report.price.interval,
        amount=own_units(report.price.amount, currency),
        currency=currency,
        period_start=report.period_start,
        period_end=report.period_end,
        trial_end=report.trial_end,
        cancel_at=report.cancel_at,
        ended_at=report.ended_at,
        next_plan=None if following is None else following.name,
        next_amount=None if report.next_amount is None else own_units(report.next_amount, currency),
        created_at=report.created_at,
    )


def current(subscriptions: Sequence[Subscription]) -> Subscription | None:
    """The one to show: a live one before those that ended, one to a plan of ours before others of the same
    customer, then the newest.
    """
    return max(subscriptions, key=lambda one: (one.live, one.plan is not None, one.created_at), default=None)


LOOK_AGAIN = timedelta(hours=24)
"""At the latest: whatever was missed is found within a day."""
_LOOK_AGAIN_UNSETTLED = timedelta(hours=1)
_LOOK_AGAIN_OPEN = timedelta(minutes=10)
_AFTER_PERIOD = timedelta(minutes=5)


def look_again_at(subscriptions: Sequence[Subscription], intent: Intent | None, now: datetime) -> datetime:
    """When the account should be read next if nobody says anything."""
    times = [now + LOOK_AGAIN]
    if intent is not None:
        times.append(now + _LOOK_AGAIN_OPEN)
    for subscription in subscriptions:
        if not subscription.live:
            continue
        if subscription.period_end > now:
            times.append(subscription.period_end + _AFTER_PERIOD)
        else:
            times.append(now + _LOOK_AGAIN_UNSETTLED)
        if subscription.status is SubscriptionStatus.PAST_DUE:
            times.append(now + _LOOK_AGAIN_UNSETTLED)
    return min(times)


# News for the customer

_TRIAL_NOTICE = timedelta(days=3)
"""How long before a trial ends its customer is reminded that it does."""
_STILL_NEWS = timedelta(days=3)
"""What is older when it is read first is not told: an account may be taken over with its history. Mails are
remembered for longer, so that nothing is told twice."""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to tell a customer by mail; `once` names it, however often it is found."""

    kind: Kind
    once: str
    details: Mapping[str, str | None]


def notices(report: CustomerReport, subscriptions: Iterable[Subscription], now: datetime) -> list[Notice]:
    """What the account says that its owner should hear of, now."""
    known = list(subscriptions)
    return [
        *(notice for one in known if (notice := _trial_notice(one, now)) is not None),
        *_failure_notices(report, now),
        *_ending_notices(known, now),
    ]


def _trial_notice(subscription: Subscription, now: datetime) -> Notice | None:
    """Whoever has canceled is charged nothing, and needs no reminder."""
    end = subscription.trial_end
    if subscription.status is not SubscriptionStatus.TRIALING or end is None:
        return None
    if subscription.cancel_at is not None or not now < end <= now + _TRIAL_NOTICE:
        return None
    amount = subscription.amount if subscription.next_amount is None else subscription.next_amount
    details = {"date": rfc3339(end), "amount": format_money(amount, subscription.currency)}
    return Notice(Kind.TRIAL_ENDS, f"trial_ends:{subscription.id}:{rfc3339(end)}", details)


def _failure_notices(report: CustomerReport, now: datetime) -> list[Notice]:
    """One for each attempt to collect what a subscription costs; not for those that somebody makes on the
    page where they subscribe, and sees fail there.
    """
    found: list[Notice] = []
    for invoice in report.invoices:
        if invoice.status is not InvoiceStatus.OPEN or invoice.reason == "subscription_create":
            continue
        again = None if invoice.next_attempt_at is None else rfc3339(invoice.next_attempt_at)
        amount = format_money(own_units(invoice.amount_remaining, invoice.currency), invoice.currency)
        found += [
            Notice(
                Kind.PAYMENT_FAILED,
                f"payment_failed:{invoice.id}:{charge.id}",
                {"amount": amount, "next_attempt": again},
            )
            for charge in report.charges
            if charge.payment_id in invoice.payment_ids
            and charge.status == "failed"
            and charge.created_at > now - _STILL_NEWS
        ]
    return found


def _ending_notices(subscriptions: Sequence[Subscription], now: datetime) -> list[Notice]:
    """Whoever has another subscription goes on as before."""
    if any(one.live for one in subscriptions):
        return []
    return [
        Notice(Kind.SUBSCRIPTION_ENDED, f"subscription_ended:{one.id}", {})
        for one in subscriptions
        if one.status is SubscriptionStatus.CANCELED
        and one.ended_at is not None
        and one.ended_at > now - _STILL_NEWS
    ]


# Refusals


def billing_off() -> NotFound:
    return NotFound("billing_off", "This server sells no plans: everybody has the same one.")


def unknown_offer(catalogue: Catalogue) -> Invalid:
    names = ", ".join(plan.name for plan in catalogue.on_sale())
    return Invalid("unknown_plan", f"There is no such plan to buy. There are: {names}.")


def already_subscribed() -> Conflict:
    return Conflict("already_subscribed", "You have this plan already. Manage it under Billing.")


def payment_in_progress() -> Conflict:
    return Conflict(
        "payment_in_progress",
        "Your payment has gone through and is being put on record. Look again in a moment.",
    )


def not_a_customer() -> Conflict:
    return Conflict("not_a_customer", "There is nothing to manage yet: choose a plan first.")


def not_on_sale() -> Unavailable:
    return Unavailable(
        "plan_not_on_sale", "This plan cannot be bought at the moment. Nothing was charged.", retry_after=60
    )


def payments_unavailable() -> Unavailable:
    return Unavailable(
        "payments_unavailable",
        "The payment service does not answer. Nothing was charged; try again in a minute.",
        retry_after=30,
    )


def too_many_payment_pages(wait_s: int) -> TooMany:
    return TooMany(
        "too_many_payment_pages",
        "You have opened many payment pages in a short time. Wait a moment.",
        retry_after=wait_s,
    )


def invoice_not_found() -> NotFound:
    return NotFound("invoice_not_found", "There is no such invoice.")
