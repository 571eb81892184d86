"""The ledger under every quota: whatever happens, in whatever order and however many at once, its
entries sum up to what is there, and nobody but the quota itself writes it.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine, Generator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import psycopg
import pytest
from hypothesis import settings
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
from psycopg.errors import InsufficientPrivilege
from tests.billing.conftest import (
    FREE,
    HUNDRED,
    PLANS,
    PREMIUM,
    TINY,
    a_month_passes,
    assert_ledger_holds,
    entries,
    granted,
    month,
    reserve,
    set_windows,
    settle,
)
from tests.conftest import IDENTITY
from tests.factories.people import MakeUser, add_user

from visiona.billing import service as billing
from visiona.billing.model import (
    Account,
    Period,
    QuotaInvariantError,
    Resource,
    Use,
    Window,
    calendar_period,
    most_generous,
)
from visiona.billing.service import BillingService
from visiona.core.clock import SystemClock
from visiona.core.errors import PaymentRequired
from visiona.db.actor import Anonymous, UserActor
from visiona.db.pool import Connection, Database, fetch_value

T = TypeVar("T")


# What is written


async def test_each_change_has_its_entry(
    database: Database,
    worker_database: Database,
    owner: Connection,
    operator: BillingService,
    person: UserActor,
) -> None:
    calendar = await reserve(database, person, 4, reference="run:12")
    await settle(worker_database, person, calendar, 4, 3, reference="run:12")
    await operator.set_plan(person.user_id, PREMIUM.name)
    start = datetime.now(UTC) - timedelta(days=2)
    await set_windows(worker_database, person, [month(start, 2000)])
    await reserve(database, person, 1, reference="run:13")
    await set_windows(worker_database, person, [month(start, 1500)])
    await set_windows(worker_database, person, [])
    await settle(worker_database, person, start, 1, 1, reference="run:13")

    assert await entries(owner, person) == [
        # entry, reference, and the changes: entitled, reserved, used, balance
        ("calendar", "", FREE.images, 0, 0, FREE.images),
        ("reserve", "run:12", 0, 4, 0, -4),
        ("settle", "run:12", 0, -4, 3, 1),
        ("plan", "premium", PREMIUM.images - FREE.images, 0, 0, PREMIUM.images - FREE.images),
        ("grant", "sub_1", 2000, 0, 0, 2000),
        ("reserve", "run:13", 0, 1, 0, -1),
        ("take_back", "sub_1", -500, 0, 0, -500),
        ("end", "sub_1", -1500, 0, 0, -1499),
        ("settle", "run:13", 0, -1, 1, 0),
    ]
    await assert_ledger_holds(owner, person)


async def test_the_ledger_reads_as_it_was_written(
    database: Database, worker_database: Database, service: BillingService, person: UserActor
) -> None:
    period = await reserve(database, person, 4, reference="run:12")
    await settle(worker_database, person, period, 4, 1, reference="run:12")
    newest, *_, oldest = await service.ledger(person)
    assert (newest.entry, newest.reference, newest.amount, newest.resource) == (
        "settle",
        "run:12",
        3,
        Resource.IMAGES,
    )
    assert (oldest.entry, oldest.plan, oldest.amount, oldest.period_start) == (
        "calendar",
        "free",
        FREE.images,
        period,
    )
    assert [entry.id for entry in await service.ledger(person, 2)] == [newest.id, newest.id - 1]


async def test_what_changes_nothing_is_not_written(
    database: Database,
    worker_database: Database,
    owner: Connection,
    operator: BillingService,
    person: UserActor,
) -> None:
    """Readings of an account come again and again, and mostly say the same."""
    await reserve(database, person, 1)
    windows = [month(datetime.now(UTC) - timedelta(days=2), 100, 3)]
    await set_windows(worker_database, person, [month(datetime.now(UTC) - timedelta(days=1), 50), *windows])
    await set_windows(worker_database, person, windows)
    before = await entries(owner, person)
    assert "end" in [entry for entry, *_ in before]
    for _ in range(3):
        await set_windows(worker_database, person, windows)
        await operator.set_plan(person.user_id, FREE.name)
        await operator.refresh()
    assert await entries(owner, person) == before


async def test_a_refused_reservation_leaves_no_trace(
    database: Database, owner: Connection, person: UserActor
) -> None:
    assert not await granted(reserve(database, person, FREE.images + 1, reference="run:1"))
    assert await entries(owner, person) == []


async def test_each_of_many_reservations_has_the_name_of_its_own_work(
    crowd: Database, owner: Connection, operator: BillingService, person: UserActor
) -> None:
    await operator.set_plan(person.user_id, HUNDRED.name)

    async def work(number: int) -> None:
        await reserve(crowd, person, number % 4 + 1, reference=f"run:{number}")

    await asyncio.gather(*(work(number) for number in range(40)))
    written = {row[1]: row[3] for row in await entries(owner, person) if row[0] == "reserve"}
    assert written == {f"run:{number}": number % 4 + 1 for number in range(40)}


async def test_the_ledger_goes_with_its_person(
    database: Database, owner: Connection, person: UserActor
) -> None:
    await reserve(database, person, 1)
    assert len(await entries(owner, person)) == 2
    await owner.execute("delete from users where id = %s", [person.user_id])
    assert await entries(owner, person) == []


async def test_a_month_that_is_over_keeps_its_ledger(
    database: Database, worker_database: Database, owner: Connection, person: UserActor
) -> None:
    await reserve(database, person, 4)
    last_month = await a_month_passes(owner, person)
    await reserve(database, person, 2)
    await settle(worker_database, person, last_month, 4, 4)
    await assert_ledger_holds(owner, person)


# Who may write it


RESERVED = "entry = 'reserve', reference = ''"


@pytest.mark.parametrize(
    "statement",
    [
        """insert into quota_ledger (user_id, resource, period_start, entry, reference, entitled, reserved,
             used, amount) values (%(user)s, 'images', now(), 'grant', '', 100, 0, 0, 100)""",
        "update quota_ledger set amount = amount + 1",
        "update quota_ledger set used = 0",
        "update quota_ledger set entry = 'settle'",
        "update quota_ledger set user_id = %(user)s",
        "delete from quota_ledger",
        "truncate quota_ledger",
        "alter table quota_usage disable trigger ledger",
        "drop trigger ledger on quota_usage",
        "set session_replication_role = replica",
        "select visiona.write_ledger()",
    ],
)
@pytest.mark.parametrize("role", ["application", "worker"])
async def test_nobody_writes_the_ledger(
    request: pytest.FixtureRequest, database: Database, person: UserActor, role: str, statement: str
) -> None:
    await reserve(database, person, 1)
    used: Database = request.getfixturevalue("database" if role == "application" else "worker_database")
    with pytest.raises((InsufficientPrivilege, psycopg.errors.FeatureNotSupported)):
        async with used.transaction(person) as connection:
            await connection.execute(statement, {"user": person.user_id} if "%(" in statement else None)


@pytest.mark.parametrize(
    "change",
    [
        "entitled = entitled + 1",
        "used = 0",
        "plan = 'studio'",
        "subscription_id = 'sub_1'",
        "period_end = 'infinity'",
        "granted = 100",
        "balance = 100",
    ],
)
async def test_the_application_grants_nothing(
    database: Database, owner: Connection, person: UserActor, change: str
) -> None:
    await reserve(database, person, 1)
    before = await entries(owner, person)
    with pytest.raises((InsufficientPrivilege, psycopg.errors.GeneratedAlways)):
        async with database.transaction(person) as connection:
            await connection.execute(f"update quota_usage set {change}, {RESERVED}")
    assert await entries(owner, person) == before


@pytest.mark.parametrize("entry", ["grant", "settle", "calendar", "opening"])
async def test_the_application_calls_a_reservation_nothing_else(
    database: Database, person: UserActor, entry: str
) -> None:
    await reserve(database, person, 1)
    with pytest.raises(InsufficientPrivilege, match='"tier_limit_update"'):
        async with database.transaction(person) as connection:
            await connection.execute("update quota_usage set reserved = 2, entry = %s", [entry])


async def test_the_application_opens_no_subscriptions_period(database: Database, person: UserActor) -> None:
    with pytest.raises(InsufficientPrivilege, match="permission denied"):
        async with database.transaction(person) as connection:
            await billing.set_windows(connection, person.user_id, [month(_now(), 100)], _now())


async def test_what_runs_for_one_person_grants_nothing_to_another(
    worker_database: Database, person: UserActor, make_user: MakeUser
) -> None:
    stranger = await make_user()
    with pytest.raises(InsufficientPrivilege, match="row-level security"):
        async with worker_database.transaction(stranger) as connection:
            await billing.set_windows(connection, person.user_id, [month(_now(), 100)], _now())


async def test_a_reservation_is_explained_once_and_by_its_owner(
    database: Database, owner: Connection, person: UserActor, make_user: MakeUser
) -> None:
    await reserve(database, person, 4)
    stranger = await make_user()
    explain = "update quota_ledger set reference = %s where user_id = %s"

    async def explained(actor: UserActor, reference: str) -> int:
        async with database.transaction(actor) as connection:
            return (await connection.execute(explain, [reference, person.user_id])).rowcount  # type: ignore[arg-type] # test SQL

    assert await explained(stranger, "run:666") == 0
    assert await explained(person, "run:12") == 1  # the reservation, and not what opened the month
    assert await explained(person, "run:13") == 0
    assert [row[:2] for row in await entries(owner, person)] == [("calendar", ""), ("reserve", "run:12")]


async def test_people_read_their_own_ledger_only(
    database: Database, person: UserActor, make_user: MakeUser, service: BillingService
) -> None:
    await reserve(database, person, 1)
    stranger = await make_user()
    assert await service.ledger(stranger) == []
    async with database.transaction(stranger) as connection:
        assert await fetch_value(connection, "select count(*) from quota_ledger", []) == 0
    async with database.transaction(Anonymous()) as connection:
        assert await fetch_value(connection, "select count(*) from quota_ledger", []) == 0


# Many at once


@pytest.mark.parametrize("seed", range(6))
async def test_the_ledger_holds_after_any_crowd(
    crowd: Database,
    worker_database: Database,
    owner: Connection,
    operator: BillingService,
    person: UserActor,
    seed: int,
) -> None:
    """Reservations, settlements, grants, refunds, endings and changes of plan, all at the same time."""
    await reserve(crowd, person, 1)
    now = _now()
    starts = [now - timedelta(days=20), now - timedelta(days=3), now - timedelta(hours=1)]

    async def use(dice: random.Random) -> None:
        for _ in range(8):
            resource, amount = dice.choice(list(Resource)), dice.randint(1, 4)
            reference = f"run:{dice.randrange(10**6)}"
            try:
                period = await reserve(crowd, person, amount, resource=resource, reference=reference)
            except PaymentRequired:
                continue
            await asyncio.sleep(dice.random() / 50)
            if dice.random() < 0.8:
                used = dice.randint(0, amount)
                await settle(
                    worker_database, person, period, amount, used, resource=resource, reference=reference
                )

    async def pay(dice: random.Random) -> None:
        for _ in range(6):
            chosen = dice.sample(starts, dice.randint(0, len(starts)))
            wanted = [
                month(
                    start, dice.randint(0, 120), dice.randint(0, 8), subscription=f"sub_{dice.randint(1, 2)}"
                )
                for start in chosen
            ]
            await set_windows(worker_database, person, wanted)
            await asyncio.sleep(dice.random() / 50)

    async def change_plan(dice: random.Random) -> None:
        for _ in range(6):
            await operator.set_plan(person.user_id, dice.choice([FREE, TINY, HUNDRED]).name)
            await asyncio.sleep(dice.random() / 50)

    def dice(number: int) -> random.Random:
        return random.Random(f"{seed}:{number}")

    await asyncio.gather(
        *(use(dice(number)) for number in range(32)),
        *(pay(dice(number)) for number in range(100, 104)),
        *(change_plan(dice(number)) for number in range(200, 202)),
    )
    await assert_ledger_holds(owner, person)
    written = {entry for entry, *_ in await entries(owner, person)}
    assert written >= {"calendar", "grant", "take_back", "end", "reserve", "settle", "plan"}


# A model


class World:
    """The databases of one event loop, driven from synchronous tests."""

    def __init__(self, owner_url: str, app_url: str, worker_url: str) -> None:
        self.runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self.app = Database(app_url, IDENTITY, max_size=2)
        self.worker = Database(worker_url, IDENTITY, max_size=2)
        self.owner = self.run(psycopg.AsyncConnection.connect(owner_url, autocommit=True))
        self.run(self.app.open())
        self.run(self.worker.open())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def close(self) -> None:
        self.run(self.app.close())
        self.run(self.worker.close())
        self.run(self.owner.close())
        self.runner.close()

    async def sign_up(self) -> UserActor:
        return await add_user(self.app)


@pytest.fixture
def world(owner_url: str, app_url: str, worker_url: str) -> Generator[World]:
    world = World(owner_url, app_url, worker_url)
    yield world
    world.close()


def _now() -> datetime:
    return datetime.now(UTC)


# Periods of subscriptions: one that is over, two that overlap now, one that is still to come.
PERIODS = {
    "over": (-40.0, -10.0),
    "now": (-10.0, 20.0),
    "grace": (-1.0, 6.0),
    "next": (20.0, 50.0),
}


@dataclass
class Model:
    """What quotas are, without a database: accounts by resource and the start of their period."""

    now: datetime
    plan: str = FREE.name
    accounts: dict[tuple[Resource, datetime], Account] = field(default_factory=dict)
    reserved: dict[tuple[Resource, datetime], int] = field(default_factory=dict)

    def counting(self, resource: Resource) -> Account:
        month = calendar_period(self.now)
        open_now = [a for (r, _), a in self.accounts.items() if r is resource and self.now in a.period]
        if (resource, month.start) not in self.accounts:
            limit = PLANS.find(self.plan).limit(resource)
            open_now.append(Account(month, self.plan, None, limit, 0, on_record=False))
        return most_generous([a for a in open_now if a.subscription_id is None or a.entitled])

    def reserve(self, resource: Resource, amount: int) -> datetime | None:
        account = self.counting(resource)
        if account.used + amount > account.entitled:
            return None
        key = (resource, account.period.start)
        self.accounts[key] = replace(account, used=account.used + amount, on_record=True)
        self.reserved[key] = self.reserved.get(key, 0) + amount
        return account.period.start

    def settle(self, resource: Resource, start: datetime, reserved: int, used: int) -> bool:
        key = (resource, start)
        if self.reserved.get(key, 0) < reserved:
            return False
        self.reserved[key] -= reserved
        account = self.accounts[key]
        self.accounts[key] = replace(account, used=account.used - reserved + used)
        return True

    def set_windows(self, windows: Sequence[Window]) -> None:
        for window in windows:
            for resource, entitled in window.entitled.items():
                key = (resource, window.period.start)
                before = self.accounts.get(key)
                used = before.used if before else 0
                self.accounts[key] = Account(
                    window.period, window.plan, window.subscription_id, entitled, used
                )
        kept = {window.period.start for window in windows}
        for key, account in self.accounts.items():
            if account.subscription_id and account.period.end > self.now and key[1] not in kept:
                self.accounts[key] = replace(account, entitled=0)

    def set_plan(self, plan: str) -> None:
        self.plan = plan
        start = calendar_period(self.now).start
        for resource in Resource:
            account = self.accounts.get((resource, start))
            if account is not None:
                limit = PLANS.find(plan).limit(resource)
                self.accounts[resource, start] = replace(account, plan=plan, entitled=limit)


class QuotaMachine(RuleBasedStateMachine):
    reservations = Bundle("reservations")

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.actor = world.run(world.sign_up())
        self.service = BillingService(world.app, SystemClock(), PLANS)
        self.operator = BillingService(world.worker, SystemClock(), PLANS)
        self.model = Model(_now())

    @rule(target=reservations, resource=st.sampled_from(Resource), amount=st.integers(1, 12))
    def reserve(self, resource: Resource, amount: int) -> Any:
        expected = self.model.reserve(resource, amount)
        assert self._refused(lambda: self._reserve(resource, amount), PaymentRequired) == expected
        return multiple() if expected is None else (resource, expected, amount)

    @rule(reservation=consumes(reservations), data=st.data())
    def end_work(self, reservation: tuple[Resource, datetime, int], data: st.DataObject) -> None:
        resource, start, amount = reservation
        used = data.draw(st.integers(0, amount), label="delivered")
        assert self._settled(resource, start, amount, used)
        assert self.model.settle(resource, start, amount, used)

    @rule(resource=st.sampled_from(Resource), extra=st.integers(1, 5))
    def settle_what_is_not_there(self, resource: Resource, extra: int) -> None:
        start = self.model.counting(resource).period.start
        amount = self.model.reserved.get((resource, start), 0) + extra
        assert not self._settled(resource, start, amount, 0)
        assert not self.model.settle(resource, start, amount, 0)

    @rule(plan=st.sampled_from([FREE.name, TINY.name, HUNDRED.name]))
    def change_plan(self, plan: str) -> None:
        self.world.run(self.operator.set_plan(self.actor.user_id, plan))
        self.model.set_plan(plan)

    @rule(
        chosen=st.dictionaries(
            st.sampled_from(sorted(PERIODS)), st.tuples(st.integers(0, 60), st.integers(0, 6)), max_size=3
        ),
        plan=st.sampled_from([TINY, HUNDRED]),
        subscription=st.sampled_from(["sub_1", "sub_2"]),
    )
    def read_account(self, chosen: dict[str, tuple[int, int]], plan: Any, subscription: str) -> None:
        """Grants, raises, takes back and ends, all as the difference to what was there."""
        windows: list[Window] = []
        for name, (images, clones) in chosen.items():
            first, last = (self.model.now + timedelta(days=days) for days in PERIODS[name])
            entitled = {Resource.IMAGES: images, Resource.CLONES: clones}
            windows.append(Window(Period(first, last), plan.name, subscription, entitled))
        self.world.run(set_windows(self.world.worker, self.actor, windows, self.model.now))
        self.model.set_windows(windows)

    @invariant()
    def accounts_are_those_of_the_model(self) -> None:
        found = self.world.run(self._accounts())
        assert found == {
            key: (account.plan, account.subscription_id, account.entitled, account.used)
            for key, account in self.model.accounts.items()
        }

    @invariant()
    def the_ledger_holds(self) -> None:
        self.world.run(assert_ledger_holds(self.world.owner, self.actor))

    @invariant()
    def people_see_what_counts(self) -> None:
        quota = self.world.run(self.service.quota(self.actor))
        for resource, use in ((Resource.IMAGES, quota.images), (Resource.CLONES, quota.clones)):
            account = self.model.counting(resource)
            assert use == Use(account.used, max(account.entitled, account.used))
        images = self.model.counting(Resource.IMAGES)
        assert (quota.plan.name, quota.period) == (images.plan, images.period)

    async def _reserve(self, resource: Resource, amount: int) -> datetime:
        return await reserve(self.world.app, self.actor, amount, resource=resource, reference="run:1")

    def _settled(self, resource: Resource, start: datetime, reserved: int, used: int) -> bool:
        def work() -> Coroutine[Any, Any, bool]:
            return self._settle(resource, start, reserved, used)

        return self._refused(work, QuotaInvariantError) is not None

    async def _settle(self, resource: Resource, start: datetime, reserved: int, used: int) -> bool:
        await settle(self.world.worker, self.actor, start, reserved, used, resource=resource)
        return True

    def _refused(self, work: Callable[[], Coroutine[Any, Any, T]], error: type[Exception]) -> T | None:
        """None when it was."""
        try:
            return self.world.run(work())
        except error:
            return None

    async def _accounts(self) -> dict[tuple[Resource, datetime], tuple[str, str | None, int, int]]:
        async with self.world.app.transaction(self.actor) as connection:
            cursor = await connection.execute(
                """select resource, period_start, plan, subscription_id, entitled, used + reserved
                   from quota_usage"""
            )
            return {(Resource(row[0]), row[1]): row[2:] for row in await cursor.fetchall()}


def test_quotas_behave_as_their_model(world: World) -> None:
    run_state_machine_as_test(
        lambda: QuotaMachine(world),
        settings=settings(max_examples=40, stateful_step_count=25, deadline=None),
    )
