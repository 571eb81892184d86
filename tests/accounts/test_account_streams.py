"""Streams of events that are open while their session ends: nothing more is told on them."""

import asyncio
import json
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import psycopg
import pytest
from tests.accounts.house import House
from tests.sandbox.clerk.conftest import PASSWORD as CLERK_PASSWORD

from visiona.db.events import CHANNEL
from visiona.entrypoints.api import events

pytestmark = pytest.mark.filterwarnings("ignore::litestar.exceptions.LitestarDeprecationWarning")

TOLD = "event: plan"


LISTENING = """select 1 from pg_stat_activity
    where datname = current_database() and query = 'listen visiona_events' and state = 'idle'"""
ENDS = {
    "logged out elsewhere": "update sessions set revoked_at = now() where user_id = %s",
    "run out": "update sessions set expires_at = now() where user_id = %s",
    "suspended": "update users set status = 'suspended' where id = %s",
}


async def tell(house: House, user_id: int) -> None:
    """That their plan has changed, as a worker would."""
    await house.rows(
        "select pg_notify(%s, %s)", CHANNEL, json.dumps({"user": user_id, "topic": "plan", "id": 0})
    )


@asynccontextmanager
async def listening(
    house: House, browser: httpx.AsyncClient
) -> AsyncGenerator[tuple[int, "asyncio.Task[httpx.Response]"]]:
    """Somebody's id, and their stream, which ends by itself or with this."""
    user_id = (await browser.get("/api/auth/me")).json()["id"]
    house.app.events.start()
    # The answer is there once the stream has ended.
    stream = asyncio.create_task(browser.get("/api/events"))
    try:
        for _ in range(500):
            if house.app.events.subscribers(user_id) and await house.rows(LISTENING):
                break
            await asyncio.sleep(0.01)
        yield user_id, stream
    finally:
        stream.cancel()
        await asyncio.gather(stream, return_exceptions=True)
        await house.app.events.stop()


@pytest.mark.parametrize("end", ENDS)
async def test_a_stream_ends_with_its_session(house: House, end: str) -> None:
    browser = await house.sign_up(f"{uuid.uuid4().hex}@example.com")
    async with listening(house, browser) as (user_id, stream):
        await tell(house, user_id)
        await asyncio.sleep(0.3)
        assert not stream.done()
        await house.rows(ENDS[end], user_id)
        await tell(house, user_id)
        answer = await asyncio.wait_for(stream, 5)
    assert answer.status_code == 200
    assert answer.text.count(TOLD) == 1


async def test_a_silent_stream_ends_with_its_session_too(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "HEARTBEAT_S", 0.05)
    browser = await house.sign_up(f"{uuid.uuid4().hex}@example.com")
    async with listening(house, browser) as (_, stream):
        await asyncio.sleep(0.3)
        assert not stream.done()
        assert (await browser.post("/api/auth/logout")).status_code == 204
        answer = await asyncio.wait_for(stream, 5)
    assert ": still here" in answer.text


async def test_a_stream_by_a_token_of_clerks_ends_with_its_person(clerk_house: House) -> None:
    """And not with the token, which lives for a minute."""
    person = clerk_house.person(password=CLERK_PASSWORD)
    session = clerk_house.there.session(person["id"])
    browser = clerk_house.browser(**clerk_house.token(session["id"]))
    async with listening(clerk_house, browser) as (user_id, stream):
        await tell(clerk_house, user_id)
        await asyncio.sleep(0.3)
        assert not stream.done()
        await clerk_house.rows("update users set barred = true where id = %s", user_id)
        await tell(clerk_house, user_id)
        answer = await asyncio.wait_for(stream, 5)
    assert answer.text.count(TOLD) == 1


@asynccontextmanager
async def left_open(house: House, browser: httpx.AsyncClient) -> AsyncGenerator["asyncio.Task[None]"]:
    """A stream as a web server runs it, which hears with the end of this that its page was left."""
    left = asyncio.Event()
    asked = iter([{"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> dict[str, Any]:
        request = next(asked, None)
        if request is None:
            await left.wait()
        return request or {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        assert message.get("status", 200) == 200

    request = browser.build_request("GET", "/api/events")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "path": "/api/events",
        "raw_path": b"/api/events",
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "headers": [(name.lower(), value) for name, value in request.headers.raw]
        + [(b"cookie", "; ".join(f"{name}={value}" for name, value in browser.cookies.items()).encode())],
        "client": ("10.1.2.3", 5000),
        "server": ("127.0.0.1", 8000),
        "state": {},
    }
    stream = asyncio.create_task(house.asgi(scope, receive, send))
    try:
        yield stream
    finally:
        left.set()
        await asyncio.wait_for(asyncio.gather(stream, return_exceptions=True), 10)


@pytest.mark.parametrize("table", ["sessions", "models"])
async def test_a_page_that_is_left_while_its_stream_reads_leaves_no_trace(
    house: House, caplog: pytest.LogCaptureFixture, table: str
) -> None:
    """Neither in the log nor in the pool, of whose connections one was in the middle of a query."""
    browser = await house.sign_up(f"{uuid.uuid4().hex}@example.com")
    user_id = (await browser.get("/api/auth/me")).json()["id"]
    waiting = "select 1 from pg_locks where relation = %s::regclass and not granted"
    url = house.app.settings.database_url or ""
    house.app.events.start()
    async with await psycopg.AsyncConnection.connect(url) as owner:
        async with left_open(house, browser) as stream:
            for _ in range(500):
                if house.app.events.subscribers(user_id) and await house.rows(LISTENING):
                    break
                await asyncio.sleep(0.01)
            await owner.execute(f"lock table {table}".encode())
            message = json.dumps({"user": user_id, "topic": "model", "id": 1})
            await house.rows("select pg_notify(%s, %s)", CHANNEL, message)
            for _ in range(500):  # until the stream reads, and is kept waiting
                if await house.rows(waiting, table):
                    break
                await asyncio.sleep(0.01)
            caplog.clear()
        await owner.rollback()
    await house.app.events.stop()
    assert stream.exception() is None
    assert [record.getMessage() for record in caplog.records if record.levelname != "INFO"] == []
    assert (await browser.get("/api/auth/me")).status_code == 200
