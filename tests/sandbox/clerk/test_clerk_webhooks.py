"""Webhooks as Svix sends them, and all that may go wrong with them."""

import base64
from typing import Any

import pytest
from svix.webhooks import Webhook, WebhookVerificationError
from tests.sandbox.clerk.conftest import PASSWORD, WEBHOOK_SECRET, Received

pytestmark = pytest.mark.contract

OTHER_SECRET = "whsec_" + base64.b64encode(b"another secret of 24 byte").decode()


def genuine(received: Received, secret: str = WEBHOOK_SECRET) -> bool:
    try:
        Webhook(secret).verify(received.body, received.headers)
    except WebhookVerificationError:
        return False
    return True


def test_every_event_is_signed_and_shaped_as_documented(
    hooked: Any, receiver: Any, specification: Any
) -> None:
    user = hooked.user("told", external_id="ours")
    sessions = [hooked.session(user["id"]) for _ in range(2)]
    hooked.api.patch(f"/users/{user['id']}", json={"first_name": "Told"})
    hooked.api.post(f"/sessions/{sessions[0]['id']}/revoke")
    ticket = hooked.api.post("/sign_in_tokens", json={"user_id": user["id"]}).json()["token"]
    for act in ("end", "remove"):
        form = {"identifier": "told@example.com", "password": PASSWORD}
        if act == "end":
            form = {"strategy": "ticket", "ticket": ticket}
        answer = hooked.raw.post(
            "/v1/client/sign_ins", params={"_is_native": "1"}, data=form, headers={"authorization": ""}
        )
        session_id = answer.json()["response"]["created_session_id"]
        headers = {"authorization": answer.headers["authorization"]}
        hooked.raw.post(
            f"/v1/client/sessions/{session_id}/{act}", params={"_is_native": "1"}, headers=headers
        )
    hooked.api.delete(f"/users/{user['id']}")
    hooked.settle()
    assert set(receiver.types()) == {
        "user.created", "user.updated", "user.deleted",
        "session.created", "session.revoked", "session.ended", "session.removed",
    }  # fmt: skip
    instance = hooked.raw.get("/_sandbox/keys").json()["instance_id"]
    for received in receiver.received:
        assert genuine(received)
        assert received.headers["x-visiona-sandbox"] == "clerk"
        body = received.json
        assert set(body) == {"data", "event_attributes", "instance_id", "object", "timestamp", "type"}
        assert (body["object"], body["instance_id"]) == ("event", instance)
        assert body["event_attributes"]["http_request"]["client_ip"] == "127.0.0.1"
        assert body["timestamp"] > 10**12
        if specification is not None:
            specification.check_webhook(body)
    (deleted,) = receiver.of("user.deleted")
    gone = {"object": "user", "id": user["id"], "deleted": True, "external_id": "ours"}
    assert deleted.json["data"] == gone
    (created,) = receiver.of("user.created")
    assert created.json["data"] == user
    (revoked,) = receiver.of("session.revoked")
    assert revoked.json["data"]["status"] == "revoked"
    assert revoked.json["data"]["user"]["id"] == user["id"]


def test_updates_can_be_ordered_by_their_time(hooked: Any, receiver: Any) -> None:
    user = hooked.user("ordered")
    for number in range(5):
        hooked.api.patch(f"/users/{user['id']}", json={"first_name": str(number)})
    hooked.settle()
    updates = [one.json["data"] for one in receiver.of("user.updated")]
    ordered = sorted(updates, key=lambda data: data["updated_at"])
    assert [data["first_name"] for data in ordered] == ["0", "1", "2", "3", "4"]
    assert len({data["updated_at"] for data in updates}) == 5


def test_failures_are_tried_again_under_the_same_id(run_clerk: Any, tmp_path: Any, receiver: Any) -> None:
    with run_clerk(tmp_path, webhook_url=receiver.url, webhook_retry_scale=0.0005) as server:
        receiver.answers = [500, 302, 404]
        server.user("again")
        server.settle()
        assert [one.type for one in receiver.received] == ["user.created"] * 4
        assert len({one.headers["svix-id"] for one in receiver.received}) == 1
        (event,) = server.state()["events"]
        assert [attempt["answer"] for attempt in event["attempts"]] == [500, 302, 404, 200]
        pauses = [
            after.at - before.at
            for before, after in zip(receiver.received, receiver.received[1:], strict=False)
        ]
        assert pauses[0] < pauses[1] < pauses[2]


def test_an_endpoint_that_stays_away_is_given_up(run_clerk: Any, tmp_path: Any, receiver: Any) -> None:
    with run_clerk(tmp_path, webhook_url=receiver.url, webhook_retry_scale=1e-6) as server:
        receiver.answers = [500] * 20
        server.user("given-up")
        server.settle()
        (event,) = server.state()["events"]
        assert (event["status"], len(event["attempts"])) == ("failed", 8)


def test_webhooks_are_lost_doubled_and_late(hooked: Any, receiver: Any) -> None:
    hooked.fault("drop_webhooks")
    hooked.user("lost")
    hooked.settle()
    assert receiver.received == []
    hooked.fault("duplicate_webhooks", copies=2)
    hooked.user("doubled")
    hooked.settle()
    assert len(receiver.received) == 3
    assert len({one.headers["svix-id"] for one in receiver.received}) == 1
    hooked.fault("delay_webhooks", seconds=0.4, events=["user.created"])
    late = hooked.user("late")
    hooked.api.patch(f"/users/{late['id']}", json={"first_name": "Early"})
    hooked.settle()
    assert receiver.types()[3:] == ["user.updated", "user.created"]


def test_webhooks_are_forged_and_stale(hooked: Any, receiver: Any) -> None:
    hooked.fault("forge_webhooks")
    hooked.user("forged")
    hooked.settle()
    hooked.fault("stale_webhooks", seconds=301)
    hooked.user("stale")
    hooked.settle()
    assert [genuine(one) for one in receiver.received] == [False, False]
    hooked.user("good")
    hooked.settle()
    assert genuine(receiver.received[2])


def test_webhooks_are_held_and_released_in_any_order(hooked: Any, receiver: Any) -> None:
    hooked.control("webhooks/hold")
    user = hooked.user("held")
    hooked.api.patch(f"/users/{user['id']}", json={"first_name": "Held"})
    hooked.api.delete(f"/users/{user['id']}")
    assert len(hooked.state()["held"]) == 3
    released = hooked.control("webhooks/release", order="reversed")["released"]
    assert receiver.types() == ["user.deleted", "user.updated", "user.created"]
    assert [one.headers["svix-id"] for one in receiver.received] == released
    again = hooked.control(f"webhooks/{released[1]}/resend")
    assert (again["status"], len(again["attempts"])) == ("delivered", 2)
    assert receiver.types()[3:] == ["user.updated"]
    assert hooked.raw.post("/_sandbox/webhooks/msg_none/resend").status_code == 404


def test_a_secret_is_rolled_with_an_overlap(hooked: Any, receiver: Any) -> None:
    hooked.control("webhooks/secret", secret=OTHER_SECRET, keep_old_s=60)
    hooked.user("overlap")
    hooked.settle()
    hooked.control("clock", advance_s=61)
    hooked.user("afterwards")
    hooked.settle()
    first, second = receiver.received
    assert len(first.headers["svix-signature"].split()) == 2
    assert genuine(first)
    assert genuine(first, OTHER_SECRET)
    assert not genuine(second)
    assert genuine(second, OTHER_SECRET)


def test_an_endpoint_is_named_later(run_clerk: Any, tmp_path: Any, receiver: Any) -> None:
    with run_clerk(tmp_path) as server:
        server.user("before")
        assert (
            server.raw.post("/_sandbox/webhooks/endpoint", json={"url": "https://example.com"}).status_code
            == 400
        )
        server.control("webhooks/endpoint", url=receiver.url)
        after = server.user("after")
        server.settle()
    assert [one.json["data"]["id"] for one in receiver.received] == [after["id"]]


def test_webhooks_that_were_not_delivered_go_on_after_a_restart(
    run_clerk: Any, tmp_path: Any, receiver: Any
) -> None:
    with run_clerk(tmp_path, webhook_url=receiver.url) as server:
        server.control("webhooks/hold")
        user = server.user("night")
    assert receiver.received == []
    with run_clerk(tmp_path, webhook_url=receiver.url) as server:
        server.settle()
    assert [one.json["data"]["id"] for one in receiver.received] == [user["id"]]
