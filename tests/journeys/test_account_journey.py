"""An account in a real browser: mails are followed, passwords changed, second steps and passkeys used."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import httpx
import psycopg
import pyotp
import pytest
from playwright.sync_api import Browser, CDPSession, Page, expect
from tests.journeys.conftest import (
    CLERK,
    DESKTOP,
    PASSWORD,
    PHONE,
    Stack,
    new_page,
    screenshot,
    wait_until,
)
from tests.journeys.conftest import sign_up as sign_up_anywhere

pytestmark = [pytest.mark.journey, pytest.mark.timeout(300)]

NEW_PASSWORD = "a lantern over quiet water"


def sign_up(page: Page, email: str) -> None:
    page.goto("/signup")
    page.get_by_test_id("email").fill(email)
    page.get_by_test_id("password").fill(PASSWORD)
    page.get_by_test_id("submit").click()
    page.wait_for_url("**/studio")


def log_in(page: Page, email: str, password: str) -> None:
    page.goto("/login")
    page.get_by_test_id("email").fill(email)
    page.get_by_test_id("password").fill(password)
    page.get_by_test_id("submit").click()


def log_out(page: Page) -> None:
    page.goto("/account")
    page.get_by_test_id("logout").click()
    page.wait_for_url(re.compile(r"//[^/]+/$"))


def link_in_mail(stack: Stack, email: str, page: str) -> str:
    """The newest link to this page, once its mail has arrived."""
    found = re.compile(rf"{stack.url}/{page}\?token=\S+")

    def newest() -> str | None:
        texts = [mail["text"] for mail in stack.mails(email)]
        return next((match[0] for text in texts if (match := found.search(text))), None)

    return wait_until(newest, 30)


def test_addresses_and_passwords(browser: Browser, stack: Stack) -> None:
    complaints: list[str] = []
    page = new_page(browser, stack, complaints, viewport=DESKTOP)
    sign_up(page, "grace@example.com")
    note = page.get_by_test_id("address-note")
    expect(note).to_contain_text("Confirm your address: we sent a mail to grace@example.com")
    expect(page.get_by_test_id("address-inbox")).to_have_attribute("href", stack.inbox_url)
    screenshot(page, "address-note")
    page.get_by_test_id("send-again").click()
    expect(note).to_contain_text("Sent. Look into your mail")
    assert page.url.endswith("/studio")

    wait_until(lambda: len(stack.mails("grace@example.com")) == 2, 30)
    referrers: list[str | None] = []
    page.on("request", lambda request: referrers.append(request.headers.get("referer")))
    page.goto(link_in_mail(stack, "grace@example.com", "verify"))
    screenshot(page, "verify")
    # Opening the link confirms nothing.
    assert 'data-testid="address-note"' in page.request.get(f"{stack.url}/studio").text()
    page.get_by_test_id("submit").click()
    expect(page.get_by_test_id("verified")).to_be_visible()
    assert 'data-testid="address-note"' not in page.request.get(f"{stack.url}/studio").text()
    assert not [one for one in referrers if one and "token" in one]
    screenshot(page, "verified")
    page.go_back()
    page.reload()
    page.get_by_test_id("submit").click()
    expect(page.get_by_test_id("error-summary")).to_contain_text("used already or has expired")

    elsewhere = new_page(browser, stack, complaints, viewport=PHONE, color_scheme="dark")
    elsewhere.goto("/login")
    screenshot(elsewhere, "phone-login", whole=True)
    elsewhere.get_by_test_id("forgot-link").click()
    screenshot(elsewhere, "phone-forgot", whole=True)
    elsewhere.get_by_test_id("email").fill("grace@example.com")
    elsewhere.get_by_test_id("submit").click()
    expect(elsewhere.get_by_test_id("forgot-sent")).to_be_visible()
    screenshot(elsewhere, "phone-forgot-sent", whole=True)
    reset = link_in_mail(stack, "grace@example.com", "reset")
    elsewhere.goto(reset)
    elsewhere.get_by_test_id("password").fill(NEW_PASSWORD)
    screenshot(elsewhere, "phone-reset", whole=True)
    elsewhere.get_by_test_id("submit").click()
    expect(elsewhere.get_by_test_id("notice")).to_contain_text("Your new password counts")
    log_in(elsewhere, "grace@example.com", NEW_PASSWORD)
    elsewhere.wait_for_url("**/studio")
    page.goto("/studio")  # where she was logged in before, she is no more
    assert urlsplit(page.url).path == "/login"
    page.goto(reset)
    expect(page.locator("h1")).to_have_text("This link is over")
    screenshot(page, "reset-over")
    for name in ("serve", "worker"):
        assert urlsplit(reset).query.removeprefix("token=") not in stack.log(name)
    # A refused form is an error to the console; nothing else was.
    assert [one for one in complaints if "404 (Not Found)" not in one] == []


def test_two_steps(browser: Browser, stack: Stack) -> None:
    complaints: list[str] = []
    page = new_page(browser, stack, complaints, viewport=DESKTOP)
    sign_up(page, "ada@example.com")
    page.goto("/account/security")
    screenshot(page, "security", whole=True)
    page.get_by_test_id("two-step-begin").click()
    page.get_by_test_id("totp-typed").click()
    screenshot(page, "totp", whole=True)
    expect(page.get_by_test_id("totp-qr")).to_have_js_property("complete", value=True)
    assert page.get_by_test_id("totp-qr").evaluate("image => image.naturalWidth") > 0
    authenticator = pyotp.TOTP(page.get_by_test_id("totp-secret").inner_text().replace(" ", ""))
    page.get_by_test_id("code").fill("000000" if authenticator.now() != "000000" else "111111")
    page.get_by_test_id("totp-confirm").click()
    expect(page.get_by_test_id("error-summary")).to_be_focused()
    screenshot(page, "totp-wrong", whole=True)
    page.get_by_test_id("code").fill(authenticator.now())
    page.get_by_test_id("totp-confirm").click()
    codes = page.get_by_test_id("recovery-codes").locator("code").all_inner_texts()
    assert len(codes) == 10
    screenshot(page, "recovery-codes", whole=True)
    with page.expect_download() as download:
        page.get_by_test_id("download-codes").click()
    assert download.value.path().read_text().split() == codes
    page.get_by_test_id("codes-kept").click()
    expect(page.get_by_test_id("two-step-state")).to_contain_text("On since")

    log_out(page)
    log_in(page, "ada@example.com", PASSWORD)
    expect(page.locator("h1")).to_have_text("One more step")
    screenshot(page, "login-code", whole=True)
    page.get_by_test_id("code").fill("not a code")
    page.get_by_test_id("submit").click()
    expect(page.locator("#code-error")).to_contain_text("This code is wrong")
    # The code that turned it on is used up; the next one counts already.
    page.get_by_test_id("code").fill(authenticator.at(datetime.now(UTC) + timedelta(seconds=30)))
    page.get_by_test_id("submit").click()
    page.wait_for_url("**/studio")

    log_out(page)
    log_in(page, "ada@example.com", PASSWORD)
    page.get_by_test_id("code").fill(codes[0].upper())
    page.get_by_test_id("submit").click()
    page.wait_for_url("**/studio")
    page.goto("/account/security")
    expect(page.get_by_test_id("codes-left")).to_contain_text("9 recovery codes left")
    screenshot(page, "security-two-step", whole=True)
    page.get_by_test_id("two-step-off-open").click()
    page.get_by_test_id("two-step-off").click()
    expect(page.get_by_test_id("two-step-state")).to_have_text("Off")
    expect(page.get_by_test_id("flashes")).to_contain_text("is off")
    assert [one for one in complaints if not re.search(r"status of (401|422)", one)] == []


def passkeys_of(page: Page) -> CDPSession:
    """A device with a finger that always fits, in this page's browser."""
    cdp = page.context.new_cdp_session(page)
    cdp.send("WebAuthn.enable")
    device = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    cdp.send("WebAuthn.addVirtualAuthenticator", {"options": device})
    return cdp


def test_passkeys(browser: Browser, stack: Stack) -> None:
    complaints: list[str] = []
    by_number = new_page(browser, stack, complaints, viewport=DESKTOP)
    sign_up(by_number, "dorothy@example.com")
    by_number.goto("/account/security")
    named = stack.url.replace("127.0.0.1", "localhost")
    expect(by_number.get_by_test_id("passkeys-elsewhere")).to_contain_text(f"{named}/account/security")

    page = new_page(browser, replace(stack, url=named), complaints, viewport=DESKTOP)
    passkeys_of(page)
    sign_up(page, "eileen@example.com")
    page.goto("/account/security")
    page.get_by_test_id("new-passkey-name").fill("My laptop")
    page.get_by_test_id("add-passkey").click()
    expect(page.get_by_test_id("passkey")).to_contain_text("My laptop")
    expect(page.get_by_test_id("flashes")).to_contain_text("The passkey is added")
    page.get_by_test_id("new-passkey-name").fill("The same")
    page.get_by_test_id("add-passkey").click()
    expect(page.get_by_test_id("passkey-problem")).to_contain_text("has a passkey for Visiona already")
    page.get_by_test_id("passkey-change").click()
    screenshot(page, "security-passkey", whole=True)
    page.get_by_test_id("passkey-name").fill("Old laptop")
    page.get_by_test_id("passkey-rename").click()
    expect(page.get_by_test_id("passkey")).to_contain_text("Old laptop")

    log_out(page)
    page.goto("/login?next=/gallery")
    screenshot(page, "login", whole=True)
    page.get_by_test_id("passkey-log-in").click()
    page.wait_for_url(re.compile(r"//[^/]+/gallery$"))

    with psycopg.connect(stack.owner_url) as owner:
        owner.execute("update sessions set confirmed_at = confirmed_at - interval '16 minutes'")
    page.goto("/account/security")
    expect(page.get_by_test_id("passkey")).to_contain_text("last used")
    page.get_by_test_id("unlock-passkeys").click()
    page.get_by_test_id("passkey-confirm").click()
    page.wait_for_url("**/account/security#passkeys")
    page.get_by_test_id("passkey-change").click()
    page.get_by_test_id("passkey-remove").click()
    expect(page.get_by_test_id("passkeys-none")).to_be_visible()
    log_out(page)
    page.goto("/login")
    page.get_by_test_id("passkey-log-in").click()
    expect(page.get_by_test_id("passkey-problem")).to_contain_text("could not be used")
    assert [one for one in complaints if "status of 401" not in one] == []


def test_sessions_keys_and_confirming(browser: Browser, stack: Stack) -> None:
    complaints: list[str] = []
    page = new_page(browser, stack, complaints, viewport=DESKTOP)
    sign_up(page, "mary@example.com")
    phone = new_page(browser, stack, complaints, viewport=PHONE, color_scheme="dark", is_mobile=True)
    log_in(phone, "mary@example.com", PASSWORD)
    phone.wait_for_url("**/studio")
    for path, name in (("/account", "account"), ("/account/security", "security"), ("/account/keys", "keys")):
        phone.goto(path)
        assert phone.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), path
        screenshot(phone, f"phone-{name}", whole=True)

    page.goto("/account")
    screenshot(page, "account-ways", whole=True)
    page.get_by_test_id("tab-security").click()
    expect(page.get_by_test_id("session")).to_have_count(2)
    page.get_by_test_id("end-session").click()
    expect(page.get_by_test_id("session")).to_have_count(1)
    phone.goto("/account/keys")
    assert urlsplit(phone.url).path == "/login"

    # A quarter of an hour later, with a form half filled in.
    page.get_by_test_id("tab-keys").click()
    page.get_by_test_id("key-name").fill("Nightly back-up")
    page.get_by_test_id("scope-images:read").check()
    page.get_by_test_id("key-days").select_option("7")
    with psycopg.connect(stack.owner_url) as owner:
        owner.execute("update sessions set confirmed_at = confirmed_at - interval '16 minutes'")
    page.get_by_test_id("make-key").click()
    expect(page.locator("h1")).to_have_text("Confirm that it is you")
    screenshot(page, "confirm", whole=True)
    page.get_by_test_id("confirm-password").fill("not my password")
    page.get_by_test_id("confirm-submit").click()
    expect(page.locator("#confirm-password-error")).to_contain_text("The password is wrong")
    page.get_by_test_id("confirm-password").fill(PASSWORD)
    page.get_by_test_id("confirm-submit").click()
    expect(page.get_by_test_id("key-name")).to_have_value("Nightly back-up")
    expect(page.get_by_test_id("scope-images:read")).to_be_checked()
    expect(page.get_by_test_id("key-days")).to_have_value("7")
    page.get_by_test_id("make-key").click()
    screenshot(page, "key-made", whole=True)
    token = page.get_by_test_id("key-token").inner_text()
    headers = {"Authorization": f"Bearer {token}"}
    assert httpx.get(f"{stack.url}/api/gallery", headers=headers).status_code == 200
    assert httpx.get(f"{stack.url}/api/photos", headers=headers).status_code == 403
    page.goto("/account/keys")
    assert token not in page.content()
    expect(page.get_by_test_id("key-name")).to_have_value("")
    page.get_by_test_id("revoke-open").click()
    screenshot(page, "keys", whole=True)
    page.get_by_test_id("revoke").click()
    expect(page.get_by_test_id("keys-none")).to_be_visible()
    assert httpx.get(f"{stack.url}/api/gallery", headers=headers).status_code == 401
    assert [one for one in complaints if "status of 401" not in one] == []


@pytest.mark.parametrize("stack", [CLERK], ids=["clerk"], indirect=True)
def test_what_clerk_keeps_is_changed_at_clerk(browser: Browser, stack: Stack) -> None:
    complaints: list[str] = []
    page = new_page(browser, stack, complaints, viewport=DESKTOP, color_scheme="dark")
    sign_up_anywhere(page, stack, "grace@example.com")
    expect(page.get_by_test_id("address-note")).to_have_count(0)
    for path in ("/account", "/account/security"):
        page.goto(path)
        link = page.get_by_test_id("hosted-account").get_attribute("href")
        assert link is not None
        assert link.startswith(stack.clerk_url)
        screenshot(page, f"clerk{path.replace('/', '-')}", whole=True)
    expect(page.get_by_test_id("new-password")).to_have_count(0)
    expect(page.get_by_test_id("session")).to_have_count(1)
    page.get_by_test_id("hosted-account").click()
    assert page.url.startswith(stack.clerk_url)
    for path in ("/forgot", "/reset?token=x", "/verify?token=x"):
        answer = page.request.get(f"{stack.url}{path}", max_redirects=0)
        assert (answer.status, answer.headers["location"]) == (303, "/login")

    with psycopg.connect(stack.owner_url) as owner:
        owner.execute("update sessions set confirmed_at = confirmed_at - interval '16 minutes'")
    page.goto("/account/keys")
    page.get_by_test_id("unlock-keys").click()
    screenshot(page, "clerk-confirm", whole=True)
    page.get_by_test_id("confirm-password").fill(PASSWORD)
    page.get_by_test_id("confirm-submit").click()
    page.get_by_test_id("key-name").fill("Nightly back-up")
    page.get_by_test_id("scope-photos:read").check()
    page.get_by_test_id("make-key").click()
    expect(page.get_by_test_id("key-token")).to_be_visible()

    with psycopg.connect(stack.owner_url) as owner:
        owner.execute("update sessions set confirmed_at = confirmed_at - interval '16 minutes'")
    page.goto("/confirm?next=/account/keys")
    page.get_by_test_id("confirm-again").click()
    screenshot(page, "clerk-confirm-again")
    wait_until(
        lambda: (
            not stack.rows("select from procrastinate.procrastinate_jobs where status in ('todo', 'doing')")
        ),
        30,
    )
    page.get_by_test_id("log-in-again").click()
    page.wait_for_url(f"{stack.clerk_url}/**")
    assert complaints == []
