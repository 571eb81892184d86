"""The least that puts a webhook on record with its job, and steps from there to Visiona.

`python -m benchmarks.bare_webhooks serve PORT` serves one path per step, each doing what the step before
does and one thing more (`STEPS`). It runs under the same web server as Visiona, with the settings of a
running one in its environment. `python -m benchmarks.bare_webhooks insert` takes an `Inserts` as JSON on
standard input, writes the same rows without any HTTP, and prints a `Result`.
"""

import asyncio
import hmac
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
import uvicorn
from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool

from benchmarks.load import Result, Window
from benchmarks.processes import python
from benchmarks.proof import Prover
from benchmarks.stripe_events import signed_event
from visiona.bootstrap import App, app_database_url, build, identity_key
from visiona.db.actor import SystemActor
from visiona.settings import Settings, read_settings

STEPS = {
    "/constant": "uvicorn alone (body read, nothing done)",
    "/insert": "bare: JSON read, receipt and job inserted",
    "/verify": "  + signature verified",
    "/services": "  Visiona's services, no framework",
}
TOLERANCE_S = 300

Scope = dict[str, Any]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Connection = AsyncConnection[TupleRow]

_RECEIPT = """insert into webhook_receipts (provider, external_id, topic, reference)
              values ('stripe', %s, 'account', %s)
              on conflict (provider, external_id) do nothing returning id"""
_JOB = "select visiona.enqueue('inbox.process', %s, false)"


class Inserts(msgspec.Struct):
    connections: int
    seconds: float


class _Details(msgspec.Struct):
    metadata: dict[str, str]


class _Parent(msgspec.Struct):
    subscription_details: _Details


class _Invoice(msgspec.Struct):
    customer: str
    parent: _Parent


class _Data(msgspec.Struct):
    object: _Invoice


class _Event(msgspec.Struct):
    id: str
    data: _Data


class Recorder:
    """Writes receipts with their jobs, each in a transaction of its own, in five messages: a proof of who
    writes answers what the transaction's first says.
    """

    def __init__(self, settings: Settings) -> None:
        self._prover = Prover(SystemActor("hook:stripe"), identity_key(settings))

    async def record(self, connection: Connection, body: bytes) -> None:
        event = msgspec.json.decode(body, type=_Event)
        invoice = event.data.object
        user = invoice.parent.subscription_details.metadata["visiona_user"]
        reference = {"customer": invoice.customer, "charge": None, "reference": user}
        await self._prover.begin(connection)
        row = await (await connection.execute(_RECEIPT, [event.id, Jsonb(reference)])).fetchone()
        if row is not None:
            await connection.execute(_JOB, [Jsonb({"receipt_id": row[0]})])
        await connection.commit()


class Bare:
    """An ASGI application that routes by a dictionary."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._recorder = Recorder(app.settings)
        self._secret = app.settings.stripe_webhook_secret[0].encode()
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            app_database_url(app.settings),
            min_size=1,
            max_size=app.settings.database_pool_size,
            open=False,
            kwargs={"autocommit": True},
        )
        self._steps: dict[str, Callable[[Mapping[bytes, bytes], bytes], Awaitable[int]]] = {
            "/constant": self._read_only,
            "/insert": self._insert,
            "/verify": self._verify_and_insert,
            "/services": self._accept_by_services,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if scope["method"] == "GET":
            status = 200  # to see whether we are there
        else:
            status = await self._steps[scope["path"]](dict(scope["headers"]), await _body(receive))
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body"})

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        await self._app.open()
        await self._pool.open()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._pool.close()
        await self._app.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _read_only(self, _: Mapping[bytes, bytes], __: bytes) -> int:
        return 204

    async def _insert(self, _: Mapping[bytes, bytes], body: bytes) -> int:
        async with self._pool.connection() as connection:
            await self._recorder.record(connection, body)
        return 204

    async def _verify_and_insert(self, headers: Mapping[bytes, bytes], body: bytes) -> int:
        if not self._is_genuine(headers[b"stripe-signature"], body):
            return 401
        return await self._insert(headers, body)

    async def _accept_by_services(self, headers: Mapping[bytes, bytes], body: bytes) -> int:
        text = {"stripe-signature": headers[b"stripe-signature"].decode()}
        await self._app.inbox.accept(await self._app.read_stripe_webhook(text, body, {}))
        return 204

    def _is_genuine(self, header: bytes, body: bytes) -> bool:
        parts = dict(item.split(b"=", 1) for item in header.split(b","))
        expected = hmac.digest(self._secret, b"%b.%b" % (parts[b"t"], body), "sha256").hex().encode()
        age_s = abs(datetime.now(UTC).timestamp() - int(parts[b"t"]))
        return age_s <= TOLERANCE_S and hmac.compare_digest(parts[b"v1"], expected)


async def _body(receive: Receive) -> bytes:
    message = await receive()
    body: bytes = message["body"]
    while message["more_body"]:
        message = await receive()
        body += message["body"]
    return body


def run_inserts(inserts: Inserts, environment: Mapping[str, str]) -> Result:
    """Insert without HTTP, in another process."""
    done = subprocess.run(
        python("-m", "benchmarks.bare_webhooks", "insert"),
        input=msgspec.json.encode(inserts),
        stdout=subprocess.PIPE,
        env=environment,
        check=True,
        timeout=inserts.seconds + 30,
    )
    return msgspec.json.decode(done.stdout, type=Result)


async def _insert(inserts: Inserts, settings: Settings) -> Result:
    recorder = Recorder(settings)
    serial = iter(range(sys.maxsize))

    async def worker(connection: Connection, window: Window) -> None:
        while not window.over:
            _, body = signed_event(next(serial), "")
            started = time.perf_counter()
            await recorder.record(connection, body)
            window.note(time.perf_counter() - started)

    url = app_database_url(settings)
    connections: list[Connection] = [
        await AsyncConnection.connect(url, autocommit=True) for _ in range(inserts.connections)
    ]
    window = Window()
    workers = [worker(connection, window) for connection in connections]
    result = await window.measure(inserts.seconds, asyncio.ensure_future(asyncio.gather(*workers)))
    for connection in connections:
        await connection.close()
    return result


def main() -> None:
    settings = read_settings()
    if sys.argv[1] == "insert":
        import uvloop  # noqa: PLC0415 - the parent process does without

        inserts = msgspec.json.decode(sys.stdin.buffer.read(), type=Inserts)
        sys.stdout.buffer.write(msgspec.json.encode(uvloop.run(_insert(inserts, settings))))
        return
    app = Bare(build(settings, "app"))
    port = int(sys.argv[2])
    uvicorn.run(app, host="127.0.0.1", port=port, access_log=False, log_config=None, server_header=False)


if __name__ == "__main__":
    main()
