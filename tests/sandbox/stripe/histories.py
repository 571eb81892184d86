"""Histories of subscriptions: customers on a test clock, what they buy, and what is told of it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
import stripe
from tests.sandbox.stripe.conftest import Server, run_stripe

DAY = 24 * 3600
HOUR = 3600
MINUTE = 60


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A sandbox for one file of tests: histories tell a lot, and every test looks through what was told."""
    with run_stripe(tmp_path_factory.mktemp("stripe")) as server:
        yield server


def at(text: str) -> int:
    """Unix seconds of `2026-01-31` or `2026-01-31 12:00`, in UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def day(moment: int) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d")


@dataclass
class History:
    """One test clock, and a customer on it with a card."""

    server: Server
    start: int = at("2026-01-10")
    card: str | None = "pm_card_visa"
    clock: str = field(init=False)
    customer: str = field(init=False)
    method: str | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        made = self.v1.test_helpers.test_clocks.create({"frozen_time": self.start})
        self.clock, self.now = made.id, self.start
        self.customer = self.server.customer(test_clock=self.clock).id
        if self.card is not None:
            self.use_card(self.card)

    @property
    def v1(self) -> Any:
        return self.server.client.v1

    # What is done

    def use_card(self, card: str) -> str:
        """Attach a card and make it the default of customer and subscriptions made from now on."""
        self.method = self.v1.payment_methods.attach(card, {"customer": self.customer}).id
        settings = {"default_payment_method": self.method}
        self.v1.customers.update(self.customer, {"invoice_settings": settings})
        assert self.method is not None
        return self.method

    def subscribe(self, price: stripe.Price, **params: Any) -> stripe.Subscription:
        given: Any = {"customer": self.customer, "items": [{"price": price.id}], **params}
        return self.v1.subscriptions.create(given)

    def switch(self, sub: stripe.Subscription, price: stripe.Price, **params: Any) -> stripe.Subscription:
        """Change the only item's price."""
        wish = [{"id": only_item(sub).id, "price": price.id}]
        return self.v1.subscriptions.update(sub.id, {"items": wish, **params})

    def advance(self, seconds: int) -> None:
        self.advance_to(self.now + seconds)

    def advance_to(self, moment: int) -> None:
        """In steps as far as a test clock goes at once."""
        while self.now < moment:
            self.now = min(moment, self.now + 50 * DAY)
            self.v1.test_helpers.test_clocks.advance(self.clock, {"frozen_time": self.now})

    # What is found

    def subscription(self, sub: stripe.Subscription, *expand: str) -> stripe.Subscription:
        return self.v1.subscriptions.retrieve(sub.id, {"expand": list(expand)})

    def invoices(self, sub: stripe.Subscription | None = None) -> list[stripe.Invoice]:
        """Oldest first, with their payments."""
        params: Any = {"customer": self.customer, "limit": 100, "expand": ["data.payments"]}
        if sub is not None:
            params["subscription"] = sub.id
        return self.v1.invoices.list(params).data[::-1]

    def latest(self, sub: stripe.Subscription) -> stripe.Invoice:
        found = self.subscription(sub).latest_invoice
        assert isinstance(found, str)
        return self.v1.invoices.retrieve(found, {"expand": ["payments"]})

    def charges(self) -> list[stripe.Charge]:
        """Oldest first."""
        return self.v1.charges.list({"customer": self.customer, "limit": 100}).data[::-1]

    def balance(self) -> int:
        return self.v1.customers.retrieve(self.customer).balance

    def pending(self) -> list[stripe.InvoiceItem]:
        """What waits for an invoice, oldest first."""
        params = {"customer": self.customer, "pending": True, "limit": 100}
        return self.v1.invoice_items.list(params).data[::-1]

    def events(self, *types: str) -> list["Told"]:
        """What was told of this customer, oldest first."""
        params: Any = {"limit": 100, **({"types": list(types)} if types else {})}
        found = [_told(event.to_dict()) for event in self.v1.events.list(params).data]
        mine = [one for one in found if self.customer in {one.shown.get("customer"), one.shown["id"]}]
        return mine[::-1]

    def told(self) -> list[str]:
        return [event.type for event in self.events()]


@dataclass(frozen=True)
class Told:
    """An event: its type, the object as it was shown, and what had been otherwise before."""

    type: str
    shown: dict[str, Any]
    previous: dict[str, Any]


def _told(event: dict[str, Any]) -> Told:
    return Told(event["type"], event["data"]["object"], event["data"].get("previous_attributes") or {})


def only_item(sub: stripe.Subscription) -> stripe.SubscriptionItem:
    (item,) = sub["items"].data
    return item


def lines(invoice: stripe.Invoice) -> list[tuple[str | None, int]]:
    return [(line.description, line.amount) for line in invoice.lines.data]
