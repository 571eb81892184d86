"""People whom Clerk keeps: how they come in, what becomes of them when they change there, and how they go."""

import asyncio
import time
from typing import Any

import httpx
import pytest
from tests.accounts.house import ORIGIN, House
from tests.factories.people import add_user
from tests.sandbox.clerk.conftest import PASSWORD

from visiona.accounts import store
from visiona.adapters.clerk.identity import ClerkIdentity
from visiona.core.client import ClientInfo
from visiona.db.actor import Anonymous, SystemActor
from visiona.entrypoints.web import hosted
from visiona.passwords.service import make_key
from visiona.ports.identity import AccountBarred, HostedSignInNeeded, Profile
from visiona.vault.model import Cipher

Person = dict[str, Any]
SOMEWHERE = ClientInfo("10.1.2.3", "test")
# A change that wants a fresh session.
CHANGE = "/api/keys"


@pytest.fixture
def house(clerk_house: House) -> House:
    return clerk_house


@pytest.fixture
def ada(house: House) -> Person:
    return house.person()


def address(person: Person) -> str:
    return person["email_addresses"][0]["email_address"]


async def status_of(house: House, headers: dict[str, str]) -> tuple[int, str]:
    answer = await house.web.get("/api/auth/me", headers=headers)
    return answer.status_code, answer.json().get("code", "")


async def news(house: House, person: Person, kind: str = "updated") -> None:
    assert (await house.hear(f"user.{kind}", {"id": person["id"]})).status_code == 204
    assert await house.run_jobs() == ["inbox.process"]


def change_address(house: House, person: Person, new: str, *, verified: bool = True) -> None:
    """As on the account page: the new one becomes primary, and the one before goes."""
    api = house.there.api
    body = {"user_id": person["id"], "email_address": new, "verified": verified, "primary": True}
    old = api.get(f"/users/{person['id']}").json()["primary_email_address_id"]
    assert (answer := api.post("/email_addresses", json=body)).status_code == 200, answer.text
    assert api.delete(f"/email_addresses/{old}").status_code == 200


# Coming in


async def test_the_first_token_makes_the_row(house: House, ada: Person) -> None:
    session = house.there.session(ada["id"])

    answer = await house.web.get("/api/auth/me", headers=house.token(session["id"]))

    assert answer.status_code == 200, answer.text
    assert answer.json()["email"] == address(ada)
    user_id, *rest = await house.user_of(ada["id"]) or ()
    assert rest == [address(ada), True, "active", False]
    assert await house.actions(user_id) == ["account.created"]


async def test_the_webhook_makes_the_row(house: House, ada: Person) -> None:
    await news(house, ada, "created")

    found = await house.user_of(ada["id"])
    assert found is not None
    assert await house.actions(found[0]) == ["account.created"]


async def test_everything_at_once_makes_one_row(house: House, ada: Person) -> None:
    session = house.there.session(ada["id"])
    headers = house.token(session["id"])
    for _ in range(3):
        await house.hear("user.created", {"id": ada["id"]})

    *statuses, _ = await asyncio.gather(
        *(status_of(house, headers) for _ in range(10)), house.run_jobs(), return_exceptions=True
    )

    assert statuses == [(200, "")] * 10
    [(count,)] = await house.rows("select count(*) from users where clerk_id = %s", ada["id"])
    assert count == 1
    found = await house.user_of(ada["id"])
    assert await house.actions(found[0] if found else 0) == ["account.created"]


async def test_signing_in_on_the_hosted_page(house: House, ada: Person) -> None:
    browser = await house.sign_in_hosted(ada, PASSWORD)

    assert (await browser.get("/api/auth/me")).json()["email"] == address(ada)
    [session] = (await browser.get("/api/account/sessions")).json()["items"]
    assert session["current"]
    [there] = house.there.api.get("/sessions", params={"user_id": ada["id"]}).json()
    [(hangs_on,)] = await house.rows("select provider_session_id from sessions where id = %s", session["id"])
    assert hangs_on == there["id"]
    fresh = await browser.post(CHANGE, json={"name": "k", "scopes": ["account:read"]})
    assert fresh.status_code == 201, fresh.text


async def test_who_was_signed_in_there_for_long_has_shown_nothing_now(house: House, ada: Person) -> None:
    """A browser that somebody left open gets a session, and no more."""
    first = await house.sign_in_hosted(ada, PASSWORD)
    [there] = house.there.api.get("/sessions", params={"user_id": ada["id"]}).json()
    await first.post("/api/account/sessions/end-others")
    client = await house.app.accounts.log_in_hosted(
        house.there.mint(there["id"], azp=ORIGIN, claims={"fva": [20, -1]})["jwt"], SOMEWHERE
    )
    headers = {"authorization": f"Bearer {client.access_token.token}"}

    refused = await house.web.post(CHANGE, headers=headers, json={"name": "k", "scopes": ["account:read"]})
    assert (refused.status_code, refused.json()["code"]) == (403, "confirmation_required")
    wrong = await house.web.post("/api/auth/confirm", headers=headers, json={"password": "not it at all"})
    assert (wrong.status_code, wrong.json()["code"]) == (401, "invalid_credentials")
    right = await house.web.post("/api/auth/confirm", headers=headers, json={"password": PASSWORD})
    assert right.status_code == 204, right.text
    made = await house.web.post(CHANGE, headers=headers, json={"name": "k", "scopes": ["account:read"]})
    assert made.status_code == 201, made.text


async def test_tokens_of_clerks_are_as_fresh_as_they_say(house: House, ada: Person) -> None:
    session = house.there.session(ada["id"])
    body = {"name": "k", "scopes": ["account:read"]}

    old = await house.web.post(
        CHANGE, headers=house.token(session["id"], claims={"fva": [15, -1]}), json=body
    )
    never = await house.web.post(CHANGE, headers=house.token(session["id"]), json=body)
    fresh = await house.web.post(
        CHANGE, headers=house.token(session["id"], claims={"fva": [15, 2]}), json=body
    )

    assert [old.json()["code"], never.json()["code"]] == ["confirmation_required"] * 2
    assert fresh.status_code == 201, fresh.text
    for path in ("refresh", "confirm"):
        answer = await house.web.post(
            f"/api/auth/{path}", headers=house.token(session["id"]), json={"password": PASSWORD}
        )
        assert (answer.status_code, answer.json()["code"]) == (409, "session_elsewhere")


async def test_signing_up_and_logging_in_by_password(house: House) -> None:
    email = f"api-{time.monotonic_ns()}@example.com"
    body = {"email": email, "password": "a quiet blue harbour"}
    made = await house.browser().post("/api/auth/signup", json=body)
    assert made.status_code == 201, made.text
    headers = {"authorization": f"Bearer {made.json()['access_token']}"}
    assert (await house.web.get("/api/auth/me", headers=headers)).json()["email"] == email
    [(verified,)] = await house.rows(
        "select email_verified_at from users where email_index = %s", house.index(email)
    )
    assert verified is None

    again = await house.browser().post("/api/auth/login", json=body)
    assert again.status_code == 200
    wrong = await house.browser().post("/api/auth/login", json=body | {"password": "not it at all"})
    unknown = await house.browser().post("/api/auth/login", json=body | {"email": "x" + email})
    assert (wrong.status_code, wrong.json()["code"]) == (401, "invalid_credentials")
    assert wrong.json()["detail"] == unknown.json()["detail"]


# Changing


async def test_an_address_is_changed(house: House, ada: Person) -> None:
    await news(house, ada)
    change_address(house, ada, f"new-{address(ada)}")
    await news(house, ada)

    found = await house.user_of(ada["id"])
    assert found is not None
    assert found[1:3] == (f"new-{address(ada)}", True)


@pytest.mark.parametrize("first", ["ada", "ben"])
async def test_two_people_swap_addresses(house: House, ada: Person, first: str) -> None:
    ben = house.person()
    for person in (ada, ben):
        await news(house, person)
    change_address(house, ada, f"aside-{address(ada)}")
    change_address(house, ben, address(ada))
    change_address(house, ada, address(ben))

    for person in (ada, ben) if first == "ada" else (ben, ada):
        await news(house, person)

    ada_now, ben_now = await house.user_of(ada["id"]), await house.user_of(ben["id"])
    assert (ada_now or ())[1:3] == (address(ben), True)
    assert (ben_now or ())[1:3] == (address(ada), True)


async def adopt(house: House, profile: Profile, cipher: Cipher | None = None) -> int | None:
    """Write down what was read of somebody, who is new unless it is for this cipher's person."""
    assert profile.email is not None
    cipher = cipher or await make_key(house.app.database, house.app.vault)
    index = house.index(profile.email)
    async with house.app.database.transaction(Anonymous(looks_up=profile.subject)) as connection:
        return await store.adopt(connection, profile, cipher, index)


async def test_news_of_somebody_new_that_come_twice_at_once_make_one_person(house: House) -> None:
    """And the key that was made for the other is destroyed."""
    for _ in range(4):
        person = house.person()
        await asyncio.gather(*(house.worker.accounts.observe_user(person["id"]) for _ in range(4)))
        found = await house.user_of(person["id"])
        assert found is not None
        assert found[1:3] == (address(person), True)
        [(last,)] = await house.rows("select last_value from users_id_seq")
        keys = await house.app.vault.ciphers(range(found[0], last + 1))
        assert found[0] in keys
        made = {user_id for (user_id,) in await house.rows("select id from users")}
        assert set(keys) <= made


async def test_what_is_sealed_for_another_is_not_written(house: House, ada: Person) -> None:
    await news(house, ada)
    known = await house.user_of(ada["id"])
    clerk = house.app.accounts.hosted
    assert known is not None
    assert clerk is not None
    change_address(house, ada, f"new-{address(ada)}")
    profile = await clerk.profile(ada["id"])
    assert profile is not None
    assert await adopt(house, profile) == known[0]
    assert await house.user_of(ada["id"]) == known


async def test_what_was_read_before_does_not_take_an_address_away(house: House, ada: Person) -> None:
    """Ada gave up her address, Ben took it; then somebody writes down what they have read of Ada before."""
    ben = house.person()
    for person in (ada, ben):
        await news(house, person)
    clerk = house.app.accounts.hosted
    assert clerk is not None
    stale = await clerk.profile(ada["id"])
    assert stale is not None
    change_address(house, ada, f"new-{address(ada)}")
    change_address(house, ben, address(ada))
    for person in (ada, ben):
        await news(house, person)

    known = await house.user_of(ada["id"])
    assert known is not None
    assert await adopt(house, stale, await house.app.vault.cipher(known[0])) == known[0]

    assert ((await house.user_of(ada["id"])) or ())[1] == f"new-{address(ada)}"
    assert ((await house.user_of(ben["id"])) or ())[1:3] == (address(ada), True)


async def test_swaps_written_at_the_same_time_do_not_stop_each_other(house: House) -> None:
    people = [house.person() for _ in range(4)]
    for person in people:
        await news(house, person)
    for person in people:
        change_address(house, person, f"aside-{address(person)}")
    for person, other in zip(people, people[1:] + people[:1], strict=True):
        change_address(house, person, address(other))

    await asyncio.gather(*(house.worker.accounts.observe_user(person["id"]) for person in people))
    for person in people:
        await house.worker.accounts.observe_user(person["id"])

    found = [((await house.user_of(person["id"])) or ())[1] for person in people]
    assert found == [address(person) for person in people[1:] + people[:1]]


async def test_an_address_that_nobody_proved_is_not_verified(house: House) -> None:
    reserved = house.person(email_address_identification_status=["reserved"])
    await news(house, reserved)
    assert ((await house.user_of(reserved["id"])) or ())[1:3] == (address(reserved), False)
    email_id = reserved["email_addresses"][0]["id"]
    house.there.api.patch(f"/email_addresses/{email_id}", json={"verified": True})
    await news(house, reserved)
    assert ((await house.user_of(reserved["id"])) or ())[2] is True


async def test_without_an_address_nobody_is_new_and_who_is_known_stays(house: House, ada: Person) -> None:
    ben = house.person()
    session, other = house.there.session(ada["id"]), house.there.session(ben["id"])
    await news(house, ada)
    for person in (ada, ben):
        email = f"/email_addresses/{person['email_addresses'][0]['id']}"
        house.there.api.patch(email, json={"verified": False})
        assert house.there.api.delete(email).status_code == 200
        assert house.there.api.get(f"/users/{person['id']}").json()["email_addresses"] == []
        await news(house, person)

    assert await status_of(house, house.token(other["id"])) == (409, "email_needed")
    assert await house.user_of(ben["id"]) is None
    assert await status_of(house, house.token(session["id"])) == (200, "")
    _, email, verified, *_ = await house.user_of(ada["id"]) or ()
    assert (email, verified) == (None, False)
    house.there.api.post(f"/users/{ada['id']}/ban")
    await news(house, ada)
    assert await status_of(house, house.token(session["id"], claims={})) == (403, "account_suspended")


async def test_the_address_of_a_built_in_account_is_nobody_elses(house: House, ada: Person) -> None:
    """It is not theirs here because they have it there; what else is said of them counts."""
    await add_user(
        house.app.database,
        vault=house.app.vault,
        subject=f"user_own{address(ada)}",
        email=address(ada),
        password_hash="none",
    )
    session = house.there.session(ada["id"])
    assert await status_of(house, house.token(session["id"])) == (409, "email_taken")

    ben = house.person()
    await news(house, ben)
    house.there.api.delete(f"/users/{ada['id']}")
    change_address(house, ben, address(ada))
    house.there.api.post(f"/users/{ben['id']}/ban")
    await news(house, ben)
    _, *rest = await house.user_of(ben["id"]) or ()
    assert rest == [None, False, "active", True]
    [(owner,)] = await house.rows(
        "select clerk_id from users where email_index = %s", house.index(address(ada))
    )
    assert owner.startswith("user_own")


# Being barred


async def test_a_ban_counts_at_once_and_ends_with_its_end(house: House, ada: Person) -> None:
    browser = await house.sign_in_hosted(ada, PASSWORD)
    session = house.there.session(ada["id"])
    headers = house.token(session["id"])
    assert await status_of(house, headers) == (200, "")

    house.there.api.post(f"/users/{ada['id']}/ban")
    await news(house, ada)
    assert await status_of(house, headers) == (403, "account_suspended")
    assert (await browser.get("/api/auth/me")).status_code == 403
    by_password = {"email": address(ada), "password": PASSWORD}
    refused = await house.browser().post("/api/auth/login", json=by_password)
    assert (refused.status_code, refused.json()["code"]) == (403, "account_suspended")

    house.there.api.post(f"/users/{ada['id']}/unban")
    await news(house, ada)
    assert (await house.browser().post("/api/auth/login", json=by_password)).status_code == 200


async def test_who_logs_in_again_is_let_in_though_the_news_were_lost(house: House, ada: Person) -> None:
    await news(house, ada)
    house.there.api.post(f"/users/{ada['id']}/ban")
    await news(house, ada)
    house.there.api.post(f"/users/{ada['id']}/unban")
    change_address(house, ada, f"new-{address(ada)}")

    changed = house.there.api.get(f"/users/{ada['id']}").json()
    await house.sign_in_hosted(changed, PASSWORD)

    assert ((await house.user_of(ada["id"])) or ())[1:] == (f"new-{address(ada)}", True, "active", False)


async def test_our_own_suspension_stays_whatever_clerk_says(house: House, ada: Person) -> None:
    session = house.there.session(ada["id"])
    await news(house, ada)
    await house.rows("update users set status = 'suspended' where clerk_id = %s", ada["id"])
    change_address(house, ada, f"new-{address(ada)}")
    await news(house, ada)
    assert await status_of(house, house.token(session["id"])) == (403, "account_suspended")


# Leaving


async def test_who_is_deleted_there_is_gone_for_good(house: House, ada: Person) -> None:
    browser = await house.sign_in_hosted(ada, PASSWORD)
    session = house.there.session(ada["id"])
    headers = house.token(session["id"], expires_in_s=600)
    assert await status_of(house, headers) == (200, "")
    user_id, *_ = await house.user_of(ada["id"]) or ()

    house.there.api.delete(f"/users/{ada['id']}")
    await news(house, ada, "deleted")

    assert await status_of(house, headers) == (401, "session_expired")
    assert (await browser.get("/api/auth/me")).status_code == 401
    for late in ("updated", "created", "deleted"):
        await news(house, ada, late)
    assert await house.user_of(ada["id"]) == (user_id, None, False, "deleted", False)
    assert (await house.actions(user_id)).count("account.deleted") == 1
    assert await status_of(house, headers) == (401, "session_expired")


async def test_who_was_never_here_does_not_come_after_leaving(house: House, ada: Person) -> None:
    session = house.there.session(ada["id"])
    headers = house.token(session["id"], expires_in_s=600)
    clerk = house.app.accounts.hosted
    assert clerk is not None
    before = await clerk.profile(ada["id"])
    assert before is not None
    house.there.api.delete(f"/users/{ada['id']}")
    await news(house, ada, "deleted")

    assert await status_of(house, headers) == (401, "session_expired")
    assert await adopt(house, before) is None
    assert await house.user_of(ada["id"]) is None


async def test_departing_and_coming_at_the_same_time_leaves_nobody(house: House) -> None:
    clerk = house.app.accounts.hosted
    assert clerk is not None
    for _ in range(8):
        person = house.person()
        profile = await clerk.profile(person["id"])
        assert profile is not None

        async def come(profile: Profile = profile) -> None:
            await adopt(house, profile)

        async def depart(subject: str = person["id"]) -> None:
            async with house.worker.database.transaction(SystemActor("identity")) as connection:
                await store.depart(connection, subject)

        await asyncio.gather(come(), depart(), come())
        found = await house.user_of(person["id"])
        assert found is None or found[3] == "deleted"


# Sessions


@pytest.mark.parametrize("end", ["revoke", "gone"])
async def test_a_session_that_ends_there_ends_here(house: House, ada: Person, end: str) -> None:
    browser = await house.sign_in_hosted(ada, PASSWORD)
    [there] = house.there.api.get("/sessions", params={"user_id": ada["id"]}).json()
    if end == "revoke":
        house.there.api.post(f"/sessions/{there['id']}/revoke")
    else:
        house.there.control("clock", advance_s=8 * 86_400)

    answer = await house.hear("session.ended", {"id": there["id"], "user_id": ada["id"]})
    assert answer.status_code == 204
    assert (await browser.get("/api/auth/me")).status_code == 200
    await house.run_jobs()

    assert (await browser.get("/api/auth/me")).status_code == 401


async def test_a_session_that_lives_there_is_not_ended_by_what_an_event_says(
    house: House, ada: Person
) -> None:
    browser = await house.sign_in_hosted(ada, PASSWORD)
    [there] = house.there.api.get("/sessions", params={"user_id": ada["id"]}).json()
    await house.hear("session.ended", {"id": there["id"], "user_id": ada["id"], "status": "ended"})
    await house.run_jobs()
    assert (await browser.get("/api/auth/me")).status_code == 200


async def test_a_lost_webhook_is_made_up_for(house: House, ada: Person) -> None:
    browser = await house.sign_in_hosted(ada, PASSWORD)
    [there] = house.there.api.get("/sessions", params={"user_id": ada["id"]}).json()
    house.there.api.post(f"/sessions/{there['id']}/revoke")
    await house.worker.accounts.check_sessions()
    assert (await browser.get("/api/auth/me")).status_code == 200, "it was asked about just now"

    await house.rows("update sessions set checked_at = now() - interval '6 minutes'")
    await house.worker.accounts.check_sessions()

    assert (await browser.get("/api/auth/me")).status_code == 401


async def test_one_session_that_cannot_be_read_does_not_stop_the_check(house: House, ada: Person) -> None:
    browser = await house.sign_in_hosted(ada, PASSWORD)
    [there] = house.there.api.get("/sessions", params={"user_id": ada["id"]}).json()
    ben = await house.sign_in_hosted(house.person(), PASSWORD)
    assert (await ben.get("/api/auth/me")).status_code == 200
    await house.rows("update sessions set revoked_at = now() where checked_at < now() - interval '1 minute'")
    house.there.api.post(f"/sessions/{there['id']}/revoke")
    await house.rows(
        """update sessions set checked_at = now() - interval '6 minutes' - case
             when provider_session_id = %s then interval '0' else interval '1 hour' end""",
        there["id"],
    )
    house.there.fault("wrong_shape", path="/v1/sessions/*", times=1)
    await house.worker.accounts.check_sessions()
    assert (await browser.get("/api/auth/me")).status_code == 401
    assert (await ben.get("/api/auth/me")).status_code == 200


async def test_logging_out_here_ends_the_session_there(house: House, ada: Person) -> None:
    browser = await house.sign_in_hosted(ada, PASSWORD)
    [there] = house.there.api.get("/sessions", params={"user_id": ada["id"]}).json()
    headers = house.token(there["id"])
    out = await browser.post("/api/auth/logout")
    assert out.status_code == 204
    assert await status_of(house, headers) == (401, "session_expired")
    # At once: whoever sits down at this browser next is let in by nobody.
    [there] = house.there.api.get("/sessions", params={"user_id": ada["id"]}).json()
    assert there["status"] == "revoked"
    assert await house.run_jobs() == ["accounts.end_remote"]  # there in case it does not answer


async def test_the_end_there_is_made_up_for_after_a_long_outage(house: House, ada: Person) -> None:
    browser = await house.sign_in_hosted(ada, PASSWORD)
    [there] = house.there.api.get("/sessions", params={"user_id": ada["id"]}).json()
    headers = house.token(there["id"], expires_in_s=86_000)
    house.there.fault("server_error", times=None, path="/v1/sessions/*")
    await browser.post("/api/auth/logout")
    assert await house.run_jobs() == []
    assert await house.waiting_jobs() == ["accounts.end_remote"]

    await house.rows(
        "update sessions set revoked_at = now() - interval '5 days' where revoked_at is not null"
    )
    await house.worker.accounts.purge()
    assert await status_of(house, headers) == (401, "session_expired")
    house.there.raw.delete("/_sandbox/faults")
    assert await house.run_jobs() == ["accounts.end_remote"]

    [there] = house.there.api.get("/sessions", params={"user_id": ada["id"]}).json()
    assert there["status"] == "revoked"


async def test_a_token_of_clerks_logs_out_for_good(house: House, ada: Person) -> None:
    session = house.there.session(ada["id"])
    headers = house.token(session["id"], expires_in_s=600)
    assert (await house.web.post("/api/auth/logout", headers=headers)).status_code == 204
    assert await status_of(house, headers) == (401, "session_expired")
    assert (await house.web.post("/api/auth/logout", headers=headers)).status_code == 401
    await house.run_jobs()
    assert house.there.api.get(f"/sessions/{session['id']}").json()["status"] == "revoked"


async def test_ending_others_spares_this_one_here_and_there(house: House, ada: Person) -> None:
    """Logging in twice in one browser makes two sessions here of one there."""
    browser = await house.sign_in_hosted(ada, PASSWORD)
    [there] = house.there.api.get("/sessions", params={"user_id": ada["id"]}).json()
    again = await house.app.accounts.log_in_hosted(house.there.mint(there["id"])["jwt"], SOMEWHERE)
    elsewhere = await house.sign_in_hosted(ada, PASSWORD)

    ended = await browser.post("/api/account/sessions/end-others")
    assert ended.json() == {"ended": 2}
    await house.run_jobs()

    statuses = {
        one["id"]: one["status"]
        for one in house.there.api.get("/sessions", params={"user_id": ada["id"]}).json()
    }
    assert statuses.pop(there["id"]) == "active"
    assert list(statuses.values()) == ["revoked"]
    assert (await browser.get("/api/auth/me")).status_code == 200
    assert (await elsewhere.get("/api/auth/me")).status_code == 401
    headers = {"authorization": f"Bearer {again.access_token.token}"}
    assert await status_of(house, headers) == (401, "session_expired")


async def test_a_token_of_clerks_that_ends_others_lives_on(house: House, ada: Person) -> None:
    await house.sign_in_hosted(ada, PASSWORD)
    [there] = house.there.api.get("/sessions", params={"user_id": ada["id"]}).json()
    other = await house.sign_in_hosted(ada, PASSWORD)
    headers = house.token(there["id"])

    ended = await house.web.post("/api/account/sessions/end-others", headers=headers)
    assert ended.json() == {"ended": 1}
    await house.run_jobs()

    assert await status_of(house, headers) == (200, "")
    assert house.there.api.get(f"/sessions/{there['id']}").json()["status"] == "active"
    assert (await other.get("/api/auth/me")).status_code == 401


# Cookies of Clerk's own


async def test_the_cookie_of_this_instance_counts(house: House, ada: Person) -> None:
    session = house.there.session(ada["id"])
    token = house.there.mint(session["id"], azp=ORIGIN)["jwt"]
    clerk = house.app.accounts.hosted
    assert clerk is not None
    suffixed, plain = clerk.session_cookies
    assert (plain, suffixed[:10], len(suffixed)) == ("__session", "__session_", 18)

    async def asked(**cookies: str) -> int:
        header = "; ".join(f"{name}={value}" for name, value in cookies.items())
        return (await house.web.get("/api/auth/me", headers={"cookie": header})).status_code

    assert await asked(**{plain: token}) == 200
    assert await asked(**{suffixed: token, plain: "stale"}) == 200
    assert await asked(**{suffixed: "stale", plain: token}) == 401
    # Other applications on this domain have cookies, too.
    assert await asked(__session_zzzzzzzz=token) == 401
    assert await asked(**{plain: token, "__session_zzzzzzzz": "anothers"}) == 200


async def test_the_cookie_does_not_act_for_other_sites(house: House, ada: Person) -> None:
    session = house.there.session(ada["id"])
    token = house.there.mint(session["id"], azp=ORIGIN)["jwt"]
    expired = house.there.mint(session["id"], "expired", azp=ORIGIN)["jwt"]
    for origin, code in (("https://evil.example", "origin_mismatch"), (None, "origin_mismatch")):
        headers = {"cookie": f"__session={token}"} | ({"origin": origin} if origin else {})
        answer = await house.web.post("/api/account/sessions/end-others", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, code)
    own = {"cookie": f"__session={token}", "origin": ORIGIN}
    assert (await house.web.post("/api/account/sessions/end-others", headers=own)).status_code == 200
    late = await house.web.get("/api/auth/me", headers={"cookie": f"__session={expired}"})
    assert (late.status_code, late.json()["code"]) == (401, "invalid_token")


# The way back from Clerk's pages


async def arrived(browser: httpx.AsyncClient, url: str) -> tuple[int, str]:
    answer = await browser.get(url)
    assert "session" not in answer.headers.get("set-cookie", "")
    return answer.status_code, answer.headers.get("location", "")


async def test_a_log_in_that_this_browser_did_not_begin_is_refused(house: House, ada: Person) -> None:
    mallory = house.browser()
    started = await mallory.get("/api/auth/login", params={"next": "/studio"})
    with house.there.browser() as page:
        page.page = page.client.get(started.headers["location"])
        page.send("/sign-in", email_address=address(ada), password=PASSWORD)
        back = page.left_for
    mine = house.shake_hands(await mallory.get(back))

    victim = house.browser()
    assert await arrived(victim, mine) == (401, "")
    assert await arrived(victim, mine.replace("state=", "other=")) == (401, "")
    begun = (await victim.get("/api/auth/login")).headers["location"]
    assert await arrived(victim, mine) == (401, "")
    assert "visiona_sign_in" in victim.cookies
    assert begun != started.headers["location"]
    # The one who began it is let in, once.
    answer = await mallory.get(mine)
    assert answer.headers["location"] == "/studio"
    assert await arrived(mallory, mine) == (401, "")


@pytest.mark.parametrize("handshake", ["__clerk_handshake=forged.by.me", "__clerk_handshake_nonce=nobodys"])
async def test_a_forged_handshake_leads_to_a_real_one_a_few_times(house: House, handshake: str) -> None:
    browser = house.browser()
    started = httpx.URL((await browser.get("/api/auth/login")).headers["location"])
    back = started.params["redirect_url"] + "&" + handshake
    for _ in range(2):
        status, location = await arrived(browser, back)
        assert (status, httpx.URL(location).path) == (303, "/v1/client/handshake")
    assert await arrived(browser, back) == (401, "")


@pytest.mark.parametrize(
    "wanted",
    ["https://evil.example", "//evil.example", "/\\evil.example", "/\tevil", "javascript:alert(1)", ""],
)
async def test_nobody_is_led_elsewhere_after_logging_in(house: House, ada: Person, wanted: str) -> None:
    browser = house.browser()
    started = await browser.get("/api/auth/login", params={"next": wanted})
    with house.there.browser() as page:
        page.page = page.client.get(started.headers["location"])
        page.send("/sign-in", email_address=address(ada), password=PASSWORD)
        back = page.left_for
    answer = await browser.get(house.shake_hands(await browser.get(back)))
    assert (answer.status_code, answer.headers["location"]) == (303, "/studio")


async def test_a_path_that_somebody_put_into_the_cookie_leads_nowhere_else(house: House, ada: Person) -> None:
    browser = await house.sign_in_hosted(ada, PASSWORD)
    started = httpx.URL((await browser.get("/api/auth/login")).headers["location"])
    state = httpx.URL(started.params["redirect_url"]).params["state"]
    forged = hosted._packed(hosted._State(state, "//evil.example"))
    with house.there.browser() as page:
        page.page = page.client.get(str(started))
        page.send("/sign-in", email_address=address(ada), password=PASSWORD)
        back = page.left_for
    jar = {"cookie": f"visiona_sign_in={forged}"}
    answer = await house.web.get(house.shake_hands(await house.web.get(back, headers=jar)), headers=jar)
    assert (answer.status_code, answer.headers["location"]) == (303, "/studio")


async def test_what_visionas_own_accounts_have_is_clerks_here(house: House, ada: Person) -> None:
    session = house.there.session(ada["id"])
    headers = house.token(session["id"])
    for path in (
        "login/code",
        "passkey",
        "passkey/options",
        "reset",
        "reset/complete",
        "verify",
        "confirm/passkey",
        "confirm/passkey/options",
    ):
        answer = await house.web.post(f"/api/auth/{path}", headers=headers, json={})
        assert (answer.status_code, answer.json()["code"]) == (409, "managed_elsewhere"), path


@pytest.mark.parametrize(
    ("refusal", "code"),
    [(HostedSignInNeeded, "hosted_sign_in_needed"), (AccountBarred, "account_suspended")],
)
@pytest.mark.parametrize("path", ["login", "signup"])
async def test_who_may_not_be_signed_in_there_is_told_so(
    house: House,
    ada: Person,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    refusal: type[Exception],
    code: str,
) -> None:
    """The password is right, and the session refused: something is to be done first, or they were banned."""

    async def refuse(*_: Any) -> None:
        raise refusal

    monkeypatch.setattr(ClerkIdentity, "open_session", refuse)
    email = address(ada) if path == "login" else f"new-{address(ada)}"
    body = {"email": email, "password": PASSWORD}
    answer = await house.browser().post(f"/api/auth/{path}", json=body)

    assert (answer.status_code, answer.json()["code"]) == (403, code), answer.text
    assert "set-cookie" not in answer.headers
