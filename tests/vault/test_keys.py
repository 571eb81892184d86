"""The key store: two places, one key for each person, and an end that is for good."""

import asyncio
import gc
import logging
import shutil
import uuid
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from visiona.adapters.master_keys import LocalMasterKey, new_master_key
from visiona.adapters.objects import ObstoreObjectStore, open_store
from visiona.core.clock import SystemClock
from visiona.core.errors import Unavailable
from visiona.core.guard import TransactionOpenError, transaction_marker
from visiona.ports.master_key import MasterKey
from visiona.vault import service
from visiona.vault.model import KeyDestroyed, KeyMissing, Unreadable
from visiona.vault.service import Vault

MakeVault = Callable[..., Vault]


@pytest.fixture
def masters() -> list[MasterKey]:
    return [LocalMasterKey(new_master_key())]


@pytest.fixture
def make_vault(tmp_path: Path, masters: list[MasterKey]) -> MakeVault:
    """One of several processes that share a key store, `keys`, and its mirror, `mirror`."""

    def make(*, masters: list[MasterKey] = masters) -> Vault:
        stores = [open_store((tmp_path / name).as_uri()) for name in ("keys", "mirror")]
        return Vault(*stores, masters, SystemClock())

    return make


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.is_file()}


async def test_a_person_has_one_key_until_it_is_destroyed_for_good(
    make_vault: MakeVault, tmp_path: Path
) -> None:
    vault = make_vault()
    sealed = (await vault.create(5)).seal("runs.prompt", "a portrait")
    assert (await make_vault().create(5)).open("runs.prompt", sealed) == "a portrait"
    assert (await vault.ciphers([5, 6])).keys() == {5}
    assert await vault.people() == {5}
    assert (tmp_path / "keys" / "u5.json").read_bytes() == (tmp_path / "mirror" / "u5.json").read_bytes()
    assert (tmp_path / "keys" / "u5.json").stat().st_mode & 0o777 == 0o600
    with pytest.raises(KeyMissing):
        await vault.cipher(6)
    for _ in range(2):
        await vault.destroy(5)
        assert names(tmp_path / "keys") == names(tmp_path / "mirror") == {"u5.destroyed"}
        for again in (vault, make_vault()):
            with pytest.raises(KeyDestroyed):
                await again.cipher(5)
            with pytest.raises(KeyDestroyed):
                await again.create(5)
    assert await vault.destroyed() == {5}
    assert await vault.ciphers([5]) == {}


async def test_of_those_who_make_a_key_at_once_one_wins(make_vault: MakeVault) -> None:
    vaults = [make_vault() for _ in range(8)]
    for user_id in range(1, 9):
        ciphers = await asyncio.gather(*(vault.create(user_id) for vault in vaults))
        sealed = ciphers[0].seal("runs.prompt", "a portrait")
        assert {cipher.open("runs.prompt", sealed) for cipher in ciphers} == {"a portrait"}
    assert (await vaults[0].survey()).sound


async def test_what_is_lost_in_one_place_is_read_from_the_other(
    make_vault: MakeVault, tmp_path: Path
) -> None:
    sealed = (await make_vault().create(5)).seal("runs.prompt", "a portrait")
    for lost in ("keys", "mirror"):
        (tmp_path / lost / "u5.json").unlink()
        assert (await make_vault().cipher(5)).open("runs.prompt", sealed) == "a portrait"
        assert (await make_vault().create(5)).open("runs.prompt", sealed) == "a portrait"
        assert (tmp_path / lost / "u5.json").exists()


class _BrokenStore(ObstoreObjectStore):
    """`broken` is what fails: `put`, `delete`, or writing the object of that name."""

    broken = ""

    async def put_bytes(self, key: str, data: bytes, content_type: str, *, create: bool = False) -> bool:
        if self.broken in {"put", key}:
            raise OSError("disk full, and here is a secret: hunter2")
        return await super().put_bytes(key, data, content_type, create=create)

    async def delete(self, keys: Any) -> None:
        if self.broken == "delete":
            raise OSError("read-only")
        await super().delete(keys)


@pytest.fixture
def broken_mirror(tmp_path: Path) -> _BrokenStore:
    return _BrokenStore((tmp_path / "mirror").as_uri(), folder=tmp_path / "mirror")


async def test_a_key_that_is_not_in_both_places_is_not_made(
    broken_mirror: _BrokenStore, masters: list[MasterKey], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    vault = Vault(open_store((tmp_path / "keys").as_uri()), broken_mirror, masters, SystemClock())
    broken_mirror.broken = "put"
    with pytest.raises(Unavailable) as failure:
        await vault.create(5)
    assert failure.value.code == "keys_unavailable"
    assert "hunter2" not in caplog.text + failure.value.detail
    with pytest.raises(KeyMissing):
        await vault.cipher(5)
    broken_mirror.broken = ""
    await vault.create(5)


async def test_a_destruction_that_is_interrupted_holds_and_can_be_finished(
    broken_mirror: _BrokenStore, masters: list[MasterKey], tmp_path: Path, make_vault: MakeVault
) -> None:
    vault = Vault(open_store((tmp_path / "keys").as_uri()), broken_mirror, masters, SystemClock())
    await vault.create(5)
    for broken in ("u5.destroyed", "delete"):
        broken_mirror.broken = broken
        with pytest.raises(Unavailable):
            await vault.destroy(5)
        with pytest.raises(KeyDestroyed):  # though the mirror has the key still
            await make_vault().cipher(5)
        assert "u5.json" in names(tmp_path / "mirror")
    assert (await make_vault().survey()).left_over == {"u5"}
    assert await make_vault().sync_mirror() == 1
    assert names(tmp_path / "keys") == names(tmp_path / "mirror") == {"u5.destroyed"}


async def test_a_key_store_from_before_an_erasure_brings_nobody_back(
    make_vault: MakeVault, tmp_path: Path
) -> None:
    """As when a machine is restored from an image of its disk: the mirror remembers what was destroyed."""
    vault = make_vault()
    await vault.create(5)
    await vault.create(6)
    image = (tmp_path / "keys" / "u5.json").read_bytes()
    await vault.destroy(5)
    assert await vault.bury() == set()
    for finish in (vault.bury, vault.sync_mirror):
        (tmp_path / "keys" / "u5.json").write_bytes(image)
        (tmp_path / "keys" / "u5.destroyed").unlink()
        assert await finish() in ({5}, 1)
        assert names(tmp_path / "keys") == names(tmp_path / "mirror") == {"u5.destroyed", "u6.json"}


async def test_a_key_that_is_on_its_way_when_it_is_destroyed_is_not_kept(make_vault: MakeVault) -> None:
    """As when a key management service is slow: the key was read before it was destroyed."""
    await make_vault().create(5)
    asked, answer = asyncio.Event(), asyncio.Event()
    vault = make_vault()
    unwrap = vault._unwrap

    async def slowly(name: str, data: bytes) -> bytes:
        asked.set()
        await answer.wait()
        return await unwrap(name, data)

    vault._unwrap = slowly
    reading = asyncio.create_task(vault.cipher(5))
    await asked.wait()
    await vault.destroy(5)
    answer.set()
    with pytest.raises(KeyDestroyed):
        await reading
    with pytest.raises(KeyDestroyed):
        await vault.cipher(5)


async def test_a_key_that_goes_between_two_reads_was_destroyed_and_is_not_missing(
    masters: list[MasterKey], tmp_path: Path
) -> None:
    class Between(ObstoreObjectStore):
        """Destroyed right after it was seen that it is not."""

        async def open(self, key: str, byte_range: tuple[int, int] | None = None) -> Any:
            if key != "u5.json":
                return await super().open(key, byte_range)
            (tmp_path / "u5.json").rename(tmp_path / "u5.destroyed")
            await asyncio.sleep(0.05)
            return await super().open(key, byte_range)

    await Vault(open_store(tmp_path.as_uri()), None, masters, SystemClock()).create(5)
    vault = Vault(Between(tmp_path.as_uri(), folder=tmp_path), None, masters, SystemClock())
    with pytest.raises(KeyDestroyed):
        await vault.cipher(5)


async def test_no_key_is_in_memory_for_longer_than_it_is_used(
    make_vault: MakeVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody asks for it again: a dump of the process a minute later opens nothing."""
    monkeypatch.setattr(service, "CACHE_S", 0.05)
    vault = make_vault()
    kept = weakref.ref(await vault.create(5))
    assert kept() is not None
    await asyncio.sleep(0.2)
    gc.collect()
    assert kept() is None


async def test_withdrawals_are_known_outside_the_database_as_long_as_their_person_is(
    broken_mirror: _BrokenStore, masters: list[MasterKey], tmp_path: Path, make_vault: MakeVault
) -> None:
    vault = Vault(open_store((tmp_path / "keys").as_uri()), broken_mirror, masters, SystemClock())
    await vault.create(5)
    first, second = uuid.uuid4(), uuid.uuid4()
    await vault.note_withdrawal(5, first)
    broken_mirror.broken = "put"
    await vault.note_withdrawal(5, second)  # the mirror's absence keeps nobody from withdrawing
    assert len(list((tmp_path / "mirror").rglob("*.withdrawn"))) == 1
    broken_mirror.broken = ""
    await vault.bury()
    shutil.rmtree(tmp_path / "keys" / "c5")
    assert await make_vault().withdrawals() == {(5, first), (5, second)}
    assert (await vault.people(), (await vault.survey()).sound) == ({5}, True)
    await vault.destroy(5)
    assert await make_vault().withdrawals() == set()


async def test_a_withdrawal_that_nobody_noted_is_not_made(
    broken_mirror: _BrokenStore, masters: list[MasterKey]
) -> None:
    broken_mirror.broken = "put"
    with pytest.raises(Unavailable):
        await Vault(broken_mirror, None, masters, SystemClock()).note_withdrawal(5, uuid.uuid4())


async def test_two_different_keys_of_one_person_are_seen_and_left_alone(
    make_vault: MakeVault, masters: list[MasterKey], tmp_path: Path
) -> None:
    await make_vault().create(5)
    (tmp_path / "mirror" / "u5.json").unlink()
    await Vault(open_store((tmp_path / "mirror").as_uri()), None, masters, SystemClock()).create(5)
    vault = make_vault()
    before = (tmp_path / "mirror" / "u5.json").read_bytes()
    assert (await vault.survey()).different == {"u5"}
    assert await vault.sync_mirror() == 0
    assert await vault.rotate(lambda *_: None) == 1
    assert (tmp_path / "mirror" / "u5.json").read_bytes() == before


async def test_a_destruction_during_a_rotation_is_not_undone(
    make_vault: MakeVault, masters: list[MasterKey], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_vault().create(5)
    vault = make_vault(masters=[LocalMasterKey(new_master_key()), *masters])
    wrapped = vault._wrapped

    async def meanwhile(name: str, key: bytes) -> bytes:
        await make_vault().destroy(5)
        return await wrapped(name, key)

    monkeypatch.setattr(vault, "_wrapped", meanwhile)
    await vault.rotate(lambda *_: None)
    assert names(tmp_path / "keys") == names(tmp_path / "mirror") == {"u5.destroyed"}


async def test_keys_are_usable_all_through_a_rotation(
    make_vault: MakeVault, masters: list[MasterKey], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By processes that know both master keys, each without anything in memory."""
    monkeypatch.setattr(service, "CACHE_S", 0.0)
    people = range(1, 61)
    first = make_vault()
    await first.prepare()
    sealed = {user_id: (await first.create(user_id)).seal("runs.prompt", "a portrait") for user_id in people}
    both = [LocalMasterKey(new_master_key()), *masters]
    turning, used = make_vault(masters=both), make_vault(masters=both)
    read = 0

    async def use() -> None:
        nonlocal read
        while True:
            for user_id in people:
                assert (await used.cipher(user_id)).open("runs.prompt", sealed[user_id]) == "a portrait"
                read += 1

    load = [asyncio.create_task(use()) for _ in range(4)]
    seen: list[tuple[int, int]] = []
    assert await turning.rotate(lambda done, total: seen.append((done, total))) == 0
    assert all(not task.done() for task in load)
    for task in load:
        task.cancel()
    await asyncio.gather(*load, return_exceptions=True)
    assert seen[-1] == (61, 61)
    assert read > 60
    with pytest.raises(Unavailable):
        await make_vault().cipher(1)
    assert (await make_vault(masters=both[:1]).survey()).wrapped_by == {both[0].name: 61}


async def test_what_is_looked_up_by_is_the_same_in_every_process_and_lasts(
    make_vault: MakeVault, masters: list[MasterKey]
) -> None:
    vault = make_vault()
    with pytest.raises(KeyMissing):  # a store that was never prepared, such as one by a wrong address
        await vault.open()
    with pytest.raises(RuntimeError):
        vault.blind_index("email", "person@example.com")
    await vault.prepare()
    index = vault.blind_index("email", "person@example.com")
    assert len(index) == 32
    assert index != vault.blind_index("other", "person@example.com")
    both = [LocalMasterKey(new_master_key()), *masters]
    await make_vault(masters=both).rotate(lambda *_: None)
    later = make_vault(masters=both[:1])
    await later.prepare()
    assert later.blind_index("email", "person@example.com") == index


async def test_nobodys_key_can_be_put_in_another_ones_place(make_vault: MakeVault, tmp_path: Path) -> None:
    vault = make_vault()
    await vault.create(5)
    await vault.create(6)
    (tmp_path / "keys" / "u6.json").write_bytes((tmp_path / "keys" / "u5.json").read_bytes())
    with pytest.raises(Unavailable):
        await make_vault().cipher(6)


@pytest.mark.parametrize("file", [b"", b"{}", b"\xff", b'{"version": 1, "master": "x"}'])
async def test_a_damaged_file_is_no_key(make_vault: MakeVault, tmp_path: Path, file: bytes) -> None:
    await make_vault().create(5)
    (tmp_path / "keys" / "u5.json").write_bytes(file)
    with pytest.raises(Unavailable):
        await make_vault().cipher(5)


async def test_no_key_is_asked_for_inside_a_transaction(make_vault: MakeVault) -> None:
    """Not even one that is in memory: else whether that is found would depend on who came before."""
    vault = make_vault()
    await vault.create(5)
    with transaction_marker():
        for call in (vault.cipher(5), vault.ciphers([5]), vault.create(6), vault.destroy(5), vault.check()):
            with pytest.raises(TransactionOpenError):
                await call


async def test_no_key_is_in_a_log_or_a_file(
    make_vault: MakeVault, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = bytes(range(50, 82))
    monkeypatch.setattr(service, "new_key", lambda: key)
    caplog.set_level(logging.DEBUG)
    vault = make_vault()
    cipher = await vault.create(5)
    with pytest.raises(Unreadable):
        cipher.open("runs.prompt", b"\xf8" + bytes(40))
    for folder in (tmp_path / "keys", tmp_path / "mirror"):
        assert names(folder) == {"u5.json"}
        assert key not in (folder / "u5.json").read_bytes()
    assert repr(key)[2:20] not in caplog.text + repr(vault) + repr(vars(vault))
