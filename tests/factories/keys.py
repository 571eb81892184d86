"""The keys of people, for tests: a key store beside each database, which ends with the test session."""

import asyncio
import atexit
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from visiona.bootstrap import open_vault
from visiona.core.clock import SystemClock
from visiona.settings import Settings

MASTER_KEY = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

_folder = tempfile.TemporaryDirectory(prefix="visiona-keys-", ignore_cleanup_errors=True)
atexit.register(_folder.cleanup)


def key_settings(database_url: str) -> Mapping[str, Any]:
    """The settings of the key store of this database, which is as `visiona migrate` prepares it.

    Ids of people are of their database, and so are their keys.
    """
    folder = Path(_folder.name) / urlsplit(database_url).path.strip("/")
    settings = {
        "master_keys": (MASTER_KEY,),
        "keys_url": (folder / "keys").as_uri(),
        "keys_mirror_url": (folder / "mirror").as_uri(),
    }
    if not folder.exists():
        with ThreadPoolExecutor(1) as elsewhere:  # where no event loop runs yet
            elsewhere.submit(asyncio.run, _prepare(settings)).result()
    return settings


async def _prepare(settings: Mapping[str, Any]) -> None:
    vault = open_vault(Settings(**settings), SystemClock())
    await vault.prepare()
    await vault.aclose()
