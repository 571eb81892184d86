"""Webhooks: signatures that others accept, events, retries, and what can go wrong with them."""

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from replicate.webhook import (
    InvalidSignatureError,
    InvalidTimestampError,
    Webhooks,
    WebhookSigningSecret,
)
from standardwebhooks import Webhook, WebhookVerificationError

from visiona.sandbox.replicate.signing import sign_webhook

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ALL = ["start", "output", "logs", "completed"]


def test_published_test_vector() -> None:
    signature = sign_webhook(SECRET, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def watched(sandbox: Any, version: str, receiver: Any, events: list[str] | None = None, **inputs: Any) -> str:
    body: dict[str, Any] = {"webhook": receiver.url}
    if events is not None:
        body["webhook_events_filter"] = events
    return sandbox.predict(version, body=body, **inputs)["id"]


def settle(sandbox: Any, receiver: Any, count: int) -> list[Any]:
    """Wait for `count` webhooks, and see that no more come."""
    wait_until(lambda: len(receiver.received) >= count)
    sandbox.clock(advance_s=120)
    time.sleep(0.15)
    assert len(receiver.received) == count
    return receiver.received


def wait_until(condition: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def validate(message: Any, tolerance: int = 300, secret: str = SECRET) -> None:
    Webhooks.validate(
        headers=message.headers,
        body=message.body.decode(),
        secret=WebhookSigningSecret(key=secret),
        tolerance=tolerance,
    )


def test_official_validators_accept_the_signature(sandbox: Any, trained: str, receiver: Any) -> None:
    secret = sandbox.api.get("/webhooks/default/secret").json()["key"]
    watched(sandbox, trained, receiver, ["completed"])
    (message,) = settle(sandbox, receiver, 1)
    validate(message, secret=secret)
    Webhook(secret).verify(message.body, message.headers)
    tampered = message.body.replace(b"succeeded", b"canceled_")
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(tampered, message.headers)


def test_body_is_the_object_as_get_shows_it(
    sandbox: Any, trained: str, receiver: Any, specification: Any
) -> None:
    job = watched(sandbox, trained, receiver, ["completed"])
    (message,) = settle(sandbox, receiver, 1)
    sent = message.json
    assert sent.pop("webhook") == receiver.url
    assert sent.pop("webhook_events_filter") == ["completed"]
    assert sent == sandbox.api.get(f"/predictions/{job}").json()
    if specification is not None:
        specification.check(sent, "components", "schemas", "schemas_prediction_response")


def test_default_is_output_and_completed(sandbox: Any, trained: str, receiver: Any) -> None:
    watched(sandbox, trained, receiver)
    first, last = settle(sandbox, receiver, 2)
    assert (first.json["status"], len(first.json["output"])) == ("processing", 1)
    assert last.json["status"] == "succeeded"


@pytest.mark.parametrize(
    ("events", "statuses"),
    [
        (["start"], ["processing"]),
        (["completed"], ["succeeded"]),
        (["start", "completed"], ["processing", "succeeded"]),
    ],
)
def test_filter(sandbox: Any, trained: str, receiver: Any, events: list[str], statuses: list[str]) -> None:
    watched(sandbox, trained, receiver, events)
    settle(sandbox, receiver, len(statuses))
    assert receiver.statuses() == statuses


def test_logs_come_at_most_once_in_half_a_second(
    run_sandbox: Any, tmp_path: Any, photos: bytes, receiver: Any
) -> None:
    with run_sandbox(tmp_path, generation_seconds=1.8) as server:
        server.create_model("logs")
        version = server.train(photos, "logs")["output"]["version"].partition(":")[2]
        watched(server, version, receiver, ["logs", "completed"])
        wait_until(lambda: "succeeded" in receiver.statuses())
    *logs, last = receiver.received
    assert last.json["status"] == "succeeded"
    started, ended = (datetime.fromisoformat(last.json[name]) for name in ("started_at", "completed_at"))
    assert 2 <= len(logs) <= (ended - started).total_seconds() / 0.5 + 1
    lengths = [len(message.json["logs"]) for message in logs]
    assert lengths == sorted(set(lengths))


def test_terminal_webhook_is_retried_for_a_minute(sandbox: Any, trained: str, receiver: Any) -> None:
    receiver.answers = [500, 404, 301, 503, 400, 500, 500, 500]
    job = watched(sandbox, trained, receiver, ["completed"])

    def attempts() -> list[dict[str, Any]]:
        (delivery,) = [one for one in sandbox.state()["webhooks"] if one["job"] == job]
        return [attempt for attempt in delivery["attempts"] if "answer" in attempt]

    wait_until(lambda: len(receiver.received) == 1)
    sandbox.clock(scale=0.0)
    for number, pause in enumerate((2, 4, 8, 16, 30), start=1):
        wait_until(lambda number=number: len(attempts()) == number)
        sandbox.clock(advance_s=pause - 1.9)
        time.sleep(0.05)
        assert len(receiver.received) == number
        sandbox.clock(advance_s=1.9)
        wait_until(lambda number=number: len(receiver.received) == number + 1)
    settle(sandbox, receiver, 6)
    assert [attempt["answer"] for attempt in attempts()] == [500, 404, 301, 503, 400, 500]
    assert len({message.headers["webhook-id"] for message in receiver.received}) == 1


def test_retries_stop_at_the_first_success(sandbox: Any, trained: str, receiver: Any) -> None:
    receiver.answers = [500, 204]
    watched(sandbox, trained, receiver, ["completed"])
    wait_until(lambda: len(receiver.received) == 1)
    sandbox.clock(advance_s=3)
    settle(sandbox, receiver, 2)


def test_intermediate_webhooks_are_not_retried(sandbox: Any, trained: str, receiver: Any) -> None:
    receiver.answers = [500, 500]
    watched(sandbox, trained, receiver, ["start", "output", "completed"])
    settle(sandbox, receiver, 3)
    assert receiver.statuses() == ["processing", "processing", "succeeded"]


def test_redirects_are_not_followed(sandbox: Any, trained: str, receiver: Any) -> None:
    receiver.answers = [307]
    watched(sandbox, trained, receiver, ["start"])
    settle(sandbox, receiver, 1)


@pytest.mark.usefixtures("trained")
def test_training_sends_webhooks(sandbox: Any, photos: bytes, receiver: Any) -> None:
    url = sandbox.upload(photos)["urls"]["get"]
    trainer = sandbox.api.get("/models/ostris/flux-dev-lora-trainer").json()["latest_version"]["id"]
    body = {
        "destination": "visiona-sandbox/trained",
        "input": {"input_images": url},
        "webhook": receiver.url,
        "webhook_events_filter": ["start", "completed"],
    }
    sandbox.api.post(f"/models/ostris/flux-dev-lora-trainer/versions/{trainer}/trainings", json=body)
    _, last = settle(sandbox, receiver, 2)
    assert last.json["output"]["version"].startswith("visiona-sandbox/trained:")


def test_dropped(sandbox: Any, trained: str, receiver: Any) -> None:
    sandbox.fault(kind="drop_webhooks", times=1, events=["completed"])
    job = watched(sandbox, trained, receiver, ["start", "completed"])
    assert sandbox.finished(f"/predictions/{job}")["status"] == "succeeded"
    settle(sandbox, receiver, 1)
    assert receiver.statuses() == ["processing"]


def test_all_dropped_until_told_otherwise(sandbox: Any, trained: str, receiver: Any) -> None:
    sandbox.fault(kind="drop_webhooks", times=None)
    for _ in range(2):
        sandbox.finished(f"/predictions/{watched(sandbox, trained, receiver, ALL)}")
    settle(sandbox, receiver, 0)
    sandbox.raw.delete("/_sandbox/faults")
    watched(sandbox, trained, receiver, ["completed"])
    settle(sandbox, receiver, 1)


def test_duplicated(sandbox: Any, trained: str, receiver: Any) -> None:
    sandbox.fault(kind="duplicate_webhooks", copies=2)
    watched(sandbox, trained, receiver, ["completed"])
    messages = settle(sandbox, receiver, 3)
    assert len({message.headers["webhook-id"] for message in messages}) == 1


def test_out_of_order(sandbox: Any, trained: str, receiver: Any) -> None:
    sandbox.fault(kind="reorder_webhooks", times=None)
    watched(sandbox, trained, receiver, ["start", "output", "completed"])
    settle(sandbox, receiver, 3)
    assert receiver.statuses() == ["succeeded", "processing", "processing"]


def test_delayed(sandbox: Any, trained: str, receiver: Any) -> None:
    sandbox.fault(kind="delay_webhooks", seconds=600)
    job = watched(sandbox, trained, receiver, ["completed"])
    sandbox.finished(f"/predictions/{job}")
    settle(sandbox, receiver, 0)
    sandbox.clock(advance_s=500)
    settle(sandbox, receiver, 1)


def test_stale_timestamp(sandbox: Any, trained: str, receiver: Any) -> None:
    sandbox.fault(kind="stale_webhooks", seconds=900)
    watched(sandbox, trained, receiver, ["completed"])
    (message,) = settle(sandbox, receiver, 1)
    validate(message, tolerance=1000)
    with pytest.raises(InvalidTimestampError):
        validate(message)


def test_forged(sandbox: Any, trained: str, receiver: Any) -> None:
    sandbox.fault(kind="forge_webhooks")
    watched(sandbox, trained, receiver, ["completed"])
    (message,) = settle(sandbox, receiver, 1)
    with pytest.raises(InvalidSignatureError):
        validate(message)


def test_rotated_secret(sandbox: Any, trained: str, receiver: Any) -> None:
    sandbox.fault(kind="rotate_webhook_secret")
    fresh = sandbox.api.get("/webhooks/default/secret").json()["key"]
    assert fresh != SECRET
    watched(sandbox, trained, receiver, ["completed"])
    (message,) = settle(sandbox, receiver, 1)
    validate(message, secret=fresh)
    with pytest.raises(InvalidSignatureError):
        validate(message)


def test_nobody_listens(sandbox: Any, trained: str) -> None:
    body = {"webhook": "http://127.0.0.1:9/hook", "webhook_events_filter": ["completed"]}
    made = sandbox.predict(trained, body=body)
    assert sandbox.finished(f"/predictions/{made['id']}")["status"] == "succeeded"
    wait_until(
        lambda: any(one["job"] == made["id"] and one["attempts"] for one in sandbox.state()["webhooks"])
    )
    (delivery,) = [one for one in sandbox.state()["webhooks"] if one["job"] == made["id"]]
    assert delivery["attempts"][0]["error"] == "ConnectError"
