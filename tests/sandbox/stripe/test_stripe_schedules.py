"""Schedules: items that change by themselves."""

from typing import Any

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


def downgrade(history: History, sub: stripe.Subscription, price: stripe.Price) -> stripe.SubscriptionSchedule:
    """The usual way: take the subscription over, and append a phase."""
    schedules = history.v1.subscription_schedules
    schedule = schedules.create({"from_subscription": sub.id})
    (current,) = schedule.phases
    phases: Any = [
        {
            "items": [{"price": only_item(sub).price.id, "quantity": 1}],
            "start_date": current.start_date,
            "end_date": current.end_date,
        },
        {"items": [{"price": price.id, "quantity": 1}], "proration_behavior": "none"},
    ]
    return schedules.update(schedule.id, {"phases": phases, "end_behavior": "release"})


def test_a_subscription_is_taken_over(sandbox: Server) -> None:
    history = History(sandbox)
    sub = history.subscribe(sandbox.price(3000))
    schedule = history.v1.subscription_schedules.create({"from_subscription": sub.id})
    assert (schedule.status, schedule.end_behavior, schedule.subscription) == ("active", "release", sub.id)
    item = only_item(sub)
    (phase,) = schedule.phases
    assert (phase.start_date, phase.end_date) == (item.current_period_start, item.current_period_end)
    assert phase["items"][0].price == item.price.id
    assert history.subscription(sub).schedule == schedule.id
    expanded = history.subscription(sub, "schedule").schedule
    assert isinstance(expanded, stripe.SubscriptionSchedule)
    with pytest.raises(stripe.InvalidRequestError, match="already attached to a schedule"):
        history.v1.subscription_schedules.create({"from_subscription": sub.id})


def test_a_downgrade_at_the_end_of_the_period(sandbox: Server) -> None:
    history = History(sandbox)
    sub = history.subscribe(sandbox.price(3000))
    basic = sandbox.price(900)
    schedule = downgrade(history, sub, basic)
    assert [phase.start_date for phase in schedule.phases] == [history.start, at("2026-02-10")]
    assert schedule.phases[1].end_date == at("2026-03-10")
    preview = history.v1.invoices.create_preview({"subscription": sub.id})
    assert preview.amount_due == 900
    assert only_item(history.subscription(sub)).price.unit_amount == 3000
    history.advance_to(at("2026-02-10 01:00"))
    changed = history.subscription(sub)
    assert only_item(changed).price.id == basic.id
    assert only_item(changed).id == only_item(sub).id
    assert [amount for _, amount in lines(history.latest(sub))] == [900]
    assert [invoice.total for invoice in history.invoices()] == [3000, 900]
    assert history.v1.subscription_schedules.retrieve(schedule.id).current_phase.start_date == at(
        "2026-02-10"
    )
    history.advance_to(at("2026-03-10 01:00"))
    released = history.v1.subscription_schedules.retrieve(schedule.id)
    assert (released.status, released.released_subscription, released.subscription) == (
        "released",
        sub.id,
        None,
    )
    assert (history.subscription(sub).schedule, history.latest(sub).total) == (None, 900)
    told = history.told()
    assert {"subscription_schedule.created", "subscription_schedule.released"} <= set(told)


def test_from_a_year_to_a_month(sandbox: Server) -> None:
    history = History(sandbox, start=at("2026-01-31"))
    sub = history.subscribe(sandbox.price(9000, "year"))
    downgrade(history, sub, sandbox.price(900))
    history.advance_to(at("2027-01-31 01:00"))
    found = history.subscription(sub)
    assert only_item(found).current_period_end == at("2027-02-28")
    assert (found.billing_cycle_anchor, history.latest(sub).total) == (at("2027-01-31"), 900)
    history.advance_to(at("2027-02-28 01:00"))
    assert only_item(history.subscription(sub)).current_period_end == at("2027-03-31")


def test_releasing_leaves_the_subscription_as_it_is(sandbox: Server) -> None:
    history = History(sandbox)
    sub = history.subscribe(sandbox.price(3000))
    schedule = downgrade(history, sub, sandbox.price(900))
    history.v1.subscription_schedules.release(schedule.id)
    history.advance_to(at("2026-02-10 01:00"))
    assert history.latest(sub).total == 3000
    with pytest.raises(stripe.InvalidRequestError, match="released"):
        history.v1.subscription_schedules.release(schedule.id)


def test_a_scheduled_subscription_is_not_cancelled_directly(sandbox: Server) -> None:
    history = History(sandbox)
    sub = history.subscribe(sandbox.price(3000))
    downgrade(history, sub, sandbox.price(900))
    for params in ({"cancel_at_period_end": True}, {"cancel_at": at("2026-05-01")}):
        given: Any = params
        with pytest.raises(stripe.InvalidRequestError, match="managed by the subscription schedule"):
            history.v1.subscriptions.update(sub.id, given)
    history.v1.subscriptions.update(sub.id, {"metadata": {"still": "possible"}})


def test_cancelling_a_schedule_cancels_its_subscription(sandbox: Server) -> None:
    history = History(sandbox)
    sub = history.subscribe(sandbox.price(3000))
    schedule = downgrade(history, sub, sandbox.price(900))
    assert history.v1.subscription_schedules.cancel(schedule.id).status == "canceled"
    assert history.subscription(sub).status == "canceled"
    other = history.subscribe(sandbox.price(3000))
    second = downgrade(history, other, sandbox.price(900))
    history.v1.subscriptions.cancel(other.id)
    assert history.v1.subscription_schedules.retrieve(second.id).status == "canceled"


def test_an_end_that_cancels(sandbox: Server) -> None:
    history = History(sandbox)
    sub = history.subscribe(sandbox.price(3000))
    schedules = history.v1.subscription_schedules
    schedule = schedules.create({"from_subscription": sub.id})
    schedules.update(schedule.id, {"end_behavior": "cancel"})
    history.advance_to(at("2026-02-10 01:00"))
    assert history.subscription(sub).status == "canceled"
    assert schedules.retrieve(schedule.id).status == "completed"
    assert len(history.invoices()) == 1


def test_a_schedule_that_starts_later(sandbox: Server) -> None:
    history = History(sandbox)
    schedules = history.v1.subscription_schedules
    start = history.start + 5 * DAY
    duration = {"interval": "month", "interval_count": 2}
    schedule = schedules.create(
        {
            "customer": history.customer,
            "start_date": start,
            "phases": [{"items": [{"price": sandbox.price(700).id}], "duration": duration}],
        }
    )
    assert (schedule.status, schedule.subscription) == ("not_started", None)
    assert [one.id for one in schedules.list({"customer": history.customer, "scheduled": True}).data] == [
        schedule.id
    ]
    history.advance_to(start + HOUR)
    begun = schedules.retrieve(schedule.id)
    assert begun.status == "active"
    assert isinstance(begun.subscription, str)
    sub = history.v1.subscriptions.retrieve(begun.subscription)
    assert (sub.status, sub.start_date, sub.schedule) == ("active", start, schedule.id)
    assert begun.phases[0].end_date == at("2026-03-15")


def test_changing_the_running_phase_applies_at_once(sandbox: Server) -> None:
    history = History(sandbox, start=at("2026-04-01"))
    sub = history.subscribe(sandbox.price(900))
    schedules = history.v1.subscription_schedules
    schedule = schedules.create({"from_subscription": sub.id})
    history.advance(10 * DAY)
    phase: Any = {
        "items": [{"price": sandbox.price(2400).id}],
        "start_date": schedule.phases[0].start_date,
        "end_date": schedule.phases[0].end_date,
    }
    schedules.update(schedule.id, {"phases": [phase], "proration_behavior": "always_invoice"})
    assert only_item(history.subscription(sub)).price.unit_amount == 2400
    assert history.latest(sub).total == 1000


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "from_subscription"),
        ({"from_subscription": "sub_unknown"}, "No such subscription"),
        ({"end_behavior": "renew"}, "from_subscription"),
        ({"iterations": 1}, "unknown parameter"),
    ],
)
def test_refusals(sandbox: Server, params: dict[str, Any], message: str) -> None:
    given: Any = params
    with pytest.raises(stripe.InvalidRequestError, match=message):
        sandbox.client.v1.subscription_schedules.create(given)


def test_phases_follow_one_another(sandbox: Server) -> None:
    history = History(sandbox)
    sub = history.subscribe(sandbox.price(900))
    schedules = history.v1.subscription_schedules
    schedule = schedules.create({"from_subscription": sub.id})
    items: Any = [{"price": only_item(sub).price.id}]
    current = schedule.phases[0]
    gap: Any = [
        {"items": items, "start_date": current.start_date, "end_date": current.end_date},
        {"items": items, "start_date": current.end_date + DAY},
    ]
    with pytest.raises(stripe.InvalidRequestError, match="without gaps"):
        schedules.update(schedule.id, {"phases": gap})
    moved: Any = [{"items": items, "start_date": current.start_date + DAY}]
    with pytest.raises(stripe.InvalidRequestError, match="must be the one that is running"):
        schedules.update(schedule.id, {"phases": moved})
