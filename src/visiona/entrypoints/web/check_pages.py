"""The page on which anybody can check where an image comes from."""

from typing import Any, Final

from litestar import Response, get, post
from litestar.handlers import BaseRouteHandler

from visiona.bootstrap import App
from visiona.core.errors import VisionaError
from visiona.entrypoints.api.provenance import MAX_BODY_BYTES, find
from visiona.entrypoints.api.security import TheApp
from visiona.entrypoints.web.responses import AnyRequest, as_refused, page
from visiona.ports.provenance import Finding
from visiona.provenance.model import MAX_FILE_BYTES

CHECK: Final = "/check"


@get(CHECK)
async def check_page(app: TheApp, request: AnyRequest) -> Response[str]:
    return await _page(app, request)


@post(CHECK, status_code=200, request_max_body_size=MAX_BODY_BYTES)
async def check(app: TheApp, request: AnyRequest) -> Response[str]:
    try:
        found = await find(app, request)
    except VisionaError as error:
        return as_refused(request, error, await _page(app, request, detail=error.detail))
    return await _page(app, request, found=found)


async def _page(app: App, request: AnyRequest, **said: Any) -> Response[str]:
    found: Finding | None = said.get("found")
    return await page(
        app,
        request,
        "check.html.j2",
        found=found,
        detail=said.get("detail"),
        max_mb=MAX_FILE_BYTES // (1024 * 1024),
    )


HANDLERS: list[BaseRouteHandler] = [check_page, check]
