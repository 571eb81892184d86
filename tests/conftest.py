"""Fixtures that every room's tests share.

The database is the real PostgreSQL: one embedded server for the whole test session, in a folder of
its own, so that test runs side by side never meet. Tests connect as the roles that production uses;
only `owner_url` sees every row. Nothing is truncated between tests: each makes its own people with
`make_user` and looks at their rows only. A test that needs a database to itself (a running worker,
for one, takes everybody's jobs) asks for `own_database_url`.
"""

import os
import tempfile
import uuid
from collections.abc import AsyncGenerator, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg import sql
from tests.factories.keys import key_settings
from tests.factories.people import MakeUser, OpenDatabase, add_user

from visiona.billing.model import Catalogue, read_catalogue
from visiona.billing.service import publish_plans
from visiona.bootstrap import identity_key, open_vault
from visiona.core.clock import SystemClock
from visiona.db.actor import UserActor
from visiona.db.embedded import embedded_server
from visiona.db.migrate import migrate
from visiona.db.pool import Connection, Database
from visiona.db.roles import APP_ROLE, OWNER_ROLE, WORKER_ROLE, RoleSecrets, url_for_role
from visiona.settings import Settings
from visiona.vault.service import Vault

SECRET_KEY = "a-secret-key-for-tests-that-is-long-enough"
# What processes with that key prove to the database; tests that build one use the same.
IDENTITY = identity_key(Settings(secret_key=SECRET_KEY))
ROLE_SECRETS = RoleSecrets(app="app-password", worker="worker-password", identity=IDENTITY)
TEMPLATE = "visiona_template"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """How many processes share the suite by default: tests wait for a good part of their time."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Processes that share the suite come by journeys, which keep a processor busy, and by other files in
    turn; the last of them is not left to one alone.
    """
    if not hasattr(config, "workerinput"):
        return
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    journeys = [file for file in files if files[file][0].get_closest_marker("journey")]
    others = [file for file in files if file not in journeys]
    place = {file: 0.9 * number / len(journeys) for number, file in enumerate(journeys)}
    place |= {file: number / len(others) for number, file in enumerate(others)}
    items[:] = [item for file in sorted(files, key=place.__getitem__) for item in files[file]]


@pytest.fixture(scope="session")
def postgres() -> Generator[str]:
    """The URL of the server's maintenance database, as superuser. Its contents are throw-away."""
    with (
        tempfile.TemporaryDirectory(prefix="visiona-test-", ignore_cleanup_errors=True) as folder,
        embedded_server(Path(folder) / "postgres") as url,
    ):
        with psycopg.connect(url, autocommit=True) as connection:
            for setting in ("fsync", "full_page_writes", "synchronous_commit"):
                connection.execute(f"alter system set {setting} = off")
            connection.execute("select pg_reload_conf()")
        yield url


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    """The plans of Visiona's own file, which are in every migrated database too."""
    return read_catalogue()


@pytest.fixture(scope="session")
async def migrated_template(postgres: str, catalogue: Catalogue) -> str:
    """The name of a migrated database that nobody connects to, so that it can be copied."""
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"create database {TEMPLATE}")
    url = _with_database(postgres, TEMPLATE)
    migrate(url, ROLE_SECRETS)
    async with await psycopg.AsyncConnection.connect(url) as connection:
        await connection.execute(f"set local role {OWNER_ROLE}")
        await publish_plans(connection, catalogue)
    return TEMPLATE


@pytest.fixture(scope="session")
def owner_url(postgres: str, migrated_template: str) -> Generator[str]:
    """The shared migrated database as superuser: for looking behind row-level security."""
    with copied_database(postgres, migrated_template) as url:
        yield url


@pytest.fixture
def own_database_url(postgres: str, migrated_template: str) -> Generator[str]:
    """A migrated database for this test alone, as superuser (see `url_for_role` for the others)."""
    with copied_database(postgres, migrated_template) as url:
        yield url


@pytest.fixture(scope="session")
def app_url(owner_url: str) -> str:
    return url_for_role(owner_url, APP_ROLE, ROLE_SECRETS.app)


@pytest.fixture(scope="session")
def worker_url(owner_url: str) -> str:
    return url_for_role(owner_url, WORKER_ROLE, ROLE_SECRETS.worker)


@pytest.fixture(scope="session")
async def database(app_url: str) -> AsyncGenerator[Database]:
    """Visiona's database as the application role, row-level security applying."""
    async with _opened(app_url) as database:
        yield database


@pytest.fixture(scope="session")
async def worker_database(worker_url: str) -> AsyncGenerator[Database]:
    """The same database as the worker's role."""
    async with _opened(worker_url) as database:
        yield database


@pytest.fixture(scope="session")
def open_database(app_url: str) -> OpenDatabase:
    """`async with open_database(max_size=1) as database:` as the application role, or at `url=`."""

    def open_(*, max_size: int = 1, url: str = app_url) -> AbstractAsyncContextManager[Database]:
        return _opened(url, max_size=max_size)

    return open_


@pytest.fixture
async def owner(owner_url: str) -> AsyncGenerator[Connection]:
    """A connection that sees everything."""
    async with await psycopg.AsyncConnection.connect(owner_url, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="session")
async def vault(owner_url: str) -> AsyncGenerator[Vault]:
    """The keys of everybody in the shared database; `key_settings` gives an app the same."""
    async with opened_vault(owner_url) as vault:
        yield vault


@pytest.fixture
async def own_vault(own_database_url: str) -> AsyncGenerator[Vault]:
    """The keys of everybody in the test's own database."""
    async with opened_vault(own_database_url) as vault:
        yield vault


@pytest.fixture(scope="session")
def make_user(database: Database, vault: Vault) -> MakeUser:
    """`await make_user()` answers the actor of a fresh person; `email=` chooses their address.

    They cannot log in: their password hash is none. See `tests/accounts` for those who can.
    """

    async def make(*, email: str | None = None) -> UserActor:
        return await add_user(database, vault=vault, email=email)

    return make


@asynccontextmanager
async def _opened(url: str, max_size: int = 10) -> AsyncGenerator[Database]:
    # The pool belongs to the loop it was opened in; fixtures and tests share the session's loop.
    database = Database(url, IDENTITY, max_size=max_size)
    await database.open()
    try:
        yield database
    finally:
        await database.close()


@asynccontextmanager
async def opened_vault(database_url: str) -> AsyncGenerator[Vault]:
    """The keys of the people in this database."""
    vault = open_vault(Settings(**key_settings(database_url)), SystemClock())
    await vault.open()
    try:
        yield vault
    finally:
        await vault.aclose()


@contextmanager
def copied_database(server_url: str, template: str) -> Generator[str]:
    """The superuser's URL of a copy of `template`, which ends with the block."""
    name = f"visiona_{uuid.uuid4().hex}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(
            sql.SQL("create database {} template {}").format(sql.Identifier(name), sql.Identifier(template))
        )
        try:
            yield _with_database(server_url, name)
        finally:
            connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


def _with_database(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
