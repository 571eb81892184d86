"""The machine that the figures belong to."""

import os
import platform
from pathlib import Path


def describe(postgres_version: str) -> str:
    """In one line."""
    return " · ".join(
        [
            f"{available_cores()} cores ({_processor()})",
            f"Python {platform.python_version()}",
            f"PostgreSQL {postgres_version}",
            f"{platform.system()} {platform.release()}",
            f"load {os.getloadavg()[0]:.2f}",
        ]
    )


def available_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def is_busy() -> bool:
    """Whether somebody else's work is going to show in the figures."""
    return os.getloadavg()[0] > available_cores() / 2


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()
