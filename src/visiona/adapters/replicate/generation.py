"""Predictions at Replicate, and their outputs."""

import asyncio
from collections.abc import Collection
from datetime import datetime
from pathlib import Path

from visiona.adapters.replicate.answers import ListedJob, input_of, read_prediction, version_hash
from visiona.adapters.replicate.client import ReplicateClient
from visiona.adapters.replicate.delivery import (
    DeliveryHosts,
    DeliveryRefusedError,
    atomic_file,
    data_url_content,
    is_data_url,
)
from visiona.adapters.replicate.failures import refused_here
from visiona.adapters.replicate.lookup import find_job
from visiona.adapters.replicate.orders import path_segment, prediction_body
from visiona.ports.errors import ProviderRejected
from visiona.ports.generator import GenerationOrder
from visiona.ports.remote import PredictionReport


class ReplicateGenerator:
    """Implements `ports.generator.Generator`."""

    def __init__(self, client: ReplicateClient) -> None:
        self._client = client
        self._hosts = DeliveryHosts(client.config.delivery_hosts)

    async def start_prediction(self, order: GenerationOrder) -> PredictionReport:
        return await self._client.post("/predictions", prediction_body(order), read_prediction)

    async def find_prediction(
        self, order: GenerationOrder, since: datetime, taken: Collection[str] = ()
    ) -> PredictionReport | None:
        wanted = version_hash(order.version)

        def made_from_order(job: ListedJob) -> bool:
            same_version = version_hash(job.version or "") == wanted
            same_inputs = order.inputs.items() <= input_of(job).items()
            return same_version and same_inputs and job.id not in taken

        found = await find_job(self._client, "/predictions", since, order.webhook_url, made_from_order)
        return None if found is None else await self.get_prediction(found)

    async def get_prediction(self, prediction_id: str) -> PredictionReport:
        return await self._client.get(f"/predictions/{path_segment(prediction_id)}", read_prediction)

    async def cancel_prediction(self, prediction_id: str) -> PredictionReport:
        path = f"/predictions/{path_segment(prediction_id)}/cancel"
        try:
            return await self._client.post(path, None, read_prediction)
        except ProviderRejected:
            # How the wish to cancel a finished one is answered is not documented.
            report = await self.get_prediction(prediction_id)
            if report.state.terminal:
                return report
            raise

    async def download(self, url: str, target: Path) -> None:
        try:
            if is_data_url(url):
                await self._unpack(url, target)
            else:
                await self._client.fetch(self._hosts.accept(url), target)
        except DeliveryRefusedError as refusal:
            raise refused_here(str(refusal), "The image could not be fetched.") from refusal

    async def _unpack(self, url: str, target: Path) -> None:
        content = await asyncio.to_thread(data_url_content, url, self._client.config.max_output_bytes)
        async with atomic_file(target) as file:
            await asyncio.to_thread(file.write, content)
