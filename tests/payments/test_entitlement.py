"""What an account at the payment service entitles to: one example for each rule, and some properties."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visiona.billing.model import Catalogue, Resource, Window, read_catalogue
from visiona.payments.model import look_again_at, payment_state, subscription_of, windows
from visiona.ports.payments import (
    ChargeReport,
    CustomerReport,
    InvoiceLine,
    InvoiceReport,
    InvoiceStatus,
    PendingProration,
    PriceReport,
    SubscriptionReport,
    SubscriptionStatus,
)

CATALOGUE = read_catalogue()
START = datetime(2026, 11, 23, 15, 4, 5, tzinfo=UTC)
END = datetime(2026, 12, 23, 15, 4, 5, tzinfo=UTC)
YEAR_END = datetime(2027, 11, 23, 15, 4, 5, tzinfo=UTC)
MIDDLE = datetime(2026, 12, 8, 15, 4, 5, tzinfo=UTC)

PREMIUM = PriceReport("price_p", "visiona_premium_month", "premium", 3900, "usd", "month")
PREMIUM_YEAR = PriceReport("price_py", "visiona_premium_year", "premium", 39000, "usd", "year")
STUDIO = PriceReport("price_s", "visiona_studio_month", "studio", 12900, "usd", "month")


def subscription(**changes: Any) -> SubscriptionReport:
    usual = SubscriptionReport(
        id="sub_1",
        status=SubscriptionStatus.ACTIVE,
        item_id="si_1",
        price=PREMIUM,
        period_start=START,
        period_end=END,
        created_at=START,
    )
    return replace(usual, **changes)


def line(price: PriceReport, amount: int, start: datetime, end: datetime, *, proration: bool) -> InvoiceLine:
    return InvoiceLine(price, amount, proration, start, end)


def invoice(number: int, *lines: InvoiceLine, **changes: Any) -> InvoiceReport:
    total = sum(one.amount for one in lines)
    usual = InvoiceReport(
        id=f"in_{number}",
        number=f"A-{number}",
        status=InvoiceStatus.PAID,
        subscription_id="sub_1",
        reason="subscription_cycle",
        currency="usd",
        total=total,
        amount_paid=max(total, 0),
        amount_remaining=0,
        created_at=START + timedelta(hours=number),
        paid_at=START,
        next_attempt_at=None,
        lines=lines,
        payment_ids=(f"pi_{number}",),
    )
    return replace(usual, **changes)


def base(
    price: PriceReport = PREMIUM, start: datetime = START, end: datetime = END, **changes: Any
) -> InvoiceReport:
    return invoice(1, line(price, price.amount, start, end, proration=False), **changes)


def upgrade(net: int = 4500, number: int = 2, **changes: Any) -> InvoiceReport:
    credit = line(PREMIUM, -1950, MIDDLE, END, proration=True)
    return invoice(number, credit, line(STUDIO, 1950 + net, MIDDLE, END, proration=True), **changes)


def downgrade(number: int = 2, **changes: Any) -> InvoiceReport:
    credit = line(STUDIO, -6450, MIDDLE, END, proration=True)
    return invoice(number, credit, line(PREMIUM, 1950, MIDDLE, END, proration=True), **changes)


def charge(number: int, amount: int, *, refunded: int = 0, disputed: int = 0) -> ChargeReport:
    return ChargeReport(
        id=f"ch_{number}",
        payment_id=f"pi_{number}",
        status="succeeded",
        amount=amount,
        refunded=refunded,
        disputed=disputed,
        currency="usd",
        created_at=START,
    )


def account(
    *subscriptions: SubscriptionReport,
    invoices: tuple[InvoiceReport, ...] = (),
    charges: tuple[ChargeReport, ...] = (),
    pending: tuple[PendingProration, ...] = (),
) -> CustomerReport:
    return CustomerReport(
        customer_id="cus_1",
        deleted=False,
        subscriptions=subscriptions,
        invoices=invoices,
        charges=charges,
        pending=pending,
    )


def at(
    report: CustomerReport, instant: datetime, catalogue: Catalogue = CATALOGUE
) -> tuple[str, int, int] | None:
    """(plan, images, clones) that may be used at that moment."""
    covering = [window for window in windows(report, catalogue) if instant in window.period]
    assert len(covering) <= 1, "periods of one subscription do not overlap"
    return None if not covering else _facts(covering[0])


def _facts(window: Window) -> tuple[str, int, int]:
    return window.plan, window.entitled[Resource.IMAGES], window.entitled[Resource.CLONES]


def test_a_paid_period_entitles_to_what_was_paid_for() -> None:
    report = account(subscription(), invoices=(base(),))
    assert at(report, START - timedelta(seconds=1)) is None
    assert at(report, START) == ("premium", 1000, 10)
    assert at(report, END - timedelta(seconds=1)) == ("premium", 1000, 10)


def test_a_renewal_not_heard_of_entitles_to_the_days_of_grace_and_then_lapses() -> None:
    report = account(subscription(), invoices=(base(),))
    assert at(report, END) == ("premium", 234, 3)  # 7 of 30 days, rounded up
    assert at(report, END + timedelta(days=7) - timedelta(seconds=1)) == ("premium", 234, 3)
    assert at(report, END + timedelta(days=7)) is None


@pytest.mark.parametrize("status", [SubscriptionStatus.ACTIVE, SubscriptionStatus.PAST_DUE])
@pytest.mark.parametrize("state", [InvoiceStatus.DRAFT, InvoiceStatus.OPEN, InvoiceStatus.VOID])
def test_a_period_whose_invoice_is_not_paid_has_grace_only(
    status: SubscriptionStatus, state: InvoiceStatus
) -> None:
    report = account(subscription(status=status), invoices=(base(status=state),))
    assert at(report, START) == ("premium", 234, 3)
    assert at(report, START + timedelta(days=7)) is None
    assert at(report, END) is None


def test_without_grace_an_unpaid_period_entitles_to_nothing() -> None:
    strict = replace(CATALOGUE, grace_days=0)
    assert windows(account(subscription(), invoices=(base(status=InvoiceStatus.OPEN),)), strict) == []
    paid = windows(account(subscription(), invoices=(base(),)), strict)
    assert [_facts(window) for window in paid] == [("premium", 1000, 10)]


@pytest.mark.parametrize("status", sorted(set(SubscriptionStatus) - {"active", "trialing", "past_due"}))
def test_other_states_entitle_to_nothing(status: SubscriptionStatus) -> None:
    assert windows(account(subscription(status=status), invoices=(base(),)), CATALOGUE) == []


def test_a_price_of_no_plan_entitles_to_nothing() -> None:
    strange = replace(PREMIUM, plan=None, lookup_key="something_else")
    assert windows(account(subscription(price=strange), invoices=(base(),)), CATALOGUE) == []


def test_a_price_made_by_hand_is_known_by_its_lookup_key() -> None:
    by_hand = replace(STUDIO, plan=None)
    report = account(subscription(price=by_hand), invoices=(base(by_hand),))
    assert at(report, START) == ("studio", 4000, 40)


def test_a_trial_entitles_by_its_length() -> None:
    trial_end = START + timedelta(days=14)
    trial = subscription(status=SubscriptionStatus.TRIALING, period_end=trial_end, trial_end=trial_end)
    report = account(trial, invoices=(invoice(1, line(PREMIUM, 0, START, trial_end, proration=False)),))
    assert at(report, START) == ("premium", 467, 5)
    assert at(report, trial_end) == ("premium", 234, 3)


def test_a_free_first_period_counts_as_paid() -> None:
    voucher = base(total=0, amount_paid=0, payment_ids=())
    assert at(account(subscription(), invoices=(voucher,)), START) == ("premium", 1000, 10)


def test_who_ends_at_the_end_of_the_period_has_no_grace_after_it() -> None:
    report = account(subscription(cancel_at=END), invoices=(base(),))
    assert at(report, END - timedelta(seconds=1)) == ("premium", 1000, 10)
    assert at(report, END) is None


def test_an_upgrade_counts_at_once_when_it_is_paid() -> None:
    changed = subscription(price=STUDIO)
    paid = account(changed, invoices=(base(), upgrade()))
    assert at(paid, MIDDLE) == ("studio", 2500, 25)  # half a month of each
    unpaid = account(changed, invoices=(base(), upgrade(status=InvoiceStatus.OPEN)))
    assert at(unpaid, MIDDLE) == ("premium", 1000, 10)


def test_the_larger_plan_for_the_last_hour_is_an_hours_part_of_it() -> None:
    late = END - timedelta(hours=1)
    credit = line(PREMIUM, -5, late, END, proration=True)
    bought = invoice(2, credit, line(STUDIO, 17, late, END, proration=True))
    report = account(subscription(price=STUDIO), invoices=(base(), bought))
    assert at(report, late) == ("studio", 1005, 11)


def test_an_upgrade_within_a_year_counts_wholly_in_the_months_after_it() -> None:
    studio_year = replace(STUDIO, amount=129000, interval="year")
    middle = datetime(2027, 2, 8, 3, 4, 5, tzinfo=UTC)  # of the third month, 23 January to 23 February
    bought = invoice(
        2,
        line(PREMIUM_YEAR, -30000, middle, YEAR_END, proration=True),
        line(studio_year, 100000, middle, YEAR_END, proration=True),
    )
    report = account(
        subscription(price=studio_year, period_end=YEAR_END),
        invoices=(base(PREMIUM_YEAR, START, YEAR_END), bought),
    )
    found = {
        window.period.start.month: window.entitled[Resource.IMAGES] for window in windows(report, CATALOGUE)
    }
    assert (found[12], found[1], found[2], found[3]) == (1000, 2500, 4000, 4000)


def test_a_failed_upgrade_does_not_cost_what_was_paid_before() -> None:
    changed = subscription(price=STUDIO, status=SubscriptionStatus.PAST_DUE)
    report = account(changed, invoices=(base(), upgrade(status=InvoiceStatus.OPEN)))
    assert at(report, MIDDLE) == ("premium", 1000, 10)
    assert at(report, END) is None


def test_a_downgrade_put_off_to_the_end_changes_the_next_period() -> None:
    put_off = subscription(price=STUDIO, next_price=PREMIUM)
    report = account(put_off, invoices=(base(STUDIO),))
    assert at(report, END - timedelta(seconds=1)) == ("studio", 4000, 40)
    assert at(report, END) == ("premium", 234, 3)


def test_a_downgrade_without_credit_keeps_what_was_paid_for() -> None:
    report = account(subscription(price=PREMIUM), invoices=(base(STUDIO),))
    assert at(report, MIDDLE) == ("studio", 4000, 40)


def test_a_downgrade_with_credit_keeps_the_part_that_stays_paid() -> None:
    # 45.00 of 129.00 came back: 84/129 of the images stay.
    report = account(subscription(price=PREMIUM), invoices=(base(STUDIO), downgrade()))
    assert at(report, MIDDLE) == ("studio", 2605, 27)
    waiting = account(
        subscription(price=PREMIUM), invoices=(base(STUDIO),), pending=(PendingProration("sub_1", -4500),)
    )
    assert at(waiting, MIDDLE) == ("studio", 2605, 27)


def test_credit_that_was_spent_on_going_up_again_is_no_credit() -> None:
    again = upgrade(net=4500, number=3)
    report = account(subscription(price=STUDIO), invoices=(base(STUDIO), downgrade(), again))
    assert at(report, MIDDLE) == ("studio", 4000, 40)


@pytest.mark.parametrize(
    ("refunded", "disputed", "images", "clones"),
    [
        (0, 0, 1000, 10),
        (1300, 0, 667, 7),
        (0, 1950, 500, 5),
        (1300, 1300, 334, 4),
        (3900, 0, 0, 0),
        (2000, 3900, 0, 0),
    ],
)
def test_money_that_went_back_takes_its_share(refunded: int, disputed: int, images: int, clones: int) -> None:
    paid = charge(1, 3900, refunded=refunded, disputed=disputed)
    report = account(subscription(), invoices=(base(),), charges=(paid,))
    assert at(report, START) == ("premium", images, clones)


def test_a_refund_of_another_period_takes_nothing_from_this_one() -> None:
    before = invoice(7, line(PREMIUM, 3900, START - timedelta(days=30), START, proration=False))
    report = account(
        subscription(), invoices=(base(), before), charges=(charge(1, 3900), charge(7, 3900, refunded=3900))
    )
    assert at(report, START) == ("premium", 1000, 10)


def test_a_year_is_cut_into_months() -> None:
    report = account(
        subscription(price=PREMIUM_YEAR, period_end=YEAR_END),
        invoices=(base(PREMIUM_YEAR, START, YEAR_END),),
        charges=(charge(1, 39000, refunded=19500),),
    )
    found = windows(report, CATALOGUE)
    assert len(found) == 13  # twelve months, and the grace after them
    assert [window.period.start.day for window in found] == [23] * 13
    assert {window.entitled[Resource.IMAGES] for window in found[:12]} == {500}
    assert found[11].period.end == YEAR_END == found[12].period.start


def test_a_period_that_begins_with_a_month_is_not_that_month() -> None:
    first = datetime(2026, 12, 1, tzinfo=UTC)
    end = datetime(2027, 1, 1, tzinfo=UTC)
    report = account(subscription(period_start=first, period_end=end), invoices=(base(PREMIUM, first, end),))
    starts = [window.period.start for window in windows(report, CATALOGUE)]
    assert starts == [first + timedelta(microseconds=1), end + timedelta(microseconds=1)]


def test_of_two_subscriptions_both_entitle() -> None:
    other = subscription(
        id="sub_2", price=STUDIO, period_start=MIDDLE, period_end=MIDDLE + timedelta(days=31)
    )
    bought = base(
        STUDIO, MIDDLE, MIDDLE + timedelta(days=31), id="in_9", subscription_id="sub_2", payment_ids=()
    )
    found = windows(account(subscription(), other, invoices=(base(), bought)), CATALOGUE)
    assert {window.subscription_id for window in found} == {"sub_1", "sub_2"}


@given(
    refunds=st.lists(st.integers(0, 3900), min_size=2, max_size=5),
    status=st.sampled_from([SubscriptionStatus.ACTIVE, SubscriptionStatus.PAST_DUE]),
)
def test_more_money_back_never_entitles_to_more(refunds: list[int], status: SubscriptionStatus) -> None:
    entitled = []
    for refunded in sorted(refunds):
        paid = (charge(1, 3900, refunded=refunded),)
        found = at(account(subscription(status=status), invoices=(base(),), charges=paid), START)
        assert found is not None
        entitled.append(found[1])
        assert found[1] * 3900 >= 1000 * (3900 - refunded)  # rounded in favour of who paid
    assert entitled == sorted(entitled, reverse=True)


@given(st.permutations(range(4)))
def test_the_order_in_which_things_are_listed_does_not_matter(order: list[int]) -> None:
    invoices = (base(STUDIO), downgrade(), upgrade(number=3), downgrade(number=4))
    report = account(subscription(price=PREMIUM), invoices=tuple(invoices[n] for n in order))
    assert windows(report, CATALOGUE) == windows(
        account(subscription(price=PREMIUM), invoices=invoices), CATALOGUE
    )


def test_an_account_is_read_again_when_a_period_ends_and_daily() -> None:
    mirrored = subscription_of(subscription(), CATALOGUE)
    assert look_again_at([mirrored], None, START) == START + timedelta(hours=24)
    late = END - timedelta(hours=2)
    assert look_again_at([mirrored], None, late) == END + timedelta(minutes=5)
    assert look_again_at([mirrored], None, END + timedelta(hours=1)) == END + timedelta(hours=2)
    assert look_again_at([], None, START) == START + timedelta(hours=24)


@pytest.mark.parametrize(
    ("paid", "state"),
    [
        (charge(1, 3900), "succeeded"),
        (charge(1, 3900, refunded=100), "partially_refunded"),
        (charge(1, 3900, refunded=3900), "refunded"),
        (charge(1, 3900, disputed=3900), "disputed"),
        (replace(charge(1, 3900), status="failed"), "failed"),
        (replace(charge(1, 3900), status="pending"), "pending"),
    ],
)
def test_a_payment_is_recorded_by_what_became_of_it(paid: ChargeReport, state: str) -> None:
    assert payment_state(paid) == state
