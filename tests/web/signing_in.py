"""The pages of signing in and of a person's own account, in every state that their templates tell apart.

Where the pages lead to another server or show a picture of their own, an address of ours stands here.
"""

from datetime import UTC, datetime
from typing import Any

from visiona.entrypoints.web.key_pages import LIFETIMES, SCOPES
from visiona.entrypoints.web.passkey_place import PasskeyPlace
from visiona.entrypoints.web.rendering import Flash
from visiona.factors.model import FactorStatus, Passkey

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
HOSTILE = "</script><img src=x onerror=alert(1)> KATVIS \"'"

Pages = dict[str, tuple[str, str, dict[str, Any]]]

NO_FACTORS = FactorStatus(None, 0, [])
ALL_FACTORS = FactorStatus(
    NOW,
    2,
    [Passkey(3, HOSTILE, synced=True, created_at=NOW, last_used_at=NOW), Passkey(4, "Key", False, NOW, None)],
)
OVERVIEW: dict[str, Any] = {
    "hosted": None,
    "factors": NO_FACTORS,
    "sessions": 1,
    "keys": 0,
    "unconfirmed": True,
}
FULL_OVERVIEW: dict[str, Any] = {
    "hosted": None,
    "factors": ALL_FACTORS,
    "sessions": 3,
    "keys": 2,
    "unconfirmed": False,
}
HOSTED_OVERVIEW: dict[str, Any] = {**OVERVIEW, "hosted": "/at-the-service", "factors": None}

_FINE: dict[str, Any] = {"errors": [], "detail": None}
_HERE = PasskeyPlace(usable=True)
_KEY = {
    "id": 1,
    "name": HOSTILE,
    "prefix": "vsk_abc",
    "scopes": ["See your photos"],
    "expires_at": NOW.isoformat(),
    "last_used_at": None,
    "ended": None,
    "ended_at": NOW.isoformat(),
}


def wrong(field: str) -> dict[str, Any]:
    return {"errors": [{"field": field, "code": "wrong", "message": HOSTILE}], "detail": HOSTILE}


def security(**changes: Any) -> dict[str, Any]:
    sessions = [
        {
            "id": f"session-{number}",
            "words": HOSTILE,
            "icon": "phone",
            "created_at": NOW.isoformat(),
            "last_seen_at": NOW.isoformat(),
            "current": number == 1,
        }
        for number in (1, 2)
    ]
    base: dict[str, Any] = {
        "hosted": None,
        "unconfirmed": False,
        "fresh": True,
        "factors": ALL_FACTORS,
        "passkeys": _HERE,
        "passkeys_max": 20,
        "name_max": 60,
        "sessions": sessions,
        "refused": {"form": "", **_FINE},
        "typed": {},
    }
    return {**base, **changes}


def keys(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "keys": [],
        "ended": [],
        "created": None,
        "origin": "https://visiona.example",
        "fresh": True,
        "scopes": [(scope.value, words) for scope, words in SCOPES.items()],
        "lifetimes": LIFETIMES,
        "typed": {"name": "", "scopes": (), "days": 90},
        "name_max": 60,
        "keys_max": 20,
        **_FINE,
    }
    return {**base, **changes}


def confirm(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "next": "/account",
        "hosted": False,
        "codes": True,
        "passkeys": True,
        "minutes": 15,
        **_FINE,
    }
    return {**base, **changes}


def pages(signed_in: dict[str, Any]) -> Pages:
    """`signed_in` is what every page has of a person."""
    step = {"form": {"ticket": HOSTILE, "next": HOSTILE}}
    secret = {"secret": "ABCD EFGH", "uri": "/in-the-app", "qr": "/in-the-page", **_FINE}

    def own(template: str, path: str, context: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
        return template, path, {**signed_in, **context}

    return {
        "second step": ("login_code.html.j2", "/login/code", {**step, **_FINE}),
        "second step, wrong": ("login_code.html.j2", "/login/code", {**step, **wrong("code")}),
        "forgot": ("forgot.html.j2", "/forgot", {"form": {"email": ""}, "sent": False, **_FINE}),
        "forgot, wrong": (
            "forgot.html.j2",
            "/forgot",
            {"form": {"email": HOSTILE}, "sent": False, **wrong("email")},
        ),
        "forgot, sent": ("forgot.html.j2", "/forgot", {"form": {"email": ""}, "sent": True, **_FINE}),
        "reset": ("reset.html.j2", "/reset", {"token": HOSTILE, "over": False, **wrong("password")}),
        "reset, over": (
            "reset.html.j2",
            "/reset",
            {"token": HOSTILE, "over": True, **_FINE, "detail": "Over."},
        ),
        "verify": ("verify.html.j2", "/verify", {"token": HOSTILE, "done": False, **_FINE}),
        "verify, over": (
            "verify.html.j2",
            "/verify",
            {"token": "", "done": False, **_FINE, "detail": "Over."},
        ),
        "verify, done": own("verify.html.j2", "/verify", {"token": "", "done": True, **_FINE}),
        "security": own("security.html.j2", "/account/security", security()),
        "security, new": own(
            "security.html.j2",
            "/account/security",
            security(factors=NO_FACTORS, unconfirmed=True, passkeys=PasskeyPlace(usable=False)),
        ),
        "security, stale": own("security.html.j2", "/account/security", security(fresh=False)),
        "security, passwords wrong": own(
            "security.html.j2",
            "/account/security",
            security(refused={"form": "password", **wrong("password")}),
        ),
        "security, address wrong": own(
            "security.html.j2",
            "/account/security",
            security(refused={"form": "address", **wrong("email")}, typed={"email": HOSTILE}),
        ),
        "security, passkey wrong": own(
            "security.html.j2",
            "/account/security",
            security(
                refused={"form": "passkeys", **wrong("name")},
                typed={"passkey_id": "3", "name": HOSTILE},
                flashes=[Flash("good", HOSTILE)],
            ),
        ),
        "security, hosted": own(
            "security.html.j2", "/account/security", security(hosted="/at-the-service", factors=None)
        ),
        "two steps": own("security_totp.html.j2", "/account/totp", secret),
        "two steps, wrong": own("security_totp.html.j2", "/account/totp", {**secret, **wrong("code")}),
        "recovery codes": own("security_codes.html.j2", "/account/totp", {"codes": ("a-b",), "begun": True}),
        "recovery codes, new": own(
            "security_codes.html.j2", "/account/totp", {"codes": ("a-b",), "begun": False}
        ),
        "confirm": own("confirm.html.j2", "/confirm", confirm(**wrong("password"))),
        "confirm, hosted": own(
            "confirm.html.j2", "/confirm", confirm(hosted=True, codes=False, passkeys=False)
        ),
        "confirm, logged out": ("confirm_again.html.j2", "/confirm", {"next": HOSTILE}),
        "keys": own("keys.html.j2", "/account/keys", keys()),
        "keys, full": own(
            "keys.html.j2",
            "/account/keys",
            keys(
                keys=[_KEY],
                ended=[{**_KEY, "ended": "Revoked"}],
                created={**_KEY, "token": "vsk_token"},
                typed={"name": HOSTILE, "scopes": ("photos:read",), "days": 7},
                **wrong("scopes"),
            ),
        ),
        "keys, stale": own("keys.html.j2", "/account/keys", keys(fresh=False)),
    }
