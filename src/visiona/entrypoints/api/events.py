"""Server-sent events: a person's own clones and runs, as they change.

A stream ends with its session: whoever is logged out or suspended is told nothing more.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Coroutine
from typing import Any, Final, TypeVar

import msgspec
from litestar import Request, get
from litestar.response import Stream

from visiona.accounts.model import Session
from visiona.bootstrap import App
from visiona.core.errors import NotFound, TooMany, Unavailable
from visiona.db.actor import UserActor
from visiona.db.events import Event
from visiona.entrypoints.api.exports import export_view
from visiona.entrypoints.api.security import TheApp, actor_of, session_of
from visiona.entrypoints.api.views import model_view, run_view

HEARTBEAT_S = 15.0
# A browser reconnects by itself, and its token is checked anew then.
STREAM_LIFETIME_S = 600.0
# Of one person: each costs a look at the database for every event.
MAX_STREAMS = 50

_T = TypeVar("_T")
# The loop itself holds a task only weakly.
_READINGS: Final[set[asyncio.Task[Any]]] = set()


@get("/api/events", media_type="text/event-stream")
async def events(app: TheApp, request: Request[Any, Any, Any]) -> Stream:
    """Events `model`, `run` and `export` carry what `/api/models/status`, `/api/generate/{id}` and
    `/api/account/exports/{id}` answer.

    `resync` means that events may have been missed: read the lists again.
    """
    actor, session = actor_of(request), session_of(request)
    if app.events.subscribers(actor.user_id) >= MAX_STREAMS:
        raise TooMany(
            "too_many_streams", "You have very many pages open. Close some of them.", retry_after=30
        )
    return Stream(
        _stream(app, actor, session),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _stream(app: App, actor: UserActor, session: Session) -> AsyncGenerator[bytes]:
    yield b"retry: 2000\n\n"
    end = asyncio.get_running_loop().time() + STREAM_LIFETIME_S
    async with app.events.subscribe(actor.user_id) as queue:
        while asyncio.get_running_loop().time() < end:
            event = None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HEARTBEAT_S):
                    event = await queue.get()
            if event is not None and event.topic == "closing":
                return
            if not await _to_its_end(_may_listen(app, session)):
                return
            message = b": still here\n\n"
            if event is not None:
                message = await _to_its_end(_message(app, actor, event))
            if message is not None:
                yield message


async def _to_its_end(reading: Coroutine[Any, Any, _T]) -> _T:
    """Whoever listens may leave meanwhile: a query that is broken off costs its connection, and these are
    short.
    """
    task = asyncio.create_task(reading)
    _READINGS.add(task)
    task.add_done_callback(_READINGS.discard)
    return await asyncio.shield(task)


async def _may_listen(app: App, session: Session) -> bool:
    """While the database is away nothing of anybody's can be read, and nobody is sent away."""
    try:
        return await app.accounts.is_open(session)
    except Unavailable:
        return True


async def _message(app: App, actor: UserActor, event: Event) -> bytes | None:
    """The event as the stream carries it; None for a row that is gone already."""
    try:
        if event.topic == "model":
            data: Any = model_view(await app.clones.get(actor, event.id))
        elif event.topic == "run":
            run, images = await app.generations.get(actor, event.id)
            data = await run_view(app, run, images)
        elif event.topic == "export":
            data = export_view(await app.exports.find(actor, event.id))
        else:
            data = {}
    except NotFound:
        return None
    return b"event: " + event.topic.encode() + b"\ndata: " + msgspec.json.encode(data) + b"\n\n"


HANDLERS = [events]
