"""Accounts that did not come to be as Visiona makes them, and keys that are not those they were."""

import contextlib
import logging
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.payments.buyers import Buyer, rows
from tests.payments.conftest import ORIGIN, Shop, lent
from tests.sandbox.stripe.conftest import KEY, Server, run_stripe

from visiona.adapters.stripe import StripeConfig, StripePayments
from visiona.core.errors import Unavailable
from visiona.db.jobs import RetryLater
from visiona.payments.model import Mode
from visiona.payments.service import AGAIN_AFTER, PaymentService, PaymentSettings

FREE, PREMIUM, STUDIO = ("free", 30), ("premium", 1000), ("studio", 4000)


@pytest.fixture
async def shop(module_shop: Shop) -> AsyncGenerator[Shop]:
    async with lent(module_shop) as shop:
        yield shop


@pytest.fixture
async def buyer(shop: Shop) -> Buyer:
    return Buyer(shop, await shop.sign_up())


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR]


def price(shop: Shop, lookup_key: str) -> str:
    return shop.server.client.v1.prices.list({"lookup_keys": [lookup_key]}).data[0].id


def in_dashboard(shop: Shop, customer: str, price_id: str) -> Any:
    """A subscription that an operator makes by hand, paid with a card on file."""
    stripe = shop.server.client.v1
    card = stripe.payment_methods.attach("pm_card_visa", {"customer": customer})
    return stripe.subscriptions.create(
        {"customer": customer, "items": [{"price": price_id}], "default_payment_method": card.id}
    )


async def subscriptions(buyer: Buyer) -> list[tuple[Any, ...]]:
    return await buyer.rows("select status, plan from subscriptions where user_id = %(user)s order by plan")


# Customers


async def test_a_customer_who_is_deleted_at_stripe_has_nothing_any_more_and_can_begin_anew(
    shop: Shop, buyer: Buyer, caplog: pytest.LogCaptureFixture
) -> None:
    await buyer.buy()
    first = await buyer.customer()
    invoices = await buyer.rows("select id, status from invoices where user_id = %(user)s")
    told = await buyer.events()
    shop.server.client.v1.customers.delete(first)
    told += shop.new_events(first)
    assert {"customer.deleted", "customer.subscription.deleted"} <= {event["type"] for event in told}
    await shop.deliver(told)
    assert await buyer.standing() == FREE
    assert await subscriptions(buyer) == [("canceled", "premium")]
    assert await buyer.rows("select id, status from invoices where user_id = %(user)s") == invoices
    assert await buyer.rows("select customer_id from payment_customers where user_id = %(user)s") == [(None,)]
    ended = await buyer.rows(
        """select details ->> 'status' from audit_logs
           where user_id = %(user)s and action = 'subscription.changed' order by id"""
    )
    assert ended == [("active",), ("canceled",)]

    await buyer.buy("studio")
    second = await buyer.customer()
    assert second != first
    for number, event in enumerate(told):  # what Stripe says late of the first one
        assert await shop.post_event(event | {"id": f"{event['id']}{number}"}) == 204
    await shop.run_jobs()
    await buyer.sync()
    assert await buyer.customer() == second
    assert await buyer.standing() == STUDIO
    assert await subscriptions(buyer) == [("canceled", "premium"), ("active", "studio")]
    assert not [line for line in errors(caplog) if "second customer" not in line]


async def test_a_subscription_made_in_the_dashboard_counts(shop: Shop, buyer: Buyer) -> None:
    url = await buyer.subscribe()
    in_dashboard(shop, await buyer.customer(), price(shop, "visiona_studio_month"))
    await shop.deliver(await buyer.events())
    assert await buyer.standing() == STUDIO
    assert await buyer.rows("select state from checkouts where user_id = %(user)s") == [("expired",)]
    session = shop.server.client.v1.checkout.sessions.retrieve(url.rsplit("/", 1)[-1])
    assert session.status == "expired"  # or they could buy the same twice


async def through_a_link(shop: Shop, buyer: Buyer) -> tuple[str, list[dict[str, Any]]]:
    """Paid on a page that Visiona did not make, for which Stripe makes the customer: what it then says."""
    stripe = shop.server.client.v1
    customer = stripe.customers.create({"email": "somebody@example.com"}).id
    session = stripe.checkout.sessions.create(
        {
            "mode": "subscription",
            "customer": customer,
            "client_reference_id": buyer.actor.subject,
            "line_items": [{"price": price(shop, "visiona_premium_month"), "quantity": 1}],
            "success_url": ORIGIN,
        }
    )
    assert shop.pay(session.url or "")["outcome"] == "Paid"
    return customer, shop.new_events(customer)


@pytest.mark.parametrize("latest_first", [False, True])
async def test_a_payment_link_belongs_to_whom_it_names(shop: Shop, buyer: Buyer, latest_first: bool) -> None:
    customer, told = await through_a_link(shop, buyer)
    await shop.deliver(told[::-1] if latest_first else told)
    assert await buyer.customer() == customer
    assert await buyer.standing() == PREMIUM


async def test_a_payment_link_of_somebody_who_is_a_customer_takes_nothing_from_them(
    shop: Shop, buyer: Buyer, caplog: pytest.LogCaptureFixture
) -> None:
    await buyer.buy("studio")
    own = await buyer.customer()
    _, told = await through_a_link(shop, buyer)
    await shop.deliver(told)
    assert await buyer.customer() == own
    assert await buyer.standing() == STUDIO
    assert any("second customer" in line for line in errors(caplog))


# Subscriptions


async def test_a_price_that_nobody_knows_entitles_to_nothing_and_breaks_nothing(
    shop: Shop, buyer: Buyer, caplog: pytest.LogCaptureFixture
) -> None:
    await buyer.subscribe()
    in_dashboard(shop, await buyer.customer(), shop.server.price(5000).id)
    await shop.deliver(await buyer.events())
    assert await buyer.standing() == FREE
    assert await subscriptions(buyer) == [("active", None)]
    assert any("belongs to no plan" in line for line in errors(caplog))
    overview = await shop.app.payments.overview(buyer.actor)
    assert overview.subscription is not None
    assert (overview.subscription.plan, overview.subscription.live) == (None, True)
    assert "/p/session/" in await buyer.subscribe()  # to the portal, not to a second subscription


async def test_of_two_subscriptions_the_larger_counts_until_it_ends(
    shop: Shop, buyer: Buyer, caplog: pytest.LogCaptureFixture
) -> None:
    await buyer.buy("premium")
    larger = in_dashboard(shop, await buyer.customer(), price(shop, "visiona_studio_month"))
    await shop.deliver(await buyer.events())
    assert await buyer.standing() == STUDIO
    assert await subscriptions(buyer) == [("active", "premium"), ("active", "studio")]
    assert any("several subscriptions" in line for line in errors(caplog))
    charges = await buyer.rows("select amount::int from payments where user_id = %(user)s order by amount")
    assert charges == [(39,), (129,)]
    shop.server.client.v1.subscriptions.cancel(larger.id)
    await shop.deliver(await buyer.events())
    assert await buyer.standing() == PREMIUM


# Keys


@dataclass
class Account:
    """Another account at Stripe, which sells the same, as Visiona is after a restart with its key."""

    shop: Shop
    server: Server
    adapter: StripePayments

    def services(self, mode: Mode) -> tuple[PaymentService, PaymentService]:
        """The web server's and the worker's."""
        settings, catalogue = (
            PaymentSettings(ORIGIN, enabled=True, mode=mode),
            self.shop.app.billing.catalogue,
        )
        web, worker = (
            PaymentService(database, self.shop.clock, self.adapter, catalogue, settings)
            for database in (self.shop.app.database, self.shop.worker.database)
        )
        return web, worker

    async def pay(self, url: str) -> None:
        assert self.server.control(f"pay/{url.rsplit('/', 1)[-1]}")["outcome"] == "Paid"


@pytest.fixture
async def elsewhere(shop: Shop, tmp_path: Path) -> AsyncGenerator[Account]:
    with run_stripe(tmp_path) as server:
        account = Account(shop, server, StripePayments(StripeConfig(api_key=KEY, base_url=server.base)))
        await account.services("test")[1].publish(None, change=True)
        yield account
        await account.adapter.aclose()


async def sync_all(shop: Shop, service: PaymentService) -> list[int]:
    """Every reading that was asked for, by this service; whose they were."""
    wanted = await rows(
        shop,
        """delete from procrastinate.procrastinate_jobs where task_name = 'payments.sync'
           returning (args ->> 'user_id')::bigint""",
    )
    for (user_id,) in wanted:
        with contextlib.suppress(RetryLater):
            await service.sync(user_id)
    return [user_id for (user_id,) in wanted]


async def test_what_play_money_bought_is_worth_nothing_where_money_is_real(
    shop: Shop, buyer: Buyer, elsewhere: Account, caplog: pytest.LogCaptureFixture
) -> None:
    await buyer.buy()
    modes: tuple[Mode, ...] = ("test", "live")
    for mode in modes:
        web, worker = elsewhere.services(mode)
        held = await buyer.customer()
        with pytest.raises(Unavailable):  # until the old account was put away, which takes a moment
            await web.subscribe(buyer.actor, buyer.email, "studio", "month")
        await worker.sweep()
        assert buyer.id in await sync_all(shop, worker)
        assert await buyer.standing() == FREE
        url = await web.subscribe(buyer.actor, buyer.email, "studio", "month")
        [(now_in, customer)] = await buyer.rows(
            "select mode, customer_id from payment_customers where user_id = %(user)s"
        )
        assert now_in == mode
        assert customer not in {None, held} or mode == "live"  # test and live are one account here
        await elsewhere.pay(url)
        await worker.sync(buyer.id)
        assert await buyer.standing() == STUDIO
        for one in elsewhere.server.client.v1.subscriptions.list({"customer": customer}).data:
            if mode == "test":
                elsewhere.server.client.v1.subscriptions.cancel(one.id)
    caplog.clear()
    web, worker = elsewhere.services("test")  # a slip of an operator's
    await worker.sync(buyer.id)
    shop.clock.shift += timedelta(days=2)
    await worker.sweep()
    await sync_all(shop, worker)
    assert await buyer.standing() == STUDIO
    assert any("real money" in line for line in errors(caplog))
    with pytest.raises(Unavailable):
        await web.subscribe(buyer.actor, buyer.email, "premium", "month")
    assert await buyer.rows("select mode from payment_customers where user_id = %(user)s") == [("live",)]


async def test_the_key_of_another_account_costs_nobody_anything(
    shop: Shop, buyer: Buyer, elsewhere: Account, caplog: pytest.LogCaptureFixture
) -> None:
    await buyer.buy()
    newcomer = Buyer(shop, await shop.sign_up())
    await newcomer.subscribe()
    before = await buyer.on_record(history=True), await newcomer.on_record(history=True)
    web, worker = elsewhere.services("sandbox")
    for _ in range(3):
        shop.clock.shift += timedelta(days=1)
        await worker.sweep()
        assert {buyer.id, newcomer.id} <= set(await sync_all(shop, worker))
    assert any("of the right account" in line for line in errors(caplog))
    for person in (buyer, newcomer):
        for attempt in (
            web.subscribe(person.actor, person.email, "studio", "month"),
            web.portal(person.actor),
        ):
            with pytest.raises(Unavailable, match="Nothing was charged"):
                await attempt
    assert elsewhere.server.client.v1.customers.list().data == []
    assert (await buyer.on_record(history=True), await newcomer.on_record(history=True)) == before

    shop.clock.shift += AGAIN_AFTER
    await shop.worker.payments.sweep()
    await shop.run_jobs()
    assert await buyer.standing() == PREMIUM
    shop.clock.shift = timedelta(0)
    await newcomer.buy()
    assert await newcomer.standing() == PREMIUM
