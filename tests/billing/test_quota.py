"""Quota on the real database: races, settlements, periods, plans, and a model to compare with."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Coroutine, Generator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, TypeVar

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from tests.factories.people import MakeUser, OpenDatabase

from visiona.audit import service as audit
from visiona.audit.model import Action
from visiona.billing import service as billing
from visiona.billing import store
from visiona.billing.model import Quota, QuotaInvariantError, Resource, Use, calendar_period, plans
from visiona.billing.service import BillingService
from visiona.core.clock import FixedClock, SystemClock
from visiona.core.errors import Invalid, PaymentRequired
from visiona.db.actor import Anonymous, SystemActor, UserActor
from visiona.db.pool import Connection, Database, fetch_value

T = TypeVar("T")

FREE, PREMIUM = plans()["free"], plans()["premium"]
HUNDRED, TINY = "test-hundred", "test-tiny"
LIMITS = {
    "free": {Resource.IMAGES: FREE.images, Resource.CLONES: FREE.clones},
    TINY: {Resource.IMAGES: 5, Resource.CLONES: 1},
    HUNDRED: {Resource.IMAGES: 100, Resource.CLONES: 3},
}


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(datetime.now(UTC))


@pytest.fixture
def service(database: Database, clock: FixedClock) -> BillingService:
    return BillingService(database, clock)


@pytest.fixture
def operator(worker_database: Database, clock: FixedClock) -> BillingService:
    return BillingService(worker_database, clock)


@pytest.fixture
async def person(make_user: MakeUser) -> UserActor:
    """On the free plan."""
    return await make_user()


@pytest.fixture(scope="session")
async def _test_plans(owner_url: str) -> None:
    async with await psycopg.AsyncConnection.connect(owner_url, autocommit=True) as owner:
        for name in (HUNDRED, TINY):
            limits = LIMITS[name]
            await owner.execute(
                "insert into plans (name, images, clones) values (%s, %s, %s)",
                [name, limits[Resource.IMAGES], limits[Resource.CLONES]],
            )


async def _reserve(database: Database, actor: UserActor, amount: int) -> datetime:
    async with database.transaction(actor) as connection:
        service = BillingService(database, SystemClock())
        return await service.reserve(connection, actor.user_id, Resource.IMAGES, amount)


async def _settle(database: Database, actor: UserActor, period: datetime, reserved: int, used: int) -> None:
    async with database.transaction(actor) as connection:
        await billing.settle(connection, actor.user_id, Resource.IMAGES, period, reserved=reserved, used=used)


async def _counts(owner: Connection, actor: UserActor) -> list[tuple[int, int]]:
    """(used, reserved) of the images, oldest period first."""
    cursor = await owner.execute(
        """select used, reserved from quota_usage where user_id = %s and resource = 'images'
           order by period_start""",
        [actor.user_id],
    )
    return await cursor.fetchall()


async def _granted(attempt: Awaitable[datetime]) -> bool:
    try:
        await attempt
    except PaymentRequired:
        return False
    return True


# Races


@pytest.fixture
async def crowd(
    open_database: OpenDatabase, owner: Connection, person: UserActor, _test_plans: None
) -> AsyncGenerator[Database]:
    """The application's database with a connection for each of 64 clients, and a plan of 100 images."""
    await owner.execute("insert into entitlements (user_id, plan) values (%s, %s)", [person.user_id, HUNDRED])
    async with open_database(max_size=64) as database:
        yield database


async def test_a_limit_of_100_is_granted_exactly_100_times(
    crowd: Database, owner: Connection, person: UserActor
) -> None:
    async def client() -> int:
        return sum([await _granted(_reserve(crowd, person, 1)) for _ in range(40)])

    granted = await asyncio.gather(*(client() for _ in range(64)))
    assert sum(granted) == 100
    assert await _counts(owner, person) == [(0, 100)]


async def test_mixed_amounts_never_pass_the_limit(
    crowd: Database, owner: Connection, person: UserActor
) -> None:
    async def client(number: int) -> int:
        amounts = [(number + turn) % 4 + 1 for turn in range(8)]
        return sum([n for n in amounts if await _granted(_reserve(crowd, person, n))])

    granted = await asyncio.gather(*(client(number) for number in range(64)))
    assert sum(granted) == 100  # whatever is left at the end, a single image still fits
    assert await _counts(owner, person) == [(0, 100)]


async def test_what_is_given_back_in_a_race_is_granted_again_and_no_more(
    crowd: Database, worker_database: Database, owner: Connection, person: UserActor
) -> None:
    async def work() -> bool:
        try:
            period = await _reserve(crowd, person, 4)
        except PaymentRequired:
            return False
        await _settle(worker_database, person, period, 4, 1)
        return True

    async def client() -> int:
        return sum([await work() for _ in range(8)])

    used = sum(await asyncio.gather(*(client() for _ in range(16))))
    assert await _counts(owner, person) == [(used, 0)]
    while await work():
        used += 1
    assert used == 97  # one more reservation of 4 would have to fit into 3
    assert await _counts(owner, person) == [(97, 0)]


# Settlements


@pytest.mark.parametrize("used", [0, 1, 4])
async def test_only_what_was_delivered_is_used(
    database: Database, worker_database: Database, owner: Connection, person: UserActor, used: int
) -> None:
    period = await _reserve(database, person, 4)
    await _reserve(database, person, 2)
    await _settle(worker_database, person, period, 4, used)
    assert await _counts(owner, person) == [(used, 2)]


async def test_a_second_settlement_takes_its_whole_transaction_with_it(
    database: Database, worker_database: Database, owner: Connection, person: UserActor
) -> None:
    period = await _reserve(database, person, 4)
    await _settle(worker_database, person, period, 4, 3)

    async def again() -> None:
        async with worker_database.transaction(person) as connection:
            await audit.record(connection, person.user_id, Action.GENERATION_FINISHED)
            await billing.settle(connection, person.user_id, Resource.IMAGES, period, reserved=4, used=3)

    with pytest.raises(QuotaInvariantError):
        await again()
    assert await _counts(owner, person) == [(3, 0)]
    cursor = await owner.execute(
        "select count(*) from audit_logs where user_id = %s and action = 'generation.finished'",
        [person.user_id],
    )
    assert await cursor.fetchone() == (0,)


async def test_nothing_is_settled_that_was_not_reserved(
    database: Database, worker_database: Database, owner: Connection, make_user: MakeUser, person: UserActor
) -> None:
    period = await _reserve(database, person, 1)
    for actor, start, reserved in (
        (person, period, 2),
        (person, period - timedelta(days=31), 1),
        (await make_user(), period, 1),
    ):
        with pytest.raises(QuotaInvariantError):
            await _settle(worker_database, actor, start, reserved, reserved)
    assert await _counts(owner, person) == [(0, 1)]


async def test_nobody_settles_for_another(
    database: Database, worker_database: Database, owner: Connection, make_user: MakeUser, person: UserActor
) -> None:
    period, stranger = await _reserve(database, person, 4), await make_user()
    async with worker_database.transaction(stranger) as connection:
        with pytest.raises(QuotaInvariantError):
            await billing.settle(connection, person.user_id, Resource.IMAGES, period, reserved=4, used=0)
    assert await _counts(owner, person) == [(0, 4)]


async def test_only_the_worker_settles(database: Database, person: UserActor) -> None:
    period = await _reserve(database, person, 1)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await _settle(database, person, period, 1, 0)


async def test_a_failed_intent_reserves_nothing(
    database: Database, owner: Connection, service: BillingService, person: UserActor
) -> None:
    async def fail() -> None:
        async with database.transaction(person) as connection:
            await service.reserve(connection, person.user_id, Resource.IMAGES, 4)
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    assert await _counts(owner, person) == []


@pytest.mark.parametrize(("amount", "reserved"), [(FREE.images, FREE.images), (FREE.images + 1, None)])
async def test_the_first_reservation_meets_the_limit_too(
    database: Database, owner: Connection, person: UserActor, amount: int, reserved: int | None
) -> None:
    assert await _granted(_reserve(database, person, amount)) == (reserved is not None)
    assert await _counts(owner, person) == ([] if reserved is None else [(0, reserved)])


async def test_a_negative_amount_gives_nothing_back(
    database: Database, owner: Connection, person: UserActor
) -> None:
    await _reserve(database, person, 4)
    with pytest.raises(psycopg.errors.CheckViolation):
        await _reserve(database, person, -4)
    assert await _counts(owner, person) == [(0, 4)]


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
    assert f"{renewal:%d %B}" in refused.value.detail
    assert "clones" in refused.value.detail


# Periods


async def test_a_new_period_gives_a_new_allowance_and_old_work_settles_in_its_own(
    database: Database,
    worker_database: Database,
    owner: Connection,
    service: BillingService,
    person: UserActor,
) -> None:
    await _reserve(database, person, FREE.images)
    assert not await _granted(_reserve(database, person, 1))
    last_month = await _a_month_passes(owner, person)

    assert (await service.quota(person)).images == Use(0, FREE.images)
    this_month = await _reserve(database, person, 4)
    assert this_month > last_month
    await _settle(worker_database, person, last_month, FREE.images, 3)
    assert await _counts(owner, person) == [(3, 0), (0, 4)]
    assert (await service.quota(person)).images == Use(4, FREE.images)
    with pytest.raises(QuotaInvariantError):
        await _settle(worker_database, person, last_month, 1, 0)


async def _a_month_passes(owner: Connection, actor: UserActor) -> datetime:
    """Policies look at the server's own clock, so it is the rows that grow older; answers their period."""
    return await fetch_value(
        owner,
        """update quota_usage set
             period_start = date_trunc('month', period_start - interval '1 day', 'UTC'),
             period_end = period_start
           where user_id = %s returning period_start""",
        [actor.user_id],
    )


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
    period = await _reserve(database, person, FREE.images + 10)
    await _reserve(database, person, 3)
    await operator.set_plan(person.user_id, "free")

    assert not await _granted(_reserve(database, person, 1))
    await _settle(worker_database, person, period, FREE.images + 10, FREE.images + 5)
    assert await _counts(owner, person) == [(FREE.images + 5, 3)]
    assert not await _granted(_reserve(database, person, 1))
    await _settle(worker_database, person, period, 3, 0)
    quota = await service.quota(person)
    assert (quota.plan, quota.images) == (FREE, Use(FREE.images + 5, FREE.images))

    await operator.set_plan(person.user_id, "premium")
    assert await _granted(_reserve(database, person, PREMIUM.images - FREE.images - 5))
    assert not await _granted(_reserve(database, person, 1))


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
        "select name, images, clones from plans where name = any(%s)", [list(plans())]
    )
    assert {row[0]: row[1:] for row in await cursor.fetchall()} == {
        plan.name: (plan.images, plan.clones) for plan in plans().values()
    }


# A model


class World:
    """The databases of one event loop, driven from synchronous tests."""

    def __init__(self, app_url: str, worker_url: str) -> None:
        self.runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self.app = Database(app_url, max_size=2)
        self.worker = Database(worker_url, max_size=2)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    async def sign_up(self) -> UserActor:
        subject = f"user_{datetime.now(UTC).timestamp()}"
        async with self.app.transaction(Anonymous()) as connection:
            user_id = await fetch_value(
                connection, "select visiona.sign_up(%s, %s, 'x')", [subject, f"{subject}@example.com"]
            )
        return UserActor(user_id)


@pytest.fixture
def world(app_url: str, worker_url: str, _test_plans: None) -> Generator[World]:
    world = World(app_url, worker_url)
    world.run(world.app.open())
    world.run(world.worker.open())
    yield world
    world.run(world.app.close())
    world.run(world.worker.close())
    world.runner.close()


@dataclass
class Model:
    """What quota is, without a database."""

    plan: str = "free"
    used: dict[Resource, int] = field(default_factory=lambda: dict.fromkeys(Resource, 0))
    reserved: dict[Resource, int] = field(default_factory=lambda: dict.fromkeys(Resource, 0))

    def reserve(self, resource: Resource, amount: int) -> bool:
        granted = self.used[resource] + self.reserved[resource] + amount <= LIMITS[self.plan][resource]
        self.reserved[resource] += amount if granted else 0
        return granted

    def settle(self, resource: Resource, reserved: int, used: int) -> bool:
        if self.reserved[resource] < reserved:
            return False
        self.reserved[resource] -= reserved
        self.used[resource] += used
        return True


class QuotaMachine(RuleBasedStateMachine):
    reservations = Bundle("reservations")

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.actor = world.run(world.sign_up())
        self.service = BillingService(world.app, SystemClock())
        self.period = calendar_period(SystemClock().now()).start
        self.model = Model()

    @rule(target=reservations, resource=st.sampled_from(Resource), amount=st.integers(1, 12))
    def reserve(self, resource: Resource, amount: int) -> Any:
        granted = self.world.run(_granted(self._reserve(resource, amount)))
        assert granted == self.model.reserve(resource, amount)
        return (resource, amount) if granted else multiple()

    @rule(reservation=consumes(reservations), data=st.data())
    def end_work(self, reservation: tuple[Resource, int], data: st.DataObject) -> None:
        resource, amount = reservation
        used = data.draw(st.integers(0, amount), label="delivered")
        assert self.world.run(self._settle(resource, amount, used))
        assert self.model.settle(resource, amount, used)

    @rule(resource=st.sampled_from(Resource), extra=st.integers(1, 5))
    def settle_what_is_not_there(self, resource: Resource, extra: int) -> None:
        amount = self.model.reserved[resource] + extra
        assert not self.world.run(self._settle(resource, amount, 0))
        assert not self.model.settle(resource, amount, 0)

    @rule(plan=st.sampled_from(sorted(LIMITS)))
    def change_plan(self, plan: str) -> None:
        self.world.run(self._change_plan(plan))
        self.model.plan = plan

    @invariant()
    def database_agrees(self) -> None:
        counts = self.world.run(self._counts())
        for resource in Resource:
            expected = (self.model.used[resource], self.model.reserved[resource])
            assert counts.get(resource, (0, 0)) == expected

    async def _reserve(self, resource: Resource, amount: int) -> datetime:
        async with self.world.app.transaction(self.actor) as connection:
            return await self.service.reserve(connection, self.actor.user_id, resource, amount)

    async def _settle(self, resource: Resource, reserved: int, used: int) -> bool:
        try:
            async with self.world.worker.transaction(self.actor) as connection:
                await billing.settle(
                    connection, self.actor.user_id, resource, self.period, reserved=reserved, used=used
                )
        except QuotaInvariantError:
            return False
        return True

    async def _change_plan(self, plan: str) -> None:
        async with self.world.worker.transaction(SystemActor("operator")) as connection:
            await store.set_plan(connection, self.actor.user_id, plan)

    async def _counts(self) -> dict[str, tuple[int, int]]:
        async with self.world.app.transaction(self.actor) as connection:
            cursor = await connection.execute("select resource, used, reserved from quota_usage")
            return {row[0]: row[1:] for row in await cursor.fetchall()}


def test_quota_behaves_as_its_model(world: World) -> None:
    run_state_machine_as_test(
        lambda: QuotaMachine(world),
        settings=settings(max_examples=30, stateful_step_count=25, deadline=None),
    )
