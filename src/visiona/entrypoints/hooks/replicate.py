"""Replicate's webhooks."""

from typing import Any

from litestar import Request, post

from visiona.entrypoints.api.security import TheApp
from visiona.settings import REPLICATE_WEBHOOK_PATH

# A finished training's body carries its logs.
MAX_BODY_BYTES = 4 * 1024 * 1024


@post(
    REPLICATE_WEBHOOK_PATH,
    status_code=204,
    request_max_body_size=MAX_BODY_BYTES,
    include_in_schema=False,
)
async def replicate_webhook(app: TheApp, request: Request[Any, Any, Any]) -> None:
    """204 once the message is stored with its job; 401 for a wrong signature."""
    body = await request.body()
    receipt = await app.read_replicate_webhook(request.headers, body, dict(request.query_params))
    await app.inbox.accept(receipt)


HANDLERS = [replicate_webhook]
