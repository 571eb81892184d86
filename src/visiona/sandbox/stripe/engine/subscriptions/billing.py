"""Invoices of subscriptions: a new period's, and those about a change within a period."""

from visiona.sandbox.stripe.engine.books import Books
from visiona.sandbox.stripe.engine.calendar import next_boundary
from visiona.sandbox.stripe.engine.invoice_object import Order
from visiona.sandbox.stripe.engine.invoices import Invoices
from visiona.sandbox.stripe.engine.lines import Line
from visiona.sandbox.stripe.engine.prices import Prices
from visiona.sandbox.stripe.engine.subscriptions.objects import Span, items_of, period_of, set_period
from visiona.sandbox.stripe.engine.subscriptions.plans import Change, full_lines, trial_lines
from visiona.sandbox.stripe.store import Obj


class Billing:
    """Makes drafts; finalizing and collecting them is up to whoever asked."""

    def __init__(self, books: Books, invoices: Invoices, prices: Prices) -> None:
        self._books = books
        self._invoices = invoices
        self._prices = prices

    def first_invoice(self, subscription: Obj) -> Obj:
        """For the period that it starts with, or for nothing while it is on trial. Where it is charged, it
        never advances by itself.
        """
        now = self._books.now_for(subscription)
        invoice = self._draft(
            subscription,
            "subscription_create",
            self.first_lines(subscription),
            Span(now, now),
            auto_advance=subscription["collection_method"] == "send_invoice",
        )
        self._remember_debits(subscription, invoice)
        return invoice

    def first_lines(self, subscription: Obj) -> list[Line]:
        if subscription["status"] == "trialing":
            return trial_lines(
                subscription, items_of(subscription), period_of(subscription), self._prices.name
            )
        return [] if subscription.get("_free_start") else self.coming_lines(subscription)

    def next_period(self, subscription: Obj, start: int) -> Obj:
        """Move all items into the period that begins at `start`, and bill it: a draft for an hour."""
        before = period_of(subscription)
        set_period(subscription, items_of(subscription), self.coming_period(subscription, start))
        settings = self._books.settings
        running = subscription["status"] in {"active", "past_due"}
        paused = subscription["pause_collection"]
        keeps_draft = not running or (paused is not None and paused["behavior"] == "keep_as_draft")
        invoice = self._draft(
            subscription,
            "subscription_cycle",
            self.coming_lines(subscription),
            before,
            auto_advance=not keeps_draft,
            finalizes_at=None if keeps_draft else start + settings.finalize_after_s,
        )
        if paused is not None and paused["behavior"] in {"void", "mark_uncollectible"}:
            invoice["_when_final"] = paused["behavior"]
            self._books.keep(invoice)
        self._remember_debits(subscription, invoice)
        subscription["latest_invoice"] = invoice["id"]
        return invoice

    def coming_period(self, subscription: Obj, start: int) -> Span:
        """The period from `start` on; it ends early where the subscription does."""
        price = items_of(subscription)[0]["price"]
        recurring = price["recurring"]
        end = next_boundary(
            subscription["billing_cycle_anchor"], recurring["interval"], recurring["interval_count"], start
        )
        cancel_at = subscription["cancel_at"]
        return Span(start, end if cancel_at is None else min(end, max(cancel_at, start + 1)))

    def coming_lines(self, subscription: Obj) -> list[Line]:
        """Lines for the period that the items stand in."""
        return full_lines(
            subscription,
            items_of(subscription),
            period_of(subscription),
            subscription["billing_cycle_anchor"],
            self._prices.name,
        )

    def bill_change(self, subscription: Obj, change: Change, *, at_once: bool) -> Obj | None:
        """Pending items for the prorations; and, where something is billed at once, a draft of it all."""
        customer = self._books.customer(subscription["customer"])
        items = [self._invoices.add_item(line, customer) for line in change.prorations]
        if not change.begins and not at_once:
            return None
        pending = self._invoices.pending_items(customer["id"], subscription["id"])
        if not pending and not change.full:
            return None
        now = self._books.now_for(subscription)
        invoice = self._draft(subscription, "subscription_update", change.full, Span(now, now))
        if items:
            invoice["parent"]["subscription_details"]["subscription_proration_date"] = change.at
            self._books.keep(invoice)
        subscription["latest_invoice"] = invoice["id"]
        return invoice

    def bill_pending(self, subscription: Obj, reason: str) -> Obj | None:
        """A draft of whatever waits for this subscription, if anything does."""
        pending = [
            item
            for item in self._invoices.pending_items(subscription["customer"], subscription["id"])
            if item["parent"] is not None
        ]
        if not pending:
            return None
        now = self._books.now_for(subscription)
        return self._draft(subscription, reason, [], Span(now, now), pending=pending)

    def take_change(self, subscription: Obj, change: Change, invoice: Obj | None) -> None:
        """Let the items be as planned, and remember what was charged for their time."""
        prorated = {line.item for line in change.prorations}
        known: dict[str, list[Obj]] = subscription["_debits"]
        debits: dict[str, list[Obj]] = {}
        for item in change.items:
            if not change.begins and item["id"] not in prorated and item["id"] in known:
                debits[item["id"]] = known[item["id"]]
        for line in change.prorations:
            if line.amount > 0 and line.item is not None:
                debits[line.item] = [{"amount": line.amount, "start": line.start, "end": line.end}]
        subscription["_debits"] = debits
        if change.begins:
            subscription["billing_cycle_anchor"] = change.anchor
        set_period(subscription, change.items, change.period)
        if invoice is not None:
            self._remember_debits(subscription, invoice)

    def _draft(
        self,
        subscription: Obj,
        reason: str,
        lines: list[Line],
        period: Span,
        *,
        auto_advance: bool = True,
        finalizes_at: int | None = None,
        pending: list[Obj] | None = None,
    ) -> Obj:
        customer = self._books.customer(subscription["customer"])
        if pending is None:
            pending = self._invoices.pending_items(customer["id"], subscription["id"])
        order = Order(
            customer=customer,
            reason=reason,
            lines=lines,
            period=(period.start, period.end),
            subscription=subscription,
            auto_advance=auto_advance,
            finalizes_at=finalizes_at,
            collection_method=subscription["collection_method"],
            days_until_due=subscription["days_until_due"],
        )
        return self._invoices.create(order, pending=pending)

    def _remember_debits(self, subscription: Obj, invoice: Obj) -> None:
        """What an invoice charges for an item's time; a later credit gives back a share of it."""
        full: dict[str, list[Obj]] = {}
        for line in invoice["_all_lines"]:
            details = line["parent"]["subscription_item_details"]
            if details is None or line["amount"] <= 0 or line["subscription"] != subscription["id"]:
                continue
            debit = {
                "amount": line["amount"],
                "start": line["period"]["start"],
                "end": line["period"]["end"],
                "invoice": invoice["id"],
                "line": line["id"],
            }
            item = details["subscription_item"]
            if not details["proration"]:
                full[item] = [debit]
            else:
                known = subscription["_debits"].get(item, [])
                subscription["_debits"][item] = [debit if _same(debit, old) else old for old in known]
        subscription["_debits"] |= full


def _same(debit: Obj, other: Obj) -> bool:
    return all(debit[key] == other[key] for key in ("amount", "start", "end"))
