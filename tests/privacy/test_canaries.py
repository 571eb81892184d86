"""Whoever is erased can be read nowhere any more, and before that with their key only; of three, two go.

`tests/drills/test_canaries.py` does it with fifty, backups and a restore.
"""

import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from tests.journeys.conftest import Stack, running_stack, wait_until
from tests.scanner.needles import Needles
from tests.scanner.people import plant, settings_of, shared_photos
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

pytestmark = pytest.mark.journey

PEOPLE, LEAVE = 3, 2


@pytest.fixture
def places(own_database_url: str, tmp_path: Path) -> Places:
    with psycopg.connect(own_database_url, autocommit=True) as connection:
        connection.execute("select pg_switch_wal()")
        row = connection.execute(
            "select current_setting('data_directory'), pg_walfile_name(pg_current_wal_insert_lsn())"
        ).fetchone()
        connection.execute("checkpoint")
    assert row is not None
    return Places(own_database_url, Path(row[0]), tmp_path, first=row[1], since=time.time() - 1)


@pytest.fixture
def stack(places: Places) -> Generator[Stack]:
    settings = {
        "VISIONA_TRUSTED_PROXIES": "127.0.0.1",
        "VISIONA_ERASURE_GRACE_DAYS": "0",
        "VISIONA_SANDBOX_TRAINING_SECONDS": "0.3",
        "VISIONA_SANDBOX_GENERATION_SECONDS": "0.2",
    }
    with running_stack(places.url, places.data, **settings) as stack:
        yield stack


async def test_who_is_erased_is_read_nowhere(
    stack: Stack, places: Places, tmp_path_factory: pytest.TempPathFactory
) -> None:
    shared = shared_photos(tmp_path_factory.mktemp("shared"))
    with ThreadPoolExecutor(PEOPLE) as pool:
        people = list(
            pool.map(lambda number: plant(stack, shared, buys=number == 0, copies=number > 0), range(PEOPLE))
        )
    kept, passing = all_words(people, "kept"), all_words(people, "passing")
    settings = settings_of(stack)
    assert len(kept) == PEOPLE * 18
    assert await scan_with_keys(settings, Needles(kept | passing)) == set(kept)
    assert await assert_copied(settings, people) == PEOPLE - 1
    assert told(places.scan(Needles(kept | passing)).findings) == {}
    assert {name for _, name in elsewhere(places.scan_providers(Needles(kept)).findings)} >= {"prompt"}

    gone = people[:LEAVE]
    erase(stack, gone, 60)
    scan = places.scan(Needles(kept | passing))
    assert told(scan.findings) == {}
    assert scan.size > 16 << 20
    assert await scan_with_keys(settings, Needles(kept)) == set(all_words(people[LEAVE:], "kept"))
    names = all_words(gone, "names")
    # What the payment service tells of whom it has deleted comes later than that, and is forgotten at once.
    wait_until(lambda: not stack.rows("select 1 from webhook_receipts where processed_at is null"), 30)
    assert told(places.scan_rows(Needles(names)).findings) == {}
    assert_gone_elsewhere(stack, gone)
    assert [
        key for key in stack.object_keys() if key in {one.names.get("object of a copy") for one in gone}
    ] == []
    theirs = Needles(names | all_words(gone, "kept") | all_words(gone, "passing"))
    assert more_than_may_be_left(places.scan_providers(theirs).findings) == set()
    for one in people:
        one.person.close()
