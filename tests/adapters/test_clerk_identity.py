"""People and sessions at Clerk: what each call of the port asks, and makes of the answers."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.adapters.clerk_instance import ORIGIN, PASSWORD, SECRET_KEY, ClerkInstance, refusal

from visiona.adapters.clerk import ClerkIdentity
from visiona.ports.errors import OutcomeUnknown, ProviderNotFound, ProviderRejected, ProviderUnavailable
from visiona.ports.identity import (
    AccountBarred,
    AddressRefused,
    AddressTaken,
    HostedIdentity,
    HostedSignInNeeded,
    PasswordRefused,
    Profile,
    WrongCredentials,
)

EMAIL = "ada@example.com"


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture
def instance(scripted_server: Any, key: rsa.RSAPrivateKey) -> ClerkInstance:
    return ClerkInstance(scripted_server, key)


@pytest.fixture
async def identity(instance: ClerkInstance) -> AsyncGenerator[ClerkIdentity]:
    identity = ClerkIdentity(instance.config())
    yield identity
    await identity.aclose()


def says(instance: ClerkInstance, path: str, reply: tuple[int, Any]) -> None:
    instance.spoiled[path] = instance.server.json(*reply)


def test_it_is_a_hosted_identity(instance: ClerkInstance) -> None:
    identity: HostedIdentity = ClerkIdentity(instance.config())

    assert identity.sign_in_page("x")


# Registration


async def test_a_new_account_has_an_address_that_nobody_proved(
    instance: ClerkInstance, identity: ClerkIdentity
) -> None:
    profile = await identity.register(EMAIL, PASSWORD)

    (user,) = instance.users.values()
    assert profile == Profile(
        subject=user["id"], email=EMAIL, email_verified=False, barred=False, revision=user["updated_at"]
    )
    assert user["external_id"].startswith("visiona_")
    assert "ada" not in user["external_id"]


async def test_the_id_follows_from_the_address_and_the_secret(
    instance: ClerkInstance, identity: ClerkIdentity
) -> None:
    async def id_under(secret_key: str, email: str) -> str:
        other = ClerkIdentity(instance.config(secret_key=secret_key))
        found = other._external_id(email)
        await other.aclose()
        return found

    own = identity._external_id(EMAIL)
    assert own == await id_under(SECRET_KEY, EMAIL.upper())
    assert own != await id_under(SECRET_KEY, "b@example.com")
    assert own != await id_under("sk_test_other", EMAIL)


async def test_a_repeat_after_a_lost_answer_finds_what_was_made(
    instance: ClerkInstance, identity: ClerkIdentity
) -> None:
    instance.lost = {"/v1/users"}
    with pytest.raises(OutcomeUnknown):
        await identity.register(EMAIL, PASSWORD)
    assert len(instance.users) == 1
    instance.lost = set()

    profile = await identity.register(EMAIL, PASSWORD)

    assert len(instance.users) == 1
    assert profile.subject in instance.users


@pytest.mark.parametrize(
    "changes",
    [
        {"last_sign_in_at": 1_700_000_000_000},
        {"banned": True},
        {"locked": True},
        {"two_factor_enabled": True},
    ],
)
async def test_an_account_that_is_in_use_is_not_found_by_registering(
    changes: dict[str, Any], instance: ClerkInstance, identity: ClerkIdentity
) -> None:
    made = await identity.register(EMAIL, PASSWORD)
    instance.users[made.subject] |= changes

    with pytest.raises(AddressTaken):
        await identity.register(EMAIL, PASSWORD)


async def test_somebody_elses_account_is_not_found_by_registering(
    instance: ClerkInstance, identity: ClerkIdentity
) -> None:
    await identity.register(EMAIL, PASSWORD)
    instance.add_user("hosted@example.com")

    with pytest.raises(AddressTaken):
        await identity.register(EMAIL, "another password")
    with pytest.raises(AddressTaken):
        await identity.register("hosted@example.com", PASSWORD)


async def test_an_address_that_its_first_holder_gave_up_is_free(
    instance: ClerkInstance, identity: ClerkIdentity
) -> None:
    first = await identity.register(EMAIL, PASSWORD)
    instance.users[first.subject]["email_addresses"][0]["email_address"] = "new@example.com"

    second = await identity.register(EMAIL, PASSWORD)

    assert second.subject != first.subject
    assert (second.email, (await identity.check_password(EMAIL, PASSWORD)).subject) == (EMAIL, second.subject)


@pytest.mark.parametrize(
    ("code", "parameter", "error"),
    [
        ("form_password_pwned", "password", PasswordRefused),
        ("form_password_length_too_short", "password", PasswordRefused),
        ("form_password_not_strong_enough", None, PasswordRefused),
        ("form_param_format_invalid", "password", PasswordRefused),
        ("form_param_format_invalid", "email_address", AddressRefused),
        ("form_param_format_invalid", "email_address[0]", AddressRefused),
    ],
)
async def test_what_the_person_can_put_right_is_said_in_clerks_words(
    code: str, parameter: str | None, error: Any, instance: ClerkInstance, identity: ClerkIdentity
) -> None:
    says(instance, "/v1/users", refusal(422, code, parameter, "Found in\n a \x07breach. " + "x" * 1000))

    with pytest.raises(error) as caught:
        await identity.register(EMAIL, PASSWORD)

    assert caught.value.message.startswith("Found in a breach. xxx")
    assert len(caught.value.message) == 300


@pytest.mark.parametrize(
    ("status", "code", "parameter"),
    [
        (422, "form_param_unknown", "nickname"),
        (403, "user_quota_exceeded", None),
        (402, "payment_required", None),
    ],
)
async def test_what_the_person_cannot_put_right_is_the_operators(
    status: int, code: str, parameter: str | None, instance: ClerkInstance, identity: ClerkIdentity
) -> None:
    says(instance, "/v1/users", refusal(status, code, parameter, f"{EMAIL} may not"))

    with pytest.raises(ProviderRejected, match=code) as caught:
        await identity.register(EMAIL, PASSWORD)

    assert EMAIL not in str(caught.value) + caught.value.message
    assert instance.asked("/v1/users") == 1


# Passwords


async def test_the_right_password_says_who_it_is(instance: ClerkInstance, identity: ClerkIdentity) -> None:
    user = instance.add_user(EMAIL)

    profile = await identity.check_password(EMAIL, PASSWORD)

    assert (profile.subject, profile.email, profile.email_verified) == (user["id"], EMAIL, True)


async def test_an_unknown_address_takes_the_same_way_as_a_wrong_password(
    instance: ClerkInstance, identity: ClerkIdentity
) -> None:
    instance.add_user(EMAIL)
    instance.add_user("nopassword@example.com", None)
    ways: list[list[str]] = []
    for email in (EMAIL, "nobody@example.com", "nopassword@example.com"):
        instance.server.exchanges.clear()
        with pytest.raises(WrongCredentials) as caught:
            await identity.check_password(email, "wrong password")
        assert str(caught.value) == ""
        ways.append(
            [one.method + urlsplit(one.target).path.rpartition("/")[2] for one in instance.server.exchanges]
        )

    assert ways == [["GETusers", "POSTverify_password"]] * 3


async def test_how_soon_it_fails_does_not_say_which_addresses_are_known(instance: ClerkInstance) -> None:
    """Comparing a password takes time at Clerk; that there is none to compare is said at once."""
    identity = ClerkIdentity(instance.config(wrong_password_floor_s=0.4))
    user = instance.add_user(EMAIL)

    async def compared(exchange: Any, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.2)
        await instance.server.json(*refusal(422, "incorrect_password"))(exchange, writer)

    instance.spoiled = {f"/v1/users/{user['id']}/verify_password": compared}
    took: list[float] = []
    for email in (EMAIL, "nobody@example.com"):
        started = time.perf_counter()
        with pytest.raises(WrongCredentials):
            await identity.check_password(email, "wrong password")
        took.append(time.perf_counter() - started)

    assert min(took) >= 0.39
    await identity.aclose()


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"banned": True}, AccountBarred),
        ({"locked": True}, AccountBarred),
        ({"deprovisioned": True}, AccountBarred),
        ({"two_factor_enabled": True}, HostedSignInNeeded),
        ({"two_factor_enabled": True, "banned": True}, AccountBarred),
    ],
)
async def test_only_who_knows_the_password_hears_more(
    changes: dict[str, Any], error: Any, instance: ClerkInstance, identity: ClerkIdentity
) -> None:
    instance.add_user(EMAIL, **changes)

    with pytest.raises(error):
        await identity.check_password(EMAIL, PASSWORD)
    with pytest.raises(WrongCredentials):
        await identity.check_password(EMAIL, "wrong password")


@pytest.mark.parametrize(
    "reply",
    [
        refusal(403, "user_locked"),
        refusal(422, "form_param_format_invalid", "password"),
        (200, {"verified": False}),
    ],
)
async def test_a_password_that_is_not_verified_is_wrong(
    reply: tuple[int, Any], instance: ClerkInstance, identity: ClerkIdentity
) -> None:
    user = instance.add_user(EMAIL)
    says(instance, f"/v1/users/{user['id']}/verify_password", reply)

    with pytest.raises(WrongCredentials):
        await identity.check_password(EMAIL, PASSWORD)


async def test_an_address_that_somebody_merely_wrote_down_is_not_theirs(
    instance: ClerkInstance, identity: ClerkIdentity
) -> None:
    thief = instance.add_user("thief@example.com")
    claimed = dict(thief["email_addresses"][0], id="idn_x", email_address=EMAIL)
    claimed["verification"] = {"object": "verification_otp", "status": "unverified"}
    thief["email_addresses"].append(claimed)

    with pytest.raises(WrongCredentials):
        await identity.check_password(EMAIL, PASSWORD)
    owner = instance.add_user(EMAIL)
    assert (await identity.check_password(EMAIL, PASSWORD)).subject == owner["id"]


async def test_a_search_that_finds_others_is_not_believed(
    instance: ClerkInstance, identity: ClerkIdentity
) -> None:
    """An address that begins with a sign may be read as "all but this one"."""
    says(instance, "/v1/users", (200, [instance.add_user("other@example.com")]))

    with pytest.raises(WrongCredentials):
        await identity.check_password("-x@example.com", PASSWORD)


# Profiles


async def test_the_primary_address_counts_and_only_if_it_is_verified(
    instance: ClerkInstance, identity: ClerkIdentity
) -> None:
    user = instance.add_user(EMAIL, verification="unverified")
    other = dict(user["email_addresses"][0], id="idn_other", email_address="other@example.com")
    user["email_addresses"].insert(
        0, other | {"verification": {"object": "verification_otp", "status": "verified"}}
    )
    found = await identity.profile(user["id"])
    assert found is not None
    assert (found.email, found.email_verified) == (EMAIL, False)

    user["primary_email_address_id"] = "idn_other"
    found = await identity.profile(user["id"])
    assert found is not None
    assert (found.email, found.email_verified) == ("other@example.com", True)

    user["primary_email_address_id"] = None
    found = await identity.profile(user["id"])
    assert found is not None
    assert (found.email, found.email_verified) == (None, False)


@pytest.mark.parametrize(
    ("change", "barred"),
    [({"banned": True}, True), ({"deprovisioned": True}, True), ({"locked": True}, False)],
)
async def test_who_guesses_somebodys_password_shuts_nobody_out(
    instance: ClerkInstance, identity: ClerkIdentity, change: dict[str, bool], barred: bool
) -> None:
    """Wrong passwords lock an account for log-ins; whoever is signed in goes on."""
    user = instance.add_user(EMAIL)
    user.update(change)
    profile = await identity.profile(user["id"])
    assert profile is not None
    assert profile.barred is barred


async def test_a_later_profile_has_a_larger_revision(
    instance: ClerkInstance, identity: ClerkIdentity
) -> None:
    user = instance.add_user(EMAIL)
    before = await identity.profile(user["id"])
    user["updated_at"] += 1
    user["banned"] = True
    after = await identity.profile(user["id"])

    assert before is not None
    assert after is not None
    assert after.revision > before.revision
    assert (before.barred, after.barred) == (False, True)


async def test_a_deleted_person_is_nobody(instance: ClerkInstance, identity: ClerkIdentity) -> None:
    user = instance.add_user(EMAIL)

    await identity.delete(user["id"])
    await identity.delete(user["id"])

    assert not instance.users
    assert await identity.profile(user["id"]) is None


@pytest.mark.parametrize("name", ["", "../users", "user_1/ban", "user_1?x=1", "sess_1", "user_\n", "user_ä"])
async def test_what_cannot_be_a_name_is_not_asked_about(
    name: str, instance: ClerkInstance, identity: ClerkIdentity
) -> None:
    assert await identity.profile(name) is None
    assert await identity.session(name.replace("sess", "user")) is None
    await identity.delete(name)
    await identity.end_session(name.replace("sess", "user"))
    with pytest.raises(ProviderNotFound):
        await identity.open_session(name)
    assert not instance.server.exchanges


async def test_a_404_that_is_not_clerks_deletes_nobody(
    instance: ClerkInstance, identity: ClerkIdentity
) -> None:
    for reply in (
        (404, "<html>"),
        (404, {"errors": []}),
        (404, {"detail": "no"}),
        refusal(404, "host_invalid"),
    ):
        says(instance, "/v1/", reply)
        for call in (identity.profile("user_1"), identity.session("sess_1"), identity.delete("user_1")):
            with pytest.raises((ProviderUnavailable, ProviderRejected)):
                await call


async def test_an_answer_about_somebody_else_is_not_believed(
    instance: ClerkInstance, identity: ClerkIdentity
) -> None:
    user = instance.add_user(EMAIL)
    session = instance.add_session(user["id"])
    says(instance, "/v1/users/", (200, user))
    says(instance, "/v1/sessions/", (200, session))

    for call in (identity.profile("user_2"), identity.session("sess_2"), identity.delete("user_2")):
        with pytest.raises(ProviderUnavailable, match="unusable_answer"):
            await call


# Sessions


async def test_a_session_is_opened_by_a_ticket_that_is_redeemed_at_once(
    instance: ClerkInstance, identity: ClerkIdentity, caplog: pytest.LogCaptureFixture
) -> None:
    user = instance.add_user(EMAIL)

    with caplog.at_level(logging.DEBUG, "visiona"):
        report = await identity.open_session(user["id"])

    assert (report.id, report.subject, report.alive) == ("sess_1", user["id"], True)
    assert report.expires_at.year == 2027
    assert not instance.tickets
    redeemed = next(one for one in instance.server.exchanges if "sign_ins" in one.target)
    assert parse_qs(urlsplit(redeemed.target).query) == {
        "__clerk_api_version": ["2025-11-10"],
        "_is_native": ["1"],
    }
    assert "ticket-0" not in caplog.text + redeemed.target


@pytest.mark.parametrize("status", ["needs_second_factor", "needs_client_trust", "needs_new_password"])
async def test_a_sign_in_that_wants_more_is_finished_on_the_pages(
    status: str, instance: ClerkInstance, identity: ClerkIdentity
) -> None:
    user = instance.add_user(EMAIL)
    instance.sign_in_status = status

    with pytest.raises(HostedSignInNeeded):
        await identity.open_session(user["id"])


async def test_a_session_with_tasks_to_do_is_finished_on_the_pages(
    instance: ClerkInstance, identity: ClerkIdentity
) -> None:
    user = instance.add_user(EMAIL)
    says(instance, "/v1/sessions/sess_1", (200, instance.add_session(user["id"], "pending")))
    instance.sessions.clear()

    with pytest.raises(HostedSignInNeeded):
        await identity.open_session(user["id"])


async def test_who_is_barred_or_unknown_gets_no_session(
    instance: ClerkInstance, identity: ClerkIdentity
) -> None:
    user = instance.add_user(EMAIL, banned=True)

    with pytest.raises(AccountBarred):
        await identity.open_session(user["id"])
    with pytest.raises(ProviderNotFound):
        await identity.open_session("user_unknown")


async def test_a_session_of_somebody_else_is_not_taken(
    instance: ClerkInstance, identity: ClerkIdentity
) -> None:
    user = instance.add_user(EMAIL)
    says(instance, "/v1/sessions/sess_1", (200, instance.add_session("user_other")))
    instance.sessions.clear()

    with pytest.raises(OutcomeUnknown):
        await identity.open_session(user["id"])


@pytest.mark.parametrize(
    ("status", "alive"),
    [
        ("active", True),
        ("pending", False),
        ("revoked", False),
        ("ended", False),
        ("expired", False),
        ("removed", False),
        ("abandoned", False),
        ("replaced", False),
        ("of a later version", False),
    ],
)
async def test_which_sessions_live(
    status: str, alive: bool, instance: ClerkInstance, identity: ClerkIdentity
) -> None:
    instance.add_session("user_1", status)

    report = await identity.session("sess_1")

    assert report is not None
    assert report.alive is alive


async def test_a_session_ends_once_and_for_all(instance: ClerkInstance, identity: ClerkIdentity) -> None:
    instance.add_session("user_1")

    await identity.end_session("sess_1")
    await identity.end_session("sess_1")
    await identity.end_session("sess_unknown")

    assert instance.sessions["sess_1"]["status"] == "revoked"
    assert await identity.session("sess_unknown") is None


async def test_a_refusal_to_end_a_live_session_is_not_taken_for_its_end(
    instance: ClerkInstance, identity: ClerkIdentity
) -> None:
    instance.add_session("user_1")
    says(instance, "/v1/sessions/sess_1/revoke", refusal(400, "bad_request"))

    with pytest.raises(ProviderRejected, match="bad_request"):
        await identity.end_session("sess_1")


# Pages


def test_the_pages_lead_back(instance: ClerkInstance) -> None:
    identity = ClerkIdentity(instance.config(accounts_url="https://accounts.visiona.example"))
    back = f"{ORIGIN}/auth/clerk?next=%2Fgallery&a=ü"

    for page, path in (
        (identity.sign_in_page(back), "/sign-in"),
        (identity.sign_up_page(back), "/sign-up"),
        (identity.account_page(back), "/user"),
    ):
        parts = urlsplit(page)
        assert (parts.scheme, parts.netloc, parts.path) == ("https", "accounts.visiona.example", path)
        assert parse_qs(parts.query) == {"redirect_url": [back]}
        assert page.isascii()


def test_the_handshake_asks_for_a_nonce(instance: ClerkInstance) -> None:
    identity = ClerkIdentity(instance.config())
    page = identity.handshake_page(f"{ORIGIN}/back", reason="session-token-missing", browser_token="dvb_1")
    plain = identity.handshake_page(f"{ORIGIN}/back", reason="session-token-missing", browser_token=None)

    assert page.startswith(f"{instance.url}/v1/client/handshake?")
    asked = parse_qs(urlsplit(page).query)
    assert asked.pop("__clerk_db_jwt") == ["dvb_1"]
    assert asked == parse_qs(urlsplit(plain).query)
    assert asked == {
        "redirect_url": [f"{ORIGIN}/back"],
        "__clerk_api_version": ["2025-11-10"],
        "suffixed_cookies": ["false"],
        "__clerk_hs_reason": ["session-token-missing"],
        "format": ["nonce"],
    }


def test_a_production_instance_is_never_given_a_browsers_token(instance: ClerkInstance) -> None:
    key = instance.config().publishable_key.replace("pk_test_", "pk_live_")
    identity = ClerkIdentity(instance.config(publishable_key=key, secret_key="sk_live_x"))

    assert "dvb_1" not in identity.handshake_page(ORIGIN, reason="x", browser_token="dvb_1")


# Many at once


async def test_a_hundred_people_at_once_are_told_apart(
    instance: ClerkInstance, identity: ClerkIdentity
) -> None:
    emails = [f"person{number}@example.com" for number in range(100)]
    users = {email: instance.add_user(email)["id"] for email in emails}

    found = await asyncio.gather(*(identity.check_password(email, PASSWORD) for email in emails))

    assert [profile.subject for profile in found] == [users[email] for email in emails]
