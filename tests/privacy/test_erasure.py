"""Whoever is erased is gone from every table, store and firm, and nobody else loses anything."""

import contextlib
import json
import uuid
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from tests.factories.people import MakeUser, insert_rows

from visiona.adapters.objects import open_store
from visiona.core.clock import SystemClock
from visiona.core.errors import Conflict, NotFound
from visiona.db.actor import SystemActor
from visiona.db.jobs import RetryLater
from visiona.db.pool import Connection, Database
from visiona.objects.model import LinkSigner
from visiona.objects.service import ObjectService
from visiona.ports.errors import ProviderUnavailable
from visiona.privacy.catalogue import CATALOGUE, ERASED, PLACES, Fate, Kind
from visiona.privacy.model import Erasure, PrivacySettings, verify_receipt
from visiona.privacy.service import PrivacyService, Rooms
from visiona.vault.service import Vault

NO_GRACE = timedelta(0)


@dataclass
class Firms:
    """What other firms were told; `down` is how often they do not answer first."""

    told: list[tuple[str, object]] = field(default_factory=list)
    down: int = 0

    def _tell(self, what: str, thing: object) -> None:
        if self.down:
            self.down -= 1
            raise ProviderUnavailable("test", "away")
        self.told.append((what, thing))

    async def end_subscriptions(self, user_id: int) -> None:
        self._tell("no more charges", user_id)

    async def delete_customer(self, customer_id: str, mode: str, subject: str, address: str | None) -> int:
        assert mode == "test"
        self._tell("customer", customer_id)
        if address is not None:
            assert address == f"{subject}@example.com"
        return 1

    async def delete_version(self, version: str) -> None:
        self._tell("version", version)

    async def end_training(self, provider_id: str) -> None:
        raise NotImplementedError

    async def remove_destination(self, user_id: int) -> bool:
        self._tell("destination", user_id)
        return True

    async def delete_archive(self, archive_id: str) -> None:
        self._tell("archive", archive_id)

    async def delete(self, subject: str) -> None:
        self._tell("subject", subject)


@dataclass
class Bureau:
    app: PrivacyService
    worker: PrivacyService
    firms: Firms
    objects: ObjectService


@pytest.fixture
def bureau(database: Database, worker_database: Database, vault: Vault, tmp_path: Path) -> Bureau:
    clock, firms = SystemClock(), Firms()
    signer = LinkSigner(b"s" * 32)
    objects = ObjectService(worker_database, vault, open_store(tmp_path.as_uri()), signer, clock)
    rooms = Rooms(firms, firms, firms, objects, firms)  # type: ignore[arg-type] # the parts that are asked
    settings = PrivacySettings(NO_GRACE, 10, b"r" * 32, mail_wait=NO_GRACE)
    return Bureau(
        PrivacyService(database, vault, clock, rooms, settings),
        PrivacyService(worker_database, vault, clock, rooms, settings),
        firms,
        objects,
    )


async def test_the_catalogue_is_of_every_column_there_is(owner: Connection) -> None:
    cursor = await owner.execute(
        """select c.relname, array_agg(a.attname::text)
           from pg_class c join pg_attribute a on a.attrelid = c.oid
           where a.attnum > 0 and not a.attisdropped and c.relkind in ('r', 'p')
             and c.relnamespace::regnamespace::text not in ('pg_catalog', 'information_schema', 'pg_toast')
           group by 1"""
    )
    found = {table: set(columns) for table, columns in await cursor.fetchall()}
    assert {table.name: set(table.columns) for table in CATALOGUE} == found
    assert {
        (table.name, name)
        for table in CATALOGUE
        for name, kind in table.columns.items()
        if kind is Kind.SEALED
    } | {("totp_secrets", "secret")} == set(PLACES)


async def test_every_table_with_an_owner_is_erased(owner: Connection) -> None:
    cursor = await owner.execute(
        """select c.relname from pg_class c join pg_attribute a on a.attrelid = c.oid
           where a.attname = 'user_id' and c.relkind = 'r' and c.relnamespace = 'public'::regnamespace"""
    )
    unlinked = {table.name for table in CATALOGUE if table.fate is Fate.UNLINK}
    assert {name for (name,) in await cursor.fetchall()} == (set(ERASED) | unlinked) - {"users"}
    assert ERASED[-1] == "users"


async def test_whoever_asks_is_gone_and_nobody_else(
    bureau: Bureau, make_user: MakeUser, owner: Connection, vault: Vault, tmp_path: Path
) -> None:
    alice, bob = await make_user(), await make_user()
    for actor in (alice, bob):
        await insert_rows(owner, actor, await vault.cipher(actor.user_id))
        folder = tmp_path / f"u{actor.user_id}"
        folder.mkdir()
        (folder / "stray.jpg").write_bytes(b"x")
        await owner.execute(
            "update payment_customers set customer_id = %s where user_id = %s",
            [f"cus_{actor.user_id}", actor.user_id],
        )
        await owner.execute(
            "update trainings set archive_id = %s where user_id = %s",
            [f"file_{actor.user_id}", actor.user_id],
        )
    before = await _rows(owner, bob.user_id)

    erasure = await bureau.app.ask(alice)
    with pytest.raises(Conflict):
        await bureau.app.ask(alice)
    with pytest.raises(Conflict):
        await bureau.app.refuse_if_leaving(alice.user_id)
    await bureau.app.refuse_if_leaving(bob.user_id)
    bureau.firms.down = 2
    for _ in range(2):
        with pytest.raises(RetryLater):
            await bureau.worker.erase(erasure.id)
    await bureau.worker.erase(erasure.id)
    await bureau.worker.erase(erasure.id)

    assert await _rows(owner, alice.user_id) == {}
    assert await _rows(owner, bob.user_id) == before
    assert not list((tmp_path / f"u{alice.user_id}").glob("*"))
    assert list((tmp_path / f"u{bob.user_id}").glob("*"))
    assert await vault.is_destroyed(alice.user_id)
    assert set(bureau.firms.told) == {
        ("customer", f"cus_{alice.user_id}"),
        ("subject", alice.subject),
        ("archive", f"file_{alice.user_id}"),
        ("version", f"version-of-{alice.user_id}"),
        ("destination", alice.user_id),
    }

    data = await bureau.app.receipt(erasure.id)
    assert data is not None
    said = bureau.app.verify_receipt(data)
    assert said["steps"]["rows"]["count"]["photos"] == 2
    assert alice.subject.encode() not in data
    assert f"_{alice.user_id}".encode() not in data
    with pytest.raises(ValueError, match="changed"):
        verify_receipt(data.replace(b'"photos": 2', b'"photos": 3'), bureau.app.public_key)
    row = await (
        await owner.execute("select user_id, remote from erasures where id = %s", [erasure.id])
    ).fetchone()
    assert row == (None, None)


async def test_two_jobs_at_one_erasure_count_once(
    bureau: Bureau, make_user: MakeUser, owner: Connection, vault: Vault
) -> None:
    actor = await make_user()
    await insert_rows(owner, actor, await vault.cipher(actor.user_id))
    erasure_id = await bureau.worker.order_now(actor.user_id, "operator")
    steps = bureau.worker._rows

    async def twice(erasure: Erasure, user_id: int) -> dict[str, int]:
        await steps(erasure, user_id)
        return await steps(erasure, user_id)  # as another job, before the first one's step is confirmed

    bureau.worker._rows = twice
    for _ in range(3):
        with contextlib.suppress(RetryLater):
            await bureau.worker.erase(erasure_id)
    data = await bureau.app.receipt(erasure_id)
    assert data is not None
    assert bureau.app.verify_receipt(data)["steps"]["rows"]["count"]["photos"] == 2


async def test_it_can_be_taken_back_until_it_begins(bureau: Bureau, make_user: MakeUser) -> None:
    actor = await make_user()
    first = await bureau.app.ask(actor)
    await bureau.app.take_back(actor)
    await bureau.worker.erase(first.id)
    assert await bureau.app.pending(actor) is None
    with pytest.raises(Conflict):
        await bureau.app.take_back(actor)
    with pytest.raises(NotFound):
        await bureau.app.receipt(first.id)
    with pytest.raises(NotFound):
        await bureau.app.receipt(uuid.uuid4())


async def test_whom_the_identity_service_deleted_is_erased(
    bureau: Bureau, make_user: MakeUser, owner: Connection
) -> None:
    actor = await make_user()
    await owner.execute(
        "update users set status = 'deleted', email = null, email_index = null where id = %s", [actor.user_id]
    )
    await owner.execute(
        "insert into payment_customers (user_id, mode, customer_id) values (%s, 'test', 'cus_gone')",
        [actor.user_id],
    )
    await bureau.worker.sweep()
    (erasure,) = [one for one in await bureau.worker.recent() if one.user_id == actor.user_id]
    assert erasure.cause == "identity"
    await bureau.worker.erase(erasure.id)
    assert ("customer", "cus_gone") in bureau.firms.told
    assert await _rows(owner, actor.user_id) == {}


async def test_a_restore_brings_nobody_back(
    bureau: Bureau, make_user: MakeUser, owner: Connection, vault: Vault
) -> None:
    actor = await make_user()
    await insert_rows(owner, actor, await vault.cipher(actor.user_id))
    await vault.destroy(actor.user_id)
    await bureau.worker.replay([actor.user_id, actor.user_id])
    assert await _rows(owner, actor.user_id) == {}
    assert bureau.firms.told == []


async def test_nothing_is_deleted_of_whom_nobody_erases(
    worker_database: Database, make_user: MakeUser
) -> None:
    actor = await make_user()
    with pytest.raises(Exception, match="nobody has asked for this erasure"):
        async with worker_database.transaction(SystemActor("test")) as connection:
            await connection.execute("select visiona.erase_rows(%s, array['photos'])", [actor.user_id])


async def _rows(owner: Connection, user_id: int) -> dict[str, int]:
    """How many rows of each table are this person's, queue and audit log included."""
    counts: dict[str, int] = {}
    for table in CATALOGUE:
        if table.owner is not None:
            query = f"select count(*) from {table.name} where {table.owner} = %s"
            counts[table.name] = await _count(owner, query, [user_id])
    named = json.dumps({"user_id": user_id})
    counts["jobs"] = await _count(
        owner, "select count(*) from procrastinate.procrastinate_jobs where args @> %s::jsonb", [named]
    )
    return {name: count for name, count in counts.items() if count}


async def _count(owner: Connection, query: str, params: list[object]) -> int:
    row = await (await owner.execute(query.encode(), params)).fetchone()
    assert row is not None
    return row[0]
