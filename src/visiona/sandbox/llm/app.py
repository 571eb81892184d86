"""The server: routes, faults that strike before a model answers, and the sandbox's own controls."""

import json
import secrets
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final, cast

from litestar import Litestar, MediaType, Request, Response, get, post
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from litestar.params import FromPath
from litestar.response.base import ASGIResponse
from litestar.types import Receive, Scope, Send

from visiona.sandbox.guard import refuse_production
from visiona.sandbox.llm import anthropic_dialect, openai_dialect
from visiona.sandbox.llm.checks import FieldProblem, JsonObject
from visiona.sandbox.llm.errors import ApiError
from visiona.sandbox.llm.faults import Fault, FaultPlan, Provider

MAX_BODY: Final = 2 * 1024 * 1024
_REQUEST_ID: Final[Mapping[Provider, str]] = {"openai": "x-request-id", "anthropic": "request-id"}
_BAD_GATEWAY: Final = "<html><head><title>502 Bad Gateway</title></head><body>sandbox fault</body></html>"

AnyRequest = Request[Any, Any, State]


@dataclass(frozen=True, slots=True)
class LlmSandboxConfig:
    """The keys that the sandbox takes, and where it runs: anywhere but in production."""

    openai_key: str = field(repr=False)
    anthropic_key: str = field(repr=False)
    environment: str


def create_app(config: LlmSandboxConfig) -> Litestar:
    """The sandbox as an ASGI app. Raises `SandboxInProductionError`.

    Point an OpenAI client at `<origin>/v1` and an Anthropic client at `<origin>`.
    """
    refuse_production(config.environment)
    return Litestar(
        route_handlers=[
            about, responses, chat_completions, moderations, messages, list_models, show_model,
            add_fault, show_state, reset,
        ],
        state=State({"sandbox": _Sandbox(config)}),
        exception_handlers={HTTPException: _answer_http_error},
        openapi_config=None,
        logging_config=None,
        request_max_body_size=MAX_BODY,
    )  # fmt: skip


class _Sandbox:
    """What the server remembers: counts and waiting faults, never what it was asked."""

    def __init__(self, config: LlmSandboxConfig) -> None:
        self._keys: dict[Provider, str] = {"openai": config.openai_key, "anthropic": config.anthropic_key}
        self.faults = FaultPlan()
        self._calls: Counter[tuple[Provider, str]] = Counter()
        self._answers: Counter[tuple[Provider, str]] = Counter()

    def reset(self) -> None:
        self.faults.clear()
        self._calls.clear()
        self._answers.clear()

    def state(self) -> JsonObject:
        return {
            "sandbox": "llm",
            "calls": _by_provider(self._calls),
            "answers": _by_provider(self._answers),
            "faults": self.faults.pending(),
        }

    async def handle(self, provider: Provider, endpoint: str, request: AnyRequest) -> Response[Any]:
        """Authenticate, fail where a fault waits, else answer; everything in the provider's dialect."""
        request_id = f"req_{secrets.token_hex(12)}"
        self._calls[provider, endpoint] += 1
        try:
            response = await self._answer(provider, endpoint, request)
        except ApiError as error:
            response = _error_response(provider, error, request_id)
        response.headers[_REQUEST_ID[provider]] = request_id
        response.headers["x-visiona-sandbox"] = "llm"
        self._answers[provider, str(response.status_code)] += 1
        return response

    async def _answer(self, provider: Provider, endpoint: str, request: AnyRequest) -> Response[Any]:
        dialect = openai_dialect if provider == "openai" else anthropic_dialect
        dialect.authenticate(request.headers, self._keys[provider])
        if endpoint == "models":
            return _json(dialect.model_list())
        if endpoint.startswith("models/"):
            return _json(dialect.model(endpoint.removeprefix("models/")))
        fault = self.faults.take(provider, endpoint)
        if fault is not None:
            await fault.delay()
            if (response := _struck_by(fault, provider)) is not None:
                return response
        body = await _json_object(request)
        if provider == "openai":
            return _json(openai_dialect.reply(cast("openai_dialect.Endpoint", endpoint), body, fault))
        return _json(anthropic_dialect.reply(request.headers["anthropic-version"], body, fault))


def _by_provider(counts: Counter[tuple[Provider, str]]) -> dict[str, dict[str, int]]:
    table: dict[str, dict[str, int]] = {"openai": {}, "anthropic": {}}
    for (provider, name), count in sorted(counts.items()):
        table[provider][name] = count
    return table


def _struck_by(fault: Fault, provider: Provider) -> Response[Any] | None:
    """The response that a fault gives instead of a model's answer; errors are raised."""
    match fault.kind:
        case "rate_limit" | "insufficient_quota" | "server_error" | "overloaded":
            raise _error_for(fault, provider)
        case "html_502":
            return Response(_BAD_GATEWAY, status_code=502, media_type=MediaType.HTML)
        case "wrong_content_type":
            return Response("<p>Please sign in to this network.</p>", media_type=MediaType.HTML)
        case "connection_drop":
            return _Dropped(None)
        case "wrong_shape":
            return _json({"output": None, "content": 7, "status": ["completed"], "stop_reason": "end_turn"})
        case _:
            return None


def _error_for(fault: Fault, provider: Provider) -> ApiError:
    """The same trouble, in the words of each provider: status, type and code."""
    status, kind, code = {
        ("openai", "rate_limit"): (429, "rate_limit_error", "rate_limit_exceeded"),
        ("openai", "insufficient_quota"): (429, "insufficient_quota", "insufficient_quota"),
        ("openai", "server_error"): (500, "server_error", None),
        ("openai", "overloaded"): (503, "server_error", None),
        ("anthropic", "rate_limit"): (429, "rate_limit_error", None),
        ("anthropic", "insufficient_quota"): (402, "billing_error", None),
        ("anthropic", "server_error"): (500, "api_error", None),
        ("anthropic", "overloaded"): (529, "overloaded_error", None),
    }[provider, fault.kind]
    message = f"A fault that was asked for: {fault.kind}."
    return ApiError(status, kind, message, code=code, headers=fault.retry_headers())


class _Dropped(Response[None]):
    """A connection that breaks in the middle of an answer."""

    def to_asgi_response(self, *_args: Any, **_kwargs: Any) -> ASGIResponse:
        return _DroppedASGI(status_code=self.status_code)


class _DroppedASGI(ASGIResponse):
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI
        """Promise more than is sent: the server then has to close the connection."""
        headers = [(b"content-type", b"application/json"), (b"content-length", b"4096")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b'{"id": "', "more_body": True})


async def _json_object(request: AnyRequest) -> JsonObject:
    try:
        body: object = json.loads(await request.body())
    except (ValueError, RecursionError) as error:
        raise ApiError(400, "invalid_request_error", "The body is not valid JSON.") from error
    if not isinstance(body, dict):
        raise ApiError(400, "invalid_request_error", "The body must be a JSON object.")
    return cast("JsonObject", body)


def _json(body: JsonObject, status: int = 200) -> Response[bytes]:
    """`json` and not the framework's encoder: a fault may put lone surrogates into a text."""
    return Response(json.dumps(body).encode(), status_code=status, media_type=MediaType.JSON)


def _error_response(provider: Provider, error: ApiError, request_id: str) -> Response[bytes]:
    dialect = openai_dialect if provider == "openai" else anthropic_dialect
    response = _json(dialect.error_body(error, request_id), error.status)
    response.headers.update(error.headers)
    return response


def _answer_http_error(request: AnyRequest, error: HTTPException) -> Response[bytes]:
    """An unknown path, method or too large a body, in the dialect of whoever asks."""
    provider: Provider = "anthropic" if anthropic_dialect.speaks_anthropic(request.headers) else "openai"
    kinds = {404: "not_found_error", 413: "request_too_large"} if provider == "anthropic" else {}
    phrase = HTTPStatus(error.status_code).phrase
    message = f"{phrase}: {request.method} {request.url.path}"
    api_error = ApiError(error.status_code, kinds.get(error.status_code, "invalid_request_error"), message)
    return _error_response(provider, api_error, f"req_{secrets.token_hex(12)}")


def _sandbox(state: State) -> _Sandbox:
    return cast("_Sandbox", state.sandbox)


@get("/")
async def about() -> dict[str, str]:
    return {
        "sandbox": "llm",
        "about": "A local stand-in for OpenAI and Anthropic: no model, no real answers.",
    }


@post("/v1/responses", status_code=200)
async def responses(request: AnyRequest, state: State) -> Response[Any]:
    return await _sandbox(state).handle("openai", "responses", request)


@post("/v1/chat/completions", status_code=200)
async def chat_completions(request: AnyRequest, state: State) -> Response[Any]:
    return await _sandbox(state).handle("openai", "chat/completions", request)


@post("/v1/moderations", status_code=200)
async def moderations(request: AnyRequest, state: State) -> Response[Any]:
    return await _sandbox(state).handle("openai", "moderations", request)


@post("/v1/messages", status_code=200)
async def messages(request: AnyRequest, state: State) -> Response[Any]:
    return await _sandbox(state).handle("anthropic", "messages", request)


@get("/v1/models")
async def list_models(request: AnyRequest, state: State) -> Response[Any]:
    return await _sandbox(state).handle(_provider_of(request), "models", request)


@get("/v1/models/{name:str}")
async def show_model(request: AnyRequest, state: State, name: FromPath[str]) -> Response[Any]:
    return await _sandbox(state).handle(_provider_of(request), f"models/{name}", request)


def _provider_of(request: AnyRequest) -> Provider:
    return "anthropic" if anthropic_dialect.speaks_anthropic(request.headers) else "openai"


@post("/_sandbox/faults", status_code=201)
async def add_fault(request: AnyRequest, state: State) -> Response[bytes]:
    try:
        _sandbox(state).faults.add(await _json_object(request))
    except (FieldProblem, ApiError) as problem:
        return _json({"error": str(problem)}, 400)
    return _json({"faults": _sandbox(state).faults.pending()}, 201)


@get("/_sandbox/state")
async def show_state(state: State) -> Response[bytes]:
    return _json(_sandbox(state).state())


@post("/_sandbox/reset", status_code=200)
async def reset(state: State) -> Response[bytes]:
    _sandbox(state).reset()
    return _json(_sandbox(state).state())
