"""What is peculiar to accounts that Clerk keeps: ends that begin there, outages, and news in any order."""

from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, expect
from tests.journeys.conftest import (
    CLERK,
    DESKTOP,
    PASSWORD,
    NewPerson,
    Stack,
    assert_log_in_page,
    new_page,
    sign_up,
    wait_until,
)

pytestmark = [
    pytest.mark.journey,
    pytest.mark.timeout(240),
    pytest.mark.parametrize("stack", [CLERK], ids=["clerk"], indirect=True),
]

COOKIE = "visiona_session"


def events(stack: Stack, subject: str) -> list[dict[str, Any]]:
    """What Clerk has told of somebody, oldest first."""
    return [one for one in stack.clerk("/_sandbox/state", "GET")["events"] if one["object"] == subject]


def token_for(stack: Stack, subject: str) -> str:
    """A session token of Clerk's, as its script gives one to a page of ours."""
    session = stack.clerk("/v1/sessions", json={"user_id": subject})
    minted = stack.clerk("/_sandbox/tokens", json={"session_id": session["id"], "azp": stack.url})
    return minted["jwt"]


def me(stack: Stack, token: str) -> httpx.Response:
    return httpx.get(f"{stack.url}/api/auth/me", headers={"Authorization": f"Bearer {token}"}, timeout=30)


def all_processed(stack: Stack, subject: str, *kinds: str) -> bool:
    """Whether news of all these kinds have come about somebody, and Visiona has done with all it was told."""
    arrived = {event["type"] for event in events(stack, subject) if event["status"] == "delivered"}
    waiting = stack.rows("select from webhook_receipts where processed_at is null")
    return arrived >= set(kinds) and not waiting


def has_session(context: BrowserContext) -> bool:
    return any(cookie.get("name") == COOKIE and cookie.get("value") for cookie in context.cookies())


def test_what_ends_at_clerk_ends_here(browser: Browser, stack: Stack) -> None:
    # By whichever name of this machine somebody comes, they end at the one that Clerk leads back to.
    by_name = httpx.get(f"{stack.url.replace('127.0.0.1', 'localhost')}/api/auth/login?next=/gallery")
    assert by_name.headers["location"] == f"{stack.url}/api/auth/login?next=/gallery"

    page = new_page(browser, stack, [], viewport=DESKTOP)
    sign_up(page, stack, "grace@example.com")
    ((user_id, subject, verified),) = stack.rows(
        "select id, clerk_id, email_verified_at is not null from users order by id desc limit 1"
    )
    assert verified
    elsewhere = token_for(stack, subject)
    assert me(stack, elsewhere).status_code == 200

    # Signing out on Clerk's page of the account ends our session.
    page.goto(f"{stack.clerk_url}/user?redirect_url={stack.url}/")
    page.get_by_test_id("account-sign-out").click()
    page.wait_for_url(f"{stack.url}/**")
    alive = "select count(*) from sessions where revoked_at is null and user_id = %s"
    wait_until(lambda: stack.rows(alive, user_id) == [(0,)], 20)
    page.goto("/studio")
    assert_log_in_page(page, stack)
    page.get_by_test_id("sign-in-email").fill("grace@example.com")
    page.get_by_test_id("sign-in-password").fill(PASSWORD)
    page.get_by_test_id("sign-in-submit").click()
    page.wait_for_url(f"{stack.url}/studio")

    # Deleting the account there locks it out of every session, this one and those of tokens; older news
    # that come after it bring nobody back.
    stack.clerk("/_sandbox/webhooks/hold")
    stack.clerk(f"/v1/users/{subject}", "PATCH", json={"first_name": "Grace"})
    page.goto(f"{stack.clerk_url}/user?redirect_url={stack.url}/")
    page.get_by_test_id("delete-confirmation").fill("Delete account")
    page.get_by_test_id("delete-submit").click()
    expect(page.get_by_test_id("account-deleted")).to_be_visible()
    stack.clerk("/_sandbox/webhooks/release", json={"order": "reversed"})
    wait_until(lambda: all_processed(stack, subject, "user.deleted", "user.updated"), 20)
    # The row goes too, once everything else of theirs has gone.
    assert stack.rows("select status, email from users where id = %s", user_id) in ([("deleted", None)], [])
    page.goto("/studio")
    assert_log_in_page(page, stack)
    assert me(stack, elsewhere).status_code == 401


def test_clerk_away(browser: Browser, stack: Stack, new_person: NewPerson, grace: list[Path]) -> None:
    person = new_person(stack, "ada@example.com")
    model_id = person.ready_clone(grace)
    page = new_page(browser, stack, [], viewport=DESKTOP)
    sign_up(page, stack, "eileen@example.com")
    stack.kill("clerk")

    # Who is signed in goes on, in the browser and over the API.
    assert person.finished(person.generate(model_id)["id"])["status"] == "succeeded"
    assert len(person.gallery()) == 1
    assert person.http.post("/api/auth/refresh").status_code == 200
    page.goto("/gallery")
    expect(page.get_by_test_id("gallery-empty")).to_be_visible()

    # Who is not is told so, without waiting for long.
    credentials = {"email": "ada@example.com", "password": PASSWORD}
    people = stack.rows("select count(*) from users")
    for path in ("login", "signup"):
        refused = httpx.post(f"{stack.url}/api/auth/{path}", json=credentials, timeout=20)
        assert (refused.status_code, refused.json()["code"]) == (503, "identity_unavailable")
        assert int(refused.headers["retry-after"]) > 0

    stack.start_clerk()
    answer = httpx.post(f"{stack.url}/api/auth/login", json=credentials, timeout=20)
    assert answer.status_code == 200
    assert stack.rows("select count(*) from users") == people
    assert "Traceback" not in stack.log("serve")


def test_news_and_first_requests_in_either_order(stack: Stack) -> None:
    def new_subject(name: str) -> str:
        body = {"email_address": [f"{name}@example.com"], "password": PASSWORD}
        return stack.clerk("/v1/users", json=body)["id"]

    # The first request comes before the news,
    stack.clerk("/_sandbox/webhooks/hold")
    early = new_subject("early")
    assert me(stack, token_for(stack, early)).json()["email"] == "early@example.com"
    stack.clerk("/_sandbox/webhooks/release")
    # after it,
    late = new_subject("late")
    wait_until(lambda: stack.rows("select from users where clerk_id = %s", late), 20)
    assert me(stack, token_for(stack, late)).json()["email"] == "late@example.com"
    # and together with it.
    both = new_subject("both")
    assert me(stack, token_for(stack, both)).json()["email"] == "both@example.com"

    people = [early, late, both]
    wait_until(lambda: all(all_processed(stack, one, "user.created") for one in people), 20)
    rows = stack.rows("select clerk_id from users where clerk_id = any(%s)", people)
    assert sorted(subject for (subject,) in rows) == sorted(people)
    created = """select user_id from audit_logs where action = 'account.created'
                 and user_id in (select id from users where clerk_id = any(%s))"""
    assert len(stack.rows(created, people)) == 3


def test_nobody_is_logged_in_as_somebody_else(browser: Browser, stack: Stack) -> None:
    """The address with which a log-in of the attacker's ends, opened by a victim."""
    attacker = new_page(browser, stack, [])
    sign_up(attacker, stack, "mallory@example.com")
    attacker.context.clear_cookies(name=COOKIE)
    address = f"{stack.url}/api/auth/login"
    while "__clerk_handshake" not in address:
        answer = attacker.context.request.get(address, max_redirects=0)
        assert answer.status in {302, 303, 307}, (address, answer.status)
        address = urljoin(address, answer.headers["location"])
    assert address.startswith(f"{stack.url}/api/auth/callback?")

    victim = new_page(browser, stack, [])
    for _ in range(2):
        answer = victim.goto(address)
        assert answer is not None
        assert answer.status == 401
        assert not has_session(victim.context)
        victim.goto("/studio")  # on the way to log in, with a state of the victim's own
        assert_log_in_page(victim, stack)

    attacker.goto(address)
    attacker.wait_for_url(f"{stack.url}/studio")
    assert has_session(attacker.context)
