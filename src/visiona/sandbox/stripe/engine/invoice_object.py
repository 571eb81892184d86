"""What an invoice looks like when it is made, and how its sums follow from its lines."""

from dataclasses import dataclass, field
from typing import Any, Final

from visiona.sandbox.stripe.engine.lines import Line, line_object
from visiona.sandbox.stripe.engine.settings import BillingSettings
from visiona.sandbox.stripe.ids import new_id
from visiona.sandbox.stripe.store import Obj

_SHOWN_LINES: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """An invoice to be made. `period` is the window that it looks back on.

    `finalizes_at` is None for one that is finalized at once or by hand. `proration_date` is kept for
    invoices about a change within a period.
    """

    customer: Obj
    reason: str
    lines: list[Line]
    period: tuple[int, int]
    subscription: Obj | None = None
    auto_advance: bool = True
    finalizes_at: int | None = None
    collection_method: str = "charge_automatically"
    days_until_due: int | None = None
    currency: str | None = None
    description: str | None = None
    footer: str | None = None
    default_payment_method: str | None = None
    metadata: dict[str, str] = field(default_factory=dict[str, str])


def invoice_object(order: Order, now: int, settings: BillingSettings) -> Obj:
    """A draft. Everything that a preview shares with a real invoice."""
    customer, subscription = order.customer, order.subscription
    id_ = new_id("in")
    invoice: Obj = {
        "id": id_,
        "object": "invoice",
        "account_country": settings.country,
        "account_name": settings.merchant,
        "account_tax_ids": None,
        "amount_due": 0,
        "amount_overpaid": 0,
        "amount_paid": 0,
        "amount_paid_off_stripe": 0,
        "amount_remaining": 0,
        "amount_shipping": 0,
        "application": None,
        "attempt_count": 0,
        "attempted": False,
        "auto_advance": order.auto_advance,
        "automatic_tax": {
            "disabled_reason": None,
            "enabled": False,
            "liability": None,
            "provider": None,
            "status": None,
        },
        "automatically_finalizes_at": order.finalizes_at,
        "billing_reason": order.reason,
        "collection_method": order.collection_method,
        "created": now,
        "currency": order.currency or _currency(order),
        "custom_fields": None,
        "customer": customer["id"],
        "customer_account": None,
        "customer_address": customer["address"],
        "customer_email": customer["email"],
        "customer_name": customer["name"],
        "customer_phone": customer["phone"],
        "customer_shipping": customer["shipping"],
        "customer_tax_exempt": customer["tax_exempt"],
        "customer_tax_ids": [],
        "default_payment_method": order.default_payment_method,
        "default_source": None,
        "default_tax_rates": [],
        "description": order.description,
        "discounts": [],
        "due_date": None,
        "effective_at": None,
        "ending_balance": None,
        "footer": order.footer,
        "from_invoice": None,
        "hosted_invoice_url": None,
        "invoice_pdf": None,
        "issuer": {"type": "self"},
        "last_finalization_error": None,
        "latest_revision": None,
        "lines": {},
        "livemode": False,
        "metadata": dict(order.metadata),
        "next_payment_attempt": order.finalizes_at if _charges(order) else None,
        "number": None,
        "on_behalf_of": None,
        "parent": _parent(subscription),
        "payment_settings": {
            "default_mandate": None,
            "payment_method_options": None,
            "payment_method_types": None,
        },
        "period_end": order.period[1],
        "period_start": order.period[0],
        "post_payment_credit_notes_amount": 0,
        "pre_payment_credit_notes_amount": 0,
        "receipt_number": None,
        "rendering": None,
        "shipping_cost": None,
        "shipping_details": None,
        "starting_balance": customer["balance"],
        "statement_descriptor": None,
        "status": "draft",
        "status_details": None,
        "status_transitions": {
            "finalized_at": None,
            "marked_uncollectible_at": None,
            "paid_at": None,
            "voided_at": None,
        },
        "subtotal": 0,
        "subtotal_excluding_tax": 0,
        "test_clock": customer["test_clock"],
        "threshold_reason": None,
        "total": 0,
        "total_discount_amounts": [],
        "total_excluding_tax": 0,
        "total_pretax_credit_amounts": [],
        "total_taxes": [],
        "webhooks_delivered_at": now,
        "_all_lines": [line_object(line, id_) for line in order.lines],
        "_confirmation_secret": None,
        "_days_until_due": order.days_until_due,
        "_of_subscription": subscription["id"] if subscription else None,
        "_payments": {
            "object": "list",
            "data": [],
            "has_more": False,
            "url": f"/v1/invoice_payments?invoice={id_}",
        },
    }
    sum_up(invoice)
    return invoice


def sum_up(invoice: Obj) -> None:
    """Work out the sums of a draft from its lines; the first ten lines are shown within it."""
    lines: list[Obj] = invoice["_all_lines"]
    subtotal = sum(line["amount"] for line in lines)
    discounted = sum(item["amount"] for line in lines for item in line["discount_amounts"])
    total = subtotal - discounted
    due = max(0, total + invoice["starting_balance"])
    invoice |= {
        "amount_due": due,
        "amount_remaining": due,
        "lines": {
            "object": "list",
            "data": lines[:_SHOWN_LINES],
            "has_more": len(lines) > _SHOWN_LINES,
            "url": f"/v1/invoices/{invoice['id']}/lines",
        },
        "subtotal": subtotal,
        "subtotal_excluding_tax": subtotal,
        "total": total,
        "total_excluding_tax": total,
    }


def subscription_of(invoice: Obj) -> str | None:
    return invoice["_of_subscription"]


def _charges(order: Order) -> bool:
    return order.auto_advance and order.collection_method == "charge_automatically"


def _currency(order: Order) -> str:
    if order.subscription is not None:
        return order.subscription["currency"]
    known: Any = order.lines[0].currency if order.lines else order.customer["currency"]
    return known or "usd"


def _parent(subscription: Obj | None) -> Obj | None:
    if subscription is None:
        return None
    return {
        "quote_details": None,
        "subscription_details": {
            "metadata": dict(subscription["metadata"]),
            "subscription": subscription["id"],
        },
        "type": "subscription_details",
    }
