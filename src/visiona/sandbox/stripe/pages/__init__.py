"""The pages that people see: checkout, the customer portal, and the invoice behind its link.

The application that takes `HANDLERS` provides the dependency `sandbox`.
"""

from visiona.sandbox.stripe.pages.routes import HANDLERS

__all__ = ["HANDLERS"]
