"""What the Replicate adapter is told by the operator."""

import re
from dataclasses import dataclass, field

from visiona.adapters.http import DEFAULT_TIMEOUTS, Timeouts
from visiona.adapters.replicate.answers import usable_name, version_parts
from visiona.adapters.replicate.delivery import DeliveryHosts
from visiona.adapters.standard_webhooks import signing_key

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicateConfig:
    """`owner` empty: the account that the token belongs to. `webhook_secrets` empty: asked from the API.

    `delivery_hosts` are where outputs may be fetched from. A plain name means itself and its
    subdomains over HTTPS on the usual port; `host:port` means exactly that, HTTP allowed, and is
    for the sandbox.

    `call_deadline_s` bounds one request to the API with its retries, however slowly it is answered;
    `retry_budget_s` bounds the waiting between them. `max_page_bytes` is for lists, whose hundred
    entries may each carry logs.
    """

    token: str = field(repr=False)
    base_url: str = "https://api.replicate.com/v1"
    owner: str = ""
    webhook_secrets: tuple[str, ...] = field(default=(), repr=False)
    trainer: str = "ostris/flux-dev-lora-trainer"
    trainer_version: str = "26dce37af90b9d997eeb970d92e47de3064d46c300504ae376c75bef6a9022d2"
    destination_prefix: str = "visiona"
    hardware: str = "gpu-t4"
    delivery_hosts: tuple[str, ...] = ("replicate.delivery",)
    max_output_bytes: int = 50 * _MIB
    max_answer_bytes: int = 5 * _MIB
    max_page_bytes: int = 32 * _MIB
    timeouts: Timeouts = DEFAULT_TIMEOUTS
    call_deadline_s: float = 30.0
    upload_deadline_s: float = 600.0
    download_deadline_s: float = 120.0
    retry_budget_s: float = 5.0

    def __post_init__(self) -> None:
        # A token with a line break would surface in the HTTP library's complaint about the header.
        if not re.fullmatch(r"[!-~]+", self.token):
            raise ValueError("the Replicate token must be printable ASCII without spaces")
        if not re.fullmatch(r"https?://[^\s?#]+", self.base_url):
            raise ValueError("the Replicate base URL must be an http(s) URL without a query")
        if version_parts(f"{self.trainer}:{self.trainer_version}") is None:
            raise ValueError("the trainer must be owner/name, and its version 64 hexadecimal digits")
        if not all(usable_name(name) for name in (self.owner or "me", self.destination_prefix)):
            raise ValueError("the owner and the destination prefix must be plain names")
        DeliveryHosts(self.delivery_hosts)
        for secret in self.webhook_secrets:
            signing_key(secret)
