"""What a person who subscribes is owed, told as a story instead of read off an account: the small model
that histories are compared with. It knows what was done and when, and nothing of invoices' lines, events
or our records.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from visiona.billing.model import plus_months

LIMITS = {"free": (30, 2), "premium": (1000, 10), "studio": (4000, 40)}
PRICES = {
    ("premium", "month"): 3900,
    ("studio", "month"): 12900,
    ("premium", "year"): 39000,
    ("studio", "year"): 129000,
}
GRACE = timedelta(days=7)
COLLECTED_AFTER = timedelta(hours=1)
RETRIES = (timedelta(days=3), timedelta(days=5), timedelta(days=7))


@dataclass
class Charge:
    id: str
    amount: int
    refunded: int = 0
    disputed: bool = False

    @property
    def taken(self) -> int:
        return self.amount if self.disputed else self.refunded


@dataclass
class Subscription:
    plan: str
    interval: str
    anchor: datetime
    number: int = 0
    plans: dict[str, datetime] = field(default_factory=dict)
    """Each from when it was paid for."""
    charges: list[Charge] = field(default_factory=list)
    next_plan: str | None = None
    ends: bool = False
    paid: bool = False
    attempts: int = 0
    attempt_at: datetime | None = None

    def boundary(self, number: int) -> datetime:
        return plus_months(self.anchor, number * (12 if self.interval == "year" else 1))

    @property
    def start(self) -> datetime:
        return self.boundary(self.number)

    @property
    def end(self) -> datetime:
        return self.boundary(self.number + 1)


@dataclass
class Person:
    now: datetime
    card_works: bool = True
    subscription: Subscription | None = None
    used: dict[datetime, int] = field(default_factory=dict)
    all_charges: dict[str, Charge] = field(default_factory=dict)
    uncollected: list[tuple[datetime, str]] = field(default_factory=list)
    """Renewals that were paid while time passed: whoever drives the story names their charges."""

    # What happens

    def subscribe(self, plan: str, interval: str, charge: Charge) -> None:
        self.subscription = Subscription(plan, interval, self.now, plans={plan: self.now}, paid=True)
        self._charged(charge)

    def upgrade(self, plan: str, charge: Charge) -> None:
        self._live.plan = plan
        self._live.plans.setdefault(plan, self.now)
        self._charged(charge)

    def advance(self, length: timedelta) -> None:
        until = self.now + length
        while self.subscription is not None:
            moment = min(filter(None, (self.subscription.attempt_at, self.subscription.end)))
            if moment > until:
                break
            self.now = moment
            if moment == self.subscription.attempt_at:
                self.collect()
            else:
                self._renew(self.subscription)
        self.now = until

    def _renew(self, subscription: Subscription) -> None:
        if subscription.ends:
            self.subscription = None
            return
        subscription.plan = subscription.next_plan or subscription.plan
        subscription.next_plan = None
        subscription.number += 1
        subscription.plans, subscription.charges = {subscription.plan: subscription.start}, []
        subscription.paid, subscription.attempts = False, 0
        subscription.attempt_at = subscription.start + COLLECTED_AFTER

    def collect(self) -> None:
        """The invoice of this period is tried; after the last try in vain the subscription ends."""
        subscription = self._live
        if self.card_works:
            subscription.paid, subscription.attempt_at = True, None
            self.uncollected.append((self.now, subscription.plan))
        elif subscription.attempts == len(RETRIES):
            self.subscription = None
        else:
            subscription.attempt_at = self.now + RETRIES[subscription.attempts]
            subscription.attempts += 1

    def name_charges(self, charges: list[Charge]) -> None:
        """The charges of renewals since the last call, oldest first. Only the last can be of this period."""
        assert len(charges) == len(self.uncollected), (charges, self.uncollected)
        for charge, (when, _) in zip(charges, self.uncollected, strict=True):
            self.all_charges[charge.id] = charge
            if self.subscription is not None and self.subscription.start <= when:
                self.subscription.charges.append(charge)
        self.uncollected.clear()

    def _charged(self, charge: Charge) -> None:
        self._live.charges.append(charge)
        self.all_charges[charge.id] = charge

    def use(self, amount: int) -> bool:
        start, entitled, _, used = self._account()
        if used + amount > entitled:
            return False
        self.used[start] = used + amount
        return True

    # What is owed

    @property
    def _live(self) -> Subscription:
        assert self.subscription is not None
        return self.subscription

    def owed(self) -> tuple[str, int, int]:
        """(plan, images that the period grants, of those used)."""
        _, entitled, plan, used = self._account()
        return plan, max(entitled, used), used

    def _account(self) -> tuple[datetime, int, str, int]:
        month = self.now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        accounts = [(LIMITS["free"][0], month, "free")]
        if self.subscription is not None and (bought := self._bought(self.subscription)) is not None:
            accounts.append(bought)
        entitled, start, plan = max(accounts)
        return start, entitled, plan, self.used.get(start, 0)

    def _bought(self, subscription: Subscription) -> tuple[int, datetime, str] | None:
        if not subscription.paid:
            if self.now >= subscription.start + GRACE:
                return None
            return -(-LIMITS[subscription.plan][0] * GRACE.days // 30), subscription.start, subscription.plan
        months = 0
        while subscription.interval == "year" and plus_months(subscription.start, months + 1) <= self.now:
            months += 1
        best = max(subscription.plans, key=list(LIMITS).index)
        start = plus_months(subscription.start, months)
        end = min(plus_months(subscription.start, months + 1), subscription.end)
        if subscription.end - end < timedelta(days=4):
            end = subscription.end
        limit = 0
        for name, since in sorted(subscription.plans.items(), key=lambda item: item[1]):
            more = max(LIMITS[name][0] - limit, 0)
            limit += -(-more * max(min(end - since, end - start), timedelta(0)) // (end - start))
        worth = sum(charge.amount for charge in subscription.charges)
        taken = sum(charge.taken for charge in subscription.charges)
        entitled = -(-limit * (worth - taken) // worth)
        return (entitled, plus_months(subscription.start, months), best) if entitled else None
