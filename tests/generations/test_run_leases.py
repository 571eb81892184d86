"""Whatever submitters do at the same time: one prediction for a run, and none that nobody follows."""

import asyncio
import json
from datetime import timedelta

from tests.generations.conftest import Studio

from visiona.core.work import LEASE
from visiona.generations.service import APPLY_TASK
from visiona.ports.errors import OutcomeUnknown, ProviderRejected, ProviderUnavailable
from visiona.ports.remote import PredictionReport, RemoteState

EXPIRED = LEASE + timedelta(seconds=1)


def found(remote_id: str) -> PredictionReport:
    return PredictionReport(remote_id, RemoteState.STARTING)


async def test_a_slow_submitter_does_not_cancel_what_another_has_found(studio: Studio) -> None:
    run_id = await studio.start()
    called, answered = asyncio.Event(), asyncio.Event()

    async def slow() -> PredictionReport:
        called.set()
        await answered.wait()
        return found(f"p{run_id}")

    studio.generator.start = lambda _: slow()
    first = asyncio.create_task(studio.service.submit(studio.actor.user_id, run_id))
    await called.wait()
    await studio.age(run_id, EXPIRED)
    studio.generator.find = lambda _: found(f"p{run_id}")
    await studio.service.submit(studio.actor.user_id, run_id)
    answered.set()
    await first
    assert await studio.row(run_id) == ("running", None)
    assert studio.generator.canceled == []
    assert len(studio.generator.started) == 1


async def test_who_looked_for_too_long_does_not_call(studio: Studio) -> None:
    run_id = await studio.start()
    studio.generator.start = lambda _: OutcomeUnknown("test", "timeout")
    studio.generator.find = lambda _: ProviderUnavailable("test", "unreachable")
    await studio.service.submit(studio.actor.user_id, run_id)
    assert await studio.row(run_id) == ("submitting", None)
    await studio.age(run_id, EXPIRED)
    looking, looked = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        looking.set()
        await looked.wait()

    studio.generator.find = lambda _: slow()
    second = asyncio.create_task(studio.service.submit(studio.actor.user_id, run_id))
    await looking.wait()
    await studio.age(run_id, EXPIRED)
    studio.generator.find = lambda _: None
    studio.generator.start = lambda _: found(f"p{run_id}")
    await studio.service.submit(studio.actor.user_id, run_id)
    looked.set()
    await second
    assert await studio.row(run_id) == ("running", None)
    assert len(studio.generator.started) == 2  # the lost one, and the third's


async def test_runs_that_are_the_same_do_not_take_each_others_predictions(studio: Studio) -> None:
    first = await studio.start(inputs={"seed": 1})
    studio.generator.start = lambda _: found(f"p{first}")
    await studio.service.submit(studio.actor.user_id, first)
    second = await studio.start(inputs={"seed": 1})
    studio.generator.start = lambda _: OutcomeUnknown("test", "timeout")
    studio.generator.find = lambda taken: None if f"p{first}" in taken else found(f"p{first}")
    await studio.service.submit(studio.actor.user_id, second)
    await studio.age(second, EXPIRED)
    studio.generator.start = lambda _: found(f"p{second}")
    await studio.service.submit(studio.actor.user_id, second)
    assert await studio.row(first) == ("running", None)
    assert await studio.row(second) == ("running", None)


async def test_a_prediction_that_turns_up_after_its_run_has_ended_is_canceled(studio: Studio) -> None:
    run_id = await studio.start()
    studio.generator.start = lambda _: ProviderRejected("test", "invalid_input", status=422, message="a\x00b")
    await studio.service.submit(studio.actor.user_id, run_id)
    assert await studio.row(run_id) == ("failed", "generation_rejected")
    assert await studio.quota() == (0, 0)
    await studio.service.observe(studio.actor.user_id, run_id, "stray")
    assert studio.generator.canceled == ["stray"]


async def test_a_prediction_of_a_run_that_has_ended_is_left_alone(studio: Studio) -> None:
    run_id = await studio.submitted()
    studio.generator.answers = lambda remote_id: PredictionReport(remote_id, RemoteState.FAILED)
    await studio.apply(run_id)
    cursor = await studio.owner.execute("select provider_id from runs where id = %s", [run_id])
    row = await cursor.fetchone()
    assert row is not None
    await studio.service.observe(studio.actor.user_id, run_id, row[0])
    assert studio.generator.canceled == []


async def test_the_sweep_asks_for_no_look_while_one_is_being_taken(studio: Studio) -> None:
    run_id = await studio.submitted()
    await studio.owner.execute("set search_path = public, procrastinate")  # for the library's triggers
    arguments = json.dumps({"run_id": run_id, "user_id": studio.actor.user_id})

    async def waiting() -> int:
        await studio.age(run_id, timedelta(seconds=30))
        # It is its turn, and not that of the many that other tests have left open.
        await studio.owner.execute("update runs set checked_at = case when id <> %s then now() end", [run_id])
        await studio.service.sweep()
        cursor = await studio.owner.execute(
            """select count(*) from procrastinate.procrastinate_jobs
               where task_name = %s and args = %s::jsonb and status = 'todo'""",
            [APPLY_TASK, arguments],
        )
        row = await cursor.fetchone()
        assert row is not None
        return row[0]

    assert await waiting() == 1
    await studio.owner.execute(
        "update procrastinate.procrastinate_jobs set status = 'doing' where args = %s::jsonb", [arguments]
    )
    assert await waiting() == 0
    await studio.owner.execute(
        "delete from procrastinate.procrastinate_jobs where args = %s::jsonb", [arguments]
    )
    assert await waiting() == 1
