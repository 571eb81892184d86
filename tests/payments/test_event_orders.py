"""Events in every order, twice, late, and while Stripe is still half-way: the state is always the same.

They are events that the sandbox sent, signed, through the hook, the inbox and the jobs.
"""

import asyncio
import random
import socket
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import permutations
from typing import Any

import pytest
import uvicorn
from tests.conftest import copied_database
from tests.payments.buyers import Buyer
from tests.payments.conftest import ORIGIN, ShiftedClock, Shop, lent, open_shop
from tests.sandbox.stripe.conftest import KEY, Server, run_stripe

from visiona.adapters.stripe import StripeConfig, StripePayments
from visiona.db.jobs import RetryLater
from visiona.entrypoints.asgi import create_asgi
from visiona.payments.service import AGAIN_AFTER, READINGS, PaymentService, PaymentSettings
from visiona.ports.payments import CustomerReport
from visiona.settings import STRIPE_WEBHOOK_PATH

Event = dict[str, Any]

FIVE = (
    "invoice.finalized",
    "customer.subscription.created",
    "invoice.paid",
    "customer.subscription.updated",
    "checkout.session.completed",
)
ORDERS = list(permutations(range(len(FIVE))))


@pytest.fixture
async def shop(module_shop: Shop) -> AsyncGenerator[Shop]:
    async with lent(module_shop) as shop:
        yield shop


@pytest.fixture
async def buyer(shop: Shop) -> Buyer:
    return Buyer(shop, await shop.sign_up())


# Every order


async def deliver_and_work(shop: Shop, events: Sequence[Event], jobs: str) -> None:
    """Jobs run after each event, once in the middle, while events come in, or at the end only."""
    if jobs == "beside":
        await asyncio.gather(*(post(shop, event) for event in events), shop.run_jobs())
    else:
        for number, event in enumerate(events):
            await post(shop, event)
            if jobs == "after each" or (jobs == "between" and number == len(events) // 2):
                await shop.run_jobs()
    await shop.run_jobs()


async def post(shop: Shop, event: Event) -> None:
    assert await shop.post_event(event) == 204


JOBS = ("after each", "between", "beside", *("at the end",) * 7)
"""In turn; a reading costs time."""


@pytest.mark.parametrize("doubled", ["each", "all"])
async def test_every_order_of_a_new_subscriptions_events_ends_the_same(
    shop: Shop, buyer: Buyer, doubled: str
) -> None:
    await buyer.pay()
    by_type = {event["type"]: event for event in await buyer.events()}
    five = [by_type[name] for name in FIVE]
    assert len({event["id"] for event in five}) == 5
    await buyer.forget()
    found: dict[str, set[str]] = {}
    for number, order in enumerate(ORDERS):
        await buyer.forget()
        once = [five[place] for place in order]
        twice = [event for event in once for _ in range(2)] if doubled == "each" else [*once, *once]
        await deliver_and_work(shop, twice, JOBS[number % len(JOBS)])
        for table, text in (await buyer.on_record(history=True)).items():
            found.setdefault(table, set()).add(text)
    assert {table: len(texts) for table, texts in found.items()} == dict.fromkeys(found, 1)
    assert await buyer.standing() == ("premium", 1000)
    await check_against_stripe(buyer)


async def check_against_stripe(buyer: Buyer) -> None:
    """What is on record of subscription, invoices, charges and the checkout, asked for with the SDK."""
    stripe, customer = buyer.shop.server.client.v1, await buyer.customer()
    subscriptions = stripe.subscriptions.list({"customer": customer, "status": "all"}).data
    assert sorted(
        await buyer.rows(
            """select id, status, item_id, price_id, (amount * 100)::int,
                 extract(epoch from period_start)::int, extract(epoch from period_end)::int,
                 extract(epoch from created_at)::int
               from subscriptions where user_id = %(user)s"""
        )
    ) == sorted(
        (
            one.id,
            one.status,
            one["items"].data[0].id,
            one["items"].data[0].price.id,
            one["items"].data[0].price.unit_amount,
            one["items"].data[0].current_period_start,
            one["items"].data[0].current_period_end,
            one.created,
        )
        for one in subscriptions
    )
    assert sorted(
        await buyer.rows(
            """select id, number, status, subscription_id, (total * 100)::int, (amount_paid * 100)::int,
                 (amount_remaining * 100)::int, currency, extract(epoch from created_at)::int
               from invoices where user_id = %(user)s"""
        )
    ) == sorted(
        (
            one.id,
            one.number,
            one.status,
            one.parent.subscription_details.subscription,
            one.total,
            one.amount_paid,
            one.amount_remaining,
            one.currency,
            one.created,
        )
        for one in stripe.invoices.list({"customer": customer}).data
    )
    assert sorted(
        await buyer.rows(
            """select stripe_charge_id, (amount * 100)::int, (refunded * 100)::int, (disputed * 100)::int,
                 currency
               from payments where user_id = %(user)s"""
        )
    ) == sorted(
        (
            one.id,
            one.amount,
            one.amount_refunded,
            sum(d.amount for d in stripe.disputes.list({"charge": one.id}).data if d.status != "won"),
            one.currency,
        )
        for one in stripe.charges.list({"customer": customer}).data
    )
    assert sorted(
        await buyer.rows("select session_id, state from checkouts where user_id = %(user)s")
    ) == sorted((one.id, one.status) for one in stripe.checkout.sessions.list({"customer": customer}).data)


# While Stripe is half-way


class InTheLoop(uvicorn.Server):
    """Serves beside the test, whose signals stay its own."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


@pytest.fixture(scope="module")
async def live_shop(
    postgres: str, migrated_template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Shop]:
    """A shop on a port of its own, at which the sandbox itself delivers."""
    folder = tmp_path_factory.mktemp("live")
    with socket.create_server(("127.0.0.1", 0)) as listener, ExitStack() as stack:
        hook = f"http://127.0.0.1:{listener.getsockname()[1]}{STRIPE_WEBHOOK_PATH}"
        url = stack.enter_context(copied_database(postgres, migrated_template))
        stripe = stack.enter_context(run_stripe(folder, webhook_url=hook))
        async with open_shop(url, stripe, ShiftedClock(), folder) as shop:
            config = uvicorn.Config(create_asgi(shop.app), log_level="critical", lifespan="off")
            web = InTheLoop(config)
            serving = asyncio.create_task(web.serve(sockets=[listener]))
            yield shop
            web.should_exit = True
            await serving


REFUND = 1170  # of 3900: 30 %
STEPS = ("pay", "refund", "dispute", "close")
STANDING = {
    "pay": ("premium", 1000),
    "refund": ("premium", 700),
    "dispute": ("free", 30),
    "won": ("premium", 700),
    "lost": ("free", 30),
}


@pytest.mark.parametrize("luck", range(12))
async def test_readings_between_pay_refund_and_dispute_change_nothing_of_the_end(
    live_shop: Shop, luck: int
) -> None:
    shop, dice = live_shop, random.Random(luck)
    buyer = Buyer(shop, await shop.sign_up())
    end = ("won", "lost")[luck % 2]
    shop.server.control("webhooks/hold")
    told: list[Event] = []
    for step in STEPS:
        await take(step, buyer, end)
        told += await buyer.events()
        for event in dice.sample(told, len(told) // 4):  # a few are early, out of order, and come again
            await post(shop, event)
        if dice.random() < 0.6:
            await shop.app.payments.look_again(buyer.actor)
            await shop.run_jobs()
            assert await buyer.standing() == STANDING[end if step == "close" else step]
    order = dice.sample([event["id"] for event in told], len(told))
    await asyncio.to_thread(shop.server.control, "webhooks/release", order=order)
    assert {one["status"] for event in shop.server.events() for one in event["deliveries"]} == {"delivered"}
    await shop.run_jobs()
    heard = await buyer.on_record()
    assert await buyer.standing() == STANDING[end]
    await check_against_stripe(buyer)
    await buyer.forget()
    await buyer.sync()
    assert await buyer.on_record() == heard


async def take(step: str, buyer: Buyer, end: str) -> None:
    stripe, control = buyer.shop.server.client.v1, buyer.shop.server.control
    if step == "pay":
        await buyer.pay()
        return
    charge = await buyer.charge()
    if step == "refund":
        stripe.refunds.create({"charge": charge, "amount": REFUND})
    elif step == "dispute":
        control("disputes", charge=charge)
    else:
        [dispute] = stripe.disputes.list({"charge": charge}).data
        control(f"disputes/{dispute.id}/close", status=end)


# Two readings at once


class Halting:
    """The adapter itself, whose first reading waits for leave to begin, and to come back."""

    def __init__(self, adapter: StripePayments) -> None:
        self._adapter = adapter
        self.may_read, self.has_read, self.may_return = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.readings = 0

    async def report(self, customer_id: str) -> CustomerReport:
        self.readings += 1
        if self.readings > 1:
            return await self._adapter.report(customer_id)
        await self.may_read.wait()
        report = await self._adapter.report(customer_id)
        self.has_read.set()
        await self.may_return.wait()
        return report

    def __getattr__(self, name: str) -> Any:
        return getattr(self._adapter, name)


@pytest.fixture(scope="module")
async def adapter(stripe_server: Server) -> AsyncGenerator[StripePayments]:
    adapter = StripePayments(StripeConfig(api_key=KEY, base_url=stripe_server.base))
    yield adapter
    await adapter.aclose()


def reader(shop: Shop, payments: Any) -> PaymentService:
    settings = PaymentSettings(ORIGIN, enabled=True, mode="sandbox")
    return PaymentService(shop.worker.database, shop.clock, payments, shop.app.billing.catalogue, settings)


INTERLEAVINGS = [
    order
    for order in permutations(("read 1", "write 1", "read 2", "write 2", "refund"))
    if order.index("read 1") < order.index("read 2") < order.index("write 2")
    and order.index("read 1") < order.index("write 1")
]


async def test_of_two_readings_at_once_the_newer_one_stays(
    shop: Shop, buyer: Buyer, adapter: StripePayments
) -> None:
    await buyer.buy()
    charge, refunded = await buyer.charge(), 0
    again = 0
    for order in INTERLEAVINGS:
        halting = {number: Halting(adapter) for number in "12"}
        syncs = {
            number: asyncio.create_task(reader(shop, port).sync(buyer.id)) for number, port in halting.items()
        }
        newest = refunded
        for step in order:
            verb, _, number = step.partition(" ")
            if verb == "read":
                halting[number].may_read.set()
                await asyncio.wait_for(halting[number].has_read.wait(), 10)
                newest = refunded
            elif verb == "write":
                halting[number].may_return.set()
                await asyncio.wait_for(syncs[number], 10)
            else:
                shop.server.client.v1.refunds.create({"charge": charge, "amount": 100})
                refunded += 100
        again += sum(port.readings - 1 for port in halting.values())
        [(recorded,)] = await buyer.rows(
            "select (refunded * 100)::int from payments where user_id = %(user)s"
        )
        assert newest <= recorded <= refunded, order
    assert again > 0
    states = await buyer.rows(
        """select details ->> 'status' from audit_logs
           where user_id = %(user)s and action = 'payment.recorded' order by id"""
    )
    assert states[0] == ("succeeded",)
    assert set(states[1:]) == {("partially_refunded",)}


async def test_a_reading_that_is_always_overtaken_is_left_to_the_sweep(
    shop: Shop, buyer: Buyer, adapter: StripePayments
) -> None:
    await buyer.buy()

    class Overtaken(Halting):
        async def report(self, customer_id: str) -> CustomerReport:
            report = await self._adapter.report(customer_id)
            self.readings += 1
            await buyer.sync()
            return report

    port = Overtaken(adapter)
    with pytest.raises(RetryLater):
        await reader(shop, port).sync(buyer.id)
    assert port.readings == READINGS
    shop.clock.shift += AGAIN_AFTER
    await shop.worker.payments.sweep()
    assert await shop.run_jobs() == 1
