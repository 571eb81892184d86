"""SQL of passwords. Hashes are reached through functions that answer for one address or one person."""

import uuid

from visiona.db.pool import Connection, fetch_value
from visiona.db.sealed import USER_EMAIL
from visiona.passwords.model import StoredCredentials
from visiona.vault.model import Cipher


async def next_user_id(connection: Connection) -> int:
    """A number that nobody has or had. Needs nobody's identity."""
    return await fetch_value(connection, "select visiona.next_user_id()", [])


async def sign_up(
    connection: Connection, cipher: Cipher, subject: str, email: str, index: bytes, password_hash: str
) -> bool:
    """In a transaction that looks up the index of this address, for whom `cipher` was made. False when the
    address is taken. Records `account.created`.
    """
    sealed = cipher.seal(USER_EMAIL.place, email)
    return await fetch_value(
        connection,
        "select visiona.sign_up(%s, %s, %s, %s, %s)",
        [cipher.user_id, subject, sealed, index, password_hash],
    )


async def find_credentials(connection: Connection, index: bytes) -> StoredCredentials | None:
    """In a transaction that looks up this index of an address."""
    cursor = await connection.execute(
        "select user_id, subject, password_hash from visiona.find_credentials(%s)", [index]
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
