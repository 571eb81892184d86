"""Which set to restore, and how far the log is replayed after it: shown before it is done."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from visiona.db.embedded import Target
from visiona.ops.log import Log, LogFile, list_logs, read_heads, read_keys
from visiona.ops.manifest import Manifest, is_segment, number_of, timeline_of
from visiona.ops.recovery import Chosen
from visiona.ops.repository import Repository
from visiona.ops.shipping import newest_by_name
from visiona.vault.model import Cipher


class NothingToRestore(Exception):
    """No backup fits; the message says what there is."""


@dataclass(frozen=True, slots=True)
class Choice:
    """`until` is the moment that the database will be of; `later` are sets after it, the oldest first."""

    chosen: Chosen
    log: Log | None
    until: datetime
    later: Sequence[str]

    @property
    def manifest(self) -> Manifest:
        return self.chosen.manifest


async def choose(repository: Repository, *, set_id: str | None = None, at: datetime | None = None) -> Choice:
    """A set as it is, the last moment before `at`, or else the last that there is.

    Raises `NothingToRestore` or `Damaged`.
    """
    ids = await repository.set_ids()
    if not ids:
        raise NothingToRestore("There is no backup at this place.")
    if set_id is not None:
        if set_id not in ids:
            raise NothingToRestore(
                f"There is no backup {set_id}. `visiona backup list` shows which there are."
            )
        manifest, cipher = await repository.read_set(set_id)
        return await _choice(repository, manifest, cipher, ids, exact=True)
    for candidate in reversed(ids):
        manifest, cipher = await repository.read_set(candidate)
        if at is None or manifest.moment <= at:
            return await _choice(repository, manifest, cipher, ids, at=at)
    raise NothingToRestore("All backups are of after that time. `visiona backup list` shows which there are.")


async def _choice(
    repository: Repository,
    manifest: Manifest,
    cipher: Cipher,
    ids: Sequence[str],
    *,
    exact: bool = False,
    at: datetime | None = None,
) -> Choice:
    later = ids[ids.index(manifest.id) + 1 :]
    if manifest.log is None:
        return Choice(Chosen(manifest, cipher, [], {}, Target()), None, manifest.moment, later)
    log = (await list_logs(repository)).get(manifest.log.system, Log(manifest.log.system))
    ciphers = await read_keys(repository, log)
    files = newest_by_name(log.files)
    if exact:
        kept = [file for file in files.values() if _of_set(file, manifest)]
        target = Target(name=manifest.id, timeline="current")
        return Choice(Chosen(manifest, cipher, kept, ciphers, target), log, manifest.moment, later)
    ends = [head.until for head in await read_heads(repository, log, ciphers)]
    end = max([manifest.moment, *ends])
    if at is not None and at > end:
        raise NothingToRestore(f"The backup reaches until {end:%Y-%m-%d %H:%M:%S} UTC, and not to that time.")
    first = number_of(manifest.log.first)
    kept = [
        file for file in files.values() if not is_segment(file.name[:24]) or number_of(file.name) >= first
    ]
    target = Target(time=None if at is None else at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f+00"))
    return Choice(Chosen(manifest, cipher, kept, ciphers, target), log, at or end, later)


def _of_set(file: LogFile, manifest: Manifest) -> bool:
    if manifest.log is None or not is_segment(file.name):
        return False
    first, last = number_of(manifest.log.first), number_of(manifest.log.last)
    timeline = timeline_of(manifest.log.last)
    return timeline_of(file.name) == timeline and first <= number_of(file.name) <= last
