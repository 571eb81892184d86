"""The key store: one small object for each person, wrapped by a master key, outside the database.

Every key is in two places, the store and its mirror, so that losing a machine loses no keys; what is
destroyed is destroyed in both. A tombstone stays, and outlives the key: it holds the time and nothing else.
Beside the keys are notes of consents that were withdrawn: a restored database does not know of them.
No network call is made for a person whose key was used in the last minute.
"""

import asyncio
import hashlib
import hmac
import logging
import re
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from typing import TypeVar

import msgspec

from visiona.core.clock import Clock
from visiona.core.errors import Unavailable
from visiona.core.guard import forbid_open_transaction
from visiona.core.scratch import scratch_folder
from visiona.ports.errors import ProviderError
from visiona.ports.master_key import MasterKey
from visiona.ports.storage import ObjectMissing, ObjectStore
from visiona.vault.model import Cipher, KeyDestroyed, KeyMissing, Survey, new_key
from visiona.vault.stream import MAGIC_BYTES, is_sealed

CACHE_S = 60.0
_CACHED = 10_000
_AT_ONCE = 16
_INDEX = "index"
_JSON = "application/json"
_OBJECT = re.compile(r"u([1-9][0-9]*)/")
_PERSON = re.compile(r"u([1-9][0-9]*)")
_WITHDRAWN = re.compile(r"c([1-9][0-9]*)/([0-9a-f]{32})\.withdrawn")

T = TypeVar("T")

logger = logging.getLogger(__name__)


class _KeyFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`key` was wrapped by the master key of the name `master`."""

    version: int
    master: str
    key: bytes
    made_at: datetime


class _Tombstone(msgspec.Struct, frozen=True):
    destroyed_at: datetime


class _Withdrawal(msgspec.Struct, frozen=True):
    withdrawn_at: datetime


class Vault:
    """The keys of all people, and the one that addresses are looked up by.

    Raises `Unavailable` (`keys_unavailable`) when the key store or the master key does not answer, refuses,
    or is another than the key was wrapped by. The log says which.
    """

    def __init__(
        self, store: ObjectStore, mirror: ObjectStore | None, masters: Sequence[MasterKey], clock: Clock
    ) -> None:
        """The first master key wraps; the others only open what they wrapped before."""
        self._stores = (store,) if mirror is None else (store, mirror)
        self._master = masters[0]
        self._masters = {master.name: master for master in masters}
        self._clock = clock
        self._ciphers: dict[int, tuple[float, Cipher]] = {}
        self._destroyed_here: set[int] = set()
        self._index_key: bytes | None = None

    @property
    def master_name(self) -> str:
        """Of the master key that wraps."""
        return self._master.name

    async def open(self) -> None:
        """Load what `blind_index` needs. Raises `KeyMissing` where `prepare` never ran on this key store."""
        forbid_open_transaction("the key store")
        self._index_key = await self._load(_INDEX)

    async def prepare(self) -> None:
        """As `open`, and on the first run make the key that addresses are looked up by."""
        forbid_open_transaction("the key store")
        try:
            await self.open()
        except KeyMissing:
            await self._write_new(_INDEX)
            await self.open()

    async def aclose(self) -> None:
        self._ciphers.clear()
        for master in self._masters.values():
            await master.aclose()

    async def create(self, user_id: int) -> Cipher:
        """The key of a new person, in every store when this returns; or theirs, if they have one already.

        Raises `KeyDestroyed`.
        """
        forbid_open_transaction("the key store")
        if await self.is_destroyed(user_id):
            raise _destroyed(_name(user_id))
        await self._write_new(_name(user_id))
        await self._stay_destroyed(_name(user_id))
        return await self.cipher(user_id)

    async def cipher(self, user_id: int) -> Cipher:
        """Raises `KeyDestroyed` or `KeyMissing`. Ask before a transaction is opened."""
        forbid_open_transaction("the key store")
        now = time.monotonic()
        known = self._ciphers.get(user_id)
        if known is not None and now - known[0] < CACHE_S:
            return known[1]
        self._ciphers.pop(user_id, None)
        cipher = Cipher(user_id, await self._load(_name(user_id)))
        if user_id in self._destroyed_here:  # while it was on its way
            raise _destroyed(_name(user_id))
        if len(self._ciphers) >= _CACHED:
            self._ciphers.pop(next(iter(self._ciphers)))
        self._ciphers[user_id] = (now, cipher)
        asyncio.get_running_loop().call_later(CACHE_S, self._let_go, user_id, cipher)
        return cipher

    def _let_go(self, user_id: int, cipher: Cipher) -> None:
        """Of a key that nobody asks for again: no memory holds it for longer than it is used."""
        if self._ciphers.get(user_id, (0, None))[1] is cipher:
            del self._ciphers[user_id]

    async def ciphers(self, user_ids: Iterable[int]) -> dict[int, Cipher]:
        """Of those people who have a key."""
        forbid_open_transaction("the key store")
        turns = asyncio.Semaphore(_AT_ONCE)

        async def one(user_id: int) -> Cipher | None:
            async with turns:
                try:
                    return await self.cipher(user_id)
                except (KeyMissing, KeyDestroyed):
                    return None

        wanted = sorted(set(user_ids))
        found = await asyncio.gather(*(one(user_id) for user_id in wanted))
        return {user_id: cipher for user_id, cipher in zip(wanted, found, strict=True) if cipher}

    async def destroy(self, user_id: int) -> None:
        """For good, in every store. May be repeated; only when it returns is nothing of the key left.

        Another process that used the key in the last minute may hold it for the rest of that minute.
        """
        forbid_open_transaction("the key store")
        self._ciphers.pop(user_id, None)
        earlier = [await _read(store, _tombstone(user_id)) for store in self._stores]
        fresh = msgspec.json.encode(_Tombstone(self._clock.now()))
        tombstone = next((data for data in earlier if data), fresh)
        for store in self._stores:  # first everywhere known to be destroyed, so that nobody copies it back
            await _put(store, _tombstone(user_id), tombstone, create=True)
        self._destroyed_here.add(user_id)
        self._ciphers.pop(user_id, None)  # of somebody who read it just before
        for store in self._stores:
            notes = await _reach(lambda s=store: s.list_keys(f"c{user_id}/"))
            await _reach(lambda s=store, n=notes: s.delete([_name(user_id) + ".json", *n]))

    async def note_withdrawal(self, user_id: int, consent_id: uuid.UUID) -> None:
        """Outside the database, which may be restored as it was before. One place is enough: `bury` brings it
        to the other. Say it before the consent is withdrawn there.
        """
        forbid_open_transaction("the key store")
        note = msgspec.json.encode(_Withdrawal(self._clock.now()))
        noted = [
            await _put_if_possible(store, f"c{user_id}/{consent_id.hex}.withdrawn", note)
            for store in self._stores
        ]
        if not any(noted):
            raise _unavailable()

    async def withdrawals(self) -> frozenset[tuple[int, uuid.UUID]]:
        """Every consent that was withdrawn, and whose it was."""
        names = frozenset[str]().union(*[await _listed(store) for store in self._stores])
        found = (_WITHDRAWN.fullmatch(name) for name in names)
        return frozenset((int(note[1]), uuid.UUID(hex=note[2])) for note in found if note)

    async def is_destroyed(self, user_id: int) -> bool:
        forbid_open_transaction("the key store")
        for store in self._stores:
            if await _read(store, _tombstone(user_id)) is not None:
                return True
        return False

    async def check(self) -> None:
        """Raise if keys cannot be written, read and unwrapped now."""
        forbid_open_transaction("the key store")
        for store in self._stores:
            await _reach(store.check)
        await self._load(_INDEX)

    def blind_index(self, purpose: str, value: str) -> bytes:
        """32 bytes that are the same for the same `value`, by which it is found without being readable."""
        if self._index_key is None:
            raise RuntimeError("the vault is not open")
        return hmac.new(self._index_key, f"{purpose}\0{value}".encode(), hashlib.sha256).digest()

    async def people(self) -> frozenset[int]:
        """Everybody who has a key, in the store or in the mirror."""
        keys = [await _names(store, "json") for store in self._stores]
        return frozenset(int(name[1:]) for name in frozenset[str]().union(*keys) - {_INDEX})

    async def destroyed(self) -> frozenset[int]:
        """Everybody whose key was destroyed; they are never heard of again, and their ids not used again."""
        tombstones = [await _names(store, "destroyed") for store in self._stores]
        return frozenset(int(name[1:]) for name in frozenset[str]().union(*tombstones))

    async def survey(self) -> Survey:
        """Look at every key in both places, without unwrapping any."""
        forbid_open_transaction("the key store")
        keys = [await _names(store, "json") for store in self._stores]
        tombstones = [await _names(store, "destroyed") for store in self._stores]
        every, dead = frozenset[str]().union(*keys), frozenset[str]().union(*tombstones)
        wrapped_by, different = Counter[str](), set[str]()
        async for name, copies in self._copies(every - dead):
            wrapped_by.update([_key_file(copies[0]).master])
            if any(copy != copies[0] for copy in copies):
                different.add(name)
        lacking = [(every - dead) - known for known in keys] + [dead - known for known in tombstones]
        return Survey(
            wrapped_by=dict(wrapped_by),
            destroyed=frozenset(int(name[1:]) for name in dead),
            in_one_place=frozenset[str]().union(*lacking),
            left_over=every & dead,
            different=frozenset(different),
        )

    async def bury(self) -> frozenset[int]:
        """Destroy in every place what was destroyed in one: an old copy of the other was put back, or a
        destruction did not come to its end. Answers whose keys those were. Names are read, and no key.
        """
        forbid_open_transaction("the key store")
        listed = [await _listed(store) for store in self._stores]
        keys = [_of_kind(names, "json") for names in listed]
        tombstones = [_of_kind(names, "destroyed") for names in listed]
        dead = frozenset[str]().union(*tombstones)
        half = (dead - tombstones[0].intersection(*tombstones)) | (dead & frozenset[str]().union(*keys))
        people = frozenset(int(name[1:]) for name in half)
        for user_id in sorted(people):
            await self.destroy(user_id)
        await self._share_withdrawals(listed)
        return people

    async def _share_withdrawals(self, listed: Sequence[frozenset[str]]) -> None:
        notes = [frozenset(filter(_WITHDRAWN.fullmatch, names)) for names in listed]
        for place, known in zip(self._stores, notes, strict=True):
            for name in frozenset[str]().union(*notes) - known:
                copies = [await _read(store, name) for store in self._stores]
                if note := next((copy for copy in copies if copy), None):
                    await _put(place, name, note, create=True)

    async def sync_mirror(self) -> int:
        """Bring store and mirror to the same, and answer how many keys that concerned.

        What one lacks the other gives, in both directions; what is destroyed in one is destroyed in both,
        and is never brought back. Two different keys of one person are left as they are.
        """
        survey = await self.survey()
        await self.bury()
        dead = {_name(user_id) for user_id in survey.destroyed}
        for name in sorted(survey.in_one_place - dead):
            await self._write_new(name)
            await self._stay_destroyed(name)
        mended = 0
        for name in sorted(survey.different):
            mended += await self._rewrap(name)
        return len(survey.in_one_place | survey.left_over) + mended

    async def rotate(self, progress: Callable[[int, int], None]) -> int:
        """Wrap every key by the first master key, and answer how many could not be (see `sync_mirror`).

        May be stopped at any time and run again: what is done is not done again, and keys stay usable all
        the while, where the old master key is configured beside the new one. `progress` is told how many
        of how many were looked at.
        """
        forbid_open_transaction("the key store")
        keys = [await _names(store, "json") for store in self._stores]
        every = frozenset[str]().union(*keys)
        looked_at = failed = 0
        progress(0, len(every))
        async for name, copies in self._copies(every):
            done = all(copy == copies[0] for copy in copies) and len(copies) == len(self._stores)
            if not done or _key_file(copies[0]).master != self._master.name:
                failed += not await self._rewrap(name)
            looked_at += 1
            progress(looked_at, len(every))
        return failed

    async def _copies(self, names: Iterable[str]) -> AsyncIterator[tuple[str, list[bytes]]]:
        """Each key's files, the store's first, of those that are still there."""
        wanted = sorted(names)
        for start in range(0, len(wanted), _AT_ONCE):
            some = wanted[start : start + _AT_ONCE]
            for name, found in zip(some, await asyncio.gather(*map(self._read_all, some)), strict=True):
                if copies := [copy for copy in found if copy is not None]:
                    yield name, copies

    async def _read_all(self, name: str) -> list[bytes | None]:
        return await asyncio.gather(*(_read(store, f"{name}.json") for store in self._stores))

    async def _rewrap(self, name: str) -> bool:
        """Wrap a key anew in each place; False, and nothing is changed, where the places differ."""
        copies = [copy for copy in await self._read_all(name) if copy is not None]
        keys = {await self._unwrap(name, copy) for copy in copies}
        if len(keys) != 1:
            logger.error("the key %s is not the same in the key store and in its mirror", name)
            return not keys  # gone meanwhile
        data = await self._wrapped(name, keys.pop())
        for store in self._stores:
            await _put(store, f"{name}.json", data, create=False)
        await self._stay_destroyed(name)
        return True

    async def _stay_destroyed(self, name: str) -> None:
        """After a key was written: nothing is left of it if it was destroyed at the same time."""
        person = _PERSON.fullmatch(name)
        if person and await self.is_destroyed(int(person[1])):
            await self.destroy(int(person[1]))

    def secret(self, purpose: str) -> bytes:
        """32 bytes for what has to be recognized for as long as the key store lasts, whatever is rotated."""
        return self.blind_index("secret", purpose)

    async def _load(self, name: str) -> bytes:
        """From the store, or where it has none from the mirror. A tombstone counts more than a key."""
        for store in self._stores:
            data, tombstone = await asyncio.gather(
                _read(store, f"{name}.json"), _read(store, f"{name}.destroyed")
            )
            if tombstone is not None:
                raise _destroyed(name)
            if data is not None:
                return await self._unwrap(name, data)
        if _PERSON.fullmatch(name) and await self.is_destroyed(int(name[1:])):
            raise _destroyed(name)  # between the two reads
        raise KeyMissing(f"there is no key {name} in the key store")

    async def _unwrap(self, name: str, data: bytes) -> bytes:
        file = _key_file(data)
        master = self._masters.get(file.master)
        if master is None:
            logger.error("the key %s is wrapped by %s, which is not configured", name, file.master)
            raise _unavailable()
        return await _reach(lambda: master.unwrap(file.key, _context(name)))

    async def _wrapped(self, name: str, key: bytes) -> bytes:
        """The file of a key, wrapped by the first master key."""
        wrapped = await _reach(lambda: self._master.wrap(key, _context(name)))
        file = _KeyFile(version=1, master=self._master.name, key=wrapped, made_at=self._clock.now())
        return msgspec.json.encode(file)

    async def _write_new(self, name: str) -> None:
        """In each store, unless it is there: what one store has the others get, so that all have the same."""
        found = [await _read(store, f"{name}.json") for store in self._stores]
        data = next((data for data in found if data), None) or await self._wrapped(name, new_key())
        for store in reversed(self._stores):  # of two who do so at once, the last store decides
            if not await _put(store, f"{name}.json", data, create=True):
                data = await _read(store, f"{name}.json") or data


async def seal_objects(vault: Vault, objects: ObjectStore) -> int:
    """Seal the objects that were written before objects were sealed, and answer how many there were.

    Each is replaced at once, under its name. May be interrupted, and run again: what is sealed says so.
    """
    sealed = 0
    for key in await objects.list_keys(""):
        owner = _OBJECT.match(key)
        if owner is None or await _begins_sealed(objects, key):
            continue
        cipher = (await vault.ciphers([int(owner[1])])).get(int(owner[1]))
        if cipher is None:
            logger.error("an object of user %s is left as it is: they have no key", owner[1])
            continue
        with scratch_folder() as folder:
            await objects.fetch_file(key, folder / "plain")
            await asyncio.to_thread(cipher.seal_file, key, folder / "plain", folder / "sealed")
            await objects.put_file(key, folder / "sealed", "application/octet-stream")
        sealed += 1
    if sealed:
        logger.info("sealed %d objects", sealed)
    return sealed


async def _begins_sealed(objects: ObjectStore, key: str) -> bool:
    found = await objects.open(key, (0, MAGIC_BYTES))
    return is_sealed(b"".join([piece async for piece in found.body]))


def _name(user_id: int) -> str:
    if user_id <= 0:
        raise ValueError("people have positive ids")
    return f"u{user_id}"


def _tombstone(user_id: int) -> str:
    return f"{_name(user_id)}.destroyed"


def _context(name: str) -> str:
    """What a wrapped key is bound to, so that nobody's can be put in another's place."""
    return f"visiona:{name}"


def _key_file(data: bytes) -> _KeyFile:
    try:
        return msgspec.json.decode(data, type=_KeyFile)
    except msgspec.DecodeError:
        logger.error("a file in the key store is not a key's")  # noqa: TRY400 - the reason might repeat the file
        raise _unavailable() from None


async def _names(store: ObjectStore, kind: str) -> frozenset[str]:
    """Of the keys (`json`) or of the tombstones (`destroyed`) in a store."""
    return _of_kind(await _listed(store), kind)


async def _listed(store: ObjectStore) -> frozenset[str]:
    forbid_open_transaction("the key store")
    return frozenset(await _reach(lambda: store.list_keys("")))


def _of_kind(names: Iterable[str], kind: str) -> frozenset[str]:
    found = (name.rpartition(".") for name in names)
    return frozenset(
        name for name, _, ending in found if ending == kind and (name == _INDEX or _PERSON.fullmatch(name))
    )


async def _read(store: ObjectStore, key: str) -> bytes | None:
    async def read() -> bytes | None:
        try:
            found = await store.open(key)
        except ObjectMissing:
            return None
        return b"".join([piece async for piece in found.body])

    return await _reach(read)


async def _put(store: ObjectStore, key: str, data: bytes, *, create: bool) -> bool:
    return await _reach(lambda: store.put_bytes(key, data, _JSON, create=create))


async def _put_if_possible(store: ObjectStore, key: str, data: bytes) -> bool:
    """Whether it is there now; the log says why not."""
    try:
        await _put(store, key, data, create=True)
    except Unavailable:
        return False
    return True


async def _reach(call: Callable[[], Awaitable[T]]) -> T:
    """However a store or a master key fails, it is the same to whoever needs a key."""
    try:
        return await call()
    except ProviderError as error:
        logger.error("a key cannot be had: %s", error)  # noqa: TRY400 - its reason says all, and is safe to log
        raise _unavailable() from error
    except Exception as error:
        # Stores fail in ways of their own, and may repeat addresses and credentials.
        logger.error("the key store fails: %s", type(error).__name__)  # noqa: TRY400 - as above
        raise _unavailable() from error


def _destroyed(name: str) -> KeyDestroyed:
    return KeyDestroyed(f"the key {name} was destroyed")


def _unavailable() -> Unavailable:
    return Unavailable("keys_unavailable", "Visiona cannot reach its keys at the moment. Try again shortly.")
