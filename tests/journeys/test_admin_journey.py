"""Support in a real browser: administrators help somebody, who decides what is seen and reads who looked."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.journeys.conftest import (
    DESKTOP,
    PASSWORD,
    PHONE,
    NewPerson,
    Stack,
    new_page,
    screenshot,
    wait_until,
)

pytestmark = [pytest.mark.journey, pytest.mark.timeout(240)]

GRACE = "grace@example.com"
ADMIN = "support@example.com"


def log_in(page: Page, email: str, path: str) -> None:
    page.goto(f"/login?next={path}")
    page.get_by_test_id("email").fill(email)
    page.get_by_test_id("password").fill(PASSWORD)
    page.get_by_test_id("submit").click()
    page.wait_for_url(f"**{path}")


def act(page: Page, name: str, reason: str) -> None:
    """Open the form of an act, choose a reason, and send it; by the keyboard alone."""
    page.get_by_test_id(f"act-{name}").locator("summary").press("Enter")
    page.get_by_test_id(f"{name}-reason").select_option(reason)
    page.get_by_test_id(f"{name}-submit").press("Enter")
    page.wait_for_url("**?done=*")


def fits(page: Page) -> bool:
    return page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_support(browser: Browser, stack: Stack, new_person: NewPerson, grace: list[Path]) -> None:
    person, _ = new_person(stack, GRACE), new_person(stack, ADMIN)
    clone = person.ready_clone(grace)
    run = person.generate(clone, "TOK in a red coat")
    assert person.finished(run["id"])["status"] == "succeeded"
    complaints: list[str] = []

    # Somebody who is no administrator finds no such page; a moment later they do.
    page = new_page(browser, stack, [], viewport=DESKTOP)
    log_in(page, ADMIN, "/account")
    expect(page.get_by_test_id("admin-link")).to_have_count(0)
    page.goto("/admin")
    expect(page.get_by_test_id("error-status")).to_contain_text("404")
    assert "is an administrator now" in stack.run("user", "promote", ADMIN)
    page.close()
    page = new_page(browser, stack, complaints, viewport=DESKTOP)
    log_in(page, ADMIN, "/account")
    page.get_by_test_id("admin-link").click()
    expect(page.get_by_test_id("person-row")).to_have_count(2)
    screenshot(page, "admin-people", whole=True)
    page.get_by_test_id("admin-search").fill(GRACE)
    page.get_by_test_id("admin-search").press("Enter")
    page.get_by_role("link", name=GRACE).click()

    # What support needs, and not a word of hers.
    expect(page.get_by_test_id("person-work")).to_contain_text("succeeded")
    expect(page.get_by_test_id("person-closed")).to_be_visible()
    assert "red coat" not in page.content()
    assert page.locator("main img").count() == 0
    screenshot(page, "admin-person", whole=True)

    # She lets them look, on her phone.
    hers = new_page(browser, stack, complaints, viewport=PHONE, color_scheme="dark")
    log_in(hers, GRACE, "/account")
    hers.get_by_test_id("support-hours").select_option("8")
    hers.get_by_test_id("support-allow").click()
    expect(hers.get_by_test_id("support-open")).to_be_visible()
    assert fits(hers)
    screenshot(hers, "phone-account-support", whole=True)

    page.reload()
    page.get_by_test_id("person-content").click()
    expect(page.get_by_test_id("content-prompt")).to_have_text("TOK in a red coat")
    picture = page.get_by_test_id("content-image").first
    expect(picture).to_have_js_property("complete", value=True)
    assert picture.evaluate("image => image.naturalWidth") > 100
    screenshot(page, "admin-content", whole=True)

    # A gift: the worker sets the plan.
    page.go_back()
    page.get_by_test_id("act-plan").locator("summary").click()
    page.get_by_test_id("plan-name").select_option("premium")
    page.get_by_test_id("plan-reason").select_option("goodwill")
    screenshot(page, "admin-act", whole=True)
    page.get_by_test_id("plan-submit").click()
    page.wait_for_url("**?done=plan")
    wait_until(lambda: stack.rows("select 1 from entitlements where plan = 'premium'"), 20)
    page.reload()
    expect(page.get_by_test_id("person-source")).to_have_text("Given by an operator")

    # Suspended, she is out at once; let in again, she reads what happened.
    act(page, "suspend", "likeness")
    expect(page.get_by_test_id("person-status")).to_have_text("Suspended")
    hers.goto("/studio")
    assert hers.url.startswith(f"{stack.url}/login")
    assert person.http.get("/api/auth/me").status_code in {401, 403}
    act(page, "unsuspend", "mistake")
    expect(page.get_by_test_id("person-status")).to_have_text("Active")
    log_in(hers, GRACE, "/account/history")
    lines = hers.get_by_test_id("log-line")
    for words in ("looked at prompts and pictures", "suspended the account: somebody else's face"):
        expect(lines.filter(has_text=re.compile(rf"Administrator \d+ {words}"))).to_have_count(1)
    expect(lines.filter(has_text="lifted the suspension")).to_have_count(1)
    assert fits(hers)
    screenshot(hers, "phone-account-history", whole=True)

    page.get_by_role("link", name="People", exact=True).click()
    page.get_by_test_id("admin-acts").click()
    # The newest first, and their looks are on record between their acts.
    done = page.get_by_test_id("acts").get_by_test_id("log-line")
    for words in ("looked at what is on record", "looked at the account"):
        expect(done.filter(has_text=words).first).to_be_visible()
    expect(done.filter(has_text="lifted the suspension")).to_have_count(1)
    expect(done.filter(has_text="looked at prompts and pictures")).to_have_count(1)

    small = new_page(browser, stack, complaints, viewport=PHONE, color_scheme="dark")
    log_in(small, ADMIN, "/admin")
    path = f"/admin/users/{stack.rows('select min(id) from users')[0][0]}"
    for name, address in {
        "people": "/admin",
        "acts": "/admin/acts",
        "person": path,
        "content": f"{path}/content",
    }.items():
        small.goto(address)
        assert fits(small), address
        screenshot(small, f"phone-admin-{name}", whole=True)

    # Demoted, it is all gone again.
    assert "no administrator any more" in stack.run("user", "demote", ADMIN)
    assert small.goto(path).status == 404  # type: ignore[union-attr] # a page was asked for
    assert [line for line in complaints if "404" not in line] == []
