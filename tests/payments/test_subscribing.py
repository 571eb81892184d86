"""Subscribing through the checkout: two clicks, lost answers, second thoughts, and what is put on record."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.payments.conftest import ShiftedClock, Shop, lent, open_shop
from tests.sandbox.stripe.conftest import Server

from visiona.core.errors import Conflict, Invalid, NotFound, Unavailable
from visiona.db.actor import SystemActor, UserActor
from visiona.db.idempotency import IdempotencyKey

DECLINED = "4000000000000002"
NEEDS_3DS = "4000002500003155"


@pytest.fixture
async def shop(module_shop: Shop) -> AsyncGenerator[Shop]:
    async with lent(module_shop) as shop:
        yield shop


def email_of(actor: UserActor) -> str:
    return f"{actor.subject}@example.com"


async def subscribe(shop: Shop, buyer: UserActor, plan: str = "premium", interval: Any = "month") -> str:
    return await shop.app.payments.subscribe(buyer, email_of(buyer), plan, interval)


async def customer_of(shop: Shop, buyer: UserActor) -> str:
    rows = await query(shop, "select customer_id from payment_customers where user_id = %s", buyer.user_id)
    assert rows[0][0] is not None
    return rows[0][0]


async def query(shop: Shop, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    async with shop.worker.database.transaction(SystemActor("test")) as connection:
        return await (await connection.execute(sql, parameters)).fetchall()  # type: ignore[arg-type] # test SQL


async def sync(shop: Shop, buyer: UserActor) -> None:
    await shop.worker.payments.sync(buyer.user_id)


async def bought(shop: Shop, buyer: UserActor, plan: str = "premium", interval: Any = "month") -> None:
    assert shop.pay(await subscribe(shop, buyer, plan, interval))["outcome"] == "Paid"
    await sync(shop, buyer)


async def standing(shop: Shop, buyer: UserActor) -> tuple[str, int, int]:
    quota = await shop.app.billing.quota(buyer)
    return quota.plan.name, quota.images.limit, quota.clones.limit


async def test_whoever_pays_has_the_plan_once_the_event_came(shop: Shop, buyer: UserActor) -> None:
    assert await standing(shop, buyer) == ("free", 30, 2)
    url = await subscribe(shop, buyer)
    assert shop.pay(url)["outcome"] == "Paid"
    await shop.deliver(shop.new_events(await customer_of(shop, buyer)))
    assert await standing(shop, buyer) == ("premium", 1000, 10)
    overview = await shop.app.payments.overview(buyer)
    assert overview.subscription is not None
    assert (overview.subscription.status, overview.subscription.plan) == ("active", "premium")
    assert overview.subscription.amount == Decimal("39.00")
    assert overview.subscription.next_amount == Decimal("39.00")
    assert overview.problem is None
    [invoice] = await shop.app.payments.invoices(buyer, 10)
    assert (invoice.status, invoice.total, invoice.currency) == ("paid", Decimal("39.00"), "usd")
    payments = await query(
        shop, "select amount, currency, status, invoice_id from payments where user_id = %s", buyer.user_id
    )
    assert payments == [(Decimal("39.00"), "usd", "succeeded", invoice.id)]
    assert await query(shop, "select state from checkouts where user_id = %s", buyer.user_id) == [
        ("complete",)
    ]


@pytest.fixture
async def empty_shop(
    own_database_url: str, stripe_server: Server, clock: ShiftedClock, tmp_path: Path
) -> AsyncGenerator[Shop]:
    """Without anybody whom the sweep could find besides."""
    async with open_shop(own_database_url, stripe_server, clock, tmp_path) as shop:
        yield shop


async def test_without_any_event_the_sweep_finds_the_payment(empty_shop: Shop) -> None:
    shop = empty_shop
    buyer = await shop.sign_up()
    shop.pay(await subscribe(shop, buyer))
    await shop.worker.payments.sweep()
    assert await shop.run_jobs() == 0  # a click is given two minutes to be heard of
    shop.clock.shift += timedelta(minutes=3)
    await shop.worker.payments.sweep()
    assert await shop.run_jobs() == 1
    assert await standing(shop, buyer) == ("premium", 1000, 10)


@pytest.mark.parametrize("clicks", [2, 6])
async def test_many_clicks_lead_to_one_checkout_and_one_subscription(
    shop: Shop, buyer: UserActor, clicks: int
) -> None:
    urls = await asyncio.gather(*(subscribe(shop, buyer) for _ in range(clicks)))
    assert len(set(urls)) == 1
    assert await subscribe(shop, buyer) == urls[0]
    shop.pay(urls[0])
    with pytest.raises(Conflict, match="gone through") as refusal:
        await subscribe(shop, buyer)
    assert refusal.value.code == "payment_in_progress"
    await shop.run_jobs()
    with pytest.raises(Conflict) as refusal:
        await subscribe(shop, buyer)
    assert refusal.value.code == "already_subscribed"
    found = shop.server.client.v1.subscriptions.list({"customer": await customer_of(shop, buyer)})
    assert len(found.data) == 1


async def test_clicks_on_two_plans_leave_one_checkout_that_can_be_paid(shop: Shop, buyer: UserActor) -> None:
    first = await subscribe(shop, buyer, "premium")
    second = await subscribe(shop, buyer, "studio")
    assert first != second
    customer = await customer_of(shop, buyer)
    sessions = shop.server.client.v1.checkout.sessions.list({"customer": customer})
    assert sorted(session.status or "" for session in sessions.data) == ["expired", "open"]
    shop.pay(second)
    await sync(shop, buyer)
    assert (await standing(shop, buyer))[0] == "studio"


async def test_simultaneous_clicks_on_two_plans_make_one_subscription(shop: Shop, buyer: UserActor) -> None:
    answers = await asyncio.gather(
        *(subscribe(shop, buyer, plan) for plan in ("premium", "studio") * 3), return_exceptions=True
    )
    urls = {answer for answer in answers if isinstance(answer, str)}
    assert all(isinstance(answer, str | Unavailable) for answer in answers)
    paid = 0
    for url in urls:
        session = shop.server.client.v1.checkout.sessions.retrieve(url.rsplit("/", 1)[-1])
        if session.status == "open":
            paid += shop.pay(url)["outcome"] == "Paid"
    assert paid == 1


async def test_a_declined_card_leaves_everything_as_it_was(shop: Shop, buyer: UserActor) -> None:
    url = await subscribe(shop, buyer)
    assert shop.pay(url, DECLINED)["outcome"] == "Declined"
    await shop.deliver(shop.new_events(await customer_of(shop, buyer)))
    await sync(shop, buyer)
    assert await standing(shop, buyer) == ("free", 30, 2)
    assert await shop.app.payments.invoices(buyer, 10) == []
    assert await subscribe(shop, buyer) == url  # and another card can still be tried there
    assert shop.pay(url)["outcome"] == "Paid"
    await sync(shop, buyer)
    assert await standing(shop, buyer) == ("premium", 1000, 10)


@pytest.mark.parametrize(("approve", "plan"), [(True, "premium"), (False, "free")])
async def test_a_bank_that_asks_decides(shop: Shop, buyer: UserActor, approve: bool, plan: str) -> None:
    outcome = shop.pay(await subscribe(shop, buyer), NEEDS_3DS, approve=approve)
    assert outcome["challenged"]
    await sync(shop, buyer)
    assert (await standing(shop, buyer))[0] == plan


async def test_an_old_checkout_is_replaced(shop: Shop, buyer: UserActor) -> None:
    first = await subscribe(shop, buyer)
    shop.clock.shift += timedelta(hours=2)
    second = await subscribe(shop, buyer)
    assert second != first
    states = await query(
        shop, "select state from checkouts where user_id = %s order by created_at", buyer.user_id
    )
    assert states == [("expired",), ("open",)]


async def test_a_yearly_plan_is_used_by_the_month(shop: Shop, buyer: UserActor) -> None:
    await bought(shop, buyer, "premium", "year")
    quota = await shop.app.billing.quota(buyer)
    assert (quota.images.limit, quota.period.end - quota.period.start < timedelta(days=32)) == (1000, True)
    overview = await shop.app.payments.overview(buyer)
    assert overview.subscription is not None
    assert (overview.subscription.interval, overview.subscription.amount) == ("year", Decimal("390.00"))


async def test_whoever_has_a_plan_is_led_to_its_change(shop: Shop, buyer: UserActor) -> None:
    await bought(shop, buyer)
    url = await subscribe(shop, buyer, "studio")
    assert "/p/session/" in url
    customer = await customer_of(shop, buyer)
    assert len(shop.server.client.v1.subscriptions.list({"customer": customer, "status": "all"}).data) == 1


@pytest.mark.parametrize(("plan", "interval"), [("gold", "month"), ("free", "month"), ("premium", "week")])
async def test_what_is_not_on_sale_is_refused(shop: Shop, buyer: UserActor, plan: str, interval: str) -> None:
    with pytest.raises(Invalid) as refusal:
        await subscribe(shop, buyer, plan, interval)
    assert refusal.value.code == "unknown_plan"
    assert await query(shop, "select 1 from payment_customers where user_id = %s", buyer.user_id) == []


async def test_a_key_is_for_one_wish(shop: Shop, buyer: UserActor) -> None:
    premium = IdempotencyKey("k-1", "subscribe", {"plan": "premium", "interval": "month"})
    studio = IdempotencyKey("k-1", "subscribe", {"plan": "studio", "interval": "month"})
    url = await shop.app.payments.subscribe(buyer, email_of(buyer), "premium", "month", premium)
    assert await shop.app.payments.subscribe(buyer, email_of(buyer), "premium", "month", premium) == url
    with pytest.raises(Invalid) as refusal:
        await shop.app.payments.subscribe(buyer, email_of(buyer), "studio", "month", studio)
    assert refusal.value.code == "idempotency_key_reused"


async def test_nothing_can_be_managed_before_anything_was_bought(shop: Shop, buyer: UserActor) -> None:
    with pytest.raises(Conflict) as refusal:
        await shop.app.payments.portal(buyer)
    assert refusal.value.code == "not_a_customer"


async def test_another_persons_invoice_does_not_exist(shop: Shop, buyer: UserActor) -> None:
    await bought(shop, buyer)
    [invoice] = await shop.app.payments.invoices(buyer, 10)
    pages = await shop.app.payments.invoice_pages(buyer, invoice.id)
    assert pages.page_url is not None
    assert pages.pdf_url is not None
    stranger = await shop.sign_up()
    for invoice_id in (invoice.id, "in_nothing"):
        with pytest.raises(NotFound) as refusal:
            await shop.app.payments.invoice_pages(stranger, invoice_id)
        assert refusal.value.code == "invoice_not_found"


@pytest.mark.parametrize(
    "fault",
    [
        {"fault": "server_error", "times": 4},
        {"fault": "lost_answer", "times": 4},
        {"fault": "html_502", "times": 4},
        {"fault": "truncated_json", "times": 4},
        {"fault": "wrong_shape", "times": 4},
        {"fault": "connection_drop", "times": 4},
        {"fault": "rate_limit", "times": 4},
    ],
    ids=lambda fault: fault["fault"],
)
@pytest.mark.parametrize("path", ["/v1/customers", "/v1/checkout/sessions"])
async def test_what_failed_can_be_repeated_without_a_second_charge(
    shop: Shop, buyer: UserActor, fault: dict[str, Any], path: str
) -> None:
    shop.server.fault(**fault, path=path)
    refusals = 0
    while True:
        try:
            url = await subscribe(shop, buyer)
            break
        except Unavailable:
            refusals += 1
        assert refusals < 10
    assert refusals > 0
    assert await standing(shop, buyer) == ("free", 30, 2)
    shop.pay(url)
    await sync(shop, buyer)
    assert await standing(shop, buyer) == ("premium", 1000, 10)
    listed = shop.server.client.v1.customers.list({"email": email_of(buyer)}).data
    subscriptions = [
        found
        for one in listed
        for found in shop.server.client.v1.subscriptions.list({"customer": one.id}).data
    ]
    assert len(subscriptions) == 1
    payments = await query(shop, "select count(*) from payments where user_id = %s", buyer.user_id)
    assert payments == [(1,)]
