"""Object keys, signed links, and objects as they are read. Pure."""

import hmac
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from urllib.parse import quote

from visiona.core.errors import NotFound
from visiona.core.ids import opaque_id

# A link lives between half and all of this, so that it stays the same (and cached) for a while.
LINK_TTL_S = 300
DOWNLOAD_TTL_S = 3600

_OWNER = re.compile(r"u([1-9][0-9]{0,18})/")
_DAY = re.compile(r"/([0-9]{4}-[0-9]{2}-[0-9]{2})-[0-9a-f]{32}\.")
_EXTENSIONS = {"image/jpeg": "jpg", "image/png": "png", "image/webp": "webp", "application/zip": "zip"}


class Kind(StrEnum):
    PHOTO = "photos"
    IMAGE = "images"
    EXPORT = "exports"


def new_key(user_id: int, kind: Kind, content_type: str, day: date | None = None) -> str:
    """A fresh key made of nothing that a person typed: `u7/photos/<32 hex>.jpg`, or with the `day` that it is
    of: `u7/exports/2026-11-24-<32 hex>.zip`.
    """
    dated = "" if day is None else f"{day.isoformat()}-"
    return f"u{user_id}/{kind}/{dated}{opaque_id()}.{_EXTENSIONS[content_type]}"


def day_of(key: str) -> str:
    """The day that a key is of, as in 2026-11-24; nothing where it says none."""
    found = _DAY.search(key)
    return "" if found is None else found[1]


def content_type_of(key: str) -> str:
    extension = key.rpartition(".")[2]
    return next(kind for kind, suffix in _EXTENSIONS.items() if suffix == extension)


def is_export(key: str) -> bool:
    """Whether a copy of somebody's data is under this key."""
    return key.split("/")[1:2] == [Kind.EXPORT]


def owner_of(key: str) -> int:
    """The id of the person whose object this is. Raises `ValueError`."""
    found = _OWNER.match(key)
    if found is None:
        raise ValueError("this key is nobody's")
    return int(found[1])


class RangeNotSatisfiable(Exception):
    """The range begins behind the end of the object, which has `size` bytes."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size


@dataclass(frozen=True, slots=True)
class ByteRange:
    """What RFC 9110 can ask for: the bytes from `first` to `last`, both included, or to the end; without a
    `first`, as many bytes as `last` says from the end.
    """

    first: int | None
    last: int | None

    def within(self, size: int) -> tuple[int, int]:
        """Half-open, and not empty. Raises `RangeNotSatisfiable`."""
        if self.first is None:
            start, end = max(0, size - (self.last or 0)), size
        else:
            start, end = self.first, size if self.last is None else min(self.last + 1, size)
        if start >= end:
            raise RangeNotSatisfiable(size)
        return start, end


@dataclass(frozen=True, slots=True)
class PlainObject:
    """An object being read: it has `size` bytes, of which `body` yields those from `start` to before
    `end`. Pieces are authentic one by one, and `body` raises `Unreadable` at the first that is not.
    """

    size: int
    start: int
    end: int
    body: AsyncIterator[bytes]


class LinkSigner:
    """Signs links to objects: HMAC-SHA256 over key and expiry. What `older` ones signed is believed."""

    def __init__(self, secret: bytes, *older: bytes) -> None:
        self._secrets = (secret, *older)

    def sign(self, key: str, now: datetime, ttl_s: int = LINK_TTL_S) -> str:
        """A path of this server that opens the object for half to all of `ttl_s`, equal within a window."""
        window = ttl_s // 2
        expires = (int(now.timestamp()) // window + 2) * window
        return f"/media/{quote(key)}?expires={expires}&signature={_signature(self._secrets[0], key, expires)}"

    def verify(self, key: str, expires: int, signature: str, now: datetime) -> None:
        """Raises `NotFound` for a link that was not made here or has expired."""
        given = signature.encode()
        genuine = any(
            hmac.compare_digest(_signature(one, key, expires).encode(), given) for one in self._secrets
        )
        if not genuine or expires <= now.timestamp():
            raise NotFound(
                "link_expired", "This link has expired. Open the picture again from the page that it was on."
            )


def _signature(secret: bytes, key: str, expires: int) -> str:
    return hmac.digest(secret, f"media:{expires}:{key}".encode(), "sha256").hex()
