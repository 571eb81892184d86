"""A closed loop of requests over keep-alive connections, in a process of its own.

`python -m benchmarks.load` takes a `Plan` as JSON on standard input and prints a `Result`. Answers are
read as far as `Content-Length` says and no further, so that the loader costs little of the machine
that it shares with the server.
"""

import asyncio
import re
import subprocess
import sys
import time
from collections.abc import Callable

import msgspec

from benchmarks.processes import python
from benchmarks.report import percentile
from benchmarks.stripe_events import signed_event

WARM_UP_S = 0.2
DRAIN_TIMEOUT_S = 10.0
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Get(msgspec.Struct, tag=True):
    """The same request again and again, by somebody signed in."""

    target: str
    token: str


class Deliver(msgspec.Struct, tag=True):
    """Stripe's events, each a new one; after so many `distinct` ones they begin again."""

    target: str
    secret: str
    distinct: int | None = None


class Plan(msgspec.Struct):
    """Answers of any other status end the load with an error."""

    port: int
    send: Get | Deliver
    connections: int
    seconds: float
    status: int = 200


class Result(msgspec.Struct):
    """Of the time after the warm-up; latencies are in milliseconds. `done` counts the warm-up too, and what
    was still under way at the end. `cpu_s` is what the loader itself took for all of these. `body_bytes`
    is the size of one answer's body.
    """

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    done: int
    cpu_s: float
    body_bytes: int = 0

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


class Window:
    """Collects latencies. `over` tells whoever asks to begin nothing more."""

    def __init__(self) -> None:
        self.over = False
        self._latencies: list[float] = []
        self._cpu_before = time.process_time()

    def note(self, seconds: float) -> None:
        self._latencies.append(seconds)

    async def measure(self, seconds: float, workers: "asyncio.Future[None]") -> Result:
        """Wait so long, then until the `workers` have ended. Raises what one of them raised."""
        await asyncio.wait([workers], timeout=WARM_UP_S)
        warm_up = len(self._latencies)
        started = time.perf_counter()
        await asyncio.wait([workers], timeout=seconds)
        taken = time.perf_counter() - started
        ordered = sorted(self._latencies[warm_up:])
        self.over = True
        await asyncio.wait_for(workers, DRAIN_TIMEOUT_S)
        return Result(
            requests=len(ordered),
            seconds=taken,
            p50_ms=percentile(ordered, 0.5) * 1000,
            p99_ms=percentile(ordered, 0.99) * 1000,
            done=len(self._latencies),
            cpu_s=time.process_time() - self._cpu_before,
        )


class _Client(asyncio.Protocol):
    """One connection: the next request leaves when the answer to the last has arrived. `ended` is set once
    the last answer has come.
    """

    def __init__(self, next_request: Callable[[], bytes], status: int, window: Window) -> None:
        self.body_bytes = 0
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._next_request = next_request
        self._status = b"HTTP/1.1 %d" % status
        self._window = window
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
        if not self._buffer.startswith(self._status):
            self._fail(f"unexpected answer: {bytes(self._buffer[:500])!r}")
            return
        found = _LENGTH.search(self._buffer, 0, head)
        self.body_bytes = int(found[1]) if found else 0  # an answer that says nothing has none
        if len(self._buffer) >= head + 4 + self.body_bytes:
            self._window.note(time.perf_counter() - self._sent_at)
            self._buffer.clear()
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(f"connection lost: {exc}")

    def _send(self) -> None:
        if self._window.over:
            self.ended.set_result(None)
            self._transport.close()
            return
        request = self._next_request()
        self._sent_at = time.perf_counter()
        self._transport.write(request)

    def _fail(self, reason: str) -> None:
        if not self.ended.done():
            self.ended.set_exception(RuntimeError(reason))


async def _load(plan: Plan) -> Result:
    loop = asyncio.get_running_loop()
    window = Window()
    next_request = _requests(plan)
    clients = [_Client(next_request, plan.status, window) for _ in range(plan.connections)]
    for client in clients:
        await loop.create_connection(lambda client=client: client, "127.0.0.1", plan.port)
    result = await window.measure(plan.seconds, asyncio.gather(*(client.ended for client in clients)))
    result.body_bytes = clients[0].body_bytes
    return result


def _requests(plan: Plan) -> Callable[[], bytes]:
    return _gets(plan.port, plan.send) if isinstance(plan.send, Get) else _deliveries(plan.port, plan.send)


def _gets(port: int, send: Get) -> Callable[[], bytes]:
    head = f"GET {send.target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
    request = f"{head}Authorization: Bearer {send.token}\r\nAccept: application/json\r\n\r\n".encode()
    return lambda: request


def _deliveries(port: int, send: Deliver) -> Callable[[], bytes]:
    """As Stripe posts them."""
    head = (
        f"POST {send.target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        "User-Agent: Stripe/1.0 (+https://stripe.com/docs/webhooks)\r\nAccept: */*; q=0.5, application/xml"
        "\r\nCache-Control: no-cache\r\nContent-Type: application/json; charset=utf-8\r\n"
    ).encode()
    serial = 0

    def next_request() -> bytes:
        nonlocal serial
        signature, body = signed_event(serial, send.secret)
        serial = serial + 1 if send.distinct is None else (serial + 1) % send.distinct
        return b"%bContent-Length: %d\r\nStripe-Signature: %b\r\n\r\n%b" % (head, len(body), signature, body)

    return next_request


def main() -> None:
    import uvloop  # noqa: PLC0415 - the parent process does without

    plan = msgspec.json.decode(sys.stdin.buffer.read(), type=Plan)
    sys.stdout.buffer.write(msgspec.json.encode(uvloop.run(_load(plan))))


if __name__ == "__main__":
    main()
