"""The application: the API, the controls, the hosted pages, and the life of what runs behind them."""

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

from visiona.sandbox.guard import refuse_production
from visiona.sandbox.stripe.api import all_routes, control
from visiona.sandbox.stripe.config import API_VERSION, StripeSandboxConfig
from visiona.sandbox.stripe.errors import StripeError
from visiona.sandbox.stripe.gateway import MAX_BODY, Gateway
from visiona.sandbox.stripe.pages import HANDLERS as PAGES
from visiona.sandbox.stripe.service import Sandbox

logger = logging.getLogger(__name__)

_MARK = ResponseHeader(name="x-visiona-sandbox", value="stripe")


def create_app(config: StripeSandboxConfig) -> Litestar:
    """The sandbox as an ASGI application.

    Raises `SandboxInProductionError` where the environment is production, `ValueError` for a webhook
    address that is not on this machine. One process at a time may use `config.data_dir`.
    """
    refuse_production(config.environment)
    sandbox = Sandbox(config)
    gateway = Gateway(sandbox, all_routes())

    @asgi("/v1", is_mount=True, copy_scope=True)
    async def api(scope: Scope, receive: Receive, send: Send) -> None:
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
        route_handlers=[about, api, controls, *PAGES],
        dependencies={"sandbox": Provide(lambda: sandbox, sync_to_thread=False)},
        state=State({"sandbox": sandbox}),
        response_headers=[_MARK],
        exception_handlers={
            StripeError: answer_stripe_error,
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
        "sandbox": "stripe",
        "about": "A local stand-in for Stripe: no bank, no card network, no money.",
        "api_version": API_VERSION,
    }


def answer_stripe_error(_: Request[Any, Any, Any], error: StripeError) -> Response[dict[str, Any]]:
    """The controls speak of errors as the API does."""
    return Response(error.body(), status_code=error.status, headers={_MARK.name: str(_MARK.value)})


def answer_crash(request: Request[Any, Any, Any], error: Exception) -> Response[dict[str, Any]]:
    """A mistake of the sandbox's own, outside the API."""
    logger.error("%s %s broke off.", request.method, request.scope["path"], exc_info=error)
    return answer_stripe_error(request, StripeError(500, "api_error", "An unknown error occurred"))


def answer_http_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[dict[str, Any]]:
    """Litestar's own refusals (no such address, wrong method) in the same shape."""
    phrase = HTTPStatus(error.status_code).phrase
    message = f"{phrase}: {request.method} {request.scope['path']}"
    return answer_stripe_error(request, StripeError(error.status_code, "invalid_request_error", message))
