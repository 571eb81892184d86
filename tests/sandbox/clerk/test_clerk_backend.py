"""The Backend API as the official client sees it, in both of its ways."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import jsonschema
import pyotp
import pytest
from argon2 import PasswordHasher
from clerk_backend_api import models
from tests.sandbox.clerk.conftest import BACKEND, PASSWORD

pytestmark = [
    pytest.mark.contract,
    # The official client reads its own deprecated fields whenever it lists users.
    pytest.mark.filterwarnings(r"ignore:.*\*\* DEPRECATED:DeprecationWarning"),
]


GOOD = {"email_address": ["refused@example.com"], "password": PASSWORD}


@pytest.fixture
async def async_sdk(sandbox: Any) -> AsyncIterator[Any]:
    async with httpx.AsyncClient(event_hooks=sandbox.async_hooks) as client:
        yield sandbox.official(async_client=client)


def create(sandbox: Any, name: str, **params: Any) -> models.User:
    return sandbox.sdk.users.create(email_address=[f"{name}@example.com"], password=PASSWORD, **params)


def refusal(call: Any, *args: Any, **kwargs: Any) -> tuple[int, str, str | None]:
    """Status, code and parameter of the error that a call raises."""
    with pytest.raises(models.ClerkErrors) as caught:
        call(*args, **kwargs)
    error = caught.value.data.errors[0]
    meta = error.meta or {}
    return caught.value.status_code, error.code, dict(meta).get("param_name")


def test_a_user_is_made_read_changed_and_deleted(sandbox: Any) -> None:
    users = sandbox.sdk.users
    user = create(
        sandbox,
        "whole",
        external_id="ours-1",
        first_name="Ada",
        public_metadata={"plan": "pro"},
        private_metadata={"note": 1},
        legal_accepted_at="2026-11-01T10:00:00Z",
        created_at="2026-10-01T10:00:00.250Z",
    )
    assert (user.external_id, user.first_name, user.public_metadata) == ("ours-1", "Ada", {"plan": "pro"})
    assert user.created_at == 1790848800250
    assert user.legal_accepted_at == 1793527200000
    assert user.password_enabled
    assert not user.two_factor_enabled
    (email,) = user.email_addresses
    assert email.id == user.primary_email_address_id
    assert email.verification.status == "verified"
    assert users.get(user_id=user.id) == user
    changed = users.update(user_id=user.id, first_name="Augusta", last_name="King", external_id="ours-2")
    assert (changed.first_name, changed.last_name, changed.external_id) == ("Augusta", "King", "ours-2")
    assert changed.updated_at > user.updated_at
    gone = users.delete(user_id=user.id)
    assert (gone.id, gone.deleted, gone.external_id) == (user.id, True, "ours-2")
    assert refusal(users.get, user_id=user.id)[:2] == (404, "resource_not_found")


async def test_the_asynchronous_client_gets_the_same(async_sdk: Any) -> None:
    user = await async_sdk.users.create_async(email_address=["async@example.com"], password=PASSWORD)
    assert (await async_sdk.users.get_async(user_id=user.id)).id == user.id
    verified = await async_sdk.users.verify_password_async(user_id=user.id, password=PASSWORD)
    assert verified.verified
    session = await async_sdk.sessions.create_async(request={"user_id": user.id})
    token = await async_sdk.sessions.create_token_async(session_id=session.id)
    assert token.jwt.count(".") == 2
    assert (await async_sdk.sessions.revoke_async(session_id=session.id)).status == "revoked"
    ticket = await async_sdk.sign_in_tokens.create_async(request={"user_id": user.id})
    assert ticket.status == "pending"
    assert (await async_sdk.jwks.get_jwks_async()).keys
    assert (await async_sdk.users.delete_async(user_id=user.id)).deleted
    with pytest.raises(models.ClerkErrors) as caught:
        await async_sdk.users.get_async(user_id=user.id)
    assert caught.value.status_code == 404


def test_nothing_stops_a_second_creation_but_address_and_external_id(sandbox: Any) -> None:
    first = create(sandbox, "double", external_id="double-1")
    assert refusal(create, sandbox, "double") == (422, "form_identifier_exists", "email_address")
    assert refusal(create, sandbox, "DOUBLE") == (422, "form_identifier_exists", "email_address")
    assert refusal(create, sandbox, "double2", external_id="double-1") == (
        422,
        "form_identifier_exists",
        "external_id",
    )
    found = sandbox.sdk.users.list(request={"external_id": ["double-1"]})
    assert [user.id for user in found] == [first.id]
    twice = [
        sandbox.api.post("/users", json={"skip_user_requirement": True, "password": PASSWORD})
        for _ in range(2)
    ]
    assert twice[0].json()["id"] != twice[1].json()["id"]


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({"password": PASSWORD}, "form_data_missing", "email_address"),
        ({"email_address": ["x1@example.com"]}, "form_data_missing", "password"),
        ({"email_address": ["x2"], "password": PASSWORD}, "form_param_format_invalid", "email_address"),
        ({"email_address": "x3@example.com"}, "form_param_format_invalid", "email_address"),
        ({**GOOD, "password": "short"}, "form_password_length_too_short", "password"),
        ({**GOOD, "password": "password123"}, "form_password_pwned", "password"),
        ({**GOOD, "password": "a" * 73}, "form_password_length_too_long", "password"),
        ({"email_adress": ["x7@example.com"]}, "form_param_unknown", "email_adress"),
        ({"username": "x8"}, "form_param_unknown", "username"),
        ({"phone_number": ["+15555550100"]}, "form_param_unknown", "phone_number"),
        ({"delete_self_enabled": "yes"}, "form_param_format_invalid", "delete_self_enabled"),
        ({**GOOD, "created_at": "yesterday"}, "form_param_format_invalid", "created_at"),
        ({**GOOD, "totp_secret": "1!"}, "form_param_value_invalid", "totp_secret"),
    ],
)
def test_bad_parameters_are_refused_by_name(
    sandbox: Any, body: dict[str, Any], code: str, param: str
) -> None:
    answer = sandbox.api.post("/users", json=body)
    error = answer.json()["errors"][0]
    assert (answer.status_code, error["code"], error["meta"]["param_name"]) == (422, code, param)
    assert sandbox.api.get("/users", params={"email_address": GOOD["email_address"]}).json() == []


def test_checks_of_passwords_may_be_skipped_and_digests_brought_along(sandbox: Any) -> None:
    weak = sandbox.user("weak", password="password", skip_password_checks=True)
    assert sandbox.sdk.users.verify_password(user_id=weak["id"], password="password").verified
    digest = PasswordHasher(time_cost=1, memory_cost=8192).hash("brought along")
    moved = sandbox.user("moved", password=None, password_digest=digest, password_hasher="argon2id")
    assert sandbox.sdk.users.verify_password(user_id=moved["id"], password="brought along").verified
    bare = sandbox.user("bare", password=None, skip_password_requirement=True)
    assert not bare["password_enabled"]
    answer = sandbox.api.post(f"/users/{bare['id']}/verify_password", json={"password": "x"})
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, "no_password_set")
    files = b"".join(path.read_bytes() for path in (sandbox.config.data_dir / "clerk").iterdir())
    assert b"brought along" not in files
    assert PASSWORD.encode() not in files


def test_a_wrong_password_is_told_as_a_general_error(sandbox: Any) -> None:
    """The official client knows no errors of this call."""
    user = create(sandbox, "wrong-password")
    with pytest.raises(models.SDKError) as caught:
        sandbox.sdk.users.verify_password(user_id=user.id, password="not it at all")
    assert caught.value.status_code == 422
    assert "incorrect_password" in caught.value.body
    assert sandbox.api.post("/users/user_none/verify_password", json={"password": "x"}).status_code == 404


def test_a_second_factor_is_verified_and_backup_codes_work_once(sandbox: Any) -> None:
    secret = pyotp.random_base32()
    user = sandbox.user("totp", totp_secret=secret, backup_codes=["one-backup-code"])
    assert user["two_factor_enabled"]
    assert user["totp_enabled"]
    assert user["backup_code_enabled"]
    users = sandbox.sdk.users
    answer = users.verify_totp(user_id=user["id"], code=pyotp.TOTP(secret).now())
    assert (answer.verified, answer.code_type) == (True, "totp")
    assert users.verify_totp(user_id=user["id"], code="one-backup-code").code_type == "backup_code"
    for code in ("one-backup-code", "000000x"):
        answer = sandbox.api.post(f"/users/{user['id']}/verify_totp", json={"code": code})
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, "totp_incorrect_code")
    assert users.delete_totp(user_id=user["id"]).user_id == user["id"]
    assert not users.get(user_id=user["id"]).two_factor_enabled
    answer = sandbox.api.post(f"/users/{user['id']}/verify_totp", json={"code": "123456"})
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, "totp_disabled")


def test_metadata_are_merged_deeply_or_replaced(sandbox: Any) -> None:
    user = create(sandbox, "metadata", public_metadata={"a": {"b": 1, "c": 2}, "d": [1]})
    merged = sandbox.sdk.users.update_metadata(
        user_id=user.id,
        public_metadata={"a": {"b": None, "e": {"f": None, "g": 3}}},
        private_metadata={"p": 1},
    )
    assert merged.public_metadata == {"a": {"c": 2, "e": {"g": 3}}, "d": [1]}
    assert merged.private_metadata == {"p": 1}
    answer = sandbox.api.put(f"/users/{user.id}/metadata", json={"public_metadata": {"only": True}})
    assert answer.json()["public_metadata"] == {"only": True}
    assert answer.json()["private_metadata"] == {"p": 1}


def test_lists_are_filtered_ordered_and_paged(sandbox: Any) -> None:
    ids = [create(sandbox, f"list{number}", first_name="Listed").id for number in range(3)]
    listed = {"query": "listed"}
    users = sandbox.sdk.users
    assert [user.id for user in users.list(request=listed)] == ids[::-1]
    assert [user.id for user in users.list(request={**listed, "order_by": "created_at"})] == ids
    assert [user.id for user in users.list(request={**listed, "limit": 1, "offset": 1})] == [ids[1]]
    assert [user.id for user in users.list(request={"user_id": ids[:2]})] == ids[1::-1]
    assert [user.id for user in users.list(request={"email_address": ["LIST2@example.com", "no@no.no"]})] == [
        ids[2]
    ]
    after = sandbox.api.get("/users", params={**listed, "starting_after": ids[2]}).json()
    assert [user["id"] for user in after] == ids[1::-1]
    assert users.count(request=listed).total_count == 3
    assert users.count(request={"banned": True, "query": "listed"}).total_count == 0
    for params in ({"limit": 501}, {"limit": "many"}, {"order_by": "shoe_size"}, {"nothing": 1}):
        assert sandbox.api.get("/users", params=params).status_code == 422
    both = sandbox.api.get(
        "/users?email_address[]=list0@example.com&email_address[]=list1@example.com"
    ).json()
    assert len(both) == 2


def test_the_banned_are_signed_out_and_the_locked_wait(sandbox: Any) -> None:
    user = create(sandbox, "barred")
    session = sandbox.session(user.id)
    users = sandbox.sdk.users
    assert users.ban(user_id=user.id).banned
    assert sandbox.sdk.sessions.get(session_id=session["id"]).status == "revoked"
    assert (
        sandbox.api.post("/sessions", json={"user_id": user.id}).json()["errors"][0]["code"] == "user_banned"
    )
    assert not users.unban(user_id=user.id).banned
    locked = users.lock(user_id=user.id)
    assert locked.locked
    assert 3500 < locked.lockout_expires_in_seconds <= 3600
    assert not users.unlock(user_id=user.id).locked


def test_addresses_come_and_go(sandbox: Any) -> None:
    emails = sandbox.sdk.email_addresses
    user = create(sandbox, "addresses")
    second = emails.create(
        request={"user_id": user.id, "email_address": "second@example.com", "verified": True, "primary": True}
    )
    now = sandbox.sdk.users.get(user_id=user.id)
    assert now.primary_email_address_id == second.id
    assert now.updated_at > user.updated_at
    third = emails.create(request={"user_id": user.id, "email_address": "third@example.com"})
    assert third.verification.status == "unverified"
    create(sandbox, "third")  # an address that nobody has verified is still free
    assert refusal(emails.update, email_address_id=third.id, verified=True)[1] == "form_identifier_exists"
    refused = sandbox.api.patch(f"/users/{user.id}", json={"primary_email_address_id": third.id})
    assert refused.json()["errors"][0]["code"] == "form_param_value_invalid"
    assert emails.update(email_address_id=user.primary_email_address_id, primary=True).id
    assert emails.delete(email_address_id=user.primary_email_address_id).deleted
    assert sandbox.sdk.users.get(user_id=user.id).primary_email_address_id == second.id
    emails.delete(email_address_id=third.id)
    assert refusal(emails.delete, email_address_id=second.id)[0] == 400
    only = emails.replace_for_user(user_id=user.id, email_address="only@example.com")
    assert [one.id for one in sandbox.sdk.users.get(user_id=user.id).email_addresses] == [only.id]
    assert emails.get(email_address_id=only.id).email_address == "only@example.com"
    assert refusal(emails.get, email_address_id=second.id)[0] == 404


def test_reserved_addresses_are_kept_but_not_verified(sandbox: Any) -> None:
    user = sandbox.user("reserved", email_address_identification_status=["reserved"])
    (email,) = user["email_addresses"]
    assert email["reserved"]
    assert email["verification"] is None
    assert refusal(create, sandbox, "reserved")[1] == "form_identifier_exists"


def test_sessions_are_listed_read_and_revoked(sandbox: Any) -> None:
    user = create(sandbox, "sessions")
    sessions = sandbox.sdk.sessions
    first, second = (sessions.create(request={"user_id": user.id}) for _ in range(2))
    assert first.client_id != second.client_id
    assert [one.id for one in sessions.list(user_id=user.id)] == [second.id, first.id]
    assert sessions.revoke(session_id=first.id).status == "revoked"
    assert [one.id for one in sessions.list(user_id=user.id, status=models.Status.REVOKED)] == [first.id]
    assert [one.id for one in sessions.list(client_id=second.client_id)] == [second.id]
    assert sessions.get(session_id=second.id).status == "active"
    assert sandbox.sdk.users.get(user_id=user.id).last_sign_in_at is not None
    with pytest.raises((models.ClerkErrors, models.SDKError)) as caught:
        sessions.create_token(session_id=first.id)
    assert caught.value.status_code == 404
    assert sandbox.api.get("/sessions").status_code == 422
    short = sandbox.api.post(f"/sessions/{second.id}/tokens", json={"expires_in_seconds": 29})
    assert short.status_code == 422
    assert sandbox.sdk.clients.get(client_id=second.client_id).session_ids == [second.id]
    token = sessions.create_token(session_id=second.id).jwt
    assert sandbox.sdk.clients.verify(request={"token": token}).id == second.client_id
    assert refusal(sandbox.sdk.clients.verify, request={"token": "x.y.z"})[0] == 400


def test_sessions_run_out(run_clerk: Any, tmp_path: Any) -> None:
    with run_clerk(tmp_path) as server:
        session = server.session(server.user("week")["id"])
        server.control("clock", advance_s=7 * 86400 + 1)
        assert server.api.get(f"/sessions/{session['id']}").json()["status"] == "expired"
        assert server.api.post(f"/sessions/{session['id']}/tokens").status_code == 404


def test_sign_in_tokens_and_testing_tokens(sandbox: Any) -> None:
    user = create(sandbox, "tickets")
    ticket = sandbox.sdk.sign_in_tokens.create(request={"user_id": user.id, "expires_in_seconds": 60})
    assert ticket.url.startswith(f"{sandbox.base}/v1/tickets/accept?ticket=")
    revoked = sandbox.sdk.sign_in_tokens.revoke(sign_in_token_id=ticket.id)
    assert revoked.status == "revoked"
    assert refusal(sandbox.sdk.sign_in_tokens.revoke, sign_in_token_id=ticket.id)[0] == 400
    assert refusal(sandbox.sdk.sign_in_tokens.create, request={"user_id": "user_none"})[0] == 404
    testing = sandbox.sdk.testing_tokens.create()
    assert testing.token.startswith(f"{testing.expires_at}-c_")


def test_the_key_is_asked_for(sandbox: Any) -> None:
    wrong = sandbox.official(bearer_auth="sk_test_other")
    assert refusal(wrong.users.list)[:2] == (401, "clerk_key_invalid")
    assert httpx.get(f"{sandbox.base}/v1/users").status_code == 401
    for path in ("/_sandbox/state", "/_sandbox/keys"):
        assert httpx.get(f"{sandbox.base}{path}").status_code == 401


@pytest.mark.parametrize(
    ("headers", "query", "status"),
    [
        ({}, "", 200),
        ({"clerk-api-version": "2026-05-12"}, "", 200),
        ({}, "?__clerk_api_version=2025-11-10", 200),
        ({"clerk-api-version": "2025-11-10"}, "?__clerk_api_version=2025-11-10", 400),
        ({"clerk-api-version": "2025-11-11"}, "", 400),
        ({"clerk-api-version": "latest"}, "", 400),
    ],
)
def test_versions(sandbox: Any, headers: dict[str, str], query: str, status: int) -> None:
    answer = sandbox.api.get(f"/users/count{query}", headers=headers)
    assert answer.status_code == status
    if status == 400:
        assert answer.json()["errors"][0]["code"] == "api_version_invalid"


def test_the_newest_version_keeps_metadata_out_of_updates(sandbox: Any) -> None:
    user = create(sandbox, "newest")
    body = {"public_metadata": {"a": 1}}
    older = sandbox.api.patch(f"/users/{user.id}", json=body, headers={"clerk-api-version": "2025-11-10"})
    assert older.json()["public_metadata"] == {"a": 1}
    newer = sandbox.api.patch(f"/users/{user.id}", json=body, headers={"clerk-api-version": "2026-05-12"})
    assert newer.json()["errors"][0]["code"] == "form_param_unknown"


@pytest.mark.parametrize("body", [b"{", b"[]", b'"text"'])
def test_a_body_that_is_no_object_is_refused(sandbox: Any, body: bytes) -> None:
    answer = sandbox.api.post("/users", content=body)
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, "request_body_invalid")


def test_a_changed_password_can_end_the_sessions(sandbox: Any) -> None:
    user = create(sandbox, "changed-password")
    session = sandbox.session(user.id)
    sandbox.sdk.users.update(user_id=user.id, password="another good one", sign_out_of_other_sessions=True)
    assert sandbox.sdk.sessions.get(session_id=session["id"]).status == "revoked"
    assert sandbox.sdk.users.verify_password(user_id=user.id, password="another good one").verified
    assert not sandbox.sdk.users.remove_password(
        user_id=user.id, sign_out_of_other_sessions=False
    ).password_enabled


def test_the_published_document_is_held_against_answers(sandbox: Any, specification: Any) -> None:
    if specification is None:
        pytest.skip("the provider's OpenAPI documents are not at hand (set VISIONA_CONTRACTS_DIR)")
    specification.seen.clear()
    user = sandbox.user("compared")
    sandbox.session(user["id"])
    assert specification.seen == {("post", "/users", 200), ("post", "/sessions", 200)}
    place = "/components/schemas/User"
    specification._check(BACKEND, place, user)
    for wrong in (
        {name: value for name, value in user.items() if name != "banned"},
        {**user, "shoe_size": 42},
        {**user, "created_at": None},
        {**user, "email_addresses": [{**user["email_addresses"][0], "verification": {"status": "good"}}]},
    ):
        with pytest.raises(jsonschema.ValidationError):
            specification._check(BACKEND, place, wrong)
