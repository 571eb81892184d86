"""People with quotas on the real database, and what a ledger has to hold.

Two plans exist for tests alone: one of a hundred images, one of five.
"""

from collections.abc import AsyncGenerator, Awaitable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql
from tests.factories.ledger import STRAY, UNEVEN
from tests.factories.people import MakeUser, OpenDatabase

from visiona.billing import service as billing
from visiona.billing.model import Period, Plan, Resource, Window, read_catalogue
from visiona.billing.service import BillingService
from visiona.core.clock import Clock, FixedClock, SystemClock
from visiona.core.errors import PaymentRequired
from visiona.db.actor import SystemActor, UserActor
from visiona.db.pool import Connection, Database

HUNDRED = Plan("test-hundred", "Hundred", images=100, clones=3)
TINY = Plan("test-tiny", "Tiny", images=5, clones=1)
OWN = read_catalogue()
PLANS = replace(OWN, plans={**OWN.plans, TINY.name: TINY, HUNDRED.name: HUNDRED})
FREE, PREMIUM, STUDIO = OWN


@pytest.fixture(scope="session", autouse=True)
async def _published(owner_url: str) -> None:
    async with await psycopg.AsyncConnection.connect(owner_url, autocommit=True) as owner:
        for plan in (TINY, HUNDRED):
            await owner.execute(
                "insert into plans (name, images, clones) values (%s, %s, %s)",
                [plan.name, plan.images, plan.clones],
            )


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(datetime.now(UTC))


@pytest.fixture
def service(database: Database, clock: FixedClock) -> BillingService:
    return BillingService(database, clock, PLANS)


@pytest.fixture
def operator(worker_database: Database, clock: FixedClock) -> BillingService:
    return BillingService(worker_database, clock, PLANS)


@pytest.fixture
async def person(make_user: MakeUser) -> UserActor:
    """On the free plan."""
    return await make_user()


@pytest.fixture
async def crowd(open_database: OpenDatabase) -> AsyncGenerator[Database]:
    """The application's database with a connection for each of 64 clients."""
    async with open_database(max_size=64) as database:
        yield database


async def reserve(
    database: Database,
    actor: UserActor,
    amount: int,
    *,
    resource: Resource = Resource.IMAGES,
    clock: Clock | None = None,
    reference: str | None = None,
) -> datetime:
    """As the services of clones and generations do it, with `reference` as the name of the work."""
    service = BillingService(database, clock or SystemClock(), PLANS)
    async with database.transaction(actor) as connection:
        period = await service.reserve(connection, actor.user_id, resource, amount)
        if reference is not None:
            await billing.explain(connection, actor.user_id, resource, period, reference)
        return period


async def settle(
    database: Database,
    actor: UserActor,
    period: datetime,
    reserved: int,
    used: int,
    *,
    resource: Resource = Resource.IMAGES,
    reference: str = "run:1",
) -> None:
    async with database.transaction(actor) as connection:
        await billing.settle(
            connection,
            actor.user_id,
            resource,
            period,
            reserved=reserved,
            used=used,
            reference=reference,
        )


async def granted(attempt: Awaitable[Any]) -> bool:
    """Whether quota was left for it."""
    try:
        await attempt
    except PaymentRequired:
        return False
    return True


def month(
    start: datetime,
    images: int,
    clones: int = 0,
    *,
    days: float = 30,
    subscription: str = "sub_1",
    plan: Plan = HUNDRED,
) -> Window:
    """A subscription's month as the payment room would open it."""
    entitled = {Resource.IMAGES: images, Resource.CLONES: clones}
    return Window(Period(start, start + timedelta(days=days)), plan.name, subscription, entitled)


async def set_windows(
    worker_database: Database, actor: UserActor, windows: Sequence[Window], at: datetime | None = None
) -> None:
    """What a reading of the person's account at the payment service leads to; one at a time, as there."""
    async with worker_database.transaction(SystemActor("payments")) as connection:
        await connection.execute("select pg_advisory_xact_lock(%s)", [actor.user_id])
        await billing.set_windows(connection, actor.user_id, windows, at or datetime.now(UTC))


async def counts(owner: Connection, actor: UserActor) -> list[tuple[int, int]]:
    """(used, reserved) of the images, oldest period first."""
    cursor = await owner.execute(
        """select used, reserved from quota_usage where user_id = %s and resource = 'images'
           order by period_start""",
        [actor.user_id],
    )
    return await cursor.fetchall()


async def a_month_passes(owner: Connection, actor: UserActor) -> datetime:
    """Policies look at the server's own clock, so it is the calendar month on record that grows older,
    its ledger with it; answers when it began.
    """
    async with owner.transaction():
        await owner.execute("set local session_replication_role = replica")  # no entry for this
        for table in ("quota_usage", "quota_ledger"):
            await owner.execute(
                sql.SQL(
                    """update {}
                       set period_start = date_trunc('month', period_start - interval '1 day', 'UTC')
                       where user_id = %s and period_start = date_trunc('month', now(), 'UTC')"""
                ).format(sql.Identifier(table)),
                [actor.user_id],
            )
        cursor = await owner.execute(
            """update quota_usage set period_end = date_trunc('month', now(), 'UTC')
               where user_id = %s and period_end = date_trunc('month', now() + interval '1 month', 'UTC')
               returning period_start""",
            [actor.user_id],
        )
        row = await cursor.fetchone()
    assert row is not None
    return row[0]


async def assert_ledger_holds(owner: Connection, actor: UserActor) -> None:
    for query in (UNEVEN, STRAY):
        cursor = await owner.execute(query, {"user": actor.user_id})
        assert await cursor.fetchall() == []


async def entries(owner: Connection, actor: UserActor) -> list[tuple[Any, ...]]:
    """(entry, reference, entitled, reserved, used, amount) of the images, oldest first."""
    cursor = await owner.execute(
        """select entry, reference, entitled, reserved, used, amount from quota_ledger
           where user_id = %s and resource = 'images' order by id""",
        [actor.user_id],
    )
    return await cursor.fetchall()
