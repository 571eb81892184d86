"""A loopback server that answers exactly as a test tells it, faults below HTTP included."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest


@dataclass(frozen=True)
class Exchange:
    """One request as it arrived."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


Answer = Callable[[Exchange, asyncio.StreamWriter], Awaitable[None]]


class ScriptedServer:
    """`answers` are used up one by one, the last of them for every further request."""

    def __init__(self) -> None:
        self.answers: list[Answer] = [self.raw(b"")]
        self.exchanges: list[Exchange] = []
        self.connections = 0
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def raw(self, content: bytes) -> Answer:
        """These bytes, and the end of the connection."""

        async def answer(_exchange: Exchange, writer: asyncio.StreamWriter) -> None:
            writer.write(content)
            await writer.drain()

        return answer

    def reply(
        self, status: int, body: bytes = b"", content_type: str = "text/html", **headers: str
    ) -> Answer:
        """A well-formed HTTP answer; underscores in header names stand for hyphens."""
        fields = {"content-type": content_type, "content-length": str(len(body)), "connection": "close"}
        fields |= {name.replace("_", "-"): value for name, value in headers.items()}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        return self.raw(f"HTTP/1.1 {status} Scripted\r\n{head}\r\n".encode() + body)

    def json(self, status: int, body: Any, **headers: str) -> Answer:
        return self.reply(status, json.dumps(body).encode(), "application/json", **headers)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            exchange = await _read_request(reader)
            self.exchanges.append(exchange)
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            await answer(exchange, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client left, or the test is over
        finally:
            self._tasks.discard(task)
            writer.close()

    async def stop(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _read_request(reader: asyncio.StreamReader) -> Exchange:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    method, target, _ = first.split(" ")
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Exchange(method, target, headers, body)


@pytest.fixture
async def scripted_server() -> AsyncGenerator[ScriptedServer]:
    scripted = ScriptedServer()
    server = await asyncio.start_server(scripted.serve, "127.0.0.1", 0)
    scripted.port = server.sockets[0].getsockname()[1]
    try:
        yield scripted
    finally:
        server.close()
        await scripted.stop()
        await server.wait_closed()
