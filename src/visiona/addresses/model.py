"""One-time links that are sent by mail: what for, how long, and whose. Pure."""

import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from visiona.core.client import AttemptLimit, ClientInfo
from visiona.db.sealed import LINK_ADDRESS, USER_EMAIL
from visiona.passwords.model import stand_in
from visiona.vault.model import Cipher


class Purpose(StrEnum):
    VERIFY = "verify"
    RESET = "reset"
    CHANGE = "change"


LIFETIMES = {
    Purpose.VERIFY: timedelta(days=7),
    Purpose.RESET: timedelta(minutes=30),
    Purpose.CHANGE: timedelta(days=1),
}
KEPT_AFTER_END = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class AddressSettings:
    """`throttle_secret` is for the keys of limits, `link_secrets` are those that mails wrote links with.

    Asking for a new password is answered after `reset_floor_s` seconds, whether there is an account or not.
    """

    throttle_secret: bytes = field(repr=False)
    link_secrets: tuple[bytes, ...] = field(repr=False)
    reset_floor_s: float = 0.3


@dataclass(frozen=True, slots=True)
class Link:
    """One that can be used now. `address` is the one that it is about."""

    user_id: int
    subject: str
    purpose: Purpose
    address: str = field(repr=False)
    current_address: str = field(repr=False)
    status: str


@dataclass(frozen=True, slots=True)
class SealedLink:
    """As it is stored: nobody is known before it is read, so that it is opened afterwards."""

    user_id: int
    subject: str
    purpose: Purpose
    address: bytes = field(repr=False)
    current_address: bytes | None = field(repr=False)
    status: str

    def opened(self, cipher: Cipher) -> Link:
        """Raises `Unreadable`."""
        address = cipher.open(LINK_ADDRESS.place, self.address)
        current = cipher.open_optional(USER_EMAIL.place, self.current_address) or stand_in(self.user_id)
        return Link(self.user_id, self.subject, self.purpose, address, current, self.status)


def mail_limits(secret: bytes, client: ClientInfo, *about: str) -> tuple[AttemptLimit, ...]:
    """The limits on asking for a mail: to one address or of one person, and from one network."""

    def key(*parts: str) -> bytes:
        return hmac.new(secret, "\0".join(("mail", *parts)).encode(errors="replace"), hashlib.sha256).digest()

    return (
        AttemptLimit(key("about", *about), free=3, ceiling_s=900, shared=False),
        AttemptLimit(key("network", client.network), free=20, ceiling_s=900, shared=True),
    )


def link_limits(secret: bytes, client: ClientInfo) -> tuple[AttemptLimit, ...]:
    """The limit on trying links. They cannot be guessed; this keeps the trying cheap for us."""
    digest = hmac.new(secret, f"link\0{client.network}".encode(errors="replace"), hashlib.sha256).digest()
    return (AttemptLimit(digest, free=50, ceiling_s=60, shared=True),)
