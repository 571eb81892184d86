"""Prices and products as the engine reads them."""

from visiona.sandbox.stripe.catalogue import new_price, new_product
from visiona.sandbox.stripe.engine.books import Books
from visiona.sandbox.stripe.engine.money import spoken_amount
from visiona.sandbox.stripe.errors import invalid
from visiona.sandbox.stripe.store import Obj


class Prices:
    def __init__(self, books: Books) -> None:
        self._books = books

    def chosen(self, params: Obj, *, path: str, recurring: bool | None = True) -> Obj:
        """The price that `params` names, or describes as `price_data`; or has as `_price`, where it was
        checked before.

        Raises a `StripeError` for none at all, an unknown or inactive one, or the wrong type of price
        (`recurring=None` takes both).
        """
        if "_price" in params:
            return params["_price"]
        if params.get("price_data") is not None:
            price = self._inline(params["price_data"], path)
        else:
            id_ = params.get("price") or params.get("plan")
            if id_ is None:
                raise invalid(
                    f"Missing required param: {path}[price].",
                    param=f"{path}[price]",
                    code="parameter_missing",
                )
            price = self._books.store.get("price", id_, param=f"{path}[price]")
            if not price["active"]:
                raise invalid(
                    "The price specified is inactive. This field only accepts active prices.",
                    param=f"{path}[price]",
                )
        if recurring is not None and (price["recurring"] is not None) != recurring:
            wanted, given = ("recurring", "one_time") if recurring else ("one_time", "recurring")
            raise invalid(
                f"The price specified is set to `type={given}` but this field only accepts prices with "
                f"`type={wanted}`.",
                param=f"{path}[price]",
            )
        return price

    def product_of(self, price: Obj) -> Obj:
        return self._books.store.get("product", price["product"])

    def name(self, price: Obj) -> str:
        """What invoices call it: the product's name."""
        return str(self.product_of(price)["name"])

    def _inline(self, data: Obj, path: str) -> Obj:
        """Prices made in passing are not active: nothing else can use them."""
        books = self._books
        data = dict(data)
        product_data = data.pop("product_data", None)
        if (product_data is None) == ("product" not in data):
            raise invalid(
                "Exactly one of product and product_data must be given.", param=f"{path}[price_data][product]"
            )
        if product_data is not None:
            product = new_product(books.store, books.clock, product_data)
            data["product"] = product["id"]
            books.tell("product.created", product)
        price = new_price(books.store, books.clock, {**data, "active": False})
        books.tell("price.created", price)
        return price


def plan_of(price: Obj) -> Obj:
    """The price as the older API called it; subscription items still show it."""
    recurring = price["recurring"]
    return {
        "id": price["id"],
        "object": "plan",
        "active": price["active"],
        "amount": price["unit_amount"],
        "amount_decimal": str(price["unit_amount_decimal"]),
        "billing_scheme": price["billing_scheme"],
        "created": price["created"],
        "currency": price["currency"],
        "interval": recurring["interval"],
        "interval_count": recurring["interval_count"],
        "livemode": False,
        "metadata": dict(price["metadata"]),
        "meter": None,
        "nickname": price["nickname"],
        "product": price["product"],
        "tiers_mode": None,
        "transform_usage": None,
        "trial_period_days": recurring.get("trial_period_days"),
        "usage_type": "licensed",
    }


def spoken_price(price: Obj) -> str:
    """`$12.00 / month`, as lines say it."""
    recurring = price["recurring"]
    count = recurring["interval_count"]
    every = recurring["interval"] if count == 1 else f"every {count} {recurring['interval']}s"
    return f"{spoken_amount(price['unit_amount'] or 0, price['currency'])} / {every}"
