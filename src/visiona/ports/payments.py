"""Taking payments: what a payment service can be asked for, and what it tells about a customer.

Amounts are integers in the currency's smallest unit (cents; whole yen), as the services count them.
Nothing here is taken from a webhook: a webhook only says whose account to look at again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal, Protocol

Interval = Literal["month", "year"]


class SubscriptionStatus(StrEnum):
    INCOMPLETE = "incomplete"
    INCOMPLETE_EXPIRED = "incomplete_expired"
    TRIALING = "trialing"
    ACTIVE = "active"
    PAST_DUE = "past_due"
    UNPAID = "unpaid"
    CANCELED = "canceled"
    PAUSED = "paused"
    UNKNOWN = "unknown"
    """A status that this release does not know: entitles to nothing, is looked at again."""


class InvoiceStatus(StrEnum):
    DRAFT = "draft"
    OPEN = "open"
    PAID = "paid"
    UNCOLLECTIBLE = "uncollectible"
    VOID = "void"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class PriceReport:
    """`plan` is the plan's name that was written on the price when it was made, if it was."""

    id: str
    lookup_key: str | None
    plan: str | None
    amount: int
    currency: str
    interval: Interval | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionReport:
    """`period_start` and `period_end` are those of the item that carries our price. `cancel_at` is when
    it ends if nothing else happens; `next_price` what it changes to at the end of the period.
    `next_amount` is what the next invoice will come to, where the service can say.
    """

    id: str
    status: SubscriptionStatus
    item_id: str
    price: PriceReport
    period_start: datetime
    period_end: datetime
    created_at: datetime
    cancel_at: datetime | None = None
    ended_at: datetime | None = None
    trial_end: datetime | None = None
    next_price: PriceReport | None = None
    next_amount: int | None = None


@dataclass(frozen=True, slots=True)
class InvoiceLine:
    """`proration` marks a correction within a period: a credit has a negative amount."""

    price: PriceReport | None
    amount: int
    proration: bool
    period_start: datetime
    period_end: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceReport:
    """`payment_ids` name the payments (Stripe: payment intents) that were made towards it."""

    id: str
    number: str | None
    status: InvoiceStatus
    subscription_id: str | None
    reason: str
    currency: str
    total: int
    amount_paid: int
    amount_remaining: int
    created_at: datetime
    paid_at: datetime | None
    next_attempt_at: datetime | None
    lines: tuple[InvoiceLine, ...]
    payment_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargeReport:
    """One movement of money. `disputed` is the amount that its bank holds or took back: of disputes
    that are open or lost, not of those that were won.
    """

    id: str
    payment_id: str | None
    status: Literal["succeeded", "pending", "failed"]
    amount: int
    refunded: int
    disputed: int
    currency: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class PendingProration:
    """A correction that waits for the next invoice."""

    subscription_id: str
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerReport:
    """Everything about one customer, read now. A deleted one has no subscriptions any more."""

    customer_id: str
    deleted: bool
    subscriptions: tuple[SubscriptionReport, ...]
    invoices: tuple[InvoiceReport, ...]
    charges: tuple[ChargeReport, ...]
    pending: tuple[PendingProration, ...] = ()


@dataclass(frozen=True, slots=True)
class CustomerOrder:
    """`reference` is the person's subject, written on the customer; `key` makes repeats harmless."""

    reference: str
    email: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckoutOrder:
    """`key` is the same for every repeat of one intent, and so are all other fields."""

    key: str
    customer_id: str
    reference: str
    plan: str
    lookup_key: str
    trial_days: int
    success_url: str
    cancel_url: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Checkout:
    """`url` is where to pay, while it is open."""

    id: str
    status: Literal["open", "complete", "expired"]
    url: str | None


@dataclass(frozen=True, slots=True)
class PlanChange:
    """`item_id` of the subscription is to carry the price `lookup_key`."""

    subscription_id: str
    item_id: str
    lookup_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PortalOrder:
    """Where the customer manages everything; with `change`, `cancel` (a subscription's id) or
    `payment_method`, that one step, and then back to `return_url`.
    """

    customer_id: str
    return_url: str
    change: PlanChange | None = None
    cancel: str | None = None
    payment_method: bool = False


@dataclass(frozen=True, slots=True)
class InvoicePages:
    """Links to one invoice: unguessable, short-lived, never stored."""

    customer_id: str
    page_url: str | None
    pdf_url: str | None


@dataclass(frozen=True, slots=True)
class Offer:
    """A price to be had at the service. `product` is the plan's title, `amount` in smallest units."""

    plan: str
    product: str
    lookup_key: str
    amount: int
    currency: str
    interval: Interval


@dataclass(frozen=True, slots=True)
class PublishedThing:
    """One line of what publishing found or did; `ok` is false where somebody must act."""

    ok: bool
    what: str


class Payments(Protocol):
    """Raises of every method: `ProviderUnavailable` (no effect, later perhaps), `OutcomeUnknown` (it may
    have had one; repeat with the same key), `ProviderRejected` (no, and again no), `ProviderNotFound`.
    """

    async def customer(self, order: CustomerOrder) -> str:
        """The id of the customer with this reference, made if there is none."""
        ...

    async def open_checkout(self, order: CheckoutOrder) -> Checkout:
        """Raises `ProviderNotFound` where no active price has the lookup key."""
        ...

    async def get_checkout(self, checkout_id: str) -> Checkout: ...

    async def close_checkout(self, checkout_id: str) -> Checkout:
        """Make sure that nobody can pay it any more; what it answers is complete if somebody has."""
        ...

    async def open_portal(self, order: PortalOrder) -> str:
        """The address of a portal session, to be visited at once and never stored."""
        ...

    async def report(self, customer_id: str) -> CustomerReport: ...

    async def end_subscription(self, subscription_id: str) -> None:
        """Now, with no further charge; one that has ended is fine."""
        ...

    async def customers_of(self, reference: str, email: str) -> list[str]:
        """Those that were made for this person under this address, and were not deleted."""
        ...

    async def delete_customer(self, customer_id: str) -> None:
        """For good, with their subscriptions and payment methods; already deleted is fine. Invoices stay, as
        the law demands of whoever took the money. `ProviderNotFound` for one that this account never had, or
        not in the mode of its key: who was deleted is still known as such.
        """
        ...

    async def customer_of_charge(self, charge_id: str) -> str | None: ...

    async def invoice_pages(self, invoice_id: str) -> InvoicePages: ...

    async def publish(
        self, offers: Sequence[Offer], *, webhook_url: str | None, change: bool
    ) -> list[PublishedThing]:
        """Make products, prices, the portal's configuration and the webhook's endpoint as they should be;
        without `change`, only say what is missing or differs.
        """
        ...

    async def aclose(self) -> None: ...
