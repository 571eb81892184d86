"""Bringing Visiona back: planned and shown first, checked whole, and put in place in one step at the end."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec

from visiona.core.clock import Clock
from visiona.core.scratch import scratch_folder
from visiona.db.backups import (
    check_empty,
    connect,
    known_people,
    move_ids_past,
    named_objects,
)
from visiona.db.embedded import embedded_server, is_running
from visiona.db.migrate import provision
from visiona.db.roles import RoleSecrets
from visiona.ops.choosing import Choice
from visiona.ops.copies import Copies, read_note
from visiona.ops.recovery import load_dump, recover_physical
from visiona.ops.repository import Repository
from visiona.ops.retention import aside_of, staging_of
from visiona.ops.verification import Tell, Verifier
from visiona.ports.storage import ObjectMissing, ObjectStore

_TYPE = "application/octet-stream"
_PRIVATE = 0o600
_LOCK = "up.lock"  # which whoever restores holds, in a folder that may have nothing else


class RestoreRefused(Exception):
    """Nothing was changed; the message says why, and what to do."""


class _Tombstone(msgspec.Struct):
    destroyed_at: datetime


@dataclass(frozen=True, slots=True)
class KeyStores:
    """Where people's keys are, and their mirror, which outlives the machine."""

    store: ObjectStore
    mirror: ObjectStore | None

    async def take_over(self, others: "KeyStores") -> int:
        """Copy to the store what only the others or the mirror have; answers how much that was. A key that
        was destroyed anywhere stays destroyed.
        """
        have = set(await self.store.list_keys(""))
        dead = {f"u{user_id}.json" for user_id in {**await self.destroyed(), **await others.destroyed()}}
        taken = 0
        for source in (others.store, others.mirror, self.mirror):
            for name in [] if source is None else await source.list_keys(""):
                if source is not None and name not in have and name not in dead:
                    await self.store.put_bytes(name, await _read(source, name), _TYPE, create=True)
                    have.add(name)
                    taken += 1
        return taken

    async def destroyed(self) -> dict[int, datetime]:
        """Whose keys were destroyed, and when."""
        found: dict[int, datetime] = {}
        for store in (self.store, self.mirror):
            for name in [] if store is None else await store.list_keys(""):
                stem, _, kind = name.partition(".")
                if kind == "destroyed" and stem[1:].isdigit() and store is not None:
                    said = msgspec.json.decode(await _read(store, name), type=_Tombstone)
                    found[int(stem[1:])] = said.destroyed_at
        return found

    async def highest_id(self) -> int:
        """Of all people who ever had a key."""
        names: list[str] = []
        for store in (self.store, self.mirror):
            names += [] if store is None else await store.list_keys("")
        ids = [name.partition(".")[0] for name in names]
        return max((int(stem[1:]) for stem in ids if stem[1:].isdigit()), default=0)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a restored Visiona is to be: its data folder or the URL of an empty database, and its stores."""

    data_dir: Path
    database_url: str | None
    objects: ObjectStore
    keys: KeyStores


@dataclass(frozen=True, slots=True)
class Plan:
    """`erased` are people who were erased after the moment that the database will be of, and before now."""

    choice: Choice
    erased: Collection[int]
    moves_aside: Path | None
    log_files: int


Finish = Callable[[Path, str], Awaitable[list[str]]]
"""Bring the database at a URL, with this data folder, to this release and in order, and erase again whose
keys are destroyed, before anybody else can reach it; answers what the operator should look at.
"""


async def plan(choice: Choice, place: Place, clock: Clock) -> Plan:
    """Raises `RestoreRefused` where something runs that would be overwritten."""
    erased = [
        user_id for user_id, at in (await place.keys.destroyed()).items() if at >= choice.manifest.started_at
    ]
    aside: Path | None = None
    if choice.manifest.mode == "physical":
        if place.database_url is not None:
            raise RestoreRefused(
                "This backup is of a server of Visiona's own. Unset VISIONA_DATABASE_URL to restore it."
            )
        if is_running(place.data_dir / "postgres"):
            raise RestoreRefused(f"Visiona runs on {place.data_dir}. Stop it first.")
        if not _is_bare(place.data_dir):
            aside = aside_of(place.data_dir, clock.now())
    else:
        if place.database_url is None:
            raise RestoreRefused(
                "This backup is a dump: make an empty database and name it in VISIONA_DATABASE_URL."
            )
        async with await connect(place.database_url) as connection:
            await check_empty(connection)
    return Plan(choice, sorted(erased), aside, len(choice.chosen.files))


@dataclass(frozen=True, slots=True)
class Restored:
    """`lost` are objects that rows name and the backup does not have."""

    aside: Path | None
    objects: int
    lost: list[str]
    erased: list[int]
    warnings: list[str]


class Restorer:
    """`place_at` answers the place for a data folder. `secrets` are needed for loading a dump only."""

    def __init__(
        self,
        repository: Repository,
        place_at: Callable[[Path], Place],
        secrets: RoleSecrets | None,
        finish: Finish,
        tell: Tell,
    ) -> None:
        self._repository = repository
        self._place_at = place_at
        self._secrets = secrets
        self._finish = finish
        self._tell = tell

    async def check(self, choice: Choice) -> list[str]:
        """Read all that is needed; answers what is wrong with it."""
        verifier = Verifier(self._repository, self._tell)
        return (await verifier.needed(choice.manifest, choice.log, choice.chosen.files, choice.heads)).damage

    async def restore(self, plan: Plan, data_dir: Path, files: dict[str, bytes]) -> Restored:
        """Do as planned, after `check` found nothing; `files` are for the new data folder, beside those of
        the backup. What fails leaves all as it was, and may be repeated.

        Raises `Damaged`, `RecoveryFailed` or `EmbeddedServerError`.
        """
        if plan.choice.manifest.mode == "logical":
            return await self._load(plan, data_dir)
        staging = staging_of(data_dir)
        await asyncio.to_thread(_emptied, staging)
        try:
            restored = await self._build(plan, data_dir, staging, files)
        except BaseException:
            await asyncio.to_thread(shutil.rmtree, staging, ignore_errors=True)
            raise
        await asyncio.to_thread(_swap, staging, data_dir, plan.moves_aside)
        return restored

    async def _build(self, plan: Plan, data_dir: Path, staging: Path, files: dict[str, bytes]) -> Restored:
        """Everything, in a folder that is nobody's yet."""
        choice, postgres = plan.choice, staging / "postgres"
        self._tell("the database")
        await recover_physical(self._repository, choice.chosen, postgres)
        for name, content in {**choice.manifest.files, **files}.items():
            await asyncio.to_thread(_write_private, staging / name, content)
        place, before = self._place_at(staging), self._place_at(data_dir)
        self._tell("people's keys")
        await place.keys.take_over(before.keys)
        with embedded_server(postgres) as url:
            return await self._complete(plan, place, url, staging)

    async def _load(self, plan: Plan, data_dir: Path) -> Restored:
        place = self._place_at(data_dir)
        if place.database_url is None or self._secrets is None:
            raise RestoreRefused("VISIONA_DATABASE_URL and VISIONA_SECRET_KEY are needed to load a dump.")
        self._tell("the database")
        await asyncio.to_thread(provision, place.database_url, self._secrets)
        await load_dump(self._repository, plan.choice.chosen, place.database_url)
        await place.keys.take_over(place.keys)
        return await self._complete(plan, place, place.database_url, data_dir)

    async def _complete(self, plan: Plan, place: Place, url: str, data_dir: Path) -> Restored:
        destroyed = await place.keys.destroyed()
        self._tell("photos and images")
        objects, lost = await self._bring_objects(plan.choice, place, url, destroyed)
        async with await connect(url) as connection:
            erased = await known_people(connection, destroyed)
            await move_ids_past(connection, await place.keys.highest_id())
        self._tell("bringing it to this release")
        warnings = await self._finish(data_dir, url)
        return Restored(plan.moves_aside, objects, lost, erased, warnings)

    async def _bring_objects(
        self, choice: Choice, place: Place, url: str, erased: Collection[int]
    ) -> tuple[int, list[str]]:
        """Those that rows name and the store has not, but for those of people who were erased."""
        copies = await self._copies(choice)
        gone = tuple(f"u{user_id}/" for user_id in erased)
        brought, lost = 0, list[str]()
        async with await connect(url) as connection, connection.transaction():
            async for key in named_objects(connection):
                if key.startswith(gone) or await _is_there(place.objects, key):
                    continue
                copy = copies.get(key)
                if copy is None:
                    lost.append(key)
                else:
                    await self._bring(place.objects, key, copy.sha256)
                    brought += 1
        return brought, lost

    async def _bring(self, objects: ObjectStore, key: str, digest: str) -> None:
        with scratch_folder() as folder:
            path = folder / "object"
            await self._repository.fetch_object(digest, path)
            await objects.put_file(key, path, _TYPE)

    async def _copies(self, choice: Choice) -> Copies:
        """Of the set, of the notes beside the log, and of sets after it: an object may have been written
        shortly before the moment, and copied by whichever came first.
        """
        copies = Copies()
        for later in choice.later:
            await copies.add_set(self._repository, *await self._repository.read_set(later))
        for note in [] if choice.log is None else choice.log.notes:
            copies.add(await read_note(self._repository, note.path, choice.chosen.ciphers[note.key]))
        await copies.add_set(self._repository, choice.manifest, choice.chosen.cipher)
        return copies


async def _is_there(objects: ObjectStore, key: str) -> bool:
    try:
        await objects.open(key, (0, 1))
    except ObjectMissing:
        return False
    return True


async def _read(store: ObjectStore, name: str) -> bytes:
    found = await store.open(name)
    return b"".join([piece async for piece in found.body])


def _write_private(path: Path, content: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(_PRIVATE)
    path.write_bytes(content)


def _emptied(folder: Path) -> None:
    """A folder of this name, without what an interrupted restore left in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)


def _is_bare(folder: Path) -> bool:
    """Whether there is no file in it, but for the lock."""
    return not any(path.name != _LOCK for path in folder.rglob("*") if not path.is_dir())


def _swap(staging: Path, data_dir: Path, aside: Path | None) -> None:
    """The old folder keeps all that it had. The sandbox stands for other firms, whose memory is not ours to
    turn back: it is taken along as it is.
    """
    sandbox = data_dir / "sandbox"
    if sandbox.is_dir():
        shutil.copytree(sandbox, staging / "sandbox")
    if aside is not None:
        data_dir.rename(aside)
    elif data_dir.exists():
        shutil.rmtree(data_dir)
    staging.rename(data_dir)
