"""What the sandbox remembers: models, versions, jobs and files, as they lie on disk."""

import base64
import secrets
from datetime import datetime
from typing import Any, Literal

import msgspec

TERMINAL = frozenset({"succeeded", "failed", "canceled", "aborted"})

JobKind = Literal["training", "prediction"]


class Model(msgspec.Struct, kw_only=True):
    """A model of the account, or the trainer, which belongs to someone else."""

    owner: str
    name: str
    visibility: str
    created_at: datetime
    description: str | None = None
    github_url: str | None = None
    paper_url: str | None = None
    license_url: str | None = None
    weights_url: str | None = None
    cover_image_url: str | None = None
    readme: str | None = None

    @property
    def id(self) -> str:
        return f"{self.owner}/{self.name}"


class Version(msgspec.Struct, kw_only=True):
    """A version of a model. `training` made it and holds its weights; the trainer's own has none."""

    id: str
    model: str
    created_at: datetime
    training: str | None = None
    deleting: bool = False


class Script(msgspec.Struct, kw_only=True):
    """What faults have in store for one job; see `faults`."""

    fail: str | None = None
    running_status: str | None = None
    final_status: str | None = None
    refuse_images: int = 0
    cold_start: float = 0.0
    urls_under_predictions: bool = False
    inline_outputs: bool = False


class Job(msgspec.Struct, kw_only=True):
    """A training or prediction. `outputs` are file names under the job's own folder.

    `token` is the unguessable part of its delivery URLs, `seed` the one chosen where none was given.
    """

    id: str
    kind: JobKind
    model: str
    version: str
    input: dict[str, Any]
    created_at: datetime
    token: str
    seed: int = 0
    status: str = "starting"
    started_at: datetime | None = None
    completed_at: datetime | None = None
    deadline: datetime | None = None
    logs: str = ""
    error: str | None = None
    outputs: list[str] = []
    destination: str | None = None
    webhook: str | None = None
    webhook_events: list[str] | None = None
    webhook_completed: datetime | None = None
    data_removed: bool = False
    script: Script = msgspec.field(default_factory=Script)

    @property
    def finished(self) -> bool:
        return self.completed_at is not None


class StoredFile(msgspec.Struct, kw_only=True):
    """An uploaded file; its bytes lie beside the record."""

    id: str
    name: str
    content_type: str
    size: int
    sha256: str
    md5: str
    created_at: datetime
    expires_at: datetime
    metadata: dict[str, Any] = {}


def new_id() -> str:
    """26 lower-case base32 characters carrying 128 random bits."""
    return base64.b32encode(secrets.token_bytes(16)).decode().rstrip("=").lower()
