"""The customer portal: what a person does on its pages."""

from typing import Any, Final

from visiona.sandbox.stripe.engine.books import Books
from visiona.sandbox.stripe.engine.calendar import typical_days
from visiona.sandbox.stripe.engine.hosted_invoice import (
    HostedInvoices,
    card_view,
    is_payable,
    require_invoice_of,
)
from visiona.sandbox.stripe.engine.money import price_amount
from visiona.sandbox.stripe.engine.outcomes import (
    Applied,
    Card,
    ChallengeRequired,
    Declined,
    Paid,
    Scheduled,
)
from visiona.sandbox.stripe.engine.payment_methods import PaymentMethods
from visiona.sandbox.stripe.engine.payments import Attempt, Payments, Purpose
from visiona.sandbox.stripe.engine.portal_objects import PortalObjects
from visiona.sandbox.stripe.engine.prices import Prices
from visiona.sandbox.stripe.engine.schedules import Schedules
from visiona.sandbox.stripe.engine.settings import HOUR_S
from visiona.sandbox.stripe.engine.setups import Setups
from visiona.sandbox.stripe.engine.subscriptions import Subscriptions
from visiona.sandbox.stripe.engine.subscriptions.objects import ENDED, is_flexible, items_of, period_of
from visiona.sandbox.stripe.engine.views import (
    ChangePreview,
    FlowView,
    InvoiceView,
    PortalView,
    PreviewLine,
    PriceView,
    ScheduledChangeView,
    SubscriptionView,
)
from visiona.sandbox.stripe.errors import invalid, missing
from visiona.sandbox.stripe.store import Obj

_UNUSED_FOR_S: Final = 5 * 60
_IDLE_FOR_S: Final = HOUR_S
_SEEN_EVERY_S: Final = 60
_SHOWN_INVOICES: Final = 12


class Portal:
    """Every method takes the id of a portal session; an unknown or too old one is a `StripeError`."""

    def __init__(
        self,
        books: Books,
        methods: PaymentMethods,
        payments: Payments,
        setups: Setups,
        prices: Prices,
        subscriptions: Subscriptions,
        schedules: Schedules,
        hosted: HostedInvoices,
    ) -> None:
        self._books = books
        self._methods = methods
        self._payments = payments
        self._setups = setups
        self._prices = prices
        self._subscriptions = subscriptions
        self._schedules = schedules
        self._hosted = hosted
        self.objects = PortalObjects(books, prices)

    def view(self, session_id: str) -> PortalView:
        session = self._session(session_id)
        configuration = self._configuration(session)
        customer = self._books.customer(session["customer"])
        subscription = self._find_subscription(session)
        features = configuration["features"]
        updates, cancels = features["subscription_update"], features["subscription_cancel"]
        changes = updates["enabled"] and "price" in updates["default_allowed_updates"]
        method = self._methods.default_for(customer, subscription)
        shows = features["invoice_history"]["enabled"]
        return PortalView(
            session_id=session_id,
            merchant=self._books.settings.merchant,
            headline=configuration["business_profile"]["headline"],
            customer_id=customer["id"],
            customer_email=customer["email"],
            customer_name=customer["name"],
            subscription=self._subscription_view(subscription) if subscription is not None else None,
            prices=self._offers(configuration, subscription) if changes else (),
            card=card_view(method) if method is not None else None,
            invoices=self._invoices(customer["id"]) if shows else (),
            return_url=session["return_url"],
            flow=self._flow_view(session),
            locale=session["locale"],
            can_change_price=changes and subscription is not None and subscription["cancel_at"] is None,
            can_cancel=cancels["enabled"] and subscription is not None,
            cancels_at_period_end=cancels["mode"] == "at_period_end",
            can_change_card=features["payment_method_update"]["enabled"],
            shows_invoices=shows,
            challenge=session["_challenge"] is not None,
        )

    def preview_change(self, session_id: str, price_id: str) -> ChangePreview:
        session = self._session(session_id)
        subscription, price = self._change(session, price_id)
        quantity: int = items_of(subscription)[0]["quantity"]
        if self._waits_for_period_end(session, subscription, price):
            end = period_of(subscription).end
            amount = price_amount(price, quantity)
            return ChangePreview(
                self._price_view(price), end, 0, 0, price["currency"], (), next_amount=amount, next_at=end
            )
        params = self._change_params(session, subscription, price)
        plan = self._subscriptions.changes.plan(subscription, params)
        total = self._subscriptions.changes.due_now(subscription, plan, params)
        change = plan.change
        lines = change.prorations + change.full if change is not None else []
        upcoming = self._subscriptions.previews.preview(
            subscription, {**params, "proration_behavior": "create_prorations"}
        )
        begins = change is not None and change.begins
        at_once = begins or params["proration_behavior"] == "always_invoice"
        return ChangePreview(
            price=self._price_view(price),
            applies_at=None,
            due_now=max(0, total),
            credit=max(0, -total),
            currency=price["currency"],
            lines=tuple(PreviewLine(line.description or "", line.amount) for line in lines),
            next_amount=price_amount(price, quantity) if at_once else upcoming["amount_due"],
            next_at=change.period.end if change is not None else period_of(subscription).end,
        )

    def change_price(
        self, session_id: str, price_id: str
    ) -> Paid | Applied | Scheduled | Declined | ChallengeRequired:
        """A payment that fails or asks for a challenge leaves the subscription as it was."""
        session = self._session(session_id)
        subscription, price = self._change(session, price_id)
        if self._waits_for_period_end(session, subscription, price):
            return self._schedule_change(session, subscription, price)
        return self._change_now(session, subscription, price, authenticated=False)

    def cancel(self, session_id: str) -> Applied | Scheduled:
        """`Scheduled` where the configuration cancels at the period's end."""
        session = self._session(session_id)
        feature = self._feature(session, "subscription_cancel")
        subscription = self._subscription(session)
        self._drop_schedule(subscription)
        if feature["mode"] == "immediately":
            prorates = feature["proration_behavior"] != "none"
            self._subscriptions.cancel(subscription, {"prorate": prorates, "invoice_now": prorates})
            return Applied(self._done(session, "subscription_cancel"))
        # With flexible billing the portal sets a date; the flag `cancel_at_period_end` stays false.
        params: Obj = (
            {"cancel_at": "min_period_end"} if is_flexible(subscription) else {"cancel_at_period_end": True}
        )
        self._subscriptions.update(subscription, params)
        return Scheduled(subscription["cancel_at"], self._done(session, "subscription_cancel"))

    def resume(self, session_id: str) -> Applied:
        """Take a requested cancellation back."""
        session = self._session(session_id)
        self._feature(session, "subscription_cancel")
        subscription = self._subscription(session)
        if subscription["cancel_at"] is None:
            raise invalid("This subscription is not set to be canceled.", param="subscription")
        self._subscriptions.update(subscription, {"cancel_at": None})
        return Applied()

    def undo_scheduled_change(self, session_id: str) -> Applied:
        session = self._session(session_id)
        self._feature(session, "subscription_update")
        subscription = self._subscription(session)
        if self._schedules.next_phase(subscription) is None:
            raise invalid("This subscription has no change ahead of it.", param="subscription")
        self._drop_schedule(subscription)
        return Applied()

    def set_card(self, session_id: str, card: Card) -> Applied | Declined | ChallengeRequired:
        session = self._session(session_id)
        self._feature(session, "payment_method_update")
        mistake = self._methods.mistake_in(card)
        if mistake is not None:
            return mistake.for_page()
        customer = self._books.customer(session["customer"])
        method = self._methods.create(card, {"email": customer["email"]})
        setup = self._setups.open(customer)
        return self._card_set(session, setup, self._setups.confirm(setup, method))

    def pay_invoice(self, session_id: str, invoice_id: str) -> Paid | Declined | ChallengeRequired:
        session = self._session(session_id)
        invoice = self._books.store.get("invoice", invoice_id)
        require_invoice_of(invoice, session["customer"])
        outcome = self._hosted.pay(invoice_id)
        if isinstance(outcome, ChallengeRequired):
            self._ask(session, {"action": "pay_invoice", "invoice": invoice_id})
        return outcome

    def answer_challenge(self, session_id: str, *, approve: bool) -> Paid | Applied | Declined:
        """The person's answer to whatever `change_price`, `set_card` or `pay_invoice` asked for."""
        session = self._session(session_id)
        asked: Obj | None = session["_challenge"]
        if asked is None:
            raise invalid("Nobody was asked anything in this portal session.", param="session")
        session["_challenge"] = None
        self._books.keep(session)
        if asked["action"] == "pay_invoice":
            return self._hosted.answer_challenge(asked["invoice"], approve=approve)
        if asked["action"] == "set_card":
            setup = self._books.store.get("setup_intent", asked["setup"])
            outcome: Any = self._card_set(
                session, setup, self._setups.answer_challenge(setup, approve=approve)
            )
            return outcome
        return self._answered_change(session, asked, approve=approve)

    # Changing the price

    def _change(self, session: Obj, price_id: str) -> tuple[Obj, Obj]:
        """The subscription and the price, if the one may change to the other."""
        feature = self._feature(session, "subscription_update")
        subscription = self._subscription(session)
        allowed = self.objects.allowed_prices(self._configuration(session))
        if "price" not in feature["default_allowed_updates"] or price_id not in allowed:
            raise invalid(
                f"The portal configuration does not let a subscription change to the price {price_id}.",
                param="price",
            )
        items = items_of(subscription)
        if len(items) != 1 or items[0]["price"]["id"] == price_id or subscription["cancel_at"] is not None:
            raise invalid("This subscription cannot be changed to this price.", param="price")
        return subscription, self._prices.chosen({"price": price_id}, path="items[0]")

    def _waits_for_period_end(self, session: Obj, subscription: Obj, price: Obj) -> bool:
        feature = self._feature(session, "subscription_update")
        conditions = {condition["type"] for condition in feature["schedule_at_period_end"]["conditions"]}
        item = items_of(subscription)[0]
        old, quantity = item["price"], item["quantity"]
        cheaper = price_amount(price, quantity) < price_amount(old, quantity)
        shorter = typical_days(price["recurring"]) < typical_days(old["recurring"])
        return ("decreasing_item_amount" in conditions and cheaper and not _longer(price, old)) or (
            "shortening_interval" in conditions and shorter
        )

    def _change_params(self, session: Obj, subscription: Obj, price: Obj) -> Obj:
        feature = self._feature(session, "subscription_update")
        item = items_of(subscription)[0]
        params: Obj = {
            "items": [{"id": item["id"], "price": price["id"], "quantity": item["quantity"]}],
            "proration_behavior": feature["proration_behavior"],
        }
        if feature["billing_cycle_anchor"] == "now":
            params["billing_cycle_anchor"] = {"type": "now"}
        if subscription["status"] == "trialing" and feature["trial_update_behavior"] == "end_trial":
            params["trial_end"] = "now"
        return params

    def _schedule_change(self, session: Obj, subscription: Obj, price: Obj) -> Scheduled:
        self._drop_schedule(subscription)
        schedule = self._schedules.create({"from_subscription": subscription["id"]})
        current = schedule["phases"][0]
        quantity = current["items"][0]["quantity"]
        self._schedules.update(
            schedule,
            {
                "end_behavior": "release",
                "phases": [
                    {
                        "items": current["items"],
                        "start_date": current["start_date"],
                        "end_date": current["end_date"],
                        "proration_behavior": "none",
                    },
                    {"items": [{"price": price["id"], "quantity": quantity}], "proration_behavior": "none"},
                ],
            },
        )
        return Scheduled(current["end_date"], self._done(session, "subscription_update"))

    def _change_now(
        self, session: Obj, subscription: Obj, price: Obj, *, authenticated: bool
    ) -> Paid | Applied | Declined | ChallengeRequired:
        params = self._change_params(session, subscription, price)
        changes = self._subscriptions.changes
        plan = changes.plan(subscription, params)
        due = changes.due_now(subscription, plan, params)
        forecast = changes.forecast(subscription, plan, params, authenticated=authenticated)
        if forecast is not None and forecast.status == "requires_action":
            self._ask(session, {"action": "change_price", "price": price["id"]})
            return ChallengeRequired()
        if forecast is not None and forecast.decline is not None:
            self._show_refusal(subscription, due, approve=True)
            return forecast.decline.for_page()
        self._drop_schedule(subscription)
        self._subscriptions.update(subscription, params, authenticated=authenticated)
        redirect = self._done(session, "subscription_update")
        return Paid(redirect) if due > 0 else Applied(redirect)

    def _answered_change(self, session: Obj, asked: Obj, *, approve: bool) -> Paid | Applied | Declined:
        subscription, price = self._change(session, asked["price"])
        if approve:
            outcome: Any = self._change_now(session, subscription, price, authenticated=True)
            return outcome
        params = self._change_params(session, subscription, price)
        plan = self._subscriptions.changes.plan(subscription, params)
        due = self._subscriptions.changes.due_now(subscription, plan, params)
        attempt = self._show_refusal(subscription, due, approve=False)
        if attempt.decline is None:
            raise TypeError("a refusal has a reason")
        return attempt.decline.for_page()

    def _show_refusal(self, subscription: Obj, amount: int, *, approve: bool) -> Attempt:
        """Let a payment that failed be seen, although nothing came of it."""
        customer = self._books.customer(subscription["customer"])
        method = self._methods.default_for(customer, subscription)
        if method is None:
            raise invalid("There is no card to pay with.", param="payment_method")
        intent = self._payments.open(
            Purpose(
                amount=amount,
                currency=subscription["currency"],
                customer=customer["id"],
                test_clock=customer["test_clock"],
                description="Subscription update",
            )
        )
        attempt = self._payments.confirm(intent, method)
        if attempt.status == "requires_action":
            attempt = self._payments.answer_challenge(intent, approve=approve)
        return attempt

    def _drop_schedule(self, subscription: Obj) -> None:
        if subscription["schedule"] is not None:
            self._schedules.release(self._books.store.get("subscription_schedule", subscription["schedule"]))

    # The card

    def _card_set(self, session: Obj, setup: Obj, attempt: Attempt) -> Applied | Declined | ChallengeRequired:
        if attempt.status == "requires_action":
            self._ask(session, {"action": "set_card", "setup": setup["id"]})
            return ChallengeRequired()
        if attempt.decline is not None:
            return attempt.decline.for_page()
        method_id: str = setup["payment_method"]
        customer = self._books.customer(session["customer"])
        with self._books.changing(customer, "customer.updated"):
            customer["invoice_settings"]["default_payment_method"] = method_id
        for subscription in self._books.where("subscription", "customer", customer["id"]):
            if subscription["status"] not in ENDED and subscription["default_payment_method"] is not None:
                with self._books.changing(subscription, "customer.subscription.updated"):
                    subscription["default_payment_method"] = method_id
        return Applied(self._done(session, "payment_method_update"))

    # Sessions

    def _session(self, session_id: str) -> Obj:
        session = self._books.store.get("billing_portal.session", session_id)
        now = self._books.now()
        seen: int | None = session["_seen_at"]
        over = session["created"] + _UNUSED_FOR_S if seen is None else seen + _IDLE_FOR_S
        if now > over:
            raise missing("billing_portal.session", session_id)
        if seen is None or now - seen >= _SEEN_EVERY_S:
            session["_seen_at"] = now
            self._books.keep(session)
        return session

    def _configuration(self, session: Obj) -> Obj:
        return self._books.store.get("billing_portal.configuration", session["configuration"])

    def _feature(self, session: Obj, name: str) -> Obj:
        feature: Obj = self._configuration(session)["features"][name]
        if not feature["enabled"]:
            raise invalid(f"The portal configuration does not allow {name}.", param="configuration")
        return feature

    def _find_subscription(self, session: Obj) -> Obj | None:
        """The one that the flow is about, else the newest that has not ended."""
        flow: Obj | None = session["flow"]
        details: Obj | None = flow.get(flow["type"]) if flow is not None else None
        if details is not None and "subscription" in details:
            return self._books.store.get("subscription", details["subscription"])
        running = [
            subscription
            for subscription in self._books.where("subscription", "customer", session["customer"])
            if subscription["status"] not in ENDED | {"incomplete"}
        ]
        return running[-1] if running else None

    def _subscription(self, session: Obj) -> Obj:
        subscription = self._find_subscription(session)
        if subscription is None or subscription["status"] in ENDED:
            raise invalid("There is no subscription that could be changed.", param="subscription")
        return subscription

    def _ask(self, session: Obj, question: Obj) -> None:
        session["_challenge"] = question
        self._books.keep(session)

    def _done(self, session: Obj, task: str) -> str | None:
        """Where to go after `task`, if the session is a link into that task."""
        flow: Obj | None = session["flow"]
        if flow is None or not str(flow["type"]).startswith(task):
            return None
        session["_flow_done"] = True
        self._books.keep(session)
        return _redirect_of(flow)

    # Views

    def _flow_view(self, session: Obj) -> FlowView | None:
        flow: Obj | None = session["flow"]
        if flow is None:
            return None
        details: Obj = flow.get(flow["type"], {})
        items: list[Obj] = details.get("items", [])
        return FlowView(
            type=flow["type"],
            subscription_id=details.get("subscription"),
            price_id=items[0].get("price") if items else None,
            redirect_url=_redirect_of(flow),
            completed=session["_flow_done"],
        )

    def _subscription_view(self, subscription: Obj) -> SubscriptionView:
        item = items_of(subscription)[0]
        period = period_of(subscription)
        phase = self._schedules.next_phase(subscription)
        scheduled = None
        if phase is not None:
            price = self._books.store.get("price", phase["items"][0]["price"])
            scheduled = ScheduledChangeView(self._price_view(price), phase["start_date"])
        return SubscriptionView(
            id=subscription["id"],
            item_id=item["id"],
            price=self._price_view(item["price"]),
            quantity=item["quantity"],
            status=subscription["status"],
            current_period_start=period.start,
            current_period_end=period.end,
            cancel_at_period_end=subscription["cancel_at_period_end"],
            ends_at=subscription["cancel_at"],
            trial_end=subscription["trial_end"],
            scheduled=scheduled,
        )

    def _offers(self, configuration: Obj, subscription: Obj | None) -> tuple[PriceView, ...]:
        own = items_of(subscription)[0]["price"] if subscription is not None else None
        prices = [self._books.store.get("price", id_) for id_ in self.objects.allowed_prices(configuration)]
        return tuple(
            self._price_view(price)
            for price in prices
            if price["active"]
            and own is not None
            and price["id"] != own["id"]
            and price["currency"] == own["currency"]
        )

    def _price_view(self, price: Obj) -> PriceView:
        product = self._prices.product_of(price)
        return PriceView(
            id=price["id"],
            name=product["name"],
            description=product["description"],
            amount=price_amount(price, 1),
            currency=price["currency"],
            interval=price["recurring"]["interval"],
            interval_count=price["recurring"]["interval_count"],
        )

    def _invoices(self, customer_id: str) -> tuple[InvoiceView, ...]:
        """Newest first; drafts are not shown."""
        shown = [
            invoice
            for invoice in reversed(self._books.where("invoice", "customer", customer_id))
            if invoice["status"] != "draft"
        ]
        return tuple(
            InvoiceView(
                id=invoice["id"],
                number=invoice["number"],
                status=invoice["status"],
                amount=invoice["total"],
                currency=invoice["currency"],
                created=invoice["created"],
                hosted_invoice_url=invoice["hosted_invoice_url"],
                invoice_pdf=invoice["invoice_pdf"],
                payable=is_payable(invoice),
            )
            for invoice in shown[:_SHOWN_INVOICES]
        )


def _redirect_of(flow: Obj) -> str | None:
    redirect: Obj | None = flow["after_completion"]["redirect"]
    return redirect["return_url"] if redirect is not None else None


def _longer(price: Obj, old: Obj) -> bool:
    return typical_days(price["recurring"]) > typical_days(old["recurring"])
