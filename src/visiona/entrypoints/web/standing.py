"""Where a person stands with their plan, in words. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from visiona.billing.model import Catalogue, Quota
from visiona.core.money import format_money
from visiona.entrypoints.web.rendering import format_date
from visiona.payments.model import Overview, Subscription
from visiona.ports.payments import SubscriptionStatus

Tone = Literal["good", "busy", "bad", "plain"]


@dataclass(frozen=True, slots=True)
class Standing:
    """`badge` says it in a word or two, `sentences` say what happens next and what to do about it.
    `cancel` says what cancelling would do; None where there is nothing to cancel. `keep` is the button that
    takes back what was arranged for the period's end.
    """

    plan: str
    badge: str
    tone: Tone
    sentences: tuple[str, ...]
    price: str | None = None
    cancel: str | None = None
    keep: str | None = None


def standing(overview: Overview, quota: Quota, catalogue: Catalogue, *, sells: bool) -> Standing:
    subscription = overview.subscription
    if not sells:
        words = "This server sells nothing: everybody has the same plan, and nobody pays."
        return Standing(quota.plan.title, "Included", "good", (words,))
    if subscription is None or not subscription.live:
        badge, tone, sentences = _without(subscription, catalogue)
        return Standing(quota.plan.title, badge, tone, sentences)
    title = catalogue.find(subscription.plan).title if subscription.plan else "Your subscription"
    badge, tone, sentences = _WORDS[subscription.status](subscription, catalogue)
    return Standing(
        plan=title,
        badge=badge,
        tone=tone,
        sentences=sentences,
        price=price_of(subscription),
        cancel=_cancel(subscription, title),
        keep=_keep(subscription),
    )


def price_of(subscription: Subscription) -> str:
    """`$39.00 a month`."""
    amount = format_money(subscription.amount, subscription.currency)
    return amount if subscription.interval is None else f"{amount} a {subscription.interval}"


_Words = tuple[str, Tone, tuple[str, ...]]


def _without(subscription: Subscription | None, catalogue: Catalogue) -> _Words:
    """On the plan that everybody has, or that was given to them."""
    if subscription is not None and subscription.status is SubscriptionStatus.INCOMPLETE:
        words = "Your first payment has not gone through yet, so nothing has begun and nothing renews."
        return "Not paid yet", "busy", (words,)
    nothing = "You pay nothing, and nothing renews."
    if subscription is None or subscription.ended_at is None or subscription.plan is None:
        return "No subscription", "plain", (nothing,)
    ended = f"{catalogue.find(subscription.plan).title} ended on {format_date(subscription.ended_at)}."
    return "No subscription", "plain", (ended, nothing)


def _trialing(subscription: Subscription, catalogue: Catalogue) -> _Words:
    end = format_date(subscription.trial_end or subscription.period_end)
    if subscription.cancel_at is not None:
        return "Trial ending", "busy", (f"Your free trial ends on {end}, and nothing is charged.",)
    if subscription.next_plan is not None:
        return "Trial", "good", (f"Free trial until {end}.", _change(subscription, catalogue))
    return "Trial", "good", (f"Free trial until {end}.", f"Then {price_of(subscription)}, unless you cancel.")


def _active(subscription: Subscription, catalogue: Catalogue) -> _Words:
    if subscription.cancel_at is not None:
        words = f"Ends on {format_date(subscription.cancel_at)}, and nothing more is charged."
        return "Ending", "busy", (words, "Until then you keep everything.")
    if subscription.plan is None:
        words = "This subscription belongs to no plan of this server. Write to whoever runs it."
        return "Unknown plan", "bad", (words,)
    if subscription.next_plan is not None:
        return "Changing", "busy", (_change(subscription, catalogue), "Until then all stays as it is.")
    return "Active", "good", (_renewal(subscription),)


def _renewal(subscription: Subscription) -> str:
    end = format_date(subscription.period_end)
    amount = subscription.amount if subscription.next_amount is None else subscription.next_amount
    if amount <= 0:
        return f"Renews on {end}. Your credit covers it: nothing is charged."
    return f"Renews on {end} for {format_money(amount, subscription.currency)}."


def _change(subscription: Subscription, catalogue: Catalogue) -> str:
    """What was arranged for the end of the period: another plan, or the same one paid otherwise."""
    plan = catalogue.find(subscription.next_plan or "").title
    what = f"{plan} goes on from" if subscription.next_plan == subscription.plan else f"Changes to {plan} on"
    when = f"{what} {format_date(subscription.period_end)}"
    if subscription.next_amount is None:
        return f"{when}, at its new price."
    return f"{when} for {format_money(subscription.next_amount, subscription.currency)}."


def _past_due(_: Subscription, __: Catalogue) -> _Words:
    words = "The last payment did not go through. Until it is paid, you can use what is shown below."
    return "Payment failed", "bad", (words,)


def _unpaid(_: Subscription, __: Catalogue) -> _Words:
    words = "Your plan rests until the open invoice is paid; it is not tried again by itself."
    return "Not paid", "bad", (words,)


def _paused(_: Subscription, __: Catalogue) -> _Words:
    words = "Your plan rests, and nothing is charged. Manage it at Stripe to go on."
    return "Paused", "busy", (words,)


def _unknown(_: Subscription, __: Catalogue) -> _Words:
    words = "Stripe says something about your plan that this server cannot read. Look at it there."
    return "Unclear", "busy", (words,)


_WORDS: Final[dict[SubscriptionStatus, Callable[[Subscription, Catalogue], _Words]]] = {
    SubscriptionStatus.TRIALING: _trialing,
    SubscriptionStatus.ACTIVE: _active,
    SubscriptionStatus.PAST_DUE: _past_due,
    SubscriptionStatus.UNPAID: _unpaid,
    SubscriptionStatus.PAUSED: _paused,
    SubscriptionStatus.UNKNOWN: _unknown,
}
"""Of all that bind."""


def _keep(subscription: Subscription) -> str | None:
    if not subscription.changeable:
        return None
    if subscription.cancel_at is not None:
        return "Keep my plan"
    return None if subscription.next_plan is None else "Undo the change"


def _cancel(subscription: Subscription, title: str) -> str | None:
    if not subscription.changeable or subscription.cancel_at is not None:
        return None
    if subscription.status is SubscriptionStatus.TRIALING:
        end = format_date(subscription.trial_end or subscription.period_end)
        return f"If you cancel, your trial goes on until {end} and nothing is ever charged."
    end = format_date(subscription.period_end)
    return (
        f"If you cancel, you keep {title} until {end} and nothing more is charged. "
        "Your photos, clones and pictures stay."
    )
