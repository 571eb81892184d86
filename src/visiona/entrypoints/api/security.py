"""Who is asking, and whether they may: one guard enforces the table of `access`.

A person shows a bearer token or the browser's session cookie, a program of theirs an API key.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import Cookie
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler

from visiona.accounts.model import Session, SignedIn
from visiona.audit import service as audit
from visiona.bootstrap import App
from visiona.core.client import ClientInfo
from visiona.core.errors import Conflict, Forbidden, NotFound, Unauthenticated
from visiona.core.origin import identified
from visiona.db.actor import UserActor
from visiona.entrypoints.api.access import Access, Identity, Role, access_of
from visiona.keys.model import KEY_MARK, KeyHolder, Scope
from visiona.ports.identity import HostedIdentity
from visiona.settings import LOOPBACK_HOSTS, Settings

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_LOOPBACK = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:[0-9]{1,5})?", re.IGNORECASE)
_CALLER_STATE = "visiona_caller"
_SESSION_COOKIE = "visiona_session"

TheApp = NamedDependency[App]
AnyConnection = ASGIConnection[Any, Any, Any, Any]

_STRIPE_PAGES = ("https://checkout.stripe.com", "https://billing.stripe.com", "https://invoice.stripe.com")

_HEADERS = {
    "Cache-Control": "no-store",  # of whatever does not say itself how long it may be kept
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), geolocation=(), microphone=(), payment=(self)",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
# Two years, as lists of such hosts ask for. Browsers pass over it where it is said over plain HTTP.
_HTTPS_ONLY = {"Strict-Transport-Security": "max-age=63072000; includeSubDomains"}


def app_of(connection: AnyConnection) -> App:
    return connection.app.state.visiona


def security_headers(form_targets: Sequence[str] = (), *, https: bool = False) -> dict[str, str]:
    """What every response carries; `form_targets` are the origins that a form of ours may lead on to."""
    targets = " ".join(("'self'", *form_targets))
    policy = (
        f"default-src 'self'; img-src 'self' blob: data:; script-src 'self'; object-src 'none'; "
        f"base-uri 'none'; frame-ancestors 'none'; form-action {targets}; "
        f"trusted-types 'none'; require-trusted-types-for 'script'"
    )
    return {"Content-Security-Policy": policy, **_HEADERS, **(_HTTPS_ONLY if https else {})}


def payment_origins(settings: Settings) -> tuple[str, ...]:
    """Where payments are made: Stripe's pages, and the sandbox's where it stands in for them."""
    if not settings.billing:
        return ()
    if not settings.payments_simulated:
        return _STRIPE_PAGES
    sandbox = urlsplit(settings.stripe_base_url)
    return (*_STRIPE_PAGES, f"{sandbox.scheme}://{sandbox.netloc}")


def sign_in_origins(hosted: HostedIdentity | None, origin: str) -> tuple[str, ...]:
    """The identity service's pages: a form of somebody whose session has ended leads there, and back."""
    if hosted is None:
        return ()
    pages = (hosted.sign_in_page(origin), hosted.handshake_page(origin, reason="", browser_token=None))
    return tuple(dict.fromkeys(f"{urlsplit(page).scheme}://{urlsplit(page).netloc}" for page in pages))


class LogInFirst(Exception):
    """A visitor asked for a page of their own; `path` is where to come back to."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who is asking: a person by their `session`, or a program of theirs by the key `key_id`, which
    opens its `scopes` only.
    """

    user_id: int
    subject: str
    session: Session | None
    key_id: int | None = None
    scopes: frozenset[Scope] = frozenset()
    role: Role | None = None
    fresh: bool = False
    suspended: bool = False


async def guard(connection: AnyConnection, handler: BaseRouteHandler) -> None:
    """Raises `Unauthenticated`, `Forbidden`, `NotFound`, `TooMany` or `LogInFirst` before a handler runs."""
    method = connection.scope.get("method", "GET")
    if method == "OPTIONS":
        return
    access = _row(connection, handler, method)
    if access.identity is Identity.PUBLIC:
        refuse_foreign_page(connection)
    if access.identity in {Identity.PUBLIC, Identity.SIGNED}:
        await _count(connection, access, None)
        return
    try:
        caller = await authenticate(connection)
    except Unauthenticated as error:
        if access.identity is Identity.PAGE:
            raise LogInFirst(connection.scope["path"]) from error
        if access.identity is not Identity.VISITOR:
            raise
        await _count(connection, access, None)
    else:
        if access.identity is Identity.VISITOR and caller.session is None:
            await _count(connection, access, None)
            return  # pages know people, and nothing of their programs
        check_access(caller, access)
        if method not in _SAFE_METHODS and access.identity is not Identity.VISITOR and not access.leaving:
            await app_of(connection).privacy.refuse_if_leaving(caller.user_id)
        await _count(connection, access, caller.user_id)
        connection.state[_CALLER_STATE] = caller
        await _put_on_record(connection, caller)


async def _count(connection: AnyConnection, access: Access, user_id: int | None) -> None:
    """Raises `TooMany` (`rate_limited`) for what is done too often. Nothing of the body was read by then."""
    if access.limited is not None:
        await app_of(connection).safety.limits.count(access.limited, client_of(connection), user_id)


async def _put_on_record(connection: AnyConnection, caller: Caller) -> None:
    """What follows is this caller's doing, and where it is done from may be read by them. Nothing is done by
    reading, except by an administrator: their looks are on record.
    """
    via, via_id = ("person", None) if caller.key_id is None else ("key", str(caller.key_id))
    if connection.scope.get("method", "GET") in _SAFE_METHODS and caller.role != "admin":
        identified(caller.user_id, via, via_id)
        return
    cipher = (await app_of(connection).vault.ciphers([caller.user_id])).get(caller.user_id)
    if cipher is None:
        identified(caller.user_id, via, via_id)
    else:
        audit.identified(cipher, via, via_id)


def _row(connection: AnyConnection, handler: BaseRouteHandler, method: str) -> Access:
    """The route's row. Raises `Forbidden` where there is none, `Conflict` for what this Visiona has not."""
    access = access_of(handler, method)
    if access is None:
        raise Forbidden("undeclared_route", "This address is closed.")
    if access.builtin and app_of(connection).settings.hosted_identity:
        raise Conflict("managed_elsewhere", "Your sign-in service keeps this: change it on its account page.")
    return access


async def authenticate(connection: AnyConnection) -> Caller:
    """Raises `Unauthenticated`, or `Forbidden` for what a cookie alone does not prove."""
    app = app_of(connection)
    header = connection.headers.get("authorization")
    if header is not None:
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated("invalid_token", "Send the token as: Authorization: Bearer <token>.")
        token = token.strip()
        if token.startswith(KEY_MARK):
            return _caller_by_key(await app.keys.authenticate(token))
        return _caller_by_session(await app.accounts.authenticate_bearer(token), app.clock.now())
    secret = connection.cookies.get(cookie_name(app))
    if secret is not None:
        check_origin(connection)
        return _caller_by_session(await app.accounts.authenticate_cookie(secret), app.clock.now())
    token = _hosted_token(connection, app)
    if token is not None:
        check_origin(connection)
        return _caller_by_session(await app.accounts.authenticate_hosted(token), app.clock.now())
    raise Unauthenticated("not_authenticated", "Log in first.")


def _hosted_token(connection: AnyConnection, app: App) -> str | None:
    """The session token that the identity service's script keeps in a cookie."""
    names = () if app.accounts.hosted is None else app.accounts.hosted.session_cookies
    return next((connection.cookies[name] for name in names if name in connection.cookies), None)


def check_access(caller: Caller, access: Access) -> None:
    """Raises `Forbidden` for what this caller may not do, though it is known who they are, and `NotFound`
    for what is an administrator's: to others it is no address at all.
    """
    if access.role is not None and caller.role != access.role:
        raise NotFound("not_found", "There is nothing at this address.")
    if caller.suspended and not access.suspended:
        raise Forbidden(
            "account_suspended", "This account is suspended. Write to support to have it looked at."
        )
    if caller.session is None and access.scope is None:
        raise Forbidden("session_required", "An API key does not open this address. Log in for it.")
    if caller.session is None and access.scope not in caller.scopes:
        raise Forbidden("insufficient_scope", f"This API key lacks the scope {access.scope}.")
    if access.fresh and not caller.fresh:
        raise Forbidden("confirmation_required", "Confirm first that it is you.")


def _caller_by_session(session: Session, now: datetime) -> Caller:
    return Caller(
        user_id=session.user_id,
        subject=session.subject,
        session=session,
        role="admin" if session.role == "admin" else None,
        fresh=session.is_fresh(now),
    )


def _caller_by_key(holder: KeyHolder) -> Caller:
    return Caller(
        user_id=holder.user_id,
        subject=holder.subject,
        session=None,
        key_id=holder.key_id,
        scopes=holder.scopes,
        suspended=holder.suspended,
    )


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
        return origin in {app_of(connection).settings.origin, host_origin(connection)}
    return connection.headers.get("sec-fetch-site") == "same-origin"


def _origin_mismatch() -> Forbidden:
    return Forbidden("origin_mismatch", "This request did not come from Visiona's own pages.")


def host_origin(connection: AnyConnection) -> str | None:
    """The origin that the browser itself named in `Host`. Only trusted over plain loopback, where
    127.0.0.1 and localhost are the same machine; elsewhere the configured origin is the only one.
    """
    host = connection.headers.get("host", "")
    configured = urlsplit(app_of(connection).settings.origin).hostname in LOOPBACK_HOSTS
    return f"http://{host}" if configured and _LOOPBACK.fullmatch(host) else None


def caller_of(request: Request[Any, Any, Any]) -> Caller:
    return request.state[_CALLER_STATE]


def session_of(request: Request[Any, Any, Any]) -> Session:
    """Of routes that only a session opens: `PERSON` and `PAGE`."""
    session = caller_of(request).session
    if session is None:
        raise LookupError("this route is open to API keys, which have no session")
    return session


def visitor_of(request: Request[Any, Any, Any]) -> Session | None:
    caller: Caller | None = request.state.get(_CALLER_STATE)
    return None if caller is None else caller.session


def actor_for(session: Session) -> UserActor:
    return UserActor(session.user_id, session.subject)


def actor_of(request: Request[Any, Any, Any]) -> UserActor:
    caller = caller_of(request)
    return UserActor(caller.user_id, caller.subject)


def client_of(connection: AnyConnection) -> ClientInfo:
    client = connection.client
    return ClientInfo(
        address=client.host if client else "", user_agent=connection.headers.get("user-agent", "")
    )


def cookie_name(app: App, name: str = _SESSION_COOKIE) -> str:
    """With the prefix by which browsers keep other hosts and plain HTTP from setting it, where they can."""
    return f"__Host-{name}" if app.settings.secure_cookies else name


def session_cookie(app: App, signed_in: SignedIn) -> Cookie:
    lives_s = int((signed_in.expires_at - app.clock.now()).total_seconds())
    return private_cookie(app, _SESSION_COOKIE, signed_in.secret, lives_s)


def no_session_cookie(app: App) -> Cookie:
    return private_cookie(app, _SESSION_COOKIE, "", 0)


def private_cookie(app: App, name: str, value: str, max_age: int) -> Cookie:
    """One for this host and no script; `max_age` in seconds, 0 takes it away."""
    return Cookie(
        key=cookie_name(app, name),
        value=value,
        path="/",
        max_age=max_age,
        httponly=True,
        secure=app.settings.secure_cookies,
        samesite="lax",
    )
