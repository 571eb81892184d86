"""Records as the provider's API shows them.

A field that the published schema types as a plain string or object is left out while it has no value,
because `null` would not fit that schema.
"""

import hashlib
from collections.abc import Iterable
from typing import Any

from visiona.core.clock import rfc3339
from visiona.sandbox.replicate.config import TRAINER, ReplicateSandboxConfig
from visiona.sandbox.replicate.records import Job, Model, StoredFile, Version
from visiona.sandbox.replicate.schemas import COG_VERSION, trained_document, trainer_document

Json = dict[str, Any]


def delivery_url(config: ReplicateSandboxConfig, job: Job, name: str) -> str:
    return f"{config.public_url}/delivery/xezq/{job.token}/{name}"


def job(config: ReplicateSandboxConfig, record: Job, *, inline: list[str] | None = None) -> Json:
    """A training or prediction as GET shows it; `inline` replaces its output URLs."""
    body = _shared(config, record)
    if record.kind == "prediction":
        links = inline or [delivery_url(config, record, name) for name in record.outputs]
        body |= {"output": links or None, "data_removed": record.data_removed}
        if record.deadline:
            body["deadline"] = rfc3339(record.deadline)
    elif record.status == "succeeded":
        body["output"] = {
            "version": f"{record.destination}:{trained_version_id(record)}",
            "weights": delivery_url(config, record, "trained_model.tar"),
        }
    return body


def webhook(config: ReplicateSandboxConfig, record: Job, *, inline: list[str] | None = None) -> Json:
    """The same object as a webhook carries it."""
    body = job(config, record, inline=inline)
    body["webhook"] = record.webhook
    if record.webhook_events is not None:
        body["webhook_events_filter"] = record.webhook_events
    return body


def trained_version_id(record: Job) -> str:
    """The version that a training makes: the same one however often the training is resumed."""
    return hashlib.sha256(f"{record.id}:{record.token}".encode()).hexdigest()


def shown_status(record: Job) -> str:
    """The record's status, or the odd one that a fault shows instead of `processing`."""
    if record.status == "processing" and record.script.running_status:
        return record.script.running_status
    return record.status


def model(config: ReplicateSandboxConfig, record: Model, latest: Version | None, runs: int) -> Json:
    return {
        "url": f"{config.public_url}/{record.id}",
        "owner": record.owner,
        "name": record.name,
        "description": record.description,
        "visibility": record.visibility,
        "github_url": record.github_url,
        "paper_url": record.paper_url,
        "license_url": record.license_url,
        "run_count": runs,
        "cover_image_url": record.cover_image_url,
        "default_example": None,
        "latest_version": None if latest is None else version(latest),
    }


def version(record: Version) -> Json:
    document = trainer_document() if record.model == TRAINER else trained_document()
    return {
        "id": record.id,
        "created_at": rfc3339(record.created_at),
        "cog_version": COG_VERSION,
        "openapi_schema": document,
    }


def file(config: ReplicateSandboxConfig, record: StoredFile) -> Json:
    return {
        "id": record.id,
        "name": record.name,
        "content_type": record.content_type,
        "size": record.size,
        "etag": record.md5,
        "checksums": {"sha256": record.sha256, "md5": record.md5},
        "metadata": record.metadata,
        "created_at": rfc3339(record.created_at),
        "expires_at": rfc3339(record.expires_at),
        "urls": {"get": f"{config.public_url}/v1/files/{record.id}"},
    }


def page(results: Iterable[Json], following: str | None, previous: str | None) -> Json:
    return {"next": following, "previous": previous, "results": list(results)}


def _shared(config: ReplicateSandboxConfig, record: Job) -> Json:
    body: Json = {
        "id": record.id,
        "model": record.model,
        "version": record.version,
        "input": record.input,
        "logs": record.logs,
        "error": record.error,
        "status": shown_status(record),
        "source": "api",
        "created_at": rfc3339(record.created_at),
        "urls": _urls(config, record),
    }
    for name in ("started_at", "completed_at"):
        if (instant := getattr(record, name)) is not None:
            body[name] = rfc3339(instant)
    if record.completed_at is not None:
        started = record.started_at or record.completed_at
        body["metrics"] = {
            "predict_time": (record.completed_at - started).total_seconds(),
            "total_time": (record.completed_at - record.created_at).total_seconds(),
        }
    return body


def _urls(config: ReplicateSandboxConfig, record: Job) -> Json:
    plain = record.kind == "prediction" or record.script.urls_under_predictions
    base = f"{config.public_url}/v1/{'predictions' if plain else 'trainings'}/{record.id}"
    return {"get": base, "cancel": f"{base}/cancel", "web": f"{config.public_url}/p/{record.id}"}
