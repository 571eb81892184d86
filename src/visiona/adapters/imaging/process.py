"""A running nursery, seen from the process that asks it."""

import asyncio
import contextlib
import itertools
import json
import logging
import os
import sys
from asyncio.subprocess import Process
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from visiona.adapters.imaging.refusals import Code
from visiona.adapters.imaging.wire import Limits, line
from visiona.core.errors import Unavailable

_log = logging.getLogger(__name__)

# Added to a child's own limit before the nursery itself is taken for hung.
_GRACE_S = 5.0
_START_S = 30.0
_PACKAGE_ROOT = Path(__file__).resolve().parents[3]


class NurseryLost(Exception):
    """The nursery ended, or does not answer."""


class KeptNursery:
    """A nursery that starts when first asked, and again when it was lost. `opening` is asked for what it
    hears first, in a thread.
    """

    def __init__(self, module: str, limits: Limits, opening: Callable[[], dict[str, Any]]) -> None:
        self._module = module
        self._limits = limits
        self._opening = opening
        self._starting = asyncio.Lock()
        self._nursery: NurseryProcess | None = None
        self._closed = False

    async def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Its reply. If it dies, a new one gets one more try."""
        with contextlib.suppress(NurseryLost):
            return await (await self._running()).ask(request)
        _log.warning("the nursery %s was lost; starting another", self._module)
        try:
            return await (await self._running()).ask(request)
        except NurseryLost:
            return {"refused": Code.UNPROCESSABLE, "cause": "the nursery was lost twice"}

    async def aclose(self) -> None:
        """End it and whatever it is doing; what is under way fails with `Unavailable`."""
        self._closed = True
        async with self._starting:
            nursery, self._nursery = self._nursery, None
        if nursery:
            await nursery.aclose()

    async def _running(self) -> "NurseryProcess":
        async with self._starting:
            if self._closed:
                raise Unavailable("imaging_unavailable", "Pictures cannot be processed while shutting down.")
            if self._nursery is None or self._nursery.lost:
                opening = await asyncio.to_thread(self._opening)
                self._nursery = await NurseryProcess.start(self._module, self._limits, opening)
            return self._nursery


class NurseryProcess:
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
    async def start(cls, module: str, limits: Limits, opening: dict[str, Any]) -> "NurseryProcess":
        """Run `module`; `opening` is what it hears first."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-s", "-m", module, limits.dump()),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd="/",
            env=_environment(),
            start_new_session=True,
        )
        nursery = cls(process, limits.wall_seconds + _GRACE_S)
        try:
            nursery._stdin.write(line(opening))
            async with asyncio.timeout(_START_S):
                ready = await nursery._stdout.readline()
        except BaseException:
            await nursery.aclose()
            raise
        if not ready:
            await nursery.aclose()
            raise RuntimeError(f"{module} did not start; its error is on standard error")
        nursery._reader = asyncio.create_task(nursery._read_replies())
        return nursery

    async def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Have a child do it; returns once that child is gone, also when cancelled."""
        if self.lost:
            raise NurseryLost
        job = next(self._jobs)
        self._waiting[job] = answer = asyncio.get_running_loop().create_future()
        self._stdin.write(line({"job": job} | request))
        try:
            async with asyncio.timeout(self._patience_s):
                reply = await asyncio.shield(answer)
        except TimeoutError as error:
            self._kill()
            raise NurseryLost from error
        except asyncio.CancelledError:
            self._stdin.write(line({"kill": job}))
            await asyncio.wait({answer}, timeout=_GRACE_S)
            raise
        finally:
            del self._waiting[job]
        if reply is None:
            raise NurseryLost
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
        "RAYON_NUM_THREADS": "1",
        "MALLOC_ARENA_MAX": "1",  # arenas are 64 MB of address space each, and that is limited
        "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",  # a new process spends much time on page faults
    }
    if "LD_LIBRARY_PATH" in os.environ:  # the interpreter itself may need it
        environment["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
    return environment
