"""What the sandbox is told when it is made."""

import base64
import binascii
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from visiona.sandbox.network import is_loopback_url

API_VERSIONS: Final = ("2021-02-05", "2024-10-01", "2025-03-12", "2025-04-10", "2025-11-10", "2026-05-12")
"""The versions of the API by name, oldest first."""

METADATA_APART_SINCE: Final = "2026-05-12"
"""From this version on `PATCH /users/{id}` takes no metadata."""


def publishable_key(public_url: str) -> str:
    """The key of a development instance whose Frontend API is at `public_url`.

    It holds the host and port only. The sandbox speaks plain http, which no such key can say: whoever
    decodes one has to be told.
    """
    return "pk_test_" + base64.b64encode(f"{urlsplit(public_url).netloc}$".encode()).decode()


@dataclass(frozen=True, slots=True)
class ClerkSandboxConfig:
    """`public_url` is the server's own base URL, without a slash at the end, and the issuer of its tokens.

    Records lie in the folder `clerk` under `data_dir`. `webhook_secret` is `whsec_` and base64. A browser
    is sent back to `redirect_origins` only; while there are none, to any address of this machine.

    Webhooks come within `webhook_delay_ms`, in random order, because Clerk promises none. The pauses
    between attempts (5 s, 5 min, 30 min, ... in real life) are multiplied by `webhook_retry_scale`.
    """

    data_dir: Path
    public_url: str
    secret_key: str = field(repr=False)
    webhook_url: str | None
    webhook_secret: str = field(repr=False)
    redirect_origins: tuple[str, ...] = ()
    environment: str = "development"
    application: str = "Visiona"
    webhook_delay_ms: int = 150
    webhook_retry_scale: float = 0.01

    def __post_init__(self) -> None:
        if self.public_url.endswith("/"):
            raise ValueError("public_url does not end in a slash")
        if not self.secret_key.startswith("sk_test_"):
            raise ValueError(
                "the sandbox's secret key starts with sk_test_, as a development instance's does"
            )
        if self.webhook_url is not None and not is_loopback_url(self.webhook_url):
            raise ValueError("the sandbox delivers webhooks to this machine only")
        if not all(is_loopback_url(origin) for origin in self.redirect_origins):
            raise ValueError("the sandbox sends browsers to this machine only")
        webhook_key(self.webhook_secret)

    @property
    def publishable_key(self) -> str:
        return publishable_key(self.public_url)


def webhook_key(secret: str) -> bytes:
    """The key that a webhook secret stands for. Raises `ValueError` where it is none."""
    prefix, _, encoded = secret.partition("_")
    try:
        key = base64.b64decode(encoded, validate=True)
    except binascii.Error as error:
        raise ValueError("a webhook secret is whsec_ and base64") from error
    if prefix != "whsec" or not key:
        raise ValueError("a webhook secret is whsec_ and base64")
    return key
