"""The wire between a shop and the sandbox, which can be cut in ways that no HTTP server knows."""

import asyncio
import socket
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Literal

Cut = Literal["refused", "silent", "trickle", "reset"]


class Line:
    """Forwards to `port` until it is cut. `refused`: nobody listens; `silent`: connected, and never answered;
    `trickle`: a byte of the answer each second; `reset`: torn down at once.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._server: asyncio.Server | None = None
        self._cut: Cut | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.connections = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def cut(self, how: Cut | None) -> None:
        """From now on, for connections that stand too; None mends it."""
        await self.close()
        self._cut = how
        if how != "refused":
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if server is not None:
            await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._connected(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # one end has left, or the line was cut
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._cut == "silent":
            await asyncio.Event().wait()
        if self._cut == "reset":
            lingering: socket.socket = writer.get_extra_info("socket")
            lingering.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return
        answers, requests = await asyncio.open_connection("127.0.0.1", self._target)
        pause = 1.0 if self._cut == "trickle" else 0.0
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_forward(reader, requests, 0.0))
                group.create_task(_forward(answers, writer, pause))
        finally:
            requests.close()


async def _forward(source: asyncio.StreamReader, target: asyncio.StreamWriter, pause_s: float) -> None:
    """To the end of the source; with a pause, byte by byte."""
    while data := await source.read(1 if pause_s else 65_536):
        target.write(data)
        await target.drain()
        await asyncio.sleep(pause_s)
    target.close()


@asynccontextmanager
async def open_line(port: int) -> AsyncGenerator[Line]:
    line = Line(port)
    await line.cut(None)
    try:
        yield line
    finally:
        await line.close()
