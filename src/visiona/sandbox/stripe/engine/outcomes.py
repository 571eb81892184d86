"""What an attempt on a hosted page came to.

The pages show these; the API turns a `Declined` of its own into an error with status 402. A page follows
`redirect_url` where there is one, and otherwise shows itself again.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Card:
    """What a person typed into a card form. `number` may hold spaces; years have four digits."""

    number: str
    exp_month: int
    exp_year: int
    cvc: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Paid:
    """Done, and whatever was due is paid (which may have been nothing)."""

    redirect_url: str | None = None


@dataclass(frozen=True, slots=True)
class Applied:
    """Done; no payment was part of it."""

    redirect_url: str | None = None


@dataclass(frozen=True, slots=True)
class Scheduled:
    """Will happen at `at` (unix seconds), the end of the running period."""

    at: int
    redirect_url: str | None = None


@dataclass(frozen=True, slots=True)
class Declined:
    """The card was refused; nothing changed.

    `code` is the decline code where there is one (`insufficient_funds`), else the error code
    (`incorrect_cvc`); `message` is Stripe's sentence for the person.
    """

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class ChallengeRequired:
    """The card's bank asks its holder first; go on with `answer_challenge`."""
