"""Setup intents: cards that are to be charged later."""

from typing import Final

from visiona.sandbox.stripe.api.subscriptions import of_customer
from visiona.sandbox.stripe.errors import invalid
from visiona.sandbox.stripe.paging import CREATED, PAGE, within
from visiona.sandbox.stripe.params import (
    Boolean,
    Choice,
    Field,
    Hash,
    Metadata,
    Params,
    Text,
    merge_metadata,
)
from visiona.sandbox.stripe.routes import Context, Route
from visiona.sandbox.stripe.store import Obj
from visiona.sandbox.stripe.wire import shown

_CONFIRM: Final[dict[str, Field]] = {"payment_method": Text(), "return_url": Text()}
_CREATE: Final[dict[str, Field]] = {
    **_CONFIRM,
    "automatic_payment_methods": Hash(
        {"allow_redirects": Choice(("always", "never")), "enabled": Boolean(required=True)}
    ),
    "confirm": Boolean(),
    "customer": Text(),
    "description": Text(),
    "metadata": Metadata(),
    "usage": Choice(("off_session", "on_session")),
}


def create_intent(ctx: Context, params: Params) -> Obj:
    customer = ctx.engine.books.customer(params["customer"]) if "customer" in params else None
    intent = ctx.engine.setups.open(customer, merge_metadata({}, params.get("metadata", {})))
    intent["description"] = params.get("description")
    intent["usage"] = params.get("usage", "off_session")
    ctx.engine.books.keep(intent)
    if params.get("confirm"):
        _confirm(ctx, intent, params)
    elif "payment_method" in params:
        method = ctx.engine.payment_methods.find(params["payment_method"], param="payment_method")
        intent |= {"payment_method": method["id"], "status": "requires_confirmation"}
        ctx.engine.books.keep(intent)
    return intent


def show_intent(ctx: Context, _: Params) -> Obj:
    return ctx.store.get("setup_intent", ctx.id)


def confirm_intent(ctx: Context, params: Params) -> Obj:
    intent = ctx.store.get("setup_intent", ctx.id)
    _confirm(ctx, intent, params)
    return intent


def cancel_intent(ctx: Context, params: Params) -> Obj:
    intent = ctx.store.get("setup_intent", ctx.id)
    return ctx.engine.setups.cancel(intent, params.get("cancellation_reason"))


def list_intents(ctx: Context, params: Params) -> list[Obj]:
    return [
        intent
        for intent in of_customer(ctx, "setup_intent", params)
        if params.get("payment_method") in {None, intent["payment_method"]}
        and within(intent["created"], params.get("created"))
    ]


def _confirm(ctx: Context, intent: Obj, params: Params) -> None:
    """Raises a `StripeError` 402 where the card is refused."""
    chosen = params.get("payment_method") or intent["payment_method"]
    if chosen is None:
        raise invalid(
            "You cannot confirm this SetupIntent because it's missing a payment method.",
            code="setup_intent_unexpected_state",
        )
    method = ctx.engine.payment_methods.find(chosen, param="payment_method")
    attempt = ctx.engine.setups.confirm(intent, method)
    if attempt.decline is not None:
        raise attempt.decline.for_api(setup_intent=shown(intent), payment_method=shown(method))


_LIST: Final[dict[str, Field]] = {**PAGE, "created": CREATED, "customer": Text(), "payment_method": Text()}
_CANCEL: Final = {"cancellation_reason": Choice(("abandoned", "duplicate", "requested_by_customer"))}

ROUTES: Final = [
    Route("POST", "/v1/setup_intents", _CREATE, create_intent),
    Route("GET", "/v1/setup_intents", _LIST, list_intents),
    Route("GET", "/v1/setup_intents/{id}", {}, show_intent),
    Route("POST", "/v1/setup_intents/{id}/confirm", _CONFIRM, confirm_intent),
    Route("POST", "/v1/setup_intents/{id}/cancel", _CANCEL, cancel_intent),
]
