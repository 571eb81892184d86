"""The pages to sign in: e-mail address and password, and the second factor of those who have one."""

from litestar import get, post
from litestar.response import Redirect

from visiona.sandbox.clerk.errors import ClerkError
from visiona.sandbox.clerk.pages.rendering import Page, see_other, show
from visiona.sandbox.clerk.pages.wiring import (
    AnyRequest,
    Typed,
    Way,
    activity,
    caused_by,
    client_for,
    form_of,
    mistakes_of,
    onwards,
    query_of,
    step,
    visitor_of,
    way_of,
)
from visiona.sandbox.clerk.service import Sandbox, TheSandbox
from visiona.sandbox.clerk.store import Obj


@get("/sign-in", sync_to_thread=False)
def show_sign_in(sandbox: TheSandbox, request: AnyRequest) -> Page | Redirect:
    """Who is signed in already goes on at once."""
    given = query_of(request)
    way = way_of(sandbox, given)
    visitor = visitor_of(request, sandbox, way)
    if visitor.session is not None and visitor.client is not None:
        return onwards(sandbox, visitor.client, way)
    return _sign_in_page(sandbox, way, Typed({"email_address": given.get("email_address", "")}))


@post("/sign-in", status_code=303)
async def sign_in(sandbox: TheSandbox, request: AnyRequest) -> Page | Redirect:
    form = await form_of(request)
    way = way_of(sandbox, form)
    visitor = visitor_of(request, sandbox, way)
    if visitor.session is not None and visitor.client is not None:  # the form was sent twice
        return onwards(sandbox, visitor.client, way)
    try:
        with sandbox.acting(*caused_by(request)):
            client = client_for(request, sandbox, way)
            attempt = sandbox.sign_ins.start(client, form.get("email_address", "").strip())
            attempt = sandbox.sign_ins.check_password(attempt, form.get("password", ""), activity(request))
    except ClerkError as error:
        typed = Typed(form, mistakes_of(error, "email_address", "password"))
        return _sign_in_page(sandbox, way, typed, status=error.status)
    if attempt["status"] == "complete":
        return onwards(sandbox, client, way)
    return step(sandbox, client, way.to("/sign-in/factor-two"))


@get("/sign-in/factor-two", sync_to_thread=False)
def show_second_factor(sandbox: TheSandbox, request: AnyRequest) -> Page | Redirect:
    way = way_of(sandbox, query_of(request))
    if _waiting(sandbox, visitor_of(request, sandbox, way).client) is None:
        return see_other(way.to("/sign-in"))
    return _factor_page(sandbox, way, Typed({}))


@post("/sign-in/factor-two", status_code=303)
async def check_second_factor(sandbox: TheSandbox, request: AnyRequest) -> Page | Redirect:
    form = await form_of(request)
    way = way_of(sandbox, form)
    client = visitor_of(request, sandbox, way).client
    attempt = _waiting(sandbox, client)
    if attempt is None or client is None:
        return see_other(way.to("/sign-in"))
    try:
        with sandbox.acting(*caused_by(request)):
            sandbox.sign_ins.check_code(attempt, form.get("code", "").strip(), activity(request))
    except ClerkError as error:
        return _factor_page(sandbox, way, Typed({}, mistakes_of(error, "code")), status=error.status)
    return onwards(sandbox, client, way)


def _waiting(sandbox: Sandbox, client: Obj | None) -> Obj | None:
    """The attempt on a client that waits for a second factor."""
    if client is None or client["sign_in_id"] is None:
        return None
    attempt = sandbox.store.find("sign_in_attempt", client["sign_in_id"])
    return attempt if attempt is not None and attempt["status"] == "needs_second_factor" else None


def _sign_in_page(sandbox: Sandbox, way: Way, typed: Typed, *, status: int = 200) -> Page:
    application = sandbox.config.application
    return show(
        "sign_in.html.j2",
        status=status,
        leads_to=way.redirect_url,
        application=application,
        way=way,
        typed=typed,
    )


def _factor_page(sandbox: Sandbox, way: Way, typed: Typed, *, status: int = 200) -> Page:
    application = sandbox.config.application
    return show(
        "factor_two.html.j2",
        status=status,
        leads_to=way.redirect_url,
        application=application,
        way=way,
        typed=typed,
    )
