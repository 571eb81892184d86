"""Guessing is slowed down: by address and network together, by network, and by address."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from visiona.accounts.model import AccountSettings, attempt_limits
from visiona.accounts.service import AccountService
from visiona.core.client import ClientInfo
from visiona.core.errors import Conflict, TooMany, Unauthenticated
from visiona.db.pool import Connection

Failures = Callable[[ClientInfo, str], Awaitable[list[int]]]
PassTime = Callable[[float, ClientInfo, str], Awaitable[None]]

WRONG = "not the password"


@pytest.fixture
def pass_time(owner: Connection, settings: AccountSettings) -> PassTime:
    """Make the attempts of this client on this address that many seconds older."""

    async def pass_time(seconds: float, client: ClientInfo, email: str) -> None:
        keys = [limit.key for limit in attempt_limits(settings.throttle_secret, client, email)]
        await owner.execute(
            """update sign_in_attempts set last_at = last_at - make_interval(secs => %s)
            where key_hash = any(%s)""",
            [seconds, keys],
        )

    return pass_time


@pytest.fixture
def failures(owner: Connection, settings: AccountSettings) -> Failures:
    """How many failures are counted for (pair, network, address)."""

    async def failures(client: ClientInfo, email: str) -> list[int]:
        counts = []
        for limit in attempt_limits(settings.throttle_secret, client, email):
            cursor = await owner.execute(
                "select failures from sign_in_attempts where key_hash = %s", [limit.key]
            )
            row = await cursor.fetchone()
            counts.append(row[0] if row else 0)
        return counts

    return failures


async def guess(accounts: AccountService, email: str, client: ClientInfo) -> None:
    with pytest.raises(Unauthenticated):
        await accounts.log_in(email, WRONG, client)


async def refused(accounts: AccountService, email: str, client: ClientInfo, password: str = WRONG) -> int:
    with pytest.raises(TooMany) as raised:
        await accounts.log_in(email, password, client)
    assert raised.value.code == "too_many_attempts"
    return raised.value.retry_after


async def test_five_guesses_then_doubling_waits(
    accounts: AccountService,
    email: str,
    client: ClientInfo,
    hasher: Any,
    pass_time: PassTime,
    failures: Failures,
) -> None:
    for _ in range(5):
        await guess(accounts, email, client)
    for wait in (1, 2, 4, 8, 16):
        assert await refused(accounts, email, client) == wait
        await pass_time(wait, client, email)
        await guess(accounts, email, client)
    assert len(hasher.verified) == 10
    assert await failures(client, email) == [10, 10, 10]


async def test_waiting_is_capped_and_a_quiet_quarter_of_an_hour_forgives(
    accounts: AccountService,
    email: str,
    client: ClientInfo,
    owner: Connection,
    settings: AccountSettings,
    pass_time: PassTime,
) -> None:
    pair = attempt_limits(settings.throttle_secret, client, email)[0].key
    await guess(accounts, email, client)
    await owner.execute("update sign_in_attempts set failures = 1000 where key_hash = %s", [pair])
    assert 898 <= await refused(accounts, email, client) <= 900
    await pass_time(901, client, email)
    for _ in range(5):
        await guess(accounts, email, client)
    assert await refused(accounts, email, client) == 1


async def test_a_refused_attempt_neither_tries_nor_counts(
    accounts: AccountService, email: str, password: str, client: ClientInfo, hasher: Any, failures: Failures
) -> None:
    await accounts.sign_up(email, password, client)
    for _ in range(5):
        await guess(accounts, email, client)
    before = await failures(client, email)
    hasher.verified.clear()
    for _ in range(3):
        await refused(accounts, email, client, password)
    assert hasher.verified == []
    assert await failures(client, email) == before


async def test_parallel_guesses_do_not_slip_through(
    accounts: AccountService, email: str, password: str, client: ClientInfo, hasher: Any
) -> None:
    await accounts.sign_up(email, password, client)
    started = time.monotonic()
    results = await asyncio.gather(
        *(accounts.log_in(email, WRONG, client) for _ in range(64)), return_exceptions=True
    )
    # One more for each doubling of the time that all of it took: 1 s, 3 s, 7 s, …
    later = int(math.log2(1 + time.monotonic() - started))

    tried = sum(isinstance(r, Unauthenticated) for r in results)
    assert 5 <= tried <= 5 + later
    assert tried == len(hasher.verified)
    assert sum(isinstance(r, TooMany) for r in results) == 64 - tried


async def test_success_forgets_the_pair_and_the_address_but_not_the_network(
    accounts: AccountService, email: str, password: str, client: ClientInfo, failures: Failures
) -> None:
    await accounts.sign_up(email, password, client)
    for _ in range(3):
        await guess(accounts, email, client)
    assert await failures(client, email) == [3, 3, 3]
    await accounts.log_in(email, password, client)
    assert await failures(client, email) == [0, 3, 0]


async def test_one_network_cannot_try_many_addresses(
    accounts: AccountService, client: ClientInfo, email: str, owner: Connection, settings: AccountSettings
) -> None:
    for number in range(2):
        await guess(accounts, f"{number}.{email}", client)
    network = attempt_limits(settings.throttle_secret, client, email)[1].key
    cursor = await owner.execute("select failures from sign_in_attempts where key_hash = %s", [network])
    assert await cursor.fetchone() == (2,)
    await owner.execute("update sign_in_attempts set failures = 49 where key_hash = %s", [network])
    await guess(accounts, f"50.{email}", client)
    assert await refused(accounts, f"51.{email}", client) == 1


async def test_many_networks_cannot_try_one_address(
    accounts: AccountService,
    client: ClientInfo,
    new_client: Callable[[], ClientInfo],
    email: str,
    owner: Connection,
    settings: AccountSettings,
) -> None:
    await guess(accounts, email, client)
    address = attempt_limits(settings.throttle_secret, client, email)[2].key
    await owner.execute("update sign_in_attempts set failures = 29 where key_hash = %s", [address])
    await guess(accounts, email, new_client())
    assert await refused(accounts, email, new_client()) == 1
    await owner.execute("update sign_in_attempts set failures = 1000 where key_hash = %s", [address])
    assert 58 <= await refused(accounts, email, new_client()) <= 60


async def test_signing_up_cannot_tell_addresses_in_bulk(
    accounts: AccountService, email: str, password: str, client: ClientInfo, hasher: Any, failures: Failures
) -> None:
    await accounts.sign_up(email, password, client)
    assert await failures(client, email) == [0, 0, 0]
    for _ in range(5):
        with pytest.raises(Conflict):
            await accounts.sign_up(email, password, client)
    assert await failures(client, email) == [5, 5, 5]
    hashed = hasher.hashed
    with pytest.raises(TooMany):
        await accounts.sign_up(email, password, client)
    assert hasher.hashed == hashed


async def test_attempts_are_kept_without_addresses(
    accounts: AccountService, client: ClientInfo, email: str, owner: Connection
) -> None:
    await guess(accounts, email, client)
    cursor = await owner.execute("select string_agg(a::text, '') from sign_in_attempts a")
    (everything,) = await cursor.fetchone()
    for private in (email, client.address, client.network):
        assert private not in everything
        assert private.encode().hex() not in everything
