"""Which set to restore, and how far the log is replayed after it: shown before it is done."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from visiona.db.embedded import Target
from visiona.ops.log import HISTORY, Log, LogFile, list_logs, read_heads, read_histories, read_keys
from visiona.ops.manifest import LogHead, LogRange, Manifest, is_segment, number_of, timeline_of
from visiona.ops.recovery import Chosen
from visiona.ops.repository import Damaged, Repository
from visiona.ops.shipping import newest_by_name
from visiona.ops.timelines import timelines_of
from visiona.vault.model import Cipher


class NothingToRestore(Exception):
    """No backup fits; the message says what there is."""


@dataclass(frozen=True, slots=True)
class Choice:
    """`until` is the moment that the database will be of; `later` are sets after it, the oldest first.

    `heads` name files of the log that were shipped, and are needed to get there.
    """

    chosen: Chosen
    log: Log | None
    until: datetime
    later: Sequence[str]
    heads: Sequence[LogHead] = ()

    @property
    def manifest(self) -> Manifest:
        return self.chosen.manifest


async def choose(repository: Repository, *, set_id: str | None = None, at: datetime | None = None) -> Choice:
    """A set as it is, the last moment before `at`, or else the last that there is.

    The last is the end of the timeline that was written last, and a moment is of the timeline that was
    written then: the newest set may be of one that a restore has left. Raises `NothingToRestore` or
    `Damaged`.
    """
    ids = await repository.set_ids()
    if not ids:
        raise NothingToRestore("There is no backup at this place.")
    if set_id is not None:
        if set_id not in ids:
            raise NothingToRestore(
                f"There is no backup {set_id}. `visiona backup list` shows which there are."
            )
        return await _exactly(repository, ids, *await repository.read_set(set_id))
    for candidate in reversed(ids):
        manifest, cipher = await repository.read_set(candidate)
        if at is None or manifest.moment <= at:
            if manifest.log is None:
                return _alone(ids, manifest, cipher)
            return await _with_log(repository, ids, candidate, manifest.log, at)
    raise NothingToRestore("All backups are of after that time. `visiona backup list` shows which there are.")


def _alone(ids: Sequence[str], manifest: Manifest, cipher: Cipher) -> Choice:
    chosen = Chosen(manifest, cipher, [], {}, Target())
    return Choice(chosen, None, manifest.moment, _later(ids, manifest))


async def _exactly(repository: Repository, ids: Sequence[str], manifest: Manifest, cipher: Cipher) -> Choice:
    if manifest.log is None:
        return _alone(ids, manifest, cipher)
    log = (await list_logs(repository)).get(manifest.log.system, Log(manifest.log.system))
    ciphers = await read_keys(repository, log)
    kept = [file for file in newest_by_name(log.files).values() if _of_set(file, manifest.log)]
    timeline = timeline_of(manifest.log.last)
    target = Target(name=manifest.id, timeline=timeline)
    chosen = Chosen(manifest, cipher, kept, ciphers, target, timelines_of(log, {}).after(timeline))
    return Choice(chosen, log, manifest.moment, _later(ids, manifest))


async def _with_log(
    repository: Repository, ids: Sequence[str], newest: str, known: LogRange, at: datetime | None
) -> Choice:
    """The newest set that leads to the moment, of those up to `newest`, and the log from there."""
    log = (await list_logs(repository)).get(known.system, Log(known.system))
    ciphers = await read_keys(repository, log)
    heads = await read_heads(repository, log, ciphers)
    timelines = timelines_of(log, await read_histories(repository, log, ciphers))
    written = timelines.latest() if at is None else timelines.at(at)
    timeline = max(written, timeline_of(known.last))
    for candidate in reversed(ids[: ids.index(newest) + 1]):
        manifest, cipher = await repository.read_set(candidate)
        needed = manifest.log
        if needed is None or needed.system != known.system or (at is not None and manifest.moment > at):
            continue
        if timelines.leads_to(timeline, needed):
            break
    else:
        raise Damaged(
            f"no backup leads to timeline {timeline} of the log, or its history is missing: choose one of "
            "`visiona backup list` with --set, or a time before the last restore with --at"
        )
    ends = [head for head in heads if timeline_of(head.last) == timeline]
    end = max([manifest.moment, *(head.until for head in ends)])
    if at is not None and at > end and timeline >= timelines.latest():
        raise NothingToRestore(f"The backup reaches until {end:%Y-%m-%d %H:%M:%S} UTC, and not to that time.")
    enough = [number_of(head.last) for head in ends if at is not None and head.until >= at]
    last = min(enough, default=None)
    kept = [
        file
        for file in newest_by_name(log.files).values()
        if timelines.on_the_way(timeline, file) and _is_between(file, number_of(needed.first), last)
    ]
    target = Target(time=None if at is None else _as_server_reads(at), timeline=timeline)
    chosen = Chosen(manifest, cipher, kept, ciphers, target, timelines.after(timeline))
    shipped = [head for head in ends if last is None or number_of(head.last) <= last]
    return Choice(chosen, log, end if at is None else min(at, end), _later(ids, manifest), shipped)


def _later(ids: Sequence[str], manifest: Manifest) -> Sequence[str]:
    return ids[ids.index(manifest.id) + 1 :]


def _is_between(file: LogFile, first: int, last: int | None) -> bool:
    if file.name.endswith(HISTORY):
        return True
    if not is_segment(file.name):
        return False
    return first <= number_of(file.name) and (last is None or number_of(file.name) <= last)


def _as_server_reads(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f+00")


def _of_set(file: LogFile, needed: LogRange) -> bool:
    if not is_segment(file.name) or timeline_of(file.name) != timeline_of(needed.last):
        return False
    return number_of(needed.first) <= number_of(file.name) <= number_of(needed.last)
