"""Subscriptions."""

from typing import Final

from visiona.sandbox.stripe.catalogue import PRICE_FIELDS
from visiona.sandbox.stripe.engine.subscriptions.objects import ENDED, items_of, period_of
from visiona.sandbox.stripe.errors import invalid
from visiona.sandbox.stripe.paging import CREATED, PAGE, within
from visiona.sandbox.stripe.params import (
    Array,
    Boolean,
    Choice,
    Either,
    Field,
    Hash,
    Integer,
    Metadata,
    Params,
    Text,
)
from visiona.sandbox.stripe.routes import Context, Route
from visiona.sandbox.stripe.store import Obj

PRORATION_BEHAVIOR: Final = Choice(("always_invoice", "create_prorations", "none"))
PAYMENT_BEHAVIOR: Final = Choice(
    ("allow_incomplete", "default_incomplete", "error_if_incomplete", "pending_if_incomplete")
)
COLLECTION_METHOD: Final = Choice(("charge_automatically", "send_invoice"))
BILLING_MODE: Final = Hash(
    {
        "flexible": Hash({"proration_discounts": Choice(("included", "itemized"))}),
        "type": Choice(("classic", "flexible"), required=True),
    }
)
_PRICE_DATA: Final[dict[str, Field]] = {
    **{name: field for name, field in PRICE_FIELDS.items() if name != "metadata"},
    "product": Text(required=True),
}
PRICE_DATA: Final = Hash(_PRICE_DATA)
NEW_ITEM: Final[dict[str, Field]] = {
    "metadata": Metadata(),
    "plan": Text(),
    "price": Text(),
    "price_data": PRICE_DATA,
    "quantity": Integer(minimum=0),
}
CHANGED_ITEM: Final[dict[str, Field]] = {**NEW_ITEM, "deleted": Boolean(), "id": Text()}
CANCEL_AT: Final = Either(Choice(("max_period_end", "min_period_end")), Integer(), unset=True)
TRIAL_END: Final = Either(Choice(("now",)), Integer())
ANCHOR: Final = Hash({"type": Choice(("now", "unchanged"), required=True)})
TRIAL_SETTINGS: Final = Hash(
    {
        "end_behavior": Hash(
            {"missing_payment_method": Choice(("cancel", "create_invoice", "pause"), required=True)},
            required=True,
        )
    }
)
CANCELLATION_DETAILS: Final = Hash(
    {
        "comment": Text(unset=True),
        "feedback": Choice(
            (
                "customer_service",
                "low_quality",
                "missing_features",
                "other",
                "switched_service",
                "too_complex",
                "too_expensive",
                "unused",
            ),
            unset=True,
        ),
    }
)
AUTOMATIC_TAX: Final = Hash({"enabled": Boolean(required=True)})

ONCE_DATA: Final = Hash({name: field for name, field in _PRICE_DATA.items() if name != "recurring"})
_EXTRA: Final = Hash(
    {"metadata": Metadata(), "price": Text(), "price_data": ONCE_DATA, "quantity": Integer(minimum=0)}
)
_SHARED: Final[dict[str, Field]] = {
    "add_invoice_items": Array(_EXTRA, maximum=20),
    "automatic_tax": AUTOMATIC_TAX,
    "cancel_at": CANCEL_AT,
    "cancel_at_period_end": Boolean(),
    "collection_method": COLLECTION_METHOD,
    "days_until_due": Integer(minimum=0),
    "default_payment_method": Text(),
    "description": Text(unset=True, max_length=500),
    "metadata": Metadata(),
    "off_session": Boolean(),
    "payment_behavior": PAYMENT_BEHAVIOR,
    "payment_settings": Hash({"save_default_payment_method": Choice(("off", "on_subscription"))}),
    "proration_behavior": PRORATION_BEHAVIOR,
    "trial_end": TRIAL_END,
    "trial_from_plan": Boolean(),
    "trial_settings": TRIAL_SETTINGS,
}
_CREATE: Final[dict[str, Field]] = {
    **_SHARED,
    "billing_cycle_anchor": Integer(),
    "billing_mode": BILLING_MODE,
    "currency": Text(max_length=3),
    "customer": Text(required=True),
    "items": Array(Hash(NEW_ITEM), required=True, maximum=20),
    "trial_period_days": Integer(minimum=1, maximum=730),
}
_UPDATE: Final[dict[str, Field]] = {
    **_SHARED,
    "billing_cycle_anchor": ANCHOR,
    "cancellation_details": CANCELLATION_DETAILS,
    "items": Array(Hash(CHANGED_ITEM), maximum=20),
    "pause_collection": Hash(
        {
            "behavior": Choice(("keep_as_draft", "mark_uncollectible", "void"), required=True),
            "resumes_at": Integer(),
        },
        unset=True,
    ),
    "proration_date": Integer(),
}
_STATUSES: Final = (
    "active",
    "all",
    "canceled",
    "ended",
    "incomplete",
    "incomplete_expired",
    "past_due",
    "paused",
    "trialing",
    "unpaid",
)
_LIST: Final[dict[str, Field]] = {
    **PAGE,
    "collection_method": COLLECTION_METHOD,
    "created": CREATED,
    "current_period_end": CREATED,
    "current_period_start": CREATED,
    "customer": Text(),
    "plan": Text(),
    "price": Text(),
    "status": Choice(_STATUSES),
    "test_clock": Text(),
}
_PAUSE: Final[dict[str, Field]] = {
    "bill_for": Hash(
        {
            "outstanding_usage_through": Hash({"type": Choice(("none", "now"), required=True)}),
            "unused_time_from": Hash(
                {"type": Choice(("item_current_period_start", "none", "now"), required=True)}
            ),
        }
    ),
    "invoicing_behavior": Choice(("invoice", "pending_invoice_item")),
    "type": Choice(("subscription",)),
}
_RESUME: Final[dict[str, Field]] = {
    "billing_cycle_anchor": ANCHOR,
    "payment_behavior": Choice(("resume_on_payment_attempt", "resume_on_payment_success")),
    "proration_behavior": PRORATION_BEHAVIOR,
}


def refuse_taxes(params: Params) -> None:
    """Raise a `StripeError` where taxes are to be worked out: the sandbox knows none."""
    if params.pop("automatic_tax", {}).get("enabled"):
        raise invalid("Stripe Tax is not part of this sandbox.", param="automatic_tax[enabled]")


def of_customer(ctx: Context, kind: str, params: Params) -> list[Obj]:
    """Objects of a kind, of one customer where a parameter names one; also of one that was deleted."""
    customer = params.get("customer")
    if customer is None:
        return ctx.store.all(kind)
    if ctx.store.find("customer", customer) is None:
        ctx.store.get("customer", customer, param="customer")
    return ctx.engine.books.where(kind, "customer", customer)


def create_subscription(ctx: Context, params: Params) -> Obj:
    refuse_taxes(params)
    return ctx.engine.subscriptions.create(params)


def show_subscription(ctx: Context, _: Params) -> Obj:
    return ctx.store.get("subscription", ctx.id)


def update_subscription(ctx: Context, params: Params) -> Obj:
    refuse_taxes(params)
    subscription = ctx.store.get("subscription", ctx.id)
    return ctx.engine.subscriptions.update(subscription, params)


def list_subscriptions(ctx: Context, params: Params) -> list[Obj]:
    """Those that were canceled only where their status is asked for; those on a test clock only where
    the clock or the customer is.
    """
    return [
        subscription
        for subscription in of_customer(ctx, "subscription", params)
        if _has_status(subscription, params.get("status"))
        and _is_on_clock(subscription, params)
        and _has_price(subscription, params.get("price") or params.get("plan"))
        and params.get("collection_method") in {None, subscription["collection_method"]}
        and within(subscription["created"], params.get("created"))
        and _has_period(subscription, params)
    ]


def cancel_subscription(ctx: Context, params: Params) -> Obj:
    return ctx.engine.subscriptions.cancel(ctx.store.get("subscription", ctx.id), params)


def pause_subscription(ctx: Context, params: Params) -> Obj:
    return ctx.engine.subscriptions.pause(ctx.store.get("subscription", ctx.id), params)


def resume_subscription(ctx: Context, params: Params) -> Obj:
    return ctx.engine.subscriptions.resume(ctx.store.get("subscription", ctx.id), params)


def migrate_subscription(ctx: Context, params: Params) -> Obj:
    """To flexible billing; there is no way back."""
    subscription = ctx.store.get("subscription", ctx.id)
    if params["billing_mode"]["type"] != "flexible":
        raise invalid("Invalid billing_mode[type]: must be flexible", param="billing_mode[type]")
    with ctx.engine.books.changing(subscription, "customer.subscription.updated"):
        subscription["billing_mode"] = {
            "flexible": {"proration_discounts": "included"},
            "type": "flexible",
            "updated_at": ctx.engine.books.now_for(subscription),
        }
    return subscription


def _has_status(subscription: Obj, wanted: str | None) -> bool:
    status = subscription["status"]
    if wanted is None:
        return status != "canceled"
    return wanted in {"all", status} or (wanted == "ended" and status in ENDED)


def _is_on_clock(subscription: Obj, params: Params) -> bool:
    if "customer" in params and "test_clock" not in params:
        return True
    return subscription["test_clock"] == params.get("test_clock")


def _has_period(subscription: Obj, params: Params) -> bool:
    end, start = params.get("current_period_end"), params.get("current_period_start")
    if end is None and start is None:
        return True
    period = period_of(subscription)
    return within(period.end, end) and within(period.start, start)


def _has_price(subscription: Obj, price: str | None) -> bool:
    return price is None or any(item["price"]["id"] == price for item in items_of(subscription))


_CANCEL: Final = {
    "cancellation_details": CANCELLATION_DETAILS,
    "invoice_now": Boolean(),
    "prorate": Boolean(),
}

ROUTES: Final = [
    Route("POST", "/v1/subscriptions", _CREATE, create_subscription),
    Route("GET", "/v1/subscriptions", _LIST, list_subscriptions),
    Route("GET", "/v1/subscriptions/{id}", {}, show_subscription),
    Route("POST", "/v1/subscriptions/{id}", _UPDATE, update_subscription),
    Route("DELETE", "/v1/subscriptions/{id}", _CANCEL, cancel_subscription),
    Route("POST", "/v1/subscriptions/{id}/pause", _PAUSE, pause_subscription),
    Route("POST", "/v1/subscriptions/{id}/resume", _RESUME, resume_subscription),
    Route("POST", "/v1/subscriptions/{id}/migrate", {"billing_mode": BILLING_MODE}, migrate_subscription),
]
