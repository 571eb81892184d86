"""Test clocks."""

from typing import Final

from visiona.sandbox.stripe.paging import PAGE
from visiona.sandbox.stripe.params import Integer, Params, Text
from visiona.sandbox.stripe.routes import Context, Route
from visiona.sandbox.stripe.store import Obj

_KIND: Final = "test_helpers.test_clock"


def create_clock(ctx: Context, params: Params) -> Obj:
    return ctx.engine.clocks.create(params)


def show_clock(ctx: Context, _: Params) -> Obj:
    return ctx.store.get(_KIND, ctx.id)


def advance_clock(ctx: Context, params: Params) -> Obj:
    return ctx.engine.clocks.advance(ctx.store.get(_KIND, ctx.id), params["frozen_time"])


def delete_clock(ctx: Context, _: Params) -> Obj:
    return ctx.engine.clocks.delete(ctx.store.get(_KIND, ctx.id))


def list_clocks(ctx: Context, _: Params) -> list[Obj]:
    return ctx.store.all(_KIND)


_FROZEN_TIME: Final = Integer(required=True, minimum=0)

ROUTES: Final = [
    Route(
        "POST",
        "/v1/test_helpers/test_clocks",
        {"frozen_time": _FROZEN_TIME, "name": Text(max_length=300)},
        create_clock,
    ),
    Route("GET", "/v1/test_helpers/test_clocks", PAGE, list_clocks),
    Route("GET", "/v1/test_helpers/test_clocks/{id}", {}, show_clock),
    Route("DELETE", "/v1/test_helpers/test_clocks/{id}", {}, delete_clock),
    Route("POST", "/v1/test_helpers/test_clocks/{id}/advance", {"frozen_time": _FROZEN_TIME}, advance_clock),
]
