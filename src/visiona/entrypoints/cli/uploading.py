"""Sending photos: which files, in which batches, how far, and what became of each."""

import io
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from visiona.entrypoints.cli.answers import Photo, Problem, RejectedFile, UploadReport
from visiona.entrypoints.cli.errors import Refused, local_files
from visiona.entrypoints.cli.output import in_words
from visiona.entrypoints.cli.upload_bars import UploadBars

if TYPE_CHECKING:
    from visiona.entrypoints.cli.client import Client

CONTENT_TYPES = {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
    ".heic": "image/heic",
    ".heif": "image/heif",
}
BATCH = 10
UNSAFE = re.compile(r"[^A-Za-z0-9._ ()-]")


@dataclass(frozen=True, slots=True)
class Upload:
    """A file to be sent. The server's verdicts go by `name`, so no two have the same, and it is of
    characters that no server rewrites.
    """

    path: Path
    name: str
    size: int

    @property
    def content_type(self) -> str:
        return CONTENT_TYPES.get(self.path.suffix.lower(), "application/octet-stream")


@dataclass(frozen=True, slots=True)
class Verdict:
    """`photo` is None for a rejected file, and `remark` then the reason."""

    path: Path
    photo: Photo | None
    remark: str


def find_photos(paths: Sequence[Path]) -> list[Path]:
    """The files named, whatever they are (the server judges them), and the photos in the folders.

    Each once, in a stable order. Hidden files are passed over: they are thumbnails, bins and the
    companions that macOS leaves beside the real photos.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        for file in _photos_under(path) if path.is_dir() else [path]:
            found.setdefault(file.resolve(), file)
    return list(found.values())


def _photos_under(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            file = Path(parent, name)
            if not name.startswith(".") and file.suffix.lower() in CONTENT_TYPES and file.is_file():
                yield file


def as_uploads(paths: Sequence[Path]) -> list[Upload]:
    taken: set[str] = set()
    return [Upload(path, _free_name(path, taken), path.stat().st_size) for path in paths]


def _free_name(path: Path, taken: set[str]) -> str:
    stem = UNSAFE.sub("_", path.stem)[:60]
    suffix = UNSAFE.sub("_", path.suffix)
    name, number = f"{stem}{suffix}", 1
    while name in taken:
        number += 1
        name = f"{stem} ({number}){suffix}"
    taken.add(name)
    return name


def upload_all(
    client: "Client",
    uploads: Sequence[Upload],
    tell: Callable[[Verdict], None],
    consent: str | None = None,
) -> None:
    """Send everything in batches and `tell` each verdict as it comes, so that none is lost to an error.

    They show the person themself, or whoever gave this `consent`.
    """
    path = (
        "/api/photos/upload" if consent is None else f"/api/photos/upload?consent={quote(consent, safe='')}"
    )
    with UploadBars({upload.name: upload.size for upload in uploads}) as bars:
        for start in range(0, len(uploads), BATCH):
            batch = uploads[start : start + BATCH]
            with bars.showing([upload.name for upload in batch]):
                for verdict in _send(client, path, batch, bars):
                    tell(verdict)


def _send(client: "Client", path: str, batch: Sequence[Upload], bars: UploadBars) -> Iterator[Verdict]:
    """The verdicts of one batch; a batch too large for one request is sent file by file."""
    readable, verdicts = _openable(batch)
    yield from verdicts
    if not readable:
        return
    try:
        report = _request(client, path, readable, bars)
    except Refused as refusal:
        if refusal.http_status == 413 and len(readable) > 1:
            for upload in readable:
                yield from _send(client, path, [upload], bars)
            return
        if refusal.http_status not in {413, 422}:
            raise
        report = UploadReport(rejected=_rejections(readable, refusal.problem))
    yield from _verdicts(readable, report)


def _openable(batch: Sequence[Upload]) -> tuple[list[Upload], list[Verdict]]:
    readable = [upload for upload in batch if os.access(upload.path, os.R_OK)]
    verdicts = [
        Verdict(upload.path, None, "This file cannot be read.") for upload in batch if upload not in readable
    ]
    return readable, verdicts


def _request(client: "Client", path: str, batch: Sequence[Upload], bars: UploadBars) -> UploadReport:
    from visiona.entrypoints.cli.transport import UploadFile  # noqa: PLC0415 - brings httpx, slow for --help

    with local_files(), ExitStack() as opened:
        files = [
            UploadFile(
                upload.name,
                upload.content_type,
                opened.enter_context(CountedFile(upload.path, bars.counter(upload.name))),
            )
            for upload in batch
        ]
        return client.upload(path, files).read(UploadReport)


def _rejections(batch: Sequence[Upload], problem: Problem) -> list[RejectedFile]:
    """A problem names files in `rejected`, or by position in `errors`; else it is about them all."""
    if problem.rejected:
        return problem.rejected
    by_field = {error.field: error for error in problem.errors}
    rejected: list[RejectedFile] = []
    for position, upload in enumerate(batch):
        error = by_field.get(f"photos[{position}]")
        code = error.code if error else problem.code
        message = error.message if error else problem.detail or problem.title
        rejected.append(RejectedFile(upload.name, code, message))
    return rejected


def _verdicts(batch: Sequence[Upload], report: UploadReport) -> Iterator[Verdict]:
    """Rejected files are known by name; the accepted photos are the others, in order."""
    rejected = {file.filename: file for file in report.rejected}
    accepted = iter(report.photos)
    for upload in batch:
        refusal = rejected.get(upload.name)
        photo = None if refusal else next(accepted, None)
        if photo is not None:
            yield Verdict(upload.path, photo, in_words(photo.warnings))
        elif refusal is not None:
            yield Verdict(upload.path, None, refusal.message or refusal.code)
        else:
            yield Verdict(upload.path, None, "The server did not say what became of it.")


class CountedFile(io.FileIO):
    """A file that tells how far it has been read. Starting over, for a repeated request, counts back."""

    def __init__(self, path: Path, tell_position: Callable[[int], None]) -> None:
        super().__init__(path, "rb")
        self._tell_position = tell_position

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(-1 if size is None else size) or b""
        self._tell_position(self.tell())
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        position = super().seek(offset, whence)
        self._tell_position(position)
        return position
