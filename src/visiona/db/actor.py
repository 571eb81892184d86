"""On whose behalf a transaction runs. Row-level security decides by it, so there is no default."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class UserActor:
    """A signed-in person: sees and changes their own rows only."""

    user_id: int
    subject: str = ""

    def claims(self) -> dict[str, Any]:
        return {"role": "authenticated", "sub": self.subject, "user_id": self.user_id}


@dataclass(frozen=True, slots=True)
class SystemActor:
    """A named part of Visiona, such as `sweep`; what it may see is decided per table and role."""

    name: str

    def claims(self) -> dict[str, Any]:
        return {"role": "system", "sub": f"system:{self.name}"}


@dataclass(frozen=True, slots=True)
class Anonymous:
    """Nobody yet: sees no rows; sign-in goes through functions that answer for one key each."""

    def claims(self) -> dict[str, Any]:
        return {"role": "anon"}


Actor = UserActor | SystemActor | Anonymous
