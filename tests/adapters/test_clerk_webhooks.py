"""Svix signatures, compared with the official library in both directions; and what events are about."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from svix.webhooks import Webhook, WebhookVerificationError

from visiona.adapters.clerk import (
    InvalidSignature,
    UnreadableWebhook,
    read_event,
    signing_key,
    verify_webhook,
)

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_" + "A" * 32
EVENT = {
    "data": {"id": "user_1", "object": "user", "updated_at": 1_700_000_000_000, "first_name": "Zoë"},
    "object": "event",
    "type": "user.updated",
    "timestamp": 1_700_000_000_000,
    "instance_id": "ins_1",
    "event_attributes": {"http_request": {"client_ip": "", "user_agent": ""}},
}
BODY = json.dumps(EVENT, ensure_ascii=False).encode()


def now() -> datetime:
    """The library reads the system clock, so both are given the same."""
    return datetime.now(UTC).replace(microsecond=0)


def signed(
    moment: datetime, body: bytes = BODY, secret: str = SECRET, prefix: str = "svix"
) -> dict[str, str]:
    return {
        f"{prefix}-id": "msg_1",
        f"{prefix}-timestamp": str(int(moment.timestamp())),
        f"{prefix}-signature": Webhook(secret).sign("msg_1", moment, body.decode()),
    }


def both(headers: dict[str, str], body: bytes = BODY, secret: str = SECRET) -> list[bool]:
    """Whether we accept it, and whether the official library does."""
    found: list[bool] = []
    try:
        verify_webhook([secret], headers, body, now())
        found.append(True)
    except InvalidSignature:
        found.append(False)
    try:
        Webhook(secret).verify(body, headers)
        found.append(True)
    except (WebhookVerificationError, UnicodeDecodeError):
        found.append(False)
    return found


@pytest.mark.parametrize("prefix", ["svix", "webhook", "Svix", "SVIX"])
def test_what_the_official_library_signs_is_accepted(prefix: str) -> None:
    headers = signed(now(), prefix=prefix)

    assert verify_webhook([SECRET], headers, BODY, now()) == "msg_1"
    assert both(headers) == [True, True]


def test_what_is_accepted_here_the_official_library_accepts() -> None:
    several = signed(now())
    several["svix-signature"] = f"v1a,x v1,{'A' * 43}= {several['svix-signature']}"

    for age in (-290, -1, 0, 1, 290):
        assert both(signed(now() + timedelta(seconds=age))) == [True, True]
    assert both(several) == [True, True]


@pytest.mark.parametrize("age", [-86_400, -302, 302, 86_400])
def test_old_and_future_messages_are_refused(age: int) -> None:
    assert both(signed(now() + timedelta(seconds=age))) == [False, False]


@pytest.mark.parametrize(
    "body",
    [
        BODY.replace(b"user_1", b"user_2"),
        BODY + b"\n",
        b"",
        json.dumps(json.loads(BODY)).encode(),
        json.dumps(json.loads(BODY), separators=(",", ":"), ensure_ascii=False).encode(),
        b"\xff\xfe",
    ],
)
def test_an_altered_or_rewritten_body_is_refused(body: bytes) -> None:
    assert both(signed(now()), body) == [False, False]


def test_another_secret_is_refused() -> None:
    assert both(signed(now(), secret=OTHER)) == [False, False]


@pytest.mark.parametrize("missing", ["svix-id", "svix-timestamp", "svix-signature"])
def test_a_missing_header_is_refused(missing: str) -> None:
    assert both({name: value for name, value in signed(now()).items() if name != missing}) == [False, False]


@pytest.mark.parametrize(
    "changes",
    [
        {"svix-id": "msg_2"},
        {"svix-timestamp": "1"},
        {"svix-timestamp": "soon"},
        {"svix-signature": ""},
        {"svix-signature": "v1,"},
        {"svix-signature": "v2," + "A" * 43 + "="},
    ],
)
def test_a_changed_header_is_refused(changes: dict[str, str]) -> None:
    assert both(signed(now()) | changes) == [False, False]


def test_the_two_sets_of_headers_are_never_mixed() -> None:
    good = signed(now())
    mixed = {"svix-id": "msg_1"} | {name.replace("svix", "webhook"): value for name, value in good.items()}

    with pytest.raises(InvalidSignature):
        verify_webhook([SECRET], mixed, BODY, now())


def test_a_secret_that_is_being_rolled_has_a_successor() -> None:
    for secret in (SECRET, OTHER):
        headers = signed(now(), secret=secret)
        assert verify_webhook([SECRET, OTHER], headers, BODY, now()) == "msg_1"
        assert verify_webhook([OTHER, SECRET], headers, BODY, now()) == "msg_1"
    with pytest.raises(InvalidSignature):
        verify_webhook([], signed(now()), BODY, now())


def test_a_message_that_is_sent_again_has_the_same_id() -> None:
    first, again = signed(now()), signed(now() - timedelta(seconds=60))

    assert verify_webhook([SECRET], first, BODY, now()) == verify_webhook([SECRET], again, BODY, now())


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_!!", "ü"])
def test_a_secret_of_another_form_is_known_at_once(secret: str) -> None:
    with pytest.raises(ValueError, match="whsec_"):
        signing_key(secret)


def event(kind: str, data: Any) -> bytes:
    return json.dumps(EVENT | {"type": kind, "data": data}).encode()


SESSION = {
    "object": "session",
    "id": "sess_1",
    "user_id": "user_1",
    "status": "ended",
    "client_id": "client_1",
}


@pytest.mark.parametrize(
    ("kind", "data", "expected"),
    [
        ("user.created", EVENT["data"], ("user", "user_1", None)),
        ("user.updated", EVENT["data"], ("user", "user_1", None)),
        ("user.deleted", {"object": "user", "id": "user_1", "deleted": True}, ("user", "user_1", None)),
        ("session.created", SESSION, ("session", "user_1", "sess_1")),
        ("session.ended", SESSION, ("session", "user_1", "sess_1")),
        ("session.removed", SESSION, ("session", "user_1", "sess_1")),
        ("session.revoked", SESSION, ("session", "user_1", "sess_1")),
        ("session.pending", SESSION, ("session", "user_1", "sess_1")),
        ("email.created", {"id": "ema_1", "user_id": "user_1"}, ("other", None, None)),
        ("organizationMembership.created", {"id": 5}, ("other", None, None)),
        ("waitlistEntry.created", {}, ("other", None, None)),
        ("username.created", {"id": "user_1"}, ("other", None, None)),
    ],
)
def test_what_an_event_is_about(kind: str, data: Any, expected: tuple[Any, ...]) -> None:
    notice = read_event(event(kind, data))

    assert (notice.topic, notice.subject, notice.session_id) == expected
    assert notice.type == kind


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b'{"data":' + b"[" * 100_000,
        json.dumps(EVENT | {"object": "thin"}).encode(),
        json.dumps(EVENT | {"type": "user updated"}).encode(),
        json.dumps(EVENT | {"type": 5}).encode(),
        event("user.updated", {}),
        event("user.updated", {"id": "../x"}),
        event("user.updated", {"id": 5}),
        event("user.updated", []),
        event("session.ended", {"id": "sess_1"}),
        event("session.ended", {"user_id": "user_1"}),
        event("session.ended", {"id": "sess_../x", "user_id": "user_1"}),
    ],
)
def test_an_event_about_nothing_we_know_is_unreadable(body: bytes) -> None:
    with pytest.raises(UnreadableWebhook):
        read_event(body)
