"""Forms that were refused, kept for the page that a refused form leads to.

The page is fetched anew instead of being the answer to the form: reloading it or coming back to it sends
nothing twice. What was typed stays in memory, never in an address or on disk: it might be a real card.
"""

import secrets
from dataclasses import dataclass
from typing import Final

from litestar.datastructures import State

from visiona.sandbox.stripe.pages.cards import CardForm, Mistakes

_KEPT: Final = 200
_STATE_KEY: Final = "hosted_attempts"


@dataclass(frozen=True, slots=True)
class Attempt:
    """`mistakes` is None for a form that has not been sent yet."""

    form: CardForm
    mistakes: Mistakes | None = None


class Attempts:
    """The latest ones; older ones are forgotten."""

    def __init__(self) -> None:
        self._kept: dict[str, Attempt] = {}

    def keep(self, attempt: Attempt) -> str:
        """The name by which `find` knows it."""
        while len(self._kept) >= _KEPT:
            del self._kept[next(iter(self._kept))]
        name = secrets.token_urlsafe(12)
        self._kept[name] = attempt
        return name

    def find(self, name: str) -> Attempt | None:
        return self._kept.get(name)


def attempts_in(state: State) -> Attempts:
    """Those of the application that `state` belongs to."""
    if _STATE_KEY not in state:
        state[_STATE_KEY] = Attempts()
    return state[_STATE_KEY]
