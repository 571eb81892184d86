"""Every call of both ports against every way in which an answer can go wrong.

What matters to the callers: which error, after at most how long, and how often the provider was
asked. A POST whose answer was lost must never look as if nothing had happened.
"""

import asyncio
import gzip
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from visiona.adapters.http import Timeouts
from visiona.adapters.replicate import (
    ReplicateClient,
    ReplicateConfig,
    ReplicateGenerator,
    ReplicateTrainer,
)
from visiona.core.guard import TransactionOpenError, transaction_marker
from visiona.ports.errors import (
    OutcomeUnknown,
    ProviderError,
    ProviderNotFound,
    ProviderRejected,
    ProviderUnavailable,
)
from visiona.ports.generator import GenerationOrder
from visiona.ports.remote import RemoteState
from visiona.ports.trainer import TrainingOrder

TOKEN = "r8_sekrit"
VERSION = "visiona/visiona-00:" + "ab" * 32
SINCE = datetime(2026, 1, 1, tzinfo=UTC)
DEADLINE_S = 5.0
PATIENCE_S = 6.0
"""Long enough that a busy machine does not turn one fault into another; tests of slowness, where the
deadline is what happens, set a short one."""
SHORT_S = 0.4
DEADLINES = ("call_deadline_s", "upload_deadline_s", "download_deadline_s")

JOB: dict[str, Any] = {"id": "job1", "status": "starting", "created_at": "2026-01-01T00:00:10Z"}
TRAINING_ORDER = TrainingOrder("https://files.test/a.zip", "visiona/visiona-00", {"steps": 100}, None)
GENERATION_ORDER = GenerationOrder(VERSION, {"prompt": "a wizard", "seed": 7}, None)

Call = Callable[[], Awaitable[Any]]


class Caller:
    """All calls of both ports, grouped by what a lost answer means for them."""

    def __init__(self, client: ReplicateClient, folder: Path) -> None:
        self.client = client
        self.trainer = trainer = ReplicateTrainer(client)
        self.generator = generator = ReplicateGenerator(client)
        archive = folder / "archive.zip"
        archive.write_bytes(b"PK" * 5000)
        url = client.config.base_url + "/out-0.webp"
        self.posts: dict[str, Call] = {
            "upload_archive": lambda: trainer.upload_archive(archive),
            "ensure_destination": lambda: trainer.ensure_destination(0),
            "start_training": lambda: trainer.start_training(TRAINING_ORDER),
            "cancel_training": lambda: trainer.cancel_training("job1"),
            "start_prediction": lambda: generator.start_prediction(GENERATION_ORDER),
            "cancel_prediction": lambda: generator.cancel_prediction("job1"),
        }
        self.gets: dict[str, Call] = {
            "find_training": lambda: trainer.find_training(TRAINING_ORDER, SINCE),
            "get_training": lambda: trainer.get_training("job1"),
            "input_schema": lambda: trainer.input_schema(VERSION),
            "find_prediction": lambda: generator.find_prediction(GENERATION_ORDER, SINCE),
            "get_prediction": lambda: generator.get_prediction("job1"),
        }
        self.deletes: dict[str, Call] = {
            "delete_archive": lambda: trainer.delete_archive("file1"),
            "delete_version": lambda: trainer.delete_version(VERSION),
        }
        self.downloads: dict[str, Call] = {"download": lambda: generator.download(url, folder / "out")}

    @property
    def all(self) -> dict[str, Call]:
        return self.posts | self.gets | self.deletes | self.downloads


def config_for(url: str, **changes: Any) -> ReplicateConfig:
    values: dict[str, Any] = {
        "token": TOKEN,
        "base_url": f"{url}/v1",
        "owner": "visiona",
        "delivery_hosts": (url.removeprefix("http://"),),
        **dict.fromkeys(DEADLINES, DEADLINE_S),
        "retry_budget_s": 0.1,
        "max_output_bytes": 1_000_000,
    }
    return ReplicateConfig(**(values | changes))


@pytest.fixture
async def caller(scripted_server: Any, tmp_path: Path) -> AsyncGenerator[Caller]:
    client = ReplicateClient(config_for(scripted_server.url))
    yield Caller(client, tmp_path)
    await client.aclose()


async def outcome(call: Call) -> type[ProviderError] | None:
    """The class of the error, None where there was none. Anything else than a port's error is a bug."""
    started = time.monotonic()
    failure = None
    try:
        await call()
    except ProviderError as error:
        failure = error
    assert time.monotonic() - started < PATIENCE_S
    assert TOKEN not in str(failure)
    assert "wizard" not in str(failure)
    return type(failure) if failure else None


async def outcomes(calls: dict[str, Call]) -> dict[str, type[ProviderError] | None]:
    found = await asyncio.gather(*(outcome(call) for call in calls.values()))
    return dict(zip(calls, found, strict=True))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# Faults: what the server does with a request that it has read


async def hang(_exchange: Any, _writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


async def reset(_exchange: Any, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def drip_headers(_exchange: Any, writer: asyncio.StreamWriter) -> None:
    await drip(writer, b"HTTP/1.1 200 OK\r\n" + b"x-more: 1\r\n" * 1000)


async def drip_body(_exchange: Any, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 5000\r\n\r\n")
    await drip(writer, b" " * 5000)


async def drip(writer: asyncio.StreamWriter, content: bytes) -> None:
    for byte in content:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.05)


async def huge_body(_exchange: Any, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 104857600\r\n\r\n")
    for _ in range(1600):
        writer.write(b" " * 65536)
        await writer.drain()


async def huge_chunked_body(_exchange: Any, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
    for _ in range(1600):
        writer.write(b"10000\r\n" + b" " * 65536 + b"\r\n")
        await writer.drain()


def ok(body: bytes, **headers: str) -> Callable[[Any], Any]:
    return lambda server: server.reply(200, body, "application/json", **headers)


def status(code: int, body: Any = None, **headers: str) -> Callable[[Any], Any]:
    return lambda server: server.json(code, body if body is not None else {"detail": "no"}, **headers)


LOST = (OutcomeUnknown, ProviderUnavailable, ProviderUnavailable, ProviderUnavailable)
UNUSABLE = (OutcomeUnknown, ProviderUnavailable, None, None)
"""Nothing is read from the answer to a deletion, and whether a download is a picture is decided
where pictures are decoded."""
UNAVAILABLE = (ProviderUnavailable,) * 4
REJECTED = (ProviderRejected,) * 4
NOT_FOUND = (ProviderNotFound, ProviderNotFound, None, ProviderNotFound)
TOO_LARGE = (OutcomeUnknown, ProviderUnavailable, ProviderUnavailable, ProviderRejected)
REDIRECTED = (OutcomeUnknown, ProviderUnavailable, ProviderUnavailable, ProviderRejected)

FAULTS: dict[str, tuple[Callable[[Any], Any], tuple[type[ProviderError] | None, ...]]] = {
    "hang": (lambda _: hang, LOST),
    "reset": (lambda _: reset, LOST),
    "closed without an answer": (lambda server: server.raw(b""), LOST),
    "headers byte by byte": (lambda _: drip_headers, LOST),
    "body byte by byte": (lambda _: drip_body, LOST),
    "not http": (lambda server: server.raw(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), LOST),
    "headers cut off": (lambda server: server.raw(b"HTTP/1.1 200 OK\r\ncontent-le"), LOST),
    "half a megabyte of headers": (
        lambda server: server.raw(b"HTTP/1.1 200 OK\r\n" + b"x: " + b"a" * 500_000 + b"\r\n\r\n"),
        LOST,
    ),
    "body shorter than announced": (
        lambda server: server.raw(b'HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{"id":'),
        LOST,
    ),
    "chunk cut off": (
        lambda server: server.raw(b'HTTP/1.1 201 OK\r\ntransfer-encoding: chunked\r\n\r\n40\r\n{"id"'),
        LOST,
    ),
    "100 MB": (lambda _: huge_body, TOO_LARGE),
    "100 MB in chunks": (lambda _: huge_chunked_body, TOO_LARGE),
    "truncated json": (ok(b'{"id": "job1", "status": "star'), UNUSABLE),
    "html as success": (lambda server: server.reply(200, b"<html>welcome</html>"), UNUSABLE),
    "empty success": (ok(b""), UNUSABLE),
    "not utf-8": (ok(b'{"id": "\xff\xfe", "status": "starting"}'), UNUSABLE),
    "compressed unasked": (ok(gzip.compress(b'{"id": "job1"}'), content_encoding="gzip"), UNUSABLE),
    "a list for an object": (ok(b"[]"), UNUSABLE),
    "null": (ok(b"null"), UNUSABLE),
    "100,000 brackets": (ok(b"[" * 100_000), UNUSABLE),
    "a bottomless field": (ok(b'{"id": "job1", "status": "starting", "x": ' + b"[" * 100_000), UNUSABLE),
    "missing fields": (ok(b"{}"), UNUSABLE),
    "numbers for strings": (
        ok(b'{"id": 7, "status": 1, "owner": 2, "name": 3, "results": 4, "openapi_schema": 5}'),
        UNUSABLE,
    ),
    "an id that climbs": (
        ok(b'{"id": "../account", "status": "starting", "urls": {"get": "https://x.test/"}}'),
        UNUSABLE,
    ),
    "500": (status(500), LOST),
    "502 in html": (lambda server: server.reply(502, b"<html>Bad gateway</html>"), LOST),
    "503 with a wait": (status(503, retry_after="30"), LOST),
    "504 without a body": (lambda server: server.reply(504), LOST),
    "408": (status(408), LOST),
    "302": (status(302, location="http://127.0.0.1:9/"), REDIRECTED),
    "307": (status(307, location="http://127.0.0.1:9/"), REDIRECTED),
    "429": (status(429), UNAVAILABLE),
    "429 with a wait": (status(429, {"detail": "throttled", "retry_after": 30}), UNAVAILABLE),
    "400": (status(400), REJECTED),
    "401": (status(401), REJECTED),
    "402": (status(402, {"title": "Insufficient credit", "detail": "buy"}), REJECTED),
    "403": (status(403), REJECTED),
    "404": (status(404), NOT_FOUND),
    "409": (status(409), REJECTED),
    "413": (status(413), REJECTED),
    "418 with a list": (status(418, ["no"]), REJECTED),
    "422": (status(422), REJECTED),
    "422 in html": (lambda server: server.reply(422, b"<html>no</html>"), REJECTED),
    "422 that is cut off": (
        lambda server: server.raw(b'HTTP/1.1 422 No\r\ncontent-length: 90\r\n\r\n{"det'),
        REJECTED,
    ),
    "spend limit as 429": (
        status(429, {"detail": "You've hit your monthly spend limit for the API."}),
        REJECTED,
    ),
}

SLOW = {"hang", "headers byte by byte", "body byte by byte"}
IMPATIENT = dict.fromkeys(DEADLINES, SHORT_S) | {"timeouts": Timeouts(read_s=SHORT_S / 2)}


@pytest.mark.parametrize("fault", FAULTS)
async def test_each_call_reports_each_fault_in_bounded_time(
    fault: str, scripted_server: Any, tmp_path: Path
) -> None:
    client = ReplicateClient(config_for(scripted_server.url, **(IMPATIENT if fault in SLOW else {})))
    caller = Caller(client, tmp_path)
    behaviour, (post, get, delete, download) = FAULTS[fault]
    scripted_server.answers = [behaviour(scripted_server)]
    expected: dict[str, type[ProviderError] | None] = {
        **dict.fromkeys(caller.posts, post),
        **dict.fromkeys(caller.gets, get),
        **dict.fromkeys(caller.deletes, delete),
        **dict.fromkeys(caller.downloads, download),
    }

    assert await outcomes(caller.all) == expected
    written = names(tmp_path)
    assert written == (["archive.zip", "out"] if download is None else ["archive.zip"])
    await client.aclose()


async def test_a_server_that_is_not_there_was_certainly_not_asked(
    scripted_server: Any, tmp_path: Path
) -> None:
    listener = await asyncio.start_server(scripted_server.serve, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    listener.close()
    await listener.wait_closed()
    client = ReplicateClient(config_for(f"http://127.0.0.1:{port}"))
    calls = Caller(client, tmp_path).all

    assert await outcomes(calls) == dict.fromkeys(calls, ProviderUnavailable)
    await client.aclose()


async def test_a_name_that_does_not_resolve_was_certainly_not_asked(tmp_path: Path) -> None:
    client = ReplicateClient(config_for("http://no-such-host.invalid:81", call_deadline_s=5.0))
    caller = Caller(client, tmp_path)
    calls = {"start": caller.posts["start_prediction"], "get": caller.gets["get_prediction"]}

    assert await outcomes(calls) == dict.fromkeys(calls, ProviderUnavailable)
    await client.aclose()


async def test_waiting_for_a_free_connection_is_bounded_and_sends_nothing(
    scripted_server: Any, tmp_path: Path
) -> None:
    waiting = asyncio.Semaphore(0)

    async def hold(_exchange: Any, _writer: asyncio.StreamWriter) -> None:
        waiting.release()
        await asyncio.sleep(60)

    scripted_server.answers = [hold]
    timeouts = Timeouts(pool_s=0.1)
    client = ReplicateClient(config_for(scripted_server.url, timeouts=timeouts))
    caller = Caller(client, tmp_path)
    busy = [asyncio.create_task(outcome(caller.gets["get_training"])) for _ in range(100)]
    for _ in range(100):
        await waiting.acquire()

    with pytest.raises(ProviderUnavailable, match="no_free_connection"):
        await caller.posts["start_prediction"]()
    assert len(scripted_server.exchanges) == 100

    for task in busy:
        task.cancel()
    await asyncio.gather(*busy, return_exceptions=True)
    await client.aclose()


# How often the provider is asked


@pytest.mark.parametrize("kind", ["gets", "deletes", "downloads"])
@pytest.mark.parametrize("code", [429, 500, 503])
async def test_what_can_be_repeated_is_tried_four_times(
    kind: str, code: int, scripted_server: Any, caller: Caller
) -> None:
    for call in getattr(caller, kind).values():
        scripted_server.exchanges.clear()
        scripted_server.answers = [scripted_server.json(code, {})]

        assert await outcome(call) is ProviderUnavailable
        assert len(scripted_server.exchanges) == 4


async def test_a_get_succeeds_after_the_provider_recovers(scripted_server: Any, caller: Caller) -> None:
    scripted_server.answers = [
        reset,
        scripted_server.json(502, {}),
        scripted_server.json(429, {"retry_after": 0.01}),
        scripted_server.json(200, JOB),
    ]

    report = await caller.trainer.get_training("job1")

    assert report.state is RemoteState.STARTING


@pytest.mark.parametrize("answer", [reset, 429, 500, 503])
async def test_a_post_is_sent_once(answer: Any, scripted_server: Any, caller: Caller) -> None:
    for call in caller.posts.values():
        scripted_server.exchanges.clear()
        scripted_server.answers = [answer if callable(answer) else scripted_server.json(answer, {})]

        await outcome(call)
        assert len(scripted_server.exchanges) == 1


async def test_a_post_is_tried_again_only_where_the_connection_was_refused(
    scripted_server: Any, unused_tcp_port: int
) -> None:
    """The server comes up between two tries."""
    client = ReplicateClient(config_for(f"http://127.0.0.1:{unused_tcp_port}", retry_budget_s=1.0))
    scripted_server.answers = [scripted_server.json(201, JOB)]
    starting = asyncio.create_task(ReplicateGenerator(client).start_prediction(GENERATION_ORDER))
    await asyncio.sleep(0.02)
    server = await asyncio.start_server(scripted_server.serve, "127.0.0.1", unused_tcp_port)

    assert (await starting).id == "job1"
    assert len(scripted_server.exchanges) == 1
    server.close()
    await server.wait_closed()
    await client.aclose()


@pytest.mark.parametrize(
    ("headers", "body", "expected"),
    [
        ({"retry_after": "30"}, {}, 30.0),
        ({"retry_after": "30"}, {"retry_after": 7}, 30.0),
        ({}, {"retry_after": 7}, 7.0),
        ({}, {"retry_after": "7.5"}, 7.5),
        ({"ratelimit_reset": "12"}, {}, 12.0),
        ({"ratelimit_reset": "12"}, {"retry_after": 7}, 7.0),
        ({"retry_after": "Fri, 31 Dec 2100 23:59:59 GMT"}, {}, 3600.0),
        ({"retry_after": "2100-12-31T23:59:59Z"}, {}, 3600.0),
        ({"retry_after": "Fri, 31 Dec 1999 23:59:59 GMT"}, {}, 0.0),
        ({"retry_after": "-5"}, {}, 0.0),
        ({"retry_after": "99999999999"}, {}, 3600.0),
        ({"retry_after": "1e999"}, {"retry_after": True}, None),
        ({"retry_after": "nan"}, {"retry_after": [1]}, None),
        ({"retry_after": "soon"}, {"retry_after": {"a": 1}}, None),
        ({}, {}, None),
    ],
)
async def test_a_throttled_call_says_how_long_to_wait(
    headers: dict[str, str], body: Any, expected: float | None, scripted_server: Any, caller: Caller
) -> None:
    scripted_server.answers = [scripted_server.json(429, body, **headers)]

    with pytest.raises(ProviderUnavailable, match="rate_limited") as caught:
        await caller.generator.start_prediction(GENERATION_ORDER)

    assert caught.value.retry_after == expected


async def test_a_longer_wait_than_we_have_is_left_to_the_caller(scripted_server: Any, caller: Caller) -> None:
    scripted_server.answers = [scripted_server.json(503, {}, retry_after="30")]

    with pytest.raises(ProviderUnavailable) as caught:
        await caller.generator.get_prediction("job1")

    assert caught.value.retry_after == 30.0
    assert len(scripted_server.exchanges) == 1


async def test_a_short_wait_is_obeyed(scripted_server: Any, caller: Caller) -> None:
    scripted_server.answers = [
        scripted_server.json(429, {"retry_after": 0.09}),
        scripted_server.json(200, JOB),
    ]

    started = time.monotonic()
    await caller.generator.get_prediction("job1")

    assert time.monotonic() - started >= 0.09


# What a refusal says


@pytest.mark.parametrize(
    ("code", "body", "reason", "message"),
    [
        (401, {"title": "Unauthenticated", "detail": "bad token"}, "unauthenticated", None),
        (402, {"title": "Insufficient credit", "detail": "Go to billing"}, "insufficient_credit", None),
        (403, {"detail": "You\u2019ve hit your Monthly  Spend Limit."}, "insufficient_credit", None),
        (403, {"detail": "no"}, "forbidden", None),
        (400, {"detail": "no"}, "invalid_request", None),
        (418, {"detail": "tea"}, "refused_418", None),
        (
            422,
            {"title": "Input validation failed", "detail": "- input.steps: Must be\n  at most 6000\n"},
            "invalid_input",
            "- input.steps: Must be at most 6000",
        ),
        (422, {"title": "Invalid version or not permitted", "detail": "gone"}, "invalid_version", "gone"),
        (422, {"detail": "x" * 1000}, "invalid_input", "x" * 300),
        (422, {"detail": ["x"]}, "invalid_input", None),
    ],
)
async def test_a_refusal_has_a_safe_reason_and_a_sentence_only_where_it_is_about_the_input(
    code: int, body: Any, reason: str, message: str | None, scripted_server: Any, caller: Caller
) -> None:
    scripted_server.answers = [scripted_server.json(code, body)]

    with pytest.raises(ProviderRejected) as caught:
        await caller.trainer.start_training(TRAINING_ORDER)

    assert (caught.value.reason, caught.value.status) == (reason, code)
    assert caught.value.message == (message or "The request was refused.")


# What must never leave


async def test_no_call_leaves_while_a_transaction_is_open(scripted_server: Any, caller: Caller) -> None:
    with transaction_marker():
        for call in caller.all.values():
            with pytest.raises(TransactionOpenError):
                await call()

    assert scripted_server.connections == 0


async def test_the_token_goes_to_the_api_and_not_to_a_delivery_host(
    scripted_server: Any, caller: Caller, tmp_path: Path
) -> None:
    scripted_server.answers = [scripted_server.json(200, JOB, set_cookie="session=1; Path=/")]
    await caller.generator.get_prediction("job1")
    await caller.generator.download(f"{scripted_server.url}/out-0.webp", tmp_path / "out")

    asked, fetched = scripted_server.exchanges
    assert asked.headers["authorization"] == f"Bearer {TOKEN}"
    assert "authorization" not in fetched.headers
    assert "cookie" not in fetched.headers


async def test_nothing_private_is_logged(
    scripted_server: Any, caller: Caller, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", logger="visiona")
    caplog.set_level("INFO")
    answers = [scripted_server.json(500, {}), scripted_server.json(422, {"detail": "a wizard"}), reset]
    for answer in [*answers, scripted_server.json(200, [])]:
        scripted_server.answers = [answer]
        for call in caller.all.values():
            await outcome(call)
        await outcome(
            lambda: caller.generator.download(f"{scripted_server.url}/o?signature=abc", tmp_path / "o")
        )

    assert "trying again" in caplog.text
    for private in (TOKEN, "wizard", "signature", "a.zip"):
        assert private not in caplog.text


def test_the_configuration_does_not_show_its_secrets() -> None:
    config = ReplicateConfig(token=TOKEN, webhook_secrets=("whsec_c2Vrcml0",))

    assert TOKEN not in repr(config)
    assert "c2Vrcml0" not in repr(config)


@pytest.mark.parametrize(
    "changes",
    [
        {"token": ""},
        {"token": "r8_sekrit\n"},
        {"token": "r8 sekrit"},
        {"base_url": "ftp://api.replicate.com"},
        {"base_url": "https://api.replicate.com/v1?x=1"},
        {"trainer": "flux-dev-lora-trainer"},
        {"trainer_version": "latest"},
        {"owner": "../me"},
        {"destination_prefix": "a/b"},
        {"delivery_hosts": ("https://replicate.delivery",)},
        {"delivery_hosts": ("*.replicate.delivery",)},
        {"delivery_hosts": ("127.0.0.1",)},
        {"delivery_hosts": ("",)},
        {"webhook_secrets": ("whsec_",)},
        {"webhook_secrets": ("whsec_c2Vrcml0", "whsec_%%%")},
    ],
)
def test_a_configuration_that_cannot_work_is_refused_at_once(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must|is") as caught:
        ReplicateConfig(**({"token": TOKEN} | changes))

    assert "sekrit" not in str(caught.value)
