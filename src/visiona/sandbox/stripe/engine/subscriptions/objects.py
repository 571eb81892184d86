"""Subscriptions and their items as objects, and what may be read off them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from visiona.sandbox.stripe.engine.calendar import next_boundary, previous_boundary
from visiona.sandbox.stripe.engine.prices import plan_of
from visiona.sandbox.stripe.errors import invalid
from visiona.sandbox.stripe.ids import new_id
from visiona.sandbox.stripe.store import Obj

ENDED: Final = frozenset({"canceled", "incomplete_expired"})
BILLED: Final = frozenset({"active", "past_due", "unpaid"})
"""Statuses in which a new period begins when the old one ends, and brings an invoice."""


@dataclass(frozen=True, slots=True)
class Span:
    """A period: from `start` up to `end`, in unix seconds."""

    start: int
    end: int


def items_of(subscription: Obj) -> list[Obj]:
    return subscription["items"]["data"]


def period_of(subscription: Obj) -> Span:
    """All items of a subscription share one interval, and so one period."""
    items = items_of(subscription)
    return Span(
        min(item["current_period_start"] for item in items), min(item["current_period_end"] for item in items)
    )


def is_flexible(subscription: Obj) -> bool:
    return subscription["billing_mode"]["type"] == "flexible"


def item_list(subscription_id: str, items: list[Obj]) -> Obj:
    return {
        "object": "list",
        "data": items,
        "has_more": False,
        "url": f"/v1/subscription_items?subscription={subscription_id}",
    }


def item_object(
    subscription_id: str, price: Obj, quantity: int, metadata: dict[str, str], period: Span, now: int
) -> Obj:
    return {
        "id": new_id("si"),
        "object": "subscription_item",
        "billing_thresholds": None,
        "created": now,
        "current_period_end": period.end,
        "current_period_start": period.start,
        "discounts": [],
        "metadata": metadata,
        "plan": plan_of(price),
        "price": price,
        "quantity": quantity,
        "subscription": subscription_id,
        "tax_rates": [],
    }


def with_price(item: Obj, price: Obj) -> Obj:
    return {**item, "price": price, "plan": plan_of(price)}


def require_one_rhythm(prices: Sequence[Obj]) -> None:
    """Raise a `StripeError` unless all prices have one currency and one interval, and differ."""
    for field in ("currency", "interval", "interval_count"):
        values = [price["currency"] if field == "currency" else price["recurring"][field] for price in prices]
        if len(set(values)) > 1:
            raise invalid(
                "Currency and interval fields must match across all plans/prices on this subscription. Found "
                f"mismatch in {field} field.",
                param="items",
            )
    ids = [price["id"] for price in prices]
    for id_ in ids:
        if ids.count(id_) > 1:
            raise invalid(
                f"Cannot add multiple subscription items with the same plan: {id_}",
                param="items",
            )


def period_from(anchor: int, price: Obj, start: int) -> Span:
    """The period that begins at `start`, given where the billing cycle is anchored."""
    recurring = price["recurring"]
    return Span(start, next_boundary(anchor, recurring["interval"], recurring["interval_count"], start))


def whole_period(anchor: int, price: Obj, moment: int) -> Span:
    """The period between two boundaries of the billing cycle in which `moment` lies."""
    recurring = price["recurring"]
    end = next_boundary(anchor, recurring["interval"], recurring["interval_count"], moment)
    return Span(
        previous_boundary(anchor, recurring["interval"], recurring["interval_count"], end),
        end,
    )


def new_subscription(id_: str, customer: Obj, items: list[Obj], now: int) -> Obj:
    """One that has just been asked for; whoever makes it fills in the rest."""
    return {
        "id": id_,
        "object": "subscription",
        "application": None,
        "application_fee_percent": None,
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_cycle_anchor": now,
        "billing_cycle_anchor_config": None,
        "billing_mode": {"flexible": {"proration_discounts": "included"}, "type": "flexible"},
        "billing_schedules": [],
        "billing_thresholds": None,
        "cancel_at": None,
        "cancel_at_period_end": False,
        "canceled_at": None,
        "cancellation_details": {"comment": None, "feedback": None, "reason": None},
        "collection_method": "charge_automatically",
        "created": now,
        "currency": items[0]["price"]["currency"],
        "customer": customer["id"],
        "customer_account": None,
        "days_until_due": None,
        "default_payment_method": None,
        "default_source": None,
        "default_tax_rates": [],
        "description": None,
        "discounts": [],
        "ended_at": None,
        "invoice_settings": {"account_tax_ids": None, "issuer": {"type": "self"}},
        "items": item_list(id_, items),
        "latest_invoice": None,
        "livemode": False,
        "metadata": {},
        "next_pending_invoice_item_invoice": None,
        "on_behalf_of": None,
        "pause_collection": None,
        "payment_settings": {
            "payment_method_options": None,
            "payment_method_types": None,
            "save_default_payment_method": "off",
        },
        "pending_invoice_item_interval": None,
        "pending_setup_intent": None,
        "pending_update": None,
        "schedule": None,
        "start_date": now,
        "status": "incomplete",
        "status_details": None,
        "test_clock": customer["test_clock"],
        "transfer_data": None,
        "trial_end": None,
        "trial_settings": {"end_behavior": {"missing_payment_method": "create_invoice"}},
        "trial_start": None,
        "_debits": {},
        "_new": True,
    }


def updated_event(subscription: Obj) -> str | None:
    """How a change is told; a subscription that is still being made is told of when it is done."""
    return None if subscription["_new"] else "customer.subscription.updated"


def set_period(subscription: Obj, items: list[Obj], period: Span) -> None:
    """Replace the items, with a new period for all of them."""
    moved = [
        {**item, "current_period_start": period.start, "current_period_end": period.end} for item in items
    ]
    subscription["items"] = item_list(subscription["id"], moved)


def debits_of(subscription: Obj, item_id: str) -> list[Obj]:
    """What was charged for an item's time: amounts with the time that they paid for."""
    debits: dict[str, Any] = subscription["_debits"]
    return debits.get(item_id, [])


def paused_details(why: str, now: int) -> Obj:
    """What `status_details` say of a subscription that is paused since `now`."""
    return {"paused": {"subscription": {"type": why}, "transitioned_at": now, "type": "subscription"}}
