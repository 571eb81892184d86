"""Records as the wire shows them."""

from typing import Any

import msgspec

from visiona.sandbox.clerk.store import Obj


def shown(record: Obj) -> Obj:
    """A record without the keys that start with `_`."""
    return {name: value for name, value in record.items() if not name.startswith("_")}


def encode(document: Any) -> bytes:
    """The exact bytes of an answer or of a webhook."""
    return msgspec.json.encode(document)


def show_email(email: Obj) -> Obj:
    return {name: value for name, value in shown(email).items() if name != "user_id"}


def show_user(user: Obj, emails: list[Obj], now: int, picture: str) -> Obj:
    """The whole user object, as the Backend API and webhooks show it. `now` in milliseconds."""
    locked = is_locked(user, now)
    two_factors = bool(user["_totp_secret"] or user["_backup_codes"])
    return {
        **shown(user),
        "object": "user",
        "username": None,
        "image_url": picture,
        "profile_image_url": picture,
        "has_image": False,
        "primary_phone_number_id": None,
        "primary_web3_wallet_id": None,
        "email_addresses": [show_email(email) for email in emails],
        "phone_numbers": [],
        "web3_wallets": [],
        "passkeys": [],
        "external_accounts": [],
        "saml_accounts": [],
        "enterprise_accounts": [],
        "password_enabled": user["_password"] is not None,
        "two_factor_enabled": two_factors,
        "totp_enabled": user["_totp_secret"] is not None,
        "backup_code_enabled": bool(user["_backup_codes"]),
        "locked": locked,
        "lockout_expires_in_seconds": (user["_locked_until"] - now) // 1000 if locked else None,
        "verification_attempts_remaining": 0 if locked else 100 - user["_failures"],
        "deprovisioned": False,
        "scim": None,
    }


def is_locked(user: Obj, now: int) -> bool:
    return user["_locked_until"] is not None and user["_locked_until"] > now
