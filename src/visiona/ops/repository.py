"""Where backups lie, and how: every byte there is authenticated, none is readable without the master key.

Three folders. `sets/` has a folder for each set, whose `manifest` is written last: without it there is no
set. `wal/` has the server's log, by the server it is of and by the key it is sealed with. `objects/` has
copies of objects, each once, under their SHA-256; they were sealed with their owners' keys before they came
here, and those keys are never in a backup.

What is sealed is bound to its name here, so that no two files can change places.
"""

import asyncio
import hashlib
import json
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

import msgspec

from visiona.core.scratch import scratch_folder
from visiona.ops.manifest import Manifest, Piece, Stream
from visiona.ports.errors import ProviderRejected
from visiona.ports.master_key import MasterKey
from visiona.ports.storage import ObjectMissing, ObjectStore
from visiona.vault.model import Cipher, Unreadable, new_key

PIECE_BYTES = 8 * 2**20

SETS = "sets"
LOG = "wal"
OBJECTS = "objects"

_TYPE = "application/octet-stream"
_NOBODY = 0
_FORMAT = 1
_GZIP = 31  # a window of 32 KiB, with the header that `gzip` knows


class Damaged(Exception):
    """Something in the backup is missing, or not as it was written; the message names it."""


@dataclass(frozen=True, slots=True)
class SetKey:
    """A key that was wrapped by the master key `master`."""

    cipher: Cipher
    wrapped: bytes
    master: str


class Repository:
    """Files at the backup location. The first master key wraps; the others only open."""

    def __init__(self, store: ObjectStore, masters: Sequence[MasterKey]) -> None:
        self.store = store
        self._masters = {master.name: master for master in masters}
        self._master = masters[0]

    # Keys, and the files that bring their own

    async def new_key(self, name: str) -> SetKey:
        """A fresh key for the file `name`, and for what belongs to it."""
        key = new_key()
        wrapped = await self._master.wrap(key, _context(name))
        return SetKey(Cipher(_NOBODY, key), wrapped, self._master.name)

    async def write_keyed(self, name: str, key: SetKey, body: bytes) -> None:
        header = json.dumps({"format": _FORMAT, "master": key.master, "key": key.wrapped.hex()}).encode()
        sealed = await asyncio.to_thread(key.cipher.seal_bytes, _keyed_place(name, header), body)
        await self.store.put_bytes(name, header + b"\n" + sealed, _TYPE)

    async def read_keyed(self, name: str) -> tuple[Cipher, bytes]:
        """Its key and what it says. Raises `Damaged`."""
        header, _, sealed = (await self._read(name)).partition(b"\n")
        try:
            said = json.loads(header)
            master = self._masters[said["master"]]
            wrapped = bytes.fromhex(said["key"])
        except KeyError:
            raise Damaged(f"{name} is sealed under a master key that is not configured") from None
        except (ValueError, TypeError):
            raise Damaged(f"{name} has no readable header") from None
        try:
            cipher = Cipher(_NOBODY, await master.unwrap(wrapped, _context(name)))
            return cipher, cipher.open_bytes(_keyed_place(name, header), sealed)
        except (ProviderRejected, Unreadable):
            raise Damaged(f"{name} does not open: it was changed, or its master key was") from None

    # Files that are sealed with a key from elsewhere

    async def write(self, name: str, cipher: Cipher, data: bytes) -> Piece:
        """Compressed and sealed; answers what is stored."""
        sealed = await asyncio.to_thread(lambda: cipher.seal_bytes(_place(name), compressed(data)))
        await self.store.put_bytes(name, sealed, _TYPE)
        return Piece(len(sealed), hashlib.sha256(sealed).hexdigest())

    async def read(self, name: str, cipher: Cipher, *, expected: Piece | None = None) -> bytes:
        """Still compressed, as `gzip` does it. Raises `Damaged`."""
        sealed = await self._read(name)
        if expected is not None and (
            len(sealed) != expected.size or hashlib.sha256(sealed).hexdigest() != expected.sha256
        ):
            raise Damaged(f"{name} is not as it was written")
        try:
            return await asyncio.to_thread(cipher.open_bytes, _place(name), sealed)
        except Unreadable:
            raise Damaged(f"{name} is not as it was written") from None

    # Streams

    async def write_stream(
        self, folder: str, name: str, cipher: Cipher, chunks: AsyncGenerator[bytes]
    ) -> Stream:
        """Cut into pieces of `PIECE_BYTES`, one in memory at a time."""
        pieces: list[Piece] = []
        size, digest = 0, hashlib.sha256()
        async with aclosing(_in_pieces(chunks)) as cut:
            async for data in cut:
                digest.update(data)
                size += len(data)
                pieces.append(await self.write(_piece_name(folder, name, len(pieces)), cipher, data))
        return Stream(name, size, digest.hexdigest(), pieces)

    async def read_stream(self, folder: str, stream: Stream, cipher: Cipher) -> AsyncIterator[bytes]:
        """The bytes; raises `Damaged` before the end unless all of them are as they were written."""
        digest = hashlib.sha256()
        for number, piece in enumerate(stream.pieces):
            packed = await self.read(_piece_name(folder, stream.name, number), cipher, expected=piece)
            data = await asyncio.to_thread(decompressed, packed)
            digest.update(data)
            yield data
        if digest.hexdigest() != stream.sha256:
            raise Damaged(f"{folder}/{stream.name} is not as it was written")

    # Sets

    async def set_ids(self) -> list[str]:
        """Complete sets, oldest first."""
        names = await self.store.list_keys(SETS)
        return sorted(name.split("/")[1] for name in names if name.endswith("/manifest"))

    async def read_set(self, set_id: str) -> tuple[Manifest, Cipher]:
        """Raises `Damaged`."""
        name = manifest_name(set_id)
        cipher, body = await self.read_keyed(name)
        try:
            return msgspec.json.decode(body, type=Manifest), cipher
        except msgspec.DecodeError as error:
            raise Damaged(f"{name} is of a release that this one cannot read: {error}") from None

    # Objects

    async def copy_object(self, source: ObjectStore, key: str) -> tuple[str, int]:
        """Copy an object here; answers its SHA-256 and size. Raises `ObjectMissing`."""
        with scratch_folder() as folder:
            path = folder / "object"
            await source.fetch_file(key, path)
            digest = await asyncio.to_thread(_digest_of, path)
            await self.store.put_file(object_name(digest), path, _TYPE)
            return digest, path.stat().st_size

    async def check_object(self, digest: str) -> int:
        """The size of a copy, all of which was read and is whole. Raises `Damaged`."""
        name = object_name(digest)
        found, size = hashlib.sha256(), 0
        try:
            opened = await self.store.open(name)
            async for piece in opened.body:
                found.update(piece)
                size += len(piece)
        except ObjectMissing:
            raise Damaged(f"{name} is missing") from None
        if found.hexdigest() != digest:
            raise Damaged(f"{name} is not as it was written")
        return size

    async def fetch_object(self, digest: str, path: Path) -> None:
        """Raises `Damaged`, and leaves nothing at `path` then."""
        try:
            await self.store.fetch_file(object_name(digest), path)
        except ObjectMissing:
            raise Damaged(f"{object_name(digest)} is missing") from None
        if await asyncio.to_thread(_digest_of, path) != digest:
            await asyncio.to_thread(path.unlink)
            raise Damaged(f"{object_name(digest)} is not as it was written")

    async def delete(self, names: Iterable[str]) -> int:
        """Answers how many."""
        doomed = list(names)
        for start in range(0, len(doomed), 1000):
            await self.store.delete(doomed[start : start + 1000])
        return len(doomed)

    async def _read(self, name: str) -> bytes:
        try:
            found = await self.store.open(name)
            return b"".join([piece async for piece in found.body])
        except ObjectMissing:
            raise Damaged(f"{name} is missing") from None


def manifest_name(set_id: str) -> str:
    return f"{SETS}/{set_id}/manifest"


def object_name(digest: str) -> str:
    return f"{OBJECTS}/{digest[:2]}/{digest}"


def compressed(data: bytes) -> bytes:
    return zlib.compress(data, 1, _GZIP)


def decompressed(data: bytes) -> bytes:
    return zlib.decompress(data, _GZIP)


async def _in_pieces(chunks: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    """All of one size but for the last, of which there is always one."""
    waiting = bytearray()
    async with aclosing(chunks):
        async for chunk in chunks:
            waiting += chunk
            while len(waiting) >= PIECE_BYTES:
                yield bytes(waiting[:PIECE_BYTES])
                del waiting[:PIECE_BYTES]
    yield bytes(waiting)


def _piece_name(folder: str, name: str, number: int) -> str:
    return f"{folder}/{name}/{number:06d}"


def _context(name: str) -> str:
    return f"visiona-backup:{name}"


def _place(name: str) -> str:
    return f"backup:{name}"


def _keyed_place(name: str, header: bytes) -> str:
    return f"backup:{name}:{hashlib.sha256(header).hexdigest()}"


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
