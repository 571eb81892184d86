"""Replicate's webhooks: is this one genuine, and what is it about?

The signature scheme is Standard Webhooks. It is checked here rather than by the `standardwebhooks`
package because that one reads the system clock itself, and meets a malformed signature or a body
that is not UTF-8 with whatever exception comes first; the tests compare the two.
"""

import base64
import binascii
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from visiona.adapters.replicate.answers import UnusableAnswerError, is_training, read_job, state_of
from visiona.ports.remote import RemoteState

TOLERANCE_S = 300
"""How far a timestamp may lie in the past or in the future: beyond it, a replay or a broken clock."""

_MAX_SIGNATURES = 16
_ID = re.compile(r"[!-~]{1,256}")
_TIMESTAMP = re.compile(r"[0-9]{1,12}")


class InvalidSignature(Exception):
    """The request was not signed with this secret, or not just now. The text says which, safely."""


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


def signing_key(secret: str) -> bytes:
    """The key in a secret of the form `whsec_<base64>`. Raises `ValueError` for anything else."""
    encoded = secret.removeprefix("whsec_")
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        raise ValueError("a webhook secret is whsec_ followed by base64")
    return key


def verify_webhook(secret: str, headers: Mapping[str, str], body: bytes, now: datetime) -> str:
    """The webhook's id, which is the same when it is sent again. Raises `InvalidSignature`.

    `body` is the request's raw bytes: parsing and writing JSON again would not give the same.
    """
    given = {name.lower(): value for name, value in headers.items()}
    webhook_id = given.get("webhook-id", "")
    timestamp = given.get("webhook-timestamp", "")
    if not _ID.fullmatch(webhook_id) or not _TIMESTAMP.fullmatch(timestamp):
        raise InvalidSignature("missing or malformed webhook-id or webhook-timestamp")
    if abs(now.timestamp() - int(timestamp)) > TOLERANCE_S:
        raise InvalidSignature("timestamp outside the tolerance")
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    expected = b"v1," + base64.b64encode(hmac.digest(signing_key(secret), signed, "sha256"))
    # Several are listed while a secret is being rotated.
    candidates = given.get("webhook-signature", "").split(" ", _MAX_SIGNATURES)[:_MAX_SIGNATURES]
    matches = [hmac.compare_digest(expected, one.encode(errors="replace")) for one in candidates]
    if not any(matches):
        raise InvalidSignature("no matching signature")
    return webhook_id


def read_webhook(body: bytes) -> WebhookNotice:
    """What a verified webhook is about. Raises `UnreadableWebhook`."""
    try:
        job = read_job(body)
    except UnusableAnswerError as error:
        raise UnreadableWebhook(str(error)) from error
    kind = "training" if is_training(job) else "prediction"
    return WebhookNotice(job.id, kind, state_of(job.status))
