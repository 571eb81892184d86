"""The page on which somebody has their account deleted, or keeps it after all."""

import contextlib
from typing import Final

import msgspec
from litestar import Response, get, post
from litestar.handlers import BaseRouteHandler
from litestar.response import Redirect

from visiona.core.errors import Conflict
from visiona.entrypoints.api.privacy import erasure_view
from visiona.entrypoints.api.security import TheApp, actor_of
from visiona.entrypoints.web.responses import AnyRequest, page

PRIVACY: Final = "/account/privacy"


@get(PRIVACY)
async def privacy(app: TheApp, request: AnyRequest) -> Response[str]:
    found = await app.privacy.pending(actor_of(request))
    return await page(
        app,
        request,
        "privacy.html.j2",
        erasure=None if found is None else msgspec.to_builtins(erasure_view(found)),
        grace_days=app.settings.erasure_grace_days,
        invoice_years=app.settings.invoice_years,
    )


@post(f"{PRIVACY}/delete", page=PRIVACY)
async def delete(app: TheApp, request: AnyRequest) -> Redirect:
    with contextlib.suppress(Conflict):  # a second click: the page shows the first
        await app.privacy.ask(actor_of(request))
    return Redirect(PRIVACY, status_code=303)


@post(f"{PRIVACY}/keep", page=PRIVACY)
async def keep(app: TheApp, request: AnyRequest) -> Redirect:
    with contextlib.suppress(Conflict):  # it has begun, or was taken back: the page shows which
        await app.privacy.take_back(actor_of(request))
    return Redirect(PRIVACY, status_code=303)


HANDLERS: list[BaseRouteHandler] = [privacy, delete, keep]
