"""Webhook endpoints that were made over the API; the secret is told once, when one is made."""

from importlib.resources import files
from typing import Final

from visiona.sandbox.network import is_loopback_url
from visiona.sandbox.stripe.config import API_VERSION
from visiona.sandbox.stripe.errors import invalid
from visiona.sandbox.stripe.ids import new_id, random_text
from visiona.sandbox.stripe.paging import PAGE
from visiona.sandbox.stripe.params import (
    Array,
    Boolean,
    Choice,
    Field,
    Metadata,
    Params,
    Text,
    merge_metadata,
)
from visiona.sandbox.stripe.routes import Context, Route
from visiona.sandbox.stripe.store import Obj

_MOST: Final = 16
_EVENT_TYPES: Final = frozenset(
    ["*", *files("visiona.sandbox.stripe").joinpath("event_types.txt").read_text("ascii").split()]
)


def create_endpoint(ctx: Context, params: Params) -> Obj:
    if ctx.store.count("webhook_endpoint") >= _MOST:
        raise invalid(f"You have reached the maximum of {_MOST} test webhook endpoints.")
    _check(params)
    endpoint: Obj = {
        "id": new_id("we"),
        "object": "webhook_endpoint",
        "api_version": params.get("api_version"),
        "application": None,
        "created": ctx.clock.now(),
        "description": params.get("description"),
        "enabled_events": params["enabled_events"],
        "livemode": False,
        "metadata": merge_metadata({}, params.get("metadata")),
        "status": "enabled",
        "url": params["url"],
        "_secret": f"whsec_{random_text(32)}",
    }
    ctx.store.put(endpoint)
    return {**endpoint, "secret": endpoint["_secret"]}


def show_endpoint(ctx: Context, _: Params) -> Obj:
    return ctx.store.get("webhook_endpoint", ctx.id)


def update_endpoint(ctx: Context, params: Params) -> Obj:
    endpoint = ctx.store.get("webhook_endpoint", ctx.id)
    _check(params)
    for name in ("description", "enabled_events", "url"):
        endpoint[name] = params.get(name, endpoint[name])
    if "disabled" in params:
        endpoint["status"] = "disabled" if params["disabled"] else "enabled"
    if "metadata" in params:
        endpoint["metadata"] = merge_metadata(endpoint["metadata"], params["metadata"])
    ctx.store.put(endpoint)
    return endpoint


def list_endpoints(ctx: Context, _: Params) -> list[Obj]:
    return ctx.store.all("webhook_endpoint")


def delete_endpoint(ctx: Context, _: Params) -> Obj:
    endpoint = ctx.store.get("webhook_endpoint", ctx.id)
    ctx.store.delete("webhook_endpoint", endpoint["id"])
    return {"id": endpoint["id"], "object": "webhook_endpoint", "deleted": True}


def _check(params: Params) -> None:
    for index, name in enumerate(params.get("enabled_events", ())):
        if name not in _EVENT_TYPES:
            param = f"enabled_events[{index}]"
            raise invalid(f"Invalid {param}: {name} is not the name of an event.", param=param)
    if "url" in params and not is_loopback_url(params["url"]):
        raise invalid(
            "Invalid URL: the sandbox delivers to this machine only.", param="url", code="url_invalid"
        )


_SHARED: Final[dict[str, Field]] = {"description": Text(unset=True), "metadata": Metadata()}
_NEW: Final[dict[str, Field]] = {
    **_SHARED,
    "api_version": Choice((API_VERSION,)),
    "connect": Choice(("false",)),
    "enabled_events": Array(Text(), required=True),
    "url": Text(required=True),
}
_CHANGED: Final[dict[str, Field]] = {
    **_SHARED,
    "disabled": Boolean(),
    "enabled_events": Array(Text()),
    "url": Text(),
}

ROUTES: Final = [
    Route("POST", "/v1/webhook_endpoints", _NEW, create_endpoint),
    Route("GET", "/v1/webhook_endpoints", PAGE, list_endpoints),
    Route("GET", "/v1/webhook_endpoints/{id}", {}, show_endpoint),
    Route("POST", "/v1/webhook_endpoints/{id}", _CHANGED, update_endpoint),
    Route("DELETE", "/v1/webhook_endpoints/{id}", {}, delete_endpoint),
]
