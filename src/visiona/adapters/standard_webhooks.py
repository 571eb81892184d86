"""Signatures of webhooks as Standard Webhooks and Svix write them: one scheme, two sets of header names.

They are checked here rather than by the `standardwebhooks` and `svix` packages because those read the
system clock themselves, and meet a malformed signature or a body that is not UTF-8 with whatever
exception comes first; the tests compare both with this.
"""

import base64
import binascii
import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import datetime

TOLERANCE_S = 300
"""How far a timestamp may lie in the past or in the future: beyond it, a replay or a broken clock."""

_MAX_SIGNATURES = 16
_ID = re.compile(r"[!-~]{1,256}")
_TIMESTAMP = re.compile(r"[0-9]{1,12}")


class InvalidSignature(Exception):
    """The request was not signed with one of these secrets, or not just now. The text says which, safely."""


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


def verify_signature(
    secrets: Sequence[str], headers: Mapping[str, str], body: bytes, now: datetime, *, prefix: str = "webhook"
) -> str:
    """The webhook's id, which is the same when it is sent again. Raises `InvalidSignature`.

    `secrets` are several while one is being rotated. `body` is the request's raw bytes: parsing and
    writing JSON again would not give the same. `prefix` begins the names of the three headers.
    """
    given = {name.lower(): value for name, value in headers.items()}
    webhook_id = given.get(f"{prefix}-id", "")
    timestamp = given.get(f"{prefix}-timestamp", "")
    if not _ID.fullmatch(webhook_id) or not _TIMESTAMP.fullmatch(timestamp):
        raise InvalidSignature(f"missing or malformed {prefix}-id or {prefix}-timestamp")
    if abs(now.timestamp() - int(timestamp)) > TOLERANCE_S:
        raise InvalidSignature("timestamp outside the tolerance")
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    keys = [signing_key(secret) for secret in secrets]
    expected = [b"v1," + base64.b64encode(hmac.digest(key, signed, "sha256")) for key in keys]
    # Several are listed while the sender rotates its secret.
    candidates = given.get(f"{prefix}-signature", "").split(" ", _MAX_SIGNATURES)[:_MAX_SIGNATURES]
    presented = [one.encode(errors="replace") for one in candidates]
    matches = [hmac.compare_digest(one, other) for one in expected for other in presented]
    if not any(matches):
        raise InvalidSignature("no matching signature")
    return webhook_id
