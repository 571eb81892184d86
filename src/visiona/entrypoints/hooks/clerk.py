"""Clerk's events."""

from typing import Any

from litestar import Request, post

from visiona.entrypoints.api.security import TheApp
from visiona.settings import CLERK_WEBHOOK_PATH

MAX_BODY_BYTES = 1024 * 1024


@post(
    CLERK_WEBHOOK_PATH,
    status_code=204,
    request_max_body_size=MAX_BODY_BYTES,
    include_in_schema=False,
)
async def clerk_webhook(app: TheApp, request: Request[Any, Any, Any]) -> None:
    """204 once the event is stored with its job; 401 for a wrong signature."""
    body = await request.body()
    receipt = await app.read_clerk_webhook(request.headers, body, {})
    await app.inbox.accept(receipt)


HANDLERS = [clerk_webhook]
