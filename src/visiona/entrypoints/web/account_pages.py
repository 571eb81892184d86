"""A person's own account: how they sign in, where they are signed in, and proving again who they are.

Every form works without scripts, and says what came of it on the page that it stands on. What changes how
one gets in is only done for somebody who has just shown who they are; others are led to `/confirm`, and
back. With an identity service its own pages do that, and these say so.
"""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final
from urllib.parse import quote
from uuid import UUID

from litestar import Response, get, post
from litestar.enums import RequestEncodingType
from litestar.handlers import BaseRouteHandler
from litestar.params import Body, FromQuery
from litestar.response import Redirect

from visiona.accounts.model import FRESH_FOR, SessionInfo, session_not_found
from visiona.bootstrap import App
from visiona.core.errors import FieldError, Forbidden, Invalid, VisionaError
from visiona.entrypoints.api.security import (
    TheApp,
    actor_of,
    caller_of,
    client_of,
    no_session_cookie,
    session_of,
)
from visiona.entrypoints.web.browsers import browser_words
from visiona.entrypoints.web.passkey_place import passkey_place
from visiona.entrypoints.web.rendering import Flash
from visiona.entrypoints.web.responses import (
    AnyRequest,
    as_refused,
    html,
    on_page_error,
    page,
    safe_path,
)
from visiona.entrypoints.web.sign_in_pages import refusal
from visiona.factors.model import PASSKEY_NAME_MAX_LENGTH, PASSKEYS_MAX, TotpSetup

SECURITY: Final = "/account/security"
KEYS_SHOWN: Final = 100

_DONE: Final[Mapping[str, Flash]] = {
    "password": Flash("good", "Your password is changed. Everywhere else you are logged out."),
    "address": Flash("info", "We sent a link to the new address. Follow it, and the address is yours."),
    "mail": Flash("good", "We sent the mail again. Follow the link in it."),
    "confirmed": Flash("info", "Your address is confirmed already."),
    "two-step-off": Flash("info", "Two-step verification is off: your password alone lets you in."),
    "two-step-on": Flash("info", "Two-step verification is on already."),
    "passkey": Flash("good", "The passkey is added. Use it the next time you log in."),
    "passkey-renamed": Flash("good", "The passkey has its new name."),
    "passkey-removed": Flash("good", "The passkey is removed. Delete it on your device too."),
    "session": Flash("good", "That session is ended."),
    "sessions": Flash("good", "You are logged out everywhere else."),
}
"""What the pages say of what was done, by what their address says."""


@dataclass(slots=True)
class PasswordForm:
    password: str = ""


@dataclass(slots=True)
class AddressForm:
    email: str = ""


@dataclass(slots=True)
class CodeForm:
    code: str = ""


@dataclass(slots=True)
class PasskeyForm:
    passkey_id: str = ""
    name: str = ""


@dataclass(slots=True)
class SessionForm:
    session_id: str = ""


@dataclass(slots=True)
class ConfirmForm:
    """`how` is which of the page's forms was sent: `password`, `code` or `again`."""

    how: str = "password"
    password: str = ""
    code: str = ""
    next: str = ""


PasswordBody = Annotated[PasswordForm, Body(media_type=RequestEncodingType.URL_ENCODED)]
AddressBody = Annotated[AddressForm, Body(media_type=RequestEncodingType.URL_ENCODED)]
CodeBody = Annotated[CodeForm, Body(media_type=RequestEncodingType.URL_ENCODED)]
PasskeyBody = Annotated[PasskeyForm, Body(media_type=RequestEncodingType.URL_ENCODED)]
SessionBody = Annotated[SessionForm, Body(media_type=RequestEncodingType.URL_ENCODED)]
ConfirmBody = Annotated[ConfirmForm, Body(media_type=RequestEncodingType.URL_ENCODED)]


async def overview(app: App, request: AnyRequest) -> dict[str, Any]:
    """What the account page says of signing in, in a line each."""
    actor = actor_of(request)
    factors = None if app.settings.hosted_identity else await app.factors.status(actor)
    keys = await app.keys.page(actor, KEYS_SHOWN)
    now = app.clock.now()
    return {
        "hosted": hosted_account(app),
        "factors": factors,
        "sessions": len(await app.accounts.sessions(session_of(request))),
        "keys": sum(key.revoked_at is None and key.expires_at > now for key in keys),
    }


def hosted_account(app: App) -> str | None:
    """The identity service's page for what it keeps, where there is one."""
    hosted = app.accounts.hosted
    return None if hosted is None else hosted.account_page(f"{app.settings.origin}/account")


# Sign-in and security


@get(SECURITY)
async def security(app: TheApp, request: AnyRequest, done: FromQuery[str] = "") -> Response[str]:
    said = _DONE.get(done)
    return await _security(app, request, flashes=[said] if said else [])


@post("/account/password", page=SECURITY, status_code=303)
async def change_password(app: TheApp, request: AnyRequest, data: PasswordBody) -> Response[str] | Redirect:
    session = session_of(request)
    try:
        await app.addresses.change_password(actor_of(request), data.password, session.session_id)
    except VisionaError as error:
        return await _refused(app, request, "password", error)
    return _done("password", "password")


@post("/account/email", page=SECURITY, status_code=303)
async def change_address(app: TheApp, request: AnyRequest, data: AddressBody) -> Response[str] | Redirect:
    try:
        await app.addresses.ask_to_change(actor_of(request), data.email, client_of(request))
    except VisionaError as error:
        return await _refused(app, request, "address", error, typed={"email": data.email})
    return _done("address", "address")


@post("/account/email/verification", page=SECURITY, status_code=303)
async def ask_to_verify(app: TheApp, request: AnyRequest) -> Response[str] | Redirect:
    """For the banner that asks to confirm the address, where there are no scripts."""
    try:
        await app.addresses.ask_again(actor_of(request), client_of(request))
    except VisionaError as error:
        if error.code == "already_verified":
            return _done("confirmed", "address")
        return await _refused(app, request, "address", error)
    return _done("mail", "address")


# Two-step verification


@post("/account/totp", page=SECURITY, status_code=303)
async def begin_totp(app: TheApp, request: AnyRequest) -> Redirect:
    try:
        await app.factors.begin_totp(actor_of(request), await _label(app, request))
    except VisionaError as error:
        if error.code != "two_factor_on":
            raise
        return _done("two-step-on", "two-step")
    return Redirect("/account/totp", status_code=303)


@get("/account/totp", page="/account/totp")
async def totp_page(app: TheApp, request: AnyRequest) -> Response[str] | Redirect:
    return await _totp(app, request, None)


@post("/account/totp/confirm", page="/account/totp", status_code=303)
async def confirm_totp(app: TheApp, request: AnyRequest, data: CodeBody) -> Response[str] | Redirect:
    """The answer is the only page that has the recovery codes."""
    try:
        codes = await app.factors.confirm_totp(actor_of(request), data.code)
    except VisionaError as error:
        return await _totp(app, request, error)
    return await _codes(app, request, codes, begun=True)


@post("/account/totp/off", page=SECURITY, status_code=303)
async def disable_totp(app: TheApp, request: AnyRequest) -> Redirect:
    await app.factors.disable_totp(actor_of(request))
    return _done("two-step-off", "two-step")


@post("/account/recovery-codes", page=SECURITY, status_code=303)
async def renew_recovery_codes(app: TheApp, request: AnyRequest) -> Response[str] | Redirect:
    try:
        codes = await app.factors.renew_recovery_codes(actor_of(request))
    except VisionaError as error:
        return await _refused(app, request, "two-step", error)
    return await _codes(app, request, codes, begun=False)


# Passkeys, which a script adds (js/passkeys.js)


@post("/account/passkeys/rename", page=SECURITY, status_code=303)
async def rename_passkey(app: TheApp, request: AnyRequest, data: PasskeyBody) -> Response[str] | Redirect:
    passkey_id = row_id(data.passkey_id)
    try:
        await app.factors.rename_passkey(actor_of(request), passkey_id, data.name)
    except VisionaError as error:
        typed = {"passkey_id": str(passkey_id), "name": data.name}
        return await _refused(app, request, "passkeys", error, typed=typed)
    return _done("passkey-renamed", "passkeys")


@post("/account/passkeys/remove", page=SECURITY, status_code=303)
async def remove_passkey(app: TheApp, request: AnyRequest, data: PasskeyBody) -> Response[str] | Redirect:
    try:
        await app.factors.remove_passkey(actor_of(request), row_id(data.passkey_id))
    except VisionaError as error:
        return await _refused(app, request, "passkeys", error)
    return _done("passkey-removed", "passkeys")


# Sessions


@post("/account/sessions/end", page=SECURITY, status_code=303)
async def end_session(app: TheApp, request: AnyRequest, data: SessionBody) -> Response[str] | Redirect:
    try:
        await app.accounts.end_session(session_of(request), _session_id(data.session_id))
    except VisionaError as error:
        return await _refused(app, request, "sessions", error)
    return _done("session", "sessions")


@post("/account/sessions/end-others", page=SECURITY, status_code=303)
async def end_other_sessions(app: TheApp, request: AnyRequest) -> Redirect:
    await app.accounts.end_other_sessions(session_of(request))
    return _done("sessions", "sessions")


# Proving again who one is


@get("/confirm")
async def confirm_page(
    app: TheApp,
    request: AnyRequest,
    next: FromQuery[str] = "",  # noqa: A002 - the query's name
) -> Response[str] | Redirect:
    if caller_of(request).fresh:
        return Redirect(_back(next), status_code=303)
    return await _confirm(app, request, next, None)


@post("/confirm", page="/confirm", status_code=303)
async def confirm(app: TheApp, request: AnyRequest, data: ConfirmBody) -> Response[str] | Redirect:
    session = session_of(request)
    if data.how == "again":
        await app.accounts.log_out(session)
        answer = html(request, "confirm_again.html.j2", next=_back(data.next))
        answer.set_cookie(no_session_cookie(app))
        return answer
    by_code = data.how == "code"
    try:
        if by_code and not data.code.strip():
            raise _missing("code", "Enter a code of your authenticator app, or a recovery code.")
        if not by_code and not data.password:
            raise _missing("password", "Enter your password.")
        await app.accounts.confirm(
            session, password="" if by_code else data.password, code=data.code.strip() if by_code else ""
        )
    except VisionaError as error:
        return as_refused(request, error, await _confirm(app, request, data.next, error))
    return Redirect(_back(data.next), status_code=303)


def on_forbidden(request: AnyRequest, error: Forbidden) -> Response[Any] | Redirect:
    """To where one shows who one is, and back: for a form, to the page that it stands on (`page`)."""
    if error.code != "confirmation_required":
        return on_page_error(request, error)
    handler: BaseRouteHandler = request.scope["route_handler"]
    wanted: str = handler.opt.get("page", request.scope["path"])
    return Redirect(f"/confirm?next={quote(wanted)}", status_code=303)


# What they show


async def _security(
    app: App,
    request: AnyRequest,
    http_status: int = 200,
    *,
    form: str = "",
    refused: VisionaError | None = None,
    typed: Mapping[str, str] | None = None,
    **context: Any,
) -> Response[str]:
    """`form` is the one that was refused, with what was typed into it."""
    hosted = app.settings.hosted_identity
    found = await app.accounts.sessions(session_of(request))
    return await page(
        app,
        request,
        "security.html.j2",
        http_status,
        hosted=hosted_account(app),
        fresh=caller_of(request).fresh,
        factors=None if hosted else await app.factors.status(actor_of(request)),
        passkeys=passkey_place(app, request, SECURITY),
        passkeys_max=PASSKEYS_MAX,
        name_max=PASSKEY_NAME_MAX_LENGTH,
        sessions=[_session_view(one) for one in found],
        refused={"form": form, **refusal(refused)},
        typed=typed or {},
        **context,
    )


async def _refused(
    app: App, request: AnyRequest, form: str, error: VisionaError, typed: Mapping[str, str] | None = None
) -> Response[str]:
    return as_refused(request, error, await _security(app, request, form=form, refused=error, typed=typed))


def _session_view(session: SessionInfo) -> dict[str, Any]:
    phone = re.search(r"iPhone|iPad|Android", session.client) is not None
    return {
        "id": str(session.id),
        "words": browser_words(session.client),
        "icon": "phone" if phone else "laptop",
        "created_at": session.created_at.isoformat(),
        "last_seen_at": session.last_seen_at.isoformat(),
        "current": session.current,
    }


async def _totp(app: App, request: AnyRequest, error: VisionaError | None) -> Response[str] | Redirect:
    """What to put into an authenticator; nothing where that is over or was never begun."""
    try:
        setup = await app.factors.begun_totp(actor_of(request), await _label(app, request))
    except VisionaError as over:
        if over.code == "two_factor_on":
            return _done("two-step-on", "two-step")
        return Redirect(f"{SECURITY}#two-step", status_code=303)
    answer = await page(app, request, "security_totp.html.j2", **_setup_view(setup), **refusal(error))
    return answer if error is None else as_refused(request, error, answer)


def _setup_view(setup: TotpSetup) -> dict[str, str]:
    groups = re.findall(".{1,4}", setup.secret)
    picture = base64.b64encode(setup.qr_svg.encode()).decode("ascii")
    return {
        "secret": " ".join(groups),
        "uri": setup.uri,
        "qr": f"data:image/svg+xml;base64,{picture}",
    }


async def _codes(app: App, request: AnyRequest, codes: tuple[str, ...], *, begun: bool) -> Response[str]:
    return await page(app, request, "security_codes.html.j2", codes=codes, begun=begun)


async def _confirm(app: App, request: AnyRequest, wanted: str, error: VisionaError | None) -> Response[str]:
    hosted = app.accounts.hosted is not None
    status = None if hosted else await app.factors.status(actor_of(request))
    return await page(
        app,
        request,
        "confirm.html.j2",
        next=_back(wanted),
        hosted=hosted,
        codes=status is not None and status.totp_since is not None,
        passkeys=bool(status and status.passkeys) and passkey_place(app, request, "/confirm").usable,
        minutes=int(FRESH_FOR.total_seconds() // 60),
        **refusal(error, invalid_credentials="password", invalid_code="code"),
    )


def _missing(field: str, message: str) -> Invalid:
    return Invalid("invalid_input", message, errors=[FieldError(field, "required", message)])


def _back(wanted: str) -> str:
    return safe_path(wanted) if wanted else SECURITY


def _done(what: str, section: str) -> Redirect:
    return Redirect(f"{SECURITY}?done={what}#{section}", status_code=303)


def row_id(text: str) -> int:
    """The id that a form names; one that nothing has where it names none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0


def _session_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise session_not_found() from None


async def _label(app: App, request: AnyRequest) -> str:
    """What authenticators call the account in their lists."""
    return (await app.accounts.me(actor_of(request))).email


HANDLERS: list[BaseRouteHandler] = [
    security,
    change_password,
    change_address,
    ask_to_verify,
    begin_totp,
    totp_page,
    confirm_totp,
    disable_totp,
    renew_recovery_codes,
    rename_passkey,
    remove_passkey,
    end_session,
    end_other_sessions,
    confirm_page,
    confirm,
]
