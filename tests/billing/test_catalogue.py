"""What is sold, and the arithmetic of months."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from math import ceil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visiona.billing.model import (
    MAX_AMOUNT,
    Account,
    Catalogue,
    Period,
    Plan,
    PlanFileError,
    Price,
    Resource,
    calendar_period,
    months_of,
    most_generous,
    part_of_month,
    plus_months,
    quota_exhausted,
    read_catalogue,
)
from visiona.bootstrap import load_catalogue
from visiona.core.money import smallest_units
from visiona.settings import Settings, SettingsError

OWN_FILE = """
currency = "jpy"
grace_days = 3

[plans.trial]
title = "Look around"
images = 5
clones = 1

[plans.club]
title = "Club"
summary = "For members."
features = ["Everything"]
images = 300
clones = 4
trial_days = 14

[[plans.club.prices]]
interval = "month"
amount = "3900"
lookup_key = "club_month"

[[plans.club.prices]]
interval = "year"
amount = 39000
lookup_key = "club_year"

[plans.founder]
title = "Founder"
images = 900
clones = 9
offered = false
prices = [{ interval = "month", amount = "9900", lookup_key = "founder_month" }]
"""


# Visiona's own plans


def test_our_own_file_sells_more_for_more() -> None:
    catalogue = read_catalogue()
    plans = list(catalogue)
    assert catalogue.base == plans[0].name == "free"
    assert plans[0].prices == ()
    assert [plan.name for plan in catalogue.on_sale()] == ["premium", "studio"]
    for smaller, larger in pairwise(plans):
        assert catalogue.rank(smaller.name) < catalogue.rank(larger.name)
        assert smaller.images < larger.images
        assert smaller.clones < larger.clones
    monthly = [_amount(plan, "month") for plan in catalogue.on_sale()]
    assert monthly == sorted(monthly)
    for plan in catalogue.on_sale():
        assert _amount(plan, "month") < _amount(plan, "year") < 12 * _amount(plan, "month")


def _amount(plan: Plan, interval: str) -> Decimal:
    price = plan.price("month" if interval == "month" else "year")
    assert price is not None
    return price.amount


# A file of one's own


def test_a_file_of_ones_own_is_read_whole() -> None:
    catalogue = read_catalogue(OWN_FILE)
    assert (catalogue.currency, catalogue.grace_days, catalogue.base) == ("jpy", 3, "trial")
    assert catalogue.plans["club"] == Plan(
        name="club",
        title="Club",
        images=300,
        clones=4,
        summary="For members.",
        features=("Everything",),
        prices=(
            Price("month", Decimal(3900), "club_month"),
            Price("year", Decimal(39000), "club_year"),
        ),
        trial_days=14,
    )
    assert catalogue.plans["club"].limit(Resource.IMAGES) == 300
    assert catalogue.plans["club"].limit(Resource.CLONES) == 4


def test_a_plan_that_is_not_offered_is_kept_and_not_sold() -> None:
    catalogue = read_catalogue(OWN_FILE)
    assert [plan.name for plan in catalogue.on_sale()] == ["club"]
    assert catalogue.find("founder").images == 900
    assert catalogue.by_lookup_key("founder_month") == catalogue.plans["founder"]


def test_another_plan_can_be_everybodys() -> None:
    assert read_catalogue(OWN_FILE, "founder").base == "founder"


@pytest.mark.parametrize("lookup_key", [None, "", "club", "CLUB_MONTH"])
def test_a_price_of_nobodys_belongs_to_no_plan(lookup_key: str | None) -> None:
    assert read_catalogue(OWN_FILE).by_lookup_key(lookup_key) is None


def test_a_plan_that_has_left_the_file_is_shown_and_allows_nothing_new() -> None:
    gone = read_catalogue(OWN_FILE).find("platinum")
    assert (gone.title, gone.images, gone.clones, gone.offered) == ("Platinum", 0, 0, False)


def test_what_is_no_plan_ranks_below_all() -> None:
    catalogue = read_catalogue(OWN_FILE)
    assert max([None, "trial", "platinum", "founder"], key=catalogue.rank) == "founder"
    assert catalogue.rank(None) == catalogue.rank("platinum") == -1


# What is refused


def _without_plans(_: str) -> str:
    return 'currency = "jpy"\n[plans]\n'


def _replaced(old: str, new: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new, 1)

    return change


AMOUNT = 'amount = "3900"'

REFUSALS: dict[str, tuple[Callable[[str], str], str]] = {
    "no TOML": (_replaced('"jpy"', "jpy"), "cannot be read: Invalid value"),
    "a line twice": (_replaced("images = 5", "images = 5\nimages = 6"), "cannot be read: Cannot overwrite"),
    "a plan twice": (_replaced("[plans.founder]", "[plans.trial]"), "cannot be read: Cannot declare"),
    "no plans": (_without_plans, "has no plans"),
    "no currency": (_replaced('currency = "jpy"', ""), "missing required field `currency`"),
    "currency in capitals": (_replaced('"jpy"', '"JPY"'), "`$.currency`"),
    "grace without end": (_replaced("grace_days = 3", "grace_days = 61"), "`$.grace_days`"),
    "unknown setting": (_replaced("grace_days", "grace_hours"), "unknown field `grace_hours`"),
    "unknown setting of a plan": (
        _replaced("clones = 1", "clones = 1\nvideos = 1"),
        "unknown field `videos`",
    ),
    "unknown setting of a price": (_replaced(AMOUNT, f"{AMOUNT}\ntax = 1"), "unknown field `tax`"),
    "name in capitals": (_replaced("[plans.trial]", "[plans.Trial]"), "`key` in `$.plans`"),
    "name too long": (_replaced("[plans.trial]", f"[plans.{'x' * 41}]"), "`key` in `$.plans`"),
    "no title": (_replaced('title = "Club"', ""), "missing required field `title`"),
    "empty title": (_replaced('title = "Club"', 'title = ""'), "title`"),
    "no limit": (_replaced("images = 300", ""), "missing required field `images`"),
    "negative limit": (_replaced("images = 300", "images = -1"), "images`"),
    "limit as text": (_replaced("images = 300", 'images = "300"'), "Expected `int`, got `str`"),
    "part of an image": (_replaced("images = 300", "images = 300.5"), "Expected `int`, got `float`"),
    "limit without measure": (_replaced("images = 300", "images = 1000001"), "images`"),
    "trial before it begins": (_replaced("trial_days = 14", "trial_days = -1"), "trial_days`"),
    "price for everybody": (
        _replaced("images = 5", 'images = 5\nprices = [{interval="month", amount="1", lookup_key="t"}]'),
        "everybody's: it cannot have prices",
    ),
    "interval of a week": (_replaced('interval = "month"', 'interval = "week"'), "'week'"),
    "two prices for a month": (_replaced('interval = "year"', 'interval = "month"'), "club has two prices"),
    "one lookup key twice": (_replaced("club_year", "club_month"), "same lookup_key"),
    "one lookup key for two plans": (_replaced("founder_month", "club_month"), "same lookup_key"),
    "lookup key with a space": (_replaced("club_month", "club month"), "lookup_key`"),
    "no lookup key": (_replaced('lookup_key = "club_month"', ""), "missing required field `lookup_key`"),
    "for nothing": (_replaced(AMOUNT, 'amount = "0"'), "0 is not an amount of JPY to ask for club"),
    "money back": (_replaced(AMOUNT, 'amount = "-1"'), "-1 is not an amount of JPY to ask for club"),
    "half a yen": (_replaced(AMOUNT, 'amount = "0.5"'), "0.5 is not an amount of JPY to ask for club"),
    "more than can be asked": (_replaced(AMOUNT, f'amount = "{MAX_AMOUNT + 1}"'), "not an amount of JPY"),
    "more than can be counted": (_replaced(AMOUNT, 'amount = "1e999999999"'), "not an amount of JPY"),
    "infinite": (_replaced(AMOUNT, 'amount = "Infinity"'), "Infinity is not an amount of JPY"),
    "no number": (_replaced(AMOUNT, 'amount = "NaN"'), "NaN is not an amount of JPY"),
    "a word": (_replaced(AMOUNT, 'amount = "much"'), "Invalid decimal string"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_file_that_cannot_be_meant_is_refused(name: str) -> None:
    change, message = REFUSALS[name]
    with pytest.raises(PlanFileError) as refused:
        read_catalogue(change(OWN_FILE))
    assert message in str(refused.value)


def test_a_base_that_is_not_there_is_refused() -> None:
    with pytest.raises(PlanFileError, match="no plan 'gold' in the plan file, only trial, club, founder"):
        read_catalogue(OWN_FILE, "gold")


def test_an_amount_with_cents_suits_its_currency() -> None:
    cents = OWN_FILE.replace('"jpy"', '"eur"').replace(AMOUNT, 'amount = "39.90"')
    assert _amount(read_catalogue(cents).plans["club"], "month") == Decimal("39.90")
    with pytest.raises(PlanFileError, match=r"39.90 is not an amount of JPY"):
        read_catalogue(OWN_FILE.replace(AMOUNT, 'amount = "39.90"'))
    with pytest.raises(PlanFileError, match=r"39.905 is not an amount of KWD"):
        read_catalogue(OWN_FILE.replace('"jpy"', '"kwd"').replace(AMOUNT, 'amount = "39.905"'))


@given(st.decimals(allow_nan=True, allow_infinity=True), st.sampled_from(["usd", "jpy", "kwd"]))
def test_an_amount_is_asked_exactly_or_not_at_all(amount: Decimal, currency: str) -> None:
    text = OWN_FILE.replace('"jpy"', f'"{currency}"').replace(AMOUNT, f'amount = "{amount}"')
    try:
        catalogue = read_catalogue(text)
    except PlanFileError:
        return
    price = catalogue.plans["club"].price("month")
    assert price is not None
    units = smallest_units(price.amount, currency)
    assert units is not None
    assert 0 < units <= MAX_AMOUNT


# Settings


def _settings(**values: object) -> Settings:
    return Settings(secret_key="x" * 32, **values)  # type: ignore[arg-type] # the settings of each test


def test_settings_name_the_file_and_the_plan_of_everybody(tmp_path: Path) -> None:
    file = tmp_path / "plans.toml"
    file.write_text(OWN_FILE, encoding="utf-8")
    assert load_catalogue(_settings(plans_file=file)) == read_catalogue(OWN_FILE)
    assert load_catalogue(_settings(plans_file=file, default_plan="club")).base == "club"
    assert load_catalogue(_settings()) == read_catalogue()


def test_without_billing_everybody_has_the_largest_plan_or_the_one_that_is_named() -> None:
    assert load_catalogue(_settings(billing=False)).base == "studio"
    assert load_catalogue(_settings(billing=False, default_plan="premium")).base == "premium"


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"currency ="])
def test_settings_with_a_file_that_cannot_be_used_are_refused(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "plans.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError, match="The plans cannot be used: "):
        load_catalogue(_settings(plans_file=file))


def test_settings_with_an_unknown_plan_are_refused() -> None:
    with pytest.raises(SettingsError, match="There is no plan 'gold' in the plan file"):
        load_catalogue(_settings(default_plan="gold"))


# Months


INSTANTS = st.datetimes(datetime(1971, 1, 1), datetime(2900, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds are naive there


@pytest.mark.parametrize(
    ("anchor", "months", "expected"),
    [
        ("2026-01-15", 1, "2026-02-15"),
        ("2026-01-31", 1, "2026-02-28"),
        ("2028-01-31", 1, "2028-02-29"),
        ("2026-01-31", 2, "2026-03-31"),
        ("2026-01-31", 3, "2026-04-30"),
        ("2026-12-31", 1, "2027-01-31"),
        ("2028-02-29", 12, "2029-02-28"),
        ("2028-02-29", 48, "2032-02-29"),
        ("2026-03-31", -1, "2026-02-28"),
        ("2026-11-30", 15, "2028-02-29"),
    ],
)
def test_some_months_later(anchor: str, months: int, expected: str) -> None:
    start = datetime.fromisoformat(f"{anchor}T22:30:00+00:00")
    assert plus_months(start, months) == datetime.fromisoformat(f"{expected}T22:30:00+00:00")


@given(INSTANTS, st.integers(0, 240))
def test_months_later_keep_day_and_hour_as_far_as_they_can(anchor: datetime, months: int) -> None:
    later = plus_months(anchor, months)
    assert (later.year * 12 + later.month) - (anchor.year * 12 + anchor.month) == months
    assert later.time() == anchor.time()
    assert later.day == anchor.day or (later.day < anchor.day and (later + timedelta(days=1)).day == 1)


@given(INSTANTS, st.timedeltas(timedelta(seconds=1), timedelta(days=800)))
def test_months_of_a_period_lie_end_to_end(start: datetime, length: timedelta) -> None:
    months = months_of(Period(start, start + length))
    assert months[0].start == start
    assert months[-1].end == start + length
    for one, following in pairwise(months):
        assert one.end == following.start
    for number, one in enumerate(months):
        assert one.start == plus_months(start, number)
        assert timedelta(0) < one.end - one.start < timedelta(days=35)


@given(st.sampled_from([1, 15, 28, 29, 30, 31]), st.integers(0, 60), st.sampled_from([1, 12]))
def test_a_billing_period_is_as_many_months_as_were_paid_for(day: int, since: int, paid: int) -> None:
    """Stripe's periods keep the day of the first: from the 31st to the 28th to the 31st."""
    anchor = datetime(1971, 1, day, 9, 41, 12, tzinfo=UTC)
    period = Period(plus_months(anchor, since), plus_months(anchor, since + paid))
    assert len(months_of(period)) == paid


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ("2026-01-31", "2026-02-28", ["2026-01-31"]),
        ("2026-02-28", "2026-03-31", ["2026-02-28"]),  # whoever subscribed on a 31st
        ("2028-02-29", "2028-03-31", ["2028-02-29"]),
        ("2026-11-23", "2026-12-23", ["2026-11-23"]),
        ("2026-11-23", "2026-11-30", ["2026-11-23"]),
        ("2026-11-23", "2027-01-10", ["2026-11-23", "2026-12-23"]),
    ],
)
def test_months_of_periods_that_there_are(start: str, end: str, expected: list[str]) -> None:
    period = Period(*(datetime.fromisoformat(f"{day}T08:00:00+00:00") for day in (start, end)))
    assert [f"{month.start:%Y-%m-%d}" for month in months_of(period)] == expected
    assert months_of(period)[-1].end == period.end


def test_months_of_a_year_that_begins_on_a_leap_day() -> None:
    start = datetime(2028, 2, 29, 12, tzinfo=UTC)
    months = months_of(Period(start, plus_months(start, 12)))
    assert [month.start.day for month in months] == [29] * 12
    assert months[-1].end == datetime(2029, 2, 28, 12, tzinfo=UTC)


def test_an_empty_period_has_no_months() -> None:
    now = datetime(2026, 11, 23, tzinfo=UTC)
    assert months_of(Period(now, now)) == []


@given(INSTANTS, st.integers(0, 1_000_000))
def test_a_calendar_month_is_one_month(now: datetime, microseconds: int) -> None:
    period = calendar_period(now)
    assert months_of(period) == [period]
    assert (period.start + timedelta(microseconds=microseconds)) in period
    assert period.end not in period


# Parts of a month


@given(st.integers(0, 1_000_000), st.integers(0, 400))
def test_whole_days_are_thirtieths_rounded_up(limit: int, days: int) -> None:
    expected = min(limit, ceil(Fraction(limit * days, 30)))
    assert part_of_month(limit, timedelta(days=days)) == expected


@given(st.integers(0, 1_000_000), st.timedeltas(timedelta(days=-40), timedelta(days=800)))
def test_a_part_is_never_more_than_the_whole(limit: int, length: timedelta) -> None:
    part = part_of_month(limit, length)
    assert 0 <= part <= limit
    assert part_of_month(limit, length + timedelta(days=1)) >= part
    if length <= timedelta(0):
        assert part == 0
    elif limit > 0:
        assert part > 0
    if length >= timedelta(days=30):
        assert part == limit


# What counts, and what is said when it is used up


NOVEMBER = Period(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))
PAID = Period(datetime(2026, 11, 20, tzinfo=UTC), datetime(2026, 12, 20, tzinfo=UTC))


@pytest.mark.parametrize(
    ("entitled", "counts"),
    [((30, 1000), "premium"), ((30, 10), "free"), ((30, 30), "premium")],
)
def test_what_entitles_to_most_counts(entitled: tuple[int, int], counts: str) -> None:
    accounts = [
        Account(NOVEMBER, "free", None, entitled[0], 0),
        Account(PAID, "premium", "sub_1", entitled[1], entitled[1]),
    ]
    for order in (accounts, accounts[::-1]):
        assert most_generous(order).plan == counts


@pytest.mark.parametrize(
    ("account", "detail"),
    [
        (
            Account(NOVEMBER, "free", None, 30, 30),
            "Your images are used up. New ones come on 1 December; a larger plan gives you more now.",
        ),
        (
            Account(PAID, "premium", "sub_1", 4000, 3998),
            (
                "Only 2 images left on your plan. New ones come on 20 December; "
                "a larger plan gives you more now."
            ),
        ),
        (
            Account(PAID, "studio", "sub_1", 4001, 4000),
            "Only 1 image left on your plan. New ones come on 20 December.",
        ),
        (
            Account(PAID, "studio", "sub_1", 4000, 1000),
            "Only 3,000 images left on your plan. New ones come on 20 December.",
        ),
        (Account(PAID, "studio", "sub_1", 10, 60), "Your images are used up. New ones come on 20 December."),
    ],
)
def test_a_refusal_says_what_is_left_and_what_helps(account: Account, detail: str) -> None:
    refusal = quota_exhausted(Resource.IMAGES, account, larger_plan=account.plan != "studio")
    assert (refusal.code, refusal.detail) == ("quota_exhausted", detail)


@pytest.mark.parametrize(
    ("used", "entitled", "expected"), [(0, 30, 30), (40, 30, 40), (30, 30, 30), (0, 0, 0)]
)
def test_what_is_granted_is_never_below_what_was_used(used: int, entitled: int, expected: int) -> None:
    assert Account(NOVEMBER, "free", None, entitled, used).granted == expected


def test_a_catalogue_iterates_from_the_smallest_plan() -> None:
    catalogue: Catalogue = read_catalogue(OWN_FILE)
    assert [plan.name for plan in catalogue] == ["trial", "club", "founder"]
