"""Keys over HTTP: made by a person, used by a program, worth nothing beyond their scopes."""

import asyncio
import json
import os
import sys
import uuid
from collections.abc import AsyncGenerator
from typing import Any

import httpx
import pytest
import uvicorn

from visiona.bootstrap import App
from visiona.db.pool import Connection
from visiona.entrypoints.asgi import create_asgi
from visiona.keys.model import Scope, is_token

PASSWORD = "a quiet blue harbour"


@pytest.fixture
async def person(client: httpx.AsyncClient) -> dict[str, Any]:
    """Somebody new: `id`, and `headers` of their session."""
    email = f"{uuid.uuid4().hex}@example.com"
    answer = await client.post("/api/auth/signup", json={"email": email, "password": PASSWORD})
    cookie = answer.headers["set-cookie"].partition(";")[0]
    client.cookies.clear()
    body = answer.json()
    return {
        "id": body["user"]["id"],
        "email": email,
        "headers": {"authorization": f"Bearer {body['access_token']}"},
        "cookie": cookie,
    }


async def make(
    client: httpx.AsyncClient, person: dict[str, Any], *scopes: Scope, **more: Any
) -> dict[str, Any]:
    body = {"name": "a program", "scopes": list(scopes), **more}
    answer = await client.post("/api/keys", json=body, headers=person["headers"])
    assert answer.status_code == 201, answer.text
    return answer.json()


def bearer(key: dict[str, Any]) -> dict[str, str]:
    return {"authorization": f"Bearer {key['key']}"}


async def test_a_key_is_shown_once(client: httpx.AsyncClient, person: dict[str, Any]) -> None:
    body = {"name": " My  script ", "scopes": ["photos:read", "account:read"], "expires_in_days": 7}
    answer = await client.post("/api/keys", json=body, headers=person["headers"])
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    created = answer.json()
    assert is_token(created["key"])
    assert created["key"].startswith(created["prefix"])
    assert (created["name"], created["scopes"]) == ("My script", ["photos:read", "account:read"])
    listed = await client.get("/api/keys", headers=person["headers"])
    assert listed.json() == {
        "items": [{name: value for name, value in created.items() if name != "key"}],
        "next_cursor": None,
    }
    assert created["key"].split("_")[2] not in listed.text


async def test_a_key_serves_its_scopes_until_it_is_revoked(
    client: httpx.AsyncClient, person: dict[str, Any]
) -> None:
    key = await make(client, person, Scope.ACCOUNT_READ, Scope.PHOTOS_READ)
    me = await client.get("/api/auth/me", headers=bearer(key))
    assert (me.status_code, me.json()["id"], me.json()["email"]) == (200, person["id"], person["email"])
    assert (await client.get("/api/photos", headers=bearer(key))).status_code == 200
    refused = await client.post("/api/photos/upload", headers=bearer(key))
    assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope")
    assert "photos:write" in refused.json()["detail"]
    (listed,) = (await client.get("/api/keys", headers=person["headers"])).json()["items"]
    assert listed["last_used_at"] is not None
    gone = await client.delete(f"/api/keys/{key['id']}", headers=person["headers"])
    assert (gone.status_code, gone.content) == (204, b"")
    assert (await client.delete(f"/api/keys/{key['id']}", headers=person["headers"])).status_code == 204
    refused = await client.get("/api/auth/me", headers=bearer(key))
    assert (refused.status_code, refused.json()["code"]) == (401, "invalid_token")
    assert refused.headers["www-authenticate"] == "Bearer"


async def test_a_key_with_every_scope_is_still_no_person(
    client: httpx.AsyncClient, person: dict[str, Any]
) -> None:
    """It makes no keys, ends no session, pays for nothing and hears of nothing at once."""
    key = await make(client, person, *Scope)
    for method, path, body in (
        ("GET", "/api/keys", None),
        ("POST", "/api/keys", {"name": "another", "scopes": ["photos:read"]}),
        ("DELETE", f"/api/keys/{key['id']}", None),
        ("POST", "/api/auth/logout", None),
        ("POST", "/api/auth/refresh", None),
        ("POST", "/api/payment/subscribe", {"plan": "premium"}),
        ("POST", "/api/payment/portal", None),
        ("POST", "/api/payment/refresh", None),
        ("GET", "/api/events", None),
    ):
        answer = await client.request(method, path, json=body, headers=bearer(key))
        assert (answer.status_code, answer.json()["code"]) == (403, "session_required"), path
    assert (await client.get("/api/auth/me", headers=person["headers"])).status_code == 200


async def test_the_suspended_are_refused_with_their_key(
    client: httpx.AsyncClient, person: dict[str, Any], owner: Connection
) -> None:
    key = await make(client, person, Scope.PHOTOS_READ)
    await owner.execute("update users set status = 'suspended' where id = %s", [person["id"]])
    answer = await client.get("/api/photos", headers=bearer(key))
    session = await client.get("/api/photos", headers=person["headers"])
    assert (answer.status_code, answer.json()) == (session.status_code, session.json())
    assert answer.json()["code"] == "account_suspended"


async def test_a_key_is_worth_nothing_in_a_cookie_or_an_address(
    client: httpx.AsyncClient, person: dict[str, Any]
) -> None:
    key = await make(client, person, Scope.PHOTOS_READ)
    for sent in (
        {"headers": {"cookie": f"visiona_session={key['key']}"}},
        {"params": {"access_token": key["key"], "key": key["key"]}},
        {"headers": {"authorization": f"Basic {key['key']}"}},
        {"headers": {"authorization": key["key"]}},
    ):
        assert (await client.get("/api/photos", **sent)).status_code == 401
    worthless = await client.get(
        "/api/photos", headers={"authorization": "Bearer vsk_nonsense", "cookie": person["cookie"]}
    )
    assert worthless.status_code == 401, "a key that is refused is not replaced by a cookie"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 61}, "name"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["everything"]}, "scopes"),
        ({"scopes": "photos:read"}, "scopes"),
        ({"expires_in_days": 0}, "expires_in_days"),
        ({"expires_in_days": 10**18}, "expires_in_days"),
        ({"expires_in_days": None}, "expires_in_days"),
        ({"user_id": 1}, "user_id"),
    ],
)
async def test_what_cannot_be_a_key_is_told(
    client: httpx.AsyncClient, person: dict[str, Any], change: dict[str, Any], field: str
) -> None:
    body = {"name": "x", "scopes": ["photos:read"], **change}
    answer = await client.post("/api/keys", json=body, headers=person["headers"])
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
    assert [error["field"].partition("[")[0] for error in answer.json()["errors"]] == [field]
    assert (await client.get("/api/keys", headers=person["headers"])).json()["items"] == []


async def test_another_sites_page_makes_no_key(client: httpx.AsyncClient, person: dict[str, Any]) -> None:
    answer = await client.post(
        "/api/keys",
        json={"name": "x", "scopes": ["photos:read"]},
        headers={"cookie": person["cookie"], "origin": "https://evil.example"},
    )
    assert (answer.status_code, answer.json()["code"]) == (403, "origin_mismatch")


async def test_pages_of_keys(client: httpx.AsyncClient, person: dict[str, Any]) -> None:
    made = [(await make(client, person, Scope.PHOTOS_READ))["id"] for _ in range(3)]
    first = (await client.get("/api/keys?limit=2", headers=person["headers"])).json()
    second = (
        await client.get(f"/api/keys?limit=2&cursor={first['next_cursor']}", headers=person["headers"])
    ).json()
    assert [key["id"] for key in first["items"] + second["items"]] == made[::-1]
    assert second["next_cursor"] is None


# The commands, against a server on this machine


@pytest.fixture(scope="module")
async def server(app: App) -> AsyncGenerator[str]:
    """The address of a real one."""
    config = uvicorn.Config(create_asgi(app), host="127.0.0.1", port=0, lifespan="off", log_config=None)
    running = uvicorn.Server(config)
    serving = asyncio.create_task(running.serve())
    while not running.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.02)
    yield f"http://127.0.0.1:{running.servers[0].sockets[0].getsockname()[1]}"
    running.should_exit = True
    await serving


async def visiona(server: str, token: str, *arguments: str) -> tuple[int, str, str]:
    """Exit status, what was printed, and what was said beside it."""
    environment = {**os.environ, "VISIONA_SERVER": server, "VISIONA_TOKEN": token}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "visiona",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def test_a_program_on_the_command_line(server: str, person: dict[str, Any]) -> None:
    """Make a key, give it to the commands, see what it opens, revoke it."""
    token = person["headers"]["authorization"].removeprefix("Bearer ")
    status, out, err = await visiona(
        server, token, "keys", "create", "nightly", "--scope", "account:read", "--scope", "photos:read"
    )
    assert (status, is_token(out.strip())) == (0, True), err
    assert "only time" in err
    key = out.strip()
    status, out, _ = await visiona(server, key, "me", "--json")
    assert (status, json.loads(out)["email"]) == (0, person["email"])
    assert (await visiona(server, key, "photos", "list"))[0] == 0
    status, _, err = await visiona(server, key, "gallery", "list")
    assert (status, "insufficient_scope" in err) == (1, True)
    status, _, err = await visiona(server, key, "keys", "list")
    assert (status, "session_required" in err) == (1, True)
    status, out, _ = await visiona(server, token, "keys", "list", "--json")
    (listed,) = json.loads(out)["items"]
    assert (status, listed["name"], listed["scopes"]) == (0, "nightly", ["photos:read", "account:read"])
    status, out, _ = await visiona(server, token, "keys", "list")
    assert (status, "nightly" in out) == (0, True)
    assert (await visiona(server, token, "keys", "revoke", str(listed["id"]), "--yes"))[0] == 0
    status, _, err = await visiona(server, key, "me")
    assert (status, "VISIONA_TOKEN" in err) == (3, True)


async def test_commands_about_keys_say_what_is_wrong(server: str, person: dict[str, Any]) -> None:
    token = person["headers"]["authorization"].removeprefix("Bearer ")
    assert (await visiona(server, token, "keys", "create", "nightly"))[0] == 2
    assert (await visiona(server, token, "keys", "create", "x", "--scope", "everything"))[0] == 2
    assert (await visiona(server, token, "keys", "create", "x", "--scope", "photos:read", "--days", "366"))[
        0
    ] == 2
    status, _, err = await visiona(server, token, "keys", "revoke", "1234567890", "--yes")
    assert (status, "key_not_found" in err) == (1, True)


async def test_the_log_never_has_a_key(
    client: httpx.AsyncClient, person: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    key = await make(client, person, Scope.PHOTOS_READ)
    with caplog.at_level("DEBUG"):
        await client.get("/api/photos", headers=bearer(key))
        await client.get("/api/gallery", headers=bearer(key))
    assert key["key"].split("_")[2] not in caplog.text
