"""What Clerk tells us, in whatever order and however often, and what others would like to tell us."""

import base64
import itertools
import json
import logging
import secrets
from datetime import timedelta
from typing import Any

import pytest
from standardwebhooks import Webhook as StandardWebhook
from tests.accounts.house import House, house_settings
from tests.sandbox.clerk.conftest import PASSWORD, WEBHOOK_SECRET

from visiona.bootstrap import build
from visiona.core.errors import Unauthenticated
from visiona.settings import CLERK_WEBHOOK_PATH, REPLICATE_WEBHOOK_PATH, STRIPE_WEBHOOK_PATH

KINDS = ("user.created", "user.updated", "user.updated", "user.deleted")
ORDERS = sorted(set(itertools.permutations(KINDS)))


def new_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()


@pytest.fixture
def house(clerk_house: House) -> House:
    return clerk_house


async def receipts(house: House) -> list[tuple[Any, ...]]:
    return await house.rows(
        "select external_id, topic, reference from webhook_receipts where provider = 'clerk' order by id"
    )


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: "-".join(kind[5] for kind in order))
@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
async def test_who_was_deleted_is_gone_in_every_order(
    house: House, order: tuple[str, ...], known: bool
) -> None:
    person = house.person()
    if known:
        await house.sign_in_hosted(person, PASSWORD)
    house.there.api.delete(f"/users/{person['id']}")

    for number, kind in enumerate(order):
        for _ in range(2):
            data = {"id": person["id"], "object": "user"}
            answer = await house.hear(kind, data, message_id=f"msg_{person['id']}_{number}")
            assert answer.status_code == 204
        await house.run_jobs()

    found = await house.user_of(person["id"])
    if not known:
        assert found is None
        return
    assert found is not None
    assert found[1:] == (None, False, "deleted", False)
    assert (await house.actions(found[0])).count("account.deleted") == 1
    alive = await house.rows("select 1 from sessions where user_id = %s and revoked_at is null", found[0])
    assert alive == []


@pytest.mark.parametrize(
    "order", sorted(set(itertools.permutations(("user.created", "user.updated", "user.banned")))), ids=str
)
@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "one by one"])
async def test_who_was_changed_is_as_they_are_now(
    house: House, order: tuple[str, ...], at_once: bool
) -> None:
    person = house.person()
    body = {
        "user_id": person["id"],
        "email_address": f"now-{person['id'].lower()}@example.com",
        "verified": True,
        "primary": True,
    }
    house.there.api.post("/email_addresses", json=body)
    house.there.api.post(f"/users/{person['id']}/ban")
    for kind in order * 2:
        await house.hear(kind, {"id": person["id"]}, message_id=f"msg_{person['id']}_{kind}")
        if not at_once:
            await house.run_jobs()
    await house.run_jobs()

    found = await house.user_of(person["id"])
    assert found is not None
    assert found[1:] == (body["email_address"], True, "active", True)
    assert await house.actions(found[0]) == ["account.created"]


async def test_sessions_among_it(house: House) -> None:
    person = house.person()
    browser = await house.sign_in_hosted(person, PASSWORD)
    [there] = house.there.api.get("/sessions", params={"user_id": person["id"]}).json()
    kinds = ("session.created", "session.pending", "session.ended", "session.removed", "session.revoked")
    for kind in kinds:
        await house.hear(kind, {"id": there["id"], "user_id": person["id"]})
        await house.run_jobs()
    assert (await browser.get("/api/auth/me")).status_code == 200
    house.there.api.delete(f"/users/{person['id']}")
    for kind in reversed(kinds):
        await house.hear(kind, {"id": there["id"], "user_id": person["id"]})
    await house.hear("user.deleted", {"id": person["id"], "deleted": True})
    await house.run_jobs()
    assert (await browser.get("/api/auth/me")).status_code == 401


async def test_what_the_sandbox_really_sends_is_read(house: House) -> None:
    """The bodies are Clerk's own objects; of their contents nothing is kept."""
    person = house.person(first_name="Augusta")
    assert (await house.hear("user.created", person)).status_code == 204
    session = house.there.session(person["id"])
    assert (await house.hear("session.created", session)).status_code == 204
    found = [row for row in await receipts(house) if row[2].get("subject") == person["id"]]
    assert [(topic, reference) for _, topic, reference in found] == [
        ("user", {"subject": person["id"], "session_id": None}),
        ("session", {"subject": person["id"], "session_id": session["id"]}),
    ]
    text = json.dumps(found)
    assert "Augusta" not in text
    assert "example.com" not in text
    await house.run_jobs()


@pytest.mark.parametrize("kind", ["email.created", "organization.created", "sms.created", "waitlistEntry.x"])
async def test_what_is_of_no_use_is_taken_and_left(house: House, kind: str) -> None:
    answer = await house.hear(kind, {"id": "ema_1", "to_email_address": "ada@example.com"})
    assert answer.status_code == 204
    _, topic, reference = (await receipts(house))[-1]
    assert (topic, reference) == ("other", {"subject": None, "session_id": None})
    assert await house.run_jobs() == ["inbox.process"]


# Forgeries


async def test_what_was_not_signed_so_just_now_is_refused(house: House) -> None:
    person = house.person()
    before = len(await receipts(house))
    body = json.dumps({"object": "event", "type": "user.created", "data": {"id": person["id"]}})
    good = house.signed(body)
    as_standard = {
        "webhook-id": "msg_1",
        "webhook-timestamp": good["svix-timestamp"],
        "webhook-signature": StandardWebhook(new_secret()).sign("msg_1", house.clock.now(), body),
    }
    attempts: list[tuple[str, dict[str, str]]] = [
        (body, house.signed(body, secret=new_secret())),
        (body, house.signed(body, secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSx")),
        (body, as_standard),
        (body, {}),
        (body.replace("created", "deleted"), good),
        (body + " ", good),
        (json.dumps(json.loads(body), separators=(",", ":")), good),
        (body, house.signed(body, age_s=301)),
        (body, house.signed(body, age_s=-302)),
        (body, house.signed(body, age_s=4 * 86_400)),
        (body, good | {"svix-id": "msg_another"}),
        (body, good | {"svix-timestamp": str(int(good["svix-timestamp"]) + 1)}),
        (body, good | {"svix-signature": good["svix-signature"].replace("v1,", "v2,")}),
        (body, good | {"svix-signature": ""}),
        (body, {name.replace("svix", "webhook"): value for name, value in as_standard.items()}),
    ]
    for text, headers in attempts:
        answer = await house.web.post(CLERK_WEBHOOK_PATH, content=text, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "invalid_signature"), headers
    for path in (REPLICATE_WEBHOOK_PATH + "?user=1&id=1&topic=training", STRIPE_WEBHOOK_PATH):
        answer = await house.web.post(path, content=body, headers=good)
        assert answer.status_code in {401, 503}, path
    assert len(await receipts(house)) == before
    assert await house.waiting_jobs() == []
    assert await house.user_of(person["id"]) is None


@pytest.mark.parametrize("age_s", [-295, 295])
async def test_clocks_may_differ_by_some_minutes(house: House, age_s: int) -> None:
    answer = await house.hear("user.updated", {"id": house.person()["id"]}, age_s=age_s)
    assert answer.status_code == 204


async def test_the_other_names_of_the_headers_are_understood(house: House) -> None:
    body = json.dumps({"object": "event", "type": "user.created", "data": {"id": house.person()["id"]}})
    headers = {name.replace("svix", "webhook"): value for name, value in house.signed(body).items()}
    assert (await house.web.post(CLERK_WEBHOOK_PATH, content=body, headers=headers)).status_code == 204


async def test_an_event_that_comes_again_after_four_days_does_nothing(house: House) -> None:
    person = house.person()
    await house.hear("user.created", {"id": person["id"]}, message_id="msg_again")
    await house.run_jobs()
    before = await receipts(house)
    await house.rows("update webhook_receipts set received_at = received_at - interval '4 days'")
    await house.worker.inbox.purge()
    house.clock.shift += timedelta(days=4)

    again = await house.hear("user.created", {"id": person["id"]}, message_id="msg_again")

    assert again.status_code == 204
    assert await receipts(house) == before
    assert await house.waiting_jobs() == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"object": "event", "type": "user.created", "data": {}}',
        b'{"object": "event", "type": "user.created", "data": {"id": "user_1/../../x"}}',
        b'{"object": "event", "type": "session.ended", "data": {"id": "sess_1", "user_id": 7}}',
        b'{"object": "user", "type": "user.created", "data": {"id": "user_1"}}',
        b'{"object": "event", "type": "user\\u0000", "data": {"id": "user_1"}}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
    ids=range(10),
)
async def test_what_is_signed_and_no_event_is_told_so(house: House, body: bytes) -> None:
    before = await receipts(house)
    at = house.clock.now()
    signature = StandardWebhook(WEBHOOK_SECRET)
    text = body.decode("latin-1")
    if not body.isascii():
        answer = await house.web.post(CLERK_WEBHOOK_PATH, content=body, headers=house.signed(text))
        assert answer.status_code == 401
    else:
        headers = {
            "svix-id": f"msg_{secrets.token_hex(8)}",
            "svix-timestamp": str(int(at.timestamp())),
        }
        headers["svix-signature"] = signature.sign(headers["svix-id"], at, text)
        answer = await house.web.post(CLERK_WEBHOOK_PATH, content=body, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (422, "unreadable_webhook")
    assert await receipts(house) == before


async def test_two_secrets_count_while_one_replaces_the_other(house: House) -> None:
    old, new = WEBHOOK_SECRET, new_secret()
    settings = house_settings(
        house.app.settings.database_url or "",
        house.app.settings.data_dir,
        house.there,
        None,
        clerk_webhook_secret=(new, old),
    )
    app = build(settings, "app", house.clock)
    body = json.dumps({"object": "event", "type": "user.created", "data": {"id": "user_1"}})
    for secret in (old, new):
        receipt = await app.read_clerk_webhook(house.signed(body, secret=secret), body.encode(), {})
        assert receipt.reference["subject"] == "user_1"
    with pytest.raises(Unauthenticated):
        await app.read_clerk_webhook(house.signed(body, secret=new_secret()), body.encode(), {})
    without = build(
        house_settings(
            settings.database_url or "", settings.data_dir, house.there, None, clerk_webhook_secret=()
        ),
        "app",
        house.clock,
    )
    with pytest.raises(Unauthenticated):
        await without.read_clerk_webhook(house.signed(body), body.encode(), {})
    for one in (app, without):
        await one.close()


async def test_an_outage_loses_no_news(house: House, caplog: pytest.LogCaptureFixture) -> None:
    person = house.person()
    house.there.fault("server_error", times=None, path="/v1/users/*")
    caplog.set_level(logging.DEBUG)
    assert (await house.hear("user.created", {"id": person["id"]})).status_code == 204
    assert await house.run_jobs() == []
    assert await house.user_of(person["id"]) is None
    house.there.raw.delete("/_sandbox/faults")
    assert await house.run_jobs() == ["inbox.process"]
    assert await house.user_of(person["id"]) is not None
    assert person["email_addresses"][0]["email_address"] not in caplog.text
