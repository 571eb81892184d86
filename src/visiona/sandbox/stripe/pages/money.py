"""Amounts for people: each currency with its own number of decimals."""

from typing import Final

_NO_DECIMALS: Final = frozenset(
    {"bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf"}
)
_THREE_DECIMALS: Final = frozenset({"bhd", "jod", "kwd", "omr", "tnd"})
# Stripe counts these in hundredths although nobody uses the hundredths: 500 are five.
_COUNTED_IN_HUNDREDTHS: Final = frozenset({"isk", "ugx"})
_SYMBOLS: Final = {"usd": "$", "eur": "€", "gbp": "£", "jpy": "¥"}


def decimals(currency: str) -> int:
    """How many digits of a minor amount stand behind the decimal point."""
    code = currency.lower()
    if code in _NO_DECIMALS:
        return 0
    return 3 if code in _THREE_DECIMALS else 2


def format_money(amount: int, currency: str) -> str:
    """`$1,234.50`, `¥980`, `KWD 3.500`; a negative amount has a minus sign in front."""
    places = decimals(currency)
    whole, rest = divmod(abs(amount), 10**places)
    number = f"{whole:,}"
    if places and not (currency.lower() in _COUNTED_IN_HUNDREDTHS and rest == 0):
        number += f".{rest:0{places}}"
    symbol = _SYMBOLS.get(currency.lower(), f"{currency.upper()}\N{NO-BREAK SPACE}")
    minus = "\N{MINUS SIGN}" if amount < 0 else ""
    return f"{minus}{symbol}{number}"


def format_interval(interval: str, count: int) -> str:
    """`month`, or `3 months`: what stands behind "per" or "every"."""
    return interval if count == 1 else f"{count} {interval}s"
