"""Changing what a subscription costs within a period."""

from typing import Any

import pytest
import stripe
from tests.sandbox.stripe.conftest import Server
from tests.sandbox.stripe.histories import (  # noqa: F401 - `shared_server` is a server for this file alone
    DAY,
    History,
    at,
    lines,
    only_item,
    shared_server,
)

APRIL = at("2026-04-01")  # thirty days: ten are a third


def test_an_upgrade_is_charged_at_once_with_always_invoice(sandbox: Server) -> None:
    history = History(sandbox, start=APRIL)
    sub = history.subscribe(sandbox.price(900))
    history.advance(10 * DAY)
    changed = history.switch(sub, sandbox.price(2400), proration_behavior="always_invoice")
    assert changed.billing_cycle_anchor == APRIL
    assert only_item(changed).current_period_end == at("2026-05-01")
    invoice = history.latest(sub)
    assert lines(invoice) == [
        ("Unused time on Pro after 11 Apr 2026", -600),
        ("Remaining time on Pro after 11 Apr 2026", 1600),
    ]
    assert (invoice.billing_reason, invoice.total, invoice.status) == ("subscription_update", 1000, "paid")
    assert invoice.parent is not None
    assert invoice.parent.subscription_details is not None
    assert invoice.parent.subscription_details.subscription_proration_date == history.now
    credit, debit = (line.parent for line in invoice.lines.data)
    for parent in (credit, debit):
        assert parent is not None
        assert parent.subscription_item_details is not None
        assert parent.subscription_item_details.proration is True
        assert parent.subscription_item_details.subscription_item == only_item(sub).id
    first = history.invoices()[0]
    assert credit is not None
    assert credit.subscription_item_details is not None
    details = credit.subscription_item_details.proration_details
    assert details is not None
    assert details.credited_items is not None
    assert details.credited_items.to_dict() == {
        "invoice": first.id,
        "invoice_line_items": [first.lines.data[0].id],
    }
    assert history.pending() == []
    history.advance_to(at("2026-05-01 02:00"))
    assert history.latest(sub).total == 2400


def test_prorations_wait_for_the_next_invoice_by_default(sandbox: Server) -> None:
    history = History(sandbox, start=APRIL)
    sub = history.subscribe(sandbox.price(900))
    history.advance(10 * DAY)
    history.switch(sub, sandbox.price(2400))
    assert [item.amount for item in history.pending()] == [-600, 1600]
    for item in history.pending():
        assert item.proration is True
        assert item.parent is not None
        assert item.parent.subscription_details is not None
        assert item.parent.subscription_details.subscription == sub.id
    assert len(history.invoices()) == 1
    assert history.told().count("invoiceitem.created") == 2
    history.advance_to(at("2026-05-01 02:00"))
    assert [amount for _, amount in lines(history.latest(sub))] == [-600, 1600, 2400]
    assert history.pending() == []


def test_without_proration_nothing_is_billed(sandbox: Server) -> None:
    history = History(sandbox, start=APRIL)
    sub = history.subscribe(sandbox.price(900))
    history.advance(10 * DAY)
    history.switch(sub, sandbox.price(2400), proration_behavior="none")
    assert history.pending() == []
    assert len(history.invoices()) == 1
    history.advance_to(at("2026-05-01 02:00"))
    assert lines(history.latest(sub)) == [("1 × Pro (at $24.00 / month)", 2400)]  # noqa: RUF001 - as written


def test_a_downgrade_leaves_credit_for_the_next_invoice(sandbox: Server) -> None:
    history = History(sandbox, start=APRIL)
    sub = history.subscribe(sandbox.price(2400))
    history.advance(10 * DAY)
    history.switch(sub, sandbox.price(900), proration_behavior="always_invoice")
    credit = history.latest(sub)
    assert (credit.total, credit.amount_due, credit.status, credit.ending_balance) == (
        -1000,
        0,
        "paid",
        -1000,
    )
    assert history.balance() == -1000
    assert len(history.charges()) == 1
    history.advance_to(at("2026-05-01 02:00"))
    renewal = history.latest(sub)
    assert (renewal.total, renewal.starting_balance, renewal.amount_due) == (900, -1000, 0)
    assert (renewal.status, renewal.ending_balance, history.balance()) == ("paid", -100, -100)
    history.advance_to(at("2026-06-01 02:00"))
    assert (history.latest(sub).amount_paid, history.balance()) == (800, 0)
    assert [charge.amount for charge in history.charges()] == [2400, 800]
    changed = [
        event.previous["balance"]
        for event in history.events("customer.updated")
        if "balance" in event.previous
    ]
    assert changed == [0, -1000, -100]


def test_an_amount_too_small_to_charge_waits_on_the_balance(sandbox: Server) -> None:
    history = History(sandbox, start=APRIL)
    sub = history.subscribe(sandbox.price(900))
    history.advance(10 * DAY)
    history.switch(sub, sandbox.price(930), proration_behavior="always_invoice")
    invoice = history.latest(sub)
    assert (invoice.total, invoice.amount_due, invoice.status) == (20, 0, "paid")
    assert history.balance() == 20
    history.advance_to(at("2026-05-01 02:00"))
    assert (history.latest(sub).amount_paid, history.balance()) == (950, 0)


def test_another_interval_begins_a_new_period(sandbox: Server) -> None:
    history = History(sandbox, start=APRIL)
    sub = history.subscribe(sandbox.price(900))
    history.advance(10 * DAY)
    changed = history.switch(sub, sandbox.price(9000, "year"))
    assert changed.billing_cycle_anchor == history.now
    assert only_item(changed).current_period_start == history.now
    assert only_item(changed).current_period_end == at("2027-04-11")
    invoice = history.latest(sub)
    assert [amount for _, amount in lines(invoice)] == [-600, 9000]
    assert (invoice.status, invoice.billing_reason) == ("paid", "subscription_update")
    history.advance_to(at("2027-04-11 02:00"))
    assert history.latest(sub).total == 9000


def test_the_anchor_can_be_reset(sandbox: Server) -> None:
    history = History(sandbox, start=APRIL)
    sub = history.subscribe(sandbox.price(900))
    history.advance(10 * DAY)
    params: Any = {"billing_cycle_anchor": {"type": "now"}, "proration_behavior": "none"}
    changed = sandbox.client.v1.subscriptions.update(sub.id, params)
    assert only_item(changed).current_period_end == at("2026-05-11")
    assert history.latest(sub).total == 900
    with pytest.raises(stripe.InvalidRequestError) as caught:
        wrong: Any = {"billing_cycle_anchor": "now"}
        sandbox.client.v1.subscriptions.update(sub.id, wrong)
    assert caught.value.param == "billing_cycle_anchor", "an object since the newest version"


def test_quantities(sandbox: Server) -> None:
    history = History(sandbox, start=APRIL)
    price = sandbox.price(300)
    sub = history.subscribe(price, items=[{"price": price.id, "quantity": 2}])
    assert history.latest(sub).total == 600
    history.advance(10 * DAY)
    wish: Any = [{"id": only_item(sub).id, "quantity": 5}]
    sandbox.client.v1.subscriptions.update(sub.id, {"items": wish, "proration_behavior": "always_invoice"})
    assert lines(history.latest(sub)) == [
        ("Unused time on 2 × Pro after 11 Apr 2026", -400),  # noqa: RUF001 - as it is written
        ("Remaining time on 5 × Pro after 11 Apr 2026", 1000),  # noqa: RUF001 - as it is written
    ]


def test_credit_is_a_share_of_what_was_charged_and_not_of_todays_price(sandbox: Server) -> None:
    history = History(sandbox, start=APRIL)
    flexible = history.subscribe(sandbox.price(900))
    classic = history.subscribe(sandbox.price(900), billing_mode={"type": "classic"})
    dear, dearer = sandbox.price(3000), sandbox.price(6000)
    for sub in (flexible, classic):
        history.switch(sub, dear, proration_behavior="none")
    history.advance(15 * DAY)
    credits_: list[int] = []
    for sub in (flexible, classic):
        history.switch(sub, dearer, proration_behavior="always_invoice")
        credits_.append(lines(history.latest(sub))[0][1])
    assert credits_ == [-450, -1500]


def test_changing_twice_in_a_period_credits_each_part_once(sandbox: Server) -> None:
    history = History(sandbox, start=APRIL)
    sub = history.subscribe(sandbox.price(900))
    history.advance(10 * DAY)
    history.switch(sub, sandbox.price(2400), proration_behavior="always_invoice")
    history.advance(10 * DAY)
    history.switch(sub, sandbox.price(600), proration_behavior="always_invoice")
    assert [amount for _, amount in lines(history.latest(sub))] == [-800, 200]
    paid = sum(invoice.total for invoice in history.invoices())
    assert paid == 300 + 800 + 200, "each third of the month at its own price"


def test_a_proration_date_within_the_period(sandbox: Server) -> None:
    history = History(sandbox, start=APRIL)
    sub = history.subscribe(sandbox.price(900))
    history.advance(10 * DAY)
    when = APRIL + 5 * DAY
    history.switch(sub, sandbox.price(2400), proration_behavior="always_invoice", proration_date=when)
    assert [amount for _, amount in lines(history.latest(sub))] == [-750, 2000]
    with pytest.raises(stripe.InvalidRequestError, match="current billing period"):
        history.switch(sub, sandbox.price(1), proration_date=APRIL - 1)


def test_a_refused_upgrade_makes_it_past_due(sandbox: Server) -> None:
    history = History(sandbox, start=APRIL)
    sub = history.subscribe(sandbox.price(900))
    history.use_card("pm_card_chargeCustomerFail")
    changed = history.switch(sub, sandbox.price(2400), proration_behavior="always_invoice")
    assert (changed.status, only_item(changed).price.unit_amount) == ("past_due", 2400)
    assert history.latest(sub).status == "open"


def test_error_if_incomplete_changes_nothing(sandbox: Server) -> None:
    history = History(sandbox, start=APRIL)
    sub = history.subscribe(sandbox.price(900))
    history.use_card("pm_card_chargeCustomerFail")
    with pytest.raises(stripe.CardError):
        history.switch(
            sub,
            sandbox.price(2400),
            proration_behavior="always_invoice",
            payment_behavior="error_if_incomplete",
        )
    found = history.subscription(sub)
    assert (found.status, only_item(found).price.unit_amount) == ("active", 900)
    assert history.pending() == []


def test_a_pending_update_applies_when_it_is_paid(sandbox: Server) -> None:
    history = History(sandbox, start=APRIL)
    sub = history.subscribe(sandbox.price(900))
    history.use_card("pm_card_chargeCustomerFail")
    how: Any = {"proration_behavior": "always_invoice", "payment_behavior": "pending_if_incomplete"}
    waiting = history.switch(sub, sandbox.price(2400), **how)
    assert (waiting.status, only_item(waiting).price.unit_amount) == ("active", 900)
    assert waiting.pending_update is not None
    assert waiting.pending_update.expires_at == history.now + 23 * 3600
    invoice = history.latest(sub)
    assert invoice.status == "open"
    history.use_card("pm_card_visa")
    sandbox.client.v1.invoices.pay(str(invoice.id))
    applied = history.subscription(sub)
    assert (applied.pending_update, only_item(applied).price.unit_amount) == (None, 2400)
    assert "customer.subscription.pending_update_applied" in history.told()
    with pytest.raises(stripe.InvalidRequestError, match="cannot be changed"):
        history.switch(sub, sandbox.price(1), **how, metadata={"a": "b"})


def test_a_pending_update_expires(sandbox: Server) -> None:
    history = History(sandbox, start=APRIL)
    sub = history.subscribe(sandbox.price(900))
    history.use_card("pm_card_chargeCustomerFail")
    how: Any = {"proration_behavior": "always_invoice", "payment_behavior": "pending_if_incomplete"}
    history.switch(sub, sandbox.price(2400), **how)
    invoice = history.latest(sub)
    history.advance(DAY)
    found = history.subscription(sub)
    assert (found.pending_update, only_item(found).price.unit_amount, found.status) == (None, 900, "active")
    assert sandbox.client.v1.invoices.retrieve(str(invoice.id)).status == "void"
    assert "customer.subscription.pending_update_expired" in history.told()


def test_previews_say_what_comes(sandbox: Server) -> None:
    history = History(sandbox, start=APRIL)
    v1 = sandbox.client.v1
    sub = history.subscribe(sandbox.price(900))
    history.advance(10 * DAY)
    upcoming = v1.invoices.create_preview({"customer": history.customer, "subscription": sub.id})
    assert (upcoming.amount_due, upcoming.status, upcoming.billing_reason) == (900, "draft", "upcoming")
    assert upcoming.lines.data[0].period.start == at("2026-05-01")
    pro = sandbox.price(2400)
    item = only_item(sub).id

    def preview(**details: Any) -> stripe.Invoice:
        wish: Any = {"items": [{"id": item, "price": pro.id}], **details}
        return v1.invoices.create_preview({"subscription": sub.id, "subscription_details": wish})

    now = preview(proration_behavior="always_invoice")
    assert [amount for _, amount in lines(now)] == [-600, 1600]
    later = preview(proration_behavior="create_prorations")
    assert [amount for _, amount in lines(later)] == [-600, 1600, 2400]
    assert preview(proration_behavior="none").amount_due == 2400
    assert len(history.invoices()) == 1
    assert history.pending() == []
    assert only_item(history.subscription(sub)).price.unit_amount == 900
    first = v1.invoices.create_preview(
        {"customer": history.customer, "subscription_details": {"items": [{"price": pro.id}]}}
    )
    assert first.amount_due == 2400
    v1.subscriptions.update(sub.id, {"cancel_at_period_end": True})
    with pytest.raises(stripe.InvalidRequestError) as caught:
        v1.invoices.create_preview({"subscription": sub.id})
    assert caught.value.code == "invoice_upcoming_none"


def test_a_preview_costs_what_the_change_then_costs(sandbox: Server) -> None:
    history = History(sandbox, start=at("2026-01-31 09:30"))
    sub = history.subscribe(sandbox.price(1337))
    history.advance(17 * DAY + 4711)
    pro = sandbox.price(2999)
    details: Any = {
        "items": [{"id": only_item(sub).id, "price": pro.id}],
        "proration_behavior": "always_invoice",
        "proration_date": history.now,
    }
    previewed = sandbox.client.v1.invoices.create_preview(
        {"subscription": sub.id, "subscription_details": details}
    )
    sandbox.client.v1.subscriptions.update(sub.id, details)
    assert lines(history.latest(sub)) == lines(previewed)


def test_amounts_without_decimals(sandbox: Server) -> None:
    history = History(sandbox, start=APRIL)
    sub = history.subscribe(sandbox.price(1000, currency="jpy"))
    history.advance(10 * DAY)
    history.switch(sub, sandbox.price(2000, currency="jpy"), proration_behavior="always_invoice")
    assert [amount for _, amount in lines(history.latest(sub))] == [-667, 1333]
    assert history.charges()[-1].currency == "jpy"


def test_many_lines_are_shown_ten_at_a_time(sandbox: Server) -> None:
    history = History(sandbox, start=APRIL)
    prices = [sandbox.price(1000 + 100 * step) for step in range(7)]
    sub = history.subscribe(prices[0])
    for price in prices[1:]:
        history.advance(DAY)
        history.switch(sub, price)
    history.advance_to(at("2026-05-01 02:00"))
    invoice = history.latest(sub)
    assert (len(invoice.lines.data), invoice.lines.has_more) == (10, True)
    found = list(sandbox.client.v1.invoices.line_items.list(str(invoice.id), {"limit": 5}).auto_paging_iter())
    assert len(found) == 13
    assert sum(line.amount for line in found) == invoice.total
