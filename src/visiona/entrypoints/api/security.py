"""Who is asking: every route declares its authentication in `opt`, and one guard enforces it.

`auth=USER` takes a bearer token or the browser's session cookie; `auth=PUBLIC` takes anybody;
`auth=SIGNED` means that the handler checks a signature of its own (links, webhooks). A route that
declares nothing is refused. Pages add two: `auth=PAGE` sends visitors to the log-in page, and
`auth=VISITOR` takes anybody, but knows who is signed in.
"""

import re
from collections.abc import Sequence
from typing import Any, Literal
from urllib.parse import urlsplit

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import Cookie
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler

from visiona.accounts.model import ClientInfo, Session, SignedIn
from visiona.bootstrap import App
from visiona.core.errors import Forbidden, Unauthenticated
from visiona.db.actor import UserActor
from visiona.settings import LOOPBACK_HOSTS, Settings

Auth = Literal["user", "public", "signed", "page", "visitor"]
USER: Auth = "user"
PUBLIC: Auth = "public"
SIGNED: Auth = "signed"
PAGE: Auth = "page"
VISITOR: Auth = "visitor"

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_LOOPBACK = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:[0-9]{1,5})?", re.IGNORECASE)
_SESSION_STATE = "visiona_session"

TheApp = NamedDependency[App]
AnyConnection = ASGIConnection[Any, Any, Any, Any]

_STRIPE_PAGES = ("https://checkout.stripe.com", "https://billing.stripe.com", "https://invoice.stripe.com")

_HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), geolocation=(), microphone=(), payment=(self)",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def app_of(connection: AnyConnection) -> App:
    return connection.app.state.visiona


def security_headers(image_origin: str | None, form_targets: Sequence[str] = ()) -> dict[str, str]:
    """What every response carries. `image_origin` is the object store's, where links lead to it;
    `form_targets` are the origins that a form of ours may lead on to.
    """
    images = " ".join(filter(None, ("'self'", image_origin, "blob:", "data:")))
    targets = " ".join(("'self'", *form_targets))
    policy = (
        f"default-src 'self'; img-src {images}; object-src 'none'; base-uri 'none'; "
        f"frame-ancestors 'none'; form-action {targets}"
    )
    return {"Content-Security-Policy": policy, **_HEADERS}


def payment_origins(settings: Settings) -> tuple[str, ...]:
    """Where payments are made: Stripe's pages, and the sandbox's where it stands in for them."""
    if not settings.billing:
        return ()
    if not settings.payments_simulated:
        return _STRIPE_PAGES
    sandbox = urlsplit(settings.stripe_base_url)
    return (*_STRIPE_PAGES, f"{sandbox.scheme}://{sandbox.netloc}")


class LogInFirst(Exception):
    """A visitor asked for a page of their own; `path` is where to come back to."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path


async def guard(connection: AnyConnection, handler: BaseRouteHandler) -> None:
    """Raises `Unauthenticated`, `Forbidden` or `LogInFirst` before the handler runs."""
    auth: Auth | None = handler.opt.get("auth")
    if auth is None and connection.scope.get("method") != "OPTIONS":
        raise Forbidden("undeclared_route", "This address is closed.")
    if auth == PUBLIC:
        refuse_foreign_page(connection)
    if auth in {None, PUBLIC, SIGNED}:
        return
    try:
        connection.state[_SESSION_STATE] = await authenticate(connection)
    except Unauthenticated as error:
        if auth == PAGE:
            raise LogInFirst(connection.scope["path"]) from error
        if auth == USER:
            raise


async def authenticate(connection: AnyConnection) -> Session:
    app = app_of(connection)
    header = connection.headers.get("authorization")
    if header is not None:
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated("invalid_token", "Send the token as: Authorization: Bearer <token>.")
        return await app.accounts.authenticate_bearer(token.strip())
    secret = connection.cookies.get(cookie_name(app))
    if secret is None:
        raise Unauthenticated("not_authenticated", "Log in first.")
    check_origin(connection)
    return await app.accounts.authenticate_cookie(secret)


def check_origin(connection: AnyConnection) -> None:
    """A cookie rides along with any site's request: state changes must come from our own pages."""
    method = connection.scope.get("method", "GET")
    if method in _SAFE_METHODS:
        return
    if not _comes_from_own_page(connection):
        raise _origin_mismatch()


def refuse_foreign_page(connection: AnyConnection) -> None:
    """Another site's page must not sign a browser in either, least of all as somebody else: what
    its owner uploads next would be that somebody's. Programs name no origin and pass.
    """
    if connection.scope.get("method", "GET") in _SAFE_METHODS:
        return
    named = {"origin", "sec-fetch-site"} & set(connection.headers.keys())
    if named and not _comes_from_own_page(connection):
        raise _origin_mismatch()


def _comes_from_own_page(connection: AnyConnection) -> bool:
    origin = connection.headers.get("origin")
    if origin is not None:
        return origin in {app_of(connection).settings.origin, _host_origin(connection)}
    return connection.headers.get("sec-fetch-site") == "same-origin"


def _origin_mismatch() -> Forbidden:
    return Forbidden("origin_mismatch", "This request did not come from Visiona's own pages.")


def _host_origin(connection: AnyConnection) -> str | None:
    """The origin that the browser itself named in `Host`. Only trusted over plain loopback, where
    127.0.0.1 and localhost are the same machine; elsewhere the configured origin is the only one.
    """
    host = connection.headers.get("host", "")
    configured = urlsplit(app_of(connection).settings.origin).hostname in LOOPBACK_HOSTS
    return f"http://{host}" if configured and _LOOPBACK.fullmatch(host) else None


def session_of(request: Request[Any, Any, Any]) -> Session:
    return request.state[_SESSION_STATE]


def visitor_of(request: Request[Any, Any, Any]) -> Session | None:
    return request.state.get(_SESSION_STATE)


def actor_for(session: Session) -> UserActor:
    return UserActor(session.user_id, session.subject)


def actor_of(request: Request[Any, Any, Any]) -> UserActor:
    return actor_for(session_of(request))


def client_of(connection: AnyConnection) -> ClientInfo:
    client = connection.client
    return ClientInfo(
        address=client.host if client else "", user_agent=connection.headers.get("user-agent", "")
    )


def cookie_name(app: App) -> str:
    return "__Host-visiona_session" if app.settings.secure_cookies else "visiona_session"


def session_cookie(app: App, signed_in: SignedIn) -> Cookie:
    return _cookie(app, signed_in.secret, int((signed_in.expires_at - app.clock.now()).total_seconds()))


def no_session_cookie(app: App) -> Cookie:
    return _cookie(app, "", 0)


def _cookie(app: App, value: str, max_age: int) -> Cookie:
    return Cookie(
        key=cookie_name(app),
        value=value,
        path="/",
        max_age=max_age,
        httponly=True,
        secure=app.settings.secure_cookies,
        samesite="lax",
    )
