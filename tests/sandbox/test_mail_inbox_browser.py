"""The inbox in a real browser, with mails as Visiona sends them: light, dark, on a phone, without scripts."""

import asyncio
import os
import runpy
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from tests.factories.mail import MailServer, run_mail_sandbox

from visiona.adapters.smtp import SmtpConfig, SmtpMailer
from visiona.mail.model import Kind, compose
from visiona.ports.mailer import Message

pytestmark = [pytest.mark.journey, pytest.mark.timeout(240)]

ROOT = Path(__file__).parents[2]
PHONE = {"width": 360, "height": 740}
DESKTOP = {"width": 1280, "height": 900}


@pytest.fixture(scope="module")
def browser() -> Generator[Browser]:
    executable = runpy.run_path(str(ROOT / "scripts" / "find_browser.py"))["find"]()
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=executable,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"],
        )
        yield chromium
        chromium.close()


@pytest.fixture
def server(tmp_path: Path) -> Generator[MailServer]:
    with run_mail_sandbox(tmp_path) as server:
        yield server


@pytest.fixture
def complaints() -> Generator[list[str]]:
    """What browsers complained about: nothing."""
    found: list[str] = []
    yield found
    assert found == []


def new_page(browser: Browser, server: MailServer, complaints: list[str], **options: Any) -> Page:
    context = browser.new_context(base_url=server.base, locale="en-US", **options)
    page = context.new_page()
    page.set_default_timeout(15_000)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: message.type == "error" and complaints.append(message.text))
    return page


def send(server: MailServer, to: str, kind: Kind, link: str | None = None, **details: Any) -> None:
    subject, text, html = compose(kind, details, link, "https://visiona.example")
    message = Message(id=kind.replace("_", "-"), to=to, subject=subject, text=text, html=html)
    mailer = SmtpMailer(SmtpConfig.parse(server.smtp_url, "Visiona <hello@visiona.example>"))
    # The thread of the test has a running loop already, which is the browser's.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, mailer.send(message)).result()


def screenshot(page: Page, name: str) -> None:
    if not os.environ.get("VISIONA_TEST_PICTURES"):
        return
    folder = ROOT / "test-results"
    folder.mkdir(exist_ok=True)
    page.screenshot(path=folder / f"mail-{name}.png", full_page=True)


def fits(page: Page) -> bool:
    return page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_mail_is_found_read_and_its_link_followed(
    browser: Browser, server: MailServer, complaints: list[str]
) -> None:
    page = new_page(browser, server, complaints, viewport=DESKTOP)
    page.goto("/")
    expect(page.get_by_test_id("inbox-empty")).to_be_visible()
    # It appears by itself.
    link = f"{server.base}/?to=followed"
    send(server, "alice@example.com", Kind.VERIFY_ADDRESS, link)
    expect(page.get_by_test_id("inbox-mail")).to_have_count(1)
    send(server, "bob@example.com", Kind.TRIAL_ENDS, date="2026-12-03", amount="$39.00")
    expect(page.get_by_test_id("inbox-mail")).to_have_count(2)
    screenshot(page, "inbox")
    page.get_by_test_id("inbox-search").fill("ALICE")
    page.get_by_test_id("inbox-search").press("Enter")
    expect(page.get_by_test_id("inbox-mail")).to_have_count(1)
    page.get_by_test_id("inbox-mail").click()
    expect(page.get_by_test_id("mail-subject")).to_have_text("Confirm your address for Visiona")
    frame = page.frame_locator("[data-testid=mail-html]")
    expect(frame.get_by_role("heading")).to_have_text("Confirm your address for Visiona")
    screenshot(page, "designed")
    with page.context.expect_page() as opened:
        frame.get_by_role("link", name="Confirm this address").click()
    assert opened.value.url == link
    # The tab is one like any other, not held to the frame's limits.
    assert opened.value.evaluate("origin") == server.base
    opened.value.close()
    page.get_by_test_id("mail-view-text").click()
    with page.context.expect_page() as opened:
        page.get_by_test_id("mail-link").first.click()
    assert opened.value.url == link
    page.get_by_test_id("mail-view-source").click()
    expect(page.get_by_test_id("mail-source")).to_contain_text("Message-ID: <verify-address@visiona.example>")
    assert fits(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_works_on_a_phone_without_scripts(
    browser: Browser, server: MailServer, complaints: list[str], scheme: str
) -> None:
    long = f"{'a' * 60}@{'very-long-domain.' * 5}example.com"
    send(server, long, Kind.RESET_PASSWORD, f"https://visiona.example/reset?token={'x' * 48}")
    page = new_page(
        browser,
        server,
        complaints,
        viewport=PHONE,
        color_scheme=scheme,
        java_script_enabled=False,
        has_touch=True,
    )
    page.goto("/")
    screenshot(page, f"phone-inbox-{scheme}")
    page.get_by_test_id("inbox-mail").click()
    expect(page.frame_locator("[data-testid=mail-html]").get_by_role("heading")).to_be_visible()
    screenshot(page, f"phone-{scheme}")
    page.get_by_test_id("mail-view-text").click()
    expect(page.get_by_test_id("mail-text")).to_contain_text("30 minutes")
    page.get_by_test_id("mail-back").click()
    expect(page.get_by_test_id("inbox-mail")).to_have_count(1)


def test_pages_fit_small_screens(browser: Browser, server: MailServer, complaints: list[str]) -> None:
    long = f"{'a' * 60}@{'very-long-domain.' * 5}example.com"
    send(server, long, Kind.RESET_PASSWORD, f"https://visiona.example/reset?token={'x' * 48}")
    page = new_page(browser, server, complaints, viewport={"width": 320, "height": 640})
    for path in (
        "/",
        f"/?to={long}",
        "/?to=nobody",
        "/mails/1",
        "/mails/1?view=text",
        "/mails/1?view=source",
    ):
        page.goto(path)
        assert fits(page), path
    # The mail itself fits its frame.
    page.goto("/mails/1/html")
    assert fits(page)


def test_a_mail_runs_and_loads_nothing(browser: Browser, server: MailServer, complaints: list[str]) -> None:
    hostile = """
      <style>@import url(https://tracker.example/a.css);</style>
      <p style="background: url(https://tracker.example/b)">Hello</p>
      <img src=https://tracker.example/c.png>
      <script>document.title = "run"</script>
    """
    mailer = SmtpMailer(SmtpConfig.parse(server.smtp_url, "Visiona <hello@visiona.example>"))
    message = Message(id="hostile", to="a@example.com", subject="Hello", text="Hello", html=hostile)
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, mailer.send(message)).result()
    page = new_page(browser, server, [], viewport=DESKTOP)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto("/mails/1")
    expect(page.frame_locator("[data-testid=mail-html]").get_by_text("Hello")).to_be_visible()
    assert [url for url in asked if not url.startswith(server.base)] == []
    assert page.title() == "Hello - Sandbox mail"
    assert complaints == []
