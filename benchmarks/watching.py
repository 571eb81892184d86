"""Somebody who looks at the gallery all the time and listens to the event stream besides."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec

POLLING_INTERVAL_S = 0.01


class Watch:
    """`seen` holds when each image was first in the gallery, `announced` when each run's success came
    over the event stream, in seconds of the epoch.
    """

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http
        self.seen: dict[int, float] = {}
        self.announced: dict[int, float] = {}
        self._images: dict[int, list[int]] = {}
        self._changed = asyncio.Condition()
        self._listening = asyncio.Event()

    async def listening(self) -> None:
        await self._listening.wait()

    async def shown(self, run_id: int) -> None:
        """Wait until the run has been announced and all its images have been seen."""
        async with self._changed:
            await self._changed.wait_for(
                lambda: run_id in self.announced and all(i in self.seen for i in self._images[run_id])
            )

    async def poll(self) -> None:
        while True:
            answer = await self.http.get("/api/gallery", params={"limit": 50})
            now = time.time()
            new = [item["id"] for item in _json(answer)["items"] if item["id"] not in self.seen]
            if new:
                async with self._changed:
                    self.seen |= dict.fromkeys(new, now)
                    self._changed.notify_all()
            await asyncio.sleep(POLLING_INTERVAL_S)

    async def listen(self) -> None:
        async with self.http.stream("GET", "/api/events", timeout=None) as stream:
            stream.raise_for_status()
            topic = ""
            async for line in stream.aiter_lines():
                self._listening.set()
                name, _, value = line.partition(": ")
                if name == "event":
                    topic = value
                elif name == "data" and topic == "run":
                    await self._note(time.time(), msgspec.json.decode(value))

    async def _note(self, now: float, run: dict[str, Any]) -> None:
        if run["status"] in {"failed", "canceled"}:
            raise RuntimeError(f"a generation ended as {run['status']}: {run['error']}")
        if run["status"] == "succeeded":
            async with self._changed:
                self.announced.setdefault(run["id"], now)
                self._images[run["id"]] = [image["id"] for image in run["images"]]
                self._changed.notify_all()


@asynccontextmanager
async def watching(url: str, token: str) -> AsyncGenerator[Watch]:
    """Watch for the length of the block; what the watcher stumbles over ends the block."""
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        httpx.AsyncClient(base_url=url, headers=headers, timeout=60, trust_env=False) as http,
        asyncio.TaskGroup() as tasks,
    ):
        watch = Watch(http)
        watchers = [tasks.create_task(watch.poll()), tasks.create_task(watch.listen())]
        await watch.listening()
        yield watch
        for watcher in watchers:
            watcher.cancel()


def _json(answer: httpx.Response) -> dict[str, Any]:
    return msgspec.json.decode(answer.raise_for_status().content)
