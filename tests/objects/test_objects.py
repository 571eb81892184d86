"""Signed links, and objects from before their row exists until after it is gone."""

import asyncio
import os
import time
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.factories.people import MakeUser

from visiona.adapters.objects import open_store
from visiona.core.clock import FixedClock
from visiona.core.errors import NotFound
from visiona.core.guard import TransactionOpenError
from visiona.db.actor import SystemActor, UserActor
from visiona.db.pool import Connection, Database, NestedTransactionError
from visiona.objects.jobs import jobs
from visiona.objects.model import (
    LINK_TTL_S,
    ByteRange,
    Kind,
    LinkSigner,
    _signature,
    content_type_of,
    new_key,
)
from visiona.objects.service import SWEEP_BATCH, ObjectService
from visiona.ports.storage import ObjectMissing, ObjectStore
from visiona.vault.service import Vault

NOW = datetime(2026, 5, 1, 12, 0, 7, tzinfo=UTC)
SIGNER = LinkSigner(b"a secret for tests")
KEY = "u7/photos/0123456789abcdef0123456789abcdef.jpg"

MakeFile = Callable[[str], Path]
Put = Callable[..., Awaitable[str]]


# Links


def _parts(link: str) -> tuple[str, int, str]:
    """(key, expires, signature) as the media route reads them."""
    url = urlsplit(link)
    query = parse_qs(url.query, strict_parsing=True)
    return unquote(url.path).removeprefix("/media/"), int(query["expires"][0]), query["signature"][0]


def _opens(link: str, now: datetime, signer: LinkSigner = SIGNER) -> bool:
    try:
        signer.verify(*_parts(link), now)
    except NotFound:
        return False
    return True


@given(st.datetimes(datetime(2020, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 - bounds are naive there
def test_a_link_lives_between_half_and_all_of_its_time(now: datetime) -> None:
    link = SIGNER.sign(KEY, now)
    assert _opens(link, now)
    assert _opens(link, now + timedelta(seconds=LINK_TTL_S / 2 - 1))
    assert not _opens(link, now + timedelta(seconds=LINK_TTL_S))


def test_a_link_is_over_at_the_second_it_names() -> None:
    link = SIGNER.sign(KEY, NOW)
    end = datetime.fromtimestamp(_parts(link)[1], UTC)
    assert _opens(link, end - timedelta(microseconds=1))
    with pytest.raises(NotFound) as refused:
        SIGNER.verify(*_parts(link), end)
    assert refused.value.code == "link_expired"


def test_a_link_stays_the_same_for_a_while() -> None:
    """So that a browser that loads the page again finds the picture in its cache."""
    links = {SIGNER.sign(KEY, NOW + timedelta(seconds=second)) for second in range(LINK_TTL_S)}
    assert len(links) == 3


def test_a_link_opens_its_own_object_only() -> None:
    _, expires, signature = _parts(SIGNER.sign(KEY, NOW))
    for other in (
        KEY.replace("u7/", "u8/"),
        KEY.replace("photos", "images"),
        f"{KEY} ",
        KEY.upper(),
        f"/{KEY}",
        KEY.replace("photos/", "photos//"),
        f"u7/images/../{KEY.removeprefix('u7/')}",
        "",
    ):
        with pytest.raises(NotFound):
            SIGNER.verify(other, expires, signature, NOW)


@pytest.mark.parametrize("change", [1, -1, 10**6, -(10**12)])
def test_the_expiry_is_signed(change: int) -> None:
    key, expires, signature = _parts(SIGNER.sign(KEY, NOW))
    with pytest.raises(NotFound):
        SIGNER.verify(key, expires + change, signature, NOW)


@pytest.mark.parametrize("position", [0, 31, 63])
def test_every_digit_of_the_signature_counts(position: int) -> None:
    key, expires, signature = _parts(SIGNER.sign(KEY, NOW))
    digit = "1" if signature[position] != "1" else "2"
    with pytest.raises(NotFound):
        SIGNER.verify(key, expires, signature[:position] + digit + signature[position + 1 :], NOW)


@pytest.mark.parametrize("signature", ["", "0", "é" * 64, "\x00", "0" * 10_000])
def test_what_is_no_signature_is_refused(signature: str) -> None:
    with pytest.raises(NotFound):
        SIGNER.verify(KEY, _parts(SIGNER.sign(KEY, NOW))[1], signature, NOW)


def test_another_servers_link_is_refused() -> None:
    assert not _opens(LinkSigner(b"another secret").sign(KEY, NOW), NOW)


def test_key_and_expiry_cannot_flow_into_each_other() -> None:
    signature = _signature(b"a secret for tests", "5:u7/photos/a.jpg", 9)
    with pytest.raises(NotFound):
        SIGNER.verify("u7/photos/a.jpg", 95, signature, datetime.fromtimestamp(0, UTC))


# Keys


@pytest.mark.parametrize("content_type", ["image/jpeg", "image/png", "image/webp"])
def test_a_key_says_whose_it_is_and_of_which_type(content_type: str) -> None:
    key = new_key(7, Kind.IMAGE, content_type)
    assert key.startswith("u7/images/")
    assert content_type_of(key) == content_type
    assert new_key(7, Kind.IMAGE, content_type) != key


# The life of an object


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    """The real store of the embedded mode, on a folder of its own."""
    return open_store((tmp_path / "objects").as_uri())


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(NOW)


@pytest.fixture
def objects(database: Database, vault: Vault, store: ObjectStore, clock: FixedClock) -> ObjectService:
    return ObjectService(database, vault, store, SIGNER, clock)


@pytest.fixture
def sweeper(worker_database: Database, vault: Vault, store: ObjectStore, clock: FixedClock) -> ObjectService:
    """The same objects, as the worker has them."""
    return ObjectService(worker_database, vault, store, SIGNER, clock)


@pytest.fixture
async def person(make_user: MakeUser) -> UserActor:
    return await make_user()


@pytest.fixture
def put(objects: ObjectService, person: UserActor, tmp_path: Path) -> Put:
    """Writes an object with the given content for a person, and answers its key."""

    async def put(content: str = "picture", *, actor: UserActor = person) -> str:
        source = tmp_path / uuid.uuid4().hex
        source.write_text(content)
        key = new_key(actor.user_id, Kind.PHOTO, "image/jpeg")
        await objects.put(actor, {key: source})
        return key

    return put


async def _content(objects: ObjectService, key: str) -> bytes:
    found = await objects.open(key)
    return b"".join([piece async for piece in found.body])


async def _exists(store: ObjectStore, key: str) -> bool:
    try:
        await store.open(key)
    except ObjectMissing:
        return False
    return True


async def _pending(owner: Connection, *keys: str) -> set[str]:
    cursor = await owner.execute("select key from pending_objects where key = any(%s)", [list(keys)])
    return {row[0] for row in await cursor.fetchall()}


async def _age(owner: Connection, *keys: str, minutes: int = 61) -> None:
    await owner.execute(
        "update pending_objects set created_at = now() - make_interval(mins => %s) where key = any(%s)",
        [minutes, list(keys)],
    )


async def test_what_was_put_can_be_read_through_its_link(
    objects: ObjectService, clock: FixedClock, put: Put
) -> None:
    link = await objects.link(await put("a portrait"))
    found = await objects.open_link(*_parts(link), None)
    assert found.size == len("a portrait")
    assert b"".join([piece async for piece in found.body]) == b"a portrait"
    part = await objects.open_link(*_parts(link), ByteRange(2, 5))
    assert b"".join([piece async for piece in part.body]) == b"port"
    clock.instant += timedelta(seconds=LINK_TTL_S)
    with pytest.raises(NotFound):
        await objects.open_link(*_parts(link), None)


async def test_a_genuine_link_to_nothing_opens_nothing(objects: ObjectService) -> None:
    with pytest.raises(ObjectMissing):
        await objects.open_link(*_parts(await objects.link(KEY)), None)


async def test_a_key_is_on_record_before_its_bytes_are(
    objects: ObjectService, owner: Connection, person: UserActor, tmp_path: Path
) -> None:
    """Whenever a crash comes, the sweep knows what to remove."""
    key = new_key(person.user_id, Kind.PHOTO, "image/jpeg")
    with pytest.raises(FileNotFoundError):
        await objects.put(person, {key: tmp_path / "gone.jpg"})
    assert await _pending(owner, key) == {key}


async def test_settled_with_its_row_an_object_stays(
    database: Database,
    objects: ObjectService,
    sweeper: ObjectService,
    store: ObjectStore,
    owner: Connection,
    person: UserActor,
    put: Put,
) -> None:
    settled, abandoned = await put(), await put()
    async with database.transaction(person) as connection:
        await objects.settle(connection, [settled])
    await _age(owner, settled, abandoned)
    await sweeper.sweep()
    assert await _exists(store, settled)
    assert not await _exists(store, abandoned)
    assert await _pending(owner, settled, abandoned) == set()


async def test_a_settlement_that_rolls_back_leaves_the_object_to_the_sweep(
    database: Database,
    objects: ObjectService,
    sweeper: ObjectService,
    store: ObjectStore,
    owner: Connection,
    person: UserActor,
    put: Put,
) -> None:
    key = await put()

    async def fail() -> None:
        async with database.transaction(person) as connection:
            await objects.settle(connection, [key])
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    await _age(owner, key)
    await sweeper.sweep()
    assert not await _exists(store, key)


async def test_the_sweep_leaves_what_is_being_written(
    sweeper: ObjectService, store: ObjectStore, owner: Connection, put: Put
) -> None:
    fresh, recent = await put(), await put()
    await _age(owner, recent, minutes=59)
    await sweeper.sweep()
    assert await _exists(store, fresh)
    assert await _exists(store, recent)
    assert await _pending(owner, fresh, recent) == {fresh, recent}


async def test_the_sweep_takes_up_what_a_dead_store_left(
    worker_database: Database,
    vault: Vault,
    store: ObjectStore,
    owner: Connection,
    put: Put,
    clock: FixedClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    key = await put()
    await _age(owner, key)
    service = ObjectService(worker_database, vault, store, SIGNER, clock)

    async def refuse(_: object) -> None:
        raise ConnectionError

    with monkeypatch.context() as broken:
        broken.setattr(store, "delete", refuse)
        with pytest.raises(ConnectionError):
            await service.sweep()
    assert await _pending(owner, key) == {key}
    await service.sweep()
    assert not await _exists(store, key)


async def test_the_sweep_works_in_batches(
    sweeper: ObjectService, owner: Connection, person: UserActor
) -> None:
    await owner.execute(
        """insert into pending_objects (key, user_id, created_at)
           select format('u%%s/photos/%%s.jpg', %(user)s, n), %(user)s, '2020-01-01'
           from generate_series(1, %(count)s) n""",
        {"user": person.user_id, "count": SWEEP_BATCH + 1},
    )
    count = "select count(*) from pending_objects where user_id = %s"
    await sweeper.sweep()
    assert await (await owner.execute(count, [person.user_id])).fetchone() == (1,)
    await sweeper.sweep()
    assert await (await owner.execute(count, [person.user_id])).fetchone() == (0,)


async def test_an_object_is_deleted_after_its_row_by_a_job_of_the_same_transaction(
    database: Database,
    objects: ObjectService,
    sweeper: ObjectService,
    store: ObjectStore,
    owner: Connection,
    person: UserActor,
    put: Put,
) -> None:
    key = await put()
    async with database.transaction(person) as connection:
        await objects.settle(connection, [key])
        await objects.remove(connection, [key])
        await objects.remove(connection, [])
        assert await _deletions(owner, key) == []
    (arguments,) = await _deletions(owner, key)
    assert await _exists(store, key)

    delete, _ = jobs(sweeper)
    await delete.run(**arguments)
    assert not await _exists(store, key)
    await delete.run(**arguments)  # a job may run twice


async def test_a_deletion_that_rolls_back_deletes_nothing(
    database: Database, objects: ObjectService, owner: Connection, person: UserActor, put: Put
) -> None:
    key = await put()

    async def fail() -> None:
        async with database.transaction(person) as connection:
            await objects.remove(connection, [key])
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    assert await _deletions(owner, key) == []


async def _deletions(owner: Connection, key: str) -> list[dict[str, list[str]]]:
    cursor = await owner.execute(
        """select args from procrastinate.procrastinate_jobs
           where task_name = 'objects.delete' and args -> 'keys' ? %s""",
        [key],
    )
    return [row[0] for row in await cursor.fetchall()]


async def test_what_found_no_row_is_discarded(
    objects: ObjectService, store: ObjectStore, owner: Connection, person: UserActor, put: Put
) -> None:
    key = await put()
    await objects.discard(person, [key])
    assert not await _exists(store, key)
    assert await _pending(owner, key) == set()


async def test_nobody_settles_anothers_object(
    database: Database, objects: ObjectService, owner: Connection, make_user: MakeUser, put: Put
) -> None:
    """It would escape the sweep for ever."""
    key, stranger = await put(), await make_user()
    async with database.transaction(stranger) as connection:
        await objects.settle(connection, [key])
    assert await _pending(owner, key) == {key}


async def test_the_application_cannot_sweep(
    objects: ObjectService, store: ObjectStore, owner: Connection, put: Put
) -> None:
    key = await put()
    await _age(owner, key)
    await objects.sweep()
    assert await _exists(store, key)


async def test_the_store_is_never_called_inside_a_transaction(
    worker_database: Database, objects: ObjectService, put: Put
) -> None:
    key = await put()
    async with worker_database.transaction(SystemActor("test")):
        for call in (
            objects.open(key),
            objects.delete([key]),
            objects.check(),
            objects.open_link(*_parts(await objects.link(key)), None),
        ):
            with pytest.raises((TransactionOpenError, NestedTransactionError)):
                await call


async def test_many_at_once_do_not_meet(objects: ObjectService, put: Put) -> None:
    keys = await asyncio.gather(*(put(f"picture {number}") for number in range(20)))
    assert len(set(keys)) == 20
    for number, key in enumerate(keys):
        assert await _content(objects, key) == f"picture {number}".encode()


async def test_nobodys_object_is_sealed_with_another_persons_key(
    objects: ObjectService, owner: Connection, person: UserActor, make_user: MakeUser, tmp_path: Path
) -> None:
    other = await make_user()
    (tmp_path / "face").write_text("a face")
    key = new_key(other.user_id, Kind.PHOTO, "image/jpeg")
    with pytest.raises(ValueError, match="key of the person"):
        await objects.put(person, {key: tmp_path / "face"})
    assert await _pending(owner, key) == set()


async def test_the_sweep_takes_what_a_write_has_left(
    worker_database: Database, vault: Vault, tmp_path: Path, clock: FixedClock
) -> None:
    """Of a process that was killed in it, an hour ago."""
    service = ObjectService(worker_database, vault, open_store(tmp_path.as_uri()), SIGNER, clock)
    folder = tmp_path / "u7" / "images"
    folder.mkdir(parents=True)
    old, young = folder / f"{'a' * 32}.webp#1", folder / f"{'b' * 32}.webp#1"
    for path in (old, young):
        path.write_bytes(b"half of it")
    os.utime(old, (time.time() - 7200, time.time() - 7200))
    await service.sweep()
    assert list(folder.iterdir()) == [young]
