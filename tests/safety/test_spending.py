"""What providers cost in a day stays under the cap, counted once for each piece of work."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from typing import Any

import pytest
from tests.factories.people import MakeUser
from tests.factories.safety import FREE

from visiona.core.clock import SystemClock
from visiona.core.errors import TooMany, Unavailable, VisionaError
from visiona.db.actor import UserActor
from visiona.db.pool import Connection, Database
from visiona.safety.model import over_total_cap, seconds_to_tomorrow
from visiona.safety.service import Spending

works = count(1)


@pytest.fixture
async def today(owner: Connection) -> AsyncGenerator[Connection]:
    """The day's total from nothing; other tests of this database go on from it."""
    await owner.execute("delete from cost_days")
    yield owner
    await owner.execute("delete from cost_days")


def spending(database: Database, total: str | None = None, own: str | None = None) -> Spending:
    limits = replace(
        FREE,
        total_cap=None if total is None else Decimal(total),
        person_cap=None if own is None else Decimal(own),
    )
    return Spending(database, SystemClock(), limits)


async def start(
    database: Database, money: Spending, actor: UserActor, work: str, amount: str = "0.05"
) -> None:
    async with money.watched(actor), database.transaction(actor) as connection:
        await money.reserve(connection, work, Decimal(amount))


async def settle(database: Database, money: Spending, actor: UserActor, work: str, unused: str) -> None:
    async with database.transaction(actor) as connection:
        await money.settle(connection, work, Decimal(unused))


async def total(owner: Connection) -> Any:
    cursor = await owner.execute("select coalesce(sum(committed), 0) from cost_days")
    row = await cursor.fetchone()
    return None if row is None else row[0]


async def test_200_at_once_stay_under_the_cap_of_all(
    database: Database, today: Connection, make_user: MakeUser
) -> None:
    people = [await make_user() for _ in range(4)]
    money = spending(database, total="1.99")
    results = await asyncio.gather(
        *(start(database, money, people[n % 4], f"run:{n}") for n in range(200)), return_exceptions=True
    )
    refused = [result for result in results if isinstance(result, BaseException)]
    assert {type(result) for result in refused} == {Unavailable}
    assert len(refused) == 200 - 39
    assert await total(today) == Decimal("1.95")


async def test_200_at_once_stay_under_the_cap_of_one_person(
    database: Database, today: Connection, make_user: MakeUser
) -> None:
    actor, other = await make_user(), await make_user()
    money = spending(database, own="0.50")
    results = await asyncio.gather(
        *(start(database, money, actor, f"run:{n}") for n in range(200)), return_exceptions=True
    )
    assert sum(result is None for result in results) == 10
    assert {type(result) for result in results if result is not None} == {TooMany}
    await start(database, money, other, "run:1")
    assert await total(today) == Decimal("0.55")


async def test_work_that_is_tried_again_is_counted_once(
    database: Database, today: Connection, make_user: MakeUser
) -> None:
    actor, money = await make_user(), spending(database)
    for _ in range(5):
        await start(database, money, actor, "run:7")
    assert await total(today) == Decimal("0.05")
    for _ in range(3):
        await settle(database, money, actor, "run:7", "0.03")
    assert await total(today) == Decimal("0.02")
    await start(database, money, actor, "run:7")
    assert await total(today) == Decimal("0.02")


@pytest.mark.usefixtures("today")
async def test_what_was_never_handed_over_is_free_again(
    database: Database, worker_database: Database, make_user: MakeUser
) -> None:
    actor, money = await make_user(), spending(database, total="2")
    await start(database, money, actor, "training:1", "2")
    with pytest.raises(Unavailable):
        await start(database, money, actor, "run:2")
    await settle(worker_database, money, actor, "training:1", "2")
    await start(database, money, actor, "run:2")


async def test_trainings_and_images_at_once_and_given_back_stay_under_one_cap(
    database: Database, worker_database: Database, today: Connection, make_user: MakeUser
) -> None:
    """Each that was begun is settled at once, twice, and more is claimed back than it cost."""
    people, money = [await make_user() for _ in range(4)], spending(database, total="25", own="9")
    highest: list[Decimal] = []

    async def work(number: int) -> bool:
        actor, name = people[number % 4], f"{'training' if number % 5 == 0 else 'run'}:{number}"
        try:
            await start(database, money, actor, name, "2.50" if number % 5 == 0 else "0.16")
        except (TooMany, Unavailable):
            return False
        highest.append(await total(today))
        if number % 2:
            await asyncio.gather(*(settle(worker_database, money, actor, name, "99") for _ in range(2)))
        else:
            await settle(worker_database, money, actor, name, "-99")
        return True

    done = await asyncio.gather(*(work(number) for number in range(200)))
    assert max(highest) <= 25
    kept = [number for number, begun in enumerate(done) if begun and number % 2 == 0]
    cost = sum((Decimal("2.50") if number % 5 == 0 else Decimal("0.16")) for number in kept)
    assert await total(today) == cost <= 25
    cursor = await today.execute(
        "select max(committed) from cost_people where day = (now() at time zone 'UTC')::date"
    )
    assert (await cursor.fetchone() or (0,))[0] <= 9


async def test_what_began_yesterday_is_given_back_to_yesterday(
    database: Database, today: Connection, make_user: MakeUser
) -> None:
    actor, money = await make_user(), spending(database, total="1")
    await start(database, money, actor, "run:1", "1")
    await today.execute("update cost_days set day = day - 1")
    for table in ("cost_people", "provider_costs"):
        await today.execute(
            f"update {table} set day = day - 1 where user_id = %s",  # type: ignore[arg-type] # one of two
            [actor.user_id],
        )
    await start(database, money, actor, "run:2", "1")
    await settle(database, money, actor, "run:1", "1")
    with pytest.raises(Unavailable):
        await start(database, money, actor, "run:3", "0.01")
    cursor = await today.execute("select committed from cost_days order by day")
    assert [row[0] for row in await cursor.fetchall()] == [0, 1]


async def test_nobody_settles_anothers_work(
    database: Database, today: Connection, make_user: MakeUser
) -> None:
    actor, other = await make_user(), await make_user()
    money = spending(database)
    await start(database, money, actor, "run:3")
    await settle(database, money, other, "run:3", "0.05")
    assert await total(today) == Decimal("0.05")


async def test_more_is_not_given_back_than_was_set_aside(
    database: Database, today: Connection, make_user: MakeUser
) -> None:
    actor, money = await make_user(), spending(database)
    await start(database, money, actor, "run:4")
    await settle(database, money, actor, "run:4", "1000")
    assert await total(today) == 0


async def waiting(owner: Connection) -> Any:
    """Jobs that will tell administrators."""
    cursor = await owner.execute(
        "select count(*) from procrastinate.procrastinate_jobs where task_name = 'safety.tell_cap'"
    )
    row = await cursor.fetchone()
    return None if row is None else row[0]


@pytest.mark.parametrize(("total_cap", "own_cap", "code"), [("0", None, 503), (None, "0", 429)])
async def test_who_is_refused_is_told_to_come_back_tomorrow(
    database: Database, today: Connection, make_user: MakeUser, total_cap: str, own_cap: str, code: int
) -> None:
    actor = await make_user()
    with pytest.raises(VisionaError) as refused:
        await start(database, spending(database, total_cap, own_cap), actor, "run:5")
    assert "tomorrow" in refused.value.detail
    assert isinstance(refused.value, Unavailable if code == 503 else TooMany)
    assert 0 < refused.value.retry_after <= 24 * 3600
    assert await total(today) == 0


async def test_administrators_are_told_once_a_day(
    database: Database,
    worker_database: Database,
    today: Connection,
    make_user: MakeUser,
    caplog: pytest.LogCaptureFixture,
) -> None:
    admin, actor = await make_user(), await make_user()
    await today.execute("update users set role = 'admin' where id = %s", [admin.user_id])
    before = await waiting(today)
    money = spending(database, total="0.06")
    await start(database, money, actor, f"run:{next(works)}")
    for _ in range(3):
        with pytest.raises(Unavailable):
            await start(database, money, actor, f"run:{100 + next(works)}")
    assert await waiting(today) == max(before, 1)
    teller = spending(worker_database, total="0.06")
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            await teller.tell_cap()
    assert caplog.text.count("the daily cap on provider cost is reached") == 1
    mails = await today.execute(
        "select kind, details ->> 'cap' from mails where user_id = %s and kind = 'cost_cap_reached'",
        [admin.user_id],
    )
    assert await mails.fetchall() == [("cost_cap_reached", "0.06")]
    await today.execute("update users set role = 'member' where id = %s", [admin.user_id])


def test_tomorrow_begins_at_midnight() -> None:
    late = datetime(2026, 11, 23, 23, 59, 30, tzinfo=UTC)
    assert seconds_to_tomorrow(late) == 30
    assert over_total_cap(late).retry_after == 30
