"""Clerk's public keys over HTTP: junk does not make us hammer it, outages stop nothing, rotations arrive."""

import asyncio
import json
import secrets
import time
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.adapters.clerk_instance import NOW, ClerkInstance, jwk_of, number, sign

from visiona.adapters.clerk import ClerkIdentity
from visiona.adapters.clerk.keys import read_keys
from visiona.core.guard import TransactionOpenError, transaction_marker
from visiona.ports.errors import ProviderUnavailable
from visiona.ports.identity import InvalidToken

JWKS = "/.well-known/jwks.json"
HOUR_S = 3600.0


class Stopwatch:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture(scope="module")
def keys() -> list[rsa.RSAPrivateKey]:
    return [rsa.generate_private_key(65537, 2048) for _ in range(2)]


@pytest.fixture
def instance(scripted_server: Any, keys: list[rsa.RSAPrivateKey]) -> ClerkInstance:
    return ClerkInstance(scripted_server, keys[0])


@pytest.fixture
def stopwatch() -> Stopwatch:
    return Stopwatch()


@pytest.fixture
async def identity(instance: ClerkInstance, stopwatch: Stopwatch) -> AsyncGenerator[ClerkIdentity]:
    identity = ClerkIdentity(instance.config(keys_deadline_s=0.5), monotonic=stopwatch)
    yield identity
    await identity.aclose()


async def verified(identity: ClerkIdentity, token: str) -> bool:
    try:
        await identity.verify(token, NOW)
    except InvalidToken:
        return False
    return True


async def settled(instance: ClerkInstance, fetches: int) -> None:
    """Until the background has fetched the keys so often, and has read the answer."""
    async with asyncio.timeout(5):
        while instance.asked(JWKS) < fetches:  # noqa: ASYNC110 - the server is another task's
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)


def spoil(instance: ClerkInstance, answer: Any) -> None:
    instance.spoiled = {JWKS: answer}


async def test_a_thousand_random_kids_cause_two_fetches_at_most(
    instance: ClerkInstance, identity: ClerkIdentity
) -> None:
    async def junk() -> bool:
        return await verified(identity, instance.token(header={"kid": f"ins_{secrets.token_hex(8)}"}))

    for _ in range(10):
        assert not any(await asyncio.gather(*(junk() for _ in range(100))))

    assert 1 <= instance.asked(JWKS) <= 2
    assert await verified(identity, instance.token())


async def test_junk_does_not_delay_those_who_are_known(
    instance: ClerkInstance, identity: ClerkIdentity, stopwatch: Stopwatch
) -> None:
    assert await verified(identity, instance.token())
    stopwatch.seconds += 31.0
    spoil(instance, hang)
    junk = asyncio.create_task(verified(identity, instance.token(header={"kid": "ins_junk"})))
    await asyncio.sleep(0.05)

    started = time.perf_counter()
    assert await verified(identity, instance.token({"jti": "another"}))
    assert time.perf_counter() - started < 0.2
    assert not await junk


async def test_a_malformed_kid_is_never_asked_about(instance: ClerkInstance, identity: ClerkIdentity) -> None:
    for kid in ("../x", "", "a b", "k" * 200, "ins_\n"):
        assert not await verified(identity, instance.token(header={"kid": kid}))

    assert instance.asked(JWKS) == 0


async def test_many_who_come_at_once_wait_for_one_fetch(
    instance: ClerkInstance, identity: ClerkIdentity
) -> None:
    tokens = [instance.token({"jti": str(count)}) for count in range(50)]

    assert all(await asyncio.gather(*(verified(identity, token) for token in tokens)))
    assert instance.asked(JWKS) == 1


async def test_one_who_leaves_does_not_take_the_fetch_along(
    instance: ClerkInstance, identity: ClerkIdentity
) -> None:
    leaving = asyncio.create_task(verified(identity, instance.token()))
    await asyncio.sleep(0)
    staying = asyncio.create_task(verified(identity, instance.token({"jti": "x"})))
    await asyncio.sleep(0)
    leaving.cancel()

    assert await staying
    assert instance.asked(JWKS) == 1


async def test_a_rotation_arrives_at_the_next_permitted_fetch(
    instance: ClerkInstance, identity: ClerkIdentity, stopwatch: Stopwatch, keys: list[rsa.RSAPrivateKey]
) -> None:
    old = instance.token()
    assert await verified(identity, old)
    instance.jwks = {"keys": [jwk_of(keys[1], "ins_new")]}
    new = sign(keys[1], instance.header(kid="ins_new"), instance.claims())

    assert not await verified(identity, new)
    stopwatch.seconds += 29.0
    assert not await verified(identity, new)
    assert instance.asked(JWKS) == 1
    stopwatch.seconds += 1.5
    assert await verified(identity, new)
    assert instance.asked(JWKS) == 2
    # The old key is withdrawn, and with it what was remembered of its tokens.
    assert not await verified(identity, old)


async def test_old_keys_are_renewed_without_anybody_waiting(
    instance: ClerkInstance, identity: ClerkIdentity, stopwatch: Stopwatch, keys: list[rsa.RSAPrivateKey]
) -> None:
    token = instance.token()
    assert await verified(identity, token)
    stopwatch.seconds += HOUR_S - 1
    assert await verified(identity, token)
    assert instance.asked(JWKS) == 1

    instance.jwks = {"keys": [jwk_of(keys[1], "ins_new")]}
    stopwatch.seconds += 2
    assert await verified(identity, token)
    await settled(instance, 2)

    assert not await verified(identity, token)
    assert await verified(identity, sign(keys[1], instance.header(kid="ins_new"), instance.claims()))
    assert instance.asked(JWKS) == 2


async def drop(_exchange: Any, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def hang(_exchange: Any, _writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


async def drip(_exchange: Any, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 5000\r\n\r\n")
    for _ in range(1000):
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.05)


async def huge(_exchange: Any, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 104857600\r\n\r\n")
    for _ in range(1600):
        writer.write(b" " * 65536)
        await writer.drain()


def body(content: bytes, status: int = 200) -> Any:
    async def answer(_exchange: Any, writer: asyncio.StreamWriter) -> None:
        head = f"HTTP/1.1 {status} X\r\ncontent-length: {len(content)}\r\nconnection: close\r\n\r\n"
        writer.write(head.encode() + content)
        await writer.drain()

    return answer


OUTAGES: dict[str, Any] = {
    "dropped": drop,
    "hanging": hang,
    "byte by byte": drip,
    "100 MB": huge,
    "500": body(b"{}", 500),
    "502 in html": body(b"<html>Bad gateway</html>", 502),
    "429": body(b"{}", 429),
    "404": body(b"{}", 404),
    "a redirect": body(b"", 302),
    "not JSON": body(b"<html>welcome</html>"),
    "empty": body(b""),
    "a list": body(b"[]"),
    "null": body(b"null"),
    "no keys": body(b'{"keys": []}'),
    "keys that are numbers": body(b'{"keys": [1, 2]}'),
    "keys that are nothing": body(b'{"keys": [{}]}'),
    "bottomless": body(b'{"keys": ' + b"[" * 100_000),
    "not UTF-8": body(b'{"keys": [{"kid": "\xff"}]}'),
}


@pytest.mark.parametrize("name", OUTAGES)
async def test_an_outage_stops_nobody_whose_key_is_known(
    name: str, instance: ClerkInstance, identity: ClerkIdentity, stopwatch: Stopwatch
) -> None:
    assert await verified(identity, instance.token())
    spoil(instance, OUTAGES[name])

    for hours in range(1, 4):
        stopwatch.seconds += 2 * HOUR_S
        assert await verified(identity, instance.token({"jti": str(hours)}))
        await asyncio.sleep(0.02)
        started = time.perf_counter()
        assert not await verified(identity, instance.token(header={"kid": "ins_junk"}))
        assert time.perf_counter() - started < 2.0
        assert await verified(identity, instance.token({"jti": f"{hours} again"}))


@pytest.mark.parametrize("name", OUTAGES)
async def test_without_any_key_the_provider_is_unavailable_and_then_comes_back(
    name: str, instance: ClerkInstance, identity: ClerkIdentity, stopwatch: Stopwatch
) -> None:
    spoil(instance, OUTAGES[name])

    started = time.perf_counter()
    for _ in range(3):
        with pytest.raises(ProviderUnavailable):
            await identity.verify(instance.token(), NOW)
    assert time.perf_counter() - started < 2.0
    assert instance.asked(JWKS) == 1
    instance.spoiled = {}
    stopwatch.seconds += 1.0
    assert await verified(identity, instance.token())


async def test_keys_are_not_fetched_inside_a_transaction(
    instance: ClerkInstance, identity: ClerkIdentity
) -> None:
    with transaction_marker(), pytest.raises(TransactionOpenError):
        await identity.verify(instance.token(), NOW)
    assert await verified(identity, instance.token())
    with transaction_marker():
        assert await verified(identity, instance.token({"jti": "x"}))


async def test_the_secret_key_does_not_travel_to_the_keys(
    instance: ClerkInstance, identity: ClerkIdentity
) -> None:
    assert await verified(identity, instance.token())

    (exchange,) = instance.server.exchanges
    assert "authorization" not in exchange.headers


def test_which_keys_are_used(keys: list[rsa.RSAPrivateKey]) -> None:
    good, other = keys
    small = rsa.generate_private_key(65537, 1024)  # noqa: S505 - weak on purpose
    low = rsa.generate_private_key(3, 2048)
    unused = [
        jwk_of(small, "small"),
        jwk_of(low, "low"),
        jwk_of(other, "enc", use="enc"),
        jwk_of(other, "no-use", use=...),
        jwk_of(other, "rs512", alg="RS512"),
        jwk_of(other, "ec", kty="EC"),
        jwk_of(other, "private", d=number(5)),
        jwk_of(other, "even", n=number(1 << 2047)),
        jwk_of(other, "giant", n=number((1 << 8200) + 1)),
        jwk_of(other, "text", n="not base64!"),
        jwk_of(other, "long", n="A" * 5000),
        jwk_of(other, "number", n=5),
        jwk_of(other, "zero", e="AA"),
        jwk_of(other, "slow", e=number((1 << 64) + 1)),
        jwk_of(other, "../climbs"),
        jwk_of(other, ""),
        {"kid": 5},
    ]
    found = read_keys(
        json.dumps({"keys": [*unused, jwk_of(good), jwk_of(other), jwk_of(other, "plain", alg=...)]}).encode()
    )

    assert set(found) == {jwk_of(good)["kid"], "plain"}
    assert found[jwk_of(good)["kid"]].public_numbers() == good.public_key().public_numbers()
