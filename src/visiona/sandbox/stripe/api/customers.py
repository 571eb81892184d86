"""Customers and what belongs to them."""

from typing import Any, Final

from visiona.sandbox.stripe.engine.changes import copy_of, previous_attributes
from visiona.sandbox.stripe.engine.credit import change_balance
from visiona.sandbox.stripe.engine.customers import new_customer
from visiona.sandbox.stripe.errors import StripeError, invalid
from visiona.sandbox.stripe.paging import CREATED, PAGE, within
from visiona.sandbox.stripe.params import (
    Array,
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

_ADDRESS: Final[dict[str, Field]] = {
    name: Text(unset=True) for name in ("city", "country", "line1", "line2", "postal_code", "state")
}
_CUSTOM_FIELD: Final = Hash({"name": Text(required=True, max_length=40), "value": Text(required=True)})
_INVOICE_SETTINGS: Final = Hash(
    {
        "custom_fields": Array(_CUSTOM_FIELD, unset=True, maximum=4),
        "default_payment_method": Text(unset=True),
        "footer": Text(unset=True),
        "rendering_options": Hash(
            {
                "amount_tax_display": Choice(("exclude_tax", "include_inclusive_tax"), unset=True),
                "template": Text(),
            },
            unset=True,
        ),
    }
)
_FIELDS: Final[dict[str, Field]] = {
    "address": Hash(_ADDRESS, unset=True),
    "balance": Integer(),
    "business_name": Text(unset=True, max_length=150),
    "description": Text(unset=True),
    "email": Text(unset=True, max_length=512),
    "individual_name": Text(unset=True, max_length=150),
    "invoice_prefix": Text(max_length=12),
    "invoice_settings": _INVOICE_SETTINGS,
    "metadata": Metadata(),
    "name": Text(unset=True, max_length=256),
    "next_invoice_sequence": Integer(minimum=1),
    "phone": Text(unset=True, max_length=20),
    "preferred_locales": Array(Text()),
    "shipping": Hash(
        {"address": Hash(_ADDRESS, required=True), "name": Text(required=True), "phone": Text(unset=True)},
        unset=True,
    ),
    "tax_exempt": Choice(("exempt", "none", "reverse"), unset=True),
}
_DEFAULT_CURRENCY: Final = "usd"
_PLAIN: Final = ("business_name", "description", "individual_name", "invoice_prefix", "name", "phone")


def create_customer(ctx: Context, params: Params) -> Obj:
    test_clock = params.get("test_clock")
    if test_clock is not None:
        ctx.store.get("test_helpers.test_clock", test_clock, param="test_clock")
    customer = new_customer(ctx.clock.now(test_clock), params.get("email"), params.get("name"))
    customer["test_clock"] = test_clock
    if "payment_method" in params:
        _attach(ctx, customer, params["payment_method"])
    _apply(ctx, customer, params)
    customer["balance"] = params.get("balance", 0)
    ctx.engine.books.keep(customer)
    ctx.emit("customer.created", customer, None)
    return customer


def show_customer(ctx: Context, _: Params) -> Obj:
    """A deleted customer too, as `{"deleted": true}`."""
    return ctx.store.find("customer", ctx.id) or ctx.store.get("customer", ctx.id)


def update_customer(ctx: Context, params: Params) -> Obj:
    customer = ctx.store.get("customer", ctx.id)
    before = copy_of(customer)
    _apply(ctx, customer, params)
    ctx.store.put(customer)
    if previous := previous_attributes(before, customer):
        ctx.emit("customer.updated", customer, previous)
    if added := params.get("balance", customer["balance"]) - customer["balance"]:
        transaction = change_balance(ctx.engine.books, customer, added, "adjustment")
        transaction["currency"] = customer["currency"] or _DEFAULT_CURRENCY
        ctx.store.put(transaction)
    return customer


def list_customers(ctx: Context, params: Params) -> list[Obj]:
    """Those on a test clock only where that clock is asked for."""
    return [
        customer
        for customer in ctx.store.all("customer")
        if not customer.get("deleted")
        and customer["test_clock"] == params.get("test_clock")
        and within(customer["created"], params.get("created"))
        and params.get("email") in {None, customer["email"]}
    ]


def delete_customer(ctx: Context, _: Params) -> Obj:
    """Ends the customer's subscriptions at once; what was paid stays."""
    customer = ctx.store.get("customer", ctx.id)
    ctx.engine.subscriptions.end_all(ctx.id)
    for method in _methods_of(ctx, customer):
        method |= {"customer": None, "_detached": True}
        ctx.store.put(method)
    ctx.emit("customer.deleted", customer, None)
    rest: Obj = {"id": customer["id"], "object": "customer", "deleted": True}
    ctx.store.put(rest)
    return rest


def list_payment_methods(ctx: Context, params: Params) -> list[Obj]:
    methods = _methods_of(ctx, ctx.store.get("customer", ctx.id))
    return [method for method in methods if params.get("type") in {None, method["type"]}]


def show_payment_method(ctx: Context, _: Params) -> Obj:
    ctx.store.get("customer", ctx.id)
    method = ctx.store.get("payment_method", ctx.ids["payment_method"])
    if method["customer"] != ctx.id:
        raise invalid(f"The payment method {method['id']} is not attached to the customer {ctx.id}.")
    return method


def _attach(ctx: Context, customer: Obj, payment_method: str) -> None:
    """Give a new customer a card; one whose card is declined does not come to be."""
    method = ctx.engine.payment_methods.find(payment_method, param="payment_method")
    ctx.store.put(customer)
    try:
        ctx.engine.payment_methods.attach(method, customer)
    except StripeError:
        ctx.store.delete("customer", customer["id"])
        raise


def _apply(ctx: Context, customer: Obj, params: Params) -> None:
    customer |= {name: params[name] for name in (*_PLAIN, "email") if name in params}
    for name in ("address", "shipping"):
        if name in params:
            customer[name] = _with_whole_address(name, params[name])
    if "metadata" in params:
        customer["metadata"] = merge_metadata(customer["metadata"], params["metadata"])
    if "tax_exempt" in params:
        customer["tax_exempt"] = params["tax_exempt"] or "none"
    for name in ("next_invoice_sequence", "preferred_locales"):
        customer[name] = params.get(name, customer[name])
    settings: Params = params.get("invoice_settings") or {}
    if (chosen := settings.get("default_payment_method")) is not None:
        param = "invoice_settings[default_payment_method]"
        method = ctx.engine.payment_methods.of_customer(chosen, customer, param=param)
        settings["default_payment_method"] = method["id"]
    customer["invoice_settings"] |= settings


def _with_whole_address(name: str, given: Any) -> Any:
    """An address as Stripe shows it: every part, `None` where it was not given."""
    if given is None:
        return None
    if name == "address":
        return dict.fromkeys(_ADDRESS) | given
    return {"phone": None} | given | {"address": dict.fromkeys(_ADDRESS) | given["address"]}


def _methods_of(ctx: Context, customer: Obj) -> list[Obj]:
    return ctx.engine.books.where("payment_method", "customer", customer["id"])


ROUTES: Final = [
    Route(
        "POST",
        "/v1/customers",
        {**_FIELDS, "payment_method": Text(), "test_clock": Text()},
        create_customer,
    ),
    Route(
        "GET",
        "/v1/customers",
        {**PAGE, "created": CREATED, "email": Text(max_length=512), "test_clock": Text()},
        list_customers,
    ),
    Route("GET", "/v1/customers/{id}", {}, show_customer),
    Route("POST", "/v1/customers/{id}", _FIELDS, update_customer),
    Route("DELETE", "/v1/customers/{id}", {}, delete_customer),
    Route(
        "GET", "/v1/customers/{id}/payment_methods", {**PAGE, "type": Choice(("card",))}, list_payment_methods
    ),
    Route("GET", "/v1/customers/{id}/payment_methods/{payment_method}", {}, show_payment_method),
]
