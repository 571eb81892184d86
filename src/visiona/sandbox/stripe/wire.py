"""Objects as the wire shows them: JSON as Stripe indents it, without what is kept beside an object."""

from typing import Any, cast

import msgspec

from visiona.sandbox.stripe.store import Obj


def shown(obj: Obj) -> Obj:
    """A copy that shares nothing with `obj`, without the keys that start with `_` at any depth.

    `metadata` is the merchant's own and is shown whole.
    """
    return {name: _shown_value(name, value) for name, value in obj.items() if not name.startswith("_")}


def encode(document: Any) -> bytes:
    """The exact bytes of an answer or of a webhook."""
    return msgspec.json.format(msgspec.json.encode(document), indent=2)


def _shown_value(name: str, value: Any) -> Any:
    if isinstance(value, dict):
        return dict(cast("Obj", value)) if name == "metadata" else shown(cast("Obj", value))
    if isinstance(value, list):
        return [_shown_value("", item) for item in cast("list[Any]", value)]
    return value
