"""Attempts to get more than was paid for, to pay twice, and to lose what was paid for."""

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
import stripe
from tests.factories.keys import MASTER_KEY
from tests.factories.people import add_row
from tests.payments.buyers import Buyer, rows
from tests.payments.conftest import Shop, lent, shop_settings
from tests.payments.test_entitlement import (
    MIDDLE,
    PREMIUM,
    START,
    STUDIO,
    account,
    at,
    base,
    charge,
    invoice,
    line,
    subscription,
    upgrade,
)

from visiona.adapters.provenance import make_certificate
from visiona.bootstrap import build, prepare_database
from visiona.core.clock import SystemClock
from visiona.core.errors import Unavailable, VisionaError
from visiona.db.actor import SystemActor, UserActor
from visiona.db.jobs import RetryLater
from visiona.payments import jobs as payment_jobs
from visiona.payments import model, store
from visiona.payments.service import AGAIN_AFTER, SWEEP_BATCH, PaymentService, PaymentSettings
from visiona.ports.errors import OutcomeUnknown
from visiona.ports.payments import (
    Checkout,
    CheckoutOrder,
    CustomerReport,
    InvoiceLine,
    InvoiceReport,
    InvoiceStatus,
    SubscriptionReport,
)
from visiona.settings import SettingsError, read_settings


@pytest.fixture
async def shop(module_shop: Shop) -> AsyncGenerator[Shop]:
    async with lent(module_shop) as shop:
        yield shop


@pytest.fixture
async def buyer(shop: Shop) -> Buyer:
    return Buyer(shop, await shop.sign_up())


def subscription_of(buyer: Buyer, customer: str) -> Any:
    return buyer.shop.server.client.v1.subscriptions.list({"customer": customer}).data[0]


def price_of(shop: Shop, lookup_key: str) -> str:
    return shop.server.client.v1.prices.list({"lookup_keys": [lookup_key]}).data[0].id


def price_by_hand(shop: Shop, amount: int, **more: Any) -> str:
    v1 = shop.server.client.v1
    product = v1.products.create({"name": "Made by hand"}).id
    month: Any = {"currency": "usd", "unit_amount": amount, "recurring": {"interval": "month"}}
    return v1.prices.create({"product": product, **month, **more}).id


# More than was paid for


@pytest.mark.parametrize("end", ["void", "uncollectible"])
async def test_an_upgrade_that_is_never_paid_is_no_upgrade(buyer: Buyer, end: str) -> None:
    await buyer.buy()
    v1 = buyer.shop.server.client.v1
    customer = await buyer.customer()
    found = subscription_of(buyer, customer)
    card = v1.payment_methods.attach("pm_card_chargeCustomerFail", {"customer": customer})
    v1.subscriptions.update(found.id, {"default_payment_method": card.id})
    v1.subscriptions.update(
        found.id,
        {
            "items": [
                {"id": found["items"].data[0].id, "price": price_of(buyer.shop, "visiona_studio_month")}
            ],
            "proration_behavior": "always_invoice",
            "payment_behavior": "allow_incomplete",
        },
    )
    unpaid = v1.invoices.list({"customer": customer, "limit": 1}).data[0]
    assert (unpaid.status, unpaid.total) == ("open", 9000)
    if end == "void":
        v1.invoices.void_invoice(unpaid.id)
    else:
        v1.invoices.mark_uncollectible(unpaid.id)
    assert v1.subscriptions.retrieve(found.id).status == "active"
    await buyer.sync()
    assert await buyer.standing() == ("premium", 1000)


def one_off(**changes: Any) -> InvoiceReport:
    """Something else that was put on the subscription's account in the middle of the period."""
    return invoice(5, InvoiceLine(None, 10000, False, MIDDLE, MIDDLE), reason="manual", **changes)


def test_money_for_something_else_buys_no_images_and_takes_none() -> None:
    kept = account(
        subscription(),
        invoices=(base(), one_off()),
        charges=(charge(1, 3900), charge(5, 10000, refunded=10000)),
    )
    assert at(kept, MIDDLE) == ("premium", 1000, 10)
    given_back = account(
        subscription(),
        invoices=(base(), one_off()),
        charges=(charge(1, 3900, refunded=3900), charge(5, 10000)),
    )
    assert at(given_back, MIDDLE) == ("premium", 0, 0)


@pytest.mark.parametrize("status", [InvoiceStatus.DRAFT, InvoiceStatus.OPEN, InvoiceStatus.VOID])
def test_a_bill_for_something_else_does_not_hold_a_change_up(status: InvoiceStatus) -> None:
    given = account(subscription(price=STUDIO), invoices=(base(), one_off(status=status)))
    assert at(given, MIDDLE) == ("studio", 4000, 40)


def test_an_upgrade_paid_at_the_second_attempt_counts() -> None:
    first = upgrade(status=InvoiceStatus.VOID)
    assert at(account(subscription(price=STUDIO), invoices=(base(), first)), MIDDLE) == ("premium", 1000, 10)
    second = upgrade(number=3)
    report = account(subscription(price=STUDIO), invoices=(base(), first, second))
    assert at(report, MIDDLE) == ("studio", 2500, 25)


# Paying twice


class LosesAnAnswer:
    """As Stripe, but the first of two calls for the same checkout is answered last, and not heard."""

    def __init__(self, payments: Any) -> None:
        self._payments = payments
        self._first = True
        self.told = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._payments, name)

    async def open_checkout(self, order: CheckoutOrder) -> Checkout:
        first, self._first = self._first, False
        checkout = await self._payments.open_checkout(order)
        if first:
            await self.told.wait()
            raise OutcomeUnknown("stripe", "connection_lost")
        return checkout


async def test_a_click_whose_answer_is_lost_leaves_its_twins_checkout_alone(
    shop: Shop, buyer: Buyer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the next click would open a second one beside it."""
    slow = LosesAnAnswer(shop.app.payments._payments)
    monkeypatch.setattr(shop.app.payments, "_payments", slow)

    async def click() -> str:
        url = await buyer.subscribe()
        slow.told.set()
        return url

    answers = await asyncio.gather(click(), click(), return_exceptions=True)
    assert {type(answer) for answer in answers} == {str, Unavailable}
    await buyer.subscribe("studio")
    sessions = shop.server.client.v1.checkout.sessions.list({"customer": await buyer.customer()}).data
    assert [session.status for session in sessions].count("open") == 1


async def test_a_checkout_is_not_given_up_by_who_saw_it_without_its_session(shop: Shop, buyer: Buyer) -> None:
    await buyer.subscribe()
    async with shop.app.database.transaction(buyer.actor) as connection:
        known = await store.open_intent(connection, buyer.id)
        assert known is not None
        before = replace(known, session_id=None)
        assert not await store.close_intent(connection, before, model.CheckoutState.FAILED)
        assert await store.close_intent(connection, known, model.CheckoutState.EXPIRED)
        assert not await store.close_intent(connection, known, model.CheckoutState.FAILED)


@pytest.mark.timeout(300)
async def test_whatever_is_done_at_once_nobody_can_pay_twice(shop: Shop, tmp_path: Path) -> None:
    """Clicks, payments, cancellations and refunds of one person, beside two workers that read and sweep."""
    url = shop.app.settings.database_url
    assert url is not None
    other = build(shop_settings(url, shop.server.base, tmp_path), "worker", shop.clock)
    await other.open()
    try:
        for seed in range(15):
            await _crowd(shop, other.payments, random.Random(seed))
    finally:
        await other.close()


class Crowd:
    """What one person, their bank and two workers do in the same moment."""

    def __init__(self, buyer: Buyer, second: PaymentService, dice: random.Random) -> None:
        self.buyer, self.second, self.dice = buyer, second, dice
        self.v1 = buyer.shop.server.client.v1
        self.customer = ""
        self.urls: list[str] = []

    async def click(self) -> None:
        self.urls.append(await self.buyer.subscribe(self.dice.choice(["premium", "studio"])))

    async def pay(self) -> None:
        checkouts = [url for url in self.urls if "/c/pay/" in url]
        if checkouts:
            session = self.dice.choice(checkouts).rsplit("/", 1)[-1]
            path = f"/_sandbox/pay/{session}"
            await asyncio.to_thread(self.buyer.shop.server.raw.post, path, json={})

    async def cancel(self) -> None:
        for found in self.v1.subscriptions.list({"customer": self.customer}).data:
            await asyncio.to_thread(self.v1.subscriptions.cancel, found.id)

    async def refund(self) -> None:
        for found in self.v1.charges.list({"customer": self.customer}).data:
            await asyncio.to_thread(self.v1.refunds.create, {"charge": found.id, "amount": 500})

    async def read_beside(self) -> None:
        await self.second.sync(self.buyer.id)

    async def come_back(self) -> None:
        await self.buyer.shop.app.payments.look_again(self.buyer.actor)

    async def at_once(self) -> None:
        acts: list[Callable[[], Awaitable[None]]] = [
            self.click, self.click, self.click, self.pay, self.pay, self.cancel, self.refund,
            self.buyer.sync, self.read_beside, self.second.sweep, self.come_back,
        ]  # fmt: skip
        moment = self.dice.choices(acts, k=8)
        answers = await asyncio.gather(*(act() for act in moment), return_exceptions=True)
        refusals = (VisionaError, RetryLater, stripe.StripeError)
        assert [answer for answer in answers if answer and not isinstance(answer, refusals)] == []

    def check_till(self) -> None:
        told = {url.rsplit("/", 1)[-1] for url in self.urls}
        of_theirs: Any = {"customer": self.customer, "limit": 100}
        found = self.v1.checkout.sessions.list({**of_theirs, "status": "open"}).data
        assert len(told & {session.id for session in found}) <= 1
        assert len(self.v1.subscriptions.list(of_theirs).data) <= 1


async def _crowd(shop: Shop, second: PaymentService, dice: random.Random) -> None:
    buyer = Buyer(shop, await shop.sign_up())
    crowd = Crowd(buyer, second, dice)
    await crowd.click()
    crowd.customer = await buyer.customer()
    for _ in range(4):
        await crowd.at_once()
        crowd.check_till()
    await shop.run_jobs()
    await buyer.sync()
    report = await shop.worker.payments._payments.report(crowd.customer)
    granted = await buyer.rows(
        """select resource, period_start, entitled from quota_usage
           where user_id = %(user)s and subscription_id is not null and entitled > 0"""
    )
    assert set(granted) == {
        (resource.value, window.period.start, amount)
        for window in model.windows(report, shop.worker.billing.catalogue)
        for resource, amount in window.entitled.items()
        if amount
    }


# Losing what was paid for


async def test_who_pays_a_price_by_hand_keeps_the_plan_when_the_price_is_replaced(
    shop: Shop, buyer: Buyer
) -> None:
    """Its lookup key goes to the new price, and was all that told what it buys."""
    v1 = shop.server.client.v1
    usual = price_of(shop, "visiona_premium_month")
    by_hand = price_by_hand(shop, 2900, lookup_key="visiona_premium_month", transfer_lookup_key=True)
    await buyer.buy()
    assert await buyer.standing() == ("premium", 1000)
    await shop.worker.payments.publish(None, change=True)
    assert price_of(shop, "visiona_premium_month") not in {usual, by_hand}
    assert v1.prices.retrieve(by_hand).lookup_key is None
    await buyer.sync()
    assert await buyer.standing() == ("premium", 1000)


async def test_another_subscription_of_the_same_customer_does_not_hide_the_plan(buyer: Buyer) -> None:
    """Or a click on the plan that they have would lead to the change of that other subscription."""
    await buyer.buy()
    v1 = buyer.shop.server.client.v1
    customer = await buyer.customer()
    card = v1.payment_methods.attach("pm_card_visa", {"customer": customer})
    ours = subscription_of(buyer, customer).id
    await asyncio.sleep(1.1)  # the newer one, in whole seconds
    v1.subscriptions.create(
        {
            "customer": customer,
            "items": [{"price": price_by_hand(buyer.shop, 1200)}],
            "default_payment_method": card.id,
        }
    )
    await buyer.sync()
    overview = await buyer.shop.app.payments.overview(buyer.actor)
    assert overview.subscription is not None
    assert (overview.subscription.id, overview.subscription.plan) == (ours, "premium")


async def test_a_deleted_customer_of_whom_no_event_came_can_buy_again_soon(buyer: Buyer) -> None:
    await buyer.subscribe()
    deleted = await buyer.customer()
    buyer.shop.server.client.v1.customers.delete(deleted)
    with pytest.raises(Unavailable):
        await buyer.subscribe("studio")
    assert await buyer.shop.run_jobs() == 1
    await buyer.buy("studio")
    assert await buyer.customer() != deleted
    assert await buyer.standing() == ("studio", 4000)


@pytest.mark.parametrize(
    "row",
    [
        """insert into subscriptions (id, user_id, status, plan, item_id, price_id, amount, currency,
             period_start, period_end, created_at)
           values ('sub_1', %(user)s, 'past_due', 'gone', 'si', 'price', 1, 'usd', now(), now(), now())""",
        """insert into subscriptions (id, user_id, status, plan, next_plan, item_id, price_id, amount,
             currency, period_start, period_end, created_at)
           values ('sub_1', %(user)s, 'active', 'studio', 'gone', 'si', 'price', 1, 'usd', now(), now(),
             now())""",
        """insert into checkouts (id, user_id, lookup_key, plan, trial_days, created_at, expires_at)
           values (gen_random_uuid(), %(user)s, 'x', 'gone', 0, now(), now() + interval '1 hour')""",
    ],
    ids=["past due", "from the next period on", "about to pay"],
)
async def test_a_plan_that_somebody_is_to_pay_for_cannot_be_taken_out(
    own_database_url: str, tmp_path: Path, row: str
) -> None:
    """They entitle to nothing at the moment; once paid they must not be for nothing."""
    settings = shop_settings(own_database_url, "http://127.0.0.1:1", tmp_path)
    async with await psycopg.AsyncConnection.connect(own_database_url, autocommit=True) as owner:
        await owner.execute("insert into plans (name, images, clones) values ('gone', 7, 7)")
        user_id = await add_row(owner, "user_x", "x@example.com")
        await owner.execute(row, {"user": user_id})  # type: ignore[arg-type] # test SQL
        with pytest.raises(SettingsError, match="gone"):
            await prepare_database(settings)
        await owner.execute("update subscriptions set status = 'canceled'")
        await owner.execute("update checkouts set state = 'expired'")
    await prepare_database(settings)


# Everybody's till


async def test_one_account_is_read_once_at_a_time_and_again_if_asked_meanwhile() -> None:
    readings: list[int] = []
    gates: dict[int, asyncio.Event] = {1: asyncio.Event(), 2: asyncio.Event()}

    class Service:
        async def sync(self, user_id: int) -> None:
            readings.append(user_id)
            await gates[user_id].wait()

        async def sweep(self) -> None: ...
        async def purge(self) -> None: ...

    [sync] = [job.run for job in payment_jobs.jobs(Service()) if job.name == "payments.sync"]  # type: ignore[arg-type] # as much of it as jobs use
    first = asyncio.create_task(sync(user_id=1))
    await asyncio.sleep(0)
    for _ in range(5):
        await sync(user_id=1)  # does not wait
    neighbour = asyncio.create_task(sync(user_id=2))
    await asyncio.sleep(0)
    assert readings == [1, 2]
    for gate in gates.values():
        gate.set()
    await asyncio.gather(first, neighbour)
    assert readings == [1, 2, 1]
    await sync(user_id=1)
    assert readings == [1, 2, 1, 1]


async def test_after_a_reading_that_failed_the_next_one_is_made() -> None:
    class Service:
        readings = 0

        async def sync(self, user_id: int) -> None:
            self.readings += 1
            raise RetryLater(str(user_id))

        async def sweep(self) -> None: ...
        async def purge(self) -> None: ...

    service = Service()
    [sync] = [job.run for job in payment_jobs.jobs(service) if job.name == "payments.sync"]  # type: ignore[arg-type] # as much of it as jobs use
    for _ in range(2):
        with pytest.raises(RetryLater):
            await sync(user_id=1)
    assert service.readings == 2


async def test_the_sweep_takes_who_is_due_who_paid_elsewhere_and_who_may_have_paid(shop: Shop) -> None:
    now = shop.clock.now()
    later, before = now + timedelta(hours=1), now - timedelta(hours=1)

    async def customer(mode: str, due: Any, synced: Any = before, clicked: Any = None) -> int:
        person = await shop.sign_up()
        await rows(
            shop,
            """insert into payment_customers (user_id, customer_id, mode, due_at, synced_at)
               values (%(user)s, %(id)s, %(mode)s, %(due)s, %(synced)s) returning 1""",
            user=person.user_id,
            id=f"cus_{person.subject}",
            mode=mode,
            due=due,
            synced=synced,
        )
        if clicked is not None:
            await _click(shop, person, clicked)
        return person.user_id

    ago = now - timedelta(minutes=5)
    theirs = [
        await customer("test", before),
        await customer("sandbox", later),
        await customer("test", later, clicked=ago),
        await customer("test", None, None, ago),
    ]
    others = [
        await customer("test", later),
        await customer("live", before),
        await customer("live", later, clicked=ago),
        await customer("test", later, synced=now, clicked=ago),
        await customer("test", later, clicked=now),
    ]
    async with shop.worker.database.transaction(SystemActor("test")) as connection:
        taken = await store.take_due(connection, now, AGAIN_AFTER, "test", 1000)
        assert sorted({*taken} & {*theirs, *others}) == theirs
        assert len(await store.take_due(connection, later, AGAIN_AFTER, "test", 2)) == 2
    await rows(
        shop,
        "update payment_customers set customer_id = null where user_id = any(%(users)s) returning 1",
        users=theirs + others,
    )


async def test_when_everybodys_turn_has_come_others_work_does_not_wait_behind_them(
    own_database_url: str, tmp_path: Path
) -> None:
    """As after an outage: jobs are done in the order in which they were asked for."""
    settings = shop_settings(own_database_url, "http://127.0.0.1:1", tmp_path)
    worker = build(settings, "worker", SystemClock())
    async with await psycopg.AsyncConnection.connect(own_database_url, autocommit=True) as owner:
        await owner.execute("insert into users (clerk_id) select 'user_' || n from generate_series(1, 500) n")
        await owner.execute(
            """insert into payment_customers (user_id, customer_id, mode, due_at)
               select id, 'cus_' || id, 'sandbox', now() - interval '1 day' from users"""
        )

        async def left(where: str) -> int:
            cursor = await owner.execute(f"select count(*) from {where}")  # type: ignore[arg-type] # test SQL
            [(count,)] = await cursor.fetchall()
            return count

        await worker.open()
        for _ in range(5):
            await worker.payments.sweep()
        assert await left("procrastinate.procrastinate_jobs where status = 'todo'") == SWEEP_BATCH
        async with worker.database.transaction(SystemActor("test")) as connection:
            await connection.execute("delete from procrastinate.procrastinate_jobs")
        await worker.payments.sweep()
        assert await left("procrastinate.procrastinate_jobs where status = 'todo'") == SWEEP_BATCH
        assert await left("payment_customers where due_at < now()") == 500 - 2 * SWEEP_BATCH
        await worker.close()


async def _click(shop: Shop, person: UserActor, when: Any) -> None:
    async with shop.app.database.transaction(person) as connection:
        await connection.execute(
            """insert into checkouts (id, user_id, lookup_key, plan, trial_days, created_at, expires_at)
               values (gen_random_uuid(), %(user)s, 'x', 'premium', 0, %(when)s,
                 %(when)s::timestamptz + interval '1 hour')""",
            {"user": person.user_id, "when": when},
        )
        await connection.execute("update checkouts set state = 'open'")


# Amounts


class Tells:
    """A payment service with one account."""

    def __init__(self, *found: SubscriptionReport, invoices: tuple[InvoiceReport, ...] = ()) -> None:
        self._report = account(*found, invoices=invoices)

    async def report(self, customer_id: str) -> CustomerReport:
        return replace(self._report, customer_id=customer_id)


@pytest.mark.parametrize(
    ("currency", "amount", "text"),
    [
        ("usd", 3900, "39.00"),
        ("jpy", 500, "500"),
        ("kwd", 12345, "12.345"),
        ("idr", 10**12, "10000000000.00"),
    ],
)
async def test_an_amount_keeps_the_digits_of_its_currency(
    shop: Shop, buyer: Buyer, currency: str, amount: int, text: str
) -> None:
    price = replace(PREMIUM, currency=currency, amount=amount)
    bill = invoice(
        1, line(price, amount, START, MIDDLE, proration=False), currency=currency, id=f"in_{buyer.id}"
    )
    told = Tells(subscription(id=f"sub_{buyer.id}", price=price, next_amount=amount), invoices=(bill,))
    await rows(
        shop,
        """insert into payment_customers (user_id, customer_id, mode)
           values (%(user)s, %(id)s, 'sandbox') returning 1""",
        user=buyer.id,
        id=f"cus_{buyer.id}",
    )
    settings = PaymentSettings("http://127.0.0.1", enabled=True, mode="sandbox")
    catalogue = shop.worker.billing.catalogue
    service = PaymentService(shop.worker.database, shop.clock, told, catalogue, settings)  # type: ignore[arg-type] # it is asked for nothing else
    await service.sync(buyer.id)
    overview = await shop.app.payments.overview(buyer.actor)
    assert overview.subscription is not None
    assert [str(overview.subscription.amount), str(overview.subscription.next_amount)] == [text, text]
    [listed] = await shop.app.payments.invoices(buyer.actor, 10)
    assert (str(listed.total), listed.refunded) == (text, Decimal(0))


# Settings


CERTIFICATE, CERTIFICATE_KEY = make_certificate("Visiona tests")
PRODUCTION = {
    "VISIONA_ENVIRONMENT": "production",
    "VISIONA_PUBLIC_URL": "https://visiona.example",
    "VISIONA_SECRET_KEY": "a-secret-key-for-tests-that-is-long-enough",
    "VISIONA_MASTER_KEYS": MASTER_KEY,
    "VISIONA_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing",
    "VISIONA_REPLICATE_API_TOKEN": "unused",
    "VISIONA_STRIPE_API_KEY": "rk_live_unused",
    "VISIONA_SMTP_URL": "smtp://mail.example",
    "VISIONA_MAIL_FROM": "hello@visiona.example",
    "VISIONA_C2PA_CERTIFICATE": CERTIFICATE,
    "VISIONA_C2PA_PRIVATE_KEY": CERTIFICATE_KEY,
}


def test_no_web_server_in_production_turns_stripes_events_away() -> None:
    settings = read_settings(PRODUCTION)
    with pytest.raises(SettingsError, match="VISIONA_STRIPE_WEBHOOK_SECRET"):
        build(settings, "app", SystemClock())
    build(settings, "worker", SystemClock())  # `visiona billing sync` is what makes the secret
    build(replace(settings, stripe_webhook_secret=("whsec_x",)), "app", SystemClock())
    build(replace(settings, billing=False), "app", SystemClock())
    build(replace(settings, environment="development"), "app", SystemClock())


def test_no_web_server_in_production_turns_clerks_events_away() -> None:
    clerk = {
        "VISIONA_IDENTITY": "clerk",
        "VISIONA_CLERK_SECRET_KEY": "sk_live_unused",
        "VISIONA_CLERK_PUBLISHABLE_KEY": "pk_live_Y2xlcmsudmlzaW9uYS5leGFtcGxlJA==",
    }
    settings = replace(read_settings(PRODUCTION | clerk), stripe_webhook_secret=("whsec_x",))
    with pytest.raises(SettingsError, match="VISIONA_CLERK_WEBHOOK_SECRET"):
        build(settings, "app", SystemClock())
    build(replace(settings, clerk_webhook_secret=("whsec_c2VjcmV0",)), "app", SystemClock())


def test_no_key_travels_in_the_clear_in_production() -> None:
    with pytest.raises(SettingsError, match="VISIONA_STRIPE_BASE_URL must be an https"):
        read_settings(PRODUCTION | {"VISIONA_STRIPE_BASE_URL": "http://stripe.example"})


@pytest.mark.parametrize("name", ["VISIONA_STRIPE_API_KEY", "VISIONA_STRIPE_BASE_URL"])
def test_what_cannot_be_a_key_or_an_address_is_refused_without_being_shown(name: str) -> None:
    settings = read_settings(PRODUCTION | {name: "https://rk_live_secret words/"})
    with pytest.raises(SettingsError, match=name) as refusal:
        build(settings, "worker", SystemClock())
    assert "rk_live_secret" not in str(refusal.value)
    assert refusal.value.__suppress_context__
