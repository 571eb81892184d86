"""`visiona vault`: the keys that people's data is sealed with. None of these commands needs the database."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import typer

from visiona.core.errors import Unavailable
from visiona.entrypoints.cli.errors import CommandFailed
from visiona.settings import Settings, read_settings

if TYPE_CHECKING:
    from visiona.vault.service import Vault

T = TypeVar("T")

commands = typer.Typer(help="Look after the keys that people's data is sealed with.", no_args_is_help=True)

# Everything below loads what it needs when it runs: `visiona --help` must not load a web server.
# ruff: noqa: PLC0415


def register(app: typer.Typer) -> None:
    """Add the commands of the vault to `app`."""
    commands.command("check")(check)
    commands.command("rotate")(rotate)
    commands.command("sync")(sync)
    commands.command("recovery-key")(recovery_key)
    app.add_typer(commands, name="vault", rich_help_panel="Operating a server")


def check() -> None:
    """Look at every key in both places, and say which master keys wrap them; end with 1 if one is amiss."""
    settings = _settings()

    async def look(vault: "Vault") -> bool:
        await vault.open()
        await vault.check()
        survey = await vault.survey()
        typer.echo("ok    keys can be written, read and unwrapped")
        for name, count in sorted(survey.wrapped_by.items()):
            typer.echo(f"ok    {_counted(count)} wrapped by {name}")
        typer.echo(f"ok    {_counted(len(survey.destroyed))} destroyed")
        if settings.keys_mirror is None:
            typer.echo("NOTE  keys are in one place only, and lost with it: set VISIONA_KEYS_MIRROR_URL")
        for wrong, what in (
            (survey.in_one_place, "in one place only: `visiona vault sync` brings them to the other"),
            (survey.left_over, "left over though destroyed: `visiona vault sync` removes them"),
            (survey.different, "not the same in both places: `visiona vault sync` says whether it matters"),
        ):
            if wrong:
                typer.echo(f"FAIL  {_counted(len(wrong))} {what}")
        return survey.sound

    raise typer.Exit(0 if _with_vault(settings, look) else 1)


def rotate() -> None:
    """Wrap every key by the first of the master keys. It may be stopped and run again, while Visiona runs."""
    from rich.progress import Progress

    from visiona.entrypoints.cli.output import notes

    async def turn(vault: "Vault") -> int:
        with Progress(console=notes, transient=True) as progress:
            task = progress.add_task("Keys", total=None)
            return await vault.rotate(lambda done, total: progress.update(task, completed=done, total=total))

    async def count(vault: "Vault") -> dict[str, int]:
        return dict((await vault.survey()).wrapped_by)

    settings = _settings()
    failed = _with_vault(settings, turn)
    by_master = _with_vault(settings, count)
    newest = _with_vault(settings, _newest)
    left = sum(by_master.values()) - by_master.get(newest, 0)
    typer.echo(f"{_counted(by_master.get(newest, 0))} wrapped by {newest}, {left} by others.")
    if failed or left:
        raise CommandFailed(f"{_counted(failed or left)} could not be wrapped anew; the reasons stand above.")
    if len(settings.master_keys) > 1:
        typer.echo("The other master keys are not needed any more: take them out of VISIONA_MASTER_KEYS.")


def sync() -> None:
    """Bring the key store and its mirror to the same. What was destroyed in one is destroyed in both."""

    async def bring(vault: "Vault") -> int:
        return await vault.sync_mirror()

    typer.echo(f"{_counted(_with_vault(_settings(), bring))} put right.")


def recovery_key() -> None:
    """Show the master key, to be kept outside of this machine. Whoever has it and the key store reads all."""
    local = [text for text in _settings().masters() if "://" not in text]
    if not local:
        raise CommandFailed(
            "The master key is in a key management service, which does not give it out.",
            "Guard it there: forbid its deletion, and keep a second administrator's access to it.",
        )
    typer.echo(
        "Keep what follows where this machine's end does not reach it: on paper, or in a password manager.\n"
        "Without it nothing that people stored here can be read again, from any backup, by anybody.\n"
        "With it and the key store everything can: do not mail it, and do not keep it beside the backups.\n"
        "On a new machine it goes into VISIONA_MASTER_KEYS.\n",
        err=True,
    )
    typer.echo(",".join(local))


async def _newest(vault: "Vault") -> str:
    return vault.master_name


def _counted(keys: int) -> str:
    return "1 key" if keys == 1 else f"{keys} keys"


def _settings() -> Settings:
    """With the master key of `visiona up`, where none is given. None is made: it would fit no key."""
    from visiona.entrypoints.cli.supervisor import MASTER_KEY, kept_master_keys

    settings = read_settings()
    if settings.master_keys:
        return settings
    if settings.production or not (settings.data_dir / MASTER_KEY).exists():
        settings.masters()  # says what is missing
    return replace(settings, master_keys=kept_master_keys(settings))


def _with_vault(settings: Settings, use: "Callable[[Vault], Awaitable[T]]") -> T:
    from visiona.bootstrap import open_vault
    from visiona.core.clock import SystemClock
    from visiona.vault.model import KeyMissing

    async def run() -> T:
        vault = open_vault(settings, SystemClock())
        try:
            return await use(vault)
        finally:
            await vault.aclose()

    try:
        return asyncio.run(run())
    except Unavailable as error:
        raise CommandFailed(f"The keys cannot be had: {error.__cause__ or error.detail}") from error
    except KeyMissing as error:
        raise CommandFailed(
            f"This is not a key store that `visiona migrate` has prepared: {error}."
        ) from error
