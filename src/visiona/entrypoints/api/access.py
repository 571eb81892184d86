"""Who may call each route: one table. A route without a row is refused, and no other place decides.

docs/authorization.md and the security of the OpenAPI document are written from it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Literal

from litestar import Litestar
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from litestar.routes import HTTPRoute

from visiona.keys.model import Scope
from visiona.safety.model import Limited

Role = Literal["admin"]

_OPT: Final = "visiona_access"


class Identity(StrEnum):
    """Whom a route answers."""

    PUBLIC = "public"
    """Anybody."""
    SIGNED = "signed"
    """Whoever brings a signature: the handler checks it."""
    USER = "user"
    """A signed-in person, or a program of theirs with an API key of the row's scope."""
    PERSON = "person"
    """A signed-in person; no API key."""
    PAGE = "page"
    """A signed-in person; others are led to the log-in page."""
    VISITOR = "visitor"
    """Anybody, and it is known who is signed in."""


@dataclass(frozen=True, slots=True)
class Access:
    """One row. `scope` is what an API key needs, `role` what a person needs to be; with `fresh` they
    have to have shown recently who they are; with `suspended` a suspended account is answered too. What
    is `builtin` is there for Visiona's own accounts only: an identity service does it on its own pages. How
    often a `limited` thing is done is counted before the handler runs. Whoever is leaving changes what has
    `leaving` only, and looks at everything.
    """

    identity: Identity
    scope: Scope | None = None
    role: Role | None = None
    fresh: bool = False
    suspended: bool = False
    builtin: bool = False
    limited: Limited | None = None
    leaving: bool = False

    def __post_init__(self) -> None:
        if (self.identity is Identity.USER) != (self.scope is not None):
            raise ValueError("a scope is for what an API key may open, and that always has one")
        if self.identity not in {Identity.PERSON, Identity.PAGE} and (self.role or self.fresh):
            raise ValueError("only a session has a role and can be fresh")


_PUBLIC: Final = Access(Identity.PUBLIC)
_SIGNED: Final = Access(Identity.SIGNED)
_PERSON: Final = Access(Identity.PERSON)
_STAYS_OPEN: Final = Access(Identity.PERSON, leaving=True)
_PAGE_STAYS_OPEN: Final = Access(Identity.PAGE, leaving=True)
_FRESH: Final = Access(Identity.PERSON, fresh=True)
_FACTOR: Final = Access(Identity.PERSON, fresh=True, builtin=True)
_PAGE: Final = Access(Identity.PAGE)
_OWN_LINK: Final = Access(Identity.VISITOR, builtin=True)
_OWN_PAGE: Final = Access(Identity.PAGE, builtin=True)
_OWN_FORM: Final = Access(Identity.PAGE, fresh=True, builtin=True)
_ADMIN: Final = Access(Identity.PERSON, role="admin")
_ADMIN_ACT: Final = Access(Identity.PERSON, role="admin", fresh=True)
_ADMIN_PAGE: Final = Access(Identity.PAGE, role="admin")
_ADMIN_FORM: Final = Access(Identity.PAGE, role="admin", fresh=True)
_VISITOR: Final = Access(Identity.VISITOR)


def _user(scope: Scope, limited: Limited | None = None) -> Access:
    return Access(Identity.USER, scope=scope, limited=limited)


ACCESS: Final[Mapping[str, Access]] = MappingProxyType(
    {
        # Signing up, in and out
        "POST /api/auth/signup": Access(Identity.PUBLIC, limited=Limited.SIGNUP),
        "GET /api/auth/signup": _PUBLIC,
        "POST /api/auth/login": _PUBLIC,
        "GET /api/auth/login": _PUBLIC,
        "POST /api/auth/login/code": Access(Identity.PUBLIC, builtin=True),
        "POST /api/auth/passkey": Access(Identity.PUBLIC, builtin=True),
        "POST /api/auth/reset": Access(Identity.PUBLIC, builtin=True),
        "POST /api/auth/reset/complete": Access(Identity.PUBLIC, builtin=True),
        "POST /api/auth/verify": Access(Identity.PUBLIC, builtin=True),
        "POST /api/auth/confirm": _STAYS_OPEN,
        "POST /api/auth/confirm/passkey/options": Access(Identity.PERSON, builtin=True),
        "POST /api/auth/confirm/passkey": Access(Identity.PERSON, builtin=True),
        "POST /api/auth/refresh": _STAYS_OPEN,
        "POST /api/auth/logout": _STAYS_OPEN,
        "GET /api/auth/me": _user(Scope.ACCOUNT_READ),
        "GET /.well-known/jwks.json": _PUBLIC,
        # One's own account
        "GET /api/account/sessions": _PERSON,
        "DELETE /api/account/sessions/{session_id}": _STAYS_OPEN,
        "POST /api/account/sessions/end-others": _STAYS_OPEN,
        "DELETE /api/account": _FRESH,
        "GET /api/account/erasure": _PERSON,
        "DELETE /api/account/erasure": _STAYS_OPEN,
        "POST /api/account/export": Access(Identity.PERSON, fresh=True, leaving=True, limited=Limited.EXPORT),
        "GET /api/account/exports": _PERSON,
        "GET /api/account/exports/{export_id}": _PERSON,
        "POST /api/account/exports/{export_id}/link": Access(Identity.PERSON, fresh=True, leaving=True),
        "DELETE /api/account/exports/{export_id}": _STAYS_OPEN,
        "GET /api/receipts/{code}": Access(Identity.PUBLIC, limited=Limited.CHECK),
        "POST /api/account/password": Access(Identity.PERSON, fresh=True, builtin=True),
        "POST /api/account/email": Access(Identity.PERSON, fresh=True, builtin=True),
        "POST /api/account/email/verification": Access(Identity.PERSON, builtin=True),
        # API keys, which no key can make
        "GET /api/consents": _user(Scope.ACCOUNT_READ),
        "POST /api/consents": _PERSON,
        "POST /api/consents/requests": _PERSON,
        "DELETE /api/consents/{consent_id}": _STAYS_OPEN,
        "GET /api/keys": _PERSON,
        "POST /api/keys": _FRESH,
        "DELETE /api/keys/{key_id}": _PERSON,
        "POST /api/auth/passkey/options": Access(Identity.PUBLIC, builtin=True),
        # Second factors and passkeys
        "GET /api/account/factors": Access(Identity.PERSON, builtin=True),
        "POST /api/account/totp": _FACTOR,
        "POST /api/account/totp/confirm": _FACTOR,
        "DELETE /api/account/totp": _FACTOR,
        "POST /api/account/recovery-codes": _FACTOR,
        "POST /api/account/passkeys/options": _FACTOR,
        "POST /api/account/passkeys": _FACTOR,
        "PATCH /api/account/passkeys/{passkey_id}": _FACTOR,
        "DELETE /api/account/passkeys/{passkey_id}": _FACTOR,
        # Photos
        "POST /api/photos/upload": _user(Scope.PHOTOS_WRITE, Limited.UPLOAD),
        "GET /api/photos": _user(Scope.PHOTOS_READ),
        "GET /api/photos/{photo_id}": _user(Scope.PHOTOS_READ),
        "DELETE /api/photos/{photo_id}": _user(Scope.PHOTOS_WRITE),
        # Clones
        "POST /api/models/train": _user(Scope.CLONES_WRITE, Limited.TRAINING),
        "GET /api/models/status": _user(Scope.CLONES_READ),
        "GET /api/models": _user(Scope.CLONES_READ),
        "GET /api/models/{model_id}": _user(Scope.CLONES_READ),
        "POST /api/models/{model_id}/cancel": _user(Scope.CLONES_WRITE),
        "DELETE /api/models/{model_id}": _user(Scope.CLONES_WRITE),
        # Images
        "POST /api/generate": _user(Scope.IMAGES_WRITE, Limited.GENERATION),
        "GET /api/generate": _user(Scope.IMAGES_READ),
        "GET /api/generate/{run_id}": _user(Scope.IMAGES_READ),
        "POST /api/generate/{run_id}/cancel": _user(Scope.IMAGES_WRITE),
        "GET /api/gallery": _user(Scope.IMAGES_READ),
        "GET /api/gallery/{image_id}": _user(Scope.IMAGES_READ),
        "POST /api/gallery/delete": _user(Scope.IMAGES_WRITE),
        "DELETE /api/gallery/delete": _user(Scope.IMAGES_WRITE),
        # Payments: a key looks, and never pays
        "GET /api/payment/plans": _PUBLIC,
        "GET /api/payment/subscription": _user(Scope.ACCOUNT_READ),
        "POST /api/payment/subscribe": _PERSON,
        "POST /api/payment/portal": _PERSON,
        "POST /api/payment/refresh": _PERSON,
        "GET /api/payment/invoices": _user(Scope.ACCOUNT_READ),
        "GET /api/payment/invoices/{invoice_id}": _user(Scope.ACCOUNT_READ),
        "GET /api/payment/invoices/{invoice_id}/pdf": _user(Scope.ACCOUNT_READ),
        # News of everything at once, which no single scope covers
        "GET /api/events": _PERSON,
        # What one lets administrators see, and what they did
        "GET /api/account/support-access": _PERSON,
        "POST /api/account/support-access": _PERSON,
        "DELETE /api/account/support-access": _PERSON,
        "GET /api/account/history": _PERSON,
        # Reports of images, by anybody
        "POST /api/reports": Access(Identity.PUBLIC, limited=Limited.REPORT),
        "GET /api/reports/{case}": Access(Identity.PUBLIC, limited=Limited.CHECK),
        # Administration
        "GET /api/admin/reports": _ADMIN,
        "GET /api/admin/reports/{report_id}": _ADMIN,
        "POST /api/admin/reports/{report_id}/dismiss": _ADMIN_ACT,
        "POST /api/admin/reports/{report_id}/take-down": _ADMIN_ACT,
        "GET /api/admin/users": _ADMIN,
        "GET /api/admin/users/{user_id}": _ADMIN,
        "GET /api/admin/acts": _ADMIN,
        "POST /api/admin/users/{user_id}/plan": _ADMIN_ACT,
        "POST /api/admin/users/{user_id}/erase": _ADMIN_ACT,
        "POST /api/admin/users/{user_id}/suspend": _ADMIN_ACT,
        "POST /api/admin/users/{user_id}/unsuspend": _ADMIN_ACT,
        "POST /api/admin/users/{user_id}/end-sessions": _ADMIN_ACT,
        # Providers, and links that carry their own proof
        "POST /api/payment/webhook": _SIGNED,
        "POST /api/webhooks/replicate": _SIGNED,
        "POST /api/webhooks/clerk": _SIGNED,
        "GET /media/{key}": _SIGNED,
        "HEAD /media/{key}": _SIGNED,
        # About the server
        "POST /api/provenance/check": _PUBLIC,
        "GET /healthz": _PUBLIC,
        "GET /readyz": _PUBLIC,
        "GET /api/openapi.json": _PUBLIC,
        "GET /api/openapi.json/openapi.json": _PUBLIC,
        "GET /api/openapi.json/{path}": _PUBLIC,
        # Pages
        "GET /": _VISITOR,
        "GET /api/auth/callback": _PUBLIC,
        "GET /signup": _VISITOR,
        "POST /signup": Access(Identity.PUBLIC, builtin=True, limited=Limited.SIGNUP),
        "GET /login": _VISITOR,
        "POST /login": Access(Identity.PUBLIC, builtin=True),
        "GET /login/code": _VISITOR,
        "POST /login/code": Access(Identity.PUBLIC, builtin=True),
        "POST /logout": _VISITOR,
        "GET /forgot": _VISITOR,
        "POST /forgot": Access(Identity.PUBLIC, builtin=True),
        "GET /reset": _VISITOR,
        "POST /reset": _OWN_LINK,
        "GET /verify": _VISITOR,
        "POST /verify": _OWN_LINK,
        "GET /confirm": _PAGE,
        "POST /confirm": _PAGE_STAYS_OPEN,
        "GET /pricing": _VISITOR,
        "GET /check": _VISITOR,
        "POST /check": _VISITOR,
        "GET /studio": _PAGE,
        "GET /gallery": _PAGE,
        "GET /account": _PAGE,
        "GET /account/security": _PAGE,
        "POST /account/password": _OWN_FORM,
        "POST /account/email": _OWN_FORM,
        "POST /account/email/verification": _OWN_PAGE,
        "POST /account/totp": _OWN_FORM,
        "GET /account/totp": _OWN_FORM,
        "POST /account/totp/confirm": _OWN_FORM,
        "POST /account/totp/off": _OWN_FORM,
        "POST /account/recovery-codes": _OWN_FORM,
        "POST /account/passkeys/rename": _OWN_FORM,
        "POST /account/passkeys/remove": _OWN_FORM,
        "POST /account/sessions/end": _PAGE_STAYS_OPEN,
        "POST /account/sessions/end-others": _PAGE_STAYS_OPEN,
        "GET /consent": _PAGE,
        "POST /consent": _PAGE,
        "GET /consent/{token}": _VISITOR,
        "POST /consent/{token}": _VISITOR,
        "POST /consent/{token}/end": _VISITOR,
        "GET /account/privacy": _PAGE,
        "POST /account/privacy/delete": Access(Identity.PAGE, fresh=True, leaving=True),
        "POST /account/privacy/keep": _PAGE_STAYS_OPEN,
        "POST /account/privacy/export": Access(
            Identity.PAGE, fresh=True, leaving=True, limited=Limited.EXPORT
        ),
        "POST /account/privacy/export/download": Access(Identity.PAGE, fresh=True, leaving=True),
        "POST /account/privacy/export/delete": _PAGE_STAYS_OPEN,
        "GET /receipts/{code}": Access(Identity.VISITOR, limited=Limited.CHECK),
        "GET /account/consents": _PAGE,
        "POST /account/consents/ask": _PAGE,
        "POST /account/consents/withdraw": _PAGE_STAYS_OPEN,
        "GET /account/keys": _PAGE,
        "POST /account/keys": Access(Identity.PAGE, fresh=True),
        "POST /account/keys/revoke": _PAGE,
        "GET /billing": _PAGE,
        "POST /billing/subscribe": _PAGE,
        "POST /billing/portal": _PAGE,
        "GET /account/history": _PAGE,
        "POST /account/support-access": _PAGE,
        "POST /account/support-access/end": _PAGE,
        "GET /report": _VISITOR,
        "POST /report": Access(Identity.VISITOR, limited=Limited.REPORT),
        "GET /report/case": Access(Identity.VISITOR, limited=Limited.CHECK),
        "GET /admin/reports": _ADMIN_PAGE,
        "GET /admin/reports/{report_id}": _ADMIN_PAGE,
        "POST /admin/reports/{report_id}/dismiss": _ADMIN_FORM,
        "POST /admin/reports/{report_id}/take-down": _ADMIN_FORM,
        "GET /admin/erasures": _ADMIN_PAGE,
        "GET /admin": _ADMIN_PAGE,
        "GET /admin/acts": _ADMIN_PAGE,
        "GET /admin/users/{user_id}": _ADMIN_PAGE,
        "GET /admin/users/{user_id}/content": _ADMIN_PAGE,
        "POST /admin/users/{user_id}/plan": _ADMIN_FORM,
        "POST /admin/users/{user_id}/erase": _ADMIN_FORM,
        "POST /admin/users/{user_id}/suspend": _ADMIN_FORM,
        "POST /admin/users/{user_id}/unsuspend": _ADMIN_FORM,
        "POST /admin/users/{user_id}/end-sessions": _ADMIN_FORM,
        "GET /static/{version}/{file_path}": _PUBLIC,
        "HEAD /static/{version}/{file_path}": _PUBLIC,
    }
)
"""By method and path, whose parameters stand without their types."""


def attach(asgi: Litestar) -> None:
    """Give every handler its rows, so that a request finds its own without any work on strings."""
    for name, handler in routes(asgi):
        method = name.partition(" ")[0]
        rows: dict[str, Access | None] = handler.opt.setdefault(_OPT, {})
        row = ACCESS.get(name)
        if rows.setdefault(method, row) != row:
            raise ValueError(f"{name}: its handler answers at another address by another rule")


def routes(asgi: Litestar) -> list[tuple[str, HTTPRouteHandler]]:
    """Everything that answers, by its key in `ACCESS`, without the OPTIONS that Litestar adds to each."""
    return [
        (f"{method} {_template(route.path_format)}", handler)
        for route in asgi.routes
        for handler in _handlers(route)
        for method in sorted(handler.http_methods)
        if method != "OPTIONS"
    ]


def access_of(handler: BaseRouteHandler, method: str) -> Access | None:
    """The row of what is asked for; None where nobody wrote one."""
    rows: Mapping[str, Access] = handler.opt.get(_OPT, {})
    return rows.get(method)


def _handlers(route: object) -> list[HTTPRouteHandler]:
    if not isinstance(route, HTTPRoute):
        raise TypeError(f"{route} speaks something else than HTTP, which no row can describe")
    return route.route_handlers


def _template(path: str) -> str:
    """The address of static files carries their version, which changes with every file."""
    return re.sub(r"^/static/[0-9a-f]+/", "/static/{version}/", path)
