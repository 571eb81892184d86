"""Signing up, logging in, being recognized, logging out."""

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import argon2
import pytest

from visiona.accounts.jobs import jobs
from visiona.accounts.model import AccountSettings
from visiona.accounts.service import AccountService, Identities
from visiona.core.client import ClientInfo
from visiona.core.clock import FixedClock
from visiona.core.errors import Conflict, Forbidden, Invalid, Unauthenticated
from visiona.core.ids import secret_token
from visiona.db.actor import UserActor
from visiona.db.pool import Connection, Database
from visiona.passwords.service import PasswordService, address_index, default_hasher
from visiona.vault.service import Vault

MakeUser = Callable[..., Awaitable[UserActor]]

pytestmark = pytest.mark.usefixtures("database")


async def actions(owner: Connection, user_id: int) -> list[str]:
    cursor = await owner.execute("select action from audit_logs where user_id = %s order by id", [user_id])
    return [row[0] for row in await cursor.fetchall()]


async def test_sign_up_signs_in(
    accounts: AccountService, email: str, password: str, client: ClientInfo, clock: FixedClock
) -> None:
    signed_in = await accounts.sign_up(f" {email.upper()} ", password, client)

    assert signed_in.user.email == email
    assert signed_in.user.id == signed_in.session.user_id
    assert signed_in.session.subject.startswith("user_")
    assert signed_in.expires_at == clock.now() + timedelta(days=30)
    assert signed_in.access_token.expires_in == 600
    assert await accounts.authenticate_bearer(signed_in.access_token.token) == signed_in.session
    assert await accounts.authenticate_cookie(signed_in.secret) == signed_in.session
    assert await accounts.me(UserActor(signed_in.user.id)) == signed_in.user


async def test_log_in_opens_another_session(
    accounts: AccountService, email: str, password: str, client: ClientInfo
) -> None:
    first = await accounts.sign_up(email, password, client)
    second = await accounts.log_in(email.upper(), password, client)

    assert second.user == first.user
    assert second.session.session_id != first.session.session_id
    assert second.secret != first.secret
    for signed_in in (first, second):
        assert await accounts.authenticate_cookie(signed_in.secret) == signed_in.session


async def test_what_happened_is_recorded_without_personal_data(
    accounts: AccountService, email: str, password: str, client: ClientInfo, owner: Connection
) -> None:
    signed_in = await accounts.sign_up(email, password, client)
    await accounts.log_in(email, password, client)
    await accounts.log_out(signed_in.session)
    await accounts.log_out(signed_in.session)

    user_id = signed_in.user.id
    assert await actions(owner, user_id) == [
        "account.created",
        "account.signed_in",
        "account.signed_in",
        "account.signed_out",
    ]
    cursor = await owner.execute("select details from audit_logs where user_id = %s order by id", [user_id])
    details = [row[0] for row in await cursor.fetchall()]
    assert details[0] is None
    assert [set(d) for d in details[1:]] == [{"session_id"}] * 3


async def test_a_taken_address_conflicts_after_the_same_work(
    accounts: AccountService, email: str, password: str, client: ClientInfo, hasher: Any, owner: Connection
) -> None:
    first = await accounts.sign_up(email, password, client)
    assert hasher.hashed == 1
    with pytest.raises(Conflict) as raised:
        await accounts.sign_up(email.upper(), "another good password", client)
    assert raised.value.code == "email_taken"
    assert hasher.hashed == 2

    assert await accounts.log_in(email, password, client)
    assert await actions(owner, first.user.id) == [
        "account.created",
        "account.signed_in",
        "account.signed_in",
    ]


async def test_two_at_once_cannot_take_one_address(
    vault: Vault,
    accounts: AccountService,
    email: str,
    password: str,
    new_client: Callable[[], ClientInfo],
    owner: Connection,
) -> None:
    results = await asyncio.gather(
        *(accounts.sign_up(email, f"{password} {one}", new_client()) for one in range(5)),
        return_exceptions=True,
    )
    assert sorted(type(r).__name__ for r in results) == ["Conflict"] * 4 + ["SignedIn"]
    cursor = await owner.execute(
        "select count(*) from users where email_index = %s", [address_index(vault, email)]
    )
    assert await cursor.fetchone() == (1,)


async def test_bad_input_is_refused_before_any_work(
    accounts: AccountService, client: ClientInfo, hasher: Any
) -> None:
    with pytest.raises(Invalid) as raised:
        await accounts.sign_up("nobody", "short", client)
    assert [e.field for e in raised.value.errors] == ["email", "password"]
    with pytest.raises(Invalid):
        await accounts.log_in("nobody", "", client)
    assert (hasher.hashed, hasher.verified) == (0, [])


async def test_known_and_unknown_addresses_are_alike(
    accounts: AccountService, email: str, other_email: str, password: str, client: ClientInfo, hasher: Any
) -> None:
    await accounts.sign_up(email, password, client)
    answers = []
    for address in (email, other_email):
        hasher.verified.clear()
        hasher.hashed = 0
        with pytest.raises(Unauthenticated) as raised:
            await accounts.log_in(address, "not the password", client)
        answers.append(
            (raised.value.code, raised.value.detail, raised.value.errors, hasher.hashed, len(hasher.verified))
        )
        assert not any(hasher.check_needs_rehash(h) for h in hasher.verified)
    assert answers[0] == answers[1]
    assert answers[0][0] == "invalid_credentials"
    assert answers[0][3:] == (0, 1)


async def test_someone_without_a_usable_hash_cannot_log_in(
    accounts: AccountService, make_user: MakeUser, email: str, client: ClientInfo
) -> None:
    await make_user(email=email)
    with pytest.raises(Unauthenticated) as raised:
        await accounts.log_in(email, "no hash", client)
    assert raised.value.code == "invalid_credentials"


async def test_passwords_are_kept_as_argon2id_hashes(
    accounts: AccountService, email: str, password: str, client: ClientInfo, owner: Connection
) -> None:
    signed_in = await accounts.sign_up(email, password, client)
    cursor = await owner.execute(
        "select password_hash from credentials where user_id = %s", [signed_in.user.id]
    )
    (stored,) = await cursor.fetchone()
    parameters = argon2.extract_parameters(stored)
    assert parameters.type is argon2.Type.ID
    assert (parameters.memory_cost, parameters.time_cost, parameters.parallelism) == (19_456, 2, 1)
    assert (parameters.salt_len, parameters.hash_len) == (16, 32)
    assert not default_hasher().check_needs_rehash(stored)


async def test_a_session_is_kept_as_a_hash(
    accounts: AccountService,
    vault: Vault,
    email: str,
    password: str,
    client: ClientInfo,
    owner: Connection,
) -> None:
    signed_in = await accounts.sign_up(email, password, replace(client, user_agent="Firefox\x00"))
    assert len(signed_in.secret) == 43
    cursor = await owner.execute(
        "select encode(secret_hash, 'hex'), s::text, client from sessions s where id = %s",
        [signed_in.session.session_id],
    )
    secret_hash, whole_row, label = await cursor.fetchone()
    assert len(secret_hash) == 64
    assert signed_in.secret not in whole_row
    assert (await vault.cipher(signed_in.user.id)).open("sessions.client", label) == "Firefox"


async def test_an_older_hash_is_renewed_at_log_in(
    vault: Vault,
    accounts: AccountService,
    database: Database,
    clock: FixedClock,
    settings: AccountSettings,
    identities: Identities,
    email: str,
    password: str,
    client: ClientInfo,
    owner: Connection,
) -> None:
    weak = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    before = replace(identities, passwords=PasswordService(database, vault, hasher=weak))
    await AccountService(database, vault, clock, settings, before).sign_up(email, password, client)
    with pytest.raises(Unauthenticated):
        await accounts.log_in(email, "not the password", client)
    await accounts.log_in(email, password, client)
    cursor = await owner.execute(
        "select password_hash from credentials join users u on u.id = user_id where email_index = %s",
        [address_index(vault, email)],
    )
    (stored,) = await cursor.fetchone()
    assert not default_hasher().check_needs_rehash(stored)
    assert await accounts.log_in(email, password, client)


async def test_refresh_gives_another_token(
    accounts: AccountService,
    email: str,
    password: str,
    client: ClientInfo,
    clock: FixedClock,
    owner: Connection,
) -> None:
    signed_in = await accounts.sign_up(email, password, client)
    await owner.execute("update sessions set last_seen_at = 'epoch' where user_id = %s", [signed_in.user.id])
    clock.instant += timedelta(seconds=700)
    with pytest.raises(Unauthenticated):
        await accounts.authenticate_bearer(signed_in.access_token.token)

    fresh = await accounts.refresh(signed_in.session)
    assert await accounts.authenticate_bearer(fresh.token) == signed_in.session
    cursor = await owner.execute("select last_seen_at from sessions where user_id = %s", [signed_in.user.id])
    assert (await cursor.fetchone())[0] > datetime.now(UTC) - timedelta(minutes=1)


async def test_logging_out_ends_this_session_only(
    accounts: AccountService, email: str, password: str, client: ClientInfo
) -> None:
    first = await accounts.sign_up(email, password, client)
    second = await accounts.log_in(email, password, client)
    await accounts.log_out(first.session)

    for attempt in (
        accounts.authenticate_bearer(first.access_token.token),
        accounts.authenticate_cookie(first.secret),
        accounts.refresh(first.session),
    ):
        with pytest.raises(Unauthenticated) as raised:
            await attempt
        assert raised.value.code == "session_expired"
    assert await accounts.authenticate_bearer(second.access_token.token) == second.session


async def test_a_session_ends_after_its_time(
    vault: Vault,
    database: Database,
    clock: FixedClock,
    settings: AccountSettings,
    identities: Identities,
    email: str,
    password: str,
    client: ClientInfo,
) -> None:
    accounts = AccountService(database, vault, clock, replace(settings, session_ttl_s=-1), identities)
    signed_in = await accounts.sign_up(email, password, client)
    for attempt in (
        accounts.authenticate_bearer(signed_in.access_token.token),
        accounts.authenticate_cookie(signed_in.secret),
        accounts.refresh(signed_in.session),
    ):
        with pytest.raises(Unauthenticated) as raised:
            await attempt
        assert raised.value.code == "session_expired"


@pytest.mark.parametrize(
    "secret",
    ["", "x" * 43, "é\x00\ud800", secret_token()],
    ids=["empty", "alike", "unprintable", "fresh"],
)
async def test_an_unknown_cookie_is_no_session(accounts: AccountService, secret: str) -> None:
    with pytest.raises(Unauthenticated) as raised:
        await accounts.authenticate_cookie(secret)
    assert raised.value.code == "session_expired"


async def test_a_suspended_person_is_kept_out(
    accounts: AccountService,
    email: str,
    password: str,
    client: ClientInfo,
    suspend: Callable[[int], Awaitable[None]],
) -> None:
    signed_in = await accounts.sign_up(email, password, client)
    await suspend(signed_in.user.id)
    for attempt in (
        accounts.authenticate_bearer(signed_in.access_token.token),
        accounts.authenticate_cookie(signed_in.secret),
        accounts.log_in(email, password, client),
    ):
        with pytest.raises(Forbidden) as raised:
            await attempt
        assert raised.value.code == "account_suspended"
    with pytest.raises(Unauthenticated) as raised:
        await accounts.log_in(email, "not the password", client)
    assert raised.value.code == "invalid_credentials"


async def test_someone_elses_session_cannot_be_touched(
    accounts: AccountService, email: str, other_email: str, password: str, client: ClientInfo
) -> None:
    victim = await accounts.sign_up(email, password, client)
    attacker = await accounts.sign_up(other_email, password, client)
    forged = replace(attacker.session, session_id=victim.session.session_id)
    with pytest.raises(Unauthenticated):
        await accounts.refresh(forged)
    await accounts.log_out(forged)
    assert await accounts.authenticate_cookie(victim.secret) == victim.session


async def test_an_erased_person_is_nobody(
    accounts: AccountService, email: str, password: str, client: ClientInfo, owner: Connection
) -> None:
    signed_in = await accounts.sign_up(email, password, client)
    await owner.execute("delete from users where id = %s", [signed_in.user.id])
    for attempt in (
        accounts.me(UserActor(signed_in.user.id)),
        accounts.refresh(signed_in.session),
        accounts.authenticate_bearer(signed_in.access_token.token),
    ):
        with pytest.raises(Unauthenticated) as raised:
            await attempt
        assert raised.value.code == "session_expired"


async def test_purge_removes_what_is_over(
    vault: Vault,
    database: Database,
    worker_database: Database,
    clock: FixedClock,
    settings: AccountSettings,
    identities: Identities,
    email: str,
    password: str,
    client: ClientInfo,
    owner: Connection,
) -> None:
    accounts = AccountService(database, vault, clock, settings, identities)
    alive = await accounts.sign_up(email, password, client)
    revoked = await accounts.log_in(email, password, client)
    await accounts.log_out(revoked.session)
    await owner.execute(
        """update sessions set revoked_at = now() - interval '11 minutes'
           where revoked_at is not null and user_id = %s""",
        [alive.user.id],
    )
    over = AccountService(database, vault, FixedClock(clock.now() - timedelta(days=31)), settings, identities)
    expired = await over.log_in(email, password, client)
    old, fresh = uuid.uuid4().bytes * 2, uuid.uuid4().bytes * 2
    await owner.execute(
        "insert into sign_in_attempts values (%s, 3, now() - interval '25 hours'), (%s, 3, now())",
        [old, fresh],
    )

    job, *_ = jobs(AccountService(worker_database, vault, clock, settings, identities))
    assert (job.name, job.cron) == ("accounts.purge", "17 * * * * 0")
    await job.run()

    cursor = await owner.execute("select id from sessions where user_id = %s", [alive.user.id])
    assert await cursor.fetchall() == [(alive.session.session_id,)]
    assert expired.session.session_id != alive.session.session_id
    cursor = await owner.execute(
        "select key_hash from sign_in_attempts where key_hash = any(%s)", [[old, fresh]]
    )
    assert await cursor.fetchall() == [(fresh,)]


async def test_secrets_stay_out_of_logs_and_reprs(
    accounts: AccountService,
    settings: AccountSettings,
    email: str,
    password: str,
    client: ClientInfo,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    signed_in = await accounts.sign_up(email, password, client)
    again = await accounts.log_in(email, password, client)
    fresh = await accounts.refresh(signed_in.session)
    failures = [
        await _failure(accounts.log_in(email, "not the password", client)),
        await _failure(accounts.sign_up(email, password, client)),
        await _failure(accounts.authenticate_bearer(fresh.token + "x")),
        await _failure(accounts.authenticate_cookie(again.secret + "x")),
    ]
    said = caplog.text + repr(
        [signed_in, again, fresh, accounts, settings, client, failures, *map(str, failures)]
    )
    for secret in (
        email,
        password,
        "not the password",
        client.address,
        *(s.secret for s in (signed_in, again)),
        *(t.token for t in (signed_in.access_token, again.access_token, fresh)),
        *settings.signing_keys,
        settings.throttle_secret.decode(),
    ):
        assert secret not in said


async def _failure(attempt: Awaitable[object]) -> Exception:
    with pytest.raises((Unauthenticated, Conflict)) as raised:
        await attempt
    return raised.value
