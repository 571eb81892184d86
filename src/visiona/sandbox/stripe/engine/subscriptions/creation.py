"""New subscriptions."""

from typing import Any, Final

from visiona.sandbox.stripe.engine.calendar import DAY_S
from visiona.sandbox.stripe.engine.collection import refuse
from visiona.sandbox.stripe.engine.lines import Line
from visiona.sandbox.stripe.engine.money import price_amount
from visiona.sandbox.stripe.engine.payments import Purpose
from visiona.sandbox.stripe.engine.subscriptions.endings import Endings
from visiona.sandbox.stripe.engine.subscriptions.objects import (
    Span,
    item_object,
    new_subscription,
    period_from,
    period_of,
    require_one_rhythm,
)
from visiona.sandbox.stripe.engine.subscriptions.parts import Parts
from visiona.sandbox.stripe.errors import invalid
from visiona.sandbox.stripe.ids import new_id
from visiona.sandbox.stripe.params import exclusive, merge_metadata
from visiona.sandbox.stripe.store import Obj

_LONGEST_TRIAL_S: Final = 730 * DAY_S
_PLAIN: Final = ("collection_method", "days_until_due", "description")


class Creation:
    def __init__(self, parts: Parts, endings: Endings) -> None:
        self._parts = parts
        self._endings = endings

    def create(self, params: Obj) -> Obj:
        """As the API does it. Raises a `StripeError`: 400 for what does not fit together, 402 where
        `error_if_incomplete` finds that the first payment would fail.
        """
        parts = self._parts
        subscription, customer = self.draw_up(params)
        waits = params.get("payment_behavior") == "default_incomplete"
        extras = self.extra_lines(subscription, params)
        costs = self._first_amount(subscription, customer, extras)
        if subscription["collection_method"] == "charge_automatically" and costs > 0 and not waits:
            self._require_card(subscription, customer, costs, params)
        parts.books.add(subscription)
        for line in extras:
            parts.invoices.add_item(line, customer)
        invoice = parts.billing.first_invoice(subscription)
        with parts.books.changing(subscription, None):
            subscription["latest_invoice"] = invoice["id"]
            if costs <= 0 and parts.methods.default_for(customer, subscription) is None:
                subscription["pending_setup_intent"] = parts.setups.open(customer)["id"]
        if waits:
            self._tell(subscription)
            parts.invoices.finalize(invoice)
        else:
            parts.collection.advance(invoice)
            self._tell(subscription)
        return subscription

    def extra_lines(self, subscription: Obj, params: Obj) -> list[Line]:
        """One-off prices that come with the subscription's next invoice."""
        parts = self._parts
        period = period_of(subscription)
        lines: list[Line] = []
        for index, wish in enumerate(params.get("add_invoice_items", [])):
            price = parts.prices.chosen(wish, path=f"add_invoice_items[{index}]", recurring=False)
            line = Line(
                amount=price_amount(price, wish.get("quantity", 1)),
                currency=price["currency"],
                description=parts.prices.name(price),
                start=period.start,
                end=period.end,
                price=price,
                quantity=wish.get("quantity", 1),
                subscription=subscription["id"],
                metadata=merge_metadata({}, wish.get("metadata", {})),
            )
            lines.append(line)
        return lines

    def draw_up(self, params: Obj) -> tuple[Obj, Obj]:
        """The subscription as asked for, not yet kept, and its customer."""
        if "customer" not in params:
            raise invalid("Missing required param: customer.", param="customer", code="parameter_missing")
        customer = self._parts.books.customer(params["customer"])
        prices = self._prices(params)
        now = self._parts.books.now_for(customer)
        trial_end = _trial_end(params, prices, now)
        anchor = _anchor(params, trial_end, prices[0], now)
        end = trial_end or anchor
        period = Span(now, end) if end > now else period_from(now, prices[0], now)
        id_ = new_id("sub")
        items = [
            item_object(
                id_,
                price,
                wish.get("quantity", 1),
                merge_metadata({}, wish.get("metadata", {})),
                period,
                now,
            )
            for price, wish in zip(prices, params["items"], strict=True)
        ]
        subscription = new_subscription(id_, customer, items, now)
        subscription["billing_cycle_anchor"] = anchor
        self._fill_in(subscription, customer, params)
        if trial_end is not None:
            subscription |= {"status": "trialing", "trial_start": now, "trial_end": trial_end}
        elif subscription["collection_method"] == "send_invoice":
            subscription["status"] = "active"
        elif anchor > now and params.get("proration_behavior") == "none":
            subscription["_free_start"] = True
        self._endings.plan(subscription, params)
        return subscription, customer

    def _prices(self, params: Obj) -> list[Obj]:
        wishes: list[Obj] = params.get("items") or []
        if not wishes:
            raise invalid("Missing required param: items.", param="items", code="parameter_missing")
        chosen = self._parts.prices.chosen
        prices = [chosen(wish, path=f"items[{index}]") for index, wish in enumerate(wishes)]
        require_one_rhythm(prices)
        if params.get("currency") not in {None, prices[0]["currency"]}:
            raise invalid("The price specified does not support the given currency.", param="currency")
        return prices

    def _fill_in(self, subscription: Obj, customer: Obj, params: Obj) -> None:
        for name in _PLAIN:
            subscription[name] = params.get(name, subscription[name])
        subscription["metadata"] = merge_metadata({}, params.get("metadata", {}))
        if params.get("default_payment_method") is not None:
            method = self._parts.methods.of_customer(
                params["default_payment_method"], customer, param="default_payment_method"
            )
            subscription["default_payment_method"] = method["id"]
        if "billing_mode" in params and params["billing_mode"]["type"] == "classic":
            subscription["billing_mode"] = {"flexible": None, "type": "classic"}
        if "trial_settings" in params:
            subscription["trial_settings"]["end_behavior"] |= params["trial_settings"]["end_behavior"]
        subscription["payment_settings"] |= params.get("payment_settings", {})
        require_due_days_fit(subscription)
        sends = subscription["collection_method"] == "send_invoice"
        if sends and subscription["days_until_due"] is None:
            raise invalid(
                "When creating subscriptions with `collection_method` set to `send_invoice`, you must "
                "specify `days_until_due`.",
                param="days_until_due",
            )

    def _first_amount(self, subscription: Obj, customer: Obj, extras: list[Line]) -> int:
        """What the first invoice will ask for."""
        pending = self._parts.invoices.pending_items(customer["id"], subscription["id"])
        lines = extras + self._parts.billing.first_lines(subscription)
        amounts = [item["amount"] for item in pending] + [line.amount for line in lines]
        return customer["balance"] + sum(amounts)

    def _require_card(self, subscription: Obj, customer: Obj, costs: int, params: Obj) -> None:
        """Raise a `StripeError` unless there is a card; with `error_if_incomplete`, one that will pay.

        A first payment that would fail then is tried on its own: a failed payment is what remains of it.
        """
        parts = self._parts
        method = parts.methods.default_for(customer, subscription)
        if method is None:
            raise invalid(
                "This customer has no attached payment source or default payment method. Please consider "
                "adding a default payment method. For more information, visit "
                "https://stripe.com/docs/billing/subscriptions/payment-methods-setting"
                "#payment-method-priority.",
                code="resource_missing",
            )
        strict = params.get("payment_behavior") == "error_if_incomplete"
        if not strict or parts.payments.forecast(method).status == "succeeded":
            return
        intent = parts.payments.open(
            Purpose(
                amount=costs,
                currency=subscription["currency"],
                customer=customer["id"],
                test_clock=customer["test_clock"],
                description="Subscription creation",
                setup_future_usage="off_session",
            )
        )
        refuse(parts.payments.confirm(intent, method), intent)

    def _tell(self, subscription: Obj) -> None:
        books = self._parts.books
        subscription["_new"] = False
        soon = books.now_for(subscription) + books.settings.trial_reminder_days * DAY_S
        late = subscription["trial_end"] is not None and subscription["trial_end"] <= soon
        subscription["_reminded"] = late
        books.keep(subscription)
        books.tell("customer.subscription.created", subscription)
        if late:
            books.tell("customer.subscription.trial_will_end", subscription)


def _trial_end(params: Obj, prices: list[Obj], now: int) -> int | None:
    exclusive(params, "trial_end", "trial_period_days")
    if params.get("trial_from_plan") and "trial_end" in params:
        raise invalid("You cannot set `trial_from_plan` together with `trial_end`.", param="trial_from_plan")
    given: Any = params.get("trial_end")
    days: int | None = params.get("trial_period_days")
    if given == "now":
        return None
    if given is None and days is None and params.get("trial_from_plan"):
        days = max(price["recurring"].get("trial_period_days") or 0 for price in prices)
    if given is None:
        return now + days * DAY_S if days else None
    require_trial_end(given, now)
    return given


def require_due_days_fit(subscription: Obj) -> None:
    """Raise a `StripeError` where days are given to pay an invoice that is charged anyway."""
    if subscription["days_until_due"] is not None and subscription["collection_method"] != "send_invoice":
        raise invalid(
            "You can only set `days_until_due` if `collection_method` is `send_invoice`.",
            param="days_until_due",
        )


def require_trial_end(moment: int, now: int) -> None:
    """Raise a `StripeError` unless a trial may end then."""
    if moment <= now:
        raise invalid(
            "Invalid timestamp: must be an integer Unix timestamp in the future.", param="trial_end"
        )
    if moment > now + _LONGEST_TRIAL_S:
        raise invalid("Invalid timestamp: can be no more than two years in the future.", param="trial_end")


def _anchor(params: Obj, trial_end: int | None, price: Obj, now: int) -> int:
    given: int | None = params.get("billing_cycle_anchor")
    start = trial_end or now
    if given is None:
        return start
    if given < start:
        raise invalid(
            "billing_cycle_anchor cannot be in the past, nor before the end of the trial.",
            param="billing_cycle_anchor",
        )
    if given > period_from(start, price, start).end:
        raise invalid(
            "billing_cycle_anchor cannot be later than next natural billing date",
            param="billing_cycle_anchor",
        )
    return given
