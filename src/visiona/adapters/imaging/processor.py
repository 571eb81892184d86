"""The side of imaging that lives in Visiona's own processes and never sees a pixel."""

import asyncio
import contextlib
import itertools
import json
import logging
import os
import sys
from asyncio.subprocess import Process
from pathlib import Path
from typing import Any, cast

from visiona.adapters.imaging.refusals import Code, refusal
from visiona.adapters.imaging.wire import CONTENT_TYPES, THUMBNAIL_ENDING, Kind, Limits, line
from visiona.core.errors import Unavailable
from visiona.core.ids import opaque_id
from visiona.ports.imaging import ProcessedImage

_log = logging.getLogger(__name__)

# Added to a child's own limit before the nursery itself is taken for hung.
_GRACE_S = 5.0
_START_S = 30.0
_LEAST_MEMORY_MB = 128
_PACKAGE_ROOT = Path(__file__).resolve().parents[3]


class ChildImageProcessor:
    """An `ImageProcessor` whose pictures are decoded in children, `concurrency` at a time, each with
    its own memory, CPU and time limit. The nursery starts with the first picture; `aclose` ends it.
    """

    def __init__(
        self,
        concurrency: int = 2,
        memory_mb: int = 512,
        cpu_seconds: int = 5,
        wall_seconds: float = 15,
        max_pixels: int = 100_000_000,
    ) -> None:
        if memory_mb < _LEAST_MEMORY_MB:
            raise ValueError(f"a child needs {_LEAST_MEMORY_MB} MB; half of that is there before it starts")
        self._limits = Limits(memory_mb, cpu_seconds, wall_seconds, max_pixels)
        self._slots = asyncio.Semaphore(concurrency)
        self._starting = asyncio.Lock()
        self._nursery: _NurseryProcess | None = None
        self._closed = False

    async def process_photo(self, source: Path, folder: Path) -> ProcessedImage:
        return await self._process("photo", source, folder)

    async def process_generated(self, source: Path, folder: Path) -> ProcessedImage:
        return await self._process("generated", source, folder)

    async def aclose(self) -> None:
        """End the nursery and whatever it is doing; pictures under way fail with `Unavailable`."""
        self._closed = True
        async with self._starting:
            nursery, self._nursery = self._nursery, None
        if nursery:
            await nursery.aclose()

    async def _process(self, kind: Kind, source: Path, folder: Path) -> ProcessedImage:
        # Made absolute as text: the nursery has another working directory.
        stem = Path(os.path.abspath(folder)) / opaque_id()  # noqa: PTH100, ASYNC240 - touches no disk
        request = {"kind": kind, "source": os.path.abspath(source), "stem": str(stem)}  # noqa: PTH100, ASYNC240 - likewise
        kept = False
        try:
            async with self._slots:
                reply = await self._ask(request)
            image = self._read(reply, stem)
            kept = True
            return image
        finally:
            if not kept:
                _discard(stem)

    async def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """The nursery's reply. If it dies, a new one gets one more try."""
        with contextlib.suppress(_NurseryLostError):
            return await (await self._running()).ask(request)
        _log.warning("the image nursery was lost; starting another")
        try:
            return await (await self._running()).ask(request)
        except _NurseryLostError:
            return {"refused": Code.UNPROCESSABLE, "cause": "the nursery was lost twice"}

    async def _running(self) -> "_NurseryProcess":
        async with self._starting:
            if self._closed:
                raise Unavailable("imaging_unavailable", "Pictures cannot be processed while shutting down.")
            if self._nursery is None or self._nursery.lost:
                self._nursery = await _NurseryProcess.start(self._limits)
            return self._nursery

    def _read(self, reply: dict[str, Any], stem: Path) -> ProcessedImage:
        if "refused" in reply:
            _log.info("picture refused: %s (%s)", reply["refused"], reply.get("cause"))
            raise refusal(Code(reply["refused"]), self._limits.max_pixels)
        if "failed" in reply:
            raise RuntimeError(f"an image child failed: {reply['failed']}")
        result = reply["result"]
        return ProcessedImage(
            master=stem.with_suffix(result["suffix"]),
            thumbnail=Path(f"{stem}{THUMBNAIL_ENDING}"),
            content_type=CONTENT_TYPES[result["suffix"]],
            width=int(result["width"]),
            height=int(result["height"]),
            size=int(result["size"]),
            sha256=str(result["sha256"]),
            faces=result.get("faces"),
            warnings=tuple(result.get("warnings", ())),
        )


class _NurseryLostError(Exception):
    """The nursery ended, or does not answer."""


class _NurseryProcess:
    """A running nursery, seen from outside."""

    def __init__(self, process: Process, patience_s: float) -> None:
        self._process = process
        self._stdin = cast("asyncio.StreamWriter", process.stdin)
        self._stdout = cast("asyncio.StreamReader", process.stdout)
        self._patience_s = patience_s
        self._jobs = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any] | None]] = {}
        self._reader: asyncio.Task[None] | None = None
        self.lost = False

    @classmethod
    async def start(cls, limits: Limits) -> "_NurseryProcess":
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-s", "-m", "visiona.adapters.imaging.nursery", limits.dump()),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd="/",
            env=_environment(),
            start_new_session=True,
        )
        nursery = cls(process, limits.wall_seconds + _GRACE_S)
        try:
            async with asyncio.timeout(_START_S):
                ready = await nursery._stdout.readline()
        except BaseException:
            await nursery.aclose()
            raise
        if not ready:
            await nursery.aclose()
            raise RuntimeError("the image nursery did not start; its error is on standard error")
        nursery._reader = asyncio.create_task(nursery._read_replies())
        return nursery

    async def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Have a child do it; returns once that child is gone, also when cancelled."""
        if self.lost:
            raise _NurseryLostError
        job = next(self._jobs)
        self._waiting[job] = answer = asyncio.get_running_loop().create_future()
        self._stdin.write(line({"job": job} | request))
        try:
            async with asyncio.timeout(self._patience_s):
                reply = await asyncio.shield(answer)
        except TimeoutError as error:
            self._kill()
            raise _NurseryLostError from error
        except asyncio.CancelledError:
            self._stdin.write(line({"kill": job}))
            await asyncio.wait({answer}, timeout=_GRACE_S)
            raise
        finally:
            del self._waiting[job]
        if reply is None:
            raise _NurseryLostError
        return reply

    async def aclose(self) -> None:
        self._stdin.close()  # it ends with its input
        try:
            async with asyncio.timeout(_GRACE_S):
                await self._process.wait()
        except TimeoutError:
            self._kill()
            await self._process.wait()
        if self._reader:
            await self._reader

    async def _read_replies(self) -> None:
        while text := await self._stdout.readline():
            reply = json.loads(text)
            answer = self._waiting.get(reply["job"])
            if answer and not answer.done():
                answer.set_result(reply)
        self.lost = True
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_result(None)

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()


def _environment() -> dict[str, str]:
    """Nothing of ours, so nothing secret: where the code is, and one thread for everybody."""
    environment = {
        "PYTHONPATH": str(_PACKAGE_ROOT),
        "LANG": "C.UTF-8",
        "VIPS_BLOCK_UNTRUSTED": "1",
        "VIPS_CONCURRENCY": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "MALLOC_ARENA_MAX": "1",  # arenas are 64 MB of address space each, and that is limited
        "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",  # a new process spends much time on page faults
    }
    if "LD_LIBRARY_PATH" in os.environ:  # the interpreter itself may need it
        environment["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
    return environment


def _discard(stem: Path) -> None:
    for ending in (*CONTENT_TYPES, THUMBNAIL_ENDING):
        Path(f"{stem}{ending}").unlink(missing_ok=True)
