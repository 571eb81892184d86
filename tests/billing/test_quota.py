"""Quota on the real database: races, settlements, periods, plans, and a model to compare with."""

import asyncio
from datetime import UTC, datetime, timedelta, timezone
from itertools import count

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.billing.conftest import (
    FREE,
    HUNDRED,
    OWN,
    PREMIUM,
    TINY,
    a_month_passes,
    assert_ledger_holds,
    counts,
    granted,
    month,
    reserve,
    set_windows,
    settle,
)
from tests.factories.people import MakeUser

from visiona.audit import service as audit
from visiona.audit.model import Action
from visiona.billing import service as billing
from visiona.billing.model import (
    Quota,
    QuotaInvariantError,
    Resource,
    Use,
    calendar_period,
)
from visiona.billing.service import BillingService
from visiona.core.clock import FixedClock, SystemClock
from visiona.core.errors import Invalid, PaymentRequired
from visiona.db.actor import UserActor
from visiona.db.pool import Connection, Database

# Races


@pytest.fixture
async def _on_hundred(owner: Connection, person: UserActor) -> None:
    await owner.execute(
        "insert into entitlements (user_id, plan) values (%s, %s)", [person.user_id, HUNDRED.name]
    )


@pytest.mark.usefixtures("_on_hundred")
async def test_a_limit_of_100_is_granted_exactly_100_times(
    crowd: Database, owner: Connection, person: UserActor
) -> None:
    async def client() -> int:
        return sum([await granted(reserve(crowd, person, 1)) for _ in range(40)])

    answers = await asyncio.gather(*(client() for _ in range(64)))
    assert sum(answers) == 100
    assert await counts(owner, person) == [(0, 100)]
    await assert_ledger_holds(owner, person)


@pytest.mark.usefixtures("_on_hundred")
async def test_mixed_amounts_never_pass_the_limit(
    crowd: Database, owner: Connection, person: UserActor
) -> None:
    async def client(number: int) -> int:
        amounts = [(number + turn) % 4 + 1 for turn in range(8)]
        return sum([n for n in amounts if await granted(reserve(crowd, person, n))])

    answers = await asyncio.gather(*(client(number) for number in range(64)))
    assert sum(answers) == 100  # whatever is left at the end, a single image still fits
    assert await counts(owner, person) == [(0, 100)]


@pytest.mark.usefixtures("_on_hundred")
async def test_what_is_given_back_in_a_race_is_granted_again_and_no_more(
    crowd: Database, worker_database: Database, owner: Connection, person: UserActor
) -> None:
    async def work() -> bool:
        try:
            period = await reserve(crowd, person, 4)
        except PaymentRequired:
            return False
        await settle(worker_database, person, period, 4, 1)
        return True

    async def client() -> int:
        return sum([await work() for _ in range(8)])

    used = sum(await asyncio.gather(*(client() for _ in range(16))))
    assert await counts(owner, person) == [(used, 0)]
    while await work():
        used += 1
    assert used == 97  # one more reservation of 4 would have to fit into 3
    assert await counts(owner, person) == [(97, 0)]
    await assert_ledger_holds(owner, person)


async def test_a_larger_plan_in_a_race_opens_exactly_what_it_allows(
    crowd: Database, operator: BillingService, owner: Connection, person: UserActor
) -> None:
    """64 clients find five images; while they try on, an operator makes it a hundred."""
    await operator.set_plan(person.user_id, TINY.name)
    changed = asyncio.Event()

    async def client() -> int:
        before = sum([await granted(reserve(crowd, person, 1)) for _ in range(3)])
        changed.set()
        return before + sum([await granted(reserve(crowd, person, 1)) for _ in range(20)])

    async def change() -> None:
        await changed.wait()
        await operator.set_plan(person.user_id, HUNDRED.name)

    *answers, _ = await asyncio.gather(*(client() for _ in range(64)), change())
    assert sum(answer for answer in answers if answer is not None) == 100
    assert await counts(owner, person) == [(0, 100)]
    await assert_ledger_holds(owner, person)


async def test_a_smaller_plan_in_a_race_stops_at_once_and_takes_nothing_away(
    crowd: Database, operator: BillingService, owner: Connection, person: UserActor
) -> None:
    await operator.set_plan(person.user_id, HUNDRED.name)
    in_hand, after = count(1), 0
    half, changed = asyncio.Event(), False

    async def client() -> int:
        nonlocal after
        mine = 0
        for _ in range(20):
            began_after = changed
            if await granted(reserve(crowd, person, 1)):
                mine += 1
                after += began_after
                if next(in_hand) == 50:
                    half.set()
        return mine

    async def change() -> None:
        nonlocal changed
        await half.wait()
        await operator.set_plan(person.user_id, TINY.name)
        changed = True

    *answers, _ = await asyncio.gather(*(client() for _ in range(64)), change())
    total = sum(answer for answer in answers if answer is not None)
    assert 50 <= total <= 100
    assert after == 0
    assert await counts(owner, person) == [(0, total)]
    await assert_ledger_holds(owner, person)


async def test_a_period_that_begins_in_a_race_grants_its_own_hundred(
    crowd: Database, worker_database: Database, owner: Connection, person: UserActor
) -> None:
    """The clock passes from one paid month into the next while 64 clients go on."""
    now = datetime.now(UTC)
    turn = now + timedelta(hours=1)
    old, new = month(turn - timedelta(days=30), 100), month(turn, 100)
    await set_windows(worker_database, person, [old, new])
    clock, in_hand = FixedClock(now), count(1)

    async def client() -> list[datetime]:
        mine: list[datetime] = []
        for _ in range(10):
            try:
                mine.append(await reserve(crowd, person, 1, clock=clock))
            except PaymentRequired:
                continue
            if next(in_hand) == 60:
                clock.instant = turn
        return mine

    answers = [start for mine in await asyncio.gather(*(client() for _ in range(64))) for start in mine]
    of_old, of_new = (answers.count(window.period.start) for window in (old, new))
    assert 60 <= of_old <= 100
    assert of_new == 100
    assert await counts(owner, person) == [(0, of_old), (0, of_new)]

    for start, held in ((old.period.start, of_old), (new.period.start, of_new)):
        await settle(worker_database, person, start, held, held // 2)
    assert await counts(owner, person) == [(of_old // 2, 0), (50, 0)]
    await assert_ledger_holds(owner, person)


async def test_what_is_taken_back_while_work_runs_is_not_granted_again(
    crowd: Database, worker_database: Database, owner: Connection, person: UserActor
) -> None:
    """A refund leaves 40 of 100 images while 64 clients work: running work ends as it would have, and
    nothing is begun until what was used and is set aside is below the new limit; then exactly that.
    """
    start = datetime.now(UTC) - timedelta(days=1)
    await set_windows(worker_database, person, [month(start, 100)])
    taken_back, in_hand = asyncio.Event(), count(1)

    async def client(number: int) -> None:
        for turn in range(6):
            if not await granted(reserve(crowd, person, 2)):
                continue
            if next(in_hand) == 30:
                taken_back.set()
            await settle(worker_database, person, start, 2, (number + turn) % 3)

    async def take_back() -> None:
        await taken_back.wait()
        await set_windows(worker_database, person, [month(start, 40)])

    await asyncio.gather(*(client(number) for number in range(64)), take_back())
    ((used, reserved),) = await counts(owner, person)
    assert reserved == 0
    assert used <= 100
    await assert_ledger_holds(owner, person)

    left = 0
    while await granted(reserve(crowd, person, 1)):
        left += 1
    # The free month of everybody is smaller than what is left of the subscription, and not added to it.
    assert left == max(40 - used, 0)

    await set_windows(worker_database, person, [month(start, 100)])
    answers = await asyncio.gather(*(granted(reserve(crowd, person, 1)) for _ in range(128)))
    assert used + left + sum(answers) == 100
    await assert_ledger_holds(owner, person)


# Settlements


@pytest.mark.parametrize("used", [0, 1, 4])
async def test_only_what_was_delivered_is_used(
    database: Database, worker_database: Database, owner: Connection, person: UserActor, used: int
) -> None:
    period = await reserve(database, person, 4)
    await reserve(database, person, 2)
    await settle(worker_database, person, period, 4, used)
    assert await counts(owner, person) == [(used, 2)]


async def test_a_second_settlement_takes_its_whole_transaction_with_it(
    database: Database, worker_database: Database, owner: Connection, person: UserActor
) -> None:
    period = await reserve(database, person, 4)
    await settle(worker_database, person, period, 4, 3)

    async def again() -> None:
        async with worker_database.transaction(person) as connection:
            await audit.record(connection, person.user_id, Action.GENERATION_FINISHED)
            await billing.settle(
                connection, person.user_id, Resource.IMAGES, period, reserved=4, used=3, reference="run:1"
            )

    with pytest.raises(QuotaInvariantError):
        await again()
    assert await counts(owner, person) == [(3, 0)]
    cursor = await owner.execute(
        "select count(*) from audit_logs where user_id = %s and action = 'generation.finished'",
        [person.user_id],
    )
    assert await cursor.fetchone() == (0,)


async def test_nothing_is_settled_that_was_not_reserved(
    database: Database, worker_database: Database, owner: Connection, make_user: MakeUser, person: UserActor
) -> None:
    period = await reserve(database, person, 1)
    for actor, start, reserved in (
        (person, period, 2),
        (person, period - timedelta(days=31), 1),
        (await make_user(), period, 1),
    ):
        with pytest.raises(QuotaInvariantError):
            await settle(worker_database, actor, start, reserved, reserved)
    assert await counts(owner, person) == [(0, 1)]


@pytest.mark.parametrize("used", [5, -1])
async def test_more_than_was_set_aside_is_never_used_nor_less_than_nothing(
    database: Database, worker_database: Database, owner: Connection, person: UserActor, used: int
) -> None:
    period = await reserve(database, person, 4)
    await reserve(database, person, 4)
    with pytest.raises(QuotaInvariantError):
        await settle(worker_database, person, period, 4, used)
    assert await counts(owner, person) == [(0, 8)]


async def test_nobody_settles_for_another(
    database: Database, worker_database: Database, owner: Connection, make_user: MakeUser, person: UserActor
) -> None:
    period, stranger = await reserve(database, person, 4), await make_user()
    async with worker_database.transaction(stranger) as connection:
        with pytest.raises(QuotaInvariantError):
            await billing.settle(
                connection, person.user_id, Resource.IMAGES, period, reserved=4, used=0, reference="run:1"
            )
    assert await counts(owner, person) == [(0, 4)]


async def test_only_the_worker_settles(database: Database, person: UserActor) -> None:
    period = await reserve(database, person, 1)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await settle(database, person, period, 1, 0)


async def test_a_failed_intent_reserves_nothing(
    database: Database, owner: Connection, service: BillingService, person: UserActor
) -> None:
    async def fail() -> None:
        async with database.transaction(person) as connection:
            await service.reserve(connection, person.user_id, Resource.IMAGES, 4)
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    assert await counts(owner, person) == []


@pytest.mark.parametrize(("amount", "reserved"), [(FREE.images, FREE.images), (FREE.images + 1, None)])
async def test_the_first_reservation_meets_the_limit_too(
    database: Database, owner: Connection, person: UserActor, amount: int, reserved: int | None
) -> None:
    assert await granted(reserve(database, person, amount)) == (reserved is not None)
    assert await counts(owner, person) == ([] if reserved is None else [(0, reserved)])


@pytest.mark.parametrize("amount", [-4, 0])
async def test_a_reservation_of_nothing_gives_nothing_back(
    database: Database, owner: Connection, person: UserActor, amount: int
) -> None:
    await reserve(database, person, 4)
    with pytest.raises(ValueError, match="a reservation is of something"):
        await reserve(database, person, amount)
    assert await counts(owner, person) == [(0, 4)]


async def test_images_and_clones_are_counted_apart(
    database: Database, service: BillingService, person: UserActor
) -> None:
    async with database.transaction(person) as connection:
        await service.reserve(connection, person.user_id, Resource.CLONES, FREE.clones)
        await service.reserve(connection, person.user_id, Resource.IMAGES, FREE.images)
    period = calendar_period(SystemClock().now())
    assert await service.quota(person) == Quota(
        FREE, Use(FREE.images, FREE.images), Use(FREE.clones, FREE.clones), period
    )


async def test_a_refusal_says_when_the_plan_renews(
    database: Database, service: BillingService, clock: FixedClock, person: UserActor
) -> None:
    with pytest.raises(PaymentRequired) as refused:
        async with database.transaction(person) as connection:
            await service.reserve(connection, person.user_id, Resource.CLONES, FREE.clones + 1)
    renewal = calendar_period(clock.now()).end
    assert refused.value.code == "quota_exhausted"
    assert refused.value.detail == (
        f"Only {FREE.clones} clones left on your plan. "
        f"New ones come on 1 {renewal:%B}; a larger plan gives you more now."
    )


# Periods


async def test_a_new_period_gives_a_new_allowance_and_old_work_settles_in_its_own(
    database: Database,
    worker_database: Database,
    owner: Connection,
    service: BillingService,
    person: UserActor,
) -> None:
    await reserve(database, person, FREE.images)
    assert not await granted(reserve(database, person, 1))
    last_month = await a_month_passes(owner, person)

    assert (await service.quota(person)).images == Use(0, FREE.images)
    this_month = await reserve(database, person, 4)
    assert this_month > last_month
    await settle(worker_database, person, last_month, FREE.images, 3)
    assert await counts(owner, person) == [(3, 0), (0, 4)]
    assert (await service.quota(person)).images == Use(4, FREE.images)
    with pytest.raises(QuotaInvariantError):
        await settle(worker_database, person, last_month, 1, 0)


@pytest.mark.parametrize("days", [-62, 62])
async def test_an_application_whose_clock_is_wrong_opens_no_period(
    database: Database, clock: FixedClock, service: BillingService, person: UserActor, days: int
) -> None:
    clock.instant += timedelta(days=days)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with database.transaction(person) as connection:
            await service.reserve(connection, person.user_id, Resource.IMAGES, 1)


@pytest.mark.parametrize(
    ("now", "start", "end"),
    [
        (datetime(2026, 1, 1, tzinfo=UTC), (2026, 1), (2026, 2)),
        (datetime(2026, 1, 31, 23, 59, 59, 999_999, tzinfo=UTC), (2026, 1), (2026, 2)),
        (datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC), (2026, 12), (2027, 1)),
        (datetime(2028, 2, 29, 12, tzinfo=UTC), (2028, 2), (2028, 3)),
        # Already February in Auckland, still January in UTC.
        (datetime(2026, 2, 1, 9, tzinfo=timezone(timedelta(hours=13))), (2026, 1), (2026, 2)),
    ],
)
def test_a_period_is_a_calendar_month_in_utc(
    now: datetime, start: tuple[int, int], end: tuple[int, int]
) -> None:
    period = calendar_period(now)
    assert (period.start, period.end) == (datetime(*start, 1, tzinfo=UTC), datetime(*end, 1, tzinfo=UTC))


@given(st.datetimes(datetime(1971, 1, 1), datetime(2999, 1, 1), timezones=st.timezones()))  # noqa: DTZ001 - bounds are naive there
def test_every_instant_lies_in_one_period(now: datetime) -> None:
    period = calendar_period(now)
    assert period.start <= now < period.end
    assert calendar_period(period.start) == period
    assert calendar_period(period.end).start == period.end
    assert calendar_period(period.end - timedelta(microseconds=1)) == period


# Plans


async def test_a_smaller_plan_stops_new_work_and_lets_old_work_end(
    database: Database,
    worker_database: Database,
    owner: Connection,
    service: BillingService,
    operator: BillingService,
    person: UserActor,
) -> None:
    await operator.set_plan(person.user_id, "premium")
    period = await reserve(database, person, FREE.images + 10)
    await reserve(database, person, 3)
    await operator.set_plan(person.user_id, "free")

    assert not await granted(reserve(database, person, 1))
    await settle(worker_database, person, period, FREE.images + 10, FREE.images + 5)
    assert await counts(owner, person) == [(FREE.images + 5, 3)]
    assert not await granted(reserve(database, person, 1))
    await settle(worker_database, person, period, 3, 0)
    quota = await service.quota(person)
    # More was used than the plan allows now: the limit shown is not below it.
    assert (quota.plan, quota.images) == (FREE, Use(FREE.images + 5, FREE.images + 5))

    await operator.set_plan(person.user_id, "premium")
    assert await granted(reserve(database, person, PREMIUM.images - FREE.images - 5))
    assert not await granted(reserve(database, person, 1))


async def test_an_unknown_plan_is_refused(operator: BillingService, person: UserActor) -> None:
    with pytest.raises(Invalid) as refused:
        await operator.set_plan(person.user_id, "platinum")
    assert refused.value.code == "unknown_plan"


async def test_a_change_of_plan_is_on_record(
    operator: BillingService, owner: Connection, person: UserActor
) -> None:
    await operator.set_plan(person.user_id, "premium")
    assert (await operator.plans_by_user())[person.user_id] == "premium"
    cursor = await owner.execute(
        "select details from audit_logs where user_id = %s and action = 'plan.changed'", [person.user_id]
    )
    assert await cursor.fetchall() == [({"plan": "premium"},)]


async def test_published_plans_are_those_of_the_file(owner: Connection) -> None:
    cursor = await owner.execute(
        "select name, images, clones from plans where name = any(%s)", [list(OWN.plans)]
    )
    assert {row[0]: row[1:] for row in await cursor.fetchall()} == {
        plan.name: (plan.images, plan.clones) for plan in OWN
    }
