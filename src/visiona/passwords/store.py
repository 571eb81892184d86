"""SQL of passwords. Hashes are reached through functions that answer for one address or one person."""

import uuid

from visiona.db.pool import Connection, fetch_value
from visiona.passwords.model import StoredCredentials


async def sign_up(connection: Connection, subject: str, email: str, password_hash: str) -> int | None:
    """The new user's id, or None when the address is taken. Records `account.created`."""
    return await fetch_value(
        connection, "select visiona.sign_up(%s, %s, %s)", [subject, email, password_hash]
    )


async def find_credentials(connection: Connection, email: str) -> StoredCredentials | None:
    """In a transaction that looks up this address."""
    cursor = await connection.execute(
        "select user_id, subject, password_hash from visiona.find_credentials(%s)", [email]
    )
    row = await cursor.fetchone()
    return None if row is None else StoredCredentials(*row)


async def replace_hash(connection: Connection, user_id: int, old: str, new: str) -> None:
    """Does nothing when the password was changed meanwhile."""
    await connection.execute("select visiona.rehash(%s, %s, %s)", [user_id, old, new])


async def is_unused(connection: Connection, user_id: int) -> bool:
    """Whether the transaction's person is new, and nobody has ever been signed in as them. Sessions are
    remembered for longer than people are new here.
    """
    return await fetch_value(
        connection,
        """select u.created_at > now() - interval '5 minutes'
             and not exists (select from sessions s where s.user_id = u.id)
           from users u where u.id = %s""",
        [user_id],
    )


async def own_hash(connection: Connection) -> str | None:
    """Of the transaction's person; None where they have no password here."""
    return await fetch_value(connection, "select visiona.own_password()", [])


async def set_hash(connection: Connection, new: str, keep_session: uuid.UUID | None) -> bool:
    """Of the transaction's person, whose other sessions end; false where the one to be kept has ended, or
    where they have no password here.
    """
    return await fetch_value(connection, "select visiona.set_password(%s, %s)", [new, keep_session])
