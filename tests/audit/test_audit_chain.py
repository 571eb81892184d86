"""Whatever is done to the log behind the back of its guard, by whoever owns the server, shows."""

import asyncio
import hashlib
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest
from tests.audit.conftest import ENTRIES, SEED, House, make_person
from tests.conftest import IDENTITY, ROLE_SECRETS
from tests.factories.audit import tamper

from visiona.adapters.objects import open_store
from visiona.audit import model
from visiona.audit import service as audit
from visiona.audit.model import Action, AnchorKey, Trouble
from visiona.audit.service import AuditService
from visiona.db.actor import SystemActor, UserActor
from visiona.db.pool import Database, fetch_value
from visiona.db.roles import WORKER_ROLE, url_for_role

# Unchained again, which is what whoever rewrites everything begins with.
UNCHAIN: LiteralString = """update audit_logs set seq = null, previous_hash = null, entry_hash = null"""

# What is done to 60 entries that are chained and anchored, and what is found of it.
ATTACKS: dict[str, tuple[tuple[LiteralString, ...], set[tuple[Trouble, int | None]]]] = {
    "another action": (
        ("update audit_logs set action = 'photo.deleted' where seq = 30",),
        {(Trouble.CHANGED, 30)},
    ),
    "other facts": (
        ("""update audit_logs set details = '{"photo_id": 7}' where seq = 30""",),
        {(Trouble.CHANGED, 30)},
    ),
    "another time": (
        ("update audit_logs set created_at = created_at + interval '1 microsecond' where seq = 30",),
        {(Trouble.CHANGED, 30)},
    ),
    "a time without end": (
        ("update audit_logs set created_at = 'infinity' where seq = 30",),
        {(Trouble.CHANGED, 30), (Trouble.TIME, 30)},
    ),
    "a time before all": (
        ("update audit_logs set created_at = '4713-01-01 BC' where seq = 30",),
        {(Trouble.CHANGED, 30)},
    ),
    "facts that are none": (
        (
            """update audit_logs set action = 'account.erased', actor_kind = 'system',
              details = '{"entries": "all"}' where seq = 30""",
        ),
        {(Trouble.CHANGED, 30)},
    ),
    "another request": (
        ("update audit_logs set request_id = 'another' where seq = 30",),
        {(Trouble.CHANGED, 30)},
    ),
    "another culprit": (
        ("update audit_logs set actor_kind = 'admin', actor_id = '1' where seq = 30",),
        {(Trouble.CHANGED, 30)},
    ),
    "another person's": (
        ("update audit_logs set user_id = (select max(id) from users where id <> user_id) where seq = 30",),
        {(Trouble.CHANGED, 30)},
    ),
    "another person's, well hidden": (
        (
            """update audit_logs set user_id = p.id, person_hash = visiona.audit_person(salt, p.id)
               from (select max(id) as id from users) p where seq = 29""",
        ),
        {(Trouble.CHANGED, 29)},
    ),
    "an edit with its own hash": (
        ("update audit_logs set action = 'x', entry_hash = sha256('x') where seq = 30",),
        {(Trouble.CHANGED, 30), (Trouble.BROKEN, 31)},
    ),
    "the last one with its own hash": (
        ("update audit_logs set entry_hash = sha256('x') where seq = 60",),
        {(Trouble.CHANGED, 60), (Trouble.REWRITTEN, 60)},
    ),
    "a place that was invented": (
        ("update audit_logs set private = '\\xf800', private_hash = sha256('\\xf800') where seq = 30",),
        {(Trouble.CHANGED, 30)},
    ),
    "deleted": (("delete from audit_logs where seq = 30",), {(Trouble.MISSING, 30)}),
    "the first deleted": (("delete from audit_logs where seq = 1",), {(Trouble.MISSING, 1)}),
    "several deleted": (("delete from audit_logs where seq between 20 and 29",), {(Trouble.MISSING, 20)}),
    "deleted and closed up": (
        (
            "delete from audit_logs where seq = 30",
            "update audit_logs set seq = -seq where seq > 30",
            "update audit_logs set seq = -seq - 1 where seq < 0",
        ),
        {(Trouble.BROKEN, 30), (Trouble.CUT, 60), *((Trouble.CHANGED, seq) for seq in range(30, 60))},
    ),
    "inserted in the same place": (
        (
            "drop index audit_logs_seq",
            """insert into audit_logs (user_id, action, salt, person_hash, seq, previous_hash, entry_hash)
               select user_id, 'photo.deleted', salt, person_hash, seq, previous_hash, entry_hash
               from audit_logs where seq = 30""",
        ),
        {(Trouble.FORK, 30), (Trouble.CHANGED, 30)},
    ),
    "inserted between": (
        (
            "update audit_logs set seq = -seq where seq > 30",
            "update audit_logs set seq = -seq + 1 where seq < 0",
            """insert into audit_logs (user_id, action, salt, person_hash, seq, previous_hash, entry_hash)
               select user_id, 'photo.deleted', salt, person_hash, 31, entry_hash, sha256('x')
               from audit_logs where seq = 30""",
        ),
        {
            (Trouble.BROKEN, 32),
            (Trouble.REWRITTEN, 60),
            *((Trouble.CHANGED, seq) for seq in range(31, 62)),
        },
    ),
    "two changed places": (
        (
            "update audit_logs set seq = -seq where seq in (30, 40)",
            "update audit_logs set seq = 70 + seq where seq < 0",
        ),
        {
            (Trouble.BROKEN, 30),
            (Trouble.BROKEN, 31),
            (Trouble.CHANGED, 30),
            (Trouble.BROKEN, 40),
            (Trouble.BROKEN, 41),
            (Trouble.CHANGED, 40),
        },
    ),
    "the tail cut": (("delete from audit_logs where seq > 50",), {(Trouble.CUT, 60)}),
    "all deleted": (("delete from audit_logs",), {(Trouble.CUT, 60)}),
    "a person taken out": (
        ("update audit_logs set user_id = null where seq = 30",),
        {(Trouble.CHANGED, 30)},
    ),
    "a person taken out as erasures do": (
        ("update audit_logs set user_id = null, salt = null where seq = 30",),
        {(Trouble.ERASURE, None)},
    ),
    "a person put back": (
        (
            "update audit_logs set user_id = null, salt = null where seq = 30",
            "update audit_logs set user_id = (select min(id) from users) where seq = 30",
        ),
        {(Trouble.CHANGED, 30), (Trouble.ERASURE, None)},
    ),
}


@pytest.fixture
async def anchored(house: House) -> House:
    await house.write(ENTRIES)
    await house.service.anchor()
    report = await house.report()
    assert report.ok, report.findings
    assert (report.entries, report.anchors, report.anchored_seq) == (ENTRIES, 1, ENTRIES)
    return house


@pytest.mark.parametrize("attack", ATTACKS)
async def test_it_is_found_which_entry_was_meddled_with(old_house: House, attack: str) -> None:
    statements, expected = ATTACKS[attack]
    owner = old_house.owner
    anchors = await audit.read_anchors(open_store(old_house.anchors.as_uri()), [old_house.service.public_key])
    async with owner.transaction(force_rollback=True):
        await owner.execute("alter table audit_logs drop constraint audit_logs_seq_check")
        assert await tamper(owner, *statements) != 0
        found = (await audit.verify(owner, anchors)).findings
    assert {(finding.trouble, finding.seq) for finding in found} == expected
    assert (await old_house.report()).ok


async def test_rewriting_everything_is_found_by_the_anchors_alone(anchored: House) -> None:
    await tamper(anchored.owner, "update audit_logs set action = 'photo.deleted' where seq = 7", UNCHAIN)
    await anchored.service.chain()
    report = await anchored.report()
    assert [(finding.trouble, finding.seq) for finding in report.findings] == [(Trouble.REWRITTEN, 60)]
    assert report.entries == ENTRIES


async def test_a_tail_that_was_cut_and_grown_again_is_found(anchored: House) -> None:
    await tamper(anchored.owner, "delete from audit_logs where seq > 50")
    await anchored.write(20)
    await anchored.service.anchor()
    assert await anchored.troubles() == [(Trouble.REWRITTEN, 60)]


async def test_an_entry_of_the_past_cannot_be_added_later(anchored: House) -> None:
    await tamper(
        anchored.owner,
        """insert into audit_logs (user_id, action, created_at)
           select min(id), 'account.signed_in', now() - interval '1 day' from users""",
    )
    await anchored.service.anchor()
    assert await anchored.troubles() == [(Trouble.TIME, 61)]


async def test_an_entry_of_the_future_is_found(house: House) -> None:
    await tamper(
        house.owner, "insert into audit_logs (action, created_at) values ('x', now() + interval '1 day')"
    )
    await house.service.anchor()
    assert await house.troubles() == [(Trouble.TIME, 1)]


# Anchors


def anchor_files(house: House) -> list[Path]:
    return sorted(house.anchors.glob("*.anchor"))


async def test_anchors_are_written_when_the_chain_has_grown(anchored: House) -> None:
    await anchored.service.anchor()
    assert len(anchor_files(anchored)) == 1
    await anchored.write(1)
    await anchored.service.anchor()
    assert [file.name[:16] for file in anchor_files(anchored)] == ["0000000000000060", "0000000000000061"]
    report = await anchored.report()
    assert report.ok
    assert report.anchored_seq == 61


async def test_an_anchor_that_could_not_be_written_is_written_later(house: House) -> None:
    await house.write(1)
    house.anchors.write_text("no folder")
    with pytest.raises(Exception, match=r"(?i)exists|directory"):
        await house.service.anchor()
    house.anchors.unlink()
    later = AuditService(house.database, open_store(house.anchors.as_uri()), AnchorKey(SEED))
    await later.anchor()
    assert len(anchor_files(house)) == 1
    assert (await house.report()).ok


@pytest.mark.parametrize("which", [0, 1, 2])
async def test_a_missing_anchor_is_missed(house: House, which: int) -> None:
    for _ in range(3):
        await house.write(5)
        await house.service.anchor()
    anchor_files(house)[which].unlink()
    assert {trouble for trouble, _ in await house.troubles()} == {Trouble.ANCHOR_MISSING}
    # The database may be made to say nothing; what comes after it in the store still does.
    await house.owner.execute("delete from audit_anchors")
    found = {trouble for trouble, _ in await house.troubles()}
    assert found == ({Trouble.ANCHOR_MISSING} if which < 2 else set())


async def test_an_anchor_counts_only_with_its_signature(anchored: House) -> None:
    (file,) = anchor_files(anchored)
    body = file.read_bytes()
    for changed in (
        body.replace(b'"seq":60', b'"seq":61'),
        body.replace(b'"restored":false', b'"restored":true'),
        body[:-10],
        b"",
        b"\xff\xfe",
        AnchorKey(b"x" * 32).sign(60, hashlib.sha256(b"x").digest(), datetime.now(UTC), None),
    ):
        file.write_bytes(changed)
        found = await anchored.troubles()
        assert (Trouble.ANCHOR_INVALID, None) in found
        assert (Trouble.ANCHOR_MISSING, None) in found
    file.write_bytes(body)
    assert await anchored.troubles() == []


async def test_other_keys_may_be_trusted_than_the_servers_own(anchored: House) -> None:
    report = await anchored.service.verify([AnchorKey(b"x" * 32).public])
    assert {finding.trouble for finding in report.findings} == {
        Trouble.ANCHOR_INVALID,
        Trouble.ANCHOR_MISSING,
    }
    assert (await anchored.service.verify([anchored.service.public_key])).ok


async def test_what_waits_too_long_is_found(house: House) -> None:
    await house.write(3)
    ago: LiteralString = "update audit_logs set created_at = now() - interval '16 minutes'"
    assert await house.troubles() == []
    await tamper(house.owner, ago)
    assert await house.troubles() == [(Trouble.UNCHAINED, None)]
    await house.service.chain()
    assert await house.troubles() == [(Trouble.STALE, 1)]
    await house.service.anchor()
    assert await house.troubles() == []


# Restored from a backup


async def test_a_clock_that_is_put_back_hides_no_cut(anchored: House) -> None:
    """Whoever owns the server owns its clock: what an anchor says counts, whatever the time is said to be."""
    head = await fetch_value(anchored.owner, "select entry_hash from audit_logs where seq = 60", [])
    body = AnchorKey(SEED).sign(
        61, hashlib.sha256(head).digest(), datetime.now(UTC) + timedelta(days=1), None
    )
    digest = hashlib.sha256(body).hexdigest()
    await asyncio.to_thread((anchored.anchors / model.anchor_name(61, digest)).write_bytes, body)
    assert await anchored.troubles() == [(Trouble.CUT, 61)]


async def test_nobody_makes_room_for_an_erasure_that_was_none(anchored: House) -> None:
    """The application's own role may write entries of people, with whatever numbers in them."""
    async with anchored.database.transaction(UserActor(anchored.people[0])) as connection:
        await audit.record(connection, anchored.people[0], Action.ACCOUNT_ERASED, {"entries": 1})
    await anchored.service.anchor()
    assert await anchored.troubles() == []
    await tamper(anchored.owner, "update audit_logs set user_id = null, salt = null where seq = 30")
    assert await anchored.troubles() == [(Trouble.ERASURE, None)]


async def test_a_restored_copy_is_whole_as_of_its_time(anchored: House) -> None:
    """Anchors that were made after the backup say nothing about it."""
    as_of = await fetch_value(anchored.owner, "select clock_timestamp()", [])
    await anchored.write(5)
    await anchored.service.anchor()
    found = await audit.read_anchors(open_store(anchored.anchors.as_uri()), [anchored.service.public_key])
    await tamper(anchored.owner, "delete from audit_logs where seq > 60")
    await anchored.owner.execute("delete from audit_anchors where seq > 60")
    async with anchored.owner.transaction():
        assert [f.trouble for f in (await audit.verify(anchored.owner, found)).findings] == [Trouble.CUT]
        report = await audit.verify(anchored.owner, found, as_of=as_of)
    assert report.ok, report.findings
    # Brought back for good, the loss is signed for, and the chain goes on.
    await anchored.service.note_restore()
    await anchored.write(3)
    await anchored.service.anchor()
    report = await anchored.report()
    assert report.ok, report.findings
    assert (report.entries, report.voided_anchors) == (63, 1)


# Erasure


async def test_the_chain_holds_after_an_erasure(anchored: House) -> None:
    person = anchored.people[0]
    before = (await anchored.report()).head
    await anchored.write(3)  # one of them theirs, without its place yet
    async with anchored.database.transaction(SystemActor("erasure")) as connection:
        assert await audit.forget(connection, person) == 21
        assert await audit.forget(connection, person) == 0
    await anchored.owner.execute("delete from users where id = %s", [person])
    await anchored.service.anchor()
    report = await anchored.report()
    assert report.ok, report.findings
    assert (report.entries, report.erased) == (64, 21)
    assert before == await fetch_value(
        anchored.owner, "select encode(entry_hash, 'hex') from audit_logs where seq = 60", []
    )
    left = await (
        await anchored.owner.execute(
            """select count(*), count(salt), count(client), count(private) from audit_logs
               where user_id is null and action <> 'account.erased'"""
        )
    ).fetchone()
    assert left == (21, 0, 0, 0)


async def test_a_person_who_goes_without_being_forgotten_is_taken_out_all_the_same(anchored: House) -> None:
    await anchored.owner.execute("delete from users where id = %s", [anchored.people[0]])
    left = await fetch_value(
        anchored.owner, "select count(*) from audit_logs where user_id is null and salt is null", []
    )
    assert left == 20
    assert await anchored.troubles() == [(Trouble.ERASURE, None)]


async def test_nobody_is_found_in_what_is_left(anchored: House) -> None:
    """Numbers of people are few: were the hash of one kept, trying them all would tell whose it was."""
    person = anchored.people[0]
    async with anchored.database.transaction(SystemActor("erasure")) as connection:
        await audit.forget(connection, person)
    cursor = await anchored.owner.execute("select to_jsonb(a)::text from audit_logs a where salt is null")
    rows = [row for (row,) in await cursor.fetchall()]
    assert len(rows) == 20
    number = str(person).encode()
    for guess in (number, len(number).to_bytes(4, "big") + number):
        for digest in (hashlib.sha256(guess).hexdigest(), hashlib.sha256(b"\xff" * 4 + guess).hexdigest()):
            assert not any(digest in row for row in rows)


# From releases that had no chain


async def test_entries_of_before_are_chained_as_they_are(house: House) -> None:
    await tamper(
        house.owner,
        """insert into audit_logs (user_id, action, details, salt, created_at)
           select min(id), 'photo.added', '{"a": [1, 2.50, null], "é": "\\u00e9"}', null, '2020-01-01'
           from users""",
        """insert into audit_logs (user_id, action, salt, created_at)
           values (null, 'account.created', null, '2019-01-01')""",
    )
    await house.service.anchor()
    report = await house.report()
    assert report.ok, report.findings
    assert (report.entries, report.erased) == (2, 0)


# Rights


@pytest.mark.parametrize(
    "statement",
    [
        "update audit_logs set action = 'x'",
        "update audit_logs set user_id = null",
        "update audit_logs set seq = 1, previous_hash = sha256('x'), entry_hash = sha256('x')",
        "delete from audit_logs",
        "truncate audit_logs",
    ],
)
async def test_not_even_the_owner_changes_an_entry(old_house: House, statement: LiteralString) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="is not changed"):
        await old_house.owner.execute(statement)
    assert (await old_house.report()).ok


async def test_the_role_that_forgets_people_can_do_nothing_else(old_house: House) -> None:
    owner = old_house.owner
    async with owner.transaction(force_rollback=True):
        await owner.execute("alter role visiona_auth bypassrls")
        for statement in (
            "update audit_logs set person_hash = sha256('x')",
            "update audit_logs set seq = seq + 100",
            "update audit_logs set user_id = null where seq = 1",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="is not changed"):
                async with owner.transaction():
                    await owner.execute("set local role visiona_auth")
                    await owner.execute(statement)


# Many at once


async def test_many_writers_make_one_chain(house: House) -> None:
    await _many_writers(house, writers=16, entries=2_000)


@pytest.mark.drill
async def test_64_writers_of_100_000_entries_make_one_chain(house: House) -> None:
    await _many_writers(house, writers=64, entries=100_000)
    await tamper(house.owner, "update audit_logs set details = '{}' where seq = 77777")
    await tamper(house.owner, "delete from audit_logs where seq = 90001")
    assert await house.troubles() == [(Trouble.CHANGED, 77_777), (Trouble.MISSING, 90_001)]


async def _many_writers(house: House, writers: int, entries: int) -> None:
    """Each in transactions of its own, every third given up, while four sequencers compete."""
    url = url_for_role(house.url, WORKER_ROLE, ROLE_SECRETS.worker)
    people = [await make_person(house.owner) for _ in range(writers)]
    each = entries // writers
    database = Database(url, IDENTITY, max_size=writers + 4)
    await database.open()
    done = asyncio.Event()

    async def write(person: int) -> None:
        written = 0
        while written < each:
            batch = min(25, each - written)
            try:
                async with database.transaction(SystemActor("writer")) as connection:
                    for number in range(batch):
                        await audit.record(connection, person, Action.PHOTO_ADDED, {"photo_id": number})
                    if (written + person) % 3 == 0 and number % 2 == 0 and person not in given_up:
                        given_up.add(person)
                        raise LookupError  # noqa: TRY301 - it is the transaction that has to see it
            except LookupError:
                continue
            written += batch

    async def sequence() -> None:
        service = AuditService(database, open_store(house.anchors.as_uri()), AnchorKey(SEED))
        while not done.is_set():
            await service.chain()
            await asyncio.sleep(0.02)

    given_up: set[int] = set()
    async with asyncio.TaskGroup() as group:
        sequencers = [group.create_task(sequence()) for _ in range(4)]
        async with asyncio.TaskGroup() as writing:
            for person in people:
                writing.create_task(write(person))
        done.set()
        await asyncio.gather(*sequencers)
    await database.close()
    await house.service.anchor()
    report = await house.report()
    assert report.ok, report.findings
    assert (report.entries, report.unchained) == (each * writers, 0)
    cursor = await house.owner.execute("select user_id from audit_logs")
    assert set(Counter(await cursor.fetchall()).values()) == {each}
    forks = "select count(*) - count(distinct previous_hash) from audit_logs"
    assert await fetch_value(house.owner, forks, []) == 0
    assert (await fetch_value(house.owner, "select max(created_at) from audit_logs", [])) < datetime.now(
        UTC
    ) + timedelta(minutes=1)
