"""Identifiers as Clerk forms them: a prefix that says the kind, then 27 letters and digits."""

import secrets
import string
from typing import Final

_ALPHABET: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase


def new_id(prefix: str) -> str:
    """`new_id("user")` is `user_` and 27 random characters."""
    return f"{prefix}_{random_text(27)}"


def random_text(length: int) -> str:
    """Letters and digits, unguessable."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))
