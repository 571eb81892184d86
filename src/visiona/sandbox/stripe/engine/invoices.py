"""The life of an invoice: draft, open, and then paid, void or uncollectible."""

from dataclasses import replace
from typing import Final, Protocol

from visiona.sandbox.stripe.engine.books import Books
from visiona.sandbox.stripe.engine.calendar import DAY_S
from visiona.sandbox.stripe.engine.credit import change_balance
from visiona.sandbox.stripe.engine.invoice_object import Order, invoice_object, sum_up
from visiona.sandbox.stripe.engine.lines import (
    Line,
    invoice_item_object,
    line_object,
    line_of_item,
    lines_of_items,
)
from visiona.sandbox.stripe.engine.money import smallest_charge
from visiona.sandbox.stripe.engine.payments import Payments, Purpose
from visiona.sandbox.stripe.errors import invalid
from visiona.sandbox.stripe.ids import new_id
from visiona.sandbox.stripe.store import Obj

_ENDED: Final = frozenset({"paid", "void"})


class Follower(Protocol):
    """Whose business an invoice is besides its own: subscriptions."""

    def invoice_settled(self, invoice: Obj) -> None:
        """It was paid, voided or given up: nothing is asked for it any more."""
        ...

    def invoice_failed(self, invoice: Obj, *, last: bool) -> None:
        """An attempt on it failed; `last` where no further one is planned."""
        ...


class Invoices:
    def __init__(self, books: Books, payments: Payments) -> None:
        self._books = books
        self._payments = payments
        self.follower: Follower | None = None

    # Pending items

    def add_item(self, line: Line, customer: Obj) -> Obj:
        """A pending item, which the next invoice takes up."""
        item = invoice_item_object(line, customer, self._books.now_for(customer))
        self._set_currency(customer, line.currency)
        return self._books.add(item, "invoiceitem.created")

    def pending_items(self, customer_id: str, subscription_id: str | None) -> list[Obj]:
        """What an invoice for this subscription takes up, oldest first: its own items and nobody's."""
        return [
            item
            for item in self._books.where("invoiceitem", "customer", customer_id)
            if item["invoice"] is None and subscription_of_item(item) in {None, subscription_id}
        ]

    def delete_item(self, item: Obj) -> None:
        invoice = None if item["invoice"] is None else self._books.store.get("invoice", item["invoice"])
        if invoice is not None and invoice["status"] != "draft":
            raise invalid("You can only delete an invoice item that is pending or on a draft invoice.")
        if invoice is not None:
            with self._books.changing(invoice, "invoice.updated"):
                invoice["_all_lines"] = [
                    line for line in invoice["_all_lines"] if _item_of_line(line) != item["id"]
                ]
                sum_up(invoice)
        self._books.store.delete("invoiceitem", item["id"])
        self._books.tell("invoiceitem.deleted", item)

    # Drafts

    def create(self, order: Order, *, pending: list[Obj] | None = None) -> Obj:
        """A draft with the order's lines after those of the `pending` items."""
        books = self._books
        items = pending or []
        lines = lines_of_items(items) + order.lines
        invoice = invoice_object(replace(order, lines=lines), books.now_for(order.customer), books.settings)
        self._set_currency(order.customer, invoice["currency"])
        books.add(invoice)
        for item in items:
            item["invoice"] = invoice["id"]
            books.keep(item)
        books.tell("invoice.created", invoice)
        return invoice

    def add_to_draft(self, invoice: Obj, item: Obj) -> None:
        """Put a pending item on a draft."""
        if invoice["status"] != "draft":
            raise invalid("The invoice has already been finalized and can't be changed.", param="invoice")
        item["invoice"] = invoice["id"]
        self._books.keep(item)
        with self._books.changing(invoice, "invoice.updated"):
            invoice["_all_lines"].append(line_object(line_of_item(item), invoice["id"]))
            sum_up(invoice)

    def delete(self, invoice: Obj) -> Obj:
        """Its items wait for another invoice again."""
        if invoice["status"] != "draft":
            raise invalid("You can only delete draft invoices.", param="invoice", code="invoice_not_editable")
        if invoice["_of_subscription"] is not None and invoice["billing_reason"] != "manual":
            raise invalid("You can't delete invoices created by subscriptions.", param="invoice")
        for line in invoice["_all_lines"]:
            item = self._books.store.find("invoiceitem", _item_of_line(line) or "")
            if item is not None:
                item["invoice"] = None
                self._books.keep(item)
        self._books.store.delete("invoice", invoice["id"])
        self._books.tell("invoice.deleted", invoice)
        return {"id": invoice["id"], "object": "invoice", "deleted": True}

    # Finalizing

    def finalize(self, invoice: Obj, *, auto_advance: bool | None = None) -> Obj:
        """Fix the sums, use up credit, and ask for what is left; with nothing left it is paid at once."""
        if invoice["status"] != "draft":
            raise invalid(
                "This invoice is already finalized, you can't re-finalize a non-draft invoice.",
                param="invoice",
                code="invoice_not_editable",
            )
        books = self._books
        now = books.now_for(invoice)
        customer = books.customer(invoice["customer"])
        with books.changing(invoice, None):
            self._use_balance(invoice, customer)
            invoice |= {
                "status": "open",
                "number": self._next_number(customer),
                "effective_at": now,
                "automatically_finalizes_at": None,
                "next_payment_attempt": None,
                "hosted_invoice_url": books.links.invoice(invoice["id"]),
                "invoice_pdf": books.links.invoice_pdf(invoice["id"]),
            }
            invoice["status_transitions"]["finalized_at"] = now
            if auto_advance is not None:
                invoice["auto_advance"] = auto_advance
            if invoice["collection_method"] == "send_invoice" and invoice["due_date"] is None:
                invoice["due_date"] = now + (invoice["_days_until_due"] or 0) * DAY_S
        books.tell("invoice.finalized", invoice)
        if invoice["amount_due"] == 0:
            self.settle(invoice)
        else:
            self._request_payment(invoice, customer)
        return invoice

    def intent_of(self, invoice: Obj) -> Obj | None:
        """The payment intent that waits to be paid."""
        for payment in self._books.where("invoice_payment", "invoice", invoice["id"]):
            if payment["status"] == "open":
                return self._books.store.get("payment_intent", payment["_of_intent"])
        return None

    # Ends

    def settle(self, invoice: Obj, *, out_of_band: bool = False, attempt_count: int | None = None) -> None:
        """It is paid: its intent has succeeded, nothing was due, or the merchant says so."""
        books = self._books
        now = books.now_for(invoice)
        due: int = invoice["amount_due"]
        with books.changing(invoice, "invoice.updated"):
            invoice |= {
                "status": "paid",
                "attempted": True,
                "attempt_count": invoice["attempt_count"] if attempt_count is None else attempt_count,
                "amount_paid": due,
                "amount_paid_off_stripe": due if out_of_band else 0,
                "amount_remaining": 0,
                "auto_advance": False,
                "next_payment_attempt": None,
                "status_details": None,
            }
            invoice["status_transitions"]["paid_at"] = now
        if out_of_band:
            self._cancel_payments(invoice)
        else:
            self._mark_payments_paid(invoice, now)
        self._clear_delinquency(invoice)
        books.tell("invoice.paid", invoice)
        if not out_of_band:
            books.tell("invoice.payment_succeeded", invoice)
        if self.follower is not None:
            self.follower.invoice_settled(invoice)

    def void(self, invoice: Obj) -> Obj:
        """Nothing is owed any more; credit that it had used is given back."""
        if invoice["status"] in _ENDED or invoice["status"] == "draft":
            raise invalid(
                f"You can only void open or uncollectible invoices; this one is {invoice['status']}.",
                param="invoice",
                code="invoice_not_editable",
            )
        books = self._books
        with books.changing(invoice, "invoice.updated"):
            invoice |= {"status": "void", "auto_advance": False, "next_payment_attempt": None}
            invoice["status_transitions"]["voided_at"] = books.now_for(invoice)
        self._cancel_payments(invoice)
        used = (invoice["ending_balance"] or 0) - invoice["starting_balance"]
        customer = books.store.find("customer", invoice["customer"])
        if used and customer is not None and not customer.get("deleted"):
            change_balance(books, customer, -used, "unapplied_from_invoice", invoice["id"])
        books.tell("invoice.voided", invoice)
        if self.follower is not None:
            self.follower.invoice_settled(invoice)
        return invoice

    def mark_uncollectible(self, invoice: Obj, reason: str = "user_forgiven") -> Obj:
        if invoice["status"] != "open":
            raise invalid(
                f"You can only mark open invoices as uncollectible; this one is {invoice['status']}.",
                param="invoice",
            )
        books = self._books
        with books.changing(invoice, "invoice.updated"):
            invoice |= {
                "status": "uncollectible",
                "auto_advance": False,
                "next_payment_attempt": None,
                "status_details": {"uncollectible": {"reason": reason}},
            }
            invoice["status_transitions"]["marked_uncollectible_at"] = books.now_for(invoice)
        books.tell("invoice.marked_uncollectible", invoice)
        if self.follower is not None:
            self.follower.invoice_settled(invoice)
        return invoice

    def stop_collecting(self, invoices: list[Obj]) -> None:
        """No automatic step any more: drafts stay drafts, open ones are not tried again."""
        for invoice in invoices:
            if invoice["status"] in {"draft", "open"}:
                with self._books.changing(invoice, "invoice.updated"):
                    invoice["auto_advance"] = False
                    invoice["next_payment_attempt"] = None
                    invoice["automatically_finalizes_at"] = None

    def _use_balance(self, invoice: Obj, customer: Obj) -> None:
        """Credit pays first; a negative total, or one too small to charge, goes onto the balance."""
        start: int = customer["balance"]
        owed: int = invoice["total"] + start
        too_small = 0 < owed < smallest_charge(invoice["currency"])
        end = owed if owed <= 0 or too_small else 0
        due = 0 if too_small else max(0, owed)
        invoice |= {
            "starting_balance": start,
            "ending_balance": end,
            "amount_due": due,
            "amount_remaining": due,
        }
        if end != start:
            kind = "invoice_too_small" if too_small or invoice["total"] < 0 else "applied_to_invoice"
            change_balance(self._books, customer, end - start, kind, invoice["id"])

    def _request_payment(self, invoice: Obj, customer: Obj) -> None:
        books = self._books
        subscription_id = invoice["_of_subscription"]
        reason = {
            "subscription_create": "Subscription creation",
            "subscription_update": "Subscription update",
        }
        intent = self._payments.open(
            Purpose(
                amount=invoice["amount_due"],
                currency=invoice["currency"],
                customer=customer["id"],
                test_clock=invoice["test_clock"],
                invoice=invoice["id"],
                description=reason.get(invoice["billing_reason"], f"Payment for Invoice {invoice['number']}"),
                receipt_email=customer["email"],
                setup_future_usage="off_session" if subscription_id is not None else None,
            )
        )
        payment = self._payment(invoice, intent["id"])
        books.add(payment)
        with books.changing(invoice, None):
            invoice["_payments"]["data"] = [payment]
            invoice["_confirmation_secret"] = {
                "client_secret": intent["client_secret"],
                "type": "payment_intent",
            }

    def _payment(self, invoice: Obj, intent_id: str) -> Obj:
        return {
            "id": new_id("inpay"),
            "object": "invoice_payment",
            "amount_paid": None,
            "amount_requested": invoice["amount_due"],
            "created": self._books.now_for(invoice),
            "currency": invoice["currency"],
            "invoice": invoice["id"],
            "is_default": True,
            "livemode": False,
            "payment": {"payment_intent": intent_id, "type": "payment_intent"},
            "status": "open",
            "status_transitions": {"canceled_at": None, "paid_at": None},
            "_of_intent": intent_id,
            "_clock": invoice["test_clock"],
        }

    def _mark_payments_paid(self, invoice: Obj, now: int) -> None:
        for payment in self._books.where("invoice_payment", "invoice", invoice["id"]):
            if payment["status"] == "open":
                with self._books.changing(payment, None):
                    payment["status"] = "paid"
                    payment["amount_paid"] = payment["amount_requested"]
                    payment["status_transitions"]["paid_at"] = now
                self._show_payments(invoice)
                self._books.tell("invoice_payment.paid", payment)

    def _cancel_payments(self, invoice: Obj) -> None:
        for payment in self._books.where("invoice_payment", "invoice", invoice["id"]):
            if payment["status"] == "open":
                with self._books.changing(payment, None):
                    payment["status"] = "canceled"
                    payment["status_transitions"]["canceled_at"] = self._books.now_for(invoice)
                intent = self._books.store.get("payment_intent", payment["_of_intent"])
                self._payments.cancel(intent, "void_invoice")
        self._show_payments(invoice)

    def _show_payments(self, invoice: Obj) -> None:
        with self._books.changing(invoice, None):
            invoice["_payments"]["data"] = self._books.where("invoice_payment", "invoice", invoice["id"])

    def _clear_delinquency(self, invoice: Obj) -> None:
        customer = self._books.store.find("customer", invoice["customer"])
        if customer is not None and customer.get("delinquent"):
            with self._books.changing(customer, "customer.updated"):
                customer["delinquent"] = False

    def _next_number(self, customer: Obj) -> str:
        number = f"{customer['invoice_prefix']}-{customer['next_invoice_sequence']:04d}"
        customer["next_invoice_sequence"] += 1
        self._books.keep(customer)
        return number

    def _set_currency(self, customer: Obj, currency: str) -> None:
        """A customer pays in one currency: the first one used."""
        if customer["currency"] is None:
            customer["currency"] = currency
            self._books.keep(customer)
        elif customer["currency"] != currency:
            raise invalid(
                "You cannot combine currencies on a single customer. This customer has an active "
                f"subscription, subscription schedule, discount, quote, or invoice item with currency "
                f"{customer['currency']}",
            )


def subscription_of_item(item: Obj) -> str | None:
    parent: Obj | None = item["parent"]
    return None if parent is None else parent["subscription_details"]["subscription"]


def _item_of_line(line: Obj) -> str | None:
    parent = line["parent"]
    details = parent["subscription_item_details"] or parent["invoice_item_details"]
    return details["invoice_item"]
