"""What a customer's account at Stripe is reported as: above all what the sandbox does not bring about."""

import asyncio
import json
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from visiona.adapters.stripe import StripeConfig, StripePayments
from visiona.ports.errors import ProviderNotFound, ProviderUnavailable
from visiona.ports.payments import (
    ChargeReport,
    CustomerReport,
    InvoiceStatus,
    PendingProration,
    PriceReport,
    SubscriptionReport,
    SubscriptionStatus,
)

JANUARY, FEBRUARY, MARCH = 1_767_225_600, 1_769_904_000, 1_772_323_200
Json = dict[str, Any]


def at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def a_list(*data: Json, more: bool = False) -> Json:
    return {"object": "list", "data": list(data), "has_more": more, "url": "/v1/x"}


def a_price(name: str, amount: int | None = 1500, *, plan: str | None = "premium", **changes: Any) -> Json:
    price = {
        "id": f"price_{name}",
        "object": "price",
        "active": True,
        "currency": "usd",
        "product": "visiona_premium",
        "unit_amount": amount,
        "unit_amount_decimal": None if amount is None else str(amount),
        "recurring": {"interval": "month", "interval_count": 1},
        "lookup_key": None,
        "metadata": {} if plan is None else {"visiona_plan": plan},
    }
    return price | changes


PREMIUM = a_price("premium", lookup_key="visiona_premium_month")
FOREIGN = a_price("foreign", 99_900, plan=None)


def an_item(name: str, price: Json, start: int = JANUARY, end: int = FEBRUARY) -> Json:
    return {
        "id": f"si_{name}",
        "object": "subscription_item",
        "price": price,
        "current_period_start": start,
        "current_period_end": end,
    }


def a_subscription(*items: Json, **changes: Any) -> Json:
    subscription = {
        "id": "sub_1",
        "object": "subscription",
        "status": "active",
        "created": JANUARY,
        "items": a_list(*(items or (an_item("1", PREMIUM),))),
        "cancel_at": None,
        "cancel_at_period_end": False,
        "ended_at": None,
        "trial_end": None,
        "schedule": None,
    }
    return subscription | changes


def a_schedule(*phases: tuple[int, list[Any]], current_end: int | None = FEBRUARY) -> Json:
    return {
        "id": "sub_sched_1",
        "object": "subscription_schedule",
        "status": "active",
        "current_phase": None if current_end is None else {"start_date": JANUARY, "end_date": current_end},
        "phases": [
            {"start_date": start, "end_date": start + 1, "items": [{"price": price} for price in prices]}
            for start, prices in phases
        ],
    }


def a_line(amount: int = 1500, price: Any = "price_premium", **changes: Any) -> Json:
    details = {"subscription": "sub_1", "subscription_item": "si_1", "proration": False}
    line = {
        "id": f"il_{amount}",
        "object": "line_item",
        "amount": amount,
        "period": {"start": JANUARY, "end": FEBRUARY},
        "parent": {"type": "subscription_item_details", "subscription_item_details": details},
        "pricing": {"type": "price_details", "price_details": {"price": price, "product": "visiona_premium"}},
    }
    return line | changes


def a_payment(intent: Any) -> Json:
    return {
        "id": f"inpay_{intent}",
        "object": "invoice_payment",
        "status": "paid",
        "payment": {"type": "payment_intent", "payment_intent": intent},
    }


def an_invoice(*lines: Json, **changes: Any) -> Json:
    invoice = {
        "id": "in_1",
        "object": "invoice",
        "number": "ABC-0001",
        "status": "paid",
        "billing_reason": "subscription_create",
        "currency": "usd",
        "total": 1500,
        "amount_due": 1500,
        "amount_paid": 1500,
        "amount_remaining": 0,
        "created": JANUARY,
        "next_payment_attempt": None,
        "status_transitions": {"paid_at": JANUARY + 5},
        "parent": {
            "type": "subscription_details",
            "subscription_details": {"subscription": "sub_1", "metadata": {}},
        },
        "lines": a_list(*(lines or (a_line(),))),
        "payments": a_list(a_payment("pi_1")),
    }
    return invoice | changes


def a_charge(name: str = "1", **changes: Any) -> Json:
    charge = {
        "id": f"ch_{name}",
        "object": "charge",
        "status": "succeeded",
        "amount": 1500,
        "amount_refunded": 0,
        "currency": "usd",
        "created": JANUARY,
        "disputed": False,
        "payment_intent": "pi_1",
    }
    return charge | changes


class Books:
    """Answers by path. A list is answered a page of `page_size` at a time."""

    def __init__(self, server: Any) -> None:
        self.server = server
        self.page_size = 100
        self.answers: dict[str, Any] = {
            "/v1/customers/cus_1": {"id": "cus_1", "object": "customer"},
            "/v1/subscriptions": [],
            "/v1/invoices": [],
            "/v1/charges": [],
            "/v1/invoiceitems": [],
            "/v1/prices/price_premium": PREMIUM,
            "/v1/invoices/create_preview": {"object": "invoice", "amount_due": 1500},
        }
        server.answers = [self.answer]

    async def answer(self, exchange: Any, writer: asyncio.StreamWriter) -> None:
        url = urlsplit(exchange.target)
        found = self.answers.get(url.path)
        status = 200
        if found is None:
            missing = {"type": "invalid_request_error", "code": "resource_missing", "param": "id"}
            status, found = 404, {"error": missing}
        elif isinstance(found, int):
            status, found = found, {"error": {"type": "api_error"}}
        elif isinstance(found, list):
            found = self.page(found, parse_qs(url.query))
        reply = self.server.reply(status, json.dumps(found).encode(), "application/json")
        await reply(exchange, writer)

    def page(self, entries: list[Json], query: dict[str, list[str]]) -> Json:
        after = query.get("starting_after", [""])[0]
        ids = [entry["id"] for entry in entries]
        start = ids.index(after) + 1 if after else 0
        shown = entries[start : start + self.page_size]
        return a_list(*shown, more=start + self.page_size < len(entries))

    def asked(self, path: str) -> list[str]:
        return [one.target for one in self.server.exchanges if urlsplit(one.target).path == path]


@pytest.fixture
def books(scripted_server: Any) -> Books:
    return Books(scripted_server)


@pytest.fixture
async def payments(scripted_server: Any) -> AsyncGenerator[StripePayments]:
    adapter = StripePayments(StripeConfig(api_key="sk_test_1", base_url=scripted_server.url))
    yield adapter
    await adapter.aclose()


async def the_subscription(payments: StripePayments) -> SubscriptionReport:
    (subscription,) = (await payments.report("cus_1")).subscriptions
    return subscription


# Subscriptions


async def test_a_plain_subscription(payments: StripePayments, books: Books) -> None:
    books.answers["/v1/subscriptions"] = [a_subscription(trial_end=JANUARY + 9, default_payment_method=None)]

    assert await the_subscription(payments) == SubscriptionReport(
        id="sub_1",
        status=SubscriptionStatus.ACTIVE,
        item_id="si_1",
        price=PriceReport("price_premium", "visiona_premium_month", "premium", 1500, "usd", "month"),
        period_start=at(JANUARY),
        period_end=at(FEBRUARY),
        created_at=at(JANUARY),
        trial_end=at(JANUARY + 9),
        next_amount=1500,
    )
    (asked,) = books.asked("/v1/subscriptions")
    assert parse_qs(urlsplit(asked).query) == {
        "limit": ["100"],
        "customer": ["cus_1"],
        "status": ["all"],
        "expand[0]": ["data.schedule"],
    }


@pytest.mark.parametrize("status", [*SubscriptionStatus, "resting"])
async def test_every_status_has_a_word(payments: StripePayments, books: Books, status: str) -> None:
    books.answers["/v1/subscriptions"] = [a_subscription(status=str(status))]

    found = await the_subscription(payments)

    known = status in set(SubscriptionStatus)
    assert found.status is (SubscriptionStatus(status) if known else SubscriptionStatus.UNKNOWN)
    assert (found.next_amount is not None) == (status in {"trialing", "active", "past_due"})


async def test_our_item_counts_among_others(payments: StripePayments, books: Books) -> None:
    by_key = a_price("by_key", 900, plan=None, lookup_key="visiona_basic_month")
    items = (an_item("other", FOREIGN, end=FEBRUARY - 9), an_item("ours", by_key, start=JANUARY + 1))
    books.answers["/v1/subscriptions"] = [a_subscription(*items)]

    found = await the_subscription(payments)

    assert (found.item_id, found.price.lookup_key) == ("si_ours", "visiona_basic_month")
    assert (found.period_start, found.period_end) == (at(JANUARY + 1), at(FEBRUARY))


async def test_of_several_items_of_ours_the_dearest_counts_until_the_first_ends(
    payments: StripePayments, books: Books
) -> None:
    items = (
        an_item("other", FOREIGN),
        an_item("small", a_price("small", 500), end=FEBRUARY),
        an_item("large", a_price("large", 5000), end=MARCH),
        an_item("free", a_price("free", None)),
    )
    books.answers["/v1/subscriptions"] = [a_subscription(*items)]

    found = await the_subscription(payments)

    assert (found.item_id, found.price.amount, found.period_end) == ("si_large", 5000, at(FEBRUARY))


async def test_without_ours_the_first_item_counts(payments: StripePayments, books: Books) -> None:
    second = an_item("b", a_price("x", 100_000, plan=None), end=JANUARY + 1)
    books.answers["/v1/subscriptions"] = [a_subscription(an_item("a", FOREIGN), second)]

    found = await the_subscription(payments)

    assert (found.item_id, found.price.plan, found.period_end) == ("si_a", None, at(FEBRUARY))


@pytest.mark.parametrize(
    ("recurring", "interval"),
    [
        ({"interval": "year", "interval_count": 1}, "year"),
        ({"interval": "month", "interval_count": 3}, None),
        ({"interval": "week"}, None),
        (None, None),
    ],
)
async def test_intervals_that_visiona_sells(
    payments: StripePayments, books: Books, recurring: Json | None, interval: str | None
) -> None:
    price = a_price("p", recurring=recurring, metadata=None)
    books.answers["/v1/subscriptions"] = [a_subscription(an_item("1", price))]

    assert (await the_subscription(payments)).price.interval == interval


async def test_more_items_than_are_shown_are_asked_for(payments: StripePayments, books: Books) -> None:
    shown = a_subscription(items=a_list(an_item("other", FOREIGN), more=True))
    books.answers["/v1/subscriptions"] = [shown]
    books.answers["/v1/subscription_items"] = [an_item("other", FOREIGN), an_item("1", PREMIUM)]

    assert (await the_subscription(payments)).item_id == "si_1"


async def test_a_subscription_to_nothing_cannot_be_reported(payments: StripePayments, books: Books) -> None:
    books.answers["/v1/subscriptions"] = [a_subscription(items=a_list())]
    books.answers["/v1/subscription_items"] = []

    with pytest.raises(ProviderUnavailable, match="unusable_answer"):
        await payments.report("cus_1")


@pytest.mark.parametrize(
    ("changes", "cancel_at", "ended_at"),
    [
        ({"cancel_at": FEBRUARY + 5}, FEBRUARY + 5, None),
        ({"cancel_at_period_end": True}, FEBRUARY, None),
        ({"cancel_at_period_end": True, "cancel_at": FEBRUARY}, FEBRUARY, None),
        ({"status": "canceled", "ended_at": FEBRUARY, "cancel_at_period_end": True}, None, FEBRUARY),
    ],
)
async def test_when_it_ends(
    payments: StripePayments, books: Books, changes: Json, cancel_at: int | None, ended_at: int | None
) -> None:
    books.answers["/v1/subscriptions"] = [a_subscription(**changes)]

    found = await the_subscription(payments)

    assert found.cancel_at == (None if cancel_at is None else at(cancel_at))
    assert found.ended_at == (None if ended_at is None else at(ended_at))
    assert found.next_amount is None
    assert books.asked("/v1/invoices/create_preview") == []


@pytest.mark.parametrize("failure", [None, 400, 429, 500, {"object": "invoice", "amount_due": None}])
async def test_a_report_without_a_preview_is_a_report(
    payments: StripePayments, books: Books, failure: Any
) -> None:
    books.answers["/v1/subscriptions"] = [a_subscription()]
    books.answers["/v1/invoices/create_preview"] = failure

    assert (await the_subscription(payments)).next_amount is None


# What a subscription changes to


@pytest.mark.parametrize(
    ("schedule", "following"),
    [
        (a_schedule((JANUARY, ["price_premium"]), (FEBRUARY, ["price_small"])), "price_small"),
        (a_schedule((MARCH, ["price_premium"]), (FEBRUARY, ["price_small"])), "price_small"),
        (a_schedule((FEBRUARY, [{"id": "price_small", "object": "price"}])), "price_small"),
        (a_schedule((FEBRUARY, ["price_foreign", "price_small", "price_tiny"])), "price_small"),
        (a_schedule((FEBRUARY, ["price_gone", "price_foreign"])), "price_foreign"),
        (a_schedule((FEBRUARY, ["price_gone"])), None),
        (a_schedule((FEBRUARY, ["price_premium"])), None),
        (a_schedule((JANUARY, ["price_small"])), None),
        (a_schedule((FEBRUARY, ["price_small"]), current_end=None), None),
        (a_schedule(), None),
        ("sub_sched_1", None),
        (None, None),
    ],
)
async def test_the_phase_after_the_current_one(
    payments: StripePayments, books: Books, schedule: Any, following: str | None
) -> None:
    small, tiny = a_price("small", 500, plan="basic"), a_price("tiny", 5, plan="basic")
    books.answers |= {
        "/v1/subscriptions": [a_subscription(schedule=schedule)],
        "/v1/prices/price_small": small,
        "/v1/prices/price_tiny": tiny,
        "/v1/prices/price_foreign": FOREIGN,
    }

    found = await the_subscription(payments)

    assert (None if found.next_price is None else found.next_price.id) == following


# Invoices


async def test_an_invoice_with_everything(payments: StripePayments, books: Books) -> None:
    proration = {"type": "subscription_item_details", "subscription_item_details": {"proration": True}}
    item = {"type": "invoice_item_details", "invoice_item_details": {"proration": True}}
    lines = (
        a_line(),
        a_line(-700, parent=proration),
        a_line(900, {"id": "price_premium", "object": "price"}, parent=item),
        a_line(50, parent=None, pricing=None),
        a_line(60, pricing={"type": "price_details", "price_details": None}),
        a_line(70, "price_gone"),
    )
    intents = (a_payment("pi_1"), a_payment({"id": "pi_2", "object": "payment_intent"}), a_payment(None))
    books.answers["/v1/invoices"] = [an_invoice(*lines, payments=a_list(*intents))]

    (invoice,) = (await payments.report("cus_1")).invoices

    assert (invoice.id, invoice.number, invoice.status) == ("in_1", "ABC-0001", InvoiceStatus.PAID)
    assert (invoice.subscription_id, invoice.reason) == ("sub_1", "subscription_create")
    assert (invoice.total, invoice.amount_paid, invoice.amount_remaining) == (1500, 1500, 0)
    assert (invoice.created_at, invoice.paid_at) == (at(JANUARY), at(JANUARY + 5))
    assert invoice.payment_ids == ("pi_1", "pi_2")
    assert [line.amount for line in invoice.lines] == [1500, -700, 900, 50, 60, 70]
    assert [line.proration for line in invoice.lines] == [False, True, True, False, False, False]
    plans = [line.price and line.price.plan for line in invoice.lines]
    assert plans == ["premium", "premium", "premium", None, None, None]
    assert (invoice.lines[0].period_start, invoice.lines[0].period_end) == (at(JANUARY), at(FEBRUARY))
    assert len(books.asked("/v1/prices/price_premium")) == 1


async def test_an_invoice_with_as_little_as_can_be(payments: StripePayments, books: Books) -> None:
    bare = an_invoice(
        number=None,
        status=None,
        billing_reason=None,
        parent=None,
        next_payment_attempt=MARCH,
        status_transitions={},
        payments=a_list(),
    )
    books.answers["/v1/invoices"] = [bare, bare | {"id": "in_2", "status": "pondering"}]

    first, second = (await payments.report("cus_1")).invoices

    assert (first.number, first.reason, first.subscription_id, first.paid_at) == (None, "", None, None)
    assert first.next_attempt_at == at(MARCH)
    assert first.status is second.status is InvoiceStatus.UNKNOWN


async def test_lists_inside_an_invoice_are_read_to_their_end(payments: StripePayments, books: Books) -> None:
    books.page_size = 2
    lines = [a_line(number) for number in range(1, 6)]
    intents = [a_payment(f"pi_{number}") for number in range(3)]
    cut = an_invoice(lines=a_list(*lines[:1], more=True), payments=a_list(more=True))
    unexpanded = an_invoice(id="in_2")
    del unexpanded["payments"]
    books.answers |= {
        "/v1/invoices": [cut, unexpanded],
        "/v1/invoices/in_1/lines": lines,
        "/v1/invoice_payments": intents,
    }

    first, second = (await payments.report("cus_1")).invoices

    assert [line.amount for line in first.lines] == [1, 2, 3, 4, 5]
    assert first.payment_ids == second.payment_ids == ("pi_0", "pi_1", "pi_2")


async def test_every_page_is_read(payments: StripePayments, books: Books) -> None:
    books.page_size = 2
    books.answers["/v1/subscriptions"] = [a_subscription(id=f"sub_{number}") for number in range(3)]
    books.answers["/v1/invoices"] = [an_invoice(id=f"in_{number}") for number in range(5)]
    books.answers["/v1/charges"] = [a_charge(str(number)) for number in range(4)]

    report = await payments.report("cus_1")

    assert [one.id for one in report.subscriptions] == ["sub_0", "sub_1", "sub_2"]
    assert [one.id for one in report.invoices] == ["in_0", "in_1", "in_2", "in_3", "in_4"]
    assert [one.id for one in report.charges] == ["ch_0", "ch_1", "ch_2", "ch_3"]
    assert len(books.asked("/v1/invoices")) == 3


async def test_prices_are_asked_for_once_an_hour(
    payments: StripePayments, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    books.answers["/v1/invoices"] = [an_invoice()]
    await payments.report("cus_1")
    await payments.report("cus_1")
    assert len(books.asked("/v1/prices/price_premium")) == 1

    monkeypatch.setattr("visiona.adapters.stripe.prices._KEPT_S", 0.0)
    await payments.report("cus_1")
    assert len(books.asked("/v1/prices/price_premium")) == 2


# Charges and corrections


async def test_charges_and_what_their_bank_holds(payments: StripePayments, books: Books) -> None:
    books.answers["/v1/charges"] = [
        a_charge("1", amount_refunded=300),
        a_charge("2", disputed=True, payment_intent={"id": "pi_2", "object": "payment_intent"}),
        a_charge("3", status="failed", payment_intent=None),
        a_charge("4", status="dreaming"),
    ]
    books.answers["/v1/disputes"] = [{"id": "du_1", "object": "dispute", "amount": 900, "status": "lost"}]

    charges = (await payments.report("cus_1")).charges

    def report(name: str, payment: str | None, status: Any, refunded: int = 0, disputed: int = 0) -> Any:
        return ChargeReport(
            id=f"ch_{name}",
            payment_id=payment,
            status=status,
            amount=1500,
            refunded=refunded,
            disputed=disputed,
            currency="usd",
            created_at=at(JANUARY),
        )

    assert charges == (
        report("1", "pi_1", "succeeded", refunded=300),
        report("2", "pi_2", "succeeded", disputed=900),
        report("3", None, "failed"),
        report("4", "pi_1", "pending"),
    )
    assert books.asked("/v1/disputes") == ["/v1/disputes?limit=100&charge=ch_2"]


@pytest.mark.parametrize(
    ("statuses", "disputed"),
    [
        (["warning_needs_response"], 0),
        (["warning_under_review"], 0),
        (["warning_closed"], 0),
        (["needs_response"], 1),
        (["under_review"], 1),
        (["appeal_under_review"], 1),
        (["won"], 0),
        (["lost"], 1),
        (["prevented"], 0),
        (["something_new"], 1),
        (["won", "lost", "needs_response"], 2),
        ([], 0),
    ],
)
async def test_which_disputes_count(
    payments: StripePayments, books: Books, statuses: list[str], disputed: int
) -> None:
    books.answers["/v1/charges"] = [a_charge(disputed=True)]
    books.answers["/v1/disputes"] = [
        {"id": f"du_{number}", "object": "dispute", "amount": 700, "status": status}
        for number, status in enumerate(statuses)
    ]

    (charge,) = (await payments.report("cus_1")).charges

    assert charge.disputed == 700 * disputed


async def test_pending_corrections(payments: StripePayments, books: Books) -> None:
    def item(name: str, amount: int, subscription: Any, **changes: Any) -> Json:
        details = {"subscription": subscription, "subscription_item": "si_1"}
        parent = {"type": "subscription_details", "subscription_details": details}
        found = {"id": f"ii_{name}", "object": "invoiceitem", "amount": amount, "proration": True}
        return found | {"parent": parent} | changes

    books.answers["/v1/invoiceitems"] = [
        item("1", -700, "sub_1"),
        item("2", 900, {"id": "sub_2", "object": "subscription"}),
        item("3", 5, "sub_1", proration=False),
        item("4", 6, None),
        item("5", 7, "sub_1", parent=None),
    ]

    report = await payments.report("cus_1")

    assert report.pending == (PendingProration("sub_1", -700), PendingProration("sub_2", 900))
    assert "pending=true" in books.asked("/v1/invoiceitems")[0]


# Customers


async def test_a_deleted_customer_keeps_what_was_paid(payments: StripePayments, books: Books) -> None:
    books.answers["/v1/customers/cus_1"] = {"id": "cus_1", "object": "customer", "deleted": True}
    books.answers["/v1/invoices"] = [an_invoice()]
    books.answers["/v1/charges"] = [a_charge()]

    report = await payments.report("cus_1")

    assert (report.deleted, report.subscriptions, report.pending) == (True, (), ())
    assert [invoice.id for invoice in report.invoices] == ["in_1"]
    assert [charge.id for charge in report.charges] == ["ch_1"]
    assert books.asked("/v1/subscriptions") == []


async def test_of_a_deleted_customer_lists_may_be_gone(payments: StripePayments, books: Books) -> None:
    books.answers["/v1/customers/cus_1"] = {"id": "cus_1", "object": "customer", "deleted": True}
    del books.answers["/v1/invoices"], books.answers["/v1/charges"]

    assert await payments.report("cus_1") == CustomerReport(
        customer_id="cus_1", deleted=True, subscriptions=(), invoices=(), charges=()
    )


async def test_a_customer_who_is_not_there(payments: StripePayments, books: Books) -> None:
    with pytest.raises(ProviderNotFound):
        await payments.report("cus_2")

    assert len(books.server.exchanges) == 1


@pytest.mark.parametrize("path", ["/v1/subscriptions", "/v1/invoices", "/v1/charges", "/v1/invoiceitems"])
async def test_half_a_report_is_none(payments: StripePayments, books: Books, path: str) -> None:
    books.answers[path] = 500

    with pytest.raises(ProviderUnavailable, match="server_error"):
        await payments.report("cus_1")


@pytest.mark.parametrize(
    "strange",
    [
        a_subscription(created="yesterday"),
        a_subscription(created=10**15),
        a_subscription(items=None),
        a_subscription(items=[]),
        a_subscription(an_item("1", PREMIUM | {"currency": 5})),
        a_subscription(an_item("1", PREMIUM | {"unit_amount": "15.00"})),
        a_subscription(an_item("1", PREMIUM | {"metadata": {"visiona_plan": 5}})),
        a_subscription(schedule={"object": "subscription_schedule"}),
        {"id": "sub_1"},
    ],
)
async def test_an_account_of_another_shape_is_not_guessed_at(
    payments: StripePayments, books: Books, strange: Json
) -> None:
    books.answers["/v1/subscriptions"] = [strange]

    with pytest.raises(ProviderUnavailable, match="unusable_answer"):
        await payments.report("cus_1")
