"""What people are told about plans, prices, payments and quotas."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from tests.web.plans import (
    CATALOGUE,
    DEAR_CATALOGUE,
    ENDS,
    entry,
    ledger,
    numbered,
    overview,
    quota_of,
    reader,
    subscription,
    view,
)

from visiona.billing.model import Catalogue, Resource
from visiona.db.pool import Connection, fetch_value
from visiona.entrypoints.web import wording
from visiona.entrypoints.web.history import history
from visiona.entrypoints.web.offers import (
    PlanCard,
    Reader,
    cards,
    chosen_interval,
    has_choice,
    most_saved,
    with_a_way_up,
)
from visiona.entrypoints.web.standing import standing
from visiona.payments.model import Subscription
from visiona.ports.payments import SubscriptionStatus

LATER = datetime(2027, 1, 5, tzinfo=UTC)


def words(bought: Subscription | None, *, sells: bool = True, plan: str = "free") -> str:
    found = standing(overview(bought), quota_of(plan), CATALOGUE, sells=sells)
    return f"{found.plan}, {found.badge.lower()}: {' '.join(found.sentences)}"


# Where somebody stands


@pytest.mark.parametrize(
    ("bought", "told"),
    [
        (None, "Free, no subscription: You pay nothing, and nothing renews."),
        (subscription(), "Premium, active: Renews on 10 December 2026 for $39.00."),
        (
            subscription(next_amount=Decimal("1045.5")),
            "Premium, active: Renews on 10 December 2026 for $1,045.50.",
        ),
        (
            subscription(next_amount=Decimal(0)),
            "Premium, active: Renews on 10 December 2026. Your credit covers it: nothing is charged.",
        ),
        (
            subscription(cancel_at=LATER),
            (
                "Premium, ending: Ends on 5 January 2027, and nothing more is charged. "
                "Until then you keep everything."
            ),
        ),
        (
            subscription(plan="studio", next_plan="premium", next_amount=Decimal(39)),
            (
                "Studio, changing: Changes to Premium on 10 December 2026 for $39.00. "
                "Until then all stays as it is."
            ),
        ),
        (
            subscription(next_plan="premium"),
            (
                "Premium, changing: Premium goes on from 10 December 2026, at its new price. "
                "Until then all stays as it is."
            ),
        ),
        (
            subscription(SubscriptionStatus.TRIALING, trial_end=LATER),
            "Premium, trial: Free trial until 5 January 2027. Then $39.00 a month, unless you cancel.",
        ),
        (
            subscription(SubscriptionStatus.TRIALING, trial_end=LATER, cancel_at=LATER),
            "Premium, trial ending: Your free trial ends on 5 January 2027, and nothing is charged.",
        ),
        (
            subscription(SubscriptionStatus.TRIALING, trial_end=LATER, next_plan="studio"),
            (
                "Premium, trial: Free trial until 5 January 2027. "
                "Changes to Studio on 10 December 2026, at its new price."
            ),
        ),
        (
            subscription(SubscriptionStatus.PAST_DUE),
            (
                "Premium, payment failed: The last payment did not go through. "
                "Until it is paid, you can use what is shown below."
            ),
        ),
        (
            subscription(SubscriptionStatus.INCOMPLETE),
            (
                "Free, not paid yet: Your first payment has not gone through yet, "
                "so nothing has begun and nothing renews."
            ),
        ),
        (
            subscription(SubscriptionStatus.CANCELED, ended_at=LATER),
            "Free, no subscription: Premium ended on 5 January 2027. You pay nothing, and nothing renews.",
        ),
    ],
)
def test_where_somebody_stands(bought: Subscription | None, told: str) -> None:
    assert words(bought) == told


@pytest.mark.parametrize("status", SubscriptionStatus)
def test_every_status_has_words_and_only_what_can_be_cancelled_offers_it(status: SubscriptionStatus) -> None:
    bought = subscription(status)
    found = standing(overview(bought), quota_of("free"), CATALOGUE, sells=True)
    assert all(sentence.endswith(".") for sentence in found.sentences)
    assert found.badge
    assert (found.cancel is not None) == bought.changeable
    leaving = standing(overview(replace(bought, cancel_at=LATER)), quota_of("free"), CATALOGUE, sells=True)
    assert leaving.cancel is None
    assert leaving.keep == ("Keep my plan" if bought.changeable else None)
    changing = standing(overview(replace(bought, next_plan="free")), quota_of("free"), CATALOGUE, sells=True)
    assert changing.keep == ("Undo the change" if bought.changeable else None)


def test_what_cancelling_does() -> None:
    def cancel(bought: Subscription) -> str | None:
        return standing(overview(bought), quota_of("free"), CATALOGUE, sells=True).cancel

    assert cancel(subscription()) == (
        "If you cancel, you keep Premium until 10 December 2026 and nothing more is charged. "
        "Your photos, clones and pictures stay."
    )
    assert cancel(subscription(SubscriptionStatus.TRIALING, trial_end=LATER)) == (
        "If you cancel, your trial goes on until 5 January 2027 and nothing is ever charged."
    )


def test_a_subscription_to_no_plan_of_ours_is_said_so() -> None:
    assert words(subscription(plan=None)).startswith("Your subscription, unknown plan: ")


def test_where_nothing_is_sold_nothing_is_said_of_paying() -> None:
    told = words(None, sells=False, plan="studio")
    assert (
        told == "Studio, included: This server sells nothing: everybody has the same plan, and nobody pays."
    )


# What is on offer


def card(name: str, who: Reader | None, catalogue: Catalogue = CATALOGUE) -> PlanCard:
    return next(one for one in cards(view(catalogue), who, catalogue) if one.name == name)


def test_a_year_is_compared_with_twelve_months() -> None:
    premium = card("premium", None)
    assert premium.tags["month"].amount == "$39.00"
    year = premium.tags["year"]
    assert (year.amount, year.per_month, year.saving) == ("$390.00", "$32.50", "$78.00")
    assert most_saved(cards(view(), None, CATALOGUE)) == 16
    assert has_choice(cards(view(), None, CATALOGUE))


def test_a_plan_sold_by_the_year_alone_has_one_price_whatever_is_chosen() -> None:
    shown = cards(view(DEAR_CATALOGUE), None, DEAR_CATALOGUE)
    atelier = card("atelier", None, DEAR_CATALOGUE)
    assert not has_choice(shown)
    assert most_saved(shown) == 0
    assert atelier.only == "year"
    assert atelier.tags["month"] == atelier.tags["year"]
    assert (atelier.tags["month"].amount, atelier.tags["month"].per_month) == ("¥120,000", "¥10,000")
    assert chosen_interval(DEAR_CATALOGUE, "atelier", "month") == "year"


def test_the_interval_asked_for_is_taken_where_there_is_a_price() -> None:
    assert chosen_interval(CATALOGUE, "premium", "year") == "year"
    assert chosen_interval(CATALOGUE, "premium", "decade") == "month"
    assert chosen_interval(CATALOGUE, "no such plan", "year") == "year"


@pytest.mark.parametrize(
    ("who", "premium", "studio"),
    [
        (None, {None}, {None}),
        (reader(), {"Upgrade to Premium"}, {"Upgrade to Studio"}),
        (reader(plan="premium"), {None}, {"Upgrade to Studio"}),
        (reader(subscription()), {None, "Pay by the year"}, {"Upgrade to Studio"}),
        (reader(subscription(interval="year")), {None, "Pay by the month"}, {"Upgrade to Studio"}),
        (reader(subscription(plan="studio")), {"Switch to Premium"}, {None, "Pay by the year"}),
        (
            reader(subscription(cancel_at=LATER)),
            {"Keep Premium", "Pay by the year"},
            {"Upgrade to Studio"},
        ),
        (
            reader(subscription(plan="studio", next_plan="premium")),
            {None},
            {"Keep Studio", "Pay by the year"},
        ),
    ],
)
def test_what_each_reader_can_do_with_each_plan(
    who: Reader | None, premium: set[str | None], studio: set[str | None]
) -> None:
    labels = {one.name: set(one.labels.values()) for one in cards(view(), who, CATALOGUE)}
    assert labels == {"free": set(), "premium": premium, "studio": studio}


def test_the_plan_that_one_has_is_marked() -> None:
    def marked(who: Reader | None) -> list[str]:
        return [one.name for one in cards(view(), who, CATALOGUE) if one.current]

    assert marked(None) == []
    assert marked(reader()) == ["free"]
    assert marked(reader(subscription())) == ["premium"]
    # A gift of the operator counts until something is bought.
    assert marked(reader(plan="studio")) == ["studio"]
    assert marked(reader(subscription(), plan="studio")) == ["premium"]


def test_a_trial_is_offered_once() -> None:
    def trial(who: Reader | None) -> tuple[int, str | None]:
        atelier = card("atelier", who, DEAR_CATALOGUE)
        return atelier.trial_days, atelier.labels["month"]

    assert trial(None) == (14, None)
    assert trial(reader()) == (14, "Try Atelier for 14 days")
    assert trial(reader(before=True)) == (0, "Upgrade to Atelier")


def test_the_largest_plan_has_no_way_up() -> None:
    assert with_a_way_up(CATALOGUE) == ["free", "premium"]
    assert with_a_way_up(replace(CATALOGUE, plans={"free": CATALOGUE.plans["free"]})) == []


# What happened to a quota


def test_the_ledger_is_told_newest_first() -> None:
    assert [line.text for line in history(ledger(), CATALOGUE, LATER, 20)] == [
        "1 clone not trained and given back",
        "3 of 4 images delivered, 1 given back",
        "-4 images set aside",
        "-1 clone set aside",
        "+10 clones granted by Premium",
        "+1,000 images granted by Premium",
    ]
    assert [line.text for line in history(ledger(), CATALOGUE, LATER, 2)] == [
        "1 clone not trained and given back",
        "3 of 4 images delivered, 1 given back",
    ]


def test_what_is_granted_for_a_month_to_come_is_told_when_it_begins() -> None:
    given = [*numbered([entry("grant", 234, period_start=ENDS)]), *ledger()]
    before, after = ENDS - timedelta(seconds=1), ENDS + timedelta(seconds=1)
    assert history(given, CATALOGUE, before, 20) == history(ledger(), CATALOGUE, before, 20)
    newest = history(given, CATALOGUE, after, 20)[0]
    assert (newest.text, newest.at) == ("+234 images granted by Premium", ENDS)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([entry("calendar", 30, plan="free")], ["+30 images for the month with Free"]),
        ([entry("opening", 7, plan="free")], ["+7 images left when counting began"]),
        ([entry("plan", -970, plan="free")], ["-970 images, as Free allows"]),
        ([entry("take_back", -333)], ["-333 images taken back from Premium"]),
        ([entry("end", -1)], ["-1 image, because Premium ended"]),
        # A period that was moved and gave nothing is no news.
        ([entry("grant", 0)], []),
        (
            [entry("settle", 0, "run:1"), entry("reserve", -1, "run:1")],
            ["1 image delivered", "-1 image set aside"],
        ),
        # The reservation is too old to be among them.
        ([entry("settle", 0, "run:1")], ["Images delivered"]),
        ([entry("settle", 2, "run:1")], ["2 images given back"]),
        # Between the two the limit fell below what was set aside: how many came cannot be told.
        (
            [entry("settle", 0, "run:1"), entry("end", -996), entry("reserve", -4, "run:1")],
            ["Images delivered", "-996 images, because Premium ended", "-4 images set aside"],
        ),
        # What happens to clones says nothing of images.
        (
            [
                entry("settle", 1, "run:1"),
                entry("end", -9, resource=Resource.CLONES),
                entry("reserve", -4, "run:1"),
            ],
            [
                "3 of 4 images delivered, 1 given back",
                "-9 clones, because Premium ended",
                "-4 images set aside",
            ],
        ),
    ],
)
def test_each_kind_of_entry(given: list[Any], told: list[str]) -> None:
    assert [line.text for line in history(numbered(given), CATALOGUE, LATER, 20)] == told


async def test_every_kind_of_the_ledger_has_words(owner: Connection) -> None:
    rule = await fetch_value(
        owner,
        "select pg_get_constraintdef(oid) from pg_constraint where conname = 'quota_usage_entry_check'",
        [],
    )
    kinds = re.findall(r"'(\w+)'", rule)
    assert len(kinds) == 8
    for kind in kinds:
        assert len(history([entry(kind, 5)], CATALOGUE, LATER, 20)) == 1


# Small words


@pytest.mark.parametrize(
    ("count", "told"), [(0, "0 images"), (1, "1 image"), (999, "999 images"), (1000, "1,000 images")]
)
def test_numbers_have_separators(count: int, told: str) -> None:
    assert wording.counted(count, "images") == told


@pytest.mark.parametrize(
    ("simulated", "told"),
    [
        (
            {"images": True, "prompts": True, "payments": True, "sells": True},
            (
                "trainings, images, enhanced prompts and payments are simulated on this machine: "
                "no money moves, and nothing leaves it."
            ),
        ),
        (
            {"images": True, "prompts": True, "payments": False, "sells": False},
            "trainings, images and enhanced prompts are simulated on this machine; nothing leaves it.",
        ),
        (
            {"images": True, "prompts": True, "payments": False, "sells": True},
            "trainings, images and enhanced prompts are simulated on this machine. Payments are real.",
        ),
        (
            {"images": False, "prompts": False, "payments": True, "sells": True},
            (
                "payments are simulated on this machine: no money moves. "
                "Trainings, images and enhanced prompts are real."
            ),
        ),
        ({"images": False, "prompts": False, "payments": False, "sells": True}, None),
    ],
)
def test_the_sandbox_says_what_is_simulated(simulated: dict[str, bool], told: str | None) -> None:
    note: Callable[..., str | None] = wording.sandbox_note
    assert note(**simulated) == told
