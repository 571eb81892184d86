"""Fifty people say things, are backed up, and erased: nothing is read any more; run by `make drill`."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.factories.keys import MASTER_KEY
from tests.journeys.conftest import CLERK, SECRET_KEY, Stack, running_stack, wait_until
from tests.scanner.needles import Needles
from tests.scanner.people import Planted, plant, settings_of, shared_photos
from tests.scanner.places import (
    Places,
    all_words,
    assert_copied,
    assert_gone_elsewhere,
    elsewhere,
    erase,
    more_than_may_be_left,
    scan_with_keys,
    told,
)

from visiona.db.embedded import archive_of, embedded_server
from visiona.settings import Settings, read_settings

pytestmark = [pytest.mark.drill, pytest.mark.timeout(1800)]

PEOPLE, STAY = 50, 2
AT_ONCE = 4


@dataclass
class House:
    """A Visiona with a server and backups of its own; `folder` is around all of it."""

    folder: Path
    stack: Stack
    places: Places
    shared: list[Path]

    def populate(self, count: int, *, copies: bool = False) -> list[Planted]:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(
                pool.map(
                    lambda number: plant(self.stack, self.shared, buys=number % 5 == 2, copies=copies),
                    range(count),
                )
            )

    def backups(self, name: str) -> Path:
        """The repository of backups as it is now, keys beside it and all."""
        copy = self.folder / name
        shutil.copytree(self.folder / "backups", copy)
        return copy


@pytest.fixture
def house(request: pytest.FixtureRequest) -> Generator[House]:
    with tempfile.TemporaryDirectory(prefix="visiona-drill-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        data, backups = folder / "data", folder / "backups"
        data.mkdir()
        postgres = data / "postgres"
        with embedded_server(postgres, archive=True) as url:
            settings = {
                "VISIONA_TRUSTED_PROXIES": "127.0.0.1",
                "VISIONA_ERASURE_GRACE_DAYS": "0",
                "VISIONA_DAILY_COST_CAP": "none",
                "VISIONA_BACKUP_URL": backups.as_uri(),
                "VISIONA_SANDBOX_TRAINING_SECONDS": "0.3",
                "VISIONA_SANDBOX_GENERATION_SECONDS": "0.2",
                "TMPDIR": str(folder / "temporary"),
            }
            (folder / "temporary").mkdir()
            with running_stack(url, data, **settings, **getattr(request, "param", {})) as stack:
                places = Places(url, postgres, data, backups=backups, log=archive_of(postgres))
                yield House(folder, stack, places, shared_photos(folder / "shared"))


@contextmanager
def restored(backups: Path, to: Path, set_id: str) -> Iterator[tuple[Settings, Places]]:
    """This backup, as it was, in a folder and on a server of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("VISIONA_")}
    own = {
        "VISIONA_DATA_DIR": str(to),
        "VISIONA_SECRET_KEY": SECRET_KEY,
        "VISIONA_MASTER_KEYS": MASTER_KEY,
        "VISIONA_BACKUP_URL": backups.as_uri(),
    }
    done = subprocess.run(
        [sys.executable, "-m", "visiona", "restore", "--yes", "--set", set_id],
        env=environment | own,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout.strip().replace("\n", " | "))
    with embedded_server(to / "postgres") as url:
        settings = read_settings(own | {"VISIONA_DATABASE_URL": url})
        yield settings, Places(url, to / "postgres", to)


async def test_fifty_people_are_erased(house: House) -> None:
    began = time.monotonic()
    stack, places = house.stack, house.places
    people = house.populate(PEOPLE, copies=True)
    stay, gone = people[:STAY], people[STAY:]
    kept, passing, names = (all_words(people, of) for of in ("kept", "passing", "names"))
    theirs = all_words(stay, "kept")
    _tell(f"{len(kept)} words of {len(people)} people, {len(passing)} more that must not stay", began)

    # Before: all of it is read with keys, and none without.
    assert len(kept) >= 12 * PEOPLE
    assert await scan_with_keys(settings_of(stack), Needles(kept)) == set(kept)
    assert await assert_copied(settings_of(stack), people) == PEOPLE
    _tell(f"before: all found in {PEOPLE} copies, each of its own person", began)
    said = stack.run("backup", "create")
    assert "is complete" in said
    set_id = said.split()[1]
    before = places.scan(Needles(kept | passing | names))
    assert {finding.name for finding in before.findings} == set(names)
    # What is in the clear, by design, shows that these places are read.
    read = {finding.place.partition("/")[0].partition(".")[0] for finding in before.findings}
    assert read >= {"public", "server", "log", "data"}
    _tell(f"before: all found with keys; 0 without, in {before.size >> 20} MB", began)
    with restored(house.backups("backups-before"), house.folder / "restored-before", set_id) as (settings, _):
        assert await scan_with_keys(settings, Needles(kept)) == set(kept)
        assert not list((settings.data_dir / "objects").glob("*/exports/*"))
    _tell("before: all found in the restored backup, and no copy", began)

    erase(stack, gone, 600)
    _tell(f"{len(gone)} people erased", began)

    # After: nothing is left of those who went, with keys or without.
    after = places.scan(Needles(kept | passing))
    assert told(after.findings) == {}
    assert len(list((places.data / "objects").glob("*/exports/*"))) == STAY
    assert await scan_with_keys(settings_of(stack), Needles(kept)) == set(theirs)
    _hear_everything(stack)
    assert told(places.scan_rows(Needles(all_words(gone, "names"))).findings) == {}
    assert not list((house.folder / "temporary").glob("visiona-scratch-*"))
    _tell(f"after: 0 found in {after.size >> 20} MB", began)
    assert_gone_elsewhere(stack, gone)
    elsewhere_left = places.scan_providers(Needles(all_words(gone, "kept") | all_words(gone, "names")))
    assert more_than_may_be_left(elsewhere_left.findings) == set()
    _tell(
        f"after: 0 at other firms but {sorted({where for where, _ in elsewhere(elsewhere_left.findings)})}",
        began,
    )

    # A backup of before brings nobody back.
    with restored(house.backups("backups-after"), house.folder / "restored-after", set_id) as (
        settings,
        there,
    ):
        assert await scan_with_keys(settings, Needles(kept)) == set(theirs)
        assert told(there.scan(Needles(kept | passing)).findings) == {}
        assert told(there.scan_rows(Needles(all_words(gone, "names"))).findings) == {}
    _tell("after: 0 found in the restored backup", began)
    for one in people:
        one.person.close()


def _hear_everything(stack: Stack) -> None:
    """What firms tell of whom they have deleted comes later, and is forgotten once it is processed."""
    wait_until(lambda: not stack.rows("select 1 from webhook_receipts where processed_at is null"), 120)


def _tell(what: str, began: float) -> None:
    print(f"{time.monotonic() - began:6.1f} s  {what}")


@pytest.mark.parametrize("house", [CLERK], indirect=True)
async def test_people_of_an_identity_service_are_erased(house: House) -> None:
    """By the operator's command; the service is told, too."""
    stack, places = house.stack, house.places
    people = house.populate(4)
    stay, gone = people[:1], people[1:]
    kept, passing = all_words(people, "kept"), all_words(people, "passing")
    assert await scan_with_keys(settings_of(stack), Needles(kept)) == set(kept)
    assert told(places.scan(Needles(kept | passing)).findings) == {}
    for one in gone:
        stack.run("privacy", "erase", "--yes", one.person.email)
    wait_until(
        lambda: not stack.rows("select 1 from erasures where cause = 'operator' and state <> 'done'"), 120
    )
    assert told(places.scan(Needles(kept | passing)).findings) == {}
    assert await scan_with_keys(settings_of(stack), Needles(kept)) == set(all_words(stay, "kept"))
    _hear_everything(stack)
    assert told(places.scan_rows(Needles(all_words(gone, "names"))).findings) == {}
    assert_gone_elsewhere(stack, gone)
    theirs = Needles(all_words(gone, "kept") | all_words(gone, "names"))
    assert more_than_may_be_left(places.scan_providers(theirs).findings) == set()
    assert {user["id"] for user in stack.clerk("/v1/users", "GET")} == {one.names["subject"] for one in stay}
    for one in people:
        one.person.close()
