"""The pages: what each needs is read through the services and handed to its template."""

from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import quote

import msgspec
from litestar import Response, get, post
from litestar.enums import RequestEncodingType
from litestar.handlers import BaseRouteHandler
from litestar.params import Body, FromQuery
from litestar.response import Redirect
from litestar.router import Router
from litestar.static_files import (
    create_static_files_router,  # pyright: ignore[reportUnknownVariableType] - partly untyped there
)

from visiona.accounts.model import SecondFactorNeeded, SignedIn
from visiona.bootstrap import App
from visiona.clones.model import MAX_PHOTOS as PHOTOS_MAX
from visiona.clones.model import MIN_PHOTOS as PHOTOS_MIN
from visiona.core.errors import FieldError, VisionaError
from visiona.entrypoints.api.payment import plans_view
from visiona.entrypoints.api.security import (
    LogInFirst,
    TheApp,
    actor_of,
    check_origin,
    client_of,
    no_session_cookie,
    session_cookie,
    visitor_of,
)
from visiona.entrypoints.api.views import (
    image_page,
    model_page,
    photo_page,
    run_page,
)
from visiona.entrypoints.web import admin_pages, payment_pages
from visiona.entrypoints.web.offers import cards
from visiona.entrypoints.web.rendering import Pages, Simulated, StaticTree
from visiona.entrypoints.web.responses import (
    PAGE_ERRORS,
    AnyRequest,
    as_refused,
    html,
    page,
    safe_path,
)
from visiona.gallery.model import Order, Query
from visiona.generations.model import PROMPT_MAX
from visiona.photos.model import MAX_FILE_BYTES, MAX_FILES_PER_REQUEST
from visiona.photos.model import MAX_PHOTOS as PHOTOS_KEPT

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


@dataclass(slots=True)
class AccountForm:
    """What the sign-up and log-in pages send."""

    email: str = ""
    password: str = ""
    next: str = ""


@dataclass(slots=True)
class CodeForm:
    """What the page for the second step sends. The ticket stands for the password that was right."""

    ticket: str = ""
    code: str = ""
    next: str = ""


FormBody = Annotated[AccountForm, Body(media_type=RequestEncodingType.URL_ENCODED)]
CodeFormBody = Annotated[CodeForm, Body(media_type=RequestEncodingType.URL_ENCODED)]


@get("/")
async def landing(app: TheApp, request: AnyRequest) -> Response[str]:
    teaser = cards(plans_view(app), None, app.billing.catalogue)
    return await page(app, request, "landing.html.j2", limits=_LIMITS, plans=teaser)


@get("/signup")
async def sign_up_page(
    app: TheApp,
    request: AnyRequest,
    next: FromQuery[str] = "",  # noqa: A002 - the query's name
) -> Response[str] | Redirect:
    if app.settings.hosted_identity and visitor_of(request) is None:
        return Redirect(f"/api/auth/signup?next={quote(next)}", status_code=303)
    return _account_page(request, "signup.html.j2", AccountForm(next=next))


@post("/signup", status_code=303)
async def sign_up(app: TheApp, request: AnyRequest, data: FormBody) -> Response[str] | Redirect:
    check_origin(request)
    try:
        signed_in = await app.accounts.sign_up(data.email, data.password, client_of(request))
    except VisionaError as error:
        return _refused(request, "signup.html.j2", data, error)
    return _welcome(app, signed_in, data.next)


@get("/login")
async def log_in_page(
    app: TheApp,
    request: AnyRequest,
    next: FromQuery[str] = "",  # noqa: A002 - the query's name
) -> Response[str] | Redirect:
    if app.settings.hosted_identity and visitor_of(request) is None:
        return Redirect(f"/api/auth/login?next={quote(next)}", status_code=303)
    return _account_page(request, "login.html.j2", AccountForm(next=next))


@post("/login", status_code=303)
async def log_in(app: TheApp, request: AnyRequest, data: FormBody) -> Response[str] | Redirect:
    check_origin(request)
    try:
        outcome = await app.accounts.log_in(data.email, data.password, client_of(request))
    except VisionaError as error:
        return _refused(request, "login.html.j2", data, error)
    if isinstance(outcome, SecondFactorNeeded):
        return _code_form(request, CodeForm(ticket=outcome.ticket, next=data.next), None)
    return _welcome(app, outcome, data.next)


@post("/login/code", status_code=303)
async def log_in_with_code(app: TheApp, request: AnyRequest, data: CodeFormBody) -> Response[str] | Redirect:
    check_origin(request)
    try:
        signed_in = await app.accounts.log_in_with_code(data.ticket, data.code, client_of(request))
    except VisionaError as error:
        return as_refused(request, error, _code_form(request, data, error))
    return _welcome(app, signed_in, data.next)


@post("/logout", status_code=303)
async def log_out(app: TheApp, request: AnyRequest) -> Redirect:
    session = visitor_of(request)
    if session is not None:
        await app.accounts.log_out(session)
    return Redirect("/", status_code=303, cookies=[no_session_cookie(app)])


@get("/studio")
async def studio(app: TheApp, request: AnyRequest) -> Response[str]:
    actor = actor_of(request)
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
    clone = _row_id(model_id)
    query = Query(limit=GALLERY_PAGE, order=order, after=_row_id(cursor), model_id=clone)
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
    return await page(app, request, "account.html.j2", support=support)


def _row_id(text: str) -> int | None:
    """An id in an address; none when it is left empty, as a form without scripts does, or is no id."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def _account_page(request: AnyRequest, template: str, form: AccountForm) -> Response[str] | Redirect:
    if visitor_of(request) is not None:
        return Redirect(safe_path(form.next), status_code=303)
    return _account_form(request, template, form, [], None)


def _account_form(
    request: AnyRequest,
    template: str,
    form: AccountForm,
    errors: list[dict[str, str]],
    detail: str | None,
) -> Response[str]:
    shown = {"email": form.email, "next": safe_path(form.next) if form.next else ""}
    return html(request, template, form=shown, errors=errors, detail=detail)


def _code_form(request: AnyRequest, form: CodeForm, error: VisionaError | None) -> Response[str]:
    return html(
        request,
        "login_code.html.j2",
        ticket=form.ticket,
        next=form.next,
        code=None if error is None else error.code,
        detail=None if error is None else error.detail,
    )


def _refused(request: AnyRequest, template: str, form: AccountForm, error: VisionaError) -> Response[str]:
    """The form again, with what was wrong with it."""
    errors = [_field(entry) for entry in error.errors]
    return as_refused(request, error, _account_form(request, template, form, errors, error.detail))


def _field(error: FieldError) -> dict[str, str]:
    return {"field": error.field, "code": error.code, "message": error.message}


def _welcome(app: App, signed_in: SignedIn, wanted: str) -> Redirect:
    return Redirect(safe_path(wanted), status_code=303, cookies=[session_cookie(app, signed_in)])


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
        sign_up_page,
        sign_up,
        log_in_page,
        log_in,
        log_in_with_code,
        log_out,
        studio,
        gallery,
        account,
        *payment_pages.HANDLERS,
        *admin_pages.HANDLERS,
    ]
    pages = Router(
        "/",
        route_handlers=handlers,
        include_in_schema=False,
        exception_handlers={
            **PAGE_ERRORS,
            LogInFirst: on_log_in_first,
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
        static=static,
        clock=app.clock,
        sandbox=Simulated(
            images=app.settings.images_simulated,
            prompts=app.settings.prompts_simulated,
            payments=app.settings.payments_simulated,
        ),
        sells=app.payments.enabled,
    )
    return renderer, pages, files


def _keep(response: Response[Any]) -> Response[Any]:
    """The address changes with the content, so that a browser never has to ask again."""
    response.headers["Cache-Control"] = STATIC_CACHE
    return response
