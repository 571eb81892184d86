"""Copies of everything that is kept of somebody, for them."""

from typing import Any

import msgspec
from litestar import Request, delete, get, post

from visiona.core.clock import rfc3339
from visiona.entrypoints.api.parameters import RowId
from visiona.entrypoints.api.security import TheApp, actor_of
from visiona.entrypoints.api.views import ErrorView
from visiona.exports.model import FAILED, FAILED_WORDS, Export, State

AnyRequest = Request[Any, Any, Any]


class ExportView(msgspec.Struct):
    """`state` is `queued`, `running`, `ready` or `failed`, `progress` in percent. `size` (bytes) and
    `sha256` are of the ZIP, once it is ready; it is deleted at `expires_at`. `error` says what to do about
    one that failed.
    """

    id: int
    state: str
    progress: int
    size: int | None
    sha256: str | None
    created_at: str
    finished_at: str | None
    expires_at: str | None
    error: ErrorView | None


class ExportsView(msgspec.Struct):
    exports: list[ExportView]


class ExportLinkView(msgspec.Struct):
    """`url` downloads the ZIP without any other proof, for at least half an hour, or until the copy is gone;
    ranges are answered.
    """

    url: str


def export_view(export: Export) -> ExportView:
    return ExportView(
        id=export.id,
        state=export.state,
        progress=export.progress,
        size=export.size,
        sha256=export.sha256,
        created_at=rfc3339(export.created_at),
        finished_at=None if export.finished_at is None else rfc3339(export.finished_at),
        expires_at=None if export.expires_at is None else rfc3339(export.expires_at),
        error=ErrorView(FAILED, FAILED_WORDS) if export.state == State.FAILED else None,
    )


@post("/api/account/export", status_code=202)
async def ask_for_export(app: TheApp, request: AnyRequest) -> ExportView:
    """Have a copy of everything made, in the background. While one is being made, that one is answered."""
    return export_view(await app.exports.ask(actor_of(request)))


@get("/api/account/exports")
async def list_exports(app: TheApp, request: AnyRequest) -> ExportsView:
    """Newest first. Deleting a photo, a clone or an image deletes the copies that may hold it."""
    return ExportsView([export_view(one) for one in await app.exports.all_of(actor_of(request))])


@get("/api/account/exports/{export_id:str}")
async def show_export(app: TheApp, request: AnyRequest, export_id: RowId) -> ExportView:
    return export_view(await app.exports.find(actor_of(request), export_id))


@post("/api/account/exports/{export_id:str}/link")
async def link_to_export(app: TheApp, request: AnyRequest, export_id: RowId) -> ExportLinkView:
    return ExportLinkView(await app.exports.link(actor_of(request), export_id))


@delete("/api/account/exports/{export_id:str}")
async def delete_export(app: TheApp, request: AnyRequest, export_id: RowId) -> None:
    """Ready or not."""
    await app.exports.remove(actor_of(request), export_id)


HANDLERS = [ask_for_export, list_exports, show_export, link_to_export, delete_export]
