"""Checking a JSON request against a table of fields, before a dialect words the complaint."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

JsonObject = dict[str, Any]
Kind = Literal["string", "integer", "number", "boolean", "object", "array"]
Trouble = Literal["unknown", "missing", "type", "value", "range", "length"]

_TYPES: Final[dict[Kind, type | tuple[type, ...]]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "object": dict,
    "array": list,
}


class FieldProblem(Exception):
    """One field is wrong; `path` is dotted, as providers write it."""

    def __init__(self, path: str, trouble: Trouble, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path
        self.trouble: Trouble = trouble
        self.message = message


@dataclass(frozen=True, slots=True)
class Field:
    """What one field may hold. `null` counts as absent."""

    kinds: tuple[Kind, ...]
    required: bool = False
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    max_length: int | None = None
    fields: "Mapping[str, Field] | None" = None


def check_object(value: JsonObject, fields: Mapping[str, Field], path: str = "") -> None:
    """Raise `FieldProblem` for the first field that is unknown, missing or not as described."""
    for name in value:
        if name not in fields:
            raise FieldProblem(f"{path}{name}", "unknown", "this field is not known")
    for name, field in fields.items():
        if value.get(name) is None:
            if field.required:
                raise FieldProblem(f"{path}{name}", "missing", "this field is required")
        else:
            _check_value(value[name], field, f"{path}{name}")


def as_object(value: Any, path: str) -> JsonObject:
    """`value`, known to be a JSON object. Raises `FieldProblem`."""
    if not isinstance(value, dict):
        raise FieldProblem(path, "type", "expected an object")
    return cast("JsonObject", value)


def object_in(body: JsonObject, name: str) -> JsonObject:
    """A checked, optional object field; empty where it is absent or null."""
    return cast("JsonObject", body.get(name) or {})


def _check_value(value: Any, field: Field, path: str) -> None:
    if not any(_is(value, kind) for kind in field.kinds):
        raise FieldProblem(path, "type", f"expected {' or '.join(field.kinds)}")
    if isinstance(value, str):
        _check_text(value, field, path)
    elif isinstance(value, int | float):
        _check_number(value, field, path)
    elif isinstance(value, dict) and field.fields is not None:
        check_object(cast("JsonObject", value), field.fields, f"{path}.")


def _is(value: Any, kind: Kind) -> bool:
    return isinstance(value, _TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _check_text(value: str, field: Field, path: str) -> None:
    if field.choices and value not in field.choices:
        raise FieldProblem(path, "value", f"expected one of {', '.join(field.choices)}")
    if field.max_length is not None and len(value) > field.max_length:
        raise FieldProblem(path, "length", f"longer than {field.max_length} characters")


def _check_number(value: float, field: Field, path: str) -> None:
    too_small = field.minimum is not None and value < field.minimum
    too_large = field.maximum is not None and value > field.maximum
    if too_small or too_large:
        raise FieldProblem(
            path, "range", f"expected a number from {field.minimum} to {field.maximum or 'any'}"
        )
