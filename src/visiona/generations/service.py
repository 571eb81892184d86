"""Generating images: start, submit, apply, sweep; cancel.

As with trainings, `submit` and `apply` may run at any time, any number of times, anywhere: each does
the next step and commits it under the row's lock.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
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
from visiona.clones import service as clones
from visiona.consents import service as consents
from visiona.core.clock import Clock
from visiona.core.scratch import scratch_folder
from visiona.core.work import Failure, WorkState, may_claim
from visiona.db import idempotency
from visiona.db.actor import SystemActor, UserActor
from visiona.db.events import notify
from visiona.db.idempotency import IdempotencyKey
from visiona.db.jobs import RetryLater, enqueue
from visiona.db.pool import Connection, Database, database_time
from visiona.generations import model, store
from visiona.generations.model import GeneratedImage, Run, RunRequest, RunStanding
from visiona.objects.model import Kind, new_key
from visiona.objects.service import ObjectService
from visiona.ports.enhancer import Enhancement, EnhancementRequest, Enhancer
from visiona.ports.errors import (
    OutcomeUnknown,
    ProviderError,
    ProviderNotFound,
    ProviderRejected,
    ProviderUnavailable,
)
from visiona.ports.generator import GenerationOrder, Generator
from visiona.ports.imaging import ImageProcessor, ImageRefused, ProcessedImage
from visiona.ports.remote import PredictionReport, RemoteState
from visiona.safety.service import Safety
from visiona.vault.model import Cipher, KeyDestroyed
from visiona.vault.service import Vault

SUBMIT_TASK = "generations.submit"
APPLY_TASK = "generations.apply"
SWEEP_BATCH = 200
ENDING_TIME = timedelta(minutes=5)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Delivery:
    """An image that was fetched and stored, waiting for its row."""

    image_key: str
    thumbnail_key: str
    image: ProcessedImage


@dataclass(frozen=True, slots=True)
class Providers:
    """The outside that generating needs, and what keeps it from being abused."""

    generator: Generator
    enhancer: Enhancer
    imaging: ImageProcessor
    safety: Safety


class GenerationService:
    """`user_ref` gives an opaque reference of a person for the enhancer's provider; `webhook_url` is
    where the image service can reach us, or None: then the sweep does it alone.
    """

    def __init__(
        self,
        database: Database,
        vault: Vault,
        clock: Clock,
        providers: Providers,
        objects: ObjectService,
        billing_service: BillingService,
        *,
        user_ref: Callable[[int], str],
        webhook_url: str | None,
    ) -> None:
        self._database = database
        self._vault = vault
        self._clock = clock
        self._generator = providers.generator
        self._enhancer = providers.enhancer
        self._imaging = providers.imaging
        self._objects = objects
        self._billing = billing_service
        self._safety = providers.safety
        self._user_ref = user_ref
        self._webhook_url = webhook_url

    # Reading

    async def get(self, actor: UserActor, run_id: int) -> tuple[Run, list[GeneratedImage]]:
        cipher = await self._vault.cipher(actor.user_id)
        async with self._database.transaction(actor) as connection:
            run = await _existing(connection, cipher, run_id)
            images = await store.images_of(connection, cipher, actor.user_id, [run_id])
        return run, images.get(run_id, [])

    async def page(
        self, actor: UserActor, limit: int, before: int | None = None
    ) -> list[tuple[Run, list[GeneratedImage]]]:
        """Newest first, older than the run `before`."""
        cipher = await self._vault.cipher(actor.user_id)
        async with self._database.transaction(actor) as connection:
            runs = await store.page(connection, cipher, actor.user_id, limit, before)
            images = await store.images_of(connection, cipher, actor.user_id, [run.id for run in runs])
        return [(run, images.get(run.id, [])) for run in runs]

    # Start

    async def start(self, actor: UserActor, request: RunRequest, key: IdempotencyKey | None = None) -> Run:
        """Put a run on record: its images are set aside, and the worker takes it from here.

        Raises `Invalid` (`prompt_refused` too), `NotFound`, `Conflict` (`clone_not_ready`), `PaymentRequired`
        or, where the day's cap on cost is reached, `TooMany` or `Unavailable`.
        """
        prompt = model.clean_prompt(request.prompt)
        await self._safety.prompts.require(actor, prompt, *model.texts_among(request.inputs))
        user_id = actor.user_id
        cipher = await self._vault.cipher(user_id)
        spending = self._safety.spending
        async with spending.watched(actor), self._database.transaction(actor) as connection:
            known = await idempotency.claim(connection, cipher, user_id, key)
            if known is not None:
                return await _existing(connection, cipher, known)
            clone = await clones.require_ready(connection, cipher, request.model_id)
            inputs = model.resolve_inputs(clone.input_schema, request.inputs, request.num_outputs)
            period = await self._billing.reserve(connection, user_id, Resource.IMAGES, request.num_outputs)
            accepted = replace(request, prompt=prompt, inputs=inputs)
            run_id = await store.insert(connection, cipher, user_id, clone, accepted, period)
            await billing.explain(connection, user_id, Resource.IMAGES, period, f"run:{run_id}")
            await idempotency.record(connection, user_id, key, run_id)
            await audit.record(
                connection,
                user_id,
                Action.GENERATION_STARTED,
                {"run_id": run_id, "images": request.num_outputs},
            )
            await _enqueue(connection, SUBMIT_TASK, user_id, run_id)
            await notify(connection, user_id, "run", run_id)
            cost = spending.limits.generation(request.num_outputs, enhance=request.enhance)
            await spending.reserve(connection, f"run:{run_id}", cost)
            return await _existing(connection, cipher, run_id)

    # Submit

    async def submit(self, user_id: int, run_id: int) -> None:
        """Hand the run to the image service, once. Raises `RetryLater` when it cannot be had now."""
        actor = UserActor(user_id)
        try:
            cipher = await self._vault.cipher(user_id)
        except KeyDestroyed:
            return  # they were erased, and what they asked for with them
        async with self._database.transaction(actor) as connection:
            run = await store.find(connection, cipher, user_id, run_id)
            released = await _is_released(connection, user_id, run_id)
            now = await database_time(connection)
        if run is None or not may_claim(run.state, run.submitted_at, now):
            return
        if run.state is WorkState.QUEUED and not released:
            await self._end_unsubmitted(actor, run_id, WorkState.FAILED, model.CONSENT_OVER)
            return
        if run.state is WorkState.QUEUED and run.cancel_requested_at is None:
            rule = await self._safety.prompts.review(run.prompt)
            if rule is not None:
                await self._safety.prompts.note(actor, rule)
                await self._end_unsubmitted(
                    actor, run_id, WorkState.FAILED, model.prompt_refused(rule.advice)
                )
                return
        if run.enhancement_outcome == "pending" and run.cancel_requested_at is None:
            await self._enhance(actor, run)
        try:
            await self._claim_and_start(actor, run_id)
        except ProviderUnavailable as error:
            raise RetryLater(str(error)) from error
        except ProviderNotFound:
            await self._end_unsubmitted(actor, run_id, WorkState.FAILED, model.LOST)
        except ProviderRejected as error:
            logger.warning("generation refused: %s", error.reason)
            failure = model.generation_rejected(error.message)
            await self._end_unsubmitted(actor, run_id, WorkState.FAILED, failure)

    async def _enhance(self, actor: UserActor, run: Run) -> None:
        enhancement = await self._enhancer.enhance(
            EnhancementRequest(
                prompt=model.with_trigger_word(run.prompt, run.trigger_word),
                trigger_word=run.trigger_word,
                user_ref=self._user_ref(run.user_id),
            )
        )
        if enhancement.text is not None:
            rule = await self._safety.prompts.review(enhancement.text)
            if rule is not None:  # talked into it, or by itself: the person's own words are drawn
                logger.warning("an enhanced prompt was refused: %s", rule)
                enhancement = Enhancement("refused", enhancement.provider)
        cipher = await self._vault.cipher(actor.user_id)
        async with self._database.transaction(actor) as connection:
            if await store.set_enhancement(
                connection, cipher, run.id, enhancement.outcome, enhancement.provider, enhancement.text
            ):
                await notify(connection, actor.user_id, "run", run.id)

    async def _claim_and_start(self, actor: UserActor, run_id: int) -> None:
        claimed = await self._claim(actor, run_id)
        if claimed is None:
            return
        run, retried = claimed
        try:
            report = await self._start_or_find(actor, run, look_first=retried)
        except ProviderUnavailable:
            if not retried:
                await self._hand_back(actor, run_id)
            raise
        if report is not None:
            await self._adopt(actor, run, report)
        elif run.cancel_requested_at is not None:
            await self._end_unsubmitted(actor, run_id, WorkState.CANCELED, model.CANCELED_BY_OWNER)

    async def _claim(self, actor: UserActor, run_id: int) -> tuple[Run, bool] | None:
        """Take the lease; also says whether somebody held it before, whose call may have worked."""
        cipher = await self._vault.cipher(actor.user_id)
        async with self._database.transaction(actor) as connection:
            # Again: the prompt was enhanced since, or somebody else held the lease, perhaps for long.
            released = await _is_released(connection, actor.user_id, run_id)
            if not released:
                await store.request_cancel(connection, actor.user_id, run_id)
            run = await store.lock(connection, cipher, actor.user_id, run_id)
            now = await database_time(connection)
            if run is None or not may_claim(run.state, run.submitted_at, now):
                return None
            untouched = run.state is WorkState.QUEUED
            if untouched and not released:
                await self._finish(connection, cipher, run, WorkState.FAILED, model.CONSENT_OVER)
                return None
            if run.cancel_requested_at is not None and untouched:
                await self._finish(connection, cipher, run, WorkState.CANCELED, model.CANCELED_BY_OWNER)
                return None
            await store.set_state(connection, run.id, WorkState.SUBMITTING, now)
            return replace(run, submitted_at=now), not untouched

    async def _renew(self, actor: UserActor, run: Run) -> bool:
        """Before a call that follows a long look: whether the lease is still ours, and then whole again.
        Not where the consent was withdrawn meanwhile: whoever claims it next ends it.
        """
        async with self._database.transaction(actor) as connection:
            current = await store.lock_standing(connection, actor.user_id, run.id)
            held = (
                current is not None
                and current.state is WorkState.SUBMITTING
                and current.submitted_at == run.submitted_at
                and await _is_released(connection, actor.user_id, run.id)
            )
            if held:
                now = await database_time(connection)
                await store.set_state(connection, run.id, WorkState.SUBMITTING, now)
            return held

    async def _start_or_find(
        self, actor: UserActor, run: Run, *, look_first: bool
    ) -> PredictionReport | None:
        """The provider's prediction, made at most once; None while that cannot be told."""
        order = GenerationOrder(
            version=run.version,
            inputs={"prompt": run.final_prompt, **run.inputs},
            webhook_url=self._callback(run),
        )
        if look_first:
            found = await self._find(actor, order, run)
            if found is not None or run.cancel_requested_at is not None:
                return found
            if not await self._renew(actor, run):
                return None
        try:
            return await self._generator.start_prediction(order)
        except OutcomeUnknown:
            return await self._find_or_leave(actor, order, run)

    async def _find(self, actor: UserActor, order: GenerationOrder, run: Run) -> PredictionReport | None:
        """What the order has made; never what another run, the same to the letter, has for its own."""
        async with self._database.transaction(actor) as connection:
            taken = await store.predictions_of_others(connection, run)
        return await self._generator.find_prediction(order, run.created_at, taken)

    async def _find_or_leave(
        self, actor: UserActor, order: GenerationOrder, run: Run
    ) -> PredictionReport | None:
        """What became of a call whose answer was lost. While the provider cannot say, the lease stays:
        whoever comes after it looks again before calling.
        """
        try:
            return await self._find(actor, order, run)
        except ProviderUnavailable:
            return None

    async def _adopt(self, actor: UserActor, run: Run, report: PredictionReport) -> None:
        async with self._database.transaction(actor) as connection:
            current = await store.lock_standing(connection, actor.user_id, run.id)
            if current is not None and current.provider_id == report.id:
                return  # somebody who looked for it was faster, and follows it
            wanted = current is not None and current.state is WorkState.SUBMITTING
            if wanted:
                await store.set_running(connection, run.id, report.id)
                await notify(connection, actor.user_id, "run", run.id)
        if not wanted:
            await self._generator.cancel_prediction(report.id)
        elif report.state.terminal:
            await self.apply(actor.user_id, run.id)

    async def _hand_back(self, actor: UserActor, run_id: int) -> None:
        """The call certainly had no effect: let the next one try without looking."""
        async with self._database.transaction(actor) as connection:
            run = await store.lock_standing(connection, actor.user_id, run_id)
            if run is not None and run.state is WorkState.SUBMITTING:
                await store.set_state(connection, run.id, WorkState.QUEUED, None)

    # Apply

    async def observe(self, user_id: int, run_id: int, provider_id: str) -> None:
        """A webhook spoke of this run: ask the provider, or end what nobody asked for."""
        async with self._database.transaction(UserActor(user_id)) as connection:
            run = await store.find_standing(connection, user_id, run_id)
        if run is not None and run.provider_id == provider_id and run.state.terminal:
            return
        if run is not None and run.provider_id in {None, provider_id} and not run.state.terminal:
            await self.apply(user_id, run_id)
            return
        try:
            await self._generator.cancel_prediction(provider_id)
        except (ProviderNotFound, ProviderRejected):
            logger.info("a stray prediction could not be canceled; it is gone or over")

    async def apply(self, user_id: int, run_id: int) -> None:
        """Look at the provider and move the run on. The sweep repeats what fails here."""
        actor = UserActor(user_id)
        async with self._database.transaction(actor) as connection:
            run = await store.find_standing(connection, user_id, run_id)
        if run is None or run.state.terminal:
            return
        try:
            if run.provider_id is None:
                await self._apply_unsubmitted(actor, run)
            else:
                await self._apply_report(actor, run, await self._look(run, run.provider_id))
        except ProviderNotFound:
            await self._fail(actor, run_id, model.LOST)
        except Exception as error:
            if not self._overdue(run):
                if isinstance(error, ProviderError):
                    raise RetryLater(str(error)) from error
                raise
            # Past its time a run ends, whatever stands in the way, or its quota would never be settled.
            logger.exception("run %s is given up", run_id)
            await self._fail(actor, run_id, model.TIMED_OUT)

    async def _apply_unsubmitted(self, actor: UserActor, run: RunStanding) -> None:
        if self._overdue(run):
            await self._fail(actor, run.id, model.TIMED_OUT)
        else:
            await self.submit(actor.user_id, run.id)

    async def _look(self, run: RunStanding, provider_id: str) -> PredictionReport:
        report = await self._generator.get_prediction(provider_id)
        unwanted = run.cancel_requested_at is not None or self._age(run) > model.MAX_AGE
        if unwanted and not report.state.terminal:
            report = await self._generator.cancel_prediction(provider_id)
        return report

    async def _apply_report(self, actor: UserActor, run: RunStanding, report: PredictionReport) -> None:
        if report.state is RemoteState.SUCCEEDED and report.outputs_gone:
            await self._fail(actor, run.id, model.OUTPUTS_GONE)
        elif report.state is RemoteState.SUCCEEDED:
            await self._collect(actor, run, report.outputs)
        elif report.state is RemoteState.FAILED:
            await self._fail(actor, run.id, model.generation_failed(report.error))
        elif report.state is RemoteState.CANCELED:
            await self._apply_canceled(actor, run)
        elif self._overdue(run):
            await self._fail(actor, run.id, model.TIMED_OUT)
        else:
            await self._show_progress(actor, run, report.progress)

    async def _apply_canceled(self, actor: UserActor, run: RunStanding) -> None:
        if run.cancel_requested_at is not None:
            await self._end(actor, run.id, WorkState.CANCELED, model.CANCELED_BY_OWNER)
        elif self._age(run) > model.MAX_AGE:
            await self._fail(actor, run.id, model.TIMED_OUT)
        else:
            await self._fail(actor, run.id, model.ENDED_BY_PROVIDER)

    async def _show_progress(self, actor: UserActor, run: RunStanding, progress: float) -> None:
        async with self._database.transaction(actor) as connection:
            if await store.set_progress(connection, run.id, progress):
                await notify(connection, actor.user_id, "run", run.id)

    async def _collect(self, actor: UserActor, run: RunStanding, outputs: Sequence[str]) -> None:
        """Copy the outputs into our storage and end the run with what was delivered."""
        with scratch_folder() as folder:
            fetched = await asyncio.gather(
                *(self._fetch(url, folder / str(n)) for n, url in enumerate(outputs[: run.num_outputs]))
            )
            images = [image for image in fetched if image is not None]
            if not images:
                await self._fail(actor, run.id, model.NO_IMAGES)
                return
            deliveries = [_delivery(actor.user_id, image) for image in images]
            await self._objects.put(actor, _files(deliveries))
        if not await self._deliver(actor, run.id, deliveries):
            await self._objects.discard(actor, _keys(deliveries))

    async def _fetch(self, url: str, folder: Path) -> ProcessedImage | None:
        """None for an output that is no image, or that we may not fetch: it is not charged."""
        await asyncio.to_thread(folder.mkdir)
        raw = folder / "output"
        try:
            await self._generator.download(url, raw)
            return await self._imaging.process_generated(raw, folder)
        except (ProviderRejected, ProviderNotFound, ImageRefused) as error:
            logger.warning("an output was not usable: %s", type(error).__name__)
            return None

    async def _deliver(self, actor: UserActor, run_id: int, deliveries: Sequence[_Delivery]) -> bool:
        """False when the run has ended meanwhile; then the objects are nobody's."""
        cipher = await self._vault.cipher(actor.user_id)
        async with self._database.transaction(actor) as connection:
            run = await store.lock(connection, cipher, actor.user_id, run_id)
            if run is None or run.state.terminal:
                return False
            for position, item in enumerate(deliveries):
                await store.insert_image(
                    connection, cipher, run, position, item.image_key, item.thumbnail_key, item.image
                )
            await self._objects.settle(connection, _keys(deliveries))
            await self._close(connection, cipher, run, WorkState.SUCCEEDED, None, delivered=len(deliveries))
        return True

    async def _fail(self, actor: UserActor, run_id: int, failure: Failure) -> None:
        await self._end(actor, run_id, WorkState.FAILED, failure)

    async def _end(self, actor: UserActor, run_id: int, state: WorkState, failure: Failure) -> None:
        cipher = await self._vault.cipher(actor.user_id)
        async with self._database.transaction(actor) as connection:
            run = await store.lock_standing(connection, actor.user_id, run_id)
            if run is not None and not run.state.terminal:
                await self._finish(connection, cipher, run, state, failure)

    async def _end_unsubmitted(
        self, actor: UserActor, run_id: int, state: WorkState, failure: Failure
    ) -> None:
        """The same, unless somebody else has got it to the provider meanwhile."""
        cipher = await self._vault.cipher(actor.user_id)
        async with self._database.transaction(actor) as connection:
            run = await store.lock_standing(connection, actor.user_id, run_id)
            if run is not None and not run.state.terminal and run.provider_id is None:
                await self._finish(connection, cipher, run, state, failure)

    async def _finish(
        self, connection: Connection, cipher: Cipher, run: RunStanding, state: WorkState, failure: Failure
    ) -> None:
        """On the locked run: end it without images and give the reservation back."""
        await self._close(connection, cipher, run, state, failure, delivered=0)

    async def _close(
        self,
        connection: Connection,
        cipher: Cipher,
        run: RunStanding,
        state: WorkState,
        failure: Failure | None,
        *,
        delivered: int,
    ) -> None:
        await store.finish(connection, cipher, run.id, state, failure)
        await billing.settle(
            connection,
            run.user_id,
            Resource.IMAGES,
            run.quota_period,
            reserved=run.num_outputs,
            used=delivered,
            reference=f"run:{run.id}",
        )
        await self._safety.spending.settle(connection, f"run:{run.id}", self._unspent(run))
        canceled = state is WorkState.CANCELED
        action = Action.GENERATION_CANCELED if canceled else Action.GENERATION_FINISHED
        details: Mapping[str, Any] = {"run_id": run.id, "state": state, "images": delivered}
        await audit.record(connection, run.user_id, action, details)
        await notify(connection, run.user_id, "run", run.id)

    def _unspent(self, run: RunStanding) -> Decimal:
        """The provider may charge for whatever it was given, images that are not delivered included."""
        untouched = run.state is WorkState.QUEUED
        return self._safety.spending.limits.image * run.num_outputs if untouched else Decimal(0)

    # Sweep

    async def sweep(self) -> None:
        """Have a look at every open run whose turn it is: lost webhooks, dead workers, progress."""
        async with self._database.transaction(SystemActor("sweep")) as connection:
            for user_id, run_id in await store.take_due(connection, SWEEP_BATCH):
                await enqueue(connection, APPLY_TASK, idle=True, user_id=user_id, run_id=run_id)

    # Cancel

    async def cancel(self, actor: UserActor, run_id: int) -> None:
        """Ask for the end of the run; one that has ended stays as it is."""
        async with self._database.transaction(actor) as connection:
            if await store.find_standing(connection, actor.user_id, run_id) is None:
                raise model.run_not_found()
            if await store.request_cancel(connection, actor.user_id, run_id):
                await _enqueue(connection, APPLY_TASK, actor.user_id, run_id)

    async def forget(self, user_id: int, consent_id: UUID) -> None:
        """Delete every image of the face of a consent that is over. Raises `RetryLater` while some are being
        made: that is canceled first.
        """
        actor = UserActor(user_id)
        async with self._database.transaction(actor) as connection:
            open_runs = await store.open_runs_of(connection, user_id, consent_id)
            for image_id, *keys in await store.delete_images_of(connection, user_id, consent_id):
                await self._objects.remove(connection, keys)
                await audit.record(connection, user_id, Action.IMAGE_DELETED, {"image_id": image_id})
        for run_id in open_runs:
            await self.cancel(actor, run_id)
        if open_runs:
            raise RetryLater("images that are being made have to end first")

    def _age(self, run: RunStanding) -> timedelta:
        return self._clock.now() - run.created_at

    def _overdue(self, run: RunStanding) -> bool:
        """Past its time, and past the time that the provider has to end it."""
        return self._age(run) > model.MAX_AGE + ENDING_TIME

    def _callback(self, run: Run) -> str | None:
        if self._webhook_url is None:
            return None
        return f"{self._webhook_url}?topic=prediction&user={run.user_id}&id={run.id}"


async def delete_images(
    connection: Connection, user_id: int, image_ids: Sequence[int]
) -> list[tuple[int, str, str]]:
    """On the caller's transaction: (id, image key, thumbnail key) of the rows that were deleted."""
    return await store.delete_images(connection, user_id, image_ids)


async def _is_released(connection: Connection, user_id: int, run_id: int) -> bool:
    """Whether whose face the run is of consents to its use."""
    return await consents.holds(connection, user_id, await store.consent_of(connection, user_id, run_id))


async def _existing(connection: Connection, cipher: Cipher, run_id: int) -> Run:
    run = await store.find(connection, cipher, cipher.user_id, run_id)
    if run is None:
        raise model.run_not_found()
    return run


async def _enqueue(connection: Connection, task: str, user_id: int, run_id: int) -> None:
    await enqueue(connection, task, once=True, user_id=user_id, run_id=run_id)


def _delivery(user_id: int, image: ProcessedImage) -> _Delivery:
    return _Delivery(
        image_key=new_key(user_id, Kind.IMAGE, image.content_type),
        thumbnail_key=new_key(user_id, Kind.IMAGE, "image/webp"),
        image=image,
    )


def _files(deliveries: Sequence[_Delivery]) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for item in deliveries:
        files[item.image_key] = item.image.master
        files[item.thumbnail_key] = item.image.thumbnail
    return files


def _keys(deliveries: Sequence[_Delivery]) -> list[str]:
    return [key for item in deliveries for key in (item.image_key, item.thumbnail_key)]
