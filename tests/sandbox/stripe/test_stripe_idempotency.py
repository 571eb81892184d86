"""Idempotency keys: one effect, one answer, and what is refused."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import stripe


def post(sandbox: Any, path: str, key: str | None, **form: str) -> httpx.Response:
    headers = {} if key is None else {"idempotency-key": key}
    return sandbox.raw.post(path, data=form, headers=headers)


def count(sandbox: Any, email: str) -> int:
    return len(sandbox.client.v1.customers.list({"email": email, "limit": 100}).data)


def test_a_repeated_request_is_answered_from_memory(sandbox: Any) -> None:
    first = post(sandbox, "/v1/customers", "once", email="once@example.com", name="A")
    again = post(sandbox, "/v1/customers", "once", name="A", email="once@example.com")
    assert again.content == first.content
    assert again.status_code == first.status_code == 200
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    assert again.headers["original-request"] == first.headers["request-id"] != again.headers["request-id"]
    assert again.headers["idempotency-key"] == "once"
    assert count(sandbox, "once@example.com") == 1


def test_a_replay_shows_what_was_and_not_what_is(sandbox: Any) -> None:
    first = post(sandbox, "/v1/customers", "as-it-was", name="Before")
    sandbox.client.v1.customers.update(first.json()["id"], {"name": "After"})
    assert post(sandbox, "/v1/customers", "as-it-was", name="Before").json()["name"] == "Before"


def test_without_a_key_each_request_counts(sandbox: Any) -> None:
    for _ in range(2):
        post(sandbox, "/v1/customers", None, email="keyless@example.com")
    assert count(sandbox, "keyless@example.com") == 2


def test_the_sdk_sends_a_new_key_for_each_call(sandbox: Any) -> None:
    for _ in range(2):
        sandbox.customer(email="sdk@example.com")
    assert count(sandbox, "sdk@example.com") == 2


def test_a_key_of_the_callers_own_makes_two_calls_one(sandbox: Any) -> None:
    options: Any = {"idempotency_key": "customer:7"}
    made = [sandbox.client.v1.customers.create({"name": "Seven"}, options) for _ in range(2)]
    assert made[0].id == made[1].id
    events = [one for one in sandbox.events(made[0].id) if one["type"] == "customer.created"]
    assert len(events) == 1


def test_other_parameters_under_the_same_key_are_refused(sandbox: Any) -> None:
    options: Any = {"idempotency_key": "changed"}
    sandbox.client.v1.customers.create({"name": "A"}, options)
    with pytest.raises(stripe.IdempotencyError) as caught:
        sandbox.client.v1.customers.create({"name": "B"}, options)
    assert caught.value.http_status == 400
    assert "same parameters" in caught.value.user_message
    assert "'changed'" in caught.value.user_message


def test_another_endpoint_under_the_same_key_is_refused(sandbox: Any) -> None:
    assert post(sandbox, "/v1/customers", "elsewhere", name="A").status_code == 200
    answer = post(sandbox, "/v1/products", "elsewhere", name="A")
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "idempotency_error")
    assert "/v1/customers" in answer.json()["error"]["message"]


def test_too_long_a_key_is_refused(sandbox: Any) -> None:
    assert post(sandbox, "/v1/customers", "k" * 255, name="A").status_code == 200
    assert post(sandbox, "/v1/customers", "k" * 256, name="A").status_code == 400


def test_a_refused_request_does_not_use_its_key_up(sandbox: Any) -> None:
    for bad in ({"emial": "x"}, {"payment_method": "pm_nothing"}, {"expand[]": "nothing"}):
        answer = post(sandbox, "/v1/customers", "second-try", **bad)
        assert answer.status_code == 400
    answer = post(sandbox, "/v1/customers", "second-try", name="Right")
    assert answer.status_code == 200
    assert "idempotent-replayed" not in answer.headers


def test_a_declined_card_is_remembered(sandbox: Any) -> None:
    customer = sandbox.customer()
    path = "/v1/payment_methods/pm_card_chargeDeclined/attach"
    first = post(sandbox, path, "declined", customer=customer.id)
    again = post(sandbox, path, "declined", customer=customer.id)
    assert first.status_code == again.status_code == 402
    assert first.json()["error"]["type"] == "card_error"
    assert again.headers["idempotent-replayed"] == "true"
    assert again.content == first.content


def test_a_crash_is_remembered_with_its_status_and_body(sandbox: Any) -> None:
    sandbox.fault("server_error", path="/v1/customers", stored=True)
    answers = [post(sandbox, "/v1/customers", "crashed", email="crash@example.com") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [500, 500]
    assert answers[0].headers["stripe-should-retry"] == "false"
    assert answers[1].headers["idempotent-replayed"] == "true"
    assert answers[0].json() == answers[1].json()
    assert answers[0].json()["error"]["type"] == "api_error"
    assert count(sandbox, "crash@example.com") == 0


def test_a_mistake_of_the_sandboxs_own_is_a_crash_without_a_trace(
    run_stripe: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError

    with run_stripe(tmp_path) as server:
        monkeypatch.setattr("visiona.sandbox.stripe.api.prices.new_price", broken)
        form = {"product_data[name]": "Pro", "currency": "usd", "unit_amount": "900"}
        first = post(server, "/v1/prices", "broken", **form)
        assert (first.status_code, first.json()["error"]["type"]) == (500, "api_error")
        assert first.headers["stripe-should-retry"] == "false"
        assert "POST /v1/prices could not be answered" in caplog.text
        assert (server.state()["counts"], server.state()["events"]) == ({}, [])
        monkeypatch.undo()
        assert post(server, "/v1/prices", "broken", **form).content == first.content
        assert post(server, "/v1/prices", "whole", **form).status_code == 200


def test_the_same_key_at_the_same_time_is_a_conflict(sandbox: Any) -> None:
    sandbox.fault("slow", path="/v1/customers", seconds=1)
    arrived = threading.Event()

    def slow() -> httpx.Response:
        arrived.set()
        return post(sandbox, "/v1/customers", "racing", email="race@example.com")

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(slow)
        arrived.wait()
        answers = [post(sandbox, "/v1/customers", "racing", email="race@example.com")]
        while answers[-1].status_code == 200:  # it was first at the door after all
            answers.append(post(sandbox, "/v1/customers", "racing", email="race@example.com"))
            if first.done():
                break
        statuses = {first.result().status_code, *(answer.status_code for answer in answers)}
    assert statuses == {200, 409}
    conflict = next(answer for answer in (first.result(), *answers) if answer.status_code == 409)
    assert conflict.json()["error"]["code"] == "idempotency_key_in_use"
    assert post(sandbox, "/v1/customers", "racing", email="race@example.com").status_code == 200
    assert count(sandbox, "race@example.com") == 1


def test_the_sdk_gets_through_a_lost_answer_with_one_effect(sandbox: Any) -> None:
    client = sandbox.sdk(max_network_retries=2)
    sandbox.fault("lost_answer", path="/v1/customers")
    sandbox.fault("lost_answer", path="/v1/customers", drop=True)
    made = client.v1.customers.create({"email": "lost@example.com"})
    assert made.last_response.headers["idempotent-replayed"] == "true"
    assert count(sandbox, "lost@example.com") == 1


def test_a_key_is_free_again_after_a_day(run_stripe: Any, tmp_path: Any) -> None:
    with run_stripe(tmp_path) as server:
        first = post(server, "/v1/customers", "daily", name="A")
        server.advance(24 * 3600 - 60)
        assert post(server, "/v1/customers", "daily", name="A").json() == first.json()
        server.advance(120)
        again = post(server, "/v1/customers", "daily", name="B")
        assert again.status_code == 200
        assert again.json()["id"] != first.json()["id"]


def test_reading_and_deleting_need_no_key(sandbox: Any) -> None:
    customer = sandbox.customer()
    headers = {"idempotency-key": "ignored"}
    for method in ("GET", "GET"):
        answer = sandbox.raw.request(method, f"/v1/customers/{customer.id}", headers=headers)
        assert answer.status_code == 200
        assert "idempotent-replayed" not in answer.headers
