"""Disputes, and early fraud warnings."""

from typing import Final

from visiona.sandbox.stripe.engine.disputes import EVIDENCE
from visiona.sandbox.stripe.paging import CREATED, PAGE, within
from visiona.sandbox.stripe.params import Boolean, Field, Hash, Metadata, Params, Text
from visiona.sandbox.stripe.routes import Context, Route
from visiona.sandbox.stripe.store import Obj

_EVIDENCE: Final[dict[str, Field]] = {name: Text(unset=True, max_length=20000) for name in EVIDENCE}
_LIST: Final[dict[str, Field]] = {**PAGE, "charge": Text(), "created": CREATED, "payment_intent": Text()}
_UPDATE: Final[dict[str, Field]] = {
    "evidence": Hash(_EVIDENCE),
    "metadata": Metadata(),
    "submit": Boolean(),
}


def show_dispute(ctx: Context, _: Params) -> Obj:
    return ctx.store.get("dispute", ctx.id)


def update_dispute(ctx: Context, params: Params) -> Obj:
    return ctx.engine.disputes.update(ctx.store.get("dispute", ctx.id), params)


def close_dispute(ctx: Context, _: Params) -> Obj:
    """The merchant gives in."""
    return ctx.engine.disputes.close(ctx.id, "lost")


def list_disputes(ctx: Context, params: Params) -> list[Obj]:
    return _about(ctx, "dispute", params)


def show_warning(ctx: Context, _: Params) -> Obj:
    return ctx.store.get("radar.early_fraud_warning", ctx.id)


def list_warnings(ctx: Context, params: Params) -> list[Obj]:
    return _about(ctx, "radar.early_fraud_warning", params)


def _about(ctx: Context, kind: str, params: Params) -> list[Obj]:
    return [
        one
        for one in ctx.store.all(kind)
        if params.get("charge") in {None, one["charge"]}
        and params.get("payment_intent") in {None, one["payment_intent"]}
        and within(one["created"], params.get("created"))
    ]


ROUTES: Final = [
    Route("GET", "/v1/disputes", _LIST, list_disputes),
    Route("GET", "/v1/disputes/{id}", {}, show_dispute),
    Route("POST", "/v1/disputes/{id}", _UPDATE, update_dispute),
    Route("POST", "/v1/disputes/{id}/close", {}, close_dispute),
    Route("GET", "/v1/radar/early_fraud_warnings", _LIST, list_warnings),
    Route("GET", "/v1/radar/early_fraud_warnings/{id}", {}, show_warning),
]
