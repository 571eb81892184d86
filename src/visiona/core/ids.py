"""Unguessable names for things that leave the house: object keys, sessions, subjects."""

import secrets
import uuid


def opaque_id() -> str:
    """32 hex characters carrying 122 random bits; safe in URLs, object keys and file names."""
    return uuid.uuid4().hex


def secret_token() -> str:
    """43 URL-safe characters carrying 256 random bits, for secrets that a person or browser holds."""
    return secrets.token_urlsafe(32)
