"""The pages to sign up: the account's data, then the code that would have come by mail."""

from litestar import get, post
from litestar.response import Redirect

from visiona.sandbox.clerk.errors import ClerkError, refused
from visiona.sandbox.clerk.pages.rendering import Page, see_other, show
from visiona.sandbox.clerk.pages.wiring import (
    PREFILLS,
    AnyRequest,
    Form,
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
from visiona.sandbox.clerk.sign_in import is_test_address
from visiona.sandbox.clerk.store import Obj


@get("/sign-up", sync_to_thread=False)
def show_sign_up(sandbox: TheSandbox, request: AnyRequest) -> Page | Redirect:
    given = query_of(request)
    way = way_of(sandbox, given)
    visitor = visitor_of(request, sandbox, way)
    if visitor.session is not None and visitor.client is not None:
        return onwards(sandbox, visitor.client, way)
    return _form_page(sandbox, way, Typed({name: given.get(name, "") for name in PREFILLS}))


@post("/sign-up", status_code=303)
async def sign_up(sandbox: TheSandbox, request: AnyRequest) -> Page | Redirect:
    form = await form_of(request)
    way = way_of(sandbox, form)
    visitor = visitor_of(request, sandbox, way)
    if visitor.session is not None and visitor.client is not None:
        return onwards(sandbox, visitor.client, way)
    try:
        with sandbox.acting(*caused_by(request)):
            client = client_for(request, sandbox, way)
            sandbox.sign_ins.start_sign_up(client, _fields(form))
    except ClerkError as error:
        names = ("email_address", "password", "legal_accepted")
        return _form_page(sandbox, way, Typed(form, mistakes_of(error, *names)), status=error.status)
    return step(sandbox, client, way.to("/sign-up/verify"))


@get("/sign-up/verify", sync_to_thread=False)
def show_code(sandbox: TheSandbox, request: AnyRequest) -> Page | Redirect:
    way = way_of(sandbox, query_of(request))
    attempt = sandbox.sign_ins.sign_up_of(visitor_of(request, sandbox, way).client)
    if attempt is None:
        return see_other(way.to("/sign-up"))
    return _code_page(sandbox, way, attempt, Typed({}))


@post("/sign-up/verify", status_code=303)
async def check_code(sandbox: TheSandbox, request: AnyRequest) -> Page | Redirect:
    form = await form_of(request)
    way = way_of(sandbox, form)
    client = visitor_of(request, sandbox, way).client
    attempt = sandbox.sign_ins.sign_up_of(client)
    if attempt is None or client is None:
        return see_other(way.to("/sign-up"))
    try:
        with sandbox.acting(*caused_by(request)):
            sandbox.sign_ins.finish_sign_up(attempt, client, form.get("code", "").strip(), activity(request))
    except ClerkError as error:
        return _code_page(sandbox, way, attempt, Typed({}, mistakes_of(error, "code")), status=error.status)
    return onwards(sandbox, client, way)


@post("/sign-up/resend", status_code=303)
async def resend_code(sandbox: TheSandbox, request: AnyRequest) -> Redirect:
    way = way_of(sandbox, await form_of(request))
    attempt = sandbox.sign_ins.sign_up_of(visitor_of(request, sandbox, way).client)
    if attempt is not None:
        with sandbox.acting(*caused_by(request)):
            sandbox.sign_ins.resend_code(attempt)
    return see_other(way.to("/sign-up/verify"))


def _fields(form: Form) -> Obj:
    if form.get("legal_accepted") != "yes":
        text = "You need to accept the terms to make an account."
        raise refused("form_param_missing", "is missing", text, param="legal_accepted")
    return {name: form.get(name, "").strip() for name in (*PREFILLS, "redirect_url")} | {
        "password": form.get("password", "")
    }


def _form_page(sandbox: Sandbox, way: Way, typed: Typed, *, status: int = 200) -> Page:
    application = sandbox.config.application
    return show("sign_up.html.j2", status=status, application=application, way=way, typed=typed)


def _code_page(sandbox: Sandbox, way: Way, attempt: Obj, typed: Typed, *, status: int = 200) -> Page:
    return show(
        "verify.html.j2",
        status=status,
        leads_to=way.redirect_url,
        application=sandbox.config.application,
        way=way,
        typed=typed,
        address=attempt["email_address"],
        code=attempt["_code"],
        is_test=is_test_address(attempt["email_address"]),
    )
