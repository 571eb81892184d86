"""Mails wait in the database with what they tell of, and are sent, tried again, or given up."""

import asyncio
import uuid
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg.errors import CheckViolation
from tests.factories.people import MakeUser, OpenDatabase, add_row

from visiona.core.clock import FixedClock
from visiona.core.guard import in_transaction
from visiona.db.actor import SystemActor, UserActor
from visiona.db.jobs import RetryLater
from visiona.db.pool import Connection, Database
from visiona.mail import service as mails
from visiona.mail.jobs import jobs
from visiona.mail.model import Kind, LinkTokens, MailSettings
from visiona.mail.service import SEND_TASK, MailService
from visiona.ports.errors import OutcomeUnknown, ProviderRejected, ProviderUnavailable
from visiona.ports.mailer import Message
from visiona.vault.service import Vault

SECRET = b"a secret of thirty-two bytes...."
SETTINGS = MailSettings(origin="https://visiona.example", link_secret=SECRET)
UNAVAILABLE = ProviderUnavailable("smtp", "451")
UNKNOWN = OutcomeUnknown("smtp", "no answer")
REJECTED = ProviderRejected("smtp", "550", status=550, message="no")


@dataclass
class PostOffice:
    """A mailer that remembers, and fails as `failures` say, one after the other."""

    sent: list[Message] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)
    gate: asyncio.Event | None = None
    reached: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, message: Message) -> None:
        assert not in_transaction()
        self.sent.append(message)
        self.reached.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.failures:
            raise self.failures.pop(0)


@pytest.fixture
def office() -> PostOffice:
    return PostOffice()


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(datetime.now(UTC))


@pytest.fixture
def service(vault: Vault, worker_database: Database, clock: FixedClock, office: PostOffice) -> MailService:
    return MailService(worker_database, vault, clock, office, SETTINGS)


async def post(
    database: Database,
    vault: Vault,
    actor: UserActor,
    kind: Kind = Kind.PASSWORD_CHANGED,
    *,
    address: str | None = None,
    reference: uuid.UUID | None = None,
    **more: Any,
) -> uuid.UUID:
    """A `reference` is the id of a link to `address`, which is made beforehand."""
    cipher = await vault.cipher(actor.user_id)
    async with database.transaction(actor) as connection:
        if reference is not None:
            to = cipher.seal("email_links.address", address or f"{actor.subject}@example.com")
            await connection.execute(
                """insert into email_links (id, user_id, purpose, address, expires_at)
                   values (%s, %s, 'reset', %s, now() + interval '1 hour')""",
                [reference, actor.user_id, to],
            )
            return await mails.post(connection, actor.user_id, kind, reference=reference, **more)
        sealed = cipher.seal_optional("mails.address", address)
        return await mails.post(connection, actor.user_id, kind, address=sealed, **more)


async def row(owner: Connection, mail_id: uuid.UUID) -> dict[str, Any]:
    async with owner.cursor(row_factory=psycopg.rows.dict_row) as cursor:
        await cursor.execute("select * from mails where id = %s", [mail_id])
        found = await cursor.fetchone()
    assert found is not None
    return found


async def queued(owner: Connection, mail_id: uuid.UUID) -> int:
    cursor = await owner.execute(
        """select count(*) from procrastinate.procrastinate_jobs
           where task_name = %s and args = jsonb_build_object('mail_id', %s::text)""",
        [SEND_TASK, str(mail_id)],
    )
    found = await cursor.fetchone()
    assert found is not None
    return found[0]


async def test_a_mail_is_sent_to_the_persons_address(
    vault: Vault,
    database: Database,
    owner: Connection,
    make_user: MakeUser,
    service: MailService,
    office: PostOffice,
) -> None:
    actor = await make_user()
    mail_id = await post(database, vault, actor)
    assert await queued(owner, mail_id) == 1
    await service.send(mail_id)
    (message,) = office.sent
    assert message.to == f"{actor.subject}@example.com"
    assert message.id == str(mail_id)
    assert message.subject == "Your Visiona password was changed"
    kept = await row(owner, mail_id)
    assert (kept["state"], kept["attempts"]) == ("sent", 1)
    assert kept["sent_at"] is not None
    await service.send(mail_id)
    assert len(office.sent) == 1


async def test_a_mail_goes_with_its_transaction(
    database: Database, owner: Connection, make_user: MakeUser
) -> None:
    actor, posted = await make_user(), list[uuid.UUID]()

    async def fail() -> None:
        async with database.transaction(actor) as connection:
            posted.append(await mails.post(connection, actor.user_id, Kind.PASSWORD_CHANGED))
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    assert await queued(owner, posted[0]) == 0
    cursor = await owner.execute("select from mails where id = %s", [posted[0]])
    assert cursor.rowcount == 0


async def test_a_link_is_made_when_the_mail_is_sent(
    vault: Vault,
    database: Database,
    owner: Connection,
    make_user: MakeUser,
    service: MailService,
    office: PostOffice,
) -> None:
    """What is in the database and the queue opens nothing."""
    actor, link_id = await make_user(), uuid.uuid4()
    token = LinkTokens(SECRET).issue(link_id)
    mail_id = await post(database, vault, actor, Kind.RESET_PASSWORD, reference=link_id)
    assert token not in str(await row(owner, mail_id))
    await service.send(mail_id)
    link = f"https://visiona.example/reset?token={token}"
    assert link in office.sent[0].text
    assert link in office.sent[0].html
    assert (await row(owner, mail_id))["reference"] is None


async def test_another_address_is_forgotten_when_the_mail_has_left(
    vault: Vault,
    database: Database,
    owner: Connection,
    make_user: MakeUser,
    service: MailService,
    office: PostOffice,
) -> None:
    actor = await make_user()
    mail_id = await post(database, vault, actor, Kind.ADDRESS_CHANGED, address="before@example.org")
    await service.send(mail_id)
    assert office.sent[0].to == "before@example.org"
    assert (await row(owner, mail_id))["address"] is None


async def test_a_link_goes_to_the_address_that_it_is_for(
    vault: Vault, database: Database, make_user: MakeUser, service: MailService, office: PostOffice
) -> None:
    actor = await make_user()
    mail_id = await post(
        database, vault, actor, Kind.CHANGE_ADDRESS, address="new@example.org", reference=uuid.uuid4()
    )
    await service.send(mail_id)
    assert office.sent[0].to == "new@example.org"


async def test_a_mail_with_a_link_has_no_other_address(
    vault: Vault, database: Database, make_user: MakeUser
) -> None:
    actor, link_id = await make_user(), uuid.uuid4()
    await post(database, vault, actor, Kind.RESET_PASSWORD, reference=link_id)
    elsewhere = (await vault.cipher(actor.user_id)).seal("mails.address", "elsewhere@example.org")
    with pytest.raises(CheckViolation, match="mails_link_says_where"):
        async with database.transaction(actor) as connection:
            await mails.post(
                connection, actor.user_id, Kind.RESET_PASSWORD, address=elsewhere, reference=link_id
            )


async def test_a_mail_to_somebody_who_was_erased_is_given_up(
    vault: Vault,
    database: Database,
    owner: Connection,
    make_user: MakeUser,
    service: MailService,
    office: PostOffice,
) -> None:
    actor = await make_user()
    mail_id = await post(database, vault, actor)
    await vault.destroy(actor.user_id)
    await service.send(mail_id)
    assert office.sent == []
    assert (await row(owner, mail_id))["state"] == "given_up"


async def test_the_address_is_the_one_of_now(
    vault: Vault,
    database: Database,
    owner: Connection,
    make_user: MakeUser,
    service: MailService,
    office: PostOffice,
) -> None:
    actor = await make_user()
    mail_id = await post(database, vault, actor)
    moved = f"moved-{actor.user_id}@example.com"
    sealed = (await vault.cipher(actor.user_id)).seal("users.email", moved)
    await owner.execute("update users set email = %s where id = %s", [sealed, actor.user_id])
    await service.send(mail_id)
    assert office.sent[0].to == moved


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        (Kind.VERIFY_ADDRESS, {}),
        (Kind.RESET_PASSWORD, {}),
        (Kind.TRIAL_ENDS, {"details": {"date": "2026-12-03"}}),
        (Kind.PAYMENT_FAILED, {}),
    ],
)
async def test_what_could_not_be_written_cannot_be_posted(
    vault: Vault, database: Database, make_user: MakeUser, kind: Kind, more: dict[str, Any]
) -> None:
    actor = await make_user()
    with pytest.raises(ValueError, match="a mail of the kind"):
        await post(database, vault, actor, kind, **more)


# When it fails


@pytest.mark.parametrize("failure", [UNAVAILABLE, UNKNOWN])
async def test_a_mail_is_tried_again_with_growing_pauses_under_one_id(
    vault: Vault,
    database: Database,
    owner: Connection,
    make_user: MakeUser,
    service: MailService,
    office: PostOffice,
    clock: FixedClock,
    failure: Exception,
) -> None:
    mail_id = await post(database, vault, await make_user())
    pauses: list[timedelta] = []
    office.failures = [failure] * 4
    for _ in range(4):
        with pytest.raises(RetryLater):
            await service.send(mail_id)
        await service.send(mail_id)  # too early: nothing happens
        before = clock.instant
        clock.instant = (await row(owner, mail_id))["next_attempt_at"]
        pauses.append(clock.instant - before)
    await service.send(mail_id)
    assert pauses == [timedelta(seconds=seconds) for seconds in (30, 60, 120, 240)]
    assert {message.id for message in office.sent} == {str(mail_id)}
    assert len(office.sent) == 5
    kept = await row(owner, mail_id)
    assert (kept["state"], kept["attempts"]) == ("sent", 5)


async def test_a_mail_is_given_up_after_a_day(
    vault: Vault,
    database: Database,
    owner: Connection,
    make_user: MakeUser,
    service: MailService,
    office: PostOffice,
    clock: FixedClock,
) -> None:
    mail_id = await post(database, vault, await make_user())
    started = clock.instant
    office.failures = [UNAVAILABLE] * 1000
    while (await row(owner, mail_id))["state"] == "waiting":
        try:
            await service.send(mail_id)
        except RetryLater:
            clock.instant = (await row(owner, mail_id))["next_attempt_at"]
    assert timedelta(hours=24) <= clock.instant - started < timedelta(hours=25)
    assert (await row(owner, mail_id))["state"] == "given_up"
    assert 20 < len(office.sent) < 40


async def test_a_refused_mail_is_not_tried_again(
    vault: Vault,
    database: Database,
    owner: Connection,
    make_user: MakeUser,
    service: MailService,
    office: PostOffice,
) -> None:
    mail_id = await post(database, vault, await make_user())
    office.failures = [REJECTED]
    await service.send(mail_id)
    await service.send(mail_id)
    assert len(office.sent) == 1
    kept = await row(owner, mail_id)
    assert (kept["state"], kept["sent_at"]) == ("refused", None)


async def test_a_mail_of_which_a_worker_died_is_taken_over(
    vault: Vault,
    database: Database,
    make_user: MakeUser,
    service: MailService,
    office: PostOffice,
    clock: FixedClock,
) -> None:
    """At least once: nobody knows whether the dead one had sent it."""
    mail_id = await post(database, vault, await make_user())
    office.failures = [KeyboardInterrupt()]  # type: ignore[list-item] # no error of ours
    with pytest.raises(KeyboardInterrupt):
        await service.send(mail_id)
    clock.instant += timedelta(minutes=1)
    await service.send(mail_id)
    assert len(office.sent) == 1
    clock.instant += timedelta(minutes=1)
    await service.send(mail_id)
    assert [message.id for message in office.sent] == [str(mail_id)] * 2


async def test_two_workers_send_one_mail(
    vault: Vault,
    database: Database,
    worker_database: Database,
    make_user: MakeUser,
    service: MailService,
    office: PostOffice,
    clock: FixedClock,
) -> None:
    mail_id = await post(database, vault, await make_user())
    other = MailService(worker_database, vault, clock, office, SETTINGS)
    await asyncio.gather(*(one.send(mail_id) for one in (service, other) * 5))
    assert len(office.sent) == 1


async def test_while_the_server_is_silent_one_mail_at_a_time_tries_it(
    vault: Vault, database: Database, make_user: MakeUser, service: MailService, office: PostOffice
) -> None:
    actor = await make_user()
    first, second, third = [await post(database, vault, actor) for _ in range(3)]
    office.failures = [UNAVAILABLE]
    with pytest.raises(RetryLater):
        await service.send(first)
    office.gate = asyncio.Event()
    office.reached.clear()
    probe = asyncio.create_task(service.send(second))
    await office.reached.wait()
    with pytest.raises(RetryLater):
        await service.send(third)
    assert len(office.sent) == 2
    office.gate.set()
    await probe
    await service.send(third)
    assert [message.id for message in office.sent] == [str(first), str(second), str(third)]


# Whom it concerns no more


async def test_mails_of_somebody_who_is_gone_are_gone(
    vault: Vault,
    database: Database,
    owner: Connection,
    make_user: MakeUser,
    service: MailService,
    office: PostOffice,
) -> None:
    actor = await make_user()
    mail_id = await post(database, vault, actor)
    await owner.execute("delete from users where id = %s", [actor.user_id])
    await service.send(mail_id)
    assert office.sent == []


async def test_somebody_who_is_suspended_gets_news_and_no_links(
    vault: Vault,
    database: Database,
    owner: Connection,
    make_user: MakeUser,
    service: MailService,
    office: PostOffice,
) -> None:
    actor = await make_user()
    link = await post(database, vault, actor, Kind.RESET_PASSWORD, reference=uuid.uuid4())
    news = await post(database, vault, actor, Kind.ACCOUNT_SUSPENDED)
    await owner.execute("update users set status = 'suspended' where id = %s", [actor.user_id])
    for mail_id in (link, news):
        await service.send(mail_id)
    assert [message.id for message in office.sent] == [str(news)]
    assert (await row(owner, link))["state"] == "given_up"


async def test_a_link_that_has_expired_is_not_sent(
    vault: Vault,
    database: Database,
    make_user: MakeUser,
    service: MailService,
    office: PostOffice,
    clock: FixedClock,
) -> None:
    mail_id = await post(database, vault, await make_user(), Kind.RESET_PASSWORD, reference=uuid.uuid4())
    clock.instant += timedelta(minutes=31)
    await service.send(mail_id)
    assert office.sent == []


# Periodic jobs; on a database of its own, since they concern everybody's mails


Own = tuple[Connection, MailService, Database, int]


@pytest.fixture
async def own(
    own_vault: Vault,
    own_database_url: str,
    worker_url: str,
    open_database: OpenDatabase,
    clock: FixedClock,
    office: PostOffice,
) -> AsyncGenerator[Own]:
    url = urlsplit(worker_url)._replace(path=urlsplit(own_database_url).path).geturl()
    async with (
        await psycopg.AsyncConnection.connect(own_database_url, autocommit=True) as owner,
        open_database(url=url) as database,
    ):
        user_id = await add_row(owner, "user_1", "a@example.com", own_vault)
        yield owner, MailService(database, own_vault, clock, office, SETTINGS), database, user_id


async def test_the_sweep_asks_for_those_that_wait(own: Own, office: PostOffice, clock: FixedClock) -> None:
    owner, service, database, user_id = own
    async with database.transaction(SystemActor("test")) as connection:
        lost, fresh, failing, done = [
            await mails.post(connection, user_id, Kind.PASSWORD_CHANGED) for _ in range(4)
        ]
    await owner.execute("update mails set created_at = now() - interval '31 s' where id = %s", [lost])
    office.failures = [UNAVAILABLE]
    with pytest.raises(RetryLater):
        await service.send(failing)
    await service.send(done)
    async with database.transaction(SystemActor("test")) as connection:
        await connection.execute("delete from procrastinate.procrastinate_jobs")

    async def asked_for() -> dict[uuid.UUID, int]:
        await service.sweep()
        return {mail_id: await queued(owner, mail_id) for mail_id in (lost, fresh, failing, done)}

    assert await asked_for() == {lost: 1, fresh: 0, failing: 0, done: 0}
    clock.instant += timedelta(seconds=31)
    assert await asked_for() == {lost: 1, fresh: 1, failing: 1, done: 0}
    send = next(job for job in jobs(service) if job.name == SEND_TASK)
    await send.run(mail_id=str(lost))
    assert (await row(owner, lost))["state"] == "sent"


async def test_mails_are_forgotten_after_a_month(own: Own, clock: FixedClock) -> None:
    owner, service, database, user_id = own
    async with database.transaction(SystemActor("test")) as connection:
        old, young = [await mails.post(connection, user_id, Kind.PASSWORD_CHANGED) for _ in range(2)]
    await owner.execute(
        "update mails set created_at = %s where id = %s", [clock.instant - timedelta(days=30, seconds=1), old]
    )
    await service.purge()
    cursor = await owner.execute("select id from mails")
    assert await cursor.fetchall() == [(young,)]


# What the database itself refuses


async def test_nobody_posts_to_somebody_else(database: Database, make_user: MakeUser) -> None:
    actor, stranger = await make_user(), await make_user()
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with database.transaction(stranger) as connection:
            await mails.post(connection, actor.user_id, Kind.PASSWORD_CHANGED)


@pytest.mark.parametrize(
    "statement", ["select from mails", "update mails set attempts = 0", "delete from mails"]
)
async def test_the_application_cannot_look_at_mails(
    vault: Vault, database: Database, make_user: MakeUser, statement: str
) -> None:
    actor = await make_user()
    await post(database, vault, actor)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with database.transaction(actor) as connection:
            await connection.execute(statement)


async def test_what_was_told_once_is_the_workers_to_say(
    database: Database, worker_database: Database, owner: Connection, make_user: MakeUser
) -> None:
    """Somebody who could write it could keep news from being told."""
    actor = await make_user()
    news = (Kind.SUBSCRIPTION_ENDED, "subscription_ended:sub_1", {})
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with database.transaction(actor) as connection:
            await mails.post_once(connection, actor.user_id, *news)
    async with worker_database.transaction(SystemActor("test")) as connection:
        first = await mails.post_once(connection, actor.user_id, *news)
        assert await mails.post_once(connection, actor.user_id, *news) is None
    assert first is not None
    assert await queued(owner, first) == 1
    other = await make_user()
    async with worker_database.transaction(SystemActor("test")) as connection:
        assert await mails.post_once(connection, other.user_id, *news) is not None


async def test_details_are_short(vault: Vault, database: Database, make_user: MakeUser) -> None:
    actor = await make_user()
    with pytest.raises(psycopg.errors.CheckViolation):
        await post(database, vault, actor, details={"long": "x" * 2000})
