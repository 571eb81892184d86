"""What the hosted pages show: plain values, amounts in minor units, times in unix seconds."""

from dataclasses import dataclass
from typing import Literal

Interval = Literal["day", "week", "month", "year"]


@dataclass(frozen=True, slots=True)
class CheckoutView:
    """One checkout session.

    `amount` is what is due today; `recurring_amount` is what each period costs after a trial.
    `interval` is None in payment and setup mode. `challenge` is true while a bank's question is open.
    """

    session_id: str
    merchant: str
    product: str
    description: str | None
    amount: int
    recurring_amount: int
    currency: str
    interval: Interval | None
    interval_count: int | None
    trial_days: int | None
    email: str | None
    status: Literal["open", "complete", "expired"]
    success_url: str | None
    cancel_url: str | None
    expires_at: int
    challenge: bool
    locale: str | None


@dataclass(frozen=True, slots=True)
class PriceView:
    """`name` is the product's; `amount` is for one unit and one interval."""

    id: str
    name: str
    description: str | None
    amount: int
    currency: str
    interval: Interval
    interval_count: int


@dataclass(frozen=True, slots=True)
class ScheduledChangeView:
    """Another price from `at` on."""

    price: PriceView
    at: int


@dataclass(frozen=True, slots=True)
class SubscriptionView:
    """`ends_at` is when a requested cancellation takes effect."""

    id: str
    item_id: str
    price: PriceView
    quantity: int
    status: str
    current_period_start: int
    current_period_end: int
    cancel_at_period_end: bool
    ends_at: int | None
    trial_end: int | None
    scheduled: ScheduledChangeView | None


@dataclass(frozen=True, slots=True)
class CardView:
    brand: str
    last4: str
    exp_month: int
    exp_year: int


@dataclass(frozen=True, slots=True)
class InvoiceView:
    """`payable` is true for an open invoice with something left to pay."""

    id: str
    number: str | None
    status: str
    amount: int
    currency: str
    created: int
    hosted_invoice_url: str | None
    invoice_pdf: str | None
    payable: bool


@dataclass(frozen=True, slots=True)
class FlowView:
    """A deep link into one task; `price_id` is given for `subscription_update_confirm` only.

    `completed` is true once the task has been done; `redirect_url` is where it then leads.
    """

    type: str
    subscription_id: str | None
    price_id: str | None
    redirect_url: str | None
    completed: bool


@dataclass(frozen=True, slots=True)
class PortalView:
    """A portal session; the `can_...` flags come from its configuration.

    `prices` are those that the subscription may change to, without its own. `challenge` is true while a
    bank's question is open. `cancels_at_period_end` is false where cancelling ends things at once.
    """

    session_id: str
    merchant: str
    headline: str | None
    customer_id: str
    customer_email: str | None
    customer_name: str | None
    subscription: SubscriptionView | None
    prices: tuple[PriceView, ...]
    card: CardView | None
    invoices: tuple[InvoiceView, ...]
    return_url: str | None
    flow: FlowView | None
    locale: str | None
    can_change_price: bool
    can_cancel: bool
    cancels_at_period_end: bool
    can_change_card: bool
    shows_invoices: bool
    challenge: bool


@dataclass(frozen=True, slots=True)
class PreviewLine:
    description: str
    amount: int


@dataclass(frozen=True, slots=True)
class ChangePreview:
    """What changing to a price would do.

    `applies_at` is None for a change that takes effect at once. `due_now` is charged at once; a
    negative total stays as credit (`credit`, positive). `next_amount` is due at `next_at`.
    """

    price: PriceView
    applies_at: int | None
    due_now: int
    credit: int
    currency: str
    lines: tuple[PreviewLine, ...]
    next_amount: int
    next_at: int


@dataclass(frozen=True, slots=True)
class HostedInvoiceView:
    """The page behind `hosted_invoice_url`; `card` is the one that `pay` without a card uses."""

    id: str
    merchant: str
    number: str | None
    status: str
    currency: str
    total: int
    amount_due: int
    amount_paid: int
    amount_remaining: int
    created: int
    paid_at: int | None
    customer_name: str | None
    customer_email: str | None
    lines: tuple[PreviewLine, ...]
    card: CardView | None
    payable: bool
    challenge: bool
