"""Trainings at Replicate, and what they leave there."""

import asyncio
import contextlib
from datetime import datetime
from pathlib import Path
from typing import Any

from visiona.adapters.replicate.answers import (
    ListedJob,
    Model,
    input_of,
    read_archive,
    read_input_schema,
    read_model,
    read_page,
    read_presence,
    read_training,
)
from visiona.adapters.replicate.client import ReplicateClient
from visiona.adapters.replicate.failures import refused_here
from visiona.adapters.replicate.lookup import find_job
from visiona.adapters.replicate.orders import path_segment, training_body, version_path
from visiona.ports.errors import ProviderNotFound, ProviderRejected
from visiona.ports.remote import TrainingReport
from visiona.ports.trainer import TrainingOrder, UploadedArchive


class ReplicateTrainer:
    """Implements `ports.trainer.Trainer`."""

    def __init__(self, client: ReplicateClient) -> None:
        self._client = client
        self._destinations: dict[int, str] = {}

    async def upload_archive(self, path: Path) -> UploadedArchive:
        file = await asyncio.to_thread(path.open, "rb")
        with file:
            return await self._client.upload("/files", file, read_archive)

    async def delete_archive(self, archive_id: str) -> None:
        path = f"/files/{path_segment(archive_id)}"
        with contextlib.suppress(ProviderNotFound):
            await self._client.delete(path)

    async def ensure_destination(self, shard: int) -> str:
        known = self._destinations.get(shard)
        if known is not None:
            return known
        owner, name = await self._place(shard)
        return await self._make_destination(shard, owner, name)

    async def _place(self, shard: int) -> tuple[str, str]:
        return await self._client.owner(), f"{self._client.config.destination_prefix}-{shard:02d}"

    async def _make_destination(self, shard: int, owner: str, name: str) -> str:
        model = await self._create_or_get(owner, name)
        if model.owner.casefold() != owner.casefold() or model.visibility != "private":
            # Weights of persons would be open to everyone, or to somebody else.
            raise refused_here("destination_not_private", "Training is not set up correctly.")
        self._destinations[shard] = f"{model.owner}/{model.name}"
        return self._destinations[shard]

    async def _create_or_get(self, owner: str, name: str) -> Model:
        hardware = self._client.config.hardware
        body = {"owner": owner, "name": name, "visibility": "private", "hardware": hardware}
        try:
            return await self._client.post("/models", body, read_model)
        except ProviderRejected as refusal:
            if refusal.status not in {409, 422}:
                raise
            try:
                return await self._client.get(f"/models/{owner}/{name}", read_model)
            except ProviderNotFound:
                raise refusal from None

    async def start_training(self, order: TrainingOrder) -> TrainingReport:
        config = self._client.config
        path = f"/models/{config.trainer}/versions/{config.trainer_version}/trainings"
        try:
            return await self._client.post(path, training_body(order), read_training)
        except ProviderNotFound:
            # The destination may have been removed since it was ensured, empty as it was.
            if not await self._made_again(order.destination):
                raise
        return await self._client.post(path, training_body(order), read_training)

    async def _made_again(self, destination: str) -> bool:
        """False where it is there, and so something else is not."""
        shard = next((known for known, name in self._destinations.items() if name == destination), None)
        self._destinations.clear()
        try:
            await self._client.get(f"/models/{destination}", read_model)
        except ProviderNotFound:
            if shard is not None:
                await self.ensure_destination(shard)
            return shard is not None
        return False

    async def find_training(self, order: TrainingOrder, since: datetime) -> TrainingReport | None:
        def made_from_order(job: ListedJob) -> bool:
            return input_of(job).get("input_images") == order.archive_url

        found = await find_job(self._client, "/trainings", since, order.webhook_url, made_from_order)
        return None if found is None else await self.get_training(found)

    async def get_training(self, training_id: str) -> TrainingReport:
        return await self._client.get(f"/trainings/{path_segment(training_id)}", read_training)

    async def cancel_training(self, training_id: str) -> TrainingReport:
        path = f"/trainings/{path_segment(training_id)}/cancel"
        try:
            return await self._client.post(path, None, read_training)
        except ProviderRejected:
            # How the wish to cancel a finished one is answered is not documented.
            report = await self.get_training(training_id)
            if report.state.terminal:
                return report
            raise

    async def input_schema(self, version: str) -> dict[str, Any]:
        return await self._client.get(version_path(version), read_input_schema)

    async def delete_version(self, version: str) -> bool:
        path = version_path(version)
        try:
            await self._client.delete(path)
            await self._client.get(path, read_presence)
        except ProviderNotFound:
            return True
        return False

    async def remove_destination(self, shard: int) -> bool:
        self._destinations.pop(shard, None)
        owner, name = await self._place(shard)
        path = f"/models/{owner}/{name}"
        try:
            await self._client.delete(path)
        except ProviderNotFound:
            return True
        except ProviderRejected:
            # How a model with versions is refused is not documented.
            if not (await self._client.get(f"{path}/versions", read_page)).results:
                raise
            return False
        return True
