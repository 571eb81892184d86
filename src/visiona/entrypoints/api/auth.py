"""Signing up, logging in and out."""

from typing import Any

import msgspec
from litestar import Request, Response, get, post
from litestar.params import JSONBody
from litestar.response import Redirect

from visiona.accounts.model import SignedIn
from visiona.bootstrap import App
from visiona.entrypoints.api.security import (
    TheApp,
    actor_for,
    actor_of,
    client_of,
    no_session_cookie,
    session_cookie,
    session_of,
)
from visiona.entrypoints.api.views import (
    MeView,
    SignedInView,
    TokenView,
    me_view,
    signed_in_view,
)

AnyRequest = Request[Any, Any, Any]


class CredentialsBody(msgspec.Struct, forbid_unknown_fields=True):
    email: str
    password: str


@post("/api/auth/signup", status_code=201)
async def sign_up(
    app: TheApp, request: AnyRequest, data: JSONBody[CredentialsBody]
) -> Response[SignedInView]:
    signed_in = await app.accounts.sign_up(data.email, data.password, client_of(request))
    return Response(
        signed_in_view(signed_in, app.billing.catalogue.base),
        status_code=201,
        cookies=[session_cookie(app, signed_in)],
    )


@post("/api/auth/login", status_code=200)
async def log_in(app: TheApp, request: AnyRequest, data: JSONBody[CredentialsBody]) -> Response[SignedInView]:
    signed_in = await app.accounts.log_in(data.email, data.password, client_of(request))
    return Response(
        signed_in_view(signed_in, await _plan(app, signed_in)), cookies=[session_cookie(app, signed_in)]
    )


@get("/api/auth/login", status_code=303)
async def log_in_page() -> Redirect:
    return Redirect("/login", status_code=303)


@get("/api/auth/signup", status_code=303)
async def sign_up_page() -> Redirect:
    return Redirect("/signup", status_code=303)


@post("/api/auth/refresh", status_code=200)
async def refresh(app: TheApp, request: AnyRequest) -> TokenView:
    token = await app.accounts.refresh(session_of(request))
    return TokenView(token.token, "Bearer", token.expires_in)


@post("/api/auth/logout", status_code=204)
async def log_out(app: TheApp, request: AnyRequest) -> Response[None]:
    await app.accounts.log_out(session_of(request))
    return Response(None, status_code=204, cookies=[no_session_cookie(app)])


@get("/api/auth/me")
async def me(app: TheApp, request: AnyRequest) -> MeView:
    actor = actor_of(request)
    user = await app.accounts.me(actor)
    quota = await app.billing.quota(actor)
    return me_view(user, quota)


@get("/.well-known/jwks.json", include_in_schema=False)
async def jwks(app: TheApp) -> dict[str, Any]:
    return app.accounts.jwks()


async def _plan(app: App, signed_in: SignedIn) -> str:
    return (await app.billing.quota(actor_for(signed_in.session))).plan.name


HANDLERS = [sign_up, log_in, log_in_page, sign_up_page, refresh, log_out, me, jwks]
