"""Payment intents: those of invoices, and single payments by card."""

from typing import Final

from visiona.sandbox.stripe.api.subscriptions import of_customer
from visiona.sandbox.stripe.catalogue import checked_currency
from visiona.sandbox.stripe.engine.collection import refuse
from visiona.sandbox.stripe.engine.money import smallest_charge
from visiona.sandbox.stripe.engine.payments import Purpose
from visiona.sandbox.stripe.errors import invalid
from visiona.sandbox.stripe.paging import CREATED, PAGE, within
from visiona.sandbox.stripe.params import (
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

_CONFIRM: Final[dict[str, Field]] = {
    "error_on_requires_action": Boolean(),
    "off_session": Boolean(),
    "payment_method": Text(),
    "receipt_email": Text(unset=True),
    "return_url": Text(),
}
_CREATE: Final[dict[str, Field]] = {
    **_CONFIRM,
    "amount": Integer(required=True, minimum=1, maximum=99_999_999),
    "automatic_payment_methods": Hash(
        {"allow_redirects": Choice(("always", "never")), "enabled": Boolean(required=True)}
    ),
    "confirm": Boolean(),
    "currency": Text(required=True),
    "customer": Text(),
    "description": Text(),
    "metadata": Metadata(),
    "setup_future_usage": Choice(("off_session", "on_session")),
}
_CANCEL: Final = {
    "cancellation_reason": Choice(("abandoned", "duplicate", "fraudulent", "requested_by_customer"))
}


def create_intent(ctx: Context, params: Params) -> Obj:
    currency = checked_currency(params["currency"])
    if params["amount"] < smallest_charge(currency):
        raise invalid("Amount must be at least the smallest charge.", param="amount", code="amount_too_small")
    customer = ctx.engine.books.customer(params["customer"]) if "customer" in params else None
    intent = ctx.engine.payments.open(
        Purpose(
            amount=params["amount"],
            currency=currency,
            customer=customer["id"] if customer is not None else None,
            test_clock=customer["test_clock"] if customer is not None else None,
            description=params.get("description"),
            receipt_email=params.get("receipt_email"),
            setup_future_usage=params.get("setup_future_usage"),
            metadata=merge_metadata({}, params.get("metadata", {})),
        ),
        _method(ctx, params, customer),
    )
    if params.get("confirm"):
        _confirm(ctx, intent)
    return intent


def show_intent(ctx: Context, _: Params) -> Obj:
    return ctx.store.get("payment_intent", ctx.id)


def update_intent(ctx: Context, params: Params) -> Obj:
    intent = ctx.store.get("payment_intent", ctx.id)
    with ctx.engine.books.changing(intent, None):
        intent["description"] = params.get("description", intent["description"])
        if "metadata" in params:
            intent["metadata"] = merge_metadata(intent["metadata"], params["metadata"])
    return intent


def confirm_intent(ctx: Context, params: Params) -> Obj:
    intent = ctx.store.get("payment_intent", ctx.id)
    customer = ctx.engine.books.customer(intent["customer"]) if intent["customer"] is not None else None
    method = _method(ctx, params, customer)
    if method is not None:
        intent["payment_method"] = method["id"]
        ctx.engine.books.keep(intent)
    _confirm(ctx, intent)
    return intent


def cancel_intent(ctx: Context, params: Params) -> Obj:
    intent = ctx.store.get("payment_intent", ctx.id)
    if intent["_of_invoice"] is not None:
        raise invalid(
            "You cannot cancel this PaymentIntent because it belongs to an invoice. Void that instead.",
            param="intent",
            code="payment_intent_unexpected_state",
        )
    return ctx.engine.payments.cancel(intent, params.get("cancellation_reason"))


def list_intents(ctx: Context, params: Params) -> list[Obj]:
    return [
        intent
        for intent in of_customer(ctx, "payment_intent", params)
        if within(intent["created"], params.get("created"))
    ]


def _method(ctx: Context, params: Params, customer: Obj | None) -> Obj | None:
    if "payment_method" not in params:
        return None
    method = ctx.engine.payment_methods.find(params["payment_method"], param="payment_method")
    owner = customer["id"] if customer is not None else None
    if method["customer"] not in {None, owner}:
        raise invalid(
            "The provided PaymentMethod cannot be attached: it belongs to another customer.",
            param="payment_method",
        )
    return method


def _confirm(ctx: Context, intent: Obj) -> None:
    """Raises a `StripeError` 402 where the card is refused; being asked something is no error here."""
    if intent["payment_method"] is None:
        raise invalid(
            "You cannot confirm this PaymentIntent because it's missing a payment method. You can either "
            "update the PaymentIntent with a payment method and then confirm it again, or confirm it again "
            "directly with a payment method or ConfirmationToken.",
            code="payment_intent_unexpected_state",
        )
    method = ctx.store.get("payment_method", intent["payment_method"])
    attempt = ctx.engine.payments.confirm(intent, method)
    if attempt.status == "failed":
        refuse(attempt, intent)
    owner: str | None = intent["customer"] if intent["setup_future_usage"] is not None else None
    if attempt.status == "succeeded" and owner is not None and method["customer"] is None:
        ctx.engine.payment_methods.attach(method, ctx.engine.books.customer(owner))


ROUTES: Final = [
    Route("POST", "/v1/payment_intents", _CREATE, create_intent),
    Route("GET", "/v1/payment_intents", {**PAGE, "created": CREATED, "customer": Text()}, list_intents),
    Route("GET", "/v1/payment_intents/{id}", {}, show_intent),
    Route(
        "POST",
        "/v1/payment_intents/{id}",
        {"description": Text(), "metadata": Metadata()},
        update_intent,
    ),
    Route("POST", "/v1/payment_intents/{id}/confirm", _CONFIRM, confirm_intent),
    Route("POST", "/v1/payment_intents/{id}/cancel", _CANCEL, cancel_intent),
]
