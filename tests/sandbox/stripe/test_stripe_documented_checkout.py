"""Checkout and the portal as Stripe documents them, told by the official SDK, both ways of calling it."""

import time
from typing import Any

import pytest
import stripe
from tests.sandbox.stripe.both_ways import (  # noqa: F401 - `either_way` and `shared_server` are fixtures
    Shop,
    either_way,
    item_of,
    period_of,
    shared_server,
)
from tests.sandbox.stripe.histories import DAY, HOUR

# The SDK hands its form to httpx in a way that httpx has begun to discourage.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


# Checkout


async def checkout(shop: Shop, **params: Any) -> stripe.checkout.Session:
    given = {
        "mode": "subscription",
        "success_url": "https://shop.example/done?session={CHECKOUT_SESSION_ID}",
        "cancel_url": "https://shop.example/plans",
        **params,
    }
    if given["mode"] == "subscription" and "line_items" not in given:
        given["line_items"] = [{"price": (await shop.price()).id, "quantity": 1}]
    wish = {name: value for name, value in given.items() if value is not None}
    return await shop.v1.checkout.sessions.create(wish)


async def test_a_session_is_open_until_it_is_paid(shop: Shop) -> None:
    price = await shop.price(2900)
    session = await checkout(
        shop,
        customer_email="new@example.com",
        client_reference_id="user-7",
        line_items=[{"price": price.id, "quantity": 2}],
        metadata={"of": "session"},
        subscription_data={"metadata": {"of": "subscription"}},
    )
    assert session.id.startswith("cs_test_")
    assert (session.status, session.payment_status, session.mode) == ("open", "unpaid", "subscription")
    assert (session.amount_subtotal, session.amount_total, session.currency) == (5800, 5800, "usd")
    assert (session.customer, session.subscription, session.invoice) == (None, None, None)
    assert (session.ui_mode, session.livemode) == ("hosted_page", False)
    assert session.url.startswith(shop.server.base)
    assert session.expires_at == session.created + 24 * HOUR
    assert session.payment_method_types == ["card"]
    paid = shop.server.control(f"pay/{session.id}", email="new@example.com")
    assert paid["redirect_url"] == f"https://shop.example/done?session={session.id}"
    done = await shop.v1.checkout.sessions.retrieve(session.id, {"expand": ["subscription", "invoice"]})
    assert (done.status, done.payment_status, done.url) == ("complete", "paid", None)
    assert (done.client_reference_id, done.customer_email) == ("user-7", "new@example.com")
    assert done.customer_details.email == "new@example.com"
    sub = done.subscription
    assert (sub.status, sub.customer) == ("active", done.customer)
    # Metadata of the session stays with the session.
    assert (done.metadata.to_dict(), sub.metadata.to_dict()) == ({"of": "session"}, {"of": "subscription"})
    assert (item_of(sub).price.id, item_of(sub).quantity) == (price.id, 2)
    assert (done.invoice.id, done.invoice.status, done.invoice.amount_paid) == (
        sub.latest_invoice,
        "paid",
        5800,
    )
    assert sub.default_payment_method is not None
    lines = await shop.v1.checkout.sessions.line_items.list(session.id)
    assert [(one.price.id, one.quantity, one.amount_total) for one in lines.data] == [(price.id, 2, 5800)]
    told = [event.type for event in await shop.events_about(done.customer, session.id)]
    for name in (
        "customer.created",
        "payment_method.attached",
        "customer.subscription.created",
        "invoice.paid",
        "invoice.payment_succeeded",
        "payment_intent.succeeded",
        "charge.succeeded",
        "checkout.session.completed",
    ):
        assert told.count(name) == 1, name


async def test_a_session_shows_what_it_was_asked_for(shop: Shop) -> None:
    customer = await shop.v1.customers.create({"email": "known@example.com"})
    wish = {
        "customer": customer.id,
        "allow_promotion_codes": True,
        "automatic_tax": {"enabled": False},
        "billing_address_collection": "required",
        "customer_update": {"address": "auto", "name": "never"},
        "locale": "de",
        "origin_context": "web",
        "payment_method_collection": "always",
        "submit_type": "subscribe",
        "ui_mode": "hosted_page",
        "metadata": {"intent": "7"},
    }
    session = await checkout(shop, **wish)
    shown = session.to_dict()
    assert shown["automatic_tax"]["enabled"] is False
    assert {name: shown[name] for name in wish if name not in {"automatic_tax", "customer_update"}} == {
        name: value for name, value in wish.items() if name not in {"automatic_tax", "customer_update"}
    }
    noted = await shop.v1.checkout.sessions.update(session.id, {"metadata": {"seen": "yes"}})
    assert noted.metadata.to_dict() == {"intent": "7", "seen": "yes"}
    shop.server.control(f"pay/{session.id}")
    done = await shop.v1.checkout.sessions.retrieve(session.id)
    assert (done.customer, done.customer_email) == (customer.id, None)
    assert done.customer_details.email == "known@example.com"


async def test_sessions_are_found(shop: Shop) -> None:
    life = await shop.v1.customers.create({"email": "finder@example.com"})
    first, second = [await checkout(shop, customer=life.id) for _ in range(2)]
    shop.server.control(f"pay/{first.id}")
    sessions = shop.v1.checkout.sessions
    done = await sessions.retrieve(first.id)
    assert [one.id for one in (await sessions.list({"customer": life.id})).data] == [second.id, first.id]
    for wish, found in (
        ({"customer": life.id, "status": "open"}, second),
        ({"customer": life.id, "status": "complete"}, first),
        ({"subscription": done.subscription}, first),
    ):
        assert [one.id for one in (await sessions.list(wish)).data] == [found.id]


async def test_a_session_is_over_when_it_has_expired(shop: Shop) -> None:
    soon = int(time.time()) + 30 * 60 + 5
    session = await checkout(shop, customer_email="late@example.com", expires_at=soon)
    assert session.expires_at == soon
    over = await shop.v1.checkout.sessions.expire(session.id)
    assert (over.status, over.url) == ("expired", None)
    with pytest.raises(stripe.InvalidRequestError, match="expired"):
        await shop.v1.checkout.sessions.expire(session.id)
    assert shop.server.raw.post(f"/_sandbox/pay/{session.id}").status_code == 400
    assert [event.type for event in await shop.events_about(session.id)] == ["checkout.session.expired"]


async def test_a_session_with_a_trial_takes_no_money(shop: Shop) -> None:
    trial = {
        "trial_period_days": 14,
        "trial_settings": {"end_behavior": {"missing_payment_method": "cancel"}},
    }
    session = await checkout(shop, customer_email="trial@example.com", subscription_data=trial)
    assert (session.amount_total, session.payment_method_collection) == (0, "always")
    shop.server.control(f"pay/{session.id}")
    done = await shop.v1.checkout.sessions.retrieve(session.id, {"expand": ["subscription.latest_invoice"]})
    assert (done.status, done.payment_status) == ("complete", "no_payment_required")
    sub = done.subscription
    assert sub.status == "trialing"
    assert (sub.trial_end - sub.trial_start, sub.trial_start) == (14 * DAY, sub.start_date)
    assert (sub.billing_cycle_anchor, period_of(sub)) == (sub.trial_end, (sub.trial_start, sub.trial_end))
    assert sub.trial_settings.end_behavior.missing_payment_method == "cancel"
    invoice = sub.latest_invoice
    assert (invoice.status, invoice.amount_due, invoice.billing_reason) == ("paid", 0, "subscription_create")


async def test_a_refused_card_leaves_a_session_open(shop: Shop) -> None:
    session = await checkout(shop, customer_email="poor@example.com")
    answer = shop.server.control(f"pay/{session.id}", number="4000000000009995")
    assert (answer["outcome"], answer["code"]) == ("Declined", "insufficient_funds")
    found = await shop.v1.checkout.sessions.retrieve(session.id)
    assert (found.status, found.payment_status, found.subscription) == ("open", "unpaid", None)
    asked = shop.server.control(f"pay/{session.id}", number="4000002760003184", approve=False)
    assert (asked["outcome"], asked["challenged"]) == ("Declined", True)
    shop.server.control(f"pay/{session.id}", number="4000002760003184", approve=True)
    assert (await shop.v1.checkout.sessions.retrieve(session.id)).payment_status == "paid"


@pytest.mark.parametrize(
    ("params", "param", "code"),
    [
        ({"payment_method_types": ["card"]}, "payment_method_types", "parameter_unknown"),
        ({"mode": None}, "mode", "parameter_missing"),
        ({"mode": "subscribe"}, "mode", None),
        ({"line_items": []}, "line_items", None),
        (
            {"line_items": [{"price": "price_gone", "quantity": 1}]},
            "line_items[0][price]",
            "resource_missing",
        ),
        ({"customer": "cus_gone"}, "customer", "resource_missing"),
        ({"customer_email": "nobody"}, "customer_email", "email_invalid"),
        ({"success_url": None}, "success_url", "parameter_missing"),
        ({"success_url": "done"}, "success_url", "url_invalid"),
        ({"subscription_data": {"trial_period_days": 0}}, "subscription_data[trial_period_days]", None),
        ({"subscription_data": {"proration_behavior": "always_invoice"}}, None, None),
        ({"mode": "payment", "subscription_data": {"metadata": {"a": "1"}}}, "subscription_data", None),
        ({"customer_update": {"address": "auto"}}, "customer_update", None),
        ({"customer_creation": "always"}, "customer_creation", None),
        ({"mode": "payment", "payment_method_collection": "always"}, "payment_method_collection", None),
        ({"mode": "setup", "submit_type": "pay", "currency": "usd"}, "submit_type", None),
        ({"mode": "setup"}, "currency", "parameter_missing"),
        ({"expires_at": 1}, "expires_at", None),
        ({"expires_at": "tomorrow"}, "expires_at", "parameter_invalid_integer"),
    ],
)
async def test_sessions_are_asked_for_properly(
    shop: Shop, params: dict[str, Any], param: str | None, code: str | None
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await checkout(shop, **params)
    assert refused.value.http_status == 400
    assert param in {None, refused.value.param}
    assert code in {None, refused.value.code}


async def test_limits_of_a_session(shop: Shop) -> None:
    now = int(time.time())
    for moment in (now + 29 * 60, now + 24 * HOUR + 60):
        with pytest.raises(stripe.InvalidRequestError) as refused:
            await checkout(shop, expires_at=moment)
        assert refused.value.param == "expires_at"
    customer = await shop.v1.customers.create({})
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await checkout(shop, customer=customer.id, customer_email="both@example.com")
    assert "customer, customer_email" in refused.value.user_message


# The portal


async def configured(shop: Shop, *prices: stripe.Price, **features: Any) -> str:
    given = {
        "payment_method_update": {"enabled": True},
        "invoice_history": {"enabled": True},
        "subscription_cancel": {"enabled": True},
        "subscription_update": {
            "enabled": True,
            "default_allowed_updates": ["price"],
            "proration_behavior": "always_invoice",
            "products": [{"product": price.product, "prices": [price.id]} for price in prices],
        },
        **features,
    }
    made = await shop.v1.billing_portal.configurations.create({"features": given})
    return made.id


async def test_portal_configurations(shop: Shop) -> None:
    price = await shop.price()
    configurations = shop.v1.billing_portal.configurations
    id_ = await configured(shop, price)
    made = await configurations.retrieve(id_, {"expand": ["features.subscription_update.products"]})
    assert (made.active, made.is_default, made.features.customer_update.enabled) == (True, False, False)
    assert made.features.subscription_cancel.mode == "at_period_end"
    assert made.features.subscription_update.products[0].prices == [price.id]
    plain = await configurations.retrieve(id_)
    assert "products" not in plain.features.subscription_update
    off = await configurations.update(
        id_, {"active": False, "features": {"subscription_cancel": {"enabled": False}}}
    )
    assert (off.active, off.features.subscription_cancel.enabled) == (False, False)
    assert off.features.subscription_update.enabled is True
    assert id_ in [one.id for one in (await configurations.list({"active": False, "limit": 100})).data]
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await configurations.create({})
    assert refused.value.code == "parameter_missing"


@pytest.mark.parametrize(
    ("cancel", "fits"),
    [
        ({"mode": "immediately", "proration_behavior": "create_prorations"}, True),
        ({"mode": "at_period_end", "proration_behavior": "none"}, True),
        ({"proration_behavior": "create_prorations"}, False),
        ({"mode": "immediately", "proration_behavior": "always_invoice"}, False),
    ],
)
async def test_credit_when_cancelling_in_the_portal(shop: Shop, cancel: dict[str, Any], fits: bool) -> None:
    features = {"subscription_cancel": {"enabled": True, **cancel}}
    if fits:
        await configured(shop, await shop.price(), **features)
        return
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await configured(shop, await shop.price(), **features)
    assert refused.value.param == "features[subscription_cancel][proration_behavior]"


async def test_portal_sessions(shop: Shop) -> None:
    life = await shop.life()
    basic, pro, other = await shop.price(900), await shop.price(2900), await shop.price(5900)
    sub = await life.subscribe(basic)
    configuration = await configured(shop, basic, pro)
    sessions = shop.v1.billing_portal.sessions
    base = {"customer": life.customer, "configuration": configuration, "return_url": "https://shop.example"}
    session = await sessions.create(base)
    assert session.id.startswith("bps_")
    assert (session.object, session.customer, session.flow) == (
        "billing_portal.session",
        life.customer,
        None,
    )
    assert session.url.startswith(shop.server.base)
    assert (session.return_url, session.configuration) == ("https://shop.example", configuration)
    after = {"type": "redirect", "redirect": {"return_url": "https://shop.example/done"}}
    confirm = {"subscription": sub.id, "items": [{"id": item_of(sub).id, "price": pro.id, "quantity": 1}]}
    for kind, details in (
        ("payment_method_update", None),
        ("subscription_cancel", {"subscription": sub.id}),
        ("subscription_update", {"subscription": sub.id}),
        ("subscription_update_confirm", confirm),
    ):
        flow = {"type": kind, "after_completion": after, **({kind: details} if details else {})}
        made = await sessions.create({**base, "flow_data": flow})
        assert made.flow.type == kind
        assert made.flow.after_completion.redirect.return_url == "https://shop.example/done"
    with pytest.raises(stripe.InvalidRequestError) as refused:
        wish = {"subscription": sub.id, "items": [{"id": item_of(sub).id, "price": other.id}]}
        flow = {"type": "subscription_update_confirm", "subscription_update_confirm": wish}
        await sessions.create({**base, "flow_data": flow})
    assert refused.value.http_status == 400
    stranger = await shop.life()
    theirs = await stranger.subscribe(basic)
    for flow in (
        {"type": "subscription_cancel", "subscription_cancel": {"subscription": theirs.id}},
        {"type": "subscription_cancel"},
        {"type": "dance"},
    ):
        with pytest.raises(stripe.InvalidRequestError):
            await sessions.create({**base, "flow_data": flow})
    # A default configuration is made in the dashboard, which a sandbox has none of.
    with pytest.raises(stripe.InvalidRequestError, match="default configuration has not been created"):
        await sessions.create({"customer": life.customer})
    with pytest.raises(stripe.InvalidRequestError, match="No such customer"):
        await sessions.create({**base, "customer": "cus_gone"})
