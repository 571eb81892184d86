"""The `visiona` command: the person's commands, which speak HTTP to a server, and the operator's."""

import resource
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Annotated

import typer

from visiona.entrypoints.cli import (
    account,
    audit,
    backup,
    consent,
    gallery,
    generate,
    keys,
    models,
    operator,
    photos,
    privacy,
    provenance,
    vault,
)
from visiona.entrypoints.cli.errors import CommandFailed
from visiona.entrypoints.cli.leaving import own_process
from visiona.entrypoints.cli.options import remember_server
from visiona.entrypoints.cli.output import fail
from visiona.entrypoints.cli.servers import DEFAULT_SERVER
from visiona.settings import SettingsError

# As for a wrong option: nothing was done, and another try with the same will end the same.
WRONG_SETTINGS = 2


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # noqa: PLC0415 - slow, and seldom asked for

        typer.echo(f"visiona {version('visiona')}")
        raise typer.Exit


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit with its status: the one that this process was started for; with `arguments`,
    in a process that goes on, that of these.
    """
    with own_process() if arguments is None else nullcontext():
        _run(arguments)


def _run(arguments: Sequence[str] | None) -> None:
    # Keys and pictures are in memory: no crash writes that to a disk, of this process or what it starts.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        build_app()(args=arguments, prog_name="visiona")
    except CommandFailed as failure:
        fail(failure)
        sys.exit(failure.exit_status)
    except SettingsError as error:
        fail(CommandFailed(str(error)))
        sys.exit(WRONG_SETTINGS)


def build_app() -> typer.Typer:
    app = typer.Typer(
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
        # Typer's own tracebacks would print local variables: passwords and tokens are among them.
        pretty_exceptions_enable=False,
    )
    app.callback()(_visiona)
    for commands in (
        account,
        keys,
        consent,
        photos,
        models,
        generate,
        gallery,
        operator,
        audit,
        privacy,
        provenance,
        vault,
        backup,
    ):
        commands.register(app)
    return app


def _visiona(
    server: Annotated[
        str | None,
        typer.Option(
            "--server",
            metavar="URL",
            callback=remember_server,
            show_default=False,
            help=f"The server of your commands; else VISIONA_SERVER, else {DEFAULT_SERVER}.",
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print it and exit.")
    ] = False,
) -> None:
    """Visiona: personal AI clones, trained on your own photos, in private."""
