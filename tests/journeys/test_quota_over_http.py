"""Quota against a client who asks for everything at once and says to be fifty others."""

import asyncio
from collections import Counter
from pathlib import Path

import httpx
import pytest
from tests.journeys.conftest import NewPerson, Stack, running_stack, wait_until

pytestmark = pytest.mark.journey

REQUESTS, FORGED, LEFT = 200, 50, 20

PLANS = f"""
currency = "usd"

[plans.free]
title = "Free"
images = {LEFT}
clones = 1

[plans.premium]
title = "Premium"
images = 1000
clones = 10
prices = [{{ interval = "month", amount = "39.00", lookup_key = "premium_month" }}]
"""


async def ask(url: str, token: str, model_id: int) -> list[httpx.Response]:
    """All requests at the same time, each over a connection of its own, as if from many networks."""
    limits = httpx.Limits(max_connections=REQUESTS)
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=60) as client:

        async def request(number: int) -> httpx.Response:
            forged = f"203.0.113.{number % FORGED}"
            headers = {
                "Authorization": token,
                "X-Forwarded-For": forged,
                "X-Real-IP": forged,
                "Forwarded": f"for={forged}",
            }
            body = {"model_id": model_id, "prompt": f"TOK number {number}"}
            while True:
                answer = await client.post("/api/generate", json=body, headers=headers)
                if answer.status_code != 503:  # a busy machine's, which says that nothing was done
                    return answer
                await asyncio.sleep(1)

        return await asyncio.gather(*(request(number) for number in range(REQUESTS)))


@pytest.mark.timeout(240)
def test_twenty_images_are_twenty_images_however_they_are_asked_for(
    own_database_url: str, tmp_path: Path, new_person: NewPerson, grace: list[Path]
) -> None:
    plans = tmp_path / "plans.toml"
    plans.write_text(PLANS, encoding="utf-8")
    with running_stack(own_database_url, tmp_path, VISIONA_PLANS_FILE=str(plans)) as stack:
        person = new_person(stack, "grace@example.com")
        model_id = person.ready_clone(grace)
        stack.kill("worker")  # so that no run ends, and gives anything back, while they come in
        token = person.http.headers["Authorization"]
        answers = asyncio.run(ask(stack.url, token, model_id))

        assert Counter(answer.status_code for answer in answers) == {202: LEFT, 402: REQUESTS - LEFT}
        assert {answer.json()["code"] for answer in answers if answer.status_code == 402} == {
            "quota_exhausted"
        }
        assert person.quota()["images"] == {"used": LEFT, "limit": LEFT}
        accepted = {answer.json()["id"] for answer in answers if answer.status_code == 202}
        assert reservations(stack) == {f"run:{run_id}" for run_id in accepted}
        assert stack.rows(
            "select entitled, used, reserved, balance from quota_usage where resource = 'images'"
        ) == [(LEFT, 0, LEFT, 0)]
        stack.assert_ledger_holds()

        stack.start("worker")
        wait_until(lambda: stack.rows("select count(*) from runs where finished_at is null") == [(0,)], 120)
        assert {person.run(run_id)["status"] for run_id in accepted} == {"succeeded"}
        assert stack.rows(
            "select entitled, used, reserved, balance from quota_usage where resource = 'images'"
        ) == [(LEFT, LEFT, 0, 0)]
        assert len(person.gallery()) == LEFT
        stack.assert_ledger_holds()


def reservations(stack: Stack) -> set[str]:
    rows = stack.rows(
        "select reference from quota_ledger where resource = 'images' and entry = 'reserve' and reserved = 1"
    )
    assert len(rows) == LEFT
    return {row[0] for row in rows}
