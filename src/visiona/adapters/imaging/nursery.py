"""A process that forks a child per picture: `pictures` decodes in them, `provenance.signing` signs.

It pays for imports once, runs no thread (so that forking is safe) and decodes nothing, so that every
child starts from the same clean state some 2 ms later. It ends when its input does, that is, with
the process that started it, and takes its children along.
"""

import contextlib
import gc
import json
import os
import selectors
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn, cast

from visiona.adapters.imaging.confinement import confine_child, confine_nursery
from visiona.adapters.imaging.refusals import Code
from visiona.adapters.imaging.wire import MAX_REPLY, Limits, line

_REQUESTS = 0

# What a child does with its request; it answers with the reply.
Work = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(slots=True)
class _Child:
    job: int
    pid: int
    pipe: int
    deadline: float
    said: bytearray = field(default_factory=bytearray)


class Nursery:
    """A single-threaded loop over requests, children and deadlines."""

    def __init__(self, limits: Limits, work: Work, replies: int) -> None:
        self._limits = limits
        self._work = work
        self._replies = replies
        self._children: dict[int, _Child] = {}
        self._pending = b""
        self._selector = selectors.DefaultSelector()
        self._selector.register(_REQUESTS, selectors.EVENT_READ)

    def run(self) -> None:
        """Serve until the input ends."""
        try:
            self._reply({"ready": True})
            while self._turn():
                pass
        except BrokenPipeError:
            pass  # nobody listens any more
        finally:
            for child in self._children.values():
                _kill(child)

    def _turn(self) -> bool:
        soonest = min((child.deadline for child in self._children.values()), default=None)
        timeout = None if soonest is None else max(0.0, soonest - time.monotonic())
        for key, _ in self._selector.select(timeout):
            if key.fd == _REQUESTS:
                if not self._read_requests():
                    return False
            elif key.data.job in self._children:
                self._listen(key.data)
        now = time.monotonic()
        for child in [child for child in self._children.values() if child.deadline <= now]:
            self._end(child, f"ran past {self._limits.wall_seconds} s")
        return True

    def _read_requests(self) -> bool:
        data = os.read(_REQUESTS, 65_536)
        *lines, self._pending = (self._pending + data).split(b"\n")
        for text in lines:
            request = json.loads(text)
            if "kill" not in request:
                self._bear(request)
            elif child := self._children.get(request["kill"]):
                self._end(child, "killed on request")
        return bool(data)

    def _bear(self, request: dict[str, Any]) -> None:
        nursery = os.getpid()
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            self._live(request, writing, nursery)
        os.close(writing)
        child = _Child(request["job"], pid, reading, time.monotonic() + self._limits.wall_seconds)
        self._children[child.job] = child
        self._selector.register(reading, selectors.EVENT_READ, child)

    def _live(self, request: dict[str, Any], writing: int, nursery: int) -> NoReturn:
        """The whole life of a child."""
        try:
            confine_child(self._limits.cpu_seconds, nursery)
            # Neither the requests nor the replies of others are any of its business.
            self._selector.close()
            for descriptor in (_REQUESTS, self._replies, *(child.pipe for child in self._children.values())):
                os.close(descriptor)
            os.write(writing, line(_done(self._work, request)))
        finally:
            os._exit(0)

    def _listen(self, child: _Child) -> None:
        said = os.read(child.pipe, MAX_REPLY)
        child.said += said
        if not said or len(child.said) > MAX_REPLY:
            self._end(child)

    def _end(self, child: _Child, cause: str = "") -> None:
        """Make sure that it is gone, then answer for it."""
        self._selector.unregister(child.pipe)
        os.close(child.pipe)
        del self._children[child.job]
        status = _kill(child)
        reply = _understood(child.said)
        if reply is None:
            exit_code = os.waitstatus_to_exitcode(status)
            reply = {"refused": Code.UNPROCESSABLE, "cause": cause or f"ended with {exit_code}"}
        self._reply(reply | {"job": child.job})

    def _reply(self, message: dict[str, Any]) -> None:
        os.write(self._replies, line(message))


def _kill(child: _Child) -> int:
    """The child is ours and not yet waited for, so the number is still its own."""
    for kill in (os.killpg, os.kill):  # it may not have come as far as having a group
        with contextlib.suppress(ProcessLookupError):
            kill(child.pid, signal.SIGKILL)
    return os.waitpid(child.pid, 0)[1]


def _understood(said: bytearray) -> dict[str, Any] | None:
    """A child's last words, which may not be its own any more."""
    try:
        reply = json.loads(said)
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", reply) if isinstance(reply, dict) else None


def _done(work: Work, request: dict[str, Any]) -> dict[str, Any]:
    try:
        return work(request)
    except Exception as error:  # noqa: BLE001 - said to the parent, which raises it
        return {"failed": f"{type(error).__name__}: {error}"[:500]}


def serve(prepare: Callable[[Limits, dict[str, Any]], Work]) -> None:
    """The life of a nursery: `prepare` loads what children need, given the limits and the first line of
    the input.
    """
    limits = Limits.load(sys.argv[1])
    # Libraries that print must not talk into the replies.
    replies = os.dup(1)
    silence = os.open(os.devnull, os.O_RDWR)
    os.dup2(silence, 1)
    work = prepare(limits, json.loads(_first_line()))
    confine_nursery(limits.memory_mb)
    os.dup2(silence, 2)  # not before: until here, errors are ours and worth reading
    os.close(silence)
    gc.freeze()  # or the first collection in every child would copy all pages
    Nursery(limits, work, replies).run()


def _first_line() -> bytes:
    """Not a byte more: requests follow it only once they are asked for."""
    text = b""
    while not text.endswith(b"\n"):
        data = os.read(_REQUESTS, 65_536)
        if not data:
            raise SystemExit(1)
        text += data
    return text
