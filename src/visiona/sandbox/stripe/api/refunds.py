"""Refunds."""

from typing import Final

from visiona.sandbox.stripe.errors import invalid
from visiona.sandbox.stripe.paging import CREATED, PAGE, within
from visiona.sandbox.stripe.params import Choice, Field, Integer, Metadata, Params, Text
from visiona.sandbox.stripe.routes import Context, Route
from visiona.sandbox.stripe.store import Obj

_CREATE: Final[dict[str, Field]] = {
    "amount": Integer(minimum=1),
    "charge": Text(),
    "instructions_email": Text(),
    "metadata": Metadata(),
    "payment_intent": Text(),
    "reason": Choice(("duplicate", "fraudulent", "requested_by_customer")),
}
_LIST: Final[dict[str, Field]] = {
    **PAGE,
    "charge": Text(),
    "created": CREATED,
    "payment_intent": Text(),
}


def create_refund(ctx: Context, params: Params) -> Obj:
    return ctx.engine.refunds.create(params)


def show_refund(ctx: Context, _: Params) -> Obj:
    return ctx.store.get("refund", ctx.id)


def update_refund(ctx: Context, params: Params) -> Obj:
    return ctx.engine.refunds.update(ctx.store.get("refund", ctx.id), params)


def cancel_refund(ctx: Context, _: Params) -> Obj:
    """Only a refund that waits for the customer could be canceled, and cards have none of these."""
    refund = ctx.store.get("refund", ctx.id)
    raise invalid(f"A refund with a status of {refund['status']} cannot be canceled.", param="refund")


def list_refunds(ctx: Context, params: Params) -> list[Obj]:
    charge = params.get("charge")
    found = ctx.store.all("refund") if charge is None else ctx.engine.books.where("refund", "charge", charge)
    return [
        refund
        for refund in found
        if params.get("payment_intent") in {None, refund["payment_intent"]}
        and within(refund["created"], params.get("created"))
    ]


ROUTES: Final = [
    Route("POST", "/v1/refunds", _CREATE, create_refund),
    Route("GET", "/v1/refunds", _LIST, list_refunds),
    Route("GET", "/v1/refunds/{id}", {}, show_refund),
    Route("POST", "/v1/refunds/{id}", {"metadata": Metadata(required=True)}, update_refund),
    Route("POST", "/v1/refunds/{id}/cancel", {}, cancel_refund),
]
