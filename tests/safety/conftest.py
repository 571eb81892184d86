"""The web application and the worker in this process, with limits that are soon reached."""

import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
from tests.conftest import ROLE_SECRETS, SECRET_KEY
from tests.factories.keys import key_settings
from tests.factories.safety import EVERYBODY_SIGNS_UP
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from visiona.bootstrap import App, build
from visiona.db.roles import WORKER_ROLE, url_for_role
from visiona.entrypoints.asgi import create_asgi
from visiona.settings import Settings

Trusts = Literal["no proxy", "another machine", "its proxy"]
Strict = Callable[[Trusts], AbstractAsyncContextManager[httpx.AsyncClient]]

ORIGIN = "http://127.0.0.1:8000"


@pytest.fixture(scope="module")
def settings(owner_url: str, app_url: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return {
        "secret_key": SECRET_KEY,
        "data_dir": Path(tmp_path_factory.mktemp("safety")),
        "database_url": owner_url,
        "app_database_url": app_url,
        "worker_database_url": url_for_role(owner_url, WORKER_ROLE, ROLE_SECRETS.worker),
        **key_settings(owner_url),
        "replicate_api_token": "r8_test",
        "replicate_base_url": "http://127.0.0.1:9/v1",
        "replicate_webhook_secret": ("whsec_dGVzdCBzZWNyZXQgb2YgdGhlIHJvdXRlcw==",),
        "stripe_api_key": "sk_test_routes",
        "stripe_base_url": "http://127.0.0.1:9",
        "stripe_webhook_secret": ("whsec_routes",),
        "limits": EVERYBODY_SIGNS_UP,
    }


@pytest.fixture(scope="module")
async def app(settings: dict[str, Any]) -> AsyncGenerator[App]:
    app = build(Settings(**settings), "app")
    await app.open()
    yield app
    await app.close()


@pytest.fixture(scope="module")
async def worker_app(settings: dict[str, Any]) -> AsyncGenerator[App]:
    app = build(Settings(**settings), "worker")
    await app.open()
    yield app
    await app.close()


@pytest.fixture(scope="module")
async def anybody(app: App) -> AsyncGenerator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_asgi(app), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
        yield client


@pytest.fixture
def strict(settings: dict[str, Any]) -> Strict:
    """`async with strict(trusts) as client:` to a server where three of each are allowed in an hour, in a
    network that nobody else is in. Uvicorn reads the addresses, as it does where Visiona is served.
    """

    @asynccontextmanager
    async def open_(trusts: Trusts) -> AsyncGenerator[httpx.AsyncClient]:
        peer = f"2001:db8:{uuid.uuid4().hex[:4]}:{uuid.uuid4().hex[:4]}::1"
        limits = ("signup.address=3/hour", "report.address=3/hour")
        app = build(Settings(**(settings | {"limits": limits})), "app")
        await app.open()
        served: Any = create_asgi(app)
        if trusts != "no proxy":
            served = ProxyHeadersMiddleware(
                served, trusted_hosts=[peer if trusts == "its proxy" else "192.0.2.1"]
            )
        transport = httpx.ASGITransport(served, raise_app_exceptions=False, client=(peer, 1))
        async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
            yield client
        await app.close()

    return open_
