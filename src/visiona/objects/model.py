"""Object keys and signed links. Pure."""

import hmac
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from urllib.parse import quote

from visiona.core.errors import NotFound
from visiona.core.ids import opaque_id

# A link lives between half and all of this, so that it stays the same (and cached) for a while.
LINK_TTL_S = 300

_EXTENSIONS = {"image/jpeg": "jpg", "image/png": "png", "image/webp": "webp"}


class Kind(StrEnum):
    PHOTO = "photos"
    IMAGE = "images"


def new_key(user_id: int, kind: Kind, content_type: str) -> str:
    """A fresh key made of nothing that a person typed: `u7/photos/<32 hex>.jpg`."""
    return f"u{user_id}/{kind}/{opaque_id()}.{_EXTENSIONS[content_type]}"


def content_type_of(key: str) -> str:
    extension = key.rpartition(".")[2]
    return next(kind for kind, suffix in _EXTENSIONS.items() if suffix == extension)


@dataclass(frozen=True, slots=True)
class LinkSigner:
    """Signs links to objects of a store that cannot sign itself: HMAC-SHA256 over key and expiry."""

    secret: bytes

    def sign(self, key: str, now: datetime) -> str:
        """A path of this server that opens the object for 150 to 300 s, equal within a window."""
        window = LINK_TTL_S // 2
        expires = (int(now.timestamp()) // window + 2) * window
        return f"/media/{quote(key)}?expires={expires}&signature={self._signature(key, expires)}"

    def verify(self, key: str, expires: int, signature: str, now: datetime) -> None:
        """Raises `NotFound` for a link that was not made here or has expired."""
        genuine = hmac.compare_digest(self._signature(key, expires).encode(), signature.encode())
        if not genuine or expires <= now.timestamp():
            raise NotFound("link_expired", "This link has expired. Reload the page to get a new one.")

    def _signature(self, key: str, expires: int) -> str:
        return hmac.digest(self.secret, f"media:{expires}:{key}".encode(), "sha256").hex()
