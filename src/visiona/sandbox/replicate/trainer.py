"""`ostris/flux-dev-lora-trainer`, as the sandbox runs it.

It downloads the zip, reads every picture in it, cuts the person out of a couple of dozen and keeps the
best as the version's weights. It fails where and with what the real trainer fails.
"""

import asyncio
import io
import re
import zipfile
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image, UnidentifiedImageError

from visiona.sandbox.replicate import wire
from visiona.sandbox.replicate.clock import SandboxClock
from visiona.sandbox.replicate.inputs import InputReader, InputUnreadable
from visiona.sandbox.replicate.jobs import JobFailed, JobRunner
from visiona.sandbox.replicate.painter.portrait import Portrait, cut_out
from visiona.sandbox.replicate.painter.raster import Pixels, load, shrink
from visiona.sandbox.replicate.records import Job, Version
from visiona.sandbox.replicate.schemas import TRAINING_FIELDS, complete
from visiona.sandbox.replicate.store import Store
from visiona.sandbox.replicate.weights import save_weights

LABEL = "flux_train_replicate"

_IMAGES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp"})
_MAX_ENTRIES = 2000
_MAX_ENTRY_BYTES = 64 * 1024 * 1024
_MAX_PIXELS = 64_000_000
_LOOKED_AT = 24
_KEPT = 8
_WORKING_SIDE = 1600

_LAYERS = tuple(
    [f"transformer.transformer_blocks.{block}.{part}" for block in range(19) for part in ("attn", "ff")]
    + [f"transformer.single_transformer_blocks.{block}.proj_out" for block in range(38)]
)


@dataclass(frozen=True, slots=True)
class Archive:
    """What a zip of training pictures holds."""

    images: tuple[str, ...]
    captions: Mapping[str, str]


class Trainer:
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
        inputs = complete(TRAINING_FIELDS, job.input)
        _check(inputs)
        try:
            async with self._reader.open(inputs["input_images"], self._clock.now()) as path:
                await self._train(job, inputs, path)
        except InputUnreadable as error:
            raise JobFailed(str(error)) from error

    async def _train(self, job: Job, inputs: Mapping[str, Any], path: Path) -> None:
        loop = asyncio.get_running_loop()
        archive = await loop.run_in_executor(self._executor, read_archive, path)
        self._runner.log(job, f"Extracted {len(archive.images)} images from zip to input_images\n")
        missing = len(archive.images) - len(archive.captions)
        if inputs["autocaption"] and missing > 0:
            self._runner.log(job, f"Captioning {missing} images\n")
        self._runner.log(job, "Starting train job\n")
        learning = loop.run_in_executor(self._executor, learn, path, archive)
        await self._runner.progress(job, int(inputs["steps"]), self._seconds, LABEL)
        portraits = await learning
        target = self._store.weights_path(job.id)
        await loop.run_in_executor(
            self._executor, save_weights, target, portraits, archive.captions, inputs["trigger_word"]
        )
        self._runner.log(job, f"Saved output/{LABEL}/lora.safetensors\n")
        self._publish(job)

    def _publish(self, job: Job) -> None:
        """The new version of the destination."""
        destination = job.destination or ""
        if destination not in self._store.models:
            raise JobFailed("The training destination no longer exists")
        self._store.save_version(
            Version(
                id=wire.trained_version_id(job),
                model=destination,
                created_at=self._clock.now(),
                training=job.id,
            )
        )


def read_archive(path: Path) -> Archive:
    """The names of the pictures in a zip and their captions."""
    if not zipfile.is_zipfile(path):
        raise JobFailed("input_images must be a zip file")
    images: list[str] = []
    texts: dict[str, str] = {}
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist()[:_MAX_ENTRIES]:
            name = PurePosixPath(entry.filename)
            if entry.is_dir() or entry.filename.startswith("__MACOSX/") or name.name.startswith("._"):
                continue
            if name.suffix.lower() in _IMAGES and entry.file_size <= _MAX_ENTRY_BYTES:
                images.append(entry.filename)
            elif name.suffix.lower() == ".txt" and entry.file_size <= 65536:
                texts[name.stem] = archive.read(entry).decode(errors="replace")
    if not images:
        raise JobFailed("input_images must contain at least one image")
    stems = {PurePosixPath(image).stem for image in images}
    captions = {f"{stem}.txt": text for stem, text in texts.items() if stem in stems}
    return Archive(tuple(images), captions)


def learn(path: Path, archive: Archive) -> list[Portrait]:
    """The best portraits that the pictures give."""
    step = max(1, len(archive.images) // _LOOKED_AT)
    portraits: list[Portrait] = []
    with zipfile.ZipFile(path) as pictures:
        for name in archive.images[::step][:_LOOKED_AT]:
            photo = _decode(pictures.read(name))
            if photo is not None:
                portraits.append(cut_out(shrink(photo, _WORKING_SIDE)))
    if not portraits:
        raise JobFailed("input_images must contain at least one image")
    return sorted(portraits, key=lambda portrait: portrait.quality, reverse=True)[:_KEPT]


def _decode(data: bytes) -> Pixels | None:
    """A picture, unless it is damaged or would unpack to something enormous."""
    try:
        with Image.open(io.BytesIO(data)) as header:
            width, height = header.size
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError):
        return None
    return load(data) if width * height <= _MAX_PIXELS and min(width, height) >= 32 else None


def _check(inputs: Mapping[str, Any]) -> None:
    """What the real trainer refuses before it starts to work."""
    if inputs["skip_training_and_use_pretrained_hf_lora_url"] is not None:
        raise JobFailed("The sandbox trains on input_images only; it downloads no pretrained LoRA")
    if not inputs["input_images"]:
        raise JobFailed("input_images must be provided")
    pattern = inputs["layers_to_optimize_regex"]
    if pattern and not _matches_a_layer(pattern):
        listing = "\n".join(_LAYERS)
        raise JobFailed(
            f"The regex '{pattern}' didn't match any layers. These layers can be optimized:\n{listing}"
        )


def _matches_a_layer(pattern: str) -> bool:
    try:
        return any(re.search(pattern, layer) for layer in _LAYERS)
    except re.error as error:
        raise JobFailed(f"The regex '{pattern}' is not valid: {error}") from error
