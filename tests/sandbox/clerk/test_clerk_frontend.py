"""The Frontend API: signing in by ticket and password, tokens of sessions, and the handshake."""

import base64
import hashlib
import json
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlencode

import httpx
import jwt
import pyotp
import pytest
from clerk_backend_api.security import VerifyTokenOptions, verify_token
from tests.sandbox.clerk.conftest import KEY, PASSWORD, query, wait_until

from visiona.sandbox.clerk import ClerkSandboxConfig, publishable_key

pytestmark = pytest.mark.contract

APP = "http://127.0.0.1:9"
NATIVE = {"_is_native": "1"}


@pytest.fixture
def fapi(sandbox: Any) -> Any:
    with httpx.Client(base_url=f"{sandbox.base}/v1", timeout=20) as client:
        yield client


def code_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["errors"][0]["code"]


def ticket_for(sandbox: Any, user: dict[str, Any], seconds: int = 60) -> str:
    body = {"user_id": user["id"], "expires_in_seconds": seconds}
    return sandbox.api.post("/sign_in_tokens", json=body).json()["token"]


def native_sign_in(fapi: httpx.Client, ticket: str) -> httpx.Response:
    return fapi.post("/client/sign_ins", params=NATIVE, data={"strategy": "ticket", "ticket": ticket})


def verified(sandbox: Any, token: str, *parties: str) -> dict[str, Any]:
    options = VerifyTokenOptions(
        secret_key=KEY, api_url=sandbox.base, authorized_parties=list(parties) if parties else None
    )
    return verify_token(token, options)


def test_a_ticket_signs_an_app_in_once(sandbox: Any, fapi: httpx.Client) -> None:
    user = sandbox.user("ticket-native")
    ticket = ticket_for(sandbox, user)
    assert jwt.decode(ticket, options={"verify_signature": False})["st"] == "sign_in_token"
    answer = native_sign_in(fapi, ticket)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    attempt, client = body["response"], body["client"]
    assert (attempt["status"], attempt["identifier"]) == ("complete", "ticket-native@example.com")
    (session,) = client["sessions"]
    assert attempt["created_session_id"] == session["id"] == client["last_active_session_id"]
    claims = verified(sandbox, session["last_active_token"]["jwt"])
    assert (claims["sub"], claims["sid"]) == (user["id"], session["id"])
    assert session["user"]["id"] == user["id"]
    assert "private_metadata" not in session["user"]
    assert session["public_user_data"]["identifier"] == "ticket-native@example.com"

    again = {"authorization": answer.headers["authorization"]}
    token = fapi.post(f"/client/sessions/{session['id']}/tokens", params=NATIVE, headers=again)
    assert "azp" not in verified(sandbox, token.json()["jwt"])
    assert code_of(native_sign_in(fapi, ticket)) == (400, "sign_in_token_already_used_code")
    assert sandbox.events(session["id"]) == ["session.created"]


def test_tickets_that_do_not_work(sandbox: Any, fapi: httpx.Client, run_clerk: Any, tmp_path: Any) -> None:
    user = sandbox.user("ticket-bad")
    body = {"user_id": user["id"], "expires_in_seconds": 60}
    revoked = sandbox.api.post("/sign_in_tokens", json=body).json()
    sandbox.api.post(f"/sign_in_tokens/{revoked['id']}/revoke")
    assert code_of(native_sign_in(fapi, revoked["token"])) == (400, "sign_in_token_revoked_code")
    assert code_of(native_sign_in(fapi, "x.y.z")) == (400, "ticket_invalid_code")
    session = sandbox.session(user["id"])
    other_kind = sandbox.api.post(f"/sessions/{session['id']}/tokens").json()["jwt"]
    assert code_of(native_sign_in(fapi, other_kind)) == (400, "ticket_invalid_code")
    banned = sandbox.user("ticket-banned")
    ticket = ticket_for(sandbox, banned)
    sandbox.api.post(f"/users/{banned['id']}/ban")
    assert code_of(native_sign_in(fapi, ticket)) == (403, "user_banned")
    with run_clerk(tmp_path) as server, httpx.Client(base_url=f"{server.base}/v1") as other:
        late = ticket_for(server, server.user("ticket-late"))
        server.control("clock", advance_s=61)
        assert code_of(native_sign_in(other, late)) == (400, "ticket_expired_code")


def test_a_second_factor_is_asked_for_with_tickets_and_passwords(sandbox: Any, fapi: httpx.Client) -> None:
    secret = pyotp.random_base32()
    user = sandbox.user("factors", totp_secret=secret)
    first = native_sign_in(fapi, ticket_for(sandbox, user))
    assert first.json()["response"]["status"] == "needs_second_factor"
    form = {"identifier": "factors@example.com", "password": PASSWORD}
    answer = fapi.post("/client/sign_ins", params=NATIVE, data=form)
    attempt = answer.json()["response"]
    assert attempt["status"] == "needs_second_factor"
    assert attempt["supported_second_factors"] == [{"strategy": "totp"}]
    assert answer.json()["client"]["sessions"] == []
    headers = {"authorization": answer.headers["authorization"]}
    path = f"/client/sign_ins/{attempt['id']}/attempt_second_factor"
    wrong = fapi.post(path, params=NATIVE, headers=headers, data={"strategy": "totp", "code": "x"})
    assert code_of(wrong) == (422, "form_code_incorrect")
    code = {"strategy": "totp", "code": pyotp.TOTP(secret).now()}
    done = fapi.post(path, params=NATIVE, headers=headers, data=code)
    assert done.json()["response"]["status"] == "complete"
    (session,) = done.json()["client"]["sessions"]
    assert verified(sandbox, session["last_active_token"]["jwt"])["fva"] == [0, 0]


def test_a_password_may_follow_the_address(sandbox: Any, fapi: httpx.Client) -> None:
    sandbox.user("in-steps")
    start = fapi.post("/client/sign_ins", params=NATIVE, data={"identifier": "in-steps@example.com"})
    attempt = start.json()["response"]
    assert attempt["status"] == "needs_first_factor"
    headers = {"authorization": start.headers["authorization"]}
    path = f"/client/sign_ins/{attempt['id']}/attempt_first_factor"
    wrong = fapi.post(path, params=NATIVE, headers=headers, data={"strategy": "password", "password": "nope"})
    assert code_of(wrong) == (422, "form_password_incorrect")
    done = fapi.post(
        path, params=NATIVE, headers=headers, data={"strategy": "password", "password": PASSWORD}
    )
    assert done.json()["response"]["status"] == "complete"
    unknown = fapi.post("/client/sign_ins", params=NATIVE, data={"identifier": "nobody@example.com"})
    assert code_of(unknown) == (422, "form_identifier_not_found")


def test_a_hundred_wrong_passwords_lock_a_user(sandbox: Any, fapi: httpx.Client) -> None:
    user = sandbox.user("guessed")
    start = fapi.post("/client/sign_ins", params=NATIVE, data={"identifier": "guessed@example.com"})
    headers = {"authorization": start.headers["authorization"]}
    path = f"/client/sign_ins/{start.json()['response']['id']}/attempt_first_factor"
    guess = {"strategy": "password", "password": "a guess"}
    for _ in range(99):
        assert fapi.post(path, params=NATIVE, headers=headers, data=guess).status_code == 422
    assert sandbox.api.get(f"/users/{user['id']}").json()["verification_attempts_remaining"] == 1
    assert fapi.post(path, params=NATIVE, headers=headers, data=guess).status_code == 422
    right = fapi.post(path, params=NATIVE, headers=headers, data={**guess, "password": PASSWORD})
    assert code_of(right) == (403, "user_locked")
    assert sandbox.api.get(f"/users/{user['id']}").json()["locked"]


def test_sessions_end_and_their_tokens_with_them(sandbox: Any, fapi: httpx.Client) -> None:
    for act, status in (("end", "ended"), ("remove", "removed")):
        answer = native_sign_in(fapi, ticket_for(sandbox, sandbox.user(f"session-{act}")))
        session_id = answer.json()["response"]["created_session_id"]
        headers = {"authorization": answer.headers["authorization"]}
        over = fapi.post(f"/client/sessions/{session_id}/{act}", params=NATIVE, headers=headers)
        assert over.json()["response"]["status"] == status
        assert sandbox.api.get(f"/sessions/{session_id}").json()["status"] == status
        headers = {"authorization": over.headers["authorization"]}
        token = fapi.post(f"/client/sessions/{session_id}/tokens", params=NATIVE, headers=headers)
        assert code_of(token) == (404, "resource_not_found")
        assert sandbox.events(session_id) == ["session.created", f"session.{status}"]


def test_a_client_sees_its_own_sessions_only(sandbox: Any, fapi: httpx.Client) -> None:
    mine, other = (
        native_sign_in(fapi, ticket_for(sandbox, sandbox.user(name))) for name in ("mine", "others")
    )
    headers = {"authorization": mine.headers["authorization"]}
    session_id = other.json()["response"]["created_session_id"]
    for act in ("tokens", "end", "remove", "touch"):
        answer = fapi.post(f"/client/sessions/{session_id}/{act}", params=NATIVE, headers=headers)
        assert code_of(answer) == (404, "resource_not_found")
    nobody = fapi.post(f"/client/sessions/{session_id}/tokens", params=NATIVE)
    assert code_of(nobody) == (401, "authentication_invalid")


def test_a_browser_names_itself(sandbox: Any, fapi: httpx.Client) -> None:
    assert code_of(fapi.get("/client")) == (401, "dev_browser_unauthenticated")
    browser = {"__clerk_db_jwt": fapi.post("/dev_browser").json()["id"]}
    assert fapi.get("/client", params=browser).json() == {"response": None, "client": None}
    sandbox.user("browser")
    form = {"strategy": "password", "identifier": "browser@example.com", "password": PASSWORD}
    answer = fapi.post("/client/sign_ins", params=browser, data=form, headers={"origin": APP})
    session_id = answer.json()["response"]["created_session_id"]
    assert "authorization" not in answer.headers
    token = fapi.post(f"/client/sessions/{session_id}/tokens", params=browser, headers={"origin": APP})
    assert verified(sandbox, token.json()["jwt"], APP)["azp"] == APP
    twice = fapi.post("/client/sign_ins", params=browser, data=form)
    assert code_of(twice) == (400, "session_exists")
    gone = fapi.post("/client/sessions", params={**browser, "_method": "DELETE"})
    assert gone.json()["response"]["sessions"] == []
    assert sandbox.api.get(f"/sessions/{session_id}").json()["status"] == "removed"


def test_requests_of_the_wrong_make(sandbox: Any, fapi: httpx.Client) -> None:
    both = {"origin": APP, "authorization": "x"}
    assert code_of(fapi.get("/client", params=NATIVE, headers=both))[0] == 400
    as_json = fapi.post("/client/sign_ins", params=NATIVE, json={"strategy": "ticket", "ticket": "x"})
    assert code_of(as_json) == (415, "unsupported_content_type")
    assert code_of(fapi.post("/client/sign_ins", params=NATIVE, data={"strategy": "passkey"}))[0] == 422
    assert code_of(fapi.get("/client/sign_ins/sia_none", params=NATIVE))[0] == 401
    assert sandbox.raw.get("/v1/nothing").status_code == 404


def test_tokens_have_exactly_the_claims_of_version_2(sandbox: Any) -> None:
    session = sandbox.session(sandbox.user("claims")["id"])
    token = sandbox.api.post(f"/sessions/{session['id']}/tokens").json()["jwt"]
    kid = sandbox.api.get("/jwks").json()["keys"][0]["kid"]
    assert jwt.get_unverified_header(token) == {
        "alg": "RS256",
        "cat": "cl_B7d4PD111AAA",
        "kid": kid,
        "typ": "JWT",
    }
    claims = verified(sandbox, token)
    assert set(claims) == {"exp", "fva", "iat", "iss", "jti", "nbf", "sid", "sts", "sub", "v"}
    assert claims["iss"] == sandbox.base
    assert (claims["exp"] - claims["iat"], claims["iat"] - claims["nbf"]) == (60, 10)
    assert (claims["sts"], claims["v"], claims["fva"]) == ("active", 2, [-1, -1])
    longer = sandbox.api.post(f"/sessions/{session['id']}/tokens", json={"expires_in_seconds": 600}).json()
    claims = verified(sandbox, longer["jwt"])
    assert claims["exp"] - claims["iat"] == 600


class Site:
    """A site whose browser comes back from handshakes."""

    def __init__(self, sandbox: Any) -> None:
        self.sandbox = sandbox

    def shake(self, browser: str | None = None, **params: str) -> dict[str, Any]:
        """The cookies that a handshake brings, by name; values are empty for those to be taken away."""
        given = {"redirect_url": f"{APP}/gallery?page=2&__clerk_db_jwt=old", "format": "token", **params}
        if browser is not None:
            given["__clerk_db_jwt"] = browser
        answer = httpx.get(f"{self.sandbox.base}/v1/client/handshake", params=given)
        assert answer.status_code == 307, answer.text
        back = answer.headers["location"]
        assert back.startswith(f"{APP}/gallery?page=2&__clerk_handshake")
        found = query(back)
        assert "__clerk_db_jwt" not in found
        if "__clerk_handshake_nonce" in found:
            lines = self.payload(found["__clerk_handshake_nonce"]).json()["directives"]
        else:
            lines = self.opened(found["__clerk_handshake"])
        return {name: morsel.value for line in lines for name, morsel in SimpleCookie(line).items()}

    def payload(self, nonce: str) -> httpx.Response:
        return self.sandbox.api.get("/clients/handshake_payload", params={"nonce": nonce})

    def opened(self, token: str) -> list[str]:
        claims = verified(self.sandbox, token)
        assert set(claims) == {"handshake"}
        return claims["handshake"]


@pytest.fixture
def site(sandbox: Any) -> Site:
    return Site(sandbox)


@pytest.fixture
def browser(sandbox: Any, fapi: httpx.Client, request: pytest.FixtureRequest) -> str:
    """A browser in which somebody is signed in, as the site knows it."""
    name = f"handshake-{abs(hash(request.node.name))}"
    sandbox.user(name)
    token = fapi.post("/dev_browser").json()["id"]
    form = {"identifier": f"{name}@example.com", "password": PASSWORD}
    answer = fapi.post("/client/sign_ins", params={"__clerk_db_jwt": token}, data=form)
    assert answer.json()["response"]["status"] == "complete"
    return token


@pytest.mark.parametrize("format_", ["token", "nonce"])
def test_a_handshake_brings_a_session(sandbox: Any, site: Site, browser: str, format_: str) -> None:
    cookies = site.shake(browser, format=format_, __clerk_hs_reason="session-token-expired")
    assert cookies["__clerk_db_jwt"] == browser
    assert int(cookies["__client_uat"]) > 0
    claims = verified(sandbox, cookies["__session"], APP)
    assert claims["azp"] == APP
    assert claims["fva"] == [0, -1]


def test_a_handshake_without_the_browsers_name_is_signed_out(sandbox: Any, site: Site, browser: str) -> None:
    """Cookies of the sandbox's own would not get there, and are not looked at."""
    for named in (None, "dvb_unknown"):
        cookies = site.shake(named)
        assert (cookies["__session"], cookies["__client_uat"]) == ("", "0")
        assert cookies["__clerk_db_jwt"] not in {browser, named}
    user_id = verified(sandbox, site.shake(browser)["__session"])["sub"]
    for session in sandbox.api.get("/sessions", params={"user_id": user_id}).json():
        sandbox.api.post(f"/sessions/{session['id']}/revoke")
    cookies = site.shake(browser)
    assert (cookies["__session"], cookies["__client_uat"]) == ("", "0")


def test_cookies_with_a_suffix_come_beside_those_without(sandbox: Any, site: Site, browser: str) -> None:
    cookies = site.shake(browser, suffixed_cookies="true")
    key = sandbox.config.publishable_key
    digest = hashlib.sha1(key.encode()).digest()  # noqa: S324 - how Clerk names its cookies
    suffix = base64.urlsafe_b64encode(digest).decode()[:8]
    assert cookies[f"__session_{suffix}"] == cookies["__session"] != ""
    assert cookies[f"__client_uat_{suffix}"] == cookies["__client_uat"]


def test_a_nonce_works_once(site: Site) -> None:
    answer = httpx.get(
        f"{site.sandbox.base}/v1/client/handshake", params={"redirect_url": APP, "format": "nonce"}
    )
    nonce = query(answer.headers["location"])["__clerk_handshake_nonce"]
    assert site.payload(nonce).status_code == 200
    assert site.payload(nonce).status_code == 404


@pytest.mark.parametrize(
    "target",
    ["https://example.com/", "//example.com", "http://127.0.0.1@example.com/", "javascript:alert(1)", ""],
)
def test_browsers_are_sent_to_this_machine_only(sandbox: Any, target: str) -> None:
    path = f"{sandbox.base}/v1/client/handshake?{urlencode({'redirect_url': target})}"
    answer = httpx.get(path)
    assert (answer.status_code, "location" in answer.headers) == (422, False)


def test_origins_can_be_narrowed(run_clerk: Any, tmp_path: Any) -> None:
    with run_clerk(tmp_path, redirect_origins=(APP,)) as server:
        path = f"{server.base}/v1/client/handshake"
        assert httpx.get(path, params={"redirect_url": f"{APP}/x"}).status_code == 307
        assert httpx.get(path, params={"redirect_url": "http://127.0.0.1:10/x"}).status_code == 422


def test_the_address_in_a_ticket_signs_a_browser_in(sandbox: Any) -> None:
    user = sandbox.user("accepts")
    url = sandbox.api.post("/sign_in_tokens", json={"user_id": user["id"], "expires_in_seconds": 60}).json()[
        "url"
    ]
    answer = httpx.get(f"{url}&{urlencode({'redirect_url': f'{APP}/in'})}")
    assert answer.status_code == 303
    assert answer.headers["location"].startswith(f"{APP}/in?__clerk_db_jwt=dvb_")
    assert answer.headers["set-cookie"].startswith("__client=")
    cookies = Site(sandbox).shake(query(answer.headers["location"])["__clerk_db_jwt"])
    assert verified(sandbox, cookies["__session"])["sub"] == user["id"]
    assert code_of(httpx.get(url)) == (400, "sign_in_token_already_used_code")


def test_keys_rotate_with_an_overlap_or_at_once(run_clerk: Any, tmp_path: Any) -> None:
    with run_clerk(tmp_path) as server:
        session = server.session(server.user("rotated")["id"])
        path = f"/sessions/{session['id']}/tokens"
        old = server.api.post(path).json()["jwt"]
        kid = server.control("keys/rotate", keep_old_s=60)["kid"]
        keys = httpx.get(f"{server.base}/.well-known/jwks.json").json()["keys"]
        assert [one["kid"] for one in keys] == [kid, jwt.get_unverified_header(old)["kid"]]
        assert verified(server, old)
        new = server.api.post(path).json()["jwt"]
        assert jwt.get_unverified_header(new)["kid"] == kid
        server.control("clock", advance_s=61)
        assert [one["kid"] for one in server.api.get("/jwks").json()["keys"]] == [kid]
        last = server.control("keys/rotate", keep_old_s=0)
        published = server.raw.get("/_sandbox/keys").json()
        assert [one["kid"] for one in published["keys"]] == [last["kid"]]
        assert published["instance_id"] != last["kid"]
        newest = server.api.post(path).json()["jwt"]
        assert jwt.decode(newest, last["public_pem"], algorithms=["RS256"], options={"verify_iss": False})
        assert server.state()["jwks_fetches"] >= 2


PLAIN_REFUSALS = {
    "expired": jwt.ExpiredSignatureError,
    "not_yet_valid": jwt.ImmatureSignatureError,
    "issued_later": jwt.ImmatureSignatureError,
    "wrong_issuer": jwt.InvalidIssuerError,
    "other_key": jwt.InvalidSignatureError,
    "jwk_header": jwt.InvalidSignatureError,
    "jku_header": jwt.InvalidSignatureError,
    "x5u_header": jwt.InvalidSignatureError,
    "broken_signature": jwt.InvalidSignatureError,
    "alg_none": jwt.InvalidAlgorithmError,
    "hs256_with_pem": jwt.InvalidAlgorithmError,
    "crit_header": jwt.InvalidTokenError,
    **{f"no_{claim}": jwt.MissingRequiredClaimError for claim in ("exp", "iat", "nbf", "sub", "sid", "iss")},
}
"""What a strict verifier of the standard says; the other defects are Clerk's own to look at."""


@pytest.mark.parametrize("defect", PLAIN_REFUSALS)
def test_defective_tokens_are_defective(sandbox: Any, defect: str) -> None:
    pem = sandbox.raw.get("/_sandbox/keys").json()["keys"][0]["public_pem"]
    session = sandbox.session(sandbox.user(f"defect-{defect.replace('_', '-')}")["id"])

    def read(token: str) -> dict[str, Any]:
        required = {"require": ["exp", "iat", "nbf", "sub", "sid", "iss"]}
        return jwt.decode(token, pem, algorithms=["RS256"], issuer=sandbox.base, options=required)

    genuine = sandbox.mint(session["id"])
    assert read(genuine["jwt"]) == genuine["claims"]
    with pytest.raises(PLAIN_REFUSALS[defect]):
        read(sandbox.mint(session["id"], defect)["jwt"])


def test_the_confusion_of_key_and_secret_is_a_real_one(sandbox: Any) -> None:
    session = sandbox.session(sandbox.user("confusion")["id"])
    token = sandbox.mint(session["id"], "hs256_with_pem")["jwt"]
    pem = sandbox.raw.get("/_sandbox/keys").json()["keys"][0]["public_pem"]
    signed, _, signature = token.rpartition(".")
    mac = jwt.get_algorithm_by_name("HS256").sign(signed.encode(), pem.encode())
    assert base64.urlsafe_b64encode(mac).rstrip(b"=").decode() == signature


@pytest.mark.parametrize(
    ("defect", "where", "name", "value"),
    [
        ("pending", "claims", "sts", "pending"),
        ("wrong_azp", "claims", "azp", "http://elsewhere.example"),
        ("no_azp", "claims", "azp", None),
        ("template", "header", "cat", "cl_B7d4PD222AAA"),
        ("machine", "header", "cat", "cl_B7d4PD333AAA"),
        ("no_category", "header", "cat", None),
        ("other_kid", "header", "kid", "ins_unpublished0000000000000000"),
        ("no_kid", "header", "kid", None),
        ("version_1", "claims", "v", None),
    ],
)
def test_other_knobs_of_the_mint(sandbox: Any, defect: str, where: str, name: str, value: str | None) -> None:
    session = sandbox.session(sandbox.user(f"knob-{defect.replace('_', '-')}")["id"])
    minted = sandbox.mint(session["id"], defect, azp=APP, claims={"role": "authenticated"})
    head, payload, _ = minted["jwt"].split(".")
    parts = {"header": head, "claims": payload}
    decoded = json.loads(base64.urlsafe_b64decode(parts[where] + "=="))
    assert decoded == minted[where]
    assert decoded.get(name) == value
    assert minted["claims"]["role"] == "authenticated"
    pem = sandbox.raw.get("/_sandbox/keys").json()["keys"][0]["public_pem"]
    assert jwt.decode(minted["jwt"], pem, algorithms=["RS256"])["sub"] == session["user_id"]


def test_the_mint_is_strict(sandbox: Any) -> None:
    session = sandbox.session(sandbox.user("mint")["id"])
    for body, status in (
        ({"session_id": session["id"], "defects": ["tired"]}, 400),
        ({"session_id": "sess_none"}, 404),
        ({"sesion_id": session["id"]}, 400),
    ):
        assert sandbox.raw.post("/_sandbox/tokens", json=body).status_code == status
    changed = sandbox.mint(
        session["id"], headers={"typ": None, "x": 1}, claims={"sub": "user_other"}, expires_in_s=5
    )
    assert "typ" not in changed["header"]
    assert (changed["claims"]["sub"], changed["claims"]["exp"] - changed["claims"]["iat"]) == (
        "user_other",
        5,
    )


def test_who_follows_a_header_is_seen(sandbox: Any) -> None:
    session = sandbox.session(sandbox.user("followed")["id"])
    header = sandbox.mint(session["id"], "jku_header")["header"]
    keys = httpx.get(header["jku"]).json()["keys"]
    assert keys[0]["kid"] == header["kid"]
    assert sandbox.state()["fetches"]["/.well-known/other-keys.json"] == 1


def test_publishable_keys_say_where_the_frontend_is() -> None:
    key = publishable_key("http://127.0.0.1:4800")
    assert key.startswith("pk_test_")
    assert base64.b64decode(key.removeprefix("pk_test_")) == b"127.0.0.1:4800$"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"public_url": "http://127.0.0.1:1/"}, "slash"),
        ({"secret_key": "sk_live_x"}, "sk_test_"),
        ({"webhook_url": "https://example.com/hook"}, "this machine"),
        ({"webhook_secret": "secret"}, "whsec_"),
        ({"webhook_secret": "whsec_?"}, "whsec_"),
        ({"redirect_origins": ("https://example.com",)}, "this machine"),
    ],
)
def test_settings_that_cannot_be_meant(tmp_path: Any, changes: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {
        "data_dir": tmp_path,
        "public_url": "http://127.0.0.1:1",
        "secret_key": KEY,
        "webhook_url": None,
        "webhook_secret": "whsec_AAAA",
    }
    with pytest.raises(ValueError, match=message):
        ClerkSandboxConfig(**{**given, **changes})


def test_sessions_age_with_the_clock(run_clerk: Any, tmp_path: Any) -> None:
    with run_clerk(tmp_path) as server, httpx.Client(base_url=f"{server.base}/v1") as other:
        answer = native_sign_in(other, ticket_for(server, server.user("ages")))
        session_id = answer.json()["response"]["created_session_id"]
        server.control("clock", advance_s=600)
        minted = server.mint(session_id)
        assert minted["claims"]["fva"] == [10, -1]
        wait_until(lambda: server.state()["clock"]["offset_s"] == 600)
        assert verified(server, minted["jwt"])
