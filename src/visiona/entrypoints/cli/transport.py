"""HTTP as the commands need it: bounded waiting, retries where they are safe, no ambient cookies."""

import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Any, BinaryIO, TypeVar
from urllib.parse import urljoin

import httpx
import msgspec

from visiona.entrypoints.cli.answers import Problem
from visiona.entrypoints.cli.errors import CommandFailed, Refused, Unreachable, local_files

Shape = TypeVar("Shape")

# Three attempts in all, the pauses between them in seconds.
PAUSES = (0.3, 1.2)
LONGEST_ASKED_PAUSE = 30.0
# An upload is answered when its photos have been decoded, hence the patience in reading.
TIMEOUT = httpx.Timeout(connect=5, read=120, write=60, pool=5)
# Shorter than any common server's keep-alive, so that no request meets a connection being closed.
LIMITS = httpx.Limits(max_connections=4, keepalive_expiry=2)
LOOPBACK = ("all://127.0.0.1", "all://localhost", "all://[::1]")
IMAGE_SUFFIXES = {"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp"}


class Repeat(Enum):
    """When a request may be sent again. One that never left this machine always may."""

    NEVER = "never"
    IF_REFUSED = "if the server answered that it is too busy to act"
    ALWAYS = "also if the answer was lost, because acting twice does no more than acting once"


@dataclass(frozen=True, slots=True)
class UploadFile:
    """One file of a multipart request, read from disk as it is sent."""

    name: str
    content_type: str
    stream: BinaryIO


@dataclass(frozen=True, slots=True)
class Call:
    method: str
    path: str
    params: Mapping[str, str | int] = field(default_factory=dict[str, "str | int"])
    body: Mapping[str, Any] | None = None
    files: Sequence[UploadFile] = ()
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    repeat: Repeat = Repeat.NEVER


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: httpx.Headers
    body: bytes
    cookies: Mapping[str, str]

    def read(self, shape: type[Shape]) -> Shape:
        try:
            return msgspec.json.decode(self.body, type=shape)
        except msgspec.DecodeError as reason:
            raise Unreachable("The answer is not one of a Visiona server.", str(reason)) from reason

    def retry_after(self) -> float | None:
        """In seconds; the HTTP-date form is not one that Visiona sends."""
        try:
            return float(self.headers.get("retry-after", ""))
        except ValueError:
            return None


class Transport:
    """One server's connections. Statuses are the caller's business, except where a retry helps."""

    def __init__(self, server: str, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._server = server
        self._sleep = sleep
        self._http = httpx.Client(
            timeout=TIMEOUT,
            limits=LIMITS,
            headers={"User-Agent": "visiona-cli", "Accept": "application/json"},
            # Cookies go only where the client puts them, by hand.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            # A proxy from the environment cannot reach this machine's own loopback.
            mounts=dict.fromkeys(LOOPBACK),
        )

    def close(self) -> None:
        self._http.close()

    def send(self, call: Call) -> Answer:
        for pause in (*PAUSES, None):
            try:
                answer = self._attempt(call)
            except httpx.RequestError as lost:
                if pause is None or not _may_repeat(call.repeat, lost):
                    raise self._unreachable(lost, acting=call.method != "GET") from lost
                self._sleep(pause)
            else:
                asked = _asked_pause(call, answer)
                if pause is None or asked is None:
                    return answer
                self._sleep(max(pause, asked))
        raise AssertionError("the last attempt answers or raises")

    def _attempt(self, call: Call) -> Answer:
        response = self._http.request(
            call.method,
            self._server + call.path,
            params=call.params or None,
            json=call.body,
            files=[("photos", (file.name, file.stream, file.content_type)) for file in call.files] or None,
            headers=call.headers,
        )
        return Answer(response.status_code, response.headers, response.content, dict(response.cookies))

    def download(self, url: str, folder: Path, stem: str) -> Path:
        """Stream a signed link into `folder/stem.<its type>`, which appears whole or not at all.

        No credential is sent with it, here or to where it redirects: the link is its own proof.
        """
        absolute = urljoin(f"{self._server}/", url)
        for pause in (*PAUSES, None):
            try:
                return self._download_once(absolute, folder, stem)
            except httpx.RequestError as lost:
                if pause is None or not _may_repeat(Repeat.ALWAYS, lost):
                    raise self._unreachable(lost, acting=False) from lost
                self._sleep(pause)
        raise AssertionError("the last attempt answers or raises")

    def _download_once(self, url: str, folder: Path, stem: str) -> Path:
        with self._http.stream("GET", url, headers={"Accept": "image/*"}, follow_redirects=True) as response:
            if response.status_code != 200:
                raise Refused(response.status_code, Problem(title="The image's link does not open."))
            kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind not in IMAGE_SUFFIXES:
                raise CommandFailed(f"The image's link holds no image but {kind or 'something nameless'}.")
            target = folder / f"{stem}{IMAGE_SUFFIXES[kind]}"
            with local_files():
                _save(response, target)
            return target

    def _unreachable(self, lost: httpx.RequestError, *, acting: bool) -> Unreachable:
        if isinstance(lost, httpx.ConnectError | httpx.ConnectTimeout):
            return Unreachable(
                f"No server answers at {self._server}.", "Is it running? --server names another."
            )
        reason = str(lost) or type(lost).__name__
        doubt = ["Whether the server acted on the request is not known."] if acting else []
        return Unreachable(f"The connection to {self._server} was lost: {reason}", *doubt)


def _may_repeat(repeat: Repeat, lost: httpx.RequestError) -> bool:
    if isinstance(lost, httpx.ConnectError | httpx.ConnectTimeout):
        return True
    network = isinstance(lost, httpx.NetworkError | httpx.TimeoutException | httpx.RemoteProtocolError)
    return network and repeat is Repeat.ALWAYS


def _asked_pause(call: Call, answer: Answer) -> float | None:
    """How long the server wants to be left alone before the call is repeated; None: do not."""
    if call.repeat is Repeat.NEVER or answer.status not in {429, 503}:
        return None
    asked = answer.retry_after() or 0.0
    return asked if asked <= LONGEST_ASKED_PAUSE else None


def _save(response: httpx.Response, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=".visiona-", suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            for chunk in response.iter_bytes():
                stream.write(chunk)
        Path(temporary).replace(target)
    except BaseException:
        with suppress(FileNotFoundError):
            Path(temporary).unlink()
        raise
