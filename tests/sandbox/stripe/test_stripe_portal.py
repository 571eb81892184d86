"""The customer portal: what its sessions allow, and what a person does there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import stripe
from tests.sandbox.stripe.conftest import Server
from tests.sandbox.stripe.histories import (  # noqa: F401 - `shared_server` is a server for this file alone
    DAY,
    HOUR,
    History,
    only_item,
    shared_server,
)
from tests.sandbox.stripe.house import ASKS, FAILS_LATER, GOOD, REFUSED, House, card, price_of

from visiona.sandbox.stripe.clock import Clock
from visiona.sandbox.stripe.engine import Engine
from visiona.sandbox.stripe.engine.outcomes import Applied, ChallengeRequired, Declined, Paid, Scheduled
from visiona.sandbox.stripe.errors import StripeError
from visiona.sandbox.stripe.store import Store


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "stripe")


def test_what_the_portal_shows(house: House) -> None:
    sub = house.subscribe(house.basic)
    view = house.engine.portal.view(house.visit())
    assert view.subscription is not None
    assert (view.subscription.id, view.subscription.price.name) == (sub["id"], "Basic")
    assert (view.subscription.price.amount, view.subscription.status) == (900, "active")
    assert [price.name for price in view.prices] == ["Pro", "Pro yearly"]
    assert view.card is not None
    assert (view.card.brand, view.card.last4) == ("visa", "4242")
    (invoice,) = view.invoices
    assert (invoice.status, invoice.amount, invoice.payable) == ("paid", 900, False)
    assert view.return_url == "https://shop.example/account"
    assert (view.can_cancel, view.can_change_price, view.can_change_card) == (True, True, True)
    assert (view.flow, view.challenge) == (None, False)


def test_an_upgrade_is_paid_at_once(house: House) -> None:
    sub = house.subscribe(house.basic)
    session = house.visit()
    preview = house.engine.portal.preview_change(session, house.pro)
    assert (preview.applies_at, preview.due_now, preview.credit) == (None, 1500, 0)
    assert [line.amount for line in preview.lines] == [-900, 2400]
    assert preview.next_amount == 2400
    assert price_of(sub) == house.basic, "a preview changes nothing"
    assert house.engine.portal.change_price(session, house.pro) == Paid()
    assert price_of(sub) == house.pro
    assert (house.latest(sub)["status"], house.latest(sub)["total"]) == ("paid", 1500)


def test_a_downgrade_waits_for_the_end_of_the_period(house: House) -> None:
    sub = house.subscribe(house.pro)
    end: int = sub["items"]["data"][0]["current_period_end"]
    session = house.visit()
    preview = house.engine.portal.preview_change(session, house.basic)
    assert (preview.applies_at, preview.due_now, preview.next_amount, preview.next_at) == (end, 0, 900, end)
    assert house.engine.portal.change_price(session, house.basic) == Scheduled(end)
    view = house.engine.portal.view(session)
    assert view.subscription is not None
    assert view.subscription.scheduled is not None
    assert (view.subscription.scheduled.price.name, view.subscription.scheduled.at) == ("Basic", end)
    assert price_of(sub) == house.pro
    house.advance(32 * DAY)
    assert (price_of(sub), house.latest(sub)["total"]) == (house.basic, 900)


def test_from_a_year_to_a_month_waits_too(house: House) -> None:
    sub = house.subscribe(house.yearly)
    end: int = sub["items"]["data"][0]["current_period_end"]
    assert house.engine.portal.change_price(house.visit(), house.pro) == Scheduled(end)
    house.advance(366 * DAY)
    assert price_of(sub) == house.pro


def test_from_a_month_to_a_year_is_paid_at_once(house: House) -> None:
    sub = house.subscribe(house.pro)
    session = house.visit()
    assert house.engine.portal.preview_change(session, house.yearly).due_now == 24000 - 2400
    assert house.engine.portal.change_price(session, house.yearly) == Paid()
    assert sub["billing_cycle_anchor"] == sub["items"]["data"][0]["current_period_start"]


def test_a_scheduled_change_can_be_undone(house: House) -> None:
    sub = house.subscribe(house.pro)
    session = house.visit()
    house.engine.portal.change_price(session, house.basic)
    assert house.engine.portal.undo_scheduled_change(session) == Applied()
    assert sub["schedule"] is None
    with pytest.raises(StripeError, match="no change ahead"):
        house.engine.portal.undo_scheduled_change(session)
    house.advance(32 * DAY)
    assert house.latest(sub)["total"] == 2400


def test_an_upgrade_takes_the_place_of_a_scheduled_downgrade(house: House) -> None:
    sub = house.subscribe(house.pro)
    session = house.visit()
    house.engine.portal.change_price(session, house.basic)
    assert house.engine.portal.change_price(session, house.yearly) == Paid()
    assert (price_of(sub), sub["schedule"]) == (house.yearly, None)
    assert "subscription_schedule.released" in house.events


def test_a_refused_card_changes_nothing(house: House) -> None:
    sub = house.subscribe(house.basic)
    session = house.visit()
    assert house.engine.portal.set_card(session, card(FAILS_LATER)) == Applied()
    outcome = house.engine.portal.change_price(session, house.pro)
    assert outcome == Declined("generic_decline", "Your card was declined.")
    assert (price_of(sub), sub["status"]) == (house.basic, "active")
    assert house.latest(sub)["total"] == 900
    assert {"charge.failed", "payment_intent.payment_failed"} <= set(house.events)


@pytest.mark.parametrize("approve", [True, False])
def test_a_card_that_asks(house: House, *, approve: bool) -> None:
    sub = house.subscribe(house.basic, ASKS)
    session = house.visit()
    assert house.engine.portal.change_price(session, house.pro) == ChallengeRequired()
    assert house.engine.portal.view(session).challenge is True
    assert price_of(sub) == house.basic
    outcome = house.engine.portal.answer_challenge(session, approve=approve)
    if approve:
        assert (outcome, price_of(sub), sub["status"]) == (Paid(), house.pro, "active")
    else:
        assert isinstance(outcome, Declined)
        assert outcome.code == "payment_intent_authentication_failure"
        assert price_of(sub) == house.basic
    with pytest.raises(StripeError, match="Nobody was asked"):
        house.engine.portal.answer_challenge(session, approve=True)


def test_cancelling_sets_a_date_and_not_the_flag(house: House) -> None:
    sub = house.subscribe(house.pro)
    end: int = sub["items"]["data"][0]["current_period_end"]
    session = house.visit()
    assert house.engine.portal.cancel(session) == Scheduled(end)
    assert (sub["cancel_at"], sub["cancel_at_period_end"], sub["status"]) == (end, False, "active")
    view = house.engine.portal.view(session)
    assert view.subscription is not None
    assert (view.subscription.ends_at, view.can_change_price) == (end, False)
    assert house.engine.portal.resume(session) == Applied()
    assert (sub["cancel_at"], sub["canceled_at"]) == (None, None)
    house.engine.portal.cancel(session)
    house.advance(32 * DAY)
    assert (sub["status"], sub["ended_at"]) == ("canceled", end)
    with pytest.raises(StripeError, match="no subscription"):
        house.engine.portal.cancel(house.visit())


def test_cancelling_drops_a_scheduled_change(house: House) -> None:
    sub = house.subscribe(house.pro)
    session = house.visit()
    house.engine.portal.change_price(session, house.basic)
    house.engine.portal.cancel(session)
    assert sub["schedule"] is None
    house.advance(32 * DAY)
    assert (sub["status"], price_of(sub)) == ("canceled", house.pro)


def test_cancelling_at_once_gives_credit(house: House) -> None:
    sub = house.subscribe(house.pro)
    house.engine.portal.objects.update_configuration(
        house.store.get("billing_portal.configuration", house.configuration),
        {
            "features": {
                "subscription_cancel": {"mode": "immediately", "proration_behavior": "create_prorations"}
            }
        },
    )
    session = house.visit()
    assert house.engine.portal.view(session).cancels_at_period_end is False
    assert house.engine.portal.cancel(session) == Applied()
    assert sub["status"] == "canceled"
    assert house.customer["balance"] == -2400


def test_a_new_card_is_used_from_then_on(house: House) -> None:
    sub = house.subscribe(house.pro)
    before = sub["default_payment_method"]
    session = house.visit()
    refused = house.engine.portal.set_card(session, card(REFUSED))
    assert isinstance(refused, Declined)
    wrong = house.engine.portal.set_card(session, card("4242424242424241"))
    assert wrong == Declined("incorrect_number", "Your card number is incorrect.")
    assert sub["default_payment_method"] == before
    assert house.engine.portal.set_card(session, card(ASKS)) == ChallengeRequired()
    assert house.engine.portal.answer_challenge(session, approve=True) == Applied()
    assert sub["default_payment_method"] not in {None, before}
    assert house.customer["invoice_settings"]["default_payment_method"] == sub["default_payment_method"]


def test_paying_an_open_invoice(house: House) -> None:
    sub = house.subscribe(house.pro)
    session = house.visit()
    house.engine.portal.set_card(session, card(FAILS_LATER))
    house.advance(31 * DAY + 2 * HOUR)
    assert sub["status"] == "past_due"
    session = house.visit()
    (open_one, _) = house.engine.portal.view(session).invoices
    assert open_one.payable is True
    assert isinstance(house.engine.portal.pay_invoice(session, open_one.id), Declined)
    house.engine.portal.set_card(session, card(GOOD))
    assert house.engine.portal.pay_invoice(session, open_one.id) == Paid()
    assert sub["status"] == "active"
    with pytest.raises(StripeError, match="already paid"):
        house.engine.portal.pay_invoice(session, open_one.id)


def test_a_renewal_that_asks_is_answered_on_the_invoices_own_page(house: House) -> None:
    sub = house.subscribe(house.pro, ASKS)
    house.advance(31 * DAY + 2 * HOUR)
    invoice = house.latest(sub)
    hosted = house.engine.hosted_invoices
    assert (sub["status"], hosted.view(invoice["id"]).challenge) == ("past_due", True)
    assert isinstance(hosted.answer_challenge(invoice["id"], approve=False), Declined)
    assert hosted.view(invoice["id"]).challenge is False
    assert hosted.pay(invoice["id"]) == ChallengeRequired()
    assert hosted.answer_challenge(invoice["id"], approve=True) == Paid()
    assert sub["status"] == "active"


def test_the_invoices_own_page_takes_another_card(house: House) -> None:
    sub = house.subscribe(house.pro)
    house.engine.portal.set_card(house.visit(), card(FAILS_LATER))
    house.advance(31 * DAY + 2 * HOUR)
    invoice_id: str = house.latest(sub)["id"]
    hosted = house.engine.hosted_invoices
    view = hosted.view(invoice_id)
    assert (view.payable, view.amount_remaining, view.customer_email) == (True, 2400, "ada@example.com")
    assert isinstance(hosted.pay(invoice_id), Declined)
    assert isinstance(hosted.pay(invoice_id, card(REFUSED)), Declined)
    assert hosted.pay(invoice_id, card(GOOD)) == Paid()
    assert (hosted.view(invoice_id).payable, sub["status"]) == (False, "active")


def test_links_into_one_task_lead_back(house: House) -> None:
    sub = house.subscribe(house.basic)
    item: str = sub["items"]["data"][0]["id"]
    wish = {"subscription": sub["id"], "items": [{"id": item, "price": house.pro, "quantity": 1}]}
    session = house.visit(type="subscription_update_confirm", subscription_update_confirm=wish)
    flow = house.engine.portal.view(session).flow
    assert flow is not None
    assert (flow.type, flow.price_id, flow.subscription_id) == (
        "subscription_update_confirm",
        house.pro,
        sub["id"],
    )
    assert (flow.redirect_url, flow.completed) == ("https://shop.example/done", False)
    assert house.engine.portal.change_price(session, house.pro) == Paid("https://shop.example/done")
    done = house.engine.portal.view(session).flow
    assert done is not None
    assert done.completed is True
    session = house.visit(type="payment_method_update")
    assert house.engine.portal.set_card(session, card(GOOD)) == Applied("https://shop.example/done")
    session = house.visit(type="subscription_cancel", subscription_cancel={"subscription": sub["id"]})
    outcome = house.engine.portal.cancel(session)
    assert isinstance(outcome, Scheduled)
    assert outcome.redirect_url == "https://shop.example/done"


def test_a_trial_ends_with_a_change_or_goes_on(house: House) -> None:
    sub = house.subscribe(house.basic, trial_period_days=14)
    session = house.visit()
    assert house.engine.portal.preview_change(session, house.pro).due_now == 2400
    assert house.engine.portal.change_price(session, house.pro) == Paid()
    assert (sub["status"], house.latest(sub)["total"]) == ("active", 2400)
    house.configuration = house.configure(trial_update_behavior="continue_trial")
    other = house.subscribe(house.basic, trial_period_days=14)
    session = house.visit()
    assert house.engine.portal.preview_change(session, house.pro).due_now == 0
    assert house.engine.portal.change_price(session, house.pro) == Applied()
    assert (other["status"], price_of(other)) == ("trialing", house.pro)


@pytest.mark.parametrize(
    "act",
    [
        lambda house, session: house.engine.portal.change_price(session, "price_unknown"),
        lambda house, session: house.engine.portal.change_price(session, house.basic),
        lambda house, session: house.engine.portal.resume(session),
        lambda house, session: house.engine.portal.pay_invoice(session, "in_unknown"),
    ],
)
def test_what_is_not_possible(house: House, act: Callable[[House, str], object]) -> None:
    house.subscribe(house.basic)
    with pytest.raises(StripeError):
        act(house, house.visit())


def test_links_do_not_last(house: House) -> None:
    house.subscribe(house.basic)
    unused = house.visit()
    house.advance(6 * 60)
    with pytest.raises(StripeError):
        house.engine.portal.view(unused)
    used = house.visit()
    house.engine.portal.view(used)
    for _ in range(3):
        house.advance(50 * 60)
        assert house.engine.portal.view(used).session_id == used
    house.advance(61 * 60)
    with pytest.raises(StripeError) as caught:
        house.engine.portal.cancel(used)
    assert caught.value.status == 404


def test_a_restart_goes_on_with_everything(house: House) -> None:
    sub = house.subscribe(house.pro)
    again = House.__new__(House)
    again.events = []
    again.store = Store(house.folder)
    again.clock = Clock(again.store)
    again.engine = Engine(again.store, again.clock, again._emit, "http://127.0.0.1:9")
    again.advance(31 * DAY + 2 * HOUR)
    found = again.store.get("subscription", sub["id"])
    assert found["latest_invoice"] != sub["latest_invoice"]
    assert again.latest(found)["status"] == "paid"


# Over the API


def configuration(
    sandbox: Server, *prices: stripe.Price, **features: Any
) -> stripe.billing_portal.Configuration:
    products = [{"product": str(price.product), "prices": [price.id]} for price in prices]
    given: Any = {
        "subscription_cancel": {"enabled": True},
        "payment_method_update": {"enabled": False},
        "subscription_update": {
            "enabled": True,
            "default_allowed_updates": ["price"],
            "products": products,
            "proration_behavior": "always_invoice",
        },
        **features,
    }
    return sandbox.client.v1.billing_portal.configurations.create(
        {"features": given, "metadata": {"by": "test"}}
    )


def test_configurations(sandbox: Server) -> None:
    basic, pro = sandbox.price(900), sandbox.price(2400)
    made = configuration(sandbox, basic, pro)
    assert (made.active, made.is_default) == (True, False)
    update = made.features.subscription_update
    assert update.proration_behavior == "always_invoice"
    assert "products" not in update
    configurations = sandbox.client.v1.billing_portal.configurations
    shown = configurations.retrieve(made.id, {"expand": ["features.subscription_update.products"]})
    products = shown.features.subscription_update.products
    assert products is not None
    assert [product.prices for product in products] == [[basic.id], [pro.id]]
    changed = configurations.update(
        made.id, {"features": {"subscription_cancel": {"enabled": True, "mode": "immediately"}}}
    )
    assert changed.features.subscription_cancel.mode == "immediately"
    assert changed.features.subscription_update.enabled is True, "what is not said stays"
    assert made.id in [one.id for one in configurations.list({"active": True, "limit": 100}).data]
    configurations.update(made.id, {"active": False})
    assert made.id not in [one.id for one in configurations.list({"active": True, "limit": 100}).data]
    other = sandbox.price(1)
    with pytest.raises(stripe.InvalidRequestError, match="does not belong to the product"):
        wrong: Any = {
            "enabled": True,
            "products": [{"product": str(basic.product), "prices": [other.id]}],
        }
        configurations.update(made.id, {"features": {"subscription_update": wrong}})


def test_sessions_need_a_configuration(sandbox: Server) -> None:
    customer = sandbox.customer()
    sessions = sandbox.client.v1.billing_portal.sessions
    with pytest.raises(stripe.InvalidRequestError, match="No configuration provided"):
        sessions.create({"customer": customer.id})
    made = configuration(sandbox, sandbox.price())
    session = sessions.create(
        {"customer": customer.id, "configuration": made.id, "return_url": "https://a.example", "locale": "de"}
    )
    assert session.url == f"{sandbox.base}/p/session/{session.id}"
    assert (session.customer, session.flow, session.locale) == (customer.id, None, "de")
    sandbox.client.v1.billing_portal.configurations.update(made.id, {"active": False})
    with pytest.raises(stripe.InvalidRequestError, match="inactive"):
        sessions.create({"customer": customer.id, "configuration": made.id})


def test_flows_are_checked_when_they_are_made(sandbox: Server) -> None:
    history = History(sandbox)
    basic, pro, other = sandbox.price(900), sandbox.price(2400), sandbox.price(5)
    sub = history.subscribe(basic)
    made = configuration(sandbox, basic, pro)
    item = only_item(sub).id

    def flow(kind: str, **data: Any) -> Any:
        given: Any = {
            "customer": history.customer,
            "configuration": made.id,
            "flow_data": {"type": kind, **({kind: data} if data else {})},
        }
        return sandbox.client.v1.billing_portal.sessions.create(given)

    good = flow("subscription_update_confirm", subscription=sub.id, items=[{"id": item, "price": pro.id}])
    assert good.flow.type == "subscription_update_confirm"
    assert good.flow.after_completion.type == "portal_homepage"
    assert flow("subscription_cancel", subscription=sub.id).flow.subscription_cancel.subscription == sub.id
    refusals: list[tuple[str, dict[str, Any], str]] = [
        ("payment_method_update", {}, "disabled"),
        ("subscription_cancel", {}, "Missing required param"),
        ("subscription_cancel", {"subscription": "sub_unknown"}, "No such subscription"),
        (
            "subscription_update_confirm",
            {"subscription": sub.id, "items": [{"id": item, "price": other.id}]},
            "not among the products",
        ),
        (
            "subscription_update_confirm",
            {"subscription": sub.id, "items": [{"id": item, "price": basic.id}]},
            "nothing to confirm",
        ),
        (
            "subscription_update_confirm",
            {"subscription": sub.id, "items": [{"id": "si_unknown", "price": pro.id}]},
            "No such subscription_item",
        ),
        ("subscription_pause", {}, "Invalid flow_data"),
    ]
    for kind, data, message in refusals:
        with pytest.raises(stripe.InvalidRequestError, match=message):
            flow(kind, **data)
    sandbox.client.v1.subscriptions.update(sub.id, {"cancel_at_period_end": True})
    with pytest.raises(stripe.InvalidRequestError, match="already set to be canceled"):
        flow("subscription_cancel", subscription=sub.id)
