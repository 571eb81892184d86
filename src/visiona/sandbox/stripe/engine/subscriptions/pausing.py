"""Pausing a subscription and taking it up again."""

from visiona.sandbox.stripe.engine.subscriptions.objects import (
    Span,
    items_of,
    paused_details,
    period_from,
    period_of,
)
from visiona.sandbox.stripe.engine.subscriptions.parts import Parts
from visiona.sandbox.stripe.engine.subscriptions.plans import Change, full_lines, plan_change, unused
from visiona.sandbox.stripe.errors import invalid
from visiona.sandbox.stripe.store import Obj


class Pausing:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        parts.standing.after_settled.append(self._resumption_settled)

    def pause(self, subscription: Obj, params: Obj) -> Obj:
        """Nothing is provided and nothing billed until it is resumed; unused time is credited."""
        if subscription["status"] not in {"active", "trialing", "past_due"}:
            raise invalid(
                f"You cannot pause a subscription with a status of {subscription['status']}.", param="id"
            )
        parts = self._parts
        now = parts.books.now_for(subscription)
        customer = parts.books.customer(subscription["customer"])
        wish: Obj = params.get("bill_for", {}).get("unused_time_from", {"type": "now"})
        if wish["type"] != "none":
            start = now if wish["type"] == "now" else period_of(subscription).start
            for item in items_of(subscription):
                for line in unused(subscription, item, start, parts.prices.name):
                    parts.invoices.add_item(line, customer)
        with parts.books.changing(subscription, "customer.subscription.updated"):
            subscription["status"] = "paused"
            subscription["status_details"] = paused_details("pause_requested", now)
            subscription["_debits"] = {}
        parts.books.tell("customer.subscription.paused", subscription)
        if params.get("invoicing_behavior") == "invoice":
            credit = parts.billing.bill_pending(subscription, "subscription_update")
            if credit is not None:
                parts.collection.advance(credit)
        return subscription

    def resume(self, subscription: Obj, params: Obj) -> Obj:
        """Take it up again: with a new period from now on, or with the rest of the one it is in."""
        if subscription["status"] != "paused":
            raise invalid("The subscription is not paused, so it cannot be resumed.", param="id")
        if subscription["collection_method"] != "charge_automatically":
            raise invalid("Only subscriptions that are charged automatically can be resumed.", param="id")
        parts = self._parts
        anchor: Obj = params.get("billing_cycle_anchor", {"type": "now"})
        change = self._fresh(subscription) if anchor["type"] == "now" else self._rest(subscription, params)
        waits = params.get("payment_behavior") == "resume_on_payment_success"
        invoice = parts.billing.bill_change(
            subscription, change, at_once=params.get("proration_behavior") == "always_invoice"
        )
        with parts.books.changing(subscription, "customer.subscription.updated"):
            parts.billing.take_change(subscription, change, invoice)
        if invoice is not None and waits:
            until = parts.books.now_for(subscription) + parts.books.settings.incomplete_after_s
            subscription |= {"_resumes_with": invoice["id"], "_resumes_until": until}
            parts.books.keep(subscription)
            parts.invoices.finalize(invoice)
            return subscription
        self._run(subscription)
        if invoice is not None:
            parts.collection.advance(invoice)
        return subscription

    def give_up_resuming(self, subscription: Obj) -> None:
        """Nobody paid in time: it stays paused."""
        self._parts.invoices.void(self._parts.books.store.get("invoice", subscription["_resumes_with"]))

    def _resumption_settled(self, subscription: Obj, invoice: Obj) -> None:
        if subscription.get("_resumes_with") != invoice["id"]:
            return
        if invoice["status"] == "void":
            subscription |= {"_resumes_with": None, "_debits": {}}
            self._parts.books.keep(subscription)
        else:
            self._run(subscription)

    def _run(self, subscription: Obj) -> None:
        with self._parts.books.changing(subscription, "customer.subscription.updated"):
            subscription["status"] = "active"
            subscription["status_details"] = None
            subscription["_resumes_with"] = None
        self._parts.books.tell("customer.subscription.resumed", subscription)

    def _fresh(self, subscription: Obj) -> Change:
        now = self._parts.books.now_for(subscription)
        return plan_change(
            subscription,
            items_of(subscription),
            at=now,
            now=now,
            reset=True,
            prorate=False,
            name_of=self._parts.prices.name,
        )

    def _rest(self, subscription: Obj, params: Obj) -> Change:
        """What is left of the period that would be running had there been no pause."""
        now = self._parts.books.now_for(subscription)
        anchor: int = subscription["billing_cycle_anchor"]
        items = items_of(subscription)
        period = Span(now, period_from(anchor, items[0]["price"], now).end)
        free = params.get("proration_behavior") == "none"
        lines = [] if free else full_lines(subscription, items, period, anchor, self._parts.prices.name)
        return Change(items, lines, [], begins=False, anchor=anchor, period=period, at=now)
