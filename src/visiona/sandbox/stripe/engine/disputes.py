"""Disputes and early fraud warnings: a bank takes money back, or says that it may."""

from typing import Final, Literal

from visiona.sandbox.stripe.engine import balance
from visiona.sandbox.stripe.engine.books import Books
from visiona.sandbox.stripe.engine.calendar import DAY_S
from visiona.sandbox.stripe.engine.payment_methods import behaviour
from visiona.sandbox.stripe.errors import invalid
from visiona.sandbox.stripe.ids import new_id
from visiona.sandbox.stripe.params import merge_metadata
from visiona.sandbox.stripe.store import Obj

_FEE: Final = 1500
_DAYS_TO_ANSWER: Final = 9
_ENDED: Final = frozenset({"won", "lost"})
_REASON_CODES: Final = {"fraudulent": "10.4", "product_not_received": "13.1"}

REASONS: Final = (
    "bank_cannot_process",
    "check_returned",
    "credit_not_processed",
    "customer_initiated",
    "debit_not_authorized",
    "duplicate",
    "fraudulent",
    "general",
    "incorrect_account_details",
    "insufficient_funds",
    "noncompliant",
    "product_not_received",
    "product_unacceptable",
    "subscription_canceled",
    "unrecognized",
)
EVIDENCE: Final = (
    "access_activity_log",
    "billing_address",
    "cancellation_policy",
    "cancellation_policy_disclosure",
    "cancellation_rebuttal",
    "customer_communication",
    "customer_email_address",
    "customer_name",
    "customer_purchase_ip",
    "customer_signature",
    "duplicate_charge_documentation",
    "duplicate_charge_explanation",
    "duplicate_charge_id",
    "product_description",
    "receipt",
    "refund_policy",
    "refund_policy_disclosure",
    "refund_refusal_explanation",
    "service_date",
    "service_documentation",
    "shipping_address",
    "shipping_carrier",
    "shipping_date",
    "shipping_documentation",
    "shipping_tracking_number",
    "uncategorized_file",
    "uncategorized_text",
)


class Disputes:
    def __init__(self, books: Books) -> None:
        self._books = books

    def card_was_charged(self, charge: Obj, method: Obj) -> None:
        """Some test cards are disputed, or warned of, as soon as they have paid."""
        how = behaviour(method)
        if how.dispute is not None:
            self.open(charge["id"], how.dispute)
        if how.warning is not None:
            self.warn(charge["id"], how.warning)

    def open(self, charge_id: str, reason: str = "fraudulent") -> Obj:
        """A dispute about all that was not refunded; the money is gone until it is won.

        Raises a `StripeError` for a charge that has an open dispute or nothing left to dispute.
        """
        books = self._books
        charge = books.store.get("charge", charge_id, param="charge")
        if reason not in REASONS:
            raise invalid(f"Invalid reason: must be one of {', '.join(REASONS)}", param="reason")
        amount: int = charge["amount"] - charge["amount_refunded"]
        others = books.where("dispute", "charge", charge_id)
        if charge["status"] != "succeeded" or amount <= 0 or others:
            raise invalid(f"Charge {charge_id} cannot be disputed.", param="charge")
        dispute = self._new(charge, amount, reason)
        transaction = balance.record(
            books,
            "adjustment",
            dispute,
            -amount,
            fee=_FEE,
            description=f"Chargeback withdrawal for {charge_id}",
        )
        dispute["balance_transactions"] = [transaction]
        books.add(dispute)
        with books.changing(charge, "charge.updated"):
            charge["disputed"] = True
        books.tell("charge.dispute.created", dispute)
        books.tell("charge.dispute.funds_withdrawn", dispute)
        return dispute

    def update(self, dispute: Obj, params: Obj) -> Obj:
        """Evidence; with `submit` it goes to the bank, which decides at once where the evidence says
        `winning_evidence` or `losing_evidence`.
        """
        self._require_open(dispute)
        submits: bool = params.get("submit", True) and "evidence" in params
        with self._books.changing(dispute, "charge.dispute.updated"):
            dispute["evidence"] |= params.get("evidence", {})
            if "metadata" in params:
                dispute["metadata"] = merge_metadata(dispute["metadata"], params["metadata"])
            details = dispute["evidence_details"]
            details["has_evidence"] = any(dispute["evidence"][name] is not None for name in EVIDENCE)
            if submits:
                details["submission_count"] += 1
                details["submission_method"] = "manual"
                dispute["status"] = "under_review"
        verdict = dispute["evidence"].get("uncategorized_text")
        if submits and verdict == "winning_evidence":
            return self.close(dispute["id"], "won")
        if submits and verdict == "losing_evidence":
            return self.close(dispute["id"], "lost")
        return dispute

    def close(self, dispute_id: str, status: Literal["won", "lost"]) -> Obj:
        """The bank has decided. A dispute that was won brings the money back, without the fee."""
        books = self._books
        dispute = books.store.get("dispute", dispute_id)
        self._require_open(dispute)
        with books.changing(dispute, None):
            dispute["status"] = status
            if status == "won":
                dispute["balance_transactions"].append(
                    balance.record(
                        books,
                        "adjustment",
                        dispute,
                        dispute["amount"],
                        description=f"Chargeback reversal for {dispute['charge']}",
                    )
                )
        books.tell("charge.dispute.closed", dispute)
        if status == "won":
            books.tell("charge.dispute.funds_reinstated", dispute)
        return dispute

    def warn(self, charge_id: str, fraud_type: str = "made_with_stolen_card") -> Obj:
        """An early fraud warning; a refund in time may spare a dispute."""
        charge = self._books.store.get("charge", charge_id, param="charge")
        return self._books.add(
            {
                "id": new_id("issfr"),
                "object": "radar.early_fraud_warning",
                "actionable": not charge["refunded"] and not charge["disputed"],
                "charge": charge_id,
                "created": self._books.now_for(charge),
                "fraud_type": fraud_type,
                "livemode": False,
                "payment_intent": charge["payment_intent"],
                "_clock": charge["_clock"],
            },
            "radar.early_fraud_warning.created",
        )

    def _require_open(self, dispute: Obj) -> None:
        if dispute["status"] in _ENDED:
            raise invalid("This dispute is already closed.", param="id")

    def _new(self, charge: Obj, amount: int, reason: str) -> Obj:
        now = self._books.now_for(charge)
        return {
            "id": new_id("du"),
            "object": "dispute",
            "amount": amount,
            "balance_transactions": [],
            "charge": charge["id"],
            "created": now,
            "currency": charge["currency"],
            "enhanced_eligibility_types": [],
            "evidence": dict.fromkeys(EVIDENCE) | {"appeal": None, "enhanced_evidence": {}},
            "evidence_details": {
                "due_by": now + _DAYS_TO_ANSWER * DAY_S,
                "enhanced_eligibility": {},
                "has_evidence": False,
                "past_due": False,
                "submission_count": 0,
                "submission_method": "not_submitted",
            },
            "is_charge_refundable": False,
            "livemode": False,
            "metadata": {},
            "network_reason_code": _REASON_CODES.get(reason, "13.7"),
            "payment_intent": charge["payment_intent"],
            "payment_method_details": {
                "card": {
                    "brand": charge["payment_method_details"]["card"]["brand"],
                    "case_type": "chargeback",
                    "network": charge["payment_method_details"]["card"]["network"],
                    "network_reason_code": _REASON_CODES.get(reason, "13.7"),
                },
                "type": "card",
            },
            "reason": reason,
            "status": "needs_response",
            "_clock": charge["_clock"],
        }
