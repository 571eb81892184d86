"""What operators do to a running Visiona from the command line, as the worker's role."""

import asyncio
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

from visiona.accounts.model import User
from visiona.billing.model import FREE
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


def migrate_database() -> list[str]:
    with _settings() as settings:
        return asyncio.run(prepare_database(settings))


def list_users() -> list[tuple[User, str]]:
    """Everybody with their plan."""

    async def read(app: App) -> list[tuple[User, str]]:
        plans = await app.billing.plans_by_user()
        return [(user, plans.get(user.id, FREE)) for user in await app.accounts.everybody()]

    return _with_app(read)


def set_plan(email: str, plan: str) -> None:
    async def change(app: App) -> None:
        user = await app.accounts.find_by_email(email)
        await app.billing.set_plan(user.id, plan)

    _with_app(change)


def diagnose() -> list[Finding]:
    """Readiness of everything that a request needs, as this machine sees it."""

    async def look(app: App) -> dict[str, str]:
        return await app.readiness()

    try:
        checks = _with_app(look)
    except CommandFailed as error:
        return [Finding("settings", ok=False, message=error.message)]
    return [Finding(name, ok=result == "ok", message=result) for name, result in checks.items()]


@contextmanager
def _settings() -> Generator[Settings]:
    try:
        given = read_settings()
        with provided(given) as settings:
            if settings.database_url != given.database_url:  # our own server, perhaps a new one
                asyncio.run(prepare_database(settings))
            yield settings
    except SettingsError as error:
        raise CommandFailed(str(error)) from error


def _with_app(use: Callable[[App], Awaitable[T]]) -> T:
    async def run(settings: Settings) -> T:
        app = build(settings, "worker")
        await app.open()
        try:
            return await use(app)
        finally:
            await app.close()

    with _settings() as settings:
        # These commands speak to the database only; a token need not be at hand.
        token = settings.replicate_api_token or "unused"
        try:
            return asyncio.run(run(replace(settings, replicate_api_token=token)))
        except VisionaError as error:
            raise CommandFailed(error.detail) from error
