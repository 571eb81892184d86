"""Every run ends, whatever stands in the way, and what was set aside for it is settled."""

from datetime import timedelta

import pytest
from tests.generations.conftest import Studio

from visiona.core.errors import Invalid
from visiona.db.jobs import RetryLater
from visiona.generations.model import MAX_AGE, SEED_MAX
from visiona.generations.service import ENDING_TIME
from visiona.ports.errors import ProviderUnavailable
from visiona.ports.remote import PredictionReport, RemoteState

OVERDUE = MAX_AGE + ENDING_TIME + timedelta(minutes=1)


@pytest.mark.parametrize("seed", [-1, SEED_MAX + 1, 2**63, 2**64, -(2**70)])
async def test_seeds_that_no_image_could_keep(studio: Studio, seed: int) -> None:
    with pytest.raises(Invalid) as refusal:
        await studio.start(inputs={"seed": seed})
    assert [(error.field, error.code) for error in refusal.value.errors] == [("seed", "out_of_range")]
    assert await studio.quota() is None


async def test_texts_that_no_row_could_keep(studio: Studio) -> None:
    with pytest.raises(Invalid) as refusal:
        await studio.start(inputs={"style": "a\x00b"})
    assert [(error.field, error.code) for error in refusal.value.errors] == [("style", "invalid_characters")]


async def test_a_run_whose_images_can_never_be_kept(studio: Studio) -> None:
    """A full disk, a broken library: it is tried until its time is up, and then given back."""
    run_id = await studio.submitted()
    studio.generator.answers = lambda remote_id: PredictionReport(
        remote_id, RemoteState.SUCCEEDED, outputs=("a", "b")
    )
    studio.imaging.failure = OSError("No space left on device")
    with pytest.raises(OSError, match="No space"):
        await studio.apply(run_id)
    assert await studio.row(run_id) == ("running", None)
    assert await studio.quota() == (0, 2)
    await studio.age(run_id, OVERDUE)
    await studio.apply(run_id)
    assert await studio.row(run_id) == ("failed", "generation_timed_out")
    assert await studio.quota() == (0, 0)


async def test_a_provider_that_stays_away(studio: Studio) -> None:
    run_id = await studio.submitted()
    studio.generator.answers = lambda _: ProviderUnavailable("test", "unreachable")
    with pytest.raises(RetryLater):
        await studio.apply(run_id)
    await studio.age(run_id, OVERDUE)
    await studio.apply(run_id)
    assert await studio.row(run_id) == ("failed", "generation_timed_out")
    assert await studio.quota() == (0, 0)


async def test_images_that_came_are_kept_once(studio: Studio) -> None:
    run_id = await studio.submitted()
    studio.generator.answers = lambda remote_id: PredictionReport(
        remote_id, RemoteState.SUCCEEDED, outputs=("a", "b")
    )
    await studio.apply(run_id)
    await studio.apply(run_id)
    assert await studio.row(run_id) == ("succeeded", None)
    assert await studio.quota() == (2, 0)
