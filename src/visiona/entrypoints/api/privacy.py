"""Deleting one's account, taking that back, and the receipt of what was deleted."""

import uuid
from typing import Any

import msgspec
from litestar import Request, Response, delete, get, post
from litestar.params import FromPath, JSONBody

from visiona.bootstrap import App
from visiona.core.clock import rfc3339
from visiona.entrypoints.api.admin import admin_of
from visiona.entrypoints.api.parameters import RowId
from visiona.entrypoints.api.security import TheApp, actor_of
from visiona.privacy.model import Erasure, receipt_not_found

AnyRequest = Request[Any, Any, Any]


class ErasureView(msgspec.Struct):
    """`receipt` is the code under which the receipt is had afterwards: at `/receipts/` and the code as
    a page, at `/api/receipts/` and the code as a file.

    `state` is `waiting`, while it can be taken back, or `erasing`.
    """

    receipt: str
    state: str
    asked_at: str
    due_at: str


class StandingView(msgspec.Struct):
    """`erasure` is null for an account that nobody deletes."""

    erasure: ErasureView | None


class OrderBody(msgspec.Struct, forbid_unknown_fields=True):
    """`reason` is for the person, and is on record."""

    reason: str


class OrderView(msgspec.Struct):
    receipt: str


def erasure_view(erasure: Erasure) -> ErasureView:
    return ErasureView(
        receipt=str(erasure.id),
        state=erasure.state,
        asked_at=rfc3339(erasure.asked_at),
        due_at=rfc3339(erasure.due_at),
    )


@delete("/api/account", status_code=202)
async def delete_account(app: TheApp, request: AnyRequest) -> ErasureView:
    """Everything is deleted, here and at processors, after the grace period. Nothing is charged any more."""
    return erasure_view(await app.privacy.ask(actor_of(request)))


@get("/api/account/erasure")
async def account_erasure(app: TheApp, request: AnyRequest) -> StandingView:
    found = await app.privacy.pending(actor_of(request))
    return StandingView(None if found is None else erasure_view(found))


@delete("/api/account/erasure")
async def keep_account(app: TheApp, request: AnyRequest) -> None:
    """Take the deletion back; a subscription that was ended stays so."""
    await app.privacy.take_back(actor_of(request))


@post("/api/admin/users/{user_id:str}/erase", status_code=202)
async def order_erasure(
    app: TheApp, request: AnyRequest, user_id: RowId, data: JSONBody[OrderBody]
) -> OrderView:
    """Have somebody's account deleted, after the grace period."""
    return OrderView(str(await app.privacy.order(admin_of(request), user_id, data.reason)))


@get("/api/receipts/{code:str}")
async def show_receipt(app: TheApp, code: FromPath[str]) -> Response[bytes]:
    """What was deleted, signed; 202 and nothing while it is not over."""
    return receipt_file(code, await read_receipt(app, code))


async def read_receipt(app: App, code: str) -> bytes | None:
    """None while the erasure is not over. Raises `NotFound`."""
    try:
        wanted = uuid.UUID(code)
    except ValueError:
        raise receipt_not_found() from None
    return await app.privacy.receipt(wanted)


def receipt_file(code: str, data: bytes | None) -> Response[bytes]:
    """As `read_receipt` answered for this code, to be kept as it is: what is signed are these very words."""
    headers = {"Cache-Control": "no-store", "X-Robots-Tag": "noindex"}
    if data is not None:
        headers["Content-Disposition"] = f'attachment; filename="visiona-receipt-{uuid.UUID(code)}.json"'
    return Response(
        data or b"{}", status_code=200 if data else 202, media_type="application/json", headers=headers
    )


HANDLERS = [delete_account, account_erasure, keep_account, order_erasure, show_receipt]
