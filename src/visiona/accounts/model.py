"""What an account is made of: addresses, passwords, limits on guessing, sessions and tokens. Pure."""

import base64
import hashlib
import hmac
import ipaddress
import json
import re
import unicodedata
import uuid
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

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

from visiona.core.errors import FieldError, Invalid, Unauthenticated

PASSWORD_MIN_LENGTH = 10
PASSWORD_MAX_LENGTH = 200
SESSION_TTL_S = 30 * 24 * 3600
TOKEN_TTL_S = 600
AUDIENCE = "visiona"
ALGORITHM = "EdDSA"
CLOCK_LEEWAY_S = 5
# Ours have about 500; what is longer is not worth parsing.
TOKEN_MAX_LENGTH = 1024
VERIFIED_TOKENS_KEPT = 10_000

# The most used passwords among those that are long enough to pass otherwise.
COMMON_PASSWORDS = frozenset(
    """
    0000000000 0123456789 0987654321 1111111111 1122334455 1212121212 1231231231 123123123123
    1234512345 12345678910 1234567890 123456789a 123456789q 12345678900 123456789123 1234554321
    12345qwert 123654789a 123qweasdzxc 147258369a 1q2w3e4r5t 1q2w3e4r5t6y 1qaz2wsx3edc 1qazxsw23edc
    2222222222 5555555555 7777777777 8888888888 987654321a 9876543210 9999999999 a123456789
    a1b2c3d4e5 aa12345678 aaaaaaaaaa abc1234567 abcd123456 abcdefghij administrator asdasdasdasd
    asdfghjkl1 asdfghjkl123 asdfghjkl; baseball123 basketball changeme123 chocolate1 dragon12345
    football123 iloveyou12 iloveyou123 iloveyou1234 letmein123 letmein1234 lovelovelove manchester
    master12345 michelle123 monkey12345 p@ssw0rd123 p@ssword123 passw0rd123 password01 password10
    password11 password12 password123 password123! password1234 password12345 password123456
    password1! password2024 password2025 passwordpassword princess123 q1w2e3r4t5 q1w2e3r4t5y6
    qazwsxedcrfv qwe123qwe123 qweasdzxc123 qwer123456 qwerty1234 qwerty12345 qwerty123456 qwertyqwerty
    qwertyuiop qwertyuiop1 qwertyuiop123 sunshine123 superman123 trustno1234 unbelievable welcome123
    welcome123! welcome1234 zaq12wsxcde3 zxcvbnm123 zxcvbnm1234
    """.split()  # noqa: SIM905 - a hundred quoted strings on as many lines would hide the list
)

_DECODING: Options = {
    "require": ["iss", "aud", "sub", "sid", "iat", "nbf", "exp", "jti"],
    "strict_aud": True,
    # The library compares times with the system's clock; `TokenKeys` does it with the one it is given.
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
}
_LOCAL_PART = re.compile(r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_DOMAIN_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


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
class ClientInfo:
    """Where a request comes from: the address of the peer (or of its proxy's client) and its browser."""

    address: str = field(repr=False)
    user_agent: str

    @property
    def label(self) -> str:
        """What a person may see beside their session, safe to store."""
        return "".join(c for c in self.user_agent if c.isprintable())[:200]

    @property
    def network(self) -> str:
        """The /24 or /64 that one party usually controls as a whole."""
        try:
            address = ipaddress.ip_address(self.address)
        except ValueError:
            return self.address
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        prefix = 24 if address.version == 4 else 64
        return str(ipaddress.ip_network((address.packed, prefix), strict=False))


@dataclass(frozen=True, slots=True)
class User:
    id: int
    email: str = field(repr=False)
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who is signed in."""

    user_id: int
    subject: str
    session_id: uuid.UUID


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
class StoredCredentials:
    user_id: int
    subject: str
    password_hash: str = field(repr=False)
    suspended: bool


@dataclass(frozen=True, slots=True)
class StoredSession:
    session: Session
    suspended: bool


@dataclass(frozen=True, slots=True)
class Credentials:
    """A normalized address, and the bytes of a password that are hashed."""

    email: str = field(repr=False)
    password: bytes = field(repr=False)


def new_credentials(email: str, password: str) -> Credentials:
    """What somebody wants to sign up with. Raises `Invalid` naming everything that is wrong."""
    address = normalized_email(email)
    text = unicodedata.normalize("NFC", password)
    return _credentials(address, text, _password_error(text) or _guessable(text, address))


def presented_credentials(email: str, password: str) -> Credentials:
    """What somebody logs in with: only what can be nobody's is refused."""
    address = normalized_email(email)
    text = unicodedata.normalize("NFC", password)
    return _credentials(address, text, _password_error(text, min_length=1))


def _credentials(address: str | None, password: str, password_error: FieldError | None) -> Credentials:
    errors: list[FieldError] = []
    if address is None:
        errors.append(FieldError("email", "invalid_email", "Enter an e-mail address, like name@example.com."))
    if password_error is not None:
        errors.append(password_error)
    if address is None or errors:
        raise Invalid("invalid_input", "Check the fields that are marked.", errors=errors)
    return Credentials(address, password.encode())


def normalized_email(text: str) -> str | None:
    """Lower-case, the domain as IDNA ASCII; None for what mail would not be delivered to."""
    local, separator, domain = unicodedata.normalize("NFC", text.strip()).lower().rpartition("@")
    ascii_domain = _ascii_domain(domain)
    if not separator or ascii_domain is None or len(local) > 64 or not _LOCAL_PART.fullmatch(local):
        return None
    address = f"{local}@{ascii_domain}"
    return address if len(address) <= 254 else None


def _ascii_domain(domain: str) -> str | None:
    if not domain.isascii():
        try:
            encoded = domain.encode("idna")
            # IDNA 2003 silently turns some letters into others, and so one domain into another.
            if encoded.decode("idna") != domain:
                return None
        except UnicodeError:
            return None
        domain = encoded.decode("ascii")
    labels = domain.split(".")
    if not all(_DOMAIN_LABEL.fullmatch(label) for label in labels) or labels[-1].isdecimal():
        return None
    return domain if len(labels) > 1 or domain == "localhost" else None


def _password_error(password: str, *, min_length: int = PASSWORD_MIN_LENGTH) -> FieldError | None:
    if len(password) < min_length:
        return FieldError("password", "too_short", f"Use at least {min_length} characters.")
    if len(password) > PASSWORD_MAX_LENGTH:
        return FieldError("password", "too_long", f"Use at most {PASSWORD_MAX_LENGTH} characters.")
    if any(unicodedata.category(character) == "Cs" for character in password):
        return FieldError("password", "invalid_characters", "The password is not valid text.")
    return None


def _guessable(password: str, email: str | None) -> FieldError | None:
    folded = password.casefold()
    if email is not None and folded in {email, email.partition("@")[0]}:
        return FieldError("password", "same_as_email", "Choose a password that is not your address.")
    if folded in COMMON_PASSWORDS:
        return FieldError("password", "too_common", "Many people use this password. Choose another.")
    return None


@dataclass(frozen=True, slots=True)
class AttemptLimit:
    """How often one party may guess before it has to wait, at most `ceiling_s` seconds each time.

    `shared` ones belong to many people: a success takes back its own attempt, not everybody's.
    """

    key: bytes
    free: int
    ceiling_s: int
    shared: bool


def attempt_limits(secret: bytes, client: ClientInfo, email: str) -> tuple[AttemptLimit, ...]:
    """The limits on one attempt, always in this order, so that transactions cannot deadlock on them."""

    def key(*parts: str) -> bytes:
        return hmac.new(secret, "\0".join(parts).encode(errors="replace"), hashlib.sha256).digest()

    return (
        AttemptLimit(key("pair", email, client.network), free=5, ceiling_s=900, shared=False),
        AttemptLimit(key("network", client.network), free=50, ceiling_s=900, shared=True),
        AttemptLimit(key("email", email), free=30, ceiling_s=60, shared=False),
    )


def secret_hash(secret: str) -> bytes:
    """What is stored of a session's secret. It has 256 random bits, so that one SHA-256 is enough."""
    return hashlib.sha256(secret.encode(errors="replace")).digest()


def derived_signing_key(seed: bytes) -> str:
    """The Ed25519 private key, as PEM, that belongs to a secret seed of 32 bytes."""
    key = Ed25519PrivateKey.from_private_bytes(seed)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


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
        claims: dict[str, Any] = {
            "iss": self._issuer,
            "aud": AUDIENCE,
            "sub": session.subject,
            "sid": str(session.session_id),
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
            claims, end = self._verify(token, now.timestamp())
        except (jwt.PyJWTError, ValueError) as error:
            raise Unauthenticated("invalid_token", "This access token is not valid. Log in again.") from error
        self._verified[digest] = claims, end
        if len(self._verified) > VERIFIED_TOKENS_KEPT:
            self._verified.popitem(last=False)
        return claims

    def _verify(self, token: str, now: float) -> tuple[TokenClaims, float]:
        if len(token) > TOKEN_MAX_LENGTH:
            raise ValueError("too long")
        key = self._keys.get(str(jwt.get_unverified_header(token).get("kid")))
        if key is None:
            raise ValueError("unknown key")
        claims = jwt.decode(
            token,
            key.public_key(),
            algorithms=[ALGORITHM],
            audience=AUDIENCE,
            issuer=self._issuer,
            options=_DECODING,
        )
        issued, start, end = (_instant(claims[name]) for name in ("iat", "nbf", "exp"))
        if max(issued, start) > now + CLOCK_LEEWAY_S or end <= now - CLOCK_LEEWAY_S:
            raise ValueError("not valid now")
        return TokenClaims(str(claims["sub"]), uuid.UUID(str(claims["sid"]))), end

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


def _instant(claim: Any) -> int:
    if type(claim) is not int:
        raise ValueError("not a NumericDate")
    return claim
