"""Replicate's webhooks: is this one genuine, and what is it about?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from visiona.adapters.replicate.answers import UnusableAnswerError, is_training, read_job, state_of
from visiona.adapters.standard_webhooks import verify_signature
from visiona.ports.remote import RemoteState


class UnreadableWebhook(Exception):
    """Genuine, but not a training or a prediction as this adapter knows them."""


@dataclass(frozen=True, slots=True)
class WebhookNotice:
    """What a webhook is about. `kind` is read from the shape, as the body does not name it; the
    job with this id in our own records knows better.
    """

    remote_id: str
    kind: Literal["training", "prediction"]
    state: RemoteState


def verify_webhook(secrets: Sequence[str], headers: Mapping[str, str], body: bytes, now: datetime) -> str:
    """The webhook's id, which is the same when it is sent again. Raises `InvalidSignature`.

    `body` is the request's raw bytes: parsing and writing JSON again would not give the same.
    """
    return verify_signature(secrets, headers, body, now)


def read_webhook(body: bytes) -> WebhookNotice:
    """What a verified webhook is about. Raises `UnreadableWebhook`."""
    try:
        job = read_job(body)
    except UnusableAnswerError as error:
        raise UnreadableWebhook(str(error)) from error
    kind = "training" if is_training(job) else "prediction"
    return WebhookNotice(job.id, kind, state_of(job.status))
