"""`Idempotency-Key` in the transaction that spends."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable

import pytest
from tests.factories.people import MakeUser

from visiona.billing.jobs import jobs
from visiona.billing.model import Catalogue, Resource
from visiona.billing.service import BillingService
from visiona.core.clock import SystemClock
from visiona.core.errors import Invalid
from visiona.db.actor import UserActor
from visiona.db.idempotency import IdempotencyKey, claim, record
from visiona.db.pool import Connection, Database
from visiona.vault.service import Vault

Spend = Callable[[UserActor, IdempotencyKey | None], Awaitable[int]]


@pytest.fixture
async def person(make_user: MakeUser) -> UserActor:
    return await make_user()


@pytest.fixture
def spend(database: Database, catalogue: Catalogue, vault: Vault) -> Spend:
    """As a service does it: claim the key, reserve an image, record what was made."""
    billing, ids = BillingService(database, SystemClock(), catalogue), itertools.count(1)

    async def spend(actor: UserActor, key: IdempotencyKey | None) -> int:
        cipher = await vault.cipher(actor.user_id)
        async with database.transaction(actor) as connection:
            known = await claim(connection, cipher, actor.user_id, key)
            if known is not None:
                return known
            await billing.reserve(connection, actor.user_id, Resource.IMAGES, 1)
            result = next(ids)
            await record(connection, actor.user_id, key, result)
            return result

    return spend


async def _spent(owner: Connection, actor: UserActor) -> int:
    cursor = await owner.execute(
        "select coalesce(sum(reserved), 0) from quota_usage where user_id = %s", [actor.user_id]
    )
    row = await cursor.fetchone()
    assert row is not None
    return row[0]


async def test_the_same_request_answers_the_same_and_spends_once(
    spend: Spend, owner: Connection, person: UserActor
) -> None:
    first = await spend(person, IdempotencyKey("k", "generate", {"prompt": "me", "seed": 1}))
    again = await spend(person, IdempotencyKey("k", "generate", {"seed": 1, "prompt": "me"}))
    assert again == first
    assert await _spent(owner, person) == 1


async def test_without_a_key_every_request_spends(spend: Spend, owner: Connection, person: UserActor) -> None:
    assert await spend(person, None) != await spend(person, None)
    assert await _spent(owner, person) == 2


async def test_concurrent_twins_spend_once(spend: Spend, owner: Connection, person: UserActor) -> None:
    key = IdempotencyKey("k", "generate", {"prompt": "me"})
    answers = await asyncio.gather(*(spend(person, key) for _ in range(16)))
    assert len(set(answers)) == 1
    assert await _spent(owner, person) == 1


@pytest.mark.parametrize(
    "other",
    [
        IdempotencyKey("k", "generate", {"prompt": "you"}),
        IdempotencyKey("k", "generate", {"prompt": "me", "seed": None}),
        IdempotencyKey("k", "train", {"prompt": "me"}),
    ],
)
async def test_a_key_is_for_one_request(
    spend: Spend, owner: Connection, person: UserActor, other: IdempotencyKey
) -> None:
    await spend(person, IdempotencyKey("k", "generate", {"prompt": "me"}))
    with pytest.raises(Invalid) as refused:
        await spend(person, other)
    assert refused.value.code == "idempotency_key_reused"
    assert await _spent(owner, person) == 1


async def test_a_key_is_its_owners(spend: Spend, make_user: MakeUser, person: UserActor) -> None:
    """Another person's key with another body is no reuse."""
    stranger = await make_user()
    first = await spend(person, IdempotencyKey("k", "generate", {"prompt": "me"}))
    assert await spend(stranger, IdempotencyKey("k", "generate", {"prompt": "you"})) != first


async def test_a_failed_transaction_frees_the_key(
    database: Database, spend: Spend, owner: Connection, person: UserActor
) -> None:
    key = IdempotencyKey("k", "generate", {"prompt": "me"})

    async def fail() -> None:
        async with database.transaction(person) as connection:
            await claim(connection, None, person.user_id, key)
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    other_body = IdempotencyKey("k", "generate", {"prompt": "you"})
    assert await spend(person, other_body) == await spend(person, other_body)
    assert await _spent(owner, person) == 1


async def test_a_twin_of_a_failing_request_takes_its_place(
    database: Database, spend: Spend, owner: Connection, person: UserActor
) -> None:
    """It waits for the first to end, and finds the key free."""
    key, claimed = IdempotencyKey("k", "generate", {"prompt": "me"}), asyncio.Event()

    async def fail_slowly() -> None:
        async with database.transaction(person) as connection:
            await claim(connection, None, person.user_id, key)
            claimed.set()
            await asyncio.sleep(0.1)
            raise LookupError

    first = asyncio.create_task(fail_slowly())
    await claimed.wait()
    await spend(person, key)
    with pytest.raises(LookupError):
        await first
    assert await _spent(owner, person) == 1


@pytest.mark.parametrize("key", ["", "k" * 256])
def test_a_key_has_a_length(key: str) -> None:
    with pytest.raises(Invalid) as refused:
        IdempotencyKey(key, "generate", {})
    assert refused.value.code == "invalid_idempotency_key"


async def test_old_keys_are_forgotten_and_fresh_ones_are_not(
    worker_database: Database, owner: Connection, catalogue: Catalogue, person: UserActor, spend: Spend
) -> None:
    for name in ("old", "fresh"):
        await spend(person, IdempotencyKey(name, "generate", {}))
    await owner.execute(
        """update idempotency_keys set created_at = now() - interval '8 days'
           where user_id = %s and key = 'old'""",
        [person.user_id],
    )
    found = jobs(BillingService(worker_database, SystemClock(), catalogue))
    (purge,) = [job for job in found if job.name == "billing.purge"]
    await purge.run()
    rows = await owner.execute("select key from idempotency_keys where user_id = %s", [person.user_id])
    assert await rows.fetchall() == [("fresh",)]


async def test_what_is_kept_of_a_request_tells_nobody_who_guesses_it(
    spend: Spend, owner: Connection, person: UserActor, make_user: MakeUser
) -> None:
    key = IdempotencyKey("k", "generate", {"prompt": "me"})
    twin = await make_user()
    for actor in (person, twin):
        await spend(actor, key)
    cursor = await owner.execute(
        "select request_hash from idempotency_keys where user_id = any (%s)", [[person.user_id, twin.user_id]]
    )
    first, second = [row[0] for row in await cursor.fetchall()]
    assert first != second
    assert key.digest() not in first + second


async def test_what_an_earlier_release_kept_still_counts(
    spend: Spend, owner: Connection, person: UserActor
) -> None:
    """It kept the hash as it was."""
    key = IdempotencyKey("k", "generate", {"prompt": "me"})
    first = await spend(person, key)
    await owner.execute(
        "update idempotency_keys set request_hash = %s where user_id = %s", [key.digest(), person.user_id]
    )
    assert await spend(person, key) == first
    with pytest.raises(Invalid):
        await spend(person, IdempotencyKey("k", "generate", {"prompt": "you"}))
