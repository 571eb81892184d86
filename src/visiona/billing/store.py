"""SQL of plans and quotas. Every change of a quota is one conditional statement, and a trigger writes it
into the ledger.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

from visiona.billing.model import Account, LedgerEntry, Period, Plan, Resource, Window
from visiona.db.pool import Connection, fetch_value


async def accounts(connection: Connection, user_id: int, at: datetime) -> dict[Resource, list[Account]]:
    """What is on record for this moment, of each resource."""
    cursor = await connection.execute(
        """select resource, period_start, period_end, plan, subscription_id, entitled, used + reserved
           from quota_usage where user_id = %s and period_start <= %s and period_end > %s""",
        [user_id, at, at],
    )
    found: dict[Resource, list[Account]] = {resource: [] for resource in Resource}
    for resource, start, end, plan, subscription_id, entitled, used in await cursor.fetchall():
        found[Resource(resource)].append(Account(Period(start, end), plan, subscription_id, entitled, used))
    return found


async def open_calendar(connection: Connection, user_id: int, resource: Resource, period: Period) -> None:
    """Put a calendar month on record, unless it is. The plan is read by the same statement, because it
    may have changed since somebody last looked.
    """
    await connection.execute(
        """insert into quota_usage (user_id, resource, period_start, period_end, plan, entitled)
           select %(user)s, %(resource)s, %(start)s, %(end)s, p.name,
             case %(resource)s when 'images' then p.images else p.clones end
           from plans p
           where p.name = coalesce((select e.plan from entitlements e where e.user_id = %(user)s),
                                   (select b.name from plans b where b.is_base))
           on conflict (user_id, resource, period_start) do nothing""",
        {"user": user_id, "resource": resource, "start": period.start, "end": period.end},
    )


async def reserve(
    connection: Connection, user_id: int, resource: Resource, period_start: datetime, amount: int
) -> bool:
    """Set `amount` aside if that much is left."""
    cursor = await connection.execute(
        """update quota_usage set reserved = reserved + %(amount)s, entry = 'reserve', reference = ''
           where user_id = %(user)s and resource = %(resource)s and period_start = %(start)s
             and used + reserved + %(amount)s <= entitled""",
        {"user": user_id, "resource": resource, "start": period_start, "amount": amount},
    )
    return cursor.rowcount == 1


async def explain(
    connection: Connection, user_id: int, resource: Resource, period_start: datetime, reference: str
) -> None:
    """Say what the reservation that this transaction has just made is for."""
    await connection.execute(
        """update quota_ledger set reference = %s where entry = 'reserve' and reference = '' and id = (
             select max(id) from quota_ledger where user_id = %s and resource = %s and period_start = %s)""",
        [reference, user_id, resource, period_start],
    )


async def settle(
    connection: Connection,
    user_id: int,
    resource: Resource,
    period_start: datetime,
    *,
    reserved: int,
    used: int,
    reference: str,
) -> bool:
    """Turn `reserved` into `used` (0 gives all back). False when no such reservation covers it."""
    cursor = await connection.execute(
        """update quota_usage
           set reserved = reserved - %s, used = used + %s, entry = 'settle', reference = %s
           where user_id = %s and resource = %s and period_start = %s and reserved >= %s
             and %s between 0 and %s""",
        [reserved, used, reference, user_id, resource, period_start, reserved, used, reserved],
    )
    return cursor.rowcount == 1


async def grant(connection: Connection, user_id: int, window: Window) -> None:
    """Make the record of a subscription's period what it should be; no entry where it is so already."""
    for resource, entitled in window.entitled.items():
        await connection.execute(
            """insert into quota_usage as q
                 (user_id, resource, period_start, period_end, plan, subscription_id, entitled,
                  entry, reference)
               values (%(user)s, %(resource)s, %(start)s, %(end)s, %(plan)s, %(subscription)s, %(entitled)s,
                 'grant', %(subscription)s)
               on conflict (user_id, resource, period_start) do update set
                 period_end = excluded.period_end, plan = excluded.plan,
                 subscription_id = excluded.subscription_id, entitled = excluded.entitled,
                 entry = case when excluded.entitled < q.entitled then 'take_back' else 'grant' end,
                 reference = excluded.reference
               where (q.period_end, q.plan, q.subscription_id, q.entitled) is distinct from
                 (excluded.period_end, excluded.plan, excluded.subscription_id, excluded.entitled)""",
            {
                "user": user_id,
                "resource": resource,
                "start": window.period.start,
                "end": window.period.end,
                "plan": window.plan,
                "subscription": window.subscription_id,
                "entitled": entitled,
            },
        )


async def end_others(connection: Connection, user_id: int, starts: Sequence[datetime], at: datetime) -> None:
    """Take what is left of subscriptions' periods that are not over and begin at none of `starts`."""
    await connection.execute(
        """update quota_usage set entitled = 0, entry = 'end', reference = subscription_id
           where user_id = %s and subscription_id is not null and period_end > %s and entitled > 0
             and not period_start = any(%s)""",
        [user_id, at, list(starts)],
    )


async def base_plan(connection: Connection, user_id: int) -> str | None:
    """The plan that an operator gave this person."""
    return await fetch_value(connection, "select plan from entitlements where user_id = %s", [user_id])


async def base_plans(connection: Connection) -> dict[int, str]:
    rows = await (await connection.execute("select user_id, plan from entitlements")).fetchall()
    return {row[0]: row[1] for row in rows}


async def subscribed_plans(connection: Connection, at: datetime) -> dict[int, str]:
    rows = await (
        await connection.execute(
            """select distinct on (user_id) user_id, plan from quota_usage
               where resource = 'images' and subscription_id is not null and entitled > 0
                 and period_start <= %s and period_end > %s
               order by user_id, entitled desc""",
            [at, at],
        )
    ).fetchall()
    return {row[0]: row[1] for row in rows}


async def set_base_plan(connection: Connection, user_id: int, plan: str) -> None:
    await connection.execute(
        """insert into entitlements (user_id, plan) values (%s, %s)
           on conflict (user_id) do update set plan = excluded.plan, changed_at = now()""",
        [user_id, plan],
    )


async def refresh_calendar(connection: Connection, period_start: datetime, user_id: int | None) -> None:
    """Bring calendar months on record to what their people's plans allow now; one person's, or all."""
    await connection.execute(
        """update quota_usage q set
             plan = p.name, entry = 'plan', reference = p.name,
             entitled = case q.resource when 'images' then p.images else p.clones end
           from plans p
           where q.period_start = %(start)s and q.subscription_id is null
             and q.user_id = coalesce(%(user)s, q.user_id)
             and p.name = coalesce((select e.plan from entitlements e where e.user_id = q.user_id),
                                   (select b.name from plans b where b.is_base))
             and (q.plan, q.entitled) is distinct from
                 (p.name, case q.resource when 'images' then p.images else p.clones end)""",
        {"start": period_start, "user": user_id},
    )


async def ledger(connection: Connection, user_id: int, limit: int) -> list[LedgerEntry]:
    """The newest entries first."""
    cursor = await connection.execute(
        """select id, resource, period_start, entry, reference, plan, amount, created_at
           from quota_ledger where user_id = %s order by id desc limit %s""",
        [user_id, limit],
    )
    return [LedgerEntry(row[0], Resource(row[1]), *row[2:]) for row in await cursor.fetchall()]


async def plans_in_use(connection: Connection) -> list[str]:
    """Plans that somebody has now, as a gift or by a subscription."""
    cursor = await connection.execute(
        """select plan from entitlements
           union select plan from quota_usage
           where subscription_id is not null and entitled > 0 and period_end > now()"""
    )
    return [row[0] for row in await cursor.fetchall()]


async def save_plans(connection: Connection, plans: Iterable[Plan], base: str) -> None:
    await connection.execute("update plans set is_base = false where is_base and name <> %s", [base])
    for plan in plans:
        await connection.execute(
            """insert into plans (name, images, clones, is_base) values (%s, %s, %s, %s)
               on conflict (name) do update set
                 images = excluded.images, clones = excluded.clones, is_base = excluded.is_base""",
            [plan.name, plan.images, plan.clones, plan.name == base],
        )
