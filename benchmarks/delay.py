"""The delay between the provider's end of a generation and the image in the gallery.

Both ends are read on this machine's clock: the sandbox says when a prediction was completed, and a
watcher asks the gallery every few milliseconds and listens to the event stream all the while.
"""

import asyncio
import random
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from tests.factories.photos import phone_photos

from benchmarks.bare_delivery import Deliverer
from benchmarks.bench import Bench
from benchmarks.processes import wait_until
from benchmarks.report import Table, median, ratio, span
from benchmarks.stack import Person, Stack, visiona
from benchmarks.watching import POLLING_INTERVAL_S, Watch, watching

TRAINING_PHOTOS = 10
RUN_TIMEOUT_S = 90.0
SWEEP_INTERVAL_S = 2.0

_MOMENTS = """
select r.provider_id, g.id, extract(epoch from g.created_at)::float8,
       array(select extract(epoch from w.received_at)::float8 from webhook_receipts w
             where w.topic = 'prediction' and (w.reference ->> 'id')::bigint = r.id order by 1)
from runs r join generations g on g.run_id = r.id and g.position = 0
where r.id = %s
"""


@dataclass(frozen=True, slots=True)
class _Delivery:
    """Moments of one image, in seconds of the epoch."""

    run_id: int
    output: str
    completed: float
    received: float | None  # the webhook was put on record
    collected: float  # the image is stored, and its row begins to be written
    visible: float
    announced: float

    def ms(self, moment: float) -> float:
        """From the provider's end."""
        return (moment - self.completed) * 1000


@dataclass(frozen=True, slots=True)
class _Scenario:
    name: str
    count: int
    at_once: bool
    webhooks: bool


def measure(bench: Bench) -> Iterator[Table]:
    quickly = {"VISIONA_SANDBOX_TRAINING_SECONDS": "0.5", "VISIONA_SANDBOX_GENERATION_SECONDS": "0.2"}
    with (
        visiona(bench.postgres, bench.folder, "sandbox", "serve", "worker", **quickly) as stack,
        Person(stack, "someone@example.com") as person,
    ):
        model_id = _ready_clone(bench, person)
        many, few = bench.choose((20, 10), (1, 1))
        scenarios = [
            _Scenario(f"webhooks, {many} one after another", many, at_once=False, webhooks=True),
            _Scenario(f"webhooks, {many} at once", many, at_once=True, webhooks=True),
            _Scenario(f"no webhooks, {few} one after another", few, at_once=False, webhooks=False),
            _Scenario(f"no webhooks, {many} at once", many, at_once=True, webhooks=False),
        ]
        delivered = asyncio.run(_all(stack, person, model_id, scenarios))
        first = delivered[0]
        with Deliverer(stack, person.id) as deliverer:
            floor = [deliverer.deliver(item.output, item.run_id) for item in first]
            encoded = [deliverer.deliver(item.output, item.run_id, encode=True) for item in first]
    yield _delay_table(scenarios, delivered, floor, encoded)
    yield _parts_table(first)


def _ready_clone(bench: Bench, person: Person) -> int:
    paths = phone_photos("grace", TRAINING_PHOTOS, folder=bench.folder / "photos")
    files = [("photos", (path.name, path.read_bytes())) for path in paths]
    person.http.post("/api/photos/upload", files=files).raise_for_status()
    trained = person.http.post("/api/models/train", json={"trigger_word": "TOK"}).raise_for_status().json()

    def ended() -> dict[str, Any] | None:
        answer = person.http.get("/api/models/status", params={"model_id": trained["id"]})
        model = answer.raise_for_status().json()
        return None if model["status"] == "Processing" else model

    model = wait_until(ended, interval_s=0.1)
    if model["status"] != "Ready":
        raise RuntimeError(f"the training failed: {model['error']}")
    return model["id"]


async def _all(
    stack: Stack, person: Person, model_id: int, scenarios: Sequence[_Scenario]
) -> list[list[_Delivery]]:
    pause = random.Random(1)
    delivered: list[list[_Delivery]] = []
    async with watching(stack.url, person.token) as watch:
        await _generate(watch, model_id, "TOK warming up")
        for scenario in scenarios:
            await asyncio.to_thread(_allow_webhooks, stack, scenario.webhooks)
            if scenario.at_once:
                prompts = [f"TOK on a beach, {number}" for number in range(scenario.count)]
                runs = await asyncio.gather(*(_generate(watch, model_id, prompt) for prompt in prompts))
            else:
                runs = []
                for number in range(scenario.count):
                    if not scenario.webhooks:  # else every run would begin just after a sweep
                        await asyncio.sleep(pause.uniform(0, SWEEP_INTERVAL_S))
                    runs.append(await _generate(watch, model_id, f"TOK in the mountains, {number}"))
            delivered.append(await asyncio.to_thread(_moments, stack, watch, runs))
    return delivered


async def _generate(watch: Watch, model_id: int, prompt: str) -> int:
    """The id of a run whose image is in the gallery now."""
    body = {"model_id": model_id, "prompt": prompt}
    answer = await watch.http.post("/api/generate", json=body)
    run_id = answer.raise_for_status().json()["id"]
    async with asyncio.timeout(RUN_TIMEOUT_S):
        await watch.shown(run_id)
    return run_id


def _allow_webhooks(stack: Stack, allowed: bool) -> None:
    with stack.sandbox as sandbox:
        sandbox.delete("/_sandbox/faults").raise_for_status()
        if not allowed:
            fault = {"kind": "drop_webhooks", "times": None}
            sandbox.post("/_sandbox/faults", json=fault).raise_for_status()


def _moments(stack: Stack, watch: Watch, runs: Sequence[int]) -> list[_Delivery]:
    with stack.sandbox as sandbox:
        state = sandbox.get("/_sandbox/state").raise_for_status().json()
    predictions = {prediction["id"]: prediction for prediction in state["predictions"]}
    deliveries: list[_Delivery] = []
    with psycopg.connect(stack.owner_url) as connection:
        for run_id in runs:
            [row] = connection.execute(_MOMENTS, [run_id]).fetchall()
            provider_id, image_id, collected, receipts = row
            prediction = predictions[provider_id]
            completed = datetime.fromisoformat(prediction["completed_at"]).timestamp()
            deliveries.append(
                _Delivery(
                    run_id=run_id,
                    output=prediction["output"][0],
                    completed=completed,
                    received=next((moment for moment in receipts if moment >= completed), None),
                    collected=collected,
                    visible=watch.seen[image_id],
                    announced=watch.announced[run_id],
                )
            )
    return deliveries


def _delay_table(
    scenarios: Sequence[_Scenario],
    delivered: Sequence[Sequence[_Delivery]],
    floor: Sequence[float],
    encoded: Sequence[float],
) -> Table:
    table = Table(
        "delay: from the provider's end until the image is in GET /api/gallery",
        ("", "ms", "min - max", "of the floor", "min - max", "event, ms", "min - max"),
    )
    for scenario, deliveries in zip(scenarios, delivered, strict=True):
        visible = [item.ms(item.visible) for item in deliveries]
        events = [item.ms(item.announced) for item in deliveries]
        _add(table, scenario.name, visible, floor, median(events), span(events))
    _add(table, "floor: download, decode, store, insert", floor, floor, "-", "-")
    _add(table, "  + encoded anew, with a thumbnail", encoded, floor, "-", "-")
    table.notes += [
        "The floor does it to the same images in one process, one after another. The gallery was asked",
        (
            f"every {POLLING_INTERVAL_S * 1000:.0f} ms. Without webhooks the sweep finds the image: every"
            f" {SWEEP_INTERVAL_S:g} s it looks at what is 2 s old or more."
        ),
    ]
    return table


def _add(table: Table, name: str, ms: Sequence[float], floor: Sequence[float], *event: str) -> None:
    middle = statistics.median(floor)
    table.add(name, median(ms), span(ms), *ratio(ms, [middle] * len(ms)), *event)


def _parts_table(deliveries: Sequence[_Delivery]) -> Table:
    table = Table("delay: where it goes, with webhooks, one after another", ("", "ms", "min - max"))
    stamped = [(item, item.received) for item in deliveries if item.received is not None]
    parts = {
        "until the webhook is on record": [item.ms(received) for item, received in stamped],
        "job begun, provider asked, image fetched, decoded, stored": [
            (item.collected - received) * 1000 for item, received in stamped
        ],
        "row written, committed, seen in the gallery": [
            (item.visible - item.collected) * 1000 for item in deliveries
        ],
    }
    for name, ms in parts.items():
        table.add(name, median(ms), span(ms))
    return table
