"""Pages of other sites cannot act in a visitor's browser, nor sign it in as somebody else."""

import httpx
import pytest
from tests.api.conftest import ORIGIN, PASSWORD

# Litestar 3 ends some ways of declaring parameters; Visiona holds to Litestar 2.
pytestmark = pytest.mark.filterwarnings("ignore::litestar.exceptions.LitestarDeprecationWarning")

FOREIGN = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:9999"},
    {"Origin": ORIGIN.replace("http", "https")},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"},
]


@pytest.mark.usefixtures("person")
@pytest.mark.parametrize("headers", FOREIGN)
@pytest.mark.parametrize("content_type", ["application/json", "text/plain"])
async def test_another_site_cannot_sign_a_browser_in(
    stranger: httpx.AsyncClient, email: str, headers: dict[str, str], content_type: str
) -> None:
    body = httpx.Request("POST", ORIGIN, json={"email": email, "password": PASSWORD}).content
    for path in ("/api/auth/login", "/api/auth/signup"):
        answer = await stranger.post(path, content=body, headers={"Content-Type": content_type, **headers})
        assert (answer.status_code, answer.json()["code"]) == (403, "origin_mismatch")
        assert "set-cookie" not in answer.headers


@pytest.mark.usefixtures("person")
@pytest.mark.parametrize("headers", [{}, {"Origin": ORIGIN}, {"Sec-Fetch-Site": "same-origin"}])
async def test_programs_and_own_pages_sign_in(
    stranger: httpx.AsyncClient, email: str, headers: dict[str, str]
) -> None:
    credentials = {"email": email, "password": PASSWORD}
    answer = await stranger.post("/api/auth/login", json=credentials, headers=headers)
    stranger.cookies.clear()
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("host", ["[", "[::1", "localhost:99999999", "localhost:8000@evil.example"])
async def test_hosts_that_are_none(stranger: httpx.AsyncClient, person: dict[str, str], host: str) -> None:
    headers = {"Cookie": person["cookie"], "Host": host, "Origin": f"http://{host}"}
    answer = await stranger.post("/api/auth/refresh", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "origin_mismatch")


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost:8000", "[::1]:8000"])
async def test_other_names_of_this_machine(
    stranger: httpx.AsyncClient, person: dict[str, str], host: str
) -> None:
    headers = {"Cookie": person["cookie"], "Host": host, "Origin": f"http://{host}"}
    assert (await stranger.post("/api/auth/refresh", headers=headers)).status_code == 200
