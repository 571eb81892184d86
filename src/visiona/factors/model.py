"""One-time codes, recovery codes and passkeys, as far as they need no database. Pure but for randomness.

The libraries are imported where they are used: most processes and most requests never need them.
"""

import contextlib
import hashlib
import hmac
import io
import re
import secrets
import uuid
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from visiona.core.client import AttemptLimit
from visiona.core.errors import FieldError, Invalid
from visiona.db.sealed import TOTP_SECRET
from visiona.vault.model import Cipher, Unreadable

STEP_S = 30
STEPS_EITHER_SIDE = 1
RECOVERY_CODES = 10
# 32 symbols, so that ten of them carry 50 random bits; none looks like another (0 and o, 1 and l).
RECOVERY_ALPHABET = "23456789abcdefghijkmnpqrstuvwxyz"
PASSKEYS_MAX = 20
PASSKEY_NAME_MAX_LENGTH = 60
CHALLENGE_TTL = timedelta(minutes=5)
FREE_GUESSES = 5
GUESS_CEILING_S = 900
# A patient guesser has about 36 an hour by that: of a million codes, three of which count at a time, they
# would find one within a year. By this it takes them twenty.
WRONG_CODES_A_DAY = 30

_NONCE_BYTES = 12
_OLD_MARK = b"\x01"
"""Put by migration 0015 before what was encrypted under the server's key. Base32 has no such byte."""
_DIGITS = re.compile(r"[0-9]{6}")
_RECOVERY_CODE = re.compile(f"[{RECOVERY_ALPHABET}]{{10}}")
_SEPARATORS = re.compile(r"[\s-]+")
_CREDENTIAL_ID_BYTES = range(16, 1024)


@dataclass(frozen=True, slots=True)
class FactorSettings:
    """`code_keys` (at least 32 bytes each) are for the HMACs of challenges: the first makes them, all are
    believed. Recovery codes were hashed with them before the vault had a secret for that.

    `rp_id` is the domain that passkeys are for, `origins` the origins whose pages may ask for one. An
    IP address is no domain: browsers refuse it.
    """

    code_keys: tuple[bytes, ...] = field(repr=False)
    rp_id: str
    rp_name: str
    origins: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.code_keys or any(len(key) < 32 for key in self.code_keys):
            raise ValueError("there is a key for codes, of at least 32 bytes")


class Used(StrEnum):
    """What somebody proved themself with."""

    TOTP = "totp"
    RECOVERY = "recovery"


@dataclass(frozen=True, slots=True)
class Totp:
    """A stored secret, still encrypted."""

    sealed: bytes = field(repr=False)
    confirmed_at: datetime | None


@dataclass(frozen=True, slots=True)
class TotpSetup:
    """What a person puts into their authenticator. `secret` is Base32; `qr_svg` shows `uri`."""

    secret: str = field(repr=False)
    uri: str = field(repr=False)
    qr_svg: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Passkey:
    """`synced` ones live on several devices of their owner, by the authenticator's own account."""

    id: int
    name: str
    synced: bool
    created_at: datetime
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class FactorStatus:
    """`totp_since` is None while no second factor is asked for."""

    totp_since: datetime | None
    recovery_codes_left: int
    passkeys: list[Passkey]


# One-time codes


class SecretUnreadable(Exception):
    """A stored secret was sealed with another key or for somebody else."""


def seal_secret(cipher: Cipher, secret: str) -> bytes:
    return cipher.seal(TOTP_SECRET.place, secret)


def open_secret(cipher: Cipher, sealed: bytes) -> str:
    """Raises `SecretUnreadable`."""
    try:
        secret = cipher.open_bytes(TOTP_SECRET.place, sealed)
    except Unreadable as error:
        raise SecretUnreadable from error
    if secret.startswith(_OLD_MARK):
        raise SecretUnreadable
    return secret.decode()


def opened_old(keys: Iterable[bytes], user_id: int, marked: bytes) -> bytes:
    """The secret behind the mark, which one of the server's `keys` encrypted before people had keys of their
    own; as it is where none of them did.
    """
    nonce, ciphertext = marked[1 : 1 + _NONCE_BYTES], marked[1 + _NONCE_BYTES :]
    for key in keys:
        with contextlib.suppress(InvalidTag):
            return AESGCM(key).decrypt(nonce, ciphertext, f"visiona totp {user_id}".encode())
    return marked


def new_totp(account: str, issuer: str) -> TotpSetup:
    """A secret of 160 random bits for the account of that name."""
    from pyotp import random_base32  # noqa: PLC0415 - imported where it is used

    return totp_setup(random_base32(), account, issuer)


def totp_setup(secret: str, account: str, issuer: str) -> TotpSetup:
    from pyotp.totp import TOTP  # noqa: PLC0415 - imported where it is used

    uri = TOTP(secret, interval=STEP_S).provisioning_uri(name=account, issuer_name=issuer)
    return TotpSetup(secret, uri, _qr_svg(uri))


def _qr_svg(text: str) -> str:
    """Dark on white with its quiet zone, without size, style, class or anything outside of itself."""
    import segno  # noqa: PLC0415 - imported where it is used

    buffer = io.BytesIO()
    segno.make_qr(text, error="m").save(
        buffer,
        kind="svg",
        xmldecl=False,
        svgclass=None,
        lineclass=None,
        omitsize=True,
        dark="#000",
        light="#fff",
        nl=False,
    )
    return buffer.getvalue().decode()


def matching_step(secret: str, digits: str, now: datetime) -> int | None:
    """The number of the 30 seconds since 1970 that these digits are the code of, the present ones or
    those beside them; None where they are of none.
    """
    from pyotp.totp import TOTP  # noqa: PLC0415 - imported where it is used

    totp = TOTP(secret, interval=STEP_S)
    present = totp.timecode(now)
    steps = range(max(present - STEPS_EITHER_SIDE, 0), present + STEPS_EITHER_SIDE + 1)
    # Each is computed and compared, so that the time taken does not tell which one it was.
    matches = [step for step in steps if hmac.compare_digest(totp.generate_otp(step), digits)]
    return matches[-1] if matches else None


def totp_digits(typed: str) -> str | None:
    """Six digits, as typed with or without spaces; None for what is no code of an authenticator."""
    digits = _SEPARATORS.sub("", typed)
    return digits if _DIGITS.fullmatch(digits) else None


# Recovery codes


def new_recovery_codes() -> tuple[str, ...]:
    """Ten codes of the form xxxxx-xxxxx, each with 50 random bits."""
    return tuple(f"{_symbols(5)}-{_symbols(5)}" for _ in range(RECOVERY_CODES))


def _symbols(count: int) -> str:
    return "".join(secrets.choice(RECOVERY_ALPHABET) for _ in range(count))


def recovery_symbols(typed: str) -> str | None:
    """A recovery code as it is hashed: lower case, without the dash; None for what is none."""
    symbols = _SEPARATORS.sub("", typed).lower()
    return symbols if _RECOVERY_CODE.fullmatch(symbols) else None


def recovery_hash(key: bytes, user_id: int, symbols: str) -> bytes:
    return _hmac(key, "recovery code", str(user_id), symbols)


def guess_limit(key: bytes, user_id: int) -> AttemptLimit:
    """How fast this person's codes may be guessed at."""
    digest = _hmac(key, "guesses", str(user_id))
    return AttemptLimit(digest, free=FREE_GUESSES, ceiling_s=GUESS_CEILING_S, shared=False)


def _hmac(key: bytes, *parts: str) -> bytes:
    return hmac.new(key, "\0".join(parts).encode(), hashlib.sha256).digest()


# Passkeys


class Purpose(StrEnum):
    """What a challenge is for; the answer to one is none to another."""

    REGISTER = "register"
    LOG_IN = "log_in"
    CONFIRM = "confirm"


class PasskeyRefused(Exception):
    """What a browser sent cannot be believed; `reason` is for logs and says nothing about the person."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Challenges:
    """Makes challenges that need not be stored: each carries its end and a signature of what it is for.

    That none is answered twice is the caller's to see to, by `challenge_hash`.
    """

    _NONCE_BYTES = 24
    _END_BYTES = 8

    def __init__(self, key: bytes, *older: bytes) -> None:
        """`key` makes challenges; those of the older ones are taken as well."""
        self._keys = (key, *older)

    def issue(self, purpose: Purpose, user_id: int | None, now: datetime) -> bytes:
        """`user_id` is None where nobody is known yet."""
        end = int((now + CHALLENGE_TTL).timestamp())
        body = secrets.token_bytes(self._NONCE_BYTES) + end.to_bytes(self._END_BYTES, "big")
        return body + _signature(self._keys[0], body, purpose, user_id)

    def end_of(self, challenge: bytes, purpose: Purpose, user_id: int | None, now: datetime) -> datetime:
        """When this challenge ends. Raises `PasskeyRefused` unless it was made here, for this, and lives."""
        body = challenge[: self._NONCE_BYTES + self._END_BYTES]
        signature = challenge[len(body) :]
        made = [_signature(key, body, purpose, user_id) for key in self._keys]
        if not any(hmac.compare_digest(signature, one) for one in made):
            raise PasskeyRefused("another challenge")
        end = datetime.fromtimestamp(int.from_bytes(body[self._NONCE_BYTES :], "big"), UTC)
        if end <= now:
            raise PasskeyRefused("late")
        return end


def _signature(key: bytes, body: bytes, purpose: Purpose, user_id: int | None) -> bytes:
    return _hmac(key, "challenge", purpose, "" if user_id is None else str(user_id), body.hex())


def challenge_hash(challenge: bytes) -> bytes:
    return hashlib.sha256(challenge).digest()


@dataclass(frozen=True, slots=True)
class KnownCredential:
    """What a browser is told of a passkey, so that it offers it or does not make it again."""

    credential_id: bytes
    transports: list[str]


@dataclass(frozen=True, slots=True)
class NewPasskey:
    """A passkey that an authenticator has made, verified."""

    credential_id: bytes
    public_key: bytes
    sign_count: int
    transports: list[str]
    synced: bool
    backed_up: bool
    aaguid: uuid.UUID


@dataclass(frozen=True, slots=True)
class StoredPasskey:
    """What is known of a passkey before its owner is."""

    user_id: int
    subject: str
    public_key: bytes
    suspended: bool


@dataclass(frozen=True, slots=True)
class SignCounter:
    """How far a stored passkey has counted."""

    passkey_id: int
    count: int
    synced: bool

    def went_back(self, reported: int) -> bool:
        """Whether there are two authenticators where one should be: a copy of the key has been used.

        One that counts at all counts every signature. Copies on their owner's own devices are what a
        synced passkey is for, and count on their own.
        """
        return not self.synced and (reported > 0 or self.count > 0) and reported <= self.count


@dataclass(frozen=True, slots=True)
class Response:
    """An authenticator's answer as parsed by the library, and the challenge that it says it answers."""

    parsed: Any
    challenge: bytes
    credential_id: bytes


@dataclass(frozen=True, slots=True)
class Signature:
    """A verified signature: what the authenticator counts now, and whether it has a back-up."""

    sign_count: int
    backed_up: bool


@dataclass(frozen=True, slots=True)
class Assertion:
    """Everything about a log-in by passkey that can be checked without knowing what was before it.

    `challenge_end` is when the challenge that it answers would have ended.
    """

    stored: StoredPasskey
    response: Response
    signature: Signature
    challenge_end: datetime


def passkey_name(text: str) -> str:
    """Raises `Invalid` for a name that says nothing or too much."""
    name = " ".join(text.split())
    if not name:
        raise _invalid(FieldError("name", "required", "Give the passkey a name."))
    if len(name) > PASSKEY_NAME_MAX_LENGTH:
        raise _invalid(FieldError("name", "too_long", f"Use at most {PASSKEY_NAME_MAX_LENGTH} characters."))
    if not name.isprintable():
        raise _invalid(FieldError("name", "invalid_characters", "The name is not valid text."))
    return name


def _invalid(error: FieldError) -> Invalid:
    return Invalid("invalid_input", "Check the fields that are marked.", errors=[error])


def user_handle(user_id: int) -> bytes:
    """What authenticators know a person by: the same for all their passkeys, and no personal data."""
    return hashlib.sha256(f"visiona user {user_id}".encode()).digest()


def creation_options(
    settings: FactorSettings,
    challenge: bytes,
    user_id: int,
    label: str,
    known: Iterable[KnownCredential],
) -> dict[str, Any]:
    """`PublicKeyCredentialCreationOptionsJSON`: a passkey that needs no name to log in, made only after
    its owner was verified (by finger, face or PIN), without asking what the authenticator is.
    """
    from webauthn import generate_registration_options  # noqa: PLC0415 - imported where it is used
    from webauthn.helpers import options_to_json_dict  # noqa: PLC0415 - imported where it is used
    from webauthn.helpers.structs import (  # noqa: PLC0415 - imported where it is used
        AuthenticatorSelectionCriteria,
        ResidentKeyRequirement,
        UserVerificationRequirement,
    )

    options = generate_registration_options(
        rp_id=settings.rp_id,
        rp_name=settings.rp_name,
        user_id=user_handle(user_id),
        user_name=label,
        challenge=challenge,
        timeout=int(CHALLENGE_TTL.total_seconds() * 1000),
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED,
            user_verification=UserVerificationRequirement.REQUIRED,
        ),
        exclude_credentials=_descriptors(known),
    )
    return options_to_json_dict(options)


def request_options(
    settings: FactorSettings, challenge: bytes, known: Iterable[KnownCredential]
) -> dict[str, Any]:
    """`PublicKeyCredentialRequestOptionsJSON`. With nothing `known` the browser offers what it has."""
    from webauthn import generate_authentication_options  # noqa: PLC0415 - imported where it is used
    from webauthn.helpers import options_to_json_dict  # noqa: PLC0415 - imported where it is used
    from webauthn.helpers.structs import (  # noqa: PLC0415 - imported where it is used
        UserVerificationRequirement,
    )

    options = generate_authentication_options(
        rp_id=settings.rp_id,
        challenge=challenge,
        timeout=int(CHALLENGE_TTL.total_seconds() * 1000),
        allow_credentials=_descriptors(known),
        user_verification=UserVerificationRequirement.REQUIRED,
    )
    return options_to_json_dict(options)


def _descriptors(known: Iterable[KnownCredential]) -> list[Any]:
    from webauthn.helpers.structs import (  # noqa: PLC0415 - imported where it is used
        AuthenticatorTransport,
        PublicKeyCredentialDescriptor,
    )

    return [
        PublicKeyCredentialDescriptor(
            id=one.credential_id, transports=[AuthenticatorTransport(name) for name in one.transports]
        )
        for one in known
    ]


def read_registration(credential: Mapping[str, Any]) -> Response:
    """Parse a `RegistrationResponseJSON`. Raises `PasskeyRefused`."""
    with _refusals():
        from webauthn.helpers import (  # noqa: PLC0415 - imported where it is used
            parse_registration_credential_json,
        )

        return _response(parse_registration_credential_json(dict(credential)))


def read_assertion(credential: Mapping[str, Any]) -> Response:
    """Parse an `AuthenticationResponseJSON`. Raises `PasskeyRefused`."""
    with _refusals():
        from webauthn.helpers import (  # noqa: PLC0415 - imported where it is used
            parse_authentication_credential_json,
        )

        return _response(parse_authentication_credential_json(dict(credential)))


def _response(parsed: Any) -> Response:
    from webauthn.helpers import parse_client_data_json  # noqa: PLC0415 - imported where it is used

    if len(parsed.raw_id) not in _CREDENTIAL_ID_BYTES:
        raise PasskeyRefused("length of the id")
    client_data = parse_client_data_json(parsed.response.client_data_json)
    if client_data.cross_origin:
        raise PasskeyRefused("asked for in a frame of another site")
    return Response(parsed, client_data.challenge, parsed.raw_id)


def verify_registration(settings: FactorSettings, response: Response) -> NewPasskey:
    """Whether an authenticator made this passkey for us, with its owner verified. The challenge is the
    caller's to judge. Raises `PasskeyRefused`.
    """
    with _refusals():
        from webauthn import verify_registration_response  # noqa: PLC0415 - imported where it is used
        from webauthn.helpers.structs import CredentialDeviceType  # noqa: PLC0415 - as above

        verified = verify_registration_response(
            credential=response.parsed,
            expected_challenge=response.challenge,
            expected_rp_id=settings.rp_id,
            expected_origin=list(settings.origins),
            require_user_verification=True,
        )
        if verified.credential_id != response.credential_id:
            raise PasskeyRefused("two ids")
        return NewPasskey(
            credential_id=verified.credential_id,
            public_key=verified.credential_public_key,
            sign_count=verified.sign_count,
            transports=sorted({transport.value for transport in response.parsed.response.transports or ()}),
            synced=verified.credential_device_type is CredentialDeviceType.MULTI_DEVICE,
            backed_up=verified.credential_backed_up,
            aaguid=uuid.UUID(verified.aaguid),
        )


def verify_assertion(
    settings: FactorSettings, response: Response, stored: StoredPasskey, *, needs_handle: bool
) -> Signature:
    """Whether the owner of this passkey, verified by their authenticator, signed what we asked.

    With `needs_handle` it must also say whose it is, as it does where we did not. The challenge and the
    counter are the caller's to judge. Raises `PasskeyRefused`.
    """
    with _refusals():
        from webauthn import verify_authentication_response  # noqa: PLC0415 - imported where it is used

        handle = response.parsed.response.user_handle
        if handle != user_handle(stored.user_id) and (handle or needs_handle):
            raise PasskeyRefused("somebody else's")
        verified = verify_authentication_response(
            credential=response.parsed,
            expected_challenge=response.challenge,
            expected_rp_id=settings.rp_id,
            expected_origin=list(settings.origins),
            credential_public_key=stored.public_key,
            credential_current_sign_count=0,
            require_user_verification=True,
        )
        return Signature(verified.new_sign_count, verified.credential_backed_up)


@contextmanager
def _refusals() -> Generator[None]:
    try:
        yield
    except PasskeyRefused:
        raise
    except Exception as error:  # parsers of hostile bytes: however they fail, it is refused
        raise PasskeyRefused(type(error).__name__) from error
