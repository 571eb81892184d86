"""The secret key is changed under running servers: what it signed is believed until it is taken out."""

import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from tests.accounts.house import house_settings
from tests.conftest import SECRET_KEY

from visiona.bootstrap import App, build, prepare_database
from visiona.core.errors import NotFound
from visiona.core.ids import opaque_id
from visiona.entrypoints.asgi import create_asgi
from visiona.factors.model import PasskeyRefused, Purpose
from visiona.mail.model import LinkTokens
from visiona.ports.storage import ObjectMissing
from visiona.settings import Settings

NEW_KEY = "another-secret-key-for-tests-long-enough"
PERSON = {"email": "ada@example.com", "password": "a quiet blue harbour"}

Start = Callable[[Settings], Awaitable[App]]


@pytest.fixture
def before(own_database_url: str, tmp_path: Path) -> Settings:
    """As it was: one key, and passwords of the database's roles that are derived from it."""
    settings = house_settings(own_database_url, tmp_path, None, None)
    assert settings.secret_key == SECRET_KEY
    return replace(settings, app_database_url=None, worker_database_url=None)


@pytest.fixture
async def start() -> AsyncGenerator[Start]:
    """A further process of the same Visiona, in this one."""
    async with AsyncExitStack() as running:

        async def run(settings: Settings) -> App:
            app = build(settings, "app")
            await app.open()
            running.push_async_callback(app.close)
            return app

        yield run


def client(app: App) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(create_asgi(app))
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000")


async def opens(app: App, link: str) -> bool:
    parts = urlsplit(link)
    query = parse_qs(parts.query)
    key = parts.path.removeprefix("/media/")
    try:
        await app.objects.open_link(key, int(query["expires"][0]), query["signature"][0])
    except NotFound:
        return False
    except ObjectMissing:  # it may be opened, but there is none
        return True
    raise AssertionError


async def test_what_the_old_key_signed_is_believed_until_it_is_taken_out(
    before: Settings, start: Start
) -> None:
    during = replace(before, secret_key=NEW_KEY, secret_key_old=(SECRET_KEY,))
    await prepare_database(before)
    old = await start(before)
    async with client(old) as http:
        signed_up = (await http.post("/api/auth/signup", json=PERSON)).raise_for_status().json()
    link = await old.objects.link(f"u{signed_up['user']['id']}/photos/{opaque_id()}.jpg")
    authorized = {"Authorization": f"Bearer {signed_up['access_token']}"}
    challenge = old.factors._challenges.issue(Purpose.LOG_IN, None, old.clock.now())

    await prepare_database(during)  # while the old process serves
    new = await start(during)
    for app in (old, new):
        async with client(app) as http:
            assert (await http.get("/api/auth/me", headers=authorized)).status_code == 200
        assert await opens(app, link)
    assert new.factors._challenges.end_of(challenge, Purpose.LOG_IN, None, new.clock.now())
    async with client(new) as http:
        fresh = (await http.post("/api/auth/login", json=PERSON)).raise_for_status().json()
    newer = {"Authorization": f"Bearer {fresh['access_token']}"}

    after = await start(replace(during, secret_key_old=()))
    async with client(after) as http:
        assert (await http.get("/api/auth/me", headers=newer)).status_code == 200
        assert (await http.get("/api/auth/me", headers=authorized)).status_code == 401
    assert not await opens(after, link)
    assert await opens(after, await new.objects.link("u1/photos/1.jpg"))
    with pytest.raises(PasskeyRefused):
        after.factors._challenges.end_of(challenge, Purpose.LOG_IN, None, after.clock.now())


def test_links_in_mails_are_read_with_every_key_and_written_with_the_first() -> None:
    old, new, both = LinkTokens(b"o" * 32), LinkTokens(b"n" * 32), LinkTokens(b"n" * 32, b"o" * 32)
    link_id = uuid.uuid4()
    assert both.read(old.issue(link_id)) == both.read(new.issue(link_id)) == link_id
    assert both.issue(link_id) == new.issue(link_id)
    assert new.read(old.issue(link_id)) is None


async def test_anchors_of_the_audit_log_are_verified_with_every_key(before: Settings) -> None:
    during = replace(before, secret_key=NEW_KEY, secret_key_old=(SECRET_KEY,))
    for settings in (before, during):
        await prepare_database(settings)
        app = build(settings, "worker")
        await app.open()
        await app.audit.anchor()
        report = await app.audit.verify()
        await app.close()
        assert report.ok


def test_a_key_that_is_too_short_is_refused() -> None:
    with pytest.raises(ValueError, match="VISIONA_SECRET_KEY_OLD"):
        Settings(secret_key=SECRET_KEY, secret_key_old=("short",)).secrets()
