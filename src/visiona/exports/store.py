"""SQL of exports, and of what goes into one."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

from psycopg import sql
from psycopg.rows import class_row, dict_row

from visiona.db.pool import Connection
from visiona.exports.model import Export, Read, Standing

_SEEN = "id, user_id, state, progress, object_key, size, sha256, created_at, finished_at, expires_at"
_THERE = "(state <> 'ready' or (not stale and expires_at > now()))"
_ROWS_AT_ONCE = 500

# By the person


async def ask(connection: Connection, user_id: int) -> tuple[Export, bool]:
    """The one that is open, and whether it is new. Two who ask at once get the same."""
    await connection.execute("select pg_advisory_xact_lock(hashtextextended('exports', %s))", [user_id])
    async with connection.cursor(row_factory=class_row(Export)) as cursor:
        await cursor.execute(
            f"select {_SEEN} from exports where user_id = %s and state in ('queued', 'running')", [user_id]
        )
        if (known := await cursor.fetchone()) is not None:
            return known, False
        await cursor.execute(f"insert into exports (user_id) values (%s) returning {_SEEN}", [user_id])
        (made,) = await cursor.fetchall()
        return made, True


async def list_of(connection: Connection, user_id: int) -> list[Export]:
    """Newest first."""
    async with connection.cursor(row_factory=class_row(Export)) as cursor:
        await cursor.execute(
            f"select {_SEEN} from exports where user_id = %s and {_THERE} order by id desc limit 100",
            [user_id],
        )
        return await cursor.fetchall()


async def find(connection: Connection, user_id: int, export_id: int) -> Export | None:
    async with connection.cursor(row_factory=class_row(Export)) as cursor:
        await cursor.execute(
            f"select {_SEEN} from exports where user_id = %s and id = %s and {_THERE}", [user_id, export_id]
        )
        return await cursor.fetchone()


async def is_there(connection: Connection, user_id: int, key: str) -> bool:
    """Whether the object of this key is a copy that can be had."""
    cursor = await connection.execute(
        f"select from exports where user_id = %s and object_key = %s and {_THERE}", [user_id, key]
    )
    return await cursor.fetchone() is not None


async def remove(connection: Connection, user_id: int, export_id: int) -> tuple[bool, str | None]:
    """Whether there was one, and its object's key."""
    cursor = await connection.execute(
        f"delete from exports where user_id = %s and id = %s and {_THERE} returning object_key",
        [user_id, export_id],
    )
    row = await cursor.fetchone()
    return row is not None, None if row is None else row[0]


# By the worker's system


async def begin(connection: Connection, export_id: int) -> tuple[int, int] | None:
    """The number of this attempt, and how many workers never came back from one; None where there is nothing
    to do any more. This one counts among those until it is `excused`.

    Deletions under way are waited for: what is read from here on is without them, and any later one marks
    this copy.
    """
    await connection.execute(
        "select pg_advisory_xact_lock(hashtextextended('exports', user_id)) from exports where id = %s",
        [export_id],
    )
    cursor = await connection.execute(
        """update exports set state = 'running', progress = 0, stale = false, attempts = attempts + 1,
             crashes = crashes + 1, begun_at = coalesce(begun_at, now())
           where id = %s and state in ('queued', 'running') returning attempts, crashes - 1""",
        [export_id],
    )
    row = await cursor.fetchone()
    return None if row is None else (row[0], row[1])


async def excuse(connection: Connection, export_id: int, attempt: int) -> None:
    """This attempt came to nothing, but took no worker down."""
    await connection.execute(
        """update exports set crashes = crashes - 1
           where id = %s and state = 'running' and attempts = %s and crashes > 0""",
        [export_id, attempt],
    )


async def start_over(connection: Connection, export_id: int, attempt: int) -> None:
    """All went well, but for what was deleted meanwhile: that is nobody's fault, and counts for nothing."""
    await connection.execute(
        """update exports set crashes = 0, begun_at = null
           where id = %s and state = 'running' and attempts = %s""",
        [export_id, attempt],
    )


async def advance(connection: Connection, export_id: int, attempt: int, progress: int) -> Standing:
    cursor = await connection.execute(
        """update exports set progress = %s where id = %s and state = 'running' and attempts = %s
           returning stale""",
        [progress, export_id, attempt],
    )
    row = await cursor.fetchone()
    if row is None:
        return Standing.SUPERSEDED
    return Standing.OUTDATED if row[0] else Standing.CURRENT


async def finish(
    connection: Connection, export_id: int, attempt: int, key: str, size: int, sha256: str, kept: timedelta
) -> Standing:
    """Only a current one becomes ready."""
    standing = await advance(connection, export_id, attempt, 100)
    if standing is Standing.CURRENT:
        await connection.execute(
            """update exports set state = 'ready', object_key = %s, size = %s, sha256 = %s,
                 finished_at = now(), expires_at = now() + %s
               where id = %s""",
            [key, size, sha256, kept, export_id],
        )
    return standing


async def fail(connection: Connection, export_id: int, kept: timedelta) -> int | None:
    """Answers whose it is; None where it is over already."""
    cursor = await connection.execute(
        """update exports set state = 'failed', finished_at = now(), expires_at = now() + %s
           where id = %s and state in ('queued', 'running') returning user_id""",
        [kept, export_id],
    )
    row = await cursor.fetchone()
    return None if row is None else row[0]


async def overdue(connection: Connection, limit: int) -> list[int]:
    """Those that a day was not enough for, from when a worker first had time for them."""
    cursor = await connection.execute(
        """select id from exports where state = 'running' and begun_at < now() - interval '1 day'
           order by id limit %s""",
        [limit],
    )
    return [row[0] for row in await cursor.fetchall()]


async def forgotten(connection: Connection, task: str, limit: int) -> list[tuple[int, int]]:
    """Whose they are and their ids: those that are open, while no job will make them. A worker that was taken
    for dead can end the job of the one that took it over.
    """
    cursor = await connection.execute(
        """select e.user_id, e.id from exports e
           where e.state in ('queued', 'running') and not exists (
             select from procrastinate.procrastinate_jobs j
             where j.task_name = %s and j.status in ('todo', 'doing')
               and (j.args ->> 'export_id')::bigint = e.id)
           order by e.id limit %s""",
        [task, limit],
    )
    return [(row[0], row[1]) for row in await cursor.fetchall()]


async def remove_old(connection: Connection, limit: int) -> list[str]:
    """Delete the rows of those whose time is over, or that hold what was deleted; their objects' keys."""
    cursor = await connection.execute(
        """delete from exports where id in (
             select id from exports where expires_at <= now() or (state = 'ready' and stale)
             order by id limit %s)
           returning object_key""",
        [limit],
    )
    return [row[0] for row in await cursor.fetchall() if row[0] is not None]


async def remove_all(connection: Connection) -> int:
    return (await connection.execute("delete from exports")).rowcount


# By the worker, as the person whose rows they are


async def rows(connection: Connection, read: Read, user_id: int) -> AsyncIterator[list[dict[str, Any]]]:
    """A table's rows of this person, as they are kept, a few at a time."""
    query = sql.SQL("select {} from {} where {} = %s order by 1").format(
        sql.SQL(", ").join(map(sql.Identifier, read.columns)),
        sql.Identifier(read.table),
        sql.Identifier(read.owner),
    )
    async with connection.cursor(name="exported", row_factory=dict_row) as cursor:
        await cursor.execute(query, [user_id])
        while some := await cursor.fetchmany(_ROWS_AT_ONCE):
            yield some
