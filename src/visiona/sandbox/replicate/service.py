"""The sandbox as one object: everything that a request may need."""

import base64
import secrets
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
from litestar.di import NamedDependency

from visiona.sandbox.replicate import wire
from visiona.sandbox.replicate.clock import SandboxClock
from visiona.sandbox.replicate.config import TRAINER, ReplicateSandboxConfig
from visiona.sandbox.replicate.faults import Fault, FaultBook
from visiona.sandbox.replicate.inputs import InputReader
from visiona.sandbox.replicate.jobs import JobRunner
from visiona.sandbox.replicate.predictor import Predictor
from visiona.sandbox.replicate.records import Job, Model, StoredFile, Version
from visiona.sandbox.replicate.store import Store
from visiona.sandbox.replicate.throttle import Throttle
from visiona.sandbox.replicate.trainer import Trainer
from visiona.sandbox.replicate.webhooks import WebhookSender

_PAINTERS = 2


class Sandbox:
    def __init__(self, config: ReplicateSandboxConfig) -> None:
        self.config = config
        self.clock = SandboxClock()
        self.faults = FaultBook()
        self.store = Store(config.data_dir)
        self.sender = WebhookSender(self.clock, self.faults, config.webhook_secret, self._webhook_done)
        self.runner = JobRunner(config, self.store, self.clock, self.sender)
        self.posts: Counter[str] = Counter()
        self.duplicate_model_status = 409
        self.throttle = self._new_throttle()
        self._executor = ThreadPoolExecutor(
            _PAINTERS, "painter", initializer=cv2.setNumThreads, initargs=(1,)
        )
        self._install_workers()
        self._install_trainer()

    async def start(self) -> None:
        self.runner.start()

    async def stop(self) -> None:
        await self.runner.stop()
        await self.sender.close()
        self._executor.shutdown(wait=True, cancel_futures=True)

    def reset(self) -> None:
        """Forget all models, jobs, files and faults, as if just installed."""
        self.runner.forget()
        self.sender.forget()
        self.faults.clear()
        self.posts.clear()
        self.store.clear()
        self.clock.set_scale(1.0)
        self.throttle = self._new_throttle()
        self.duplicate_model_status = 409
        self.sender.secret = self.config.webhook_secret
        self._install_trainer()

    def add_faults(self, faults: Iterable[Fault]) -> None:
        """Let faults wait, or do at once what is done at once."""
        for fault in faults:
            if fault.kind == "duplicate_model":
                self.duplicate_model_status = fault.status or 422
            elif fault.kind == "rotate_webhook_secret":
                self.sender.secret = (
                    fault.secret or "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()
                )
            elif fault.kind == "expire_outputs":
                self._expire(fault.id)
            else:
                self.faults.add([fault])

    def versions_of(self, model_id: str) -> list[Version]:
        """Newest first."""
        found = [version for version in self.store.versions.values() if version.model == model_id]
        return sorted(found, key=lambda version: (version.created_at, version.id), reverse=True)

    def show_model(self, model: Model) -> dict[str, Any]:
        versions = self.versions_of(model.id)
        runs = sum(1 for job in self.store.jobs.values() if job.model == model.id)
        return wire.model(self.config, model, versions[0] if versions else None, runs)

    def file(self, file_id: str) -> StoredFile | None:
        """An uploaded file that has not expired."""
        record = self.store.files.get(file_id)
        return record if record is not None and record.expires_at > self.clock.now() else None

    def _webhook_done(self, job: Job) -> None:
        job.webhook_completed = self.clock.now()
        if job.id in self.store.jobs:
            self.store.save_job(job)

    def _new_throttle(self) -> Throttle:
        config = self.config
        return Throttle(config.predictions_per_minute, config.requests_per_minute, self.clock.now())

    def _install_workers(self) -> None:
        reader = InputReader(self.store, self.config.public_url)
        shared = (self.store, self.clock, reader, self.runner, self._executor)
        self.runner.register("training", Trainer(*shared, self.config.training_seconds).run)
        self.runner.register("prediction", Predictor(*shared, self.config.generation_seconds).run)

    def _install_trainer(self) -> None:
        """The trainer exists out of the box, as a public model of somebody else's."""
        owner, name = TRAINER.split("/")
        if TRAINER not in self.store.models:
            about = "Trains a LoRA on your pictures. This is the sandbox's stand-in for it."
            now = self.clock.now()
            self.store.save_model(
                Model(owner=owner, name=name, visibility="public", created_at=now, description=about)
            )
        version = self.config.trainer_version
        if version not in self.store.versions:
            self.store.save_version(Version(id=version, model=TRAINER, created_at=self.clock.now()))

    def _expire(self, job_id: str | None) -> None:
        for job in list(self.store.jobs.values()):
            if job_id is None or job.id == job_id:
                self.runner.remove_data(job)


TheSandbox = NamedDependency[Sandbox]
"""How a route handler asks for the sandbox."""
