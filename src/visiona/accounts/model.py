"""What an account is made of: people, their sessions and tokens, and limits on guessing. Pure."""

import base64
import hashlib
import hmac
import json
import uuid
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Literal

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from jwt.types import Options

from visiona.core.client import AttemptLimit, ClientInfo
from visiona.core.errors import NotFound, Unauthenticated
from visiona.db.sealed import USER_EMAIL
from visiona.passwords.model import stand_in
from visiona.vault.model import Cipher

Role = Literal["member", "admin"]

ERASED: Final = "erased person"
"""What stands for the address of somebody whose key is destroyed."""
SESSION_TTL_S = 30 * 24 * 3600
TOKEN_TTL_S = 600
TICKET_TTL_S = 600
FRESH_FOR = timedelta(minutes=15)
AUDIENCE = "visiona"
TICKET_AUDIENCE = "visiona:second-factor"
ALGORITHM = "EdDSA"
CLOCK_LEEWAY_S = 5
# Ours have about 500; what is longer is not worth parsing.
TOKEN_MAX_LENGTH = 1024
VERIFIED_TOKENS_KEPT = 10_000

_DECODING: Options = {
    "require": ["iss", "aud", "sub", "iat", "nbf", "exp", "jti"],
    "strict_aud": True,
    # The library compares times with the system's clock; `TokenKeys` does it with the one it is given.
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
}


@dataclass(frozen=True, slots=True)
class AccountSettings:
    """`signing_keys` are Ed25519 private keys as PEM: the first signs, all verify.

    A key is rotated by putting the new one first and dropping the old one a `token_ttl_s` later.
    """

    signing_keys: tuple[str, ...] = field(repr=False)
    issuer: str
    throttle_secret: bytes = field(repr=False)
    token_ttl_s: int = TOKEN_TTL_S
    session_ttl_s: int = SESSION_TTL_S


@dataclass(frozen=True, slots=True)
class User:
    id: int
    email: str = field(repr=False)
    created_at: datetime
    email_verified: bool
    role: Role


@dataclass(frozen=True, slots=True)
class SealedUser:
    """A person whose key is asked for once it is known who they are."""

    id: int
    email: bytes | None = field(repr=False)
    created_at: datetime
    email_verified: bool
    role: Role

    def opened(self, cipher: Cipher | None) -> User:
        """`cipher` is None where it is destroyed. Raises `Unreadable`."""
        email = shown_address(self.id, self.email, cipher)
        return User(self.id, email, self.created_at, self.email_verified, self.role)


def shown_address(user_id: int, sealed: bytes | None, cipher: Cipher | None) -> str:
    """Of this person, or what is shown in its place. Raises `Unreadable`."""
    if cipher is None:
        return ERASED
    return cipher.open_optional(USER_EMAIL.place, sealed) or stand_in(user_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Somebody who is signed in.

    `session_id` is None for a token of the identity service's own, whose session there is
    `provider_session_id`. `confirmed_at` is when they proved last who they are, None where that is not
    known.
    """

    user_id: int
    subject: str
    session_id: uuid.UUID | None
    confirmed_at: datetime | None
    provider_session_id: str | None
    role: Role
    email_verified: bool

    def is_fresh(self, now: datetime) -> bool:
        """Whether who holds this session has shown recently that they are its person."""
        return self.confirmed_at is not None and now < self.confirmed_at + FRESH_FOR


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionInfo:
    """One of a person's sessions, as they see it. `client` is what its browser said it was."""

    id: uuid.UUID
    client: str
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime
    current: bool


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A bearer token; `expires_in` is in seconds."""

    token: str = field(repr=False)
    expires_in: int


@dataclass(frozen=True, slots=True)
class SignedIn:
    """The result of signing up or logging in. `secret` goes into the browser's cookie, nowhere else."""

    user: User
    session: Session
    access_token: AccessToken
    secret: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class SecondFactorNeeded:
    """The password was right, and a code is wanted too: it comes with the `ticket`, within `expires_in`
    seconds.
    """

    ticket: str = field(repr=False)
    expires_in: int


@dataclass(frozen=True, slots=True)
class Standing:
    """What the row of somebody says about letting them in."""

    user_id: int
    status: str
    role: Role
    email_verified: bool
    ended: bool


@dataclass(frozen=True, slots=True)
class EndedSession:
    """One of ours that has just ended, and the session at the provider that it hung on."""

    id: uuid.UUID
    provider_session_id: str | None


@dataclass(frozen=True, slots=True)
class StoredSession:
    session: Session
    status: str


def attempt_limits(secret: bytes, client: ClientInfo, email: str) -> tuple[AttemptLimit, ...]:
    """The limits on one attempt, always in this order, so that transactions cannot deadlock on them."""

    def key(*parts: str) -> bytes:
        return hmac.new(secret, "\0".join(parts).encode(errors="replace"), hashlib.sha256).digest()

    return (
        AttemptLimit(key("pair", email, client.network), free=5, ceiling_s=900, shared=False),
        AttemptLimit(key("network", client.network), free=50, ceiling_s=900, shared=True),
        AttemptLimit(key("email", email), free=30, ceiling_s=60, shared=False),
    )


def confirmation_limits(secret: bytes, user_id: int) -> tuple[AttemptLimit, ...]:
    """The limit on guessing the password of a session that one holds."""
    digest = hmac.new(secret, f"confirm\0{user_id}".encode(), hashlib.sha256).digest()
    return (AttemptLimit(digest, free=5, ceiling_s=900, shared=False),)


def secret_hash(secret: str) -> bytes:
    """What is stored of a session's secret. It has 256 random bits, so that one SHA-256 is enough."""
    return hashlib.sha256(secret.encode(errors="replace")).digest()


def derived_signing_key(seed: bytes) -> str:
    """The Ed25519 private key, as PEM, that belongs to a secret seed of 32 bytes."""
    key = Ed25519PrivateKey.from_private_bytes(seed)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@dataclass(frozen=True, slots=True)
class Ticket:
    """What stands for a password that was right: whose, and which one it was (its `mark`)."""

    user_id: int
    subject: str
    mark: str


@dataclass(frozen=True, slots=True)
class TokenClaims:
    """What a genuine, unexpired token says. Whether its session still lives is another question."""

    subject: str
    session_id: uuid.UUID


class TokenKeys:
    """Signs and verifies access tokens (JWT, Ed25519). Time is an argument."""

    def __init__(self, signing_keys: Iterable[str], issuer: str) -> None:
        self._issuer = issuer
        self._keys = {_thumbprint(key): key for key in map(_private_key, signing_keys)}
        if not self._keys:
            raise ValueError("At least one signing key is needed.")
        self._signing_kid = next(iter(self._keys))
        # By the hash of the token: what it says, and when it ends.
        self._verified: OrderedDict[bytes, tuple[TokenClaims, float]] = OrderedDict()

    def issue(self, session: Session, now: datetime, ttl_s: int) -> str:
        sid = str(session.session_id)
        return self._sign({"aud": AUDIENCE, "sub": session.subject, "sid": sid}, now, ttl_s)

    def issue_ticket(self, ticket: Ticket, now: datetime) -> str:
        """What is shown with the second factor. Good for nothing else."""
        own = {"aud": TICKET_AUDIENCE, "sub": ticket.subject, "uid": ticket.user_id, "pwd": ticket.mark}
        return self._sign(own, now, TICKET_TTL_S)

    def read_ticket(self, text: str, now: datetime) -> Ticket:
        """Raises `Unauthenticated` (`invalid_ticket`)."""
        try:
            claims, _ = self._decode(text, TICKET_AUDIENCE, now.timestamp())
            return Ticket(_instant(claims["uid"]), str(claims["sub"]), str(claims["pwd"]))
        except (jwt.PyJWTError, ValueError, KeyError) as error:
            raise invalid_ticket() from error

    def _sign(self, own: Mapping[str, Any], now: datetime, ttl_s: int) -> str:
        claims: dict[str, Any] = {
            "iss": self._issuer,
            **own,
            "iat": int(now.timestamp()),
            "nbf": int(now.timestamp()),
            "exp": int((now + timedelta(seconds=ttl_s)).timestamp()),
            "jti": uuid.uuid4().hex,
        }
        key = self._keys[self._signing_kid]
        return jwt.encode(claims, key, algorithm=ALGORITHM, headers={"kid": self._signing_kid})

    def verify(self, token: str, now: datetime) -> TokenClaims:
        """Raises `Unauthenticated` (`invalid_token`) for what was not issued here or is not valid now.

        A signature costs more to check than all else in a request, so that of a token in use is
        checked once. Its times are compared every time.
        """
        digest = hashlib.sha256(token.encode(errors="replace")).digest()
        known = self._verified.get(digest)
        if known is not None and now.timestamp() < known[1]:
            return known[0]
        try:
            content, end = self._decode(token, AUDIENCE, now.timestamp())
            claims = TokenClaims(str(content["sub"]), uuid.UUID(str(content["sid"])))
        except (jwt.PyJWTError, ValueError, KeyError) as error:
            raise Unauthenticated("invalid_token", "This access token is not valid. Log in again.") from error
        self._verified[digest] = claims, end
        if len(self._verified) > VERIFIED_TOKENS_KEPT:
            self._verified.popitem(last=False)
        return claims

    def _decode(self, token: str, audience: str, now: float) -> tuple[dict[str, Any], float]:
        """What a genuine token says, and when it ends."""
        if len(token) > TOKEN_MAX_LENGTH:
            raise ValueError("too long")
        key = self._keys.get(str(jwt.get_unverified_header(token).get("kid")))
        if key is None:
            raise ValueError("unknown key")
        claims = jwt.decode(
            token,
            key.public_key(),
            algorithms=[ALGORITHM],
            audience=audience,
            issuer=self._issuer,
            options=_DECODING,
        )
        issued, start, end = (_instant(claims[name]) for name in ("iat", "nbf", "exp"))
        if max(issued, start) > now + CLOCK_LEEWAY_S or end <= now - CLOCK_LEEWAY_S:
            raise ValueError("not valid now")
        return claims, end

    def jwks(self) -> dict[str, Any]:
        """The public keys as a JSON Web Key Set (RFC 7517), the signing one first."""
        return {
            "keys": [
                _public_jwk(key) | {"kid": kid, "use": "sig", "alg": ALGORITHM}
                for kid, key in self._keys.items()
            ]
        }


def _private_key(pem: str) -> Ed25519PrivateKey:
    key = load_pem_private_key(pem.encode(), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise TypeError("A signing key must be an Ed25519 private key (openssl genpkey -algorithm ed25519).")
    return key


def _public_jwk(key: Ed25519PrivateKey) -> dict[str, str]:
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return {"crv": "Ed25519", "kty": "OKP", "x": _base64url(raw)}


def _thumbprint(key: Ed25519PrivateKey) -> str:
    """RFC 7638: the hash of the required members in lexical order."""
    canonical = json.dumps(_public_jwk(key), separators=(",", ":"), sort_keys=True)
    return _base64url(hashlib.sha256(canonical.encode()).digest())


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def is_own_token(token: str) -> bool:
    """Whether it says that it was signed the way we do; that it was is another question."""
    try:
        return jwt.get_unverified_header(token).get("alg") == ALGORITHM
    except jwt.PyJWTError:
        return True


def _instant(claim: Any) -> int:
    if type(claim) is not int:
        raise ValueError("not an integer")
    return claim


def invalid_ticket() -> Unauthenticated:
    return Unauthenticated("invalid_ticket", "This took too long. Log in again.")


def session_not_found() -> NotFound:
    return NotFound("session_not_found", "There is no such session any more.")
