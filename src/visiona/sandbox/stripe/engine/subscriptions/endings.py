"""Cancelling: at once, at a moment that was set, or at the end of the period."""

from visiona.sandbox.stripe.engine.subscriptions.objects import ENDED, items_of, period_of
from visiona.sandbox.stripe.engine.subscriptions.parts import Parts
from visiona.sandbox.stripe.engine.subscriptions.plans import unused
from visiona.sandbox.stripe.errors import invalid
from visiona.sandbox.stripe.store import Obj


class Endings:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def plan(self, subscription: Obj, params: Obj) -> None:
        """Set or clear the moment at which it ends, as `cancel_at` and `cancel_at_period_end` say.

        `cancel_at_period_end=false` takes back only what `cancel_at_period_end=true` had set.
        """
        at_end: bool | None = params.get("cancel_at_period_end")
        if at_end and params.get("cancel_at") is not None:
            raise invalid(
                "You may only specify one of these parameters: cancel_at, cancel_at_period_end.",
                param="cancel_at",
                code="parameters_exclusive",
            )
        if "cancel_at" in params:
            self._plan_moment(subscription, params["cancel_at"])
        if at_end:
            self._set(subscription, period_of(subscription).end, at_period_end=True)
        elif at_end is False and subscription["cancel_at_period_end"]:
            self._clear(subscription)
        details: Obj = params.get("cancellation_details", {})
        for name in ("comment", "feedback"):
            if name in details:
                subscription["cancellation_details"][name] = details[name]

    def cancel(self, subscription: Obj, params: Obj) -> Obj:
        """Cancel now. `prorate` gives credit for unused time, `invoice_now` bills whatever waits; without
        either, prorations that wait are dropped.
        """
        if subscription["status"] in ENDED:
            raise invalid(
                "You cannot cancel a subscription that is already canceled.",
                param="id",
                code="resource_missing",
            )
        parts = self._parts
        first_unpaid = subscription["status"] == "incomplete"
        if params.get("prorate") and subscription["status"] in {"active", "past_due", "unpaid"}:
            self._credit_unused(subscription)
        with parts.books.changing(subscription, None):
            details: Obj = params.get("cancellation_details", {})
            for name in ("comment", "feedback"):
                subscription["cancellation_details"][name] = details.get(name)
        final = None
        if params.get("invoice_now"):
            final = parts.billing.bill_pending(subscription, "subscription_update")
        elif not params.get("prorate"):
            self._drop_prorations(subscription)
        if final is not None:
            subscription["latest_invoice"] = final["id"]
            parts.collection.advance(final)
        parts.standing.end(subscription, "cancellation_requested")
        if first_unpaid:
            for invoice in parts.standing.invoices_of(subscription):
                if invoice["status"] == "open":
                    parts.invoices.void(invoice)
        return subscription

    def end_all(self, customer_id: str) -> None:
        """The customer is deleted: everything ends, and nothing is collected any more."""
        parts = self._parts
        for subscription in parts.books.where("subscription", "customer", customer_id):
            if subscription["status"] not in ENDED:
                parts.standing.end(subscription, "cancellation_requested")
        parts.invoices.stop_collecting(parts.books.where("invoice", "customer", customer_id))

    def end_as_planned(self, subscription: Obj) -> None:
        """Its moment has come. What waits to be billed is billed now."""
        parts = self._parts
        if subscription["status"] in {"active", "past_due"}:
            self._bill_what_waits(subscription, "subscription_cycle")
        if subscription["status"] not in ENDED:
            parts.standing.end(subscription, "cancellation_requested", natural=True)

    def _bill_what_waits(self, subscription: Obj, reason: str) -> None:
        final = self._parts.billing.bill_pending(subscription, reason)
        if final is not None:
            with self._parts.books.changing(subscription, None):
                subscription["latest_invoice"] = final["id"]
            self._parts.collection.advance(final)

    def _plan_moment(self, subscription: Obj, moment: int | str | None) -> None:
        if moment is None:
            self._clear(subscription)
        elif isinstance(moment, str):
            self._set(subscription, period_of(subscription).end, at_period_end=False)
        elif moment <= self._parts.books.now_for(subscription):
            raise invalid("The value of `cancel_at` must be in the future.", param="cancel_at")
        else:
            self._set(subscription, moment, at_period_end=False)

    def _set(self, subscription: Obj, moment: int, *, at_period_end: bool) -> None:
        subscription["canceled_at"] = self._parts.books.now_for(subscription)
        subscription["cancel_at"] = moment
        subscription["cancel_at_period_end"] = at_period_end
        subscription["cancellation_details"]["reason"] = "cancellation_requested"

    def _clear(self, subscription: Obj) -> None:
        subscription |= {"cancel_at": None, "cancel_at_period_end": False, "canceled_at": None}
        subscription["cancellation_details"] = {"comment": None, "feedback": None, "reason": None}

    def _drop_prorations(self, subscription: Obj) -> None:
        invoices = self._parts.invoices
        for item in invoices.pending_items(subscription["customer"], subscription["id"]):
            if item["proration"] and item["parent"] is not None:
                invoices.delete_item(item)

    def _credit_unused(self, subscription: Obj) -> None:
        parts = self._parts
        now = parts.books.now_for(subscription)
        customer = parts.books.customer(subscription["customer"])
        for item in items_of(subscription):
            for line in unused(subscription, item, now, parts.prices.name):
                parts.invoices.add_item(line, customer)
