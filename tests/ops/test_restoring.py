"""Coming back: to the last moment, to one in between, into an empty database."""

import asyncio
import shutil
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from tests.ops.conftest import House, open_house, own_house, silent

from visiona.adapters.master_keys import new_master_key
from visiona.bootstrap import finish_restore, open_repository, restore_place, role_secrets
from visiona.core.clock import FixedClock
from visiona.db.backups import OBJECT_COLUMNS
from visiona.db.embedded import embedded_server
from visiona.db.pool import fetch_value
from visiona.ops.backups import look_at
from visiona.ops.choosing import NothingToRestore, choose
from visiona.ops.log import list_logs
from visiona.ops.recovery import recover_physical
from visiona.ops.repository import Damaged
from visiona.ops.restoring import Plan, Restored, Restorer, RestoreRefused, plan
from visiona.ops.verification import Verifier
from visiona.settings import Settings
from visiona.vault.model import KeyDestroyed


async def bring_back(settings: Settings, what: Plan, data_dir: Path) -> Restored:
    async def finish(folder: Path, url: str) -> list[str]:
        return await finish_restore(replace(settings, data_dir=folder, database_url=url))

    secrets = role_secrets(settings) if settings.database_url else None
    place = restore_place
    restorer = Restorer(
        open_repository(settings), lambda folder: place(settings, folder), secrets, finish, silent
    )
    assert await restorer.check(what.choice) == []
    return await restorer.restore(what, data_dir, {})


async def database_time(house: House) -> datetime:
    async with await house.owner() as connection:
        return await fetch_value(connection, "select clock_timestamp()", [])


async def photos_at(url: str) -> int:
    async with await psycopg.AsyncConnection.connect(url) as connection:
        return await fetch_value(connection, "select count(*) from photos", [])


def without_server(house: House) -> Settings:
    """As the command sees it: the server is in the data folder, and where keys are does not move with it."""
    settings = house.settings
    return replace(
        settings,
        database_url=None,
        keys_mirror_url=settings.keys_mirror,
        anchors_url=settings.anchor_store_url,
    )


@pytest.mark.timeout(180)
async def test_after_the_data_folder_is_gone() -> None:
    """To the last moment, then back to one between two writes; the erased stay erased, on either way."""
    async with own_house() as house:
        data_dir = house.settings.data_dir
        settings = without_server(house)
        kept, erased = await house.add_person(), await house.add_person()
        first = await house.add_photo(kept)
        await house.add_photo(erased)
        backups = house.backups()
        manifest = await backups.create()
        between = await database_time(house)
        await asyncio.sleep(0.01)
        late = await house.add_photo(kept)
        await backups.ship()
        await house.vault.destroy(erased.user_id)
        with pytest.raises(RestoreRefused, match="Stop it first"):
            await plan(await choose(house.repository), restore_place(settings, data_dir), house.clock)
        folder = data_dir.parent.with_name(f"{data_dir.parent.name}-copy")
        shutil.copytree(data_dir.with_name("backups"), folder / "backups")
    try:
        moved = replace(
            settings,
            data_dir=folder / "data",
            backup_url=(folder / "backups").as_uri(),
            keys_mirror_url=(folder / "backups" / "keyring").as_uri(),
            anchors_url=(folder / "backups" / "anchors").as_uri(),
        )
        await _last_moment(moved, manifest.id, [*first, *late], kept.user_id, erased.user_id)
        await _a_moment_between(moved, between, first)
        await _the_branch_that_was_written_last(moved, between)
    finally:
        shutil.rmtree(folder)


async def _last_moment(settings: Settings, set_id: str, keys: list[str], kept: int, erased: int) -> None:
    """Into a folder that is not there."""
    data_dir, clock = settings.data_dir, FixedClock(datetime.now(UTC))
    choice = await choose(open_repository(settings))
    what = await plan(choice, restore_place(settings, data_dir), clock)
    assert (choice.manifest.id, what.erased, what.moves_aside) == (set_id, [erased], None)
    restored = await bring_back(settings, what, data_dir)
    assert (restored.erased, restored.lost, restored.warnings) == ([erased], [], [])
    assert (data_dir / "secret.key").read_text() == settings.secret_key
    with embedded_server(data_dir / "postgres", archive=True) as url:
        async with open_house(replace(settings, database_url=url)) as house:
            assert await house.photos() == 2
            assert sorted(await house.objects.list_keys("")) == sorted(keys)
            for key in keys:
                body = b"".join([piece async for piece in (await house.objects.open(key)).body])
                assert (await house.vault.cipher(kept)).open_bytes(key, body).startswith(b"canary")
            with pytest.raises(KeyDestroyed):
                await house.vault.cipher(erased)
            assert (await house.add_person()).user_id > erased
            # The log goes on where it was left, as another branch of it.
            await house.backups().ship()
            assert (await house.backups().verify(silent)).damage == []


async def _a_moment_between(settings: Settings, moment: datetime, keys: list[str]) -> None:
    """Over what is there, which is moved aside."""
    data_dir, clock = settings.data_dir, FixedClock(datetime.now(UTC))
    choice = await choose(open_repository(settings), at=moment)
    what = await plan(choice, restore_place(settings, data_dir), clock)
    assert what.moves_aside is not None
    await bring_back(settings, what, data_dir)
    assert (what.moves_aside / "postgres" / "PG_VERSION").exists()
    with embedded_server(data_dir / "postgres", archive=True) as url:
        assert await photos_at(url) == 1
    objects = restore_place(settings, data_dir).objects
    assert sorted(await objects.list_keys("")) == sorted(keys)


async def _the_branch_that_was_written_last(settings: Settings, moment: datetime) -> None:
    """The server went back to before the last photo and on from there: that is what is to be kept, although
    the only set and most of the log are of the branch that it left. Any moment is what it was then.
    """
    data_dir = settings.data_dir
    before = datetime.now(UTC)
    with embedded_server(data_dir / "postgres", archive=True) as url:
        async with open_house(replace(settings, database_url=url)) as house:
            backups = house.backups()
            await asyncio.sleep(1.1)  # what was there before the first file was shipped is of this branch too
            await backups.ship()
            await house.add_photo(await house.add_person())
            await house.add_photo(await house.add_person())
            await backups.ship()
            assert (await backups.verify(silent)).damage == []
            reaches = (await look_at(house.repository)).reaches
            assert reaches is not None
            assert reaches > before
    assert await photos_after_restore(settings, None) == 3
    assert await photos_after_restore(settings, before) == 1
    assert await photos_after_restore(settings, moment) == 2  # before one of the two was erased
    repository = open_repository(settings)
    (log,) = (await list_logs(repository)).values()
    (history,) = [file.path for file in log.files if file.name == "00000003.history"]
    await repository.delete([history])
    with pytest.raises(Damaged, match="its history is missing"):
        await choose(repository)
    damage = (await Verifier(repository, silent).everything()).damage
    assert damage == ["the history of timeline 3 of the log is missing"]


async def photos_after_restore(settings: Settings, at: datetime | None) -> int:
    """Somewhere else; of the server alone."""
    choice = await choose(open_repository(settings), at=at)
    verifier = Verifier(open_repository(settings), silent)
    assert (await verifier.needed(choice.manifest, choice.log, choice.chosen.files, choice.heads)).ok
    with tempfile.TemporaryDirectory(prefix="visiona-branch-", ignore_cleanup_errors=True) as name:
        postgres = Path(name) / "postgres"
        await recover_physical(open_repository(settings), choice.chosen, postgres)
        with embedded_server(postgres) as url:
            return await photos_at(url)


async def test_what_no_backup_has(tmp_path: Path) -> None:
    settings = Settings(
        data_dir=tmp_path / "data", master_keys=(new_master_key(),), backup_url=(tmp_path / "none").as_uri()
    )
    with pytest.raises(NothingToRestore, match="no backup at this place"):
        await choose(open_repository(settings))


async def test_every_column_that_may_name_an_object_is_known(owner: psycopg.AsyncConnection) -> None:
    """Whoever adds one decides whether what it names belongs into backups."""
    rows = await (
        await owner.execute(
            """select table_name, column_name from information_schema.columns
               where table_schema = 'public' and column_name ~ '(_url|_keys?|^key)$'"""
        )
    ).fetchall()
    of_others = {
        ("trainings", "archive_url"),  # a file at Replicate, which is deleted there
        ("checkouts", "lookup_key"),
        ("passkeys", "public_key"),
        ("idempotency_keys", "key"),
    }
    not_of_rows = {
        ("pending_objects", "key"),  # not part of anything yet
        ("reports", "object_keys"),  # to be deleted
        ("exports", "object_key"),  # made anew
    }
    assert {(row[0], row[1]) for row in rows} - of_others - not_of_rows == set(OBJECT_COLUMNS)
