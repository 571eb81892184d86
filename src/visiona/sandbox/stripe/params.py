"""Parameters, declared once per route and checked strictly before its handler runs.

    FIELDS = {
        "customer": Text(required=True),
        "items": Array(Hash({"price": Text(), "quantity": Integer(minimum=0)}), required=True, maximum=20),
        "cancel_at": Either(Integer(), Choice(("min_period_end", "max_period_end")), unset=True),
        "metadata": Metadata(),
    }

A handler gets a dict that holds only what was sent, in Python's own types: a parameter that was not sent
is absent, one that was sent empty to unset it is `None`.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal as _Decimal
from decimal import InvalidOperation
from typing import Any, Final, Protocol

from visiona.sandbox.stripe.errors import StripeError, invalid
from visiona.sandbox.stripe.form import Node

Params = dict[str, Any]

_MAX_TEXT: Final = 5000
_LARGEST_INTEGER: Final = 2**63 - 1


class Field(Protocol):
    """One parameter. Errors are `StripeError`s with status 400 that name it by its full path."""

    @property
    def required(self) -> bool: ...

    def read(self, node: Node, path: str) -> Any:
        """The value. Raises `StripeError`."""
        ...


Fields = Mapping[str, Field]


def read_params(fields: Fields, tree: Mapping[str, Node], path: str = "") -> Params:
    """Check `tree` against `fields`: first for unknown names, then each value, then for missing ones."""
    unknown = [name for name in tree if name not in fields]
    if unknown:
        raise _unknown(unknown, fields, path)
    read = {name: fields[name].read(node, _join(path, name)) for name, node in tree.items()}
    for name, field in fields.items():
        if field.required and name not in tree:
            raise invalid(
                f"Missing required param: {_join(path, name)}.",
                param=_join(path, name),
                code="parameter_missing",
            )
    return read


@dataclass(frozen=True, slots=True)
class Text:
    required: bool = False
    unset: bool = False
    max_length: int = _MAX_TEXT

    def read(self, node: Node, path: str) -> str | None:
        text = _scalar(node, path, "string")
        if not text:
            return _emptied(path, unset=self.unset)
        if len(text) > self.max_length:
            shown = f"{text[:5]}...{text[-5:]} ({len(text)} characters)"
            raise invalid(
                f"Invalid string: {shown}; must be at most {self.max_length} characters", param=path
            )
        return text


@dataclass(frozen=True, slots=True)
class Choice:
    options: tuple[str, ...]
    required: bool = False
    unset: bool = False

    def read(self, node: Node, path: str) -> str | None:
        text = _scalar(node, path, "string")
        if not text:
            return _emptied(path, unset=self.unset)
        if text not in self.options:
            raise invalid(f"Invalid {path}: must be {_one_of(self.options)}", param=path)
        return text


@dataclass(frozen=True, slots=True)
class Integer:
    required: bool = False
    unset: bool = False
    minimum: int | None = None
    maximum: int | None = None

    def read(self, node: Node, path: str) -> int | None:
        text = _scalar(node, path, "integer")
        if not text:
            return _emptied(path, unset=self.unset)
        digits = text.removeprefix("-")
        if not (digits.isascii() and digits.isdigit()) or abs(int(digits[:20])) > _LARGEST_INTEGER:
            raise invalid(f"Invalid integer: {text[:40]}", param=path, code="parameter_invalid_integer")
        value = int(text)
        if self.minimum is not None and value < self.minimum:
            raise _out_of_range(path, f"greater than or equal to {self.minimum}")
        if self.maximum is not None and value > self.maximum:
            raise _out_of_range(path, f"less than or equal to {self.maximum}")
        return value


@dataclass(frozen=True, slots=True)
class Boolean:
    required: bool = False

    def read(self, node: Node, path: str) -> bool:
        text = _scalar(node, path, "boolean")
        if text not in {"true", "false"}:
            raise invalid(f"Invalid boolean: {text[:40]}", param=path)
        return text == "true"


@dataclass(frozen=True, slots=True)
class Decimal:
    """A number with a fraction; the value is a `decimal.Decimal`."""

    required: bool = False
    unset: bool = False
    minimum: int | None = None

    def read(self, node: Node, path: str) -> _Decimal | None:
        text = _scalar(node, path, "decimal")
        if not text:
            return _emptied(path, unset=self.unset)
        try:
            value = _Decimal(text)
        except InvalidOperation as error:
            raise invalid(f"Invalid decimal: {text[:40]}", param=path) from error
        if not value.is_finite():
            raise invalid(f"Invalid decimal: {text[:40]}", param=path)
        if self.minimum is not None and value < self.minimum:
            raise _out_of_range(path, f"greater than or equal to {self.minimum}")
        return value


@dataclass(frozen=True, slots=True)
class Hash:
    """An object with known fields; the value is a dict of those that were sent."""

    fields: Fields
    required: bool = False
    unset: bool = False

    def read(self, node: Node, path: str) -> Params | None:
        if node == "":
            return _emptied(path, unset=self.unset)
        if isinstance(node, str):
            raise invalid("Invalid object", param=path)
        return read_params(self.fields, node, path)


@dataclass(frozen=True, slots=True)
class Array:
    """A list of one kind of thing, in the order of its indexes."""

    of: Field
    required: bool = False
    unset: bool = False
    maximum: int | None = None

    def read(self, node: Node, path: str) -> list[Any] | None:
        if node == "":
            return _emptied(path, unset=self.unset)
        if isinstance(node, str) or not all(key.isascii() and key.isdigit() for key in node):
            raise invalid("Invalid array", param=path)
        if self.maximum is not None and len(node) > self.maximum:
            raise invalid(f"Array {path} exceeded maximum {self.maximum} allowed elements.", param=path)
        ordered = sorted(node.items(), key=lambda item: int(item[0]))
        return [self.of.read(item, f"{path}[{index}]") for index, item in ordered]


@dataclass(frozen=True, slots=True)
class Metadata:
    """Key-value pairs: `None` for all of it unsets everything, `None` for a value unsets its key."""

    required: bool = False

    def read(self, node: Node, path: str) -> dict[str, str | None] | None:
        if node == "":
            return None
        if isinstance(node, str):
            raise invalid("Invalid object", param=path)
        read: dict[str, str | None] = {}
        for key, value in node.items():
            if len(key) > 40:
                message = f"Metadata keys must be at most 40 characters, but '{key[:60]}' is longer."
                raise invalid(message, param=path)
            text = _scalar(value, f"{path}[{key}]", "string")
            if len(text) > 500:
                message = (
                    f"Metadata values must be at most 500 characters, but the value of '{key}' is longer."
                )
                raise invalid(message, param=f"{path}[{key}]")
            read[key] = text or None
        return read


@dataclass(frozen=True, slots=True, init=False)
class Either:
    """The first of several fields that takes what was sent; the complaint is the last one's."""

    options: tuple[Field, ...]
    required: bool
    unset: bool

    def __init__(self, *options: Field, required: bool = False, unset: bool = False) -> None:
        object.__setattr__(self, "options", options)
        object.__setattr__(self, "required", required)
        object.__setattr__(self, "unset", unset)

    def read(self, node: Node, path: str) -> Any:
        if node == "":
            return _emptied(path, unset=self.unset)
        problem: StripeError | None = None
        for option in self.options:
            try:
                return option.read(node, path)
            except StripeError as error:
                problem = error
        raise problem or TypeError("Either needs options")


def merge_metadata(old: Mapping[str, str], given: Mapping[str, str | None] | None) -> dict[str, str]:
    """`old` changed by what a `Metadata` field read. Raises `StripeError` for more than 50 keys."""
    if given is None:
        return {}
    merged = {key: value for key, value in {**old, **given}.items() if value is not None}
    if len(merged) > 50:
        raise invalid(f"You can have at most 50 keys in metadata; this has {len(merged)}.", param="metadata")
    return merged


def exclusive(params: Params, *names: str) -> None:
    """Raise `StripeError` where more than one of these parameters was sent."""
    if sum(params.get(name) is not None for name in names) > 1:
        raise invalid(
            f"You may only specify one of these parameters: {', '.join(names)}.",
            param=names[0],
            code="parameters_exclusive",
        )


def _join(path: str, name: str) -> str:
    return f"{path}[{name}]" if path else name


def _scalar(node: Node, path: str, kind: str) -> str:
    if not isinstance(node, str):
        code = "parameter_invalid_integer" if kind == "integer" else None
        raise invalid(f"Invalid {kind}: {_shown(node)}", param=path, code=code)
    return node


def _shown(node: Node) -> str:
    return node if isinstance(node, str) else "{" + ", ".join(sorted(node)) + "}"


def _emptied(path: str, *, unset: bool) -> None:
    if not unset:
        raise invalid(
            f"You passed an empty string for '{path}'. We assume empty values are an attempt to unset a "
            f"parameter; however '{path}' cannot be unset. You should remove '{path}' from your request or "
            "supply a non-empty value.",
            param=path,
            code="parameter_invalid_empty",
        )


def _out_of_range(path: str, bound: str) -> StripeError:
    return invalid(f"This value must be {bound}.", param=path, code="parameter_invalid_integer")


def _one_of(options: tuple[str, ...]) -> str:
    if len(options) == 1:
        return options[0]
    if len(options) == 2:
        return f"one of {options[0]} or {options[1]}"
    return f"one of {', '.join(options[:-1])}, or {options[-1]}"


def _unknown(names: list[str], fields: Fields, path: str) -> StripeError:
    full = [_join(path, name) for name in names]
    message = f"Received unknown parameter{'s' if len(full) > 1 else ''}: {', '.join(full)}"
    if len(names) == 1 and (near := difflib.get_close_matches(names[0], fields, n=1, cutoff=0.75)):
        message += f". Did you mean {near[0]}?"
    return invalid(message, param=full[0], code="parameter_unknown")
