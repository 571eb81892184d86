"""Stripe is away, in every way in which it can be: everything else goes on, and nothing is charged twice."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import psycopg
import pytest
from tests.conftest import copied_database
from tests.payments.buyers import PASSWORD, Person, move_in, rows
from tests.payments.conftest import ORIGIN, ShiftedClock, Shop, lent, open_shop
from tests.payments.line import Line, open_line
from tests.sandbox.stripe.conftest import KEY, Server

from visiona.adapters.http import Timeouts
from visiona.adapters.stripe import StripeConfig, StripePayments
from visiona.bootstrap import App
from visiona.entrypoints.asgi import create_asgi
from visiona.inbox.service import InboxService
from visiona.payments.service import AGAIN_AFTER, PaymentService, PaymentSettings

# A fraction of what production waits.
CALL_S, PATIENCE_S = 1.3, 1.8
TIMEOUTS = Timeouts(connect_s=1.0, read_s=1.0, write_s=1.0)
QUICK_S = 1.5
"""For one answer that needs no Stripe, on a machine with other things to do."""

LINE = ("refused", "silent", "trickle", "reset")
FAULTS: dict[str, dict[str, Any]] = {
    "429": {"fault": "rate_limit"},
    "500": {"fault": "server_error"},
    "html": {"fault": "html_502"},
    "truncated": {"fault": "truncated_json"},
    "shape": {"fault": "wrong_shape"},
    "slow": {"fault": "slow", "seconds": 20},
}


def moved(app: App, line: Line, clock: ShiftedClock) -> App:
    """The same application, whose line to Stripe can be cut."""
    adapter = StripePayments(
        StripeConfig(api_key=KEY, base_url=line.url, timeouts=TIMEOUTS, call_deadline_s=CALL_S)
    )
    settings = PaymentSettings(ORIGIN, enabled=True, mode="sandbox", patience_s=PATIENCE_S)
    payments = PaymentService(app.database, clock, adapter, app.billing.catalogue, settings)
    inbox = InboxService(app.database, {("stripe", "account"): payments.observe})
    return replace(app, payments=payments, inbox=inbox, closers=[adapter.aclose])


@pytest.fixture(scope="module")
async def line(stripe_server: Server) -> AsyncGenerator[Line]:
    async with open_line(httpx.URL(stripe_server.base).port or 0) as line:
        yield line


@pytest.fixture(scope="module")
async def distant_shop(
    postgres: str,
    migrated_template: str,
    stripe_server: Server,
    line: Line,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncGenerator[Shop]:
    clock = ShiftedClock()
    with copied_database(postgres, migrated_template) as url:
        async with open_shop(url, stripe_server, clock, tmp_path_factory.mktemp("shop")) as shop:
            app, worker = moved(shop.app, line, clock), moved(shop.worker, line, clock)
            transport = httpx.ASGITransport(create_asgi(app))
            async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as hooks:
                yield replace(shop, app=app, worker=worker, hooks=hooks)
            await app.close()
            await worker.close()


@pytest.fixture
async def shop(distant_shop: Shop, line: Line) -> AsyncGenerator[Shop]:
    async with lent(distant_shop) as shop:
        yield shop
    await line.cut(None)


@pytest.fixture(scope="module")
async def resident(distant_shop: Shop) -> AsyncGenerator[Person]:
    """Has a plan, since before anything went wrong."""
    person = await move_in(distant_shop)
    await person.buy()
    yield person
    await person.http.aclose()


@pytest.fixture
async def newcomer(shop: Shop) -> AsyncGenerator[Person]:
    person = await move_in(shop)
    yield person
    await person.http.aclose()


async def begin(shop: Shop, line: Line, outage: str) -> None:
    if outage in LINE:
        await line.cut(outage)  # type: ignore[arg-type] # one of them
    else:
        shop.server.fault(**FAULTS[outage], times=None)


async def end(shop: Shop, line: Line) -> None:
    shop.server.raw.delete("/_sandbox/faults")
    await line.cut(None)


async def everything_else_goes_on(person: Person) -> None:
    log_in = {"email": person.address, "password": PASSWORD}
    generate = {"model_id": person.model_id, "prompt": "TOK at the sea", "num_outputs": 1}
    requests: list[tuple[str, str, dict[str, Any], int]] = [
        ("POST", "/api/auth/login", {"json": log_in}, 200),
        ("GET", "/api/auth/me", {}, 200),
        ("GET", "/api/gallery", {}, 200),
        ("POST", "/api/generate", {"json": generate}, 202),
        ("GET", "/api/payment/plans", {}, 200),
        ("GET", "/api/payment/subscription", {}, 200),
        ("GET", "/api/payment/invoices", {}, 200),
        ("POST", "/api/payment/refresh", {}, 202),
        ("GET", "/pricing", {}, 200),
        ("GET", "/billing", {}, 200),
        ("GET", "/studio", {}, 200),
        ("GET", "/readyz", {}, 200),
    ]
    for method, path, request, status in requests:
        began = time.perf_counter()
        answer = await person.ask(method, path, **request)
        assert answer.status_code == status, (path, answer.text)
        assert time.perf_counter() - began < QUICK_S, path


async def refused_in_time(person: Person, path: str, body: dict[str, Any]) -> None:
    began = time.perf_counter()
    answer = await person.ask("POST", path, json=body)
    assert time.perf_counter() - began < PATIENCE_S + QUICK_S
    assert (answer.status_code, answer.json()["code"]) == (503, "payments_unavailable")
    assert int(answer.headers["retry-after"]) > 0
    assert "Nothing was charged" in answer.json()["detail"]


async def waiting(shop: Shop) -> list[tuple[str, int]]:
    """How many readings wait for each person, and other jobs of payments."""
    return await rows(
        shop,
        """select coalesce(args ->> 'user_id', task_name), count(*)::int
           from procrastinate.procrastinate_jobs
           where status = 'todo' and task_name in ('payments.sync', 'inbox.process') group by 1""",
    )


@pytest.mark.parametrize("outage", [*LINE, *FAULTS])
async def test_while_stripe_is_away_everything_else_goes_on(
    shop: Shop, line: Line, resident: Person, newcomer: Person, outage: str
) -> None:
    shop.server.client.v1.refunds.create({"charge": await resident.charge(), "amount": 100})
    [refunded] = [event for event in await resident.events() if event["type"] == "charge.refunded"]
    before = await resident.on_record()

    await begin(shop, line, outage)
    assert await shop.post_event(refunded) == 204
    async with asyncio.TaskGroup() as group:
        for number in range(3):
            plan = ("premium", "studio")[number % 2]
            group.create_task(refused_in_time(newcomer, "/api/payment/subscribe", {"plan": plan}))
        for step in (None, "cancel", "payment_method"):
            group.create_task(refused_in_time(resident, "/api/payment/portal", {"step": step}))
        group.create_task(shop.run_jobs())
        for person in (newcomer, resident):
            group.create_task(everything_else_goes_on(person))
    for _ in range(3):
        shop.clock.shift += AGAIN_AFTER
        await shop.worker.payments.sweep()
        assert await shop.post_event(refunded) == 204
        assert await waiting(shop) == [(str(resident.id), 1)]
    await shop.run_jobs()
    for table in ("subscriptions", "payments"):
        assert (await resident.on_record())[table] == before[table]
    assert (await resident.standing())[0] == "premium"

    await end(shop, line)
    shop.clock.shift += AGAIN_AFTER
    await shop.worker.payments.sweep()
    await shop.run_jobs()
    [(recorded,)] = await resident.rows("select (refunded * 100)::int from payments where user_id = %(user)s")
    assert recorded == refunded["data"]["object"]["amount_refunded"]
    await bought_once(shop, newcomer)


async def test_slow_answers_do_not_add_up_beyond_what_a_person_waits(shop: Shop, newcomer: Person) -> None:
    shop.server.fault("slow", seconds=0.7, times=None)
    for _ in range(2):
        await refused_in_time(newcomer, "/api/payment/subscribe", {"plan": "premium"})
    shop.server.raw.delete("/_sandbox/faults")
    await bought_once(shop, newcomer)


def test_nobody_waits_for_more_than_half_a_minute() -> None:
    assert StripeConfig(api_key="").call_deadline_s <= 30
    assert PaymentSettings(ORIGIN, enabled=True, mode="live").patience_s <= 30


# The worker


async def test_readings_that_fail_leave_the_worker_free_and_do_not_pile_up(shop: Shop, line: Line) -> None:
    async with crowd(shop, 40):
        await line.cut("silent")
        for _ in range(5):
            shop.clock.shift += AGAIN_AFTER
            await shop.worker.payments.sweep()
            found = dict(await waiting(shop))
            assert (len(found) >= 40, set(found.values())) == (True, {1})
        began = time.perf_counter()
        await at_eight_places(shop)
        # It would be 5 s if each of them waited for itself.
        assert time.perf_counter() - began < 2 * TIMEOUTS.read_s + QUICK_S
        connections = line.connections
        shop.clock.shift += AGAIN_AFTER
        await shop.worker.payments.sweep()
        await at_eight_places(shop)
        assert line.connections - connections <= 8
        assert (
            await rows(shop, "select 1 from payment_customers where due_at < %(now)s", now=shop.clock.now())
            == []
        )


async def at_eight_places(shop: Shop) -> None:
    """As many as a worker has."""
    await asyncio.gather(*(shop.run_jobs() for _ in range(8)))


@asynccontextmanager
async def crowd(shop: Shop, count: int) -> AsyncGenerator[None]:
    """Customers, all of whose turn it is."""
    people = [await shop.sign_up() for _ in range(count)]
    for person in people:
        await rows(
            shop,
            """insert into payment_customers (user_id, customer_id, mode, due_at)
               values (%(user)s, %(customer)s, 'sandbox', '2026-01-01') returning user_id""",
            user=person.user_id,
            customer=f"cus_{person.subject}",
        )
    yield
    async with await psycopg.AsyncConnection.connect(shop.app.settings.database_url or "") as owner:
        await owner.execute(
            "delete from payment_customers where user_id = any(%s)", [[one.user_id for one in people]]
        )


async def bought_once(shop: Shop, person: Person) -> None:
    """Clicked again, and twice: one checkout that is open, and one charge."""
    wish = {"plan": "premium"}
    answers = [await person.ask("POST", "/api/payment/subscribe", json=wish) for _ in range(2)]
    assert {answer.status_code for answer in answers} == {200}, answers[0].text
    [url] = {answer.json()["checkout_url"] for answer in answers}
    stripe = shop.server.client.v1
    customers = [
        one.id
        for one in stripe.customers.list({"email": person.address}).data
        if (one.metadata or {}).to_dict().get("visiona_user") == person.actor.subject
    ]
    assert customers == [await person.customer()]
    sessions = stripe.checkout.sessions.list({"customer": customers[0]}).data
    assert [one.status for one in sessions].count("open") == 1
    assert shop.pay(url)["outcome"] == "Paid"
    await shop.deliver(await person.events())
    assert await person.standing() == ("premium", 1000)
    charges = stripe.charges.list({"customer": customers[0]}).data
    assert [(charge.status, charge.amount) for charge in charges] == [("succeeded", 3900)]
