"""Clones, which the API calls models: train, watch, cancel, delete."""

from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Request, delete, get, post
from litestar.params import JSONBody, QueryParameter

from visiona.db.idempotency import IdempotencyKey
from visiona.entrypoints.api.parameters import Cursor, IdempotencyHeader, Limit, RowId
from visiona.entrypoints.api.security import TheApp, actor_of
from visiona.entrypoints.api.views import ModelPage, ModelView, model_page, model_view

AnyRequest = Request[Any, Any, Any]


class TrainBody(msgspec.Struct, forbid_unknown_fields=True):
    """Without `photo_ids`, all photos of one face are used: of whoever gave the consent `consent_id`, or of
    the person's own. `parameters` are the trainer's.
    """

    trigger_word: str
    photo_ids: (
        Annotated[list[Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]], msgspec.Meta(max_length=200)] | None
    ) = None
    consent_id: UUID | None = None
    parameters: dict[str, Any] = {}


@post("/api/models/train", status_code=202)
async def train(
    app: TheApp, request: AnyRequest, data: JSONBody[TrainBody], idempotency_key: IdempotencyHeader = None
) -> ModelView:
    key = (
        None
        if idempotency_key is None
        else IdempotencyKey(idempotency_key, "train", msgspec.to_builtins(data))
    )
    photo_ids = None if data.photo_ids is None else list(dict.fromkeys(data.photo_ids))
    clone = await app.clones.start(
        actor_of(request), data.trigger_word, photo_ids, data.parameters, key, consent_id=data.consent_id
    )
    return model_view(clone)


@get("/api/models/status")
async def model_status(
    app: TheApp, request: AnyRequest, model_id: Annotated[int, QueryParameter(ge=1, le=2**63 - 1)]
) -> ModelView:
    return model_view(await app.clones.get(actor_of(request), model_id))


@get("/api/models")
async def list_models(
    app: TheApp, request: AnyRequest, limit: Limit = 50, cursor: Cursor = None
) -> ModelPage:
    """Newest first."""
    return model_page(await app.clones.page(actor_of(request), limit, cursor), limit)


@get("/api/models/{model_id:int}")
async def get_model(app: TheApp, request: AnyRequest, model_id: RowId) -> ModelView:
    return model_view(await app.clones.get(actor_of(request), model_id))


@post("/api/models/{model_id:int}/cancel", status_code=202)
async def cancel_model(app: TheApp, request: AnyRequest, model_id: RowId) -> ModelView:
    """Asks for the end; the model turns Failed with `training_canceled` once the provider confirms."""
    return model_view(await app.clones.cancel(actor_of(request), model_id))


@delete("/api/models/{model_id:int}", status_code=204)
async def delete_model(app: TheApp, request: AnyRequest, model_id: RowId) -> None:
    """Deletes the clone and its weights at the provider. Its images stay in the gallery."""
    await app.clones.delete(actor_of(request), model_id)


HANDLERS = [train, model_status, list_models, get_model, cancel_model, delete_model]
