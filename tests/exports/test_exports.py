"""A copy holds all of its person and nobody else, is made once however it is asked for, and ends with what it
holds.
"""

import asyncio
import errno
import hashlib
import json
import os
import threading
import time
from datetime import datetime, timedelta, timezone
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from tests.exports.conftest import Desk, MakeSubject, Subject, rows_of, unpacked
from tests.factories.people import MakeUser

from visiona.audit import service as audit
from visiona.core.errors import Conflict, NotFound
from visiona.db.actor import UserActor
from visiona.db.jobs import RetryLater
from visiona.db.pool import Connection
from visiona.exports.archive import Archive
from visiona.exports.model import MAX_CRASHES, State, plain
from visiona.exports.service import ROUNDS, ExportService
from visiona.objects.model import ByteRange
from visiona.objects.service import ObjectService
from visiona.ports.storage import ObjectMissing
from visiona.privacy.catalogue import CATALOGUE, Kind, Table
from visiona.vault.service import Vault

OWNED = {table.name: table for table in CATALOGUE if table.owner is not None}


class References(HTMLParser):
    """What a page loads or leads to, and what it could do."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.found += [value or "" for name, value in attrs if name in {"src", "href", "action", "srcset"}]

    def handle_data(self, data: str) -> None:
        self.text += data


async def test_everything_of_the_person_is_in_it_and_nothing_of_another(
    desk: Desk, make_subject: MakeSubject, owner: Connection
) -> None:
    alice, bob = await make_subject(), await make_subject()
    kept = {name: await _kept(owner, table, alice.actor) for name, table in OWNED.items()}
    files = unpacked(await desk.read(await desk.made(alice.actor)))
    everything = b"\n".join(files.values())

    for place, word in alice.words.items():
        assert json.dumps(word)[1:-1].encode() in files[f"data/{place.partition('.')[0]}.json"], place
    assert [place for place, word in bob.words.items() if word.partition(" ")[0].encode() in everything] == []
    assert [one for one in bob.pictures.values() if one in everything] == []
    for name, rows in kept.items():
        given = rows_of(files, name)
        assert rows, f"nothing of {name} is tried"
        # Asking for it is on record, too.
        assert len(given) == len(rows) or (name in {"audit_logs", "exports"} and len(given) > len(rows)), name
        for row in rows:
            assert any(row.items() <= other.items() for other in given), name

    manifest = json.loads(files["manifest.json"])
    listed = {one["path"]: one for one in manifest["files"]}
    assert set(listed) == set(files) - {"manifest.json"}
    for path, one in listed.items():
        assert (one["size"], one["sha256"]) == (len(files[path]), hashlib.sha256(files[path]).hexdigest())
    assert manifest["missing"] == []
    pictures = {
        row["file"]: row["sha256"] for name in ("photos", "generations") for row in rows_of(files, name)
    }
    assert {path: files[path] for path in pictures} == {
        path: alice.pictures[sha256] for path, sha256 in pictures.items()
    }
    assert set(pictures.values()) == set(alice.pictures)


async def test_the_page_is_read_without_a_network_and_runs_nothing(
    desk: Desk, make_subject: MakeSubject
) -> None:
    subject = await make_subject()
    files = unpacked(await desk.read(await desk.made(subject.actor)))
    page = References()
    page.feed(files["index.html"].decode())
    assert {one.partition("#")[0] for one in page.found} - {""} <= set(files)
    assert not page.tags & {"script", "iframe", "object", "embed", "form", "base", "link", "b"}
    for place in ("users.email", "runs.prompt", "generations.prompt", "models.trigger_word", "consents.name"):
        assert subject.words[place] in page.text, place


async def test_secrets_are_in_no_copy(desk: Desk, make_subject: MakeSubject) -> None:
    subject = await make_subject()
    files = unpacked(await desk.read(await desk.made(subject.actor)))
    for table in CATALOGUE:
        hidden = {name for name, kind in table.columns.items() if kind in {Kind.SECRET, Kind.OPERATIONAL}}
        if table.owner is not None:
            for row in rows_of(files, table.name):
                assert not set(row) & hidden, table.name


async def test_two_who_ask_at_once_get_one(desk: Desk, make_user: MakeUser, owner: Connection) -> None:
    actor = await make_user()
    asked = await asyncio.gather(*(desk.app.ask(actor) for _ in range(8)))
    assert len({one.id for one in asked}) == 1
    cursor = await owner.execute(
        "select count(*) from procrastinate.procrastinate_jobs where args ->> 'export_id' = %s",
        [str(asked[0].id)],
    )
    assert await cursor.fetchone() == (1,)


async def test_it_is_there_for_its_person_only(desk: Desk, make_user: MakeUser) -> None:
    alice, bob = await make_user(), await make_user()
    made = await desk.made(alice)
    for refused in (desk.app.find, desk.app.link, desk.app.remove):
        with pytest.raises(NotFound):
            await refused(bob, made.id)
    assert await desk.app.all_of(bob) == []
    assert await desk.app.all_of(alice) == [made]
    assert (made.state, made.progress) == (State.READY, 100)


async def test_a_link_opens_it_in_ranges(desk: Desk, make_user: MakeUser) -> None:
    actor = await make_user()
    asked = await desk.app.ask(actor)
    with pytest.raises(Conflict):
        await desk.app.link(actor, asked.id)
    await desk.worker.build(actor.user_id, asked.id)
    made = await desk.app.find(actor, asked.id)
    whole = await desk.read(made)
    assert (len(whole), hashlib.sha256(whole).hexdigest()) == (made.size, made.sha256)

    path, _, query = (await desk.app.link(actor, asked.id)).partition("?")
    expires, signature = (part.partition("=")[2] for part in query.split("&"))
    key = path.removeprefix("/media/")
    found = await desk.objects.open_link(key, int(expires), signature, ByteRange(10, 19))
    assert b"".join([piece async for piece in found.body]) == whole[10:20]
    with pytest.raises(NotFound):
        await desk.objects.open_link(key, int(expires) + 1, signature)


async def test_what_fails_is_tried_again(
    desk: Desk, make_subject: MakeSubject, monkeypatch: pytest.MonkeyPatch, owner: Connection
) -> None:
    """For as long as a day, however often: whoever runs it can mend it meanwhile."""
    subject = await make_subject()
    asked = await desk.app.ask(subject.actor)
    for method in ["read", "put"] * MAX_CRASHES:
        with monkeypatch.context() as patch:
            patch.setattr(ObjectService, method, _away)
            with pytest.raises(RetryLater):
                await desk.worker.build(subject.actor.user_id, asked.id)
    await desk.worker.build(subject.actor.user_id, asked.id)
    assert (await desk.app.find(subject.actor, asked.id)).state == State.READY
    await desk.worker.build(subject.actor.user_id, asked.id)  # a job that comes twice changes nothing
    assert len(desk.kept(subject.actor)) == 1
    assert await _mails(owner, subject.actor) == ["export_ready"]


async def test_what_cannot_be_made_ends_and_is_told(
    desk: Desk, make_user: MakeUser, monkeypatch: pytest.MonkeyPatch, owner: Connection
) -> None:
    actor = await make_user()
    late = await desk.app.ask(actor)
    await owner.execute("update exports set created_at = now() - interval '2 days' where id = %s", [late.id])
    await desk.worker.sweep()
    assert (await desk.app.find(actor, late.id)).state == State.QUEUED  # no worker had time for it
    with monkeypatch.context() as patch:
        patch.setattr(ObjectService, "put", _away)
        with pytest.raises(RetryLater):
            await desk.worker.build(actor.user_id, late.id)
    await desk.worker.sweep()
    assert (await desk.app.find(actor, late.id)).state == State.RUNNING
    await owner.execute("update exports set begun_at = now() - interval '2 days' where id = %s", [late.id])
    await desk.worker.sweep()
    assert (await desk.app.find(actor, late.id)).state == State.FAILED

    fatal = await desk.app.ask(actor)
    with monkeypatch.context() as patch:
        patch.setattr(ExportService, "_make", _killed)
        for _ in range(MAX_CRASHES):
            with pytest.raises(asyncio.CancelledError):
                await desk.worker.build(actor.user_id, fatal.id)
    await desk.worker.build(actor.user_id, fatal.id)
    assert (await desk.app.find(actor, fatal.id)).state == State.FAILED
    assert await _mails(owner, actor) == ["export_failed"] * 2
    assert (await desk.made(actor)).id != fatal.id


async def test_one_that_no_job_will_make_gets_one(desk: Desk, make_user: MakeUser, owner: Connection) -> None:
    """As when a worker that was taken for dead ends the job of the one that took it over."""
    actor = await make_user()
    asked = await desk.app.ask(actor)
    of_it = "where args ->> 'export_id' = %s"
    await owner.execute(
        f"update procrastinate.procrastinate_jobs set args = '{{}}' {of_it}".encode(), [str(asked.id)]
    )
    for _ in range(2):
        await desk.worker.sweep()
    cursor = await owner.execute(
        f"select args from procrastinate.procrastinate_jobs {of_it}".encode(), [str(asked.id)]
    )
    assert await cursor.fetchall() == [({"user_id": actor.user_id, "export_id": asked.id},)]


async def test_a_worker_that_was_taken_for_dead_gives_up(
    desk: Desk, make_user: MakeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    actor = await make_user()
    asked = await desk.app.ask(actor)
    put = ObjectService.put

    async def overtaken(self: ObjectService, *given: Any) -> None:
        await put(self, *given)
        monkeypatch.setattr(ObjectService, "put", put)
        await desk.worker.build(actor.user_id, asked.id)

    monkeypatch.setattr(ObjectService, "put", overtaken)
    await desk.worker.build(actor.user_id, asked.id)
    made = await desk.app.find(actor, asked.id)
    assert (made.object_key or "").endswith(desk.kept(actor)[0])
    assert len(desk.kept(actor)) == 1


async def test_what_waited_too_long_for_its_row_is_made_anew(
    desk: Desk, make_user: MakeUser, monkeypatch: pytest.MonkeyPatch, owner: Connection
) -> None:
    """What was written for an hour is taken for abandoned, and swept away: no row may speak of it."""
    actor = await make_user()
    asked = await desk.app.ask(actor)
    put = ObjectService.put

    async def slow_put(self: ObjectService, *given: Any) -> None:
        await put(self, *given)
        await owner.execute("delete from pending_objects where user_id = %s", [actor.user_id])

    with monkeypatch.context() as patch:
        patch.setattr(ObjectService, "put", slow_put)
        with pytest.raises(RetryLater):
            await desk.worker.build(actor.user_id, asked.id)
    assert (await desk.app.find(actor, asked.id)).state == State.RUNNING
    await desk.worker.build(actor.user_id, asked.id)
    assert await desk.read(await desk.app.find(actor, asked.id))


async def test_a_worker_that_is_stopped_leaves_nothing_behind(
    desk: Desk, make_subject: MakeSubject, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """However far it is: threads that write have ended before their file is closed."""
    subject = await make_subject()
    asked = await desk.app.ask(subject.actor)
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    began = threading.Event()
    add = Archive.add

    def slow_add(self: Archive, path: str, data: bytes, *, compressed: bool = True) -> None:
        began.set()
        with self.entry(path, compressed=compressed) as entry:
            time.sleep(0.2)
            entry.write(data)

    with monkeypatch.context() as patch:
        patch.setattr(Archive, "add", slow_add)
        making = asyncio.create_task(desk.worker.build(subject.actor.user_id, asked.id))
        await asyncio.to_thread(began.wait)
        making.cancel()
        with pytest.raises(asyncio.CancelledError):
            await making
    assert Archive.add is add
    assert list((tmp_path / "scratch").iterdir()) == []
    await desk.worker.build(subject.actor.user_id, asked.id)
    assert (await desk.app.find(subject.actor, asked.id)).state == State.READY


async def test_a_full_disk_is_waited_for(
    desk: Desk, make_subject: MakeSubject, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    subject = await make_subject()
    asked = await desk.app.ask(subject.actor)
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("visiona.exports.archive.Entry.write", full)
        with pytest.raises(RetryLater):
            await desk.worker.build(subject.actor.user_id, asked.id)
    assert list((tmp_path / "scratch").iterdir()) == []
    assert desk.kept(subject.actor) == []
    await desk.worker.build(subject.actor.user_id, asked.id)
    assert (await desk.app.find(subject.actor, asked.id)).state == State.READY


async def test_values_that_do_not_open_or_are_odd_hold_nothing_up(
    desk: Desk, make_subject: MakeSubject, owner: Connection, vault: Vault
) -> None:
    subject = await make_subject()
    cipher = await vault.cipher(subject.actor.user_id)
    odd = "\x00 \u202e Ольга \U0001f600"
    given = {
        "prompt": cipher.seal("runs.prompt", odd),
        "inputs": cipher.seal("runs.inputs", '{"half": "\\ud83d", "nothing": "\\u0000", "n": 1e999}'),
        "enhanced_prompt": cipher.seal("generations.prompt", "of another column"),
        "error_message": cipher.seal("runs.error_message", odd)[:-1] + b"x",
    }
    for column, value in given.items():
        await owner.execute(
            f"update runs set {column} = %s where user_id = %s".encode(), [value, subject.actor.user_id]
        )
    files = unpacked(await desk.read(await desk.made(subject.actor)))
    runs = rows_of(files, "runs")
    for run in runs:
        assert run["prompt"] == odd
        assert (run["inputs"]["half"], run["inputs"]["nothing"]) == ("\ud83d", "\x00")
        assert run["enhanced_prompt"] is run["error_message"] is None
    missing = json.loads(files["manifest.json"])["missing"]
    assert sorted(one["why"] for one in missing) == sorted(
        f"{name} of {run['id']} is damaged" for run in runs for name in ("enhanced_prompt", "error_message")
    )
    assert {one["path"] for one in missing} == {"data/runs.json"}
    assert "Ольга".encode() in files["data/runs.json"]


async def test_a_picture_that_cannot_be_had_is_said_to_be_missing(
    desk: Desk, make_subject: MakeSubject, owner: Connection
) -> None:
    subject = await make_subject()
    cursor = await owner.execute("select file_url from photos where user_id = %s", [subject.actor.user_id])
    (gone,), (damaged,) = (await cursor.fetchall())[:2]
    (desk.folder / gone).unlink()
    (desk.folder / damaged).write_bytes((desk.folder / damaged).read_bytes()[:-1] + b"x")
    files = unpacked(await desk.read(await desk.made(subject.actor)))
    missing = json.loads(files["manifest.json"])["missing"]
    assert sorted(one["why"] for one in missing) == ["damaged", "deleted"]
    assert not {one["path"] for one in missing} & set(files)


async def test_what_is_deleted_is_in_no_copy_from_then_on(
    desk: Desk, make_subject: MakeSubject, owner: Connection
) -> None:
    subject, other = await make_subject(), await make_subject()
    first, untouched = await desk.made(subject.actor), await desk.made(other.actor)
    await _delete_images(owner, subject)
    with pytest.raises(NotFound):
        await desk.app.link(subject.actor, first.id)
    assert await desk.app.all_of(subject.actor) == []
    await desk.worker.sweep()
    await _run_deletions(desk, owner, subject.actor)
    assert desk.kept(subject.actor) == []
    assert untouched in await desk.app.all_of(other.actor)


async def test_what_is_deleted_meanwhile_is_left_out(
    desk: Desk, make_subject: MakeSubject, owner: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = await make_subject()
    asked = await desk.app.ask(subject.actor)
    put = ObjectService.put

    async def slow_put(self: ObjectService, *given: Any) -> None:
        await put(self, *given)
        await _delete_images(owner, subject)

    monkeypatch.setattr(ObjectService, "put", slow_put)
    await desk.worker.build(subject.actor.user_id, asked.id)
    assert len(desk.kept(subject.actor)) == 1
    files = unpacked(await desk.read(await desk.app.find(subject.actor, asked.id)))
    assert rows_of(files, "generations") == []
    assert len(rows_of(files, "photos")) == 2


async def test_a_deletion_that_is_not_committed_yet_is_waited_for(
    desk: Desk, make_subject: MakeSubject, owner: Connection
) -> None:
    """Neither would see the other: the copy would read what is deleted, and the deletion no copy to mark."""
    subject = await make_subject()
    async with await psycopg.AsyncConnection.connect(owner.info.dsn) as deleting:
        await deleting.execute("delete from generations where user_id = %s", [subject.actor.user_id])
        making = asyncio.create_task(desk.made(subject.actor))
        assert not (await asyncio.wait([making], timeout=0.3))[0]
    files = unpacked(await desk.read(await making))
    assert rows_of(files, "generations") == []


async def test_whoever_goes_on_deleting_gets_a_copy_in_the_end(
    desk: Desk, make_subject: MakeSubject, monkeypatch: pytest.MonkeyPatch, owner: Connection
) -> None:
    subject = await make_subject()
    asked = await desk.app.ask(subject.actor)
    put, times = ObjectService.put, 0

    async def slow_put(self: ObjectService, *given: Any) -> None:
        nonlocal times
        times += 1
        await put(self, *given)
        await owner.execute("update exports set stale = true where id = %s", [asked.id])

    with monkeypatch.context() as patch:
        patch.setattr(ObjectService, "put", slow_put)
        for _ in range(2):
            with pytest.raises(RetryLater):
                await desk.worker.build(subject.actor.user_id, asked.id)
    assert times == 2 * ROUNDS > MAX_CRASHES
    await desk.worker.sweep()
    await desk.worker.build(subject.actor.user_id, asked.id)
    assert (await desk.app.find(subject.actor, asked.id)).state == State.READY
    assert len(desk.kept(subject.actor)) == 1


@pytest.mark.parametrize("how", ["photos", "models", "generations", "expired", "removed"])
async def test_a_link_ends_with_its_copy(
    desk: Desk, make_subject: MakeSubject, owner: Connection, how: str
) -> None:
    """At once, and not when the link does, nor when a worker finds time to delete the object."""
    subject = await make_subject()
    made = await desk.made(subject.actor)
    path, _, query = (await desk.app.link(subject.actor, made.id)).partition("?")
    expires, signature = (part.partition("=")[2] for part in query.split("&"))
    given = path.removeprefix("/media/"), int(expires), signature
    assert (await desk.app.open_link(*given)).size == made.size
    if how == "expired":
        await owner.execute("update exports set expires_at = now() where id = %s", [made.id])
    elif how == "removed":
        await desk.app.remove(subject.actor, made.id)
    else:
        await owner.execute(f"delete from {how} where user_id = %s".encode(), [subject.actor.user_id])
    with pytest.raises(NotFound):
        await desk.app.open_link(*given)
    assert await desk.read(made), "its object is deleted already, and proves nothing"


async def test_it_is_removed_while_it_is_made(
    desk: Desk, make_subject: MakeSubject, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = await make_subject()
    asked = await desk.app.ask(subject.actor)
    put = ObjectService.put

    async def slow_put(self: ObjectService, *given: Any) -> None:
        await put(self, *given)
        await desk.app.remove(subject.actor, asked.id)

    with monkeypatch.context() as patch:
        patch.setattr(ObjectService, "put", slow_put)
        await desk.worker.build(subject.actor.user_id, asked.id)
    assert desk.kept(subject.actor) == []
    await desk.worker.build(subject.actor.user_id, asked.id)
    assert desk.kept(subject.actor) == []
    with pytest.raises(NotFound):
        await desk.app.remove(subject.actor, asked.id)


async def test_its_time_ends(desk: Desk, make_user: MakeUser, owner: Connection) -> None:
    actor = await make_user()
    made = await desk.made(actor)
    await owner.execute("update exports set expires_at = now() where id = %s", [made.id])
    with pytest.raises(NotFound):
        await desk.app.find(actor, made.id)
    await desk.worker.sweep()
    await _run_deletions(desk, owner, actor)
    assert desk.kept(actor) == []
    with pytest.raises(ObjectMissing):
        await desk.read(made)


async def test_the_operator_hands_out_a_whole_copy_or_none(
    desk: Desk, make_subject: MakeSubject, monkeypatch: pytest.MonkeyPatch, owner: Connection, tmp_path: Path
) -> None:
    subject, told = await make_subject(), list[int]()
    folder = tmp_path / "desk"
    folder.mkdir()
    target = folder / "copy.zip"

    async def tell(percent: int) -> None:
        told.append(percent)

    async def interrupted(_: int) -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await desk.worker.hand_over(subject.actor, target, interrupted)
    with pytest.raises(FileNotFoundError):
        await desk.worker.hand_over(subject.actor, folder / "nowhere" / "copy.zip", tell)
    assert list(folder.iterdir()) == []
    assert await _handed_over(owner, subject.actor) == 0

    with monkeypatch.context() as patch:
        patch.setattr(audit, "record", _away)
        with pytest.raises(ConnectionError):
            await desk.worker.hand_over(subject.actor, target, tell)
    assert list(folder.iterdir()) == []

    await desk.worker.hand_over(subject.actor, target, tell)
    assert [(one.name, one.stat().st_mode & 0o777) for one in folder.iterdir()] == [("copy.zip", 0o600)]
    assert rows_of(unpacked(target.read_bytes()), "users")
    assert await _handed_over(owner, subject.actor) == 1
    assert told[-1] == 95
    before = target.read_bytes()
    with pytest.raises(FileExistsError):
        await desk.worker.hand_over(subject.actor, target, tell)
    assert target.read_bytes() == before
    assert len(list(folder.iterdir())) == 1


def test_times_are_in_utc_wherever_the_database_is() -> None:
    there = datetime(2026, 11, 24, 1, 30, tzinfo=timezone(timedelta(hours=2)))
    assert plain(there) == "2026-11-23T23:30:00Z"


async def _away(*_: object) -> None:
    raise ConnectionError("the store is away")


async def _killed(*_: object) -> None:
    raise asyncio.CancelledError


async def _mails(owner: Connection, actor: UserActor) -> list[str]:
    cursor = await owner.execute(
        "select kind from mails where user_id = %s and kind like 'export%%'", [actor.user_id]
    )
    return [row[0] for row in await cursor.fetchall()]


async def _handed_over(owner: Connection, actor: UserActor) -> int:
    cursor = await owner.execute(
        "select from audit_logs where user_id = %s and action = 'export.handed_over'", [actor.user_id]
    )
    return cursor.rowcount


async def _delete_images(owner: Connection, subject: Subject) -> None:
    await owner.execute("delete from generations where user_id = %s", [subject.actor.user_id])


async def _run_deletions(desk: Desk, owner: Connection, actor: UserActor) -> None:
    """What the worker would be told to delete."""
    cursor = await owner.execute(
        """select args from procrastinate.procrastinate_jobs
           where task_name = 'objects.delete' and args::text like %s""",
        [f"%u{actor.user_id}/%"],
    )
    for (args,) in await cursor.fetchall():
        await desk.objects.delete(args["keys"])


async def _kept(owner: Connection, table: Table, actor: UserActor) -> list[dict[str, Any]]:
    """What the table has of this person that is not sealed, as JSON has it."""
    columns = ", ".join(name for name, kind in table.columns.items() if kind in {Kind.PSEUDONYM, Kind.FACT})
    cursor = owner.cursor(row_factory=dict_row)
    await cursor.execute(
        f"select {columns} from {table.name} where {table.owner} = %s".encode(), [actor.user_id]
    )
    return [{name: plain(value) for name, value in row.items()} for row in await cursor.fetchall()]
