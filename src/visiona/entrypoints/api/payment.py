"""Plans, subscriptions and invoices. Money itself moves on the payment service's own pages."""

from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
from litestar import Request, get, post
from litestar.params import JSONBody, PathParameter, QueryParameter
from litestar.response import Redirect

from visiona.billing.model import Plan, Price
from visiona.bootstrap import App
from visiona.core.clock import rfc3339
from visiona.core.errors import NotFound
from visiona.core.money import decimals
from visiona.db.idempotency import IdempotencyKey
from visiona.entrypoints.api.parameters import IdempotencyHeader, Limit
from visiona.entrypoints.api.security import TheApp, actor_of
from visiona.entrypoints.api.views import QuotaView, quota_view
from visiona.payments.model import Invoice, Overview, Subscription
from visiona.ports.payments import Interval, InvoiceStatus

AnyRequest = Request[Any, Any, Any]

_INVOICE_ID = "^[!-~]{1,255}$"
InvoiceId = Annotated[str, PathParameter(pattern=_INVOICE_ID)]
InvoiceCursor = Annotated[
    str | None, QueryParameter(pattern=_INVOICE_ID, description="`next_cursor` of the page before.")
]


class PriceView(msgspec.Struct):
    """`amount` is in the currency's own units, as text: "39.00"."""

    interval: Interval
    amount: str
    currency: str


class PlanView(msgspec.Struct):
    name: str
    title: str
    summary: str
    images: int
    clones: int
    features: list[str]
    trial_days: int
    prices: list[PriceView]


class PlansView(msgspec.Struct):
    """`billing` is off where nothing is sold: everybody has the plan `base`."""

    billing: Literal["on", "off"]
    base: str
    plans: list[PlanView]


class InvoiceView(msgspec.Struct):
    """`invoice_url` and `pdf_url` lead to fresh links at the payment service, for their owner."""

    id: str
    number: str | None
    status: Literal["open", "paid", "partially_refunded", "refunded", "disputed", "uncollectible", "void"]
    amount: str
    currency: str
    created_at: str
    invoice_url: str
    pdf_url: str


class InvoicePage(msgspec.Struct):
    items: list[InvoiceView]
    next_cursor: str | None


class NextInvoiceView(msgspec.Struct):
    amount: str | None
    currency: str
    at: str


class PaymentProblemView(msgspec.Struct):
    """An invoice that could not be collected; `next_attempt_at` is when it is tried again by itself."""

    message: str
    amount: str
    currency: str
    invoice_url: str
    next_attempt_at: str | None


class SubscriptionView(msgspec.Struct):
    """Where the caller stands. Without a subscription, what belongs to one is null."""

    plan: str
    status: str
    interval: Interval | None
    period_start: str | None
    period_end: str | None
    trial_end: str | None
    cancel_at: str | None
    next_plan: str | None
    next_invoice: NextInvoiceView | None
    problem: PaymentProblemView | None
    quota: QuotaView


class SubscribeBody(msgspec.Struct, forbid_unknown_fields=True):
    plan: Annotated[str, msgspec.Meta(max_length=40)]
    interval: Interval = "month"


class PortalBody(msgspec.Struct, forbid_unknown_fields=True):
    """`step` leads straight to one thing; without it the portal opens on its first page."""

    step: Literal["cancel", "payment_method"] | None = None


class CheckoutView(msgspec.Struct):
    checkout_url: str


class PortalView(msgspec.Struct):
    portal_url: str


@get("/api/payment/plans")
async def list_plans(app: TheApp) -> PlansView:
    return plans_view(app)


@get("/api/payment/subscription")
async def get_subscription(app: TheApp, request: AnyRequest) -> SubscriptionView:
    return await subscription_view(app, request)


@post("/api/payment/subscribe", status_code=200)
async def subscribe(
    app: TheApp,
    request: AnyRequest,
    data: JSONBody[SubscribeBody],
    idempotency_key: IdempotencyHeader = None,
) -> CheckoutView:
    """Where to pay for the plan; for whoever has a subscription, where to confirm its change. Sent twice,
    it leads to the same place, and can be paid once.
    """
    key = (
        None
        if idempotency_key is None
        else IdempotencyKey(idempotency_key, "subscribe", msgspec.to_builtins(data))
    )
    user = await app.accounts.me(actor_of(request))
    url = await app.payments.subscribe(actor_of(request), user.email, data.plan, data.interval, key)
    return CheckoutView(url)


@post("/api/payment/portal", status_code=200)
async def portal(app: TheApp, request: AnyRequest, data: JSONBody[PortalBody | None] = None) -> PortalView:
    """Where to change or cancel the subscription, and to look after card and invoices."""
    step = None if data is None else data.step
    return PortalView(await app.payments.portal(actor_of(request), step))


@post("/api/payment/refresh", status_code=202)
async def refresh_subscription(app: TheApp, request: AnyRequest) -> SubscriptionView:
    """Have the account at the payment service read again now, as after a return from its pages."""
    await app.payments.look_again(actor_of(request))
    return await subscription_view(app, request)


@get("/api/payment/invoices")
async def list_invoices(
    app: TheApp, request: AnyRequest, limit: Limit = 20, cursor: InvoiceCursor = None
) -> InvoicePage:
    """Newest first."""
    invoices = await app.payments.invoices(actor_of(request), limit, cursor)
    following = invoices[-1].id if len(invoices) == limit else None
    return InvoicePage([invoice_view(invoice) for invoice in invoices], following)


@get("/api/payment/invoices/{invoice_id:str}", status_code=303)
async def open_invoice(app: TheApp, request: AnyRequest, invoice_id: InvoiceId) -> Redirect:
    """To the invoice's page at the payment service, where an open one can be paid."""
    pages = await app.payments.invoice_pages(actor_of(request), invoice_id)
    return _redirect(pages.page_url)


@get("/api/payment/invoices/{invoice_id:str}/pdf", status_code=303)
async def download_invoice(app: TheApp, request: AnyRequest, invoice_id: InvoiceId) -> Redirect:
    pages = await app.payments.invoice_pages(actor_of(request), invoice_id)
    return _redirect(pages.pdf_url)


def _redirect(url: str | None) -> Redirect:
    if url is None:
        raise NotFound("invoice_not_ready", "This invoice has no page yet. Look again in an hour.")
    return Redirect(url, status_code=303, headers={"Cache-Control": "no-store"})


def plans_view(app: App) -> PlansView:
    catalogue = app.billing.catalogue
    shown = [plan for plan in catalogue if plan.offered and (plan.prices or plan.name == catalogue.base)]
    if not app.payments.enabled:
        shown = [catalogue.find(catalogue.base)]
    return PlansView(
        billing="on" if app.payments.enabled else "off",
        base=catalogue.base,
        plans=[_plan_view(plan, catalogue.currency, sold=app.payments.enabled) for plan in shown],
    )


def _plan_view(plan: Plan, currency: str, *, sold: bool) -> PlanView:
    return PlanView(
        name=plan.name,
        title=plan.title,
        summary=plan.summary,
        images=plan.images,
        clones=plan.clones,
        features=list(plan.features),
        trial_days=plan.trial_days,
        prices=[_price_view(price, currency) for price in plan.prices] if sold else [],
    )


def _price_view(price: Price, currency: str) -> PriceView:
    return PriceView(price.interval, f"{price.amount:.{decimals(currency)}f}", currency)


async def subscription_view(app: App, request: AnyRequest) -> SubscriptionView:
    actor = actor_of(request)
    quota = await app.billing.quota(actor)
    overview = await app.payments.overview(actor)
    subscription = overview.subscription
    live = subscription if subscription is not None and subscription.live else None
    return SubscriptionView(
        plan=quota.plan.name,
        status="none" if subscription is None else subscription.status.value,
        interval=None if live is None else live.interval,
        period_start=None if live is None else rfc3339(live.period_start),
        period_end=None if live is None else rfc3339(live.period_end),
        trial_end=None if live is None or live.trial_end is None else rfc3339(live.trial_end),
        cancel_at=None if live is None or live.cancel_at is None else rfc3339(live.cancel_at),
        next_plan=None if live is None else live.next_plan,
        next_invoice=None if live is None else _next_invoice(live),
        problem=_problem(overview),
        quota=quota_view(quota),
    )


def _next_invoice(subscription: Subscription) -> NextInvoiceView | None:
    if subscription.cancel_at is not None or not subscription.changeable:
        return None
    amount = subscription.next_amount
    return NextInvoiceView(
        amount=None if amount is None else _money(amount),
        currency=subscription.currency,
        at=rfc3339(subscription.period_end),
    )


def _problem(overview: Overview) -> PaymentProblemView | None:
    invoice = overview.problem
    if invoice is None:
        return None
    return PaymentProblemView(
        message="A payment did not go through. Pay the invoice, or change your card, to keep your plan.",
        amount=_money(invoice.amount_remaining),
        currency=invoice.currency,
        invoice_url=f"/api/payment/invoices/{invoice.id}",
        next_attempt_at=None if invoice.next_attempt_at is None else rfc3339(invoice.next_attempt_at),
    )


def invoice_view(invoice: Invoice) -> InvoiceView:
    return InvoiceView(
        id=invoice.id,
        number=invoice.number,
        status=_status(invoice),
        amount=_money(invoice.total),
        currency=invoice.currency,
        created_at=rfc3339(invoice.created_at),
        invoice_url=f"/api/payment/invoices/{invoice.id}",
        pdf_url=f"/api/payment/invoices/{invoice.id}/pdf",
    )


def _status(
    invoice: Invoice,
) -> Literal["open", "paid", "partially_refunded", "refunded", "disputed", "uncollectible", "void"]:
    match invoice.status:
        case InvoiceStatus.UNCOLLECTIBLE:
            return "uncollectible"
        case InvoiceStatus.VOID:
            return "void"
        case InvoiceStatus.PAID if invoice.disputed:
            return "disputed"
        case InvoiceStatus.PAID if invoice.refunded:
            return "refunded" if invoice.refunded >= invoice.amount_paid else "partially_refunded"
        case InvoiceStatus.PAID:
            return "paid"
        case _:
            return "open"


def _money(amount: Decimal) -> str:
    return str(amount)


HANDLERS = [
    list_plans,
    get_subscription,
    subscribe,
    portal,
    refresh_subscription,
    list_invoices,
    open_invoice,
    download_invoice,
]
