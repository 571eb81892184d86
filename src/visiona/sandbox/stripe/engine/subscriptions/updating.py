"""Changing subscriptions: other items, other dates, other settings."""

from dataclasses import dataclass
from typing import Any, Final

import msgspec

from visiona.sandbox.stripe.engine.changes import copy_of
from visiona.sandbox.stripe.engine.collection import refuse
from visiona.sandbox.stripe.engine.payments import Attempt
from visiona.sandbox.stripe.engine.settings import HOUR_S
from visiona.sandbox.stripe.engine.subscriptions.creation import (
    Creation,
    require_due_days_fit,
    require_trial_end,
)
from visiona.sandbox.stripe.engine.subscriptions.endings import Endings
from visiona.sandbox.stripe.engine.subscriptions.objects import (
    ENDED,
    Span,
    item_object,
    items_of,
    period_of,
    require_one_rhythm,
    set_period,
    updated_event,
    with_price,
)
from visiona.sandbox.stripe.engine.subscriptions.parts import Parts
from visiona.sandbox.stripe.engine.subscriptions.plans import Change, plan_change
from visiona.sandbox.stripe.errors import invalid
from visiona.sandbox.stripe.params import merge_metadata
from visiona.sandbox.stripe.store import Obj

_PENDING_FOR_S: Final = 23 * HOUR_S
_PLAIN: Final = ("collection_method", "days_until_due", "description", "pause_collection")
_CANCELS: Final = ("cancel_at", "cancel_at_period_end")
_BILLS: Final = ("items", "_items", "billing_cycle_anchor", "trial_end", "add_invoice_items")
_MAY_WAIT: Final = frozenset(
    {
        "add_invoice_items",
        "billing_cycle_anchor",
        "expand",
        "items",
        "off_session",
        "payment_behavior",
        "proration_behavior",
        "proration_date",
        "trial_end",
    }
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What an update does to items and periods; `trial_end` is the new end of a trial, if one is set."""

    change: Change | None
    trial_end: int | None = None
    ends_trial: bool = False


class Updating:
    def __init__(self, parts: Parts, creation: Creation, endings: Endings) -> None:
        self._parts = parts
        self._creation = creation
        self._endings = endings
        parts.standing.after_settled.append(self._waiting_change_paid)

    def update(self, subscription: Obj, params: Obj, *, authenticated: bool = False) -> Obj:
        """As the API does it; `authenticated` where a bank's question has been answered already. Schedules
        give whole items as `_items`.

        Raises a `StripeError`: 400 for what does not fit, 402 where `error_if_incomplete` finds that the
        payment would fail.
        """
        self._require_changeable(subscription, params)
        plan = self.plan(subscription, params)
        forecast = self.forecast(subscription, plan, params, authenticated=authenticated)
        behavior = params.get("payment_behavior", "allow_incomplete")
        if forecast is not None and forecast.status != "succeeded":
            if behavior == "error_if_incomplete":
                refuse(forecast, None)
            if behavior == "pending_if_incomplete":
                return self._let_wait(subscription, plan)
        with self._parts.books.changing(subscription, updated_event(subscription)):
            self._settings(subscription, params)
            invoice = self._carry_out(subscription, plan, params)
            self._endings.plan(subscription, params)
        if invoice is None:
            return subscription
        if behavior == "default_incomplete" and subscription["collection_method"] == "charge_automatically":
            self._parts.invoices.finalize(invoice)
            if invoice["amount_remaining"] > 0:
                self._parts.standing.set_status(subscription, "past_due")
        else:
            self._parts.collection.advance(invoice, authenticated=authenticated)
        return subscription

    def plan(self, subscription: Obj, params: Obj) -> Plan:
        """What the update would do to items and periods. Touches nothing."""
        if not any(params.get(name) is not None for name in _BILLS):
            return Plan(None)
        now = self._parts.books.now_for(subscription)
        items: list[Obj] = params.get("_items") or self.wanted_items(subscription, params.get("items", []))
        trial_end: Any = params.get("trial_end")
        trialing = subscription["status"] == "trialing"
        if isinstance(trial_end, int):
            require_trial_end(trial_end, now)
            return Plan(self._change_for_trial(subscription, items, trial_end, params), trial_end)
        if subscription["status"] in {"trialing", "paused"} and trial_end is None:
            return Plan(self._unbilled(subscription, items))
        anchor: Obj = params.get("billing_cycle_anchor", {"type": "unchanged"})
        ends_trial = trialing and trial_end == "now"
        return Plan(
            plan_change(
                subscription,
                items,
                at=self._proration_moment(subscription, params, now),
                now=now,
                reset=anchor["type"] == "now" or ends_trial,
                prorate=params.get("proration_behavior") != "none" and not trialing,
                name_of=self._parts.prices.name,
            ),
            ends_trial=ends_trial,
        )

    def wanted_items(self, subscription: Obj, wishes: list[Obj]) -> list[Obj]:
        """The items after what `wishes` say. An item without an id is another one.

        Raises a `StripeError` for an unknown id, for none left, and for prices that do not go together.
        """
        items = {item["id"]: copy_of(item) for item in items_of(subscription)}
        for index, wish in enumerate(wishes):
            path = f"items[{index}]"
            if "id" not in wish:
                item = self._new_item(subscription, wish, path)
                items[item["id"]] = item
                continue
            item = items.get(wish["id"])
            if item is None:
                raise invalid(
                    f"No such subscription_item: '{wish['id']}'", param=f"{path}[id]", code="resource_missing"
                )
            if wish.get("deleted"):
                del items[item["id"]]
            else:
                items[item["id"]] = self._changed_item(item, wish, path)
        if not items:
            raise invalid("A subscription must have at least one active plan.", param="items")
        require_one_rhythm([item["price"] for item in items.values()])
        return list(items.values())

    def switch_at_boundary(self, subscription: Obj, items: list[Obj], moment: int) -> None:
        """Let other items take over where a period ends. The renewal at this moment bills them."""
        recurring = items[0]["price"]["recurring"]
        before = items_of(subscription)[0]["price"]["recurring"]
        same = all(recurring[field] == before[field] for field in ("interval", "interval_count"))
        with self._parts.books.changing(subscription, "customer.subscription.updated"):
            set_period(subscription, items, period_of(subscription))
            if not same:
                subscription["billing_cycle_anchor"] = moment

    def expire_waiting(self, subscription: Obj) -> None:
        """The change that waited for a payment is given up."""
        invoice = self._parts.books.store.get("invoice", subscription["_waiting"]["invoice"])
        with self._parts.books.changing(subscription, "customer.subscription.updated"):
            subscription["pending_update"] = None
            subscription["_waiting"] = None
        self._parts.books.tell("customer.subscription.pending_update_expired", subscription)
        if invoice["status"] == "open":
            self._parts.invoices.void(invoice)

    def _require_changeable(self, subscription: Obj, params: Obj) -> None:
        if subscription["status"] in ENDED and set(params) - {"metadata", "cancellation_details", "expand"}:
            raise invalid(
                "A canceled subscription can only update its cancellation_details and metadata.",
                param="id",
            )
        if subscription["status"] == "incomplete" and any(name in params for name in _BILLS):
            raise invalid(
                "You cannot update a subscription in `incomplete` status in a way that results in a new "
                "invoice. Pay its first invoice, or cancel it and make another one."
            )
        if subscription["schedule"] is not None and any(name in params for name in _CANCELS):
            raise invalid(
                f"The subscription is managed by the subscription schedule `{subscription['schedule']}`, and "
                "updating any cancelation behavior directly is not allowed. Please update the schedule "
                "instead."
            )
        if params.get("payment_behavior") == "pending_if_incomplete" and (
            refused := sorted(set(params) - _MAY_WAIT)
        ):
            raise invalid(
                "With `payment_behavior=pending_if_incomplete` these parameters cannot be changed: "
                f"{', '.join(refused)}.",
                param=refused[0],
            )

    def _settings(self, subscription: Obj, params: Obj) -> None:
        for name in _PLAIN:
            if name in params:
                subscription[name] = params[name]
        if params.get("collection_method") == "charge_automatically" and "days_until_due" not in params:
            subscription["days_until_due"] = None
        require_due_days_fit(subscription)
        if subscription["pause_collection"] is not None:
            subscription["pause_collection"].setdefault("resumes_at", None)
        if "metadata" in params:
            subscription["metadata"] = merge_metadata(subscription["metadata"], params["metadata"])
        if "default_payment_method" in params:
            customer = self._parts.books.customer(subscription["customer"])
            method = self._parts.methods.of_customer(
                params["default_payment_method"], customer, param="default_payment_method"
            )
            subscription["default_payment_method"] = method["id"]
        if "trial_settings" in params:
            subscription["trial_settings"]["end_behavior"] |= params["trial_settings"]["end_behavior"]
        subscription["payment_settings"] |= params.get("payment_settings", {})

    def _carry_out(self, subscription: Obj, plan: Plan, params: Obj) -> Obj | None:
        """Make the change; gives the draft of whatever has to be paid at once."""
        change = plan.change
        if change is None:
            return None
        customer = self._parts.books.customer(subscription["customer"])
        for line in self._creation.extra_lines(subscription, params):
            self._parts.invoices.add_item(line, customer)
        if plan.ends_trial:
            subscription |= {"status": "active", "trial_end": change.anchor}
        invoice = self._parts.billing.bill_change(
            subscription, change, at_once=params.get("proration_behavior") == "always_invoice"
        )
        self._parts.billing.take_change(subscription, change, invoice)
        if plan.trial_end is not None:
            self._start_trial(subscription, plan.trial_end)
        return invoice

    def _start_trial(self, subscription: Obj, trial_end: int) -> None:
        now = self._parts.books.now_for(subscription)
        if subscription["status"] != "trialing":
            subscription["trial_start"] = now
        subscription |= {
            "status": "trialing",
            "trial_end": trial_end,
            "billing_cycle_anchor": trial_end,
            "_reminded": False,
        }
        start = subscription["trial_start"]
        set_period(subscription, items_of(subscription), Span(start, trial_end))

    def _change_for_trial(self, subscription: Obj, items: list[Obj], trial_end: int, params: Obj) -> Change:
        """A running period that is turned into a trial gives credit for the rest of it."""
        if subscription["status"] == "trialing":
            return self._unbilled(subscription, items)
        now = self._parts.books.now_for(subscription)
        change = plan_change(
            subscription,
            items,
            at=now,
            now=now,
            reset=True,
            prorate=params.get("proration_behavior") != "none",
            name_of=self._parts.prices.name,
        )
        return Change(items, change.prorations, [], False, trial_end, Span(now, trial_end), now)

    def _unbilled(self, subscription: Obj, items: list[Obj]) -> Change:
        """On trial or while paused, items change for nothing, and the period stays."""
        now = self._parts.books.now_for(subscription)
        anchor: int = subscription["billing_cycle_anchor"]
        return Change(items, [], [], False, anchor, period_of(subscription), now)

    def _proration_moment(self, subscription: Obj, params: Obj, now: int) -> int:
        moment: int = params.get("proration_date", now)
        period = period_of(subscription)
        if not period.start <= moment <= period.end:
            raise invalid(
                "Invalid timestamp: proration_date must be within the current billing period.",
                param="proration_date",
            )
        return moment

    def forecast(self, subscription: Obj, plan: Plan, params: Obj, *, authenticated: bool) -> Attempt | None:
        """How paying for the update would go; None where nothing has to be paid at once."""
        if plan.change is None or subscription["collection_method"] != "charge_automatically":
            return None
        if self.due_now(subscription, plan, params) <= 0:
            return None
        customer = self._parts.books.customer(subscription["customer"])
        method = self._parts.methods.default_for(customer, subscription)
        if method is None:
            return None
        return self._parts.payments.forecast(method, authenticated=authenticated)

    def due_now(self, subscription: Obj, plan: Plan, params: Obj) -> int:
        """What would be asked for at once; negative where credit is left over."""
        change = plan.change
        at_once = params.get("proration_behavior") == "always_invoice"
        if change is None or not (change.begins or (at_once and change.prorations)):
            return 0
        customer = self._parts.books.customer(subscription["customer"])
        pending = self._parts.invoices.pending_items(customer["id"], subscription["id"])
        lines = change.prorations + change.full
        return (
            customer["balance"] + sum(item["amount"] for item in pending) + sum(line.amount for line in lines)
        )

    def _let_wait(self, subscription: Obj, plan: Plan) -> Obj:
        """Ask for the payment; the change is made when it has come, within 23 hours."""
        change = plan.change
        if change is None:
            return subscription
        parts = self._parts
        now = parts.books.now_for(subscription)
        invoice = parts.billing.bill_change(subscription, change, at_once=True)
        if invoice is None:
            return subscription
        invoice["_asks_only"] = True
        parts.books.keep(invoice)
        with parts.books.changing(subscription, "customer.subscription.updated"):
            subscription["latest_invoice"] = invoice["id"]
            subscription["pending_update"] = {
                "billing_cycle_anchor": change.anchor if change.begins else None,
                "discount": None,
                "discounts": None,
                "expires_at": now + _PENDING_FOR_S,
                "subscription_items": change.items,
                "trial_end": plan.trial_end,
                "trial_from_plan": None,
            }
            subscription["_waiting"] = {
                "invoice": invoice["id"],
                "change": msgspec.to_builtins(change),
                "ends_trial": plan.ends_trial,
            }
        parts.collection.advance(invoice)
        return subscription

    def _waiting_change_paid(self, subscription: Obj, invoice: Obj) -> None:
        waiting: Obj | None = subscription.get("_waiting")
        if waiting is None or waiting["invoice"] != invoice["id"] or invoice["status"] != "paid":
            return
        change = msgspec.convert(waiting["change"], Change)
        with self._parts.books.changing(subscription, "customer.subscription.updated"):
            subscription["pending_update"] = None
            subscription["_waiting"] = None
            if waiting["ends_trial"]:
                subscription |= {"status": "active", "trial_end": change.anchor}
            self._parts.billing.take_change(subscription, change, invoice)
        self._parts.books.tell("customer.subscription.pending_update_applied", subscription)

    def _new_item(self, subscription: Obj, wish: Obj, path: str) -> Obj:
        price = self._parts.prices.chosen(wish, path=path)
        return item_object(
            subscription["id"],
            price,
            wish.get("quantity", 1),
            merge_metadata({}, wish.get("metadata", {})),
            period_of(subscription),
            self._parts.books.now_for(subscription),
        )

    def _changed_item(self, item: Obj, wish: Obj, path: str) -> Obj:
        if any(wish.get(name) is not None for name in ("price", "plan", "price_data")):
            given = wish.get("price") or wish.get("plan")
            if given != item["price"]["id"]:
                item = with_price(item, self._parts.prices.chosen(wish, path=path))
        if wish.get("quantity") is not None:
            item["quantity"] = wish["quantity"]
        if "metadata" in wish:
            item["metadata"] = merge_metadata(item["metadata"], wish["metadata"])
        return item
