"""What an API key is, what it may open, and how it is written. Pure.

A key reads `vsk_<22>_<43>_<6>`, each part letters and digits: what it is known by, the secret of 256
random bits, and a checksum. Scanners of secrets recognize the form, and a key that was mistyped or cut
off is refused without asking the database.
"""

import hashlib
import re
import secrets
import string
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from visiona.core.errors import FieldError, Invalid

KEY_MARK: Final = "vsk_"
KEYS_MAX: Final = 20
NAME_MAX_LENGTH: Final = 60
DEFAULT_DAYS: Final = 90
MAX_DAYS: Final = 365
KEPT_AFTER_END: Final = timedelta(days=30)

_ALPHABET: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_TOKEN: Final = re.compile(r"(vsk_[0-9A-Za-z]{22}_[0-9A-Za-z]{43})_([0-9A-Za-z]{6})")


class Scope(StrEnum):
    """What a key may be used for. Names are for ever: programs and stored keys carry them."""

    PHOTOS_READ = "photos:read"
    PHOTOS_WRITE = "photos:write"
    CLONES_READ = "clones:read"
    CLONES_WRITE = "clones:write"
    IMAGES_READ = "images:read"
    IMAGES_WRITE = "images:write"
    ACCOUNT_READ = "account:read"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as its owner sees it: never the secret."""

    id: int
    name: str
    prefix: str
    scopes: tuple[Scope, ...]
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class CreatedKey:
    """`token` is what programs show. It is known here and now only."""

    key: ApiKey
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeyHolder:
    """Whose program is asking, and what its key opens."""

    key_id: int
    user_id: int
    subject: str
    scopes: frozenset[Scope]
    suspended: bool


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """A key that somebody may have; made by `requested_key`."""

    name: str
    scopes: tuple[Scope, ...]
    lifetime: timedelta


def requested_key(name: str, scopes: Iterable[Scope], days: int) -> KeyRequest:
    """What somebody wants of a key. Raises `Invalid` naming everything that is wrong."""
    tidy = " ".join(name.split())
    wanted = frozenset(scopes)
    errors: list[FieldError] = []
    if not tidy:
        errors.append(FieldError("name", "required", "Give the key a name, to know it again."))
    elif len(tidy) > NAME_MAX_LENGTH:
        errors.append(FieldError("name", "too_long", f"Use at most {NAME_MAX_LENGTH} characters."))
    elif not tidy.isprintable():
        errors.append(FieldError("name", "invalid_characters", "The name is not plain text."))
    if not wanted:
        errors.append(FieldError("scopes", "required", "Say what the key is for."))
    if not 1 <= days <= MAX_DAYS:
        errors.append(FieldError("expires_in_days", "out_of_range", f"From 1 to {MAX_DAYS} days."))
    if errors:
        raise Invalid("invalid_input", "Check the fields that are marked.", errors=errors)
    return KeyRequest(tidy, known_scopes(wanted), timedelta(days=days))


def known_scopes(names: Iterable[str]) -> tuple[Scope, ...]:
    """In their usual order. One of a later release, which this one does not know, opens nothing."""
    given = frozenset(names)
    return tuple(scope for scope in Scope if scope.value in given)


def new_token() -> str:
    body = f"{KEY_MARK}{_random(22)}_{_random(43)}"
    return f"{body}_{_checksum(body)}"


def is_token(text: str) -> bool:
    """Whether this could be a key at all."""
    found = _TOKEN.fullmatch(text)
    return found is not None and found[2] == _checksum(found[1])


def token_prefix(token: str) -> str:
    """The part that may be shown and kept."""
    return token[: len(KEY_MARK) + 22]


def token_hash(token: str) -> bytes:
    """What is stored of a key. It has 256 random bits, so that one SHA-256 is enough."""
    return hashlib.sha256(token.encode()).digest()


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _checksum(body: str) -> str:
    """CRC-32 in six digits to the base of 62."""
    value, digits = zlib.crc32(body.encode()), ""
    for _ in range(6):
        value, digit = divmod(value, 62)
        digits = _ALPHABET[digit] + digits
    return digits
