"""One's own account: sessions, password, address."""

from typing import Any
from uuid import UUID

import msgspec
from litestar import Request, delete, get, post
from litestar.params import FromPath, JSONBody

from visiona.accounts.model import session_not_found
from visiona.core.clock import rfc3339
from visiona.entrypoints.api.security import TheApp, actor_of, client_of, session_of

AnyRequest = Request[Any, Any, Any]


class SessionView(msgspec.Struct):
    id: str
    client: str
    created_at: str
    last_seen_at: str
    expires_at: str
    current: bool


class SessionList(msgspec.Struct):
    items: list[SessionView]


class EndedView(msgspec.Struct):
    ended: int


class PasswordBody(msgspec.Struct, forbid_unknown_fields=True):
    password: str


class AddressBody(msgspec.Struct, forbid_unknown_fields=True):
    email: str


@get("/api/account/sessions")
async def sessions(app: TheApp, request: AnyRequest) -> SessionList:
    """Those that live, the one used last first."""
    found = await app.accounts.sessions(session_of(request))
    return SessionList(
        [
            SessionView(
                id=str(session.id),
                client=session.client,
                created_at=rfc3339(session.created_at),
                last_seen_at=rfc3339(session.last_seen_at),
                expires_at=rfc3339(session.expires_at),
                current=session.current,
            )
            for session in found
        ]
    )


@delete("/api/account/sessions/{session_id:str}")
async def end_session(app: TheApp, request: AnyRequest, session_id: FromPath[str]) -> None:
    try:
        wanted = UUID(session_id)
    except ValueError:
        raise session_not_found() from None
    await app.accounts.end_session(session_of(request), wanted)


@post("/api/account/sessions/end-others", status_code=200)
async def end_other_sessions(app: TheApp, request: AnyRequest) -> EndedView:
    return EndedView(await app.accounts.end_other_sessions(session_of(request)))


@post("/api/account/password", status_code=204)
async def change_password(app: TheApp, request: AnyRequest, data: JSONBody[PasswordBody]) -> None:
    """Every other session ends."""
    session = session_of(request)
    await app.addresses.change_password(actor_of(request), data.password, session.session_id)


@post("/api/account/email", status_code=202)
async def change_address(app: TheApp, request: AnyRequest, data: JSONBody[AddressBody]) -> None:
    """A link is sent to the new address; the account has it once that is followed."""
    await app.addresses.ask_to_change(actor_of(request), data.email, client_of(request))


@post("/api/account/email/verification", status_code=202)
async def ask_to_verify(app: TheApp, request: AnyRequest) -> None:
    """Send the mail with the link that confirms your address once more."""
    await app.addresses.ask_again(actor_of(request), client_of(request))


HANDLERS = [sessions, end_session, end_other_sessions, change_password, change_address, ask_to_verify]
