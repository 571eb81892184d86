"""SQL of the audit log. No role may change or remove a row."""

from collections.abc import Mapping
from typing import Any

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from visiona.audit.model import Action, Entry
from visiona.db.pool import Connection


async def append(
    connection: Connection, user_id: int, action: Action, details: Mapping[str, Any] | None
) -> None:
    await connection.execute(
        "insert into audit_logs (user_id, action, details) values (%s, %s, %s)",
        [user_id, action.value, None if details is None else Jsonb(dict(details))],
    )


async def entries(connection: Connection, user_id: int, limit: int, before: int | None) -> list[Entry]:
    async with connection.cursor(row_factory=class_row(Entry)) as cursor:
        await cursor.execute(
            """select id, action, details, created_at from audit_logs
               where user_id = %(user)s and (%(before)s::bigint is null or id < %(before)s)
               order by id desc limit %(limit)s""",
            {"user": user_id, "before": before, "limit": limit},
        )
        return await cursor.fetchall()
