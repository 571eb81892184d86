"""Payment intents and charges: what a card's bank says to an amount."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

from visiona.sandbox.stripe.engine import balance
from visiona.sandbox.stripe.engine.books import Books
from visiona.sandbox.stripe.engine.cards import AUTHENTICATION_FAILED, Decline
from visiona.sandbox.stripe.engine.changes import copy_of
from visiona.sandbox.stripe.engine.payment_methods import behaviour, must_ask
from visiona.sandbox.stripe.errors import invalid
from visiona.sandbox.stripe.ids import new_id, random_text
from visiona.sandbox.stripe.store import Obj

_FINISHED: Final = frozenset({"succeeded", "canceled"})


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of asking for the money once."""

    status: Literal["succeeded", "failed", "requires_action"]
    charge: Obj | None = None
    decline: Decline | None = None


AfterAttempt = Callable[[Obj, Attempt], None]
AfterCharge = Callable[[Obj, Obj], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Purpose:
    """What an intent is for. `invoice` is the id of the invoice that it pays."""

    amount: int
    currency: str
    customer: str | None = None
    test_clock: str | None = None
    invoice: str | None = None
    description: str | None = None
    receipt_email: str | None = None
    setup_future_usage: str | None = None
    metadata: dict[str, str] | None = None


class Payments:
    """`after_attempt` is told of every attempt (invoices follow it), `after_charge` of every charge that
    succeeded, with its payment method, when everything else about it is done.
    """

    def __init__(self, books: Books) -> None:
        self._books = books
        self.after_attempt: AfterAttempt = lambda _intent, _attempt: None
        self.after_charge: list[AfterCharge] = []

    def open(self, purpose: Purpose, method: Obj | None = None) -> Obj:
        """A new intent, not yet confirmed."""
        books = self._books
        id_ = new_id("pi")
        intent: Obj = {
            "id": id_,
            "object": "payment_intent",
            "amount": purpose.amount,
            "amount_capturable": 0,
            "amount_details": {"tip": {}},
            "amount_received": 0,
            "application": None,
            "application_fee_amount": None,
            "automatic_payment_methods": None,
            "canceled_at": None,
            "cancellation_reason": None,
            "capture_method": "automatic",
            "client_secret": f"{id_}_secret_{random_text(25)}",
            "confirmation_method": "automatic",
            "created": books.now(purpose.test_clock),
            "currency": purpose.currency,
            "customer": purpose.customer,
            "customer_account": None,
            "description": purpose.description,
            "excluded_payment_method_types": None,
            "last_payment_error": None,
            "latest_charge": None,
            "livemode": False,
            "metadata": purpose.metadata or {},
            "next_action": None,
            "on_behalf_of": None,
            "payment_details": {"customer_reference": None, "order_reference": purpose.invoice},
            "payment_method": method["id"] if method else None,
            "payment_method_configuration_details": None,
            "payment_method_options": {"card": {"request_three_d_secure": "automatic"}},
            "payment_method_types": ["card"],
            "processing": None,
            "receipt_email": purpose.receipt_email,
            "review": None,
            "setup_future_usage": purpose.setup_future_usage,
            "shipping": None,
            "source": None,
            "statement_descriptor": None,
            "statement_descriptor_suffix": None,
            "status": "requires_confirmation" if method else "requires_payment_method",
            "transfer_data": None,
            "transfer_group": None,
            "_of_invoice": purpose.invoice,
            "_clock": purpose.test_clock,
        }
        return books.add(intent, "payment_intent.created")

    def forecast(self, method: Obj, *, authenticated: bool = False) -> Attempt:
        """What an attempt would come to, without making it."""
        if must_ask(method) and not authenticated:
            return Attempt("requires_action")
        decline = behaviour(method).charging
        return Attempt("succeeded") if decline is None else Attempt("failed", decline=decline)

    def confirm(self, intent: Obj, method: Obj, *, authenticated: bool = False) -> Attempt:
        """Ask for the money. Raises a `StripeError` where the intent is finished already."""
        if intent["status"] in _FINISHED:
            raise _finished(intent)
        forecast = self.forecast(method, authenticated=authenticated)
        with self._books.changing(intent, None):
            intent["payment_method"] = method["id"]
        if forecast.status == "requires_action":
            return self._ask(intent)
        if forecast.decline is not None:
            return self._fail(intent, method, forecast.decline)
        return self._succeed(intent, method)

    def answer_challenge(self, intent: Obj, *, approve: bool) -> Attempt:
        """The holder's answer to their bank."""
        if intent["status"] != "requires_action":
            raise invalid("This PaymentIntent does not require any action.", param="id")
        method = self._books.store.get("payment_method", intent["payment_method"])
        if approve:
            return self.confirm(intent, method, authenticated=True)
        return self._fail(intent, method, AUTHENTICATION_FAILED, charged=False)

    def cancel(self, intent: Obj, reason: str | None) -> Obj:
        if intent["status"] in _FINISHED:
            raise _finished(intent)
        with self._books.changing(intent, None):
            intent["status"] = "canceled"
            intent["canceled_at"] = self._books.now_for(intent)
            intent["cancellation_reason"] = reason
            intent["next_action"] = None
        self._books.tell("payment_intent.canceled", intent)
        return intent

    def charges_of(self, intent_id: str) -> list[Obj]:
        """Oldest first."""
        return self._books.where("charge", "payment_intent", intent_id)

    def _ask(self, intent: Obj) -> Attempt:
        with self._books.changing(intent, None):
            intent["status"] = "requires_action"
            intent["next_action"] = {
                "type": "use_stripe_sdk",
                "use_stripe_sdk": {"type": "three_d_secure_redirect", "stripe_js": ""},
            }
        self._books.tell("payment_intent.requires_action", intent)
        attempt = Attempt("requires_action")
        self.after_attempt(intent, attempt)
        return attempt

    def _fail(self, intent: Obj, method: Obj, decline: Decline, *, charged: bool = True) -> Attempt:
        """A refusal; one that came before the bank was asked for money leaves no charge."""
        charge = self._charge(intent, method, decline) if charged else None
        with self._books.changing(intent, None):
            intent["status"] = "requires_payment_method"
            intent["next_action"] = None
            intent["payment_method"] = None
            intent["last_payment_error"] = _error_of(decline, method, charge)
            if charge is not None:
                intent["latest_charge"] = charge["id"]
        if charge is not None:
            self._books.tell("charge.failed", charge)
        self._books.tell("payment_intent.payment_failed", intent)
        attempt = Attempt("failed", charge, decline)
        self.after_attempt(intent, attempt)
        return attempt

    def _succeed(self, intent: Obj, method: Obj) -> Attempt:
        books = self._books
        charge = self._charge(intent, method, None)
        transaction = balance.record(
            books,
            "charge",
            charge,
            charge["amount"],
            fee=balance.charge_fee(charge["amount"]),
            description=charge["description"],
        )
        charge["balance_transaction"] = transaction["id"]
        books.keep(charge)
        with books.changing(intent, None):
            intent["status"] = "succeeded"
            intent["next_action"] = None
            intent["last_payment_error"] = None
            intent["amount_received"] = intent["amount"]
            intent["latest_charge"] = charge["id"]
        if intent["setup_future_usage"] == "off_session" and not method["_set_up"]:
            method["_set_up"] = True
            books.keep(method)
        books.tell("charge.succeeded", charge)
        books.tell("payment_intent.succeeded", intent)
        attempt = Attempt("succeeded", charge)
        self.after_attempt(intent, attempt)
        for follow in self.after_charge:
            follow(charge, method)
        return attempt

    def _charge(self, intent: Obj, method: Obj, decline: Decline | None) -> Obj:
        books = self._books
        paid = decline is None
        invoice = intent["_of_invoice"]
        return books.add(
            {
                "id": new_id("ch"),
                "object": "charge",
                "amount": intent["amount"],
                "amount_captured": intent["amount"] if paid else 0,
                "amount_refunded": 0,
                "application": None,
                "application_fee": None,
                "application_fee_amount": None,
                "balance_transaction": None,
                "billing_details": copy_of(method["billing_details"]),
                "calculated_statement_descriptor": books.settings.merchant.upper(),
                "captured": paid,
                "created": books.now_for(intent),
                "currency": intent["currency"],
                "customer": intent["customer"],
                "description": intent["description"],
                "disputed": False,
                "failure_balance_transaction": None,
                "failure_code": decline.code if decline else None,
                "failure_message": decline.message if decline else None,
                "fraud_details": {},
                "livemode": False,
                "metadata": dict(intent["metadata"]),
                "on_behalf_of": None,
                "outcome": _outcome(decline),
                "paid": paid,
                "payment_intent": intent["id"],
                "payment_method": method["id"],
                "payment_method_details": {"card": _card_details(method, intent), "type": "card"},
                "radar_options": {},
                "receipt_email": intent["receipt_email"],
                "receipt_number": None,
                "receipt_url": books.links.invoice(invoice) if paid and invoice else None,
                "refunded": False,
                "review": None,
                "shipping": None,
                "source": None,
                "source_transfer": None,
                "statement_descriptor": None,
                "statement_descriptor_suffix": None,
                "status": "succeeded" if paid else "failed",
                "transfer_data": None,
                "transfer_group": None,
                "_clock": intent["_clock"],
            }
        )


def _finished(intent: Obj) -> Exception:
    return invalid(
        f"You cannot confirm or cancel this PaymentIntent because it has a status of {intent['status']}.",
        code="payment_intent_unexpected_state",
        param="intent",
    )


def _error_of(decline: Decline, method: Obj, charge: Obj | None) -> Obj:
    error: dict[str, Any] = {
        "code": decline.code,
        "doc_url": f"https://docs.stripe.com/error-codes/{decline.code.replace('_', '-')}",
        "message": decline.message,
        "payment_method": {key: value for key, value in method.items() if not key.startswith("_")},
        "type": "card_error" if charge is not None else "invalid_request_error",
    }
    if charge is not None:
        error["charge"] = charge["id"]
    if decline.decline_code is not None:
        error["decline_code"] = decline.decline_code
    return copy_of(error)


def _outcome(decline: Decline | None) -> Obj:
    if decline is None:
        return {
            "advice_code": None,
            "network_advice_code": None,
            "network_decline_code": None,
            "network_status": "approved_by_network",
            "reason": None,
            "risk_level": "normal",
            "risk_score": 12,
            "seller_message": "Payment complete.",
            "type": "authorized",
        }
    return {
        "advice_code": "try_again_later",
        "network_advice_code": None,
        "network_decline_code": "01",
        "network_status": "declined_by_network",
        "reason": decline.decline_code or decline.code,
        "risk_level": "normal",
        "risk_score": 12,
        "seller_message": "The bank did not return any further details with this decline.",
        "type": "issuer_declined",
    }


def _card_details(method: Obj, intent: Obj) -> Obj:
    card = method["card"]
    return {
        "amount_authorized": intent["amount"],
        "authorization_code": None,
        "brand": card["brand"],
        "checks": dict(card["checks"]),
        "country": card["country"],
        "exp_month": card["exp_month"],
        "exp_year": card["exp_year"],
        "extended_authorization": {"status": "disabled"},
        "fingerprint": card["fingerprint"],
        "funding": card["funding"],
        "incremental_authorization": {"status": "unavailable"},
        "installments": None,
        "last4": card["last4"],
        "mandate": None,
        "multicapture": {"status": "unavailable"},
        "network": card["brand"],
        "network_token": {"used": False},
        "overcapture": {"maximum_amount_capturable": intent["amount"], "status": "unavailable"},
        "regulated_status": "unregulated",
        "three_d_secure": None,
        "wallet": None,
    }
