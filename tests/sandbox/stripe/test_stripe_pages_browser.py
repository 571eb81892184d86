"""The hosted pages in a real browser: light, dark, on a phone, without scripts, by keyboard alone."""

import os
import runpy
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from tests.sandbox.stripe.merchant import DAY, Merchant, running_merchant

pytestmark = [pytest.mark.journey, pytest.mark.timeout(240)]

ROOT = Path(__file__).parents[3]
SMALL_PHONE = {"width": 320, "height": 640}
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 900}

# Controls and fields that a test could not name, or that a screen reader could not.
UNNAMED = """
() => [...document.querySelectorAll("main :is(a, button, input, select, summary), a.back")]
  .filter((control) => {
    const label = control.labels?.[0] ?? control;
    return !control.dataset.testid || !label.textContent.trim();
  })
  .map((control) => control.outerHTML)
"""
# Targets that a finger would miss; links within a line of text are exempt.
TOO_SMALL = """
() => [...document.querySelectorAll("main :is(.button, .chip, input, select, summary), a.back")]
  .filter((control) => control.checkVisibility() && control.getBoundingClientRect().height < 36)
  .map((control) => control.outerHTML)
"""


@pytest.fixture(scope="module")
def merchant(tmp_path_factory: pytest.TempPathFactory) -> Generator[Merchant]:
    with running_merchant(tmp_path_factory.mktemp("stripe")) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Generator[Browser]:
    executable = runpy.run_path(str(ROOT / "scripts" / "find_browser.py"))["find"]()
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=executable,
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ],
        )
        yield chromium
        chromium.close()


def new_page(browser: Browser, merchant: Merchant, complaints: list[str], **options: Any) -> Page:
    """A visitor; what the browser complains about is noted."""
    context = browser.new_context(base_url=merchant.server.base, locale="en-US", **options)
    page = context.new_page()
    page.set_default_timeout(15_000)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: message.type == "error" and complaints.append(message.text))
    return page


def screenshot(page: Page, name: str) -> None:
    if not os.environ.get("VISIONA_TEST_PICTURES"):
        return
    folder = ROOT / "test-results"
    folder.mkdir(exist_ok=True)
    page.screenshot(path=folder / f"stripe-{name}.png", full_page=True)


def fill_card(page: Page, prefix: str, number: str) -> None:
    page.get_by_test_id(f"{prefix}-card-number").fill(number)
    page.get_by_test_id(f"{prefix}-expiry").fill("1234")
    page.get_by_test_id(f"{prefix}-cvc").fill("123")
    page.get_by_test_id(f"{prefix}-name").fill("Ada Example")


def test_subscribing_on_a_desktop(browser: Browser, merchant: Merchant) -> None:
    complaints: list[str] = []
    page = new_page(browser, merchant, complaints, viewport=DESKTOP, color_scheme="light")
    path = merchant.checkout(customer_email="ada@example.com")
    page.goto(path)
    expect(page.get_by_test_id("sandbox-note")).to_have_text("Sandbox - no money moves")
    screenshot(page, "checkout")
    page.get_by_test_id("checkout-card-number").press_sequentially("4000000000009995")
    expect(page.get_by_test_id("checkout-card-number")).to_have_value("4000 0000 0000 9995")
    page.get_by_test_id("checkout-expiry").press_sequentially("1234")
    expect(page.get_by_test_id("checkout-expiry")).to_have_value("12 / 34")
    page.get_by_test_id("checkout-cvc").fill("123")
    page.get_by_test_id("checkout-name").fill("Ada Example")
    page.get_by_test_id("checkout-pay").click()
    expect(page.get_by_test_id("checkout-error")).to_have_text("Your card has insufficient funds.")
    expect(page.get_by_test_id("checkout-name")).to_have_value("Ada Example")
    screenshot(page, "checkout-declined")

    page.get_by_test_id("checkout-test-success").click()
    expect(page.get_by_test_id("checkout-card-number")).to_have_value("4242 4242 4242 4242")
    expect(page.get_by_test_id("checkout-name")).to_have_value("Ada Example")
    page.get_by_test_id("checkout-pay").dblclick()
    page.wait_for_url(f"{merchant.site}/welcome?session=cs_test_*")
    assert merchant.session(path).payment_status == "paid"

    page.go_back()
    expect(page.get_by_test_id("checkout-complete")).to_be_visible()
    screenshot(page, "checkout-completed")
    page.get_by_test_id("checkout-continue").click()
    page.wait_for_url(f"{merchant.site}/welcome?session=cs_test_*")
    assert complaints == []


def test_subscribing_without_scripts_on_a_dark_phone(browser: Browser, merchant: Merchant) -> None:
    page = new_page(
        browser, merchant, [], viewport=PHONE, color_scheme="dark", java_script_enabled=False, has_touch=True
    )
    path = merchant.checkout("pro_yearly", subscription_data={"trial_period_days": 7})
    page.goto(path)
    page.get_by_test_id("checkout-pay").tap()
    expect(page.get_by_test_id("checkout-number-error")).to_have_text("Enter the card number.")
    expect(page.get_by_test_id("checkout-email")).to_be_focused()
    screenshot(page, "checkout-mistakes-dark-phone")
    page.get_by_test_id("checkout-test-challenge").tap()
    expect(page.get_by_test_id("checkout-card-number")).to_have_value("4000 0025 0000 3155")
    page.get_by_test_id("checkout-email").fill("grace@example.com")
    page.get_by_test_id("checkout-pay").tap()
    page.wait_for_url("**/challenge")
    screenshot(page, "challenge-dark-phone")
    page.get_by_test_id("challenge-fail").tap()
    expect(page.get_by_test_id("checkout-error")).to_contain_text("unable to authenticate")
    page.get_by_test_id("checkout-test-challenge").tap()
    page.get_by_test_id("checkout-email").fill("grace@example.com")
    page.get_by_test_id("checkout-pay").tap()
    page.get_by_test_id("challenge-complete").tap()
    page.wait_for_url(f"{merchant.site}/welcome?session=cs_test_*")
    assert merchant.session(path).payment_status == "no_payment_required"


def test_subscribing_with_the_keyboard_alone(browser: Browser, merchant: Merchant) -> None:
    page = new_page(browser, merchant, [], viewport=DESKTOP)
    path = merchant.checkout(customer_email="ada@example.com")
    page.goto(path)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    for sample in ("success", "declined", "insufficient-funds", "challenge", "fails-later", "disputed"):
        page.keyboard.press("Tab")
        expect(page.get_by_test_id(f"checkout-test-{sample}")).to_be_focused()
    for field, typed in (
        ("card-number", "4242424242424242"),
        ("expiry", "1234"),
        ("cvc", "123"),
        ("name", "Ada"),
    ):
        page.keyboard.press("Tab")
        control = page.get_by_test_id(f"checkout-{field}")
        expect(control).to_be_focused()
        assert control.evaluate("field => getComputedStyle(field).outlineStyle") == "solid", field
        page.keyboard.type(typed)
    page.keyboard.press("Tab")
    expect(page.get_by_test_id("checkout-country")).to_be_focused()
    page.keyboard.type("Austria")
    page.keyboard.press("Tab")
    expect(page.get_by_test_id("checkout-pay")).to_be_focused()
    assert page.get_by_test_id("checkout-pay").evaluate("e => getComputedStyle(e).outlineWidth") == "3px"
    page.keyboard.press("Enter")
    page.wait_for_url(f"{merchant.site}/welcome?session=cs_test_*")


def test_leaving_a_checkout(browser: Browser, merchant: Merchant) -> None:
    page = new_page(browser, merchant, [])
    path = merchant.checkout()
    page.goto(path)
    page.get_by_test_id("checkout-cancel").click()
    page.wait_for_url(f"{merchant.site}/pricing")
    assert merchant.session(path).status == "open"


@pytest.mark.parametrize("look", ["light", "dark"])
def test_the_portal_from_change_to_end(browser: Browser, merchant: Merchant, look: Any) -> None:
    complaints: list[str] = []
    viewport = DESKTOP if look == "light" else PHONE
    page = new_page(browser, merchant, complaints, viewport=viewport, color_scheme=look)
    customer = merchant.subscriber("basic")
    page.goto(merchant.portal(customer))
    expect(page.get_by_test_id("portal-plan")).to_have_text("Sandbox Basic")
    page.get_by_test_id("portal-change-pro").click()
    expect(page.get_by_test_id("portal-due-now")).to_have_text("$20.00")
    screenshot(page, f"portal-change-{look}")
    page.get_by_test_id("portal-confirm").click()
    expect(page.get_by_test_id("portal-message")).to_have_text("Your plan has been changed.")
    expect(page.get_by_test_id("portal-plan")).to_have_text("Sandbox Pro")

    page.get_by_test_id("portal-change-basic").click()
    expect(page.get_by_test_id("portal-due-now")).to_have_text("$0.00")
    screenshot(page, f"portal-schedule-{look}")
    page.get_by_test_id("portal-confirm").click()
    expect(page.get_by_test_id("portal-scheduled")).to_contain_text("Sandbox Basic")
    screenshot(page, f"portal-scheduled-{look}")
    page.get_by_test_id("portal-undo-change").click()
    expect(page.get_by_test_id("portal-scheduled")).to_have_count(0)

    page.get_by_test_id("portal-card").click()
    fill_card(page, "portal", "5555555555554444")
    screenshot(page, f"portal-card-{look}")
    page.get_by_test_id("portal-card-save").click()
    expect(page.get_by_test_id("portal-card")).to_contain_text("Mastercard •••• 4444")

    page.get_by_test_id("portal-cancel").click()
    screenshot(page, f"portal-cancel-{look}")
    page.get_by_test_id("portal-cancel-confirm").click()
    expect(page.get_by_test_id("portal-period")).to_contain_text("is not charged again")
    screenshot(page, f"portal-canceled-{look}")
    page.get_by_test_id("portal-resume").click()
    expect(page.get_by_test_id("portal-period")).to_contain_text("Renews on")
    screenshot(page, f"portal-{look}")

    page.get_by_test_id("portal-invoice-view").first.click()
    expect(page.get_by_test_id("invoice-status")).to_have_text("Paid")
    screenshot(page, f"invoice-{look}")
    page.go_back()
    page.get_by_test_id("portal-return").click()
    page.wait_for_url(f"{merchant.site}/account")
    assert complaints == []


def test_a_deep_link_ends_at_the_merchant(browser: Browser, merchant: Merchant) -> None:
    complaints: list[str] = []
    page = new_page(browser, merchant, complaints, viewport=PHONE)
    customer = merchant.subscriber()
    data = {
        "type": "subscription_cancel",
        "subscription_cancel": {"subscription": merchant.subscription(customer).id},
        "after_completion": {"type": "redirect", "redirect": {"return_url": f"{merchant.site}/done"}},
    }
    page.goto(merchant.portal(customer, flow_data=data))
    page.get_by_test_id("portal-cancel-confirm").click()
    page.wait_for_url(f"{merchant.site}/done")
    assert complaints == []


def test_every_page_fits_and_names_its_controls(
    browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with running_merchant(tmp_path_factory.mktemp("stripe")) as merchant:
        pages = every_page(merchant)
        for viewport in (SMALL_PHONE, PHONE, DESKTOP):
            for look in ("light", "dark"):
                page = new_page(browser, merchant, [], viewport=viewport, color_scheme=look)
                for name, path in pages.items():
                    page.goto(path)
                    where = f"{name}, {viewport['width']} wide, {look}"
                    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), where
                    assert page.locator("h1").count() == 1, where
                    assert page.evaluate(UNNAMED) == [], where
                    assert page.evaluate(TOO_SMALL) == [], where
                    screenshot(page, f"all-{name}-{viewport['width']}-{look}")
                page.close()


def every_page(merchant: Merchant) -> dict[str, str]:
    """One address for each page in each of its states. The last customer's payment is overdue."""
    email = "augusta.ada.king.countess.of.lovelace@a-rather-long-domain.example.com"
    customer = merchant.subscriber("basic")
    merchant.use_card(customer, "pm_card_chargeCustomerFail")
    merchant.server.advance(32 * DAY)
    overdue = merchant.portal(customer)
    invoice = merchant.api.v1.invoices.list({"customer": customer, "status": "open"}).data[0]
    healthy = merchant.subscriber()
    portal = merchant.portal(healthy)
    ended, scheduled = (merchant.portal(merchant.subscriber()) for _ in range(2))
    merchant.send(f"{ended}/cancel")
    merchant.send(f"{scheduled}/change/{merchant.prices['basic']}")
    done, challenged, expired = (merchant.checkout(customer_email=email) for _ in range(3))
    merchant.pay(done)
    merchant.pay(challenged, "4000 0025 0000 3155")
    merchant.api.v1.checkout.sessions.expire(expired.rpartition("/")[2])
    paid = merchant.api.v1.invoices.list({"customer": healthy}).data[0]
    plans = {
        "type": "subscription_update",
        "subscription_update": {"subscription": merchant.subscription(healthy).id},
    }
    return {
        "checkout": merchant.checkout(customer_email=email),
        "checkout-trial": merchant.checkout("yen", subscription_data={"trial_period_days": 14}),
        "checkout-done": done,
        "checkout-expired": expired,
        "challenge": f"{challenged}/challenge",
        "portal": portal,
        "portal-overdue": overdue,
        "portal-ending": ended,
        "portal-scheduled": scheduled,
        "portal-nothing": merchant.portal(merchant.api.v1.customers.create({"email": email}).id),
        "portal-plans": merchant.portal(healthy, flow_data=plans),
        "portal-upgrade": f"{portal}/change/{merchant.prices['pro_yearly']}",
        "portal-downgrade": f"{portal}/change/{merchant.prices['basic']}",
        "portal-cancel": f"{portal}/cancel",
        "portal-card": f"{portal}/card",
        "portal-expired": "/p/session/bps_unknown",
        "invoice-open": str(invoice.hosted_invoice_url),
        "invoice-open-form": f"{invoice.hosted_invoice_url}?card=success",
        "invoice-paid": str(paid.hosted_invoice_url),
    }
