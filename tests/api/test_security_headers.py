"""Every answer tells the browser what it may do with it: of each route, refusals and errors included."""

import re
from dataclasses import replace
from typing import Any

import httpx
import pytest

from visiona.bootstrap import App
from visiona.entrypoints.api.access import ACCESS
from visiona.entrypoints.api.security import security_headers
from visiona.entrypoints.asgi import create_asgi
from visiona.entrypoints.web.rendering import StaticTree

pytestmark = pytest.mark.filterwarnings("ignore::litestar.exceptions.LitestarDeprecationWarning")

EXPECTED = {
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), geolocation=(), microphone=(), payment=(self)",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
# The latter where the address itself is a secret, a mail's link.
REFERRERS = {"same-origin", "strict-origin"}
STRICT = {
    "default-src": ["'self'"],
    "script-src": ["'self'"],
    "object-src": ["'none'"],
    "base-uri": ["'none'"],
    "frame-ancestors": ["'none'"],
    "trusted-types": ["'none'"],
    "require-trusted-types-for": ["'script'"],
}
# Streams that end when the listener does.
ENDLESS = {"GET /api/events"}
ENDS_THE_SESSION = {"POST /logout", "POST /api/auth/logout"}


def directives(policy: str) -> dict[str, list[str]]:
    return {name: values for name, *values in (part.split() for part in policy.split(";"))}


def complaints(answer: httpx.Response) -> list[str]:
    """What is missing or too lax in the headers of this answer."""
    headers = answer.headers
    found = [f"{name}: {headers.get(name)}" for name, value in EXPECTED.items() if headers.get(name) != value]
    if headers.get("referrer-policy") not in REFERRERS:
        found.append(f"referrer-policy: {headers.get('referrer-policy')}")
    policies = headers.get_list("content-security-policy")
    if len(policies) != 1:
        return [*found, f"{len(policies)} policies"]
    policy = directives(policies[0])
    found += [f"{name}: {policy.get(name)}" for name, values in STRICT.items() if policy.get(name) != values]
    if "unsafe" in policies[0] or "*" in policies[0] or policy["form-action"][0] != "'self'":
        found.append(policies[0])
    if not re.fullmatch(r"[\w-]{16,}", headers.get("x-request-id", "")):
        found.append(f"x-request-id: {headers.get('x-request-id')}")
    if re.search("python|uvicorn|litestar", f"{headers.get('server', '')}{headers.get('x-powered-by', '')}"):
        found.append("tells what serves it")
    return found


def urls() -> list[tuple[str, str]]:
    """Method and address of every route, with a value for each parameter."""
    found: list[tuple[str, str]] = []
    for name in ACCESS:
        method, path = name.split()
        if name not in ENDLESS | ENDS_THE_SESSION:
            path = path.replace("{version}", StaticTree().version)
            found.append((method, re.sub(r"{file_path(:\w+)?}", "visiona.css", path)))
    return [(method, re.sub(r"{\w+(:\w+)?}", "1", path)) for method, path in found]


async def test_every_route_answers_a_stranger_with_them(stranger: httpx.AsyncClient) -> None:
    wrong: dict[str, Any] = {}
    for method, url in urls():
        answer = await stranger.request(method, url)
        wrong[f"{method} {url} {answer.status_code}"] = complaints(answer)
    assert len(wrong) > 100
    assert {name: found for name, found in wrong.items() if found} == {}


async def test_every_page_answers_its_reader_with_them(
    stranger: httpx.AsyncClient, person: dict[str, str]
) -> None:
    headers = {"Cookie": person["cookie"], "Accept": "text/html"}
    wrong: dict[str, list[str]] = {}
    shown = 0
    for method, url in urls():
        if method == "GET":
            answer = await stranger.get(url, headers=headers)
            shown += answer.status_code == 200
            wrong[f"{url} {answer.status_code}"] = complaints(answer)
            if answer.headers.get("content-type", "").startswith("text/html"):
                wrong[f"{url} {answer.status_code}"] += unruly(answer.text)
    stranger.cookies.clear()
    assert shown >= 15
    assert {name: found for name, found in wrong.items() if found} == {}


def unruly(page: str) -> list[str]:
    """What the policy would stop on this page: scripts and handlers in the markup, other hosts' files."""
    scripts = re.findall(r"<script(?![^>]*\ssrc=)(?![^>]*type=\"application/json\")[^>]*>", page)
    handlers = re.findall(r"<[^>]+\son\w+=[^>]*>", page)
    foreign = re.findall(r"<(?:script|img|link|iframe)[^>]+(?:src|href)=\"(?:https?:)?//[^\"]*\"", page)
    return [*scripts, *handlers, *foreign, *re.findall(r"href=\"javascript:[^\"]*\"", page)]


@pytest.mark.parametrize(
    ("method", "url", "status"),
    [
        ("GET", "/nothing/here", 404),
        ("GET", "/api/nothing", 404),
        ("PUT", "/api/photos", 405),
        ("DELETE", "/", 405),
        ("OPTIONS", "/api/photos", 204),
        ("HEAD", "/", 405),
        ("GET", "/static/0/visiona.css", 404),
        ("GET", "/media/u1/photos/x.jpg?expires=1&signature=x", 404),
    ],
)
@pytest.mark.parametrize("accept", ["text/html", "application/json"])
async def test_what_no_route_answers(
    stranger: httpx.AsyncClient, method: str, url: str, status: int, accept: str
) -> None:
    answer = await stranger.request(method, url, headers={"Accept": accept})
    assert (answer.status_code, complaints(answer)) == (status, [])


async def test_what_goes_wrong_on_our_side(
    stranger: httpx.AsyncClient, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("nobody expected this")

    monkeypatch.setattr(type(app.accounts), "authenticate_bearer", broken)
    monkeypatch.setattr(type(app.accounts), "authenticate_cookie", broken)
    api = await stranger.get("/api/photos", headers={"Authorization": "Bearer x"})
    page = await stranger.get("/studio", headers={"Cookie": "visiona_session=x"})
    too_long = await stranger.post("/api/auth/login", content=b"x" * 100_000)
    assert [answer.status_code for answer in (api, page, too_long)] == [500, 500, 413]
    assert [complaints(answer) for answer in (api, page, too_long)] == [[], [], []]


async def test_https_alone_is_spoken_where_it_is_spoken(stranger: httpx.AsyncClient, app: App) -> None:
    assert "strict-transport-security" not in (await stranger.get("/healthz")).headers
    public = replace(app, settings=replace(app.settings, public_url="https://visiona.example"))
    transport = httpx.ASGITransport(create_asgi(public))
    async with httpx.AsyncClient(transport=transport, base_url="https://visiona.example") as client:
        for url in ("/", "/healthz", "/api/photos", "/nothing"):
            promised = (await client.get(url)).headers["strict-transport-security"]
            assert promised == "max-age=63072000; includeSubDomains"
    assert int(promised.partition("=")[2].partition(";")[0]) >= 365 * 24 * 3600


def test_forms_lead_nowhere_else_by_themselves() -> None:
    policy = directives(security_headers(["https://pay.example"])["Content-Security-Policy"])
    assert policy["form-action"] == ["'self'", "https://pay.example"]
