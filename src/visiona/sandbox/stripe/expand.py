"""`expand[]`: an id is answered with the object that it names, a hidden part is shown.

A part that Stripe shows only on request lies in its object under its name with `_` in front
(`_line_items`), or is worked out here when somebody asks.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from visiona.sandbox.stripe.engine.books import Books
from visiona.sandbox.stripe.errors import StripeError, invalid
from visiona.sandbox.stripe.store import Obj

_MAX_DEPTH: Final = 4

_KINDS: Final[Mapping[str, str]] = {
    "application": "application",
    "balance_transaction": "balance_transaction",
    "charge": "charge",
    "configuration": "billing_portal.configuration",
    "coupon": "coupon",
    "customer": "customer",
    "default_payment_method": "payment_method",
    "default_price": "price",
    "default_source": "source",
    "failure_balance_transaction": "balance_transaction",
    "invoice": "invoice",
    "latest_charge": "charge",
    "latest_invoice": "invoice",
    "latest_revision": "invoice",
    "on_behalf_of": "account",
    "payment_intent": "payment_intent",
    "payment_link": "payment_link",
    "payment_method": "payment_method",
    "pending_setup_intent": "setup_intent",
    "price": "price",
    "product": "product",
    "promotion_code": "promotion_code",
    "refund": "refund",
    "review": "review",
    "schedule": "subscription_schedule",
    "setup_intent": "setup_intent",
    "source": "charge",
    "subscription": "subscription",
    "tax_code": "tax_code",
    "test_clock": "test_helpers.test_clock",
}
"""The kind of object that a field with this name holds the id of; some kinds the sandbox never has."""

_SOURCES: Final = ("charge", "refund", "dispute")
"""What moves the merchant's balance: `source` of a balance transaction is one of these."""


def _list_of(data: list[Obj], url: str) -> Obj:
    return {"object": "list", "data": data, "has_more": False, "url": url}


def _subscriptions(books: Books, customer: Obj) -> Obj:
    found = [
        subscription
        for subscription in reversed(books.where("subscription", "customer", customer["id"]))
        if subscription["status"] not in {"canceled", "incomplete_expired"}
    ]
    return _list_of(found, f"/v1/customers/{customer['id']}/subscriptions")


def _refunds(books: Books, charge: Obj) -> Obj:
    found = books.where("refund", "charge", charge["id"])[::-1]
    return _list_of(found, f"/v1/charges/{charge['id']}/refunds")


_WORKED_OUT: Final[Mapping[tuple[str, str], Callable[[Books, Obj], Obj]]] = {
    ("charge", "refunds"): _refunds,
    ("customer", "sources"): lambda _, customer: _list_of([], f"/v1/customers/{customer['id']}/sources"),
    ("customer", "subscriptions"): _subscriptions,
    ("customer", "tax_ids"): lambda _, customer: _list_of([], f"/v1/customers/{customer['id']}/tax_ids"),
}


def expand(books: Books, obj: Obj, paths: list[str]) -> Obj:
    """A copy of `obj` in which each path (`latest_invoice.payments`) is expanded.

    Raises `StripeError` 400 for a path that leads nowhere, or too far: the `data` of a list is a level too.
    """
    for path in paths:
        parts = path.split(".")
        if len(parts) > _MAX_DEPTH:
            raise invalid(
                f"You cannot expand more than {_MAX_DEPTH} levels of a property. Property: {path}",
                param="expand",
                code="property_expansion_max_depth",
            )
        obj = _expanded(books, obj, parts, path)
    return obj


def _expanded(books: Books, obj: Obj, parts: list[str], path: str) -> Obj:
    name, rest = parts[0], parts[1:]
    value = _value(books, obj, name, path)
    if not rest and not _may_be_expanded(obj, name):
        raise _refused(path)
    if isinstance(value, dict) and rest:
        value = _expanded(books, cast("Obj", value), rest, path)
    elif isinstance(value, list) and rest:
        value = [_expanded(books, item, rest, path) for item in cast("list[Obj]", value)]
    elif rest and value is not None:
        raise _refused(path)
    return {**obj, name: value}


def _value(books: Books, obj: Obj, name: str, path: str) -> Any:
    """What stands at `name`, an id resolved; None where there is nothing."""
    worked_out = _WORKED_OUT.get((str(obj.get("object")), name))
    if name in obj:
        value = obj[name]
    elif f"_{name}" in obj:
        value = obj[f"_{name}"]
    elif worked_out is not None:
        value = worked_out(books, obj)
    else:
        raise _refused(path)
    if isinstance(value, str) and name in _KINDS:
        kinds = _SOURCES if name == "source" else (_KINDS[name],)
        found = (books.store.find(kind, value) for kind in kinds)
        return next((one for one in found if one is not None), value)
    return value


def _may_be_expanded(obj: Obj, name: str) -> bool:
    return name in _KINDS or f"_{name}" in obj or (str(obj.get("object")), name) in _WORKED_OUT


def _refused(path: str) -> StripeError:
    return invalid(f"This property cannot be expanded ({path}).", param="expand")
