"""SQL of plans and quotas. Every change of a quota is one conditional statement."""

from collections.abc import Iterable

from visiona.billing.model import Period, Plan, Resource
from visiona.db.pool import Connection, fetch_value


async def reserve(
    connection: Connection, user_id: int, resource: Resource, period: Period, amount: int
) -> bool:
    """Set `amount` aside if the plan still covers it; the limit is read in the same statement."""
    granted = await fetch_value(
        connection,
        """insert into quota_usage as q (user_id, resource, period_start, period_end, reserved)
           select %(user)s, %(resource)s, %(start)s, %(end)s, %(amount)s
           where %(amount)s <= visiona.plan_limit(%(resource)s)
           on conflict (user_id, resource, period_start) do update
             set reserved = q.reserved + excluded.reserved
             where q.used + q.reserved + excluded.reserved <= visiona.plan_limit(%(resource)s)
           returning true""",
        {
            "user": user_id,
            "resource": resource,
            "start": period.start,
            "end": period.end,
            "amount": amount,
        },
    )
    return bool(granted)


async def settle(
    connection: Connection, user_id: int, resource: Resource, period_start: object, reserved: int, used: int
) -> bool:
    """Turn `reserved` into `used` (0 gives all back). False when no such reservation covers it."""
    cursor = await connection.execute(
        """update quota_usage set reserved = reserved - %s, used = used + %s
           where user_id = %s and resource = %s and period_start = %s and reserved >= %s and %s <= %s""",
        [reserved, used, user_id, resource, period_start, reserved, used, reserved],
    )
    return cursor.rowcount == 1


async def usage(connection: Connection, user_id: int, period: Period) -> dict[str, int]:
    rows = await (
        await connection.execute(
            "select resource, used + reserved from quota_usage where user_id = %s and period_start = %s",
            [user_id, period.start],
        )
    ).fetchall()
    return {row[0]: row[1] for row in rows}


async def plan_of(connection: Connection, user_id: int) -> str | None:
    return await fetch_value(connection, "select plan from entitlements where user_id = %s", [user_id])


async def plans_by_user(connection: Connection) -> dict[int, str]:
    rows = await (await connection.execute("select user_id, plan from entitlements")).fetchall()
    return {row[0]: row[1] for row in rows}


async def set_plan(connection: Connection, user_id: int, plan: str) -> None:
    await connection.execute(
        """insert into entitlements (user_id, plan) values (%s, %s)
           on conflict (user_id) do update set plan = excluded.plan, changed_at = now()""",
        [user_id, plan],
    )


async def save_plans(connection: Connection, plans: Iterable[Plan]) -> None:
    for plan in plans:
        await connection.execute(
            """insert into plans (name, images, clones) values (%s, %s, %s)
               on conflict (name) do update set images = excluded.images, clones = excluded.clones""",
            [plan.name, plan.images, plan.clones],
        )
