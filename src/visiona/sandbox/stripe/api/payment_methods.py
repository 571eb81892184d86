"""Payment methods: cards only."""

from typing import Final

from visiona.sandbox.stripe.engine.changes import copy_of, previous_attributes
from visiona.sandbox.stripe.engine.outcomes import Card
from visiona.sandbox.stripe.paging import PAGE
from visiona.sandbox.stripe.params import (
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

_REDISPLAY: Final = Choice(("always", "limited", "unspecified"))
_ADDRESS: Final[dict[str, Field]] = {
    name: Text(unset=True) for name in ("city", "country", "line1", "line2", "postal_code", "state")
}
_BILLING_DETAILS: Final = Hash(
    {
        "address": Hash(_ADDRESS, unset=True),
        "email": Text(unset=True),
        "name": Text(unset=True),
        "phone": Text(unset=True),
        "tax_id": Text(),
    }
)
_CARD: Final = Hash(
    {
        "number": Text(required=True),
        "exp_month": Integer(required=True),
        "exp_year": Integer(required=True),
        "cvc": Text(),
    },
    required=True,
)


def create_payment_method(ctx: Context, params: Params) -> Obj:
    data = params["card"]
    card = Card(data["number"], data["exp_month"], data["exp_year"], data.get("cvc", ""))
    metadata = merge_metadata({}, params.get("metadata"))
    method = ctx.engine.payment_methods.create(card, _billing_details(params), metadata)
    if "allow_redisplay" in params:
        method["allow_redisplay"] = params["allow_redisplay"]
        ctx.store.put(method)
    return method


def show_payment_method(ctx: Context, _: Params) -> Obj:
    return ctx.store.get("payment_method", ctx.id)


def update_payment_method(ctx: Context, params: Params) -> Obj:
    method = ctx.store.get("payment_method", ctx.id)
    before = copy_of(method)
    method["billing_details"] |= _billing_details(params)
    method["card"] |= params.get("card", {})
    method["allow_redisplay"] = params.get("allow_redisplay", method["allow_redisplay"])
    if "metadata" in params:
        method["metadata"] = merge_metadata(method["metadata"], params["metadata"])
    ctx.store.put(method)
    if previous := previous_attributes(before, method):
        ctx.emit("payment_method.updated", method, previous)
    return method


def list_payment_methods(ctx: Context, params: Params) -> list[Obj]:
    customer = params.get("customer")
    if customer is not None:
        ctx.store.get("customer", customer, param="customer")
        found = ctx.engine.books.where("payment_method", "customer", customer)
    else:
        found = ctx.store.all("payment_method")
    return [
        method
        for method in found
        if method["customer"] is not None
        and params.get("type") in {None, method["type"]}
        and params.get("allow_redisplay") in {None, method["allow_redisplay"]}
    ]


def attach(ctx: Context, params: Params) -> Obj:
    customer = ctx.store.get("customer", params["customer"], param="customer")
    method = ctx.engine.payment_methods.find(ctx.id)
    return ctx.engine.payment_methods.attach(method, customer)


def detach(ctx: Context, _: Params) -> Obj:
    return ctx.engine.payment_methods.detach(ctx.store.get("payment_method", ctx.id))


def _billing_details(params: Params) -> Obj:
    details: Obj = dict(params.get("billing_details", {}))
    if "address" in details:
        details["address"] = dict.fromkeys(_ADDRESS) | (details["address"] or {})
    return details


_LIST: Final = {
    **PAGE,
    "allow_redisplay": _REDISPLAY,
    "customer": Text(),
    "type": Choice(("card",)),
}
_SHARED: Final = {"allow_redisplay": _REDISPLAY, "billing_details": _BILLING_DETAILS, "metadata": Metadata()}
_NEW_DATE: Final = Hash({"exp_month": Integer(minimum=1, maximum=12), "exp_year": Integer()})

ROUTES: Final = [
    Route(
        "POST",
        "/v1/payment_methods",
        {**_SHARED, "type": Choice(("card",), required=True), "card": _CARD},
        create_payment_method,
    ),
    Route("GET", "/v1/payment_methods", _LIST, list_payment_methods),
    Route("GET", "/v1/payment_methods/{id}", {}, show_payment_method),
    Route("POST", "/v1/payment_methods/{id}", {**_SHARED, "card": _NEW_DATE}, update_payment_method),
    Route("POST", "/v1/payment_methods/{id}/attach", {"customer": Text(required=True)}, attach),
    Route("POST", "/v1/payment_methods/{id}/detach", {}, detach),
]
