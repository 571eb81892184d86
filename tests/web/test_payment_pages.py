"""Pages of payments over HTTP, without scripts: the whole application, its database and Stripe's sandbox."""

import re
import uuid
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.factories.served import served
from tests.payments.conftest import FAILS_LATER, ShiftedClock, Shop, open_shop, shop_settings
from tests.sandbox.stripe.conftest import Server, run_stripe
from tests.web.conftest import Markup

from visiona.bootstrap import build
from visiona.db.actor import SystemActor
from visiona.entrypoints.api.security import payment_origins, security_headers
from visiona.entrypoints.asgi import create_asgi
from visiona.settings import Settings

# Litestar 3 ends some ways of declaring parameters; Visiona holds to Litestar 2.
pytestmark = pytest.mark.filterwarnings("ignore::litestar.exceptions.LitestarDeprecationWarning")

ORIGIN = "http://127.0.0.1:8000"
PASSWORD = "a quiet blue harbour"
MONTH_S = 31 * 86_400


@dataclass
class Person:
    """Somebody with a browser that runs no scripts."""

    http: httpx.AsyncClient
    shop: Shop
    email: str = field(default_factory=lambda: f"{uuid.uuid4().hex}@example.com")
    user_id: int = 0

    async def sign_up(self, wanted: str = "") -> httpx.Response:
        answer = await self.send("/signup", email=self.email, password=PASSWORD, next=wanted)
        assert answer.status_code == 303, answer.text
        self.user_id = (await self.http.get("/api/auth/me")).json()["id"]
        return answer

    async def see(self, path: str, status: int = 200) -> Markup:
        answer = await self.http.get(path)
        assert answer.status_code == status, answer.text
        return Markup(answer.text)

    async def send(self, path: str, **form: str) -> httpx.Response:
        return await self.http.post(path, data=form, headers={"Origin": ORIGIN})

    async def subscribe(self, plan: str = "premium", interval: str = "month") -> str:
        """Where the button leads."""
        answer = await self.send("/billing/subscribe", plan=plan, interval=interval)
        assert answer.status_code == 303, answer.text
        return answer.headers["location"]

    async def buy(self, plan: str = "premium", interval: str = "month") -> None:
        assert self.shop.pay(await self.subscribe(plan, interval))["outcome"] == "Paid"
        await self.sync()

    async def sync(self) -> None:
        await self.shop.worker.payments.sync(self.user_id)

    async def rows(self, query: str) -> list[tuple[Any, ...]]:
        """The person's own; `query` names them once."""
        async with self.shop.worker.database.transaction(SystemActor("test")) as connection:
            return await (await connection.execute(query, [self.user_id])).fetchall()  # type: ignore[arg-type] # test SQL

    async def wanted_readings(self) -> int:
        """How often it was asked to read the account at Stripe; asked once, it counts no more."""
        return len(
            await self.rows(
                """delete from procrastinate.procrastinate_jobs
                   where status = 'todo' and task_name = 'payments.sync' and args ->> 'user_id' = %s::text
                   returning id"""
            )
        )


@pytest.fixture(scope="module")
def stripe_server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    with run_stripe(tmp_path_factory.mktemp("stripe")) as server:
        yield server


@pytest.fixture(scope="module")
async def shop(
    owner_url: str, stripe_server: Server, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Shop]:
    folder = tmp_path_factory.mktemp("shop")
    async with open_shop(owner_url, stripe_server, ShiftedClock(), folder) as shop:
        yield shop


@pytest.fixture
async def visitor(shop: Shop) -> AsyncGenerator[Person]:
    async with browser(shop) as person:
        yield person
    shop.server.raw.delete("/_sandbox/faults")


@pytest.fixture
async def person(visitor: Person) -> Person:
    await visitor.sign_up()
    return visitor


@asynccontextmanager
async def browser(shop: Shop) -> AsyncGenerator[Person]:
    # What the application raises unexpectedly shall be answered, as a server would.
    transport = httpx.ASGITransport(served(shop.app), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
        yield Person(client, shop)


# Plans and prices


async def test_a_visitor_sees_every_plan_with_its_prices(visitor: Person) -> None:
    page = await visitor.see("/pricing")
    assert page.text("price-premium-month").startswith("$39.00 a month")
    assert page.text("price-premium-year") == "$390.00 a year $32.50 a month: a year saves $78.00"
    assert page.text("price-studio-year").startswith("$1,290.00 a year")
    assert "4,000 images a month" in page.text("plan-studio")
    assert "No payment details needed" in page.text("plan-free")
    assert page.element("subscribe-premium")["href"] == "/signup?next=%2Fpricing"
    assert page.element("interval-month")["name"] == page.element("interval-year")["name"] == "interval"
    assert "form" not in [tag for tag, _ in page.tags]


async def test_the_start_page_shows_the_same_prices_and_leads_there(visitor: Person) -> None:
    page = await visitor.see("/")
    assert page.text("price-premium").startswith("$39.00 a month")
    assert "1,000 images a month" in page.text("plan-premium")
    assert page.element("plans-link")["href"] == page.element("nav-pricing")["href"] == "/pricing"


async def test_signing_up_leads_back_to_the_plans(visitor: Person) -> None:
    page = await visitor.see("/signup?next=%2Fpricing")
    assert {"type": "hidden", "name": "next", "value": "/pricing"} in [
        attributes for tag, attributes in page.tags if tag == "input"
    ]
    assert (await visitor.sign_up("/pricing")).headers["location"] == "/pricing"


async def test_whoever_is_signed_in_sees_their_plan_and_the_way_up(person: Person) -> None:
    page = await person.see("/pricing")
    assert "data-current" in page.element("plan-free")
    assert page.text("subscribe-premium") == "Upgrade to Premium"
    assert not page.has("subscribe-free")
    form = page.element("subscribe-form")
    assert (form["method"], form["action"]) == ("post", "/billing/subscribe")
    await person.buy(interval="year")
    page = await person.see("/pricing")
    assert "data-current" in page.element("plan-premium")
    assert "checked" in page.element("interval-year")
    assert page.text("subscribe-premium") == "Pay by the month"
    assert page.text("subscribe-studio") == "Upgrade to Studio"


async def test_leaving_the_checkout_is_met_kindly(person: Person) -> None:
    page = await person.see("/pricing?checkout=left")
    assert page.text("checkout-left").startswith("Nothing was charged")
    assert not (await person.see("/pricing")).has("checkout-left")


# Subscribing without scripts


@pytest.mark.parametrize(("interval", "cents"), [("month", 3900), ("year", 39000)])
async def test_the_button_leads_to_the_checkout(person: Person, interval: str, cents: int) -> None:
    answer = await person.send("/billing/subscribe", plan="premium", interval=interval)
    assert (answer.status_code, answer.headers["cache-control"]) == (303, "no-store")
    url = httpx.URL(answer.headers["location"])
    session = person.shop.server.client.v1.checkout.sessions.retrieve(url.path.rsplit("/", 1)[-1])
    assert (session.amount_total, session.status) == (cents, "open")
    # The browser follows only where the policy lets a form go.
    policy = answer.headers["content-security-policy"]
    assert f"{url.scheme}://{url.netloc.decode()}" in _form_targets(policy)


async def test_two_clicks_lead_to_one_checkout(person: Person) -> None:
    assert await person.subscribe() == await person.subscribe()


async def test_a_visitor_logs_in_first_and_comes_back_to_the_plans(visitor: Person) -> None:
    answer = await visitor.send("/billing/subscribe", plan="premium", interval="month")
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=/pricing")
    answer = await visitor.http.get("/billing?checkout=paid")
    assert answer.headers["location"] == "/login?next=/billing%3Fcheckout%3Dpaid"


@pytest.mark.parametrize("path", ["/billing/subscribe", "/billing/portal"])
async def test_another_sites_form_is_refused(person: Person, path: str) -> None:
    answer = await person.http.post(
        path, data={"plan": "premium"}, headers={"Origin": "https://evil.example"}
    )
    assert answer.status_code == 403
    assert "did not come from Visiona" in answer.text
    assert await person.rows("select id from checkouts where user_id = %s") == []


async def test_a_plan_that_is_not_sold_is_explained(person: Person) -> None:
    answer = await person.send("/billing/subscribe", plan="<b>gold</b>", interval="month")
    assert answer.status_code == 422
    assert Markup(answer.text).text("toast").startswith("There is no such plan to buy.")


async def test_what_one_has_already_is_not_bought_again(person: Person) -> None:
    await person.buy()
    answer = await person.send("/billing/subscribe", plan="premium", interval="month")
    assert answer.status_code == 409
    assert Markup(answer.text).text("toast") == "You have this plan already. Manage it under Billing."


async def test_a_payment_service_that_fails_is_explained(person: Person) -> None:
    person.shop.server.fault("server_error", times=20)
    answer = await person.send("/billing/subscribe", plan="premium", interval="year")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
    page = Markup(answer.text)
    assert "Nothing was charged" in page.text("toast")
    assert "checked" in page.element("interval-year")
    assert page.text("subscribe-premium") == "Upgrade to Premium"


# Coming back


async def test_a_payment_is_waited_for_and_then_thanked_for(person: Person) -> None:
    person.shop.pay(await person.subscribe())
    page = await person.see("/billing?checkout=paid")
    assert page.element("billing-thanks")["data-state"] == "waiting"
    assert _refreshes(page) == ["4; url=/billing?checkout=paid&tries=1"]
    assert not page.has("billing-change")
    # The page itself has the account read.
    assert await person.wanted_readings() == 1
    await person.sync()
    page = await person.see("/billing?checkout=paid&tries=1")
    assert page.element("billing-thanks")["data-state"] == "ready"
    assert page.text("billing-thanks").startswith("Thank you Premium is yours: 1,000 images and 10 clones")
    assert _refreshes(page) == []
    assert not (await person.see("/billing")).has("billing-thanks")


async def test_a_payment_that_takes_long_is_explained(person: Person) -> None:
    await person.subscribe()
    page = await person.see("/billing?checkout=paid&tries=15")
    assert page.element("billing-thanks")["data-state"] == "slow"
    assert "you need not pay again" in page.text("billing-thanks")
    assert page.element("billing-again")["href"] == "/billing?checkout=paid"
    assert _refreshes(page) == []


async def test_going_on_thanking_asks_nobody(person: Person) -> None:
    await person.buy()
    page = await person.see("/billing?checkout=thanks")
    assert page.element("billing-thanks")["data-state"] == "ready"
    assert await person.wanted_readings() == 0


async def test_a_change_is_looked_for(person: Person) -> None:
    await person.buy()
    assert (await person.see("/billing?checkout=changed")).has("billing-changed")
    assert await person.wanted_readings() == 1


@pytest.mark.parametrize("news", ["paid", "changed", "thanks", "left", "'"])
async def test_nobody_is_thanked_for_an_address(person: Person, news: str) -> None:
    page = await person.see(f"/billing?checkout={news}&tries=%27")
    assert not page.has("billing-thanks")
    assert not page.has("billing-changed")


# Where one stands


async def test_a_new_person_pays_nothing(person: Person) -> None:
    page = await person.see("/billing")
    assert page.text("billing-plan") == "Free"
    assert page.text("billing-status") == "You pay nothing, and nothing renews."
    assert page.text("quota-left-images") == "30"
    assert page.text("billing-no-invoices").startswith("No invoices yet.")
    assert page.element("billing-change")["href"] == "/pricing"
    for name in ("billing-cancel", "billing-card", "billing-manage", "billing-resume", "billing-problem"):
        assert not page.has(name)


async def test_a_subscriber_sees_plan_invoices_and_quota(person: Person) -> None:
    await person.buy()
    page = await person.see("/billing")
    assert page.text("billing-plan") == "Premium"
    assert re.fullmatch(r"Renews on \d{1,2} \w+ \d{4} for \$39\.00\.", page.text("billing-status"))
    assert page.text("quota-left-images") == "1,000"
    assert page.text("invoice-status") == "Paid"
    assert "$39.00" in page.text("billing-invoices")
    assert "+1,000 images granted by Premium" in page.text("billing-history")
    (invoice,) = await person.rows("select id from invoices where user_id = %s")
    assert page.element("invoice-link")["href"] == f"/api/payment/invoices/{invoice[0]}"
    for name in ("invoice-link", "invoice-pdf"):
        link = page.element(name)
        answer = await person.http.get(str(link["href"]))
        assert answer.status_code == 303
        assert answer.headers["location"].startswith(person.shop.server.base)


@pytest.mark.parametrize("step", ["", "cancel", "payment_method", "<script>"])
async def test_every_button_leads_to_the_portal(person: Person, step: str) -> None:
    await person.buy()
    answer = await person.send("/billing/portal", step=step)
    assert (answer.status_code, answer.headers["cache-control"]) == (303, "no-store")
    assert answer.headers["location"].startswith(f"{person.shop.server.base}/p/session/")


async def test_the_portal_has_nothing_for_who_never_bought(person: Person) -> None:
    answer = await person.send("/billing/portal")
    assert answer.status_code == 409
    page = Markup(answer.text)
    assert page.text("toast") == "There is nothing to manage yet: choose a plan first."
    assert page.text("billing-plan") == "Free"


async def test_a_cancelled_plan_says_when_it_ends_and_can_be_kept(person: Person) -> None:
    await person.buy()
    page = await person.see("/billing")
    assert page.has("billing-cancel")
    (subscription,) = await person.rows("select id from subscriptions where user_id = %s")
    person.shop.server.client.v1.subscriptions.update(subscription[0], {"cancel_at_period_end": True})
    await person.sync()
    page = await person.see("/billing")
    assert page.text("billing-status").startswith("Ends on ")
    assert page.has("billing-resume")
    assert not page.has("billing-cancel")
    assert (await person.see("/pricing")).text("subscribe-premium") == "Keep PremiumPay by the year"


async def test_a_failed_payment_says_what_to_do(own_shop: Person) -> None:
    person = own_shop
    await person.buy()
    server = person.shop.server
    (row,) = await person.rows("select customer_id from payment_customers where user_id = %s")
    method = server.client.v1.payment_methods.create(
        {"type": "card", "card": {"number": FAILS_LATER, "exp_month": 12, "exp_year": 2040, "cvc": "123"}}
    )
    server.client.v1.payment_methods.attach(method.id, {"customer": row[0]})
    (subscription,) = await person.rows("select id from subscriptions where user_id = %s")
    server.client.v1.subscriptions.update(subscription[0], {"default_payment_method": method.id})
    server.advance(MONTH_S + 7200)
    await person.sync()
    page = await person.see("/billing")
    assert page.text("billing-problem").startswith("A payment of $39.00 did not go through")
    assert re.search(r"tried again by itself on \d{1,2} \w+ \d{4}\.", page.text("billing-problem"))
    assert page.text("billing-status").startswith("The last payment did not go through.")
    (invoice,) = await person.rows("select id from invoices where user_id = %s and status = 'open'")
    assert page.element("billing-pay")["href"] == f"/api/payment/invoices/{invoice[0]}"
    assert page.has("billing-problem-card")
    assert (await person.see("/pricing")).has("billing-problem")


async def test_nobody_sees_anothers_invoices(person: Person) -> None:
    await person.buy()
    (invoice,) = await person.rows("select id, number from invoices where user_id = %s")
    async with browser(person.shop) as stranger:
        await stranger.sign_up()
        for path in ("/billing", f"/billing?before={invoice[0]}"):
            page = await stranger.see(path)
            assert not page.has("invoice-row")
            assert invoice[1] not in page.text("billing-invoices")


async def test_older_invoices_are_on_further_pages(person: Person) -> None:
    await person.subscribe()
    async with person.shop.worker.database.transaction(SystemActor("test")) as connection:
        await connection.execute(
            """insert into invoices (id, user_id, number, status, reason, total, amount_paid,
                 amount_remaining, currency, created_at)
               select 'in_' || u || '_' || n, u, 'N-' || n, 'paid', 'subscription_cycle', 39, 39, 0, 'usd',
                 timestamptz '2026-01-01' + n * interval '1 day'
               from generate_series(1, 14) n, (values (%s)) person (u)""",
            [person.user_id],
        )
    page = await person.see("/billing")
    assert [name for name, _ in page.named].count("invoice-row") == 12
    page = await person.see(str(page.element("invoices-earlier")["href"]))
    assert [name for name, _ in page.named].count("invoice-row") == 2
    assert not page.has("invoices-earlier")


@pytest.mark.parametrize(
    "query", ["before=%00", "before=%27", "before=in_nobody", "tries=%D9%A3", "checkout=%00"]
)
async def test_strange_addresses_are_harmless(person: Person, query: str) -> None:
    assert (await person.see(f"/billing?{query}")).text("billing-plan") == "Free"
    assert (await person.see(f"/pricing?{query}&interval=%00")).has("plan-free")


# Elsewhere


async def test_what_is_left_is_shown_where_it_is_spent(person: Person) -> None:
    page = await person.see("/studio")
    assert re.fullmatch(r"30 of 30 images left\. New ones on 1 \w+ \d{4}\.", page.text("quota-left-images"))
    assert re.fullmatch(r"2 of 2 clones left\. New ones on 1 \w+ \d{4}\.", page.text("quota-left-clones"))
    assert [attributes.get("hidden", "no") for attributes in _ways_up(page)] == [None, None]


async def test_a_quota_that_is_used_up_shows_the_way_up(person: Person) -> None:
    await _use_up(person, "free")
    page = await person.see("/studio")
    assert page.text("quota-left-images").startswith("All 30 images used. New ones on ")
    assert [(one["href"], "hidden" in one) for one in _ways_up(page)] == [("/pricing", False)] * 2


async def test_above_the_largest_plan_there_is_nothing_to_buy(person: Person) -> None:
    await person.shop.worker.billing.set_plan(person.user_id, "studio")
    await _use_up(person, "studio")
    page = await person.see("/studio")
    assert page.text("quota-left-images").startswith("All 4,000 images used. New ones on ")
    assert ["hidden" in one for one in _ways_up(page)] == [True, True]
    assert not (await person.see("/account")).has("upgrade-link")


async def test_the_account_leads_to_billing(person: Person) -> None:
    page = await person.see("/account")
    assert page.text("account-plan") == "Free"
    assert page.element("account-billing")["href"] == page.element("nav-billing")["href"] == "/billing"
    assert page.element("upgrade-link")["href"] == "/pricing"
    assert "no money moves" in page.text("sandbox-note")


async def test_a_server_that_sells_nothing_says_so(owner_url: str, tmp_path: Path) -> None:
    settings = shop_settings(owner_url, "https://api.stripe.com", tmp_path, billing=False)
    app = build(settings, "app")
    await app.open()
    transport = httpx.ASGITransport(create_asgi(app), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
        person: Any = Person(client, shop=None)  # type: ignore[arg-type] # there is none
        page = await person.see("/pricing")
        assert page.text("billing-off").startswith("This server sells nothing")
        assert "4,000 images a month" in page.text("plan-studio")
        assert not page.has("price-studio")
        await person.sign_up()
        page = await person.see("/billing")
        assert (page.text("billing-plan"), page.has("billing-change")) == ("Studio", False)
        assert not page.has("nav-billing")
        assert not (await person.see("/account")).has("account-billing")
        answer = await person.send("/billing/subscribe", plan="premium", interval="month")
        assert answer.status_code == 404
        assert "sells no plans" in Markup(answer.text).text("toast")
        assert _form_targets(answer.headers["content-security-policy"]) == ["'self'"]
    await app.close()


def test_forms_may_lead_to_where_payments_are_made() -> None:
    real = security_headers(payment_origins(Settings(stripe_api_key="sk_live_x")))
    stripe_pages = ["https://checkout.stripe.com", "https://billing.stripe.com", "https://invoice.stripe.com"]
    assert _form_targets(real["Content-Security-Policy"]) == ["'self'", *stripe_pages]
    simulated = security_headers(payment_origins(Settings(stripe_base_url="http://127.0.0.1:9/v1")))
    assert _form_targets(simulated["Content-Security-Policy"])[-1] == "http://127.0.0.1:9"


# What the tests share


@pytest.fixture
async def own_shop(own_database_url: str, tmp_path: Path) -> AsyncGenerator[Person]:
    """With a sandbox whose time this test may move."""
    with run_stripe(tmp_path / "stripe") as server:
        async with (
            open_shop(own_database_url, server, ShiftedClock(), tmp_path) as shop,
            browser(shop) as person,
        ):
            await person.sign_up()
            yield person


def _form_targets(policy: str) -> list[str]:
    (targets,) = [part for part in policy.split("; ") if part.startswith("form-action ")]
    return targets.split()[1:]


def _refreshes(page: Markup) -> list[str | None]:
    return [a.get("content") for tag, a in page.tags if tag == "meta" and a.get("http-equiv") == "refresh"]


def _ways_up(page: Markup) -> list[dict[str, str | None]]:
    return [attributes for _, attributes in page.tags if attributes.get("data-testid") == "upgrade-link"]


async def _use_up(person: Person, plan: str) -> None:
    """All of this month's images and clones."""
    limits = person.shop.app.billing.catalogue.find(plan)
    async with person.shop.worker.database.transaction(SystemActor("test")) as connection:
        for resource, limit in (("images", limits.images), ("clones", limits.clones)):
            await connection.execute(
                """insert into quota_usage
                     (user_id, resource, period_start, period_end, plan, entitled, used)
                   values (%s, %s, date_trunc('month', now(), 'UTC'),
                     date_trunc('month', now() + interval '32 days', 'UTC'), %s, %s, %s)""",
                [person.user_id, resource, plan, limit, limit],
            )
