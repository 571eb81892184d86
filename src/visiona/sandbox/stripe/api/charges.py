"""Charges: made by payment intents; here they are read and annotated."""

from typing import Final

from visiona.sandbox.stripe.api.subscriptions import of_customer
from visiona.sandbox.stripe.paging import CREATED, PAGE, within
from visiona.sandbox.stripe.params import Choice, Field, Hash, Metadata, Params, Text, merge_metadata
from visiona.sandbox.stripe.routes import Context, Route
from visiona.sandbox.stripe.store import Obj

_LIST: Final[dict[str, Field]] = {
    **PAGE,
    "created": CREATED,
    "customer": Text(),
    "payment_intent": Text(),
    "transfer_group": Text(),
}
_UPDATE: Final[dict[str, Field]] = {
    "description": Text(),
    "fraud_details": Hash({"user_report": Choice(("fraudulent", "safe"), required=True, unset=True)}),
    "metadata": Metadata(),
    "receipt_email": Text(),
}


def show_charge(ctx: Context, _: Params) -> Obj:
    return ctx.store.get("charge", ctx.id)


def update_charge(ctx: Context, params: Params) -> Obj:
    charge = ctx.store.get("charge", ctx.id)
    with ctx.engine.books.changing(charge, "charge.updated"):
        for name in ("description", "receipt_email"):
            charge[name] = params.get(name, charge[name])
        charge["fraud_details"] |= params.get("fraud_details", {})
        if "metadata" in params:
            charge["metadata"] = merge_metadata(charge["metadata"], params["metadata"])
    return charge


def list_charges(ctx: Context, params: Params) -> list[Obj]:
    return [
        charge
        for charge in of_customer(ctx, "charge", params)
        if params.get("payment_intent") in {None, charge["payment_intent"]}
        and params.get("transfer_group") in {None, charge["transfer_group"]}
        and within(charge["created"], params.get("created"))
    ]


ROUTES: Final = [
    Route("GET", "/v1/charges", _LIST, list_charges),
    Route("GET", "/v1/charges/{id}", {}, show_charge),
    Route("POST", "/v1/charges/{id}", _UPDATE, update_charge),
]
