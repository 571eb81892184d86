"""Reading backups through: every byte is read, opened and hashed, and what should be there is."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field

from visiona.ops.copies import listed_objects, read_note
from visiona.ops.log import Log, LogFile, branches_in, gaps, list_logs, read_heads, read_keys
from visiona.ops.manifest import LogHead, Manifest, timeline_of
from visiona.ops.repository import OBJECTS, SETS, Damaged, Repository, decompressed, manifest_name
from visiona.vault.model import Cipher

Tell = Callable[[str], None]


@dataclass(slots=True)
class Verdict:
    """`damage` says what is wrong: with any of it, nothing is restored. `leftovers` are of no set."""

    sets: list[Manifest] = field(default_factory=list[Manifest])
    damage: list[str] = field(default_factory=list[str])
    leftovers: int = 0
    log_files: int = 0
    objects: int = 0

    @property
    def ok(self) -> bool:
        return not self.damage


class Verifier:
    """One reading. Copies of objects are read once, however many sets they are in."""

    def __init__(self, repository: Repository, tell: Tell) -> None:
        self._repository = repository
        self._tell = tell
        self._verdict = Verdict()
        self._sizes: dict[str, int | None] = {}

    async def everything(self) -> Verdict:
        """All that is at the backup location."""
        names = await self._repository.store.list_keys(SETS)
        ids = await self._repository.set_ids()
        self._verdict.leftovers = sum(name.split("/")[1] not in set(ids) for name in names)
        for set_id in ids:
            self._tell(f"set {set_id}")
            await self._noting(self._set(set_id, names))
        logs = await list_logs(self._repository)
        for log in logs.values():
            self._tell(f"log of server {log.system}: {len(log.segments)} files")
            await self._noting(self._log(log, self._verdict.sets))
        self._tell("objects")
        for name in await self._repository.store.list_keys(OBJECTS):
            await self._copy(name.rpartition("/")[2])
        self._verdict.objects = sum(size is not None for size in self._sizes.values())
        return self._verdict

    async def needed(
        self, manifest: Manifest, log: Log | None, files: Sequence[LogFile], heads: Sequence[LogHead] = ()
    ) -> Verdict:
        """One set, these files of the log, and up to what was shipped last according to `heads`."""
        self._tell(f"set {manifest.id}")
        names = await self._repository.store.list_keys(f"{SETS}/{manifest.id}")
        await self._noting(self._set(manifest.id, names))
        if log is not None:
            self._tell(f"log of server {log.system}: {len(files)} files")
            await self._noting(self._log(log, [manifest], files, heads))
        self._verdict.objects = sum(size is not None for size in self._sizes.values())
        return self._verdict

    async def _noting(self, part: Awaitable[None]) -> None:
        try:
            await part
        except Damaged as damage:
            self._verdict.damage.append(str(damage))

    async def _set(self, set_id: str, names: Iterable[str]) -> None:
        manifest, cipher = await self._repository.read_set(set_id)
        if manifest.id != set_id:
            raise Damaged(f"the set {set_id} says that it is {manifest.id}")
        self._verdict.sets.append(manifest)
        folder = f"{SETS}/{set_id}"
        for stream in (manifest.database, manifest.objects):
            async for _ in self._repository.read_stream(folder, stream, cipher):
                pass
        async for copy in listed_objects(self._repository, manifest, cipher):
            size = await self._copy(copy.sha256)
            if size is not None and size != copy.size:
                raise Damaged(f"{copy.key} has another size than the set {set_id} says")
        listed = {manifest_name(set_id)} | {
            f"{folder}/{stream.name}/{number:06d}"
            for stream in (manifest.database, manifest.objects)
            for number in range(len(stream.pieces))
        }
        strangers = [name for name in names if name.startswith(f"{folder}/") and name not in listed]
        if strangers:
            raise Damaged(f"{strangers[0]} does not belong to its set")

    async def _copy(self, digest: str) -> int | None:
        if digest not in self._sizes:
            self._sizes[digest] = None
            try:
                self._sizes[digest] = await self._repository.check_object(digest)
            except Damaged as damage:
                self._verdict.damage.append(str(damage))
        return self._sizes[digest]

    async def _log(
        self,
        log: Log,
        sets: Sequence[Manifest],
        only: Sequence[LogFile] | None = None,
        heads: Sequence[LogHead] = (),
    ) -> None:
        ciphers = await read_keys(self._repository, log)
        if only is None:
            heads = await read_heads(self._repository, log, ciphers)
        files = log.files if only is None else only
        branches = await self._branches(files, ciphers)
        if only is None:
            for note in log.notes:
                for copy in await read_note(self._repository, note.path, ciphers[note.key]):
                    await self._copy(copy.sha256)
        if log.others:
            raise Damaged(f"{log.others[0]} is none of ours")
        self._verdict.log_files += len(files)
        self._missing(log, sets, files, branches, heads)
        if only is None:
            self._severed(log, sets, branches)

    async def _branches(
        self, files: Sequence[LogFile], ciphers: dict[str, Cipher]
    ) -> list[tuple[int, int, str]]:
        """Read every file; answers where timelines began."""
        branches: list[tuple[int, int, str]] = []
        for file in files:
            data = await self._repository.read(file.path, ciphers[file.key])
            if file.name.endswith(".history"):
                said = branches_in(decompressed(data).decode(errors="replace"), timeline_of(file.name))
                branches.append(said[-1])
        return branches

    def _severed(self, log: Log, sets: Sequence[Manifest], branches: Sequence[tuple[int, int, str]]) -> None:
        """Timelines that nothing leads to: neither a set nor a history."""
        known = {timeline for timeline, _, _ in branches}
        known |= {timeline_of(m.log.first) for m in sets if m.log is not None and m.log.system == log.system}
        for timeline in sorted({timeline_of(file.name) for file in log.segments} - known):
            self._verdict.damage.append(f"the history of timeline {timeline} of the log is missing")

    def _missing(
        self,
        log: Log,
        sets: Sequence[Manifest],
        files: Sequence[LogFile],
        branches: Sequence[tuple[int, int, str]],
        heads: Sequence[LogHead],
    ) -> None:
        segments = {file.name for file in files} & {file.name for file in log.segments}
        needed = [m for m in sets if m.log is not None and m.log.system == log.system]
        missing = gaps(segments, branches, needed, heads)
        self._verdict.damage += [f"the file {name} of the log is missing" for name in missing]
