"""Making a person's copy in the background, handing it out by a link that expires, and deleting it.

Nothing outlives its deletion in a copy: whoever deletes a photo, a clone or an image, or has one taken down,
deletes the copies that may hold it (the database marks them), and one that is being made is made anew.
"""

import asyncio
import errno
import hashlib
import logging
import os
import tempfile
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from visiona.audit import service as audit
from visiona.audit.model import Action
from visiona.core.clock import Clock
from visiona.core.scratch import scratch_folder
from visiona.db.actor import SystemActor, UserActor
from visiona.db.events import notify
from visiona.db.jobs import RetryLater, enqueue
from visiona.db.pool import Connection, Database
from visiona.exports import model, store
from visiona.exports.archive import Archive, Entry
from visiona.exports.model import Export, Picture, Read, Standing
from visiona.exports.page import PAGE, Page
from visiona.mail import service as mail
from visiona.mail.model import Kind as MailKind
from visiona.objects.model import DOWNLOAD_TTL_S, ByteRange, Kind, PlainObject, new_key, owner_of
from visiona.objects.service import ObjectService
from visiona.ports.storage import ObjectMissing
from visiona.vault.model import Cipher, Unreadable
from visiona.vault.service import Vault

BUILD_TASK: Final = "exports.build"
ROUNDS: Final = 5
"""How often a copy is made anew at once; then there is a pause, while somebody goes on deleting."""
SWEEP_BATCH: Final = 200
_CONTENT_TYPE: Final = "application/zip"
_SYSTEM: Final = SystemActor("exports")
_PIECE: Final = 1024 * 1024
_README: Final = """A copy of everything that Visiona keeps of you.

index.html     opens in a browser, without a network
photos/        what you uploaded
images/        what was made for you
data/          each table as JSON (UTF-8), for programs; "file" says which picture a row is about
manifest.json  every file with its size and SHA-256, and what could not be had
"""

Progress = Callable[[int], Awaitable[None]]
"""Is told how far it is, in percent."""

T = TypeVar("T")

logger = logging.getLogger(__name__)


class Superseded(Exception):
    """What is being made is not wanted any more, or another makes it."""


class Outdated(Exception):
    """What is being made holds what was deleted meanwhile."""


def _require_current(standing: Standing) -> None:
    if standing is Standing.OUTDATED:
        raise Outdated
    if standing is Standing.SUPERSEDED:
        raise Superseded


class ExportService:
    """`ask` to `link` on the application's database, the rest on the worker's."""

    def __init__(self, database: Database, vault: Vault, objects: ObjectService, clock: Clock) -> None:
        self._database = database
        self._vault = vault
        self._objects = objects
        self._clock = clock

    # The person

    async def ask(self, actor: UserActor) -> Export:
        """Have a copy made; the one that is being made where there is one."""
        async with self._database.transaction(actor) as connection:
            export, fresh = await store.ask(connection, actor.user_id)
            if fresh:
                await audit.record(connection, actor.user_id, Action.EXPORT_ASKED, {"export_id": export.id})
                await enqueue(connection, BUILD_TASK, user_id=actor.user_id, export_id=export.id)
        return export

    async def all_of(self, actor: UserActor) -> list[Export]:
        """Those that can be had, are being made, or failed lately; newest first."""
        async with self._database.transaction(actor) as connection:
            return await store.list_of(connection, actor.user_id)

    async def find(self, actor: UserActor, export_id: int) -> Export:
        """Raises `NotFound`."""
        async with self._database.transaction(actor) as connection:
            found = await store.find(connection, actor.user_id, export_id)
        if found is None:
            raise model.export_not_found()
        return found

    async def remove(self, actor: UserActor, export_id: int) -> None:
        """Ready or not. Raises `NotFound`."""
        async with self._database.transaction(actor) as connection:
            there, key = await store.remove(connection, actor.user_id, export_id)
            if not there:
                raise model.export_not_found()
            await self._objects.remove(connection, [] if key is None else [key])
            await audit.record(connection, actor.user_id, Action.EXPORT_REMOVED, {"export_id": export_id})

    async def link(self, actor: UserActor, export_id: int) -> str:
        """A link that downloads it, for an hour. Raises `NotFound`, or `Conflict` while it is not ready."""
        async with self._database.transaction(actor) as connection:
            found = await store.find(connection, actor.user_id, export_id)
            if found is None:
                raise model.export_not_found()
            if found.object_key is None:
                raise model.export_not_ready()
            await audit.record(connection, actor.user_id, Action.EXPORT_OPENED, {"export_id": export_id})
        return await self._objects.link(found.object_key, DOWNLOAD_TTL_S)

    async def open_link(
        self, key: str, expires: int, signature: str, wanted: ByteRange | None = None
    ) -> PlainObject:
        """As `ObjectService.open_link`, for as long as the copy is there: a link ends with it, at once."""
        self._objects.believe(key, expires, signature)
        actor = UserActor(owner_of(key))
        async with self._database.transaction(actor) as connection:
            if not await store.is_there(connection, actor.user_id, key):
                raise model.export_not_found()
        return await self._objects.open(key, wanted)

    # The worker

    async def build(self, user_id: int, export_id: int) -> None:
        """Make the copy that was asked for; it ends ready, failed, or removed.

        Raises `RetryLater`. May be interrupted anywhere, and repeated.
        """
        for _ in range(ROUNDS):
            async with self._database.transaction(_SYSTEM) as connection:
                begun = await store.begin(connection, export_id)
                if begun is not None and begun[1] >= model.MAX_CRASHES:
                    await self._fail(connection, export_id)
                    return
            if begun is None or await self._attempt(UserActor(user_id), export_id, begun[0]):
                return
        raise RetryLater("something was deleted while the export was made")

    async def _attempt(self, actor: UserActor, export_id: int, attempt: int) -> bool:
        """False where it has to be made anew at once. Raises `RetryLater`."""
        try:
            await self._make(actor, export_id, attempt)
        except Outdated:
            async with self._database.transaction(_SYSTEM) as connection:
                await store.start_over(connection, export_id, attempt)
            return False
        except Superseded:
            logger.info("export %s is not made any further", export_id)
        except Exception as error:
            logger.exception("export %s could not be made, attempt %s", export_id, attempt)
            async with self._database.transaction(_SYSTEM) as connection:
                await store.excuse(connection, export_id, attempt)
            raise RetryLater("the export could not be made") from error
        return True

    async def write(self, actor: UserActor, target: Path, progress: Progress) -> None:
        """Everything that is kept of this person, as a ZIP at `target`, at flat memory."""
        cipher = await self._vault.cipher(actor.user_id)
        now = self._clock.now()
        with scratch_folder() as folder, Archive(target, now) as archive, Page(folder) as page:
            pictures: list[Picture] = []
            async with self._database.transaction(actor) as connection:
                for read in model.reads():
                    pictures += await _add_table(archive, page, connection, read, cipher)
            total, done = max(1, sum(picture.size for picture in pictures)), 0
            for picture in pictures:
                await self._add_picture(archive, picture)
                done += picture.size
                await progress(min(95, done * 95 // total))
            with archive.entry(PAGE) as entry:
                await _in_thread(page.write, entry, now)
            archive.add("README.txt", _README.encode())
            await _in_thread(archive.finish)

    async def hand_over(self, actor: UserActor, target: Path, progress: Progress) -> None:
        """As `write`, by the operator, who answers a request of theirs; that is on record before there is
        anything at `target`. Whatever ends this early leaves nothing there.

        Raises `OSError`, before anything is read where there can be no such file.
        """
        with unfinished(target) as part:
            await self.write(actor, part, progress)
            async with self._database.transaction(_SYSTEM) as connection:
                await audit.record(connection, actor.user_id, Action.EXPORT_HANDED_OVER)
            _moved(part, target)

    async def sweep(self) -> None:
        """Delete those whose time is over or that hold what was deleted, end those that nothing ends, and
        have those made that no worker knows of.
        """
        async with self._database.transaction(_SYSTEM) as connection:
            await self._objects.remove(connection, await store.remove_old(connection, SWEEP_BATCH))
            for export_id in await store.overdue(connection, SWEEP_BATCH):
                await self._fail(connection, export_id)
            for user_id, export_id in await store.forgotten(connection, BUILD_TASK, SWEEP_BATCH):
                await enqueue(connection, BUILD_TASK, user_id=user_id, export_id=export_id)

    async def forget_all(self) -> int:
        """After a restore: backups hold no copies, so that there is none behind any row."""
        async with self._database.transaction(_SYSTEM) as connection:
            return await store.remove_all(connection)

    async def _make(self, actor: UserActor, export_id: int, attempt: int) -> None:
        told = 0

        async def progress(percent: int) -> None:
            nonlocal told
            if percent == told:
                return
            told = percent
            async with self._database.transaction(_SYSTEM) as connection:
                _require_current(await store.advance(connection, export_id, attempt, percent))
                await notify(connection, actor.user_id, "export", export_id)

        with scratch_folder() as folder:
            path = folder / "export.zip"
            await self.write(actor, path, progress)
            size, sha256 = await asyncio.to_thread(_measured, path)
            key = new_key(actor.user_id, Kind.EXPORT, _CONTENT_TYPE, self._clock.now().date())
            await self._objects.put(actor, {key: path})
        async with self._database.transaction(_SYSTEM) as connection:
            standing = await store.finish(connection, export_id, attempt, key, size, sha256, model.KEPT_FOR)
            if standing is Standing.CURRENT:
                if await self._objects.settle(connection, [key]) != 1:
                    raise RuntimeError("it took so long to be written that it was swept away")
                await audit.record(connection, actor.user_id, Action.EXPORT_READY, {"export_id": export_id})
                day = (self._clock.now() + model.KEPT_FOR).date().isoformat()
                await mail.post(connection, actor.user_id, MailKind.EXPORT_READY, details={"day": day})
                await notify(connection, actor.user_id, "export", export_id)
        if standing is not Standing.CURRENT:
            await self._objects.discard(actor, [key])
            _require_current(standing)

    async def _fail(self, connection: Connection, export_id: int) -> None:
        user_id = await store.fail(connection, export_id, model.KEPT_FOR)
        if user_id is not None:
            logger.error("export %s failed for good", export_id)
            await audit.record(connection, user_id, Action.EXPORT_FAILED, {"export_id": export_id})
            await mail.post(connection, user_id, MailKind.EXPORT_FAILED)
            await notify(connection, user_id, "export", export_id)

    async def _add_picture(self, archive: Archive, picture: Picture) -> None:
        try:
            data = await self._objects.read(picture.key, picture.sha256)
        except ObjectMissing:  # deleted a moment ago
            archive.miss(picture.path, "deleted")
        except Unreadable:
            logger.exception("an object is damaged, and missing in an export")
            archive.miss(picture.path, "damaged")
        else:
            await _in_thread(partial(archive.add, picture.path, data, compressed=False))


async def _add_table(
    archive: Archive, page: Page, connection: Connection, read: Read, cipher: Cipher
) -> list[Picture]:
    """Write a table's rows, and answer what pictures they are about."""
    pictures: list[Picture] = []
    with archive.entry(f"data/{read.table}.json") as entry:
        lines = _Lines(entry)

        def add(rows: list[dict[str, Any]]) -> None:
            for row in rows:
                one = model.opened(read.table, row, cipher)
                for name in one.damaged:
                    archive.miss(f"data/{read.table}.json", f"{name} of {row.get('id')} is damaged")
                picture = model.picture_of(read.table, one.facts)
                page.add(read.table, one.facts, picture)
                if picture is not None:
                    pictures.append(picture)
                    one.facts["file"] = picture.path
                lines.add(one.facts)

        async for rows in store.rows(connection, read, cipher.user_id):
            await _in_thread(add, rows)
        lines.end()
    return pictures


class _Lines:
    """A list in JSON, a line for each."""

    def __init__(self, entry: Entry) -> None:
        self._entry = entry
        self._before = b"[\n"

    def add(self, facts: Mapping[str, Any]) -> None:
        self._entry.write(self._before + model.encoded(facts))
        self._before = b",\n"

    def end(self) -> None:
        self._entry.write(b"[]\n" if self._before == b"[\n" else b"\n]\n")


async def _in_thread(call: Callable[..., T], *given: Any) -> T:
    """Beside the event loop, and over when this ends however it ends: nothing goes on to write into an
    archive that is being closed.
    """
    work = asyncio.ensure_future(asyncio.to_thread(call, *given))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work])
        raise


@contextmanager
def unfinished(target: Path) -> Generator[Path]:
    """A file beside it, for its owner's eyes only; it is gone with the block, if it was not moved."""
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    os.close(descriptor)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _moved(part: Path, target: Path) -> None:
    if target.exists():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    part.rename(target)


def _measured(path: Path) -> tuple[int, str]:
    """Size in bytes and SHA-256."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
            size += len(piece)
    return size, digest.hexdigest()
