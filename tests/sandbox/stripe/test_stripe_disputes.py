"""Disputes and early fraud warnings."""

import pytest
import stripe
from tests.sandbox.stripe.conftest import Server
from tests.sandbox.stripe.histories import (  # noqa: F401 - `shared_server` is a server for this file alone
    History,
    shared_server,
)
from tests.sandbox.stripe.test_stripe_refunds import charged


def dispute_of(sandbox: Server, charge: stripe.Charge) -> stripe.Dispute:
    (dispute,) = sandbox.client.v1.disputes.list({"charge": charge.id}).data
    return dispute


def told_of(sandbox: Server, object_id: str) -> list[str]:
    return [event["type"] for event in sandbox.events(object_id)]


def test_a_card_that_is_disputed_at_once(sandbox: Server) -> None:
    history, charge = charged(sandbox, card="pm_card_createDispute")
    after = sandbox.client.v1.charges.retrieve(charge.id)
    assert (after.disputed, after.refunded, after.amount_refunded) == (True, False, 0)
    dispute = dispute_of(sandbox, charge)
    assert (dispute.amount, dispute.status, dispute.reason) == (1000, "needs_response", "fraudulent")
    assert dispute.payment_intent == charge.payment_intent
    (taken,) = dispute.balance_transactions
    assert (taken.amount, taken.fee, taken.net) == (-1000, 1500, -2500)
    assert told_of(sandbox, dispute.id) == ["charge.dispute.created", "charge.dispute.funds_withdrawn"]
    assert history.invoices()[0].status == "paid"
    assert sandbox.client.v1.subscriptions.list({"customer": history.customer}).data[0].status == "active"
    with pytest.raises(stripe.InvalidRequestError) as caught:
        sandbox.client.v1.refunds.create({"charge": charge.id})
    assert caught.value.code == "charge_disputed"


def test_one_that_is_won_brings_the_money_back(sandbox: Server) -> None:
    _, charge = charged(sandbox)
    dispute_id = sandbox.control("disputes", charge=charge.id, reason="product_not_received")["id"]
    closed = sandbox.control(f"disputes/{dispute_id}/close", status="won")
    assert (closed["status"], closed["reason"]) == ("won", "product_not_received")
    assert [one["amount"] for one in closed["balance_transactions"]] == [-1000, 1000]
    assert told_of(sandbox, dispute_id)[-2:] == ["charge.dispute.closed", "charge.dispute.funds_reinstated"]
    assert sandbox.client.v1.charges.retrieve(charge.id).disputed is True, "it has been, for ever"
    assert sandbox.client.v1.refunds.create({"charge": charge.id}).status == "succeeded"


def test_one_that_is_lost_stays_lost(sandbox: Server) -> None:
    _, charge = charged(sandbox)
    dispute_id = sandbox.control("disputes", charge=charge.id)["id"]
    assert sandbox.control(f"disputes/{dispute_id}/close", status="lost")["status"] == "lost"
    assert told_of(sandbox, dispute_id)[-1] == "charge.dispute.closed"
    again = sandbox.raw.post(f"/_sandbox/disputes/{dispute_id}/close", json={"status": "won"})
    assert again.status_code == 400
    twice = sandbox.raw.post("/_sandbox/disputes", json={"charge": charge.id})
    assert twice.status_code == 400


@pytest.mark.parametrize(("text", "status"), [("winning_evidence", "won"), ("losing_evidence", "lost")])
def test_evidence_decides(sandbox: Server, text: str, status: str) -> None:
    _, charge = charged(sandbox, card="pm_card_createDispute")
    dispute = dispute_of(sandbox, charge)
    disputes = sandbox.client.v1.disputes
    noted = disputes.update(dispute.id, {"evidence": {"customer_name": "Ada"}, "submit": False})
    assert (noted.status, noted.evidence_details.has_evidence) == ("needs_response", True)
    assert disputes.update(dispute.id, {"evidence": {"uncategorized_text": text}}).status == status
    with pytest.raises(stripe.InvalidRequestError, match="already closed"):
        disputes.update(dispute.id, {"metadata": {"a": "b"}})


def test_evidence_under_review(sandbox: Server) -> None:
    _, charge = charged(sandbox, card="pm_card_createDisputeProductNotReceived")
    dispute = dispute_of(sandbox, charge)
    disputes = sandbox.client.v1.disputes
    sent = disputes.update(dispute.id, {"evidence": {"uncategorized_text": "It was delivered."}})
    assert (sent.status, sent.evidence_details.submission_count) == ("under_review", 1)
    assert disputes.close(dispute.id).status == "lost"


def test_only_what_was_not_refunded_is_disputed(sandbox: Server) -> None:
    _, charge = charged(sandbox)
    sandbox.client.v1.refunds.create({"charge": charge.id, "amount": 400})
    assert sandbox.control("disputes", charge=charge.id)["amount"] == 600


def test_warnings(sandbox: Server) -> None:
    _, charge = charged(sandbox, card="pm_card_createIssuerFraudRecord")
    warnings = sandbox.client.v1.radar.early_fraud_warnings
    (warning,) = warnings.list({"charge": charge.id}).data
    assert (warning.actionable, warning.fraud_type) == (True, "made_with_stolen_card")
    assert warnings.retrieve(warning.id).payment_intent == charge.payment_intent
    assert told_of(sandbox, warning.id) == ["radar.early_fraud_warning.created"]
    _, other = charged(sandbox)
    sandbox.client.v1.refunds.create({"charge": other.id})
    assert sandbox.control("early_fraud_warnings", charge=other.id)["actionable"] is False


def test_a_renewal_may_be_disputed_too(sandbox: Server) -> None:
    history = History(sandbox)
    sub = history.subscribe(sandbox.price(1000))
    history.use_card("pm_card_createDispute")
    history.advance(32 * 24 * 3600)
    charge = history.charges()[-1]
    assert charge.disputed is True
    assert dispute_of(sandbox, charge).created == charge.created
    assert history.latest(sub).status == "paid"
