"""Making, changing, pausing and ending subscriptions."""

from typing import Any

import pytest
import stripe
from tests.sandbox.stripe.conftest import Server
from tests.sandbox.stripe.histories import (  # noqa: F401 - `shared_server` is a server for this file alone
    DAY,
    HOUR,
    History,
    at,
    only_item,
    shared_server,
)


def test_a_first_payment_makes_it_active(sandbox: Server) -> None:
    history = History(sandbox)
    sub = history.subscribe(sandbox.price(1200), metadata={"plan": "pro"})
    assert (sub.status, sub.currency, sub.metadata.to_dict()) == ("active", "usd", {"plan": "pro"})
    assert "current_period_end" not in sub
    item = only_item(sub)
    assert (item.current_period_start, item.current_period_end) == (history.start, at("2026-02-10"))
    invoice = history.latest(sub)
    assert (invoice.status, invoice.billing_reason, invoice.amount_paid) == (
        "paid",
        "subscription_create",
        1200,
    )
    assert invoice.parent is not None
    assert invoice.parent.subscription_details is not None
    assert invoice.parent.subscription_details.subscription == sub.id
    assert invoice.parent.subscription_details.metadata is not None
    assert invoice.parent.subscription_details.metadata.to_dict() == {"plan": "pro"}
    for gone in ("subscription", "charge", "payment_intent", "paid"):
        assert gone not in invoice
    (line,) = invoice.lines.data
    assert line.parent is not None
    assert line.parent.subscription_item_details is not None
    assert line.parent.subscription_item_details.subscription_item == item.id
    assert line.parent.subscription_item_details.proration is False
    assert line.pricing is not None
    assert line.pricing.price_details is not None
    assert line.pricing.price_details.price == item.price.id
    assert (line.period.start, line.period.end) == (item.current_period_start, item.current_period_end)


def test_an_invoice_leads_to_its_charge_by_its_payment(sandbox: Server) -> None:
    history = History(sandbox)
    invoice = history.latest(history.subscribe(sandbox.price(1200)))
    assert "payments" not in sandbox.client.v1.invoices.retrieve(str(invoice.id))
    assert invoice.payments is not None
    (payment,) = invoice.payments.data
    assert (payment.status, payment.amount_paid, payment.is_default) == ("paid", 1200, True)
    (charge,) = history.charges()
    assert payment.payment.payment_intent == charge.payment_intent
    assert "invoice" not in charge
    listed = sandbox.client.v1.invoice_payments.list({"invoice": str(invoice.id)}).data
    assert [one.id for one in listed] == [payment.id]
    by_intent: Any = {"payment": {"type": "payment_intent", "payment_intent": charge.payment_intent}}
    assert [one.invoice for one in sandbox.client.v1.invoice_payments.list(by_intent).data] == [invoice.id]


def test_events_of_a_first_payment(sandbox: Server) -> None:
    history = History(sandbox)
    history.subscribe(sandbox.price(1200))
    told = history.told()
    for expected in (
        "invoice.created",
        "invoice.finalized",
        "payment_intent.created",
        "charge.succeeded",
        "payment_intent.succeeded",
        "invoice.paid",
        "invoice.payment_succeeded",
        "customer.subscription.created",
    ):
        assert told.count(expected) == 1
    (created,) = history.events("customer.subscription.created")
    assert created.shown["status"] == "active"
    assert told.index("invoice.created") < told.index("invoice.finalized") < told.index("invoice.paid")


def test_without_a_card_nothing_is_made(sandbox: Server) -> None:
    history = History(sandbox, card=None)
    with pytest.raises(stripe.InvalidRequestError, match="no attached payment source") as caught:
        history.subscribe(sandbox.price())
    assert caught.value.code == "resource_missing"
    assert sandbox.client.v1.subscriptions.list({"customer": history.customer, "status": "all"}).data == []
    assert history.invoices() == []


def test_a_refused_first_payment_leaves_it_incomplete_for_23_hours(sandbox: Server) -> None:
    history = History(sandbox, card="pm_card_chargeCustomerFail")
    sub = history.subscribe(sandbox.price(1200))
    assert sub.status == "incomplete"
    invoice = history.latest(sub)
    assert (invoice.status, invoice.attempt_count, invoice.next_payment_attempt) == ("open", 1, None)
    assert "invoice.payment_failed" in history.told()
    history.advance(23 * HOUR - 1)
    assert history.subscription(sub).status == "incomplete"
    history.advance(1)
    assert history.subscription(sub).status == "incomplete_expired"
    assert history.latest(sub).status == "void"
    assert {"invoice.voided", "payment_intent.canceled"} <= set(history.told())
    assert sandbox.client.v1.subscriptions.list({"customer": history.customer}).data[0].id == sub.id


def test_a_refused_first_payment_can_be_made_good(sandbox: Server) -> None:
    history = History(sandbox, card="pm_card_chargeCustomerFail")
    sub = history.subscribe(sandbox.price(1200))
    history.advance(3 * HOUR)
    history.use_card("pm_card_visa")
    paid = sandbox.client.v1.invoices.pay(str(history.latest(sub).id))
    assert (paid.status, paid.amount_remaining) == ("paid", 0)
    assert history.subscription(sub).status == "active"
    (event,) = history.events("customer.subscription.updated")
    assert event.previous == {"status": "incomplete"}


def test_default_incomplete_waits_for_its_payment_intent(sandbox: Server) -> None:
    history = History(sandbox, card=None)
    sub = history.subscribe(
        sandbox.price(1200),
        payment_behavior="default_incomplete",
        payment_settings={"save_default_payment_method": "on_subscription"},
        expand=["latest_invoice.confirmation_secret", "latest_invoice.payments"],
    )
    assert sub.status == "incomplete"
    invoice = sub.latest_invoice
    assert isinstance(invoice, stripe.Invoice)
    assert invoice.status == "open"
    assert invoice.payments is not None
    assert invoice.confirmation_secret is not None
    intent_id = invoice.payments.data[0].payment.payment_intent
    assert isinstance(intent_id, str)
    assert invoice.confirmation_secret.client_secret.startswith(f"{intent_id}_secret_")
    assert history.told().count("customer.subscription.created") == 1
    method = sandbox.client.v1.payment_methods.attach("pm_card_visa", {"customer": history.customer})
    intent = sandbox.client.v1.payment_intents.confirm(intent_id, {"payment_method": method.id})
    assert intent.status == "succeeded"
    found = history.subscription(sub)
    assert (found.status, found.default_payment_method) == ("active", method.id)


def test_error_if_incomplete_makes_no_subscription(sandbox: Server) -> None:
    history = History(sandbox, card="pm_card_chargeCustomerFail")
    with pytest.raises(stripe.CardError) as caught:
        history.subscribe(sandbox.price(1200), payment_behavior="error_if_incomplete")
    assert (caught.value.http_status, caught.value.code) == (402, "card_declined")
    assert sandbox.client.v1.subscriptions.list({"customer": history.customer, "status": "all"}).data == []
    assert history.invoices() == []
    (charge,) = history.charges()
    assert (charge.status, charge.failure_code) == ("failed", "card_declined")


def test_a_card_that_asks_leaves_it_incomplete_until_answered(sandbox: Server) -> None:
    history = History(sandbox, card="pm_card_authenticationRequired")
    sub = history.subscribe(sandbox.price(1200))
    assert sub.status == "incomplete"
    told = history.told()
    assert "invoice.payment_action_required" in told
    assert "payment_intent.requires_action" in told
    assert "charge.failed" not in told


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"items": []}, "items"),
        ({"items": [{"price": "price_unknown"}]}, "No such price: 'price_unknown'"),
        ({"customer": "cus_unknown"}, "No such customer: 'cus_unknown'"),
        ({"trial_period_days": 3, "trial_end": at("2027-01-01")}, "only specify one"),
        ({"trial_end": at("2020-01-01")}, "in the future"),
        ({"default_payment_method": "pm_unknown"}, "No such PaymentMethod"),
        ({"collection_method": "send_invoice"}, "days_until_due"),
        ({"automatic_tax": {"enabled": True}}, "Stripe Tax"),
        ({"colour": "red"}, "unknown parameter: colour"),
        ({"items": [{"quantity": 1}]}, "price"),
    ],
)
def test_refusals(sandbox: Server, params: dict[str, Any], message: str) -> None:
    history = History(sandbox)
    with pytest.raises(stripe.InvalidRequestError) as caught:
        history.subscribe(sandbox.price(), **params)
    assert message in str(caught.value)
    assert caught.value.http_status == 400


def test_prices_must_go_together(sandbox: Server) -> None:
    history = History(sandbox)
    price, yearly, once = (
        sandbox.price(),
        sandbox.price(9000, "year"),
        sandbox.client.v1.prices.create(
            {"currency": "usd", "unit_amount": 5, "product_data": {"name": "Once"}}
        ),
    )
    for items, message in (
        ([{"price": price.id}, {"price": yearly.id}], "mismatch in interval"),
        ([{"price": price.id}, {"price": price.id}], "same plan"),
        ([{"price": once.id}], "type=one_time"),
    ):
        with pytest.raises(stripe.InvalidRequestError, match=message):
            history.subscribe(price, items=items)
    sandbox.client.v1.prices.update(price.id, {"active": False})
    with pytest.raises(stripe.InvalidRequestError, match="inactive"):
        history.subscribe(price)


def test_an_item_without_an_id_is_a_second_one(sandbox: Server) -> None:
    history = History(sandbox)
    sub = history.subscribe(sandbox.price(1000))
    other = sandbox.price(500)
    changed = sandbox.client.v1.subscriptions.update(sub.id, {"items": [{"price": other.id}]})
    assert sorted(item.price.unit_amount or 0 for item in changed["items"].data) == [500, 1000]
    with pytest.raises(stripe.InvalidRequestError, match="same plan"):
        sandbox.client.v1.subscriptions.update(sub.id, {"items": [{"price": other.id}]})
    first = only_item(sub).id
    left = sandbox.client.v1.subscriptions.update(sub.id, {"items": [{"id": first, "deleted": True}]})
    assert only_item(left).price.id == other.id
    with pytest.raises(stripe.InvalidRequestError, match="at least one"):
        wish: Any = [{"id": only_item(left).id, "deleted": True}]
        sandbox.client.v1.subscriptions.update(sub.id, {"items": wish})
    with pytest.raises(stripe.InvalidRequestError, match="No such subscription_item"):
        sandbox.client.v1.subscriptions.update(sub.id, {"items": [{"id": first, "price": other.id}]})


def test_items_have_an_api_of_their_own(sandbox: Server) -> None:
    history = History(sandbox)
    v1 = sandbox.client.v1
    sub = history.subscribe(sandbox.price(1000))
    extra = v1.subscription_items.create({"subscription": sub.id, "price": sandbox.price(300).id})
    changed = v1.subscription_items.update(extra.id, {"quantity": 4, "proration_behavior": "none"})
    assert changed.quantity == 4
    assert v1.subscription_items.retrieve(extra.id).quantity == 4
    listed = v1.subscription_items.list({"subscription": sub.id}).data
    assert [item.id for item in listed] == [only_item(sub).id, extra.id]
    assert v1.subscription_items.delete(extra.id).deleted is True
    assert only_item(history.subscription(sub)).id == only_item(sub).id


def test_cancelling_at_once(sandbox: Server) -> None:
    history = History(sandbox)
    sub = history.subscribe(sandbox.price(1000))
    history.advance(5 * DAY)
    ended = sandbox.client.v1.subscriptions.cancel(
        sub.id, {"cancellation_details": {"comment": "too dark", "feedback": "other"}}
    )
    assert (ended.status, ended.ended_at, ended.canceled_at) == ("canceled", history.now, history.now)
    assert ended.cancellation_details is not None
    assert ended.cancellation_details.reason == "cancellation_requested"
    assert ended.cancellation_details.comment == "too dark"
    (event,) = history.events("customer.subscription.deleted")
    assert event.shown["status"] == "canceled"
    assert history.balance() == 0
    with pytest.raises(stripe.InvalidRequestError, match="already canceled"):
        sandbox.client.v1.subscriptions.cancel(sub.id)
    with pytest.raises(stripe.InvalidRequestError, match="can only update its cancellation_details"):
        history.switch(sub, sandbox.price(5))
    kept = sandbox.client.v1.subscriptions.update(sub.id, {"metadata": {"why": "known"}})
    assert kept.metadata.to_dict() == {"why": "known"}
    history.advance(40 * DAY)
    assert len(history.invoices()) == 1


def test_cancelling_with_credit_for_the_rest(sandbox: Server) -> None:
    history = History(sandbox, start=at("2026-04-01"))
    sub = history.subscribe(sandbox.price(3000))
    history.advance(10 * DAY)
    sandbox.client.v1.subscriptions.cancel(sub.id, {"prorate": True, "invoice_now": True})
    credit = history.invoices()[-1]
    assert (credit.total, credit.amount_due, credit.status) == (-2000, 0, "paid")
    assert history.balance() == -2000
    history.subscribe(sandbox.price(3000))
    paid = history.invoices()[-1]
    assert (paid.starting_balance, paid.amount_due, paid.ending_balance) == (-2000, 1000, 0)
    assert history.balance() == 0


def test_cancelling_at_the_end_of_the_period_and_resuming(sandbox: Server) -> None:
    history = History(sandbox)
    v1 = sandbox.client.v1
    sub = history.subscribe(sandbox.price(1000))
    set_to_end = v1.subscriptions.update(sub.id, {"cancel_at_period_end": True})
    end = only_item(sub).current_period_end
    assert (set_to_end.status, set_to_end.cancel_at_period_end) == ("active", True)
    assert (set_to_end.cancel_at, set_to_end.canceled_at) == (end, history.now)
    resumed = v1.subscriptions.update(sub.id, {"cancel_at_period_end": False})
    assert (resumed.cancel_at, resumed.canceled_at, resumed.cancel_at_period_end) == (None, None, False)
    v1.subscriptions.update(sub.id, {"cancel_at_period_end": True})
    history.advance_to(end - 1)
    assert history.subscription(sub).status == "active"
    history.advance(1)
    ended = history.subscription(sub)
    assert (ended.status, ended.ended_at) == ("canceled", end)
    assert len(history.invoices()) == 1
    assert "invoice.upcoming" not in history.told()


def test_a_moment_to_end_at(sandbox: Server) -> None:
    history = History(sandbox, start=at("2026-03-01"))
    v1 = sandbox.client.v1
    sub = history.subscribe(sandbox.price(3000))
    moment = at("2026-04-16")
    assert v1.subscriptions.update(sub.id, {"cancel_at": moment}).cancel_at_period_end is False
    history.advance_to(at("2026-04-01 02:00"))
    shortened = history.subscription(sub)
    assert only_item(shortened).current_period_end == moment
    assert history.latest(sub).total == 1500
    history.advance_to(moment)
    assert history.subscription(sub).status == "canceled"
    other = history.subscribe(sandbox.price(3000))
    v1.subscriptions.update(other.id, {"cancel_at": "min_period_end"})
    assert history.subscription(other).cancel_at == only_item(other).current_period_end
    v1.subscriptions.update(other.id, {"cancel_at_period_end": False})
    assert history.subscription(other).cancel_at is not None, "only what the flag set is taken back by it"
    assert v1.subscriptions.update(other.id, {"cancel_at": ""}).cancel_at is None
    with pytest.raises(stripe.InvalidRequestError, match="in the future"):
        v1.subscriptions.update(other.id, {"cancel_at": history.now})


def test_pausing_collection_keeps_the_status(sandbox: Server) -> None:
    history = History(sandbox)
    v1 = sandbox.client.v1
    sub = history.subscribe(sandbox.price(1000))
    v1.subscriptions.update(
        sub.id, {"pause_collection": {"behavior": "void", "resumes_at": at("2026-02-20")}}
    )
    history.advance_to(at("2026-02-10 03:00"))
    assert (history.subscription(sub).status, history.latest(sub).status) == ("active", "void")
    history.advance_to(at("2026-02-21"))
    assert history.subscription(sub).pause_collection is None
    history.advance_to(at("2026-03-10 03:00"))
    assert history.latest(sub).status == "paid"
    v1.subscriptions.update(sub.id, {"pause_collection": {"behavior": "keep_as_draft"}})
    history.advance_to(at("2026-04-12"))
    assert history.latest(sub).status == "draft"
    assert v1.subscriptions.update(sub.id, {"pause_collection": ""}).pause_collection is None


def test_pausing_and_resuming(sandbox: Server) -> None:
    history = History(sandbox, start=at("2026-04-01"))
    v1 = sandbox.client.v1
    sub = history.subscribe(sandbox.price(3000))
    history.advance(10 * DAY)
    paused = v1.subscriptions.pause(sub.id)
    assert paused.status == "paused"
    assert paused.status_details is not None
    assert paused.status_details.paused.subscription.type == "pause_requested"
    assert [item.amount for item in history.pending()] == [-2000]
    history.advance(60 * DAY)
    assert len(history.invoices()) == 1
    resumed = v1.subscriptions.resume(sub.id)
    assert (resumed.status, resumed.billing_cycle_anchor) == ("active", history.now)
    invoice = history.latest(sub)
    assert (invoice.status, invoice.total, invoice.amount_paid) == ("paid", 1000, 1000)
    told = history.told()
    assert {"customer.subscription.paused", "customer.subscription.resumed"} <= set(told)


def test_lists_leave_out_what_was_canceled(sandbox: Server) -> None:
    history = History(sandbox)
    v1 = sandbox.client.v1
    first, second = history.subscribe(sandbox.price()), history.subscribe(sandbox.price())
    v1.subscriptions.cancel(first.id)

    def ids(**params: Any) -> list[str]:
        given: Any = {"customer": history.customer, **params}
        return [sub.id for sub in v1.subscriptions.list(given).data]

    assert ids() == [second.id]
    assert ids(status="canceled") == ids(status="ended") == [first.id]
    assert ids(status="all") == [second.id, first.id]
    assert ids(price=only_item(second).price.id) == [second.id]
    assert ids(price=only_item(first).price.id) == []
    clocked = v1.subscriptions.list({"test_clock": history.clock}).data
    assert [sub.id for sub in clocked] == [second.id]
    assert second.id not in [sub.id for sub in v1.subscriptions.list({"limit": 100}).data]
    with pytest.raises(stripe.InvalidRequestError, match="No such customer"):
        v1.subscriptions.list({"customer": "cus_unknown"})


def test_deleting_the_customer_ends_everything(sandbox: Server) -> None:
    history = History(sandbox)
    sub = history.subscribe(sandbox.price(1000))
    history.advance_to(at("2026-02-10 00:30"))
    assert history.latest(sub).status == "draft"
    assert sandbox.client.v1.customers.delete(history.customer).deleted is True
    assert history.subscription(sub).status == "canceled"
    history.advance(60 * DAY)
    assert [invoice.status for invoice in history.invoices()] == ["paid", "draft"]
    assert len(history.charges()) == 1
    assert sandbox.client.v1.customers.retrieve(history.customer).deleted is True
    with pytest.raises(stripe.InvalidRequestError, match="No such customer"):
        history.subscribe(sandbox.price())


def test_one_time_prices_come_with_the_first_invoice(sandbox: Server) -> None:
    history = History(sandbox)
    once = sandbox.client.v1.prices.create(
        {"currency": "usd", "unit_amount": 700, "product_data": {"name": "Setup"}}
    )
    sub = history.subscribe(sandbox.price(1000), add_invoice_items=[{"price": once.id}])
    assert (history.latest(sub).total, sub.status) == (1700, "active")
    history.advance_to(at("2026-02-10 02:00"))
    assert history.latest(sub).total == 1000


def test_invoices_that_are_sent(sandbox: Server) -> None:
    history = History(sandbox, card=None)
    sub = history.subscribe(sandbox.price(1000), collection_method="send_invoice", days_until_due=7)
    assert sub.status == "active"
    invoice = history.latest(sub)
    assert (invoice.status, invoice.due_date) == ("open", history.now + 7 * DAY)
    history.advance(7 * DAY + 1)
    assert history.subscription(sub).status == "past_due"
    assert "invoice.overdue" in history.told()
    sandbox.client.v1.invoices.pay(str(invoice.id), {"paid_out_of_band": True})
    assert history.subscription(sub).status == "active"
    told = history.told()
    assert "invoice.paid" in told
    assert "invoice.payment_succeeded" not in told


def test_a_later_anchor(sandbox: Server) -> None:
    history = History(sandbox, start=at("2026-04-16"))
    sub = history.subscribe(sandbox.price(3000), billing_cycle_anchor=at("2026-05-01"))
    assert history.latest(sub).total == 1500
    assert only_item(sub).current_period_end == at("2026-05-01")
    free = history.subscribe(
        sandbox.price(3000), billing_cycle_anchor=at("2026-05-01"), proration_behavior="none"
    )
    assert (history.latest(free).total, free.status) == (0, "active")
    with pytest.raises(stripe.InvalidRequestError, match="natural billing date"):
        history.subscribe(sandbox.price(), billing_cycle_anchor=at("2026-06-01"))


def test_one_customer_pays_in_one_currency(sandbox: Server) -> None:
    history = History(sandbox)
    history.subscribe(sandbox.price(1000))
    with pytest.raises(stripe.InvalidRequestError, match="combine currencies"):
        history.subscribe(sandbox.price(1000, currency="eur"))
    assert len(sandbox.client.v1.subscriptions.list({"customer": history.customer}).data) == 1
