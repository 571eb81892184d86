"""API keys on the real database, and the web application that takes them."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

import httpx
import pytest
from tests.conftest import SECRET_KEY
from tests.factories.keys import key_settings
from tests.factories.safety import EVERYBODY_SIGNS_UP

from visiona.bootstrap import App, build
from visiona.core.clock import SystemClock
from visiona.db.pool import Connection, Database
from visiona.entrypoints.asgi import create_asgi
from visiona.keys.service import KeyService
from visiona.settings import Settings
from visiona.vault.service import Vault

ORIGIN = "http://127.0.0.1:8000"


@pytest.fixture
def keys(database: Database, vault: Vault) -> KeyService:
    return KeyService(database, vault, SystemClock())


@pytest.fixture
def worker_keys(worker_database: Database, vault: Vault) -> KeyService:
    return KeyService(worker_database, vault, SystemClock())


@pytest.fixture
def set_key(owner: Connection) -> Callable[[int, str], Awaitable[None]]:
    """Change a key behind the service's back: `await set_key(key.id, "expires_at = now()")`."""

    async def change(key_id: int, assignment: str) -> None:
        await owner.execute(f"update api_keys set {assignment} where id = %s", [key_id])

    return change


@pytest.fixture(scope="module")
async def app(owner_url: str, app_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[App]:
    app = build(
        Settings(
            secret_key=SECRET_KEY,
            data_dir=Path(tmp_path_factory.mktemp("keys")),
            database_url=owner_url,
            app_database_url=app_url,
            **key_settings(owner_url),
            limits=EVERYBODY_SIGNS_UP,
            replicate_api_token="r8_test",
            replicate_base_url="http://127.0.0.1:9/v1",
            replicate_webhook_secret=("whsec_dGVzdCBzZWNyZXQgb2YgdGhlIHJvdXRlcw==",),
            stripe_api_key="sk_test_keys",
            stripe_base_url="http://127.0.0.1:9",
            stripe_webhook_secret=("whsec_keys",),
        ),
        "app",
    )
    await app.open()
    yield app
    await app.close()


@pytest.fixture(scope="module")
async def client(app: App) -> AsyncGenerator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(create_asgi(app)), base_url=ORIGIN) as client:
        yield client
