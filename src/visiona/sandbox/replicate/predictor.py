"""A trained version at work: prompt in, pictures out."""

import asyncio
from collections.abc import Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from visiona.sandbox.replicate.clock import SandboxClock
from visiona.sandbox.replicate.inputs import InputReader, InputUnreadable
from visiona.sandbox.replicate.jobs import JobFailed, JobRunner
from visiona.sandbox.replicate.painter import prompt
from visiona.sandbox.replicate.painter.paint import Order, SizeMissing, paint, size_of
from visiona.sandbox.replicate.painter.raster import Pixels, load, shrink
from visiona.sandbox.replicate.records import Job
from visiona.sandbox.replicate.schemas import PREDICTION_FIELDS, complete
from visiona.sandbox.replicate.store import Store
from visiona.sandbox.replicate.weights import load_weights

ALL_REFUSED = "All generated images contained NSFW content. Try running it again with a different prompt."

_LARGEST_SIDE = 1440


class Predictor:
    def __init__(
        self,
        store: Store,
        clock: SandboxClock,
        reader: InputReader,
        runner: JobRunner,
        executor: Executor,
        seconds: float,
    ) -> None:
        self._store = store
        self._clock = clock
        self._reader = reader
        self._runner = runner
        self._executor = executor
        self._seconds = seconds

    async def run(self, job: Job) -> None:
        inputs = complete(PREDICTION_FIELDS, job.input)
        weights = self._weights(job)
        image = await self._picture(inputs["image"])
        mask = await self._picture(inputs["mask"])
        try:
            size_of(inputs, image)
        except SizeMissing as error:
            raise JobFailed(str(error)) from error
        self._runner.log(job, f"Using seed: {job.seed}\n")
        names = await self._paint_all(job, inputs, weights, (image, mask))
        self._runner.deliver(job, self._safe(job, inputs, names))

    async def _paint_all(
        self,
        job: Job,
        inputs: Mapping[str, Any],
        weights: Path,
        pictures: tuple[Pixels | None, Pixels | None],
    ) -> list[str]:
        """Paint all outputs while progress is reported; give up those not begun if that ends early."""
        loop = asyncio.get_running_loop()
        painting = [
            loop.run_in_executor(
                self._executor, self._paint, weights, job, index, Order(inputs, job.seed + index, *pictures)
            )
            for index in range(int(inputs["num_outputs"]))
        ]
        try:
            await self._runner.progress(job, int(inputs["num_inference_steps"]), self._seconds)
            return await asyncio.gather(*painting)
        finally:
            for future in painting:
                future.cancel()

    def _weights(self, job: Job) -> Path:
        version = self._store.versions.get(job.version)
        if version is None or version.training is None:
            raise JobFailed("The sandbox makes pictures with trained versions only")
        return self._store.weights_path(version.training)

    async def _picture(self, url: str | None) -> Pixels | None:
        """A picture among the inputs, decoded."""
        if url is None:
            return None
        try:
            async with self._reader.open(url, self._clock.now()) as path:
                loop = asyncio.get_running_loop()
                picture = await loop.run_in_executor(self._executor, _read, path)
        except InputUnreadable as error:
            raise JobFailed(str(error)) from error
        if picture is None:
            raise JobFailed("cannot identify image file")
        return picture

    def _paint(self, weights: Path, job: Job, index: int, order: Order) -> str:
        """Paint one picture to its file; in a worker thread."""
        name = f"out-{index}.{order.inputs['output_format']}"
        path = self._store.output_path(job.id, name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(paint(load_weights(weights), order))
        return name

    def _safe(self, job: Job, inputs: Mapping[str, Any], names: list[str]) -> list[str]:
        """The pictures that pass the safety check, which looks at the prompt and at faults."""
        refused = len(names) if prompt.unsafe(inputs["prompt"]) else job.script.refuse_images
        if inputs["disable_safety_checker"]:
            refused = 0
        safe = names[min(refused, len(names)) :]
        for index in range(len(names) - len(safe)):
            self._runner.log(job, f"NSFW content detected in image {index}\n")
        self._runner.log(job, f"Total safe images: {len(safe)} out of {len(names)}\n")
        if not safe:
            raise JobFailed(ALL_REFUSED)
        return safe


def _read(path: Path) -> Pixels | None:
    picture = load(path.read_bytes())
    return None if picture is None else shrink(picture, _LARGEST_SIDE)
