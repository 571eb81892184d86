"""How a subscription stands: what payments, failures and endings make of its status."""

from collections.abc import Callable
from typing import Final

from visiona.sandbox.stripe.engine.books import Books
from visiona.sandbox.stripe.engine.invoices import Invoices
from visiona.sandbox.stripe.engine.subscriptions.objects import ENDED, updated_event
from visiona.sandbox.stripe.store import Obj

_GIVEN_UP: Final = frozenset({"void", "uncollectible"})

InvoiceHook = Callable[[Obj, Obj], None]


class Standing:
    """Follows the invoices of subscriptions. `after_settled` is called with a subscription and one of its
    invoices that was paid, voided or given up, for whoever waits for it; `after_end` with a subscription
    that has ended and the id of its schedule.
    """

    def __init__(self, books: Books, invoices: Invoices) -> None:
        self._books = books
        self._invoices = invoices
        self.after_settled: list[InvoiceHook] = []
        self.after_end: list[Callable[[Obj, str], None]] = []

    def invoice_settled(self, invoice: Obj) -> None:
        subscription = self._of(invoice)
        if subscription is None or subscription["status"] in ENDED:
            return
        self._save_payment_method(subscription, invoice)
        if subscription["status"] == "incomplete":
            if invoice["billing_reason"] == "subscription_create":
                self._first_invoice_settled(subscription, invoice)
        elif subscription["status"] in {"past_due", "unpaid"} and not self._owes(subscription):
            self.set_status(subscription, "active")
        for hook in self.after_settled:
            hook(subscription, invoice)

    def invoice_failed(self, invoice: Obj, *, last: bool) -> None:
        subscription = self._of(invoice)
        if subscription is None or invoice["billing_reason"] == "manual":
            return
        if invoice.get("_asks_only"):
            return  # the change that it is for has not been made
        if subscription["status"] == "active":
            self.set_status(subscription, "past_due")
        if last and subscription["status"] in {"past_due", "unpaid"}:
            self._retries_used_up(subscription)

    def setup_done(self, intent: Obj) -> None:
        """A subscription that waited for a card has one now."""
        if intent["customer"] is None:
            return
        for subscription in self._books.where("subscription", "customer", intent["customer"]):
            if subscription["pending_setup_intent"] == intent["id"]:
                with self._books.changing(subscription, "customer.subscription.updated"):
                    subscription["pending_setup_intent"] = None
                    subscription["default_payment_method"] = intent["payment_method"]

    def set_status(self, subscription: Obj, status: str) -> None:
        with self._books.changing(subscription, updated_event(subscription)):
            subscription["status"] = status
            subscription["status_details"] = None

    def end(self, subscription: Obj, reason: str, *, natural: bool = False) -> None:
        """Cancel at once. `natural` where it ends at the moment that was set for it before."""
        now = self._books.now_for(subscription)
        schedule_id = subscription["schedule"]
        with self._books.changing(subscription, None):
            subscription |= {
                "status": "canceled",
                "status_details": None,
                "ended_at": now,
                "canceled_at": subscription["canceled_at"] or now,
                "pending_update": None,
                "schedule": None,
            }
            if not natural:
                subscription |= {"cancel_at": None, "cancel_at_period_end": False, "canceled_at": now}
            if subscription["cancellation_details"]["reason"] is None or not natural:
                subscription["cancellation_details"]["reason"] = reason
        self._invoices.stop_collecting(self.invoices_of(subscription))
        self._books.tell("customer.subscription.deleted", subscription)
        self._tell_schedule(subscription, schedule_id)

    def expire(self, subscription: Obj) -> None:
        """The first payment was not made in time: over, and nothing is owed."""
        now = self._books.now_for(subscription)
        schedule_id = subscription["schedule"]
        with self._books.changing(subscription, "customer.subscription.updated"):
            subscription |= {"status": "incomplete_expired", "ended_at": now, "schedule": None}
        for invoice in self.invoices_of(subscription):
            if invoice["status"] == "open":
                self._invoices.void(invoice)
        self._tell_schedule(subscription, schedule_id)

    def _tell_schedule(self, subscription: Obj, schedule_id: str | None) -> None:
        if schedule_id is not None:
            for follow in self.after_end:
                follow(subscription, schedule_id)

    def invoices_of(self, subscription: Obj) -> list[Obj]:
        """Oldest first."""
        return self._books.where("invoice", "_of_subscription", subscription["id"])

    def _of(self, invoice: Obj) -> Obj | None:
        id_ = invoice["_of_subscription"]
        return None if id_ is None else self._books.store.find("subscription", id_)

    def _owes(self, subscription: Obj) -> bool:
        """Whether the newest invoice that was asked for still waits."""
        asked = [
            invoice
            for invoice in self.invoices_of(subscription)
            if invoice["status"] != "draft" and invoice["billing_reason"] != "manual"
        ]
        return bool(asked) and asked[-1]["status"] == "open"

    def _first_invoice_settled(self, subscription: Obj, invoice: Obj) -> None:
        if invoice["status"] == "paid":
            self.set_status(subscription, "active")
        elif invoice["status"] in _GIVEN_UP:
            self.expire(subscription)

    def _retries_used_up(self, subscription: Obj) -> None:
        end = self._books.settings.after_retries
        if end == "cancel":
            self.end(subscription, "payment_failed")
        elif end == "unpaid" and subscription["status"] != "unpaid":
            self.set_status(subscription, "unpaid")

    def _save_payment_method(self, subscription: Obj, invoice: Obj) -> None:
        """Where the subscription was told to remember what its invoices are paid with."""
        wanted = subscription["payment_settings"]["save_default_payment_method"] == "on_subscription"
        payments = self._books.where("invoice_payment", "invoice", invoice["id"])
        if not wanted or invoice["status"] != "paid" or not payments:
            return
        intent = self._books.store.get("payment_intent", payments[-1]["_of_intent"])
        if intent["payment_method"] is not None:
            with self._books.changing(subscription, updated_event(subscription)):
                subscription["default_payment_method"] = intent["payment_method"]
