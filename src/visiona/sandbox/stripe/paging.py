"""Lists: newest first, a page at a time."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from visiona.sandbox.stripe.errors import invalid, missing
from visiona.sandbox.stripe.params import Either, Fields, Hash, Integer, Params, Text
from visiona.sandbox.stripe.store import Obj, Store

PAGE: Final[Fields] = {
    "limit": Integer(minimum=1, maximum=100),
    "starting_after": Text(),
    "ending_before": Text(),
}
"""What every list takes: `{**PAGE, "customer": Text()}`."""

_MOMENTS: Final[Fields] = {name: Integer() for name in ("gt", "gte", "lt", "lte")}
CREATED: Final = Either(Integer(), Hash(_MOMENTS))
"""The parameter `created`: a moment, or bounds. `within` applies it."""

_DEFAULT_LIMIT: Final = 10
_BOUNDS: Final[dict[str, Callable[[int, int], bool]]] = {
    "gt": lambda value, bound: value > bound,
    "gte": lambda value, bound: value >= bound,
    "lt": lambda value, bound: value < bound,
    "lte": lambda value, bound: value <= bound,
}


@dataclass(frozen=True, slots=True)
class Listing:
    """A handler's list in exactly the order in which it is shown."""

    items: list[Obj]


def within(value: int, wanted: Any) -> bool:
    """Whether a moment fits what a `CREATED` parameter read; `None` fits everything."""
    if wanted is None:
        return True
    if isinstance(wanted, int):
        return value == wanted
    return all(_BOUNDS[name](value, bound) for name, bound in wanted.items())


def page(items: list[Obj], params: Params, url: str, store: Store | None = None) -> Obj:
    """The list object for one page of `items`, which are in the order shown.

    With a `store` that order is the newest first, and a cursor may be an object that does not, or no
    longer, fit the list's filters: the page begins where it would have been.
    """
    after, before = params.get("starting_after"), params.get("ending_before")
    if after and before:
        raise invalid("Only one of starting_after and ending_before may be given.", param="starting_after")
    limit = params.get("limit", _DEFAULT_LIMIT)
    start, end = 0, len(items)
    if after:
        start = _cut(items, url, store, after, "starting_after")[1]
    if before:
        end = _cut(items, url, store, before, "ending_before")[0]
        shown, more = items[max(0, end - limit) : end], end > limit
    else:
        shown, more = items[start : start + limit], end - start > limit
    return {"object": "list", "data": shown, "has_more": more, "url": url}


def _cut(
    items: list[Obj],
    url: str,
    store: Store | None,
    id: str,  # noqa: A002 - as on the wire
    param: str,
) -> tuple[int, int]:
    """How many items come before the cursor, and where those begin that come after it."""
    for position, item in enumerate(items):
        if item["id"] == id:
            return position, position + 1
    kind = items[0]["object"] if items else url.rpartition("/")[2].removesuffix("s")
    found = None if store is None else store.kind_of(id)
    if store is None or found is None or (items and found != kind):
        raise missing(kind, id, param=param)
    place = store.sequence(found, id)
    position = sum(store.sequence(found, item["id"]) > place for item in items)
    return position, position
