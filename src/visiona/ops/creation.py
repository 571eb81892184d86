"""Making a set: the database at one moment, and every object that its rows name, while people go on."""

import asyncio
import logging
import os
import tempfile
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import msgspec

from visiona.core.clock import Clock
from visiona.core.ids import opaque_id
from visiona.db.backups import (
    BACKUP_LOCK,
    DELETIONS_LOCK,
    Connection,
    Server,
    Snapshot,
    UnfitRoleError,
    connect,
    held,
    libpq_environment,
    log_position,
    look_at,
    snapshot,
)
from visiona.db.embedded import programs, programs_for
from visiona.ops.copies import Copies
from visiona.ops.manifest import AuditHead, LogRange, Manifest, ObjectCopy, Stream, timeline_of
from visiona.ops.repository import SETS, Damaged, Repository, SetKey, manifest_name
from visiona.ops.retention import sweep
from visiona.ops.shipping import Shipper, add_newest_set
from visiona.ports.storage import ObjectStore

KEPT_FILES = ("secret.key", "identities", "provenance/development.pem")
"""Of the data folder, besides database and objects. The master key is not among them: it opens these."""

_SCHEMAS = ("public", "visiona", "procrastinate")
_CHUNK = 2**20

logger = logging.getLogger(__name__)


class BackupFailed(Exception):
    """No set was made; the message says why."""


@dataclass(frozen=True, slots=True)
class Source:
    """What is backed up: the database as its owner sees it, the object store, and the data folder."""

    url: str
    data_dir: Path
    objects: ObjectStore

    @property
    def postgres(self) -> Path:
        return self.data_dir.resolve() / "postgres"

    def is_own(self, server: Server) -> bool:
        """Whether this is the server in the data folder, whose files and log are ours to copy."""
        directory = server.data_directory
        return directory is not None and Path(directory).resolve() == self.postgres


@dataclass(frozen=True, slots=True)
class _Contents:
    """What a set holds besides the database's own bytes."""

    objects: Stream
    count: int
    size: int
    missing: list[str]
    counts: dict[str, int]
    migrations: list[str]
    audit: AuditHead | None


@dataclass(slots=True)
class _Draft:
    """A set in the making."""

    id: str
    key: SetKey
    started_at: datetime
    server: Server
    copies: Copies

    @property
    def folder(self) -> str:
        return f"{SETS}/{self.id}"


class Creator:
    def __init__(self, repository: Repository, source: Source, shipper: Shipper, clock: Clock) -> None:
        self._repository = repository
        self._source = source
        self._shipper = shipper
        self._clock = clock

    async def create(self, *, wait: bool = False) -> Manifest:
        """Make a set. What it consists of is there before its manifest is: without that it is no set.

        Raises `BackupFailed`, or `AlreadyRunningError` where another process makes one, unless it is to
        `wait` for that.
        """
        async with held(self._source.url, BACKUP_LOCK, wait=wait) as connection:
            server = await look_at(connection)
            if not server.sees_everything:
                raise UnfitRoleError(
                    "The role of VISIONA_DATABASE_URL cannot read everybody's rows. Let it: "
                    "alter role … bypassrls"
                )
            await sweep(self._repository)
            now = self._clock.now()
            set_id = f"{now:%Y%m%dt%H%M%S}z-{opaque_id()[:8]}"
            key = await self._repository.new_key(manifest_name(set_id))
            physical = self._source.is_own(server)
            copies = await self._shipper.known(connection) if physical else await self._listed()
            draft = _Draft(set_id, key, now, server, copies)
            manifest = await (self._physical(draft, connection) if physical else self._logical(draft))
            await self._repository.write_keyed(manifest_name(set_id), key, msgspec.json.encode(manifest))
        logger.info("backup %s is complete: %s bytes", manifest.id, manifest.size)
        return manifest

    async def _listed(self) -> Copies:
        copies = Copies()
        await add_newest_set(self._repository, copies)
        return copies

    async def leads_on(self, set_id: str) -> bool:
        """Whether what the server writes now continues this set: not after a restore, nor where a new server
        stands in the place of one that was lost. Of another firm's server nobody can say.
        """
        async with await connect(self._source.url) as connection:
            server = await look_at(connection)
            if not self._source.is_own(server):
                return True
            timeline = timeline_of(await log_position(connection))
        try:
            log = (await self._repository.read_set(set_id))[0].log
        except Damaged:
            return False
        written = server.system_identifier, timeline
        return log is not None and (log.system, timeline_of(log.last)) == written

    async def _physical(self, draft: _Draft, connection: Connection) -> Manifest:
        source = self._source
        first = await log_position(connection)
        keys = await source.objects.list_keys("")
        await self._shipper.bring_objects(connection, keys)
        arguments = [
            "-D",
            "-",
            "-F",
            "tar",
            "-X",
            "none",
            "-c",
            "fast",
            "-w",
            "-l",
            draft.id,
            "--manifest-checksums=SHA256",
        ]
        base = _output_of([str(programs() / "pg_basebackup"), *arguments], source.url)
        database = await self._repository.write_stream(draft.folder, "base", draft.key.cipher, base)
        async with held(source.url, DELETIONS_LOCK, wait=True), snapshot(source.url, draft.id) as moment:
            contents = await self._contents(draft, moment)
        await self._shipper.ship(force=True)
        if moment.lsn is None or moment.segment is None:
            raise BackupFailed("the log has no mark of the backup")
        log = LogRange(
            system=draft.server.system_identifier, first=first, last=moment.segment, lsn=moment.lsn
        )
        return self._manifest(draft, moment, database, contents, log)

    async def _logical(self, draft: _Draft) -> Manifest:
        source = self._source
        tools = programs_for(draft.server.major)
        if tools is None:
            raise BackupFailed(f"there is no pg_dump for PostgreSQL {draft.server.major} on this machine")
        await draft.copies.bring(self._repository, source.objects, await source.objects.list_keys(""))
        async with snapshot(source.url) as moment:
            async with held(source.url, DELETIONS_LOCK, wait=True):
                contents = await self._contents(draft, moment)
            schemas = [f"--schema={schema}" for schema in _SCHEMAS]
            arguments = ["--format=custom", "--compress=0", "--no-password", f"--snapshot={moment.name}"]
            dump = _output_of([str(tools / "pg_dump"), *arguments, *schemas], source.url)
            database = await self._repository.write_stream(draft.folder, "dump", draft.key.cipher, dump)
        return self._manifest(draft, moment, database, contents, None)

    async def _contents(self, draft: _Draft, moment: Snapshot) -> _Contents:
        """List what the rows of this moment name. Deletions wait meanwhile, so that what is missing here
        was missing before.
        """
        missing: list[str] = []
        count = size = 0

        async def lines() -> AsyncGenerator[bytes]:
            nonlocal count, size
            async with aclosing(moment.object_keys()) as keys:
                async for key in keys:
                    copy = draft.copies.get(key) or await self._late(draft, key)
                    if copy is None:
                        missing.append(key)
                        continue
                    count, size = count + 1, size + copy.size
                    yield msgspec.json.encode(copy) + b"\n"

        stream = await self._repository.write_stream(draft.folder, "objects", draft.key.cipher, lines())
        if missing:
            logger.error("%s objects that rows name are not in the store", len(missing))
        counts, migrations = await moment.counts(), await moment.migrations()
        head = await moment.audit_head()
        audit = None if head is None else AuditHead(*head)
        return _Contents(stream, count, size, missing, counts, migrations, audit)

    async def _late(self, draft: _Draft, key: str) -> ObjectCopy | None:
        await draft.copies.bring(self._repository, self._source.objects, [key])
        return draft.copies.get(key)

    def _manifest(
        self, draft: _Draft, moment: Snapshot, database: Stream, contents: _Contents, log: LogRange | None
    ) -> Manifest:
        files: dict[str, bytes] = {}
        if log is not None:
            paths = {name: self._source.data_dir / name for name in KEPT_FILES}
            files = {name: path.read_bytes() for name, path in paths.items() if path.is_file()}
        return Manifest(
            id=draft.id,
            mode="logical" if log is None else "physical",
            release=version("visiona"),
            server=draft.server.major,
            started_at=draft.started_at,
            moment=moment.taken_at,
            finished_at=self._clock.now(),
            migrations=contents.migrations,
            counts=contents.counts,
            audit=contents.audit,
            database=database,
            objects=contents.objects,
            object_count=contents.count,
            object_bytes=contents.size,
            missing=contents.missing,
            files=files,
            log=log,
        )


async def _output_of(command: Sequence[str], url: str) -> AsyncGenerator[bytes]:
    """What a program of PostgreSQL writes about the database at `url`. Raises `BackupFailed` at its end."""
    environment = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    with tempfile.TemporaryFile() as complaints:
        process = await asyncio.create_subprocess_exec(
            *command,
            env=environment | libpq_environment(url),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=complaints,
        )
        if process.stdout is None:
            raise BackupFailed("the program has no output")
        try:
            while chunk := await process.stdout.read(_CHUNK):
                yield chunk
            status = await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate()  # a pipe that nobody reads would keep it from ending
        if status != 0:
            complaints.seek(0)
            said = complaints.read().decode(errors="replace").strip()[-500:]
            raise BackupFailed(f"{Path(command[0]).name} failed: {said}")
