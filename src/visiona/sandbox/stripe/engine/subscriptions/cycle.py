"""What happens to a subscription by itself as time goes by."""

from collections.abc import Callable

from visiona.sandbox.stripe.engine.calendar import DAY_S
from visiona.sandbox.stripe.engine.subscriptions.endings import Endings
from visiona.sandbox.stripe.engine.subscriptions.objects import (
    BILLED,
    ENDED,
    items_of,
    paused_details,
    period_of,
    set_period,
)
from visiona.sandbox.stripe.engine.subscriptions.parts import Parts
from visiona.sandbox.stripe.engine.subscriptions.pausing import Pausing
from visiona.sandbox.stripe.engine.subscriptions.previews import Previews
from visiona.sandbox.stripe.engine.subscriptions.updating import Updating
from visiona.sandbox.stripe.store import Obj

_Duty = tuple[int, Callable[[Obj], None]]


class Cycle:
    def __init__(
        self, parts: Parts, endings: Endings, updating: Updating, previews: Previews, pausing: Pausing
    ) -> None:
        self._parts = parts
        self._pausing = pausing
        self._endings = endings
        self._updating = updating
        self._previews = previews

    def due(self, subscription: Obj) -> int | None:
        """When it needs attention next."""
        return min((moment for moment, _ in self._duties(subscription)), default=None)

    def step(self, subscription: Obj) -> None:
        """Do the earliest thing that is due."""
        duties = self._duties(subscription)
        if duties:
            min(duties, key=lambda duty: duty[0])[1](subscription)

    def _duties(self, subscription: Obj) -> list[_Duty]:
        """Everything that is ahead; of two things at one moment, the first in this list is done first."""
        status: str = subscription["status"]
        if status in ENDED:
            return []
        settings = self._parts.books.settings
        if status == "incomplete":
            return [(subscription["created"] + settings.incomplete_after_s, self._parts.standing.expire)]
        duties: list[_Duty] = []
        if subscription.get("_waiting"):
            duties.append((subscription["pending_update"]["expires_at"], self._updating.expire_waiting))
        paused = subscription["pause_collection"]
        if paused is not None and paused["resumes_at"] is not None:
            duties.append((paused["resumes_at"], self._collect_again))
        if subscription["cancel_at"] is not None:
            duties.append((subscription["cancel_at"], self._endings.end_as_planned))
        if subscription.get("_resumes_with"):
            duties.append((subscription["_resumes_until"], self._pausing.give_up_resuming))
        if status == "trialing":
            duties += self._trial_duties(subscription)
        elif status in BILLED:
            duties += self._period_duties(subscription)
        return duties

    def _trial_duties(self, subscription: Obj) -> list[_Duty]:
        end: int = subscription["trial_end"]
        duties: list[_Duty] = []
        if not subscription.get("_reminded"):
            remind_at = end - self._parts.books.settings.trial_reminder_days * DAY_S
            duties.append((max(remind_at, subscription["created"]), self._remind))
        return [*duties, *self._announcement(subscription), (end, self._end_trial)]

    def _period_duties(self, subscription: Obj) -> list[_Duty]:
        return [*self._announcement(subscription), (period_of(subscription).end, self._renew)]

    def _announcement(self, subscription: Obj) -> list[_Duty]:
        """`invoice.upcoming` comes some days before, if the period is longer than that."""
        period = period_of(subscription)
        announce_at = period.end - self._parts.books.settings.upcoming_days * DAY_S
        ends = subscription["cancel_at"] is not None and subscription["cancel_at"] <= period.end
        if announce_at <= period.start or subscription.get("_announced") == period.end or ends:
            return []
        return [(announce_at, self._announce)]

    def _remind(self, subscription: Obj) -> None:
        subscription["_reminded"] = True
        self._parts.books.keep(subscription)
        self._parts.books.tell("customer.subscription.trial_will_end", subscription)

    def _announce(self, subscription: Obj) -> None:
        subscription["_announced"] = period_of(subscription).end
        self._parts.books.keep(subscription)
        self._parts.books.tell("invoice.upcoming", self._previews.upcoming(subscription))

    def _collect_again(self, subscription: Obj) -> None:
        with self._parts.books.changing(subscription, "customer.subscription.updated"):
            subscription["pause_collection"] = None

    def _renew(self, subscription: Obj) -> None:
        """The new period begins at once; its invoice stays a draft for an hour."""
        with self._parts.books.changing(subscription, "customer.subscription.updated"):
            self._parts.billing.next_period(subscription, period_of(subscription).end)

    def _end_trial(self, subscription: Obj) -> None:
        parts = self._parts
        customer = parts.books.customer(subscription["customer"])
        has_method = parts.methods.default_for(customer, subscription) is not None
        by_card = subscription["collection_method"] == "charge_automatically"
        without = subscription["trial_settings"]["end_behavior"]["missing_payment_method"]
        if by_card and not has_method and without == "cancel":
            parts.standing.end(subscription, "payment_failed")
        elif by_card and not has_method and without == "pause":
            self._pause_after_trial(subscription)
        else:
            with parts.books.changing(subscription, "customer.subscription.updated"):
                subscription["status"] = "active"
                parts.billing.next_period(subscription, subscription["trial_end"])

    def _pause_after_trial(self, subscription: Obj) -> None:
        parts = self._parts
        now = parts.books.now_for(subscription)
        with parts.books.changing(subscription, "customer.subscription.updated"):
            subscription["status"] = "paused"
            subscription["status_details"] = paused_details("trial_end_without_payment_method", now)
            set_period(subscription, items_of(subscription), period_of(subscription))
        parts.books.tell("customer.subscription.paused", subscription)
