"""Sessions over HTTP: their cookies, their list and their ends, and what is no session."""

import uuid
from http.cookies import SimpleCookie
from pathlib import Path

import httpx
import pytest
from tests.accounts.house import ORIGIN, PASSWORD, House, house_settings

from visiona.bootstrap import build
from visiona.entrypoints.asgi import create_asgi


@pytest.fixture
def email() -> str:
    return f"{uuid.uuid4().hex}@example.com"


def problem(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"] if answer.is_error else ""


async def logged_in(house: House, email: str, **headers: str) -> httpx.AsyncClient:
    browser = house.browser(**headers)
    answer = await browser.post("/api/auth/login", json={"email": email, "password": PASSWORD})
    assert answer.status_code == 200
    return browser


async def test_the_cookie_on_plain_loopback(house: House, email: str) -> None:
    answer = await house.browser().post("/api/auth/signup", json={"email": email, "password": PASSWORD})
    [cookie] = SimpleCookie(answer.headers["set-cookie"]).values()
    assert cookie.key == "visiona_session"
    assert (cookie["path"], cookie["samesite"], cookie["httponly"], cookie["secure"]) == (
        "/",
        "lax",
        True,
        "",
    )
    assert cookie["domain"] == ""
    assert 2_591_000 < int(cookie["max-age"]) <= 2_592_000
    assert len(cookie.value) >= 43
    for text in (answer.text, str(answer.json())):
        assert cookie.value not in text


async def test_the_cookie_behind_https(house: House, email: str, tmp_path: Path) -> None:
    origin = "https://visiona.example"
    app = build(
        house_settings(house.app.settings.database_url or "", tmp_path, None, None, public_url=origin), "app"
    )
    await app.open()
    try:
        transport = httpx.ASGITransport(create_asgi(app))
        async with httpx.AsyncClient(transport=transport, base_url=origin) as client:
            body = {"email": email, "password": PASSWORD}
            made = await client.post("/api/auth/signup", json=body, headers={"origin": origin})
            assert made.status_code == 201
            [line] = made.headers.get_list("set-cookie")
            assert line.startswith("__Host-visiona_session=")
            assert {"Secure", "HttpOnly", "Path=/", "SameSite=lax"} <= set(line.split("; "))
            assert "Domain" not in line
            out = await client.post("/api/auth/logout", headers={"origin": origin})
            [line] = out.headers.get_list("set-cookie")
            assert line.startswith(('__Host-visiona_session=""', "__Host-visiona_session=;"))
            assert {"Secure", "Max-Age=0", "Path=/"} <= set(line.split("; "))
    finally:
        await app.close()


async def test_sessions_are_listed_as_their_owner_knows_them(house: House, email: str) -> None:
    first = await house.sign_up(email)
    second = await logged_in(house, email, **{"user-agent": "A phone"})
    stranger = await house.sign_up(f"other-{email}")

    items = (await second.get("/api/account/sessions")).json()["items"]

    assert [item["current"] for item in items] == [True, False]
    assert items[0]["client"].startswith("A phone")
    assert {"id", "client", "created_at", "last_seen_at", "expires_at", "current"} == set(items[0])
    theirs = (await stranger.get("/api/account/sessions")).json()["items"]
    assert len(theirs) == 1
    assert not {item["id"] for item in items} & {item["id"] for item in theirs}
    for session_id in (theirs[0]["id"], str(uuid.uuid4()), "x", "1' or '1'='1"):
        gone = await second.delete(f"/api/account/sessions/{session_id}")
        assert problem(gone) == (404, "session_not_found")
    assert (await stranger.get("/api/auth/me")).status_code == 200
    assert (await first.get("/api/auth/me")).status_code == 200


async def test_ending_one_ending_the_others_and_ending_this(house: House, email: str) -> None:
    first = await house.sign_up(email)
    second, third = await logged_in(house, email), await logged_in(house, email)
    items = (await second.get("/api/account/sessions")).json()["items"]
    [current] = [
        item["id"] for item in (await first.get("/api/account/sessions")).json()["items"] if item["current"]
    ]
    assert current in {item["id"] for item in items}

    assert (await second.delete(f"/api/account/sessions/{current}")).status_code == 204
    assert problem(await second.delete(f"/api/account/sessions/{current}")) == (404, "session_not_found")
    assert problem(await first.get("/api/auth/me")) == (401, "session_expired")
    assert (await second.post("/api/account/sessions/end-others")).json() == {"ended": 1}
    assert problem(await third.get("/api/auth/me")) == (401, "session_expired")
    [own] = (await second.get("/api/account/sessions")).json()["items"]
    assert (await second.delete(f"/api/account/sessions/{own['id']}")).status_code == 204
    assert problem(await second.get("/api/auth/me")) == (401, "session_expired")
    assert "accounts.end_remote" not in await house.waiting_jobs()


async def test_what_was_logged_out_is_worthless(house: House, email: str) -> None:
    browser = await house.sign_up(email)
    token = (await browser.post("/api/auth/refresh")).json()["access_token"]
    headers = {"authorization": f"Bearer {token}"}
    cookie = {"cookie": f"visiona_session={browser.cookies['visiona_session']}"}
    assert (await house.web.get("/api/auth/me", headers=headers)).status_code == 200
    assert (await browser.post("/api/auth/logout")).status_code == 204
    assert "visiona_session" not in browser.cookies
    for given in (headers, cookie):
        assert problem(await house.web.get("/api/auth/me", headers=given)) == (401, "session_expired")
    await house.worker.accounts.purge()
    for given in (headers, cookie):
        assert problem(await house.web.get("/api/auth/me", headers=given)) == (401, "session_expired")


async def test_an_api_key_is_no_session(house: House, email: str) -> None:
    browser = await house.sign_up(email)
    body = {"name": "k", "scopes": ["account:read"]}
    made = await browser.post("/api/keys", json=body)
    assert made.status_code == 201, made.text
    key = made.json()["key"]
    headers = {"authorization": f"Bearer {key if isinstance(key, str) else made.json()['secret']}"}
    assert (await house.web.get("/api/auth/me", headers=headers)).status_code == 200
    for method, path in (
        ("POST", "/api/auth/refresh"),
        ("POST", "/api/auth/logout"),
        ("POST", "/api/auth/confirm"),
        ("POST", "/api/auth/confirm/passkey/options"),
        ("GET", "/api/account/sessions"),
        ("POST", "/api/account/sessions/end-others"),
        ("POST", "/api/account/password"),
        ("POST", "/api/account/email"),
        ("POST", "/api/keys"),
    ):
        answer = await house.web.request(method, path, headers=headers, json=body)
        assert problem(answer) == (403, "session_required"), path
    # A key in a cookie is nothing, and a cookie's secret is no token.
    as_cookie = {"cookie": f"visiona_session={headers['authorization'][7:]}"}
    assert problem(await house.web.get("/api/auth/me", headers=as_cookie)) == (401, "session_expired")
    as_token = {"authorization": f"Bearer {browser.cookies['visiona_session']}"}
    assert problem(await house.web.get("/api/auth/me", headers=as_token)) == (401, "invalid_token")


@pytest.mark.parametrize("path", ["login", "signup", "reset", "passkey/options"])
@pytest.mark.parametrize(
    "headers",
    [{"origin": "https://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}],
    ids=str,
)
async def test_another_site_signs_nobody_in(
    house: House, email: str, path: str, headers: dict[str, str]
) -> None:
    body = {"email": email} if path == "reset" else {"email": email, "password": PASSWORD}
    answer = await house.web.post(f"/api/auth/{path}", json=body, headers=headers)
    assert problem(answer) == (403, "origin_mismatch")
    assert "set-cookie" not in answer.headers


async def test_there_is_no_service_to_come_back_from(house: House) -> None:
    browser = house.browser()
    for query in ("", "?state=", "?state=x&__clerk_handshake=a.b.c"):
        answer = await browser.get(f"/api/auth/callback{query}")
        assert answer.status_code == 401
    answer = await browser.get("/api/auth/login", params={"next": "//evil.example"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=//evil.example")
    forged = {"cookie": "__session=a.b.c; __session_12345678=a.b.c", "origin": ORIGIN}
    assert problem(await house.web.get("/api/auth/me", headers=forged)) == (401, "not_authenticated")
