"""Whoever is erased is gone at other firms too, whatever these do meanwhile: their own records say so."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.privacy.conftest import Known, World

from visiona.db.jobs import RetryLater
from visiona.privacy.model import STEPS

GONE = (False, "canceled")
OUTAGES: dict[str, dict[str, dict[str, Any]]] = {
    "payments": {
        "an error": {"fault": "server_error"},
        "too many": {"fault": "rate_limit"},
        "no answer": {"fault": "connection_drop"},
        "a page": {"fault": "html_502"},
    },
    "identity": {
        "an error": {"fault": "server_error"},
        "too many": {"fault": "rate_limit"},
        "no answer": {"fault": "connection_drop"},
        "a page": {"fault": "html_502"},
    },
    "training": {
        "an error": {"kind": "http_error", "method": "DELETE"},
        "too many": {"kind": "rate_limit", "method": "DELETE"},
        "a page": {"kind": "html", "method": "DELETE", "when": "before"},
        "not told whether it is gone": {"kind": "http_error", "method": "GET"},
    },
}
"""Of each step what its firm does, for as long as it is told to."""
SILENCE: dict[str, dict[str, Any]] = {
    "payments": {"fault": "hang", "seconds": 1, "times": None},
    "identity": {"fault": "hang", "seconds": 1, "times": None},
    "training": {"kind": "slow", "seconds": 1, "method": "DELETE", "when": "before", "times": None},
}


@pytest.fixture(autouse=True)
async def nobody_else(world: World) -> None:
    """Jobs are everybody's."""
    await world.rows("delete from procrastinate.procrastinate_jobs")


def firm(world: World, step: str) -> Any:
    return {"payments": world.stripe, "identity": world.there, "training": world.replicate}[step]


async def asked(world: World, known: Known) -> Any:
    return (await world.app.privacy.ask(known.actor)).id


def deletions(world: World, known: Known) -> list[str]:
    """Every time that a firm deleted somebody, as it told of it."""
    events = world.stripe.events(known.customer), world.stripe.events(known.subscription)
    told = [event["type"] for event in (*events[0], *events[1])]
    return [kind for kind in told if kind.endswith("deleted")] + [
        kind for kind in world.there.events(known.subject) if kind == "user.deleted"
    ]


async def test_nothing_is_left_at_the_firms(world: World, tmp_path: Path) -> None:
    """Subscription, customer, account, version, its pictures, archive and the model that held it alone."""
    known = await world.join()
    await world.train(known, tmp_path)
    assert world.at_stripe(known) == (True, "active")
    assert world.at_clerk(known)
    assert world.at_replicate(known) == (True, 1)
    [(version,)] = await world.rows("select version from models where id = %s", known.model_id)
    prediction = world.replicate.predict(version.partition(":")[2])
    world.replicate.finished(f"/predictions/{prediction['id']}")
    invoices = len(world.stripe.client.v1.invoices.list({"customer": known.customer}).data)

    receipt = await world.erased(await asked(world, known))

    assert world.at_stripe(known) == GONE
    assert not world.at_clerk(known)
    assert world.at_replicate(known) == (False, 0)
    assert world.files() == 0
    assert world.replicate.api.get(f"/predictions/{prediction['id']}").status_code == 404
    kept = {one["what"] for one in receipt["kept"]}
    assert {"invoices at the payment service", "records of trainings at the training service"} <= kept
    counts = {name: receipt["steps"][name]["count"] for name in ("payments", "identity", "training")}
    assert counts == {
        "payments": 1,
        "identity": 1,
        "training": {"versions": 1, "archives": 1, "models": 1},
    }
    # Two months later nothing more was charged; what was paid stays, as the law demands.
    world.stripe.advance(62 * 86_400)
    assert len(world.stripe.client.v1.invoices.list({"customer": known.customer}).data) == invoices == 1
    # Late news of theirs find nobody, and nothing stays of these.
    await world.rows("delete from procrastinate.procrastinate_jobs")
    [training] = [one for one in world.replicate.state()["trainings"] if one["output"]["version"] == version]
    for provider, topic, reference in (
        ("stripe", "account", f'{{"customer": "{known.customer}"}}'),
        ("clerk", "user", f'{{"subject": "{known.subject}"}}'),
        (
            "replicate",
            "training",
            f'{{"user": {known.id}, "id": {known.model_id}, "remote_id": "{training["id"]}"}}',
        ),
    ):
        [(receipt_id,)] = await world.rows(
            """insert into webhook_receipts (provider, external_id, topic, reference)
               values (%s, gen_random_uuid()::text, %s, %s::jsonb) returning id""",
            provider,
            topic,
            reference,
        )
        await world.worker.inbox.process(receipt_id)
        assert await world.rows(
            "select reference, processed_at is not null from webhook_receipts where id = %s", receipt_id
        ) == [({}, True)]
    await world.run_jobs()
    assert await world.waiting_jobs() == []
    assert await world.user_of(known.subject) is None


async def test_a_model_that_holds_others_stays(world: World, tmp_path: Path) -> None:
    """And so does one that a training of somebody else is to end in, even if that begins meanwhile."""
    known = await world.join()
    await world.train(known, tmp_path)
    clones = world.worker.clones
    in_use = clones._in_use
    answers = iter([False, True])

    async def begun_meanwhile(shard: int) -> bool:
        return next(answers, None) or await in_use(shard)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clones, "_in_use", begun_meanwhile)
        receipt = await world.erased(await asked(world, known))
    assert receipt["steps"]["training"]["count"] == {"versions": 1, "archives": 1, "models": 0}
    assert world.at_replicate(known) == (True, 0)
    await clones.remove_destination(known.id)
    assert world.at_replicate(known) == (False, 0)


@pytest.mark.parametrize("step", OUTAGES)
async def test_no_outage_leaves_anything_behind(world: World, tmp_path: Path, step: str) -> None:
    """Every kind of failure, each until the firm is back; it is said what is waited for."""
    known = await world.join()
    if step == "training":
        await world.train(known, tmp_path)
    erasure_id = await asked(world, known)
    for fault in OUTAGES[step].values():
        world.clear_faults()
        firm(world, step).raw.post("/_sandbox/faults", json={"times": None, **fault})
        with pytest.raises(RetryLater):
            await world.privacy.erase(erasure_id)
        assert str(await world.trouble(erasure_id)).startswith(f"{step}: ")
        assert await world.app.privacy.receipt(erasure_id) is None
    world.clear_faults()
    with world.impatient(step):
        firm(world, step).raw.post("/_sandbox/faults", json=SILENCE[step])
        with pytest.raises(RetryLater):
            await world.privacy.erase(erasure_id)
    assert "timeout" in str(await world.trouble(erasure_id))
    world.clear_faults()
    await world.erased(erasure_id)
    assert world.at_stripe(known) == GONE
    assert not world.at_clerk(known)
    assert world.at_replicate(known) == (False, 0)
    assert world.files() == 0


async def test_an_answer_that_is_lost_is_made_up_for(world: World, tmp_path: Path) -> None:
    """The firm did it, and could not say so: what is gone already counts as gone, once it is seen to be."""
    known = await world.join()
    await world.train(known, tmp_path)
    erasure_id = await asked(world, known)
    world.stripe.fault("lost_answer", method="DELETE", times=2)
    world.there.fault("lost_answer", method="DELETE", times=2, drop=True)
    world.replicate.fault(kind="html", method="DELETE", when="after", times=2)
    await world.erased(erasure_id)
    assert deletions(world, known) == ["customer.deleted", "customer.subscription.deleted", "user.deleted"]
    assert world.at_stripe(known) == GONE
    assert world.at_replicate(known) == (False, 0)
    assert world.files() == 0


class Killed(BaseException):
    """A worker that is there no more: nothing of it catches this."""


async def test_a_worker_that_is_killed_between_any_two_steps_is_followed_by_another(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = await world.join()
    await world.train(known, tmp_path)
    erasure_id = await asked(world, known)
    step, killed = world.privacy._step, set[str]()

    async def kill(name: str, *others: Any) -> Any:
        done = await step(name, *others)
        if name not in killed:
            killed.add(name)
            raise Killed
        return done

    monkeypatch.setattr(world.privacy, "_step", kill)
    finish = world.privacy._finish

    async def kill_at_the_end(_erasure_id: Any) -> None:
        monkeypatch.setattr(world.privacy, "_finish", finish)
        raise Killed

    monkeypatch.setattr(world.privacy, "_finish", kill_at_the_end)
    deaths = 0
    for _ in range(60):
        try:
            await world.privacy.erase(erasure_id)
        except Killed:
            deaths += 1
        except RetryLater:
            await asyncio.sleep(0.05)
        if await world.app.privacy.receipt(erasure_id) is not None:
            break
    assert deaths == len(STEPS) + 1
    data = await world.app.privacy.receipt(erasure_id)
    assert data is not None
    assert list(world.app.privacy.verify_receipt(data)["steps"]) != []
    assert deletions(world, known) == ["customer.deleted", "customer.subscription.deleted", "user.deleted"]
    assert world.at_replicate(known) == (False, 0)
    assert await world.rows("select 1 from users where id = %s", known.id) == []
    assert await world.worker.vault.is_destroyed(known.id)


async def test_a_firm_that_is_away_for_long_is_asked_less_and_less_until_it_is_back(world: World) -> None:
    known = await world.join()
    erasure_id = await asked(world, known)
    world.stripe.fault("server_error", times=None)
    pauses: list[int] = []
    for attempt in range(5):
        if attempt == 4:  # after some hours
            await world.rows("update erasures set attempts = 11 where id = %s", erasure_id)
        with pytest.raises(RetryLater):
            await world.privacy.erase(erasure_id)
        [(pause,)] = await world.rows(
            """select extract(epoch from next_attempt_at - now())::int from erasures where id = %s""",
            erasure_id,
        )
        pauses.append(pause + 1)
    assert [pause // 5 * 5 for pause in pauses[:4]] == [5, 10, 20, 40]
    assert pauses[-1] in range(3590, 3602)
    assert str(await world.trouble(erasure_id)).startswith("payments: stripe")
    # Not before its time, and then by itself.
    await world.rows("delete from procrastinate.procrastinate_jobs")
    await world.privacy.sweep()
    assert await world.waiting_jobs() == []
    world.clear_faults()
    await world.rows("update erasures set next_attempt_at = now() where id = %s", erasure_id)
    await world.privacy.sweep()
    assert await world.waiting_jobs() == ["privacy.erase"]
    await world.run_jobs()
    assert await world.app.privacy.receipt(erasure_id) is not None
    assert world.at_stripe(known) == GONE


async def test_no_key_of_another_mode_or_account_takes_a_customer_for_gone(world: World) -> None:
    """It stays unconfirmed, the operator reads why, and may say that they have done it by hand."""
    known = await world.join()
    await world.rows("update payment_customers set mode = 'live' where user_id = %s", known.id)
    erasure_id = await asked(world, known)
    with pytest.raises(RetryLater):
        await world.privacy.proceed(known.id)
    with pytest.raises(RetryLater):
        await world.privacy.erase(erasure_id)
    assert "of live mode" in str(await world.trouble(erasure_id))
    assert world.at_stripe(known) == (True, "active")

    other = await world.join()
    await world.rows(
        "update payment_customers set customer_id = 'cus_of_another_account' where user_id = %s", other.id
    )
    other_id = await asked(world, other)
    with pytest.raises(RetryLater):
        await world.privacy.erase(other_id)
    assert "never had this customer" in str(await world.trouble(other_id))

    assert not await world.privacy.confirm_by_hand(other_id, "rows")
    assert not await world.privacy.confirm_by_hand(other_id, "nothing")
    assert await world.privacy.confirm_by_hand(other_id, "payments")
    assert not await world.privacy.confirm_by_hand(other_id, "payments")
    receipt = await world.erased(other_id)
    assert receipt["steps"]["payments"]["by_hand"] is True
    assert "by_hand" not in receipt["steps"]["identity"]


async def test_a_customer_who_was_never_noted_is_found(world: World) -> None:
    """Their worker was killed after it had made the customer; somebody else of the same address is let be."""
    known = await world.join()
    there = world.stripe.client.v1.customers
    address = f"{known.subject}@example.com"
    unnoted = there.create({"email": address, "metadata": {"visiona_user": known.subject}})
    another = there.create({"email": address, "metadata": {"visiona_user": "somebody else"}})
    await world.rows("update payment_customers set customer_id = null where user_id = %s", known.id)
    receipt = await world.erased(await asked(world, known))
    assert receipt["steps"]["payments"]["count"] == 1
    assert getattr(there.retrieve(unnoted.id), "deleted", False) is True
    assert getattr(there.retrieve(another.id), "deleted", False) is False


async def test_a_customer_who_was_deleted_by_others_is_gone(world: World) -> None:
    known = await world.join()
    world.stripe.client.v1.customers.delete(known.customer)
    world.there.api.delete(f"/users/{known.subject}")
    receipt = await world.erased(await asked(world, known))
    assert receipt["steps"]["payments"]["count"] == 1


async def test_what_is_in_the_making_ends_and_leaves_nothing(world: World, tmp_path: Path) -> None:
    """A training that is on its way, and one that the firm ended well after it had been given up here."""
    known = await world.join()
    world.replicate.fault(kind="cold_start", seconds=3600, target="training")
    await world.train(known, tmp_path, until="submitted")
    assert world.files() == 1
    erasure_id = await asked(world, known)
    with pytest.raises(RetryLater):
        await world.privacy.erase(erasure_id)
    assert str(await world.trouble(erasure_id)).startswith("work: ")
    await world.run_jobs()
    receipt = await world.erased(erasure_id)
    assert receipt["steps"]["training"]["count"]["archives"] == 1
    assert world.files() == 0
    assert world.at_replicate(known) == (False, 0)

    late = await world.join()
    await world.train(late, tmp_path)
    await world.rows("update trainings set state = 'failed' where user_id = %s", late.id)
    await world.rows(
        """update models set status = 'Failed', version = null, ready_at = null, input_schema = null,
           error_code = 'lost' where user_id = %s""",
        late.id,
    )
    assert world.at_replicate(late) == (True, 1)
    receipt = await world.erased(await asked(world, late))
    assert receipt["steps"]["training"]["count"]["versions"] == 1
    assert world.at_replicate(late) == (False, 0)


# Single things


async def test_what_was_drawn_is_gone_at_the_firm_within_an_hour(world: World, tmp_path: Path) -> None:
    """It offers no way to delete a prediction sooner, but with its version."""
    known = await world.join()
    await world.train(known, tmp_path)
    [(version,)] = await world.rows("select version from models where id = %s", known.model_id)
    made = world.replicate.predict(version.partition(":")[2])
    [url] = world.replicate.finished(f"/predictions/{made['id']}")["output"]
    assert world.replicate.raw.get(url).status_code == 200
    world.replicate.clock(advance_s=3601)
    [left] = [one for one in world.replicate.state()["predictions"] if one["id"] == made["id"]]
    assert (left["input"], left["data_removed"]) == ({}, True)
    assert world.replicate.raw.get(url).status_code == 404
    await world.erased(await asked(world, known))


async def test_a_clone_takes_its_version_and_an_empty_model_with_it(world: World, tmp_path: Path) -> None:
    known = await world.join()
    await world.train(known, tmp_path)
    await world.run_jobs()
    assert world.files() == 0  # the archive goes with the end of the training
    world.replicate.fault(kind="http_error", method="DELETE", times=None)
    await world.app.clones.delete(known.actor, known.model_id)
    await world.run_jobs()
    assert await world.waiting_jobs() == ["clones.delete_version"]
    assert world.at_replicate(known) == (True, 1)
    # Who leaves meanwhile is not gone before that is.
    erasure_id = await asked(world, known)
    with pytest.raises(RetryLater):
        await world.privacy.erase(erasure_id)
    assert str(await world.trouble(erasure_id)).startswith("training: ")
    world.clear_faults()
    receipt = await world.erased(erasure_id)
    assert receipt["steps"]["training"]["count"] == {"versions": 1, "archives": 0, "models": 1}
    assert world.at_replicate(known) == (False, 0)
    for _ in range(3):
        await world.run_jobs()
    assert await world.waiting_jobs() == []

    other = await world.join()
    await world.train(other, tmp_path)
    await world.app.clones.delete(other.actor, other.model_id)
    for _ in range(20):
        await world.run_jobs()
        if await world.waiting_jobs() == []:
            break
        await asyncio.sleep(0.05)
    assert world.at_replicate(other) == (False, 0)


async def test_a_photo_is_in_the_archive_for_no_longer_than_its_training_runs(
    world: World, tmp_path: Path
) -> None:
    known = await world.join()
    world.replicate.fault(kind="cold_start", seconds=0.5, target="training")
    await world.train(known, tmp_path, until="submitted")
    [(photo_id,)] = await world.rows("select min(id) from photos where user_id = %s", known.id)
    await world.app.photos.delete(known.actor, photo_id)
    assert world.files() == 1
    for _ in range(100):
        with suppress(RetryLater):
            await world.worker.clones.apply(known.id, known.model_id)
        await world.run_jobs()
        if world.files() == 0:
            break
        await asyncio.sleep(0.05)
    assert world.files() == 0
    await world.erased(await asked(world, known))
