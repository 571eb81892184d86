"""The Account Portal in a real browser: light, dark, on a phone, without scripts, by keyboard alone."""

import runpy
import threading
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyotp
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from tests.sandbox.clerk.conftest import PASSWORD

pytestmark = [pytest.mark.journey, pytest.mark.timeout(240)]

ROOT = Path(__file__).parents[3]
SMALL_PHONE = {"width": 320, "height": 640}
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 900}

# Controls and fields that a test could not name, or that a screen reader could not.
UNNAMED = """
() => [...document.querySelectorAll("main :is(a, button, input:not([type=hidden]))")]
  .filter((control) => {
    const label = control.labels?.[0] ?? control;
    return !control.dataset.testid || !label.textContent.trim();
  })
  .map((control) => control.outerHTML)
"""
# Targets that a finger would miss.
TOO_SMALL = """
() => [...document.querySelectorAll("main :is(.button, .plain, .check, .field input)")]
  .filter((control) => control.getBoundingClientRect().height < 36)
  .map((control) => control.outerHTML)
"""
TOO_WIDE = "() => document.documentElement.scrollWidth > document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def site() -> Generator[str]:
    """A site of another origin, to which the portal sends people back; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = b"<!doctype html><title>Site</title><h1 data-testid='site'>Site</h1>"
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


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


def new_page(browser: Browser, sandbox: Any, complaints: list[str], **options: Any) -> Page:
    """A visitor; what the browser complains about is noted."""
    context = browser.new_context(base_url=sandbox.base, locale="en-US", **options)
    page = context.new_page()
    page.set_default_timeout(15_000)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: message.type == "error" and complaints.append(message.text))
    return page


def check(page: Page, shots: Path, name: str) -> None:
    """Whatever every page must hold, on every screen; a picture of it lies in `shots`."""
    page.screenshot(path=shots / f"{name}.png", full_page=True)
    expect(page.get_by_test_id("sandbox-note")).to_be_visible()
    assert page.evaluate(UNNAMED) == []
    assert page.evaluate(TOO_SMALL) == []
    usual = page.viewport_size
    page.set_viewport_size(SMALL_PHONE)
    assert not page.evaluate(TOO_WIDE), f"{name} is wider than a small phone"
    assert usual is not None
    page.set_viewport_size(usual)


@pytest.mark.parametrize("look", ["light", "dark"])
def test_an_account_from_sign_up_to_its_end(
    browser: Browser, sandbox: Any, site: str, tmp_path: Path, look: Any
) -> None:
    complaints: list[str] = []
    viewport = DESKTOP if look == "light" else PHONE
    page = new_page(browser, sandbox, complaints, viewport=viewport, color_scheme=look)
    page.goto(f"/sign-up?redirect_url={site}/welcome")
    check(page, tmp_path, "sign-up")
    page.get_by_test_id("sign-up-email").fill(f"journey-{look}@example.com")
    page.get_by_test_id("sign-up-password").fill("password123")
    page.get_by_test_id("sign-up-legal").check()
    page.get_by_test_id("sign-up-submit").click()
    expect(page.get_by_test_id("sign-up-password-error")).to_contain_text("breach")
    expect(page.get_by_test_id("sign-up-password")).to_be_focused()
    check(page, tmp_path, "sign-up-refused")
    page.get_by_test_id("sign-up-password").fill(PASSWORD)
    page.get_by_test_id("sign-up-submit").click()
    check(page, tmp_path, "verify")
    page.get_by_test_id("verify-code").fill(page.get_by_test_id("sandbox-code").inner_text())
    page.get_by_test_id("verify-submit").click()
    expect(page.get_by_test_id("site")).to_be_visible()
    assert "__clerk_db_jwt=dvb_" in page.url

    page.goto(f"/user?redirect_url={site}/")
    check(page, tmp_path, "account")
    page.get_by_test_id("email-new").fill(f"second-{look}@example.com")
    page.get_by_test_id("email-add").click()
    check(page, tmp_path, "account-email")
    page.get_by_test_id("email-code").fill(page.get_by_test_id("sandbox-code").inner_text())
    page.get_by_test_id("email-verify").click()
    page.get_by_test_id("email-make-primary").click()
    expect(page.get_by_test_id("account-done")).to_have_text("Your primary address has been changed.")
    page.get_by_test_id("totp-start").click()
    check(page, tmp_path, "account-totp")
    secret = page.get_by_test_id("totp-secret").inner_text()
    page.get_by_test_id("totp-code").fill(pyotp.TOTP(secret).now())
    page.get_by_test_id("totp-confirm").click()
    expect(page.get_by_test_id("totp-on")).to_be_visible()
    page.get_by_test_id("account-sign-out").click()
    expect(page.get_by_test_id("site")).to_be_visible()

    page.goto(f"/sign-in?redirect_url={site}/")
    check(page, tmp_path, "sign-in")
    page.get_by_test_id("sign-in-email").fill(f"second-{look}@example.com")
    page.get_by_test_id("sign-in-password").fill(PASSWORD)
    page.get_by_test_id("sign-in-submit").click()
    check(page, tmp_path, "factor-two")
    page.get_by_test_id("factor-code").fill(pyotp.TOTP(secret).now())
    page.get_by_test_id("factor-submit").click()
    expect(page.get_by_test_id("site")).to_be_visible()
    page.goto(f"/user?redirect_url={site}/")
    page.get_by_test_id("delete-confirmation").fill("Delete account")
    page.get_by_test_id("delete-submit").click()
    check(page, tmp_path, "deleted")
    page.get_by_test_id("way-on").click()
    expect(page.get_by_test_id("site")).to_be_visible()
    refused = [text for text in complaints if "422" in text]
    assert len(refused) == 1, "the weak password was refused once"
    assert complaints == refused
    page.context.close()


def test_signing_in_with_the_keyboard_alone_and_no_scripts(browser: Browser, sandbox: Any, site: str) -> None:
    sandbox.user("keyboard")
    page = new_page(browser, sandbox, [], viewport=DESKTOP, java_script_enabled=False)
    page.goto(f"/sign-in?redirect_url={site}/")
    expect(page.get_by_test_id("sign-in-email")).to_be_focused()
    page.keyboard.type("keyboard@example.com")
    page.keyboard.press("Tab")
    page.keyboard.type("not the one")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("sign-in-password-error")).to_be_visible()
    expect(page.get_by_test_id("sign-in-password")).to_be_focused()
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Tab")
    expect(page.get_by_test_id("sign-in-submit")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("site")).to_be_visible()
    page.context.close()
