"""`visiona backup` and `visiona restore`."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from visiona.entrypoints.cli.errors import CommandFailed
from visiona.settings import Settings, SettingsError, read_settings

if TYPE_CHECKING:
    from visiona.ops.backups import Backups
    from visiona.ops.restoring import Plan, Restored

T = TypeVar("T")

commands = typer.Typer(help="Make, check and rehearse backups.", no_args_is_help=True)

From = Annotated[
    str | None, typer.Option("--from", metavar="URL", help="Where the backups are; else VISIONA_BACKUP_URL.")
]

# Everything below loads what it needs when it runs: `visiona --help` must not load a web server.
# ruff: noqa: PLC0415


def register(app: typer.Typer) -> None:
    """Add the commands of backups to `app`."""
    commands.command("create")(create)
    commands.command("list")(list_)
    commands.command("verify")(verify)
    commands.command("rehearse")(rehearse)
    commands.command("prune")(prune)
    app.add_typer(commands, name="backup", rich_help_panel="Operating a server")
    app.command("restore", rich_help_panel="Operating a server")(restore)


def create() -> None:
    """Make a backup now, while Visiona runs or not, and delete those that are too old."""
    manifest = _with_backups(lambda backups: backups.create(wait=True))
    typer.echo(
        f"Backup {manifest.id} is complete: {sum(manifest.counts.values())} rows, "
        f"{_counted(manifest.object_count, 'object')}, {_bytes(manifest.size)}."
    )
    if manifest.missing:
        typer.echo(
            f"{_counted(len(manifest.missing), 'object')} that rows name were not in the store.", err=True
        )


def list_(source: From = None) -> None:
    """Show the backups that there are, and until when the last one reaches."""
    from visiona.bootstrap import open_repository
    from visiona.ops.backups import look_at

    standing = _run(look_at(open_repository(_settings(source))))
    for manifest in standing.sets:
        typer.echo(
            f"{manifest.id}\t{manifest.moment:%Y-%m-%d %H:%M:%S}\t{manifest.mode}\t{_bytes(manifest.size)}\t"
            f"{sum(manifest.counts.values())} rows\t{_counted(manifest.object_count, 'object')}"
        )
    for trouble in standing.unreadable:
        typer.echo(f"FAIL  {trouble}", err=True)
    if standing.reaches is not None:
        typer.echo(f"Everything until {standing.reaches:%Y-%m-%d %H:%M:%S} UTC can be restored.")
    elif not standing.unreadable:
        typer.echo("There is no backup.")
    raise typer.Exit(1 if standing.unreadable else 0)


def verify(source: From = None) -> None:
    """Read every byte of every backup; end with 1 where anything is damaged or missing."""
    from visiona.bootstrap import open_repository
    from visiona.ops.verification import Verifier

    verdict = _run(Verifier(open_repository(_settings(source)), _tell).everything())
    for damage in verdict.damage:
        typer.echo(f"FAIL  {damage}")
    if verdict.leftovers:
        typer.echo(
            f"NOTE  {_counted(verdict.leftovers, 'file')} of a backup that was interrupted, or is made now"
        )
    typer.echo(
        f"{_counted(len(verdict.sets), 'backup')}, {_counted(verdict.objects, 'object')} and "
        f"{_counted(verdict.log_files, 'file')} of the log are whole."
    )
    raise typer.Exit(0 if verdict.ok else 1)


def rehearse() -> None:
    """Restore the newest backup into a server of its own, look whether all is there, and forget it."""
    result = _with_backups(lambda backups: backups.rehearse(_tell))
    for fault in result.faults:
        typer.echo(f"FAIL  {fault}")
    typer.echo(
        f"Backup {result.set_id}: {result.rows} rows, {_counted(result.objects, 'object')}, "
        f"{result.seconds:.0f} s; {'it can be restored' if result.ok else 'IT IS NOT WHOLE'}."
    )
    raise typer.Exit(0 if result.ok else 1)


def prune() -> None:
    """Delete backups that are too old, and what no other backup needs. The worker does it every hour."""
    pruned = _with_backups(lambda backups: backups.prune())
    typer.echo(
        f"Deleted {_counted(pruned.sets, 'backup')}, {_counted(pruned.log_files, 'file')} of the log and "
        f"{_counted(pruned.objects, 'object')}."
    )


def restore(
    source: From = None,
    set_id: Annotated[str | None, typer.Option("--set", metavar="ID", help="This backup, as it is.")] = None,
    at: Annotated[
        str | None, typer.Option("--at", metavar="TIME", help="As it was then: 2026-11-23T12:00:00Z.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Bring back the database and all objects: as late as possible, or as they were at a time or in a backup.

    First it is shown what that means, and every byte that is needed is read and checked. The data folder that
    is there is moved aside, never deleted.
    """
    if set_id is not None and at is not None:
        raise typer.BadParameter("choose one of --set and --at")
    settings = _settings(source)
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    restored = _run(_restore(settings, set_id, _time(at), yes=yes))
    typer.echo(f"Restored, with {_counted(restored.objects, 'object')} brought back.")
    if restored.erased:
        typer.echo(
            f"{_counted(len(restored.erased), 'person', 'people')} erased since then were erased again."
        )
    for key in restored.lost[:20]:
        typer.echo(f"NOTE  {key} is in no backup", err=True)
    for warning in restored.warnings:
        typer.echo(f"NOTE  {warning}", err=True)
    if restored.aside is not None:
        typer.echo(f"What was there before is in {restored.aside}; delete it when you do not need it.")
    typer.echo("Start Visiona as always.")


async def _restore(settings: Settings, set_id: str | None, at: datetime | None, *, yes: bool) -> "Restored":
    from visiona.bootstrap import finish_restore, open_repository, restore_place, role_secrets
    from visiona.core.clock import SystemClock
    from visiona.entrypoints.cli.supervisor import MASTER_KEY, held_alone
    from visiona.ops.choosing import choose
    from visiona.ops.restoring import Restorer, plan

    data_dir = settings.data_dir.resolve()
    # Where things are is settled now: it must not move with the folder.
    settings = replace(
        settings,
        backup_url=settings.backups_url,
        keys_mirror_url=settings.keys_mirror,
        anchors_url=settings.anchor_store_url,
    )

    async def finish(folder: Path, url: str) -> list[str]:
        kept = folder / "secret.key"
        secret = settings.secret_key or (kept.read_text(encoding="ascii").strip() if kept.exists() else "")
        there = replace(settings, data_dir=folder, database_url=url, secret_key=secret)
        return await finish_restore(there)

    repository = open_repository(settings)
    with held_alone(settings):
        choice = await choose(repository, set_id=set_id, at=at)
        what = await plan(choice, restore_place(settings, data_dir), SystemClock())
        _show(what, settings)
        if not yes:
            typer.confirm("Do this?", abort=True)
        restorer = Restorer(
            repository,
            lambda folder: restore_place(settings, folder),
            role_secrets(settings) if settings.database_url else None,
            finish,
            _tell,
        )
        damage = await restorer.check(choice)
        if damage:
            for line in damage:
                typer.echo(f"FAIL  {line}", err=True)
            raise CommandFailed("The backup is damaged; nothing was changed.")
        own = {} if settings.database_url else _master_key_file(settings.master_keys, MASTER_KEY)
        return await restorer.restore(what, data_dir, own)


def _master_key_file(keys: tuple[str, ...], name: str) -> dict[str, bytes]:
    return {name: ",".join(keys).encode()}


def _show(what: "Plan", settings: Settings) -> None:
    manifest = what.choice.manifest
    typer.echo(
        f"Backup      {manifest.id} of {manifest.moment:%Y-%m-%d %H:%M:%S} UTC, release {manifest.release}"
    )
    typer.echo(f"Until       {what.choice.until:%Y-%m-%d %H:%M:%S} UTC")
    rows, objects = sum(manifest.counts.values()), _counted(manifest.object_count, "object")
    log = f", {_counted(what.log_files, 'file')} of the log" if what.log_files else ""
    typer.echo(f"To read     {rows} rows, {objects}, {_bytes(manifest.size)}{log}")
    if what.erased:
        people = _counted(len(what.erased), "person", "people")
        typer.echo(f"Erasures    {people} erased since then will be erased again")
    if settings.database_url is not None:
        typer.echo("Into        the empty database of VISIONA_DATABASE_URL")
    else:
        typer.echo(f"Into        {settings.data_dir.resolve()}")
    if what.moves_aside is not None:
        typer.echo(f"Moved aside {what.moves_aside} gets what is there now")


def _with_backups(use: "Callable[[Backups], Awaitable[T]]") -> T:
    """With the server running, ours or another, as the database's owner."""
    from visiona.bootstrap import open_backups
    from visiona.core.clock import SystemClock
    from visiona.entrypoints.cli.administration import operator_settings

    async def run(settings: Settings) -> T:
        backups = open_backups(settings, SystemClock())
        if backups is None:
            raise SettingsError("VISIONA_BACKUP_URL is missing: where backups are kept.")
        return await use(backups)

    with operator_settings() as settings:
        return _run(run(settings))


def _run(work: Coroutine[Any, Any, T]) -> T:
    from visiona.db.backups import AlreadyRunningError, DatabaseBusyError, NotEmptyError, UnfitRoleError
    from visiona.db.embedded import EmbeddedServerError
    from visiona.ops.choosing import NothingToRestore
    from visiona.ops.creation import BackupFailed
    from visiona.ops.recovery import RecoveryFailed
    from visiona.ops.repository import Damaged
    from visiona.ops.restoring import RestoreRefused
    from visiona.ports.errors import ProviderError

    told = (
        *(AlreadyRunningError, DatabaseBusyError, NotEmptyError, UnfitRoleError, EmbeddedServerError),
        *(NothingToRestore, BackupFailed, RecoveryFailed, Damaged, RestoreRefused, ProviderError, OSError),
    )
    try:
        return asyncio.run(work)
    except told as error:
        raise CommandFailed(str(error)) from error


def _settings(source: str | None) -> Settings:
    """Without a server: with the master key of `visiona up`, where none is given and it is still there."""
    from visiona.entrypoints.cli.supervisor import MASTER_KEY, kept_master_keys

    settings = read_settings()
    settings = replace(settings, backup_url=source or settings.backups_url)
    if settings.master_keys:
        return settings
    if settings.production or not (settings.data_dir / MASTER_KEY).exists():
        raise SettingsError(
            "VISIONA_MASTER_KEYS is missing: the key that `visiona vault recovery-key` showed. "
            "Without it no backup can be read."
        )
    return replace(settings, master_keys=kept_master_keys(settings))


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("give a time like 2026-11-23T12:00:00Z", param_hint="--at") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _tell(what: str) -> None:
    typer.echo(f"… {what}", err=True)


def _counted(count: int, one: str, many: str | None = None) -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"


def _bytes(size: int) -> str:
    value = float(size)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"
