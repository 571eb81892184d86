"""Quota: reserve before work, settle per delivered thing, give back the rest."""

from datetime import datetime

from visiona.audit import service as audit
from visiona.audit.model import Action
from visiona.billing import store
from visiona.billing.model import (
    FREE,
    Quota,
    QuotaInvariantError,
    Resource,
    Use,
    calendar_period,
    plans,
    quota_exhausted,
)
from visiona.core.clock import Clock
from visiona.core.errors import Invalid
from visiona.db import idempotency
from visiona.db.actor import SystemActor, UserActor
from visiona.db.pool import Connection, Database


async def settle(
    connection: Connection,
    user_id: int,
    resource: Resource,
    period_start: datetime,
    *,
    reserved: int,
    used: int,
) -> None:
    """On the transaction that ends the work: `used` of the `reserved` were delivered.

    Raises `QuotaInvariantError` when the reservation is not there, so that the ending rolls back.
    """
    if not await store.settle(connection, user_id, resource, period_start, reserved, used):
        raise QuotaInvariantError(f"no reservation of {reserved} {resource} to settle")


class BillingService:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def reserve(
        self, connection: Connection, user_id: int, resource: Resource, amount: int
    ) -> datetime:
        """On the transaction that records the intent: set `amount` aside for this period.

        Answers the start of the period, to be handed back to `settle`. Raises `PaymentRequired`
        (`quota_exhausted`) when the plan does not cover it.
        """
        period = calendar_period(self._clock.now())
        if not await store.reserve(connection, user_id, resource, period, amount):
            raise quota_exhausted(resource, period)
        return period.start

    async def quota(self, actor: UserActor) -> Quota:
        period = calendar_period(self._clock.now())
        async with self._database.transaction(actor) as connection:
            plan = plans()[await store.plan_of(connection, actor.user_id) or FREE]
            used = await store.usage(connection, actor.user_id, period)
        return Quota(
            plan=plan,
            images=Use(used.get(Resource.IMAGES, 0), plan.images),
            clones=Use(used.get(Resource.CLONES, 0), plan.clones),
            period=period,
        )

    async def plans_by_user(self) -> dict[int, str]:
        """For operators: who has another plan than the free one. The database must be the worker's."""
        async with self._database.transaction(SystemActor("operator")) as connection:
            return await store.plans_by_user(connection)

    async def purge(self) -> None:
        """Forget what keeps a request from being charged twice, once it is old. The worker's database."""
        async with self._database.transaction(SystemActor("purge")) as connection:
            await idempotency.purge(connection)

    async def set_plan(self, user_id: int, plan: str) -> None:
        """An operator's act, until payments decide. Raises `Invalid` (`unknown_plan`)."""
        if plan not in plans():
            raise Invalid("unknown_plan", f"There is no plan {plan!r}; choose one of {', '.join(plans())}.")
        async with self._database.transaction(SystemActor("operator")) as connection:
            await store.set_plan(connection, user_id, plan)
            await audit.record(connection, user_id, Action.PLAN_CHANGED, {"plan": plan})


async def publish_plans(connection: Connection) -> None:
    """Copy the plan file into the database, as its owner."""
    await store.save_plans(connection, plans().values())
