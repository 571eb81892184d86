"""Safety at work: counting against limits, judging prompts, setting money aside, deciding on reports."""

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC
from decimal import Decimal
from typing import Final, Protocol

from visiona.core.client import ClientInfo
from visiona.core.clock import Clock
from visiona.core.errors import Unavailable
from visiona.db.actor import AdminActor, Anonymous, SystemActor, UserActor
from visiona.db.jobs import enqueue
from visiona.db.pool import Connection, Database
from visiona.mail import service as mail
from visiona.mail.model import Kind
from visiona.ports.moderation import ModerationUnavailable, Moderator
from visiona.safety import model, store
from visiona.safety.model import (
    CaseNumber,
    CaseState,
    Limited,
    Rates,
    Refusals,
    Report,
    ReportedImage,
    ReportedThing,
    ReportReason,
    Rule,
    SpendingLimits,
)
from visiona.safety.policy import broken_rule

CAP_TASK: Final = "safety.tell_cap"
TAKE_DOWN_TASK: Final = "safety.take_down"
REPORTED_TASK: Final = "safety.tell_reported"
REFUSALS_SHOWN: Final = 50

logger = logging.getLogger(__name__)


class Limits:
    """Allowances that all processes share. `secret` makes the keys of the table say nothing."""

    def __init__(self, database: Database, rates: Rates, secret: bytes) -> None:
        self._database = database
        self._rates = rates
        self._secret = secret

    async def count(
        self, limited: Limited, client: ClientInfo, user_id: int | None = None, amount: int = 1
    ) -> None:
        """Count before it is done, against the network and, where it is known, the person.

        Raises `TooMany` (`rate_limited`), and then nothing is counted.
        """
        counted = model.allowances(self._secret, self._rates, limited, client, user_id)
        if not counted or amount < 1:
            return
        async with self._database.transaction(Anonymous()) as connection:
            wait_s = await store.use_allowances(connection, counted, amount)
            if wait_s > 0:
                raise model.limit_reached(limited, wait_s)


class PromptGuard:
    """Local rules always, and the moderation service where there is one.

    A service that does not answer is done without: the rules stand, and the image service's own check is
    never switched off.
    """

    def __init__(self, database: Database, moderator: Moderator | None) -> None:
        self._database = database
        self._moderator = moderator

    def screen(self, *texts: str) -> Rule | None:
        """What the local rules say, at once."""
        return broken_rule(*texts)

    async def review(self, text: str) -> Rule | None:
        """What the rules or the moderation service say. Not while a transaction is open."""
        rule = broken_rule(text)
        if rule is not None or self._moderator is None:
            return rule
        try:
            found = await self._moderator.moderate(text)
        except ModerationUnavailable as failure:
            logger.warning("moderation: %s; the local rules stand alone", failure.reason)
            return None
        return model.rule_of(found.categories)

    async def require(self, actor: UserActor, *texts: str, field_name: str = "prompt") -> None:
        """What a person typed has to pass the local rules. Raises `Invalid` (`prompt_refused`)."""
        rule = self.screen(*texts)
        if rule is not None:
            await self.note(actor, rule)
            raise model.prompt_refused(rule, field_name)

    async def note(self, actor: UserActor, rule: Rule) -> None:
        """Count a refusal for the administrators; nothing is kept of what was refused."""
        async with self._database.transaction(actor) as connection:
            await store.count_refusal(connection, rule.value)

    async def refusals(self, actor: AdminActor) -> list[Refusals]:
        """Who was refused most in 30 days."""
        async with self._database.transaction(actor) as connection:
            return await store.refusals(connection, REFUSALS_SHOWN)


class Spending:
    """What providers may cost in a day: set aside before they are called, settled when the work is over."""

    def __init__(self, database: Database, clock: Clock, limits: SpendingLimits) -> None:
        self._database = database
        self._clock = clock
        self.limits = limits

    async def reserve(self, connection: Connection, work: str, amount: Decimal) -> None:
        """On the transaction that puts the work on record: set its cost aside, once for each `work`
        (`run:7`). The last thing that it does, since the day's row is everybody's.

        Raises `TooMany` (`daily_limit_reached`) or `Unavailable` (`daily_capacity_reached`): roll it back.
        """
        answer = await store.reserve_cost(
            connection, work, amount, self.limits.person_cap, self.limits.total_cap
        )
        now = self._clock.now().astimezone(UTC)
        if answer == "own_cap":
            raise model.over_own_cap(now)
        if answer == "total_cap":
            raise model.over_total_cap(now)

    async def settle(self, connection: Connection, work: str, unused: Decimal) -> None:
        """On the transaction that ends the work: how much of what was set aside is free again. Only the first
        time counts.
        """
        await store.settle_cost(connection, work, unused)

    @asynccontextmanager
    async def watched(self, actor: UserActor) -> AsyncGenerator[None]:
        """Around the transaction that reserves: once a refusal by the cap of all is rolled back,
        administrators are told, once a day.
        """
        try:
            yield
        except Unavailable as error:
            if error.code == "daily_capacity_reached":
                async with self._database.transaction(actor) as connection:
                    await enqueue(connection, CAP_TASK, once=True)
            raise

    async def tell_cap(self) -> None:
        """By the worker."""
        async with self._database.transaction(SystemActor("safety")) as connection:
            day = await store.claim_cap_notice(connection)
            if day is None:
                return
            logger.error(
                "the daily cap on provider cost is reached: %s USD on %s", self.limits.total_cap, day
            )
            details = {"cap": str(self.limits.total_cap), "date": day.isoformat()}
            for user_id in await store.administrators(connection):
                await mail.post_once(connection, user_id, Kind.COST_CAP_REACHED, f"cost_cap:{day}", details)

    async def purge(self) -> None:
        async with self._database.transaction(SystemActor("purge")) as connection:
            await store.purge(connection)


class ObjectRemover(Protocol):
    """Of the room of objects, what a takedown needs."""

    async def delete(self, keys: Sequence[str]) -> None: ...


class ReportService:
    """Reports of images, by anybody, and what administrators decide."""

    def __init__(self, database: Database, objects: ObjectRemover) -> None:
        self._database = database
        self._objects = objects

    async def report(self, thing: ReportedThing, reason: ReportReason) -> CaseNumber:
        """Put it on record; nothing is kept of who reports. Raises `NotFound` (`image_unknown`)."""
        number = CaseNumber.fresh()
        async with self._database.transaction(Anonymous(looks_up=thing.lookup)) as connection:
            if not await store.report(connection, thing, reason.value, number.digest):
                raise model.image_unknown()
            await enqueue(connection, REPORTED_TASK, once=True)
        return number

    async def state(self, number: CaseNumber) -> CaseState:
        """Raises `NotFound` (`case_not_found`)."""
        async with self._database.transaction(Anonymous()) as connection:
            found = await store.case_state(connection, number.digest)
        if found is None:
            raise model.case_not_found()
        return found

    # Administrators'

    async def waiting(self, actor: AdminActor, limit: int) -> list[Report]:
        """The oldest first."""
        async with self._database.transaction(actor) as connection:
            return await store.waiting(connection, limit)

    async def decided(self, actor: AdminActor, limit: int, before: int | None = None) -> list[Report]:
        """The newest first."""
        async with self._database.transaction(actor) as connection:
            return await store.decided(connection, limit, before)

    async def look(self, actor: AdminActor, report_id: int) -> ReportedImage:
        """The one image that was reported; the look is in its owner's log.

        Raises `Conflict` (`report_closed`).
        """
        async with self._database.transaction(actor) as connection:
            seen = await store.look_at(connection, report_id)
        async with self._database.transaction(actor) as connection:
            found = await store.reported_image(connection, report_id) if seen else None
        if found is None:
            raise model.report_closed()
        return found

    async def dismiss(self, actor: AdminActor, report_id: int) -> None:
        """Raises `Conflict` (`report_closed`)."""
        async with self._database.transaction(actor) as connection:
            if not await store.dismiss(connection, report_id):
                raise model.report_closed()

    async def take_down(self, actor: AdminActor, report_id: int) -> None:
        """Delete the image; the worker deletes its objects and tells its owner. Raises `Conflict`
        (`report_closed`).
        """
        async with self._database.transaction(actor) as connection:
            if not await store.take_down(connection, report_id):
                raise model.report_closed()
            await enqueue(connection, TAKE_DOWN_TASK, report_id=report_id)

    # By the worker

    async def finish_takedown(self, report_id: int) -> None:
        """Every copy goes before it is forgotten which they were; safe to repeat."""
        async with self._database.transaction(SystemActor("safety")) as connection:
            left = await store.to_delete(connection, report_id)
        if left is None:
            return
        user_id, keys = left
        await self._objects.delete(keys)
        async with self._database.transaction(SystemActor("safety")) as connection:
            await store.forget_keys(connection, report_id)
            if user_id is not None:
                await mail.post_once(
                    connection, user_id, Kind.IMAGE_TAKEN_DOWN, f"taken_down:{report_id}", {}
                )

    async def tell_reported(self) -> None:
        """Administrators hear of the first report of a day that waits; the others stand beside it."""
        async with self._database.transaction(SystemActor("safety")) as connection:
            day = await store.today(connection)
            for user_id in await store.administrators(connection):
                await mail.post_once(connection, user_id, Kind.IMAGE_REPORTED, f"reported:{day}", {})


@dataclass(frozen=True, slots=True)
class Safety:
    limits: Limits
    prompts: PromptGuard
    spending: Spending
    reports: ReportService
