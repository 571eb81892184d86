"""Delivery of events: signatures, order, retries, and what the sandbox can be told to do with them."""

import hashlib
import hmac
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import stripe

from visiona.sandbox.stripe.webhooks import sign

SECRET = "whsec_configured00000000000000000000"
EVENTS = ["customer.created", "customer.updated"]


def delivery_of(server: Any, object_id: str, event_type: str = "customer.created") -> dict[str, Any]:
    (event,) = [one for one in server.events(object_id) if one["type"] == event_type]
    (delivery,) = event["deliveries"]
    return delivery


def hold_all(server: Any, count: int) -> None:
    """Wait until so many deliveries are held back."""
    end = time.monotonic() + 10
    while len(server.state()["held"] or []) < count:
        assert time.monotonic() < end
        time.sleep(0.02)


def test_the_signature_is_stripes_own() -> None:
    expected = "c89214b5b5da833daed6f0b8c5bb6bd58cea9022bd80ccc78230f3942d632925"
    assert sign(["whsec_test"], 1700000000, b'{"id":"evt_1"}') == f"t=1700000000,v1={expected}"
    body = '{"name":"Zo\xeb"}'
    theirs = stripe.WebhookSignature.generate_signature_header(body, "whsec_x", 1700000000)
    assert sign(["whsec_x"], 1700000000, body.encode()) == theirs


def test_the_sdk_takes_an_event_as_it_was_sent(hooked: Any, receiver: Any) -> None:
    customer = hooked.customer(name="Zoë", metadata={"_mine": "yes"})
    receiver.wait(1)
    (got,) = receiver.received
    event = hooked.client.construct_event(got.body, got.signature, SECRET)
    assert (event.type, event.api_version, event.livemode) == ("customer.created", "2026-10-28.endive", False)
    assert event.data.object.id == customer.id
    assert event.data.object.metadata.to_dict() == {"_mine": "yes"}
    assert event.pending_webhooks == 1
    assert got.headers["content-type"] == "application/json; charset=utf-8"
    assert b'"_' not in got.body.replace(b'"_mine"', b"")
    with pytest.raises(stripe.SignatureVerificationError):
        hooked.client.construct_event(got.body + b" ", got.signature, SECRET)
    with pytest.raises(stripe.SignatureVerificationError):
        hooked.client.construct_event(got.body, got.signature, SECRET + "x")
    hooked.settle()
    assert hooked.client.v1.events.retrieve(event.id).pending_webhooks == 0


def test_events_of_one_action_come_in_no_order(hooked: Any, receiver: Any) -> None:
    orders = set[tuple[str, ...]]()
    for round_ in range(1, 13):
        hooked.price()
        receiver.wait(2 * round_)
        orders.add(tuple(receiver.types()[-2:]))
    assert orders == {("product.created", "price.created"), ("price.created", "product.created")}


def test_a_refusal_is_tried_again_until_it_is_taken(hooked: Any, receiver: Any) -> None:
    receiver.answers += [500, 404]
    customer = hooked.customer()
    receiver.wait(3)
    hooked.settle()
    delivery = delivery_of(hooked, customer.id)
    assert delivery["status"] == "delivered"
    assert [attempt["answer"] for attempt in delivery["attempts"]] == [500, 404, 200]
    assert len({one.json["id"] for one in receiver.received}) == 1
    pauses = [b.at - a.at for a, b in zip(receiver.received, receiver.received[1:], strict=False)]
    assert pauses[1] > pauses[0] > 0.9


def test_a_redirect_is_a_failure_and_not_followed(hooked: Any, receiver: Any) -> None:
    receiver.answers.append(302)
    customer = hooked.customer()
    receiver.wait(2)
    hooked.settle()
    assert [one["answer"] for one in delivery_of(hooked, customer.id)["attempts"]] == [302, 200]


def test_an_endpoint_that_is_gone_is_given_up_but_can_be_sent_to_again(
    run_stripe: Any, tmp_path: Path, receiver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("visiona.sandbox.stripe.webhooks.RETRY_PAUSES", (0.05, 0.1))
    receiver.answers += [503] * 3
    with run_stripe(tmp_path, webhook_url=receiver.url) as server:
        customer = server.customer()
        server.settle()
        delivery = delivery_of(server, customer.id)
        assert (delivery["status"], len(delivery["attempts"])) == ("failed", 3)
        listed = server.client.v1.events.list
        (lost,) = listed({"delivery_success": False, "type": "customer.created"}).data
        assert lost.pending_webhooks == 1
        answer = server.control(f"webhooks/{lost.id}/resend")
        assert answer["deliveries"][0]["status"] == "delivered"
        assert listed({"delivery_success": False}).data == []
        assert [one.id for one in listed({"delivery_success": True}).data] == [lost.id]
        assert [one.json["id"] for one in receiver.received] == [lost.id] * 4


def test_nobody_listening_is_a_failure(run_stripe: Any, tmp_path: Path) -> None:
    with run_stripe(tmp_path, webhook_url="http://127.0.0.1:1/hook") as server:
        customer = server.customer()
        end = time.monotonic() + 10
        while not delivery_of(server, customer.id)["attempts"]:
            assert time.monotonic() < end
            time.sleep(0.02)
        assert delivery_of(server, customer.id)["attempts"][0]["error"] == "ConnectError"
        assert delivery_of(server, customer.id)["status"] == "pending"


def test_endpoints_made_over_the_api_get_what_they_asked_for(sandbox: Any, receiver: Any) -> None:
    endpoints = sandbox.client.v1.webhook_endpoints
    made = endpoints.create(
        {
            "url": receiver.url,
            "enabled_events": EVENTS,
            "api_version": "2026-10-28.endive",
            "description": "tests",
        }
    )
    try:
        assert made.secret.startswith("whsec_")
        assert "secret" not in endpoints.retrieve(made.id)
        assert made.id in [one.id for one in endpoints.list().data]
        customer = sandbox.customer()
        sandbox.client.v1.products.create({"name": "unheard"})
        sandbox.client.v1.customers.update(customer.id, {"name": "New"})
        receiver.wait(2)
        sandbox.settle()
        assert sorted(receiver.types()) == EVENTS
        for got in receiver.received:
            sandbox.client.construct_event(got.body, got.signature, made.secret)

        endpoints.update(made.id, {"disabled": True})
        assert endpoints.retrieve(made.id).status == "disabled"
        sandbox.customer()
        endpoints.update(made.id, {"disabled": False, "enabled_events": ["*"]})
        sandbox.client.v1.products.create({"name": "heard"})
        receiver.wait(3)
        assert receiver.types()[2] == "product.created"
    finally:
        assert endpoints.delete(made.id).deleted
    with pytest.raises(stripe.InvalidRequestError):
        endpoints.retrieve(made.id)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"url": "https://example.com/hook"}, "url"),
        ({"url": "http://169.254.169.254/"}, "url"),
        ({"url": "ftp://127.0.0.1/"}, "url"),
        ({"url": "not an address"}, "url"),
        ({"enabled_events": ["customer.hatched"]}, "enabled_events[0]"),
        ({"enabled_events": ["*", "invoice.*"]}, "enabled_events[1]"),
        ({"api_version": "2025-03-31.basil"}, "api_version"),
    ],
)
def test_endpoints_are_checked(sandbox: Any, change: dict[str, Any], param: str) -> None:
    given: Any = {"url": "http://127.0.0.1:9/", "enabled_events": ["*"], **change}
    with pytest.raises(stripe.InvalidRequestError) as caught:
        sandbox.client.v1.webhook_endpoints.create(given)
    assert (caught.value.http_status, caught.value.param) == (400, param)


def test_dropped_webhooks_are_found_in_the_list_of_events(hooked: Any, receiver: Any) -> None:
    hooked.fault("drop_webhooks", events=["customer.*"])
    first, second = hooked.customer(), hooked.customer()
    hooked.settle()
    assert [one.json["data"]["object"]["id"] for one in receiver.received] == [second.id]
    (lost,) = hooked.client.v1.events.list({"delivery_success": False}).data
    assert lost.data.object.id == first.id


def test_duplicates_carry_the_same_event(hooked: Any, receiver: Any) -> None:
    hooked.fault("duplicate_webhooks", copies=2)
    hooked.customer()
    receiver.wait(3)
    hooked.settle()
    assert len({one.json["id"] for one in receiver.received}) == 1


def test_delayed_webhooks_come_late(hooked: Any, receiver: Any) -> None:
    hooked.fault("delay_webhooks", seconds=0.8)
    start = time.monotonic()
    hooked.customer()
    receiver.wait(1)
    assert receiver.received[0].at - start >= 0.8


def test_reordered_webhooks_come_newest_first(hooked: Any, receiver: Any) -> None:
    for _ in range(3):
        hooked.fault("reorder_webhooks")
        receiver.received.clear()
        product = {"name": "Pro", "default_price_data": {"currency": "usd", "unit_amount": 5}}
        hooked.client.v1.products.create(product)
        receiver.wait(3)
        assert receiver.types() == ["product.updated", "price.created", "product.created"]


def test_forged_webhooks_do_not_verify(hooked: Any, receiver: Any) -> None:
    hooked.fault("forge_webhooks")
    hooked.customer()
    receiver.wait(1)
    with pytest.raises(stripe.SignatureVerificationError, match="No signatures found"):
        hooked.client.construct_event(receiver.received[0].body, receiver.received[0].signature, SECRET)


def test_stale_webhooks_are_out_of_tolerance(hooked: Any, receiver: Any) -> None:
    hooked.fault("stale_webhooks")
    hooked.customer()
    receiver.wait(1)
    got = receiver.received[0]
    with pytest.raises(stripe.SignatureVerificationError, match="outside the tolerance zone"):
        hooked.client.construct_event(got.body, got.signature, SECRET)
    assert hooked.client.construct_event(got.body, got.signature, SECRET, tolerance=900).type


def test_a_moved_clock_does_not_make_signatures_stale(hooked: Any, receiver: Any) -> None:
    hooked.advance(7 * 24 * 3600)
    customer = hooked.customer()
    receiver.wait(1)
    got = receiver.received[0]
    event = hooked.client.construct_event(got.body, got.signature, SECRET)
    assert event.created == customer.created
    assert event.created > time.time() + 6 * 24 * 3600


def test_an_event_on_its_way_survives_a_leap_of_time(hooked: Any, receiver: Any) -> None:
    hooked.fault("delay_webhooks", seconds=0.5)
    customer = hooked.customer()
    hooked.advance(60 * 24 * 3600)
    (got,) = receiver.wait(1)
    assert got.json["data"]["object"]["id"] == customer.id
    hooked.settle()
    hooked.advance(1)
    assert hooked.events() == []


def test_a_rolled_secret_signs_beside_the_old_one_for_a_while(hooked: Any, receiver: Any) -> None:
    hooked.control("webhooks/secret", secret="whsec_next", keep_old_s=3600)
    hooked.customer()
    receiver.wait(1)
    got = receiver.received[0]
    assert got.signature.count("v1=") == 2
    for secret in (SECRET, "whsec_next"):
        hooked.client.construct_event(got.body, got.signature, secret)
    hooked.advance(3601)
    hooked.customer()
    receiver.wait(2)
    got = receiver.received[1]
    hooked.client.construct_event(got.body, got.signature, "whsec_next")
    with pytest.raises(stripe.SignatureVerificationError):
        hooked.client.construct_event(got.body, got.signature, SECRET)


def test_held_webhooks_are_released_in_the_order_that_is_asked_for(hooked: Any, receiver: Any) -> None:
    for order in ("created", "reversed"):
        hooked.control("webhooks/hold")
        ids = [hooked.customer(name=str(index)).id for index in range(4)]
        hold_all(hooked, 4)
        assert receiver.received == []
        released = hooked.control("webhooks/release", order=order)["released"]
        assert [one.json["id"] for one in receiver.received] == released
        got = [one.json["data"]["object"]["id"] for one in receiver.received]
        assert got == (ids if order == "created" else ids[::-1])
        assert hooked.state()["held"] is None
        receiver.received.clear()


def test_held_webhooks_are_released_by_name_or_at_random(hooked: Any, receiver: Any) -> None:
    hooked.control("webhooks/hold")
    for index in range(3):
        hooked.customer(name=str(index))
    hold_all(hooked, 3)
    first, second, third = hooked.state()["held"]
    answer = hooked.control("webhooks/release", order=[third, first])
    assert answer["released"] == [third, first, second]
    assert [one.json["id"] for one in receiver.received] == [third, first, second]
    hooked.control("webhooks/hold")
    hooked.customer()
    hold_all(hooked, 1)
    assert len(hooked.control("webhooks/release", order="random")["released"]) == 1


def test_a_flood_of_events_is_delivered_whole(hooked: Any, receiver: Any) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = list(
            pool.map(
                lambda index: hooked.raw.post("/v1/customers", data={"name": index}), map(str, range(100))
            )
        )
    assert {answer.status_code for answer in answers} == {200}
    hooked.settle()
    got = [one.json["data"]["object"]["id"] for one in receiver.received]
    assert sorted(got) == sorted(answer.json()["id"] for answer in answers)
    for one in receiver.received:
        timestamp, _, digest = one.signature.removeprefix("t=").partition(",v1=")
        signed = timestamp.encode() + b"." + one.body
        assert hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest() == digest
