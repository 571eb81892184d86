"""What the sandbox is told when it is made."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

API_VERSION: Final = "2026-10-28.endive"
"""The one version that the sandbox speaks, in answers and in events."""


@dataclass(frozen=True, slots=True)
class StripeSandboxConfig:
    """`public_url` is the server's own base URL, without a slash at the end.

    Records lie in the folder `stripe` under `data_dir`. `webhook_url` is an endpoint that exists without
    having been made over the API; `webhook_secret` signs for it, as its full text. The webhooks of one
    action are sent in random order within `webhook_delay_ms`, because Stripe promises no order.
    """

    data_dir: Path
    public_url: str
    secret_key: str = field(repr=False)
    webhook_url: str | None
    webhook_secret: str = field(repr=False)
    environment: str = "development"
    webhook_delay_ms: int = 150

    def __post_init__(self) -> None:
        if self.public_url.endswith("/"):
            raise ValueError("public_url does not end in a slash")
        if not self.secret_key.startswith("sk_test_"):
            raise ValueError("the sandbox's secret key starts with sk_test_, as a key of test mode does")
