"""Identifiers as Stripe forms them: a prefix that says the kind, then letters and digits."""

import secrets
import string
from typing import Final

_ALPHABET: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_LENGTH: Final = 24
_LONG: Final = 58

_LONG_PREFIXES: Final = frozenset({"cs_test"})


def new_id(prefix: str) -> str:
    """`new_id("sub")` is `sub_` and 24 random characters; `new_id("cs")` starts with `cs_test_`."""
    if prefix == "cs":
        prefix = "cs_test"
    length = _LONG if prefix in _LONG_PREFIXES else _LENGTH
    return f"{prefix}_{random_text(length)}"


def random_text(length: int) -> str:
    """Letters and digits, unguessable."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))
