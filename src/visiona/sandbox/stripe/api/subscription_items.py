"""Items of subscriptions: changing one is changing its subscription."""

from typing import Final

from visiona.sandbox.stripe.api.subscriptions import NEW_ITEM, PAYMENT_BEHAVIOR, PRORATION_BEHAVIOR
from visiona.sandbox.stripe.engine.subscriptions.objects import ENDED, items_of
from visiona.sandbox.stripe.errors import missing
from visiona.sandbox.stripe.paging import PAGE, Listing
from visiona.sandbox.stripe.params import Boolean, Field, Integer, Params, Text
from visiona.sandbox.stripe.routes import Context, Route
from visiona.sandbox.stripe.store import Obj

_HOW: Final[dict[str, Field]] = {
    "payment_behavior": PAYMENT_BEHAVIOR,
    "proration_behavior": PRORATION_BEHAVIOR,
    "proration_date": Integer(),
}


def create_item(ctx: Context, params: Params) -> Obj:
    subscription = ctx.store.get("subscription", params.pop("subscription"), param="subscription")
    before = {item["id"] for item in items_of(subscription)}
    _update(ctx, subscription, {}, params)
    return next(item for item in items_of(subscription) if item["id"] not in before)


def show_item(ctx: Context, _: Params) -> Obj:
    return _find(ctx)[1]


def update_item(ctx: Context, params: Params) -> Obj:
    subscription, item = _find(ctx)
    _update(ctx, subscription, {"id": item["id"]}, params)
    return _find(ctx)[1]


def delete_item(ctx: Context, params: Params) -> Obj:
    subscription, item = _find(ctx)
    _update(ctx, subscription, {"id": item["id"], "deleted": True}, params)
    return {"id": item["id"], "object": "subscription_item", "deleted": True}


def list_items(ctx: Context, params: Params) -> Listing:
    return Listing(items_of(ctx.store.get("subscription", params["subscription"], param="subscription")))


def _update(ctx: Context, subscription: Obj, wish: Obj, params: Params) -> None:
    how = {name: params.pop(name) for name in list(params) if name in {*_HOW, "off_session"}}
    params.pop("expand", None)
    ctx.engine.subscriptions.update(subscription, {**how, "items": [{**wish, **params}]})


def _find(ctx: Context) -> tuple[Obj, Obj]:
    """The subscription of the item that the path names, and the item."""
    for known in ctx.store.each("subscription"):
        if known["status"] not in ENDED and any(item["id"] == ctx.id for item in items_of(known)):
            subscription = ctx.store.get("subscription", known["id"])
            return subscription, next(item for item in items_of(subscription) if item["id"] == ctx.id)
    raise missing("subscription_item", ctx.id)


ROUTES: Final = [
    Route(
        "POST",
        "/v1/subscription_items",
        {**NEW_ITEM, **_HOW, "subscription": Text(required=True)},
        create_item,
    ),
    Route(
        "GET",
        "/v1/subscription_items",
        {**PAGE, "subscription": Text(required=True)},
        list_items,
    ),
    Route("GET", "/v1/subscription_items/{id}", {}, show_item),
    Route(
        "POST",
        "/v1/subscription_items/{id}",
        {**NEW_ITEM, **_HOW, "off_session": Boolean()},
        update_item,
    ),
    Route("DELETE", "/v1/subscription_items/{id}", _HOW, delete_item),
]
