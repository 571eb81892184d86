"""Refunds: giving back some or all of a charge."""

from typing import Any, Final

from visiona.sandbox.stripe.engine import balance
from visiona.sandbox.stripe.engine.books import Books
from visiona.sandbox.stripe.engine.cards import behaviour_of
from visiona.sandbox.stripe.engine.money import spoken_amount
from visiona.sandbox.stripe.errors import invalid
from visiona.sandbox.stripe.ids import new_id
from visiona.sandbox.stripe.params import exclusive, merge_metadata
from visiona.sandbox.stripe.store import Obj

_SETTLES_AFTER_S: Final = 60


class Refunds:
    """Refunds to most cards succeed at once; test cards exist for which one is pending or fails later."""

    def __init__(self, books: Books) -> None:
        self._books = books

    def create(self, params: Obj) -> Obj:
        """Raises a `StripeError` for more than is left of the charge, or a charge that was disputed."""
        charge = self._charge(params)
        amount = self._amount(charge, params.get("amount"))
        books = self._books
        how = self._how(charge)
        refund: Obj = {
            "id": new_id("re"),
            "object": "refund",
            "amount": amount,
            "balance_transaction": None,
            "charge": charge["id"],
            "created": books.now_for(charge),
            "currency": charge["currency"],
            "customer": charge["customer"],
            "customer_account": None,
            "destination_details": {
                "card": {
                    "reference": None,
                    "reference_status": "pending",
                    "reference_type": "acquirer_reference_number",
                    "type": "refund",
                },
                "type": "card",
            },
            "metadata": merge_metadata({}, params.get("metadata") or {}),
            "payment_intent": charge["payment_intent"],
            "payment_method": charge["payment_method"],
            "reason": params.get("reason"),
            "receipt_number": None,
            "source_transfer_reversal": None,
            "status": "pending" if how == "pending" else "succeeded",
            "transfer_reversal": None,
            "_settles_at": books.now_for(charge) + _SETTLES_AFTER_S if how else None,
            "_fails": how == "failing",
            "_clock": charge["_clock"],
        }
        transaction = balance.record(books, "refund", refund, -amount)
        refund["balance_transaction"] = transaction["id"]
        books.add(refund, "refund.created")
        self._change_charge(charge, amount, "charge.refunded")
        return refund

    def update(self, refund: Obj, params: Obj) -> Obj:
        with self._books.changing(refund, "refund.updated"):
            refund["metadata"] = merge_metadata(refund["metadata"], params["metadata"])
        return refund

    def due(self, refund: Obj) -> int | None:
        return refund["_settles_at"]

    def step(self, refund: Obj) -> None:
        """The bank has answered: the money arrived, or came back."""
        books = self._books
        failed: bool = refund["_fails"]
        with books.changing(refund, "refund.updated"):
            refund["_settles_at"] = None
            refund["status"] = "failed" if failed else "succeeded"
            if failed:
                refund["failure_reason"] = "lost_or_stolen_card"
                returned = balance.record(books, "refund_failure", refund, refund["amount"])
                refund["failure_balance_transaction"] = returned["id"]
        books.tell("charge.refund.updated", refund)
        if failed:
            books.tell("refund.failed", refund)
            charge = books.store.get("charge", refund["charge"])
            self._change_charge(charge, -refund["amount"], "charge.updated")

    def _charge(self, params: Obj) -> Obj:
        exclusive(params, "charge", "payment_intent")
        if "charge" in params:
            charge = self._books.store.get("charge", params["charge"], param="charge")
        elif "payment_intent" in params:
            intent = self._books.store.get("payment_intent", params["payment_intent"], param="payment_intent")
            if intent["status"] != "succeeded":
                raise invalid(
                    f"This PaymentIntent ({intent['id']}) does not have a successful charge to refund.",
                    param="payment_intent",
                )
            charge = self._books.store.get("charge", intent["latest_charge"])
        else:
            raise invalid(
                "One of the following params should be provided for this request: payment_intent or charge.",
                code="parameter_missing",
            )
        if charge["status"] != "succeeded":
            raise invalid(f"Charge {charge['id']} did not succeed, so it cannot be refunded.", param="charge")
        if charge["disputed"] and self._has_open_dispute(charge):
            raise invalid(
                f"Charge {charge['id']} has been charged back; cannot issue a refund.", code="charge_disputed"
            )
        return charge

    def _has_open_dispute(self, charge: Obj) -> bool:
        disputes = self._books.where("dispute", "charge", charge["id"])
        return any(dispute["status"] not in {"won", "warning_closed"} for dispute in disputes)

    def _amount(self, charge: Obj, wanted: int | None) -> int:
        left: int = charge["amount"] - charge["amount_refunded"]
        if left <= 0:
            raise invalid(f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded")
        amount = left if wanted is None else wanted
        if amount > left:
            currency = charge["currency"]
            raise invalid(
                f"Refund amount ({spoken_amount(amount, currency)}) is greater than unrefunded amount on "
                f"charge ({spoken_amount(left, currency)})",
                param="amount",
                code="amount_too_large",
            )
        return amount

    def _how(self, charge: Obj) -> str | None:
        method: Any = self._books.store.find("payment_method", charge["payment_method"])
        return behaviour_of(method["_number"]).refund if method is not None else None

    def _change_charge(self, charge: Obj, amount: int, event: str) -> None:
        with self._books.changing(charge, event):
            charge["amount_refunded"] += amount
            charge["refunded"] = charge["amount_refunded"] == charge["amount"]
