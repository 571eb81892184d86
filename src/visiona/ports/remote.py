"""Work that runs at a provider: its states and what a look at it tells."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class RemoteState(StrEnum):
    """A provider's job as Visiona sees it; the last three are terminal."""

    STARTING = "starting"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def terminal(self) -> bool:
        return self in {RemoteState.SUCCEEDED, RemoteState.FAILED, RemoteState.CANCELED}


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """A training as the provider describes it now.

    `progress` is 0..1 as read from its logs; `version` names the trained version once succeeded,
    in the provider's own form.
    """

    id: str
    state: RemoteState
    progress: float = 0.0
    error: str | None = field(default=None, repr=False)
    version: str | None = None
    predict_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class PredictionReport:
    """A generation as the provider describes it now.

    `outputs` are URLs (http(s) or data) in the order of delivery; `outputs_gone` is true once the
    provider has removed them.
    """

    id: str
    state: RemoteState
    progress: float = 0.0
    error: str | None = field(default=None, repr=False)
    outputs: tuple[str, ...] = field(default=(), repr=False)
    outputs_gone: bool = False
    completed_at: datetime | None = None
    predict_seconds: float | None = None
