"""What the outside can do to work in progress, and that every piece of it ends exactly once."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.journeys.conftest import SANDBOX_AUTHORIZATION, NewPerson, Person, Stack, wait_until

pytestmark = pytest.mark.journey

RECEIPTS = "select count(*) from webhook_receipts where provider = 'replicate'"
DONE = f"{RECEIPTS} and processed_at is not null"
SLOW = {"VISIONA_SANDBOX_TRAINING_SECONDS": "6", "VISIONA_SANDBOX_GENERATION_SECONDS": "3"}


def assert_settled(stack: Stack, person: Person, *, images: int, clones: int) -> None:
    """Use equals what was delivered, nothing is set aside, and every object has its row."""
    user_id = person.http.get("/api/auth/me").json()["id"]
    used = stack.rows("select resource, used, reserved from quota_usage where user_id = %s", user_id)
    rows = {row[0]: row[1:] for row in used}
    assert rows.get("images", (0, 0)) == (images, 0)
    assert rows.get("clones", (0, 0)) == (clones, 0)
    stack.assert_ledger_holds()
    assert len(person.gallery()) == images
    # Of two looks at the same end, the one that comes too late still has to discard what it fetched.
    wait_until(lambda: stack.rows("select count(*) from pending_objects") == [(0,)], 20)
    keys = {
        row[0]
        for row in stack.rows(
            """select image_url from generations union all select thumbnail_url from generations
               union all select file_url from photos union all select thumbnail_url from photos"""
        )
    }
    wait_until(lambda: stack.object_keys() == keys, 20)


def end_all(person: Person, run_ids: list[int], timeout_s: float = 110) -> list[dict[str, Any]]:
    return [person.finished(run_id, timeout_s) for run_id in run_ids]


@pytest.fixture(autouse=True)
def calm(stack: Stack) -> Iterator[None]:
    """The outside behaves well again afterwards."""
    yield
    faults = f"{stack.sandbox_url}/_sandbox/faults"
    httpx.delete(faults, headers=SANDBOX_AUTHORIZATION).raise_for_status()
    httpx.post(f"{stack.llm_url}/_sandbox/reset").raise_for_status()


@pytest.mark.parametrize("stack", [SLOW], indirect=True)
@pytest.mark.timeout(240)
def test_a_killed_worker_loses_nothing(stack: Stack, new_person: NewPerson, grace: list[Path]) -> None:
    person = new_person(stack, "grace@example.com")
    model_id = person.ready_clone(grace)
    second = person.train("SECOND")
    runs = [person.generate(model_id, f"TOK number {n}")["id"] for n in range(10)]
    stack.kill("worker")
    stack.start("worker")
    ended = end_all(person, runs)
    assert [run["status"] for run in ended] == ["succeeded"] * 10
    assert person.trained(second["id"], 110)["status"] == "Ready"
    assert_settled(stack, person, images=10, clones=2)
    # Each was made once at the provider, whatever became of the worker that asked for it.
    state = stack.sandbox_state()
    assert len(state["predictions"]) == 10
    assert len(state["trainings"]) == 2


@pytest.mark.timeout(240)
def test_lost_webhooks_are_made_up_for(stack: Stack, new_person: NewPerson, grace: list[Path]) -> None:
    stack.faults({"kind": "drop_webhooks", "times": None})
    told = stack.rows(RECEIPTS)
    person = new_person(stack, "eileen@example.com")
    model_id = person.ready_clone(grace)
    runs = [person.generate(model_id, f"TOK number {n}")["id"] for n in range(10)]
    assert [run["status"] for run in end_all(person, runs)] == ["succeeded"] * 10
    assert_settled(stack, person, images=10, clones=1)
    assert stack.rows(RECEIPTS) == told


@pytest.mark.timeout(240)
def test_webhooks_that_come_twice_late_and_in_disorder(
    stack: Stack, new_person: NewPerson, grace: list[Path]
) -> None:
    told = stack.rows(DONE)
    stack.faults(
        {"kind": "duplicate_webhooks", "copies": 2, "times": None},
        {"kind": "reorder_webhooks", "times": 20},
    )
    person = new_person(stack, "ada@example.com")
    model_id = person.ready_clone(grace)
    runs = [person.generate(model_id, f"TOK number {n}", num_outputs=2)["id"] for n in range(5)]
    assert [run["status"] for run in end_all(person, runs)] == ["succeeded"] * 5
    assert_settled(stack, person, images=10, clones=1)
    assert stack.rows(DONE) != told


@pytest.mark.timeout(240)
def test_creations_whose_answer_was_lost_are_not_repeated(
    stack: Stack, new_person: NewPerson, grace: list[Path]
) -> None:
    before = stack.sandbox_state()["posts"]
    lost = {"kind": "http_error", "status": 502, "when": "after"}
    stack.faults(
        {**lost, "path": "/v1/models/*/versions/*/trainings"},
        {**lost, "path": "/v1/predictions", "times": 3},
        {"kind": "truncated_json", "path": "/v1/predictions", "times": 2},
    )
    person = new_person(stack, "mary@example.com")
    model_id = person.ready_clone(grace)
    runs = [person.generate(model_id, f"TOK number {n}")["id"] for n in range(6)]
    assert [run["status"] for run in end_all(person, runs)] == ["succeeded"] * 6
    assert_settled(stack, person, images=6, clones=1)
    made = stack.sandbox_state()["posts"]
    assert made["trainings"]["accepted"] == before["trainings"]["accepted"] + 1
    assert made["predictions"]["accepted"] == before["predictions"]["accepted"] + 6


@pytest.mark.timeout(240)
def test_a_provider_that_refuses_for_a_while(stack: Stack, new_person: NewPerson, grace: list[Path]) -> None:
    stack.faults({"kind": "rate_limit", "retry_after": 1, "header": True, "times": 2})
    person = new_person(stack, "dorothy@example.com")
    model_id = person.ready_clone(grace)
    stack.faults({"kind": "rate_limit", "path": "/v1/predictions", "retry_after": 1, "times": 3})
    runs = [person.generate(model_id, f"TOK number {n}")["id"] for n in range(3)]
    assert [run["status"] for run in end_all(person, runs)] == ["succeeded"] * 3
    assert_settled(stack, person, images=3, clones=1)


def test_failures_cost_nothing_and_say_why(stack: Stack, new_person: NewPerson, grace: list[Path]) -> None:
    person = new_person(stack, "katherine@example.com")
    stack.faults({"kind": "fail_training", "text": "out of memory"})
    person.upload(grace)
    failed = person.trained(person.train()["id"])
    assert (failed["status"], failed["error"]["code"]) == ("Failed", "training_failed")
    assert "out of memory" in failed["error"]["message"]
    assert person.quota()["clones"]["used"] == 0

    model_id = person.trained(person.train()["id"])["id"]
    stack.faults({"kind": "fail_prediction", "text": "CUDA error"})
    run = person.finished(person.generate(model_id)["id"])
    assert (run["status"], run["error"]["code"]) == ("failed", "generation_failed")
    stack.faults({"kind": "nsfw", "drop": 1})
    run = person.finished(person.generate(model_id, num_outputs=3)["id"])
    assert (run["status"], len(run["images"])) == ("succeeded", 2)
    stack.faults({"kind": "nsfw", "drop": 2})
    run = person.finished(person.generate(model_id, num_outputs=2)["id"])
    assert (run["status"], run["error"]["code"]) == ("failed", "content_refused")
    stack.faults({"kind": "refuse", "path": "/v1/predictions"})
    run = person.finished(person.generate(model_id)["id"])
    assert (run["status"], run["error"]["code"]) == ("failed", "generation_rejected")
    stack.faults({"kind": "abort", "target": "prediction"})
    run = person.finished(person.generate(model_id)["id"])
    assert (run["status"], run["error"]["code"]) == ("failed", "generation_interrupted")
    assert_settled(stack, person, images=2, clones=1)


def test_an_enhancer_that_fails_does_not_stop_the_picture(
    stack: Stack, new_person: NewPerson, grace: list[Path]
) -> None:
    person = new_person(stack, "annie@example.com")
    model_id = person.ready_clone(grace)
    faults = f"{stack.llm_url}/_sandbox/faults"
    httpx.post(faults, json={"provider": "openai", "fault": "server_error", "times": 9}).raise_for_status()
    run = person.finished(person.generate(model_id, "TOK at sea", enhance=True)["id"])
    assert run["enhancement"] == {"provider": "anthropic", "outcome": "enhanced"}
    assert "TOK" in run["enhanced_prompt"]

    for provider in ("openai", "anthropic"):
        fault = {"provider": provider, "fault": "insufficient_quota", "until_reset": True}
        httpx.post(faults, json=fault).raise_for_status()
    run = person.finished(person.generate(model_id, "at sea", enhance=True)["id"])
    assert (run["status"], run["enhanced_prompt"]) == ("succeeded", None)
    assert run["enhancement"] == {"provider": None, "outcome": "unavailable"}
    sent = stack.sandbox_state()["predictions"][-1]["input"]["prompt"]
    assert sent == "TOK, at sea"
