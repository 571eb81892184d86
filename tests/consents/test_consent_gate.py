"""No face is processed without a consent that holds, whichever way is tried; withdrawing deletes."""

import asyncio
import uuid
from pathlib import Path

import psycopg
import pytest
from tests.factories.people import MakeUser
from tests.photos.test_photo_limit import AnyImage

from visiona.adapters.objects import open_store
from visiona.consents.model import Answer, State, Subject, current_text
from visiona.consents.service import ConsentService
from visiona.core.client import ClientInfo
from visiona.core.clock import SystemClock
from visiona.core.errors import Conflict, Forbidden, Invalid, NotFound
from visiona.core.origin import Origin, coming_from
from visiona.db.actor import UserActor
from visiona.db.pool import Connection, Database
from visiona.objects.model import LinkSigner
from visiona.objects.service import ObjectService
from visiona.photos.service import PhotoService
from visiona.vault.service import Vault

ANSWER = Answer("Ada Lovelace", ClientInfo("203.0.113.7", "A browser"))


class _Rooms:
    """The consents and photos of somebody who has not consented yet."""

    def __init__(
        self, database: Database, worker: Database, vault: Vault, actor: UserActor, folder: Path
    ) -> None:
        clock = SystemClock()
        store = open_store((folder / "objects").as_uri())
        objects = ObjectService(database, vault, store, LinkSigner(b"secret"), clock)
        self.actor, self.folder = actor, folder
        self.consents = ConsentService(database, vault, clock, "https://visiona.test")
        self.photos = PhotoService(database, objects, AnyImage())
        self.of_the_worker = PhotoService(worker, objects, AnyImage())

    async def add(self, consent_id: uuid.UUID | None = None) -> int:
        source = self.folder / uuid.uuid4().hex
        await asyncio.to_thread(source.write_text, source.name)
        return (await self.photos.add(self.actor, source, consent_id)).id

    def stored(self) -> int:
        return sum(path.is_file() for path in (self.folder / "objects").rglob("*"))


@pytest.fixture
async def rooms(
    database: Database,
    worker_database: Database,
    owner: Connection,
    make_user: MakeUser,
    vault: Vault,
    tmp_path: Path,
) -> _Rooms:
    actor = await make_user()
    await owner.execute("delete from consents where user_id = %s", [actor.user_id])
    return _Rooms(database, worker_database, vault, actor, tmp_path)


async def test_nothing_is_stored_before_the_first_consent(rooms: _Rooms, owner: Connection) -> None:
    with pytest.raises(Forbidden) as refused:
        await rooms.add()
    assert refused.value.code == "consent_needed"
    assert rooms.stored() == 0
    consent = await rooms.consents.give(rooms.actor, ANSWER)
    assert await rooms.add()
    cursor = await owner.execute(
        """select version, text_sha256, purpose, retention, answered_at is not null, name, client
           from consents where id = %s""",
        [consent.id],
    )
    row = await cursor.fetchone()
    assert row is not None
    text = current_text()
    assert row[:5] == (
        text.version,
        text.sha256,
        "train_and_generate",
        "until_withdrawn_or_account_deleted",
        True,
    )
    assert all(b"Ada" not in value and b"203.0.113" not in value for value in row[5:])
    (kept,) = await rooms.consents.page(rooms.actor)
    assert (kept.name, kept.subject, kept.current) == ("Ada Lovelace", Subject.SELF, True)


async def test_the_database_refuses_on_its_own(rooms: _Rooms, database: Database, owner: Connection) -> None:
    """Whatever the application forgets: photos, clones and consents of other states."""
    user = rooms.actor.user_id
    for statement in (
        """insert into photos (user_id, file_url, thumbnail_url, width, height, size, sha256)
           values (%(user)s, 'u' || %(user)s || '/a', 'u' || %(user)s || '/b', 1, 1, 1, repeat('a', 64))""",
        """insert into models (user_id, trigger_word, parameters, photo_count)
           values (%(user)s, '\\xf8', '\\xf8', 1)""",
        """insert into consents (id, user_id, subject, state, label, expires_at, version, text_sha256, name,
             client, answered_at)
           values (gen_random_uuid(), %(user)s, 'other', 'given', '\\xf8', now(), '2026-11-23',
             sha256('x'), '\\xf8', '\\xf8', now())""",
        """insert into consents (id, user_id, subject, state, version, text_sha256, name, client, answered_at)
           values (gen_random_uuid(), %(user)s, 'self', 'given', '2020-01-01', sha256('x'), '\\xf8', '\\xf8',
             now())""",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            async with database.transaction(rooms.actor) as connection:
                await connection.execute(statement, {"user": user})
    _, link = await rooms.consents.ask(rooms.actor, "Aunt Maria")
    asked = (await rooms.consents.asked(link.rpartition("/")[2])).id
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with database.transaction(rooms.actor) as connection:
            await connection.execute("update consents set state = 'given' where id = %s", [asked])
    cursor = await owner.execute("select state from consents where id = %s", [asked])
    assert await cursor.fetchone() == ("asked",)


async def test_somebody_else_answers_for_themself(rooms: _Rooms, owner: Connection) -> None:
    await rooms.consents.give(rooms.actor, ANSWER)
    asked, link = await rooms.consents.ask(rooms.actor, "Aunt Maria")
    token = link.rpartition("/")[2]
    with pytest.raises(Forbidden):
        await rooms.add(asked.id)
    found = await rooms.consents.asked(token)
    assert (found.label, found.state) == ("Aunt Maria", State.ASKED)
    await rooms.consents.answer(token, Answer("Maria Mitchell", ANSWER.client))
    with pytest.raises(Conflict):
        await rooms.consents.answer(token, Answer("Somebody Else", ANSWER.client))
    photo = await rooms.add(asked.id)
    assert await rooms.consents.end(token) is State.WITHDRAWN
    assert await rooms.consents.end(token) is State.WITHDRAWN
    with pytest.raises(Forbidden):
        await rooms.add(asked.id)
    own = await rooms.add()
    await rooms.of_the_worker.forget(rooms.actor.user_id, asked.id)
    cursor = await owner.execute("select id from photos where user_id = %s", [rooms.actor.user_id])
    assert {row[0] for row in await cursor.fetchall()} == {own} != {photo}


async def test_whoever_asks_for_somebody_else_does_not_answer_for_them(
    rooms: _Rooms, make_user: MakeUser
) -> None:
    """Not while they are signed in. Somebody else who has an account may well answer from it."""
    asked, link = await rooms.consents.ask(rooms.actor, "Aunt Maria")
    token = link.rpartition("/")[2]
    with pytest.raises(Forbidden) as refused:
        await rooms.consents.answer(token, Answer("Maria Mitchell", ANSWER.client), rooms.actor)
    assert refused.value.code == "consent_for_another"
    assert (await rooms.consents.asked(token)).state is State.ASKED
    await rooms.consents.answer(token, Answer("Maria Mitchell", ANSWER.client), await make_user())
    assert await rooms.add(asked.id)


async def test_what_somebody_else_says_is_on_record_and_where_they_are_is_not(
    rooms: _Rooms, owner: Connection, vault: Vault
) -> None:
    """In the log of whoever asked, who reads it: even where another account's request brings the answer."""
    other = await vault.create(rooms.actor.user_id + 1_000_000)
    origin = Origin(
        request_id="r1",
        via="key",
        via_id="7",
        user_id=other.user_id,
        client=ANSWER.client,
        sealed_client=other.seal("audit_logs.client", "somewhere"),
    )
    asked, link = await rooms.consents.ask(rooms.actor, "Aunt Maria")
    refused, second = await rooms.consents.ask(rooms.actor, "Uncle John")
    with coming_from(origin):
        await rooms.consents.answer(link.rpartition("/")[2], Answer("Maria Mitchell", ANSWER.client))
        await rooms.consents.end(link.rpartition("/")[2])
        await rooms.consents.end(second.rpartition("/")[2])
    cursor = await owner.execute(
        """select action, details ->> 'consent', actor_kind, actor_id, request_id, client from audit_logs
           where user_id = %s and action in ('consent.given', 'consent.withdrawn', 'consent.refused')
           order by id""",
        [rooms.actor.user_id],
    )
    assert await cursor.fetchall() == [
        ("consent.given", str(asked.id), "visitor", None, "r1", None),
        ("consent.withdrawn", str(asked.id), "visitor", None, "r1", None),
        ("consent.refused", str(refused.id), "visitor", None, "r1", None),
    ]
    cursor = await owner.execute(
        """select count(*) from procrastinate.procrastinate_jobs
           where task_name = 'consents.forget' and args ->> 'consent_id' = %s""",
        [str(asked.id)],
    )
    assert await cursor.fetchone() == (1,)


async def test_consenting_anew_does_not_bring_back_what_is_being_deleted(
    rooms: _Rooms, owner: Connection
) -> None:
    first = await rooms.consents.give(rooms.actor, ANSWER)
    withdrawn = await rooms.add()
    await rooms.consents.withdraw(rooms.actor, first.id)
    await rooms.consents.give(rooms.actor, ANSWER)
    kept = await rooms.add()
    await rooms.of_the_worker.forget(rooms.actor.user_id, first.id)
    cursor = await owner.execute("select id from photos where user_id = %s", [rooms.actor.user_id])
    assert {row[0] for row in await cursor.fetchall()} == {kept} != {withdrawn}


async def test_a_new_text_takes_over_what_hangs_on_an_older_consent_that_stands(
    rooms: _Rooms, owner: Connection
) -> None:
    first = await rooms.consents.give(rooms.actor, ANSWER)
    photo = await rooms.add()
    second = await rooms.consents.give(rooms.actor, ANSWER)
    cursor = await owner.execute("select consent_id from photos where id = %s", [photo])
    assert await cursor.fetchone() == (second.id,) != (first.id,)


async def test_whoever_refuses_is_not_used_and_not_asked_twice(rooms: _Rooms) -> None:
    asked, link = await rooms.consents.ask(rooms.actor, "Aunt Maria")
    token = link.rpartition("/")[2]
    assert await rooms.consents.end(token) is State.REFUSED
    with pytest.raises(Conflict):
        await rooms.consents.answer(token, ANSWER)
    with pytest.raises(Forbidden):
        await rooms.add(asked.id)


async def test_a_link_ends_with_its_time(rooms: _Rooms, owner: Connection) -> None:
    asked, link = await rooms.consents.ask(rooms.actor, "Aunt Maria")
    await owner.execute("update consents set expires_at = now() where id = %s", [asked.id])
    with pytest.raises(NotFound):
        await rooms.consents.answer(link.rpartition("/")[2], ANSWER)


async def test_requests_are_limited(rooms: _Rooms) -> None:
    made = await asyncio.gather(
        *(rooms.consents.ask(rooms.actor, f"Cousin {number}") for number in range(24)), return_exceptions=True
    )
    assert sum(isinstance(one, Conflict) for one in made) == 4
    with pytest.raises(Invalid):
        await rooms.consents.ask(rooms.actor, " ")


async def test_anothers_consent_is_none(rooms: _Rooms, make_user: MakeUser) -> None:
    other = await make_user()
    (theirs,) = await rooms.consents.page(other)
    with pytest.raises(Forbidden):
        await rooms.add(theirs.id)
    with pytest.raises(NotFound):
        await rooms.consents.withdraw(rooms.actor, theirs.id)
