"""Accounts on the real database, with a clock that stands still and hashing that is counted."""

import secrets
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta

import argon2
import psycopg
import pytest
from tests.accounts.house import House, open_house, run_clerk
from tests.conftest import copied_database
from tests.factories.mail import MailServer, run_mail_sandbox
from tests.sandbox.clerk.conftest import Server

from visiona.accounts.model import AccountSettings, SignedIn, derived_signing_key
from visiona.accounts.service import AccountService, Identities
from visiona.core.client import ClientInfo
from visiona.core.clock import FixedClock
from visiona.db.pool import Connection, Database
from visiona.factors.model import FactorSettings
from visiona.factors.service import FactorService
from visiona.passwords.service import PasswordService
from visiona.vault.service import Vault

PASSWORD = "a quiet blue harbour"


class CountingHasher(argon2.PasswordHasher):
    """The production parameters; `hashed` and `verified` say how often work was done."""

    def __init__(self) -> None:
        super().__init__(time_cost=2, memory_cost=19_456, parallelism=1)
        self.hashed = 0
        self.verified: list[str] = []

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        self.hashed += 1
        return super().hash(password, salt=salt)

    def verify(self, hash: str, password: str | bytes) -> bool:  # noqa: A002 - the library's name
        self.verified.append(hash)
        return super().verify(hash, password)


@pytest.fixture(scope="session")
def signing_key() -> str:
    return derived_signing_key(secrets.token_bytes(32))


@pytest.fixture
def settings(signing_key: str) -> AccountSettings:
    return AccountSettings((signing_key,), "https://visiona.example", b"throttle secret")


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(datetime.now(UTC))


@pytest.fixture
def hasher() -> CountingHasher:
    return CountingHasher()


@pytest.fixture
def identities(vault: Vault, database: Database, clock: FixedClock, hasher: CountingHasher) -> Identities:
    factors = FactorSettings(
        code_keys=(b"c" * 32,),
        rp_id="visiona.example",
        rp_name="Visiona",
        origins=("https://visiona.example",),
    )
    return Identities(
        PasswordService(database, vault, hasher=hasher), FactorService(database, vault, clock, factors)
    )


@pytest.fixture
def accounts(
    vault: Vault, database: Database, clock: FixedClock, settings: AccountSettings, identities: Identities
) -> AccountService:
    return AccountService(database, vault, clock, settings, identities)


@pytest.fixture
def password() -> str:
    return PASSWORD


@pytest.fixture
def email() -> str:
    """An address that no other test uses."""
    return f"{uuid.uuid4().hex}@example.com"


@pytest.fixture
def other_email() -> str:
    return f"{uuid.uuid4().hex}@example.com"


@pytest.fixture
def new_client() -> Callable[[], ClientInfo]:
    """Each call answers a client in a network of its own, so that tests do not slow each other."""
    return lambda: ClientInfo(
        f"2001:db8:{secrets.randbelow(2**16):x}:{secrets.randbelow(2**16):x}::1", "test"
    )


@pytest.fixture
def client(new_client: Callable[[], ClientInfo]) -> ClientInfo:
    return new_client()


@pytest.fixture
async def signed_in(accounts: AccountService, email: str, password: str, client: ClientInfo) -> SignedIn:
    return await accounts.sign_up(email, password, client)


@pytest.fixture
async def owner(owner_url: str) -> AsyncGenerator[Connection]:
    """A connection that sees everything."""
    async with await psycopg.AsyncConnection.connect(owner_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def suspend(owner: Connection) -> Callable[[int], Awaitable[None]]:
    async def suspend(user_id: int) -> None:
        await owner.execute("update users set status = 'suspended' where id = %s", [user_id])

    return suspend


# Whole houses: one for each module, lent to each test with the clock and the faults put right


@pytest.fixture(scope="session")
def mail_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MailServer]:
    with run_mail_sandbox(tmp_path_factory.mktemp("mail")) as server:
        yield server


@pytest.fixture(scope="session")
def clerk_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with run_clerk(tmp_path_factory.mktemp("clerk")) as server:
        yield server


@pytest.fixture(scope="module")
async def builtin_house(
    postgres: str,
    migrated_template: str,
    mail_server: MailServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncGenerator[House]:
    with copied_database(postgres, migrated_template) as url:
        async with open_house(url, tmp_path_factory.mktemp("house"), mail=mail_server) as house:
            yield house


@pytest.fixture
async def house(builtin_house: House) -> AsyncGenerator[House]:
    """A Visiona with accounts of its own."""
    yield builtin_house
    builtin_house.clock.shift = timedelta(0)


@pytest.fixture(scope="module")
async def module_clerk_house(
    postgres: str,
    migrated_template: str,
    clerk_server: Server,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncGenerator[House]:
    with copied_database(postgres, migrated_template) as url:
        async with open_house(url, tmp_path_factory.mktemp("house"), clerk=clerk_server) as house:
            yield house


@pytest.fixture
async def clerk_house(module_clerk_house: House) -> AsyncGenerator[House]:
    """A Visiona whose accounts are at Clerk."""
    yield module_clerk_house
    module_clerk_house.clock.shift = timedelta(0)
    module_clerk_house.there.raw.delete("/_sandbox/faults")
    await module_clerk_house.rows("delete from procrastinate.procrastinate_jobs")
