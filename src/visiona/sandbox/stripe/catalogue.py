"""Making products and prices: on their own, together, or in passing from data in another request."""

import re
from decimal import Decimal as Number
from typing import Any, Final

from visiona.sandbox.stripe.clock import Clock
from visiona.sandbox.stripe.errors import invalid
from visiona.sandbox.stripe.ids import new_id
from visiona.sandbox.stripe.params import (
    Array,
    Boolean,
    Choice,
    Decimal,
    Field,
    Hash,
    Integer,
    Metadata,
    Params,
    Text,
    merge_metadata,
)
from visiona.sandbox.stripe.store import Obj, Store

_OWN_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,200}")
_LONGEST: Final = {"day": 1095, "week": 156, "month": 36, "year": 3}
_LARGEST_AMOUNT: Final = 99_999_999

CURRENCIES: Final = (
    "usd", "aed", "afn", "all", "amd", "ang", "aoa", "ars", "aud", "awg", "azn", "bam", "bbd", "bdt", "bgn",
    "bif", "bmd", "bnd", "bob", "brl", "bsd", "bwp", "byn", "bzd", "cad", "cdf", "chf", "clp", "cny", "cop",
    "crc", "cve", "czk", "djf", "dkk", "dop", "dzd", "egp", "etb", "eur", "fjd", "fkp", "gbp", "gel", "gip",
    "gmd", "gnf", "gtq", "gyd", "hkd", "hnl", "htg", "huf", "idr", "ils", "inr", "isk", "jmd", "jpy", "kes",
    "kgs", "khr", "kmf", "krw", "kyd", "kzt", "lak", "lbp", "lkr", "lrd", "lsl", "mad", "mdl", "mga", "mkd",
    "mmk", "mnt", "mop", "mur", "mvr", "mwk", "mxn", "myr", "mzn", "nad", "ngn", "nio", "nok", "npr", "nzd",
    "pab", "pen", "pgk", "php", "pkr", "pln", "pyg", "qar", "ron", "rsd", "rub", "rwf", "sar", "sbd", "scr",
    "sek", "sgd", "shp", "sle", "sos", "srd", "std", "szl", "thb", "tjs", "top", "try", "ttd", "twd", "tzs",
    "uah", "ugx", "uyu", "uzs", "vnd", "vuv", "wst", "xaf", "xcd", "xof", "xpf", "yer", "zar", "zmw",
)  # fmt: skip

PRODUCT_FIELDS: Final[dict[str, Field]] = {
    "active": Boolean(),
    "description": Text(unset=True, max_length=40000),
    "images": Array(Text(), unset=True, maximum=8),
    "marketing_features": Array(Hash({"name": Text(required=True, max_length=80)}), unset=True, maximum=15),
    "metadata": Metadata(),
    "package_dimensions": Hash(
        {name: Decimal(required=True, minimum=0) for name in ("height", "length", "weight", "width")},
        unset=True,
    ),
    "shippable": Boolean(),
    "statement_descriptor": Text(max_length=22),
    "tax_code": Text(unset=True),
    "unit_label": Text(unset=True, max_length=12),
    "url": Text(unset=True),
}
"""What is the same for a new product and for one that changes; the name comes on top."""

_PRODUCT_LISTS: Final = frozenset({"images", "marketing_features"})

PRICE_FIELDS: Final[dict[str, Field]] = {
    "currency": Text(required=True),
    "metadata": Metadata(),
    "recurring": Hash(
        {
            "interval": Choice(("day", "month", "week", "year"), required=True),
            "interval_count": Integer(minimum=1),
        }
    ),
    "tax_behavior": Choice(("exclusive", "inclusive", "unspecified")),
    "unit_amount": Integer(minimum=0, maximum=_LARGEST_AMOUNT),
    "unit_amount_decimal": Decimal(minimum=0),
}
"""What describes a price wherever one is made."""


def new_product(store: Store, clock: Clock, params: Params) -> Obj:
    """A product, kept but not told of. Raises `StripeError` for an id that is taken or unusable."""
    id_ = params.get("id") or new_id("prod")
    if not _OWN_ID.fullmatch(id_):
        raise invalid(f"Invalid product id: {id_[:60]}", param="id")
    if store.find("product", id_) is not None:
        raise invalid("Product already exists.", param="id", code="resource_already_exists")
    now = clock.now()
    product: Obj = {
        "id": id_,
        "object": "product",
        "active": True,
        "created": now,
        "default_price": None,
        "description": None,
        "images": [],
        "livemode": False,
        "marketing_features": [],
        "metadata": {},
        "name": None,
        "package_dimensions": None,
        "shippable": None,
        "statement_descriptor": None,
        "tax_code": None,
        "type": params.get("type", "service"),
        "unit_label": None,
        "updated": now,
        "url": None,
    }
    change_product(product, params)
    store.put(product)
    return product


def change_product(product: Obj, params: Params) -> None:
    """Set whatever `PRODUCT_FIELDS` and `name` were sent; the caller keeps it."""
    for name in ("name", *PRODUCT_FIELDS):
        if name not in params:
            continue
        value: Any = params[name]
        if name == "metadata":
            value = merge_metadata(product["metadata"], value)
        elif name == "package_dimensions" and value is not None:
            value = {side: float(length) for side, length in value.items()}
        elif name in _PRODUCT_LISTS:
            value = [] if value is None else value
        product[name] = value


def new_price(store: Store, clock: Clock, params: Params) -> Obj:
    """A price of `params["product"]`, kept but not told of.

    Raises `StripeError` for an unknown product or currency, an amount that is missing or given twice,
    and a period of more than three years.
    """
    product = store.get("product", params["product"], param="product")
    unit_amount, decimal = _amounts(params)
    recurring = _recurring(params.get("recurring"))
    price: Obj = {
        "id": new_id("price"),
        "object": "price",
        "active": params.get("active", True),
        "billing_scheme": "per_unit",
        "created": clock.now(),
        "currency": checked_currency(params["currency"]),
        "custom_unit_amount": None,
        "livemode": False,
        "lookup_key": None,
        "metadata": merge_metadata({}, params.get("metadata")),
        "nickname": params.get("nickname"),
        "product": product["id"],
        "recurring": recurring,
        "tax_behavior": params.get("tax_behavior", "unspecified"),
        "tiers_mode": None,
        "transform_quantity": None,
        "type": "recurring" if recurring else "one_time",
        "unit_amount": unit_amount,
        "unit_amount_decimal": decimal,
    }
    store.put(price)
    return price


def checked_currency(text: str) -> str:
    """The currency's lower-case code. Raises `StripeError` for one that Stripe does not take."""
    currency = text.lower()
    if currency not in CURRENCIES:
        raise invalid(
            f"Invalid currency: {text[:20]}. Stripe currently supports these currencies: "
            f"{', '.join(CURRENCIES)}",
            param="currency",
        )
    return currency


def _amounts(params: Params) -> tuple[int | None, str]:
    """`unit_amount`, None where it is not a whole number, and `unit_amount_decimal`."""
    whole: int | None = params.get("unit_amount")
    exact: Number | None = params.get("unit_amount_decimal")
    if (whole is None) == (exact is None):
        raise invalid(
            "Exactly one of unit_amount and unit_amount_decimal must be given.", param="unit_amount"
        )
    if exact is None:
        return whole, str(whole)
    if exact > _LARGEST_AMOUNT or exact != round(exact, 12):
        raise invalid(f"Invalid decimal: {exact}; at most 12 decimal places.", param="unit_amount_decimal")
    plain = f"{exact.normalize():f}"
    return (int(exact) if exact == exact.to_integral_value() else None), plain


def _recurring(given: Params | None) -> Obj | None:
    if given is None:
        return None
    count = given.get("interval_count", 1)
    if count > _LONGEST[given["interval"]]:
        raise invalid(
            "You cannot create a price with an interval of more than three years.",
            param="recurring[interval_count]",
        )
    return {
        "interval": given["interval"],
        "interval_count": count,
        "meter": None,
        "trial_period_days": given.get("trial_period_days"),
        "usage_type": "licensed",
    }
