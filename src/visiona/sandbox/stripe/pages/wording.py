"""How the pages write amounts, intervals and dates."""

from datetime import UTC, datetime

from visiona.core.money import format_money, own_units


def format_amount(amount: int, currency: str) -> str:
    """An amount in the currency's smallest unit: `$1,234.50`, `¥980`, `KWD 3.500`."""
    return format_money(own_units(amount, currency), currency)


def format_interval(interval: str, count: int) -> str:
    """`month`, or `3 months`: what stands behind "per" or "every"."""
    return interval if count == 1 else f"{count} {interval}s"


def format_date(at: int) -> str:
    """`23 November 2026`, in UTC, for unix seconds."""
    moment = datetime.fromtimestamp(at, UTC)
    return f"{moment.day} {moment:%B %Y}"
