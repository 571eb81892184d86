"""Renewals, invoices, refunds and disputes as Stripe documents them, told by the official SDK, both ways of
calling it.
"""

import pytest
import stripe
from tests.sandbox.stripe.both_ways import (  # noqa: F401 - `either_way` and `shared_server` are fixtures
    FEB_10,
    LATER,
    MAR_10,
    START,
    Life,
    Shop,
    amounts,
    either_way,
    item_of,
    period_of,
    shared_server,
)
from tests.sandbox.stripe.histories import DAY, HOUR

# The SDK hands its form to httpx in a way that httpx has begun to discourage.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


# Renewals and what becomes of those that fail


async def test_a_renewal(shop: Shop) -> None:
    life = await shop.life()
    sub = await life.subscribe(await shop.price(900))
    await life.advance_to(FEB_10 - 7 * DAY)
    (upcoming,) = await life.told("invoice.upcoming")
    assert upcoming.data.object.amount_due == 900
    await life.advance_to(FEB_10)
    renewed = await life.subscription(sub)
    assert (renewed.status, period_of(renewed)) == ("active", (FEB_10, MAR_10))
    draft = await life.latest(sub)
    assert (draft.status, draft.attempted, draft.number) == ("draft", False, None)
    assert (draft.hosted_invoice_url, draft.invoice_pdf) == (None, None)
    assert (draft.auto_advance, draft.automatically_finalizes_at) == (True, FEB_10 + HOUR)
    # The invoice looks back on the period before; its line has the period that is paid for.
    assert (draft.period_start, draft.period_end) == (START, FEB_10)
    (line,) = draft.lines.data
    assert (line.period.start, line.period.end) == (FEB_10, MAR_10)
    # A draft can still be added to.
    await shop.v1.invoice_items.create(
        {"customer": life.customer, "invoice": draft.id, "amount": 150, "currency": "usd"}
    )
    await life.advance_to(FEB_10 + HOUR)
    paid = await life.latest(sub)
    assert (paid.status, amounts(paid), paid.amount_paid) == ("paid", [900, 150], 1050)
    assert paid.status_transitions.finalized_at == paid.status_transitions.paid_at == FEB_10 + HOUR
    assert paid.number.endswith("-0002")


async def fail_a_renewal(shop: Shop) -> tuple[Life, stripe.Subscription]:
    life = await shop.life()
    sub = await life.subscribe(await shop.price(900))
    await life.use_card("pm_card_chargeCustomerFail")
    await life.advance_to(FEB_10 + HOUR)
    return life, sub


async def test_a_renewal_that_fails_to_the_end(shop: Shop) -> None:
    life, sub = await fail_a_renewal(shop)
    first = FEB_10 + HOUR
    attempts = [first, first + 3 * DAY, first + 8 * DAY, first + 15 * DAY]
    for count, (moment, following) in enumerate(zip(attempts, [*attempts[1:], None], strict=True), start=1):
        await life.advance_to(moment)
        invoice = await life.latest(sub)
        assert (invoice.attempt_count, invoice.next_payment_attempt) == (count, following)
        assert invoice.status == "open"
        expected = "past_due" if following else "canceled"
        assert (await life.subscription(sub)).status == expected
    over = await life.subscription(sub)
    assert (over.cancellation_details.reason, over.ended_at) == ("payment_failed", attempts[-1])
    assert (await shop.v1.customers.retrieve(life.customer)).delinquent is True
    failures = await life.told("invoice.payment_failed")
    assert [event.created for event in failures] == attempts
    assert [event.data.object.next_payment_attempt for event in failures] == [*attempts[1:], None]
    updates = await life.told("customer.subscription.updated")
    changes = [event.data.previous_attributes.to_dict().get("status") for event in updates]
    assert changes[-1] == "active"
    assert updates[-1].data.object.status == "past_due"
    # Its invoice is still owed, and no longer asked for.
    assert (await life.latest(sub)).auto_advance is False


async def test_a_renewal_that_is_paid_after_all(shop: Shop) -> None:
    life, sub = await fail_a_renewal(shop)
    invoice = await life.latest(sub)
    # An attempt by hand does not move the plan of retries.
    with pytest.raises(stripe.CardError):
        await shop.v1.invoices.pay(invoice.id)
    again = await life.latest(sub)
    assert (again.attempt_count, again.next_payment_attempt) == (1, FEB_10 + HOUR + 3 * DAY)
    await life.use_card("pm_card_visa")
    await life.advance_to(FEB_10 + HOUR + 3 * DAY)
    paid = await life.latest(sub)
    assert (paid.status, paid.attempt_count, paid.next_payment_attempt) == ("paid", 2, None)
    found = await life.subscription(sub)
    assert (found.status, period_of(found)) == ("active", (FEB_10, MAR_10))
    assert (await shop.v1.customers.retrieve(life.customer)).delinquent is False
    assert len((await shop.v1.charges.list({"customer": life.customer})).data) == 4


@pytest.mark.parametrize("way", ["void_invoice", "mark_uncollectible"])
async def test_what_is_owed_can_be_let_go(shop: Shop, way: str) -> None:
    life, sub = await fail_a_renewal(shop)
    invoice = await life.latest(sub)
    done = await getattr(shop.v1.invoices, way)(invoice.id)
    transitions = done.status_transitions
    if way == "void_invoice":
        assert (done.status, transitions.voided_at) == ("void", life.now)
        with pytest.raises(stripe.InvalidRequestError):
            await shop.v1.invoices.pay(invoice.id)
    else:
        assert (done.status, transitions.marked_uncollectible_at) == ("uncollectible", life.now)
        # Uncollectible is not the end: it can still be paid.
        await life.use_card("pm_card_visa")
        assert (await shop.v1.invoices.pay(invoice.id)).status == "paid"
    assert (await life.subscription(sub)).status == "active"
    assert (await life.latest(sub)).next_payment_attempt is None


@pytest.mark.parametrize(
    ("behavior", "status"),
    [("void", "void"), ("keep_as_draft", "draft"), ("mark_uncollectible", "uncollectible")],
)
async def test_collection_may_pause(shop: Shop, behavior: str, status: str) -> None:
    life = await shop.life()
    sub = await life.subscribe(await shop.price())
    wish = {"pause_collection": {"behavior": behavior, "resumes_at": FEB_10 + 5 * DAY}}
    paused = await shop.v1.subscriptions.update(sub.id, wish)
    # Other than a pause of the subscription itself: its status and its periods stay what they are.
    assert (paused.status, paused.pause_collection.behavior) == ("active", behavior)
    await life.advance_to(FEB_10 + HOUR)
    assert (await life.subscription(sub)).status == "active"
    assert (await life.latest(sub)).status == status
    await life.advance_to(MAR_10 + HOUR)
    assert (await life.subscription(sub)).pause_collection is None
    assert [one.status for one in await life.invoices()] == ["paid", status, "paid"]


# Invoices by hand


async def test_an_invoice_by_hand(shop: Shop) -> None:
    life = await shop.life()
    invoices = shop.v1.invoices
    await shop.v1.invoice_items.create(
        {"customer": life.customer, "amount": 1200, "currency": "usd", "description": "Consulting"}
    )
    empty = await invoices.create({"customer": life.customer})
    assert (empty.status, empty.total, empty.auto_advance, empty.parent) == ("draft", 0, False, None)
    assert (await invoices.delete(empty.id)).deleted is True
    draft = await invoices.create({"customer": life.customer, "pending_invoice_items_behavior": "include"})
    assert (draft.billing_reason, draft.total, draft.number) == ("manual", 1200, None)
    (line,) = draft.lines.data
    assert (line.description, line.parent.type) == ("Consulting", "invoice_item_details")
    changed = await invoices.update(draft.id, {"description": "For January", "metadata": {"a": "1"}})
    assert (changed.description, changed.metadata.a) == ("For January", "1")
    final = await invoices.finalize_invoice(draft.id)
    assert (final.status, final.amount_remaining) == ("open", 1200)
    assert final.hosted_invoice_url is not None
    with pytest.raises(stripe.InvalidRequestError):
        await invoices.finalize_invoice(draft.id)
    with pytest.raises(stripe.InvalidRequestError):
        await invoices.delete(draft.id)
    with pytest.raises(stripe.InvalidRequestError):
        await invoices.update(draft.id, {"footer": "Too late"})
    assert (await invoices.pay(draft.id)).status == "paid"
    with pytest.raises(stripe.InvalidRequestError, match="already paid"):
        await invoices.pay(draft.id)
    with pytest.raises(stripe.InvalidRequestError):
        await invoices.void_invoice(draft.id)


async def test_an_invoice_that_advances_by_itself(shop: Shop) -> None:
    life = await shop.life()
    await shop.v1.invoice_items.create({"customer": life.customer, "amount": 500, "currency": "usd"})
    draft = await shop.v1.invoices.create(
        {"customer": life.customer, "pending_invoice_items_behavior": "include", "auto_advance": True}
    )
    assert (draft.status, draft.automatically_finalizes_at) == ("draft", START + HOUR)
    await life.advance(HOUR)
    paid = await shop.v1.invoices.retrieve(draft.id)
    assert (paid.status, paid.amount_paid, paid.automatically_finalizes_at) == ("paid", 500, None)
    # Amounts too small to charge wait on the customer's balance for a later invoice.
    await shop.v1.invoice_items.create({"customer": life.customer, "amount": 49, "currency": "usd"})
    small = await shop.v1.invoices.create(
        {"customer": life.customer, "pending_invoice_items_behavior": "include"}
    )
    final = await shop.v1.invoices.finalize_invoice(small.id)
    assert (final.status, final.total, final.amount_due, await life.balance()) == ("paid", 49, 0, 49)


async def test_an_invoice_paid_elsewhere(shop: Shop) -> None:
    life = await shop.life()
    await shop.v1.invoice_items.create({"customer": life.customer, "amount": 800, "currency": "usd"})
    draft = await shop.v1.invoices.create(
        {"customer": life.customer, "pending_invoice_items_behavior": "include"}
    )
    paid = await shop.v1.invoices.pay(draft.id, {"paid_out_of_band": True, "expand": ["payments"]})
    assert (paid.status, paid.amount_paid) == ("paid", 800)
    assert (await shop.v1.charges.list({"customer": life.customer})).data == []
    told = [event.type for event in await shop.events_about(paid.id)]
    assert "invoice.paid" in told
    assert "invoice.payment_succeeded" not in told


async def test_long_invoices_show_their_lines_by_the_page(shop: Shop) -> None:
    life = await shop.life()
    for number in range(12):
        item = {"customer": life.customer, "amount": 100 + number, "currency": "usd"}
        await shop.v1.invoice_items.create(item)
    draft = await shop.v1.invoices.create(
        {"customer": life.customer, "pending_invoice_items_behavior": "include"}
    )
    assert (len(draft.lines.data), draft.lines.has_more) == (10, True)
    lines = await shop.v1.invoices.line_items.list(draft.id, {"limit": 5})
    assert len(await shop.everything(lines)) == 12
    assert draft.total == sum(range(100, 112))


async def test_what_comes_next(shop: Shop) -> None:
    life = await shop.life()
    sub = await life.subscribe(await shop.price(900))
    await life.advance_to(LATER)
    preview = await shop.v1.invoices.create_preview({"subscription": sub.id})
    assert (preview.amount_due, preview.status, preview.period_end) == (900, "draft", FEB_10)
    assert preview.parent.subscription_details.subscription == sub.id
    first = {"items": [{"price": (await shop.price(700)).id, "quantity": 2}]}
    new = await shop.v1.invoices.create_preview({"customer": life.customer, "subscription_details": first})
    assert (new.amount_due, amounts(new)) == (1400, [1400])
    with pytest.raises(stripe.InvalidRequestError, match="No such invoice"):
        await shop.v1.invoices.retrieve(preview.id)
    # A preview of a change with prorations that wait costs what the next invoice then costs.
    wish = {"items": [{"id": item_of(sub).id, "price": (await shop.price(2900)).id}]}
    planned = await shop.v1.invoices.create_preview({"subscription": sub.id, "subscription_details": wish})
    await shop.v1.subscriptions.update(sub.id, wish)
    await life.advance_to(FEB_10 + HOUR)
    assert amounts(await life.latest(sub)) == amounts(planned) == [-606, 1952, 2900]


# Refunds and disputes


async def paid_charge(shop: Shop, amount: int = 2900, card: str = "pm_card_visa") -> stripe.Charge:
    life = await shop.life(card=card)
    await life.subscribe(await shop.price(amount))
    return (await shop.v1.charges.list({"customer": life.customer})).data[0]


async def test_refunds(shop: Shop) -> None:
    charge = await paid_charge(shop)
    refunds = shop.v1.refunds
    part = await refunds.create(
        {"charge": charge.id, "amount": 900, "reason": "requested_by_customer", "metadata": {"a": "1"}}
    )
    assert (part.status, part.amount, part.currency, part.charge) == ("succeeded", 900, "usd", charge.id)
    assert (part.reason, part.payment_intent) == ("requested_by_customer", charge.payment_intent)
    after = await shop.v1.charges.retrieve(charge.id, {"expand": ["refunds"]})
    assert (after.amount_refunded, after.refunded, after.status) == (900, False, "succeeded")
    assert [one.id for one in after.refunds.data] == [part.id]
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await refunds.create({"charge": charge.id, "amount": 2001})
    assert (refused.value.param, refused.value.http_status) == ("amount", 400)
    # Without an amount: all that is left. The payment intent names the charge as well.
    rest = await refunds.create({"payment_intent": charge.payment_intent})
    assert rest.amount == 2000
    after = await shop.v1.charges.retrieve(charge.id)
    assert (after.amount_refunded, after.refunded) == (2900, True)
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await refunds.create({"charge": charge.id})
    assert refused.value.code == "charge_already_refunded"
    listed = await refunds.list({"payment_intent": charge.payment_intent})
    assert [one.id for one in listed.data] == [rest.id, part.id]
    told = await shop.events_about(charge.id, types=["charge.refunded", "refund.created"])
    assert [event.type for event in told] == ["refund.created", "charge.refunded"] * 2
    previous = [told[index].data.previous_attributes.to_dict() for index in (1, 3)]
    assert previous == [{"amount_refunded": 0}, {"amount_refunded": 900, "refunded": False}]
    # A refund gives money back, and leaves invoice and subscription as they are.
    (invoice,) = (await shop.v1.invoices.list({"customer": charge.customer})).data
    assert (invoice.status, invoice.amount_paid) == ("paid", 2900)
    with pytest.raises(stripe.InvalidRequestError):
        await refunds.create({})


async def test_a_refund_that_fails_later(shop: Shop) -> None:
    charge = await paid_charge(shop, card="pm_card_refundFail")
    refund = await shop.v1.refunds.create({"charge": charge.id})
    assert refund.status == "succeeded"
    customer = await shop.v1.customers.retrieve(charge.customer)
    clock = await shop.v1.test_helpers.test_clocks.retrieve(customer.test_clock)
    await shop.v1.test_helpers.test_clocks.advance(clock.id, {"frozen_time": clock.frozen_time + HOUR})
    failed = await shop.v1.refunds.retrieve(refund.id)
    assert (failed.status, failed.failure_reason is not None) == ("failed", True)
    assert (await shop.v1.charges.retrieve(charge.id)).amount_refunded == 0
    told = [event.type for event in await shop.events_about(charge.id)]
    assert {"refund.failed", "refund.updated", "charge.refund.updated"} <= set(told)


@pytest.mark.parametrize(("evidence", "end"), [("winning_evidence", "won"), ("losing_evidence", "lost")])
async def test_a_dispute(shop: Shop, evidence: str, end: str) -> None:
    charge = await paid_charge(shop, card="pm_card_createDispute")
    assert charge.disputed is True
    (dispute,) = (await shop.v1.disputes.list({"charge": charge.id})).data
    assert (dispute.amount, dispute.reason, dispute.status) == (2900, "fraudulent", "needs_response")
    assert (dispute.payment_intent, dispute.evidence_details.has_evidence) == (charge.payment_intent, False)
    (withdrawal,) = dispute.balance_transactions
    assert (withdrawal.amount, withdrawal.fee, withdrawal.net) == (-2900, 1500, -4400)
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await shop.v1.refunds.create({"charge": charge.id})
    assert refused.value.code == "charge_disputed"
    kept = await shop.v1.disputes.update(
        dispute.id, {"evidence": {"product_description": "Pictures"}, "submit": False}
    )
    assert (kept.status, kept.evidence.product_description) == ("needs_response", "Pictures")
    closed = await shop.v1.disputes.update(dispute.id, {"evidence": {"uncategorized_text": evidence}})
    assert closed.status == end
    told = [event.type for event in await shop.events_about(charge.id)]
    assert {"charge.dispute.created", "charge.dispute.funds_withdrawn", "charge.dispute.closed"} <= set(told)
    assert ("charge.dispute.funds_reinstated" in told) is (end == "won")
    assert (await shop.v1.charges.retrieve(charge.id)).disputed is True
    with pytest.raises(stripe.InvalidRequestError):
        await shop.v1.disputes.close(dispute.id)


async def test_giving_a_dispute_up(shop: Shop) -> None:
    charge = await paid_charge(shop, card="pm_card_createDisputeProductNotReceived")
    (dispute,) = (await shop.v1.disputes.list({"payment_intent": charge.payment_intent})).data
    assert dispute.reason == "product_not_received"
    assert (await shop.v1.disputes.close(dispute.id)).status == "lost"
    # The subscription goes on: what to do about it is the merchant's business.
    (sub,) = (await shop.v1.subscriptions.list({"customer": charge.customer})).data
    assert sub.status == "active"


async def test_an_early_warning(shop: Shop) -> None:
    charge = await paid_charge(shop, card="pm_card_createIssuerFraudRecord")
    (warning,) = (await shop.v1.radar.early_fraud_warnings.list({"charge": charge.id})).data
    assert (warning.actionable, warning.fraud_type) == (True, "made_with_stolen_card")
    told = await shop.events_about(charge.id, types=["radar.early_fraud_warning.created"])
    assert len(told) == 1


# Test clocks


async def test_a_clock_and_its_limits(shop: Shop) -> None:
    life = await shop.life()
    await life.subscribe(await shop.price())
    clocks = shop.v1.test_helpers.test_clocks
    found = await clocks.retrieve(life.clock)
    assert (found.object, found.status, found.frozen_time) == ("test_helpers.test_clock", "ready", START)
    # At most two intervals of the shortest subscription, and never back.
    for moment in (START - 1, START, MAR_10 + 1):
        with pytest.raises(stripe.InvalidRequestError) as refused:
            await clocks.advance(life.clock, {"frozen_time": moment})
        assert refused.value.param == "frozen_time"
    assert (await clocks.advance(life.clock, {"frozen_time": MAR_10})).status == "advancing"
    assert [one.period_start for one in await life.invoices()] == [START, START, FEB_10]
    # Customers on a clock are listed only where their clock is asked for.
    everybody = await shop.everything(await shop.v1.customers.list({"limit": 100}))
    assert life.customer not in [one.id for one in everybody]
    mine = await shop.v1.customers.list({"test_clock": life.clock})
    assert [one.id for one in mine.data] == [life.customer]
    assert (await clocks.delete(life.clock)).deleted is True
    assert (await shop.v1.customers.retrieve(life.customer)).deleted is True
    assert await life.invoices() == []
