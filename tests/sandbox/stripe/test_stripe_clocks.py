"""Test clocks: time that stands until it is moved."""

import pytest
import stripe
from tests.sandbox.stripe.conftest import Server
from tests.sandbox.stripe.histories import (  # noqa: F401 - `shared_server` is a server for this file alone
    DAY,
    History,
    at,
    only_item,
    shared_server,
)


def test_a_clock_stands(sandbox: Server) -> None:
    clocks = sandbox.client.v1.test_helpers.test_clocks
    clock = clocks.create({"frozen_time": at("2030-01-01"), "name": "Far away"})
    assert (clock.status, clock.frozen_time, clock.name) == ("ready", at("2030-01-01"), "Far away")
    assert clocks.retrieve(clock.id).frozen_time == at("2030-01-01")
    assert clock.id in [one.id for one in clocks.list({"limit": 100}).data]
    customer = sandbox.customer(test_clock=clock.id)
    assert (customer.test_clock, customer.created) == (clock.id, at("2030-01-01"))
    with pytest.raises(stripe.InvalidRequestError, match="No such test clock"):
        sandbox.customer(test_clock="clock_unknown")


def test_advancing_is_under_way_and_then_done(sandbox: Server) -> None:
    history = History(sandbox)
    history.subscribe(sandbox.price(1000))
    clocks = sandbox.client.v1.test_helpers.test_clocks
    target = history.start + 40 * DAY
    advancing = clocks.advance(history.clock, {"frozen_time": target})
    assert (advancing.status, advancing.frozen_time) == ("advancing", history.start)
    assert advancing.status_details.advancing is not None
    assert advancing.status_details.advancing.target_frozen_time == target
    ready = clocks.retrieve(history.clock)
    assert (ready.status, ready.frozen_time) == ("ready", target)
    told = [event["type"] for event in sandbox.events(history.clock)]
    assert told == [f"test_helpers.test_clock.{what}" for what in ("created", "advancing", "ready")]


def test_everything_happens_at_its_own_time(sandbox: Server) -> None:
    history = History(sandbox)
    sub = history.subscribe(sandbox.price(1000))
    history.advance_to(history.start + 50 * DAY)
    renewal = history.invoices()[-1]
    assert renewal.created == at("2026-02-10")
    assert renewal.status_transitions.paid_at == at("2026-02-10 01:00")
    assert history.charges()[-1].created == at("2026-02-10 01:00")
    listed = sandbox.client.v1.events.list({"type": "invoice.upcoming", "limit": 100}).data
    moments = [event.created for event in listed if event.data.object["customer"] == history.customer]
    assert moments == [at("2026-02-03")]
    assert only_item(history.subscription(sub)).current_period_end == at("2026-03-10")


def test_how_far_a_clock_goes_at_once(sandbox: Server) -> None:
    history = History(sandbox)
    clocks = sandbox.client.v1.test_helpers.test_clocks
    history.subscribe(sandbox.price(1000))
    for moment in (history.start, history.start - 1, at("2026-03-10") + 1):
        with pytest.raises(stripe.InvalidRequestError) as caught:
            clocks.advance(history.clock, {"frozen_time": moment})
        assert caught.value.param == "frozen_time"
    clocks.advance(history.clock, {"frozen_time": at("2026-03-10")})
    assert len(history.invoices()) == 3


def test_clocks_are_apart(sandbox: Server) -> None:
    one, other = History(sandbox), History(sandbox)
    for history in (one, other):
        history.subscribe(sandbox.price(1000))
    one.advance(40 * DAY)
    sandbox.advance(40 * DAY)
    assert (len(one.invoices()), len(other.invoices())) == (2, 1)


def test_deleting_a_clock_deletes_its_customers(sandbox: Server) -> None:
    history = History(sandbox)
    sub = history.subscribe(sandbox.price(1000))
    v1 = sandbox.client.v1
    assert v1.test_helpers.test_clocks.delete(history.clock).deleted is True
    assert v1.customers.retrieve(history.customer).deleted is True
    with pytest.raises(stripe.InvalidRequestError, match="No such subscription"):
        v1.subscriptions.retrieve(sub.id)
    with pytest.raises(stripe.InvalidRequestError, match="No such test clock"):
        v1.test_helpers.test_clocks.retrieve(history.clock)
    told = [event["type"] for event in sandbox.events()]
    assert told[-1] == "test_helpers.test_clock.deleted"
    assert "customer.subscription.deleted" in told
