"""People at every point of a subscription, and plans to show them."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from visiona.billing.model import (
    Catalogue,
    LedgerEntry,
    Quota,
    Resource,
    Use,
    calendar_period,
    read_catalogue,
)
from visiona.entrypoints.api.payment import PlansView, PlanView, PriceView
from visiona.entrypoints.web.offers import Reader
from visiona.payments.model import Invoice, Overview, Subscription
from visiona.ports.payments import InvoiceStatus, SubscriptionStatus

CATALOGUE = read_catalogue()
# A plan that is tried first, and sold by the year alone.
DEAR_CATALOGUE = read_catalogue("""
currency = "jpy"
[plans.free]
title = "Free"
images = 30
clones = 1
[plans.atelier]
title = "Atelier"
images = 12000
clones = 100
trial_days = 14
[[plans.atelier.prices]]
interval = "year"
amount = "120000"
lookup_key = "atelier_year"
""")

STARTED = datetime(2026, 11, 10, 14, 0, tzinfo=UTC)
ENDS = datetime(2026, 12, 10, 14, 0, tzinfo=UTC)


def view(catalogue: Catalogue = CATALOGUE) -> PlansView:
    """What the API says of these plans."""
    return PlansView(
        billing="on",
        base=catalogue.base,
        plans=[
            PlanView(
                plan.name,
                plan.title,
                plan.summary,
                plan.images,
                plan.clones,
                list(plan.features),
                plan.trial_days,
                [PriceView(price.interval, str(price.amount), catalogue.currency) for price in plan.prices],
            )
            for plan in catalogue
        ],
    )


def subscription(status: SubscriptionStatus = SubscriptionStatus.ACTIVE, **changes: Any) -> Subscription:
    """Premium by the month, unless said otherwise."""
    fields: dict[str, Any] = {
        "id": "sub_1",
        "plan": "premium",
        "item_id": "si_1",
        "price_id": "price_1",
        "interval": "month",
        "amount": Decimal("39.00"),
        "currency": "usd",
        "period_start": STARTED,
        "period_end": ENDS,
        "trial_end": None,
        "cancel_at": None,
        "ended_at": None,
        "next_plan": None,
        "next_amount": None,
        "created_at": STARTED,
        **changes,
    }
    return Subscription(status=status, **fields)


def invoice(status: InvoiceStatus = InvoiceStatus.PAID, **changes: Any) -> Invoice:
    total = Decimal("1290.00")
    paid = total if status is InvoiceStatus.PAID else Decimal(0)
    fields: dict[str, Any] = {
        "id": "in_1",
        "number": "ABC-0001",
        "reason": "subscription_cycle",
        "total": total,
        "amount_paid": paid,
        "amount_remaining": total - paid,
        "currency": "usd",
        "refunded": Decimal(0),
        "disputed": Decimal(0),
        "next_attempt_at": None,
        "created_at": STARTED,
        **changes,
    }
    return Invoice(status=status, **fields)


UNPAID = invoice(InvoiceStatus.OPEN, next_attempt_at=datetime(2026, 12, 13, tzinfo=UTC))


def overview(
    bought: Subscription | None = None, *, problem: Invoice | None = None, customer: bool | None = None
) -> Overview:
    return Overview(bought, problem, bought is not None if customer is None else customer)


def reader(bought: Subscription | None = None, *, plan: str = "free", before: bool = False) -> Reader:
    return Reader(plan, bought, subscribed_before=before or bought is not None)


def quota_of(plan: str) -> Quota:
    found = CATALOGUE.find(plan)
    return Quota(found, Use(0, found.images), Use(0, found.clones), calendar_period(STARTED))


def entry(
    kind: str,
    amount: int,
    reference: str = "",
    *,
    resource: Resource = Resource.IMAGES,
    plan: str = "premium",
    period_start: datetime = STARTED,
) -> LedgerEntry:
    return LedgerEntry(0, resource, period_start, kind, reference, plan, amount, STARTED)


def numbered(newest_first: list[LedgerEntry]) -> list[LedgerEntry]:
    """As the database numbers them."""
    count = len(newest_first)
    return [replace(one, id=count - index) for index, one in enumerate(newest_first)]


def ledger() -> list[LedgerEntry]:
    """Newest first: a month was granted, of four pictures three came, and a training failed."""
    return numbered(
        [
            entry("settle", 1, "clone:1", resource=Resource.CLONES),
            entry("settle", 1, "run:1"),
            entry("reserve", -4, "run:1"),
            entry("reserve", -1, "clone:1", resource=Resource.CLONES),
            entry("grant", 10, resource=Resource.CLONES),
            entry("grant", 1000),
        ]
    )
