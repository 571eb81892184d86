"""What tests tell the sandbox and ask of it: payments, disputes, time, and forgetting."""

import time
from pathlib import Path
from typing import Any

import pytest
import stripe

DAY = 86400


def checkout(server: Any, **params: Any) -> stripe.checkout.Session:
    given: Any = {
        "mode": "subscription",
        "line_items": [{"price": server.price().id, "quantity": 1}],
        "success_url": "http://127.0.0.1/done?session={CHECKOUT_SESSION_ID}",
        **params,
    }
    return server.client.v1.checkout.sessions.create(given)


def charge_of(server: Any, session: stripe.checkout.Session) -> stripe.Charge:
    done = server.client.v1.checkout.sessions.retrieve(session.id)
    (charge,) = server.client.v1.charges.list({"customer": done.customer}).data
    return charge


def test_a_checkout_is_paid_as_a_person_would(sandbox: Any) -> None:
    session = checkout(sandbox, customer_email="buyer@example.com")
    outcome = sandbox.control(f"pay/{session.id}")
    assert outcome["outcome"] == "Paid"
    assert outcome["redirect_url"] == f"http://127.0.0.1/done?session={session.id}"
    paths = ["subscription.latest_invoice.payments", "line_items", "customer"]
    done = sandbox.client.v1.checkout.sessions.retrieve(session.id, {"expand": paths})
    assert (done.status, done.payment_status, done.url) == ("complete", "paid", None)
    assert done.customer.email == "buyer@example.com"
    assert done.subscription.status == "active"
    assert done.subscription.latest_invoice.payments.data[0].amount_paid == 900
    assert done.line_items.data[0].amount_total == 900
    events = [one["type"] for one in sandbox.events()]
    assert events[-1] == "checkout.session.completed" or "checkout.session.completed" in events


def test_a_declined_card_leaves_the_checkout_open(sandbox: Any) -> None:
    session = checkout(sandbox)
    outcome = sandbox.control(f"pay/{session.id}", number="4000000000009995", email="poor@example.com")
    assert (outcome["outcome"], outcome["code"]) == ("Declined", "insufficient_funds")
    assert sandbox.client.v1.checkout.sessions.retrieve(session.id).status == "open"
    assert sandbox.control(f"pay/{session.id}", email="poor@example.com")["outcome"] == "Paid"


@pytest.mark.parametrize(("approve", "outcome"), [(True, "Paid"), (False, "Declined")])
def test_the_banks_question_is_answered(sandbox: Any, approve: bool, outcome: str) -> None:
    session = checkout(sandbox, customer_email="asked@example.com")
    answer = sandbox.control(f"pay/{session.id}", number="4000002760003184", approve=approve)
    assert (answer["outcome"], answer["challenged"]) == (outcome, True)


def test_a_checkout_that_is_not_there_cannot_be_paid(sandbox: Any) -> None:
    answer = sandbox.raw.post("/_sandbox/pay/cs_test_none")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "resource_missing"
    session = checkout(sandbox, customer_email="twice@example.com")
    sandbox.control(f"pay/{session.id}")
    assert sandbox.raw.post(f"/_sandbox/pay/{session.id}").status_code == 400


@pytest.mark.parametrize("end", ["won", "lost"])
def test_disputes_are_opened_and_closed(sandbox: Any, end: str) -> None:
    session = checkout(sandbox, customer_email="angry@example.com")
    sandbox.control(f"pay/{session.id}")
    charge = charge_of(sandbox, session)
    dispute = sandbox.control("disputes", charge=charge.id, reason="product_not_received")
    assert not [key for key in dispute if key.startswith("_")]
    assert sandbox.client.v1.charges.retrieve(charge.id).disputed
    closed = sandbox.control(f"disputes/{dispute['id']}/close", status=end)
    assert closed["status"] == sandbox.client.v1.disputes.retrieve(dispute["id"]).status == end
    told = [one["type"] for one in sandbox.events(dispute["id"])]
    assert told[:2] == ["charge.dispute.created", "charge.dispute.funds_withdrawn"]
    assert ("charge.dispute.funds_reinstated" in told) == (end == "won")
    moved = sandbox.client.v1.balance_transactions.list({"source": dispute["id"]}).data
    assert sum(one.amount for one in moved) == (0 if end == "won" else -900)
    one = sandbox.client.v1.balance_transactions.retrieve(moved[0].id, {"expand": ["source"]})
    assert one.source.object == "dispute"


def test_an_early_fraud_warning_is_an_event(sandbox: Any) -> None:
    session = checkout(sandbox, customer_email="stolen@example.com")
    sandbox.control(f"pay/{session.id}")
    charge = charge_of(sandbox, session)
    warning = sandbox.control("early_fraud_warnings", charge=charge.id)
    (told,) = sandbox.events(warning["id"])
    assert told["type"] == "radar.early_fraud_warning.created"
    event = sandbox.client.v1.events.retrieve(told["id"])
    assert event.data.object.charge == charge.id
    assert event.request.id is None


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("clock", {"advance_s": -1}),
        ("clock", {"advance_s": "soon"}),
        ("clock", {"speed": 2}),
        ("disputes", {}),
        ("disputes/du_1/close", {"status": "drawn"}),
        ("webhooks/release", {"order": "alphabetical"}),
        ("webhooks/secret", {"secret": 1}),
    ],
)
def test_controls_are_strict_too(sandbox: Any, path: str, body: dict[str, Any]) -> None:
    answer = sandbox.raw.post(f"/_sandbox/{path}", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_what_fell_due_earlier_is_told_of_as_if_it_were_then(run_stripe: Any, tmp_path: Path) -> None:
    with run_stripe(tmp_path) as server:
        session = checkout(server, customer_email="renews@example.com")
        server.control(f"pay/{session.id}")
        done = server.client.v1.checkout.sessions.retrieve(session.id, {"expand": ["subscription"]})
        end = done.subscription["items"].data[0].current_period_end
        server.advance(end - int(time.time()) + 3 * DAY)
        created = {one["type"]: one["created"] for one in server.events() if one["created"] >= end}
        assert created["invoice.created"] == end
        assert end < created["invoice.paid"] <= end + 2 * 3600
        (newest, _) = server.client.v1.invoices.list({"subscription": done.subscription.id}).data
        assert (newest.created, newest.status) == (end, "paid")


def test_events_of_a_test_clock_tell_its_time(run_stripe: Any, tmp_path: Path) -> None:
    with run_stripe(tmp_path) as server:
        frozen = 1_800_000_000
        clock = server.client.v1.test_helpers.test_clocks.create({"frozen_time": frozen})
        customer = server.customer(test_clock=clock.id, payment_method="pm_card_visa")
        assert customer.created == frozen
        (card,) = server.client.v1.payment_methods.list({"customer": customer.id}).data
        created = [one["created"] for one in server.events(customer.id) + server.events(card.id)]
        assert set(created) == {frozen}
        listed = server.client.v1.customers.list
        assert listed().data == []
        assert [one.id for one in listed({"test_clock": clock.id}).data] == [customer.id]
        with pytest.raises(stripe.InvalidRequestError) as caught:
            server.customer(test_clock="clock_none")
        assert (caught.value.http_status, caught.value.param) == (400, "test_clock")


def test_a_reset_leaves_nothing_that_falls_due(run_stripe: Any, tmp_path: Path) -> None:
    with run_stripe(tmp_path) as server:
        session = checkout(server, customer_email="forgotten@example.com")
        server.control(f"pay/{session.id}")
        server.control("reset")
        server.advance(90 * DAY)
        assert server.state()["counts"] == {}
        again = checkout(server, customer_email="new@example.com")
        assert server.control(f"pay/{again.id}")["outcome"] == "Paid"


def test_subscriptions_outlive_a_restart_and_renew_after_it(run_stripe: Any, tmp_path: Path) -> None:
    with run_stripe(tmp_path) as server:
        session = checkout(server, customer_email="loyal@example.com")
        server.control(f"pay/{session.id}")
    with run_stripe(tmp_path) as server:
        done = server.client.v1.checkout.sessions.retrieve(session.id)
        server.advance(35 * DAY)
        invoices = server.client.v1.invoices.list({"subscription": done.subscription}).data
        assert [one.status for one in invoices] == ["paid", "paid"]
        deleted = server.client.v1.customers.delete(done.customer)
        assert deleted.deleted
        assert server.client.v1.subscriptions.retrieve(done.subscription).status == "canceled"
