"""One-time links by mail: what each does, once, for its person alone, and what they tell nobody."""

import asyncio
import time
import uuid
from datetime import timedelta
from typing import Any

import httpx
import psycopg
import pytest
from tests.accounts.house import House

from visiona.factors.service import FactorService
from visiona.passwords.service import PasswordService

NEW_PASSWORD = "another quiet harbour"


@pytest.fixture
def email() -> str:
    return f"{uuid.uuid4().hex}@example.com"


async def ask_for_reset(house: House, email: str) -> str:
    answer = await house.browser().post("/api/auth/reset", json={"email": email})
    assert answer.status_code == 202, answer.text
    return await house.link(email)


async def reset(house: House, token: str, password: str = NEW_PASSWORD) -> httpx.Response:
    body = {"token": token, "password": password}
    return await house.browser().post("/api/auth/reset/complete", json=body)


async def verify(house: House, token: str) -> httpx.Response:
    return await house.browser().post("/api/auth/verify", json={"token": token})


def problem(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"] if answer.is_error else ""


async def ask_to_change(browser: httpx.AsyncClient, new: str) -> httpx.Response:
    return await browser.post("/api/account/email", json={"email": new})


async def id_of(house: House, email: str) -> int:
    [(user_id,)] = await house.rows("select id from users where email_index = %s", house.index(email))
    return user_id


# What they do


async def test_who_reads_the_mail_has_shown_the_address(house: House, email: str) -> None:
    browser = await house.sign_up(email)
    token = await house.link(email)
    assert problem(await verify(house, token)) == (204, "")
    [(verified,)] = await house.rows(
        "select email_verified_at is not null from users where email_index = %s", house.index(email)
    )
    assert verified
    assert problem(await verify(house, token)) == (404, "link_not_found")
    again = await browser.post("/api/account/email/verification")
    assert problem(again) == (409, "already_verified")


async def test_a_new_password_ends_all_that_the_old_one_had_opened(house: House, email: str) -> None:
    browser = await house.sign_up(email)
    other = f"thief-{email}"
    assert (await ask_to_change(browser, other)).status_code == 202
    changing = await house.link(other)
    first = await ask_for_reset(house, email)
    second = await ask_for_reset(house, email)
    assert first != second
    assert problem(await reset(house, first)) == (404, "link_not_found")

    assert problem(await reset(house, second)) == (204, "")

    assert (await browser.get("/api/auth/me")).status_code == 401
    assert problem(await house.log_in(email)) == (401, "invalid_credentials")
    assert (await house.log_in(email, NEW_PASSWORD)).status_code == 200
    for token in (first, second):
        assert problem(await reset(house, token, "yet another harbour")) == (404, "link_not_found")
    assert problem(await verify(house, changing)) == (404, "link_not_found")
    [(verified,)] = await house.rows(
        "select email_verified_at is not null from users where email_index = %s", house.index(email)
    )
    assert verified
    assert "password" in (await house.mails(email))[0]["subject"].lower()


async def test_changing_the_password_ends_what_somebody_else_asked_for(house: House, email: str) -> None:
    browser = await house.sign_up(email)
    other = (await house.log_in(email)).json()["access_token"]
    await ask_to_change(browser, f"thief-{email}")
    changing, resetting = await house.link(f"thief-{email}"), await ask_for_reset(house, email)
    changed = await browser.post("/api/account/password", json={"password": NEW_PASSWORD})
    assert changed.status_code == 204, changed.text
    assert (await browser.get("/api/auth/me")).status_code == 200
    headers = {"authorization": f"Bearer {other}"}
    assert (await house.web.get("/api/auth/me", headers=headers)).status_code == 401
    assert problem(await verify(house, changing)) == (404, "link_not_found")
    assert problem(await reset(house, resetting)) == (404, "link_not_found")


async def test_an_address_is_changed_and_the_old_one_told(house: House, email: str) -> None:
    browser = await house.sign_up(email)
    verifying, resetting = await house.link(email), await ask_for_reset(house, email)
    new = f"new-{email}"
    assert (await ask_to_change(browser, new)).status_code == 202
    assert (await browser.get("/api/auth/me")).json()["email"] == email
    token = await house.link(new)

    assert problem(await verify(house, token)) == (204, "")

    assert (await browser.get("/api/auth/me")).json()["email"] == new
    assert "address" in (await house.mails(email))[0]["subject"].lower()
    # Whoever still reads the old mailbox has nothing that opens the account, or takes it back.
    assert problem(await reset(house, resetting)) == (404, "link_not_found")
    assert problem(await verify(house, verifying)) == (404, "link_not_found")
    assert (await house.log_in(new)).status_code == 200
    assert problem(await house.log_in(email)) == (401, "invalid_credentials")


async def test_a_taken_address_is_told_to_its_reader_alone(house: House, email: str) -> None:
    taken = f"taken-{email}"
    await house.sign_up(taken)
    browser = await house.sign_up(email)
    free = await ask_to_change(browser, f"free-{email}")
    asked = await ask_to_change(browser, taken)
    assert (asked.status_code, asked.content) == (free.status_code, free.content)
    token = await house.link(taken)
    assert problem(await verify(house, token)) == (409, "email_taken")
    assert (await browser.get("/api/auth/me")).json()["email"] == email
    # It was not used: once the address is free, it counts.
    await house.move(taken, f"gone-{taken}")
    assert problem(await verify(house, token)) == (204, "")


# What they do not do


async def test_ten_at_once_use_a_link_once(house: House, email: str) -> None:
    await house.sign_up(email)
    token = await ask_for_reset(house, email)
    passwords = [f"{NEW_PASSWORD} {number}" for number in range(10)]
    answers = await asyncio.gather(*(reset(house, token, password) for password in passwords))
    codes = [answer.status_code for answer in answers]
    assert sorted(codes) == [204, *[404] * 9]
    [winner] = [password for password, code in zip(passwords, codes, strict=True) if code == 204]
    assert (await house.log_in(email, winner)).status_code == 200
    user_id = await id_of(house, email)
    assert (await house.actions(user_id)).count("account.password_changed") == 1


async def test_resetting_and_changing_at_once_comes_to_an_end(house: House) -> None:
    """Whichever is first ends the other; nothing waits for itself."""
    for _ in range(5):
        email = f"{uuid.uuid4().hex}@example.com"
        browser = await house.sign_up(email)
        await ask_to_change(browser, f"new-{email}")
        changing, resetting = await house.link(f"new-{email}"), await ask_for_reset(house, email)
        answers = await asyncio.gather(verify(house, changing), reset(house, resetting))
        assert sorted(answer.status_code for answer in answers) == [204, 404]


async def test_a_log_in_by_the_old_password_that_is_on_its_way_ends_with_it(house: House) -> None:
    """Whoever knew the old password keeps logging in while its owner chooses another."""
    for _ in range(3):
        email = f"{uuid.uuid4().hex}@example.com"
        await house.sign_up(email)
        token = await ask_for_reset(house, email)
        done, *log_ins = await asyncio.gather(reset(house, token), *(house.log_in(email) for _ in range(6)))
        assert problem(done) == (204, "")
        for answer in log_ins:
            if answer.is_success:
                headers = {"authorization": f"Bearer {answer.json()['access_token']}"}
                assert (await house.web.get("/api/auth/me", headers=headers)).status_code == 401


@pytest.mark.parametrize("last_step", ["required", "check_code"])
async def test_a_log_in_is_refused_whose_password_was_replaced_after_it_was_checked(
    house: House, email: str, monkeypatch: pytest.MonkeyPatch, last_step: str
) -> None:
    """With a second step and without: what came between the password's check and the session."""
    await house.sign_up(email)
    token = await ask_for_reset(house, email)
    steps = {"required": last_step == "check_code", "check_code": None}

    async def no_reset(*_: Any) -> Any:
        return steps["required"]

    async def reset_meanwhile(*_: Any) -> Any:
        assert problem(await reset(house, token)) == (204, "")
        return steps[last_step]

    monkeypatch.setattr(FactorService, "required", no_reset)
    monkeypatch.setattr(FactorService, last_step, reset_meanwhile)
    answer = await house.log_in(email)
    if last_step == "check_code":
        body = {"ticket": answer.json()["ticket"], "code": "123456"}
        answer = await house.browser().post("/api/auth/login/code", json=body)

    assert problem(answer) == (401, "invalid_credentials")
    assert (
        await house.rows(
            "select from sessions where user_id = %s and revoked_at is null", await id_of(house, email)
        )
        == []
    )


async def test_who_has_the_old_password_cannot_replace_the_new_one(
    house: House, email: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their change was let in before the reset, and is written down after it."""
    thief = await house.sign_up(email)
    token = await ask_for_reset(house, email)
    hash_password = PasswordService.hash

    async def reset_meanwhile(passwords: PasswordService, password: str) -> str:
        monkeypatch.setattr(PasswordService, "hash", hash_password)
        assert problem(await reset(house, token)) == (204, "")
        return await passwords.hash(password)

    monkeypatch.setattr(PasswordService, "hash", reset_meanwhile)
    changed = await thief.post("/api/account/password", json={"password": "the harbour of a thief"})

    assert problem(changed) == (401, "session_expired")
    assert problem(await house.log_in(email, "the harbour of a thief")) == (401, "invalid_credentials")
    assert (await house.log_in(email, NEW_PASSWORD)).status_code == 200


async def test_a_link_is_for_its_purpose(house: House, email: str) -> None:
    await house.sign_up(email)
    verifying, resetting = await house.link(email), await ask_for_reset(house, email)
    assert problem(await reset(house, verifying)) == (404, "link_not_found")
    assert problem(await verify(house, resetting)) == (404, "link_not_found")
    assert problem(await reset(house, resetting)) == (204, "")


@pytest.mark.parametrize("purpose", ["reset", "verify", "change"])
async def test_a_link_ends(house: House, email: str, purpose: str) -> None:
    browser = await house.sign_up(email)
    if purpose == "change":
        await ask_to_change(browser, f"new-{email}")
        token = await house.link(f"new-{email}")
    else:
        token = await (ask_for_reset(house, email) if purpose == "reset" else house.link(email))
    [(lasts,)] = await house.rows(
        "select expires_at - created_at from email_links where user_id = %s and purpose = %s",
        await id_of(house, email),
        purpose,
    )
    allowed = {"reset": timedelta(minutes=30), "verify": timedelta(days=7), "change": timedelta(days=1)}
    assert abs(lasts - allowed[purpose]) < timedelta(minutes=1)
    await house.rows(
        "update email_links set expires_at = now() where user_id = %s", await id_of(house, email)
    )
    used = await (reset(house, token) if purpose == "reset" else verify(house, token))
    assert problem(used) == (404, "link_not_found")


async def test_an_altered_link_is_none(house: House, email: str) -> None:
    await house.sign_up(email)
    token = await ask_for_reset(house, email)
    swapped = token[:-1] + ("A" if token[-1] != "A" else "B")
    for text in (swapped, token[1:], token + "A", token.swapcase(), "", "é" * 48, "A" * 48, "\0" * 48):
        assert problem(await reset(house, text)) == (404, "link_not_found"), text
    assert problem(await reset(house, token)) == (204, "")


async def test_a_weak_password_does_not_use_the_link_up(house: House, email: str) -> None:
    await house.sign_up(email)
    token = await ask_for_reset(house, email)
    for weak in ("short", "password123", email, "x" * 201):
        assert problem(await reset(house, token, weak)) == (422, "invalid_input")
    assert problem(await reset(house, token)) == (204, "")


@pytest.mark.parametrize("change", ["status = 'suspended'", "barred = true"])
async def test_who_is_barred_follows_no_link_and_gets_none(house: House, email: str, change: str) -> None:
    await house.sign_up(email)
    verifying, resetting = await house.link(email), await ask_for_reset(house, email)
    await house.rows(f"update users set {change} where email_index = %s", house.index(email))
    assert problem(await verify(house, verifying)) == (403, "account_suspended")
    assert problem(await reset(house, resetting)) == (403, "account_suspended")
    before = len(await house.mails(email))
    asked = await house.browser().post("/api/auth/reset", json={"email": email})
    assert asked.status_code == 202
    assert len(await house.mails(email)) == before


async def test_an_address_that_was_changed_otherwise_meanwhile(house: House, email: str) -> None:
    await house.sign_up(email)
    verifying, resetting = await house.link(email), await ask_for_reset(house, email)
    await house.move(email, f"moved-{email}")
    assert problem(await verify(house, verifying)) == (404, "link_not_found")
    assert problem(await reset(house, resetting)) == (404, "link_not_found")


# What they tell nobody


async def test_asking_for_a_reset_tells_nothing(
    house: House, email: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    await house.sign_up(email)
    answers: list[Any] = []
    for address in (email, f"unknown-{email}"):
        began = time.monotonic()
        answer = await house.browser().post("/api/auth/reset", json={"email": address})
        took = time.monotonic() - began
        headers = {name: value for name, value in answer.headers.items() if name != "x-request-id"}
        answers.append((answer.status_code, answer.content, headers))
        assert took >= 0.3
    assert answers[0] == answers[1]
    token = await house.link(email)
    assert await house.mails(f"unknown-{email}") == []
    await reset(house, token)
    assert token not in caplog.text
    assert email not in caplog.text


async def test_mails_are_asked_for_seldom(house: House, email: str) -> None:
    """Whoever it is for, known or not; the limit is the address's."""
    await house.sign_up(email)
    for address in (email, f"unknown-{email}"):
        asked = [
            problem(await house.browser().post("/api/auth/reset", json={"email": address})) for _ in range(5)
        ]
        assert asked == [*[(202, "")] * 3, *asked[3:]]
        assert asked[-1] == (429, "too_many_attempts")


async def test_one_network_asks_for_few_mails(house: House) -> None:
    browser = house.browser()
    asked = [
        (await browser.post("/api/auth/reset", json={"email": f"{uuid.uuid4().hex}@example.com"})).status_code
        for _ in range(22)
    ]
    assert asked[:20] == [202] * 20
    assert asked[-1] == 429


async def test_no_token_is_kept_and_no_address_longer_than_needed(house: House, email: str) -> None:
    browser = await house.sign_up(email)
    await ask_to_change(browser, f"new-{email}")
    token = await house.link(f"new-{email}")
    url = house.app.settings.database_url or ""
    async with await psycopg.AsyncConnection.connect(url) as owner:
        for table in ("email_links", "mails", "procrastinate.procrastinate_jobs", "audit_logs"):
            cursor = await owner.execute(
                f"select coalesce(string_agg(t::text, ' '), '') from {table} t".encode()
            )
            [(text,)] = await cursor.fetchall()
            assert token not in text
            if table != "email_links":
                assert f"new-{email}" not in text
    await house.rows("update email_links set expires_at = now() - interval '2 days'")
    await house.worker.addresses.purge()
    assert await house.rows("select 1 from email_links") == []
