"""The operator's command for the certificate that images are signed with."""

from pathlib import Path
from typing import Annotated

import typer

commands = typer.Typer(help="Look after what images are signed with.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    app.add_typer(commands, name="provenance", rich_help_panel="Operating a server")


@commands.command()
def certificate(
    name: Annotated[str, typer.Option(help="Who signs, as checkers will show it.")],
    folder: Annotated[Path, typer.Option(help="Where to put the two files.", file_okay=False)] = Path(),
) -> None:
    """Make a certificate and its private key, for VISIONA_C2PA_CERTIFICATE_FILE and …_PRIVATE_KEY_FILE."""
    from visiona.adapters.provenance import write_certificate  # noqa: PLC0415 - slow, and seldom asked for

    try:
        chain, key = write_certificate(name, folder)
    except FileExistsError as error:
        typer.echo(
            f"{error.filename} is there already, and what it signed needs it. Nothing was done.", err=True
        )
        raise typer.Exit(1) from error
    typer.echo(f"VISIONA_C2PA_CERTIFICATE_FILE={chain.resolve()}")
    typer.echo(f"VISIONA_C2PA_PRIVATE_KEY_FILE={key.resolve()}")
