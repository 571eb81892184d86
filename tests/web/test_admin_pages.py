"""Administrators' pages and API over HTTP: for others they do not exist, and each act leaves its trace."""

import re
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.conftest import SECRET_KEY
from tests.factories.keys import key_settings
from tests.factories.people import MakeUser, Person, insert_rows
from tests.factories.safety import EVERYBODY_SIGNS_UP
from tests.web.conftest import Markup

from visiona.bootstrap import App, build
from visiona.db.pool import Connection, fetch_value
from visiona.entrypoints.api.access import ACCESS
from visiona.entrypoints.asgi import create_asgi
from visiona.entrypoints.web.audit_words import describe
from visiona.settings import Settings

ORIGIN = "http://127.0.0.1:8000"
PASSWORD = "a quiet blue harbour"
OWN = {"origin": ORIGIN}
ADMIN_ROUTES = [name for name, row in ACCESS.items() if row.role == "admin"]


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody with a browser: a session's cookie, and the headers of our own page."""

    id: int
    email: str
    http: httpx.AsyncClient
    token: str
    address: str

    async def page(self, path: str, **options: Any) -> Markup:
        answer = await self.http.get(path, headers={"accept": "text/html"}, **options)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text[:500]}"
        return Markup(answer.text)

    async def send(self, path: str, **fields: str) -> httpx.Response:
        return await self.http.post(path, data=fields, headers={**OWN, "accept": "text/html"})


Join = Callable[[], Awaitable[Visitor]]


@pytest.fixture(scope="module")
async def app(owner_url: str, app_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[App]:
    settings = Settings(
        secret_key=SECRET_KEY,
        data_dir=Path(tmp_path_factory.mktemp("admin")),
        database_url=owner_url,
        app_database_url=app_url,
        **key_settings(owner_url),
        limits=EVERYBODY_SIGNS_UP,
        replicate_api_token="r8_test",
        replicate_base_url="http://127.0.0.1:9/v1",
        replicate_webhook_secret=("whsec_dGVzdCBzZWNyZXQgb2YgdGhlIHBhZ2Vz",),
        stripe_api_key="sk_test_admin",
        stripe_base_url="http://127.0.0.1:9",
        stripe_webhook_secret=("whsec_admin",),
    )
    app = build(settings, "app")
    await app.open()
    yield app
    await app.close()


@pytest.fixture
async def join(app: App) -> AsyncGenerator[Join]:
    """Each call signs somebody up, in a browser of their own."""
    asgi = create_asgi(app)
    opened: list[httpx.AsyncClient] = []

    async def sign_up() -> Visitor:
        address = f"10.{uuid.uuid4().int % 250}.{uuid.uuid4().int % 250}.7"
        transport = httpx.ASGITransport(asgi, client=(address, 1))
        http = httpx.AsyncClient(transport=transport, base_url=ORIGIN)
        opened.append(http)
        email = f"{uuid.uuid4().hex}@pages.example.com"
        answer = await http.post("/api/auth/signup", json={"email": email, "password": PASSWORD})
        assert answer.status_code == 201, answer.text
        return Visitor(answer.json()["user"]["id"], email, http, answer.json()["access_token"], address)

    yield sign_up
    for http in opened:
        await http.aclose()


@pytest.fixture
async def admin(join: Join, owner: Connection) -> Visitor:
    visitor = await join()
    await owner.execute("update users set role = 'admin' where id = %s", [visitor.id])
    return visitor


@pytest.fixture
async def alice(app: App, make_user: MakeUser, owner: Connection) -> Person:
    actor = await make_user()
    return await insert_rows(owner, actor, await app.vault.cipher(actor.user_id))


async def log_of(owner: Connection, user_id: int) -> list[str]:
    cursor = await owner.execute(
        "select action from audit_logs where user_id = %s and starts_with(action, 'admin.') order by id",
        [user_id],
    )
    return [action for (action,) in await cursor.fetchall()]


def lines_of(page: Markup) -> list[str]:
    return [" ".join("".join(texts).split()) for name, texts in page.named if name == "log-text"]


# For others there is nothing


def _request(name: str, user_id: int) -> tuple[str, str]:
    method, _, path = name.partition(" ")
    return method, re.sub(r"\{(user|report)_id\}", str(user_id), path)


@pytest.mark.parametrize("accept", ["text/html", "application/json", "*/*"])
async def test_to_others_it_is_no_address(join: Join, alice: Person, owner: Connection, accept: str) -> None:
    """Signed in by cookie or by token, the answer is that of an address that there is not."""
    visitor = await join()
    for name in ADMIN_ROUTES:
        method, path = _request(name, alice.id)
        nowhere = "/api/nowhere" if path.startswith("/api/") else "/nowhere"
        for headers in (
            {**OWN, "accept": accept},
            {"authorization": f"Bearer {visitor.token}", "accept": accept},
        ):
            answer = await visitor.http.request(method, path, headers=headers)
            unknown = await visitor.http.request(method, nowhere, headers=headers)
            assert (answer.status_code, answer.content) == (404, unknown.content), name
            assert answer.headers["content-type"] == unknown.headers["content-type"], name
    assert await log_of(owner, alice.id) == []


async def test_others_are_shown_no_way_there(join: Join, admin: Visitor) -> None:
    visitor = await join()
    for path in ("/studio", "/gallery", "/account", "/account/history", "/billing", "/pricing"):
        page = await visitor.page(path)
        assert [href for href in page.values("href") if href.startswith("/admin")] == [], path
    assert (await admin.page("/account")).element("admin-link")["href"] == "/admin"


async def test_a_demoted_or_suspended_administrator_is_shut_out_at_once(
    admin: Visitor, owner: Connection
) -> None:
    assert (await admin.http.get("/admin")).status_code == 200
    await owner.execute("update users set status = 'suspended' where id = %s", [admin.id])
    assert (await admin.http.get("/api/admin/users")).status_code == 403
    await owner.execute("update users set status = 'active', role = 'member' where id = %s", [admin.id])
    assert (await admin.http.get("/api/admin/users")).status_code == 404
    assert (await admin.http.get("/admin")).status_code == 404


async def test_a_key_of_an_administrators_opens_nothing(admin: Visitor) -> None:
    made = await admin.http.post("/api/keys", json={"name": "mine", "scopes": ["account:read"]}, headers=OWN)
    headers = {"authorization": f"Bearer {made.json()['key']}"}
    admin.http.cookies.clear()
    for name in ADMIN_ROUTES:
        method, path = _request(name, admin.id)
        answer = await admin.http.request(method, path, headers=headers)
        assert answer.status_code == 404, name


# Looking


async def test_people_are_found_and_looked_at(
    admin: Visitor, alice: Person, owner: Connection, join: Join
) -> None:
    other = await join()
    page = await admin.page("/admin", params={"q": other.email})
    assert other.email in page.text("person-row")
    page = await admin.page("/admin", params={"list": "newest"})
    assert page.has("earlier") or page.has("people")
    assert (await admin.page("/admin", params={"q": "nobody at all"})).has("nobody")

    page = await admin.page(f"/admin/users/{alice.id}")
    assert page.text("person-email") == f"{alice.actor.subject}@example.com"
    assert page.text("person-status") == "Active"
    assert page.text("person-source") == "Given by an operator"
    assert "portrait" not in page.text("person-work")
    assert page.has("person-closed")
    assert not page.has("person-content")
    assert await log_of(owner, alice.id) == ["admin.viewed"]
    page = await admin.page("/admin/acts")
    own, hers = lines_of(page)[:2]
    assert own == f"Administrator {admin.id} looked at what is on record"
    assert hers == f"Administrator {admin.id} looked at the account"

    for path in (f"/admin/users/{2**62}", "/admin/users/0", f"/admin/users/{2**63}", "/admin/users/x"):
        assert (await admin.http.get(path)).status_code == 404, path


async def test_lists_begin_with_the_newest(admin: Visitor, join: Join) -> None:
    people = [await join() for _ in range(3)]
    page = await admin.page("/admin", params={"list": "newest"})
    rows = [" ".join("".join(texts).split()) for name, texts in page.named if name == "person-row"]
    shown = [next((one.email for one in people if one.email in row), None) for row in rows]
    assert [email for email in shown if email] == [one.email for one in reversed(people)]

    acts = (("suspend", "terms"), ("plan", "asked"), ("end-sessions", "asked"))
    for person, (act, reason) in zip(people, acts, strict=True):
        answer = await admin.send(f"/admin/users/{person.id}/{act}", reason=reason, plan="premium")
        assert answer.status_code == 303, answer.text
    done = [
        line for line in lines_of(await admin.page("/admin/acts")) if f"Administrator {admin.id} " in line
    ]
    assert done == [
        f"Administrator {admin.id} {words}"
        for words in (
            "looked at what is on record",
            "ended all sessions (1): they asked for it",
            "set the plan to premium: they asked for it",
            "suspended the account: terms of use",
        )
    ]
    times = [about["datetime"] or "" for tag, about in page.tags if tag == "time"]
    assert times == sorted(times, reverse=True)


async def test_words_and_pictures_open_only_while_they_are_allowed(
    admin: Visitor, alice: Person, owner: Connection, app: App
) -> None:
    path = f"/admin/users/{alice.id}/content"
    closed = await admin.http.get(path)
    assert closed.status_code == 403
    assert "portrait" not in closed.text
    await app.administration.allow_support(alice.actor, 1)
    page = await admin.page(path)
    assert page.text("content-prompt") == "a portrait"
    (picture,) = [attributes for tag, attributes in page.tags if tag == "img"]
    assert (picture["src"] or "").startswith("/media/u")
    assert await log_of(owner, alice.id) == ["admin.content_viewed", "admin.viewed"]
    await app.administration.end_support(alice.actor)
    assert (await admin.http.get(path)).status_code == 403


# Acting


async def test_acts_are_forms_with_a_reason(admin: Visitor, join: Join, owner: Connection) -> None:
    person = await join()
    path = f"/admin/users/{person.id}"
    for reason in ("", "because", "goodwill"):
        answer = await admin.send(f"{path}/suspend", reason=reason)
        assert answer.status_code == 422
        assert "Check the fields" in Markup(answer.text).text("toast")
    answer = await admin.send(f"{path}/suspend", reason="likeness")
    assert (answer.status_code, answer.headers["location"]) == (303, f"{path}?done=suspended")
    page = await admin.page(answer.headers["location"])
    assert page.text("person-status") == "Suspended"
    assert "suspended" in page.text("toast")
    assert page.has("act-unsuspend")
    assert not page.has("act-suspend")
    assert (await person.http.get("/api/auth/me")).status_code == 401
    answer = await admin.send(f"{path}/suspend", reason="terms")
    assert (answer.status_code, Markup(answer.text).text("toast")) == (409, "It is so already.")

    assert (await admin.send(f"{path}/unsuspend", reason="mistake")).status_code == 303
    assert (await admin.send(f"{path}/plan", reason="goodwill", plan="premium")).status_code == 303
    assert (await admin.send(f"{path}/plan", reason="goodwill", plan="none such")).status_code == 422
    answer = await admin.send(f"{path}/end-sessions", reason="security")
    assert answer.status_code == 409  # there is none left
    assert await log_of(owner, person.id) == [
        "admin.viewed",  # by the page that says what was wrong with the form
        "admin.suspended",
        "admin.unsuspended",
        "admin.plan_set",
    ]
    asked = await fetch_value(
        owner,
        """select args ->> 'plan' from procrastinate.procrastinate_jobs
           where task_name = 'administration.set_plan' and args ->> 'user_id' = %s::text""",
        [person.id],
    )
    assert asked == "premium"


async def test_nobody_acts_against_themself_or_a_colleague(
    admin: Visitor, join: Join, owner: Connection
) -> None:
    colleague = await join()
    await owner.execute("update users set role = 'admin' where id = %s", [colleague.id])
    for target in (admin, colleague):
        page = await admin.page(f"/admin/users/{target.id}")
        assert not page.has("act-suspend")
        answer = await admin.send(f"/admin/users/{target.id}/suspend", reason="terms")
        assert answer.status_code == 409
    status = "select count(*) from users where id = any(%s) and status = 'active'"
    assert await fetch_value(owner, status, [[admin.id, colleague.id]]) == 2
    # Their sessions, though, and then one has to log in again.
    answer = await admin.send(f"/admin/users/{admin.id}/end-sessions", reason="security")
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=/admin")
    assert (await admin.http.get("/admin")).status_code == 303


async def test_acts_want_a_fresh_session(admin: Visitor, alice: Person, owner: Connection) -> None:
    path = f"/admin/users/{alice.id}"
    await owner.execute(
        "update sessions set confirmed_at = now() - interval '1 hour' where user_id = %s", [admin.id]
    )
    page = await admin.page(path)
    assert page.element("confirm-first")["href"] == f"/confirm?next={path}"
    assert not page.has("act-suspend")
    for name in ADMIN_ROUTES:
        method, route = _request(name, alice.id)
        if method == "POST":
            answer = await admin.http.request(method, route, headers=OWN)
            led = (answer.status_code, answer.headers.get("location"))
            back = "/admin/reports" if route.startswith("/admin/reports") else "/admin"
            assert led == ((403, None) if route.startswith("/api/") else (303, f"/confirm?next={back}")), name
    assert await log_of(owner, alice.id) == ["admin.viewed"]

    wrong = await admin.send("/confirm", how="password", password="wrong", next=path)
    assert wrong.status_code == 401
    right = await admin.send("/confirm", how="password", password=PASSWORD, next=path)
    assert (right.status_code, right.headers["location"]) == (303, path)
    done = await admin.send(f"{path}/suspend", reason="terms")
    assert done.headers["location"] == f"{path}?done=suspended"


async def test_another_sites_page_acts_for_nobody(admin: Visitor, alice: Person, owner: Connection) -> None:
    for headers in ({}, {"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}):
        for name in ADMIN_ROUTES:
            method, path = _request(name, alice.id)
            if method == "POST":
                answer = await admin.http.post(path, data={"reason": "terms"}, headers=headers)
                assert answer.status_code == 403, name
        for path in ("/account/support-access", "/account/support-access/end"):
            answer = await admin.http.post(path, data={"hours": "5"}, headers=headers)
            assert answer.status_code == 403
    assert await log_of(owner, alice.id) == []


# The API


async def test_programs_of_administrators(
    admin: Visitor, alice: Person, join: Join, owner: Connection
) -> None:
    headers = {"authorization": f"Bearer {admin.token}"}
    first = (await admin.http.get("/api/admin/users?limit=1", headers=headers)).json()
    cursor = first["next_cursor"]
    assert cursor == str(first["items"][0]["id"])
    second = (await admin.http.get(f"/api/admin/users?limit=1&cursor={cursor}", headers=headers)).json()
    assert second["items"][0]["id"] < first["items"][0]["id"]
    found = await admin.http.get(f"/api/admin/users?q={alice.id}", headers=headers)
    assert [one["id"] for one in found.json()["items"]] == [alice.id]
    assert (await admin.http.get("/api/admin/users?list=everybody", headers=headers)).status_code == 422

    seen = (await admin.http.get(f"/api/admin/users/{alice.id}", headers=headers)).json()
    assert seen["person"]["email"] == f"{alice.actor.subject}@example.com"
    assert (seen["plan"], seen["source"]) == ("premium", "gift")
    assert "prompt" not in str(seen)
    assert alice.rows["folder"] not in str(seen)

    person = await join()
    path = f"/api/admin/users/{person.id}"
    for act, body, status in (
        ("suspend", {"reason": "goodwill"}, 422),
        ("suspend", {"reason": "because"}, 422),
        ("suspend", {}, 422),
        ("suspend", {"reason": "terms"}, 204),
        ("unsuspend", {"reason": "mistake"}, 204),
        ("plan", {"reason": "goodwill", "plan": "premium"}, 202),
        ("end-sessions", {"reason": "asked"}, 409),
    ):
        answer = await admin.http.post(f"{path}/{act}", json=body, headers=headers)
        assert answer.status_code == status, (act, body, answer.text)
    acts = (await admin.http.get("/api/admin/acts?limit=4", headers=headers)).json()
    assert [one["action"] for one in acts["items"]] == [
        "admin.log_viewed",
        "admin.plan_set",
        "admin.unsuspended",
        "admin.suspended",
    ]
    assert await log_of(owner, person.id) == ["admin.suspended", "admin.unsuspended", "admin.plan_set"]


# The person's own


async def test_a_person_lets_administrators_look_and_reads_who_did(
    admin: Visitor, join: Join, owner: Connection
) -> None:
    person = await join()
    assert (await person.page("/account")).has("support-closed")
    for hours in ("0", "73", "", "x"):
        assert (await person.send("/account/support-access", hours=hours)).status_code == 422
    answer = await person.send("/account/support-access", hours="8")
    assert (answer.status_code, answer.headers["location"]) == (303, "/account#support")
    assert (await person.page("/account")).has("support-open")
    assert (await admin.page(f"/admin/users/{person.id}")).has("person-content")
    await admin.page(f"/admin/users/{person.id}/content")
    assert (await person.send("/account/support-access/end")).status_code == 303
    assert (await person.page("/account")).has("support-closed")

    page = await person.page("/account/history")
    assert lines_of(page) == [
        "Permission to see prompts and pictures taken back",
        f"Administrator {admin.id} looked at prompts and pictures",
        f"Administrator {admin.id} looked at the account",
        "Administrators allowed to see prompts and pictures for 8 hours",
        "Logged in",
        "Account made",
    ]
    told = [" ".join("".join(texts).split()) for name, texts in page.named if name == "log-who"]
    assert told == [
        f"You, from {person.address}, python-httpx/{httpx.__version__}",
        f"You, from {person.address}, python-httpx/{httpx.__version__}",
        f"You, from {person.address}, python-httpx/{httpx.__version__}",
        f"Somebody who was not logged in, from {person.address}, python-httpx/{httpx.__version__}",
    ]
    entries = (await person.http.get("/api/account/history?limit=2")).json()
    assert entries["items"][0]["where"]["address"] == person.address
    assert entries["items"][1]["where"] is None
    assert [one["action"] for one in entries["items"]] == ["support.ended", "admin.content_viewed"]
    following = await person.http.get(f"/api/account/history?cursor={entries['next_cursor']}")
    assert following.json()["items"][0]["action"] == "admin.viewed"
    assert await log_of(owner, person.id) == ["admin.viewed", "admin.content_viewed"]


async def test_what_is_on_record_is_found_by_person_action_and_day(
    admin: Visitor, join: Join, owner: Connection, app: App
) -> None:
    person = await join()
    answer = await person.send("/account/support-access", hours="8")
    page = await person.page("/account/history")
    requests = ["".join(texts).strip() for name, texts in page.named if name == "log-request"]
    assert requests[0] == answer.headers["x-request-id"]

    page = await admin.page(f"/admin/acts?action=&who={person.id}")
    assert lines_of(page) == [
        f"Administrator {admin.id} looked at the account",
        "Administrators allowed to see prompts and pictures for 8 hours",
        "Logged in",
        "Account made",
    ]
    assert person.address in page.text("acts")
    assert await log_of(owner, person.id) == ["admin.viewed"]
    page = await admin.page(f"/admin/acts?action=account.created&who={person.id}")
    assert lines_of(page) == ["Account made"]
    page = await admin.page("/admin/acts?action=support.allowed")
    assert lines_of(page)[0] == "Administrators allowed to see prompts and pictures for 8 hours"
    assert person.address not in page.text("acts")  # of everybody's entries it is not told
    assert f"Account {person.id}" in page.text("acts")
    today = app.clock.now().date().isoformat()
    page = await admin.page(f"/admin/acts?action=&who={person.id}&since={today}&until={today}")
    assert len(lines_of(page)) == 4
    assert lines_of(await admin.page("/admin/acts?action=&until=2020-01-01")) == []
    assert lines_of(await admin.page(f"/admin/acts?who={2**62}")) == []
    assert lines_of(await admin.page("/admin/acts?who=x&since=y&before=z&action=nothing.such")) == []

    api = "/api/admin/acts"
    found = (await admin.http.get(api, params={"user_id": person.id, "action": "", "limit": 2})).json()
    assert [(one["action"], one["actor_kind"]) for one in found["items"]] == [
        ("admin.viewed", "admin"),
        ("support.allowed", "person"),
    ]
    assert found["items"][1]["where"]["address"] == person.address
    following = await admin.http.get(
        api, params={"user_id": person.id, "action": "", "cursor": found["next_cursor"]}
    )
    assert [one["action"] for one in following.json()["items"]] == ["account.signed_in", "account.created"]
    assert (await admin.http.get(api, params={"since": "yesterday"})).status_code == 422
    assert (await admin.http.get(api, params={"user_id": 2**62})).status_code == 404


async def test_support_access_over_the_api(join: Join) -> None:
    person = await join()
    headers = {"authorization": f"Bearer {person.token}"}
    path = "/api/account/support-access"
    assert (await person.http.get(path, headers=headers)).json() == {"expires_at": None}
    for hours in (0, 73, -5, 10**12):
        refused = await person.http.post(path, json={"hours": hours}, headers=headers)
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "hours")
    allowed = await person.http.post(path, json={"hours": 72}, headers=headers)
    assert allowed.status_code == 200
    assert (await person.http.get(path, headers=headers)).json() == allowed.json()
    for _ in range(2):
        assert (await person.http.delete(path, headers=headers)).status_code == 204
    assert (await person.http.get(path, headers=headers)).json() == {"expires_at": None}


def test_entries_have_words() -> None:
    assert describe("admin.suspended", {"by": 3, "reason": "terms"}) == (
        "Administrator 3 suspended the account: terms of use"
    )
    assert describe("admin.plan_set", {"by": 3, "plan": "premium", "reason": "of a later release"}) == (
        "Administrator 3 set the plan to premium: another reason"
    )
    assert describe("clone.ready", {}) == "Clone ready"
    assert describe("plan.changed", {"plan": "{0.__class__}"}) == "Plan changed to {0.__class__}"
    assert describe("later.thing_happened", {"by": 1}) == "Later: thing happened"
