"""What becomes of a run whose face withdraws its consent before the worker has begun."""

from datetime import timedelta

import pytest
from tests.generations.conftest import OpenStudio

from visiona.consents.service import ConsentService
from visiona.core.clock import SystemClock
from visiona.core.errors import Forbidden
from visiona.core.work import LEASE
from visiona.db.jobs import RetryLater
from visiona.db.pool import Database
from visiona.ports.errors import OutcomeUnknown, ProviderUnavailable
from visiona.ports.remote import PredictionReport, RemoteState
from visiona.vault.service import Vault


async def test_no_image_is_asked_for_after_a_withdrawal(
    open_studio: OpenStudio, database: Database, vault: Vault
) -> None:
    """Between the click and the worker: 0 calls to the image service, and nothing is counted."""
    studio = await open_studio()
    consents = ConsentService(database, vault, SystemClock(), "https://visiona.test")
    run_id = await studio.start()
    (own,) = await consents.page(studio.actor)
    await consents.withdraw(studio.actor, own.id)
    await studio.service.submit(studio.actor.user_id, run_id)
    assert await studio.row(run_id) == ("failed", "consent_withdrawn")
    assert studio.generator.started == []
    with pytest.raises(Forbidden):
        await studio.start()
    assert await studio.quota() == (0, 0)


async def test_a_call_whose_answer_was_lost_is_not_repeated_after_a_withdrawal(
    open_studio: OpenStudio, database: Database, vault: Vault
) -> None:
    """Nobody has canceled the run yet: the worker was down, and comes to the run first."""
    studio = await open_studio()
    consents = ConsentService(database, vault, SystemClock(), "https://visiona.test")
    run_id = await studio.start()
    studio.generator.start = lambda _: OutcomeUnknown("test", "timeout")
    studio.generator.find = lambda _: ProviderUnavailable("test", "unreachable")
    await studio.service.submit(studio.actor.user_id, run_id)
    (own,) = await consents.page(studio.actor)
    await consents.withdraw(studio.actor, own.id)
    await studio.age(run_id, LEASE + timedelta(seconds=1))
    studio.generator.find = lambda _: None
    await studio.service.submit(studio.actor.user_id, run_id)
    assert len(studio.generator.started) == 1
    assert await studio.row(run_id) == ("canceled", "canceled")
    assert await studio.quota() == (0, 0)


async def test_a_withdrawal_while_the_lease_is_looked_for_keeps_the_run_back(
    open_studio: OpenStudio, database: Database, vault: Vault
) -> None:
    studio = await open_studio()
    consents = ConsentService(database, vault, SystemClock(), "https://visiona.test")
    run_id = await studio.start()
    studio.generator.start = lambda _: OutcomeUnknown("test", "timeout")
    studio.generator.find = lambda _: ProviderUnavailable("test", "unreachable")
    await studio.service.submit(studio.actor.user_id, run_id)
    await studio.age(run_id, LEASE + timedelta(seconds=1))
    (own,) = await consents.page(studio.actor)

    async def slowly() -> None:
        await consents.withdraw(studio.actor, own.id)

    studio.generator.find = lambda _: slowly()
    await studio.service.submit(studio.actor.user_id, run_id)
    assert len(studio.generator.started) == 1


async def test_images_go_with_the_consent_though_their_clone_is_gone(
    open_studio: OpenStudio, database: Database, vault: Vault
) -> None:
    studio = await open_studio()
    consents = ConsentService(database, vault, SystemClock(), "https://visiona.test")
    studio.generator.answers = lambda it: PredictionReport(it, RemoteState.SUCCEEDED, outputs=("a", "b"))
    await studio.apply(await studio.submitted())
    await studio.owner.execute("delete from models where id = %s", [studio.model_id])
    (own,) = await consents.page(studio.actor)
    await consents.withdraw(studio.actor, own.id)
    await studio.service.forget(studio.actor.user_id, own.id)
    cursor = await studio.owner.execute(
        "select count(*) from generations where user_id = %s", [studio.actor.user_id]
    )
    assert await cursor.fetchone() == (0,)


async def test_what_is_being_made_is_canceled_before_the_rest_goes(
    open_studio: OpenStudio, database: Database, vault: Vault
) -> None:
    studio = await open_studio()
    consents = ConsentService(database, vault, SystemClock(), "https://visiona.test")
    run_id = await studio.submitted()
    (own,) = await consents.page(studio.actor)
    await consents.withdraw(studio.actor, own.id)
    with pytest.raises(RetryLater):
        await studio.service.forget(studio.actor.user_id, own.id)
    studio.generator.answers = lambda it: PredictionReport(it, RemoteState.CANCELED)
    await studio.apply(run_id)
    await studio.service.forget(studio.actor.user_id, own.id)
    assert await studio.row(run_id) == ("canceled", "canceled")
    assert await studio.quota() == (0, 0)
