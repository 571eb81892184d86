"""The account's page: addresses, password, second factor, sessions, and the end of it all."""

from collections.abc import Callable
from typing import Final

from litestar import get, post
from litestar.params import FromPath
from litestar.response import Redirect

from visiona.sandbox.clerk.authenticator import accepts, enrolment, new_secret
from visiona.sandbox.clerk.errors import ClerkError, refused
from visiona.sandbox.clerk.pages.rendering import Page, see_other, show
from visiona.sandbox.clerk.pages.wiring import (
    AnyRequest,
    Form,
    Typed,
    Visitor,
    Way,
    caused_by,
    client_cookie,
    form_of,
    query_of,
    visitor_of,
    way_of,
)
from visiona.sandbox.clerk.people import is_verified
from visiona.sandbox.clerk.service import Sandbox, TheSandbox
from visiona.sandbox.clerk.sessions import is_alive
from visiona.sandbox.clerk.sign_in import wrong_code
from visiona.sandbox.clerk.store import Obj

_SETUP: Final = "_totp_setup"
_DELETE_WORDS: Final = "Delete account"
_DONE: Final = {
    "email-added": "Enter the code to verify the new address.",
    "email-verified": "The address is verified.",
    "email-primary": "Your primary address has been changed.",
    "email-removed": "The address has been removed.",
    "password": "Your password has been changed.",
    "totp-started": "Add the key to your authenticator app, then enter its code.",
    "totp-enabled": "Two-step verification is on.",
    "totp-disabled": "Two-step verification is off.",
    "session": "That device has been signed out.",
}

Work = Callable[[Visitor, Obj, Form], str]
"""What a form does for a visitor who is signed in; it names what happened, a key of `_DONE`."""


@get("/user", sync_to_thread=False)
def show_account(sandbox: TheSandbox, request: AnyRequest) -> Page | Redirect:
    given = query_of(request)
    way = way_of(sandbox, given)
    visitor = visitor_of(request, sandbox, way)
    if visitor.user is None:
        return see_other(way.to("/sign-in"))
    return _account_page(sandbox, visitor, way, Typed({}), done=_DONE.get(given.get("done", "")))


@post("/user/email", status_code=303)
async def add_email(sandbox: TheSandbox, request: AnyRequest) -> Page | Redirect:
    def work(_: Visitor, user: Obj, form: Form) -> str:
        address = form.get("email_address", "")
        email = sandbox.people.add_email(user, address, "unverified", strategy="email_code")
        sandbox.people.keep_email(email | sandbox.sign_ins.new_code(email["email_address"]))
        return "email-added"

    return await _perform(sandbox, request, "email_address", work)


@post("/user/email/{email_id:str}/verify", status_code=303)
async def verify_email(sandbox: TheSandbox, request: AnyRequest, email_id: FromPath[str]) -> Page | Redirect:
    def work(_: Visitor, user: Obj, form: Form) -> str:
        email = _own_email(sandbox, user, email_id)
        if "_code" not in email:
            email |= sandbox.sign_ins.new_code(email["email_address"])
        sandbox.sign_ins.check_address_code("email_address", email, form.get("code", "").strip())
        sandbox.people.claim_email(email, "email_code")
        return "email-verified"

    return await _perform(sandbox, request, "email_code", work)


@post("/user/email/{email_id:str}/primary", status_code=303)
async def make_primary(sandbox: TheSandbox, request: AnyRequest, email_id: FromPath[str]) -> Page | Redirect:
    def work(_: Visitor, user: Obj, __: Form) -> str:
        sandbox.people.make_primary(user, _own_email(sandbox, user, email_id))
        sandbox.people.save(user)
        return "email-primary"

    return await _perform(sandbox, request, "email_address", work)


@post("/user/email/{email_id:str}/remove", status_code=303)
async def remove_email(sandbox: TheSandbox, request: AnyRequest, email_id: FromPath[str]) -> Page | Redirect:
    def work(_: Visitor, user: Obj, __: Form) -> str:
        sandbox.people.delete_email(_own_email(sandbox, user, email_id))
        return "email-removed"

    return await _perform(sandbox, request, "email_address", work)


@post("/user/password", status_code=303)
async def change_password(sandbox: TheSandbox, request: AnyRequest) -> Page | Redirect:
    def work(visitor: Visitor, user: Obj, form: Form) -> str:
        _check_password(sandbox, user, form, "current_password")
        sandbox.people.set_password(user, form.get("new_password", ""), param="new_password")
        sandbox.people.save(user)
        if form.get("sign_out_others") == "yes" and visitor.session is not None:
            sandbox.sessions.end_all(user["id"], "revoked", but=visitor.session["id"])
        return "password"

    return await _perform(sandbox, request, "current_password", work)


@post("/user/totp", status_code=303)
async def start_totp(sandbox: TheSandbox, request: AnyRequest) -> Page | Redirect:
    def work(_: Visitor, user: Obj, __: Form) -> str:
        sandbox.store.put(_SETUP, {"id": user["id"], "secret": new_secret()})
        return "totp-started"

    return await _perform(sandbox, request, "totp_code", work)


@post("/user/totp/confirm", status_code=303)
async def confirm_totp(sandbox: TheSandbox, request: AnyRequest) -> Page | Redirect:
    def work(_: Visitor, user: Obj, form: Form) -> str:
        setup = sandbox.store.find(_SETUP, user["id"])
        if setup is None or not accepts(setup["secret"], form.get("code", "")):
            raise wrong_code()
        sandbox.people.set_totp(user, setup["secret"])
        sandbox.people.save(user)
        sandbox.store.delete(_SETUP, user["id"])
        return "totp-enabled"

    return await _perform(sandbox, request, "totp_code", work)


@post("/user/totp/disable", status_code=303)
async def disable_totp(sandbox: TheSandbox, request: AnyRequest) -> Page | Redirect:
    def work(_: Visitor, user: Obj, form: Form) -> str:
        _check_password(sandbox, user, form, "totp_password")
        sandbox.people.set_totp(user, None)
        sandbox.people.save(user)
        return "totp-disabled"

    return await _perform(sandbox, request, "totp_password", work)


@post("/user/sessions/{session_id:str}/end", status_code=303)
async def end_session(sandbox: TheSandbox, request: AnyRequest, session_id: FromPath[str]) -> Page | Redirect:
    def work(_: Visitor, user: Obj, __: Form) -> str:
        session = sandbox.sessions.get(session_id)
        if session["user_id"] == user["id"]:
            sandbox.sessions.end(session, "revoked")
        return "session"

    return await _perform(sandbox, request, "session", work)


@post("/user/delete", status_code=303)
async def delete_account(sandbox: TheSandbox, request: AnyRequest) -> Page | Redirect:
    form = await form_of(request)
    way = way_of(sandbox, form)
    visitor = visitor_of(request, sandbox, way)
    if visitor.user is None:
        return see_other(way.to("/sign-in"))
    if form.get("confirmation", "").strip() != _DELETE_WORDS:
        mistakes = {"confirmation": f"Type {_DELETE_WORDS} to go on."}
        return _account_page(sandbox, visitor, way, Typed({}, mistakes), status=422)
    with sandbox.acting(*caused_by(request)):
        sandbox.people.delete(visitor.user)
    page = show(
        "state.html.j2",
        application=sandbox.config.application,
        title="Your account has been deleted",
        text="Nothing of it is left here.",
        testid="account-deleted",
        way_on=way.redirect_url,
    )
    page.headers["Set-Cookie"] = client_cookie("")
    return page


@get("/sign-out", sync_to_thread=False)
def show_sign_out(sandbox: TheSandbox, request: AnyRequest) -> Page:
    """Asks: an address alone must not sign anybody out."""
    way = way_of(sandbox, query_of(request))
    return show(
        "sign_out.html.j2", leads_to=way.redirect_url, application=sandbox.config.application, way=way
    )


@post("/sign-out", status_code=303)
async def sign_out(sandbox: TheSandbox, request: AnyRequest) -> Redirect:
    way = way_of(sandbox, await form_of(request))
    visitor = visitor_of(request, sandbox, way)
    if visitor.session is not None:
        with sandbox.acting(*caused_by(request)):
            sandbox.sessions.end(visitor.session, "ended")
    return see_other(way.redirect_url or "/sign-in")


async def _perform(sandbox: Sandbox, request: AnyRequest, about: str, work: Work) -> Page | Redirect:
    """Do what a form asks; a refusal stands beside the field that it is `about`."""
    form = await form_of(request)
    way = way_of(sandbox, form)
    visitor = visitor_of(request, sandbox, way)
    if visitor.user is None:
        return see_other(way.to("/sign-in"))
    try:
        with sandbox.acting(*caused_by(request)):
            done = work(visitor, visitor.user, form)
    except ClerkError as error:
        field = "new_password" if error.param == "new_password" else about
        typed = Typed(form, {field: error.long_message})
        fresh = visitor_of(request, sandbox, way)
        return _account_page(sandbox, fresh, way, typed, status=error.status)
    return see_other(way.to("/user", done=done))


def _own_email(sandbox: Sandbox, user: Obj, email_id: str) -> Obj:
    email = sandbox.people.email(email_id)
    if email["user_id"] != user["id"]:
        raise ClerkError(404, "resource_not_found", "This address is not yours.")
    return email


def _check_password(sandbox: Sandbox, user: Obj, form: Form, param: str) -> None:
    if user["_password"] is not None and not sandbox.people.has_password(user, form.get(param, "")):
        text = "Password is incorrect. Try again."
        raise refused("form_password_incorrect", text, text, param=param)


def _account_page(
    sandbox: Sandbox, visitor: Visitor, way: Way, typed: Typed, *, done: str | None = None, status: int = 200
) -> Page:
    user = visitor.user or {}
    setup = sandbox.store.find(_SETUP, user["id"])
    primary = sandbox.people.primary_address(user)
    return show(
        "account.html.j2",
        status=status,
        leads_to=way.redirect_url,
        application=sandbox.config.application,
        way=way,
        typed=typed,
        done=done,
        user=user,
        primary=primary,
        emails=[
            {
                **email,
                "verified": is_verified(email) or email["reserved"],
                "primary": email["id"] == user["primary_email_address_id"],
            }
            for email in sandbox.people.emails(user["id"])
        ],
        sessions=[one for one in sandbox.sessions.of_user(user["id"])[::-1] if is_alive(one)],
        current=visitor.session,
        setup=setup and enrolment(setup["secret"], primary or "", sandbox.config.application),
        delete_words=_DELETE_WORDS,
    )
