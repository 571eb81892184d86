"""Customers hear of what happens to their money: once each, however often their account is read."""

import asyncio
from collections.abc import Generator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.payments.buyers import Buyer
from tests.payments.conftest import Shop
from tests.sandbox.stripe.conftest import Server, run_stripe

from visiona.db.actor import SystemActor
from visiona.mail.service import SEND_TASK

DECLINED = "4000000000000002"


@pytest.fixture
def stripe_server(tmp_path: Path) -> Generator[Server]:
    """A service of its own for each test: they move its time."""
    with run_stripe(tmp_path / "stripe") as server:
        yield server


@pytest.fixture
async def buyer(shop: Shop) -> Buyer:
    return Buyer(shop, await shop.sign_up())


async def mails(buyer: Buyer) -> list[tuple[str, dict[str, Any]]]:
    return await buyer.rows(
        "select kind, details from mails where user_id = %(user)s order by created_at, once"
    )


async def pass_time(buyer: Buyer, **length: float) -> None:
    buyer.shop.clock.shift += timedelta(**length)
    buyer.shop.server.advance(int(timedelta(**length).total_seconds()))


async def read_often(buyer: Buyer) -> None:
    """By one worker after the other, and by some at once."""
    for _ in range(3):
        await buyer.sync()
    await asyncio.gather(*(buyer.sync() for _ in range(3)))


async def subscription_of(buyer: Buyer) -> str:
    return (await buyer.rows("select id from subscriptions where user_id = %(user)s"))[0][0]


async def begin_trial(buyer: Buyer, days: int) -> str:
    await buyer.buy()
    end = int((buyer.shop.clock.now() + timedelta(days=days)).timestamp())
    subscription = await subscription_of(buyer)
    buyer.shop.server.client.v1.subscriptions.update(
        subscription, {"trial_end": end, "proration_behavior": "none"}
    )
    await buyer.sync()
    return subscription


async def use_bad_card(buyer: Buyer) -> None:
    """It can be saved, and fails whenever it is charged."""
    stripe = buyer.shop.server.client.v1
    card = stripe.payment_methods.attach("pm_card_chargeCustomerFail", {"customer": await buyer.customer()})
    stripe.subscriptions.update(await subscription_of(buyer), {"default_payment_method": card.id})


async def test_a_trial_is_remembered_three_days_before_it_ends(buyer: Buyer) -> None:
    await begin_trial(buyer, days=10)
    ends_at = (await buyer.rows("select trial_end from subscriptions where user_id = %(user)s"))[0][0]
    await pass_time(buyer, days=6, hours=23)
    await read_often(buyer)
    assert await mails(buyer) == []
    await pass_time(buyer, hours=2)
    await read_often(buyer)
    expected = {"date": ends_at.isoformat().replace("+00:00", "Z"), "amount": "$39.00"}
    assert await mails(buyer) == [("trial_ends", expected)]
    await pass_time(buyer, days=2)
    await read_often(buyer)
    assert len(await mails(buyer)) == 1
    jobs = await buyer.rows(
        """select args ->> 'mail_id' from procrastinate.procrastinate_jobs where task_name = %(task)s""",
        task=SEND_TASK,
    )
    assert jobs == await buyer.rows("select id::text from mails where user_id = %(user)s")


async def test_a_trial_that_ends_in_nothing_is_not_mentioned(buyer: Buyer) -> None:
    subscription = await begin_trial(buyer, days=10)
    buyer.shop.server.client.v1.subscriptions.update(subscription, {"cancel_at_period_end": True})
    await pass_time(buyer, days=8)
    await read_often(buyer)
    assert await mails(buyer) == []


async def test_each_attempt_to_collect_is_told_of_once(buyer: Buyer) -> None:
    await buyer.buy()
    await use_bad_card(buyer)
    await read_often(buyer)
    assert await mails(buyer) == []
    await pass_time(buyer, days=31, hours=2)
    await read_often(buyer)
    [(kind, details)] = await mails(buyer)
    assert (kind, details["amount"]) == ("payment_failed", "$39.00")
    again = (
        await buyer.rows("select next_attempt_at from invoices where user_id = %(user)s and status = 'open'")
    )[0][0]
    assert details["next_attempt"] == again.isoformat().replace("+00:00", "Z")
    while buyer.shop.clock.now() < again + timedelta(minutes=5):
        await pass_time(buyer, days=1)
        await read_often(buyer)
    assert [kind for kind, _ in await mails(buyer)] == ["payment_failed"] * 2
    # Once mails are forgotten, what is old is not told again.
    async with buyer.shop.worker.database.transaction(SystemActor("test")) as connection:
        await connection.execute("delete from mails")
    buyer.shop.clock.shift += timedelta(days=30)
    await read_often(buyer)
    assert await mails(buyer) == []


async def test_a_card_that_is_declined_on_the_page_is_no_news(shop: Shop, buyer: Buyer) -> None:
    assert shop.pay(await buyer.subscribe(), DECLINED)["outcome"] != "Paid"
    await read_often(buyer)
    assert await mails(buyer) == []


async def test_the_end_of_a_subscription_is_told_once(buyer: Buyer) -> None:
    await buyer.buy()
    buyer.shop.server.client.v1.subscriptions.cancel(await subscription_of(buyer))
    await read_often(buyer)
    assert await mails(buyer) == [("subscription_ended", {})]
    await buyer.buy()
    await read_often(buyer)
    assert len(await mails(buyer)) == 1


async def test_whoever_goes_on_with_another_subscription_has_not_ended(buyer: Buyer) -> None:
    """The first is ended and the next begun before anybody has read the account."""
    await buyer.buy()
    stripe = buyer.shop.server.client.v1
    first = await subscription_of(buyer)
    price = stripe.subscriptions.retrieve(first)["items"].data[0].price.id
    card = stripe.payment_methods.attach("pm_card_visa", {"customer": await buyer.customer()})
    stripe.subscriptions.cancel(first)
    stripe.subscriptions.create(
        {"customer": await buyer.customer(), "items": [{"price": price}], "default_payment_method": card.id}
    )
    await read_often(buyer)
    assert await mails(buyer) == []
