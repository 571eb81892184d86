"""What the pages' handlers work with: who is there, where they want to go, and what a form says."""

from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from litestar import Request
from litestar.exceptions import HTTPException
from litestar.response import Redirect

from visiona.sandbox.clerk.activity import activity_of
from visiona.sandbox.clerk.api.frontend import CLIENT_COOKIE, client_cookie
from visiona.sandbox.clerk.errors import ClerkError
from visiona.sandbox.clerk.pages.rendering import Page, see_other, show
from visiona.sandbox.clerk.redirects import DEV_BROWSER, is_allowed, with_parameters
from visiona.sandbox.clerk.service import Sandbox
from visiona.sandbox.clerk.store import Obj

AnyRequest = Request[Any, Any, Any]
Form = dict[str, str]

PREFILLS: Final = ("email_address", "first_name", "last_name")


@dataclass(frozen=True, slots=True)
class Way:
    """Where a visitor goes afterwards, and the name that the application knows the browser by."""

    redirect_url: str | None
    browser: str | None

    def to(self, path: str, **more: str) -> str:
        """A page of the portal from which the way still leads on."""
        known = {"redirect_url": self.redirect_url, DEV_BROWSER: self.browser, **more}
        query = urlencode({name: value for name, value in known.items() if value})
        return f"{path}?{query}" if query else path

    @property
    def fields(self) -> dict[str, str]:
        """The hidden fields of a form."""
        known = {"redirect_url": self.redirect_url, DEV_BROWSER: self.browser}
        return {name: value for name, value in known.items() if value}


@dataclass(frozen=True, slots=True)
class Visitor:
    """`session` and `user` are None for somebody who is not signed in."""

    client: Obj | None = None
    session: Obj | None = None
    user: Obj | None = None


@dataclass(frozen=True, slots=True)
class Typed:
    """What a form starts with, and what was wrong with it: a sentence for each field, `""` for none."""

    values: Form
    mistakes: dict[str, str] = field(default_factory=dict[str, str])

    def value(self, name: str) -> str:
        return self.values.get(name, "")


def way_of(sandbox: Sandbox, given: Form) -> Way:
    """A target that is not allowed is passed over."""
    target = given.get("redirect_url") or None
    if target is not None and not is_allowed(sandbox.config, target):
        target = None
    dev_browser = sandbox.sessions.dev_browser(given.get(DEV_BROWSER))
    return Way(target, None if dev_browser is None else dev_browser["id"])


def query_of(request: AnyRequest) -> Form:
    return {name: str(value) for name, value in request.query_params.items()}


async def form_of(request: AnyRequest) -> Form:
    """The fields of a form from one of these pages. Raises `ClerkError` 403 for one from elsewhere."""
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        raise ClerkError(403, "authorization_invalid", "This form was sent from another site.")
    form = await request.form()
    return {name: value for name, value in form.items() if isinstance(value, str)}


def visitor_of(request: AnyRequest, sandbox: Sandbox, way: Way) -> Visitor:
    """Who is there: by the browser that the application names, else by the portal's own cookie."""
    sessions = sandbox.sessions
    dev_browser = sessions.dev_browser(way.browser) or {}
    client = sandbox.store.find("client", dev_browser.get("client_id") or "")
    if client is None:
        client = sessions.read_client_token(request.cookies.get(CLIENT_COOKIE, ""))
    session = sessions.active(client)
    return Visitor(client, session, None if session is None else sandbox.people.get(session["user_id"]))


def client_for(request: AnyRequest, sandbox: Sandbox, way: Way) -> Obj:
    """The visitor's client, made where there is none, and tied to the browser that the application names."""
    client = visitor_of(request, sandbox, way).client or sandbox.sessions.new_client()
    dev_browser = sandbox.sessions.dev_browser(way.browser)
    if dev_browser is not None and dev_browser["client_id"] != client["id"]:
        sandbox.sessions.attach(dev_browser, client)
    return client


def activity(request: AnyRequest) -> Obj:
    return activity_of(_address(request), request.headers.get("user-agent", ""))


def caused_by(request: AnyRequest) -> tuple[str, str]:
    """What events tell of a request."""
    return _address(request), request.headers.get("user-agent", "")


def onwards(sandbox: Sandbox, client: Obj, way: Way) -> Redirect:
    """To where a visitor who is signed in wanted to go, else to the account's page."""
    client = sandbox.sessions.client(client["id"])
    cookie = client_cookie(sandbox.sessions.client_token(client))
    if way.redirect_url is None:
        return see_other("/user", cookie=cookie)
    browser = way.browser or sandbox.sessions.dev_browser_of(client)["id"]
    return see_other(with_parameters(way.redirect_url, **{DEV_BROWSER: browser}), cookie=cookie)


def step(sandbox: Sandbox, client: Obj, address: str) -> Redirect:
    """To another page, with the cookie by which it knows the visitor."""
    client = sandbox.sessions.client(client["id"])
    return see_other(address, cookie=client_cookie(sandbox.sessions.client_token(client)))


def mistakes_of(error: ClerkError, *fields: str) -> dict[str, str]:
    """A refusal, beside the field that it is about where the form has it."""
    name = {"identifier": "email_address"}.get(error.param or "", error.param or "")
    return {name if name in fields else "": error.long_message}


def answer_clerk_error(_: AnyRequest, error: ClerkError) -> Page:
    return refusal(error.status, title="This cannot be done", text=error.long_message)


def answer_http_error(_: AnyRequest, error: HTTPException) -> Page:
    """A request that no form of these pages sends."""
    text = "Go back, and try again from the page itself."
    return refusal(error.status_code, title="This request cannot be answered", text=text)


def refusal(status: int, *, title: str, text: str) -> Page:
    """The application marks only the answers that its handlers give."""
    page = show(
        "state.html.j2",
        status=status,
        application=None,
        title=title,
        text=text,
        testid="page-error",
        way_on=None,
    )
    page.headers["X-Visiona-Sandbox"] = "clerk"
    return page


def _address(request: AnyRequest) -> str:
    return request.client.host if request.client is not None else ""
