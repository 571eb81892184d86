"""Clerk: knows who people are, where the operator has chosen it over Visiona's own accounts."""

from visiona.adapters.clerk.config import API_VERSION, ClerkConfig
from visiona.adapters.clerk.identity import ClerkIdentity
from visiona.adapters.clerk.webhooks import EventNotice, UnreadableWebhook, read_event, verify_webhook
from visiona.adapters.standard_webhooks import InvalidSignature, signing_key

__all__ = [
    "API_VERSION",
    "ClerkConfig",
    "ClerkIdentity",
    "EventNotice",
    "InvalidSignature",
    "UnreadableWebhook",
    "read_event",
    "signing_key",
    "verify_webhook",
]
