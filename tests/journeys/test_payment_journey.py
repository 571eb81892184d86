"""Payments from the last free image to a cancelled plan: in a real browser, against every process that
production runs, with Stripe's sandbox as the payment service.
"""

import re
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
import stripe
from playwright.sync_api import Browser, Page, expect
from tests.journeys.conftest import (
    DESKTOP,
    PASSWORD,
    PHONE,
    NewPerson,
    Person,
    Stack,
    answers,
    new_page,
    screenshot,
    wait_until,
)

pytestmark = [pytest.mark.journey, pytest.mark.timeout(180)]

DATE = r"\d{1,2} [A-Z][a-z]+ 20\d\d"


def open_shop(stack: Stack) -> stripe.StripeClient:
    """The official SDK on the sandbox, once the worker has brought prices and portal there."""
    wait_until(lambda: stack.stripe_state()["counts"].get("billing_portal.configuration"), 30)
    return stripe.StripeClient("sk_test_sandbox", base_addresses={"api": stack.stripe_url})


def id_of(person: Person) -> int:
    return person.http.get("/api/auth/me").raise_for_status().json()["id"]


def use_up_images(stack: Stack, person: Person, *, but: int) -> None:
    """As if this month's free images had been made already, all but a few."""
    stack.rows(
        """insert into quota_usage (user_id, resource, period_start, period_end, plan, entitled, used)
           select user_id, 'images', period_start, period_end, 'free', 30, 30 - %s::integer from quota_usage
           where user_id = %s and resource = 'clones' returning 1""",
        but,
        id_of(person),
    )


def log_in(page: Page, email: str) -> None:
    page.goto("/login")
    page.get_by_test_id("email").fill(email)
    page.get_by_test_id("password").fill(PASSWORD)
    page.get_by_test_id("submit").click()
    page.wait_for_url("**/studio")


def create(page: Page, prompt: str) -> None:
    page.get_by_test_id("prompt").fill(prompt)
    page.locator("input[name=num_outputs][value='1']").check(force=True)
    page.get_by_test_id("generate").click()
    card = page.get_by_test_id("run-card").filter(has_text=prompt)
    expect(card.locator("[data-testid=result-image]:visible")).to_have_count(1, timeout=30_000)


def expect_standing(page: Page, plan: str, images: str, words: str) -> None:
    """What the billing page comes to say by itself, without being loaded again."""
    expect(page.get_by_test_id("billing-plan")).to_have_text(plan)
    expect(page.get_by_test_id("quota-left-images")).to_have_text(images)
    expect(page.get_by_test_id("billing-status")).to_contain_text(re.compile(words))


def pay(page: Page, card: str) -> None:
    """With one of the test cards that the checkout offers."""
    page.get_by_test_id(f"checkout-test-{card}").click()
    page.get_by_test_id("checkout-pay").click()


def count(stack: Stack, table: str, user_id: int) -> int:
    return stack.rows(f"select count(*) from {table} where user_id = %s", user_id)[0][0]


def test_from_the_last_free_image_to_a_cancelled_plan(
    browser: Browser, own_stack: Stack, new_person: NewPerson, grace: list[Path]
) -> None:
    shop = open_shop(own_stack)
    person, stranger = new_person(own_stack, "grace@example.com"), new_person(own_stack, "eileen@example.com")
    grace_id, eileen_id = id_of(person), id_of(stranger)
    person.ready_clone(grace)
    use_up_images(own_stack, person, but=1)
    complaints: list[str] = []
    page = new_page(browser, own_stack, complaints, viewport=DESKTOP, color_scheme="light")
    log_in(page, person.email)

    # The last free image, and the way up.
    expect(page.get_by_test_id("quota-left-images")).to_contain_text("1 of 30 images left")
    create(page, "TOK at the end of the month")
    expect(page.get_by_test_id("quota-left-images")).to_contain_text("All 30 images used")
    way_up = page.locator("[data-testid=upgrade-link]:visible")
    expect(way_up).to_have_text("More images with a larger plan")
    expect(page.get_by_test_id("generate")).to_be_hidden()
    screenshot(page, "journey-pay-used-up")
    way_up.click()
    page.wait_for_url("**/pricing")
    screenshot(page, "journey-pay-pricing", whole=True)

    # Two clicks lead to one checkout; a declined card, and all is as it was.
    page.get_by_test_id("subscribe-premium").dblclick()
    expect(page.get_by_test_id("checkout-amount")).to_have_text("$39.00")
    expect(page.get_by_test_id("checkout-email")).to_have_text(person.email)
    pay(page, "declined")
    expect(page.get_by_test_id("checkout-error")).to_contain_text("declined")
    page.get_by_test_id("checkout-cancel").click()
    expect(page.get_by_test_id("checkout-left")).to_contain_text("Nothing was charged")
    screenshot(page, "journey-pay-left")
    page.get_by_test_id("nav-billing").click()
    expect_standing(page, "Free", "0", "You pay nothing")
    expect(page.get_by_test_id("invoice-row")).to_have_count(0)
    screenshot(page, "journey-pay-declined", whole=True)
    customer_id = shop.v1.customers.list().data[0].id
    assert shop.v1.subscriptions.list({"customer": customer_id, "status": "all"}).data == []
    assert not any(charge.paid for charge in shop.v1.charges.list({"customer": customer_id}).data)
    assert count(own_stack, "subscriptions", grace_id) == 0
    assert own_stack.rows("select * from payments where status <> 'failed'") == []

    # The same checkout again, and the bank asks whether it is her.
    page.get_by_test_id("billing-change").click()
    page.get_by_test_id("subscribe-premium").click()
    pay(page, "challenge")
    page.get_by_test_id("challenge-complete").click()
    page.wait_for_url("**/billing*")
    page.evaluate("window.loadedOnce = true")
    expect(page.get_by_test_id("billing-thanks")).to_have_attribute("data-state", "ready")
    expect(page.get_by_test_id("billing-thanks")).to_contain_text("Premium is yours: 1,000 images")
    expect_standing(page, "Premium", "1,000", rf"Renews on {DATE} for \$39\.00")
    assert page.evaluate("window.loadedOnce") is True
    screenshot(page, "journey-pay-thanks", whole=True)
    assert own_stack.stripe_state()["counts"]["checkout.session"] == 1
    wait_until(lambda: own_stack.rows("select state from checkouts") == [("complete",)], 10)

    # What was bought is used, and billing tells of it.
    page.get_by_test_id("billing-thanks").get_by_role("link").click()
    page.wait_for_url("**/studio")
    create(page, "TOK on the first day of spring")
    expect(page.get_by_test_id("quota-left-images")).to_contain_text("999 of 1,000 images left")
    page.get_by_test_id("nav-billing").click()
    expect(page.get_by_test_id("quota-left-images")).to_have_text("999")
    page.get_by_test_id("billing-history").locator("summary").click()
    history = page.get_by_test_id("billing-history").get_by_role("listitem")
    told = [line.locator("span").inner_text() for line in history.all()]
    assert "+1,000 images granted by Premium" in told
    assert told[0] == "1 image delivered"
    screenshot(page, "journey-pay-history", whole=True)

    # Its invoice, as a page and as a file.
    expect(page.get_by_test_id("invoice-row")).to_have_count(1)
    expect(page.get_by_test_id("invoice-row")).to_contain_text("$39.00")
    expect(page.get_by_test_id("invoice-status")).to_have_text("Paid")
    with page.expect_popup() as opened:
        page.get_by_test_id("invoice-link").click()
    invoice = opened.value
    expect(invoice.get_by_test_id("invoice-status")).to_have_text("Paid")
    expect(invoice.get_by_test_id("invoice-total")).to_have_text("$39.00")
    invoice.close()
    pdf_url = page.get_by_test_id("invoice-pdf").get_attribute("href") or ""
    pdf = page.request.get(pdf_url)
    assert (pdf.headers["content-type"], pdf.body()[:5]) == ("application/pdf", b"%PDF-")
    assert stranger.http.get(pdf_url).status_code == 404

    # A larger plan begins at once, for the difference.
    page.get_by_test_id("billing-change").click()
    page.get_by_test_id("subscribe-studio").click()
    expect(page.get_by_test_id("portal-applies")).to_have_text("at once")
    difference = page.get_by_test_id("portal-due-now").inner_text()
    assert Decimal("89.90") < Decimal(difference.removeprefix("$")) <= Decimal(90)
    screenshot(page, "journey-pay-portal-upgrade", whole=True)
    page.get_by_test_id("portal-confirm").click()
    page.wait_for_url("**/billing*")
    expect_standing(page, "Studio", "3,999", rf"Renews on {DATE} for \$129\.00")
    expect(page.get_by_test_id("invoice-row")).to_have_count(2)
    expect(page.get_by_test_id("invoice-row").first).to_contain_text(difference)
    screenshot(page, "journey-pay-studio", whole=True)

    # A smaller one waits for the period's end, and can be taken back.
    page.get_by_test_id("billing-change").click()
    page.get_by_test_id("subscribe-premium").click()
    expect(page.get_by_test_id("portal-applies")).to_have_text(re.compile(DATE))
    expect(page.get_by_test_id("portal-due-now")).to_have_text("$0.00")
    page.get_by_test_id("portal-confirm").click()
    page.wait_for_url("**/billing*")
    expect_standing(page, "Studio", "3,999", rf"Changes to Premium on {DATE} for \$39\.00")
    screenshot(page, "journey-pay-changing", whole=True)
    page.get_by_test_id("billing-resume").click()
    page.get_by_test_id("portal-undo-change").click()
    expect(page.get_by_test_id("portal-scheduled")).to_have_count(0)
    page.get_by_test_id("portal-return").click()
    expect_standing(page, "Studio", "3,999", rf"Renews on {DATE} for \$129\.00")

    # Leaving, staying after all, and leaving again.
    cancel(page)
    screenshot(page, "journey-pay-ending", whole=True)
    page.get_by_test_id("billing-resume").click()
    page.get_by_test_id("portal-resume").click()
    expect(page.get_by_test_id("portal-message")).to_have_text("Your plan continues.")
    page.get_by_test_id("portal-return").click()
    expect_standing(page, "Studio", "3,999", rf"Renews on {DATE} for \$129\.00")
    cancel(page)

    # What is on record in the end, and that it is hers alone.
    subscriptions = shop.v1.subscriptions.list({"status": "all"}).data
    assert [(one.status, one.cancel_at is not None) for one in subscriptions] == [("active", True)]
    assert own_stack.rows("select user_id, id, status, plan, cancel_at is not null from subscriptions") == [
        (grace_id, subscriptions[0].id, "active", "studio", True)
    ]
    first, upgrade = Decimal("39.00"), Decimal(difference.removeprefix("$"))
    assert own_stack.rows(
        """select p.user_id, p.status, p.amount, i.status, i.total from payments p
           left join invoices i on i.id = p.invoice_id order by p.status, p.amount"""
    ) == [
        (grace_id, "failed", first, None, None),
        (grace_id, "succeeded", first, "paid", first),
        (grace_id, "succeeded", upgrade, "paid", upgrade),
    ]
    assert count(own_stack, "invoices", grace_id) == 2
    assert_untouched(own_stack, eileen_id)
    hers = new_page(browser, own_stack, complaints, viewport=DESKTOP, color_scheme="light")
    log_in(hers, stranger.email)
    hers.get_by_test_id("nav-billing").click()
    expect_standing(hers, "Free", "30", "You pay nothing")
    expect(hers.get_by_test_id("billing-no-invoices")).to_be_visible()
    assert_nothing_went_wrong(own_stack, complaints)


def cancel(page: Page) -> None:
    page.get_by_test_id("billing-cancel").click()
    expect(page.get_by_test_id("portal-cancel-date")).to_have_text(re.compile(DATE))
    until = page.get_by_test_id("portal-cancel-date").inner_text()
    page.get_by_test_id("portal-cancel-confirm").click()
    page.wait_for_url("**/billing*")
    expect_standing(page, "Studio", "3,999", f"Ends on {until}, and nothing more is charged")


def assert_nothing_went_wrong(stack: Stack, complaints: Sequence[str] = ()) -> None:
    stack.assert_ledger_holds()
    assert list(complaints) == []
    for command in ("serve", "worker"):
        assert "Traceback" not in stack.log(command), stack.log(command)[-3000:]
        assert "ERROR" not in stack.log(command), stack.log(command)[-3000:]


def assert_untouched(stack: Stack, user_id: int) -> None:
    for table in ("payment_customers", "checkouts", "subscriptions", "invoices", "payments"):
        assert count(stack, table, user_id) == 0, table


def test_asked_for_twice_at_once_and_half_given_back_on_a_phone_in_the_dark(
    browser: Browser, own_stack: Stack, new_person: NewPerson, grace: list[Path]
) -> None:
    shop = open_shop(own_stack)
    person = new_person(own_stack, "grace@example.com")
    model_id = person.ready_clone(grace)
    use_up_images(own_stack, person, but=1)

    # One image is left: of two requests at once, one gets it.
    body = {"model_id": model_id, "prompt": "TOK at the last moment"}
    both = twice_at_once(person, "/api/generate", body)
    assert sorted(answer.status_code for answer in both) == [202, 402]
    (made,) = [answer.json()["id"] for answer in both if answer.status_code == 202]
    assert person.finished(made)["status"] == "succeeded"
    assert person.quota()["images"] == {"used": 30, "limit": 30}
    assert len(person.gallery()) == 1

    # Two wishes for the same plan at once lead to one checkout, and so does the button.
    wish = {"plan": "premium", "interval": "month"}
    both = twice_at_once(person, "/api/payment/subscribe", wish)
    assert [answer.status_code for answer in both] == [200, 200]
    (url,) = {answer.json()["checkout_url"] for answer in both}
    complaints: list[str] = []
    page = new_page(browser, own_stack, complaints, viewport=PHONE, color_scheme="dark", has_touch=True)
    log_in(page, person.email)
    page.goto("/pricing")
    screenshot(page, "journey-pay-phone-pricing", whole=True)
    page.get_by_test_id("subscribe-premium").tap()
    page.wait_for_url(url)
    counts = own_stack.stripe_state()["counts"]
    assert (counts["customer"], counts["checkout.session"]) == (1, 1)
    pay(page, "success")
    page.wait_for_url("**/billing*")
    expect_standing(page, "Premium", "1,000", rf"Renews on {DATE}")
    screenshot(page, "journey-pay-phone-thanks", whole=True)
    both = twice_at_once(person, "/api/payment/subscribe", wish)
    assert {(answer.status_code, answer.json()["code"]) for answer in both} == {(409, "already_subscribed")}
    assert len(shop.v1.subscriptions.list({"status": "all"}).data) == 1

    # Half of it is given back, and the page that is open says so.
    ((charge_id,),) = own_stack.rows("select stripe_charge_id from payments")
    refund = shop.v1.refunds.create({"charge": charge_id, "amount": 1950})
    assert refund.status == "succeeded"
    expect(page.get_by_test_id("invoice-status")).to_have_text("Partly refunded")
    expect_standing(page, "Premium", "500", rf"Renews on {DATE} for \$39\.00")
    page.get_by_test_id("billing-history").locator("summary").tap()
    expect(page.get_by_test_id("billing-history")).to_contain_text("-500 images taken back from Premium")
    screenshot(page, "journey-pay-phone-refunded", whole=True)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert own_stack.rows("select user_id, status, amount, refunded from payments") == [
        (id_of(person), "partially_refunded", Decimal("39.00"), Decimal("19.50"))
    ]
    assert_nothing_went_wrong(own_stack, complaints)


def twice_at_once(person: Person, path: str, body: dict[str, Any]) -> list[httpx.Response]:
    """Two requests, each over a connection of its own that is open before either is sent."""
    both_ready = threading.Barrier(2)

    def send() -> httpx.Response:
        headers = {"Authorization": person.http.headers["Authorization"]}
        with httpx.Client(base_url=person.stack.url, headers=headers, timeout=30) as http:
            http.get("/healthz").raise_for_status()
            both_ready.wait(30)
            return http.post(path, json=body)

    with ThreadPoolExecutor(2) as threads:
        sent = [threads.submit(send) for _ in range(2)]
        return [one.result() for one in sent]


@pytest.mark.parametrize("stack", [{"VISIONA_BILLING": "off"}], indirect=True)
def test_a_server_that_sells_nothing_needs_no_stripe(stack: Stack, new_person: NewPerson) -> None:
    assert not any("STRIPE" in name for name in stack.environment)
    assert_sells_nothing(new_person(stack, "grace@example.com"), "studio", "Studio", 4000)

    # The operator says what everybody has.
    stack.kill("serve")
    stack.environment["VISIONA_DEFAULT_PLAN"] = "premium"
    stack.run("migrate")
    stack.start("serve")
    wait_until(lambda: answers(f"{stack.url}/readyz"), 30)
    assert_sells_nothing(new_person(stack, "eileen@example.com"), "premium", "Premium", 1000)
    assert_nothing_went_wrong(stack)


def assert_sells_nothing(person: Person, plan: str, title: str, images: int) -> None:
    http = person.http
    assert person.quota()["images"]["limit"] == images
    found = http.get("/api/payment/plans").raise_for_status().json()
    assert (found["billing"], found["base"]) == ("off", plan)
    assert [(one["name"], one["images"], one["prices"]) for one in found["plans"]] == [(plan, images, [])]
    for path, body in (
        ("/api/payment/subscribe", {"plan": "premium", "interval": "month"}),
        ("/api/payment/portal", {}),
    ):
        answer = http.post(path, json=body)
        assert (answer.status_code, answer.json()["code"]) == (404, "billing_off"), path
    subscription = http.get("/api/payment/subscription").raise_for_status().json()
    assert (subscription["plan"], subscription["status"]) == (plan, "none")
    assert http.get("/api/payment/invoices").raise_for_status().json()["items"] == []

    event = {"id": "evt_1", "object": "event", "type": "invoice.paid"}
    assert httpx.post(f"{person.stack.url}/api/payment/webhook", json=event).status_code == 401

    credentials = {"email": person.email, "password": PASSWORD}
    cookies = dict(httpx.post(f"{person.stack.url}/api/auth/login", json=credentials).cookies)
    for path in ("/pricing", "/billing"):
        page = httpx.get(f"{person.stack.url}{path}", cookies=cookies).raise_for_status().text
        assert "sells nothing" in page, path
        assert title in page, path
        assert "Upgrade" not in page, path
        assert "<form" not in page.partition("<main")[2], path
