"""Two people with a row of each kind, and as many more as a test asks for."""

import psycopg
import pytest
from tests.factories.people import MakePerson, MakeUser, Person, insert_common_rows, insert_rows


@pytest.fixture(scope="session")
async def common_rows(owner_url: str) -> None:
    async with await psycopg.AsyncConnection.connect(owner_url, autocommit=True) as owner:
        await insert_common_rows(owner)


@pytest.fixture(scope="session")
async def make_person(owner_url: str, common_rows: None, make_user: MakeUser) -> MakePerson:
    """Each call answers somebody new who has a row of each kind; their plan is the premium one."""
    del common_rows

    async def make() -> Person:
        actor = await make_user()
        async with await psycopg.AsyncConnection.connect(owner_url, autocommit=True) as owner:
            return await insert_rows(owner, actor)

    return make


@pytest.fixture(scope="session")
async def alice(make_person: MakePerson) -> Person:
    return await make_person()


@pytest.fixture(scope="session")
async def bob(make_person: MakePerson) -> Person:
    return await make_person()


@pytest.fixture
async def carol(make_person: MakePerson) -> Person:
    """Somebody for one test alone."""
    return await make_person()
