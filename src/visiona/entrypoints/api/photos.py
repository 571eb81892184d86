"""Photos: upload with a verdict for each file, list, delete."""

import asyncio
from typing import Any
from uuid import UUID

import msgspec
from litestar import Request, Response, delete, get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromQuery

from visiona.bootstrap import App
from visiona.core.scratch import scratch_folder
from visiona.db.actor import UserActor
from visiona.entrypoints.api import problems
from visiona.entrypoints.api.parameters import Cursor, Limit, RowId
from visiona.entrypoints.api.security import TheApp, actor_of, client_of
from visiona.entrypoints.api.uploads import UploadedFile, receive_files
from visiona.entrypoints.api.views import (
    PhotoPage,
    PhotoView,
    RejectedView,
    UploadView,
    photo_page,
    photo_view,
)
from visiona.photos.model import (
    MAX_FILE_BYTES,
    MAX_FILES_PER_REQUEST,
    Photo,
    PhotoRefused,
    too_large,
)
from visiona.safety.model import Limited

AnyRequest = Request[Any, Any, Any]


class AllRejectedProblem(problems.Problem, kw_only=True):
    """A problem document that also lists the verdicts."""

    rejected: list[RejectedView]


@post(
    "/api/photos/upload",
    status_code=201,
    request_max_body_size=None,  # bounded while it streams
    responses={201: ResponseSpec(UploadView, generate_examples=False)},
)
async def upload(app: TheApp, request: AnyRequest, consent: FromQuery[UUID | None] = None) -> Response[Any]:
    """Multipart field `photos`, repeated. Each file gets its own verdict. They show the person themself, or
    whoever gave the `consent` of this id.
    """
    actor = actor_of(request)
    await app.consents.require(actor, consent)
    with scratch_folder() as folder:
        files = await receive_files(
            request,
            folder,
            field="photos",
            max_files=MAX_FILES_PER_REQUEST,
            max_file_bytes=MAX_FILE_BYTES,
        )
        # The request was counted as one; it is as many uploads as it has files.
        await app.safety.limits.count(Limited.UPLOAD, client_of(request), actor.user_id, len(files) - 1)
        verdicts = await asyncio.gather(*(_judge(app, actor, file, consent) for file in files))
    photos = [await photo_view(app, verdict) for verdict in verdicts if isinstance(verdict, Photo)]
    rejected = [
        RejectedView(file.filename, verdict.code, verdict.message)
        for file, verdict in zip(files, verdicts, strict=True)
        if isinstance(verdict, PhotoRefused)
    ]
    if not photos:
        return _all_rejected(rejected)
    return Response(UploadView(photos, rejected), status_code=201)


async def _judge(
    app: App, actor: UserActor, file: UploadedFile, consent: UUID | None
) -> Photo | PhotoRefused:
    if file.oversized:
        return too_large()
    try:
        return await app.photos.add(actor, file.path, consent)
    except PhotoRefused as refusal:
        return refusal


def _all_rejected(rejected: list[RejectedView]) -> Response[bytes]:
    problem = AllRejectedProblem(
        type="urn:visiona:problem:all_photos_rejected",
        title="Unprocessable Entity",
        status=422,
        detail="None of these files could be used as a photo.",
        code="all_photos_rejected",
        errors=[
            problems.FieldProblem(f"photos[{index}]", item.code, item.message)
            for index, item in enumerate(rejected)
        ],
        rejected=rejected,
    )
    return Response(
        msgspec.json.encode(problem),
        status_code=422,
        media_type=problems.MEDIA_TYPE,
        headers={"Cache-Control": "no-store"},
    )


@get("/api/photos")
async def list_photos(
    app: TheApp, request: AnyRequest, limit: Limit = 50, cursor: Cursor = None
) -> PhotoPage:
    """Newest first."""
    return await photo_page(app, await app.photos.page(actor_of(request), limit, cursor), limit)


@get("/api/photos/{photo_id:int}")
async def get_photo(app: TheApp, request: AnyRequest, photo_id: RowId) -> PhotoView:
    return await photo_view(app, await app.photos.get(actor_of(request), photo_id))


@delete("/api/photos/{photo_id:int}", status_code=204)
async def delete_photo(app: TheApp, request: AnyRequest, photo_id: RowId) -> None:
    await app.photos.delete(actor_of(request), photo_id)


HANDLERS = [upload, list_photos, get_photo, delete_photo]
