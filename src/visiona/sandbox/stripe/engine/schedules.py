"""Subscription schedules: items that change by themselves at set moments."""

from typing import Any, Final

from visiona.sandbox.stripe.engine.books import Books
from visiona.sandbox.stripe.engine.calendar import boundary
from visiona.sandbox.stripe.engine.changes import copy_of
from visiona.sandbox.stripe.engine.prices import Prices
from visiona.sandbox.stripe.engine.subscriptions import Subscriptions
from visiona.sandbox.stripe.engine.subscriptions.objects import (
    ENDED,
    item_object,
    items_of,
    period_of,
    require_one_rhythm,
    with_price,
)
from visiona.sandbox.stripe.errors import StripeError, invalid
from visiona.sandbox.stripe.ids import new_id
from visiona.sandbox.stripe.params import merge_metadata
from visiona.sandbox.stripe.store import Obj

_OVER: Final = frozenset({"canceled", "completed", "released"})


class Schedules:
    def __init__(self, books: Books, prices: Prices, subscriptions: Subscriptions) -> None:
        self._books = books
        self._prices = prices
        self._subscriptions = subscriptions
        subscriptions.previews.items_at = self.items_at
        subscriptions.after_end.append(self._subscription_ended)

    def create(self, params: Obj) -> Obj:
        """From a running subscription, or for a customer with phases of its own."""
        if "from_subscription" in params:
            return self._take_over(params)
        if "customer" not in params or not params.get("phases"):
            raise invalid(
                "You must pass either `from_subscription`, or `customer` and `phases`.",
                param="phases" if "customer" in params else "customer",
                code="parameter_missing",
            )
        customer = self._books.customer(params["customer"])
        now = self._books.now_for(customer)
        start: Any = params.get("start_date", "now")
        start = now if start == "now" else start
        schedule = self._new(customer, self._phases(params["phases"], start, frozenset()), params)
        self._books.add(schedule, "subscription_schedule.created")
        if start <= now:
            self._start(schedule)
        return schedule

    def update(self, schedule: Obj, params: Obj) -> Obj:
        """New phases replace all others; the one that is running must be among them."""
        self._require_running(schedule)
        phases: list[Obj] | None = params.get("phases")
        with self._books.changing(schedule, "subscription_schedule.updated"):
            if "end_behavior" in params:
                schedule["end_behavior"] = _checked_end(params["end_behavior"])
            if "metadata" in params:
                schedule["metadata"] = merge_metadata(schedule["metadata"], params["metadata"])
            if phases is not None:
                self._replace_phases(schedule, phases)
        if phases is not None and schedule["status"] == "active":
            self._follow_current(schedule, params)
        return schedule

    def release(self, schedule: Obj) -> Obj:
        """The subscription goes on as it is, on its own."""
        self._require_running(schedule)
        subscription_id = schedule["subscription"]
        now = self._books.now_for(schedule)
        with self._books.changing(schedule, None):
            schedule |= {
                "status": "released",
                "released_at": now,
                "released_subscription": subscription_id,
                "subscription": None,
                "current_phase": None,
            }
        if subscription_id is not None:
            self._let_go(subscription_id)
        self._books.tell("subscription_schedule.released", schedule)
        return schedule

    def cancel(self, schedule: Obj, params: Obj) -> Obj:
        """Its subscription ends with it, at once; unless `params` say otherwise, unused time is credited and
        whatever waits is billed.
        """
        self._require_running(schedule)
        subscription_id = schedule["subscription"]
        self._finish(schedule, "canceled", "subscription_schedule.canceled")
        if subscription_id is not None:
            subscription = self._let_go(subscription_id)
            self._subscriptions.cancel(subscription, {"invoice_now": True, "prorate": True, **params})
        return schedule

    def due(self, schedule: Obj) -> int | None:
        """When its next phase begins, or its last one ends."""
        if schedule["status"] == "not_started":
            return schedule["phases"][0]["start_date"]
        if schedule["status"] == "active":
            return schedule["current_phase"]["end_date"]
        return None

    def step(self, schedule: Obj) -> None:
        """Begin, go on to the next phase, or end. What cannot be done any more (the customer or a price
        is gone) ends the schedule.
        """
        try:
            self._go_on(schedule)
        except StripeError:
            if schedule["subscription"] is not None:
                self._let_go(schedule["subscription"])
            self._finish(schedule, "canceled", "subscription_schedule.aborted")

    def _go_on(self, schedule: Obj) -> None:
        if schedule["status"] == "not_started":
            self._start(schedule)
            return
        moment: int = schedule["current_phase"]["end_date"]
        following = [phase for phase in schedule["phases"] if phase["start_date"] >= moment]
        if following:
            self._enter(schedule, following[0])
        elif schedule["end_behavior"] == "cancel":
            subscription_id = schedule["subscription"]
            self._finish(schedule, "completed", "subscription_schedule.completed")
            subscription = self._let_go(subscription_id)
            if subscription["status"] not in ENDED:
                self._subscriptions.cancel(subscription, {"invoice_now": True})
        else:
            self.release(schedule)

    def items_at(self, subscription: Obj, moment: int) -> list[Obj]:
        """The items with which a subscription enters the period that begins at `moment`."""
        if subscription["schedule"] is not None:
            schedule = self._books.store.get("subscription_schedule", subscription["schedule"])
            for phase in schedule["phases"]:
                if phase["start_date"] == moment:
                    return self._items_for(subscription, phase)
        return items_of(subscription)

    def next_phase(self, subscription: Obj) -> Obj | None:
        """The phase that follows the running one, if there is one."""
        if subscription["schedule"] is None:
            return None
        schedule = self._books.store.get("subscription_schedule", subscription["schedule"])
        current: Obj | None = schedule["current_phase"]
        end: int = current["end_date"] if current is not None else 0
        return next((phase for phase in schedule["phases"] if phase["start_date"] >= end), None)

    def _take_over(self, params: Obj) -> Obj:
        subscription = self._books.store.get(
            "subscription", params["from_subscription"], param="from_subscription"
        )
        if "phases" in params or "customer" in params:
            raise invalid(
                "You cannot set `phases` or `customer` if `from_subscription` is set.",
                param="phases" if "phases" in params else "customer",
            )
        if subscription["status"] in ENDED | {"incomplete"}:
            raise invalid(
                f"You cannot create a schedule for a subscription that is {subscription['status']}.",
                param="from_subscription",
            )
        if subscription["schedule"] is not None:
            raise invalid(
                "You cannot migrate a subscription that is already attached to a schedule: "
                f"{subscription['schedule']}",
                param="from_subscription",
            )
        period = period_of(subscription)
        items = [
            {"price": item["price"]["id"], "quantity": item["quantity"], "metadata": item["metadata"]}
            for item in items_of(subscription)
        ]
        known = frozenset(item["price"] for item in items)
        phase = self._phase({"items": items, "end_date": period.end}, period.start, known, "phases[0]")
        customer = self._books.customer(subscription["customer"])
        ends = subscription["cancel_at"] is not None
        schedule = self._new(customer, [phase], {"end_behavior": "cancel" if ends else "release", **params})
        schedule |= {
            "status": "active",
            "subscription": subscription["id"],
            "current_phase": {"start_date": period.start, "end_date": period.end},
        }
        self._books.add(schedule, "subscription_schedule.created")
        with self._books.changing(subscription, "customer.subscription.updated"):
            subscription["schedule"] = schedule["id"]
            subscription |= {"cancel_at": None, "cancel_at_period_end": False}
        return schedule

    def _new(self, customer: Obj, phases: list[Obj], params: Obj) -> Obj:
        return {
            "id": new_id("sub_sched"),
            "object": "subscription_schedule",
            "application": None,
            "billing_mode": {"flexible": {"proration_discounts": "included"}, "type": "flexible"},
            "canceled_at": None,
            "completed_at": None,
            "created": self._books.now_for(customer),
            "current_phase": None,
            "customer": customer["id"],
            "customer_account": None,
            "default_settings": {
                "application_fee_percent": None,
                "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
                "billing_cycle_anchor": "automatic",
                "billing_thresholds": None,
                "collection_method": "charge_automatically",
                "default_payment_method": None,
                "description": None,
                "invoice_settings": {
                    "account_tax_ids": None,
                    "days_until_due": None,
                    "issuer": {"type": "self"},
                },
                "on_behalf_of": None,
                "transfer_data": None,
            },
            "end_behavior": _checked_end(params.get("end_behavior", "release")),
            "livemode": False,
            "metadata": merge_metadata({}, params.get("metadata", {})),
            "pause_schedules": [],
            "phases": phases,
            "released_at": None,
            "released_subscription": None,
            "status": "not_started",
            "subscription": None,
            "test_clock": customer["test_clock"],
        }

    def _phases(self, wishes: list[Obj], start: int, known: frozenset[str]) -> list[Obj]:
        """Phases one after the other, without gaps. Prices that are `known` may be inactive by now."""
        phases: list[Obj] = []
        for index, wish in enumerate(wishes):
            begins = wish.get("start_date", start)
            if begins == "now":
                begins = start
            if phases and begins != start:
                raise invalid(
                    "The phases must follow one another without gaps.", param=f"phases[{index}][start_date]"
                )
            phase = self._phase(wish, begins, known, f"phases[{index}]")
            phases.append(phase)
            start = phase["end_date"]
        return phases

    def _phase(self, wish: Obj, start: int, known: frozenset[str], path: str) -> Obj:
        prices = [
            self._books.store.get("price", item["price"])
            if item.get("price") in known
            else self._prices.chosen(item, path=f"{path}[items][{index}]")
            for index, item in enumerate(wish["items"])
        ]
        require_one_rhythm(prices)
        end = self._end_of(wish, start, prices[0], path)
        return {
            "add_invoice_items": [],
            "application_fee_percent": None,
            "automatic_tax": None,
            "billing_cycle_anchor": None,
            "billing_thresholds": None,
            "collection_method": None,
            "currency": prices[0]["currency"],
            "default_payment_method": None,
            "default_tax_rates": [],
            "description": wish.get("description"),
            "discounts": [],
            "end_date": end,
            "invoice_settings": None,
            "items": [
                {
                    "billing_thresholds": None,
                    "discounts": [],
                    "metadata": merge_metadata({}, item.get("metadata", {})),
                    "plan": price["id"],
                    "price": price["id"],
                    "quantity": item.get("quantity", 1),
                    "tax_rates": [],
                }
                for item, price in zip(wish["items"], prices, strict=True)
            ],
            "metadata": merge_metadata({}, wish.get("metadata", {})),
            "on_behalf_of": None,
            "proration_behavior": wish.get("proration_behavior", "create_prorations"),
            "start_date": start,
            "transfer_data": None,
            "trial": None,
            "trial_end": None,
        }

    def _end_of(self, wish: Obj, start: int, price: Obj, path: str) -> int:
        """As given; else after one interval of its price."""
        duration = wish.get("duration") or price["recurring"]
        end: int = wish.get("end_date") or boundary(
            start, duration["interval"], duration.get("interval_count", 1)
        )
        if end <= start:
            raise invalid("A phase must end after it begins.", param=f"{path}[end_date]")
        return end

    def _replace_phases(self, schedule: Obj, wishes: list[Obj]) -> None:
        current = schedule["current_phase"]
        start = current["start_date"] if current is not None else schedule["phases"][0]["start_date"]
        first: Any = wishes[0].get("start_date", start) if wishes else None
        if first not in {start, "now"}:
            raise invalid(
                "The first phase must be the one that is running, and keep its start date.",
                param="phases[0][start_date]",
            )
        known = frozenset(item["price"] for phase in schedule["phases"] for item in phase["items"])
        schedule["phases"] = self._phases(wishes, start, known)
        if current is not None:
            schedule["current_phase"] = {"start_date": start, "end_date": schedule["phases"][0]["end_date"]}

    def _follow_current(self, schedule: Obj, params: Obj) -> None:
        """The running phase was changed: its items apply from now on."""
        subscription = self._books.store.get("subscription", schedule["subscription"])
        self._take_items(
            subscription, schedule["phases"][0], params.get("proration_behavior", "create_prorations")
        )

    def _start(self, schedule: Obj) -> None:
        phase = schedule["phases"][0]
        items = [{"price": item["price"], "quantity": item["quantity"]} for item in phase["items"]]
        wishes = {
            "customer": schedule["customer"],
            "items": items,
            "metadata": phase["metadata"],
            "payment_behavior": "default_incomplete" if self._lacks_card(schedule) else "allow_incomplete",
        }
        subscription = self._subscriptions.create(wishes)
        subscription["schedule"] = schedule["id"]
        self._books.keep(subscription)
        with self._books.changing(schedule, "subscription_schedule.updated"):
            schedule["status"] = "active"
            schedule["subscription"] = subscription["id"]
            schedule["current_phase"] = {"start_date": phase["start_date"], "end_date": phase["end_date"]}

    def _lacks_card(self, schedule: Obj) -> bool:
        customer = self._books.customer(schedule["customer"])
        return customer["invoice_settings"]["default_payment_method"] is None

    def _enter(self, schedule: Obj, phase: Obj) -> None:
        subscription = self._books.store.get("subscription", schedule["subscription"])
        moment: int = phase["start_date"]
        if period_of(subscription).end == moment and subscription["status"] != "trialing":
            items = self._items_for(subscription, phase)
            self._subscriptions.changes.switch_at_boundary(subscription, items, moment)
        else:
            self._take_items(subscription, phase, phase["proration_behavior"])
        if phase["metadata"]:
            self._subscriptions.update(subscription, {"metadata": phase["metadata"]})
        with self._books.changing(schedule, "subscription_schedule.updated"):
            schedule["current_phase"] = {"start_date": moment, "end_date": phase["end_date"]}

    def _take_items(self, subscription: Obj, phase: Obj, proration_behavior: str) -> None:
        items = self._items_for(subscription, phase)
        if _plain(items) != _plain(items_of(subscription)):
            self._subscriptions.update(
                subscription, {"_items": items, "proration_behavior": proration_behavior}
            )

    def _items_for(self, subscription: Obj, phase: Obj) -> list[Obj]:
        """The subscription's items as a phase wants them: those with the same price stay, others take over
        the places of those that go.
        """
        free = [copy_of(item) for item in items_of(subscription)]
        items: list[Obj] = []
        for wish in phase["items"]:
            price = self._books.store.get("price", wish["price"])
            same = [item for item in free if item["price"]["id"] == price["id"]]
            taken = [item["price"] for item in phase["items"]]
            replaceable = same or [item for item in free if item["price"]["id"] not in taken]
            if replaceable:
                free.remove(replaceable[0])
                item = with_price(replaceable[0], price)
            else:
                item = item_object(
                    subscription["id"],
                    price,
                    1,
                    {},
                    period_of(subscription),
                    self._books.now_for(subscription),
                )
            items.append({**item, "quantity": wish["quantity"]})
        return items

    def _let_go(self, subscription_id: str) -> Obj:
        subscription = self._books.store.get("subscription", subscription_id)
        with self._books.changing(subscription, "customer.subscription.updated"):
            subscription["schedule"] = None
        return subscription

    def _finish(self, schedule: Obj, status: str, event: str) -> None:
        with self._books.changing(schedule, None):
            schedule["status"] = status
            schedule[f"{status}_at"] = self._books.now_for(schedule)
            schedule["current_phase"] = None
        self._books.tell(event, schedule)

    def _subscription_ended(self, subscription: Obj, schedule_id: str) -> None:
        schedule = self._books.store.get("subscription_schedule", schedule_id)
        if schedule["status"] not in _OVER:
            unpaid = subscription["cancellation_details"]["reason"] == "payment_failed"
            self._finish(schedule, "canceled", f"subscription_schedule.{'aborted' if unpaid else 'canceled'}")

    def _require_running(self, schedule: Obj) -> None:
        if schedule["status"] in _OVER:
            raise invalid(
                f"This schedule is {schedule['status']}; only one that is not started or active can be "
                "changed.",
                param="id",
            )


def _checked_end(behavior: str) -> str:
    """`none` and `renew` are old names that new schedules no longer take."""
    if behavior not in {"cancel", "release"}:
        raise invalid("Invalid end_behavior: must be one of cancel or release", param="end_behavior")
    return behavior


def _plain(items: list[Obj]) -> list[tuple[str, str, int]]:
    return [(item["id"], item["price"]["id"], item["quantity"]) for item in items]
