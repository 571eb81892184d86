"""The pages on which an account is deleted, kept after all, and on which it is shown what became of it."""

import json
import re
import uuid
from collections.abc import AsyncGenerator
from dataclasses import replace

import httpx
import pytest
from tests.accounts.house import ORIGIN, PASSWORD, House, open_house
from tests.conftest import copied_database
from tests.factories import consents
from tests.web.conftest import Markup

from visiona.bootstrap import build
from visiona.entrypoints.asgi import create_asgi
from visiona.entrypoints.web.receipt_words import fingerprint

PAGE = {"accept": "text/html"}


@pytest.fixture(scope="module")
async def house(
    postgres: str, migrated_template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[House]:
    """With a week to change one's mind, and without mail."""
    with copied_database(postgres, migrated_template) as url:
        async with open_house(url, tmp_path_factory.mktemp("house")) as opened:
            yield opened


@pytest.fixture
async def at_once(house: House) -> AsyncGenerator[httpx.AsyncClient]:
    """The browser of somebody new, where nobody has time to change their mind."""
    settings = replace(house.app.settings, erasure_grace_days=0)
    app = build(settings, "app", house.clock)
    await app.open()
    transport = httpx.ASGITransport(create_asgi(app), client=("10.9.8.7", 5000))
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN, headers={"origin": ORIGIN}) as browser:
        await sign_up(browser)
        yield browser
    await app.close()


async def sign_up(browser: httpx.AsyncClient) -> tuple[int, str]:
    email = f"{uuid.uuid4().hex}@example.com"
    answer = await browser.post("/api/auth/signup", json={"email": email, "password": PASSWORD})
    assert answer.status_code == 201, answer.text
    return answer.json()["user"]["id"], email


async def page(browser: httpx.AsyncClient, path: str) -> Markup:
    answer = await browser.get(path, headers=PAGE)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/html")
    return Markup(answer.text)


async def erase(house: House) -> None:
    """What the worker does, until nothing is left to do."""
    await house.worker.privacy.sweep()
    while await house.run_jobs():
        pass


# Receipts


async def test_whoever_deletes_their_account_reads_what_was_deleted(
    house: House, at_once: httpx.AsyncClient
) -> None:
    await at_once.post("/api/consents", json=consents.signed("Grace Hopper"))
    assert "It begins at once" in (await at_once.get("/account/privacy")).text
    asked = await at_once.post("/account/privacy/delete", headers=PAGE)
    assert asked.status_code == 303
    path = asked.headers["location"]
    assert re.fullmatch(r"/receipts/[0-9a-f-]{36}", path)
    waiting = await page(at_once, path)
    assert waiting.text("receipt-title") == "It is not over yet"
    assert waiting.text("receipt-code") in path
    assert (await at_once.get(path)).status_code == 202
    assert (await at_once.get(f"/api{path}")).json() == {}

    await erase(house)
    assert (await at_once.get("/api/auth/me")).status_code == 401
    answer = await at_once.get(path, headers=PAGE)
    assert (answer.headers["cache-control"], answer.headers["referrer-policy"]) == (
        "no-store",
        "strict-origin",
    )
    assert answer.headers["x-robots-tag"] == "noindex"
    receipt = Markup(answer.text)
    assert receipt.text("receipt-title") == "Everything was deleted"
    assert receipt.has("receipt-valid")
    assert {"name": "robots", "content": "noindex"} in [about for tag, about in receipt.tags if tag == "meta"]
    steps = [about["data-step"] for _, about in receipt.tags if about.get("data-testid") == "receipt-step"]
    assert steps == ["work", "mail", "payments", "identity", "training", "rows", "objects", "key"]
    assert "Consents 1" in receipt.text("receipt-steps")
    assert "The account itself 1" in receipt.text("receipt-steps")
    kept = receipt.text("receipt-kept")
    assert f"Until {house.app.clock.now().year + house.app.settings.invoice_years}" in kept
    assert "departed_subjects" not in kept
    assert "Grace" not in answer.text

    link = receipt.element("receipt-download")["href"]
    signed = await at_once.get(link or "")
    assert signed.headers["content-disposition"] == f'attachment; filename="visiona-receipt-{path[10:]}.json"'
    house.app.privacy.verify_receipt(signed.content)
    assert receipt.text("receipt-fingerprint") == fingerprint(signed.json()["key"])
    assert (await at_once.get(path)).content == signed.content


async def test_a_receipt_that_does_not_verify_says_so(house: House, at_once: httpx.AsyncClient) -> None:
    path = (await at_once.post("/account/privacy/delete")).headers["location"]
    await erase(house)
    facts = (await at_once.get(path)).json() | {"finished_at": "2020-01-01T00:00:00Z"}
    await house.rows(
        "update erasures set receipt = %s where id = %s", json.dumps(facts).encode(), path.rpartition("/")[2]
    )
    receipt = await page(at_once, path)
    assert receipt.has("receipt-invalid")
    assert not receipt.has("receipt-valid")


@pytest.mark.parametrize("code", ["00000000-0000-4000-8000-000000000000", "nonsense", "%00", "..%2f"])
async def test_there_is_no_other_receipt(house: House, code: str) -> None:
    answer = await house.web.get(f"/receipts/{code}", headers=PAGE)
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")
    assert (await house.web.get(f"/api/receipts/{code}")).status_code == 404
    assert (
        (await house.web.get(f"/receipts/{code}")).headers["content-type"].startswith("application/problem")
    )


# Changing one's mind


async def test_whoever_is_leaving_is_told_on_every_page_and_may_stay(house: House) -> None:
    browser = house.browser()
    await sign_up(browser)
    assert not (await page(browser, "/studio")).has("leaving-note")
    asked = await browser.post("/account/privacy/delete", headers=PAGE)
    assert (asked.status_code, asked.headers["location"]) == (303, "/account/privacy")
    again = await browser.post("/account/privacy/delete", headers=PAGE)
    assert (again.status_code, again.headers["location"]) == (303, "/account/privacy")
    for path in ("/studio", "/gallery", "/account", "/account/consents"):
        note = await page(browser, path)
        assert "Your account will be deleted on" in note.text("leaving-note")
        assert note.element("leaving-link")["href"] == "/account/privacy"
    shown = await page(browser, "/account/privacy")
    assert not shown.has("leaving-note")
    assert shown.element("receipt-link")["href"] == f"/receipts/{shown.text('receipt-code')}"
    assert not shown.has("delete-open")
    await erase(house)  # is not due yet
    kept = await browser.post("/account/privacy/keep", headers=PAGE)
    assert (kept.status_code, kept.headers["location"]) == (303, "/account/privacy")
    assert (await page(browser, "/account/privacy")).has("delete-open")
    assert not (await page(browser, "/studio")).has("leaving-note")
    assert (await browser.post("/account/privacy/keep", headers=PAGE)).status_code == 303


# Administrators


@pytest.fixture
async def admin(house: House) -> httpx.AsyncClient:
    browser = house.browser()
    user_id, _ = await sign_up(browser)
    await house.rows("update users set role = 'admin' where id = %s", user_id)
    return browser


def rows_of(markup: Markup, name: str) -> list[str]:
    return [" ".join("".join(texts).split()) for found, texts in markup.named if found == name]


async def test_administrators_see_how_far_erasures_are(
    house: House, admin: httpx.AsyncClient, at_once: httpx.AsyncClient
) -> None:
    people = [await sign_up(house.browser()) for _ in range(2)]
    for user_id, _ in people:
        answer = await admin.post(f"/admin/users/{user_id}/erase", data={"reason": "likeness"}, headers=PAGE)
        assert answer.headers["location"] == f"/admin/users/{user_id}?done=erased", answer.text
    waiting, stuck = (user_id for user_id, _ in people)
    await house.rows(
        """update erasures set state = 'erasing', attempts = 4, trouble = 'payments: stripe is away',
             next_attempt_at = now() + interval '5 minutes', steps = %s where user_id = %s""",
        json.dumps({name: {"at": "2026-11-24T10:00:00Z", "count": 0} for name in ("work", "mail")}),
        stuck,
    )
    gone = (await at_once.post("/account/privacy/delete")).headers["location"]
    await erase(house)

    shown = await page(admin, "/admin/erasures")
    lines = {line.split(" Asked")[0]: line for line in rows_of(shown, "erasure-row")}
    assert "Can be taken back until" in lines[f"Person no. {waiting}"]
    held = lines[f"Person no. {stuck}"]
    assert "Waiting for the payment service: tried 4 times, next on" in held
    assert "payments: stripe is away" in held
    assert "2 of 8 steps are confirmed" in held
    assert "Held up" in held
    receipts = [about["href"] for _, about in shown.tags if about.get("data-testid") == "erasure-receipt"]
    assert receipts[0] == gone

    person = await page(admin, f"/admin/users/{waiting}")
    assert "is deleted from" in person.text("erasure-open")
    assert not person.has("act-erase")
    assert "ordered the deletion of the account: somebody else's face" in person.text("log")
    again = await admin.post(f"/admin/users/{waiting}/erase", data={"reason": "asked"}, headers=PAGE)
    assert again.status_code == 409
    await house.rows("update erasures set state = 'withdrawn' where user_id = any (%s)", [waiting, stuck])
    over = rows_of(await page(admin, "/admin/erasures"), "erasure-over")
    assert [line.split(" Asked")[0] for line in over[1:3]] == [f"Person no. {stuck}", f"Person no. {waiting}"]
    assert "Deleted" in over[0]


async def test_an_order_wants_a_reason_and_spares_administrators(
    house: House, admin: httpx.AsyncClient
) -> None:
    user_id, _ = await sign_up(house.browser())
    for reason in ("", "because", "goodwill"):
        answer = await admin.post(f"/admin/users/{user_id}/erase", data={"reason": reason}, headers=PAGE)
        assert answer.status_code == 422
    own = (await admin.get("/api/auth/me")).json()["id"]
    assert not (await page(admin, f"/admin/users/{own}")).has("act-erase")
    answer = await admin.post(f"/admin/users/{own}/erase", data={"reason": "asked"}, headers=PAGE)
    assert answer.status_code == 409
    assert await house.rows("select 1 from erasures where user_id = any (%s)", [user_id, own]) == []


async def test_the_list_goes_on_to_older_ones(house: House, admin: httpx.AsyncClient) -> None:
    await house.rows(
        """insert into erasures (id, user_id, cause, state, due_at)
           select gen_random_uuid(), 1000000 + n, 'person', 'withdrawn', now()
           from generate_series(1, 65) n"""
    )
    numbers = [one for (one,) in await house.rows("select user_id from erasures where user_id > 1000000")]
    seen: list[str] = []
    path: str | None = "/admin/erasures"
    while path:
        shown = await page(admin, path)
        seen += rows_of(shown, "erasure-over")
        path = shown.element("earlier")["href"] if shown.has("earlier") else None
    told = [int(line.split()[2]) for line in seen if line.startswith("Person no. 1000")]
    assert told == sorted(numbers, reverse=True)


async def test_a_copy_is_asked_for_followed_downloaded_and_deleted(
    house: House, at_once: httpx.AsyncClient
) -> None:
    """By forms alone, as without scripts."""
    assert not (await page(at_once, "/account/privacy")).has("exports")
    answer = await at_once.post("/account/privacy/export")
    assert (answer.status_code, answer.headers["location"]) == (303, "/account/privacy#exports")
    shown = await page(at_once, "/account/privacy")
    assert shown.element("export")["data-state"] == "queued"
    assert not shown.has("export-ask")

    (export,) = (await at_once.get("/api/account/exports")).json()["exports"]
    await house.run_jobs()
    shown = await page(at_once, "/account/privacy")
    assert shown.element("export")["data-state"] == "ready"
    form = {"export_id": str(export["id"])}
    answer = await at_once.post("/account/privacy/export/download", data=form)
    file = await at_once.get(answer.headers["location"])
    assert file.headers["content-type"] == "application/zip"
    assert file.headers["content-disposition"].startswith("attachment")
    assert file.content.startswith(b"PK")

    for sent in (form, form):  # the second time there is nothing to delete
        answer = await at_once.post("/account/privacy/export/delete", data=sent)
        assert answer.headers["location"] == "/account/privacy#exports"
    answer = await at_once.post("/account/privacy/export/download", data=form)
    assert answer.headers["location"] == "/account/privacy#exports"
    assert not (await page(at_once, "/account/privacy")).has("exports")
