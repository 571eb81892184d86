"""Stripe's objects as far as Visiona reads them. What they have beyond that is passed over."""

from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar

import msgspec

T = TypeVar("T")

Seconds = Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799)]
"""Since 1970, up to the year 9999."""

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
Url = Annotated[str, msgspec.Meta(pattern=r"^https?://[!-~]+$", max_length=8192)]
Metadata = dict[str, str]


class UnusableAnswerError(Exception):
    """Stripe answered with something else. The text names the place, never the content."""


class Expanded(msgspec.Struct):
    id: Id


Reference = Id | Expanded
"""Of another object: its id, or the object itself where it was expanded."""


class Listing(msgspec.Struct, Generic[T]):
    """A list inside an object: its first entries, and whether there are more."""

    data: list[T]
    has_more: bool = False


class Page(msgspec.Struct):
    """One page of a list that was asked for."""

    data: list[dict[str, Any]]
    has_more: bool


class Customer(msgspec.Struct):
    id: Id
    deleted: bool = False
    metadata: Metadata | None = None


class Canceled(msgspec.Struct):
    """A subscription whose state is all that is asked for."""

    id: Id
    status: str


class Recurring(msgspec.Struct):
    interval: str
    interval_count: int = 1


class Price(msgspec.Struct):
    id: Id
    currency: str
    product: Reference
    active: bool = True
    lookup_key: str | None = None
    unit_amount: int | None = None
    recurring: Recurring | None = None
    metadata: Metadata | None = None


class Item(msgspec.Struct):
    id: Id
    price: Price
    current_period_start: Seconds
    current_period_end: Seconds


class PhaseItem(msgspec.Struct):
    price: Reference


class Phase(msgspec.Struct):
    start_date: Seconds
    items: list[PhaseItem]


class CurrentPhase(msgspec.Struct):
    end_date: Seconds


class Schedule(msgspec.Struct):
    id: Id
    phases: list[Phase]
    current_phase: CurrentPhase | None = None


class Subscription(msgspec.Struct):
    id: Id
    status: str
    created: Seconds
    items: Listing[Item]
    cancel_at: Seconds | None = None
    cancel_at_period_end: bool = False
    ended_at: Seconds | None = None
    trial_end: Seconds | None = None
    schedule: Id | Schedule | None = None


class SubscriptionParent(msgspec.Struct):
    """`subscription_details` of an invoice or a pending item."""

    subscription: Reference | None = None


class Parent(msgspec.Struct):
    subscription_details: SubscriptionParent | None = None


class LineDetails(msgspec.Struct):
    proration: bool = False


class LineParent(msgspec.Struct):
    subscription_item_details: LineDetails | None = None
    invoice_item_details: LineDetails | None = None


class PriceDetails(msgspec.Struct):
    price: Reference


class Pricing(msgspec.Struct):
    price_details: PriceDetails | None = None


class Period(msgspec.Struct):
    start: Seconds
    end: Seconds


class Line(msgspec.Struct):
    amount: int
    period: Period
    parent: LineParent | None = None
    pricing: Pricing | None = None


class Payment(msgspec.Struct):
    payment_intent: Reference | None = None


class InvoicePayment(msgspec.Struct):
    payment: Payment


class StatusTransitions(msgspec.Struct):
    paid_at: Seconds | None = None


class Invoice(msgspec.Struct):
    id: Id
    currency: str
    total: int
    amount_paid: int
    amount_remaining: int
    created: Seconds
    lines: Listing[Line]
    status_transitions: StatusTransitions
    number: str | None = None
    status: str | None = None
    billing_reason: str | None = None
    next_payment_attempt: Seconds | None = None
    parent: Parent | None = None
    payments: Listing[InvoicePayment] | None = None


class InvoiceLinks(msgspec.Struct):
    customer: Reference
    hosted_invoice_url: Url | None = None
    invoice_pdf: Url | None = None


class InvoicePreview(msgspec.Struct):
    amount_due: int


class PendingItem(msgspec.Struct):
    amount: int
    proration: bool = False
    parent: Parent | None = None


class Charge(msgspec.Struct):
    id: Id
    status: str
    amount: int
    amount_refunded: int
    currency: str
    created: Seconds
    disputed: bool
    payment_intent: Reference | None = None


class ChargeOwner(msgspec.Struct):
    customer: Reference | None = None


class Dispute(msgspec.Struct):
    amount: int
    status: str


class Session(msgspec.Struct):
    """A Checkout session."""

    id: Id
    status: str
    url: Url | None = None


class PortalSession(msgspec.Struct):
    url: Url


class Made(msgspec.Struct):
    """Whatever was made or changed, where only its id matters."""

    id: Id


def read(answer: object, shape: type[T]) -> T:
    """Raises `UnusableAnswerError`. `answer` is an SDK object, or what its `to_dict` gave."""
    as_dict = getattr(answer, "to_dict", None)
    try:
        return msgspec.convert(answer if as_dict is None else as_dict(), shape)
    except msgspec.ValidationError as error:
        raise UnusableAnswerError(f"{shape.__name__}: {error}") from None


def id_of(reference: str | Expanded) -> str:
    return reference if isinstance(reference, str) else reference.id


def moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
