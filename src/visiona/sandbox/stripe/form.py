"""Form bodies with brackets (`items[0][price]=price_1`) as trees of text."""

from typing import Final
from urllib.parse import parse_qsl

from visiona.sandbox.stripe.errors import invalid

Node = str | dict[str, "Node"]

_MAX_FIELDS: Final = 2000
_MAX_DEPTH: Final = 12


def parse_form(text: str) -> dict[str, Node]:
    """The tree of a query string or form body. Lists are dicts whose keys are their indexes.

    Raises `StripeError` 400 for what cannot be read.
    """
    try:
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS)
    except ValueError as error:
        raise invalid("Invalid request: the parameters could not be read.") from error
    tree: dict[str, Node] = {}
    for name, value in pairs:
        _place(tree, name, value)
    return tree


def _place(tree: dict[str, Node], name: str, value: str) -> None:
    keys = _keys(name)
    for key in keys[:-1]:
        branch = tree.setdefault(_index(tree, key), {})
        if not isinstance(branch, dict):
            raise invalid(f"Invalid request: {name} is given as a value and as an object.", param=keys[0])
        tree = branch
    last = _index(tree, keys[-1])
    if isinstance(tree.get(last), dict):
        raise invalid(f"Invalid request: {name} is given as a value and as an object.", param=keys[0])
    tree[last] = value


def _index(tree: dict[str, Node], key: str) -> str:
    """`[]` appends."""
    return key or str(len(tree))


def _keys(name: str) -> list[str]:
    head, bracket, rest = name.partition("[")
    if head and not bracket:
        return [name]
    if not head or not rest.endswith("]"):
        raise invalid(f"Invalid request: {name} is not the name of a parameter.")
    keys = [head, *rest[:-1].split("][")]
    if len(keys) > _MAX_DEPTH or any("[" in key or "]" in key for key in keys):
        raise invalid(f"Invalid request: {name} is not the name of a parameter.")
    return keys
