"""Stripe: takes the payments."""

from visiona.adapters.stripe.config import StripeConfig, is_live
from visiona.adapters.stripe.payments import StripePayments
from visiona.adapters.stripe.webhooks import (
    EVENTS,
    PINNED_VERSION,
    EventNotice,
    InvalidSignature,
    UnreadableWebhook,
    read_event,
    verify_webhook,
)

__all__ = [
    "EVENTS",
    "PINNED_VERSION",
    "EventNotice",
    "InvalidSignature",
    "StripeConfig",
    "StripePayments",
    "UnreadableWebhook",
    "is_live",
    "read_event",
    "verify_webhook",
]
