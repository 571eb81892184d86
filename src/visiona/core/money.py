"""Amounts of money: in a currency's own units for people and records, in its smallest for payments.

Decimals are those by which Stripe counts: https://docs.stripe.com/currencies (zero-decimal and
three-decimal currencies; ISK and UGX have no smaller unit, but are counted in hundredths there).
"""

from decimal import Decimal

_ZERO_DECIMAL = frozenset(
    "bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf".split()  # noqa: SIM905 - a table
)
_THREE_DECIMAL = frozenset({"bhd", "jod", "kwd", "omr", "tnd"})


def decimals(currency: str) -> int:
    """How many digits after the point an amount of this currency has where payments are counted."""
    code = currency.lower()
    if code in _ZERO_DECIMAL:
        return 0
    return 3 if code in _THREE_DECIMAL else 2


def own_units(amount: int, currency: str) -> Decimal:
    """1050 cents are 10.50 dollars; 1050 yen are 1050 yen."""
    return Decimal(amount).scaleb(-decimals(currency))


def smallest_units(amount: Decimal, currency: str) -> int | None:
    """The other way; None for what the currency cannot express, such as half a yen."""
    scaled = amount.scaleb(decimals(currency))
    return int(scaled) if scaled == scaled.to_integral_value() else None


def format_money(amount: Decimal, currency: str) -> str:
    """For people: `$39.00`, `€39.00`, `¥500`, `CHF 39.00`."""
    symbol = {"usd": "$", "eur": "€", "gbp": "£", "jpy": "¥"}.get(currency.lower())
    sign = "-" if amount < 0 else ""
    number = f"{abs(amount):,.{decimals(currency)}f}"
    return f"{sign}{symbol}{number}" if symbol else f"{sign}{currency.upper()} {number}"
