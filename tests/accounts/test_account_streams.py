"""Streams of events that are open while their session ends: nothing more is told on them."""

import asyncio
import json
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import httpx
import pytest
from tests.accounts.house import House
from tests.sandbox.clerk.conftest import PASSWORD as CLERK_PASSWORD

from visiona.db.events import CHANNEL
from visiona.entrypoints.api import events

pytestmark = pytest.mark.filterwarnings("ignore::litestar.exceptions.LitestarDeprecationWarning")

TOLD = "event: plan"


LISTENING = """select from pg_stat_activity
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
