"""Signatures: Standard Webhooks for deliveries, and the Files API's signed downloads."""

import base64
import hashlib
import hmac

from visiona.sandbox.replicate.config import secret_bytes


def sign_webhook(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """The `webhook-signature` header's value."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + _mac(secret_bytes(secret), signed)


def sign_download(secret: str, owner: str, file_id: str, expiry: int) -> str:
    """The `signature` of a download link. The sandbox signs files with its webhook secret's key."""
    return _mac(secret_bytes(secret), f"{owner} {file_id} {expiry}".encode())


def verify_download(secret: str, owner: str, file_id: str, expiry: int, signature: str) -> bool:
    return hmac.compare_digest(sign_download(secret, owner, file_id, expiry).encode(), signature.encode())


def _mac(key: bytes, message: bytes) -> str:
    return base64.b64encode(hmac.new(key, message, hashlib.sha256).digest()).decode()
