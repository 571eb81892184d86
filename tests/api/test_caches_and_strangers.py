"""What lies between a person and Visiona keeps nothing of theirs, and other sites get no answer out of it."""

from typing import Any

import httpx
import pytest
from tests.api.test_security_headers import urls

from visiona.bootstrap import App

pytestmark = pytest.mark.filterwarnings("ignore::litestar.exceptions.LitestarDeprecationWarning")

EVIL = "evil.example"


async def test_no_cache_keeps_what_one_person_may_see(
    stranger: httpx.AsyncClient, person: dict[str, str]
) -> None:
    """Only files that are the same for everybody may be kept by others than the browser."""
    kept: dict[str, Any] = {}
    for _, url in (each for each in urls() if each[0] == "GET"):
        for cookie in ("", person["cookie"]):
            answer = await stranger.get(url, headers={"Cookie": cookie, "Accept": "text/html"})
            said = answer.headers.get("cache-control", "")
            if "no-store" not in said and not url.startswith("/static/"):
                kept[f"{url} {answer.status_code}"] = said
    stranger.cookies.clear()
    assert kept == {}


async def test_no_other_site_reads_an_answer(stranger: httpx.AsyncClient, person: dict[str, str]) -> None:
    told: dict[str, Any] = {}
    for method, url in urls():
        headers = {"Origin": f"https://{EVIL}", "Cookie": person["cookie"], "Accept": "text/html"}
        for verb, more in ((method, {}), ("OPTIONS", {"Access-Control-Request-Method": method})):
            answer = await stranger.request(verb, url, headers=headers | more)
            told |= {
                f"{verb} {url} {n}": v for n, v in answer.headers.items() if n.startswith("access-control")
            }
    stranger.cookies.clear()
    assert told == {}


async def test_a_forged_host_leads_nowhere(stranger: httpx.AsyncClient, person: dict[str, str]) -> None:
    """Neither a link nor a redirect is made of what the client says of the host."""
    forged = {
        "Host": EVIL,
        "X-Forwarded-Host": EVIL,
        "Forwarded": f"host={EVIL}",
        "X-Original-URL": f"//{EVIL}",
    }
    led: list[str] = []
    for _, url in (each for each in urls() if each[0] == "GET"):
        for cookie in ("", person["cookie"]):
            answer = await stranger.get(url, headers=forged | {"Cookie": cookie, "Accept": "text/html"})
            if EVIL in answer.text or EVIL in str(answer.headers):
                led.append(f"{url} {answer.status_code}")
    stranger.cookies.clear()
    assert led == []


@pytest.mark.parametrize("url", ["/consent/{}", "/api/reports/{}", "/receipts/{}"])
async def test_an_address_with_a_secret_in_it_is_in_no_log(
    url: str,
    stranger: httpx.AsyncClient,
    app: App,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("nobody expected this")

    monkeypatch.setattr(type(app.safety.limits), "count", broken)
    monkeypatch.setattr(type(app.accounts), "authenticate_cookie", broken)
    answer = await stranger.get(url.format("kanarie7391"), headers={"Cookie": "visiona_session=x"})
    assert answer.status_code == 500
    assert "unexpected error in GET " in caplog.text
    assert url.partition("{")[0] in caplog.text
    assert "kanarie7391" not in caplog.text
