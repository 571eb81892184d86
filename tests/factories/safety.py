"""What keeps a room from being abused, for tests of that room: rules as they are, and nothing in the way."""

from decimal import Decimal

from visiona.core.clock import SystemClock
from visiona.db.pool import Database
from visiona.ports.moderation import Moderator
from visiona.safety.model import Rates, SpendingLimits
from visiona.safety.service import Limits, ObjectRemover, PromptGuard, ReportService, Safety, Spending

EVERYBODY_SIGNS_UP = ("signup.address=off",)
"""For servers to which a whole suite of people comes from one address."""

FREE = SpendingLimits(
    total_cap=None,
    person_cap=None,
    training=Decimal(2),
    image=Decimal("0.05"),
    enhancement=Decimal("0.01"),
)


def open_safety(
    database: Database,
    objects: ObjectRemover,
    *,
    spending: SpendingLimits = FREE,
    moderator: Moderator | None = None,
    rates: Rates | None = None,
) -> Safety:
    return Safety(
        Limits(database, rates or {}, b"secret"),
        PromptGuard(database, moderator),
        Spending(database, SystemClock(), spending),
        ReportService(database, objects),
    )
