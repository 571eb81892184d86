"""Signing up, logging in and out, and recognizing whoever is signed in.

Every secret has one place: a password is known as its Argon2id hash, a session's secret as its
SHA-256. A token is believed only while its session lives in the database, so that logging out and
suspending take effect at once.
"""

import asyncio
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import argon2
from argon2.exceptions import InvalidHashError, VerificationError

from visiona.accounts import store
from visiona.accounts.model import (
    AccessToken,
    AccountSettings,
    AttemptLimit,
    ClientInfo,
    Session,
    SignedIn,
    StoredCredentials,
    StoredSession,
    TokenKeys,
    User,
    attempt_limits,
    new_credentials,
    normalized_email,
    presented_credentials,
    secret_hash,
)
from visiona.audit import service as audit
from visiona.audit.model import Action
from visiona.core.clock import Clock
from visiona.core.errors import Conflict, Forbidden, NotFound, TooMany, Unauthenticated
from visiona.core.ids import opaque_id, secret_token
from visiona.db.actor import Anonymous, SystemActor, UserActor
from visiona.db.pool import Connection, Database


class AccountService:
    """The accounts of one Visiona. `hasher` differs from the default only in tests."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        settings: AccountSettings,
        *,
        hasher: argon2.PasswordHasher | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings
        self._tokens = TokenKeys(settings.signing_keys, settings.issuer)
        self._passwords = _Passwords(hasher or default_hasher())

    async def sign_up(self, email: str, password: str, client: ClientInfo) -> SignedIn:
        """Raises `Invalid`, `Conflict` (`email_taken`) or `TooMany` (`too_many_attempts`).

        A taken address costs the same hashing, and counts as a guess, so that addresses cannot be
        tried in bulk.
        """
        credentials = new_credentials(email, password)
        limits = self._limits(client, credentials.email)
        async with self._database.transaction(Anonymous()) as connection:
            await _count_attempt(connection, limits)
        password_hash = await self._passwords.hash(credentials.password)
        subject = f"user_{opaque_id()}"
        async with self._database.transaction(Anonymous(looks_up=credentials.email)) as connection:
            user_id = await store.sign_up(connection, subject, credentials.email, password_hash)
        if user_id is None:
            raise Conflict("email_taken", "There is an account with this address. Log in instead.")
        # A crash here leaves an account without a session: its owner logs in.
        return await self._start_session(UserActor(user_id, subject), client, limits)

    async def log_in(self, email: str, password: str, client: ClientInfo) -> SignedIn:
        """Raises `Unauthenticated` (`invalid_credentials`), `Forbidden` (`account_suspended`), `TooMany`.

        An unknown address gets the same answer, after the same work, as a wrong password.
        """
        presented = presented_credentials(email, password)
        limits = self._limits(client, presented.email)
        async with self._database.transaction(Anonymous(looks_up=presented.email)) as connection:
            await _count_attempt(connection, limits)
            stored = await store.find_credentials(connection, presented.email)
        password_hash = self._passwords.nobodys_hash if stored is None else stored.password_hash
        correct = await self._passwords.verify(password_hash, presented.password)
        if stored is None or not correct:
            raise Unauthenticated("invalid_credentials", "The address or the password is wrong.")
        if stored.suspended:
            raise _suspended()
        await self._renew_hash(stored, presented.password)
        return await self._start_session(UserActor(stored.user_id, stored.subject), client, limits)

    async def refresh(self, session: Session) -> AccessToken:
        """A fresh token for a session that still lives."""
        async with self._database.transaction(_actor(session)) as connection:
            if not await store.touch_session(connection, session.session_id):
                raise _session_expired()
        return self._access_token(session)

    async def log_out(self, session: Session) -> None:
        """End the session; its tokens are worthless from now on. Safe to repeat."""
        async with self._database.transaction(_actor(session)) as connection:
            if await store.revoke_session(connection, session.session_id):
                await _record(connection, session, Action.SIGNED_OUT)

    async def authenticate_bearer(self, token: str) -> Session:
        """Who holds this token.

        Raises `Unauthenticated` (`invalid_token`, `session_expired`) or `Forbidden` (`account_suspended`).
        """
        claims = self._tokens.verify(token, self._clock.now())
        async with self._database.anonymous() as connection:
            stored = await store.find_session(connection, session_id=claims.session_id)
        session = _usable(stored)
        if session.subject != claims.subject:
            raise _session_expired()
        return session

    async def authenticate_cookie(self, secret: str) -> Session:
        """Whose browser holds this secret.

        Raises `Unauthenticated` (`session_expired`) or `Forbidden` (`account_suspended`).
        """
        async with self._database.anonymous() as connection:
            stored = await store.find_session(connection, secret_hash=secret_hash(secret))
        return _usable(stored)

    async def me(self, actor: UserActor) -> User:
        async with self._database.transaction(actor) as connection:
            return await _user(connection, actor.user_id)

    def jwks(self) -> dict[str, Any]:
        """The public keys that verify tokens, as a JSON Web Key Set."""
        return self._tokens.jwks()

    async def everybody(self) -> list[User]:
        """For operators. The database must be the worker's."""
        async with self._database.transaction(SystemActor("operator")) as connection:
            return await store.users(connection)

    async def find_by_email(self, email: str) -> User:
        """For operators. The database must be the worker's. Raises `NotFound` (`user_not_found`)."""
        address = normalized_email(email)
        async with self._database.transaction(SystemActor("operator")) as connection:
            user = address and await store.find_user_by_email(connection, address)
        if not user:
            raise NotFound("user_not_found", "There is no account with this address.")
        return user

    async def purge(self) -> None:
        """Remove dead sessions and old attempts. The database must be the worker's."""
        async with self._database.transaction(SystemActor("purge")) as connection:
            await store.purge(connection)

    def _limits(self, client: ClientInfo, email: str) -> tuple[AttemptLimit, ...]:
        return attempt_limits(self._settings.throttle_secret, client, email)

    async def _renew_hash(self, stored: StoredCredentials, password: bytes) -> None:
        """Hash anew with today's parameters, which is only possible while the password is at hand."""
        if self._passwords.is_current(stored.password_hash):
            return
        renewed = await self._passwords.hash(password)
        async with self._database.transaction(UserActor(stored.user_id, stored.subject)) as connection:
            await store.replace_password_hash(connection, stored.user_id, stored.password_hash, renewed)

    async def _start_session(
        self, actor: UserActor, client: ClientInfo, limits: tuple[AttemptLimit, ...]
    ) -> SignedIn:
        session = Session(actor.user_id, actor.subject, uuid.uuid4())
        secret = secret_token()
        expires_at = self._clock.now() + timedelta(seconds=self._settings.session_ttl_s)
        async with self._database.transaction(actor) as connection:
            await store.forgive_attempt(connection, limits)
            await store.open_session(connection, session, secret_hash(secret), client.label, expires_at)
            await _record(connection, session, Action.SIGNED_IN)
            user = await _user(connection, actor.user_id)
        return SignedIn(user, session, self._access_token(session), secret, expires_at)

    def _access_token(self, session: Session) -> AccessToken:
        ttl_s = self._settings.token_ttl_s
        return AccessToken(self._tokens.issue(session, self._clock.now(), ttl_s), ttl_s)


async def find_by_subject(connection: Connection, subject: str) -> int | None:
    """On the worker's own transaction: the id of whoever this subject is."""
    return await store.find_id_by_subject(connection, subject)


def default_hasher() -> argon2.PasswordHasher:
    """Argon2id with 19 MiB, two passes and one lane: OWASP's recommendation."""
    return argon2.PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)


class _Passwords:
    """Hashing off the event loop, two at a time, so that a flood cannot take all the memory."""

    def __init__(self, hasher: argon2.PasswordHasher) -> None:
        self._hasher = hasher
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="argon2")
        # Verifying against it costs what anybody's hash costs; no password is known to match it.
        parameters = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
        self.nobodys_hash = f"$argon2id$v=19${parameters}${'A' * 22}${'A' * 43}"

    def is_current(self, password_hash: str) -> bool:
        return not self._hasher.check_needs_rehash(password_hash)

    async def hash(self, password: bytes) -> str:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._hasher.hash, password)

    async def verify(self, password_hash: str, password: bytes) -> bool:
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, self._matches, password_hash, password
        )

    def _matches(self, password_hash: str, password: bytes) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return False


async def _count_attempt(connection: Connection, limits: tuple[AttemptLimit, ...]) -> None:
    """Raising rolls the counting back: an attempt that was refused does not lengthen the wait."""
    wait_s = await store.count_attempts(connection, limits)
    if wait_s > 0:
        raise TooMany("too_many_attempts", "Too many attempts. Wait a moment.", retry_after=wait_s)


async def _record(connection: Connection, session: Session, action: Action) -> None:
    await audit.record(connection, session.user_id, action, {"session_id": str(session.session_id)})


async def _user(connection: Connection, user_id: int) -> User:
    user = await store.find_user(connection, user_id)
    if user is None:
        raise _session_expired()
    return user


def _usable(stored: StoredSession | None) -> Session:
    if stored is None:
        raise _session_expired()
    if stored.suspended:
        raise _suspended()
    return stored.session


def _actor(session: Session) -> UserActor:
    return UserActor(session.user_id, session.subject)


def _session_expired() -> Unauthenticated:
    return Unauthenticated("session_expired", "This session has ended. Log in again.")


def _suspended() -> Forbidden:
    return Forbidden("account_suspended", "This account is suspended. Write to support to have it looked at.")
