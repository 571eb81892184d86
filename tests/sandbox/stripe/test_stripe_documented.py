"""What Stripe's documentation says of the API at large, told by the official SDK, both ways of calling it:
objects and how they are read, lists, expansion, errors, repetition, events and webhooks.

`test_stripe_documented_checkout.py`, `_subscriptions.py` and `_money.py` go on with what is bought and paid.
"""

import asyncio
import time
from decimal import Decimal
from typing import Any

import pytest
import stripe
from tests.sandbox.stripe.both_ways import (  # noqa: F401 - `either_way` and `shared_server` are fixtures
    Shop,
    either_way,
    item_of,
    opened,
    shared_server,
)
from tests.sandbox.stripe.conftest import Receiver, wait_until

# The SDK hands its form to httpx in a way that httpx has begun to discourage.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

VERSION = "2026-10-28.endive"


# Customers


async def test_a_customer_from_first_to_last(shop: Shop) -> None:
    customers = shop.v1.customers
    made = await customers.create(
        {
            "email": "Grace@Example.com",
            "name": "Grace",
            "phone": "+1 555 0100",
            "address": {"line1": "1 Main St", "country": "US"},
            "preferred_locales": ["de", "en"],
            "metadata": {"user": "7", "plan": "basic"},
        }
    )
    assert made.object == "customer"
    assert made.id.startswith("cus_")
    assert (made.livemode, made.balance, made.currency, made.delinquent) == (False, 0, None, False)
    assert (made.address.line1, made.address.city, made.address.country) == ("1 Main St", None, "US")
    assert made.invoice_settings.default_payment_method is None
    assert abs(made.created - time.time()) < 5
    found = await customers.retrieve(made.id)
    assert found == made
    # Metadata is merged: a key with an empty value goes, others stay.
    changed = await customers.update(made.id, {"name": "", "metadata": {"plan": "", "seats": "2"}})
    assert (changed.name, changed.email) == (None, "Grace@Example.com")
    assert changed.metadata.to_dict() == {"user": "7", "seats": "2"}
    emptied = await customers.update(made.id, {"metadata": ""})
    assert emptied.metadata.to_dict() == {}
    # The filter by e-mail knows upper case from lower.
    assert made.id in [one.id for one in (await customers.list({"email": "Grace@Example.com"})).data]
    assert made.id not in [one.id for one in (await customers.list({"email": "grace@example.com"})).data]


async def test_a_deleted_customer_remains_as_a_name(shop: Shop) -> None:
    life = await shop.life()
    sub = await life.subscribe(await shop.price())
    gone = await shop.v1.customers.delete(life.customer)
    assert gone.to_dict() == {"id": life.customer, "object": "customer", "deleted": True}
    found = await shop.v1.customers.retrieve(life.customer)
    assert found.deleted is True
    assert not hasattr(found, "email")
    ended = await life.subscription(sub)
    assert (ended.status, ended.customer) == ("canceled", life.customer)
    assert [one.status for one in await life.invoices()] == ["paid"]
    told = [event.type for event in await life.told()]
    assert {"customer.subscription.deleted", "customer.deleted"} <= set(told)
    for attempt in (
        shop.v1.customers.update(life.customer, {"name": "Ada"}),
        shop.v1.customers.delete(life.customer),
    ):
        with pytest.raises(stripe.InvalidRequestError) as refused:
            await attempt
        assert (refused.value.http_status, refused.value.code) == (404, "resource_missing")
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await life.subscribe(await shop.price())
    assert (refused.value.http_status, refused.value.param) == (400, "customer")


async def test_an_update_without_change_is_no_event(shop: Shop) -> None:
    made = await shop.v1.customers.create({"name": "Same"})
    await shop.v1.customers.update(made.id, {"name": "Same"})
    assert [event.type for event in await shop.events_about(made.id)] == ["customer.created"]


# Products and prices


async def test_products_and_their_prices(shop: Shop) -> None:
    v1 = shop.v1
    product = await v1.products.create(
        {"name": "Pro", "default_price_data": {"currency": "usd", "unit_amount": 2900}}
    )
    default = await v1.prices.retrieve(product.default_price, {"expand": ["product"]})
    assert (default.type, default.recurring, default.product.id) == ("one_time", None, product.id)
    monthly = await v1.prices.create(
        {
            "product": product.id,
            "currency": "usd",
            "unit_amount": 2900,
            "nickname": "Monthly",
            "recurring": {"interval": "month"},
        }
    )
    assert (monthly.type, monthly.active, monthly.billing_scheme) == ("recurring", True, "per_unit")
    assert (monthly.unit_amount, monthly.unit_amount_decimal) == (2900, Decimal(2900))
    assert (monthly.recurring.interval, monthly.recurring.interval_count) == ("month", 1)
    assert monthly.recurring.usage_type == "licensed"
    exact = await v1.prices.create(
        {"product": product.id, "currency": "usd", "unit_amount_decimal": "0.125", "active": False}
    )
    assert (exact.unit_amount, exact.unit_amount_decimal) == (None, Decimal("0.125"))
    listed = await v1.prices.list({"product": product.id, "active": True})
    assert [one.id for one in listed.data] == [monthly.id, default.id]
    recurring = await v1.prices.list({"product": product.id, "recurring": {"interval": "month"}})
    assert [one.id for one in recurring.data] == [monthly.id]
    # What has prices stays: it is switched off instead.
    with pytest.raises(stripe.InvalidRequestError):
        await v1.products.delete(product.id)
    assert (await v1.products.update(product.id, {"active": False})).active is False
    empty = await v1.products.create({"name": "Nobody wants it"})
    assert (await v1.products.delete(empty.id)).deleted is True
    with pytest.raises(stripe.InvalidRequestError, match="No such product"):
        await v1.products.retrieve(empty.id)


async def test_an_amount_is_for_ever(shop: Shop) -> None:
    price = await shop.price()
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await shop.v1.prices.update(price.id, {"unit_amount": 1})
    assert (refused.value.code, refused.value.param) == ("parameter_unknown", "unit_amount")
    changed = await shop.v1.prices.update(price.id, {"active": False, "nickname": "Old"})
    assert (changed.active, changed.nickname, changed.unit_amount) == (False, "Old", 900)
    life = await shop.life()
    with pytest.raises(stripe.InvalidRequestError, match="inactive"):
        await life.subscribe(price)


async def test_a_lookup_key_moves_on(shop: Shop) -> None:
    key = f"pro_monthly_{shop.waits}"
    first = await shop.price(2900, lookup_key=key)
    with pytest.raises(stripe.InvalidRequestError, match="already uses that lookup key"):
        await shop.price(3900, lookup_key=key)
    second = await shop.price(3900, lookup_key=key, transfer_lookup_key=True)
    found = await shop.v1.prices.list({"lookup_keys": [key], "active": True})
    assert [one.id for one in found.data] == [second.id]
    assert (await shop.v1.prices.retrieve(first.id)).lookup_key is None
    updates = await shop.events_about(first.id, types=["price.updated"])
    assert [event.data.previous_attributes.to_dict() for event in updates] == [{"lookup_key": key}]


# How objects are read


async def test_what_the_sdk_makes_of_an_answer(shop: Shop) -> None:
    life = await shop.life()
    sub = await life.subscribe(await shop.price(), metadata={"plan": "pro"})
    assert isinstance(sub, stripe.Subscription)
    assert sub.status == sub["status"] == getattr(sub, "status", None) == "active"
    assert "status" in sub
    assert "current_period_end" not in sub
    assert getattr(sub, "current_period_end", None) is None
    assert isinstance(sub.items, stripe.ListObject)
    assert sub.items.data[0].id == sub["items"].data[0].id == item_of(sub).id
    assert isinstance(item_of(sub).price.unit_amount_decimal, Decimal)
    assert (sub.metadata.plan, sub.metadata["plan"]) == ("pro", "pro")
    for wrong in ("get", "keys", "values", "pop"):
        with pytest.raises(AttributeError, match="is not a dict"):
            getattr(sub, wrong)
    with pytest.raises(TypeError, match="to_dict"):
        iter(sub)
    plain = sub.to_dict()
    assert type(plain) is dict
    assert plain["items"]["data"][0]["price"]["unit_amount"] == 900
    assert await life.subscription(sub) == sub
    assert sub.last_response.headers["stripe-version"] == VERSION
    assert sub.last_response.request_id.startswith("req_")
    assert sub.last_response.code == 200


# Lists


async def test_lists_are_paged_in_both_directions(shop: Shop) -> None:
    product = (await shop.v1.products.create({"name": "Many"})).id
    made = [
        (await shop.v1.prices.create({"product": product, "currency": "usd", "unit_amount": number})).id
        for number in range(7)
    ]
    newest_first = made[::-1]
    mine = {"product": product}
    page = await shop.v1.prices.list({**mine, "limit": 3})
    assert (page.object, page.url, page.has_more) == ("list", "/v1/prices", True)
    assert [one.id for one in page.data] == newest_first[:3]
    assert [one.id for one in await shop.everything(page)] == newest_first
    after = await shop.v1.prices.list({**mine, "limit": 2, "starting_after": newest_first[2]})
    assert [one.id for one in after.data] == newest_first[3:5]
    assert [one.id for one in await shop.everything(after)] == newest_first[3:]
    # Before a cursor: the page just before it, in the usual order; paging on goes towards what is newer.
    before = await shop.v1.prices.list({**mine, "limit": 2, "ending_before": newest_first[-1]})
    assert ([one.id for one in before.data], before.has_more) == (newest_first[4:6], True)
    assert [one.id for one in await shop.everything(before)] == made[1:]
    exact = await shop.v1.prices.list({**mine, "limit": 7})
    assert (len(exact.data), exact.has_more) == (7, False)
    assert len((await shop.v1.customers.list()).data) <= 10


@pytest.mark.parametrize(
    ("params", "param", "code"),
    [
        ({"limit": 0}, "limit", "parameter_invalid_integer"),
        ({"limit": 101}, "limit", "parameter_invalid_integer"),
        ({"limit": "ten"}, "limit", "parameter_invalid_integer"),
        ({"starting_after": "cus_nobody"}, "starting_after", "resource_missing"),
        ({"ending_before": "cus_nobody"}, "ending_before", "resource_missing"),
        ({"colour": "red"}, "colour", "parameter_unknown"),
    ],
)
async def test_lists_are_asked_for_properly(shop: Shop, params: Any, param: str, code: str) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await shop.v1.customers.list(params)
    error = refused.value
    assert (error.http_status, error.param, error.code) == (400, param, code)


async def test_a_page_goes_on_from_what_has_left_the_list(shop: Shop) -> None:
    product = (await shop.v1.products.create({"name": "Sold out"})).id
    made = [
        (await shop.v1.prices.create({"product": product, "currency": "usd", "unit_amount": number})).id
        for number in range(6)
    ]
    newest_first = made[::-1]
    mine = {"product": product, "active": True, "limit": 2}
    page = await shop.v1.prices.list(mine)
    await shop.v1.prices.update(newest_first[1], {"active": False})
    assert [one.id for one in await shop.everything(page)] == newest_first
    before = await shop.v1.prices.list({**mine, "ending_before": newest_first[1]})
    assert [one.id for one in before.data] == newest_first[:1]
    with pytest.raises(stripe.InvalidRequestError, match="No such price"):
        await shop.v1.prices.list({**mine, "starting_after": product})


async def test_a_cursor_of_nobody_is_named_by_its_kind(shop: Shop) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="No such customer: 'cus_nobody'"):
        await shop.v1.customers.list({"starting_after": "cus_nobody"})


# Expansion


async def test_ids_grow_into_objects(shop: Shop) -> None:
    life = await shop.life()
    sub = await life.subscribe(await shop.price())
    assert isinstance(sub.latest_invoice, str)
    wish = ["customer", "latest_invoice.payments", "items.data.price.product", "default_payment_method"]
    found = await shop.v1.subscriptions.retrieve(sub.id, {"expand": wish})
    assert isinstance(found.customer, stripe.Customer)
    assert isinstance(found.latest_invoice, stripe.Invoice)
    assert isinstance(found.latest_invoice.payments.data[0], stripe.InvoicePayment)
    assert isinstance(item_of(found).price.product, stripe.Product)
    assert found.default_payment_method is None
    listed = await shop.v1.invoices.list(
        {"customer": life.customer, "expand": ["data.customer", "data.payments"]}
    )
    assert isinstance(listed.data[0].customer, stripe.Customer)
    paid = listed.data[0].payments.data[0]
    intent = await shop.v1.payment_intents.retrieve(
        paid.payment.payment_intent, {"expand": ["latest_charge.balance_transaction", "payment_method"]}
    )
    assert isinstance(intent.latest_charge, stripe.Charge)
    assert intent.latest_charge.balance_transaction.net == 900 - intent.latest_charge.balance_transaction.fee
    assert isinstance(intent.payment_method, stripe.PaymentMethod)


async def test_what_is_made_can_be_expanded_at_once(shop: Shop) -> None:
    life = await shop.life()
    price = await shop.price()
    sub = await life.subscribe(
        price, payment_behavior="default_incomplete", expand=["latest_invoice.confirmation_secret"]
    )
    assert sub.latest_invoice.confirmation_secret.client_secret.startswith("pi_")
    # Parts that come on request only are not there otherwise.
    assert "confirmation_secret" not in await life.latest(sub)
    assert "subscriptions" not in await shop.v1.customers.retrieve(life.customer)
    expanded = await shop.v1.customers.retrieve(life.customer, {"expand": ["subscriptions.data.customer"]})
    assert [one.id for one in expanded.subscriptions.data] == [sub.id]


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("nonsense", None),
        ("email", None),
        ("subscriptions.data.nonsense", None),
        # The `data` of a list counts as one of four levels.
        ("subscriptions.data.items.data.price", "property_expansion_max_depth"),
    ],
)
async def test_expansion_has_its_limits(shop: Shop, path: str, code: str | None) -> None:
    life = await shop.life()
    await life.subscribe(await shop.price())
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await shop.v1.customers.retrieve(life.customer, {"expand": [path]})
    assert (refused.value.http_status, refused.value.code) == (400, code)
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await shop.v1.subscriptions.list(
            {"customer": life.customer, "expand": ["data.items.data.price.product"]}
        )
    assert refused.value.code == "property_expansion_max_depth"


# Errors


async def test_errors_have_classes_of_their_own(shop: Shop) -> None:
    customers = shop.v1.customers
    with pytest.raises(stripe.InvalidRequestError) as missing:
        await customers.retrieve("cus_nobody")
    error = missing.value
    assert (error.http_status, error.code, error.param) == (404, "resource_missing", "id")
    assert error.user_message == "No such customer: 'cus_nobody'"
    assert error.error.type == "invalid_request_error"
    assert error.request_id.startswith("req_")
    assert error.error.doc_url.endswith("/error-codes/resource-missing")
    with pytest.raises(stripe.InvalidRequestError) as unknown:
        await customers.create({"e_mail": "ada@example.com"})
    error = unknown.value
    assert (error.http_status, error.code, error.param) == (400, "parameter_unknown", "e_mail")
    assert "Received unknown parameter: e_mail" in error.user_message
    with pytest.raises(stripe.InvalidRequestError) as absent:
        await shop.v1.subscriptions.create({"items": [{"price": "price_1"}]})
    assert (absent.value.code, absent.value.param) == ("parameter_missing", "customer")
    with pytest.raises(stripe.InvalidRequestError) as empty:
        await shop.v1.prices.create({"currency": "usd", "unit_amount": "", "product_data": {"name": "Pro"}})
    assert (empty.value.code, empty.value.param) == ("parameter_invalid_empty", "unit_amount")
    with pytest.raises(stripe.InvalidRequestError) as wrong:
        await shop.v1.prices.create(
            {"currency": "usd", "unit_amount": "much", "product_data": {"name": "Pro"}}
        )
    assert (wrong.value.code, wrong.value.param) == ("parameter_invalid_integer", "unit_amount")
    life = await shop.life()
    with pytest.raises(stripe.InvalidRequestError) as nested:
        await shop.v1.subscriptions.create({"customer": life.customer, "items": [{"price": "price_x"}]})
    error = nested.value
    assert (error.http_status, error.code, error.param) == (400, "resource_missing", "items[0][price]")


async def test_a_wrong_key_is_nobodys(shop: Shop) -> None:
    async with shop.calling(key="sk_test_somebodyelse000000") as v1:
        with pytest.raises(stripe.AuthenticationError) as refused:
            await v1.customers.list()
    assert refused.value.http_status == 401
    assert "Invalid API Key provided: sk_test_" in refused.value.user_message
    assert "somebodyelse" not in refused.value.user_message


@pytest.mark.parametrize(
    ("number", "code", "decline_code", "param"),
    [
        ("4000000000000002", "card_declined", "generic_decline", None),
        ("4000000000009995", "card_declined", "insufficient_funds", None),
        ("4000000000009987", "card_declined", "lost_card", None),
        ("4000000000000069", "expired_card", None, "exp_month"),
        ("4000000000000127", "incorrect_cvc", None, "cvc"),
        ("4000000000000119", "processing_error", None, None),
        ("4242424242424241", "incorrect_number", None, "number"),
    ],
)
async def test_cards_that_are_refused(
    shop: Shop, number: str, code: str, decline_code: str | None, param: str | None
) -> None:
    customer = await shop.v1.customers.create({})
    with pytest.raises(stripe.CardError) as refused:
        method = await shop.v1.payment_methods.create(
            {"type": "card", "card": {"number": number, "exp_month": 12, "exp_year": 2034, "cvc": "123"}}
        )
        await shop.v1.payment_methods.attach(method.id, {"customer": customer.id})
    error = refused.value
    assert (error.http_status, error.code, error.param) == (402, code, param)
    assert getattr(error.error, "decline_code", None) == decline_code


async def test_a_refused_charge_brings_its_payment(shop: Shop) -> None:
    life = await shop.life(card="pm_card_chargeCustomerFail")
    sub = await life.subscribe(await shop.price())
    invoice = await life.latest(sub)
    with pytest.raises(stripe.CardError) as refused:
        await shop.v1.invoices.pay(invoice.id)
    error = refused.value.error
    assert (error.type, error.code, error.decline_code) == ("card_error", "card_declined", "generic_decline")
    # The payment intent is the object itself, and knows of the failure.
    intent = error.payment_intent
    assert intent.id == invoice.payments.data[0].payment.payment_intent
    assert (intent.status, intent.last_payment_error.code) == ("requires_payment_method", "card_declined")
    assert error.charge == intent.latest_charge
    assert error.payment_method.id == life.method


async def test_failures_of_the_way_have_classes_too(shop: Shop) -> None:
    shop.server.fault("rate_limit", path="/v1/customers")
    with pytest.raises(stripe.RateLimitError) as limited:
        await shop.v1.customers.list()
    assert (limited.value.http_status, limited.value.error.code) == (429, "rate_limit")
    shop.server.fault("server_error", path="/v1/customers")
    with pytest.raises(stripe.APIError) as broken:
        await shop.v1.customers.list()
    assert (broken.value.http_status, broken.value.error.type) == (500, "api_error")
    shop.server.fault("html_502", path="/v1/customers")
    with pytest.raises(stripe.APIError, match="Invalid response body"):
        await shop.v1.customers.list()
    shop.server.fault("connection_drop", path="/v1/customers")
    with pytest.raises(stripe.APIConnectionError):
        await shop.v1.customers.list()


# Trying again


async def test_the_sdk_tries_again_by_itself(shop: Shop) -> None:
    async with shop.calling(max_network_retries=2) as v1:
        shop.server.fault("server_error", path="/v1/customers", status=503)
        shop.server.fault("connection_drop", path="/v1/customers")
        made = await v1.customers.create({"name": "Third time"})
        assert made.name == "Third time"
        # Its own key makes one customer of two requests.
        shop.server.fault("lost_answer", path="/v1/customers", drop=True)
        email = f"once-{shop.waits}@example.com"
        again = await v1.customers.create({"email": email})
        assert again.last_response.headers["idempotent-replayed"] == "true"
        assert len((await v1.customers.list({"email": email})).data) == 1


async def test_when_the_sdk_is_told_not_to_try_again(shop: Shop) -> None:
    email = f"never-{shop.waits}@example.com"
    async with shop.calling(max_network_retries=2) as v1:
        # A failure that is kept under the key would only be replayed: Stripe-Should-Retry says so.
        shop.server.fault("server_error", path="/v1/customers", stored=True)
        began = time.monotonic()
        with pytest.raises(stripe.APIError) as broken:
            await v1.customers.create({"email": email})
        assert broken.value.headers["stripe-should-retry"] == "false"
        # Nor is too much asked again by itself.
        shop.server.fault("rate_limit", path="/v1/customers")
        with pytest.raises(stripe.RateLimitError):
            await v1.customers.create({"email": email})
        assert time.monotonic() - began < 0.5  # the SDK's shortest pause
    assert (await shop.v1.customers.list({"email": email})).data == []


async def test_the_same_key_is_the_same_request(shop: Shop) -> None:
    options = {"idempotency_key": f"customer:{shop.waits}"}
    first = await shop.v1.customers.create({"name": "Ada"}, options)
    assert "idempotent-replayed" not in first.last_response.headers
    await shop.v1.customers.update(first.id, {"name": "Ada Lovelace"})
    again = await shop.v1.customers.create({"name": "Ada"}, options)
    # What is replayed is the answer of then, not the customer of now.
    assert again == first
    assert again.last_response.headers["idempotent-replayed"] == "true"
    assert again.last_response.idempotency_key == options["idempotency_key"]
    with pytest.raises(stripe.IdempotencyError) as refused:
        await shop.v1.customers.create({"name": "Grace"}, options)
    assert (refused.value.http_status, refused.value.error.type) == (400, "idempotency_error")
    with pytest.raises(stripe.IdempotencyError):
        await shop.v1.products.create({"name": "Ada"}, options)
    (created,) = await shop.events_about(first.id, types=["customer.created"])
    assert created.request.idempotency_key == options["idempotency_key"]
    assert created.request.id == first.last_response.request_id


async def test_the_same_key_at_the_same_time(shop: Shop) -> None:
    """The second request is told to wait; the SDK asks again by itself, and gets the first one's answer."""
    options: Any = {"idempotency_key": f"twins:{shop.waits}"}
    shop.server.fault("slow", path="/v1/customers", seconds=0.3)

    async def create(client: stripe.StripeClient) -> stripe.Customer:
        if shop.waits:
            return await client.v1.customers.create_async({"name": "Twin"}, options)
        return await asyncio.to_thread(client.v1.customers.create, {"name": "Twin"}, options)

    async with opened(shop.server, waits=shop.waits, max_network_retries=2) as patient:
        first, second = await asyncio.gather(create(patient.client), create(patient.client))
    assert first == second
    replayed = ["idempotent-replayed" in one.last_response.headers for one in (first, second)]
    assert sorted(replayed) == [False, True]
    shop.server.fault("slow", path="/v1/customers", seconds=0.3)
    options = {"idempotency_key": f"strangers:{shop.waits}"}
    outcomes = await asyncio.gather(create(shop.client), create(shop.client), return_exceptions=True)
    (conflict,) = [one for one in outcomes if isinstance(one, stripe.StripeError)]
    assert (conflict.http_status, conflict.error.code) == (409, "idempotency_key_in_use")


async def test_what_uses_a_key_up(shop: Shop) -> None:
    life = await shop.life(card="pm_card_chargeCustomerFail")
    sub = await life.subscribe(await shop.price())
    invoice = await life.latest(sub)
    # A refusal of the request's form does not.
    options = {"idempotency_key": f"pay:{shop.waits}"}
    with pytest.raises(stripe.InvalidRequestError):
        await shop.v1.invoices.pay(invoice.id, {"nonsense": "1"}, options)
    # A declined card does: the same request would be declined from memory.
    for replayed in (False, True):
        with pytest.raises(stripe.CardError) as refused:
            await shop.v1.invoices.pay(invoice.id, {}, options)
        assert ("idempotent-replayed" in refused.value.headers) is replayed
    charges = await shop.v1.charges.list({"customer": life.customer})
    assert len(charges.data) == 2  # the first payment, and one of these
    await life.use_card("pm_card_visa")
    with pytest.raises(stripe.CardError):
        await shop.v1.invoices.pay(invoice.id, {}, options)
    assert (await shop.v1.invoices.pay(invoice.id)).status == "paid"


async def test_a_key_has_at_most_255_characters(shop: Shop) -> None:
    await shop.v1.customers.create({}, {"idempotency_key": f"{shop.waits}{'k' * 250}"})
    with pytest.raises(stripe.InvalidRequestError):
        await shop.v1.customers.create({}, {"idempotency_key": "k" * 256})


# Events


async def test_events_tell_what_was_before(shop: Shop) -> None:
    made = await shop.v1.customers.create({"name": "Ada", "metadata": {"a": "1"}, "address": {"city": "A"}})
    await shop.v1.customers.update(
        made.id, {"name": "Grace", "metadata": {"b": "2"}, "address": {"city": "B", "country": "US"}}
    )
    created, updated = await shop.events_about(made.id)
    assert (created.type, updated.type) == ("customer.created", "customer.updated")
    assert "previous_attributes" not in created.data
    assert created.data.object.to_dict() == made.to_dict()
    assert updated.data.object.name == "Grace"
    # Old values of what changed only; what was not there before was null.
    assert updated.data.previous_attributes.to_dict() == {
        "name": "Ada",
        "metadata": {"b": None},
        "address": {"city": "A", "country": None},
    }
    assert (updated.object, updated.api_version, updated.livemode) == ("event", VERSION, False)
    assert updated.pending_webhooks == 0
    assert await shop.v1.events.retrieve(updated.id) == updated
    with pytest.raises(stripe.InvalidRequestError, match="No such event"):
        await shop.v1.events.retrieve("evt_nothing")


async def test_an_array_in_previous_attributes_is_whole(shop: Shop) -> None:
    life = await shop.life()
    old, new = await shop.price(900), await shop.price(2900)
    sub = await life.subscribe(old)
    await life.switch(sub, new)
    (event,) = await shop.events_about(sub.id, types=["customer.subscription.updated"])
    previous = event.data.previous_attributes.to_dict()
    # Of the list of items only the array that changed is told.
    assert list(previous["items"]) == ["data"]
    (item,) = previous["items"]["data"]
    assert (item["id"], item["price"]["id"]) == (item_of(sub).id, old.id)


async def test_events_are_found(shop: Shop) -> None:
    life = await shop.life()
    sub = await life.subscribe(await shop.price())
    events = shop.v1.events
    newest = (await events.list({"limit": 2})).data
    assert newest[0].created >= newest[1].created
    only = await events.list({"type": "customer.subscription.created", "limit": 1})
    assert only.data[0].data.object.id == sub.id
    wild = await events.list({"type": "invoice.*", "limit": 5})
    assert all(event.type.startswith("invoice.") for event in wild.data)
    both = await events.list({"types": ["invoice.paid", "customer.subscription.created"], "limit": 2})
    assert {event.type for event in both.data} == {"invoice.paid", "customer.subscription.created"}
    # Events of test clocks tell its time.
    since = await events.list({"created": {"gte": life.now, "lt": life.now + 1}, "limit": 1})
    assert since.data[0].created == life.now
    assert (await events.list({"created": {"gt": int(time.time()) + 3600}})).data == []
    assert (await events.list({"type": "invoice.paid", "delivery_success": False})).data == []
    with pytest.raises(stripe.InvalidRequestError):
        await events.list({"type": "invoice.paid", "types": ["invoice.paid"]})


# Webhooks


async def test_an_endpoint_gets_what_it_asked_for(shop: Shop, receiver: Receiver) -> None:
    endpoints = shop.v1.webhook_endpoints
    made = await endpoints.create(
        {
            "url": receiver.url,
            "enabled_events": ["customer.created", "customer.updated"],
            "api_version": VERSION,
            "metadata": {"for": "tests"},
        }
    )
    assert (made.object, made.status, made.api_version) == ("webhook_endpoint", "enabled", VERSION)
    assert made.secret.startswith("whsec_")
    # The secret is told when it is made, and never again.
    assert "secret" not in await endpoints.retrieve(made.id)
    assert made.id in [one.id for one in (await endpoints.list()).data]
    customer = await shop.v1.customers.create({"name": "Ädä 漢字"})
    await shop.v1.products.create({"name": "Of no interest"})
    (webhook,) = receiver.wait(1)
    header = webhook.signature
    assert stripe.WebhookSignature.verify_header(webhook.body, header, made.secret, tolerance=300)
    event = shop.client.construct_event(webhook.body, header, made.secret)
    assert (event.type, event.data.object.id, event.data.object.name) == (
        "customer.created",
        customer.id,
        "Ädä 漢字",
    )
    assert event.api_version == VERSION
    for body, key in ((webhook.body, "whsec_another"), (webhook.body.replace(b"created", b"deleted"), None)):
        with pytest.raises(stripe.SignatureVerificationError, match="No signatures found matching"):
            shop.client.construct_event(body, header, key or made.secret)
    old = stripe.WebhookSignature.generate_signature_header(
        webhook.body.decode(), made.secret, int(time.time()) - 301
    )
    with pytest.raises(stripe.SignatureVerificationError, match="outside the tolerance zone"):
        shop.client.construct_event(webhook.body, old, made.secret)
    disabled = await endpoints.update(made.id, {"disabled": True})
    assert disabled.status == "disabled"
    await shop.v1.customers.create({})
    assert (await endpoints.delete(made.id)).deleted is True
    with pytest.raises(stripe.InvalidRequestError, match="No such webhook endpoint"):
        await endpoints.retrieve(made.id)
    assert [one.type for one in receiver.received] == ["customer.created"]


async def test_undelivered_events_are_found_again(shop: Shop, receiver: Receiver) -> None:
    receiver.answers = [500]
    made = await shop.v1.webhook_endpoints.create(
        {"url": receiver.url, "enabled_events": ["customer.created"]}
    )
    customer = await shop.v1.customers.create({})
    (first,) = receiver.wait(1)
    (lost,) = (await shop.v1.events.list({"delivery_success": False})).data
    assert (lost.data.object.id, lost.pending_webhooks) == (customer.id, 1)
    again = receiver.wait(2)[1]
    # The same event, signed anew.
    assert (again.json["id"], again.json["id"]) == (first.json["id"], lost.id)
    shop.client.construct_event(again.body, again.signature, made.secret)
    wait_until(lambda: shop.server.state()["pending_deliveries"] == 0)
    assert (await shop.v1.events.list({"delivery_success": False})).data == []
    assert (await shop.v1.events.retrieve(lost.id)).pending_webhooks == 0
    await shop.v1.webhook_endpoints.delete(made.id)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"enabled_events": ["invoice.payed"]}, "enabled_events[0]"),
        ({"url": "not an address"}, "url"),
        ({"api_version": "2019-01-01"}, "api_version"),
        ({"enabled_events": ""}, "enabled_events"),
    ],
)
async def test_endpoints_are_described_properly(shop: Shop, change: dict[str, Any], param: str) -> None:
    given = {"url": "http://127.0.0.1:9/hook", "enabled_events": ["*"], **change}
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await shop.v1.webhook_endpoints.create(given)
    assert (refused.value.http_status, refused.value.param) == (400, param)
