"""`/account`, `/hardware` and the webhook secret."""

from typing import Any

from litestar import get

from visiona.sandbox.replicate.service import TheSandbox

HARDWARE = (
    {"name": "CPU", "sku": "cpu"},
    {"name": "Nvidia T4 GPU", "sku": "gpu-t4"},
    {"name": "Nvidia A40 GPU", "sku": "gpu-a40-small"},
    {"name": "Nvidia A40 (Large) GPU", "sku": "gpu-a40-large"},
)


@get("/account", sync_to_thread=False)
def show_account(sandbox: TheSandbox) -> dict[str, Any]:
    return {"type": "organization", "username": sandbox.config.account, "name": "Visiona sandbox"}


@get("/hardware", sync_to_thread=False)
def list_hardware() -> list[dict[str, str]]:
    return list(HARDWARE)


@get("/webhooks/default/secret", sync_to_thread=False)
def show_webhook_secret(sandbox: TheSandbox) -> dict[str, str]:
    return {"key": sandbox.sender.secret}
