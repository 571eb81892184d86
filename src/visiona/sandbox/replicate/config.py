"""What the sandbox is told when it is made."""

import base64
import binascii
from dataclasses import dataclass, field
from pathlib import Path

TRAINER = "ostris/flux-dev-lora-trainer"
TRAINER_VERSION = "26dce37af90b9d997eeb970d92e47de3064d46c300504ae376c75bef6a9022d2"


@dataclass(frozen=True, slots=True)
class ReplicateSandboxConfig:
    """`public_url` is the server's own base URL, without `/v1` and without a slash at the end.

    Durations are in seconds of the sandbox's clock, which `/_sandbox/clock` can speed up. Limits are
    requests per minute, as documented by the provider.
    """

    data_dir: Path
    public_url: str
    token: str = field(repr=False)
    webhook_secret: str = field(repr=False)
    account: str = "visiona-sandbox"
    training_seconds: float = 12.0
    generation_seconds: float = 2.5
    output_ttl_s: int = 3600
    environment: str = "development"
    trainer_version: str = TRAINER_VERSION
    version_delete_seconds: float = 5.0
    predictions_per_minute: int = 600
    requests_per_minute: int = 3000
    max_file_bytes: int = 100_000_000

    def __post_init__(self) -> None:
        if self.public_url.endswith(("/", "/v1")):
            raise ValueError("public_url ends in neither a slash nor /v1")
        secret_bytes(self.webhook_secret)


def secret_bytes(secret: str) -> bytes:
    """The signing key inside a `whsec_...` secret."""
    prefix, _, encoded = secret.partition("_")
    if prefix != "whsec":
        raise ValueError("a webhook secret starts with whsec_")
    try:
        return base64.b64decode(encoded, validate=True)
    except binascii.Error as error:
        raise ValueError("a webhook secret is base64 after whsec_") from error
