"""Bringing the log to the backup, and with it the objects that are new: at most a minute is ever lost."""

import asyncio
import logging
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from visiona.core.clock import Clock
from visiona.core.ids import opaque_id
from visiona.db.backups import (
    SHIPPING_LOCK,
    AlreadyRunningError,
    Connection,
    changes,
    finish_segment,
    held,
    log_position,
    look_at,
    newest_objects,
)
from visiona.db.embedded import archive_of
from visiona.ops.copies import Copies, as_lines, note_name, read_note
from visiona.ops.log import HEAD, HISTORY, KEY, Log, LogFile, began_line, list_logs, read_keys
from visiona.ops.manifest import LogHead, ObjectCopy, is_segment, timeline_of
from visiona.ops.repository import LOG, Repository
from visiona.ports.storage import ObjectStore
from visiona.vault.model import Cipher

# Without any change, the log is still finished this often, so that it is seen to work.
IDLE_S = 600.0
# Each key is used for an hour at most, so that it goes with what it sealed.
KEY_AGE = timedelta(hours=1)
# Every so often the whole store is compared; else only rows that are new, with a margin for slow ones.
COMPARE_S = 3600.0
OVERLAP = 1000

logger = logging.getLogger(__name__)


class Shipper:
    """One of a process; a lock in the database sees to it that one process ships at a time."""

    def __init__(
        self, repository: Repository, objects: ObjectStore, url: str, postgres: Path, clock: Clock
    ) -> None:
        """`postgres` is the server's folder, beside which it lays down its log."""
        self._repository = repository
        self._objects = objects
        self._url = url
        self._postgres = postgres
        self._archive = archive_of(postgres)
        self._clock = clock
        self._key: tuple[datetime, str, Cipher] | None = None
        self._copies: Copies | None = None
        self._compared = self._switched = -COMPARE_S
        self._seen = -1
        self._highest: dict[str, int] = {}
        self._until: datetime | None = None
        self._timeline = 1

    async def ship(self, *, force: bool = False) -> None:
        """What is new since the last time; with `force` also where nothing has changed.

        Without a set there is nothing that a log could be added to, and nothing is done.
        """
        if not force and not await self._repository.set_ids():
            return
        try:
            async with held(self._url, SHIPPING_LOCK, wait=force) as connection:
                await self._ship(connection, force=force)
        except AlreadyRunningError:
            return

    async def bring_objects(self, connection: Connection, keys: Sequence[str]) -> list[ObjectCopy]:
        """Copy these, and note it beside the log."""
        copies = await self._known(connection)
        brought = await copies.bring(self._repository, self._objects, keys)
        if brought:
            folder, cipher = await self._current_key(connection)
            await self._repository.write(note_name(folder, self._clock.now()), cipher, as_lines(brought))
        return brought

    async def known(self, connection: Connection) -> Copies:
        """All copies that were ever noted or listed, as far as they are kept."""
        self._copies = None
        return await self._known(connection)

    async def _ship(self, connection: Connection, *, force: bool) -> None:
        await self._bring_new_objects(connection)
        now = self._clock.now()
        changed = await changes(connection)
        idle = time.monotonic() - self._switched < IDLE_S
        if force or changed != self._seen or not idle:
            await finish_segment(connection)
            self._seen, self._switched, self._until = changed, time.monotonic(), now
        waiting = await asyncio.to_thread(self._laid_down)
        if not waiting:
            return
        folder, cipher = await self._current_key(connection)
        await self._bring_history(connection, folder, cipher)
        for path in waiting:
            data = await asyncio.to_thread(path.read_bytes)
            await self._repository.write(f"{folder}/{path.name.lower()}", cipher, data)
        segments = [path.name for path in waiting if is_segment(path.name)]
        if segments and self._until is not None:
            head = LogHead(last=segments[-1], until=self._until)
            await self._repository.write(f"{folder}/{HEAD}", cipher, msgspec.json.encode(head))
        for path in waiting:
            await asyncio.to_thread(path.unlink)

    async def _bring_history(self, connection: Connection, folder: str, cipher: Cipher) -> None:
        """After a restore, what says where the server left the timeline before. It does not lay that down by
        itself: while it was recovered, it laid down nothing.
        """
        timeline = timeline_of(await log_position(connection))
        if timeline == self._timeline:
            return
        name = f"{timeline:08X}{HISTORY}"
        system = (await look_at(connection)).system_identifier
        log = (await list_logs(self._repository)).get(system, Log(system))
        if name not in {file.name for file in log.files}:
            data = await asyncio.to_thread(_with_its_time, self._postgres / "pg_wal" / name)
            await self._repository.write(f"{folder}/{name.lower()}", cipher, data)
        self._timeline = timeline

    def _laid_down(self) -> list[Path]:
        if not self._archive.is_dir():
            return []
        return sorted(path for path in self._archive.iterdir() if not path.name.startswith("."))

    async def _bring_new_objects(self, connection: Connection) -> None:
        now = time.monotonic()
        if now - self._compared >= COMPARE_S:
            _, highest = await newest_objects(connection, self._highest, OVERLAP)
            await self.bring_objects(connection, await self._objects.list_keys(""))
            self._compared = now
        else:
            keys, highest = await newest_objects(connection, self._highest, OVERLAP)
            await self.bring_objects(connection, keys)
        self._highest = highest

    async def _known(self, connection: Connection) -> Copies:
        if self._copies is None:
            copies = Copies()
            system = (await look_at(connection)).system_identifier
            log = (await list_logs(self._repository)).get(system)
            if log is not None:
                ciphers = await read_keys(self._repository, log)
                for note in log.notes:
                    copies.add(await read_note(self._repository, note.path, ciphers[note.key]))
            await add_newest_set(self._repository, copies)
            self._copies = copies
        return self._copies

    async def _current_key(self, connection: Connection) -> tuple[str, Cipher]:
        """The folder and the key of what is shipped now."""
        now = self._clock.now()
        if self._key is None or abs(now - self._key[0]) >= KEY_AGE:
            system = (await look_at(connection)).system_identifier
            folder = f"{LOG}/{system}/{now:%Y%m%dt%H%M%S}-{opaque_id()[:8]}"
            key = await self._repository.new_key(f"{folder}/{KEY}")
            await self._repository.write_keyed(f"{folder}/{KEY}", key, b"")
            self._key = (now, folder, key.cipher)
        return self._key[1], self._key[2]


def _with_its_time(history: Path) -> bytes:
    """The server writes the file when it leaves the timeline before, and does not say in it when that was."""
    began = datetime.fromtimestamp(history.stat().st_mtime, UTC)
    return history.read_bytes() + began_line(began).encode()


async def add_newest_set(repository: Repository, copies: Copies) -> None:
    ids = await repository.set_ids()
    if ids:
        manifest, cipher = await repository.read_set(ids[-1])
        await copies.add_set(repository, manifest, cipher)


def newest_by_name(files: Sequence[LogFile]) -> dict[str, LogFile]:
    """A file that was shipped twice, since a process died in between, is the same in both places."""
    return {file.name: file for file in sorted(files, key=lambda file: file.key)}
