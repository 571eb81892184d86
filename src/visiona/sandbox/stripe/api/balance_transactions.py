"""Movements of the merchant's own balance: what charges brought, refunds and disputes took."""

from typing import Final

from visiona.sandbox.stripe.paging import CREATED, PAGE, within
from visiona.sandbox.stripe.params import Params, Text
from visiona.sandbox.stripe.routes import Context, Route
from visiona.sandbox.stripe.store import Obj


def show_transaction(ctx: Context, _: Params) -> Obj:
    return ctx.store.get("balance_transaction", ctx.id)


def list_transactions(ctx: Context, params: Params) -> list[Obj]:
    return [
        transaction
        for transaction in ctx.store.all("balance_transaction")
        if all(params.get(name) in {None, transaction[name]} for name in ("currency", "source", "type"))
        and within(transaction["created"], params.get("created"))
    ]


_LIST: Final = {**PAGE, "created": CREATED, "currency": Text(), "source": Text(), "type": Text()}

ROUTES: Final = [
    Route("GET", "/v1/balance_transactions", _LIST, list_transactions),
    Route("GET", "/v1/balance_transactions/{id}", {}, show_transaction),
]
