"""Signatures of webhooks, compared with two implementations that are not ours; and their bodies."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import standardwebhooks
from replicate.webhook import Webhooks, WebhookSigningSecret

from visiona.adapters.replicate import InvalidSignature, UnreadableWebhook, read_webhook, verify_webhook
from visiona.ports.remote import RemoteState

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NOW = datetime.fromtimestamp(1614265330, UTC)
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
HEADERS = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": "1614265330",
    "webhook-signature": SIGNATURE,
}
OTHER = "v1," + "A" * 43 + "="


def test_the_published_vector() -> None:
    assert verify_webhook([SECRET], HEADERS, BODY, NOW) == HEADERS["webhook-id"]


def test_what_two_other_implementations_sign_is_accepted() -> None:
    now = datetime.now(UTC)
    body = '{"id": "ü", "logs": "50%|█"}'
    signature = standardwebhooks.Webhook(SECRET).sign("msg_1", now, body)
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": signature,
    }

    assert verify_webhook([SECRET], headers, body.encode(), now) == "msg_1"
    Webhooks.validate(headers=headers, body=body, secret=WebhookSigningSecret(key=SECRET))
    tampered = body + " "
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(SECRET).verify(tampered, headers)
    with pytest.raises(InvalidSignature):
        verify_webhook([SECRET], headers, tampered.encode(), now)


@pytest.mark.parametrize("name", ["Webhook-Id", "WEBHOOK-ID"])
def test_header_names_are_read_in_any_case(name: str) -> None:
    headers = {key: value for key, value in HEADERS.items() if key != "webhook-id"}

    assert verify_webhook([SECRET], headers | {name: HEADERS["webhook-id"]}, BODY, NOW)


@pytest.mark.parametrize(
    "signature",
    [
        f"{SIGNATURE} {OTHER}",
        f"{OTHER} {SIGNATURE}",
        f"v1a,xyz v2,abc junk  {SIGNATURE}",
        " ".join([OTHER] * 15 + [SIGNATURE]),
    ],
)
def test_one_matching_signature_among_several_is_enough(signature: str) -> None:
    assert verify_webhook([SECRET], HEADERS | {"webhook-signature": signature}, BODY, NOW)


@pytest.mark.parametrize("seconds", [-300, -1, 0, 1, 300])
def test_a_clock_that_differs_a_little_is_accepted(seconds: int) -> None:
    assert verify_webhook([SECRET], HEADERS, BODY, NOW + timedelta(seconds=seconds))


@pytest.mark.parametrize("seconds", [-86400, -301, 301, 86400])
def test_an_old_or_future_timestamp_is_refused(seconds: int) -> None:
    with pytest.raises(InvalidSignature, match="tolerance"):
        verify_webhook([SECRET], HEADERS, BODY, NOW + timedelta(seconds=seconds))


@pytest.mark.parametrize(
    "changes",
    [
        {"webhook-id": ""},
        {"webhook-id": "msg_other"},
        {"webhook-id": "msg\n1"},
        {"webhook-id": "a" * 257},
        {"webhook-timestamp": ""},
        {"webhook-timestamp": "1614265331"},
        {"webhook-timestamp": "1614265330.0"},
        {"webhook-timestamp": " 1614265330"},
        {"webhook-timestamp": "+1614265330"},
        {"webhook-timestamp": "-1614265330"},
        {"webhook-timestamp": "1_614_265_330"},
        {"webhook-timestamp": "١٦١٤٢٦٥٣٣٠"},
        {"webhook-timestamp": "nan"},
        {"webhook-timestamp": "9" * 5000},
        {"webhook-signature": ""},
        {"webhook-signature": " "},
        {"webhook-signature": "v1,"},
        {"webhook-signature": "v1"},
        {"webhook-signature": SIGNATURE[3:]},
        {"webhook-signature": "v2," + SIGNATURE[3:]},
        {"webhook-signature": SIGNATURE.lower()},
        {"webhook-signature": SIGNATURE[:-1]},
        {"webhook-signature": SIGNATURE.replace(",", ", ")},
        {"webhook-signature": "v1,ü"},
        {"webhook-signature": "v1,\ud800"},
        {"webhook-signature": OTHER},
        {"webhook-signature": " ".join([OTHER] * 16 + [SIGNATURE])},
    ],
)
def test_a_changed_header_is_refused(changes: dict[str, str]) -> None:
    with pytest.raises(InvalidSignature):
        verify_webhook([SECRET], HEADERS | changes, BODY, NOW)


@pytest.mark.parametrize("missing", HEADERS)
def test_a_missing_header_is_refused(missing: str) -> None:
    with pytest.raises(InvalidSignature):
        verify_webhook([SECRET], {k: v for k, v in HEADERS.items() if k != missing}, BODY, NOW)


@pytest.mark.parametrize("body", [b"", b'{"test":2432232314}', BODY + b"\n", b"\xff\xfe"])
def test_a_changed_body_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidSignature, match="no matching signature"):
        verify_webhook([SECRET], HEADERS, body, NOW)


def test_another_secret_is_refused() -> None:
    with pytest.raises(InvalidSignature):
        verify_webhook(["whsec_" + "A" * 32], HEADERS, BODY, NOW)


@pytest.mark.parametrize(
    ("job", "kind"),
    [
        ({"input": {"input_images": "https://x.test/a.zip", "steps": 5}, "output": None}, "training"),
        ({"input": {}, "output": {"version": "a/b:c", "weights": "https://x.test/w.tar"}}, "training"),
        ({"input": {"prompt": "a wizard"}, "output": ["https://x.test/out-0.webp"]}, "prediction"),
        ({"input": {"prompt": "a wizard"}, "output": None}, "prediction"),
        ({}, "prediction"),
    ],
)
def test_what_a_webhook_is_about(job: dict[str, Any], kind: str) -> None:
    notice = read_webhook(json.dumps({"id": "abc", "status": "aborted"} | job).encode())

    assert (notice.remote_id, notice.kind, notice.state) == ("abc", kind, RemoteState.CANCELED)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"id": 5, "status": "x"}', b'{"id": "../x", "status": "x"}', b"\xff"]
)
def test_a_body_about_nothing_we_know_is_unreadable(body: bytes) -> None:
    with pytest.raises(UnreadableWebhook):
        read_webhook(body)
