"""Invoices, their lines, and previews of invoices to come."""

from typing import Final

from visiona.sandbox.stripe.api.subscriptions import (
    AUTOMATIC_TAX,
    BILLING_MODE,
    CANCEL_AT,
    CHANGED_ITEM,
    COLLECTION_METHOD,
    PRORATION_BEHAVIOR,
    TRIAL_END,
    of_customer,
    refuse_taxes,
)
from visiona.sandbox.stripe.engine.invoice_object import Order
from visiona.sandbox.stripe.errors import invalid
from visiona.sandbox.stripe.paging import CREATED, PAGE, Listing, within
from visiona.sandbox.stripe.params import (
    Array,
    Boolean,
    Choice,
    Field,
    Hash,
    Integer,
    Metadata,
    Params,
    Text,
    exclusive,
    merge_metadata,
)
from visiona.sandbox.stripe.routes import Context, Route
from visiona.sandbox.stripe.store import Obj

_SHARED: Final[dict[str, Field]] = {
    "auto_advance": Boolean(),
    "automatic_tax": AUTOMATIC_TAX,
    "automatically_finalizes_at": Integer(),
    "collection_method": COLLECTION_METHOD,
    "days_until_due": Integer(minimum=0),
    "default_payment_method": Text(),
    "description": Text(max_length=1500),
    "due_date": Integer(),
    "footer": Text(),
    "metadata": Metadata(),
}
_CREATE: Final[dict[str, Field]] = {
    **_SHARED,
    "currency": Text(max_length=3),
    "customer": Text(),
    "pending_invoice_items_behavior": Choice(("exclude", "include")),
    "subscription": Text(),
}
_LIST: Final[dict[str, Field]] = {
    **PAGE,
    "collection_method": COLLECTION_METHOD,
    "created": CREATED,
    "customer": Text(),
    "due_date": CREATED,
    "status": Choice(("draft", "open", "paid", "uncollectible", "void")),
    "subscription": Text(),
}
_PAY: Final[dict[str, Field]] = {
    "forgive": Boolean(),
    "off_session": Boolean(),
    "paid_out_of_band": Boolean(),
    "payment_method": Text(),
}
# A price described in passing would be made, and a preview makes nothing.
_PREVIEWED_ITEM: Final = {name: CHANGED_ITEM[name] for name in CHANGED_ITEM if name != "price_data"}
_PREVIEW: Final[dict[str, Field]] = {
    "automatic_tax": AUTOMATIC_TAX,
    "customer": Text(),
    "preview_mode": Choice(("next", "recurring")),
    "subscription": Text(),
    "subscription_details": Hash(
        {
            "billing_cycle_anchor": Hash({"type": Choice(("now", "unchanged"), required=True)}),
            "billing_mode": BILLING_MODE,
            "cancel_at": CANCEL_AT,
            "cancel_at_period_end": Boolean(),
            "cancel_now": Boolean(),
            "items": Array(Hash(_PREVIEWED_ITEM), maximum=20),
            "metadata": Metadata(),
            "proration_behavior": PRORATION_BEHAVIOR,
            "proration_date": Integer(),
            "trial_end": TRIAL_END,
        }
    ),
}


def create_invoice(ctx: Context, params: Params) -> Obj:
    """A draft made by hand: empty, or with the items that wait for the customer or the subscription."""
    refuse_taxes(params)
    subscription = None
    if "subscription" in params:
        subscription = ctx.store.get("subscription", params["subscription"], param="subscription")
        params.setdefault("customer", subscription["customer"])
    if "customer" not in params:
        raise invalid("Missing required param: customer.", param="customer", code="parameter_missing")
    customer = ctx.engine.books.customer(params["customer"])
    if subscription is not None and subscription["customer"] != customer["id"]:
        raise invalid("The subscription does not belong to this customer.", param="subscription")
    exclusive(params, "days_until_due", "due_date")
    takes = subscription is not None or params.get("pending_invoice_items_behavior") == "include"
    pending: list[Obj] = []
    if takes:
        wanted = subscription["id"] if subscription is not None else None
        pending = ctx.engine.invoices.pending_items(customer["id"], wanted)
    now = ctx.engine.books.now_for(customer)
    order = Order(
        customer=customer,
        reason="manual",
        lines=[],
        period=(now, now),
        subscription=subscription,
        auto_advance=params.get("auto_advance", False),
        finalizes_at=_finalizes_at(ctx, params, now),
        collection_method=params.get("collection_method", "charge_automatically"),
        days_until_due=params.get("days_until_due"),
        currency=params.get("currency", "").lower() or (pending[0]["currency"] if pending else None),
        description=params.get("description"),
        footer=params.get("footer"),
        default_payment_method=_method(ctx, params, customer),
        metadata=merge_metadata({}, params.get("metadata", {})),
    )
    invoice = ctx.engine.invoices.create(order, pending=pending)
    if "due_date" in params:
        invoice["due_date"] = params["due_date"]
        ctx.engine.books.keep(invoice)
    return invoice


def show_invoice(ctx: Context, _: Params) -> Obj:
    return ctx.store.get("invoice", ctx.id)


def update_invoice(ctx: Context, params: Params) -> Obj:
    """Finalized invoices keep everything but notes for the merchant and whether they advance."""
    refuse_taxes(params)
    invoice = ctx.store.get("invoice", ctx.id)
    frozen = sorted(set(params) - {"auto_advance", "description", "expand", "metadata"})
    if invoice["status"] != "draft" and frozen:
        raise invalid(
            f"Finalized invoices can't be updated in this way: {', '.join(frozen)}.",
            param=frozen[0],
            code="invoice_not_editable",
        )
    customer = ctx.engine.books.customer(invoice["customer"])
    with ctx.engine.books.changing(invoice, "invoice.updated"):
        for name in ("auto_advance", "collection_method", "description", "due_date", "footer"):
            if name in params:
                invoice[name] = params[name]
        if "metadata" in params:
            invoice["metadata"] = merge_metadata(invoice["metadata"], params["metadata"])
        if "days_until_due" in params:
            invoice["_days_until_due"] = params["days_until_due"]
        if "default_payment_method" in params:
            invoice["default_payment_method"] = _method(ctx, params, customer)
        if invoice["status"] == "draft" and {"auto_advance", "automatically_finalizes_at"} & set(params):
            now = ctx.engine.books.now_for(invoice)
            invoice["automatically_finalizes_at"] = _finalizes_at(ctx, params, now)
    return invoice


def delete_invoice(ctx: Context, _: Params) -> Obj:
    return ctx.engine.invoices.delete(ctx.store.get("invoice", ctx.id))


def list_invoices(ctx: Context, params: Params) -> list[Obj]:
    return [
        invoice
        for invoice in of_customer(ctx, "invoice", params)
        if params.get("status") in {None, invoice["status"]}
        and params.get("subscription") in {None, invoice["_of_subscription"]}
        and params.get("collection_method") in {None, invoice["collection_method"]}
        and within(invoice["created"], params.get("created"))
        and ("due_date" not in params or within(invoice["due_date"] or 0, params["due_date"]))
    ]


def finalize_invoice(ctx: Context, params: Params) -> Obj:
    invoice = ctx.store.get("invoice", ctx.id)
    return ctx.engine.invoices.finalize(invoice, auto_advance=params.get("auto_advance"))


def pay_invoice(ctx: Context, params: Params) -> Obj:
    invoice = ctx.store.get("invoice", ctx.id)
    if params.get("paid_out_of_band"):
        ctx.engine.collection.require_payable(invoice)
        if invoice["status"] == "draft":
            ctx.engine.invoices.finalize(invoice)
        ctx.engine.invoices.settle(invoice, out_of_band=True)
        return invoice
    method = None
    if "payment_method" in params:
        customer = ctx.engine.books.customer(invoice["customer"])
        method = ctx.engine.payment_methods.of_customer(
            params["payment_method"], customer, param="payment_method"
        )
    return ctx.engine.collection.pay(invoice, method)


def void_invoice(ctx: Context, _: Params) -> Obj:
    return ctx.engine.invoices.void(ctx.store.get("invoice", ctx.id))


def mark_uncollectible(ctx: Context, _: Params) -> Obj:
    return ctx.engine.invoices.mark_uncollectible(ctx.store.get("invoice", ctx.id))


def send_invoice(ctx: Context, _: Params) -> Obj:
    invoice = ctx.store.get("invoice", ctx.id)
    if invoice["collection_method"] != "send_invoice":
        raise invalid(
            "You can only manually send an invoice if its collection method is 'send_invoice'.",
            param="invoice",
        )
    if invoice["status"] == "draft":
        ctx.engine.invoices.finalize(invoice)
    ctx.engine.books.tell("invoice.sent", invoice)
    return invoice


def list_lines(ctx: Context, _: Params) -> Listing:
    return Listing(ctx.store.get("invoice", ctx.id)["_all_lines"])


def preview_invoice(ctx: Context, params: Params) -> Obj:
    """The next invoice of a subscription, or what a change would bring; nothing is kept."""
    refuse_taxes(params)
    details: Obj = params.get("subscription_details", {})
    previews = ctx.engine.subscriptions.previews
    if "subscription" in params:
        subscription = ctx.store.get("subscription", params["subscription"], param="subscription")
        if params.get("customer") not in {None, subscription["customer"]}:
            raise invalid("The subscription does not belong to this customer.", param="subscription")
        return previews.preview(subscription, details)
    if "customer" not in params:
        raise invalid(
            "You must pass either `customer` or `subscription`.", param="customer", code="parameter_missing"
        )
    customer = ctx.engine.books.customer(params["customer"])
    if details.get("items"):
        return previews.of_new({**details, "customer": customer["id"]})
    return previews.next_of(customer)


def _finalizes_at(ctx: Context, params: Params, now: int) -> int | None:
    given: int | None = params.get("automatically_finalizes_at")
    if given is not None or not params.get("auto_advance"):
        return given
    return now + ctx.engine.books.settings.finalize_after_s


def _method(ctx: Context, params: Params, customer: Obj) -> str | None:
    if "default_payment_method" not in params:
        return None
    param = "default_payment_method"
    return str(ctx.engine.payment_methods.of_customer(params[param], customer, param=param)["id"])


ROUTES: Final = [
    Route("POST", "/v1/invoices", _CREATE, create_invoice),
    Route("GET", "/v1/invoices", _LIST, list_invoices),
    Route("POST", "/v1/invoices/create_preview", _PREVIEW, preview_invoice),
    Route("GET", "/v1/invoices/{id}", {}, show_invoice),
    Route("POST", "/v1/invoices/{id}", _SHARED, update_invoice),
    Route("DELETE", "/v1/invoices/{id}", {}, delete_invoice),
    Route("POST", "/v1/invoices/{id}/finalize", {"auto_advance": Boolean()}, finalize_invoice),
    Route("POST", "/v1/invoices/{id}/pay", _PAY, pay_invoice),
    Route("POST", "/v1/invoices/{id}/void", {}, void_invoice),
    Route("POST", "/v1/invoices/{id}/mark_uncollectible", {}, mark_uncollectible),
    Route("POST", "/v1/invoices/{id}/send", {}, send_invoice),
    Route("GET", "/v1/invoices/{id}/lines", PAGE, list_lines),
]
