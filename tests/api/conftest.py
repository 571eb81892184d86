"""The web application in this process, spoken to as a stranger would."""

import uuid
from collections.abc import AsyncGenerator
from pathlib import Path

import httpx
import pytest
from tests.conftest import SECRET_KEY
from tests.factories.consents import signed
from tests.factories.keys import key_settings
from tests.factories.safety import EVERYBODY_SIGNS_UP

from visiona.bootstrap import App, build
from visiona.entrypoints.asgi import create_asgi
from visiona.settings import Settings

ORIGIN = "http://127.0.0.1:8000"
PASSWORD = "a quiet blue harbour"


@pytest.fixture(scope="module")
async def app(owner_url: str, app_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[App]:
    app = build(
        Settings(
            secret_key=SECRET_KEY,
            data_dir=Path(tmp_path_factory.mktemp("api")),
            database_url=owner_url,
            app_database_url=app_url,
            **key_settings(owner_url),
            limits=EVERYBODY_SIGNS_UP,
            replicate_api_token="r8_test",
            replicate_base_url="http://127.0.0.1:9/v1",
            replicate_webhook_secret=("whsec_dGVzdCBzZWNyZXQgb2YgdGhlIHJvdXRlcw==",),
            stripe_api_key="sk_test_routes",
            stripe_base_url="http://127.0.0.1:9",
            stripe_webhook_secret=("whsec_routes",),
        ),
        "app",
    )
    await app.open()
    yield app
    await app.close()


@pytest.fixture(scope="module")
async def stranger(app: App) -> AsyncGenerator[httpx.AsyncClient]:
    """Nobody yet."""
    # What the application raises unexpectedly shall be answered, as a server would.
    transport = httpx.ASGITransport(create_asgi(app), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
        yield client


@pytest.fixture(scope="module")
def email() -> str:
    return f"{uuid.uuid4().hex}@example.com"


@pytest.fixture(scope="module")
async def person(stranger: httpx.AsyncClient, email: str) -> dict[str, str]:
    """The headers of somebody who is signed in with a token, and `Cookie` of the same one's browser."""
    answer = await stranger.post("/api/auth/signup", json={"email": email, "password": PASSWORD})
    assert answer.status_code == 201, answer.text
    stranger.cookies.clear()
    cookie = answer.headers["set-cookie"].partition(";")[0]
    token = f"Bearer {answer.json()['access_token']}"
    consented = await stranger.post("/api/consents", json=signed(), headers={"authorization": token})
    assert consented.status_code == 201, consented.text
    return {"token": token, "cookie": cookie}
