"""`visiona privacy`: erasures, by the operator, and their receipts."""

import json
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

commands = typer.Typer(
    help="Erase people, verify receipts of that, and hand out what is kept of somebody.", no_args_is_help=True
)

# Everything below loads what it needs when it runs: `visiona --help` must not load a web server.
# ruff: noqa: PLC0415


def register(app: typer.Typer) -> None:
    """Add the commands of erasures to `app`."""
    commands.command("list")(list_)
    commands.command("erase")(erase)
    commands.command("confirm")(confirm)
    commands.command("receipt")(receipt)
    commands.command("export")(export)
    commands.command("verify-receipt")(verify_receipt)
    app.add_typer(commands, name="privacy", rich_help_panel="Operating a server")


def list_() -> None:
    """Show erasures: receipt, state, when it is due, the steps that are confirmed, and what holds it up."""
    from visiona.entrypoints.cli.administration import list_erasures

    for erasure in list_erasures():
        steps = ",".join(erasure.steps) or "-"
        due = f"{erasure.due_at:%Y-%m-%d %H:%M}"
        typer.echo(f"{erasure.id}\t{erasure.state}\t{due}\t{steps}\t{erasure.trouble or ''}")


def erase(
    email: str,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Have the account with this e-mail address erased now, without grace; the worker does it."""
    from visiona.entrypoints.cli.administration import erase_user

    if not yes:
        typer.confirm(f"Erase {email} for good?", abort=True)
    typer.echo(f"The erasure has begun. Its receipt: {erase_user(email)}")


def confirm(
    code: Annotated[UUID, typer.Argument(help="The receipt's code, as `visiona privacy list` shows it.")],
    step: Annotated[str, typer.Argument(help="What you have seen to: payments, identity or training.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Say that you have deleted yourself what a firm will not confirm; the receipt says that it was you.

    For an account there that is closed, or a key of it that is lost. All else is tried again by itself.
    """
    from visiona.entrypoints.cli.administration import confirm_step

    if not yes:
        typer.confirm(f"Is everything of theirs gone there ({step})?", abort=True)
    confirm_step(code, step)
    typer.echo("It is noted. The worker goes on with the erasure.")


def receipt(
    code: Annotated[
        UUID, typer.Argument(help="As whoever left was told it, and `visiona privacy list` shows.")
    ],
) -> None:
    """Print a receipt whose signature is good, as it is: `visiona privacy receipt CODE > receipt.json`."""
    from visiona.entrypoints.cli.administration import find_receipt

    typer.echo(find_receipt(code), nl=False)


def export(
    email: str,
    to: Annotated[Path, typer.Option("--to", dir_okay=False, help="A ZIP that is not there yet.")],
) -> None:
    """Write everything that is kept of a person to a file, to answer their request on paper or by mail."""
    from visiona.entrypoints.cli.administration import export_user
    from visiona.entrypoints.cli.errors import CommandFailed, local_files

    with local_files(), ends_in_order():
        if to.exists():
            raise CommandFailed(f"{to} is there already.")
        if not to.absolute().parent.is_dir():
            raise CommandFailed(f"{to.parent} is no folder.")
        export_user(email, to, lambda percent: typer.echo(f"{percent} %", err=True))
    typer.echo(f"{to} holds everything that is kept of {email}. Nobody else should read it.")


@contextmanager
def ends_in_order() -> Generator[None]:
    """Whatever would end this process ends it as Ctrl-C does: what is half written is removed."""
    if threading.current_thread() is not threading.main_thread():  # no other is told of signals
        yield
        return
    before = {one: signal.signal(one, signal.default_int_handler) for one in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def verify_receipt(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="As it was downloaded.")],
) -> None:
    """Show what a receipt says, if this Visiona has signed it."""
    from visiona.entrypoints.cli.administration import read_receipt

    typer.echo(json.dumps(dict(read_receipt(file.read_bytes())), indent=2))
