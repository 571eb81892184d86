"""On whose behalf a transaction runs. Row-level security decides by it, so there is no default."""

import hashlib
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class UserActor:
    """A signed-in person: sees and changes their own rows only."""

    user_id: int
    subject: str = ""
    looks_up: str | None = field(default=None, repr=False, kw_only=True)
    """As of `Anonymous`."""

    def claims(self) -> dict[str, Any]:
        claims = {"role": "authenticated", "sub": self.subject, "user_id": self.user_id}
        return claims | _lookup(self.looks_up)


@dataclass(frozen=True, slots=True)
class SystemActor:
    """A named part of Visiona, such as `sweep`; what it may see is decided per table and role."""

    name: str

    def claims(self) -> dict[str, Any]:
        return {"role": "system", "sub": f"system:{self.name}"}


@dataclass(frozen=True, slots=True)
class AdminActor:
    """An administrator at work: their own rows, and of others' what administration needs.

    The database looks up for itself whether they are one.
    """

    user_id: int
    subject: str = ""

    def claims(self) -> dict[str, Any]:
        return {"role": "admin", "sub": self.subject, "user_id": self.user_id}


@dataclass(frozen=True, slots=True)
class Anonymous:
    """Nobody yet: sees no rows; sign-in goes through functions that answer for one key each.

    Those that can be guessed, such as an address, answer only in a transaction that `looks_up` that
    one. It goes out as its hash, since statements may be logged.
    """

    looks_up: str | None = field(default=None, repr=False)

    def claims(self) -> dict[str, Any]:
        return {"role": "anon"} | _lookup(self.looks_up)


def _lookup(key: str | None) -> dict[str, Any]:
    return {} if key is None else {"lookup": hashlib.sha256(key.encode()).hexdigest()}


Actor = UserActor | SystemActor | AdminActor | Anonymous
