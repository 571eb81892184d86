"""Restoring the newest set where nobody sees it, and looking whether everything is there and guarded."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from visiona.core.scratch import scratch_folder
from visiona.db.backups import (
    Connection,
    audit_head,
    connect,
    count_rows,
    index_faults,
    named_objects,
    policy_faults,
)
from visiona.db.embedded import EmbeddedServerError, embedded_server
from visiona.db.migrate import provision
from visiona.db.roles import RoleSecrets
from visiona.ops.choosing import Choice, NothingToRestore, choose
from visiona.ops.copies import Copies
from visiona.ops.manifest import Manifest
from visiona.ops.recovery import RecoveryFailed, check_pages, load_dump, recover_physical
from visiona.ops.repository import Damaged, Repository
from visiona.ops.verification import Tell, Verifier

CheckAudit = Callable[[Connection, datetime], Awaitable[list[str]]]
"""What is wrong with the chain of the audit log, in a database that is of that moment."""


@dataclass(slots=True)
class Rehearsal:
    """`faults` is empty where the newest set can be restored and is whole."""

    set_id: str
    seconds: float = 0.0
    rows: int = 0
    objects: int = 0
    faults: list[str] = field(default_factory=list[str])

    @property
    def ok(self) -> bool:
        return not self.faults


async def rehearse(
    repository: Repository, set_id: str | None, secrets: RoleSecrets, check_audit: CheckAudit, tell: Tell
) -> Rehearsal:
    """Nothing is left of it but the answer. Raises `NothingToRestore` where there is no set."""
    started = time.monotonic()
    if set_id is None:
        raise NothingToRestore("There is no backup to rehearse.")
    result = Rehearsal(set_id)
    try:
        choice = await choose(repository, set_id=set_id)
        verdict = await Verifier(repository, tell).needed(choice.manifest, choice.log, choice.chosen.files)
        result.faults += verdict.damage
        result.objects = choice.manifest.object_count
        if verdict.ok:
            tell("restoring it into a server of its own")
            await _try_out(repository, choice, secrets, check_audit, result)
    except (Damaged, RecoveryFailed, EmbeddedServerError) as fault:
        result.faults.append(str(fault))
    result.seconds = time.monotonic() - started
    return result


async def _try_out(
    repository: Repository, choice: Choice, secrets: RoleSecrets, check_audit: CheckAudit, result: Rehearsal
) -> None:
    with scratch_folder() as folder:
        postgres = folder / "postgres"
        async with (
            _restored(repository, choice, secrets, postgres) as url,
            await connect(url) as connection,
        ):
            result.rows = sum(choice.manifest.counts.values())
            result.faults += await _differences(repository, choice, connection)
            result.faults += await policy_faults(connection)
            result.faults += await index_faults(connection)
            async with connection.transaction():
                result.faults += await check_audit(connection, choice.manifest.moment)


@asynccontextmanager
async def _restored(
    repository: Repository, choice: Choice, secrets: RoleSecrets, postgres: Path
) -> AsyncGenerator[str]:
    """The URL of a server with the set in it, for as long as the block lasts."""
    if choice.manifest.mode == "physical":
        await recover_physical(repository, choice.chosen, postgres)
        await check_pages(postgres)
        with embedded_server(postgres) as url:
            yield url
        return
    with embedded_server(postgres) as url:
        await asyncio.to_thread(provision, url, secrets)
        await load_dump(repository, choice.chosen, url)
        yield url


async def _differences(repository: Repository, choice: Choice, connection: Connection) -> list[str]:
    """Between the set and what came of it."""
    manifest: Manifest = choice.manifest
    counts = await count_rows(connection)
    faults = [
        f"{table} has {counts.get(table)} rows instead of {count}"
        for table, count in manifest.counts.items()
        if counts.get(table) != count
    ]
    head = await audit_head(connection)
    if head != (None if manifest.audit is None else (manifest.audit.seq, manifest.audit.hash)):
        faults.append("the audit log does not end as it did")
    copies = Copies()
    await copies.add_set(repository, manifest, choice.chosen.cipher)
    async with connection.transaction():
        faults += [
            f"{key} is named by a row and is not in the set"
            async for key in named_objects(connection)
            if key not in copies and key not in manifest.missing
        ]
    return faults
