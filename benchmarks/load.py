"""A closed loop of GET requests over keep-alive connections, in a process of its own.

`python -m benchmarks.load` takes a `Plan` as JSON on standard input and prints a `Result`. Answers are
read as far as `Content-Length` says and no further, so that the loader costs little of the machine
that it shares with the server.
"""

import asyncio
import re
import subprocess
import sys
import time

import msgspec

from benchmarks.processes import python
from benchmarks.report import percentile

WARM_UP_S = 0.2
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Plan(msgspec.Struct):
    port: int
    target: str
    token: str
    connections: int
    seconds: float


class Result(msgspec.Struct):
    """Latencies are in milliseconds; `body_bytes` is the size of one answer's body."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    body_bytes: int

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds


def run(plan: Plan) -> Result:
    """Put this load on a server, from another process."""
    done = subprocess.run(
        python("-m", "benchmarks.load"),
        input=msgspec.json.encode(plan),
        stdout=subprocess.PIPE,
        check=True,
        timeout=plan.seconds + 30,
    )
    return msgspec.json.decode(done.stdout, type=Result)


class _Client(asyncio.Protocol):
    """One connection: the next request leaves when the answer to the last has arrived."""

    def __init__(self, request: bytes, latencies: list[float], ended: asyncio.Future[None]) -> None:
        self.body_bytes = 0
        self._request = request
        self._latencies = latencies
        self._ended = ended
        self._buffer = bytearray()
        self._transport = asyncio.Transport()
        self._sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # a stream's, since the connection is one
        self._send()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        found = _LENGTH.search(self._buffer, 0, head)
        if found is None or not self._buffer.startswith(b"HTTP/1.1 200"):
            self._fail(f"unexpected answer: {bytes(self._buffer[:500])!r}")
            return
        self.body_bytes = int(found[1])
        if len(self._buffer) >= head + 4 + self.body_bytes:
            self._latencies.append(time.perf_counter() - self._sent_at)
            self._buffer.clear()
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(f"connection lost: {exc}")

    def _send(self) -> None:
        self._sent_at = time.perf_counter()
        self._transport.write(self._request)

    def _fail(self, reason: str) -> None:
        if not self._ended.done():
            self._ended.set_exception(RuntimeError(reason))


async def _load(plan: Plan) -> Result:
    loop = asyncio.get_running_loop()
    head = f"GET {plan.target} HTTP/1.1\r\nHost: 127.0.0.1:{plan.port}\r\n"
    request = f"{head}Authorization: Bearer {plan.token}\r\nAccept: application/json\r\n\r\n".encode()
    latencies: list[float] = []
    ended: asyncio.Future[None] = loop.create_future()
    clients = [_Client(request, latencies, ended) for _ in range(plan.connections)]
    for client in clients:
        await loop.create_connection(lambda client=client: client, "127.0.0.1", plan.port)
    await asyncio.sleep(WARM_UP_S)
    latencies.clear()
    started = time.perf_counter()
    await asyncio.wait([ended], timeout=plan.seconds)
    seconds = time.perf_counter() - started
    if ended.done():
        ended.result()
    ended.cancel()
    ordered = sorted(latencies)
    return Result(
        requests=len(ordered),
        seconds=seconds,
        p50_ms=percentile(ordered, 0.5) * 1000,
        p99_ms=percentile(ordered, 0.99) * 1000,
        body_bytes=clients[0].body_bytes,
    )


def main() -> None:
    import uvloop  # noqa: PLC0415 - the parent process does without

    plan = msgspec.json.decode(sys.stdin.buffer.read(), type=Plan)
    sys.stdout.buffer.write(msgspec.json.encode(uvloop.run(_load(plan))))


if __name__ == "__main__":
    main()
