"""What the Clerk adapter is told by the operator."""

import base64
import binascii
import ipaddress
import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from visiona.adapters.http import Timeouts

API_VERSION = "2025-11-10"
"""The version that the answers are read as."""

MIN_KEY_BITS = 2048
MAX_KEY_BITS = 8192

_MIB = 1024 * 1024
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]{0,250}[a-z0-9])?(:[0-9]{1,5})?", re.IGNORECASE)
_PUBLISHABLE = re.compile(r"pk_(?P<mode>test|live)_(?P<host>[A-Za-z0-9+/_-]+={0,2})")
_SECRET = re.compile(r"sk_(?P<mode>test|live)_[!-~]+")
_ORIGIN = re.compile(r"https?://[^\s/?#@]+")
_PEM = re.compile(r"-----BEGIN PUBLIC KEY-----(?P<body>.*)-----END PUBLIC KEY-----", re.DOTALL)
_DEVELOPMENT_HOST = re.compile(r"(?P<slug>[^.]+)\.clerk\.accounts\.dev")
_PRODUCTION_HOST = re.compile(r"clerk\.(?P<domain>.+\..+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClerkConfig:
    """`frontend_url` and `accounts_url` None: derived from the publishable key. `jwt_key` is the public
    key as PEM; without it, keys are fetched. `authorized_parties` are the origins whose tokens count.

    `call_deadline_s` bounds one request with its retries, however slowly it is answered, and
    `retry_budget_s` the waiting between them; `keys_deadline_s` bounds fetching the keys, for which a
    person's request may wait. `keys_floor_s` lies between two fetches, and keys older than
    `keys_max_age_s` are fetched again.

    No log-in fails before `wrong_password_floor_s`: Clerk answers sooner where there is no password to
    compare, and would so say whose addresses it knows.
    """

    secret_key: str = field(repr=False)
    publishable_key: str
    authorized_parties: tuple[str, ...]
    base_url: str = "https://api.clerk.com/v1"
    frontend_url: str | None = None
    accounts_url: str | None = None
    jwt_key: str | None = field(default=None, repr=False)
    timeouts: Timeouts = field(default_factory=lambda: Timeouts(connect_s=5.0, read_s=10.0, write_s=10.0))
    call_deadline_s: float = 12.0
    retry_budget_s: float = 2.0
    max_answer_bytes: int = 2 * _MIB
    wrong_password_floor_s: float = 0.8
    keys_deadline_s: float = 5.0
    keys_floor_s: float = 30.0
    keys_max_age_s: float = 3600.0

    def __post_init__(self) -> None:
        secret = _SECRET.fullmatch(self.secret_key)
        if secret is None:
            raise ValueError("the Clerk secret key must be sk_test_... or sk_live_...")
        if secret["mode"] != self._publishable["mode"]:
            raise ValueError("the Clerk secret key and publishable key are not of the same instance")
        if not self.authorized_parties or not all(map(_ORIGIN.fullmatch, self.authorized_parties)):
            raise ValueError(
                "the authorized parties must be one or more origins, http(s)://host without a path"
            )
        _require_address("the Clerk base URL", self.base_url)
        # Found wrong here, at the start, rather than by the first person who signs in.
        _require_address("the Clerk frontend URL", self.frontend)
        _require_address("the Clerk accounts URL", self.accounts)
        self.public_key()

    @property
    def development(self) -> bool:
        """Whether this is a development instance, whose browsers carry their identity in addresses."""
        return self._publishable["mode"] == "test"

    @property
    def frontend(self) -> str:
        """The Frontend API, which is also the issuer of the tokens. No slash at the end."""
        if self.frontend_url:
            return self.frontend_url.rstrip("/")
        host = self._frontend_host()
        return f"{'http' if _on_this_machine(host) else 'https'}://{host}"

    @property
    def accounts(self) -> str:
        """The Account Portal. No slash at the end."""
        if self.accounts_url:
            return self.accounts_url.rstrip("/")
        host = self._frontend_host()
        if match := _DEVELOPMENT_HOST.fullmatch(host):
            return f"https://{match['slug']}.accounts.dev"
        if match := _PRODUCTION_HOST.fullmatch(host):
            return f"https://accounts.{match['domain']}"
        if _on_this_machine(host):
            return self.frontend
        raise ValueError("the Clerk accounts URL does not follow from the publishable key: give it")

    def public_key(self) -> RSAPublicKey | None:
        """The key in `jwt_key`, which is None where keys are fetched."""
        return None if self.jwt_key is None else _key_in(self.jwt_key)

    @property
    def _publishable(self) -> re.Match[str]:
        match = _PUBLISHABLE.fullmatch(self.publishable_key)
        if match is None:
            raise ValueError("the Clerk publishable key must be pk_test_... or pk_live_...")
        return match

    def _frontend_host(self) -> str:
        encoded = self._publishable["host"].rstrip("=")
        try:
            decoded = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_").decode("ascii")
        except (binascii.Error, ValueError):
            decoded = ""
        host = decoded.removesuffix("$")
        if not decoded.endswith("$") or not _HOST.fullmatch(host):
            raise ValueError("the Clerk publishable key names no host")
        return host.lower()


def _require_address(what: str, url: str) -> None:
    """HTTPS, since keys and secrets come and go this way; HTTP to servers on this machine alone."""
    if not re.fullmatch(r"https?://[^\s?#@]+", url):
        raise ValueError(f"{what} must be an http(s) URL without a query")
    parts = urlsplit(url)
    if parts.scheme == "http" and not _on_this_machine(parts.netloc):
        raise ValueError(f"{what} must be https, as it does not lie on this machine")


def _on_this_machine(host: str) -> bool:
    name = urlsplit(f"//{host}").hostname or ""
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _key_in(pem: str) -> RSAPublicKey:
    """Environment files break a PEM in many ways: its line breaks escaped, as spaces, or gone."""
    mended = pem.replace("\\r", "").replace("\\n", "\n")
    match = _PEM.search(mended)
    try:
        key = (
            load_der_public_key(base64.b64decode("".join(match["body"].split()), validate=True))
            if match
            else None
        )
    except ValueError:
        key = None
    if not isinstance(key, RSAPublicKey) or not is_strong(key):
        raise ValueError("the Clerk JWT key must be an RSA public key as PEM, of at least 2048 bits")
    return key


def is_strong(key: RSAPublicKey) -> bool:
    """Neither guessable nor so large that checking a signature takes long."""
    numbers = key.public_numbers()
    sized = MIN_KEY_BITS <= key.key_size <= MAX_KEY_BITS and 65537 <= numbers.e < 2**32
    return sized and numbers.n % 2 == 1
