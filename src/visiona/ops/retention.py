"""What is deleted from the backup, and when: nothing is older than the days that people are told."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from visiona.core.clock import Clock
from visiona.db.backups import BACKUP_LOCK, SHIPPING_LOCK, held
from visiona.ops.copies import NOTE, listed_objects, read_note
from visiona.ops.log import Log, LogFile, list_logs, read_keys
from visiona.ops.manifest import Manifest, is_segment, number_of, timeline_of
from visiona.ops.repository import OBJECTS, SETS, Repository, manifest_name
from visiona.ops.shipping import KEY_AGE

# Pruning comes every hour, and a key is at most an hour older than what it sealed.
MARGIN = timedelta(hours=2)
# An object is written before its row, by at most this: what is older and has none is deleted.
STAGED_FOR = timedelta(hours=1)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pruned:
    """How much was deleted."""

    sets: int
    log_files: int
    objects: int


async def prune(repository: Repository, url: str, days: int, clock: Clock) -> Pruned:
    """Delete sets that are too old, and the log and the objects that no other set needs.

    Raises `AlreadyRunningError` while a set is made, and `Damaged` where a set that is kept does not say
    what it needs; those that are too old are gone by then.
    """
    async with held(url, BACKUP_LOCK), held(url, SHIPPING_LOCK, wait=True):
        return await _prune(repository, days, clock.now())


async def _prune(repository: Repository, days: int, now: datetime) -> Pruned:
    oldest = now - timedelta(days=days) + MARGIN
    ids = await repository.set_ids()
    doomed = [set_id for set_id in ids if begun_at(set_id) < oldest]
    await _delete_sets(repository, doomed)
    kept = [await repository.read_set(set_id) for set_id in ids if set_id not in set(doomed)]
    manifests = [manifest for manifest, _ in kept]
    files = 0
    for log in (await list_logs(repository)).values():
        files += await _prune_log(repository, log, manifests, now)
    if not doomed and not files:
        return Pruned(0, 0, 0)
    needed: set[str] = set()
    for manifest, cipher in kept:
        async for copy in listed_objects(repository, manifest, cipher):
            needed.add(copy.sha256)
    for log in (await list_logs(repository)).values():
        ciphers = await read_keys(repository, log)
        for note in log.notes:
            needed |= {copy.sha256 for copy in await read_note(repository, note.path, ciphers[note.key])}
    names = await repository.store.list_keys(OBJECTS)
    objects = await repository.delete(name for name in names if name.rpartition("/")[2] not in needed)
    pruned = Pruned(len(doomed), files, objects)
    logger.info("pruned %s", pruned)
    return pruned


def begun_at(set_id: str) -> datetime:
    """When the set was begun, by its name: a set that cannot be read grows old, too."""
    return datetime.strptime(set_id.partition("z-")[0], "%Y%m%dt%H%M%S").replace(tzinfo=UTC)


async def _delete_sets(repository: Repository, ids: Sequence[str]) -> None:
    """The manifest first: what is left without one is no set, and is swept."""
    await repository.delete(manifest_name(set_id) for set_id in ids)
    for set_id in ids:
        await repository.delete(await repository.store.list_keys(f"{SETS}/{set_id}"))


async def _prune_log(repository: Repository, log: Log, kept: Iterable[Manifest], now: datetime) -> int:
    ranges = [(m.started_at, m.log) for m in kept if m.log is not None and m.log.system == log.system]
    if not ranges:
        stale = [file.path for file in [*log.files, *log.notes]]
        heads = log.heads
    else:
        begun = min(started_at for started_at, _ in ranges) - STAGED_FOR
        first = min(number_of(needed.first) for _, needed in ranges)
        timeline = min(timeline_of(needed.first) for _, needed in ranges)
        stale = [file.path for file in log.files if not _needed(file, first, timeline)]
        stale += [note.path for note in log.notes if _noted_at(note) < begun]
        heads = set[str]()
    deleted = await repository.delete(stale)
    left = {file.key for file in [*log.files, *log.notes] if file.path not in set(stale)}
    unused = [key for key in log.keys if key not in left and _made_at(key) < now - 2 * KEY_AGE]
    await repository.delete(log.head_path(key) for key in {*unused, *heads} & log.heads)
    return deleted + await repository.delete(log.key_path(key) for key in unused)


def _needed(file: LogFile, first: int, timeline: int) -> bool:
    """A set brings the histories of its own timeline and of those before."""
    if file.name.endswith(".history"):
        return timeline_of(file.name) > timeline
    return number_of(file.name) >= first if is_segment(file.name[:24]) else False


def _noted_at(note: LogFile) -> datetime:
    return datetime.strptime(note.name.removeprefix(NOTE), "%Y%m%dt%H%M%S%f").replace(tzinfo=UTC)


def _made_at(key: str) -> datetime:
    return datetime.strptime(key.partition("-")[0], "%Y%m%dt%H%M%S").replace(tzinfo=UTC)
