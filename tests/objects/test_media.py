"""Signed links over HTTP: wholes and ranges, what is cached, and what a browser shows of an old one."""

import random
from datetime import timedelta

import httpx
import pytest
from tests.factories.people import MakeUser
from tests.objects.conftest import PutBytes

from visiona.core.clock import FixedClock
from visiona.db.actor import UserActor
from visiona.objects.model import LINK_TTL_S
from visiona.objects.service import ObjectService
from visiona.vault.service import Vault
from visiona.vault.stream import SEGMENT_BYTES, START_BYTES

FIRST = SEGMENT_BYTES - 56  # plain bytes in the first segment; the others hold 16 less than their size
OTHER = SEGMENT_BYTES - 16

PAGE = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


@pytest.fixture(scope="module")
def picture() -> bytes:
    """Five segments, the last of them short; no two places are alike."""
    return random.Random(1).randbytes(FIRST + 3 * OTHER + 12_345)


@pytest.fixture(scope="module")
async def link(sealed: ObjectService, put_bytes: PutBytes, picture: bytes) -> str:
    return await sealed.link(await put_bytes(picture))


async def test_the_whole(web: httpx.AsyncClient, link: str, picture: bytes) -> None:
    answer = await web.get(link)
    assert (answer.status_code, answer.content) == (200, picture)
    headers = answer.headers
    assert headers["content-length"] == str(len(picture))
    assert headers["content-type"] == "image/webp"
    assert headers["content-disposition"] == "inline"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["accept-ranges"] == "bytes"
    assert headers["cache-control"].startswith("private, max-age=")
    assert 150 <= int(headers["cache-control"].split("=")[1].split(",")[0]) <= LINK_TTL_S
    assert "default-src 'self'; img-src 'self' blob: data:;" in headers["content-security-policy"]


@pytest.mark.parametrize("size", [0, 1, FIRST - 1, FIRST, FIRST + 1, FIRST + OTHER, FIRST + 4 * OTHER + 1])
async def test_every_size(
    web: httpx.AsyncClient, sealed: ObjectService, put_bytes: PutBytes, size: int
) -> None:
    data = random.Random(size).randbytes(size)
    answer = await web.get(await sealed.link(await put_bytes(data)))
    assert (answer.status_code, answer.content) == (200, data)
    assert answer.headers["content-length"] == str(size)


async def test_head_tells_the_same_and_sends_nothing(web: httpx.AsyncClient, link: str) -> None:
    whole, head = await web.get(link), await web.head(link, headers={"Range": "bytes=0-9"})
    assert (head.status_code, head.content) == (200, b"")
    names = set(whole.headers) - {"date", "x-request-id"}
    assert {name: head.headers.get(name) for name in names} == {name: whole.headers[name] for name in names}
    assert (await web.head(link.replace("expires=", "expires=9"))).status_code == 404


EDGES = [0, FIRST, FIRST + OTHER, FIRST + 3 * OTHER, FIRST + 3 * OTHER + 12_345]


@pytest.mark.parametrize("edge", EDGES)
async def test_ranges_around_the_edges_of_segments(
    web: httpx.AsyncClient, link: str, picture: bytes, edge: int
) -> None:
    for first in {max(0, min(edge + step, len(picture) - 1)) for step in (-17, -1, 0, 1, 16)}:
        for length in (1, 2, 17, OTHER, OTHER + 1, len(picture)):
            answer = await web.get(link, headers={"Range": f"bytes={first}-{first + length - 1}"})
            last = min(first + length, len(picture)) - 1
            assert (answer.status_code, answer.content) == (206, picture[first : last + 1])
            assert answer.headers["content-range"] == f"bytes {first}-{last}/{len(picture)}"
            assert answer.headers["content-length"] == str(last - first + 1)


async def test_ranges_anywhere(web: httpx.AsyncClient, link: str, picture: bytes) -> None:
    dice = random.Random(2)
    for _ in range(60):
        first = dice.randrange(len(picture))
        last = dice.randrange(first, len(picture))
        answer = await web.get(link, headers={"Range": f"bytes={first}-{last}"})
        assert (answer.status_code, answer.content) == (206, picture[first : last + 1])


@pytest.mark.parametrize(
    "wanted", ["0-", "1-", "70000-", "-1", "-70000", "-99999999", "0-999999999999999999"]
)
async def test_open_ends(web: httpx.AsyncClient, link: str, picture: bytes, wanted: str) -> None:
    answer = await web.get(link, headers={"Range": f"bytes={wanted}"})
    start, _, end = wanted.partition("-")
    expected = picture[int(start) :] if start else picture[-int(end) :]
    assert (answer.status_code, answer.content) == (206, expected)


async def test_ranges_behind_the_end(web: httpx.AsyncClient, link: str, picture: bytes) -> None:
    for wanted in (f"{len(picture)}-", f"{len(picture)}-{len(picture) + 5}", "999999999999999999-", "-0"):
        answer = await web.get(link, headers={"Range": f"bytes={wanted}"})
        assert (answer.status_code, answer.json()["code"]) == (416, "range_not_satisfiable")
        assert answer.headers["content-range"] == f"bytes */{len(picture)}"


@pytest.mark.parametrize(
    "wanted",
    ["bytes=5-2", "bytes=0-1,5-6", "bytes=", "bytes=-", "bytes=a-b", "lines=1-2", "bytes=0x1-2", "٣"],
)
async def test_what_is_no_single_range_is_answered_whole(
    web: httpx.AsyncClient, link: str, picture: bytes, wanted: str
) -> None:
    answer = await web.get(link, headers={"Range": wanted.encode()})
    assert (answer.status_code, answer.content) == (200, picture)


async def test_a_download_goes_on_where_it_broke_off(
    web: httpx.AsyncClient, link: str, picture: bytes
) -> None:
    etag = (await web.head(link)).headers["etag"]
    assert not etag.startswith("W/")
    rest = await web.get(link, headers={"Range": "bytes=100000-", "If-Range": etag})
    assert (rest.status_code, rest.content) == (206, picture[100_000:])
    assert rest.headers["etag"] == etag
    for other in ('"another"', f"W/{etag}", "Fri, 01 May 2026 12:00:00 GMT"):
        whole = await web.get(link, headers={"Range": "bytes=100000-", "If-Range": other})
        assert (whole.status_code, whole.content) == (200, picture)


async def test_only_the_segments_of_a_range_are_read(
    sealed: ObjectService, web: httpx.AsyncClient, link: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, asked = sealed._objects, []
    opened = store.open

    async def spy(key: str, byte_range: tuple[int, int] | None = None) -> object:
        asked.append(byte_range)
        return await opened(key, byte_range)

    monkeypatch.setattr(store, "open", spy)
    await web.get(link)
    assert asked == [None]  # a thumbnail costs one read, too
    asked.clear()
    await web.get(link, headers={"Range": f"bytes={FIRST + OTHER}-{FIRST + OTHER + 5}"})
    assert (0, START_BYTES) in asked
    assert asked[-1][1] - asked[-1][0] == SEGMENT_BYTES
    assert all(one[1] - one[0] in {START_BYTES, SEGMENT_BYTES} for one in asked)


async def test_an_old_link_is_a_page_for_a_browser_and_a_problem_for_a_program(
    web: httpx.AsyncClient, link: str, now: FixedClock
) -> None:
    now.instant += timedelta(seconds=LINK_TTL_S)
    try:
        page, problem = await web.get(link, headers=PAGE), await web.get(link, headers={"Accept": "image/*"})
    finally:
        now.instant -= timedelta(seconds=LINK_TTL_S)
    assert (page.status_code, problem.status_code) == (404, 404)
    assert page.headers["content-type"].startswith("text/html")
    assert "This link has expired. Open the picture again from the page that it was on." in page.text
    assert "no-store" in page.headers["cache-control"]
    assert problem.json()["code"] == "link_expired"
    assert "no-store" in problem.headers["cache-control"]


async def test_a_destroyed_key_answers_as_what_does_not_exist(
    web: httpx.AsyncClient, sealed: ObjectService, vault: Vault, put_bytes: PutBytes, make_user: MakeUser
) -> None:
    person: UserActor = await make_user()
    gone, destroyed = await put_bytes(b"a face", actor=person), await put_bytes(b"a face", actor=person)
    await sealed.delete([gone])
    await vault.destroy(person.user_id)
    for headers in ({}, PAGE, {"Range": "bytes=0-1"}, {"Range": "bytes=9-"}):
        answers = [await web.get(await sealed.link(key), headers=headers) for key in (gone, destroyed)]
        assert [answer.status_code for answer in answers] == [404, 404]
        texts = [answer.text.replace(answer.headers["x-request-id"], "") for answer in answers]
        assert texts[0].replace(gone, "") == texts[1].replace(destroyed, "")
