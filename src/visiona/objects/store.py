"""SQL of objects that are written but not yet part of anything."""

from collections.abc import Sequence

from visiona.db.pool import Connection

ABANDONED_AFTER = "1 hour"


async def stage(connection: Connection, user_id: int, keys: Sequence[str]) -> None:
    await connection.execute(
        "insert into pending_objects (key, user_id) select unnest(%s::text[]), %s", [list(keys), user_id]
    )


async def settle(connection: Connection, keys: Sequence[str]) -> int:
    cursor = await connection.execute("delete from pending_objects where key = any(%s)", [list(keys)])
    return cursor.rowcount


async def abandoned(connection: Connection, limit: int) -> list[str]:
    rows = await (
        await connection.execute(
            """select key from pending_objects where created_at < now() - %s::interval
               order by created_at limit %s""",
            [ABANDONED_AFTER, limit],
        )
    ).fetchall()
    return [row[0] for row in rows]
