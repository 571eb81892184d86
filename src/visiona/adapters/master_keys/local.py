"""A master key that Visiona holds itself: 32 random bytes, written in base64."""

import base64
import binascii
import hashlib
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from visiona.ports.errors import ProviderRejected

_KEY_BYTES = 32
_NONCE_BYTES = 12
_PROVIDER = "master key"


def new_master_key() -> str:
    """The text of a new key, 44 characters of base64."""
    return base64.b64encode(os.urandom(_KEY_BYTES)).decode()


class LocalMasterKey:
    """AES-256-GCM with a random nonce. Raises `ValueError`, which repeats nothing, for any other text."""

    def __init__(self, text: str) -> None:
        try:
            key = base64.b64decode(text, altchars=b"-_" if {"-", "_"} & set(text) else None, validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if len(key) != _KEY_BYTES:
            raise ValueError(
                "a master key is 32 random bytes in base64 (make one with: openssl rand -base64 32)"
            )
        self._cipher = AESGCM(key)
        self._name = "local:" + hashlib.sha256(b"visiona master key\0" + key).hexdigest()[:16]

    @property
    def name(self) -> str:
        return self._name

    def __repr__(self) -> str:
        return f"LocalMasterKey({self._name})"

    async def wrap(self, key: bytes, context: str) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, key, context.encode())

    async def unwrap(self, wrapped: bytes, context: str) -> bytes:
        try:
            return self._cipher.decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], context.encode())
        except (InvalidTag, ValueError):
            raise ProviderRejected(
                _PROVIDER, f"{self._name} did not wrap this key", status=400, message="The key does not fit."
            ) from None

    async def aclose(self) -> None:
        """Nothing is held open."""
