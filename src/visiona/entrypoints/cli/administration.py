"""What operators do to a running Visiona from the command line, as the worker's role."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from visiona.accounts.model import UserSummary
from visiona.bootstrap import App, build, prepare_database
from visiona.core.errors import VisionaError
from visiona.entrypoints.cli.errors import CommandFailed
from visiona.entrypoints.cli.supervisor import provided
from visiona.settings import Settings, SettingsError, read_settings

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Finding:
    """One check of the doctor; `message` says how to mend it when it is not ok."""

    name: str
    ok: bool
    message: str
