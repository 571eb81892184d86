"""Getting invoices paid: automatic attempts and their pauses, and attempts that a person makes."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Literal

from visiona.sandbox.stripe.engine.books import Books
from visiona.sandbox.stripe.engine.calendar import DAY_S
from visiona.sandbox.stripe.engine.cards import Decline
from visiona.sandbox.stripe.engine.invoices import Invoices
from visiona.sandbox.stripe.engine.payment_methods import PaymentMethods
from visiona.sandbox.stripe.engine.payments import Attempt, Payments
from visiona.sandbox.stripe.errors import StripeError, invalid
from visiona.sandbox.stripe.store import Obj
from visiona.sandbox.stripe.wire import shown

_NO_CARD = Decline(
    "missing_payment_method",
    None,
    "Cannot charge a customer that has no active card",
)
_By = Literal["schedule", "person"]


class Collection:
    """Automatic attempts follow the merchant's plan of retries; a person's attempt does not change it."""

    def __init__(self, books: Books, payments: Payments, methods: PaymentMethods, invoices: Invoices) -> None:
        self._books = books
        self._payments = payments
        self._methods = methods
        self._invoices = invoices
        self._by: _By = "person"
        payments.after_attempt = self._after_attempt

    def due(self, invoice: Obj) -> int | None:
        """When an invoice needs attention next."""
        if invoice["status"] == "draft" and invoice["auto_advance"]:
            return invoice["automatically_finalizes_at"]
        if invoice["status"] == "open" and invoice["collection_method"] == "send_invoice":
            return None if invoice.get("_overdue") else invoice["due_date"]
        if invoice["status"] == "open" and invoice["auto_advance"]:
            return invoice["next_payment_attempt"]
        return None

    def step(self, invoice: Obj) -> None:
        """Do what is due: finalize and collect, try again, or call it overdue."""
        if invoice["status"] == "draft":
            self.advance(invoice)
        elif invoice["collection_method"] == "send_invoice":
            invoice["_overdue"] = True
            self._books.keep(invoice)
            self._books.tell("invoice.overdue", invoice)
            self._tell_failure(invoice, last=False)
        else:
            self.attempt(invoice, by="schedule")

    def advance(self, invoice: Obj, *, authenticated: bool = False) -> None:
        """Finalize a draft and, where it charges automatically, try to collect at once."""
        self._invoices.finalize(invoice)
        if invoice["status"] != "open":
            return
        if invoice.get("_when_final") == "void":
            self._invoices.void(invoice)
        elif invoice.get("_when_final") == "mark_uncollectible":
            self._invoices.mark_uncollectible(invoice, "subscription_paused")
        elif invoice["collection_method"] == "send_invoice":
            self._books.tell("invoice.sent", invoice)
        else:
            self.attempt(invoice, by="schedule", authenticated=authenticated)

    def method_for(self, invoice: Obj) -> Obj | None:
        """What an automatic attempt charges."""
        chosen = invoice["default_payment_method"]
        if chosen is not None:
            return self._books.store.find("payment_method", chosen)
        subscription = None
        if invoice["_of_subscription"] is not None:
            subscription = self._books.store.find("subscription", invoice["_of_subscription"])
        customer = self._books.customer(invoice["customer"])
        return self._methods.default_for(customer, subscription)

    def attempt(
        self, invoice: Obj, method: Obj | None = None, *, by: _By, authenticated: bool = False
    ) -> Attempt:
        """Try once to collect an open invoice."""
        method = method or self.method_for(invoice)
        with self._made_by(by):
            if method is None:
                attempt = Attempt("failed", decline=_NO_CARD)
                self._failed(invoice, attempt)
                return attempt
            return self._payments.confirm(self._intent(invoice), method, authenticated=authenticated)

    def answer_challenge(self, invoice: Obj, *, approve: bool) -> Attempt:
        return self._payments.answer_challenge(self._intent(invoice), approve=approve)

    def pay(self, invoice: Obj, method: Obj | None = None) -> Obj:
        """As the API does it. Raises a `StripeError`: 402 where the card was refused or asks."""
        self.require_payable(invoice)
        if invoice["status"] == "draft":
            invoice = self._invoices.finalize(invoice)
            if invoice["amount_remaining"] == 0:
                return invoice
        if method is None and self.method_for(invoice) is None:
            raise invalid(
                "There is no `default_payment_method` set on this Customer or Invoice. Please set a default "
                "payment method before paying the invoice, or pass one to this call.",
                code="resource_missing",
            )
        attempt = self.attempt(invoice, method, by="person")
        refuse(attempt, self._books.store.get("payment_intent", self._intent_id(invoice)))
        return invoice

    def require_payable(self, invoice: Obj) -> None:
        """Raises a `StripeError` 400 unless there is something to be paid."""
        if invoice["status"] == "paid":
            raise invalid("Invoice is already paid", code="invoice_already_paid", param="invoice")
        if invoice["status"] == "void":
            raise invalid("This invoice is void and can no longer be paid.", param="invoice")

    def _intent(self, invoice: Obj) -> Obj:
        intent = self._invoices.intent_of(invoice)
        if intent is None:
            raise invalid("This invoice has no payment that is waiting.", param="invoice")
        return intent

    def _intent_id(self, invoice: Obj) -> str:
        payments = self._books.where("invoice_payment", "invoice", invoice["id"])
        return payments[-1]["_of_intent"]

    @contextmanager
    def _made_by(self, by: _By) -> Generator[None]:
        outer, self._by = self._by, by
        try:
            yield
        finally:
            self._by = outer

    def _after_attempt(self, intent: Obj, attempt: Attempt) -> None:
        if intent["_of_invoice"] is None:
            return
        invoice = self._books.store.find("invoice", intent["_of_invoice"])
        if invoice is None or invoice["status"] not in {"open", "uncollectible"}:
            return
        if attempt.status == "succeeded":
            self._invoices.settle(invoice, attempt_count=self._counted(invoice))
        else:
            self._failed(invoice, attempt)

    def _failed(self, invoice: Obj, attempt: Attempt) -> None:
        scheduled = self._by == "schedule"
        with self._books.changing(invoice, "invoice.updated"):
            invoice["attempted"] = True
            invoice["attempt_count"] = self._counted(invoice)
            if scheduled:
                invoice["next_payment_attempt"] = self._next_attempt(invoice)
                invoice["auto_advance"] = invoice["next_payment_attempt"] is not None
        if attempt.status == "requires_action":
            self._books.tell("invoice.payment_action_required", invoice)
        if attempt.status == "failed" or scheduled:
            self._books.tell("invoice.payment_failed", invoice)
        last = scheduled and invoice["next_payment_attempt"] is None
        self._tell_failure(invoice, last=last)

    def _tell_failure(self, invoice: Obj, *, last: bool) -> None:
        customer = self._books.store.find("customer", invoice["customer"])
        if customer is not None and customer.get("delinquent") is False:
            with self._books.changing(customer, "customer.updated"):
                customer["delinquent"] = True
        if self._invoices.follower is not None:
            self._invoices.follower.invoice_failed(invoice, last=last)

    def _counted(self, invoice: Obj) -> int:
        """A person's attempt counts only if it is the first."""
        before: int = invoice["attempt_count"]
        return before + 1 if self._by == "schedule" or before == 0 else before

    def _next_attempt(self, invoice: Obj) -> int | None:
        """When the plan tries again; a first invoice is never tried again."""
        pauses = self._books.settings.retry_days
        done: int = invoice["attempt_count"]
        if invoice["billing_reason"] == "subscription_create" or done > len(pauses):
            return None
        return self._books.now_for(invoice) + pauses[done - 1] * DAY_S


def refuse(attempt: Attempt, intent: Obj | None) -> None:
    """Raise what the API answers to an attempt that did not bring the money. `intent` is shown with it."""
    about: Obj = {} if intent is None else {"payment_intent": shown(intent)}
    if attempt.status == "requires_action":
        raise StripeError(
            402,
            "card_error",
            "Payment for this invoice requires additional user action before it can be completed "
            "successfully. Payment can be completed using the PaymentIntent associated with the invoice.",
            code="invoice_payment_intent_requires_action",
            **about,
        )
    if attempt.decline is not None:
        if attempt.charge is not None:
            about["charge"] = attempt.charge["id"]
        failure: Obj | None = None if intent is None else intent["last_payment_error"]
        if failure is not None:
            about["payment_method"] = shown(failure["payment_method"])
        raise attempt.decline.for_api(**about)
