"""`/_sandbox`: what tests tell the sandbox and ask of it. Needs the secret key; bodies are JSON."""

from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
from litestar import Request, delete, get, post
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath

from visiona.sandbox.clerk.config import webhook_key
from visiona.sandbox.clerk.errors import bad_request, not_found
from visiona.sandbox.clerk.gateway import check_key
from visiona.sandbox.clerk.keys import public_pem
from visiona.sandbox.clerk.service import Sandbox, TheSandbox
from visiona.sandbox.clerk.store import Obj
from visiona.sandbox.faults import Fault
from visiona.sandbox.network import is_loopback_url

AnyRequest = Request[Any, Any, Any]
_T = TypeVar("_T")


class ClockChange(msgspec.Struct, forbid_unknown_fields=True):
    """Move time forward for sessions, tickets and records; tokens keep real time."""

    advance_s: Annotated[int, msgspec.Meta(ge=0)]


class Release(msgspec.Struct, forbid_unknown_fields=True):
    """`order` is `created`, `reversed`, `random`, or event ids; events that are not named come last."""

    order: Literal["created", "reversed", "random"] | list[str] = "created"


class NewSecret(msgspec.Struct, forbid_unknown_fields=True):
    """The next webhook secret; the old one signs too for `keep_old_s` seconds."""

    secret: str
    keep_old_s: Annotated[int, msgspec.Meta(ge=0)] = 0


class NewEndpoint(msgspec.Struct, forbid_unknown_fields=True):
    url: str


class Rotation(msgspec.Struct, forbid_unknown_fields=True):
    """How long the old keys stay published: seconds, null for ever, 0 to drop them at once."""

    keep_old_s: Annotated[int, msgspec.Meta(ge=0)] | None = 0


class Wish(msgspec.Struct, forbid_unknown_fields=True):
    """A token for a session; `visiona.sandbox.clerk.minting` describes the defects.

    `claims` and `headers` are laid over; null leaves one out.
    """

    session_id: str
    azp: str | None = None
    expires_in_s: int = 60
    defects: list[str] = msgspec.field(default_factory=list[str])
    claims: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])
    headers: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])


_FAULTS: Final[msgspec.json.Decoder[list[Fault] | Fault]] = msgspec.json.Decoder(list[Fault] | Fault)


def guard_key(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    sandbox: Sandbox = connection.app.state.sandbox
    check_key(connection.headers, sandbox.config.secret_key)


@post("/faults", status_code=201)
async def add_faults(request: AnyRequest, sandbox: TheSandbox) -> list[Any]:
    """One fault or a list; `visiona.sandbox.faults` describes them."""
    try:
        faults = _FAULTS.decode(await request.body())
    except msgspec.DecodeError as error:
        raise bad_request("request_body_invalid", str(error)) from error
    sandbox.faults.add(faults if isinstance(faults, list) else [faults])
    return _waiting_faults(sandbox)


@get("/faults", sync_to_thread=False)
def list_faults(sandbox: TheSandbox) -> list[Any]:
    return _waiting_faults(sandbox)


@delete("/faults", sync_to_thread=False)
def clear_faults(sandbox: TheSandbox) -> None:
    sandbox.faults.clear()


@get("/state", sync_to_thread=False)
def show_state(sandbox: TheSandbox) -> Obj:
    """What there is, and how each event's delivery stands, oldest first."""
    events = [_delivery_state(event) for event in sandbox.store.all("event")]
    counts = sandbox.store.counts()
    return {
        "sandbox": "clerk",
        "clock": {"now": sandbox.clock.now(), "offset_s": sandbox.clock.offset},
        "counts": {kind: count for kind, count in counts.items() if not kind.startswith("_")},
        "jwks_fetches": sum(count for path, count in sandbox.fetches.items() if "jwks" in path),
        "fetches": dict(sandbox.fetches),
        "pending_deliveries": sum(event["status"] == "pending" for event in events),
        "held": sandbox.sender.held,
        "events": events,
        "faults": _waiting_faults(sandbox),
    }


@post("/reset", status_code=204, sync_to_thread=False)
def reset(sandbox: TheSandbox) -> None:
    sandbox.reset()


@post("/clock", status_code=200)
async def change_clock(request: AnyRequest, sandbox: TheSandbox) -> Obj:
    sandbox.clock.advance(_decoded(await request.body(), ClockChange).advance_s)
    with sandbox.acting():
        sandbox.forget_old()
    return {"now": sandbox.clock.now(), "offset_s": sandbox.clock.offset}


@get("/keys", sync_to_thread=False)
def show_keys(sandbox: TheSandbox) -> Obj:
    """The published keys, newest first, with the public half as PEM for those who verify offline."""
    keys = [{"kid": key["id"], "public_pem": public_pem(key["pem"])} for key in sandbox.keys.published()]
    return {"instance_id": sandbox.keys.instance_id, "keys": keys}


@post("/keys/rotate", status_code=200)
async def rotate_keys(request: AnyRequest, sandbox: TheSandbox) -> Obj:
    body = await request.body()
    wish = _decoded(body, Rotation) if body else Rotation()
    with sandbox.acting():
        key = sandbox.keys.rotate(wish.keep_old_s)
    return {"kid": key["id"], "public_pem": public_pem(key["pem"])}


@post("/tokens", status_code=200)
async def mint_token(request: AnyRequest, sandbox: TheSandbox) -> Obj:
    wish = _decoded(await request.body(), Wish)
    return sandbox.mint.mint(
        wish.session_id,
        azp=wish.azp,
        seconds=wish.expires_in_s,
        defects=wish.defects,
        claims=wish.claims,
        headers=wish.headers,
    )


@post("/webhooks/{event_id:str}/resend", status_code=200)
async def resend(sandbox: TheSandbox, event_id: FromPath[str]) -> Obj:
    """Send an event once more, and say how its delivery stands then."""
    if sandbox.store.find("event", event_id) is None:
        raise not_found("Event", event_id)
    await sandbox.sender.resend(event_id)
    return _delivery_state(sandbox.store.get("event", event_id))


@post("/webhooks/hold", status_code=200, sync_to_thread=False)
def hold(sandbox: TheSandbox) -> Obj:
    """Collect deliveries instead of sending them."""
    sandbox.sender.hold()
    return {"held": sandbox.sender.held}


@post("/webhooks/release", status_code=200)
async def release(request: AnyRequest, sandbox: TheSandbox) -> Obj:
    """Send what was collected, one after the other; answers when each was tried once."""
    body = await request.body()
    wish = _decoded(body, Release) if body else Release()
    return {"released": await sandbox.sender.release(wish.order)}


@post("/webhooks/secret", status_code=204)
async def roll_secret(request: AnyRequest, sandbox: TheSandbox) -> None:
    wish = _decoded(await request.body(), NewSecret)
    try:
        webhook_key(wish.secret)
    except ValueError as error:
        raise bad_request("request_body_invalid", str(error)) from error
    sandbox.sender.roll_secret(wish.secret, keep_old_s=wish.keep_old_s)


@post("/webhooks/endpoint", status_code=204)
async def change_endpoint(request: AnyRequest, sandbox: TheSandbox) -> None:
    """Where webhooks of later events go."""
    wish = _decoded(await request.body(), NewEndpoint)
    if not is_loopback_url(wish.url):
        raise bad_request("request_body_invalid", "The sandbox delivers webhooks to this machine only.")
    sandbox.sender.set_url(wish.url)


HANDLERS = [
    add_faults, list_faults, clear_faults, show_state, reset, change_clock, show_keys, rotate_keys,
    mint_token, resend, hold, release, roll_secret, change_endpoint,
]  # fmt: skip


def _decoded(body: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as error:
        raise bad_request("request_body_invalid", str(error)) from error


def _waiting_faults(sandbox: Sandbox) -> list[Any]:
    return [msgspec.to_builtins(fault) for fault in sandbox.faults.waiting]


def _delivery_state(event: Obj) -> Obj:
    return {
        "id": event["id"],
        "type": event["type"],
        "created_at": event["created_at"],
        "object": event["body"]["data"]["id"],
        "status": event["status"],
        "attempts": event["attempts"],
    }
