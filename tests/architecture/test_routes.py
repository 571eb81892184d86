"""Every route says who may call it, and means it."""

import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from litestar import Litestar, get
from tests.conftest import SECRET_KEY
from tests.factories import consents
from tests.factories.keys import key_settings
from tests.factories.people import MakeUser, Person, insert_rows
from tests.factories.safety import EVERYBODY_SIGNS_UP

from visiona.bootstrap import App, build
from visiona.core.errors import Forbidden, NotFound
from visiona.db.pool import Connection
from visiona.entrypoints.api import access
from visiona.entrypoints.api.access import ACCESS, Access, Identity
from visiona.entrypoints.api.security import Caller, check_access
from visiona.entrypoints.asgi import create_asgi
from visiona.entrypoints.web.rendering import StaticTree
from visiona.keys.model import Scope, new_token
from visiona.passwords.service import address_index
from visiona.settings import Settings
from visiona.vault.service import Vault

# Ways of declaring parameters that Litestar 3 ends; Visiona holds to Litestar 2.

ORIGIN = "http://127.0.0.1:8000"
NOBODYS_ID = 2**62 + 12345
SAFE = {"GET", "HEAD", "OPTIONS"}
SIGNED_IN = {Identity.USER, Identity.PERSON}

# The contract, as far as this release goes. Other routes may exist beside these.
DOCUMENTED = """
POST /api/auth/signup
POST /api/auth/login
GET /api/auth/login
GET /api/auth/signup
POST /api/auth/refresh
POST /api/auth/logout
GET /api/auth/me
POST /api/photos/upload
GET /api/photos
DELETE /api/photos/{id}
POST /api/models/train
GET /api/models/status
GET /api/models
GET /api/models/{id}
POST /api/models/{id}/cancel
DELETE /api/models/{id}
POST /api/generate
GET /api/generate/{id}
POST /api/generate/{id}/cancel
GET /api/gallery
POST /api/gallery/delete
DELETE /api/gallery/delete
GET /api/payment/plans
GET /api/payment/subscription
POST /api/payment/subscribe
POST /api/payment/portal
POST /api/payment/refresh
GET /api/payment/invoices
GET /api/payment/invoices/{id}
GET /api/payment/invoices/{id}/pdf
POST /api/payment/webhook
POST /api/webhooks/replicate
GET /api/events
GET /api/openapi.json
GET /healthz
GET /readyz
""".strip().splitlines()

# Which of a person's rows a path parameter names; a new one has to be told here.
PARAMETERS = {
    "photo_id": "photo",
    "model_id": "model",
    "run_id": "run",
    "image_id": "generation",
    "invoice_id": "invoice",
    "consent_id": "consent",
    "export_id": "export",
    "key_id": "api_key",
    "passkey_id": "passkey",
    "report_id": "report",
    "session_id": "session",
    "user_id": "user",
}
# What routes with an id in their path take beside it.
BODIES = {
    "PATCH /api/account/passkeys/{passkey_id}": {"name": "mine"},
    "POST /api/admin/users/{user_id}/erase": {"reason": "a test"},
}
# These answer without looking at a row; who may call them is checked all the same.
NO_CALLERS_ROWS = {"token", "version", "file_path", "key", "path", "case", "code"}
STATIC_VERSION = StaticTree().version


@dataclass(frozen=True, slots=True)
class Route:
    """`page` is where somebody who has to log in first comes back to."""

    method: str
    path: str
    access: Access
    page: str

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def identity(self) -> Identity:
        return self.access.identity

    @property
    def parameters(self) -> list[str]:
        return re.findall(r"{(\w+)}", self.path)

    @property
    def log_in(self) -> str:
        """Where somebody who is not signed in is led."""
        return f"/login?next={re.sub(r'{.*?}', '1', self.page)}"

    def url(self, value: object = 1) -> str:
        return re.sub(r"{\w+}", str(value), self.path.replace("{version}", STATIC_VERSION))


def _routes(asgi: Litestar) -> list[Route]:
    """All that answer, without the OPTIONS that Litestar adds to each."""
    found: list[Route] = []
    for name, handler in access.routes(asgi):
        method, path = name.split()
        row = access.access_of(handler, method)
        assert row is not None, f"{name} has no row in the table of access"
        found.append(Route(method, path, row, handler.opt.get("page", path)))
    return found


@pytest.fixture(scope="session")
def settings(owner_url: str, app_url: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(
        secret_key=SECRET_KEY,
        data_dir=Path(tmp_path_factory.mktemp("routes")),
        database_url=owner_url,
        app_database_url=app_url,
        **key_settings(owner_url),
        limits=EVERYBODY_SIGNS_UP,
        replicate_api_token="r8_test",
        replicate_base_url="http://127.0.0.1:9/v1",
        replicate_webhook_secret=("whsec_dGVzdCBzZWNyZXQgb2YgdGhlIHJvdXRlcw==",),
        stripe_api_key="sk_test_routes",
        stripe_base_url="http://127.0.0.1:9",
        stripe_webhook_secret=("whsec_routes",),
    )


@pytest.fixture(scope="session")
def app(settings: Settings) -> App:
    return build(settings, "app")


@pytest.fixture(scope="session")
def asgi(app: App) -> Litestar:
    return create_asgi(app)


@pytest.fixture(scope="session")
def routes(asgi: Litestar) -> list[Route]:
    return _routes(asgi)


@pytest.fixture(scope="session")
async def client(app: App, asgi: Litestar) -> AsyncGenerator[httpx.AsyncClient]:
    """Speaks to the application in this process."""
    await app.open()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(asgi), base_url=ORIGIN) as client:
        yield client
    await app.close()


@pytest.fixture(scope="session")
async def alice(client: httpx.AsyncClient, owner_url: str) -> dict[str, Any]:
    """Somebody who is signed in: `token` and `cookie`. The payment service knows her too."""
    signed_up = await client.post(
        "/api/auth/signup", json={"email": "alice@routes.example.com", "password": "a quiet blue harbour"}
    )
    assert signed_up.status_code == 201, signed_up.text
    cookie = signed_up.headers["set-cookie"].partition(";")[0]
    client.cookies.clear()
    async with await psycopg.AsyncConnection.connect(owner_url, autocommit=True) as owner:
        await owner.execute(
            "insert into payment_customers (user_id, customer_id, mode) values (%s, 'cus_alice', 'test')",
            [signed_up.json()["user"]["id"]],
        )
    token = signed_up.json()["access_token"]
    consented = await client.post("/api/consents", json=consents.signed(), headers=_bearer(token))
    assert consented.status_code == 201, consented.text
    return {"token": token, "cookie": cookie}


@pytest.fixture(scope="session")
async def bob(owner_url: str, make_user: MakeUser, vault: Vault) -> Person:
    """Somebody else, who has a row of each kind."""
    actor = await make_user()
    async with await psycopg.AsyncConnection.connect(owner_url, autocommit=True) as owner:
        return await insert_rows(owner, actor, await vault.cipher(actor.user_id))


def _is_problem(answer: httpx.Response, status: int) -> bool:
    return (
        answer.status_code == status
        and answer.headers["content-type"] == "application/problem+json"
        and {"type", "title", "status", "detail", "code"} <= set(answer.json())
        and answer.json()["status"] == status
    )


def test_every_route_has_its_row_and_every_row_its_route(asgi: Litestar, routes: list[Route]) -> None:
    names = [name for name, _ in access.routes(asgi)]
    assert len(names) == len(set(names))
    assert set(names) == set(ACCESS)
    assert {str(route): route.access for route in routes} == dict(ACCESS)
    assert len([route for route in routes if route.identity in SIGNED_IN]) >= 20


def test_a_row_that_makes_no_sense_cannot_be_written() -> None:
    for row in (
        {"identity": Identity.USER},
        {"identity": Identity.PERSON, "scope": Scope.PHOTOS_READ},
        {"identity": Identity.USER, "scope": Scope.PHOTOS_READ, "fresh": True},
        {"identity": Identity.PUBLIC, "role": "admin"},
    ):
        with pytest.raises(ValueError, match=r"(key|session)"):
            Access(**row)


def test_the_api_is_for_people_unless_it_says_otherwise(routes: list[Route]) -> None:
    """What is open to anybody is listed here, so that it is opened on purpose."""
    api = {str(r) for r in routes if r.path.startswith("/api/") and r.identity not in SIGNED_IN}
    assert {name for name in api if not name.startswith("GET /api/openapi.json")} == {
        "POST /api/auth/signup",
        "GET /api/auth/signup",
        "POST /api/auth/login",
        "GET /api/auth/login",
        "GET /api/auth/callback",
        "POST /api/auth/login/code",
        "POST /api/auth/passkey",
        "POST /api/auth/passkey/options",
        "POST /api/auth/reset",
        "POST /api/auth/reset/complete",
        "POST /api/auth/verify",
        "GET /api/payment/plans",
        "POST /api/payment/webhook",
        "POST /api/provenance/check",
        "POST /api/reports",
        "GET /api/receipts/{code}",
        "GET /api/reports/{case}",
        "POST /api/webhooks/clerk",
        "POST /api/webhooks/replicate",
    }


def test_every_documented_route_exists(routes: list[Route]) -> None:
    existing = {re.sub(r"{\w+}", "{id}", str(route)) for route in routes}
    assert [line for line in DOCUMENTED if line not in existing] == []


async def test_a_route_without_a_row_is_refused(app: App) -> None:
    @get("/api/forgotten")
    async def forgotten() -> str:
        return "everybody's secrets"

    asgi = create_asgi(app)
    asgi.register(forgotten)
    transport = httpx.ASGITransport(asgi)
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
        answer = await client.get("/api/forgotten")
    assert answer.status_code >= 400
    assert "secrets" not in answer.text


def test_one_handler_does_not_answer_by_two_rules() -> None:
    @get(["/login", "/studio"])
    async def both() -> str:
        return "which one?"

    with pytest.raises(ValueError, match="another rule"):
        access.attach(Litestar([both], openapi_config=None))


@pytest.mark.parametrize(
    ("row", "caller", "code"),
    [
        (Access(Identity.PERSON, role="admin"), {}, "not_found"),
        (Access(Identity.PERSON, role="admin"), {"role": "admin"}, None),
        (Access(Identity.PERSON, role="admin"), {"role": "admin", "suspended": True}, "account_suspended"),
        (Access(Identity.PERSON, role="admin"), {"session": None}, "not_found"),
        (Access(Identity.PERSON, role="admin"), {"suspended": True}, "not_found"),
        (Access(Identity.PERSON, role="admin", fresh=True), {"fresh": True}, "not_found"),
        (Access(Identity.PERSON, role="admin", fresh=True), {"role": "admin"}, "confirmation_required"),
        (Access(Identity.PAGE, role="admin"), {}, "not_found"),
        (Access(Identity.PERSON, fresh=True), {}, "confirmation_required"),
        (Access(Identity.PERSON, fresh=True), {"fresh": True}, None),
        (Access(Identity.PERSON, suspended=True), {"suspended": True}, None),
        (Access(Identity.PERSON), {"suspended": True}, "account_suspended"),
        (Access(Identity.USER, scope=Scope.PHOTOS_READ), {}, None),
        (Access(Identity.USER, scope=Scope.PHOTOS_READ), {"session": None}, "insufficient_scope"),
        (
            Access(Identity.USER, scope=Scope.PHOTOS_READ),
            {"session": None, "scopes": frozenset(Scope) - {Scope.PHOTOS_READ}},
            "insufficient_scope",
        ),
        (
            Access(Identity.USER, scope=Scope.PHOTOS_READ),
            {"session": None, "scopes": frozenset({Scope.PHOTOS_READ})},
            None,
        ),
    ],
)
def test_what_a_row_asks_of_whom(row: Access, caller: dict[str, Any], code: str | None) -> None:
    # Of the session, only whether there is one counts here.
    known = Caller(**{"user_id": 1, "subject": "user_1", "session": object(), **caller})
    if code is None:
        check_access(known, row)
        return
    with pytest.raises((Forbidden, NotFound)) as caught:
        check_access(known, row)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer"},
        {"authorization": "Bearer nonsense"},
        {"authorization": "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJ1c2VyXzEifQ."},
        {"authorization": "Basic YWxpY2U6cGFzc3dvcmQ="},
        {"authorization": "Bearer vsk_nonsense"},
        {"authorization": f"Bearer {new_token()}"},
        {"cookie": "visiona_session=nonsense", "origin": ORIGIN},
    ],
    ids=["nothing", "empty", "no token", "unsigned", "basic", "no key", "nobody's key", "cookie"],
)
async def test_users_routes_are_for_users(
    client: httpx.AsyncClient, routes: list[Route], headers: dict[str, str]
) -> None:
    for route in routes:
        if route.identity in SIGNED_IN:
            answer = await client.request(route.method, route.url(), headers=headers)
            assert _is_problem(answer, 401), f"{route}: {answer.status_code} {answer.text}"
            assert answer.headers["www-authenticate"] == "Bearer"


async def test_pages_of_ones_own_lead_to_the_log_in_page(
    client: httpx.AsyncClient, routes: list[Route]
) -> None:
    pages = [route for route in routes if route.identity is Identity.PAGE]
    assert pages
    for route in pages:
        answer = await client.request(route.method, route.url())
        assert (answer.status_code, answer.headers.get("location")) == (303, route.log_in)


async def test_a_cookie_does_not_act_for_another_site(
    client: httpx.AsyncClient, routes: list[Route], alice: dict[str, Any]
) -> None:
    for headers in (
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {},
    ):
        for route in routes:
            if route.identity in SIGNED_IN and route.method not in SAFE:
                answer = await client.request(
                    route.method, route.url(), headers={"cookie": alice["cookie"], **headers}
                )
                assert _is_problem(answer, 403), f"{route} {headers}: {answer.status_code}"
                assert answer.json()["code"] == "origin_mismatch"
            if route.identity is Identity.PAGE and route.method not in SAFE:
                answer = await client.request(
                    route.method, route.url(), headers={"cookie": alice["cookie"], **headers}
                )
                assert answer.status_code == 403, f"{route} {headers}: {answer.status_code}"
    still = await client.get("/api/auth/me", headers={"cookie": alice["cookie"]})
    assert still.status_code == 200


async def test_signed_routes_want_a_signature(client: httpx.AsyncClient, routes: list[Route]) -> None:
    answers = {
        str(route): (await client.request(route.method, route.url("x"))).status_code
        for route in routes
        if route.identity is Identity.SIGNED
    }
    assert answers == {
        "GET /media/{key}": 404,
        "HEAD /media/{key}": 404,
        "POST /api/payment/webhook": 401,
        "POST /api/webhooks/clerk": 401,
        "POST /api/webhooks/replicate": 401,
    }


async def test_options_tells_methods_and_nothing_else(client: httpx.AsyncClient, routes: list[Route]) -> None:
    for path in {route.path for route in routes}:
        answer = await client.options(re.sub(r"{\w+}", "1", path))
        assert answer.status_code < 500, f"{path}: {answer.status_code}"
        assert answer.content == b"" or answer.status_code >= 400


# Who may do what, and another's rows


@dataclass(frozen=True, slots=True)
class Asking:
    """Somebody who is not Bob. `scope` is that of their key; `person` says that they show a session."""

    name: str
    headers: dict[str, str]
    person: bool = False
    scope: Scope | None = None
    admin: bool = False
    suspended: bool = False

    def refusal(self, access: Access) -> tuple[int, str] | None:
        """What the table has to say to them; None where they may ask."""
        if not self.headers:
            return 401, "not_authenticated"
        if self.person and self.suspended and not access.suspended:
            return 403, "account_suspended"
        if access.role == "admin" and not self.admin:
            return 404, "not_found"
        if self.suspended and not access.suspended:
            return 403, "account_suspended"
        if self.person or (access.scope is not None and access.scope is self.scope):
            return None
        return 403, "session_required" if access.scope is None else "insufficient_scope"


@pytest.fixture(scope="session")
async def askers(
    client: httpx.AsyncClient, alice: dict[str, Any], owner_url: str, vault: Vault
) -> list[Asking]:
    """Nobody, Alice and each scope's key of hers, somebody suspended and their key, an administrator."""
    suspended, admin = await _sign_up(client, "suspended"), await _sign_up(client, "admin")
    keys = {scope: await _make_key(client, alice["token"], scope) for scope in Scope}
    suspended_key = await _make_key(client, suspended, Scope.PHOTOS_READ)
    async with await psycopg.AsyncConnection.connect(owner_url, autocommit=True) as owner:
        for name, change in (("suspended", "status = 'suspended'"), ("admin", "role = 'admin'")):
            index = address_index(vault, f"{name}@routes.example.com")
            await owner.execute(f"update users set {change} where email_index = %s".encode(), [index])
    return [
        Asking("nobody", {}),
        Asking("alice", _bearer(alice["token"]), person=True),
        Asking("suspended", _bearer(suspended), person=True, suspended=True),
        Asking("a key of the suspended", _bearer(suspended_key), scope=Scope.PHOTOS_READ, suspended=True),
        Asking("an administrator", _bearer(admin), person=True, admin=True),
        *(Asking(f"a key for {scope}", _bearer(key), scope=scope) for scope, key in keys.items()),
    ]


async def _sign_up(client: httpx.AsyncClient, name: str) -> str:
    answer = await client.post(
        "/api/auth/signup", json={"email": f"{name}@routes.example.com", "password": "a quiet blue harbour"}
    )
    client.cookies.clear()
    return answer.json()["access_token"]


async def _make_key(client: httpx.AsyncClient, token: str, scope: Scope) -> str:
    body = {"name": f"for {scope}", "scopes": [scope]}
    answer = await client.post("/api/keys", json=body, headers=_bearer(token))
    assert answer.status_code == 201, answer.text
    return answer.json()["key"]


def _bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


async def test_whoever_may_not_ask_is_told_so_and_nothing_happens(
    client: httpx.AsyncClient, routes: list[Route], askers: list[Asking], bob: Person, owner: Connection
) -> None:
    """Every route, everybody whom its row refuses: the same answer, whatever is in the path."""
    before, refused = await _everything_of(owner, bob), 0
    for route in routes:
        if route.identity not in SIGNED_IN:
            continue
        for asking in askers:
            refusal = asking.refusal(route.access)
            for value in _ids(route, bob) if refusal else ():
                answer = await client.request(route.method, route.url(value), headers=asking.headers)
                found = answer.status_code, answer.json()["code"]
                assert found == refusal, f"{asking.name}: {route} answers {found}"
                refused += 1
    assert refused > 250
    assert await _everything_of(owner, bob) == before


async def test_a_scope_opens_exactly_its_routes(
    client: httpx.AsyncClient, routes: list[Route], askers: list[Asking]
) -> None:
    """What is sent says nothing, so that whoever may ask is told that it lacks something, or is served."""
    opened: dict[Scope, set[str]] = {scope: set() for scope in Scope}
    for route in routes:
        for asking in askers:
            if asking.scope is None or asking.suspended or not route.path.startswith("/api/"):
                continue
            if route.identity not in SIGNED_IN or route.access.role is not None:
                continue
            answer = await client.request(route.method, route.url(NOBODYS_ID), headers=asking.headers)
            assert answer.status_code < 500
            if answer.status_code not in {401, 403}:
                opened[asking.scope].add(str(route))
    expected = {scope: {name for name, row in ACCESS.items() if row.scope is scope} for scope in Scope}
    assert opened == expected
    assert all(expected.values())


async def test_pages_know_no_keys(
    client: httpx.AsyncClient, routes: list[Route], askers: list[Asking]
) -> None:
    """A key opens no page of its owner's, and a page for anybody does not show them."""
    key = next(asking for asking in askers if asking.scope is Scope.ACCOUNT_READ)
    for route in routes:
        if route.identity is Identity.PAGE and route.method in SAFE:
            answer = await client.request(route.method, route.url(), headers=key.headers)
            assert answer.status_code == (404 if route.access.role else 403), str(route)
    answer = await client.get("/pricing", headers=key.headers)
    assert answer.status_code == 200
    assert "alice@" not in answer.text


async def test_anothers_row_is_no_row(
    client: httpx.AsyncClient, routes: list[Route], askers: list[Asking], bob: Person, owner: Connection
) -> None:
    """On every route with an id in its path, for everybody who may ask: the answer for another's is that
    for nobody's, to the byte.
    """
    before, compared = await _everything_of(owner, bob), 0
    for route in routes:
        if route.access.role == "admin" or not set(route.parameters) - NO_CALLERS_ROWS:
            continue
        for asking in askers:
            if asking.refusal(route.access):
                continue
            theirs, nobodys = [
                await client.request(
                    route.method, route.url(value), headers=asking.headers, json=BODIES.get(str(route))
                )
                for value in (*_ids(route, bob), NOBODYS_ID)
            ]
            assert _is_problem(theirs, 404), f"{asking.name}: {route}: {theirs.status_code} {theirs.text}"
            assert theirs.content == nobodys.content, f"{asking.name}: {route}"
            compared += 1
    assert compared >= 30
    assert await _everything_of(owner, bob) == before


def _ids(route: Route, person: Person) -> list[object]:
    """What of this person's the path can name; 1 where it names nothing of anybody's."""
    return [person.rows[PARAMETERS[name]] for name in route.parameters if name not in NO_CALLERS_ROWS] or [1]


@pytest.mark.parametrize(
    ("method", "path", "row", "body"),
    [
        ("GET", "/api/models/status?model_id={id}", "model", None),
        ("GET", "/api/gallery?model_id={id}", "model", None),
        ("GET", "/api/payment/invoices?cursor={id}", "invoice", None),
        ("GET", "/api/photos?cursor={id}", "photo", None),
        ("GET", "/api/models?cursor={id}", "model", None),
        ("GET", "/api/generate?cursor={id}", "run", None),
        ("GET", "/api/gallery?cursor={id}", "generation", None),
        ("POST", "/api/generate", "model", '{"model_id": {id}, "prompt": "a portrait"}'),
        ("POST", "/api/models/train", "photo", '{"trigger_word": "TOK", "photo_ids": [{id}]}'),
        ("POST", "/api/gallery/delete", "generation", '{"ids": [{id}]}'),
        ("DELETE", "/api/gallery/delete", "generation", '{"ids": [{id}]}'),
    ],
)
async def test_anothers_row_in_a_query_or_a_body_is_no_row(
    client: httpx.AsyncClient,
    askers: list[Asking],
    bob: Person,
    owner: Connection,
    method: str,
    path: str,
    row: str,
    body: str | None,
) -> None:
    access = ACCESS[f"{method} {path.partition('?')[0]}"]
    before = await _everything_of(owner, bob)
    for asking in askers:
        headers = {**asking.headers, "content-type": "application/json"}

        async def ask(row_id: object, headers: dict[str, str] = headers) -> tuple[int, str]:
            answer = await client.request(
                method,
                path.replace("{id}", str(row_id)),
                headers=headers,
                content=body and body.replace("{id}", str(row_id)),
            )
            return answer.status_code, re.sub(rf"\b{row_id}\b", "ID", answer.text)

        theirs = await ask(bob.rows[row])
        assert theirs == await ask(NOBODYS_ID), asking.name
        refusal = asking.refusal(access)
        assert theirs[0] == refusal[0] if refusal else theirs[0] not in {401, 403}, asking.name
        assert theirs[0] < 500
    assert await _everything_of(owner, bob) == before


async def _everything_of(owner: Connection, person: Person) -> list[Any]:
    """Every row of theirs, in every table that has rows of people."""
    tables = await owner.execute(
        """select c.table_name from information_schema.columns c join information_schema.tables t
             using (table_schema, table_name)
           where c.table_schema = 'public' and c.column_name = 'user_id' and t.table_type = 'BASE TABLE'"""
    )
    names = [name for (name,) in await tables.fetchall()]
    assert len(names) > 15
    rows: list[Any] = []
    for table in names:
        cursor = await owner.execute(
            f"select to_jsonb(t)::text from {table} t where user_id = %s order by 1", [person.id]
        )
        rows += await cursor.fetchall()
    return rows
