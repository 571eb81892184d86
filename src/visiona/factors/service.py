"""Second factors and passkeys of built-in accounts.

A code is taken once, whoever asks and in whichever process: the database decides by one conditional
statement. Guesses are counted before they are tried. Nothing that could stand in for a person is kept in
the clear: secrets of one-time codes are sealed with their owner's key, recovery codes are hashed, and of a
passkey only the public half is here.
"""

import logging
from collections.abc import Mapping
from typing import Any

from visiona.audit import service as audit
from visiona.audit.model import Action
from visiona.core.clock import Clock
from visiona.core.errors import (
    Conflict,
    FieldError,
    Forbidden,
    Invalid,
    NotFound,
    TooMany,
    Unauthenticated,
)
from visiona.db.actor import SystemActor, UserActor
from visiona.db.pool import Connection, Database
from visiona.db.throttle import count_attempt, forgive_attempt
from visiona.factors import store
from visiona.factors.model import (
    PASSKEYS_MAX,
    WRONG_CODES_A_DAY,
    Assertion,
    Challenges,
    FactorSettings,
    FactorStatus,
    Passkey,
    PasskeyRefused,
    Purpose,
    SecretUnreadable,
    Totp,
    TotpSetup,
    Used,
    challenge_hash,
    creation_options,
    guess_limit,
    matching_step,
    new_recovery_codes,
    new_totp,
    open_secret,
    passkey_name,
    read_assertion,
    read_registration,
    recovery_hash,
    recovery_symbols,
    request_options,
    seal_secret,
    totp_digits,
    totp_setup,
    verify_assertion,
    verify_registration,
)
from visiona.mail import service as mail
from visiona.mail.model import Kind
from visiona.vault.model import Cipher
from visiona.vault.service import Vault

logger = logging.getLogger(__name__)


class FactorService:
    """The factors of one Visiona's built-in accounts. Who may change them is the caller's to have checked."""

    def __init__(self, database: Database, vault: Vault, clock: Clock, settings: FactorSettings) -> None:
        self._database = database
        self._vault = vault
        self._clock = clock
        self._settings = settings
        self._challenges = Challenges(*settings.code_keys)

    @property
    def _recovery_key(self) -> bytes:
        """Of the vault's, which lasts: recovery codes lie in a drawer for years."""
        return self._vault.secret("recovery-codes")

    async def status(self, actor: UserActor) -> FactorStatus:
        cipher = await self._vault.cipher(actor.user_id)
        async with self._database.transaction(actor) as connection:
            totp = await store.totp(connection, actor.user_id)
            return FactorStatus(
                totp_since=None if totp is None else totp.confirmed_at,
                recovery_codes_left=await store.recovery_codes_left(connection, actor.user_id),
                passkeys=await store.passkeys(connection, cipher),
            )

    # One-time and recovery codes

    async def begin_totp(self, actor: UserActor, account_label: str) -> TotpSetup:
        """A secret for the person's authenticator, to be confirmed by a code of it. Begun again, the one
        before is forgotten. Raises `Conflict` (`two_factor_on`).
        """
        setup = new_totp(account_label, self._settings.rp_name)
        sealed = seal_secret(await self._vault.cipher(actor.user_id), setup.secret)
        async with self._database.transaction(actor) as connection:
            if not await store.begin_totp(connection, actor.user_id, sealed):
                raise _two_factor_on()
        return setup

    async def begun_totp(self, actor: UserActor, account_label: str) -> TotpSetup:
        """What `begin_totp` answered, once more, until it is confirmed.

        Raises `Conflict` (`two_factor_on`, `two_factor_not_begun`).
        """
        async with self._database.transaction(actor) as connection:
            totp = await store.totp(connection, actor.user_id)
        if totp is None:
            raise _two_factor_not_begun()
        if totp.confirmed_at is not None:
            raise _two_factor_on()
        try:
            cipher = await self._vault.cipher(actor.user_id)
            secret = open_secret(cipher, totp.sealed)
        except SecretUnreadable as error:
            raise _two_factor_not_begun() from error
        return totp_setup(secret, account_label, self._settings.rp_name)

    async def confirm_totp(self, actor: UserActor, code: str) -> tuple[str, ...]:
        """From here on codes are asked for. Answers the recovery codes, which nobody can read again.

        Raises `Invalid` for a wrong code, `Conflict` (`two_factor_on`, `two_factor_not_begun`).
        """
        cipher = await self._vault.cipher(actor.user_id)
        async with self._database.transaction(actor) as connection:
            totp = await store.totp(connection, actor.user_id, lock=True)
            if totp is None:
                raise _two_factor_not_begun()
            if totp.confirmed_at is not None:
                raise _two_factor_on()
            step = self._step(cipher, totp, code)
            if step is None:
                raise _wrong_code()
            await store.confirm_totp(connection, actor.user_id, step)
            codes = await self._new_recovery_codes(connection, actor)
            await audit.record(connection, actor.user_id, Action.TOTP_ENABLED)
            await mail.post(connection, actor.user_id, Kind.SECOND_FACTOR_ON)
        return codes

    async def disable_totp(self, actor: UserActor) -> None:
        """Forget the secret and the recovery codes. Safe to repeat."""
        async with self._database.transaction(actor) as connection:
            if await store.delete_totp(connection, actor.user_id):
                await audit.record(connection, actor.user_id, Action.TOTP_DISABLED)
                await mail.post(connection, actor.user_id, Kind.SECOND_FACTOR_OFF)

    async def renew_recovery_codes(self, actor: UserActor) -> tuple[str, ...]:
        """New ones; those before are worthless. Raises `Conflict` (`two_factor_off`)."""
        async with self._database.transaction(actor) as connection:
            totp = await store.totp(connection, actor.user_id, lock=True)
            if totp is None or totp.confirmed_at is None:
                raise Conflict("two_factor_off", "Recovery codes come with two-factor log-in, which is off.")
            codes = await self._new_recovery_codes(connection, actor)
            await audit.record(connection, actor.user_id, Action.RECOVERY_CODES_RENEWED)
        return codes

    async def required(self, actor: UserActor) -> bool:
        """Whether a password alone does not let this person in."""
        async with self._database.transaction(actor) as connection:
            totp = await store.totp(connection, actor.user_id)
        return totp is not None and totp.confirmed_at is not None

    async def check_code(self, actor: UserActor, code: str) -> Used:
        """Take a code of the person's authenticator, or a recovery code. Each is taken once.

        Raises `Unauthenticated` (`invalid_code`) or `TooMany` (`too_many_attempts`). A guess that has to
        wait is not tried, and does not lengthen the wait. After `WRONG_CODES_A_DAY` only recovery codes,
        which are too long to guess, and passkeys help until the first of those is a day old.
        """
        limits = (guess_limit(self._settings.code_keys[0], actor.user_id),)
        guess = totp_digits(code) is not None
        async with self._database.transaction(actor) as connection:
            await count_attempt(connection, limits)
            if guess:
                await self._check_day(connection, actor)
        cipher = await self._vault.cipher(actor.user_id)
        audit.visited(cipher)
        async with self._database.transaction(actor) as connection:
            used = await self._spend(connection, actor, cipher, code)
            if used is not None:
                await forgive_attempt(connection, limits)
            elif guess and await store.is_on(connection, actor.user_id):
                await audit.record(connection, actor.user_id, Action.CODE_REFUSED)
        if used is None:
            raise Unauthenticated("invalid_code", "This code is wrong, too old, or was used before.")
        return used

    async def _check_day(self, connection: Connection, actor: UserActor) -> None:
        """Guesses at the same time may each pass: they are few, by the other limit."""
        wait_s = await store.wait_for_codes(connection, actor.user_id, WRONG_CODES_A_DAY)
        if wait_s > 0:
            raise TooMany(
                "too_many_attempts",
                "Too many wrong codes today. Use a recovery code or a passkey, or wait.",
                retry_after=wait_s,
            )

    async def _spend(
        self, connection: Connection, actor: UserActor, cipher: Cipher, code: str
    ) -> Used | None:
        symbols = recovery_symbols(code)
        if symbols is not None:
            keys = (self._recovery_key, *self._settings.code_keys)
            hashes = [recovery_hash(key, actor.user_id, symbols) for key in keys]
            if not await store.spend_recovery_code(connection, actor.user_id, hashes):
                return None
            left = await store.recovery_codes_left(connection, actor.user_id)
            await audit.record(connection, actor.user_id, Action.RECOVERY_CODE_USED, {"left": left})
            await mail.post(connection, actor.user_id, Kind.RECOVERY_CODES_USED, details={"left": left})
            return Used.RECOVERY
        totp = await store.totp(connection, actor.user_id)
        step = None if totp is None else self._step(cipher, totp, code)
        if totp is None or step is None:
            return None
        fresh = await store.spend_step(connection, actor.user_id, totp.sealed, step)
        return Used.TOTP if fresh else None

    def _step(self, cipher: Cipher, totp: Totp, code: str) -> int | None:
        digits = totp_digits(code)
        if digits is None:
            return None
        try:
            secret = open_secret(cipher, totp.sealed)
        except SecretUnreadable:
            logger.error(  # noqa: TRY400 - where it was raised says nothing more
                "the secret of user %s cannot be decrypted: was the secret key changed?", cipher.user_id
            )
            return None
        return matching_step(secret, digits, self._clock.now())

    async def _new_recovery_codes(self, connection: Connection, actor: UserActor) -> tuple[str, ...]:
        codes = new_recovery_codes()
        await store.replace_recovery_codes(
            connection,
            actor.user_id,
            [
                recovery_hash(self._recovery_key, actor.user_id, symbols)
                for symbols in map(recovery_symbols, codes)
                if symbols is not None
            ],
        )
        return codes

    # Passkeys

    async def registration_options(self, actor: UserActor, label: str) -> dict[str, Any]:
        """For `navigator.credentials.create`, as JSON; `label` names the account in the browser's list.

        Raises `Conflict` (`too_many_passkeys`).
        """
        async with self._database.transaction(actor) as connection:
            known = await store.known_credentials(connection, actor.user_id)
        _check_room(len(known))
        challenge = self._challenges.issue(Purpose.REGISTER, actor.user_id, self._clock.now())
        return creation_options(self._settings, challenge, actor.user_id, label, known)

    async def register(self, actor: UserActor, credential: Mapping[str, Any], name: str) -> Passkey:
        """Keep the passkey that the browser made (`RegistrationResponseJSON`).

        Raises `Invalid` (`invalid_input`, `passkey_refused`) or `Conflict` (`passkey_known`,
        `too_many_passkeys`).
        """
        name = passkey_name(name)
        try:
            response = read_registration(credential)
            end = self._challenges.end_of(
                response.challenge, Purpose.REGISTER, actor.user_id, self._clock.now()
            )
            new = verify_registration(self._settings, response)
        except PasskeyRefused as error:
            logger.info("a new passkey was refused: %s", error.reason)
            raise _passkey_refused() from error
        cipher = await self._vault.cipher(actor.user_id)
        async with self._database.transaction(actor) as connection:
            _check_room(await store.locked_count(connection, actor.user_id))
            if not await store.spend_challenge(
                connection, actor.user_id, challenge_hash(response.challenge), end
            ):
                raise _passkey_refused()
            passkey = await store.add_passkey(connection, cipher, name, new)
            if passkey is None:
                raise Conflict("passkey_known", "This passkey has been added before.")
            await _record(connection, actor, Action.PASSKEY_ADDED, passkey.id)
            await mail.post(connection, actor.user_id, Kind.PASSKEY_ADDED)
        return passkey

    async def authentication_options(self, actor: UserActor | None = None) -> dict[str, Any]:
        """For `navigator.credentials.get`, as JSON.

        Without an actor for logging in, with whichever passkey the browser has; with one for confirming
        that it is them, with one of theirs.
        """
        purpose, user_id = _authentication(actor)
        challenge = self._challenges.issue(purpose, user_id, self._clock.now())
        if actor is None:
            return request_options(self._settings, challenge, ())
        async with self._database.transaction(actor) as connection:
            known = await store.known_credentials(connection, actor.user_id)
        return request_options(self._settings, challenge, known)

    async def authenticate(self, credential: Mapping[str, Any], actor: UserActor | None = None) -> UserActor:
        """Whose passkey this is (`AuthenticationResponseJSON`), after its owner was verified by it.

        `actor` is whoever the options were made for. Raises `Unauthenticated` (`invalid_passkey`) or
        `Forbidden` (`account_suspended`). A counter that went back means that the passkey was copied: it is
        refused, and put on record.
        """
        try:
            assertion = await self._verified(credential, actor)
        except PasskeyRefused as error:
            logger.info("a passkey was refused: %s", error.reason)
            raise _invalid_passkey() from error
        if assertion.stored.suspended:
            raise Forbidden(
                "account_suspended", "This account is suspended. Write to support to have it looked at."
            )
        owner = UserActor(assertion.stored.user_id, assertion.stored.subject)
        async with self._database.transaction(owner) as connection:
            accepted = await self._accept(connection, owner, assertion)
        if not accepted:
            raise _invalid_passkey()
        return owner

    async def _verified(self, credential: Mapping[str, Any], actor: UserActor | None) -> Assertion:
        """Raises `PasskeyRefused`."""
        purpose, user_id = _authentication(actor)
        response = read_assertion(credential)
        end = self._challenges.end_of(response.challenge, purpose, user_id, self._clock.now())
        async with self._database.anonymous() as connection:
            stored = await store.find_passkey(connection, response.credential_id)
        if stored is None or user_id not in {None, stored.user_id}:
            raise PasskeyRefused("unknown passkey")
        signature = verify_assertion(self._settings, response, stored, needs_handle=actor is None)
        return Assertion(stored, response, signature, end)

    async def _accept(self, connection: Connection, owner: UserActor, assertion: Assertion) -> bool:
        """False, with the transaction to be committed all the same, where it is not to be believed."""
        response, signature = assertion.response, assertion.signature
        hashed = challenge_hash(response.challenge)
        if not await store.spend_challenge(connection, owner.user_id, hashed, assertion.challenge_end):
            return False
        counter = await store.locked_counter(connection, owner.user_id, response.credential_id)
        if counter is None:
            return False
        if counter.went_back(signature.sign_count):
            logger.warning("the counter of passkey %s went back", counter.passkey_id)
            await _record(connection, owner, Action.PASSKEY_REFUSED, counter.passkey_id)
            return False
        await store.note_use(
            connection, counter.passkey_id, signature.sign_count, backed_up=signature.backed_up
        )
        return True

    async def rename_passkey(self, actor: UserActor, passkey_id: int, name: str) -> Passkey:
        """Raises `Invalid` or `NotFound` (`passkey_not_found`)."""
        name = passkey_name(name)
        cipher = await self._vault.cipher(actor.user_id)
        async with self._database.transaction(actor) as connection:
            passkey = await store.rename_passkey(connection, cipher, passkey_id, name)
        if passkey is None:
            raise _passkey_not_found()
        return passkey

    async def remove_passkey(self, actor: UserActor, passkey_id: int) -> None:
        """Raises `NotFound` (`passkey_not_found`)."""
        async with self._database.transaction(actor) as connection:
            if not await store.delete_passkey(connection, actor.user_id, passkey_id):
                raise _passkey_not_found()
            await _record(connection, actor, Action.PASSKEY_REMOVED, passkey_id)

    async def purge(self) -> None:
        """Forget challenges that are over. The database must be the worker's."""
        async with self._database.transaction(SystemActor("purge")) as connection:
            await store.purge_challenges(connection)


async def remove_all_passkeys(connection: Connection, user_id: int) -> None:
    """On the person's transaction: none of their passkeys lets anybody in from now on."""
    for passkey_id in await store.delete_passkeys(connection, user_id):
        await audit.record(connection, user_id, Action.PASSKEY_REMOVED, {"passkey_id": passkey_id})


async def _record(connection: Connection, actor: UserActor, action: Action, passkey_id: int) -> None:
    await audit.record(connection, actor.user_id, action, {"passkey_id": passkey_id})


def _authentication(actor: UserActor | None) -> tuple[Purpose, int | None]:
    return (Purpose.LOG_IN, None) if actor is None else (Purpose.CONFIRM, actor.user_id)


def _check_room(passkeys: int) -> None:
    if passkeys >= PASSKEYS_MAX:
        raise Conflict(
            "too_many_passkeys", f"You have {PASSKEYS_MAX} passkeys. Remove one that you no longer use."
        )


def _wrong_code() -> Invalid:
    error = FieldError("code", "wrong_code", "This is not the code that the authenticator shows now.")
    return Invalid("invalid_input", "Check the fields that are marked.", errors=[error])


def _two_factor_not_begun() -> Conflict:
    return Conflict("two_factor_not_begun", "Begin to set up two-factor log-in first.")


def _two_factor_on() -> Conflict:
    return Conflict("two_factor_on", "Two-factor log-in is on already.")


def _passkey_refused() -> Invalid:
    return Invalid("passkey_refused", "This passkey could not be added. Begin again.")


def _invalid_passkey() -> Unauthenticated:
    return Unauthenticated(
        "invalid_passkey", "This passkey could not be used. Try again, or log in otherwise."
    )


def _passkey_not_found() -> NotFound:
    return NotFound("passkey_not_found", "You have no such passkey.")
