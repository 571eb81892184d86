"""The pages: what each needs is read through the services and handed to its template."""

from typing import Any
from urllib.parse import quote

import msgspec
from litestar import Response, get
from litestar.handlers import BaseRouteHandler
from litestar.params import FromQuery
from litestar.response import Redirect
from litestar.router import Router
from litestar.static_files import (
    create_static_files_router,  # pyright: ignore[reportUnknownVariableType] - partly untyped there
)

from visiona.bootstrap import App
from visiona.clones.model import MAX_PHOTOS as PHOTOS_MAX
from visiona.clones.model import MIN_PHOTOS as PHOTOS_MIN
from visiona.consents.model import Subject
from visiona.core.errors import Forbidden
from visiona.entrypoints.api.parameters import row_id
from visiona.entrypoints.api.payment import plans_view
from visiona.entrypoints.api.security import (
    LogInFirst,
    TheApp,
    actor_of,
)
from visiona.entrypoints.api.views import (
    image_page,
    model_page,
    photo_page,
    run_page,
)
from visiona.entrypoints.web import (
    account_pages,
    admin_pages,
    check_pages,
    consent_pages,
    key_pages,
    payment_pages,
    privacy_pages,
    report_pages,
    sign_in_pages,
)
from visiona.entrypoints.web.offers import cards
from visiona.entrypoints.web.rendering import Pages, Simulated, StaticTree
from visiona.entrypoints.web.responses import (
    PAGE_ERRORS,
    AnyRequest,
    page,
)
from visiona.gallery.model import Order, Query
from visiona.generations.model import PROMPT_MAX
from visiona.photos.model import MAX_FILE_BYTES, MAX_FILES_PER_REQUEST
from visiona.photos.model import MAX_PHOTOS as PHOTOS_KEPT
from visiona.settings import Settings

GALLERY_PAGE = 48
RUNS_PAGE = 12
CLONES_SHOWN = 100
STATIC_CACHE = "public, max-age=31536000, immutable"

_LIMITS = {
    "photos_min": PHOTOS_MIN,
    "photos_max": PHOTOS_MAX,
    "prompt_max": PROMPT_MAX,
    "upload_max_mb": MAX_FILE_BYTES // (1024 * 1024),
    "files_per_request": MAX_FILES_PER_REQUEST,
}


@get("/")
async def landing(app: TheApp, request: AnyRequest) -> Response[str]:
    teaser = cards(plans_view(app), None, app.billing.catalogue)
    return await page(app, request, "landing.html.j2", limits=_LIMITS, plans=teaser)


@get("/studio")
async def studio(app: TheApp, request: AnyRequest) -> Response[str]:
    actor = actor_of(request)
    faces = [one for one in await app.consents.page(actor) if one.current]
    runs = await run_page(app, await app.generations.page(actor, RUNS_PAGE), RUNS_PAGE)
    photos = await photo_page(app, await app.photos.page(actor, PHOTOS_KEPT), PHOTOS_KEPT)
    models = model_page(await app.clones.page(actor, CLONES_SHOWN), CLONES_SHOWN)
    return await page(
        app,
        request,
        "studio.html.j2",
        photos=msgspec.to_builtins(photos.items),
        models=msgspec.to_builtins(models.items),
        runs=msgspec.to_builtins(runs.items),
        next_cursor=runs.next_cursor,
        limits=_LIMITS,
        consented=any(one.subject is Subject.SELF for one in faces),
        others=[{"id": str(one.id), "label": one.label} for one in faces if one.subject is Subject.OTHER],
    )


@get("/gallery")
async def gallery(
    app: TheApp,
    request: AnyRequest,
    order: FromQuery[Order] = "newest",
    model_id: FromQuery[str] = "",
    cursor: FromQuery[str] = "",
) -> Response[str]:
    actor = actor_of(request)
    clone = row_id(model_id)
    query = Query(limit=GALLERY_PAGE, order=order, after=row_id(cursor), model_id=clone)
    images = await image_page(app, await app.gallery.page(actor, query), GALLERY_PAGE)
    models = model_page(await app.clones.page(actor, CLONES_SHOWN), CLONES_SHOWN)
    return await page(
        app,
        request,
        "gallery.html.j2",
        images=msgspec.to_builtins(images.items),
        next_cursor=images.next_cursor,
        models=msgspec.to_builtins(models.items),
        order=order,
        model_id=clone,
    )


@get("/account")
async def account(app: TheApp, request: AnyRequest) -> Response[str]:
    support = await admin_pages.support_of(app, request)
    signing_in = await account_pages.overview(app, request)
    return await page(app, request, "account.html.j2", support=support, **signing_in)


def on_log_in_first(request: AnyRequest, error: LogInFirst) -> Redirect:
    """To the log-in page, and back to where they were: for a form, the page that it stands on (`page`)."""
    handler: BaseRouteHandler = request.scope["route_handler"]
    query = request.scope["query_string"].decode("ascii", "replace")
    path = handler.opt.get("page") or (f"{error.path}?{query}" if query else error.path)
    return Redirect(f"/login?next={quote(path)}", status_code=303)


def create_pages(app: App) -> tuple[Pages, Router, Router]:
    """The renderer, the pages' router, and the router of static files."""
    static = StaticTree()
    handlers: list[BaseRouteHandler] = [
        landing,
        studio,
        gallery,
        account,
        *sign_in_pages.HANDLERS,
        *account_pages.HANDLERS,
        *key_pages.HANDLERS,
        *consent_pages.HANDLERS,
        *privacy_pages.HANDLERS,
        *payment_pages.HANDLERS,
        *admin_pages.HANDLERS,
        *report_pages.HANDLERS,
        *check_pages.HANDLERS,
    ]
    pages = Router(
        "/",
        route_handlers=handlers,
        include_in_schema=False,
        exception_handlers={
            **PAGE_ERRORS,
            LogInFirst: on_log_in_first,
            Forbidden: account_pages.on_forbidden,
        },
    )
    files = create_static_files_router(
        path=static.mount,
        directories=[static.root],
        include_in_schema=False,
        cache_control=None,
        after_request=_keep,
    )
    renderer = Pages(
        static=static, clock=app.clock, sandbox=_simulated(app.settings), sells=app.payments.enabled
    )
    return renderer, pages, files


def _simulated(settings: Settings) -> Simulated:
    mails = settings.mail_simulated or settings.smtp_url is not None
    return Simulated(
        images=settings.images_simulated,
        prompts=settings.prompts_simulated,
        payments=settings.payments_simulated,
        identity=settings.identity_simulated if settings.hosted_identity else None,
        mail=settings.mail_simulated if mails else None,
        inbox_url=settings.sandbox_inbox_url,
    )


def _keep(response: Response[Any]) -> Response[Any]:
    """The address changes with the content, so that a browser never has to ask again."""
    response.headers["Cache-Control"] = STATIC_CACHE
    return response
