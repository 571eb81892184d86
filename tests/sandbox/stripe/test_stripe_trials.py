"""Trials: nothing is paid, and then it is."""

import pytest
import stripe
from tests.sandbox.stripe.conftest import Server
from tests.sandbox.stripe.histories import (  # noqa: F401 - `shared_server` is a server for this file alone
    DAY,
    HOUR,
    History,
    at,
    lines,
    only_item,
    shared_server,
)


def test_a_trial_ends_in_a_first_payment(sandbox: Server) -> None:
    history = History(sandbox)
    sub = history.subscribe(sandbox.price(1200), trial_period_days=14)
    end = history.start + 14 * DAY
    assert (sub.status, sub.trial_start, sub.trial_end) == ("trialing", history.start, end)
    assert (sub.billing_cycle_anchor, only_item(sub).current_period_end) == (end, end)
    first = history.latest(sub)
    assert (first.total, first.status, first.billing_reason) == (0, "paid", "subscription_create")
    assert lines(first) == [("Trial period for Pro", 0)]
    assert first.payments is not None
    assert first.payments.data == []
    assert "invoice.paid" in history.told()
    history.advance_to(end - 3 * DAY - 1)
    assert "customer.subscription.trial_will_end" not in history.told()
    history.advance(1)
    assert history.told().count("customer.subscription.trial_will_end") == 1
    history.advance_to(end)
    assert (history.subscription(sub).status, history.latest(sub).status) == ("active", "draft")
    (event,) = history.events("customer.subscription.updated")
    assert event.previous["status"] == "trialing"
    history.advance(HOUR)
    assert (history.latest(sub).status, history.latest(sub).total) == ("paid", 1200)
    assert only_item(history.subscription(sub)).current_period_end == at("2026-02-24")


def test_a_short_trial_reminds_at_once(sandbox: Server) -> None:
    history = History(sandbox)
    history.subscribe(sandbox.price(1200), trial_period_days=2)
    assert history.told().count("customer.subscription.trial_will_end") == 1
    history.advance(3 * DAY)
    assert history.told().count("customer.subscription.trial_will_end") == 1


@pytest.mark.parametrize(
    ("behaviour", "status"), [("create_invoice", "past_due"), ("cancel", "canceled"), ("pause", "paused")]
)
def test_a_trial_without_a_card(sandbox: Server, behaviour: str, status: str) -> None:
    history = History(sandbox, card=None)
    settings = {"end_behavior": {"missing_payment_method": behaviour}}
    sub = history.subscribe(sandbox.price(1200), trial_period_days=7, trial_settings=settings)
    assert sub.status == "trialing"
    assert sub.pending_setup_intent is not None
    history.advance(7 * DAY + HOUR)
    found = history.subscription(sub)
    assert found.status == status
    assert len(history.invoices()) == (2 if behaviour == "create_invoice" else 1)
    if behaviour == "pause":
        assert found.status_details is not None
        assert found.status_details.paused.subscription.type == "trial_end_without_payment_method"
        history.use_card("pm_card_visa")
        assert sandbox.client.v1.subscriptions.resume(sub.id).status == "active"
        assert history.latest(sub).amount_paid == 1200


def test_a_card_that_fails_after_the_trial(sandbox: Server) -> None:
    history = History(sandbox, card="pm_card_chargeCustomerFail")
    sub = history.subscribe(sandbox.price(1200), trial_period_days=7)
    assert sub.status == "trialing"
    history.advance(7 * DAY)
    assert history.subscription(sub).status == "active"
    history.advance(HOUR)
    assert history.subscription(sub).status == "past_due"


def test_ending_a_trial_now(sandbox: Server) -> None:
    history = History(sandbox)
    sub = history.subscribe(sandbox.price(1200), trial_period_days=14)
    history.advance(5 * DAY)
    ended = sandbox.client.v1.subscriptions.update(sub.id, {"trial_end": "now"})
    assert (ended.status, ended.trial_end, ended.billing_cycle_anchor) == ("active", history.now, history.now)
    assert (history.latest(sub).status, history.latest(sub).total) == ("paid", 1200)
    assert only_item(ended).current_period_end == at("2026-02-15")


def test_moving_the_end_of_a_trial(sandbox: Server) -> None:
    history = History(sandbox)
    sub = history.subscribe(sandbox.price(1200), trial_period_days=7)
    end = history.start + 20 * DAY
    moved = sandbox.client.v1.subscriptions.update(sub.id, {"trial_end": end})
    assert (moved.trial_end, only_item(moved).current_period_end) == (end, end)
    history.advance_to(end + HOUR)
    assert [invoice.total for invoice in history.invoices()] == [0, 1200]


def test_a_running_period_turned_into_a_trial_gives_credit(sandbox: Server) -> None:
    history = History(sandbox, start=at("2026-04-01"))
    sub = history.subscribe(sandbox.price(3000))
    history.advance(10 * DAY)
    changed = sandbox.client.v1.subscriptions.update(sub.id, {"trial_end": history.now + 5 * DAY})
    assert changed.status == "trialing"
    assert [item.amount for item in history.pending()] == [-2000]
    history.advance(5 * DAY + HOUR)
    assert (history.subscription(sub).status, history.latest(sub).total) == ("active", 1000)


def test_changing_the_plan_on_trial_costs_nothing_and_keeps_the_trial(sandbox: Server) -> None:
    history = History(sandbox)
    sub = history.subscribe(sandbox.price(1200), trial_period_days=14)
    history.advance(5 * DAY)
    changed = history.switch(sub, sandbox.price(3000), proration_behavior="always_invoice")
    assert (changed.status, changed.trial_end) == ("trialing", sub.trial_end)
    assert history.pending() == []
    assert len(history.invoices()) == 1
    history.advance_to(history.start + 14 * DAY + HOUR)
    assert history.latest(sub).total == 3000


def test_cancelling_a_trial(sandbox: Server) -> None:
    history = History(sandbox)
    sub = history.subscribe(sandbox.price(1200), trial_period_days=14)
    sandbox.client.v1.subscriptions.update(sub.id, {"cancel_at_period_end": True})
    history.advance(14 * DAY + HOUR)
    assert history.subscription(sub).status == "canceled"
    assert history.charges() == []


def test_the_trial_of_a_price(sandbox: Server) -> None:
    history = History(sandbox)
    rhythm = {"interval": "month", "trial_period_days": 10}
    price = sandbox.price(1200, recurring=rhythm)
    assert history.subscribe(price).status == "active"
    assert history.subscribe(sandbox.price(1200, recurring=rhythm), trial_from_plan=True).status == "trialing"


def test_the_card_that_a_trial_waited_for(sandbox: Server) -> None:
    history = History(sandbox, card=None)
    sub = history.subscribe(sandbox.price(1200), trial_period_days=7)
    setup = sub.pending_setup_intent
    assert isinstance(setup, str)
    done = sandbox.client.v1.setup_intents.confirm(setup, {"payment_method": "pm_card_visa"})
    assert done.status == "succeeded"
    found = history.subscription(sub)
    assert found.pending_setup_intent is None
    assert found.default_payment_method == done.payment_method
    history.advance(7 * DAY + HOUR)
    assert history.subscription(sub).status == "active"
    assert history.latest(sub).status == "paid"


def test_a_setup_that_is_refused(sandbox: Server) -> None:
    history = History(sandbox, card=None)
    v1 = sandbox.client.v1
    setup = v1.setup_intents.create({"customer": history.customer})
    with pytest.raises(stripe.CardError):
        v1.setup_intents.confirm(setup.id, {"payment_method": "pm_card_visa_chargeDeclined"})
    assert v1.setup_intents.retrieve(setup.id).status == "requires_payment_method"
    asked = v1.setup_intents.confirm(setup.id, {"payment_method": "pm_card_authenticationRequiredOnSetup"})
    assert asked.status == "requires_action"
    assert v1.setup_intents.cancel(setup.id).status == "canceled"
