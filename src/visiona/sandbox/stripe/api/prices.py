"""Prices: one amount per unit, once or for each period. An amount never changes; `active` may."""

from typing import Final

from visiona.sandbox.stripe.catalogue import PRICE_FIELDS, new_price, new_product
from visiona.sandbox.stripe.engine.changes import copy_of, previous_attributes
from visiona.sandbox.stripe.errors import invalid
from visiona.sandbox.stripe.paging import CREATED, PAGE, within
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
    exclusive,
    merge_metadata,
)
from visiona.sandbox.stripe.routes import Context, Route
from visiona.sandbox.stripe.store import Obj

_INTERVALS: Final = ("day", "month", "week", "year")


def create_price(ctx: Context, params: Params) -> Obj:
    exclusive(params, "product", "product_data")
    if "product_data" in params:
        product = new_product(ctx.store, ctx.clock, params["product_data"])
        ctx.emit("product.created", product, None)
        params["product"] = product["id"]
    if "product" not in params:
        raise invalid("You must specify either product or product_data.", param="product")
    price = new_price(ctx.store, ctx.clock, params)
    _set_lookup_key(ctx, price, params)
    ctx.store.put(price)
    ctx.emit("price.created", price, None)
    return price


def show_price(ctx: Context, _: Params) -> Obj:
    return ctx.store.get("price", ctx.id)


def update_price(ctx: Context, params: Params) -> Obj:
    price = ctx.store.get("price", ctx.id)
    before = copy_of(price)
    for name in ("active", "nickname"):
        price[name] = params.get(name, price[name])
    if params.get("tax_behavior", price["tax_behavior"]) != price["tax_behavior"]:
        if price["tax_behavior"] != "unspecified":
            raise invalid("You cannot change tax_behavior once it has been set.", param="tax_behavior")
        price["tax_behavior"] = params["tax_behavior"]
    if "metadata" in params:
        price["metadata"] = merge_metadata(price["metadata"], params["metadata"])
    _set_lookup_key(ctx, price, params)
    if previous := previous_attributes(before, price):
        ctx.store.put(price)
        ctx.emit("price.updated", price, previous)
    return price


def list_prices(ctx: Context, params: Params) -> list[Obj]:
    return [price for price in ctx.store.all("price") if _fits(price, params)]


def _fits(price: Obj, params: Params) -> bool:
    recurring = params.get("recurring")
    keys = params.get("lookup_keys")
    return (
        all(params.get(name) in {None, price[name]} for name in ("active", "currency", "product", "type"))
        and within(price["created"], params.get("created"))
        and (keys is None or price["lookup_key"] in keys)
        and (recurring is None or (price["recurring"] or {}).items() >= recurring.items())
    )


def _set_lookup_key(ctx: Context, price: Obj, params: Params) -> None:
    """A lookup key belongs to one price; `transfer_lookup_key` takes it from the one that has it."""
    if "lookup_key" not in params:
        return
    key = params["lookup_key"]
    having = [one["id"] for one in ctx.store.each("price") if key is not None and one["lookup_key"] == key]
    for id_ in having:
        if id_ == price["id"]:
            continue
        other = ctx.store.get("price", id_)
        if not params.get("transfer_lookup_key"):
            raise invalid(f"A price (`{other['id']}`) already uses that lookup key.", param="lookup_key")
        other["lookup_key"] = None
        ctx.store.put(other)
        ctx.emit("price.updated", other, {"lookup_key": key})
    price["lookup_key"] = key


_PRODUCT_DATA: Final = Hash(
    {
        "active": Boolean(),
        "id": Text(),
        "metadata": Metadata(),
        "name": Text(required=True, max_length=250),
        "statement_descriptor": Text(max_length=22),
        "tax_code": Text(),
        "unit_label": Text(max_length=12),
    }
)
_RECURRING: Final = Hash(
    {
        "interval": Choice(_INTERVALS, required=True),
        "interval_count": Integer(minimum=1),
        "trial_period_days": Integer(minimum=1, maximum=730),
        "usage_type": Choice(("licensed",)),
    }
)
_SHARED: Final[dict[str, Field]] = {
    "active": Boolean(),
    "lookup_key": Text(unset=True, max_length=200),
    "metadata": Metadata(),
    "nickname": Text(unset=True),
    "transfer_lookup_key": Boolean(),
}
_NEW: Final = {
    **PRICE_FIELDS,
    **_SHARED,
    "billing_scheme": Choice(("per_unit",)),
    "product": Text(),
    "product_data": _PRODUCT_DATA,
    "recurring": _RECURRING,
}
_LIST: Final = {
    **PAGE,
    "active": Boolean(),
    "created": CREATED,
    "currency": Text(max_length=3),
    "lookup_keys": Array(Text(), maximum=10),
    "product": Text(),
    "recurring": Hash({"interval": Choice(_INTERVALS), "usage_type": Choice(("licensed", "metered"))}),
    "type": Choice(("one_time", "recurring")),
}

ROUTES: Final = [
    Route("POST", "/v1/prices", _NEW, create_price),
    Route("GET", "/v1/prices", _LIST, list_prices),
    Route("GET", "/v1/prices/{id}", {}, show_price),
    Route("POST", "/v1/prices/{id}", {**_SHARED, "tax_behavior": PRICE_FIELDS["tax_behavior"]}, update_price),
]
