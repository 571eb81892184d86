"""Forms and declared parameters, without a server."""

from contextlib import suppress
from decimal import Decimal as Number
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stripe._encode import _api_encode

from visiona.sandbox.stripe.errors import StripeError
from visiona.sandbox.stripe.form import parse_form
from visiona.sandbox.stripe.params import (
    Array,
    Boolean,
    Choice,
    Decimal,
    Either,
    Hash,
    Integer,
    Metadata,
    Text,
    exclusive,
    read_params,
)

FIELDS = {
    "customer": Text(required=True),
    "items": Array(
        Hash({"price": Text(required=True), "quantity": Integer(minimum=0), "deleted": Boolean()}), maximum=3
    ),
    "cancel_at": Either(Integer(), Choice(("min_period_end", "max_period_end")), unset=True),
    "created": Either(Integer(), Hash({"gte": Integer(), "lt": Integer()})),
    "amount": Decimal(minimum=0, unset=True),
    "metadata": Metadata(),
    "coupon": Text(unset=True),
}

INTEGER = "parameter_invalid_integer"

names = st.text("abcdefghij_", min_size=1, max_size=8)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
trees = st.recursive(
    texts,
    lambda inner: (
        st.dictionaries(names, inner, min_size=1, max_size=4) | st.lists(inner, min_size=1, max_size=4)
    ),
    max_leaves=12,
)


def as_tree(value: Any) -> Any:
    """What a value that the SDK encodes is read as: lists by their indexes."""
    if isinstance(value, dict):
        return {key: as_tree(item) for key, item in value.items()}
    if isinstance(value, list):
        return {str(index): as_tree(item) for index, item in enumerate(value)}
    return value


def read(form: str) -> dict[str, Any]:
    return read_params(FIELDS, parse_form(form))


@given(st.dictionaries(names, trees, max_size=4))
def test_what_the_sdk_encodes_is_read_back(params: dict[str, Any]) -> None:
    assert parse_form(urlencode(list(_api_encode(params)))) == as_tree(params)


@given(st.text("ab[]=&%1", max_size=30))
def test_any_form_is_a_tree_or_refused(form: str) -> None:
    tree: dict[str, Any] = {}
    with suppress(StripeError):
        tree = parse_form(form)
    assert all(name and isinstance(value, str | dict) for name, value in tree.items())


def test_only_what_was_sent_is_there_and_in_its_own_type() -> None:
    assert read("customer=cus_1") == {"customer": "cus_1"}
    assert read(
        "customer=c&items[1][price]=b&items[0][price]=a&items[0][quantity]=2&items[1][deleted]=true"
        "&amount=1.50&metadata[k]=v&metadata[gone]="
    ) == {
        "customer": "c",
        "items": [{"price": "a", "quantity": 2}, {"price": "b", "deleted": True}],
        "amount": Number("1.50"),
        "metadata": {"k": "v", "gone": None},
    }


def test_empty_text_unsets_what_may_be_unset() -> None:
    assert read("customer=c&coupon=&cancel_at=&amount=&metadata=") == {
        "customer": "c",
        "coupon": None,
        "cancel_at": None,
        "amount": None,
        "metadata": None,
    }
    for form in ("customer=", "customer=c&items=", "customer=c&created="):
        with pytest.raises(StripeError) as caught:
            read(form)
        assert caught.value.code == "parameter_invalid_empty"


@pytest.mark.parametrize(
    ("form", "name", "value"),
    [
        ("cancel_at=1700000000", "cancel_at", 1700000000),
        ("cancel_at=min_period_end", "cancel_at", "min_period_end"),
        ("created=5", "created", 5),
        ("created[gte]=1&created[lt]=2", "created", {"gte": 1, "lt": 2}),
    ],
)
def test_either_takes_the_first_that_fits(form: str, name: str, value: Any) -> None:
    assert read(f"customer=c&{form}")[name] == value


@pytest.mark.parametrize(
    ("form", "param", "code"),
    [
        ("", "customer", "parameter_missing"),
        ("customer=c&items[0][quantity]=1", "items[0][price]", "parameter_missing"),
        ("customer=c&items[0][price]=p&items[0][quantity]=-1", "items[0][quantity]", INTEGER),
        ("customer=c&items[0][price]=p&items[0][deleted]=yes", "items[0][deleted]", None),
        ("customer=c&items[0][price]=p&items[0][colour]=red", "items[0][colour]", "parameter_unknown"),
        ("customer=c&items[x][price]=p", "items", None),
        ("customer=c&items[0]=p", "items[0]", None),
        ("customer=c&" + "&".join(f"items[{index}][price]=p" for index in range(4)), "items", None),
        ("customer=c&cancel_at=someday", "cancel_at", None),
        ("customer=c&created[eq]=1", "created[eq]", "parameter_unknown"),
        ("customer=c&amount=-1", "amount", INTEGER),
        ("customer[x]=c", "customer", None),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_by_its_full_path(form: str, param: str, code: str | None) -> None:
    with pytest.raises(StripeError) as caught:
        read(form)
    assert (caught.value.status, caught.value.param, caught.value.code) == (400, param, code)


def test_unknown_names_come_before_missing_ones() -> None:
    with pytest.raises(StripeError, match=r"unknown parameter: costumer\. Did you mean customer\?"):
        read("costumer=c")


def test_parameters_that_exclude_each_other() -> None:
    exclusive({"customer": "c", "coupon": None}, "customer", "coupon")
    with pytest.raises(StripeError) as caught:
        exclusive({"customer": "c", "coupon": "x"}, "customer", "coupon")
    assert caught.value.code == "parameters_exclusive"
