"""The main job in a real browser, from signing up to deleting an image; somebody else sees none of it."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.journeys.conftest import (
    CLERK,
    DESKTOP,
    PHONE,
    Stack,
    assert_log_in_page,
    consent,
    new_page,
    screenshot,
    sign_up,
)

pytestmark = [pytest.mark.journey, pytest.mark.timeout(240)]


def train(page: Page, photos: list[Path]) -> None:
    page.get_by_test_id("photo-input").set_input_files(photos)
    expect(page.get_by_test_id("photo-card")).to_have_count(len(photos), timeout=60_000)
    screenshot(page, "studio-photos")
    page.get_by_test_id("step-clone").click()
    page.get_by_test_id("trigger-word").fill("GRACE")
    page.get_by_test_id("train").click()
    expect(page.get_by_test_id("clone-progress")).to_be_visible()
    screenshot(page, "studio-training")
    expect(page.get_by_test_id("clone-ready").first).to_be_visible(timeout=60_000)
    screenshot(page, "studio-clone")


def create(page: Page, prompt: str, images: int) -> None:
    page.get_by_test_id("step-create").click()
    page.get_by_test_id("prompt").fill(prompt)
    page.locator(f"input[name=num_outputs][value='{images}']").check(force=True)
    page.get_by_test_id("generate").click()
    run = page.get_by_test_id("run-card").first
    results = run.locator("[data-testid=result-image]:visible")
    expect(results).to_have_count(images, timeout=60_000)
    for picture in results.locator("img").all():
        expect(picture).to_have_js_property("complete", value=True)
        assert picture.evaluate("image => image.naturalWidth") > 100


SLOWLY = {"VISIONA_SANDBOX_TRAINING_SECONDS": "4"}
builtin = pytest.mark.parametrize("stack", [SLOWLY], ids=["builtin"], indirect=True)


@pytest.mark.parametrize("stack", [SLOWLY, SLOWLY | CLERK], ids=["builtin", "clerk"], indirect=True)
def test_the_whole_job(browser: Browser, stack: Stack, grace: list[Path]) -> None:
    complaints: list[str] = []
    page = new_page(browser, stack, complaints, viewport=DESKTOP)
    page.goto("/")
    expect(page.get_by_test_id("sandbox-note")).to_be_visible()
    screenshot(page, "landing")
    sign_up(page, stack, "grace@example.com")
    screenshot(page, "studio-empty")
    consent(page)
    train(page, grace)

    create(page, "GRACE as an astronaut on the moon", images=2)
    page.get_by_test_id("enhance-toggle").check(force=True)
    create(page, "GRACE on a beach", images=1)
    first = page.get_by_test_id("run-card").first
    expect(first.get_by_test_id("enhanced-prompt")).to_contain_text("GRACE")
    screenshot(page, "studio-results")

    page.get_by_test_id("nav-gallery").click()
    expect(page.get_by_test_id("gallery-item")).to_have_count(3)
    page.wait_for_load_state()  # images are there before what a click on them does
    screenshot(page, "gallery")
    page.get_by_test_id("open-image").first.click()
    lightbox = page.get_by_test_id("lightbox")
    expect(lightbox).to_be_visible()
    expect(lightbox.get_by_test_id("lightbox-prompt")).to_contain_text("GRACE on a beach")
    screenshot(page, "lightbox")
    page.keyboard.press("ArrowRight")
    expect(lightbox.get_by_test_id("lightbox-prompt")).to_contain_text("astronaut")
    lightbox.get_by_test_id("delete-image").click()
    page.get_by_test_id("confirm-delete").click()
    expect(page.get_by_test_id("gallery-item")).to_have_count(2)
    page.reload()
    expect(page.get_by_test_id("gallery-item")).to_have_count(2)

    page.get_by_test_id("nav-account").click()
    expect(page.get_by_test_id("account-email")).to_contain_text("grace@example.com")
    expect(page.get_by_test_id("account-plan")).to_contain_text(re.compile("free", re.IGNORECASE))
    screenshot(page, "account")

    stranger = new_page(browser, stack, complaints, viewport=PHONE, color_scheme="dark")
    sign_up(stranger, stack, "eileen@example.com")
    screenshot(stranger, "phone-studio-empty")
    expect(stranger.get_by_test_id("photo-card")).to_have_count(0)
    expect(stranger.get_by_test_id("clone-card")).to_have_count(0)
    stranger.goto("/gallery")
    expect(stranger.get_by_test_id("gallery-item")).to_have_count(0)
    expect(stranger.get_by_test_id("gallery-empty")).to_be_visible()
    screenshot(stranger, "phone-gallery-empty")

    page.get_by_test_id("logout").click()
    page.wait_for_url(f"{stack.url}/")
    page.goto("/studio")
    assert_log_in_page(page, stack)
    assert complaints == []


@builtin
def test_wrong_sign_in_is_explained_without_javascript(browser: Browser, stack: Stack) -> None:
    page = new_page(browser, stack, [], java_script_enabled=False, viewport=PHONE)
    page.goto("/signup")
    page.get_by_test_id("email").fill("grace@example.com")
    page.get_by_test_id("password").fill("password1234")
    page.get_by_test_id("submit").click()
    expect(page.get_by_test_id("error-summary")).to_contain_text("Many people use this password")
    screenshot(page, "phone-signup-error")


@builtin
def test_public_pages_fit_a_phone(browser: Browser, stack: Stack) -> None:
    page = new_page(browser, stack, [], viewport=PHONE)
    for path in ("/", "/login", "/signup", "/nowhere"):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), path
        assert page.locator("h1").count() == 1, path
