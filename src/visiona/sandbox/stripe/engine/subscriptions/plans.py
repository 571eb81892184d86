"""What a change of items comes to: credit for time that was paid and not used, and what the rest costs.

Nothing here touches the records, so that a preview and the change itself give the same lines.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from visiona.sandbox.stripe.engine.calendar import spoken_date
from visiona.sandbox.stripe.engine.lines import Line
from visiona.sandbox.stripe.engine.money import price_amount, share
from visiona.sandbox.stripe.engine.prices import spoken_price
from visiona.sandbox.stripe.engine.subscriptions.objects import (
    Span,
    debits_of,
    is_flexible,
    items_of,
    period_from,
    period_of,
    whole_period,
)
from visiona.sandbox.stripe.store import Obj

NameOf = Callable[[Obj], str]
_TIMES: Final = "\N{MULTIPLICATION SIGN}"


@dataclass(frozen=True, slots=True)
class Change:
    """`prorations` are credits and the charges beside them; `full` are the lines of a new period.

    `begins` is true where the change starts a new period (which is billed at once), anchored at `anchor`.
    `at` is the moment from which prorations count.
    """

    items: list[Obj]
    prorations: list[Line]
    full: list[Line]
    begins: bool
    anchor: int
    period: Span
    at: int


def plan_change(
    subscription: Obj, items: list[Obj], *, at: int, now: int, reset: bool, prorate: bool, name_of: NameOf
) -> Change:
    """Change a running period's items to `items`. A different interval always begins a new period, and so
    does a price where there was none.
    """
    old_items = items_of(subscription)
    begins = reset or _rhythm(old_items) != _rhythm(items) or (_are_free(old_items) and not _are_free(items))
    anchor = now if begins else subscription["billing_cycle_anchor"]
    period = period_from(anchor, items[0]["price"], now) if begins else period_of(subscription)
    after = {item["id"]: item for item in items}
    before = {item["id"]: item for item in old_items}
    lines: list[Line] = []
    for item in old_items:
        if prorate and (begins or _differs(item, after.get(item["id"]))):
            lines += unused(subscription, item, at, name_of)
    for item in items:
        if prorate and not begins and _differs(item, before.get(item["id"])):
            lines.append(_remaining(subscription, item, Span(at, period.end), name_of))
    full = full_lines(subscription, items, period, anchor, name_of) if begins else []
    return Change(items, lines, full, begins, anchor, period, at)


def unused(subscription: Obj, item: Obj, at: int, name_of: NameOf) -> list[Line]:
    """The credit for an item's time after `at`; nothing where nothing was charged for it.

    In flexible billing mode it is a share of what was really charged, in classic mode of today's price.
    """
    end: int = item["current_period_end"]
    if is_flexible(subscription):
        debits = [debit for debit in debits_of(subscription, item["id"]) if debit["end"] > at]
    else:
        debits = [_debit_at_price(item)]
    amount = sum(
        share(debit["amount"], debit["end"] - max(at, debit["start"]), debit["end"] - debit["start"])
        for debit in debits
    )
    if amount == 0:
        return []
    return [
        Line(
            amount=-amount,
            currency=subscription["currency"],
            description=f"Unused time on {_counted(item, name_of)} after {spoken_date(at)}",
            start=at,
            end=end,
            price=item["price"],
            quantity=item["quantity"],
            subscription=subscription["id"],
            item=item["id"],
            proration=True,
            credited=_credited(debits),
            discountable=False,
        )
    ]


def full_lines(subscription: Obj, items: list[Obj], period: Span, anchor: int, name_of: NameOf) -> list[Line]:
    """One line for each item, the newest first; a period shorter than its interval costs its share."""
    lines: list[Line] = []
    for item in sorted(items, key=lambda item: -item["created"]):
        whole = whole_period(anchor, item["price"], period.start)
        amount = price_amount(item["price"], item["quantity"])
        if period != whole:
            amount = share(amount, period.end - period.start, whole.end - whole.start)
        description = (
            f"{item['quantity']} {_TIMES} {name_of(item['price'])} (at {spoken_price(item['price'])})"
        )
        lines.append(_line(subscription, item, amount, description, period))
    return lines


def trial_lines(subscription: Obj, items: list[Obj], period: Span, name_of: NameOf) -> list[Line]:
    return [
        _line(subscription, item, 0, f"Trial period for {name_of(item['price'])}", period) for item in items
    ]


def _line(subscription: Obj, item: Obj, amount: int, description: str, period: Span) -> Line:
    return Line(
        amount=amount,
        currency=subscription["currency"],
        description=description,
        start=period.start,
        end=period.end,
        price=item["price"],
        quantity=item["quantity"],
        subscription=subscription["id"],
        item=item["id"],
        metadata=dict(subscription["metadata"]),
    )


def _remaining(subscription: Obj, item: Obj, rest: Span, name_of: NameOf) -> Line:
    whole = whole_period(subscription["billing_cycle_anchor"], item["price"], rest.start)
    amount = share(
        price_amount(item["price"], item["quantity"]), rest.end - rest.start, whole.end - whole.start
    )
    return Line(
        amount=amount,
        currency=subscription["currency"],
        description=f"Remaining time on {_counted(item, name_of)} after {spoken_date(rest.start)}",
        start=rest.start,
        end=rest.end,
        price=item["price"],
        quantity=item["quantity"],
        subscription=subscription["id"],
        item=item["id"],
        proration=True,
    )


def _differs(item: Obj, other: Obj | None) -> bool:
    return (
        other is None or item["price"]["id"] != other["price"]["id"] or item["quantity"] != other["quantity"]
    )


def _are_free(items: list[Obj]) -> bool:
    """Whether all prices are zero; a quantity of zero does not make an item free in this sense."""
    return all(price_amount(item["price"], 1) == 0 for item in items)


def _rhythm(items: list[Obj]) -> tuple[str, int]:
    recurring = items[0]["price"]["recurring"]
    return recurring["interval"], recurring["interval_count"]


def _counted(item: Obj, name_of: NameOf) -> str:
    name = name_of(item["price"])
    return name if item["quantity"] == 1 else f"{item['quantity']} {_TIMES} {name}"


def _debit_at_price(item: Obj) -> Obj:
    return {
        "amount": price_amount(item["price"], item["quantity"]),
        "start": item["current_period_start"],
        "end": item["current_period_end"],
    }


def _credited(debits: list[Obj]) -> Obj | None:
    """Where the credited time was charged; known once it stands on an invoice."""
    lines = [debit["line"] for debit in debits if debit.get("line")]
    if not lines:
        return None
    return {
        "invoice_item": None,
        "invoice_line_item_details": {"invoice": debits[-1]["invoice"], "invoice_line_items": lines},
        "type": "invoice_line_items",
    }
