"""Random histories: whatever people and merchants do, the sums agree and time goes on."""

import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from tests.sandbox.stripe.histories import DAY, HOUR
from tests.sandbox.stripe.house import House, card

from visiona.sandbox.stripe.engine.outcomes import ChallengeRequired
from visiona.sandbox.stripe.errors import StripeError
from visiona.sandbox.stripe.store import Obj

CARDS = (
    "4242424242424242",
    "4242424242424242",
    "4000000000000341",
    "4000002500003155",
    "4000002760003184",
    "4000000000000259",
    "4000000000005126",
    "4000000000009995",
)
STEPS = 40
PRORATIONS = ("none", "always_invoice", "create_prorations")
BEHAVIOURS = ("allow_incomplete", "default_incomplete", "error_if_incomplete", "pending_if_incomplete")


class Dice:
    """What may happen next. A refusal by the engine is part of the game."""

    def __init__(self, house: House, seed: int) -> None:
        self.house, self.engine, self.store = house, house.engine, house.store
        self.random = random.Random(seed)
        self.done: list[str] = []

    def roll(self) -> None:
        act: Callable[[], object] = self.random.choice(
            [
                self.wait,
                self.wait,
                self.wait,
                self.buy,
                self.buy,
                self.subscribe,
                self.change,
                self.change,
                self.cancel,
                self.end_later,
                self.go_on,
                self.change_in_portal,
                self.change_card,
                self.refund,
                self.dispute,
                self.pay,
                self.void,
                self.move_trial,
                self.pause,
                self.resume,
                self.schedule,
            ]
        )
        self.done.append(act.__name__)
        with suppress(StripeError), self.store.atomic():
            act()

    def any(self, kind: str, *statuses: str) -> Obj:
        found = [one for one in self.store.all(kind) if not statuses or one["status"] in statuses]
        if not found:
            raise StripeError(404, "invalid_request_error", "there is none")
        return self.random.choice(found)

    def running(self) -> Obj:
        return self.any("subscription", "active", "trialing", "past_due", "paused")

    def price(self) -> str:
        return self.random.choice([self.house.basic, self.house.pro, self.house.yearly])

    def wait(self) -> None:
        self.house.advance(self.random.choice([HOUR, DAY, 5 * DAY, 13 * DAY, 31 * DAY, 200 * DAY]))

    def buy(self) -> None:
        trial: Obj = {"subscription_data": {"trial_period_days": 7}} if self.random.random() < 0.3 else {}
        params: Obj = {
            "mode": "subscription",
            "customer": self.house.customer["id"],
            "line_items": [{"price": self.price(), "quantity": 1}],
            "success_url": "https://shop.example",
            **trial,
        }
        session = self.engine.checkout.create(params)["id"]
        if self.engine.checkout.pay(session, card(self.random.choice(CARDS))) == ChallengeRequired():
            self.engine.checkout.answer_challenge(session, approve=self.random.random() < 0.7)

    def subscribe(self) -> None:
        method = self.engine.payment_methods.create(card(self.random.choice(CARDS)))
        self.engine.payment_methods.attach(method, self.house.customer)
        params: Obj = {
            "customer": self.house.customer["id"],
            "items": [{"price": self.price(), "quantity": self.random.randint(1, 3)}],
            "default_payment_method": method["id"],
            "payment_behavior": self.random.choice(BEHAVIOURS[:3]),
            "billing_mode": {"type": self.random.choice(["classic", "flexible"])},
        }
        if self.random.random() < 0.3:
            params["cancel_at"] = self.house.clock.now() + self.random.randint(1, 80) * DAY
        self.engine.subscriptions.create(params)

    def change(self) -> None:
        subscription = self.running()
        item = subscription["items"]["data"][0]["id"]
        params: Obj = {
            "items": [{"id": item, "price": self.price(), "quantity": self.random.randint(1, 3)}],
            "proration_behavior": self.random.choice(PRORATIONS),
            "payment_behavior": self.random.choice(BEHAVIOURS),
        }
        if self.random.random() < 0.2:
            params["billing_cycle_anchor"] = {"type": "now"}
        self.engine.subscriptions.update(subscription, params)

    def cancel(self) -> None:
        params = {"prorate": self.random.random() < 0.5, "invoice_now": self.random.random() < 0.5}
        self.engine.subscriptions.cancel(self.running(), params)

    def end_later(self) -> None:
        self.engine.subscriptions.update(self.running(), {"cancel_at_period_end": True})

    def go_on(self) -> None:
        self.engine.subscriptions.update(self.running(), {"cancel_at": None})

    def change_in_portal(self) -> None:
        session = self.house.visit()
        price = self.price()
        self.engine.portal.preview_change(session, price)
        if self.engine.portal.change_price(session, price) == ChallengeRequired():
            self.engine.portal.answer_challenge(session, approve=self.random.random() < 0.7)
        self.engine.portal.view(session)

    def change_card(self) -> None:
        session = self.house.visit()
        if self.engine.portal.set_card(session, card(self.random.choice(CARDS))) == ChallengeRequired():
            self.engine.portal.answer_challenge(session, approve=self.random.random() < 0.7)

    def refund(self) -> None:
        charge = self.any("charge", "succeeded")
        self.engine.refunds.create(
            {"charge": charge["id"], "amount": self.random.randint(1, charge["amount"])}
        )

    def dispute(self) -> None:
        opened = self.engine.disputes.open(self.any("charge", "succeeded")["id"])
        if self.random.random() < 0.7:
            self.engine.disputes.close(opened["id"], "won" if self.random.random() < 0.5 else "lost")

    def pay(self) -> None:
        invoice = self.any("invoice", "draft", "open", "uncollectible")
        if invoice["status"] == "draft" or self.random.random() < 0.5:
            self.engine.collection.pay(invoice)
        elif self.engine.hosted_invoices.pay(invoice["id"], card(CARDS[0])) == ChallengeRequired():
            self.engine.hosted_invoices.answer_challenge(invoice["id"], approve=True)

    def void(self) -> None:
        invoice = self.any("invoice", "open")
        if self.random.random() < 0.5:
            self.engine.invoices.void(invoice)
        else:
            self.engine.invoices.mark_uncollectible(invoice)

    def move_trial(self) -> None:
        end = "now" if self.random.random() < 0.5 else self.house.clock.now() + 9 * DAY
        self.engine.subscriptions.update(self.running(), {"trial_end": end})

    def pause(self) -> None:
        how = self.random.choice(["invoice", "pending_invoice_item"])
        self.engine.subscriptions.pause(self.running(), {"invoicing_behavior": how})

    def resume(self) -> None:
        params: Obj = {
            "billing_cycle_anchor": {"type": self.random.choice(["now", "unchanged"])},
            "payment_behavior": self.random.choice(
                ["resume_on_payment_attempt", "resume_on_payment_success"]
            ),
        }
        self.engine.subscriptions.resume(self.any("subscription", "paused"), params)

    def schedule(self) -> None:
        self.engine.schedules.create({"from_subscription": self.running()["id"]})


def check_invoices(store_all: Callable[[str], list[Obj]]) -> None:
    for invoice in store_all("invoice"):
        assert invoice["subtotal"] == sum(line["amount"] for line in invoice["_all_lines"])
        if invoice["status"] == "paid":
            assert (invoice["amount_remaining"], invoice["amount_paid"]) == (0, invoice["amount_due"])
            paid = [one for one in store_all("invoice_payment") if one["invoice"] == invoice["id"]]
            assert sum(one["amount_paid"] or 0 for one in paid) == invoice["amount_due"]
        if invoice["status"] != "draft":
            assert (
                invoice["total"] + invoice["starting_balance"]
                == invoice["amount_due"] + invoice["ending_balance"]
            )


def check_money(store_all: Callable[[str], list[Obj]]) -> None:
    collected = sum(charge["amount"] for charge in store_all("charge") if charge["status"] == "succeeded")
    assert collected == sum(invoice["amount_paid"] for invoice in store_all("invoice"))
    for charge in store_all("charge"):
        refunds = [one for one in store_all("refund") if one["charge"] == charge["id"]]
        given = sum(refund["amount"] for refund in refunds if refund["status"] != "failed")
        assert charge["amount_refunded"] == given <= charge["amount"]
        assert charge["refunded"] == (given == charge["amount"])
    movements = sum(one["amount"] for one in store_all("customer_balance_transaction"))
    assert sum(customer["balance"] for customer in store_all("customer")) == movements


def check_subscriptions(store_all: Callable[[str], list[Obj]], now: int) -> None:
    schedules = {schedule["id"]: schedule["status"] for schedule in store_all("subscription_schedule")}
    for subscription in store_all("subscription"):
        (item,) = subscription["items"]["data"]
        ended = subscription["status"] in {"canceled", "incomplete_expired"}
        assert (subscription["ended_at"] is not None) == ended
        if subscription["status"] in {"active", "past_due", "trialing"}:
            assert item["current_period_start"] <= now <= item["current_period_end"] + 1
        if subscription["schedule"] is not None:
            assert schedules[subscription["schedule"]] == "active"


@pytest.mark.parametrize("seed", range(12))
def test_sums_agree_whatever_happens(tmp_path: Path, seed: int) -> None:
    house = House(tmp_path / "stripe")
    house.subscribe(house.basic)
    dice = Dice(house, seed)
    for _ in range(STEPS):
        dice.roll()
        try:
            check_invoices(house.store.all)
            check_money(house.store.all)
            check_subscriptions(house.store.all, house.clock.now())
        except AssertionError:
            print(f"seed {seed}, the last of:", *dice.done)
            raise


def test_a_refused_request_leaves_no_trace_in_what_is_due(tmp_path: Path) -> None:
    house = House(tmp_path / "stripe")
    subscription_id = house.subscribe(house.basic)["id"]
    with pytest.raises(StripeError, match="mismatch in interval"), house.store.atomic():
        subscription = house.store.get("subscription", subscription_id)
        house.engine.subscriptions.update(subscription, {"cancel_at_period_end": True})
        house.engine.subscriptions.update(subscription, {"items": [{"price": house.yearly}]})
    subscription = house.store.get("subscription", subscription_id)
    assert subscription["cancel_at"] is None
    house.advance(32 * DAY)
    assert (subscription["status"], house.latest(subscription)["status"]) == ("active", "paid")
