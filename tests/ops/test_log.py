"""Names and gaps of the write-ahead log, without a server."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visiona.ops.log import began_in, began_line, branches_in, gaps, own_name
from visiona.ops.manifest import (
    LogHead,
    LogRange,
    Manifest,
    Stream,
    number_of,
    segment_name,
    segment_of,
    timeline_of,
)
from visiona.ops.repository import Damaged

NOTHING = Stream("base", 0, "", [])
NOW = datetime(2026, 11, 23, tzinfo=UTC)


def a_set(first: int, last: int, timeline: int = 1) -> Manifest:
    return Manifest(
        id="set", mode="physical", release="1", server=18, started_at=NOW, moment=NOW, finished_at=NOW,
        migrations=[], counts={}, audit=None, database=NOTHING, objects=NOTHING, object_count=0,
        object_bytes=0, missing=[], files={},
        log=LogRange(
            system="1", first=segment_name(timeline, first), last=segment_name(timeline, last), lsn="0/0"
        ),
    )  # fmt: skip


def names(timeline: int, numbers: Sequence[int]) -> list[str]:
    return [segment_name(timeline, number) for number in numbers]


@given(st.integers(1, 0xFFFF), st.integers(0, 2**40 - 1))
def test_a_name_says_where_it_is(timeline: int, number: int) -> None:
    name = segment_name(timeline, number)
    assert (timeline_of(name), number_of(name)) == (timeline, number)
    assert own_name(name.lower()) == name


def test_names_of_notes() -> None:
    assert own_name("00000001000000000000000a.0000002f.backup") == "00000001000000000000000A.0000002F.backup"
    assert own_name("0000000a.history") == "0000000A.history"
    assert segment_of(2, "1/A3000148") == "0000000200000001000000A3"


@given(st.integers(3, 12), st.data())
def test_any_one_that_is_missing_is_a_gap(last: int, data: st.DataObject) -> None:
    """The set needs 1 to 3, and the head says which was shipped last; what came before is not needed."""
    lost = data.draw(st.integers(1, last))
    present = [number for number in range(last + 1) if number not in {0, lost}]
    heads = [LogHead(last=segment_name(1, last), until=NOW)]
    assert gaps(names(1, present), [], [a_set(1, 3)], heads) == [segment_name(1, lost)]
    assert gaps(names(1, [*present, lost]), [], [a_set(1, 3)], heads) == []


def test_a_branch_begins_where_its_history_says() -> None:
    (branch,) = branches_in("1\t0/5000148\tbefore 2026-11-23\n", 2)
    assert branch == (2, 1, "0/5000148")
    assert branches_in("1\t0/5000148\tx\n\n2\t0/7000000\ty z\n", 5) == [branch, (5, 2, "0/7000000")]
    trunk, arm = names(1, range(1, 8)), names(2, range(5, 9))
    assert gaps([*trunk, *arm], [branch], [a_set(1, 3)], []) == []
    assert gaps([*trunk, *arm[1:]], [branch], [a_set(1, 3)], []) == [arm[0]]
    assert gaps([*trunk[:3], *arm], [branch], [a_set(1, 3)], []) == [trunk[3]]
    with pytest.raises(Damaged):
        branches_in("", 2)


def test_a_history_tells_when_its_timeline_began() -> None:
    own, parents = datetime(2026, 11, 24, 14, 26, 48, 7, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)
    history = f"1\t0/5000148\tx\n{began_line(parents)}\n2\t0/7000000\ty z\n{began_line(own)}"
    assert began_in(history) == own
    assert len(branches_in(history, 3)) == 2
    assert began_in("1\t0/5000148\tx\n") is None
    with pytest.raises(Damaged):
        began_in("# began soon\n")
