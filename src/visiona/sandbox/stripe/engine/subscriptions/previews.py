"""Invoices as they would be: what comes next, and what a change would cost."""

from collections.abc import Callable

from visiona.sandbox.stripe.engine.changes import copy_of
from visiona.sandbox.stripe.engine.invoice_object import Order, invoice_object
from visiona.sandbox.stripe.engine.lines import Line, line_of_item, lines_of_items, newest_first
from visiona.sandbox.stripe.engine.subscriptions.creation import Creation
from visiona.sandbox.stripe.engine.subscriptions.endings import Endings
from visiona.sandbox.stripe.engine.subscriptions.objects import (
    ENDED,
    items_of,
    period_of,
    set_period,
)
from visiona.sandbox.stripe.engine.subscriptions.parts import Parts
from visiona.sandbox.stripe.engine.subscriptions.plans import Change
from visiona.sandbox.stripe.engine.subscriptions.updating import Updating
from visiona.sandbox.stripe.errors import StripeError
from visiona.sandbox.stripe.ids import new_id
from visiona.sandbox.stripe.store import Obj

ItemsAt = Callable[[Obj, int], list[Obj]]


class Previews:
    """Works on copies. `items_at` tells with which items a subscription will enter a period: a schedule
    may have other plans than the subscription itself.
    """

    def __init__(self, parts: Parts, creation: Creation, updating: Updating, endings: Endings) -> None:
        self._parts = parts
        self._creation = creation
        self._updating = updating
        self._endings = endings
        self.items_at: ItemsAt = lambda subscription, _moment: items_of(subscription)

    def upcoming(self, subscription: Obj) -> Obj:
        """The next period's invoice. Raises a `StripeError` where there will be none."""
        after = copy_of(subscription)
        pending = self._parts.invoices.pending_items(subscription["customer"], subscription["id"])
        return self._next(after, lines_of_items(pending))

    def preview(self, subscription: Obj, details: Obj) -> Obj:
        """The invoice that an update with these parameters leads to: at once where the change is billed
        at once, else the next period's.
        """
        after = copy_of(subscription)
        if details.get("cancel_now") or subscription["status"] in ENDED | {"incomplete"}:
            raise _none(subscription["customer"])
        plan = self._updating.plan(after, details)
        pending = self._parts.invoices.pending_items(subscription["customer"], subscription["id"])
        dated = [(item["date"], line_of_item(item)) for item in pending]
        lines = newest_first(dated)
        change = plan.change
        if change is not None:
            now = self._parts.books.now_for(subscription)
            lines = newest_first(dated + [(now, line) for line in change.prorations])
            at_once = details.get("proration_behavior") == "always_invoice" and bool(lines)
            if change.begins or at_once:
                return self._now(after, lines, change)
            self._parts.billing.take_change(after, change, None)
        if plan.trial_end is not None:
            after["billing_cycle_anchor"] = plan.trial_end
        self._endings.plan(after, details)
        return self._next(after, lines)

    def of_new(self, params: Obj) -> Obj:
        """The first invoice of a subscription that nobody has asked for yet."""
        subscription, _ = self._creation.draw_up(params)
        now = self._parts.books.now_for(subscription)
        pending = self._parts.invoices.pending_items(subscription["customer"], None)
        lines = lines_of_items(pending) + self._parts.billing.first_lines(subscription)
        return self._invoice(subscription, lines, (now, now), now)

    def next_of(self, customer: Obj) -> Obj:
        """The earliest of the next invoices of a customer's subscriptions."""
        running = [
            subscription
            for subscription in self._parts.books.where("subscription", "customer", customer["id"])
            if subscription["status"] not in ENDED | {"incomplete", "paused"}
            and subscription["cancel_at"] is None
        ]
        if not running:
            raise _none(customer["id"])
        return self.upcoming(min(running, key=lambda subscription: period_of(subscription).end))

    def _now(self, subscription: Obj, lines: list[Line], change: Change) -> Obj:
        now = self._parts.books.now_for(subscription)
        return self._invoice(subscription, lines + change.full, (now, now), now)

    def _next(self, subscription: Obj, lines: list[Line]) -> Obj:
        """The invoice of the period that follows."""
        before = period_of(subscription)
        cancel_at = subscription["cancel_at"]
        ends = cancel_at is not None and cancel_at <= before.end
        if subscription["status"] in ENDED | {"incomplete", "paused"} or (ends and not lines):
            raise _none(subscription["customer"])
        if not ends:
            items = self.items_at(subscription, before.end)
            if _interval(items) != _interval(items_of(subscription)):
                subscription["billing_cycle_anchor"] = before.end
            set_period(subscription, items, before)
            set_period(subscription, items, self._parts.billing.coming_period(subscription, before.end))
            lines = lines + self._parts.billing.coming_lines(subscription)
        return self._invoice(subscription, lines, (before.start, before.end), before.end)

    def _invoice(self, subscription: Obj, lines: list[Line], period: tuple[int, int], at: int) -> Obj:
        """As Stripe shows a preview: its id cannot be fetched."""
        order = Order(
            customer=self._parts.books.customer(subscription["customer"]),
            reason="upcoming",
            lines=lines,
            period=period,
            subscription=subscription,
            finalizes_at=at + self._parts.books.settings.finalize_after_s,
            collection_method=subscription["collection_method"],
        )
        invoice = invoice_object(order, at, self._parts.books.settings)
        invoice["id"] = new_id("upcoming_in")
        invoice["automatically_finalizes_at"] = None
        owed = invoice["total"] + invoice["starting_balance"]
        invoice["ending_balance"] = min(0, owed)
        return invoice


def _none(customer_id: str) -> StripeError:
    return StripeError(
        404,
        "invalid_request_error",
        f"No upcoming invoices for customer: '{customer_id}'",
        code="invoice_upcoming_none",
        param="subscription",
    )


def _interval(items: list[Obj]) -> tuple[str, int]:
    recurring = items[0]["price"]["recurring"]
    return recurring["interval"], recurring["interval_count"]
