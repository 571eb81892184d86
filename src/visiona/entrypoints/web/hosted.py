"""Signing in on the identity service's pages, and back.

The way there carries a state that only this browser has: a link somebody else made up cannot sign a
browser in, least of all as somebody else. Back here, the service's handshake brings a session token,
which is exchanged for a session of ours; none of its own cookies is kept.
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import msgspec
from litestar import Request, get
from litestar.datastructures import Cookie
from litestar.params import FromQuery
from litestar.response import Redirect

from visiona.bootstrap import App
from visiona.core.errors import Unauthenticated, Unavailable
from visiona.core.ids import secret_token
from visiona.entrypoints.api.security import (
    TheApp,
    client_of,
    cookie_name,
    host_origin,
    private_cookie,
    session_cookie,
)
from visiona.entrypoints.web.responses import PAGE_ERRORS, safe_path
from visiona.ports.errors import ProviderError
from visiona.ports.identity import HostedIdentity, InvalidToken

STATE_TTL_S = 900
MAX_HANDSHAKES = 2
_COOKIE = "visiona_sign_in"
CALLBACK_PATH = "/api/auth/callback"

AnyRequest = Request[Any, Any, Any]


class _State(msgspec.Struct, array_like=True):
    """What this browser is on its way for: kept in its cookie. `handshakes` counts those it was sent to."""

    secret: str
    path: str
    handshakes: int = 0


@get("/api/auth/login", status_code=303)
async def go_to_log_in(
    app: TheApp,
    request: AnyRequest,
    next: FromQuery[str] = "",  # noqa: A002 - the query's name
) -> Redirect:
    """To where a browser logs in, and back to the page `next` afterwards."""
    if app.accounts.hosted is None:
        return _own_page("/login", next)
    return _leave(app, request, next, lambda hosted, back: hosted.sign_in_page(back))


@get("/api/auth/signup", status_code=303)
async def go_to_sign_up(
    app: TheApp,
    request: AnyRequest,
    next: FromQuery[str] = "",  # noqa: A002 - the query's name
) -> Redirect:
    """To where a browser signs up, and back to the page `next` afterwards."""
    if app.accounts.hosted is None:
        return _own_page("/signup", next)
    return _leave(app, request, next, lambda hosted, back: hosted.sign_up_page(back))


@get(CALLBACK_PATH, status_code=303, include_in_schema=False, exception_handlers=PAGE_ERRORS)
async def come_back(app: TheApp, request: AnyRequest) -> Redirect:
    """From the service's pages, and from its handshake.

    Raises `Unauthenticated` (`sign_in_interrupted`), `Forbidden`, `Conflict` or `Unavailable`.
    """
    hosted, state = app.accounts.hosted, _state_of(app, request)
    given = request.query_params.get("state", "")
    if hosted is None or state is None or not hmac.compare_digest(given.encode(), state.secret.encode()):
        raise _interrupted()
    token = await _session_token(app, hosted, request)
    if token is None:
        return _to_handshake(app, hosted, request, state)
    signed_in = await app.accounts.log_in_hosted(token, client_of(request))
    cookies = [session_cookie(app, signed_in), _state_cookie(app, "", 0)]
    return Redirect(safe_path(state.path), status_code=303, cookies=cookies)


async def _session_token(app: App, hosted: HostedIdentity, request: AnyRequest) -> str | None:
    """What the handshake brought; None before there was one, and for who is not signed in there.

    A token in a cookie is not believed here: on some domains other sites can set one.
    """
    token = request.query_params.get("__clerk_handshake") or request.cookies.get("__clerk_handshake")
    nonce = request.query_params.get("__clerk_handshake_nonce")
    nonce = nonce or request.cookies.get("__clerk_handshake_nonce")
    if not token and not nonce:
        return None
    try:
        lines = await hosted.read_handshake(token=token, nonce=nonce, now=app.clock.now())
    except InvalidToken:
        return None
    except ProviderError as error:
        raise Unavailable(
            "identity_unavailable", "The sign-in service does not answer. Try again shortly."
        ) from error
    values = [line.partition(";")[0].partition("=") for line in lines]
    tokens = [value for name, _, value in values if name.startswith("__session") and value]
    return tokens[0] if tokens else None


def _to_handshake(app: App, hosted: HostedIdentity, request: AnyRequest, state: _State) -> Redirect:
    if state.handshakes >= MAX_HANDSHAKES:
        raise _interrupted()
    again = _State(state.secret, state.path, state.handshakes + 1)
    page = hosted.handshake_page(
        _callback(app, state.secret),
        reason="session-token-missing",
        browser_token=request.query_params.get("__clerk_db_jwt"),
    )
    return Redirect(page, status_code=303, cookies=[_state_cookie(app, _packed(again), STATE_TTL_S)])


def _leave(app: App, request: AnyRequest, path: str, page: Callable[[HostedIdentity, str], str]) -> Redirect:
    hosted = app.accounts.hosted
    if hosted is None:
        raise LookupError("there is no identity service to go to")
    if _has_other_name(app, request):
        own = request.url.with_replacements(netloc=urlsplit(app.settings.origin).netloc)
        return Redirect(str(own), status_code=303)
    state = _State(secret_token(), safe_path(path))
    return Redirect(
        page(hosted, _callback(app, state.secret)),
        status_code=303,
        cookies=[_state_cookie(app, _packed(state), STATE_TTL_S)],
    )


def _has_other_name(app: App, request: AnyRequest) -> bool:
    """Whether the browser came by another name of this machine (localhost for 127.0.0.1): the cookie that
    it is given there would not come back to ours.
    """
    origin, named = urlsplit(app.settings.origin), urlsplit(host_origin(request) or app.settings.origin)
    return named.port == origin.port and named.hostname != origin.hostname


def _own_page(page: str, path: str) -> Redirect:
    return Redirect(f"{page}?next={quote(path)}" if path else page, status_code=303)


def _callback(app: App, secret: str) -> str:
    return f"{app.settings.origin}{CALLBACK_PATH}?{urlencode({'state': secret})}"


def _packed(state: _State) -> str:
    return urlsafe_b64encode(msgspec.json.encode(state)).decode("ascii")


def _state_of(app: App, request: AnyRequest) -> _State | None:
    try:
        packed = request.cookies.get(cookie_name(app, _COOKIE), "")
        return msgspec.json.decode(urlsafe_b64decode(packed.encode()), type=_State)
    except ValueError:  # msgspec's and binascii's are
        return None


def _state_cookie(app: App, value: str, max_age: int) -> Cookie:
    return private_cookie(app, _COOKIE, value, max_age)


def _interrupted() -> Unauthenticated:
    return Unauthenticated("sign_in_interrupted", "Logging in was interrupted or took too long. Start again.")


HANDLERS = [go_to_log_in, go_to_sign_up, come_back]
