"""OpenAI's dialect: keys, parameters, models, answers and errors."""

import secrets
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, NoReturn, cast

from visiona.sandbox.llm.checks import (
    Field,
    FieldProblem,
    JsonObject,
    Trouble,
    as_object,
    check_object,
    object_in,
)
from visiona.sandbox.llm.errors import ApiError
from visiona.sandbox.llm.faults import Fault
from visiona.sandbox.llm.moderation import moderation_result
from visiona.sandbox.llm.schema import SchemaProblem, check_schema
from visiona.sandbox.llm.writing import Answer, Question, answer

_EFFORTS: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_TIERS: Final = ("auto", "default", "flex", "priority", "fast")
_VERBOSITY: Final = ("low", "medium", "high")
_CREATED: Final = 1_780_000_000
MODELS: Final = ("gpt-6-luna", "gpt-6-sol", "gpt-6.1-sol", "gpt-6.2-sol", "gpt-6-astra")
MODERATION_MODELS: Final = ("omni-moderation-latest",)

_TEXT: Final = Field(("string",))
_FLAG: Final = Field(("boolean",))
_OBJECT: Final = Field(("object",))
_ARRAY: Final = Field(("array",))
_SHARED: Final[dict[str, Field]] = {
    "model": Field(("string",), required=True),
    "metadata": _OBJECT,
    "parallel_tool_calls": _FLAG,
    "prompt_cache_key": _TEXT,
    "prompt_cache_options": _OBJECT,
    "safety_identifier": Field(("string",), max_length=128),
    "service_tier": Field(("string",), choices=_TIERS),
    "store": _FLAG,
    "stream": _FLAG,
    "stream_options": _OBJECT,
    "temperature": Field(("number",), minimum=0, maximum=2),
    "tool_choice": Field(("string", "object")),
    "tools": _ARRAY,
    "top_logprobs": Field(("integer",), minimum=0, maximum=20),
    "top_p": Field(("number",), minimum=0, maximum=1),
    "user": _TEXT,
}
_RESPONSES: Final[dict[str, Field]] = _SHARED | {
    "background": _FLAG,
    "conversation": Field(("string", "object")),
    "include": _ARRAY,
    "input": Field(("string", "array"), required=True),
    "instructions": _TEXT,
    "max_output_tokens": Field(("integer",), minimum=16),
    "max_tool_calls": Field(("integer",), minimum=1),
    "moderation": _OBJECT,
    "previous_response_id": _TEXT,
    "prompt": _OBJECT,
    "reasoning": Field(
        ("object",),
        fields={
            "effort": Field(("string",), choices=_EFFORTS),
            "summary": Field(("string",), choices=("auto", "concise", "detailed")),
            "context": Field(("string",), choices=("auto", "current_turn", "all_turns")),
            "mode": Field(("string",), choices=("standard", "pro")),
        },
    ),
    "text": Field(
        ("object",), fields={"format": _OBJECT, "verbosity": Field(("string",), choices=_VERBOSITY)}
    ),
    "truncation": Field(("string",), choices=("auto", "disabled")),
}
_CHAT: Final[dict[str, Field]] = _SHARED | {
    "frequency_penalty": Field(("number",), minimum=-2, maximum=2),
    "logprobs": _FLAG,
    "max_completion_tokens": Field(("integer",), minimum=1),
    "messages": Field(("array",), required=True),
    "modalities": _ARRAY,
    "n": Field(("integer",), minimum=1, maximum=1),
    "presence_penalty": Field(("number",), minimum=-2, maximum=2),
    "reasoning_effort": Field(("string",), choices=_EFFORTS),
    "response_format": _OBJECT,
    "seed": Field(("integer",)),
    "stop": Field(("string", "array")),
    "verbosity": Field(("string",), choices=_VERBOSITY),
}
_FORMAT: Final = {
    "type": Field(("string",), required=True, choices=("text", "json_object", "json_schema")),
    "name": Field(("string",), max_length=64),
    "description": _TEXT,
    "strict": _FLAG,
    "schema": _OBJECT,
}
_MODERATED: Final[dict[str, Field]] = {
    "type": Field(("string",), required=True, choices=("text", "image_url")),
    "text": _TEXT,
    "image_url": _OBJECT,
}
_GONE: Final = {"max_tokens", "functions", "function_call", "logit_bias"}
"""Parameters of earlier models: known, and refused by name."""
_BEYOND: Final = ("background", "conversation", "previous_response_id", "prompt", "stream", "tools")
"""What the real API does and the sandbox does not: refused rather than ignored."""
_CODES: Final[Mapping[Trouble, str]] = MappingProxyType(
    {
        "unknown": "unknown_parameter",
        "missing": "missing_required_parameter",
        "type": "invalid_type",
        "value": "invalid_value",
        "range": "invalid_value",
        "length": "string_above_max_length",
    }
)

Endpoint = Literal["responses", "chat/completions", "moderations"]


def authenticate(headers: Mapping[str, str], key: str) -> None:
    """Raise the 401 that a missing or wrong bearer key gets."""
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not given:
        raise ApiError(401, "invalid_request_error", "No API key was provided in an Authorization header.")
    if not secrets.compare_digest(given.encode(), key.encode()):
        raise ApiError(
            401, "invalid_request_error", "The API key provided is not correct.", code="invalid_api_key"
        )


def error_body(error: ApiError, _request_id: str) -> JsonObject:
    return {"error": {"message": error.message, "type": error.kind, "param": error.param, "code": error.code}}


def model_list() -> JsonObject:
    return {"object": "list", "data": [model(name) for name in (*MODELS, *MODERATION_MODELS)]}


def model(name: str) -> JsonObject:
    """One model. Raises the 404 for one that does not exist, or no longer."""
    if name not in MODELS + MODERATION_MODELS:
        _unknown_model(name)
    return {"id": name, "object": "model", "created": _CREATED, "owned_by": "system", "shutdown_date": None}


def reply(endpoint: Endpoint, body: JsonObject, fault: Fault | None) -> JsonObject:
    """The answer of an endpoint to a request. Raises `ApiError` for one that is refused."""
    try:
        match endpoint:
            case "responses":
                return _response(body, fault)
            case "chat/completions":
                return _completion(body, fault)
            case "moderations":
                return _moderation(body)
    except FieldProblem as problem:
        raise _bad(problem.path, problem.message, _CODES[problem.trouble]) from problem


def _response(body: JsonObject, fault: Fault | None) -> JsonObject:
    _check(body, _RESPONSES)
    effort: str = object_in(body, "reasoning").get("effort") or "medium"
    _check_sampling(body, effort)
    text = object_in(body, "text")
    schema = _schema(object_in(text, "format") or {"type": "text"}, "text.format")
    system, user = _conversation(body["input"], "input")
    question = Question(
        system="\n".join(filter(None, [body.get("instructions"), system])),
        user=user,
        schema=schema,
        max_tokens=body.get("max_output_tokens"),
        thinks=effort != "none",
    )
    said = answer(question, fault)
    return _response_object(body, said, effort, text)


def _response_object(body: JsonObject, said: Answer, effort: str, text: JsonObject) -> JsonObject:
    complete = said.stop in {"done", "refusal"}
    reason = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(said.stop)
    now = time.time()
    return {
        "id": _new_id("resp"),
        "object": "response",
        "created_at": int(now),
        "completed_at": int(now) if complete else None,
        "status": "completed" if complete else "incomplete",
        "background": False,
        "error": None,
        "incomplete_details": {"reason": reason} if reason else None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "max_tool_calls": body.get("max_tool_calls"),
        "metadata": body.get("metadata") or {},
        "model": body["model"],
        "output": _output(said, complete=complete),
        "parallel_tool_calls": body.get("parallel_tool_calls", True),
        "previous_response_id": None,
        "prompt_cache_key": body.get("prompt_cache_key"),
        "reasoning": {"effort": effort, "summary": object_in(body, "reasoning").get("summary")},
        "safety_identifier": body.get("safety_identifier"),
        "service_tier": "default",
        "store": body.get("store", True),
        "temperature": body.get("temperature", 1.0),
        "text": {"format": {"type": "text"}, "verbosity": "medium"} | text,
        "tool_choice": body.get("tool_choice", "auto"),
        "tools": [],
        "top_logprobs": body.get("top_logprobs", 0),
        "top_p": body.get("top_p", 1.0),
        "truncation": body.get("truncation", "disabled"),
        "usage": {
            "input_tokens": said.input_tokens,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": said.output_tokens,
            "output_tokens_details": {"reasoning_tokens": said.thought_tokens},
            "total_tokens": said.input_tokens + said.output_tokens,
        },
        "user": None,
    }


def _output(said: Answer, *, complete: bool) -> list[JsonObject]:
    items: list[JsonObject] = []
    if said.thought is not None:
        items.append({"type": "reasoning", "id": _new_id("rs"), "summary": []})
    if said.stop != "content_filter":
        part: JsonObject = {"type": "output_text", "text": said.text, "annotations": [], "logprobs": []}
        if said.stop == "refusal":
            part = {"type": "refusal", "refusal": said.text}
        status = "completed" if complete else "incomplete"
        items.append(
            {
                "type": "message",
                "id": _new_id("msg"),
                "role": "assistant",
                "status": status,
                "content": [part],
            }
        )
    return items


def _completion(body: JsonObject, fault: Fault | None) -> JsonObject:
    _check(body, _CHAT)
    effort = body.get("reasoning_effort") or "medium"
    _check_sampling(body, effort)
    given = object_in(body, "response_format") or {"type": "text"}
    flat = {name: value for name, value in given.items() if name != "json_schema"}
    schema = _schema(flat | object_in(given, "json_schema"), "response_format")
    system, user = _conversation(body["messages"], "messages")
    said = answer(Question(system, user, schema, body.get("max_completion_tokens"), effort != "none"), fault)
    finish = {"length": "length", "content_filter": "content_filter"}.get(said.stop, "stop")
    refused = said.stop == "refusal"
    message: JsonObject = {
        "role": "assistant",
        "content": None if refused else said.text,
        "refusal": said.text if refused else None,
        "annotations": [],
    }
    return {
        "id": _new_id("chatcmpl"),
        "object": "chat.completion",
        "created": int(time.time()),
        "model": body["model"],
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
        "service_tier": "default",
        "system_fingerprint": None,
        "usage": {
            "prompt_tokens": said.input_tokens,
            "completion_tokens": said.output_tokens,
            "total_tokens": said.input_tokens + said.output_tokens,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": said.thought_tokens, "audio_tokens": 0},
        },
    }


def _moderation(body: JsonObject) -> JsonObject:
    check_object(body, {"model": _TEXT, "input": Field(("string", "array"), required=True)})
    name = body.get("model") or MODERATION_MODELS[0]
    if name not in MODERATION_MODELS:
        _unknown_model(name)
    given: Any = body["input"]
    if isinstance(given, str):
        results = [moderation_result(given)]
    elif all(isinstance(part, str) for part in given):
        results = [moderation_result(part) for part in given]
    else:
        results = [_mixed_moderation(given)]
    return {"id": _new_id("modr"), "model": name, "results": results}


def _mixed_moderation(given: list[Any]) -> JsonObject:
    """Text and image parts are judged together; the sandbox looks at no image."""
    parts = [as_object(part, f"input[{index}]") for index, part in enumerate(given)]
    for index, part in enumerate(parts):
        check_object(part, _MODERATED, f"input[{index}].")
    text = "\n".join(part.get("text") or "" for part in parts)
    return moderation_result(text, with_image=any(part["type"] == "image_url" for part in parts))


def _check(body: JsonObject, fields: Mapping[str, Field]) -> None:
    for name in sorted(_GONE & body.keys()):
        raise _bad(name, f"'{name}' is not supported with this model.", "unsupported_parameter")
    check_object(body, fields)
    if body["model"] not in MODELS:
        _unknown_model(body["model"])
    for name in _BEYOND:
        if body.get(name):
            raise _bad(name, "the sandbox does not do this; leave it out", "unsupported_value")
    metadata = object_in(body, "metadata")
    for name, value in metadata.items():
        if not isinstance(value, str) or len(name) > 64 or len(value) > 512 or len(metadata) > 16:
            raise FieldProblem(f"metadata.{name}", "value", "expected 16 short texts at most")


def _check_sampling(body: JsonObject, effort: str) -> None:
    for name in ("temperature", "top_p"):
        if body.get(name) is not None and effort != "none":
            raise _bad(
                name,
                f"'{name}' is only supported without reasoning (effort 'none').",
                "unsupported_parameter",
            )


def _schema(output_format: JsonObject, path: str) -> JsonObject | None:
    """The schema that an answer has to follow."""
    check_object(output_format, _FORMAT, f"{path}.")
    if output_format["type"] == "text":
        return None
    if output_format["type"] == "json_object":
        return {"type": "object", "properties": {"prompt": {"type": "string"}}}
    for name in ("name", "schema"):
        if not output_format.get(name):
            raise FieldProblem(f"{path}.{name}", "missing", "this field is required")
    schema = object_in(output_format, "schema")
    if output_format.get("strict"):
        try:
            check_schema(schema, all_required=True)
        except SchemaProblem as problem:
            raise _bad(f"{path}.schema", str(problem), "invalid_json_schema") from problem
    return schema


def _conversation(turns: str | list[Any], path: str) -> tuple[str, str]:
    """What the developer said, and what the user said last."""
    if isinstance(turns, str):
        return "", turns
    said: dict[str, list[str]] = {"system": [], "developer": [], "user": [], "assistant": []}
    for index, given in enumerate(turns):
        where = f"{path}[{index}]"
        turn = as_object(given, where)
        role = turn.get("role")
        if not isinstance(role, str) or role not in said:
            raise FieldProblem(f"{where}.role", "value", f"expected one of {', '.join(said)}")
        said[role].append(_plain(turn.get("content"), where))
    if not said["user"]:
        raise FieldProblem(path, "missing", "a user message is required")
    return "\n".join(said["system"] + said["developer"]), said["user"][-1]


def _plain(content: Any, where: str) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise FieldProblem(f"{where}.content", "type", "expected text or a list of parts")
    parts = [as_object(part, f"{where}.content") for part in cast("list[Any]", content)]
    return "\n".join(part["text"] for part in parts if "text" in part)


def _bad(param: str, message: str, code: str) -> ApiError:
    return ApiError(400, "invalid_request_error", f"Invalid '{param}': {message}", code=code, param=param)


def _unknown_model(name: str) -> NoReturn:
    raise ApiError(
        404,
        "invalid_request_error",
        f"The model '{name}' does not exist or you do not have access to it.",
        code="model_not_found",
        param="model",
    )


def _new_id(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(24)}"
