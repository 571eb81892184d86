"""SQL of one-time links."""

import uuid
from datetime import datetime

from visiona.addresses.model import Purpose, SealedLink
from visiona.db.pool import Connection, fetch_value
from visiona.db.sealed import LINK_ADDRESS, USER_EMAIL
from visiona.passwords.model import stand_in
from visiona.vault.model import Cipher


async def insert(
    connection: Connection,
    cipher: Cipher,
    link_id: uuid.UUID,
    purpose: Purpose,
    address: str,
    expires_at: datetime,
) -> None:
    await connection.execute(
        "insert into email_links (id, user_id, purpose, address, expires_at) values (%s, %s, %s, %s, %s)",
        [link_id, cipher.user_id, purpose.value, cipher.seal(LINK_ADDRESS.place, address), expires_at],
    )


async def retire(connection: Connection, user_id: int, *purposes: Purpose) -> None:
    """Earlier links of these kinds cannot be used any more."""
    await connection.execute(
        "update email_links set used_at = now() where user_id = %s and purpose = any(%s) and used_at is null",
        [user_id, [purpose.value for purpose in purposes]],
    )


async def find(connection: Connection, link_id: uuid.UUID) -> SealedLink | None:
    """The link if it can be used: neither used nor expired."""
    cursor = await connection.execute(
        """select user_id, subject, purpose, address, current_address, status
           from visiona.find_email_link(%s)""",
        [link_id],
    )
    row = await cursor.fetchone()
    if row is None:
        return None
    user_id, subject, purpose, address, current_address, status = row
    return SealedLink(user_id, subject, Purpose(purpose), address, current_address, status)


async def use(connection: Connection, link_id: uuid.UUID) -> bool:
    """On its person's transaction; false where somebody was quicker."""
    cursor = await connection.execute(
        """update email_links set used_at = now()
           where id = %s and used_at is null and expires_at > now()""",
        [link_id],
    )
    return cursor.rowcount == 1


async def set_address(connection: Connection, cipher: Cipher, address: str, index: bytes) -> bool:
    """In a transaction of the person that looks up the index of the address too: it is theirs, and shown to
    be. False where it is somebody else's.
    """
    sealed = cipher.seal(USER_EMAIL.place, address)
    return await fetch_value(connection, "select visiona.set_address(%s, %s)", [sealed, index])


async def current_address(connection: Connection, cipher: Cipher) -> tuple[str, bool]:
    """The address, and whether it was shown to be the person's."""
    cursor = await connection.execute(
        "select email, email_verified_at is not null from users where id = %s", [cipher.user_id]
    )
    row = await cursor.fetchone()
    if row is None:
        raise LookupError("the transaction's person has no row")
    sealed, verified = row
    return cipher.open_optional(USER_EMAIL.place, sealed) or stand_in(cipher.user_id), verified


async def purge(connection: Connection, before: datetime) -> None:
    await connection.execute("delete from email_links where expires_at < %s", [before])
