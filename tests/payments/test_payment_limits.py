"""How much one person can ask of Stripe, whose patience is everybody's."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator

import httpx
import pytest
from tests.payments.buyers import Person, move_in, rows
from tests.payments.conftest import Shop, lent

from visiona.payments.service import PAGES_FREE, READINGS_FREE

PARALLEL = 200
GRACE = 4
"""The brake lets one through after 1, 2, 4 and 8 seconds: tests take no longer."""


@pytest.fixture
async def shop(module_shop: Shop) -> AsyncGenerator[Shop]:
    async with lent(module_shop) as shop:
        yield shop


@pytest.fixture
async def person(shop: Shop) -> AsyncGenerator[Person]:
    person = await move_in(shop)
    yield person
    await person.http.aclose()


@pytest.fixture
async def neighbour(shop: Shop) -> AsyncGenerator[Person]:
    neighbour = await move_in(shop)
    yield neighbour
    await neighbour.http.aclose()


async def all_at_once(person: Person, method: str, path: str, *bodies: object) -> list[httpx.Response]:
    """Each as if from another network."""

    async def ask(number: int) -> httpx.Response:
        headers = {"X-Forwarded-For": f"203.0.113.{number % 250}", "Forwarded": f"for=198.51.100.{number}"}
        body = {"json": bodies[number % len(bodies)]} if bodies else {}
        return await person.ask(method, path, headers=headers, **body)

    answers = await asyncio.gather(*(ask(number) for number in range(PARALLEL)))
    for answer in answers:
        if answer.status_code == 429:
            assert answer.json()["code"] == "too_many_payment_pages"
            assert 1 <= int(answer.headers["retry-after"]) <= 300
    return answers


def counted(answers: list[httpx.Response]) -> Counter[int]:
    return Counter(answer.status_code for answer in answers)


async def test_of_two_hundred_clicks_at_once_few_reach_stripe_and_one_checkout_stays_open(
    shop: Shop, person: Person, neighbour: Person
) -> None:
    plans = [
        {"plan": plan, "interval": interval}
        for plan in ("premium", "studio")
        for interval in ("month", "year")
    ]
    answers = await all_at_once(person, "POST", "/api/payment/subscribe", *plans)
    found = counted(answers)
    assert set(found) <= {200, 429, 503}
    assert found[200] >= 1
    assert PARALLEL - found[429] <= PAGES_FREE + GRACE
    stripe = shop.server.client.v1
    customer = await person.customer()
    assert [one.id for one in stripe.customers.list({"email": person.email}).data] == [customer]
    sessions = stripe.checkout.sessions.list({"customer": customer, "limit": 100}).data
    assert len(sessions) <= PAGES_FREE + GRACE
    assert [one.status for one in sessions].count("open") <= 1
    on_record = await person.rows("select state from checkouts where user_id = %(user)s")
    assert len(on_record) <= PAGES_FREE + GRACE
    assert sum(state in {"creating", "open"} for (state,) in on_record) <= 1
    assert (await neighbour.ask("POST", "/api/payment/subscribe", json=plans[0])).status_code == 200


@pytest.mark.parametrize("what", ["portal", "invoice"])
async def test_pages_of_a_customer_are_braked_too(person: Person, what: str) -> None:
    await person.buy()
    method, path = "POST", "/api/payment/portal"
    if what == "invoice":
        [(invoice_id,)] = await person.rows("select id from invoices where user_id = %(user)s")
        method, path = "GET", f"/api/payment/invoices/{invoice_id}"
    found = counted(await all_at_once(person, method, path))
    assert set(found) == {200 if what == "portal" else 303, 429}
    assert PARALLEL - found[429] <= PAGES_FREE + GRACE
    unknown = await person.ask("GET", "/api/payment/invoices/in_nothing")
    assert unknown.status_code == 404  # nothing was asked of Stripe
    assert await person.standing() == ("premium", 1000)


async def test_readings_that_a_person_asks_for_are_limited_and_one_waits_at_most(
    shop: Shop, person: Person
) -> None:
    await person.buy()
    readings = 0
    for _ in range(READINGS_FREE + 20):
        assert (await person.ask("POST", "/api/payment/refresh")).status_code == 202
        readings += await waiting(shop)
    assert READINGS_FREE <= readings <= READINGS_FREE + GRACE
    found = counted(await all_at_once(person, "POST", "/api/payment/refresh"))
    assert set(found) == {202}
    assert await waiting(shop) <= 1
    shop.server.client.v1.refunds.create({"charge": await person.charge()})
    await shop.deliver(await person.events())  # what is true is heard anyway
    assert await person.standing() == ("free", 30)


async def waiting(shop: Shop) -> int:
    """How many readings wait; they are taken away."""
    taken = await rows(
        shop,
        """delete from procrastinate.procrastinate_jobs
           where status = 'todo' and task_name = 'payments.sync' returning id""",
    )
    return len(taken)
