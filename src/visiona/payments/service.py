"""Subscribing, managing, and keeping in step with the payment service.

Nothing is ever added up from events. Whatever says that a customer's account may have changed (a
webhook, a return from the checkout, the sweep) only asks for `sync`, which reads the account whole
and makes our records what follows from it. Two of them at once cannot put an older reading over a
newer one: `version` tells who came second, and that one reads again.
"""

import asyncio
import logging
import uuid
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from visiona.accounts import service as accounts
from visiona.audit import service as audit
from visiona.audit.model import Action
from visiona.billing import service as billing
from visiona.billing.model import Catalogue, Price
from visiona.core.clock import Clock
from visiona.core.money import smallest_units
from visiona.db import idempotency
from visiona.db.actor import SystemActor, UserActor
from visiona.db.idempotency import IdempotencyKey
from visiona.db.jobs import RetryLater, enqueue, waiting
from visiona.db.pool import Connection, Database
from visiona.mail import service as mails
from visiona.payments import model, store
from visiona.payments.model import (
    CheckoutState,
    Customer,
    Intent,
    Invoice,
    Mode,
    Overview,
    Subscription,
)
from visiona.ports.errors import (
    OutcomeUnknown,
    ProviderError,
    ProviderNotFound,
    ProviderRejected,
    ProviderUnavailable,
)
from visiona.ports.payments import (
    Checkout,
    CheckoutOrder,
    CustomerOrder,
    CustomerReport,
    Interval,
    InvoicePages,
    Offer,
    Payments,
    PlanChange,
    PortalOrder,
    PublishedThing,
    SubscriptionStatus,
)

SYNC_TASK = "payments.sync"
SWEEP_BATCH = 60
"""How many readings the sweep has waiting at most. After an outage everybody's turn has come: four a second
leave the worker time for people's images, and most of what Stripe allows for those who buy.
"""
AGAIN_AFTER = timedelta(minutes=1)
READINGS = 5
"""How often a sync reads again because others wrote meanwhile, before it leaves it to the sweep."""
INTENTS_KEPT = timedelta(days=90)
PAGES_FREE, READINGS_FREE, LONGEST_WAIT_S = 40, 60, 300
"""How many pages at the payment service one person may open, and have their account read, before it
becomes slower and slower: each costs calls of which all people together have so many a second.
"""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PaymentSettings:
    """`origin` is where people come back to; with `enabled` false nothing is sold. `patience_s` is how
    long a person waits for a page of the payment service, however many calls it takes.
    """

    origin: str
    enabled: bool
    mode: Mode
    patience_s: float = 30.0


_ENDED = frozenset({SubscriptionStatus.CANCELED, SubscriptionStatus.INCOMPLETE_EXPIRED})


class PaymentService:
    def __init__(
        self,
        database: Database,
        clock: Clock,
        payments: Payments,
        catalogue: Catalogue,
        settings: PaymentSettings,
    ) -> None:
        self._database = database
        self._clock = clock
        self._payments = payments
        self._catalogue = catalogue
        self._settings = settings
        self._readings = 0
        self._silent = False

    @property
    def enabled(self) -> bool:
        return self._settings.enabled

    # Reading

    async def overview(self, actor: UserActor) -> Overview:
        async with self._database.transaction(actor) as connection:
            known = await store.customer(connection, actor.user_id)
            subscription = model.current(await store.subscriptions(connection, actor.user_id))
            unpaid = await store.unpaid_invoices(connection, actor.user_id)
        is_customer = known is not None and known.customer_id is not None
        return Overview(subscription, unpaid[0] if unpaid else None, is_customer)

    async def invoices(self, actor: UserActor, limit: int, before: str | None = None) -> list[Invoice]:
        async with self._database.transaction(actor) as connection:
            return await store.invoices(connection, actor.user_id, limit, before)

    async def invoice_pages(self, actor: UserActor, invoice_id: str) -> InvoicePages:
        """Fresh links to the person's own invoice. Raises `NotFound` (`invoice_not_found`), `TooMany` or
        `Unavailable`.
        """
        async with self._database.transaction(actor) as connection:
            known = await store.customer(connection, actor.user_id)
            own = await store.owns_invoice(connection, actor.user_id, invoice_id)
            if own:
                await _count_page(connection)
        if not own or known is None:
            raise model.invoice_not_found()
        async with self._waited_for():
            try:
                return await self._payments.invoice_pages(invoice_id)
            except ProviderNotFound as error:
                raise model.invoice_not_found() from error

    # Subscribing

    async def subscribe(
        self,
        actor: UserActor,
        email: str,
        plan: str,
        interval: Interval,
        key: IdempotencyKey | None = None,
    ) -> str:
        """Where to go to have this plan: a checkout, or for whoever has a subscription the page that
        changes it. Clicked twice, it leads to the same place, and can be paid once.

        Raises `Invalid`, `Conflict` (`already_subscribed`, `payment_in_progress`), `TooMany` or
        `Unavailable`.
        """
        price = self._price(plan, interval)
        async with self._waited_for():
            try:
                customer_id = await self._customer_id(actor, email, key)
                subscription = (await self.overview(actor)).subscription
                if subscription is not None and subscription.live:
                    return await self._change(customer_id, subscription, price)
                return await self._check_out(actor, customer_id, plan, price)
            except ProviderNotFound as error:
                logger.error(  # noqa: TRY400 - a trace would tell no more
                    "nothing to sell: run `visiona billing sync`, or is it another account's key? (%s)",
                    error.reason,
                )
                # Or the customer was deleted there, and we have not heard of it.
                async with self._database.transaction(actor) as connection:
                    await _ask_for_sync(connection, actor.user_id)
                raise model.not_on_sale() from error

    def _price(self, plan: str, interval: Interval) -> Price:
        if not self.enabled:
            raise model.billing_off()
        wanted = next((one for one in self._catalogue.on_sale() if one.name == plan), None)
        price = None if wanted is None else wanted.price(interval)
        if price is None:
            raise model.unknown_offer(self._catalogue)
        return price

    async def _customer_id(self, actor: UserActor, email: str, key: IdempotencyKey | None) -> str:
        async with self._database.transaction(actor) as connection:
            await _count_page(connection)
            # It refuses another wish under the same key; the same wish leads to the same checkout anyway.
            await idempotency.claim(connection, None, actor.user_id, key)
            customer = await store.ensure_customer(connection, actor.user_id, self._settings.mode)
            elsewhere = customer.mode != self._settings.mode
            if elsewhere:
                await _ask_for_sync(connection, actor.user_id)
        if elsewhere:
            logger.error("user %s is a customer in the mode %s", actor.user_id, customer.mode)
            raise model.payments_unavailable()
        if customer.customer_id is not None:
            return customer.customer_id
        order = CustomerOrder(actor.subject, email, f"customer:{actor.subject}:{customer.attempt}")
        try:
            customer_id = await self._payments.customer(order)
        except OutcomeUnknown:
            # A failure is replayed to the same key for a day; the next attempt looks before it makes one.
            async with self._database.transaction(actor) as connection:
                await store.count_attempt(connection, actor.user_id, customer.attempt)
            raise
        async with self._database.transaction(actor) as connection:
            await store.link_customer(connection, actor.user_id, customer_id)
            known = await store.customer(connection, actor.user_id)
        return customer_id if known is None or known.customer_id is None else known.customer_id

    async def _change(self, customer_id: str, subscription: Subscription, price: Price) -> str:
        plan = self._catalogue.by_lookup_key(price.lookup_key)
        same = plan is not None and subscription.plan == plan.name and subscription.interval == price.interval
        if same and subscription.cancel_at is None and subscription.next_plan is None:
            raise model.already_subscribed()
        change = None
        if subscription.changeable and not same and subscription.next_plan is None:
            change = PlanChange(subscription.id, subscription.item_id, price.lookup_key)
        return await self._payments.open_portal(
            PortalOrder(customer_id=customer_id, return_url=self._return_url("changed"), change=change)
        )

    async def _check_out(self, actor: UserActor, customer_id: str, plan: str, price: Price) -> str:
        for _ in range(READINGS):
            intent = await self._intent(actor, plan, price)
            if intent.session_id is None:
                return await self._open(actor, customer_id, intent)
            suits = intent.serves(price.lookup_key, self._clock.now())
            find = self._payments.get_checkout if suits else self._payments.close_checkout
            checkout = await find(intent.session_id)
            if checkout.status == "open" and suits and checkout.url:
                return checkout.url
            await self._close(actor, intent, checkout)
        raise model.payments_unavailable()

    async def _intent(self, actor: UserActor, plan: str, price: Price) -> Intent:
        """The open intent of this person that a click on this price can go on with, or that must be
        closed first; a new one where there is none.
        """
        now = self._clock.now()
        async with self._database.transaction(actor) as connection:
            intent = await store.open_intent(connection, actor.user_id)
            if intent is not None and (intent.session_id or intent.serves(price.lookup_key, now)):
                return intent
            # Whatever was made for it, nobody was told where: it cannot be paid.
            if intent is None or await store.close_intent(connection, intent, CheckoutState.FAILED):
                before = await store.subscriptions(connection, actor.user_id)
                fresh = Intent(
                    id=uuid.uuid4(),
                    lookup_key=price.lookup_key,
                    plan=plan,
                    trial_days=0 if before else self._catalogue.find(plan).trial_days,
                    state=CheckoutState.CREATING,
                    session_id=None,
                    created_at=now,
                    expires_at=now + model.CHECKOUT_LIFETIME,
                )
                if await store.insert_intent(connection, actor.user_id, fresh):
                    await audit.record(connection, actor.user_id, Action.CHECKOUT_STARTED, {"plan": plan})
                    return fresh
            # A twin of this click was faster, and this one goes on with its intent.
            twin = await store.open_intent(connection, actor.user_id)
        if twin is None:
            raise model.payments_unavailable()
        return twin

    async def _open(self, actor: UserActor, customer_id: str, intent: Intent) -> str:
        order = CheckoutOrder(
            key=f"checkout:{intent.id}",
            customer_id=customer_id,
            reference=actor.subject,
            plan=intent.plan,
            lookup_key=intent.lookup_key,
            trial_days=intent.trial_days,
            success_url=self._return_url("paid"),
            cancel_url=f"{self._settings.origin}/pricing?checkout=left",
            expires_at=intent.expires_at,
        )
        await self._refuse_a_second_subscription(actor, customer_id)
        try:
            checkout = await self._payments.open_checkout(order)
        except (OutcomeUnknown, ProviderRejected, ProviderNotFound):
            # Under this key the same failure might come again; whatever was made, nobody can pay it.
            async with self._database.transaction(actor) as connection:
                await store.close_intent(connection, intent, CheckoutState.FAILED)
            raise
        async with self._database.transaction(actor) as connection:
            ours = await store.set_open(connection, intent.id, checkout.id)
        if not ours:
            # A click on another plan took its place meanwhile: nobody is told of this one, or needs it.
            await self._payments.close_checkout(checkout.id)
        if not ours or checkout.url is None:
            raise model.payments_unavailable()
        return checkout.url

    async def _refuse_a_second_subscription(self, actor: UserActor, customer_id: str) -> None:
        """Our record may be behind. Raises `Conflict` (`payment_in_progress`)."""
        if not _subscribed(await self._payments.report(customer_id)):
            return
        async with self._database.transaction(actor) as connection:
            await _ask_for_sync(connection, actor.user_id)
        raise model.payment_in_progress()

    async def _close(self, actor: UserActor, intent: Intent, checkout: Checkout) -> None:
        """Raises `Conflict` (`payment_in_progress`) where it turns out to have been paid."""
        complete = checkout.status == "complete"
        async with self._database.transaction(actor) as connection:
            state = CheckoutState.COMPLETE if complete else CheckoutState.EXPIRED
            await store.close_intent(connection, intent, state)
            if complete:
                await _ask_for_sync(connection, actor.user_id)
        if complete:
            raise model.payment_in_progress()

    async def portal(self, actor: UserActor, step: str | None = None) -> str:
        """Where the person manages subscription, card and invoices; `step` leads straight to `cancel` or
        `payment_method`. Raises `Conflict` (`not_a_customer`), `TooMany` or `Unavailable`.
        """
        if not self.enabled:
            raise model.billing_off()
        async with self._database.transaction(actor) as connection:
            await _count_page(connection)
            customer = await store.customer(connection, actor.user_id)
            subscription = model.current(await store.subscriptions(connection, actor.user_id))
        if customer is None or customer.customer_id is None:
            raise model.not_a_customer()
        cancelable = subscription is not None and subscription.changeable and subscription.cancel_at is None
        order = PortalOrder(
            customer_id=customer.customer_id,
            return_url=self._return_url("changed"),
            cancel=subscription.id if step == "cancel" and subscription and cancelable else None,
            payment_method=step == "payment_method",
        )
        async with self._waited_for():
            return await self._payments.open_portal(order)

    @asynccontextmanager
    async def _waited_for(self) -> AsyncGenerator[None]:
        """A person waits for an answer of the payment service. Raises `Unavailable`; what was begun by
        then is gone on with by their next click, under the same key.
        """
        try:
            async with asyncio.timeout(self._settings.patience_s):
                yield
        except ProviderError as error:
            logger.warning("the payment service failed a request: %s", error.reason)
            raise model.payments_unavailable() from error
        except TimeoutError as error:
            logger.warning("the payment service answers too slowly for a person to wait")
            raise model.payments_unavailable() from error

    def _return_url(self, news: str) -> str:
        return f"{self._settings.origin}/billing?checkout={news}"

    async def look_again(self, actor: UserActor) -> None:
        """The person says that something has changed: they come back from a checkout or the portal. Said
        too often it is not heard, and what has changed is noticed without it.
        """
        async with self._database.transaction(actor) as connection:
            customer = await store.customer(connection, actor.user_id)
            if customer is not None and customer.customer_id is not None:
                wait_s = await store.count_visit(connection, "reading", READINGS_FREE, LONGEST_WAIT_S)
                if wait_s == 0:
                    await _ask_for_sync(connection, actor.user_id)

    # Keeping in step; on the worker's database

    async def observe(self, reference: Mapping[str, Any]) -> None:
        """An event spoke of a customer, a charge, or a person of ours: have their account read."""
        customer_id: str | None = reference.get("customer")
        if customer_id is None and reference.get("charge") is not None:
            try:
                customer_id = await self._payments.customer_of_charge(reference["charge"])
            except ProviderNotFound:
                logger.warning("an event named a charge that does not exist")
            except ProviderError as error:
                raise RetryLater(str(error)) from error
        if customer_id is None:
            return
        async with self._database.transaction(SystemActor("payments")) as connection:
            user_id = await store.user_of_customer(connection, customer_id)
            if user_id is None:
                user_id = await self._adopt(connection, customer_id, reference.get("reference"))
            if user_id is not None:
                await store.mark_due(connection, user_id, self._clock.now())
                await _ask_for_sync(connection, user_id)

    async def _adopt(self, connection: Connection, customer_id: str, subject: str | None) -> int | None:
        """A customer that the service made for a person of ours, such as by a payment link."""
        user_id = None if subject is None else await accounts.find_by_subject(connection, subject)
        if user_id is None:
            logger.info("an event is about a customer who is nobody here")
            return None
        customer = await store.ensure_customer(connection, user_id, self._settings.mode)
        if customer.customer_id is not None:
            logger.error("user %s has paid as a second customer: merge them at the payment service", user_id)
            return None
        await store.link_customer(connection, user_id, customer_id)
        return user_id

    async def end_subscriptions(self, user_id: int) -> int:
        """Nothing is charged to this person any more, from now on. Answers how many subscriptions that ended.

        Raises `RetryLater`.
        """
        async with self._database.transaction(SystemActor("payments")) as connection:
            customer = await store.customer(connection, user_id)
        if customer is None or customer.customer_id is None:
            return 0
        if customer.mode != self._settings.mode:
            if customer.mode == "live":
                raise RetryLater(_wrong_key(customer.mode))
            return 0
        try:
            report = await self._payments.report(customer.customer_id)
            living = [one for one in report.subscriptions if one.status not in _ENDED]
            for subscription in living:
                await self._payments.end_subscription(subscription.id)
        except ProviderError as error:
            raise RetryLater(str(error)) from error
        return len(living)

    async def delete_customer(
        self, customer_id: str | None, mode: Mode | None, subject: str | None, address: str | None
    ) -> int:
        """At the payment service, for good, with any that was made for them and never noted, as when an
        answer was lost. Answers how many; none for a customer of the sandbox once that is not in use.

        Raises `RetryLater`, also where the key is of another account or mode: nobody counts as gone whom it
        cannot see. `mode` is None where nothing was noted of it.
        """
        if mode is not None and mode != self._settings.mode:
            if customer_id is None or mode == "sandbox":
                return 0
            raise RetryLater(_wrong_key(mode))
        customers = set[str]() if customer_id is None else {customer_id}
        try:
            if mode is not None and subject and address:
                customers.update(await self._payments.customers_of(subject, address))
            for one in sorted(customers):
                await self._payments.delete_customer(one)
        except ProviderNotFound as error:
            raise RetryLater("the key's account has never had this customer: is it the right one?") from error
        except ProviderError as error:
            raise RetryLater(str(error)) from error
        return len(customers)

    async def sync(self, user_id: int) -> None:
        """Read the customer's account and put on record what follows. Raises `RetryLater`.

        While the payment service does not answer, one reading at a time tries it: the others would
        take the worker's places, and each hold one until its deadline.
        """
        if self._silent and self._readings:
            await self._postpone(user_id)
            raise RetryLater("the payment service does not answer")
        self._readings += 1
        try:
            await self._sync(user_id)
        except ProviderError as error:
            self._silent = isinstance(error, ProviderUnavailable)
            await self._postpone(user_id)
            raise RetryLater(str(error)) from error
        finally:
            self._readings -= 1

    async def _sync(self, user_id: int) -> None:
        for _ in range(READINGS):
            async with self._database.transaction(SystemActor("payments")) as connection:
                customer = await store.customer(connection, user_id)
            if customer is None or customer.customer_id is None:
                return
            if customer.mode == "live" and self._settings.mode != "live":
                logger.error("user %s pays real money: this is not the key to look after it", user_id)
                return
            try:
                report = await self._report(customer.customer_id, customer.mode)
            except ProviderNotFound:
                # Those who were deleted are still known as such: this is another account's key.
                logger.error(  # noqa: TRY400 - a trace would tell no more
                    "Stripe does not know user %s: is VISIONA_STRIPE_API_KEY of the right account?", user_id
                )
                raise
            self._silent = False
            if await self._record(customer, report):
                await self._close_left_over(user_id, report)
                return
        await self._postpone(user_id)
        raise RetryLater("others keep writing what was read")

    async def _report(self, customer_id: str, mode: Mode) -> CustomerReport:
        if mode == self._settings.mode:
            return await self._payments.report(customer_id)
        return CustomerReport(
            customer_id=customer_id, deleted=True, subscriptions=(), invoices=(), charges=()
        )

    async def _postpone(self, user_id: int) -> None:
        async with self._database.transaction(SystemActor("payments")) as connection:
            await store.mark_due(connection, user_id, self._clock.now() + AGAIN_AFTER)

    async def _record(self, customer: Customer, report: CustomerReport) -> bool:
        """False when somebody has recorded another report since this one was asked for."""
        now, user_id = self._clock.now(), customer.user_id
        mirrored = [model.subscription_of(one, self._catalogue) for one in report.subscriptions]
        async with self._database.transaction(SystemActor("payments")) as connection:
            current = await store.customer(connection, user_id, lock=True)
            if current is None or current.version != customer.version:
                return False
            for subscription in mirrored:
                await self._record_subscription(connection, user_id, subscription)
            known = [subscription.id for subscription in mirrored]
            for missing, plan in await store.end_missing_subscriptions(connection, user_id, known, now):
                await _record_change(connection, user_id, missing, SubscriptionStatus.CANCELED, plan)
            await _record_payments(connection, user_id, report)
            for notice in model.notices(report, mirrored, now):
                await mails.post_once(connection, user_id, notice.kind, notice.once, notice.details)
            windows = model.windows(report, self._catalogue)
            await billing.set_windows(connection, user_id, windows, now)
            intent = await store.open_intent(connection, user_id)
            due_at = model.look_again_at(mirrored, intent, now)
            await store.mark_synced(connection, user_id, now, due_at)
            if report.deleted:
                await store.unlink_customer(connection, user_id)
                if intent is not None:
                    await store.close_intent(connection, intent, CheckoutState.EXPIRED)
        if sum(subscription.live for subscription in mirrored) > 1:
            logger.error("user %s has several subscriptions: end all but one at the payment service", user_id)
        return True

    async def _record_subscription(
        self, connection: Connection, user_id: int, subscription: Subscription
    ) -> None:
        if subscription.plan is None and subscription.live:
            logger.error("subscription %s has a price that belongs to no plan", subscription.id)
        if await store.save_subscription(connection, user_id, subscription):
            await _record_change(connection, user_id, subscription.id, subscription.status, subscription.plan)

    async def _close_left_over(self, user_id: int, report: CustomerReport) -> None:
        """Whoever has a subscription has no use for a checkout that is still open; nobody for an old one."""
        async with self._database.transaction(UserActor(user_id)) as connection:
            intent = await store.open_intent(connection, user_id)
        if intent is None or not (_subscribed(report) or intent.expires_at <= self._clock.now()):
            return
        state = CheckoutState.FAILED
        if intent.session_id is not None:
            checkout = await self._payments.get_checkout(intent.session_id)
            if checkout.status == "open":
                checkout = await self._payments.close_checkout(intent.session_id)
            state = CheckoutState.COMPLETE if checkout.status == "complete" else CheckoutState.EXPIRED
        async with self._database.transaction(SystemActor("payments")) as connection:
            await store.close_intent(connection, intent, state)

    async def sweep(self) -> None:
        """Have every account read whose turn it is: after a period's end, when events were lost, daily."""
        if not self.enabled:
            return
        now = self._clock.now()
        async with self._database.transaction(SystemActor("sweep")) as connection:
            room = SWEEP_BATCH - await waiting(connection, SYNC_TASK)
            for user_id in await store.take_due(
                connection, now, AGAIN_AFTER, self._settings.mode, max(room, 0)
            ):
                await enqueue(connection, SYNC_TASK, idle=True, user_id=user_id)

    async def purge(self) -> None:
        async with self._database.transaction(SystemActor("purge")) as connection:
            await store.purge_intents(connection, self._clock.now() - INTENTS_KEPT)

    # For operators

    async def publish(self, webhook_url: str | None, *, change: bool) -> list[PublishedThing]:
        """Bring plans, portal and webhook to the payment service, or only say what differs.

        Raises `NotFound` (`billing_off`) or `ProviderError`, whose reason tells an operator more.
        """
        if not self.enabled:
            raise model.billing_off()
        return await self._payments.publish(self._offers(), webhook_url=webhook_url, change=change)

    def _offers(self) -> list[Offer]:
        offers: list[Offer] = []
        for plan in self._catalogue.on_sale():
            for price in plan.prices:
                amount = smallest_units(price.amount, self._catalogue.currency)
                if amount is None:
                    raise ValueError("the plan file was checked when it was read")
                offers.append(
                    Offer(
                        plan=plan.name,
                        product=plan.title,
                        lookup_key=price.lookup_key,
                        amount=amount,
                        currency=self._catalogue.currency,
                        interval=price.interval,
                    )
                )
        return offers


async def missing_plans(connection: Connection, catalogue: Catalogue) -> set[str]:
    """By the worker's system: plans that somebody pays for, or is about to, and that the plan file has not
    any more.
    """
    return await store.plans_bought(connection) - set(catalogue.plans)


async def _record_change(
    connection: Connection, user_id: int, subscription_id: str, status: SubscriptionStatus, plan: str | None
) -> None:
    details = {"subscription": subscription_id, "status": status.value, "plan": plan}
    await audit.record(connection, user_id, Action.SUBSCRIPTION_CHANGED, details)


async def _record_payments(connection: Connection, user_id: int, report: CustomerReport) -> None:
    invoice_of = {payment_id: one.id for one in report.invoices for payment_id in one.payment_ids}
    for invoice in report.invoices:
        await store.save_invoice(connection, user_id, invoice)
    for charge in report.charges:
        invoice_id = None if charge.payment_id is None else invoice_of.get(charge.payment_id)
        state = await store.save_payment(connection, user_id, charge, invoice_id)
        if state is not None:
            details = {"charge": charge.id, "status": state.value}
            await audit.record(connection, user_id, Action.PAYMENT_RECORDED, details)


def _wrong_key(mode: Mode) -> str:
    return f"the customer is of {mode} mode, and VISIONA_STRIPE_API_KEY is not"


def _subscribed(report: CustomerReport) -> bool:
    return any(model.is_live(one.status) for one in report.subscriptions)


async def _count_page(connection: Connection) -> None:
    """Raises `TooMany` (`too_many_payment_pages`)."""
    wait_s = await store.count_visit(connection, "page", PAGES_FREE, LONGEST_WAIT_S)
    if wait_s > 0:
        raise model.too_many_payment_pages(wait_s)


async def _ask_for_sync(connection: Connection, user_id: int) -> None:
    await enqueue(connection, SYNC_TASK, once=True, user_id=user_id)
