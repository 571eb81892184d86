"""Everything about one customer, read from Stripe and put into the ports' words."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Literal, TypeVar

from visiona.adapters.stripe.answers import (
    Charge,
    Customer,
    Dispute,
    Invoice,
    InvoicePayment,
    InvoicePreview,
    Item,
    Line,
    LineParent,
    Parent,
    PendingItem,
    Schedule,
    Subscription,
    id_of,
    moment,
)
from visiona.adapters.stripe.calls import StripeCalls, first_failure, gathered
from visiona.adapters.stripe.prices import PriceBook, is_better, is_ours
from visiona.ports.errors import ProviderError, ProviderNotFound
from visiona.ports.payments import (
    ChargeReport,
    CustomerReport,
    InvoiceLine,
    InvoiceReport,
    InvoiceStatus,
    PendingProration,
    PriceReport,
    SubscriptionReport,
    SubscriptionStatus,
)

T = TypeVar("T")

_LIVE = frozenset({SubscriptionStatus.TRIALING, SubscriptionStatus.ACTIVE, SubscriptionStatus.PAST_DUE})
# In an inquiry (warning_…) nothing has been taken yet.
_MONEY_IS_OURS = frozenset(
    {"won", "prevented", "warning_needs_response", "warning_under_review", "warning_closed"}
)
_CHARGE_STATES: dict[str, Literal["succeeded", "pending", "failed"]] = {
    "succeeded": "succeeded",
    "failed": "failed",
}


class CustomerReports:
    def __init__(self, calls: StripeCalls) -> None:
        self._calls = calls
        self._prices = PriceBook(calls)

    async def report(self, customer_id: str) -> CustomerReport:
        customer = await self._calls.get(
            "retrieve customer", lambda v1: v1.customers.retrieve_async(customer_id), Customer
        )
        if customer.deleted:
            return await self._report_of_deleted(customer_id)
        with first_failure():
            async with asyncio.TaskGroup() as group:
                subscriptions = group.create_task(self._subscriptions(customer_id))
                invoices = group.create_task(self._invoices(customer_id))
                charges = group.create_task(self._charges(customer_id))
                pending = group.create_task(self._pending(customer_id))
        return CustomerReport(
            customer_id=customer_id,
            deleted=False,
            subscriptions=tuple(subscriptions.result()),
            invoices=tuple(invoices.result()),
            charges=tuple(charges.result()),
            pending=tuple(pending.result()),
        )

    async def _report_of_deleted(self, customer_id: str) -> CustomerReport:
        """Subscriptions ended with the customer; what was paid stays, as far as it is still told."""
        with first_failure():
            async with asyncio.TaskGroup() as group:
                invoices = group.create_task(_if_told(self._invoices(customer_id)))
                charges = group.create_task(_if_told(self._charges(customer_id)))
        return CustomerReport(
            customer_id=customer_id,
            deleted=True,
            subscriptions=(),
            invoices=tuple(invoices.result()),
            charges=tuple(charges.result()),
        )

    # Subscriptions

    async def _subscriptions(self, customer_id: str) -> list[SubscriptionReport]:
        found = await self._calls.every(
            "list subscriptions",
            lambda v1, page: v1.subscriptions.list_async(
                {**page, "customer": customer_id, "status": "all", "expand": ["data.schedule"]}
            ),
            Subscription,
        )
        return await gathered(self._subscription(customer_id, one) for one in found)

    async def _subscription(self, customer_id: str, subscription: Subscription) -> SubscriptionReport:
        items = subscription.items.data
        if subscription.items.has_more or not items:
            items = await self._calls.every(
                "list items",
                lambda v1, page: v1.subscription_items.list_async({**page, "subscription": subscription.id}),
                Item,
            )
        item, price, period_end = self._our_item(items)
        status = _subscription_status(subscription.status)
        ended_at = None if subscription.ended_at is None else moment(subscription.ended_at)
        cancel_at = subscription.cancel_at
        if cancel_at is None and subscription.cancel_at_period_end:
            cancel_at = period_end
        stays = status in _LIVE and cancel_at is None
        with first_failure():
            async with asyncio.TaskGroup() as group:
                next_price = group.create_task(self._next_price(subscription.schedule, price))
                next_amount = group.create_task(self._next_amount(customer_id, subscription.id, ask=stays))
        return SubscriptionReport(
            id=subscription.id,
            status=status,
            item_id=item.id,
            price=price,
            period_start=moment(item.current_period_start),
            period_end=moment(period_end),
            created_at=moment(subscription.created),
            cancel_at=None if cancel_at is None or ended_at else moment(cancel_at),
            ended_at=ended_at,
            trial_end=None if subscription.trial_end is None else moment(subscription.trial_end),
            next_price=next_price.result(),
            next_amount=next_amount.result(),
        )

    def _our_item(self, items: Sequence[Item]) -> tuple[Item, PriceReport, int]:
        """The item that carries our price, that price, and when its period ends: the first end, where
        several items are ours.
        """
        if not items:
            raise self._calls.unusable("list items", "a subscription to nothing")
        priced = [(item, self._prices.learn(item.price)) for item in items]
        best_item, best = priced[0]
        for item, price in priced[1:]:
            if is_better(price, best):
                best_item, best = item, price
        ends = [item.current_period_end for item, price in priced if is_ours(price)]
        return best_item, best, min(ends, default=best_item.current_period_end)

    async def _next_price(self, schedule: str | Schedule | None, now: PriceReport) -> PriceReport | None:
        """Of the phase after the current one; None where that changes nothing."""
        if not isinstance(schedule, Schedule) or schedule.current_phase is None:
            return None
        turn = schedule.current_phase.end_date
        later = [phase for phase in schedule.phases if phase.start_date >= turn]
        if not later:
            return None
        following = min(later, key=lambda phase: phase.start_date)
        ids = [id_of(item.price) for item in following.items]
        known = await self._prices.look_up(ids)
        best: PriceReport | None = None
        for price in (known[price_id] for price_id in ids if price_id in known):
            if best is None or is_better(price, best):
                best = price
        return None if best is None or best.id == now.id else best

    async def _next_amount(self, customer_id: str, subscription_id: str, *, ask: bool) -> int | None:
        if not ask:
            return None
        try:
            preview = await self._calls.post(
                "preview invoice",
                lambda v1, options: v1.invoices.create_preview_async(
                    {"customer": customer_id, "subscription": subscription_id}, options
                ),
                InvoicePreview,
            )
        except ProviderError:
            return None  # a report without it is better than none
        return preview.amount_due

    # Invoices

    async def _invoices(self, customer_id: str) -> list[InvoiceReport]:
        found = await self._calls.every(
            "list invoices",
            lambda v1, page: v1.invoices.list_async(
                {**page, "customer": customer_id, "expand": ["data.payments"]}
            ),
            Invoice,
        )
        all_lines = await gathered(self._lines(invoice) for invoice in found)
        all_payments = await gathered(self._payments(invoice) for invoice in found)
        prices = await self._prices.look_up(
            price_id for lines in all_lines for line in lines if (price_id := _price_id(line))
        )
        return [
            _invoice_report(invoice, lines, payments, prices)
            for invoice, lines, payments in zip(found, all_lines, all_payments, strict=True)
        ]

    async def _lines(self, invoice: Invoice) -> list[Line]:
        if not invoice.lines.has_more:
            return invoice.lines.data
        return await self._calls.every(
            "list lines", lambda v1, page: v1.invoices.line_items.list_async(invoice.id, {**page}), Line
        )

    async def _payments(self, invoice: Invoice) -> list[InvoicePayment]:
        payments = invoice.payments
        if payments is not None and not payments.has_more:
            return payments.data
        return await self._calls.every(
            "list payments",
            lambda v1, page: v1.invoice_payments.list_async({**page, "invoice": invoice.id}),
            InvoicePayment,
        )

    # Charges and corrections

    async def _charges(self, customer_id: str) -> list[ChargeReport]:
        found = await self._calls.every(
            "list charges",
            lambda v1, page: v1.charges.list_async({**page, "customer": customer_id}),
            Charge,
        )
        return await gathered(self._charge(charge) for charge in found)

    async def _charge(self, charge: Charge) -> ChargeReport:
        return ChargeReport(
            id=charge.id,
            payment_id=id_of(charge.payment_intent) if charge.payment_intent else None,
            # A state that this release does not know has neither brought money nor failed to.
            status=_CHARGE_STATES.get(charge.status, "pending"),
            amount=charge.amount,
            refunded=charge.amount_refunded,
            disputed=await self._disputed(charge.id) if charge.disputed else 0,
            currency=charge.currency,
            created_at=moment(charge.created),
        )

    async def _disputed(self, charge_id: str) -> int:
        disputes = await self._calls.every(
            "list disputes", lambda v1, page: v1.disputes.list_async({**page, "charge": charge_id}), Dispute
        )
        return sum(dispute.amount for dispute in disputes if dispute.status not in _MONEY_IS_OURS)

    async def _pending(self, customer_id: str) -> list[PendingProration]:
        found = await self._calls.every(
            "list pending items",
            lambda v1, page: v1.invoice_items.list_async({**page, "customer": customer_id, "pending": True}),
            PendingItem,
        )
        owned = [(_subscription_of(item.parent), item) for item in found if item.proration]
        return [PendingProration(owner, item.amount) for owner, item in owned if owner is not None]


async def _if_told(history: Awaitable[list[T]]) -> list[T]:
    """What lists give about a deleted customer, if anything."""
    try:
        return await history
    except ProviderNotFound:
        return []


def _subscription_status(status: str) -> SubscriptionStatus:
    try:
        return SubscriptionStatus(status)
    except ValueError:
        return SubscriptionStatus.UNKNOWN


def _invoice_status(status: str | None) -> InvoiceStatus:
    try:
        return InvoiceStatus(status or "")
    except ValueError:
        return InvoiceStatus.UNKNOWN


def _invoice_report(
    invoice: Invoice,
    lines: Sequence[Line],
    payments: Sequence[InvoicePayment],
    prices: dict[str, PriceReport],
) -> InvoiceReport:
    paid_at, next_attempt = invoice.status_transitions.paid_at, invoice.next_payment_attempt
    intents = [payment.payment.payment_intent for payment in payments]
    return InvoiceReport(
        id=invoice.id,
        number=invoice.number,
        status=_invoice_status(invoice.status),
        subscription_id=_subscription_of(invoice.parent),
        reason=invoice.billing_reason or "",
        currency=invoice.currency,
        total=invoice.total,
        amount_paid=invoice.amount_paid,
        amount_remaining=invoice.amount_remaining,
        created_at=moment(invoice.created),
        paid_at=None if paid_at is None else moment(paid_at),
        next_attempt_at=None if next_attempt is None else moment(next_attempt),
        lines=tuple(_invoice_line(line, prices) for line in lines),
        payment_ids=tuple(id_of(intent) for intent in intents if intent is not None),
    )


def _invoice_line(line: Line, prices: dict[str, PriceReport]) -> InvoiceLine:
    return InvoiceLine(
        price=prices.get(_price_id(line) or ""),
        amount=line.amount,
        proration=_is_proration(line.parent),
        period_start=moment(line.period.start),
        period_end=moment(line.period.end),
    )


def _price_id(line: Line) -> str | None:
    details = line.pricing.price_details if line.pricing else None
    return id_of(details.price) if details else None


def _is_proration(parent: LineParent | None) -> bool:
    details = parent and (parent.subscription_item_details or parent.invoice_item_details)
    return details is not None and details.proration


def _subscription_of(parent: Parent | None) -> str | None:
    details = parent.subscription_details if parent else None
    return id_of(details.subscription) if details and details.subscription else None
