"""SQL of safety: nearly all of it goes through functions that ask the database who is asking."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal

from psycopg.rows import class_row

from visiona.db.pool import Connection, fetch_value
from visiona.safety.model import CaseState, Counted, Refusals, Report, ReportedImage, ReportedThing

# Limits


async def use_allowances(connection: Connection, counted: Sequence[Counted], amount: int) -> int:
    """The seconds to wait; 0 when it was counted against each of them."""
    return await fetch_value(
        connection,
        """select coalesce(max(visiona.use_allowance(key, allowed, seconds, %s)), 0)
           from unnest(%s::bytea[], %s::integer[], %s::integer[]) as limits (key, allowed, seconds)""",
        [
            amount,
            [one.key for one in counted],
            [one.rate.allowed for one in counted],
            [one.rate.window_s for one in counted],
        ],
    )


# Spending


async def reserve_cost(
    connection: Connection, work: str, amount: Decimal, own_cap: Decimal | None, total_cap: Decimal | None
) -> str:
    """`reserved`, or the cap under which it does not fit."""
    return await fetch_value(
        connection, "select visiona.reserve_cost(%s, %s, %s, %s)", [work, amount, own_cap, total_cap]
    )


async def settle_cost(connection: Connection, work: str, unused: Decimal) -> None:
    await connection.execute("select visiona.settle_cost(%s, %s)", [work, unused])


async def claim_cap_notice(connection: Connection) -> date | None:
    """The day that is full, unless it was told of already. The worker's system alone."""
    return await fetch_value(
        connection,
        """update cost_days set told_at = now()
           where day = (now() at time zone 'UTC')::date and told_at is null returning day""",
        [],
    )


async def administrators(connection: Connection) -> list[int]:
    rows = await (
        await connection.execute(
            "select id from users where role = 'admin' and status = 'active' order by id"
        )
    ).fetchall()
    return [row[0] for row in rows]


# Prompts


async def count_refusal(connection: Connection, rule: str) -> None:
    await connection.execute("select visiona.count_refusal(%s)", [rule])


async def refusals(connection: Connection, limit: int) -> list[Refusals]:
    async with connection.cursor(row_factory=class_row(Refusals)) as cursor:
        await cursor.execute("select * from visiona.refusals(%s)", [limit])
        return await cursor.fetchall()


# Reports


async def report(connection: Connection, thing: ReportedThing, reason: str, case_hash: bytes) -> bool:
    return await fetch_value(
        connection,
        "select visiona.report_image(%s, %s, %s, %s)",
        [thing.object_key, thing.digest, reason, case_hash],
    )


async def case_state(connection: Connection, case_hash: bytes) -> CaseState | None:
    async with connection.cursor(row_factory=class_row(CaseState)) as cursor:
        await cursor.execute("select * from visiona.report_state(%s)", [case_hash])
        return await cursor.fetchone()


async def waiting(connection: Connection, limit: int) -> list[Report]:
    async with connection.cursor(row_factory=class_row(Report)) as cursor:
        await cursor.execute("select * from visiona.reports_waiting(%s)", [limit])
        return await cursor.fetchall()


async def decided(connection: Connection, limit: int, before: int | None) -> list[Report]:
    async with connection.cursor(row_factory=class_row(Report)) as cursor:
        await cursor.execute("select * from visiona.reports_decided(%s, %s)", [before, limit])
        return await cursor.fetchall()


async def look_at(connection: Connection, report_id: int) -> bool:
    """Put the look on record; what it is for is answered in a later transaction only."""
    return await fetch_value(connection, "select visiona.look_at_report(%s)", [report_id])


async def reported_image(connection: Connection, report_id: int) -> ReportedImage | None:
    async with connection.cursor(row_factory=class_row(ReportedImage)) as cursor:
        await cursor.execute("select * from visiona.reported_image(%s)", [report_id])
        return await cursor.fetchone()


async def dismiss(connection: Connection, report_id: int) -> bool:
    return await fetch_value(connection, "select visiona.dismiss_report(%s)", [report_id])


async def take_down(connection: Connection, report_id: int) -> bool:
    return await fetch_value(connection, "select visiona.take_down(%s)", [report_id])


# The worker's


async def purge(connection: Connection) -> None:
    """Forget windows that ended and days that no question is about any more."""
    await connection.execute("select visiona.purge_allowances()")
    await connection.execute("delete from cost_people where day < (now() at time zone 'UTC')::date - 40")
    await connection.execute("delete from provider_costs where day < (now() at time zone 'UTC')::date - 400")
    await connection.execute("delete from prompt_refusals where day < (now() at time zone 'UTC')::date - 40")


async def today(connection: Connection) -> date:
    return await fetch_value(connection, "select (now() at time zone 'UTC')::date", [])


async def to_delete(connection: Connection, report_id: int) -> tuple[int | None, list[str]] | None:
    """Whose image it was, and the objects that are still there."""
    row = await (
        await connection.execute(
            "select user_id, object_keys from reports where id = %s and object_keys is not null", [report_id]
        )
    ).fetchone()
    return None if row is None else (row[0], row[1])


async def forget_keys(connection: Connection, report_id: int) -> None:
    await connection.execute("update reports set object_keys = null where id = %s", [report_id])
