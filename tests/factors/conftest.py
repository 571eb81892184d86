"""Factors on the real database, with a clock that moves only when told to."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import pyotp
import pytest

from visiona.core.clock import FixedClock
from visiona.db.actor import UserActor
from visiona.db.pool import Connection, Database
from visiona.factors.model import FactorSettings
from visiona.factors.service import FactorService
from visiona.vault.service import Vault

# The first second of a step of 30.
NOON = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
ORIGIN = "https://visiona.example"

MakeUser = Callable[..., Awaitable[UserActor]]
Audited = Callable[[UserActor], Awaitable[list[str]]]


@pytest.fixture
def settings() -> FactorSettings:
    return FactorSettings((b"c" * 32,), "visiona.example", "Visiona", (ORIGIN,))


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(NOON)


@pytest.fixture
def factors(database: Database, vault: Vault, clock: FixedClock, settings: FactorSettings) -> FactorService:
    return FactorService(database, vault, clock, settings)


@pytest.fixture
def origin() -> str:
    return ORIGIN


@pytest.fixture
async def ana(make_user: MakeUser) -> UserActor:
    return await make_user()


@pytest.fixture
async def ben(make_user: MakeUser) -> UserActor:
    return await make_user()


@pytest.fixture
async def set_up(factors: FactorService, clock: FixedClock) -> Callable[[UserActor], Awaitable[tuple]]:
    """Turns two-factor log-in on; answers the person's authenticator and recovery codes."""

    async def set_up(actor: UserActor) -> tuple[pyotp.TOTP, tuple[str, ...]]:
        setup = await factors.begin_totp(actor, "ana@example.com")
        authenticator = pyotp.parse_uri(setup.uri)
        codes = await factors.confirm_totp(actor, authenticator.at(clock.now()))
        return authenticator, codes

    return set_up


@pytest.fixture
def suspend(owner: Connection) -> Callable[[int], Awaitable[None]]:
    async def suspend(user_id: int) -> None:
        await owner.execute("update users set status = 'suspended' where id = %s", [user_id])

    return suspend


@pytest.fixture
def audited(owner: Connection) -> Audited:
    """What is on record of a person, without the making of their account."""

    async def audited(actor: UserActor) -> list[str]:
        cursor = await owner.execute(
            "select action from audit_logs where user_id = %s order by id", [actor.user_id]
        )
        return [action for (action,) in await cursor.fetchall() if action != "account.created"]

    return audited


@pytest.fixture
def mailed(owner: Connection) -> Audited:
    """The mails that a person gets, in order."""

    async def mailed(actor: UserActor) -> list[str]:
        cursor = await owner.execute(
            "select kind from mails where user_id = %s order by created_at", [actor.user_id]
        )
        return [kind for (kind,) in await cursor.fetchall()]

    return mailed
