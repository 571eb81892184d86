"""Signing up, logging in and out, and recognizing whoever is signed in.

Who is behind a password or a hosted page is the identity provider's to say: Visiona's own (`passwords`)
or a service such as Clerk. Sessions are ours in either case. A token is believed only while its
session lives in the database, so that logging out and suspending take effect at once; a session that
began at a service ends when that one's does.
"""

import asyncio
import contextlib
import logging
import time
import uuid
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from visiona.accounts import store
from visiona.accounts.model import (
    TICKET_TTL_S,
    AccessToken,
    AccountSettings,
    EndedSession,
    SecondFactorNeeded,
    Session,
    SessionInfo,
    SignedIn,
    Standing,
    StoredSession,
    Ticket,
    TokenKeys,
    User,
    attempt_limits,
    confirmation_limits,
    invalid_ticket,
    is_own_token,
    secret_hash,
    session_not_found,
)
from visiona.addresses import service as addresses
from visiona.audit import service as audit
from visiona.audit.model import Action
from visiona.core.client import AttemptLimit, ClientInfo
from visiona.core.clock import Clock
from visiona.core.errors import (
    Conflict,
    FieldError,
    Forbidden,
    Invalid,
    NotFound,
    Unauthenticated,
    Unavailable,
    VisionaError,
)
from visiona.core.ids import secret_token
from visiona.db.actor import Anonymous, SystemActor, UserActor
from visiona.db.jobs import RetryLater, enqueue
from visiona.db.pool import Connection, Database
from visiona.db.sealed import SESSION_CLIENT
from visiona.db.throttle import count_attempt, forgive_attempt
from visiona.factors.service import FactorService
from visiona.passwords.model import (
    new_credentials,
    normalized_email,
    presented_credentials,
    presented_password,
)
from visiona.passwords.service import PasswordService, address_index, make_key
from visiona.ports.errors import ProviderError, ProviderNotFound
from visiona.ports.identity import (
    AccountBarred,
    AddressRefused,
    AddressTaken,
    HostedIdentity,
    HostedSignInNeeded,
    IdentityProvider,
    InvalidToken,
    PasswordRefused,
    Profile,
    TokenReport,
    WrongCredentials,
)
from visiona.vault.model import Cipher, KeyDestroyed
from visiona.vault.service import Vault

END_REMOTE_TASK = "accounts.end_remote"
SEEN_EVERY_S = 300
"""How exactly it is known when a session was last in use."""
CHECK_EVERY_S = 300
"""How often the identity service is asked whether a session of its own still lives."""
CHECK_BATCH = 50
CHECK_FAILURES = 3
"""After so many the service is taken to be away."""
LOG_OUT_WAIT_S = 3.0
"""How long somebody who logs out waits for the identity service at most."""
_SEEN_KEPT = 10_000
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Identities:
    """Where identities come from: `passwords` and `factors` of our own, or a `hosted` service."""

    passwords: PasswordService
    factors: FactorService
    hosted: HostedIdentity | None = None

    @property
    def provider(self) -> IdentityProvider:
        return self.hosted or self.passwords


class AccountService:
    """The accounts of one Visiona."""

    def __init__(
        self,
        database: Database,
        vault: Vault,
        clock: Clock,
        settings: AccountSettings,
        identities: Identities,
    ) -> None:
        self._database = database
        self._vault = vault
        self._clock = clock
        self._settings = settings
        self._identities = identities
        self._tokens = TokenKeys(settings.signing_keys, settings.issuer)
        # By session, when this process noted last that it is in use.
        self._seen: OrderedDict[uuid.UUID, float] = OrderedDict()

    @property
    def hosted(self) -> HostedIdentity | None:
        """The identity service whose pages people use, where there is one."""
        return self._identities.hosted

    # Signing in

    async def sign_up(self, email: str, password: str, client: ClientInfo) -> SignedIn:
        """Raises `Invalid`, `Conflict` (`email_taken`), `TooMany` (`too_many_attempts`) or `Unavailable`.

        A taken address costs the same work, and counts as a guess, so that addresses cannot be tried in
        bulk.
        """
        credentials = new_credentials(email, password)
        limits = self._limits(client, credentials.email)
        await self._count(limits)
        try:
            profile = await self._identities.provider.register(credentials.email, credentials.password)
        except AddressTaken as error:
            raise _email_taken() from error
        except (AddressRefused, PasswordRefused) as error:
            field = "email" if isinstance(error, AddressRefused) else "password"
            refusal = FieldError(field, "refused", error.message)
            raise Invalid("invalid_input", "Check the fields that are marked.", errors=[refusal]) from error
        except ProviderError as error:
            raise _unavailable(error) from error
        # A crash from here on leaves an account without a session: its owner logs in.
        actor = await self._admit(profile)
        there = await self._session_there(actor)
        signed_in = await self._start_session(actor, client, limits, there, mark=profile.mark)
        if self.hosted is None:
            cipher = await self._cipher(actor.user_id)
            async with self._database.transaction(actor) as connection:
                await addresses.ask_to_verify(connection, cipher, credentials.email, self._clock.now())
        return signed_in

    async def log_in(self, email: str, password: str, client: ClientInfo) -> SignedIn | SecondFactorNeeded:
        """Raises `Invalid`, `Unauthenticated` (`invalid_credentials`), `Forbidden` (`account_suspended`,
        `hosted_sign_in_needed`), `TooMany` or `Unavailable`.

        An unknown address gets the same answer, after the same work, as a wrong password.
        """
        presented = presented_credentials(email, password)
        limits = self._limits(client, presented.email)
        await self._count(limits)
        try:
            profile = await self._identities.provider.check_password(presented.email, presented.password)
        except WrongCredentials as error:
            raise _invalid_credentials() from error
        except AccountBarred as error:
            raise _suspended() from error
        except HostedSignInNeeded as error:
            raise _hosted_sign_in_needed() from error
        except ProviderError as error:
            raise _unavailable(error) from error
        actor = await self._admit(profile)
        if self.hosted is None and await self._identities.factors.required(actor):
            return await self._ask_for_code(actor, profile.mark, limits)
        there = await self._session_there(actor)
        return await self._start_session(actor, client, limits, there, mark=profile.mark)

    async def log_in_with_code(self, ticket: str, code: str, client: ClientInfo) -> SignedIn:
        """The second step of `log_in`, with a one-time or recovery code.

        A ticket ends with its password. Raises `Unauthenticated` (`invalid_ticket`, `invalid_code`),
        `Forbidden` or `TooMany`.
        """
        shown = self._tokens.read_ticket(ticket, self._clock.now())
        actor = await self._let_in(UserActor(shown.user_id, shown.subject))
        if await self._identities.passwords.mark(actor) != shown.mark:
            raise invalid_ticket()
        await self._identities.factors.check_code(actor, code)
        return await self._start_session(actor, client, (), mark=shown.mark)

    async def log_in_with_passkey(self, credential: Mapping[str, Any], client: ClientInfo) -> SignedIn:
        """A passkey is both factors: what one has, and the finger or code that unlocks it.

        Raises `Unauthenticated` (`invalid_passkey`) or `Forbidden` (`account_suspended`).
        """
        actor = await self._let_in(await self._identities.factors.authenticate(credential))
        return await self._start_session(actor, client, ())

    async def log_in_hosted(self, token: str, client: ClientInfo) -> SignedIn:
        """For a browser that comes back from the identity service's pages with this session token.

        What the service knows of the person is read anew, in case its news were lost. Raises
        `Unauthenticated` (`invalid_token`, `session_expired`), `Conflict` (`email_taken`, `email_needed`),
        `Forbidden` or `Unavailable`.
        """
        hosted = self._require_hosted()
        report = await self._verified(hosted, token)
        actor = await self._admit_subject(hosted, report.subject)
        standing = await self._standing(report.subject, report.session_id)
        if standing is None or standing.ended:
            raise _session_expired()
        # Whoever was signed in there before has not shown anything now.
        confirmed_at = report.confirmed_at or _NEVER
        return await self._start_session(actor, client, (), report.session_id, confirmed_at)

    # Sessions

    async def refresh(self, session: Session) -> AccessToken:
        """A fresh token for a session that still lives. Raises `Unauthenticated` or `Conflict`."""
        session_id = _own_session(session)
        async with self._database.transaction(_actor(session)) as connection:
            if not await store.touch_session(connection, session_id):
                raise _session_expired()
        return self._access_token(session)

    async def log_out(self, session: Session) -> None:
        """End the session, here and where it began; its tokens are worthless from now on. Safe to repeat."""
        session_id = session.session_id
        async with self._database.transaction(_actor(session)) as connection:
            if session_id is None:  # known by a token of the service's: remembered, so that it is refused
                session_id = uuid.uuid4()
                end = self._clock.now() + timedelta(seconds=self._settings.session_ttl_s)
                await store.open_session(
                    connection,
                    session_id,
                    secret_hash(secret_token()),
                    None,
                    end,
                    session.provider_session_id,
                )
            ended = await store.revoke_session(connection, session_id)
            if ended is not None:
                await self._after_end(connection, session.user_id, ended)
        if ended is not None and ended.provider_session_id is not None:
            await self._end_at_once(ended.provider_session_id)

    async def _end_at_once(self, provider_session_id: str) -> None:
        """Whoever logs out may leave the browser to somebody else, whom the service would let in for as long
        as its own session lives. If it does not answer soon, the job that is asked for already goes on.
        """
        if self.hosted is None:  # accounts were kept there once
            return
        with contextlib.suppress(ProviderError, TimeoutError):
            async with asyncio.timeout(LOG_OUT_WAIT_S):
                await self.hosted.end_session(provider_session_id)

    async def sessions(self, session: Session) -> list[SessionInfo]:
        cipher = await self._cipher(session.user_id)
        async with self._database.transaction(_actor(session)) as connection:
            return await store.sessions(connection, cipher, session.session_id)

    async def end_session(self, session: Session, session_id: uuid.UUID) -> None:
        """One of the same person's. Raises `NotFound` (`session_not_found`)."""
        if session_id == session.session_id:
            await self.log_out(session)
            return
        async with self._database.transaction(_actor(session)) as connection:
            ended = await store.revoke_session(connection, session_id)
            if ended is None:
                raise session_not_found()
            await self._after_end(connection, session.user_id, ended, kept=session)

    async def end_other_sessions(self, session: Session) -> int:
        """All but this one; answers how many."""
        async with self._database.transaction(_actor(session)) as connection:
            others = await store.revoke_other_sessions(connection, session)
            for ended in others:
                await self._after_end(connection, session.user_id, ended, kept=session)
        return len(others)

    async def confirm(self, session: Session, *, password: str = "", code: str = "") -> None:
        """Prove again who one is, so that the session is fresh: by the password or a one-time code.

        Raises `Conflict`, `Unauthenticated` (`invalid_credentials`, `invalid_code`) or `TooMany`.
        """
        session_id = _own_session(session)
        actor = _actor(session)
        if code and self.hosted is None:
            await self._identities.factors.check_code(actor, code)
        else:
            limits = confirmation_limits(self._settings.throttle_secret, session.user_id)
            await self._count(limits)
            if not await self._knows_password(actor, password):
                raise Unauthenticated("invalid_credentials", "The password is wrong.")
            async with self._database.transaction(Anonymous()) as connection:
                await forgive_attempt(connection, limits)
        async with self._database.transaction(actor) as connection:
            await store.confirm_session(connection, session_id)

    async def confirm_with_passkey(self, session: Session, credential: Mapping[str, Any]) -> None:
        """As `confirm`, by one of the person's passkeys. Raises `Unauthenticated` (`invalid_passkey`)."""
        session_id = _own_session(session)
        actor = _actor(session)
        await self._identities.factors.authenticate(credential, actor)
        async with self._database.transaction(actor) as connection:
            await store.confirm_session(connection, session_id)

    async def authenticate_bearer(self, token: str) -> Session:
        """Who holds this token, which is ours or the identity service's.

        Raises `Unauthenticated` (`invalid_token`, `session_expired`), `Forbidden` (`account_suspended`), or
        `Unavailable` where the service has to be asked and does not answer.
        """
        if self.hosted is not None and not is_own_token(token):
            return await self._hosted_session(token)
        claims = self._tokens.verify(token, self._clock.now())
        async with self._database.anonymous() as connection:
            stored = await store.find_session(connection, session_id=claims.session_id)
        session = _usable(stored, hosted=self.hosted is not None)
        if session.subject != claims.subject:
            raise _session_expired()
        await self._note_use(session)
        return session

    async def authenticate_cookie(self, secret: str) -> Session:
        """Whose browser holds this secret.

        Raises `Unauthenticated` (`session_expired`) or `Forbidden` (`account_suspended`).
        """
        async with self._database.anonymous() as connection:
            stored = await store.find_session(connection, secret_hash=secret_hash(secret))
        session = _usable(stored, hosted=self.hosted is not None)
        await self._note_use(session)
        return session

    async def authenticate_hosted(self, token: str) -> Session:
        """Whose browser the identity service gave this session token. Raises as `authenticate_bearer`."""
        return await self._hosted_session(token)

    async def is_open(self, session: Session) -> bool:
        """Whether a session that was recognized before has neither ended since nor lost its person. Only the
        database is asked, and its token may have run out.
        """
        if session.session_id is None:
            standing = await self._standing(session.subject, session.provider_session_id or "")
            return standing is not None and not standing.ended and standing.status == "active"
        async with self._database.anonymous() as connection:
            stored = await store.find_session(connection, session_id=session.session_id)
        return stored is not None and stored.status == "active"

    async def me(self, actor: UserActor) -> User:
        cipher = await self._cipher(actor.user_id)
        async with self._database.transaction(actor) as connection:
            return await _user(connection, cipher)

    def jwks(self) -> dict[str, Any]:
        """The public keys that verify tokens, as a JSON Web Key Set."""
        return self._tokens.jwks()

    # For operators. The database must be the worker's.

    async def everybody(self) -> list[User]:
        async with self._database.transaction(SystemActor("operator")) as connection:
            people = await store.users(connection)
        ciphers = await self._vault.ciphers(one.id for one in people)
        return [one.opened(ciphers.get(one.id)) for one in people]

    async def find_by_email(self, email: str) -> User:
        """Raises `NotFound` (`user_not_found`)."""
        address = normalized_email(email)
        if address is None:
            raise _user_not_found()
        index = address_index(self._vault, address)
        async with self._database.transaction(SystemActor("operator")) as connection:
            user = await store.find_user_by_email(connection, index)
        if user is None:
            raise _user_not_found()
        return user.opened(await self._vault.cipher(user.id))

    async def purge(self) -> None:
        """Remove dead sessions and old attempts."""
        async with self._database.transaction(SystemActor("purge")) as connection:
            await store.purge(connection)

    # What the identity service tells. The database must be the worker's.

    async def observe_user(self, subject: str) -> None:
        """Something about this person may have changed there: read it, and write down what is new.

        In whatever order news arrive, and however often: what counts is what is read.
        """
        hosted = self._require_hosted()
        try:
            profile = await hosted.profile(subject)
        except ProviderError as error:
            raise RetryLater(str(error)) from error
        if profile is None:
            async with self._database.transaction(SystemActor("identity")) as connection:
                user_id = await store.depart(connection, subject)
                if user_id is not None:
                    await audit.record(connection, user_id, Action.ACCOUNT_DELETED, {"by": "identity"})
        else:
            await self._write_down(_kept(profile))

    async def observe_session(self, provider_session_id: str) -> None:
        """A session there may have ended: ours ends with it."""
        hosted = self._require_hosted()
        try:
            report = await hosted.session(provider_session_id)
        except ProviderError as error:
            raise RetryLater(str(error)) from error
        async with self._database.transaction(SystemActor("identity")) as connection:
            if report is None or not report.alive:
                await store.revoke_provider_session(connection, provider_session_id)
            else:
                await store.note_check(connection, provider_session_id)

    async def check_sessions(self) -> None:
        """Look after sessions whose end nobody told us of. While the service is away, all live on."""
        if self.hosted is None:
            return
        async with self._database.transaction(SystemActor("sweep")) as connection:
            due = await store.unchecked_sessions(connection, CHECK_EVERY_S, CHECK_BATCH)
        failed = 0
        for provider_session_id in due:
            try:
                await self.observe_session(provider_session_id)
            except RetryLater as error:
                failed += 1
                logger.info("a session was not checked: %s", error)
                if failed == CHECK_FAILURES:
                    return

    async def end_remote(self, session_id: uuid.UUID) -> None:
        """End the session at the service that one of ours hung on, which was ended here."""
        hosted = self._require_hosted()
        async with self._database.transaction(SystemActor("identity")) as connection:
            provider_session_id = await store.ended_provider_session(connection, session_id)
        if provider_session_id is None:
            return
        try:
            await hosted.end_session(provider_session_id)
        except ProviderNotFound:
            return
        except ProviderError as error:
            raise RetryLater(str(error)) from error

    # Inside

    def _require_hosted(self) -> HostedIdentity:
        if self.hosted is None:
            raise RetryLater("no identity service is configured")
        return self.hosted

    def _limits(self, client: ClientInfo, email: str) -> tuple[AttemptLimit, ...]:
        return attempt_limits(self._settings.throttle_secret, client, email)

    async def _count(self, limits: tuple[AttemptLimit, ...]) -> None:
        async with self._database.transaction(Anonymous()) as connection:
            await count_attempt(connection, limits)

    async def _ask_for_code(
        self, actor: UserActor, mark: str, limits: tuple[AttemptLimit, ...]
    ) -> SecondFactorNeeded:
        """The password was right, and was no guess. Codes have a limit of their own."""
        async with self._database.transaction(Anonymous()) as connection:
            await forgive_attempt(connection, limits)
        ticket = Ticket(actor.user_id, actor.subject, mark)
        return SecondFactorNeeded(self._tokens.issue_ticket(ticket, self._clock.now()), TICKET_TTL_S)

    async def _admit(self, profile: Profile) -> UserActor:
        """The row of somebody who was just vouched for, made or brought up to date if need be.

        Raises `Unauthenticated`, `Forbidden` or `Conflict` (`email_taken`, `email_needed`).
        """
        subject = profile.subject
        if self.hosted is not None:
            await self._write_down(_kept(profile))
        async with self._database.transaction(Anonymous(looks_up=subject)) as connection:
            standing = await store.find_standing(connection, subject, None)
        if profile.email is None:
            raise Conflict("email_needed", "Add an e-mail address to your account, and log in again.")
        if standing is None:
            raise _kept_otherwise()
        _require_active(standing)
        return UserActor(standing.user_id, subject)

    async def _write_down(self, profile: Profile) -> None:
        """What the identity service says of somebody, who may be new here."""
        known = await self._standing(profile.subject)
        if known is not None:
            await self._adopt(profile, known.user_id)
        elif profile.email is not None:
            made = await make_key(self._database, self._vault)
            user_id = await self._adopt(profile, made.user_id)
            if user_id != made.user_id:
                await self._vault.destroy(made.user_id)
                if user_id is not None:  # the same news came twice at once
                    await self._adopt(profile, user_id)

    async def _adopt(self, profile: Profile, user_id: int) -> int | None:
        try:
            cipher = await self._vault.cipher(user_id)
        except KeyDestroyed:  # whatever is told of them comes too late
            return None
        index = None if profile.email is None else address_index(self._vault, profile.email)
        async with self._database.transaction(Anonymous(looks_up=profile.subject)) as connection:
            return await store.adopt(connection, profile, cipher, index)

    async def _admit_subject(self, hosted: HostedIdentity, subject: str) -> UserActor:
        try:
            profile = await hosted.profile(subject)
        except ProviderError as error:
            raise _unavailable(error) from error
        if profile is None:
            raise _session_expired()
        return await self._admit(profile)

    async def _let_in(self, actor: UserActor) -> UserActor:
        """Whoever has just proved to be this one. Raises `Forbidden` or `Unauthenticated`."""
        async with self._database.transaction(Anonymous(looks_up=actor.subject)) as connection:
            standing = await store.find_standing(connection, actor.subject, None)
        if standing is None or standing.user_id != actor.user_id:
            raise _session_expired()
        _require_active(standing)
        return actor

    async def _hosted_session(self, token: str) -> Session:
        """Whom a token of the identity service's names; who is new here gets their row."""
        hosted = self._require_hosted()
        report = await self._verified(hosted, token)
        standing = await self._standing(report.subject, report.session_id)
        if standing is None:
            await self._admit_subject(hosted, report.subject)
            standing = await self._standing(report.subject, report.session_id)
        if standing is None or standing.ended:
            raise _session_expired()
        _require_active(standing)
        return Session(
            user_id=standing.user_id,
            subject=report.subject,
            session_id=None,
            confirmed_at=report.confirmed_at,
            provider_session_id=report.session_id,
            role=standing.role,
            email_verified=standing.email_verified,
        )

    async def _verified(self, hosted: HostedIdentity, token: str) -> TokenReport:
        try:
            return await hosted.verify(token, self._clock.now())
        except InvalidToken as error:
            raise Unauthenticated("invalid_token", "This access token is not valid. Log in again.") from error
        except ProviderError as error:
            raise _unavailable(error) from error

    async def _standing(self, subject: str, provider_session_id: str | None = None) -> Standing | None:
        async with self._database.transaction(Anonymous(looks_up=subject)) as connection:
            return await store.find_standing(connection, subject, provider_session_id)

    async def _session_there(self, actor: UserActor) -> str | None:
        """Whoever gave us a password of the identity service's is signed in there too.

        Raises `Forbidden` (`account_suspended`, `hosted_sign_in_needed`) or `Unavailable`.
        """
        if self.hosted is None:
            return None
        try:
            return (await self.hosted.open_session(actor.subject)).id
        except AccountBarred as error:
            raise _suspended() from error
        except HostedSignInNeeded as error:  # for tasks that are to be done there first, for instance
            raise _hosted_sign_in_needed() from error
        except ProviderError as error:
            raise _unavailable(error) from error

    async def _knows_password(self, actor: UserActor, password: str) -> bool:
        presented = presented_password(password)
        if presented is None:
            return False
        if self.hosted is None:
            return await self._identities.passwords.knows(actor, presented)
        try:
            present = await self.hosted.profile(actor.subject)
            if present is None or present.email is None:
                return False
            profile = await self.hosted.check_password(present.email, presented)
        except (WrongCredentials, AccountBarred):
            return False
        except HostedSignInNeeded:  # the password was right, which is all that is asked here
            return True
        except ProviderError as error:
            raise _unavailable(error) from error
        return profile.subject == actor.subject

    async def _start_session(
        self,
        actor: UserActor,
        client: ClientInfo,
        limits: tuple[AttemptLimit, ...],
        provider_session_id: str | None = None,
        proved_at: datetime | None = None,
        *,
        mark: str = "",
    ) -> SignedIn:
        """`proved_at` is when the person showed who they are, unless it was now. `mark` is of the password
        that they showed, if they did: whoever has another one by now raises `Unauthenticated`.
        """
        session_id, secret = uuid.uuid4(), secret_token()
        expires_at = self._clock.now() + timedelta(seconds=self._settings.session_ttl_s)
        cipher = await self._cipher(actor.user_id)
        audit.identified(cipher)
        label = cipher.seal_optional(SESSION_CLIENT.place, client.label or None)
        async with self._database.transaction(actor) as connection:
            await forgive_attempt(connection, limits)
            confirmed_at = await store.open_session(
                connection, session_id, secret_hash(secret), label, expires_at, provider_session_id
            )
            # After the session is there, as from then on whoever changes the password ends it.
            if mark and await self._identities.passwords.current_mark(connection) != mark:
                raise _invalid_credentials()
            if proved_at is not None and proved_at < confirmed_at:
                confirmed_at = proved_at
                await store.set_confirmed(connection, session_id, confirmed_at)
            await audit.record(connection, actor.user_id, Action.SIGNED_IN, {"session_id": str(session_id)})
            user = await _user(connection, cipher)
        session = Session(
            user_id=user.id,
            subject=actor.subject,
            session_id=session_id,
            confirmed_at=confirmed_at,
            provider_session_id=provider_session_id,
            role=user.role,
            email_verified=user.email_verified,
        )
        return SignedIn(user, session, self._access_token(session), secret, expires_at)

    async def _cipher(self, user_id: int) -> Cipher:
        """Raises `Unauthenticated` (`session_expired`) where they were erased."""
        try:
            return await self._vault.cipher(user_id)
        except KeyDestroyed as error:
            raise _session_expired() from error

    async def _after_end(
        self, connection: Connection, user_id: int, ended: EndedSession, *, kept: Session | None = None
    ) -> None:
        """It ends at the provider too, unless the session that is `kept` hangs on the same one there."""
        await audit.record(connection, user_id, Action.SIGNED_OUT, {"session_id": str(ended.id)})
        shared = kept is not None and kept.provider_session_id == ended.provider_session_id
        if ended.provider_session_id is not None and not shared:
            await enqueue(connection, END_REMOTE_TASK, session_id=str(ended.id))

    async def _note_use(self, session: Session) -> None:
        """Now and then, so that a list of sessions can say which are in use."""
        session_id, now = session.session_id, time.monotonic()
        if session_id is None or now - self._seen.get(session_id, -SEEN_EVERY_S) < SEEN_EVERY_S:
            return
        self._seen[session_id] = now
        self._seen.move_to_end(session_id)
        if len(self._seen) > _SEEN_KEPT:
            self._seen.popitem(last=False)
        async with self._database.transaction(_actor(session)) as connection:
            await store.touch_session(connection, session_id)

    def _access_token(self, session: Session) -> AccessToken:
        ttl_s = self._settings.token_ttl_s
        return AccessToken(self._tokens.issue(session, self._clock.now(), ttl_s), ttl_s)


async def find_by_subject(connection: Connection, subject: str) -> int | None:
    """On the worker's own transaction: the id of whoever this subject is."""
    return await store.find_id_by_subject(connection, subject)


async def depart(connection: Connection, subject: str) -> None:
    """On a transaction of the worker's system: nobody of this subject is let in again."""
    await store.depart(connection, subject)


async def _user(connection: Connection, cipher: Cipher) -> User:
    user = await store.find_user(connection, cipher)
    if user is None:
        raise _session_expired()
    return user


def _usable(stored: StoredSession | None, *, hosted: bool) -> Session:
    """A session counts only where accounts are kept as they were when it began: nobody would tell of the
    end of a service's session, and who has a password of ours is not known to a service.
    """
    if stored is None or stored.status == "deleted":
        raise _session_expired()
    if hosted != (stored.session.provider_session_id is not None):
        raise _session_expired()
    if stored.status != "active":
        raise _suspended()
    return stored.session


def _require_active(standing: Standing) -> None:
    if standing.status == "deleted":
        raise _session_expired()
    if standing.status != "active":
        raise _suspended()


def _kept(profile: Profile) -> Profile:
    """As it is written down: addresses are compared in lower case."""
    return replace(profile, email=None if profile.email is None else profile.email.lower())


def _own_session(session: Session) -> uuid.UUID:
    if session.session_id is None:
        raise Conflict(
            "session_elsewhere", "This token is the identity service's: renew and confirm it there."
        )
    return session.session_id


def _actor(session: Session) -> UserActor:
    return UserActor(session.user_id, session.subject)


def _unavailable(error: ProviderError) -> Unavailable:
    logger.warning("the identity service did not do its part: %s", error)
    return Unavailable("identity_unavailable", "The identity service does not answer. Try again shortly.")


def _kept_otherwise() -> Conflict:
    return Conflict(
        "email_taken",
        "The account with this address has a password of its own here, and the sign-in service does not "
        "open it. Use another address there, or write to support.",
    )


def _user_not_found() -> NotFound:
    return NotFound("user_not_found", "There is no account with this address.")


def _email_taken() -> Conflict:
    return Conflict("email_taken", "There is an account with this address. Log in instead.")


def _invalid_credentials() -> VisionaError:
    return Unauthenticated("invalid_credentials", "The address or the password is wrong.")


def _session_expired() -> Unauthenticated:
    return Unauthenticated("session_expired", "This session has ended. Log in again.")


def _hosted_sign_in_needed() -> Forbidden:
    return Forbidden(
        "hosted_sign_in_needed", "This account asks for more than a password. Log in on its page."
    )


def _suspended() -> Forbidden:
    return Forbidden("account_suspended", "This account is suspended. Write to support to have it looked at.")
