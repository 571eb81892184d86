"""What is sent to Replicate: bodies and paths."""

from typing import Any

from visiona.adapters.replicate.answers import usable_id, version_hash, version_parts
from visiona.adapters.replicate.failures import PROVIDER
from visiona.ports.errors import ProviderNotFound
from visiona.ports.generator import GenerationOrder
from visiona.ports.trainer import TrainingOrder


def training_body(order: TrainingOrder) -> dict[str, Any]:
    return {
        "destination": order.destination,
        "input": {**order.parameters, "input_images": order.archive_url},
        **_webhook(order.webhook_url),
    }


def prediction_body(order: GenerationOrder) -> dict[str, Any]:
    """Nothing may be added at the top level: unknown fields there are refused."""
    return {
        "version": version_hash(order.version),
        "input": dict(order.inputs),
        **_webhook(order.webhook_url),
    }


def path_segment(remote_id: str) -> str:
    """What cannot be an id names nothing at the provider, and never reaches a path."""
    if not usable_id(remote_id):
        raise ProviderNotFound(PROVIDER, "malformed_id")
    return remote_id


def version_path(version: str) -> str:
    """The path of `owner/name:hash`."""
    parts = version_parts(version)
    if parts is None:
        raise ProviderNotFound(PROVIDER, "malformed_version")
    owner, name, hexadecimal = parts
    return f"/models/{owner}/{name}/versions/{hexadecimal}"


def _webhook(url: str | None) -> dict[str, Any]:
    """Not for `logs` or `output`: those come up to twice a second, and progress is read on demand."""
    return {} if url is None else {"webhook": url, "webhook_events_filter": ["start", "completed"]}
