"""Who leaves while something is on its way, twice, or by two doors at once: they are gone all the same."""

import asyncio
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.privacy.conftest import Known, World
from tests.sandbox.clerk.conftest import PASSWORD

from visiona.core.errors import Conflict, NotFound
from visiona.db.actor import AdminActor
from visiona.db.jobs import RetryLater
from visiona.objects.model import Kind, new_key


@pytest.fixture(autouse=True)
async def nobody_else(world: World) -> None:
    """Jobs are everybody's."""
    await world.rows("delete from procrastinate.procrastinate_jobs")


async def asked_with_grace(world: World, known: Known) -> uuid.UUID:
    erasure = await world.app.privacy.ask(known.actor)
    await world.rows("update erasures set due_at = now() + interval '7 days' where id = %s", erasure.id)
    return erasure.id


async def states(world: World, known: Known) -> list[str]:
    found = await world.rows("select state from erasures where user_id = %s order by number", known.id)
    return [state for (state,) in found]


async def test_somebody_comes_back_with_their_address_during_and_after(world: World) -> None:
    """They are somebody new, of whom nothing is erased."""
    first = world.person()
    address = first["email_addresses"][0]["email_address"]
    await world.sign_in_hosted(first, PASSWORD)
    found = await world.user_of(first["id"])
    assert found is not None
    old_id = found[0]
    erasure_id = await world.privacy.order_now(old_id, "operator")
    step = world.privacy._step

    async def until_rows(name: str, *others: Any) -> Any:
        if name == "rows":
            raise RetryLater("the test is not ready")
        return await step(name, *others)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world.privacy, "_step", until_rows)
        with pytest.raises(RetryLater):
            await world.privacy.erase(erasure_id)
    second = world.there.user("again", email_address=[address])
    browser = await world.sign_in_hosted(second, PASSWORD)
    assert (await browser.get("/api/account/erasure")).json() == {"erasure": None}
    await world.erased(erasure_id)
    assert await world.user_of(first["id"]) is None
    again = await world.user_of(second["id"])
    assert again is not None
    assert again[:2] == (again[0], address)
    assert again[0] != old_id
    assert (await browser.get("/api/account/erasure")).status_code == 200
    # News of the one who left, late and twice, change nothing.
    for _ in range(2):
        assert (await world.hear("user.deleted", {"id": first["id"], "object": "user"})).status_code == 204
        await world.run_jobs()
    assert await world.user_of(second["id"]) == again


async def test_a_deletion_at_the_identity_service_ends_the_grace(world: World) -> None:
    """Nobody could take it back any more. That it is told twice, and that it goes on already, is fine."""
    known = await world.join()
    erasure_id = await asked_with_grace(world, known)
    with pytest.raises(NotFound):
        await world.app.privacy.receipt(uuid.uuid4())
    await world.privacy.erase(erasure_id)
    assert await states(world, known) == ["waiting"]
    world.there.api.delete(f"/users/{known.subject}")
    for _ in range(2):
        assert (await world.hear("user.deleted", {"id": known.subject, "object": "user"})).status_code == 204
        await world.run_jobs()
    await world.privacy.sweep()
    assert await states(world, known) == ["erasing"]
    with pytest.raises(Conflict):
        await world.app.privacy.take_back(known.actor)
    await world.privacy.sweep()
    await world.run_jobs()
    await world.erased(erasure_id)
    assert world.at_stripe(known) == (False, "canceled")


async def test_the_operator_does_not_wait_for_somebody_elses_grace(world: World) -> None:
    known = await world.join()
    erasure_id = await asked_with_grace(world, known)
    assert await world.privacy.order_now(known.id, "operator") == erasure_id
    await world.erased(erasure_id)


async def test_two_ask_at_once_and_one_erasure_comes_of_it(world: World) -> None:
    known = await world.join()
    admin = await world.join()
    await world.rows("update users set role = 'admin' where id = %s", admin.id)
    acting = AdminActor(admin.id)
    answers = await asyncio.gather(
        world.app.privacy.ask(known.actor),
        world.app.privacy.ask(known.actor),
        world.app.privacy.order(acting, known.id, "asked by letter"),
        world.app.privacy.order(acting, known.id, "asked by letter"),
        return_exceptions=True,
    )
    assert sum(not isinstance(answer, BaseException) for answer in answers) == 1
    assert {type(answer) for answer in answers if isinstance(answer, BaseException)} == {Conflict}
    assert len(await states(world, known)) == 1
    with pytest.raises(Conflict):  # not by another administrator's order, nor by one's own
        await world.app.privacy.order(acting, admin.id, "asked by letter")
    [(erasure_id,)] = await world.rows("select id from erasures where user_id = %s", known.id)
    both = await asyncio.gather(
        world.privacy.erase(erasure_id), world.privacy.erase(erasure_id), return_exceptions=True
    )
    assert {type(one) for one in both} <= {type(None), RetryLater}
    await world.erased(erasure_id)


async def test_an_upload_that_was_on_its_way_leaves_nothing(world: World, tmp_path: Path) -> None:
    """Its bytes come after the last look at the store: unreadable as they are, the daily look takes them."""
    known = await world.join()
    source = tmp_path / "photo"
    await asyncio.to_thread(source.write_bytes, world.photo)
    await world.app.vault.cipher(known.id)  # as a process has it that is at work
    key = new_key(known.id, Kind.PHOTO, "image/jpeg")
    objects = world.app.objects
    store = objects._objects
    let_go, written = asyncio.Event(), store.put_file

    async def late(*arguments: Any) -> None:
        await let_go.wait()
        await written(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "put_file", late)
        upload = asyncio.create_task(objects.put(known.actor, {key: source}))
        for _ in range(100):
            if await world.rows("select 1 from pending_objects where key = %s", key):
                break
            await asyncio.sleep(0.02)
        await world.erased((await world.app.privacy.ask(known.actor)).id)
        let_go.set()
        await upload
    assert await store.list_keys(f"u{known.id}/") == [key]
    assert await world.rows("select 1 from pending_objects where user_id = %s", known.id) == []
    await world.privacy.tidy()
    assert await store.list_keys(f"u{known.id}/") == []


async def test_a_training_that_begins_while_they_leave_is_ended_and_looked_for(
    world: World, tmp_path: Path
) -> None:
    """By a request that had been let in before: what the firm has of it goes, too."""
    known = await world.join()
    await world.upload(known, tmp_path)
    erasure_id = (await world.app.privacy.ask(known.actor)).id
    world.replicate.fault(kind="cold_start", seconds=3600, target="training")
    step = world.privacy._step

    async def begin_late(name: str, *others: Any) -> Any:
        done = await step(name, *others)
        if name == "training":
            patch.undo()
            await world.train(known, tmp_path, until="submitted")
        return done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world.privacy, "_step", begin_late)
        with pytest.raises(RetryLater, match="began meanwhile"):
            await world.privacy.erase(erasure_id)
    assert world.files() == 1
    for _ in range(5):
        await world.run_jobs()
        await world.rows("update trainings set checked_at = null where user_id = %s", known.id)
    receipt = await world.erased(erasure_id)
    assert receipt["steps"]["training"]["count"]["archives"] == 1
    assert world.files() == 0
    assert world.at_replicate(known) == (False, 0)


async def test_jobs_that_name_them_and_come_late_do_nothing(world: World) -> None:
    known = await world.join()
    await world.erased((await world.app.privacy.ask(known.actor)).id)
    before = world.stripe.events(known.customer)
    for name, arguments in (
        ("privacy.proceed", {"user_id": known.id}),
        ("payments.sync", {"user_id": known.id}),
        ("clones.submit", {"user_id": known.id, "model_id": 1}),
        ("clones.apply", {"user_id": known.id, "model_id": 1}),
        ("generations.submit", {"user_id": known.id, "run_id": 1}),
        ("generations.apply", {"user_id": known.id, "run_id": 1}),
    ):
        jobs = {job.name: job for job in world.worker.jobs()}
        await jobs[name].run(**arguments)
    await world.run_jobs()
    assert world.stripe.events(known.customer) == before
    assert await world.waiting_jobs() == []
    assert await world.worker.vault.is_destroyed(known.id)


async def test_no_session_of_theirs_is_let_in_any_more(world: World) -> None:
    """Not for the minute that a token of the identity service's lives, nor by what a process remembers."""
    person = world.person()
    browser = await world.sign_in_hosted(person, PASSWORD)
    assert (await browser.get("/api/account/erasure")).status_code == 200
    token = world.token(world.there.session(person["id"])["id"])
    found = await world.user_of(person["id"])
    assert found is not None
    await world.erased(await world.privacy.order_now(found[0], "operator"))
    assert (await browser.get("/api/account/erasure")).status_code == 401
    assert (await world.browser(**token).get("/api/account/erasure")).status_code == 401
    assert await world.user_of(person["id"]) is None


async def test_a_restore_forgets_what_only_the_customer_names(world: World) -> None:
    """Rows that a backup brings back name the person, or only who they are at a firm."""
    known = await world.join()
    await world.rows(
        """insert into webhook_receipts (provider, external_id, topic, reference)
           values ('stripe', %s, 'account', jsonb_build_object('customer', %s::text))""",
        f"evt_{known.id}",
        known.customer,
    )
    await world.worker.vault.destroy(known.id)
    world.clock.shift += timedelta(minutes=2)
    await world.privacy.replay([known.id])
    assert await world.rows("select 1 from webhook_receipts where external_id = %s", f"evt_{known.id}") == []
    assert await world.rows("select 1 from users where id = %s", known.id) == []
    assert world.at_stripe(known)[0]  # the firms deleted them the first time
    world.clock.shift = timedelta(0)
