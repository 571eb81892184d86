"""Periods that follow one another, and payments that fail."""

from dataclasses import replace
from pathlib import Path

import pytest
import stripe
from tests.sandbox.stripe.conftest import Server
from tests.sandbox.stripe.histories import (  # noqa: F401 - `shared_server` is a server for this file alone
    DAY,
    HOUR,
    History,
    at,
    day,
    only_item,
    shared_server,
)
from tests.sandbox.stripe.house import ASKS, FAILS_LATER, House, card


def test_the_period_moves_at_once_and_the_money_comes_an_hour_later(sandbox: Server) -> None:
    history = History(sandbox)
    sub = history.subscribe(sandbox.price(1200))
    end = only_item(sub).current_period_end
    history.advance_to(end)
    renewed = history.subscription(sub)
    assert (renewed.status, only_item(renewed).current_period_start) == ("active", end)
    assert only_item(renewed).current_period_end == at("2026-03-10")
    draft = history.latest(sub)
    assert (draft.status, draft.billing_reason) == ("draft", "subscription_cycle")
    assert draft.automatically_finalizes_at == draft.next_payment_attempt == end + HOUR
    assert (draft.number, draft.hosted_invoice_url, draft.attempted) == (None, None, False)
    assert (draft.period_start, draft.period_end) == (history.start, end), "it looks back on the old period"
    (line,) = draft.lines.data
    assert (line.period.start, line.period.end) == (end, at("2026-03-10"))
    history.advance(HOUR - 1)
    assert history.latest(sub).status == "draft"
    history.advance(1)
    paid = history.latest(sub)
    assert (paid.status, paid.attempt_count, paid.amount_paid) == ("paid", 1, 1200)
    assert paid.status_transitions.finalized_at == paid.status_transitions.paid_at == end + HOUR
    assert paid.number is not None
    assert paid.number.endswith("-0002")


def test_the_31st_is_found_again_after_a_february(sandbox: Server) -> None:
    history = History(sandbox, start=at("2026-01-31 18:00"))
    sub = history.subscribe(sandbox.price(1200))
    history.advance_to(at("2026-07-01"))
    starts = [day(invoice.lines.data[0].period.start) for invoice in history.invoices()]
    assert starts == ["2026-01-31", "2026-02-28", "2026-03-31", "2026-04-30", "2026-05-31", "2026-06-30"]
    assert history.subscription(sub).billing_cycle_anchor == history.start


@pytest.mark.parametrize(
    ("start", "interval", "count", "ends"),
    [
        ("2028-02-29", "year", 1, ["2029-02-28", "2030-02-28"]),
        ("2026-03-28", "week", 2, ["2026-04-11", "2026-04-25"]),
        ("2026-12-31", "month", 2, ["2027-02-28", "2027-04-30"]),
        ("2026-05-01", "day", 3, ["2026-05-04", "2026-05-07"]),
    ],
)
def test_intervals(sandbox: Server, start: str, interval: str, count: int, ends: list[str]) -> None:
    history = History(sandbox, start=at(start))
    rhythm = {"interval": interval, "interval_count": count}
    sub = history.subscribe(sandbox.price(1200, recurring=rhythm))
    found: list[str] = []
    for _ in ends:
        end = only_item(history.subscription(sub)).current_period_end
        found.append(day(end))
        history.advance_to(end)
    assert found == ends


def test_events_of_a_renewal(sandbox: Server) -> None:
    history = History(sandbox)
    sub = history.subscribe(sandbox.price(1200))
    before = len(history.told())
    history.advance_to(at("2026-02-03"))
    (upcoming,) = history.events("invoice.upcoming")
    assert upcoming.shown["amount_due"] == 1200
    assert upcoming.shown["billing_reason"] == "upcoming"
    history.advance_to(at("2026-02-10 01:00"))
    assert history.told()[before + 1 :] == [
        "invoice.created",
        "customer.subscription.updated",
        "invoice.finalized",
        "payment_intent.created",
        "charge.succeeded",
        "payment_intent.succeeded",
        "invoice.updated",
        "invoice.paid",
        "invoice.payment_succeeded",
    ]
    (event,) = history.events("customer.subscription.updated")
    assert set(event.previous) == {"items", "latest_invoice"}
    (item,) = event.previous["items"]["data"]
    assert item["current_period_start"] == history.start
    assert event.shown["items"]["data"][0]["current_period_start"] == at("2026-02-10")
    settled = history.events("invoice.updated")[-1].previous
    assert (settled["status"], settled["attempted"], settled["attempt_count"]) == ("open", False, 0)
    assert sub.id == event.shown["id"]


def test_a_failed_renewal_is_tried_again_and_then_cancels(sandbox: Server) -> None:
    history = History(sandbox)
    sub = history.subscribe(sandbox.price(1200))
    history.use_card("pm_card_chargeCustomerFail")
    due = at("2026-02-10 01:00")
    history.advance_to(due)
    failing = history.subscription(sub)
    assert failing.status == "past_due"
    assert only_item(failing).current_period_end == at("2026-03-10")
    invoice = history.latest(sub)
    assert (invoice.status, invoice.attempt_count, invoice.attempted) == ("open", 1, True)
    assert invoice.next_payment_attempt == due + 3 * DAY
    assert invoice.hosted_invoice_url is not None
    (event,) = [one for one in history.events("customer.subscription.updated") if "status" in one.previous]
    assert event.previous == {"status": "active"}
    for attempt, moment in ((2, due + 3 * DAY), (3, due + 8 * DAY)):
        history.advance_to(moment)
        assert history.latest(sub).attempt_count == attempt
    assert history.latest(sub).next_payment_attempt == due + 15 * DAY
    history.advance_to(due + 15 * DAY)
    ended = history.subscription(sub)
    assert (ended.status, ended.ended_at) == ("canceled", history.now)
    assert ended.cancellation_details is not None
    assert ended.cancellation_details.reason == "payment_failed"
    last = history.latest(sub)
    assert (last.status, last.attempt_count, last.next_payment_attempt) == ("open", 4, None)
    told = history.told()
    assert told.count("invoice.payment_failed") == told.count("charge.failed") == 4
    assert told.count("customer.subscription.deleted") == 1
    assert sandbox.client.v1.customers.retrieve(history.customer).delinquent is True


def test_a_new_card_makes_a_retry_succeed(sandbox: Server) -> None:
    history = History(sandbox)
    sub = history.subscribe(sandbox.price(1200))
    history.use_card("pm_card_chargeCustomerFail")
    history.advance_to(at("2026-02-10 01:00"))
    history.use_card("pm_card_visa")
    assert history.subscription(sub).status == "past_due", "a new card alone tries nothing"
    history.advance(3 * DAY)
    assert history.subscription(sub).status == "active"
    assert (history.latest(sub).status, history.latest(sub).attempt_count) == ("paid", 2)
    assert sandbox.client.v1.customers.retrieve(history.customer).delinquent is False


def test_paying_the_open_invoice_makes_it_active(sandbox: Server) -> None:
    history = History(sandbox)
    sub = history.subscribe(sandbox.price(1200))
    history.use_card("pm_card_chargeCustomerFail")
    history.advance_to(at("2026-02-10 01:00"))
    invoice = history.latest(sub)
    with pytest.raises(stripe.CardError) as caught:
        sandbox.client.v1.invoices.pay(str(invoice.id))
    assert (caught.value.code, caught.value.error.decline_code) == ("card_declined", "generic_decline")
    again = history.latest(sub)
    assert (again.attempt_count, again.next_payment_attempt) == (1, invoice.next_payment_attempt)
    good = sandbox.client.v1.payment_methods.attach("pm_card_visa", {"customer": history.customer})
    sandbox.client.v1.invoices.pay(str(invoice.id), {"payment_method": good.id})
    assert history.subscription(sub).status == "active"
    with pytest.raises(stripe.InvalidRequestError, match="already paid"):
        sandbox.client.v1.invoices.pay(str(invoice.id))


def test_a_card_that_asks_fails_a_renewal(sandbox: Server) -> None:
    history = History(sandbox)
    sub = history.subscribe(sandbox.price(1200))
    history.use_card("pm_card_authenticationRequired")
    history.advance_to(at("2026-02-10 01:00"))
    assert history.subscription(sub).status == "past_due"
    told = history.told()
    assert {"invoice.payment_action_required", "invoice.payment_failed"} <= set(told)
    with pytest.raises(stripe.CardError) as caught:
        sandbox.client.v1.invoices.pay(str(history.latest(sub).id))
    assert caught.value.code == "invoice_payment_intent_requires_action"


def test_voiding_what_is_owed_makes_it_active(sandbox: Server) -> None:
    history = History(sandbox)
    sub = history.subscribe(sandbox.price(1200))
    history.use_card("pm_card_chargeCustomerFail")
    history.advance_to(at("2026-02-10 01:00"))
    voided = sandbox.client.v1.invoices.void_invoice(str(history.latest(sub).id))
    assert (voided.status, voided.amount_remaining) == ("void", 1200)
    assert history.subscription(sub).status == "active"
    with pytest.raises(stripe.InvalidRequestError, match="void"):
        sandbox.client.v1.invoices.pay(str(voided.id))


def test_cancelling_within_the_hour_leaves_a_draft(sandbox: Server) -> None:
    history = History(sandbox)
    sub = history.subscribe(sandbox.price(1200))
    history.advance_to(at("2026-02-10 00:10"))
    sandbox.client.v1.subscriptions.cancel(sub.id)
    history.advance(10 * DAY)
    assert [invoice.status for invoice in history.invoices()] == ["paid", "draft"]
    assert len(history.charges()) == 1


def test_credit_of_the_customer_pays_first(sandbox: Server) -> None:
    history = History(sandbox)
    sub = history.subscribe(sandbox.price(1200))
    sandbox.client.v1.customers.update(history.customer, {"balance": -500})
    history.advance_to(at("2026-02-10 02:00"))
    invoice = history.latest(sub)
    assert (invoice.total, invoice.amount_due, invoice.amount_paid) == (1200, 700, 700)
    assert history.balance() == 0
    sandbox.client.v1.customers.update(history.customer, {"balance": -5000})
    history.advance_to(at("2026-03-10 02:00"))
    assert (history.latest(sub).amount_due, history.latest(sub).status) == (0, "paid")
    assert history.balance() == -3800
    assert len(history.charges()) == 2


def test_voiding_gives_used_credit_back(sandbox: Server) -> None:
    history = History(sandbox)
    sub = history.subscribe(sandbox.price(1200))
    sandbox.client.v1.customers.update(history.customer, {"balance": -500})
    history.use_card("pm_card_chargeCustomerFail")
    history.advance_to(at("2026-02-10 02:00"))
    assert history.balance() == 0
    sandbox.client.v1.invoices.void_invoice(str(history.latest(sub).id))
    assert history.balance() == -500


def test_invoices_made_by_hand(sandbox: Server) -> None:
    history = History(sandbox)
    v1 = sandbox.client.v1
    item = v1.invoice_items.create(
        {"customer": history.customer, "amount": 1500, "currency": "usd", "description": "A print"}
    )
    invoice = v1.invoices.create({"customer": history.customer, "pending_invoice_items_behavior": "include"})
    assert (invoice.status, invoice.total, invoice.parent) == ("draft", 1500, None)
    assert v1.invoice_items.retrieve(item.id).invoice == invoice.id
    final = v1.invoices.finalize_invoice(str(invoice.id))
    assert (final.status, final.billing_reason, final.amount_remaining) == ("open", "manual", 1500)
    assert v1.invoices.pay(str(invoice.id)).status == "paid"
    with pytest.raises(stripe.InvalidRequestError, match="delete draft"):
        v1.invoices.delete(str(invoice.id))
    empty = v1.invoices.create({"customer": history.customer})
    v1.invoice_items.create(
        {"customer": history.customer, "invoice": str(empty.id), "amount": 200, "currency": "usd"}
    )
    assert v1.invoices.retrieve(str(empty.id)).total == 200
    assert v1.invoices.delete(str(empty.id)).deleted is True
    assert [one.amount for one in history.pending()] == [200], "its item waits again"
    lost = v1.invoices.create({"customer": history.customer, "pending_invoice_items_behavior": "include"})
    v1.invoices.finalize_invoice(str(lost.id))
    assert v1.invoices.mark_uncollectible(str(lost.id)).status == "uncollectible"
    assert v1.invoices.pay(str(lost.id)).status == "paid"


def test_a_year_on_the_sandboxes_own_time(sandbox: Server) -> None:
    customer = sandbox.customer()
    v1 = sandbox.client.v1
    method = v1.payment_methods.attach("pm_card_visa", {"customer": customer.id})
    sub = v1.subscriptions.create(
        {
            "customer": customer.id,
            "default_payment_method": method.id,
            "items": [{"price": sandbox.price(500).id}],
        }
    )
    sandbox.advance(366 * DAY)
    invoices = v1.invoices.list({"subscription": sub.id, "limit": 100}).data
    assert len(invoices) == 13
    assert {invoice.status for invoice in invoices} == {"paid"}
    assert len({invoice.created for invoice in invoices}) == 13, "each at its own moment"


@pytest.mark.parametrize("end", ["unpaid", "past_due"])
def test_a_merchant_may_keep_what_is_not_paid(tmp_path: Path, end: str) -> None:
    house = House(tmp_path / "stripe")
    house.engine.settings = replace(house.engine.settings, after_retries=end, retry_days=(1, 2))
    sub = house.subscribe(house.basic)
    house.engine.portal.set_card(house.visit(), card(FAILS_LATER))
    house.advance(36 * DAY)
    owed = house.latest(sub)
    assert (sub["status"], owed["status"], owed["attempt_count"]) == (end, "open", 3)
    house.advance(31 * DAY)
    later = house.latest(sub)
    assert later["id"] != owed["id"]
    assert later["status"] == ("draft" if end == "unpaid" else "open")
    house.engine.hosted_invoices.pay(owed["id"], card("4242424242424242"))
    assert sub["status"] == ("active" if end == "unpaid" else "past_due"), "the newest one counts"


def test_a_first_payment_that_asks_is_answered_on_the_invoices_page(tmp_path: Path) -> None:
    house = House(tmp_path / "stripe")
    engine = house.engine
    method = engine.payment_methods.attach(engine.payment_methods.create(card(ASKS)), house.customer)
    params = {
        "customer": house.customer["id"],
        "items": [{"price": house.basic}],
        "default_payment_method": method["id"],
    }
    sub = engine.subscriptions.create(params)
    invoice_id: str = sub["latest_invoice"]
    assert (sub["status"], engine.hosted_invoices.view(invoice_id).challenge) == ("incomplete", True)
    engine.hosted_invoices.answer_challenge(invoice_id, approve=True)
    assert (sub["status"], house.latest(sub)["status"]) == ("active", "paid")
