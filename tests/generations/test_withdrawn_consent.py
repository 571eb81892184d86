"""What becomes of a run whose face withdraws its consent before the worker has begun."""

import pytest
from tests.generations.conftest import OpenStudio

from visiona.consents.service import ConsentService
from visiona.core.clock import SystemClock
from visiona.core.errors import Forbidden
from visiona.db.pool import Database
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
