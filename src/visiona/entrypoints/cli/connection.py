"""Connecting a command to the server that was named, as whoever is signed in there."""

import os
from typing import TYPE_CHECKING

from visiona.entrypoints.cli.credentials import CredentialStore, default_path

if TYPE_CHECKING:
    from visiona.entrypoints.cli.client import Client


def connect(server: str) -> "Client":
    """A context manager. `VISIONA_TOKEN` takes the place of a stored session."""
    from visiona.entrypoints.cli.client import Client  # noqa: PLC0415 - httpx takes longer than --help
    from visiona.entrypoints.cli.transport import Transport  # noqa: PLC0415 - likewise

    return Client(
        server,
        store=CredentialStore(default_path(os.environ)),
        transport=Transport(server),
        fixed_token=os.environ.get("VISIONA_TOKEN") or None,
    )
