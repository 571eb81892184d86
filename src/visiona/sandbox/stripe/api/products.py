"""Products: what prices are for."""

from typing import Final

from visiona.sandbox.stripe.catalogue import (
    PRICE_FIELDS,
    PRODUCT_FIELDS,
    change_product,
    new_price,
    new_product,
)
from visiona.sandbox.stripe.engine.changes import copy_of, previous_attributes
from visiona.sandbox.stripe.errors import invalid
from visiona.sandbox.stripe.paging import CREATED, PAGE, within
from visiona.sandbox.stripe.params import Array, Boolean, Choice, Hash, Params, Text, exclusive
from visiona.sandbox.stripe.routes import Context, Route
from visiona.sandbox.stripe.store import Obj

_TYPE: Final = Choice(("good", "service"))


def create_product(ctx: Context, params: Params) -> Obj:
    product = new_product(ctx.store, ctx.clock, params)
    ctx.emit("product.created", product, None)
    if "default_price_data" in params:
        price = new_price(ctx.store, ctx.clock, params["default_price_data"] | {"product": product["id"]})
        ctx.emit("price.created", price, None)
        product["default_price"] = price["id"]
        ctx.store.put(product)
        ctx.emit("product.updated", product, {"default_price": None})
    return product


def show_product(ctx: Context, _: Params) -> Obj:
    return ctx.store.get("product", ctx.id)


def update_product(ctx: Context, params: Params) -> Obj:
    product = ctx.store.get("product", ctx.id)
    before = copy_of(product)
    if "default_price" in params:
        price = ctx.store.get("price", params["default_price"], param="default_price")
        if price["product"] != product["id"]:
            message = f"The price {price['id']} does not belong to the product {product['id']}."
            raise invalid(message, param="default_price")
        product["default_price"] = price["id"]
    change_product(product, params)
    if previous := previous_attributes(before, product):
        product["updated"] = ctx.clock.now()
        ctx.store.put(product)
        ctx.emit("product.updated", product, {**previous, "updated": before["updated"]})
    return product


def list_products(ctx: Context, params: Params) -> list[Obj]:
    exclusive(params, "ids", "starting_after")
    exclusive(params, "ids", "ending_before")
    return [
        product
        for product in ctx.store.all("product")
        if (params.get("ids") is None or product["id"] in params["ids"])
        and all(params.get(name) in {None, product[name]} for name in ("active", "shippable", "type", "url"))
        and within(product["created"], params.get("created"))
    ]


def delete_product(ctx: Context, _: Params) -> Obj:
    product = ctx.store.get("product", ctx.id)
    if any(price["product"] == product["id"] for price in ctx.store.each("price")):
        raise invalid("This product cannot be deleted because it has one or more user-created prices.")
    ctx.store.delete("product", product["id"])
    ctx.emit("product.deleted", product, None)
    return {"id": product["id"], "object": "product", "deleted": True}


_NEW: Final = {
    **PRODUCT_FIELDS,
    "default_price_data": Hash(PRICE_FIELDS),
    "id": Text(),
    "name": Text(required=True, max_length=250),
    "type": _TYPE,
}
_CHANGED: Final = {**PRODUCT_FIELDS, "default_price": Text(), "name": Text(max_length=250)}
_LIST: Final = {
    **PAGE,
    "active": Boolean(),
    "created": CREATED,
    "ids": Array(Text()),
    "shippable": Boolean(),
    "type": _TYPE,
    "url": Text(),
}

ROUTES: Final = [
    Route("POST", "/v1/products", _NEW, create_product),
    Route("GET", "/v1/products", _LIST, list_products),
    Route("GET", "/v1/products/{id}", {}, show_product),
    Route("POST", "/v1/products/{id}", _CHANGED, update_product),
    Route("DELETE", "/v1/products/{id}", {}, delete_product),
]
