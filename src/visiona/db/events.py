"""Telling other processes that something of a person's changed: LISTEN/NOTIFY.

A notification carries ids only; whoever hears it reads the row under the person's own identity.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal

import psycopg
from psycopg.rows import TupleRow

from visiona.db.connecting import trying
from visiona.db.pool import Connection

CHANNEL = "visiona_events"
RECONNECT_DELAY_S = 1.0
QUEUE_LIMIT = 256

logger = logging.getLogger(__name__)

Topic = Literal["model", "run", "plan", "export"]


@dataclass(frozen=True, slots=True)
class Event:
    """`topic` and `id` name a row that changed (a person's plan has no id: it is 0); `resync` means that
    events may have been missed, `closing` that this process is about to end.
    """

    topic: Topic | Literal["resync", "closing"]
    id: int


_END = Event("closing", 0)


async def notify(connection: Connection, user_id: int, topic: Topic, row_id: int) -> None:
    """Announce a change when this transaction commits."""
    payload = json.dumps({"user": user_id, "topic": topic, "id": row_id})
    await connection.execute("select pg_notify(%s, %s)", [CHANNEL, payload])


class EventHub:
    """One listening connection for the process, fanned out to any number of subscribers."""

    def __init__(self, url: str, passwords: Sequence[str] = ()) -> None:
        """`passwords` are tried where the one in `url` is refused."""
        self._url = url
        self._connection_class = trying(psycopg.AsyncConnection[TupleRow], passwords)
        self._subscribers: dict[int, set[asyncio.Queue[Event]]] = {}
        self._task: asyncio.Task[None] | None = None
        self._ending = False

    def start(self) -> None:
        self._task = asyncio.create_task(self._listen(), name="event-hub")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    @asynccontextmanager
    async def subscribe(self, user_id: int) -> AsyncGenerator[asyncio.Queue[Event]]:
        """Events of one person from now on. A subscriber that is too slow is told to `resync`."""
        queue: asyncio.Queue[Event] = asyncio.Queue(QUEUE_LIMIT)
        self._subscribers.setdefault(user_id, set()).add(queue)
        if self._ending:  # they were on their way when it was announced
            _offer(queue, _END)
        try:
            yield queue
        finally:
            peers = self._subscribers[user_id]
            peers.discard(queue)
            if not peers:
                del self._subscribers[user_id]

    def subscribers(self, user_id: int) -> int:
        """How many listen to this person's events now."""
        return len(self._subscribers.get(user_id, ()))

    async def _listen(self) -> None:
        while True:
            try:
                async with await self._connection_class.connect(self._url, autocommit=True) as connection:
                    await connection.execute("listen visiona_events")
                    self._offer_all(Event("resync", 0))
                    async for notification in connection.notifies():
                        self._dispatch(notification.payload)
            except psycopg.OperationalError:
                logger.warning("event listener lost its connection; reconnecting")
                await asyncio.sleep(RECONNECT_DELAY_S)

    def _dispatch(self, payload: str) -> None:
        try:
            message = json.loads(payload)
            event = Event(message["topic"], message["id"])
            queues = self._subscribers.get(message["user"], ())
        except (ValueError, TypeError, KeyError):  # anybody in the database may use the channel's name
            logger.warning("a notification that Visiona did not send was ignored")
            return
        for queue in queues:
            _offer(queue, event)

    def announce_end(self) -> None:
        """Tell all subscribers that this process is about to end."""
        self._ending = True
        self._offer_all(_END)

    def _offer_all(self, event: Event) -> None:
        for queues in self._subscribers.values():
            for queue in queues:
                _offer(queue, event)


def _offer(queue: asyncio.Queue[Event], event: Event) -> None:
    if queue.full():
        while not queue.empty():
            queue.get_nowait()
        queue.put_nowait(Event("resync", 0))
    queue.put_nowait(event)
