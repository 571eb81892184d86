"""The application: the inbox's pages, the controls, and the SMTP server that lives as long as they do."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from litestar import Litestar, Request, Response, Router
from litestar.connection import ASGIConnection
from litestar.datastructures import ResponseHeader, State
from litestar.di import Provide
from litestar.exceptions import HTTPException, PermissionDeniedException
from litestar.handlers import BaseRouteHandler

from visiona.sandbox.guard import refuse_production
from visiona.sandbox.mail import control, pages
from visiona.sandbox.mail.config import MailSandboxConfig
from visiona.sandbox.mail.desk import Desk

_MARK = ResponseHeader(name="x-visiona-sandbox", value="mail")
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def create_app(config: MailSandboxConfig) -> Litestar:
    """The sandbox as an ASGI application; while it is up, mail is taken on the config's SMTP port.

    Raises `SandboxInProductionError` where the environment is production; starting raises `OSError` where
    the port is taken. One process at a time may use `config.data_dir`.
    """
    refuse_production(config.environment)
    desk = Desk.furnished(config)

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncGenerator[None]:
        await desk.reception.start()
        try:
            yield
        finally:
            await desk.reception.stop()

    return Litestar(
        route_handlers=[
            Router("/_sandbox", guards=[control.guard_key], route_handlers=control.HANDLERS),
            Router("/", guards=[guard_host], route_handlers=pages.HANDLERS),
        ],
        dependencies={"desk": Provide(lambda: desk, sync_to_thread=False)},
        state=State({"desk": desk}),
        response_headers=[_MARK],
        exception_handlers={HTTPException: answer_http_error},
        lifespan=[lifespan],
        openapi_config=None,
        logging_config=None,
    )


def guard_host(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """The pages need no key, so they are shown under the sandbox's own names only: a foreign site that
    lets its name point to this machine reads no mails through a visitor's browser.
    """
    desk: Desk = connection.app.state.desk
    asked = urlsplit(f"//{connection.headers.get('host', '')}").hostname
    if asked not in _LOOPBACK | {urlsplit(desk.config.public_url).hostname}:
        raise PermissionDeniedException("The inbox is not shown under this name.")


def answer_http_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
    if request.scope["path"].startswith("/_sandbox"):
        response: Response[Any] = Response({"error": error.detail}, status_code=error.status_code)
    else:
        response = pages.answer_http_error(request, error)
    # The application marks only the answers that its handlers give.
    response.headers[_MARK.name] = str(_MARK.value)
    return response
