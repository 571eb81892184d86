"""Many generations while workers die, the database restarts and webhooks go astray; run by `make drill`."""

import os
import random
import subprocess
import tempfile
import threading
import time
from collections.abc import Generator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from tests.factories.photos import phone_photos
from tests.journeys.conftest import Person, Stack, running_stack, wait_until

from visiona.db.embedded import embedded_server

pytestmark = [pytest.mark.drill, pytest.mark.timeout(1800)]

RUNS = 120
IN_FLIGHT = 30
SEED = int(os.environ.get("DRILL_SEED", "0")) or random.randrange(1, 2**31)


@contextmanager
def killing_workers(stack: Stack, dice: random.Random) -> Generator[None]:
    """Every few seconds the worker is killed, as the kernel would, and started again."""
    done = threading.Event()

    def kill() -> None:
        while not done.wait(dice.uniform(4, 10)):
            stack.kill("worker")
            stack.start("worker")

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def restart_database(folder: Path) -> None:
    """Without a farewell: what was not committed is gone."""
    server = int((folder / "postmaster.pid").read_text().split()[0])
    command = str(Path(f"/proc/{server}/exe").readlink().with_name("pg_ctl"))
    options = ["-D", str(folder), "-l", str(folder / "log"), "-m", "immediate", "-w", "restart"]
    owner = folder.stat().st_uid
    subprocess.run([command, *options], check=True, stdout=subprocess.DEVNULL, user=owner, timeout=60)


@pytest.fixture
def folder() -> Generator[Path]:
    """Outside of pytest's own, which is closed to the user that the database runs as."""
    with tempfile.TemporaryDirectory(prefix="visiona-drill-", ignore_cleanup_errors=True) as name:
        yield Path(name)


def test_everything_ends_exactly_once(folder: Path) -> None:
    print(f"DRILL_SEED={SEED}")
    dice = random.Random(SEED)
    data = folder / "postgres"
    with (
        embedded_server(data) as url,
        running_stack(url, folder, VISIONA_SANDBOX_GENERATION_SECONDS="0.4") as stack,
        ExitStack() as stacked,
    ):
        person = stacked.enter_context(closing(Person(stack, "grace@example.com")))
        assert "premium" in stack.run("user", "plan", "grace@example.com", "premium")
        model_id = person.ready_clone(phone_photos("grace", 12, folder=folder))
        stack.faults(
            {"kind": "drop_webhooks", "times": RUNS // 20},
            {"kind": "duplicate_webhooks", "copies": 2, "times": None},
            {"kind": "reorder_webhooks", "times": None},
            {
                "kind": "http_error",
                "status": 502,
                "when": "after",
                "path": "/v1/predictions",
                "times": RUNS // 10,
            },
            {"kind": "nsfw", "drop": 1, "times": RUNS // 10},
        )
        run_ids: list[int] = []
        with killing_workers(stack, dice):
            for number in range(RUNS):
                wait_until(lambda: unfinished(stack) < IN_FLIGHT, 120)
                run_ids.append(start(person, model_id, number, dice))
                if number % 40 == 20:
                    restart_database(data)
                if number % 7 == 3:
                    persistently(person, f"/api/generate/{dice.choice(run_ids)}/cancel")
            wait_until(lambda: unfinished(stack) < IN_FLIGHT // 3, 300)
        wait_until(lambda: unfinished(stack) == 0, 300, 0.5)

        delivered = stack.rows("select count(*) from generations")[0][0]
        states = dict(stack.rows("select state, count(*) from runs group by state"))
        print(states, delivered)
        assert sum(states.values()) == RUNS
        assert set(states) <= {"succeeded", "failed", "canceled"}
        assert states.get("failed", 0) <= RUNS // 5  # those whose only image the safety check dropped
        accepted = stack.sandbox_state()["posts"]["predictions"]["accepted"]
        assert accepted <= RUNS
        assert stack.rows("select used, reserved from quota_usage where resource = 'images'") == [
            (delivered, 0)
        ]
        stack.assert_ledger_holds()
        assert_objects(stack)


def unfinished(stack: Stack) -> int:
    try:
        return stack.rows("select count(*) from runs where finished_at is null")[0][0]
    except Exception:  # noqa: BLE001 - the database is being restarted
        return IN_FLIGHT


def persistently(person: Person, path: str, **options: object) -> dict[str, object]:
    """As a patient client: the same request again while the server cannot answer."""
    deadline = time.monotonic() + 60
    while True:
        answer = person.http.post(path, **options)  # type: ignore[arg-type] # httpx's own options
        if answer.status_code != 503 or time.monotonic() > deadline:
            assert answer.is_success, answer.text
            return answer.json()
        time.sleep(0.5)


def start(person: Person, model_id: int, number: int, dice: random.Random) -> int:
    body = {"model_id": model_id, "prompt": f"TOK number {number}", "num_outputs": dice.randint(1, 2)}
    run = persistently(person, "/api/generate", json=body, headers={"Idempotency-Key": f"run-{number}"})
    return int(run["id"])  # type: ignore[call-overload] # a number, by the contract


def assert_objects(stack: Stack) -> None:
    """Every row has its objects; every object has a row, or is on the list of what the sweep will take."""
    keys = {
        row[0]
        for row in stack.rows(
            """select image_url from generations union all select thumbnail_url from generations
               union all select file_url from photos union all select thumbnail_url from photos"""
        )
    }
    pending = {row[0] for row in stack.rows("select key from pending_objects")}
    # What a worker was writing when it was killed, the sweep takes an hour later.
    stored = {key for key in stack.object_keys() if "#" not in key}
    assert keys <= stored
    assert stored <= keys | pending
