"""Stripe's webhooks: is this one genuine, and whose account is it about?

The signature is checked here rather than by the SDK because that one reads the system clock itself
and accepts timestamps from the future; the tests compare the two. Of an event only ids are read: what
it says about money is stale by the time it arrives, and is asked for again.
"""

import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

PINNED_VERSION = "2026-10-28.endive"
"""The API version that the SDK speaks: webhook endpoints are made with the same one."""

EVENTS = (
    "charge.dispute.closed",
    "charge.dispute.created",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.updated",
    "charge.refunded",
    "checkout.session.async_payment_failed",
    "checkout.session.async_payment_succeeded",
    "checkout.session.completed",
    "checkout.session.expired",
    "customer.deleted",
    "customer.subscription.created",
    "customer.subscription.deleted",
    "customer.subscription.paused",
    "customer.subscription.pending_update_applied",
    "customer.subscription.pending_update_expired",
    "customer.subscription.resumed",
    "customer.subscription.trial_will_end",
    "customer.subscription.updated",
    "customer.updated",
    "invoice.finalization_failed",
    "invoice.marked_uncollectible",
    "invoice.paid",
    "invoice.payment_action_required",
    "invoice.payment_failed",
    "invoice.upcoming",
    "invoice.voided",
    "radar.early_fraud_warning.created",
    "refund.created",
    "refund.failed",
    "refund.updated",
)
"""What Visiona asks to be told. `invoice.payment_succeeded` is not here: `invoice.paid` says the same
and also covers what was paid outside Stripe.
"""

TOLERANCE_S = 300
"""How far a timestamp may lie in the past or in the future: beyond it, a replay or a broken clock."""

_MAX_ITEMS = 32
_MAX_HEADER = 8192
_TIMESTAMP = re.compile(r"[0-9]{1,12}")
_ID = re.compile(r"[!-~]{1,255}")
_TYPE = re.compile(r"[a-z0-9_.]{1,100}")


class InvalidSignature(Exception):
    """The request was not signed with one of these secrets, or not just now. The text says which, safely."""


class UnreadableWebhook(Exception):
    """Genuine, but not an event as this adapter knows them."""


@dataclass(frozen=True, slots=True)
class EventNotice:
    """What an event is about, in ids alone. `object_kind` is Stripe's name of the kind, such as
    `checkout.session`. `object_id` is None for what is not stored, as an upcoming invoice.
    `charge_id` is there where a dispute, refund or warning names no customer. `reference` is the
    subject that Visiona wrote on the object.
    """

    id: str
    type: str
    livemode: bool
    api_version: str | None
    object_id: str | None
    object_kind: str
    customer_id: str | None
    charge_id: str | None
    reference: str | None


class _Data(msgspec.Struct):
    object: dict[str, Any]


class _Event(msgspec.Struct):
    id: str
    object: str
    type: str
    livemode: bool
    data: _Data
    api_version: str | None = None


def verify_webhook(secrets: Sequence[str], header: str, body: bytes, now: datetime) -> None:
    """Raises `InvalidSignature`. `secrets` are the whole texts, `whsec_` included: while one is being
    rolled there are two. `body` is the request's raw bytes: parsing and writing JSON again would not
    give the same.
    """
    timestamp, signatures = _parts(header)
    if abs(now.timestamp() - int(timestamp)) > TOLERANCE_S:
        raise InvalidSignature("timestamp outside the tolerance")
    signed = f"{timestamp}.".encode() + body
    # An empty secret would be everybody's.
    keys = [secret.encode() for secret in secrets if secret.strip()]
    expected = [hmac.digest(key, signed, "sha256").hex().encode() for key in keys]
    matches = [hmac.compare_digest(one, given) for one in expected for given in signatures]
    if not any(matches):
        raise InvalidSignature("no matching signature")


def read_event(body: bytes) -> EventNotice:
    """What a verified webhook is about. Raises `UnreadableWebhook`."""
    try:
        event = msgspec.json.decode(body, type=_Event)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise UnreadableWebhook("not an event with its object") from error
    if event.object != "event":
        raise UnreadableWebhook("not a snapshot event; endpoints for thin events are of another kind")
    if not _ID.fullmatch(event.id) or not _TYPE.fullmatch(event.type):
        raise UnreadableWebhook("an event without a usable id or type")
    about = event.data.object
    kind = about.get("object")
    if not isinstance(kind, str) or not _TYPE.fullmatch(kind):
        raise UnreadableWebhook("an event about nothing")
    own_id = _id_in(about.get("id"))
    return EventNotice(
        id=event.id,
        type=event.type,
        livemode=event.livemode,
        api_version=event.api_version,
        object_id=own_id,
        object_kind=kind,
        customer_id=own_id if kind == "customer" else _id_in(about.get("customer")),
        charge_id=own_id if kind == "charge" else _id_in(about.get("charge")),
        reference=_reference_in(about),
    )


def _parts(header: str) -> tuple[str, list[bytes]]:
    """The timestamp and every v1 signature. Those of other schemes (v0 is for tests) do not count."""
    if len(header) > _MAX_HEADER:
        raise InvalidSignature("malformed signature header")
    items = [item.partition("=") for item in header.split(",", _MAX_ITEMS)[:_MAX_ITEMS]]
    timestamps = [value for name, _, value in items if name == "t"]
    signatures = [value.encode(errors="replace") for name, _, value in items if name == "v1"]
    if len(timestamps) != 1 or not _TIMESTAMP.fullmatch(timestamps[0]) or not signatures:
        raise InvalidSignature("malformed signature header")
    return timestamps[0], signatures


def _id_in(value: Any) -> str | None:
    """The id in a reference: bare, or inside the expanded object."""
    if isinstance(value, dict):
        value = msgspec.convert(value, dict[str, Any]).get("id")
    return value if isinstance(value, str) and _ID.fullmatch(value) else None


def _reference_in(about: dict[str, Any]) -> str | None:
    """From the object itself, or for an invoice from its subscription."""
    details = _child(_child(about, "parent"), "subscription_details")
    candidates = (
        about.get("client_reference_id"),
        _child(about, "metadata").get("visiona_user"),
        _child(details, "metadata").get("visiona_user"),
    )
    return next((one for one in map(_id_in, candidates) if one), None)


def _child(parent: dict[str, Any], name: str) -> dict[str, Any]:
    child = parent.get(name)
    return msgspec.convert(child, dict[str, Any]) if isinstance(child, dict) else {}
