"""Random histories of a subscriber, against a small model that is told what happened and no more.

Everything goes its real way: the checkout and the portal of Stripe's sandbox, its test clock, signed
webhooks that are lost, repeated and shuffled, the inbox, the reading of the account. Time jumps on both
sides.
"""

import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.payments.conftest import Shop, open_shop
from tests.payments.oracle import Charge, Person
from tests.sandbox.stripe.conftest import run_stripe

from visiona.billing import service as billing
from visiona.billing.model import Resource
from visiona.core.clock import FixedClock
from visiona.core.errors import PaymentRequired
from visiona.db.actor import SystemActor, UserActor

HISTORIES = 100
HISTORIES_OF_THE_DRILL = 1000
CHAPTER = 100
AT_ONCE_H = 24 * 28  # a test clock moves by two billing periods at most
START = datetime(2027, 1, 10, 9, 30, 0, tzinfo=UTC)

plans = st.sampled_from(["premium", "studio"])
steps = st.one_of(
    st.tuples(st.just("subscribe"), plans, st.sampled_from(["month", "month", "year"])),
    st.tuples(
        st.just("wait"), st.sampled_from([1, 3, 20, 24 * 2, 24 * 6, 24 * 9, 24 * 17, 24 * 31, 24 * 64])
    ),
    st.tuples(st.just("wait"), st.sampled_from([24 * 16, 24 * 28, 24 * 30, 24 * 31])),
    st.tuples(st.just("card"), st.booleans()),
    st.tuples(st.just("pay")),
    st.tuples(st.just("change")),
    st.tuples(st.just("refund"), st.integers(0, 10), st.sampled_from([10, 25, 33, 50, 100])),
    st.tuples(st.just("dispute"), st.integers(0, 10)),
    st.tuples(st.just("close"), st.integers(0, 10), st.sampled_from(["won", "lost"])),
    st.tuples(st.just("cancel")),
    st.tuples(st.just("resume")),
    st.tuples(st.just("generate"), st.sampled_from([1, 4, 40, 400]), st.integers(0, 100)),
)
histories = st.lists(
    st.tuples(steps, st.sampled_from(["all", "all", "shuffled", "some", "none"])), min_size=3, max_size=9
)
Step = tuple[Any, ...]


class History:
    """One person: what is done is done at the sandbox and told to the model."""

    def __init__(self, shop: Shop, buyer: UserActor, dice: random.Random) -> None:
        self.shop, self.buyer, self.dice = shop, buyer, dice
        self.stripe = shop.server.client.v1
        self.model = Person(shop.clock.instant)
        self.lost_any = False
        self.clock_id = ""
        self.customer = ""
        self.known_charges: set[str] = set()
        self.disputes: dict[str, str] = {}

    async def begin(self) -> None:
        frozen = int(self.shop.clock.instant.timestamp())
        self.clock_id = self.stripe.test_helpers.test_clocks.create({"frozen_time": frozen}).id
        made = self.stripe.customers.create(
            {
                "email": self._email,
                "metadata": {"visiona_user": self.buyer.subject},
                "test_clock": self.clock_id,
            }
        )
        self.customer = made.id
        # Lists leave out who lives on a test clock, so that looking for them would find nobody.
        async with self.shop.worker.database.transaction(SystemActor("test")) as connection:
            await connection.execute(
                "insert into payment_customers (user_id, customer_id, mode) values (%s, %s, 'sandbox')",
                [self.buyer.user_id, self.customer],
            )

    @property
    def _email(self) -> str:
        return f"{self.buyer.subject}@example.com"

    async def take(self, step: Step) -> bool:
        """False where the step makes no sense now and nothing was done."""
        name, *arguments = step
        act: Callable[..., Awaitable[bool]] = getattr(self, f"_{name}")
        return await act(*arguments)

    async def _subscribe(self, plan: str, interval: Any) -> bool:
        if self.model.subscription is not None or not self.model.card_works:
            return False
        await self.reconcile()  # a person sees what they have before they buy
        story_time = self.shop.clock.instant
        self.shop.clock.instant = datetime.now(UTC)  # a checkout's own time is no test clock's
        url = await self.shop.app.payments.subscribe(self.buyer, self._email, plan, interval)
        self.shop.clock.instant = story_time
        assert self.shop.pay(url)["outcome"] == "Paid"
        [charge] = self._new_charges()
        self.model.subscribe(plan, interval, charge)
        return True

    async def _wait(self, hours: int) -> bool:
        while hours > 0:
            length = timedelta(hours=min(hours, AT_ONCE_H))
            self.shop.clock.instant += length
            until = int(self.shop.clock.instant.timestamp())
            self.stripe.test_helpers.test_clocks.advance(self.clock_id, {"frozen_time": until})
            self.model.advance(length)
            hours -= AT_ONCE_H
        self.model.name_charges(self._new_charges())
        return True

    async def _card(self, works: bool) -> bool:
        if self.model.subscription is None or self.model.card_works == works:
            return False
        self._use_card("pm_card_visa" if works else "pm_card_chargeCustomerFail")
        self.model.card_works = works
        return True

    def _use_card(self, token: str) -> None:
        method = self.stripe.payment_methods.attach(token, {"customer": self.customer})
        self.stripe.customers.update(
            self.customer, {"invoice_settings": {"default_payment_method": method.id}}
        )
        self.stripe.subscriptions.update(self._subscription.id, {"default_payment_method": method.id})

    @property
    def _subscription(self) -> Any:
        return self.stripe.subscriptions.list({"customer": self.customer}).data[0]

    async def _pay(self) -> bool:
        subscription = self.model.subscription
        if subscription is None or subscription.paid or not subscription.attempts:
            return False
        if not self.model.card_works:
            self._use_card("pm_card_visa")
            self.model.card_works = True
        [invoice] = self.stripe.invoices.list({"customer": self.customer, "status": "open"}).data
        self.stripe.invoices.pay(invoice.id)
        self.model.collect()
        self.model.name_charges(self._new_charges())
        return True

    async def _change(self) -> bool:
        """Up at once, down at the end of the period, on the portal's own pages."""
        subscription = self.model.subscription
        if subscription is None or not subscription.paid or subscription.ends or subscription.next_plan:
            return False
        up = subscription.plan == "premium"
        if up and not self.model.card_works:
            return False
        await self.reconcile()
        plan = "studio" if up else "premium"
        url = await self.shop.app.payments.subscribe(
            self.buyer, self._email, plan, "year" if subscription.interval == "year" else "month"
        )
        [price] = self.stripe.prices.list({"lookup_keys": [f"visiona_{plan}_{subscription.interval}"]}).data
        self._submit(f"{httpx.URL(url).path}/change/{price.id}")
        if up:
            self.model.upgrade(plan, *self._new_charges())
        else:
            subscription.next_plan = plan
        return True

    async def _refund(self, which: int, percent: int) -> bool:
        charge = self._charge(which)
        if charge is None or charge.disputed:
            return False
        amount = min(charge.amount * percent // 100, charge.amount - charge.refunded)
        if amount == 0:
            return False
        self.stripe.refunds.create({"charge": charge.id, "amount": amount})
        charge.refunded += amount
        return True

    async def _dispute(self, which: int) -> bool:
        charge = self._charge(which)
        if charge is None or charge.refunded or charge.id in self.disputes:
            return False
        self.disputes[charge.id] = self.shop.server.control("disputes", charge=charge.id)["id"]
        charge.disputed = True
        return True

    async def _close(self, which: int, status: str) -> bool:
        charge = self._charge(which)
        if charge is None or not charge.disputed or not self.disputes.get(charge.id):
            return False
        self.shop.server.control(f"disputes/{self.disputes[charge.id]}/close", status=status)
        self.disputes[charge.id] = ""
        charge.disputed = status == "lost"
        return True

    async def _cancel(self) -> bool:
        subscription = self.model.subscription
        if subscription is None or not subscription.paid or subscription.ends or subscription.next_plan:
            return False
        await self.reconcile()
        self._submit(f"{httpx.URL(await self.shop.app.payments.portal(self.buyer, 'cancel')).path}/cancel")
        subscription.ends = True
        return True

    async def _resume(self) -> bool:
        if self.model.subscription is None or not self.model.subscription.ends:
            return False
        self._submit(f"{httpx.URL(await self.shop.app.payments.portal(self.buyer)).path}/resume")
        self.model.subscription.ends = False
        return True

    async def _generate(self, amount: int, delivered_percent: int) -> bool:
        """Reserved as the person sees it, delivered in part; the rest comes back."""
        await self.reconcile()
        delivered = amount * delivered_percent // 100
        database, service = self.shop.worker.database, self.shop.worker.billing
        try:
            async with database.transaction(self.buyer) as connection:
                period = await service.reserve(connection, self.buyer.user_id, Resource.IMAGES, amount)
        except PaymentRequired:
            assert not self.model.use(amount)
            return True
        async with database.transaction(self.buyer) as connection:
            await billing.settle(
                connection,
                self.buyer.user_id,
                Resource.IMAGES,
                period,
                reserved=amount,
                used=delivered,
                reference="run:0",
            )
        assert self.model.use(amount)
        self.model.use(delivered - amount)
        return True

    def _submit(self, path: str) -> None:
        answer = self.shop.server.raw.post(path)
        assert answer.status_code == 303, answer.text

    def _charge(self, which: int) -> Charge | None:
        charges = list(self.model.all_charges.values())
        return charges[which % len(charges)] if charges else None

    def _new_charges(self) -> list[Charge]:
        """Successful charges since the last call, oldest first."""
        found = self.stripe.charges.list({"customer": self.customer, "limit": 100}).data
        fresh = [one for one in found if one.id not in self.known_charges and one.status == "succeeded"]
        self.known_charges |= {one.id for one in found}
        return [Charge(one.id, one.amount) for one in reversed(fresh)]

    # What the service hears of it, and what it makes of that

    async def hear(self, fate: str) -> None:
        events = self.shop.new_events(self.customer, self.known_charges)
        if fate == "none":
            self.lost_any |= bool(events)
            return
        if fate == "shuffled":
            events = self.dice.sample(events * 2, len(events) * 2)
        elif fate == "some":
            kept = [event for event in events if self.dice.random() < 0.5]
            self.lost_any |= len(kept) < len(events)
            events = kept
        await self.shop.deliver(events)

    async def reconcile(self) -> None:
        """What the daily look finds of that which was lost."""
        await self.shop.worker.payments.sync(self.buyer.user_id)
        self.lost_any = False

    async def check(self) -> None:
        quota = await self.shop.app.billing.quota(self.buyer)
        plan, limit, used = self.model.owed()
        assert (quota.plan.name, quota.images.limit, quota.images.used) == (plan, limit, used)
        await self._check_ledger()
        if not self.lost_any:
            await self._check_payments()

    async def _check_ledger(self) -> None:
        rows = await self._rows(
            """select q.balance, q.entitled, q.used, q.reserved, q.granted >= q.used + q.reserved,
                 sum(l.amount)::int, sum(l.entitled)::int, sum(l.used)::int, sum(l.reserved)::int
               from quota_usage q join quota_ledger l using (user_id, resource, period_start)
               where user_id = %s group by q.user_id, q.resource, q.period_start"""
        )
        for balance, entitled, used, reserved, kept, *sums in rows:
            assert kept
            assert sums == [balance, entitled, used, reserved]

    async def _check_payments(self) -> None:
        rows = await self._rows(
            """select stripe_charge_id, (amount * 100)::int, (refunded * 100)::int, (disputed * 100)::int
               from payments where user_id = %s and status <> 'failed'"""
        )
        told = {
            (one.id, one.amount, one.refunded, one.amount if one.disputed else 0)
            for one in self.model.all_charges.values()
        }
        assert set(rows) == told

    async def _rows(self, query: str) -> list[tuple[Any, ...]]:
        async with self.shop.worker.database.transaction(SystemActor("test")) as connection:
            cursor = await connection.execute(query, [self.buyer.user_id])  # type: ignore[arg-type] # test SQL
            return await cursor.fetchall()


class Library:
    """Gives a shop for every history, with a new sandbox after some: small ones stay fast."""

    def __init__(self, database_url: str, folder: Path) -> None:
        self._database_url, self._folder = database_url, folder
        self._open = AsyncExitStack()
        self._shop: Shop | None = None
        self.told = 0

    async def shop(self) -> Shop:
        if self._shop is None or self.told % CHAPTER == 0:
            await self.close()
            folder = self._folder / str(self.told)
            server = self._open.enter_context(run_stripe(folder))
            clock = FixedClock(START)
            self._shop = await self._open.enter_async_context(
                open_shop(self._database_url, server, clock, folder)
            )
        self.told += 1
        return self._shop

    async def close(self) -> None:
        await self._open.aclose()
        self._open = AsyncExitStack()


@pytest.fixture
async def library(own_database_url: str, tmp_path: Path) -> AsyncGenerator[Library]:
    library = Library(own_database_url, tmp_path)
    yield library
    await library.close()


def told(histories_told: int) -> settings:
    return settings(
        max_examples=histories_told,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )


@pytest.mark.timeout(600)
@told(HISTORIES)
@given(history=histories, luck=st.integers(0, 2**32))
async def test_every_history_ends_as_the_model_says(
    library: Library, history: Sequence[tuple[Step, str]], luck: int
) -> None:
    await tell(library, history, luck)


@pytest.mark.drill
@pytest.mark.timeout(1800)
@told(HISTORIES_OF_THE_DRILL)
@given(history=histories, luck=st.integers(0, 2**32))
async def test_a_thousand_histories_end_as_the_model_says(
    library: Library, history: Sequence[tuple[Step, str]], luck: int
) -> None:
    await tell(library, history, luck)


async def tell(library: Library, history: Sequence[tuple[Step, str]], luck: int) -> None:
    shop = await library.shop()
    shop.clock.instant = START + timedelta(hours=luck % (24 * 366))
    person = History(shop, await shop.sign_up(), random.Random(luck))
    await person.begin()
    for step, fate in history:
        if await person.take(step):
            await person.hear(fate)
            if not person.lost_any:
                await person.check()
    await person.reconcile()
    await person.check()
