"""Leaving in a real browser: the account is deleted and its receipt read, or kept after all."""

import hashlib
import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.journeys.conftest import (
    DESKTOP,
    PASSWORD,
    PHONE,
    NewPerson,
    Stack,
    answers,
    free_port,
    new_page,
    screenshot,
    wait_until,
)

NO_GRACE = {"VISIONA_ERASURE_GRACE_DAYS": "0"}
pytestmark = [
    pytest.mark.journey,
    pytest.mark.timeout(240),
    pytest.mark.parametrize("stack", [NO_GRACE], ids=["at once"], indirect=True),
]


@pytest.fixture
def patient(stack: Stack) -> Iterator[Stack]:
    """The same Visiona by another web server, which gives a week to change one's mind."""
    port = free_port()
    changed = {"VISIONA_PORT": str(port), "VISIONA_ERASURE_GRACE_DAYS": "7"}
    other = replace(
        stack, url=f"http://127.0.0.1:{port}", environment=stack.environment | changed, processes={}
    )
    try:
        other.start("serve", name="patient")
        wait_until(lambda: answers(f"{other.url}/readyz"), 60)
        yield other
    finally:
        other.stop()


def log_in(page: Page, email: str, path: str) -> None:
    page.goto(f"/login?next={path}")
    page.get_by_test_id("email").fill(email)
    page.get_by_test_id("password").fill(PASSWORD)
    page.get_by_test_id("submit").click()


def tab_to(page: Page, name: str) -> None:
    """By the keyboard alone."""
    for _ in range(60):
        if page.evaluate("document.activeElement.dataset.testid") == name:
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"no key leads to {name}")


def test_everything_is_deleted_and_the_receipt_says_so(
    browser: Browser, stack: Stack, new_person: NewPerson, grace: list[Path], tmp_path: Path
) -> None:
    email, complaints = "grace@example.com", []
    person = new_person(stack, email)
    clone = person.ready_clone(grace)
    assert person.finished(person.generate(clone)["id"])["status"] == "succeeded"
    user_id = person.http.get("/api/auth/me").json()["id"]
    assert [key for key in stack.object_keys() if key.startswith(f"u{user_id}/")]

    page = new_page(browser, stack, complaints, viewport=DESKTOP)
    log_in(page, email, "/account/privacy")
    page.wait_for_url("**/account/privacy")
    screenshot(page, "privacy", whole=True)
    tab_to(page, "delete-open")
    page.keyboard.press("Enter")
    tab_to(page, "delete-account")
    page.keyboard.press("Enter")
    page.wait_for_url("**/receipts/*")
    expect(page.get_by_test_id("receipt-title")).to_have_text("It is not over yet")
    screenshot(page, "receipt-waiting", whole=True)
    # It moves on by itself, and is said aloud.
    expect(page.get_by_test_id("receipt-title")).to_have_text("Everything was deleted", timeout=60_000)
    expect(page.locator("#announcer")).to_have_text("Everything was deleted")
    expect(page.get_by_test_id("receipt-valid")).to_be_visible()
    screenshot(page, "receipt", whole=True)
    steps = page.get_by_test_id("receipt-step")
    expect(steps).to_have_count(8)
    expect(steps.filter(has_text="At the firm that trains and draws")).to_contain_text("1 trained model")
    with page.expect_download() as download:
        page.get_by_test_id("receipt-download").click()
    file = tmp_path / download.value.suggested_filename
    download.value.save_as(file)
    told = json.loads(stack.run("privacy", "verify-receipt", str(file)))
    assert page.url.endswith(told["receipt"])
    assert told["steps"]["rows"]["count"]["photos"] == len(grace)

    assert [key for key in stack.object_keys() if key.startswith(f"u{user_id}/")] == []
    assert stack.rows("select 1 from users where id = %s", user_id) == []
    # Nobody is signed in any more, nor can be.
    page.goto("/studio")
    page.wait_for_url("**/login**")
    log_in(page, email, "/studio")
    expect(page.get_by_test_id("error-summary")).to_be_visible()
    assert person.http.get("/api/auth/me").status_code == 401
    assert [one for one in complaints if "401" not in one] == []


def test_a_copy_of_everything_is_made_and_read(
    browser: Browser, stack: Stack, new_person: NewPerson, grace: list[Path], tmp_path: Path
) -> None:
    complaints: list[str] = []
    person = new_person(stack, "eva@example.com")
    clone = person.ready_clone(grace)
    prompt = "TOK reading <b>by a window</b>, a portrait of ann"
    run = person.generate(clone, prompt=prompt)
    assert person.finished(run["id"])["status"] == "succeeded"

    page = new_page(browser, stack, complaints, viewport=DESKTOP)
    log_in(page, "eva@example.com", "/account/privacy")
    page.wait_for_url("**/account/privacy")
    tab_to(page, "export-ask")
    page.keyboard.press("Enter")
    # It moves on by itself, and is said aloud.
    copy = page.get_by_test_id("export")
    expect(copy).to_have_attribute("data-state", "ready", timeout=60_000)
    screenshot(page, "privacy-copy", whole=True)
    with page.expect_download() as download:
        page.get_by_test_id("export-download").click()
    assert re.fullmatch(r"visiona-export.*\.zip", download.value.suggested_filename)
    download.value.save_as(tmp_path / "copy.zip")

    folder = tmp_path / "copy"
    with zipfile.ZipFile(tmp_path / "copy.zip") as archive:
        archive.extractall(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    for file in manifest["files"]:
        assert hashlib.sha256((folder / file["path"]).read_bytes()).hexdigest() == file["sha256"], file
    assert manifest["missing"] == []
    assert len(list((folder / "photos").iterdir())) == len(grace)
    rows = json.loads((folder / "data/generations.json").read_text())
    assert {row["prompt"] for row in rows} == {prompt}
    assert all((folder / row["file"]).is_file() for row in rows)

    for name, options in {"copy-page": DESKTOP, "phone-copy-page": PHONE}.items():
        reader = browser.new_page(viewport=options, color_scheme="dark" if options is PHONE else "light")
        reader.goto((folder / "index.html").as_uri())
        expect(reader.get_by_text(prompt).first).to_be_visible()
        assert reader.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        loaded = "[...document.images].map((image) => { image.loading = 'eager'; return image.decode(); })"
        reader.evaluate(f"Promise.all({loaded}).then(() => true)")
        screenshot(reader, name, whole=True)
        reader.close()

    # Deleting an image deletes the copy that holds it.
    image = person.http.get("/api/gallery").json()["items"][0]["id"]
    assert person.http.post("/api/gallery/delete", json={"ids": [image]}).is_success
    page.reload()
    expect(page.get_by_test_id("exports")).to_have_count(0)
    expect(page.get_by_test_id("export-ask")).to_be_visible()
    assert complaints == []


def test_somebody_changes_their_mind_on_a_dark_phone(
    browser: Browser, patient: Stack, new_person: NewPerson
) -> None:
    complaints: list[str] = []
    new_person(patient, "ada@example.com")
    page = new_page(browser, patient, complaints, viewport=PHONE, color_scheme="dark", is_mobile=True)
    log_in(page, "ada@example.com", "/account/privacy")
    page.wait_for_url("**/account/privacy")
    page.get_by_test_id("delete-open").click()
    page.get_by_test_id("delete-account").click()
    expect(page.get_by_test_id("erasure-open")).to_contain_text("Your account will be deleted on")
    screenshot(page, "phone-privacy-leaving", whole=True)
    page.goto("/gallery")
    expect(page.get_by_test_id("leaving-note")).to_contain_text("Your account will be deleted on")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    screenshot(page, "phone-leaving-note", whole=True)
    page.get_by_test_id("leaving-link").click()
    page.get_by_test_id("keep-account").click()
    expect(page.get_by_test_id("delete-open")).to_be_visible()
    page.goto("/gallery")
    expect(page.get_by_test_id("leaving-note")).to_have_count(0)
    assert complaints == []
