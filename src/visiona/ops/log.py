"""The server's write-ahead log in the backup: which files there are, and whether any is missing."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import msgspec

from visiona.ops.copies import NOTE
from visiona.ops.manifest import (
    LogHead,
    Manifest,
    is_segment,
    number_of,
    position_of,
    segment_name,
    segment_of,
    timeline_of,
)
from visiona.ops.repository import LOG, Damaged, Repository, decompressed
from visiona.vault.model import Cipher

KEY = "key"
HEAD = "head"
HISTORY = ".history"
BEGAN = "# began "


@dataclass(frozen=True, slots=True)
class LogFile:
    """`name` is the server's own, `path` where it lies here, in the folder of the key `key`."""

    name: str
    key: str
    path: str


@dataclass(slots=True)
class Log:
    """All that is here of the log of one server."""

    system: str
    files: list[LogFile] = field(default_factory=list[LogFile])
    notes: list[LogFile] = field(default_factory=list[LogFile])
    keys: set[str] = field(default_factory=set[str])
    heads: set[str] = field(default_factory=set[str])
    others: list[str] = field(default_factory=list[str])

    @property
    def segments(self) -> list[LogFile]:
        return [file for file in self.files if is_segment(file.name)]

    def key_path(self, key: str) -> str:
        return f"{LOG}/{self.system}/{key}/{KEY}"

    def head_path(self, key: str) -> str:
        return f"{LOG}/{self.system}/{key}/{HEAD}"


async def list_logs(repository: Repository) -> dict[str, Log]:
    """By the server's system identifier."""
    logs: dict[str, Log] = {}
    for path in await repository.store.list_keys(LOG):
        _, system, key, name = path.split("/")
        log = logs.setdefault(system, Log(system))
        if name == KEY:
            log.keys.add(key)
        elif name == HEAD:
            log.heads.add(key)
        elif name.startswith(NOTE):
            log.notes.append(LogFile(name, key, path))
        elif is_segment(name.upper()) or name.endswith((HISTORY, ".backup", ".partial")):
            log.files.append(LogFile(own_name(name), key, path))
        else:
            log.others.append(path)
    return logs


def own_name(name: str) -> str:
    """As the server calls it: names here are in lower case."""
    head, dot, rest = name.partition(".")
    return head.upper() + dot + (rest if "." not in rest else rest[:8].upper() + rest[8:])


async def read_keys(repository: Repository, log: Log) -> dict[str, Cipher]:
    """Raises `Damaged`."""
    used = {file.key for file in [*log.files, *log.notes]} | log.heads | log.keys
    return {key: (await repository.read_keyed(log.key_path(key)))[0] for key in sorted(used)}


@dataclass(frozen=True, slots=True)
class History:
    """Of a timeline that began by a restore: `branches` as `branches_in` tells them, and when it `began`,
    where that is known.
    """

    branches: list[tuple[int, int, str]]
    began: datetime | None = None


async def read_histories(repository: Repository, log: Log, ciphers: dict[str, Cipher]) -> dict[int, History]:
    """By timeline. Raises `Damaged`."""
    histories: dict[int, History] = {}
    for file in log.files:
        if file.name.endswith(HISTORY):
            data = decompressed(await repository.read(file.path, ciphers[file.key])).decode(errors="replace")
            timeline = timeline_of(file.name)
            histories[timeline] = History(branches_in(data, timeline), began_in(data))
    return histories


async def read_heads(repository: Repository, log: Log, ciphers: dict[str, Cipher]) -> list[LogHead]:
    """The last file that is known to have been shipped under each key, in their order. Raises `Damaged`."""
    heads: list[LogHead] = []
    for key in sorted(log.heads):
        data = decompressed(await repository.read(log.head_path(key), ciphers[key]))
        heads.append(msgspec.json.decode(data, type=LogHead))
    return heads


def gaps(
    names: Iterable[str],
    branches: Sequence[tuple[int, int, str]],
    needed: Sequence[Manifest],
    heads: Sequence[LogHead],
) -> list[str]:
    """Files that are missing between the first that a set needs and the last that was shipped.

    `branches` are the timelines that began by a restore: their number, the one they left, and where.
    """
    by_timeline: dict[int, set[int]] = defaultdict(set)
    for name in names:
        by_timeline[timeline_of(name)].add(number_of(name))
    missing: set[str] = set()
    logs = [manifest.log for manifest in needed if manifest.log is not None]
    first = min((number_of(log.first) for log in logs), default=None)
    if first is None:
        return []
    for log in logs:
        missing |= _lacking(by_timeline, timeline_of(log.first), number_of(log.first), number_of(log.last))
    for head in heads:
        if number_of(head.last) >= first:
            missing |= _lacking(
                by_timeline, timeline_of(head.last), number_of(head.last), number_of(head.last)
            )
    for timeline, parent, lsn in branches:
        start = number_of(segment_of(timeline, lsn))
        if start >= first:
            missing |= _lacking(by_timeline, timeline, start, max(by_timeline[timeline], default=start))
            since = min((n for n in by_timeline[parent] if n >= first), default=start)
            missing |= _lacking(by_timeline, parent, since, start - 1)
    for timeline, numbers in by_timeline.items():
        kept = [number for number in numbers if number >= first]
        if kept:
            missing |= _lacking(by_timeline, timeline, min(kept), max(kept))
    return sorted(missing)


def _lacking(present: dict[int, set[int]], timeline: int, first: int, last: int) -> set[str]:
    return {
        segment_name(timeline, number)
        for number in range(first, last + 1)
        if number not in present.get(timeline, set())
    }


def branches_in(history: str, timeline: int) -> list[tuple[int, int, str]]:
    """What a history file says of where its timeline began, and those before it. Raises `Damaged`."""
    lines = [line.split() for line in history.splitlines() if line.strip() and not line.startswith("#")]
    try:
        left = [(int(parent), lsn) for parent, lsn, *_ in lines]
        for _, lsn in left:
            position_of(lsn)
    except ValueError:
        left = []
    if not left:
        raise Damaged(f"the history of timeline {timeline} cannot be read")
    followers = [*(parent for parent, _ in left[1:]), timeline]
    return [(follower, parent, lsn) for follower, (parent, lsn) in zip(followers, left, strict=True)]


def began_line(began: datetime) -> str:
    """What is added to a history: a line that the server skips, and `began_in` reads."""
    return f"{BEGAN}{began.isoformat()}\n"


def began_in(history: str) -> datetime | None:
    """When its timeline began; the last line that tells one is its own. Raises `Damaged`."""
    said = [line.removeprefix(BEGAN) for line in history.splitlines() if line.startswith(BEGAN)]
    try:
        return datetime.fromisoformat(said[-1]) if said else None
    except ValueError:
        raise Damaged("a history of the log tells no time where it should") from None


def made_at(key: str) -> datetime:
    """When a key of the log was made, by the name of its folder."""
    return datetime.strptime(key.partition("-")[0], "%Y%m%dt%H%M%S").replace(tzinfo=UTC)
