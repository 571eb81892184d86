"""Backups as the worker and the operator use them. What became of each is kept in the database."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from visiona.core.clock import Clock
from visiona.db.backups import AlreadyRunningError, Run, connect, last_runs, record_run
from visiona.db.roles import RoleSecrets
from visiona.ops.choosing import NothingToRestore, choose
from visiona.ops.creation import Creator, Source
from visiona.ops.manifest import Manifest
from visiona.ops.rehearsal import CheckAudit, Rehearsal, rehearse
from visiona.ops.repository import Damaged, Repository
from visiona.ops.retention import Pruned, begun_at, clear_aside, is_misdated, newest, prune
from visiona.ops.shipping import Shipper
from visiona.ops.verification import Tell, Verdict, Verifier

EVERY = timedelta(days=1)
REHEARSED_EVERY = timedelta(days=7)
AGAIN_AFTER = timedelta(minutes=30)
"""How long it takes until what failed is tried again."""
LATE = timedelta(hours=2)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Standing:
    """What there is to restore from. `reaches` is the last moment that can be restored."""

    sets: Sequence[Manifest]
    unreadable: Sequence[str]
    reaches: datetime | None


class Backups:
    def __init__(
        self,
        repository: Repository,
        source: Source,
        days: int,
        secrets: RoleSecrets,
        check_audit: CheckAudit,
        clock: Clock,
    ) -> None:
        self._repository = repository
        self._url = source.url
        self._data_dir = source.data_dir.resolve()
        self._days = days
        self._secrets = secrets
        self._check_audit = check_audit
        self._clock = clock
        self._shipper = Shipper(repository, source.objects, source.url, source.postgres, clock)
        self._creator = Creator(repository, source, self._shipper, clock)

    async def create(self, *, wait: bool = False) -> Manifest:
        """Make a set now, and delete what is too old. Raises what kept it from being made: another process
        that makes one as well, unless it is to `wait` for that.
        """
        started_at = self._clock.now()
        try:
            manifest = await self._creator.create(wait=wait)
        except AlreadyRunningError:
            raise
        except Exception as failure:
            await self._record("create", "", started_at, ok=False, report={"failure": str(failure)})
            raise
        report = {"bytes": manifest.size, "objects": manifest.object_count, "missing": len(manifest.missing)}
        await self._record("create", manifest.id, started_at, ok=True, report=report)
        await self.prune()
        return manifest

    async def create_if_due(self) -> None:
        """A day after the last, or at once where there is none that the server continues; half an hour after
        a failure.
        """
        now = self._clock.now()
        last = newest(await self._repository.set_ids(), now)
        recent = None if last is None or now - begun_at(last) >= EVERY else last
        if recent is not None and await self._creator.leads_on(recent):
            return
        if await self._failed_lately("create", now):
            return
        try:
            await self.create()
        except AlreadyRunningError:
            return
        except Exception:
            logger.exception("THE BACKUP FAILED; it is tried again in half an hour")

    async def ship(self) -> None:
        """Bring what is new since the last set, so that it can be restored as well."""
        await self._shipper.ship()

    async def prune(self) -> Pruned:
        """Delete what is too old. Where something else is at work, the next turn does it."""
        await asyncio.to_thread(clear_aside, self._data_dir, self._days, self._clock.now())
        try:
            return await prune(self._repository, self._url, self._days, self._clock)
        except AlreadyRunningError:
            return Pruned(0, 0, 0)

    async def verify(self, tell: Tell) -> Verdict:
        """Read everything that there is."""
        return await Verifier(self._repository, tell).everything()

    async def rehearse(self, tell: Tell) -> Rehearsal:
        """Restore the newest set where nobody sees it, and look at it."""
        started_at = self._clock.now()
        set_id = newest(await self._repository.set_ids(), started_at)
        result = await rehearse(self._repository, set_id, self._secrets, self._check_audit, tell)
        await self._record("rehearse", result.set_id, started_at, ok=result.ok, report=asdict(result))
        if result.ok:
            logger.info("backup %s was restored for a rehearsal, and is whole", result.set_id)
        else:
            logger.error("THE REHEARSAL OF BACKUP %s FAILED: %s", result.set_id, "; ".join(result.faults))
        return result

    async def rehearse_if_due(self) -> None:
        """A week after the last rehearsal, or a day after the first set."""
        now = self._clock.now()
        ids = await self._repository.set_ids()
        last = {run.kind: run for run in await self.last_runs()}.get("rehearse")
        due_since = begun_at(ids[0]) + EVERY if ids and last is None else None
        if last is not None:
            due_since = last.finished_at + (REHEARSED_EVERY if last.ok else EVERY)
        if ids and due_since is not None and now >= due_since:
            await self.rehearse(logger.info)

    async def trouble(self) -> str | None:
        """What an operator should look at; None where there is a backup of the last day and all went well."""
        now = self._clock.now()
        ids = await self._repository.set_ids()
        last = newest(ids, now)
        if last is None:
            return "there is none; the worker makes one within minutes, or `visiona backup create`"
        for run in await self.last_runs():
            if not run.ok:
                why = run.report.get("failure") or "; ".join(run.report.get("faults", []))
                what = "was not made" if run.kind == "create" else "failed its rehearsal"
                return f"the backup of {run.finished_at:%Y-%m-%d %H:%M} UTC {what}: {why}"
        begun = begun_at(last)
        if now - begun > EVERY + LATE:
            return f"the last one is of {begun:%Y-%m-%d %H:%M} UTC: does a worker run?"
        if is_misdated(ids[-1], now):
            return f"one is of {begun_at(ids[-1]):%Y-%m-%d %H:%M} UTC: is this machine's clock right?"
        return None

    async def last_runs(self) -> Sequence[Run]:
        """The newest attempt of each kind."""
        async with await connect(self._url) as connection:
            return await last_runs(connection)

    async def _failed_lately(self, kind: str, now: datetime) -> bool:
        last = {run.kind: run for run in await self.last_runs()}.get(kind)
        return last is not None and not last.ok and now - last.finished_at < AGAIN_AFTER

    async def _record(
        self, kind: str, set_id: str, started_at: datetime, *, ok: bool, report: Mapping[str, Any]
    ) -> None:
        try:
            async with await connect(self._url) as connection:
                await record_run(connection, kind, set_id, started_at, ok=ok, report=report)
        except Exception:  # what it came to matters more, and may be why
            logger.exception("it could not be put on record that a backup's %s was %s", kind, report)


async def look_at(repository: Repository) -> Standing:
    """What there is; reads manifests and the heads of logs only."""
    sets: list[Manifest] = []
    unreadable: list[str] = []
    for set_id in await repository.set_ids():
        try:
            sets.append((await repository.read_set(set_id))[0])
        except Damaged as damage:
            unreadable.append(str(damage))
    try:
        reaches = (await choose(repository)).until
    except (Damaged, NothingToRestore) as damage:
        reaches = None
        if sets and str(damage) not in unreadable:
            unreadable.append(str(damage))
    return Standing(sets, unreadable, reaches)
