"""A person's API keys: made, shown once, listed and revoked."""

from collections.abc import Mapping
from typing import Any, Final

from litestar import Response, get, post
from litestar.handlers import BaseRouteHandler
from litestar.params import FromQuery
from litestar.response import Redirect

from visiona.bootstrap import App
from visiona.core.errors import VisionaError
from visiona.entrypoints.api.security import TheApp, actor_of, caller_of
from visiona.entrypoints.web.account_pages import KEYS_SHOWN, row_id
from visiona.entrypoints.web.rendering import Flash
from visiona.entrypoints.web.responses import AnyRequest, as_refused, page
from visiona.entrypoints.web.sign_in_pages import refusal
from visiona.keys.model import (
    DEFAULT_DAYS,
    KEYS_MAX,
    NAME_MAX_LENGTH,
    ApiKey,
    CreatedKey,
    Scope,
    known_scopes,
    requested_key,
)

KEYS: Final = "/account/keys"

SCOPES: Final[Mapping[Scope, str]] = {
    Scope.PHOTOS_READ: "See your photos",
    Scope.PHOTOS_WRITE: "Add and delete photos",
    Scope.CLONES_READ: "See your clones",
    Scope.CLONES_WRITE: "Train, stop and delete clones",
    Scope.IMAGES_READ: "See your pictures",
    Scope.IMAGES_WRITE: "Make and delete pictures",
    Scope.ACCOUNT_READ: "See your address, plan and invoices",
}
"""What a program with the key may do, to whoever decides about it."""

LIFETIMES: Final = (
    (7, "A week"),
    (30, "A month"),
    (90, "Three months"),
    (180, "Half a year"),
    (365, "A year"),
)
"""In days."""


@get(KEYS)
async def keys(app: TheApp, request: AnyRequest, done: FromQuery[str] = "") -> Response[str]:
    said = [Flash("good", "The key is revoked: it opens nothing any more.")] if done == "revoked" else []
    return await _keys(app, request, flashes=said)


@post(KEYS, page=KEYS, status_code=303)
async def create_key(app: TheApp, request: AnyRequest) -> Response[str]:
    """The answer is the only page that has the key itself."""
    sent = await request.form()
    name, days = str(sent.get("name", "")), row_id(str(sent.get("expires_in_days", "")))
    scopes = known_scopes(str(scope) for scope in sent.getall("scopes", []))
    typed = {"name": name, "scopes": scopes, "days": days}
    try:
        wanted = requested_key(name, scopes, days)
        created = await app.keys.create(actor_of(request), wanted)
    except VisionaError as error:
        return as_refused(request, error, await _keys(app, request, refused=error, typed=typed))
    return await _keys(app, request, created=created)


@post("/account/keys/revoke", page=KEYS, status_code=303)
async def revoke_key(app: TheApp, request: AnyRequest) -> Response[str] | Redirect:
    sent = await request.form()
    try:
        await app.keys.revoke(actor_of(request), row_id(str(sent.get("key_id", ""))))
    except VisionaError as error:
        answer = await _keys(app, request, flashes=[Flash("bad", error.detail)])
        return as_refused(request, error, answer)
    return Redirect(f"{KEYS}?done=revoked", status_code=303)


async def _keys(
    app: App,
    request: AnyRequest,
    *,
    created: CreatedKey | None = None,
    refused: VisionaError | None = None,
    typed: Mapping[str, Any] | None = None,
    **context: Any,
) -> Response[str]:
    found = await app.keys.page(actor_of(request), KEYS_SHOWN)
    views = [_view(app, key) for key in found]
    return await page(
        app,
        request,
        "keys.html.j2",
        keys=[view for view in views if view["ended"] is None],
        ended=[view for view in views if view["ended"] is not None],
        created=created and {**_view(app, created.key), "token": created.token},
        origin=app.settings.origin,
        fresh=caller_of(request).fresh,
        scopes=[(scope.value, words) for scope, words in SCOPES.items()],
        lifetimes=LIFETIMES,
        typed=typed or {"name": "", "scopes": (), "days": DEFAULT_DAYS},
        name_max=NAME_MAX_LENGTH,
        keys_max=KEYS_MAX,
        **refusal(refused),
        **context,
    )


def _view(app: App, key: ApiKey) -> dict[str, Any]:
    """`ended` says how it ended, None for one that can be used."""
    expired = key.expires_at <= app.clock.now()
    ended = "Revoked" if key.revoked_at is not None else "Expired" if expired else None
    return {
        "id": key.id,
        "name": key.name,
        "prefix": key.prefix,
        "scopes": [SCOPES[scope] for scope in key.scopes],
        "expires_at": key.expires_at.isoformat(),
        "last_used_at": key.last_used_at and key.last_used_at.isoformat(),
        "ended": ended,
        "ended_at": (key.revoked_at or key.expires_at).isoformat(),
    }


HANDLERS: list[BaseRouteHandler] = [keys, create_key, revoke_key]
