"""Limits that the kernel holds a process to, and that it cannot lift again."""

import ctypes
import os
import resource
import signal
import sys

MAX_FILE_BYTES = 128 * 2**20
MAX_OPEN_FILES = 64

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38


def confine_nursery(memory_mb: int) -> None:
    """Called when the libraries are loaded: this process and its children may grow until they hold
    `memory_mb`, but for code that was mapped and not yet read.
    """
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, MAX_FILE_BYTES)
    _limit(resource.RLIMIT_NOFILE, MAX_OPEN_FILES)
    if sys.platform == "linux":  # elsewhere the kernel does not hold processes to it
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - no path to speak of
            mapped, resident = (int(pages) * resource.getpagesize() for pages in file.read().split()[:2])
        _limit(resource.RLIMIT_AS, mapped + memory_mb * 2**20 - resident)
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def confine_child(cpu_seconds: int, nursery: int) -> None:
    """Called first thing in a child: a session and CPU time of its own, and no life after `nursery`."""
    os.setsid()
    _limit(resource.RLIMIT_CPU, cpu_seconds)
    if sys.platform == "linux":
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != nursery:  # it died before it could be told to take us along
            os._exit(1)


def _limit(what: int, value: int) -> None:
    resource.setrlimit(what, (value, value))


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl failed")
