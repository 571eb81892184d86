"""Events that are not what they seem, and a hook whose database fails: nothing happens, nothing is lost."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import stripe
from standardwebhooks import Webhook
from tests.payments.buyers import Buyer, rows
from tests.payments.conftest import Shop, lent, shop_settings
from tests.sandbox.stripe.conftest import WEBHOOK_SECRET

from visiona.adapters.stripe import PINNED_VERSION
from visiona.bootstrap import build
from visiona.entrypoints.asgi import create_asgi
from visiona.settings import REPLICATE_WEBHOOK_PATH, STRIPE_WEBHOOK_PATH

Event = dict[str, Any]


@pytest.fixture
async def shop(module_shop: Shop) -> AsyncGenerator[Shop]:
    async with lent(module_shop) as shop:
        yield shop


@pytest.fixture
async def buyer(shop: Shop) -> Buyer:
    """Somebody who has paid, of which nothing is on record yet."""
    buyer = Buyer(shop, await shop.sign_up())
    await buyer.pay()
    return buyer


@pytest.fixture
async def paid(buyer: Buyer) -> Event:
    """What Stripe says of it."""
    [event] = [event for event in await buyer.events() if event["type"] == "invoice.paid"]
    return event


def text_of(event: Event) -> str:
    return json.dumps(event, separators=(",", ":"))


def signed(shop: Shop, text: str, secret: str = WEBHOOK_SECRET, *, age_s: int = 0) -> dict[str, str]:
    timestamp = int(shop.clock.now().timestamp()) - age_s
    return {
        "stripe-signature": stripe.WebhookSignature.generate_signature_header(text, secret, timestamp),
        "content-type": "application/json; charset=utf-8",
    }


async def send(
    shop: Shop, body: str | bytes, headers: dict[str, str], path: str = STRIPE_WEBHOOK_PATH
) -> tuple[int, str]:
    """The status and the problem's code."""
    answer = await shop.hooks.post(path, content=body, headers=headers)
    return answer.status_code, answer.json()["code"] if answer.content else ""


async def receipts(shop: Shop) -> int:
    [(count,)] = await rows(shop, "select count(*) from webhook_receipts")
    return count


async def jobs(shop: Shop) -> int:
    [(count,)] = await rows(
        shop, "select count(*) from procrastinate.procrastinate_jobs where status = 'todo'"
    )
    return count


# Replays and forgeries


async def test_an_event_that_comes_again_after_four_days_does_nothing(
    shop: Shop, buyer: Buyer, paid: Event
) -> None:
    text = text_of(paid)
    first = signed(shop, text)
    assert await send(shop, text, first) == (204, "")
    await shop.run_jobs()
    before = await buyer.on_record(history=True)
    shop.clock.shift += timedelta(days=4)
    async with await psycopg.AsyncConnection.connect(shop.app.settings.database_url or "") as owner:
        await owner.execute("update webhook_receipts set received_at = received_at - interval '4 days'")
    await shop.worker.inbox.purge()
    assert await send(shop, text, signed(shop, text)) == (204, "")
    assert await jobs(shop) == 0
    assert await send(shop, text, first) == (401, "invalid_signature")
    assert await receipts(shop) == 1
    assert await buyer.on_record(history=True) == before


async def test_what_was_not_signed_so_just_now_is_refused(shop: Shop, buyer: Buyer, paid: Event) -> None:
    before, text = await receipts(shop), text_of(paid)
    good = signed(shop, text)
    [replicate_secret] = shop.app.settings.replicate_webhook_secret
    as_replicate = {
        "webhook-id": paid["id"],
        "webhook-timestamp": str(int(shop.clock.now().timestamp())),
        "webhook-signature": Webhook(replicate_secret).sign(paid["id"], shop.clock.now(), text),
    }
    attempts: list[tuple[str, dict[str, str]]] = [
        (text, signed(shop, text, replicate_secret)),
        (text, signed(shop, text, "")),
        (text, signed(shop, text, "whsec_configured0000000000000000000")),
        (text, as_replicate),
        (text, {}),
        (text.replace('"paid"', '"void"'), good),
        (text + " ", good),
        (json.dumps(paid), good),
        (json.dumps(paid, separators=(",", ":"), sort_keys=True), good),
        (text, signed(shop, text, age_s=301)),
        (text, signed(shop, text, age_s=-302)),
        (text, signed(shop, text, age_s=4 * 86_400)),
        (text, {"stripe-signature": good["stripe-signature"].replace("t=", "t=1")}),
        (text, {"stripe-signature": good["stripe-signature"].replace("v1=", "v0=")}),
        (text, {"stripe-signature": "t=1,v1=" + "é" * 3}),
    ]
    for body, headers in attempts:
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        answer = await shop.hooks.post(STRIPE_WEBHOOK_PATH, content=body, headers=raw)
        assert (answer.status_code, answer.json()["code"]) == (401, "invalid_signature"), headers
    assert (await send(shop, text, good, REPLICATE_WEBHOOK_PATH + "?user=1&id=1&topic=training"))[0] == 401
    assert await receipts(shop) == before
    assert await jobs(shop) == 0
    assert await buyer.standing() == ("free", 30)


@pytest.mark.parametrize("age_s", [-295, 295])
async def test_clocks_may_differ_by_some_minutes(shop: Shop, paid: Event, age_s: int) -> None:
    text = text_of(paid)
    assert await send(shop, text, signed(shop, text, age_s=age_s)) == (204, "")


# Genuine, but not for us


async def test_an_event_of_live_mode_is_refused(shop: Shop, paid: Event) -> None:
    before, text = await receipts(shop), text_of(paid | {"livemode": True})
    assert await send(shop, text, signed(shop, text)) == (422, "wrong_mode")
    assert await receipts(shop) == before
    assert await jobs(shop) == 0


async def test_an_event_of_another_version_is_accepted_with_a_warning(
    shop: Shop, buyer: Buyer, paid: Event, caplog: pytest.LogCaptureFixture
) -> None:
    text = text_of(paid | {"api_version": "2019-12-03"})
    assert await send(shop, text, signed(shop, text)) == (204, "")
    warnings = [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert "2019-12-03" in warnings[0]
    assert paid["api_version"] == PINNED_VERSION
    await shop.run_jobs()
    assert await buyer.standing() == ("premium", 1000)


async def test_an_event_that_nobody_asked_for_is_kept_and_does_nothing(
    shop: Shop, buyer: Buyer, paid: Event
) -> None:
    text = text_of(paid | {"type": "invoice.will_be_due"})
    assert await send(shop, text, signed(shop, text)) == (204, "")
    await shop.run_jobs()
    kept = await rows(
        shop,
        "select topic, processed_at is not null from webhook_receipts where external_id = %(id)s",
        id=paid["id"],
    )
    assert kept == [("invoice.will_be_due", True)]
    assert await buyer.standing() == ("free", 30)


async def test_an_event_about_nobody_here_does_nothing(shop: Shop, paid: Event) -> None:
    customers = await rows(shop, "select user_id, customer_id from payment_customers order by user_id")
    stranger = paid["data"]["object"] | {"customer": "cus_stranger", "metadata": {}, "parent": None}
    foreign = paid["data"]["object"] | {
        "customer": "cus_foreign",
        "metadata": {"visiona_user": "user_of_another_shop"},
    }
    for number, about in enumerate((stranger, foreign)):
        text = text_of(paid | {"id": f"evt_nobody_{number}", "data": {"object": about}})
        assert await send(shop, text, signed(shop, text)) == (204, "")
    assert await shop.run_jobs() == 2  # the inbox alone: nobody's account is read
    assert (
        await rows(shop, "select user_id, customer_id from payment_customers order by user_id") == customers
    )


# Hostile bodies


async def test_a_body_of_more_than_a_megabyte_is_not_read(shop: Shop, paid: Event) -> None:
    before = await receipts(shop)
    text = text_of(paid | {"padding": "x" * 1_100_000})
    assert await send(shop, text, signed(shop, text)) == (413, "body_too_large")
    almost = text_of(paid | {"padding": "x" * 900_000})
    assert await send(shop, almost, signed(shop, almost)) == (204, "")
    assert await receipts(shop) == before + 1


ABOUT = '"livemode":false,"object":"event","type":"invoice.paid"'


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{}",
        '"evt"',
        "1e999",
        "{" * 100_000,
        "[" * 100_000 + "]" * 100_000,
        f'{{"id":"evt_1",{ABOUT},"data":' + '{"object":' * 20_000 + "1" + "}" * 20_000 + "}",
        f'{{"id":"evt_1",{ABOUT}}}',
        f'{{"id":"evt_1",{ABOUT},"data":null}}',
        f'{{"id":"evt_1",{ABOUT},"data":{{"object":[]}}}}',
        f'{{"id":"evt_1",{ABOUT},"data":{{"object":{{}}}}}}',
        f'{{"id":"evt_1",{ABOUT},"data":{{"object":{{"object":5}}}}}}',
        f'{{"id":"",{ABOUT},"data":{{"object":{{"object":"invoice"}}}}}}',
        f'{{"id":"evt\\u0000",{ABOUT},"data":{{"object":{{"object":"invoice"}}}}}}',
        f'{{"id":"{"e" * 256}",{ABOUT},"data":{{"object":{{"object":"invoice"}}}}}}',
        f'{{"id":["evt_1"],{ABOUT},"data":{{"object":{{"object":"invoice"}}}}}}',
        f'{{"id":"\\ud800",{ABOUT},"data":{{"object":{{"object":"invoice"}}}}}}',
        '{"id":"evt_1","object":"event","type":"a\\u0000b","livemode":false,"data":{"object":{"object":"x"}}}',
        '{"id":"evt_1","object":"event","type":"invoice.paid","livemode":"no","data":{"object":{"object":"x"}}}',
        '{"id":"evt_1","object":"v2.core.event","type":"v1.x","livemode":false,"data":{"object":{"object":"x"}}}',
        "\ufeff{}",
        "\x00",
    ],
    ids=lambda text: text[:60] or "nothing",
)
async def test_a_signed_body_that_is_no_event_is_refused(shop: Shop, text: str) -> None:
    before = await receipts(shop)
    assert await send(shop, text, signed(shop, text)) == (422, "unreadable_webhook")
    assert await receipts(shop) == before


@pytest.mark.parametrize(
    "about",
    [
        {"customer": 5, "metadata": "x", "parent": [], "charge": {"id": []}},
        {
            "customer": "cus\n1",
            "client_reference_id": "\x00",
            "charge": "",
            "parent": {"subscription_details": 1},
        },
        {"customer": {"id": "cus_'; drop table users; --"}, "metadata": {"visiona_user": {"$gt": ""}}},
        {"customer": "c" * 5000, "metadata": {"visiona_user": "u" * 5000}},
        {"customer": None, "client_reference_id": "user_of_nobody"},
    ],
    ids=["types", "control", "sql", "length", "nobody"],
)
async def test_strange_things_in_an_event_do_nothing(
    shop: Shop, about: Event, request: pytest.FixtureRequest
) -> None:
    event = {
        "id": f"evt_{request.node.callspec.id}",
        "object": "event",
        "type": "customer.subscription.updated",
        "livemode": False,
        "api_version": PINNED_VERSION,
        "data": {"object": {"id": "sub_1", "object": "subscription", **about}},
    }
    customers = await rows(shop, "select user_id, customer_id from payment_customers order by user_id")
    text = text_of(event)
    assert await send(shop, text, signed(shop, text)) == (204, "")
    assert await shop.run_jobs() == 1
    assert (
        await rows(shop, "select user_id, customer_id from payment_customers order by user_id") == customers
    )


# Failures of our own: never 2xx before the event is stored for good


COMMIT_FAILS = """
create function never() returns trigger language plpgsql as $$ begin raise 'the disk is full'; end $$;
create constraint trigger never after insert on webhook_receipts
  deferrable initially deferred for each row execute function never();
"""


async def test_a_commit_that_fails_is_no_success(shop: Shop, buyer: Buyer, paid: Event) -> None:
    before, text = await receipts(shop), text_of(paid)
    async with await psycopg.AsyncConnection.connect(
        shop.app.settings.database_url or "", autocommit=True
    ) as owner:
        await owner.execute(COMMIT_FAILS)
        try:
            assert await send(shop, text, signed(shop, text)) == (500, "internal_error")
        finally:
            await owner.execute("drop function never cascade")
    assert await receipts(shop) == before
    assert await jobs(shop) == 0
    await resent(shop, buyer, text)


async def test_an_answer_waits_for_the_database_and_is_no_success_without_it(
    shop: Shop, buyer: Buyer, paid: Event
) -> None:
    before, text = await receipts(shop), text_of(paid)
    async with await psycopg.AsyncConnection.connect(shop.app.settings.database_url or "") as owner:
        await owner.execute("lock table webhook_receipts in exclusive mode")
        posted = asyncio.create_task(send(shop, text, signed(shop, text)))
        done, _ = await asyncio.wait([posted], timeout=0.5)
        assert not done
        await owner.execute(
            """select pg_terminate_backend(pid) from pg_stat_activity
               where datname = current_database() and wait_event_type = 'Lock'"""
        )
        assert await posted == (503, "database_unavailable")
    assert await receipts(shop) == before
    await resent(shop, buyer, text)


async def test_without_a_database_nothing_is_accepted(
    shop: Shop, buyer: Buyer, paid: Event, tmp_path: Path
) -> None:
    before, text = await receipts(shop), text_of(paid)
    settings = shop_settings(shop.app.settings.database_url or "", shop.server.base, tmp_path)
    app = build(settings, "app", shop.clock)
    await app.open()
    await app.close()
    transport = httpx.ASGITransport(create_asgi(app))
    async with httpx.AsyncClient(transport=transport, base_url=settings.origin) as hooks:
        answer = await hooks.post(STRIPE_WEBHOOK_PATH, content=text, headers=signed(shop, text))
    assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
    assert int(answer.headers["retry-after"]) > 0
    assert await receipts(shop) == before
    await resent(shop, buyer, text)


async def resent(shop: Shop, buyer: Buyer, text: str) -> None:
    """Stripe sends it again, and this time it counts, once."""
    for _ in range(2):
        assert await send(shop, text, signed(shop, text)) == (204, "")
    assert await jobs(shop) == 1
    await shop.run_jobs()
    assert await buyer.standing() == ("premium", 1000)
