"""A database with a log of its own, its chain, and a folder for its anchors."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from tests.conftest import IDENTITY, ROLE_SECRETS, copied_database

from visiona.adapters.objects import open_store
from visiona.audit import service as audit
from visiona.audit.model import Action, AnchorKey, Report, Trouble
from visiona.audit.service import AuditService
from visiona.db.actor import SystemActor
from visiona.db.pool import Connection, Database
from visiona.db.roles import WORKER_ROLE, url_for_role

ENTRIES = 60
SEED = b"the seed of anchors in the tests"


@dataclass
class House:
    """A log with its chain. `owner` is the superuser; `people` have accounts."""

    url: str
    database: Database
    owner: Connection
    anchors: Path
    service: AuditService
    people: list[int]

    async def write(self, count: int) -> None:
        """That many entries of everybody in turn, as the worker writes them."""
        async with self.database.transaction(SystemActor("test")) as connection:
            for number in range(count):
                person = self.people[number % len(self.people)]
                await audit.record(connection, person, Action.PHOTO_ADDED, {"photo_id": number})

    async def troubles(self) -> list[tuple[Trouble, int | None]]:
        return [(finding.trouble, finding.seq) for finding in (await self.service.verify()).findings]

    async def report(self) -> Report:
        return await self.service.verify()


@pytest.fixture
async def house(own_database_url: str, tmp_path: Path) -> AsyncGenerator[House]:
    """One for this test alone."""
    async with opened(own_database_url, tmp_path / "anchors") as house:
        yield house


@pytest.fixture(scope="module")
async def old_house(
    postgres: str, migrated_template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[House]:
    """One with entries that are chained and anchored, in which tests leave nothing behind."""
    with copied_database(postgres, migrated_template) as url:
        async with opened(url, tmp_path_factory.mktemp("anchors")) as house:
            await house.write(ENTRIES)
            await house.service.anchor()
            yield house


@asynccontextmanager
async def opened(url: str, anchors: Path) -> AsyncGenerator[House]:
    database = Database(url_for_role(url, WORKER_ROLE, ROLE_SECRETS.worker), IDENTITY, max_size=4)
    await database.open()
    service = AuditService(database, open_store(anchors.as_uri()), AnchorKey(SEED))
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as owner:
        people = [await make_person(owner) for _ in range(3)]
        yield House(url, database, owner, anchors, service, people)
    await database.close()


async def make_person(owner: Connection) -> int:
    cursor = await owner.execute(
        "insert into users (clerk_id) values ('user_' || gen_random_uuid()) returning id"
    )
    row = await cursor.fetchone()
    assert row is not None
    return row[0]
