"""Amounts between what people read and what payment services count."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visiona.core.money import decimals, format_money, own_units, smallest_units

# Of each kind, as Stripe counts them: https://docs.stripe.com/currencies#zero-decimal
CURRENCIES = {
    "usd": 2,
    "eur": 2,
    "huf": 2,
    "jpy": 0,
    "krw": 0,
    "clp": 0,
    "kwd": 3,
    "tnd": 3,
    "isk": 2,
    "ugx": 2,
}

AMOUNTS = st.integers(-(10**12), 10**12)


@pytest.mark.parametrize(("currency", "expected"), CURRENCIES.items())
def test_decimals_are_those_by_which_payments_are_counted(currency: str, expected: int) -> None:
    assert decimals(currency) == decimals(currency.upper()) == expected


@pytest.mark.parametrize(
    ("amount", "currency", "expected"),
    [
        (1050, "usd", "10.50"),
        (1050, "jpy", "1050"),
        (1050, "kwd", "1.050"),
        (1, "eur", "0.01"),
        (1, "bhd", "0.001"),
        (0, "usd", "0.00"),
        (-3900, "usd", "-39.00"),
        (99_999_999, "usd", "999999.99"),
    ],
)
def test_an_amount_in_its_own_units(amount: int, currency: str, expected: str) -> None:
    assert str(own_units(amount, currency)) == expected
    assert smallest_units(Decimal(expected), currency) == amount


@pytest.mark.parametrize(
    ("amount", "currency", "expected"),
    [
        ("39", "usd", 3900),
        ("39.0", "usd", 3900),
        ("39.900", "usd", 3990),
        ("3.9E+1", "usd", 3900),
        ("39.001", "usd", None),
        ("0.5", "jpy", None),
        ("500.0", "jpy", 500),
        ("1.234", "kwd", 1234),
        ("1.2345", "kwd", None),
    ],
)
def test_an_amount_in_smallest_units_is_exact_or_none(
    amount: str, currency: str, expected: int | None
) -> None:
    assert smallest_units(Decimal(amount), currency) == expected


@given(AMOUNTS, st.sampled_from(sorted(CURRENCIES)))
def test_there_and_back(amount: int, currency: str) -> None:
    assert smallest_units(own_units(amount, currency), currency) == amount


@given(AMOUNTS, AMOUNTS, st.sampled_from(sorted(CURRENCIES)))
def test_sums_are_the_same_in_both(one: int, other: int, currency: str) -> None:
    assert own_units(one, currency) + own_units(other, currency) == own_units(one + other, currency)


@pytest.mark.parametrize(
    ("amount", "currency", "expected"),
    [
        ("39", "usd", "$39.00"),
        ("1290.5", "USD", "$1,290.50"),
        ("39", "eur", "€39.00"),
        ("39", "gbp", "£39.00"),
        ("500", "jpy", "¥500"),
        ("1234567", "jpy", "¥1,234,567"),
        ("39", "chf", "CHF 39.00"),
        ("1.25", "kwd", "KWD 1.250"),
        ("0", "usd", "$0.00"),
        ("-39", "usd", "-$39.00"),
        ("-39", "chf", "-CHF 39.00"),
    ],
)
def test_money_as_people_read_it(amount: str, currency: str, expected: str) -> None:
    assert format_money(Decimal(amount), currency) == expected
