"""Pages of signing in and of one's own account over HTTP, without scripts: every form, right and wrong."""

import hashlib
import hmac
import logging
import re
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pyotp
import pytest
from tests.conftest import SECRET_KEY
from tests.factories.keys import key_settings
from tests.factories.safety import EVERYBODY_SIGNS_UP
from tests.factories.served import served
from tests.web.conftest import Markup

from visiona.bootstrap import App, build
from visiona.consents.model import current_text
from visiona.entrypoints.api.access import ACCESS, Identity
from visiona.entrypoints.web.browsers import browser_words
from visiona.mail.model import LinkTokens
from visiona.passwords.service import address_index
from visiona.settings import Settings

ORIGIN = "http://127.0.0.1:8000"
PASSWORD = "a quiet blue harbour"
OTHER_PASSWORD = "a lantern over quiet water"
INBOX = "http://127.0.0.1:9025"
LINKS = LinkTokens(hmac.digest(SECRET_KEY.encode(), b"visiona:mail-links", hashlib.sha256))
CHROME = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/148.0.0.0 Safari/537.36"
)


@dataclass
class Browser:
    """One that runs no scripts, in a network of its own."""

    http: httpx.AsyncClient
    owner_url: str
    app: App
    email: str = field(default_factory=lambda: f"{uuid.uuid4().hex}@example.com")

    async def see(self, path: str, status: int = 200) -> Markup:
        answer = await self.http.get(path)
        assert answer.status_code == status, answer.text
        assert answer.headers["cache-control"] == "no-store"
        return Markup(answer.text)

    async def send(self, path: str, origin: str = ORIGIN, **form: Any) -> httpx.Response:
        return await self.http.post(path, data=form, headers={"origin": origin})

    async def sent(self, path: str, **form: Any) -> str:
        """Where the form led."""
        answer = await self.send(path, **form)
        assert answer.status_code == 303, answer.text
        return answer.headers["location"]

    async def refused(self, path: str, status: int, **form: Any) -> Markup:
        answer = await self.send(path, **form)
        assert answer.status_code == status, answer.text
        assert answer.headers["cache-control"] == "no-store"
        return Markup(answer.text)

    async def sign_up(self) -> None:
        assert await self.sent("/signup", email=self.email, password=PASSWORD) == "/studio"

    async def rows(self, query: str, *params: Any) -> list[tuple[Any, ...]]:
        """Behind row-level security."""
        async with await psycopg.AsyncConnection.connect(self.owner_url, autocommit=True) as owner:
            cursor = await owner.execute(query.encode(), params)
            return await cursor.fetchall() if cursor.description else []

    @property
    def index(self) -> bytes:
        """By which their address is found."""
        return address_index(self.app.vault, self.email)

    async def grow_stale(self) -> None:
        await self.rows(
            """update sessions set confirmed_at = confirmed_at - interval '16 minutes'
               where user_id = (select id from users where email_index = %s)""",
            self.index,
        )

    async def token(self, purpose: str) -> str:
        """What stands in the newest mail of this kind."""
        ((link_id,),) = await self.rows(
            """select l.id from email_links l join users u on u.id = l.user_id
               where u.email_index = %s and l.purpose = %s order by l.expires_at desc limit 1""",
            self.index,
            purpose,
        )
        return LINKS.issue(link_id)

    async def turn_on_two_steps(self) -> tuple[pyotp.TOTP, list[str]]:
        await self.sent("/account/totp")
        key = (await self.see("/account/totp")).text("totp-secret").replace(" ", "")
        totp = pyotp.TOTP(key)
        answer = await self.send("/account/totp/confirm", code=totp.now())
        assert answer.status_code == 200, answer.text
        return totp, Markup(answer.text).text("recovery-codes").split()


@pytest.fixture(scope="module")
async def app(owner_url: str, app_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[App]:
    app = build(
        Settings(
            secret_key=SECRET_KEY,
            data_dir=Path(tmp_path_factory.mktemp("pages")),
            database_url=owner_url,
            app_database_url=app_url,
            **key_settings(owner_url),
            limits=EVERYBODY_SIGNS_UP,
            replicate_api_token="r8_test",
            replicate_base_url="http://127.0.0.1:9/v1",
            replicate_webhook_secret=("whsec_dGVzdCBzZWNyZXQgb2YgdGhlIHJvdXRlcw==",),
            stripe_api_key="sk_test_pages",
            stripe_base_url="http://127.0.0.1:9",
            stripe_webhook_secret=("whsec_pages",),
            sandbox_inbox_url=INBOX,
        ),
        "app",
    )
    await app.open()
    yield app
    await app.close()


@asynccontextmanager
async def browsing(app: App, owner_url: str, base_url: str = ORIGIN) -> AsyncGenerator[Browser]:
    # What the application raises unexpectedly shall be answered, as a server would.
    client = (f"2001:db8:{uuid.uuid4().hex[:4]}:{uuid.uuid4().hex[:4]}::7", 5000)
    transport = httpx.ASGITransport(served(app), raise_app_exceptions=False, client=client)
    async with httpx.AsyncClient(
        transport=transport, base_url=base_url, headers={"user-agent": CHROME}
    ) as http:
        yield Browser(http, owner_url, app)


@pytest.fixture
async def visitor(app: App, owner_url: str) -> AsyncGenerator[Browser]:
    async with browsing(app, owner_url) as browser:
        yield browser


@pytest.fixture
async def person(visitor: Browser) -> Browser:
    await visitor.sign_up()
    return visitor


@pytest.fixture
async def elsewhere(app: App, owner_url: str, person: Browser) -> AsyncGenerator[Browser]:
    """The same person's other browser, where they are logged in too."""
    async with browsing(app, owner_url) as browser:
        browser.email = person.email
        assert await browser.sent("/login", email=browser.email, password=PASSWORD) == "/studio"
        yield browser


# Who may send forms


FORMS = [
    name.partition(" ")[2]
    for name, row in ACCESS.items()
    if name.startswith("POST /")
    and not name.startswith(("POST /api", "POST /admin"))
    and row.identity in {Identity.PUBLIC, Identity.VISITOR, Identity.PAGE}
]


@pytest.mark.parametrize("path", FORMS)
@pytest.mark.parametrize(
    "headers",
    [{"origin": "https://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}],
    ids=str,
)
async def test_no_form_is_taken_from_another_site(
    person: Browser, path: str, headers: dict[str, str]
) -> None:
    answer = await person.http.post(path, data={"email": person.email}, headers=headers)
    assert answer.status_code == 403, answer.text
    assert "did not come from Visiona" in answer.text
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("path", ["/signup", "/login", "/login/code", "/forgot", "/reset", "/verify"])
async def test_a_visitors_form_says_where_it_comes_from(visitor: Browser, path: str) -> None:
    answer = await visitor.http.post(path, data={})
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


# Mails and links


async def test_an_address_is_confirmed_by_the_button_and_not_by_the_link(person: Browser) -> None:
    studio = await person.see("/studio")
    assert person.email in studio.text("address-note")
    assert studio.element("address-inbox")["href"] == INBOX
    token = await person.token("verify")
    opened = await person.http.get("/verify", params={"token": token})
    assert opened.headers["referrer-policy"] == "strict-origin"
    assert opened.headers["cache-control"] == "no-store"
    assert Markup(opened.text).has("submit")
    assert (await person.see("/studio")).has("address-note")

    assert await person.sent("/verify", token=token) == "/verify?done=1"
    done = await person.see("/verify?done=1")
    assert done.element("verified")["href"] == "/studio"
    assert not (await person.see("/studio")).has("address-note")
    again = await person.refused("/verify", 404, token=token)
    assert "used already or has expired" in again.text("error-summary")
    nonsense = await person.refused("/verify", 404, token="<script>")
    assert not nonsense.has("submit")


async def test_the_mail_is_sent_again_once_it_is_wanted(person: Browser) -> None:
    first = await person.token("verify")
    location = await person.sent("/account/email/verification")
    assert location == "/account/security?done=mail#address"
    assert "We sent the mail again" in (await person.see("/account/security?done=mail")).text("flashes")
    second = await person.token("verify")
    assert first != second
    assert await person.sent("/verify", token=second) == "/verify?done=1"
    assert await person.sent("/account/email/verification") == "/account/security?done=confirmed#address"


async def test_asking_for_a_new_password_tells_nobody_who_has_an_account(
    visitor: Browser, elsewhere: Browser
) -> None:
    known = await visitor.send("/forgot", email=elsewhere.email)
    unknown = await visitor.send("/forgot", email="nobody-at-all@example.com")
    assert known.status_code == unknown.status_code == 303
    for answer in (known, unknown):
        del answer.headers["x-request-id"]  # each has its own
    assert known.headers == unknown.headers
    assert known.content == unknown.content
    sent = await visitor.see(known.headers["location"])
    assert elsewhere.email not in (await visitor.http.get(known.headers["location"])).text
    assert sent.element("inbox-link")["href"] == INBOX
    wrong = await visitor.refused("/forgot", 422, email="not an address")
    assert wrong.element("email")["value"] == "not an address"
    assert wrong.element("email")["aria-invalid"] == "true"
    for _ in range(4):
        await visitor.send("/forgot", email="nobody-else@example.com")
    late = await visitor.send("/forgot", email="nobody-else@example.com")
    assert late.status_code == 429
    assert int(late.headers["retry-after"]) > 0


async def test_a_new_password_by_link(
    visitor: Browser, elsewhere: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await visitor.sent("/forgot", email=elsewhere.email)
    visitor.email = elsewhere.email
    token = await visitor.token("reset")
    page = await visitor.http.get("/reset", params={"token": token})
    assert page.headers["referrer-policy"] == "strict-origin"
    assert page.headers["cache-control"] == "no-store"
    weak = await visitor.refused("/reset", 422, token=token, password="password1234")
    assert "Many people use this password" in weak.text("error-summary")
    assert "password1234" not in str(weak.tags)
    assert await visitor.sent("/reset", token=token, password=OTHER_PASSWORD) == "/login?notice=reset"
    assert "Your new password counts" in (await visitor.see("/login?notice=reset")).text("notice")
    over = await visitor.see(f"/reset?token={token}", 404)
    assert over.has("ask-again")
    assert not over.has("password")
    assert (await elsewhere.http.get("/studio")).status_code == 303  # logged out everywhere
    await visitor.refused("/login", 401, email=elsewhere.email, password=PASSWORD)
    assert await visitor.sent("/login", email=elsewhere.email, password=OTHER_PASSWORD) == "/studio"
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("visiona")]
    assert not [line for line in ours if token in line]


async def test_a_new_password_by_link_leaves_nobody_signed_in_here(
    visitor: Browser, app: App, owner_url: str
) -> None:
    """Somebody else was, in this browser: what comes next is done as whoever chose the password."""
    await visitor.sign_up()
    async with browsing(app, owner_url) as other:
        await other.sign_up()
        await visitor.sent("/forgot", email=other.email)
        token = await other.token("reset")
    assert await visitor.sent("/reset", token=token, password=OTHER_PASSWORD) == "/login?notice=reset"
    assert (await visitor.see("/login?notice=reset")).has("notice")


# The second step


async def test_logging_in_takes_a_second_step(person: Browser) -> None:
    await person.sent("/account/totp")
    setup = await person.see("/account/totp")
    picture = setup.element("totp-qr")["src"] or ""
    assert picture.startswith("data:image/svg+xml;base64,")
    wrong = await person.refused("/account/totp/confirm", 422, code="12345")
    assert wrong.element("code")["aria-invalid"] == "true"
    assert wrong.text("totp-secret") == setup.text("totp-secret")  # scanned once is enough
    totp, codes = await _confirm(person, pyotp.TOTP(setup.text("totp-secret").replace(" ", "")))
    assert len(codes) == 10
    assert await person.sent("/account/totp") == "/account/security?done=two-step-on#two-step"
    assert (await person.http.get("/account/totp")).status_code == 303
    assert "10 recovery codes" in (await person.see("/account/security")).text("codes-left")

    await person.sent("/logout")
    asked = await person.send("/login", email=person.email, password=PASSWORD, next="/gallery")
    assert asked.status_code == 200
    assert asked.headers["cache-control"] == "no-store"
    step = _hidden(asked.text)
    assert step["next"] == "/gallery"
    refused = await person.refused("/login/code", 401, code="000-000-no", **step)
    assert refused.element("code")["aria-invalid"] == "true"
    assert _hidden_of(refused) == step
    used = await person.refused("/login/code", 401, code=totp.now(), **step)
    assert "was used before" in used.text("error-summary")
    assert await person.sent("/login/code", code=codes[3], **step) == "/gallery"
    assert "9 recovery codes" in (await person.see("/account/security")).text("codes-left")

    renewed = await person.send("/account/recovery-codes")
    assert renewed.headers["cache-control"] == "no-store"
    fresh = Markup(renewed.text).text("recovery-codes").split()
    assert len(fresh) == 10
    assert not set(fresh) & set(codes)
    assert await person.sent("/account/totp/off") == "/account/security?done=two-step-off#two-step"
    assert (await person.see("/account/security")).text("two-step-state") == "Off"
    without = await person.refused("/account/recovery-codes", 409)
    assert "Recovery codes come with" in without.text("error-summary")
    unbegun = await person.http.get("/account/totp")
    assert (unbegun.status_code, unbegun.headers["location"]) == (303, "/account/security#two-step")


async def _confirm(person: Browser, totp: pyotp.TOTP) -> tuple[pyotp.TOTP, list[str]]:
    answer = await person.send("/account/totp/confirm", code=totp.now())
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return totp, Markup(answer.text).text("recovery-codes").split()


def _hidden(html: str) -> dict[str, str]:
    return _hidden_of(Markup(html))


def _hidden_of(markup: Markup) -> dict[str, str]:
    inputs = [attributes for tag, attributes in markup.tags if tag == "input"]
    return {one["name"] or "": one["value"] or "" for one in inputs if one.get("type") == "hidden"}


async def test_a_second_step_that_took_too_long_begins_again(visitor: Browser) -> None:
    location = await visitor.sent("/login/code", ticket="worthless", code="123456", next="/gallery")
    assert location == "/login?notice=late&next=%2Fgallery"
    page = await visitor.see(location)
    assert "That took too long" in page.text("notice")
    assert _hidden_of(page)["next"] == "/gallery"
    assert (await visitor.http.get("/login/code")).headers["location"] == "/login"


async def test_guessing_codes_has_to_wait(person: Browser) -> None:
    await person.turn_on_two_steps()
    await person.sent("/logout")
    step = _hidden((await person.send("/login", email=person.email, password=PASSWORD)).text)
    statuses = [(await person.send("/login/code", code="wrong", **step)).status_code for _ in range(7)]
    assert statuses[:5] == [401] * 5
    assert statuses[-1] == 429
    waiting = await person.send("/login/code", code="wrong", **step)
    assert int(waiting.headers["retry-after"]) > 0
    assert "Too many attempts" in Markup(waiting.text).text("error-summary")


# Address and password


async def test_a_password_is_changed(person: Browser, elsewhere: Browser) -> None:
    weak = await person.refused("/account/password", 422, password="short")
    assert weak.element("new-password")["aria-invalid"] == "true"
    assert "Use at least 10 characters" in weak.text("error-summary")
    location = await person.sent("/account/password", password=OTHER_PASSWORD)
    assert location == "/account/security?done=password#password"
    assert "Your password is changed" in (await person.see(location)).text("flashes")
    assert (await elsewhere.http.get("/studio")).status_code == 303
    assert await elsewhere.sent("/login", email=person.email, password=OTHER_PASSWORD) == "/studio"


async def test_an_address_is_changed_by_the_link_that_is_sent_there(person: Browser) -> None:
    wrong = await person.refused("/account/email", 422, email="not an address")
    assert wrong.element("new-email")["value"] == "not an address"
    new = f"{uuid.uuid4().hex}@example.com"
    assert await person.sent("/account/email", email=new) == "/account/security?done=address#address"
    assert (await person.see("/account/security")).text("security-email") == person.email
    await person.sent("/verify", token=await person.token("change"))
    after = await person.see("/account/security")
    assert (after.text("security-email"), after.text("address-state")) == (new, "Confirmed")


# Passkeys


async def test_passkeys_are_renamed_and_removed(person: Browser) -> None:
    ((user_id,),) = await person.rows("select id from users where email_index = %s", person.index)
    name = (await person.app.vault.cipher(user_id)).seal("passkeys.name", "My phone")
    ((passkey_id,),) = await person.rows(
        """insert into passkeys
             (user_id, name, credential_id, public_key, sign_count, synced, backed_up, aaguid)
           values (%s, %s, %s, 'key', 0, false, false, gen_random_uuid()) returning id""",
        user_id,
        name,
        uuid.uuid4().bytes,
    )
    assert "My phone" in (await person.see("/account/security")).text("passkey")
    nameless = await person.refused("/account/passkeys/rename", 422, passkey_id=passkey_id, name=" ")
    assert nameless.element("passkey-name")["aria-invalid"] == "true"
    await person.sent("/account/passkeys/rename", passkey_id=passkey_id, name="Old phone")
    assert "Old phone" in (await person.see("/account/security")).text("passkey")
    await person.sent("/account/passkeys/remove", passkey_id=passkey_id)
    assert (await person.see("/account/security")).has("passkeys-none")
    for name in (str(passkey_id), "", "x", "9" * 40):
        gone = await person.refused("/account/passkeys/remove", 404, passkey_id=name)
        assert "You have no such passkey" in gone.text("error-summary")


async def test_pages_say_where_passkeys_work(app: App, owner_url: str, person: Browser) -> None:
    by_number = await person.see("/account/security")
    assert "http://localhost:8000/account/security" in by_number.text("passkeys-elsewhere")
    async with browsing(app, owner_url, "http://localhost:8000") as named:
        log_in = await named.see("/login")
        assert log_in.has("passkey-log-in")
        assert [src for src in log_in.values("src") if src.endswith("js/passkeys.js")]


# Sessions


async def test_sessions_are_listed_and_ended(person: Browser, elsewhere: Browser) -> None:
    page = await person.see("/account/security")
    assert [name for name, _ in page.named].count("session") == 2
    assert "Chrome 148 on Linux" in page.text("sessions")
    other = _hidden_of(page)["session_id"]
    assert await person.sent("/account/sessions/end", session_id=other) == (
        "/account/security?done=session#sessions"
    )
    assert (await elsewhere.http.get("/studio")).status_code == 303
    for nobodys in (other, str(uuid.uuid4()), "nonsense"):
        gone = await person.refused("/account/sessions/end", 404, session_id=nobodys)
        assert "no such session" in gone.text("error-summary")
    await elsewhere.sent("/login", email=person.email, password=PASSWORD)
    await person.sent("/account/sessions/end-others")
    assert (await elsewhere.http.get("/studio")).status_code == 303
    assert (await person.http.get("/studio")).status_code == 200


async def test_nobody_ends_anothers_session(person: Browser, app: App, owner_url: str) -> None:
    async with browsing(app, owner_url) as other:
        await other.sign_up()
        ((session_id,),) = await person.rows(
            "select s.id from sessions s join users u on u.id = s.user_id where u.email_index = %s",
            other.index,
        )
        await person.refused("/account/sessions/end", 404, session_id=str(session_id))
        assert (await other.http.get("/studio")).status_code == 200


# API keys


async def test_a_key_is_made_shown_once_and_revoked(person: Browser) -> None:
    wrong = await person.refused("/account/keys", 422, name="", expires_in_days="7")
    assert wrong.element("key-name")["aria-invalid"] == "true"
    assert "Say what the key is for" in wrong.text("error-summary")
    chosen = {
        "name": "Nightly",
        "scopes": ["images:read", "photos:read", "everything"],
        "expires_in_days": "7",
    }
    for days in ("0", "366", "", "x"):
        over = await person.refused("/account/keys", 422, **{**chosen, "expires_in_days": days})
        assert "From 1 to 365 days" in over.text("error-summary")
        assert over.element("scope-images:read").get("checked", "no") is None
        assert over.element("key-name")["value"] == "Nightly"
    made = await person.send("/account/keys", **chosen)
    assert made.status_code == 200, made.text
    assert made.headers["cache-control"] == "no-store"
    token = Markup(made.text).text("key-token")
    headers = {"authorization": f"Bearer {token}"}
    assert (await person.http.get("/api/gallery", headers=headers)).status_code == 200
    assert (await person.http.get("/api/models", headers=headers)).status_code == 403
    listed = await person.see("/account/keys")
    assert "See your photos · See your pictures" in listed.text("key")
    assert token not in (await person.http.get("/account/keys")).text
    key_id = _hidden_of(listed)["key_id"]
    assert await person.sent("/account/keys/revoke", key_id=key_id) == "/account/keys?done=revoked"
    after = await person.see("/account/keys?done=revoked")
    assert after.has("keys-none")
    assert "Revoked" in after.text("key-ended")
    assert (await person.http.get("/api/gallery", headers=headers)).status_code == 401
    for nobodys in ("", "x", "999999999"):
        gone = await person.refused("/account/keys/revoke", 404, key_id=nobodys)
        assert "no such API key" in gone.text("flashes")


# Consents, and leaving


async def test_one_signs_asks_somebody_else_and_takes_both_back(person: Browser) -> None:
    assert (await person.see("/consent?next=/account/consents")).has("consent-text")
    form = {"version": current_text().version, "next": "/account/consents"}
    unread = await person.refused("/consent", 422, name="Ana Example", **form)
    assert unread.element("consent-adult")["aria-invalid"] == "true"
    assert not unread.has("consent-go-on")
    signed = {"name": "Ana Example", "adult": "yes", "agreed": "yes"}
    assert await person.sent("/consent", **signed, **form) == "/account/consents"
    assert "Signed by Ana Example" in (await person.see("/account/consents")).text("own-consent")

    nobody = await person.refused("/account/consents/ask", 422, label=" ")
    assert nobody.element("ask-label")["aria-invalid"] == "true"
    answer = await person.send("/account/consents/ask", label="Aunt Maria")
    assert answer.headers["cache-control"] == "no-store"
    link = Markup(answer.text).text("request-link").strip()
    assert link.startswith(f"{ORIGIN}/consent/")

    for consent_id in await consent_ids(person):
        led_to = await person.sent("/account/consents/withdraw", consent_id=consent_id)
        assert led_to == "/account/consents?done=withdrawn"
    after = await person.see("/account/consents?done=withdrawn")
    assert "being deleted now" in after.text("flashes")
    assert after.has("consent-none")
    assert not after.has("withdraw")
    for nobodys in ("", "x", str(uuid.uuid4())):
        await person.refused("/account/consents/withdraw", 404, consent_id=nobodys)


async def consent_ids(person: Browser) -> list[str]:
    """Those that the page lets them take back."""
    page = (await person.http.get("/account/consents")).text
    return re.findall(r'name="consent_id" value="([^"]+)"', page)


async def test_the_account_is_deleted_unless_one_changes_ones_mind(person: Browser) -> None:
    page = await person.see("/account/privacy")
    assert page.has("delete-account")
    for _ in range(2):  # a second click asks for nothing new
        assert await person.sent("/account/privacy/delete") == "/account/privacy"
    waiting = await person.see("/account/privacy")
    assert "will be deleted on" in waiting.text("erasure-open")
    assert re.search(r"[0-9a-f]{8}-", waiting.text("receipt-code"))
    assert not waiting.has("delete-account")
    for _ in range(2):
        assert await person.sent("/account/privacy/keep") == "/account/privacy"
        # In test_privacy_pages: "/account/privacy/export", "/account/privacy/export/download" and
        # "/account/privacy/export/delete".
    assert (await person.see("/account/privacy")).has("delete-account")
    states = await person.rows(
        "select state from erasures e join users u on u.id = e.user_id where u.email_index = %s", person.index
    )
    assert [state for (state,) in states] == ["withdrawn"]


# Showing who one is


FRESH = [
    ("/account/password", {"password": OTHER_PASSWORD}, "/account/security"),
    ("/account/email", {"email": "new@example.com"}, "/account/security"),
    ("/account/totp", {}, "/account/security"),
    ("/account/totp/confirm", {"code": "123456"}, "/account/totp"),
    ("/account/totp/off", {}, "/account/security"),
    ("/account/recovery-codes", {}, "/account/security"),
    ("/account/passkeys/rename", {"passkey_id": "1", "name": "x"}, "/account/security"),
    ("/account/passkeys/remove", {"passkey_id": "1"}, "/account/security"),
    ("/account/keys", {"name": "x", "scopes": "photos:read", "expires_in_days": "7"}, "/account/keys"),
    ("/account/privacy/delete", {}, "/account/privacy"),
]


async def test_changes_lead_to_showing_who_one_is_and_back(person: Browser) -> None:
    await person.grow_stale()
    for path, form, back in FRESH:
        assert await person.sent(path, **form) == f"/confirm?next={back}", path
    stale = await person.see("/account/security")
    assert stale.element("unlock-password")["href"] == "/confirm?next=/account/security%23password"
    assert not stale.has("change-password")
    assert (await person.see("/account/keys")).has("unlock-keys")

    page = await person.see("/confirm?next=/account/keys")
    assert not page.has("confirm-code-form")
    form = {"how": "password", "next": "/account/keys"}
    empty = await person.refused("/confirm", 422, **form)
    assert "Enter your password" in empty.text("error-summary")
    wrong = await person.refused("/confirm", 401, password=OTHER_PASSWORD, **form)
    assert wrong.element("confirm-password")["aria-invalid"] == "true"
    assert await person.sent("/confirm", password=PASSWORD, **form) == "/account/keys"
    assert (await person.see("/account/keys")).has("make-key")
    fresh = await person.http.get("/confirm?next=/account/keys")
    assert (fresh.status_code, fresh.headers["location"]) == (303, "/account/keys")
    assert await person.sent("/account/password", password=OTHER_PASSWORD)


async def test_a_code_shows_who_one_is_too(person: Browser) -> None:
    _, codes = await person.turn_on_two_steps()
    await person.grow_stale()
    assert (await person.see("/confirm")).has("confirm-code-form")
    empty = await person.refused("/confirm", 422, how="code", code=" ")
    assert "Enter a code" in empty.text("error-summary")
    await person.refused("/confirm", 401, how="code", code="wrong")
    assert await person.sent("/confirm", how="code", code=f" {codes[0]} ") == "/account/security"
    assert (await person.see("/account/security")).has("two-step-off")


@pytest.mark.parametrize(
    "wanted", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:1"]
)
async def test_the_way_back_stays_here(person: Browser, wanted: str) -> None:
    assert (await person.http.get("/confirm", params={"next": wanted})).headers["location"] == "/studio"
    await person.grow_stale()
    assert await person.sent("/confirm", how="password", password=PASSWORD, next=wanted) == "/studio"
    await person.sent("/logout")
    assert await person.sent("/login", email=person.email, password=PASSWORD, next=wanted) == "/studio"


async def test_logging_in_again_shows_who_one_is(person: Browser) -> None:
    answer = await person.send("/confirm", how="again", next="/account/keys")
    assert answer.headers["cache-control"] == "no-store"
    page = Markup(answer.text)
    assert page.element("log-in-again")["href"] == "/login?next=/account/keys"
    assert page.has("nav-login")
    assert (await person.http.get("/studio")).status_code == 303


async def test_guessing_the_password_of_a_session_has_to_wait(person: Browser) -> None:
    statuses = [
        (await person.send("/confirm", how="password", password="wrong guess")).status_code for _ in range(8)
    ]
    assert statuses[:5] == [401] * 5
    assert 429 in statuses


# The overview


async def test_the_overview_says_how_one_signs_in(person: Browser) -> None:
    page = await person.see("/account")
    told = page.text("ways")
    assert "Your address is not confirmed yet" in told
    assert "Off: your password alone lets you in" in told
    assert "Only here" in told
    await person.turn_on_two_steps()
    await person.send("/account/keys", name="Nightly", scopes="photos:read", expires_in_days="7")
    told = (await person.see("/account")).text("ways")
    assert "On since" in told
    assert "1 key for programs of yours" in told


IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 26_1 like Mac OS X)"
MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)"
GALAXY = "Mozilla/5.0 (Linux; Android 16; SM-S931B) AppleWebKit/537.36 (KHTML, like Gecko)"
GALAXY_WORDS = "Samsung Internet 29 on Android"


@pytest.mark.parametrize(
    ("user_agent", "words"),
    [
        (CHROME, "Chrome 148 on Linux"),
        (f"{CHROME} Edg/147.0.1.1", "Edge 147 on Linux"),
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:150.0) Gecko/20100101 Firefox/150.0",
            "Firefox 150 on Windows",
        ),
        (f"{IPHONE} AppleWebKit/605.1.15 Version/26.1 Mobile/15E148 Safari/604.1", "Safari 26 on iPhone"),
        (f"{MAC} AppleWebKit/605.1.15 Version/26.0 Safari/605.1.15", "Safari 26 on macOS"),
        (f"{GALAXY} SamsungBrowser/29.0 Chrome/136.0.0.0 Mobile Safari/537.36", GALAXY_WORDS),
        ("visiona/0.4 python/3.11", "visiona/0.4"),
        ("", "Something that did not say what it is"),
    ],
)
def test_browsers_by_names_that_people_use(user_agent: str, words: str) -> None:
    assert browser_words(user_agent) == words


def test_every_form_of_the_pages_is_tried_here() -> None:
    """So that a new one is not forgotten."""
    source = Path(__file__).read_text(encoding="utf-8")
    tried = set(re.findall(r'"(/[a-z/-]+)"', source))
    own = [
        path
        for path in FORMS
        if path.startswith(("/account", "/confirm", "/forgot", "/reset", "/verify", "/log"))
    ]
    assert [path for path in own if path not in tried and "support" not in path] == []
