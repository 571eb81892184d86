"""Training a personal LoRA at a provider."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from visiona.ports.remote import TrainingReport


@dataclass(frozen=True, slots=True)
class UploadedArchive:
    """A training archive that the provider holds; `url` is what a training takes as input."""

    id: str
    url: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class TrainingOrder:
    """One training to be made. `archive_url` is unique to it, so a lost answer can be found again."""

    archive_url: str = field(repr=False)
    destination: str
    parameters: Mapping[str, Any] = field(repr=False)
    webhook_url: str | None


class Trainer(Protocol):
    """All methods raise the errors of `visiona.ports.errors`."""

    async def upload_archive(self, path: Path) -> UploadedArchive:
        """Send the zip at `path`, streamed."""
        ...

    async def delete_archive(self, archive_id: str) -> None:
        """Remove an uploaded archive; one that is already gone is fine."""
        ...

    async def ensure_destination(self, shard: int) -> str:
        """The name of the private model that receives versions of this shard, made if missing."""
        ...

    async def start_training(self, order: TrainingOrder) -> TrainingReport:
        """Start it; a destination that was removed meanwhile is made again. `OutcomeUnknown` when the answer
        was lost: then ask `find_training`.
        """
        ...

    async def find_training(self, order: TrainingOrder, since: datetime) -> TrainingReport | None:
        """The training made from this order at or after `since`, if the provider has one."""
        ...

    async def get_training(self, training_id: str) -> TrainingReport: ...

    async def cancel_training(self, training_id: str) -> TrainingReport:
        """Ask for the end; the answer may still show a running state. A finished one stays as it is."""
        ...

    async def input_schema(self, version: str) -> dict[str, Any]:
        """The `components.schemas` of the trained version's OpenAPI document; `Input` is among them."""
        ...

    async def delete_version(self, version: str) -> bool:
        """Have trained weights removed with all that was made by them. True once they are gone, False while
        the provider is at it, which takes minutes: asking again is harmless.
        """
        ...

    async def remove_destination(self, shard: int) -> bool:
        """Remove the model of this shard, gone already or not. False where it holds versions, and stays."""
        ...
