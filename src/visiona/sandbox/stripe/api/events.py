"""Events of the last 30 days."""

from collections.abc import Callable
from fnmatch import fnmatchcase
from functools import cache
from typing import Final

from visiona.sandbox.stripe.errors import missing
from visiona.sandbox.stripe.events import KEPT_SECONDS
from visiona.sandbox.stripe.paging import CREATED, PAGE, within
from visiona.sandbox.stripe.params import Array, Boolean, Params, Text, exclusive
from visiona.sandbox.stripe.routes import Context, Route
from visiona.sandbox.stripe.store import Obj
from visiona.sandbox.stripe.webhooks import is_delivered


def show_event(ctx: Context, _: Params) -> Obj:
    event = ctx.store.get("event", ctx.id)
    if event["_at"] < _oldest(ctx):
        raise missing("event", ctx.id)
    return event


def list_events(ctx: Context, params: Params) -> list[Obj]:
    exclusive(params, "type", "types")
    oldest = _oldest(ctx)
    is_wanted = _filter(params.get("types") or [params.get("type", "*")])
    delivered: bool | None = params.get("delivery_success")
    return [
        event
        for event in ctx.store.all("event")
        if event["_at"] >= oldest
        and is_wanted(event["type"])
        and (delivered is None or delivered == is_delivered(event))
        and within(event["created"], params.get("created"))
    ]


def _oldest(ctx: Context) -> int:
    """Events from before this moment are gone."""
    return ctx.clock.now() - KEPT_SECONDS


def _filter(patterns: list[str]) -> Callable[[str], bool]:
    """There are many events and few types of them: each type is compared once."""

    @cache
    def fits(name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in patterns)

    return fits


_LIST: Final = {
    **PAGE,
    "created": CREATED,
    "delivery_success": Boolean(),
    "type": Text(),
    "types": Array(Text(), maximum=20),
}

ROUTES: Final = [
    Route("GET", "/v1/events", _LIST, list_events),
    Route("GET", "/v1/events/{id}", {}, show_event),
]
