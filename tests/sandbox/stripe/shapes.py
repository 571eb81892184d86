"""Whether an answer has the shape that the official SDK declares for its object.

The SDK is generated from Stripe's own description of its API, so its classes say which fields an object
has and of which type they are. `complaints` names every field that is unknown, missing or of another type.
"""

import types
import typing
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Any

import stripe
from stripe._object_classes import OBJECT_CLASSES
from stripe._stripe_object import UntypedStripeObject

Shape = Any

_PRIVATE = frozenset({"OBJECT_NAME"})
_MODULES = (stripe, stripe.billing, stripe.billing_portal, stripe.checkout, stripe.radar, stripe.test_helpers)


def complaints(body: Any, where: str = "") -> Iterator[str]:
    """What is wrong with a JSON document: an object, a list object, or an error."""
    if not isinstance(body, dict) or not isinstance(body.get("object"), str):
        return
    kind = body["object"]
    where = where or kind
    if body.get("deleted"):
        if set(body) != {"id", "object", "deleted"}:
            yield f"{where}: a deleted object is only its id"
    elif kind == "list":
        yield from _list_complaints(body, None, where)
    elif (cls := _class_for(kind)) is None:
        yield f"{where}: the SDK knows no {kind}"
    else:
        yield from _object_complaints(body, cls, where)
        if kind == "event":
            yield from complaints(body["data"]["object"])


def _class_for(kind: str) -> Shape | None:
    entry = OBJECT_CLASSES.get(kind)
    if entry is None:
        return None
    module, name = entry
    return getattr(__import__(module, fromlist=[name]), name)


def _object_complaints(obj: dict[str, Any], cls: Shape, where: str) -> Iterator[str]:
    declared = {name: kind for name, kind in cls.__annotations__.items() if name not in _PRIVATE}
    for name, value in obj.items():
        if name not in declared:
            yield f"{where}.{name}: the SDK does not declare it"
        else:
            yield from _value_complaints(value, declared[name], f"{where}.{name}")
    for name, kind in declared.items():
        if name not in obj and not _may_be_none(kind):
            yield f"{where}.{name}: missing"


def _list_complaints(body: dict[str, Any], of: Shape | None, where: str) -> Iterator[str]:
    if set(body) - {"total_count"} != {"object", "data", "has_more", "url"}:  # a part's list may be counted
        yield f"{where}: a list has {sorted(body)}"
        return
    for index, item in enumerate(body["data"]):
        if of is None:
            yield from complaints(item)
        else:
            yield from _value_complaints(item, of, f"{where}[{index}]")


def _value_complaints(value: Any, kind: Shape, where: str) -> Iterator[str]:
    kind = _resolved(kind)
    if kind is Any or kind is None:
        return
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in {typing.Union, types.UnionType}:
        yield from _union_complaints(value, arguments, where)
    elif origin is typing.Literal:
        if value not in arguments:
            yield f"{where}: {value!r} is none of {arguments}"
    elif origin is list:
        yield from _items_complaints(value, arguments[0], where)
    elif origin in {dict, UntypedStripeObject}:
        if not isinstance(value, dict):
            yield f"{where}: {value!r} is no object"
    elif origin is stripe.ListObject:
        if isinstance(value, dict) and value.get("object") == "list":
            yield from _list_complaints(value, arguments[0], where)
        else:
            yield f"{where}: {value!r} is no list object"
    else:
        yield from _plain_complaints(value, kind, where)


def _union_complaints(value: Any, options: tuple[Shape, ...], where: str) -> Iterator[str]:
    if value is None:
        if type(None) not in options:
            yield f"{where}: is null"
        return
    options = tuple(option for option in options if option is not type(None))
    literals = [option for option in options if typing.get_origin(option) is typing.Literal]
    if literals and isinstance(value, str):
        options = tuple(literals)  # the SDK adds `str` for what may come one day
    found: list[str] = []
    for option in options:
        found = list(_value_complaints(value, option, where))
        if not found:
            return
        if isinstance(value, dict) and isinstance(_resolved(option), type) and _resolved(option) is not str:
            break  # this is the object that was meant, and its own complaints say more
    yield from found


def _items_complaints(value: Any, kind: Shape, where: str) -> Iterator[str]:
    if not isinstance(value, list):
        yield f"{where}: {value!r} is no array"
        return
    for index, item in enumerate(value):
        yield from _value_complaints(item, kind, f"{where}[{index}]")


def _plain_complaints(value: Any, kind: Shape, where: str) -> Iterator[str]:
    if kind is Decimal:
        try:
            Decimal(value if isinstance(value, str) else "no text")
        except InvalidOperation:
            yield f"{where}: {value!r} is no decimal in a text"
    elif isinstance(kind, type) and issubclass(kind, stripe.StripeObject):
        if not isinstance(value, dict):
            yield f"{where}: {value!r} is no {kind.__name__}"
        elif isinstance(value.get("object"), str):
            yield from complaints(value, where)
        else:
            yield from _object_complaints(value, kind, where)
    elif kind is float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            yield f"{where}: {value!r} is no number"
    elif isinstance(kind, type) and (
        not isinstance(value, kind) or (kind is int and isinstance(value, bool))
    ):
        yield f"{where}: {value!r} is no {kind.__name__}"


def _may_be_none(kind: Shape) -> bool:
    return type(None) in typing.get_args(_resolved(kind))


def _resolved(kind: Shape) -> Shape:
    """Classes of other modules are named in annotations by text."""
    if isinstance(kind, typing.ForwardRef):
        kind = kind.__forward_arg__
    if not isinstance(kind, str):
        return kind
    for module in _MODULES:
        if (found := getattr(module, kind, None)) is not None:
            return found
    return Any
