"""Erasing a person everywhere, step by step until each part has confirmed, and saying so with a signature."""

import logging
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from visiona.accounts import service as accounts
from visiona.audit import service as audit
from visiona.audit.model import Action
from visiona.clones.service import CloneService
from visiona.core.clock import Clock
from visiona.core.errors import NotFound, VisionaError
from visiona.db.actor import AdminActor, Anonymous, SystemActor, UserActor
from visiona.db.jobs import RetryLater, enqueue
from visiona.db.pool import Database
from visiona.db.sealed import USER_EMAIL
from visiona.generations.service import GenerationService
from visiona.mail import service as mail
from visiona.mail.model import Kind
from visiona.objects.service import ObjectService
from visiona.payments.service import PaymentService
from visiona.ports.errors import ProviderError
from visiona.ports.identity import HostedIdentity
from visiona.privacy import model, store
from visiona.privacy.model import Erasure, ErasureLine, PrivacySettings, Remote
from visiona.vault.service import Vault

PROCEED_TASK = "privacy.proceed"
ERASE_TASK = "privacy.erase"
SWEEP_BATCH = 50
_SYSTEM = SystemActor("privacy")

logger = logging.getLogger(__name__)


class Rooms:
    """Those that know how to end and delete what is theirs elsewhere."""

    def __init__(
        self,
        clones: CloneService,
        generations: GenerationService,
        payments: PaymentService,
        objects: ObjectService,
        identity: HostedIdentity | None,
    ) -> None:
        self.clones = clones
        self.generations = generations
        self.payments = payments
        self.objects = objects
        self.identity = identity


class PrivacyService:
    def __init__(
        self, database: Database, vault: Vault, clock: Clock, rooms: Rooms, settings: PrivacySettings
    ) -> None:
        self._database = database
        self._vault = vault
        self._clock = clock
        self._rooms = rooms
        self._settings = settings

    # The person

    async def ask(self, actor: UserActor) -> Erasure:
        """Have everything erased once the grace period is over. Raises `Conflict` (`erasure_open`)."""
        erasure_id = uuid.uuid4()
        due_at = self._clock.now() + self._settings.grace
        async with self._database.transaction(actor) as connection:
            if not await store.ask(connection, erasure_id, actor.user_id, "person", due_at):
                raise model.already_leaving()
            await audit.record(connection, actor.user_id, Action.ERASURE_ASKED)
            await mail.post(
                connection,
                actor.user_id,
                Kind.ERASURE_ASKED,
                details={"receipt": str(erasure_id), "day": due_at.date().isoformat()},
            )
            await enqueue(connection, PROCEED_TASK, once=True, user_id=actor.user_id)
            found = await store.open_erasure(connection, actor.user_id)
        if found is None:  # somebody was faster than this transaction's end
            raise model.already_leaving()
        return found

    async def take_back(self, actor: UserActor) -> None:
        """Raises `Conflict` (`erasure_over`) where there is none to take back any more."""
        async with self._database.transaction(actor) as connection:
            if not await store.withdraw(connection, actor.user_id):
                raise model.not_leaving()
            await audit.record(connection, actor.user_id, Action.ERASURE_TAKEN_BACK)

    async def pending(self, actor: UserActor) -> Erasure | None:
        async with self._database.transaction(actor) as connection:
            return await store.open_erasure(connection, actor.user_id)

    async def refuse_if_leaving(self, user_id: int) -> None:
        """Raises `Conflict` (`account_closing`) for whoever has asked to be erased."""
        if await self.pending(UserActor(user_id)) is not None:
            raise model.leaving()

    async def receipt(self, code: uuid.UUID) -> bytes | None:
        """None while it is not over. Raises `NotFound`."""
        async with self._database.transaction(Anonymous()) as connection:
            found = await store.receipt(connection, code)
        if found is None or found[0] == "withdrawn":
            raise model.receipt_not_found()
        return found[2]

    @property
    def public_key(self) -> str:
        return model.public_key(self._settings)

    def verify_receipt(self, data: bytes) -> Mapping[str, Any]:
        """Raises `ValueError`."""
        return model.verify_receipt(data, self.public_key)

    # Administrators and the operator

    async def order(self, actor: AdminActor, user_id: int, reason: str) -> uuid.UUID:
        """By an administrator, after the grace period. Raises `Conflict` or `NotFound`."""
        cipher = (await self._vault.ciphers([user_id])).get(user_id)
        if cipher is None:
            raise NotFound("user_not_found", "There is no such account.")
        erasure_id, due_at = uuid.uuid4(), self._clock.now() + self._settings.grace
        async with self._database.transaction(actor) as connection:
            sealed = audit.seal_reason(cipher, reason)
            if not await store.order(connection, user_id, erasure_id, due_at, sealed):
                raise model.cannot_be_erased()
        return erasure_id

    async def running(self, actor: AdminActor, limit: int, user_id: int | None = None) -> list[ErasureLine]:
        """Those that wait or run, the next to be due first; of one person where one is named."""
        async with self._database.transaction(actor) as connection:
            return await store.erasures_open(connection, user_id, limit)

    async def over(self, actor: AdminActor, limit: int, before: int | None = None) -> list[ErasureLine]:
        """Those that are done or were taken back, the newest first; `before` is the number of one."""
        async with self._database.transaction(actor) as connection:
            return await store.erasures_over(connection, before, limit)

    async def order_now(self, user_id: int, cause: str) -> uuid.UUID:
        """On the worker's database: without grace. The one that is open is answered, and waits no longer."""
        async with self._database.transaction(_SYSTEM) as connection:
            erasure_id = uuid.uuid4()
            if not await store.ask(connection, erasure_id, user_id, cause, self._clock.now()):
                known = await store.open_erasure(connection, user_id)
                erasure_id = erasure_id if known is None else known.id
            await store.hasten(connection, user_id)
            await enqueue(connection, ERASE_TASK, once=True, erasure_id=str(erasure_id))
        return erasure_id

    async def recent(self, limit: int = 100) -> list[Erasure]:
        """On the worker's database: erasures, the newest first."""
        async with self._database.transaction(_SYSTEM) as connection:
            return await store.erasures(connection, limit)

    # The worker

    async def proceed(self, user_id: int) -> None:
        """What begins when an erasure is asked for: nothing is charged any more, and work is canceled."""
        async with self._database.transaction(_SYSTEM) as connection:
            erasure = await store.open_erasure(connection, user_id)
        if erasure is None:
            return
        await self._cancel_work(user_id)
        await self._rooms.payments.end_subscriptions(user_id)
        if erasure.due_at <= self._clock.now():
            await self.erase(erasure.id)

    async def sweep(self) -> None:
        """Go on with what is due, and begin with whom the identity service has deleted."""
        async with self._database.transaction(_SYSTEM) as connection:
            gone = await store.departed(connection, SWEEP_BATCH)
        for user_id in gone:
            await self.order_now(user_id, "identity")
        async with self._database.transaction(_SYSTEM) as connection:
            for erasure_id in await store.due(connection, self._clock.now(), SWEEP_BATCH):
                await enqueue(connection, ERASE_TASK, idle=True, erasure_id=str(erasure_id))

    async def erase(self, erasure_id: uuid.UUID) -> None:
        """Do each step that is not confirmed yet; what cannot be done now is tried again later.

        Raises `RetryLater`. May be interrupted anywhere, and repeated.
        """
        async with self._database.transaction(_SYSTEM) as connection:
            erasure = await store.begin(connection, erasure_id)
        if erasure is None or erasure.user_id is None:
            return
        name, attempts = "", erasure.attempts
        try:
            for name in model.STEPS:
                if name not in erasure.steps:
                    if name == "rows":
                        await self._require_rest(erasure, erasure.user_id)
                    count = await self._step(name, erasure, erasure.user_id)
                    async with self._database.transaction(_SYSTEM) as connection:
                        await store.confirm(
                            connection, erasure_id, name, model.step(self._clock.now(), count)
                        )
                    attempts = 0
        except (RetryLater, ProviderError, VisionaError) as error:
            await self._postpone(erasure_id, attempts, f"{name}: {error}")
            raise RetryLater(str(error)) from error
        except Exception as error:
            # Its text may quote what is being deleted: the log tells it, who looks at erasures does not.
            await self._postpone(erasure_id, attempts, f"{name}: {type(error).__name__}")
            raise
        await self._finish(erasure_id)

    async def _postpone(self, erasure_id: uuid.UUID, attempts: int, trouble: str) -> None:
        async with self._database.transaction(_SYSTEM) as connection:
            await store.postpone(connection, erasure_id, model.pause_after(attempts), trouble)

    async def confirm_by_hand(self, erasure_id: uuid.UUID, name: str) -> bool:
        """On the worker's database: the operator has seen to a step that a firm never will confirm, as of an
        account that was closed. The receipt says so. False where nothing of that kind holds the erasure up.
        """
        if name not in model.ELSEWHERE:
            return False
        async with self._database.transaction(_SYSTEM) as connection:
            step = model.step(self._clock.now(), 0, by_hand=True)
            confirmed = await store.confirm_held(connection, erasure_id, name, step)
            if confirmed:
                await enqueue(connection, ERASE_TASK, once=True, erasure_id=str(erasure_id))
        if confirmed:
            logger.warning("the operator confirms %s of the erasure %s by hand", name, erasure_id)
        return confirmed

    async def tidy(self) -> None:
        """What a process wrote of somebody after their key was destroyed can be read by nobody, and goes."""
        for user_id in sorted(await self._vault.destroyed()):
            if await self._rooms.objects.delete_all(user_id):
                logger.info("objects of somebody who is erased had come after it")

    async def replay(self, user_ids: Iterable[int]) -> None:
        """After a restore: erase again, in the database and among the objects, whose keys are destroyed.

        What other firms had of them was deleted the first time.
        """
        for user_id in user_ids:
            async with self._database.transaction(_SYSTEM) as connection:
                subject = await store.subject_of(connection, user_id)
                if subject is None:
                    continue
                erasure_id = uuid.uuid4()
                if not await store.ask(connection, erasure_id, user_id, "restore", self._clock.now()):
                    known = await store.open_erasure(connection, user_id)
                    erasure_id = erasure_id if known is None else known.id
                await store.hasten(connection, user_id)
                erasure = await store.begin(connection, erasure_id)
            if erasure is None:
                continue
            await self._remote(erasure, user_id)
            for name in ("rows", "objects", "key"):
                count = await self._step(name, erasure, user_id)
                async with self._database.transaction(_SYSTEM) as connection:
                    await store.confirm(connection, erasure_id, name, model.step(self._clock.now(), count))
            await self._finish(erasure_id)

    async def _step(self, name: str, erasure: Erasure, user_id: int) -> Any:
        """Answers how much there was."""
        steps: dict[str, Callable[[Erasure, int], Awaitable[Any]]] = {
            "work": self._work,
            "mail": self._last_mail,
            "payments": self._payments,
            "identity": self._identity,
            "training": self._training,
            "rows": self._rows,
            "objects": self._objects,
            "key": self._key,
        }
        return await steps[name](erasure, user_id)

    async def _payments(self, erasure: Erasure, user_id: int) -> int:
        remote = await self._remote(erasure, user_id)
        if remote.customer is None and remote.mode is None:
            return 0
        cipher = await self._vault.cipher(user_id)
        async with self._database.transaction(_SYSTEM) as connection:
            sealed = await store.address(connection, user_id)
        return await self._rooms.payments.delete_customer(
            remote.customer, remote.mode, remote.subject, cipher.open_optional(USER_EMAIL.place, sealed)
        )

    async def _identity(self, erasure: Erasure, user_id: int) -> int:
        remote = await self._remote(erasure, user_id)
        if self._rooms.identity is None or not remote.subject:
            return 0
        await self._rooms.identity.delete(remote.subject)
        return 1

    async def _training(self, erasure: Erasure, user_id: int) -> dict[str, int]:
        """With a version go the predictions that it made. All are asked for before one is waited for."""
        remote, clones = await self._remote(erasure, user_id), self._rooms.clones
        for archive in remote.archives:
            await clones.delete_archive(archive)
        made = {await clones.end_training(training) for training in remote.trainings}
        versions = {*remote.versions, *(version for version in made if version is not None)}
        waiting: RetryLater | None = None
        for version in sorted(versions):
            try:
                await clones.delete_version(version)
            except RetryLater as error:
                waiting = error
        if waiting is not None:
            raise waiting
        used = bool(versions or remote.archives or remote.trainings)
        removed = used and await clones.remove_destination(user_id)
        return {"versions": len(versions), "archives": len(remote.archives), "models": int(removed)}

    async def _objects(self, erasure: Erasure, user_id: int) -> int:
        del erasure
        return await self._rooms.objects.delete_all(user_id)

    async def _key(self, erasure: Erasure, user_id: int) -> int:
        """What was being written while everything went is unreadable after this, and goes too."""
        await self._vault.destroy(user_id)
        await self._objects(erasure, user_id)
        return 1

    async def _work(self, erasure: Erasure, user_id: int) -> int:
        del erasure
        runs, clones = await self._cancel_work(user_id)
        if runs or clones:
            raise RetryLater("work in progress has to end first")
        return 0

    async def _cancel_work(self, user_id: int) -> tuple[list[int], list[int]]:
        actor = UserActor(user_id)
        async with self._database.transaction(actor) as connection:
            runs, clones = await store.open_work(connection, user_id)
        for run_id in runs:
            await self._rooms.generations.cancel(actor, run_id)
        for model_id in clones:
            await self._rooms.clones.cancel(actor, model_id)
        return runs, clones

    async def _last_mail(self, erasure: Erasure, user_id: int) -> int:
        """Whoever asked is told once more; nobody is told who has no address any more."""
        async with self._database.transaction(_SYSTEM) as connection:
            if await store.address(connection, user_id) is None:
                return 0
            details = {"receipt": str(erasure.id)}
            posted = await mail.post_once(connection, user_id, Kind.ERASURE_BEGINS, "erasure", details)
            waiting = await store.mails_waiting(connection, user_id)
        late = erasure.started_at is not None and (
            self._clock.now() - erasure.started_at >= self._settings.mail_wait
        )
        if (posted or waiting) and not late:
            raise RetryLater("the last mail has to leave first")
        return 0 if waiting else 1

    async def _remote(self, erasure: Erasure, user_id: int) -> Remote:
        """As it was when the erasure began; kept until all have confirmed."""
        async with self._database.transaction(_SYSTEM) as connection:
            known = await store.remote(connection, erasure.id)
            subject = await store.subject_of(connection, user_id)
        if known is not None:
            return known
        async with self._database.transaction(UserActor(user_id)) as connection:
            known = await store.traces(connection, user_id, subject)
        async with self._database.transaction(_SYSTEM) as connection:
            await store.remember(connection, erasure.id, known)
        return known

    async def _require_rest(self, erasure: Erasure, user_id: int) -> None:
        """A request that was on its way when they left may have begun something since: that has to end, and
        what it leaves elsewhere is looked for again.
        """
        if any(await self._cancel_work(user_id)):
            async with self._database.transaction(_SYSTEM) as connection:
                await store.look_again(connection, erasure.id)
            raise RetryLater("work that began meanwhile has to end first")

    async def _rows(self, erasure: Erasure, user_id: int) -> dict[str, int]:
        remote = await self._remote(erasure, user_id)
        async with self._database.transaction(_SYSTEM) as connection:
            if remote.subject:
                await accounts.depart(connection, remote.subject)
            entries = await audit.forget(connection, user_id)
            counts = await store.erase_rows(connection, user_id)
            counts |= await store.erase_work(connection, user_id, remote)
            found = {name: count for name, count in {**counts, "audit_logs": entries}.items() if count}
            # With the rows, or whoever tries again would count what is left of them: nothing.
            await store.confirm(connection, erasure.id, "rows", model.step(self._clock.now(), found))
        return found

    async def _finish(self, erasure_id: uuid.UUID) -> None:
        now = self._clock.now()
        async with self._database.transaction(_SYSTEM) as connection:
            erasure = await store.find(connection, erasure_id)
            await store.finish(connection, erasure_id, now, model.receipt(erasure, now, self._settings))
        logger.info("an erasure is done: receipt %s", erasure_id)
