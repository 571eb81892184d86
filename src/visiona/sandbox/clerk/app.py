"""The application: both APIs, the controls, the hosted pages, and the life of what runs behind them."""

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

from litestar import Litestar, Request, Response, Router, asgi, get
from litestar.datastructures import ResponseHeader, State
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.types import Receive, Scope, Send

from visiona.sandbox.clerk.api import all_routes, control
from visiona.sandbox.clerk.config import API_VERSIONS, ClerkSandboxConfig
from visiona.sandbox.clerk.errors import ClerkError
from visiona.sandbox.clerk.gateway import MAX_BODY, Gateway
from visiona.sandbox.clerk.pages import HANDLERS as PAGES
from visiona.sandbox.clerk.service import Sandbox
from visiona.sandbox.guard import refuse_production

logger = logging.getLogger(__name__)

_MARK = ResponseHeader(name="x-visiona-sandbox", value="clerk")


def create_app(config: ClerkSandboxConfig) -> Litestar:
    """The sandbox as an ASGI application.

    Raises `SandboxInProductionError` where the environment is production. One process at a time may use
    `config.data_dir`.
    """
    refuse_production(config.environment)
    sandbox = Sandbox(config)
    gateway = Gateway(sandbox, all_routes())

    @asgi(["/v1", "/.well-known"], is_mount=True, copy_scope=True)
    async def apis(scope: Scope, receive: Receive, send: Send) -> None:
        await gateway(scope, receive, send)

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncGenerator[None]:
        sandbox.start()
        try:
            yield
        finally:
            await sandbox.stop()

    controls = Router("/_sandbox", guards=[control.guard_key], route_handlers=control.HANDLERS)
    return Litestar(
        route_handlers=[about, apis, controls, *PAGES],
        dependencies={"sandbox": Provide(lambda: sandbox, sync_to_thread=False)},
        state=State({"sandbox": sandbox}),
        response_headers=[_MARK],
        exception_handlers={
            ClerkError: answer_clerk_error,
            HTTPException: answer_http_error,
            Exception: answer_crash,
        },
        lifespan=[lifespan],
        openapi_config=None,
        logging_config=None,
        request_max_body_size=MAX_BODY,
    )


@get("/", sync_to_thread=False)
def about() -> dict[str, str]:
    return {
        "sandbox": "clerk",
        "about": "A local stand-in for Clerk: no mail is sent, and nobody here is real.",
        "api_version": API_VERSIONS[-1],
    }


def answer_clerk_error(_: Request[Any, Any, Any], error: ClerkError) -> Response[dict[str, Any]]:
    """The controls speak of errors as the APIs do."""
    return Response(error.body(), status_code=error.status, headers={_MARK.name: str(_MARK.value)})


def answer_crash(request: Request[Any, Any, Any], error: Exception) -> Response[dict[str, Any]]:
    """A mistake of the sandbox's own, outside the APIs."""
    logger.error("%s %s broke off.", request.method, request.scope["path"], exc_info=error)
    return answer_clerk_error(request, ClerkError(500, "internal_clerk_error", "Unexpected error"))


def answer_http_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[dict[str, Any]]:
    """Litestar's own refusals (no such address, wrong method) in the same shape."""
    phrase = HTTPStatus(error.status_code).phrase
    code = "resource_not_found" if error.status_code == 404 else "bad_request"
    message = f"{request.method} {request.scope['path']}"
    return answer_clerk_error(request, ClerkError(error.status_code, code, phrase, message))
