"""Every training ends, is made at most once, and is not made of photos that are gone."""

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.factories import consents
from tests.factories.people import MakeUser
from tests.factories.safety import open_safety

from visiona.adapters.objects import open_store
from visiona.billing.model import Catalogue
from visiona.billing.service import BillingService
from visiona.clones.model import MAX_AGE, MIN_PHOTOS
from visiona.clones.service import ENDING_TIME, CloneService
from visiona.core.clock import SystemClock
from visiona.core.ids import opaque_id
from visiona.core.work import LEASE
from visiona.db.actor import UserActor
from visiona.db.jobs import RetryLater
from visiona.db.pool import Connection, Database
from visiona.objects.model import Kind, LinkSigner, new_key
from visiona.objects.service import ObjectService
from visiona.ports.remote import RemoteState, TrainingReport
from visiona.ports.trainer import TrainingOrder, UploadedArchive
from visiona.vault.service import Vault

OVERDUE = MAX_AGE + ENDING_TIME + timedelta(minutes=1)
VERSION = f"me/shard:{'0' * 64}"


@dataclass
class FakeTrainer:
    """`answer` is what a look at a training gives."""

    answer: Callable[[str], TrainingReport] = field(
        default=lambda remote_id: TrainingReport(remote_id, RemoteState.PROCESSING)
    )
    found: TrainingReport | None = None
    schema: dict[str, Any] = field(default_factory=lambda: {"Input": {"properties": {}}})
    before_start: Callable[[], Any] | None = None
    started: list[TrainingOrder] = field(default_factory=list)
    canceled: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)

    async def upload_archive(self, path: Path) -> UploadedArchive:
        assert await asyncio.to_thread(path.exists)
        return UploadedArchive("archive", "https://example.com/archive")

    async def delete_archive(self, archive_id: str) -> None:
        raise NotImplementedError

    async def ensure_destination(self, shard: int) -> str:
        return f"me/shard-{shard}"

    async def start_training(self, order: TrainingOrder) -> TrainingReport:
        self.started.append(order)
        report = TrainingReport(opaque_id(), RemoteState.STARTING)
        if self.before_start is not None:
            await self.before_start(report)
        return report

    async def find_training(self, order: TrainingOrder, since: datetime) -> TrainingReport | None:
        del order, since
        return self.found

    async def get_training(self, training_id: str) -> TrainingReport:
        return self.answer(training_id)

    async def cancel_training(self, training_id: str) -> TrainingReport:
        self.canceled.append(training_id)
        return self.answer(training_id)

    async def input_schema(self, version: str) -> dict[str, Any]:
        del version
        return self.schema

    async def delete_version(self, version: str) -> bool:
        self.deleted.append(version)
        return True

    async def remove_destination(self, shard: int) -> bool:
        raise NotImplementedError


@dataclass
class Workshop:
    """A person with photos; `service` is the worker's, `owner` looks behind row-level security."""

    service: CloneService
    web: CloneService
    trainer: FakeTrainer
    owner: Connection
    actor: UserActor

    async def start(self) -> int:
        return (await self.web.start(self.actor, "TOK", None, {})).id

    async def submit(self, model_id: int) -> None:
        await self.service.submit(self.actor.user_id, model_id)

    async def apply(self, model_id: int) -> None:
        await self.service.apply(self.actor.user_id, model_id)

    async def outcome(self, model_id: int) -> tuple[Any, ...]:
        """(status, error code, used, reserved)"""
        cursor = await self.owner.execute(
            """select m.status, m.error_code, q.used, q.reserved from models m
               join quota_usage q on q.user_id = m.user_id and q.resource = 'clones' where m.id = %s""",
            [model_id],
        )
        row = await cursor.fetchone()
        assert row is not None
        return row

    async def age(self, model_id: int, by: timedelta) -> None:
        await self.owner.execute(
            """update trainings set created_at = created_at - %(by)s, submitted_at = submitted_at - %(by)s
               where model_id = %(id)s""",
            {"by": by, "id": model_id},
        )


@pytest.fixture
async def workshop(
    database: Database,
    worker_database: Database,
    owner: Connection,
    make_user: MakeUser,
    catalogue: Catalogue,
    vault: Vault,
    tmp_path: Path,
) -> Workshop:
    actor = await make_user()
    store = open_store(tmp_path.as_uri())
    trainer, clock = FakeTrainer(), SystemClock()
    objects = ObjectService(database, vault, store, LinkSigner(b"secret"), clock)
    source = tmp_path / "photo"
    for number in range(MIN_PHOTOS):
        data = f"photo {number}".encode()
        await asyncio.to_thread(source.write_bytes, data)
        key = new_key(actor.user_id, Kind.PHOTO, "image/jpeg")
        await objects.put(actor, {key: source})
        await owner.execute(
            f"""insert into photos
                 (user_id, consent_id, file_url, thumbnail_url, width, height, size, sha256)
               values (%s, {consents.GIVEN}, %s, %s, 8, 8, 7, %s)""",
            [actor.user_id, actor.user_id, key, key, hashlib.sha256(data).hexdigest()],
        )

    def service(connected: Database) -> CloneService:
        objects = ObjectService(connected, vault, store, LinkSigner(b"secret"), clock)
        billing = BillingService(connected, clock, catalogue)
        safety = open_safety(connected, objects)
        return CloneService(connected, vault, clock, trainer, objects, billing, safety, None)

    return Workshop(service(worker_database), service(database), trainer, owner, actor)


async def test_a_training_becomes_a_clone(workshop: Workshop) -> None:
    model_id = await workshop.start()
    await workshop.submit(model_id)
    workshop.trainer.answer = lambda it: TrainingReport(it, RemoteState.SUCCEEDED, version=VERSION)
    await workshop.apply(model_id)
    assert await workshop.outcome(model_id) == ("Ready", None, 1, 0)


async def test_photos_that_were_deleted_meanwhile_are_not_trained_on(workshop: Workshop) -> None:
    model_id = await workshop.start()
    await workshop.owner.execute(
        "delete from photos where id = (select min(id) from photos where user_id = %s)",
        [workshop.actor.user_id],
    )
    await workshop.submit(model_id)
    assert await workshop.outcome(model_id) == ("Failed", "training_photos_gone", 0, 0)
    assert workshop.trainer.started == []


async def test_words_of_the_provider_that_no_row_could_keep(workshop: Workshop) -> None:
    model_id = await workshop.start()
    await workshop.submit(model_id)
    workshop.trainer.answer = lambda it: TrainingReport(it, RemoteState.FAILED, error="out of \x00 memory")
    await workshop.apply(model_id)
    assert await workshop.outcome(model_id) == ("Failed", "training_failed", 0, 0)


async def test_a_version_that_no_row_could_keep(workshop: Workshop) -> None:
    """It is tried until the training's time is up, and then given back."""
    model_id = await workshop.start()
    await workshop.submit(model_id)
    workshop.trainer.answer = lambda it: TrainingReport(it, RemoteState.SUCCEEDED, version=VERSION)
    workshop.trainer.schema = {"Input": {"title": "\x00"}}
    with pytest.raises(Exception, match="Unicode"):
        await workshop.apply(model_id)
    await workshop.age(model_id, OVERDUE)
    await workshop.apply(model_id)
    assert await workshop.outcome(model_id) == ("Failed", "training_timed_out", 0, 0)


async def test_a_slow_submitter_does_not_cancel_what_another_has_found(workshop: Workshop) -> None:
    model_id = await workshop.start()

    async def others(report: TrainingReport) -> None:
        await workshop.age(model_id, LEASE + timedelta(seconds=1))
        workshop.trainer.found = report
        await workshop.submit(model_id)

    workshop.trainer.before_start = others
    await workshop.submit(model_id)
    assert await workshop.outcome(model_id) == ("Processing", None, 0, 1)
    assert workshop.trainer.canceled == []
    assert len(workshop.trainer.started) == 1


async def test_a_training_that_nobody_waits_for_leaves_no_likeness_behind(workshop: Workshop) -> None:
    model_id = await workshop.start()
    await workshop.web.cancel(workshop.actor, model_id)
    await workshop.submit(model_id)
    assert await workshop.outcome(model_id) == ("Failed", "training_canceled", 0, 0)
    workshop.trainer.answer = lambda it: TrainingReport(it, RemoteState.SUCCEEDED, version=VERSION)
    await workshop.service.observe(workshop.actor.user_id, model_id, "stray")
    assert workshop.trainer.canceled == ["stray"]
    cursor = await workshop.owner.execute(
        """select args ->> 'version' from procrastinate.procrastinate_jobs
           where task_name = 'clones.delete_version' and args ->> 'user_id' = %s""",
        [str(workshop.actor.user_id)],
    )
    assert await cursor.fetchall() == [(VERSION,)]
    await workshop.service.delete_version(VERSION)
    assert workshop.trainer.deleted == [VERSION]


async def test_a_withdrawn_consent_takes_the_clone_with_it(workshop: Workshop) -> None:
    """By the worker; what is being trained is canceled first."""
    user_id = workshop.actor.user_id
    cursor = await workshop.owner.execute("select id from consents where user_id = %s", [user_id])
    ((consent_id,),) = await cursor.fetchall()
    model_id = await workshop.start()
    await workshop.submit(model_id)
    with pytest.raises(RetryLater):
        await workshop.service.forget(user_id, consent_id)
    workshop.trainer.answer = lambda it: TrainingReport(it, RemoteState.CANCELED)
    await workshop.apply(model_id)
    await workshop.service.forget(user_id, consent_id)
    cursor = await workshop.owner.execute("select count(*) from models where user_id = %s", [user_id])
    assert await cursor.fetchone() == (0,)


async def test_a_consent_that_ends_while_photos_are_packed_keeps_the_training_back(
    workshop: Workshop,
) -> None:
    """Queued when it was looked at, and sent minutes later."""
    model_id = await workshop.start()
    upload = workshop.trainer.upload_archive

    async def slowly(path: Path) -> UploadedArchive:
        await _withdraw(workshop)
        return await upload(path)

    workshop.trainer.upload_archive = slowly
    await workshop.submit(model_id)
    assert workshop.trainer.started == []
    assert await workshop.outcome(model_id) == ("Failed", "consent_withdrawn", 0, 0)


async def test_a_call_whose_answer_was_lost_is_not_repeated_after_a_withdrawal(workshop: Workshop) -> None:
    """Nobody has canceled it yet: the worker was down, and comes to the training first."""
    model_id = await workshop.start()
    await workshop.submit(model_id)
    await workshop.owner.execute(
        "update trainings set state = 'submitting', provider_id = null where model_id = %s", [model_id]
    )
    await workshop.age(model_id, LEASE + timedelta(seconds=1))
    await _withdraw(workshop)
    await workshop.submit(model_id)
    assert len(workshop.trainer.started) == 1
    assert (await workshop.outcome(model_id))[0] == "Failed"


async def test_a_withdrawal_during_a_long_look_keeps_the_training_back(workshop: Workshop) -> None:
    model_id = await workshop.start()
    await workshop.submit(model_id)
    await workshop.owner.execute(
        "update trainings set state = 'submitting', provider_id = null where model_id = %s", [model_id]
    )
    await workshop.age(model_id, LEASE + timedelta(seconds=1))

    async def slowly(order: TrainingOrder, since: datetime) -> TrainingReport | None:
        del order, since
        await _withdraw(workshop)
        return None

    workshop.trainer.find_training = slowly
    await workshop.submit(model_id)
    assert len(workshop.trainer.started) == 1


async def _withdraw(workshop: Workshop) -> None:
    await workshop.owner.execute(
        """update consents set state = 'withdrawn', withdrawn_at = now()
           where user_id = %s and state = 'given'""",
        [workshop.actor.user_id],
    )
