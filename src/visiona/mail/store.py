"""SQL of mails."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from visiona.db.pool import Connection
from visiona.db.sealed import LINK_ADDRESS, MAIL_ADDRESS, USER_EMAIL
from visiona.mail.model import LEASE, Kind, Mail, MailState, SealedAddress


async def insert(
    connection: Connection,
    mail_id: UUID,
    user_id: int,
    kind: Kind,
    address: bytes | None,
    reference: UUID | None,
    details: Mapping[str, Any],
) -> None:
    await connection.execute(
        """insert into mails (id, user_id, kind, address, reference, details)
           values (%s, %s, %s, %s, %s, %s)""",
        [mail_id, user_id, kind.value, address, reference, Jsonb(dict(details))],
    )


async def insert_once(
    connection: Connection, mail_id: UUID, user_id: int, kind: Kind, once: str, details: Mapping[str, Any]
) -> bool:
    """False when there is one already. The worker's alone."""
    cursor = await connection.execute(
        """insert into mails (id, user_id, kind, once, details) values (%s, %s, %s, %s, %s)
           on conflict (user_id, once) do nothing""",
        [mail_id, user_id, kind.value, once, Jsonb(dict(details))],
    )
    return cursor.rowcount == 1


async def take(connection: Connection, mail_id: UUID, now: datetime) -> Mail | None:
    """Take the mail up, so that nobody else does meanwhile; None where it is not to be sent now."""
    row = await (
        await connection.execute(
            """update mails m set attempts = attempts + 1, next_attempt_at = %s
               from users u
               where m.id = %s and u.id = m.user_id and m.state = 'waiting'
                 and (m.next_attempt_at is null or m.next_attempt_at <= %s)
               returning m.user_id, m.kind,
                 (select l.address from email_links l where l.user_id = m.user_id and l.id = m.reference),
                 m.address, u.email,
                 case when u.barred and u.status = 'active' then 'suspended' else u.status end,
                 m.reference, m.details, m.attempts, m.created_at""",
            [now + LEASE, mail_id, now],
        )
    ).fetchone()
    if row is None:
        return None
    user_id, kind, *addresses, status, reference, details, attempts, created_at = row
    places = (LINK_ADDRESS.place, MAIL_ADDRESS.place, USER_EMAIL.place)
    found = (SealedAddress(*one) for one in zip(places, addresses, strict=True) if one[1] is not None)
    return Mail(
        id=mail_id,
        user_id=user_id,
        kind=kind,
        to=next(found, None),
        user_status=status,
        reference=reference,
        details=details,
        attempts=attempts,
        created_at=created_at,
    )


async def finish(connection: Connection, mail_id: UUID, state: MailState, now: datetime) -> None:
    """The end of a mail; from then on nothing of it is needed but that there was one."""
    await connection.execute(
        """update mails set state = %(state)s, address = null, reference = null, details = '{}',
             next_attempt_at = null, sent_at = case when %(state)s = 'sent' then %(now)s::timestamptz end
           where id = %(id)s and state = 'waiting'""",
        {"state": state.value, "now": now, "id": mail_id},
    )


async def postpone(connection: Connection, mail_id: UUID, until: datetime) -> None:
    await connection.execute(
        "update mails set next_attempt_at = %s where id = %s and state = 'waiting'", [until, mail_id]
    )


async def due(connection: Connection, now: datetime, limit: int) -> list[UUID]:
    """Those whose pause is over, and those that were not tried though they have waited a while."""
    cursor = await connection.execute(
        """select id from mails
           where state = 'waiting'
             and coalesce(next_attempt_at, created_at + interval '30 seconds') <= %s
           order by created_at limit %s""",
        [now, limit],
    )
    return [row[0] for row in await cursor.fetchall()]


async def purge(connection: Connection, before: datetime) -> None:
    await connection.execute("delete from mails where created_at < %s", [before])
