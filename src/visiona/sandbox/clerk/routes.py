"""How a route of the APIs is declared.

    ROUTES = [
        Route("POST", "/v1/things", {"name": NEEDED}, create_thing),
        Route("GET", "/v1/client/things/{id}", {}, show_thing, side="frontend"),
    ]

    def show_thing(ctx: Context, params: Params) -> Answer:
        return ctx.sandbox.store.get("thing", ctx.id)

The `backend` side asks for the secret key and takes JSON; the `frontend` side is for browsers and apps,
and takes forms. A handler is a plain function: it runs to its end before any other request is looked at,
whole or not at all.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from visiona.sandbox.clerk.params import Fields, Params
from visiona.sandbox.clerk.service import Sandbox
from visiona.sandbox.clerk.store import Obj

Method = Literal["GET", "POST", "PATCH", "PUT", "DELETE"]


@dataclass(frozen=True, slots=True)
class Call:
    """One request as it came in."""

    method: str
    path: str
    query: list[tuple[str, str]]
    body: bytes
    headers: Mapping[str, str]
    client_ip: str

    def parameter(self, name: str) -> str | None:
        """A parameter of the query."""
        return next((value for given, value in self.query if given == name), None)

    @property
    def user_agent(self) -> str:
        return self.headers.get("user-agent", "")


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that is more than a JSON document with status 200."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = field(default=())
    media_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class Context:
    """What a handler works with; `ids` are the parts of the path that stand in braces."""

    sandbox: Sandbox
    call: Call
    version: str
    ids: Mapping[str, str]

    @property
    def id(self) -> str:
        """The part of the path named `{id}`."""
        return self.ids["id"]


Answer = Obj | list[Obj] | Reply
Handler = Callable[[Context, Params], Answer]


@dataclass(frozen=True, slots=True)
class Route:
    """`loose`: parameters that are not known are passed over."""

    method: Method
    path: str
    fields: Fields
    handler: Handler
    side: Literal["backend", "frontend"] = "backend"
    loose: bool = False


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
