"""Subscriptions as Stripe documents them, told by the official SDK, both ways of calling it.

Amounts are worked out by hand; `both_ways` says for which moments.
"""

from typing import Any

import pytest
import stripe
from tests.sandbox.stripe.both_ways import (  # noqa: F401 - `either_way` and `shared_server` are fixtures
    FEB_10,
    HALF,
    LATER,
    MAR_10,
    START,
    Shop,
    amounts,
    either_way,
    item_of,
    period_of,
    shared_server,
)
from tests.sandbox.stripe.histories import DAY, HOUR, at

# The SDK hands its form to httpx in a way that httpx has begun to discourage.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


# New subscriptions


async def test_a_first_payment(shop: Shop) -> None:
    life = await shop.life()
    price = await shop.price(2900)
    sub = await life.subscribe(price, metadata={"user": "7"}, expand=["latest_invoice.payments"])
    assert (sub.status, sub.collection_method, sub.currency) == ("active", "charge_automatically", "usd")
    assert (sub.start_date, sub.created, sub.billing_cycle_anchor) == (START, START, START)
    assert period_of(sub) == (START, FEB_10)
    assert (sub.cancel_at, sub.canceled_at, sub.ended_at, sub.trial_end) == (None, None, None, None)
    assert (sub.test_clock, sub.livemode, sub.schedule) == (life.clock, False, None)
    invoice = sub.latest_invoice
    assert (invoice.status, invoice.billing_reason) == ("paid", "subscription_create")
    assert (invoice.amount_due, invoice.amount_paid, invoice.amount_remaining) == (2900, 2900, 0)
    assert (invoice.attempted, invoice.attempt_count, invoice.auto_advance) == (True, 1, False)
    # What used to be on the invoice itself lies elsewhere now.
    for name in ("subscription", "charge", "payment_intent", "paid", "tax"):
        assert name not in invoice
    assert invoice.parent.type == "subscription_details"
    assert invoice.parent.subscription_details.subscription == sub.id
    assert invoice.parent.subscription_details.metadata.to_dict() == {"user": "7"}
    (line,) = invoice.lines.data
    assert (line.amount, line.quantity, line.currency) == (2900, 1, "usd")
    assert (line.period.start, line.period.end) == (START, FEB_10)
    assert line.parent.subscription_item_details.subscription_item == item_of(sub).id
    assert line.parent.subscription_item_details.proration is False
    assert line.pricing.price_details.price == price.id
    transitions = invoice.status_transitions
    assert (transitions.finalized_at, transitions.paid_at, transitions.voided_at) == (START, START, None)
    assert invoice.number.endswith("-0001")
    assert invoice.hosted_invoice_url.startswith(shop.server.base)
    assert invoice.invoice_pdf.startswith(shop.server.base)
    # From the invoice to its charge, and back.
    (payment,) = invoice.payments.data
    assert (payment.status, payment.amount_paid, payment.is_default) == ("paid", 2900, True)
    intent = await shop.v1.payment_intents.retrieve(
        payment.payment.payment_intent, {"expand": ["latest_charge"]}
    )
    charge = intent.latest_charge
    assert (intent.status, intent.amount_received, "invoice" in intent) == ("succeeded", 2900, False)
    assert (charge.paid, charge.amount, "invoice" in charge) == (True, 2900, False)
    wish = {"payment": {"type": "payment_intent", "payment_intent": intent.id}}
    (back,) = (await shop.v1.invoice_payments.list(wish)).data
    assert back.invoice == invoice.id


async def test_events_of_a_first_payment(shop: Shop) -> None:
    life = await shop.life()
    sub = await life.subscribe(await shop.price())
    told = [event.type for event in await shop.events_about(life.customer)]
    begun = told[told.index("invoice.created") :]
    for name in (
        "invoice.created",
        "invoice.finalized",
        "payment_intent.created",
        "charge.succeeded",
        "payment_intent.succeeded",
        "invoice.updated",
        "invoice.paid",
        "invoice.payment_succeeded",
        "customer.subscription.created",
    ):
        assert begun.count(name) == 1, name
    (created,) = await shop.events_about(sub.id, types=["customer.subscription.created"])
    assert created.data.object.status == "active"


@pytest.mark.parametrize(
    ("behavior", "status", "invoice_status"),
    [("allow_incomplete", "incomplete", "open"), ("default_incomplete", "incomplete", "open")],
)
async def test_a_first_payment_that_fails(
    shop: Shop, behavior: str, status: str, invoice_status: str
) -> None:
    life = await shop.life(card="pm_card_chargeCustomerFail")
    sub = await life.subscribe(
        await shop.price(), payment_behavior=behavior, expand=["latest_invoice.confirmation_secret"]
    )
    invoice = sub.latest_invoice
    assert (sub.status, invoice.status, invoice.amount_remaining) == (status, invoice_status, 900)
    # A first invoice is not tried again by itself: the customer has 23 hours.
    assert (invoice.auto_advance, invoice.next_payment_attempt) == (False, None)
    assert invoice.attempted is (behavior == "allow_incomplete")
    assert invoice.confirmation_secret.client_secret.startswith("pi_")
    await life.advance(23 * HOUR - 1)
    assert (await life.subscription(sub)).status == "incomplete"
    await life.advance(1)
    ended = await life.subscription(sub)
    assert (ended.status, ended.ended_at) == ("incomplete_expired", START + 23 * HOUR)
    assert (await life.latest(sub)).status == "void"
    assert [one.id for one in (await shop.v1.subscriptions.list({"customer": life.customer})).data] == [
        sub.id
    ]


async def test_a_first_payment_made_good(shop: Shop) -> None:
    life = await shop.life(card="pm_card_chargeCustomerFail")
    sub = await life.subscribe(await shop.price())
    invoice = await life.latest(sub)
    await life.advance(HOUR)
    method = await shop.v1.payment_methods.attach("pm_card_visa", {"customer": life.customer})
    paid = await shop.v1.invoices.pay(invoice.id, {"payment_method": method.id})
    assert (paid.status, paid.status_transitions.paid_at) == ("paid", START + HOUR)
    assert (await life.subscription(sub)).status == "active"
    (event,) = await shop.events_about(sub.id, types=["customer.subscription.updated"])
    assert event.data.previous_attributes.to_dict() == {"status": "incomplete"}
    # The period still counts from the beginning.
    assert period_of(await life.subscription(sub)) == (START, FEB_10)


async def test_error_if_incomplete_leaves_nothing(shop: Shop) -> None:
    life = await shop.life(card="pm_card_chargeCustomerFail")
    with pytest.raises(stripe.CardError) as refused:
        await life.subscribe(await shop.price(), payment_behavior="error_if_incomplete")
    assert (refused.value.http_status, refused.value.code) == (402, "card_declined")
    wish = {"customer": life.customer, "status": "all"}
    assert (await shop.v1.subscriptions.list(wish)).data == []
    assert await life.invoices() == []


async def test_a_bank_that_asks(shop: Shop) -> None:
    life = await shop.life(card="pm_card_authenticationRequired")
    sub = await life.subscribe(await shop.price())
    assert sub.status == "incomplete"
    invoice = await life.latest(sub)
    intent = await shop.v1.payment_intents.retrieve(invoice.payments.data[0].payment.payment_intent)
    assert (intent.status, intent.next_action.type) == ("requires_action", "use_stripe_sdk")
    told = [event.type for event in await life.told()]
    assert {"invoice.payment_action_required", "payment_intent.requires_action"} <= set(told)
    with pytest.raises(stripe.CardError) as refused:
        await shop.v1.invoices.pay(invoice.id)
    assert refused.value.code == "invoice_payment_intent_requires_action"


async def test_without_a_card_nothing_is_sold(shop: Shop) -> None:
    life = await shop.life(card=None)
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await life.subscribe(await shop.price())
    assert (refused.value.http_status, refused.value.code) == (400, "resource_missing")
    assert "no attached payment source or default payment method" in refused.value.user_message
    waiting = await life.subscribe(await shop.price(), payment_behavior="default_incomplete")
    assert waiting.status == "incomplete"


async def test_what_does_not_go_together(shop: Shop) -> None:
    life = await shop.life()
    price = await shop.price(recurring={"interval": "month", "trial_period_days": 5})
    for wish, param in (
        ({"days_until_due": 5}, "days_until_due"),
        ({"collection_method": "send_invoice"}, "days_until_due"),
        ({"trial_from_plan": True, "trial_end": START + DAY}, "trial_from_plan"),
        ({"trial_end": START + DAY, "trial_period_days": 1}, "trial_end"),
        ({"trial_end": START - 1}, "trial_end"),
        ({"trial_period_days": 731}, "trial_period_days"),
        ({"billing_cycle_anchor": START - 1}, "billing_cycle_anchor"),
        ({"default_payment_method": "pm_gone"}, "default_payment_method"),
        ({"proration_behavior": "sometimes"}, "proration_behavior"),
        ({"items": []}, "items"),
    ):
        with pytest.raises(stripe.InvalidRequestError) as refused:
            await life.subscribe(price, **wish)
        assert (refused.value.http_status, refused.value.param) == (400, param)
    sub = await life.subscribe(price, trial_from_plan=True)
    assert sub.trial_end == START + 5 * DAY


# Changes within a period


async def test_an_upgrade_waits_for_the_next_invoice(shop: Shop) -> None:
    life = await shop.life()
    basic, pro = await shop.price(900), await shop.price(2900)
    sub = await life.subscribe(basic)
    await life.advance_to(LATER)
    changed = await life.switch(sub, pro)
    # The plan is another at once, the period the same; nothing is charged yet.
    assert (item_of(changed).id, item_of(changed).price.id) == (item_of(sub).id, pro.id)
    assert (period_of(changed), changed.billing_cycle_anchor) == ((START, FEB_10), START)
    assert len(await life.invoices()) == 1
    pending = (await shop.v1.invoice_items.list({"customer": life.customer, "pending": True})).data[::-1]
    # 900 * 1802383 / 2678400 = 605.64; 2900 * 1802383 / 2678400 = 1951.50
    assert [item.amount for item in pending] == [-606, 1952]
    assert all(item.proration for item in pending)
    assert {(item.period.start, item.period.end) for item in pending} == {(LATER, FEB_10)}
    assert [item.parent.subscription_details.subscription for item in pending] == [sub.id] * 2
    await life.advance_to(FEB_10 + HOUR)
    invoice = await life.latest(sub)
    assert (invoice.billing_reason, invoice.status, invoice.total) == ("subscription_cycle", "paid", 4246)
    assert amounts(invoice) == [-606, 1952, 2900]
    proration, *_ = invoice.lines.data
    assert proration.parent.subscription_item_details.proration is True
    assert (proration.period.start, proration.period.end) == (LATER, FEB_10)


async def test_an_upgrade_is_paid_at_once(shop: Shop) -> None:
    life = await shop.life()
    basic, pro = await shop.price(900), await shop.price(2900)
    sub = await life.subscribe(basic)
    await life.advance_to(LATER)
    wish = {
        "items": [{"id": item_of(sub).id, "price": pro.id}],
        "proration_behavior": "always_invoice",
        "proration_date": LATER,
    }
    preview = await shop.v1.invoices.create_preview({"subscription": sub.id, "subscription_details": wish})
    assert preview.id.startswith("upcoming_in")
    assert (preview.amount_due, amounts(preview)) == (1346, [-606, 1952])
    assert preview.billing_reason == "upcoming"
    assert len(await life.invoices()) == 1
    await shop.v1.subscriptions.update(sub.id, wish)
    invoice = await life.latest(sub)
    assert (invoice.billing_reason, invoice.status) == ("subscription_update", "paid")
    assert (invoice.total, invoice.amount_paid, amounts(invoice)) == (1346, 1346, [-606, 1952])
    assert invoice.parent.subscription_details.subscription_proration_date == LATER
    # Further down again: what the rest had cost comes back, 1952 * 950400 / 1802383 = 1029.29, and the
    # rest of the smaller plan costs 900 * 950400 / 2678400 = 319.35.
    await life.advance_to(START + 20 * DAY)
    await life.switch(sub, basic, proration_behavior="always_invoice")
    credit = await life.latest(sub)
    assert (credit.total, credit.amount_due, credit.status) == (-710, 0, "paid")
    assert amounts(credit) == [-1029, 319]
    assert (credit.starting_balance, credit.ending_balance, await life.balance()) == (0, -710, -710)
    # Credit is not paid out: the next invoice uses it.
    await life.advance_to(FEB_10 + HOUR)
    renewed = await life.latest(sub)
    assert (renewed.total, renewed.starting_balance, renewed.amount_due) == (900, -710, 190)
    assert (renewed.amount_paid, renewed.ending_balance, await life.balance()) == (190, 0, 0)


async def test_a_change_without_proration(shop: Shop) -> None:
    life = await shop.life()
    sub = await life.subscribe(await shop.price(900))
    await life.advance_to(LATER)
    await life.switch(sub, await shop.price(2900), proration_behavior="none")
    assert (await shop.v1.invoice_items.list({"customer": life.customer})).data == []
    await life.advance_to(FEB_10 + HOUR)
    assert amounts(await life.latest(sub)) == [2900]


async def test_another_interval_begins_anew(shop: Shop) -> None:
    life = await shop.life()
    sub = await life.subscribe(await shop.price(900))
    await life.advance_to(LATER)
    changed = await life.switch(sub, await shop.price(9000, "year"))
    # Billed at once, whatever the proration behaviour; the anchor moves to the change.
    assert changed.billing_cycle_anchor == LATER
    assert period_of(changed) == (LATER, LATER + 365 * DAY)
    invoice = await life.latest(sub)
    assert (invoice.status, amounts(invoice), invoice.total) == ("paid", [-606, 9000], 8394)


async def test_a_plan_that_was_free_begins_with_its_first_price(shop: Shop) -> None:
    life = await shop.life()
    sub = await life.subscribe(await shop.price(0))
    assert (sub.status, (await life.latest(sub)).amount_due) == ("active", 0)
    await life.advance_to(LATER)
    changed = await life.switch(sub, await shop.price(900), proration_behavior="none")
    assert changed.billing_cycle_anchor == LATER
    assert period_of(changed)[0] == LATER
    invoice = await life.latest(sub)
    assert (invoice.billing_reason, amounts(invoice)) == ("subscription_update", [900])


async def test_the_anchor_can_be_set_to_now(shop: Shop) -> None:
    life = await shop.life()
    sub = await life.subscribe(await shop.price(900))
    await life.advance_to(LATER)
    changed = await shop.v1.subscriptions.update(sub.id, {"billing_cycle_anchor": {"type": "now"}})
    assert (changed.billing_cycle_anchor, period_of(changed)[0]) == (LATER, LATER)
    assert amounts(await life.latest(sub)) == [-606, 900]


async def test_quantities_are_prorated(shop: Shop) -> None:
    life = await shop.life()
    sub = await life.subscribe(await shop.price(500))
    await life.advance_to(HALF)
    wish = {"items": [{"id": item_of(sub).id, "quantity": 3}], "proration_behavior": "always_invoice"}
    changed = await shop.v1.subscriptions.update(sub.id, wish)
    assert item_of(changed).quantity == 3
    assert amounts(await life.latest(sub)) == [-250, 750]


async def test_an_item_without_its_id_is_a_second_item(shop: Shop) -> None:
    life = await shop.life()
    basic, extra = await shop.price(900), await shop.price(400)
    sub = await life.subscribe(basic)
    await life.advance_to(HALF)
    both = await shop.v1.subscriptions.update(sub.id, {"items": [{"price": extra.id}]})
    assert [item.price.id for item in both["items"].data] == [basic.id, extra.id]
    # The one at its full price again: the same price cannot be there twice.
    with pytest.raises(stripe.InvalidRequestError):
        await shop.v1.subscriptions.update(sub.id, {"items": [{"price": basic.id}]})
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await shop.v1.subscriptions.update(sub.id, {"items": [{"id": "si_nobody", "price": basic.id}]})
    assert refused.value.param == "items[0][id]"
    yearly = await shop.price(9000, "year")
    with pytest.raises(stripe.InvalidRequestError, match="interval"):
        await shop.v1.subscriptions.update(sub.id, {"items": [{"price": yearly.id}]})
    await life.advance_to(FEB_10 + HOUR)
    # The half month of the second item, then whole months: the newest item first.
    assert amounts(await life.latest(sub)) == [200, 400, 900]
    second = both["items"].data[1].id
    alone = await shop.v1.subscriptions.update(sub.id, {"items": [{"id": second, "deleted": True}]})
    assert item_of(alone).price.id == basic.id


async def test_prorations_stand_before_the_period_the_newest_first(shop: Shop) -> None:
    life = await shop.life()
    sub = await life.subscribe(await shop.price(3100))
    for days, quantity in ((10, 2), (20, 3)):
        await life.advance_to(START + days * DAY)
        await shop.v1.subscriptions.update(sub.id, {"items": [{"id": item_of(sub).id, "quantity": quantity}]})
    await life.advance_to(FEB_10 + HOUR)
    # 100 a day: 21 days are left at first, then 11.
    assert amounts(await life.latest(sub)) == [-2200, 3300, -2100, 4200, 9300]


async def test_an_upgrade_that_nobody_pays(shop: Shop) -> None:
    life = await shop.life()
    pro = await shop.price(2900)
    sub = await life.subscribe(await shop.price(900))
    await life.advance_to(LATER)
    await life.use_card("pm_card_chargeCustomerFail")
    with pytest.raises(stripe.CardError):
        await life.switch(
            sub, pro, proration_behavior="always_invoice", payment_behavior="error_if_incomplete"
        )
    assert item_of(await life.subscription(sub)).price.unit_amount == 900
    waiting = await life.switch(
        sub, pro, proration_behavior="always_invoice", payment_behavior="pending_if_incomplete"
    )
    assert (waiting.status, item_of(waiting).price.unit_amount) == ("active", 900)
    assert waiting.pending_update.expires_at == LATER + 23 * HOUR
    assert waiting.pending_update.subscription_items[0].price.id == pro.id
    invoice = await life.latest(sub)
    assert (invoice.status, invoice.total) == ("open", 1346)
    await life.use_card("pm_card_visa")
    await shop.v1.invoices.pay(invoice.id)
    applied = await life.subscription(sub)
    assert (applied.pending_update, item_of(applied).price.id) == (None, pro.id)
    told = await shop.events_about(sub.id, types=["customer.subscription.pending_update_applied"])
    assert len(told) == 1
    # Without such care the change is made, and the money owed.
    other = await life.subscribe(await shop.price(900))
    await life.use_card("pm_card_chargeCustomerFail")
    owing = await life.switch(other, pro, proration_behavior="always_invoice")
    assert (owing.status, item_of(owing).price.id) == ("past_due", pro.id)


# Endings


async def test_cancelling_at_the_end_of_the_period(shop: Shop) -> None:
    life = await shop.life()
    sub = await life.subscribe(await shop.price())
    await life.advance(DAY)
    subscriptions = shop.v1.subscriptions
    ending = await subscriptions.update(
        sub.id, {"cancel_at_period_end": True, "cancellation_details": {"feedback": "too_expensive"}}
    )
    assert (ending.status, ending.cancel_at_period_end, ending.cancel_at) == ("active", True, FEB_10)
    assert (ending.canceled_at, ending.ended_at) == (START + DAY, None)
    assert ending.cancellation_details.reason == "cancellation_requested"
    assert ending.cancellation_details.feedback == "too_expensive"
    back = await subscriptions.update(sub.id, {"cancel_at_period_end": False})
    assert (back.cancel_at_period_end, back.cancel_at, back.canceled_at) == (False, None, None)
    assert back.cancellation_details.reason is None
    await life.advance(DAY)
    await subscriptions.update(sub.id, {"cancel_at_period_end": True})
    with pytest.raises(stripe.InvalidRequestError) as none:
        await shop.v1.invoices.create_preview({"subscription": sub.id})
    assert (none.value.http_status, none.value.code) == (404, "invoice_upcoming_none")
    await life.advance_to(FEB_10 - 1)
    assert (await life.subscription(sub)).status == "active"
    await life.advance_to(FEB_10)
    over = await life.subscription(sub)
    # `canceled_at` is when it was asked for, `ended_at` when it ended.
    assert (over.status, over.canceled_at, over.ended_at) == ("canceled", START + 2 * DAY, FEB_10)
    assert over.cancel_at_period_end is True
    assert len(await life.invoices()) == 1
    told = await shop.events_about(sub.id, types=["customer.subscription.deleted"])
    assert [event.created for event in told] == [FEB_10]
    # It is largely immutable now.
    noted = await subscriptions.update(sub.id, {"metadata": {"why": "asked"}})
    assert noted.metadata.why == "asked"
    with pytest.raises(stripe.InvalidRequestError):
        await subscriptions.update(sub.id, {"cancel_at_period_end": False})
    with pytest.raises(stripe.InvalidRequestError):
        await subscriptions.cancel(sub.id)


async def test_a_date_to_end_at(shop: Shop) -> None:
    life = await shop.life()
    sub = await life.subscribe(await shop.price(2800))
    subscriptions = shop.v1.subscriptions
    # A date in a later period makes that period shorter, and cheaper: 14 of 28 days.
    dated = await subscriptions.update(sub.id, {"cancel_at": FEB_10 + 14 * DAY})
    assert (dated.cancel_at, dated.cancel_at_period_end) == (FEB_10 + 14 * DAY, False)
    await life.advance_to(FEB_10 + HOUR)
    assert amounts(await life.latest(sub)) == [1400]
    assert (await subscriptions.update(sub.id, {"cancel_at": ""})).cancel_at is None
    least = await subscriptions.update(sub.id, {"cancel_at": "min_period_end"})
    assert least.cancel_at == period_of(least)[1]
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await subscriptions.update(sub.id, {"cancel_at": FEB_10})
    assert refused.value.param == "cancel_at"
    with pytest.raises(stripe.InvalidRequestError):
        await subscriptions.update(sub.id, {"cancel_at": MAR_10, "cancel_at_period_end": True})


async def test_cancelling_now(shop: Shop) -> None:
    life = await shop.life()
    subscriptions = shop.v1.subscriptions
    sub = await life.subscribe(await shop.price(900))
    await life.advance_to(HALF)
    # Nothing is given back unless it is asked for, and what waits is forgotten.
    await shop.v1.subscriptions.update(sub.id, {"items": [{"id": item_of(sub).id, "quantity": 2}]})
    own = await shop.v1.invoice_items.create({"customer": life.customer, "amount": 70, "currency": "usd"})
    over = await subscriptions.cancel(sub.id, {"cancellation_details": {"comment": "Enough"}})
    assert (over.status, over.ended_at, over.canceled_at) == ("canceled", HALF, HALF)
    assert (over.cancellation_details.reason, over.cancellation_details.comment) == (
        "cancellation_requested",
        "Enough",
    )
    pending = (await shop.v1.invoice_items.list({"customer": life.customer, "pending": True})).data
    assert [item.id for item in pending] == [own.id]
    await shop.v1.invoice_items.delete(own.id)
    assert (await life.balance(), len(await life.invoices())) == (0, 1)


async def test_cancelling_now_with_credit(shop: Shop) -> None:
    life = await shop.life()
    subscriptions = shop.v1.subscriptions
    sub = await life.subscribe(await shop.price(900))
    await life.advance_to(HALF)
    await subscriptions.cancel(sub.id, {"prorate": True, "invoice_now": True})
    final = await life.latest(sub)
    assert (amounts(final), final.status, final.amount_due) == ([-450], "paid", 0)
    assert await life.balance() == -450
    (transaction,) = (await shop.v1.customers.balance_transactions.list(life.customer)).data
    assert (transaction.amount, transaction.ending_balance, transaction.invoice) == (-450, -450, final.id)
    # With `prorate` alone the credit waits for another invoice.
    other = await life.subscribe(await shop.price(600))
    assert ((await life.latest(other)).amount_due, await life.balance()) == (150, 0)
    await life.advance(DAY * 31 // 2)
    await subscriptions.cancel(other.id, {"prorate": True})
    pending = (await shop.v1.invoice_items.list({"customer": life.customer, "pending": True})).data
    assert [item.amount for item in pending] == [-300]


async def test_what_is_canceled_is_listed_on_request(shop: Shop) -> None:
    life = await shop.life()
    kept, gone = [await life.subscribe(await shop.price()) for _ in range(2)]
    await shop.v1.subscriptions.cancel(gone.id)
    for status, ids in (
        (None, [kept.id]),
        ("active", [kept.id]),
        ("canceled", [gone.id]),
        ("ended", [gone.id]),
        ("all", [gone.id, kept.id]),
    ):
        wish = {"customer": life.customer, **({"status": status} if status else {})}
        assert [one.id for one in (await shop.v1.subscriptions.list(wish)).data] == ids, status


# Trials


async def test_a_trial_from_first_to_last(shop: Shop) -> None:
    life = await shop.life()
    sub = await life.subscribe(await shop.price(900), trial_period_days=10)
    end = START + 10 * DAY
    assert (sub.status, sub.trial_start, sub.trial_end) == ("trialing", START, end)
    assert (sub.billing_cycle_anchor, period_of(sub)) == (end, (START, end))
    assert [one.amount_due for one in await life.invoices()] == [0]
    await life.advance_to(end - 3 * DAY - 1)
    assert await life.told("customer.subscription.trial_will_end") == []
    await life.advance_to(end - 3 * DAY)
    (reminder,) = await life.told("customer.subscription.trial_will_end")
    assert (reminder.created, reminder.data.object.trial_end) == (end - 3 * DAY, end)
    await life.advance_to(end)
    active = await life.subscription(sub)
    assert (active.status, period_of(active)) == ("active", (end, at("2026-02-20")))
    # Active at once; the money is asked for an hour later.
    invoice = await life.latest(sub)
    assert (invoice.status, invoice.billing_reason, invoice.total) == ("draft", "subscription_cycle", 900)
    await life.advance_to(end + HOUR)
    assert (await life.latest(sub)).status == "paid"


@pytest.mark.parametrize(
    ("behaviour", "status"), [("cancel", "canceled"), ("pause", "paused"), ("create_invoice", "past_due")]
)
async def test_a_trial_that_nobody_has_a_card_for(shop: Shop, behaviour: str, status: str) -> None:
    life = await shop.life(card=None)
    sub = await life.subscribe(
        await shop.price(),
        trial_period_days=2,
        trial_settings={"end_behavior": {"missing_payment_method": behaviour}},
    )
    assert sub.pending_setup_intent.startswith("seti_")
    # A trial shorter than three days reminds at once.
    assert len(await life.told("customer.subscription.trial_will_end")) == 1
    await life.advance_to(START + 2 * DAY + HOUR)
    found = await life.subscription(sub)
    assert found.status == status
    if status == "paused":
        assert found.status_details.paused.subscription.type == "trial_end_without_payment_method"
        assert len(await life.told("customer.subscription.paused")) == 1
        # A paused subscription bills nothing, and goes on when it is told to.
        await life.advance(40 * DAY)
        assert len(await life.invoices()) == 1
        await life.use_card("pm_card_visa")
        resumed = await shop.v1.subscriptions.resume(sub.id)
        assert (resumed.status, resumed.billing_cycle_anchor) == ("active", life.now)
        assert (await life.latest(sub)).status == "paid"
        assert len(await life.told("customer.subscription.resumed")) == 1


async def test_a_trial_is_ended_or_moved(shop: Shop) -> None:
    life = await shop.life()
    sub = await life.subscribe(await shop.price(900), trial_end=START + 10 * DAY)
    moved = await shop.v1.subscriptions.update(sub.id, {"trial_end": START + 20 * DAY})
    assert (moved.trial_end, moved.billing_cycle_anchor) == (START + 20 * DAY, START + 20 * DAY)
    await life.advance(DAY)
    # A change of plan on trial costs nothing.
    await life.switch(sub, await shop.price(2900))
    assert (await shop.v1.invoice_items.list({"customer": life.customer})).data == []
    now = await shop.v1.subscriptions.update(sub.id, {"trial_end": "now"})
    assert (now.status, now.trial_end, period_of(now)[0]) == ("active", START + DAY, START + DAY)
    invoice = await life.latest(sub)
    assert (invoice.status, invoice.amount_paid) == ("paid", 2900)


async def test_resuming_waits_for_its_payment_where_it_is_told_to(shop: Shop) -> None:
    life = await shop.life()
    sub = await life.subscribe(await shop.price(900))
    await life.advance_to(HALF)
    paused = await shop.v1.subscriptions.pause(sub.id)
    assert (paused.status, paused.status_details.paused.subscription.type) == ("paused", "pause_requested")
    await life.advance_to(MAR_10)
    wish = {"payment_behavior": "resume_on_payment_success"}
    assert (await shop.v1.subscriptions.resume(sub.id, wish)).status == "paused"
    invoice = await life.latest(sub)
    assert (invoice.status, invoice.amount_due) == ("open", 450)
    await life.advance(23 * HOUR)
    # Nobody tried to pay: the invoice is void, and it stays paused.
    assert (await life.latest(sub)).status == "void"
    assert (await life.subscription(sub)).status == "paused"
    await shop.v1.subscriptions.resume(sub.id, wish)
    await shop.v1.invoices.mark_uncollectible((await life.latest(sub)).id)
    assert (await life.subscription(sub)).status == "active"


# Schedules


async def test_a_downgrade_at_the_end_of_the_period(shop: Shop) -> None:
    life = await shop.life()
    pro, basic = await shop.price(2900), await shop.price(900)
    sub = await life.subscribe(pro)
    schedules = shop.v1.subscription_schedules
    schedule = await schedules.create({"from_subscription": sub.id})
    assert (schedule.status, schedule.end_behavior, schedule.subscription) == ("active", "release", sub.id)
    (phase,) = schedule.phases
    assert (phase.start_date, phase.end_date) == (START, FEB_10)
    assert (await life.subscription(sub)).schedule == schedule.id
    kept = {"items": [{"price": pro.id, "quantity": 1}], "start_date": START, "end_date": FEB_10}
    later = {"items": [{"price": basic.id, "quantity": 1}], "proration_behavior": "none"}
    changed = await schedules.update(schedule.id, {"phases": [kept, later]})
    assert [one.start_date for one in changed.phases] == [START, FEB_10]
    assert (await shop.v1.invoices.create_preview({"subscription": sub.id})).amount_due == 900
    with pytest.raises(stripe.InvalidRequestError, match="managed by the subscription schedule"):
        await shop.v1.subscriptions.update(sub.id, {"cancel_at_period_end": True})
    await life.advance_to(FEB_10 + HOUR)
    found = await life.subscription(sub)
    assert (item_of(found).price.id, found.status) == (basic.id, "active")
    assert amounts(await life.latest(sub)) == [900]
    assert (await shop.v1.customers.retrieve(life.customer)).balance == 0
    released = await schedules.release(schedule.id)
    assert (released.status, released.released_subscription) == ("released", sub.id)
    assert (await life.subscription(sub)).schedule is None
    told = [event.type for event in await shop.events_about(schedule.id)]
    assert (told[0], told[-1]) == ("subscription_schedule.created", "subscription_schedule.released")


@pytest.mark.parametrize(("params", "balance"), [({}, -450), ({"invoice_now": False, "prorate": False}, 0)])
async def test_cancelling_a_schedule(shop: Shop, params: dict[str, Any], balance: int) -> None:
    life = await shop.life()
    sub = await life.subscribe(await shop.price(900))
    schedule = await shop.v1.subscription_schedules.create({"from_subscription": sub.id})
    await life.advance_to(HALF)
    canceled = await shop.v1.subscription_schedules.cancel(schedule.id, params)
    assert (canceled.status, canceled.canceled_at) == ("canceled", HALF)
    assert (await life.subscription(sub)).status == "canceled"
    # Other than with a subscription, unused time is credited unless one says otherwise.
    assert await life.balance() == balance
    assert (await shop.v1.invoice_items.list({"customer": life.customer, "pending": True})).data == []
    with pytest.raises(stripe.InvalidRequestError):
        await shop.v1.subscription_schedules.cancel(schedule.id)


async def test_schedules_are_asked_for_properly(shop: Shop) -> None:
    life = await shop.life()
    price = await shop.price()
    items = [{"price": price.id}]
    for wish in (
        {},
        {"customer": life.customer},
        {"from_subscription": "sub_gone"},
        {"customer": life.customer, "phases": [{"items": items, "start_date": "now"}]},
        {"customer": life.customer, "phases": [{"items": items, "iterations": 2}]},
        {"customer": life.customer, "phases": [{"items": items}], "end_behavior": "renew"},
    ):
        with pytest.raises(stripe.InvalidRequestError) as refused:
            await shop.v1.subscription_schedules.create(wish)
        assert refused.value.http_status == 400
