"""Giving money back."""

from typing import Any

import pytest
import stripe
from tests.sandbox.stripe.conftest import Server
from tests.sandbox.stripe.histories import (  # noqa: F401 - `shared_server` is a server for this file alone
    MINUTE,
    History,
    shared_server,
)


def charged(sandbox: Server, amount: int = 1000, card: str = "pm_card_visa") -> tuple[History, stripe.Charge]:
    history = History(sandbox, card=card)
    history.subscribe(sandbox.price(amount))
    (charge,) = history.charges()
    return history, charge


def test_all_of_a_charge(sandbox: Server) -> None:
    history, charge = charged(sandbox)
    refund = sandbox.client.v1.refunds.create({"charge": charge.id, "reason": "requested_by_customer"})
    assert (refund.amount, refund.status, refund.charge) == (1000, "succeeded", charge.id)
    assert refund.payment_intent == charge.payment_intent
    after = sandbox.client.v1.charges.retrieve(charge.id, {"expand": ["refunds"]})
    assert (after.refunded, after.amount_refunded, after.paid, after.status) == (
        True,
        1000,
        True,
        "succeeded",
    )
    assert after.refunds is not None
    assert [one.id for one in after.refunds.data] == [refund.id]
    (event,) = history.events("charge.refunded")
    assert event.previous == {"amount_refunded": 0, "refunded": False}
    assert history.told().count("refund.created") == 1
    assert history.invoices()[0].status == "paid", "a refund does not change the invoice"


def test_parts_add_up_to_no_more_than_the_charge(sandbox: Server) -> None:
    _, charge = charged(sandbox)
    refunds = sandbox.client.v1.refunds
    refunds.create({"payment_intent": str(charge.payment_intent), "amount": 300})
    part = sandbox.client.v1.charges.retrieve(charge.id)
    assert (part.refunded, part.amount_refunded) == (False, 300)
    with pytest.raises(stripe.InvalidRequestError, match=r"\$7\.01.*\$7\.00"):
        refunds.create({"charge": charge.id, "amount": 701})
    assert refunds.create({"charge": charge.id}).amount == 700
    assert sandbox.client.v1.charges.retrieve(charge.id).refunded is True
    with pytest.raises(stripe.InvalidRequestError) as caught:
        refunds.create({"charge": charge.id, "amount": 1})
    assert caught.value.code == "charge_already_refunded"
    listed = refunds.list({"charge": charge.id}).data
    assert [one.amount for one in listed] == [700, 300]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "should be provided"),
        ({"charge": "ch_unknown"}, "No such charge"),
        ({"charge": "ch_x", "payment_intent": "pi_x"}, "only specify one"),
        ({"charge": "ch_x", "amount": 0}, "greater than or equal to 1"),
        ({"charge": "ch_x", "amount": "some"}, "Invalid integer"),
    ],
)
def test_refusals(sandbox: Server, params: dict[str, Any], message: str) -> None:
    given: Any = params
    with pytest.raises(stripe.InvalidRequestError, match=message):
        sandbox.client.v1.refunds.create(given)


def test_a_charge_that_failed_cannot_be_refunded(sandbox: Server) -> None:
    _, charge = charged(sandbox, card="pm_card_chargeCustomerFail")
    assert charge.status == "failed"
    with pytest.raises(stripe.InvalidRequestError, match="did not succeed"):
        sandbox.client.v1.refunds.create({"charge": charge.id})
    with pytest.raises(stripe.InvalidRequestError, match="successful charge"):
        sandbox.client.v1.refunds.create({"payment_intent": str(charge.payment_intent)})


def test_a_refund_that_takes_its_time(sandbox: Server) -> None:
    history, charge = charged(sandbox, card="pm_card_pendingRefund")
    refund = sandbox.client.v1.refunds.create({"charge": charge.id})
    assert refund.status == "pending"
    history.advance(2 * MINUTE)
    assert sandbox.client.v1.refunds.retrieve(refund.id).status == "succeeded"
    (event,) = history.events("refund.updated")
    assert event.previous == {"status": "pending"}


def test_a_refund_that_fails_later_gives_the_charge_back(sandbox: Server) -> None:
    history, charge = charged(sandbox, card="pm_card_refundFail")
    refund = sandbox.client.v1.refunds.create({"charge": charge.id, "amount": 400})
    assert refund.status == "succeeded"
    history.advance(2 * MINUTE)
    failed = sandbox.client.v1.refunds.retrieve(refund.id)
    assert (failed.status, failed.failure_reason) == ("failed", "lost_or_stolen_card")
    assert sandbox.client.v1.charges.retrieve(charge.id).amount_refunded == 0
    assert "refund.failed" in history.told()


def test_notes_on_a_refund(sandbox: Server) -> None:
    history, charge = charged(sandbox)
    refund = sandbox.client.v1.refunds.create({"charge": charge.id, "metadata": {"ticket": "1"}})
    changed = sandbox.client.v1.refunds.update(refund.id, {"metadata": {"ticket": "2"}})
    assert changed.metadata is not None
    assert changed.metadata.to_dict() == {"ticket": "2"}
    assert history.events("refund.updated")[-1].previous == {"metadata": {"ticket": "1"}}
    with pytest.raises(stripe.InvalidRequestError, match="cannot be canceled"):
        sandbox.client.v1.refunds.cancel(refund.id)


def test_the_merchants_balance(sandbox: Server) -> None:
    _, charge = charged(sandbox)
    refund = sandbox.client.v1.refunds.create({"charge": charge.id, "expand": ["balance_transaction"]})
    taken = refund.balance_transaction
    assert isinstance(taken, stripe.BalanceTransaction)
    assert (taken.amount, taken.fee, taken.type) == (-1000, 0, "refund")
    came = sandbox.client.v1.balance_transactions.retrieve(str(charge.balance_transaction))
    assert (came.amount, came.fee, came.net) == (1000, 59, 941)


def test_notes_on_a_charge(sandbox: Server) -> None:
    _, charge = charged(sandbox)
    noted = sandbox.client.v1.charges.update(charge.id, {"metadata": {"a": "b"}, "description": "Known"})
    assert (noted.description, noted.metadata.to_dict()) == ("Known", {"a": "b"})
    with pytest.raises(stripe.InvalidRequestError, match="cannot be expanded"):
        sandbox.client.v1.charges.retrieve(charge.id, {"expand": ["invoice"]})
    by_intent = sandbox.client.v1.charges.list({"payment_intent": str(charge.payment_intent)}).data
    assert [one.id for one in by_intent] == [charge.id]


def test_single_payments(sandbox: Server) -> None:
    customer = sandbox.customer()
    intents = sandbox.client.v1.payment_intents
    paid = intents.create(
        {
            "amount": 700,
            "currency": "eur",
            "customer": customer.id,
            "payment_method": "pm_card_visa",
            "confirm": True,
            "setup_future_usage": "off_session",
            "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
            "expand": ["latest_charge"],
        }
    )
    assert (paid.status, paid.amount_received) == ("succeeded", 700)
    assert isinstance(paid.latest_charge, stripe.Charge)
    assert len(sandbox.client.v1.payment_methods.list({"customer": customer.id}).data) == 1
    waiting = intents.create({"amount": 700, "currency": "eur"})
    assert waiting.status == "requires_payment_method"
    with pytest.raises(stripe.CardError) as caught:
        intents.confirm(waiting.id, {"payment_method": "pm_card_visa_chargeDeclinedInsufficientFunds"})
    assert caught.value.error.decline_code == "insufficient_funds"
    failed = intents.retrieve(waiting.id)
    assert failed.last_payment_error is not None
    assert failed.last_payment_error.decline_code == "insufficient_funds"
    assert intents.cancel(waiting.id).status == "canceled"
    with pytest.raises(stripe.InvalidRequestError, match="status of canceled"):
        intents.confirm(waiting.id, {"payment_method": "pm_card_visa"})
    with pytest.raises(stripe.InvalidRequestError) as small:
        intents.create({"amount": 10, "currency": "eur"})
    assert small.value.code == "amount_too_small"
    assert [one.id for one in intents.list({"customer": customer.id}).data] == [paid.id]
    assert intents.update(paid.id, {"metadata": {"a": "b"}}).metadata.to_dict() == {"a": "b"}
