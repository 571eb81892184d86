"""A merchant at the sandbox: plans to sell, people who buy them, and a site to come back to.

The site has another origin than the sandbox, as a merchant's has: browsers hold forms to that.
"""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import stripe
from tests.sandbox.stripe.conftest import Server, run_stripe

PLANS = {
    "basic": {"unit_amount": 900, "currency": "usd", "recurring": {"interval": "month"}},
    "pro": {"unit_amount": 2900, "currency": "usd", "recurring": {"interval": "month"}},
    "pro_yearly": {"unit_amount": 29000, "currency": "usd", "recurring": {"interval": "year"}},
    "yen": {"unit_amount": 1200, "currency": "jpy", "recurring": {"interval": "month", "interval_count": 3}},
    "other": {"unit_amount": 500, "currency": "usd", "recurring": {"interval": "week"}},
}
NAMES = {"basic": "Sandbox Basic", "pro": "Sandbox Pro", "yen": "Sandbox Yen", "other": "Sandbox Other"}
DAY = 86400


class Document(HTMLParser):
    """A page as a test sees it: what each test id holds, and which tags there are."""

    _VOID = frozenset({"input", "meta", "link", "br", "img", "path", "circle", "rect"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.texts: dict[str, str] = {}
        self.attributes: dict[str, dict[str, str]] = {}
        self._open: list[str | None] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.tags.append((tag, found))
        name = found.get("data-testid")
        if name is not None:
            self.attributes.setdefault(name, found)
            self.texts.setdefault(name, "")
        if tag not in self._VOID:
            self._open.append(name)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if tag not in self._VOID:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        for name in {name for name in self._open if name}:
            self.texts[name] += data

    def __contains__(self, testid: str) -> bool:
        return testid in self.texts

    def text(self, testid: str) -> str:
        return " ".join(self.texts[testid].split())

    def value(self, testid: str) -> str:
        return self.attributes[testid].get("value", "")

    def href(self, testid: str) -> str:
        return self.attributes[testid]["href"]

    def has_tag(self, tag: str, **attributes: str) -> bool:
        return any(tag == name and attributes.items() <= found.items() for name, found in self.tags)


@dataclass
class Merchant:
    """`http` is a visitor's: it has no key and follows no redirects."""

    server: Server
    site: str
    http: httpx.Client = field(init=False)
    prices: dict[str, str] = field(default_factory=dict[str, str])
    configuration: str = ""

    def __post_init__(self) -> None:
        self.http = httpx.Client(base_url=self.server.base, timeout=20)

    @property
    def api(self) -> stripe.StripeClient:
        return self.server.client

    def open_shop(self) -> None:
        products: dict[str, str] = {}
        for plan, price in PLANS.items():
            line = plan.partition("_")[0]
            if line not in products:
                about = {"name": NAMES[line], "description": f"Everything in {NAMES[line]}"}
                products[line] = self.api.v1.products.create(about).id
            made = self.api.v1.prices.create({**price, "product": products[line], "lookup_key": plan})
            self.prices[plan] = made.id
        self.configuration = self.configure(
            [
                {"product": products["basic"], "prices": [self.prices["basic"]]},
                {"product": products["pro"], "prices": [self.prices["pro"], self.prices["pro_yearly"]]},
            ]
        )

    def configure(self, products: list[dict[str, Any]]) -> str:
        features: Any = {
            "customer_update": {"enabled": False},
            "invoice_history": {"enabled": True},
            "payment_method_update": {"enabled": True},
            "subscription_cancel": {"enabled": True, "mode": "at_period_end"},
            "subscription_update": {
                "enabled": True,
                "default_allowed_updates": ["price"],
                "products": products,
                "proration_behavior": "always_invoice",
                "schedule_at_period_end": {"conditions": [{"type": "decreasing_item_amount"}]},
            },
        }
        return self.api.v1.billing_portal.configurations.create({"features": features}).id

    # What people do

    def checkout(self, plan: str = "pro", **params: Any) -> str:
        """The path of a new checkout page."""
        given: Any = {
            "mode": "subscription",
            "line_items": [{"price": self.prices[plan], "quantity": 1}],
            "success_url": f"{self.site}/welcome?session={{CHECKOUT_SESSION_ID}}",
            "cancel_url": f"{self.site}/pricing",
            **params,
        }
        session = self.api.v1.checkout.sessions.create(given)
        assert session.url
        return urlsplit(session.url).path

    def session(self, path: str) -> stripe.checkout.Session:
        return self.api.v1.checkout.sessions.retrieve(path.rpartition("/")[2])

    def subscriber(self, plan: str = "pro", card: str = "pm_card_visa", **params: Any) -> str:
        """The id of a customer who has a plan."""
        customer = self.api.v1.customers.create({"email": "ada@example.com", "name": "Ada Example"})
        method = self.api.v1.payment_methods.attach(card, {"customer": customer.id})
        default: Any = {"invoice_settings": {"default_payment_method": method.id}}
        self.api.v1.customers.update(customer.id, default)
        given: Any = {"customer": customer.id, "items": [{"price": self.prices[plan]}], **params}
        self.api.v1.subscriptions.create(given)
        return customer.id

    def subscription(self, customer: str) -> stripe.Subscription:
        return self.api.v1.subscriptions.list({"customer": customer, "status": "all"}).data[0]

    def use_card(self, customer: str, card: str) -> None:
        """Another card for what is charged from now on."""
        method = self.api.v1.payment_methods.attach(card, {"customer": customer})
        default: Any = {"invoice_settings": {"default_payment_method": method.id}}
        self.api.v1.customers.update(customer, default)

    def portal(self, customer: str, **params: Any) -> str:
        """The path of a new portal page."""
        given: Any = {
            "customer": customer,
            "configuration": self.configuration,
            "return_url": f"{self.site}/account",
            **params,
        }
        return urlsplit(self.api.v1.billing_portal.sessions.create(given).url).path

    # What a browser would do

    def see(self, path: str, status: int = 200) -> Document:
        answer = self.http.get(path)
        assert answer.status_code == status, answer.text
        return Document(answer.text)

    def send(self, path: str, **fields: str) -> httpx.Response:
        return self.http.post(path, data=fields)

    def refused(self, answer: httpx.Response) -> Document:
        """The page that a refused form leads to."""
        address, _, query = answer.headers["location"].partition("?")
        assert (answer.status_code, address[:1]) == (303, "/"), answer.text
        assert query.startswith("attempt=")
        return self.see(answer.headers["location"])

    def pay(self, path: str, number: str = "4242 4242 4242 4242", **changes: str) -> httpx.Response:
        """Fill a card form in and send it."""
        typed = {"number": number, "expiry": "12 / 34", "cvc": "123", "name": "Ada Example", "country": "US"}
        return self.send(path, **{**typed, **changes})


class _Site(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = f"<!doctype html><title>Merchant</title><h1>{self.path}</h1>".encode()
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@contextmanager
def merchant_site() -> Generator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Site) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def running_merchant(folder: Path) -> Generator[Merchant]:
    """A merchant whose plans are for sale at a sandbox of its own."""
    with merchant_site() as site, run_stripe(folder) as server:
        merchant = Merchant(server, site)
        try:
            merchant.open_shop()
            yield merchant
        finally:
            merchant.http.close()
