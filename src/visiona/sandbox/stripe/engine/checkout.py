"""Checkout sessions: made over the API, paid on the hosted page."""

import re
from typing import Any, Final

from visiona.sandbox.stripe.engine.books import Books
from visiona.sandbox.stripe.engine.calendar import DAY_S
from visiona.sandbox.stripe.engine.checkout_object import customer_details, line_item_object, session_object
from visiona.sandbox.stripe.engine.collection import Collection
from visiona.sandbox.stripe.engine.customers import new_customer
from visiona.sandbox.stripe.engine.money import price_amount
from visiona.sandbox.stripe.engine.outcomes import Card, ChallengeRequired, Declined, Paid
from visiona.sandbox.stripe.engine.payment_methods import PaymentMethods, behaviour
from visiona.sandbox.stripe.engine.payments import Attempt, Payments, Purpose
from visiona.sandbox.stripe.engine.prices import Prices
from visiona.sandbox.stripe.engine.settings import HOUR_S
from visiona.sandbox.stripe.engine.setups import Setups
from visiona.sandbox.stripe.engine.subscriptions import Subscriptions
from visiona.sandbox.stripe.engine.subscriptions.objects import require_one_rhythm
from visiona.sandbox.stripe.engine.views import CheckoutView
from visiona.sandbox.stripe.errors import invalid
from visiona.sandbox.stripe.ids import new_id
from visiona.sandbox.stripe.params import exclusive, merge_metadata
from visiona.sandbox.stripe.store import Obj

_SHORTEST_S: Final = 30 * 60
_LONGEST_S: Final = 24 * HOUR_S
_EARLIEST_TRIAL_END_S: Final = 48 * HOUR_S
_URL: Final = re.compile(r"https?://[^\s/]+(/\S*)?")
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_MODES_OF: Final = {
    "customer_creation": ("payment", "setup"),
    "payment_intent_data": ("payment",),
    "payment_method_collection": ("subscription",),
    "setup_intent_data": ("setup",),
    "submit_type": ("payment", "subscription"),
    "subscription_data": ("subscription",),
}
_MOST_OF_A_KIND: Final = 20


class Checkout:
    """A session that is complete or expired refuses `pay` and `answer_challenge` with a `StripeError`."""

    def __init__(
        self,
        books: Books,
        methods: PaymentMethods,
        payments: Payments,
        setups: Setups,
        prices: Prices,
        collection: Collection,
        subscriptions: Subscriptions,
    ) -> None:
        self._books = books
        self._methods = methods
        self._payments = payments
        self._setups = setups
        self._prices = prices
        self._collection = collection
        self._subscriptions = subscriptions

    def create(self, params: Obj) -> Obj:
        """As the API does it. Raises a `StripeError` 400 for what does not fit together."""
        now = self._books.now()
        self._check(params, now)
        items = [self._line_item(wish, index) for index, wish in enumerate(params.get("line_items") or [])]
        self._check_items(params["mode"], items)
        currency = items[0]["currency"] if items else params.get("currency")
        self._check_customer(params, currency)
        id_ = new_id("cs")
        given = {
            "expires_at": now + _LONGEST_S,
            **params,
            "metadata": merge_metadata({}, params.get("metadata", {})),
        }
        session = session_object(id_, given, items, due=_due_today(given, items), currency=currency, now=now)
        session["url"] = self._books.links.checkout(id_)
        return self._books.add(session)

    def expire(self, session: Obj) -> Obj:
        if session["status"] != "open":
            raise invalid(
                'Only Checkout Sessions with a status in ["open"] can be expired. This Checkout Session has '
                f"a status of {session['status']}",
                param="session",
            )
        with self._books.changing(session, None):
            session |= {"status": "expired", "url": None, "_challenge": None}
        self._books.tell("checkout.session.expired", session)
        return session

    def due(self, session: Obj) -> int | None:
        return session["expires_at"] if session["status"] == "open" else None

    def step(self, session: Obj) -> None:
        self.expire(session)

    def view(self, session_id: str) -> CheckoutView:
        """Raises a `StripeError` with status 404 where there is no such session."""
        session = self._books.store.get("checkout.session", session_id)
        items: list[Obj] = session["_line_items"]["data"]
        recurring = [item for item in items if item["price"]["recurring"] is not None]
        rhythm: Obj | None = recurring[0]["price"]["recurring"] if recurring else None
        customer = self._customer_of(session)
        product = self._prices.product_of(items[0]["price"]) if items else None
        return CheckoutView(
            session_id=session_id,
            merchant=self._books.settings.merchant,
            product=", ".join(item["description"] for item in items) or "A payment method for later",
            description=product["description"] if product is not None else None,
            amount=session["amount_total"] or 0,
            recurring_amount=sum(item["amount_total"] for item in recurring),
            currency=session["currency"] or "usd",
            interval=rhythm["interval"] if rhythm is not None else None,
            interval_count=rhythm["interval_count"] if rhythm is not None else None,
            trial_days=_trial_days(session["_wishes"].get("subscription_data", {}), self._books.now()),
            email=customer["email"] if customer is not None else session["customer_email"],
            status=session["status"],
            success_url=session["success_url"],
            cancel_url=session["cancel_url"],
            expires_at=session["expires_at"],
            challenge=session["_challenge"] is not None,
            locale=session["locale"],
        )

    def pay(
        self, session_id: str, card: Card, email: str | None = None
    ) -> Paid | Declined | ChallengeRequired:
        """`email` is what the person typed, where the session has none yet."""
        session = self._open(session_id)
        mistake = self._methods.mistake_in(card)
        if mistake is not None:
            return mistake.for_page()
        customer = self._customer_of(session)
        known: Any = customer["email"] if customer is not None else session["customer_email"]
        method = self._methods.create(card, {"email": known or email})
        return self._try(session, method, authenticated=False)

    def answer_challenge(self, session_id: str, *, approve: bool) -> Paid | Declined:
        """The person's answer on the bank's page."""
        session = self._open(session_id)
        if session["_challenge"] is None:
            raise invalid("Nobody was asked anything about this Checkout Session.", param="session")
        method = self._books.store.get("payment_method", session["_challenge"])
        session["_challenge"] = None
        self._books.keep(session)
        if not approve:
            return self._refused(session, method, approve=False)
        outcome = self._try(session, method, authenticated=True)
        if isinstance(outcome, ChallengeRequired):
            raise TypeError("an answered challenge is not asked again")
        return outcome

    def _try(self, session: Obj, method: Obj, *, authenticated: bool) -> Paid | Declined | ChallengeRequired:
        forecast = self._forecast(session, method, authenticated=authenticated)
        if forecast.status == "requires_action":
            session["_challenge"] = method["id"]
            self._books.keep(session)
            return ChallengeRequired()
        if forecast.decline is not None:
            return self._refused(session, method, approve=True)
        self._complete(session, method, authenticated=authenticated)
        success: str = session["success_url"] or ""
        return Paid(success.replace("{CHECKOUT_SESSION_ID}", session["id"]) or None)

    def _forecast(self, session: Obj, method: Obj, *, authenticated: bool) -> Attempt:
        if session["amount_total"]:
            return self._payments.forecast(method, authenticated=authenticated)
        how = behaviour(method)
        if how.challenge is not None and not authenticated:
            return Attempt("requires_action")
        return Attempt("succeeded") if how.saving is None else Attempt("failed", decline=how.saving)

    def _refused(self, session: Obj, method: Obj, *, approve: bool) -> Declined:
        """Let the attempt be seen: a payment, or a setup where nothing is due, that failed."""
        if session["amount_total"]:
            intent = self._intent(session)
            attempt = self._payments.confirm(intent, method)
            if attempt.status == "requires_action":
                attempt = self._payments.answer_challenge(intent, approve=approve)
        else:
            setup = self._setups.open(self._customer_of(session))
            attempt = self._setups.confirm(setup, method)
            if attempt.status == "requires_action":
                attempt = self._setups.answer_challenge(setup, approve=approve)
        if attempt.decline is None:
            raise TypeError("a refusal has a reason")
        return attempt.decline.for_page()

    def _intent(self, session: Obj) -> Obj:
        """The intent of attempts on this session; one that was refused is tried again."""
        if session["_intent"] is None:
            data: Obj = session["_wishes"].get("payment_intent_data", {})
            intent = self._payments.open(
                Purpose(
                    amount=session["amount_total"],
                    currency=session["currency"],
                    customer=session["customer"],
                    description=data.get("description"),
                    setup_future_usage=data.get("setup_future_usage"),
                    metadata=merge_metadata({}, data.get("metadata", {})),
                )
            )
            session["_intent"] = intent["id"]
            self._books.keep(session)
        return self._books.store.get("payment_intent", session["_intent"])

    def _complete(self, session: Obj, method: Obj, *, authenticated: bool) -> None:
        made: Obj = {}
        customer = self._customer_of(session)
        if customer is None and session["customer_creation"] == "always":
            details = method["billing_details"]
            customer = self._books.add(
                new_customer(self._books.now(), details["email"], details["name"]), "customer.created"
            )
        if session["mode"] == "subscription" and customer is not None:
            self._methods.attach(method, customer)
            made = self._subscribe(session, customer, method, authenticated=authenticated)
        elif session["mode"] == "payment":
            if customer is not None:
                session["customer"] = customer["id"]
            intent = self._intent(session)
            self._payments.confirm(intent, method, authenticated=authenticated)
            made = {"payment_intent": intent["id"], "payment_status": "paid"}
        elif session["mode"] == "setup":
            setup = self._setups.open(customer)
            self._setups.confirm(setup, method, authenticated=authenticated)
            made = {"setup_intent": setup["id"]}
        details = method["billing_details"]
        with self._books.changing(session, None):
            session |= made
            session |= {
                "status": "complete",
                "url": None,
                "customer": customer["id"] if customer is not None else None,
                "customer_details": customer_details(details["email"], details["name"]),
            }
        self._books.tell("checkout.session.completed", session)

    def _subscribe(self, session: Obj, customer: Obj, method: Obj, *, authenticated: bool) -> Obj:
        """The subscription first waits for its payment, then becomes active."""
        if authenticated:
            method["_set_up"] = True
            self._books.keep(method)
        data: Obj = session["_wishes"].get("subscription_data", {})
        items: list[Obj] = session["_line_items"]["data"]
        wishes = [{"_price": item["price"], "quantity": item["quantity"]} for item in items]
        subscription = self._subscriptions.create(
            {
                **data,
                "customer": customer["id"],
                "items": [wish for wish in wishes if wish["_price"]["recurring"] is not None],
                "add_invoice_items": [wish for wish in wishes if wish["_price"]["recurring"] is None],
                "default_payment_method": method["id"],
                "payment_behavior": "default_incomplete",
            }
        )
        invoice = self._books.store.get("invoice", subscription["latest_invoice"])
        owed: int = invoice["amount_due"]
        if invoice["status"] == "open":
            self._collection.attempt(invoice, method, by="person", authenticated=True)
        return {
            "subscription": subscription["id"],
            "invoice": invoice["id"],
            "payment_status": "paid" if owed else "no_payment_required",
        }

    def _open(self, session_id: str) -> Obj:
        session = self._books.store.get("checkout.session", session_id)
        if session["status"] == "open" and session["expires_at"] <= self._books.now():
            self.expire(session)
        if session["status"] == "complete":
            raise invalid("This Checkout Session has already been completed.", param="session")
        if session["status"] == "expired":
            raise invalid("This Checkout Session has expired.", param="session")
        return session

    def _customer_of(self, session: Obj) -> Obj | None:
        """Raises a `StripeError` for one that was deleted meanwhile."""
        id_ = session["customer"]
        return None if id_ is None else self._books.customer(id_)

    def _check(self, params: Obj, now: int) -> None:
        if "mode" not in params:
            raise invalid("Missing required param: mode.", param="mode", code="parameter_missing")
        if "success_url" not in params:
            raise invalid(
                "Missing required param: success_url.", param="success_url", code="parameter_missing"
            )
        exclusive(params, "customer", "customer_email")
        for name in ("success_url", "cancel_url"):
            if name in params and not _URL.fullmatch(params[name]):
                raise invalid("Not a valid URL", param=name, code="url_invalid")
        email = params.get("customer_email")
        if email is not None and not _EMAIL.fullmatch(email):
            raise invalid(f"Invalid email address: {email}", param="customer_email", code="email_invalid")
        if "customer_update" in params and "customer" not in params:
            raise invalid("`customer_update` can only be used with `customer`.", param="customer_update")
        if params["mode"] == "setup" and "currency" not in params:
            raise invalid("Missing required param: currency.", param="currency", code="parameter_missing")
        for name, modes in _MODES_OF.items():
            if name in params and params["mode"] not in modes:
                raise invalid(f"You can not pass `{name}` in `{params['mode']}` mode.", param=name)
        self._check_times(params, now)

    def _check_times(self, params: Obj, now: int) -> None:
        expires_at: int = params.get("expires_at", now + _LONGEST_S)
        if expires_at < now + _SHORTEST_S:
            raise invalid(
                "The `expires_at` timestamp must be at least 30 minutes from Checkout Session creation.",
                param="expires_at",
            )
        if expires_at > now + _LONGEST_S:
            raise invalid(
                "The `expires_at` timestamp must be less than 24 hours from Checkout Session creation.",
                param="expires_at",
            )
        data: Obj = params.get("subscription_data", {})
        exclusive(data, "trial_end", "trial_period_days")
        if data.get("trial_end", now + _EARLIEST_TRIAL_END_S) < now + _EARLIEST_TRIAL_END_S:
            raise invalid(
                "The `trial_end` date has to be at least 2 days in the future.",
                param="subscription_data[trial_end]",
            )

    def _check_items(self, mode: str, items: list[Obj]) -> None:
        if mode == "setup":
            if items:
                raise invalid("You can not pass `line_items` in `setup` mode.", param="line_items")
            return
        if not items:
            raise invalid("Missing required param: line_items.", param="line_items", code="parameter_missing")
        recurring = [item["price"] for item in items if item["price"]["recurring"] is not None]
        if mode == "payment" and recurring:
            raise invalid(
                "You specified `payment` mode but passed a recurring price. Either switch to `subscription` "
                "mode or use only one-time prices.",
                param="mode",
            )
        if mode == "subscription" and not recurring:
            raise invalid(
                "You must provide at least one recurring price in `subscription` mode when using prices.",
                param="mode",
            )
        if mode == "subscription" and max(len(recurring), len(items) - len(recurring)) > _MOST_OF_A_KIND:
            raise invalid(
                f"In `subscription` mode there are at most {_MOST_OF_A_KIND} line items with recurring "
                f"prices and {_MOST_OF_A_KIND} with one-time prices.",
                param="line_items",
            )
        require_one_rhythm(recurring)
        if len({item["currency"] for item in items}) > 1:
            raise invalid("All line items must have the same currency.", param="line_items")

    def _check_customer(self, params: Obj, currency: str | None) -> None:
        if "customer" not in params:
            return
        customer = self._books.customer(params["customer"])
        if currency is not None and customer["currency"] not in {None, currency}:
            raise invalid(
                "You cannot combine currencies on a single customer. This customer has an active "
                "subscription, subscription schedule, discount, quote, or invoice item with currency "
                f"{customer['currency']}",
                param="customer",
            )

    def _line_item(self, wish: Obj, index: int) -> Obj:
        price = self._prices.chosen(wish, path=f"line_items[{index}]", recurring=None)
        if "quantity" not in wish:
            raise invalid(
                f"Quantity is required. Add `quantity` to `line_items[{index}]`",
                param=f"line_items[{index}][quantity]",
            )
        metadata = merge_metadata({}, wish.get("metadata", {}))
        return line_item_object(price, wish["quantity"], self._prices.name(price), metadata)


def _due_today(params: Obj, items: list[Obj]) -> int:
    """A trial leaves the prices that come once."""
    data: Obj = params.get("subscription_data", {})
    on_trial = bool(data.get("trial_period_days") or data.get("trial_end"))
    return sum(
        price_amount(item["price"], item["quantity"])
        for item in items
        if not (on_trial and item["price"]["recurring"] is not None)
    )


def _trial_days(data: Obj, now: int) -> int | None:
    if data.get("trial_end") is not None:
        return max(0, round((data["trial_end"] - now) / DAY_S))
    return data.get("trial_period_days")
