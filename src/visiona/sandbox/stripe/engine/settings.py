"""What a merchant sets in Stripe's dashboard, and how long things take."""

from dataclasses import dataclass
from typing import Literal

HOUR_S = 3600


@dataclass(frozen=True, slots=True)
class BillingSettings:
    """`retry_days` are the pauses after each failed attempt on an invoice; when they are used up,
    `after_retries` says what becomes of the subscription.
    """

    merchant: str = "Visiona"
    country: str = "US"
    retry_days: tuple[int, ...] = (3, 5, 7)
    after_retries: Literal["cancel", "unpaid", "past_due"] = "cancel"
    upcoming_days: int = 7
    trial_reminder_days: int = 3
    finalize_after_s: int = HOUR_S
    incomplete_after_s: int = 23 * HOUR_S
