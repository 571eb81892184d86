"""Training a clone: start, submit, apply, sweep; cancel and delete.

Each of `submit` and `apply` may run at any time, any number of times, in any number of processes:
it reads where the training stands, does the next step, and commits it under the row's lock.
"""

import asyncio
import logging
import zipfile
from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

from visiona.audit import service as audit
from visiona.audit.model import Action
from visiona.billing import service as billing
from visiona.billing.model import Resource
from visiona.billing.service import BillingService
from visiona.clones import model, store
from visiona.clones.model import ClaimedTraining, Clone, ReadyClone, Training
from visiona.consents import service as consents
from visiona.consents.model import needed as consent_needed
from visiona.core.clock import Clock
from visiona.core.errors import Conflict, FieldError, Invalid
from visiona.core.scratch import scratch_folder
from visiona.core.work import Failure, WorkState, may_claim
from visiona.db import idempotency
from visiona.db.actor import SystemActor, UserActor
from visiona.db.events import notify
from visiona.db.idempotency import IdempotencyKey
from visiona.db.jobs import RetryLater, enqueue
from visiona.db.pool import Connection, Database, database_time
from visiona.objects.service import ObjectService
from visiona.photos import service as photos
from visiona.photos.model import Photo
from visiona.ports.errors import (
    OutcomeUnknown,
    ProviderError,
    ProviderNotFound,
    ProviderRejected,
    ProviderUnavailable,
)
from visiona.ports.remote import RemoteState, TrainingReport
from visiona.ports.storage import ObjectMissing
from visiona.ports.trainer import Trainer, TrainingOrder
from visiona.safety.service import Safety
from visiona.vault.model import Cipher, Unreadable
from visiona.vault.service import Vault

SUBMIT_TASK = "clones.submit"
APPLY_TASK = "clones.apply"
DELETE_VERSION_TASK = "clones.delete_version"
DELETE_ARCHIVE_TASK = "clones.delete_archive"
SWEEP_BATCH = 200
ENDING_TIME = timedelta(minutes=10)

logger = logging.getLogger(__name__)


class _PhotosGoneError(Exception):
    """Their owner has deleted so many photos that what is left is not worth a training."""


class CloneService:
    """`webhook_url` is where the provider can reach us, or None: then the sweep does it alone."""

    def __init__(
        self,
        database: Database,
        vault: Vault,
        clock: Clock,
        trainer: Trainer,
        objects: ObjectService,
        billing_service: BillingService,
        safety: Safety,
        webhook_url: str | None,
    ) -> None:
        self._database = database
        self._vault = vault
        self._clock = clock
        self._trainer = trainer
        self._objects = objects
        self._billing = billing_service
        self._safety = safety
        self._webhook_url = webhook_url

    # Reading

    async def get(self, actor: UserActor, model_id: int) -> Clone:
        cipher = await self._vault.cipher(actor.user_id)
        async with self._database.transaction(actor) as connection:
            return await _existing(connection, cipher, model_id)

    async def page(self, actor: UserActor, limit: int, before: int | None = None) -> list[Clone]:
        """Newest first, older than the clone `before`."""
        cipher = await self._vault.cipher(actor.user_id)
        async with self._database.transaction(actor) as connection:
            return await store.page(connection, cipher, actor.user_id, limit, before)

    # Start

    async def start(
        self,
        actor: UserActor,
        trigger_word: str,
        photo_ids: Sequence[int] | None,
        parameters: Mapping[str, Any],
        key: IdempotencyKey | None = None,
        *,
        consent_id: UUID | None = None,
    ) -> Clone:
        """Put a training on record: one clone is set aside, and the worker takes it from here.

        `photo_ids` of None means the newest `model.MAX_PHOTOS` photos of one face: of `consent_id`, or the
        person's own. Raises `Invalid` (`not_enough_photos`, `too_many_photos`, `several_faces`,
        `invalid_input`, `prompt_refused`), `Forbidden` (`consent_needed`), `PaymentRequired`, or `TooMany` or
        `Unavailable` where the day's cap on cost is reached.
        """
        model.check_trigger_word(trigger_word)
        complete = model.training_parameters(parameters)
        typed = [trigger_word, *(value for value in parameters.values() if isinstance(value, str))]
        await self._safety.prompts.require(actor, *typed, field_name="trigger_word")
        user_id = actor.user_id
        cipher = await self._vault.cipher(user_id)
        spending = self._safety.spending
        async with spending.watched(actor), self._database.transaction(actor) as connection:
            known = await idempotency.claim(connection, cipher, user_id, key)
            if known is not None:
                return await _existing(connection, cipher, known)
            face, chosen = await _chosen(connection, user_id, photo_ids, consent_id)
            period = await self._billing.reserve(connection, user_id, Resource.CLONES, 1)
            model_id = await store.insert(
                connection,
                cipher,
                user_id,
                face,
                trigger_word,
                complete,
                [photo.id for photo in chosen],
                period,
            )
            await billing.explain(connection, user_id, Resource.CLONES, period, f"clone:{model_id}")
            await idempotency.record(connection, user_id, key, model_id)
            await audit.record(
                connection,
                user_id,
                Action.CLONE_TRAINING_STARTED,
                {"model_id": model_id, "photos": len(chosen)},
            )
            await _enqueue(connection, SUBMIT_TASK, user_id, model_id)
            await notify(connection, user_id, "model", model_id)
            await spending.reserve(connection, f"training:{model_id}", spending.limits.training)
            return await _existing(connection, cipher, model_id)

    # Submit

    async def submit(self, user_id: int, model_id: int) -> None:
        """Hand the training to the provider, once. Raises `RetryLater` when it cannot be had now."""
        actor = UserActor(user_id)
        async with self._database.transaction(actor) as connection:
            training = await store.training(connection, user_id, model_id)
            released = await _is_released(connection, user_id, model_id)
            now = await database_time(connection)
        if training is None or not may_claim(training.state, training.submitted_at, now):
            return
        if training.state is WorkState.QUEUED and not released:
            await self._end_unsubmitted(actor, model_id, WorkState.FAILED, model.CONSENT_OVER)
            return
        try:
            if training.archive_id is None and training.cancel_requested_at is None:
                await self._upload_archive(actor, training)
            # All that takes its time comes before the lease, which must outlast the call.
            canceled = training.cancel_requested_at is not None
            destination = "" if canceled else await self._destination(training)
            await self._claim_and_start(actor, model_id, destination)
        except _PhotosGoneError:
            await self._end_unsubmitted(actor, model_id, WorkState.FAILED, model.PHOTOS_GONE)
        except ProviderUnavailable as error:
            raise RetryLater(str(error)) from error
        except ProviderNotFound as error:
            logger.error("the trainer or the destination is gone: %s", error.reason)  # noqa: TRY400 - expected
            await self._end_unsubmitted(actor, model_id, WorkState.FAILED, model.training_rejected(""))
        except ProviderRejected as error:
            logger.warning("training refused: %s", error.reason)
            failure = model.training_rejected(error.message)
            await self._end_unsubmitted(actor, model_id, WorkState.FAILED, failure)

    async def _claim_and_start(self, actor: UserActor, model_id: int, destination: str) -> None:
        claimed = await self._claim(actor, model_id)
        if claimed is None:
            return
        training, retried = claimed
        try:
            report = await self._start_or_find(actor, training, destination, look_first=retried)
        except ProviderUnavailable:
            if not retried:
                await self._hand_back(actor, model_id)
            raise
        if report is not None:
            await self._adopt(actor, training, report)
        elif training.cancel_requested_at is not None:
            await self._end_unsubmitted(actor, model_id, WorkState.CANCELED, model.CANCELED_BY_OWNER)

    async def _claim(self, actor: UserActor, model_id: int) -> tuple[ClaimedTraining, bool] | None:
        """Take the lease; also says whether somebody held it before, whose call may have worked."""
        cipher = await self._vault.cipher(actor.user_id)
        async with self._database.transaction(actor) as connection:
            # Again: photos were packed and sent since, or somebody else held the lease, perhaps for long.
            released = await _is_released(connection, actor.user_id, model_id)
            if not released:
                await store.request_cancel(connection, actor.user_id, model_id)
            training = await store.lock_training(connection, actor.user_id, model_id)
            now = await database_time(connection)
            if training is None or not may_claim(training.state, training.submitted_at, now):
                return None
            untouched = training.state is WorkState.QUEUED
            if untouched and not released:
                await self._finish(connection, cipher, training, WorkState.FAILED, model.CONSENT_OVER)
                return None
            if training.cancel_requested_at is not None and untouched:
                await self._finish(connection, cipher, training, WorkState.CANCELED, model.CANCELED_BY_OWNER)
                return None
            claimed = await store.claim(connection, cipher, training.id, now)
            return claimed and (claimed, not untouched)

    async def _renew(self, actor: UserActor, training: Training) -> bool:
        """Before a call that follows a long look: whether the lease is still ours, and then whole again.
        Not where the consent was withdrawn meanwhile: whoever claims it next ends it.
        """
        async with self._database.transaction(actor) as connection:
            current = await store.lock_training(connection, actor.user_id, training.model_id)
            held = (
                current is not None
                and current.state is WorkState.SUBMITTING
                and current.submitted_at == training.submitted_at
                and await _is_released(connection, actor.user_id, training.model_id)
            )
            if held:
                now = await database_time(connection)
                await store.set_state(connection, training.id, WorkState.SUBMITTING, now)
            return held

    async def _start_or_find(
        self, actor: UserActor, training: ClaimedTraining, destination: str, *, look_first: bool
    ) -> TrainingReport | None:
        """The provider's training, made at most once; None while that cannot be told."""
        order = TrainingOrder(
            archive_url=training.archive_url or "",
            destination=destination,
            parameters={"trigger_word": training.trigger_word, **training.parameters},
            webhook_url=self._callback(training),
        )
        if look_first:
            found = await self._trainer.find_training(order, training.created_at)
            if found is not None or training.cancel_requested_at is not None:
                return found
            if not await self._renew(actor, training):
                return None
        try:
            return await self._trainer.start_training(order)
        except OutcomeUnknown:
            return await self._find_or_leave(order, training)

    async def _find_or_leave(self, order: TrainingOrder, training: Training) -> TrainingReport | None:
        """What became of a call whose answer was lost. While the provider cannot say, the lease stays:
        whoever comes after it looks again before calling.
        """
        try:
            return await self._trainer.find_training(order, training.created_at)
        except ProviderUnavailable:
            return None

    async def _destination(self, training: Training) -> str:
        try:
            return await self._trainer.ensure_destination(training.user_id % model.DESTINATION_SHARDS)
        except OutcomeUnknown as error:  # made or not, asking again is harmless
            raise ProviderUnavailable(error.provider, error.reason) from error

    async def _adopt(self, actor: UserActor, training: Training, report: TrainingReport) -> None:
        async with self._database.transaction(actor) as connection:
            current = await store.lock_training(connection, actor.user_id, training.model_id)
            if current is not None and current.provider_id == report.id:
                return  # somebody who looked for it was faster, and follows it
            wanted = current is not None and current.state is WorkState.SUBMITTING
            if wanted:
                await store.set_running(connection, training.id, report.id)
        if not wanted:
            await self._trainer.cancel_training(report.id)
        elif report.state.terminal:
            await self.apply(actor.user_id, training.model_id)

    async def _hand_back(self, actor: UserActor, model_id: int) -> None:
        """The call certainly had no effect: let the next one try without looking."""
        async with self._database.transaction(actor) as connection:
            training = await store.lock_training(connection, actor.user_id, model_id)
            if training is not None and training.state is WorkState.SUBMITTING:
                await store.set_state(connection, training.id, WorkState.QUEUED, None)

    async def _upload_archive(self, actor: UserActor, training: Training) -> None:
        async with self._database.transaction(actor) as connection:
            ids = await store.photo_ids(connection, actor.user_id, training.model_id)
            chosen = await photos.select(connection, actor.user_id, ids)
        with scratch_folder() as folder:
            archive = await self._build_archive(chosen, folder / "photos.zip")
            try:
                uploaded = await self._trainer.upload_archive(archive)
            except OutcomeUnknown as error:  # a stray archive expires by itself within a day
                raise ProviderUnavailable(error.provider, error.reason) from error
        cipher = await self._vault.cipher(actor.user_id)
        async with self._database.transaction(actor) as connection:
            kept = await store.set_archive(connection, cipher, training.id, uploaded.id, uploaded.url)
            if not kept:
                await _delete_archive(connection, actor.user_id, uploaded.id)

    async def _build_archive(self, chosen: Sequence[Photo], archive: Path) -> Path:
        """A zip of the photos as they were uploaded; names say nothing about the person.

        Raises `_PhotosGoneError` when too few are left of those that the training was started with.
        """
        packed = 0
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as bundle:
            for number, photo in enumerate(chosen, start=1):
                try:
                    data = await self._objects.read(photo.file_key, photo.sha256)
                except ObjectMissing:  # deleted by its owner a moment ago
                    continue
                except Unreadable as error:
                    logger.error("a photo is left out of a training: %s", error)  # noqa: TRY400 - it says all
                    continue
                await asyncio.to_thread(bundle.writestr, f"{number:04d}.jpg", data)
                packed += 1
        if packed < model.MIN_PHOTOS:
            raise _PhotosGoneError
        return archive

    # Apply

    async def observe(self, user_id: int, model_id: int, provider_id: str) -> None:
        """A webhook spoke of this training: ask the provider, or end what nobody asked for."""
        async with self._database.transaction(UserActor(user_id)) as connection:
            training = await store.training(connection, user_id, model_id)
        over = training is None or training.state.terminal
        if training is not None and training.provider_id == provider_id and over:
            return
        if training is not None and training.provider_id in {None, provider_id} and not over:
            await self.apply(user_id, model_id)
            return
        await self._end_stray(user_id, provider_id)

    async def _end_stray(self, user_id: int, provider_id: str) -> None:
        """A training that nobody waits for: no more cost, and no likeness that stays behind."""
        version = await self.end_training(provider_id)
        if version is not None:
            async with self._database.transaction(SystemActor("clones")) as connection:
                await _delete_version(connection, user_id, version)

    async def end_training(self, provider_id: str) -> str | None:
        """At the provider, whatever is on record here. Answers the version that it has made, if it has."""
        try:
            report = await self._trainer.cancel_training(provider_id)
        except (ProviderNotFound, ProviderRejected):
            logger.info("a stray training could not be canceled; it is gone or over")
            return None
        return report.version

    async def apply(self, user_id: int, model_id: int) -> None:
        """Look at the provider and move the training on. The sweep repeats what fails here."""
        actor = UserActor(user_id)
        async with self._database.transaction(actor) as connection:
            training = await store.training(connection, user_id, model_id)
        if training is None or training.state.terminal:
            return
        try:
            if training.provider_id is None:
                await self._apply_unsubmitted(actor, training)
            else:
                report = await self._look(training, training.provider_id)
                await self._apply_report(actor, training, report)
        except ProviderNotFound:
            await self._fail(actor, model_id, model.LOST)
        except Exception as error:
            if not self._overdue(training):
                if isinstance(error, ProviderError):
                    raise RetryLater(str(error)) from error
                raise
            # Past its time a training ends, whatever stands in the way, or its quota would never be settled.
            logger.exception("the training of model %s is given up", model_id)
            await self._fail(actor, model_id, model.TIMED_OUT)

    async def _apply_unsubmitted(self, actor: UserActor, training: Training) -> None:
        if self._overdue(training):
            await self._fail(actor, training.model_id, model.TIMED_OUT)
        else:
            await self.submit(actor.user_id, training.model_id)

    async def _look(self, training: Training, provider_id: str) -> TrainingReport:
        report = await self._trainer.get_training(provider_id)
        unwanted = training.cancel_requested_at is not None or self._age(training) > model.MAX_AGE
        if unwanted and not report.state.terminal:
            report = await self._trainer.cancel_training(provider_id)
        return report

    async def _apply_report(self, actor: UserActor, training: Training, report: TrainingReport) -> None:
        if report.state is RemoteState.SUCCEEDED and report.version is not None:
            schema = await self._trainer.input_schema(report.version)
            await self._succeed(actor, training.model_id, report.version, schema)
        elif report.state is RemoteState.SUCCEEDED:
            await self._fail(actor, training.model_id, model.training_failed("no version was made"))
        elif report.state is RemoteState.FAILED:
            await self._fail(actor, training.model_id, model.training_failed(report.error))
        elif report.state is RemoteState.CANCELED:
            await self._apply_canceled(actor, training)
        elif self._overdue(training):
            await self._fail(actor, training.model_id, model.TIMED_OUT)
        else:
            await self._show_progress(actor, training, report.progress)

    async def _apply_canceled(self, actor: UserActor, training: Training) -> None:
        if training.cancel_requested_at is not None:
            await self._end(actor, training.model_id, WorkState.CANCELED, model.CANCELED_BY_OWNER)
        elif self._age(training) > model.MAX_AGE:
            await self._fail(actor, training.model_id, model.TIMED_OUT)
        else:
            await self._fail(actor, training.model_id, model.ENDED_BY_PROVIDER)

    async def _show_progress(self, actor: UserActor, training: Training, progress: float) -> None:
        async with self._database.transaction(actor) as connection:
            if await store.set_progress(connection, training.id, progress):
                await notify(connection, actor.user_id, "model", training.model_id)

    async def _succeed(self, actor: UserActor, model_id: int, version: str, schema: dict[str, Any]) -> None:
        async with self._database.transaction(actor) as connection:
            training = await store.lock_training(connection, actor.user_id, model_id)
            if training is None or training.state.terminal:
                return
            await store.set_ready(connection, model_id, version, schema)
            await self._close(connection, training, WorkState.SUCCEEDED, Action.CLONE_READY, used=1)

    async def _fail(self, actor: UserActor, model_id: int, failure: Failure) -> None:
        await self._end(actor, model_id, WorkState.FAILED, failure)

    async def _end(self, actor: UserActor, model_id: int, state: WorkState, failure: Failure) -> None:
        cipher = await self._vault.cipher(actor.user_id)
        async with self._database.transaction(actor) as connection:
            training = await store.lock_training(connection, actor.user_id, model_id)
            if training is not None and not training.state.terminal:
                await self._finish(connection, cipher, training, state, failure)

    async def _end_unsubmitted(
        self, actor: UserActor, model_id: int, state: WorkState, failure: Failure
    ) -> None:
        """The same, unless somebody else has got it to the provider meanwhile."""
        cipher = await self._vault.cipher(actor.user_id)
        async with self._database.transaction(actor) as connection:
            training = await store.lock_training(connection, actor.user_id, model_id)
            if training is not None and not training.state.terminal and training.provider_id is None:
                await self._finish(connection, cipher, training, state, failure)

    async def _finish(
        self, connection: Connection, cipher: Cipher, training: Training, state: WorkState, failure: Failure
    ) -> None:
        """On the locked training: end it without a clone and give the reservation back."""
        await store.set_failed(connection, cipher, training.model_id, failure)
        action = Action.CLONE_CANCELED if state is WorkState.CANCELED else Action.CLONE_FAILED
        await self._close(connection, training, state, action, used=0)

    async def _close(
        self, connection: Connection, training: Training, state: WorkState, action: Action, *, used: int
    ) -> None:
        user_id, model_id = training.user_id, training.model_id
        await store.finish(connection, training.id, state)
        await billing.settle(
            connection,
            user_id,
            Resource.CLONES,
            training.quota_period,
            reserved=1,
            used=used,
            reference=f"clone:{model_id}",
        )
        spending, untouched = self._safety.spending, training.state is WorkState.QUEUED
        unspent = spending.limits.training if untouched else Decimal(0)
        await spending.settle(connection, f"training:{model_id}", unspent)
        if training.archive_id is not None:
            await _delete_archive(connection, user_id, training.archive_id)
        await audit.record(connection, user_id, action, {"model_id": model_id})
        await notify(connection, user_id, "model", model_id)

    # Sweep

    async def sweep(self) -> None:
        """Have a look at every open training whose turn it is: lost webhooks, dead workers, progress."""
        async with self._database.transaction(SystemActor("sweep")) as connection:
            for user_id, model_id in await store.take_due(connection, SWEEP_BATCH):
                await enqueue(connection, APPLY_TASK, idle=True, user_id=user_id, model_id=model_id)

    # Cancel and delete

    async def cancel(self, actor: UserActor, model_id: int) -> Clone:
        """Ask for the end of the training; one that has ended stays as it is."""
        cipher = await self._vault.cipher(actor.user_id)
        async with self._database.transaction(actor) as connection:
            await _existing(connection, cipher, model_id)
            if await store.request_cancel(connection, actor.user_id, model_id):
                await _enqueue(connection, APPLY_TASK, actor.user_id, model_id)
            return await _existing(connection, cipher, model_id)

    async def delete(self, actor: UserActor, model_id: int) -> None:
        """Delete the clone here, and its weights at the provider. Its images stay in the gallery."""
        cipher = await self._vault.cipher(actor.user_id)
        async with self._database.transaction(actor) as connection:
            clone = await _existing(connection, cipher, model_id)
            if clone.status == model.PROCESSING:
                raise model.clone_busy()
            if clone.version is not None:  # asked for while the row still says whose it is
                await _delete_version(connection, actor.user_id, clone.version)
            await store.delete(connection, actor.user_id, model_id)
            await audit.record(connection, actor.user_id, Action.CLONE_DELETED, {"model_id": model_id})

    async def forget(self, user_id: int, consent_id: UUID) -> None:
        """Delete every clone of the face of a consent that is over. Raises `RetryLater` while one is in
        training: it is canceled first.
        """
        actor = UserActor(user_id)
        async with self._database.transaction(actor) as connection:
            ids = await store.ids_of(connection, user_id, consent_id)
        busy = False
        for model_id in ids:
            try:
                await self.delete(actor, model_id)
            except Conflict:
                await self.cancel(actor, model_id)
                busy = True
        if busy:
            raise RetryLater("a training has to end first")

    async def delete_version(self, version: str) -> None:
        """Raises `RetryLater` until it is gone, with all that it has made."""
        try:
            gone = await self._trainer.delete_version(version)
        except (ProviderUnavailable, OutcomeUnknown) as error:
            raise RetryLater(str(error)) from error
        if not gone:
            raise RetryLater("the provider is deleting a version")

    async def remove_destination(self, user_id: int) -> bool:
        """Remove the provider's model that was made for this person's clones, unless it holds others, or is
        about to. Answers whether it is gone. Raises `RetryLater`.
        """
        shard = user_id % model.DESTINATION_SHARDS
        try:
            removed = not await self._in_use(shard) and await self._trainer.remove_destination(shard)
            if await self._in_use(shard):  # somebody has begun meanwhile, and will need it at the end
                await self._trainer.ensure_destination(shard)
                return False
        except (ProviderUnavailable, OutcomeUnknown) as error:
            raise RetryLater(str(error)) from error
        return removed

    async def _in_use(self, shard: int) -> bool:
        async with self._database.transaction(SystemActor("clones")) as connection:
            return await store.any_open(connection, shard, model.DESTINATION_SHARDS)

    async def delete_archive(self, archive_id: str) -> None:
        try:
            await self._trainer.delete_archive(archive_id)
        except (ProviderUnavailable, OutcomeUnknown) as error:
            raise RetryLater(str(error)) from error

    def _age(self, training: Training) -> timedelta:
        return self._clock.now() - training.created_at

    def _overdue(self, training: Training) -> bool:
        """Past its time, and past the time that the provider has to end it."""
        return self._age(training) > model.MAX_AGE + ENDING_TIME

    def _callback(self, training: Training) -> str | None:
        if self._webhook_url is None:
            return None
        return f"{self._webhook_url}?topic=training&user={training.user_id}&id={training.model_id}"


async def _is_released(connection: Connection, user_id: int, model_id: int) -> bool:
    """Whether whose face the clone shows consents to its use."""
    return await consents.holds(connection, user_id, await store.consent_of(connection, user_id, model_id))


async def require_ready(connection: Connection, cipher: Cipher, model_id: int) -> ReadyClone:
    """On the transaction of the cipher's person: the clone to generate with.

    Raises `NotFound`, `Conflict`, or `Forbidden` (`consent_needed`).
    """
    ready = await store.find_ready(connection, cipher, cipher.user_id, model_id)
    if ready is None:
        raise model.clone_not_ready((await _existing(connection, cipher, model_id)).status)
    if not await consents.holds(connection, cipher.user_id, ready.consent_id):
        raise consent_needed()
    return ready


async def _existing(connection: Connection, cipher: Cipher, model_id: int) -> Clone:
    clone = await store.find(connection, cipher, cipher.user_id, model_id)
    if clone is None:
        raise model.clone_not_found()
    return clone


async def _delete_version(connection: Connection, user_id: int, version: str) -> None:
    """Whose it was is told so that an erasure waits for it."""
    await enqueue(connection, DELETE_VERSION_TASK, version=version, user_id=user_id)


async def _delete_archive(connection: Connection, user_id: int, archive_id: str) -> None:
    await enqueue(connection, DELETE_ARCHIVE_TASK, archive_id=archive_id, user_id=user_id)


async def _enqueue(connection: Connection, task: str, user_id: int, model_id: int) -> None:
    await enqueue(connection, task, once=True, user_id=user_id, model_id=model_id)


async def _chosen(
    connection: Connection, user_id: int, photo_ids: Sequence[int] | None, consent_id: UUID | None
) -> tuple[UUID, list[Photo]]:
    """The photos of a training, and the consent of whose face they show, which holds now."""
    if photo_ids is None:
        face = await consents.released(connection, user_id, consent_id)
        chosen = await photos.newest(connection, user_id, face, model.MAX_PHOTOS)
        _check_choice(None, chosen)
        return face, chosen
    chosen = await photos.select(connection, user_id, photo_ids)
    _check_choice(photo_ids, chosen)
    faces = {photo.consent_id for photo in chosen}
    if len(faces) > 1:
        raise model.several_faces()
    (shown,) = faces
    if shown is None:
        raise consent_needed()
    return await consents.released(connection, user_id, shown), chosen


def _check_choice(photo_ids: Sequence[int] | None, chosen: Sequence[Photo]) -> None:
    if photo_ids is not None:
        known = {photo.id for photo in chosen}
        errors = [
            FieldError(f"photo_ids[{index}]", "photo_not_found", "There is no such photo.")
            for index, photo_id in enumerate(photo_ids)
            if photo_id not in known
        ]
        if errors:
            raise Invalid("invalid_input", "Some of the photos do not exist.", errors=errors)
    if len(chosen) < model.MIN_PHOTOS:
        raise model.not_enough_photos(len(chosen))
    if len(chosen) > model.MAX_PHOTOS:
        raise model.too_many_photos()
