"""Every call to Clerk against every way in which an answer can go wrong.

What matters to the callers: which error, after at most how long, and how often Clerk was asked. A POST
that may have made something must never look as if nothing had happened, nor be sent twice.
"""

import asyncio
import gzip
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.adapters.clerk_instance import NOW, PASSWORD, SECRET_KEY, ClerkInstance, refusal

from visiona.adapters.clerk import ClerkIdentity
from visiona.core.guard import TransactionOpenError, transaction_marker
from visiona.ports.errors import OutcomeUnknown, ProviderError, ProviderRejected, ProviderUnavailable
from visiona.ports.identity import AccountBarred

EMAIL = "ada@example.com"
SHORT_S = 1.0
PATIENCE_S = 6.0
"""Long enough that a busy machine does not turn one fault into another; tests of slowness, where the
deadline is what happens, set a short one."""

Call = Callable[[ClerkIdentity], Awaitable[Any]]

# Each with the path that is spoiled, and what a lost answer to it means: `again`, it is simply asked
# again; `harmless`, it is not, but nothing was changed; `unknown`, something may have been made.
CALLS: dict[str, tuple[Call, str, str]] = {
    "register": (lambda c: c.register("new@example.com", PASSWORD), "/v1/users", "unknown"),
    "look somebody up": (lambda c: c.check_password(EMAIL, PASSWORD), "/v1/users", "again"),
    "verify a password": (
        lambda c: c.check_password(EMAIL, PASSWORD),
        "/v1/users/user_1/verify_password",
        "harmless",
    ),
    "profile": (lambda c: c.profile("user_1"), "/v1/users/user_1", "again"),
    "delete": (lambda c: c.delete("user_1"), "/v1/users/user_1", "again"),
    "make a ticket": (lambda c: c.open_session("user_1"), "/v1/sign_in_tokens", "harmless"),
    "redeem a ticket": (lambda c: c.open_session("user_1"), "/v1/client/sign_ins", "unknown"),
    "look at the new session": (lambda c: c.open_session("user_1"), "/v1/sessions/", "again"),
    "session": (lambda c: c.session("sess_1"), "/v1/sessions/sess_1", "again"),
    "end a session": (lambda c: c.end_session("sess_1"), "/v1/sessions/sess_1/revoke", "again"),
    "read a handshake": (
        lambda c: c.read_handshake(token=None, nonce="nonce1", now=NOW),
        "/v1/clients/handshake_payload",
        "harmless",
    ),
}


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture
def instance(scripted_server: Any, key: rsa.RSAPrivateKey) -> ClerkInstance:
    instance = ClerkInstance(scripted_server, key)
    instance.add_user(EMAIL)
    instance.add_session("user_1")
    instance.nonces["nonce1"] = []
    return instance


@pytest.fixture
async def identity(instance: ClerkInstance) -> AsyncGenerator[ClerkIdentity]:
    identity = ClerkIdentity(instance.config())
    yield identity
    await identity.aclose()


async def failure_of(call: Call, identity: ClerkIdentity) -> ProviderError | None:
    """Anything else than a port's error is a bug."""
    started = time.monotonic()
    failure = None
    try:
        await call(identity)
    except ProviderError as error:
        failure = error
    assert time.monotonic() - started < PATIENCE_S
    for secret in (SECRET_KEY, PASSWORD, EMAIL, "ticket-"):
        assert secret not in f"{failure} {failure.__cause__ if failure else ''}"
    return failure


def ports_error(failure: ProviderError | None) -> type | None:
    """The class that callers know it by."""
    return next((kind for kind in type(failure).__mro__ if kind.__module__ == "visiona.ports.errors"), None)


async def hang(_exchange: Any, _writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


async def reset(_exchange: Any, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def drip(_exchange: Any, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 5000\r\n\r\n")
    for _ in range(5000):
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.05)


async def huge_body(_exchange: Any, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 104857600\r\n\r\n")
    for _ in range(1600):
        writer.write(b" " * 65536)
        await writer.drain()


def ok(body: bytes, **headers: str) -> Callable[[Any], Any]:
    return lambda server: server.reply(200, body, "application/json", **headers)


def status(code: int, body: Any = None, **headers: str) -> Callable[[Any], Any]:
    return lambda server: server.json(
        code, body if body is not None else refusal(code, "bad_request")[1], **headers
    )


LOST = {"again": ProviderUnavailable, "harmless": ProviderUnavailable, "unknown": OutcomeUnknown}
UNAVAILABLE = dict.fromkeys(LOST, ProviderUnavailable)
REJECTED = dict.fromkeys(LOST, ProviderRejected)

FAULTS: dict[str, tuple[Callable[[Any], Any], dict[str, type[ProviderError]]]] = {
    "hang": (lambda _: hang, LOST),
    "reset": (lambda _: reset, LOST),
    "closed without an answer": (lambda server: server.raw(b""), LOST),
    "body byte by byte": (lambda _: drip, LOST),
    "100 MB": (lambda _: huge_body, LOST),
    "not http": (lambda server: server.raw(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), LOST),
    "body shorter than announced": (
        lambda server: server.raw(b'HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{"id":'),
        LOST,
    ),
    "truncated json": (ok(b'{"id": "user_1", "object": "us'), LOST),
    "html as success": (lambda server: server.reply(200, b"<html>welcome</html>"), LOST),
    "empty success": (ok(b""), LOST),
    "not utf-8": (ok(b'{"id": "\xff\xfe"}'), LOST),
    "compressed unasked": (ok(gzip.compress(b'{"id": "user_1"}'), content_encoding="gzip"), LOST),
    "a number": (ok(b"5"), LOST),
    "a list of numbers": (ok(b"[5]"), LOST),
    "null": (ok(b"null"), LOST),
    "100,000 brackets": (ok(b"[" * 100_000), LOST),
    "missing fields": (ok(b"{}"), LOST),
    "wrong types": (
        ok(b'{"id": 7, "verified": "yes", "token": 5, "response": [], "directives": 3, "deleted": "x"}'),
        LOST,
    ),
    "500": (status(500, refusal(500, "internal_clerk_error")[1]), LOST),
    "502 in html": (lambda server: server.reply(502, b"<html>Bad gateway</html>"), LOST),
    "503 with a wait": (status(503, retry_after="30"), LOST),
    "504 without a body": (lambda server: server.reply(504), LOST),
    "408": (status(408), LOST),
    "302": (status(302, location="http://127.0.0.1:9/"), LOST),
    "404 in html": (lambda server: server.reply(404, b"<html>Not here</html>"), LOST),
    "403 in html": (lambda server: server.reply(403, b"<html>Blocked</html>"), LOST),
    "422 without errors": (status(422, {"errors": []}), LOST),
    "418 with a list": (status(418, ["no"]), LOST),
    "429": (status(429), UNAVAILABLE),
    "429 with a wait": (status(429, retry_after="30"), UNAVAILABLE),
    "429 in html": (lambda server: server.reply(429, b"<html>slow down</html>"), UNAVAILABLE),
    "401": (status(401), REJECTED),
    "402": (status(402), REJECTED),
    "403": (status(403), REJECTED),
    "409": (status(409), REJECTED),
    "413": (status(413), REJECTED),
}


SLOW = {"hang", "body byte by byte"}
SECOND_STEPS = {"verify a password", "redeem a ticket"}
THIRD_STEPS = {"look at the new session"}
# What is spoiled at once must not stand in each other's way.
ROUNDS = (CALLS.keys() - SECOND_STEPS - THIRD_STEPS, SECOND_STEPS, THIRD_STEPS)


@pytest.mark.parametrize("fault", FAULTS)
async def test_each_call_reports_each_fault_in_bounded_time(fault: str, instance: ClerkInstance) -> None:
    identity = ClerkIdentity(instance.config(**({"call_deadline_s": SHORT_S} if fault in SLOW else {})))
    behaviour, expected = FAULTS[fault]
    found: dict[str, Any] = {}
    for names in map(sorted, ROUNDS):
        instance.spoiled = {CALLS[name][1]: behaviour(instance.server) for name in names}
        failures = await asyncio.gather(*(failure_of(CALLS[name][0], identity) for name in names))
        found |= dict(zip(names, map(ports_error, failures), strict=True))

    assert found == {name: expected[kind] for name, (_, _, kind) in CALLS.items()}
    await identity.aclose()


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("answer", [reset, 500, 502])
async def test_only_what_changes_nothing_is_asked_again(
    name: str, answer: Any, instance: ClerkInstance, identity: ClerkIdentity
) -> None:
    call, path, kind = CALLS[name]
    asked: list[str] = []

    async def count(exchange: Any, writer: asyncio.StreamWriter) -> None:
        asked.append(exchange.method)
        behaviour = answer if callable(answer) else instance.server.json(answer, {})
        await behaviour(exchange, writer)

    instance.spoiled = {path: count}
    await failure_of(call, identity)

    assert len(asked) == (4 if kind == "again" else 1)


async def test_a_lost_registration_is_not_sent_twice(
    instance: ClerkInstance, identity: ClerkIdentity
) -> None:
    instance.lost = {"/v1/users"}

    with pytest.raises(OutcomeUnknown):
        await identity.register("new@example.com", PASSWORD)

    assert instance.asked("/v1/users") == 1
    assert len(instance.users) == 2


async def test_a_get_succeeds_after_clerk_recovers(instance: ClerkInstance, identity: ClerkIdentity) -> None:
    server = instance.server
    own = server.answers[0]
    server.answers = [reset, server.json(502, {}), server.json(429, {}, retry_after="0"), own]

    assert await identity.profile("user_1") is not None
    assert len(server.exchanges) == 4


@pytest.mark.parametrize(
    ("told", "seconds"), [("30", 30.0), ("99999", 3600.0), ("-1", 0.0), ("soon", None), (None, None)]
)
async def test_a_throttled_call_says_how_long_to_wait(
    told: str | None, seconds: float | None, instance: ClerkInstance, identity: ClerkIdentity
) -> None:
    headers = {} if told is None else {"retry_after": told}
    instance.spoiled = {"/v1/users": instance.server.json(*refusal(429, "too_many_requests"), **headers)}

    with pytest.raises(ProviderUnavailable, match="rate_limited") as caught:
        await identity.register(EMAIL, PASSWORD)

    assert caught.value.retry_after == seconds
    assert instance.asked("/v1/users") == 1


async def test_a_server_that_is_not_there_was_certainly_not_asked(
    instance: ClerkInstance, unused_tcp_port: int
) -> None:
    nowhere = f"http://127.0.0.1:{unused_tcp_port}"
    identity = ClerkIdentity(instance.config(base_url=f"{nowhere}/v1", frontend_url=nowhere))

    for name, (call, _, _) in CALLS.items():
        assert type(await failure_of(call, identity)) is ProviderUnavailable, name
    await identity.aclose()


async def test_a_secret_key_that_is_not_accepted_is_said_once(
    instance: ClerkInstance, caplog: pytest.LogCaptureFixture
) -> None:
    identity = ClerkIdentity(instance.config(secret_key="sk_test_wrong"))
    with caplog.at_level(logging.INFO, "visiona"):
        for _ in range(3):
            with pytest.raises(ProviderRejected, match="secret key is not accepted"):
                await identity.profile("user_1")

    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "trace1" in caplog.text
    assert "sk_test_wrong" not in caplog.text
    await identity.aclose()


async def test_a_person_who_is_refused_is_not_the_operators_alarm(
    instance: ClerkInstance, identity: ClerkIdentity, caplog: pytest.LogCaptureFixture
) -> None:
    instance.users["user_1"]["banned"] = True
    with caplog.at_level(logging.INFO, "visiona"), pytest.raises(AccountBarred):
        await identity.open_session("user_1")

    assert [record.levelname for record in caplog.records] == ["INFO"]


async def test_nothing_is_asked_inside_a_transaction(
    instance: ClerkInstance, identity: ClerkIdentity
) -> None:
    for call, _, _ in CALLS.values():
        with transaction_marker(), pytest.raises(TransactionOpenError):
            await call(identity)
    assert not instance.server.exchanges
