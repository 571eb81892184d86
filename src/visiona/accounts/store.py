"""SQL of accounts. Before anybody is known it goes through functions that answer for one key each."""

import uuid
from collections.abc import Iterable
from datetime import datetime

from psycopg.rows import class_row

from visiona.accounts.model import AttemptLimit, Session, StoredCredentials, StoredSession, User
from visiona.db.pool import Connection, fetch_value


async def sign_up(connection: Connection, subject: str, email: str, password_hash: str) -> int | None:
    """The new user's id, or None when the address is taken. Records `account.created`."""
    return await fetch_value(
        connection, "select visiona.sign_up(%s, %s, %s)", [subject, email, password_hash]
    )


async def find_credentials(connection: Connection, email: str) -> StoredCredentials | None:
    cursor = await connection.execute(
        "select user_id, subject, password_hash, status = 'suspended' from visiona.find_credentials(%s)",
        [email],
    )
    row = await cursor.fetchone()
    return None if row is None else StoredCredentials(*row)


async def replace_password_hash(connection: Connection, user_id: int, old: str, new: str) -> None:
    """Does nothing when the password was changed meanwhile."""
    await connection.execute("select visiona.rehash(%s, %s, %s)", [user_id, old, new])


async def open_session(
    connection: Connection, session: Session, secret_hash: bytes, client: str, expires_at: datetime
) -> None:
    await connection.execute(
        "select visiona.open_session(%s, %s, %s, %s, null)",
        [session.session_id, secret_hash, client, expires_at],
    )


async def find_session(
    connection: Connection, *, session_id: uuid.UUID | None = None, secret_hash: bytes | None = None
) -> StoredSession | None:
    """The session if it is alive: neither revoked nor expired."""
    cursor = await connection.execute(
        "select user_id, subject, session_id, status = 'suspended' from visiona.find_session(%s, %s)",
        [session_id, secret_hash],
    )
    row = await cursor.fetchone()
    return None if row is None else StoredSession(Session(*row[:3]), suspended=row[3])


async def touch_session(connection: Connection, session_id: uuid.UUID) -> bool:
    """Note that the session is in use; false when it no longer lives."""
    cursor = await connection.execute(
        """update sessions set last_seen_at = now()
        where id = %s and revoked_at is null and expires_at > now()""",
        [session_id],
    )
    return cursor.rowcount == 1


async def revoke_session(connection: Connection, session_id: uuid.UUID) -> bool:
    """False when it was revoked before."""
    cursor = await connection.execute(
        "update sessions set revoked_at = now() where id = %s and revoked_at is null", [session_id]
    )
    return cursor.rowcount == 1


async def find_user(connection: Connection, user_id: int) -> User | None:
    cursor = await connection.execute("select id, email, created_at from users where id = %s", [user_id])
    row = await cursor.fetchone()
    return None if row is None else User(*row)


async def count_attempts(connection: Connection, limits: Iterable[AttemptLimit]) -> int:
    """Count one attempt against every limit; the seconds to wait, 0 to go ahead."""
    keys, free, ceilings = zip(*((limit.key, limit.free, limit.ceiling_s) for limit in limits), strict=True)
    return await fetch_value(
        connection,
        """select max(visiona.count_attempt(key, free, ceiling))
        from unnest(%s::bytea[], %s::integer[], %s::integer[]) as limits (key, free, ceiling)""",
        [list(keys), list(free), list(ceilings)],
    )


async def forgive_attempt(connection: Connection, limits: Iterable[AttemptLimit]) -> None:
    """The attempt succeeded: forget it, and where the limit is its owner's alone all those before."""
    for limit in limits:
        await connection.execute(
            "select visiona.take_back_attempt(%s)" if limit.shared else "select visiona.forget_attempts(%s)",
            [limit.key],
        )


async def purge(connection: Connection) -> None:
    """Remove sessions that can never be used again, and attempts that no longer slow anybody."""
    await connection.execute("delete from sessions where expires_at < now() or revoked_at < now()")
    await connection.execute("select visiona.purge_attempts()")


async def users(connection: Connection) -> list[User]:
    """Everybody, for the worker's system actor."""
    async with connection.cursor(row_factory=class_row(User)) as cursor:
        await cursor.execute("select id, email, created_at from users order by id")
        return await cursor.fetchall()


async def find_user_by_email(connection: Connection, email: str) -> User | None:
    """For the worker's system actor."""
    async with connection.cursor(row_factory=class_row(User)) as cursor:
        await cursor.execute("select id, email, created_at from users where email = %s", [email])
        return await cursor.fetchone()


async def find_id_by_subject(connection: Connection, subject: str) -> int | None:
    return await fetch_value(connection, "select id from users where clerk_id = %s", [subject])
