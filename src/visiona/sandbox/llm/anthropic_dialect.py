"""Anthropic's dialect: keys, versions, parameters, models, answers and errors."""

import secrets
from collections.abc import Mapping
from typing import Any, Final

from visiona.sandbox.llm.checks import Field, FieldProblem, JsonObject, as_object, check_object, object_in
from visiona.sandbox.llm.errors import ApiError
from visiona.sandbox.llm.faults import Fault
from visiona.sandbox.llm.schema import SchemaProblem, check_schema
from visiona.sandbox.llm.writing import Answer, Question, answer

FIRST_VERSION: Final = "2023-06-01"
LATEST_VERSION: Final = "2026-10-21"
MODELS: Final = {
    "claude-haiku-5-5": "Claude Haiku 5.5",
    "claude-sonnet-5-5": "Claude Sonnet 5.5",
    "claude-opus-5-5": "Claude Opus 5.5",
    "claude-fable-5-1": "Claude Fable 5.1",
    "claude-fable-5-2": "Claude Fable 5.2",
}

_TEXT: Final = Field(("string",))
_OBJECT: Final = Field(("object",))
_SAMPLING: Final[dict[str, Field]] = {
    "temperature": Field(("number",), minimum=0, maximum=1),
    "top_p": Field(("number",), minimum=0, maximum=1),
    "top_k": Field(("integer",), minimum=0),
}
_MESSAGES: Final[dict[str, Field]] = {
    "model": Field(("string",), required=True),
    "max_tokens": Field(("integer",), required=True, minimum=1, maximum=128_000),
    "messages": Field(("array",), required=True),
    "cache_control": _OBJECT,
    "container": Field(("string", "object")),
    "diagnostics": _OBJECT,
    "inference_geo": _TEXT,
    "metadata": Field(("object",), fields={"user_id": Field(("string",), max_length=256)}),
    "output_config": Field(
        ("object",),
        fields={
            "effort": Field(("string",), choices=("low", "medium", "high", "xhigh", "max")),
            "format": Field(
                ("object",),
                fields={
                    "type": Field(("string",), required=True, choices=("json_schema",)),
                    "schema": Field(("object",), required=True),
                },
            ),
        },
    ),
    "service_tier": Field(("string",), choices=("auto", "standard_only")),
    "speed": Field(("string",), choices=("standard", "fast")),
    "stop_sequences": Field(("array",)),
    "stream": Field(("boolean",)),
    "system": Field(("string", "array")),
    "thinking": Field(
        ("object",),
        fields={
            "type": Field(
                ("string",), required=True, choices=("disabled", "adaptive", "between_tools", "enabled")
            ),
            "budget_tokens": Field(("integer",), minimum=1024),
            "display": Field(("string",), choices=("summarized", "omitted")),
        },
    ),
    "tool_choice": _OBJECT,
    "tools": Field(("array",)),
    "user_profile_id": _TEXT,
}
_TURN: Final[dict[str, Field]] = {
    "role": Field(("string",), required=True, choices=("user", "assistant")),
    "content": Field(("string", "array"), required=True),
}
_BEYOND: Final = ("container", "stream", "tools")
"""What the real API does and the sandbox does not: refused rather than ignored."""


def speaks_anthropic(headers: Mapping[str, str]) -> bool:
    """Whether a request to a path that both providers have is meant for this one."""
    return "anthropic-version" in headers or "x-api-key" in headers


def authenticate(headers: Mapping[str, str], key: str) -> None:
    """Raise what a missing or wrong key, or a version that does not exist, gets."""
    scheme, _, bearer = headers.get("authorization", "").partition(" ")
    given = headers.get("x-api-key") or (bearer if scheme.lower() == "bearer" else "")
    if not given:
        raise ApiError(401, "authentication_error", "An x-api-key or Authorization header is required.")
    if not secrets.compare_digest(given.encode(), key.encode()):
        raise ApiError(401, "authentication_error", "The API key is not valid.")
    version = headers.get("anthropic-version")
    if version is None:
        raise _bad("anthropic-version: this header is required")
    if version not in {FIRST_VERSION, LATEST_VERSION}:
        raise _bad(f"anthropic-version: '{version}' is not a version of this API")


def error_body(error: ApiError, request_id: str) -> JsonObject:
    return {
        "type": "error",
        "error": {"type": error.kind, "message": error.message},
        "request_id": request_id,
    }


def model_list() -> JsonObject:
    models = [model(name) for name in MODELS]
    return {"data": models, "has_more": False, "first_id": models[0]["id"], "last_id": models[-1]["id"]}


def model(name: str) -> JsonObject:
    """One model. Raises the 404 for one that does not exist, or no longer."""
    if name not in MODELS:
        raise _unknown_model(name)
    return {
        "id": name,
        "type": "model",
        "display_name": MODELS[name],
        "created_at": "2026-10-07T00:00:00Z",
        "lifecycle": "active",
        "line": name.split("-")[1],
        "deprecated_at": None,
        "retires_at": None,
        "max_input_tokens": 1_000_000,
        "max_tokens": 128_000,
    }


def reply(version: str, body: JsonObject, fault: Fault | None) -> JsonObject:
    """The message that answers a request. Raises `ApiError` for one that is refused."""
    try:
        check_object(body, _MESSAGES if version == LATEST_VERSION else _MESSAGES | _SAMPLING)
        return _message(body, fault)
    except FieldProblem as problem:
        raise _bad(f"{problem.path}: {problem.message}") from problem


def _message(body: JsonObject, fault: Fault | None) -> JsonObject:
    if body["model"] not in MODELS:
        raise _unknown_model(body["model"])
    for name in _BEYOND:
        if body.get(name):
            raise FieldProblem(name, "value", "the sandbox does not do this; leave it out")
    thinking = object_in(body, "thinking") or {"type": "adaptive"}
    if thinking["type"] == "enabled":
        raise FieldProblem("thinking.type", "value", "this model takes 'adaptive' or 'disabled'")
    question = Question(
        system=_plain(body.get("system") or "", "system"),
        user=_last_user_turn(body["messages"]),
        schema=_schema(body),
        max_tokens=body["max_tokens"],
        thinks=thinking["type"] == "adaptive",
    )
    said = answer(question, fault)
    return _message_object(body["model"], said)


def _message_object(name: str, said: Answer) -> JsonObject:
    refused = said.stop in {"refusal", "content_filter"}
    content: list[JsonObject] = []
    if said.thought is not None:
        content.append({"type": "thinking", "thinking": said.thought, "signature": secrets.token_urlsafe(48)})
    if said.text and not refused:
        content.append({"type": "text", "text": said.text, "citations": None})
    details = {"type": "refusal", "category": "general_harms", "explanation": said.text or None}
    reasons = {"done": "end_turn", "length": "max_tokens"}
    return {
        "id": f"msg_{secrets.token_hex(12)}",
        "type": "message",
        "role": "assistant",
        "model": name,
        "content": content,
        "container": None,
        "stop_reason": "refusal" if refused else reasons[said.stop],
        "stop_details": details if refused else None,
        "stop_sequence": None,
        "usage": {
            "input_tokens": said.input_tokens,
            "output_tokens": said.output_tokens,
            "output_tokens_details": {"thinking_tokens": said.thought_tokens},
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
            "server_tool_use": None,
            "service_tier": "standard",
        },
    }


def _schema(body: JsonObject) -> JsonObject | None:
    output_format = object_in(object_in(body, "output_config"), "format")
    if not output_format:
        return None
    schema = object_in(output_format, "schema")
    try:
        check_schema(schema, all_required=False)
    except SchemaProblem as problem:
        raise FieldProblem("output_config.format.schema", "value", str(problem)) from problem
    return schema


def _last_user_turn(messages: list[Any]) -> str:
    user, role = "", ""
    for index, given in enumerate(messages):
        where = f"messages.{index}"
        turn = as_object(given, where)
        check_object(turn, _TURN, f"{where}.")
        role, text = str(turn["role"]), _plain(turn["content"], f"{where}.content")
        user = text if role == "user" else user
    if not role:
        raise FieldProblem("messages", "missing", "at least one message is required")
    if role == "assistant":
        raise FieldProblem("messages", "value", "a prefilled assistant turn is not supported by this model")
    return user


def _plain(content: str | list[Any], where: str) -> str:
    """Text, or the text of a list of blocks."""
    if isinstance(content, str):
        return content
    blocks = [as_object(block, f"{where}.{index}") for index, block in enumerate(content)]
    return "\n".join(block.get("text", "") for block in blocks)


def _bad(message: str) -> ApiError:
    return ApiError(400, "invalid_request_error", message)


def _unknown_model(name: str) -> ApiError:
    return ApiError(404, "not_found_error", f"model: {name}")
