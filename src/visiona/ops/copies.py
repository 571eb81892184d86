"""Which objects are in the backup already, and bringing over those that are not.

Objects are written once and never changed, so a key that was copied stays copied. Besides the lists of sets,
each turn of copying leaves a note beside the log, so that a restore to any moment finds what was new by then.
"""

import logging
from collections.abc import AsyncIterator, Iterable
from datetime import datetime

import msgspec

from visiona.ops.manifest import Manifest, ObjectCopy
from visiona.ops.repository import Damaged, Repository, decompressed
from visiona.ports.storage import ObjectMissing, ObjectStore
from visiona.vault.model import Cipher

NOTE = "objects-"
LEFT_OUT = frozenset({"exports"})
"""Kinds of objects that are kept for days, and made anew from what is in the backup."""

logger = logging.getLogger(__name__)


class Copies:
    """Copies by key: some 300 bytes of memory for each object."""

    def __init__(self) -> None:
        self._known: dict[str, ObjectCopy] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._known

    def __len__(self) -> int:
        return len(self._known)

    def get(self, key: str) -> ObjectCopy | None:
        return self._known.get(key)

    def add(self, copies: Iterable[ObjectCopy]) -> None:
        self._known.update((copy.key, copy) for copy in copies)

    async def add_set(self, repository: Repository, manifest: Manifest, cipher: Cipher) -> None:
        """Raises `Damaged`."""
        async for copy in listed_objects(repository, manifest, cipher):
            self._known[copy.key] = copy

    async def bring(
        self, repository: Repository, objects: ObjectStore, keys: Iterable[str]
    ) -> list[ObjectCopy]:
        """Copy those that are not here yet. What is gone from the store, or `LEFT_OUT`, is passed over."""
        brought: list[ObjectCopy] = []
        for key in keys:
            if key not in self._known and key.split("/")[1] not in LEFT_OUT:
                try:
                    digest, size = await repository.copy_object(objects, key)
                except ObjectMissing:
                    continue
                brought.append(ObjectCopy(key, size, digest))
        self.add(brought)
        return brought


async def listed_objects(
    repository: Repository, manifest: Manifest, cipher: Cipher
) -> AsyncIterator[ObjectCopy]:
    """The objects of a set, at flat memory. Raises `Damaged`."""
    rest = b""
    async for data in repository.read_stream(f"sets/{manifest.id}", manifest.objects, cipher):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            yield msgspec.json.decode(line, type=ObjectCopy)
    if rest:
        raise Damaged(f"sets/{manifest.id} lists its objects incompletely")


def as_lines(copies: Iterable[ObjectCopy]) -> bytes:
    return b"".join(msgspec.json.encode(copy) + b"\n" for copy in copies)


def note_name(folder: str, moment: datetime) -> str:
    return f"{folder}/{NOTE}{moment:%Y%m%dt%H%M%S%f}"


async def read_note(repository: Repository, name: str, cipher: Cipher) -> list[ObjectCopy]:
    """Raises `Damaged`."""
    lines = decompressed(await repository.read(name, cipher)).splitlines()
    return [msgspec.json.decode(line, type=ObjectCopy) for line in lines]
