"""Streams of events: many people may listen, no one person without measure."""

import contextlib

import httpx
import pytest

from visiona.bootstrap import App
from visiona.entrypoints.api.events import MAX_STREAMS

pytestmark = pytest.mark.filterwarnings("ignore::litestar.exceptions.LitestarDeprecationWarning")


async def test_one_person_has_so_many_streams(
    app: App, stranger: httpx.AsyncClient, person: dict[str, str]
) -> None:
    headers = {"Authorization": person["token"]}
    user_id = (await stranger.get("/api/auth/me", headers=headers)).json()["id"]
    async with contextlib.AsyncExitStack() as open_streams:
        for _ in range(MAX_STREAMS):
            await open_streams.enter_async_context(app.events.subscribe(user_id))
        answer = await stranger.get("/api/events", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (429, "too_many_streams")
        assert answer.headers["Retry-After"] == "30"
    assert app.events.subscribers(user_id) == 0
