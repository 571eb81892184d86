"""A Visiona with a server of its own, a person and their objects, and a place for backups beside it."""

import asyncio
import os
import tempfile
import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from tests.factories.people import add_user

from visiona.adapters.master_keys import new_master_key
from visiona.adapters.objects import open_store
from visiona.bootstrap import (
    app_database_url,
    identity_key,
    open_backups,
    open_repository,
    open_vault,
    prepare_database,
)
from visiona.core.clock import Clock, FixedClock, SystemClock
from visiona.db.actor import UserActor
from visiona.db.embedded import embedded_server
from visiona.db.pool import Connection, Database
from visiona.ops.backups import Backups
from visiona.ops.repository import Repository
from visiona.ports.storage import ObjectStore
from visiona.settings import Settings
from visiona.vault.service import Vault

CANARY = "canary-of-a-prompt"


def now() -> datetime:
    return datetime.now(UTC)


def silent(_: str) -> None:
    """Nobody listens."""


@dataclass
class House:
    """`settings` name everything; `clock` says what time it is for backups."""

    settings: Settings
    vault: Vault
    database: Database
    clock: FixedClock

    @property
    def url(self) -> str:
        assert self.settings.database_url is not None
        return self.settings.database_url

    @property
    def objects(self) -> ObjectStore:
        return open_store(self.settings.objects_url)

    @property
    def repository(self) -> Repository:
        return open_repository(self.settings)

    @property
    def folder(self) -> Path:
        """Where backups lie."""
        return self.settings.data_dir.with_name("backups")

    def backups(self, clock: Clock | None = None) -> Backups:
        backups = open_backups(self.settings, clock or self.clock)
        assert backups is not None
        return backups

    async def owner(self) -> Connection:
        return await psycopg.AsyncConnection.connect(self.url, autocommit=True)

    async def add_person(self) -> UserActor:
        return await add_user(self.database, vault=self.vault)

    async def add_photo(self, actor: UserActor) -> list[str]:
        """With sealed objects of some bytes; answers their keys."""
        keys = [f"u{actor.user_id}/photos/{uuid.uuid4().hex}.{kind}" for kind in ("jpg", "webp")]
        cipher = await self.vault.cipher(actor.user_id)
        for key in keys:
            await put(self.objects, key, cipher.seal_bytes(key, CANARY.encode() * 40))
        async with await self.owner() as connection:
            await connection.execute(
                """insert into photos (user_id, file_url, thumbnail_url, width, height, size, sha256)
                   values (%s, %s, %s, 1, 1, 1, %s)""",
                [actor.user_id, *keys, uuid.uuid4().hex * 2],
            )
        return keys

    async def photos(self) -> int:
        async with await self.owner() as connection:
            row = await (await connection.execute("select count(*) from photos")).fetchone()
        return 0 if row is None else row[0]

    def files(self) -> list[Path]:
        """Everything at the place for backups, but for the keys and anchors that lie beside them."""
        return sorted(
            path
            for path in self.folder.rglob("*")
            if path.is_file() and path.relative_to(self.folder).parts[0] in {"sets", "wal", "objects"}
        )


async def put(store: ObjectStore, key: str, data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "object"
        await asyncio.to_thread(path.write_bytes, data)
        await store.put_file(key, path, "application/octet-stream")


@asynccontextmanager
async def open_house(settings: Settings) -> AsyncGenerator[House]:
    """On a database that is running; brings it to this release."""
    await prepare_database(settings)
    vault = open_vault(settings, SystemClock())
    await vault.open()
    database = Database(app_database_url(settings), identity_key(settings), max_size=4)
    await database.open()
    try:
        yield House(settings, vault, database, FixedClock(now()))
    finally:
        await database.close()
        await vault.aclose()


def settings_in(folder: Path) -> Settings:
    return Settings(
        data_dir=folder / "data",
        secret_key=uuid.uuid4().hex * 2,
        master_keys=(new_master_key(),),
        backup_url=(folder / "backups").as_uri(),
    )


@asynccontextmanager
async def own_house() -> AsyncGenerator[House]:
    """With a server of its own, whose log is laid down."""
    with tempfile.TemporaryDirectory(prefix="visiona-backups-", ignore_cleanup_errors=True) as name:
        settings = settings_in(Path(name))
        settings.data_dir.mkdir(mode=0o700)
        (settings.data_dir / "secret.key").write_text(settings.secret_key)
        with embedded_server(settings.data_dir / "postgres", archive=True) as url:
            with psycopg.connect(url, autocommit=True) as connection:
                for setting in ("fsync", "synchronous_commit"):
                    connection.execute(f"alter system set {setting} = off")
                connection.execute("select pg_reload_conf()")
            async with open_house(replace(settings, database_url=url)) as house:
                yield house


@pytest.fixture(scope="module")
async def house() -> AsyncGenerator[House]:
    """Shared by the tests of a file, in their order."""
    async with own_house() as house:
        yield house


@pytest.fixture
def flip() -> Callable[[Path, int], None]:
    """`flip(path, bit)` changes one bit of a file; again, it changes it back."""

    def change(path: Path, bit: int) -> None:
        with path.open("r+b") as file:
            file.seek(bit // 8)
            byte = file.read(1)[0]
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte ^ (1 << bit % 8)]))

    return change
