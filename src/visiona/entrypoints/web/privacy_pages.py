"""Where somebody has a copy of everything made, or their account deleted, and the receipt of that."""

import contextlib
import json
from typing import Any, Final

import msgspec
from litestar import Response, get, post
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect

from visiona.bootstrap import App
from visiona.core.errors import Conflict, NotFound
from visiona.entrypoints.api.admin import admin_of
from visiona.entrypoints.api.exports import export_view
from visiona.entrypoints.api.parameters import row_id
from visiona.entrypoints.api.privacy import erasure_view, read_receipt, receipt_file
from visiona.entrypoints.api.security import TheApp, actor_of
from visiona.entrypoints.web.receipt_words import receipt_words
from visiona.entrypoints.web.responses import LINK_ERRORS, AnyRequest, html, linked, page, reads_pages
from visiona.exports.model import KEPT_FOR, export_not_found
from visiona.privacy.model import STEPS

PRIVACY: Final = "/account/privacy"
EXPORTS: Final = f"{PRIVACY}#exports"
RUNNING_SHOWN: Final = 100
ERASURES_SHOWN: Final = 30

STEP_WORDS: Final = {
    "work": ("Work is ended", "the work that was begun"),
    "mail": ("Last mail", "the mail server"),
    "payments": ("Payment service", "the payment service"),
    "identity": ("Sign-in service", "the sign-in service"),
    "training": ("Training service", "the firm that trains and draws"),
    "rows": ("Database", "the database"),
    "objects": ("Files", "the object store"),
    "key": ("Key", "the key store"),
}
"""Of each step its name, and whom it waits for."""

CAUSE_WORDS: Final = {
    "person": "by the person",
    "admin": "by an administrator",
    "identity": "at the sign-in service",
    "operator": "by an operator",
    "restore": "after a restore",
}


@get(PRIVACY)
async def privacy(app: TheApp, request: AnyRequest) -> Response[str]:
    actor = actor_of(request)
    found, exports = await app.privacy.pending(actor), await app.exports.all_of(actor)
    return await page(
        app,
        request,
        "privacy.html.j2",
        exports=[msgspec.to_builtins(export_view(one)) for one in exports],
        export_days=KEPT_FOR.days,
        erasure=None if found is None else msgspec.to_builtins(erasure_view(found)),
        grace_days=app.settings.erasure_grace_days,
        invoice_years=app.settings.invoice_years,
    )


@post(f"{PRIVACY}/export", page=PRIVACY)
async def export(app: TheApp, request: AnyRequest) -> Redirect:
    await app.exports.ask(actor_of(request))
    return Redirect(EXPORTS, status_code=303)


@post(f"{PRIVACY}/export/download", page=PRIVACY)
async def download_export(app: TheApp, request: AnyRequest) -> Redirect:
    """A form and no link, so that nothing but a click of this person asks for it."""
    try:
        link = await app.exports.link(actor_of(request), await _export_id(request))
    except (NotFound, Conflict):  # its time is over: the page shows what there is
        return Redirect(EXPORTS, status_code=303)
    return Redirect(link, status_code=303)


@post(f"{PRIVACY}/export/delete", page=PRIVACY)
async def delete_export(app: TheApp, request: AnyRequest) -> Redirect:
    with contextlib.suppress(NotFound):  # a second click
        await app.exports.remove(actor_of(request), await _export_id(request))
    return Redirect(EXPORTS, status_code=303)


async def _export_id(request: AnyRequest) -> int:
    found = row_id(str((await request.form()).get("export_id", "")))
    if found is None:
        raise export_not_found()
    return found


@post(f"{PRIVACY}/delete", page=PRIVACY)
async def delete(app: TheApp, request: AnyRequest) -> Redirect:
    try:
        erasure = await app.privacy.ask(actor_of(request))
    except Conflict:  # a second click: the page shows the first
        return Redirect(PRIVACY, status_code=303)
    begins = erasure.due_at <= app.clock.now()  # and soon there is nobody who could see their own page
    return Redirect(f"/receipts/{erasure.id}" if begins else PRIVACY, status_code=303)


@post(f"{PRIVACY}/keep", page=PRIVACY)
async def keep(app: TheApp, request: AnyRequest) -> Redirect:
    with contextlib.suppress(Conflict):  # it has begun, or was taken back: the page shows which
        await app.privacy.take_back(actor_of(request))
    return Redirect(PRIVACY, status_code=303)


@get("/receipts/{code:str}", exception_handlers=LINK_ERRORS)
async def receipt(app: TheApp, request: AnyRequest, code: FromPath[str]) -> Response[Any]:
    """A page for a browser; a program is answered as at /api/receipts."""
    data = await read_receipt(app, code)
    if not reads_pages(request):
        return receipt_file(code, data)
    said = {} if data is None else _said(app, data)
    return linked(html(request, "receipt.html.j2", code=code, over=data is not None, **said))


def _said(app: App, data: bytes) -> dict[str, Any]:
    try:
        app.privacy.verify_receipt(data)
    except ValueError:  # of a key from before the secret of this server was changed, or damaged
        return {"words": receipt_words(json.loads(data)), "valid": False}
    return {"words": receipt_words(json.loads(data)), "valid": True}


# Administrators'


@get("/admin/erasures")
async def erasures(app: TheApp, request: AnyRequest, before: FromQuery[str] = "") -> Response[str]:
    admin, last = admin_of(request), row_id(before)
    over = await app.privacy.over(admin, ERASURES_SHOWN + 1, last)
    return await page(
        app,
        request,
        "admin/erasures.html.j2",
        running=await app.privacy.running(admin, RUNNING_SHOWN),
        over=over[:ERASURES_SHOWN],
        earlier=over[ERASURES_SHOWN - 1].number if len(over) > ERASURES_SHOWN else None,
        paged=last is not None,
        steps=STEPS,
        step_words=STEP_WORDS,
        cause_words=CAUSE_WORDS,
        now=app.clock.now(),
    )


HANDLERS: list[BaseRouteHandler] = [
    privacy,
    export,
    download_export,
    delete_export,
    delete,
    keep,
    receipt,
    erasures,
]
