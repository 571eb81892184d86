"""SQL of administration. An administrator's goes through functions that ask the database who they are."""

from typing import Any

from psycopg.rows import class_row

from visiona.administration.model import SealedLine, Search
from visiona.db.pool import Connection, fetch_value

# Finding and looking


async def find_people(connection: Connection, search: Search, index: bytes | None) -> list[SealedLine]:
    """`index` is that of the address."""
    async with connection.cursor(row_factory=class_row(SealedLine)) as cursor:
        await cursor.execute(
            "select * from visiona.find_people(%s, %s, %s, %s, %s, %s)",
            [search.list, index, search.user_id, search.subject, search.before, search.limit],
        )
        return await cursor.fetchall()


async def look_at(connection: Connection, user_id: int, *, content: bool) -> bool:
    """Put the look on record; what it is for is answered in a later transaction only."""
    return await fetch_value(connection, "select visiona.look_at(%s, %s)", [user_id, content])


async def record(connection: Connection, user_id: int) -> Any:
    """What is known of the person, as JSON, for `opened_record`; None unless the look is on record."""
    return await fetch_value(connection, "select visiona.person_record(%s)", [user_id])


async def content(
    connection: Connection, user_id: int, limit: int, before: int | None
) -> list[tuple[Any, ...]]:
    """The columns of `Content`, the prompts sealed and the pictures as JSON."""
    cursor = await connection.execute(
        """select id, state, error_code, prompt, enhanced_prompt, created_at, images
           from visiona.person_content(%s, %s, %s)""",
        [user_id, before, limit],
    )
    return await cursor.fetchall()


# Acts. Each has a reason, which only the person's key opens.


async def suspend(connection: Connection, user_id: int, reason: bytes) -> str:
    return await fetch_value(connection, "select visiona.suspend(%s, %s)", [user_id, reason])


async def unsuspend(connection: Connection, user_id: int, reason: bytes) -> str:
    return await fetch_value(connection, "select visiona.unsuspend(%s, %s)", [user_id, reason])


async def end_sessions(connection: Connection, user_id: int, reason: bytes) -> str:
    return await fetch_value(connection, "select visiona.end_sessions(%s, %s)", [user_id, reason])


async def order_plan(connection: Connection, user_id: int, plan: str, reason: bytes) -> int | None:
    """The number of the order; None where there is nobody of this id."""
    return await fetch_value(connection, "select visiona.order_plan(%s, %s, %s)", [user_id, plan, reason])


# By the worker's system


async def last_order(connection: Connection, user_id: int) -> int | None:
    """The newest order of a plan for this person. Whoever asks after this waits for the transaction's end."""
    await connection.execute("select pg_advisory_xact_lock(hashtextextended('plan of ' || %s, 0))", [user_id])
    return await fetch_value(
        connection,
        "select max(id) from audit_logs where user_id = %s and action = 'admin.plan_set'",
        [user_id],
    )


async def set_role(connection: Connection, user_id: int, role: str) -> bool:
    """False when they had it before."""
    cursor = await connection.execute(
        "update users set role = %s where id = %s and role <> %s and status <> 'deleted'",
        [role, user_id, role],
    )
    return cursor.rowcount == 1


async def purge_grants(connection: Connection) -> None:
    await connection.execute("delete from support_grants where expires_at < now()")


# The person's own


async def allow_support(connection: Connection, user_id: int, hours: int) -> Any:
    """Until when; measured by the database's clock, as its end is."""
    return await fetch_value(
        connection,
        """insert into support_grants (user_id, expires_at) values (%s, now() + make_interval(hours => %s))
           on conflict (user_id) do update set expires_at = excluded.expires_at
           returning expires_at""",
        [user_id, hours],
    )


async def end_support(connection: Connection, user_id: int) -> bool:
    """False where nothing was allowed."""
    cursor = await connection.execute(
        "delete from support_grants where user_id = %s returning expires_at > now()", [user_id]
    )
    row = await cursor.fetchone()
    return row is not None and row[0]


async def supported_until(connection: Connection, user_id: int) -> Any:
    return await fetch_value(
        connection,
        "select expires_at from support_grants where user_id = %s and expires_at > now()",
        [user_id],
    )
