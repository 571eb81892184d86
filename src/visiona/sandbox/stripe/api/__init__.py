"""Stripe's v1 resources: each module declares its `ROUTES`."""

import importlib
import pkgutil

from visiona.sandbox.stripe.routes import Route


def all_routes() -> list[Route]:
    """What every module in this package declares."""
    names = [module.name for module in pkgutil.iter_modules(__path__) if module.name != "control"]
    modules = [importlib.import_module(f"{__name__}.{name}") for name in names]
    return [route for module in modules for route in module.ROUTES]
