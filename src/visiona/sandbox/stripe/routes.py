"""How a route of the API is declared.

    ROUTES = [
        Route("POST", "/v1/things", {"name": Text(required=True)}, create_thing),
        Route("GET", "/v1/things", {**PAGE, "created": CREATED}, list_things),
        Route("GET", "/v1/things/{id}", {}, show_thing),
    ]

    def show_thing(ctx: Context, params: Params) -> Obj:
        return ctx.store.get("thing", ctx.id)

A handler is a plain function: it runs to its end before any other request is looked at, within
`store.atomic()`. It answers with an object; or with a list, oldest first as `store.all` gives it, of
which the newest are shown first, a page at a time; or with a `Listing` where the order is its own.
`expand` is understood on every route. Keys that begin with `_` are never shown.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from visiona.sandbox.stripe.clock import Clock
from visiona.sandbox.stripe.config import StripeSandboxConfig
from visiona.sandbox.stripe.engine import Engine
from visiona.sandbox.stripe.events import Emit
from visiona.sandbox.stripe.paging import Listing
from visiona.sandbox.stripe.params import Fields, Params
from visiona.sandbox.stripe.store import Obj, Store

Method = Literal["GET", "POST", "DELETE"]


@dataclass(frozen=True, slots=True)
class Context:
    """What a handler works with; `ids` are the parts of the path that stand in braces."""

    config: StripeSandboxConfig
    store: Store
    clock: Clock
    emit: Emit
    engine: Engine
    ids: Mapping[str, str]

    @property
    def id(self) -> str:
        """The part of the path named `{id}`."""
        return self.ids["id"]


Answer = Obj | list[Obj] | Listing
Handler = Callable[[Context, Params], Answer]


@dataclass(frozen=True, slots=True)
class Route:
    method: Method
    path: str
    fields: Fields
    handler: Handler


class RouteTable:
    """Finds the route for a request; a fixed part of a path wins over one in braces."""

    def __init__(self, routes: list[Route]) -> None:
        self._routes = [(tuple(route.path.strip("/").split("/")), route) for route in routes]
        self._routes.sort(key=lambda entry: [part.startswith("{") for part in entry[0]])

    def match(self, method: str, path: str) -> tuple[Route, dict[str, str]] | None:
        parts = path.strip("/").split("/")
        for pattern, route in self._routes:
            if route.method == method and (ids := _ids(pattern, parts)) is not None:
                return route, ids
        return None


def _ids(pattern: tuple[str, ...], parts: list[str]) -> dict[str, str] | None:
    if len(pattern) != len(parts):
        return None
    ids: dict[str, str] = {}
    for expected, part in zip(pattern, parts, strict=True):
        if expected.startswith("{"):
            ids[expected[1:-1]] = part
        elif expected != part:
            return None
    return ids
