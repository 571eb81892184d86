"""Checkout sessions."""

from typing import Final

from visiona.sandbox.stripe.api.subscriptions import (
    AUTOMATIC_TAX,
    BILLING_MODE,
    TRIAL_SETTINGS,
    of_customer,
    refuse_taxes,
)
from visiona.sandbox.stripe.catalogue import PRICE_FIELDS
from visiona.sandbox.stripe.paging import CREATED, PAGE, Listing, within
from visiona.sandbox.stripe.params import (
    Array,
    Boolean,
    Choice,
    Field,
    Hash,
    Integer,
    Metadata,
    Params,
    Text,
    merge_metadata,
)
from visiona.sandbox.stripe.routes import Context, Route
from visiona.sandbox.stripe.store import Obj

_LOCALES: Final = (
    "auto", "bg", "cs", "da", "de", "el", "en", "en-GB", "es", "es-419", "et", "fi", "fil", "fr", "fr-CA",
    "hi-IN", "hr", "hu", "id", "it", "ja", "ko", "lt", "lv", "ms", "mt", "nb", "nl", "pl", "pt", "pt-BR",
    "ro", "ru", "sk", "sl", "sv", "th", "tr", "vi", "zh", "zh-HK", "zh-TW",
)  # fmt: skip
_NEVER_OR_AUTO: Final = Choice(("auto", "never"))
_PRODUCT_DATA: Final = Hash(
    {
        "description": Text(),
        "images": Array(Text(), maximum=8),
        "metadata": Metadata(),
        "name": Text(required=True, max_length=250),
        "unit_label": Text(max_length=12),
    }
)
_PRICE_DATA: Final = Hash(
    {name: field for name, field in PRICE_FIELDS.items() if name != "metadata"}
    | {"product": Text(), "product_data": _PRODUCT_DATA}
)
_LINE_ITEM: Final = Hash(
    {"metadata": Metadata(), "price": Text(), "price_data": _PRICE_DATA, "quantity": Integer(minimum=1)}
)
_SUBSCRIPTION_DATA: Final = Hash(
    {
        "billing_cycle_anchor": Integer(),
        "billing_mode": BILLING_MODE,
        "description": Text(max_length=500),
        "metadata": Metadata(),
        "proration_behavior": Choice(("create_prorations", "none")),
        "trial_end": Integer(),
        "trial_period_days": Integer(minimum=1, maximum=730),
        "trial_settings": TRIAL_SETTINGS,
    }
)
_CREATE: Final[dict[str, Field]] = {
    "allow_promotion_codes": Boolean(),
    "automatic_tax": AUTOMATIC_TAX,
    "billing_address_collection": Choice(("auto", "required")),
    "cancel_url": Text(),
    "client_reference_id": Text(max_length=200),
    "consent_collection": Hash(
        {
            "payment_method_reuse_agreement": Hash({"position": Choice(("auto", "hidden"), required=True)}),
            "promotions": Choice(("auto", "none")),
            "terms_of_service": Choice(("none", "required")),
        }
    ),
    "currency": Text(max_length=3),
    "customer": Text(),
    "customer_creation": Choice(("always", "if_required")),
    "customer_email": Text(max_length=800),
    "customer_update": Hash({"address": _NEVER_OR_AUTO, "name": _NEVER_OR_AUTO, "shipping": _NEVER_OR_AUTO}),
    "expires_at": Integer(),
    "integration_identifier": Text(),
    "line_items": Array(_LINE_ITEM, maximum=100),
    "locale": Choice(_LOCALES),
    "metadata": Metadata(),
    "mode": Choice(("payment", "setup", "subscription"), required=True),
    "origin_context": Choice(("mobile_app", "web")),
    "payment_intent_data": Hash(
        {
            "description": Text(max_length=1000),
            "metadata": Metadata(),
            "receipt_email": Text(),
            "setup_future_usage": Choice(("off_session", "on_session")),
        }
    ),
    "payment_method_collection": Choice(("always", "if_required")),
    "setup_intent_data": Hash({"description": Text(), "metadata": Metadata()}),
    "submit_type": Choice(("auto", "book", "donate", "pay", "subscribe")),
    "subscription_data": _SUBSCRIPTION_DATA,
    "success_url": Text(),
    "ui_mode": Choice(("hosted_page",)),
}
_LIST: Final[dict[str, Field]] = {
    **PAGE,
    "created": CREATED,
    "customer": Text(),
    "customer_details": Hash({"email": Text(required=True)}),
    "payment_intent": Text(),
    "status": Choice(("complete", "expired", "open")),
    "subscription": Text(),
}


def create_session(ctx: Context, params: Params) -> Obj:
    refuse_taxes(params)
    return ctx.engine.checkout.create(params)


def show_session(ctx: Context, _: Params) -> Obj:
    return ctx.store.get("checkout.session", ctx.id)


def update_session(ctx: Context, params: Params) -> Obj:
    session = ctx.store.get("checkout.session", ctx.id)
    with ctx.engine.books.changing(session, None):
        session["metadata"] = merge_metadata(session["metadata"], params.get("metadata", {}))
    return session


def expire_session(ctx: Context, _: Params) -> Obj:
    return ctx.engine.checkout.expire(ctx.store.get("checkout.session", ctx.id))


def list_line_items(ctx: Context, _: Params) -> Listing:
    return Listing(ctx.store.get("checkout.session", ctx.id)["_line_items"]["data"])


def list_sessions(ctx: Context, params: Params) -> list[Obj]:
    email = params.get("customer_details", {}).get("email")
    return [
        session
        for session in of_customer(ctx, "checkout.session", params)
        if all(
            params.get(name) in {None, session[name]} for name in ("payment_intent", "status", "subscription")
        )
        and (email is None or (session["customer_details"] or {}).get("email") == email)
        and within(session["created"], params.get("created"))
    ]


ROUTES: Final = [
    Route("POST", "/v1/checkout/sessions", _CREATE, create_session),
    Route("GET", "/v1/checkout/sessions", _LIST, list_sessions),
    Route("GET", "/v1/checkout/sessions/{id}", {}, show_session),
    Route("POST", "/v1/checkout/sessions/{id}", {"metadata": Metadata()}, update_session),
    Route("POST", "/v1/checkout/sessions/{id}/expire", {}, expire_session),
    Route("GET", "/v1/checkout/sessions/{id}/line_items", PAGE, list_line_items),
]
