"""R15: whatever is damaged, missing or locked away for good is seen before anything is restored."""

import os
import random
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.ops.conftest import House, own_house, silent

from visiona.adapters.master_keys import new_master_key
from visiona.bootstrap import open_repository
from visiona.ops.choosing import choose
from visiona.ops.copies import listed_objects
from visiona.ops.repository import Damaged, object_name
from visiona.ops.verification import Verifier

FLIPS = 50
SEED = int(os.environ.get("DRILL_SEED", "0")) or 20261123


@pytest.fixture(scope="module")
async def house() -> AsyncGenerator[House]:
    """Two sets, objects, and a log that goes on after them."""
    async with own_house() as house:
        backups = house.backups()
        for _ in range(2):
            await house.add_photo(await house.add_person())
            await backups.create()
        await house.add_photo(await house.add_person())
        await backups.ship()
        yield house


async def damage(house: House) -> list[str]:
    return (await Verifier(house.repository, silent).everything()).damage


async def test_fifty_flipped_bits_are_each_seen(house: House, flip: Callable[[Path, int], None]) -> None:
    """Anywhere, each byte as likely as any other; and in a file of each kind, however small."""
    dice = random.Random(SEED)
    files = house.files()
    sizes = [path.stat().st_size for path in files]
    kinds = {
        path.relative_to(house.folder).parts[0] + path.name.rstrip("0123456789abcdef-"): path
        for path in files
    }
    chosen = [*kinds.values(), *dice.choices(files, sizes, k=FLIPS - len(kinds))]
    assert len(chosen) == FLIPS
    assert await damage(house) == []
    unseen: list[tuple[Path, int]] = []
    for path in chosen:
        bit = dice.randrange(path.stat().st_size * 8)
        flip(path, bit)
        if not await damage(house):
            unseen.append((path, bit))
        flip(path, bit)
    assert unseen == []
    assert await damage(house) == []


async def test_any_missing_file_is_seen(house: House) -> None:
    """Each file of the log, the first and the last as well; a piece, a copy of an object, a key."""
    segments = sorted(house.folder.glob("wal/*/*/0*[0-9a-f]"))
    assert len(segments) >= 4
    others = [next(house.folder.glob(pattern)) for pattern in ("sets/*/base/*", "objects/*/*", "wal/*/*/key")]
    for path in [*segments, *others]:
        aside = path.with_name("aside")
        path.rename(aside)
        content = aside.read_bytes()
        aside.unlink()
        assert await damage(house), path
        path.write_bytes(content)
    assert await damage(house) == []


async def test_a_master_key_that_is_gone_is_seen(house: House) -> None:
    settings = replace(house.settings, master_keys=(new_master_key(),))
    verdict = await Verifier(open_repository(settings), silent).everything()
    assert len(verdict.damage) >= 3  # two sets, and the log
    with pytest.raises(Damaged, match="not configured"):
        await choose(open_repository(settings))
    both = replace(settings, master_keys=(*settings.master_keys, *house.settings.master_keys))
    assert (await Verifier(open_repository(both), silent).everything()).ok


async def test_two_files_that_change_places_are_seen(house: House) -> None:
    first, second = sorted(house.folder.glob("sets/*/base/000000"))
    one, other = first.read_bytes(), second.read_bytes()
    first.write_bytes(other)
    second.write_bytes(one)
    assert len(await damage(house)) == 2
    first.write_bytes(one)
    second.write_bytes(other)
    assert await damage(house) == []


async def test_only_what_a_restore_needs_has_to_be_whole(
    house: House, flip: Callable[[Path, int], None]
) -> None:
    """What is damaged in another set keeps nobody from this one, and what is needed is read whole."""
    first, second = await house.repository.set_ids()
    choice = await choose(house.repository, set_id=second)
    piece = next((house.folder / "sets" / first / "base").iterdir())
    flip(piece, 99)
    chosen = choice.chosen
    listed = [copy async for copy in listed_objects(house.repository, chosen.manifest, chosen.cipher)]
    needed = [choice.manifest, choice.log, chosen.files]
    assert (await Verifier(house.repository, silent).needed(*needed)).ok
    flip(piece, 99)
    for path in (
        next((house.folder / "sets" / second / "base").iterdir()),
        house.folder / chosen.files[0].path,
        house.folder / object_name(listed[0].sha256),
    ):
        flip(path, 99)
        assert not (await Verifier(house.repository, silent).needed(*needed)).ok
        flip(path, 99)
