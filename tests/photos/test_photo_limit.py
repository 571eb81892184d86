"""However many come at once, a person keeps no more photos than the limit."""

import asyncio
import hashlib
from pathlib import Path

import pytest
from tests.factories.people import MakeUser

from visiona.adapters.objects import open_store
from visiona.core.clock import SystemClock
from visiona.db.pool import Connection, Database
from visiona.objects.model import LinkSigner
from visiona.objects.service import ObjectService
from visiona.photos import service as photos
from visiona.photos.model import PhotoRefused
from visiona.ports.imaging import ProcessedImage
from visiona.vault.service import Vault


class AnyImage:
    """Takes every file for a photo."""

    async def process_photo(self, source: Path, folder: Path) -> ProcessedImage:
        del folder
        digest = hashlib.sha256(await asyncio.to_thread(source.read_bytes)).hexdigest()
        return ProcessedImage(source, source, "image/jpeg", 8, 8, 1, digest)

    async def process_generated(self, source: Path, folder: Path) -> ProcessedImage:
        raise NotImplementedError


async def test_the_limit_holds_for_photos_that_come_at_once(
    database: Database,
    owner: Connection,
    make_user: MakeUser,
    vault: Vault,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(photos, "MAX_PHOTOS", 3)
    actor = await make_user()
    store = open_store((tmp_path / "objects").as_uri())
    objects = ObjectService(database, vault, store, LinkSigner(b"secret"), SystemClock())
    service = photos.PhotoService(database, objects, AnyImage())

    async def add(number: int) -> str:
        source = tmp_path / str(number)
        await asyncio.to_thread(source.write_text, str(number))
        try:
            await service.add(actor, source)
        except PhotoRefused as refusal:
            return refusal.code
        return "kept"

    outcomes = await asyncio.gather(*(add(number) for number in range(8)))
    assert sorted(outcomes) == ["kept"] * 3 + ["too_many_photos"] * 5
    cursor = await owner.execute(
        "select (select count(*) from photos where user_id = %(user)s), count(*) from pending_objects"
        " where user_id = %(user)s",
        {"user": actor.user_id},
    )
    assert await cursor.fetchone() == (3, 0)
    assert len(await store.list_keys("")) == 6
