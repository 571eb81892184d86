"""`/_sandbox`: what tests tell the sandbox and ask of it. Needs the key as a bearer token."""

import hmac
from typing import Any

import msgspec
from litestar import Request, delete, get, post
from litestar.connection import ASGIConnection
from litestar.exceptions import NotAuthorizedException, ValidationException
from litestar.handlers import BaseRouteHandler
from litestar.params import FromQuery

from visiona.sandbox.mail.desk import Desk, TheDesk
from visiona.sandbox.mail.faults import Fault
from visiona.sandbox.mail.letters import Letter

_FAULTS: msgspec.json.Decoder[list[Fault] | Fault] = msgspec.json.Decoder(list[Fault] | Fault)


def guard_key(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    desk: Desk = connection.app.state.desk
    given = connection.headers.get("authorization", "").removeprefix("Bearer ")
    if not hmac.compare_digest(given.encode(), desk.config.key.encode()):
        raise NotAuthorizedException("The sandbox's key is needed, as `Authorization: Bearer …`.")


@get("/messages", sync_to_thread=False)
def list_messages(desk: TheDesk, to: FromQuery[str] = "") -> list[dict[str, Any]]:
    """Mails to exactly this address, or to anybody, newest first."""
    return [_shown(letter) for letter in desk.mailbox.to(to)]


@post("/faults", status_code=201)
async def add_faults(request: Request[Any, Any, Any], desk: TheDesk) -> list[Any]:
    """One fault or a list; `visiona.sandbox.mail.faults` describes them."""
    try:
        faults = _FAULTS.decode(await request.body())
    except msgspec.DecodeError as error:
        raise ValidationException(str(error)) from error
    desk.faults.add(faults if isinstance(faults, list) else [faults])
    return _waiting(desk)


@get("/faults", sync_to_thread=False)
def list_faults(desk: TheDesk) -> list[Any]:
    return _waiting(desk)


@delete("/faults", sync_to_thread=False)
def clear_faults(desk: TheDesk) -> None:
    desk.faults.clear()


@get("/state", sync_to_thread=False)
def show_state(desk: TheDesk) -> dict[str, Any]:
    return {
        "sandbox": "mail",
        "smtp_port": desk.reception.port,
        "messages": len(desk.mailbox),
        "faults": _waiting(desk),
    }


@post("/reset", status_code=204, sync_to_thread=False)
def reset(desk: TheDesk) -> None:
    """No mails and no faults."""
    desk.mailbox.clear()
    desk.faults.clear()


HANDLERS = [list_messages, add_faults, list_faults, clear_faults, show_state, reset]


def _shown(letter: Letter) -> dict[str, Any]:
    return {
        "id": letter.kept.number,
        "received_at": letter.kept.received_at,
        "envelope_from": letter.kept.sender,
        "to": letter.kept.recipients,
        "from": letter.written_by,
        "subject": letter.subject,
        "message_id": letter.message_id,
        "text": letter.text,
        "html": letter.html,
        "links": letter.links,
    }


def _waiting(desk: Desk) -> list[Any]:
    return [msgspec.to_builtins(fault) for fault in desk.faults.waiting]
