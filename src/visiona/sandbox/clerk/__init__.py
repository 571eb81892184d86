"""A local stand-in for Clerk: its Backend and Frontend APIs, Account Portal and webhooks, as one server.

It keeps people, sessions and its signing keys over a restart, and fails on request. It never runs in
production, sends no mail, and its answers say where they come from.
"""

from visiona.sandbox.clerk.app import create_app
from visiona.sandbox.clerk.config import ClerkSandboxConfig, publishable_key

__all__ = ["ClerkSandboxConfig", "create_app", "publishable_key"]
