"""Clerk's webhooks, which Svix delivers: is this one genuine, and whom is it about?

Of an event only ids are read: what it says about a person is stale by the time it arrives, and events
come in any order, so the person is asked for again.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import msgspec

from visiona.adapters.clerk.answers import usable_session_id, usable_subject
from visiona.adapters.standard_webhooks import verify_signature

_TYPE = re.compile(r"[A-Za-z][A-Za-z0-9_.]{0,99}")


class UnreadableWebhook(Exception):
    """Genuine, but not an event as this adapter knows them."""


@dataclass(frozen=True, slots=True)
class EventNotice:
    """What an event is about. `topic` is `user` where somebody's account was made, changed or deleted,
    `session` where a session began or ended, `other` for all that Visiona has no use for.

    `subject` is there for the first two, `session_id` for the second.
    """

    type: str
    topic: Literal["user", "session", "other"]
    subject: str | None
    session_id: str | None


class _Event(msgspec.Struct):
    object: str
    type: str
    data: dict[str, Any]


def verify_webhook(secrets: Sequence[str], headers: Mapping[str, str], body: bytes, now: datetime) -> str:
    """The message's id, which is the same when it is sent again. Raises `InvalidSignature`.

    The headers are named `svix-...`, or `webhook-...` where the operator has chosen so at Clerk; the two
    are never mixed.
    """
    branded = any(name.lower() == "svix-id" for name in headers)
    return verify_signature(secrets, headers, body, now, prefix="svix" if branded else "webhook")


def read_event(body: bytes) -> EventNotice:
    """What a verified webhook is about. Raises `UnreadableWebhook`."""
    try:
        event = msgspec.json.decode(body, type=_Event)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise UnreadableWebhook("not an event with its data") from error
    if event.object != "event" or not _TYPE.fullmatch(event.type):
        raise UnreadableWebhook("not an event with a usable type")
    match event.type.partition(".")[0]:
        case "user":
            return EventNotice(event.type, "user", _subject(event.data, "id"), None)
        case "session":
            return EventNotice(
                event.type, "session", _subject(event.data, "user_id"), _session_id(event.data)
            )
        case _:
            return EventNotice(event.type, "other", None, None)


def _subject(data: dict[str, Any], name: str) -> str:
    value = data.get(name)
    if not isinstance(value, str) or not usable_subject(value):
        raise UnreadableWebhook("an event about nobody")
    return value


def _session_id(data: dict[str, Any]) -> str:
    value = data.get("id")
    if not isinstance(value, str) or not usable_session_id(value):
        raise UnreadableWebhook("an event about no session")
    return value
