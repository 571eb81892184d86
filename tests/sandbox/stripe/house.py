"""A billing engine without a server: three prices, one customer, and a portal."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from visiona.sandbox.stripe.catalogue import new_price, new_product
from visiona.sandbox.stripe.clock import Clock
from visiona.sandbox.stripe.engine import Engine
from visiona.sandbox.stripe.engine.customers import new_customer
from visiona.sandbox.stripe.engine.outcomes import Card, ChallengeRequired
from visiona.sandbox.stripe.store import Obj, Store

GOOD, REFUSED, FAILS_LATER, ASKS = (
    "4242424242424242",
    "4000000000000002",
    "4000000000000341",
    "4000002760003184",
)


def card(number: str) -> Card:
    return Card(number, 12, 2034, "123", "Ada Example")


@dataclass
class House:
    """An engine of its own, with three prices and one customer. Time moves by `advance`."""

    folder: Path
    events: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        self.store = Store(self.folder)
        self.clock = Clock(self.store)
        self.engine = Engine(self.store, self.clock, self._emit, "http://127.0.0.1:9")
        self.basic, self.pro = self._price("Basic", 900), self._price("Pro", 2400)
        self.yearly = self._price("Pro yearly", 24000, "year")
        self.customer = new_customer(self.clock.now(), "ada@example.com", "Ada Example")
        self.store.put(self.customer)
        self.configuration = self.configure()

    def _emit(self, type: str, obj: Obj, previous: Obj | None) -> None:  # noqa: A002 - as in `Emit`
        assert obj
        assert previous != {}
        self.events.append(type)

    def _price(self, name: str, amount: int, interval: str = "month") -> str:
        product = new_product(self.store, self.clock, {"name": name})
        params = {
            "product": product["id"],
            "currency": "usd",
            "unit_amount": amount,
            "recurring": {"interval": interval},
        }
        return str(new_price(self.store, self.clock, params)["id"])

    def configure(self, **update: Any) -> str:
        products = [
            {"product": self.store.get("price", id_)["product"], "prices": [id_]}
            for id_ in (self.basic, self.pro, self.yearly)
        ]
        features: Obj = {
            "invoice_history": {"enabled": True},
            "payment_method_update": {"enabled": True},
            "subscription_cancel": {"enabled": True},
            "subscription_update": {
                "enabled": True,
                "default_allowed_updates": ["price"],
                "products": products,
                "proration_behavior": "always_invoice",
                "schedule_at_period_end": {
                    "conditions": [{"type": "decreasing_item_amount"}, {"type": "shortening_interval"}]
                },
                **update,
            },
        }
        return str(self.engine.portal.objects.create_configuration({"features": features})["id"])

    def subscribe(self, price: str, number: str = GOOD, **data: Any) -> Obj:
        params: Obj = {
            "mode": "subscription",
            "customer": self.customer["id"],
            "line_items": [{"price": price, "quantity": 1}],
            "success_url": "https://shop.example",
            "subscription_data": data,
        }
        session = self.engine.checkout.create(params)
        outcome = self.engine.checkout.pay(session["id"], card(number))
        if isinstance(outcome, ChallengeRequired):
            self.engine.checkout.answer_challenge(session["id"], approve=True)
        return self.store.get("subscription", session["subscription"])

    def visit(self, **flow: Any) -> str:
        params: Obj = {
            "customer": self.customer["id"],
            "configuration": self.configuration,
            "return_url": "https://shop.example/account",
        }
        if flow:
            redirect = {"type": "redirect", "redirect": {"return_url": "https://shop.example/done"}}
            params["flow_data"] = {"after_completion": redirect, **flow}
        return str(self.engine.portal.objects.create_session(params)["id"])

    def advance(self, seconds: int) -> None:
        self.clock.advance(seconds)
        with self.store.atomic():
            self.engine.clocks.run_due(self.clock.now())

    def latest(self, sub: Obj) -> Obj:
        return self.store.get("invoice", sub["latest_invoice"])


def price_of(sub: Obj) -> str:
    return str(sub["items"]["data"][0]["price"]["id"])
