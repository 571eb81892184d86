"""The Account Portal: pages to sign in, sign up, and manage an account.

The application that takes `HANDLERS` provides the dependency `sandbox`.
"""

from visiona.sandbox.clerk.pages.routes import HANDLERS

__all__ = ["HANDLERS"]
