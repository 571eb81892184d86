"""Looking at people and acting on their accounts; every look and every act is on record in their log.

The database decides who is an administrator and writes the log itself: what is asked here by anybody
else finds nothing and changes nothing.
"""

from datetime import datetime
from typing import Final

import msgspec

from visiona.administration import model, store
from visiona.administration.model import (
    Content,
    ContentImage,
    Entitlement,
    PersonLine,
    PersonRecord,
    Reason,
    Search,
)
from visiona.audit import service as audit
from visiona.audit.model import Action, Entry, Filter
from visiona.billing.service import BillingService
from visiona.core.clock import Clock
from visiona.core.errors import Conflict
from visiona.db.actor import AdminActor, SystemActor, UserActor
from visiona.db.jobs import enqueue
from visiona.db.pool import Database
from visiona.passwords.service import address_index
from visiona.vault.service import Vault

SET_PLAN_TASK: Final = "administration.set_plan"


class AdministrationService:
    def __init__(self, database: Database, vault: Vault, clock: Clock, billing: BillingService) -> None:
        self._database = database
        self._vault = vault
        self._clock = clock
        self._billing = billing

    # Looking

    async def find(self, actor: AdminActor, search: Search) -> list[PersonLine]:
        """Newest first."""
        index = None if not search.address else address_index(self._vault, search.address)
        async with self._database.transaction(actor) as connection:
            people = await store.find_people(connection, search, index)
        ciphers = await self._vault.ciphers(one.id for one in people)
        return [one.opened(ciphers.get(one.id)) for one in people]

    async def log(self, actor: AdminActor, wanted: Filter) -> list[Entry]:
        """What is on record of one person or of everybody, newest first. Where people were is told of one
        person only. The look is in that person's log, or in the administrator's own; once an hour.

        Raises `NotFound` (`person_not_found`).
        """
        if wanted.user_id is not None:
            await self._look(actor, wanted.user_id)
        else:
            async with self._database.transaction(actor) as connection:
                await audit.look_at_log(connection)
        async with self._database.transaction(actor) as connection:
            found = await audit.find(connection, wanted)
        people = {one.user_id for one in found if one.private is not None}
        if wanted.user_id is not None:
            people |= {one.seen_by for one in found if one.client is not None}
        ciphers = await self._vault.ciphers(person for person in people if person is not None)
        return audit.opened(found, ciphers, where=wanted.user_id is not None)

    async def look(self, actor: AdminActor, user_id: int) -> PersonRecord:
        """Everything that is known of a person but their words and pictures.

        The look is in their log, once an hour. Raises `NotFound` (`person_not_found`).
        """
        await self._look(actor, user_id)
        async with self._database.transaction(actor) as connection:
            found = await store.record(connection, user_id)
        if found is None:
            raise model.person_not_found()
        ciphers = await self._vault.ciphers([user_id])
        return msgspec.convert(model.opened_record(found, ciphers.get(user_id)), PersonRecord)

    async def history(
        self, actor: AdminActor, user_id: int, limit: int, before: int | None = None
    ) -> list[Entry]:
        """The person's log, newest first. Raises `NotFound` (`person_not_found`)."""
        return await self.log(actor, Filter(limit, user_id=user_id, before=before))

    async def content(
        self, actor: AdminActor, user_id: int, limit: int, before: int | None = None
    ) -> list[Content]:
        """A person's prompts and pictures, newest first, while they allow it. Each look is in their log.

        Raises `Forbidden` (`support_not_allowed`).
        """
        async with self._database.transaction(actor) as connection:
            allowed = await store.look_at(connection, user_id, content=True)
        if not allowed:
            raise model.content_closed()
        async with self._database.transaction(actor) as connection:
            rows = await store.content(connection, user_id, limit, before)
        cipher = (await self._vault.ciphers([user_id])).get(user_id)
        if cipher is None:
            raise model.content_closed()
        return [
            Content(
                id=run_id,
                state=state,
                error_code=error_code,
                prompt=cipher.open("runs.prompt", prompt),
                enhanced_prompt=cipher.open_optional("runs.enhanced_prompt", enhanced_prompt),
                created_at=created_at,
                images=msgspec.convert(images, tuple[ContentImage, ...]),
            )
            for run_id, state, error_code, prompt, enhanced_prompt, created_at, images in rows
        ]

    def entitlement(self, record: PersonRecord) -> Entitlement:
        return model.entitlement(record, self._billing.catalogue, self._clock.now())

    async def _look(self, actor: AdminActor, user_id: int) -> None:
        async with self._database.transaction(actor) as connection:
            known = await store.look_at(connection, user_id, content=False)
        if not known:
            raise model.person_not_found()

    # Acting

    async def suspend(self, actor: AdminActor, user_id: int, reason: Reason) -> None:
        """The person's sessions end, their API keys open nothing, and their open work is given up.

        Raises `NotFound` (`person_not_found`) or `Conflict` (`not_oneself`, `is_administrator`,
        `nothing_to_do`).
        """
        sealed = await self._sealed(user_id, reason)
        async with self._database.transaction(actor) as connection:
            model.check_outcome(await store.suspend(connection, user_id, sealed))

    async def unsuspend(self, actor: AdminActor, user_id: int, reason: Reason) -> None:
        """Raises as `suspend` does."""
        sealed = await self._sealed(user_id, reason)
        async with self._database.transaction(actor) as connection:
            model.check_outcome(await store.unsuspend(connection, user_id, sealed))

    async def end_sessions(self, actor: AdminActor, user_id: int, reason: Reason) -> None:
        """Raises `NotFound` (`person_not_found`) or `Conflict` (`nothing_to_do`)."""
        sealed = await self._sealed(user_id, reason)
        async with self._database.transaction(actor) as connection:
            model.check_outcome(await store.end_sessions(connection, user_id, sealed))

    async def order_plan(self, actor: AdminActor, user_id: int, plan: str, reason: Reason) -> None:
        """Have the worker put somebody on a plan without payment; the base plan takes a gift back.

        Raises `Invalid` (`unknown_plan`) or `NotFound` (`person_not_found`).
        """
        self._billing.check_plan(plan)
        sealed = await self._sealed(user_id, reason)
        async with self._database.transaction(actor) as connection:
            order = await store.order_plan(connection, user_id, plan, sealed)
            if order is None:
                raise model.person_not_found()
            await enqueue(connection, SET_PLAN_TASK, user_id=user_id, plan=plan, order=order)

    async def _sealed(self, user_id: int, reason: Reason) -> bytes:
        """The reason as only that person's key opens it. Raises `NotFound` (`person_not_found`)."""
        cipher = (await self._vault.ciphers([user_id])).get(user_id)
        if cipher is None:
            raise model.person_not_found()
        return audit.seal_reason(cipher, reason)

    # By the worker

    async def set_plan(self, user_id: int, plan: str, order: int) -> None:
        """Carry an order out, unless a later one has taken its place: jobs may overtake each other."""
        async with self._database.transaction(SystemActor("administration")) as connection:
            if await store.last_order(connection, user_id) == order:
                await self._billing.give_plan(connection, user_id, plan)

    async def promote(self, user_id: int) -> None:
        """For operators, at the worker's database. Raises `Conflict` (`nothing_to_do`)."""
        await self._set_role(user_id, "admin", Action.ADMIN_PROMOTED)

    async def demote(self, user_id: int) -> None:
        """For operators, at the worker's database. Raises `Conflict` (`nothing_to_do`)."""
        await self._set_role(user_id, "member", Action.ADMIN_DEMOTED)

    async def _set_role(self, user_id: int, role: str, action: Action) -> None:
        async with self._database.transaction(SystemActor("operator")) as connection:
            if not await store.set_role(connection, user_id, role):
                raise Conflict("nothing_to_do", "It is so already.")
            await audit.record(connection, user_id, action, {"by": "operator"})

    async def purge(self) -> None:
        """Forget permissions that have ended. The database must be the worker's."""
        async with self._database.transaction(SystemActor("purge")) as connection:
            await store.purge_grants(connection)

    # The person's own

    async def allow_support(self, actor: UserActor, hours: int) -> datetime:
        """Let administrators see one's prompts and pictures; answers until when. Said again, it begins
        anew. Raises `Invalid`.
        """
        wanted = model.support_hours(hours)
        async with self._database.transaction(actor) as connection:
            until = await store.allow_support(connection, actor.user_id, wanted)
            await audit.record(connection, actor.user_id, Action.SUPPORT_ALLOWED, {"hours": wanted})
        return until

    async def end_support(self, actor: UserActor) -> None:
        """Safe to repeat."""
        async with self._database.transaction(actor) as connection:
            if await store.end_support(connection, actor.user_id):
                await audit.record(connection, actor.user_id, Action.SUPPORT_ENDED)

    async def supported_until(self, actor: UserActor) -> datetime | None:
        async with self._database.transaction(actor) as connection:
            return await store.supported_until(connection, actor.user_id)

    async def own_history(self, actor: UserActor, limit: int, before: int | None = None) -> list[Entry]:
        """One's own log, newest first. Where administrators were is not among it."""
        ciphers = await self._vault.ciphers([actor.user_id])
        async with self._database.transaction(actor) as connection:
            found = await audit.entries(connection, actor.user_id, limit, before)
        return audit.opened(found, ciphers)
