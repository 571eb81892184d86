"""The operator's commands: running, migrating and looking after a Visiona server."""

import typer


def register(app: typer.Typer) -> None:
    """Add the operator's commands to `app`."""
