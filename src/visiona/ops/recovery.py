"""Turning a set, and the log after it, into a database that runs: for a restore, and for its rehearsal."""

import asyncio
import hashlib
import json
import os
import shutil
import tarfile
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from visiona.core.scratch import scratch_folder
from visiona.db.backups import libpq_environment, owners_may_create
from visiona.db.embedded import Target, TargetNotReached, programs, programs_for, recover, replay_of
from visiona.ops.log import LogFile
from visiona.ops.manifest import Manifest
from visiona.ops.repository import SETS, Repository, compressed
from visiona.vault.model import Cipher

_MODE = 0o700


class RecoveryFailed(Exception):
    """The database could not be brought back; the message says why."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A set, its key, and the files of the log to replay after it with their keys.

    `taken` are names of histories that the new timeline must not get: others have them, or had.
    """

    manifest: Manifest
    cipher: Cipher
    files: Sequence[LogFile]
    ciphers: dict[str, Cipher]
    target: Target
    taken: Sequence[str] = ()


async def recover_physical(repository: Repository, chosen: Chosen, postgres: Path) -> None:
    """Fill the empty folder `postgres`, and the one beside it that the log is taken from meanwhile.

    Raises `Damaged`, `RecoveryFailed` or `EmbeddedServerError`.
    """
    replay = replay_of(postgres)
    await asyncio.to_thread(replay.mkdir, _MODE)
    for file in chosen.files:
        data = await repository.read(file.path, chosen.ciphers[file.key])
        await asyncio.to_thread((replay / f"{file.name}.gz").write_bytes, data)
    for name in chosen.taken:  # the server asks whether they exist, and reads them not
        await asyncio.to_thread((replay / f"{name}.gz").write_bytes, compressed(b""))
    await _unpack(repository, chosen, postgres)
    try:
        await asyncio.to_thread(recover, postgres, chosen.target)
    except TargetNotReached:
        # Nothing happened between the log's end and that time, so its end is what is wanted.
        await asyncio.to_thread(_remove, postgres)
        await _unpack(repository, chosen, postgres)
        await asyncio.to_thread(recover, postgres, Target(timeline=chosen.target.timeline))
    await asyncio.to_thread(_remove, replay)


async def load_dump(repository: Repository, chosen: Chosen, url: str) -> None:
    """Load a dump into a database that has the roles and schemas, and nothing in them.

    Raises `Damaged` or `RecoveryFailed`.
    """
    tools = programs_for(chosen.manifest.server)
    if tools is None:
        raise RecoveryFailed(
            f"there is no pg_restore for PostgreSQL {chosen.manifest.server} on this machine"
        )
    program = str(tools / "pg_restore")
    folder = f"{SETS}/{chosen.manifest.id}"
    with scratch_folder() as scratch:
        dump, contents = scratch / "dump", scratch / "contents"
        with await asyncio.to_thread(dump.open, "wb") as file:
            async for piece in repository.read_stream(folder, chosen.manifest.database, chosen.cipher):
                await asyncio.to_thread(file.write, piece)
        listed = await _said([program, "--list", str(dump)], {})
        lines = [line for line in listed.splitlines() if " SCHEMA - " not in line or " ACL " in line]
        await asyncio.to_thread(contents.write_text, "\n".join(lines))
        options = ["--no-password", "--exit-on-error", f"--use-list={contents}"]
        environment = libpq_environment(url)
        async with owners_may_create(url):
            await _said([program, *options, f"--dbname={environment['PGDATABASE']}", str(dump)], environment)


async def _said(command: Sequence[str], environment: Mapping[str, str]) -> str:
    """What a program of PostgreSQL says. Raises `RecoveryFailed`."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env={"PATH": os.environ.get("PATH", ""), **environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, complaints = await process.communicate()
    if process.returncode != 0:
        why = complaints.decode(errors="replace").strip()[-500:]
        raise RecoveryFailed(f"{Path(command[0]).name} failed: {why}")
    return said.decode()


def _remove(folder: Path) -> None:
    shutil.rmtree(folder)


async def _unpack(repository: Repository, chosen: Chosen, postgres: Path) -> None:
    await asyncio.to_thread(postgres.mkdir, _MODE)
    folder = f"{SETS}/{chosen.manifest.id}"
    base = repository.read_stream(folder, chosen.manifest.database, chosen.cipher)
    await _extracted(base, postgres)
    await asyncio.to_thread(_check_files, postgres)


def _check_files(postgres: Path) -> None:
    """By the list that the server wrote while it copied them. Raises `RecoveryFailed`."""
    listed = json.loads((postgres / "backup_manifest").read_text(encoding="utf-8"))
    for entry in listed["Files"]:
        path = postgres / entry["Path"]
        if not path.is_file() or path.stat().st_size != entry["Size"]:
            raise RecoveryFailed(f"{entry['Path']} was not unpacked whole")
        with path.open("rb") as file:
            if (
                hashlib.file_digest(file, entry["Checksum-Algorithm"].lower()).hexdigest()
                != entry["Checksum"]
            ):
                raise RecoveryFailed(f"{entry['Path']} is not as the server copied it")


async def check_pages(postgres: Path) -> None:
    """Every page of a server that is stopped, by its checksum. Raises `RecoveryFailed`."""
    await _said([str(programs() / "pg_checksums"), "--check", "-D", str(postgres)], {})


async def _extracted(data: AsyncIterator[bytes], target: Path) -> None:
    """A tar, as it comes, at flat memory."""
    reading, writing = os.pipe()
    failures: list[BaseException] = []

    def extract() -> None:
        try:
            with os.fdopen(reading, "rb") as source, tarfile.open(fileobj=source, mode="r|") as tar:
                # The filter came with Python 3.11.4; what is unpacked was authenticated piece by piece.
                tar.extraction_filter = getattr(tarfile, "data_filter", None)
                tar.extractall(target)  # noqa: S202 - see above
                while source.read(2**20):  # what is behind the tar's end
                    pass
        except BaseException as failure:  # noqa: BLE001 - raised again where it can be heard
            failures.append(failure)

    thread = threading.Thread(target=extract, name="unpack")
    thread.start()
    try:
        with os.fdopen(writing, "wb") as sink:
            async for piece in data:
                await asyncio.to_thread(sink.write, piece)
    except BrokenPipeError:  # the thread says why
        pass
    finally:
        await asyncio.to_thread(thread.join)
    if failures:
        raise RecoveryFailed(f"the server's files cannot be unpacked: {failures[0]}") from failures[0]
