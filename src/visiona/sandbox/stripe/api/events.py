"""Events of the last 30 days."""

from fnmatch import fnmatchcase
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
    if not _is_kept(ctx, event):
        raise missing("event", ctx.id)
    return event


def list_events(ctx: Context, params: Params) -> list[Obj]:
    exclusive(params, "type", "types")
    wanted = params.get("types") or [params.get("type", "*")]
    return [
        event
        for event in ctx.store.all("event")
        if _is_kept(ctx, event)
        and any(fnmatchcase(event["type"], pattern) for pattern in wanted)
        and params.get("delivery_success") in {None, is_delivered(event)}
        and within(event["created"], params.get("created"))
    ]


def _is_kept(ctx: Context, event: Obj) -> bool:
    return event["_at"] >= ctx.clock.now() - KEPT_SECONDS


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
