"""Exports on the real database and a folder of objects, and people with something of every kind."""

import hashlib
import io
import json
import os
import uuid
import zipfile
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.factories.canaries import canary
from tests.factories.people import MakeUser, insert_rows

from visiona.adapters.objects import open_store
from visiona.audit import service as audit
from visiona.audit.model import Action
from visiona.core.client import ClientInfo
from visiona.core.clock import SystemClock
from visiona.core.origin import Origin, coming_from
from visiona.db.actor import UserActor
from visiona.db.pool import Connection, Database
from visiona.exports.model import Export
from visiona.exports.service import ExportService
from visiona.objects.model import LinkSigner
from visiona.objects.service import ObjectService
from visiona.privacy.catalogue import CATALOGUE, PLACES, Kind
from visiona.vault.model import Cipher
from visiona.vault.service import Vault

DOCUMENTS = {"parameters", "inputs"}


@dataclass(frozen=True)
class Desk:
    """Where people ask (`app`), and where copies are made (`worker`)."""

    app: ExportService
    worker: ExportService
    objects: ObjectService
    folder: Path

    async def made(self, actor: UserActor) -> Export:
        """A copy that is ready."""
        asked = await self.app.ask(actor)
        await self.worker.build(actor.user_id, asked.id)
        return await self.app.find(actor, asked.id)

    async def read(self, export: Export) -> bytes:
        assert export.object_key is not None
        found = await self.objects.open(export.object_key)
        return b"".join([piece async for piece in found.body])

    def kept(self, actor: UserActor) -> list[str]:
        """The objects of copies, as the store has them."""
        return sorted(path.name for path in self.folder.glob(f"u{actor.user_id}/exports/*"))


@dataclass(frozen=True)
class Subject:
    """Somebody, and the words that are in their rows, by table and column."""

    actor: UserActor
    words: Mapping[str, str]
    pictures: Mapping[str, bytes]


MakeSubject = Callable[[], Awaitable[Subject]]


@pytest.fixture
def desk(database: Database, worker_database: Database, vault: Vault, tmp_path: Path) -> Desk:
    clock, signer, store = SystemClock(), LinkSigner(b"s" * 32), open_store(tmp_path.as_uri())
    app_objects = ObjectService(database, vault, store, signer, clock)
    objects = ObjectService(worker_database, vault, store, signer, clock)
    return Desk(
        ExportService(database, vault, app_objects, clock),
        ExportService(worker_database, vault, objects, clock),
        objects,
        tmp_path,
    )


@pytest.fixture
def make_subject(
    make_user: MakeUser,
    database: Database,
    owner: Connection,
    vault: Vault,
    desk: Desk,
    tmp_path: Path,
) -> MakeSubject:
    """A row in every table, with a word of its own in every sealed column, and pictures behind their rows."""

    async def make() -> Subject:
        actor = await make_user()
        cipher = await vault.cipher(actor.user_id)
        await insert_rows(owner, actor, cipher)
        words = await _fill(owner, actor, cipher)
        words["audit_logs.client"] = canary("browser")
        browser = ClientInfo("203.0.113.7", words["audit_logs.client"])
        with coming_from(Origin(request_id="visit", via="visitor", client=browser)):
            audit.identified(cipher)
            async with database.transaction(actor) as connection:
                await audit.record(connection, actor.user_id, Action.SIGNED_IN)
        pictures = await _draw(owner, desk, actor, tmp_path)
        return Subject(actor, words, pictures)

    return make


async def _fill(owner: Connection, actor: UserActor, cipher: Cipher) -> dict[str, str]:
    words: dict[str, str] = {}
    for table in CATALOGUE:
        for column, kind in table.columns.items():
            # The log is append-only, and has its word from where it is written.
            if kind is not Kind.SEALED or table.owner is None or table.name == "audit_logs":
                continue
            place = PLACES[table.name, column]
            words[place] = word = f"{canary('word')} <b>&amp;</script>=1+1"
            text = json.dumps({"word": word}) if column in DOCUMENTS else word
            await owner.execute(
                f"update {table.name} set {column} = %s where {table.owner} = %s".encode(),
                [cipher.seal(place, text), actor.user_id],
            )
    return words


async def _draw(owner: Connection, desk: Desk, actor: UserActor, folder: Path) -> dict[str, bytes]:
    """Pictures behind their rows, by their hash."""
    pictures: dict[str, bytes] = {}
    for table, column, kind in (("photos", "file_url", "photos"), ("generations", "image_url", "images")):
        cursor = await owner.execute(f"select id from {table} where user_id = %s".encode(), [actor.user_id])
        for (row_id,) in await cursor.fetchall():
            data = os.urandom(100_000)
            sha256 = hashlib.sha256(data).hexdigest()
            key = f"u{actor.user_id}/{kind}/{uuid.uuid4().hex}.webp"
            source = folder / f"drawn-{sha256}"
            source.write_bytes(data)
            await desk.objects.put(actor, {key: source})
            await owner.execute(
                f"update {table} set {column} = %s, sha256 = %s, size = %s where id = %s".encode(),
                [key, sha256, len(data), row_id],
            )
            pictures[sha256] = data
    return pictures


def unpacked(data: bytes) -> dict[str, bytes]:
    """By path."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def rows_of(files: Mapping[str, bytes], table: str) -> list[dict[str, Any]]:
    return json.loads(files[f"data/{table}.json"])
