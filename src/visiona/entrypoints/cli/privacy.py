"""`visiona privacy`: erasures, by the operator, and their receipts."""

import json
from pathlib import Path
from typing import Annotated

import typer

commands = typer.Typer(help="Erase people, and verify receipts of that.", no_args_is_help=True)

# Everything below loads what it needs when it runs: `visiona --help` must not load a web server.
# ruff: noqa: PLC0415


def register(app: typer.Typer) -> None:
    """Add the commands of erasures to `app`."""
    commands.command("list")(list_)
    commands.command("erase")(erase)
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


def verify_receipt(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="As it was downloaded.")],
) -> None:
    """Show what a receipt says, if this Visiona has signed it."""
    from visiona.entrypoints.cli.administration import read_receipt

    typer.echo(json.dumps(dict(read_receipt(file.read_bytes())), indent=2))
