"""Events as they are kept and listed, and the objects that they tell of."""

from typing import Any

import pytest
import stripe


def types_of(sandbox: Any, object_id: str) -> list[str]:
    return [one["type"] for one in sandbox.events(object_id)]


def newest(sandbox: Any, object_id: str) -> stripe.Event:
    return sandbox.client.v1.events.retrieve(sandbox.events(object_id)[-1]["id"])


def test_an_event_shows_its_object_as_it_was_and_who_asked(sandbox: Any) -> None:
    options: Any = {"idempotency_key": "told"}
    customer = sandbox.client.v1.customers.create({"name": "Then"}, options)
    sandbox.client.v1.customers.update(customer.id, {"name": "Now"})
    created = sandbox.client.v1.events.retrieve(sandbox.events(customer.id)[0]["id"])
    assert created.object == "event"
    assert created.data.object.name == "Then"
    assert created.request.id == customer.last_response.request_id
    assert created.request.idempotency_key == "told"
    assert created.created == customer.created
    assert "previous_attributes" not in created.data


def test_updates_tell_what_was_before(sandbox: Any) -> None:
    customer = sandbox.customer(name="A", metadata={"kept": "1", "gone": "2"})
    sandbox.client.v1.customers.update(
        customer.id, {"name": "B", "metadata": {"gone": "", "new": "3"}, "address": {"city": "Bern"}}
    )
    previous = newest(sandbox, customer.id).data.previous_attributes.to_dict()
    assert previous == {"name": "A", "metadata": {"gone": "2", "new": None}, "address": None}


def test_an_update_that_changes_nothing_is_no_event(sandbox: Any) -> None:
    customer = sandbox.customer(name="A")
    sandbox.client.v1.customers.update(customer.id, {"name": "A"})
    assert types_of(sandbox, customer.id) == ["customer.created"]


def test_a_refused_request_leaves_no_event_and_no_trace(sandbox: Any) -> None:
    price = sandbox.price(lookup_key="taken-once")
    before = sandbox.state()
    with pytest.raises(stripe.InvalidRequestError, match="already uses that lookup key"):
        sandbox.price(lookup_key="taken-once")
    after = sandbox.state()
    assert after["counts"] == before["counts"]
    assert after["events"] == before["events"]
    assert sandbox.client.v1.prices.retrieve(price.id).lookup_key == "taken-once"


def test_events_are_found_by_type_group_and_time(sandbox: Any) -> None:
    customer = sandbox.customer()
    price = sandbox.price()
    listed = sandbox.client.v1.events.list
    assert listed({"type": "customer.created", "limit": 1}).data[0].data.object.id == customer.id
    assert listed({"type": "price.*", "limit": 1}).data[0].data.object.id == price.id
    both = listed({"types": ["customer.created", "price.created"], "limit": 2}).data
    assert [one.type for one in both] == ["price.created", "customer.created"]
    assert listed({"type": "customer.created", "created": {"lt": customer.created - 86400}}).data == []
    with pytest.raises(stripe.InvalidRequestError, match="type, types"):
        listed({"type": "customer.*", "types": ["price.created"]})
    with pytest.raises(stripe.InvalidRequestError, match="maximum 20"):
        listed({"types": ["customer.created"] * 21})


def test_events_of_more_than_30_days_are_gone(run_stripe: Any, tmp_path: Any) -> None:
    with run_stripe(tmp_path) as server:
        server.customer()
        (event,) = server.client.v1.events.list().data
        server.advance(30 * 86400 - 60)
        assert server.client.v1.events.retrieve(event.id).id == event.id
        server.advance(120)
        assert server.client.v1.events.list().data == []
        assert "event" not in server.state()["counts"]
        with pytest.raises(stripe.InvalidRequestError):
            server.client.v1.events.retrieve(event.id)


def test_a_deleted_customer_stays_as_a_name(sandbox: Any) -> None:
    customer = sandbox.customer(email="gone@example.com", payment_method="pm_card_visa")
    methods = sandbox.client.v1.payment_methods
    (card,) = methods.list({"customer": customer.id}).data
    assert sandbox.client.v1.customers.delete(customer.id).deleted
    again = sandbox.client.v1.customers.retrieve(customer.id)
    assert again.to_dict() == {"id": customer.id, "object": "customer", "deleted": True}
    assert types_of(sandbox, customer.id)[-1] == "customer.deleted"
    assert newest(sandbox, customer.id).data.object.email == "gone@example.com"
    assert sandbox.client.v1.customers.list({"email": "gone@example.com"}).data == []
    assert methods.retrieve(card.id).customer is None
    for change in (
        lambda: sandbox.client.v1.customers.update(customer.id, {"name": "x"}),
        lambda: sandbox.client.v1.customers.delete(customer.id),
        lambda: methods.attach("pm_card_visa", {"customer": customer.id}),
    ):
        with pytest.raises(stripe.InvalidRequestError) as caught:
            change()
        assert caught.value.code == "resource_missing"


def test_a_customers_fields_are_set_and_unset(sandbox: Any) -> None:
    address = {"city": "Bern", "country": "CH", "line1": "1 Way", "postal_code": "3000"}
    customer = sandbox.customer(
        address=address,
        description="d",
        invoice_settings={"footer": "Thanks"},
        preferred_locales=["de", "fr"],
        shipping={"name": "N", "address": {"line1": "2 Way"}},
        tax_exempt="exempt",
    )
    assert customer.address.to_dict() == {**address, "line2": None, "state": None}
    assert customer.shipping.address.line1 == "2 Way"
    assert customer.preferred_locales == ["de", "fr"]
    changed = sandbox.client.v1.customers.update(
        customer.id, {"address": "", "shipping": "", "description": "", "tax_exempt": ""}
    )
    assert (changed.address, changed.shipping, changed.description) == (None, None, None)
    assert changed.tax_exempt == "none"
    assert changed.invoice_settings.footer == "Thanks"


def test_a_balance_keeps_account_of_what_changed_it(sandbox: Any) -> None:
    customer = sandbox.customer()
    transactions = sandbox.client.v1.customers.balance_transactions
    credit = transactions.create(
        customer.id, {"amount": -500, "currency": "EUR", "description": "sorry", "metadata": {"k": "v"}}
    )
    assert (credit.amount, credit.ending_balance, credit.currency) == (-500, -500, "eur")
    changed = sandbox.client.v1.customers.update(customer.id, {"balance": 200})
    assert (changed.balance, changed.currency) == (200, "eur")
    assert newest(sandbox, customer.id).data.previous_attributes["balance"] == -500
    listed = transactions.list(customer.id).data
    assert [(one.amount, one.type) for one in listed] == [(700, "adjustment"), (-500, "adjustment")]
    told = transactions.update(customer.id, credit.id, {"description": "", "metadata": {"k": ""}})
    assert (told.description, told.metadata.to_dict()) == (None, {})
    assert transactions.retrieve(customer.id, credit.id).ending_balance == -500
    with pytest.raises(stripe.InvalidRequestError) as caught:
        transactions.create(customer.id, {"amount": 1, "currency": "usd"})
    assert caught.value.param == "currency"
    with pytest.raises(stripe.InvalidRequestError):
        transactions.retrieve(sandbox.customer().id, credit.id)
    debtor = sandbox.customer(balance=300)
    assert debtor.balance == 300
    sandbox.client.v1.customers.update(debtor.id, {"balance": 0})
    (only,) = transactions.list(debtor.id).data
    assert (only.amount, only.currency) == (-300, "usd")


def test_payment_methods_belong_to_one_customer(sandbox: Any) -> None:
    customer, other = sandbox.customer(), sandbox.customer()
    methods = sandbox.client.v1.payment_methods
    card = methods.attach("pm_card_visa", {"customer": customer.id})
    assert (card.card.brand, card.card.last4, card.customer) == ("visa", "4242", customer.id)
    assert "_number" not in card
    typed = methods.create(
        {
            "type": "card",
            "card": {"number": "5555555555554444", "exp_month": 12, "exp_year": 2050, "cvc": "123"},
            "billing_details": {"name": "Ada", "address": {"country": "GB"}},
        }
    )
    assert (typed.card.brand, typed.billing_details.address.country) == ("mastercard", "GB")
    methods.attach(typed.id, {"customer": customer.id})
    listed = sandbox.client.v1.customers.payment_methods.list(customer.id).data
    assert [one.id for one in listed] == [typed.id, card.id]
    with pytest.raises(stripe.InvalidRequestError, match="already been attached"):
        methods.attach(card.id, {"customer": other.id})
    default = {"invoice_settings": {"default_payment_method": card.id}}
    with pytest.raises(stripe.InvalidRequestError, match="does not have a payment method"):
        sandbox.client.v1.customers.update(other.id, default)
    sandbox.client.v1.customers.update(customer.id, default)
    changed = methods.update(card.id, {"metadata": {"k": "v"}, "card": {"exp_year": 2060}})
    assert (changed.card.exp_year, changed.metadata["k"]) == (2060, "v")
    assert methods.detach(card.id).customer is None
    assert types_of(sandbox, card.id) == [
        "payment_method.attached",
        "payment_method.updated",
        "payment_method.detached",
    ]
    again = sandbox.client.v1.customers.retrieve(customer.id)
    assert again.invoice_settings.default_payment_method is None


def test_a_card_that_is_refused_is_a_card_error(sandbox: Any) -> None:
    methods = sandbox.client.v1.payment_methods
    card = {"number": "4242424242424241", "exp_month": 12, "exp_year": 2050, "cvc": "123"}
    with pytest.raises(stripe.CardError) as caught:
        methods.create({"type": "card", "card": card})
    assert (caught.value.http_status, caught.value.code) == (402, "incorrect_number")
    customer = sandbox.customer()
    with pytest.raises(stripe.CardError) as caught:
        methods.attach("pm_card_chargeDeclined", {"customer": customer.id})
    assert caught.value.code == "card_declined"
    assert caught.value.error.decline_code == "generic_decline"
    with pytest.raises(stripe.CardError):
        sandbox.customer(email="never@example.com", payment_method="pm_card_chargeDeclined")
    assert sandbox.client.v1.customers.list({"email": "never@example.com"}).data == []


def test_products_and_prices(sandbox: Any) -> None:
    products, prices = sandbox.client.v1.products, sandbox.client.v1.prices
    product = products.create(
        {
            "name": "Studio",
            "id": "studio-plan",
            "marketing_features": [{"name": "Fast"}],
            "images": ["https://x/y"],
        }
    )
    assert (product.id, product.active, product.default_price) == ("studio-plan", True, None)
    with pytest.raises(stripe.InvalidRequestError) as caught:
        products.create({"name": "Studio", "id": "studio-plan"})
    assert caught.value.code == "resource_already_exists"
    with pytest.raises(stripe.InvalidRequestError):
        products.create({"name": "Evil", "id": "../../etc"})
    price = prices.create(
        {
            "product": product.id,
            "currency": "EUR",
            "unit_amount": 1900,
            "recurring": {"interval": "year"},
            "lookup_key": "studio_yearly",
            "nickname": "yearly",
        }
    )
    assert (price.currency, price.type, price.recurring.interval_count) == ("eur", "recurring", 1)
    assert [one.id for one in prices.list({"lookup_keys": ["studio_yearly", "none"]}).data] == [price.id]
    assert [
        one.id for one in prices.list({"product": product.id, "recurring": {"interval": "year"}}).data
    ] == [price.id]
    assert prices.list({"product": product.id, "type": "one_time"}).data == []
    products.update(product.id, {"default_price": price.id, "images": "", "description": "All of it"})
    with pytest.raises(stripe.InvalidRequestError, match="cannot be deleted"):
        products.delete(product.id)
    changed = prices.update(price.id, {"active": False, "metadata": {"k": "v"}})
    assert not changed.active
    assert prices.list({"product": product.id, "active": True}).data == []
    empty = products.create({"name": "Nothing"})
    assert products.delete(empty.id).deleted
    assert [one.id for one in products.list({"ids": [product.id, empty.id]}).data] == [product.id]


def test_a_lookup_key_moves_when_it_is_told_to(sandbox: Any) -> None:
    old = sandbox.price(lookup_key="moving")
    new = sandbox.price(lookup_key="moving", transfer_lookup_key=True)
    assert sandbox.client.v1.prices.retrieve(old.id).lookup_key is None
    (found,) = sandbox.client.v1.prices.list({"lookup_keys": ["moving"]}).data
    assert found.id == new.id
    assert newest(sandbox, old.id).data.previous_attributes.to_dict() == {"lookup_key": "moving"}


@pytest.mark.parametrize(
    ("amount", "whole", "exact"),
    [
        ({"unit_amount": 900}, 900, "900"),
        ({"unit_amount_decimal": "0.5"}, None, "0.5"),
        ({"unit_amount_decimal": "1200.0"}, 1200, "1200"),
        ({"unit_amount": 0}, 0, "0"),
    ],
)
def test_amounts_are_whole_or_exact(
    sandbox: Any, amount: dict[str, Any], whole: int | None, exact: str
) -> None:
    form = {"currency": "usd", "product_data[name]": "x", **amount}
    answer = sandbox.raw.post("/v1/prices", data=form).json()
    assert (answer["unit_amount"], answer["unit_amount_decimal"]) == (whole, exact)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"unit_amount": None}, "unit_amount"),
        ({"unit_amount_decimal": "1.5"}, "unit_amount"),
        ({"unit_amount": -1}, "unit_amount"),
        ({"unit_amount": 100_000_000}, "unit_amount"),
        ({"unit_amount": None, "unit_amount_decimal": "NaN"}, "unit_amount_decimal"),
        ({"unit_amount": None, "unit_amount_decimal": "0.0000000000001"}, "unit_amount_decimal"),
        ({"currency": "xxx"}, "currency"),
        ({"product": "prod_none"}, "product"),
        ({"product_data": None}, "product"),
        ({"recurring": {"interval": "month", "interval_count": 37}}, "recurring[interval_count]"),
        ({"recurring": {"interval": "fortnight"}}, "recurring[interval]"),
        ({"recurring": {"interval_count": 1}}, "recurring[interval]"),
        ({"tiers_mode": "volume"}, "tiers_mode"),
    ],
)
def test_prices_are_checked(sandbox: Any, change: dict[str, Any], param: str) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        sandbox.price(**change)
    assert (caught.value.http_status, caught.value.param) == (400, param)
