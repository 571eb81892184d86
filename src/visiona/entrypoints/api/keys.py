"""API keys: made, listed and revoked by a person who is signed in, never by a key."""

from typing import Any

import msgspec
from litestar import Request, Response, delete, get, post
from litestar.params import JSONBody

from visiona.core.clock import rfc3339
from visiona.entrypoints.api.parameters import Cursor, Limit, RowId
from visiona.entrypoints.api.security import TheApp, actor_of
from visiona.entrypoints.api.views import next_cursor
from visiona.keys.model import DEFAULT_DAYS, ApiKey, Scope, requested_key

AnyRequest = Request[Any, Any, Any]


class NewKeyBody(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    scopes: list[Scope]
    expires_in_days: int = DEFAULT_DAYS


class KeyView(msgspec.Struct):
    id: int
    name: str
    prefix: str
    scopes: list[Scope]
    created_at: str
    expires_at: str
    last_used_at: str | None
    revoked_at: str | None


class NewKeyView(KeyView):
    """`key` is what programs send. It is told this once."""

    key: str


class KeyPage(msgspec.Struct):
    items: list[KeyView]
    next_cursor: str | None


@get("/api/keys")
async def list_keys(app: TheApp, request: AnyRequest, limit: Limit = 50, cursor: Cursor = None) -> KeyPage:
    """Newest first. Those that were revoked or have expired are listed for a month."""
    keys = await app.keys.page(actor_of(request), limit, cursor)
    return KeyPage([KeyView(**_fields(key)) for key in keys], next_cursor([key.id for key in keys], limit))


@post("/api/keys", status_code=201)
async def create_key(app: TheApp, request: AnyRequest, data: JSONBody[NewKeyBody]) -> Response[NewKeyView]:
    """The answer is the only one that has the key itself."""
    wanted = requested_key(data.name, data.scopes, data.expires_in_days)
    created = await app.keys.create(actor_of(request), wanted)
    view = NewKeyView(**_fields(created.key), key=created.token)
    return Response(view, status_code=201, headers={"Cache-Control": "no-store"})


@delete("/api/keys/{key_id:int}", status_code=204)
async def revoke_key(app: TheApp, request: AnyRequest, key_id: RowId) -> None:
    await app.keys.revoke(actor_of(request), key_id)


def _fields(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "prefix": key.prefix,
        "scopes": list(key.scopes),
        "created_at": rfc3339(key.created_at),
        "expires_at": rfc3339(key.expires_at),
        "last_used_at": key.last_used_at and rfc3339(key.last_used_at),
        "revoked_at": key.revoked_at and rfc3339(key.revoked_at),
    }


HANDLERS = [list_keys, create_key, revoke_key]
