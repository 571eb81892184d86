"""The merchant's own balance: what each movement of money brought or cost."""

from typing import Final

from visiona.sandbox.stripe.engine.books import Books
from visiona.sandbox.stripe.engine.calendar import DAY_S
from visiona.sandbox.stripe.engine.money import share
from visiona.sandbox.stripe.ids import new_id
from visiona.sandbox.stripe.store import Obj

_FEE_PER_MILLE: Final = 29
_FEE_FIXED: Final = 30
_AVAILABLE_AFTER_DAYS: Final = 2

_CATEGORIES: Final = {
    "charge": "charge",
    "refund": "refund",
    "refund_failure": "refund_failure",
    "adjustment": "dispute",
}


def charge_fee(amount: int) -> int:
    return share(amount, _FEE_PER_MILLE, 1000) + _FEE_FIXED


def record(
    books: Books, kind: str, source: Obj, amount: int, *, fee: int = 0, description: str | None = None
) -> Obj:
    """A balance transaction of `kind` for `source` (a charge, refund or dispute)."""
    now = books.now_for(source)
    details = {
        "amount": fee,
        "application": None,
        "currency": source["currency"],
        "description": "Dispute fee" if kind == "adjustment" else "Stripe processing fees",
        "type": "stripe_fee",
    }
    return books.add(
        {
            "id": new_id("txn"),
            "object": "balance_transaction",
            "amount": amount,
            "available_on": now + _AVAILABLE_AFTER_DAYS * DAY_S,
            "balance_type": "payments",
            "created": now,
            "currency": source["currency"],
            "description": description,
            "exchange_rate": None,
            "fee": fee,
            "fee_details": [details] if fee else [],
            "net": amount - fee,
            "reporting_category": _CATEGORIES[kind],
            "source": source["id"],
            "status": "pending",
            "type": kind,
        }
    )
