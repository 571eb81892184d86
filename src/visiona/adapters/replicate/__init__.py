"""Replicate: trains the clones and makes the images."""

from visiona.adapters.replicate.client import ReplicateClient
from visiona.adapters.replicate.config import ReplicateConfig
from visiona.adapters.replicate.generation import ReplicateGenerator
from visiona.adapters.replicate.training import ReplicateTrainer
from visiona.adapters.replicate.webhooks import (
    UnreadableWebhook,
    WebhookNotice,
    read_webhook,
    verify_webhook,
)
from visiona.adapters.standard_webhooks import InvalidSignature

__all__ = [
    "InvalidSignature",
    "ReplicateClient",
    "ReplicateConfig",
    "ReplicateGenerator",
    "ReplicateTrainer",
    "UnreadableWebhook",
    "WebhookNotice",
    "read_webhook",
    "verify_webhook",
]
