"""Records on disk, one JSON file each, so that a restart finds clones and unfinished work again.

Everything is read once at the start and kept in memory; each change rewrites its own small file
atomically. Bytes (uploads, weights, pictures) lie beside, in one folder for each thing.
"""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

import msgspec

from visiona.sandbox.replicate.records import Job, Model, StoredFile, Version

_Record = TypeVar("_Record", Model, Version, Job, StoredFile)


class Store:
    models: dict[str, Model]
    versions: dict[str, Version]
    jobs: dict[str, Job]
    files: dict[str, StoredFile]
    tokens: dict[str, str]
    """Job by the token in its delivery URLs."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._open()

    def _open(self) -> None:
        root = self.root
        for folder in ("models", "versions", "jobs", "files", "uploads", "outputs", "weights", "scratch"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        for left_over in (root / "scratch").iterdir():
            left_over.unlink()
        self.models = {model.id: model for model in _read_all(root / "models", Model)}
        self.versions = {version.id: version for version in _read_all(root / "versions", Version)}
        self.jobs = {job.id: job for job in _read_all(root / "jobs", Job)}
        self.files = {file.id: file for file in _read_all(root / "files", StoredFile)}
        self.tokens = {job.token: job.id for job in self.jobs.values()}
        self._clear_orphans()

    def _clear_orphans(self) -> None:
        """Remove bytes whose record is gone: a process may die between the two."""
        for folder in (self.root / "outputs").iterdir():
            if folder.name not in self.jobs:
                shutil.rmtree(folder)
        for upload in (self.root / "uploads").iterdir():
            if upload.name not in self.files:
                upload.unlink()

    def save_model(self, model: Model) -> None:
        self.models[model.id] = model
        _write(self.root / "models" / f"{model.owner}~{model.name}.json", model)

    def delete_model(self, model: Model) -> None:
        del self.models[model.id]
        (self.root / "models" / f"{model.owner}~{model.name}.json").unlink(missing_ok=True)

    def save_version(self, version: Version) -> None:
        self.versions[version.id] = version
        _write(self.root / "versions" / f"{version.id}.json", version)

    def delete_version(self, version: Version) -> None:
        """Remove it with its weights, its predictions and their pictures."""
        for job in [job for job in self.jobs.values() if job.version == version.id]:
            self.delete_job(job)
        if version.training:
            shutil.rmtree(self.root / "weights" / version.training, ignore_errors=True)
        del self.versions[version.id]
        (self.root / "versions" / f"{version.id}.json").unlink(missing_ok=True)

    def save_job(self, job: Job) -> None:
        self.jobs[job.id] = job
        self.tokens[job.token] = job.id
        _write(self.root / "jobs" / f"{job.id}.json", job)

    def delete_job(self, job: Job) -> None:
        self.jobs.pop(job.id, None)
        self.tokens.pop(job.token, None)
        (self.root / "jobs" / f"{job.id}.json").unlink(missing_ok=True)
        self.delete_outputs(job)

    def delete_outputs(self, job: Job) -> None:
        shutil.rmtree(self.root / "outputs" / job.id, ignore_errors=True)

    def save_file(self, file: StoredFile) -> None:
        self.files[file.id] = file
        _write(self.root / "files" / f"{file.id}.json", file)

    def delete_file(self, file: StoredFile) -> None:
        self.files.pop(file.id, None)
        (self.root / "files" / f"{file.id}.json").unlink(missing_ok=True)
        self.upload_path(file.id).unlink(missing_ok=True)

    def upload_path(self, file_id: str) -> Path:
        return self.root / "uploads" / file_id

    def scratch_path(self, name: str) -> Path:
        """A place for bytes that are gone after the next start."""
        return self.root / "scratch" / name

    def weights_path(self, training_id: str) -> Path:
        return self.root / "weights" / training_id / "trained_model.tar"

    def output_path(self, job_id: str, name: str) -> Path:
        return self.root / "outputs" / job_id / name

    def clear(self) -> None:
        """Forget everything."""
        shutil.rmtree(self.root)
        self._open()


def _read_all(folder: Path, kind: type[_Record]) -> Iterable[_Record]:
    decoder = msgspec.json.Decoder(kind)
    return [decoder.decode(path.read_bytes()) for path in folder.glob("*.json")]


def _write(path: Path, record: Model | Version | Job | StoredFile) -> None:
    temporary = path.with_suffix(".new")
    temporary.write_bytes(msgspec.json.encode(record))
    temporary.replace(path)
