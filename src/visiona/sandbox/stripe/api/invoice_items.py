"""Invoice items: amounts that wait for the next invoice."""

from typing import Final

from visiona.sandbox.stripe.api.subscriptions import ONCE_DATA, of_customer
from visiona.sandbox.stripe.catalogue import checked_currency
from visiona.sandbox.stripe.engine.lines import Line
from visiona.sandbox.stripe.engine.money import price_amount
from visiona.sandbox.stripe.errors import invalid
from visiona.sandbox.stripe.paging import CREATED, PAGE, within
from visiona.sandbox.stripe.params import (
    Boolean,
    Field,
    Hash,
    Integer,
    Metadata,
    Params,
    Text,
    exclusive,
    merge_metadata,
)
from visiona.sandbox.stripe.routes import Context, Route
from visiona.sandbox.stripe.store import Obj

_PERIOD: Final = Hash({"end": Integer(required=True), "start": Integer(required=True)})
_SHARED: Final[dict[str, Field]] = {
    "amount": Integer(),
    "description": Text(),
    "discountable": Boolean(),
    "metadata": Metadata(),
    "period": _PERIOD,
}
_CREATE: Final[dict[str, Field]] = {
    **_SHARED,
    "currency": Text(),
    "customer": Text(),
    "invoice": Text(),
    "price_data": ONCE_DATA,
    "pricing": Hash({"price": Text(required=True)}),
    "quantity": Integer(minimum=0),
    "subscription": Text(),
}
_LIST: Final[dict[str, Field]] = {
    **PAGE,
    "created": CREATED,
    "customer": Text(),
    "invoice": Text(),
    "pending": Boolean(),
}


def create_item(ctx: Context, params: Params) -> Obj:
    """Waits for the next invoice, or goes onto the draft that `invoice` names."""
    if "customer" not in params:
        raise invalid("Missing required param: customer.", param="customer", code="parameter_missing")
    customer = ctx.engine.books.customer(params["customer"])
    if "subscription" in params:
        ctx.store.get("subscription", params["subscription"], param="subscription")
    item = ctx.engine.invoices.add_item(_line(ctx, params, customer), customer)
    if "invoice" in params:
        invoice = ctx.store.get("invoice", params["invoice"], param="invoice")
        ctx.engine.invoices.add_to_draft(invoice, item)
    return item


def show_item(ctx: Context, _: Params) -> Obj:
    return ctx.store.get("invoiceitem", ctx.id)


def update_item(ctx: Context, params: Params) -> Obj:
    item = ctx.store.get("invoiceitem", ctx.id)
    if item["invoice"] is not None:
        raise invalid("An invoice item that is on an invoice cannot be changed.", param="id")
    with ctx.engine.books.changing(item, None):
        for name in ("description", "discountable", "period"):
            item[name] = params.get(name, item[name])
        if "amount" in params:
            item |= {"amount": params["amount"], "net_amount": params["amount"]}
        if "metadata" in params:
            item["metadata"] = merge_metadata(item["metadata"], params["metadata"])
    return item


def delete_item(ctx: Context, _: Params) -> Obj:
    ctx.engine.invoices.delete_item(ctx.store.get("invoiceitem", ctx.id))
    return {"id": ctx.id, "object": "invoiceitem", "deleted": True}


def list_items(ctx: Context, params: Params) -> list[Obj]:
    return [
        item
        for item in of_customer(ctx, "invoiceitem", params)
        if params.get("invoice") in {None, item["invoice"]}
        and params.get("pending") in {None, item["invoice"] is None}
        and within(item["date"], params.get("created"))
    ]


def _line(ctx: Context, params: Params, customer: Obj) -> Line:
    exclusive(params, "amount", "pricing", "price_data")
    now = ctx.engine.books.now_for(customer)
    period: Obj = params.get("period", {"start": now, "end": now})
    quantity: int = params.get("quantity", 1)
    if "pricing" in params or "price_data" in params:
        wish = {**params.get("pricing", {}), "price_data": params.get("price_data")}
        price = ctx.engine.prices.chosen(wish, path="pricing", recurring=False)
        amount = price_amount(price, quantity)
        currency = price["currency"]
    elif "amount" in params:
        price, amount = None, params["amount"]
        currency = checked_currency(params.get("currency") or customer["currency"] or "usd")
    else:
        raise invalid(
            "You must pass one of amount, pricing and price_data.", param="amount", code="parameter_missing"
        )
    name = ctx.engine.prices.name(price) if price is not None else None
    return Line(
        amount=amount,
        currency=currency,
        description=params.get("description", name),
        start=period["start"],
        end=period["end"],
        price=price,
        quantity=quantity,
        subscription=params.get("subscription"),
        discountable=params.get("discountable", amount > 0),
        metadata=merge_metadata({}, params.get("metadata", {})),
    )


ROUTES: Final = [
    Route("POST", "/v1/invoiceitems", _CREATE, create_item),
    Route("GET", "/v1/invoiceitems", _LIST, list_items),
    Route("GET", "/v1/invoiceitems/{id}", {}, show_item),
    Route("POST", "/v1/invoiceitems/{id}", _SHARED, update_item),
    Route("DELETE", "/v1/invoiceitems/{id}", {}, delete_item),
]
