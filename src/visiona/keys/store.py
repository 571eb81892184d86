"""SQL of API keys. Adding and recognizing one goes through functions that answer for one key each."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from visiona.db.pool import Connection, fetch_value
from visiona.db.sealed import API_KEY_NAME
from visiona.keys.model import ApiKey, KeyHolder, KeyRequest, known_scopes
from visiona.vault.model import Cipher

_COLUMNS = "id, name, prefix, scopes, created_at, expires_at, last_used_at, revoked_at"


async def add(
    connection: Connection,
    cipher: Cipher,
    wanted: KeyRequest,
    prefix: str,
    secret_hash: bytes,
    expires_at: datetime,
) -> int | None:
    """For the person whose transaction and cipher it is. The new key's id, or None where they have as many as
    anybody may have.
    """
    return await fetch_value(
        connection,
        "select visiona.add_api_key(%s, %s, %s, %s, %s)",
        [
            cipher.seal(API_KEY_NAME.place, wanted.name),
            prefix,
            secret_hash,
            [scope.value for scope in wanted.scopes],
            expires_at,
        ],
    )


async def find(connection: Connection, cipher: Cipher, key_id: int) -> ApiKey | None:
    """Of the person whose cipher it is."""
    cursor = await connection.execute(
        f"select {_COLUMNS} from api_keys where user_id = %s and id = %s", [cipher.user_id, key_id]
    )
    row = await cursor.fetchone()
    return None if row is None else _key(cipher, row)


async def page(connection: Connection, cipher: Cipher, limit: int, before: int | None) -> list[ApiKey]:
    """Newest first, older than the key `before`."""
    cursor = await connection.execute(
        f"""select {_COLUMNS} from api_keys
            where user_id = %s and (%s::bigint is null or id < %s) order by id desc limit %s""",
        [cipher.user_id, before, before, limit],
    )
    return [_key(cipher, row) for row in await cursor.fetchall()]


async def revoke(connection: Connection, user_id: int, key_id: int) -> bool:
    """False where there is no such key, or it was revoked before."""
    cursor = await connection.execute(
        "update api_keys set revoked_at = now() where user_id = %s and id = %s and revoked_at is null",
        [user_id, key_id],
    )
    return cursor.rowcount == 1


async def revoke_all(connection: Connection, user_id: int) -> list[int]:
    """Answers the ids of those that were not revoked before."""
    cursor = await connection.execute(
        "update api_keys set revoked_at = now() where user_id = %s and revoked_at is null returning id",
        [user_id],
    )
    return [row[0] for row in await cursor.fetchall()]


async def use(connection: Connection, secret_hash: bytes) -> KeyHolder | None:
    """Whose key this is if it lives, noting that it is in use."""
    cursor = await connection.execute(
        """select key_id, user_id, subject, scopes, status = 'suspended'
           from visiona.use_api_key(%s)""",
        [secret_hash],
    )
    row = await cursor.fetchone()
    if row is None:
        return None
    key_id, user_id, subject, scopes, suspended = row
    return KeyHolder(key_id, user_id, subject, frozenset(known_scopes(scopes)), suspended)


async def purge(connection: Connection, kept: timedelta) -> None:
    """Remove keys that ended this long ago, for the worker's system actor."""
    await connection.execute(
        "delete from api_keys where expires_at < now() - %(kept)s or revoked_at < now() - %(kept)s",
        {"kept": kept},
    )


def _key(cipher: Cipher, row: Sequence[Any]) -> ApiKey:
    key_id, sealed_name, prefix, scopes, *times = row
    return ApiKey(key_id, cipher.open(API_KEY_NAME.place, sealed_name), prefix, known_scopes(scopes), *times)
