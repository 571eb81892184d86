"""The gallery: list and delete images."""

from typing import Annotated, Any

import msgspec
from litestar import Request, delete, get, post
from litestar.params import FromQuery, JSONBody, QueryParameter

from visiona.bootstrap import App
from visiona.entrypoints.api.parameters import Cursor, Limit, RowId
from visiona.entrypoints.api.security import TheApp, actor_of
from visiona.entrypoints.api.views import ImagePage, ImageView, image_page, image_view
from visiona.gallery.model import DELETE_MAX, Order, Query

AnyRequest = Request[Any, Any, Any]


class DeleteBody(msgspec.Struct, forbid_unknown_fields=True):
    ids: Annotated[
        list[Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]],
        msgspec.Meta(min_length=1, max_length=DELETE_MAX),
    ]


class DeletedView(msgspec.Struct):
    deleted: list[int]
    not_found: list[int]


@get("/api/gallery")
async def gallery(
    app: TheApp,
    request: AnyRequest,
    limit: Limit = 50,
    cursor: Cursor = None,
    model_id: Annotated[int | None, QueryParameter(ge=1, le=2**63 - 1)] = None,
    order: FromQuery[Order] = "newest",
) -> ImagePage:
    query = Query(limit=limit, order=order, after=cursor, model_id=model_id)
    return await image_page(app, await app.gallery.page(actor_of(request), query), limit)


@get("/api/gallery/{image_id:int}")
async def get_image(app: TheApp, request: AnyRequest, image_id: RowId) -> ImageView:
    return await image_view(app, await app.gallery.get(actor_of(request), image_id))


async def _delete(app: App, request: AnyRequest, data: DeleteBody) -> DeletedView:
    deleted, not_found = await app.gallery.delete(actor_of(request), data.ids)
    return DeletedView(deleted, not_found)


@post("/api/gallery/delete", status_code=200)
async def delete_images(app: TheApp, request: AnyRequest, data: JSONBody[DeleteBody]) -> DeletedView:
    return await _delete(app, request, data)


@delete("/api/gallery/delete", status_code=200)
async def delete_images_by_delete(
    app: TheApp, request: AnyRequest, data: JSONBody[DeleteBody]
) -> DeletedView:
    """The same, for those who prefer the method."""
    return await _delete(app, request, data)


HANDLERS = [gallery, get_image, delete_images, delete_images_by_delete]
