"""SQL of the audit log. No role may change or remove a row."""

from collections.abc import Mapping
from typing import Any

from psycopg.types.json import Jsonb

from visiona.audit.model import Action
from visiona.db.pool import Connection


async def append(
    connection: Connection, user_id: int, action: Action, details: Mapping[str, Any] | None
) -> None:
    await connection.execute(
        "insert into audit_logs (user_id, action, details) values (%s, %s, %s)",
        [user_id, action.value, None if details is None else Jsonb(dict(details))],
    )
