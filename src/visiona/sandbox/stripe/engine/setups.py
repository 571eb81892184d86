"""Setup intents: getting a bank's agreement to later payments, without a payment."""

from collections.abc import Callable
from typing import Final

from visiona.sandbox.stripe.engine.books import Books
from visiona.sandbox.stripe.engine.cards import SETUP_AUTHENTICATION_FAILED, Decline
from visiona.sandbox.stripe.engine.changes import copy_of
from visiona.sandbox.stripe.engine.payment_methods import PaymentMethods, behaviour
from visiona.sandbox.stripe.engine.payments import Attempt
from visiona.sandbox.stripe.errors import invalid
from visiona.sandbox.stripe.ids import new_id, random_text
from visiona.sandbox.stripe.store import Obj

_FINISHED: Final = frozenset({"succeeded", "canceled"})


class Setups:
    """`after_success` is told of every intent that succeeded."""

    def __init__(self, books: Books, methods: PaymentMethods) -> None:
        self._books = books
        self._methods = methods
        self.after_success: list[Callable[[Obj], None]] = []

    def open(self, customer: Obj | None, metadata: dict[str, str] | None = None) -> Obj:
        id_ = new_id("seti")
        clock = customer["test_clock"] if customer else None
        return self._books.add(
            {
                "id": id_,
                "object": "setup_intent",
                "application": None,
                "automatic_payment_methods": None,
                "cancellation_reason": None,
                "client_secret": f"{id_}_secret_{random_text(25)}",
                "created": self._books.now(clock),
                "customer": customer["id"] if customer else None,
                "customer_account": None,
                "description": None,
                "excluded_payment_method_types": None,
                "flow_directions": None,
                "last_setup_error": None,
                "latest_attempt": None,
                "livemode": False,
                "mandate": None,
                "metadata": metadata or {},
                "next_action": None,
                "on_behalf_of": None,
                "payment_method": None,
                "payment_method_configuration_details": None,
                "payment_method_options": {"card": {"request_three_d_secure": "automatic"}},
                "payment_method_types": ["card"],
                "single_use_mandate": None,
                "status": "requires_payment_method",
                "usage": "off_session",
            },
            "setup_intent.created",
        )

    def confirm(self, intent: Obj, method: Obj, *, authenticated: bool = False) -> Attempt:
        """Attaches the payment method to the intent's customer on success."""
        if intent["status"] in _FINISHED:
            raise _finished(intent)
        intent["payment_method"] = method["id"]
        how = behaviour(method)
        if how.challenge is not None and not authenticated:
            with self._books.changing(intent, None):
                intent["status"] = "requires_action"
                intent["next_action"] = {
                    "type": "use_stripe_sdk",
                    "use_stripe_sdk": {"type": "three_d_secure_redirect", "stripe_js": ""},
                }
            self._books.tell("setup_intent.requires_action", intent)
            return Attempt("requires_action")
        if how.saving is not None:
            return self._fail(intent, method, how.saving)
        if intent["customer"] is not None:
            self._methods.attach(method, self._books.store.get("customer", intent["customer"]))
        method["_set_up"] = True
        self._books.keep(method)
        with self._books.changing(intent, None):
            intent["status"] = "succeeded"
            intent["next_action"] = None
            intent["last_setup_error"] = None
        self._books.tell("setup_intent.succeeded", intent)
        for follow in self.after_success:
            follow(intent)
        return Attempt("succeeded")

    def answer_challenge(self, intent: Obj, *, approve: bool) -> Attempt:
        """The holder's answer to their bank."""
        if intent["status"] != "requires_action":
            raise invalid("This SetupIntent does not require any action.", param="id")
        method = self._books.store.get("payment_method", intent["payment_method"])
        if approve:
            return self.confirm(intent, method, authenticated=True)
        return self._fail(intent, method, SETUP_AUTHENTICATION_FAILED)

    def cancel(self, intent: Obj, reason: str | None) -> Obj:
        if intent["status"] in _FINISHED:
            raise _finished(intent)
        with self._books.changing(intent, None):
            intent["status"] = "canceled"
            intent["cancellation_reason"] = reason
            intent["next_action"] = None
        self._books.tell("setup_intent.canceled", intent)
        return intent

    def _fail(self, intent: Obj, method: Obj, decline: Decline) -> Attempt:
        with self._books.changing(intent, None):
            intent["status"] = "requires_payment_method"
            intent["payment_method"] = None
            intent["next_action"] = None
            intent["last_setup_error"] = {
                "code": decline.code,
                "decline_code": decline.decline_code,
                "message": decline.message,
                "payment_method": copy_of(method),
                "type": "card_error",
            }
        self._books.tell("setup_intent.setup_failed", intent)
        return Attempt("failed", decline=decline)


def _finished(intent: Obj) -> Exception:
    return invalid(
        f"You cannot confirm or cancel this SetupIntent because it has a status of {intent['status']}.",
        code="setup_intent_unexpected_state",
        param="intent",
    )
