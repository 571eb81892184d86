"""Each request has an id, and whatever it does is on record as coming from where it comes from."""

from typing import Any

from litestar.connection import ASGIConnection
from litestar.types import ASGIApp, Receive, Scope, Send

from visiona.core.ids import opaque_id
from visiona.core.origin import Origin, coming_from
from visiona.entrypoints.api.security import client_of

_REQUEST_ID = "visiona_request_id"


def with_origin(app: ASGIApp) -> ASGIApp:
    """A middleware: who is asking is not known yet; `security.guard` says so when it is."""

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        client = client_of(ASGIConnection(scope))
        with coming_from(Origin(request_id=request_id_of(scope), via="visitor", client=client)):
            await app(scope, receive, send)

    return call


def request_id_of(scope: Scope) -> str:
    """The id of this request, which goes out with the answer."""
    state: dict[str, Any] = scope["state"]
    return state.setdefault(_REQUEST_ID, opaque_id())
