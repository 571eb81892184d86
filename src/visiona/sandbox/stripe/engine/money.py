"""Amounts: integers in the currency's smallest unit."""

from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final

_NO_DECIMALS: Final = frozenset(
    ("bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf")
)
_SMALLEST_CHARGE: Final = {
    "aed": 200, "bgn": 100, "czk": 1500, "dkk": 250, "gbp": 30, "hkd": 400, "huf": 17500, "jpy": 50,
    "mxn": 1000, "myr": 200, "nok": 300, "pln": 200, "ron": 200, "sek": 300, "thb": 1000,
}  # fmt: skip


def price_amount(price: dict[str, Any], quantity: int) -> int:
    """What `quantity` units cost for one whole interval, rounded half up."""
    if price["unit_amount"] is not None:
        return int(price["unit_amount"]) * quantity
    exact = Decimal(price["unit_amount_decimal"]) * quantity
    return int(exact.quantize(Decimal(1), ROUND_HALF_UP))


def share(amount: int, part: int, whole: int) -> int:
    """`amount * part / whole`, rounded to the nearest unit, halves away from zero."""
    if whole <= 0:
        return 0
    sign = -1 if amount < 0 else 1
    return sign * ((abs(amount) * part * 2 + whole) // (2 * whole))


def smallest_charge(currency: str) -> int:
    """An amount below this cannot be charged: it waits on the customer's balance."""
    return _SMALLEST_CHARGE.get(currency, 50)


def spoken_amount(amount: int, currency: str) -> str:
    """`$12.50` or `12.50 eur`, for error messages."""
    text = str(amount) if currency in _NO_DECIMALS else f"{amount / 100:.2f}"
    return f"${text}" if currency == "usd" else f"{text} {currency}"
