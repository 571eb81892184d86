"""What a request may say, checked strictly: an unknown parameter is refused, as Clerk does."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

from visiona.sandbox.clerk.errors import (
    invalid_format,
    invalid_value,
    missing_param,
    refused,
    unknown_param,
)

Params = dict[str, Any]
Kind = Literal["text", "texts", "flag", "whole", "map"]

_TYPES: Final[Mapping[Kind, type]] = {"text": str, "texts": list, "flag": bool, "whole": int, "map": dict}
_MUST: Final[Mapping[Kind, str]] = {
    "text": "must be a string",
    "texts": "must be an array of strings",
    "flag": "must be a boolean",
    "whole": "must be an integer",
    "map": "must be an object",
}
_WORDS: Final = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Field:
    """`nullable`: null is taken as if the parameter were not there, unless the handler says otherwise."""

    kind: Kind = "text"
    required: bool = False
    nullable: bool = True
    least: int | None = None
    most: int | None = None
    choices: tuple[str, ...] = ()


Fields = Mapping[str, Field]

TEXT: Final = Field()
TEXTS: Final = Field("texts")
FLAG: Final = Field("flag")
WHOLE: Final = Field("whole")
MAP: Final = Field("map")
NEEDED: Final = Field(required=True, nullable=False)

PAGE: Final[Fields] = {
    "paginated": FLAG,
    "limit": Field("whole", least=1, most=500),
    "offset": Field("whole", least=0),
}


def read_document(fields: Fields, document: Mapping[str, Any]) -> Params:
    """The parameters of a JSON body. Raises `ClerkError` 422."""
    for name in document:
        if name not in fields:
            raise unknown_param(name)
    for name, field in fields.items():
        if field.required and name not in document:
            raise missing_param(name)
    return {name: _checked(name, fields[name], value) for name, value in document.items()}


def read_pairs(fields: Fields, pairs: list[tuple[str, str]]) -> Params:
    """The parameters of a query or a form: lists repeat their name, with `[]` or without."""
    document: Params = {}
    for given, text in pairs:
        name = given.removesuffix("[]")
        if name not in fields:
            raise unknown_param(name)
        if fields[name].kind == "texts":
            document.setdefault(name, []).append(text)
        elif name not in document:
            document[name] = _from_text(name, fields[name].kind, text)
    return read_document(fields, document)


def _from_text(name: str, kind: Kind, text: str) -> Any:
    if kind == "flag":
        if text not in _WORDS:
            raise invalid_format(name, _MUST[kind])
        return _WORDS[text]
    if kind == "whole":
        if not text.removeprefix("-").isdecimal():
            raise invalid_format(name, _MUST[kind])
        return int(text)
    return text


def _checked(name: str, field: Field, value: Any) -> Any:
    if value is None:
        if not field.nullable:
            raise refused("form_param_nil", "is nil", f"{name} cannot be nil.", param=name)
        return None
    _check_type(name, field, value)
    for item in cast("list[str]", value) if field.kind == "texts" else [value]:
        if field.choices and item not in field.choices:
            raise invalid_value(name, item)
    if field.kind == "whole":
        _check_range(name, field, value)
    return value


def _check_type(name: str, field: Field, value: Any) -> None:
    if not isinstance(value, _TYPES[field.kind]) or (field.kind == "whole" and isinstance(value, bool)):
        raise invalid_format(name, _MUST[field.kind])
    if field.kind == "texts" and not all(isinstance(item, str) for item in cast("list[Any]", value)):
        raise invalid_format(name, _MUST[field.kind])


def _check_range(name: str, field: Field, value: int) -> None:
    if field.least is not None and value < field.least:
        raise refused(
            "form_param_value_invalid", "is invalid", f"{name} must be at least {field.least}.", param=name
        )
    if field.most is not None and value > field.most:
        raise refused(
            "form_param_value_invalid", "is invalid", f"{name} must be at most {field.most}.", param=name
        )
