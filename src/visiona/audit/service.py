"""Recording what happened, in the transaction in which it happened, and reading it again."""

from collections.abc import Mapping
from typing import Any

from visiona.audit import store
from visiona.audit.model import Action, Entry
from visiona.db.pool import Connection


async def record(
    connection: Connection, user_id: int, action: Action, details: Mapping[str, Any] | None = None
) -> None:
    """Append a row on the caller's transaction, whose actor is that user or the worker's system.

    `details` holds ids and counts. Never an e-mail address, a prompt or a link: the log outlives
    the account.
    """
    await store.append(connection, user_id, action, details)


async def entries(connection: Connection, user_id: int, limit: int, before: int | None = None) -> list[Entry]:
    """On the transaction of that user: their log, newest first, older than the entry `before`."""
    return await store.entries(connection, user_id, limit, before)
