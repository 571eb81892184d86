"""A server that is somebody else's: dumps, by a role that is no superuser, and into an empty database."""

import re
import uuid
from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import timedelta
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from tests.ops.conftest import House, now, open_house, settings_in, silent
from tests.ops.test_restoring import bring_back

from visiona.bootstrap import restore_place
from visiona.db.backups import NotEmptyError, UnfitRoleError, connect, index_faults, policy_faults
from visiona.ops.choosing import choose
from visiona.ops.restoring import plan
from visiona.ops.verification import Verifier


@pytest.fixture(scope="module")
def hosted(postgres: str) -> str:
    """What a managed service gives: a role that may make roles and sees all rows, and is no superuser."""
    name = f"dba_{uuid.uuid4().hex}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"create role {name} login createrole createdb bypassrls password 'dba'")
        # Tests before may have made them, and whoever makes roles may grant them.
        for role in ("visiona_owner", "visiona_auth", "visiona_worker", "visiona_app", "authenticated"):
            connection.execute(
                f"""do $$ begin if exists (select from pg_roles where rolname = '{role}') then
                    grant {role} to {name} with admin option; end if; end $$"""
            )
    return name


def database_of(postgres: str, role: str) -> str:
    """The URL of an empty database of this role's."""
    name = f"visiona_{uuid.uuid4().hex}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"create database {name} owner {role}")
    parts = urlsplit(postgres)
    return urlunsplit(parts._replace(netloc=f"{role}:dba@{parts.netloc.rpartition('@')[2]}", path=f"/{name}"))


def as_superuser(postgres: str, url: str) -> str:
    return urlunsplit(urlsplit(postgres)._replace(path=urlsplit(url).path))


@pytest.fixture(scope="module")
async def house(
    postgres: str, hosted: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[House]:
    settings = settings_in(tmp_path_factory.mktemp("dumps"))
    async with open_house(replace(settings, database_url=database_of(postgres, hosted))) as house:
        yield house


async def test_a_dump_is_restored_into_an_empty_database(house: House, postgres: str, hosted: str) -> None:
    kept, erased = await house.add_person(), await house.add_person()
    keys = await house.add_photo(kept)
    await house.add_photo(erased)
    backups = house.backups()
    manifest = await backups.create()
    assert (manifest.mode, manifest.object_count) == ("logical", 4)
    assert (await Verifier(house.repository, silent).everything()).damage == []
    result = await backups.rehearse(silent)
    assert result.faults == []
    await house.vault.destroy(erased.user_id)

    choice = await choose(house.repository)
    with pytest.raises(NotEmptyError):
        await plan(choice, restore_place(house.settings, house.settings.data_dir), house.clock)
    folder = house.settings.data_dir.with_name("elsewhere")
    settings = replace(
        house.settings,
        data_dir=folder,
        database_url=database_of(postgres, hosted),
        keys_mirror_url=house.settings.keys_mirror,
        anchors_url=house.settings.anchor_store_url,
    )
    what = await plan(choice, restore_place(settings, folder), house.clock)
    restored = await bring_back(settings, what, folder)
    assert (restored.erased, restored.lost, restored.objects) == ([erased.user_id], [], 2)
    async with open_house(settings) as other:
        assert await other.photos() == 1
        assert sorted(await other.objects.list_keys("")) == sorted(keys)
        assert await other.add_person()
        async with await connect(as_superuser(postgres, other.url)) as connection:
            assert await policy_faults(connection) == []


async def test_a_role_that_sees_not_everything(house: House, postgres: str, hosted: str) -> None:
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"alter role {hosted} nobypassrls")
    try:
        with pytest.raises(UnfitRoleError, match="bypassrls"):
            await house.backups().create()
    finally:
        with psycopg.connect(postgres, autocommit=True) as connection:
            connection.execute(f"alter role {hosted} bypassrls")


async def test_what_guards_rows_is_looked_at(house: House, postgres: str) -> None:
    """A table without policies, and one whose policy lets everybody in."""
    await house.add_photo(await house.add_person())
    url = as_superuser(postgres, house.url)
    async with await connect(url) as connection, connection.transaction(force_rollback=True):
        await connection.execute("create table unguarded (user_id bigint)")
        await connection.execute("create policy open on photos for select to visiona_app using (true)")
        unguarded, shown = await policy_faults(connection)
    assert unguarded == "public.unguarded is not guarded by row-level security"
    assert re.fullmatch(r"public\.photos shows \d+ rows to somebody who proved nothing", shown)


async def test_an_index_that_lacks_what_its_table_has(house: House, postgres: str) -> None:
    async with await connect(as_superuser(postgres, house.url)) as connection:
        assert await index_faults(connection) == []
        await connection.execute("create table twice (id bigint unique)")
        await connection.execute("insert into twice values (1)")
        await connection.execute(
            """update pg_index set indisready = false, indisvalid = false
               where indexrelid = 'twice_id_key'::regclass"""
        )
        await connection.execute("insert into twice values (1)")
        await connection.execute(
            """update pg_index set indisready = true, indisvalid = true
               where indexrelid = 'twice_id_key'::regclass"""
        )
        try:
            (fault,) = await index_faults(connection)
            assert fault.startswith("public.twice_id_key: could not create unique index")
        finally:
            await connection.execute("drop table twice")


async def test_a_rehearsal_is_loud(house: House) -> None:
    house.clock.instant = now() + timedelta(minutes=1)
    backups = house.backups()
    manifest = await backups.create()
    piece = next((house.folder / "sets" / manifest.id / "dump").iterdir())
    piece.write_bytes(piece.read_bytes()[:-1])
    result = await backups.rehearse(silent)
    assert not result.ok
    runs = {run.kind: run for run in await backups.last_runs()}
    assert not runs["rehearse"].ok
    assert "is not as it was written" in runs["rehearse"].report["faults"][0]
