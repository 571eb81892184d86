"""Reports of images by anybody, and what administrators see and do."""

import asyncio
import hashlib
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import pytest
from psycopg.errors import InsufficientPrivilege
from tests.factories.people import MakeUser

from visiona.bootstrap import App
from visiona.core.errors import Conflict, Invalid, NotFound
from visiona.db.actor import AdminActor, Anonymous, UserActor
from visiona.db.pool import Connection, Database
from visiona.ports.storage import ObjectMissing
from visiona.safety.model import CaseNumber, ReportedThing, ReportReason, read_reported

PIXELS = b"the bytes of a picture"


@dataclass(frozen=True)
class Picture:
    """Somebody's image, with objects in the store."""

    actor: UserActor
    id: int
    key: str
    thumbnail: str
    digest: str


@pytest.fixture
async def picture(app: App, owner: Connection, make_user: MakeUser, tmp_path: Any) -> Picture:
    actor = await make_user()
    cipher = await app.vault.cipher(actor.user_id)
    content = PIXELS + uuid.uuid4().bytes
    digest = hashlib.sha256(content).hexdigest()
    file = tmp_path / "picture"
    await asyncio.to_thread(file.write_bytes, content)
    keys = [f"u{actor.user_id}/images/{uuid.uuid4().hex}.webp" for _ in range(2)]
    await app.objects.put(actor, dict.fromkeys(keys, file))
    prompt = cipher.seal("runs.prompt", "TOK"), cipher.seal("generations.prompt", "TOK")
    cursor = await owner.execute(
        """with model as (
             insert into models (user_id, trigger_word, parameters, photo_count, status, version,
               input_schema)
             values (%(user)s, %(word)s, %(parameters)s, 1, 'Ready', 'v' || %(user)s, '{}') returning id),
           run as (
             insert into runs (user_id, model_id, version, trigger_word, prompt, enhance, inputs, num_outputs,
               state, quota_period, finished_at)
             select %(user)s, id, 'v', %(run_word)s, %(prompt)s, false, %(inputs)s, 1, 'succeeded', now(),
               now()
             from model returning id, model_id)
           insert into generations (user_id, model_id, run_id, position, prompt, image_url, thumbnail_url,
             content_type, width, height, size, sha256, parameters)
           select %(user)s, model_id, id, 0, %(own_prompt)s, %(image)s, %(thumbnail)s, 'image/webp', 8, 8, 1,
             %(digest)s, %(own_parameters)s from run returning id""",
        {
            "user": actor.user_id,
            "word": cipher.seal("models.trigger_word", "TOK"),
            "parameters": cipher.seal("models.parameters", "{}"),
            "run_word": cipher.seal("runs.trigger_word", "TOK"),
            "prompt": prompt[0],
            "inputs": cipher.seal("runs.inputs", "{}"),
            "own_prompt": prompt[1],
            "image": keys[0],
            "thumbnail": keys[1],
            "digest": digest,
            "own_parameters": cipher.seal("generations.parameters", "{}"),
        },
    )
    row = await cursor.fetchone()
    assert row is not None
    return Picture(actor, row[0], keys[0], keys[1], digest)


@pytest.fixture
async def admin(owner: Connection, make_user: MakeUser) -> AdminActor:
    actor = await make_user()
    await owner.execute("update users set role = 'admin' where id = %s", [actor.user_id])
    return AdminActor(actor.user_id, actor.subject)


async def content_of(app: App, key: str) -> bytes:
    return b"".join([piece async for piece in (await app.objects.open(key)).body])


async def report_id(owner: Connection, number: CaseNumber) -> int:
    cursor = await owner.execute("select id from reports where case_hash = %s", [number.digest])
    row = await cursor.fetchone()
    assert row is not None
    return row[0]


async def acts_on(owner: Connection, picture: Picture) -> list[str]:
    cursor = await owner.execute(
        "select action from audit_logs where user_id = %s and action like 'admin.%%' order by id",
        [picture.actor.user_id],
    )
    return [row[0] for row in await cursor.fetchall()]


@pytest.mark.parametrize("way", ["link", "old link", "thumbnail", "file"])
async def test_an_image_is_taken_down_with_its_copies(
    app: App, worker_app: App, owner: Connection, picture: Picture, admin: AdminActor, way: str
) -> None:
    quoted = {
        "link": f"https://visiona.example{await app.objects.link(picture.key)}",
        "old link": f"/media/{picture.key}?expires=1&signature=00",
        "thumbnail": await app.objects.link(picture.thumbnail),
        "file": picture.digest.upper(),
    }[way]
    reports = app.safety.reports
    number = await reports.report(read_reported(quoted), ReportReason.NOT_CONSENTED)
    twin = await reports.report(ReportedThing(digest=picture.digest), ReportReason.OTHER)
    state = await reports.state(number)
    assert (state.state, state.due_at - state.created_at) == ("open", timedelta(hours=48))
    wanted = await report_id(owner, number)
    assert wanted in [one.id for one in await reports.waiting(admin, 1000)]

    seen = await reports.look(admin, wanted)
    assert (seen.image_key, seen.thumbnail_key, seen.others) == (picture.key, picture.thumbnail, 1)
    await reports.take_down(admin, wanted)
    cursor = await owner.execute("select count(*) from generations where id = %s", [picture.id])
    assert await cursor.fetchone() == (0,)
    await worker_app.safety.reports.finish_takedown(wanted)
    await worker_app.safety.reports.finish_takedown(wanted)  # jobs may come twice
    for key in (picture.key, picture.thumbnail):
        with pytest.raises(ObjectMissing):
            await content_of(app, key)
    cursor = await owner.execute(
        "select kind from mails where user_id = %s and kind = 'image_taken_down'", [picture.actor.user_id]
    )
    assert await cursor.fetchall() == [("image_taken_down",)]
    assert await acts_on(owner, picture) == ["admin.report_viewed", "admin.image_taken_down"]
    assert [(await reports.state(one)).state for one in (number, twin)] == ["taken_down", "taken_down"]
    with pytest.raises(Conflict):
        await reports.take_down(admin, wanted)
    cursor = await owner.execute("select object_keys from reports where id = %s", [wanted])
    assert await cursor.fetchone() == (None,)


async def test_a_dismissed_report_leaves_the_image(
    app: App, owner: Connection, picture: Picture, admin: AdminActor
) -> None:
    number = await app.safety.reports.report(ReportedThing(object_key=picture.key), ReportReason.OTHER)
    wanted = await report_id(owner, number)
    await app.safety.reports.dismiss(admin, wanted)
    assert (await app.safety.reports.state(number)).state == "dismissed"
    with pytest.raises(Conflict):
        await app.safety.reports.look(admin, wanted)
    cursor = await owner.execute("select count(*) from generations where id = %s", [picture.id])
    assert await cursor.fetchone() == (1,)
    assert wanted in [one.id for one in await app.safety.reports.decided(admin, 100)]


async def test_an_image_that_its_owner_deletes_needs_no_decision(
    app: App, owner: Connection, picture: Picture, admin: AdminActor
) -> None:
    number = await app.safety.reports.report(ReportedThing(object_key=picture.key), ReportReason.OTHER)
    wanted = await report_id(owner, number)
    await app.gallery.delete(picture.actor, [picture.id])
    assert (await app.safety.reports.state(number)).state == "gone"
    assert wanted not in [one.id for one in await app.safety.reports.waiting(admin, 1000)]


async def test_nobody_else_looks_or_decides(
    app: App, owner: Connection, picture: Picture, make_user: MakeUser
) -> None:
    number = await app.safety.reports.report(ReportedThing(object_key=picture.key), ReportReason.OTHER)
    wanted = await report_id(owner, number)
    somebody = await make_user()
    pretender = AdminActor(somebody.user_id, somebody.subject)
    assert await app.safety.reports.waiting(pretender, 100) == []
    with pytest.raises(Conflict):
        await app.safety.reports.look(pretender, wanted)
    with pytest.raises(InsufficientPrivilege):
        await app.safety.reports.dismiss(pretender, wanted)
    with pytest.raises(InsufficientPrivilege):
        await app.safety.reports.take_down(pretender, wanted)
    assert await acts_on(owner, picture) == []


async def test_an_administrator_sees_nothing_without_a_look_on_record(
    app: App, database: Database, owner: Connection, picture: Picture, admin: AdminActor
) -> None:
    """Whoever rolls the look back has seen nothing; nor is another report's look enough."""
    number = await app.safety.reports.report(ReportedThing(object_key=picture.key), ReportReason.OTHER)
    other = await app.safety.reports.report(ReportedThing(object_key=picture.key), ReportReason.OTHER)
    wanted = await report_id(owner, number)
    await app.safety.reports.look(admin, await report_id(owner, other))
    async with database.transaction(admin) as connection:
        for looks in (False, True):
            if looks:
                await connection.execute("select visiona.look_at_report(%s)", [wanted])
            cursor = await connection.execute("select * from visiona.reported_image(%s)", [wanted])
            assert await cursor.fetchall() == []


async def test_a_report_is_of_the_image_that_the_transaction_proves(
    database: Database, picture: Picture
) -> None:
    with pytest.raises(InsufficientPrivilege):
        async with database.transaction(Anonymous(looks_up="another")) as connection:
            await connection.execute(
                "select visiona.report_image(%s, null, 'other', sha256('x'))", [picture.key]
            )


@pytest.mark.parametrize(
    "quoted",
    ["", "x", "https://visiona.example/gallery", "/media/../u1/images/x", "/media/u1x/images/a", "0" * 63],
)
def test_what_names_no_image(quoted: str) -> None:
    with pytest.raises(Invalid):
        read_reported(quoted)


@pytest.mark.parametrize("text", ["", "AAAAA", "AAAAA-BBBBB-CCCCC-DDDD", "A" * 21])
def test_what_is_no_case_number(text: str) -> None:
    with pytest.raises(NotFound):
        CaseNumber.read(text)


def test_case_numbers_are_read_as_people_write_them() -> None:
    number = CaseNumber.fresh()
    assert CaseNumber.read(f" {number.text.lower().replace('-', ' ')} ") == number
    assert number.text not in repr(number)
    assert len({CaseNumber.fresh().text for _ in range(100)}) == 100


# Over HTTP


async def test_over_http(anybody: httpx.AsyncClient, picture: Picture) -> None:
    unknown = await anybody.post("/api/reports", json={"image": "0" * 64, "reason": "other"})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "image_unknown")
    wrong = await anybody.post("/api/reports", json={"image": picture.digest, "reason": "because"})
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "reason")
    made = await anybody.post("/api/reports", json={"image": picture.digest, "reason": "minor"})
    assert made.status_code == 201
    case = made.json()["case"]
    assert (await anybody.get(f"/api/reports/{case.lower()}")).json()["state"] == "open"
    missing = await anybody.get(f"/api/reports/{CaseNumber.fresh().text}")
    assert (missing.status_code, missing.json()["code"]) == (404, "case_not_found")


async def test_the_page_takes_the_file_itself(anybody: httpx.AsyncClient, app: App, picture: Picture) -> None:
    content = await content_of(app, picture.key)
    sent = {"reason": (None, "nudity"), "link": (None, ""), "image": ("mine.webp", content, "image/webp")}
    answer = await anybody.post("/report", files=sent)
    assert answer.status_code == 200
    assert 'data-state="open"' in answer.text
    changed = await anybody.post("/report", files=sent | {"image": ("x.webp", content + b"!", "image/webp")})
    assert changed.status_code == 404
    assert "Visiona keeps no such image" in changed.text
    nothing = await anybody.post("/report", files={"reason": (None, "other"), "link": (None, "")})
    assert nothing.status_code == 422


async def test_an_administrator_decides_on_the_pages(
    anybody: httpx.AsyncClient, app: App, owner: Connection, picture: Picture
) -> None:
    number = await app.safety.reports.report(ReportedThing(object_key=picture.key), ReportReason.MINOR)
    wanted = await report_id(owner, number)
    email = f"{uuid.uuid4().hex}@example.com"
    signed_up = await anybody.post(
        "/api/auth/signup", json={"email": email, "password": "a quiet blue harbour"}
    )
    browser = {"origin": str(anybody.base_url), "accept": "text/html"}
    assert (await anybody.get("/admin/reports", headers=browser)).status_code == 404
    await owner.execute("update users set role = 'admin' where id = %s", [signed_up.json()["user"]["id"]])

    listed = await anybody.get("/admin/reports", headers=browser)
    assert f'href="/admin/reports/{wanted}"' in listed.text
    assert picture.key not in listed.text
    shown = await anybody.get(f"/admin/reports/{wanted}", headers=browser)
    assert picture.key in shown.text
    assert f"/admin/users/{picture.actor.user_id}/suspend" in shown.text
    taken = await anybody.post(f"/admin/reports/{wanted}/take-down", headers=browser)
    assert (taken.status_code, taken.headers["location"]) == (303, "/admin/reports?done=taken_down")
    assert (await anybody.post(f"/admin/reports/{wanted}/dismiss", headers=browser)).status_code == 409
    over_api = (await anybody.get("/api/admin/reports", headers=browser)).json()
    assert {"id": wanted, "state": "taken_down"}.items() <= over_api["decided"][0].items()
    anybody.cookies.clear()
