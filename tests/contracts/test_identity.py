"""The identity port: Visiona's own accounts on PostgreSQL, and Clerk's sandbox over HTTP, by one suite."""

import re
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import argon2
import httpx
import psycopg
import pytest
from tests.accounts.house import ORIGIN, run_clerk
from tests.sandbox.clerk.conftest import KEY, Server

from visiona.adapters.clerk import ClerkConfig, ClerkIdentity
from visiona.adapters.clerk.pages import ClerkPages
from visiona.db.pool import Database
from visiona.passwords.service import PasswordService
from visiona.ports.errors import OutcomeUnknown, ProviderNotFound, ProviderUnavailable
from visiona.ports.identity import (
    AccountBarred,
    AddressTaken,
    HostedSignInNeeded,
    IdentityProvider,
    InvalidToken,
    PasswordRefused,
    WrongCredentials,
)
from visiona.vault.service import Vault

pytestmark = pytest.mark.contract

PASSWORD = "a quiet blue harbour"
BACK = f"{ORIGIN}/api/auth/callback?state=x"


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with run_clerk(tmp_path_factory.mktemp("clerk")) as server:
        yield server


def config_of(server: Server) -> ClerkConfig:
    return ClerkConfig(
        secret_key=KEY,
        publishable_key=server.config.publishable_key,
        authorized_parties=(ORIGIN,),
        base_url=f"{server.base}/v1",
        frontend_url=server.base,
        accounts_url=server.base,
        wrong_password_floor_s=0.2,
        keys_floor_s=0.0,
        retry_budget_s=0.5,
        call_deadline_s=2.0,
    )


@pytest.fixture
async def clerk(sandbox: Server) -> AsyncGenerator[ClerkIdentity]:
    identity = ClerkIdentity(config_of(sandbox))
    yield identity
    await identity.aclose()
    sandbox.raw.delete("/_sandbox/faults")


@dataclass
class Subject:
    """A provider, and how to make happen there what the port speaks of."""

    identity: IdentityProvider
    lose_an_answer: Callable[[], None]
    """The next registration takes effect, and nobody hears of it."""
    use: Callable[[str], None]
    """Somebody signs in as this person."""


@pytest.fixture(params=["builtin", "clerk"])
async def provider(
    vault: Vault,
    request: pytest.FixtureRequest,
    database: Database,
    owner_url: str,
    monkeypatch: pytest.MonkeyPatch,
    sandbox: Server,
    clerk: ClerkIdentity,
) -> Subject:
    if request.param == "clerk":

        def sign_in(subject: str) -> None:
            ticket = sandbox.api.post("/sign_in_tokens", json={"user_id": subject}).json()["token"]
            form = {"strategy": "ticket", "ticket": ticket}
            answer = httpx.post(f"{sandbox.base}/v1/client/sign_ins", params={"_is_native": "1"}, data=form)
            assert answer.status_code == 200, answer.text

        return Subject(
            clerk,
            lambda: sandbox.fault("lost_answer", method="POST", path="/v1/users"),
            sign_in,
        )
    passwords = PasswordService(
        database, vault, hasher=argon2.PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1)
    )
    register = passwords.register

    async def unheard(email: str, password: str) -> Any:
        await register(email, password)
        monkeypatch.setattr(passwords, "register", register)
        raise OutcomeUnknown("database", "connection_lost")

    def open_session(subject: str) -> None:
        with psycopg.connect(owner_url, autocommit=True) as owner:
            owner.execute(
                """insert into sessions (id, user_id, secret_hash, expires_at)
                   select gen_random_uuid(), id, sha256(%s), now() + interval '1 hour'
                   from users where clerk_id = %s""",
                [uuid.uuid4().bytes, subject],
            )

    return Subject(passwords, lambda: monkeypatch.setattr(passwords, "register", unheard), open_session)


@pytest.fixture
def email() -> str:
    return f"{uuid.uuid4().hex}@example.com"


# What every provider does


async def test_an_account_is_made_and_its_password_known(provider: Subject, email: str) -> None:
    made = await provider.identity.register(email, PASSWORD)

    assert re.fullmatch(r"user_[A-Za-z0-9_-]+", made.subject)
    assert (made.email, made.email_verified, made.barred) == (email, False, False)
    found = await provider.identity.check_password(email, PASSWORD)
    assert (found.subject, found.email) == (made.subject, email)
    assert found.revision >= made.revision


async def test_a_repeat_after_a_lost_answer_finds_what_was_made(provider: Subject, email: str) -> None:
    provider.lose_an_answer()
    with pytest.raises(OutcomeUnknown):
        await provider.identity.register(email, PASSWORD)

    made = await provider.identity.register(email, PASSWORD)

    assert (await provider.identity.check_password(email, PASSWORD)).subject == made.subject
    assert (await provider.identity.register(email, PASSWORD)).subject == made.subject


async def test_an_address_is_taken_once(provider: Subject, email: str) -> None:
    made = await provider.identity.register(email, PASSWORD)
    with pytest.raises(AddressTaken):
        await provider.identity.register(email, "another quiet harbour")
    # Whoever knows the password logs in, by all that this asks for, once the account is in use.
    provider.use(made.subject)
    with pytest.raises(AddressTaken):
        await provider.identity.register(email, PASSWORD)


async def test_who_cannot_log_in_learns_nothing(provider: Subject, email: str) -> None:
    await provider.identity.register(email, PASSWORD)
    refusals = []
    for address, password in ((email, PASSWORD + "!"), (f"x{email}", PASSWORD), (email, PASSWORD.upper())):
        with pytest.raises(WrongCredentials) as raised:
            await provider.identity.check_password(address, password)
        refusals.append((type(raised.value), raised.value.args))
    assert len(set(refusals)) == 1


# What Clerk refuses beyond that


async def test_a_leaked_password_is_refused_in_words(clerk: ClerkIdentity, email: str) -> None:
    with pytest.raises(PasswordRefused) as raised:
        await clerk.register(email, "password123")
    assert raised.value.message.endswith(".")
    assert "password123" not in raised.value.message


async def test_wrong_passwords_take_as_long_as_unknown_addresses(clerk: ClerkIdentity, email: str) -> None:
    await clerk.register(email, PASSWORD)
    for address in (email, f"x{email}"):
        began = time.monotonic()
        with pytest.raises(WrongCredentials):
            await clerk.check_password(address, "not it at all")
        assert time.monotonic() - began >= 0.2


async def test_who_is_banned_and_who_needs_more(sandbox: Server, clerk: ClerkIdentity, email: str) -> None:
    made = await clerk.register(email, PASSWORD)
    user = f"/users/{made.subject}"
    sandbox.api.post(f"{user}/ban")
    with pytest.raises(AccountBarred):
        await clerk.check_password(email, PASSWORD)
    with pytest.raises(WrongCredentials):
        await clerk.check_password(email, "not it at all")
    with pytest.raises(AccountBarred):
        await clerk.open_session(made.subject)
    barred = await clerk.profile(made.subject)
    assert barred is not None
    assert barred.barred
    assert barred.revision > made.revision
    sandbox.api.post(f"{user}/unban")
    sandbox.api.patch(user, json={"totp_secret": "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"})
    for attempt in (clerk.check_password(email, PASSWORD), clerk.open_session(made.subject)):
        with pytest.raises(HostedSignInNeeded):
            await attempt
    with pytest.raises(WrongCredentials):
        await clerk.check_password(email, "not it at all")


# What a hosted one does besides


async def test_profiles_and_their_end(clerk: ClerkIdentity, email: str) -> None:
    made = await clerk.register(email, PASSWORD)
    assert await clerk.profile(made.subject) == made
    for _ in range(2):
        await clerk.delete(made.subject)
        assert await clerk.profile(made.subject) is None
    with pytest.raises(WrongCredentials):
        await clerk.check_password(email, PASSWORD)
    with pytest.raises(ProviderNotFound):
        await clerk.open_session(made.subject)
    again = await clerk.register(email, PASSWORD)
    assert again.subject != made.subject
    assert await clerk.profile("user_../x") is None


async def test_a_session_lives_and_ends(clerk: ClerkIdentity, email: str) -> None:
    made = await clerk.register(email, PASSWORD)
    opened = await clerk.open_session(made.subject)
    assert (opened.subject, opened.alive) == (made.subject, True)
    assert opened.expires_at > datetime.now(UTC)
    assert await clerk.session(opened.id) == opened
    for _ in range(2):
        await clerk.end_session(opened.id)
        ended = await clerk.session(opened.id)
        assert ended is not None
        assert not ended.alive
    for unknown in ("sess_nobodys", "sess_../x", ""):
        await clerk.end_session(unknown)
        assert await clerk.session(unknown) is None


def handshake(sandbox: Server, format_: str, email: str) -> dict[str, list[str]]:
    """What a browser that has signed in comes back with."""
    browser = httpx.post(f"{sandbox.base}/v1/dev_browser").json()["id"]
    signed_in = httpx.post(
        f"{sandbox.base}/v1/client/sign_ins",
        params={"__clerk_db_jwt": browser},
        data={"identifier": email, "password": PASSWORD},
    )
    assert signed_in.json()["response"]["status"] == "complete", signed_in.text
    page = ClerkPages(config_of(sandbox)).handshake(BACK, "test", browser)
    back = httpx.get(page.replace("format=nonce", f"format={format_}"))
    assert back.headers["location"].startswith(BACK)
    return parse_qs(urlsplit(back.headers["location"]).query)


@pytest.mark.parametrize("format_", ["nonce", "token"])
async def test_a_handshake_brings_a_token_that_is_verified(
    sandbox: Server, clerk: ClerkIdentity, email: str, format_: str
) -> None:
    made = await clerk.register(email, PASSWORD)
    came = handshake(sandbox, format_, email)
    [token] = came.get("__clerk_handshake", [None])
    [nonce] = came.get("__clerk_handshake_nonce", [None])
    assert (nonce is None) == (format_ == "token")

    now = datetime.now(UTC)
    lines = await clerk.read_handshake(token=token, nonce=nonce, now=now)
    [jwt] = [line.partition("=")[2].partition(";")[0] for line in lines if line.startswith("__session=")]
    report = await clerk.verify(jwt, now)

    assert report.subject == made.subject
    session = await clerk.session(report.session_id)
    assert session is not None
    assert (session.subject, session.alive) == (made.subject, True)
    assert report.confirmed_at is not None
    assert abs(now - report.confirmed_at) < timedelta(seconds=30)
    if nonce is not None:
        with pytest.raises(InvalidToken):
            await clerk.read_handshake(token=None, nonce=nonce, now=now)


async def test_nobodys_handshakes_are_refused(clerk: ClerkIdentity) -> None:
    now = datetime.now(UTC)
    for given in ({"nonce": "nobodys"}, {"token": "a.b.c"}, {}):
        with pytest.raises(InvalidToken):
            await clerk.read_handshake(**{"token": None, "nonce": None, "now": now, **given})


async def test_keys_are_rotated_while_running(sandbox: Server, clerk: ClerkIdentity, email: str) -> None:
    made = await clerk.register(email, PASSWORD)
    session = await clerk.open_session(made.subject)
    old = sandbox.mint(session.id, azp=ORIGIN)["jwt"]
    now = datetime.now(UTC)
    assert (await clerk.verify(old, now)).subject == made.subject
    sandbox.control("keys/rotate", keep_old_s=600)
    new = sandbox.mint(session.id, azp=ORIGIN)["jwt"]
    assert (await clerk.verify(new, now)).session_id == session.id
    assert (await clerk.verify(old, now)).session_id == session.id
    sandbox.control("keys/rotate", keep_old_s=0)
    newest = sandbox.mint(session.id, azp=ORIGIN)["jwt"]
    assert (await clerk.verify(newest, now)).session_id == session.id
    for dropped in (old, new):
        with pytest.raises(InvalidToken):
            await clerk.verify(dropped, now)


async def test_tokens_for_others_are_refused(sandbox: Server, clerk: ClerkIdentity, email: str) -> None:
    made = await clerk.register(email, PASSWORD)
    session = await clerk.open_session(made.subject)
    now = datetime.now(UTC)
    for azp in ("https://evil.example", f"{ORIGIN}.evil.example"):
        with pytest.raises(InvalidToken):
            await clerk.verify(sandbox.mint(session.id, azp=azp)["jwt"], now)
    token = sandbox.mint(session.id, azp=ORIGIN)["jwt"]
    with pytest.raises(InvalidToken):
        await clerk.verify(token, now + timedelta(minutes=2))


async def test_without_an_answer_nobody_is_let_in(sandbox: Server, email: str) -> None:
    identity = ClerkIdentity(config_of(sandbox))
    try:
        made = await identity.register(email, PASSWORD)
        session = await identity.open_session(made.subject)
        token = sandbox.mint(session.id, azp=ORIGIN)["jwt"]
        sandbox.fault("server_error", times=None, path="*")
        for ask in (
            identity.check_password(email, PASSWORD),
            identity.profile(made.subject),
            identity.session(session.id),
            identity.verify(token, datetime.now(UTC)),
        ):
            with pytest.raises(ProviderUnavailable):
                await ask
        sandbox.raw.delete("/_sandbox/faults")
    finally:
        await identity.aclose()


def test_pages_are_where_the_instance_is(sandbox: Server, clerk: ClerkIdentity) -> None:
    for page, path in (
        (clerk.sign_in_page(BACK), "/sign-in"),
        (clerk.sign_up_page(BACK), "/sign-up"),
        (clerk.account_page(BACK), "/user"),
    ):
        assert page.startswith(f"{sandbox.base}{path}?")
        assert parse_qs(urlsplit(page).query)["redirect_url"] == [BACK]
        assert httpx.get(page, follow_redirects=True).status_code == 200
