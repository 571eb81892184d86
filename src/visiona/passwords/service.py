"""The built-in identity provider: whoever knows an address and its password is its person.

A password is known as its Argon2id hash. Guessing is slowed down by whoever asks (`accounts`).
"""

import asyncio
import hashlib
import uuid
from concurrent.futures import ThreadPoolExecutor

import argon2
from argon2.exceptions import InvalidHashError, VerificationError

from visiona.audit import service as audit
from visiona.core.ids import opaque_id
from visiona.db.actor import Anonymous, UserActor
from visiona.db.pool import Connection, Database
from visiona.passwords import store
from visiona.passwords.model import StoredCredentials
from visiona.ports.identity import AddressTaken, Profile, WrongCredentials
from visiona.vault.model import Cipher
from visiona.vault.service import Vault


class PasswordService:
    """An `IdentityProvider`. `hasher` differs from the default only in tests."""

    def __init__(
        self, database: Database, vault: Vault, *, hasher: argon2.PasswordHasher | None = None
    ) -> None:
        self._database = database
        self._vault = vault
        self._hasher = hasher or default_hasher()
        # Two at a time, off the event loop, so that a flood cannot take all the memory.
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="argon2")
        # Verifying against it costs what anybody's hash costs; no password is known to match it.
        parameters = f"m={self._hasher.memory_cost},t={self._hasher.time_cost},p={self._hasher.parallelism}"
        self._nobodys_hash = f"$argon2id$v=19${parameters}${'A' * 22}${'A' * 43}"

    async def register(self, email: str, password: str) -> Profile:
        """As the port says: a repeat finds the account for as long as it is new and nobody has used it."""
        password_hash = await self.hash(password)
        subject = f"user_{opaque_id()}"
        earlier = await self._find(email)
        if earlier is None:
            if await self._sign_up(subject, email, password_hash):
                return _profile(subject, email, password_hash)
            earlier = await self._find(email)  # somebody was quicker
        if earlier is None or not await self._matches(earlier.password_hash, password):
            raise AddressTaken
        async with self._database.transaction(UserActor(earlier.user_id, earlier.subject)) as connection:
            if not await store.is_unused(connection, earlier.user_id):
                raise AddressTaken
        return _profile(earlier.subject, email, earlier.password_hash)

    async def check_password(self, email: str, password: str) -> Profile:
        """As the port says. An unknown address costs what a wrong password costs."""
        stored = await self._find(email)
        correct = await self._matches(
            self._nobodys_hash if stored is None else stored.password_hash, password
        )
        if stored is None or not correct:
            raise WrongCredentials
        return _profile(stored.subject, email, await self._renewed_hash(stored, password))

    async def find(self, email: str) -> UserActor | None:
        """Whose address this is."""
        stored = await self._find(email)
        return None if stored is None else UserActor(stored.user_id, stored.subject)

    async def knows(self, actor: UserActor, password: str) -> bool:
        """Whether this is the person's password."""
        async with self._database.transaction(actor) as connection:
            stored = await store.own_hash(connection)
        return await self._matches(self._nobodys_hash if stored is None else stored, password)

    async def mark(self, actor: UserActor) -> str:
        """The `mark` of the person's profile."""
        async with self._database.transaction(actor) as connection:
            return await self.current_mark(connection)

    async def current_mark(self, connection: Connection) -> str:
        """As `mark`, on the person's transaction."""
        return _mark(await store.own_hash(connection) or "")

    async def hash(self, password: str) -> str:
        """What `replace` stores. Apart from it, since no transaction should wait for it."""
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, self._hasher.hash, password.encode()
        )

    async def replace(
        self, connection: Connection, password_hash: str, *, keep_session: uuid.UUID | None
    ) -> bool:
        """On the person's transaction: this is their password from now on. Their sessions end, but for the
        one that they keep. False where that one has ended itself: then nothing is changed.
        """
        return await store.set_hash(connection, password_hash, keep_session)

    async def _sign_up(self, subject: str, email: str, password_hash: str) -> bool:
        """False where the address is taken; the key that was made for it is destroyed then."""
        cipher = await make_key(self._database, self._vault)
        audit.visited(cipher)
        index = address_index(self._vault, email)
        async with self._database.transaction(Anonymous(looks_up=index.hex())) as connection:
            done = await store.sign_up(connection, cipher, subject, email, index, password_hash)
        if not done:
            await self._vault.destroy(cipher.user_id)
        return done

    async def _find(self, email: str) -> StoredCredentials | None:
        index = address_index(self._vault, email)
        async with self._database.transaction(Anonymous(looks_up=index.hex())) as connection:
            return await store.find_credentials(connection, index)

    async def _renewed_hash(self, stored: StoredCredentials, password: str) -> str:
        """Hash anew with today's parameters, which is only possible while the password is at hand."""
        if not self._hasher.check_needs_rehash(stored.password_hash):
            return stored.password_hash
        renewed = await self.hash(password)
        async with self._database.transaction(UserActor(stored.user_id, stored.subject)) as connection:
            await store.replace_hash(connection, stored.user_id, stored.password_hash, renewed)
        return renewed

    async def _matches(self, password_hash: str, password: str) -> bool:
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, self._verify, password_hash, password.encode()
        )

    def _verify(self, password_hash: str, password: bytes) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return False


def address_index(vault: Vault, email: str) -> bytes:
    """By what a normalized address is found where it cannot be read."""
    return vault.blind_index("email", email)


async def make_key(database: Database, vault: Vault) -> Cipher:
    """For somebody who is to be, whose number is the cipher's: there is never a row without a key."""
    async with database.anonymous() as connection:
        user_id = await store.next_user_id(connection)
    return await vault.create(user_id)


def default_hasher() -> argon2.PasswordHasher:
    """Argon2id with 19 MiB, two passes and one lane: OWASP's recommendation."""
    return argon2.PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)


def _profile(subject: str, email: str, password_hash: str) -> Profile:
    mark = _mark(password_hash)
    return Profile(subject=subject, email=email, email_verified=False, barred=False, revision=0, mark=mark)


def _mark(password_hash: str) -> str:
    """A hash of a hash with 128 random bits in it: nobody finds the way back."""
    return hashlib.sha256(password_hash.encode()).hexdigest()[:32]
