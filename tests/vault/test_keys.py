"""The key store: two places, one key for each person, and an end that is for good."""

import pytest

from visiona.vault.model import KeyDestroyed, KeyMissing, Unreadable
from visiona.vault.service import Vault


async def test_a_person_has_one_key_until_it_is_destroyed_for_good(vault: Vault) -> None:
    cipher = await vault.create(10**9)
    sealed = cipher.seal("runs.prompt", "a portrait")
    assert (await vault.create(10**9)).open("runs.prompt", sealed) == "a portrait"
    assert (await vault.ciphers([10**9, 10**9 + 1])).keys() == {10**9}
    with pytest.raises(KeyMissing):
        await vault.cipher(10**9 + 1)
    with pytest.raises(Unreadable):
        cipher.open("generations.prompt", sealed)
    for _ in range(2):
        await vault.destroy(10**9)
        with pytest.raises(KeyDestroyed):
            await vault.cipher(10**9)
        with pytest.raises(KeyDestroyed):
            await vault.create(10**9)
    await vault.check()


async def test_what_is_looked_up_by_has_the_same_index_each_time(vault: Vault) -> None:
    index = vault.blind_index("email", "person@example.com")
    assert len(index) == 32
    assert index == vault.blind_index("email", "person@example.com")
    assert index != vault.blind_index("other", "person@example.com")
