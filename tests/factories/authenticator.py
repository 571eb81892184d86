"""An authenticator and the browser in front of it, in software: what WebAuthn asks of both, and no more.

Everything that a person, a browser or a thief could do differently is an argument or an attribute.
"""

import base64
import hashlib
import json
import secrets
import struct
from dataclasses import dataclass, field
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

USER_PRESENT, USER_VERIFIED, BACKUP_ELIGIBLE, BACKED_UP, ATTESTED = 0x01, 0x04, 0x08, 0x10, 0x40


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@dataclass
class Authenticator:
    """Holds one passkey once `create` was called. It counts its signatures unless `synced`."""

    origin: str
    synced: bool = False
    count: int = 0
    credential_id: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    user_handle: bytes | None = None

    def create(
        self,
        options: dict[str, Any],
        *,
        rp_id: str | None = None,
        verified: bool = True,
        client_data: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """The `RegistrationResponseJSON` to these creation options."""
        self.user_handle = decode(options["user"]["id"])
        numbers = self.key.public_key().public_numbers()
        public_key = cbor2.dumps(
            {1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big")}
        )
        attested = bytes(16) + struct.pack(">H", len(self.credential_id)) + self.credential_id + public_key
        data = self._data(rp_id or options["rp"]["id"], verified, ATTESTED) + attested
        attestation = cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})
        return self._credential(
            clientDataJSON=encode(self._client_data("webauthn.create", options["challenge"], client_data)),
            attestationObject=encode(attestation),
            transports=["internal", "hybrid", "telepathy"],
        )

    def get(
        self,
        options: dict[str, Any],
        *,
        rp_id: str | None = None,
        verified: bool = True,
        client_data: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """The `AuthenticationResponseJSON` to these request options."""
        if not self.synced:
            self.count += 1
        data = self._data(rp_id or options["rpId"], verified, 0)
        client = self._client_data("webauthn.get", options["challenge"], client_data)
        signature = self.key.sign(data + hashlib.sha256(client).digest(), ec.ECDSA(SHA256()))
        return self._credential(
            clientDataJSON=encode(client),
            authenticatorData=encode(data),
            signature=encode(signature),
            userHandle=None if self.user_handle is None else encode(self.user_handle),
        )

    def _data(self, rp_id: str, verified: bool, flags: int) -> bytes:
        flags |= USER_PRESENT | (USER_VERIFIED if verified else 0)
        flags |= BACKUP_ELIGIBLE | BACKED_UP if self.synced else 0
        return hashlib.sha256(rp_id.encode()).digest() + struct.pack(">BI", flags, self.count)

    def _client_data(self, type_: str, challenge: str, others: dict[str, Any] | None) -> bytes:
        said = {"type": type_, "challenge": challenge, "origin": self.origin, "crossOrigin": False}
        return json.dumps(said | (others or {})).encode()

    def _credential(self, **response: Any) -> dict[str, Any]:
        name = encode(self.credential_id)
        return {
            "id": name,
            "rawId": name,
            "type": "public-key",
            "response": response,
            "clientExtensionResults": {},
            "authenticatorAttachment": "platform",
        }
