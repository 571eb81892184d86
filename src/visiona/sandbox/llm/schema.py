"""Structured output: which schemas are taken, and an answer that conforms to one."""

from typing import Any, Final, cast

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from visiona.sandbox.llm.checks import JsonObject, object_in

_MAX_DEPTH: Final = 12


class SchemaProblem(Exception):
    """A schema that structured output does not take."""


def check_schema(schema: JsonObject, *, all_required: bool) -> None:
    """Structured output wants an object, and closed objects throughout; OpenAI's also all required."""
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise SchemaProblem(f"not a JSON schema: {error.message}") from error
    if schema.get("type") != "object":
        raise SchemaProblem("the schema must describe an object")
    _check_closed(schema, all_required=all_required)


def _check_closed(node: Any, *, all_required: bool) -> None:
    if isinstance(node, list):
        for item in cast("list[Any]", node):
            _check_closed(item, all_required=all_required)
    elif isinstance(node, dict):
        _check_object(cast("JsonObject", node), all_required=all_required)
        for item in cast("JsonObject", node).values():
            _check_closed(item, all_required=all_required)


def _check_object(node: JsonObject, *, all_required: bool) -> None:
    if node.get("type") != "object" or "properties" not in node:
        return
    if node.get("additionalProperties") is not False:
        raise SchemaProblem("'additionalProperties' must be false for every object")
    required: list[str] = node.get("required", [])
    if all_required and set(required) != set(object_in(node, "properties")):
        raise SchemaProblem("'required' must list every property")


def conforming(schema: JsonObject, text: str) -> Any:
    """A value that the schema allows, with `text` in the string property `prompt`, else in the first."""
    return _Filler(schema, text).value(schema, depth=0)


class _Filler:
    def __init__(self, root: JsonObject, text: str) -> None:
        self._root = root
        self._text: str | None = text

    def value(self, given: JsonObject, depth: int) -> Any:
        node = self._resolved(given)
        if "const" in node:
            return node["const"]
        if node.get("enum"):
            return node["enum"][0]
        if depth > _MAX_DEPTH:
            return None
        return self._typed(node, depth)

    def _typed(self, node: JsonObject, depth: int) -> Any:
        kinds = node.get("type", "string")
        kind: str = kinds if isinstance(kinds, str) else next(kind for kind in kinds if kind != "null")
        if kind == "object":
            return self._object(node, depth)
        if kind == "array":
            return [self.value(node.get("items", {}), depth + 1) for _ in range(node.get("minItems", 0))]
        if kind == "string":
            text, self._text = self._text or "", None
            return text
        return {"integer": node.get("minimum", 0), "number": node.get("minimum", 0), "boolean": False}.get(
            kind
        )

    def _object(self, node: JsonObject, depth: int) -> JsonObject:
        properties: dict[str, JsonObject] = node.get("properties", {})
        by_importance = sorted(properties, key=lambda name: name != "prompt")
        values = {name: self.value(properties[name], depth + 1) for name in by_importance}
        return {name: values[name] for name in properties}

    def _resolved(self, node: JsonObject) -> JsonObject:
        for _ in range(_MAX_DEPTH):
            if isinstance(reference := node.get("$ref"), str) and reference.startswith("#/"):
                target: Any = self._root
                for step in reference[2:].split("/"):
                    target = target[step]
                node = target
            elif options := node.get("anyOf"):
                node = next((option for option in options if option.get("type") != "null"), options[0])
            else:
                break
        return node
