"""Users and their e-mail addresses.

A user's record is the user object as far as it can differ here; keys that start with `_` are never shown.
"""

import re
from collections.abc import Callable
from typing import Any, Final, Literal

from visiona.sandbox.clerk.authenticator import accepts
from visiona.sandbox.clerk.clock import Clock
from visiona.sandbox.clerk.errors import ClerkError, bad_request, invalid_format, not_found, refused
from visiona.sandbox.clerk.ids import new_id
from visiona.sandbox.clerk.passwords import check_rules, hash_password, matches
from visiona.sandbox.clerk.store import Obj, Store
from visiona.sandbox.clerk.wire import is_locked, show_user

Standing = Literal["verified", "reserved", "unverified"]
"""What an address counts for: `reserved` is not verified, but signs in and is nobody else's."""

MOST_FAILURES: Final = 100
LOCKED_MS: Final = 3600 * 1000
_ADDRESS: Final = re.compile(r"[^@\s,;<>\"]+@[^@\s,;<>\"]+\.[^@\s.,;<>\"]+")


class People:
    def __init__(self, store: Store, clock: Clock, emit: Callable[[str, Obj], None], picture: str) -> None:
        self._store = store
        self._clock = clock
        self._emit = emit
        self._picture = picture

    def get(self, user_id: str) -> Obj:
        """Raises `ClerkError` 404."""
        found = self._store.find("user", user_id)
        if found is None:
            raise not_found("User", user_id)
        return found

    def shown(self, user: Obj) -> Obj:
        return show_user(user, self.emails(user["id"]), self._clock.now(), self._picture)

    def emails(self, user_id: str) -> list[Obj]:
        return self._store.where("email_address", "user_id", user_id)

    def email(self, email_id: str) -> Obj:
        """Raises `ClerkError` 404."""
        found = self._store.find("email_address", email_id)
        if found is None:
            raise not_found("Email address", email_id)
        return found

    def primary_address(self, user: Obj) -> str | None:
        found = self._store.find("email_address", user["primary_email_address_id"] or "")
        return None if found is None else found["email_address"]

    def by_address(self, address: str) -> Obj | None:
        """Who signs in with this address."""
        found = self._store.where("email_address", "email_address", address.strip().lower())
        owner = next((email["user_id"] for email in found if _is_claimed(email)), None)
        return None if owner is None else self._store.find("user", owner)

    def owners(self, address: str) -> list[str]:
        """The ids of all who have an address, be it only unverified."""
        found = self._store.where("email_address", "email_address", address.strip().lower())
        return [email["user_id"] for email in found]

    def create(self, fields: Obj, addresses: list[tuple[str, Standing]], strategy: str = "admin") -> Obj:
        """A new user; `fields` are fields of the record. The first address is the primary one.

        Raises `ClerkError` 422 where an address or the external id is somebody's already.
        """
        now = self._clock.now()
        user: Obj = {
            "id": new_id("user"),
            "external_id": None,
            "primary_email_address_id": None,
            "first_name": None,
            "last_name": None,
            "locale": None,
            "public_metadata": {},
            "private_metadata": {},
            "unsafe_metadata": {},
            "mfa_enabled_at": None,
            "mfa_disabled_at": None,
            "password_last_updated_at": None,
            "last_sign_in_at": None,
            "banned": False,
            "created_at": now,
            "updated_at": now,
            "delete_self_enabled": True,
            "create_organization_enabled": True,
            "create_organizations_limit": None,
            "last_active_at": None,
            "legal_accepted_at": None,
            "bypass_client_trust": False,
            "_password": None,
            "_totp_secret": None,
            "_backup_codes": [],
            "_locked_until": None,
            "_failures": 0,
            **fields,
        }
        self.check_external_id(user)
        self._store.put("user", user)
        emails = [self._new_email(user["id"], text, standing, strategy) for text, standing in addresses]
        if emails:
            user["primary_email_address_id"] = emails[0]["id"]
            self._store.put("user", user)
        self._emit("user.created", self.shown(user))
        return user

    def save(self, user: Obj) -> Obj:
        """Make a change last, and tell of it. Raises `ClerkError` 422 for an external id of another's."""
        self.check_external_id(user)
        user["updated_at"] = max(self._clock.now(), user["updated_at"] + 1)
        self._store.put("user", user)
        self._emit("user.updated", self.shown(user))
        return user

    def delete(self, user: Obj) -> Obj:
        """Forget a user; gives what is told of it."""
        for kind in ("email_address", "session", "sign_in_token", "sign_in_attempt"):
            for record in self._store.where(kind, "user_id", user["id"]):
                self._store.delete(kind, record["id"])
        self._store.delete("user", user["id"])
        gone = {"object": "user", "id": user["id"], "deleted": True}
        if user["external_id"] is not None:
            gone["external_id"] = user["external_id"]
        self._emit("user.deleted", gone)
        return gone

    def check_external_id(self, user: Obj) -> None:
        external_id = user["external_id"]
        if external_id is None:
            return
        others = self._store.where("user", "external_id", external_id)
        if any(other["id"] != user["id"] for other in others):
            text = "That external ID is taken. Please try another."
            raise refused("form_identifier_exists", text, text, param="external_id")

    # Passwords and second factors

    def set_password(
        self, user: Obj, password: str, *, checked: bool = True, param: str = "password"
    ) -> None:
        """Change the record only: `save` makes it last. Raises `ClerkError` 422 for a weak password."""
        if checked:
            check_rules(password, param)
        user["_password"] = hash_password(password)
        user["password_last_updated_at"] = self._clock.now()

    def has_password(self, user: Obj, password: str) -> bool:
        return user["_password"] is not None and matches(user["_password"], password)

    def set_totp(self, user: Obj, secret: str | None) -> None:
        """Change the record only: `save` makes it last."""
        user["_totp_secret"] = secret
        if secret is None:
            user["_backup_codes"] = []
        user["mfa_disabled_at" if secret is None else "mfa_enabled_at"] = self._clock.now()

    def use_code(self, user: Obj, code: str) -> Literal["totp", "backup_code"] | None:
        """Which second factor a code is. A backup code works once."""
        secret = user["_totp_secret"]
        if secret is not None and accepts(secret, code):
            return "totp"
        if code in user["_backup_codes"]:
            user["_backup_codes"].remove(code)
            self._store.put("user", user)
            return "backup_code"
        return None

    def check_not_barred(self, user: Obj) -> None:
        """Raise `ClerkError` 403 for somebody banned or locked."""
        if user["banned"]:
            raise ClerkError(
                403, "user_banned", "User banned", "This user is banned. Contact support for help."
            )
        if is_locked(user, self._clock.now()):
            minutes = -(-(user["_locked_until"] - self._clock.now()) // 60000)
            text = f"Your account is locked. You will be able to try again in {minutes} minutes."
            raise ClerkError(403, "user_locked", "Account locked", text)

    def note_failure(self, user: Obj) -> None:
        """Count a wrong password or code; after a hundred in a row the user is locked for an hour."""
        user["_failures"] += 1
        if user["_failures"] < MOST_FAILURES:
            self._store.put("user", user)
        else:
            self.lock(user)

    def note_sign_in(self, user: Obj) -> None:
        now = self._clock.now()
        user |= {"_failures": 0, "last_sign_in_at": now, "last_active_at": now}
        self.save(user)

    def lock(self, user: Obj) -> Obj:
        user |= {"_failures": 0, "_locked_until": self._clock.now() + LOCKED_MS}
        return self.save(user)

    def unlock(self, user: Obj) -> Obj:
        user |= {"_failures": 0, "_locked_until": None}
        return self.save(user)

    # E-mail addresses

    def add_email(self, user: Obj, address: str, standing: Standing, *, strategy: str = "admin") -> Obj:
        email = self._new_email(user["id"], address, standing, strategy)
        self.save(user)
        return email

    def claim_email(self, email: Obj, strategy: str) -> Obj:
        """An address has been verified. Raises `ClerkError` 422 where it is somebody else's by now."""
        self._check_free(email["email_address"], email["id"])
        email |= {"verification": _verification("verified", strategy), "reserved": False}
        email["updated_at"] = self._clock.now()
        self._store.put("email_address", email)
        self.save(self.get(email["user_id"]))
        return email

    def keep_email(self, email: Obj) -> None:
        """Make a change last that nobody is told of."""
        self._store.put("email_address", email)

    def unclaim_email(self, email: Obj) -> Obj:
        email |= {"verification": _verification("unverified", "email_code"), "reserved": False}
        self._store.put("email_address", email)
        self.save(self.get(email["user_id"]))
        return email

    def make_primary(self, user: Obj, email: Obj) -> None:
        """Change the record only: `save` makes it last."""
        if email["user_id"] != user["id"] or not is_verified(email):
            text = "The primary email address must be a verified address of the user."
            raise refused("form_param_value_invalid", "is invalid", text, param="primary_email_address_id")
        user["primary_email_address_id"] = email["id"]

    def delete_email(self, email: Obj) -> None:
        """The primary address is followed by another verified one; the last one cannot go."""
        user = self.get(email["user_id"])
        others = [one for one in self.emails(user["id"]) if one["id"] != email["id"] and _is_claimed(one)]
        if _is_claimed(email) and not others:
            text = "You cannot delete your last identification."
            raise bad_request("last_identification_deletion_failed", "Deletion not allowed", text)
        self._store.delete("email_address", email["id"])
        if user["primary_email_address_id"] == email["id"]:
            user["primary_email_address_id"] = others[0]["id"] if others else None
        self.save(user)

    def replace_emails(self, user: Obj, address: str, standing: Standing) -> Obj:
        for email in self.emails(user["id"]):
            self._store.delete("email_address", email["id"])
        email = self._new_email(user["id"], address, standing, "admin")
        user["primary_email_address_id"] = email["id"]
        self.save(user)
        return email

    def _new_email(self, user_id: str, address: str, standing: Standing, strategy: str) -> Obj:
        address = read_address(address)
        self._check_free(address)
        if any(email["email_address"] == address for email in self.emails(user_id)):
            raise _taken()
        now = self._clock.now()
        email: dict[str, Any] = {
            "id": new_id("idn"),
            "object": "email_address",
            "user_id": user_id,
            "email_address": address,
            "reserved": standing == "reserved",
            "verification": _verification(standing, strategy),
            "linked_to": [],
            "matches_sso_connection": False,
            "created_at": now,
            "updated_at": now,
        }
        self._store.put("email_address", email)
        return email

    def _check_free(self, address: str, own_id: str | None = None) -> None:
        for email in self._store.where("email_address", "email_address", address):
            if email["id"] != own_id and _is_claimed(email):
                raise _taken()


def read_address(text: str) -> str:
    """An address as it is kept. Raises `ClerkError` 422 for what is none."""
    address = text.strip().lower()
    if not _ADDRESS.fullmatch(address) or len(address) > 254:
        raise invalid_format("email_address", "must be a valid email address")
    return address


def is_verified(email: Obj) -> bool:
    return email["verification"] is not None and email["verification"]["status"] == "verified"


def _is_claimed(email: Obj) -> bool:
    """Whether nobody else can have it."""
    return bool(email["reserved"]) or is_verified(email)


def _verification(standing: Standing, strategy: str) -> Obj | None:
    if standing == "reserved":
        return None
    if standing == "verified" and strategy == "admin":
        return {
            "object": "verification_admin",
            "status": "verified",
            "strategy": "admin",
            "attempts": None,
            "expire_at": None,
        }
    status = "verified" if standing == "verified" else "unverified"
    return {
        "object": "verification_otp",
        "status": status,
        "strategy": "email_code",
        "attempts": 1 if status == "verified" else None,
        "expire_at": None,
    }


def _taken() -> ClerkError:
    text = "That email address is taken. Please try another."
    return refused("form_identifier_exists", text, text, param="email_address")
