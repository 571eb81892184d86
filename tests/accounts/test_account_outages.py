"""Clerk slow, busy, broken or gone: who is signed in goes on, and who comes is told to come again."""

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.accounts.house import ORIGIN, House, open_house, run_clerk
from tests.conftest import copied_database
from tests.sandbox.clerk.conftest import PASSWORD

FAULTS: dict[str, dict[str, Any]] = {
    "down": {"fault": "connection_drop"},
    "broken": {"fault": "server_error"},
    "busy": {"fault": "rate_limit", "seconds": 30},
    "a proxy's page": {"fault": "html_502"},
    "garbage": {"fault": "truncated_json"},
    "another shape": {"fault": "wrong_shape"},
}
BOUND_S = 8.0


@pytest.fixture
def house(clerk_house: House) -> House:
    return clerk_house


@pytest.fixture
async def person(house: House) -> dict[str, Any]:
    return house.person()


@pytest.fixture(params=FAULTS)
def trouble(request: pytest.FixtureRequest) -> dict[str, Any]:
    return {"times": None, "path": "*", **FAULTS[request.param]}


def address(person: dict[str, Any]) -> str:
    return person["email_addresses"][0]["email_address"]


async def refused_in_time(asked: Any) -> None:
    began = time.monotonic()
    answer: httpx.Response = await asked
    assert (answer.status_code, answer.json()["code"]) == (503, "identity_unavailable"), answer.text
    assert time.monotonic() - began < BOUND_S


async def test_who_is_signed_in_goes_on(
    house: House, person: dict[str, Any], trouble: dict[str, Any]
) -> None:
    browser = await house.sign_in_hosted(person, PASSWORD)
    session = house.there.session(person["id"])
    headers = house.token(session["id"])
    assert (await house.web.get("/api/auth/me", headers=headers)).status_code == 200
    fresh = house.token(session["id"])
    house.there.fault(**trouble)

    assert (await browser.get("/api/auth/me")).status_code == 200
    for given in (headers, fresh):  # verified by keys that are known
        assert (await house.web.get("/api/auth/me", headers=given)).status_code == 200
    await house.rows("update sessions set checked_at = now() - interval '6 minutes'")
    await house.worker.accounts.check_sessions()
    assert (await browser.get("/api/auth/me")).status_code == 200
    assert (await browser.post("/api/auth/logout")).status_code == 204
    assert (await browser.get("/api/auth/me")).status_code == 401


async def test_who_comes_is_told_to_come_again(
    house: House, person: dict[str, Any], trouble: dict[str, Any]
) -> None:
    session = house.there.session(person["id"])
    headers = house.token(session["id"])
    body = {"email": f"{uuid.uuid4().hex}@example.com", "password": "a quiet blue harbour"}
    known = {"email": address(person), "password": PASSWORD}
    house.there.fault(**trouble)

    await asyncio.gather(
        refused_in_time(house.browser().post("/api/auth/login", json=known)),
        refused_in_time(house.browser().post("/api/auth/signup", json=body)),
        refused_in_time(house.web.get("/api/auth/me", headers=headers)),
    )
    assert await house.user_of(person["id"]) is None

    house.there.raw.delete("/_sandbox/faults")
    assert (await house.web.get("/api/auth/me", headers=headers)).status_code == 200
    assert (await house.browser().post("/api/auth/login", json=known)).status_code == 200
    made = await house.browser().post("/api/auth/signup", json=body)
    assert made.status_code == 201, made.text
    people = house.there.api.get("/users", params={"email_address": body["email"]}).json()
    assert len(people) == 1


@pytest.mark.parametrize(
    "where",
    [
        {"method": "POST", "path": "/v1/users"},
        {"method": "POST", "path": "/v1/sign_in_tokens"},
        {"method": "POST", "path": "/v1/client/sign_ins"},
        {"method": "GET", "path": "/v1/sessions/*"},
    ],
    ids=lambda where: where["path"],
)
@pytest.mark.parametrize("fault", ["server_error", "lost_answer"])
async def test_a_sign_up_that_broke_off_is_finished(house: House, where: dict[str, str], fault: str) -> None:
    """By the same once more, or by logging in where somebody was signed in there already."""
    body = {"email": f"{uuid.uuid4().hex}@example.com", "password": "a quiet blue harbour"}
    house.there.fault(fault, times=6, **where)
    broken = await house.browser().post("/api/auth/signup", json=body)
    assert (broken.status_code, broken.json()["code"]) == (503, "identity_unavailable"), broken.text
    house.there.raw.delete("/_sandbox/faults")

    again = await house.browser().post("/api/auth/signup", json=body)
    if again.status_code == 409:
        assert again.json()["code"] == "email_taken"
        again = await house.browser().post("/api/auth/login", json=body)
    assert again.status_code in {200, 201}, again.text
    [(count,)] = await house.rows(
        "select count(*) from users where email_index = %s", house.index(body["email"])
    )
    assert count == 1
    assert len(house.there.api.get("/users", params={"email_address": body["email"]}).json()) == 1


async def test_a_service_that_hangs_is_not_waited_for_long(house: House, person: dict[str, Any]) -> None:
    browser = await house.sign_in_hosted(person, PASSWORD)
    house.there.fault("hang", times=None, path="/v1/*", seconds=40)
    began = time.monotonic()
    known = {"email": address(person), "password": PASSWORD}
    asked = asyncio.create_task(house.browser().post("/api/auth/login", json=known))
    await asyncio.sleep(0.5)
    assert (await browser.get("/api/auth/me")).status_code == 200
    assert time.monotonic() - began < 3
    answer = await asked
    assert (answer.status_code, answer.json()["code"]) == (503, "identity_unavailable")
    assert time.monotonic() - began < 15


async def test_a_log_in_on_the_way_back_can_be_repeated(house: House, person: dict[str, Any]) -> None:
    browser = house.browser()
    started = await browser.get("/api/auth/login")
    with house.there.browser() as page:
        page.page = page.client.get(started.headers["location"])
        page.send("/sign-in", email_address=address(person), password=PASSWORD)
        back = page.left_for
    returned = house.shake_hands(await browser.get(back))
    house.there.fault("server_error", times=None, path="/v1/*")
    away = await browser.get(returned)
    assert away.status_code == 503
    house.there.raw.delete("/_sandbox/faults")
    answer = await browser.get(returned)
    assert (answer.status_code, answer.headers["location"]) == (303, "/studio")


async def test_keys_that_are_rotated_while_running(house: House, person: dict[str, Any]) -> None:
    session = house.there.session(person["id"])
    before = house.token(session["id"])
    assert (await house.web.get("/api/auth/me", headers=before)).status_code == 200
    house.there.control("keys/rotate", keep_old_s=600)
    assert (await house.web.get("/api/auth/me", headers=before)).status_code == 200


@pytest.fixture
async def cold_house(postgres: str, migrated_template: str, tmp_path: Path) -> AsyncGenerator[House]:
    """A web server that has never heard of Clerk's keys."""
    with (
        run_clerk(tmp_path / "clerk") as server,
        copied_database(postgres, migrated_template) as url,
    ):
        async with open_house(url, tmp_path, clerk=server) as house:
            yield house


async def test_without_any_key_nobody_is_let_in_and_all_are_afterwards(cold_house: House) -> None:
    person = cold_house.person()
    session = cold_house.there.session(person["id"])
    headers = cold_house.token(session["id"])
    cold_house.there.fault("server_error", times=None, path="*")
    await refused_in_time(cold_house.web.get("/api/auth/me", headers=headers))
    cold_house.there.raw.delete("/_sandbox/faults")
    await asyncio.sleep(1.1)  # keys are asked for once a second while there are none
    answers = await asyncio.gather(*(cold_house.web.get("/api/auth/me", headers=headers) for _ in range(10)))
    assert [answer.status_code for answer in answers] == [200] * 10
    assert cold_house.there.state()["jwks_fetches"] == 2
    forged = cold_house.there.mint(session["id"], "other_kid", azp=ORIGIN)["jwt"]
    for _ in range(5):
        answer = await cold_house.web.get("/api/auth/me", headers={"authorization": f"Bearer {forged}"})
        assert answer.status_code == 401
    assert cold_house.there.state()["jwks_fetches"] <= 3
