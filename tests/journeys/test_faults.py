"""What the outside can do to work in progress, and that every piece of it ends exactly once."""

from pathlib import Path
from typing import Any

import pytest
from tests.journeys.conftest import NewPerson, Person, Stack

pytestmark = pytest.mark.journey

SLOW = {"VISIONA_SANDBOX_TRAINING_SECONDS": "6", "VISIONA_SANDBOX_GENERATION_SECONDS": "3"}


def assert_settled(stack: Stack, person: Person, *, images: int, clones: int) -> None:
    """Use equals what was delivered, nothing is set aside, and every object has its row."""
    rows = {row[0]: row[1:] for row in stack.rows("select resource, used, reserved from quota_usage")}
    assert rows.get("images", (0, 0)) == (images, 0)
    assert rows.get("clones", (0, 0)) == (clones, 0)
    assert len(person.gallery()) == images
    assert stack.rows("select count(*) from pending_objects") == [(0,)]
    keys = {
        row[0]
        for row in stack.rows(
            """select image_url from generations union all select thumbnail_url from generations
               union all select file_url from photos union all select thumbnail_url from photos"""
        )
    }
    assert stack.object_keys() == keys


def end_all(person: Person, run_ids: list[int], timeout_s: float = 110) -> list[dict[str, Any]]:
    return [person.finished(run_id, timeout_s) for run_id in run_ids]


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
    stack.faults({"drop_webhooks": True})
    person = new_person(stack, "grace@example.com")
    model_id = person.ready_clone(grace)
    runs = [person.generate(model_id, f"TOK number {n}")["id"] for n in range(10)]
    assert [run["status"] for run in end_all(person, runs)] == ["succeeded"] * 10
    assert_settled(stack, person, images=10, clones=1)
    assert stack.rows("select count(*) from webhook_receipts") == [(0,)]
