"""Payment methods: cards that were typed in or named by a test name, and whose they are."""

import hashlib
from datetime import UTC, datetime
from typing import Final

from visiona.sandbox.stripe.engine.books import Books
from visiona.sandbox.stripe.engine.cards import (
    TEST_METHODS,
    Behaviour,
    Decline,
    behaviour_of,
    brand_of,
    digits_of,
    mistake_in,
)
from visiona.sandbox.stripe.engine.outcomes import Card
from visiona.sandbox.stripe.errors import invalid
from visiona.sandbox.stripe.ids import new_id
from visiona.sandbox.stripe.store import Obj

_TEST_CVC: Final = "123"
_NO_ADDRESS: Final = dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state"))


class PaymentMethods:
    """`_number` remembers the card number, `_set_up` that its bank agreed to later use."""

    def __init__(self, books: Books) -> None:
        self._books = books

    def mistake_in(self, card: Card) -> Decline | None:
        """What is wrong with a card's data, as its form would say before any bank is asked."""
        today = datetime.fromtimestamp(self._books.now(), UTC)
        return mistake_in(card, today.year, today.month)

    def create(self, card: Card, billing_details: Obj | None = None, metadata: Obj | None = None) -> Obj:
        """A payment method of nobody's yet. Raises a `StripeError` 402 for data that is wrong."""
        mistake = self.mistake_in(card)
        if mistake is not None:
            raise mistake.for_api()
        number = digits_of(card.number)
        method: Obj = {
            "id": new_id("pm"),
            "object": "payment_method",
            "allow_redisplay": "unspecified",
            "billing_details": {
                "address": dict(_NO_ADDRESS),
                "email": None,
                "name": card.name or None,
                "phone": None,
                "tax_id": None,
            }
            | (billing_details or {}),
            "card": _card(number, card),
            "created": self._books.now(),
            "customer": None,
            "customer_account": None,
            "livemode": False,
            "metadata": metadata or {},
            "type": "card",
            "_number": number,
            "_set_up": False,
        }
        return self._books.add(method)

    def find(self, id_: str, *, param: str = "id") -> Obj:
        """A payment method; a test name (`pm_card_visa`) gives a new one each time."""
        number = TEST_METHODS.get(id_)
        if number is None:
            return self._books.store.get("payment_method", id_, param=param)
        year = datetime.fromtimestamp(self._books.now(), UTC).year + 1
        return self.create(Card(number, 12, year, _TEST_CVC))

    def attach(self, method: Obj, customer: Obj) -> Obj:
        """Raises a `StripeError`: 402 where the card's bank refuses, 400 where it is another customer's."""
        if method["customer"] == customer["id"]:
            return method
        if method["customer"] is not None:
            raise invalid(
                "The payment method you provided has already been attached to a customer.",
                param="payment_method",
            )
        if method.get("_detached"):
            raise invalid(
                "The provided PaymentMethod was previously used with a PaymentIntent without Customer "
                "attachment, shared with a connected account without Customer attachment, or was detached "
                "from a Customer. It may not be used again.",
                param="payment_method",
            )
        refusal = behaviour_of(method["_number"]).saving
        if refusal is not None:
            raise refusal.for_api()
        method["customer"] = customer["id"]
        return self._books.add(method, "payment_method.attached")

    def detach(self, method: Obj) -> Obj:
        """It can never be used again; whoever had it as default has none now."""
        customer_id = method["customer"]
        if customer_id is None:
            raise invalid(
                "The payment method you provided is not attached to a customer so detachment is impossible.",
                param="payment_method",
            )
        method["_detached"] = True
        with self._books.changing(method, "payment_method.detached"):
            method["customer"] = None
        customer = self._books.store.get("customer", customer_id)
        if customer["invoice_settings"]["default_payment_method"] == method["id"]:
            with self._books.changing(customer, "customer.updated"):
                customer["invoice_settings"]["default_payment_method"] = None
        for subscription in self._books.where("subscription", "customer", customer_id):
            if subscription["default_payment_method"] == method["id"]:
                with self._books.changing(subscription, "customer.subscription.updated"):
                    subscription["default_payment_method"] = None
        return method

    def of_customer(self, id_: str, customer: Obj, *, param: str) -> Obj:
        """A payment method that a parameter names. Raises a `StripeError` where it is not the customer's."""
        if id_ in TEST_METHODS:
            return self.attach(self.find(id_, param=param), customer)
        method = self._books.store.get("payment_method", id_, param=param)
        if method["customer"] != customer["id"]:
            raise invalid(
                f"The customer does not have a payment method with the ID {id_}. The payment method must be "
                "attached to the customer.",
                param=param,
                code="resource_missing",
            )
        return method

    def default_for(self, customer: Obj, subscription: Obj | None = None) -> Obj | None:
        """What automatic payments use."""
        candidates = [
            subscription["default_payment_method"] if subscription is not None else None,
            customer["invoice_settings"]["default_payment_method"],
        ]
        for candidate in candidates:
            if candidate is not None:
                found = self._books.store.find("payment_method", candidate)
                if found is not None and found["customer"] is not None:
                    return found
        return None


def behaviour(method: Obj) -> Behaviour:
    return behaviour_of(method["_number"])


def must_ask(method: Obj) -> bool:
    """Whether the card's bank asks its holder before a payment."""
    challenge = behaviour(method).challenge
    return challenge == "always" or (challenge == "first" and not method["_set_up"])


def _card(number: str, card: Card) -> Obj:
    return {
        "brand": brand_of(number),
        "checks": {
            "address_line1_check": None,
            "address_postal_code_check": None,
            "cvc_check": "pass" if card.cvc else "unchecked",
        },
        "country": "US",
        "display_brand": brand_of(number),
        "exp_month": card.exp_month,
        "exp_year": card.exp_year,
        "fingerprint": hashlib.sha256(number.encode()).hexdigest()[:16],
        "funding": "credit",
        "generated_from": None,
        "last4": number[-4:],
        "networks": {"available": [brand_of(number)], "preferred": None},
        "regulated_status": "unregulated",
        "three_d_secure_usage": {"supported": True},
        "wallet": None,
    }
