"""Reading a multipart upload as it streams in: many files, flat memory, bounded everywhere."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from litestar import Request
from multipart import MultipartError, MultipartSegment, PushMultipartParser

from visiona.core.errors import FieldError, Invalid, TooLarge

MAX_BODY_BYTES = 512 * 1024 * 1024


@dataclass(slots=True)
class UploadedFile:
    """One file as it arrived. `filename` is what the person's device called it: shown, never used.

    `oversized` files were cut off at the limit and their bytes thrown away.
    """

    filename: str
    path: Path
    oversized: bool = False


class _Receiver:
    """Writes the parts of one field to numbered files in `folder`."""

    def __init__(self, folder: Path, field: str, max_files: int, max_file_bytes: int) -> None:
        self.files: list[UploadedFile] = []
        self._folder = folder
        self._field = field
        self._max_files = max_files
        self._max_file_bytes = max_file_bytes
        self._room = 0
        self._out = None

    def begin(self, segment: MultipartSegment) -> None:
        if segment.name != self._field or segment.filename is None:
            raise Invalid(
                "invalid_input",
                f"Send files in the form field {self._field!r} only.",
                errors=[FieldError(str(segment.name)[:100], "unknown_field", "There is no such field.")],
            )
        if len(self.files) >= self._max_files:
            raise Invalid("too_many_files", f"Send at most {self._max_files} files at once.")
        path = self._folder / f"upload-{len(self.files)}"
        self.files.append(UploadedFile(segment.filename[:255], path))
        self._out = path.open("wb")
        self._room = self._max_file_bytes

    def write(self, data: bytes) -> None:
        if self._out is None:
            return
        self._room -= len(data)
        if self._room < 0:
            self.files[-1].oversized = True
            self.end()
            self.files[-1].path.unlink()
            return
        self._out.write(data)

    def end(self) -> None:
        if self._out is not None:
            self._out.close()
            self._out = None


async def receive_files(
    request: Request[Any, Any, Any], folder: Path, *, field: str, max_files: int, max_file_bytes: int
) -> list[UploadedFile]:
    """Stream the files of `field` into `folder`.

    Raises `Invalid` (`invalid_upload`, `too_many_files`, `no_files`) or `TooLarge`; nothing is kept
    then but what lies in `folder`.
    """
    content_type, options = request.content_type
    boundary = options.get("boundary")
    if content_type != "multipart/form-data" or not boundary:
        raise Invalid("invalid_upload", "Send the files as multipart/form-data.")
    if int(request.headers.get("content-length") or 0) > MAX_BODY_BYTES:
        raise _too_large()
    receiver = _Receiver(folder, field, max_files, max_file_bytes)
    try:
        await _parse(request, PushMultipartParser(boundary, strict=True), receiver)
    except (MultipartError, UnicodeDecodeError) as error:
        raise Invalid("invalid_upload", "The upload is broken or incomplete. Send it again.") from error
    finally:
        receiver.end()
    if not receiver.files:
        raise Invalid("no_files", f"Choose at least one file, in the form field {field!r}.")
    return receiver.files


async def _parse(request: Request[Any, Any, Any], parser: PushMultipartParser, receiver: _Receiver) -> None:
    received = 0
    with parser:
        async for chunk in request.stream():
            received += len(chunk)
            if received > MAX_BODY_BYTES:
                raise _too_large()
            for event in parser.parse(chunk) if chunk else ():
                if isinstance(event, MultipartSegment):
                    receiver.begin(event)
                elif event:
                    receiver.write(bytes(event))
                else:
                    receiver.end()


def _too_large() -> TooLarge:
    limit = MAX_BODY_BYTES // (1024 * 1024)
    return TooLarge(
        "body_too_large", f"Send at most {limit} MB at once; split the photos into several uploads."
    )
