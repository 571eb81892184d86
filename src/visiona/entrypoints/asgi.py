"""The ASGI application: API, webhooks and pages over one `App`."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from litestar import Litestar, Router
from litestar.datastructures import MutableScopeHeaders, State
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.types import Message, Scope

from visiona.bootstrap import App
from visiona.entrypoints.api import (
    account,
    admin,
    auth,
    consents,
    events,
    exports,
    factors,
    gallery,
    generate,
    health,
    keys,
    media,
    models,
    openapi,
    payment,
    photos,
    privacy,
    problems,
    provenance,
    reports,
)
from visiona.entrypoints.api.access import attach
from visiona.entrypoints.api.origins import request_id_of, with_origin
from visiona.entrypoints.api.security import guard, payment_origins, security_headers, sign_in_origins
from visiona.entrypoints.hooks import clerk, replicate, stripe
from visiona.entrypoints.web import hosted
from visiona.entrypoints.web.pages import create_pages
from visiona.entrypoints.web.responses import LINK_ERRORS, on_unrouted

JSON_BODY_LIMIT = 64 * 1024
API_ROOMS = (
    auth,
    account,
    photos,
    models,
    generate,
    gallery,
    payment,
    keys,
    consents,
    privacy,
    exports,
    factors,
    admin,
    provenance,
    reports,
    events,
    health,
)


def create_asgi(app: App) -> Litestar:
    """The whole web application; the `App` is opened and closed with it."""
    targets = (
        *payment_origins(app.settings),
        *sign_in_origins(app.accounts.hosted, app.settings.origin),
    )
    headers = security_headers(targets, https=app.settings.secure_cookies)

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncGenerator[None]:
        await app.open()
        app.events.start()
        try:
            yield
        finally:
            await app.close()

    async def secure(message: Message, scope: Scope) -> None:
        """On everything that is sent, errors and files included."""
        if message["type"] == "http.response.start":
            sent = MutableScopeHeaders.from_message(message)
            for name, value in headers.items():
                sent.setdefault(name, value)
            sent.setdefault("X-Request-ID", request_id_of(scope))

    handlers = [handler for room in API_ROOMS for handler in room.HANDLERS] + hosted.HANDLERS
    hooks = [*replicate.HANDLERS, *stripe.HANDLERS, *clerk.HANDLERS]
    api = Router("/", route_handlers=[*handlers, *hooks], exception_handlers=problems.HANDLERS)
    links = Router("/", route_handlers=media.HANDLERS, exception_handlers=LINK_ERRORS)
    renderer, web, static = create_pages(app)
    asgi = Litestar(
        [api, links, web, static],
        lifespan=[lifespan],
        state=State({"visiona": app, "pages": renderer}),
        guards=[guard],
        middleware=[with_origin],
        dependencies={"app": Provide(lambda: app, sync_to_thread=False)},
        request_max_body_size=JSON_BODY_LIMIT,
        before_send=[secure],
        openapi_config=openapi.config(),
        logging_config=None,
        exception_handlers={**problems.HANDLERS, HTTPException: on_unrouted},
    )
    attach(asgi)
    return asgi
