"""Allowances: exact under load, shared by all processes, and for the network that really asks."""

import asyncio
import uuid
from collections.abc import Mapping

import httpx
import pytest
from tests.factories.people import OpenDatabase
from tests.safety.conftest import Strict, Trusts

from visiona.bootstrap import App
from visiona.core.client import ClientInfo
from visiona.core.errors import TooMany
from visiona.db.pool import Connection, Database
from visiona.safety.model import (
    DEFAULT_RATES,
    NETWORKS_OF_A_SITE,
    Limited,
    LimitSettingError,
    Party,
    Rate,
    allowances,
    in_words,
    read_amount,
    read_cap,
    read_rates,
)
from visiona.safety.service import Limits

LIMIT = 37


def client(address: str = "203.0.113.7") -> ClientInfo:
    return ClientInfo(address, "a browser")


def limits(database: Database, rates: Mapping[tuple[Limited, Party], Rate], secret: bytes) -> Limits:
    return Limits(database, rates, secret)


async def allowed(*attempts: object) -> int:
    """How many of them were counted; the others were refused, and nothing else went wrong."""
    results = await asyncio.gather(*attempts, return_exceptions=True)  # type: ignore[arg-type] # coroutines
    assert {type(result) for result in results} <= {type(None), TooMany}
    return sum(result is None for result in results)


async def test_200_at_once_in_two_processes_never_exceed_a_limit(open_database: OpenDatabase) -> None:
    secret = uuid.uuid4().bytes
    rates: dict[tuple[Limited, Party], Rate] = {(Limited.GENERATION, "person"): Rate(LIMIT, 3600)}
    async with open_database(max_size=5) as one, open_database(max_size=5) as other:
        parts = [limits(one, rates, secret), limits(other, rates, secret)]
        attempts = [parts[n % 2].count(Limited.GENERATION, client(f"10.0.{n}.1"), 7) for n in range(200)]
        assert await allowed(*attempts) == LIMIT


async def test_a_refusal_counts_against_nothing(database: Database) -> None:
    """The person has nothing left, so what their network has left stays for others."""
    rates: dict[tuple[Limited, Party], Rate] = {
        (Limited.REPORT, "person"): Rate(1, 3600),
        (Limited.REPORT, "address"): Rate(3, 3600),
    }
    counter = limits(database, rates, uuid.uuid4().bytes)
    assert await allowed(*(counter.count(Limited.REPORT, client(), 1) for _ in range(5))) == 1
    assert await allowed(*(counter.count(Limited.REPORT, client(), n) for n in (2, 3, 4, 5))) == 2


async def test_whoever_waits_as_long_as_is_said_may_go_on(database: Database, owner: Connection) -> None:
    secret = uuid.uuid4().bytes
    rates: dict[tuple[Limited, Party], Rate] = {(Limited.SIGNUP, "address"): Rate(2, 600)}
    counter = limits(database, rates, secret)
    assert await allowed(*(counter.count(Limited.SIGNUP, client()) for _ in range(3))) == 2
    with pytest.raises(TooMany) as refused:
        await counter.count(Limited.SIGNUP, client())
    assert 0 < refused.value.retry_after <= 600
    (counted,) = allowances(secret, rates, Limited.SIGNUP, client(), None)
    await owner.execute(
        "update rate_limits set started_at = started_at - make_interval(secs => %s) where key_hash = %s",
        [refused.value.retry_after, counted.key],
    )
    assert await allowed(*(counter.count(Limited.SIGNUP, client()) for _ in range(3))) == 2


async def test_several_at_once_are_counted_as_such(database: Database) -> None:
    rates: dict[tuple[Limited, Party], Rate] = {(Limited.UPLOAD, "person"): Rate(10, 3600)}
    counter = limits(database, rates, uuid.uuid4().bytes)
    await counter.count(Limited.UPLOAD, client(), 1, amount=8)
    with pytest.raises(TooMany):
        await counter.count(Limited.UPLOAD, client(), 1, amount=3)
    await counter.count(Limited.UPLOAD, client(), 1, amount=2)


async def test_windows_that_ended_are_forgotten(
    worker_app: App, database: Database, owner: Connection
) -> None:
    secret = uuid.uuid4().bytes
    rates: dict[tuple[Limited, Party], Rate] = {(Limited.SIGNUP, "address"): Rate(2, 60)}
    await limits(database, rates, secret).count(Limited.SIGNUP, client())
    (counted,) = allowances(secret, rates, Limited.SIGNUP, client(), None)
    await owner.execute(
        "update rate_limits set started_at = now() - interval '61 s' where key_hash = %s", [counted.key]
    )
    await worker_app.safety.spending.purge()
    cursor = await owner.execute("select count(*) from rate_limits where key_hash = %s", [counted.key])
    assert await cursor.fetchone() == (0,)


def test_one_household_is_one_network() -> None:
    def key(address: str) -> bytes:
        rate = DEFAULT_RATES[Limited.SIGNUP, "address"]
        (found,) = [
            counted
            for counted in allowances(b"secret", DEFAULT_RATES, Limited.SIGNUP, client(address), None)
            if counted.rate == rate
        ]
        return found.key

    assert key("2001:db8:1:2::1") == key("2001:db8:1:2:ffff::9")
    assert key("2001:db8:1:2::1") != key("2001:db8:1:3::1")
    assert key("::ffff:203.0.113.7") == key("203.0.113.9")
    assert key("203.0.113.7") != key("203.0.114.7")


async def test_whoever_has_65536_networks_is_one_site(database: Database) -> None:
    """Each request from a network of its own, three allowed in each: what the /48 may is reached."""
    limits = Limits(database, {(Limited.SIGNUP, "address"): Rate(3, 3600)}, uuid.uuid4().bytes)
    came = [client(f"2001:db8:7:{n:x}::1") for n in range(200)]
    results = await asyncio.gather(
        *(limits.count(Limited.SIGNUP, one) for one in came), return_exceptions=True
    )
    assert sum(result is None for result in results) == 3 * NETWORKS_OF_A_SITE
    assert {type(result) for result in results if result is not None} == {TooMany}
    await limits.count(Limited.SIGNUP, client("2001:db8:8:1::1"))


def test_keys_say_nothing_and_differ() -> None:
    found = {
        counted.key
        for limited in Limited
        for user_id in (1, 2)
        for counted in allowances(b"secret", DEFAULT_RATES, limited, client(), user_id)
    }
    assert len(found) == len([key for key in DEFAULT_RATES if key[1] == "address"]) + 2 * len(
        [key for key in DEFAULT_RATES if key[1] == "person"]
    )
    assert all(len(key) == 32 and b"203" not in key for key in found)


def test_settings_change_what_they_name() -> None:
    rates = read_rates(["signup.address=off", " generation.person = 5/minute"])
    assert (Limited.SIGNUP, "address") not in rates
    assert rates[Limited.GENERATION, "person"] == Rate(5, 60)
    assert rates[Limited.UPLOAD, "person"] == DEFAULT_RATES[Limited.UPLOAD, "person"]


@pytest.mark.parametrize(
    "entry", ["signup=3/hour", "nothing.address=3/hour", "signup.address=3", "signup.address=0/hour", "x"]
)
def test_a_limit_that_cannot_be_read_is_no_limit(entry: str) -> None:
    with pytest.raises(LimitSettingError):
        read_rates([entry])


@pytest.mark.parametrize("text", ["", "-1", "nan", "inf", "ten", "1e12"])
def test_an_amount_that_is_none(text: str) -> None:
    with pytest.raises(LimitSettingError, match="VISIONA_COST_IMAGE"):
        read_amount("VISIONA_COST_IMAGE", text)
    assert read_cap("VISIONA_DAILY_COST_CAP", "none") is None


def test_waiting_in_words() -> None:
    said = [in_words(seconds) for seconds in (1, 40, 150, 7200, 7201, 80000)]
    assert said == ["in 1 second", "in 40 seconds", "in 3 minutes", "in 2 hours", "in 3 hours", "in 23 hours"]


# Over HTTP


async def _sign_up(client: httpx.AsyncClient, forwarded: str) -> httpx.Response:
    return await client.post(
        "/api/auth/signup",
        json={"email": f"{uuid.uuid4().hex}@example.com", "password": "a quiet blue harbour"},
        headers={"X-Forwarded-For": forwarded},
    )


@pytest.mark.parametrize("trusts", ["no proxy", "another machine", "its proxy"])
async def test_a_forged_address_is_no_other_network(strict: Strict, trusts: Trusts) -> None:
    """Three may sign up from here in an hour, whatever 50 requests say of where they come from. A proxy that
    is trusted adds its client's address at the end; what stands before it was written by the client.
    """
    added = f", {_network()}7" if trusts == "its proxy" else ""
    async with strict(trusts) as client:
        forged = [f"198.51.{n}.{n}{added}" for n in range(50)]
        answers = await asyncio.gather(*(_sign_up(client, text) for text in forged))
    assert sorted(answer.status_code for answer in answers) == [201] * 3 + [429] * 47
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.json()["code"] == "rate_limited"
    assert 0 < int(refused.headers["retry-after"]) <= 3600
    assert "Try again in" in refused.json()["detail"]


async def test_clients_of_a_trusted_proxy_are_told_apart(strict: Strict) -> None:
    """The control: where addresses count, they do."""
    async with strict("its proxy") as client:
        answers = [await _sign_up(client, f"{_network()}7") for _ in range(5)]
    assert [answer.status_code for answer in answers] == [201] * 5


def _network() -> str:
    """The beginning of an address in a network that nobody else is in."""
    return f"10.{uuid.uuid4().int % 256}.{uuid.uuid4().int % 256}."


async def test_a_form_that_comes_too_often_is_answered_by_a_page(strict: Strict) -> None:
    async with strict("no proxy") as client:
        for _ in range(4):
            answer = await client.post("/report", files={"reason": (None, "other"), "link": (None, "x")})
    assert answer.status_code == 429
    assert answer.headers["content-type"].startswith("text/html")
    assert int(answer.headers["retry-after"]) > 0
    assert "too many reports" in answer.text
