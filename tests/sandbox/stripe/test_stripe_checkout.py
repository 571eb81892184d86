"""Checkout sessions over the API, and what paying one makes."""

import time
from typing import Any

import pytest
import stripe
from tests.sandbox.stripe.conftest import Server
from tests.sandbox.stripe.histories import (  # noqa: F401 - `shared_server` is a server for this file alone
    DAY,
    HOUR,
    MINUTE,
    only_item,
    shared_server,
)

GOOD = "4242424242424242"


def open_session(sandbox: Server, price: stripe.Price | None = None, **params: Any) -> Any:
    price = price or sandbox.price(1200)
    given: Any = {
        "mode": "subscription",
        "line_items": [{"price": price.id, "quantity": 1}],
        "success_url": "https://shop.example/welcome?s={CHECKOUT_SESSION_ID}",
        "cancel_url": "https://shop.example/pricing",
        **params,
    }
    return sandbox.client.v1.checkout.sessions.create(given)


def pay(sandbox: Server, session: Any, number: str = GOOD, **rest: Any) -> dict[str, Any]:
    return sandbox.control(f"pay/{session.id}", number=number, **rest)


def told_of(sandbox: Server, object_id: str) -> list[str]:
    return [event["type"] for event in sandbox.events(object_id)]


def now(sandbox: Server) -> int:
    return sandbox.state()["clock"]["now"]


def test_a_new_session_is_open_and_makes_nothing_yet(sandbox: Server) -> None:
    customer = sandbox.customer()
    session = open_session(
        sandbox, customer=customer.id, client_reference_id="user_1", metadata={"a": "b"}, locale="de"
    )
    assert session.id.startswith("cs_test_")
    assert session.url == f"{sandbox.base}/c/pay/{session.id}"
    assert (session.status, session.payment_status, session.mode) == ("open", "unpaid", "subscription")
    assert (session.amount_total, session.currency, session.locale) == (1200, "usd", "de")
    assert (session.customer, session.subscription, session.invoice) == (customer.id, None, None)
    assert (session.client_reference_id, session.metadata.to_dict()) == ("user_1", {"a": "b"})
    assert session.expires_at - session.created == 24 * HOUR
    assert session.livemode is False
    assert "line_items" not in session
    found = sandbox.client.v1.checkout.sessions.retrieve(session.id, {"expand": ["line_items"]})
    assert found.line_items is not None
    (item,) = found.line_items.data
    assert (item.amount_total, item.description, item.quantity) == (1200, "Pro", 1)
    assert sandbox.client.v1.subscriptions.list({"customer": customer.id}).data == []


def test_paying_makes_a_subscription(sandbox: Server) -> None:
    customer = sandbox.customer()
    session = open_session(
        sandbox,
        customer=customer.id,
        metadata={"kept": "here"},
        subscription_data={"metadata": {"user": "user_1"}},
    )
    outcome = pay(sandbox, session)
    assert outcome["outcome"] == "Paid"
    assert outcome["redirect_url"] == f"https://shop.example/welcome?s={session.id}"
    done = sandbox.client.v1.checkout.sessions.retrieve(
        session.id, {"expand": ["subscription", "invoice.payments"]}
    )
    assert (done.status, done.payment_status, done.url) == ("complete", "paid", None)
    assert done.payment_intent is None, "a subscription's payment hangs on its invoice"
    sub, invoice = done.subscription, done.invoice
    assert isinstance(sub, stripe.Subscription)
    assert isinstance(invoice, stripe.Invoice)
    assert (sub.status, sub.customer, sub.latest_invoice) == ("active", customer.id, invoice.id)
    assert sub.metadata.to_dict() == {"user": "user_1"}, "the session's own metadata is not copied"
    assert (invoice.status, invoice.total) == ("paid", 1200)
    assert invoice.payments is not None
    assert sub.default_payment_method is not None
    settings = sandbox.client.v1.customers.retrieve(customer.id).invoice_settings
    assert settings is not None
    assert settings.default_payment_method is None, "the card is the subscription's, not the customer's"
    told = told_of(sandbox, sub.id)
    assert told == ["customer.subscription.created", "customer.subscription.updated"]
    assert told_of(sandbox, session.id) == ["checkout.session.completed"]


def test_a_session_is_paid_once(sandbox: Server) -> None:
    customer = sandbox.customer()
    session = open_session(sandbox, customer=customer.id)
    pay(sandbox, session)
    answer = sandbox.raw.post(f"/_sandbox/pay/{session.id}", json={})
    assert answer.status_code == 400
    assert len(sandbox.client.v1.subscriptions.list({"customer": customer.id}).data) == 1
    with pytest.raises(stripe.InvalidRequestError, match="can be expired"):
        sandbox.client.v1.checkout.sessions.expire(session.id)


def test_two_sessions_make_two_subscriptions(sandbox: Server) -> None:
    customer = sandbox.customer()
    for session in [open_session(sandbox, customer=customer.id) for _ in range(2)]:
        pay(sandbox, session)
    assert len(sandbox.client.v1.subscriptions.list({"customer": customer.id}).data) == 2


def test_somebody_new_becomes_a_customer(sandbox: Server) -> None:
    session = open_session(sandbox, customer_email="new@example.com")
    assert session.customer_details.email == "new@example.com"
    pay(sandbox, session, name="New Person")
    done = sandbox.client.v1.checkout.sessions.retrieve(session.id, {"expand": ["customer"]})
    assert isinstance(done.customer, stripe.Customer)
    assert (done.customer.email, done.customer.name) == ("new@example.com", "New Person")
    assert done.customer_details is not None
    assert done.customer_details.name == "New Person"
    nobody = open_session(sandbox)
    pay(sandbox, nobody, email="typed@example.com")
    found = sandbox.client.v1.checkout.sessions.retrieve(nobody.id)
    assert found.customer_details is not None
    assert found.customer_details.email == "typed@example.com"


@pytest.mark.parametrize(
    ("number", "code"),
    [
        ("4000000000000002", "generic_decline"),
        ("4000000000009995", "insufficient_funds"),
        ("4000000000000069", "expired_card"),
        ("4000000000000127", "incorrect_cvc"),
        ("4000000000000341", "generic_decline"),
        ("4242424242424241", "incorrect_number"),
        ("4000008400001629", "generic_decline"),
    ],
)
def test_cards_that_are_refused(sandbox: Server, number: str, code: str) -> None:
    customer = sandbox.customer()
    session = open_session(sandbox, customer=customer.id)
    refused = pay(sandbox, session, number)
    assert (refused["outcome"], refused["code"]) == ("Declined", code)
    assert refused["challenged"] is (number == "4000008400001629")
    assert sandbox.client.v1.checkout.sessions.retrieve(session.id).status == "open"
    assert sandbox.client.v1.subscriptions.list({"customer": customer.id, "status": "all"}).data == []
    assert pay(sandbox, session)["outcome"] == "Paid"
    failed = [
        charge for charge in sandbox.client.v1.charges.list({"customer": customer.id}).data if not charge.paid
    ]
    assert len(failed) == (0 if code == "incorrect_number" else 1)


@pytest.mark.parametrize("number", ["4000002500003155", "4000002760003184"])
def test_cards_that_ask_first(sandbox: Server, number: str) -> None:
    session = open_session(sandbox, customer=sandbox.customer().id)
    refused = pay(sandbox, session, number, approve=False)
    assert (refused["outcome"], refused["challenged"]) == ("Declined", True)
    assert refused["code"] == "payment_intent_authentication_failure"
    paid = pay(sandbox, session, number)
    assert (paid["outcome"], paid["challenged"]) == ("Paid", True)


def test_a_card_that_was_asked_once_is_not_asked_again_unless_it_always_is(sandbox: Server) -> None:
    statuses: list[str] = []
    for number in ("4000002500003155", "4000002760003184"):
        session = open_session(sandbox, customer=sandbox.customer().id)
        pay(sandbox, session, number)
        sandbox.advance(32 * DAY)
        done = sandbox.client.v1.checkout.sessions.retrieve(session.id, {"expand": ["subscription"]})
        assert isinstance(done.subscription, stripe.Subscription)
        statuses.append(done.subscription.status)
    assert statuses == ["active", "past_due"]


def test_a_trial_takes_no_money(sandbox: Server) -> None:
    customer = sandbox.customer()
    session = open_session(sandbox, customer=customer.id, subscription_data={"trial_period_days": 14})
    assert session.amount_total == 0
    assert pay(sandbox, session)["outcome"] == "Paid"
    done = sandbox.client.v1.checkout.sessions.retrieve(session.id, {"expand": ["subscription", "invoice"]})
    assert (done.status, done.payment_status) == ("complete", "no_payment_required")
    assert isinstance(done.subscription, stripe.Subscription)
    assert done.subscription.status == "trialing"
    assert done.subscription.default_payment_method is not None
    assert sandbox.client.v1.charges.list({"customer": customer.id}).data == []
    assert isinstance(done.invoice, stripe.Invoice)
    assert (done.invoice.total, done.invoice.status) == (0, "paid")


def test_a_trial_with_a_card_that_fails_later(sandbox: Server) -> None:
    customer = sandbox.customer()
    session = open_session(sandbox, customer=customer.id, subscription_data={"trial_period_days": 3})
    assert pay(sandbox, session, "4000000000000341")["outcome"] == "Paid"
    sandbox.advance(3 * DAY + 2 * HOUR)
    (sub,) = sandbox.client.v1.subscriptions.list({"customer": customer.id}).data
    assert sub.status == "past_due"


def test_sessions_expire(sandbox: Server) -> None:
    soon = now(sandbox) + 31 * MINUTE
    session = open_session(sandbox, expires_at=soon)
    assert session.expires_at == soon
    sandbox.advance(32 * MINUTE)
    expired = sandbox.client.v1.checkout.sessions.retrieve(session.id)
    assert (expired.status, expired.url, expired.payment_status) == ("expired", None, "unpaid")
    assert told_of(sandbox, session.id) == ["checkout.session.expired"]
    answer = sandbox.raw.post(f"/_sandbox/pay/{session.id}", json={})
    assert "expired" in answer.json()["error"]["message"]


def test_expiring_by_hand(sandbox: Server) -> None:
    session = open_session(sandbox)
    expired = sandbox.client.v1.checkout.sessions.expire(session.id)
    assert (expired.status, expired.url) == ("expired", None)
    with pytest.raises(stripe.InvalidRequestError, match="status of expired"):
        sandbox.client.v1.checkout.sessions.expire(session.id)


@pytest.mark.parametrize(
    ("params", "param", "code"),
    [
        ({"payment_method_types": ["card"]}, "payment_method_types", "parameter_unknown"),
        ({"customer_email": "a@b.example", "customer": "cus_x"}, "customer", "parameters_exclusive"),
        ({"customer": "cus_unknown"}, "customer", "resource_missing"),
        ({"customer_email": "nonsense"}, "customer_email", "email_invalid"),
        ({"success_url": "nonsense"}, "success_url", "url_invalid"),
        ({"line_items": []}, "line_items", "parameter_missing"),
        ({"line_items": [{"price": "price_x", "quantity": 1}]}, "line_items[0][price]", "resource_missing"),
        ({"mode": "payment"}, "mode", None),
        ({"mode": "gift"}, "mode", None),
        ({"payment_intent_data": {"description": "x"}}, "payment_intent_data", None),
        (
            {"subscription_data": {"trial_period_days": 0}},
            "subscription_data[trial_period_days]",
            "parameter_invalid_integer",
        ),
        ({"subscription_data": {"trial_end": int(time.time())}}, "subscription_data[trial_end]", None),
        ({"expires_at": 1_700_000_000}, "expires_at", None),
        ({"automatic_tax": {"enabled": True}}, "automatic_tax[enabled]", None),
        ({"ui_mode": "embedded_page"}, "ui_mode", None),
    ],
)
def test_refusals(sandbox: Server, params: dict[str, Any], param: str, code: str | None) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        open_session(sandbox, **params)
    assert (caught.value.http_status, caught.value.param, caught.value.code) == (400, param, code)


def test_an_expiry_too_far_ahead_or_too_near(sandbox: Server) -> None:
    for seconds in (29 * MINUTE, 25 * HOUR):
        with pytest.raises(stripe.InvalidRequestError, match="expires_at"):
            open_session(sandbox, expires_at=now(sandbox) + seconds)


def test_each_line_has_a_quantity(sandbox: Server) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="Quantity is required"):
        open_session(sandbox, line_items=[{"price": sandbox.price().id}])


def test_prices_described_in_passing(sandbox: Server) -> None:
    data = {
        "currency": "eur",
        "unit_amount": 700,
        "recurring": {"interval": "week"},
        "product_data": {"name": "A weekly print"},
    }
    session = open_session(sandbox, line_items=[{"price_data": data, "quantity": 2}])
    assert (session.amount_total, session.currency) == (1400, "eur")
    pay(sandbox, session, email="weekly@example.com")
    done = sandbox.client.v1.checkout.sessions.retrieve(session.id, {"expand": ["subscription"]})
    assert isinstance(done.subscription, stripe.Subscription)
    item = only_item(done.subscription)
    assert (item.quantity, item.price.active) == (2, False)


def test_a_one_time_price_beside_a_subscription(sandbox: Server) -> None:
    once = sandbox.client.v1.prices.create(
        {"currency": "usd", "unit_amount": 300, "product_data": {"name": "Setup"}}
    )
    items = [{"price": sandbox.price(1200).id, "quantity": 1}, {"price": once.id, "quantity": 1}]
    customer = sandbox.customer()
    session = open_session(sandbox, line_items=items, customer=customer.id)
    assert session.amount_total == 1500
    pay(sandbox, session)
    (charge,) = sandbox.client.v1.charges.list({"customer": customer.id}).data
    assert charge.amount == 1500


def test_a_single_payment(sandbox: Server) -> None:
    once = sandbox.client.v1.prices.create(
        {"currency": "usd", "unit_amount": 2500, "product_data": {"name": "A print"}}
    )
    session = open_session(sandbox, once, mode="payment", payment_intent_data={"metadata": {"order": "7"}})
    pay(sandbox, session, email="guest@example.com")
    done = sandbox.client.v1.checkout.sessions.retrieve(session.id, {"expand": ["payment_intent"]})
    assert (done.payment_status, done.customer, done.subscription) == ("paid", None, None)
    assert isinstance(done.payment_intent, stripe.PaymentIntent)
    assert (done.payment_intent.amount_received, done.payment_intent.metadata.to_dict()) == (
        2500,
        {"order": "7"},
    )


def test_saving_a_card(sandbox: Server) -> None:
    customer = sandbox.customer()
    session = sandbox.client.v1.checkout.sessions.create(
        {
            "mode": "setup",
            "customer": customer.id,
            "success_url": "https://shop.example/done",
            "currency": "usd",
        }
    )
    assert pay(sandbox, session)["redirect_url"] == "https://shop.example/done"
    done = sandbox.client.v1.checkout.sessions.retrieve(session.id, {"expand": ["setup_intent"]})
    assert isinstance(done.setup_intent, stripe.SetupIntent)
    assert done.setup_intent.status == "succeeded"
    methods = sandbox.client.v1.payment_methods.list({"customer": customer.id}).data
    assert [method.id for method in methods] == [done.setup_intent.payment_method]


def test_finding_sessions(sandbox: Server) -> None:
    customer = sandbox.customer()
    first, second = (open_session(sandbox, customer=customer.id) for _ in range(2))
    pay(sandbox, first)
    sessions = sandbox.client.v1.checkout.sessions

    def ids(**params: Any) -> list[str]:
        given: Any = {"customer": customer.id, **params}
        return [session.id for session in sessions.list(given).data]

    assert ids() == [second.id, first.id]
    assert ids(status="open") == [second.id]
    sub = sessions.retrieve(first.id).subscription
    assert isinstance(sub, str)
    assert [session.id for session in sessions.list({"subscription": sub}).data] == [first.id]
    changed = sessions.update(second.id, {"metadata": {"seen": "yes"}})
    assert changed.metadata is not None
    assert changed.metadata.to_dict() == {"seen": "yes"}
    assert len(sessions.line_items.list(second.id).data) == 1


def test_the_customer_may_be_gone_by_then(sandbox: Server) -> None:
    customer = sandbox.customer()
    session = open_session(sandbox, customer=customer.id)
    sandbox.client.v1.customers.delete(customer.id)
    answer = sandbox.raw.post(f"/_sandbox/pay/{session.id}", json={})
    assert answer.status_code == 400
    assert "No such customer" in answer.json()["error"]["message"]
    assert sandbox.client.v1.checkout.sessions.retrieve(session.id).status == "open"


def test_a_customer_on_a_test_clock_subscribes_on_that_clock(sandbox: Server) -> None:
    clock = sandbox.client.v1.test_helpers.test_clocks.create({"frozen_time": 1_800_000_000})
    customer = sandbox.customer(test_clock=clock.id)
    session = open_session(sandbox, customer=customer.id)
    pay(sandbox, session)
    (sub,) = sandbox.client.v1.subscriptions.list({"customer": customer.id}).data
    assert (sub.test_clock, only_item(sub).current_period_start) == (clock.id, 1_800_000_000)
