"""A local stand-in for Stripe: its v1 API, hosted checkout, portal and webhooks.

It speaks one version of the protocol strictly, keeps its records over a restart, and fails on request.
It takes no money, never runs in production, and its answers say where they come from.
"""

from visiona.sandbox.stripe.app import create_app
from visiona.sandbox.stripe.config import StripeSandboxConfig

__all__ = ["StripeSandboxConfig", "create_app"]
