"""Proving to the database on whose behalf a transaction runs.

The database believes claims only with a proof for the transaction that they are set in (migration
0007): whoever can make it run other SQL can overhear proofs and set claims, and gains nothing by it.
"""

import hashlib
import hmac
from dataclasses import dataclass, field

_BLOCK_BYTES = 64  # of SHA-256, as HMAC pads its key to


@dataclass(frozen=True, slots=True)
class IdentityKey:
    """A secret of 32 bytes that this process shares with the database."""

    secret: bytes = field(repr=False)

    def prove(self, challenge: str, claims: str) -> str:
        """The HMAC-SHA256, in hexadecimal digits, that goes with these claims in this transaction."""
        return hmac.new(self.secret, f"{challenge}\n{claims}".encode(), hashlib.sha256).hexdigest()

    @property
    def id(self) -> str:
        """What the key is called where it is kept; tells nothing about it."""
        return hashlib.sha256(b"visiona identity key\0" + self.secret).hexdigest()[:16]

    @property
    def pads(self) -> tuple[bytes, bytes]:
        """The inner and the outer block of RFC 2104, so that SQL can compute the HMAC by SHA-256 alone."""
        key = self.secret.ljust(_BLOCK_BYTES, b"\0")
        return bytes(byte ^ 0x36 for byte in key), bytes(byte ^ 0x5C for byte in key)
