"""Second factors and passkeys of whoever is signed in; and what a browser needs to log in by passkey."""

from typing import Any, TypeVar

import msgspec
from litestar import Request, Response, delete, get, patch, post
from litestar.params import JSONBody

from visiona.core.clock import rfc3339
from visiona.entrypoints.api.parameters import RowId
from visiona.entrypoints.api.security import TheApp, actor_of
from visiona.factors.model import Passkey

AnyRequest = Request[Any, Any, Any]
View = TypeVar("View")


class CodeBody(msgspec.Struct, forbid_unknown_fields=True):
    code: str


class NewPasskeyBody(msgspec.Struct, forbid_unknown_fields=True):
    """`credential` is the browser's `PublicKeyCredential.toJSON()`."""

    credential: dict[str, Any]
    name: str


class PasskeyNameBody(msgspec.Struct, forbid_unknown_fields=True):
    name: str


class TotpView(msgspec.Struct):
    enabled: bool
    since: str | None
    recovery_codes_left: int


class PasskeyView(msgspec.Struct):
    """`synced` ones live on several devices of their owner."""

    id: int
    name: str
    synced: bool
    created_at: str
    last_used_at: str | None


class FactorsView(msgspec.Struct):
    totp: TotpView
    passkeys: list[PasskeyView]


class TotpSetupView(msgspec.Struct):
    """The same three times: to type in, to open on this device, and to scan."""

    secret: str
    uri: str
    qr_svg: str


class RecoveryCodesView(msgspec.Struct):
    """Told this once."""

    recovery_codes: list[str]


@get("/api/account/factors")
async def factors(app: TheApp, request: AnyRequest) -> FactorsView:
    status = await app.factors.status(actor_of(request))
    since = status.totp_since and rfc3339(status.totp_since)
    return FactorsView(
        TotpView(enabled=since is not None, since=since, recovery_codes_left=status.recovery_codes_left),
        [_passkey_view(passkey) for passkey in status.passkeys],
    )


@post("/api/account/totp", status_code=200)
async def begin_totp(app: TheApp, request: AnyRequest) -> Response[TotpSetupView]:
    """A secret for an authenticator. Nothing changes until a code of it is sent to `confirm`."""
    setup = await app.factors.begin_totp(actor_of(request), await _label(app, request))
    return _told_once(TotpSetupView(setup.secret, setup.uri, setup.qr_svg))


@post("/api/account/totp/confirm", status_code=200)
async def confirm_totp(
    app: TheApp, request: AnyRequest, data: JSONBody[CodeBody]
) -> Response[RecoveryCodesView]:
    """From here on logging in takes a code. The answer is the only one that has the recovery codes."""
    return _told_once(RecoveryCodesView(list(await app.factors.confirm_totp(actor_of(request), data.code))))


@delete("/api/account/totp", status_code=204)
async def disable_totp(app: TheApp, request: AnyRequest) -> None:
    await app.factors.disable_totp(actor_of(request))


@post("/api/account/recovery-codes", status_code=200)
async def renew_recovery_codes(app: TheApp, request: AnyRequest) -> Response[RecoveryCodesView]:
    """Those before are worthless."""
    return _told_once(RecoveryCodesView(list(await app.factors.renew_recovery_codes(actor_of(request)))))


@post("/api/account/passkeys/options", status_code=200)
async def passkey_options(app: TheApp, request: AnyRequest) -> Response[dict[str, Any]]:
    """`PublicKeyCredentialCreationOptionsJSON`, good for five minutes."""
    options = await app.factors.registration_options(actor_of(request), await _label(app, request))
    return _told_once(options)


@post("/api/account/passkeys", status_code=201)
async def add_passkey(app: TheApp, request: AnyRequest, data: JSONBody[NewPasskeyBody]) -> PasskeyView:
    return _passkey_view(await app.factors.register(actor_of(request), data.credential, data.name))


@patch("/api/account/passkeys/{passkey_id:int}")
async def rename_passkey(
    app: TheApp, request: AnyRequest, passkey_id: RowId, data: JSONBody[PasskeyNameBody]
) -> PasskeyView:
    return _passkey_view(await app.factors.rename_passkey(actor_of(request), passkey_id, data.name))


@delete("/api/account/passkeys/{passkey_id:int}", status_code=204)
async def remove_passkey(app: TheApp, request: AnyRequest, passkey_id: RowId) -> None:
    await app.factors.remove_passkey(actor_of(request), passkey_id)


@post("/api/auth/passkey/options", status_code=200)
async def log_in_options(app: TheApp) -> Response[dict[str, Any]]:
    """`PublicKeyCredentialRequestOptionsJSON` for logging in with whichever passkey the browser has."""
    return _told_once(await app.factors.authentication_options())


async def _label(app: TheApp, request: AnyRequest) -> str:
    """What authenticators call the account in their lists."""
    return (await app.accounts.me(actor_of(request))).email


def _told_once(view: View) -> Response[View]:
    return Response(view, headers={"Cache-Control": "no-store"})


def _passkey_view(passkey: Passkey) -> PasskeyView:
    return PasskeyView(
        id=passkey.id,
        name=passkey.name,
        synced=passkey.synced,
        created_at=rfc3339(passkey.created_at),
        last_used_at=passkey.last_used_at and rfc3339(passkey.last_used_at),
    )


HANDLERS = [
    factors,
    begin_totp,
    confirm_totp,
    disable_totp,
    renew_recovery_codes,
    passkey_options,
    add_passkey,
    rename_passkey,
    remove_passkey,
    log_in_options,
]
