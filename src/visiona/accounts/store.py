"""SQL of accounts. Before anybody is known it goes through functions that answer for one key each."""

import uuid
from datetime import datetime

from psycopg.rows import class_row

from visiona.accounts.model import (
    EndedSession,
    SealedUser,
    Session,
    SessionInfo,
    Standing,
    StoredSession,
    User,
)
from visiona.db.pool import Connection, fetch_value
from visiona.db.sealed import SESSION_CLIENT, USER_EMAIL
from visiona.ports.identity import Profile
from visiona.vault.model import Cipher

_USER = "select id, email, created_at, email_verified_at is not null as email_verified, role from users "


async def find_standing(
    connection: Connection, subject: str, provider_session_id: str | None
) -> Standing | None:
    """In a transaction that looks up this subject. `ended` says it of that session at the provider."""
    cursor = await connection.execute(
        "select user_id, status, role, email_verified, ended from visiona.find_subject(%s, %s)",
        [subject, provider_session_id],
    )
    row = await cursor.fetchone()
    return None if row is None else Standing(*row)


async def adopt(connection: Connection, profile: Profile, cipher: Cipher, index: bytes | None) -> int | None:
    """In a transaction that looks up this subject: write down what the provider says, the address sealed with
    `cipher`, whose person somebody new becomes; `index` is that of the address.

    The user's id, and nothing is written where that is not the cipher's. None for who was deleted there, and
    for somebody new whose address is missing or somebody else's.
    """
    return await fetch_value(
        connection,
        "select visiona.adopt(%s, %s, %s, %s, %s, %s, %s)",
        [
            profile.subject,
            cipher.user_id,
            cipher.seal_optional(USER_EMAIL.place, profile.email),
            index,
            profile.email_verified,
            profile.barred,
            profile.revision,
        ],
    )


async def open_session(
    connection: Connection,
    session_id: uuid.UUID,
    secret_hash: bytes,
    client: bytes | None,
    expires_at: datetime,
    provider_session_id: str | None,
) -> datetime:
    """For the transaction's person, `client` sealed. Answers since when they are confirmed."""
    return await fetch_value(
        connection,
        "select visiona.open_session(%s, %s, %s, %s, %s)",
        [session_id, secret_hash, client, expires_at, provider_session_id],
    )


async def find_session(
    connection: Connection, *, session_id: uuid.UUID | None = None, secret_hash: bytes | None = None
) -> StoredSession | None:
    """The session if it is alive: neither revoked nor expired."""
    cursor = await connection.execute(
        """select user_id, subject, session_id, confirmed_at, provider_session_id, status, role,
             email_verified
           from visiona.find_session(%s, %s)""",
        [session_id, secret_hash],
    )
    row = await cursor.fetchone()
    if row is None:
        return None
    user_id, subject, found_id, confirmed_at, provider_session_id, status, role, email_verified = row
    session = Session(
        user_id=user_id,
        subject=subject,
        session_id=found_id,
        confirmed_at=confirmed_at,
        provider_session_id=provider_session_id,
        role=role,
        email_verified=email_verified,
    )
    return StoredSession(session, status)


async def touch_session(connection: Connection, session_id: uuid.UUID) -> bool:
    """Note that the session is in use; false when it no longer lives."""
    cursor = await connection.execute(
        """update sessions set last_seen_at = now()
        where id = %s and revoked_at is null and expires_at > now()""",
        [session_id],
    )
    return cursor.rowcount == 1


async def confirm_session(connection: Connection, session_id: uuid.UUID) -> None:
    await connection.execute(
        "update sessions set confirmed_at = now() where id = %s and revoked_at is null", [session_id]
    )


async def set_confirmed(connection: Connection, session_id: uuid.UUID, confirmed_at: datetime) -> None:
    """For a session that begins with a proof from before."""
    await connection.execute(
        "update sessions set confirmed_at = %s where id = %s and revoked_at is null",
        [confirmed_at, session_id],
    )


async def revoke_session(connection: Connection, session_id: uuid.UUID) -> EndedSession | None:
    """None when it was revoked before, or is not the transaction's person's."""
    cursor = await connection.execute(
        """update sessions set revoked_at = now() where id = %s and revoked_at is null
           returning id, provider_session_id""",
        [session_id],
    )
    row = await cursor.fetchone()
    return None if row is None else EndedSession(*row)


async def revoke_other_sessions(connection: Connection, kept: Session) -> list[EndedSession]:
    """Those that lived until now. One that is known by a token of the provider's has no row of its own:
    what hangs on the same session there is kept.
    """
    cursor = await connection.execute(
        """update sessions set revoked_at = now()
           where user_id = %s and id is distinct from %s and revoked_at is null and expires_at > now()
             and (%s or provider_session_id is distinct from %s)
           returning id, provider_session_id""",
        [kept.user_id, kept.session_id, kept.session_id is not None, kept.provider_session_id],
    )
    return [EndedSession(*row) for row in await cursor.fetchall()]


async def sessions(connection: Connection, cipher: Cipher, current: uuid.UUID | None) -> list[SessionInfo]:
    """Those of this person that live, the one used last first."""
    cursor = await connection.execute(
        """select id, client, created_at, last_seen_at, expires_at, id is not distinct from %s
           from sessions where user_id = %s and revoked_at is null and expires_at > now()
           order by last_seen_at desc, id""",
        [current, cipher.user_id],
    )
    return [
        SessionInfo(
            id=session_id,
            client=cipher.open_optional(SESSION_CLIENT.place, client) or "",
            created_at=created_at,
            last_seen_at=last_seen_at,
            expires_at=expires_at,
            current=is_current,
        )
        for session_id, client, created_at, last_seen_at, expires_at, is_current in await cursor.fetchall()
    ]


async def find_user(connection: Connection, cipher: Cipher) -> User | None:
    """The person whose cipher it is."""
    cursor = await connection.execute(_USER + "where id = %s", [cipher.user_id])
    row = await cursor.fetchone()
    return None if row is None else SealedUser(*row).opened(cipher)


async def purge(connection: Connection) -> None:
    """Remove sessions that can never be used again, and attempts that no longer slow anybody.

    One that hangs on a session at the provider stays for a week: for as long as a token of the provider's
    for it could be shown, and its end may not have been told there yet.
    """
    await connection.execute(
        """delete from sessions
           where least(expires_at, revoked_at + interval '10 minutes')
             < now() - case when provider_session_id is null then interval '0' else interval '7 days' end"""
    )
    await connection.execute("select visiona.purge_attempts()")


async def users(connection: Connection) -> list[SealedUser]:
    """Everybody, for the worker's system actor."""
    async with connection.cursor(row_factory=class_row(SealedUser)) as cursor:
        await cursor.execute(_USER + "order by id")
        return await cursor.fetchall()


async def find_user_by_email(connection: Connection, index: bytes) -> SealedUser | None:
    """By the index of the address. For the worker's system actor."""
    async with connection.cursor(row_factory=class_row(SealedUser)) as cursor:
        await cursor.execute(_USER + "where encode(email_index, 'hex') = %s", [index.hex()])
        return await cursor.fetchone()


async def find_id_by_subject(connection: Connection, subject: str) -> int | None:
    return await fetch_value(connection, "select id from users where clerk_id = %s", [subject])


# What the identity service tells, for the worker's system actor


async def depart(connection: Connection, subject: str) -> int | None:
    """Nobody of this subject is let in any more, nor comes back; their address is nobody's. The id of whose
    row it was, if any.
    """
    await connection.execute("select pg_advisory_xact_lock(visiona.identity_lock())")
    await connection.execute(
        """insert into departed_subjects (subject_hash) values (sha256(convert_to(%s, 'UTF8')))
           on conflict do nothing""",
        [subject],
    )
    await connection.execute(
        """update sessions set revoked_at = now()
           where revoked_at is null and user_id in (select id from users where clerk_id = %s)""",
        [subject],
    )
    return await fetch_value(
        connection,
        """update users set status = 'deleted', email = null, email_index = null, email_verified_at = null
           where clerk_id = %s and status <> 'deleted' returning id""",
        [subject],
    )


async def revoke_provider_session(connection: Connection, provider_session_id: str) -> None:
    await connection.execute(
        "update sessions set revoked_at = now() where provider_session_id = %s and revoked_at is null",
        [provider_session_id],
    )


async def note_check(connection: Connection, provider_session_id: str) -> None:
    await connection.execute(
        "update sessions set checked_at = now() where provider_session_id = %s", [provider_session_id]
    )


async def unchecked_sessions(connection: Connection, older_than_s: float, limit: int) -> list[str]:
    """Sessions at the provider that live here, and were last asked about longer ago."""
    cursor = await connection.execute(
        """select provider_session_id from sessions
           where provider_session_id is not null and revoked_at is null and expires_at > now()
             and checked_at < now() - make_interval(secs => %s)
           order by checked_at limit %s""",
        [older_than_s, limit],
    )
    return [row[0] for row in await cursor.fetchall()]


async def ended_provider_session(connection: Connection, session_id: uuid.UUID) -> str | None:
    """The session at the provider of one that was revoked here."""
    return await fetch_value(
        connection,
        "select provider_session_id from sessions where id = %s and revoked_at is not null",
        [session_id],
    )
