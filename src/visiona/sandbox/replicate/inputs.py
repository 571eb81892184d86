"""Reading what a job's input URLs point at: our own files, this machine, or a data URL."""

import base64
import binascii
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from urllib.parse import unquote_to_bytes

import httpx

from visiona.sandbox.network import is_loopback_url
from visiona.sandbox.replicate.records import new_id
from visiona.sandbox.replicate.store import Store

MAX_BYTES = 1024 * 1024 * 1024
_SECONDS = 30.0


class InputUnreadable(Exception):
    """An input URL gave nothing; the message becomes the job's error."""


class InputReader:
    def __init__(self, store: Store, public_url: str) -> None:
        self._store = store
        self._own = re.compile(re.escape(f"{public_url}/v1/files/") + r"([a-z0-9]+)(?:/download)?(?:\?.*)?")

    @asynccontextmanager
    async def open(self, url: str, now: datetime) -> AsyncGenerator[Path]:
        """A local file with the URL's content, for the length of the block."""
        if own := self._own.fullmatch(url):
            yield self._uploaded(own[1], now)
            return
        path = self._store.scratch_path(new_id())
        try:
            if url.startswith("data:"):
                path.write_bytes(_decode(url))
            else:
                await _download(url, path)
            yield path
        finally:
            path.unlink(missing_ok=True)

    def _uploaded(self, file_id: str, now: datetime) -> Path:
        record = self._store.files.get(file_id)
        if record is None or record.expires_at <= now:
            raise InputUnreadable("Failed to download an input file: HTTP 404")
        return self._store.upload_path(file_id)


def _decode(url: str) -> bytes:
    head, comma, content = url.partition(",")
    if not comma:
        raise InputUnreadable("An input is not a valid data URL")
    try:
        raw = unquote_to_bytes(content)
        return base64.b64decode(raw, validate=True) if head.endswith(";base64") else raw
    except binascii.Error as error:
        raise InputUnreadable("An input is not a valid data URL") from error


async def _download(url: str, path: Path) -> None:
    """Stream to `path`. Redirects count as failure: they could lead off this machine."""
    if not is_loopback_url(url):
        raise InputUnreadable("The sandbox reads inputs from this machine only")
    try:
        async with (
            httpx.AsyncClient(trust_env=False, timeout=_SECONDS) as client,
            client.stream("GET", url) as answer,
        ):
            if answer.status_code != 200:
                raise InputUnreadable(f"Failed to download an input file: HTTP {answer.status_code}")
            await _spool(answer, path)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise InputUnreadable(f"Failed to download an input file: {type(error).__name__}") from error


async def _spool(answer: httpx.Response, path: Path) -> None:
    size = 0
    with path.open("wb") as target:
        async for chunk in answer.aiter_bytes(1 << 20):
            size += len(chunk)
            if size > MAX_BYTES:
                raise InputUnreadable("An input file is too large")
            target.write(chunk)
