"""SQL of erasures, and of what they delete in every room's tables."""

import uuid
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any, LiteralString

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from visiona.db.pool import Connection, fetch_value
from visiona.privacy.catalogue import ERASED
from visiona.privacy.model import Erasure, ErasureLine, Remote

_SEEN = "id, user_id, cause, state, asked_at, due_at, started_at, steps"

# By the person


async def ask(
    connection: Connection, erasure_id: uuid.UUID, user_id: int, cause: str, due_at: datetime
) -> bool:
    """False where one is open already."""
    cursor = await connection.execute(
        """insert into erasures (id, user_id, cause, due_at) values (%s, %s, %s, %s)
           on conflict (user_id) where state in ('waiting', 'erasing') do nothing""",
        [erasure_id, user_id, cause, due_at],
    )
    return cursor.rowcount == 1


async def withdraw(connection: Connection, user_id: int) -> bool:
    cursor = await connection.execute(
        "update erasures set state = 'withdrawn' where user_id = %s and state = 'waiting'", [user_id]
    )
    return cursor.rowcount == 1


async def open_erasure(connection: Connection, user_id: int) -> Erasure | None:
    async with connection.cursor(row_factory=class_row(Erasure)) as cursor:
        await cursor.execute(
            f"select {_SEEN} from erasures where user_id = %s and state in ('waiting', 'erasing')", [user_id]
        )
        return await cursor.fetchone()


async def order(
    connection: Connection, user_id: int, erasure_id: uuid.UUID, due_at: datetime, reason: bytes
) -> bool:
    """By an administrator."""
    return await fetch_value(
        connection, "select visiona.order_erasure(%s, %s, %s, %s)", [user_id, erasure_id, due_at, reason]
    )


async def erasures_open(connection: Connection, user_id: int | None, limit: int) -> list[ErasureLine]:
    """By an administrator, and so is the next; of everybody where nobody is named."""
    async with connection.cursor(row_factory=class_row(ErasureLine)) as cursor:
        await cursor.execute("select * from visiona.erasures_open(%s, %s)", [user_id, limit])
        return await cursor.fetchall()


async def erasures_over(connection: Connection, before: int | None, limit: int) -> list[ErasureLine]:
    async with connection.cursor(row_factory=class_row(ErasureLine)) as cursor:
        await cursor.execute("select * from visiona.erasures_over(%s, %s)", [before, limit])
        return await cursor.fetchall()


async def receipt(connection: Connection, code: uuid.UUID) -> tuple[str, datetime, bytes | None] | None:
    cursor = await connection.execute("select state, due_at, receipt from visiona.find_receipt(%s)", [code])
    return await cursor.fetchone()


# By the worker's system


async def erasures(connection: Connection, limit: int) -> list[Erasure]:
    async with connection.cursor(row_factory=class_row(Erasure)) as cursor:
        await cursor.execute(
            f"select {_SEEN}, attempts, trouble from erasures order by asked_at desc limit %s", [limit]
        )
        return await cursor.fetchall()


async def find(connection: Connection, erasure_id: uuid.UUID) -> Erasure:
    async with connection.cursor(row_factory=class_row(Erasure)) as cursor:
        await cursor.execute(f"select {_SEEN} from erasures where id = %s", [erasure_id])
        (erasure,) = await cursor.fetchall()
        return erasure


async def due(connection: Connection, now: datetime, limit: int) -> list[uuid.UUID]:
    rows = await (
        await connection.execute(
            """select id from erasures where next_attempt_at <= %(now)s
               and (state = 'erasing' or state = 'waiting' and due_at <= %(now)s)
               order by next_attempt_at limit %(limit)s""",
            {"now": now, "limit": limit},
        )
    ).fetchall()
    return [row[0] for row in rows]


async def departed(connection: Connection, limit: int) -> list[int]:
    """Whom the identity service says that it has deleted, and whose erasure has not begun."""
    rows = await (
        await connection.execute(
            """select u.id from users u where u.status = 'deleted' and not exists (
                 select from erasures e where e.user_id = u.id and e.state = 'erasing')
               order by u.id limit %s""",
            [limit],
        )
    ).fetchall()
    return [row[0] for row in rows]


async def hasten(connection: Connection, user_id: int) -> None:
    """What waits for its grace period to pass begins now."""
    await connection.execute(
        "update erasures set state = 'erasing', started_at = now() where user_id = %s and state = 'waiting'",
        [user_id],
    )


async def begin(connection: Connection, erasure_id: uuid.UUID) -> Erasure | None:
    """None where it is over, not due, or was taken back. From here on it cannot be."""
    async with connection.cursor(row_factory=class_row(Erasure)) as cursor:
        await cursor.execute(
            f"""update erasures set state = 'erasing', started_at = coalesce(started_at, now())
                where id = %s
                  and (state = 'erasing' or state = 'waiting' and due_at <= now() + interval '1 second')
                returning {_SEEN}, attempts, trouble""",
            [erasure_id],
        )
        return await cursor.fetchone()


async def confirm(connection: Connection, erasure_id: uuid.UUID, name: str, step: Mapping[str, Any]) -> None:
    """Of two jobs at the same erasure, the second finds nothing any more: what was confirmed first stays."""
    await connection.execute(
        "update erasures set steps = %s || steps, trouble = null, attempts = 0 where id = %s",
        [Jsonb({name: dict(step)}), erasure_id],
    )


async def confirm_held(
    connection: Connection, erasure_id: uuid.UUID, name: str, step: Mapping[str, Any]
) -> bool:
    """False where it has not begun, is over, or has that step confirmed."""
    cursor = await connection.execute(
        """update erasures set steps = steps || %s, trouble = null, attempts = 0, next_attempt_at = now()
           where id = %s and state = 'erasing' and trouble is not null and not jsonb_exists(steps, %s)""",
        [Jsonb({name: dict(step)}), erasure_id, name],
    )
    return cursor.rowcount == 1


async def look_again(connection: Connection, erasure_id: uuid.UUID) -> None:
    """What is known elsewhere of the person, and what was confirmed of it, counts no more."""
    await connection.execute(
        "update erasures set remote = null, steps = steps - array['work', 'training'] where id = %s",
        [erasure_id],
    )


async def postpone(connection: Connection, erasure_id: uuid.UUID, pause: timedelta, trouble: str) -> None:
    await connection.execute(
        """update erasures set attempts = attempts + 1, next_attempt_at = now() + %s, trouble = %s
           where id = %s""",
        [pause, trouble[:200], erasure_id],
    )


async def finish(connection: Connection, erasure_id: uuid.UUID, at: datetime, receipt: bytes) -> None:
    await connection.execute(
        """update erasures set state = 'done', user_id = null, remote = null, trouble = null,
             finished_at = %s, receipt = %s where id = %s""",
        [at, receipt, erasure_id],
    )


async def remote(connection: Connection, erasure_id: uuid.UUID) -> Remote | None:
    found = await fetch_value(connection, "select remote from erasures where id = %s", [erasure_id])
    if found is None:
        return None
    return Remote(
        found["subject"],
        found["customer"],
        found.get("mode"),  # not noted by an earlier release, nor are trainings
        tuple(found["versions"]),
        tuple(found["archives"]),
        tuple(found.get("trainings", ())),
    )


async def remember(connection: Connection, erasure_id: uuid.UUID, known: Remote) -> None:
    await connection.execute(
        "update erasures set remote = %s where id = %s", [Jsonb(asdict(known)), erasure_id]
    )


async def subject_of(connection: Connection, user_id: int) -> str | None:
    return await fetch_value(connection, "select (select clerk_id from users where id = %s)", [user_id])


async def address(connection: Connection, user_id: int) -> bytes | None:
    """Sealed; None where they have none."""
    return await fetch_value(connection, "select (select email from users where id = %s)", [user_id])


async def mails_waiting(connection: Connection, user_id: int) -> int:
    return await fetch_value(
        connection, "select count(*) from mails where user_id = %s and state = 'waiting'", [user_id]
    )


async def erase_rows(connection: Connection, user_id: int) -> dict[str, int]:
    """Answers how many there were in each table."""
    return await fetch_value(connection, "select visiona.erase_rows(%s, %s)", [user_id, list(ERASED)])


async def erase_work(connection: Connection, user_id: int, remote: Remote) -> dict[str, int]:
    """Jobs and news that name the person, but for jobs that are being done."""
    names = [name for name in (remote.subject, remote.customer, *remote.archives) if name]
    jobs = await connection.execute(
        """delete from procrastinate.procrastinate_jobs
           where status <> 'doing' and (args ->> 'user_id' = %(id)s or args::text like %(folder)s
             or exists (select from jsonb_each_text(args) a where a.value = any(%(names)s)))""",
        {"id": str(user_id), "folder": f'%"u{user_id}/%', "names": names},
    )
    news = await connection.execute(
        """delete from webhook_receipts where reference ->> 'user' = %(id)s
           or exists (select from jsonb_each_text(reference) r where r.value = any(%(names)s))""",
        {"id": str(user_id), "names": names},
    )
    return {"procrastinate_jobs": jobs.rowcount, "webhook_receipts": news.rowcount}


# On the worker's role, by the person whose rows they are


async def open_work(connection: Connection, user_id: int) -> tuple[list[int], list[int]]:
    """Runs and clones that a provider may be at work on."""
    found: list[list[int]] = []
    tables: tuple[tuple[LiteralString, LiteralString], ...] = (("runs", "id"), ("trainings", "model_id"))
    for table, column in tables:
        rows = await (
            await connection.execute(
                f"""select {column} from {table} where user_id = %s
                    and state not in ('succeeded', 'failed', 'canceled')""",
                [user_id],
            )
        ).fetchall()
        found.append([row[0] for row in rows])
    return found[0], found[1]


async def traces(connection: Connection, user_id: int, subject: str | None) -> Remote:
    """What is known elsewhere of this person, what is about to be deleted there included."""
    cursor = await connection.execute(
        """with waiting as (
             select args ->> 'version' as version, args ->> 'archive_id' as archive
             from procrastinate.procrastinate_jobs
             where status in ('todo', 'doing') and args ->> 'user_id' = %(user)s::text
               and task_name in ('clones.delete_version', 'clones.delete_archive'))
           select c.customer_id, c.mode,
             (select coalesce(array_agg(distinct version), '{}') from (
                select version from models where user_id = %(user)s
                union select version from runs where user_id = %(user)s
                union select version from waiting) v where version is not null),
             (select coalesce(array_agg(distinct archive), '{}') from (
                select archive_id as archive from trainings where user_id = %(user)s
                union select archive from waiting) a where archive is not null),
             (select coalesce(array_agg(provider_id), '{}') from trainings
                where user_id = %(user)s and provider_id is not null and state <> 'succeeded')
           from (values (1)) one left join payment_customers c on c.user_id = %(user)s""",
        {"user": user_id},
    )
    row = await cursor.fetchone()
    assert row is not None  # noqa: S101 - one value is joined with at most one row
    customer, mode, versions, archives, trainings = row
    return Remote(
        subject,
        customer,
        mode,
        tuple(sorted(versions)),
        tuple(sorted(archives)),
        tuple(sorted(trainings)),
    )
