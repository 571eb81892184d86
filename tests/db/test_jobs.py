"""A job is there when, and only when, the rows it is about are."""

import uuid
from typing import Any

import pytest
from tests.factories.people import MakeUser

from visiona.db.actor import SystemActor, UserActor
from visiona.db.jobs import enqueue
from visiona.db.pool import Connection, Database

# People may ask for the jobs that there are, about what is theirs; the queue itself takes any.
SYSTEM = SystemActor("test")


@pytest.fixture
async def person(make_user: MakeUser) -> UserActor:
    return await make_user()


@pytest.fixture
def task() -> str:
    """A task that no other test uses; nothing works on it here."""
    return f"test.{uuid.uuid4().hex}"


async def _jobs(owner: Connection, task: str, columns: str = "args") -> list[Any]:
    cursor = await owner.execute(
        f"select {columns} from procrastinate.procrastinate_jobs where task_name = %s order by id", [task]
    )
    return [row[0] if len(row) == 1 else row for row in await cursor.fetchall()]


async def test_a_job_appears_when_its_transaction_commits(
    database: Database, owner: Connection, person: UserActor, task: str
) -> None:
    async with database.transaction(SYSTEM) as connection:
        await enqueue(connection, task, user_id=person.user_id, keys=["a", "b"])
        assert await _jobs(owner, task) == []
    assert await _jobs(owner, task, "args, queue_name, status, queueing_lock, scheduled_at") == [
        ({"user_id": person.user_id, "keys": ["a", "b"]}, "default", "todo", None, None)
    ]


async def test_a_job_goes_with_its_transaction(database: Database, owner: Connection, task: str) -> None:
    async def fail() -> None:
        async with database.transaction(SYSTEM) as connection:
            await enqueue(connection, task)
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    assert await _jobs(owner, task) == []


async def test_a_job_may_carry_much(
    database: Database, owner: Connection, person: UserActor, task: str
) -> None:
    """Deleting hundreds of images is one job with all their keys; no index may choke on it."""
    keys = [f"u{person.user_id}/images/{uuid.uuid4().hex}.webp" for _ in range(1000)]
    async with database.transaction(SYSTEM) as connection:
        await enqueue(connection, task, keys=keys)
        await enqueue(connection, task, once=True, keys=keys)
    assert await _jobs(owner, task) == [{"keys": keys}]


async def test_the_worker_enqueues_too(worker_database: Database, owner: Connection, task: str) -> None:
    async with worker_database.transaction(SystemActor("sweep")) as connection:
        await enqueue(connection, task, user_id=1)
    assert await _jobs(owner, task) == [{"user_id": 1}]


async def test_once_adds_nothing_while_the_same_waits(
    database: Database, owner: Connection, task: str
) -> None:
    async with database.transaction(SYSTEM) as connection:
        await enqueue(connection, task, once=True, number=1)
        await enqueue(connection, task, once=True, number=1)
        await enqueue(connection, task, once=True, number=2)
        await enqueue(connection, task, number=2)
    async with database.transaction(SYSTEM) as connection:
        await enqueue(connection, task, once=True, number=1)
        await enqueue(connection, f"{task}.other", once=True, number=1)
    assert [args["number"] for args in await _jobs(owner, task)] == [1, 2, 2]
    assert [args["number"] for args in await _jobs(owner, f"{task}.other")] == [1]


@pytest.mark.parametrize(
    "meanwhile",
    ["status = 'doing'", "status = 'failed'", "scheduled_at = now() + interval '10 minutes'"],
    ids=["runs", "failed", "waits for its next attempt"],
)
async def test_once_adds_one_beside_one_that_will_not_start_now(
    database: Database, owner: Connection, task: str, meanwhile: str
) -> None:
    """What runs may have looked already; what happened since deserves another look."""
    async with database.transaction(SYSTEM) as connection:
        await enqueue(connection, task, once=True)
    await owner.execute("set search_path = public, procrastinate")
    await owner.execute(f"update procrastinate_jobs set {meanwhile} where task_name = %s", [task])
    async with database.transaction(SYSTEM) as connection:
        await enqueue(connection, task, once=True)
    assert len(await _jobs(owner, task)) == 2


async def test_once_counts_no_job_that_was_taken_back(
    database: Database, owner: Connection, task: str
) -> None:
    async def fail() -> None:
        async with database.transaction(SYSTEM) as connection:
            await enqueue(connection, task, once=True)
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    async with database.transaction(SYSTEM) as connection:
        await enqueue(connection, task, once=True)
    assert await _jobs(owner, task) == [{}]
