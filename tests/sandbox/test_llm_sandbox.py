"""The LLM sandbox, driven over HTTP by the official SDKs, which check every answer against their types."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Generator
from typing import Any

import anthropic
import httpx
import jsonschema
import openai
import pytest
import uvicorn
from pydantic import BaseModel

from visiona.sandbox.guard import SandboxInProductionError
from visiona.sandbox.llm import LlmSandboxConfig, create_app

OPENAI_KEY, ANTHROPIC_KEY = "sk-sandbox", "sk-ant-sandbox"
IDEA = json.dumps({"trigger_word": "TOK", "prompt": "TOK on a beach"})
SCHEMA = {
    "type": "object",
    "properties": {"prompt": {"type": "string"}},
    "required": ["prompt"],
    "additionalProperties": False,
}
OPENAI_FORMAT = {"type": "json_schema", "name": "image_prompt", "strict": True, "schema": SCHEMA}
ANTHROPIC_FORMAT = {"type": "json_schema", "schema": SCHEMA}


class Picture(BaseModel):
    prompt: str


class Nested(BaseModel):
    inner: Picture
    tags: list[str]
    count: int
    loud: bool
    note: str | None


@pytest.fixture(scope="module")
def origin() -> Generator[str]:
    listener = socket.create_server(("127.0.0.1", 0))
    app = create_app(LlmSandboxConfig(OPENAI_KEY, ANTHROPIC_KEY, "test"))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(timeout=10)


@pytest.fixture
def http(origin: str) -> Generator[httpx.Client]:
    with httpx.Client(base_url=origin) as client:
        client.post("/_sandbox/reset").raise_for_status()
        yield client


@pytest.fixture
def gpt(http: httpx.Client) -> Generator[openai.OpenAI]:
    with openai.OpenAI(
        api_key=OPENAI_KEY, base_url=f"{http.base_url}/v1", max_retries=0, _strict_response_validation=True
    ) as client:
        yield client


@pytest.fixture
def claude(http: httpx.Client) -> Generator[anthropic.Anthropic]:
    with anthropic.Anthropic(
        api_key=ANTHROPIC_KEY, base_url=str(http.base_url), max_retries=0, _strict_response_validation=True
    ) as client:
        yield client


@pytest.fixture
def ask_gpt(http: httpx.Client) -> Callable[..., httpx.Response]:
    def ask(path: str = "/v1/responses", **changes: Any) -> httpx.Response:
        body = {"model": "gpt-6-luna", "input": IDEA, "reasoning": {"effort": "none"}} | changes
        present = {name: value for name, value in body.items() if value is not ...}
        return http.post(path, json=present, headers={"Authorization": f"Bearer {OPENAI_KEY}"})

    return ask


@pytest.fixture
def ask_claude(http: httpx.Client) -> Callable[..., httpx.Response]:
    def ask(version: str = "2026-10-21", **changes: Any) -> httpx.Response:
        body = {
            "model": "claude-haiku-5-5",
            "max_tokens": 600,
            "messages": [{"role": "user", "content": IDEA}],
        } | changes
        present = {name: value for name, value in body.items() if value is not ...}
        return http.post(
            "/v1/messages", json=present, headers={"x-api-key": ANTHROPIC_KEY, "anthropic-version": version}
        )

    return ask


def fault(http: httpx.Client, provider: str, kind: str, **more: Any) -> None:
    http.post("/_sandbox/faults", json={"provider": provider, "fault": kind, **more}).raise_for_status()


# Answers


def test_responses_answer_is_complete_and_typed(gpt: openai.OpenAI) -> None:
    response = gpt.responses.create(
        model="gpt-6-luna",
        instructions="Rewrite the prompt.",
        input=IDEA,
        max_output_tokens=600,
        reasoning={"effort": "none"},
        text={"format": OPENAI_FORMAT, "verbosity": "low"},
        safety_identifier="u_1",
        store=False,
        metadata={"run": "1"},
    )
    assert response.status == "completed"
    assert json.loads(response.output_text)["prompt"].startswith("TOK on a beach, ")
    assert [item.type for item in response.output] == ["message"]
    assert response.safety_identifier == "u_1"
    assert response.metadata == {"run": "1"}
    assert response._request_id is not None
    assert response._request_id.startswith("req_")
    usage = response.usage
    assert usage is not None
    assert usage.input_tokens > 10
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens
    assert usage.output_tokens_details.reasoning_tokens == 0


def test_responses_answer_has_every_documented_field(ask_gpt: Callable[..., httpx.Response]) -> None:
    answer = ask_gpt(store=False, max_output_tokens=600).json()
    documented = (
        "id object created_at status error incomplete_details model instructions output parallel_tool_calls "
        "tool_choice tools temperature top_p max_output_tokens reasoning text store metadata usage"
    )
    assert set(documented.split()) <= answer.keys()
    assert (answer["object"], answer["store"], answer["max_output_tokens"]) == ("response", False, 600)


def test_responses_think_first_unless_told_not_to(gpt: openai.OpenAI) -> None:
    response = gpt.responses.create(model="gpt-6-luna", input=IDEA)
    assert [item.type for item in response.output] == ["reasoning", "message"]
    assert response.output_text.startswith("TOK on a beach")
    assert response.usage is not None
    assert response.usage.output_tokens_details.reasoning_tokens > 0


def test_responses_parse_fills_any_schema(gpt: openai.OpenAI) -> None:
    picture = gpt.responses.parse(model="gpt-6-luna", input=IDEA, text_format=Picture).output_parsed
    assert picture is not None
    assert picture.prompt.startswith("TOK on a beach, ")
    nested = gpt.responses.parse(model="gpt-6-luna", input=IDEA, text_format=Nested).output_parsed
    assert nested is not None
    assert nested.inner.prompt.startswith("TOK on a beach, ")


def test_responses_take_a_conversation(gpt: openai.OpenAI) -> None:
    response = gpt.responses.create(
        model="gpt-6-luna",
        input=[
            {"role": "developer", "content": "Rewrite the prompt."},
            {"role": "user", "content": [{"type": "input_text", "text": "SKS in the snow"}]},
        ],
    )
    assert response.output_text.startswith("SKS in the snow, ")


def test_chat_completions(gpt: openai.OpenAI) -> None:
    completion = gpt.chat.completions.create(
        model="gpt-6-luna",
        messages=[{"role": "system", "content": "Rewrite."}, {"role": "user", "content": IDEA}],
        max_completion_tokens=600,
        reasoning_effort="none",
        temperature=0.4,
        response_format={
            "type": "json_schema",
            "json_schema": {k: v for k, v in OPENAI_FORMAT.items() if k != "type"},
        },
    )
    [choice] = completion.choices
    assert choice.finish_reason == "stop"
    assert json.loads(choice.message.content or "")["prompt"].startswith("TOK on a beach, ")
    assert completion.usage is not None
    assert completion.usage.total_tokens > 0


def test_moderations(gpt: openai.OpenAI) -> None:
    result = gpt.moderations.create(
        model="omni-moderation-latest", input=["TOK on a beach", "TOK naked, gore"]
    )
    assert [entry.flagged for entry in result.results] == [False, True]
    assert result.results[1].categories.sexual
    assert result.results[1].categories.violence_graphic
    assert not result.results[1].categories.hate
    mixed = gpt.moderations.create(
        input=[
            {"type": "text", "text": "a lake"},
            {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        ]
    )
    assert mixed.results[0].category_applied_input_types.violence == ["text", "image"]


def test_messages_answer_is_complete_and_typed(claude: anthropic.Anthropic) -> None:
    message = claude.messages.create(
        model="claude-haiku-5-5",
        max_tokens=600,
        system="Rewrite the prompt.",
        messages=[{"role": "user", "content": IDEA}],
        thinking={"type": "disabled"},
        output_config={"format": ANTHROPIC_FORMAT},
        metadata={"user_id": "u_1"},
    )
    [block] = message.content
    assert block.type == "text"
    assert json.loads(block.text)["prompt"].startswith("TOK on a beach, ")
    assert (message.stop_reason, message.stop_details) == ("end_turn", None)
    assert message._request_id is not None
    assert message._request_id.startswith("req_")
    assert message.usage.input_tokens > 10
    assert message.usage.output_tokens > 10


def test_messages_think_first_unless_told_not_to(claude: anthropic.Anthropic) -> None:
    message = claude.messages.create(
        model="claude-haiku-5-5", max_tokens=600, messages=[{"role": "user", "content": IDEA}]
    )
    assert [block.type for block in message.content] == ["thinking", "text"]


def test_messages_parse_fills_a_schema(claude: anthropic.Anthropic) -> None:
    message = claude.messages.parse(
        model="claude-haiku-5-5",
        max_tokens=600,
        messages=[{"role": "user", "content": IDEA}],
        output_format=Picture,
    )
    assert message.parsed_output is not None
    assert message.parsed_output.prompt.startswith("TOK on a beach, ")


async def test_both_providers_serve_async_clients_at_once(http: httpx.Client) -> None:
    async with (
        openai.AsyncOpenAI(api_key=OPENAI_KEY, base_url=f"{http.base_url}/v1") as gpt,
        anthropic.AsyncAnthropic(api_key=ANTHROPIC_KEY, base_url=str(http.base_url)) as claude,
    ):
        answers = await asyncio.gather(
            *(gpt.responses.create(model="gpt-6-luna", input=IDEA) for _ in range(5)),
            *(
                claude.messages.create(
                    model="claude-haiku-5-5", max_tokens=600, messages=[{"role": "user", "content": IDEA}]
                )
                for _ in range(5)
            ),
        )
    assert len({answer.id for answer in answers}) == 10
    state = (await asyncio.to_thread(http.get, "/_sandbox/state")).json()
    assert state["calls"] == {"openai": {"responses": 5}, "anthropic": {"messages": 5}}
    assert state["answers"] == {"openai": {"200": 5}, "anthropic": {"200": 5}}


def test_models_are_listed_in_each_dialect_without_the_deprecated(
    gpt: openai.OpenAI, claude: anthropic.Anthropic
) -> None:
    names = {model.id for model in gpt.models.list()}
    assert "gpt-6-luna" in names
    assert not names & {"gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-5", "gpt-5-mini", "o3"}
    assert gpt.models.retrieve("gpt-6-luna").id == "gpt-6-luna"
    with pytest.raises(openai.NotFoundError):
        gpt.models.retrieve("gpt-4o")
    models = {model.id: model for model in claude.models.list()}
    assert models["claude-haiku-5-5"].lifecycle == "active"
    assert not models.keys() & {"claude-sonnet-4-5", "claude-3-5-sonnet-latest"}
    assert claude.models.retrieve("claude-haiku-5-5").line == "haiku"
    with pytest.raises(anthropic.NotFoundError):
        claude.models.retrieve("claude-sonnet-4-5")


def test_the_answer_stops_at_max_tokens(
    ask_gpt: Callable[..., httpx.Response], ask_claude: Callable[..., httpx.Response]
) -> None:
    response = ask_gpt(max_output_tokens=16).json()
    assert (response["status"], response["incomplete_details"]) == (
        "incomplete",
        {"reason": "max_output_tokens"},
    )
    message = ask_claude(max_tokens=16, thinking={"type": "disabled"}).json()
    assert message["stop_reason"] == "max_tokens"
    assert message["usage"]["output_tokens"] <= 16


# What is refused


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {OPENAI_KEY}"},
        {"x-api-key": OPENAI_KEY},
    ],
)
@pytest.mark.parametrize("path", ["/v1/responses", "/v1/chat/completions", "/v1/moderations"])
def test_openai_wants_its_bearer_key(http: httpx.Client, path: str, header: dict[str, str]) -> None:
    answer = http.post(path, json={}, headers=header)
    assert answer.status_code == 401
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert answer.headers["x-request-id"].startswith("req_")


@pytest.mark.parametrize(
    "header", [{"x-api-key": ANTHROPIC_KEY}, {"Authorization": f"Bearer {ANTHROPIC_KEY}"}]
)
@pytest.mark.parametrize("version", ["2023-06-01", "2026-10-21"])
def test_anthropic_takes_both_keys_and_both_versions(
    http: httpx.Client, header: dict[str, str], version: str
) -> None:
    body = {"model": "claude-haiku-5-5", "max_tokens": 600, "messages": [{"role": "user", "content": IDEA}]}
    answer = http.post("/v1/messages", json=body, headers=header | {"anthropic-version": version})
    assert answer.status_code == 200
    assert answer.headers["request-id"].startswith("req_")


@pytest.mark.parametrize(
    ("headers", "status", "kind"),
    [
        ({}, 401, "authentication_error"),
        ({"x-api-key": "wrong", "anthropic-version": "2026-10-21"}, 401, "authentication_error"),
        ({"Authorization": "Bearer wrong"}, 401, "authentication_error"),
        ({"x-api-key": ANTHROPIC_KEY}, 400, "invalid_request_error"),
        ({"x-api-key": ANTHROPIC_KEY, "anthropic-version": "2024-01-01"}, 400, "invalid_request_error"),
    ],
)
def test_anthropic_wants_a_key_and_a_version(
    http: httpx.Client, headers: dict[str, str], status: int, kind: str
) -> None:
    answer = http.post("/v1/messages", json={}, headers=headers)
    assert (answer.status_code, answer.json()["type"], answer.json()["error"]["type"]) == (
        status,
        "error",
        kind,
    )
    assert answer.json()["request_id"] == answer.headers["request-id"]


@pytest.mark.parametrize(
    ("changes", "param", "code"),
    [
        ({"colour": "red"}, "colour", "unknown_parameter"),
        ({"reasoning": {"effort": "none", "depth": 3}}, "reasoning.depth", "unknown_parameter"),
        ({"reasoning": {"effort": "huge"}}, "reasoning.effort", "invalid_value"),
        ({"input": ...}, "input", "missing_required_parameter"),
        ({"model": ...}, "model", "missing_required_parameter"),
        ({"input": 7}, "input", "invalid_type"),
        ({"store": "no"}, "store", "invalid_type"),
        ({"max_output_tokens": True}, "max_output_tokens", "invalid_type"),
        ({"max_output_tokens": 3}, "max_output_tokens", "invalid_value"),
        ({"max_tokens": 100}, "max_tokens", "unsupported_parameter"),
        ({"temperature": 0.5, "reasoning": {"effort": "low"}}, "temperature", "unsupported_parameter"),
        ({"top_p": 0.5, "reasoning": {}}, "top_p", "unsupported_parameter"),
        ({"safety_identifier": "x" * 129}, "safety_identifier", "string_above_max_length"),
        ({"metadata": {"k": "v" * 513}}, "metadata.k", "invalid_value"),
        ({"stream": True}, "stream", "unsupported_value"),
        ({"input": [{"role": "wizard", "content": "x"}]}, "input[0].role", "invalid_value"),
        ({"text": {"format": {"type": "json_schema"}}}, "text.format.name", "missing_required_parameter"),
        (
            {"text": {"format": OPENAI_FORMAT | {"schema": {"type": "string"}}}},
            "text.format.schema",
            "invalid_json_schema",
        ),
        (
            {"text": {"format": OPENAI_FORMAT | {"schema": {**SCHEMA, "required": []}}}},
            "text.format.schema",
            "invalid_json_schema",
        ),
        (
            {"text": {"format": OPENAI_FORMAT | {"schema": {**SCHEMA, "additionalProperties": True}}}},
            "text.format.schema",
            "invalid_json_schema",
        ),
    ],
)
def test_openai_refuses_what_it_does_not_take(
    ask_gpt: Callable[..., httpx.Response], changes: dict[str, Any], param: str, code: str
) -> None:
    answer = ask_gpt(**changes)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", param, code)
    assert param in error["message"]


def test_temperature_is_taken_without_reasoning(ask_gpt: Callable[..., httpx.Response]) -> None:
    assert ask_gpt(temperature=0.5).status_code == 200


@pytest.mark.parametrize("name", ["gpt-4o-mini", "gpt-5", "claude-haiku-5-5", ""])
def test_openai_does_not_know_the_model(ask_gpt: Callable[..., httpx.Response], name: str) -> None:
    answer = ask_gpt(model=name)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"temperature": 0.5}, "temperature"),
        ({"top_p": 0.5}, "top_p"),
        ({"top_k": 5}, "top_k"),
        ({"colour": "red"}, "colour"),
        ({"output_config": {"colour": 1}}, "output_config.colour"),
        ({"max_tokens": ...}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "system", "content": "x"}]}, "messages.0.role"),
        (
            {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": '{"prompt":'}]},
            "messages",
        ),
        ({"thinking": {"type": "enabled", "budget_tokens": 2048}}, "thinking.type"),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": {"type": "string"}}}},
            "output_config.format.schema",
        ),
        ({"output_config": {"effort": "none"}}, "output_config.effort"),
        ({"metadata": {"email": "a@example.com"}}, "metadata.email"),
        ({"stream": True}, "stream"),
    ],
)
def test_anthropic_refuses_what_it_does_not_take(
    ask_claude: Callable[..., httpx.Response], changes: dict[str, Any], complaint: str
) -> None:
    answer = ask_claude(**changes)
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
    assert answer.json()["error"]["message"].startswith(f"{complaint}:")


@pytest.mark.parametrize("name", ["temperature", "top_p"])
def test_the_first_version_of_anthropic_still_samples(
    ask_claude: Callable[..., httpx.Response], name: str
) -> None:
    assert ask_claude("2023-06-01", **{name: 0.5}).status_code == 200


def test_anthropic_does_not_know_the_model(ask_claude: Callable[..., httpx.Response]) -> None:
    answer = ask_claude(model="claude-sonnet-4-5")
    assert (answer.status_code, answer.json()["error"]["type"]) == (404, "not_found_error")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000])
def test_a_body_that_is_no_json_object_is_refused(http: httpx.Client, body: bytes) -> None:
    gpt = http.post("/v1/responses", content=body, headers={"Authorization": f"Bearer {OPENAI_KEY}"})
    claude = http.post(
        "/v1/messages", content=body, headers={"x-api-key": ANTHROPIC_KEY, "anthropic-version": "2026-10-21"}
    )
    assert gpt.status_code == claude.status_code == 400
    assert gpt.json()["error"]["type"] == claude.json()["error"]["type"] == "invalid_request_error"


def test_unknown_paths_methods_and_huge_bodies_get_the_callers_dialect(http: httpx.Client) -> None:
    version = {"anthropic-version": "2026-10-21"}
    assert http.get("/v1/assistants").json()["error"]["code"] is None
    assert http.get("/v1/assistants", headers=version).json()["error"]["type"] == "not_found_error"
    assert http.get("/v1/responses").status_code == 405
    huge = b'{"input": "' + b"x" * 3_000_000 + b'"}'
    answer = http.post("/v1/responses", content=huge, headers={"Authorization": f"Bearer {OPENAI_KEY}"})
    assert answer.status_code == 413


# Faults


@pytest.mark.parametrize(
    ("kind", "error", "status", "code"),
    [
        ("rate_limit", openai.RateLimitError, 429, "rate_limit_exceeded"),
        ("insufficient_quota", openai.RateLimitError, 429, "insufficient_quota"),
        ("server_error", openai.InternalServerError, 500, None),
        ("overloaded", openai.InternalServerError, 503, None),
        ("html_502", openai.InternalServerError, 502, None),
    ],
)
def test_openai_errors_on_request(
    gpt: openai.OpenAI,
    http: httpx.Client,
    kind: str,
    error: type[openai.APIStatusError],
    status: int,
    code: str | None,
) -> None:
    fault(http, "openai", kind, retry_after=300)
    with pytest.raises(error) as caught:
        gpt.responses.create(model="gpt-6-luna", input=IDEA)
    assert (caught.value.status_code, caught.value.code) == (status, code)
    if status != 502:
        assert caught.value.response.headers["retry-after"] == "300"
    assert gpt.responses.create(model="gpt-6-luna", input=IDEA).status == "completed"


@pytest.mark.parametrize(
    ("kind", "error", "status"),
    [
        ("rate_limit", "RateLimitError", 429),
        ("insufficient_quota", "PaymentRequiredError", 402),
        ("server_error", "InternalServerError", 500),
        ("overloaded", "OverloadedError", 529),
        ("html_502", "InternalServerError", 502),
    ],
)
def test_anthropic_errors_on_request(
    claude: anthropic.Anthropic, http: httpx.Client, kind: str, error: str, status: int
) -> None:
    fault(http, "anthropic", kind)
    with pytest.raises(anthropic.APIStatusError) as caught:
        claude.messages.create(
            model="claude-haiku-5-5", max_tokens=600, messages=[{"role": "user", "content": IDEA}]
        )
    assert (type(caught.value).__name__, caught.value.status_code) == (error, status)


def test_refusals_are_successes_over_http(
    gpt: openai.OpenAI, claude: anthropic.Anthropic, http: httpx.Client
) -> None:
    fault(http, "openai", "refusal")
    fault(http, "anthropic", "refusal")
    response = gpt.responses.create(model="gpt-6-luna", input=IDEA, reasoning={"effort": "none"})
    [item] = response.output
    assert item.type == "message"
    assert [part.type for part in item.content] == ["refusal"]
    message = claude.messages.create(
        model="claude-haiku-5-5", max_tokens=600, messages=[{"role": "user", "content": IDEA}]
    )
    assert message.stop_reason == "refusal"
    assert message.stop_details is not None
    assert message.stop_details.category == "general_harms"


def test_the_sdks_really_check_the_types_of_answers(
    gpt: openai.OpenAI, claude: anthropic.Anthropic, http: httpx.Client
) -> None:
    fault(http, "openai", "wrong_shape")
    with pytest.raises(openai.APIResponseValidationError):
        gpt.responses.create(model="gpt-6-luna", input=IDEA)
    fault(http, "anthropic", "wrong_shape")
    with pytest.raises(anthropic.APIResponseValidationError):
        claude.messages.create(
            model="claude-haiku-5-5", max_tokens=600, messages=[{"role": "user", "content": IDEA}]
        )


def test_a_dropped_connection_is_seen_as_one(
    http: httpx.Client, ask_gpt: Callable[..., httpx.Response]
) -> None:
    fault(http, "openai", "connection_drop")
    with pytest.raises(httpx.RemoteProtocolError):
        ask_gpt()
    assert ask_gpt().status_code == 200


def test_content_types_and_latency_on_request(
    http: httpx.Client, ask_claude: Callable[..., httpx.Response]
) -> None:
    fault(http, "anthropic", "wrong_content_type", latency_s=0.2)
    started = time.monotonic()
    answer = ask_claude()
    assert time.monotonic() - started >= 0.2
    assert answer.headers["content-type"].startswith("text/html")


def test_an_answer_can_break_its_schema_and_be_endless(
    http: httpx.Client, ask_gpt: Callable[..., httpx.Response]
) -> None:
    fault(http, "openai", "invalid_json")
    text = ask_gpt(text={"format": OPENAI_FORMAT}).json()["output"][0]["content"][0]["text"]
    with pytest.raises(json.JSONDecodeError):
        json.loads(text)
    fault(http, "openai", "long_text")
    text = ask_gpt(text={"format": OPENAI_FORMAT}, max_output_tokens=64).json()["output"][0]["content"][0][
        "text"
    ]
    assert len(json.loads(text)["prompt"]) == 100_000


def test_faults_are_used_up_in_order_and_per_provider(
    http: httpx.Client, ask_gpt: Callable[..., httpx.Response], ask_claude: Callable[..., httpx.Response]
) -> None:
    fault(http, "openai", "server_error", times=2)
    fault(http, "openai", "rate_limit")
    assert [ask_gpt().status_code for _ in range(4)] == [500, 500, 429, 200]
    fault(http, "openai", "server_error", until_reset=True)
    assert ask_claude().status_code == 200
    assert {ask_gpt().status_code for _ in range(3)} == {500}
    assert http.get("/_sandbox/state").json()["faults"]["openai"] == [
        {"fault": "server_error", "times": None}
    ]
    assert http.post("/_sandbox/reset").json()["calls"] == {"openai": {}, "anthropic": {}}
    assert ask_gpt().status_code == 200


@pytest.mark.parametrize(
    "wish",
    [
        {},
        {"provider": "openai"},
        {"provider": "cohere", "fault": "empty"},
        {"provider": "openai", "fault": "flood"},
        {"provider": "openai", "fault": "empty", "times": 0},
        {"provider": "openai", "fault": "empty", "why": 1},
        {"provider": "openai", "fault": "empty", "times": 1, "until_reset": True},
    ],
)
def test_a_fault_that_does_not_exist_is_refused(http: httpx.Client, wish: dict[str, Any]) -> None:
    assert http.post("/_sandbox/faults", json=wish).status_code == 400
    assert http.get("/_sandbox/state").json()["faults"] == {"openai": [], "anthropic": []}


# The sandbox itself


def test_it_remembers_no_prompt_and_says_what_it_is(
    http: httpx.Client, ask_gpt: Callable[..., httpx.Response]
) -> None:
    answer = ask_gpt(input="TOK in a secret garden")
    assert answer.headers["x-visiona-sandbox"] == "llm"
    assert "secret" not in http.get("/_sandbox/state").text
    assert http.get("/").json()["sandbox"] == "llm"


@pytest.mark.parametrize("environment", ["production", " Production"])
def test_it_refuses_to_start_in_production(environment: str) -> None:
    with pytest.raises(SandboxInProductionError):
        create_app(LlmSandboxConfig("a", "b", environment))


def test_its_keys_do_not_show(http: httpx.Client) -> None:
    assert "sk-" not in repr(LlmSandboxConfig("sk-a", "sk-b", "test"))
    assert "sk-" not in http.get("/_sandbox/state").text


def test_answers_conform_to_the_schemas_they_were_given(ask_gpt: Callable[..., httpx.Response]) -> None:
    schema = Nested.model_json_schema()
    asked = {"type": "json_schema", "name": "n", "schema": schema}
    text = ask_gpt(text={"format": asked}).json()["output"][0]["content"][0]["text"]
    jsonschema.validate(json.loads(text), schema)
