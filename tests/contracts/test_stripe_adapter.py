"""The payments port on the Stripe adapter, over HTTP against the sandbox.

Nothing here knows how the sandbox works: it is told what to do wrong, and how time goes, through its own
documented endpoints; what an operator or a customer would do is done with the official SDK.
"""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import stripe
import uvicorn

from visiona.adapters.http import Timeouts
from visiona.adapters.stripe import (
    EVENTS,
    PINNED_VERSION,
    EventNotice,
    InvalidSignature,
    StripeConfig,
    StripePayments,
    read_event,
    verify_webhook,
)
from visiona.adapters.stripe.transport import CappedTransport
from visiona.ports.errors import (
    OutcomeUnknown,
    ProviderError,
    ProviderNotFound,
    ProviderRejected,
    ProviderUnavailable,
)
from visiona.ports.payments import (
    Checkout,
    CheckoutOrder,
    CustomerOrder,
    CustomerReport,
    InvoiceStatus,
    Offer,
    Payments,
    PlanChange,
    PortalOrder,
    PublishedThing,
    SubscriptionReport,
    SubscriptionStatus,
)
from visiona.sandbox.stripe import StripeSandboxConfig, create_app

pytestmark = pytest.mark.contract

KEY = "sk_test_contract"
SECRET = "whsec_contract"
PATIENCE_S = 20.0
DAY = 86_400

BASIC = Offer("basic", "Basic", "visiona_basic_month", 900, "usd", "month")
PREMIUM = Offer("premium", "Premium", "visiona_premium_month", 1900, "usd", "month")
YEARLY = Offer("premium", "Premium", "visiona_premium_year", 19_000, "usd", "year")
OFFERS = (BASIC, PREMIUM, YEARLY)

GOOD_CARD = "4242424242424242"
LATER_DECLINED = "4000000000000341"
DISPUTED = "4000000000000259"


@dataclass
class Hook:
    """A webhook as it arrived."""

    signature: str
    body: bytes

    @property
    def notice(self) -> EventNotice:
        return read_event(self.body)


@dataclass
class World:
    """The sandbox, the adapter that points at it, an operator's SDK, and a receiver of webhooks."""

    url: str
    hook_url: str
    config: StripeConfig
    payments: Payments
    control: httpx.AsyncClient
    v1: Any
    others: list[StripePayments] = field(default_factory=list)
    hooks: list[Hook] = field(default_factory=list)
    people: int = 0

    async def tell(self, control: str, **body: Any) -> Any:
        """Use a control of the sandbox."""
        answer = await self.control.post(f"/_sandbox/{control}", json=body)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    async def fault(self, fault: str, **parameters: Any) -> None:
        await self.tell("faults", fault=fault, **parameters)

    async def advance(self, days: float) -> None:
        await self.tell("clock", advance_s=int(days * DAY))

    async def now(self) -> datetime:
        state = (await self.control.get("/_sandbox/state")).json()
        return datetime.fromtimestamp(state["clock"]["now"], UTC)

    async def count(self, kind: str) -> int:
        return (await self.control.get("/_sandbox/state")).json()["counts"].get(kind, 0)

    def another(self) -> StripePayments:
        """An adapter in another process, which remembers nothing."""
        self.others.append(StripePayments(self.config))
        return self.others[-1]

    def person(self) -> CustomerOrder:
        self.people += 1
        number = self.people
        return CustomerOrder(f"user:{number}", f"person{number}@example.org", f"customer:user:{number}")

    async def order(self, offer: Offer = PREMIUM, **changes: Any) -> CheckoutOrder:
        """A new person who wants this."""
        person = self.person()
        order = CheckoutOrder(
            key=f"checkout:{person.reference}",
            customer_id=await self.payments.customer(person),
            reference=person.reference,
            plan=offer.plan,
            lookup_key=offer.lookup_key,
            trial_days=0,
            success_url="http://127.0.0.1:1/billing?session={CHECKOUT_SESSION_ID}",
            cancel_url="http://127.0.0.1:1/pricing",
            expires_at=await self.now() + timedelta(hours=1),
        )
        return replace(order, **changes)

    async def subscribe(
        self, offer: Offer = PREMIUM, card: str = GOOD_CARD, **changes: Any
    ) -> tuple[str, SubscriptionReport]:
        """A new customer, who has paid."""
        order = await self.order(offer, **changes)
        checkout = await self.payments.open_checkout(order)
        paid = await self.tell(f"pay/{checkout.id}", number=card)
        assert paid["outcome"] == "Paid"
        return order.customer_id, (await self.payments.report(order.customer_id)).subscriptions[0]

    async def hooks_of(self, kind: str, *, at_least: int = 1) -> list[Hook]:
        async def arrived() -> bool:
            return len([hook for hook in self.hooks if hook.notice.type == kind]) >= at_least

        await eventually(arrived)
        return [hook for hook in self.hooks if hook.notice.type == kind]


async def eventually(check: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await check():  # noqa: ASYNC110 - a server's state can only be asked for
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def a_world(folder: Path, port: int) -> AsyncGenerator[World]:
    url = f"http://127.0.0.1:{port}"
    receiver = await asyncio.start_server(lambda r, w: _receive(world, r, w), "127.0.0.1", 0)
    hook_url = f"http://127.0.0.1:{receiver.sockets[0].getsockname()[1]}/hooks"
    app = create_app(
        StripeSandboxConfig(
            data_dir=folder,
            public_url=url,
            secret_key=KEY,
            webhook_url=hook_url,
            webhook_secret=SECRET,
            webhook_delay_ms=20,
        )
    )
    config = StripeConfig(api_key=KEY, base_url=url, call_deadline_s=10.0)
    control = httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {KEY}"}, timeout=30)
    # The SDK's own async transport is deprecated use of httpx, which is an error here.
    transport = CappedTransport(httpx.AsyncClient(timeout=30), 10_000_000)
    sdk = stripe.StripeClient(KEY, base_addresses={"api": url}, http_client=transport, max_network_retries=0)
    payments = StripePayments(config)
    world = World(url, hook_url, config, payments, control, sdk.v1)
    async with _serving(app, port):
        yield world
        for adapter in (payments, *world.others):
            await adapter.aclose()
        await transport.close_async()
        await control.aclose()
    receiver.close()
    await receiver.wait_closed()


@pytest.fixture
async def empty_world(tmp_path: Path, unused_tcp_port: int) -> AsyncGenerator[World]:
    """Before anything was published."""
    async with a_world(tmp_path / "records", unused_tcp_port) as world:
        yield world


@pytest.fixture(scope="session")
async def published(
    tmp_path_factory: pytest.TempPathFactory, unused_tcp_port_factory: Callable[[], int]
) -> Path:
    """The records of a sandbox that has something to sell."""
    folder = tmp_path_factory.mktemp("published")
    async with a_world(folder, unused_tcp_port_factory()) as world:
        await world.payments.publish(OFFERS, webhook_url=None, change=True)
    return folder


@pytest.fixture
async def world(tmp_path: Path, published: Path, unused_tcp_port: int) -> AsyncGenerator[World]:
    """With something to sell."""
    shutil.copytree(published, tmp_path / "records")
    async with a_world(tmp_path / "records", unused_tcp_port) as world:
        yield world


@contextlib.asynccontextmanager
async def _serving(app: Any, port: int) -> AsyncGenerator[None]:
    options = uvicorn.Config(
        app, host="127.0.0.1", port=port, log_level="warning", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(options)
    # Signals belong to pytest, so this is `serve` without its capture of them.
    running = asyncio.create_task(server._serve())
    while not server.started:
        assert not running.done(), "the sandbox did not start"
        await asyncio.sleep(0.02)
    try:
        yield
    finally:
        server.should_exit = True
        await running


async def _receive(world: World, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").rstrip().split("\r\n")[1:]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head)}
        body = await reader.readexactly(int(headers["content-length"]))
        world.hooks.append(Hook(headers["stripe-signature"], body))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()
    writer.close()


def soon(moment: datetime | None, expected: datetime) -> bool:
    return moment is not None and abs(moment - expected) < timedelta(minutes=2)


# Publishing


def told(things: list[PublishedThing]) -> str:
    return "\n".join(f"{'ok' if thing.ok else 'act'}: {thing.what}" for thing in things)


async def test_what_is_missing_is_told_and_not_made(empty_world: World) -> None:
    things = await empty_world.payments.publish(OFFERS, webhook_url=empty_world.hook_url, change=False)

    assert not any(thing.ok for thing in things)
    for name in ("visiona_basic", "visiona_premium", *(offer.lookup_key for offer in OFFERS), "portal"):
        assert name in told(things)
    for kind in ("product", "price", "billing_portal.configuration", "webhook_endpoint"):
        assert await empty_world.count(kind) == 0


async def test_everything_is_made_as_it_should_be(empty_world: World) -> None:
    things = await empty_world.payments.publish(OFFERS, webhook_url=empty_world.hook_url, change=True)
    again = await empty_world.payments.publish(OFFERS, webhook_url=empty_world.hook_url, change=False)

    assert [thing.what for thing in things if not thing.ok] == [things[-1].what]
    assert "VISIONA_STRIPE_WEBHOOK_SECRET=whsec_" in things[-1].what
    assert all(thing.ok for thing in again), told(again)
    assert "whsec_" not in told(again)

    prices = (await empty_world.v1.prices.list_async()).data
    assert {price.lookup_key for price in prices} == {offer.lookup_key for offer in OFFERS}
    yearly = next(price for price in prices if price.lookup_key == YEARLY.lookup_key)
    assert (yearly.product, yearly.unit_amount, yearly.currency) == ("visiona_premium", 19_000, "usd")
    assert (yearly.recurring.interval, yearly.tax_behavior) == ("year", "unspecified")
    assert yearly.metadata.visiona_plan == "premium"
    product = await empty_world.v1.products.retrieve_async("visiona_premium")
    assert (product.name, product.metadata.visiona_plan) == ("Premium", "premium")


async def test_the_portal_lets_customers_change_and_leave(world: World) -> None:
    (configuration,) = (await world.v1.billing_portal.configurations.list_async()).data

    features = configuration.features
    update, cancel = features.subscription_update, features.subscription_cancel
    conditions = {condition.type for condition in update.schedule_at_period_end.conditions}
    assert configuration.metadata.visiona == "portal"
    assert (update.enabled, update.default_allowed_updates) == (True, ["price"])
    assert update.proration_behavior == "always_invoice"
    assert conditions == {"decreasing_item_amount", "shortening_interval"}
    assert (cancel.enabled, cancel.mode) == (True, "at_period_end")
    assert cancel.cancellation_reason.enabled is True
    assert features.invoice_history.enabled is True
    assert features.payment_method_update.enabled is True
    assert set(features.customer_update.allowed_updates) == {"address", "tax_id"}


async def test_the_endpoint_speaks_our_version_and_tells_what_we_ask(empty_world: World) -> None:
    url = f"{empty_world.hook_url}/published"
    things = await empty_world.payments.publish(OFFERS, webhook_url=url, change=True)
    secret = things[-1].what.partition("VISIONA_STRIPE_WEBHOOK_SECRET=")[2]

    (endpoint,) = (await empty_world.v1.webhook_endpoints.list_async()).data
    assert (endpoint.url, endpoint.api_version, endpoint.status) == (url, PINNED_VERSION, "enabled")
    assert set(endpoint.enabled_events) == set(EVENTS)

    customer_id = await empty_world.payments.customer(empty_world.person())
    await empty_world.v1.customers.update_async(customer_id, {"name": "Jane"})
    # The configured endpoint is told too, with its own secret.
    hooks = await empty_world.hooks_of("customer.updated", at_least=2)
    for good in (secret, SECRET):
        assert sum(_is_genuine(hook, good) for hook in hooks) == 1


def _is_genuine(hook: Hook, *secrets: str) -> bool:
    try:
        verify_webhook(secrets, hook.signature, hook.body, datetime.now(UTC))
    except InvalidSignature:
        return False
    return True


async def test_another_amount_is_another_price_and_who_has_the_old_one_keeps_it(world: World) -> None:
    customer_id, before = await world.subscribe(BASIC)
    dearer = replace(BASIC, amount=1200)

    announced = await world.payments.publish((dearer, PREMIUM, YEARLY), webhook_url=None, change=False)
    assert BASIC.lookup_key in told([thing for thing in announced if not thing.ok])
    done = await world.payments.publish((dearer, PREMIUM, YEARLY), webhook_url=None, change=True)
    assert all(thing.ok for thing in done), told(done)

    old = await world.v1.prices.retrieve_async(before.price.id)
    (new,) = (await world.v1.prices.list_async({"lookup_keys": [BASIC.lookup_key]})).data
    assert (old.active, old.lookup_key, old.unit_amount) == (False, None, 900)
    assert (new.active, new.unit_amount, new.metadata.visiona_plan) == (True, 1200, "basic")
    (kept,) = (await world.payments.report(customer_id)).subscriptions
    assert (kept.price.id, kept.price.plan, kept.price.amount) == (old.id, "basic", 900)
    again = await world.payments.publish((dearer, PREMIUM, YEARLY), webhook_url=None, change=False)
    assert all(thing.ok for thing in again), told(again)


async def test_what_somebody_changed_is_put_right(world: World) -> None:
    v1, pay = world.v1, world.payments
    (price,) = (await v1.prices.list_async({"lookup_keys": [BASIC.lookup_key]})).data
    (portal,) = (await v1.billing_portal.configurations.list_async()).data
    await v1.products.update_async("visiona_basic", {"name": "Elementary", "active": False})
    await v1.prices.update_async(price.id, {"active": False, "metadata": {"visiona_plan": ""}})
    features = {"invoice_history": {"enabled": False}}
    await v1.billing_portal.configurations.update_async(portal.id, {"features": features})

    told_only = await pay.publish(OFFERS, webhook_url=None, change=False)
    assert len([thing for thing in told_only if not thing.ok]) == 3, told(told_only)
    done = await pay.publish(OFFERS, webhook_url=None, change=True)
    again = await pay.publish(OFFERS, webhook_url=None, change=False)

    assert all(thing.ok for thing in done + again), told(done + again)
    product = await v1.products.retrieve_async("visiona_basic")
    price = await v1.prices.retrieve_async(price.id)
    assert (product.name, product.active) == ("Basic", True)
    assert (price.active, price.metadata.visiona_plan) == (True, "basic")


async def test_an_offer_that_ends_is_closed_and_others_prices_are_let_be(world: World) -> None:
    mug = {"currency": "usd", "unit_amount": 700, "product": "visiona_premium"}
    other = await world.v1.prices.create_async(mug)

    done = await world.payments.publish((BASIC, PREMIUM), webhook_url=None, change=True)

    assert all(thing.ok for thing in done), told(done)
    (yearly,) = (await world.v1.prices.list_async({"lookup_keys": [YEARLY.lookup_key]})).data
    assert yearly.active is False
    assert (await world.v1.prices.retrieve_async(other.id)).active is True


async def test_two_that_publish_at_once_leave_something_to_sell(empty_world: World) -> None:
    other = empty_world.another()
    await asyncio.gather(
        empty_world.payments.publish(OFFERS, webhook_url=None, change=True),
        other.publish(OFFERS, webhook_url=None, change=True),
        return_exceptions=True,
    )
    await empty_world.payments.publish(OFFERS, webhook_url=None, change=True)

    await empty_world.subscribe(PREMIUM)
    prices = (await empty_world.v1.prices.list_async({"active": True})).data
    assert {price.lookup_key for price in prices} == {offer.lookup_key for offer in OFFERS}


async def test_an_endpoint_of_another_version_must_be_made_anew(world: World) -> None:
    kept = {"url": world.hook_url, "enabled_events": ["*"]}
    await world.v1.webhook_endpoints.create_async(kept)

    things = await world.payments.publish(OFFERS, webhook_url=world.hook_url, change=True)

    assert [thing.what for thing in things if not thing.ok] == [things[-1].what]
    assert "delete it at Stripe and publish again" in things[-1].what
    assert await world.count("webhook_endpoint") == 1


async def test_a_disabled_endpoint_is_put_right_and_a_second_one_told(world: World) -> None:
    for events in (["invoice.paid"], list(EVENTS)):
        await world.v1.webhook_endpoints.create_async(
            {"url": world.hook_url, "enabled_events": events, "api_version": PINNED_VERSION}
        )
    (first, second) = (await world.v1.webhook_endpoints.list_async()).data
    await world.v1.webhook_endpoints.update_async(first.id, {"disabled": True})

    things = await world.payments.publish(OFFERS, webhook_url=world.hook_url, change=True)

    assert "2 webhook endpoints" in things[-1].what
    assert not things[-1].ok
    for endpoint in (first, second):
        found = await world.v1.webhook_endpoints.retrieve_async(endpoint.id)
        assert (found.status, set(found.enabled_events)) == ("enabled", set(EVENTS))


# Customers


async def test_a_customer_is_made_once_and_found_again(world: World) -> None:
    person = world.person()
    made = await world.payments.customer(person)

    assert await world.payments.customer(replace(person, key="another key")) == made
    assert await world.another().customer(person) == made
    assert await world.count("customer") == 1
    customer = await world.v1.customers.retrieve_async(made)
    assert (customer.email, customer.metadata.visiona_user) == (person.email, person.reference)


async def test_two_clicks_make_one_customer(world: World) -> None:
    person = world.person()

    found = await asyncio.gather(*(world.payments.customer(person) for _ in range(4)), return_exceptions=True)

    ids = {one for one in found if isinstance(one, str)}
    assert len(ids) == 1
    assert all(isinstance(one, str | ProviderUnavailable) for one in found)
    assert await world.count("customer") == 1


async def test_a_namesake_and_a_deleted_one_are_not_taken(world: World) -> None:
    person = world.person()
    await world.v1.customers.create_async({"email": person.email})
    await world.v1.customers.create_async({"email": person.email, "metadata": {"visiona_user": "user:other"}})
    first = await world.payments.customer(person)
    await world.v1.customers.delete_async(first)

    second = await world.payments.customer(replace(person, key="after deletion"))

    assert second != first
    customer = await world.v1.customers.retrieve_async(second)
    assert customer.metadata.visiona_user == person.reference


# Checkout


async def test_a_checkout_carries_who_and_what(world: World) -> None:
    order = await world.order(YEARLY, trial_days=7)

    checkout = await world.payments.open_checkout(order)

    assert checkout.status == "open"
    assert checkout.url is not None
    session = await world.v1.checkout.sessions.retrieve_async(checkout.id)
    assert (session.mode, session.customer) == ("subscription", order.customer_id)
    assert session.client_reference_id == order.reference
    assert session.metadata.to_dict() == {"visiona_user": order.reference, "visiona_plan": "premium"}
    assert session.expires_at == int(order.expires_at.timestamp())
    assert (session.success_url, session.cancel_url) == (order.success_url, order.cancel_url)
    assert (await world.control.get(checkout.url)).status_code == 200


async def test_the_same_intent_leads_to_the_same_checkout(world: World) -> None:
    order = await world.order()

    first = await world.payments.open_checkout(order)
    again = await world.another().open_checkout(order)
    other = await world.payments.open_checkout(replace(order, key="another intent"))

    assert first == again
    assert other.id != first.id
    with pytest.raises(ProviderRejected, match="idempotency_error"):
        await world.payments.open_checkout(replace(order, cancel_url="http://127.0.0.1:1/elsewhere"))


async def test_what_is_not_on_sale_cannot_be_bought(world: World) -> None:
    (price,) = (await world.v1.prices.list_async({"lookup_keys": [BASIC.lookup_key]})).data
    await world.v1.prices.update_async(price.id, {"active": False})

    for key in (BASIC.lookup_key, "visiona_nothing_month"):
        with pytest.raises(ProviderNotFound, match="lookup key"):
            await world.payments.open_checkout(await world.order(lookup_key=key))
    with pytest.raises(ProviderNotFound, match="resource_missing"):
        await world.payments.open_checkout(await world.order(customer_id="cus_nobody"))
    assert await world.count("checkout.session") == 0


async def test_a_closed_checkout_cannot_be_paid(world: World) -> None:
    checkout = await world.payments.open_checkout(await world.order())

    closed = await world.payments.close_checkout(checkout.id)

    assert (
        closed == await world.payments.close_checkout(checkout.id) == Checkout(checkout.id, "expired", None)
    )
    assert await world.payments.get_checkout(checkout.id) == closed
    refused = await world.control.post(f"/_sandbox/pay/{checkout.id}")
    assert refused.status_code == 400


async def test_a_paid_checkout_stays_paid(world: World) -> None:
    checkout = await world.payments.open_checkout(await world.order())
    await world.tell(f"pay/{checkout.id}")

    closed = await world.payments.close_checkout(checkout.id)

    assert (closed.id, closed.status) == (checkout.id, "complete")
    assert (await world.payments.get_checkout(checkout.id)).status == "complete"


async def test_a_checkout_ends_by_itself(world: World) -> None:
    checkout = await world.payments.open_checkout(await world.order())

    await world.advance(0.1)

    assert (await world.payments.get_checkout(checkout.id)).status == "expired"


@pytest.mark.parametrize("method", ["get_checkout", "close_checkout"])
async def test_a_checkout_that_is_not_there(world: World, method: str) -> None:
    with pytest.raises(ProviderNotFound):
        await getattr(world.payments, method)("cs_test_none")


# Reports


async def test_someone_who_has_not_bought_yet(world: World) -> None:
    customer_id = await world.payments.customer(world.person())

    assert await world.payments.report(customer_id) == CustomerReport(
        customer_id=customer_id, deleted=False, subscriptions=(), invoices=(), charges=()
    )


async def test_what_was_bought_and_paid(world: World) -> None:
    order = await world.order(PREMIUM)
    checkout = await world.payments.open_checkout(order)
    await world.tell(f"pay/{checkout.id}")
    now = await world.now()

    report = await world.payments.report(order.customer_id)

    (subscription,), (invoice,), (charge,) = report.subscriptions, report.invoices, report.charges
    assert subscription.status is SubscriptionStatus.ACTIVE
    assert (subscription.price.plan, subscription.price.lookup_key) == ("premium", PREMIUM.lookup_key)
    assert (subscription.price.amount, subscription.price.interval) == (1900, "month")
    assert soon(subscription.created_at, now)
    assert soon(subscription.period_start, now)
    assert timedelta(days=27) < subscription.period_end - subscription.period_start < timedelta(days=32)
    assert (subscription.cancel_at, subscription.ended_at, subscription.next_price) == (None, None, None)
    assert subscription.next_amount == 1900
    assert (invoice.status, invoice.reason) == (InvoiceStatus.PAID, "subscription_create")
    assert (invoice.total, invoice.amount_paid, invoice.amount_remaining) == (1900, 1900, 0)
    assert invoice.subscription_id == subscription.id
    assert soon(invoice.paid_at, now)
    (line,) = invoice.lines
    assert (line.amount, line.proration, line.price) == (1900, False, subscription.price)
    assert (line.period_start, line.period_end) == (subscription.period_start, subscription.period_end)
    assert invoice.payment_ids == (charge.payment_id,)
    assert (charge.status, charge.amount, charge.refunded, charge.disputed) == ("succeeded", 1900, 0, 0)
    bought = await world.v1.subscriptions.retrieve_async(subscription.id)
    assert bought.metadata.to_dict() == {"visiona_user": order.reference, "visiona_plan": "premium"}
    assert await world.payments.customer_of_charge(charge.id) == order.customer_id


async def test_a_trial_and_its_end(world: World) -> None:
    customer_id, trial = await world.subscribe(PREMIUM, trial_days=7)
    assert trial.status is SubscriptionStatus.TRIALING
    assert soon(trial.trial_end, await world.now() + timedelta(days=7))
    assert trial.period_end == trial.trial_end
    assert trial.next_amount == 1900

    await world.advance(7)
    await world.advance(0.1)
    report = await world.payments.report(customer_id)

    assert report.subscriptions[0].status is SubscriptionStatus.ACTIVE
    assert [charge.amount for charge in report.charges] == [1900]


async def test_renewals(world: World) -> None:
    customer_id, first = await world.subscribe(PREMIUM)
    await world.advance(32)
    await world.advance(0.1)

    report = await world.payments.report(customer_id)

    (second,) = report.subscriptions
    assert second.period_start == first.period_end
    assert second.status is SubscriptionStatus.ACTIVE
    assert sorted(invoice.reason for invoice in report.invoices) == [
        "subscription_create",
        "subscription_cycle",
    ]
    assert {invoice.status for invoice in report.invoices} == {InvoiceStatus.PAID}
    paid = {charge.payment_id for charge in report.charges}
    assert paid == {payment for invoice in report.invoices for payment in invoice.payment_ids}
    renewal = next(one for one in report.invoices if one.reason == "subscription_cycle")
    assert renewal.lines[0].period_start == second.period_start


async def test_a_renewal_that_cannot_be_paid(world: World) -> None:
    customer_id, _ = await world.subscribe(PREMIUM, card=LATER_DECLINED, trial_days=3)
    await world.advance(3)
    await world.advance(0.1)

    report = await world.payments.report(customer_id)

    (subscription,) = report.subscriptions
    unpaid = next(one for one in report.invoices if one.status is InvoiceStatus.OPEN)
    assert subscription.status is SubscriptionStatus.PAST_DUE
    assert (unpaid.amount_paid, unpaid.amount_remaining, unpaid.paid_at) == (0, 1900, None)
    assert unpaid.next_attempt_at is not None
    assert unpaid.next_attempt_at > await world.now()
    assert {charge.status for charge in report.charges} == {"failed"}

    await world.advance(30)
    ended = (await world.payments.report(customer_id)).subscriptions[0]
    assert ended.status is SubscriptionStatus.CANCELED
    assert ended.ended_at is not None


async def test_an_upgrade_is_charged_at_once(world: World) -> None:
    customer_id, basic = await world.subscribe(BASIC)
    await world.advance(10)
    (price,) = (await world.v1.prices.list_async({"lookup_keys": [PREMIUM.lookup_key]})).data
    await world.v1.subscriptions.update_async(
        basic.id,
        {"items": [{"id": basic.item_id, "price": price.id}], "proration_behavior": "always_invoice"},
    )

    report = await world.payments.report(customer_id)

    (premium,) = report.subscriptions
    assert (premium.id, premium.item_id, premium.price.plan) == (basic.id, basic.item_id, "premium")
    assert premium.period_end == basic.period_end
    change = next(one for one in report.invoices if one.reason == "subscription_update")
    credit, cost = sorted(change.lines, key=lambda line: line.amount)
    assert credit.proration is cost.proration is True
    assert credit.amount < 0 < cost.amount
    assert credit.price is not None
    assert cost.price is not None
    assert (credit.price.plan, cost.price.plan) == ("basic", "premium")
    assert change.total == credit.amount + cost.amount > 0
    assert report.pending == ()


async def test_corrections_that_wait_for_the_next_invoice(world: World) -> None:
    customer_id, basic = await world.subscribe(BASIC)
    await world.advance(10)
    (price,) = (await world.v1.prices.list_async({"lookup_keys": [PREMIUM.lookup_key]})).data
    await world.v1.subscriptions.update_async(
        basic.id,
        {"items": [{"id": basic.item_id, "price": price.id}], "proration_behavior": "create_prorations"},
    )

    report = await world.payments.report(customer_id)

    credit, cost = sorted(report.pending, key=lambda item: item.amount)
    assert {credit.subscription_id, cost.subscription_id} == {basic.id}
    assert credit.amount < 0 < cost.amount
    assert report.subscriptions[0].next_amount == 1900 + credit.amount + cost.amount


async def test_a_smaller_plan_from_the_next_period(world: World) -> None:
    customer_id, premium = await world.subscribe(PREMIUM)
    (basic,) = (await world.v1.prices.list_async({"lookup_keys": [BASIC.lookup_key]})).data
    schedule = await world.v1.subscription_schedules.create_async({"from_subscription": premium.id})
    (now,) = schedule.phases
    current = {"items": [{"price": premium.price.id, "quantity": 1}]}
    current |= {"start_date": now.start_date, "end_date": now.end_date}
    later = {"items": [{"price": basic.id, "quantity": 1}]}
    await world.v1.subscription_schedules.update_async(schedule.id, {"phases": [current, later]})

    (waiting,) = (await world.payments.report(customer_id)).subscriptions
    assert waiting.price.plan == "premium"
    assert waiting.next_price is not None
    assert (waiting.next_price.plan, waiting.next_price.amount) == ("basic", 900)

    await world.advance(32)
    await world.advance(0.1)
    (changed,) = (await world.payments.report(customer_id)).subscriptions
    assert (changed.price.plan, changed.next_price) == ("basic", None)


async def test_leaving_at_the_end_of_the_period(world: World) -> None:
    customer_id, before = await world.subscribe(PREMIUM)
    await world.v1.subscriptions.update_async(before.id, {"cancel_at_period_end": True})

    (leaving,) = (await world.payments.report(customer_id)).subscriptions
    assert leaving.status is SubscriptionStatus.ACTIVE
    assert leaving.cancel_at == leaving.period_end == before.period_end
    assert leaving.next_amount is None

    await world.advance(32)
    (left,) = (await world.payments.report(customer_id)).subscriptions
    assert left.status is SubscriptionStatus.CANCELED
    assert (left.cancel_at, left.ended_at) == (None, before.period_end)


async def test_refunds(world: World) -> None:
    customer_id, _ = await world.subscribe(PREMIUM)
    (charge,) = (await world.payments.report(customer_id)).charges

    await world.v1.refunds.create_async({"charge": charge.id, "amount": 500})
    (some,) = (await world.payments.report(customer_id)).charges
    await world.v1.refunds.create_async({"charge": charge.id})
    (all_of_it,) = (await world.payments.report(customer_id)).charges

    assert (some.amount, some.refunded) == (1900, 500)
    assert (all_of_it.amount, all_of_it.refunded) == (1900, 1900)


@pytest.mark.parametrize(("outcome", "taken"), [("won", 0), ("lost", 1900)])
async def test_disputes(world: World, outcome: str, taken: int) -> None:
    customer_id, _ = await world.subscribe(PREMIUM)
    (charge,) = (await world.payments.report(customer_id)).charges
    dispute = await world.tell("disputes", charge=charge.id)

    (held,) = (await world.payments.report(customer_id)).charges
    await world.tell(f"disputes/{dispute['id']}/close", status=outcome)
    (decided,) = (await world.payments.report(customer_id)).charges

    assert (charge.disputed, held.disputed, decided.disputed) == (0, 1900, taken)


async def test_a_deleted_customer(world: World) -> None:
    customer_id, _ = await world.subscribe(PREMIUM)
    await world.v1.customers.delete_async(customer_id)

    report = await world.payments.report(customer_id)

    assert (report.deleted, report.subscriptions) == (True, ())
    assert [charge.amount for charge in report.charges] == [1900]


async def test_a_customer_who_is_not_there(world: World) -> None:
    with pytest.raises(ProviderNotFound):
        await world.payments.report("cus_none")
    with pytest.raises(ProviderNotFound):
        await world.payments.customer_of_charge("ch_none")
    with pytest.raises(ProviderNotFound):
        await world.payments.invoice_pages("in_none")


async def test_a_long_history_is_read_to_its_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    customer_id, _ = await world.subscribe(PREMIUM)
    for _ in range(4):
        await world.advance(31)
        await world.advance(0.1)
    whole = await world.payments.report(customer_id)

    monkeypatch.setattr("visiona.adapters.stripe.calls._PAGE_SIZE", 2)
    in_pages = await world.payments.report(customer_id)

    assert len(whole.invoices) == len(whole.charges) >= 4
    assert in_pages == whole


async def test_pages_of_an_invoice(world: World) -> None:
    customer_id, _ = await world.subscribe(PREMIUM)
    (invoice,) = (await world.payments.report(customer_id)).invoices

    pages = await world.payments.invoice_pages(invoice.id)

    assert pages.customer_id == customer_id
    for url in (pages.page_url, pages.pdf_url):
        assert url is not None
        assert (await world.control.get(url)).status_code == 200


# The portal


async def test_every_way_into_the_portal(world: World) -> None:
    customer_id, basic = await world.subscribe(BASIC)
    change = PlanChange(basic.id, basic.item_id, PREMIUM.lookup_key)
    order = PortalOrder(customer_id=customer_id, return_url="http://127.0.0.1:1/billing")

    ways = {
        "Change plan": order,
        "Change to Premium": replace(order, change=change),
        "Cancel Basic?": replace(order, cancel=basic.id),
        "Change your card": replace(order, payment_method=True),
    }
    for words, way in ways.items():
        address = await world.payments.open_portal(way)
        page = await world.control.get(address, follow_redirects=True)
        assert page.status_code == 200, address
        assert words in page.text


async def test_a_portal_for_nobody_or_to_nothing(world: World) -> None:
    customer_id, basic = await world.subscribe(BASIC)
    order = PortalOrder(customer_id=customer_id, return_url="http://127.0.0.1:1/billing")
    gone = PlanChange(basic.id, basic.item_id, "visiona_nothing_month")

    with pytest.raises(ProviderNotFound):
        await world.payments.open_portal(replace(order, customer_id="cus_none"))
    with pytest.raises(ProviderNotFound, match="lookup key"):
        await world.payments.open_portal(replace(order, change=gone))
    with pytest.raises((ProviderNotFound, ProviderRejected)):
        await world.payments.open_portal(replace(order, cancel="sub_none"))


async def test_a_portal_that_was_not_published(empty_world: World) -> None:
    customer_id = await empty_world.payments.customer(empty_world.person())
    order = PortalOrder(customer_id=customer_id, return_url="http://127.0.0.1:1/billing")

    with pytest.raises(ProviderNotFound, match="no portal configuration"):
        await empty_world.payments.open_portal(order)


async def test_a_portal_configuration_that_was_closed_is_found_anew(world: World) -> None:
    customer_id = await world.payments.customer(world.person())
    order = PortalOrder(customer_id=customer_id, return_url="http://127.0.0.1:1/billing")
    await world.payments.open_portal(order)
    (first,) = (await world.v1.billing_portal.configurations.list_async()).data
    # Stripe closes no configuration that is its account's default.
    await world.v1.billing_portal.configurations.create_async(
        {"features": {"invoice_history": {"enabled": True}}}
    )
    await world.v1.billing_portal.configurations.update_async(first.id, {"active": False})
    with pytest.raises(ProviderNotFound, match="no portal configuration"):
        await world.payments.open_portal(order)

    await world.payments.publish(OFFERS, webhook_url=None, change=True)

    assert await world.payments.open_portal(order)
    assert await world.count("billing_portal.configuration") == 3


# Webhooks


async def test_webhooks_of_a_purchase_are_genuine_and_name_the_customer(world: World) -> None:
    customer_id, subscription = await world.subscribe(PREMIUM)
    hooks = [
        *(await world.hooks_of("checkout.session.completed")),
        *(await world.hooks_of("customer.subscription.created")),
        *(await world.hooks_of("invoice.paid")),
    ]

    assert all(_is_genuine(hook, "whsec_old", SECRET) for hook in hooks)
    assert not any(_is_genuine(Hook(hook.signature, hook.body + b" "), SECRET) for hook in hooks)
    assert {hook.notice.customer_id for hook in hooks} == {customer_id}
    assert {hook.notice.api_version for hook in hooks} == {PINNED_VERSION}
    assert not any(hook.notice.livemode for hook in hooks)
    assert len({hook.notice.id for hook in hooks}) == 3
    assert {hook.notice.reference for hook in hooks} == {"user:1"}
    assert hooks[1].notice.object_id == subscription.id


async def test_a_dispute_names_its_charge(world: World) -> None:
    customer_id, _ = await world.subscribe(PREMIUM, card=DISPUTED)
    (hook,) = await world.hooks_of("charge.dispute.created")

    assert (hook.notice.object_kind, hook.notice.customer_id) == ("dispute", None)
    assert hook.notice.charge_id is not None
    assert await world.payments.customer_of_charge(hook.notice.charge_id) == customer_id
    assert (await world.payments.report(customer_id)).charges[0].disputed == 1900


@pytest.mark.parametrize("fault", ["forge_webhooks", "stale_webhooks"])
async def test_webhooks_that_are_not_genuine(world: World, fault: str) -> None:
    await world.fault(fault, events=["customer.updated"])
    customer_id = await world.payments.customer(world.person())
    await world.v1.customers.update_async(customer_id, {"name": "Jane"})

    (hook, *_) = await world.hooks_of("customer.updated")

    assert not _is_genuine(hook, SECRET)


async def test_while_the_secret_is_rolled(world: World) -> None:
    await world.tell("webhooks/secret", secret="whsec_next", keep_old_s=600)
    customer_id = await world.payments.customer(world.person())
    await world.v1.customers.update_async(customer_id, {"name": "Jane"})

    (hook,) = await world.hooks_of("customer.updated")

    assert _is_genuine(hook, SECRET)
    assert _is_genuine(hook, "whsec_next")
    assert _is_genuine(hook, SECRET, "whsec_next")
    assert not _is_genuine(hook, "whsec_another")


# Faults


@pytest.fixture
async def quick(world: World, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[StripePayments]:
    """An adapter that waits for little."""
    monkeypatch.setattr("visiona.adapters.stripe.calls._PAUSE_S", 0.01)
    patience = Timeouts(connect_s=1.0, read_s=0.5, write_s=0.5)
    adapter = StripePayments(replace(world.config, timeouts=patience, call_deadline_s=2.0))
    yield adapter
    await adapter.aclose()


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"fault": "rate_limit"}, "rate_limited"),
        ({"fault": "server_error"}, "server_error"),
        ({"fault": "html_502"}, "server_error"),
        ({"fault": "connection_drop"}, "connection_lost"),
        ({"fault": "truncated_json"}, "unusable_answer"),
        ({"fault": "wrong_shape"}, "unusable_answer"),
        ({"fault": "hang", "seconds": 3}, "timeout"),
    ],
)
async def test_a_report_during_a_fault(
    world: World, quick: StripePayments, fault: dict[str, Any], reason: str
) -> None:
    customer_id, _ = await world.subscribe(PREMIUM)
    await world.fault(**fault, path="/v1/invoices", method="GET", times=None)

    with pytest.raises(ProviderUnavailable, match=reason):
        await quick.report(customer_id)

    await world.control.delete("/_sandbox/faults")
    assert (await quick.report(customer_id)).invoices


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"fault": "rate_limit"}, ProviderUnavailable),
        ({"fault": "server_error"}, OutcomeUnknown),
        ({"fault": "html_502"}, OutcomeUnknown),
        ({"fault": "lost_answer"}, OutcomeUnknown),
        ({"fault": "lost_answer", "drop": True, "times": 2}, OutcomeUnknown),
        ({"fault": "connection_drop", "times": 2}, OutcomeUnknown),
        ({"fault": "truncated_json"}, OutcomeUnknown),
        ({"fault": "wrong_shape"}, OutcomeUnknown),
        ({"fault": "hang", "seconds": 3}, OutcomeUnknown),
        ({"fault": "hang", "when": "after", "seconds": 3}, OutcomeUnknown),
    ],
)
async def test_a_checkout_during_a_fault_is_one_checkout(
    world: World, quick: StripePayments, fault: dict[str, Any], kind: type[ProviderError]
) -> None:
    order = await world.order()
    await world.fault(**fault, path="/v1/checkout/sessions", method="POST")

    with pytest.raises(ProviderError) as caught:
        await quick.open_checkout(order)
    checkout = await quick.open_checkout(order)

    assert type(caught.value) is kind
    assert checkout.status == "open"
    assert await world.count("checkout.session") == 1


async def test_one_lost_answer_goes_unnoticed(world: World, quick: StripePayments) -> None:
    order = await world.order()
    await world.fault("lost_answer", drop=True, path="/v1/checkout/sessions", method="POST")

    checkout = await quick.open_checkout(order)

    assert checkout.status == "open"
    assert await world.count("checkout.session") == 1


async def test_a_stored_failure_is_given_again_until_the_key_changes(
    world: World, quick: StripePayments
) -> None:
    order = await world.order()
    await world.fault("server_error", stored=True, path="/v1/checkout/sessions", method="POST")

    for _ in range(2):
        with pytest.raises(OutcomeUnknown, match="server_error"):
            await quick.open_checkout(order)

    assert (await quick.open_checkout(replace(order, key="another"))).status == "open"


async def test_a_closing_whose_answer_was_lost_can_be_repeated(world: World, quick: StripePayments) -> None:
    checkout = await quick.open_checkout(await world.order())
    await world.fault("lost_answer", path="/v1/checkout/sessions/*/expire", method="POST")

    with pytest.raises(OutcomeUnknown):
        await quick.close_checkout(checkout.id)

    assert (await quick.close_checkout(checkout.id)).status == "expired"


async def test_publishing_goes_on_where_it_was_cut_off(empty_world: World) -> None:
    await empty_world.fault("lost_answer", path="/v1/prices", method="POST", skip=1)
    with pytest.raises(OutcomeUnknown):
        await empty_world.payments.publish(OFFERS, webhook_url=None, change=True)

    things = await empty_world.payments.publish(OFFERS, webhook_url=None, change=True)

    assert all(thing.ok for thing in things), told(things)
    assert await empty_world.count("price") == len(OFFERS)


async def test_a_wrong_key(world: World) -> None:
    stranger = StripePayments(replace(world.config, api_key="sk_test_stranger"))

    with pytest.raises(ProviderRejected, match="the API key is not accepted") as caught:
        await stranger.report("cus_1")
    await stranger.aclose()

    assert caught.value.status == 401
    assert "stranger" not in f"{caught.value} {caught.value.message}"
