"""`/_sandbox`: what tests tell the sandbox and ask of it. Needs the secret key; bodies are JSON."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar

import msgspec
from litestar import Request, delete, get, post
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath

from visiona.sandbox.stripe.engine.outcomes import Card
from visiona.sandbox.stripe.errors import invalid
from visiona.sandbox.stripe.faults import Fault
from visiona.sandbox.stripe.gateway import check_key, given_key
from visiona.sandbox.stripe.service import Sandbox, TheSandbox
from visiona.sandbox.stripe.store import Obj
from visiona.sandbox.stripe.wire import shown

AnyRequest = Request[Any, Any, Any]
_T = TypeVar("_T")


class ClockChange(msgspec.Struct, forbid_unknown_fields=True):
    """Move time forward for everything without a test clock, and run what is due."""

    advance_s: int


class Payment(msgspec.Struct, forbid_unknown_fields=True):
    """A person paying on the hosted page; `approve` answers the bank's question if there is one.

    A card is good for three more years unless `exp_year` says otherwise.
    """

    number: str = "4242424242424242"
    exp_month: int = 12
    exp_year: int | None = None
    cvc: str = "123"
    name: str = "Sandbox Person"
    email: str | None = None
    approve: bool = True


class NewDispute(msgspec.Struct, forbid_unknown_fields=True):
    charge: str
    reason: str = "fraudulent"


class DisputeEnd(msgspec.Struct, forbid_unknown_fields=True):
    status: Literal["won", "lost"]


class NewWarning(msgspec.Struct, forbid_unknown_fields=True):
    charge: str


class Release(msgspec.Struct, forbid_unknown_fields=True):
    """`order` is `created`, `reversed`, `random`, or event ids; events that are not named come last."""

    order: Literal["created", "reversed", "random"] | list[str] = "created"


class NewSecret(msgspec.Struct, forbid_unknown_fields=True):
    """The configured endpoint's next secret; the old one signs too for `keep_old_s` seconds."""

    secret: str
    keep_old_s: int = 0


_FAULTS: msgspec.json.Decoder[list[Fault] | Fault] = msgspec.json.Decoder(list[Fault] | Fault)


def guard_key(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    sandbox: Sandbox = connection.app.state.sandbox
    check_key(given_key(connection.headers), sandbox.config.secret_key)


@post("/faults", status_code=201)
async def add_faults(request: AnyRequest, sandbox: TheSandbox) -> list[Any]:
    """One fault or a list; `visiona.sandbox.stripe.faults` describes them."""
    try:
        faults = _FAULTS.decode(await request.body())
    except msgspec.DecodeError as error:
        raise invalid(str(error)) from error
    sandbox.faults.add(faults if isinstance(faults, list) else [faults])
    return _waiting_faults(sandbox)


@get("/faults", sync_to_thread=False)
def list_faults(sandbox: TheSandbox) -> list[Any]:
    return _waiting_faults(sandbox)


@delete("/faults", sync_to_thread=False)
def clear_faults(sandbox: TheSandbox) -> None:
    sandbox.faults.clear()


@get("/state", sync_to_thread=False)
def show_state(sandbox: TheSandbox) -> dict[str, Any]:
    """What there is, and how each event's deliveries stand, oldest first."""
    events = [_delivery_state(event) for event in sandbox.store.all("event")]
    return {
        "sandbox": "stripe",
        "clock": {"now": sandbox.clock.now(), "offset_s": sandbox.clock.offset},
        "counts": {
            kind: sandbox.store.count(kind) for kind in sandbox.store.kinds() if not kind.startswith("_")
        },
        "pending_deliveries": sum(
            delivery["status"] == "pending" for event in events for delivery in event["deliveries"]
        ),
        "held": sandbox.sender.held,
        "events": events,
        "faults": _waiting_faults(sandbox),
    }


@post("/reset", status_code=204, sync_to_thread=False)
def reset(sandbox: TheSandbox) -> None:
    sandbox.reset()


@post("/clock", status_code=200)
async def change_clock(request: AnyRequest, sandbox: TheSandbox) -> dict[str, Any]:
    change = _decoded(await request.body(), ClockChange)
    if change.advance_s < 0:
        raise invalid("Time does not run backwards.", param="advance_s")
    sandbox.clock.advance(change.advance_s)
    sandbox.run_due()
    sandbox.forget_old()
    return {"now": sandbox.clock.now(), "offset_s": sandbox.clock.offset}


@post("/pay/{session_id:str}", status_code=200)
async def pay(request: AnyRequest, sandbox: TheSandbox, session_id: FromPath[str]) -> dict[str, Any]:
    """Pay a checkout session as a person on its page would; says what came of it."""
    body = await request.body()
    payment = _decoded(body, Payment) if body else Payment()
    year = payment.exp_year or datetime.fromtimestamp(sandbox.clock.now(), UTC).year + 3
    card = Card(payment.number, payment.exp_month, year, payment.cvc, payment.name)
    checkout = sandbox.engine.checkout
    with sandbox.store.atomic():
        outcome = checkout.pay(session_id, card, payment.email)
    challenged = type(outcome).__name__ == "ChallengeRequired"
    if challenged:
        with sandbox.store.atomic():
            outcome = checkout.answer_challenge(session_id, approve=payment.approve)
    return {"outcome": type(outcome).__name__, "challenged": challenged, **msgspec.to_builtins(outcome)}


@post("/disputes", status_code=201)
async def open_dispute(request: AnyRequest, sandbox: TheSandbox) -> Obj:
    wish = _decoded(await request.body(), NewDispute)
    with sandbox.store.atomic():
        return shown(sandbox.engine.disputes.open(wish.charge, wish.reason))


@post("/disputes/{dispute_id:str}/close", status_code=200)
async def close_dispute(request: AnyRequest, sandbox: TheSandbox, dispute_id: FromPath[str]) -> Obj:
    wish = _decoded(await request.body(), DisputeEnd)
    with sandbox.store.atomic():
        return shown(sandbox.engine.disputes.close(dispute_id, wish.status))


@post("/early_fraud_warnings", status_code=201)
async def warn_of_fraud(request: AnyRequest, sandbox: TheSandbox) -> Obj:
    wish = _decoded(await request.body(), NewWarning)
    with sandbox.store.atomic():
        return shown(sandbox.engine.disputes.warn(wish.charge))


@post("/webhooks/{event_id:str}/resend", status_code=200)
async def resend(sandbox: TheSandbox, event_id: FromPath[str]) -> dict[str, Any]:
    """Send an event once more, and say how its deliveries stand then."""
    return _delivery_state(await sandbox.sender.resend(event_id))


@post("/webhooks/hold", status_code=200, sync_to_thread=False)
def hold(sandbox: TheSandbox) -> dict[str, Any]:
    """Collect deliveries instead of sending them."""
    sandbox.sender.hold()
    return {"held": sandbox.sender.held}


@post("/webhooks/release", status_code=200)
async def release(request: AnyRequest, sandbox: TheSandbox) -> dict[str, Any]:
    """Send what was collected, one after the other; answers when each was tried once."""
    body = await request.body()
    wish = _decoded(body, Release) if body else Release()
    return {"released": await sandbox.sender.release(wish.order)}


@post("/webhooks/secret", status_code=204)
async def roll_secret(request: AnyRequest, sandbox: TheSandbox) -> None:
    wish = _decoded(await request.body(), NewSecret)
    sandbox.sender.roll_secret(wish.secret, keep_old_s=wish.keep_old_s)


HANDLERS = [
    add_faults, list_faults, clear_faults, show_state, reset, change_clock, pay, open_dispute, close_dispute,
    warn_of_fraud, resend, hold, release, roll_secret,
]  # fmt: skip


def _decoded(body: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as error:
        raise invalid(str(error)) from error


def _waiting_faults(sandbox: Sandbox) -> list[Any]:
    return [msgspec.to_builtins(fault) for fault in sandbox.faults.waiting]


def _delivery_state(event: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": event["id"],
        "type": event["type"],
        "created": event["created"],
        "object": event["data"]["object"].get("id"),
        "pending_webhooks": event["pending_webhooks"],
        "deliveries": event["_deliveries"],
    }
