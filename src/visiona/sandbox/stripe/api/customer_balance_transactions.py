"""A customer's credit balance, changed by hand; negative is money that the merchant owes."""

from typing import Final

from visiona.sandbox.stripe.catalogue import checked_currency
from visiona.sandbox.stripe.engine.credit import change_balance
from visiona.sandbox.stripe.errors import invalid, missing
from visiona.sandbox.stripe.paging import CREATED, PAGE, within
from visiona.sandbox.stripe.params import Field, Integer, Metadata, Params, Text, merge_metadata
from visiona.sandbox.stripe.routes import Context, Route
from visiona.sandbox.stripe.store import Obj

_KIND: Final = "customer_balance_transaction"


def create_transaction(ctx: Context, params: Params) -> Obj:
    customer = ctx.store.get("customer", ctx.id)
    currency = checked_currency(params["currency"])
    if customer["currency"] not in {None, currency}:
        raise invalid(
            f"The customer's balance is in {customer['currency']}; it cannot be changed in {currency}.",
            param="currency",
        )
    customer["currency"] = currency
    transaction = change_balance(ctx.engine.books, customer, params["amount"], "adjustment")
    _describe(transaction, params)
    ctx.store.put(transaction)
    return transaction


def show_transaction(ctx: Context, _: Params) -> Obj:
    id_ = ctx.ids["transaction"]
    found = ctx.store.get(_KIND, id_)
    if found["customer"] != ctx.id:
        raise missing(_KIND, id_)
    return found


def update_transaction(ctx: Context, params: Params) -> Obj:
    transaction = show_transaction(ctx, {})
    _describe(transaction, params)
    ctx.store.put(transaction)
    return transaction


def list_transactions(ctx: Context, params: Params) -> list[Obj]:
    ctx.store.get("customer", ctx.id)
    return [
        transaction
        for transaction in ctx.engine.books.where(_KIND, "customer", ctx.id)
        if params.get("invoice") in {None, transaction["invoice"]}
        and within(transaction["created"], params.get("created"))
    ]


def _describe(transaction: Obj, params: Params) -> None:
    if "description" in params:
        transaction["description"] = params["description"]
    if "metadata" in params:
        transaction["metadata"] = merge_metadata(transaction["metadata"], params["metadata"])


_PATH: Final = "/v1/customers/{id}/balance_transactions"
_TOLD: Final[dict[str, Field]] = {"description": Text(unset=True, max_length=350), "metadata": Metadata()}

ROUTES: Final = [
    Route(
        "POST",
        _PATH,
        {**_TOLD, "amount": Integer(required=True), "currency": Text(required=True)},
        create_transaction,
    ),
    Route("GET", _PATH, {**PAGE, "created": CREATED, "invoice": Text()}, list_transactions),
    Route("GET", f"{_PATH}/{{transaction}}", {}, show_transaction),
    Route("POST", f"{_PATH}/{{transaction}}", _TOLD, update_transaction),
]
