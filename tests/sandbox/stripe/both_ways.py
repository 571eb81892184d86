"""One scenario, two ways: the official SDK's synchronous methods, and their `_async` twins over httpx."""

import json
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
import stripe
from tests.sandbox.stripe.conftest import Server, run_stripe
from tests.sandbox.stripe.histories import DAY, HOUR, at
from tests.sandbox.stripe.shapes import complaints

START = at("2026-01-10")
"""When the test clocks of scenarios begin: a month from here has 31 days, 2,678,400 seconds."""
FEB_10, MAR_10 = at("2026-02-10"), at("2026-03-10")
LATER = START + 10 * DAY + 3 * HOUR + 20 * 60 + 17
"""876,017 seconds into the first month; 1,802,383 are left."""
HALF = START + 31 * DAY // 2
"""Half of the first month is over, to the second."""


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Of one file alone: other files' tests do not expect what test clocks tell of other times."""
    with run_stripe(tmp_path_factory.mktemp("stripe")) as server:
        yield server


@pytest.fixture(name="shop", params=["sync", "async"])
async def either_way(request: pytest.FixtureRequest, sandbox: Server) -> AsyncGenerator["Shop"]:
    async with opened(sandbox, waits=request.param == "async") as found:
        yield found


class WatchedClient(stripe.HTTPXClient):
    """The SDK's own asynchronous client; what it is answered is held against the SDK's classes too."""

    def __init__(self, misshapen: set[str]) -> None:
        super().__init__(verify_ssl_certs=False)
        self._misshapen = misshapen

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        body, status, given = await super().request_async(method, url, headers, post_data)
        if status == 200 and given["content-type"] == "application/json":
            with suppress(ValueError):  # a document that a fault cut in half
                self._misshapen.update(complaints(json.loads(body)))
        return body, status, given


class Calls:
    """A service of the SDK whose methods are awaited either way: `await v1.customers.create({...})`."""

    def __init__(self, service: Any, *, waits: bool) -> None:
        self._service = service
        self._waits = waits

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._service, name)
        if not hasattr(self._service, f"{name}_async"):
            return Calls(found, waits=self._waits)
        return getattr(self._service, f"{name}_async") if self._waits else _awaitable(found)


@dataclass
class Shop:
    """A merchant with a sandbox, who calls Stripe in one of the two ways."""

    server: Server
    client: stripe.StripeClient
    waits: bool

    @property
    def v1(self) -> Calls:
        return Calls(self.client.v1, waits=self.waits)

    @asynccontextmanager
    async def calling(self, **options: Any) -> AsyncGenerator[Calls]:
        """The services of an SDK that is set up otherwise: with another `key`, with `max_network_retries`."""
        async with opened(self.server, waits=self.waits, **options) as other:
            yield other.v1

    async def everything(self, page: Any) -> list[Any]:
        """All pages from this one on."""
        if self.waits:
            return [one async for one in page.auto_paging_iter()]
        return list(page.auto_paging_iter())

    async def price(self, amount: int = 900, interval: str = "month", **params: Any) -> stripe.Price:
        given = {
            "currency": "usd",
            "unit_amount": amount,
            "recurring": {"interval": interval},
            "product_data": {"name": "Pro"},
            **params,
        }
        return await self.v1.prices.create(given)

    async def life(self, start: int = START, card: str | None = "pm_card_visa") -> "Life":
        """Somebody new on a test clock of their own, with a card."""
        clock = await self.v1.test_helpers.test_clocks.create({"frozen_time": start})
        wish = {"email": "ada@example.com", "name": "Ada Example", "test_clock": clock.id}
        customer = await self.v1.customers.create(wish)
        life = Life(self, clock.id, customer.id, start)
        if card is not None:
            await life.use_card(card)
        return life

    async def events_about(self, *ids: str, types: list[str] | None = None) -> list[stripe.Event]:
        """What was told of these objects, or of those that belong to them, oldest first."""
        page = await self.v1.events.list({"limit": 100, **({"types": types} if types else {})})
        found = [event for event in page.data if _named(event) & set(ids)]
        return found[::-1]


@dataclass
class Life:
    """A customer on a test clock: what they do, and what is found of them."""

    shop: Shop
    clock: str
    customer: str
    now: int
    method: str | None = field(default=None)

    @property
    def v1(self) -> Calls:
        return self.shop.v1

    async def use_card(self, card: str) -> str:
        """Attach a card, and let it be what is charged from now on."""
        method = await self.v1.payment_methods.attach(card, {"customer": self.customer})
        default = {"invoice_settings": {"default_payment_method": method.id}}
        await self.v1.customers.update(self.customer, default)
        self.method = method.id
        return method.id

    async def subscribe(self, price: stripe.Price, **params: Any) -> stripe.Subscription:
        given = {"customer": self.customer, "items": [{"price": price.id}], **params}
        return await self.v1.subscriptions.create(given)

    async def switch(self, sub: stripe.Subscription, price: stripe.Price, **params: Any) -> Any:
        """Change the price of the only item."""
        wish = {"items": [{"id": item_of(sub).id, "price": price.id}], **params}
        return await self.v1.subscriptions.update(sub.id, wish)

    async def advance_to(self, moment: int) -> None:
        """Step by step, as far as a test clock goes at once."""
        while self.now < moment:
            self.now = min(moment, self.now + 50 * DAY)
            answer = await self.v1.test_helpers.test_clocks.advance(self.clock, {"frozen_time": self.now})
            assert answer.status == "advancing"
        assert (await self.v1.test_helpers.test_clocks.retrieve(self.clock)).status == "ready"

    async def advance(self, seconds: int) -> None:
        await self.advance_to(self.now + seconds)

    async def subscription(self, sub: stripe.Subscription) -> stripe.Subscription:
        return await self.v1.subscriptions.retrieve(sub.id)

    async def invoices(self) -> list[stripe.Invoice]:
        """Oldest first."""
        page = await self.v1.invoices.list({"customer": self.customer, "limit": 100})
        return page.data[::-1]

    async def latest(self, sub: stripe.Subscription) -> stripe.Invoice:
        found = (await self.subscription(sub)).latest_invoice
        return await self.v1.invoices.retrieve(found, {"expand": ["payments"]})

    async def balance(self) -> int:
        return (await self.v1.customers.retrieve(self.customer)).balance

    async def told(self, *types: str) -> list[stripe.Event]:
        """Events about the customer, oldest first; of these types only if any are given."""
        return await self.shop.events_about(self.customer, types=list(types) or None)


@asynccontextmanager
async def opened(server: Server, *, waits: bool, **options: Any) -> AsyncGenerator[Shop]:
    """`options` go to the SDK; `waits` for its asynchronous way."""
    if not waits:
        yield Shop(server, server.sdk(**options), waits)
        return
    http = WatchedClient(server.misshapen)
    try:
        yield Shop(server, server.sdk(http_client=http, **options), waits)
    finally:
        await http.close_async()


def item_of(sub: Any) -> stripe.SubscriptionItem:
    (item,) = sub["items"].data
    return item


def period_of(sub: Any) -> tuple[int, int]:
    """Of the only item: a subscription itself has none any more."""
    item = item_of(sub)
    return item.current_period_start, item.current_period_end


def amounts(invoice: stripe.Invoice) -> list[int]:
    return [line.amount for line in invoice.lines.data]


def _awaitable(method: Any) -> Any:
    async def call(*args: Any, **options: Any) -> Any:
        return method(*args, **options)

    return call


def _named(event: stripe.Event) -> set[str]:
    shown = event.data.object.to_dict()
    return {value for name in ("id", "customer", "charge") if isinstance(value := shown.get(name), str)}
