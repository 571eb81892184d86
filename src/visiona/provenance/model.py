"""Checking where an image comes from: what may be sent, and how often."""

import hashlib
import hmac
from typing import Final

from visiona.core.client import AttemptLimit, ClientInfo

MAX_FILE_BYTES: Final = 25 * 1024 * 1024


def check_limits(secret: bytes, client: ClientInfo) -> tuple[AttemptLimit, ...]:
    """Anybody may check images, and each costs us a child process."""
    digest = hmac.new(secret, f"check\0{client.network}".encode(errors="replace"), hashlib.sha256).digest()
    return (AttemptLimit(digest, free=60, ceiling_s=60, shared=True),)
