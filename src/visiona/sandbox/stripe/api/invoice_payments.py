"""Payments of invoices: which payment intent pays which invoice."""

from typing import Final

from visiona.sandbox.stripe.paging import CREATED, PAGE, within
from visiona.sandbox.stripe.params import Choice, Field, Hash, Params, Text
from visiona.sandbox.stripe.routes import Context, Route
from visiona.sandbox.stripe.store import Obj

_LIST: Final[dict[str, Field]] = {
    **PAGE,
    "created": CREATED,
    "invoice": Text(),
    "payment": Hash(
        {"payment_intent": Text(), "type": Choice(("payment_intent", "payment_record"), required=True)}
    ),
    "status": Choice(("canceled", "open", "paid")),
}


def show_payment(ctx: Context, _: Params) -> Obj:
    return ctx.store.get("invoice_payment", ctx.id)


def list_payments(ctx: Context, params: Params) -> list[Obj]:
    books = ctx.engine.books
    payment: Obj = params.get("payment", {})
    if "invoice" in params:
        ctx.store.get("invoice", params["invoice"], param="invoice")
        found = books.where("invoice_payment", "invoice", params["invoice"])
    elif "payment_intent" in payment:
        found = books.where("invoice_payment", "_of_intent", payment["payment_intent"])
    else:
        found = ctx.store.all("invoice_payment")
    return [
        one
        for one in found
        if params.get("status") in {None, one["status"]}
        and payment.get("payment_intent") in {None, one["_of_intent"]}
        and payment.get("type") in {None, "payment_intent"}
        and within(one["created"], params.get("created"))
    ]


ROUTES: Final = [
    Route("GET", "/v1/invoice_payments", _LIST, list_payments),
    Route("GET", "/v1/invoice_payments/{id}", {}, show_payment),
]
