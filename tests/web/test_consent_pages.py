"""The page behind a link: somebody whose face another wants to use says yes or no, and takes it back."""

import re
import uuid
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import pytest
from tests.accounts.house import ORIGIN, House, open_house
from tests.conftest import copied_database
from tests.web.conftest import HOSTILE, Markup

from visiona.consents.model import current_text

PAGE = {"accept": "text/html"}
SIGNED = {"version": current_text().version, "name": "Maria Example", "adult": "yes", "agreed": "yes"}


@pytest.fixture(scope="module")
async def builtin_house(
    postgres: str, migrated_template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[House]:
    with copied_database(postgres, migrated_template) as url:
        async with open_house(url, tmp_path_factory.mktemp("house")) as opened:
            yield opened


@pytest.fixture
async def house(builtin_house: House) -> AsyncGenerator[House]:
    yield builtin_house
    builtin_house.clock.shift = timedelta(0)


@dataclass
class Request:
    """A consent that was asked for: the browser of whoever asked, and that of whoever has the link."""

    asker: httpx.AsyncClient
    asked: httpx.AsyncClient
    path: str

    async def see(self, browser: httpx.AsyncClient | None = None, query: str = "") -> Markup:
        answer = await (browser or self.asked).get(self.path + query, headers=PAGE)
        assert answer.status_code == 200, answer.text
        return Markup(answer.text)

    async def send(self, end: str = "", **form: str) -> httpx.Response:
        return await self.asked.post(self.path + end, data=form, headers=PAGE)

    async def state(self) -> dict[str, Any]:
        """As whoever asked is told."""
        (one,) = [
            one
            for one in (await self.asker.get("/api/consents")).json()["items"]
            if one["subject"] == "other"
        ]
        return one


@pytest.fixture
async def request_(house: House) -> Request:
    asker = await house.sign_up(f"{uuid.uuid4().hex}@example.com")
    answer = await asker.post("/account/consents/ask", data={"label": HOSTILE[:60]}, headers=PAGE)
    link = Markup(answer.text).text("request-link")
    assert link.startswith(f"{ORIGIN}/consent/")
    return Request(asker, house.browser(), link.removeprefix(ORIGIN))


async def test_somebody_reads_signs_and_withdraws_by_their_link_alone(request_: Request) -> None:
    page = await request_.see()
    assert page.has("consent-asked")
    assert HOSTILE[:60] in " ".join("".join(texts) for _, texts in page.named)
    assert page.text("consent-text").startswith(current_text().sections[0].title)
    signed = await request_.send(**SIGNED)
    assert (signed.status_code, signed.headers["location"]) == (303, f"{request_.path}?done=given")
    assert (await request_.state())["state"] == "given"
    thanks = await request_.see(query="?done=given")
    assert "Thank you" in thanks.text("consent-given")
    assert not thanks.has("consent-sign")
    assert (await request_.send(**SIGNED)).status_code == 409

    withdrawn = await request_.send("/end")
    assert (withdrawn.status_code, withdrawn.headers["location"]) == (303, request_.path)
    assert "are deleted" in (await request_.see()).text("consent-withdrawn")
    told = await request_.state()
    assert told["state"] == "withdrawn"
    assert (await request_.send(**SIGNED)).status_code == 409  # what is over is asked for anew
    assert (await request_.state())["state"] == "withdrawn"


async def test_somebody_refuses_and_owes_no_reason(request_: Request) -> None:
    assert (await request_.send("/end")).status_code == 303
    page = await request_.see()
    assert "There is nothing else to do" in page.text("consent-refused")
    assert not page.has("consent-sign")
    assert (await request_.state())["state"] == "refused"
    assert (await request_.send(**SIGNED)).status_code == 409


@pytest.mark.parametrize(
    ("field", "value", "marked"),
    [("adult", "", "consent-adult"), ("agreed", "no", "consent-agreed"), ("name", "  ", "consent-name")],
)
async def test_nothing_is_signed_half(request_: Request, field: str, value: str, marked: str) -> None:
    answer = await request_.send(**SIGNED | {field: value})
    assert answer.status_code == 422
    page = Markup(answer.text)
    assert page.element(marked)["aria-invalid"] == "true"
    assert page.element("consent-name")["value"] == (value if field == "name" else SIGNED["name"])
    assert (await request_.state())["state"] == "asked"


async def test_an_older_text_is_not_signed(request_: Request) -> None:
    answer = await request_.send(**SIGNED | {"version": "2020-01-01"})
    assert answer.status_code == 409
    assert "The text has changed" in answer.text
    assert (await request_.state())["state"] == "asked"


async def test_whoever_asks_cannot_answer(request_: Request) -> None:
    page = await request_.see(request_.asker)
    assert page.has("consent-for-another")
    assert not page.has("consent-sign")
    assert not page.has("consent-refuse")
    answer = await request_.asker.post(request_.path, data=SIGNED, headers=PAGE)
    assert answer.status_code == 403
    assert (await request_.state())["state"] == "asked"
    # Where they find it again to send it:
    assert request_.path in (await request_.asker.get("/account/consents")).text


@pytest.mark.parametrize("end", ["", "/end"])
async def test_another_sites_page_answers_for_nobody(request_: Request, end: str) -> None:
    for headers in ({"origin": "https://evil.example"}, {"origin": "null"}):
        answer = await request_.asked.post(request_.path + end, data=SIGNED, headers=PAGE | headers)
        assert answer.status_code == 403
    assert (await request_.state())["state"] == "asked"


async def test_the_link_goes_to_no_other_site_and_stays_in_no_cache(request_: Request) -> None:
    answer = await request_.asked.get(request_.path, headers=PAGE)
    assert answer.headers["referrer-policy"] == "strict-origin"
    assert answer.headers["x-robots-tag"] == "noindex"
    assert answer.headers["cache-control"] == "no-store"
    markup = Markup(answer.text)
    assert ("meta", {"name": "robots", "content": "noindex"}) in markup.tags
    assert not [link for link in markup.values("href") if re.match(r"https?:", link)]


async def test_a_link_ends_and_a_changed_one_was_never_there(house: House, request_: Request) -> None:
    changed = request_.path[:-1] + ("A" if request_.path[-1] != "A" else "B")
    for path in (changed, "/consent/x", f"/consent/{uuid.uuid4()}", "/consent/%00"):
        answer = await request_.asked.get(path, headers=PAGE)
        assert answer.status_code == 404, path
        assert answer.headers["content-type"].startswith("text/html")
        assert (await request_.asked.post(f"{path}/end", headers=PAGE)).status_code == 404
        assert (await request_.asked.post(path, data=SIGNED, headers=PAGE)).status_code == 404
    house.clock.shift = timedelta(days=15)
    assert (await request_.asked.get(request_.path, headers=PAGE)).status_code == 404
    assert (await request_.send(**SIGNED)).status_code == 404
