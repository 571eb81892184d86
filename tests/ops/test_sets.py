"""Making sets, shipping the log, deleting what is too old: on a running server."""

import asyncio
from datetime import timedelta

import pytest
from tests.ops.conftest import CANARY, House, now, put, silent

from visiona.db.backups import BACKUP_LOCK, DELETIONS_LOCK, AlreadyRunningError, held
from visiona.db.jobs import RetryLater
from visiona.objects.model import LinkSigner
from visiona.objects.service import ObjectService
from visiona.ops.creation import BackupFailed, _output_of
from visiona.ops.repository import SETS
from visiona.ops.verification import Verifier


async def verified(house: House) -> list[str]:
    return (await Verifier(house.repository, silent).everything()).damage


async def test_a_set_has_every_row_and_every_object(house: House) -> None:
    house.clock.instant = now()
    actor = await house.add_person()
    keys = await house.add_photo(actor)
    manifest = await house.backups().create()
    assert manifest.counts["public.photos"] == 1
    assert manifest.counts["public.users"] == 1
    assert (manifest.mode, manifest.object_count, manifest.missing) == ("physical", len(keys), [])
    assert await verified(house) == []
    assert await house.repository.set_ids() == [manifest.id]


async def test_nothing_there_can_be_read_without_the_master_key(house: House) -> None:
    """Not the words of rows, not the bytes of objects, not the names of tables; the control finds them."""
    plain = CANARY.encode()
    async with await house.owner() as connection:
        await connection.execute("create table said as select %s::text as words", [CANARY])
    made = await house.backups().create()
    stored = [path.read_bytes() for path in house.files()]
    for word in (plain, b"PostgreSQL", b"public.photos", b"u1/photos"):
        assert not [data for data in stored if word in data]
    repository = house.repository
    manifest, cipher = await repository.read_set(made.id)
    stream = repository.read_stream(f"{SETS}/{manifest.id}", manifest.database, cipher)
    assert plain in b"".join([piece async for piece in stream])
    async with await house.owner() as connection:
        await connection.execute("drop table said")


async def test_an_object_is_stored_once(house: House) -> None:
    before = len(list(house.folder.glob("objects/*/*")))
    first = await house.backups().create()
    second = await house.backups().create()
    assert first.object_count == second.object_count > 0
    assert len(list(house.folder.glob("objects/*/*"))) == before


async def test_what_is_new_is_shipped_without_a_set(house: House) -> None:
    actor = await house.add_person()
    backups = house.backups()
    await backups.create()
    copies = len(list(house.folder.glob("objects/*/*")))
    segments = len(list(house.folder.glob("wal/*/*/0*")))
    await house.add_photo(actor)
    await backups.ship()
    assert len(list(house.folder.glob("objects/*/*"))) == copies + 2
    assert len(list(house.folder.glob("wal/*/*/0*"))) > segments
    assert not list((house.settings.data_dir / "wal").glob("0*"))
    assert await verified(house) == []


async def test_an_object_that_is_gone_from_the_store_is_named(house: House) -> None:
    keys = await house.add_photo(await house.add_person())
    await house.objects.delete(keys[:1])
    manifest = await house.backups().create()
    assert manifest.missing == keys[:1]
    await put(house.objects, keys[0], b"again")
    assert (await house.backups().create()).missing == []


async def test_one_at_a_time(house: House) -> None:
    async with held(house.url, BACKUP_LOCK):
        with pytest.raises(AlreadyRunningError):
            await house.backups().create()
        assert (await house.backups().prune()).sets == 0


async def test_deletions_wait_while_objects_are_listed(house: House) -> None:
    (key, _) = await house.add_photo(await house.add_person())
    service = ObjectService(house.database, house.vault, house.objects, LinkSigner(b"secret"), house.clock)
    async with held(house.url, DELETIONS_LOCK, wait=True):
        with pytest.raises(RetryLater):
            await service.delete([key])
        assert key in await house.objects.list_keys("")
    await service.delete([key])
    assert key not in await house.objects.list_keys("")
    await put(house.objects, key, b"again")


async def test_an_interrupted_backup_is_none_and_is_swept(house: House) -> None:
    before = await house.repository.set_ids()
    backups = house.backups()
    making = asyncio.create_task(backups.create())
    while len(list(house.folder.glob("sets/*"))) == len(before):  # noqa: ASYNC110 - nobody tells of it
        await asyncio.sleep(0.01)
    making.cancel()
    with pytest.raises(asyncio.CancelledError):
        await making
    assert await house.repository.set_ids() == before
    assert await verified(house) == []
    await house.backups().create()
    complete = set(await house.repository.set_ids())
    assert {
        path.relative_to(house.folder).parts[1] for path in house.files() if "sets" in path.parts
    } == complete


async def test_a_failure_is_on_record_and_tried_again_later(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.clock.instant = now() + timedelta(days=2)
    monkeypatch.setattr("visiona.ops.creation.programs", lambda: house.folder)  # where no program is
    backups = house.backups()
    before = await house.repository.set_ids()
    await backups.create_if_due()
    (run,) = [run for run in await backups.last_runs() if run.kind == "create"]
    assert not run.ok
    assert "pg_basebackup" in run.report["failure"]
    monkeypatch.undo()
    house.clock.instant = now()
    await house.backups().create_if_due()
    assert await house.repository.set_ids() == before
    house.clock.instant = now() + timedelta(days=2)
    await house.backups().create_if_due()
    assert len(await house.repository.set_ids()) == len(before) + 1


async def test_nothing_is_older_than_thirty_days(house: House) -> None:
    """An hour before its time a set is whole; after it, nothing is left that only it needed."""
    old = await house.repository.set_ids()
    house.clock.instant = now() + timedelta(days=29, hours=20)
    keys = await house.add_photo(await house.add_person())
    kept = await house.backups().create()
    assert set(old) <= set(await house.repository.set_ids())
    async with await house.owner() as connection:
        await connection.execute("delete from photos where file_url <> %s", [keys[0]])
    house.clock.instant += timedelta(hours=1)
    last = await house.backups().create()
    house.clock.instant = now() + timedelta(days=32, hours=4)
    await house.backups().prune()
    assert await house.repository.set_ids() == [kept.id, last.id]
    assert await verified(house) == []
    house.clock.instant += timedelta(days=30)
    await house.backups().prune()
    assert house.files() == []


async def test_what_failed_says_why(house: House) -> None:
    """Of a program, the last of what it said, and no password."""
    with pytest.raises(BackupFailed, match="ls failed") as failure:
        _ = [piece async for piece in _output_of(["ls", "--no-such-option"], house.url)]
    assert "option" in str(failure.value)
