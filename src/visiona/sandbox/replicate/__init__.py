"""Replicate's HTTP protocol on this machine: trainings and pictures without an account or a GPU.

`create_app` makes the server; any ASGI server runs it. What it can be told to do wrong is described
in `visiona.sandbox.replicate.faults`.
"""

from visiona.sandbox.replicate.app import create_app
from visiona.sandbox.replicate.config import ReplicateSandboxConfig

__all__ = ["ReplicateSandboxConfig", "create_app"]
