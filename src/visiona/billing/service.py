"""Quota: reserve before work, settle per delivered thing, give back the rest; open what was paid for."""

from collections.abc import Sequence
from datetime import datetime

from visiona.audit import service as audit
from visiona.audit.model import Action
from visiona.billing import store
from visiona.billing.model import (
    Account,
    Catalogue,
    LedgerEntry,
    Quota,
    QuotaInvariantError,
    Resource,
    Use,
    Window,
    calendar_period,
    most_generous,
    quota_exhausted,
)
from visiona.core.clock import Clock
from visiona.core.errors import Invalid
from visiona.db import idempotency
from visiona.db.actor import SystemActor, UserActor
from visiona.db.events import notify
from visiona.db.pool import Connection, Database


async def explain(
    connection: Connection, user_id: int, resource: Resource, period_start: datetime, reference: str
) -> None:
    """On the transaction that reserved: which work it was for, such as `run:12`."""
    await store.explain(connection, user_id, resource, period_start, reference)


async def settle(
    connection: Connection,
    user_id: int,
    resource: Resource,
    period_start: datetime,
    *,
    reserved: int,
    used: int,
    reference: str,
) -> None:
    """On the transaction that ends the work: `used` of the `reserved` were delivered.

    Raises `QuotaInvariantError` when the reservation is not there, so that the ending rolls back.
    """
    if not await store.settle(
        connection, user_id, resource, period_start, reserved=reserved, used=used, reference=reference
    ):
        raise QuotaInvariantError(f"no reservation of {reserved} {resource} to settle")


async def set_windows(connection: Connection, user_id: int, windows: Sequence[Window], at: datetime) -> None:
    """On the transaction that mirrors a customer, by the worker's system: the periods that their
    subscriptions entitle to are these and no others from `at` on. Safe to repeat.
    """
    for window in windows:
        await store.grant(connection, user_id, window)
    await store.end_others(connection, user_id, [window.period.start for window in windows], at)
    await notify(connection, user_id, "plan", 0)


class BillingService:
    def __init__(self, database: Database, clock: Clock, catalogue: Catalogue) -> None:
        self._database = database
        self._clock = clock
        self.catalogue = catalogue

    async def reserve(
        self, connection: Connection, user_id: int, resource: Resource, amount: int
    ) -> datetime:
        """On the transaction that records the intent: set `amount` aside for the period that counts now.

        Answers the start of the period, to be handed back to `settle`. Raises `PaymentRequired`
        (`quota_exhausted`) when not so much is left.
        """
        if amount < 1:
            raise ValueError("a reservation is of something")  # less would give back what others hold
        account = (await self._accounts(connection, user_id))[resource]
        if not account.on_record:
            await store.open_calendar(connection, user_id, resource, account.period)
        if not await store.reserve(connection, user_id, resource, account.period.start, amount):
            account = (await self._accounts(connection, user_id))[resource]
            larger = self.catalogue.rank(account.plan) < self.catalogue.rank(self._largest())
            raise quota_exhausted(resource, account, larger_plan=larger)
        return account.period.start

    async def quota(self, actor: UserActor) -> Quota:
        async with self._database.transaction(actor) as connection:
            accounts = await self._accounts(connection, actor.user_id)
        images, clones = accounts[Resource.IMAGES], accounts[Resource.CLONES]
        return Quota(
            plan=self.catalogue.find(images.plan),
            images=Use(images.used, images.granted),
            clones=Use(clones.used, clones.granted),
            period=images.period,
        )

    async def _accounts(self, connection: Connection, user_id: int) -> dict[Resource, Account]:
        """Of each resource the account that counts now."""
        now = self._clock.now()
        found = await store.accounts(connection, user_id, now)
        period = calendar_period(now)
        base = await store.base_plan(connection, user_id) or self.catalogue.base
        plan = self.catalogue.find(base)
        counting: dict[Resource, Account] = {}
        for resource, on_record in found.items():
            entitling = [one for one in on_record if one.subscription_id is None or one.entitled]
            if not any(one.period.start == period.start for one in on_record):
                month = Account(period, base, None, plan.limit(resource), 0, on_record=False)
                entitling.append(month)
            counting[resource] = most_generous(entitling or on_record)
        return counting

    def _largest(self) -> str:
        on_sale = self.catalogue.on_sale()
        return on_sale[-1].name if on_sale else self.catalogue.base

    async def ledger(self, actor: UserActor, limit: int = 50) -> list[LedgerEntry]:
        """The newest changes of the person's quotas first."""
        async with self._database.transaction(actor) as connection:
            return await store.ledger(connection, actor.user_id, limit)

    async def plans_by_user(self) -> dict[int, str]:
        """For operators: who has another plan than everybody's. The database must be the worker's."""
        async with self._database.transaction(SystemActor("operator")) as connection:
            given = await store.base_plans(connection)
            subscribed = await store.subscribed_plans(connection, self._clock.now())
        rank = self.catalogue.rank
        return {
            user_id: max((given.get(user_id), subscribed.get(user_id)), key=rank) or self.catalogue.base
            for user_id in given | subscribed
        }

    async def refresh(self) -> None:
        """After a change of the plan file: months that are open already follow it. The worker's database."""
        async with self._database.transaction(SystemActor("plans")) as connection:
            await store.refresh_calendar(connection, calendar_period(self._clock.now()).start, None)

    async def purge(self) -> None:
        """Forget what keeps a request from being charged twice, once it is old. The worker's database."""
        async with self._database.transaction(SystemActor("purge")) as connection:
            await idempotency.purge(connection)

    async def set_plan(self, user_id: int, plan: str) -> None:
        """An operator's gift: what this person has without paying. Raises `Invalid` (`unknown_plan`)."""
        async with self._database.transaction(SystemActor("operator")) as connection:
            await self.give_plan(connection, user_id, plan)

    async def give_plan(self, connection: Connection, user_id: int, plan: str) -> None:
        """The same on the worker's own transaction."""
        self.check_plan(plan)
        await store.set_base_plan(connection, user_id, plan)
        start = calendar_period(self._clock.now()).start
        await store.refresh_calendar(connection, start, user_id)
        await audit.record(connection, user_id, Action.PLAN_CHANGED, {"plan": plan})
        await notify(connection, user_id, "plan", 0)

    def check_plan(self, plan: str) -> None:
        """Raises `Invalid` (`unknown_plan`) for the name of none."""
        if plan not in self.catalogue.plans:
            known = ", ".join(self.catalogue.plans)
            raise Invalid("unknown_plan", f"There is no plan {plan!r}; choose one of {known}.")


async def missing_plans(connection: Connection, catalogue: Catalogue) -> list[str]:
    """By the worker's system: plans that people have and that the plan file has not any more."""
    return sorted(set(await store.plans_in_use(connection)) - set(catalogue.plans))


async def publish_plans(connection: Connection, catalogue: Catalogue) -> None:
    """Copy the plan file into the database, as its owner."""
    await store.save_plans(connection, catalogue, catalogue.base)
