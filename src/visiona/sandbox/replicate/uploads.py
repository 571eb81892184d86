"""Multipart uploads, streamed to disk as they arrive."""

import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any, BinaryIO

from multipart import MultipartError, MultipartSegment, PushMultipartParser

from visiona.sandbox.replicate.problems import InvalidField, Problem, invalid
from visiona.sandbox.replicate.records import StoredFile, new_id
from visiona.sandbox.replicate.store import Store

_LIFETIME = timedelta(hours=24)
_FIELD_BYTES = 65536
_FIELDS = frozenset({"filename", "type", "metadata"})


@dataclass(slots=True)
class _Upload:
    """What has arrived so far of one request."""

    path: Path
    limit: int
    size: int = 0
    name: str | None = None
    content_type: str | None = None
    seen: bool = False
    fields: dict[str, bytes] = field(default_factory=dict[str, bytes])
    sha256: Any = field(default_factory=hashlib.sha256)
    md5: Any = field(default_factory=lambda: hashlib.md5(usedforsecurity=False))

    def begin(self, segment: MultipartSegment) -> None:
        if segment.name == "content":
            self.seen = True
            self.name, self.content_type = segment.filename, segment.content_type
        elif segment.name not in _FIELDS:
            about = f"Additional property {segment.name} is not allowed"
            raise invalid([InvalidField("additional_property_not_allowed", str(segment.name), about)])

    def add(self, segment: MultipartSegment, chunk: bytes, target: BinaryIO) -> None:
        if segment.name != "content":
            content = self.fields.get(str(segment.name), b"") + chunk
            if len(content) > _FIELD_BYTES:
                raise Problem(400, "A form field is too long")
            self.fields[str(segment.name)] = content
            return
        self.size += len(chunk)
        # The rest of a body that is too large is read and dropped: a server that hangs up instead
        # leaves the client with a broken pipe in place of the answer.
        if self.size < self.limit:
            self.sha256.update(chunk)
            self.md5.update(chunk)
            target.write(chunk)


async def receive_file(
    store: Store, chunks: AsyncIterator[bytes], content_type: str, *, limit: int, now: datetime
) -> StoredFile:
    """Read a multipart request and keep its file; raise `Problem` for what is not acceptable."""
    boundary = _boundary(content_type)
    file_id = new_id()
    upload = _Upload(store.scratch_path(file_id), limit)
    try:
        await _consume(upload, chunks, boundary)
        record = _record(upload, file_id, now)
        upload.path.replace(store.upload_path(file_id))
    except MultipartError as error:
        raise Problem(400, "The multipart body is malformed") from error
    finally:
        upload.path.unlink(missing_ok=True)
    store.save_file(record)
    return record


def _boundary(content_type: str) -> str:
    header = EmailMessage()
    header["content-type"] = content_type or "text/plain"
    boundary = header.get_boundary()
    if header.get_content_type() != "multipart/form-data" or not boundary:
        raise Problem(415, "Content-Type must be multipart/form-data")
    return boundary


async def _consume(upload: _Upload, chunks: AsyncIterator[bytes], boundary: str) -> None:
    parser = PushMultipartParser(boundary, max_segment_count=16)
    segment: MultipartSegment | None = None
    with parser, upload.path.open("wb") as target:
        async for chunk in chunks:
            for event in parser.parse(chunk) if chunk else ():
                if isinstance(event, MultipartSegment):
                    segment = event
                    upload.begin(event)
                elif event and segment is not None:
                    upload.add(segment, bytes(event), target)


def _record(upload: _Upload, file_id: str, now: datetime) -> StoredFile:
    if not upload.seen:
        raise invalid([InvalidField("required", "content", "content is required")])
    if upload.size >= upload.limit:
        raise Problem(413, f"Files must be less than {upload.limit // 1_000_000}MB in size")
    name = _text(upload.fields.get("filename")) or upload.name or "file"
    if len(name.encode()) > 255:
        raise invalid([InvalidField("max_length", "filename", "filename must be at most 255 bytes")])
    kind = _text(upload.fields.get("type")) or upload.content_type or "application/octet-stream"
    return StoredFile(
        id=file_id,
        name=name,
        content_type=kind,
        size=upload.size,
        sha256=upload.sha256.hexdigest(),
        md5=upload.md5.hexdigest(),
        created_at=now,
        expires_at=now + _LIFETIME,
        metadata=_metadata(upload.fields),
    )


def _metadata(fields: Mapping[str, bytes]) -> dict[str, Any]:
    try:
        metadata: Any = json.loads(fields.get("metadata") or b"{}")
    except ValueError:
        metadata = None
    if not isinstance(metadata, dict):
        raise invalid([InvalidField("invalid_type", "metadata", "metadata must be a JSON object")])
    return metadata  # pyright: ignore[reportUnknownVariableType]  # JSON object keys are strings


def _text(value: bytes | None) -> str | None:
    return value.decode(errors="replace") if value else None
