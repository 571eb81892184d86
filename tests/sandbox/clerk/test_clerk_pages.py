"""The Account Portal, as somebody without scripts goes through it."""

import re
from typing import Any
from urllib.parse import urlencode

import httpx
import jwt
import pyotp
import pytest
from tests.sandbox.clerk.conftest import PASSWORD, Browser, query

pytestmark = pytest.mark.contract

APP = "http://127.0.0.1:9"
NEW_PASSWORD = "a fresh long passphrase"


def sign_in(browser: Browser, name: str, password: str = PASSWORD, **params: str) -> Browser:
    browser.open("/sign-in", **params)
    return browser.send("/sign-in", email_address=f"{name}@example.com", password=password)


def handshake(sandbox: Any, browser_token: str) -> dict[str, Any]:
    """What the site hears of who is signed in: the claims of the session token, empty for nobody."""
    params = {"redirect_url": APP, "format": "nonce", "__clerk_db_jwt": browser_token}
    answer = httpx.get(f"{sandbox.base}/v1/client/handshake", params=params)
    nonce = query(answer.headers["location"])["__clerk_handshake_nonce"]
    lines = sandbox.api.get("/clients/handshake_payload", params={"nonce": nonce}).json()["directives"]
    (token,) = [line.split("=", 1)[1].split(";")[0] for line in lines if line.startswith("__session=")]
    return jwt.decode(token, options={"verify_signature": False}) if token else {}


def test_somebody_signs_in_and_is_known_to_the_site(sandbox: Any) -> None:
    user = sandbox.user("portal")
    with sandbox.browser() as browser:
        browser.open("/sign-in", redirect_url=f"{APP}/welcome?from=mail", email_address="portal@example.com")
        assert 'value="portal@example.com"' in browser.page.text
        browser.send("/sign-in", email_address="portal@example.com", password=PASSWORD)
        assert browser.left_for.startswith(f"{APP}/welcome?from=mail&__clerk_db_jwt=dvb_")
        token = query(browser.left_for)["__clerk_db_jwt"]
        claims = handshake(sandbox, token)
        assert (claims["sub"], claims["azp"]) == (user["id"], APP)
        again = browser.open("/sign-in", redirect_url=f"{APP}/back", __clerk_db_jwt=token)
        assert again.left_for == f"{APP}/back?__clerk_db_jwt={token}"
        (session,) = sandbox.api.get("/sessions", params={"user_id": user["id"]}).json()
        assert session["latest_activity"]["ip_address"] == "127.0.0.1"


def test_a_browser_that_the_site_named_first_is_the_one_signed_in(sandbox: Any) -> None:
    user = sandbox.user("named-first")
    params = {"redirect_url": APP, "format": "token"}
    answer = httpx.get(f"{sandbox.base}/v1/client/handshake", params=params)
    payload = jwt.decode(
        query(answer.headers["location"])["__clerk_handshake"], options={"verify_signature": False}
    )
    (line,) = [line for line in payload["handshake"] if line.startswith("__clerk_db_jwt=")]
    token = line.split("=")[1].split(";")[0]
    with sandbox.browser() as browser:
        sign_in(browser, "named-first", redirect_url=f"{APP}/", __clerk_db_jwt=token)
        assert browser.left_for == f"{APP}/?__clerk_db_jwt={token}"
    assert handshake(sandbox, token)["sub"] == user["id"]


def test_mistakes_are_told_beside_their_field(sandbox: Any) -> None:
    sandbox.user("mistaken")
    banned = sandbox.user("portal-banned")
    sandbox.api.post(f"/users/{banned['id']}/ban")
    with sandbox.browser() as browser:
        sign_in(browser, "nobody-at-all")
        assert browser.page.status_code == 422
        assert browser.text("sign-in-email-error") == "Couldn't find your account."
        browser.send("/sign-in", email_address="mistaken@example.com", password="wrong one")
        assert "Password is incorrect" in browser.text("sign-in-password-error")
        assert 'value="mistaken@example.com"' in browser.page.text
        assert "wrong one" not in browser.page.text
        sign_in(browser, "portal-banned")
        assert browser.page.status_code == 403
        assert "banned" in browser.text("sign-in-error")


@pytest.mark.parametrize(
    "target",
    ["https://example.com/", "//example.com", "javascript:alert(1)", "http://127.0.0.1@example.com/"],
)
def test_nobody_is_sent_elsewhere(sandbox: Any, target: str) -> None:
    name = f"elsewhere-{len(target)}"
    sandbox.user(name)
    with sandbox.browser() as browser:
        browser.open("/sign-in", redirect_url=target)
        assert "example.com" not in browser.page.headers["content-security-policy"]
        browser.send("/sign-in", email_address=f"{name}@example.com", password=PASSWORD)
        assert browser.page.url.path == "/user"
        assert target not in browser.page.text


def test_a_second_factor_is_set_up_asked_for_and_turned_off(sandbox: Any) -> None:
    user = sandbox.user("portal-totp")
    with sandbox.browser() as browser:
        sign_in(browser, "portal-totp")
        browser.send("/user/totp")
        secret = browser.text("totp-secret")
        assert 'src="data:image/svg+xml' in browser.page.text
        assert browser.send("/user/totp/confirm", code="000000").page.status_code == 422
        assert browser.text("totp-code-error") == "Incorrect code"
        browser.send("/user/totp/confirm", code=pyotp.TOTP(secret).now())
        assert browser.shows("totp-on")
        browser.send("/sign-out")
        sign_in(browser, "portal-totp", redirect_url=f"{APP}/x")
        assert browser.page.url.path == "/sign-in/factor-two"
        assert browser.send("/sign-in/factor-two", code="1").text("factor-code-error") == "Incorrect code"
        browser.send("/sign-in/factor-two", code=pyotp.TOTP(secret).now())
        token = query(browser.left_for)["__clerk_db_jwt"]
        assert handshake(sandbox, token)["fva"] == [0, 0]
        browser.open("/user")
        browser.send("/user/totp/disable", totp_password="wrong")
        assert browser.shows("totp-password-error")
        browser.send("/user/totp/disable", totp_password=PASSWORD)
        assert not browser.shows("totp-on")
    now = sandbox.api.get(f"/users/{user['id']}").json()
    assert not now["two_factor_enabled"]
    assert now["mfa_disabled_at"] >= now["mfa_enabled_at"]


def start_sign_up(browser: Browser, address: str, **fields: str) -> Browser:
    browser.open("/sign-up", redirect_url=f"{APP}/new", first_name="Grace")
    assert 'value="Grace"' in browser.page.text
    given = {"email_address": address, "password": PASSWORD, "legal_accepted": "yes", "first_name": "Grace"}
    return browser.send("/sign-up", **{**given, **fields})


@pytest.mark.parametrize("address", ["grace@example.com", "alan+clerk_test@example.com"])
def test_somebody_signs_up(sandbox: Any, address: str) -> None:
    with sandbox.browser() as browser:
        start_sign_up(browser, address)
        assert browser.text("verify-address") == address
        code = browser.text("sandbox-code")
        assert (code == "424242") == ("+clerk_test" in address)
        wrong = "111111" if code != "111111" else "222222"
        assert browser.send("/sign-up/verify", code=wrong).text("verify-code-error") == "Incorrect code"
        assert sandbox.api.get("/users", params={"email_address": address}).json() == []
        browser.send("/sign-up/verify", code=code)
        token = query(browser.left_for)["__clerk_db_jwt"]
    (user,) = sandbox.api.get("/users", params={"email_address": address}).json()
    assert user["first_name"] == "Grace"
    assert user["legal_accepted_at"] is not None
    assert user["email_addresses"][0]["verification"]["strategy"] == "email_code"
    assert handshake(sandbox, token)["sub"] == user["id"]
    assert sandbox.events(user["id"])[0] == "user.created"


def test_a_code_is_used_up_by_guessing_and_made_anew(sandbox: Any) -> None:
    with sandbox.browser() as browser:
        start_sign_up(browser, "guesser@example.com")
        code = browser.text("sandbox-code")
        for _ in range(5):
            browser.send("/sign-up/verify", code="x")
        assert "expired" in browser.send("/sign-up/verify", code=code).text("verify-code-error")
        browser.send("/sign-up/resend")
        browser.send("/sign-up/verify", code=browser.text("sandbox-code"))
        assert browser.left_for.startswith(APP)


@pytest.mark.parametrize(
    ("fields", "testid", "text"),
    [
        ({"email_address": "taken-here@example.com"}, "sign-up-email-error", "taken"),
        ({"email_address": "no address"}, "sign-up-email-error", "valid email"),
        ({"password": "short"}, "sign-up-password-error", "8 characters"),
        ({"password": "password123"}, "sign-up-password-error", "breach"),
        ({"legal_accepted": "no"}, "sign-up-legal-error", "accept the terms"),
    ],
)
def test_an_account_that_cannot_be(sandbox: Any, fields: dict[str, str], testid: str, text: str) -> None:
    if not sandbox.api.get("/users", params={"email_address": "taken-here@example.com"}).json():
        sandbox.user("taken-here")
    with sandbox.browser() as browser:
        start_sign_up(browser, "cannot-be@example.com", **fields)
        assert browser.page.status_code == 422
        assert text in browser.text(testid)


def test_the_primary_address_is_changed(sandbox: Any) -> None:
    user = sandbox.user("old-address")
    sandbox.user("somebody-elses")
    with sandbox.browser() as browser:
        sign_in(browser, "old-address")
        browser.send("/user/email", email_address="somebody-elses@example.com")
        assert "taken" in browser.text("email-new-error")
        browser.send("/user/email", email_address="New-Address@example.com")
        email_id = re.findall(r"/user/email/(idn_\w+)/verify", browser.page.text)[0]
        browser.send(f"/user/email/{email_id}/verify", code="nope")
        assert browser.text("email-code-error") == "Incorrect code"
        browser.send(f"/user/email/{email_id}/verify", code=browser.text("sandbox-code"))
        browser.send(f"/user/email/{email_id}/primary")
        browser.send(f"/user/email/{user['primary_email_address_id']}/remove")
    now = sandbox.api.get(f"/users/{user['id']}").json()
    assert now["primary_email_address_id"] == email_id
    assert [one["email_address"] for one in now["email_addresses"]] == ["new-address@example.com"]
    assert now["updated_at"] > user["updated_at"]


def test_a_password_is_changed_and_others_are_signed_out(sandbox: Any) -> None:
    user = sandbox.user("new-password")
    elsewhere = sandbox.session(user["id"])
    with sandbox.browser() as browser:
        sign_in(browser, "new-password")
        for current, new, testid in (
            ("wrong", NEW_PASSWORD, "password-current-error"),
            (PASSWORD, "short", "password-new-error"),
        ):
            browser.send("/user/password", current_password=current, new_password=new)
            assert browser.shows(testid)
        browser.send(
            "/user/password", current_password=PASSWORD, new_password=NEW_PASSWORD, sign_out_others="yes"
        )
        assert browser.text("account-done") == "Your password has been changed."
    assert sandbox.api.get(f"/sessions/{elsewhere['id']}").json()["status"] == "revoked"
    assert sandbox.sdk.users.verify_password(user_id=user["id"], password=NEW_PASSWORD).verified


def test_other_devices_are_listed_and_signed_out(sandbox: Any) -> None:
    user = sandbox.user("devices")
    elsewhere = sandbox.session(user["id"])
    with sandbox.browser() as browser:
        sign_in(browser, "devices")
        assert browser.page.text.count('data-testid="account-session"') == 2
        browser.send(f"/user/sessions/{elsewhere['id']}/end")
        assert browser.page.text.count('data-testid="account-session"') == 1
    assert sandbox.events(elsewhere["id"]) == ["session.created", "session.revoked"]


def test_nobody_touches_what_is_anothers(sandbox: Any) -> None:
    sandbox.user("intruder")
    victim = sandbox.user("victim")
    session = sandbox.session(victim["id"])
    email_id = victim["primary_email_address_id"]
    with sandbox.browser() as browser:
        sign_in(browser, "intruder")
        for path in (
            f"/user/email/{email_id}/remove",
            f"/user/email/{email_id}/primary",
            f"/user/email/{email_id}/verify",
            f"/user/sessions/{session['id']}/end",
        ):
            browser.client.post(path)
    assert sandbox.api.get(f"/users/{victim['id']}").json() == {
        **victim,
        "last_active_at": session["created_at"],
        "last_sign_in_at": session["created_at"],
        "updated_at": session["created_at"],
    }
    assert sandbox.api.get(f"/sessions/{session['id']}").json()["status"] == "active"


def test_signing_out_is_asked_for_and_done(sandbox: Any) -> None:
    user = sandbox.user("leaver")
    with sandbox.browser() as browser:
        sign_in(browser, "leaver", redirect_url=f"{APP}/")
        token = query(browser.left_for)["__clerk_db_jwt"]
        browser.open("/sign-out", redirect_url=f"{APP}/bye")
        assert handshake(sandbox, token)["sub"] == user["id"]
        assert browser.send("/sign-out").left_for == f"{APP}/bye"
        assert handshake(sandbox, token) == {}
        assert browser.open("/user").page.url.path == "/sign-in"


def test_an_account_is_deleted(sandbox: Any) -> None:
    user = sandbox.user("deleted")
    with sandbox.browser() as browser:
        sign_in(browser, "deleted")
        browser.open("/user", redirect_url=f"{APP}/gone")
        assert browser.send("/user/delete", confirmation="yes").page.status_code == 422
        browser.send("/user/delete", confirmation="Delete account")
        assert browser.shows("account-deleted")
        assert f'href="{APP}/gone"' in browser.page.text
        assert browser.open("/user").page.url.path == "/sign-in"
    assert sandbox.api.get(f"/users/{user['id']}").status_code == 404
    assert sandbox.events(user["id"])[-1] == "user.deleted"


@pytest.mark.parametrize("path", ["/sign-in", "/sign-up", "/sign-out", "/user/delete", "/user/password"])
def test_forms_from_other_sites_are_refused(sandbox: Any, path: str) -> None:
    answer = httpx.post(f"{sandbox.base}{path}", data={"x": "y"}, headers={"origin": "http://127.0.0.1:9"})
    assert answer.status_code == 403
    assert 'data-testid="sandbox-note"' in answer.text
    assert answer.headers["x-visiona-sandbox"] == "clerk"


@pytest.mark.parametrize("path", ["/sign-in", "/sign-up", "/sign-out", "/sign-in?email_address=<script>"])
def test_pages_say_what_they_are_and_run_nothing_foreign(sandbox: Any, path: str) -> None:
    answer = httpx.get(f"{sandbox.base}{path}")
    assert answer.status_code == 200
    assert answer.headers["x-visiona-sandbox"] == "clerk"
    assert "Sandbox" in answer.text
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    assert "<script>" not in answer.text
    for address in re.findall(r'(?:src|href)="(/portal/[^"]+)"', answer.text):
        assert httpx.get(f"{sandbox.base}{address}").status_code == 200
    assert httpx.get(f"{sandbox.base}/avatar.svg").headers["content-type"].startswith("image/svg+xml")


def test_addresses_that_lead_nowhere(sandbox: Any) -> None:
    for path in ("/sign-in/factor-two", "/sign-up/verify"):
        with sandbox.browser() as browser:
            browser.open(path, redirect_url=f"{APP}/x")
            assert browser.page.url.path in {"/sign-in", "/sign-up"}
            assert urlencode({"redirect_url": f"{APP}/x"}).encode() in browser.page.url.query
    assert httpx.get(f"{sandbox.base}/organization").status_code == 404
    assert httpx.get(f"{sandbox.base}/").json()["sandbox"] == "clerk"
