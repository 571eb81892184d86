"""The ASGI application: API, webhooks and pages over one `App`."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from litestar import Litestar, Router
from litestar.datastructures import ResponseHeader, State
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme

from visiona.bootstrap import App
from visiona.entrypoints.api import auth, events, gallery, generate, health, media, models, photos, problems
from visiona.entrypoints.api.security import SECURITY_HEADERS, guard
from visiona.entrypoints.hooks import replicate
from visiona.entrypoints.web.pages import create_pages, on_unrouted

JSON_BODY_LIMIT = 64 * 1024
API_ROOMS = (auth, photos, models, generate, gallery, events, health, media)


def create_asgi(app: App) -> Litestar:
    """The whole web application; the `App` is opened and closed with it."""

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncGenerator[None]:
        await app.open()
        app.events.start()
        try:
            yield
        finally:
            await app.close()

    handlers = [handler for room in API_ROOMS for handler in room.HANDLERS]
    api = Router("/", route_handlers=[*handlers, *replicate.HANDLERS], exception_handlers=problems.HANDLERS)
    renderer, web, static = create_pages(app)
    return Litestar(
        [api, web, static],
        lifespan=[lifespan],
        state=State({"visiona": app, "pages": renderer}),
        guards=[guard],
        dependencies={"app": Provide(lambda: app, sync_to_thread=False)},
        request_max_body_size=JSON_BODY_LIMIT,
        response_headers=[ResponseHeader(name=n, value=v) for n, v in SECURITY_HEADERS.items()],
        openapi_config=openapi_config(),
        logging_config=None,
        exception_handlers={**problems.HANDLERS, HTTPException: on_unrouted},
    )


def openapi_config() -> OpenAPIConfig:
    return OpenAPIConfig(
        title="Visiona",
        version="1",
        description="Personal AI clones: upload photos, train a clone, generate images, keep them private.",
        path="/api",
        render_plugins=[JsonRenderPlugin(path="/openapi.json")],
        components=Components(
            security_schemes={
                "bearer": SecurityScheme(type="http", scheme="bearer"),
                "cookie": SecurityScheme(type="apiKey", name="visiona_session", security_scheme_in="cookie"),
            }
        ),
    )
