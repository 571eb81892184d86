"""The routes of both APIs, by what they are about."""

from visiona.sandbox.clerk.api import emails, frontend, instance, sessions, tickets, users
from visiona.sandbox.clerk.routes import Route


def all_routes() -> list[Route]:
    return [
        *users.ROUTES,
        *emails.ROUTES,
        *sessions.ROUTES,
        *tickets.ROUTES,
        *instance.ROUTES,
        *frontend.ROUTES,
    ]
