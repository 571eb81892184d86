"""Sealed objects of a person, in the folder that the embedded mode uses, and a web server before them."""

import asyncio
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
import uvicorn
from tests.conftest import SECRET_KEY
from tests.factories.keys import key_settings
from tests.factories.people import MakeUser
from tests.factories.safety import EVERYBODY_SIGNS_UP

from visiona.adapters.objects import open_store
from visiona.bootstrap import build
from visiona.core.clock import FixedClock
from visiona.db.actor import UserActor
from visiona.db.pool import Database
from visiona.entrypoints.asgi import create_asgi
from visiona.objects.model import Kind, LinkSigner, new_key
from visiona.objects.service import ObjectService
from visiona.settings import Settings
from visiona.vault.service import Vault

SIGNER = LinkSigner(b"a secret for tests")

PutBytes = Callable[..., Awaitable[str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an operator, a thief or a failing disk sees."""
    return tmp_path_factory.mktemp("objects")


@pytest.fixture(scope="module")
def now() -> FixedClock:
    return FixedClock(datetime(2026, 5, 1, 12, 0, 7, tzinfo=UTC))


@pytest.fixture(scope="module")
def sealed(database: Database, vault: Vault, folder: Path, now: FixedClock) -> ObjectService:
    return ObjectService(database, vault, open_store(folder.as_uri()), SIGNER, now)


@pytest.fixture(scope="module")
async def ada(make_user: MakeUser) -> UserActor:
    return await make_user()


@pytest.fixture(scope="module")
def put_bytes(sealed: ObjectService, ada: UserActor, tmp_path_factory: pytest.TempPathFactory) -> PutBytes:
    """Writes an image with these bytes for a person, and answers its key."""
    drafts = tmp_path_factory.mktemp("drafts")

    async def put(data: bytes, *, actor: UserActor = ada) -> str:
        source = drafts / uuid.uuid4().hex
        await asyncio.to_thread(source.write_bytes, data)
        key = new_key(actor.user_id, Kind.IMAGE, "image/webp")
        await sealed.put(actor, {key: source})
        return key

    return put


@pytest.fixture(scope="module")
async def web(sealed: ObjectService, app_url: str, now: FixedClock) -> AsyncGenerator[httpx.AsyncClient]:
    """A client of a real server on this machine."""
    app = build(
        Settings(
            secret_key=SECRET_KEY,
            **key_settings(app_url),
            limits=EVERYBODY_SIGNS_UP,
            app_database_url=app_url,
            replicate_api_token="r8_test",
            billing=False,
        ),
        "app",
    )
    asgi = create_asgi(replace(app, objects=sealed, clock=now))
    server = uvicorn.Server(uvicorn.Config(asgi, port=0, lifespan="off", log_config=None))
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        yield client
    server.should_exit = True
    await serving
    await app.close()
