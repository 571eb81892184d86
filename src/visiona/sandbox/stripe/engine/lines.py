"""Lines of invoices, and the pending invoice items that become lines of the next one."""

from dataclasses import dataclass, field
from typing import Any

from visiona.sandbox.stripe.ids import new_id
from visiona.sandbox.stripe.store import Obj


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line before it has an id. `item` is the subscription item that it bills.

    `credited` names what a credit gives back: an invoice and its lines, or a pending invoice item.
    `net` is the amount after discounts, known when the line has been put on an invoice.
    """

    amount: int
    currency: str
    description: str | None
    start: int
    end: int
    price: Obj | None = None
    quantity: int | None = 1
    subscription: str | None = None
    item: str | None = None
    invoice_item: str | None = None
    proration: bool = False
    credited: Obj | None = None
    discountable: bool = True
    metadata: dict[str, str] = field(default_factory=dict[str, str])


def line_object(line: Line, invoice_id: str | None) -> Obj:
    """The line as it stands on an invoice."""
    return {
        "id": new_id("il"),
        "object": "line_item",
        "amount": line.amount,
        "currency": line.currency,
        "description": line.description,
        "discount_amounts": [],
        "discountable": line.discountable,
        "discounts": [],
        "invoice": invoice_id,
        "livemode": False,
        "metadata": dict(line.metadata),
        "parent": _parent(line),
        "period": {"end": line.end, "start": line.start},
        "pretax_credit_amounts": [],
        "pricing": _pricing(line.price, line.amount, line.quantity),
        "quantity": line.quantity,
        "quantity_decimal": str(line.quantity),
        "subscription": line.subscription,
        "subtotal": line.amount,
        "taxes": [],
    }


def invoice_item_object(line: Line, customer: Obj, now: int) -> Obj:
    """The line as an invoice item that waits for an invoice."""
    parent = {
        "subscription_details": {"subscription": line.subscription, "subscription_item": line.item},
        "type": "subscription_details",
    }
    return {
        "id": new_id("ii"),
        "object": "invoiceitem",
        "amount": line.amount,
        "currency": line.currency,
        "customer": customer["id"],
        "customer_account": None,
        "date": now,
        "description": line.description,
        "discountable": line.discountable,
        "discounts": [],
        "invoice": None,
        "livemode": False,
        "metadata": dict(line.metadata),
        "net_amount": line.amount,
        "parent": parent if line.subscription is not None else None,
        "period": {"end": line.end, "start": line.start},
        "pricing": _pricing(line.price, line.amount, line.quantity),
        "proration": line.proration,
        "proration_details": {"credited_items": line.credited, "discount_amounts": []}
        if line.proration
        else None,
        "quantity": line.quantity,
        "quantity_decimal": str(line.quantity),
        "tax_rates": [],
        "test_clock": customer["test_clock"],
    }


def line_of_item(item: Obj) -> Line:
    """The line that a pending invoice item becomes. Its price is known by id only."""
    parent: Obj = item["parent"] or {}
    details: Obj = parent.get("subscription_details") or {}
    pricing: Obj = item["pricing"]
    price: Obj | None = pricing["price_details"]
    proration_details: Obj = item["proration_details"] or {}
    return Line(
        amount=item["amount"],
        currency=item["currency"],
        description=item["description"],
        start=item["period"]["start"],
        end=item["period"]["end"],
        price={
            "id": price["price"],
            "product": price["product"],
            "unit_amount_decimal": pricing["unit_amount_decimal"],
        }
        if price
        else None,
        quantity=item["quantity"],
        subscription=details.get("subscription"),
        item=details.get("subscription_item"),
        invoice_item=item["id"],
        proration=item["proration"],
        credited=proration_details.get("credited_items"),
        discountable=item["discountable"],
        metadata=item["metadata"],
    )


def newest_first(dated: list[tuple[int, Line]]) -> list[Line]:
    """The lines of pending items with their dates, as an invoice shows them; what came together stays so."""
    return [line for _, line in sorted(dated, key=lambda entry: -entry[0])]


def lines_of_items(items: list[Obj]) -> list[Line]:
    """What pending items become on an invoice."""
    return newest_first([(item["date"], line_of_item(item)) for item in items])


def _parent(line: Line) -> Obj:
    proration_details = {"credited_items": _billed_part(line.credited)} if line.proration else None
    if line.item is not None:
        return {
            "invoice_item_details": None,
            "subscription_item_details": {
                "invoice_item": line.invoice_item,
                "proration": line.proration,
                "proration_details": proration_details,
                "subscription": line.subscription,
                "subscription_item": line.item,
            },
            "type": "subscription_item_details",
        }
    return {
        "invoice_item_details": {
            "invoice_item": line.invoice_item,
            "proration": line.proration,
            "proration_details": proration_details,
            "subscription": line.subscription,
        },
        "subscription_item_details": None,
        "type": "invoice_item_details",
    }


def _billed_part(credited: Obj | None) -> Any:
    return credited["invoice_line_item_details"] if credited is not None else None


def _pricing(price: Obj | None, amount: int, quantity: int | None) -> Obj:
    if price is None:
        unit = amount // quantity if quantity and amount % quantity == 0 else amount
        return {"price_details": None, "type": "price_details", "unit_amount_decimal": str(unit)}
    return {
        "price_details": {"price": price["id"], "product": price["product"]},
        "type": "price_details",
        "unit_amount_decimal": str(price["unit_amount_decimal"]),
    }
