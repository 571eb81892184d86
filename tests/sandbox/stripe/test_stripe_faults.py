"""Faults on request, as the official SDK meets them."""

import time
from typing import Any

import httpx
import pytest
import stripe


def count(sandbox: Any, email: str) -> int:
    return len(sandbox.client.v1.customers.list({"email": email}).data)


def test_a_rate_limit_is_not_retried_by_the_sdk(sandbox: Any) -> None:
    sandbox.fault("rate_limit", method="POST")
    client = sandbox.sdk(max_network_retries=2)
    with pytest.raises(stripe.RateLimitError) as caught:
        client.v1.customers.create({"email": "limited@example.com"})
    assert caught.value.http_status == 429
    assert caught.value.json_body["error"]["code"] == "rate_limit"
    headers = {name.lower(): value for name, value in caught.value.headers.items()}
    assert headers["stripe-rate-limited-reason"] == "global-rate"
    assert count(sandbox, "limited@example.com") == 0


@pytest.mark.parametrize("status", [500, 503])
def test_a_server_error_comes_before_any_effect_and_passes(sandbox: Any, status: int) -> None:
    sandbox.fault("server_error", method="POST", status=status)
    email = f"error-{status}@example.com"
    with pytest.raises(stripe.APIError) as caught:
        sandbox.client.v1.customers.create({"email": email})
    assert caught.value.http_status == status
    assert count(sandbox, email) == 0
    sandbox.fault("server_error", method="POST", status=status)
    sandbox.sdk(max_network_retries=1).v1.customers.create({"email": email})
    assert count(sandbox, email) == 1


def test_a_proxys_page_is_not_an_answer(sandbox: Any) -> None:
    sandbox.fault("html_502", method="POST")
    with pytest.raises(stripe.APIError, match="Invalid response body") as caught:
        sandbox.client.v1.customers.create({"email": "html@example.com"})
    assert caught.value.http_status == 502
    assert caught.value.http_body.startswith("<html>")
    assert count(sandbox, "html@example.com") == 0


def test_a_dropped_connection_has_no_effect(sandbox: Any) -> None:
    sandbox.fault("connection_drop", method="POST")
    with pytest.raises(stripe.APIConnectionError):
        sandbox.client.v1.customers.create({"email": "drop@example.com"})
    assert count(sandbox, "drop@example.com") == 0


@pytest.mark.parametrize("drop", [False, True])
def test_a_lost_answer_has_its_effect(sandbox: Any, drop: bool) -> None:
    sandbox.fault("lost_answer", method="POST", drop=drop)
    email = f"lost-{drop}@example.com".lower()
    with pytest.raises(stripe.APIConnectionError if drop else stripe.APIError):
        sandbox.client.v1.customers.create({"email": email})
    assert count(sandbox, email) == 1


def test_half_a_document_is_no_document(sandbox: Any) -> None:
    sandbox.fault("truncated_json", method="POST")
    with pytest.raises(stripe.APIError, match="Invalid response body"):
        sandbox.client.v1.customers.create({"email": "half@example.com"})
    assert count(sandbox, "half@example.com") == 1


def test_another_shape_gets_past_the_sdk(sandbox: Any) -> None:
    sandbox.fault("wrong_shape", method="POST")
    made = sandbox.client.v1.customers.create({"email": "shape@example.com"})
    assert made.id == 7
    assert count(sandbox, "shape@example.com") == 1


@pytest.mark.parametrize(("when", "effects"), [("before", 0), ("after", 1)])
def test_a_hanging_request_ends_without_an_answer(sandbox: Any, when: str, effects: int) -> None:
    sandbox.fault("hang", method="POST", seconds=0.6, when=when)
    email = f"hang-{when}@example.com"
    with pytest.raises(httpx.ReadTimeout):
        sandbox.raw.post("/v1/customers", data={"email": email}, timeout=0.3)
    assert count(sandbox, email) == effects
    sandbox.fault("hang", method="POST", seconds=0.1, when="before")
    with pytest.raises(httpx.RemoteProtocolError):
        sandbox.raw.post("/v1/customers", data={"email": email})


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_slow_answer_comes(sandbox: Any, when: str) -> None:
    sandbox.fault("slow", method="POST", seconds=0.4, when=when)
    start = time.monotonic()
    sandbox.customer(email=f"slow-{when}@example.com")
    assert time.monotonic() - start >= 0.4
    assert count(sandbox, f"slow-{when}@example.com") == 1


def test_a_slow_answer_after_the_effect_can_be_missed(sandbox: Any) -> None:
    sandbox.fault("slow", method="POST", seconds=0.6, when="after")
    with pytest.raises(httpx.ReadTimeout):
        sandbox.raw.post("/v1/customers", data={"email": "missed@example.com"}, timeout=0.3)
    assert count(sandbox, "missed@example.com") == 1


def test_faults_strike_what_they_name_as_often_as_they_say(sandbox: Any) -> None:
    sandbox.fault("rate_limit", method="GET", path="/v1/products*", times=2, skip=1)
    statuses = [sandbox.raw.get("/v1/products").status_code for _ in range(4)]
    assert statuses == [200, 429, 429, 200]
    sandbox.fault("rate_limit", method="GET", path="/v1/products/*", times=None)
    assert sandbox.raw.get("/v1/products").status_code == 200
    assert [sandbox.raw.get("/v1/products/p").status_code for _ in range(3)] == [429] * 3
    assert [fault["times"] for fault in sandbox.state()["faults"]] == [None]
    assert sandbox.raw.delete("/_sandbox/faults").status_code == 204
    assert sandbox.raw.get("/_sandbox/faults").json() == []


def test_faults_are_used_up_in_order(sandbox: Any) -> None:
    answer = sandbox.raw.post(
        "/_sandbox/faults", json=[{"fault": "rate_limit"}, {"fault": "server_error", "status": 503}]
    )
    assert [fault["fault"] for fault in answer.json()] == ["rate_limit", "server_error"]
    assert [sandbox.raw.get("/v1/products").status_code for _ in range(3)] == [429, 503, 200]


@pytest.mark.parametrize(
    "wish",
    [
        b"{",
        b'{"fault": "earthquake"}',
        b'{"fault": "slow", "speed": 1}',
        b"[1]",
        b'{"times": 1}',
        b'{"fault": "slow", "times": 0}',
        b'{"fault": "slow", "seconds": -1}',
        b'{"fault": "server_error", "status": 200}',
    ],
)
def test_a_fault_that_nobody_knows_is_refused(sandbox: Any, wish: bytes) -> None:
    answer = sandbox.raw.post("/_sandbox/faults", content=wish)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert sandbox.raw.get("/_sandbox/faults").json() == []


def test_controls_are_out_of_faults_reach(sandbox: Any) -> None:
    sandbox.fault("connection_drop", path="*", times=None)
    assert sandbox.raw.get("/_sandbox/state").status_code == 200
