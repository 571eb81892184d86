"""A person's API keys, and recognizing whose a key is."""

from visiona.audit import service as audit
from visiona.audit.model import Action
from visiona.core.clock import Clock
from visiona.core.errors import Conflict, NotFound, Unauthenticated
from visiona.db.actor import SystemActor, UserActor
from visiona.db.pool import Connection, Database
from visiona.keys import store
from visiona.keys.model import (
    KEPT_AFTER_END,
    KEYS_MAX,
    ApiKey,
    CreatedKey,
    KeyHolder,
    KeyRequest,
    is_token,
    new_token,
    token_hash,
    token_prefix,
)
from visiona.mail import service as mail
from visiona.mail.model import Kind
from visiona.vault.service import Vault


class KeyService:
    def __init__(self, database: Database, vault: Vault, clock: Clock) -> None:
        self._database = database
        self._vault = vault
        self._clock = clock

    async def create(self, actor: UserActor, wanted: KeyRequest) -> CreatedKey:
        """A new key, whose token is told this once. Raises `Conflict` (`too_many_keys`)."""
        token = new_token()
        expires_at = self._clock.now() + wanted.lifetime
        cipher = await self._vault.cipher(actor.user_id)
        async with self._database.transaction(actor) as connection:
            key_id = await store.add(
                connection, cipher, wanted, token_prefix(token), token_hash(token), expires_at
            )
            if key_id is None:
                raise Conflict("too_many_keys", f"You have {KEYS_MAX} keys. Revoke one that you do not use.")
            details = {"key_id": key_id, "scopes": list(wanted.scopes)}
            await audit.record(connection, actor.user_id, Action.KEY_CREATED, details)
            await mail.post(connection, actor.user_id, Kind.API_KEY_ADDED)
            key = await store.find(connection, cipher, key_id)
        if key is None:
            raise LookupError("a key that was just added is not there")
        return CreatedKey(key, token)

    async def page(self, actor: UserActor, limit: int, before: int | None = None) -> list[ApiKey]:
        """Newest first; those that ended are among them for a month."""
        cipher = await self._vault.cipher(actor.user_id)
        async with self._database.transaction(actor) as connection:
            return await store.page(connection, cipher, limit, before)

    async def revoke(self, actor: UserActor, key_id: int) -> None:
        """The key opens nothing from now on. Safe to repeat. Raises `NotFound` (`key_not_found`)."""
        cipher = await self._vault.cipher(actor.user_id)
        async with self._database.transaction(actor) as connection:
            if await store.revoke(connection, actor.user_id, key_id):
                await audit.record(connection, actor.user_id, Action.KEY_REVOKED, {"key_id": key_id})
            elif await store.find(connection, cipher, key_id) is None:
                raise NotFound("key_not_found", "There is no such API key.")

    async def authenticate(self, token: str) -> KeyHolder:
        """Whose program shows this key. Whether its owner is suspended is for the caller to look at.

        Raises `Unauthenticated` (`invalid_token`), alike for what is unknown, revoked or expired.
        """
        holder = None
        if is_token(token):
            async with self._database.anonymous() as connection:
                holder = await store.use(connection, token_hash(token))
        if holder is None:
            raise Unauthenticated("invalid_token", "This API key is not valid. It may have ended.")
        return holder

    async def purge(self) -> None:
        """Forget keys that ended a month ago. The database must be the worker's."""
        async with self._database.transaction(SystemActor("purge")) as connection:
            await store.purge(connection, KEPT_AFTER_END)


async def revoke_all(connection: Connection, user_id: int) -> None:
    """On the person's transaction: none of their keys opens anything from now on."""
    for key_id in await store.revoke_all(connection, user_id):
        await audit.record(connection, user_id, Action.KEY_REVOKED, {"key_id": key_id})
