"""The Frontend API: what browsers and apps ask, without the secret key.

A browser of a development instance names itself by `__clerk_db_jwt`; an app says `_is_native=1` and keeps
its client's token, which it gets and sends in `Authorization`.
"""

from collections.abc import Callable
from typing import Final

from visiona.sandbox.clerk.activity import activity_of
from visiona.sandbox.clerk.errors import (
    ClerkError,
    bad_request,
    invalid_value,
    missing_param,
    not_found,
    refused,
)
from visiona.sandbox.clerk.params import NEEDED, TEXT, Field, Params
from visiona.sandbox.clerk.redirects import DEV_BROWSER, is_allowed, with_parameters
from visiona.sandbox.clerk.routes import Answer, Context, Reply, Route
from visiona.sandbox.clerk.sessions import End, is_alive
from visiona.sandbox.clerk.store import Obj
from visiona.sandbox.clerk.wire import encode, shown

CLIENT_COOKIE: Final = "__client"


def create_dev_browser(ctx: Context, _: Params) -> Answer:
    return shown(ctx.sandbox.sessions.new_dev_browser())


def show_client(ctx: Context, _: Params) -> Answer:
    client = _client(ctx)
    return _answered(ctx, None if client is None else _shown_client(ctx, client), client)


def create_sign_in(ctx: Context, params: Params) -> Answer:
    """By `ticket`, or by `identifier` and at once or later a `password`."""
    sign_ins = ctx.sandbox.sign_ins
    client = _client(ctx) or _new_client(ctx)
    strategy = params.get("strategy")
    if strategy == "ticket" or (strategy is None and params.get("ticket")):
        if not params.get("ticket"):
            raise missing_param("ticket")
        attempt = sign_ins.use_ticket(client, params["ticket"], _activity(ctx))
    elif strategy in {None, "password"}:
        if not params.get("identifier"):
            raise missing_param("identifier")
        attempt = sign_ins.start(client, params["identifier"])
        if params.get("password") is not None:
            attempt = sign_ins.check_password(attempt, params["password"], _activity(ctx))
    else:
        raise invalid_value("strategy", strategy)
    return _answered(ctx, _shown_attempt(ctx, attempt), client)


def show_sign_in(ctx: Context, _: Params) -> Answer:
    client = _known_client(ctx)
    return _answered(ctx, _shown_attempt(ctx, ctx.sandbox.sign_ins.get(ctx.id, client)), client)


def attempt_first_factor(ctx: Context, params: Params) -> Answer:
    client = _known_client(ctx)
    attempt = ctx.sandbox.sign_ins.get(ctx.id, client)
    if params.get("password") is None:
        raise missing_param("password")
    attempt = ctx.sandbox.sign_ins.check_password(attempt, params["password"], _activity(ctx))
    return _answered(ctx, _shown_attempt(ctx, attempt), client)


def attempt_second_factor(ctx: Context, params: Params) -> Answer:
    client = _known_client(ctx)
    attempt = ctx.sandbox.sign_ins.get(ctx.id, client)
    attempt = ctx.sandbox.sign_ins.check_code(attempt, params["code"], _activity(ctx))
    return _answered(ctx, _shown_attempt(ctx, attempt), client)


def show_session(ctx: Context, _: Params) -> Answer:
    client = _known_client(ctx)
    return _answered(ctx, _shown_session(ctx, _session(ctx, client)), client)


def touch_session(ctx: Context, _: Params) -> Answer:
    """Somebody is still there."""
    client = _known_client(ctx)
    session = _session(ctx, client)
    if not is_alive(session):
        raise not_found("Session", ctx.id)
    session |= {"last_active_at": ctx.sandbox.clock.now(), "updated_at": ctx.sandbox.clock.now()}
    ctx.sandbox.store.put("session", session)
    return _answered(ctx, _shown_session(ctx, session), client)


def create_token(ctx: Context, _: Params) -> Answer:
    session = _session(ctx, _known_client(ctx))
    if not is_alive(session):
        raise not_found("Session", ctx.id)
    return {"object": "token", "jwt": ctx.sandbox.sessions.token(session, azp=_origin(ctx))}


def end_session(ctx: Context, _: Params) -> Answer:
    return _over(ctx, "ended")


def remove_session(ctx: Context, _: Params) -> Answer:
    return _over(ctx, "removed")


def remove_sessions(ctx: Context, _: Params) -> Answer:
    """Sign out of everything on this client."""
    client = _known_client(ctx)
    for session in ctx.sandbox.sessions.of_client(client):
        ctx.sandbox.sessions.end(session, "removed")
    client = ctx.sandbox.sessions.client(client["id"])
    return _answered(ctx, _shown_client(ctx, client), client)


def shake_hands(ctx: Context, params: Params) -> Answer:
    """Back to where the browser came from, with the cookies that the site is to set."""
    target = ctx.sandbox.handshakes.answer(
        params["redirect_url"],
        browser=ctx.call.parameter(DEV_BROWSER),
        nonce=params.get("format") == "nonce",
        suffixed=params.get("suffixed_cookies") == "true",
    )
    return Reply(307, headers=(("location", target),))


def accept_ticket(ctx: Context, params: Params) -> Answer:
    """The address in a sign-in token: sign this browser in, and send it on."""
    sandbox = ctx.sandbox
    target = params.get("redirect_url") or f"{sandbox.config.public_url}/user"
    if not is_allowed(sandbox.config, target):
        text = f"The redirect url passed in the request is invalid: {target}"
        raise refused("invalid_redirect_url", "is invalid", text, param="redirect_url")
    client = sandbox.sessions.new_client()
    attempt = sandbox.sign_ins.use_ticket(client, params["ticket"], _activity(ctx))
    client = sandbox.sessions.client(client["id"])
    cookie = ("set-cookie", client_cookie(sandbox.sessions.client_token(client)))
    if attempt["status"] != "complete":
        target = with_parameters(f"{sandbox.config.public_url}/sign-in/factor-two", redirect_url=target)
        return Reply(303, headers=(("location", target), cookie))
    browser = sandbox.sessions.dev_browser_of(client)
    target = with_parameters(target, **{DEV_BROWSER: browser["id"]})
    return Reply(303, headers=(("location", target), cookie))


def client_cookie(token: str) -> str:
    """The `Set-Cookie` line by which the hosted pages know a browser again; empty to forget it."""
    return f"{CLIENT_COOKIE}={token}; Path=/; HttpOnly; SameSite=Lax; Max-Age={315360000 if token else 0}"


def _frontend(method: str, path: str, handler: Callable[[Context, Params], Answer], **fields: Field) -> Route:
    verb = "POST" if method == "POST" else "DELETE" if method == "DELETE" else "GET"
    return Route(verb, path, fields, handler, side="frontend")


ROUTES = [
    _frontend("POST", "/v1/dev_browser", create_dev_browser),
    _frontend("GET", "/v1/client", show_client),
    _frontend(
        "POST",
        "/v1/client/sign_ins",
        create_sign_in,
        strategy=TEXT,
        identifier=TEXT,
        password=TEXT,
        ticket=TEXT,
    ),
    _frontend("GET", "/v1/client/sign_ins/{id}", show_sign_in),
    _frontend(
        "POST",
        "/v1/client/sign_ins/{id}/attempt_first_factor",
        attempt_first_factor,
        strategy=Field(required=True, choices=("password",)),
        password=TEXT,
    ),
    _frontend(
        "POST",
        "/v1/client/sign_ins/{id}/attempt_second_factor",
        attempt_second_factor,
        strategy=Field(required=True, choices=("totp", "backup_code")),
        code=NEEDED,
    ),
    _frontend("DELETE", "/v1/client/sessions", remove_sessions),
    _frontend("GET", "/v1/client/sessions/{id}", show_session),
    _frontend("POST", "/v1/client/sessions/{id}/touch", touch_session, active_organization_id=TEXT),
    _frontend("POST", "/v1/client/sessions/{id}/tokens", create_token, organization_id=TEXT),
    _frontend("POST", "/v1/client/sessions/{id}/end", end_session),
    _frontend("POST", "/v1/client/sessions/{id}/remove", remove_session),
    Route(
        "GET",
        "/v1/client/handshake",
        {"redirect_url": NEEDED, "format": TEXT, "suffixed_cookies": TEXT},
        shake_hands,
        side="frontend",
        loose=True,
    ),
    Route(
        "GET",
        "/v1/tickets/accept",
        {"ticket": NEEDED, "redirect_url": TEXT},
        accept_ticket,
        side="frontend",
        loose=True,
    ),
]


def _is_native(ctx: Context) -> bool:
    return ctx.call.parameter("_is_native") in {"1", "true"}


def _origin(ctx: Context) -> str | None:
    return ctx.call.headers.get("origin")


def _client(ctx: Context) -> Obj | None:
    """Who asks; None for a browser or app that has no client yet. Raises `ClerkError` 400 or 401."""
    token = ctx.call.headers.get("authorization", "").removeprefix("Bearer ").strip()
    if token and _origin(ctx):
        text = (
            "For security purposes, only one of the 'Origin' and 'Authorization' headers should be provided."
        )
        raise bad_request("origin_authorization_headers_conflict", "Conflicting headers", text)
    if _is_native(ctx):
        client = ctx.sandbox.sessions.read_client_token(token) if token else None
        if token and client is None:
            raise _signed_out()
        return client
    dev_browser = ctx.sandbox.sessions.dev_browser(ctx.call.parameter(DEV_BROWSER))
    if dev_browser is None:
        text = (
            "Unable to authenticate this browser for your development instance. Check your Clerk cookies and "
            "try again."
        )
        raise ClerkError(401, "dev_browser_unauthenticated", "Browser unauthenticated", text)
    return ctx.sandbox.store.find("client", dev_browser["client_id"] or "")


def _known_client(ctx: Context) -> Obj:
    client = _client(ctx)
    if client is None:
        raise _signed_out()
    return client


def _new_client(ctx: Context) -> Obj:
    sessions = ctx.sandbox.sessions
    client = sessions.new_client()
    dev_browser = sessions.dev_browser(ctx.call.parameter(DEV_BROWSER))
    if not _is_native(ctx) and dev_browser is not None:
        sessions.attach(dev_browser, client)
    return client


def _signed_out() -> ClerkError:
    return ClerkError(401, "authentication_invalid", "Invalid authentication", "You are signed out")


def _session(ctx: Context, client: Obj) -> Obj:
    session = ctx.sandbox.sessions.get(ctx.id)
    if session["client_id"] != client["id"]:
        raise not_found("Session", ctx.id)
    return session


def _over(ctx: Context, status: End) -> Answer:
    session = ctx.sandbox.sessions.end(_session(ctx, _known_client(ctx)), status)
    client = ctx.sandbox.sessions.client(session["client_id"])
    return _answered(ctx, _shown_session(ctx, session), client)


def _activity(ctx: Context) -> Obj:
    return activity_of(ctx.call.client_ip, ctx.call.user_agent)


def _answered(ctx: Context, response: Obj | None, client: Obj | None) -> Reply:
    """The envelope of the Frontend API; an app gets its client's token beside it."""
    headers: tuple[tuple[str, str], ...] = ()
    if client is not None:
        client = ctx.sandbox.sessions.client(client["id"])
        if _is_native(ctx):
            headers = (("authorization", ctx.sandbox.sessions.client_token(client)),)
    shown_client = None if client is None else _shown_client(ctx, client)
    return Reply(200, encode({"response": response, "client": shown_client}), headers)


def _shown_client(ctx: Context, client: Obj) -> Obj:
    sign_in = ctx.sandbox.store.find("sign_in_attempt", client["sign_in_id"] or "")
    sessions = [_shown_session(ctx, one) for one in ctx.sandbox.sessions.of_client(client) if is_alive(one)]
    return {
        "object": "client",
        "id": client["id"],
        "sessions": sessions,
        "sign_in": None if sign_in is None else _shown_attempt(ctx, sign_in),
        "sign_up": None,
        "last_active_session_id": client["last_active_session_id"],
        "last_authentication_strategy": client["last_authentication_strategy"],
        "cookie_expires_at": None,
        "captcha_bypass": False,
        "created_at": client["created_at"],
        "updated_at": client["updated_at"],
    }


def _shown_session(ctx: Context, session: Obj) -> Obj:
    people = ctx.sandbox.people
    user = people.shown(people.get(session["user_id"]))
    del user["private_metadata"]
    alive = is_alive(session)
    token = ctx.sandbox.sessions.token(session, azp=_origin(ctx)) if alive else None
    return {
        **shown(session),
        "user": user,
        "public_user_data": {
            "first_name": user["first_name"],
            "last_name": user["last_name"],
            "image_url": user["image_url"],
            "has_image": user["has_image"],
            "identifier": people.primary_address(people.get(user["id"])) or "",
        },
        "last_active_token": None if token is None else {"object": "token", "jwt": token},
    }


def _shown_attempt(ctx: Context, attempt: Obj) -> Obj:
    status = attempt["status"]
    second = attempt["user_id"] is not None and status == "needs_second_factor"
    verified = {"object": "verification", "status": "verified", "strategy": attempt["strategy"]}
    return {
        "object": "sign_in_attempt",
        "id": attempt["id"],
        "status": status,
        "supported_identifiers": ["email_address"],
        "supported_first_factors": [{"strategy": "password"}] if status == "needs_first_factor" else None,
        "supported_second_factors": _second_factors(ctx, attempt) if second else None,
        "first_factor_verification": verified if attempt["strategy"] else None,
        "second_factor_verification": None,
        "identifier": attempt["identifier"],
        "user_data": None,
        "created_session_id": attempt["created_session_id"],
        "abandon_at": attempt["abandon_at"],
    }


def _second_factors(ctx: Context, attempt: Obj) -> list[Obj]:
    user = ctx.sandbox.people.get(attempt["user_id"])
    kinds = {"totp": user["_totp_secret"], "backup_code": user["_backup_codes"]}
    return [{"strategy": kind} for kind, there in kinds.items() if there]
