"""A copy of two gigabytes is made by a worker that needs no more than 200 MB for all that it does."""

import asyncio
import hashlib
import multiprocessing
import os
import re
import uuid
import zipfile
from pathlib import Path

import pytest
from tests.conftest import IDENTITY
from tests.factories.keys import key_settings
from tests.factories.people import MakeUser, insert_rows

from visiona.adapters.objects import open_store
from visiona.bootstrap import open_vault
from visiona.core.clock import SystemClock
from visiona.db.actor import UserActor
from visiona.db.pool import Connection, Database
from visiona.exports.service import ExportService
from visiona.objects.model import LinkSigner
from visiona.objects.service import ObjectService
from visiona.settings import Settings
from visiona.vault.service import Vault

pytestmark = [pytest.mark.drill, pytest.mark.timeout(1200)]

PHOTOS, PHOTO_BYTES = 205, 10 << 20
LIMIT_MB = 200


async def _build(url: str, keys: dict[str, object], folder: str, user_id: int, export_id: int) -> None:
    """What the worker does, in this process alone."""
    database, vault = Database(url, IDENTITY), open_vault(Settings(**keys), SystemClock())
    await database.open()
    await vault.open()
    objects = ObjectService(database, vault, open_store(folder), LinkSigner(b"s" * 32), SystemClock())
    await ExportService(database, vault, objects, SystemClock()).build(user_id, export_id)
    await vault.aclose()
    await database.close()


def _measure(pipe: object, *given: object) -> None:
    asyncio.run(_build(*given))  # type: ignore[arg-type]
    # `ru_maxrss` would be that of the process which began this one, if it has used more.
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"))
    pipe.send(int(peak))  # type: ignore[attr-defined]
    os._exit(0)  # threads of the object store would go on


async def test_two_gigabytes_at_flat_memory(
    database: Database,
    worker_url: str,
    owner_url: str,
    owner: Connection,
    vault: Vault,
    make_user: MakeUser,
    tmp_path: Path,
) -> None:
    actor = await make_user()
    await insert_rows(owner, actor, await vault.cipher(actor.user_id))
    store = open_store(tmp_path.as_uri())
    objects = ObjectService(database, vault, store, LinkSigner(b"s" * 32), SystemClock())
    await _fill(owner, objects, actor, tmp_path)
    app = ExportService(database, vault, objects, SystemClock())
    asked = await app.ask(actor)

    here, there = multiprocessing.Pipe()
    given = (worker_url, dict(key_settings(owner_url)), tmp_path.as_uri(), actor.user_id, asked.id)
    process = multiprocessing.get_context("spawn").Process(target=_measure, args=(there, *given))
    process.start()
    await asyncio.to_thread(process.join)
    assert process.exitcode == 0
    assert here.poll()
    peak_mb = here.recv() / 1024
    made = await app.find(actor, asked.id)
    print(f"\n{(made.size or 0) / 2**30:.2f} GiB at {peak_mb:.0f} MB")
    assert (made.size or 0) > 2 << 30
    assert peak_mb <= LIMIT_MB

    target = tmp_path / "copy.zip"
    found = await objects.open(made.object_key or "")
    with target.open("wb") as file:
        async for piece in found.body:
            file.write(piece)
    with zipfile.ZipFile(target) as archive:
        assert len([name for name in archive.namelist() if name.startswith("photos/")]) == PHOTOS


async def _fill(owner: Connection, objects: ObjectService, actor: UserActor, folder: Path) -> None:
    source = folder / "photo"
    await owner.execute("delete from photos where user_id = %s", [actor.user_id])
    for _ in range(PHOTOS):
        data = os.urandom(PHOTO_BYTES)
        source.write_bytes(data)
        key = f"u{actor.user_id}/photos/{uuid.uuid4().hex}.jpg"
        await objects.put(actor, {key: source})
        await owner.execute(
            """insert into photos (user_id, consent_id, file_url, thumbnail_url, width, height, size, sha256)
               values (%(user)s, (select id from consents where user_id = %(user)s limit 1), %(key)s,
                 %(key)s || '.webp', 1, 1, %(size)s, %(sha256)s)""",
            {
                "user": actor.user_id,
                "key": key,
                "size": len(data),
                "sha256": hashlib.sha256(data).hexdigest(),
            },
        )
