"""Pages for whoever is not signed in yet: signing up, logging in, and what links in mails open.

A link opens a page by GET, which changes nothing, since scanners of mailboxes open links before people do.
Where an identity service keeps the accounts, its own pages do all of this.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from litestar import Response, get, post
from litestar.enums import RequestEncodingType
from litestar.handlers import BaseRouteHandler
from litestar.params import Body, FromQuery
from litestar.response import Redirect

from visiona.accounts.model import SecondFactorNeeded, SignedIn
from visiona.bootstrap import App
from visiona.core.errors import FieldError, VisionaError
from visiona.entrypoints.api.security import (
    TheApp,
    check_origin,
    client_of,
    no_session_cookie,
    session_cookie,
    visitor_of,
)
from visiona.entrypoints.web.passkey_place import passkey_place
from visiona.entrypoints.web.rendering import Flash
from visiona.entrypoints.web.responses import AnyRequest, as_refused, html, linked, page, safe_path

_NOTICES: Final[Mapping[str, Flash]] = {
    "reset": Flash("good", "Your new password counts from now on. Log in with it."),
    "late": Flash("info", "That took too long, so we begin again: log in with your password."),
}
"""What the log-in page says to somebody who was sent there."""


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


@dataclass(slots=True)
class ForgotForm:
    email: str = ""


@dataclass(slots=True)
class ResetForm:
    token: str = ""
    password: str = ""


@dataclass(slots=True)
class LinkForm:
    token: str = ""


AccountBody = Annotated[AccountForm, Body(media_type=RequestEncodingType.URL_ENCODED)]
CodeBody = Annotated[CodeForm, Body(media_type=RequestEncodingType.URL_ENCODED)]
ForgotBody = Annotated[ForgotForm, Body(media_type=RequestEncodingType.URL_ENCODED)]
ResetBody = Annotated[ResetForm, Body(media_type=RequestEncodingType.URL_ENCODED)]
LinkBody = Annotated[LinkForm, Body(media_type=RequestEncodingType.URL_ENCODED)]


# Signing up and in


@get("/signup")
async def sign_up_page(
    app: TheApp,
    request: AnyRequest,
    next: FromQuery[str] = "",  # noqa: A002 - the query's name
) -> Response[str] | Redirect:
    if visitor_of(request) is not None:
        return _to(safe_path(next))
    if app.settings.hosted_identity:
        return _to("/api/auth/signup", next=next)
    return _sign_up_form(request, AccountForm(next=next), None)


@post("/signup", status_code=303)
async def sign_up(app: TheApp, request: AnyRequest, data: AccountBody) -> Response[str] | Redirect:
    check_origin(request)
    try:
        signed_in = await app.accounts.sign_up(data.email, data.password, client_of(request))
    except VisionaError as error:
        return as_refused(request, error, _sign_up_form(request, data, error))
    return _welcome(app, signed_in, data.next)


@get("/login")
async def log_in_page(
    app: TheApp,
    request: AnyRequest,
    next: FromQuery[str] = "",  # noqa: A002 - the query's name
    notice: FromQuery[str] = "",
) -> Response[str] | Redirect:
    if visitor_of(request) is not None:
        return _to(safe_path(next))
    if app.settings.hosted_identity:
        return _to("/api/auth/login", next=next)
    return _log_in_form(app, request, AccountForm(next=next), None, notice)


@post("/login", status_code=303)
async def log_in(app: TheApp, request: AnyRequest, data: AccountBody) -> Response[str] | Redirect:
    check_origin(request)
    try:
        outcome = await app.accounts.log_in(data.email, data.password, client_of(request))
    except VisionaError as error:
        return as_refused(request, error, _log_in_form(app, request, data, error))
    if isinstance(outcome, SecondFactorNeeded):
        return _code_form(request, CodeForm(ticket=outcome.ticket, next=data.next), None)
    return _welcome(app, outcome, data.next)


@get("/login/code")
async def log_in_code_page() -> Redirect:
    """The second step follows from the first one; opened alone, it leads there."""
    return _to("/login")


@post("/login/code", status_code=303)
async def log_in_with_code(app: TheApp, request: AnyRequest, data: CodeBody) -> Response[str] | Redirect:
    check_origin(request)
    try:
        signed_in = await app.accounts.log_in_with_code(data.ticket, data.code, client_of(request))
    except VisionaError as error:
        if error.code == "invalid_ticket":
            return _to("/login", notice="late", next=data.next)
        return as_refused(request, error, _code_form(request, data, error))
    return _welcome(app, signed_in, data.next)


@post("/logout", status_code=303)
async def log_out(app: TheApp, request: AnyRequest) -> Redirect:
    session = visitor_of(request)
    if session is not None:
        await app.accounts.log_out(session)
    return Redirect("/", status_code=303, cookies=[no_session_cookie(app)])


# Links in mails


@get("/forgot")
async def forgot_page(
    app: TheApp, request: AnyRequest, sent: FromQuery[str] = ""
) -> Response[str] | Redirect:
    if app.settings.hosted_identity:
        return _to("/login")
    return _forgot_form(request, ForgotForm(), None, sent=bool(sent))


@post("/forgot", status_code=303)
async def forgot(app: TheApp, request: AnyRequest, data: ForgotBody) -> Response[str] | Redirect:
    """Whoever has no account with this address is answered alike."""
    check_origin(request)
    try:
        await app.addresses.ask_for_reset(data.email, client_of(request))
    except VisionaError as error:
        return as_refused(request, error, _forgot_form(request, data, error))
    return _to("/forgot", sent="1")


@get("/reset")
async def reset_page(
    app: TheApp, request: AnyRequest, token: FromQuery[str] = ""
) -> Response[str] | Redirect:
    if app.settings.hosted_identity:
        return _to("/login")
    try:
        await app.addresses.check_reset(token, client_of(request))
    except VisionaError as error:
        return as_refused(request, error, _reset_form(request, token, error))
    return _reset_form(request, token, None)


@post("/reset", status_code=303)
async def reset(app: TheApp, request: AnyRequest, data: ResetBody) -> Response[str] | Redirect:
    """Logging in is next, whoever was signed in here."""
    check_origin(request)
    try:
        await app.addresses.reset(data.token, data.password, client_of(request))
    except VisionaError as error:
        return as_refused(request, error, _reset_form(request, data.token, error))
    session = visitor_of(request)
    if session is not None:
        await app.accounts.log_out(session)
    return Redirect("/login?notice=reset", status_code=303, cookies=[no_session_cookie(app)])


@get("/verify")
async def verify_page(
    app: TheApp, request: AnyRequest, token: FromQuery[str] = "", done: FromQuery[str] = ""
) -> Response[str] | Redirect:
    if app.settings.hosted_identity:
        return _to("/login")
    return await _verify_form(app, request, token, None, done=bool(done))


@post("/verify", status_code=303)
async def verify(app: TheApp, request: AnyRequest, data: LinkBody) -> Response[str] | Redirect:
    check_origin(request)
    try:
        await app.addresses.confirm(data.token, client_of(request))
    except VisionaError as error:
        return as_refused(request, error, await _verify_form(app, request, data.token, error))
    return _to("/verify", done="1")


# What they show


def refusal(error: VisionaError | None, **fields: str) -> dict[str, Any]:
    """What a form says of `error`: beside its fields as far as it is about one, else above them. `fields`
    are codes that are about a field though they do not name it.
    """
    if error is None:
        return {"errors": [], "detail": None}
    if error.errors:
        return {"errors": [_field(entry) for entry in error.errors], "detail": error.detail}
    field = fields.get(error.code)
    if field is not None:
        return {"errors": [{"field": field, "code": error.code, "message": error.detail}], "detail": None}
    return {"errors": [], "detail": error.detail}


def _field(error: FieldError) -> dict[str, str]:
    return {"field": error.field, "code": error.code, "message": error.message}


def _sign_up_form(request: AnyRequest, form: AccountForm, error: VisionaError | None) -> Response[str]:
    return html(request, "signup.html.j2", form=_shown(form), **refusal(error))


def _log_in_form(
    app: App, request: AnyRequest, form: AccountForm, error: VisionaError | None, notice: str = ""
) -> Response[str]:
    return html(
        request,
        "login.html.j2",
        form=_shown(form),
        notice=_NOTICES.get(notice),
        passkeys=passkey_place(app, request, "/login"),
        **refusal(error),
    )


def _shown(form: AccountForm) -> dict[str, str]:
    """The password is never sent back."""
    return {"email": form.email, "next": safe_path(form.next) if form.next else ""}


def _code_form(request: AnyRequest, form: CodeForm, error: VisionaError | None) -> Response[str]:
    shown = {"ticket": form.ticket, "next": safe_path(form.next) if form.next else ""}
    return html(request, "login_code.html.j2", form=shown, **refusal(error, invalid_code="code"))


def _forgot_form(
    request: AnyRequest, form: ForgotForm, error: VisionaError | None, *, sent: bool = False
) -> Response[str]:
    return html(request, "forgot.html.j2", form={"email": form.email}, sent=sent, **refusal(error))


def _reset_form(request: AnyRequest, token: str, error: VisionaError | None) -> Response[str]:
    """A link that is over has no form any more."""
    over = error is not None and error.code in {"link_not_found", "account_suspended"}
    return linked(html(request, "reset.html.j2", token=token, over=over, **refusal(error)))


async def _verify_form(
    app: App, request: AnyRequest, token: str, error: VisionaError | None, *, done: bool = False
) -> Response[str]:
    answer = await page(app, request, "verify.html.j2", token=token, done=done, **refusal(error))
    return linked(answer)


def _welcome(app: App, signed_in: SignedIn, wanted: str) -> Redirect:
    return Redirect(safe_path(wanted), status_code=303, cookies=[session_cookie(app, signed_in)])


def _to(path: str, **query: str) -> Redirect:
    given = urlencode({name: value for name, value in query.items() if value})
    return Redirect(f"{path}?{given}" if given else path, status_code=303)


HANDLERS: list[BaseRouteHandler] = [
    sign_up_page,
    sign_up,
    log_in_page,
    log_in,
    log_in_code_page,
    log_in_with_code,
    log_out,
    forgot_page,
    forgot,
    reset_page,
    reset,
    verify_page,
    verify,
]
