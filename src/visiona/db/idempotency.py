"""`Idempotency-Key`: the same key with the same body spends once and answers the same result.

The key is claimed in the transaction that commits the intent: a failed request leaves no trace and
may be repeated; a concurrent twin waits for the first to commit and then finds its result.
"""

import hashlib
import hmac
import json
from dataclasses import dataclass, field
from typing import Any

from visiona.core.errors import Invalid
from visiona.db.pool import Connection, fetch_value
from visiona.vault.model import Cipher

MAX_KEY_LENGTH = 255
KEPT_FOR = "7 days"

_PLACE = "idempotency_keys.request_hash"


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """A client's key for one `operation`, with the body it came with."""

    key: str
    operation: str
    body: Any = field(repr=False)

    def __post_init__(self) -> None:
        if not 1 <= len(self.key) <= MAX_KEY_LENGTH:
            raise Invalid("invalid_idempotency_key", "Idempotency-Key must be 1 to 255 characters long.")

    def digest(self) -> bytes:
        canonical = json.dumps([self.operation, self.body], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).digest()


async def claim(
    connection: Connection, cipher: Cipher | None, user_id: int, key: IdempotencyKey | None
) -> int | None:
    """Claim the key, or answer the id of the result that it already has.

    The person's `cipher` keeps the hash of the body from those who would guess the words in it; a body
    of nothing but our own choices needs none. Raises `Invalid` (`idempotency_key_reused`) when the key
    came with another body before.
    """
    if key is None:
        return None
    digest = key.digest()
    fresh = await fetch_value(
        connection,
        """insert into idempotency_keys (user_id, key, operation, request_hash)
           values (%s, %s, %s, %s) on conflict (user_id, key) do nothing returning true""",
        [user_id, key.key, key.operation, cipher.seal_bytes(_PLACE, digest) if cipher else digest],
    )
    if fresh:
        return None
    row = await (
        await connection.execute(
            "select request_hash, result_id from idempotency_keys where user_id = %s and key = %s",
            [user_id, key.key],
        )
    ).fetchone()
    if row is None or not _is(digest, row[0], cipher):
        raise Invalid(
            "idempotency_key_reused",
            "This Idempotency-Key was used for another request. Send a new key with a new request.",
        )
    return row[1]


def _is(digest: bytes, kept: bytes, cipher: Cipher | None) -> bool:
    """What an earlier release kept is the hash itself, for as long as such rows are kept."""
    sealed = len(kept) > len(digest)
    known = cipher.open_bytes(_PLACE, kept) if cipher and sealed else kept
    return hmac.compare_digest(known, digest)


async def record(connection: Connection, user_id: int, key: IdempotencyKey | None, result_id: int) -> None:
    """Tie the claimed key to what was made."""
    if key is not None:
        await connection.execute(
            "update idempotency_keys set result_id = %s where user_id = %s and key = %s",
            [result_id, user_id, key.key],
        )


async def purge(connection: Connection) -> None:
    """Forget keys that no client still repeats. For the worker's system actor."""
    await connection.execute(
        "delete from idempotency_keys where created_at < now() - %s::interval", [KEPT_FOR]
    )
