"""Subscription schedules."""

from typing import Final

from visiona.sandbox.stripe.api.subscriptions import NEW_ITEM, PRORATION_BEHAVIOR, of_customer
from visiona.sandbox.stripe.paging import CREATED, PAGE, within
from visiona.sandbox.stripe.params import (
    Array,
    Boolean,
    Choice,
    Either,
    Field,
    Hash,
    Integer,
    Metadata,
    Params,
    Text,
)
from visiona.sandbox.stripe.routes import Context, Route
from visiona.sandbox.stripe.store import Obj

_MOMENTS: Final = ("canceled_at", "completed_at", "released_at")
_DURATION: Final = Hash(
    {
        "interval": Choice(("day", "month", "week", "year"), required=True),
        "interval_count": Integer(minimum=1),
    }
)
_PHASE: Final[dict[str, Field]] = {
    "description": Text(unset=True),
    "duration": _DURATION,
    "end_date": Integer(),
    "items": Array(Hash(NEW_ITEM), required=True, maximum=20),
    "metadata": Metadata(),
    "proration_behavior": PRORATION_BEHAVIOR,
}
_START: Final = Either(Choice(("now",)), Integer())
_SHARED: Final[dict[str, Field]] = {
    "end_behavior": Choice(("cancel", "none", "release", "renew")),
    "metadata": Metadata(),
}
_CREATE: Final[dict[str, Field]] = {
    **_SHARED,
    "customer": Text(),
    "from_subscription": Text(),
    "phases": Array(Hash(_PHASE), maximum=10),
    "start_date": _START,
}
_UPDATE: Final[dict[str, Field]] = {
    **_SHARED,
    "phases": Array(Hash({**_PHASE, "start_date": _START}), maximum=10),
    "proration_behavior": PRORATION_BEHAVIOR,
}
_LIST: Final[dict[str, Field]] = {
    **PAGE,
    **dict.fromkeys(_MOMENTS, CREATED),
    "created": CREATED,
    "customer": Text(),
    "scheduled": Boolean(),
}


def create_schedule(ctx: Context, params: Params) -> Obj:
    return ctx.engine.schedules.create(params)


def show_schedule(ctx: Context, _: Params) -> Obj:
    return ctx.store.get("subscription_schedule", ctx.id)


def update_schedule(ctx: Context, params: Params) -> Obj:
    return ctx.engine.schedules.update(ctx.store.get("subscription_schedule", ctx.id), params)


def release_schedule(ctx: Context, _: Params) -> Obj:
    return ctx.engine.schedules.release(ctx.store.get("subscription_schedule", ctx.id))


def cancel_schedule(ctx: Context, params: Params) -> Obj:
    return ctx.engine.schedules.cancel(ctx.store.get("subscription_schedule", ctx.id), params)


def list_schedules(ctx: Context, params: Params) -> list[Obj]:
    return [
        schedule
        for schedule in of_customer(ctx, "subscription_schedule", params)
        if within(schedule["created"], params.get("created"))
        and params.get("scheduled") in {None, schedule["status"] == "not_started"}
        and all(name not in params or within(schedule[name] or 0, params[name]) for name in _MOMENTS)
    ]


ROUTES: Final = [
    Route("POST", "/v1/subscription_schedules", _CREATE, create_schedule),
    Route("GET", "/v1/subscription_schedules", _LIST, list_schedules),
    Route("GET", "/v1/subscription_schedules/{id}", {}, show_schedule),
    Route("POST", "/v1/subscription_schedules/{id}", _UPDATE, update_schedule),
    Route(
        "POST",
        "/v1/subscription_schedules/{id}/release",
        {"preserve_cancel_date": Boolean()},
        release_schedule,
    ),
    Route(
        "POST",
        "/v1/subscription_schedules/{id}/cancel",
        {"invoice_now": Boolean(), "prorate": Boolean()},
        cancel_schedule,
    ),
]
