"""What is deleted from the backup, and when: nothing is older than the days that people are told."""

import logging
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from visiona.core.clock import Clock
from visiona.db.backups import BACKUP_LOCK, SHIPPING_LOCK, held
from visiona.ops.copies import NOTE, listed_objects, read_note
from visiona.ops.log import Log, LogFile, list_logs, made_at, read_keys
from visiona.ops.manifest import Manifest, is_segment, number_of, timeline_of
from visiona.ops.repository import OBJECTS, SETS, Repository, manifest_name
from visiona.ops.shipping import KEY_AGE

# Pruning comes every hour, and a key is at most an hour older than what it sealed.
MARGIN = timedelta(hours=2)
# An object is written before its row, by at most this: what is older and has none is deleted.
STAGED_FOR = timedelta(hours=1)
# No file takes longer to be written: what is unfinished for so long is nobody's any more.
UNFINISHED_FOR = timedelta(days=1)
# Clocks are right, more or less.
WRONG_CLOCK = timedelta(hours=1)

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


async def sweep(repository: Repository) -> int:
    """Remove what interrupted backups left; answers how many files that were. Nobody may be making one."""
    complete = set(await repository.set_ids())
    names = await repository.store.list_keys(SETS)
    left = [name for name in names if name.split("/")[1] not in complete]
    if left:
        await repository.delete(left)
        logger.warning("removed %s files of a backup that was interrupted", len(left))
    return len(left) + await repository.store.clear_unfinished(UNFINISHED_FOR)


async def _prune(repository: Repository, days: int, now: datetime) -> Pruned:
    oldest = now - timedelta(days=days) + MARGIN
    swept = await sweep(repository)
    ids = await repository.set_ids()
    doomed = [set_id for set_id in ids if begun_at(set_id) < oldest]
    if doomed:
        doomed += [set_id for set_id in ids if is_misdated(set_id, now)]
    await _delete_sets(repository, doomed)
    kept = [await repository.read_set(set_id) for set_id in ids if set_id not in set(doomed)]
    manifests = [manifest for manifest, _ in kept]
    files = 0
    for log in (await list_logs(repository)).values():
        files += await _prune_log(repository, log, manifests, now, misdated=bool(doomed))
    if not (doomed or files or swept):
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


def is_misdated(set_id: str, now: datetime) -> bool:
    """Whether it is of the future: the clock was wrong then, or is now.

    Such a set is no reason to make no other, and how old it is is not known. It is deleted with the next one
    that has to be for its age: by then it is no older than that, and where it is now that the clock is slow,
    there is none of that age.
    """
    return begun_at(set_id) > now + WRONG_CLOCK


def newest(ids: Sequence[str], now: datetime) -> str | None:
    """The last set, but for those of the future."""
    return next((set_id for set_id in reversed(ids) if not is_misdated(set_id, now)), None)


def clear_aside(data_dir: Path, days: int, now: datetime) -> int:
    """Delete what restores moved aside, or left unfinished, as long ago as a backup is kept; answers how many
    folders that were. Blocking.
    """
    oldest = (now - timedelta(days=days) + MARGIN).timestamp()
    found = [*data_dir.parent.glob(f"{data_dir.name}-before-*"), staging_of(data_dir)]
    doomed = [
        path for path in found if path.is_dir() and not path.is_symlink() and _aside_since(path) < oldest
    ]
    for path in doomed:
        shutil.rmtree(path)
        logger.warning("removed %s, which a restore left", path)
    return len(doomed)


def aside_of(data_dir: Path, moment: datetime) -> Path:
    """Where a restore moves what is there."""
    return data_dir.with_name(f"{data_dir.name}-before-{moment:%Y%m%dt%H%M%S}")


def staging_of(data_dir: Path) -> Path:
    """Where a restore puts together what is to be there."""
    return data_dir.with_name(f"{data_dir.name}-restoring")


def _aside_since(folder: Path) -> float:
    """By its name, or where that says nothing, by when something was last changed in it."""
    try:
        stamp = folder.name.rpartition("-")[2]
        return datetime.strptime(stamp, "%Y%m%dt%H%M%S").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return folder.stat().st_mtime


async def _delete_sets(repository: Repository, ids: Sequence[str]) -> None:
    """The manifest first: what is left without one is no set, and is swept."""
    await repository.delete(manifest_name(set_id) for set_id in ids)
    for set_id in ids:
        await repository.delete(await repository.store.list_keys(f"{SETS}/{set_id}"))


async def _prune_log(
    repository: Repository, log: Log, kept: Iterable[Manifest], now: datetime, *, misdated: bool
) -> int:
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
        if misdated:
            stale += [note.path for note in log.notes if _noted_at(note) > now + WRONG_CLOCK]
        heads = set[str]()
    deleted = await repository.delete(stale)
    left = {file.key for file in [*log.files, *log.notes] if file.path not in set(stale)}
    unused = [key for key in log.keys if key not in left and abs(now - made_at(key)) > 2 * KEY_AGE]
    await repository.delete(log.head_path(key) for key in {*unused, *heads} & log.heads)
    return deleted + await repository.delete(log.key_path(key) for key in unused)


def _needed(file: LogFile, first: int, timeline: int) -> bool:
    """The histories of timelines before those of all sets lead nowhere."""
    if file.name.endswith(".history"):
        return timeline_of(file.name) >= timeline
    return number_of(file.name) >= first if is_segment(file.name[:24]) else False


def _noted_at(note: LogFile) -> datetime:
    return datetime.strptime(note.name.removeprefix(NOTE), "%Y%m%dt%H%M%S%f").replace(tzinfo=UTC)
