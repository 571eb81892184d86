"""SQL of customers, checkouts, subscriptions, invoices and payments."""

from collections.abc import Collection, Sequence
from dataclasses import astuple
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from visiona.core.money import own_units
from visiona.db.pool import Connection, fetch_value
from visiona.payments.model import (
    CheckoutState,
    Customer,
    Intent,
    Invoice,
    Mode,
    PaymentState,
    Subscription,
    payment_state,
)
from visiona.ports.payments import ChargeReport, InvoiceReport, InvoiceStatus, SubscriptionStatus

# Customers


async def ensure_customer(connection: Connection, user_id: int, mode: Mode) -> Customer:
    """The person's row, made if there is none; one that is linked keeps its mode."""
    await connection.execute(
        """insert into payment_customers as p (user_id, mode) values (%s, %s)
           on conflict (user_id) do update set mode = excluded.mode
             where p.customer_id is null and p.mode <> excluded.mode""",
        [user_id, mode],
    )
    found = await customer(connection, user_id)
    if found is None:
        raise LookupError("a customer's row was not visible to whoever made it")
    return found


async def customer(connection: Connection, user_id: int, *, lock: bool = False) -> Customer | None:
    tail = "for update" if lock else ""
    row = await (
        await connection.execute(
            f"""select user_id, customer_id, mode, attempt, version from payment_customers
                where user_id = %s {tail}""",
            [user_id],
        )
    ).fetchone()
    return None if row is None else Customer(*row)


async def link_customer(connection: Connection, user_id: int, customer_id: str) -> None:
    await connection.execute(
        "update payment_customers set customer_id = %s where user_id = %s and customer_id is null",
        [customer_id, user_id],
    )


async def count_attempt(connection: Connection, user_id: int, attempt: int) -> None:
    """The next try to make the customer is another one, unless somebody has counted it already."""
    await connection.execute(
        """update payment_customers set attempt = attempt + 1
           where user_id = %s and attempt = %s and customer_id is null""",
        [user_id, attempt],
    )


async def unlink_customer(connection: Connection, user_id: int) -> None:
    """The service has forgotten them; whoever buys again becomes a customer anew."""
    await connection.execute(
        "update payment_customers set customer_id = null, attempt = attempt + 1 where user_id = %s", [user_id]
    )


async def user_of_customer(connection: Connection, customer_id: str) -> int | None:
    return await fetch_value(
        connection,
        "select user_id from payment_customers where reverse(customer_id) = reverse(%s)",
        [customer_id],
    )


async def count_visit(connection: Connection, kind: str, free: int, ceiling_s: int) -> int:
    """Count one more before it is made, so that parallel ones cannot slip through: the seconds to wait,
    0 to go ahead. It is the brake on signing in, with a key of the transaction's person.
    """
    return await fetch_value(
        connection, "select visiona.count_visit(%s, %s, %s)", [f"payments:{kind}", free, ceiling_s]
    )


async def mark_due(connection: Connection, user_id: int, at: datetime) -> None:
    """Have the sweep ask for the report from then on, until it was read."""
    await connection.execute("update payment_customers set due_at = %s where user_id = %s", [at, user_id])


async def take_due(
    connection: Connection, now: datetime, again_after: timedelta, mode: Mode, limit: int
) -> list[int]:
    """Customers whose turn it is; each is due again after a while, should this time fail.

    Also those whose checkout was opened after the last reading, and not just now; and those who paid
    with play money elsewhere. Who paid real money elsewhere is left alone.
    """
    cursor = await connection.execute(
        # Three lists rather than one condition with `or`: each is found by an index.
        """with due as (
             (select user_id from payment_customers
              where customer_id is not null and due_at <= %(now)s and mode = %(mode)s
              order by due_at limit %(limit)s)
             union
             select user_id from payment_customers
             where customer_id is not null and mode = any(%(elsewhere)s)
             union
             select c.user_id from checkouts c join payment_customers p using (user_id)
             where c.state = 'open' and p.customer_id is not null and p.mode = %(mode)s
               and c.created_at > coalesce(p.synced_at, '-infinity')
               and c.created_at < %(now)s::timestamptz - %(again)s)
           update payment_customers set due_at = %(now)s::timestamptz + %(again)s
           where user_id in (
             select p.user_id from payment_customers p join due using (user_id)
             order by p.due_at nulls first limit %(limit)s for update of p skip locked)
           returning user_id""",
        {
            "now": now,
            "again": again_after,
            "mode": mode,
            "elsewhere": [other for other in ("sandbox", "test") if other != mode],
            "limit": limit,
        },
    )
    return [row[0] for row in await cursor.fetchall()]


async def mark_synced(connection: Connection, user_id: int, now: datetime, due_at: datetime) -> None:
    await connection.execute(
        """update payment_customers set version = version + 1, synced_at = %s, due_at = %s
           where user_id = %s""",
        [now, due_at, user_id],
    )


# Checkouts

_INTENT = "id, lookup_key, plan, trial_days, state, session_id, created_at, expires_at"


async def open_intent(connection: Connection, user_id: int) -> Intent | None:
    row = await (
        await connection.execute(
            f"select {_INTENT} from checkouts where user_id = %s and state in ('creating', 'open')",
            [user_id],
        )
    ).fetchone()
    if row is None:
        return None
    identity, lookup_key, plan, trial_days, state, session_id, created_at, expires_at = row
    return Intent(
        id=identity,
        lookup_key=lookup_key,
        plan=plan,
        trial_days=trial_days,
        state=CheckoutState(state),
        session_id=session_id,
        created_at=created_at,
        expires_at=expires_at,
    )


async def insert_intent(connection: Connection, user_id: int, intent: Intent) -> bool:
    """False when another one of this person is open."""
    cursor = await connection.execute(
        """insert into checkouts (id, user_id, lookup_key, plan, trial_days, created_at, expires_at)
           values (%s, %s, %s, %s, %s, %s, %s) on conflict do nothing""",
        [
            intent.id,
            user_id,
            intent.lookup_key,
            intent.plan,
            intent.trial_days,
            intent.created_at,
            intent.expires_at,
        ],
    )
    return cursor.rowcount == 1


async def set_open(connection: Connection, intent_id: UUID, session_id: str) -> bool:
    """False when it has been given up meanwhile."""
    cursor = await connection.execute(
        """update checkouts set state = 'open', session_id = %s
           where id = %s and state in ('creating', 'open')""",
        [session_id, intent_id],
    )
    return cursor.rowcount == 1


async def close_intent(connection: Connection, intent: Intent, state: CheckoutState) -> bool:
    """False when it was closed before, or has a session since `intent` was read, which somebody may pay."""
    cursor = await connection.execute(
        """update checkouts set state = %s
           where id = %s and state in ('creating', 'open') and session_id is not distinct from %s""",
        [state, intent.id, intent.session_id],
    )
    return cursor.rowcount == 1


async def purge_intents(connection: Connection, before: datetime) -> None:
    await connection.execute("delete from checkouts where expires_at < %s", [before])


# The mirror

_SUBSCRIPTION = """id, status, plan, item_id, price_id, billing_interval, amount, currency, period_start,
    period_end, trial_end, cancel_at, ended_at, next_plan, next_amount, created_at"""


async def subscriptions(connection: Connection, user_id: int) -> list[Subscription]:
    cursor = await connection.execute(
        f"select {_SUBSCRIPTION} from subscriptions where user_id = %s order by created_at", [user_id]
    )
    return [
        Subscription(
            id=row[0],
            status=SubscriptionStatus(row[1]),
            plan=row[2],
            item_id=row[3],
            price_id=row[4],
            interval=row[5],
            amount=row[6],
            currency=row[7],
            period_start=row[8],
            period_end=row[9],
            trial_end=row[10],
            cancel_at=row[11],
            ended_at=row[12],
            next_plan=row[13],
            next_amount=row[14],
            created_at=row[15],
        )
        for row in await cursor.fetchall()
    ]


async def save_subscription(connection: Connection, user_id: int, subscription: Subscription) -> bool:
    """Whether that changed anything."""
    cursor = await connection.execute(
        f"""insert into subscriptions as s (user_id, {_SUBSCRIPTION})
            values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
            on conflict (reverse(id)) do update set
              status = excluded.status, plan = excluded.plan, item_id = excluded.item_id,
              price_id = excluded.price_id, billing_interval = excluded.billing_interval,
              amount = excluded.amount, currency = excluded.currency,
              period_start = excluded.period_start, period_end = excluded.period_end,
              trial_end = excluded.trial_end, cancel_at = excluded.cancel_at,
              ended_at = excluded.ended_at, next_plan = excluded.next_plan,
              next_amount = excluded.next_amount
            where s.user_id = excluded.user_id and s is distinct from excluded""",
        [user_id, *astuple(subscription)],
    )
    return cursor.rowcount == 1


async def end_missing_subscriptions(
    connection: Connection, user_id: int, known: Collection[str], now: datetime
) -> list[tuple[str, str | None]]:
    """What the service does not know any more has ended: the ids and plans of those."""
    cursor = await connection.execute(
        """update subscriptions set status = 'canceled', ended_at = coalesce(ended_at, %s)
           where user_id = %s and not id = any(%s) and status not in ('canceled', 'incomplete_expired')
           returning id, plan""",
        [now, user_id, list(known)],
    )
    return [(row[0], row[1]) for row in await cursor.fetchall()]


async def save_invoice(connection: Connection, user_id: int, invoice: InvoiceReport) -> None:
    def money(amount: int) -> Decimal:
        return own_units(amount, invoice.currency)

    await connection.execute(
        """insert into invoices as i (id, user_id, subscription_id, number, status, reason, total,
             amount_paid, amount_remaining, currency, next_attempt_at, paid_at, created_at)
           values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
           on conflict (reverse(id)) do update set
             number = excluded.number, status = excluded.status, total = excluded.total,
             amount_paid = excluded.amount_paid, amount_remaining = excluded.amount_remaining,
             next_attempt_at = excluded.next_attempt_at, paid_at = excluded.paid_at
           where i.user_id = excluded.user_id and i is distinct from excluded""",
        [
            invoice.id,
            user_id,
            invoice.subscription_id,
            invoice.number,
            invoice.status,
            invoice.reason,
            money(invoice.total),
            money(invoice.amount_paid),
            money(invoice.amount_remaining),
            invoice.currency,
            invoice.next_attempt_at,
            invoice.paid_at,
            invoice.created_at,
        ],
    )


async def save_payment(
    connection: Connection, user_id: int, charge: ChargeReport, invoice_id: str | None
) -> PaymentState | None:
    """The payment's state where that is news; None where it stood so already."""
    state = payment_state(charge)
    refunded, disputed = (own_units(part, charge.currency) for part in (charge.refunded, charge.disputed))
    changed = await fetch_value(
        connection,
        """insert into payments as p (user_id, stripe_charge_id, amount, currency, status, refunded,
             disputed, invoice_id, created_at)
           values (%s, %s, %s, %s, %s, %s, %s, %s, %s)
           on conflict (stripe_charge_id) do update set
             amount = excluded.amount, status = excluded.status, refunded = excluded.refunded,
             disputed = excluded.disputed, invoice_id = excluded.invoice_id
           where p.user_id = excluded.user_id
             and (p.amount, p.status, p.refunded, p.disputed, p.invoice_id) is distinct from
               (excluded.amount, excluded.status, excluded.refunded, excluded.disputed, excluded.invoice_id)
           returning true""",
        [
            user_id,
            charge.id,
            own_units(charge.amount, charge.currency),
            charge.currency,
            state,
            refunded,
            disputed,
            invoice_id,
            charge.created_at,
        ],
    )
    return state if changed else None


async def plans_bought(connection: Connection) -> set[str]:
    """Plans of subscriptions that have not ended, now or next, and of checkouts that can be paid."""
    cursor = await connection.execute(
        """select plan from subscriptions where status <> all(%(ended)s) and plan is not null
           union select next_plan from subscriptions where status <> all(%(ended)s) and next_plan is not null
           union select plan from checkouts where state in ('creating', 'open') and expires_at > now()""",
        {"ended": ["canceled", "incomplete_expired"]},
    )
    return {row[0] for row in await cursor.fetchall()}


# What people see

_SHOWN = ("open", "paid", "uncollectible", "void")  # drafts may still change


async def invoices(
    connection: Connection, user_id: int, limit: int, before: str | None = None
) -> list[Invoice]:
    """Newest first, older than the invoice `before`."""
    return await _invoices(connection, user_id, limit, before, _SHOWN)


async def unpaid_invoices(connection: Connection, user_id: int) -> list[Invoice]:
    return await _invoices(connection, user_id, 10, None, ("open",))


async def _invoices(
    connection: Connection, user_id: int, limit: int, before: str | None, states: Sequence[str]
) -> list[Invoice]:
    cursor = await connection.execute(
        """select i.id, i.number, i.status, i.reason, i.total, i.amount_paid, i.amount_remaining, i.currency,
             coalesce(p.refunded, 0), coalesce(p.disputed, 0), i.next_attempt_at, i.created_at
           from invoices i left join lateral (
             select sum(refunded) as refunded, sum(disputed) as disputed
             from payments where user_id = i.user_id and invoice_id = i.id) p on true
           where i.user_id = %(user)s and i.status = any(%(states)s)
             and (%(before)s::text is null or (i.created_at, i.id) < (
               select b.created_at, b.id from invoices b where b.user_id = %(user)s and b.id = %(before)s))
           order by i.created_at desc, i.id desc limit %(limit)s""",
        {"user": user_id, "states": list(states), "before": before, "limit": limit},
    )
    return [
        Invoice(
            id=row[0],
            number=row[1],
            status=InvoiceStatus(row[2]),
            reason=row[3],
            total=row[4],
            amount_paid=row[5],
            amount_remaining=row[6],
            currency=row[7],
            refunded=row[8],
            disputed=row[9],
            next_attempt_at=row[10],
            created_at=row[11],
        )
        for row in await cursor.fetchall()
    ]


async def owns_invoice(connection: Connection, user_id: int, invoice_id: str) -> bool:
    return bool(
        await fetch_value(
            connection, "select true from invoices where user_id = %s and id = %s", [user_id, invoice_id]
        )
    )
