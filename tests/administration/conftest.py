"""An administrator, somebody with a row of each kind, and both sides of the service."""

from collections.abc import Awaitable, Callable

import psycopg
import pytest
from tests.factories.people import MakeUser, Person, insert_rows

from visiona.administration.service import AdministrationService
from visiona.billing.model import Catalogue
from visiona.billing.service import BillingService
from visiona.core.clock import SystemClock
from visiona.db.actor import AdminActor
from visiona.db.pool import Connection, Database
from visiona.vault.service import Vault

MakeAdmin = Callable[[], Awaitable[AdminActor]]
MakePerson = Callable[[], Awaitable[Person]]


@pytest.fixture
def service(database: Database, vault: Vault, catalogue: Catalogue) -> AdministrationService:
    """As the web process has it."""
    clock = SystemClock()
    return AdministrationService(database, vault, clock, BillingService(database, clock, catalogue))


@pytest.fixture
def operator(worker_database: Database, vault: Vault, catalogue: Catalogue) -> AdministrationService:
    """As the worker and the commands have it."""
    clock = SystemClock()
    return AdministrationService(
        worker_database, vault, clock, BillingService(worker_database, clock, catalogue)
    )


@pytest.fixture
def make_admin(make_user: MakeUser, operator: AdministrationService) -> MakeAdmin:
    async def make() -> AdminActor:
        user = await make_user()
        await operator.promote(user.user_id)
        return AdminActor(user.user_id, user.subject)

    return make


@pytest.fixture
async def admin(make_admin: MakeAdmin) -> AdminActor:
    return await make_admin()


@pytest.fixture
def make_person(owner_url: str, make_user: MakeUser, vault: Vault) -> MakePerson:
    """Each call answers somebody new who has a row of each kind."""

    async def make() -> Person:
        actor = await make_user()
        async with await psycopg.AsyncConnection.connect(owner_url, autocommit=True) as owner:
            return await insert_rows(owner, actor, await vault.cipher(actor.user_id))

    return make


@pytest.fixture
async def alice(make_person: MakePerson) -> Person:
    return await make_person()


@pytest.fixture
def log_of(owner: Connection) -> Callable[[int], Awaitable[list[tuple[str, dict]]]]:
    """What administrators have done to somebody, oldest first: (action, details)."""

    async def read(user_id: int) -> list[tuple[str, dict]]:
        cursor = await owner.execute(
            """select action, details from audit_logs
               where user_id = %s and starts_with(action, 'admin.') order by id""",
            [user_id],
        )
        return [(action, details) for action, details in await cursor.fetchall()]

    return read
