"""Which passwords an instance takes, and how it keeps them."""

from pathlib import Path
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from visiona.sandbox.clerk.errors import invalid_value, refused

_HASHER: Final = PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1)
_LEAKED: Final = frozenset(Path(__file__).with_name("leaked_passwords.txt").read_text().split())


def check_rules(password: str, param: str = "password") -> None:
    """Raise `ClerkError` 422 for a password that an instance refuses."""
    if len(password) < 8:
        code, text = "form_password_length_too_short", "Passwords must be 8 characters or more."
        raise refused(code, text, text, param=param)
    if len(password) > 72:
        code, text = "form_password_length_too_long", "Passwords must be less than 72 characters."
        raise refused(code, text, text, param=param)
    if password.casefold() in _LEAKED:
        text = (
            "Password has been found in an online data breach. For account safety, please use a different "
            "password."
        )
        raise refused("form_password_pwned", text, text, param=param)


def hash_password(password: str) -> str:
    return _HASHER.hash(password)


def matches(digest: str, password: str) -> bool:
    try:
        return _HASHER.verify(digest, password)
    except (VerificationError, InvalidHashError):
        return False


def check_digest(digest: str, hasher: str) -> None:
    """Raise `ClerkError` 422 for a digest made elsewhere that the sandbox cannot verify: it knows argon2."""
    if hasher not in {"argon2i", "argon2id"}:
        raise invalid_value("password_hasher", hasher)
    if not digest.startswith(f"${hasher}$"):
        raise invalid_value("password_digest", "the digest")
