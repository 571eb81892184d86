"""Signing up, logging in and out."""

from typing import Any, Literal

import msgspec
from litestar import Request, Response, get, post
from litestar.params import JSONBody

from visiona.accounts.model import SecondFactorNeeded, SignedIn
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


class SecondFactorView(msgspec.Struct):
    """The password was right; `POST /api/auth/login/code` with this ticket and a code is next."""

    status: Literal["second_factor_required"]
    ticket: str
    expires_in: int


class CodeBody(msgspec.Struct, forbid_unknown_fields=True):
    ticket: str
    code: str


class PasskeyBody(msgspec.Struct, forbid_unknown_fields=True):
    credential: dict[str, Any]


class ConfirmBody(msgspec.Struct, forbid_unknown_fields=True):
    password: str = ""
    code: str = ""


class ResetBody(msgspec.Struct, forbid_unknown_fields=True):
    email: str


class NewPasswordBody(msgspec.Struct, forbid_unknown_fields=True):
    token: str
    password: str


class LinkBody(msgspec.Struct, forbid_unknown_fields=True):
    token: str


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
async def log_in(
    app: TheApp, request: AnyRequest, data: JSONBody[CredentialsBody]
) -> Response[SignedInView | SecondFactorView]:
    """202 with a ticket where a second factor is wanted."""
    outcome = await app.accounts.log_in(data.email, data.password, client_of(request))
    if isinstance(outcome, SecondFactorNeeded):
        needed = SecondFactorView("second_factor_required", outcome.ticket, outcome.expires_in)
        return Response(needed, status_code=202)
    return await _welcome(app, outcome)


@post("/api/auth/login/code", status_code=200)
async def log_in_with_code(
    app: TheApp, request: AnyRequest, data: JSONBody[CodeBody]
) -> Response[SignedInView | SecondFactorView]:
    return await _welcome(
        app, await app.accounts.log_in_with_code(data.ticket, data.code, client_of(request))
    )


@post("/api/auth/passkey", status_code=200)
async def log_in_with_passkey(
    app: TheApp, request: AnyRequest, data: JSONBody[PasskeyBody]
) -> Response[SignedInView | SecondFactorView]:
    """With what the browser answered to the options of `POST /api/auth/passkey/options`."""
    return await _welcome(app, await app.accounts.log_in_with_passkey(data.credential, client_of(request)))


@post("/api/auth/reset", status_code=202)
async def ask_for_reset(app: TheApp, request: AnyRequest, data: JSONBody[ResetBody]) -> None:
    """A link to a new password is sent, if anybody has this address; the answer does not tell."""
    await app.addresses.ask_for_reset(data.email, client_of(request))


@post("/api/auth/reset/complete", status_code=204)
async def reset(app: TheApp, request: AnyRequest, data: JSONBody[NewPasswordBody]) -> None:
    """The new password counts, and every session has ended."""
    await app.addresses.reset(data.token, data.password, client_of(request))


@post("/api/auth/verify", status_code=204)
async def verify(app: TheApp, request: AnyRequest, data: JSONBody[LinkBody]) -> None:
    """The address that the link was sent to is shown to be its person's."""
    await app.addresses.confirm(data.token, client_of(request))


@post("/api/auth/confirm", status_code=204)
async def confirm(app: TheApp, request: AnyRequest, data: JSONBody[ConfirmBody]) -> None:
    """Prove again who you are: the session is fresh for a quarter of an hour."""
    await app.accounts.confirm(session_of(request), password=data.password, code=data.code)


@post("/api/auth/confirm/passkey/options", status_code=200)
async def confirm_options(app: TheApp, request: AnyRequest) -> Response[dict[str, Any]]:
    """`PublicKeyCredentialRequestOptionsJSON` for proving it with one of your passkeys."""
    options = await app.factors.authentication_options(actor_of(request))
    return Response(options, headers={"Cache-Control": "no-store"})


@post("/api/auth/confirm/passkey", status_code=204)
async def confirm_with_passkey(app: TheApp, request: AnyRequest, data: JSONBody[PasskeyBody]) -> None:
    """With what the browser answered to the options of `POST /api/auth/confirm/passkey/options`."""
    await app.accounts.confirm_with_passkey(session_of(request), data.credential)


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


async def _welcome(app: App, signed_in: SignedIn) -> Response[SignedInView | SecondFactorView]:
    return Response(
        signed_in_view(signed_in, await _plan(app, signed_in)), cookies=[session_cookie(app, signed_in)]
    )


async def _plan(app: App, signed_in: SignedIn) -> str:
    return (await app.billing.quota(actor_for(signed_in.session))).plan.name


HANDLERS = [
    sign_up,
    log_in,
    log_in_with_code,
    log_in_with_passkey,
    ask_for_reset,
    reset,
    verify,
    confirm,
    confirm_options,
    confirm_with_passkey,
    refresh,
    log_out,
    me,
    jwks,
]
